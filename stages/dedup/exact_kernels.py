"""128-bit hashes of documents: of their bytes, or of what is left of them without the differences that do not count.

Two hashes of 64 bits are made side by side, with multipliers of their own, so that texts that meet in one do not meet in the other. The
rounds are MurmurHash3's. Little-endian only.
Measured on one 2.6 GHz core: bytes 3.7 GB/s on texts of 2.5 KB; normal forms 500 MB/s on English, 450 on Japanese, 380 on Russian.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from curate.kernels.text import _decode, mix

Array = np.ndarray[Any, Any]

DIGIT, ABSENT = np.uint32(1 << 30), np.uint32(1 << 31)  # of a table of characters

_M1, _M2 = np.uint64(0xFF51AFD7ED558CCD), np.uint64(0xC4CEB9FE1A85EC53)
_M3, _M4 = np.uint64(0x9E3779B185EBCA87), np.uint64(0xC2B2AE3D27D4EB4F)
_ADD_1, _ADD_2 = np.uint64(0x52DCE729), np.uint64(0x38495AB5)
_FIVE, _EIGHT, _HALF = np.uint64(5), np.uint64(8), np.uint64(32)
_BYTES, _FORM, _CHECK = np.uint64(0), np.uint64(0x165667B19E3779F9), np.uint64(0x85EBCA77C2B2AE63)  # what hashes begin with
_SPACE = np.uint32(0x20)
_WAITING = 4096  # characters that wait to be hashed: they fit the first cache


@njit(cache=True, inline="always")
def _round(h, g, word):
    """Both hashes with eight bytes more."""
    k = word * _M1
    k ^= k >> _HALF
    h = ((h << np.uint64(27)) | (h >> np.uint64(37))) ^ (k * _M2)
    k = word * _M3
    k ^= k >> np.uint64(29)
    g = ((g << np.uint64(31)) | (g >> np.uint64(33))) ^ (k * _M4)
    return h * _FIVE + _ADD_1, g * _FIVE + _ADD_2


@njit(cache=True, inline="always")
def _of_bytes(data, words, i, stop):
    length = np.uint64(stop - i)
    h, g = mix(_BYTES ^ (length * _M1)), mix(_CHECK ^ (length * _M3))
    while i + 8 <= stop:
        h, g = _round(h, g, words[np.uint64(i)])
        i += 8
    word = np.uint64(0)
    while i < stop:
        word = (word << _EIGHT) | np.uint64(data[np.uint64(i)])
        i += 1
    h, g = _round(h, g, word)
    return mix(h), mix(g)


@njit(cache=True)
def _hash_bytes(data, words, start, end):
    key, check = np.empty(len(start), np.uint64), np.empty(len(start), np.uint64)
    for d in range(len(start)):
        key[d], check[d] = _of_bytes(data, words, np.int64(start[d]), np.int64(end[d]))
    return key, check


@njit(cache=True, inline="always")
def _flush(h, g, pairs, units, n):
    """Hash all whole pairs of n units; the one that is left over, if any, is then the first."""
    for k in range(n >> 1):
        h, g = _round(h, g, pairs[np.uint64(k)])
    units[0] = units[np.uint64(n & ~1)]
    return h, g


@njit(cache=True)
def _hash_forms(data, words, start, end, table, fold_digits, pairs, units):
    key, check = np.empty(len(start), np.uint64), np.empty(len(start), np.uint64)
    for d in range(len(start)):
        i, stop = np.int64(start[d]), np.int64(end[d])
        h, g = mix(_FORM), mix(_FORM ^ _CHECK)
        n, count = np.int64(0), np.int64(0)  # units that wait, and that are hashed
        digit_n, digit_i = np.int64(-1), np.int64(-1)  # n and i behind the last digit
        while i < stop:
            c, width = np.int64(data[np.uint64(i)]), 1
            if c >= 0x80:
                c, width = _decode(data, i, stop)
            entry = table[np.uint64(c)]
            if entry & DIGIT:
                if digit_n == n:
                    if digit_i != i:  # 1 23 and 12 3 are not the same
                        units[np.uint64(n)] = _SPACE
                        n += 1
                    elif fold_digits:
                        i += width
                        digit_i = i
                        continue
                digit_n, digit_i = n + 1, i + width
            i += width
            units[np.uint64(n)] = entry
            n += np.int64(entry < ABSENT)  # no branch: white space comes when it likes
            if n >= _WAITING:
                h, g = _flush(h, g, pairs, units, n)
                digit_n = n & 1 if digit_n == n else np.int64(-1)
                count += n & ~1
                n &= 1
        h, g = _flush(h, g, pairs, units, n)
        count += n
        if count == 0:
            key[d], check[d] = _of_bytes(data, words, np.int64(start[d]), stop)
            continue
        if n & 1:
            h, g = _round(h, g, np.uint64(units[0]))
        key[d], check[d] = mix(h ^ np.uint64(count)), mix(g ^ np.uint64(count))
    return key, check


def _words(data: Array) -> tuple[Array, Array]:
    """The bytes, and uint64 of the eight bytes from each of them on: a view."""
    if len(data) < 8:
        data = np.concatenate((data, np.zeros(8, np.uint8)))
    return data, np.ndarray((len(data) - 7,), np.uint64, data, strides=(1,))


def hash_bytes(data: Array, start: Array, end: Array) -> tuple[Array, Array]:
    """(uint64, uint64) of the bytes of each document."""
    pair: tuple[Array, Array] = _hash_bytes(*_words(data), start, end)
    return pair


def hash_forms(data: Array, start: Array, end: Array, table: Array, fold_digits: bool) -> tuple[Array, Array]:
    """(uint64, uint64) of the characters of each document as a table has them, one behind the other.

    The table, uint32 of each code point, says what a character counts as, or ABSENT; with DIGIT if it is one. Between numbers that
    something stands between, a space does; with `fold_digits`, a run of digits is the first of them. A document of which nothing is left
    is hashed by its bytes.
    """
    pairs = np.empty(_WAITING // 2 + 2, np.uint64)
    pair: tuple[Array, Array] = _hash_forms(*_words(data), start, end, table, fold_digits, pairs, pairs.view(np.uint32))
    return pair
