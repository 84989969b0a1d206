"""Clusters of documents by what they mean: spherical k-means over embeddings, for semantic deduplication.

SemDeDup (Abbas et al. 2023, arXiv 2303.09540) compares documents within clusters only; D4 (Tirumala et al. 2023, arXiv 2308.12284) takes
about the square root of the number of documents for the number of clusters, and 20 iterations. Seeds are documents drawn by hash; a
cluster that loses all its documents gets one of those that fit theirs worst. One thread, and the same bits every time: see `cosine`.
Cost: 50,000 embeddings of 384 numbers, 500 clusters, 20 iterations: 5.5 s on one core, where faiss takes 4 s and scikit-learn 5.4 s (22 s
with its k-means++), to objectives within 2.5 %. Memory: 4 bytes for each number of the sample.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from math import ceil, sqrt
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from classifiers import cosine
from classifiers.drawn import hash_ids, share_of
from curate.batch import Array, Batch
from curate.errors import CurateError
from curate.stage import Model, Totals, Trainer

FILE = "centroids.npy"
_BLOCK = 8192  # vectors in one go, so that Ctrl-C is heard
_FEW = 39  # documents of the sample to a cluster; below, faiss warns too


def vectors_of(column: pa.Array, name: str) -> tuple[Array, Array, Array]:
    """(rows, vectors as they are, and as float32 of length 1) of the documents that have an embedding: int64[n], [n, d] and float32[n, d].

    A null is none, nor is a vector of zeros or with what is no number.
    """
    kind = column.type
    if not (pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)) or not pa.types.is_floating(
        kind.value_type
    ):
        raise CurateError(
            f"column {name} holds {kind}; expected embeddings, lists of float16, float32 or float64, as encoder.Embed adds. What a reader "
            "keeps of its input becomes text: let encoder.Embed make them in this run, or a transform of your own put the lists there"
        )
    rows = np.flatnonzero(column.is_valid().to_numpy(zero_copy_only=False))
    lists = column.drop_null() if column.null_count else column
    lengths = pc.unique(pc.list_value_length(lists)).to_pylist()
    if len(lengths) > 1:
        raise CurateError(f"column {name} holds embeddings of {lengths[0]} and of {lengths[1]} numbers; all must be as long")
    values = lists.flatten().to_numpy(zero_copy_only=False).reshape(len(rows), lengths[0] if lengths else 0)
    units = values.astype(np.float32)
    good = cosine.normalise(units)
    return (rows, values, units) if good.all() else (rows[good], values[good], units[good])


def as_lists(vectors: Array) -> pa.ListArray:
    """Vectors as a column whose type does not say how long they are, so that none of no vector is of the same."""
    count, dim = vectors.shape
    return pa.ListArray.from_arrays(pa.array(np.arange(count + 1, dtype=np.int32) * dim, pa.int32()), pa.array(vectors.reshape(-1)))


@dataclass(frozen=True)
class Centroids:
    """Directions that vectors are assigned to."""

    panels: Array
    count: int
    dim: int

    @classmethod
    def of(cls, vectors: Array) -> Centroids:
        """Of float32[k, d] of length 1."""
        return cls(cosine.panels_of(cosine.padded(vectors), len(vectors)), *vectors.shape)

    def nearest(self, units: Array) -> tuple[Array, Array]:
        """int64 and float32: of each vector of length 1 the most similar centroid, the first of equals, and the cosine."""
        found = [
            cosine.nearest(cosine.padded(units[at : at + _BLOCK]), min(_BLOCK, len(units) - at), self.panels, self.count)
            for at in range(0, len(units), _BLOCK)
        ]
        at, near = zip(*found, strict=True) if found else ([np.empty(0, np.int64)], [np.empty(0, np.float32)])
        return np.concatenate(at), np.concatenate(near)


@dataclass(frozen=True)
class Clustering:
    """What k-means came to."""

    centroids: Array  # float32[k, d] of length 1
    at: Array  # int64: the cluster of each vector
    objectives: list[float]  # the mean cosine of vectors to their centroids, before each iteration and after the last


def k_means(units: Array, clusters: int, iterations: int) -> Clustering:
    """Spherical k-means by Lloyd's iterations, from the first vectors as seeds; ends where nothing changes."""
    centroids = units[:clusters].copy()
    before, objectives = None, []
    while True:
        at, near = Centroids.of(centroids).nearest(units)
        objectives.append(float(near.mean(dtype=np.float64)))
        if len(objectives) > iterations or (before is not None and np.array_equal(at, before)):
            return Clustering(centroids, at, objectives)
        before = at
        sums, sizes = cosine.add_up(units, at, clusters)
        centroids = (sums / np.maximum(sizes, 1)[:, None]).astype(np.float32)
        empty = np.flatnonzero(sizes == 0)
        centroids[empty] = units[np.argsort(near, kind="stable")[: len(empty)]]
        cosine.normalise(centroids)


