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
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from numba import njit

from curate.errors import CurateError

Array = npt.NDArray[Any]

_WORD = np.dtype([("key", "<u8"), ("id", "<u4")])
_MIDDLE = np.dtype([("key", "<u8"), ("probability", "<f4"), ("backoff", "<f4")])
_LONGEST = np.dtype([("key", "<u8"), ("probability", "<f4")])

_MAGIC = b"mmap lm http://kheafield.com/code format version 5\n"
_MULTIPLIER = np.float32(1.5)  # buckets an entry
_LEAST_ORDER, _MOST_ORDER = 2, 6  # what the kenlm module reads
_UNKNOWN_PROBABILITY = -100.0  # of <unk> where the model has none
_ROWS = 8192  # n-grams handled at a time: they stay in the processor's caches
_LINE = 1 << 16  # bytes of the longest line that is not an n-gram's
_QUOTED = 80  # bytes of a line that a message shows
_DIGITS = 64  # the longest number, in bytes

_MURMUR, _SHIFT = np.uint64(0xC6A4A7935BD1E995), np.uint64(47)
_LEFT, _RIGHT = np.uint64(8978948897894561157), np.uint64(17894857484156487943)  # of KenLM's hashes of n-grams
_TAB, _NEWLINE, _RETURN, _SPACE, _PLUS, _MINUS, _POINT, _ZERO, _NINE, _BACKSLASH = (int(b) for b in b"\t\n\r +-.09\\")
_SMALL_E, _LARGE_E = (int(b) for b in b"eE")
_POWERS = 10.0 ** np.arange(23)  # those that a 64-bit float holds exactly
_NEARLY = 2.0**-50  # more than `_number` may be wrong by before it rounds to 32 bits
_KEPT = 19  # digits that 64 bits hold
_LARGEST, _SMALLEST = 38, -46  # decimal exponents beyond which a 32-bit float is infinite, or 0

_GOOD, _BAD, _HARD, _ENDS, _POSITIVE, _WORDS, _MORE, _LAST = range(8)
_PROBLEMS = {
    _BAD: f"does not begin with a finite number of at most {_DIGITS} bytes and a tab",
    _POSITIVE: "has a positive logarithm of a probability",
    _WORDS: "has too few words",
    _MORE: "goes on after its words with what is no finite back-off weight",
    _LAST: "has a back-off weight, which the longest n-grams have not",
}


@njit(cache=True, inline="always")
def _hash(data, start, end):
    """MurmurHash64A with the seed 0."""
    h = np.uint64(end - start) * _MURMUR
    while start < end:
        k, size = np.uint64(0), min(end - start, 8)
        if size == 8:
            for b in range(8):
                k |= np.uint64(data[start + b]) << np.uint64(8 * b)
            k *= _MURMUR
            k = (k ^ (k >> _SHIFT)) * _MURMUR
        else:
            for b in range(size):
                k |= np.uint64(data[start + b]) << np.uint64(8 * b)
        h = (h ^ k) * _MURMUR
        start += size
    h = (h ^ (h >> _SHIFT)) * _MURMUR
    return h ^ (h >> _SHIFT)


@njit(cache=True, inline="always")
def _is_blank(byte):
    return byte in (_TAB, _SPACE)


@njit(cache=True, inline="always")
def _ends_word(byte):
    return byte <= _SPACE and byte in (_SPACE, _TAB, _NEWLINE, _RETURN, 0)


@njit(cache=True, inline="always")
def _is_digit(byte):
    return _ZERO <= byte <= _NINE


@njit(cache=True)
def _line_end(data, at):
    while at < len(data) and data[at] != _NEWLINE:
        at += 1
    return at


