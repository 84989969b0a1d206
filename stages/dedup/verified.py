"""The second round of MinHash: documents that bands propose are compared by their shingles, and the one that stays is chosen.

Documents are taken in the keeper's order. One goes if it is similar to a document that was kept before and shares a band with it; else it
is kept. So what a document is dropped for is never itself dropped, and documents that are added at the end of the order change the fate
of no other. Of one band, the first `compared` kept documents are looked at: a template that a million pages are made from costs a million
times so many comparisons and not its square.
Cost: 1 to 2 ns a shingle for each comparison, and 4 bytes a shingle in the exchange, for documents that bands propose alone.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numba import njit

from curate.batch import Array, Batch
from curate.stage import Second, with_facts
from stages.dedup import estimate, index, keeper
from stages.dedup.compare import Lists, similarity
from stages.dedup.facts import merged, sizes

if TYPE_CHECKING:
    from stages.dedup.minhash import MinHash

NEAR = 0.05  # below the threshold: pairs that are shown as just not similar enough
NEAR_PAIRS = 16  # that are kept of one range of keys
LARGEST = 10  # clusters and templates that are named
TEMPLATE = 100  # documents of one band that are not duplicates of fewer than `compared`: far more than chance brings together
VERDICT = pa.schema({"doc": pa.int64(), "kept": pa.int64(), "kept_id": pa.string(), "similarity": pa.float64(), "facts": pa.string()})


@dataclass(frozen=True)
class Verified(Second):
    """Compares the documents of each component."""

    of: MinHash

    def emit(self, batch: Batch, verdict: pa.Table) -> pa.RecordBatch:
        """A row for each row of the verdict: id, rank, the keys of its bands and its shingles, as far as they will be looked at."""
        row, key = verdict["row"].to_numpy(), verdict["key"].to_numpy()
        columns: dict[str, Any] = {"key": key, "row": row, "id": batch["id"].take(pa.array(row)).cast(pa.string())}
        old = index.BANDS in batch.names
        if self.of.keeper != "first":
            rank = np.zeros(len(batch), np.uint64) if old else keeper.ranks(batch, self.of.keeper, self.of.score)
            columns["rank"] = rank[row]
        shown = np.ones(len(row), np.bool_) if self.of.verify else key == estimate.KEY
        signed, (offsets, found, whole) = (None, index.sets_of(batch)) if old else self.of.signed_with_sets(batch)
        first, last, keys, draw = self.of.keys(batch, signed)
        columns["bands"] = _lists(first[row], np.where(shown, last[row], first[row]), keys)
        columns["whole"] = whole[row]
        columns["shingles"] = _lists(offsets[row], np.where(shown, offsets[row + 1], offsets[row]), found)
        if self.of.sample:
            columns["draw"] = draw[row]
            if self.of.within:
                columns["scope"] = (np.zeros(len(batch), np.uint64) if old else self.of.scopes(batch))[row]
        return pa.record_batch(columns)

    def reduce(self, keys: pa.Table) -> pa.Table:
        """(doc, kept, kept_id, similarity) of the documents that go; and rows without a document, with facts."""
        key = keys["key"].to_numpy()
        drawn = int(np.searchsorted(key, estimate.KEY, side="right"))
        facts: dict[str, Any] = estimate.estimated(self.of, keys.slice(0, drawn)) if drawn else {}
        keys = keys.slice(drawn)
        if self.of.verify:
            gone, kept, alike, more = self._compared(keys)
        else:
            gone, kept, alike, more = self._united(keys)
        if "rank" in keys.column_names:
            more |= {"ranked": len(keys), "lacking": keeper.lacking(keys["rank"].to_numpy(), self.of.keeper)}
        ids = keys["id"]
        doc = keys["doc"].to_numpy()
        facts |= more | _clusters(ids, kept)
        order = np.argsort(gone)
        gone, kept, alike = gone[order], kept[order], alike[order]
        columns = [pa.array(doc[gone]), pa.array(doc[kept]), _take(ids, kept), pa.array(alike, pa.float64())]
        table = pa.Table.from_arrays([*columns, pa.nulls(len(gone), pa.string())], schema=VERDICT)
        if not facts:
            return table
        row = {"doc": [-1], "kept": [-1], "kept_id": [None], "similarity": [None], "facts": [json.dumps(facts)]}
        return pa.concat_tables([table, pa.table(row, VERDICT)])

    def settle(self, reduced: pa.Table) -> pa.Table:
        """As it came, with all facts added up."""
        found = [json.loads(f) for batch in reduced.select(["facts"]).to_batches() for f in batch["facts"].drop_null().to_pylist()]
        return with_facts(reduced.drop_columns(["facts"]), **merged(self.of, found))

    def _order(self, keys: pa.Table) -> Array:
        """The keeper's order."""
        doc = keys["doc"].to_numpy()
        return np.lexsort((doc, keys["rank"].to_numpy())) if "rank" in keys.column_names else np.argsort(doc)

    def _united(self, keys: pa.Table) -> tuple[Array, Array, Array, dict[str, Any]]:
        """Of each component all but the first in order go."""
        order = self._order(keys)
        key = keys["key"].to_numpy()[order]
        _, first, of = np.unique(key, return_index=True, return_inverse=True)
        gone = np.flatnonzero(first[of] != np.arange(len(key)))
        return order[gone], order[first[of[gone]]], np.full(len(gone), np.nan), {}

    def _compared(self, keys: pa.Table) -> tuple[Array, Array, Array, dict[str, Any]]:
        bands, sets = Lists(keys["bands"]), Lists(keys["shingles"])
        found, bucket, members = np.unique(bands.values, return_inverse=True, return_counts=True)
        order = self._order(keys)
        kept, alike, near, held = decide(
            order, bands.offsets, bucket, len(found), sets.offsets, sets.values, keys["whole"].to_numpy(),
            self.of.threshold, self.of.inclusive, self.of.measure == "containment", self.of.compared, NEAR,
        )  # fmt: skip
        gone = np.flatnonzero(kept >= 0)
        facts: dict[str, Any] = {}
        crowded = np.flatnonzero((held >= self.of.compared) & (members >= TEMPLATE))
        if len(crowded):
            first = _first_of(bucket, bands.offsets, crowded)
            top = np.lexsort((first, -members[crowded]))[:LARGEST]
            ids = _take(keys["id"], first[top]).to_pylist()
            facts["templates"] = {"bands": len(crowded), "largest": list(zip(ids, members[crowded][top].tolist(), strict=True))}
        almost = np.flatnonzero(near >= 0)
        if len(almost):
            top = almost[np.lexsort((almost, -alike[almost]))[:NEAR_PAIRS]]
            pairs = zip(_take(keys["id"], top).to_pylist(), _take(keys["id"], near[top]).to_pylist(), alike[top].tolist(), strict=True)
            facts["almost"] = [list(p) for p in pairs]
        return gone, kept[gone], alike[gone], facts


