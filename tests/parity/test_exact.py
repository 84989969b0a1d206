"""Exact duplicates: who is equal to whom, who stays, and that neither shards nor crowds nor chance change it."""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from duplicates import ROW, facts_of, judged, refused, rows_of, split
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.batch import Batch
from stages.dedup.equal import Equal
from stages.dedup.exact import Exact

# -- who stays ----------------------------------------------------------------------------------------------------------------------

BEST = {
    "first": lambda _, at: at,
    "longest": lambda row, at: (-len(row["text"]), at),
    "newest": lambda row, at: (-int((row["date"] or "0").replace("-", "")), -len(row["text"]), at),
    "best": lambda row, at: (row["quality"] is None, -(row["quality"] or 0), at),
}
documents = st.lists(
    st.fixed_dictionaries(
        {
            "text": st.sampled_from(["", "a", "A", "b", "bb", "long text"]),
            "url": st.none() | st.sampled_from("xyz"),
            "date": st.none() | st.sampled_from(["2019-01-01", "2020-02-02"]),
            "quality": st.none() | st.sampled_from([-1.5, 0.0, 2.0]),
        }
    ),
    max_size=40,
)


@settings(deadline=None, max_examples=40)
@given(documents, st.sampled_from(sorted(BEST)), st.sampled_from(["text", "url"]), st.sampled_from([1, 4, 64]), st.sampled_from([1, 4, 64]))
def test_of_equal_documents_the_best_stays(rows: list[ROW], keeper: str, column: str, shards: int, partitions: int):
    rows = [{**row, "id": f"s/{n}"} for n, row in enumerate(rows)]
    stage = Exact(column=column, keeper=keeper, score="quality" if keeper == "best" else "")  # type: ignore[arg-type]
    kinds: dict[str, list[int]] = {}
    for n, row in enumerate(rows):
        if row[column] is not None:
            kinds.setdefault(row[column], []).append(n)
    expected: dict[str, str | None] = {row["id"]: None for row in rows}
    for kind in kinds.values():
        best = min(kind, key=lambda n: BEST[keeper](rows[n], n))
        expected |= {rows[n]["id"]: rows[best]["id"] for n in kind if n != best}
    assert judged(stage, split(rows, shards), partitions) == expected


def test_a_column_that_is_no_text_is_compared_by_what_it_would_be_as_one():
    data = pa.record_batch({"id": ["a", "b", "c", "d"], "text": ["1", "2", "3", "4"], "n": pa.array([7, None, 7, 8])})
    row, key, check = Exact(column="n").hashes(Batch.of(data))
    assert row.tolist() == [0, 2, 3]
    assert (key[0], check[0]) == (key[1], check[1]) != (key[2], check[2])


def test_what_was_compared_and_what_goes_is_counted_and_said(tmp_path: Path):
    rows = rows_of(["a", "a", "b", "a", "c"], url=["x", "x", None, "y", "x"])
    facts = facts_of(Exact(column="url"), rows, tmp_path)
    assert {name: facts[name] for name in ("compared", "unique", "removed")} == {"compared": 4, "unique": 2, "removed": 2}
    assert facts["says"] == ["4 documents compared: 2 stay, 2 go", "1 more have no url, are compared with none, and stay"]


def test_documents_without_what_the_keeper_goes_by_are_counted(tmp_path: Path):
    rows = rows_of(["a", "a", "b"], date=["2020-01-01", None, "soon"], quality=[0.5, float("nan"), None])
    (tmp_path / "best").mkdir()
    dated = facts_of(Exact(keeper="newest"), rows, tmp_path)
    scored = facts_of(Exact(keeper="best", score="quality"), rows, tmp_path / "best")
    assert dated["warns"] == ["2 of 3 documents have no date that can be read, and count as the oldest"]
    assert scored["warns"] == ["2 of 3 documents have no number in the column quality, and count as the worst"]
    assert (dated["undated"], scored["unscored"]) == (2, 2)


