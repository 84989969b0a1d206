"""Definitions of LaTeX macros, read as text: what is defined, what a use of it stands for."""

from __future__ import annotations

import re
from typing import NamedTuple

DEFINERS = (
    "newcommand",
    "renewcommand",
    "providecommand",
    "DeclareRobustCommand",
    "DeclareMathOperator",
    "def",
    "gdef",
    "edef",
    "xdef",
    "let",
)
LONGEST = 20_000  # characters of a body or an argument: what is longer is a brace that is not closed
_FLAT = re.compile(r"\{([^{}\\]*)\}")
_BRACE = re.compile(r"[{}]|\\.", re.DOTALL)
_BRACKET = re.compile(r"[\[\]{}]|\\.", re.DOTALL)
_SPACE = re.compile(r"[ \t]*+(?:\n[ \t]*+(?!\n))?")  # one line feed is a space, two end a paragraph
# possessive, as two quantifiers side by side take time in the square of the white space
_NAME = re.compile(r"\*?\s*+(?:\{\s*+\\([A-Za-z@]++)\s*+\}|\\([A-Za-z@]++))")
_COUNT = re.compile(r"\s*+\[\s*+([0-9])\s*+\]")
_PLAIN = re.compile(r"\s*+\\([A-Za-z@]++)\s*+((?:#[1-9])*+)\s*+(?=\{)")  # of \def, without delimiters
_DELIMITED = re.compile(r"\s*+\\(?>[A-Za-z@]++|.)[^{}\\\n]{0,200}+(?=\{)", re.DOTALL)
_LET = re.compile(r"\s*+\\([A-Za-z@]++)\s*+=?\s*+\\([A-Za-z@]++)")
_TOKEN = re.compile(r"\\(?:[A-Za-z@]+|.)|[^{}\s]", re.DOTALL)
_PARAMETER = re.compile(r"#(#|[1-9])")
_WORD = re.compile(r"\\[A-Za-z@]+\Z")
_WORDS = re.compile(r"\\([A-Za-z@]+)")
_XSPACE = re.compile(r"\\xspace\s*+(?=\}|\Z)")


class Unclosed(Exception):
    """A brace or bracket without an end near enough."""


class Macro(NamedTuple):
    """`body` is text and numbers of arguments in turn; `optional` is the default of the first. A `final` one is not looked through."""

    arguments: int
    optional: str | None
    body: tuple[str | int, ...]
    final: bool = False

    def filled(self, arguments: list[str]) -> str:
        """The body, with a space where an argument would run on in a command's name."""
        if len(self.body) == 1 and isinstance(self.body[0], str):
            return self.body[0]
        out = ""
        parts = []
        for part in self.body:
            piece = arguments[part - 1] if isinstance(part, int) else part
            if piece:
                if piece[0].isalpha() and ends_in_word(out):
                    parts.append(" ")
                parts.append(piece)
                out = piece
        return "".join(parts)


def ends_in_word(text: str) -> bool:
    """Whether a letter behind it would become part of a command's name."""
    return text[-1:].isalpha() and _WORD.search(text[-100:]) is not None


class Definition(NamedTuple):
    """`macro` is None for one that is left as it stands."""

    name: str
    macro: Macro | None
    end: int


def defined(kind: str, text: str, at: int, known: dict[str, Macro]) -> Definition | None:
    """The definition whose \\newcommand, \\def or \\let ends at `at`; None for what cannot be understood. Raises
    Unclosed."""
    if kind == "let":
        found = _LET.match(text, at)
        return _let(found, known) if found else None
    if kind.endswith("def"):
        return _def(text, at)
    found = _NAME.match(text, at)
    if not found:
        return None
    name, end = found[1] or found[2], found.end()
    if kind == "DeclareMathOperator":
        body = group(text, spaces(text, end))
        star = "*" if text.startswith("*", at) else ""
        return body and Definition(name, _macro(name, 0, None, f"\\operatorname{star}{{{body[0]}}}"), body[1])
    count, optional = 0, None
    if numbered := _COUNT.match(text, end):
        count, end = int(numbered[1]), numbered.end()
        if default := bracket(text, spaces(text, end)):
            optional, end = default
    body = argument(text, end)
    if body is None and optional is not None:
        raise Unclosed  # the default has been looked through in vain
    return body and Definition(name, _macro(name, count, optional, body[0]), body[1])


