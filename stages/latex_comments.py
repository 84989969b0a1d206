"""LaTeX without its comments; what is verbatim, and addresses, keep their percent signs."""

from __future__ import annotations

import re
from collections.abc import Iterator

VERBATIM = ("verbatim", "verbatim*", "Verbatim", "BVerbatim", "LVerbatim", "lstlisting", "minted", "alltt", "filecontents", "filecontents*")
_NAMES = "|".join(re.escape(name) for name in VERBATIM)
_MARK = re.compile(
    rf"%|\\(?:(?P<verb>verb(?![A-Za-z])\*?|lstinline(?![A-Za-z])|mintinline(?![A-Za-z]))"
    rf"|begin[ \t]*\{{(?P<env>{_NAMES}|comment)\}}|(?P<url>(?:url|path|nolinkurl|href)[ \t]*\{{)|[^A-Za-z])",
    re.DOTALL,
)
_ADDRESS = re.compile(r"[^{}\n]*\}")
_OPTIONS = re.compile(r"(?:\[[^\]\n]{0,500}\])?")
_LANGUAGE = re.compile(r"\{[^{}\n]{1,100}\}")  # of \mintinline
_WORD = re.compile(r"\\[A-Za-z@]+\Z")
_BLANK = " \t"
LONGEST_WORD = 64


def inline_end(text: str, at: int, command: str) -> int:
    """Where `\\verb|..|` ends, whose command ends at `at`; -1 if it does not on its line."""
    if not command.startswith("verb"):
        for pattern in (_OPTIONS, _LANGUAGE) if command == "mintinline" else (_OPTIONS,):
            if option := pattern.match(text, at):
                at = option.end()
    mark = text[at : at + 1]
    if not mark or mark.isspace():
        return -1
    stop = text.find("}" if mark == "{" else mark, at + 1, at + 2000)
    return stop + 1 if stop > 0 and "\n" not in text[at:stop] else -1


def environment_end(text: str, at: int, name: str) -> int:
    """Where a verbatim environment ends, looked for from `at`; the text's end if nowhere, as TeX would have it."""
    end = f"\\end{{{name}}}"
    stop = text.find(end, at)
    return len(text) if stop < 0 else stop + len(end)


def uncomment(text: str) -> str:
    """Comments go with the white space before them; a line that holds nothing else goes whole.

    TeX joins the line that ends in a comment to the next one. The line feed stays here, as it reads better, unless that would cut a word
    in two.
    """
    return "".join(_pieces(text))


def _pieces(text: str) -> Iterator[str]:
    at = 0
    for mark in _MARK.finditer(text):
        begin, end = mark.span()
        if begin < at:
            continue  # within what was passed over
        if mark["verb"]:
            stop = inline_end(text, end, mark["verb"])
            if stop > 0:
                yield text[at:stop]
                at = stop
        elif name := mark["env"]:
            stop = environment_end(text, end, name)
            yield text[at : begin if name == "comment" else stop]
            at = stop
        elif mark["url"]:
            if address := _ADDRESS.match(text, end):
                yield text[at : address.end()]
                at = address.end()
        elif text[begin] == "%":
            start, before = at, text[at:begin].rstrip(_BLANK)
            yield before
            line = text.find("\n", begin)
            at = len(text) if line < 0 else line
            if line < 0:
                continue
            if before.endswith("\n") or (not before and text[max(0, start - 1) : start] in ("", "\n")):
                at = line + 1
            elif before and text[begin - 1].isalnum():
                after = line + 1
                while text[after : after + 1] in (" ", "\t"):
                    after += 1
                if text[after : after + 1].isalnum() and not _WORD.search(before[-LONGEST_WORD:]):
                    at = after
    yield text[at:]
