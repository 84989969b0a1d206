"""Shingles of documents: hashes of n words, or of n characters, in a row, straight from the bytes of the text.

What a word is, and which differences between texts do not count, is a table over all code points that a kernel looks each character up in.
Words are runs of letters, digits and marks, as Unicode annex 29 has them; Han, Hiragana and Bopomofo are a word each, Thai, Lao, Myanmar
and Khmer are cut into orthographic clusters, as `Batch.words` does. A shingle's hash is 32 bits: among the n shingles of a document
n^2 / 2^33 meet by chance, in a book of 100,000 words one of 100,000.
Measured on one 2.6 GHz core, web pages: see `signatures`.
"""

from __future__ import annotations

import unicodedata
from functools import cache
from typing import Any, Literal, NamedTuple

import numpy as np
from numba import njit

from curate.kernels import unicode
from curate.kernels.text import mix

Array = np.ndarray[Any, Any]
Difference = Literal["case", "digits", "punctuation", "accents"]  # between texts, that may not count

SEPARATOR, NOTHING = -1, -2  # in a table: parts words; is not there at all
WORD_ALONE, WORD_CLUSTER, WORD_LEADING, WORD_DIGIT, WORD_STACKS, WORD_MARK, WORD_COMPLEX = (np.uint8(1 << n) for n in range(7))
COENG, VIRAMA = 0x17D2, 0x1039  # put the next consonant below: it begins no cluster
ACCENT_BLOCKS = (  # marks that are accents; those of Indic scripts and Thai are vowels
    (0x0300, 0x036F), (0x0483, 0x0487), (0x0591, 0x05C7), (0x0610, 0x061A), (0x064B, 0x065F), (0x0670, 0x0670), (0x06D6, 0x06ED),
    (0x1AB0, 0x1AFF), (0x1DC0, 0x1DFF), (0x20D0, 0x20FF), (0xFE00, 0xFE0F), (0xFE20, 0xFE2F),
)  # fmt: skip
PRIVATE_BLOCKS = ((0xE000, 0xF8FF), (0xF0000, 0x10FFFF))  # what icon fonts use
FINAL_SIGMA, SIGMA = 0x3C2, 0x3C3

FEW = 300  # values are sorted by comparisons

_BASE, _SEED = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xCBF29CE484222325)
_PRIME = np.uint64(0x100000001B3)
_ONE = np.uint64(1)


class Table(NamedTuple):
    """What a kernel knows of each code point."""

    to: Array  # int32[1114112]: what it counts as, or SEPARATOR or NOTHING
    flags: Array  # uint8[1114112]: how it forms words


@cache
def table(lower: bool, digits: bool, punctuation: bool, accents: bool, characters: bool = False) -> Table:
    """Each flag true takes a difference away: letter case; which digits (each run of them is one 0); punctuation and symbols; accents.

    With `characters`, for n-grams of those, what parts words is one space.
    """
    kind = unicode.flags()
    to = np.arange(len(kind), dtype=np.int32)
    flags = np.zeros(len(kind), np.uint8)
    separates = kind & (unicode.SPACE | unicode.CONTROL) != 0
    symbol = kind & unicode.PUNCTUATION != 0
    for first, last in PRIVATE_BLOCKS:
        symbol[first : last + 1] = True
    if accents:
        bare = np.flatnonzero((kind & unicode.LETTER != 0) & (kind & (unicode.ALONE | unicode.COMPLEX) == 0))
        for c in bare[bare < 0xAC00].tolist():  # Hangul syllables come apart into letters, not accents
            base, *rest = unicodedata.normalize("NFD", chr(c))
            if rest and all(unicodedata.category(mark) == "Mn" for mark in rest):
                to[c] = ord(base)
        for first, last in ACCENT_BLOCKS:
            block = slice(first, last + 1)
            to[block][kind[block] & unicode.MARK != 0] = NOTHING
    if lower:
        case = unicode.lower()
        to = np.where(to >= 0, case[np.maximum(to, 0)], to).astype(np.int32)
        to[FINAL_SIGMA] = SIGMA
    format_ = (kind & unicode.MARK != 0) & np.isin(np.arange(len(kind)), _format_characters())
    to[format_] = NOTHING
    to[separates] = SEPARATOR
    if punctuation:
        to[symbol] = SEPARATOR
    else:
        flags[symbol] |= WORD_ALONE
    if digits:
        digit = kind & unicode.DIGIT != 0
        to[digit] = ord("0")
        flags[digit] |= WORD_DIGIT
    flags[kind & unicode.ALONE != 0] |= WORD_ALONE
    flags[kind & unicode.CLUSTER != 0] |= WORD_CLUSTER
    flags[kind & unicode.LEADING != 0] |= WORD_LEADING
    flags[kind & unicode.COMPLEX != 0] |= WORD_COMPLEX
    flags[kind & unicode.MARK != 0] = WORD_MARK
    flags[[COENG, VIRAMA]] |= WORD_STACKS
    if characters and not (lower or digits or punctuation or accents):
        to = np.arange(len(kind), dtype=np.int32)
    for array in (to, flags):
        array.setflags(write=False)
    return Table(to, flags)


