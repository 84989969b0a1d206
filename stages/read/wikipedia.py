"""Wikipedia from its XML dumps, by the rules of the Hugging Face data set `wikipedia` 2.0, which RedPajama used for Llama 1's slice.

Articles only: other namespaces, redirects and pages without text are counted and left out. The title is a column and not part of the
text (Touvron et al. 2023, 2.1, do not say; neither reference puts it there). `wikitext` says how pages are cleaned, which happens in a
process of its own, so that a page on which the parser does not come back costs itself. From bzip2 to batches, both processes counted:
3.2 MB of wikitext or 48 articles of 68 KB per second and core; with `references: all` 2.4 MB or 36.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import quote
from xml.parsers.expat import ExpatError

import pyarrow as pa

from curate import store
from curate.errors import RecipeError
from curate.stage import Bad, Shard, Skip, Source
from stages.read import wikipedia_namespaces as namespaces
from stages.read.apart import Apart, Failed
from stages.read.rows import Rows
from stages.read.wikipedia_dump import RAW, Fault, Head, Page, fragments, parse

BATCH_PAGES, BATCH_CHARS = 64, 1 << 18  # sent to be cleaned at once
PROJECTS = "wiki|wiktionary|wikibooks|wikiquote|wikisource|wikinews|wikiversity|wikivoyage"
DBNAME = re.compile(rf"([a-z][a-z_]*?)(?:{PROJECTS})")
FILE_NAME = re.compile(rf"(?:.*/)?([a-z]{{2,3}}(?:_[a-z_]+)?|simple)(?:{PROJECTS})(?=[-.])")
HOST = re.compile(r"https?://([a-z][a-z-]*)\.(?:wik[a-z]+)\.org/")
PAGE_ID = re.compile(r"\s*0*([0-9]{1,18})\s*", re.ASCII)
MEDIA, FILE, CATEGORY = -2, 6, 14  # numbers of namespaces


@dataclass(frozen=True)
class Wikipedia(Source):
    """Articles from `pages-articles` dumps: bzip2 (also `multistream`), gzip or plain."""

    paths: tuple[str, ...]  # files, patterns and folders, local or URLs
    languages: tuple[str, ...] = ()  # of dumps that are read; none for all. Llama 1 has 20
    language: str = ""  # of dumps that do not tell theirs by file name, <dbname> or <base>
    redirects: Literal["element", "text"] = "element"  # told by <redirect>, as the data set's 2.0; or by `#redirect`, as its 1.0
    category: Literal["text", "drop"] = "text"  # links to categories: the data set's 2.0 leaves the text of the link without the prefix
    headings: Literal["all", "filled"] = "all"  # the data set's 2.0 keeps those of sections that are emptied
    references: Literal["none", "all", "redpajama"] = "none"  # adds the URLs that a page cites; `references` tells the modes; ours
    max_page_bytes: int = 16 << 20  # ours: of XML. MediaWiki allows 2 MB of wikitext, which escaping makes up to six times as long
    seconds: float = 20.0  # ours: of processor time for cleaning a page; the longest that MediaWiki allows takes 1
    memory: int = 2 << 30  # ours: bytes of address space for cleaning: the longest ordinary page takes 130 MB

    @property
    def adds(self) -> tuple[str, ...]:
        """`opening_chars` is how many characters of the text come before the first heading; `references` has one URL per line."""
        return ("url", "title", "language", "date", "opening_chars", *(("references",) if self.references != "none" else ()))

    def shards(self, target: int) -> list[Shard]:  # noqa: ARG002
        """One per file."""
        if importlib.util.find_spec("mwparserfromhell") is None:
            raise RecipeError(f"{self.name} needs mwparserfromhell; pip install 'mwparserfromhell>=0.7.2'")
        for option in ("max_page_bytes", "seconds", "memory"):
            if getattr(self, option) <= 0:
                raise RecipeError(f"{self.name}.{option} is {getattr(self, option)}; it must be more than 0")
        return [Shard(file, 0, file.size, file.size) for file in store.expand(self.paths, f"{self.name}.paths")]

    def read(self, shard: Shard) -> Iterator[pa.RecordBatch | Bad | Skip]:
        """The articles of one dump."""
        with store.open_input(shard.file.path) as file:
            found = fragments(file, self.max_page_bytes)
            for item in found:
                if isinstance(item, Head):
                    yield from self._dump(shard.file.label, item, found)
                elif isinstance(item, Fault):
                    yield self._bad(shard.file.label, item)

    def _bad(self, label: str, fault: Fault) -> Bad:
        return Bad(f"{label}:@{fault.offset}", fault.reason, fault.raw, fault.whole_file)

    def _dump(self, label: str, head: Head, found: Iterator[Any]) -> Iterator[pa.RecordBatch | Bad | Skip]:
        language = self._language(label, head)
        rows = Rows([(name, pa.int64()) if name == "opening_chars" else name for name in self.adds])
        own = DBNAME.fullmatch(head.dbname)
        is_of_this_wiki = own is None or own[1].replace("_", "-") == language
        address, ids = _address(head.base if is_of_this_wiki else "", language), _Ids(label)
        with Apart("stages.read.wikitext:cleaner", self._settings(language, head), self.seconds, self.memory) as clean:
            waiting: list[Page] = []
            chars = 0

            def cleaned() -> Iterator[Bad | Skip]:
                nonlocal chars
                for page, result in zip(waiting, clean([page.text for page in waiting]), strict=True):
                    place = ids.new(page.id or "")
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

            for item in found:
                if isinstance(item, Fault):
                    yield self._bad(label, item)
                    continue
                if self.languages and language not in self.languages:
                    yield Skip("other_language")
                    continue
                try:
                    page = parse(item.data)
                except ExpatError as error:
                    yield Bad(f"{label}:@{item.offset}", f"invalid XML: {error}", item.data[:RAW])
                    continue
                match = PAGE_ID.fullmatch(page.id or "")
                missing = "id" if match is None else "title" if not page.title else ""
                if match is None or missing:
                    yield Bad(f"{label}:@{item.offset}", f"a page without {missing}", item.data[:RAW])
                elif reason := self._left_out(page, head):
                    yield Skip(reason)
                else:
                    waiting.append(page._replace(id=match[1]))
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
        if page.redirect if self.redirects == "element" else text[:9].lower() == "#redirect":
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
    """`label:page`, and `+n` for the n-th repetition of a page in its dump. Holds a bit per number of a page: 10 MB for English."""

    def __init__(self, label: str):
        self.label = label
        self._seen: dict[int, int] = {}
        self._again: dict[str, int] = {}

    def new(self, page: str) -> str:
        block, bit = int(page) >> 9, 1 << (int(page) & 511)
        seen = self._seen.get(block, 0)
        if not seen & bit:
            self._seen[block] = seen | bit
            return f"{self.label}:{page}"
        self._again[page] = self._again.get(page, 0) + 1
        return f"{self.label}:{page}+{self._again[page]}"
