"""LaTeX papers to the text that a model is trained on (Touvron et al. 2023, 2.1, arXiv: "following" Minerva, Lewkowycz et al. 2022, B.1).

Of the paper's words: everything before the first section and the bibliography removed, comments removed, user-written definitions and
macros expanded inline. `paper` does this to the whole project as TeX would read it; `redpajama` is what RedPajama's arxiv_cleaner.py
does, fault for fault, for comparison.
Cost, one core: 21 MB of LaTeX a second; `redpajama` 16 MB; pylatexenc parses 0.13 MB, without doing anything yet.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Literal

import numpy as np
import orjson
import pyarrow as pa

from curate.batch import Batch, at_most
from curate.errors import RecipeError
from curate.stage import Checks, Transform
from stages import latex_redpajama
from stages.latex_comments import uncomment
from stages.latex_project import Project, normal
from stages.latex_scan import Grown, Scan

RULES = ("not_utf8", "macro_not_ascii", "growth", "no_section", "empty")


@dataclass(frozen=True)
class Clean(Transform):
    """From the first heading to the bibliography, without comments, with macros written out.

    `paper`: the main file (\\documentclass) with its inputs; other files are left out. \\newcommand, \\renewcommand, \\providecommand,
    \\DeclareRobustCommand, \\DeclareMathOperator, \\def and \\let are expanded and their definitions go; environments, \\def with
    delimiters, commands of xparse and mathtools and a definition that uses itself stay as they are. \\iffalse, \\iftrue, \\if0 and what
    \\newif declares are decided. Sections called "References" and "Appendix" end the text, as the commands do; "Literature" if it is the
    last. Verbatim text is kept.
    What macros and repeated inputs may write is bounded: a bomb is dropped by the rule `growth`, as half of one would be no text.
    """

    mode: Literal["paper", "redpajama"] = "paper"  # redpajama: arxiv_cleaner.py
    files: str | None = "files"  # column that tells the files of a text apart, as of read.arxiv; null: a text is one file
    appendix: Literal["cut", "keep"] = "cut"  # Minerva, RedPajama: all behind it and the bibliography goes; the paper: bibliography only
    without_section: Literal["drop", "keep"] = "drop"  # Minerva, RedPajama; keep: letters that have no headings, from \\begin{document}
    front: Literal["drop", "keep"] = "drop"  # the paper; keep: title and abstract before the text, as Minerva adds from metadata
    max_depth: int = 10  # ours: of macros within macros; deeper ones stay as they are
    max_growth: float = 4.0  # ours: what macros write, in lengths of all the paper's files...
    min_growth: int = 1 << 20  # ours: ... or characters, if that is more
    max_chars: int | None = None  # of the cleaned text; Minerva: 75,000 tokens, and 0.6 tokens a character, which need a tokenizer

    def __post_init__(self) -> None:
        for name in ("max_depth", "max_growth", "min_growth", "max_chars"):
            if (getattr(self, name) or 0) < 0:
                raise RecipeError(f"{name}: expected 0 or more, found {getattr(self, name)}")

    @property
    def reads(self) -> tuple[str, ...]:
        return tuple(name for name in (self.files, "encoding" if self.mode == "redpajama" else None) if name)

    @property
    def adds(self) -> tuple[str, ...]:
        """`latex` counts, as JSON, what was done: inputs that were missing or led in circles, definitions, macros, a heading as the end."""
        return ("latex",)

    def apply(self, batch: Batch) -> tuple[Batch, Checks]:
        lists = batch[self.files].to_pylist() if self.files else [None] * len(batch)
        encodings = batch["encoding"].to_pylist() if self.mode == "redpajama" else ["utf-8"] * len(batch)
        cleaned, counts, failed = [], [], []
        for text, listed, encoding in zip(batch.text, lists, encodings, strict=True):
            done: Counter[str] = Counter()
            files = apart(text.as_py(), listed)
            out, rule = self._project(files, done) if self.mode == "paper" else self._redpajama(files, encoding)
            cleaned.append(out)
            failed.append(RULES.index(rule) if rule else -1)
            counts.append(orjson.dumps(done, option=orjson.OPT_SORT_KEYS).decode())
        after = batch.with_text(cleaned).with_column("latex", pa.array(counts, pa.string()))
        rule_of = np.array(failed, np.int64)
        checks: Checks = {rule: rule_of != n for n, rule in enumerate(RULES)}
        if self.max_chars is not None:
            checks["too_long"] = at_most(after.chars, self.max_chars)
        return after, checks

    def _project(self, files: dict[str, str], done: Counter[str]) -> tuple[str, str]:
        """(text, the rule that drops it or "")."""
        count, words = len(files), any(map(str.strip, files.values()))
        for name in files:
            files[name] = uncomment(_lines(files[name]))  # in place: a long paper is not held twice
        project = Project(files)
        size = sum(map(len, project.files.values()))
        roots = project.roots()
        budget = int(max(self.max_growth * size, self.min_growth))
        scan = Scan(project, normal(roots[0].rpartition("/")[0]), self.appendix == "cut", self.max_depth, budget, done)
        try:
            for root in roots:
                scan.run(project.files[root], root, self.without_section == "keep")
        except Grown:
            return "", "growth"
        done["unused_files"] = count - len(roots) - len(scan.seen - set(roots))
        text = scan.text()
        if self.front == "keep":
            text = scan.title_and_abstract() + text
        return text, "" if text.strip() else "empty" if scan.found or not words else "no_section"

    def _redpajama(self, files: dict[str, str], encoding: str | None) -> tuple[str, str]:
        if encoding not in ("utf-8", None):
            return "", "not_utf8"
        budget = int(max(self.max_growth * sum(map(len, files.values())), self.min_growth))
        try:
            text = latex_redpajama.clean(list(files.values()), budget)
        except latex_redpajama.NotAscii:
            return "", "macro_not_ascii"
        except Grown:
            return "", "growth"
        return text, "" if text else "empty"


def apart(text: str, listed: str | None) -> dict[str, str]:
    """The files of a text by name, from a list of [name, characters]; a text that the list does not fit is one file."""
    try:
        sizes = [(str(name), int(size)) for name, size in orjson.loads(listed or "[]")]
    except (ValueError, TypeError):
        sizes = []
    if not sizes or any(size < 0 for _, size in sizes) or sum(size for _, size in sizes) + len(sizes) - 1 != len(text):
        return {"": text}
    files: dict[str, str] = {}
    at = 0
    for name, size in sizes:
        while name in files:
            name += f"+{len(files)}"
        files[name] = text[at : at + size]
        at += size + 1
    return files


def _lines(text: str) -> str:
    """With line feeds at the ends of lines, and without a byte order mark."""
    return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
