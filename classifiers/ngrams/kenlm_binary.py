"""From an ARPA file to KenLM's binary format (Heafield 2011, "probing"): hash tables that readers map into memory and share.

The bytes are those of KenLM 0.3.0's build_binary without options: version 5 of the format, float probabilities, 1.5 buckets an entry,
the words at the end. A file is the header; the words' hashes with their ids; the unigrams; a table of (hash, probability, back-off)
for each order between; one of (hash, probability) for the longest n-grams; the words. Tables are probed linearly; key 0: an empty bucket.
Two sign bits spare a reader look-ups: a probability is positive where a longer n-gram ends in this one, and a back-off of nothing
is -0 where no longer n-gram begins with this one. Where the model lacks an n-gram in which a longer one ends (pruning leaves such
gaps), a blank with what backing off gives stands for it.
Cost: 100 MB of ARPA text a second of one core, as build_binary (426 MB, 10 million n-grams: 4.3 s, build_binary 4.9 s), after kernels
are compiled (10 s, once); the vocabulary and the blocks in hand take some MB beside the two mapped files.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from numba import njit

from classifiers.ngrams.arpa_reader import Arpa, hash_word
from curate.errors import CurateError

Array = npt.NDArray[Any]

_WORD = np.dtype([("key", "<u8"), ("id", "<u4")])
_MIDDLE = np.dtype([("key", "<u8"), ("probability", "<f4"), ("backoff", "<f4")])
_LONGEST = np.dtype([("key", "<u8"), ("probability", "<f4")])

_MAGIC = b"mmap lm http://kheafield.com/code format version 5\n"
_MULTIPLIER = np.float32(1.5)  # buckets an entry
_UNKNOWN_PROBABILITY = -100.0  # of <unk> where the model has none
_LEFT, _RIGHT = np.uint64(8978948897894561157), np.uint64(17894857484156487943)  # of KenLM's hashes of n-grams


@njit(cache=True, inline="always")
def _longer(key, word):
    """The key of the n-gram that has one more word in front."""
    return (key * _LEFT) ^ ((np.uint64(word) + np.uint64(1)) * _RIGHT)


@njit(cache=True, inline="always")
def _find(table, first, end, key):
    """The bucket of `key` in the table that lies from `first` to `end`, or the empty one where it would be."""
    slot = first + np.int64(key % np.uint64(end - first))
    while table[slot].key != key and table[slot].key != 0:
        slot += 1
        if slot == end:
            slot = first
    return slot


@njit(cache=True)
def _claim(table, keys, slots):
    """A bucket for each key: the row of a key that has one already, or -1."""
    for i in range(len(keys)):
        slots[i] = _find(table, 0, len(table), keys[i])
        if table[slots[i]].key != 0:
            return i
        table[slots[i]].key = keys[i]
    return -1


@njit(cache=True)
def _identify(table, hashes, unknown, ids, keys):
    """The ids of words and the keys of the n-grams that end in the last 2, 3, ... of them: the row with a word that is not known, or -1."""
    for i in range(len(hashes)):
        for j in range(hashes.shape[1]):
            h = hashes[i, j]
            if i and hashes[i - 1, j] == h:  # neighbours share words, often
                ids[i, j] = ids[i - 1, j]
            elif h == unknown[0] or h == unknown[1]:
                ids[i, j] = 0
            else:
                slot = _find(table, 0, len(table), h)
                if table[slot].key == 0:
                    return i
                ids[i, j] = table[slot].id
        key = np.uint64(ids[i, 0])
        for j in range(1, hashes.shape[1]):
            key = _longer(key, ids[i, j])
            keys[i, j - 1] = key
    return -1


@njit(cache=True)
def _connect(unigrams, middle, firsts, used, ids, keys):
    """Marks, in lower orders, what each n-gram extends, and adds the blanks that are missing there.

    `middle` holds the tables of order 2, 3, ..., that of order k from firsts[k - 2] to firsts[k - 1], of whose buckets used[k - 2] are.
    Returns (row, order) of an n-gram whose context is missing, or (row, -order) where there is no bucket left for a blank; or (-1, 0).
    """
    order = ids.shape[1]
    blanks = np.empty(8, np.int64)
    for i in range(len(ids)):
        n, k = 0, order - 1  # blanks so far; the order of what is looked for
        while k > 1:
            slot = _find(middle, firsts[k - 2], firsts[k - 1], keys[i, k - 2])
            if middle[slot].key != 0:
                break
            used[k - 2] += 1
            if used[k - 2] >= firsts[k - 1] - firsts[k - 2]:
                return i, -k
            middle[slot].key = keys[i, k - 2]
            middle[slot].backoff = np.float32(-0.0)
            blanks[n] = slot
            n += 1
            k -= 1
        if k > 1:
            middle[slot].probability = abs(middle[slot].probability)
            probability = -middle[slot].probability
        else:
            unigrams[ids[i, 0], 0] = abs(unigrams[ids[i, 0], 0])
            probability = -unigrams[ids[i, 0], 0]
        context = np.uint64(ids[i, 1])  # of the words before the last, as many as the blank has
        for j in range(2, k + 1 if n else 0):
            context = _longer(context, ids[i, j])
        while n:
            if k == 1:
                unigrams[ids[i, 1], 1] += np.float32(0)  # -0 becomes 0
                probability += unigrams[ids[i, 1], 1]
            else:
                slot = _find(middle, firsts[k - 2], firsts[k - 1], context)
                if middle[slot].key != 0:
                    middle[slot].backoff += np.float32(0)
                    probability += middle[slot].backoff
            n -= 1
            middle[blanks[n]].probability = abs(probability)
            k += 1
            context = _longer(context, ids[i, k])
        if order == 2:
            unigrams[ids[i, 1], 1] += np.float32(0)
        else:
            context = np.uint64(ids[i, 1])
            for j in range(2, order):
                context = _longer(context, ids[i, j])
            slot = _find(middle, firsts[order - 3], firsts[order - 2], context)
            if middle[slot].key == 0:
                return i, order
            middle[slot].backoff += np.float32(0)
    return -1, 0


def _buckets(entries: int) -> int:
    return max(entries + 1, int(_MULTIPLIER * np.float32(entries)))


def _header(counts: Sequence[int]) -> bytes:
    """What the file begins with: values that a reader compares with its own, what the model is, and the n-grams of each order."""
    size = (len(_MAGIC) + 2 + 7) // 8 * 8
    same = struct.pack("<3f3IQ", 0.0, 1.0, -0.5, 1, 2**32 - 1, 0, 1)
    model = struct.pack("<B3xfI?3xI", len(counts), _MULTIPLIER, 0, True, 0)  # kind 0, of version 0: probing tables without rest costs
    header = _MAGIC.ljust(size, b"\0") + same + model + struct.pack(f"<{len(counts)}Q", *counts)
    return header.ljust((len(header) + 7) // 8 * 8, b"\0")


class _Binary:
    """The file under construction: its parts are views of one array."""

    def __init__(self, file: BinaryIO, counts: Sequence[int], memory: float) -> None:
        buckets = [_buckets(n) for n in counts]
        header = _header(counts)
        self.firsts = np.cumsum([0, *buckets[1:-1]])
        self.used = np.array(counts[1:-1], np.int64)
        sizes = [len(header) + 8, buckets[0] * _WORD.itemsize, (counts[0] + 1) * 8]
        sizes += [int(self.firsts[-1]) * _MIDDLE.itemsize, buckets[-1] * _LONGEST.itemsize]
        ends = np.cumsum(sizes)
        self.file, self.size = file, int(ends[-1])
        file.truncate(self.size)
        if hasattr(os, "posix_fallocate"):  # a full disk is an error here; later it would end the process
            os.posix_fallocate(file.fileno(), 0, self.size)
        self.mapped = self.size > memory
        self.data: Array = np.memmap(file, np.uint8, "r+").view(np.ndarray) if self.mapped else np.zeros(self.size, np.uint8)
        self.data[: len(header)] = np.frombuffer(header, np.uint8)
        parts = np.split(self.data, ends[:-1])
        self.bound = parts[0][len(header) :].view("<u4")[1:]
        self.words, self.unigrams = parts[1].view(_WORD), parts[2].view("<f4").reshape(-1, 2)
        self.middle, self.longest = parts[3].view(_MIDDLE), parts[4].view(_LONGEST)

    def table(self, order: int) -> Array:
        """That of an order of 2 or more."""
        return self.middle[self.firsts[order - 2] : self.firsts[order - 1]] if order - 1 < len(self.firsts) else self.longest

    def finish(self) -> None:
        """All of it is in the file."""
        if not self.mapped:
            self.file.seek(0)
            self.file.write(memoryview(self.data))


def build(arpa: str, path: str, *, memory: float = 2e9) -> None:
    """Write the model of the ARPA file `arpa` to `path` in KenLM's binary format, which readers map into memory.

    Up to `memory` bytes of it are built in memory; what is larger is built in the file itself, in pages that the system may write out.
    Plain text only: it is mapped as well. Raises CurateError where the file is damaged or holds no model that KenLM reads.
    """
    source = Arpa(arpa)
    counts = source.counts()
    partial = f"{path}.partial"
    try:
        with open(partial, "w+b") as file:
            binary = _Binary(file, counts, memory)
            has_unknown = _unigrams(source, binary, counts[0])
            for order, count in enumerate(counts[1:], 2):
                _longer_ngrams(source, binary, order, count, longest=order == len(counts))
            source.finish()
            if not has_unknown:
                binary.unigrams[0] = _UNKNOWN_PROBABILITY, 0.0
            binary.finish()
        os.replace(partial, path)
    finally:
        if os.path.exists(partial):
            os.remove(partial)


def _word_hash(word: bytes) -> int:
    return int(hash_word(np.frombuffer(word, np.uint8), 0, len(word)))


def _unigrams(source: Arpa, binary: _Binary, count: int) -> bool:
    """The vocabulary, in the order of the file after <unk>, and the unigrams: whether <unk> is among them."""
    unknown = np.array([_word_hash(b"<unk>"), _word_hash(b"<UNK>")], np.uint64)
    bound, has_unknown = 1, False
    binary.file.seek(binary.size)
    binary.file.write(b"<unk>\0")
    for rows in source.section(1, count, longest=False):
        hashes = rows.hashes[:, 0]
        known = (hashes != unknown[0]) & (hashes != unknown[1])
        ids, slots = np.zeros(len(hashes), np.uint32), np.empty(int(known.sum()), np.int64)
        ids[known] = np.arange(bound, bound + len(slots), dtype=np.uint32)
        again = _claim(binary.words, hashes[known], slots)
        if again >= 0 or len(ids) - len(slots) + has_unknown > 1:
            at = int(rows.starts[known][again] if again >= 0 else rows.starts[~known][-1])
            raise source.error(at, "in the 1-grams,", "has a word that stands there already (<UNK> is the same as <unk>)")
        binary.words["id"][slots] = ids[known]
        binary.unigrams[ids, 0], binary.unigrams[ids, 1] = rows.probabilities, rows.backoffs
        binary.file.write(b"".join(source.data[low:high].tobytes() + b"\0" for low, high in rows.words[known]))
        bound, has_unknown = bound + len(slots), has_unknown or len(slots) < len(ids)
    binary.bound[0] = bound
    for mark in (b"<s>", b"</s>"):
        if not np.any(binary.words["key"] == np.uint64(_word_hash(mark))):
            raise source.error(source.at, f"KenLM asks for {mark.decode()} among the 1-grams, which is not there before")
    return has_unknown


def _longer_ngrams(source: Arpa, binary: _Binary, order: int, count: int, *, longest: bool) -> None:
    """The n-grams of an order of 2 or more, and what they change in lower ones."""
    table, unknown = binary.table(order), np.array([_word_hash(b"<unk>"), _word_hash(b"<UNK>")], np.uint64)
    for rows in source.section(order, count, longest=longest):
        n = len(rows.starts)
        ids, keys, slots = np.empty((n, order), np.uint32), np.empty((n, order - 1), np.uint64), np.empty(n, np.int64)

        def fail(row: int, problem: str, starts: Array = rows.starts) -> CurateError:
            return source.error(int(starts[row]), f"in the {order}-grams,", problem)

        if (row := _identify(binary.words, rows.hashes, unknown, ids, keys)) >= 0:
            raise fail(row, "has a word that is not among the 1-grams")
        if (row := _claim(table, keys[:, -1], slots)) >= 0:
            raise fail(row, "stands there already")
        table["probability"][slots] = -np.abs(rows.probabilities)
        if not longest:
            table["backoff"][slots] = rows.backoffs
        row, missing = _connect(binary.unigrams, binary.middle, binary.firsts, binary.used, ids, keys)
        if missing > 0:
            raise fail(row, f"begins with {missing - 1} words that are not among the {missing - 1}-grams")
        if missing:
            raise fail(row, f"is one of too many whose last {-missing} words are not among the {-missing}-grams")
