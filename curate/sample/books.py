"""Made-up books as Project Gutenberg ships its own: plain text in many encodings, with headers and footers of three ages.

A chapter is a page of documentation. One book comes again in a later edition with a preface, so that the shorter lies in the longer; one
comes again with half of its chapters new, which is another book. One has no markers at all, one is a zip of one file.
"""

from __future__ import annotations

import io
import textwrap
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from curate import store
from curate.sample.languages import LANGUAGES, paragraphs
from curate.sample.prose import Page

FEWEST, SHARE = 8, 0.004  # books, and of the number of documents of the rest of the sample
CHAPTERS = 6
WIDTH = 72
CHARSETS = {"utf-8": "UTF-8", "utf-8-sig": "UTF-8", "latin-1": "ISO-8859-1", "cp1252": "Windows-1252"}
TITLES = ("The Keeper of the {}", "A Treatise on {}", "Letters about {}", "{}: A Romance", "The Last {}", "Upon {}")
HEADS = (  # markers are facts of the format; the words between them are ours
    "The Project Gutenberg eBook of {title}, by {author}\n\nMade by `curate sample`: no such book was ever printed.\n\nTitle: {title}\n\n"
    "Author: {author}\n\nRelease date: {date} [eBook #{number}]\n\nLanguage: {language}\n\nCharacter set encoding: {charset}\n\n"
    "*** START OF THE PROJECT GUTENBERG EBOOK {upper} ***\n\nProduced by nobody but a program\n\n",
    "Project Gutenberg's {title}, by {author}\n\nTitle: {title}\nAuthor: {author}\n\nRelease Date: {date} [EBook #{number}]\n\n"
    "Language: {language}\n\nCharacter set encoding: {charset}\n\n***START OF THE PROJECT GUTENBERG EBOOK {upper}***\n\n\n",
    "**This is a Project Gutenberg Etext of {title}**\n\n{title}\n\nby {author}\n\n{date} [Etext #{number}]\n\n"
    "*** START**THE SMALL PRINT!**FOR PUBLIC DOMAIN ETEXTS**START***\nNothing is promised of a text that a program has made.\n"
    "*END*THE SMALL PRINT! FOR PUBLIC DOMAIN ETEXTS*Ver.04.29.93*END*\n\n\n",
)
FEET = (
    "\n\n*** END OF THE PROJECT GUTENBERG EBOOK {upper} ***\n\nWhat follows the end is no part of the book.\n",
    "\n\nEnd of the Project Gutenberg EBook of {title}, by {author}\n\n***END OF THE PROJECT GUTENBERG EBOOK {upper}***\n\nMore of it.\n",
    "\n\nEnd of Project Gutenberg's Etext of {title}, by {author}\n",
)


@dataclass(frozen=True)
class Book:
    """One book, with the truth about it. `text` is the book alone."""

    kind: str  # book, edition, half_copy, language, unmarked
    title: str
    author: str
    language: str
    text: str
    number: int
    encoding: str = "utf-8"
    age: int = 0  # which header and footer; -1: none
    of: str | None = None  # the file of the book that it is an edition or half a copy of

    @property
    def file(self) -> str:
        """Named as the archive names them: by number and encoding."""
        ending = {"utf-8": "-0.txt", "utf-8-sig": "-0.txt", "latin-1": "-8.txt", "cp1252": ".txt"}[self.encoding]
        return f"books/{self.number}{ending}"

    def written(self) -> bytes:
        """The file's bytes: CRLF line ends, as most of the archive has them."""
        language = "German" if self.language == "de" else "English"
        fields: dict[str, Any] = {"title": self.title, "upper": self.title.upper(), "author": self.author, "number": self.number}
        fields |= {"language": language, "charset": CHARSETS[self.encoding], "date": f"March {1 + self.number % 28}, 2004"}
        around = (HEADS[self.age].format(**fields), FEET[self.age].format(**fields)) if self.age >= 0 else ("", "")
        return self.text.join(around).replace("\n", "\r\n").encode(self.encoding, "replace")

    def truth(self) -> dict[str, Any]:
        """The row of truth.jsonl, without where the book is."""
        row = {"title": self.title, "kind": self.kind, "language": self.language, "encoding": self.encoding, "of": self.of}
        return {name: value for name, value in row.items() if value}


def books(pages: Sequence[Page], documents: int, rng: Random) -> list[Book]:
    """So many as fit the sample; the first two come a second time."""
    count = max(FEWEST, int(SHARE * documents))
    encodings = ("utf-8", "utf-8-sig", "latin-1", "cp1252")
    numbers = rng.sample(range(100, 70_000), count)
    found: list[Book] = []
    for at, number in enumerate(numbers[: count - 4]):
        own = pages[at * CHAPTERS : (at + 1) * CHAPTERS]
        found.append(Book("book", *_named(own, rng), "en", _text(own), number, encodings[at % 4], at % len(HEADS)))
    first, second = found[0], found[1]
    preface = "PREFACE TO THE SECOND EDITION\n\nThe first was sold within the year. Some errors of the press are mended.\n\n\n\n"
    found.append(Book("edition", first.title, first.author, "en", preface + first.text, numbers[-4], "utf-8", 1, first.file))
    half = [*pages[CHAPTERS : CHAPTERS + CHAPTERS // 2], *pages[-CHAPTERS // 2 :]]
    found.append(Book("half_copy", f"{second.title}, abridged", second.author, "en", _text(half), numbers[-3], "utf-8", 0, second.file))
    german = "\n\n".join(_wrapped(line) for _ in range(40) for line in paragraphs("de", rng))
    found.append(Book("language", "Die Reise nach Lindenbach", LANGUAGES["de"].names[0], "de", german, numbers[-2], "latin-1", 0))
    last = pages[-2 * CHAPTERS : -CHAPTERS]
    found.append(Book("unmarked", *_named(last, rng), "en", _text(last), numbers[-1], "utf-8", -1))
    return found


def write(folder: Path, found: Sequence[Book]) -> list[dict[str, Any]]:
    """Every book a file, the last but one zipped; returns the rows of the truth."""
    truth = []
    for at, book in enumerate(found):
        data, file = book.written(), book.file
        if at == len(found) - 2:
            data, file = _zipped(Path(file).name, data), str(Path(file).with_suffix(".zip"))
        store.write_bytes(str(folder / file), data)
        truth.append({"file": file, "record": 0} | book.truth())
    return truth


def _zipped(name: str, data: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo(name, (2004, 3, 1, 0, 0, 0)), data)
    return out.getvalue()


def _named(pages: Sequence[Page], rng: Random) -> tuple[str, str]:
    words = [w for page in pages for w in page.title.split() if w.isalpha() and w.isascii() and len(w) > 3]
    author = rng.choice([name for language in ("fr", "es", "nl") for name in LANGUAGES[language].names])
    return rng.choice(TITLES).format(rng.choice(words or ["Winter"]).capitalize()), author


def _text(pages: Sequence[Page]) -> str:
    """Chapters of wrapped paragraphs."""
    chapters = []
    for number, page in enumerate(pages, 1):
        body = [block.text if block.role == "code" else _wrapped(block.text) for block in page.blocks]
        chapters.append("\n\n".join([f"CHAPTER {number}\n\n{page.title.split(' (')[0].upper()}", *body]))
    return "\n\n\n\n".join(chapters)


def _wrapped(text: str) -> str:
    return textwrap.fill(text, WIDTH, break_long_words=False, break_on_hyphens=False)
