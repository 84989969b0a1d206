"""Books as Project Gutenberg ships them: .txt files of fifty years, in folders and mirrors, and .zip files of one.

Files are called 11-0.txt, pg1342.txt, 120-8.zip. Each is a document, whole: `gutenberg.Strip` takes header and footer off. The charset is
told by a byte order mark, else it is UTF-8 where it can be, else what the header declares, else Windows-1252: also in place of a declared
ISO-8859-1 that would give C1 controls, as browsers have it. CRLF and CR become line feeds. A mirror has a book several times (11.txt,
11-0.txt, 11-8.zip): `dedup.minhash.Books` leaves one. One core: 300 MB/s.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from curate import store
from curate.errors import RecipeError
from curate.stage import Bad, File, Shard, Skip, Source
from stages.read import gutenberg_header as header
from stages.read.columns import RAW
from stages.read.members import ZIP, Bounds, members_in
from stages.read.rows import MAX_BYTES

TEXT = re.compile(r"\.(?:txt|text|txt\.utf-?8)$", re.IGNORECASE)
ARCHIVE = re.compile(r"\.zip$", re.IGNORECASE)
NUMBERED = re.compile(r"(?:^|/)(?:pg)?0*([1-9]\d{0,5})(?:-\w+)?\.[^/]+$", re.IGNORECASE)
START = 4 << 10  # bytes in which NULs are looked for
DECLARED = 20_000  # bytes in which a charset is declared
MOST_DAMAGE = 0.01  # share of bytes that are no UTF-8 in a text that says so: these are read by themselves
WIDE = (  # the mark of UTF-32 begins as that of UTF-16
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
WINDOWS = "".join(bytes([b]).decode("cp1252", "ignore") or chr(b) for b in range(256))  # with C1 controls where it has nothing
C1 = re.compile(rb"[\x80-\x9f]")
PAGE = re.compile(r"(?:code ?page|cp|windows|ibm|dos)[ -]*(?:code ?page)?[ -]*(\d{3,4})", re.IGNORECASE)
LATIN = re.compile(r"iso[ -]*latin[ -]*(\d)", re.IGNORECASE)
KNOWN = re.compile(r"(?:cp|iso8859-)\d+|utf-8|utf-16(?:-[lb]e)?|ascii|koi8-[ru]|big5|gb\w+|shift_jis|euc_(?:jp|kr)|mac-\w+")


class Unreadable(Exception):
    """A file that is no text; the message is the reason."""


@dataclass(frozen=True)
class Gutenberg(Source):
    """Whole books from .txt and .zip files, with what their headers say."""

    paths: tuple[str, ...]  # files, patterns and folders, local or URLs; of these, what ends in .txt, .txt.utf8 or .zip
    max_book_bytes: int = 64 << 20  # larger texts are quarantined; ours: a bound on memory

    @property
    def adds(self) -> tuple[str, ...]:
        """`book_id` is the number in the catalogue; `encoding` the charset that the text was read by."""
        return ("url", "title", "author", "language", "date", "book_id", "encoding")

    def shards(self, target: int) -> list[Shard]:  # noqa: ARG002
        """One per file."""
        if self.max_book_bytes <= 0:
            raise RecipeError(f"{self.name}.max_book_bytes is {self.max_book_bytes}; it must be more than 0")
        files = [f for f in store.expand(self.paths, f"{self.name}.paths") if TEXT.search(f.path) or ARCHIVE.search(f.path)]
        if not files:
            raise RecipeError(f"{self.name}.paths: no .txt or .zip file in {', '.join(self.paths)}")
        return [Shard(file, 0, file.size, file.size) for file in files]

    def read(self, shard: Shard) -> Iterator[pa.RecordBatch | Bad | Skip]:
        """The book of a file; of an archive with several texts, each."""
        rows: list[tuple[Any, ...]] = []
        size = 0
        for item in self._texts(shard.file):
            if not isinstance(item, tuple):
                yield item
                continue
            place, name, data = item
            try:
                text, encoding = decode(data)
            except Unreadable as error:
                yield Bad(place, str(error), data[:RAW])
                continue
            if not text.strip():
                yield Skip("empty")
                continue
            said = header.parse(text[: 4 * header.MOST].decode("utf-8", "ignore"))
            named = NUMBERED.search(name)
            number = said.number or (named[1] if named else None)
            url = f"https://www.gutenberg.org/ebooks/{number}" if number else None
            rows.append((place, text, url, said.title, said.author, said.language, said.date, number, encoding))
            size += len(text)
            if size > MAX_BYTES:
                yield self._batch(rows)
                rows, size = [], 0
        if rows:
            yield self._batch(rows)

    def _batch(self, rows: list[tuple[Any, ...]]) -> pa.RecordBatch:
        """Text is known to be UTF-8: Arrow would look again."""
        ids, texts, *more = zip(*rows, strict=True)
        columns = [pa.array(values, pa.string()) for values in more]
        text = pa.array(texts, pa.large_binary()).view(pa.large_string())
        return pa.RecordBatch.from_arrays([pa.array(ids, pa.string()), text, *columns], ["id", "text", *self.adds])

    def _texts(self, file: File) -> Iterator[tuple[str, str, bytes] | Bad | Skip]:
        """(place, name, bytes) of each text."""
        with store.open_input(file.path) as opened:
            head = opened.read(RAW)
            opened.seek(0)
            if not head.startswith(ZIP):
                yield self._plain(file, opened.read(min(file.size, self.max_book_bytes) + 1))
                return
            found = 0
            bounds = Bounds(largest=self.max_book_bytes, expanded=16 * self.max_book_bytes)
            for member in members_in(opened, file.label, bounds, wanted=lambda name: bool(TEXT.search(name))):
                found += 1
                if isinstance(member, Bad):
                    yield Bad(member.place, member.reason, head)  # a file is a record: it costs no more than one
                else:
                    yield f"{file.label}:{member.key}", member.name, member.data
            if not found:
                yield Skip("no_text")  # HTML, audio, page images

    def _plain(self, file: File, data: bytes) -> tuple[str, str, bytes] | Bad:
        if ARCHIVE.search(file.path):
            return Bad(f"{file.label}:0", "no zip archive", data[:RAW])
        if len(data) > self.max_book_bytes:
            return Bad(f"{file.label}:0", f"larger than {self.max_book_bytes:,} bytes", data[:RAW])
        return f"{file.label}:0", file.label, data


def decode(data: bytes) -> tuple[bytes, str]:
    """(the text as UTF-8 with line feeds, the charset that it was in). Raises Unreadable for what is no text."""
    text, encoding = _decoded(data)
    if b"\r" in text:
        without = text.translate(None, b"\r")  # five times as fast as to replace the pairs
        if len(text) - len(without) == text.count(b"\r\n"):
            return without, encoding
        text = re.sub(rb"\r+\n|\r", b"\n", text)  # CR CR LF: converted twice
    return text, encoding


def _decoded(data: bytes) -> tuple[bytes, str]:
    wide = next((name for mark, name in WIDE if data.startswith(mark)), "")
    if not wide and b"\0" in data[:START]:
        wide = _without_mark(data[:START])
    if wide:
        try:
            text = data.decode(wide)
        except UnicodeDecodeError as error:
            raise Unreadable(f"damaged {wide} at byte {error.start:,}") from None
        if "\0" in text:
            raise Unreadable(f"no text: read as {wide}, it has NUL characters")
        return text.encode(), wide
    data = data.removeprefix(codecs.BOM_UTF8)
    if _is_utf8(data):
        return data, "utf-8"
    said = header.parse(data[:DECLARED].decode("latin-1").replace("\r\n", "\n").replace("\r", "\n")).charset
    declared = charset(said) if said else ""
    if declared == "utf-8":
        if data.decode("utf-8", "replace").count("\ufffd") <= MOST_DAMAGE * len(data):  # else it is not that
            return data.decode("utf-8", "curate-windows").encode(), "utf-8"
    elif declared and not (declared == "iso8859-1" and C1.search(data)):
        try:
            return data.decode(declared).encode(), declared
        except UnicodeError:
            pass
    return codecs.charmap_decode(data, "strict", WINDOWS)[0].encode(), "cp1252"


def _is_utf8(data: bytes) -> bool:
    """Arrow looks at 2 GB/s, and makes no string."""
    ends = pa.py_buffer(np.array([0, len(data)], np.int64))
    try:
        pa.LargeStringArray.from_buffers(1, ends, pa.py_buffer(data)).validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def _without_mark(start: bytes) -> str:
    """UTF-16 tells itself by NULs in every other place. Raises Unreadable."""
    even, odd = start[::2].count(0), start[1::2].count(0)
    if max(even, odd) < len(start) // 8 or min(even, odd) > max(even, odd) // 8:
        raise Unreadable("no text: it has NUL bytes")
    return "utf-16-be" if even > odd else "utf-16-le"


def charset(declared: str) -> str:
    """Python's name of a charset as headers have it (`ISO Latin-1`, `ISO-646-US (US-ASCII)`, `Codepage 437`), "" for none."""
    page, latin = PAGE.search(declared), LATIN.search(declared)
    known = f"cp{page[1]}" if page else f"latin{latin[1]}" if latin else ""
    for name in (known, *re.split(r"[()]", declared), declared.split()[-1] if declared.split() else ""):
        with_dashes = re.sub(r"^unicode[ -]+", "", name.strip().lower()).replace(" ", "-")
        try:
            found = codecs.lookup(with_dashes).name if with_dashes else ""
        except (LookupError, ValueError):
            continue
        if KNOWN.fullmatch(found):
            return found
    return ""


def _as_windows(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)
    return "".join(WINDOWS[b] for b in error.object[error.start : error.end]), error.end


codecs.register_error("curate-windows", _as_windows)
