"""The documents of a shard on disk, and the fates of those that are not: read in bounded batches, written in row groups of their own.

A row group ends at the document that fills it, whatever batches the documents came in, so the bytes of a file do not depend on them.
"""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Iterator
from typing import IO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate import store
from curate.batch import Array, Batch, Check, Removed

BATCH_BYTES = 8 << 20  # of text in a batch, but for a single longer document
ROW_GROUP_ROWS, ROW_GROUP_BYTES = 8192, 16 << 20  # a row group is closed at the document that reaches either
FATES_ROWS = 65_536
WRITE = {"compression": "zstd", "compression_level": 1, "write_statistics": False}
RAW_BYTES = 64 << 10  # of a bad record that are kept
FATES = pa.schema(
    {"id": pa.string(), "url": pa.string(), "stage": pa.string(), "rule": pa.string()}
    | {"value": pa.float64(), "limit": pa.float64(), "kept": pa.int64(), "kept_id": pa.string()}
)
LINES = pa.schema(
    {"id": pa.string(), "stage": pa.string(), "lines": pa.list_(pa.int32()), "others": pa.list_(pa.int64()), "rules": pa.list_(pa.string())}
)


def read_documents(path: str, batch_rows: int, columns: list[str] | None = None) -> Iterator[Batch]:
    """The documents of one of our own files; its row groups are bounded, so memory is."""
    with store.open_input(path) as file, pq.ParquetFile(file, pre_buffer=False) as reader:
        for data in reader.iter_batches(batch_rows, columns=columns, use_threads=False):
            yield from bounded(data, batch_rows)


def read_rows(path: str, wanted: Array, batch_rows: int) -> Iterator[tuple[Array, Batch]]:
    """(numbers of the documents in the file, the documents) of those that are `wanted`, int64 in order; row groups that hold none are
    not read.
    """
    with store.open_input(path) as file, pq.ParquetFile(file, pre_buffer=False) as reader:
        sizes = [reader.metadata.row_group(n).num_rows for n in range(reader.num_row_groups)]
        begins = np.concatenate(([0], np.cumsum(sizes)))
        held = np.flatnonzero(np.diff(np.searchsorted(wanted, begins)))
        for group in held.tolist():
            first = int(begins[group])
            for data in reader.iter_batches(batch_rows, row_groups=[group], use_threads=False):
                low, high = np.searchsorted(wanted, [first, first + len(data)])
                some = data.take(pa.array(wanted[low:high] - first)) if high - low < len(data) else data
                at = int(low)
                for batch in bounded(some, batch_rows):
                    yield wanted[at : at + len(batch)], batch
                    at += len(batch)
                first += len(data)


def bounded(data: pa.RecordBatch, rows: int) -> Iterator[Batch]:
    """Slices of at most `rows` documents and about BATCH_BYTES of text."""
    if not len(data):
        return
    text = data["text"]
    if len(data) <= rows and text.nbytes <= BATCH_BYTES:
        yield Batch.of(data)
        return
    ends = np.cumsum(pc.binary_length(text).to_numpy(zero_copy_only=False).astype(np.int64))
    first = 0
    while first < len(data):
        held = int(ends[first - 1]) if first else 0
        stop = int(np.searchsorted(ends, held + BATCH_BYTES, side="right"))
        stop = min(max(stop, first + 1), first + rows, len(data))
        yield Batch.of(data.slice(first, stop - first))
        first = stop


class Documents:
    """The documents of a shard on their way to one Parquet file, whose row groups do not depend on the batches they came in."""

    def __init__(self, path: str):
        self.path, self.written, self.size = path, 0, 0
        self._held: list[pa.RecordBatch] = []
        self._rows = self._bytes = 0
        self._out: pq.ParquetWriter | None = None

    def add(self, batch: Batch) -> None:
        """Append documents."""
        data = batch.data
        ends = np.cumsum(batch.size.astype(np.int64))
        self.size += int(ends[-1])
        first = 0
        while first < len(data):
            spent = int(ends[first - 1]) if first else 0
            by_bytes = int(np.searchsorted(ends, spent + ROW_GROUP_BYTES - self._bytes, side="left")) + 1
            stop = min(by_bytes, first + ROW_GROUP_ROWS - self._rows, len(data))
            self._held.append(data.slice(first, stop - first))
            self._rows += stop - first
            self._bytes += int(ends[stop - 1]) - spent
            first = stop
            if self._rows >= ROW_GROUP_ROWS or self._bytes >= ROW_GROUP_BYTES:
                self._flush()

    def _flush(self) -> None:
        table = pa.Table.from_batches(self._held).combine_chunks()
        if self._out is None:
            plain = [f.name for f in table.schema if f.name not in ("id", "text", "url", "title")]
            self._out = pq.ParquetWriter(self.path, table.schema, use_dictionary=plain, **WRITE)
        self._out.write_table(table, row_group_size=len(table))
        self.written += len(table)
        self._held, self._rows, self._bytes = [], 0, 0

    def close(self) -> None:
        """Write what is held; without a document there is no file."""
        if self._rows:
            self._flush()
        if self._out is not None:
            self._out.close()


