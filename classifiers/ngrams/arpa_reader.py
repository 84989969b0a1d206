"""ARPA files, read as fast as they are written: sections of n-grams as numbers and hashes of words, a few thousand lines at a time.

What KenLM's own reader accepts is accepted, and a file that is damaged is refused with the line: about 150 MB/s of one core.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from curate.errors import CurateError

Array = npt.NDArray[Any]

_LEAST_ORDER, _MOST_ORDER = 2, 6  # what the kenlm module reads
_ROWS = 8192  # n-grams handled at a time: they stay in the processor's caches
_LINE = 1 << 16  # bytes of the longest line that is not an n-gram's
_QUOTED = 80  # bytes of a line that a message shows
_DIGITS = 64  # the longest number, in bytes
_MURMUR, _SHIFT = np.uint64(0xC6A4A7935BD1E995), np.uint64(47)
_TAB, _NEWLINE, _RETURN, _SPACE, _PLUS, _MINUS, _POINT, _ZERO, _NINE, _BACKSLASH = (int(b) for b in b"\t\n\r +-.09\\")
_SMALL_E, _LARGE_E = (int(b) for b in b"eE")
_POWERS = 10.0 ** np.arange(23)  # those that a 64-bit float holds exactly
_NEARLY = 2.0**-50  # more than `_number` may be wrong by before it rounds to 32 bits
_KEPT = 19  # digits that 64 bits hold
_LARGEST, _SMALLEST = 38, -46  # decimal exponents beyond which a 32-bit float is infinite, or 0
_GOOD, _BAD, _HARD, _ENDS, _POSITIVE, _WORDS, _MORE, _LAST = range(8)
_PROBLEMS = {
    _BAD: f"does not begin with a finite number of at most {_DIGITS} bytes and a tab",
    _POSITIVE: "has a positive logarithm of a probability",
    _WORDS: "has too few words",
    _MORE: "goes on after its words with what is no finite back-off weight",
    _LAST: "has a back-off weight, which the longest n-grams have not",
}


@njit(cache=True, inline="always")
def hash_word(data, start, end):
    """MurmurHash64A with the seed 0."""
    h = np.uint64(end - start) * _MURMUR
    while start < end:
        k, size = np.uint64(0), min(end - start, 8)
        if size == 8:
            for b in range(8):
                k |= np.uint64(data[start + b]) << np.uint64(8 * b)
            k *= _MURMUR
            k = (k ^ (k >> _SHIFT)) * _MURMUR
        else:
            for b in range(size):
                k |= np.uint64(data[start + b]) << np.uint64(8 * b)
        h = (h ^ k) * _MURMUR
        start += size
    h = (h ^ (h >> _SHIFT)) * _MURMUR
    return h ^ (h >> _SHIFT)


@njit(cache=True, inline="always")
def _is_blank(byte):
    return byte in (_TAB, _SPACE)


@njit(cache=True, inline="always")
def _ends_word(byte):
    return byte <= _SPACE and byte in (_SPACE, _TAB, _NEWLINE, _RETURN, 0)


@njit(cache=True, inline="always")
def _is_digit(byte):
    return _ZERO <= byte <= _NINE


@njit(cache=True)
def _line_end(data, at):
    while at < len(data) and data[at] != _NEWLINE:
        at += 1
    return at


@njit(cache=True, inline="always")
def _number(data, at):
    """A decimal number at `at`: (value, where it ends, _GOOD, _BAD, or _HARD where the rounding to 32 bits takes more care)."""
    start, size = at, -1.0 if data[at] == _MINUS else 1.0
    if data[at] == _MINUS or data[at] == _PLUS:
        at += 1
    digits, kept, seen, exponent, after = np.uint64(0), 0, 0, 0, False
    while _is_digit(data[at]) or (data[at] == _POINT and not after):
        if data[at] == _POINT:
            after = True
        else:
            seen += 1
            if kept < _KEPT:
                digits = digits * np.uint64(10) + np.uint64(data[at] - _ZERO)
                kept += digits > 0
                exponent -= after
            else:
                exponent += not after
        at += 1
    bad = seen == 0
    if data[at] == _SMALL_E or data[at] == _LARGE_E:
        sign = -1 if data[at + 1] == _MINUS else 1
        at += 2 if data[at + 1] == _MINUS or data[at + 1] == _PLUS else 1
        first, power = at, 0
        while _is_digit(data[at]) and at - first < 5:
            power = power * 10 + np.int64(data[at] - _ZERO)
            at += 1
        bad |= at == first or at - first == 5
        exponent += sign * power
    if bad or at - start > _DIGITS or (digits and kept + exponent > _LARGEST):
        return np.float32(0), at, _BAD
    if digits == 0 or kept + exponent < _SMALLEST:
        return np.float32(size * 0.0), at, _GOOD
    if exponent < -22 or exponent > 22:
        return np.float32(size), at, _HARD
    value = size * float(digits)
    value = value / _POWERS[-exponent] if exponent < 0 else value * _POWERS[exponent]
    low, high = np.float32(value * (1 - _NEARLY)), np.float32(value * (1 + _NEARLY))
    return low, at, _GOOD if low == high else _HARD


@njit(cache=True)
def _parse(data, at, order, longest, starts, probabilities, backoffs, hard, hashes, words):
    """N-grams, a line each, from `at` on until the arrays are full: (rows, where the next begins, _GOOD or what stopped it there).

    `starts` gets where each line begins, `hashes` those of its words from the last to the first, `words` where the last one lies.
    `data` ends in a newline.
    """
    for row in range(len(starts)):
        while at < len(data) and (_is_blank(data[at]) or data[at] == _NEWLINE or data[at] == _RETURN):
            at += 1
        line = at
        if at == len(data) or data[at] == _BACKSLASH:
            return row, line, _ENDS
        value, at, kind = _number(data, at)
        if kind == _BAD or not _is_blank(data[at]):
            return row, line, _BAD
        if value > 0:
            return row, line, _POSITIVE
        hard[row] = kind == _HARD
        starts[row], probabilities[row], backoffs[row] = line, value, np.float32(-0.0)
        for j in range(order - 1, -1, -1):
            while _is_blank(data[at]):
                at += 1
            start = at
            while not _ends_word(data[at]):
                at += 1
            if at == start:
                return row, line, _WORDS
            hashes[row, j] = hash_word(data, start, at)
            words[row, 0], words[row, 1] = start, at
        while _is_blank(data[at]):
            at += 1
        if data[at] != _NEWLINE and data[at] != _RETURN:
            value, at, kind = _number(data, at)
            if kind == _BAD:
                return row, line, _MORE
            if longest and value != 0:
                return row, line, _LAST
            hard[row] |= kind == _HARD
            if value != 0:
                backoffs[row] = value
            while _is_blank(data[at]):
                at += 1
        if data[at] == _RETURN:
            at += 1
        if data[at] != _NEWLINE:
            return row, line, _MORE
    return len(starts), at, _GOOD


@dataclass(frozen=True)
class Rows:
    """Some n-grams of one order."""

    starts: Array  # int64: where each one's line begins
    probabilities: Array  # float32
    backoffs: Array  # float32, -0 for none
    hashes: Array  # uint64 (n, order): of the words from the last to the first
    words: Array  # int64 (n, 2): where the last word begins and ends


class Arpa:
    """An ARPA file, read from its beginning to its end."""

    def __init__(self, path: str) -> None:
        self.path, self.at = path, 0
        self.data: Array = np.memmap(path, np.uint8, "r").view(np.ndarray) if os.path.getsize(path) else np.empty(0, np.uint8)
        tail = self.data[-_LINE:]
        newlines = np.flatnonzero(tail == _NEWLINE)
        cut = len(tail) - 1 - int(newlines[-1]) if len(newlines) else len(self.data)
        self.whole = self.data[: len(self.data) - cut]  # all lines but the last where that has no newline

    def error(self, at: int, before: str = "", after: str = "") -> CurateError:
        """What is wrong with the line at `at`, in words that stand before it and after it, and what to do."""
        newlines = sum(int(np.count_nonzero(self.data[low : min(low + _LINE, at)] == _NEWLINE)) for low in range(0, at, _LINE))
        text = self.data[at : at + _QUOTED].tobytes().partition(b"\n")[0].decode(errors="replace").rstrip("\r")
        found = " ".join(part for part in (before, repr(text) if at < len(self.data) else "the end of the file", after) if part)
        return CurateError(f"{self.path}: line {newlines + 1:,}: {found}; write this ARPA file again, or take one that is whole")

    def line(self) -> tuple[int, str]:
        """The next line that is not blank and where it begins; "" at the end."""
        while self.at < len(self.data):
            at, end = self.at, _line_end(self.data, self.at)
            if end - at > _LINE:
                raise self.error(at, "no ARPA file has so long a line:")
            self.at = end + 1
            if text := self.data[at:end].tobytes().decode(errors="replace").strip(" \t\r"):
                return at, text
        return len(self.data), ""

    def expect(self, wanted: str, after: str) -> None:
        """Goes on behind the line `wanted`."""
        at, text = self.line()
        if text != wanted:
            raise self.error(at, "found", f"where {wanted} should follow {after}")

    def counts(self) -> list[int]:
        """How many n-grams of each order the head announces."""
        at, text = self.line()
        while text.startswith("#"):
            at, text = self.line()
        if text != "\\data\\":
            raise self.error(at, "found", "where an ARPA file begins with \\data\\")
        counts: list[int] = []
        here = self.at
        at, text = self.line()
        while text.startswith("ngram "):
            order, _, count = (part.strip() for part in text.removeprefix("ngram ").partition("="))
            if order != str(len(counts) + 1) or not (count.isascii() and count.isdigit() and len(count) < 19):
                raise self.error(at, "found", f"where 'ngram {len(counts) + 1}=' and a count should follow")
            counts.append(int(count))
            here = self.at
            at, text = self.line()
        self.at = here
        if not _LEAST_ORDER <= len(counts) <= _MOST_ORDER:
            raise self.error(at, f"the head ends before this with order {len(counts)}; KenLM reads orders 2 to {_MOST_ORDER}:")
        if sum(n * (2 * order + 2) for order, n in enumerate(counts, 1)) > len(self.data):
            raise self.error(at, f"the head announces more n-grams, {sum(counts):,}, than {len(self.data):,} bytes hold, before")
        return counts

    def section(self, order: int, count: int, *, longest: bool) -> Iterator[Rows]:
        """The n-grams of an order. Raises CurateError where they are fewer or more than `count`, or one is not as it should be."""
        self.expect(f"\\{order}-grams:", f"the {order - 1}-grams that the head announces" if order > 1 else "the head")
        left = count
        while left:
            rows = min(left, _ROWS)
            starts, hard = np.empty(rows, np.int64), np.empty(rows, np.bool_)
            probabilities, backoffs = np.empty((2, rows), np.float32)
            hashes, words = np.empty((rows, order), np.uint64), np.empty((rows, 2), np.int64)
            into = starts, probabilities, backoffs, hard, hashes, words
            found, self.at, stop = _parse(self.whole, self.at, order, longest, *into)
            for row in np.flatnonzero(hard[:found]):
                fields = self.data[starts[row] : _line_end(self.data, starts[row])].tobytes().split()
                probabilities[row] = _nearest(fields[0].decode())
                if len(fields) > order + 1:
                    backoffs[row] = _nearest(fields[-1].decode()) or np.float32(-0.0)
            yield Rows(starts[:found], probabilities[:found], backoffs[:found], hashes[:found], words[:found])
            left -= found
            if stop == _ENDS:
                raise self.error(self.at, f"the head announces {count:,} {order}-grams, but after {count - left:,} follows")
            if stop != _GOOD:
                raise self.error(self.at, f"in the {order}-grams,", _PROBLEMS[stop])

    def finish(self) -> None:
        """The end mark, and nothing after it."""
        self.expect("\\end\\", "the n-grams that the head announces")
        at, text = self.line()
        if text:
            raise self.error(at, "found", "after \\end\\")


def _nearest(number: str) -> Any:
    """The 32-bit float nearest to a decimal number; of two as near, the even one."""
    exact, near = Fraction(number), np.float32(float(number))
    around = [np.nextafter(near, np.float32(s * np.inf), dtype=np.float32) for s in (-1, 1)]
    return min([near, *around], key=lambda f: (abs(Fraction(float(f)) - exact), int(f.view(np.uint32)) & 1))
