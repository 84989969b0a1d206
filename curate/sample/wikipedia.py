"""Dumps of two made-up Wikipedias, whose articles refer to pages of the sample's crawl.

English: articles of what the crawl has left over and of sentences of the pages that they refer to (see `wikitext.py`). Referred to are
pages a classifier of text can learn to tell, `is_worth_citing`; their addresses are spelled in many ways, and there are addresses that
are not in the crawl. German: short articles. Both have what a reader has to pass over: other namespaces, redirects, empty pages.
"""

from __future__ import annotations

import bz2
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha1
from itertools import chain, count
from pathlib import Path
from random import Random
from typing import Any, NamedTuple
from xml.sax.saxutils import escape, quoteattr

from curate import store
from curate.sample import languages
from curate.sample.documents import Document
from curate.sample.prose import Page as Prose
from curate.sample.rendered import WORDS_OF_ENGLISH
from curate.sample.wikitext import PEOPLE, Cited, Editor, german, plain, sentences
from curate.sample.write import date

ENGLISH = "wikipedia/enwiki-20200220-pages-articles-multistream.xml.bz2"
GERMAN = "wikipedia/dewiki-20200220-pages-articles.xml"
PAGES_PER_STREAM = 100
LEAST_ARTICLES = 12
ARTICLES = 0.07  # of the number of documents of the rest of the sample
LEAST_CITED = 1000  # characters: RedPajama trained its classifier of references on pages of this length or longer
LEAST_PROSE = 0.27  # of the words
QUOTED = 5  # sentences, at most, that an article takes from a page that it refers to
SCHEMA = "http://www.mediawiki.org/xml/export-0.10/"
SAVED = datetime(2020, 2, 20, 1, 2, 3, tzinfo=UTC)  # the last revision, at the latest
QUOTES = {'"': "&quot;"}
BASE_36 = "0123456789abcdefghijklmnopqrstuvwxyz"
PLACES = (("Linden", "Erlen", "Birken", "Hasel", "Weiden", "Mühl", "Ahorn", "Eschen"), ("bach", "dorf", "hausen", "feld", "tal", "berg"))
BEHIND = "== {title} ==\n[[{title}]]<ref>https://journal.example/talk?id=3&page=1</ref>"
DAMAGED = (
    "'''{title}''' is a page that somebody saved too early.<ref>{{{{cite web|url=https://journal.example/lost?id=7&page=1|title=Lost}}}}\n\n"
    '{{{{Infobox software\n| name = [[{title}\n\n{{| class="wikitable"\n! One !! Two\n|-\n| 1 || <nowiki>2\n\n== Half a heading =\n'
    "A [[link without end, a [https://journal.example/open label, and ''emphasis'' that '''never ends.</ref></div> <!-- and so on"
)


class Wiki(NamedTuple):
    """What a dump says of its wiki before the first page, and how it spells a redirect."""

    language: str
    database: str
    main_page: str
    redirect: str
    namespaces: Mapping[int, str]


@dataclass(frozen=True)
class WikiPage:
    """One page of a dump, with the truth about it."""

    kind: str  # article, redirect, namespace, empty, damaged
    title: str
    text: str
    language: str
    namespace: int = 0
    redirect: str = ""  # the title of the page it leads to
    references: tuple[str, ...] = ()  # the addresses in the crawl that it refers to, as the crawl spells them

    def truth(self) -> dict[str, Any]:
        """The row of truth.jsonl, without where the page is; empty fields are left out."""
        row = {"title": self.title, "kind": self.kind, "language": self.language, "of": self.redirect, "references": list(self.references)}
        return {name: value for name, value in row.items() if value}


WIKIS = {
    ENGLISH: Wiki(
        "en", "enwiki", "Main_Page", "#REDIRECT",
        {-2: "Media", -1: "Special", 0: "", 1: "Talk", 2: "User", 3: "User talk", 4: "Wikipedia", 5: "Wikipedia talk", 6: "File",
         7: "File talk", 8: "MediaWiki", 9: "MediaWiki talk", 10: "Template", 11: "Template talk", 12: "Help", 13: "Help talk",
         14: "Category", 15: "Category talk", 100: "Portal", 101: "Portal talk"},
    ),
    GERMAN: Wiki(
        "de", "dewiki", "Wikipedia:Hauptseite", "#WEITERLEITUNG",
        {-2: "Medium", -1: "Spezial", 0: "", 1: "Diskussion", 2: "Benutzer", 3: "Benutzer Diskussion", 4: "Wikipedia",
         5: "Wikipedia Diskussion", 6: "Datei", 7: "Datei Diskussion", 8: "MediaWiki", 9: "MediaWiki Diskussion", 10: "Vorlage",
         11: "Vorlage Diskussion", 12: "Hilfe", 13: "Hilfe Diskussion", 14: "Kategorie", 15: "Kategorie Diskussion"},
    ),
}  # fmt: skip


