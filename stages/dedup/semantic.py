"""Semantic duplicates: documents that mean nearly the same, by the cosine of their embeddings.

SemDeDup (Abbas et al. 2023, arXiv 2303.09540): documents are clustered; each cluster is put into an order; a document goes if its largest
cosine to those *before* it is more than 1 - epsilon, so a larger epsilon removes more. Before it are also those that go themselves: a chain
of ever so slightly different documents leaves its first (`against: kept` compares with those that stay). Llama 3 names the method
for its web data and gives no setting; of its dialogues it orders by quality (Dubey et al. 2024, 4.2.3), which is `keeper: quality`.

An epsilon holds for one encoder and one kind of text. Looked at by eye with all-MiniLM-L6-v2: of English articles, pairs at a cosine of
0.95 tell the same story in two papers' words, at 0.90 every third only shares a subject. Of pages with their menus, the menus are what is
compared; of languages that the encoder was not made for, any two pages. So this belongs behind extraction, line deduplication and language.

Embeddings travel, one cluster to one place. Those that are equal to the last bit are compared once. A cluster of more than `max_cluster`
others is split by k-means again, and what lies on two sides of such a border is not compared, as between clusters.
Cost, 384 numbers to an embedding: 800 bytes a document in the exchange; per core, 190,000 documents a second to find the nearest of 316
centroids, 157,000 to compare in clusters of 316, 37,000 in clusters of 5,000. On 2,596 pages, 51 clusters found 98 % of what comparing
all with all removes at epsilon 0.01, 97 % at 0.05, 93 % at 0.1.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from math import ceil
from typing import Annotated, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from classifiers import cosine
from classifiers.drawn import hash_ids, other_hash
from classifiers.semantic import Centroids, Clusters, as_lists, k_means, vectors_of
from curate.batch import Array, Batch, Check
from curate.errors import CurateError
from curate.stage import Checks, Guarded, Model, with_facts
from stages.dedup import keeper as keeping
from stages.dedup.exact_kernels import hash_bytes

GUARD = 1e-6  # cosines of float32 that differ by less are equal
STEPS = 1000  # of epsilon from 0 to 1 at which it is counted what would go
SHOWN = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2)  # of these, what is said
REDUCED = pa.schema({"doc": pa.int64(), "similarity": pa.float32(), "kept": pa.int64(), "kept_id": pa.large_string()})

_NEVER = STEPS + 1  # in place of a step: at no epsilon
_COMPARED, _CLUSTERS, _COPIES, _SPLIT, _PIECES = range(-2000, -1995)  # in place of an address: `kept` is the count
_UNSEEN, _LACKING, _LARGEST = range(-1995, -1992)  # likewise
_SAMPLE, _PARTS, _ITERATIONS = 64, 256, 10  # by which a large cluster is split: documents for each part, parts at most
_UNEVEN = 0.9  # share of a large cluster in one part: then it is no clusters, and is cut
_BLOCK = 8192


@dataclass(frozen=True)
class SemDeDup(Guarded):
    """Drop documents that are nearly the same as another one of their cluster, in the cosine of embeddings.

    A document without an embedding, or with one of zeros, stays. Which epsilon is right depends on the encoder: the run says, and its
    facts hold, what each would remove.
    """

    clusters: Model  # made by semantic.KMeans
    column: str = "embedding"  # as encoder.Embed adds it
    epsilon: Annotated[float, Field(ge=0, le=1)] = 0.05  # a larger one removes more; ours, for all-MiniLM-L6-v2 and English articles
    keeper: Literal["hard", "easy", "random", "quality"] = "hard"  # SemDeDup: the farthest from the centroid stays; easy: the nearest
    score: str = ""  # column of which the highest value stays, for `quality`
    against: Literal["seen", "kept"] = "seen"  # those before it that a document is compared with; SemDeDup: all, also those that go
    inclusive: bool = False  # also at exactly 1 - epsilon: NeMo Curator; SemDeDup: above it
    max_cluster: Annotated[int, Field(ge=1000)] = 50_000  # documents compared each with each; ours: 15 s and 250 MB of 384 numbers
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0  # for `random`; ours

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.column, self.score) if self.score else (self.column,)

    def check(self) -> None:
        keeping.check(self.keeper, self.score, "quality")
        Clusters(self.clusters).check()

    @cached_property
    def _centroids(self) -> Centroids:
        return Clusters(self.clusters).loaded

    @property
    def bar(self) -> float:
        """What a cosine has to be above for the document to go."""
        return float(self._bars(np.array([self.epsilon]))[0])

    def _bars(self, epsilons: Array) -> Array:
        """Never below 0: what has a cosine of 0 to all is like none."""
        return np.maximum(1 - epsilons + (-GUARD if self.inclusive else GUARD), 0)

    def emit(self, batch: Batch) -> pa.RecordBatch:
        """(key: of the cluster, row, id, embedding, rank: the smaller the sooner in the order)."""
        row, values, units = vectors_of(batch[self.column], self.column)
        if len(row) and units.shape[1] != self._centroids.dim:
            raise CurateError(
                f"column {self.column} holds embeddings of {units.shape[1]} numbers, and the centroids of {self.clusters.path} have "
                f"{self._centroids.dim}: they must be of one encoder"
            )
        at, near = self._centroids.nearest(units)
        ids = batch["id"].cast(pa.string()).take(pa.array(row))
        rank = self._ranks(batch, row, near)
        return pa.record_batch(
            {"key": other_hash(at.astype(np.uint64)), "row": row, "id": ids, "embedding": as_lists(values), "rank": rank}
        )

    def _ranks(self, batch: Batch, row: Array, near: Array) -> Array:
        """uint64; `near` is the cosine to the centroid."""
        match self.keeper:
            case "random":
                return hash_ids(batch, self.seed)[row]
            case "quality":
                ranks = keeping.ranks(batch, "best", self.score)
                assert ranks is not None
                return ranks[row]
            case _:
                rank: Array = np.floor((near.astype(np.float64) + 2) * 2.0**40).astype(np.uint64)
                return ~rank if self.keeper == "easy" else rank

    def reduce(self, keys: pa.Table) -> pa.Table:
        """A row for each document that goes. In place of an address others say what they count: of each step of epsilon, the documents
        that go from there on, and what was compared.
        """
        key = keys["key"].to_numpy()
        first = np.flatnonzero(np.append(True, key[1:] != key[:-1])) if len(key) else np.empty(0, np.int64)
        out, counts = [REDUCED.empty_table()], _Counts()
        for low, high in pairwise([*first.tolist(), len(key)]):
            out.append(self._decided(keys.slice(low, high - low), counts))
        return pa.concat_tables([*out, counts.rows()])

    def _decided(self, cluster: pa.Table, counts: _Counts) -> pa.Table:
        """The documents of one cluster that go."""
        doc, rank = cluster["doc"].to_numpy(), cluster["rank"].to_numpy()
        order = np.lexsort((doc, rank))
        vectors = Vectors(cluster["embedding"])
        head, hashes = vectors.heads(order)
        heads = order[head[order] == order]
        pieces = list(split(vectors, heads, hashes, self.max_cluster))
        similarity, partner = np.zeros(len(doc), np.float32), np.full(len(doc), -1, np.int64)
        for rows in pieces:
            at, near = cosine.nearest_before(cosine.padded(vectors.take(rows)), len(rows), self.bar, self.against == "kept")
            similarity[rows], partner[rows] = np.minimum(near, 1), np.where(at >= 0, rows[at], -1)
        copies = np.flatnonzero(head != np.arange(len(doc)))
        of = head[copies]
        follow = (self.against == "kept") & (similarity[of] > self.bar)  # what is kept in the stead of the first copy, if that goes
        similarity[copies], partner[copies] = np.where(follow, similarity[of], 1), np.where(follow, partner[of], of)
        counts.add(self._steps(similarity), len(heads), len(copies), list(map(len, pieces)), keeping.lacking(rank, self.keeper))
        gone = np.flatnonzero(similarity > self.bar)
        ids = _taken(cluster["id"], partner[gone])
        return pa.table([doc[gone], similarity[gone], doc[partner[gone]], ids], schema=REDUCED)

    def _steps(self, similarity: Array) -> Array:
        """int64 of each document: the first step of epsilon at which it goes."""
        bars = self._bars(np.arange(STEPS + 1) / STEPS)
        return np.searchsorted(-bars, -similarity.astype(np.float64), side="right")

    def settle(self, reduced: pa.Table) -> pa.Table:
        doc, kept = reduced["doc"].to_numpy(), reduced["kept"].to_numpy()
        gone = doc >= 0

        def count(code: int) -> int:
            return int(kept[doc == code].sum())

        verdict = reduced.filter(pa.array(gone))
        removed, compared, clusters = len(verdict), count(_COMPARED), count(_CLUSTERS)
        largest = int(kept[doc == _LARGEST].max(initial=0))
        facts = {"compared": compared, "removed": removed, "compared_clusters": clusters, "largest_cluster": largest}
        facts |= {"copies": count(_COPIES)}
        facts |= {"split_clusters": count(_SPLIT), "pieces": count(_PIECES), "unseen_pairs": count(_UNSEEN), "epsilon": self.epsilon}
        facts |= keeping.counted(count(_LACKING), self.keeper)
        if not compared:
            return with_facts(verdict, **facts)
        says = [f"{compared:,} documents in {clusters:,} clusters (largest {largest:,}): {removed:,} go at epsilon {self.epsilon:g}"]
        steps = doc[~gone & (doc >= -_NEVER - 1)]
        at = np.bincount(-steps - 1, kept[~gone & (doc >= -_NEVER - 1)], _NEVER + 1).astype(np.int64)
        curve = np.cumsum(at)[:-1].tolist()
        if self.against == "seen":
            told = [f"{epsilon:g}: {curve[round(epsilon * STEPS)]:,}" for epsilon in SHOWN]
            says.append(f"how many each epsilon would remove: {'; '.join(told)}")
            facts["curve"] = [{"epsilon": n / STEPS, "removed": c} for n, c in enumerate(curve) if n == 0 or c > curve[n - 1]]
        facts["similarities"] = [{"from": 1 - n / STEPS, "documents": int(at[n])} for n in np.flatnonzero(at[:-1]).tolist()]
        if facts["split_clusters"]:
            many = f"{facts['split_clusters']:,} clusters of more than {self.max_cluster:,} documents"
            into = f"{facts['pieces']:,} pieces, between which nothing was compared: {facts['unseen_pairs']:,} pairs"
            says.append(f"{many} were split into {into}; more clusters (k) are smaller")
        warns = keeping.warned(facts["unscored"], compared, self.keeper, self.score)
        return with_facts(verdict, says=says, warns=warns, **facts)

    def apply(self, batch: Batch, verdict: pa.Table) -> Checks:
        row = verdict["row"].to_numpy()
        similarity, kept, at = np.full(len(batch), np.nan), np.full(len(batch), -1, np.int64), np.full(len(batch), -1, np.int64)
        similarity[row], kept[row], at[row] = verdict["similarity"].to_numpy(), verdict["kept"].to_numpy(), np.arange(len(row))
        ids = verdict["kept_id"].take(pa.array(at, mask=at < 0)).cast(pa.string()).combine_chunks()
        limit = 1 - self.epsilon
        similarity[row] = np.maximum(similarity[row], limit)  # cosines of float32 that differ by less than GUARD are equal
        return {"semantic_duplicate": Check(kept < 0, similarity, limit, kept, ids)}


class _Counts:
    """What a range of clusters came to."""

    def __init__(self) -> None:
        self.steps = np.zeros(_NEVER + 1, np.int64)
        self.of = dict.fromkeys((_COMPARED, _CLUSTERS, _COPIES, _SPLIT, _PIECES, _UNSEEN, _LACKING, _LARGEST), 0)

    def add(self, steps: Array, heads: int, copies: int, pieces: list[int], lacking: int) -> None:
        self.steps += np.bincount(steps, minlength=_NEVER + 1)
        size = heads + copies
        unseen = (heads**2 - sum(n**2 for n in pieces)) // 2  # pairs
        split = {_SPLIT: 1, _PIECES: len(pieces), _UNSEEN: unseen} if len(pieces) > 1 else {}
        for code, count in ({_COMPARED: size, _CLUSTERS: 1, _COPIES: copies, _LACKING: lacking} | split).items():
            self.of[code] += count
        self.of[_LARGEST] = max(self.of[_LARGEST], size)

    def rows(self) -> pa.Table:
        at = np.flatnonzero(self.steps)
        code = np.concatenate([-1 - at, list(self.of)])
        kept = np.concatenate([self.steps[at], list(self.of.values())])
        return pa.table([code, np.zeros(len(code), np.float32), kept, pa.nulls(len(code), pa.large_string())], schema=REDUCED)


class Vectors:
    """The embeddings of a cluster where they lie, which may be a file: rows are copied as they are asked for."""

    def __init__(self, column: pa.ChunkedArray):
        chunks = [chunk for chunk in column.chunks if len(chunk)]
        self.parts = [chunk.flatten().to_numpy(zero_copy_only=False).reshape(len(chunk), -1) for chunk in chunks]
        self.ends = np.cumsum([len(part) for part in self.parts])

    def take(self, rows: Array) -> Array:
        """float32 of length 1."""
        out = np.empty((len(rows), self.parts[0].shape[1]), np.float32)
        for at, part, own in self._own(rows):
            out[at] = part[own]
        cosine.normalise(out)
        return out

    def _own(self, rows: Array) -> Iterator[tuple[Array, Array, Array]]:
        """Of each part that holds some of the rows: which of them, the part, and their rows in it."""
        of = np.searchsorted(self.ends, rows, side="right")
        for number in np.unique(of).tolist():
            at = np.flatnonzero(of == number)
            yield at, self.parts[number], rows[at] - (self.ends[number] - len(self.parts[number]))

    def heads(self, order: Array) -> tuple[Array, Array]:
        """int64 of each row: the first in the order of those that are equal to it, byte for byte (by hashes of 128 bits); and uint64, a
        hash."""
        pairs = []
        for part in self.parts:
            data = np.ascontiguousarray(part).view(np.uint8).reshape(len(part), -1)
            step = max(1, (1 << 30) // data.shape[1])
            for low in range(0, len(data), step):
                some = data[low : low + step]
                ends = np.arange(len(some) + 1, dtype=np.int32) * np.int32(data.shape[1])
                pairs.append(hash_bytes(some.reshape(-1), ends[:-1], ends[1:]))
        one, two = (np.concatenate(hashes) for hashes in zip(*pairs, strict=True))
        place = np.empty(len(order), np.int64)
        place[order] = np.arange(len(order))
        by = np.lexsort((place, two, one))
        new = np.append(True, (one[by][1:] != one[by][:-1]) | (two[by][1:] != two[by][:-1]))
        head = np.empty(len(order), np.int64)
        head[by] = by[np.flatnonzero(new)][np.cumsum(new) - 1]
        return head, one


def split(vectors: Vectors, rows: Array, hashes: Array, most: int) -> Iterator[Array]:
    """The rows in pieces of `most` or fewer, each in the order given, so that what is similar is together where that can be.

    `hashes`, of all rows, are of what they hold: the pieces do not depend on addresses.
    """
    if len(rows) <= most:
        yield rows
        return
    parts = min(_PARTS, ceil(2 * len(rows) / most))
    by_hash = np.argsort(hashes[rows], kind="stable")
    centroids = Centroids.of(k_means(vectors.take(rows[by_hash[: _SAMPLE * parts]]), parts, _ITERATIONS).centroids)
    at, near = np.empty(len(rows), np.int64), np.empty(len(rows), np.float32)
    lying = np.argsort(rows, kind="stable")  # read as they lie
    for low in range(0, len(rows), _BLOCK):
        some = lying[low : low + _BLOCK]
        at[some], near[some] = centroids.nearest(vectors.take(rows[some]))
    for part in range(parts):
        own = np.flatnonzero(at == part)
        if len(own) > most and len(own) > _UNEVEN * len(rows):  # by how near they are to what is in their midst
            by_near = own[np.argsort(near[own], kind="stable")]
            pieces = ceil(len(own) / most)
            yield from (rows[np.sort(piece)] for piece in np.array_split(by_near, pieces))
        elif len(own):
            yield from split(vectors, rows[own], hashes, most)


def _taken(column: pa.ChunkedArray, rows: Array) -> pa.Array:
    """The values of some rows, large_string; chunk by chunk, so that no more is copied."""
    ends = np.cumsum([len(chunk) for chunk in column.chunks]) if column.num_chunks else np.empty(0, np.int64)
    wanted, back = np.unique(rows, return_inverse=True)
    of = np.searchsorted(ends, wanted, side="right")
    found = [
        column.chunk(n).take(pa.array(wanted[of == n] - (ends[n] - len(column.chunk(n))))).cast(pa.large_string())
        for n in np.unique(of).tolist()
    ]
    return pa.concat_arrays(found).take(pa.array(back)) if found else pa.array([], pa.large_string())
