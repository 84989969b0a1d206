"""Sentences as Punkt finds them (Kiss and Strunk 2006), by NLTK's tokenizer with its trained parameters: `punkt_tab`, plain text tables.

What C4 counts sentences with: c4_utils.py of TensorFlow Datasets loads the same parameters for English. They are read from the archive or
folder as text; the pickles of earlier releases are never opened.
Cost per core: 2 to 3 MB/s, down to 60 kB/s where every word is an abbreviation; so a count ends where enough sentences are found, after
0.2 ms of a page. 1.4 s to load.
NLTK is shown LONGEST characters at once: in longer words it takes time without end, or raises after 5 seconds. The first of a text decide
how many sentences it has (`count`), and a sentence ends there at the latest (`spans`).
"""

from __future__ import annotations

import re
import zipfile
from collections import defaultdict
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from curate.errors import CurateError
from curate.stage import Model

ABBREVIATIONS, COLLOCATIONS, STARTERS, CONTEXTS = "abbrev_types.txt", "collocations.tab", "sent_starters.txt", "ortho_context.tab"
LARGEST = 16 << 20  # bytes of a table; the largest of punkt_tab has 1.3 million
LONGEST = 100_000  # characters; 2 s of NLTK at most. ours: Touvron and Raffel know no bound
_PLACES = ("{}", "punkt_tab/{}", "tokenizers/punkt_tab/{}")  # of a language's folder, in what is given


def tables(model: Model, language: str) -> dict[str, list[str]]:
    """The lines of a language's four tables. Raises CurateError where they are not there whole."""
    try:
        root: Any = zipfile.Path(model.path) if zipfile.is_zipfile(model.path) else Path(model.path)
        places = [root, *(root.joinpath(*place.format(language).split("/")) for place in _PLACES)]
        home = next((place for place in places if (place / ABBREVIATIONS).is_file()), None)
        if home is None:
            raise CurateError(
                f"{model.path}: expected NLTK's punkt_tab.zip, or a folder like it, with {language}/{ABBREVIATIONS} in it; found none. "
                "Name {known: punkt_tab.zip} under `models:`"
            )
        found = {}
        for name in (ABBREVIATIONS, COLLOCATIONS, STARTERS, CONTEXTS):
            with (home / name).open("rb") as file:
                data = file.read(LARGEST + 1)
            if len(data) > LARGEST:
                raise CurateError(f"{model.path}: {language}/{name} has more than {LARGEST:,} bytes, and so is no table of Punkt's")
            found[name] = [line for line in data.decode().replace("\r", "").split("\n") if line]
    except (OSError, KeyError, zipfile.BadZipFile, UnicodeDecodeError) as error:
        raise CurateError(f"{model.path}: cannot be read as parameters of Punkt for {language} ({error})") from error
    return found


def check(model: Model, language: str = "english") -> None:
    """Raise CurateError unless the parameters are there; nothing is said of a model that has no path yet."""
    if model.path:
        tables(model, language)


def load(model: Model, language: str = "english") -> Any:
    """NLTK's tokenizer. Its patterns are compiled by `re`, as NLTK did when C4 was made: those of NLTK 3.10 raise by the clock."""
    from nltk.tokenize.punkt import PunktLanguageVars, PunktParameters, PunktSentenceTokenizer

    lines = tables(model, language)
    parameters = PunktParameters()
    try:
        parameters.abbrev_types = set(lines[ABBREVIATIONS])
        parameters.sent_starters = set(lines[STARTERS])
        parameters.collocations = {(a, b) for a, b in (line.split("\t") for line in lines[COLLOCATIONS])}
        parameters.ortho_context = defaultdict(int, {word: int(flags) for word, flags in (line.split("\t") for line in lines[CONTEXTS])})
    except ValueError as error:
        raise CurateError(f"{model.path}: a line of {COLLOCATIONS} or {CONTEXTS} for {language} is not two fields with a tab") from error
    patterns = PunktLanguageVars()
    patterns._re_word_tokenizer = re.compile(patterns._word_tokenizer_re().pattern, re.VERBOSE)
    patterns._re_period_context = re.compile(patterns.period_context_re().pattern, re.VERBOSE)
    return PunktSentenceTokenizer(parameters, lang_vars=patterns)


def count(tokenizer: Any, text: str, most: int) -> int:
    """How many sentences the first LONGEST characters of a text have, or `most` if they have more: looks no further than it has to."""
    return sum(1 for _ in islice(tokenizer.span_tokenize(text[:LONGEST]), most)) if most > 0 else 0


def spans(tokenizer: Any, text: str) -> Iterator[tuple[int, int]]:
    """(start, end) of each sentence of a text, none longer than LONGEST, in time that grows with the text."""
    at = 0
    while at < len(text):
        found = list(tokenizer.span_tokenize(text[at : at + LONGEST]))
        behind = at + LONGEST
        if behind < len(text) and found and found[-1][0] > 0:  # the last may go on
            behind = at + found.pop()[0]
        yield from ((at + low, at + high) for low, high in found)
        at = behind