def _format_characters() -> Array:
    """Cf of Unicode 14: joiners and marks of direction, that nobody sees."""
    marks = np.flatnonzero(unicode.flags() & unicode.MARK != 0)
    return np.array([c for c in marks.tolist() if unicodedata.category(chr(c)) == "Cf"], np.int64)


@njit(cache=True, inline="always")
def _power(n):
    out = _ONE
    for _ in range(n):
        out *= _BASE
    return out


@njit(cache=True, inline="always")
def _decoded(data, i, stop):
    """(code point, bytes) of the character at i, beyond ASCII; an ill-formed byte is U+FFFD and one byte long."""
    b = np.int64(data[i])
    if 0xC2 <= b < 0xE0 and i + 1 < stop:
        return (b & 0x1F) << 6 | (np.int64(data[i + 1]) & 0x3F), 2
    if 0xE0 <= b < 0xF0 and i + 2 < stop:
        return (b & 0x0F) << 12 | (np.int64(data[i + 1]) & 0x3F) << 6 | (np.int64(data[i + 2]) & 0x3F), 3
    if 0xF0 <= b < 0xF5 and i + 3 < stop:
        c = (b & 0x07) << 18 | (np.int64(data[i + 1]) & 0x3F) << 12
        c |= (np.int64(data[i + 2]) & 0x3F) << 6 | (np.int64(data[i + 3]) & 0x3F)
        return (c if c < 0x110000 else np.int64(0xFFFD)), 4
    return np.int64(0xFFFD), 1


@njit(cache=True)
def word_hashes(data, i, stop, to, flags, out):
    """The 64-bit hash of each word of data[i:stop], into `out`; how many there are."""
    n = 0
    h, inside = _SEED, False
    joins = np.uint8(0)  # what the last character was, for the next
    while i < stop:
        c, width = np.int64(data[i]), 1
        if c >= 0x80:
            c, width = _decoded(data, i, stop)
        t = to[c]
        f = flags[c]
        i += width
        if t >= 0:
            if f & WORD_MARK:  # goes on with whatever is before it
                joins = joins & ~WORD_STACKS | f & WORD_STACKS
            elif f | joins:
                if f & joins & WORD_DIGIT:
                    continue  # a run of digits is one
                begins = (f | joins) & WORD_ALONE or (f ^ joins) & WORD_COMPLEX
                if f & WORD_CLUSTER and not joins & (WORD_LEADING | WORD_STACKS):
                    begins = True
                if begins and inside:
                    out[n] = mix(h)
                    n += 1
                    h = _SEED
                joins = f
            h = (h ^ np.uint64(t)) * _PRIME
            inside = True
        elif t == SEPARATOR:
            if inside:
                out[n] = mix(h)
                n += 1
                h, inside = _SEED, False
            joins = np.uint8(0)
    if inside:
        out[n] = mix(h)
        n += 1
    return n


@njit(cache=True)
def char_hashes(data, i, stop, to, flags, out):
    """The characters of data[i:stop] as they count, white space in a row as one and none at the ends, into `out`; how many there are."""
    n = 0
    space, digit = False, False
    while i < stop:
        c, width = np.int64(data[i]), 1
        if c >= 0x80:
            c, width = _decoded(data, i, stop)
        t = to[c]
        i += width
        if t == NOTHING:
            continue
        if t == SEPARATOR:
            space, digit = n > 0, False
            continue
        if flags[c] & WORD_DIGIT:
            if digit and not space:
                continue
            digit = True
        else:
            digit = False
        if space:
            out[n] = np.uint64(0x20)
            n += 1
            space = False
        out[n] = np.uint64(t)
        n += 1
    return n


