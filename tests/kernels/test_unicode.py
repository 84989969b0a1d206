"""The table of flags is Unicode 14.0, as Python's own tables have it."""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Callable

import numpy as np
import pytest

from curate.kernels import unicode

POINTS = [chr(c) for c in range(sys.maxunicode + 1)]
FLAGS = unicode.flags()

same_version = pytest.mark.skipif(
    not unicodedata.unidata_version.startswith("14."),
    reason=f"this Python knows Unicode {unicodedata.unidata_version}; the table is 14.0",
)


def where(fact: Callable[[str], object]) -> set[int]:
    return {ord(c) for c in POINTS if fact(c)}


def flagged(flag: int) -> set[int]:
    return set(np.flatnonzero(FLAGS & np.uint16(flag)).tolist())


@same_version
@pytest.mark.parametrize(
    ("flag", "fact"),
    [
        pytest.param(unicode.LETTER, str.isalpha, id="letters are what isalpha accepts"),
        pytest.param(unicode.DIGIT, re.compile(r"\d").match, id="digits are what a regular expression's \\d matches"),
        pytest.param(unicode.SPACE, lambda c: c.isspace() or c == "\u200b", id="spaces are what isspace accepts and U+200B"),
        pytest.param(unicode.UPPER, lambda c: unicodedata.category(c) in ("Lu", "Lt"), id="upper and title case"),
        pytest.param(unicode.LOWER, lambda c: unicodedata.category(c) == "Ll", id="lower case"),
        pytest.param(unicode.PUNCTUATION, lambda c: unicodedata.category(c)[0] in "PS", id="punctuation and symbols"),
        pytest.param(unicode.NUMBER, lambda c: unicodedata.category(c) in ("Nl", "No"), id="other numbers"),
        pytest.param(unicode.JOIN, lambda c: unicodedata.category(c) == "Pc", id="connectors"),
        pytest.param(
            unicode.MARK,
            lambda c: unicodedata.category(c)[0] == "M" or (unicodedata.category(c) == "Cf" and c != "\u200b"),
            id="marks are combining marks and format characters",
        ),
        pytest.param(unicode.CONTROL, lambda c: unicodedata.category(c) == "Cc" and not c.isspace(), id="controls that are no space"),
    ],
)
def test_every_code_point_is_flagged_as_pythons_unicodedata_has_it(flag: int, fact: Callable[[str], object]):
    assert flagged(flag) == where(fact)


@same_version
def test_unassigned_private_and_surrogate_code_points_have_no_flag():
    assert where(lambda c: unicodedata.category(c) in ("Cn", "Co", "Cs")) == set(np.flatnonzero(FLAGS == 0).tolist())


def test_the_table_covers_all_of_unicode_and_cannot_be_written():
    assert FLAGS.shape == (0x110000,)
    assert FLAGS.dtype == np.uint16
    with pytest.raises(ValueError, match="read-only"):
        FLAGS[0] = 1


@pytest.mark.parametrize("character", "中國㐂𠀀豈ひらがなㄅㆠ")
def test_scripts_without_spaces_stand_alone(character: str):
    assert FLAGS[ord(character)] & unicode.ALONE


@pytest.mark.parametrize("character", "カタ한글aЖعๅ、。・〇")
def test_katakana_hangul_and_punctuation_do_not_stand_alone(character: str):
    assert not FLAGS[ord(character)] & unicode.ALONE


@pytest.mark.parametrize("character", "กฮเไກຮເໄຫໜကဪကឣក")
def test_consonants_and_leading_vowels_begin_a_cluster(character: str):
    assert FLAGS[ord(character)] & unicode.CLUSTER


@pytest.mark.parametrize("character", "ะาำๆຳະๅฯ")
def test_vowels_behind_a_consonant_belong_to_its_cluster(character: str):
    flags = FLAGS[ord(character)]
    assert flags & unicode.COMPLEX
    assert not flags & unicode.CLUSTER


@pytest.mark.parametrize(("character", "leads"), [*zip("เแโใไເແໂໃໄ", [True] * 10, strict=True), ("ก", False), ("า", False), ("ກ", False)])
def test_only_the_leading_vowels_lead(character: str, leads: bool):
    assert bool(FLAGS[ord(character)] & unicode.LEADING) == leads


def test_cluster_flags_are_on_letters_only():
    for flag in (unicode.ALONE, unicode.CLUSTER, unicode.LEADING, unicode.COMPLEX):
        assert flagged(flag) <= flagged(unicode.LETTER)
    assert flagged(unicode.LEADING) <= flagged(unicode.CLUSTER) <= flagged(unicode.COMPLEX)
