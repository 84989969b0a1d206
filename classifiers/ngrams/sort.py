"""Sorting rows of uint32 in bounded memory: a radix sort for what fits, runs in a temporary file and a merge for what does not.

A row is a few key columns and a payload that travels along; 64-bit payloads take two columns, low half first. All of it is
deterministic: equal input rows give equal output, however they were cut into runs.
Cost: 26 million keys a second on one core, five columns a row, 17 bits each; a merge sorts each row once more.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Any, BinaryIO, cast

import numpy as np
import numpy.typing as npt
from numba import njit

Array = npt.NDArray[Any]

_DIGIT, _DIGITS = 11, 3  # a value is sorted by as many digits of so many bits: the write positions of 2,048 buckets fit the first caches

_LEAST_SHARE = 64  # rows of a run held in a merge, however many runs there are


@njit(cache=True)
def sorted_order(flat, at, offsets):
    """The entries of `at` (uint32), stably sorted by the values flat[at + offset], the first of `offsets` being the most significant.

    Digits in which all rows agree cost next to nothing. `at` is overwritten.
    """
    n, columns, mask = len(at), len(offsets), np.uint32((1 << _DIGIT) - 1)
    counts = np.zeros((columns * _DIGITS, 1 << _DIGIT), np.uint32)
    for i in range(n):  # all histograms at once, in the order in which the rows lie
        for c in range(columns):
            value = flat[np.int64(at[i]) + offsets[c]]
            for d in range(_DIGITS):
                counts[c * _DIGITS + d, (value >> np.uint32(d * _DIGIT)) & mask] += np.uint32(1)
    source, target = at, np.empty_like(at)
    for c in range(columns - 1, -1, -1):
        offset = offsets[c]
        for d in range(_DIGITS):
            place, shift = counts[c * _DIGITS + d], np.uint32(d * _DIGIT)
            if n == 0 or place[(flat[np.int64(source[0]) + offset] >> shift) & mask] == n:
                continue
            total = np.uint32(0)
            for b in range(len(place)):
                held = place[b]
                place[b] = total
                total += held
            for i in range(n):
                row = source[i]
                b = (flat[np.int64(row) + offset] >> shift) & mask
                target[place[b]] = row
                place[b] += np.uint32(1)
            source, target = target, source
    return source


@njit(cache=True)
def _gather(flat, at, width):
    out = np.empty((len(at), width), np.uint32)
    for i in range(len(at)):
        row = np.int64(at[i])
        for j in range(width):
            out[i, j] = flat[row + j]
    return out


@njit(cache=True)
def _rows_up_to(rows, key, pivot):
    low, high = 0, len(rows)
    while low < high:
        middle = (low + high) >> 1
        after = False
        for c in key:
            if rows[middle, c] != pivot[c]:
                after = rows[middle, c] > pivot[c]
                break
        if after:
            high = middle
        else:
            low = middle + 1
    return low


class Scratch:
    """Temporary files without a name below a folder: gone when it is left, and with the process if that dies."""

    def __init__(self, folder: str) -> None:
        self._folder, self._files = folder, ExitStack()

    def __enter__(self) -> Scratch:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._files.close()

    def file(self) -> BinaryIO:
        """A new file, open for writing and reading."""
        return cast(BinaryIO, self._files.enter_context(tempfile.TemporaryFile(dir=self._folder, prefix="kneser-ney-")))


class Column:
    """Values that are appended first and then read from the front: of a dtype, `width` of them to a row."""

    def __init__(self, scratch: Scratch, dtype: npt.DTypeLike, width: int = 1) -> None:
        self._file, self._dtype, self._width = scratch.file(), np.dtype(dtype), width
        self._size = self._dtype.itemsize * width
        self.rows = 0

    def append(self, values: Array) -> None:
        """Rows at the end: (n,) or (n, width)."""
        self._file.write(np.ascontiguousarray(values, self._dtype).reshape(-1).view(np.uint8).data)
        self.rows += len(values)

    def rewind(self) -> None:
        """Read on from the first row."""
        self._file.seek(0)

    def take(self, rows: int) -> Array:
        """The next rows, (n,) or (n, width); n is less than asked for at the end only."""
        out = np.empty((rows, self._width) if self._width > 1 else rows, self._dtype)
        got = _fill(self._file, out) // self._size
        return out[:got]

    def blocks(self, rows: int) -> Iterator[Array]:
        """All of it from the first row, `rows` at a time."""
        self.rewind()
        while len(block := self.take(rows)):
            yield block

    def close(self) -> None:
        """Give the disk space back."""
        self._file.close()


def _fill(file: BinaryIO, out: Array) -> int:
    return cast(int, file.readinto(out.reshape(-1).view(np.uint8).data))  # type: ignore[attr-defined]


class Runs:
    """An external sort of uint32 rows of `width` columns by the columns `key`, the most significant first; keys are unique within a run.

    `capacity` is how many rows `add` holds: what never exceeds that touches no disk. Memory: 8 * width + 8 bytes for each of them.
    """

    def __init__(self, scratch: Scratch, width: int, key: Sequence[int], capacity: int) -> None:
        self._scratch, self._width = scratch, width
        self._key = np.array(key, np.int64)
        self._capacity = min(capacity, (2**32 - 1) // width)
        self._file: BinaryIO | None = None
        self._sizes: list[int] = []  # rows of each run in the file
        self._buffer: Array | None = None
        self._filled = 0
        self._only: Array | None = None  # the one run of a small input, never written

    def add(self, rows: Array) -> None:
        """Rows in any order."""
        while len(rows):
            if self._buffer is None:
                self._buffer = np.empty((self._capacity, self._width), np.uint32)
            if self._filled == self._capacity:
                self._write(self._sorted(self._buffer))
                self._filled = 0
            part = rows[: self._capacity - self._filled]
            self._buffer[self._filled : self._filled + len(part)] = part
            self._filled += len(part)
            rows = rows[len(part) :]

    def add_run(self, rows: Array, last: bool) -> None:
        """Rows that are sorted; not to be mixed with `add`."""
        if last and not self._sizes:
            self._only = rows
        else:
            self._write(rows)

    def blocks(self, rows: int) -> Iterator[Array]:
        """All rows in the order of the key, about `rows` at a time; rows of one key are never parted. Once only."""
        if self._buffer is not None:
            last, self._buffer = self._sorted(self._buffer[: self._filled]), None
            self.add_run(last, True)
            del last
        if self._only is not None:
            only, self._only = self._only, None
            for low in range(0, len(only), rows):
                yield only[low : low + rows]
        elif self._file is not None:
            yield from self._merged(rows)
            self._file.close()

    def _sorted(self, rows: Array) -> Array:
        flat = rows.reshape(-1)
        at = np.arange(0, len(flat), self._width, dtype=np.uint32)
        return cast(Array, _gather(flat, sorted_order(flat, at, self._key), self._width))

    def _write(self, rows: Array) -> None:
        self._file = self._file or self._scratch.file()
        self._file.write(rows.reshape(-1).view(np.uint8).data)
        self._sizes.append(len(rows))

    def _merged(self, rows: int) -> Iterator[Array]:
        share = max(_LEAST_SHARE, rows // len(self._sizes))
        ends = np.cumsum(self._sizes)
        at = ends - self._sizes  # the next row to read of each run
        heads = [np.empty((0, self._width), np.uint32)] * len(ends)
        while True:
            for r, head in enumerate(heads):
                want = min(share - len(head), int(ends[r] - at[r]))
                if want > 0:
                    heads[r] = np.concatenate([head, self._read(int(at[r]), want)])
                    at[r] += want
            # what follows in the file of a run is behind the last row of its head: rows up to the least of those are complete
            lasts = [head[-1] for r, head in enumerate(heads) if at[r] < ends[r]]
            pivot = min(lasts, key=lambda row: tuple(row[self._key].tolist()), default=None)
            cuts = [len(head) if pivot is None else _rows_up_to(head, self._key, pivot) for head in heads]
            parts = [head[:cut] for head, cut in zip(heads, cuts, strict=True) if cut]
            if not parts:
                return
            heads = [head[cut:] for head, cut in zip(heads, cuts, strict=True)]
            yield parts[0] if len(parts) == 1 else self._sorted(np.concatenate(parts))

    def _read(self, first: int, rows: int) -> Array:
        assert self._file is not None
        out = np.empty((rows, self._width), np.uint32)
        self._file.seek(first * self._width * 4)
        _fill(self._file, out)
        return out
