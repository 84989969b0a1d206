"""Source code: licences, headers and the heuristics of RedPajama's GitHub slice, made for Llama 1's.

Touvron et al. 2023, 2.1: projects under the MIT, BSD and Apache licences, "low quality files filtered with heuristics based on the line
length or proportion of alphanumeric characters", "boilerplate, such as headers, removed with regular expressions", then exact
deduplication of files, which is `dedup.exact.Exact` behind `Header`. The paper has no numbers; RedPajama's are the defaults, after
Codex and codeparrot. There duplicates go first.
One core, files of 10 KB: Heuristics 820 MB/s (27 times a loop in Python), Header 980, as RedPajama's 560, Generated 810; LettersPerToken
what the tokenizer does (SentencePiece: 3 MB/s).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from curate.batch import Array, Batch, Check, Mask, at_least, at_most
from curate.errors import RecipeError
from curate.stage import Checks, Filter, Model, Transform
from stages import code_kernels as kernels
from stages.spdx import is_listed, keys, parsed, permits

SUFFIXES = (  # RedPajama's list of what a path may end with; upper and lower case differ
    ".asm", ".bat", ".cmd", ".c", ".h", ".cs", ".cpp", ".hpp", ".c++", ".h++", ".cc", ".hh", ".C", ".H", ".cmake", ".css",
    ".dockerfile", ".f90", ".f", ".f03", ".f08", ".f77", ".f95", ".for", ".fpp", ".go", ".hs", ".html", ".java", ".js", ".jl", ".lua",
    ".md", ".markdown", ".php", ".php3", ".php4", ".php5", ".phps", ".phpt", ".pl", ".pm", ".pod", ".perl", ".ps1", ".psd1", ".psm1",
    ".py", ".rb", ".rs", ".sql", ".scala", ".sh", ".bash", ".command", ".zsh", ".ts", ".tsx", ".tex", ".vb", "Dockerfile", "Makefile",
    ".xml", ".rst", ".m", ".smali",
)  # fmt: skip
HASHES = (
    ".py", ".pyi", ".pyx", ".sh", ".bash", ".command", ".zsh", ".pl", ".pm", ".pod", ".perl", ".rb", ".jl", ".cmake", ".dockerfile", ".ps1",
    ".psd1", ".psm1", ".php", ".php3", ".php4", ".php5", ".phps", ".phpt", ".yml", ".yaml", ".toml", ".cfg", ".ini", ".conf", ".r", ".R",
    ".tcl", ".mk", ".coffee", ".nim", ".ex", ".exs", ".smali", "Dockerfile", "Makefile", "CMakeLists.txt", "makefile",
)  # fmt: skip
MARKUP = (".md", ".markdown", ".rst", ".html", ".htm", ".xml", ".svg", ".txt", ".vue")
OTHERS = (".asm", ".s", ".S", ".lisp", ".el", ".clj", ".scm", ".tex", ".sty", ".m", ".erl", ".f90", ".f", ".f03", ".f08", ".f77", ".f95")
MENTIONS = (
    "copyright", "licens", "licenc", "©", "(c) 1", "(c) 2", "all rights reserved",
    "redistribution and use", "permission is hereby granted", "merchantability",  # of paragraphs that stand alone
)  # fmt: skip
TOOLS = (  # what comments begin with that compilers and other tools read
    "-*-", "coding:", "coding=", "encoding:", "encoding=", "vim:", "vi:", "ex:", "go:", "+build", "@flow", "@noflow", "@ts-", "@jsx",
    "<reference", "eslint", "jshint", "jslint", "prettier-", "frozen_string_literal", "warn_indent", "typed:", "rubocop:", "type:", "mypy:",
    "pyright:", "pylint:", "flake8:", "ruff:", "noqa", "isort:", "fmt:", "yapf:", "cython:", "distutils:", "syntax=", "syntax =",
    "shellcheck", "luacheck", "swift-tools-version", "clang-format", "nolint", "!tex",
)  # fmt: skip
DIRECTIVES = ("include", "define", "ifdef", "ifndef", "pragma", "undef", "endif")


@dataclass(frozen=True)
class Licence(Filter):
    """Keep files whose `licence` is on the list, whole SPDX expressions included: one side of an OR, all of an AND."""

    licences: tuple[str, ...] = ("MIT", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause")  # 2.1: Apache, BSD and MIT; BigQuery's of that name

    @property
    def reads(self) -> tuple[str, ...]:
        return ("licence",)

    def check(self) -> None:
        if not self.licences:
            raise RecipeError(f"{self.name}.licences: without any, no file is kept")
        for licence in self.licences:
            tree = parsed(licence)
            if tree is None or len(keys(licence)) != 1 or not is_listed(tree):
                raise RecipeError(f"{self.name}.licences: {licence!r} is no SPDX identifier, such as MIT or BSD-3-Clause")

    def keep(self, batch: Batch) -> Checks:
        licence = batch["licence"].cast(pa.string()).fill_null("").dictionary_encode()
        named = licence.dictionary.to_pylist()
        permitted = [not expression or permits(expression, self._listed) for expression in named]
        at = licence.indices.to_numpy(zero_copy_only=False)
        return {"no_licence": np.array(list(map(bool, named)), np.bool_)[at], "licence": np.array(permitted, np.bool_)[at]}

    @cached_property
    def _listed(self) -> frozenset[str]:
        return frozenset().union(*map(keys, self.licences))


@dataclass(frozen=True)
class Skip(Filter):
    """Leave out files by their path alone."""

    suffixes: tuple[str, ...] = (".crt",)  # RedPajama, github_clean_dedup_local: certificates
    paths: tuple[str, ...] = ("LICENSE",)  # likewise: at the root only

    @property
    def reads(self) -> tuple[str, ...]:
        return ("path",)

    def keep(self, batch: Batch) -> Checks:
        paths = [path or "" for path in batch["path"].to_pylist()]
        return {"skipped": ~(_each(paths, lambda p: p.endswith(self.suffixes)) | _each(paths, frozenset(self.paths).__contains__))}


@dataclass(frozen=True)
class Header(Transform):
    """Take off the header of a file.

    `paper`: of the comments at the top those that speak of copyright, a licence or an author, and the blank lines behind. Line comments
    below each other are one, but for lines that tools read; for an author a paragraph of them is.
    `redpajama`, bug for bug: the first block comment anywhere, if it says copyright, else all lines at the top that are empty or begin with
    `//`, `#` or `--`, shebangs, `#include` and headings among them.
    """

    version: ClassVar[int] = 2

    mode: Literal["paper", "redpajama"] = "paper"  # ours: the paper says headers; RedPajama's rule eats #include

    @property
    def reads(self) -> tuple[str, ...]:
        return ("path",) if self.mode == "paper" else ()

    def apply(self, batch: Batch) -> Batch:
        if self.mode == "redpajama":
            data, offsets = kernels.cut_redpajama(*batch.utf8, np.frombuffer(b"copyright", np.uint8))
        else:
            language = np.fromiter(map(_language, batch["path"].to_pylist()), np.uint8, len(batch))
            mentions, directives = _packed(MENTIONS), _packed(DIRECTIVES)
            author = np.frombuffer(b"author", np.uint8)
            known = (language, kernels.classes(), *mentions, author, *directives, *_packed(TOOLS))
            data, offsets = kernels.cut_mentions(*batch.utf8, *known)
        return batch.with_text(pa.LargeStringArray.from_buffers(len(batch), pa.py_buffer(offsets), pa.py_buffer(data)))


@dataclass(frozen=True)
class Heuristics(Filter):
    """Lengths of lines (those of str.splitlines) and the share of alphanumeric characters, of the text without its header."""

    max_line: Annotated[int, Field(ge=1)] = 1000  # characters; RedPajama, after codeparrot
    max_mean_line: Annotated[float, Field(gt=0)] = 100.0  # likewise
    min_alphanumeric: Annotated[float, Field(ge=0, le=1)] = 0.25  # likewise: share of characters that str.isalnum accepts
    mean: Literal["all", "lines"] = "all"  # RedPajama: all characters by lines; codeparrot: without those that end lines
    suffixes: tuple[str, ...] = SUFFIXES  # RedPajama's; empty: of any name

    @property
    def reads(self) -> tuple[str, ...]:
        return ("path",) if self.suffixes else ()

    def keep(self, batch: Batch) -> Checks:
        lines, longest, chars, ending, alnum, _ = _facts(batch).T
        total = chars - (ending if self.mean == "lines" else 0)
        checks: dict[str, Mask | Check] = {"empty": batch.size > 0}
        if self.suffixes:
            checks["suffix"] = _each([path or "" for path in batch["path"].to_pylist()], lambda path: path.endswith(self.suffixes))
        return checks | {
            "long_line": at_most(longest.astype(np.float64), self.max_line),
            "long_lines": at_most(total / np.maximum(lines, 1), self.max_mean_line),
            "few_alphanumeric": at_least(alnum / np.maximum(chars, 1), self.min_alphanumeric),
        }


@dataclass(frozen=True)
class LettersPerToken(Filter):
    """Letters (str.isalpha) for each token of a tokenizer; few are data, hashes and keys rather than code."""

    tokenizer: Model  # tokenizer.json or a SentencePiece model; RedPajama: that of pythia-6.9b-deduped
    least: Annotated[float, Field(ge=0)] = 1.5  # RedPajama, github_run_filter
    characters: Literal["letters", "all"] = "letters"  # RedPajama; codeparrot: all

    def keep(self, batch: Batch) -> Checks:
        facts = _facts(batch)
        tokens = np.array(self._count(batch.text.to_pylist()), np.int64)
        measured = facts[:, 5 if self.characters == "letters" else 2]
        return {"few_letters": at_least(measured / np.maximum(tokens, 1), self.least)}

    def check(self) -> None:
        if not self.tokenizer.name and not os.path.exists(self._file):
            raise RecipeError(f"{self.name}.tokenizer: no file {self._file}; name a tokenizer.json or a SentencePiece .model")
        if not self.tokenizer.name:
            try:
                self._count(["a"])
            except Exception as error:  # the libraries have no kind of their own
                message = f"{self._file} is no tokenizer.json and no SentencePiece model: {str(error)[:200]}"
                raise RecipeError(f"{self.name}.tokenizer: {message}") from None

    @property
    def _file(self) -> str:
        """A folder is one that holds a tokenizer.json or a tokenizer.model."""
        path = self.tokenizer.path
        inside = [os.path.join(path, name) for name in ("tokenizer.json", "tokenizer.model")]
        return next(filter(os.path.exists, inside), path)

    def _count(self, texts: list[str]) -> list[int]:
        if self._file.endswith(".json"):
            return [len(encoding.ids) for encoding in self._model.encode_batch_fast(texts, add_special_tokens=False)]
        return [len(ids) for ids in self._model.encode(texts, out_type=int, num_threads=1)]

    @cached_property
    def _model(self) -> Any:
        data = Path(self._file).read_bytes()
        if self._file.endswith(".json"):
            os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
            from tokenizers import Tokenizer

            model = Tokenizer.from_buffer(data)
            model.no_truncation()
            model.no_padding()
            model.encode_special_tokens = True  # text is data
            return model
        from sentencepiece import SentencePieceProcessor

        return SentencePieceProcessor(model_proto=data)


@dataclass(frozen=True)
class Generated(Filter):
    """Files that programs wrote: they say so in their first lines, have a name of such, or are minified. Goes before `Header`."""

    says: tuple[str, ...] = (  # codeparrot's first three; ours: the others
        "auto-generated", "autogenerated", "automatically generated", "@generated", "do not edit",
    )  # fmt: skip
    lines: Annotated[int, Field(ge=1)] = 5  # of the top; codeparrot
    names: tuple[str, ...] = (  # ours: what a path may end with
        "_pb2.py", "_pb2_grpc.py", ".pb.go", ".pb.cc", ".pb.h", ".min.js", ".min.css", ".designer.cs", ".Designer.cs", "package-lock.json",
        "yarn.lock", "Cargo.lock", "poetry.lock", "Pipfile.lock", "go.sum", "npm-shrinkwrap.json", ".bundle.js", ".snap",
    )  # fmt: skip
    minified: Annotated[float, Field(gt=0)] = 110.0  # mean length of the lines of .js and .css; GitHub's linguist

    @property
    def reads(self) -> tuple[str, ...]:
        return ("path",)

    def check(self) -> None:
        if not all(text and text.isascii() and text == text.lower() for text in self.says):
            raise RecipeError(f"{self.name}.says: each is some text in lower-case ASCII; it is looked for in any case")

    def keep(self, batch: Batch) -> Checks:
        paths = [path or "" for path in batch["path"].to_pylist()]
        lines, _, chars, *_ = _facts(batch).T
        mean = np.where(_each(paths, lambda path: path.endswith((".js", ".css"))), chars / np.maximum(lines, 1), 0)
        return {
            "says_generated": ~kernels.first_lines_hold(*batch.utf8, self.lines, *_packed(self.says)),
            "name": ~_each(paths, lambda path: path.endswith(self.names)),
            "minified": at_most(mean, self.minified),
        }


def _facts(batch: Batch) -> Array:
    facts: Array = kernels.facts(*batch.utf8, kernels.classes())
    return facts


def _each(paths: list[str], test: Any) -> Mask:
    return np.fromiter(map(test, paths), np.bool_, len(paths))


def _packed(texts: tuple[str, ...]) -> tuple[Array, Array]:
    """(bytes of all, where each ends)."""
    parts = [text.encode() for text in texts]
    return np.frombuffer(b"".join(parts), np.uint8), np.cumsum([len(part) for part in parts], dtype=np.int64)


def _language(path: str | None) -> int:
    if not path or "." not in path.rpartition("/")[2]:
        return int(kernels.HASHES)
    kinds = ((HASHES, kernels.HASHES), (MARKUP, kernels.MARKUP), (OTHERS, kernels.OTHERS))
    return next((int(kind) for suffixes, kind in kinds if path.endswith(suffixes)), 0)
