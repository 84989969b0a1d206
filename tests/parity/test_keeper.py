"""Which document of a cluster stays: dates as their standard has them, and one number for each policy that sorts as the policy does."""

from __future__ import annotations

import datetime as dt
import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from curate.batch import Batch
from curate.errors import CurateError
from stages.dedup import keeper

MOST = 2**32 - 1


def batch_of(texts: list[str], **columns: pa.Array) -> Batch:
    data = {"id": pa.array([str(n) for n in range(len(texts))], pa.string()), "text": pa.array(texts, pa.large_string())}
    return Batch.of(pa.record_batch({**data, **columns}))


def seconds(*dates: str | None) -> list[int]:
    return [int(s) for s in keeper.seconds(pa.array(dates, pa.string()))]


def order(batch: Batch, policy: keeper.KEEPERS, score: str = "") -> list[int]:
    """Documents from the best on, ties in corpus order."""
    ranks = keeper.ranks(batch, policy, score)
    assert ranks is not None
    assert ranks.dtype == np.uint64
    return np.argsort(ranks, kind="stable").tolist()


# -- dates --------------------------------------------------------------------------------------------------------------------------

WRITTEN = [  # ISO 8601 and RFC 3339; by hand
    ("2020-02-20T02:20:02Z", dt.datetime(2020, 2, 20, 2, 20, 2)),
    ("2020-02-20", dt.datetime(2020, 2, 20)),
    ("2020-02", dt.datetime(2020, 2, 1)),
    ("2020", dt.datetime(2020, 1, 1)),
    ("2020-02-20T02:20Z", dt.datetime(2020, 2, 20, 2, 20)),
    ("2020-02-20T02:20:02", dt.datetime(2020, 2, 20, 2, 20, 2)),
    ("2020-02-20 02:20:02", dt.datetime(2020, 2, 20, 2, 20, 2)),
    ("2020-02-20 02:20:02 UTC", dt.datetime(2020, 2, 20, 2, 20, 2)),
    ("2020-02-20t02:20:02.999999z", dt.datetime(2020, 2, 20, 2, 20, 2)),
    ("2020-02-20T02:20:02+01:30", dt.datetime(2020, 2, 20, 0, 50, 2)),
    ("2020-02-20T22:20:02-0330", dt.datetime(2020, 2, 21, 1, 50, 2)),
    ("2020-02-20T02:20:02.5+01", dt.datetime(2020, 2, 20, 1, 20, 2)),
    ("20200220", dt.datetime(2020, 2, 20)),
    ("20200220022002", dt.datetime(2020, 2, 20, 2, 20, 2)),
    ("20200220T022002Z", dt.datetime(2020, 2, 20, 2, 20, 2)),
    ("  2020-02-20\n", dt.datetime(2020, 2, 20)),
    ("2016-12-31T23:59:60Z", dt.datetime(2017, 1, 1)),
]


@pytest.mark.parametrize(("written", "moment"), WRITTEN)
def test_a_date_is_read_however_it_is_written(written: str, moment: dt.datetime):
    assert seconds(written, "2021-01-01T00:00:00Z") == [int(moment.replace(tzinfo=dt.UTC).timestamp()), 1609459200]


@pytest.mark.parametrize(
    "written", [None, "", " ", "x", "yesterday", "2020-13-01", "2020-00-10", "2020-1", "20-02-2020", "1582165202", "null"]
)
def test_what_is_no_date_is_none(written: str | None):
    assert seconds(written, "2020-02-20") == [0, 1582156800]


def test_dates_beyond_32_bits_are_the_first_and_the_last_of_them():
    assert seconds("1969-12-31", "1850-01-01T00:00:00Z", "1970-01-01", "2200-01-01", "9999-12-31T23:59:59Z") == [1, 1, 1, MOST, MOST]


moments = st.datetimes(dt.datetime(1970, 1, 2), dt.datetime(2106, 2, 1), timezones=st.sampled_from([dt.UTC, None]))
offsets = st.integers(-14 * 60, 14 * 60).map(lambda minutes: dt.timezone(dt.timedelta(minutes=minutes)))
WAYS = [
    lambda m: m.isoformat(),
    lambda m: m.isoformat(" ", "microseconds"),
    lambda m: m.isoformat("T", "minutes"),
    lambda m: m.strftime("%Y-%m-%dT%H:%M:%S%z"),
    lambda m: m.strftime("%Y-%m-%d"),
]


