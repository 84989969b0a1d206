"""Line dedup in CCNet's mode over real pages, against its set definition restated, line for line."""

from __future__ import annotations

import hashlib
import re
import shutil
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import support

from curate import build
from curate.runner import Ray
from curate.stage import Bad, Skip, Source

WET = Path(__file__).parents[3] / "shared" / "corpus" / "commoncrawl" / "packed_wet"
READER = {"paths": [f"{WET}/*.gz"]}
ONE_FILE = 2e6  # bytes of a shard: each file is less, and two are more
PUNCTUATION = re.compile("[，。、„”“«»１」「《》´’∶：？！（）；–━►—．～…〈〉【】％]")
pytestmark = pytest.mark.skipif(not WET.exists(), reason="the shared corpus is not beside the repository")


def key(line: str) -> bytes:
    """What CCNet compares lines by."""
    line = re.sub(r"\d", "0", line.strip().lower())
    line = re.sub("[\x00-\x1f\x7f-\x9f]", "", PUNCTUATION.sub("", line))
    return hashlib.sha1(line.encode()).digest()[:8]


def restated(shards: list[list[tuple[str, str]]], group: int) -> dict[str, tuple[str, list[int]]]:
    """id -> (text, numbers of the lines that go). A line survives iff one document of its group holds it; there, its first occurrence."""
    out: dict[str, tuple[str, list[int]]] = {}
    for low in range(0, len(shards), group):
        documents = [(i, text.split("\n")) for shard in shards[low : low + group] for i, text in shard]
        keys = [[key(line) for line in lines] for _, lines in documents]
        held = Counter(k for own in keys for k in set(own))
        for (i, lines), own in zip(documents, keys, strict=True):
            seen: set[bytes] = set()
            kept, gone = [], []
            for number, k in enumerate(own):
                (kept if held[k] == 1 and k not in seen else gone).append(number)
                seen.add(k)
            out[i] = ("\n".join(lines[n] for n in kept) if kept else "", gone)
    return out


@pytest.fixture(scope="module")
def pages() -> list[list[tuple[str, str]]]:
    """(id, text) of each file's pages, as the reader has them."""
    reader = build.build("read.wet.Wet", READER)
    assert isinstance(reader, Source)
    out = []
    for shard in reader.shards(1 << 40):
        rows: list[tuple[str, str]] = []
        for item in reader.read(shard):
            if not isinstance(item, Bad | Skip):
                rows += [(f"web/{i}", text) for i, text in zip(item["id"].to_pylist(), item["text"].to_pylist(), strict=True)]
        out.append(rows)
    assert sum(map(len, out)) > 2000
    return out


def run(folder: Path, group: int, *settings: str, executor: Ray | None = None) -> dict[str, tuple[str, list[int]]]:
    """id -> (text, lines that go), from the files of a run."""
    text = f"sources: {{web: [read.wet.Wet: {{paths: ['{WET}/*.gz']}}, dedup.lines.Lines: {{hash: sha1, group: {group}}}]}}"
    (folder / "lines.yaml").write_text(text)
    support.run(str(folder / "lines.yaml"), folder / "out", f"engine.shard_bytes={ONE_FILE}", *settings, executor=executor)
    kept = {row["id"]: row["text"] for p in (folder / "out" / "documents" / "web").iterdir() for row in pq.read_table(p).to_pylist()}
    passes = sorted((folder / "out" / "passes" / "web").glob("2-*/*.lines.parquet"))
    gone = {row["id"]: row["lines"] for p in passes for row in pq.read_table(p).to_pylist()}
    return {i: (kept.get(i, ""), gone.get(i, [])) for i in kept.keys() | gone.keys()}


@pytest.mark.parametrize("group", [1, 3, 7])
def test_every_line_stays_or_goes_as_the_set_definition_says(group: int, pages: list[list[tuple[str, str]]], tmp_path: Path) -> None:
    found = run(tmp_path, group)
    wanted = restated(pages, group)
    assert found.keys() == wanted.keys()
    assert [i for i in wanted if found[i] != wanted[i]] == []


def test_shards_within_a_group_workers_and_partitions_change_nothing(pages: list[list[tuple[str, str]]], tmp_path: Path) -> None:
    wanted = restated(pages, len(pages))
    for number, settings in enumerate(
        (["engine.shard_bytes=3e5", "engine.partitions=5"], ["engine.shard_bytes=1e9", "engine.batch_rows=7"])
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        assert run(folder, 0, *settings) == wanted
        shutil.rmtree(folder)
    executor = Ray(2)
    try:
        assert run(tmp_path, 0, "engine.partitions=3", executor=executor) == wanted
    finally:
        executor.close()
