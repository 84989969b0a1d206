"""Made-up papers as arXiv hands out its sources: a tar of one entry a paper, each a gzip of one TeX file or of a tar of the project.

Sections are pages of documentation in the clothes of LaTeX: macros with and without arguments, comments, verbatim, several files, a
bibliography, an appendix. Among them is what a reader must pass over or drop: a PDF, Latin-1, a paper without sections, one without TeX,
one whose macros blow each other up.
"""

from __future__ import annotations

import gzip
import io
import re
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from curate import store
from curate.sample.languages import LANGUAGES
from curate.sample.prose import Page
from curate.sample.rendered import Block

FEWEST, SHARE = 12, 0.01  # papers, and of the number of documents of the rest of the sample
SECTIONS = 3
MONTH = "2005"
MODIFIED = 1_589_000_000  # seconds: May 2020
SPECIAL = re.compile(r"[#$%&_{}]")
OTHER = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}"}
PREAMBLE = r"""\documentclass[11pt]{article}
\usepackage{amsmath} % for the theorem that was cut
\newcommand{\eg}{e.g.\ }
\newcommand{\code}[1]{\texttt{#1}}
\newcommand{\pair}[2][x]{(#1, #2)}
\def\R{\mathbb{R}}
\DeclareMathOperator{\rank}{rank}
"""
REMARK = r"""%% an old draft: \code{nothing} of this is read
For a matrix $A \in \R^{n \times n}$ of $\rank A = %d$, \eg one made of \pair{y} and \pair[z]{w}, 5\%% is enough. %% to be checked
"""
BIBLIOGRAPHY = r"""\begin{thebibliography}{9}
\bibitem{one} %s, \emph{On reference manuals}, Journal of Examples %d (2019).
\end{thebibliography}
"""


@dataclass(frozen=True)
class Paper:
    """One entry of the tar, with the truth about it."""

    kind: str  # project, single, pdf, latin1, no_section, no_tex, bomb
    name: str  # of the entry, below the month
    files: Mapping[str, bytes]
    title: str = ""

    def written(self) -> bytes:
        """The entry's bytes."""
        (first, *_), several = self.files.values(), len(self.files) > 1
        if self.kind == "pdf":
            return first
        return gzip.compress(_tar(self.files) if several or self.kind == "no_tex" else first, 6, mtime=0)


def papers(pages: Sequence[Page], documents: int, rng: Random) -> list[Paper]:
    """So many as fit the sample, in order of their numbers; some are none."""
    count = max(FEWEST, int(SHARE * documents))
    odd = ("pdf", "latin1", "no_section", "no_tex", "bomb")
    kinds = [*odd, *(("project", "single")[at % 2] for at in range(count - len(odd)))]
    rng.shuffle(kinds)
    numbers = sorted(rng.sample(range(1, 20_000), len(kinds)))
    return [
        _paper(kind, f"{MONTH}.{number:05d}", pages[at * SECTIONS : (at + 1) * SECTIONS], rng)
        for at, (kind, number) in enumerate(zip(kinds, numbers, strict=True))
    ]


def write(folder: Path, file: str, found: Sequence[Paper]) -> list[dict[str, Any]]:
    """The bulk tar; returns the rows of the truth, `record` being the entry's number."""
    entries = {f"{MONTH}/{p.name}{'.pdf' if p.kind == 'pdf' else '.gz'}": p.written() for p in found}
    store.write_bytes(str(folder / file), _tar(entries))
    return [{"file": file, "record": at, "title": p.name, "kind": p.kind, "language": "en"} for at, p in enumerate(found)]


def _paper(kind: str, name: str, pages: Sequence[Page], rng: Random) -> Paper:
    title = pages[0].title.split(" (")[0]
    author = rng.choice([n for language in ("de", "fr", "it") for n in LANGUAGES[language].names])
    head = f"{PREAMBLE}\\title{{{_escaped(title)}}}\n\\author{{{author}}}\n\\begin{{document}}\n\\maketitle\n"
    abstract = f"\\begin{{abstract}}\n{_escaped(_sentence(pages[0]))}\n\\end{{abstract}}\n"
    sections = [_section(page, rng) for page in pages]
    end = BIBLIOGRAPHY % (author, rng.randrange(1, 40)) + "\\appendix\n\\section{Left out}\nNobody reads this far.\n\\end{document}\n"
    whole = "".join([head, abstract, *sections, end])
    if kind == "pdf":
        return Paper(kind, name, {"paper.pdf": b"%PDF-1.5\n% made by a program, not a document\n%%EOF\n"}, title)
    if kind == "no_tex":
        return Paper(kind, name, {"README": b"The source was withdrawn.\n"}, title)
    if kind == "no_section":
        whole = f"{head}{abstract}\\end{{document}}\n"
    elif kind == "bomb":
        chain = "".join(f"\\def\\b{chr(97 + n)}{{\\b{chr(98 + n)}\\b{chr(98 + n)}}}\n" for n in range(24))
        whole = whole.replace("\\begin{document}", f"{chain}\\def\\by{{boom}}\n\\begin{{document}}").replace("\\section", "\\ba\n\\section")
    elif kind == "latin1":
        return Paper(kind, name, {"main.tex": whole.replace("Nobody", "André").encode("latin-1", "replace")}, title)
    elif kind == "project":
        files = {"sections/unused.tex": b"\\section{Unused}\nNo file refers to this one.\n"}
        files |= {f"sections/part{n}.tex": text.encode() for n, text in enumerate(sections, 1)}
        inputs = "".join(f"\\input{{sections/part{n}{'.tex' if n % 2 else ''}}}\n" for n in range(1, len(sections) + 1))
        return Paper(kind, name, {**files, "ms.tex": f"{head}{abstract}{inputs}{end}".encode(), "figure.eps": b"%!PS\n"}, title)
    return Paper(kind, name, {"main.tex": whole.encode()}, title)


def _section(page: Page, rng: Random) -> str:
    out = [f"\\section{{{_escaped(page.title.split(' (')[0])}}}\n"]
    items: list[str] = []
    for block in (*page.blocks, Block("text", "")):
        if block.role == "item":
            items.append(f"\\item {_escaped(block.text)}\n")
            continue
        if items:
            out.append(f"\\begin{{itemize}}\n{''.join(items)}\\end{{itemize}}\n\n")
            items = []
        if block.role in ("heading", "section"):
            out.append(f"\\subsection*{{{_escaped(block.text)}}}\n")
        elif block.role == "code":
            out.append(f"\\begin{{verbatim}}\n{block.text}\n\\end{{verbatim}}\n\n")
        elif block.text:
            out.append(f"{_escaped(block.text)}\n\n")
    out.insert(2, REMARK % rng.randrange(2, 9))
    return "".join(out)


def _sentence(page: Page) -> str:
    return next((b.text for b in page.blocks if b.role == "text" and len(b.text) > 60), page.title)


def _escaped(text: str) -> str:
    text = "".join(OTHER.get(c, c) for c in SPECIAL.sub(lambda m: f"\\{m[0]}", text).replace("\\", "\0")).replace("\0", "\\")
    return re.sub(r"\\(?![#$%&_{}]|text[a-z]+\{\})", lambda _: OTHER["\\"], text)


def _tar(files: Mapping[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mtime = len(data), MODIFIED
            archive.addfile(member, io.BytesIO(data))
    return out.getvalue()
