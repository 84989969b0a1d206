"""Token shards on disk, written in order and in bounded memory, the same bytes however the documents come in batches.

npy       NNNNN.npy is the tokens and nothing else: a raw little-endian memmap, no npy header, as OLMo has it
megatron  NNNNN.bin is the same; NNNNN.idx is Megatron-LM's index, version 1, one sequence per document
both      NNNNN.documents.parquet has a row per document: where it starts, what it is, and where its text is

Cost: 120 to 170 million tokens a second with SHA-256; 4 bytes of memory per document of a shard, a row group, and what is handed over.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from typing import IO, Any, NamedTuple, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from curate import store
from curate.batch import Array
from curate.errors import CurateError
from curate.tokens.layout import Format, narrow

MAGIC = b"MMIDIDX\x00\x00"  # megatron/core/datasets/indexed_dataset.py, as all of the index
VERSION = 1
CODES = {"uint8": 1, "int8": 2, "int16": 3, "int32": 4, "int64": 5, "float64": 6, "float32": 7, "uint16": 8}
HEADER = struct.Struct("<9sQBQQ")  # magic, version, dtype code, sequences, entries of the document index: 34 bytes
ROW_GROUP = 65_536  # rows of the sidecar; fixed, so that its bytes do not depend on batches

SIDECAR = pa.schema(
    [
        ("start", pa.int64()),  # of its first token (BOS included) in the shard
        ("tokens", pa.int32()),
        ("id", pa.string()),
        ("source", pa.string()),
        ("copy", pa.int16()),  # 0 for the first
        ("file", pa.int32()),  # OUT/documents/<source>/<file>.parquet
        ("row", pa.int64()),
    ]
)
GIVEN = ("id", "source", "copy", "file", "row")


class Documents(NamedTuple):
    """Some documents of a shard, in order, BOS and EOS included."""

    ids: Array  # end to end
    lengths: Array  # one per document
    about: pa.RecordBatch  # id, source, copy, file, row


@dataclass(frozen=True)
class Piece:
    """One file of a shard."""

    name: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Shard:
    """What the manifest says of a shard."""

    files: list[Piece]
    tokens: int
    documents: int
    sources: dict[str, int] = field(default_factory=dict)  # source -> tokens


class _Hashed:
    """A file that is hashed and counted while it is written."""

    def __init__(self, file: IO[bytes]):
        self.file, self.digest, self.bytes = file, hashlib.sha256(), 0

    def write(self, data: Any) -> None:
        self.file.write(data)
        self.digest.update(data)
        self.bytes += memoryview(data).nbytes

    def piece(self, path: str) -> Piece:
        return Piece(store.name(path), self.bytes, self.digest.hexdigest())


def paths(form: Format, folder: str, number: int) -> list[str]:
    """The files of a shard: its tokens first, its sidecar last."""
    kinds = {"npy": ("npy",), "megatron": ("bin", "idx")}[form]
    return [store.join(folder, f"{number:05d}.{kind}") for kind in (*kinds, "documents.parquet")]


def write(form: Format, folder: str, number: int, dtype: np.dtype[np.generic], vocabulary: int, documents: Iterable[Documents]) -> Shard:
    """Write one shard. Its files appear when it is complete, the tokens last."""
    names = paths(form, folder, number)
    sizes: list[Array] = []
    with ExitStack() as stack:
        temporary = [stack.enter_context(store.commit(name)) for name in names]
        with open(temporary[0], "wb", buffering=1 << 20) as file, closing(_Sidecar(temporary[-1])) as sidecar:
            tokens = _Hashed(file)
            for some in documents:
                _check(some)
                tokens.write(np.ascontiguousarray(narrow(some.ids, vocabulary, dtype)))
                sizes.append(some.lengths.astype(np.int32))
                sidecar.add(some)
        lengths = np.concatenate(sizes) if sizes else np.empty(0, np.int32)
        pieces = [tokens.piece(names[0])]
        if form == "megatron":
            with open(temporary[1], "wb") as file:
                index = _Hashed(file)
                for part in megatron_index(lengths, dtype):
                    index.write(part)
            pieces.append(index.piece(names[1]))
        pieces.append(Piece(store.name(names[-1]), store.size(temporary[-1]), store.sha256(temporary[-1])))
        return Shard(pieces, int(lengths.sum(dtype=np.int64)), len(lengths), dict(sorted(sidecar.sources.items())))


def _check(some: Documents) -> None:
    if int(some.lengths.sum()) != len(some.ids) or len(some.lengths) != some.about.num_rows:
        raise ValueError(f"{len(some.ids)} tokens, lengths of {int(some.lengths.sum())}, {some.about.num_rows} documents")


class _Sidecar:
    """Writes the rows in groups of ROW_GROUP and adds up the tokens of each source."""

    def __init__(self, path: str):
        self.writer = pq.ParquetWriter(path, SIDECAR, compression="zstd")
        self.waiting: list[pa.Table] = []
        self.rows = self.start = 0
        self.sources: dict[str, int] = {}

    def add(self, some: Documents) -> None:
        lengths = some.lengths.astype(np.int64)
        start = self.start + np.cumsum(lengths) - lengths
        self.start += int(lengths.sum())
        given = {name: some.about.column(name) for name in GIVEN}
        table = pa.table({"start": start, "tokens": lengths, **given}).cast(SIDECAR)
        for row in table.group_by("source").aggregate([("tokens", "sum")]).to_pylist():
            self.sources[row["source"]] = self.sources.get(row["source"], 0) + row["tokens_sum"]
        self.waiting.append(table)
        self.rows += len(table)
        while self.rows >= ROW_GROUP:
            self._flush()

    def _flush(self) -> None:
        table = pa.concat_tables(self.waiting) if self.waiting else SIDECAR.empty_table()
        self.writer.write_table(table.slice(0, ROW_GROUP).combine_chunks(), row_group_size=ROW_GROUP)
        rest = table.slice(ROW_GROUP)
        self.waiting, self.rows = [rest] if len(rest) else [], len(rest)

    def close(self) -> None:
        if self.rows:
            self._flush()
        self.writer.close()


def megatron_index(lengths: Array, dtype: np.dtype[np.generic]) -> Iterator[bytes]:
    """The parts of an .idx file: header, lengths, byte offsets, document index."""
    documents = len(lengths)
    yield HEADER.pack(MAGIC, VERSION, CODES[dtype.name], documents, documents + 1)
    yield lengths.astype("<i4").tobytes()
    ends = np.cumsum(lengths, dtype=np.int64) * dtype.itemsize
    yield (ends - lengths.astype(np.int64) * dtype.itemsize).astype("<i8").tobytes()
    yield np.arange(documents + 1, dtype="<i8").tobytes()


# Reading


def read_npy(path: str, dtype: np.dtype[np.generic]) -> Array:
    """The tokens of an .npy or .bin shard: mapped where the file is local, else in memory."""
    size = store.size(path)
    if size % dtype.itemsize:
        raise CurateError(f"{store.name(path)}: {size:,} bytes, which is no whole number of {dtype.name} tokens")
    if not size:
        return np.empty(0, dtype)
    if store.is_remote(path):
        return np.frombuffer(store.read_bytes(path), dtype)
    return np.memmap(cast(Any, store.open_input(path)), dtype, mode="r")


def read_megatron(bin_path: str) -> tuple[Array, Array]:
    """(tokens, lengths) of a Megatron shard. Raises CurateError unless its index is whole and agrees with itself and with the tokens."""
    idx_path = bin_path.removesuffix(".bin") + ".idx"
    name, data = store.name(idx_path), store.read_bytes(idx_path)
    if len(data) < HEADER.size or data[:9] != MAGIC:
        raise CurateError(f"{name}: begins with {data[:9]!r}, expected {MAGIC!r}: no Megatron index")
    _, version, code, sequences, entries = HEADER.unpack_from(data)
    if version != VERSION:
        raise CurateError(f"{name}: version {version}, expected {VERSION}")
    dtype = next((np.dtype(n) for n, c in CODES.items() if c == code), None)
    if dtype is None:
        raise CurateError(f"{name}: dtype code {code}, expected 1 to 8")
    expected = HEADER.size + 12 * sequences + 8 * entries
    if len(data) != expected:
        raise CurateError(
            f"{name}: {len(data):,} bytes, expected {expected:,} for {sequences:,} sequences and {entries:,} document entries"
        )
    lengths = np.frombuffer(data, "<i4", sequences, HEADER.size)
    offsets = np.frombuffer(data, "<i8", sequences, HEADER.size + 4 * sequences)
    index = np.frombuffer(data, "<i8", entries, HEADER.size + 12 * sequences)
    sizes = lengths.astype(np.int64) * dtype.itemsize
    if (lengths < 0).any() or not np.array_equal(offsets, np.cumsum(sizes) - sizes):
        raise CurateError(f"{name}: the byte offsets are not the sums of the lengths before them")
    if not np.array_equal(index, np.arange(sequences + 1)):
        raise CurateError(f"{name}: the document index is not 0 to {sequences:,}: one sequence per document is expected")
    tokens = read_npy(bin_path, dtype.newbyteorder("<"))
    if len(tokens) != int(sizes.sum()) // dtype.itemsize:
        raise CurateError(f"{store.name(bin_path)}: {len(tokens):,} tokens, {name} has {int(sizes.sum()) // dtype.itemsize:,}")
    return tokens, lengths


def read_sidecar(path: str, columns: Sequence[str] | None = None) -> pa.Table:
    """A row per document: see SIDECAR."""
    with store.open_input(path) as file:
        return cast(pa.Table, pq.read_table(file, columns=columns))
