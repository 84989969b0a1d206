"""Line dedup: lines that many documents hold (menus, notices, boilerplate) are taken out of all of them.

CCNet (Wenzek et al. 2020, section 3.1 and cc_net's dedup.py) takes out every copy of a line that more than one document of a group of
shards holds; Llama 3 (Dubey et al. 2024, section 3.1.1) those in more than 6 of every 30 million documents. Lines are compared as
CCNet does: stripped, in lower case, digits as 0, without typographic punctuation and control characters; ASCII punctuation, accents and
inner spaces count. What travels is a hash, a count and an address for each line of a shard; a verdict is the sorted hashes of a
group's lines that go, mapped into memory by its workers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Annotated, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from curate.batch import Array, Batch, Check, Removed, Spans
from curate.kernels import lines as kernels
from curate.kernels import membership
from curate.kernels.text import split_lines
from curate.stage import ADDRESS, Checks, Guarded


@dataclass(frozen=True)
class Lines(Guarded):
    """Take lines out that too many documents of a group hold, and drop documents of which nothing is left.

    The defaults are CCNet's but for the hash. Llama 3: `{more_than: 6, group_documents: 30_000_000, blank: keep}`.
    """

    more_than: int = 1  # documents of a group that may hold a line; CCNet 3.1: one, Llama 3 3.1.1: six
    keep_first: int = 0  # copies of such a line that stay, first in corpus order; CCNet's code and, read literally, Llama 3: none
    group: int = 50  # shards that are compared with each other, of 1,600 to a dump: cc_net's hash_in_mem; 0: all
    group_documents: int = 0  # instead: consecutive shards up to so many documents; Llama 3: 30 million
    count: Literal["documents", "occurrences"] = "documents"  # cc_net counts documents; Llama 3 does not say
    blank: Literal["line", "keep"] = "line"  # cc_net: a line like others, so in practice all go; keep: never counted, never removed
    repeats: Literal["first", "keep"] = "first"  # of a line within one document; cc_net: the first stays
    normalise: bool = True  # as cc_net's normalize_for_dedup; false: lines are only stripped
    max_loss: Annotated[float, Field(ge=0, le=1)] = field(default=0.95, kw_only=True)  # share that may go; ours: CCNet takes 58 to 72 %
    hash: Literal["fast", "sha1"] = "fast"  # ours: as rare collisions, faster; sha1: cc_net's 64 bits, equal to its files

    def groups(self, docs: Sequence[int]) -> list[int]:
        """Consecutive shards."""
        if not self.group_documents:
            return [n // self.group if self.group else 0 for n in range(len(docs))]
        out, held, group = [], 0, 0
        for count in docs:
            if held and held + count > self.group_documents:
                held, group = 0, group + 1
            held += count
            out.append(group)
        return out

    def emit(self, batch: Batch) -> pa.RecordBatch:
        lines = _lines(batch)
        hashes = self._hashes(batch, lines)
        if self.count == "documents":
            row, key = membership.distinct_in_documents(lines.first, lines.last, hashes)
        else:
            row, key = np.repeat(np.arange(len(batch)), lines.count), hashes
        if self.blank == "keep":
            counted = key != self._blank
            row, key = row[counted], key[counted]
        return pa.record_batch({"key": key, "row": row, "count": np.ones(len(key), np.uint32)})

    def combine(self, keys: pa.Table) -> pa.Table:
        """A row for each line, with how many documents hold it and the first of them; or the first `keep_first` of them."""
        return self._summed(keys)

    def reduce(self, keys: pa.Table) -> pa.Table:
        """The lines that go: their keys in order, how many documents hold each, and the last document in which one stays, or -1."""
        table = self._summed(keys, in_order=True)
        key, doc, count = (table[c].to_numpy() for c in ("key", "doc", "count"))
        first = _starts(key)
        total = np.add.reduceat(count.astype(np.int64), first) if len(key) else np.empty(0, np.int64)
        gone = total > self.more_than
        columns = {"key": key[first][gone], "count": total[gone]}
        if self.keep_first:
            last = np.append(first[1:], len(key)) - 1
            columns["until"] = doc[np.minimum(first + self.keep_first - 1, last)][gone]
        return pa.table(columns)

    def _summed(self, keys: pa.Table, *, in_order: bool = False) -> pa.Table:
        key, doc, count = (keys[c].to_numpy() for c in ("key", "doc", "count"))
        if not in_order and not self.keep_first and (count == 1).all():  # without addresses: hashes alone are sorted several times as fast
            key = np.sort(key)
            first = _starts(key)
            counts = np.diff(first, append=len(key)).astype(np.uint32)
            return pa.table({"key": key[first], "doc": np.zeros(len(first), np.int64), "count": counts})
        if not in_order:
            order = np.lexsort((doc, key)) if self.keep_first > 1 else np.argsort(key)
            key, doc, count = key[order], doc[order], count[order]
        first = _starts(key)
        if self.keep_first > 1:  # a row for each of the copies that may stay, all that follow in the last of them
            rank = np.arange(len(key)) - np.repeat(first, np.diff(first, append=len(key)))
            first = np.flatnonzero(rank < self.keep_first)
        if len(key):
            doc, count = np.minimum.reduceat(doc, first), np.add.reduceat(count, first, dtype=np.uint32)
        return pa.table({"key": key[first], "doc": doc, "count": count})

    def apply(self, batch: Batch, verdict: pa.Table) -> tuple[Batch, Checks, Removed]:
        lines = _lines(batch)
        hashes = self._hashes(batch, lines)
        others, until = _looked_up(hashes, verdict)
        keep = others < 0
        if self.keep_first:
            address = int(verdict.schema.metadata[ADDRESS]) + np.repeat(np.arange(len(batch)), lines.count)
            keep |= address <= until
        if self.repeats == "first":
            keep &= membership.first_in_document(lines.first, lines.last, hashes)
        if self.blank == "keep":
            keep |= hashes == self._blank
        text, offsets, left = kernels.rewrite(batch.utf8[0], lines.first, lines.last, lines.start, lines.end, keep)
        written = pa.LargeStringArray.from_buffers(len(batch), pa.py_buffer(offsets), pa.py_buffer(text))
        return batch.with_text(written), {"no_line_left": Check(left > 0)}, _removed(lines, keep, others)

    def _hashes(self, batch: Batch, lines: Spans) -> Array:
        hashes: Array = kernels.hash_lines(batch.utf8[0], lines.start, lines.end, self.hash == "sha1", self.normalise)
        return hashes

    @property
    def _blank(self) -> np.uint64:
        """The hash of a line without anything."""
        nothing = np.zeros(1, np.int32)
        blank: np.uint64 = kernels.hash_lines(np.empty(0, np.uint8), nothing, nothing, self.hash == "sha1", self.normalise)[0]
        return blank


def _starts(key: Array) -> Array:
    """Where each run of equal keys begins."""
    new = np.ones(len(key), np.bool_)
    new[1:] = key[1:] != key[:-1]
    return np.flatnonzero(new)


def _lines(batch: Batch) -> Spans:
    """The lines of the batch's documents and of no others, one document behind the other."""
    lines = batch.lines
    return lines if len(lines.start) == lines.count.sum() else Spans(*split_lines(*batch.utf8))


