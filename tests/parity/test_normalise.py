"""CCNet's normaliser: what its code gave on these strings, and its steps one after the other."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from classifiers.normalise import PUNCTUATION, SHORT, normalise

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


def test_the_table_has_all_34_characters():
    assert {chr(int(code, 16)): put for codes, put in AS_ASCII.items() for code in codes.split()} == PUNCTUATION
    assert len(PUNCTUATION) == 34


ODD = st.sampled_from(
    [*PUNCTUATION, *"aZ9 \n\t\x00\x7f\x9f", *"\u0301\u0327\u00c5\u212b\u0130\u03a3\u03c3\u1e9e\u0385\uac01\u0664\U0001d7ce\U0001d165"]
)


@given(st.text(st.one_of(ODD, st.characters(exclude_categories=("Cs",)))))
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
