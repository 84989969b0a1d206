"""The sample's documents before they are written: pages of text dealt out to sources, some of them copied, spoilt or foreign, by shares."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import count, cycle, islice
from random import Random
from typing import Any
from unicodedata import normalize

from curate.sample import spoil
from curate.sample.hosts import Host, bare, hosts, weights
from curate.sample.languages import LANGUAGES, paragraphs
from curate.sample.prose import Page, Source
from curate.sample.rendered import Block

START = datetime(2024, 5, 18, 1, 58, 10, tzinfo=UTC)
ENDED_LINE = re.compile(r"[.!?\"']$")

SHARES: dict[str, dict[str, float]] = {  # of each source's documents; the rest is as it was found
    "wet": {"exact_copy": 0.05, "near_copy": 0.06, "same_url": 0.02, "language": 0.09, "junk": 0.13},
    "warc": {"exact_copy": 0.03, "near_copy": 0.05, "language": 0.08, "junk": 0.06, "truncated": 0.012, "not_found": 0.02, "image": 0.02,
             "revisit": 0.012},
    "c4": {"exact_copy": 0.04, "near_copy": 0.06, "overlap": 0.05, "language": 0.04, "junk": 0.06},
    "code": {"exact_copy": 0.05, "near_copy": 0.05, "junk": 0.08},
}  # fmt: skip
DAMAGES = {  # corrupt records, a kind of damage each, in the order in which they are chosen
    "wet": ("length_long", "utf8", "cut", "length_short", "length_word", "utf8"),
    "warc": ("cut", "content_encoding"),
    "c4": ("json", "cut", "utf8"),
    "code": (),
}
MOST_CORRUPT = 0.008  # of a source's records: below the error budget of a run, 1 %
BLOCKED_HOSTS = ("casino-bonus.example.net", "xxx-videos.example.com", "online-poker24.example.net", "viagra-shop.example.com")


@dataclass(frozen=True)
class Document:
    """One record to write, with the truth about it. `url` is the path for code."""

    kind: str
    url: str
    title: str
    body: tuple[Block, ...]
    date: datetime = START
    host: Host = field(default_factory=lambda: bare("www.example.org"))
    language: str = "en"
    of: str | None = None  # the address of what it copies
    similarity: float | None = None  # to that, as the Jaccard index of five words in a row
    rule: str | None = None  # what it should fail, or how it is damaged
    personal: tuple[str, ...] = ()  # addresses and numbers of made-up people in it
    package: str = ""
    licence: str = ""

    @property
    def text(self) -> str:
        """The page's own text, without what its site prints around it."""
        return "\n".join(line.text for line in self.body)

    def truth(self) -> dict[str, Any]:
        """The row of truth.jsonl, without where the record is; empty fields are left out."""
        row: dict[str, Any] = {
            "kind": self.kind,
            "language": self.language,
            "of": self.of,
            "similarity": self.similarity,
            "rule": self.rule,
        }
        row |= {"site": self.host.domain if self.host.menu else None, "personal": list(self.personal), "licence": self.licence}
        return {name: value for name, value in row.items() if value not in (None, [], "")}


def shares_of(source: str, documents: int) -> dict[str, int]:
    """How many documents of each kind; what is left is prose or code."""
    made = {kind: int(share * documents) for kind, share in SHARES[source].items()}
    made["corrupt"] = min(len(DAMAGES[source]), int(MOST_CORRUPT * documents))
    return made | {"plain": documents - sum(made.values())}


def pages_needed(source: str, documents: int) -> int:
    """How many pages of prose or files of code go into a source."""
    made = shares_of(source, documents)
    return made["plain"] + made["corrupt"] + made.get("truncated", 0)


