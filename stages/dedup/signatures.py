"""MinHash signatures (Broder 1997) and the bands that are cut from them, straight from the bytes of the text.

The default takes independent permutations x -> a x + b of 32 bits, one at a time over all shingles of a document, so that the loop is a
vector loop over an array that lies in the first cache. The alternative is fast similarity sketching (Dahlgaard, Knudsen, Thorup 2017):
each shingle falls into few places, and rounds go on until none is empty. `datatrove` has the signatures of that project.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from curate.kernels.text import mix
from stages.dedup.shingles import _power, distinct, enough, longest, room, shingle

Array = np.ndarray[Any, Any]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FULL = np.uint32(0xFFFFFFFF)
STEPS = 1000  # of the integrals by which bands are chosen


class Permutations(NamedTuple):
    """x -> a x + b modulo 2^32."""

    a: Array  # uint32, odd
    b: Array  # uint32


@cache
def permutations(count: int, seed: int) -> Permutations:
    """So many, from a seed: by SplitMix64, which is the same everywhere."""
    state = (np.arange(1, 2 * count + 1, dtype=np.uint64) + np.uint64(seed) * np.uint64(1 << 20)) * _GOLDEN
    drawn = np.fromiter((mix(s) for s in state), np.uint64, len(state))
    return Permutations(
        (drawn[:count] >> np.uint64(32)).astype(np.uint32) | np.uint32(1), (drawn[count:] >> np.uint64(32)).astype(np.uint32)
    )


@njit(cache=True, inline="always")
def _lowest(x, count, a, b):
    """The least of a x + b."""
    least = _FULL
    for j in range(count):
        h = np.uint32(np.uint32(a * x[j]) + b)
        least = min(least, h)
    return least


@njit(cache=True)
def independent(x, count, a, b, out):
    """The signature of a document: for each permutation the least value of its shingles."""
    for k in range(len(a)):
        out[k] = _lowest(x, count, a[k], b[k])


@njit(cache=True)
def fast(x, count, a, b, out):
    """Likewise by fast similarity sketching, with len(a) places: in the first rounds a shingle falls into one place by chance, in the
    later ones round r puts all into place r; a place keeps what came in the first round that reached it, and of that the least.
    """
    places = len(a)
    out[:] = _FULL
    rounds = np.full(places, np.int64(-1))
    empty = places
    for r in range(2 * places):
        seed = mix(np.uint64(a[r % places]) << np.uint64(32) | np.uint64(b[r % places]) ^ np.uint64(r))
        for j in range(count):
            h = mix(np.uint64(x[j]) ^ seed)
            place = np.int64(((h >> np.uint64(32)) * np.uint64(places)) >> np.uint64(32)) if r < places else r - places
            if rounds[place] < 0:
                rounds[place] = r
                empty -= 1
            if rounds[place] == r:
                out[place] = min(out[place], np.uint32(h & np.uint64(0xFFFFFFFF)))
        if empty == 0:
            break
    for k in range(places):  # values of different rounds are never equal but by chance
        out[k] = np.uint32(mix(np.uint64(rounds[k]) << np.uint64(32) | np.uint64(out[k])) >> np.uint64(32))


@njit(cache=True)
def signatures(data, start, end, to, flags, n, characters, a, b, is_fast, with_sets, least):
    """uint32[documents, permutations], and per document: shingles (int64), 0 where fewer than `least` are distinct, and the hash of all
    its units (uint64); and, where they are asked for, offsets and distinct shingles as `shingles.sets` has them.

    The signature of a document of 0 shingles is undefined.
    """
    docs = len(start)
    size = longest(start, end) + 1
    units, found = np.empty(size, np.uint64), np.empty(size, np.uint32)
    out = np.zeros((docs, len(a)), np.uint32)
    counts, whole = np.empty(docs, np.int64), np.empty(docs, np.uint64)
    offsets, sets, at = np.zeros(docs + 1, np.int64), np.empty(1024, np.uint32), 0
    scratch, held = np.empty(size if with_sets else 0, np.uint32), np.empty((3, 2048), np.int64)
    power = _power(n)
    for d in range(docs):
        counts[d], whole[d], _ = shingle(data, np.int64(start[d]), np.int64(end[d]), to, flags, n, power, characters, units, found)
        if not enough(found, counts[d], least):
            counts[d] = 0
        if counts[d]:
            if is_fast:
                fast(found, counts[d], a, b, out[d])
            else:
                independent(found, counts[d], a, b, out[d])
        if with_sets:
            count = counts[d]
            if count == 0:
                found[0] = np.uint32(whole[d] >> np.uint64(32))
                count = 1
            sets = room(sets, at, count)
            at = distinct(found, count, scratch, held, sets, at)
            offsets[d + 1] = at
    return out, counts, whole, offsets, sets[:at].copy()


@njit(cache=True)
def band_keys(signature, bands, rows, scope):
    """uint64[documents, bands]: a hash of each band's number and values, and of what the document may be compared within."""
    docs = len(signature)
    out = np.empty((docs, bands), np.uint64)
    for d in range(docs):
        for k in range(bands):
            h = mix(scope[d] ^ mix(np.uint64(k + 1)))
            for r in range(rows):
                h = (h ^ np.uint64(signature[d, k * rows + r])) * _GOLDEN
                h ^= h >> np.uint64(29)
            out[d, k] = mix(h)
    return out


def collision(similarity: Array | float, bands: int, rows: int) -> Any:
    """The probability that two documents of a Jaccard similarity agree in a band."""
    return 1.0 - (1.0 - np.asarray(similarity, np.float64) ** rows) ** bands


@cache
def best_bands(threshold: float, count: int) -> tuple[int, int]:
    """(bands, rows) out of so many permutations for which the area of false positives below the threshold and that of false negatives
    above it is least, each weighing the same: as datasketch chooses them (its `_optimal_param`).
    """
    below = (np.arange(STEPS) + 0.5) * threshold / STEPS
    above = threshold + (np.arange(STEPS) + 0.5) * (1 - threshold) / STEPS
    best = (np.inf, 1, 1)
    for bands in range(1, count + 1):
        for rows in range(1, count // bands + 1):
            wrong = collision(below, bands, rows).mean() * threshold + (1 - collision(above, bands, rows)).mean() * (1 - threshold)
            if wrong < best[0]:
                best = (float(wrong), bands, rows)
    return best[1:]
