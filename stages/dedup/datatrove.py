"""MinHash with datatrove's signatures, bit for bit, for corpora that are to meet FineWeb's (its pipeline/dedup/minhash.py).

Its text is lower case, numbers are 0, punctuation and white space are a space, marks that do not advance are dropped; a shingle is five
words with a space between them, hashed by SHA-1 or xxHash; a permutation is a x + b, modulo 2^64 first and the prime 2^61 - 1 then.
Words: datatrove cuts by spaCy's rules for English, which beside spaces part 0 and g in "0g", can and not in "cannot", symbols such as £
and ©: four words in a thousand of web pages. `words: spacy` is that, where spaCy is installed: of 400 web pages all signatures were equal.
`spaces` is equal on documents without such words: of those pages 38 %, and 96 % of the values of signatures.
Cost: the normaliser works on Python strings, 3 MB/s per core.
"""

from __future__ import annotations

import re
import string
import unicodedata
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from numba import njit

from curate.batch import Array, Batch
from curate.errors import CurateError
from curate.kernels import lines
from stages.dedup.minhash import MinHash
from stages.dedup.shingles import enough

PRIME = 2**61 - 1
_NUMBER = re.compile(r"\d+([.,،٫⎖⎗⎘]\d+)?")
_SPACE = re.compile(r"\s+")
_CONTROL = [c for c in (*range(32), *range(127, 160)) if c != 10]
_TO_SPACE = {ord(c): " " for c in string.punctuation + lines.PUNCTUATION} | dict.fromkeys(_CONTROL, " ")


def normalised(text: str) -> str:
    """What datatrove's `simplify_text` makes of a text, by the settings of its MinHash."""
    text = _NUMBER.sub("0", text.lower()).translate(_TO_SPACE)
    text = unicodedata.normalize("NFD", _SPACE.sub(" ", text.strip()))
    return "".join(c for c in text if unicodedata.category(c) != "Mn").strip()


@cache
def permutations(count: int, seed: int) -> tuple[Array, Array]:
    """(a, b), uint64, as numpy's legacy generator draws them: a from 1 and b from 0, both below the prime."""
    draw = np.random.RandomState(seed)
    a, b = (draw.randint(low, PRIME, count, np.uint64) for low in (1, 0))
    return a, b


@dataclass(frozen=True)
class Datatrove(MinHash):
    """As MinHash, with datatrove's own signatures; `ignore`, `unit` and `sketch` are what they are there."""

    hash: Literal["sha1", "xxhash"] = "sha1"  # FineWeb; the project's default is xxhash
    words: Literal["spaces", "spacy"] = "spaces"
    verify: bool = False  # datatrove does not look
    short: Literal["exact", "keep"] = "keep"  # fewer words than a shingle has: no record, so kept

    def check(self) -> None:
        super().check()
        if self.unit != "words" or self.sketch != "independent" or len(self.ignore) != 4:
            raise CurateError("unit, ignore and sketch are datatrove's own here; leave them out, or take dedup.minhash.MinHash")
        if self.words == "spacy":
            self.tokenizer  # noqa: B018

    @cached_property
    def tokenizer(self) -> Any:
        """spaCy's rules for English."""
        try:
            import spacy
        except ImportError:
            raise CurateError("words: spacy needs spaCy, which is not installed; pip install spacy, or take words: spaces") from None
        return spacy.blank("en")

    def signed(self, batch: Batch) -> tuple[Array, Array, Array]:
        """As MinHash's, of uint64; the hash of all units is that of the normalised text."""
        texts = [normalised(t) for t in batch.text.to_pylist()]
        if self.words == "spacy":
            texts = [" ".join(w for t in self.tokenizer(text) if (w := t.text.strip())) for text in texts]
        data, start, end = Batch.of(pa.record_batch({"text": pa.array(texts, pa.large_string())})).utf8
        offsets, low, high = spans(data, start, end, self.ngram)
        hashes = lines.hash_lines(data, low, high, True, False) if self.hash == "sha1" else xxh64(data, low, high)
        bands, rows = self.banding
        a, b = permutations(bands * rows, self.seed)
        has = np.array([enough(hashes[low:high], high - low, self.least) for low, high in pairwise(offsets.tolist())], np.bool_)
        return least(hashes, offsets, a, b), np.where(has, np.diff(offsets), 0), xxh64(data, start, end)

    def signed_with_sets(self, batch: Batch) -> tuple[tuple[Array, Array, Array], tuple[Array, Array, Array]]:
        return self.signed(batch), self.sets(batch)