def _let(found: re.Match[str], known: dict[str, Macro]) -> Definition:
    """An alias of what the other name stands for now; of a command that nobody has defined, that command. Conditionals stay."""
    name, other = found.groups()
    if other in known:
        return Definition(name, known[other], found.end())
    keeps = other == "relax" or name == other or name.startswith("if") or other.startswith("if")
    return Definition(name, None if keeps else Macro(0, None, (f"\\{other}",), final=True), found.end())


def _def(text: str, at: int) -> Definition | None:
    if found := _PLAIN.match(text, at):
        numbers = found[2][1::2]
        if numbers == "123456789"[: len(numbers)]:
            body = group(text, found.end())
            return body and Definition(found[1], _macro(found[1], len(numbers), None, body[0]), body[1])
    if other := _DELIMITED.match(text, at):
        body = group(text, other.end())
        return body and Definition("", None, body[1])
    return None


def _macro(name: str, count: int, optional: str | None, body: str) -> Macro | None:
    """None for one that uses itself, or arguments that it does not take."""
    body = _XSPACE.sub("", body)
    if any(word[1] == name for word in _WORDS.finditer(body)):
        return None
    if "#" not in body:
        return Macro(count, optional, (body.strip("\n"),))
    parts: list[str | int] = []
    at = 0
    for found in _PARAMETER.finditer(body):
        parts += [body[at : found.start()], "#" if found[1] == "#" else int(found[1])]
        at = found.end()
    parts.append(body[at:])
    if any(isinstance(part, int) and part > count for part in parts):
        return None
    return Macro(count, optional, tuple(part for part in parts if part != ""))


def spaces(text: str, at: int) -> int:
    """Behind white space that does not end a paragraph."""
    found = _SPACE.match(text, at)
    return found.end() if found else at


def group(text: str, at: int) -> tuple[str, int] | None:
    """(what is between the braces that open at `at`, where they end). Raises Unclosed."""
    if flat := _FLAT.match(text, at, at + LONGEST):
        return flat[1], flat.end()
    if not text.startswith("{", at):
        return None
    depth = 0
    for found in _BRACE.finditer(text, at, at + LONGEST):
        mark = found[0]
        depth += (mark == "{") - (mark == "}")
        if not depth:
            return text[at + 1 : found.start()], found.end()
    raise Unclosed


def bracket(text: str, at: int) -> tuple[str, int] | None:
    """As `group`, of square brackets; those within braces do not count."""
    if not text.startswith("[", at):
        return None
    depth = 0
    for found in _BRACKET.finditer(text, at + 1, at + LONGEST):
        mark = found[0]
        if mark == "]" and not depth:
            return text[at + 1 : found.start()], found.end()
        depth += (mark == "{") - (mark == "}")
        if depth < 0:
            break
    raise Unclosed


def argument(text: str, at: int) -> tuple[str, int] | None:
    """A group, or else one token, as TeX takes it; None at the end of a paragraph, a group or the text."""
    at = spaces(text, at)
    if text.startswith("{", at):
        return group(text, at)
    found = _TOKEN.match(text, at)
    return (found[0], found.end()) if found else None


def arguments(macro: Macro, text: str, at: int) -> tuple[list[str] | None, int]:
    """What a use of the macro that ends at `at` is given, None if that is too little; and up to where the text was looked through."""
    given: list[str] = []
    try:
        if macro.optional is not None:
            start = spaces(text, at)
            found = bracket(text, start)
            if found:
                at = found[1]
            given.append(found[0] if found else macro.optional)
        while len(given) < macro.arguments:
            found = argument(text, at)
            if found is None:
                return None, at
            given.append(found[0])
            at = found[1]
    except Unclosed:
        return None, min(at + LONGEST, len(text))
    return given, at
