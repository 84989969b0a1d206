"""Docstrings, reStructuredText and Markdown as a browser would show them: blocks of plain text, hard line breaks undone.

Not a parser of either language: the marks that meet the eye most (roles, quotes, underlines, links, badges) are taken off, and what it
does not know stays as it is. About 15 MB/s.
"""

from __future__ import annotations

import re
from inspect import cleandoc
from typing import Literal, NamedTuple

Role = Literal["heading", "section", "text", "item", "code"]

UNDERLINE = re.compile(r"^\s*([=\-~^#*+`'\"_.:])\1{2,}\s*$")
ITEM = re.compile(r"^\s*(?:[-*+•]|\d{1,2}[.)]|\(\w\))\s+\S")
PROMPT = re.compile(r"^\s*(?:>>>|\.\.\. |\$ |In \[)")
HEADING = re.compile(r"^#{1,6}\s+(.+?)\s*#*$")
NUMPY_HEADING = re.compile(r"^(?:Parameters|Returns|Yields|Raises|See Also|Notes|References|Examples|Attributes|Methods|Args|Warnings):?$")
ENTRY = re.compile(r"^\s+\*{0,2}[a-zA-Z_][\w.]*(?: \([^)]*\))?: \S|^\s*:(?:param|type|return|raise|rtype|yield)")
DEFINED = re.compile(r"^\s*\*{0,2}\w+(?:, \*{0,2}\w+)* : |:$")
DIRECTIVE = re.compile(r"^\s*(?:\.\. (?!note|warning|tip|important|seealso|caution|version|deprecated)|:[a-z-]+:(?: \w+)?$)")
BADGE = re.compile(r"^\s*(?:\[?!\[|<\w|</)")
FENCE = re.compile(r"^\s*(?:```|~~~)")
WORDS_OF_ENGLISH = {
    "the",
    "of",
    "and",
    "to",
    "is",
    "in",
    "a",
    "for",
    "that",
    "this",
    "be",
    "are",
    "it",
    "with",
    "as",
    "or",
    "if",
    "by",
    "on",
    "not",
}
VERSIONS = {"versionadded": "New", "versionchanged": "Changed", "deprecated": "Deprecated"}
REPLACED = (
    (re.compile(r":(?:[\w+-]+:)?[\w+-]+:`~?\.?([^`<]+?)(?:\s*<[^`>]*>)?`"), r"\1"),  # :py:class:`~a.B` and :ref:`text <target>`
    (re.compile(r"`([^`<]+?)\s*<[^`>]*>`_+"), r"\1"),  # `text <address>`_
    (re.compile(r"``([^`]+)``"), r"\1"),
    (re.compile(r"`([^`]+)`_{0,2}"), r"\1"),
    (re.compile(r"!?\[([^\]]+)\]\([^)\s]+\)"), r"\1"),  # [text](address)
    (re.compile(r"\*\*([^*\n]+)\*\*"), r"\1"),
    (re.compile(r"^\.\. (note|warning|tip|important|seealso|caution)::\s*"), lambda m: m.group(1).capitalize() + ": "),
    (
        re.compile(r"^\.\. (versionadded|versionchanged|deprecated):: ?(\S+)\s*"),
        lambda m: f"{VERSIONS[m.group(1)]} in version {m.group(2)}: ",
    ),
    (re.compile(r"^:(?:param|parameter|arg|type)(?: [\w.\[\], ]+)? (\*{0,2}\w+):\s*"), r"\1: "),
    (
        re.compile(r"^:(returns?|rtype|raises?|yields?)(?: ([\w.]+))?:\s*"),
        lambda m: " ".join(filter(None, (m.group(1).capitalize(), m.group(2)))) + ": ",
    ),
    (re.compile(r":?:$"), ":"),
    (re.compile(r"(?<![\w/])~(?=[A-Za-z_])"), ""),
)


class Block(NamedTuple):
    """One line of a rendered page, or several where it is code."""

    role: Role
    text: str


def is_english(text: str) -> bool:
    """Whether words without which no English is written make up a fair share of the text."""
    words = text[:4000].lower().split()
    return sum(word in WORDS_OF_ENGLISH for word in words) > max(2, 0.12 * len(words))


def blocks(text: str) -> list[Block]:
    """The text as its rendered lines, in order."""
    found: list[Block] = []
    lines: list[str] = []
    fenced = False
    for line in [*cleandoc(text).expandtabs(4).split("\n"), ""]:
        if FENCE.match(line):
            found += _rendered(lines, code=fenced)
            lines, fenced = [], not fenced
        elif fenced:
            lines.append(line)
        elif not line.strip():
            found += _rendered(lines)
            lines = []
        elif UNDERLINE.match(line):
            if lines:
                heading = lines.pop()
                found += _rendered(lines)
                found += _headings(heading)
                lines = []
        elif BADGE.match(line) or DIRECTIVE.match(line):
            continue
        elif match := HEADING.match(line):
            found += _rendered(lines)
            found += _headings(match.group(1))
            lines = []
        else:
            if lines and _begins_anew(line, lines[-1]):
                found += _rendered(lines)
                lines = []
            lines.append(line)
    return found + _rendered(lines, code=fenced)


def _begins_anew(line: str, last: str) -> bool:
    """Whether a line is not the continuation of the one before it."""
    if PROMPT.match(last):  # what an example prints stays with it
        return False
    return bool(ITEM.match(line) or ENTRY.match(line) or PROMPT.match(line)) or _indent(line) < _indent(last)


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _headings(line: str) -> list[Block]:
    text = _plain(line)
    return [Block("section" if NUMPY_HEADING.match(text) else "heading", text)] if text else []


def _rendered(lines: list[str], code: bool = False) -> list[Block]:
    """One paragraph of the source: as code line by line, otherwise as one line; deeper lines below a first one are their own."""
    if not any(line.strip() for line in lines):
        return []
    if code or PROMPT.match(lines[0]):
        return [Block("code", cleandoc("\n".join(lines)))]
    if len(lines) == 1 and NUMPY_HEADING.match(lines[0].strip()):
        return _headings(lines[0])
    if ITEM.match(lines[0]):
        text = _plain(" ".join(line.strip() for line in lines))
        return [Block("item", text)] if text else []
    if len(lines) > 2 and sum(_is_code(line) for line in lines) > len(lines) / 2:
        return [Block("code", cleandoc("\n".join(lines)))]
    found: list[Block] = []
    run: list[str] = []
    for line in lines:
        if len(run) == 1 and _indent(line) > _indent(run[0]) and DEFINED.search(run[0]):  # a term, then what it means
            found.append(Block("text", _plain(" ".join(run))))
            run = []
        run.append(line if not run else line.strip())
    found.append(Block("text", _plain(" ".join(run))))
    return [block for block in found if re.search(r"\w", block.text)]


def _is_code(line: str) -> bool:
    return bool(re.search(r"[;{}]\s*$|^\s*(?:import|from|def|class|return|@)\b|\w\(.*\)\s*$|[|+]-{2,}| {3,}\S| = ", line.strip()))


def _plain(line: str) -> str:
    """Without the marks of its language, single-spaced."""
    line = line.strip()
    for pattern, replacement in REPLACED:
        line = pattern.sub(replacement, line)
    return " ".join(line.split())
