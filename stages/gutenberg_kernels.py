"""The loops behind `gutenberg.Strip`: which lines of a book are not the book's."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numba import njit

STAR, SPACE, TAB, RETURN, ANY, CLOSE = 0x2A, 0x20, 0x09, 0x0D, 0x00, 0x5D
LONGEST_MARKER = 4  # lines that one with asterisks may run on to its closing ones: a long title is wrapped
LONGEST_PARAGRAPH = 20  # lines of credits
LONGEST_BRACKET = 100  # lines: one that does not end before is none
LONGEST_NOTICE = 1000
OWN, HEADER, CREDITS, FOOTER, NOTICE, BRACKET, NOTE = range(7)  # why a line is not the book's
RULES = ("header", "credits", "footer", "notice", "bracket", "note")


class Markers(NamedTuple):
    """What lines are told by, for kernels."""

    pattern: np.ndarray  # uint8: all one behind the other; ANY is a gap
    ends: np.ndarray  # int64: of each
    begins: np.ndarray  # bool[256]: bytes that one may begin with


@lru_cache(32)
def compiled(markers: Sequence[str]) -> Markers:
    """Markers as `gutenberg.Strip` has them. One with an asterisk is compared without regard to the case of ASCII letters."""
    found = [(m.lower() if "*" in m else m).replace("...", chr(ANY)).encode() for m in markers]
    begins = np.zeros(256, np.bool_)
    for marker in found:
        begins[marker[0]] = True
    return Markers(np.frombuffer(b"".join(found), np.uint8), np.cumsum([0, *map(len, found)]), begins)


@njit(cache=True, inline="always")
def _folded(byte, folds):
    return byte | 0x20 if folds and 0x41 <= byte <= 0x5A else byte


@njit(cache=True)
def _fits(data, i, stop, pattern, low, high, folds):
    """(whether data[i:stop] begins with pattern[low:high], which may end at a gap; where the pattern was left).

    An asterisk fits any number of those and of spaces; a space any number of spaces.
    """
    while low < high and pattern[low] != ANY:
        mark = pattern[low]
        low += 1
        if mark in (STAR, SPACE):
            if i >= stop or data[i] != mark:
                return False, low
            while i < stop and (data[i] == mark or data[i] == SPACE):
                i += 1
        elif i < stop and _folded(data[i], folds) == mark:
            i += 1
        else:
            return False, low
    return True, low


@njit(cache=True)
def _told(data, i, stop, pattern, ends, begins, indented):
    """Whether the line data[i:stop] begins with a marker, behind white space only if it may be `indented`."""
    if indented:
        while i < stop and (data[i] == SPACE or data[i] == TAB):
            i += 1
    if i >= stop or not begins[data[i]]:
        return False
    for m in range(len(ends) - 1):
        low, high = ends[m], ends[m + 1]
        folds = False
        for p in range(low, high):
            folds |= pattern[p] == STAR
        fits, low = _fits(data, i, stop, pattern, low, high, folds)
        if fits and low < high:  # behind the gap
            low, fits = low + 1, False
            for k in range(i, stop):
                fits, _ = _fits(data, k, stop, pattern, low, high, folds)
                if fits:
                    break
        if fits:
            return True
    return False


@njit(cache=True, inline="always")
def _blank(data, i, stop):
    while i < stop and (data[i] == SPACE or data[i] == TAB or data[i] == RETURN):
        i += 1
    return i == stop


@njit(cache=True)
def _closed(data, line_start, line_end, n, last):
    """The line behind a marker with asterisks that begins at line n: it may run on to the line that ends with some."""
    for k in range(n, min(n + LONGEST_MARKER, last)):
        i, j = line_start[k], line_end[k]
        while j > i and (data[j - 1] == SPACE or data[j - 1] == RETURN):
            j -= 1
        if i == j:
            break
        stars = 0
        while j - stars > i and data[j - stars - 1] == STAR:
            stars += 1
        if stars == j - i or (stars and (k > n or j - i > stars + 8)):
            return k + 1
    return n + 1


@njit(cache=True)
def _paragraph(data, line_start, line_end, n, last):
    """The line behind the paragraph that begins at line n; behind that line, where it has no end soon."""
    for k in range(n, min(n + LONGEST_PARAGRAPH, last)):
        if _blank(data, line_start[k], line_end[k]):
            return k
    return n + 1


@njit(cache=True)
def _bracketed(data, line_start, line_end, n, last):
    """The line behind the one that closes the bracket which line n opens; n where none does."""
    depth = 0
    for k in range(n, min(n + LONGEST_BRACKET, last)):
        for i in range(line_start[k], line_end[k]):
            depth += (data[i] == CLOSE - 2) - (data[i] == CLOSE)
        if depth <= 0:
            return k + 1
    return n


@njit(cache=True)
def _next(data, line_start, line_end, n, last, pattern, ends, begins):
    """The first line from n on that a marker tells, or `last`."""
    for k in range(n, last):
        if _told(data, line_start[k], line_end[k], pattern, ends, begins, True):
            return k
    return last


@njit(cache=True)
def told_apart(
    data, first, last, line_start, line_end, starts, credits, ends, opens, closes, brackets, notes,
    within, credits_within, least, paragraphs,
):  # fmt: skip
    """int8 of each line: OWN for one of the book, or why it is not.

    A line in the first `within` that begins with one of `starts` has nothing of the book before it; likewise one of `credits`, of the
    first `credits_within` behind that, as a paragraph if these count as `paragraphs`. One of `ends` has nothing behind it, if `least`
    lines came before or there was a start. From one of `opens` to the next of `closes`, and a bracket opened by one of `brackets`, is
    taken out of the middle. One of `notes` in the last tenth of what is left has nothing of the book behind it.
    """
    why = np.zeros(len(line_start), np.int8)
    later = ends[2] | opens[2] | brackets[2]  # bytes that what is looked for behind `within` begins with
    for d in range(len(first)):
        body, stop = first[d], last[d]  # between which the book is
        before, start = body, stop  # `body` as it was before the latest start, and the line of that
        kept = since = 0  # lines, in all and behind the latest start
        close = np.int64(-1)  # line of the next end of a notice
        started = touched = False
        n = first[d]
        while n < last[d]:
            i, j = line_start[n], line_end[n]
            if kept > within:
                while i < j and (data[i] == SPACE or data[i] == TAB):
                    i += 1
                if i == j or not later[data[i]]:
                    n += 1
                    kept += 1
                    continue
            after, reason = n, OWN
            if kept <= within and _told(data, i, j, *starts, True):
                after, reason = _closed(data, line_start, line_end, n, last[d]), HEADER
                before, start, body = body, n, after
                started, since = True, 0
            elif kept <= within and since <= credits_within and _told(data, i, j, *credits, False):
                after, reason = _paragraph(data, line_start, line_end, n, last[d]) if paragraphs else n + 1, CREDITS
                body = after
            elif (started or kept >= least) and _told(data, i, j, *ends, True):
                stop, touched = n, True
                break
            elif _told(data, i, j, *opens, True):
                if close <= n:
                    close = _next(data, line_start, line_end, n + 1, last[d], *closes)
                if close < min(last[d], n + LONGEST_NOTICE):
                    after, reason = close + 1, NOTICE
            elif _told(data, i, j, *brackets, True):
                after, reason = _bracketed(data, line_start, line_end, n, last[d]), BRACKET
            if after > n:
                why[n:after] = reason
                touched = True
                n = after
                continue
            kept += 1
            since += 1
            n += 1
        written = False
        for k in range(body, stop):
            written |= why[k] == OWN and not _blank(data, line_start[k], line_end[k])
        if touched and not written and stop == last[d]:  # small print may stand at the end
            body, stop = before, start
        foot = FOOTER
        for k in range(stop - (stop - body) // 10 - 1, stop):
            if k >= body and _told(data, line_start[k], line_end[k], *notes, True):
                touched, foot = True, NOTE
                why[stop : last[d]] = FOOTER
                stop = k
                break
        if not touched:
            continue
        while body < stop and (why[body] != OWN or _blank(data, line_start[body], line_end[body])):
            body += 1
        while stop > body and (why[stop - 1] != OWN or _blank(data, line_start[stop - 1], line_end[stop - 1])):
            stop -= 1
        for k in range(first[d], last[d]):
            if why[k] == OWN and (k < body or k >= stop):
                why[k] = HEADER if k < body else foot
    return why
