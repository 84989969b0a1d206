"""Code: the golden pairs G1 to G12, RedPajama's and codeparrot's rules written out in Python, licences, headers in the paper's sense."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from curate.batch import Batch, Check
from curate.errors import RecipeError
from curate.stage import Filter, Model
from stages import code_kernels
from stages.code import Generated, Header, Heuristics, LettersPerToken, Licence, Skip

C_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)


def batch(texts: list[str], **columns: list[Any]) -> Batch:
    data = {"id": [str(n) for n in range(len(texts))], "text": pa.array(texts, pa.large_string())}
    return Batch.of(pa.record_batch({**data, **{name: pa.array(values, pa.string()) for name, values in columns.items()}}))


def cut(text: str, mode: str = "redpajama", path: str = "a.c") -> str:
    after = Header(mode=mode).apply(batch([text], path=[path]))  # type: ignore[arg-type]
    return str(after.text[0])


def dropped(stage: Filter, text: str = "x = 1\n", **columns: Any) -> str:
    """The first rule that a document fails, or ""."""
    found = stage.keep(batch([text], **{name: [value] for name, value in columns.items()}))
    assert isinstance(found, dict)
    return next((rule for rule, c in found.items() if not (c.passed if isinstance(c, Check) else c)[0]), "")


def redpajama(text: str) -> str:
    """Section 4.3, step 3, in Python."""
    found = C_COMMENT.search(text)
    if found:
        return text[: found.start()] + text[found.end() :] if "copyright" in found[0].lower() else text
    lines = text.split("\n")
    first = next((n for n, line in enumerate(lines) if line and not line.startswith(("//", "#", "--"))), len(lines))
    return "\n".join(lines[first:])


# -- golden pairs -------------------------------------------------------------------------------------------------------------------


def test_g1_block_comment_with_copyright_at_the_top_is_cut_and_the_line_feed_stays() -> None:
    assert cut("/* Copyright 2020 X */\nint x;\n") == "\nint x;\n"


def test_g2_block_comment_without_copyright_and_a_line_comment_stay() -> None:
    text = "/* hello */\n// Copyright 2020 X\nint x;\n"
    assert cut(text) == text


def test_g3_only_the_first_block_comment_is_looked_at() -> None:
    text = "/* hello */\n/* Copyright 2020 X */\nint x;\n"
    assert cut(text) == text


def test_g4_shebang_and_copyright_lines_go() -> None:
    assert cut("#!/usr/bin/env python\n# Copyright X\n\nimport os\n") == "import os\n"


def test_g5_includes_and_headings_go_too() -> None:
    assert cut("#include <a.h>\n#define X 1\nint x;") == "int x;"
    assert cut("# Title\n\nText") == "Text"


def test_g6_indented_comment_stops_the_run() -> None:
    assert cut("  // c\nint x;") == "  // c\nint x;"


def test_g7_file_of_comments_only_becomes_empty_and_is_dropped() -> None:
    assert cut("# a\n# b") == ""
    assert dropped(Heuristics(), "", path="a.py") == "empty"


def test_g8_comment_in_the_middle_is_cut_and_two_line_feeds_are_left() -> None:
    assert cut("a { b: c }\n/* (C) copyright X */\nd { e: f }") == "a { b: c }\n\nd { e: f }"


def test_g9_statistics() -> None:
    lines, longest, chars, _, alnum, _ = code_kernels.facts(*batch(["a\nbb\n", ""]).utf8, code_kernels.classes()).T
    assert (lines[0], longest[0], chars[0] / lines[0], alnum[0] / chars[0]) == (2, 2, 2.5, 0.6)
    assert (lines[1], longest[1], chars[1], alnum[1]) == (0, 0, 0, 0)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("x" * 1000 + "\n" * 99, ""),
        ("x" * 1001 + "\n" * 99, "long_line"),
        ("x" * 99 + "\n", ""),  # 100.0 with the line feed
        (("x" * 99 + "\n") * 99 + "x" * 100 + "\n", "long_lines"),  # 100.01
        ("xx" + "-" * 6, ""),
        ("xx" + "-" * 7, "few_alphanumeric"),
    ],
)
def test_g10_bounds_are_inclusive(text: str, rule: str) -> None:
    assert dropped(Heuristics(), text, path="a.py") == rule


def test_g10_ratio_of_letters_to_tokens_is_inclusive(tmp_path: Path) -> None:
    stage = LettersPerToken(tokenizer=Model(characters(tmp_path)))
    assert dropped(stage, "aa a") == ""  # 3 letters in 2 tokens
    assert dropped(stage, "a a") == "few_letters"
    assert dropped(LettersPerToken(tokenizer=Model(characters(tmp_path)), characters="all"), "a a") == ""


@pytest.mark.parametrize(
    ("path", "rule"),
    [
        ("x/LICENSE", "suffix"),
        ("LICENSE", "skipped"),
        ("a.C", ""),
        ("a.PY", "suffix"),
        ("MyDockerfile", ""),
        ("gnumakefile", "suffix"),
        ("key.crt", "skipped"),
    ],
)
def test_g11_paths(path: str, rule: str) -> None:
    assert (dropped(Skip(), path=path) or dropped(Heuristics(), path=path)) == rule


@pytest.mark.parametrize(
    ("licence", "rule"),
    [
        ("apache-2.0", ""),
        ("gpl-2.0", "licence"),
        ("isc", "licence"),
        (None, "no_licence"),
        ("", "no_licence"),
        ("MIT OR GPL-3.0-only", ""),
        ("MIT AND GPL-3.0-only", "licence"),
        ("MIT AND (GPL-2.0-only OR BSD-3-Clause)", ""),
        ("MIT AND LicenseRef-unmatched", "licence"),
        ("Apache-2.0 WITH LLVM-exception", ""),
        ("GPL-2.0-only WITH Classpath-exception-2.0", "licence"),
        ("MIT/Apache", "licence"),
        ("(" * 400 + "MIT", "licence"),
    ],
)
def test_g12_licences(licence: str | None, rule: str) -> None:
    assert dropped(Licence(), licence=licence) == rule


# -- against Python -----------------------------------------------------------------------------------------------------------------

PIECES = ["/*", "*/", "//", "#", "--", "\n", "\r\n", " ", "copyright", "Copyright", "x", "é", "*", "/", "\u2028", "\U0001d400", "½", "\t"]
TEXTS = st.one_of(st.lists(st.sampled_from(PIECES), max_size=30).map("".join), st.text(max_size=80))


@given(st.lists(TEXTS, max_size=6))
@settings(max_examples=400, deadline=None)
def test_redpajama_headers_are_those_of_its_rule_in_python(texts: list[str]) -> None:
    assert Header(mode="redpajama").apply(batch(texts)).text.to_pylist() == [redpajama(t) for t in texts]


@given(st.lists(TEXTS, max_size=6))
@settings(max_examples=400, deadline=None)
def test_facts_are_those_of_python_strings(texts: list[str]) -> None:
    found = code_kernels.facts(*batch(texts).utf8, code_kernels.classes())
    for text, row in zip(texts, found.tolist(), strict=True):
        lines = text.splitlines()
        ending = len(text) - sum(map(len, lines))
        alnum, alpha = sum(map(str.isalnum, text)), sum(map(str.isalpha, text))
        assert row == [len(lines), max(map(len, lines), default=0), len(text), ending, alnum, alpha]


def test_mean_line_is_by_redpajama_with_or_by_codeparrot_without_line_ends() -> None:
    text = ("x" * 100 + "\n") * 3
    assert dropped(Heuristics(), text, path="a.py") == "long_lines"
    assert dropped(Heuristics(mean="lines"), text, path="a.py") == ""


@given(TEXTS)
@settings(max_examples=200, deadline=None)
def test_paper_headers_leave_text_that_mentions_nothing(text: str) -> None:
    quiet = text.replace("copyright", "word").replace("Copyright", "Word")
    if not re.search("copyright|licen[sc]|author|©|\\(c\\)|all rights", quiet, re.IGNORECASE):
        for path in ("a.py", "a.c", "a.md", "a.tex", "Makefile"):
            assert cut(quiet, "paper", path) == quiet


@given(TEXTS)
@settings(max_examples=200, deadline=None)
def test_headers_take_away_and_add_nothing(text: str) -> None:
    for mode, path in (("paper", "a.py"), ("paper", "a.c"), ("redpajama", "a.c")):
        rest = iter(text)
        assert all(character in rest for character in cut(text, mode, path))


@pytest.mark.parametrize(
    ("path", "text", "left"),
    [
        ("a.py", "#!/bin/x\n# Copyright 2020 X\n# All rights reserved.\n\nimport os\n", "#!/bin/x\nimport os\n"),
        ("a.py", "# Copyright 2020 X\n#\n# What this does.\nimport os\n", "import os\n"),
        ("a.go", "// Copyright 2020 X\n// licence\n\n// Package a does it.\npackage a\n", "// Package a does it.\npackage a\n"),
        ("a.go", "// Copyright X\n//\n// Redistribution and use\n//\n// THIS IS NO CODE.\n\npackage a\n", "package a\n"),
        ("a.go", "// Copyright X\n\n// Redistribution and use in any form\n\npackage a\n", "package a\n"),
        ("a.go", "//go:build linux\n// Copyright X\n//\n// +build linux\npackage a\n", "//go:build linux\n// +build linux\npackage a\n"),
        ("a.py", "# -*- coding: utf-8 -*-\n# Copyright X\nx = 1\n", "# -*- coding: utf-8 -*-\nx = 1\n"),
        ("a.rb", "# Copyright X\n# frozen_string_literal: true\nx = 1\n", "# frozen_string_literal: true\nx = 1\n"),
        ("a.js", "// @flow\n// Copyright X\nx;\n", "// @flow\nx;\n"),
        ("a.c", "// Copyright X\n#include <a.h>\n", "#include <a.h>\n"),
        ("a.py", "# What this does.\n#\n# Author: X\nimport os\n", "# What this does.\n#\nimport os\n"),
        ("a.py", "# Authorise the caller.\nimport os\n", "# Authorise the caller.\nimport os\n"),
        ("a.py", 'import os\n# Copyright 2020\n"""x"""\n', 'import os\n# Copyright 2020\n"""x"""\n'),
        ("a.c", "/*\n * Licensed under X\n */\n\n#include <a.h>\nint x;\n", "#include <a.h>\nint x;\n"),
        ("a.c", "/* What. */\n/* @author X */\nint x;\n", "/* What. */\nint x;\n"),
        ("a.js", "/* (c) 2020 X */ var x = 1;\n", " var x = 1;\n"),
        ("a.js", "/* never closed, copyright\nvar x;\n", "/* never closed, copyright\nvar x;\n"),
        ("a.md", "# License\n\nText\n", "# License\n\nText\n"),
        ("a.html", "<!-- Copyright X 2020 -->\n<p>x</p>\n", "<p>x</p>\n"),
        ("a.xml", '<?xml version="1.0"?>\n<!-- Copyright X 2020 -->\n<p/>\n', '<?xml version="1.0"?>\n<p/>\n'),
        ("a.sql", "-- Copyright 2020 X\nSELECT 1;\n", "SELECT 1;\n"),
        ("a.tex", "% Copyright 2020 X\n\\section{A}\n", "\\section{A}\n"),
        ("a.css", "#license-box { color: red }\n", "#license-box { color: red }\n"),
        ("a.js", ";(function(){/* license */})()", ";(function(){/* license */})()"),
        ("a.py", "#################\n# Copyright 2020 X\n#################\nimport os", "import os"),
    ],
)
def test_paper_headers(path: str, text: str, left: str) -> None:
    assert cut(text, "paper", path) == left


# -- the rest -----------------------------------------------------------------------------------------------------------------------


def characters(folder: Path) -> str:
    """A tokenizer whose tokens are words of letters."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    return str(folder)


