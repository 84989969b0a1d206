"""How a barrier's keys and verdict travel: one Arrow file per shard, one record batch per partition, and that is the whole shuffle.

A reducer reads batch p of each file. Keys carry the row within their shard; the shard's number is the file's place in the list,
so the same files serve a barrier over one source and one over the corpus.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import Any

import numpy as np
import pyarrow as pa

from curate import store
from curate.errors import CurateError
from curate.stage import ADDRESS, Round

PARTITIONS = b"partitions"  # in the metadata of keys: how many there are
SHARD_BITS = 32  # a document's address is shard << 32 | row
SPILL_BYTES = 32 << 20  # of keys held by a worker before they are written
RANGE_ROWS = 2 << 20  # of keys that are reduced at once
RANGE_BYTES = 256 << 20  # likewise
PIECE_BYTES = 32 << 20  # in which many rows of one key are mapped
SORTED_BYTES = 128 << 20  # of a verdict that are sorted at once
SPREAD_ROWS = 1 << 20  # of a verdict that are spread over files at once
ONE_PIECE_BYTES = 1 << 30  # of a verdict that is written as one record batch, which is looked up fastest
TOP = 2**64 - 1
STEPS = 8  # in which the end of such a range is looked for
Keys = np.ndarray[Any, Any]


class KeysWriter:
    """Collects one shard's keys and writes them by partition; memory is bounded by `SPILL_BYTES`, not by the shard."""

    def __init__(self, stage: Round, path: str, partitions: int):
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
        key, doc = table["key"].to_numpy(), table["doc"].to_numpy()
        if not (key[1:] > key[:-1]).all():
            table = table.take(pa.array(in_order(key, doc))).combine_chunks()
        if self._out is None:
            self._out = pa.ipc.new_file(self.path, table.schema.with_metadata({PARTITIONS: str(self.partitions)}))
        ends = np.searchsorted(table["key"].to_numpy(), edges(self.partitions)[1:]).tolist()
        for low, high in pairwise([0, *ends, len(table)]):
            self._out.write_batch(_one_batch(table.slice(low, high - low)).replace_schema_metadata({PARTITIONS: str(self.partitions)}))

    def close(self) -> None:
        """Write what is held; the file is complete afterwards."""
        if self._held or self._out is None:
            self._spill()
        self._out.close()


