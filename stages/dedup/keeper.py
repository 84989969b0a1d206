"""Which document of a cluster of duplicates stays: a rank for each document, the smaller the better; ties go by address.

Newest is what Llama 3 keeps of each URL (Dubey et al. 2024, 3.1.1) and Olmo 3 of near-duplicates (datamap-rs, `groupfilter` by
WARC-Date); ties are ours. A policy is one number, so that a reducer needs no more of a document than 8 bytes.
Cost, per core: 5 million dates a second as WARC writes them, 0.7 million in other ways of writing, 80 million scores.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.batch import Array, Batch
from curate.errors import CurateError

KEEPERS = Literal["first", "newest", "longest", "best"]

DATE = "date"
WITHOUT_NUMBERS = ("id", "text", "source", "url", "date")  # columns of the contract, none of which is a score
_MOST = np.uint64(2**32 - 1)
_LAST = np.uint64(2**64 - 1)  # the rank by `best` of what has no number
_WARC = "%Y-%m-%dT%H:%M:%SZ"
_CLOCK = r"(?P<hour>[01]\d|2[0-4]):(?P<minute>[0-5]\d)(?::(?P<second>[0-5]\d|60)(?:[.,]\d+)?)?"
_ZONE = r"(?:[Zz]|UTC|(?P<sign>[+-])(?P<east>\d\d)(?::?(?P<past>\d\d))?)?"
_ISO = rf"^\s*(?P<year>\d{{4}})(?:-(?P<month>0[1-9]|1[0-2])(?:-(?P<day>0[1-9]|[12]\d|3[01])(?:[Tt ]\s*{_CLOCK}\s*{_ZONE})?)?)?\s*$"
_DIGITS = ((r"^\s*(\d{4})(\d\d)(\d\d)T?(\d\d)(\d\d)(\d\d)(\D|$)", r"\1-\2-\3T\4:\5:\6\7"), (r"^\s*(\d{4})(\d\d)(\d\d)\s*$", r"\1-\2-\3"))
_NUMBER = r"^\s*[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?\s*$"


def check(keeper: str, score: str, best: str = "best") -> None:
    """Raise CurateError unless a score is named where it is needed, and only there, and may be one. `best` is what goes by a score."""
    if keeper == best and not score:
        raise CurateError(f"keeper: {best} needs the name of a column as `score`, such as score: quality; its highest value stays")
    if keeper != best and score:
        raise CurateError(f"score: {score} is not looked at where the keeper is {keeper}; give keeper: {best}, or leave score out")
    if score in WITHOUT_NUMBERS:
        raise CurateError(f"score: {score} holds no numbers, so none would be the best; name a column that does, such as score: quality")


def reads(keeper: KEEPERS, score: str) -> tuple[str, ...]:
    """The columns that a policy needs."""
    return (DATE,) if keeper == "newest" else (score,) if keeper == "best" and score else ()


def ranks(batch: Batch, keeper: KEEPERS, score: str = "") -> Array | None:
    """uint64 of each document, the smaller the better; None where the first is to stay, which its address tells."""
    match keeper:
        case "first":
            return None
        case "longest":
            return ~batch.chars.astype(np.uint64)
        case "newest":
            return ~(seconds(batch[DATE]) << np.uint64(32) | np.minimum(batch.chars.astype(np.uint64), _MOST))
        case "best":
            return ~_ordered(numbers(batch[score]))


def dated(rank: Array) -> Array:
    """Of ranks by `newest`: whether there was a date that could be read."""
    found: Array = (~rank >> np.uint64(32)) > 0
    return found


def lacking(rank: Array, keeper: str) -> int:
    """How many of these ranks are of documents without a date, or without a number, as the policy needs one."""
    if keeper == "newest":
        return int(np.count_nonzero(~dated(rank)))
    return int(np.count_nonzero(rank == _LAST)) if keeper in ("best", "quality") else 0


def counted(lacking: int, keeper: str) -> dict[str, int]:
    """The same as facts."""
    return {"undated": lacking if keeper == "newest" else 0, "unscored": lacking if keeper in ("best", "quality") else 0}


def warned(lacking: int, of: int, keeper: str, score: str, what: str = "documents") -> list[str]:
    """What is said of documents that lack what the policy goes by."""
    if not lacking:
        return []
    have = f"{lacking:,} of {of:,} {what} have"
    if keeper == "newest":
        return [f"{have} no date that can be read, and count as the oldest"]
    return [f"{have} no number in the column {score}, and count as the worst"]


def seconds(dates: pa.Array) -> Array:
    """uint64: since 1970, from 1 to 2^32 - 1; 0 where there is no date or none that can be read.

    Dates are ISO 8601 (a year, a month or a day will do; a time with fraction and offset, without one it is UTC),
    the same in digits alone as a CDX index has it, or Arrow's own.
    """
    kind = dates.type
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        moment = dates.cast(pa.timestamp("s", getattr(kind, "tz", None)), safe=False).cast(pa.int64())
        return _clipped(moment)
    text = dates.cast(pa.string())
    moment = pc.strptime(text, format=_WARC, unit="s", error_is_null=True).cast(pa.int64())
    other = np.flatnonzero((text.is_valid().to_numpy(zero_copy_only=False)) & moment.is_null().to_numpy(zero_copy_only=False))
    out = _clipped(moment)
    if len(other):
        out[other] = _iso(text.take(pa.array(other)))
    return out


def _clipped(moment: pa.Array) -> Array:
    values = np.clip(pc.fill_null(moment, 0).to_numpy(), 1, int(_MOST)).astype(np.uint64)
    values[moment.is_null().to_numpy(zero_copy_only=False)] = 0
    return values


def _iso(text: pa.Array) -> Array:
    """Seconds of dates that are not written as WARC does."""
    for digits, written in _DIGITS:
        text = pc.replace_substring_regex(text, digits, written)
    found = pc.extract_regex(text, _ISO)

    def part(name: str, otherwise: int) -> Array:
        digits = pc.fill_null(pc.struct_field(found, name), "")
        return pc.if_else(pc.equal(digits, ""), str(otherwise), digits).cast(pa.int64()).to_numpy()

    months = (part("year", 1970) - 1970) * 12 + part("month", 1) - 1
    days = months.astype("datetime64[M]").astype("datetime64[D]").astype(np.int64) + part("day", 1) - 1
    clock = (part("hour", 0) * 60 + part("minute", 0)) * 60 + part("second", 0)
    east = (part("east", 0) * 60 + part("past", 0)) * 60
    west = pc.fill_null(pc.equal(pc.struct_field(found, "sign"), "-"), False).to_numpy(zero_copy_only=False)
    moment = days * 86400 + clock - np.where(west, -east, east)
    return _clipped(pa.array(moment, mask=found.is_null().to_numpy(zero_copy_only=False)))


def numbers(scores: pa.Array) -> Array:
    """float64: NaN where there is none, or where a text is no number."""
    if pa.types.is_dictionary(scores.type):
        scores = scores.dictionary_decode()
    if pa.types.is_string(scores.type) or pa.types.is_large_string(scores.type):  # fields that a reader carries along are strings
        number = pc.match_substring_regex(scores, _NUMBER)
        scores = pc.utf8_trim_whitespace(pc.if_else(number, scores, pa.scalar(None, scores.type)))
        scores = pc.replace_substring_regex(scores, r"^\+", "")
    out: Array = pc.fill_null(scores.cast(pa.float64(), safe=False), np.nan).to_numpy()
    return out


def _ordered(values: Array) -> Array:
    """uint64 in the order of the numbers; 0, less than any, for NaN."""
    bits = (values + 0.0).view(np.uint64)  # -0.0 becomes 0.0
    top = np.uint64(1 << 63)
    found = np.where(bits & top, ~bits, bits | top)
    found[np.isnan(values)] = 0
    return found
