"""What RedPajama's arxiv_cleaner.py does to a paper, fault for fault; its steps as their order and effects are known, in our own words.

Faults that are kept: macros without arguments only, whose definition ends its line; one pass in order of the table; \\paragraph is a
heading only right before \\subparagraph; a comment goes with the character before it; `\\\\%` is no comment. Bounded where it is not:
what macros write, and how much text is looked through for their uses, which is that of macros that have some.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterator, Sequence

from stages.latex_scan import Grown

_NEWCOMMAND = re.compile(r"\\newcommand\*?\{(\\[A-Za-z0-9]+)\}\{")
_DEF = re.compile(r"\\def\s*(\\[A-Za-z0-9]+)\s*\{")
_HEADING = re.compile(r"\\(?:chapter|part|section|subsection|subsubsection|paragraph)\*?(?=[\[{])")
_COMMENT_LINE = re.compile(r"^%.*\n?", re.MULTILINE)
_COMMENT = re.compile(r"[^\\]%.+$", re.MULTILINE)
_SUBPARAGRAPH = re.compile(r"\}\\subparagraph\*?[\[{]")
_END = re.compile(r"\\appendix|\\begin\{(?:references|REFERENCES|thebibliography)\}|\\bibliography\{")


_WORD = re.compile(r"\\[A-Za-z0-9]+")
_ALNUM, _JOINS = re.compile(r"[A-Za-z0-9]"), re.compile(r"[\\A-Za-z0-9]")
LOOKED = 400  # characters that are looked through, for each that macros may write


class NotAscii(Exception):
    """A macro whose value is not ASCII, over which the original fails."""


def clean(files: Sequence[str], budget: int) -> str:
    """The files of a paper, cleaned and joined. Raises NotAscii, or Grown where macros write more than `budget` characters."""
    table: dict[str, str] = {}
    for text in files:
        for form in (_NEWCOMMAND, _DEF):
            table.update(_definitions(form, text))
    if not all(value.isascii() and value.replace("\t", "").replace("\r", "").isprintable() for value in table.values()):
        raise NotAscii
    order = {name: n for n, name in enumerate(table)}
    left, looked, most = budget, 0, LOOKED * budget
    out = []
    for text in files:
        cleaned = _COMMENT.sub("", _COMMENT_LINE.sub("", _without_front(text)))
        cleaned = cleaned[: _end(cleaned)]
        words = set(_WORD.findall(cleaned))  # all that there are, if not only those
        pending = [(order[word], word) for word in words if word in order]
        heapq.heapify(pending)
        while pending:
            at, name = heapq.heappop(pending)
            value = table[name]
            uses = _uses(name, cleaned)
            left -= len(uses) * len(value)
            looked += len(cleaned)
            if left < 0 or looked > most:
                raise Grown
            new = set(_WORD.findall(value))
            for use in uses:
                if _ALNUM.match(value) and _JOINS.match(cleaned, max(0, use - 1)):  # a word may go on in the value
                    start = max(0, cleaned.rfind("\\", 0, use))
                    looked += use - start
                    if looked <= most and (word := _WORD.match(cleaned[start:use] + value)):
                        new.add(word[0])
            cleaned = _replaced(cleaned, uses, len(name), value)
            for word in new - words:
                if order.get(word, -1) > at:
                    heapq.heappush(pending, (order[word], word))
            words |= new
        out.append(cleaned)
    return "\n".join(out)


def _uses(name: str, text: str) -> list[int]:
    """Where the name stands before what is no letter or digit. It takes that, too: of two side by side only the first."""
    found = []
    at = text.find(name)
    while at >= 0:
        end = at + len(name)
        after = text[end : end + 1]
        used = bool(after) and not (after.isascii() and after.isalnum())
        if used:
            found.append(at)
        at = text.find(name, end + used)
    return found


def _replaced(text: str, places: Sequence[int], length: int, value: str) -> str:
    parts = []
    at = 0
    for place in places:
        parts += [text[at:place], value]
        at = place + length
    parts.append(text[at:])
    return "".join(parts)


def _definitions(form: re.Pattern[str], text: str) -> Iterator[tuple[str, str]]:
    """(name, value) of what is defined by one form: the value is the rest of the line but for the brace that ends it."""
    end = 0
    for found in form.finditer(text):
        if found.start() >= end:
            stop = text.find("\n", found.end())
            end = len(text) if stop < 0 else stop
            if text[end - 1] == "}" and end > found.end():
                yield found[1], text[found.end() : end - 1]


def _without_front(text: str) -> str:
    """From the first heading on, whose title in braces, and short title in brackets before it, may end anywhere behind."""
    brace = text.rfind("}")
    bracket = text.rfind("]{", 0, max(brace, 0))
    follower = max((m.start() for m in _SUBPARAGRAPH.finditer(text) if (bracket if m[0][-1] == "[" else brace) >= m.end()), default=-1)
    opens = -1  # the next bracket that closes before a brace
    for found in _HEADING.finditer(text):
        begin, at = found.span()
        last = follower if found[0].startswith("\\paragraph") else brace
        if text[at] == "[" and at < bracket:
            opens = at = opens if opens > at else text.find("]{", at)
        elif text[at] == "[":
            continue
        if at < last:
            return text[begin:]
    return ""


def _end(text: str) -> int:
    brace = text.rfind("}")
    return next((m.start() for m in _END.finditer(text) if m[0][-1] != "{" or brace >= m.end()), len(text))
