"""A batch is a selection of rows: views are computed once, and are right after whatever has been done to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.batch import Batch, at_least, at_most
from curate.kernels import text as text_kernels

kernel = settings(deadline=None, max_examples=60)  # numba may have to compile first
texts = st.lists(st.text("ab\n' .é中👍", max_size=12), max_size=8)
VIEWS = ("utf8", "size", "chars", "words", "lines", "line_hashes")
KERNELS = {"chars": "count_chars", "words": "split_words", "lines": "split_lines", "line_hashes": "hash_spans"}


def record_batch(documents: list[str], **columns: Any) -> pa.RecordBatch:
    ids = [f"doc:{n}" for n in range(len(documents))]
    return pa.record_batch({"id": pa.array(ids, pa.string()), "text": pa.array(documents, pa.large_string()), **columns})


def batch_of(*documents: str, **columns: Any) -> Batch:
    return Batch.of(record_batch(list(documents), **columns))


def facts(batch: Batch) -> dict[str, Any]:
    """Every view as plain values, free of where in which buffer they were found."""
    data, start, end = batch.utf8
    words, lines = batch.words, batch.lines

    def pieces(spans: Any) -> list[list[bytes]]:
        return [[bytes(data[spans.start[s] : spans.end[s]]) for s in range(a, b)] for a, b in zip(spans.first, spans.last, strict=True)]

    def per_span(spans: Any, values: Any) -> list[list[int]]:
        return [values[a:b].tolist() for a, b in zip(spans.first, spans.last, strict=True)]

    return {
        "bytes": [bytes(data[a:b]) for a, b in zip(start, end, strict=True)],
        "size": batch.size.tolist(),
        "chars": batch.chars.tolist(),
        "words": pieces(words),
        "counts": [words.count.tolist(), lines.count.tolist()],
        "word facts": [per_span(words, v) for v in (words.chars, words.kind, words.hash)],
        "lines": pieces(lines),
        "line hashes": per_span(lines, batch.line_hashes),
        "data": batch.data.to_pydict(),
        "scores": batch.score(len).tolist(),
        "length": len(batch),
    }


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the kernels that ran, in order."""
    ran: list[str] = []

    def watched(name: str, kernel: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any) -> Any:
            ran.append(name)
            return kernel(*arguments)

        return run

    for name in KERNELS.values():
        monkeypatch.setattr(text_kernels, name, watched(name, getattr(text_kernels, name)))
    return ran


# -- views --------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("view", KERNELS)
def test_a_view_is_computed_once(view: str, calls: list[str]):
    batch = batch_of("one two\nthree", "four")
    getattr(batch, view), getattr(batch, view), getattr(batch, view)
    assert calls.count(KERNELS[view]) == 1


@pytest.mark.parametrize("view", KERNELS)
def test_a_view_is_not_computed_again_for_the_documents_that_stay_or_with_a_new_column(view: str, calls: list[str]):
    batch = batch_of("one two\nthree", "four", "five")
    getattr(batch, view)
    rest = batch.where(np.array([True, False, True])).with_column("score", np.zeros(2)).where(np.array([False, True]))
    getattr(rest, view)
    assert calls.count(KERNELS[view]) == 1


def test_documents_that_stay_share_the_buffers_of_the_batch_they_come_from():
    batch = batch_of("one two\nthree", "four", "five")
    before = batch.utf8, batch.words, batch.lines, batch.line_hashes
    rest = batch.where(np.array([True, False, True]))
    assert rest.utf8[0] is before[0][0]
    assert rest.words.hash is before[1].hash
    assert rest.lines.start is before[2].start
    assert rest.line_hashes is before[3]


def test_the_text_is_read_where_it_lies():
    data = record_batch(["abc", "de"])
    values = np.frombuffer(data["text"].buffers()[2], np.uint8)
    assert np.shares_memory(Batch.of(data).utf8[0], values)


def test_nothing_is_copied_where_every_document_stays():
    batch = batch_of("a", "b")
    assert batch.where(np.array([True, True])) is batch


def test_a_batch_is_unchanged_by_what_is_made_of_it():
    batch = batch_of("one two", "", "three\n")
    before = facts(batch)
    batch.where(np.array([False, True, True])).with_column("id", pa.array(["x", "y"])).with_text(["p", "q"])
    assert facts(batch) == before


actions = st.lists(st.tuples(st.sampled_from(["where", "column", "text", *VIEWS]), st.integers(0, 2**32)), max_size=8)


@kernel
@given(texts, actions)
def test_after_any_selections_and_rewritings_all_views_are_those_of_a_batch_made_anew(documents: list[str], actions: list[tuple[str, int]]):
    batch = Batch.of(record_batch(documents))
    for action, seed in actions:
        rng = np.random.default_rng(seed)
        match action:
            case "where":
                batch = batch.where(rng.random(len(batch)) < 0.7)
            case "column":
                batch = batch.with_column("score", rng.random(len(batch)))
            case "text":
                batch = batch.with_text([t + "é x\n" for t in batch.text.to_pylist()])
            case view:
                getattr(batch, view)
    assert facts(batch) == facts(Batch.of(batch.data))