# -- crowds and chance --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("keeper", sorted(BEST))
def test_many_copies_of_one_document_are_gone_through_piece_by_piece(keeper: str, monkeypatch: pytest.MonkeyPatch):
    rng = np.random.default_rng(1)
    texts = rng.choice(["copy", "other", "once"], 600, p=[0.9, 0.09, 0.01]).tolist()
    rows = rows_of(
        texts, date=rng.choice(["2019-01-01", "2020-02-02", "2020-02-03"], 600).tolist(), quality=rng.integers(-3, 3, 600).tolist()
    )
    stage = Exact(keeper=keeper, score="quality" if keeper == "best" else "")  # type: ignore[arg-type]
    plain = judged(stage, split(rows, 5))
    pieces: list[int] = []
    reduce = Equal.reduce

    def watched(self: Equal, keys: pa.Table) -> pa.Table:
        pieces.append(len(keys.to_batches()))
        return reduce(self, keys)

    monkeypatch.setattr(Equal, "reduce", watched)
    monkeypatch.setattr("curate.exchange.RANGE_ROWS", 20)
    monkeypatch.setattr("curate.exchange.PIECE_BYTES", 1)
    assert judged(stage, split(rows, 5)) == plain
    assert max(pieces) > 2


@pytest.mark.parametrize("ranked", [False, True])
def test_documents_that_meet_in_one_hash_only_are_not_equal(ranked: bool):
    """Whether they stand side by side or, many of them, in pieces."""
    check, doc, rank = np.array([1, 2, 1, 3, 2, 1], np.uint64), np.arange(6), np.array([5, 1, 4, 0, 1, 4], np.uint64)
    key = np.full(6, 77, np.uint64)
    columns = {"key": key, "check": check, "doc": doc, "id": pa.array([f"s/{n}" for n in range(6)])}
    table = pa.table({**columns, "rank": rank} if ranked else columns)
    stage = Exact(keeper="longest" if ranked else "first")
    expected = {0: 2, 5: 2, 4: 1} if ranked else {2: 0, 5: 0, 4: 1}
    for keys in (table, pa.concat_tables([table.slice(0, 2), table.slice(2, 3), table.slice(5)])):
        verdict = stage.settle(stage.reduce(keys))
        assert dict(zip(verdict["doc"].to_pylist(), verdict["kept"].to_pylist(), strict=True)) == expected
        assert verdict["kept_id"].to_pylist() == [f"s/{n}" for n in verdict["kept"].to_pylist()]


@settings(deadline=None)
@given(st.lists(st.binary(max_size=20).map(lambda b: b.decode("latin-1")), max_size=20))
def test_hashes_are_equal_where_bytes_are_wherever_they_stand(texts: list[str]):
    data = pa.record_batch({"id": [str(n) for n in range(len(texts))], "text": pa.array(texts, pa.large_string())})
    _, key, check = Exact().hashes(Batch.of(data))
    for half in (key, check):
        assert [len({h for h, t in zip(half.tolist(), texts, strict=True) if t == text}) for text in texts] == [1] * len(texts)
        assert len(set(half.tolist())) == len(set(texts))


# -- normalised ---------------------------------------------------------------------------------------------------------------------


def equal(one: str, other: str, **ignore: Any) -> bool:
    data = pa.record_batch({"id": ["a", "b", "c"], "text": pa.array([one, "something else", other], pa.large_string())})
    _, key, check = Exact(normalise=True, **ignore).hashes(Batch.of(data))
    assert (key[0] == key[2]) == (check[0] == check[2])
    return bool(key[0] == key[2])


