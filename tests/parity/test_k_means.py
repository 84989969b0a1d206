"""Clusters for semantic deduplication: Lloyd's iterations against a plain reading of them, what is drawn, how many there are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from classifiers import cosine
from classifiers.semantic import FILE, Clusters, KMeans, k_means
from curate.batch import Array, Batch
from curate.errors import CurateError
from curate.stage import Model, Totals


def unit(vectors: Any) -> Array:
    units = np.asarray(vectors, np.float32).copy()
    cosine.normalise(units)
    return units


def plain(units: Array, clusters: int, iterations: int) -> tuple[Array, Array]:
    """Spherical k-means in float64, from the first vectors: centroids, and the cluster of each vector."""
    units = units.astype(np.float64)
    centroids = units[:clusters]
    for _ in range(iterations):
        at = (units @ centroids.T).argmax(1)
        centroids = np.stack([units[at == n].sum(0) for n in range(clusters)])
        centroids /= np.linalg.norm(centroids, axis=1)[:, None]
    return centroids, (units @ centroids.T).argmax(1)


def test_iterations_are_those_of_lloyd() -> None:
    rng = np.random.default_rng(0)
    units = unit(rng.standard_normal((30, 20))[rng.integers(0, 30, 1500)] + rng.standard_normal((1500, 20)) * 0.3)
    for iterations in (1, 3, 10):
        centroids, at = plain(units, 12, iterations)
        found = k_means(units, 12, iterations)
        assert np.abs(found.centroids - centroids).max() < 1e-4
        assert (found.at == at).mean() > 0.999
        assert found.objectives[-1] == pytest.approx(float((units * centroids[at]).sum(1).mean()), abs=1e-5)


@given(st.integers(1, 400), st.integers(1, 20), st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_no_iteration_makes_clusters_worse(count: int, clusters: int, seed: int) -> None:
    units = unit(np.random.default_rng(seed).integers(-3, 4, (count, 4)) + np.array([0.5, 0, 0, 0]))
    found = k_means(units, min(clusters, count), 15)
    assert (np.diff(found.objectives) > -1e-5).all()
    assert np.allclose(np.linalg.norm(found.centroids, axis=1), 1, atol=1e-6)


def test_it_ends_where_nothing_changes() -> None:
    assert len(k_means(unit([[1, 0], [0, 1], [1, 0.1]]), 2, 50).objectives) <= 4


def test_a_cluster_without_documents_gets_one_that_fits_its_own_worst() -> None:
    units = unit([[1, 0], [1, 0], [1, 0.01], [0, 1]])  # both seeds are the same
    found = k_means(units, 2, 10)
    assert found.at[3] not in found.at[:3]
    assert len(set(found.at[:3])) == 1


# -- the trainer ------------------------------------------------------------------------------------------------------------------------


def batches(vectors: Array, size: int, column: str = "embedding", name: str = "s") -> list[Batch]:
    data = {"id": [f"{name}/{n}" for n in range(len(vectors))], "text": pa.array([""] * len(vectors), pa.large_string())}
    data[column] = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), vectors.shape[1])
    whole = pa.record_batch(data)
    return [Batch.of(whole.slice(at, size)) for at in range(0, len(whole), size)]


def trained(trainer: KMeans, given_: list[Batch], folder: Path) -> tuple[dict[str, Any], bytes]:
    """The card, and the file that is written."""
    totals = Totals(sum(map(len, given_)), 0)
    selected = [trainer.select(batch, "documents", totals) for batch in given_]
    card = trainer.train({"documents": selected}, str(folder))
    Clusters(Model(str(folder))).check()
    return card, (folder / FILE).read_bytes()


@pytest.fixture(scope="module")
def vectors() -> Array:
    rng = np.random.default_rng(2)
    return unit(rng.standard_normal((25, 12))[rng.integers(0, 25, 2500)] + rng.standard_normal((2500, 12)) * 0.1).astype(np.float16)


def test_the_number_of_clusters_follows_from_that_of_documents() -> None:
    assert [KMeans().clusters(n) for n in (1, 100, 1_000_000)] == [1, 10, 1000]
    assert KMeans().clusters(10**9) == 200_000  # 5,000 documents to a cluster; the square root would be 31,623
    assert KMeans(mean_cluster=50).clusters(10_000) == 200
    assert KMeans(k=7).clusters(10**9) == 7


def test_a_model_does_not_depend_on_batches_or_their_order(vectors: Array, tmp_path: Path) -> None:
    trainer = KMeans(k=20)
    card, written = trained(trainer, batches(vectors, 1000), tmp_path)
    assert (card["documents"], card["sample"], card["k"], card["dimensions"], card["warnings"]) == (2500, 2500, 20, 12, [])
    assert card["objective"] > 0.85
    assert card["sizes"]["least"] > 0
    again = batches(vectors, 17)
    assert trained(trainer, again[::-1], tmp_path) == (card, written)
    assert trained(KMeans(k=20, seed=1), again, tmp_path)[1] != written


def test_a_sample_is_drawn_by_hash_and_bounds_what_is_held(vectors: Array, tmp_path: Path) -> None:
    trainer = KMeans(k=10, sample_documents=500)
    given_ = batches(vectors, 100)
    selected = [trainer.select(batch, "documents", Totals(2500, 0)) for batch in given_]
    assert 500 <= sum(map(len, selected)) < 700
    card, written = trained(trainer, given_, tmp_path)
    assert card["sample"] == 500
    assert trained(trainer, batches(vectors, 2500), tmp_path) == (card, written)
    assert trained(KMeans(k=10, per_cluster=50), given_, tmp_path) == (card, written)
    few = trained(KMeans(k=100, sample_documents=1000), given_, tmp_path)[0]
    assert "1,000 documents are few to find 100 clusters" in few["warnings"][0]


def test_documents_without_an_embedding_are_left_out(vectors: Array, tmp_path: Path) -> None:
    card, written = trained(KMeans(k=5), batches(vectors[:300], 100), tmp_path)
    empty = np.zeros((300, 12), np.float16)
    more = [*batches(vectors[:300], 100), *batches(empty, 100, name="t")]
    also, same = trained(KMeans(k=5), more, tmp_path)
    assert (also["documents"], also["sample"], card["sample"]) == (600, 300, 300)
    assert same == written


def test_what_cannot_be_clustered_is_said(vectors: Array, tmp_path: Path) -> None:
    with pytest.raises(CurateError, match="no document has an embedding in column embedding"):
        trained(KMeans(), batches(np.zeros((30, 4), np.float32), 7), tmp_path)
    with pytest.raises(CurateError, match="30 documents with an embedding cannot make 31 clusters; give a smaller k"):
        trained(KMeans(k=31), batches(vectors[:30], 7), tmp_path)
    with pytest.raises(CurateError, match="embeddings of 12 and of 5 numbers"):
        trained(KMeans(k=2), [*batches(vectors[:30], 30), *batches(vectors[:30, :5], 30, name="t")], tmp_path)
    with pytest.raises(CurateError, match="column id holds string"):
        KMeans(column="id").select(batches(vectors[:3], 3)[0], "documents", Totals(3, 0))
