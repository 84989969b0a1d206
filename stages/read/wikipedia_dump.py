"""The pages of a MediaWiki XML dump (`pages-articles`, export formats 0.3 to 0.11), each by itself.

A dump is searched for `<page>` and `</page>`, and expat is given what lies between: so damage costs the page that it is in, no page is
held that is larger than a limit, and there is no document type whose entities could blow up. A page belongs to the cell (`wikipedia_cells`)
in which it begins; a cell is read on until its last page ends. A comment is passed over where it begins and ends in one cell, within
`LONGEST_COMMENT`. One core finds pages at 700 MB/s and parses them at 250.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import IO, NamedTuple
from xml.parsers import expat

from stages.read.wikipedia_cells import MOST_ENDS, RAW, Fault, unpacked

LARGEST_HEAD = 1 << 20  # bytes before the first page in which its wiki is looked for
LONGEST_TAG = 128  # no match of TAG is longer
LONGEST_COMMENT = 1 << 20  # bytes: one that does not end before is none
TAG = re.compile(rb"<(?:[A-Za-z_][\w.-]{0,63}:)?page(?=[\s/>])|<(/)(?:[A-Za-z_][\w.-]{0,63}:)?page\s{0,40}+>|<(!--)")
ROOT = re.compile(rb"<(?:[A-Za-z_][\w.-]{0,63}:)?mediawiki[\s>]")
VERSION = re.compile(rb"<(?:[A-Za-z_][\w.-]{0,63}:)?mediawiki(?=\s)[^>]{0,2000}?\sversion\s{0,9}=\s{0,9}[\"'](\d{1,3}(?:\.\d{1,3})?)[\"']")
ROOT_END = re.compile(rb"</(?:[A-Za-z_][\w.-]{0,63}:)?mediawiki\s*+>\s*+\Z")
SITE = re.compile(rb"<(?:[A-Za-z_][\w.-]{0,63}:)?siteinfo[\s>]")
SITE_END = re.compile(rb"</(?:[A-Za-z_][\w.-]{0,63}:)?siteinfo\s*+>")
DOCTYPE = re.compile(rb"<!DOCTYPE\b", re.IGNORECASE)
ENCODING = re.compile(rb"\A\s*<\?xml[^>]{0,200}?encoding\s{0,9}=\s{0,9}[\"'](?!utf-?8[\"']|us-ascii[\"'])([^\"'>]{1,40})", re.IGNORECASE)
DEEPEST = 3  # elements around each other, of those that are looked for
UTF16 = (b"\xff\xfe", b"\xfe\xff", b"<\0", b"\0<")


class Head(NamedTuple):
    """What a dump says of its wiki; comes once, before all pages."""

    dbname: str = ""
    base: str = ""  # URL of the main page
    namespaces: dict[str, int] = {}  # noqa: RUF012  # number of each by its name; never changed
    has_root: bool = False  # there is a <mediawiki>, so its end is to come
    version: str = ""  # of the export format


class Fragment(NamedTuple):
    """The bytes of one page."""

    offset: int
    data: bytes


class Page(NamedTuple):
    """A page; what it does not say is None."""

    id: str | None
    title: str | None
    namespace: str | None
    redirect: bool
    model: str | None
    timestamp: str | None
    text: str | None


def fragments(
    file: IO[bytes], largest: int, low: int = 0, high: int | None = None, head: Head | None = None
) -> Iterator[Head | Fragment | Fault]:
    """A dump's head, then its pages in order, with what could not be read in its place. With `head`, those of one cell, and no head."""
    return _Framing(largest, head, low).run(unpacked(file, low, high))