@njit(cache=True, inline="always")
def _number(data, at):
    """A decimal number at `at`: (value, where it ends, _GOOD, _BAD, or _HARD where the rounding to 32 bits takes more care)."""
    start, size = at, -1.0 if data[at] == _MINUS else 1.0
    if data[at] == _MINUS or data[at] == _PLUS:
        at += 1
    digits, kept, seen, exponent, after = np.uint64(0), 0, 0, 0, False
    while _is_digit(data[at]) or (data[at] == _POINT and not after):
        if data[at] == _POINT:
            after = True
        else:
            seen += 1
            if kept < _KEPT:
                digits = digits * np.uint64(10) + np.uint64(data[at] - _ZERO)
                kept += digits > 0
                exponent -= after
            else:
                exponent += not after
        at += 1
    bad = seen == 0
    if data[at] == _SMALL_E or data[at] == _LARGE_E:
        sign = -1 if data[at + 1] == _MINUS else 1
        at += 2 if data[at + 1] == _MINUS or data[at + 1] == _PLUS else 1
        first, power = at, 0
        while _is_digit(data[at]) and at - first < 5:
            power = power * 10 + np.int64(data[at] - _ZERO)
            at += 1
        bad |= at == first or at - first == 5
        exponent += sign * power
    if bad or at - start > _DIGITS or (digits and kept + exponent > _LARGEST):
        return np.float32(0), at, _BAD
    if digits == 0 or kept + exponent < _SMALLEST:
        return np.float32(size * 0.0), at, _GOOD
    if exponent < -22 or exponent > 22:
        return np.float32(size), at, _HARD
    value = size * float(digits)
    value = value / _POWERS[-exponent] if exponent < 0 else value * _POWERS[exponent]
    low, high = np.float32(value * (1 - _NEARLY)), np.float32(value * (1 + _NEARLY))
    return low, at, _GOOD if low == high else _HARD


@njit(cache=True)
def _parse(data, at, order, longest, starts, probabilities, backoffs, hard, hashes, words):
    """N-grams, a line each, from `at` on until the arrays are full: (rows, where the next begins, _GOOD or what stopped it there).

    `starts` gets where each line begins, `hashes` those of its words from the last to the first, `words` where the last one lies.
    `data` ends in a newline.
    """
    for row in range(len(starts)):
        while at < len(data) and (_is_blank(data[at]) or data[at] == _NEWLINE or data[at] == _RETURN):
            at += 1
        line = at
        if at == len(data) or data[at] == _BACKSLASH:
            return row, line, _ENDS
        value, at, kind = _number(data, at)
        if kind == _BAD or not _is_blank(data[at]):
            return row, line, _BAD
        if value > 0:
            return row, line, _POSITIVE
        hard[row] = kind == _HARD
        starts[row], probabilities[row], backoffs[row] = line, value, np.float32(-0.0)
        for j in range(order - 1, -1, -1):
            while _is_blank(data[at]):
                at += 1
            start = at
            while not _ends_word(data[at]):
                at += 1
            if at == start:
                return row, line, _WORDS
            hashes[row, j] = _hash(data, start, at)
            words[row, 0], words[row, 1] = start, at
        while _is_blank(data[at]):
            at += 1
        if data[at] != _NEWLINE and data[at] != _RETURN:
            value, at, kind = _number(data, at)
            if kind == _BAD:
                return row, line, _MORE
            if longest and value != 0:
                return row, line, _LAST
            hard[row] |= kind == _HARD
            if value != 0:
                backoffs[row] = value
            while _is_blank(data[at]):
                at += 1
        if data[at] == _RETURN:
            at += 1
        if data[at] != _NEWLINE:
            return row, line, _MORE
    return len(starts), at, _GOOD


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


@dataclass(frozen=True)
class _Rows:
    """Some n-grams of one order."""

    starts: Array  # int64: where each one's line begins
    probabilities: Array  # float32
    backoffs: Array  # float32, -0 for none
    hashes: Array  # uint64 (n, order): of the words from the last to the first
    words: Array  # int64 (n, 2): where the last word begins and ends


