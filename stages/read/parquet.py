"""Parquet files: FineWeb, the hub's converted data sets, whatever an Arrow program has written.

Large files are cut at row groups; `id` is the row's number in the file, wherever it was cut. Only the columns that are used are read,
in batches sized by the footer's byte counts, so that memory follows the batch and not the row group. Strings are proved to be UTF-8,
and pages that carry a checksum are held to it. Reads 360 to 700 MB of text per second and core (snappy, zstd). Memory is a few times the
largest page: Arrow's writer makes pages of up to 1024 rows, however long.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from curate import store
from curate.errors import RecipeError
from curate.stage import Bad, File, Shard
from stages.read.columns import Records, documents, gathered, plain
from stages.read.rows import MAX_BYTES, MAX_ROWS

ALL = 2**31 - 1  # row groups of a file whose footer has not been read
FINE = 16  # rows of a batch where a page is corrupt: at most so many are lost with it
BUFFER = 1 << 20  # of each column chunk
DICTIONARY = 4 << 20  # bytes of a chunk that may be little more than a dictionary, of which each row may show the longest entry
UNREADABLE = (pa.ArrowException, OSError, ValueError, OverflowError, MemoryError, NotImplementedError)


class Torn(Exception):
    """A row group that cannot be read from here on; kept apart from what our own code may raise."""


@dataclass(frozen=True)
class Parquet(Records):
    """Documents from Parquet files, local or remote."""

    paths: tuple[str, ...]  # files, patterns and folders, local or URLs

    def shards(self, target: int) -> list[Shard]:
        self.check_fields()
        files = store.expand(self.paths, f"{self.name}.paths")
        if not files:
            raise RecipeError(f"{self.name}.paths: no files")
        self._check_first(files)
        return [shard for file in files for shard in (_cut(file, target) if file.size > target else [_whole(file)])]

    def _check_first(self, files: list[File]) -> None:
        for file in files[:8]:  # more unreadable ones than this are not worth the wait: reading will tell
            try:
                with store.open_input(file.path) as opened:
                    schema = pq.read_schema(opened)
            except UNREADABLE:
                continue
            self.check_schema(schema, file.path)
            return

    def read(self, shard: Shard) -> Iterator[pa.RecordBatch | Bad]:
        label = shard.file.label
        with store.open_input(shard.file.path) as opened:
            try:
                file = pq.ParquetFile(opened, pre_buffer=False, buffer_size=BUFFER, page_checksum_verification=True)
                self.check_schema(file.schema_arrow, label)
            except (RecipeError, *UNREADABLE) as error:
                yield Bad(label, _first_line(error), whole_file=True)
                return
            yield from gathered(self._rows(file, shard))

    def _rows(self, file: pq.ParquetFile, shard: Shard) -> Iterator[pa.RecordBatch | Bad]:
        label, footer = shard.file.label, file.metadata
        columns = [".".join(path) for path in self.columns_of(file.schema_arrow)]
        first = sum(footer.row_group(group).num_rows for group in range(shard.low))
        for group in range(shard.low, min(shard.high, footer.num_row_groups)):
            row, expected = first, footer.row_group(group).num_rows
            first += expected
            error: Torn | None = None
            for size in (_batch_rows(footer.row_group(group)), FINE):  # finely again up to what cannot be read
                try:
                    for batch in _after(row - first + expected, file.iter_batches(size, [group], columns, use_threads=False)):
                        yield from documents(batch, self, row, lambda at: f"{label}:{at}")
                        row += len(batch)
                    break
                except Torn as torn:
                    error = torn
            else:
                yield Bad(f"{label}:{row}", f"row group {group} cannot be read from here on: {error}")
                continue
            if row != first:
                yield Bad(f"{label}:{row}", f"row group {group} has {row - first + expected:,} rows, its footer says {expected:,}")


def _after(done: int, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """All rows but the first `done`, in full batches."""

    def rest() -> Iterator[pa.RecordBatch]:
        at = 0
        try:
            for batch in batches:
                if at + len(batch) > done:
                    yield plain(batch.slice(max(0, done - at)))
                at += len(batch)
        except UNREADABLE as error:
            raise Torn(_first_line(error)) from None

    return gathered(rest())


def _whole(file: File) -> Shard:
    return Shard(file, 0, ALL, file.size)


def _cut(file: File, target: int) -> list[Shard]:
    """Consecutive row groups of about `target` bytes; one shard where the footer cannot be read, which reading will report."""
    try:
        with store.open_input(file.path) as opened:
            footer = pq.read_metadata(opened)
        sizes = [max(0, footer.row_group(group).total_byte_size) for group in range(footer.num_row_groups)]
    except UNREADABLE:
        return [_whole(file)]
    scale = file.size / max(1, sum(sizes))  # the footer counts uncompressed bytes
    shards: list[Shard] = []
    low, size = 0, 0.0
    for group, more in enumerate(sizes):
        if group > low and size + more * scale / 2 > target:
            shards.append(Shard(file, low, group, int(size)))
            low, size = group, 0.0
        size += more * scale
    return [*shards, Shard(file, low, len(sizes), int(size))]


def _batch_rows(group: pq.RowGroupMetaData) -> int:
    """Rows of a batch that hold about 8 MB together, and not much more where each shows the longest entry of a dictionary.

    By the row group and not by its columns: pyarrow 26 ends the process on some hostile footers when asked for a column's metadata.
    """
    rows, size = max(1, group.num_rows), max(1, group.total_byte_size)
    shown = DICTIONARY if size < DICTIONARY + 4 * rows else 1
    return max(1, min(MAX_ROWS, MAX_BYTES * rows // size, 8 * MAX_BYTES // min(size, shown)))


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:300]