SAME = [
    ("Hello, World!", "hello world"),
    ("exam-\nple", "EXAMPLE"),
    ("  a\tb\r\nc\u00a0d ", "abcd"),
    ("漢字 かな", "漢字かな"),
    ("ÉCOLE Straße Ωμέγας", "école straße ωμέγασ"),
    ("zero\u200bwidth \u202ejoiner\u202c", "zerowidthjoiner"),
    ("1,234.5", "1 234 5"),
    ("snake_case", "snakecase"),
]
DIFFERENT = [
    ("hello world", "hello word"),
    ("1 23", "12 3"),
    ("3.14", "314"),
    ("café", "cafe"),
    ("call 5", "call 6"),
    ("5", "٥"),
    ("…", "!"),
    ("", " "),
    ("?", "? "),
    ("ab", "ba"),
    ("aa", "a"),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_differences_that_do_not_count(one: str, other: str):
    assert equal(one, other)


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_differences_that_count(one: str, other: str):
    assert not equal(one, other)


@pytest.mark.parametrize(
    ("one", "other", "difference"),
    [
        ("Hello", "hello", "case"),
        ("a-b", "ab", "punctuation"),
        ("call 5 times", "call 123 times", "digits"),
        ("call 5", "call ٥", "digits"),
        ("café", "cafe", "accents"),
        ("café", "cafe\u0301", "accents"),
    ],
)
def test_each_difference_counts_unless_it_is_ignored(one: str, other: str, difference: str):
    assert equal(one, other, ignore=(difference,))
    assert not equal(one, other, ignore=tuple({"case", "punctuation", "digits", "accents"} - {difference}))
    assert not Exact().normalise


def form(text: str) -> str:
    """Letters, marks and numbers in lower case; between digits that something stands between, a space; the text itself if none are left."""
    out, behind_digit, parted = "", False, False
    for c in text:
        category = unicodedata.category(c)
        if category == "Cf" or category[0] not in "LMN":
            parted = True
            continue
        if category == "Nd" and behind_digit and parted:
            out += " "
        out += c.lower().replace("ς", "σ")
        behind_digit, parted = category == "Nd", False
    return out or f"\n{text}"


@pytest.mark.skipif(not unicodedata.unidata_version.startswith("14."), reason="the tables are of Unicode 14.0")
@settings(deadline=None, max_examples=300)
@given(st.lists(st.text("aAbBςΣσéÉ漢カ12٣½_-.,! \n\u200b\u00ad\u0301\U0001f600", max_size=12), min_size=2, max_size=8))
def test_documents_are_equal_where_their_forms_are(texts: list[str]):
    data = pa.record_batch({"id": [str(n) for n in range(len(texts))], "text": pa.array(texts, pa.large_string())})
    _, key, check = Exact(normalise=True).hashes(Batch.of(data))
    forms = [form(text) for text in texts]
    for half in (key, check):
        assert len(set(half.tolist())) == len(set(forms)) == len(set(zip(half.tolist(), forms, strict=True)))


@pytest.mark.parametrize("length", [4095, 4096, 4097, 8191, 8192, 8193, 20_000])
def test_long_documents_are_compared_to_their_end(length: int):
    """The form is hashed in pieces: wherever they end, white space changes nothing, and another letter or a parted number does."""
    text = "ab1" * (length // 3) + "x" * (length % 3)
    assert equal(text, text.replace("b", "b \n").upper())
    assert not equal(text, text[:-1] + "y")
    assert not equal(text, "y" + text[1:])
    digits = "7" * length
    for at in (1, 4094, 4095, 4096, length - 1):
        if at < length:
            assert not equal(digits, f"{digits[:at]} {digits[at:]}")
            assert equal(f"{digits[:at]}-{digits[at:]}", f"{digits[:at]} {digits[at:]}")
            assert equal(digits, f"{digits[:at]}8", ignore=("digits",))


# -- before anything starts ---------------------------------------------------------------------------------------------------------


def test_a_column_that_is_not_there_is_named(tmp_path: Path):
    assert "reads the column digest, which source web does not have" in refused(tmp_path, "dedup.exact.Exact", {"column": "digest"})
    assert "reads the column quality, which source web does not have" in refused(
        tmp_path, "dedup.exact.Exact", {"keeper": "best", "score": "quality"}
    )


def test_a_policy_without_its_score_is_refused_with_its_place(tmp_path: Path):
    message = refused(tmp_path, "dedup.exact.Exact", {"keeper": "best"})
    assert "recipe.yaml" in message
    assert "dedup.exact.Exact" in message
    assert "`score`" in message
    assert "newest" in refused(tmp_path, "dedup.exact.Exact", {"keeper": "newest", "score": "quality"})