@njit(cache=True)
def roll(units, count, n, power, out):
    """The 32-bit hash of each n of `count` units in a row, into `out`; how many there are, and the 64-bit hash of all units."""
    whole = np.uint64(count)
    rolling = np.uint64(0)
    found = 0
    for k in range(count):
        unit = units[k]
        whole = whole * _BASE + unit
        rolling = rolling * _BASE + unit
        if k >= n:
            rolling -= units[k - n] * power
        if k >= n - 1:
            out[found] = np.uint32(mix(rolling) >> np.uint64(32))
            found += 1
    return found, mix(whole)


@njit(cache=True)
def shingle(data, i, stop, to, flags, n, power, characters, units, out):
    """The shingles of one document, into `out`; how many there are, the hash of all its units and how many of those.

    `units` and `out` are scratch of as many entries as the document has bytes.
    """
    count = char_hashes(data, i, stop, to, flags, units) if characters else word_hashes(data, i, stop, to, flags, units)
    found, whole = roll(units, count, n, power, out)
    return found, whole, count


@njit(cache=True)
def longest(start, end):
    """Bytes of the longest document."""
    most = np.int64(0)
    for d in range(len(start)):
        most = max(most, np.int64(end[d]) - np.int64(start[d]))
    return most


@njit(cache=True)
def _sort(values, count, scratch, held):
    """Sort values[:count], uint32, by three digits of 11 bits; `held` is int64[3, 2048]. Three times as fast as a sort by comparisons."""
    held[:] = 0
    for k in range(count):
        x = values[k]
        held[0, x & np.uint32(2047)] += 1
        held[1, (x >> np.uint32(11)) & np.uint32(2047)] += 1
        held[2, x >> np.uint32(22)] += 1
    source, target = values, scratch
    for digit in range(3):
        at, shift = 0, np.uint32(11 * digit)
        for b in range(2048):
            size = held[digit, b]
            held[digit, b] = at
            at += size
        for k in range(count):
            b = (source[k] >> shift) & np.uint32(2047)
            target[held[digit, b]] = source[k]
            held[digit, b] += 1
        source, target = target, source
    values[:count] = source[:count]


@njit(cache=True)
def room(out, at, count):
    """An array in which `count` values fit behind the first `at`: this one, or a copy of those."""
    if at + count <= len(out):
        return out
    grown = np.empty(max(2 * len(out), at + count), out.dtype)
    grown[:at] = out[:at]
    return grown


@njit(cache=True)
def distinct(found, count, scratch, held, out, at):
    """Put the distinct ones of found[:count] into `out` from `at` on, in order; where they end. `found` is sorted; it is not empty."""
    some = found[:count]
    if count < FEW:
        some.sort()
    else:
        _sort(found, count, scratch, held)
    out[at] = some[0]
    at += 1
    for k in range(1, count):
        if some[k] != some[k - 1]:
            out[at] = some[k]
            at += 1
    return at


@njit(cache=True)
def enough(found, count, least):
    """Whether there are `least` distinct values among found[:count], which are in any order: the first few tell, as a rule."""
    if count < least:
        return False
    seen = np.empty(least, found.dtype)
    held = 0
    for k in range(count):
        new = True
        for j in range(held):
            if seen[j] == found[k]:
                new = False
                break
        if new:
            seen[held] = found[k]
            held += 1
            if held == least:
                return True
    return held >= least


@njit(cache=True)
def sets(data, start, end, to, flags, n, characters, least=1):
    """The distinct shingles of each document in order: offsets int64[documents + 1], hashes uint32; the hash of all its units; and
    whether there are `least`.

    A document that has not so many distinct shingles has one: the hash of all its units.
    """
    docs = len(start)
    size = longest(start, end) + 1
    units, found = np.empty(size, np.uint64), np.empty(size, np.uint32)
    offsets, whole, has = np.zeros(docs + 1, np.int64), np.empty(docs, np.uint64), np.empty(docs, np.bool_)
    scratch, held = np.empty(size, np.uint32), np.empty((3, 2048), np.int64)
    power = _power(n)
    out = np.empty(1024, np.uint32)
    at = 0
    for d in range(docs):
        count, whole[d], _ = shingle(data, np.int64(start[d]), np.int64(end[d]), to, flags, n, power, characters, units, found)
        has[d] = enough(found, count, least)
        if not has[d]:
            found[0] = np.uint32(whole[d] >> np.uint64(32))
            count = 1
        out = room(out, at, count)
        at = distinct(found, count, scratch, held, out, at)
        offsets[d + 1] = at
    return offsets, out[:at].copy(), whole, has
