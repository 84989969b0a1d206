"""Exact substrings: stretches of text that stand at least twice in the corpus are cut out of its documents (Lee et al. 2021).

A window is `least` tokens, or bytes, in a row of one document; it is duplicated if what it holds stands at another place of the corpus, in
another document or in the same. What duplicated windows cover goes. These are the windows that a suffix array finds (Lee et al. 2021, 4.1,
and their tool), up to 64-bit hashes, without its 5 to 8 bytes for each byte of text: keys travel, in two rounds. First the anchors that
winnowing picks (Schleimer et al. 2003), one for 14 tokens or 26 bytes of text: windows that are alike have one anchor. Then, of documents
with an anchor that stands twice, the hashes of the windows that have it, sorted by anchor: so that the windows of a stretch meet in
one place, and leave it as one row.

`keep_first` lets the first copy of each window stay, in corpus order: a token goes if a window that covers it is duplicated and not the
first of its kind. Among the stretches that are left no window then stands twice, and of text that repeats itself ("abcabcabc") one period
stays; where a first copy overlaps a later one of something else, the tokens that they share go.
Cost, on one core, on web pages of which 31 % go: all of it 33 MB/s in tokens, 17 MB/s in bytes; 0.6 and 3.7 bytes in the exchange for each
byte of text. A suffix array of the bytes (divsufsort and Kasai) takes 2.7 times as long and 29 bytes of memory for each byte of text; ours
is bounded by a batch and a range of keys. The time goes to words (160 MB/s, three times over) and to the hashes of candidate windows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from curate.batch import Array, Batch, Check
from curate.stage import Checks, Guarded, Second, with_facts
from stages.dedup import substring_kernels as kernels

Unit = Literal["tokens", "bytes"]

LEAST = {"tokens": 50, "bytes": 100}  # Lee et al. 2021, 4.1, and what their tool makes of it: 50 tokens of 2 bytes
SHARD_BITS = 32  # of a document's address
SETTLED = 8 << 20  # spans that are settled at once


@dataclass(frozen=True)
class ExactSubstring(Guarded):
    """Cut out of documents what stands at least twice in the corpus, `least` tokens or bytes in a row or longer."""

    unit: Unit = "tokens"  # ours: words and symbols; Lee et al. 2021 have a model's tokens; bytes: of UTF-8, cut at whole characters
    least: Annotated[int, Field(ge=0, le=1_000_000)] = 0  # in a row; 0: 50 tokens (Lee et al. 2021, 4.1), 100 bytes (their tool)
    keep_first: bool = False  # of the copies of a window; false: all of them go, as with the script that comes with their tool
    merge: Annotated[float, Field(gt=0, le=1)] = 1.0  # spans are joined where so much of what is joined is covered; datamap-rs: 0.95
    min_bytes: Annotated[int, Field(ge=0, le=1_000_000_000)] = 1  # not white space, that must be left where some went; ours
    group: Annotated[int, Field(ge=0)] = 0  # shards that are compared with each other, 0: all; Nemotron-CC: 100 GB at a time

    def groups(self, docs: Sequence[int]) -> list[int]:
        """Consecutive shards."""
        return [n // self.group if self.group else 0 for n in range(len(docs))]

    @property
    def second(self) -> Windows:
        return Windows(self.unit, self.least or LEAST[self.unit], self.keep_first, self.merge)

    def emit(self, batch: Batch) -> pa.RecordBatch:
        """The anchors of each document, and whether it has one twice."""
        second = self.second
        row, key, twice = kernels.anchors(*units_of(batch, self.unit), second.gram, second.least)
        return pa.record_batch({"key": key, "row": row, "twice": twice})

    def reduce(self, keys: pa.Table) -> pa.Table:
        """The anchors that stand twice: a row for each document that has one, with the upper half of its hash."""
        parts = []
        pieces = _pieces(keys)
        for piece in pieces:
            key, doc, twice = (piece[c].to_numpy(zero_copy_only=False) for c in ("key", "doc", "twice"))
            first = _starts(key)
            rows = np.diff(first, append=len(key))
            dup = np.repeat((rows > 1) | np.maximum.reduceat(twice, first) | (len(pieces) > 1), rows)
            dup[1:] &= (doc[1:] != doc[:-1]) | (key[1:] != key[:-1])  # a document once
            parts.append((doc[dup], (key[dup] >> np.uint64(32)).astype(np.uint32)))
        return pa.table({"doc": _joined(parts, 0, np.int64), "anchor": _joined(parts, 1, np.uint32)})

    def apply(self, batch: Batch, verdict: pa.Table) -> tuple[Batch, Checks]:
        row, low, high = (verdict[c].to_numpy() for c in ("row", "start", "end"))
        order = np.lexsort((low, row))
        row, low, high = row[order], low[order], high[order]
        touched = np.zeros(len(batch), np.bool_)
        touched[row] = True
        begins = np.searchsorted(row, np.arange(len(batch) + 1))
        data, start, end = batch.utf8
        if self.unit == "bytes":
            cuts = kernels.byte_cuts(data, start, end, begins, low, high)
        else:
            some = batch.where(touched)  # words are looked for in documents that lose some, and in no others
            cuts = kernels.word_cuts(*some.utf8, *some.words[:4], begins[np.append(touched, True)], low, high)
        text, offsets = kernels.without(data, start, end, begins, *cuts)
        written = pa.LargeStringArray.from_buffers(len(batch), pa.py_buffer(offsets), pa.py_buffer(text))
        batch = batch.with_text(written)
        left = kernels.visible(*batch.utf8)
        return batch, {"nothing_left": Check(~touched | (left >= self.min_bytes), left.astype(np.float64), self.min_bytes)}


@dataclass(frozen=True)
class Windows(Second):
    """The second round: the windows behind anchors that stand twice."""

    unit: Unit
    least: int
    keep_first: bool
    merge: float

    @property
    def gram(self) -> int:
        """Units of an anchor: half a window. Shorter ones are fewer and more often stand twice without being part of windows that do;
        between a quarter and two thirds of a window all cost about the same."""
        return max(1, self.least // 2)

    def emit(self, batch: Batch, verdict: pa.Table) -> pa.RecordBatch:
        """A row for each stretch of windows with one anchor that stands twice: where it begins, and the hash of each window."""
        row, anchor = verdict["row"].to_numpy(), verdict["anchor"].to_numpy()
        order = np.lexsort((anchor, row))
        begins = np.searchsorted(row[order], np.arange(len(batch) + 1))
        key, row, start, offsets, windows = kernels.candidates(
            *units_of(batch, self.unit), self.gram, self.least, begins, np.ascontiguousarray(anchor[order])
        )
        return pa.record_batch({"key": key, "row": row, "start": start, "windows": pa.ListArray.from_arrays(offsets, windows)})

    def reduce(self, keys: pa.Table) -> pa.Table:
        """The spans, in units of their documents, that windows cover which stand twice and are not kept."""
        pieces = [Stretches.of(piece) for piece in _pieces(keys)]
        if len(pieces) > 1:
            return _spans(self._crowd(pieces))
        found = []
        for piece in pieces:
            groups = np.append(_starts(piece.key), len(piece.key))
            room = kernels.table(int(np.diff(piece.offsets[groups]).max()))
            goes = kernels.judge_groups(room, groups, *piece.windows, self.keep_first)
            found.append(kernels.spans_of(piece.doc, piece.start, piece.offsets, goes, self.least))
        return _spans(found)

    def _crowd(self, pieces: Sequence[Stretches]) -> list[tuple[Array, ...]]:
        """The spans of many rows of one anchor: a part of its windows is held at a time, and a byte for each."""
        goes = [np.zeros(len(piece.hashes), np.bool_) for piece in pieces]
        room = kernels.table(sum(map(len, goes)))
        size = len(room[1])
        part, parts = 0, 1
        while part < parts:
            room[1][:] = 0
            held = 0
            for piece in pieces:
                held = kernels.enter(room, size, held, (0, len(piece.key)), *piece.windows, part, parts)
                if held < 0:
                    break
            if held < 0:
                part, parts = 0, 2 * parts
                continue
            for piece, out in zip(pieces, goes, strict=True):
                kernels.judge(room, size, (0, len(piece.key)), *piece.windows, part, parts, self.keep_first, out)
            part += 1
        return [kernels.spans_of(p.doc, p.start, p.offsets, out, self.least) for p, out in zip(pieces, goes, strict=True)]

    def settle(self, reduced: pa.Table) -> pa.Table:
        """The spans of each document, those that overlap or touch in one."""
        parts = [_joined_spans(*spans) for spans in _by_document(reduced)]
        covered = sum(int((high.astype(np.int64) - low).sum()) for _, low, high in parts)
        if self.merge < 1:
            parts = [_bridge(*spans, self.merge) for spans in parts]
        doc, low, high = (_joined(parts, n, t) for n, t in enumerate((np.int64, np.int32, np.int32)))
        size = high.astype(np.int64) - low
        units, documents, longest = int(size.sum()), len(_starts(doc)), int(size.max(initial=0))
        says = f"{len(doc):,} spans go, {units:,} {self.unit} of {documents:,} documents; the longest has {longest:,}"
        facts = {"unit": self.unit, "spans": len(doc), "units": units, "duplicated": covered, "documents": documents, "longest": longest}
        return with_facts(pa.table({"doc": doc, "start": low, "end": high}), says=[says], **facts)


def units_of(batch: Batch, unit: Unit) -> tuple[Array, Array, Array]:
    """(units, first, last): what windows are made of, and where each document's are."""
    return batch.utf8 if unit == "bytes" else (batch.words.hash, batch.words.first, batch.words.last)


