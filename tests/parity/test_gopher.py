"""The Gopher rules in datatrove's semantics: the worked numbers of the specification (llama2-llama3, 3.9, 3.10, 6.3, 6.12), and a plain
reading of them in Python for everything else."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from curate.batch import Batch
from stages.gopher import Quality, Repetition

T1 = "a b c d e a b c d e a b c d e x"
T2 = "one two three four five six seven eight nine ten"
T3 = "red cat sat red cat ran"
MENU = "menu\nhome\nmenu\nbody text here\nmenu"
STOP_WORDS = ("the", "be", "to", "of", "and", "that", "have", "with")
FILLER = "The house stands near water with trees and birds that sing"  # 11 words, stop words among them


def batch_of(*texts: str) -> Batch:
    ids = [str(n) for n in range(len(texts))]
    return Batch.of(pa.record_batch({"id": ids, "text": pa.array(texts, pa.large_string())}))


def words_in(text: str) -> list[str]:
    """As `Batch.words` has them."""
    batch = batch_of(text)
    data, words = batch.utf8[0], batch.words
    return [bytes(data[a:b]).decode() for a, b in zip(words.start, words.end, strict=True)]


def measured(stage: Quality | Repetition, text: str) -> dict[str, float]:
    return {rule: float(check.value[0]) for rule, check in stage.keep(batch_of(text)).items()}  # type: ignore[union-attr, index]


def failed(stage: Quality | Repetition, text: str) -> set[str]:
    return {rule for rule, check in stage.keep(batch_of(text)).items() if not check.passed[0]}  # type: ignore[union-attr]


# -- worked numbers of 6.3, column DT -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "rule", "share"),
    [
        (T1, "top_2", 0.2903),
        (T1, "top_3", 0.4839),
        (T1, "top_4", 0.6774),
        (T1, "duplicate_5", 0.3226),
        (T1, "duplicate_6", 0.1935),
        (T2, "top_2", 0.1458),
        (T2, "top_3", 0.2708),
        (T2, "top_4", 0.3750),
        (T2, "duplicate_5", 0.0),
        (T3, "top_2", 0.6087),
        (T3, "top_3", 0.4783),
        (MENU, "lines", 0.40),
        (MENU, "line_chars", 8 / 34),
        ("a a a a", "top_2", 9 / 7),
    ],
)
def test_repetition_gives_the_worked_numbers_of_the_specification(text: str, rule: str, share: float):
    assert measured(Repetition(), text)[rule] == pytest.approx(share, abs=0.00005)


def test_the_toy_texts_have_the_lengths_that_the_specification_states():
    assert [len(T1), len(T2), len(T3), len(MENU)] == [31, 48, 23, 34]


def test_the_menu_fails_both_line_rules():
    assert {"lines", "line_chars"} <= failed(Repetition(), MENU)


# -- the aspects of 3.10.2, column DT -----------------------------------------------------------------------------------------------


def test_the_first_copy_of_a_line_is_no_duplicate():
    assert measured(Repetition(), "one\none")["lines"] == 1 / 2
    assert measured(Repetition(), "one\ntwo")["lines"] == 0


def test_lines_are_parted_by_runs_of_line_feeds_and_paragraphs_by_two_or_more():
    found = measured(Repetition(), "one\n\n\none\ntwo\n\none\ntwo")
    assert (found["lines"], found["paragraphs"]) == (3 / 5, 1 / 3)


@pytest.mark.parametrize("text", ["", "one", "one line without an end"])
def test_a_text_of_one_piece_repeats_nothing(text: str):
    found = measured(Repetition(), text)
    assert found["lines"] == found["line_chars"] == found["paragraphs"] == found["paragraph_chars"] == 0


def test_white_space_around_the_text_is_no_paragraph_but_an_empty_line():
    found = measured(Repetition(), "\n\none\n\n")
    assert (found["paragraphs"], found["lines"]) == (0, 1 / 3)


def test_the_most_frequent_n_gram_counts_even_if_it_stands_once():
    assert measured(Repetition(), "one two")["top_2"] == 1


def test_of_equally_frequent_n_grams_the_first_counts():
    assert measured(Repetition(), "aaaa b c d")["top_2"] == len("aaaa b") / 10
    assert measured(Repetition(), "c d aaaa b")["top_2"] == len("c d") / 10


def test_a_text_shorter_than_n_words_has_no_n_gram():
    found = measured(Repetition(), "one two three")
    assert found["top_4"] == found["duplicate_5"] == found["duplicate_10"] == 0


def test_symbols_are_words_of_n_grams():
    assert words_in("a , b , a , b ,") == ["a", ",", "b", ",", "a", ",", "b", ","]
    assert measured(Repetition(), "a , b , a , b ,")["top_2"] == 2 * 3 / 15


@pytest.mark.parametrize(("rule", "limit"), [(f.name, f.default) for f in fields(Repetition)])
def test_a_share_equal_to_its_limit_passes_and_a_larger_one_fails(rule: str, limit: Any):
    share = measured(Repetition(), (T1 + "\n\n") * 2)[rule]
    assert share > 0
    assert rule not in failed(Repetition(**{rule: share}), (T1 + "\n\n") * 2)
    assert rule in failed(Repetition(**{rule: np.nextafter(share, 0)}), (T1 + "\n\n") * 2)
    expected = dict(zip(["paragraphs", "paragraph_chars", "lines", "line_chars"], (0.30, 0.20, 0.30, 0.20), strict=True))
    expected |= {"top_2": 0.20, "top_3": 0.18, "top_4": 0.16}
    expected |= {f"duplicate_{n}": 0.15 - 0.01 * (n - 5) for n in range(5, 11)}
    assert limit == pytest.approx(expected[rule])  # Table A1


# -- quality: boundary statements of 6.12 and the column DT of 3.9 ------------------------------------------------------------------


def prose(words: int) -> str:
    return " ".join((FILLER.split() * (words // 11 + 1))[:words])


def test_fifty_words_are_kept_and_forty_nine_dropped():
    assert failed(Quality(), prose(50)) == set()
    assert failed(Quality(), prose(49)) == {"few_words"}
    assert failed(Quality(), prose(49) + " . , !") == {"few_words"}  # symbols do not count


def test_a_hundred_thousand_words_are_kept_and_one_more_dropped():
    assert failed(Quality(), prose(100_000)) == set()
    assert failed(Quality(), prose(100_001)) == {"many_words"}


def test_one_stop_word_twice_is_one_stop_word():
    house = "house " * 60
    assert failed(Quality(), f"the {house}the") == {"few_stop_words"}
    assert failed(Quality(), f"the {house}of") == set()


def test_stop_words_are_told_from_upper_case():
    assert "few_stop_words" in failed(Quality(), "The " + "house " * 60 + "OF AND with")


@pytest.mark.parametrize("word", STOP_WORDS)
def test_each_stop_word_of_the_paper_counts(word: str):
    assert measured(Quality(), f"{word} house")["few_stop_words"] == 1


@pytest.mark.parametrize(
    ("text", "rule", "value"),
    [
        ("ab abcd", "short_words", 3.0),
        ("ab , abcd ... !", "short_words", 3.0),
        ("abcdefghij", "long_words", 10.0),
        ("a # b #", "hashes", 2 / 4),
        ("## a", "hashes", 2 / 2),
        ("a https://b.org/#c", "hashes", 1 / 2),
        ("a ... b …", "ellipses", 2 / 4),
        ("a ....... b", "ellipses", 2 / 3),
        ("a .. b", "ellipses", 0.0),
        ("I... you…", "ellipses", 2 / 4),
        ("- a\n • b\n* c\nd", "bullet_lines", 2 / 4),
        ("-a\n\n-b", "bullet_lines", 2 / 3),
        ("a...\nb… \nc.\nd", "ellipsis_lines", 2 / 4),
        ("a 1 , x2", "not_alphabetic", 2 / 4),
        ("été 中 кот", "not_alphabetic", 1.0),
    ],
)
def test_quality_measures_what_the_specification_says(text: str, rule: str, value: float):
    assert measured(Quality(), text)[rule] == pytest.approx(value)


AT_THE_BOUND = [
    ("short_words", "min_mean_word", 3.0, "abc the of then " * 15, "ab the of then " * 15),
    (
        "long_words",
        "max_mean_word",
        10.0,
        "the of abcdefghijklmno abcdefghijklmnopqrst " * 20,
        "the of abcdefghijklmnop abcdefghijklmnopqrst " * 20,
    ),
    ("hashes", "max_hashes", 0.1, prose(90) + " #" * 10, prose(90) + " #" * 11),
    ("ellipses", "max_ellipses", 0.1, prose(80) + " ... trees" * 10, prose(80) + " … trees" * 11),
    ("bullet_lines", "max_bullet_lines", 0.9, f"- {FILLER}\n" * 9 + FILLER, f"- {FILLER}\n" * 10 + "- x"),
    ("ellipsis_lines", "max_ellipsis_lines", 0.3, f"{FILLER}...\n" * 3 + f"{FILLER}.\n" * 7, f"{FILLER}...\n" * 4 + f"{FILLER}.\n" * 7),
    ("not_alphabetic", "min_alphabetic", 0.8, prose(80) + " 7" * 20, prose(80) + " 7" * 21),
]


@pytest.mark.parametrize(("rule", "field", "limit", "kept", "dropped"), AT_THE_BOUND, ids=[row[0] for row in AT_THE_BOUND])
def test_a_measure_at_its_bound_is_kept_and_one_beyond_it_dropped(rule: str, field: str, limit: float, kept: str, dropped: str):
    assert getattr(Quality(), field) == limit
    assert measured(Quality(), kept)[rule] == pytest.approx(limit)
    assert failed(Quality(), kept) == set()
    assert failed(Quality(), dropped) == {rule}


def test_a_text_without_a_word_fails_for_its_words_and_never_divides_by_zero():
    for text in ("", " \n\n ", "...", "\u0301"):
        assert "few_words" in failed(Quality(), text)
        assert all(np.isfinite(v) for v in [*measured(Quality(), text).values(), *measured(Repetition(), text).values()])


# -- a plain reading of both, for any text ------------------------------------------------------------------------------------------


def quality_of(text: str, words: Sequence[str]) -> dict[str, float]:
    plain = [w for w in words if any(c.isalnum() for c in w)]
    lines = text.split("\n")
    lines = lines[:-1] if lines[-1] == "" else lines  # nothing stands behind the last line feed

    def share(count: int, of: Sequence[Any]) -> float:
        return count / len(of) if of else 0.0

    mean = share(sum(map(len, plain)), plain)
    return {
        "few_words": len(plain),
        "many_words": len(plain),
        "short_words": mean,
        "long_words": mean,
        "hashes": share(text.count("#"), words),
        "ellipses": share(text.count("...") + text.count("…"), words),
        "bullet_lines": share(sum(line.lstrip().startswith(("•", "-")) for line in lines), lines),
        "ellipsis_lines": share(sum(line.rstrip().endswith(("...", "…")) for line in lines), lines),
        "not_alphabetic": share(sum(any(c.isalpha() for c in w) for w in words), words),
        "few_stop_words": len({*words} & {*STOP_WORDS}),
    }


def repetition_of(text: str, words: Sequence[str]) -> dict[str, float]:
    found = {}
    for name, pieces in (("paragraph", re.split("\n\n+", text.strip())), ("line", re.split("\n+", text))):
        copies = [p for n, p in enumerate(pieces) if p in pieces[:n]]
        found[f"{name}s"] = len(copies) / len(pieces)
        found[f"{name}_chars"] = sum(map(len, copies)) / len(text) if text else 0.0
    for n in range(2, 5):
        grams = Counter(" ".join(words[i : i + n]) for i in range(len(words) - n + 1))
        gram, count = max(grams.items(), key=lambda g: g[1], default=("", 0))  # the first of equals
        found[f"top_{n}"] = len(gram) * count / len(text) if text else 0.0
    for n in range(5, 11):
        seen, at, again = set(), 0, 0
        while at + n <= len(words):
            gram = tuple(words[at : at + n])
            again += sum(map(len, gram)) if gram in seen else 0
            at += n if gram in seen else 1
            seen.add(gram)
        found[f"duplicate_{n}"] = again / len(text) if text else 0.0
    return found


pieces = st.sampled_from(
    [
        "a",
        "b",
        "the",
        "of",
        "été",
        "中国",
        "x2",
        "7",
        "#",
        "...",
        "..",
        "…",
        "-",
        "•",
        ",",
        "\n",
        "\n\n",
        " ",
        "'s",
        "http://a.b/#c",
        "\u0301",
        "\u3000",
    ]
)
repetitive = st.lists(st.tuples(st.lists(pieces, max_size=6).map(" ".join), st.integers(1, 5)), max_size=5).map(
    lambda runs: "".join(text * times for text, times in runs)
)
lined = st.lists(st.sampled_from(["one", "two two", "", "- three...", " "]), max_size=12).flatmap(
    lambda lines: st.lists(st.sampled_from(["\n", "\n\n", "\n\n\n"]), min_size=len(lines), max_size=len(lines)).map(
        lambda ends: "".join(a + b for a, b in zip(lines, ends, strict=True))
    )
)


@settings(deadline=None, max_examples=500)
@given(st.lists(repetitive | lined, min_size=1, max_size=3))
@example(["", T1, "\n", "\n\n", "a...\n...", "•\u0301 x", ".\u0301.."])
def test_both_stages_measure_what_a_plain_reading_measures(texts: list[str]):
    batch = batch_of(*texts)
    for stage, reading in ((Quality(), quality_of), (Repetition(), repetition_of)):
        checks = stage.keep(batch)
        for n, text in enumerate(texts):
            expected = reading(text, words_in(text))
            found = {rule: float(check.value[n]) for rule, check in checks.items()}  # type: ignore[union-attr, index]
            assert found == pytest.approx(expected)
            assert list(found) == list(expected) or stage is not Quality
