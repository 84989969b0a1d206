"""The normaliser of `classifiers.normalise` as a kernel over UTF-8, for text in bulk.

Its table is made of what the Python function does to each character, once per process in a fifth of a second, so that there is one
definition. What a character becomes does not depend on its neighbours, with two exceptions: the capital sigma, which has a rule of its own,
and 25 marks that stay (vowel killers of some Indic scripts, Hangul tone marks, stems of musical notes), which canonical decomposition may
put in another order. Texts that hold one of those, or a character made of them, go through the Python function.
Measured on one 2.6 GHz core: 420 MB/s of web pages in many scripts and 1.3 GB/s of English books, the Python function 25 and 57.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from classifiers.normalise import assigned, normalise, replaced
from curate.kernels.lines import (
    _CASED,
    _CHANGED,
    _EACH,
    _FROM_0,
    _FROM_A,
    _FROM_DELETE,
    _FROM_SPACE,
    _HIGH,
    _IGNORABLE,
    _IS_THREE_BYTES,
    _IS_TWO_BYTES,
    _LENGTH,
    _LOW_7,
    _PAST_9,
    _PAST_Z,
    _SIGMA,
    _THREE_BYTES,
    _TO_FINAL,
    _TWO_BYTES,
    _UTF8,
    _WHITE,
    _eight,
    _entry,
    _is_final,
    _strip,
    _words,
)
from curate.kernels.text import _decode

Array = npt.NDArray[Any]

# Beside what an entry of a table of characters is in `curate.kernels.lines`: the UTF-8 is longer than four bytes and stands elsewhere, or
# the character may move.
_LONG, _MOVES = np.uint64(1 << 45), np.uint64(1 << 46)
_RARE = _SIGMA | _LONG | _MOVES
_LONGEST = 16  # bytes that one character becomes; a Hangul syllable becomes nine
_LENGTH_BITS = np.uint64(0x1F)
_SLACK = 32  # bytes behind the end that may be written
_SEPARATOR = "\ue000"  # for private use: stays as it is, and is neither cased nor ignorable
_DOTTED_I = "\u0130"  # the one character whose lower case is two


class _Table(NamedTuple):
    page_of: Array  # uint16[17408]: the page of each 64 code points
    pages: Array  # uint64: the entries of the pages one after another
    longer: Array  # uint64: two for each character that becomes more than four bytes
    growth: int  # times as long as its UTF-8 a character may become


@cache
def _table(space: bool) -> _Table:
    """With `space`, line feeds become spaces; otherwise they go, as other control characters."""
    became = _became()
    if space:
        became = became | {"\n": " "}
    cased, ignorable = _sigma_context()
    table = np.zeros(17 << 16, np.uint64)
    table[_codes("".join(re.findall(r"\s", assigned())))] = _WHITE
    table[cased] |= _CASED
    table[ignorable] |= _IGNORABLE
    longer, growth = bytearray(), 1
    for c, text in became.items():
        utf8 = text.encode()
        held = utf8
        entry = _CHANGED
        if len(utf8) > 4:
            assert len(utf8) <= _LONGEST  # no decomposition is longer than four characters
            held = (len(longer) // 8).to_bytes(4, "little")
            longer += utf8.ljust(_LONGEST, b"\0")
            entry |= _LONG
        table[ord(c)] |= entry | np.uint64(int.from_bytes(held, "little") | len(utf8) << 32)
        growth = max(growth, -(-len(utf8) // len(c.encode())))
    table[ord("Σ")] |= _SIGMA
    table[_codes("".join(_moving(became)))] |= _CHANGED | _MOVES
    pages: dict[bytes, int] = {}
    page_of = [pages.setdefault(page.tobytes(), len(pages)) for page in table.reshape(-1, 64)]
    return _Table(np.array(page_of, np.uint16), np.frombuffer(b"".join(pages), np.uint64), np.frombuffer(bytes(longer), np.uint64), growth)


def _codes(text: str) -> Array:
    """uint32 of each character."""
    return np.frombuffer(text.encode("utf-32-le"), np.uint32)


def _became() -> dict[str, str]:
    """What the Python function makes of each character that it changes."""
    text = assigned()
    some = [*map(chr, range(0x80)), *map(chr, replaced())]
    for low in range(0, len(text), 256):
        block = text[low : low + 256]
        apart = _SEPARATOR.join(block)  # most blocks are of ideographs, and seen at a glance to stay
        if apart.lower() != apart or not unicodedata.is_normalized("NFD", apart):
            some += block
    some = list(dict.fromkeys(some))
    found = normalise(_SEPARATOR + _SEPARATOR.join(some) + _SEPARATOR).split(_SEPARATOR)[1:-1]
    return {c: text for c, text in zip(some, found, strict=True) if c != text}


def _moving(became: dict[str, str]) -> list[str]:
    """The characters that are, or become, such as canonical decomposition may move and the normaliser keeps."""
    marks = {c for c in assigned() if unicodedata.combining(c) and unicodedata.category(c) != "Mn"}
    return [*marks, *(c for c, text in became.items() if not marks.isdisjoint(text))]


def _sigma_context() -> tuple[Array, Array]:
    """(cased, ignorable): uint32 code points, as str.lower takes them where it tells whether a capital sigma ends a word."""
    codes = _codes(assigned().replace(_DOTTED_I, ""))
    cased, either = (_makes_final(before, codes) for before in ";a")
    return np.append(codes[cased], np.uint32(ord(_DOTTED_I))), codes[either & ~cased]


def _makes_final(before: str, codes: Array) -> Array:
    """Whether a capital sigma between `before` with each character and a semicolon becomes a final one."""
    text = np.empty((len(codes), 4), np.uint32)
    text[:] = np.column_stack(np.broadcast_arrays(ord(before), codes, ord("Σ"), ord(";")))
    final: Array = _codes(text.tobytes().decode("utf-32-le").lower())[2::4] == ord("ς")
    return final


def normalise_spans(data: Array, start: Array, end: Array, space: bool = False) -> list[bytes]:
    """What `normalise` makes of each span of valid UTF-8, as UTF-8; with `space`, line feeds become spaces before it does.

    `data` is uint8, `start` and `end` are integer positions in it. Costs up to three times the bytes of all spans in memory.
    """
    if not len(start):
        return []
    table = _table(space)
    start, end = start.astype(np.int64), end.astype(np.int64)
    if len(data) < 9:  # so that there are two words, in a view that is not contiguous
        data = np.concatenate((data, np.zeros(9, np.uint8)))
    data = data.view()
    data.flags.writeable = False  # as the buffers of Arrow are: one kind of array to compile for
    out = np.empty(int((end - start).sum()) * table.growth + _SLACK, np.uint8)
    places = _normalise_spans(data, _words(data), start, end, _words(out), table.page_of, table.pages, table.longer).tolist()
    return [out[low:high].tobytes() if high >= 0 else _by_python(data[start[n] : end[n]], space) for n, (low, high) in enumerate(places)]


def _by_python(utf8: Array, space: bool) -> bytes:
    text = utf8.tobytes().decode()
    return normalise(text.replace("\n", " ") if space else text).encode()


@njit(cache=True)
def _normalise_spans(data, words, start, end, out_words, page_of, pages, longer):
    """int64[spans, 2]: where the normal form of each begins and ends; an end of -1 where a character may move."""
    places = np.zeros((len(start), 2), np.int64)
    o = np.int64(0)
    for n in range(len(start)):
        low, high = _strip(data, start[n], end[n], page_of, pages)
        stop = _normalise(data, words, low, high, out_words, o, page_of, pages, longer)
        places[n, 0], places[n, 1] = o, stop
        o = max(o, stop)
    return places


@njit(cache=True, inline="always")
def _normalise(data, words, start, stop, out_words, o, page_of, pages, longer):
    """Write the normal form of data[start:stop], which has been stripped, from o on; returns where it ends, -1 where a character may move.

    As in `curate.kernels.lines`: ASCII eight bytes at a time up to the first byte that is none or is a control character, the others
    one character at a time until two ASCII bytes follow. What has been written behind the end means nothing.
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
            if w & _TWO_BYTES == _IS_TWO_BYTES and i + 1 < stop:
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
                out_words[np.uint64(o)] = entry & _UTF8
                if entry & _RARE:
                    if entry & _MOVES:
                        return np.int64(-1)
                    if entry & _LONG:
                        at = entry & _UTF8
                        out_words[np.uint64(o)] = longer[at]
                        out_words[np.uint64(o + 8)] = longer[at + np.uint64(1)]
                    elif _is_final(data, start, stop, i, page_of, pages):
                        out_words[np.uint64(o)] = entry & _UTF8 ^ _TO_FINAL
                o += np.int64(entry >> _LENGTH & _LENGTH_BITS)
            i += width
            if i + 1 < stop and (data[np.uint64(i)] | data[np.uint64(i + 1)]) < 0x80:
                break
    return o
