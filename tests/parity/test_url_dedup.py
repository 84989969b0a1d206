"""URL deduplication as in Llama 3: the newest page of an address stays. The golden cases are the specification's (6.5)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from duplicates import ROW, facts_of, judged, refused, rows_of, split
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.dedup.url import Url

PAGE = "https://a.com/x"


def pages(*found: tuple[str | None, str | None, int]) -> list[ROW]:
    """Documents by address, date and length, each with a letter of its own."""
    texts = [chr(ord("a") + n) * length for n, (_, _, length) in enumerate(found)]
    return rows_of(texts, url=[url for url, _, _ in found], date=[date for _, date, _ in found])


def staying(rows: list[ROW], shards: int = 1, partitions: int = 1, **parameters: Any) -> list[int]:
    """Numbers of the documents that stay."""
    return [int(n.removeprefix("s/")) for n, kept in judged(Url(**parameters), split(rows, shards), partitions).items() if kept is None]


def test_the_newest_stays_and_of_one_date_the_longest():
    rows = pages((PAGE, "2019-05-05T00:00:00Z", 100), (PAGE, "2023-05-05T00:00:00Z", 90), (PAGE, "2023-05-05T00:00:00Z", 120))
    assert judged(Url(), [rows]) == {"s/0": "s/2", "s/1": "s/2", "s/2": None}


def test_of_one_date_and_length_the_first_stays():
    rows = pages((PAGE, "2023-05-05T00:00:00Z", 90), (PAGE, "2023-05-05T00:00:00Z", 90), (PAGE, "2023-05-05", 90))
    assert staying(rows) == [0]
    assert staying(rows[::-1]) == [2]


def test_addresses_of_one_page_are_one():
    rows = pages(("HTTP://www.A.com:80/x?utm_source=q#f", "2020-01-01", 9), (PAGE, "2021-01-01", 1))
    assert judged(Url(), [rows]) == {"s/0": "s/1", "s/1": None}


def test_letter_case_of_a_path_counts():
    assert staying(pages(("https://a.com/X", "2020-01-01", 1), (PAGE, "2020-01-01", 1))) == [0, 1]


def test_keys_of_a_query_that_name_a_page_count():
    assert staying(pages((f"{PAGE}?id=1", "2020-01-01", 1), (f"{PAGE}?id=2", "2020-01-01", 1))) == [0, 1]


@pytest.mark.parametrize("missing", [None, "", "some time ago"])
def test_a_page_without_a_date_is_the_oldest(missing: str | None):
    assert staying(pages((PAGE, missing, 500), (PAGE, "1969-01-01", 1), (PAGE, missing, 600))) == [1]
    assert staying(pages((PAGE, missing, 500), (PAGE, missing, 600))) == [1]


@pytest.mark.parametrize("missing", [None, "", " \n"])
def test_documents_without_an_address_all_stay(missing: str | None):
    assert staying(pages((missing, "2020-01-01", 3), (PAGE, "2020-01-01", 3), (missing, "2020-01-01", 3))) == [0, 1, 2]


def test_what_is_no_url_is_compared_byte_for_byte():
    same = "urn:isbn:0451450523"
    rows = pages((same, "2020-01-01", 3), (f"{same} ", "2020-01-01", 3), (same.upper(), "2020-01-01", 3), (same, "2020-01-01", 4))
    assert staying(rows) == [1, 2, 3]


def test_what_is_no_url_never_meets_a_page():
    assert staying(pages(("http://a.com/x", "2020-01-01", 1), ("a.com/x", "2020-01-01", 1), (":a.com/x", "2020-01-01", 1))) == [0, 1, 2]


def test_strict_is_byte_for_byte():
    rows = pages((PAGE, "2020-01-01", 1), (f"{PAGE}/", "2020-01-01", 1), (f"{PAGE}#f", "2020-01-01", 1), (PAGE, "2021-01-01", 1))
    assert staying(rows, url_key="strict") == [1, 2, 3]
    assert staying(rows) == [3]


def test_the_keys_that_do_not_count_are_a_parameter():
    rows = pages((f"{PAGE}?ref=1", "2020-01-01", 1), (f"{PAGE}?ref=2", "2020-01-01", 1), (f"{PAGE}?utm_id=3", "2020-01-01", 1))
    assert staying(rows) == [0, 1, 2]
    assert staying(rows, tracking=("ref", "utm_*")) == [0]


def test_another_policy_may_choose():
    rows = pages((PAGE, "2020-01-01", 5), (PAGE, "2021-01-01", 4), (PAGE, None, 6))
    assert [staying(rows, keeper=policy) for policy in ("first", "newest", "longest")] == [[0], [1], [2]]


addresses = st.sampled_from([PAGE, "http://www.a.com/x/", "HTTP://A.com/x?gclid=1", "https://a.com/y", "https://b.org", "no url", "", None])
dates = st.sampled_from(["2019-01-01", "2023-01-01T00:00:00Z", "2023-01-01T00:00:01+00:00", None])
KEYS = {"http://www.a.com/x/": PAGE, "HTTP://A.com/x?gclid=1": PAGE}
WHEN = {None: 0, "2019-01-01": 1, "2023-01-01T00:00:00Z": 2, "2023-01-01T00:00:01+00:00": 3}


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(addresses, dates, st.integers(0, 3)), max_size=40), st.sampled_from([1, 4, 64]), st.sampled_from([1, 4, 64]))
def test_shards_and_partitions_change_nothing(found: list[tuple[str | None, str | None, int]], shards: int, partitions: int):
    best: dict[str, int] = {}
    for n, (url, date, length) in enumerate(found):
        if url:
            key = KEYS.get(url, url)
            before = best.setdefault(key, n)
            if (WHEN[date], length) > (WHEN[found[before][1]], found[before][2]):
                best[key] = n
    expected = {*best.values(), *(n for n, (url, _, _) in enumerate(found) if not url)}
    assert set(staying(pages(*found), shards, partitions)) == expected


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(addresses, dates, st.integers(0, 3)), max_size=20), st.randoms(use_true_random=False), st.sampled_from([1, 4]))
def test_the_order_of_the_input_changes_nothing_but_ties(found: list[tuple[str | None, str | None, int]], rng: Any, shards: int):
    """Which of two that are alike in all that is looked at stays is the order's to say."""

    def survivors(rows: list[ROW]) -> list[tuple[str, int, int]]:
        by_id = {row["id"]: row for row in rows}
        stay = [by_id[n] for n, kept in judged(Url(), split(rows, shards)).items() if kept is None]
        return sorted((KEYS.get(r["url"], r["url"]) or "", WHEN[r["date"]], len(r["text"])) for r in stay)

    rows = pages(*found)
    mixed = rng.sample(rows, len(rows))
    assert survivors(mixed) == survivors(rows)


