"""Books as EPUB 2 and 3, of collections of one's own: Books3 was made of such files and is withdrawn (Touvron et al. 2023, 2.1).

The chapters of the spine in its order, XHTML to text by resiliparse, paragraphs and headings by blank lines. A file is a document; one
with a chapter that is encrypted, missing, damaged or declares an entity is quarantined. Archives and XML are hostile: names in them only
name, no entity is expanded, expansion, depth and repetition are bounded. One core: 40 MB/s of XHTML.
"""

from __future__ import annotations

import html
import posixpath
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import IO, Literal, TypeVar

import pyarrow as pa
from resiliparse.extract.html2text import extract_plain_text

from curate import store
from curate.errors import RecipeError
from curate.stage import Bad, File, Shard, Skip, Source
from stages.read.columns import RAW
from stages.read.epub_package import Chapter, Malformed, Package, encrypted, package, rootfile
from stages.read.gutenberg_header import language
from stages.read.members import Bounds, Refused, members_in
from stages.read.rows import Rows
from stages.read.warc import decode, too_tangled

CONTAINER, ENCRYPTION = "META-INF/container.xml", "META-INF/encryption.xml"
TYPES = ("application/xhtml+xml", "text/html", "text/x-oeb1-document", "application/x-dtbook+xml")
VOID = "area|base|br|col|embed|hr|img|input|link|meta|param|source|track|wbr"  # elements of HTML that have no end
EMPTY = re.compile(rf"<(?!(?:{VOID})\b)([A-Za-z][\w:.-]{{0,63}})((?:\s[^<>]*)?)/>", re.IGNORECASE)
DOCTYPE = re.compile(r"\s{0,99}(?:<\?[^>]{0,999}>\s{0,99})?<!DOCTYPE[^\[>]{0,999}(?:\[[^\]]*\]\s{0,99})?>", re.IGNORECASE)
ENTITY = "<!ENTITY"  # as XML has it: in no other case, with no space
CDATA = re.compile(r"<!\[CDATA\[((?:(?!<!\[CDATA\[).)*?)\]\]>", re.DOTALL)
FIGURE = re.compile(r"(</?)fig(?:ure|caption)\b", re.IGNORECASE)  # resiliparse counts a caption to the image
BLANK = re.compile(r"\n(?:[^\S\n]*\n){2,}")
LEFT_OUT = ("nav", "rt", "rp")  # tables of contents; readings beside Han characters
DAY = re.compile(r"\d{4}(?:-\d\d(?:-\d\d)?)?")
T = TypeVar("T")


class Unreadable(Exception):
    """A book, or a part of it, that cannot be had; the message is the reason."""


