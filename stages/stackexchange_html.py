"""The text of a post's HTML, as BeautifulSoup(html, "lxml").get_text() has it, which RedPajama calls: without BeautifulSoup.

What the sites' own Markdown makes (well-nested elements of a few kinds, all closed) is read by a kernel; whatever else there is, lxml
parses, and `_Strings` keeps what BeautifulSoup would: strings of nothing but white space become one line feed or space, unless in <pre>,
and what stands in <script>, <style>, <template>, <rp> and <rt> is no text. Both are held to BeautifulSoup by tests. One core: 440 MB/s
of HTML by the kernel, 10 by lxml; of real posts, of which 1 % go there, 280, which is 50 times BeautifulSoup.
Elements nested deeper than DEEPEST_PARSED have no text here: for every end tag without a start libxml2 looks through all that are open,
which took minutes for a body of 4 MB.
"""

from __future__ import annotations

from functools import cache
from html.entities import html5, name2codepoint
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numba import njit

from curate.batch import Array, Batch
from curate.kernels.text import put

SPACES = " \n\t\f\r"
KEEPING = {"pre", "textarea"}
UNSEEN = {"script", "style", "template", "rp", "rt"}
DEEPEST = 32  # elements around each other that the kernel follows
DEEPEST_PARSED = 512  # elements around each other that lxml may open; ours: what browsers bear. 4 MB take 3 s at most
MANY_TAGS = 2048  # as many may be opened and closed at once
PIECE = 16 << 10  # characters of a document with more tags that lxml is given before its depth is asked for
LONGEST_ENTITY = 9  # of HTML 4, with its semicolon
_LT, _GT, _AMPERSAND, _SEMICOLON, _SLASH, _EQUALS, _QUOTE, _HASH = (ord(c) for c in '<>&;/="#')
_LF, _CR, _TAB, _SPACE = 10, 13, 9, 32
INLINE, BLOCK, VOID, RULE, PRE, PARAGRAPH = range(1, 7)
KINDS = {
    INLINE: "a b big cite code del em i ins kbd s samp small span strike strong sub sup tt u var",
    BLOCK: "blockquote div ol ul",
    VOID: "br img",
    RULE: "hr",
    PRE: "pre",
    PARAGRAPH: "p h1 h2 h3 h4 h5 h6",
}


def text_of(html: pa.LargeStringArray) -> pa.LargeStringArray:
    """The text of each; null for what is nested too deeply. Nulls have an empty one."""
    data, start, end = Batch.of(pa.record_batch([html], ["text"])).utf8
    out, ends, plain = texts(data, start, end, *TAGS, *ENTITIES)
    found = pa.Array.from_buffers(pa.large_string(), len(html), [None, pa.py_buffer(ends), pa.py_buffer(out)])
    rest = np.flatnonzero(~plain)
    if not len(rest):
        return found
    return pc.replace_with_mask(found, pa.array(~plain), pa.array(map(parsed, html.take(pa.array(rest)).to_pylist()), pa.large_string()))


def parsed(html: str) -> str | None:
    """The text of any HTML that is not nested too deeply."""
    for tag, mark in (("<li>", "\n*"), ("</li>", ""), ("<ol>", "\n*"), ("</ol>", "")):  # RedPajama's, before it parses
        html = html.replace(tag, mark)
    html = html.removeprefix("\ufeff")
    size = len(html) if html.count("<") <= MANY_TAGS else PIECE
    parser = _parser()
    try:
        for at in range(0, max(len(html), 1), max(size, 1)):
            parser.feed(html[at : at + size])
        return str(parser.close())
    except _TooDeep:
        _parser.cache_clear()
        return None


@cache
def _parser() -> Any:
    """One does for all documents of a process."""
    from lxml import etree

    return etree.HTMLParser(target=_Strings(), recover=True)


class _TooDeep(Exception):
    """Raised for lxml, which then takes no further piece."""


