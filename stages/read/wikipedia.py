"""Wikipedia from its XML dumps, by the rules of the Hugging Face data set `wikipedia` 2.0, which RedPajama used for Llama 1's slice.

Articles only: other namespaces, redirects and pages without text are counted and left out. The title is a column and not part of the
text (Touvron et al. 2023, 2.1, do not say; neither reference puts it there). `wikitext` says how pages are cleaned, which happens in a
process of its own, so that a page on which the parser does not come back costs itself. Many workers share a dump by the cells of its
file (`wikipedia_cells`): a cell has the same pages, ids and faults whatever it is read with. From bzip2 to batches, both processes counted:
3.2 MB of wikitext or 48 articles of 68 KB per second and core; with `references: all` 2.4 MB or 36.
"""

from __future__ import annotations

import importlib.util
import itertools
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any, ClassVar, Literal
from urllib.parse import quote
from xml.parsers.expat import ExpatError

import pyarrow as pa

from curate import store
from curate.errors import RecipeError
from curate.stage import Bad, File, Shard, Skip, Source
from stages.read import sevenzip
from stages.read import wikipedia_namespaces as namespaces
from stages.read.apart import Apart, Failed
from stages.read.members import Bounds, Broken
from stages.read.rows import Rows
from stages.read.wikipedia_cells import RAW, Fault
from stages.read.wikipedia_dump import Fragment, Head, Page, fragments, parse

CELL = 4 << 20  # bytes of a file: what it is cut by
LARGEST = 1 << 40  # bytes of a dump in an archive
WHOLE = (".7z", ".gz")  # names of files that are read from front to back
BATCH_PAGES, BATCH_CHARS = 64, 1 << 18  # sent to be cleaned at once
PROJECTS = "wiki|wiktionary|wikibooks|wikiquote|wikisource|wikinews|wikiversity|wikivoyage"
DBNAME = re.compile(rf"([a-z][a-z_]*?)(?:{PROJECTS})")
FILE_NAME = re.compile(rf"(?:.*/)?([a-z]{{2,3}}(?:_[a-z_]+)?|simple)(?:{PROJECTS})(?=[-.])")
CODE = re.compile(r"[a-z]+(?:-[a-z]+)*")
HOST = re.compile(r"https?://([a-z][a-z-]*)\.(?:wik[a-z]+)\.org/")
PAGE_ID = re.compile(r"\s*0*([0-9]{1,18})\s*", re.ASCII)
WITHOUT_REDIRECT = ("0.1", "0.2", "0.3")  # export formats
MEDIA, FILE, CATEGORY = -2, 6, 14  # numbers of namespaces


