"""What is true about the similarity of documents, and how well a deduplication has done by it: the yardstick of `dedup.py`.

Similarity is the exact Jaccard index of the sets of five words in a row. Every pair that shares a shingle is counted, by an inverted index
over all shingles: no sketch, no LSH, nothing of `stages`. A word is a run of letters, digits and marks in lower case, and a Han or Hiragana
character is a word by itself, as Unicode annex 29 has it; punctuation and symbols only part words. A text of fewer than five words is one
shingle. Shingles are 64-bit hashes: among 50 million a false match is to be expected once in 15,000 corpora.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numba import njit

N = 5  # words of a shingle
LEAST = 0.5  # pairs less similar than this are not looked at
SIMILAR = 0.8  # what a deduplication is asked to find
BANDS = (0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0)


ALONE = ((0x3041, 0x309F), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x3FFFF))  # characters that are a word each


class _Table(dict[int, str]):
    """For `str.translate`: a blank for what parts words, blanks around what is a word alone. Filled as characters are met."""

    def __missing__(self, c: int) -> str:
        category = unicodedata.category(chr(c))
        letter = category[0] in "LMN"
        alone = any(low <= c <= high for low, high in ALONE)
        self[c] = f" {chr(c)} " if letter and alone else chr(c) if letter else "" if category == "Cf" else " "
        return self[c]


_TABLE = _Table()


def words(text: str) -> list[str]:
    """In lower case."""
    return text.lower().translate(_TABLE).split()


class Sets(NamedTuple):
    """Document i has the shingles hash[first[i]:first[i + 1]], each once, in order."""

    first: np.ndarray
    hash: np.ndarray


def shingle_sets(texts: Iterable[str]) -> Sets:
    """The shingles of each text."""
    numbers: dict[str, int] = {}
    out = []
    for text in texts:
        found = [numbers.setdefault(w, len(numbers)) for w in words(text)]
        out.append(_shingles(np.array(found, np.uint64)))
    return Sets(np.cumsum([0, *map(len, out)]), np.concatenate([*out, np.empty(0, np.uint64)]))


def _shingles(words: np.ndarray) -> np.ndarray:
    if not len(words):
        return np.empty(0, np.uint64)
    n = min(N, len(words))
    hash_ = np.full(len(words) - n + 1, n, np.uint64)
    for at in range(n):  # splitmix64's finaliser, over one word after another
        hash_ = (hash_ + np.uint64(0x9E3779B97F4A7C15)) ^ words[at : len(words) - n + 1 + at]
        hash_ = (hash_ ^ hash_ >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
        hash_ = (hash_ ^ hash_ >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
        hash_ ^= hash_ >> np.uint64(31)
    return np.unique(hash_)


@dataclass(frozen=True)
class Pairs:
    """All pairs of documents, a < b, whose similarity is LEAST or more."""

    documents: int
    a: np.ndarray
    b: np.ndarray
    jaccard: np.ndarray

    def neighbours(self, least: float) -> tuple[np.ndarray, np.ndarray]:
        """(a, b) of the pairs that are at least so similar, both ways round."""
        found = self.jaccard >= least
        a, b = self.a[found], self.b[found]
        return np.concatenate((a, b)), np.concatenate((b, a))


def similar_pairs(sets: Sets, least: float = LEAST) -> Pairs:
    """Every pair of documents that is at least so similar."""
    _, shingle, count = np.unique(sets.hash, return_inverse=True, return_counts=True)
    held = np.zeros(len(count) + 1, np.int64)
    np.cumsum(count, out=held[1:])
    a, b, jaccard = _count(sets.first, shingle.astype(np.int32), held, least)
    order = np.lexsort((b, a))
    return Pairs(len(sets.first) - 1, a[order], b[order], jaccard[order])


@njit(cache=True)
def _count(first, shingle, held, least):
    """Documents in order: each looks up all those before it that hold one of its shingles, then joins their lists."""
    documents = len(first) - 1
    lists = np.empty(len(shingle), np.int32)
    filled = np.zeros(len(held) - 1, np.int32)
    shared = np.zeros(documents, np.int32)
    met = np.empty(documents, np.int32)
    room = 1 << 20
    a, b, jaccard = np.empty(room, np.int32), np.empty(room, np.int32), np.empty(room, np.float64)
    pairs = 0
    for i in range(documents):
        size = first[i + 1] - first[i]
        others = 0
        for k in range(first[i], first[i + 1]):
            s = shingle[k]
            low = held[s]
            for m in range(low, low + filled[s]):
                j = lists[m]
                if shared[j] == 0:
                    met[others] = j
                    others += 1
                shared[j] += 1
            lists[low + filled[s]] = i
            filled[s] += 1
        for m in range(others):
            j = met[m]
            both = shared[j]
            shared[j] = 0
            found = both / (size + first[j + 1] - first[j] - both)
            if found >= least:
                if pairs == room:
                    room *= 2
                    a, b = np.append(a, np.empty(pairs, np.int32)), np.append(b, np.empty(pairs, np.int32))
                    jaccard = np.append(jaccard, np.empty(pairs, np.float64))
                a[pairs], b[pairs], jaccard[pairs] = j, i, found
                pairs += 1
    return a[:pairs], b[:pairs], jaccard[:pairs]


# -- how well a deduplication has done ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Result:
    """What a deduplication did to each document."""

    removed: np.ndarray  # bool
    survivor: np.ndarray | None = None  # of each removed document: the one that it says is kept in its stead; -1 elsewhere


@dataclass(frozen=True)
class Score:
    """Shares; NaN where there is nothing to be right or wrong about."""

    removed: int
    recall: float  # pairs of SIMILAR documents that lost one
    recall_documents: float  # documents that have a similar one, of which no such pair is left
    precision: float  # removed documents that have a similar one among those that are kept
    precision_chain: float  # or among all others, so that a chain of similar documents is reason enough
    precision_own: float  # as `precision`, at the system's own threshold
    survivor: float  # removed documents to which the document kept in their stead is similar
    lost: list[tuple[float, float, int, float, float]]  # (from, to, pairs, share that lost one, share that lost one without a reason)


def score(pairs: Pairs, result: Result, own: float) -> Score:
    """By what is true. `own` is the threshold at which the system sets out to remove."""
    gone = result.removed
    alone = gone & ~_has(pairs, SIMILAR, ~gone)  # removed, and nothing like it was kept
    similar = pairs.jaccard >= SIMILAR
    left = similar & ~gone[pairs.a] & ~gone[pairs.b]
    concerned, unsettled = np.zeros(pairs.documents, np.bool_), np.zeros(pairs.documents, np.bool_)
    for end in (pairs.a, pairs.b):
        concerned[end[similar]] = True
        unsettled[end[left]] = True
    bands = []
    for low, high in pairwise(BANDS):
        within = (pairs.jaccard >= low) & ((pairs.jaccard < high) | (high == 1.0))
        lost = gone[pairs.a[within]] | gone[pairs.b[within]]
        wrong = alone[pairs.a[within]] | alone[pairs.b[within]]
        bands.append((low, high, int(within.sum()), _share(lost.sum(), len(lost)), _share(wrong.sum(), len(wrong))))
    return Score(
        removed=int(gone.sum()),
        recall=1 - _share(left.sum(), similar.sum()),
        recall_documents=1 - _share(unsettled.sum(), concerned.sum()),
        precision=1 - _share(alone.sum(), gone.sum()),
        precision_chain=_share((gone & _has(pairs, SIMILAR)).sum(), gone.sum()),
        precision_own=_share((gone & _has(pairs, own, ~gone)).sum(), gone.sum()),
        survivor=_named(pairs, result),
        lost=bands,
    )


def _has(pairs: Pairs, least: float, among: np.ndarray | None = None) -> np.ndarray:
    """Whether each document has one at least so similar, among some or all others."""
    a, b = pairs.neighbours(least)
    out = np.zeros(pairs.documents, np.bool_)
    out[a if among is None else a[among[b]]] = True
    return out


def _named(pairs: Pairs, result: Result) -> float:
    if result.survivor is None:
        return float("nan")
    a, b = pairs.neighbours(SIMILAR)
    known = np.unique(a.astype(np.int64) * pairs.documents + b)
    removed = np.flatnonzero(result.removed)
    wanted = removed * pairs.documents + result.survivor[removed]
    return _share(np.isin(wanted, known).sum(), len(removed))


def _share(part: float, whole: float) -> float:
    return float(part / whole) if whole else float("nan")
