"""What RedPajama's arxiv_cleaner.py does to a paper, fault for fault; its steps as their order and effects are known, in our own words.

Faults that are kept: macros without arguments only, whose definition ends its line; one pass in order of the table; \\paragraph is a
heading only right before \\subparagraph; a comment goes with the character before it; `\\\\%` is no comment. Bounded where it is not:
what macros write.
"""

from __future__ import annotations

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
    out = []
    for text in files:
        cleaned = _COMMENT.sub("", _COMMENT_LINE.sub("", _without_front(text)))
        cleaned = cleaned[: _end(cleaned)]
        for name, value in table.items():
            use = re.compile(re.escape(name) + r"([^A-Za-z0-9])")
            budget -= sum(1 for _ in use.finditer(cleaned)) * len(value)
            if budget < 0:
                raise Grown
            cleaned = use.sub(lambda found, value=value: value + found[1], cleaned)  # type: ignore[misc]
        out.append(cleaned)
    return "\n".join(out)


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