def _looked_up(hashes: Array, verdict: pa.Table) -> tuple[Array, Array]:
    """For each line that goes the number of other documents that hold it, else -1; and the last document in which it stays.

    The parts of a large verdict follow each other in order of key, so each is asked for the hashes of its own range.
    """
    others, until = np.full(len(hashes), -1, np.int64), np.full(len(hashes), -1, np.int64)
    parts = [part for part in verdict.to_batches() if len(part)]
    order = np.argsort(hashes) if len(parts) > 1 else np.arange(len(hashes))
    begins = np.array([part["key"][0].as_py() for part in parts[1:]], np.uint64)
    cuts = [0, *np.searchsorted(hashes[order], begins).tolist(), len(hashes)]
    for part, (low, high) in zip(parts, pairwise(cuts), strict=bool(parts)):
        rows = order[low:high]
        at = membership.member(part["key"].to_numpy(), hashes[rows])
        rows, at = rows[at >= 0], at[at >= 0]
        others[rows] = part["count"].to_numpy()[at] - 1
        if "until" in part.schema.names:
            until[rows] = part["until"].to_numpy()[at]
    return others, until


def _removed(lines: Spans, keep: Array, others: Array) -> Removed:
    """The lines that are not kept, document by document; 0 others for one that only repeats another of its own document."""
    gone = np.flatnonzero(~keep)
    line = gone - np.repeat(lines.first, lines.count)[gone]
    ends = np.searchsorted(gone, lines.last)
    begins = np.searchsorted(gone, lines.first)
    return Removed(begins, ends, line.astype(np.int32), np.maximum(others[gone], 0))