@dataclass(frozen=True)
class Epub(Source):
    """Whole books from .epub files, with what their package says of them."""

    paths: tuple[str, ...]  # files, patterns and folders, local or URLs; of these, what ends in .epub
    linear: Literal["only", "all"] = "only"  # ours: without chapters that are marked linear="no", such as notes
    contents: Literal["drop", "keep"] = "drop"  # pages that are tables of contents; ours: their lines are the headings of the chapters
    incomplete: Literal["quarantine", "keep"] = "quarantine"  # ours: of books of which a chapter is missing, too large or damaged
    max_chapter_bytes: int = 16 << 20  # of XHTML; ours: a bound on memory and time
    max_book_bytes: int = 128 << 20  # of XHTML in all; ours: a bound on memory

    @property
    def adds(self) -> tuple[str, ...]:
        """Dublin Core's; `url` where the identifier or source is one."""
        return ("url", "title", "author", "language", "date", "identifier")

    def shards(self, target: int) -> list[Shard]:  # noqa: ARG002
        """One per file."""
        for option in ("max_chapter_bytes", "max_book_bytes"):
            if getattr(self, option) <= 0:
                raise RecipeError(f"{self.name}.{option} is {getattr(self, option)}; it must be more than 0")
        files = [f for f in store.expand(self.paths, f"{self.name}.paths") if f.path.lower().endswith(".epub")]
        if not files:
            raise RecipeError(f"{self.name}.paths: no .epub file in {', '.join(self.paths)}")
        return [Shard(file, 0, file.size, file.size) for file in files]

    def read(self, shard: Shard) -> Iterator[pa.RecordBatch | Bad | Skip]:
        """The book of a file."""
        place = f"{shard.file.label}:0"
        try:
            about, text = self._book(shard.file)
        except (Unreadable, Malformed) as error:
            with store.open_input(shard.file.path) as opened:
                yield Bad(place, str(error), opened.read(RAW))
            return
        if not text.strip():
            yield Skip("empty")
            return
        rows = Rows(self.adds)
        address = next((a for a in (about.identifier, about.source) if a and a.startswith(("http://", "https://"))), None)
        date = DAY.match(about.date or "")
        rows.add(place, text, address, about.title, about.author, language(about.language or ""), date and date[0], about.identifier)
        yield rows.take()

    def _wanted(self, chapter: Chapter) -> bool:
        return (chapter.linear or self.linear == "all") and not (chapter.contents and self.contents == "drop")

    def _book(self, file: File) -> tuple[Package, str]:
        bounds = Bounds(self.max_chapter_bytes, expanded=self.max_book_bytes)
        with store.open_input(file.path) as opened:
            about, refused = _members(opened, bounds, {CONTAINER, ENCRYPTION}, bytes)
            if CONTAINER not in about:
                raise Unreadable(f"no EPUB: {refused.get(CONTAINER) or refused.get('') or f'it has no {CONTAINER}'}")
            path = rootfile(about[CONTAINER])
            described, refused = _members(opened, bounds, {path}, bytes)
            if path not in described:
                raise Unreadable(f"its package {path[:200]}: {refused.get(path) or refused.get('') or 'not there'}")
            book = package(described[path], posixpath.dirname(path), TYPES)
            chapters = [c.path for c in book.chapters if self._wanted(c)]
            locked = encrypted(about[ENCRYPTION]) & set(chapters) if ENCRYPTION in about else ()
            if locked:
                raise Unreadable(f"{len(locked)} of {len(chapters)} chapters are encrypted (DRM), by {ENCRYPTION}")
            texts, refused = _members(opened, bounds, set(chapters), _text)
        lost = [name for name in chapters if name not in texts]
        if lost and (self.incomplete == "quarantine" or len(lost) == len(chapters)):
            reason = refused.get(lost[0]) or refused.get("") or "not there"
            raise Unreadable(f"{len(lost)} of {len(chapters)} chapters cannot be had; {lost[0][:200]}: {reason}")
        return book, "\n\n".join(texts[name] for name in chapters if texts.get(name))


def _members(file: IO[bytes], bounds: Bounds, wanted: set[str], make: Callable[[bytes], T]) -> tuple[dict[str, T], dict[str, str]]:
    """(what is made of the members by name, why others cannot be had; "" for all behind some place). Of one name twice, the first."""
    found: dict[str, T] = {}
    refused: dict[str, str] = {}
    file.seek(0)
    for member in members_in(file, "", bounds, wanted=wanted.__contains__):
        if isinstance(member, Refused):
            name = member.place.removeprefix(":")
            refused["" if name.startswith(("#", "@")) else name] = member.reason
        elif member.name not in found:
            try:
                found[member.name] = make(member.data)
            except Unreadable as error:
                refused[member.name] = str(error)
    return found, refused


def _text(data: bytes) -> str:
    """The text of a chapter. Raises Unreadable."""
    page = _page(data)
    if too_tangled(page):
        raise Unreadable("nested too deep, or too many attributes")
    text = extract_plain_text(page, alt_texts=False, list_bullets=False, skip_elements=list(LEFT_OUT))
    return BLANK.sub("\n\n", text).strip("\n").rstrip()


def _page(data: bytes) -> str:
    """XHTML as a parser of HTML understands it, to which `<title/>` opens an element and CDATA is a comment. Raises Unreadable."""
    try:
        page = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        page, _ = decode(data, "")
    page = CDATA.sub(lambda found: html.escape(found[1], quote=False), page)
    if ENTITY in page:
        raise Unreadable("it declares an entity; none is expanded")
    if found := DOCTYPE.match(page):
        page = page[found.end() :]
    return FIGURE.sub(r"\1div", EMPTY.sub(r"<\1\2></\1>", page))
