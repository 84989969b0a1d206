"""Lines in the normal form in which CCNet compares them, their hashes, and documents without some of their lines.

The normal form is that of CCNet (Wenzek et al. 2020, 3.2; cc_net's text_normalizer.py, `normalize_for_dedup`): white space at both ends
goes, str.lower, every decimal digit becomes "0", 34 punctuation characters and all control characters go. Accents stay, as in its code.
The tables are those of Unicode 14.0 whatever Python runs; results do not depend on what vectors the processor has. Little-endian only.
Lines are int32 positions `line_start`, `line_end` in one uint8 buffer of valid UTF-8; ill-formed bytes have some form or other, but nothing
beyond their line is part of it.
Measured on one 2.6 GHz core, all of it, on web pages in many languages (49 bytes a line, two thirds of the bytes ASCII): fast hashes
460 MB/s, SHA-1 320 MB/s, where Python with `re` and `hashlib` makes 20 MB/s; on English pages 640 and 400. `rewrite` moves 3 to 5 GB/s.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from curate.kernels import unicode
from curate.kernels.sha1 import LANES, digest, swapped
from curate.kernels.text import _decode, mix

Array = npt.NDArray[Any]

PUNCTUATION = "，。、„”“«»１」「《》´’∶：？！（）；–━►—．～…〈〉【】％"  # cc_net's table; U+FF11 is a digit, and has become "0" before

# An entry of the table of characters: the UTF-8 of the normal form in the lower 32 bits, how many bytes of it, and
_CHANGED, _SIGMA, _WHITE, _CASED, _IGNORABLE = (np.uint64(1 << bit) for bit in (40, 41, 42, 43, 44))
_LENGTH, _LENGTH_BITS = np.uint64(32), np.uint64(7)
_TWO_BYTES, _IS_TWO_BYTES = np.uint64(0xC0E0), np.uint64(0x80C0)  # of a little-endian word: a first byte of two and one that continues
_THREE_BYTES, _IS_THREE_BYTES = np.uint64(0xC0C0F0), np.uint64(0x8080E0)
_UTF8 = np.uint64(0xFFFFFFFF)
_TO_FINAL = np.uint64(0x0100)  # U+03C3 is CF 83 and the final U+03C2 is CF 82

_EACH = np.uint64(0x0101010101010101)  # a byte of one in each of eight
_HIGH, _LOW_7 = _EACH * np.uint64(0x80), _EACH * np.uint64(0x7F)
_FROM_A, _PAST_Z = _EACH * np.uint64(0x80 - ord("A")), _EACH * np.uint64(0x80 - ord("Z") - 1)
_FROM_0, _PAST_9 = _EACH * np.uint64(0x80 - ord("0")), _EACH * np.uint64(0x80 - ord("9") - 1)
_FROM_SPACE, _FROM_DELETE = _EACH * np.uint64(0x80 - ord(" ")), _EACH * np.uint64(0x80 - 0x7F)

_P1, _P2, _P3 = np.uint64(0x9E3779B185EBCA87), np.uint64(0xC2B2AE3D27D4EB4F), np.uint64(0x165667B19E3779F9)  # the primes of XXH64
_P4 = np.uint64(0x85EBCA77C2B2AE63)

_CHUNK = 1 << 17  # bytes of normal forms that are made before they are digested: fits the cache

_SLACK = 256  # bytes behind the last line in a scratch buffer: eight are written at a time, and SHA-1 pads


@cache
def _characters() -> tuple[Array, Array]:
    """(uint16[17408], uint64): the page of each 64 code points, and the entries of the pages one after another; 170 KB."""
    lower, flags, context = unicode.lower(), unicode.flags(), unicode.sigma_context()
    table = np.zeros(len(lower), np.uint64)
    table[(flags & unicode.SPACE != 0)] = _WHITE
    table[unicode.ZERO_WIDTH_SPACE] = 0
    table[context == unicode.CASED] |= _CASED
    table[context == unicode.IGNORABLE] |= _IGNORABLE
    normal = {int(c): chr(lower[c]) for c in np.flatnonzero(lower != np.arange(len(lower)))}
    normal[0x130] = "i\u0307"
    normal |= dict.fromkeys(np.flatnonzero(flags & unicode.DIGIT).tolist(), "0")
    normal |= dict.fromkeys((ord(c) for c in PUNCTUATION if c != "１"), "")
    normal |= dict.fromkeys((*range(0x20), *range(0x7F, 0xA0)), "")
    for c, text in normal.items():
        utf8 = text.encode()
        table[c] |= _CHANGED | np.uint64(int.from_bytes(utf8, "little") | len(utf8) << 32)
    table[ord("Σ")] |= _SIGMA
    pages, page_of = np.unique(table.reshape(-1, 64), axis=0, return_inverse=True)
    return page_of.astype(np.uint16), pages.ravel()


# -- the normal form ----------------------------------------------------------------------------------------------------------------


def _words(data: Array) -> Array:
    """uint64 of the eight bytes from each position on: a view, for kernels to read and write eight bytes anywhere in one move."""
    return np.ndarray((len(data) - 7,), np.uint64, data, strides=(1,))


@njit(cache=True, inline="always")
def _eight(words, i):
    """The eight bytes from i on; at the end of the buffer as many as there are, at least one, and zeros."""
    if i < len(words):
        return words[np.uint64(i)]
    return words[np.uint64(len(words) - 1)] >> np.uint64(8 * (i + 1 - len(words)))


@njit(cache=True, inline="always")
def _entry(c, page_of, pages):
    return pages[np.uint64(np.int64(page_of[np.uint64(c >> 6)]) << 6 | c & 63)]


@njit(cache=True, inline="always")
def _character_before(data, start, i):
    """Where the character that ends before i begins."""
    i -= 1
    while i > start and data[i] & 0xC0 == 0x80:
        i -= 1
    return i


@njit(cache=True, inline="always")
def _strip(data, start, stop, page_of, pages):
    """(start, stop) without the white space at both ends, as str.strip has it."""
    while start < stop:
        c, width = _decode(data, start, stop)
        if _entry(c, page_of, pages) & _WHITE == 0:
            break
        start += width
    while start < stop:
        i = _character_before(data, start, stop)
        c, _ = _decode(data, i, stop)
        if _entry(c, page_of, pages) & _WHITE == 0:
            break
        stop = i
    return start, stop


@njit(cache=True, inline="always")
def _is_final(data, start, stop, i, page_of, pages):
    """Whether the capital sigma at i ends a word: behind a cased letter and before none, whatever is ignorable between."""
    j = i
    before = np.uint64(0)
    while j > start:
        j = _character_before(data, start, j)
        c, _ = _decode(data, j, i)
        before = _entry(c, page_of, pages)
        if before & _IGNORABLE == 0:
            break
    if before & _CASED == 0:
        return False
    j = i + 2
    while j < stop:
        c, width = _decode(data, j, stop)
        behind = _entry(c, page_of, pages)
        if behind & _IGNORABLE == 0:
            return behind & _CASED == 0
        j += width
    return True


@njit(cache=True, inline="always")
def _normalise(data, words, start, stop, out_words, o, page_of, pages):
    """Write the normal form of data[start:stop], which has been stripped, from o on; returns where it ends.

    ASCII is done eight bytes at a time, up to the first byte that is none or is a control character; the others one character at a time,
    until two ASCII bytes follow. What has been written behind the end, up to eight bytes, means nothing.
    """
    i = start
    while i < stop:
        w = _eight(words, i)
        v = w & _LOW_7
        others = (w | ~(v + _FROM_SPACE) | (v + _FROM_DELETE)) & _HIGH
        upper = ((v + _FROM_A) ^ (v + _PAST_Z)) & _HIGH
        digit = ((v + _FROM_0) ^ (v + _PAST_9)) & _HIGH
        out_words[np.uint64(o)] = (w | (upper >> np.uint64(2))) & ~((digit >> np.uint64(3)) - (digit >> np.uint64(7)))
        if others == 0 and i + 8 <= stop:
            i += 8
            o += 8
            continue
        plain = (((others & (~others + np.uint64(1))) >> np.uint64(7)) - np.uint64(1)) & _EACH  # a one for each byte before the first other
        done = min(np.int64(plain * _EACH >> np.uint64(56)), stop - i)
        i += done
        o += done
        while i < stop:
            w = _eight(words, i)
            if w & _TWO_BYTES == _IS_TWO_BYTES and i + 1 < stop:  # Latin with accents, Greek, Cyrillic, Hebrew, Arabic
                page = page_of[w & np.uint64(0x1F)]
                entry, width = pages[np.uint64(page) << np.uint64(6) | (w >> np.uint64(8) & np.uint64(0x3F))], 2
            elif w & _THREE_BYTES == _IS_THREE_BYTES and i + 2 < stop:
                page = page_of[(w & np.uint64(0x0F)) << np.uint64(6) | (w >> np.uint64(8) & np.uint64(0x3F))]
                entry, width = pages[np.uint64(page) << np.uint64(6) | (w >> np.uint64(16) & np.uint64(0x3F))], 3
            else:
                c, width = _decode(data, i, stop)
                entry = _entry(c, page_of, pages)
            if entry & _CHANGED == 0:
                out_words[np.uint64(o)] = w
                o += width
            else:
                if entry & _SIGMA and _is_final(data, start, stop, i, page_of, pages):
                    entry ^= _TO_FINAL
                out_words[np.uint64(o)] = entry & _UTF8
                o += np.int64(entry >> _LENGTH & _LENGTH_BITS)
            i += width
            if i + 1 < stop and (data[np.uint64(i)] | data[np.uint64(i + 1)]) < 0x80:
                break
    return o


@njit(cache=True, inline="always")
def _form(data, words, start, stop, out_words, o, normalise, page_of, pages):
    """Write the form in which a line is compared from o on; returns where it ends."""
    start, stop = _strip(data, start, stop, page_of, pages)
    if normalise:
        return _normalise(data, words, start, stop, out_words, o, page_of, pages)
    for i in range(start, stop, 8):
        out_words[np.uint64(o + i - start)] = _eight(words, i)
    return o + stop - start


def _room(length: int) -> int:
    """Bytes for the normal form of that many: U+0130, U+023A and U+023E grow from two to three. Some more for what is written behind."""
    return length + length // 2 + _SLACK


@njit(cache=True)
def _largest(start, end):
    n = np.int64(0)
    for s in range(len(start)):
        n = max(n, np.int64(end[s]) - np.int64(start[s]))
    return n


# -- fast hashes --------------------------------------------------------------------------------------------------------------------


@njit(cache=True, inline="always")
def _rotate(x, n):
    return (x << np.uint64(n)) | (x >> np.uint64(64 - n))


@njit(cache=True)
def _hash_fast(data, words, line_start, line_end, form, normalise, page_of, pages):
    out = np.empty(len(line_start), np.uint64)
    for n in range(len(line_start)):
        start, stop = np.int64(line_start[n]), np.int64(line_end[n])
        size = _form(data, words, start, stop, form, np.int64(0), normalise, page_of, pages)
        form[size] = 0
        h = np.uint64(size) * _P3 + _P4
        for i in range(0, size, 8):
            h ^= _rotate(form[np.uint64(i)] * _P2, 31) * _P1
            h = _rotate(h, 27) * _P1 + _P4
        out[n] = mix(h)
    return out


@njit(cache=True)
def _hash_sha1(data, words, line_start, line_end, forms, blocks, normalise, page_of, pages):
    lines = len(line_start)
    out = np.empty(lines, np.uint64)
    at = np.zeros(_CHUNK // 64 + 2, np.int64)
    s, before, w = np.zeros((5, LANES), np.uint32), np.empty((5, LANES), np.uint32), np.zeros((80, LANES), np.uint32)
    first, begins = 0, np.int64(0)
    for n in range(lines):
        start, stop = np.int64(line_start[n]), np.int64(line_end[n])
        o = _form(data, words, start, stop, forms, begins, normalise, page_of, pages)
        bits = np.uint64(8 * (o - begins))
        behind = (o + 9 + 63) & ~63
        forms[o] = 0x80
        for i in range(o + 8, behind - 8, 8):
            forms[i] = 0
        blocks[behind // 4 - 2], blocks[behind // 4 - 1] = swapped(bits >> np.uint64(32)), swapped(bits)
        begins = behind
        at[n - first + 1] = begins // 64
        if begins >= _CHUNK or n + 1 == lines:
            digest(blocks, at, first, n + 1, out, s, before, w)
            first, begins = n + 1, np.int64(0)
    return out


def hash_lines(data: Array, line_start: Array, line_end: Array, sha1: bool, normalise: bool = True) -> Array:
    """uint64 of each line's normal form, or with `normalise` false of the line stripped of white space and no more.

    With `sha1`, the first eight bytes of the SHA-1 of its UTF-8 as a little-endian number: bit for bit the hashes of cc_net.
    Otherwise the rounds of XXH64 with one accumulator, eight bytes at a time, begun with the length and ended with the finaliser of
    MurmurHash3. Every round is a bijection, of the state for given bytes and of the bytes for a given state, so that lines of one length
    that differ in one such piece never collide, and others as rarely as 64 bits allow.
    """
    form = np.empty((_room(int(_largest(line_start, line_end))) + (_CHUNK if sha1 else 0)) // 64 * 64, np.uint8)
    if len(data) < 8:
        data = np.concatenate((data, np.zeros(8, np.uint8)))
    if sha1:
        hashes: Array = _hash_sha1(data, _words(data), line_start, line_end, _words(form), form.view(np.uint32), normalise, *_characters())
    else:
        hashes = _hash_fast(data, _words(data), line_start, line_end, _words(form), normalise, *_characters())
    return hashes


def normal_lines(data: Array, line_start: Array, line_end: Array) -> tuple[Array, Array]:
    """(bytes, int64 offsets): the normal form of each line, that of line n from offsets[n] to offsets[n + 1]."""
    room = _room(int((line_end.astype(np.int64) - line_start).sum()))
    form = np.empty(room, np.uint8)
    if len(data) < 8:
        data = np.concatenate((data, np.zeros(8, np.uint8)))
    offsets: Array = _normal_lines(data, _words(data), line_start, line_end, _words(form), *_characters())
    return form[: offsets[-1]], offsets


@njit(cache=True)
def _normal_lines(data, words, line_start, line_end, form, page_of, pages):
    offsets = np.zeros(len(line_start) + 1, np.int64)
    for n in range(len(line_start)):
        start, stop = np.int64(line_start[n]), np.int64(line_end[n])
        offsets[n + 1] = _form(data, words, start, stop, form, offsets[n], True, page_of, pages)
    return offsets


# -- documents without some of their lines -------------------------------------------------------------------------------------------


@njit(cache=True)
def rewrite(data, first, last, line_start, line_end, keep):
    """(bytes, int64 offsets, int64 kept): the kept lines of each document joined by line feeds, and how many they are.

    The text of document d is bytes[offsets[d]:offsets[d + 1]], empty where no line is kept. Lines that stood side by side are moved in one.
    """
    docs = len(first)
    offsets, kept = np.zeros(docs + 1, np.int64), np.zeros(docs, np.int64)
    for d in range(docs):
        size = np.int64(0)
        for n in range(first[d], last[d]):
            if keep[n]:
                size += np.int64(line_end[n]) - np.int64(line_start[n]) + 1
                kept[d] += 1
        offsets[d + 1] = offsets[d] + max(size - 1, 0)
    out = np.empty(offsets[docs], np.uint8)
    for d in range(docs):
        o, n, behind_another = offsets[d], first[d], False
        while n < last[d]:
            if not keep[n]:
                n += 1
                continue
            start, stop = np.int64(line_start[n]), np.int64(line_end[n])
            n += 1
            while n < last[d] and keep[n] and line_start[n] == stop + 1 and data[stop] == 10:
                stop = np.int64(line_end[n])
                n += 1
            if behind_another:
                out[o] = 10
                o += 1
            behind_another = True
            for i in range(stop - start):
                out[np.uint64(o + i)] = data[np.uint64(start + i)]
            o += stop - start
    return out, offsets, kept
