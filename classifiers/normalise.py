"""CCNet's normaliser of text for language models (Wenzek et al. 2020; cc_net, text_normalizer.py, all defaults): what models that were
trained as CCNet trains them must be given.

In this order: white space goes at both ends; lower case; accents go (canonical decomposition without nonspacing marks; what is left stays
decomposed); every decimal digit becomes 0; 34 characters of punctuation become ASCII; control characters are deleted, line feeds among
them, which glues words at line ends together.
Cost: 25 MB/s of web text in many scripts per core, 57 MB/s of English books; `classifiers.normalise_kernel` does the same to text in bulk.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from functools import cache, lru_cache

PUNCTUATION = {
    **dict.fromkeys("\uff0c\u3001", ","),
    **dict.fromkeys("\u201e\u201d\u201c\u00ab\u00bb\uff11\u300d\u300c\u300a\u300b", '"'),  # of these, U+FF11 is a digit, and is 0 by then
    **dict.fromkeys("\u00b4\u2019", "'"),
    **dict.fromkeys("\u2236\uff1a", ":"),
    **dict.fromkeys("\u2013\u2501\u25ba", "-"),
    "\u3002": ".",
    "\uff0e": ". ",
    "\u2026": "...",
    "\u2014": " - ",
    "\uff1f": "?",
    "\uff01": "!",
    "\uff1b": ";",
    "\uff05": "%",
    "\uff08": "(",
    "\uff09": ")",
    "\u3008": "<",
    "\u3009": ">",
    "\u3010": "[",
    "\u3011": "]",
    "\uff5e": "~",
}
CONTROL = (*range(0x20), *range(0x7F, 0xA0))
_UNASSIGNED = {"Cn", "Co", "Cs"}

SHORT = 16  # characters: runs up to it are remembered, as few make up most text
_CHANGING = re.compile("[\x00-\x1f1-9\x7f-\U0010ffff]+")  # all that may change in lower-case text, in whole runs: see _mapped


def normalise(text: str) -> str:
    """The text as CCNet's language models are given it."""
    text = text.strip().lower()
    return text.translate(replaced()) if text.isascii() else _CHANGING.sub(_replace, text)


def _replace(found: re.Match[str]) -> str:
    run = found[0]
    return _remembered(run) if len(run) <= SHORT else _mapped(run)


def _mapped(run: str) -> str:
    """Characters that stand next to each other. ASCII before and after them is safe to leave out: it neither decomposes nor moves."""
    return unicodedata.normalize("NFD", run).translate(replaced())


@lru_cache(1 << 15)
def _remembered(run: str) -> str:
    return _mapped(run)


@cache
def assigned() -> str:
    """Every character that Unicode says something about: all but surrogates, those for private use, and those to come."""
    return "".join(c for c in map(chr, range(sys.maxunicode + 1)) if unicodedata.category(c) not in _UNASSIGNED)


@cache
def replaced() -> dict[int, str | None]:
    """What becomes of code points once text is in lower case and decomposed; None where they go."""
    table: dict[int, str | None] = {ord(c): put for c, put in PUNCTUATION.items()}
    table |= dict.fromkeys(CONTROL)
    for c in assigned():
        match unicodedata.category(c):
            case "Mn":
                table[ord(c)] = None
            case "Nd":
                table[ord(c)] = "0"
    return table