class Fates:
    """One row for each document that a stage dropped: who, where, by which rule, on what evidence. And one for each that it took
    lines out of, in a file of their own: which lines, and how many other documents held each.
    """

    def __init__(self, path: str, lines: str = ""):
        self._dropped, self._lines = Rows(path, FATES), Rows(lines, LINES)

    @property
    def rows(self) -> int:
        """Documents dropped so far."""
        return self._dropped.rows

    @property
    def rewritten(self) -> int:
        """Documents so far that lines were taken out of; once for each stage that did."""
        return self._lines.rows

    def add(self, batch: Batch, stage: str, checks: dict[str, Check], rule: Array) -> None:
        """`rule` holds, per document of the batch, the number of the first check it failed, or -1."""
        names = list(checks)
        for number in np.unique(rule[rule >= 0]).tolist():
            check = checks[names[number]]
            rows = np.flatnonzero(rule == number)
            at = pa.array(rows)
            nothing = pa.nulls(len(rows))
            columns = [
                batch["id"].take(at),
                batch["url"].take(at) if "url" in batch.names else nothing.cast(pa.string()),
                pa.repeat(stage, len(rows)),
                pa.repeat(names[number], len(rows)),
                pa.array(check.value[rows].astype(np.float64)) if check.value is not None else nothing.cast(pa.float64()),
                pa.repeat(float(check.limit), len(rows)) if check.limit is not None else nothing.cast(pa.float64()),
                pa.array(check.kept[rows]) if check.kept is not None else nothing.cast(pa.int64()),
                check.kept_id.take(at).cast(pa.string()) if check.kept_id is not None else nothing.cast(pa.string()),
            ]
            self._dropped.add(pa.RecordBatch.from_arrays(columns, schema=FATES))

    def add_lines(self, batch: Batch, stage: str, removed: Removed) -> None:
        """The lines taken out of each document of the batch."""
        count = removed.last - removed.first
        rows = np.flatnonzero(count)
        if not len(rows):
            return
        ends = pa.array(np.concatenate(([0], np.cumsum(count[rows]))), pa.int32())
        starts = removed.first[rows] - ends.to_numpy()[:-1]
        at = pa.array(np.repeat(starts, count[rows]) + np.arange(int(count.sum())))
        rule = np.zeros(len(removed.line), np.int8) if removed.rule is None else removed.rule
        rules = pa.DictionaryArray.from_arrays(rule, pa.array(removed.rules, pa.string()))
        of_lines = ((removed.line, pa.int32()), (removed.others, pa.int64()), (rules, pa.string()))
        lists = [pa.ListArray.from_arrays(ends, pa.array(v).take(at).cast(t)) for v, t in of_lines]
        columns = [batch["id"].take(pa.array(rows)), pa.repeat(stage, len(rows)), *lists]
        self._lines.add(pa.RecordBatch.from_arrays(columns, schema=LINES))

    def close(self) -> None:
        """Write what is held; without a row there is no file."""
        self._dropped.close()
        self._lines.close()


class Rows:
    """A Parquet file that is written as rows come; without a row there is none."""

    def __init__(self, path: str, schema: pa.Schema | None = None):
        self.path, self.schema, self.rows = path, schema, 0  # without a schema, that of the first rows
        self._held: list[pa.RecordBatch] = []
        self._out: pq.ParquetWriter | None = None

    def add(self, batch: pa.RecordBatch) -> None:
        """Append rows."""
        self._held.append(batch)
        self.rows += len(batch)
        if sum(map(len, self._held)) >= FATES_ROWS:
            self._flush()

    def _flush(self) -> None:
        if self._held:
            if self._out is None:
                self.schema = self.schema or self._held[0].schema
                self._out = pq.ParquetWriter(self.path, self.schema, **WRITE)
            self._out.write_table(pa.Table.from_batches(self._held, self.schema).combine_chunks())
            self._held = []

    def close(self) -> None:
        """Write what is held."""
        self._flush()
        if self._out is not None:
            self._out.close()


def kept_instead(path: str, stage: str) -> Counter[str]:
    """How many documents a stage dropped in favour of each other one, by its id; of one file of fates, which need not be there."""
    if not store.exists(path):
        return Counter()
    with store.open_input(path) as file:
        fates = pq.read_table(file, columns=["stage", "kept_id"])
    ids = fates.filter(pc.equal(fates["stage"], stage))["kept_id"].drop_null()
    return Counter({c["values"].as_py(): c["counts"].as_py() for c in ids.value_counts()})


class Quarantine:
    """Bad records as JSON lines: where, why, how long, and the first bytes in base64. Written as they come, however many.

    Those that stand for a file of which nothing could be read have `whole_file`.
    """

    def __init__(self, path: str):
        self.path, self.rows = path, 0
        self._out: IO[str] | None = None

    def add(self, where: str, why: str, raw: bytes, whole_file: bool = False) -> None:
        """One record, or what stands for a file of which nothing could be read."""
        if self._out is None:
            self._out = open(self.path, "w", encoding="utf-8")  # noqa: SIM115  (closed by `close`)
        kept = base64.b64encode(raw[:RAW_BYTES]).decode()
        whole = {"whole_file": True} if whole_file else {}
        self._out.write(json.dumps({"where": where, "why": why, "bytes": len(raw), "raw": kept} | whole) + "\n")
        self.rows += 1

    def close(self) -> None:
        """Without a record there is no file."""
        if self._out is not None:
            self._out.close()
