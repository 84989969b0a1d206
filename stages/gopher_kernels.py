"""The loops behind `gopher.Quality` and `gopher.Repetition`: facts per document, no threshold."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numba import njit

from curate.kernels import unicode
from curate.kernels.text import hash_spans

_LETTER, _SPACE, _PUNCTUATION = int(unicode.LETTER), int(unicode.SPACE), int(unicode.PUNCTUATION)
_WORD = int(unicode.LETTER | unicode.DIGIT | unicode.NUMBER)
_FNV_BASIS, _FNV_PRIME = np.uint64(14695981039346656037), np.uint64(1099511628211)
_POLYNOMIAL = np.uint64(0x9E3779B97F4A7C15)
_SMALLEST_N, _TOP_N, _LARGEST_N = 2, 4, 10  # n-grams: the most frequent of 2 to 4 words, duplicates of 5 to 10


def hash_of(words: Sequence[str]) -> np.ndarray:
    """uint64 of each word, as `Batch.words` hashes it."""
    data = np.frombuffer("".join(words).encode(), np.uint8)
    ends = np.cumsum([len(w.encode()) for w in words]).astype(np.int32)
    return hash_spans(data, np.concatenate([np.zeros(1, np.int32), ends[:-1]]), ends)


@njit(cache=True)
def quality(data, first, last, start, end, chars, kind, hashes, line_first, line_last, line_start, line_end, stop_words, flags):
    """float64[documents, 8]: words without symbols, their mean length, hashes and ellipses per word, share of bullet lines,
    share of lines that end in an ellipsis, share of words with a letter, distinct stop words."""
    docs = len(first)
    out = np.zeros((docs, 8), np.float64)
    for d in range(docs):
        words = last[d] - first[d]
        plain = letters = alphabetic = marks = dots = 0
        seen = np.uint64(0)
        for s in range(first[d], last[d]):
            k = np.int64(kind[s])
            if k & _WORD:
                plain += 1
                letters += chars[s]
                if k & _LETTER:
                    alphabetic += 1
                    at = np.searchsorted(stop_words, hashes[s])
                    if at < len(stop_words) and stop_words[at] == hashes[s]:
                        seen |= np.uint64(1) << np.uint64(at)
            if k & _PUNCTUATION:  # in a URL as well: they are counted in the text
                run = 0
                for i in range(start[s], end[s]):
                    b = data[i]
                    if b == 0x2E:
                        run += 1
                        dots += run % 3 == 0
                        continue
                    run = 0
                    marks += b == 0x23
                    dots += b == 0xA6 and i - start[s] >= 2 and data[i - 1] == 0x80 and data[i - 2] == 0xE2
        lines = bullets = trailing = 0
        for n in range(line_first[d], line_last[d]):
            i, j = line_start[n], line_end[n]
            if i == j and n == line_last[d] - 1:
                break  # behind the last line feed there is no further line
            lines += 1
            i, j = _stripped(data, i, j, flags)
            if i < j:
                bullets += data[i] == 0x2D or (j - i >= 3 and data[i] == 0xE2 and data[i + 1] == 0x80 and data[i + 2] == 0xA2)
                if j - i >= 3:
                    a, b, c = data[j - 3], data[j - 2], data[j - 1]
                    trailing += (a == 0x2E and b == 0x2E and c == 0x2E) or (a == 0xE2 and b == 0x80 and c == 0xA6)
        out[d, 0] = plain
        out[d, 1] = letters / plain if plain else 0.0
        out[d, 2] = marks / words if words else 0.0
        out[d, 3] = dots / words if words else 0.0
        out[d, 4] = bullets / lines if lines else 0.0
        out[d, 5] = trailing / lines if lines else 0.0
        out[d, 6] = alphabetic / words if words else 0.0
        while seen:
            out[d, 7] += 1
            seen &= seen - np.uint64(1)
    return out


@njit(cache=True, inline="always")
def _space_at(data, i, stop, flags):
    """Bytes of the white space character at i; 0 if there is another."""
    b = np.int64(data[i])
    if b < 0x80:
        return 1 if flags[b] & _SPACE else 0
    if b == 0xC2 and i + 1 < stop:
        return 2 if flags[np.int64(0x80) | (np.int64(data[i + 1]) & 0x3F)] & _SPACE else 0
    if 0xE1 <= b <= 0xE3 and i + 2 < stop:
        c = (b & 0x0F) << 12 | (np.int64(data[i + 1]) & 0x3F) << 6 | (np.int64(data[i + 2]) & 0x3F)
        return 3 if flags[c] & _SPACE else 0
    return 0


@njit(cache=True)
def _stripped(data, i, j, flags):
    """The bounds without white space at either end."""
    while i < j:
        width = _space_at(data, i, j, flags)
        if not width:
            break
        i += width
    while j > i:
        back = 1
        while back < 4 and j - back > i and data[j - back] & 0xC0 == 0x80:
            back += 1
        if not _space_at(data, j - back, j, flags):
            break
        j -= back
    return i, j


@njit(cache=True, inline="always")
def _seen(table, stamps, mask, stamp, key):
    """Put a key into the set of this stamp; its slot, and whether it was there."""
    at = np.int64(key >> np.uint64(20)) & mask
    while stamps[at] == stamp:
        if table[at] == key:
            return at, True
        at = (at + 1) & mask
    stamps[at] = stamp
    table[at] = key
    return at, False


@njit(cache=True)
def repetition(data, start, end, text_chars, first, last, chars, hashes, flags):
    """float64[documents, 13]: share of duplicate paragraphs and of their characters, the same of lines, share of characters in the most
    frequent 2-, 3- and 4-gram, and in duplicate 5- to 10-grams. The first copy is no duplicate; characters are of the whole text."""
    docs = len(start)
    out = np.zeros((docs, 13), np.float64)
    most = 2
    for d in range(docs):
        lines = 2
        for i in range(start[d], end[d]):
            lines += data[i] == 10
        most = max(most, last[d] - first[d], lines)
    size = 4
    while size < 2 * most + 2:
        size *= 2
    table, stamps = np.empty(size, np.uint64), np.zeros(size, np.int32)
    counts, firsts = np.empty(size, np.int32), np.empty(size, np.int32)
    stamp = 0
    for d in range(docs):
        n_chars = text_chars[d]
        if not n_chars:
            continue
        i, j = start[d], end[d]
        mask = size - 1
        stamp += 1
        pieces, again, again_chars = _duplicate_pieces(data, i, j, 1, table, stamps, mask, stamp)
        out[d, 2] = again / pieces
        out[d, 3] = again_chars / n_chars
        i, j = _stripped(data, i, j, flags)
        stamp += 1
        pieces, again, again_chars = _duplicate_pieces(data, i, j, 2, table, stamps, mask, stamp)
        out[d, 0] = again / pieces
        out[d, 1] = again_chars / n_chars

        words = last[d] - first[d]
        low = 4
        while low < 2 * words:
            low *= 2
        mask = low - 1
        gram = hashes[first[d] : last[d]].copy()
        for n in range(_SMALLEST_N, _LARGEST_N + 1):
            grams = words - n + 1
            if grams < 1:
                break
            stamp += 1
            for p in range(grams):
                gram[p] = gram[p] * _POLYNOMIAL + hashes[first[d] + p + n - 1]
            if n <= _TOP_N:
                best, best_at = 0, 0
                for p in range(grams):
                    at, known = _seen(table, stamps, mask, stamp, gram[p])
                    if known:
                        counts[at] += 1
                    else:
                        counts[at] = 1
                        firsts[at] = p
                    if counts[at] > best or (counts[at] == best and firsts[at] < best_at):
                        best, best_at = counts[at], firsts[at]
                length = n - 1  # the spaces between its words
                for k in range(n):
                    length += chars[first[d] + best_at + k]
                out[d, n + 2] = best * length / n_chars
            else:
                repeated = p = 0
                while p < grams:
                    _, known = _seen(table, stamps, mask, stamp, gram[p])
                    if known:
                        for k in range(n):
                            repeated += chars[first[d] + p + k]
                        p += n
                    else:
                        p += 1
                out[d, n + 2] = repeated / n_chars
    return out


@njit(cache=True)
def _duplicate_pieces(data, i, j, feeds, table, stamps, mask, stamp):
    """Pieces between runs of at least `feeds` line feeds: how many, how many stood before, and the characters of those."""
    pieces = again = again_chars = 0
    h, n = _FNV_BASIS, 0
    run, p = 0, i
    while True:
        at_end = p == j
        if not at_end and data[p] == 10:
            run += 1
            p += 1
            continue
        if run >= feeds or at_end:
            trailing = at_end and run >= feeds
            for _ in range(2 if trailing else 1):
                if at_end and not trailing:
                    for _ in range(run):  # too few to part anything: they belong to the piece
                        h = (h ^ np.uint64(10)) * _FNV_PRIME
                        n += 1
                pieces += 1
                _, known = _seen(table, stamps, mask, stamp, h)
                if known:
                    again += 1
                    again_chars += n
                h, n = _FNV_BASIS, 0
        else:
            for _ in range(run):
                h = (h ^ np.uint64(10)) * _FNV_PRIME
                n += 1
        run = 0
        if at_end:
            break
        h = (h ^ np.uint64(data[p])) * _FNV_PRIME
        n += (data[p] & 0xC0) != 0x80
        p += 1
    return pieces, again, again_chars