def wikis(spare: Sequence[Prose], crawled: Sequence[Document], documents: int, rng: Random) -> dict[str, list[WikiPage]]:
    """The pages of each dump, by its name. `spare` are pages of documentation that the crawl does not hold."""
    articles = max(LEAST_ARTICLES, int(ARTICLES * documents))
    cited = sorted((d for d in crawled if is_worth_citing(d)), key=lambda d: d.url.split("/", 3)[3])
    villages = [d for d in crawled if d.kind == "language" and d.language == "de"]
    written = _english(sorted(spare), cited, articles, rng)
    draft = f"{written[2].title} (draft)"
    english = _with_others([*written, WikiPage("damaged", draft, DAMAGED.format(title=draft), "en")], WIKIS[ENGLISH], rng)
    return {ENGLISH: english, GERMAN: _with_others(_german(villages[::2], max(6, articles // 10), rng), WIKIS[GERMAN], rng)}


def is_worth_citing(document: Document) -> bool:
    """Whether it is a page of English that is long, and prose rather than lists of parameters: 27 % of its words make up sentences."""
    words = document.text.lower().split()
    prose = sum(word in WORDS_OF_ENGLISH for word in words) >= LEAST_PROSE * len(words)
    return document.kind == "prose" and len(document.text) >= LEAST_CITED and prose


def dump(path: Path, pages: Sequence[WikiPage], rng: Random) -> None:
    """Writes the file. Of bzip2 the siteinfo is a stream, every 100 pages are one, and so is the end; plain XML otherwise."""
    wiki = WIKIS["/".join(path.parts[-2:])]
    numbers, revisions = _ascending(rng, len(pages), 900), _ascending(rng, len(pages), 90_000)
    written = [_page(*each, rng) for each in zip(pages, numbers, revisions, strict=True)]
    middle = ["".join(written[at : at + PAGES_PER_STREAM]) for at in range(0, len(written), PAGES_PER_STREAM)]
    streams = [stream.encode() for stream in (_siteinfo(wiki), *middle, "</mediawiki>\n")]
    store.write_bytes(str(path), b"".join(map(bz2.compress, streams) if path.suffix == ".bz2" else streams))


def _english(spare: Sequence[Prose], cited: Sequence[Document], articles: int, rng: Random) -> list[WikiPage]:
    """Articles; neighbours in the order of the packages that they are about come into one article."""
    material: dict[str, tuple[str, Sequence[Prose], Sequence[Document]]] = {}
    for at in range(articles):
        own, pages = _part(spare, at, articles), _part(cited, at, articles)
        named = own[0].title if own else pages[0].title if pages else "Reference"
        package = plain(own[0].package if own else pages[0].url.split("/")[3] if pages else "python")
        material[_new_title(named, package, material)] = (package, own, pages)
    found = []
    for title, (package, own, pages) in material.items():
        links = rng.sample([other for other in material if other != title], 8)
        quoted = [Cited(_spelled(d.url, rng), d.title, d.host.site, tuple(_quoted(d, rng))) for d in pages]
        others = [_elsewhere(rng) for _ in range(rng.randrange(1, 4))]
        code = next((b.text for page in own for b in page.blocks if b.role == "code" and _is_example(b.text)), "")
        text = Editor(title, links, rng).article(package, [s for page in own for s in sentences(page.blocks)], quoted, others, code)
        found.append(WikiPage("article", title, text, "en", references=tuple(d.url for d in pages)))
    return found


def _german(cited: Sequence[Document], articles: int, rng: Random) -> list[WikiPage]:
    titles = rng.sample([first + second for first in PLACES[0] for second in PLACES[1]], min(articles, 48))
    found = []
    for at, title in enumerate(titles):
        pages = _part(cited, at, len(titles))
        quoted = [Cited(_spelled(d.url, rng), d.title, "Chronik") for d in pages] + [_elsewhere(rng)]
        text = german(title, languages.paragraphs("de", rng), quoted, rng)
        found.append(WikiPage("article", title, text, "de", references=tuple(d.url for d in pages)))
    return found


def _with_others(articles: list[WikiPage], wiki: Wiki, rng: Random) -> list[WikiPage]:
    """The articles, and among them pages that are none."""
    language, found = wiki.language, list(articles)
    for article in rng.sample(articles, max(2, len(articles) // 10)):
        title = rng.choice((f"{article.title} (software)", f"{article.title} & others", f'"{article.title}"'))
        found.append(WikiPage("redirect", title, f"{wiki.redirect} [[{article.title}]]", language, redirect=article.title))
    for number in (1, 2, 4, 6, 10, 14):
        for article in rng.sample(articles, max(1, len(articles) // 80)):
            title, text = f"{wiki.namespaces[number]}:{article.title}", BEHIND.format(title=article.title)
            found.append(WikiPage("namespace", title, text, language, number))
    found.append(WikiPage("empty", f"{articles[0].title} (blank)", "", language))
    found.append(WikiPage("empty", f"{articles[1].title} (box)", "{{Infobox\n| name = X\n}}\n<!-- 2 -->\n", language))
    rng.shuffle(found)
    return found


def _part(of: Sequence[Any], number: int, parts: int) -> Sequence[Any]:
    return of[number * len(of) // parts : (number + 1) * len(of) // parts]


def _new_title(named: str, package: str, taken: Iterable[str]) -> str:
    """Of a page's title what is before its site and module, as a title that no other article has."""
    words = plain(named.split(" - ")[0].split(" (")[0].rsplit(".", 1)[-1].replace(":", " "))[:80].strip()
    words = words if any(map(str.isalpha, words)) else package
    title = words[0].upper() + words[1:]
    numbered = (f"{title} ({package}, part {number})" for number in count(2))
    return next(choice for choice in chain((title, f"{title} ({package})"), numbered) if choice not in taken)


def _quoted(document: Document, rng: Random) -> list[str]:
    found = sentences(line for line in document.body if not any(known in line.text for known in document.personal))
    return [found[at] for at in sorted(rng.sample(range(len(found)), min(QUOTED, len(found))))]


def _is_example(code: str) -> bool:
    lines = code.split("\n")
    return 2 <= len(lines) <= 15 and all(line.isprintable() for line in lines) and "<" not in code


def _spelled(url: str, rng: Random) -> str:
    """The address as editors write it."""
    scheme, _, rest = url.partition("://")
    if rng.random() < 0.3:
        scheme = "http"
    if rng.random() < 0.15:
        rest = rest.removeprefix("www.") if rest.startswith("www.") else f"www.{rest}"
    return f"{scheme}://{rest}{rng.choice(('',) * 6 + ('/', '#usage', '#History', '/#top'))}"


def _elsewhere(rng: Random) -> Cited:
    """A page that is not in the crawl, at times with an `&` in its address, at times with one that was escaped before it was saved."""
    number = rng.randrange(10_000)
    path = rng.choice(
        (f"articles/{number}", f"view?id={number}&page=2", f"view?id={number}&amp;page=2", f"{number}.pdf", f"~reader/{number}/")
    )
    scheme, host = rng.choice(("http", "https")), rng.choice(("journal.example", "www.archive.example", "news.example:8080"))
    return Cited(f"{scheme}://{host}/{path}", f"Number {number}", "The Journal")


def _ascending(rng: Random, numbers: int, step: int) -> list[int]:
    """So many numbers, each larger than the one before it."""
    found, last = [], rng.randrange(1, step)
    for _ in range(numbers):
        last += rng.randrange(1, step)
        found.append(last)
    return found


def _siteinfo(wiki: Wiki) -> str:
    base = f"https://{wiki.language}.wikipedia.org/wiki/{wiki.main_page}"
    named = "".join(
        f'      <namespace key="{key}" case="first-letter"' + (f">{name}</namespace>\n" if name else " />\n")
        for key, name in wiki.namespaces.items()
    )
    return (
        f'<mediawiki xmlns="{SCHEMA}" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:schemaLocation="{SCHEMA} '
        f'{SCHEMA.rstrip("/")}.xsd" version="0.10" xml:lang="{wiki.language}">\n  <siteinfo>\n    <sitename>Wikipedia</sitename>\n'
        f"    <dbname>{wiki.database}</dbname>\n    <base>{base}</base>\n    <generator>curate sample</generator>\n"
        f"    <case>first-letter</case>\n    <namespaces>\n{named}    </namespaces>\n  </siteinfo>\n"
    )


def _page(page: WikiPage, number: int, revision: int, rng: Random) -> str:
    text = page.text.rstrip()  # as MediaWiki saves it
    data = text.encode()
    moment = date(SAVED - timedelta(seconds=rng.randrange(300_000_000)))
    author = f"<username>{escape(rng.choice(PEOPLE))}</username>\n        <id>{rng.randrange(1, 10**6)}</id>"
    if rng.random() < 0.2:
        author = f"<ip>203.0.113.{rng.randrange(1, 255)}</ip>"
    comment = rng.choice(("", "      <minor />\n", "      <comment>/* History */ a source &amp; a link</comment>\n"))
    content = f'bytes="{len(data)}" xml:space="preserve"' + (f">{escape(text, QUOTES)}</text>" if text else " />")
    redirect = f"    <redirect title={quoteattr(page.redirect)} />\n" if page.redirect else ""
    return (
        f"  <page>\n    <title>{escape(page.title, QUOTES)}</title>\n    <ns>{page.namespace}</ns>\n    <id>{number}</id>\n{redirect}"
        f"    <revision>\n      <id>{revision}</id>\n      <parentid>{revision - rng.randrange(1, 60)}</parentid>\n"
        f"      <timestamp>{moment}</timestamp>\n      <contributor>\n        {author}\n      </contributor>\n{comment}"
        f"      <model>wikitext</model>\n      <format>text/x-wiki</format>\n      <text {content}\n      <sha1>{_sha1(data)}</sha1>\n"
        "    </revision>\n  </page>\n"
    )


def _sha1(data: bytes) -> str:
    """In base 36, 31 digits, as MediaWiki writes it."""
    number, digits = int.from_bytes(sha1(data).digest(), "big"), ""
    while number:
        number, digit = divmod(number, 36)
        digits = BASE_36[digit] + digits
    return digits.rjust(31, "0")