class _Framing:
    """Cuts a cell into pages; holds one page and a block."""

    def __init__(self, largest: int, head: Head | None, low: int):
        self.largest, self.head, self.low = largest, head, low
        self.buffer = bytearray()
        self.base = 0  # offset of the buffer's first byte
        self.at = 0  # in the buffer: up to here it has been searched
        self.endless = 0  # offset up to which no open comment ends
        self.inside = False  # of a page, which begins with the buffer
        self.offset = 0  # where that page begins
        self.large: bytes | None = None  # how that page begins, if it is too large to be held
        self.limit: int | None = None  # pages from here on are the next cell's
        self.opening = b""  # before damage, where there was no page yet
        self.lost: list[Fault] = []  # likewise: of the whole file, if no page comes
        self.done = self.broken = False
        self.is_open = not low  # it has <mediawiki> or a page in it, and not only the rest of a page

    def run(self, pieces: Iterator[bytes | Fault | None]) -> Iterator[Head | Fragment | Fault]:
        for piece in pieces:
            if piece is None:
                self.limit = self.base + len(self.buffer)
            elif not isinstance(piece, Fault):
                yield from self._add(piece)
            elif self.limit is None or self.inside:
                yield from self._break(piece.reason, piece.raw)
            if self.done or (self.limit is not None and not self.inside and self.base + self.at >= self.limit):
                return
        yield from self._end()

    def _add(self, piece: bytes) -> Iterator[Head | Fragment | Fault]:
        self.buffer += piece
        self.broken = False
        yield from self._pages()
        if self.inside and len(self.buffer) > self.largest:
            self.large = self.large or bytes(self.buffer[:RAW])
            self._drop(self.at)
        elif not self.inside and (self.head is not None or len(self.opening) + len(self.buffer) > LARGEST_HEAD):
            yield from self._begin()
            self._drop(self.at)

    def _pages(self, *, last: bool = False) -> Iterator[Head | Fragment | Fault]:
        """What is complete in the buffer; in the `last` one a comment without an end is none."""
        while not self.done and (tag := TAG.search(self.buffer, self.at)):
            start, stop = tag.span()
            if tag[2]:
                behind = self._behind_comment(start)
                if behind is None and not last:
                    self.at = start
                    return
                self.at = behind or stop
                continue
            if not tag[1]:
                if self.inside:
                    yield Fault(self.offset, "the next page begins before this one ends", self._raw(start))
                else:
                    yield from self._begin(start)
                self.done = self.done or (self.limit is not None and self.base + start >= self.limit)
                self._drop(start)
                self.inside, self.offset, self.large, self.at = True, self.base, None, stop - start
            else:
                if self.inside and self.large is None and stop <= self.largest:
                    yield Fragment(self.offset, bytes(self.buffer[:stop]))
                elif self.inside:
                    yield Fault(self.offset, f"the page is larger than {self.largest:,} bytes", self._raw(stop))
                self._drop(stop)
                self.inside = False
            self.is_open = True
        self.at = max(self.at, len(self.buffer) - LONGEST_TAG)

    def _behind_comment(self, start: int) -> int | None:
        """Where to go on: behind the comment, or in it where it is none. None where its end may be to come."""
        low, high = max(start + len("<!--"), self.endless - self.base), start + LONGEST_COMMENT
        end = self.buffer.find(b"-->", low, high)
        if end >= 0:
            return end + len("-->")
        self.endless = self.base + max(low, min(len(self.buffer), high) - 2)  # so that many that do not end are looked through once
        return None if len(self.buffer) < high else start + len("<!--")

    def _begin(self, stop: int | None = None) -> Iterator[Head | Fault]:
        """The head, once; a file that is no dump has none."""
        if self.head is not None:
            return
        data = self.opening + self.buffer[:stop]
        reason = _refused(data, stop is not None)
        if reason and not self.lost:
            yield Fault(0, reason, data[:RAW], whole_file=True)
        for number, fault in enumerate(self.lost):
            yield fault._replace(whole_file=bool(reason) and not number)
        self.lost = []
        if reason:
            self.done = True
        else:
            version = VERSION.search(data)
            self.head = _head(data)._replace(has_root=ROOT.search(data) is not None, version=version[1].decode() if version else "")
            yield self.head

    def _break(self, reason: str, raw: bytes) -> Iterator[Head | Fragment | Fault]:
        """Nothing joins on to what is in the buffer."""
        yield from self._pages(last=True)
        fault = Fault(self.base + len(self.buffer), reason, raw)
        if self.inside:
            yield Fault(self.offset, f"the page breaks off: {reason}", self._raw(len(self.buffer)))
        elif self.head is not None:
            yield fault
        elif len(self.lost) < MOST_ENDS:
            self.lost.append(fault)
            self.opening += self.buffer
        self._drop(len(self.buffer))
        self.inside, self.broken = False, True

    def _end(self) -> Iterator[Head | Fragment | Fault]:
        yield from self._pages(last=True)
        if self.inside:
            yield from self._break("the file ends", b"")
        yield from self._begin()
        may_end = self.broken or not self.is_open or self.head is None or self.limit is not None or not self.head.has_root
        if not may_end and not ROOT_END.search(self.buffer[-4 * LONGEST_TAG :]):
            yield Fault(self.base + len(self.buffer), "the file ends before </mediawiki>: some pages are missing")

    def _raw(self, stop: int) -> bytes:
        return bytes(self.buffer[: min(stop, RAW)]) if self.large is None else self.large

    def _drop(self, count: int) -> None:
        del self.buffer[:count]
        self.base += count
        self.at = max(self.at - count, 0)


