"""Exact substrings: how texts are cut, which copy stays, hostile input, parameters and runs."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import support
from hypothesis import given, settings
from hypothesis import strategies as st
from test_substring import Span, cut, quoting

from curate.batch import Batch
from curate.build import build
from curate.errors import CurateError
from curate.stage import FACTS
from stages.dedup import substring_kernels as kernels
from stages.dedup.substring import ExactSubstring

# -- cuts ---------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("own one two three four here", "own here"),
        ("own  one two three four\there", "own  here"),  # of the white space at both sides that before stays
        ("own one two three four\n\nhere", "own\n\nhere"),  # unless there are more line feeds behind
        ("own\none two three four\n\nhere", "own\n\nhere"),
        ("own\n\none two three four\nhere", "own\n\nhere"),
        ("own\none two three four\nhere", "own\nhere"),
        ("  one two three four\n\nhere", "here"),  # none at the ends of a text
        ("own\n\none two three four \n", "own"),
        (" own one  two\nthree\tfour, here ", " own , here "),  # within a span it is of no account
        ("own one two three four five one two three four here", "own five here"),
        ("one two three", "one two three"),
    ],
)
def test_words_are_cut_out_with_white_space_on_one_side(text: str, left: str, tmp_path: Path):
    assert cut(ExactSubstring(least=4), [[text, "one two three four"]], tmp_path)[0] == left


@pytest.mark.parametrize(
    ("texts", "left"),
    [
        (["own one two three.", "one two three!"], ["own .", "!"]),
        (["x\u00e4\u00f6\u00fcy", "z\u00e4\u00f6\u00fcw"], ["xy", "zw"]),
        (["\u00e4abcdef!", "\u00e4abcdef?", "\u00e5abcdef."], ["!", "?", "\u00e5."]),  # the second byte of \u00e4 and \u00e5 differs
        (["abcde\u00e4", "abcde\u00e5"], ["\u00e4", "\u00e5"]),  # the first byte is one and the same
        (["\U0001f600\U0001f600", "\U0001f600\U0001f601"], ["\U0001f600", "\U0001f601"]),
    ],
)
def test_bytes_are_cut_at_whole_characters_and_nothing_joins_what_is_left(texts: list[str], left: list[str], tmp_path: Path):
    assert cut(ExactSubstring(unit="bytes", least=6), [texts], tmp_path) == left


@pytest.mark.parametrize("unit", ["tokens", "bytes"])
def test_white_space_counts_only_among_bytes(unit: str, tmp_path: Path):
    texts = ["a b c d e f g h", "a b c  d e f\ng h"]
    left = cut(ExactSubstring(unit=unit, least=8), [texts], tmp_path)  # type: ignore[arg-type]
    assert left == ([None, None] if unit == "tokens" else texts)


def test_neighbours_are_joined_where_they_cover_most_of_what_is_joined(tmp_path: Path):
    first, second = " ".join(f"a{n}" for n in range(10)), " ".join(f"b{n}" for n in range(9))
    shards = [[f"{first} own {second} end", first, f"{second} mine and yours {first}"]]
    for n, (merge, left) in enumerate(
        [(1.0, ["own end", None, "mine and yours"]), (0.95, ["end", None, "mine and yours"]), (0.96, ["own end", None, "mine and yours"])]
    ):
        (tmp_path / str(n)).mkdir()
        assert cut(ExactSubstring(least=5, merge=merge), shards, tmp_path / str(n)) == left


def bridges(intervals: list[Span], share: float) -> set[int]:
    """Gaps that are joined, by number, scanning forward and then backward."""
    out = set()
    for backward in (False, True):
        order = [(n, s) for n, s in enumerate(intervals)][:: -1 if backward else 1]
        group: list[tuple[int, Span]] = []
        for n, span in order:
            trial = [*group, (n, span)]
            size = max(s[1] for _, s in trial) - min(s[0] for _, s in trial)
            if group and sum(high - low for _, (low, high) in trial) >= share * size:
                out.add(max(n, group[-1][0]) - 1)
                group = trial
            else:
                group = [(n, span)]
    return out


@given(st.lists(st.lists(st.tuples(st.integers(1, 5), st.integers(1, 20)), max_size=8), max_size=3), st.sampled_from([0.5, 0.75, 0.95]))
@settings(deadline=None)
def test_spans_are_joined_from_either_side(documents: list[list[Span]], share: float):
    doc, low, high, joined = [], [], [], []
    for d, gaps in enumerate(documents):
        at, intervals = 0, []
        for gap, size in gaps:
            intervals.append((at + gap, at + gap + size))
            at += gap + size
        over = bridges(intervals, share)
        doc += [d] * len(intervals)
        low += [s[0] for s in intervals]
        high += [s[1] for s in intervals]
        joined += [n in over for n in range(len(intervals))]
    assert kernels.bridged(np.array(doc, np.int64), np.array(low, np.int32), np.array(high, np.int32), share).tolist() == joined


def test_a_document_is_dropped_where_too_little_is_left_of_what_it_lost_and_never_where_it_lost_nothing(tmp_path: Path):
    texts = ["one two three four left", "one two three four", "left", "", " \n"]
    assert cut(ExactSubstring(least=4), [texts], tmp_path) == ["left", None, "left", "", " \n"]
    for n, (limit, kept) in enumerate([(4, "left"), (5, None)]):
        (tmp_path / str(n)).mkdir()
        assert cut(ExactSubstring(least=4, min_bytes=limit), [texts], tmp_path / str(n)) == [kept, None, "left", "", " \n"]


# -- which copy, which shards --------------------------------------------------------------------------------------------------------


def test_the_first_copy_is_the_first_in_corpus_order(tmp_path: Path):
    shards = [["x", "own one two three four"], ["one two three four", "and one two three four here"]]
    left = ["x", "own one two three four", None, "and here"]
    for rows in (1, 2):
        (tmp_path / str(rows)).mkdir()
        assert cut(ExactSubstring(least=4, keep_first=True), shards, tmp_path / str(rows), rows=rows) == left


@pytest.mark.parametrize(
    ("keep_first", "left"),
    [(False, [None, "end"]), (True, ["a b c", "end"])],
)
def test_of_text_that_repeats_itself_one_period_stays_or_nothing(keep_first: bool, left: list[str | None], tmp_path: Path):
    texts = [" ".join("abc" * 10), " ".join("abc" * 5) + " end"]
    assert cut(ExactSubstring(least=5, keep_first=keep_first), [texts], tmp_path) == left


def test_a_quotation_within_a_longer_one_goes_from_both_of_its_later_copies(tmp_path: Path):
    quoted, longer = "one two three four", "here one two three four and there"
    left = cut(ExactSubstring(least=4, keep_first=True), [[f"first {quoted}.", f"second {longer}.", f"third {longer}."]], tmp_path)
    assert left == [f"first {quoted}.", "second here and there.", "third"]


def test_shards_of_different_groups_are_not_compared(tmp_path: Path):
    shards = [["one two three four a"], ["one two three four b"], ["one two three four c"]]
    assert cut(ExactSubstring(least=4, group=2), shards, tmp_path) == ["a", "b", "one two three four c"]


# -- hostile input ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("unit", ["tokens", "bytes"])
@pytest.mark.parametrize("keep_first", [False, True])
def test_ten_megabytes_of_one_word(unit: str, keep_first: bool, tmp_path: Path):
    word = "word "
    stage = ExactSubstring(unit=unit, keep_first=keep_first)  # type: ignore[arg-type]
    kept = None if not keep_first else "word" if unit == "tokens" else "word "
    assert cut(stage, [[word * 2_000_000, "", "word", word * 200]], tmp_path, partitions=2) == [kept, "", "word", None]


@pytest.mark.parametrize("unit", ["tokens", "bytes"])
def test_a_thousand_copies_of_one_document(unit: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("curate.exchange.RANGE_ROWS", 300)
    monkeypatch.setattr("curate.exchange.PIECE_BYTES", 1 << 14)
    [text] = quoting(1)
    for keep_first in (False, True):
        folder = tmp_path / str(keep_first)
        folder.mkdir()
        stage = ExactSubstring(unit=unit, keep_first=keep_first)  # type: ignore[arg-type]
        left = cut(stage, [[text] * 600, [text] * 400], folder, partitions=2)
        assert left == ([text] if keep_first else [None]) + [None] * 999


@pytest.mark.parametrize("unit", ["tokens", "bytes"])
def test_where_nothing_repeats_nothing_goes(unit: str, tmp_path: Path):
    rng = random.Random(3)
    texts = [" ".join(f"{rng.getrandbits(32):x}" for _ in range(100)) for _ in range(50)]
    assert cut(ExactSubstring(unit=unit), [texts[:20], [], texts[20:]], tmp_path) == texts  # type: ignore[arg-type]


@given(st.lists(st.integers(0, 30), min_size=1, max_size=60), st.sampled_from([2, 4, 8]), st.booleans())
@settings(deadline=None)
def test_windows_that_do_not_fit_the_table_are_compared_in_parts(values: list[int], slots: int, keep_first: bool):
    """Those of two rows with one anchor, the second in a document before the first's."""
    windows = np.random.default_rng(0).integers(0, 2**63, 31).astype(np.uint64)[values]
    half = len(values) // 2
    rows = (np.array([0, half, len(values)], np.int32), windows, np.array([7, 3]), np.array([0, 5], np.int32))
    room = tuple(column[:slots] for column in kernels.table(64))
    first = {value: n for n, value in reversed([*enumerate(values[half:], half), *enumerate(values[:half])])}
    goes = [values.count(v) > 1 and not (keep_first and first[v] == n) for n, v in enumerate(values)]
    assert kernels.judge_groups(room, np.array([0, 2]), *rows, keep_first).tolist() == goes