class _Strings:
    """What lxml tells of a document."""

    def __init__(self) -> None:
        self._kept: list[str] = []
        self._run: list[str] = []
        self._open: list[str] = []
        self._keeping = self._unseen = 0  # of those that are open

    def start(self, tag: str, attributes: Any) -> None:  # noqa: ARG002
        if self._run:
            self._end()
        self._open.append(tag)
        if len(self._open) > DEEPEST_PARSED:
            raise _TooDeep
        self._count(tag, 1)

    def end(self, tag: str) -> None:
        if self._run:
            self._end()
        if self._open and (self._open[-1] == tag or tag in self._open):
            while (last := self._open.pop()) != tag:
                self._count(last, -1)
            self._count(tag, -1)

    def data(self, text: str) -> None:
        self._run.append(text)

    def comment(self, text: str) -> None:  # noqa: ARG002
        self._end()

    def pi(self, target: str, data: str | None = None) -> None:  # noqa: ARG002
        self._end()

    def doctype(self, *ids: str | None) -> None:  # noqa: ARG002
        self._end()

    def close(self) -> str:
        self._end()
        text = "".join(self._kept)
        self.__init__()  # type: ignore[misc]  # for the next document
        return text

    def _count(self, tag: str, more: int) -> None:
        if tag in KEEPING:
            self._keeping += more
        elif tag in UNSEEN:
            self._unseen += more

    def _end(self) -> None:
        """Of a run of characters."""
        text = "".join(self._run)
        self._run.clear()
        if not text or self._unseen:
            return
        if not self._keeping and not text.strip(SPACES):
            text = "\n" if "\n" in text else " "
        self._kept.append(text)


def _name(name: str) -> int:
    """A tag's name as a number, one for each name of at most twelve letters and digits."""
    number = 0
    for c in name:
        number = number * 37 + (ord(c) - 0x60 if c >= "a" else ord(c) - 0x15)
    return number


def _entity(name: str) -> int:
    """Likewise of a reference's, of at most eight ASCII characters."""
    number = 0
    for c in name:
        number = number << 7 | ord(c)
    return number


def _table(values: dict[int, int]) -> tuple[Array, Array]:
    """(key, value), each at the key modulo the table's length."""
    length = next(n for n in range(len(values), 1 << 16) if len({k % n for k in values}) == len(values))
    table = np.zeros((2, length), np.int64)
    for key, value in values.items():
        table[:, key % length] = key, value
    return table[0], table[1]


TAGS = _table({_name(name): kind for kind, names in KINDS.items() for name in names.split()})
ENTITIES = _table({_entity(name): ord(html5[f"{name};"]) for name in name2codepoint})
LI, OL, A, UL = (_name(name) for name in ("li", "ol", "a", "ul"))


@njit(cache=True)
def _tag(data, i, stop):
    """(name as a number, position behind) of a tag whose name begins at `i`; -1 for one that is not of the plain form
    `name attribute="value" ...>`."""
    name = 0
    length = 0
    while i < stop:
        c = data[i]
        if 0x61 <= c <= 0x7A:
            name = name * 37 + (c - 0x60)
        elif 0x30 <= c <= 0x39 and length:
            name = name * 37 + (c - 0x15)
        else:
            break
        length += 1
        i += 1
    if not 1 <= length <= 12:
        return -1, i
    while i < stop and data[i] == _SPACE:
        i += 1
        low = i
        while i < stop and (0x61 <= data[i] <= 0x7A or data[i] == 0x2D):
            i += 1
        if i == low:
            break
        if i + 1 >= stop or data[i] != _EQUALS or data[i + 1] != _QUOTE:
            return -1, i
        i += 2
        while i < stop and data[i] != _QUOTE and data[i] != _LT and data[i] != _GT and data[i] != 0:
            i += 1
        if i >= stop or data[i] != _QUOTE:
            return -1, i
        i += 1
    if i + 1 < stop and data[i] == _SLASH and data[i + 1] == _GT:
        i += 1
    if i >= stop or data[i] != _GT:
        return -1, i
    return name, i + 1


@njit(cache=True)
def _reference(data, i, stop, entities, points):
    """(code point, position behind) of a reference whose `&` is at `i`; -1 for all but the usual ones."""
    name = 0
    value = 0
    is_number = i + 2 < stop and data[i + 1] == _HASH
    i += 1 + is_number
    low = i
    while i < min(stop, low + LONGEST_ENTITY):
        c = data[i]
        if c == _SEMICOLON:
            break
        is_digit = 0x30 <= c <= 0x39
        if not is_digit and (is_number or not 0x41 <= (c & 0xDF) <= 0x5A):
            return -1, i
        name = name << 7 | c
        value = value * 10 + (c - 0x30)
        i += 1
    if i >= stop or data[i] != _SEMICOLON or i == low:
        return -1, i
    if is_number:
        if value < _SPACE or 0x7F <= value < 0xA0 or 0xD800 <= value < 0xE000 or value > 0xFFFD:
            return -1, i
        return value, i + 1
    slot = name % len(entities)
    return (points[slot] if entities[slot] == name else -1), i + 1


