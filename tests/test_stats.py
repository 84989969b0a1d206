"""Counts add up in any order, and the ledger notices every document and character that is lost."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.errors import LedgerError
from curate.stats import StageStats, add, balance, funnel, histogram

counts = st.integers(0, 2**40)
rules = st.dictionaries(st.sampled_from(["short", "long", "duplicate"]), counts).map(Counter)
edges = st.sampled_from(["0", "1", "1.18921", "1e+06"])
stats = st.builds(
    StageStats,
    source=st.just("web"),
    stage=st.just("length.Chars"),
    docs_in=counts,
    docs_out=counts,
    chars_in=counts,
    chars_out=counts,
    chars_rewritten=st.integers(-(2**40), 2**40),
    quarantined=counts,
    bad_files=counts,
    seconds=st.integers(0, 2**20).map(lambda n: n / 64),  # sums of these are exact
    dropped=rules,
    dropped_chars=rules,
    failed=rules,
    histograms=st.dictionaries(st.sampled_from(["short", "long"]), st.dictionaries(edges, st.integers(1, 2**40)).map(Counter)),
)


def written(rows: list[StageStats]) -> str:
    return json.dumps([r.to_json() for r in rows])


# -- adding -------------------------------------------------------------------------------------------------------------------------


@given(stats, stats, stats)
def test_counts_add_up_in_any_order_to_the_same_bytes(a: StageStats, b: StageStats, c: StageStats):
    assert written([(a + b) + c]) == written([a + (b + c)])
    assert written([a + b]) == written([b + a])


@given(st.lists(stats, max_size=3))
def test_an_empty_list_is_the_zero(rows: list[StageStats]):
    assert add(rows, []) == add([], rows) == rows


@given(stats)
def test_a_shard_without_documents_changes_nothing(row: StageStats):
    assert written([row + StageStats(row.source, row.stage)]) == written([row])


@given(stats, stats)
def test_every_count_is_added(a: StageStats, b: StageStats):
    total = a + b
    for field in dataclasses.fields(StageStats):
        one, other, both = (getattr(x, field.name) for x in (a, b, total))
        if isinstance(one, Counter):
            assert {k: v for k, v in both.items() if v} == {k: one[k] + other[k] for k in {*one, *other} if one[k] + other[k]}
        elif isinstance(one, dict):
            for rule in {*one, *other}:
                assert both[rule] == one.get(rule, Counter()) + other.get(rule, Counter())
        else:
            assert both == (one if isinstance(one, str) else one + other)


@given(stats)
def test_adding_changes_neither_side(row: StageStats):
    before = written([row])
    _ = row + row
    assert written([row]) == before


def test_counts_of_different_stages_are_not_added():
    with pytest.raises(ValueError, match=r"gopher\.Quality"):
        StageStats("web", "length.Chars") + StageStats("web", "gopher.Quality")
    with pytest.raises(ValueError, match="books"):
        StageStats("web", "length.Chars") + StageStats("books", "length.Chars")
    with pytest.raises(ValueError, match="shorter"):
        add([StageStats("web", "a"), StageStats("web", "b")], [StageStats("web", "a")])


@given(stats)
def test_counts_survive_json(row: StageStats):
    again = StageStats.from_json(json.loads(json.dumps(row.to_json())))
    assert again == row
    assert written([again]) == written([row])
    assert written([again + again]) == written([row + row])


# -- histograms ---------------------------------------------------------------------------------------------------------------------


def test_a_doubling_has_four_bins_named_by_their_lower_edge():
    edges = [1, 2**0.25, 2**0.5, 2**0.75, 2]
    middles = np.array([(a + b) / 2 for a, b in itertools.pairwise(edges)])
    assert histogram(middles) == {"1": 1, "1.18921": 1, "1.41421": 1, "1.68179": 1}


def test_a_power_of_two_is_in_the_bin_that_it_begins():
    for exponent in range(-20, 40):
        assert histogram(np.array([2.0**exponent])) == {f"{2.0**exponent:.6g}": 1}


@given(st.lists(st.floats(1e-30, 1e30), min_size=1, max_size=20))
def test_every_value_is_counted_once_in_a_bin_that_holds_it(values: list[float]):
    found = histogram(np.array(values))
    assert sum(found.values()) == len(values)
    for value in values:
        near = [low for low in map(float, found) if low * (1 - 1e-5) <= value <= low * 2**0.25 * (1 + 1e-5)]
        assert near


@given(st.lists(st.floats(width=32), max_size=20), st.lists(st.floats(width=32), max_size=20))
def test_histograms_of_parts_add_up_to_the_histogram_of_all(a: list[float], b: list[float]):
    left, right = np.array(a, np.float32), np.array(b, np.float32)
    assert histogram(left) + histogram(right) == histogram(np.concatenate([left, right]))


def test_zero_negative_values_and_nan_count_as_zero_and_infinity_as_itself():
    assert histogram(np.array([0.0, -1.0, np.nan, -np.inf])) == {"0": 4}
    assert histogram(np.array([np.inf, 1.0])) == {"inf": 1, "1": 1}
    assert histogram(np.array([])) == {}


def test_counts_are_binned_like_measures():
    assert histogram(np.array([0, 1, 2, 1024], np.int64)) == histogram(np.array([0, 1, 2, 1024], np.float64))


def test_bins_are_written_in_order_of_their_edges():
    row = StageStats("web", "s", histograms={"rule": Counter({"1024": 1, "0": 1, "8": 1, "inf": 1})})
    assert list(row.to_json()["histograms"]["rule"]) == ["0", "8", "1024", "inf"]


# -- the ledger ---------------------------------------------------------------------------------------------------------------------


def books() -> list[StageStats]:
    """A reader that quarantined 2 and skipped 1 of 10, a stage that shortened a document, and one that dropped 3 of 7."""
    return [
        StageStats("web", "read", 10, 7, 105, 100, quarantined=2, dropped=Counter(blank=1), dropped_chars=Counter(blank=5)),
        StageStats("web", "rewrite", 7, 7, 100, 80, chars_rewritten=20),
        StageStats("web", "filter", 7, 4, 80, 50, dropped=Counter(short=2, long=1), dropped_chars=Counter(short=10, long=20)),
    ]


COUNTED = {"entered": 10, "written": 4, "fates": 4}


def test_a_ledger_that_closes_is_accepted():
    balance(books(), **COUNTED)
    balance([])


LEAKS = [
    (0, "docs_in", "web, read: 11 documents"),
    (0, "quarantined", "web, read: 10 documents"),
    (0, "chars_in", "web, read: 106 characters"),
    (1, "docs_out", "web, rewrite: 7 documents"),
    (1, "chars_rewritten", "web, rewrite: 100 characters"),
    (2, "chars_out", "web, filter: 80 characters"),
    (2, "docs_out", "web, filter: 7 documents"),
]


@pytest.mark.parametrize(("row", "field", "where"), LEAKS)
def test_a_document_or_character_that_a_stage_loses_is_named(row: int, field: str, where: str):
    rows = books()
    setattr(rows[row], field, getattr(rows[row], field) + 1)
    with pytest.raises(LedgerError, match=where):
        balance(rows, **COUNTED)


@pytest.mark.parametrize(("counter", "what"), [("dropped", "documents"), ("dropped_chars", "characters")])
def test_a_drop_that_is_not_booked_is_named(counter: str, what: str):
    rows = books()
    getattr(rows[2], counter)["short"] -= 1
    with pytest.raises(LedgerError, match=f"web, filter: .*{what}"):
        balance(rows, **COUNTED)


@pytest.mark.parametrize("change", [{"docs_in": 8, "docs_out": 8}, {"chars_in": 101, "chars_out": 81}])
def test_a_loss_between_two_stages_is_named(change: dict[str, Any]):
    rows = books()
    rows[1] = dataclasses.replace(rows[1], **change)
    with pytest.raises(LedgerError, match="between read and rewrite"):
        balance(rows)


@pytest.mark.parametrize(("counted", "where"), [("entered", "before read"), ("written", "after filter"), ("fates", "fates")])
@pytest.mark.parametrize("off", [-1, 1])
def test_a_count_made_elsewhere_that_differs_is_named(counted: str, where: str, off: int):
    with pytest.raises(LedgerError, match=where):
        balance(books(), **{**COUNTED, counted: COUNTED[counted] + off})


# -- the funnel ---------------------------------------------------------------------------------------------------------------------


def test_the_funnel_names_each_stage_and_every_reason():
    lines = funnel(books()).splitlines()
    assert len(lines) == 4
    for line, words in zip(lines[1:], (["web  read", "quarantined 2", "blank 1"], ["web  rewrite"], ["short 2", "long 1"]), strict=True):
        assert all(word in line for word in words)
    assert "57.1%" in lines[3]


def test_no_document_leaves_the_funnel_without_being_told_of():
    rules = Counter({f"rule_{n}": n for n in range(1, 10)})
    line = funnel([StageStats("web", "gopher.Quality", 100, 100 - rules.total(), dropped=rules)]).splitlines()[1]
    reasons = line.split("  ")[-1]
    assert sum(int(word.replace(",", "")) for part in reasons.split(", ") for word in part.split()[-1:]) == rules.total()


def test_the_funnel_of_nothing_is_its_heading():
    assert len(funnel([]).splitlines()) == 1
    assert "-" in funnel([StageStats("web", "s")])
    assert not any(math.isnan(float(w)) for w in funnel([StageStats("web", "s")]).split() if w.replace(".", "").isdigit())
