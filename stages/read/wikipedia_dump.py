"""The pages of a MediaWiki XML dump (`pages-articles`, export formats 0.3 to 0.11), each by itself.

A dump is searched for `<page>` and `</page>`, and expat is given what lies between: so damage costs the page that it is in, no page is
held that is larger than a limit, and there is no document type whose entities could blow up. bzip2, gzip or plain, told by the first
bytes; bzip2 in many streams, as `multistream` dumps are. Behind a corrupt stream the next one is looked for. One core finds pages at
700 MB/s and parses them at 250; bzip2 unpacks 27 MB/s.
"""

from __future__ import annotations

import bz2
import re
import zlib
from collections.abc import Callable, Iterator
from typing import IO, Any, NamedTuple
from xml.parsers import expat

FEED = 4 << 10  # bytes given to a decompressor at once: gzip makes at most 4 MB of them, and so much is lost where a stream breaks
BLOCK = 1 << 20
RAW = 64 << 10  # bytes of a bad page that are kept
MOST_ENDS = 16  # times that a stream may swallow the rest of the file without giving anything
LARGEST_HEAD = 1 << 20  # bytes before the first page in which its wiki is looked for
LONGEST_TAG = 128  # no match of TAG is longer
BZIP2 = re.compile(rb"BZh[1-9](?:1AY&SY|\x17rE8P\x90)")
GZIP = re.compile(rb"\x1f\x8b\x08[\0-\x1f]")
TAG = re.compile(rb"<(/?)(?:[A-Za-z_][\w.-]{0,63}:)?page(?=[\s/>])")
ROOT = re.compile(rb"<(?:[A-Za-z_][\w.-]{0,63}:)?mediawiki[\s>]")
ROOT_END = re.compile(rb"</(?:[A-Za-z_][\w.-]{0,63}:)?mediawiki\s*+>\s*+\Z")
SITE = re.compile(rb"<(?:[A-Za-z_][\w.-]{0,63}:)?siteinfo[\s>]")
SITE_END = re.compile(rb"</(?:[A-Za-z_][\w.-]{0,63}:)?siteinfo\s*+>")
DOCTYPE = re.compile(rb"<!DOCTYPE\b", re.IGNORECASE)
ENCODING = re.compile(rb"\A\s*<\?xml[^>]{0,200}?encoding\s{0,9}=\s{0,9}[\"'](?!utf-?8[\"']|us-ascii[\"'])([^\"'>]{1,40})", re.IGNORECASE)
DEEPEST = 3  # elements around each other, of those that are looked for
UTF16 = (b"\xff\xfe", b"\xfe\xff", b"<\0", b"\0<")


class Fault(NamedTuple):
    """What could not be read. `offset` is of the uncompressed dump."""

    offset: int
    reason: str
    raw: bytes = b""
    whole_file: bool = False


class Head(NamedTuple):
    """What a dump says of its wiki; comes once, before all pages."""

    dbname: str = ""
    base: str = ""  # URL of the main page
    namespaces: dict[str, int] = {}  # noqa: RUF012  # number of each by its name; never changed


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


def fragments(file: IO[bytes], largest: int) -> Iterator[Head | Fragment | Fault]:
    """A dump's head, then its pages in order, with what could not be read in its place."""
    return _Framing(largest).run(_unpacked(file))


