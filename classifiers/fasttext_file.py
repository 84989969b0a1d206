"""What a fastText file says of itself: its labels, and the size that it must have.

fastText believes its files: from one that is cut off it makes zeros, or asks for any memory, or crashes. So before it gets one, the size
that the file must have is worked out from its header and its dictionary (layout: fastText 0.9.2, args.cc, dictionary.cc, matrix.cc).
Cost: 0.2 s for a million words.
"""

from __future__ import annotations

import mmap
import struct

import numpy as np

from curate.errors import CurateError

LABEL = "__label__"
_HEADER = struct.Struct("<14id")  # magic, version, 12 settings and the share of frequent words that is left out
_DICTIONARY = struct.Struct("<3i2q")  # entries, words, labels; tokens, rows of n-grams that pruning left (-1: not pruned)
_DENSE, _QUANTIZED, _QUANTIZER = struct.Struct("<2q"), struct.Struct("<B2qi"), struct.Struct("<4i")
_SUPERVISED, _CENTROIDS = 3, 256
_MOST_COUNTED = 10**15  # what stands for "no node yet" in fastText's tree of labels


class DamagedError(Exception):
    """What a file says of itself cannot be."""


def labels_of_whole(data: mmap.mmap, path: str) -> list[str]:
    """The labels. Raises DamagedError, struct.error or IndexError unless the file is whole; memory for one word, the labels and pairs."""
    _, version, dim, *_, word_ngrams, loss, kind, bucket, _, maxn, _, _ = _HEADER.unpack_from(data)
    if version not in (11, 12):
        raise DamagedError(f"version {version}, expected 11 or 12")
    if kind in (1, 2):
        raise CurateError(f"{path} holds word vectors and no labels; expected a model that was trained with labels (fasttext supervised)")
    ngrams = word_ngrams > 1 or (maxn > 0 and version > 11)
    if kind != _SUPERVISED or loss not in (1, 2, 3, 4) or dim < 1 or bucket < int(ngrams) or maxn < 0:  # it divides by bucket
        raise DamagedError("its header makes no sense")
    size, words, count, _, pruned = _DICTIONARY.unpack_from(data, _HEADER.size)
    if words < 0 or count < 0 or words + count != size or size > len(data) or not -1 <= pruned <= len(data):
        raise DamagedError("the counts of its dictionary make no sense")
    if not count:
        raise DamagedError("it has no labels")
    labels, at = _entries(data, words, count)
    if pruned > 0:
        pairs = data[at : at + 8 * pruned]
        at += 8 * pruned
        if at > len(data):
            raise DamagedError("it ends within its table of n-grams")
        numbers = np.frombuffer(pairs, "<i4")[1::2]
        if numbers.min() < 0 or numbers.max() >= pruned:
            raise DamagedError("its table of n-grams makes no sense")
    rows = words + (pruned if pruned >= 0 else bucket if ngrams else 0)
    quantized = _flag(data, at)
    at = _behind_matrix(data, at + 1, quantized, rows, dim)
    quantized &= _flag(data, at)
    at = _behind_matrix(data, at + 1, quantized, count, dim)
    if at != len(data):
        raise DamagedError(f"{len(data):,} bytes, expected {at:,}")
    return labels


def _entries(data: mmap.mmap, words: int, count: int) -> tuple[list[str], int]:
    """The labels, which stand behind the words, and where the dictionary ends. An entry is its text, a zero, int64 its count, its kind."""
    labels, at, seen = [], _HEADER.size + _DICTIONARY.size, 0
    find = data.find
    for number in range(words + count):
        end = find(b"\0", at)
        if end < 0 or data[end + 9] != (number >= words):
            raise DamagedError(f"entry {number:,} of its dictionary, of {words + count:,}, is none")
        if number >= words:
            labels.append(data[at:end].decode("utf-8", "replace").removeprefix(LABEL))
            often = int.from_bytes(data[end + 1 : end + 9], "little", signed=True)
            seen += often
            if often < 0 or seen >= _MOST_COUNTED:
                raise DamagedError("the counts of its labels make no sense")
        at = end + 10
    return labels, at


def _flag(data: mmap.mmap, at: int) -> bool:
    if data[at] > 1:
        raise DamagedError(f"byte {at:,} is {data[at]}, expected 0 or 1")
    return data[at] == 1


def _behind_matrix(data: mmap.mmap, at: int, quantized: bool, rows: int, dim: int) -> int:
    """Where a matrix ends that begins at `at`: at least `rows` rows of `dim` numbers, each or their products' codes."""
    layout = _QUANTIZED if quantized else _DENSE
    *norm, found, columns = layout.unpack_from(data, at)[: 3 if quantized else 2]
    if columns != dim or not rows <= found <= len(data):
        raise DamagedError(f"a matrix of {found:,} x {columns:,}, expected {rows:,} x {dim:,}")
    start = at + layout.size
    if not quantized:
        at = start + 4 * found * dim
    else:
        codes = layout.unpack_from(data, at)[3]
        if not 0 <= codes <= len(data):
            raise DamagedError(f"{codes:,} codes")
        at = _behind_quantizer(data, start + codes, dim, found, codes)
        if norm[0] > 1:
            raise DamagedError(f"byte {start - layout.size:,} is {norm[0]}, expected 0 or 1")
        if norm[0]:
            at = _behind_quantizer(data, at + found, 1, found, found)
    if at > len(data):
        raise DamagedError(f"{len(data):,} bytes, expected {at:,} or more")
    return at


def _behind_quantizer(data: mmap.mmap, at: int, dim: int, rows: int, codes: int) -> int:
    """Where a product quantizer ends: the centroids of parts of `dim` numbers, one code for each part of a row."""
    whole, parts, width, last = _QUANTIZER.unpack_from(data, at)
    if whole != dim or width < 1 or parts != -(-dim // width) or last != dim - (parts - 1) * width or codes != rows * parts:
        raise DamagedError("its codes make no sense")
    return at + _QUANTIZER.size + 4 * _CENTROIDS * dim