@dataclass(frozen=True)
class Wikipedia(Source):
    """Articles from `pages-articles` dumps: bzip2 (also `multistream`), gzip, 7z or plain."""

    version: ClassVar[int] = 2

    paths: tuple[str, ...]  # files, patterns and folders, local or URLs
    languages: tuple[str, ...] = ()  # of dumps that are read; none for all. Llama 1 has 20
    language: str = ""  # of dumps that do not tell theirs by file name, <dbname> or <base>
    redirects: Literal["element", "text"] = "element"  # by <redirect>, as the data set's 2.0; or by text, as 1.0 and for old formats
    category: Literal["text", "drop"] = "text"  # links to categories: the data set's 2.0 leaves the text of the link without the prefix
    headings: Literal["all", "filled"] = "all"  # the data set's 2.0 keeps those of sections that are emptied
    references: Literal["none", "all", "redpajama"] = "none"  # adds the URLs that a page cites; `references` tells the modes; ours
    max_page_bytes: int = 16 << 20  # ours: of XML. MediaWiki allows 2 MB of wikitext, which escaping makes up to six times as long
    seconds: float = 20.0  # ours: of processor time for cleaning a page; the longest that MediaWiki allows takes 1
    max_expansion: float = 1000.0  # of a 7z archive: output to input. ours: a history has each page as often as it was edited
    memory: int = 2 << 30  # ours: bytes of address space for cleaning: the longest ordinary page takes 130 MB

    @property
    def adds(self) -> tuple[str, ...]:
        """`opening_chars` is how many characters of the text come before the first heading; `references` has one URL per line."""
        return ("url", "title", "language", "date", "opening_chars", *(("references",) if self.references != "none" else ()))

    def shards(self, target: int) -> list[Shard]:
        """Plain files and those of bzip2 are cut; a dump in one stream of bzip2 is all in its first part."""
        if importlib.util.find_spec("mwparserfromhell") is None:
            raise RecipeError(f"{self.name} needs mwparserfromhell; pip install 'mwparserfromhell>=0.7.2'")
        for option in ("max_page_bytes", "seconds", "memory", "max_expansion"):
            if getattr(self, option) <= 0:
                raise RecipeError(f"{self.name}.{option} is {getattr(self, option)}; it must be more than 0")
        for language in (*self.languages, *([self.language] if self.language else [])):
            if not CODE.fullmatch(language):
                option = "languages" if language in self.languages else "language"
                raise RecipeError(f"{self.name}.{option}: {language!r}: expected the code of a Wikipedia, such as en, simple or zh-min-nan")
        files = store.expand(self.paths, f"{self.name}.paths")
        found = {name[1].replace("_", "-") if (name := FILE_NAME.match(file.label)) else "" for file in files}
        if self.languages and "" not in found and found.isdisjoint(self.languages):
            listed = ", ".join(sorted(found)[:8]) + (", ..." if len(found) > 8 else "")
            raise RecipeError(f"{self.name}.languages: no dump is of {', '.join(self.languages[:8])}; by their names there is {listed}")
        shards = []
        for file in files:
            if file.path.lower().endswith(".7z"):
                sevenzip.check_installed(self.name)
            cells = 1 if file.path.lower().endswith(WHOLE) else max(1, -(-file.size // CELL))
            parts = min(cells, max(1, -(-file.size // target)))
            cuts = [*(cells * part // parts * CELL for part in range(parts)), file.size]
            shards += [Shard(file, low, high, high - low) for low, high in itertools.pairwise(cuts)]
        return shards

    def read(self, shard: Shard) -> Iterator[pa.RecordBatch | Bad | Skip]:
        """The articles of a dump, or of some of its cells."""
        file = shard.file
        try:
            with self._opened(file) as opened:
                first = list(_until_head(fragments(opened, self.max_page_bytes)))
            if isinstance(first[-1], Head):
                with self._opened(file) as opened:
                    yield from self._dump(shard, first[-1], self._cells(opened, shard, first[-1]))
            elif not shard.low:
                yield from (Bad(f"{file.label}:@{f.offset}", f.reason, f.raw, f.whole_file) for f in first if isinstance(f, Fault))
        except Broken as broken:
            yield Bad(file.label, broken.reason, whole_file=True)

    @contextmanager
    def _opened(self, file: File) -> Iterator[IO[bytes]]:
        """The file, or the dump in it: the one member that is XML, or the only one."""
        with store.open_input(file.path) as opened:
            packed = sevenzip.is_7z(opened.read(16))
            opened.seek(0)
            if not packed:
                yield opened
        if packed:
            dumps = [name for name in sevenzip.names(file) if name.lower().endswith(".xml")]
            bounds = Bounds(ratio=self.max_expansion, expanded=LARGEST)
            with sevenzip.open_member(file, dumps[0] if len(dumps) == 1 else None, bounds) as member:
                yield member

    def _cells(self, opened: IO[bytes], shard: Shard, head: Head) -> Iterator[tuple[int, Fragment | Fault]]:
        """What is in each, with where it begins in the file."""
        for low in range(shard.low, max(shard.high, 1), CELL):
            high = low + CELL if low + CELL < shard.file.size else None
            for item in fragments(opened, self.max_page_bytes, low, high, head):
                assert not isinstance(item, Head)
                yield low, item

    def _dump(self, shard: Shard, head: Head, found: Iterator[tuple[int, Fragment | Fault]]) -> Iterator[pa.RecordBatch | Bad | Skip]:
        label = shard.file.label
        language = self._language(label, head)
        rows = Rows([(name, pa.int64()) if name == "opening_chars" else name for name in self.adds])
        own = DBNAME.fullmatch(head.dbname)
        is_of_this_wiki = own is None or own[1].replace("_", "-") == language
        address = _address(head.base if is_of_this_wiki else "", language)
        ids = _Ids(label, 0, 0)
        with Apart("stages.read.wikitext:cleaner", self._settings(language, head), self.seconds, self.memory) as clean:
            waiting: list[tuple[str, Page]] = []
            chars = 0

            def cleaned() -> Iterator[Bad | Skip]:
                nonlocal chars
                for (place, page), result in zip(waiting, clean([page.text for _, page in waiting]), strict=True):
                    if isinstance(result, Failed):
                        yield Bad(place, f"the wikitext {_because(result.reason)}", (page.text or "").encode()[:RAW])
                    elif not result["text"].strip():
                        yield Skip("empty")
                    else:
                        url = None if address is None else address + quote(page.title or "")
                        more = ["\n".join(result["references"])] if "references" in result else []
                        rows.add(place, result["text"], url, page.title, language, page.timestamp, result["opening"], *more)
                waiting.clear()
                chars = 0

            for low, item in found:
                place = f"{label}:@{low}+{item.offset}" if low else f"{label}:@{item.offset}"
                if isinstance(item, Fault):
                    yield Bad(place, item.reason, item.raw)
                    continue
                if self.languages and language not in self.languages:
                    yield Skip("other_language")
                    continue
                try:
                    page = parse(item.data)
                except ExpatError as error:
                    yield Bad(place, f"invalid XML: {error}", item.data[:RAW])
                    continue
                match = PAGE_ID.fullmatch(page.id or "")
                missing = "id" if match is None else "title" if not page.title else "the text of a revision" if page.text is None else ""
                if match is None or missing:
                    yield Bad(place, f"a page without {missing}", item.data[:RAW])
                    continue
                if ids.cell != low:
                    ids = _Ids(label, low, int(match[1]))
                if reason := self._left_out(page, head):
                    yield Skip(reason)
                    continue
                waiting.append((ids.new(match[1]), page))
                chars += len(page.text or "")
                if len(waiting) >= BATCH_PAGES or chars >= BATCH_CHARS:
                    yield from cleaned()
                    if rows.full:
                        yield rows.take()
            yield from cleaned()
        if len(rows):
            yield rows.take()

    def _language(self, label: str, head: Head) -> str | None:
        """`en` of `enwiki`, `zh-min-nan` of `zh_min_nanwiki`. A file named as dumps are knows best: it was named for what is in it, where
        the head may be that of the wiki on which an excerpt was made."""
        found = FILE_NAME.match(label) or DBNAME.fullmatch(head.dbname) or HOST.match(head.base)
        return found[1].replace("_", "-") if found else self.language or None

    def _settings(self, language: str | None, head: Head) -> dict[str, Any]:
        """Of the Cleaner: the names of the namespaces, of all times and of this dump."""

        def local(*numbers: int) -> list[str]:
            return [name for name, number in head.namespaces.items() if number in numbers]

        media = namespaces.media(language or "", local(MEDIA, FILE))
        category = namespaces.category(language or "", local(CATEGORY))
        if self.category == "drop":
            media += category
        return {"media": media, "category": category, "headings": self.headings, "references": self.references}

    def _left_out(self, page: Page, head: Head) -> str:
        """Why a page is no article; "" for one."""
        if (page.namespace or _namespace(page.title or "", head)).strip() != "0":
            return "namespace"
        text = page.text or ""
        by_text = self.redirects == "text" or head.version in WITHOUT_REDIRECT
        if text[:9].lower() == "#redirect" if by_text else page.redirect:
            return "redirect"
        if (page.model or "wikitext").strip() != "wikitext":
            return "not_wikitext"  # Wikidata's items, scripts, style sheets
        return "" if text.strip() else "empty"


def _namespace(title: str, head: Head) -> str:
    """The number of a page's namespace in dumps that have no <ns>, those before 2012."""
    return str(head.namespaces.get(title.partition(":")[0], 0)) if ":" in title else "0"


def _because(reason: str) -> str:
    """Failures of the process read on from "the wikitext"; an exception has its name before it."""
    return reason if reason.startswith(("takes ", "ends ")) else f"cannot be parsed: {reason}"


def _address(base: str, language: str | None) -> str | None:
    """What the URLs of a wiki's pages begin with: as its main page's, or as Wikipedia's."""
    scheme, _, rest = base.partition("://")
    if scheme not in ("http", "https") or "/" not in rest:
        return f"https://{language}.wikipedia.org/wiki/" if language else None
    if rest.partition("/")[0].endswith(".wikipedia.org"):
        scheme = "https"
    for mark in ("/wiki/", "title=", "/"):
        before, found, _ = rest.partition(mark) if mark != "/" else rest.rpartition(mark)
        if found:
            return f"{scheme}://{before}{mark}"
    raise AssertionError("there is a slash")


class _Ids:
    """`label:page`, and `+n` for the n-th repetition of a page in its cell. Dumps list their pages by number: one below its cell's first
    has been before, and is `label:page@cell`. Holds a bit per number of a page: 10 MB for English, were it all in one stream.
    """

    def __init__(self, label: str, cell: int, first: int):
        self.label, self.cell, self.first = label, cell, first
        self._seen: dict[int, int] = {}
        self._again: dict[str, int] = {}

    def new(self, page: str) -> str:
        number = int(page)
        place = f"{self.label}:{page}@{self.cell}" if self.cell and number < self.first else f"{self.label}:{page}"
        block, bit = number >> 9, 1 << (number & 511)
        seen = self._seen.get(block, 0)
        if not seen & bit:
            self._seen[block] = seen | bit
            return place
        self._again[page] = self._again.get(page, 0) + 1
        return f"{place}+{self._again[page]}"


def _until_head(found: Iterator[Head | Fragment | Fault]) -> Iterator[Head | Fragment | Fault]:
    for item in found:
        yield item
        if isinstance(item, Head):
            return
