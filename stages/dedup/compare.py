"""Sets of shingles compared: Jaccard's index and containment of sorted arrays, given up as soon as they cannot be enough.

Cost: 1 to 2 ns a shingle.
"""

from __future__ import annotations

import tempfile
from typing import Any

import numpy as np
import pyarrow as pa
from numba import njit

Array = np.ndarray[Any, Any]


class Lists:
    """A column of lists as offsets, int64[rows + 1], and values. What comes in pieces is put into a temporary file and mapped."""

    def __init__(self, column: pa.ChunkedArray):
        counts = [np.zeros(1, np.int64), *(c.value_lengths().to_numpy(zero_copy_only=False) for c in column.chunks)]
        self.offsets = np.cumsum(np.concatenate(counts), dtype=np.int64)
        if column.num_chunks == 1:
            self.values: Array = column.chunk(0).flatten().to_numpy(zero_copy_only=False)
            return
        kind = np.dtype(column.type.value_type.to_pandas_dtype())
        with tempfile.TemporaryFile(prefix="curate-") as file:
            for chunk in column.chunks:
                file.write(np.ascontiguousarray(chunk.flatten().to_numpy(zero_copy_only=False)).data)
            file.flush()
            size = int(self.offsets[-1])
            self.values = np.memmap(file, kind, "r", shape=(size,)) if size else np.empty(0, kind)


@njit(cache=True)
def in_common(a, b, least):
    """How many of two sorted sets' values are in both; -1 as soon as that must be fewer than `least`."""
    i = j = common = 0
    while i < len(a) and j < len(b):
        stop = min(len(a) - i, len(b) - j)
        if common + stop < least:
            return -1
        for _ in range(stop):  # whoever is behind goes on; both at once where they are equal
            x, y = a[i], b[j]
            common += x == y
            i += x <= y
            j += y <= x
    return common


@njit(cache=True)
def similarity(a, b, containment, least):
    """Jaccard or containment of two sorted sets; -1 where it is below `least`."""
    few, many = min(len(a), len(b)), max(len(a), len(b))
    if containment:
        needed = least * few
    else:
        if few < least * many:
            return -1.0
        needed = least / (1.0 + least) * (few + many)
    common = in_common(a, b, np.int64(np.ceil(needed - 1e-6)))
    if common < 0:
        return -1.0
    return common / few if containment else common / (few + many - common)