@settings(deadline=None)
@given(st.lists(st.tuples(moments, offsets, st.sampled_from(WAYS)), max_size=20))
def test_dates_are_read_as_python_reads_them(written: list[tuple]):  # type: ignore[type-arg]
    texts = [way(moment.astimezone(offset) if moment.tzinfo else moment) for moment, offset, way in written]
    read = [dt.datetime.fromisoformat(t) for t in texts]
    expected = [math.floor((m if m.tzinfo else m.replace(tzinfo=dt.UTC)).timestamp()) for m in read]
    assert seconds(*texts) == [max(1, s) for s in expected]


@pytest.mark.parametrize(
    "kind", [pa.timestamp("s"), pa.timestamp("ns", "Europe/Paris"), pa.date32(), pa.dictionary(pa.int32(), pa.string())]
)
def test_a_column_of_another_type_is_read_too(kind: pa.DataType):
    days = pa.array(["2020-02-20", None, "2021-01-01"])
    column = days.dictionary_encode() if pa.types.is_dictionary(kind) else days.cast(pa.date32()).cast(kind)
    assert keeper.seconds(column).tolist() == [1582156800, 0, 1609459200]


# -- policies -----------------------------------------------------------------------------------------------------------------------

dates = st.sampled_from(["2019-01-01", "2023-01-01T00:00:00Z", "2023-01-01T00:00:01Z", None, "no date"])


@settings(deadline=None)
@given(st.lists(st.tuples(dates, st.text("é漢a", max_size=4)), max_size=30))
def test_newest_is_newest_then_longest_then_first(rows: list[tuple[str | None, str]]):
    batch = batch_of([text for _, text in rows], date=pa.array([date for date, _ in rows], pa.string()))
    when = {"2019-01-01": 1, "2023-01-01T00:00:00Z": 2, "2023-01-01T00:00:01Z": 3, None: 0, "no date": 0}
    assert order(batch, "newest") == sorted(range(len(rows)), key=lambda n: (-when[rows[n][0]], -len(rows[n][1]), n))
    ranks = keeper.ranks(batch, "newest")
    assert ranks is not None
    assert keeper.dated(ranks).tolist() == [when[date] > 0 for date, _ in rows]


@settings(deadline=None)
@given(st.lists(st.text("é漢a", max_size=6), max_size=30))
def test_longest_counts_characters(texts: list[str]):
    assert order(batch_of(texts), "longest") == sorted(range(len(texts)), key=lambda n: (-len(texts[n]), n))


@settings(deadline=None)
@given(st.lists(st.none() | st.floats(width=64), max_size=30))
@example([-0.0, 0.0])
def test_best_is_the_highest_score_whatever_its_sign(scores: list[float | None]):
    batch = batch_of([""] * len(scores), quality=pa.array(scores, pa.float64()))

    def worst_last(n: int) -> tuple[bool, float, int]:
        score = scores[n]
        return (True, 0.0, n) if score is None or math.isnan(score) else (False, -score, n)

    assert order(batch, "best", "quality") == sorted(range(len(scores)), key=worst_last)


@pytest.mark.parametrize(
    "scores",
    [
        pa.array([0.25, None, -2.0, 10.0], pa.float32()),
        pa.array([3, None, -(2**63), 2**63 - 1], pa.int64()),
        pa.array(["1e-1", "high", "-2", " +10.5 "]),  # a reader carries fields along as strings
        pa.array(["1e-1", None, "-2", "10.5"]).dictionary_encode(),
    ],
)
def test_scores_of_any_type_are_compared_as_numbers(scores: pa.Array):
    assert order(batch_of([""] * 4, quality=scores), "best", "quality") == [3, 0, 2, 1]


@pytest.mark.parametrize("column", ["id", "text", "source", "url", "date"])
def test_a_column_without_numbers_is_no_score(column: str):
    for policy in ("best", "quality"):
        with pytest.raises(CurateError, match=f"score: {column} holds no numbers"):
            keeper.check(policy, column, policy)


def test_the_first_needs_no_rank_and_no_column():
    assert keeper.ranks(batch_of(["a", "b"]), "first") is None
    assert [keeper.reads(k, s) for k, s in (("first", ""), ("longest", ""), ("newest", ""), ("best", "q"))] == [(), (), ("date",), ("q",)]


@pytest.mark.parametrize(("policy", "score"), [("best", ""), ("first", "quality"), ("newest", "quality"), ("longest", "quality")])
def test_a_score_is_named_where_it_is_needed_and_only_there(policy: keeper.KEEPERS, score: str):
    with pytest.raises(CurateError, match=r"score"):
        keeper.check(policy, score)
    keeper.check("best", "quality")
    keeper.check("first", "")