def test_what_goes_is_counted(tmp_path: Path):
    rows = pages((PAGE, "2020-01-01", 1), (PAGE, None, 2), (f"{PAGE}/", "2021-01-01", 1), ("https://b.org", None, 1), (None, None, 1))
    facts = facts_of(Url(), rows, tmp_path)
    assert {name: facts[name] for name in ("compared", "unique", "removed", "undated")} == {
        "compared": 4,
        "unique": 2,
        "removed": 2,
        "undated": 2,
    }
    assert facts["says"][1:] == ["1 more have no url, are compared with none, and stay"]
    assert facts["warns"] == ["2 of 4 documents have no date that can be read, and count as the oldest"]


@pytest.mark.parametrize("partitions", [1, 3])
def test_where_no_document_has_an_address_that_is_said(partitions: int, tmp_path: Path):
    rows = pages(*[(None, None, 1)] * 20)
    assert set(judged(Url(), split(rows, 3), partitions).values()) == {None}
    facts = facts_of(Url(), rows, tmp_path)
    assert (facts["compared"], facts["absent"]) == (0, 20)
    assert facts["warns"] == ["none of 20 documents has a url: nothing is compared"]


@pytest.mark.parametrize("column", ["url", "date"])
def test_a_column_that_is_missing_is_named_before_anything_starts(column: str, tmp_path: Path):
    message = refused(tmp_path, "dedup.url.Url", {}, {column: []})
    assert f"reads the column {column}, which source web does not have" in message
    assert "dedup.url.Url" in message
    assert "recipe.yaml" in message


@pytest.mark.parametrize("name", ["", "*", "*_id", "utm_*_id"])
def test_a_key_that_cannot_be_one_is_refused(name: str, tmp_path: Path):
    assert "is no key of a query" in refused(tmp_path, "dedup.url.Url", {"tracking": [name]})
