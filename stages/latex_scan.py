"""A LaTeX project from its main file to the text of the paper, in one pass: inputs, definitions, macros, the first heading, the end.

As TeX reads: the text is a stack of sources, the top one being what an \\input or a macro stands for, and a definition holds from where
it stands. Groups are not followed: what is defined within one holds behind it, too. Everything is bounded: depth of inputs and of
macros, and what both write together.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from stages import latex_macros as macros
from stages.latex_comments import VERBATIM, environment_end, inline_end
from stages.latex_macros import Macro, Unclosed
from stages.latex_project import Project

TOKEN = re.compile(r"\\([A-Za-z]+(?:@+[A-Za-z]*)*|[^A-Za-z])", re.DOTALL)
HEADINGS = ("part", "chapter", "section", "subsection", "subsubsection")
DEEPEST_INPUT = 20
LONGEST_INDENT = 200  # characters
DEEP = 4096  # characters that a macro counts for which is too deep: a few of those stay, a doubling chain has a thousand
LEAST = 16  # characters that an expansion counts for...
PART = 4  # ... and each part of its body
_HEADING = re.compile(r"\*?\s*+[\[{]")
_CLOSING = re.compile(
    r"\*?\s*\{\s*(?:((?:bibliograph(?:y|ical references)|references(?: and notes)?|(literature(?: cited)?))[\s.:]*\})"
    r"|appendi(?:x|ces)(?![a-z]))",
    re.IGNORECASE,
)
_ENVIRONMENT = re.compile(r"[ \t]*\{[ \t]*([A-Za-z*]+)[ \t]*\}")
_EMPTY = re.compile(r"\{\}(?![\^_])")  # as in \name{}s: it ended the name
_GROUP = re.compile(r"\s*\{([^{}]{0,300})\}")
_BARE = re.compile(r"[ \t]+([^\s{}\\%]{1,300})")
_CONDITION = re.compile(r"\\(if(?!f(?![A-Za-z@])|thenelse|toggle|bool|def(?![A-Za-z])|[A-Z])[A-Za-z@]*|fi(?![A-Za-z@])|else(?![A-Za-z@]))")
_END = re.compile(r"\s*+\Z")
_PREFIXED = re.compile(r"\s*\\(?:long|global|protected|outer|[gex]?def|let|(?:re)?newcommand)(?![A-Za-z@])")
_SWITCH = re.compile(r"\s*\\if([A-Za-z]+)")
_IF0 = re.compile(r"[ \t]*0(?!0)")
_DOCUMENT = re.compile(r"\\begin\s*\{document\}(.*?)(?:\\end\s*\{document\}|\Z)", re.DOTALL)
_REST = re.compile(r"[ \t]*\n")
_TITLE = re.compile(r"\\title\s*(?:\[[^\]]{0,500}\]\s*)?\{")
_BLANK_LINES = re.compile(r"\n[ \t]*\n[ \t\n]*\n")
_LAYOUT = re.compile(  # before a bibliography
    r"\\(?:clearpage|cleardoublepage|newpage|pagebreak|balance|footnotesize|scriptsize|small|normalsize|singlespacing|onecolumn|selectfont"
    r"|fontsize\{[^{}]{0,20}\}\{[^{}]{0,20}\})(?![A-Za-z])"
    r"\s*(?:\{\}|\{)?\Z"
)
_SECTION = re.compile(r"\\(?:part|chapter|section)(?![A-Za-z@])")
_BIBLIOGRAPHIES = ("thebibliography", "references", "REFERENCES")
_APPENDICES = ("appendix", "appendices", "subappendices")


def _stripped(text: str, end: int) -> int:
    """Where the text before `end` ends but for white space."""
    while end and text[end - 1].isspace():
        end -= 1
    return end


class Grown(Exception):
    """Inputs and macros write more than they may."""


@dataclass
class Source:
    """A text that is being read."""

    text: str
    depth: int = 0  # of macros
    at: int = 0
    file: str = ""


@dataclass
class Scan:
    """What came of a project."""

    project: Project
    folder: str
    appendix: bool
    max_depth: int
    budget: int  # characters that inputs and macros may write
    counts: Counter[str] = field(default_factory=Counter)
    front: list[str] = field(default_factory=list)  # before the first heading
    out: list[str] = field(default_factory=list)
    verbatim: list[int] = field(default_factory=list)  # pieces of `out`, in order
    headed: bool = False
    ended: bool = False
    found: bool = False  # a heading, in any file
    mark: int = 0  # where the file's own pieces begin in `out`
    switches: dict[str, bool] = field(default_factory=dict)  # of \\newif
    seen: set[str] = field(default_factory=set)  # inputs
    stack: list[Source] = field(default_factory=list)
    table: dict[str, Macro] = field(default_factory=dict)

    def __post_init__(self) -> None:
        one: dict[str, Callable[[str, Source, int, int], None]] = {}
        one |= dict.fromkeys(HEADINGS, self._heading)
        one |= dict.fromkeys(macros.DEFINERS, self._define)
        one |= dict.fromkeys(("input", "include", "subfile", "subfileinclude", "import", "subimport"), self._input)
        one |= dict.fromkeys(("verb", "lstinline", "mintinline"), self._inline)
        one |= {"begin": self._begin, "end": self._end, "appendix": self._appendix, "endinput": self._endinput}
        one |= {"bibliography": self._bibliography, "printbibliography": self._bibliography, "bibliographystyle": self._style}
        one |= {"iffalse": self._branch, "iftrue": self._branch, "if": self._branch, "newif": self._newif}
        one |= dict.fromkeys(("long", "global", "protected", "outer"), self._prefix)
        self.handlers = one

    def run(self, text: str, file: str, headless: bool) -> None:
        """Read a file that is nobody's input to its end; without a heading it is kept only if it may be `headless`. Raises Grown."""
        if self.out:
            self.out.append("\n")
        self.headed, self.ended, self.mark = False, False, len(self.out)
        self.stack = [Source(text, file=file)]
        while self.stack and not self.ended:
            self._read(self.stack[-1])
        if not self.headed and not headless:
            self._restart()

    def text(self) -> str:
        """What was written, without runs of blank lines but in what is verbatim."""
        parts: list[str] = []
        start = 0
        for n in [*self.verbatim, len(self.out)]:
            parts.append(_BLANK_LINES.sub("\n\n", "".join(self.out[start:n])))
            parts += self.out[n : n + 1]
            start = n + 1
        whole = "".join(parts)
        del parts
        end = _stripped(whole, len(whole))
        while cut := _LAYOUT.search(whole, max(0, end - 100), end):
            end = _stripped(whole, cut.start())
        return whole[:end] + "\n" if whole.find("\n", end) >= 0 else whole[:end]

    def title_and_abstract(self) -> str:
        """As paragraphs, from what stood before the first heading."""
        front = "".join(self.front)
        title = _TITLE.search(front)
        try:
            named = macros.group(front, title.end() - 1) if title else None
        except Unclosed:
            named = None
        abstract = front.partition("\\begin{abstract}")[2].partition("\\end{abstract}")[0]
        parts = (part.strip() for part in (named[0] if named else "", abstract))
        return "".join(f"{part}\n\n" for part in parts if part)

    def _spend(self, size: int) -> None:
        self.budget -= size
        if self.budget < 0:
            raise Grown

    def _read(self, source: Source) -> None:
        """Go on in the source on top of the stack, to the first command that does something, or to its end."""
        text, table, handlers = source.text, self.table, self.handlers
        for token in TOKEN.finditer(text, source.at):
            name = token[1]
            if name not in handlers and name not in table and ("@" not in name or (name := name.partition("@")[0]) not in table):
                continue
            begin = token.start()
            self.out.append(text[source.at : begin])
            source.at = begin
            handlers.get(name, self._expand)(name, source, begin, begin + 1 + len(name))
            return
        self.out.append(text[source.at :])
        self.stack.pop()

    def _expand(self, name: str, source: Source, begin: int, end: int) -> None:  # noqa: ARG002
        """Put what a macro stands for on the stack."""
        macro, depth = self.table[name], source.depth + 1
        if depth > self.max_depth:
            self.counts["too_deep"] += 1
            self._spend(DEEP)
            self._keep(source, end)
            return
        holder, at = source, end
        popped = 0
        if macro.arguments or macro.optional is not None:
            while not holder.file and len(self.stack) - popped > 1 and _END.match(holder.text, at):
                popped += 1  # arguments stand behind the macro whose last word this one is
                holder = self.stack[-1 - popped]
                at = holder.at
        values, stop = macros.arguments(macro, holder.text, at)
        self._spend(max(LEAST, stop - at + PART * len(macro.body)))
        if values is None:
            self.counts["without_arguments"] += 1
            self._keep(source, end)
            return
        self._spend(sum(len(part if isinstance(part, str) else values[part - 1]) for part in macro.body))
        text = macro.filled(values)
        self.counts["expanded"] += 1
        del self.stack[len(self.stack) - popped :]
        runs_on = macros.ends_in_word(text)
        if not values and not runs_on and (empty := _EMPTY.match(holder.text, stop)):
            stop = empty.end()
        if runs_on and holder.text[stop : stop + 1].isalpha():
            text += " "
        holder.at = stop
        if macro.final or "\\" not in text:
            self.out.append(text)
        else:
            self.stack.append(Source(text, depth))

    def _keep(self, source: Source, end: int) -> None:
        """Write what stands before `end` as it is."""
        self.out.append(source.text[source.at : end])
        source.at = end

    def _skip(self, source: Source, begin: int, end: int) -> None:
        """Leave out what stands between; if nothing else is on its line, the line."""
        text = source.text
        near = max(0, begin - LONGEST_INDENT)
        line = text.rfind("\n", near, begin) + 1 or near
        if (not line or text[line - 1] == "\n") and not text[line:begin].strip() and (rest := _REST.match(text, end)):
            end = rest.end()
        source.at = end

    # what commands do; `begin` and `end` are the command's

    def _define(self, kind: str, source: Source, begin: int, end: int) -> None:
        try:
            found = macros.defined(kind, source.text, end, self.table)
        except Unclosed:
            self._spend(min(2 * macros.LONGEST, len(source.text) - end))  # a default and a body
            found = None
        if found is None:
            self._keep(source, end)
        elif found.macro is None or found.name in self.handlers:
            self.table.pop(found.name, None)
            self.counts["left_definitions"] += 1
            self._keep(source, found.end)
        else:
            self.counts["definitions"] += 1
            if not (kind == "providecommand" and found.name in self.table):
                body = found.macro.body
                of_ours = kind == "let" and isinstance(body[0], str) and body[0][1:] in self.handlers  # what cannot be redefined
                self.table[found.name] = found.macro._replace(final=False) if of_ours else found.macro
            self._skip(source, begin, found.end)

    def _prefix(self, _: str, source: Source, begin: int, end: int) -> None:  # noqa: ARG002
        if _PREFIXED.match(source.text, end):
            source.at = end  # goes with its definition
        else:
            self._keep(source, end)

    def _heading(self, kind: str, source: Source, begin: int, end: int) -> None:
        behind = (s.text[s.at : s.at + 100] for s in reversed(self.stack[:-1]))
        following = source.text[end : end + 100] or next((text for text in behind if text), "")
        titled = None if kind.startswith("sub") else _CLOSING.match(source.text, end)  # what is within a section does not end the paper
        if titled is not None and titled[2] and self._goes_on(source, titled.end()):
            titled = None  # a review of the literature
        if titled is not None and self.appendix and self.headed:
            self.counts["ended_by_heading"] += 1
        if titled is None:
            if not self.headed and _HEADING.match(following):
                self.headed = self.found = True
                self._restart()
            self._keep(source, end)
        elif titled[1]:
            self._cut(source, begin, titled.end())
        else:
            self._appendix("", source, begin, end)

    def _goes_on(self, source: Source, end: int) -> bool:
        """Whether a section begins in what is still to be read, but for inputs and macros."""
        for s in reversed(self.stack):
            at = end if s is source else s.at
            found = _SECTION.search(s.text, at)
            self._spend((found.end() if found else len(s.text)) - at)
            if found:
                return True
        return False

    def _restart(self) -> None:
        self.front += self.out[self.mark :]
        del self.out[self.mark :]
        while self.verbatim and self.verbatim[-1] >= self.mark:
            self.verbatim.pop()

    def _input(self, kind: str, source: Source, begin: int, end: int) -> None:
        text, path = source.text, ""
        if kind.endswith("import") and (within := _GROUP.match(text, end)):
            path, end = within[1].strip() + "/", within.end()
        wanted = _GROUP.match(text, end) or (_BARE.match(text, end) if kind == "input" else None)
        if wanted is None:
            self._keep(source, end)
            return
        if wanted[1].strip().endswith(".bbl"):
            self._cut(source, begin, wanted.end())
            return
        found = self.project.find(path + wanted[1].strip(), self.folder)
        opened = [s.file for s in self.stack if s.file]
        fault = "missing_inputs" if found is None else "input_cycles" if found in opened else ""
        fault = fault or ("deep_inputs" if len(opened) > DEEPEST_INPUT else "")
        self.counts[fault or "inputs"] += 1
        self._spend(len(self.stack))
        if fault or found is None:
            self._spend(LEAST)
            self._skip(source, begin, wanted.end())
            return
        source.at = wanted.end()
        inside = self.project.files[found]
        self._spend(max(LEAST, len(inside)) if found in self.seen else 0)
        self.seen.add(found)
        if own := _DOCUMENT.search(inside):
            inside = own[1]
        if text.startswith("\n", source.at):
            inside = inside.removesuffix("\n")  # with the line of the \\input it would end the paragraph
        self.stack.append(Source(inside, file=found))

    def _endinput(self, _: str, source: Source, begin: int, end: int) -> None:  # noqa: ARG002
        while self.stack and not self.stack.pop().file:
            pass

    def _inline(self, name: str, source: Source, begin: int, end: int) -> None:  # noqa: ARG002
        stop = inline_end(source.text, end + source.text.startswith("*", end), name)
        self._verbatim(source, stop if stop > 0 else end)

    def _verbatim(self, source: Source, end: int) -> None:
        self.verbatim.append(len(self.out))
        self._keep(source, end)

    def _begin(self, _: str, source: Source, begin: int, end: int) -> None:
        named = _ENVIRONMENT.match(source.text, end)
        name, stop = (named[1], named.end()) if named else ("", end)
        if name in VERBATIM:
            self._verbatim(source, environment_end(source.text, stop, name))
        elif name == "document":
            self.headed = False
            self._restart()
            self._skip(source, begin, stop)
        elif name in _BIBLIOGRAPHIES:
            self._cut(source, begin, stop, f"\\end{{{name}}}")
        elif name in _APPENDICES:
            self._appendix(name, source, begin, stop)
        else:
            self._keep(source, stop)

    def _end(self, _: str, source: Source, begin: int, end: int) -> None:  # noqa: ARG002
        named = _ENVIRONMENT.match(source.text, end)
        self.ended = named is not None and named[1] == "document"
        if not self.ended:
            self._keep(source, end)

    def _bibliography(self, name: str, source: Source, begin: int, end: int) -> None:
        argument = _GROUP.match(source.text, end)
        if name == "bibliography" and not argument:
            self._keep(source, end)
        else:
            self._cut(source, begin, argument.end() if argument else end)

    def _cut(self, source: Source, begin: int, end: int, until: str = "") -> None:
        """The bibliography: with the appendix, all from here on; else itself."""
        self.ended = self.appendix and self.headed
        if not self.ended:
            stop = source.text.find(until, end)
            self._skip(source, begin, len(source.text) if stop < 0 else stop + len(until))

    def _style(self, _: str, source: Source, begin: int, end: int) -> None:
        argument = _GROUP.match(source.text, end)
        if argument:
            self._skip(source, begin, argument.end())
        else:
            self._keep(source, end)

    def _appendix(self, _: str, source: Source, begin: int, end: int) -> None:  # noqa: ARG002
        self.ended = self.appendix and self.headed
        if not self.ended:
            self._keep(source, end)

    def _newif(self, _: str, source: Source, begin: int, end: int) -> None:
        """A switch of the author's: \\ifname, \\nametrue and \\namefalse are understood from here on."""
        named = _SWITCH.match(source.text, end)
        if named is None:
            self._keep(source, end)
            return
        name = named[1]
        self.switches[f"if{name}"] = False
        self.handlers |= {f"if{name}": self._branch, f"{name}true": self._switch, f"{name}false": self._switch}
        self._skip(source, begin, named.end())

    def _switch(self, name: str, source: Source, begin: int, end: int) -> None:
        to = name.endswith("true")
        self.switches[f"if{name.removesuffix('true' if to else 'false')}"] = to
        self._skip(source, begin, end)

    def _branch(self, name: str, source: Source, begin: int, end: int) -> None:
        """The branch that is not taken goes, with its \\else and \\fi. \\if itself is known where it is \\if0, the idiom for never."""
        text, depth, other = source.text, 0, 0
        start = end
        if name == "if":
            never = _IF0.match(text, end)
            if never is None:
                self._keep(source, end)
                return
            start = never.end()
        taken = name == "iftrue" or self.switches.get(name, False)
        for found in _CONDITION.finditer(text, start):
            word = found[1]
            if word == "fi" and not depth:
                low, high = (start, other or found.start()) if taken else (other and other + len("\\else"), found.start())
                self._skip(source, begin, found.end())
                if taken or other:
                    self._spend(high - low)
                    self.stack.append(Source(text[low:high], source.depth))
                return
            if word == "else" and not depth:
                other = found.start()
            depth += word.startswith("if") - (word == "fi")
        self._spend(len(text) - end)
        self._keep(source, end)