@njit(cache=True)
def spans(data, start, end, n):
    """Each n words in a row: offsets int64[documents + 1], and where each begins and ends (int32). Words are parted by single spaces."""
    docs = len(start)
    offsets = np.zeros(docs + 1, np.int64)
    for d in range(docs):
        words = 1 if end[d] > start[d] else 0
        for i in range(start[d], end[d]):
            words += data[i] == 0x20
        offsets[d + 1] = offsets[d] + max(words - n + 1, 0)
    low, high = np.empty(offsets[-1], np.int32), np.empty(offsets[-1], np.int32)
    begins = np.empty(n, np.int64)
    for d in range(docs):
        words, at = 0, offsets[d]
        begins[0] = start[d]
        for i in range(start[d], end[d] + 1):
            if i == end[d] or data[i] == 0x20:
                words += 1
                if words >= n and at < offsets[d + 1]:
                    low[at], high[at] = begins[words % n], i
                    at += 1
                begins[words % n] = i + 1
    return offsets, low, high


@njit(cache=True)
def least(hashes, offsets, a, b):
    """uint64[documents, permutations + 1]: the signatures, and last a value that belongs to none."""
    docs, count = len(offsets) - 1, len(a)
    out = np.full((docs, count + 1), np.uint64(0xFFFFFFFFFFFFFFFF))
    prime = np.uint64(PRIME)
    for d in range(docs):
        for n in range(offsets[d], offsets[d + 1]):
            x = hashes[n]
            for k in range(count):
                h = x * a[k] + b[k]
                h = (h & prime) + (h >> np.uint64(61))
                h = h - prime if h >= prime else h
                out[d, k] = min(out[d, k], h)
            out[d, count] = min(out[d, count], x)
    return out


_P1, _P2, _P3 = np.uint64(0x9E3779B185EBCA87), np.uint64(0xC2B2AE3D27D4EB4F), np.uint64(0x165667B19E3779F9)
_P4, _P5 = np.uint64(0x85EBCA77C2B2AE63), np.uint64(0x27D4EB2F165667C5)


@njit(cache=True, inline="always")
def _rotated(x, n):
    return (x << np.uint64(n)) | (x >> np.uint64(64 - n))


@njit(cache=True, inline="always")
def _read(data, i, count):
    out = np.uint64(0)
    for k in range(count):
        out |= np.uint64(data[i + k]) << np.uint64(8 * k)
    return out


@njit(cache=True)
def xxh64(data, start, end):
    """uint64 of each span: XXH64 of its bytes with seed 0 (the xxHash specification, version 0.2)."""
    out = np.empty(len(start), np.uint64)
    for s in range(len(start)):
        i, stop = np.int64(start[s]), np.int64(end[s])
        size = np.uint64(stop - i)
        if stop - i >= 32:
            v1, v2, v3, v4 = _P1 + _P2, _P2, np.uint64(0), np.uint64(0) - _P1
            while i + 32 <= stop:
                v1 = _rotated(v1 + _read(data, i, 8) * _P2, 31) * _P1
                v2 = _rotated(v2 + _read(data, i + 8, 8) * _P2, 31) * _P1
                v3 = _rotated(v3 + _read(data, i + 16, 8) * _P2, 31) * _P1
                v4 = _rotated(v4 + _read(data, i + 24, 8) * _P2, 31) * _P1
                i += 32
            h = _rotated(v1, 1) + _rotated(v2, 7) + _rotated(v3, 12) + _rotated(v4, 18)
            for v in (v1, v2, v3, v4):
                h = (h ^ (_rotated(v * _P2, 31) * _P1)) * _P1 + _P4
        else:
            h = _P5
        h += size
        while i + 8 <= stop:
            h = _rotated(h ^ (_rotated(_read(data, i, 8) * _P2, 31) * _P1), 27) * _P1 + _P4
            i += 8
        if i + 4 <= stop:
            h = _rotated(h ^ (_read(data, i, 4) * _P1), 23) * _P2 + _P3
            i += 4
        while i < stop:
            h = _rotated(h ^ (np.uint64(data[i]) * _P5), 11) * _P1
            i += 1
        h = (h ^ (h >> np.uint64(33))) * _P2
        h = (h ^ (h >> np.uint64(29))) * _P3
        out[s] = h ^ (h >> np.uint64(32))
    return out
