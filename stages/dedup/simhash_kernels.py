"""SimHash (Charikar 2002) over character n-grams and MD5, as the Python package `simhash` has it, from the bytes of the text.

MD5 (RFC 1321) of short messages, LANES at a time, so that each of its steps is a plain loop: hashlib takes one at a time, and a Python call
for each. One core: 20 MB/s of books, 90 times a Python loop over hashlib.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from numba import njit

from curate.kernels import unicode
from curate.kernels.text import _decode, put

LANES = 64
LONGEST = 55  # bytes of a message in one block
DROPPED = -1  # in a table: no character of a word
BEGIN = np.array([0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476], np.uint32)
TURNS = np.array([[7, 12, 17, 22], [5, 9, 14, 20], [4, 11, 16, 23], [6, 10, 15, 21]], np.uint32)
SINES = np.array([int(abs(math.sin(n + 1)) * 2**32) for n in range(64)], np.uint32)
WORD = np.array([(m * n + o) % 16 for k, (m, o) in enumerate(((1, 0), (5, 1), (3, 5), (7, 0))) for n in range(16 * k, 16 * k + 16)])
ALL = np.uint32(0xFFFFFFFF)
BYTES = np.uint32(0x00FF00FF)


@cache
def table() -> np.ndarray:
    """int32[1114112]: the lower case of what `\\w` matches of Unicode 14, DROPPED for all else."""
    word = unicode.LETTER | unicode.DIGIT | unicode.NUMBER
    lower, flags = unicode.lower(), unicode.flags()
    out = np.where(flags[lower] & word != 0, lower, DROPPED).astype(np.int32)
    out[ord("_")] = ord("_")
    return out


@njit(cache=True)
def _step(kind, a, b, c, d, word, sine, turn):
    """One of the 64 steps of all lanes; the result takes the place of `a`."""
    back = np.uint32(32 - turn)
    for k in range(LANES):
        if kind == 0:
            mixed = d[k] ^ (b[k] & (c[k] ^ d[k]))
        elif kind == 1:
            mixed = c[k] ^ (d[k] & (b[k] ^ c[k]))
        elif kind == 2:
            mixed = b[k] ^ c[k] ^ d[k]
        else:
            mixed = c[k] ^ (b[k] | (d[k] ^ ALL))
        t = np.uint32(a[k] + mixed + word[k] + sine)  # numba adds in 64 bits
        a[k] = np.uint32(b[k] + np.uint32(np.uint32(t << turn) | np.uint32(t >> back)))


@njit(cache=True, inline="always")
def _big_endian(x):
    x = np.uint32(np.uint32(x << np.uint32(16)) | np.uint32(x >> np.uint32(16)))
    return np.uint64(np.uint32((x & BYTES) << np.uint32(8)) | np.uint32((x >> np.uint32(8)) & BYTES))


@njit(cache=True)
def md5(words, state, out):
    """The last eight bytes of the MD5 of each lane's message as a number: `words` is uint32[16, LANES], padded, `state` scratch."""
    for n in range(4):
        state[n] = BEGIN[n]
    a, b, c, d = state[0], state[1], state[2], state[3]
    for n in range(0, 64, 4):
        kind = n // 16
        _step(kind, a, b, c, d, words[WORD[n]], SINES[n], TURNS[kind, 0])
        _step(kind, d, a, b, c, words[WORD[n + 1]], SINES[n + 1], TURNS[kind, 1])
        _step(kind, c, d, a, b, words[WORD[n + 2]], SINES[n + 2], TURNS[kind, 2])
        _step(kind, b, c, d, a, words[WORD[n + 3]], SINES[n + 3], TURNS[kind, 3])
    for k in range(LANES):
        high, low = np.uint32(c[k] + BEGIN[2]), np.uint32(d[k] + BEGIN[3])
        out[k] = _big_endian(high) << np.uint64(32) | _big_endian(low)


@njit(cache=True)
def fill(message, words, lane):
    """Put a message of at most LONGEST bytes into a lane, padded."""
    size = len(message)
    for w in range(14):
        x = np.uint32(0)
        for k in range(4 * w, min(4 * w + 4, size + 1)):
            byte = np.uint32(message[k]) if k < size else np.uint32(0x80)
            x |= np.uint32(byte << np.uint32(8 * (k & 3)))
        words[w, lane] = x
    words[14, lane] = np.uint32(8 * size)
    words[15, lane] = np.uint32(0)


@njit(cache=True)
def word_characters(data, i, stop, to, out, places):
    """The characters of data[i:stop] that count, as UTF-8 into `out`; where each begins, and the last ends, into `places`; their number."""
    n = at = 0
    places[0] = 0
    while i < stop:
        c, width = np.int64(data[i]), 1
        if c >= 0x80:
            c, width = _decode(data, i, stop)
        i += width
        c = to[c]
        if c < 0:
            continue
        at = put(out, at, np.int64(c))
        n += 1
        places[n] = at
    return n


@njit(cache=True)
def simhashes(data, start, end, to, width):
    """uint64 of each document: a bit is set where it is in more than half of the hashes of its n-grams of `width` characters.

    A text of fewer characters is one n-gram. A lower case may be longer than its letter: three bytes become at most four.
    """
    docs, longest = len(start), 0
    for d in range(docs):
        longest = max(longest, end[d] - start[d])
    text, places = np.empty(2 * longest + 8, np.uint8), np.empty(longest + 2, np.int64)
    words, state, found = np.zeros((16, LANES), np.uint32), np.empty((4, LANES), np.uint32), np.empty(LANES, np.uint64)
    counts = np.empty(64, np.int64)
    out = np.zeros(docs, np.uint64)
    for d in range(docs):
        count = word_characters(data, start[d], end[d], to, text, places)
        grams = max(count - width + 1, 1)
        counts[:] = 0
        for first in range(0, grams, LANES):
            some = min(LANES, grams - first)
            for k in range(some):
                n = first + k
                fill(text[places[n] : places[min(n + width, count)]], words, k)
            md5(words, state, found)
            for k in range(some):
                h = found[k]
                for bit in range(64):
                    counts[bit] += np.int64(h >> np.uint64(bit) & np.uint64(1))
        for bit in range(64):
            if 2 * counts[bit] > grams:
                out[d] |= np.uint64(1) << np.uint64(bit)
    return out


@njit(cache=True, inline="always")
def _distance(a, b):
    x = a ^ b
    n = 0
    while x:
        x &= x - np.uint64(1)
        n += 1
    return n


@njit(cache=True)
def nearest_before(key, hashes, most):
    """For each row the first one of the same key before it that differs in at most `most` bits, or -1; and in how many."""
    found, bits = np.full(len(key), -1), np.zeros(len(key), np.int64)
    begin = 0
    for n in range(len(key)):
        if key[n] != key[begin]:
            begin = n
        for other in range(begin, n):
            distance = _distance(hashes[n], hashes[other])
            if distance <= most:
                found[n], bits[n] = other, distance
                break
    return found, bits