def web(source: str, pages: Sequence[Page], documents: int, rng: Random) -> list[Document]:
    """The documents of a source of web pages, in their order of crawling."""
    made = shares_of(source, documents)
    sites = hosts(rng, max(6, documents // 40))
    taken: set[str] = set()
    rest = iter(pages)
    odds = weights(len(sites))
    plain = [_page(page, rng.choices(sites, weights=odds)[0], taken, rng) for page in islice(rest, made["plain"])]
    words = spoil.vocabulary_of([d.text for d in plain[:60]])
    long = [d for d in plain if len(d.text) >= 800] or plain
    others = [_exact(rng.choice(plain), taken, rng) for _ in range(made["exact_copy"])]
    others += [_near(rng.choice(long), words, taken, rng) for _ in range(made["near_copy"])]
    others += [_again(d, words, rng) for d in rng.sample(long, min(made.get("same_url", 0), len(long)))]
    others += [_foreign(language, taken, rng) for language in islice(cycle(LANGUAGES), made["language"])]
    others += [_junk(rule, words, taken, rng) for rule in islice(cycle((*spoil.JUNK, "url")), made["junk"])]
    others += [_odd(kind, at, sites, plain, rng) for kind in ("not_found", "image", "revisit") for at in range(made.get(kind, 0))]
    for kind, rules in (("corrupt", DAMAGES[source]), ("truncated", cycle(["length"]))):
        spoilt = zip(islice(rest, made.get(kind, 0)), rules, strict=False)
        others += [replace(_page(page, rng.choice(sites), taken, rng), kind=kind, rule=rule) for page, rule in spoilt]
    return _in_order([*plain, *others], rng)


def c4(pages: Sequence[Page], crawled: Sequence[Document], documents: int, rng: Random) -> list[Document]:
    """A source of cleaned pages, without what sites print around them; some are pages that the crawl holds under the same address."""
    shared = rng.sample([d for d in crawled if d.kind == "prose" and is_c4(d.body)], shares_of("c4", documents)["overlap"])
    cleaned = [replace(d, kind="overlap", of=d.url, body=sentences(d.body)) for d in shared]
    again = [replace(d, similarity=_alike(d.body, o)) for d, o in zip(cleaned, shared, strict=True)]
    found = web("c4", [page._replace(blocks=sentences(page.blocks)) for page in pages], documents, rng)
    return _in_order([replace(d, host=bare(d.host.domain)) for d in (*found, *again)], rng)


def is_c4(body: Sequence[Block]) -> bool:
    """Whether C4's cleaning leaves a page of some length."""
    left = sentences(body)
    return len(left) >= 3 and sum(len(line.text) for line in left) >= 300


def sentences(body: Sequence[Block]) -> tuple[Block, ...]:
    """The lines that end as sentences do and hold no brace."""
    return tuple(Block("text", line.text) for line in body if _is_sentence(line))


def _is_sentence(line: Block) -> bool:
    return line.role in ("text", "item") and bool(ENDED_LINE.search(line.text)) and line.text.count(" ") >= 3 and "{" not in line.text


def code(files: Sequence[Source], documents: int, rng: Random) -> list[Document]:
    """The documents of a source of code."""
    made = shares_of("code", documents)
    plain = [
        Document("code", f.path, f.path, (Block("code", f.text),), language="python", package=f.package, licence=f.licence) for f in files
    ]
    words = spoil.vocabulary_of([d.text for d in plain[:40]])
    others = []
    for at in range(made["exact_copy"]):
        other = rng.choice(plain)
        others.append(replace(other, kind="exact_copy", of=other.url, url=f"vendored-{at}/third_party/{other.url.split('/', 1)[1]}"))
    for at in range(made["near_copy"]):
        other = rng.choice(plain)
        body = (Block("code", spoil.near_copy_of_code(other.text, rng)),)
        url = f"fork-{at}/{other.url.split('/', 1)[1]}"
        others.append(replace(other, kind="near_copy", of=other.url, url=url, body=body, similarity=_alike(body, other)))
    for at, rule in enumerate(islice(cycle(spoil.JUNK_CODE), made["junk"])):
        text = "\n".join(spoil.JUNK_CODE[rule](words, rng)) + "\n"
        url = f"generated-{at}/static/{rule}.py"
        others.append(
            Document("junk", url, url, (Block("code", text),), language="python", rule=rule, package=f"generated-{at}", licence="MIT")
        )
    return _in_order([*plain, *others], rng)


def _in_order(documents: list[Document], rng: Random) -> list[Document]:
    """Shuffled and dated; what is cut off at the end of its file comes last, and a revisit after everything it may refer to."""
    rng.shuffle(documents)
    documents.sort(key=lambda d: (d.rule == "cut", d.kind in ("same_url", "revisit")))
    start = rng.randrange(600)
    return [
        replace(d, date=START + timedelta(days=30 if d.kind == "same_url" else 0, seconds=start + 3 * at)) for at, d in enumerate(documents)
    ]


def _address(host: Host, path: str, taken: set[str]) -> str:
    """A URL that no other document has."""
    for number in count(1):
        url = f"https://{host.domain}/{path}{'' if number == 1 else f'-{number}'}.html"
        if url not in taken:
            break
    taken.add(url)
    return url


def _page(page: Page, host: Host, taken: set[str], rng: Random) -> Document:
    url = _address(host, re.sub(r"[^\w/.-]", "-", f"{page.package}/{page.module.replace('.', '/')}"), taken)
    body = page.blocks
    personal: tuple[str, ...] = ()
    if rng.random() < 0.04:
        line, personal = _contact(host, rng)
        body = (*body[:1], Block("text", line), *body[1:])
    return Document("prose", url, f"{page.title} - {host.site}", body, host=host, personal=personal)


def _contact(host: Host, rng: Random) -> tuple[str, tuple[str, ...]]:
    """A line with a made-up person's addresses: reserved domains, reserved telephone numbers, addresses for documentation."""
    name = rng.choice([n for language in ("de", "fr", "es", "it", "nl") for n in LANGUAGES[language].names])
    first, last = name.split(" ", 1)
    plain = normalize("NFKD", f"{first}.{last}".lower().replace(" ", "")).encode("ascii", "ignore").decode()
    mail = f"{plain}@{host.domain.split('.', 1)[1]}"
    phone = f"+1 202-555-01{rng.randrange(100):02d}"
    server = f"{rng.choice(('192.0.2', '198.51.100', '203.0.113'))}.{rng.randrange(1, 255)}"
    return f"Maintained by {name}. Questions go to {mail} or by telephone to {phone}; the mirror is at {server}.", (mail, phone, server)


def _exact(of: Document, taken: set[str], rng: Random) -> Document:
    path = of.url.split("/", 3)[3].removesuffix(".html")
    return replace(of, kind="exact_copy", of=of.url, url=_address(of.host, f"{rng.choice(('print', 'archive', 'm'))}/{path}", taken))


def _near(of: Document, words: Sequence[str], taken: set[str], rng: Random) -> Document:
    body = spoil.near_copy(of.body, words, rng)
    url = _address(of.host, f"v{rng.randrange(2, 9)}/{of.url.split('/', 3)[3].removesuffix('.html')}", taken)
    return replace(of, kind="near_copy", of=of.url, url=url, body=body, similarity=_alike(body, of), personal=_kept(of.personal, body))


def _again(of: Document, words: Sequence[str], rng: Random) -> Document:
    """The same address crawled a month later, with some edits."""
    body = spoil.near_copy(of.body, words, rng)
    return replace(of, kind="same_url", of=of.url, body=body, similarity=_alike(body, of), personal=_kept(of.personal, body))


def _alike(body: Sequence[Block], of: Document) -> float:
    return round(spoil.similarity("\n".join(line.text for line in body), of.text), 3)


def _kept(personal: tuple[str, ...], body: Sequence[Block]) -> tuple[str, ...]:
    return tuple(p for p in personal if any(p in line.text for line in body))


def _foreign(language: str, taken: set[str], rng: Random) -> Document:
    lines = paragraphs(language, rng)
    host = bare(f"{language}.{rng.choice(('travel', 'village', 'chronicle'))}.example.org")
    title = lines[0].split("。")[0].split(". ")[0][:60]
    url = _address(host, f"{language}/{rng.randrange(1000, 10000)}", taken)
    return Document("language", url, title, tuple(Block("text", line) for line in lines), host=host, language=language)


def _junk(rule: str, words: Sequence[str], taken: set[str], rng: Random) -> Document:
    make: Callable[[Sequence[str], Random], list[str]] = spoil.JUNK.get(rule, spoil.JUNK["repeated_phrases"])
    host = bare(rng.choice(BLOCKED_HOSTS) if rule == "url" else f"www.{rng.choice(words)}.example.com")
    url = _address(host, f"{rng.choice(words)}/{rng.choice(words)}", taken)
    body = tuple(Block("item" if rule == "bullets" else "text", line) for line in make(words, rng))
    return Document("junk", url, " ".join(rng.choice(words).capitalize() for _ in range(3)), body, host=host, rule=rule)


def _odd(kind: str, at: int, sites: Sequence[Host], plain: Sequence[Document], rng: Random) -> Document:
    """What a crawl holds besides pages: answers that are not found, images, pages unchanged since the last visit."""
    if kind == "revisit":
        of = rng.choice(plain)
        return Document(kind, of.url, of.title, (), host=of.host, language="", of=of.url)
    host = rng.choice(sites)
    path = f"images/photo-{at}.png" if kind == "image" else f"old/page-{at}.html"
    return Document(kind, f"https://{host.domain}/{path}", "Page not found", (), host=host, language="")


def by_kind(documents: Sequence[Document]) -> Mapping[str, int]:
    """How many there are of each kind, in order of name."""
    kinds = [d.kind for d in documents]
    return {kind: kinds.count(kind) for kind in sorted(set(kinds))}