def _first_of(bucket: Array, offsets: Array, wanted: Array) -> Array:
    """The first document of each bucket that is wanted."""
    at = np.full(int(bucket.max()) + 1, -1)
    at[bucket[::-1]] = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))[::-1]
    first: Array = at[wanted]
    return first


def _take(column: pa.ChunkedArray, rows: Array) -> pa.Array:
    """Some values of a column, one chunk after the other: a mapped column is not read whole."""
    out = pa.nulls(len(rows), column.type)
    begins = np.cumsum([0, *(len(c) for c in column.chunks)])
    which = np.searchsorted(begins, rows, side="right") - 1
    pieces, places = [], []
    for n in np.unique(which).tolist():
        mine = np.flatnonzero(which == n)
        pieces.append(column.chunk(n).take(pa.array(rows[mine] - begins[n])))
        places.append(mine)
    if pieces:
        out = pa.concat_arrays(pieces).take(pa.array(np.argsort(np.concatenate(places), kind="stable")))
    return out


def _clusters(ids: pa.ChunkedArray, kept: Array) -> dict[str, Any]:
    """How many clusters there are of each size, and the largest."""
    if not len(kept):
        return {}
    heads, members = np.unique(kept, return_counts=True)
    top = np.lexsort((heads, -members))[:LARGEST]
    largest = list(zip(_take(ids, heads[top]).to_pylist(), (members[top] + 1).tolist(), strict=True))
    return {"clusters": sizes(members + 1), "largest": [list(x) for x in largest]}


def _lists(first: Array, last: Array, values: Array) -> pa.ListArray:
    """Ragged rows of an array."""
    count = last - first
    ends = np.concatenate(([0], np.cumsum(count)))
    at = np.repeat(first - ends[:-1], count) + np.arange(ends[-1])
    return pa.ListArray.from_arrays(pa.array(ends, pa.int32()), pa.array(values[at]))


@njit(cache=True)
def decide(order, band_offsets, bucket, buckets, offsets, values, whole, threshold, inclusive, containment, compared, near):
    """For each document, numbered as they lie: the kept one that it is dropped for, or -1, and how similar they are; the kept one that
    it was closest to, where that was less than `near` below the threshold, or -1. And for each bucket how many kept documents it holds.
    """
    docs = len(order)
    kept, closest = np.full(docs, -1), np.full(docs, -1)
    found = np.full(docs, np.nan)
    held = np.zeros(buckets, np.int64)
    size = np.zeros(buckets, np.int64)
    for k in range(len(bucket)):
        size[bucket[k]] += 1
    begin = np.empty(buckets, np.int64)  # each bucket's kept documents are at begin[bucket] and after
    total = 0
    for k in range(buckets):
        begin[k] = total
        total += min(size[k], compared)
    heads = np.empty(total, np.int64)
    rank = np.empty(docs, np.int64)
    for n in range(docs):
        rank[order[n]] = n
    asked = np.full(docs, -1)  # by which document a kept one was last compared
    candidates = np.empty(64, np.int64)
    least = threshold - near
    for n in range(docs):
        d = order[n]
        count = 0
        for k in range(band_offsets[d], band_offsets[d + 1]):
            b = bucket[k]
            for h in range(begin[b], begin[b] + held[b]):
                other = heads[h]
                if asked[other] != d:
                    asked[other] = d
                    if count == len(candidates):
                        grown = np.empty(2 * count, np.int64)
                        grown[:count] = candidates
                        candidates = grown
                    candidates[count] = rank[other]
                    count += 1
        if count > 1:
            candidates[:count].sort()
        mine = values[offsets[d] : offsets[d + 1]]
        for c in range(count):
            other = order[candidates[c]]
            theirs = values[offsets[other] : offsets[other + 1]]
            similar = 1.0 if whole[other] == whole[d] else similarity(mine, theirs, containment, least)
            if similar > threshold or (inclusive and similar == threshold):
                kept[d], found[d] = other, similar
                closest[d] = -1
                break
            if similar >= least and (closest[d] < 0 or similar > found[d]):
                closest[d], found[d] = other, similar
        if kept[d] < 0:
            for k in range(band_offsets[d], band_offsets[d + 1]):
                b = bucket[k]
                if held[b] < compared:
                    heads[begin[b] + held[b]] = d
                    held[b] += 1
    return kept, found, closest, held
