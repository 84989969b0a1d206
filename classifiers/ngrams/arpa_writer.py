"""Writing an n-gram model in ARPA's text format, the one that KenLM, SRILM and others read.

Cost: 400 MB of text a second on one core.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from numba import njit

Array = npt.NDArray[Any]

_DECIMALS = 7  # more than the 32-bit floats hold that KenLM reads them into
_UNIT = np.int64(10**_DECIMALS)
_LEAST = -99.0  # what stands for the logarithm of nothing
_NUMBER = 4 + _DECIMALS  # bytes of -99.xxxxxxx
_TAB, _SPACE, _NEWLINE, _MINUS, _POINT, _ZERO = (int(b) for b in b"\t \n-.0")


@njit(cache=True, inline="always")
def _write_number(out, at, value):
    """Minus `value` units in decimals without trailing zeros; where it ends."""
    whole, rest = value // _UNIT, value % _UNIT
    if value:
        out[at] = _MINUS
        at += 1
    if whole >= 10:
        out[at] = _ZERO + whole // 10
        at += 1
    out[at] = _ZERO + whole % 10
    at += 1
    if rest:
        out[at] = _POINT
        for d in range(_DECIMALS, 0, -1):
            out[at + d] = _ZERO + rest % 10
            rest //= 10
        at += 1 + _DECIMALS
        while out[at - 1] == _ZERO:
            at -= 1
    return at


@njit(cache=True)
def _write_lines(ids, first, probabilities, backoffs, letters, ends, out):
    """Lines of the n-grams from row `first` on, as many as `out` holds: (next row, bytes written)."""
    at = 0
    order, with_backoff = ids.shape[1], len(backoffs) > 0
    for i in range(first, len(ids)):
        need = 2 * _NUMBER + 3 + order
        for j in range(order):
            need += ends[ids[i, j] + 1] - ends[ids[i, j]]
        if at + need > len(out):
            return i, at
        at = _write_number(out, at, probabilities[i])
        out[at] = _TAB
        at += 1
        for j in range(order - 1, -1, -1):
            low, high = ends[ids[i, j]], ends[ids[i, j] + 1]
            for b in range(low, high):
                out[at] = letters[b]
                at += 1
            out[at] = _SPACE
            at += 1
        at -= 1
        if with_backoff:
            out[at] = _TAB
            at = _write_number(out, at + 1, backoffs[i])
        out[at] = _NEWLINE
        at += 1
    return len(ids), at


def _units(values: Array) -> Array:
    """Minus the decimal logarithms of values in [0, 1], in units of the last decimal."""
    with np.errstate(divide="ignore"):
        logs = np.log10(values)
    return np.rint(np.clip(logs, _LEAST, 0.0) * -float(_UNIT)).astype(np.int64)


class Writer:
    """An ARPA file: the head first, then `section` and its `lines` for each order, then `finish`."""

    def __init__(self, file: BinaryIO, ngrams: Sequence[int], letters: Array, ends: Array) -> None:
        self._file, self._letters, self._ends = file, letters, ends
        self._out = np.empty(1 << 18, np.uint8)
        head = "".join(f"ngram {k}={n}\n" for k, n in enumerate(ngrams, 1))
        file.write(f"\\data\\\n{head}".encode())

    def section(self, order: int) -> None:
        """Lines of this order follow."""
        self._file.write(f"\n\\{order}-grams:\n".encode())

    def lines(self, ids: Array, probabilities: Array, backoffs: Array | None) -> None:
        """N-grams as reversed ids (n, order), with probabilities and, below the full order, back-off weights, in [0, 1]."""
        logs, weights = _units(probabilities), np.empty(0, np.int64) if backoffs is None else _units(backoffs)
        row = 0
        while row < len(ids):
            first = row
            row, size = _write_lines(ids, first, logs, weights, self._letters, self._ends, self._out)
            self._file.write(self._out[:size].data)
            if row == first:  # a line longer than the buffer
                self._out = np.empty(2 * len(self._out), np.uint8)

    def finish(self) -> None:
        """The end mark."""
        self._file.write(b"\n\\end\\\n")