# -- the rest -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "value"), [("least", -1), ("merge", 0.0), ("merge", 1.5), ("merge", float("nan")), ("group", -2), ("min_bytes", -4)]
)
def test_a_parameter_that_makes_no_sense_is_refused_by_name(field: str, value: float):
    with pytest.raises(CurateError, match=rf"ExactSubstring\.{field}: expected .* than .*, found {value}"):
        build("dedup.substring.ExactSubstring", {field: value})


def test_what_goes_is_told_in_numbers(tmp_path: Path):
    texts = ["one two three four five own", "one two three four five six one two three four"]
    batch = Batch.of(pa.record_batch({"id": ["a", "b"], "text": pa.array(texts, pa.large_string()), "source": ["s"] * 2}))
    [verdict] = support.decided(ExactSubstring(least=4), [[batch]], tmp_path)
    facts = json.loads(verdict.table.schema.metadata[FACTS])
    assert {k: v for k, v in facts.items() if k != "says"} == {
        "unit": "tokens",
        "spans": 3,
        "units": 14,
        "duplicated": 14,
        "documents": 2,
        "longest": 5,
    }
    assert facts["says"] == ["3 spans go, 14 tokens of 2 documents; the longest has 5"]


RECIPE = """
name: small
data: DATA
sources:
  web: [{read.jsonl.Jsonl: {paths: ["${data}/web/*.jsonl"], max_bad: 0.05}}]
  books: [{read.parquet.Parquet: {paths: ["${data}/books"]}}]
corpus:
  - dedup.substring.ExactSubstring: {keep_first: true}
engine: {shard_bytes: 6000}
"""


def test_in_a_run_over_two_sources_the_first_keeps_what_both_have(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    support.write_corpus(tmp_path / "corpus")
    support.run(support.write_recipe(tmp_path, tmp_path / "corpus", RECIPE), tmp_path / "out")
    web, books = (set(support.documents(tmp_path / "out", source)["text"].to_pylist()) for source in ("web", "books"))
    shared = set(support.texts(0, 60)) & set(support.texts(10, 30))
    whole = {text for text in shared if len(text.split()) > 70}
    assert whole & web
    assert not whole & books
    assert "spans go" in capsys.readouterr().err
    rows = [row for row in support.counts(tmp_path / "out") if row["stage"] == "dedup.substring.ExactSubstring"]
    assert [list(row["dropped"]) for row in rows] == [["nothing_left"]] * 2  # type: ignore[call-overload]