def _refused(head: bytes, has_pages: bool) -> str:
    """Why a file is not read at all; "" for a dump."""
    if head.startswith(UTF16):
        return "a dump is UTF-8, and this is UTF-16"
    if found := ENCODING.match(head.removeprefix(b"\xef\xbb\xbf")):
        return f"a dump is UTF-8, and this says {found[1].decode('latin-1')}"
    if not has_pages and not ROOT.search(head):
        return f"no MediaWiki dump: it begins with {head[:24]!r}"
    return "a dump has no DOCTYPE, and this has: its entities are not expanded" if DOCTYPE.search(head) else ""


class _Elements:
    """The text of some elements of a small XML document, by their path below the root; the first of each."""

    def __init__(self, wanted: frozenset[tuple[str, ...]]):
        self.wanted = wanted
        self.found: dict[tuple[str, ...], str] = {}
        self.namespaces: dict[str, int] = {}
        self._path: list[str] = []  # of the innermost open element, down to the depth that matters
        self._depth = 0
        self._text: list[str] | None = None
        self._key = ""

    def parse(self, data: bytes) -> None:
        """Raises ExpatError."""
        parser = expat.ParserCreate("utf-8")  # whatever is in `data`, it begins with an element: there can be no DOCTYPE
        parser.buffer_text = True
        parser.buffer_size = 1 << 16
        parser.StartElementHandler, parser.EndElementHandler = self._start, self._end
        parser.CharacterDataHandler = self._characters
        parser.Parse(data, True)

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._text = None
        self._depth += 1
        if self._depth > DEEPEST:
            return
        self._path.append(name.rpartition(":")[2])
        path = tuple(self._path[1:])
        if path in self.wanted and (path not in self.found or path == NAMESPACE):
            self._text, self._key = [], attributes.get("key", "")

    def _characters(self, data: str) -> None:
        if self._text is not None:
            self._text.append(data)

    def _end(self, name: str) -> None:  # noqa: ARG002  # expat's signature
        if self._text is not None:
            path, text = tuple(self._path[1:]), "".join(self._text)
            self.found[path] = text
            if path == NAMESPACE and re.fullmatch(r"-?\d{1,9}", self._key):
                self.namespaces[text] = int(self._key)
        self._text = None
        self._depth -= 1
        del self._path[self._depth :]


NAMESPACE = ("namespaces", "namespace")
OF_SITE = frozenset((("dbname",), ("base",), NAMESPACE))
ID, TITLE, NS, REDIRECT = ("id",), ("title",), ("ns",), ("redirect",)
MODEL, TIMESTAMP, TEXT = ("revision", "model"), ("revision", "timestamp"), ("revision", "text")
OF_PAGE = frozenset((ID, TITLE, NS, REDIRECT, MODEL, TIMESTAMP, TEXT))


def _head(data: bytes) -> Head:
    start = SITE.search(data)
    end = SITE_END.search(data, start.end()) if start else None
    if start is None or end is None:
        return Head()
    elements = _Elements(OF_SITE)
    try:
        elements.parse(data[start.start() : end.end()])
    except expat.ExpatError:
        return Head()
    found = elements.found
    return Head(found.get(("dbname",), "").strip(), found.get(("base",), "").strip(), elements.namespaces)


def parse(data: bytes) -> Page:
    """A page from its bytes: of several revisions the first. Raises ExpatError where it is not well-formed UTF-8 XML."""
    elements = _Elements(OF_PAGE)
    elements.parse(data)
    get = elements.found.get
    return Page(get(ID), get(TITLE), get(NS), REDIRECT in elements.found, get(MODEL), get(TIMESTAMP), get(TEXT))