class _Framing:
    """Cuts the dump into pages; holds one page and a block."""

    def __init__(self, largest: int):
        self.largest = largest
        self.buffer = bytearray()
        self.base = 0  # offset of the buffer's first byte
        self.at = 0  # in the buffer: up to here it has been searched
        self.inside = False  # of a page, which begins with the buffer
        self.offset = 0  # where that page begins
        self.large: bytes | None = None  # how that page begins, if it is too large to be held
        self.head: Head | None = None
        self.refused = self.has_root = self.broken = False

    def run(self, pieces: Iterator[bytes | Fault]) -> Iterator[Head | Fragment | Fault]:
        for piece in pieces:
            if isinstance(piece, Fault):
                yield from self._break(piece.reason, piece.raw)
                continue
            self.buffer += piece
            self.broken = False
            yield from self._pages()
            if self.inside and len(self.buffer) > self.largest:
                self.large = self.large or bytes(self.buffer[:RAW])
                self._drop(self.at)
            elif not self.inside and (self.head is not None or len(self.buffer) > LARGEST_HEAD):
                yield from self._begin()
                self._drop(self.at)
            if self.refused:
                return
        yield from self._end()

    def _pages(self) -> Iterator[Head | Fragment | Fault]:
        """What is complete in the buffer."""
        while tag := TAG.search(self.buffer, self.at):
            start, stop = tag.span()
            if not tag[1]:
                if self.inside:
                    yield Fault(self.offset, "the next page begins before this one ends", self._raw(start))
                else:
                    yield from self._begin(start)
                    if self.refused:
                        return
                self._drop(start)
                self.inside, self.offset, self.large, self.at = True, self.base, None, stop - start
            elif (end := self.buffer.find(b">", stop, start + LONGEST_TAG) + 1) == 0:
                if len(self.buffer) < start + LONGEST_TAG:
                    self.at = start
                    return
                self.at = stop
            else:
                if self.inside and self.large is None and end <= self.largest:
                    yield Fragment(self.offset, bytes(self.buffer[:end]))
                elif self.inside:
                    yield Fault(self.offset, f"the page is larger than {self.largest:,} bytes", self._raw(end))
                self._drop(end)
                self.inside = False
        self.at = max(self.at, len(self.buffer) - LONGEST_TAG)

    def _begin(self, stop: int | None = None) -> Iterator[Head | Fault]:
        """The head, once; a file that is no dump has none."""
        if self.head is not None:
            return
        data = bytes(self.buffer[:stop])
        if reason := _refused(data, stop is not None):
            self.refused = True
            yield Fault(0, reason, data[:RAW], whole_file=True)
            return
        self.has_root = ROOT.search(data) is not None
        self.head = _head(data)
        yield self.head

    def _break(self, reason: str, raw: bytes) -> Iterator[Head | Fault]:
        """Nothing joins on to what is in the buffer."""
        if self.head is None and not self.buffer and not self.base:
            yield Fault(0, reason, raw, whole_file=True)
        elif self.inside:
            yield Fault(self.offset, f"the page breaks off: {reason}", self._raw(len(self.buffer)))
        else:
            yield Fault(self.base + len(self.buffer), reason, raw)
        self._drop(len(self.buffer))
        self.inside, self.broken = False, True
        self.head = self.head or Head()

    def _end(self) -> Iterator[Head | Fault]:
        if self.inside:
            yield from self._break("the file ends", b"")
        elif self.head is None:
            yield from self._begin()
        if self.has_root and not self.broken and not ROOT_END.search(self.buffer[-4 * LONGEST_TAG :]):
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
    if DOCTYPE.search(head):
        return "a dump has no DOCTYPE, and this has: its entities are not expanded"
    return "" if has_pages or ROOT.search(head) else f"no MediaWiki dump: it begins with {head[:24]!r}"


def _unpacked(file: IO[bytes]) -> Iterator[bytes | Fault]:
    """The dump in pieces of bounded size; a Fault where something is missing."""
    first = file.read(16)
    file.seek(0)
    if GZIP.match(first):
        yield from _streams(file, "gzip", lambda: zlib.decompressobj(31), GZIP)
    elif first.startswith(b"BZh"):
        yield from _streams(file, "bzip2", bz2.BZ2Decompressor, BZIP2)
    else:
        while block := file.read(BLOCK):
            yield block


def _streams(file: IO[bytes], name: str, new: Callable[[], Any], magic: re.Pattern[bytes]) -> Iterator[bytes | Fault]:
    """Streams one after another. Of a corrupt one, what came before the damage; then the next that can be found."""
    data = b""
    start = 0  # where the stream begins in the file
    decoder: Any = None
    silent = True  # it has given nothing yet
    ends = 0  # how often the end of the file has been reached
    while True:
        data = data or file.read(FEED)
        read, ended = file.tell(), not data
        if decoder is None:
            data = data.lstrip(b"\0")  # tapes pad with zeros
            if ended:
                return
            if not data:
                continue
            start, decoder, silent = read - len(data), new(), True
        reason = f"is cut off at byte {read:,}" if ended else ""
        try:
            for piece in () if ended else _pieces(decoder, data):
                silent = silent and not piece
                yield piece
        except (OSError, zlib.error) as error:
            reason = f"is corrupt before byte {read:,}: {error}"
        if not reason:
            data, decoder = (decoder.unused_data, None) if decoder.eof else (b"", decoder)
            continue
        yield Fault(0, f"the {name} stream at byte {start:,} {reason}", data[:RAW])
        ends += ended
        if ended and (not silent or ends > MOST_ENDS):
            return  # a stream without output may have a damaged header, and others behind it
        found = _find(file, start + 1 if ended else max(start + 1, read - len(data)), magic)
        if found is None:
            return
        file.seek(found)
        data, decoder = b"", None


def _pieces(decoder: Any, data: bytes) -> Iterator[bytes]:
    """Bounded: 4 KB of bzip2 may stand for gigabytes."""
    if not hasattr(decoder, "needs_input"):
        yield decoder.decompress(data)
        return
    yield decoder.decompress(data, BLOCK)
    while not (decoder.eof or decoder.needs_input):
        yield decoder.decompress(b"", BLOCK)


def _find(file: IO[bytes], at: int, magic: re.Pattern[bytes]) -> int | None:
    file.seek(at)
    held = b""
    while block := file.read(4 * FEED):  # little: the next stream is near, or many that are none are
        held += block
        if found := magic.search(held):
            return at + found.start()
        at += max(len(held) - 16, 0)
        held = held[-16:]
    return None


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
