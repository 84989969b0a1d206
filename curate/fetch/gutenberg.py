"""Project Gutenberg: plain texts by number, or the first of some languages from the catalogue (spec 6.1).

The project asks programs to keep to its mirrors and to wait between two requests: one file at a time, by default two seconds apart. It
publishes neither sizes nor checksums: the length is what is checked.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from curate.errors import RecipeError
from curate.fetch.wanted import Wanted
from curate.fetch.web import Refused, Web
from curate.values import near

ADDRESS = "https://gutenberg.pglaf.org"
CATALOGUE = "cache/epub/feeds/pg_catalog.csv"
PAUSE = 2.0  # seconds
LISTING = 256 << 20  # bytes; it has 20 MB
LARGEST = 256 << 20  # bytes of a book; the human genome's chromosomes are the largest


def files(web: Web, base: str, books: Sequence[int], languages: Sequence[str], most: int | None) -> list[Wanted]:
    """The texts of these books, or of the first `most` of these languages."""
    if not books:
        books = catalogue(web, f"{base}/{CATALOGUE}", languages)[:most]
    return [Wanted(f"{base}/cache/epub/{n}/pg{n}.txt", f"books/gutenberg/pg{n}.txt", most=LARGEST) for n in dict.fromkeys(books)]


def numbers(given: str) -> list[int]:
    """`11,1342` as numbers of books."""
    parts = [p.strip() for p in given.split(",")]
    if not all(p.isascii() and p.isdigit() and len(p) < 8 and int(p) for p in parts):
        raise RecipeError(f"--books {given}: expected the numbers of books with commas between them, such as 11,1342")
    return [int(p) for p in parts]


def catalogue(web: Web, url: str, languages: Sequence[str]) -> list[int]:
    """Numbers of the texts in any of these languages, in order."""
    rows = csv.DictReader(io.StringIO(web.read(url, LISTING)[0].decode("utf-8-sig", "replace"), newline=""))
    found, known = [], set()
    try:
        for row in rows:
            number, spoken = row.get("Text#") or "", {s.strip() for s in (row.get("Language") or "").split(";")}
            if row.get("Type") == "Text" and number.isascii() and number.isdigit() and len(number) < 8:
                known |= spoken
                if spoken & set(languages):
                    found.append(int(number))
    except csv.Error as error:
        raise Refused(f"{url}: is no catalogue ({error}). Name a mirror with --from") from None
    if not known:
        raise Refused(f"{url}: is no catalogue of Project Gutenberg: no Text#, Type and Language. Name a mirror with --from")
    for language in languages:
        if language not in known:
            raise RecipeError(f"--languages {language}: no text has this language{near(language, known)}")
    return sorted(found)
