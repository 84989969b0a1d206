"""CCNet's normaliser, as a function and as a kernel: what its code gave on these strings, and its steps one after the other."""

from __future__ import annotations

import gzip
import re
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from classifiers.normalise import PUNCTUATION, SHORT, normalise
from classifiers.normalise_kernel import normalise_spans

CORPUS = Path(__file__).parents[3] / "shared/corpus"

AS_ASCII = {  # code points in hexadecimal, as cc_net's table has them
    "ff0c 3001": ",",
    "3002": ".",
    "201e 201d 201c ab bb ff11 300d 300c 300a 300b": '"',
    "b4 2019": "'",
    "2236 ff1a": ":",
    "ff1f": "?",
    "ff01": "!",
    "ff08": "(",
    "ff09": ")",
    "ff1b": ";",
    "2013 2501 25ba": "-",
    "2014": " - ",
    "ff0e": ". ",
    "ff5e": "~",
    "2026": "...",
    "3008": "<",
    "3009": ">",
    "3010": "[",
    "3011": "]",
    "ff05": "%",
}


def step_by_step(text: str) -> str:
    text = text.strip().lower()
    text = "".join(c for c in unicodedata.normalize("NFD", text) if unicodedata.category(c) != "Mn")
    text = re.sub(r"\d", "0", text)
    for codes, put in AS_ASCII.items():
        for code in codes.split():
            text = text.replace(chr(int(code, 16)), put)
    return re.sub("[\x00-\x1f\x7f-\x9f]", "", text)


def by_kernel(texts: list[str], space: bool = False) -> list[str]:
    """Each text as a span of one buffer, one behind the other."""
    utf8 = [text.encode() for text in texts]
    ends = np.cumsum([0, *map(len, utf8)])
    return [found.decode() for found in normalise_spans(np.frombuffer(b"".join(utf8), np.uint8), ends[:-1], ends[1:], space)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Line one.\nLine two.\n\nLine three.", "line one.line two.line three."),
        ("A\u2014B \u2013 C \u2026 D", "a - b - c ... d"),
        ("\u00c0\u00c9\u00ce", "aei"),
        ("\uac00", "\u1100\u1161"),
        ("", ""),
        (" \n\t", ""),
        ("  two  spaces  ", "two  spaces"),
        ("3.14 \u0663 \uff11 \u00bd", "0.00 0 0 \u00bd"),
        ("don\u2019t \u2018quote\u2019", "don't \u2018quote'"),
        ("a\tb\x85c\x7fd\u00a0e", "abcd\u00a0e"),
    ],
)
def test_known_answers(text: str, expected: str):
    assert normalise(text) == expected
    assert by_kernel([text]) == [expected]


def test_the_table_has_all_34_characters():
    assert {chr(int(code, 16)): put for codes, put in AS_ASCII.items() for code in codes.split()} == PUNCTUATION
    assert len(PUNCTUATION) == 34


ODD = st.sampled_from(
    [*PUNCTUATION, *"aZ9 \n\t\x00\x7f\x9f", *"\u0301\u0327\u00c5\u212b\u0130\u03a3\u03c3\u1e9e\u0385\uac01\u0664\U0001d7ce\U0001d165"]
)
ANY = st.characters(exclude_categories=("Cs",))
SIGMAS = st.sampled_from("Σσa .'\u0301\u0345\u00aa\u02b0\n漢")  # a capital sigma and what stands around it
MOVING = st.sampled_from(
    "a\u0301\u302e\u302f\u1b44\ua9c0\U0001d165\U0001d16d\U0001d15e\U00016ff0"
)  # marks that stay, in an order of their own


@given(st.text(st.one_of(ODD, ANY)))
def test_any_text_comes_out_as_its_steps_make_it(text: str):
    assert normalise(text) == step_by_step(text)


@given(st.text(ODD, min_size=SHORT - 2, max_size=SHORT + 2), st.text(ODD))
def test_long_runs_come_out_like_short_ones(run: str, text: str):
    for whole in (run, text + run, run + "a" + run, "b" + run + text):
        assert normalise(whole) == step_by_step(whole)


def test_every_character_comes_out_as_its_steps_make_it():
    """Between two letters, in strings that are long enough and in such that are short."""
    every = [chr(c) for c in range(0x110000) if not 0xD800 <= c < 0xE000]
    for low in range(0, len(every), 5000):
        part = "a" + "b".join(every[low : low + 5000]) + "z"
        assert normalise(part) == step_by_step(part)
        assert normalise("".join(every[low : low + 5000]) + "z") == step_by_step("".join(every[low : low + 5000]) + "z")


# -- the kernel ---------------------------------------------------------------------------------------------------------------------


@given(st.lists(st.one_of(*(st.text(one, max_size=30) for one in (ODD, ANY, SIGMAS, MOVING, st.one_of(ODD, ANY)))), max_size=6))
def test_the_kernel_does_to_each_span_what_the_steps_do(texts: list[str]):
    """Whatever stands in the buffer around it."""
    assert by_kernel(texts) == [step_by_step(text) for text in texts]
    assert by_kernel(texts, space=True) == [step_by_step(text.replace("\n", " ")) for text in texts]


@given(st.text(st.characters(max_codepoint=0x7F), max_size=200))
def test_the_kernel_on_ascii(text: str):
    assert by_kernel([text]) == [step_by_step(text)]


def test_marks_that_stay_are_put_in_order():
    """A flag (class 216) goes before a dot (class 226)."""
    assert by_kernel(["x\U0001d16d\U0001d165"]) == ["x\U0001d165\U0001d16d"]


def test_the_kernel_on_every_character():
    every = [chr(c) for c in range(0x110000) if not 0xD800 <= c < 0xE000]
    for low in range(0, len(every), 20_000):
        texts = [f"a{c}z" for c in every[low : low + 20_000]]
        assert by_kernel(texts) == [normalise(text) for text in texts]


def test_the_kernel_on_a_capital_sigma_beside_every_character():
    every = [c for c in map(chr, range(0x110000)) if unicodedata.category(c) not in ("Cs", "Co", "Cn", "Lo")] + ["漢", "\u00aa", "\u0378"]
    texts = [text for c in every for text in (f"a{c}Σ", f" {c}Σ.", f"aΣ{c}", f"aΣ{c}z")]
    assert by_kernel(texts) == [normalise(text) for text in texts]


@pytest.mark.skipif(not CORPUS.is_dir(), reason="the corpus of real pages and books is not here")
def test_the_kernel_on_real_text():
    pages = gzip.decompress(min(CORPUS.glob("commoncrawl/packed_wet/*.wet.gz")).read_bytes()).decode(errors="replace").split("\n\n")
    books = [path.read_text("utf-8", errors="replace") for path in sorted(CORPUS.glob("books/**/*.txt"))[:5]]
    assert pages
    assert by_kernel(pages + books) == [normalise(text) for text in pages + books]
