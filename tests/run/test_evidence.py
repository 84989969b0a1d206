"""What a reader finds out beside the documents is a table of the run, complete whatever is killed, joined or left out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pyarrow as pa
import pyarrow.parquet as pq
import support
import yaml

from curate import store
from curate.stage import Bad, Evidence, Shard, Skip, Source


@dataclass(frozen=True)
class Lines(Source):
    """A document for each line, and for each file how many lines it has."""

    paths: tuple[str, ...]
    counted: bool = True
    tables: ClassVar[tuple[str, ...]] = ("lengths",)

    def shards(self, target: int) -> list[Shard]:  # noqa: ARG002
        return [Shard(f, 0, f.size, f.size) for f in store.expand(self.paths)]

    def read(self, shard: Shard) -> Iterator[pa.RecordBatch | Bad | Skip | Evidence]:
        with store.open_input(shard.file.path) as file:
            lines = file.read().decode().splitlines()
        if self.counted:
            yield Evidence("lengths", pa.record_batch({"file": [shard.file.label], "lines": [len(lines)]}))
        if lines:
            yield pa.record_batch(
                {"id": [f"{shard.file.label}:{n}" for n in range(len(lines))], "text": pa.array(lines, pa.large_string())}
            )


def recipe(folder: Path, shard_bytes: float, counted: bool = True) -> str:
    stage = {"test_evidence.Lines": {"paths": [f"{folder}/*.txt"], "counted": counted}}
    value = {"name": "lines", "sources": {"lines": [stage, "dedup.exact.Exact"]}, "engine": {"shard_bytes": shard_bytes}}
    (folder / "lines.yaml").write_text(yaml.safe_dump(value))
    return str(folder / "lines.yaml")


def table(out: Path) -> list[dict[str, object]]:
    return [r for p in sorted((out / "evidence" / "lines" / "lengths").glob("*.parquet")) for r in pq.read_table(p).to_pylist()]


def test_evidence_is_a_table_of_the_run_even_of_files_without_a_document(tmp_path: Path) -> None:
    expected = []
    for number, lines in enumerate((3, 0, 5, 1)):
        (tmp_path / f"{number}.txt").write_text("".join(f"{number} {n}\n" for n in range(lines)))
        expected.append({"file": f"{number}.txt", "lines": lines})
    for name, shard_bytes in (("single", 1.0), ("joined", 1e6)):
        out = tmp_path / name
        support.run(recipe(tmp_path, shard_bytes), out)
        assert table(out) == expected
    lost = next((out / "passes").rglob("*.evidence.parquet"))
    lost.unlink()
    support.run(recipe(tmp_path, 1e6), out)
    assert table(out) == expected, "a shard whose evidence is gone is read again"
    support.run(recipe(tmp_path, 1e6, counted=False), out)
    assert not table(out), "nothing stays of a recipe before"