@njit(cache=True, inline="always")
def _is_space(c):
    return (c == _SPACE) | (c == _LF) | (c == _TAB)


@njit(cache=True)
def _close_run(out, first, o, preserved):
    """Where the next run begins: one of white space becomes a single character."""
    if preserved or first == o:
        return o
    feed = False
    for k in range(first, o):
        if not _is_space(out[k]):
            return o
        feed |= out[k] == _LF
    out[first] = _LF if feed else _SPACE
    return first + 1


@njit(cache=True)
def _text(data, i, stop, names, kinds, entities, points, open_, out, o):
    """Where the text ends that is written at `o`, or -1 where the HTML is not plain."""
    if stop - i >= 3 and data[i] == 0xEF and data[i + 1] == 0xBB and data[i + 2] == 0xBF:  # a byte order mark
        return -1
    begun = False  # white space before all else is dropped
    first = o  # of the run of characters between two tags
    depth = 0
    inner = 0  # elements that hold no blocks
    pre = False
    while i < stop:
        c = data[i]
        if c == _LT:
            closing = i + 1 < stop and data[i + 1] == _SLASH
            begin = i + 1 + closing
            name, behind = _tag(data, begin, stop)
            if name < 0:
                return -1
            if name == LI and behind - begin != 3:
                return -1
            if (name == LI) | (name == OL) and behind - begin == 3:  # replaced before parsing: so `<ol start="2">` stays open
                if not closing:
                    if begun:
                        out[o] = _LF
                        o += 1
                    out[o] = 0x2A
                    o += 1
                    begun = True
                i = behind
                continue
            begun = True
            slot = name % len(names)
            kind = kinds[slot] if names[slot] == name else 0
            if kind == 0 or (kind != INLINE and not closing and inner and kind != VOID):
                return -1
            o = _close_run(out, first, o, pre)
            first = o
            if closing:
                while depth and names[open_[depth - 1]] == OL:
                    depth -= 1
                if not depth or open_[depth - 1] != slot or data[behind - 2] == _SLASH or data[behind - 2] == _SPACE:
                    return -1
                depth -= 1
                inner -= kind != BLOCK
                pre &= kind != PRE
            elif kind != VOID and kind != RULE:
                if depth == len(open_) or data[behind - 2] == _SLASH:
                    return -1
                around = names[open_[depth - 1]] if depth else 0
                if (name == A and around == A) or (kind == PRE and around in (UL, OL)):  # lxml closes what is around it
                    return -1
                open_[depth] = slot
                depth += 1
                inner += kind != BLOCK
                pre |= kind == PRE
            i = behind
        elif c == _AMPERSAND:
            point, behind = _reference(data, i, stop, entities, points)
            if point < 0:
                return -1
            o = put(out, o, point)
            i = behind
            begun = True
        else:
            if c < _SPACE and c != _LF and c != _TAB:
                if c != _CR or i + 1 >= stop or data[i + 1] != _LF:
                    return -1
                i += 1
                c = np.uint8(_LF)
            if begun or not _is_space(c):
                begun = True
                out[o] = c
                o += 1
            i += 1
    while depth and names[open_[depth - 1]] == OL:
        depth -= 1
    if depth:
        return -1
    return _close_run(out, first, o, False)


@njit(cache=True)
def texts(data, start, end, names, kinds, entities, points):
    """(bytes, ends of the texts among them, whether each was plain: the text of others is empty)."""
    size = 0
    for d in range(len(start)):
        size += end[d] - start[d]
    out = np.empty(size, np.uint8)
    ends = np.zeros(len(start) + 1, np.int64)
    plain = np.ones(len(start), np.bool_)
    open_ = np.empty(DEEPEST, np.int64)
    for d in range(len(start)):
        found = _text(data, np.int64(start[d]), np.int64(end[d]), names, kinds, entities, points, open_, out, ends[d])
        plain[d] = found >= 0
        ends[d + 1] = found if found >= 0 else ends[d]
    return out[: ends[-1]], ends, plain