@kernel
@given(texts, st.integers(0, 5), st.integers(0, 5))
def test_a_slice_of_an_arrow_batch_is_a_batch_of_its_documents(documents: list[str], first: int, count: int):
    whole = record_batch(documents, n=pa.array(range(len(documents)), pa.int64()))
    part = whole.slice(min(first, len(documents)), count)
    anew = pa.RecordBatch.from_pylist(part.to_pylist(), schema=whole.schema)
    assert facts(Batch.of(part)) == facts(Batch.of(anew))


def test_a_batch_without_a_document_has_every_view():
    for batch in (batch_of(), batch_of("a").where(np.array([False])), Batch.of(record_batch(["a", "b"]).slice(2))):
        found = facts(batch)
        assert found["length"] == 0
        assert found["bytes"] == found["words"] == found["lines"] == found["chars"] == found["scores"] == []
        assert batch.names == ["id", "text"]


def test_an_empty_text_has_one_empty_line_and_no_word():
    found = facts(batch_of(""))
    assert (found["chars"], found["words"], found["lines"]) == ([0], [[]], [[b""]])


# -- columns ------------------------------------------------------------------------------------------------------------------------


def test_data_has_the_id_then_the_text_then_the_other_columns_as_they_came():
    batch = batch_of("a", "b", url=pa.array(["u", "v"])).with_column("zeta", np.array([1, 2])).with_column("alpha", np.array([3, 4]))
    assert batch.data.schema.names == ["id", "text", "url", "zeta", "alpha"]
    assert batch.where(np.array([False, True])).data.to_pylist() == [{"id": "doc:1", "text": "b", "url": "v", "zeta": 2, "alpha": 4}]


def test_a_column_is_replaced_in_its_place():
    batch = batch_of("a", url=pa.array(["u"]), n=pa.array([1])).with_column("url", pa.array(["w"]))
    assert batch.data.schema.names == ["id", "text", "url", "n"]
    assert batch["url"].to_pylist() == ["w"]


def test_a_column_follows_its_documents():
    batch = batch_of("a", "b", "c").where(np.array([True, False, True])).with_column("n", np.array([1, 3]))
    assert batch.where(np.array([False, True])).data.to_pylist() == [{"id": "doc:2", "text": "c", "n": 3}]


def test_a_column_or_text_of_another_length_is_refused():
    batch = batch_of("a", "b")
    with pytest.raises(ValueError, match="1"):
        batch.with_column("n", np.array([1]))
    with pytest.raises(ValueError, match="3 texts for 2 documents"):
        batch.with_text(["a", "b", "c"])
    with pytest.raises(ValueError, match="1 texts for 2 documents"):
        batch.with_text(["a", None])


def test_text_cannot_become_a_second_column_of_its_name():
    with pytest.raises(ValueError, match="with_text"):
        batch_of("a").with_column("text", pa.array(["b"]))


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())])
def test_text_of_any_string_type_is_read_as_what_it_says(kind: pa.DataType):
    values = pa.array(["één", "", "two words"], pa.string()).cast(kind)
    for batch in (Batch.of(pa.record_batch({"id": ["1", "2", "3"], "text": values})), batch_of("x", "y", "z").with_text(values)):
        assert batch.text.type == pa.large_string()
        assert batch.chars.tolist() == [3, 0, 9]
        assert batch.data["text"].to_pylist() == ["één", "", "two words"]


def test_text_alone_is_a_batch():
    batch = Batch.of(pa.record_batch({"text": pa.array(["a", "b"], pa.large_string())})).where(np.array([False, True]))
    assert batch.data.to_pylist() == [{"text": "b"}]


@kernel
@given(texts)
def test_a_score_is_what_the_function_says_of_each_text(documents: list[str]):
    scores = Batch.of(record_batch(documents)).score(lambda t: t.count("a") / 2)
    np.testing.assert_array_equal(scores, [d.count("a") / 2 for d in documents])


# -- checks -------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("check", "passed"), [(at_least, [False, True, True, False, True, False]), (at_most, [True, True, False, False, False, True])]
)
def test_bounds_are_inclusive_and_nothing_is_known_of_nan(check: Callable[..., Any], passed: list[bool]):
    value = np.array([0.4, 0.5, 0.6, np.nan, np.inf, -np.inf])
    found = check(value, 0.5)
    assert found.passed.tolist() == passed
    assert found.passed.dtype == np.bool_
    assert found.limit == 0.5
    assert found.value is value
    assert found.kept is None