@dataclass(frozen=True)
class Stretches:
    """Key rows of the second round: stretches of windows that have one anchor."""

    key: Array
    doc: Array
    start: Array
    offsets: Array
    hashes: Array

    @classmethod
    def of(cls, rows: pa.RecordBatch) -> Stretches:
        """Without a copy."""
        windows = rows["windows"]
        return cls(*(rows[c].to_numpy() for c in ("key", "doc", "start")), windows.offsets.to_numpy(), windows.values.to_numpy())

    @property
    def windows(self) -> tuple[Array, Array, Array, Array]:
        """As the kernels take them."""
        return self.offsets, self.hashes, self.doc, self.start


def _pieces(keys: pa.Table) -> list[pa.RecordBatch]:
    """The rows in one, none if there are none; those of one key, which may be more than can be held, as they come."""
    one = len(keys) and keys["key"][0] == keys["key"][-1]
    return [piece for piece in (keys if one else keys.combine_chunks()).to_batches() if len(piece)]


def _starts(key: Array) -> Array:
    """Where each run of equal keys begins."""
    new = np.ones(len(key), np.bool_)
    new[1:] = key[1:] != key[:-1]
    return np.flatnonzero(new)


def _joined(parts: Sequence[tuple[Array, ...]], n: int, type_: Any) -> Array:
    return np.concatenate([np.empty(0, type_), *(part[n] for part in parts)])


