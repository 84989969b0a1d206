"""Cosines of many vectors, and for each the largest: kernels whose results do not depend on what else is computed beside them.

A matrix product by BLAS sums in an order that may depend on the shapes of the matrices, on the number of threads and on where in the matrix
a row stands: what is a tie, or just below a threshold, in one block need not be in another. Here the sum of each pair runs over its
numbers in order, whatever stands beside it, so that batches, ranges of keys and partitions change no bit. The largest is taken while the
products are in the first cache.
Cost, on one core with AVX-512: 75 GFLOP/s, where numpy's BLAS does 150; a triangle of cosines takes half the products of a matrix, so it
is as fast from clusters of some thousand vectors on.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

Array = np.ndarray[Any, Any]

WIDE = 128  # vectors side by side in a panel: number k of all of them lies together
TALL = 32  # rows that are held against a panel at once: their products, and as much of the panel, fill the first cache
DEEP = 32  # numbers of each vector that are worked on at once
FAR = 512  # rows that are held against each panel of those before while it is in the second cache
STEP = 4  # rows, and numbers of a row, in one go
_FUSED = {"contract"}  # a product and a sum in one step, where the processor has it


def padded(vectors: Array) -> Array:
    """float32 with zeros behind, so that there are whole blocks of rows and whole steps of numbers."""
    count, dim = vectors.shape
    out = np.zeros((-(-count // TALL) * TALL, -(-dim // STEP) * STEP), np.float32)
    out[:count, :dim] = vectors
    return out


@njit(cache=True)
def normalise(vectors):
    """Make float32 vectors of length 1 in place; those of zeros, or with what is no number, become zeros. False for these."""
    n, d = vectors.shape
    good = np.ones(n, np.bool_)
    for i in range(n):
        total = 0.0
        for k in range(d):
            total += np.float64(vectors[i, k]) * np.float64(vectors[i, k])
        if not 0.0 < total < np.inf:
            good[i] = False
            vectors[i] = 0
            continue
        length = np.sqrt(total)
        for k in range(d):
            vectors[i, k] = np.float32(np.float64(vectors[i, k]) / length)
    return good


@njit(cache=True)
def panels_of(vectors, count):
    """The first `count` vectors as panels: float32[panel, number, vector]."""
    d = vectors.shape[1]
    out = np.zeros((-(-count // WIDE), d, WIDE), np.float32)
    for i in range(count):
        panel, v = out[i // WIDE], i % WIDE
        for k in range(d):
            panel[k, v] = vectors[i, k]
    return out


@njit(cache=True, fastmath=_FUSED)
def _products(rows, first, panel, width, out):
    """out[r, v]: row first + r times vector v of the panel, of the first `width`."""
    out[:] = 0
    d = rows.shape[1]
    for low in range(0, d, DEEP):
        for r in range(0, TALL, 4):
            i = first + r
            for k in range(low, min(low + DEEP, d), 4):
                a0, a1, a2, a3 = rows[i, k], rows[i, k + 1], rows[i, k + 2], rows[i, k + 3]
                b0, b1, b2, b3 = rows[i + 1, k], rows[i + 1, k + 1], rows[i + 1, k + 2], rows[i + 1, k + 3]
                c0, c1, c2, c3 = rows[i + 2, k], rows[i + 2, k + 1], rows[i + 2, k + 2], rows[i + 2, k + 3]
                e0, e1, e2, e3 = rows[i + 3, k], rows[i + 3, k + 1], rows[i + 3, k + 2], rows[i + 3, k + 3]
                for v in range(width):
                    p0, p1, p2, p3 = panel[k, v], panel[k + 1, v], panel[k + 2, v], panel[k + 3, v]
                    out[r, v] = (((out[r, v] + a0 * p0) + a1 * p1) + a2 * p2) + a3 * p3
                    out[r + 1, v] = (((out[r + 1, v] + b0 * p0) + b1 * p1) + b2 * p2) + b3 * p3
                    out[r + 2, v] = (((out[r + 2, v] + c0 * p0) + c1 * p1) + c2 * p2) + c3 * p3
                    out[r + 3, v] = (((out[r + 3, v] + e0 * p0) + e1 * p1) + e2 * p2) + e3 * p3


@njit(cache=True)
def nearest(rows, count, panels, others):
    """Of each of the first `count` rows: the most similar of `others` vectors in panels, the first of equals, and the cosine."""
    at, cosine = np.zeros(count, np.int64), np.full(count, -2, np.float32)
    products = np.empty((TALL, WIDE), np.float32)
    for start in range(0, count, FAR):
        for p in range(len(panels)):
            for first in range(start, min(start + FAR, count), TALL):
                _products(rows, first, panels[p], WIDE, products)
                for r in range(min(TALL, count - first)):
                    _largest(products[r], 0, min(WIDE, others - p * WIDE), first + r, p * WIDE, at, cosine)
    return at, cosine


@njit(cache=True, inline="always")
def _largest(products, low, high, row, begin, at, cosine):
    best, found = cosine[row], at[row]
    for v in range(low, high):
        if products[v] > best:
            best, found = products[v], begin + v
    cosine[row], at[row] = best, found


@njit(cache=True)
def nearest_before(rows, count, bar, only_kept):
    """Of each of the first `count` rows: the most similar of those before it, the first of equals, and the cosine; -1 and 0 where none
    has one above 0. With `only_kept` only of those before it that are not themselves more similar than `bar` to one of these.
    """
    d = rows.shape[1]
    at, cosine = np.full(count, -1, np.int64), np.zeros(count, np.float32)
    panels = np.zeros((-(-count // WIDE), d, WIDE), np.float32)  # of the rows that others are compared with: those that have joined
    row_of = np.empty(count, np.int64)
    joined = 0
    own = np.zeros((d, TALL), np.float32)  # a block's rows, to compare them with each other
    stays = np.empty(TALL, np.bool_)
    products = np.empty((TALL, WIDE), np.float32)
    for start in range(0, count, FAR):
        before = joined
        for p in range(-(-before // WIDE)):
            for first in range(start, min(start + FAR, count), TALL):
                _products(rows, first, panels[p], WIDE, products)
                for r in range(min(TALL, count - first)):
                    _largest(products[r], 0, min(WIDE, before - p * WIDE), first + r, p * WIDE, at, cosine)
        for first in range(start, min(start + FAR, count), TALL):
            size = min(TALL, count - first)
            for p in range(before // WIDE, -(-joined // WIDE)):
                _products(rows, first, panels[p], WIDE, products)
                low, high = max(before - p * WIDE, 0), min(WIDE, joined - p * WIDE)
                for r in range(size):
                    _largest(products[r], low, high, first + r, p * WIDE, at, cosine)
            for r in range(size):
                if at[first + r] >= 0:
                    at[first + r] = row_of[at[first + r]]
            for k in range(d):
                for r in range(size):
                    own[k, r] = rows[first + r, k]
            _products(rows, first, own, TALL, products)
            begin = joined
            for r in range(size):
                row = first + r
                for v in range(r):
                    if stays[v] and products[r, v] > cosine[row]:
                        cosine[row], at[row] = products[r, v], first + v
                stays[r] = not only_kept or cosine[row] <= bar
                if stays[r]:
                    row_of[joined] = row
                    joined += 1
            for k in range(d):
                place = begin
                for r in range(size):
                    if stays[r]:
                        panels[place // WIDE, k, place % WIDE] = own[k, r]
                        place += 1
    return at, cosine


@njit(cache=True)
def add_up(rows, at, clusters):
    """float64: the sum of the rows of each cluster, in their order; and int64, how many there are."""
    sums, sizes = np.zeros((clusters, rows.shape[1])), np.zeros(clusters, np.int64)
    for i in range(len(at)):
        sizes[at[i]] += 1
        for k in range(rows.shape[1]):
            sums[at[i], k] += np.float64(rows[i, k])
    return sums, sizes