class _Arpa:
    """An ARPA file, read from its beginning to its end."""

    def __init__(self, path: str) -> None:
        self.path, self.at = path, 0
        self.data: Array = np.memmap(path, np.uint8, "r").view(np.ndarray) if os.path.getsize(path) else np.empty(0, np.uint8)
        tail = self.data[-_LINE:]
        newlines = np.flatnonzero(tail == _NEWLINE)
        cut = len(tail) - 1 - int(newlines[-1]) if len(newlines) else len(self.data)
        self.whole = self.data[: len(self.data) - cut]  # all lines but the last where that has no newline

    def error(self, at: int, before: str = "", after: str = "") -> CurateError:
        """What is wrong with the line at `at`, in words that stand before it and after it, and what to do."""
        newlines = sum(int(np.count_nonzero(self.data[low : min(low + _LINE, at)] == _NEWLINE)) for low in range(0, at, _LINE))
        text = self.data[at : at + _QUOTED].tobytes().partition(b"\n")[0].decode(errors="replace").rstrip("\r")
        found = " ".join(part for part in (before, repr(text) if at < len(self.data) else "the end of the file", after) if part)
        return CurateError(f"{self.path}: line {newlines + 1:,}: {found}; write this ARPA file again, or take one that is whole")

    def line(self) -> tuple[int, str]:
        """The next line that is not blank and where it begins; "" at the end."""
        while self.at < len(self.data):
            at, end = self.at, _line_end(self.data, self.at)
            if end - at > _LINE:
                raise self.error(at, "no ARPA file has so long a line:")
            self.at = end + 1
            if text := self.data[at:end].tobytes().decode(errors="replace").strip(" \t\r"):
                return at, text
        return len(self.data), ""

    def expect(self, wanted: str, after: str) -> None:
        """Goes on behind the line `wanted`."""
        at, text = self.line()
        if text != wanted:
            raise self.error(at, "found", f"where {wanted} should follow {after}")

    def counts(self) -> list[int]:
        """How many n-grams of each order the head announces."""
        at, text = self.line()
        while text.startswith("#"):
            at, text = self.line()
        if text != "\\data\\":
            raise self.error(at, "found", "where an ARPA file begins with \\data\\")
        counts: list[int] = []
        here = self.at
        at, text = self.line()
        while text.startswith("ngram "):
            order, _, count = (part.strip() for part in text.removeprefix("ngram ").partition("="))
            if order != str(len(counts) + 1) or not (count.isascii() and count.isdigit() and len(count) < 19):
                raise self.error(at, "found", f"where 'ngram {len(counts) + 1}=' and a count should follow")
            counts.append(int(count))
            here = self.at
            at, text = self.line()
        self.at = here
        if not _LEAST_ORDER <= len(counts) <= _MOST_ORDER:
            raise self.error(at, f"the head ends before this with order {len(counts)}; KenLM reads orders 2 to {_MOST_ORDER}:")
        if sum(n * (2 * order + 2) for order, n in enumerate(counts, 1)) > len(self.data):
            raise self.error(at, f"the head announces more n-grams, {sum(counts):,}, than {len(self.data):,} bytes hold, before")
        return counts

    def section(self, order: int, count: int, *, longest: bool) -> Iterator[_Rows]:
        """The n-grams of an order. Raises CurateError where they are fewer or more than `count`, or one is not as it should be."""
        self.expect(f"\\{order}-grams:", f"the {order - 1}-grams that the head announces" if order > 1 else "the head")
        left = count
        while left:
            rows = min(left, _ROWS)
            starts, hard = np.empty(rows, np.int64), np.empty(rows, np.bool_)
            probabilities, backoffs = np.empty((2, rows), np.float32)
            hashes, words = np.empty((rows, order), np.uint64), np.empty((rows, 2), np.int64)
            into = starts, probabilities, backoffs, hard, hashes, words
            found, self.at, stop = _parse(self.whole, self.at, order, longest, *into)
            for row in np.flatnonzero(hard[:found]):
                fields = self.data[starts[row] : _line_end(self.data, starts[row])].tobytes().split()
                probabilities[row] = _nearest(fields[0].decode())
                if len(fields) > order + 1:
                    backoffs[row] = _nearest(fields[-1].decode()) or np.float32(-0.0)
            yield _Rows(starts[:found], probabilities[:found], backoffs[:found], hashes[:found], words[:found])
            left -= found
            if stop == _ENDS:
                raise self.error(self.at, f"the head announces {count:,} {order}-grams, but after {count - left:,} follows")
            if stop != _GOOD:
                raise self.error(self.at, f"in the {order}-grams,", _PROBLEMS[stop])

    def finish(self) -> None:
        """The end mark, and nothing after it."""
        self.expect("\\end\\", "the n-grams that the head announces")
        at, text = self.line()
        if text:
            raise self.error(at, "found", "after \\end\\")


def _nearest(number: str) -> Any:
    """The 32-bit float nearest to a decimal number; of two as near, the even one."""
    exact, near = Fraction(number), np.float32(float(number))
    around = [np.nextafter(near, np.float32(s * np.inf), dtype=np.float32) for s in (-1, 1)]
    return min([near, *around], key=lambda f: (abs(Fraction(float(f)) - exact), int(f.view(np.uint32)) & 1))


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
    source = _Arpa(arpa)
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
    return int(_hash(np.frombuffer(word, np.uint8), 0, len(word)))


def _unigrams(source: _Arpa, binary: _Binary, count: int) -> bool:
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


def _longer_ngrams(source: _Arpa, binary: _Binary, order: int, count: int, *, longest: bool) -> None:
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