def test_a_sentencepiece_model_counts_as_well(tmp_path: Path) -> None:
    import sentencepiece

    words = ["the cat sat on the mat"] * 20
    options: dict[str, Any] = {"vocab_size": 20, "hard_vocab_limit": False, "minloglevel": 2}
    sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(words), model_prefix=str(tmp_path / "m"), **options)
    model = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / "m.model"))
    text = "the cat sat 12345 67890"
    limit = 12 / len(model.encode(text))
    assert dropped(LettersPerToken(tokenizer=Model(str(tmp_path / "m.model")), least=9 / len(model.encode(text))), text) == ""
    assert dropped(LettersPerToken(tokenizer=Model(str(tmp_path / "m.model")), least=limit), text) == "few_letters"


def test_missing_tokenizer_and_unknown_licence_are_told_before_anything_starts() -> None:
    with pytest.raises(RecipeError, match="no file"):
        LettersPerToken(tokenizer=Model("/nowhere/tokenizer.json")).check()
    for unknown in ("MIT License", "BSD", "LicenseRef-unmatched"):
        with pytest.raises(RecipeError, match="SPDX"):
            Licence(licences=(unknown,)).check()
    with pytest.raises(RecipeError, match="without any"):
        Licence(licences=()).check()


@pytest.mark.parametrize(("name", "data"), [("tokenizer.json", b"{}"), ("a.model", b"text"), ("a.model", b"")])
def test_file_that_is_no_tokenizer_is_told_before_anything_starts(tmp_path: Path, name: str, data: bytes) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(RecipeError, match="is no tokenizer"):
        LettersPerToken(tokenizer=Model(str(tmp_path / name))).check()


@pytest.mark.parametrize("options", [{"max_line": 0}, {"max_mean_line": 0.0}, {"min_alphanumeric": 1.1}, {"min_alphanumeric": -0.1}])
def test_bounds_of_a_recipe_are_checked(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Heuristics).validate_python(options)


@pytest.mark.parametrize(
    ("path", "text", "rule"),
    [
        ("a.py", "# -*- coding -*-\n# AUTO-GENERATED by x\n", "says_generated"),
        ("a.go", "// Code generated by x. DO NOT EDIT.\n", "says_generated"),
        ("a.py", "x\n" * 5 + "# do not edit\n", ""),
        ("a_pb2.py", "x = 1\n", "name"),
        ("a.js", "x" * 111, "minified"),
        ("a.py", "x" * 111, ""),
    ],
)
def test_generated(path: str, text: str, rule: str) -> None:
    assert dropped(Generated(), text, path=path) == rule
