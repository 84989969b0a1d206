"""Windows of a document, the anchors that winnowing picks in them, and what is left of a text when spans are taken out.

A window is `least` units in a row of one document, a unit a word's hash or a byte. Of its runs of `gram` units the one with the lowest hash
is its anchor, of equals the rightmost (Schleimer et al. 2003): so windows that are alike have anchors that are alike, and neighbours mostly
share one. Runs and windows are hashed by a polynomial modulo 2^64 that rolls along; its base is odd, so that two windows that differ in
one byte never have one hash, and others that differ do with a chance of about 2^-64.
Measured on one core, on web pages: anchors of words 740 MB/s, of bytes 105 MB/s; candidates, where a third of the windows are, 350 and 45.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from curate.kernels.text import mix

Array = np.ndarray[Any, Any]

SEGMENT = 4096  # windows that are looked at together, so that what is known of them stays in the cache
SLOTS = 1 << 23  # of a table of windows, 21 bytes each; it is half full at most
_BASE = np.uint64(0xD6E8FEB86659FD93)
_HALF = np.uint64(32)

# -- windows of a document ----------------------------------------------------------------------------------------------------------


@njit(cache=True)
def _hash_runs(units, low, count, length, out):
    """The hash of each of `count` runs of `length` units, the first at `low`."""
    leading = np.uint64(1)
    for _ in range(length - 1):
        leading *= _BASE
    h = np.uint64(0)
    for i in range(low, low + length - 1):
        h = h * _BASE + np.uint64(units[i])
    for x in range(count):
        h = h * _BASE + np.uint64(units[low + x + length - 1])
        out[x] = mix(h)
        h -= leading * np.uint64(units[low + x])


@njit(cache=True)
def _pick(grams, count, width, at):
    """For each of `count` windows of `width` runs, the place of the one with the lowest hash, of equals the rightmost."""
    best = np.int64(-1)
    for x in range(count):
        if best < x:
            best = x
            for i in range(x + 1, x + width):
                if grams[i] <= grams[best]:
                    best = i
        elif grams[x + width - 1] <= grams[best]:
            best = x + width - 1
        at[x] = best


@njit(cache=True)
def _room_for(values, size):
    """An array with room for so many. Asked for once a segment: in the innermost loop, numba would count references to it."""
    if size <= len(values):
        return values
    out = np.empty(2 * size, values.dtype)
    out[: len(values)] = values
    return out


@njit(cache=True)
def anchors(units, first, last, gram, least):
    """(int64 row, uint64 hash, bool twice): the anchors of the windows of each document, whose units are first[d] to last[d].

    An anchor that the next one equals is listed once, and `twice`: text that goes round in circles has few.
    """
    width = least - gram + 1
    grams, at = np.empty(SEGMENT + width - 1, np.uint64), np.empty(SEGMENT, np.int64)
    row, found, twice = np.empty(0, np.int64), np.empty(0, np.uint64), np.empty(0, np.bool_)
    n = 0
    for d in range(len(first)):
        begin, place = n, np.int64(-1)
        low, stop = np.int64(first[d]), np.int64(last[d]) - least + 1
        while low < stop:
            count = min(SEGMENT, stop - low)
            _hash_runs(units, low, count + width - 1, gram, grams)
            _pick(grams, count, width, at)
            row, found, twice = _room_for(row, n + count), _room_for(found, n + count), _room_for(twice, n + count)
            for x in range(count):
                if low + at[x] == place:
                    continue
                place = low + at[x]
                h = grams[at[x]]
                if n > begin and found[n - 1] == h:
                    twice[n - 1] = True
                    continue
                row[n], found[n], twice[n] = d, h, False
                n += 1
            low += count
    return row[:n], found[:n], twice[:n]


@njit(cache=True)
def _among(wanted, low, high, value):
    """Whether a value is one of wanted[low:high], which is sorted."""
    end = high
    while low < high:
        middle = (low + high) >> 1
        if wanted[middle] < value:
            low = middle + 1
        else:
            high = middle
    return low < end and wanted[low] == value


@njit(cache=True)
def candidates(units, first, last, gram, least, begins, wanted):
    """The windows whose anchor is among those wanted of their document: wanted[begins[d]:begins[d + 1]], the upper halves of their hashes,
    sorted.

    Returns a row for each stretch of windows that have one and the same anchor: uint64 anchor, int64 document, int32 place of the
    first window in it, and int32 offsets (one more than rows) into uint64 hashes of the windows.
    """
    width = least - gram + 1
    grams, at, hashes = np.empty(SEGMENT + width - 1, np.uint64), np.empty(SEGMENT, np.int64), np.empty(SEGMENT, np.uint64)
    inside = np.empty(SEGMENT, np.bool_)
    anchor, row = np.empty(0, np.uint64), np.empty(0, np.int64)
    start, offsets, windows = np.empty(0, np.int32), np.empty(0, np.int32), np.empty(0, np.uint64)
    n, held = 0, np.int64(0)
    for d in range(len(first)):
        if begins[d] == begins[d + 1]:
            continue
        low, stop = np.int64(first[d]), np.int64(last[d]) - least + 1
        place, current, goes_on, some = np.int64(-1), np.uint64(0), False, False
        while low < stop:
            count = min(SEGMENT, stop - low)
            _hash_runs(units, low, count + width - 1, gram, grams)
            _pick(grams, count, width, at)
            anchor, row = _room_for(anchor, n + count), _room_for(row, n + count)
            start, offsets = _room_for(start, n + count), _room_for(offsets, n + count)
            before, ahead = some, 0
            for x in range(count):
                if low + at[x] != place:
                    place = low + at[x]
                    if not goes_on or grams[at[x]] != current:
                        current, goes_on = grams[at[x]], True
                        some = _among(wanted, begins[d], begins[d + 1], np.uint32(current >> _HALF))
                        if some:
                            anchor[n], row[n], start[n], offsets[n] = current, d, low + x - first[d], held + ahead
                            n += 1
                inside[x] = some
                ahead += some
            if before or ahead:
                _hash_runs(units, low, count, least, hashes)
                windows = _room_for(windows, held + ahead)
                for x in range(count):
                    if inside[x]:
                        windows[held] = hashes[x]
                        held += 1
            low += count
    ends = np.empty(n + 1, np.int32)
    ends[:n] = offsets[:n]
    ends[n] = held
    return anchor[:n], row[:n], start[:n], ends, windows[:held]


# -- windows that are alike ---------------------------------------------------------------------------------------------------------


def table(windows: int) -> tuple[Array, Array, Array, Array]:
    """Room for so many windows, or for SLOTS / 2 that differ: hash, how often (0, 1, 2 for more), document and place of the first."""
    size = 2
    while size < 2 * windows and size < SLOTS:
        size *= 2
    return np.empty(size, np.uint64), np.zeros(size, np.uint8), np.empty(size, np.int64), np.empty(size, np.int32)


@njit(cache=True)
def _slot(hashes, count, size, h):
    at = np.int64(h & np.uint64(size - 1))
    while count[at] != 0 and hashes[at] != h:
        at = (at + 1) & (size - 1)
    return at


@njit(cache=True)
def enter(room, size, held, rows, offsets, windows, doc, start, part, parts):
    """Note the windows of rows[0] to rows[1] that belong to a part, by hash, in a table that holds `held` already. Returns how many it
    holds then, or -1 where there is no room for more: parts must be smaller."""
    hashes, count, first_doc, first_at = room
    for r in range(rows[0], rows[1]):
        for i in range(offsets[r], offsets[r + 1]):
            h = windows[i]
            if np.int64(h >> _HALF) & (parts - 1) != part:
                continue
            x = start[r] + (i - offsets[r])
            at = _slot(hashes, count, size, h)
            if count[at] == 0:
                if 2 * held >= size:
                    return -1
                held += 1
                hashes[at], count[at], first_doc[at], first_at[at] = h, 1, doc[r], x
                continue
            count[at] = 2
            if doc[r] < first_doc[at] or (doc[r] == first_doc[at] and x < first_at[at]):
                first_doc[at], first_at[at] = doc[r], x
    return held


@njit(cache=True)
def judge(room, size, rows, offsets, windows, doc, start, part, parts, keep_first, goes):
    """Set `goes` for the windows of a part that stand elsewhere too; not for the first of each in corpus order, if that is kept."""
    hashes, count, first_doc, first_at = room
    for r in range(rows[0], rows[1]):
        for i in range(offsets[r], offsets[r + 1]):
            h = windows[i]
            if np.int64(h >> _HALF) & (parts - 1) != part:
                continue
            at = _slot(hashes, count, size, h)
            x = start[r] + (i - offsets[r])
            first = keep_first and first_doc[at] == doc[r] and first_at[at] == x
            goes[i] = count[at] == 2 and not first


@njit(cache=True)
def judge_groups(room, groups, offsets, windows, doc, start, keep_first):
    """bool per window: whether it goes. Rows groups[g] to groups[g + 1] have one anchor; no window is like one of another group."""
    goes = np.zeros(len(windows), np.bool_)
    for g in range(len(groups) - 1):
        rows = (groups[g], groups[g + 1])
        size = 2
        while size < 2 * (np.int64(offsets[rows[1]]) - offsets[rows[0]]) and size < len(room[1]):
            size *= 2
        part, parts = 0, 1
        while part < parts:
            room[1][:size] = 0
            if enter(room, size, 0, rows, offsets, windows, doc, start, part, parts) < 0:
                part, parts = 0, 2 * parts
                continue
            judge(room, size, rows, offsets, windows, doc, start, part, parts, keep_first, goes)
            part += 1
    return goes


@njit(cache=True)
def spans_of(doc, start, offsets, goes, least):
    """(int64 document, int32 first unit, int32 unit behind the last): what the windows that go cover, stretch by stretch of each row."""
    n = 0
    for r in range(len(doc)):
        for i in range(offsets[r], offsets[r + 1]):
            n += goes[i] and (i == offsets[r] or not goes[i - 1])
    out, low, high = np.empty(n, np.int64), np.empty(n, np.int32), np.empty(n, np.int32)
    n = 0
    for r in range(len(doc)):
        for i in range(offsets[r], offsets[r + 1]):
            if not goes[i]:
                continue
            x = start[r] + (i - offsets[r])
            if i == offsets[r] or not goes[i - 1]:
                out[n], low[n] = doc[r], x
                n += 1
            high[n - 1] = x + least
    return out, low, high


@njit(cache=True)
def joined(doc, low, high):
    """Spans sorted by (document, first unit), with those in one that overlap or touch."""
    out, first, last = np.empty(len(doc), np.int64), np.empty(len(doc), np.int32), np.empty(len(doc), np.int32)
    n = 0
    for i in range(len(doc)):
        if n and out[n - 1] == doc[i] and low[i] <= last[n - 1]:
            last[n - 1] = max(last[n - 1], high[i])
            continue
        out[n], first[n], last[n] = doc[i], low[i], high[i]
        n += 1
    return out[:n], first[:n], last[:n]


@njit(cache=True)
def bridged(doc, low, high, share):
    """Where, behind a span, a gap goes as well: neighbours are joined from the left, and from the right, as long as `share` or more of what
    is joined is covered, and what either direction joins is."""
    out = np.zeros(len(doc), np.bool_)
    n = len(doc)
    for backward in range(2):
        i = 0
        while i < n:
            at = n - 1 - i if backward else i
            begin, end, covered = low[at], high[at], np.int64(high[at]) - low[at]
            i += 1
            while i < n:
                after = n - 1 - i if backward else i
                if doc[after] != doc[at]:
                    break
                begin, end = min(begin, low[after]), max(end, high[after])
                covered += np.int64(high[after]) - low[after]
                if covered < share * (np.int64(end) - begin):
                    break
                out[after if backward else after - 1] = True
                i += 1
    return out


# -- texts without their spans ------------------------------------------------------------------------------------------------------


@njit(cache=True)
def byte_cuts(data, start, end, begins, low, high):
    """(int32, int32): the bytes that go of each document: its spans low[n] to high[n], of whole characters."""
    from_, to = np.empty(len(low), np.int32), np.empty(len(low), np.int32)
    for d in range(len(start)):
        for n in range(begins[d], begins[d + 1]):
            a, b = start[d] + low[n], start[d] + high[n]
            while a < b and data[a] & 0xC0 == 0x80:
                a += 1
            while b > a and b < end[d] and data[b] & 0xC0 == 0x80:
                b -= 1
            from_[n], to[n] = a, b
    return from_, to


@njit(cache=True)
def word_cuts(data, start, end, first, last, word_start, word_end, begins, low, high):
    """(int32, int32): the bytes that go of each document: its spans of words, with white space on one side: that behind, unless it has
    more line feeds than that before, and both at the ends of a text."""
    from_, to = np.empty(len(low), np.int32), np.empty(len(low), np.int32)
    for d in range(len(start)):
        for n in range(begins[d], begins[d + 1]):
            one, other = first[d] + low[n], first[d] + high[n]
            a, b = word_start[one], word_end[other - 1]
            before = word_end[one - 1] if one > first[d] else start[d]
            behind = word_start[other] if other < last[d] else end[d]
            feeds = np.int64(0)
            for i in range(before, a):
                feeds -= data[i] == 10
            for i in range(b, behind):
                feeds += data[i] == 10
            at_an_end = one == first[d] or other == last[d]
            from_[n] = before if feeds > 0 or at_an_end else a
            to[n] = behind if feeds <= 0 or at_an_end else b
    return from_, to


@njit(cache=True)
def without(data, start, end, begins, from_, to):
    """(bytes, int64 offsets): each document without some of its bytes; nothing joins what is left."""
    offsets = np.zeros(len(start) + 1, np.int64)
    for d in range(len(start)):
        size = np.int64(end[d]) - start[d]
        for n in range(begins[d], begins[d + 1]):
            size -= np.int64(to[n]) - from_[n]
        offsets[d + 1] = offsets[d] + size
    out = np.empty(offsets[-1], np.uint8)
    for d in range(len(start)):
        o, at = offsets[d], np.int64(start[d])
        for n in range(begins[d], begins[d + 1] + 1):
            stop = np.int64(from_[n]) if n < begins[d + 1] else np.int64(end[d])
            out[o : o + stop - at] = data[at:stop]
            o += stop - at
            at = np.int64(to[n]) if n < begins[d + 1] else stop
    return out, offsets


@njit(cache=True)
def visible(data, start, end):
    """int64 per document: its bytes that are neither white space nor control characters of ASCII."""
    out = np.empty(len(start), np.int64)
    for d in range(len(start)):
        n = 0
        for i in range(start[d], end[d]):
            n += data[i] > 32
        out[d] = n
    return out