@dataclass(frozen=True)
class KMeans(Trainer):
    """Finds clusters of documents by their embeddings: a model that dedup.semantic.SemDeDup uses.

    It learns from a sample, drawn by hashes of ids; the documents are assigned where the model is used.
    """

    column: str = "embedding"  # as encoder.Embed adds it
    k: Annotated[int, Field(ge=0)] = 0  # clusters; 0: the square root of the documents (D4), or more, see mean_cluster
    mean_cluster: Annotated[int, Field(ge=1)] = 5000  # documents, at most, on the mean: comparing within clusters costs their square; ours
    iterations: Annotated[int, Field(ge=1)] = 20  # D4; SemDeDup has 100
    sample_documents: Annotated[int, Field(ge=1)] = 1_000_000  # ours: that are learnt from, at most: 4 bytes for each number of each
    per_cluster: Annotated[int, Field(ge=1)] = 256  # likewise, for each cluster; faiss: as many
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.column,)

    def clusters(self, documents: int) -> int:
        """How many clusters so many documents get."""
        return self.k or max(1, round(sqrt(documents)), ceil(documents / self.mean_cluster))

    def _sampled(self, documents: int) -> int:
        return min(self.sample_documents, self.per_cluster * self.clusters(documents))

    def select(self, batch: Batch, role: str, totals: Totals) -> pa.RecordBatch:  # noqa: ARG002
        """(hash: uint64, documents: how many there are in all, embedding)."""
        hashes = hash_ids(batch, self.seed)
        wanted = self._sampled(totals.documents)
        chosen = share_of(hashes, (wanted + 6 * sqrt(wanted)) / max(1, totals.documents))  # so that chance does not make them too few
        rows, values, _ = vectors_of(batch[self.column].filter(pa.array(chosen)), self.column)
        hashes = hashes[chosen][rows]
        return pa.record_batch({"hash": hashes, "documents": np.full(len(hashes), totals.documents), "embedding": as_lists(values)})

    def train(self, selected: Mapping[str, Iterable[pa.RecordBatch]], folder: str) -> dict[str, Any]:
        """Writes the centroids. The card has the objective after each iteration, and the sizes of the sample's clusters."""
        batches = selected["documents"]
        documents = max((int(b["documents"][0].as_py()) for b in batches if len(b)), default=0)
        if not documents:
            raise CurateError(f"no document has an embedding in column {self.column}: there is nothing to cluster")
        units = self._read(batches, self._sampled(documents))
        clusters = self.clusters(documents)
        if clusters > len(units):
            raise CurateError(f"{len(units):,} documents with an embedding cannot make {clusters:,} clusters; give a smaller k")
        found = k_means(units, clusters, self.iterations)
        np.save(os.path.join(folder, FILE), found.centroids, allow_pickle=False)
        sizes = np.sort(np.bincount(found.at, minlength=clusters))
        warnings = []
        if len(units) < _FEW * clusters and len(units) < documents:
            few = f"{len(units):,} documents are few to find {clusters:,} clusters by ({_FEW} for each are advised)"
            warnings = [f"{few}; raise sample_documents or per_cluster, or lower k"]
        return {
            "documents": documents,
            "sample": len(units),
            "k": clusters,
            "dimensions": units.shape[1],
            "iterations": len(found.objectives) - 1,
            "objective": found.objectives[-1],
            "objectives": found.objectives,
            "sizes": {
                "least": int(sizes[0]),
                "median": int(sizes[clusters // 2]),
                "largest": int(sizes[-1]),
                "empty": int((sizes == 0).sum()),
            },
            "warnings": warnings,
        }

    def _read(self, batches: Iterable[pa.RecordBatch], most: int) -> Array:
        """The vectors of the lowest hashes, so many at most, in order of hash; nothing else is held."""
        hashes = np.concatenate([b["hash"].to_numpy() for b in batches])
        place = np.empty(len(hashes), np.int64)
        place[np.argsort(hashes, kind="stable")] = np.arange(len(hashes))
        out, first = None, 0
        for batch in batches:
            rows, _, units = vectors_of(batch["embedding"], self.column)
            if len(rows):
                out = np.zeros((min(most, len(hashes)), units.shape[1]), np.float32) if out is None else out
                if units.shape[1] != out.shape[1]:
                    raise CurateError(
                        f"column {self.column} holds embeddings of {out.shape[1]} and of {units.shape[1]} numbers; all must be as long"
                    )
                to = place[first : first + len(rows)]
                out[to[to < most]] = units[to < most]
            first += len(batch)
        assert out is not None
        return out


@dataclass(frozen=True)
class Clusters:
    """A model that KMeans has made, or another file of centroids."""

    model: Model

    @property
    def _path(self) -> str:
        return os.path.join(self.model.path, FILE) if os.path.isdir(self.model.path) else self.model.path

    def check(self) -> None:
        """Raise CurateError unless there are centroids."""
        if self.model.path:
            self._opened()

    def _opened(self) -> Array:
        try:
            found: Array = np.load(self._path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise CurateError(f"{self._path} cannot be read as centroids: {error}; expected {FILE}, as semantic.KMeans writes it") from None
        if found.dtype != np.float32 or found.ndim != 2 or not found.size:
            raise CurateError(f"{self._path} holds {found.dtype} of shape {found.shape}; expected float32, a row for each cluster")
        return found

    @cached_property
    def loaded(self) -> Centroids:
        units = np.array(self._opened())
        if not cosine.normalise(units).all():
            raise CurateError(f"{self._path} holds a centroid without a direction; make it again")
        return Centroids.of(units)
