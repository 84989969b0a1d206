"""Semantic deduplication: SemDeDup's rule on angles that can be worked out by hand, against a plain reading of it, in pieces and whole."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pytest
import support
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from classifiers import cosine
from curate.barriers import FACTS_FILE
from curate.batch import Array, Batch
from curate.build import build
from curate.errors import CurateError, RecipeError
from curate.stage import Model
from curate.worker import outcome
from stages.dedup import semantic
from stages.dedup.semantic import SemDeDup, Vectors, split

ANGLES = (0, 2, 10, 40, 41, 90)


class Judged(NamedTuple):
    """What became of each document."""

    gone: list[int]
    similarity: dict[int, float]  # of those that went
    kept: dict[int, int]  # likewise, the document named as kept
    facts: dict[str, Any]


def judged(
    vectors: Any,
    *,
    centroids: Any = None,
    scores: Sequence[float] | None = None,
    cuts: Sequence[int] = (),
    partitions: int = 1,
    ids: Sequence[str] | None = None,
    kind: Any = np.float32,
    **parameters: Any,
) -> Judged:
    """A barrier over embeddings, cut into shards at `cuts`; without centroids all are of one cluster."""
    vectors = np.asarray(vectors, kind)
    count, dim = vectors.shape
    names = list(ids or (str(n) for n in range(count)))
    data: dict[str, Any] = {"id": names, "text": pa.array([""] * count, pa.large_string()), "source": ["s"] * count}
    data["embedding"] = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), dim)
    if scores is not None:
        data["score"] = pa.array(scores, pa.float64())
        parameters |= {"keeper": "quality", "score": "score"}
    whole = pa.record_batch(data)
    edges = [0, *cuts, count]
    shards = [[Batch.of(whole.slice(low, high - low))] if high > low else [] for low, high in pairwise(edges)]
    with TemporaryDirectory() as folder:
        np.save(f"{folder}/centroids.npy", np.asarray(np.ones((1, dim)) if centroids is None else centroids, np.float32))
        stage = SemDeDup(clusters=Model(folder), **parameters)
        verdicts = support.decided(stage, shards, Path(folder), partitions=partitions)
        gone, similarity, kept = [], {}, {}
        for first, batch, verdict in ((f, b, v) for f, batches, v in zip(edges, shards, verdicts, strict=False) for b in batches):
            [check] = outcome(stage, batch, verdict.rows(0, len(batch)))[1].values()
            for row in np.flatnonzero(~check.passed).tolist():
                gone.append(first + row)
                similarity[first + row] = float(check.value[row])  # type: ignore[index]
                kept[first + row] = names.index(check.kept_id[row].as_py())  # type: ignore[index]
                shard, place = divmod(int(check.kept[row]), 1 << 32)  # type: ignore[index]
                assert edges[shard] + place == kept[first + row]
        written = Path(folder) / "barrier" / FACTS_FILE
        facts = json.loads(written.read_text())[0] if written.exists() else {}
    return Judged(gone, similarity, kept, facts)


def at(*degrees: float) -> Array:
    radians = np.radians(degrees)
    return np.stack([np.cos(radians), np.sin(radians)], 1)


def angles(**parameters: Any) -> Judged:
    """The six angles around their mean, at 29.1 degrees; documents are named by angle."""
    found = judged(at(*ANGLES), centroids=[at(*ANGLES).sum(0)], **parameters)
    named = {ANGLES[n]: value for n, value in found.similarity.items()}
    return Judged([ANGLES[n] for n in found.gone], named, {ANGLES[n]: ANGLES[k] for n, k in found.kept.items()}, found.facts)


def unit(vectors: Any) -> Array:
    units = np.asarray(vectors, np.float32).copy()
    cosine.normalise(units)
    return units


# -- the rule -------------------------------------------------------------------------------------------------------------------------


def test_hard_keeps_the_farthest_from_the_centroid() -> None:
    assert angles(epsilon=0.0005).gone == [40]
    assert angles(epsilon=0.01).gone == [2, 10, 40]
    every = angles(epsilon=1.0)
    assert every.gone == [2, 10, 40, 41]  # before 90 and 0 there is nothing, and nothing similar
    assert every.similarity == pytest.approx({2: 0.99939, 10: 0.99027, 41: 0.85717, 40: 0.99985}, abs=5e-6)


def test_a_document_that_goes_still_takes_others_along() -> None:
    chain = angles(epsilon=0.01)
    assert (chain.kept[2], chain.kept[10]) == (0, 2)  # 10 goes because of 2, which goes itself; to 0 it has a cosine of .98481
    assert angles(epsilon=0.01, against="kept").gone == [2, 40]


def test_easy_keeps_the_nearest_to_the_centroid() -> None:
    assert angles(epsilon=0.0005, keeper="easy").gone == [41]
    assert angles(epsilon=0.01, keeper="easy").gone == [0, 2, 41]


def test_quality_goes_by_a_score() -> None:
    order = (10, 41, 0, 2, 40, 90)
    found = angles(epsilon=0.01, scores=[-order.index(angle) for angle in ANGLES])
    assert found.gone == [2, 40]
    assert found.kept == {2: 0, 40: 41}
    assert found.similarity == pytest.approx({2: 0.99939, 40: 0.99985}, abs=5e-6)
    worst = judged(at(0, 0.1), scores=[float("nan"), -5.0])
    assert worst.kept == {0: 1}  # a document without a score is the worst
    assert worst.facts["warns"] == ["1 of 2 documents have no number in the column score, and count as the worst"]


def test_the_rows_of_curators_own_test() -> None:
    rows = [(1, 2, 3), (4, 5, 6), (7, 8, 9), (10, 11, 12), (1, 2, 3), (1, 2, 3)]
    found = judged(rows, epsilon=1.0, scores=[6, 5, 4, 3, 2, 1])
    assert found.similarity == pytest.approx({1: 0.974631, 2: 0.998190, 3: 0.999618, 4: 1, 5: 1}, abs=1e-6)
    assert found.kept == {1: 0, 2: 1, 3: 2, 4: 0, 5: 0}


def test_exactly_at_the_limit_semdedup_keeps_and_curator_removes() -> None:
    pair = [(1.0, 0.0), (0.6, 0.8)]
    assert judged(pair, epsilon=0.4, scores=[2, 1]).gone == []
    assert judged(pair, epsilon=0.4, scores=[2, 1], inclusive=True).gone == [1]
    as_float32 = judged([(1.0, 0.0), (0.7, 0.51**0.5)], epsilon=0.3, scores=[2, 1], inclusive=True)
    assert as_float32.similarity == {1: 1 - 0.3}  # and not 0.69999999, below the limit in the same fate
    assert judged(pair, epsilon=0.4001, scores=[2, 1]).gone == [1]
    assert judged(pair, epsilon=0.3999, scores=[2, 1], inclusive=True).gone == []
    for against in ("seen", "kept"):  # what is like nothing stays whatever the limit
        assert judged([(1.0, 0.0), (0.0, 1.0), (-1.0, 0.0)], epsilon=1.0, inclusive=True, against=against).gone == []
    assert judged([(1.0, 2.0)] * 3, epsilon=0.0).gone == []
    assert judged([(1.0, 2.0)] * 3, epsilon=0.0, inclusive=True).gone == [1, 2]


def test_one_document_and_no_document() -> None:
    assert judged([(1.0, 0.0)]).gone == []
    assert judged(np.zeros((0, 2))).gone == []


def test_random_goes_by_hashes_of_ids_and_a_seed() -> None:
    vectors = at(*np.linspace(0, 0.1, 20))
    names = [f"document {n}" for n in range(20)]

    def stays(seed: int, order: Array) -> set[str]:
        found = judged(vectors[order], keeper="random", seed=seed, ids=[names[n] for n in order])
        return {names[n] for n in order} - {names[order[n]] for n in found.gone}

    first = [stays(seed, np.arange(20)) for seed in range(12)]
    assert first == [stays(seed, np.random.default_rng(seed).permutation(20)) for seed in range(12)]
    assert all(len(stay) == 1 for stay in first)
    assert len(set.union(*first)) > 3


def test_clusters_do_not_meet() -> None:
    assert judged(at(44, 46), centroids=at(0, 90), epsilon=0.05).gone == []
    assert judged(at(44, 46), centroids=at(0), epsilon=0.05).gone == [0]


# -- against a plain reading ------------------------------------------------------------------------------------------------------------


def expected(vectors: Array, order: Sequence[int], bar: float, *, kept: bool) -> tuple[dict[int, float], set[int]]:
    """Of each document the largest cosine to those before it, and those that go."""
    units = vectors / np.linalg.norm(vectors, axis=1)[:, None]
    before: list[int] = []
    largest, gone = {}, set()
    for n in order:
        largest[n] = max((float(units[n] @ units[b]) for b in before), default=0.0)
        if largest[n] > bar:
            gone.add(n)
        if not (kept and n in gone):
            before.append(n)
    return largest, gone


small = st.lists(st.tuples(*[st.integers(-4, 4)] * 3).filter(any), min_size=1, max_size=60)


@given(small, st.sampled_from([0.003, 0.01, 0.05, 0.2]), st.booleans(), st.randoms(use_true_random=False), st.data())
@settings(max_examples=60, deadline=None)
def test_what_goes_is_what_the_rule_says(rows: list[tuple[int, ...]], epsilon: float, kept: bool, rng: Any, data: Any) -> None:
    vectors = np.array(rows, np.float64)
    scores = list(range(len(rows)))
    rng.shuffle(scores)
    order = sorted(range(len(rows)), key=lambda n: -scores[n])
    bar = 1 - epsilon + 1e-6
    largest, gone = expected(vectors, order, bar, kept=kept)
    assume(all(abs(value - bar) > 1e-5 for value in largest.values()))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(rows)), max_size=3)))
    found = judged(rows, epsilon=epsilon, scores=scores, against="kept" if kept else "seen", cuts=cuts)
    assert set(found.gone) == gone
    units = vectors / np.linalg.norm(vectors, axis=1)[:, None]
    for n in gone:
        assert found.similarity[n] == pytest.approx(largest[n], abs=2e-6)
        assert units[n] @ units[found.kept[n]] == pytest.approx(largest[n], abs=2e-6)
        assert scores[found.kept[n]] > scores[n]
        assert not kept or found.kept[n] not in gone


@given(small, st.lists(st.floats(0, 1), min_size=2, max_size=2).map(sorted), st.booleans())
@example([(0, 0, 1), (0, 1, 0)], [0.0, 1.0], True)
@settings(max_examples=40, deadline=None)
def test_a_larger_epsilon_never_removes_fewer(rows: list[tuple[int, ...]], epsilons: list[float], inclusive: bool) -> None:
    less, more = (judged(rows, epsilon=epsilon, inclusive=inclusive) for epsilon in epsilons)
    assert set(less.gone) <= set(more.gone)


def test_the_curve_says_what_each_epsilon_removes() -> None:
    rng = np.random.default_rng(3)
    vectors = np.repeat(rng.standard_normal((40, 8)), 5, axis=0) + rng.standard_normal((200, 8)) * rng.choice([0, 0.05, 0.2, 0.5], (200, 1))
    centroids = rng.standard_normal((3, 8))
    curve = {point["epsilon"]: point["removed"] for point in judged(vectors, centroids=centroids).facts["curve"]}
    assert len(curve) > 20
    for epsilon in (0.0, 0.001, 0.01, 0.05, 0.1, 0.3):
        found = judged(vectors, centroids=centroids, epsilon=epsilon)
        assert len(found.gone) == found.facts["removed"] == max(n for e, n in curve.items() if e <= epsilon)
        assert (found.facts["compared"], found.facts["copies"]) == (200, 200 - len(np.unique(vectors.astype(np.float32), axis=0)))


# -- in pieces --------------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def many() -> tuple[Array, Array]:
    """3,000 embeddings as an encoder makes them, of 50 numbers and near each other in groups; and 7 centroids."""
    rng = np.random.default_rng(5)
    groups = rng.standard_normal((400, 50))
    vectors = groups[rng.integers(0, 400, 3000)] + rng.standard_normal((3000, 50)) * rng.choice([0.0, 0.1, 0.3, 1.0], (3000, 1))
    return unit(vectors).astype(np.float16), unit(rng.standard_normal((7, 50)))


@pytest.mark.parametrize("against", ["seen", "kept"])
@pytest.mark.parametrize("partitions", [2, 8])
def test_partitions_shards_and_ranges_of_keys_change_no_bit(
    many: tuple[Array, Array], against: str, partitions: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors, centroids = many
    whole = judged(vectors, centroids=centroids, kind=np.float16, against=against)
    assert 500 < len(whole.gone) < 2500
    assert judged(vectors, centroids=centroids, kind=np.float16, against=against, partitions=partitions, cuts=(100, 101, 1700)) == whole
    monkeypatch.setattr("curate.exchange.RANGE_ROWS", 100)  # every cluster is mapped, in small pieces
    monkeypatch.setattr("curate.exchange.PIECE_BYTES", 5000)
    monkeypatch.setattr(semantic, "_BLOCK", 64)
    assert judged(vectors, centroids=centroids, kind=np.float16, against=against, partitions=partitions, cuts=(100, 101, 1700)) == whole


def test_the_order_of_documents_does_not_matter(many: tuple[Array, Array]) -> None:
    vectors, centroids = np.unique(many[0], axis=0), many[1]  # without copies, of which the first stays
    order = np.random.default_rng(0).permutation(len(vectors))
    there = judged(vectors, centroids=centroids, kind=np.float16)
    moved = judged(vectors[order], centroids=centroids, kind=np.float16)
    assert sorted(order[moved.gone].tolist()) == there.gone
    assert {int(order[n]): s for n, s in moved.similarity.items()} == there.similarity


@given(st.integers(1, 300), st.integers(1, 9), st.integers(1, 300), st.integers(0, 10**6))
@settings(max_examples=30, deadline=None)
def test_a_cosine_is_the_same_whatever_stands_beside_it(count: int, dim: int, others: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows, there = unit(rng.standard_normal((count, dim))), unit(rng.standard_normal((others, dim)))
    panels = cosine.panels_of(cosine.padded(there), others)
    best, near = cosine.nearest(cosine.padded(rows), count, panels, others)
    exact = rows.astype(np.float64) @ there.astype(np.float64).T
    assert np.abs(near - exact.max(1)).max() < 1e-6
    assert np.abs(exact[np.arange(count), best] - near).max() < 1e-6
    for n in rng.integers(0, count, 3):
        alone = cosine.nearest(cosine.padded(rows[n : n + 1]), 1, panels, others)
        assert (alone[0][0], alone[1][0]) == (best[n], near[n])
    before, similar = cosine.nearest_before(cosine.padded(rows), count, 2.0, False)
    first = unit(-rows.sum(0, keepdims=True) if np.any(rows.sum(0)) else rows[:1])
    later, again = cosine.nearest_before(cosine.padded(np.concatenate([first, rows])), count + 1, 2.0, False)
    same = later[1:] != 0  # all but those that are most similar to the one put in front
    assert np.array_equal(similar[same], again[1:][same])
    assert np.array_equal(before[same & (before >= 0)], later[1:][same & (before >= 0)] - 1)


# -- large clusters -----------------------------------------------------------------------------------------------------------------------


def test_a_document_that_is_there_very_often_is_left_once() -> None:
    vectors = np.concatenate([np.ones((20_000, 4)), [[1, 0, 0, 0]]])
    for against in ("seen", "kept"):
        found = judged(vectors, against=against, max_cluster=100)
        assert len(found.gone) == 19_999
        assert set(found.kept.values()) == {0}
        assert (found.facts["copies"], found.facts["split_clusters"]) == (19_999, 0)


def test_a_cluster_that_is_too_large_is_split_between_and_not_through_groups() -> None:
    rng = np.random.default_rng(1)
    vectors = np.repeat(unit(rng.standard_normal((40, 16))), 50, axis=0) + rng.standard_normal((2000, 16)) * 0.01
    found = judged(vectors, max_cluster=200)
    assert 0 <= 2000 - 40 - len(found.gone) <= 5  # k-means puts few groups on two sides of a border
    assert found.facts["split_clusters"] == 1
    assert found.facts["pieces"] >= 10
    assert 2000 * 1999 // 2 > found.facts["unseen_pairs"] > 2000 * 1800 // 2
    assert any("1 clusters of more than 200 documents were split" in line for line in found.facts["says"])
    assert judged(vectors, max_cluster=200, partitions=3, cuts=(700,)) == found


@given(st.integers(2, 400), st.integers(2, 60), st.sampled_from([0.0, 1e-3, 1.0]), st.integers(0, 1000))
@settings(max_examples=40, deadline=None)
def test_pieces_are_small_hold_every_row_once_and_keep_the_order(count: int, most: int, spread: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    vectors = np.ones((count, 5), np.float32) + rng.standard_normal((count, 5)).astype(np.float32) * np.float32(spread)
    column = pa.chunked_array([semantic.as_lists(vectors[low : low + 37]) for low in range(0, count, 37)])
    order = rng.permutation(count)
    place = np.argsort(order)
    pieces = list(split(Vectors(column), order, rng.integers(0, 2**63, count).astype(np.uint64), most))
    assert all(0 < len(piece) <= most for piece in pieces)
    assert sorted(np.concatenate(pieces).tolist()) == list(range(count))
    assert all((np.diff(place[piece]) > 0).all() for piece in pieces)


# -- bad input ----------------------------------------------------------------------------------------------------------------------------


def test_a_document_without_an_embedding_stays() -> None:
    bad = [[0.0, 0.0], [float("nan"), 1.0], [float("inf"), 1.0], [1.0, 0.0], [1.0, 0.0]]
    found = judged(bad * 2)
    assert found.gone == [4, 8, 9]
    assert found.facts["compared"] == 4


def emitted(folder: Path, column: pa.Array, **parameters: Any) -> pa.RecordBatch:
    np.save(folder / "centroids.npy", np.eye(4, dtype=np.float32))
    data = {"id": [str(n) for n in range(len(column))], "text": pa.array([""] * len(column), pa.large_string()), "embedding": column}
    return SemDeDup(clusters=Model(str(folder)), **parameters).emit(Batch.of(pa.record_batch(data)))


def test_lists_of_any_kind_are_embeddings_and_nothing_else_is(tmp_path: Path) -> None:
    rows = [[1.0, 0, 0, 0], None, [0, 2.0, 0, 0]]
    for kind in (pa.list_(pa.float32()), pa.large_list(pa.float64()), pa.list_(pa.float32(), 4)):
        keys = emitted(tmp_path, pa.array(rows, kind))
        assert keys["row"].to_pylist() == [0, 2]
        assert len(set(keys["key"].to_pylist())) == 2
    for column, message in (
        (
            pa.array(["a"]),
            "column embedding holds string; expected embeddings.*What a reader keeps of its input becomes text: let encoder.Embed",
        ),
        (pa.array([[1]], pa.list_(pa.int64())), r"holds list<.*int64>; expected embeddings"),
        (pa.array([[1.0], [1.0, 2.0]], pa.list_(pa.float32())), "embeddings of 1 and of 2 numbers"),
        (pa.array([[1.0, 2.0]], pa.list_(pa.float32())), "embeddings of 2 numbers, and the centroids of .* have 4"),
    ):
        with pytest.raises(CurateError, match=message):
            emitted(tmp_path, column)


def test_clusters_are_not_split_into_next_to_nothing(tmp_path: Path) -> None:
    np.save(tmp_path / "centroids.npy", np.eye(4, dtype=np.float32))
    with pytest.raises(RecipeError, match=r"max_cluster: expected greater than or equal to 1000, found 4"):
        build("dedup.semantic.SemDeDup", {"clusters": str(tmp_path / "centroids.npy"), "max_cluster": 4})


def test_what_cannot_be_is_refused_before_anything_starts(tmp_path: Path) -> None:
    np.save(tmp_path / "centroids.npy", np.eye(4, dtype=np.float32))
    good = Model(str(tmp_path))
    SemDeDup(good).check()
    SemDeDup(Model(str(tmp_path / "centroids.npy"))).check()
    with pytest.raises(CurateError, match="keeper: quality needs the name of a column"):
        SemDeDup(good, keeper="quality").check()
    with pytest.raises(CurateError, match="score: s is not looked at where the keeper is hard"):
        SemDeDup(good, score="s").check()
    for number, array in enumerate((np.eye(4), np.ones(4, np.float32), np.zeros((0, 4), np.float32))):
        np.save(tmp_path / f"{number}.npy", array)
        with pytest.raises(CurateError, match="expected float32, a row for each cluster"):
            SemDeDup(Model(str(tmp_path / f"{number}.npy"))).check()
    (tmp_path / "text.npy").write_text("version https://git-lfs")
    for name in ("text.npy", "absent"):
        with pytest.raises(CurateError, match="cannot be read as centroids"):
            SemDeDup(Model(str(tmp_path / name))).check()
