"""How a barrier's keys and verdict travel: one Arrow file per shard, one record batch per partition, and that is the whole shuffle.

A reducer reads batch p of each file. Keys carry the row within their shard; the shard's number is the file's place in the list,
so the same files serve a barrier over one source and one over the corpus.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from curate import store
from curate.errors import CurateError
from curate.stage import Global

SHARD_BITS = 32  # a document's address is shard << 32 | row
SPILL_BYTES = 32 << 20  # of keys held by a worker before they are written


class KeysWriter:
    """Collects one shard's keys and writes them by partition; memory is bounded by `SPILL_BYTES`, not by the shard."""

    def __init__(self, stage: Global, path: str, partitions: int):
        self.stage, self.path, self.partitions = stage, path, partitions
        self._held: list[pa.RecordBatch] = []
        self._bytes = 0
        self._out: Any = None

    def add(self, keys: pa.RecordBatch, first: int) -> None:
        """Keys whose `row` counts from document `first` of the shard."""
        row = pa.array(keys["row"].to_numpy(zero_copy_only=False).astype(np.int64) + first)
        held = keys.set_column(keys.schema.get_field_index("row"), "doc", row)
        self._held.append(held)
        self._bytes += held.nbytes
        if self._bytes >= SPILL_BYTES:
            self._spill()

    def _spill(self) -> None:
        table = self.stage.combine(pa.Table.from_batches(self._held)).combine_chunks()
        self._held, self._bytes = [], 0
        part = (table["key"].to_numpy() % np.uint64(self.partitions)).astype(np.int64)
        if self._out is None:
            self._out = pa.ipc.new_file(self.path, table.schema)
        for batch in split(table, part, self.partitions):
            self._out.write_batch(batch)

    def close(self) -> None:
        """Write what is held; the file is complete afterwards."""
        if self._held or self._out is None:
            self._spill()
        self._out.close()


def split(table: pa.Table, part: np.ndarray[Any, Any], parts: int) -> Iterator[pa.RecordBatch]:
    """The rows of each part, in their order: `parts` record batches, empty ones too."""
    order = np.argsort(part, kind="stable")
    bounds = np.searchsorted(part[order], np.arange(parts + 1))
    if len(table) and (bounds[0], bounds[-1]) != (0, len(table)):
        raise ValueError(f"rows of parts {part.min()} to {part.max()}; there are {parts}")
    table = table.take(pa.array(order)).combine_chunks()
    for low, high in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
        pieces = table.slice(low, high - low).to_batches()
        if len(pieces) > 1:
            raise ValueError(f"{high - low:,} rows of one part do not fit a record batch; raise engine.partitions")
        yield pieces[0] if pieces else pa.RecordBatch.from_pylist([], schema=table.schema)


@contextmanager
def open_arrow(path: str, *, mapped: bool = True) -> Iterator[Any]:
    """An Arrow file; a local one memory-mapped, unless so many are open at once that a machine would run out of maps."""
    opened = store.open_input(path) if store.is_remote(path) else pa.memory_map(path) if mapped else pa.OSFile(path)
    with opened as file:
        try:
            yield pa.ipc.open_file(file)
        except pa.ArrowInvalid as error:
            raise CurateError(f"{path} is damaged: {error}; delete it, and the same command makes it again") from None


def gather(files: Sequence[tuple[int, str]], part: int, partitions: int) -> pa.Table | None:
    """Rows of one partition from the key files of (shard number, path), `doc` now the address in the corpus; None without any."""
    batches = []
    for shard, path in files:
        with open_arrow(path, mapped=False) as reader:
            for at in range(part, reader.num_record_batches, partitions):
                batch = reader.get_batch(at)
                if len(batch):
                    doc = batch["doc"].to_numpy() + (shard << SHARD_BITS)
                    batches.append(batch.set_column(batch.schema.get_field_index("doc"), "doc", pa.array(doc)))
    if not batches:
        return None
    return pa.Table.from_batches(batches).sort_by([("key", "ascending"), ("doc", "ascending")])


@dataclass(frozen=True)
class Reduce:
    """One hash partition of a barrier's keys: reads, sorts, reduces, writes `home/00007.arrow`. Resumable."""

    stage: Global
    files: tuple[tuple[int, str], ...]
    partitions: int
    home: str

    def __call__(self, part: int) -> int:
        """The number of rows that came out."""
        path = store.join(self.home, f"{part:05d}.arrow")
        keys = gather(self.files, part, self.partitions)
        if keys is None:
            return 0
        reduced = self.stage.reduce(keys)
        with store.commit(path) as temporary, pa.ipc.new_file(temporary, reduced.schema) as out:
            out.write_table(reduced)
        return len(reduced)


@dataclass(frozen=True)
class Settle:
    """The verdict of all partitions: one record batch per shard, or the whole table where it has no `doc`."""

    stage: Global
    home: str
    shards: int
    path: str

    def __call__(self, _: int) -> int:
        """The number of rows of the verdict."""
        parts = []
        for part in sorted(n for n in store.listing(self.home) if n.endswith(".arrow")):
            with open_arrow(store.join(self.home, part)) as reader:
                parts.append(reader.read_all())
        verdict = self.stage.settle(pa.concat_tables(parts)) if parts else pa.table({"doc": pa.array([], pa.int64())})
        with store.commit(self.path) as temporary:
            if "doc" in verdict.column_names:
                verdict = verdict.sort_by("doc")
                shard = verdict["doc"].to_numpy() >> SHARD_BITS
                with pa.ipc.new_file(temporary, verdict.schema) as out:
                    for batch in split(verdict, shard, self.shards):
                        out.write_batch(batch)
            else:
                with pa.ipc.new_file(temporary, verdict.schema) as out:
                    out.write_table(verdict.combine_chunks())
        return len(verdict)


class Verdict:
    """What a barrier decided about one shard, handed out batch by batch."""

    def __init__(self, path: str, shard: int):
        with open_arrow(path) as reader:
            self.whole = "doc" not in reader.schema.names
            if self.whole:
                self.table = reader.read_all()
                return
            self.table = pa.Table.from_batches([reader.get_batch(shard)])
        self._row = self.table["doc"].to_numpy() - (shard << SHARD_BITS)

    def rows(self, first: int, count: int) -> pa.Table:
        """The verdict on documents first to first + count of the shard, with `row` counted from `first`."""
        if self.whole:
            return self.table
        low, high = np.searchsorted(self._row, [first, first + count])
        return self.table.slice(low, high - low).append_column("row", pa.array(self._row[low:high] - first))