def _joined_spans(doc: Array, low: Array, high: Array) -> tuple[Array, Array, Array]:
    order = np.lexsort((low, doc))
    spans: tuple[Array, Array, Array] = kernels.joined(doc[order], low[order], high[order])
    return spans


def _spans(found: Sequence[tuple[Array, ...]]) -> pa.Table:
    """Sorted by document, and as few as can be."""
    doc, low, high = (_joined(found, n, t) for n, t in enumerate((np.int64, np.int32, np.int32)))
    return pa.table(dict(zip(("doc", "start", "end"), _joined_spans(doc, low, high), strict=True)))


def _bridge(doc: Array, low: Array, high: Array, share: float) -> tuple[Array, Array, Array]:
    """Spans of which neighbours are joined where they cover so much of what is joined."""
    gap = kernels.bridged(doc, low, high, share)
    return doc[~np.append(False, gap[:-1])], low[~np.append(False, gap[:-1])], high[~gap]


def _by_document(reduced: pa.Table) -> Iterator[tuple[Array, Array, Array]]:
    """Some shards' spans after another's, so that no more are held than SETTLED, or those of one shard; each piece of the table is in order
    of its documents."""
    pieces = [tuple(piece[c].to_numpy() for c in ("doc", "start", "end")) for piece in reduced.to_batches()]
    shards = max((int(doc[-1]) >> SHARD_BITS for doc, _, _ in pieces if len(doc)), default=-1) + 1
    counts = np.zeros(shards, np.int64)
    for doc, _, _ in pieces:
        counts += np.diff(np.searchsorted(doc, np.arange(shards + 1) << SHARD_BITS))
    first, held = 0, 0
    for shard in range(shards):
        held += counts[shard]
        if shard + 1 == shards or held + counts[shard + 1] > SETTLED:
            cuts = [np.searchsorted(doc, np.array([first, shard + 1]) << SHARD_BITS) for doc, _, _ in pieces]
            some = [tuple(c[low:high] for c in piece) for piece, (low, high) in zip(pieces, cuts, strict=True)]
            yield tuple(_joined(some, n, t) for n, t in enumerate((np.int64, np.int32, np.int32)))  # type: ignore[misc]
            first, held = shard + 1, 0