def edges(parts: int) -> Keys:
    """uint64: where each of so many even ranges of keys begins."""
    return np.array([(part << 64) // parts for part in range(parts)], np.uint64)


def in_order(key: Keys, doc: Keys) -> Keys:
    """int64: the order by (key, doc). Keys are sorted by the fastest way there is, and those that are equal once more, by doc."""
    order: Keys = np.argsort(key)
    again = np.zeros(len(key), np.bool_)
    again[1:] = key[order[1:]] == key[order[:-1]]
    again[:-1] |= again[1:]
    rows = np.flatnonzero(again)
    if len(rows):
        of = order[rows]
        order[rows] = of[np.lexsort((of, doc[of], key[of]))]
    return order


def _one_batch(table: pa.Table) -> pa.RecordBatch:
    pieces = table.to_batches()
    if len(pieces) > 1:
        raise ValueError(f"{len(table):,} rows of one part do not fit a record batch; raise engine.partitions")
    if pieces:
        return pieces[0]
    empty = [column.chunk(0) if column.num_chunks else pa.array([], column.type) for column in table.columns]  # of the same dictionary
    return pa.RecordBatch.from_arrays(empty, schema=table.schema)


def split(table: pa.Table, part: Keys, parts: int) -> Iterator[pa.RecordBatch]:
    """The rows of each part, in their order: `parts` record batches, empty ones too."""
    order = np.argsort(part, kind="stable")
    bounds = np.searchsorted(part[order], np.arange(parts + 1))
    if len(table) and (bounds[0], bounds[-1]) != (0, len(table)):
        raise ValueError(f"rows of parts {part.min()} to {part.max()}; there are {parts}")
    table = table.take(pa.array(order)).combine_chunks()
    for low, high in pairwise(bounds.tolist()):
        yield _one_batch(table.slice(low, high - low))


@contextmanager
def open_arrow(path: str, *, mapped: bool = True) -> Iterator[Any]:
    """An Arrow file; a local one memory-mapped, unless so many are open at once that a machine would run out of maps."""
    opened = store.open_input(path) if store.is_remote(path) else pa.memory_map(path) if mapped else pa.OSFile(path)
    with opened as file:
        try:
            yield pa.ipc.open_file(file)
        except pa.ArrowInvalid as error:
            raise CurateError(f"{path} is damaged: {error}; delete it, and the same command makes it again") from None


class Gather:
    """The keys of one partition from the files of its shards, handed out in ranges of about `RANGE_ROWS` rows or `RANGE_BYTES`, so that
    what is held does not grow with the partition; one key with more rows than that is put into a temporary file and mapped. `doc` becomes
    the address in the corpus. Each file is opened for each range: a machine has fewer memory maps and file handles than a corpus has
    shards.
    """

    def __init__(self, files: Sequence[tuple[int, str]], part: int, partitions: int):
        self.files, self.part, self.partitions = files, part, partitions
        self.low, self.high = (int(n) for n in (*edges(partitions), 1 << 64)[part : part + 2])
        self._remote: dict[str, list[pa.RecordBatch]] = {}

    def _batches(self, path: str) -> Iterator[pa.RecordBatch]:
        """This partition's batches of one file, each in order of key; those of an object store are read once.

        A file of another run's may have other partitions: then it is this one's share of each batch.
        """
        if path in self._remote:
            yield from self._remote[path]
            return
        with open_arrow(path) as reader:
            partitions = int((reader.schema.metadata or {}).get(PARTITIONS, self.partitions))
            if partitions == self.partitions:
                batches = (reader.get_batch(n) for n in range(self.part, reader.num_record_batches, self.partitions))
            else:
                batches = (self._share(reader.get_batch(n)) for n in range(reader.num_record_batches))
            if store.is_remote(path):
                self._remote[path] = list(batches)
            yield from self._remote.get(path, batches)

    def _share(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        mine = _between(batch["key"].to_numpy(), self.low, self.high)
        return batch.slice(mine.start, mine.stop - mine.start).replace_schema_metadata({PARTITIONS: str(self.partitions)})

    def ranges(self) -> Iterator[pa.Table]:
        """Rows sorted by (key, doc); all rows of a key are in one table."""
        sizes = [(len(batch), batch.nbytes) for _, path in self.files for batch in self._batches(path)]
        rows, size = (sum(n) for n in zip(*sizes, strict=True)) if sizes else (0, 0)
        if not rows:  # a table without rows still says what its columns are
            empty = [batch.slice(0, 0) for _, path in self.files[:1] for batch in self._batches(path)][:1]
            yield from (pa.Table.from_batches(empty) for _ in empty)
            return
        most = max(1, min(RANGE_ROWS, RANGE_BYTES * rows // max(size, 1)))
        low, high = self.low, self.high
        steps = max(1, STEPS * rows // most)
        cuts = [low + (high - low) * n // steps for n in range(steps)] + [high]
        held = self._counted(cuts)
        first = 0
        for step in range(steps):
            if step + 1 == steps or held[first : step + 2].sum() > most:
                if held[first : step + 1].sum() > most:  # one step, then: keys that are no hashes, or that many rows share
                    yield from self._crowded(cuts[first], cuts[step + 1], most)
                elif held[first : step + 1].any():
                    yield self._range(cuts[first], cuts[step + 1])
                first = step + 1

    def _counted(self, cuts: Sequence[int]) -> Keys:
        """Rows between each two cuts."""
        held = np.zeros(len(cuts) - 1, np.int64)
        begins = np.array(cuts[:-1], np.uint64)
        for _, path in self.files:
            for batch in self._batches(path):
                held += np.diff(np.searchsorted(batch["key"].to_numpy(), begins), append=len(batch))
        return held

    def _crowded(self, low: int, high: int, most: int) -> Iterator[pa.Table]:
        """A range cut at its very keys."""
        keys, counts = np.empty(0, np.uint64), np.empty(0, np.int64)
        for _, path in self.files:
            for batch in self._batches(path):
                key = batch["key"].to_numpy()
                found, count = np.unique(key[_between(key, low, high)], return_counts=True)
                keys, at = np.unique(np.concatenate([keys, found]), return_inverse=True)
                counts = np.bincount(at, np.concatenate([counts, count]), len(keys)).astype(np.int64)
        first, held = 0, 0
        for n, rows in enumerate(counts.tolist()):
            if held and held + rows > most:
                yield self._range(int(keys[first]), int(keys[n]))
                first, held = n, 0
            held += rows
            if held > most:  # of this key alone
                yield self._mapped(int(keys[n]))
                first, held = n + 1, 0
        if held:
            yield self._range(int(keys[first]), high)

    def _pieces(self, low: int, high: int) -> Iterator[pa.RecordBatch]:
        for shard, path in self.files:
            for batch in self._batches(path):
                within = _between(batch["key"].to_numpy(), low, high)
                if within.stop > within.start:
                    piece = batch.slice(within.start, within.stop - within.start)
                    doc = pa.array(piece["doc"].to_numpy() + (shard << SHARD_BITS))
                    yield piece.set_column(piece.schema.get_field_index("doc"), "doc", doc)

    def _range(self, low: int, high: int) -> pa.Table:
        pieces = [pa.concat_batches([piece, piece.slice(0, 0)]) for piece in self._pieces(low, high)]  # copies: the files are let go
        table = pa.Table.from_batches(pieces).combine_chunks()
        return table.take(pa.array(in_order(table["key"].to_numpy(), table["doc"].to_numpy())))

    def _mapped(self, key: int) -> pa.Table:
        """All rows of one key: shards, and what a shard has written first, are in order of doc already."""
        with tempfile.TemporaryDirectory(prefix="curate-") as folder:
            path = f"{folder}/rows.arrow"
            held: list[pa.RecordBatch] = []
            out: Any = None
            for piece in chain(self._pieces(key, key + 1), [None]):
                if held and (piece is None or sum(p.nbytes for p in held) >= PIECE_BYTES):
                    out = out or pa.ipc.new_file(path, held[0].schema)
                    out.write_batch(pa.concat_batches(held))
                    held = []
                if piece is not None:
                    held.append(piece)
            out.close()
            return pa.ipc.open_file(pa.memory_map(path)).read_all()  # the map outlives the name


def _between(key: Keys, low: int, high: int) -> slice:
    """The rows of sorted keys that are `low` or more and less than `high`."""
    end = len(key) if high > TOP else int(np.searchsorted(key, np.uint64(high)))
    return slice(int(np.searchsorted(key, np.uint64(low))), end)


@dataclass(frozen=True)
class Reduce:
    """One partition of one group of a barrier's keys: reads, sorts, reduces, writes `home/00002-00007.arrow`. Resumable."""

    stage: Round
    files: tuple[tuple[tuple[int, str], ...], ...]  # of each group: (number of the shard, path of its keys)
    partitions: int
    home: str

    def __call__(self, item: tuple[int, int]) -> int:
        """`item` is (group, partition). The number of rows that came out."""
        path = store.join(self.home, reduced_name(*item))
        rows = 0
        out: Any = None
        with store.commit(path, optional=True) as temporary:
            for keys in Gather(self.files[item[0]], item[1], self.partitions).ranges():
                reduced = self.stage.reduce(keys)
                out = out or pa.ipc.new_file(temporary, reduced.schema)
                out.write_table(reduced)
                rows += len(reduced)
                del keys, reduced
                pa.default_memory_pool().release_unused()  # a range is as large as all else that a worker holds
            if out:
                out.close()
        return rows


def reduced_name(group: int, part: int) -> str:
    """The file of a reduced partition."""
    return f"{group:05d}-{part:07d}.arrow"


@dataclass(frozen=True)
class Settle:
    """The verdict of one group: one record batch per shard of the corpus, or the whole table where it has no `doc`."""

    stage: Round
    home: str  # of the reduced partitions
    shards: int
    verdicts: str

    def __call__(self, group: int) -> int:
        """The number of rows of the verdict."""
        parts = []
        for part in sorted(n for n in store.listing(self.home) if n.startswith(f"{group:05d}-")):
            with open_arrow(store.join(self.home, part)) as reader:
                parts.append(reader.read_all())
        verdict = self.stage.settle(pa.concat_tables(parts)) if parts else pa.table({"doc": pa.array([], pa.int64())})
        metadata = verdict.schema.metadata
        with store.commit(store.join(self.verdicts, verdict_name(group))) as temporary:
            if "doc" not in verdict.column_names and verdict.nbytes < ONE_PIECE_BYTES:
                verdict = verdict.combine_chunks()
            batches: Iterable[pa.RecordBatch] = verdict.to_batches()
            if "doc" in verdict.column_names:
                batches = by_shard(verdict, self.shards)
            with pa.ipc.new_file(temporary, verdict.schema.with_metadata(metadata)) as out:
                for batch in batches:
                    out.write_batch(batch.replace_schema_metadata(metadata))
        return len(verdict)


def by_shard(verdict: pa.Table, shards: int) -> Iterator[pa.RecordBatch]:
    """A verdict's rows in order of doc, a record batch for each shard; without those of no document. What is more than is sorted at once
    goes through temporary files, one for each range of shards."""
    ranges = min(max(shards, 1), 1 + verdict.nbytes // SORTED_BYTES)
    if ranges <= 1:
        yield from _sorted_by_shard(verdict, 0, shards)
        return
    cuts = [shards * n // ranges for n in range(ranges + 1)]
    with tempfile.TemporaryDirectory(prefix="curate-") as folder, ExitStack() as files:
        outs = [files.enter_context(pa.ipc.new_file(f"{folder}/{n}", verdict.schema)) for n in range(ranges)]
        for batch in verdict.to_batches(max_chunksize=SPREAD_ROWS):
            part = np.searchsorted(cuts, batch["doc"].to_numpy() >> SHARD_BITS, side="right") - 1
            for n, out in enumerate(outs):
                mine = np.flatnonzero(part == n)
                if len(mine):
                    out.write_batch(batch.take(pa.array(mine)))
        files.close()
        for n, (low, high) in enumerate(pairwise(cuts)):
            with pa.memory_map(f"{folder}/{n}") as file:
                yield from _sorted_by_shard(pa.ipc.open_file(file).read_all(), low, high)


def _sorted_by_shard(verdict: pa.Table, low: int, high: int) -> Iterator[pa.RecordBatch]:
    doc = verdict["doc"].to_numpy()
    order = np.argsort(doc, kind="stable")
    rows = verdict.take(pa.array(order[np.searchsorted(doc[order], 0) :])).combine_chunks()
    bounds = np.searchsorted(rows["doc"].to_numpy(), np.arange(low, high + 1) << SHARD_BITS)
    if int(bounds[0]) != 0 or int(bounds[-1]) != len(rows):
        raise ValueError(f"a verdict on documents of shards that are not there; there are {high:,}")
    for first, last in pairwise(bounds.tolist()):
        yield _one_batch(rows.slice(first, last - first))


def verdict_name(group: int) -> str:
    """The file of a group's verdict."""
    return f"verdict-{group:05d}"


class Verdict:
    """What a barrier decided about one shard, handed out batch by batch."""

    def __init__(self, path: str, shard: int):
        self._shard = shard
        with open_arrow(path) as reader:
            self.whole = "doc" not in reader.schema.names
            if self.whole:
                self.table = reader.read_all()
                return
            self.table = pa.Table.from_batches([reader.get_batch(shard)])
        self._row = self.table["doc"].to_numpy() - (shard << SHARD_BITS)

    def named(self) -> Keys:
        """int64: the documents of the shard that the verdict has rows of, each once, in order."""
        return np.unique(self._row)

    def of(self, documents: Keys) -> pa.Table:
        """The rows on some documents of the shard, int64 in order, with `row` as their place among those."""
        at = np.searchsorted(documents, self._row)
        found = np.flatnonzero(documents[np.minimum(at, len(documents) - 1)] == self._row) if len(documents) else np.empty(0, np.int64)
        return self.table.take(pa.array(found)).append_column("row", pa.array(at[found].astype(np.int64)))

    def rows(self, first: int, count: int) -> pa.Table:
        """The verdict on documents first to first + count of the shard, with `row` counted from `first`."""
        if self.whole:
            return self.table.replace_schema_metadata({ADDRESS: str((self._shard << SHARD_BITS) + first)})
        low, high = np.searchsorted(self._row, [first, first + count])
        return self.table.slice(low, high - low).append_column("row", pa.array(self._row[low:high] - first))
