"""SHA-1 (FIPS 180-4) of many short messages: sixteen side by side, one in each lane of the processor's vectors.

A line of text is one block or two, and a block by itself waits for each of its eighty rounds. The loops over lanes are plain ones, of which
LLVM makes whatever vectors the processor has; results do not depend on them. Little-endian machines only.
"""

from __future__ import annotations

import numpy as np
from numba import njit

LANES = 16  # lines that SHA-1 works on side by side: what 512 bits hold
_BEGIN = (0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0)


@njit(cache=True, inline="always")
def _rotate_32(x, n):
    return np.uint32(np.uint32(x << np.uint32(n)) | np.uint32(x >> np.uint32(32 - n)))


@njit(cache=True, inline="always")
def _round(part, a, b, c, d, e, w):
    if part == 0:
        f, constant = d ^ (b & (c ^ d)), np.uint32(0x5A827999)
    elif part == 1:
        f, constant = b ^ c ^ d, np.uint32(0x6ED9EBA1)
    elif part == 2:
        f, constant = (b & c) | (d & (b | c)), np.uint32(0x8F1BBCDC)
    else:
        f, constant = b ^ c ^ d, np.uint32(0xCA62C1D6)
    return np.uint32(_rotate_32(a, 5) + f + e + w + constant)


@njit(cache=True, inline="always")
def _twenty_rounds(part, s, w):
    """Over all lanes: five rounds a turn, since after five the words of the state have their names again."""
    for t in range(20 * part, 20 * part + 20, 5):
        for lane in range(LANES):
            a, b, c, d, e = s[0, lane], s[1, lane], s[2, lane], s[3, lane], s[4, lane]
            e = _round(part, a, b, c, d, e, w[t, lane])
            b = _rotate_32(b, 30)
            d = _round(part, e, a, b, c, d, w[t + 1, lane])
            a = _rotate_32(a, 30)
            c = _round(part, d, e, a, b, c, w[t + 2, lane])
            e = _rotate_32(e, 30)
            b = _round(part, c, d, e, a, b, w[t + 3, lane])
            d = _rotate_32(d, 30)
            a = _round(part, b, c, d, e, a, w[t + 4, lane])
            c = _rotate_32(c, 30)
            s[0, lane], s[1, lane], s[2, lane], s[3, lane], s[4, lane] = a, b, c, d, e


@njit(cache=True)
def _compress(s, before, w):
    """Take one block of each lane, in the first 16 rows of w, into its state s. Loops over lanes, of which LLVM makes vectors."""
    words = w.ravel()
    for i in range(64 * LANES):
        words[i + 16 * LANES] = _rotate_32(words[i + 13 * LANES] ^ words[i + 8 * LANES] ^ words[i + 2 * LANES] ^ words[i], 1)
    before[:] = s
    _twenty_rounds(0, s, w)
    _twenty_rounds(1, s, w)
    _twenty_rounds(2, s, w)
    _twenty_rounds(3, s, w)
    for k in range(5):
        for lane in range(LANES):
            s[k, lane] += before[k, lane]


@njit(cache=True, inline="always")
def swapped(x):
    """The four bytes of a word the other way round."""
    x = np.uint32(x)
    x = np.uint32((x >> np.uint32(16)) | (x << np.uint32(16)))
    return np.uint32(((x >> np.uint32(8)) & np.uint32(0x00FF00FF)) | ((x & np.uint32(0x00FF00FF)) << np.uint32(8)))


@njit(cache=True)
def digest(blocks, at, first, last, out, s, before, w):
    """out[first:last] from the padded forms of those lines: that of line n has the blocks of 64 bytes from at[n - first] to the next.

    A lane that is done with its line takes the next.
    """
    line, here, stop = np.full(LANES, -1, np.int64), np.zeros(LANES, np.int64), np.zeros(LANES, np.int64)
    following, busy = first, 0
    while True:
        for lane in range(LANES):
            if here[lane] == stop[lane]:
                if line[lane] >= 0:
                    out[line[lane]] = np.uint64(swapped(s[0, lane])) | np.uint64(swapped(s[1, lane])) << np.uint64(32)
                    line[lane] = -1
                    busy -= 1
                if following < last:
                    line[lane], here[lane], stop[lane] = following, at[following - first], at[following - first + 1]
                    s[0, lane], s[1, lane], s[2, lane], s[3, lane], s[4, lane] = _BEGIN
                    following += 1
                    busy += 1
            if here[lane] < stop[lane]:
                for t in range(16):
                    w[t, lane] = swapped(blocks[here[lane] * 16 + t])
                here[lane] += 1
        if busy == 0:
            return
        _compress(s, before, w)
