"""Counts of n-grams for Kneser-Ney: from sentences to each order's n-grams in suffix order, with adjusted counts.

An n-gram is kept as the ids of its words from the last to the first, and n-grams are sorted by that (suffix order): all that end
in the same words lie together, and the n-gram without its first word comes as the prefix that it shares with its neighbours.
The adjusted count of an n-gram of less than the full order is the number of different words before it, unless it begins with
<s>, where there is none: then, and at the full order, it is how often it occurs (Kneser and Ney 1995; Heafield et al. 2013).
Cost: 20 MB of text take 0.4 s to tokenise and 1.3 s to count and adjust at order 5 on one core; the vocabulary (about 60 bytes a word)
stays in memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from numba import njit

from classifiers.ngrams.sort import Column, Runs, Scratch, sorted_order
from curate.errors import CurateError
from curate.kernels.text import mix

Array = npt.NDArray[Any]

UNKNOWN, BEGIN, END = 0, 1, 2  # ids of <unk>, <s> and </s>; words follow in the order in which they are first seen
_SPECIAL = b"<unk>", b"<s>", b"</s>"
_SPACES = " \t\n\r\0"  # where KenLM parts words, in text and in ARPA files
_LIKE_UNKNOWN = np.frombuffer(b"<UNK>", np.uint8)  # KenLM reads this as <unk> as well
_LEAST = 4096  # ids counted at a time, however little memory there is
_FNV_BASIS, _FNV_PRIME = np.uint64(14695981039346656037), np.uint64(1099511628211)


@njit(cache=True, inline="always")
def _is_space(byte):
    return byte == 32 or byte == 9 or byte == 10 or byte == 13 or byte == 0


@njit(cache=True)
def _encode(data, ends, padding, table, hashes, letters, word_ends, known, out, counts):
    """Ids of each sentence: `padding` times <s>, the words, </s>. Words not seen before are added to the vocabulary.

    Returns (ids written, words known, sentence of a forbidden token or -1, id of that token); `counts` gets the tokens of each sentence.
    """
    mask = np.int64(len(table) - 1)
    at, i = 0, np.int64(0)
    for s in range(len(ends)):
        for _ in range(padding):
            out[at] = BEGIN
            at += 1
        first, stop = at, ends[s]
        while True:
            while i < stop and _is_space(data[i]):
                i += 1
            if i == stop:
                break
            start, h = i, _FNV_BASIS
            while i < stop and not _is_space(data[i]):
                h = (h ^ np.uint64(data[i])) * _FNV_PRIME
                i += 1
            h = mix(h)
            slot = np.int64(h & np.uint64(mask))
            size = i - start
            while True:
                word = np.int64(table[slot]) - 1
                if word < 0:
                    break
                if hashes[word] == h and word_ends[word + 1] - word_ends[word] == size:
                    low, j = word_ends[word], 0
                    while j < size and letters[low + j] == data[start + j]:
                        j += 1
                    if j == size:
                        break
                slot = (slot + 1) & mask
            if word < 0:
                word = known
                known += 1
                table[slot] = np.uint32(known)
                hashes[word] = h
                low = word_ends[word]
                letters[low : low + size] = data[start:i]
                word_ends[word + 1] = low + size
                if size == len(_LIKE_UNKNOWN) and (data[start:i] == _LIKE_UNKNOWN).all():
                    return at, known, s, word
            elif word <= END:
                return at, known, s, word
            out[at] = np.uint32(word)
            at += 1
        counts[s] = at - first
        out[at] = END
        at += 1
    return at, known, -1, 0


@njit(cache=True)
def _rehash(table, hashes, known):
    mask = np.int64(len(table) - 1)
    for word in range(known):
        slot = np.int64(hashes[word] & np.uint64(mask))
        while table[slot]:
            slot = (slot + 1) & mask
        table[slot] = np.uint32(word + 1)


def _grown(values: Array, size: int) -> Array:
    out = np.empty(size, values.dtype)
    out[: len(values)] = values
    return out


class Vocabulary:
    """Words by id: word i is letters[ends[i]:ends[i + 1]]."""

    def __init__(self) -> None:
        self.known = 0
        self._table = np.zeros(1 << 10, np.uint32)  # id + 1 by hash, open addressing, at most half full
        self._hashes = np.empty(1 << 9, np.uint64)
        self.letters = np.empty(1 << 12, np.uint8)
        self.ends = np.zeros((1 << 9) + 1, np.int64)
        for word in _SPECIAL:
            self.encode(word, np.array([len(word)]), 0)

    def encode(self, data: bytes, ends: Array, padding: int) -> tuple[Array, Array]:
        """(ids, tokens of each sentence) of sentences that end at `ends` in `data`. Raises _Forbidden."""
        text = np.frombuffer(data, np.uint8)
        most = len(data) // 2 + len(ends)  # tokens that there can be
        self._reserve(self.known + most, len(data))
        out, counts = np.empty(most + len(ends) * (padding + 1), np.uint32), np.empty(len(ends), np.int64)
        at, self.known, bad, word = _encode(
            text, ends, padding, self._table, self._hashes, self.letters, self.ends, self.known, out, counts
        )
        if bad >= 0:
            raise _Forbidden(bad, bytes(self.letters[self.ends[word] : self.ends[word + 1]]).decode())
        return out[:at], counts

    def _reserve(self, words: int, letters: int) -> None:
        if words > len(self._hashes):
            size = 1 << (words - 1).bit_length()
            self._hashes, self.ends = _grown(self._hashes, size), _grown(self.ends, size + 1)
            self._table = np.zeros(2 * size, np.uint32)
            _rehash(self._table, self._hashes, self.known)
        need = int(self.ends[self.known]) + letters
        if need > len(self.letters):
            self.letters = _grown(self.letters, 1 << (need - 1).bit_length())


class _Forbidden(Exception):
    def __init__(self, sentence: int, token: str) -> None:
        self.sentence, self.token = sentence, token


@dataclass
class Corpus:
    """What `read` has seen so far."""

    vocabulary: Vocabulary
    sentences: int = 0
    tokens: int = 0


def encoded(sentences: Iterable[Iterable[str] | str], order: int, corpus: Corpus, size: int) -> Iterator[Array]:
    """uint32 ids of about `size` bytes of text at a time: order - 1 times <s>, words and </s>, sentence after sentence."""
    waiting: list[bytes] = []
    listed: list[tuple[int, int]] = []  # (place, tokens that must be found) of sentences that came as tokens
    held = 0
    for sentence in sentences:
        if not isinstance(sentence, str):
            tokens = list(sentence)
            sentence = " ".join(tokens)
            spaces = sum(map(sentence.count, _SPACES))
            listed.append((len(waiting), len(tokens) if spaces == max(len(tokens) - 1, 0) else -1))
        waiting.append(sentence.encode())
        held += len(waiting[-1]) + 8
        if held >= size:
            yield _encoded(waiting, listed, order, corpus)
            waiting, listed, held = [], [], 0
    if waiting:
        yield _encoded(waiting, listed, order, corpus)


def _encoded(sentences: list[bytes], listed: list[tuple[int, int]], order: int, corpus: Corpus) -> Array:
    ends = np.cumsum([len(s) for s in sentences])
    try:
        ids, counts = corpus.vocabulary.encode(b"".join(sentences), ends, order - 1)
    except _Forbidden as error:
        raise CurateError(
            f"sentence {corpus.sentences + error.sentence + 1} has the token {error.token!r}: "
            "a language model needs <s>, </s> and <unk> for itself; remove it from the text or write it differently"
        ) from None
    for place, tokens in listed:
        if counts[place] != tokens:
            raise CurateError(
                f"sentence {corpus.sentences + place + 1} has a token that is empty or has white space in it: "
                "an n-gram file cannot hold it; replace the space by another character (SentencePiece takes U+2581)"
            )
    corpus.sentences += len(sentences)
    corpus.tokens += int(counts.sum())
    return ids


@njit(cache=True)
def _ends_of_ngrams(stream, first):
    out = np.empty(len(stream) - first, np.uint32)
    n = 0
    for i in range(first, len(stream)):
        out[n] = i
        n += stream[i] != BEGIN
    return out[:n]


@njit(cache=True)
def _distinct(stream, at, order):
    """Rows (reversed ids, count low, count high) of the n-grams that end at the positions `at`, which are sorted by them."""
    out = np.empty((len(at), order + 2), np.uint32)
    n = -1
    for i in range(len(at)):
        end = np.int64(at[i])
        new = n < 0
        for j in range(order):
            if new or stream[end - j] != out[n, j]:
                new = True
                break
        if new:
            n += 1
            for j in range(order):
                out[n, j] = stream[end - j]
            out[n, order] = 0
            out[n, order + 1] = 0
        out[n, order] += np.uint32(1)  # a chunk has less than 2^32 positions
    return out[: n + 1]


def count(ids: Iterable[Array], order: int, scratch: Scratch, memory: float) -> Runs:
    """N-grams of the full order and how often each occurs: rows of `order` reversed ids, and the count in two columns."""
    capacity = int(min(max(memory / (4 * (order + 2) + 24), _LEAST), 2**31))
    stream = np.empty(capacity, np.uint32)
    held = order - 1  # what precedes the first n-gram is <s> in any case
    stream[:held] = BEGIN

    def counted(stream: Array) -> Array:
        at = sorted_order(stream, _ends_of_ngrams(stream, order - 1), -np.arange(order))
        return cast(Array, _distinct(stream, at, order))

    runs = Runs(scratch, order + 2, range(order), 0)
    for part in ids:
        while len(part):
            if held == capacity:
                runs.add_run(counted(stream), False)
                stream[: order - 1] = stream[capacity - order + 1 :].copy()
                held = order - 1
            piece = part[: capacity - held]
            stream[held : held + len(piece)] = piece
            held += len(piece)
            part = part[len(piece) :]
    runs.add_run(counted(stream[:held]), True)
    return runs


@njit(cache=True)
def _combined(rows, order):
    """Add up the counts of equal neighbours, in place; how many rows are left."""
    n = 0
    for i in range(1, len(rows)):
        same = True
        for j in range(order):
            if rows[i, j] != rows[n, j]:
                same = False
                break
        if same:
            total = _long(rows[n, order], rows[n, order + 1]) + _long(rows[i, order], rows[i, order + 1])
            rows[n, order] = np.uint32(total & np.uint64(0xFFFFFFFF))
            rows[n, order + 1] = np.uint32(total >> np.uint64(32))
        else:
            n += 1
            rows[n] = rows[i]
    return n + 1


@njit(cache=True, inline="always")
def _long(low, high):
    return np.uint64(low) | (np.uint64(high) << np.uint64(32))


@njit(cache=True)
def _shared(rows, order, last):
    """How many of its leading ids each row shares with the row before it, `last` being the one before the first."""
    out = np.empty(len(rows), np.int8)
    for i in range(len(rows)):
        j = 0
        if i:
            while j < order and rows[i, j] == rows[i - 1, j]:
                j += 1
        else:
            while j < order and rows[0, j] == last[j]:
                j += 1
        out[i] = j
    return out


@njit(cache=True)
def _adjusted(rows, shared, order, k, opened):
    """The k-grams that begin in these rows, and the adjusted counts of those that are complete.

    `opened` is the count so far of the k-gram of the row before the first, or -1: its count is known when the next one begins.
    Returns (ids (n, k), counts (m,), opened).
    """
    starts = 0
    for i in range(len(rows)):
        starts += shared[i] < k and (k == 1 or rows[i, k - 2] != BEGIN)
    ids, counts = np.empty((starts, k), np.uint32), np.empty(starts + 1, np.uint64)
    n = m = 0
    for i in range(len(rows)):
        if k > 1 and rows[i, k - 2] == BEGIN:
            continue  # a sentence's begin has nothing before it
        if shared[i] < k:
            if opened >= 0:
                counts[m] = opened
                m += 1
            opened = 0
            ids[n] = rows[i, :k]
            n += 1
        if k == order or rows[i, k - 1] == BEGIN:
            opened += np.int64(_long(rows[i, order], rows[i, order + 1]))
        elif shared[i] <= k:
            opened += 1
    return ids, counts[:m], opened


class Ngrams:
    """The n-grams of one order in suffix order: columns `ids` (uint32, reversed) and `counts` (uint64, adjusted)."""

    def __init__(self, scratch: Scratch, order: int) -> None:
        self.order = order
        self.ids, self.counts = Column(scratch, np.uint32, order), Column(scratch, np.uint64)
        self.of_count = np.zeros(5, np.int64)  # how many have an adjusted count of 1, 2, 3, 4
        self._opened = -1

    def grow(self, rows: Array, shared: Array, full: int) -> None:
        """Take what is new in the next rows of the full order."""
        ids, counts, self._opened = _adjusted(rows, shared, full, self.order, self._opened)
        self.ids.append(ids)
        self._append(counts)

    def finish(self) -> None:
        """The last n-gram is complete."""
        if self._opened >= 0:
            self._append(np.array([self._opened], np.uint64))

    def special(self) -> None:
        """<unk> and <s>, which end no n-gram, before the other unigrams."""
        self.ids.append(np.array([UNKNOWN, BEGIN], np.uint32))
        self._append(np.zeros(2, np.uint64))

    def _append(self, counts: Array) -> None:
        self.counts.append(counts)
        self.of_count += np.bincount(counts[(counts > 0) & (counts < 5)].astype(np.int64), minlength=5)


def adjust(runs: Runs, order: int, scratch: Scratch, block: int) -> list[Ngrams]:
    """Every order's n-grams and adjusted counts."""
    found = [Ngrams(scratch, k) for k in range(1, order + 1)]
    found[0].special()
    last = np.zeros(order, np.uint32)  # no n-gram ends in <unk>
    for rows in runs.blocks(block):
        rows = rows[: _combined(rows, order)]
        shared = _shared(rows, order, last)
        last = rows[-1, :order].copy()
        for ngrams in found:
            ngrams.grow(rows, shared, order)
    for ngrams in found:
        ngrams.finish()
    return found
