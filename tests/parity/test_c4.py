"""C4 against its golden pairs (K1 to K12), its rules restated in plain Python, and what langdetect and NLTK say themselves."""

from __future__ import annotations

import hashlib
import itertools
import re
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import punkt_tables
import pyarrow as pa
import pytest
import support
from hypothesis import example, given, settings
from hypothesis import strategies as st

from classifiers import punkt
from curate import build
from curate.batch import Batch
from curate.errors import CurateError, RecipeError
from curate.stage import Model
from curate.worker import outcome
from stages import c4_kernels
from stages.c4 import LANGUAGES, BadWords, Clean, Language, Lines, Split
from stages.dedup.url import Url

POLICIES = ("terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use cookies")
GOOD = "This line has enough words.\nAnd this is another such line.\nHere we have the third one."
TEMPLATE = {"id": "a", "source": "s", "url": None, "language": None}
DATATROVE: Any = {
    "min_words": 3, "min_sentences": 5, "end_marks": ".?!\"'", "count_words": "before", "headers": (), "max_chars": None,
}  # fmt: skip


def batch_of(texts: list[str], **columns: list[Any]) -> Batch:
    data = {"id": [f"s/{n}" for n in range(len(texts))], "text": pa.array(texts, pa.large_string()), "source": ["s"] * len(texts)}
    return Batch.of(pa.record_batch({**data, **{name: pa.array(values, pa.string()) for name, values in columns.items()}}))


@pytest.fixture(scope="session")
def own(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return Model(punkt_tables.write(tmp_path_factory.mktemp("punkt")))


@pytest.fixture(scope="session")
def clean(own: Model) -> Clean:
    return Clean(own)


@pytest.fixture(scope="session")
def trained() -> Model:
    found = punkt_tables.trained()
    if found is None:
        pytest.skip("no punkt_tab.zip: set CURATE_PUNKT to its path")
    return Model(str(found))


def cleaned(stage: Clean, text: str) -> str | None:
    """What is left of a page; None where it is dropped."""
    after, checks, _ = outcome(stage, batch_of([text]), None)
    return after.text[0].as_py() if all(check.passed[0] for check in checks.values()) else None


def why(stage: Clean, text: str) -> list[str]:
    return [rule for rule, check in outcome(stage, batch_of([text]), None)[1].items() if not check.passed[0]]


# -- c4.Clean: the golden pairs -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        pytest.param("This line has enough words but goes on...", id="K1"),
        pytest.param("Just three words.", id="K2"),
        pytest.param("You need to enable JavaScript to see this.", id="K3"),
        pytest.param("You need to enable javascript to see this.", id="K3-lower"),
        pytest.param("YOU NEED TO ENABLE JAVASCRIPT TO SEE THIS.", id="K3-upper"),
        *(pytest.param(f"Please do read our {policy.upper()} with care.", id=f"K4-{policy}") for policy in POLICIES),
        *(pytest.param(f"Please do read our {policy.title()} with care.", id=f"K4-{policy}-title") for policy in POLICIES),
        pytest.param("Sentences with words and citations. [3]", id="K8"),
        pytest.param("if (x) { y", id="K11"),
        pytest.param("A line without any mark at its end", id="no-mark"),
        pytest.param(f"One word that is {'x' * 1001} characters long.", id="long-word"),
    ],
)
def test_a_line_is_dropped_and_its_page_is_not(clean: Clean, line: str):
    for place in range(4):
        lines = GOOD.split("\n")
        assert cleaned(clean, "\n".join([*lines[:place], line, *lines[place:]])) == GOOD


@pytest.mark.parametrize(
    ("line", "left"),
    [
        pytest.param("This is a line with citations.[3]", "This is a line with citations.", id="K7"),
        pytest.param("The[1] marks [edit]in[] it[citation needed] are removed.", "The marks in it are removed.", id="marks"),
        pytest.param("These [Edit] and [1 2] and [a] marks stay.", "These [Edit] and [1 2] and [a] marks stay.", id="other-marks"),
        pytest.param('He said so "to all of them"', 'He said so "to all of them"', id="quote"),
        pytest.param(f"One word that is {'x' * 1000} characters long.", f"One word that is {'x' * 1000} characters long.", id="word"),
        pytest.param("Only } closes what is not open.", "Only } closes what is not open.", id="closing"),
    ],
)
def test_a_line_is_kept(clean: Clean, line: str, left: str):
    assert cleaned(clean, f"{GOOD}\n{line}") == f"{GOOD}\n{left}"


def test_k5_lines_of_two_sentences_in_all_are_no_page(clean: Clean):
    text = "This line is one sentence only.\nThis one has a pause... in it, and ends."
    trained = punkt_tables.trained()
    for stage in (clean, Clean(Model(str(trained)))) if trained else (clean,):
        assert why(stage, text) == ["few_sentences"]
        assert why(stage, f"{text} There is more.") == []


def test_k6_a_curly_bracket_in_a_line_that_came_so_far_drops_the_page(clean: Clean):
    assert why(clean, f"{GOOD}\nThis line is code {{ or so.") == ["curly_bracket"]
    assert why(clean, f"This LOREM ipsum has many words.\n{GOOD}") == ["lorem_ipsum"]


def test_k11_a_curly_bracket_in_a_line_that_has_been_dropped_does_not(clean: Clean):
    for line in ("function () { return", "four { words here.", "This JavaScript line has {braces} in it."):
        assert cleaned(clean, f"{GOOD}\n{line}") == GOOD


def test_k12_the_longest_page_has_190_000_characters(clean: Clean):
    line = "é" + " word word word word." * 40
    text = "\n".join([line] * (190_000 // (len(line) + 1)))
    text += "\n" + "x" * (190_000 - len(text) - 1)
    assert len(text) == 190_000
    assert why(clean, text) == []
    assert why(clean, text + "x") == ["too_long"]
    assert why(clean, f"  {text}\n\n \t\nContent-Length: 5\nWARC-Type: conversion") == []  # what is no text does not count


def test_header_lines_are_no_text_even_within_a_page(clean: Clean):
    for header in ("WARC-Type: it ends with a mark.", "Content-based ranking is a good thing.", "CONTENT-MANAGERS of the world are many."):
        assert cleaned(clean, f"{GOOD}\n  {header}") == GOOD
        assert cleaned(Clean(clean.punkt, headers=()), f"{GOOD}\n{header}") == f"{GOOD}\n{header}"


def test_every_line_that_goes_is_booked_by_its_rule(clean: Clean):
    lines = {
        "The first line of it is kept.": None, "": None, "Content-Type: text of the page.": "header", "x" * 1001: "long_word",
        "No mark": "no_end_mark", "Few words.": "few_words", "This is lorem ipsum and not text.": "lorem_ipsum",
        "Enable javascript to go on here.": "javascript", "There is a { in this line.": "curly_bracket",
        "We use cookies on this page.": "policy",
    }  # fmt: skip
    _, _, removed = outcome(clean, batch_of(["Short.", "\n".join(lines), "Short."]), None)
    assert removed is not None
    assert removed.rule is not None
    low, high = removed.first[1], removed.last[1]
    booked = dict(zip(removed.line[low:high].tolist(), removed.rule[low:high].tolist(), strict=True))
    assert {n: removed.rules[rule] for n, rule in booked.items()} == {n: rule for n, rule in enumerate(lines.values()) if rule}
    assert removed.by_rule == {**dict.fromkeys(removed.rules, 1), "few_words": 3}


def test_datatroves_mode_counts_words_before_citations_and_takes_the_apostrophe(own: Model, clean: Clean):
    text = "One two three.\nFour five six.\nSeven eight nine.\nTen 'eleven twelve'\nthirteen fourteen [4].[15]"
    stage = Clean(own, **DATATROVE)
    assert cleaned(stage, text) == "One two three.\nFour five six.\nSeven eight nine.\nTen 'eleven twelve'\nthirteen fourteen ."
    assert why(stage, text.replace("'\n", "\n")) == ["few_sentences"]
    assert why(clean, text) == ["few_sentences"]


# -- c4.Clean: against the rules restated --------------------------------------------------------------------------------------------


def restated(text: str, stage: Clean) -> tuple[int, str, Counter[str]]:
    """c4_utils in plain Python: characters of the page, what is kept of it, and lines by rule."""
    rules: Counter[str] = Counter()
    page = []
    for line in (line.strip() for line in re.split("\r\n|[\r\n]", text)):
        rules["header"] += bool(line) and line.startswith(stage.headers) and sum(map(bool, map(str.strip, line.splitlines())))
        page += [line] if line and not line.startswith(stage.headers) else []
    kept = []
    for line in (line.strip() for line in "\n".join(page).splitlines()):
        left = re.sub(r"\[(?:\d*|edit|citation needed)\]", "", line)
        low = left.lower()
        if any(len(word) > stage.max_word for word in line.split()):
            rules["long_word"] += 1
        elif not left.endswith(tuple(stage.end_marks)) or left.endswith("..."):
            rules["no_end_mark"] += bool(line)
        elif len((line if stage.count_words == "before" else left).split()) < stage.min_words:
            rules["few_words"] += 1
        else:
            found = [
                rule for rule, part in (("lorem_ipsum", "lorem ipsum"), ("javascript", "javascript"), ("curly_bracket", "{")) if part in low
            ]
            found += ["policy"] if any(policy in low for policy in stage.policies) else []
            rules.update(found[:1])
            kept += [] if found else [left]
    return len("\n".join(page)), "\n".join(kept).strip(), +rules


WORDS = [
    "a",
    "b c ",
    "word word ",
    "xxxxxxxxxx",
    "Lorem Ipsum",
    "javaScript",
    "JAVAscr\u0131pt",
    "java",
    "use coo\u212aies",
    "COOKIE POLICY",
]
MARKS = [".", "...", "?", "!", '"', "'", "\u201d", "[1]", "[]", "[edit]", "[\u0663]", "[", "]", "[citation needed]", "{", "}"]
SPACES = ["\xa0", "\u200b", "\u3000", "\x1f", "\x1c", "\x85", "\u2028", "\u2029", "\x0b", "\x0c", "\r", "\r\n", "\n", "\n\n", "\t", " "]
OTHERS = ["WARC", "Content-", "CONTENT-", "\u0130", "\u03a3", "\xe9", "\u5b57", "\U0001f600"]
PIECE = st.sampled_from([*WORDS, *MARKS, *SPACES, *OTHERS])
PAGE = st.lists(st.one_of(PIECE, st.text(max_size=4)), max_size=40).map("".join)


@given(st.lists(PAGE, min_size=1, max_size=4), st.integers(0, 4), st.integers(1, 12), st.sampled_from(["before", "after"]))
@example(["[1] a b.\n[2] c d."], 2, 12, "after")
@example(["a\u2028Content- b c."], 2, 12, "after")
@example(["\u2028Content- b c.\u2028d e f."], 2, 12, "after")
@settings(max_examples=300, deadline=None)
def test_the_kernel_keeps_and_drops_what_the_rules_say(texts: list[str], min_words: int, max_word: int, count_words: Any):
    stage = Clean(Model(""), min_words=min_words, max_word=max_word, count_words=count_words, min_sentences=0, end_marks='.?!"”')
    after, checks, removed = outcome(stage, batch_of(texts), None)
    assert removed is not None
    expected = [restated(text, stage) for text in texts]
    assert checks["too_long"].value is not None
    assert list(zip(checks["too_long"].value.tolist(), after.text.to_pylist(), strict=True)) == [(n, text) for n, text, _ in expected]
    assert +Counter(removed.by_rule) == sum((rules for _, _, rules in expected), Counter())
    for n, (_, _, rules) in enumerate(expected):
        assert [bool(checks[rule].passed[n]) for rule in ("lorem_ipsum", "curly_bracket")] == [
            not rules["lorem_ipsum"],
            not rules["curly_bracket"],
        ]


SENTENCE = st.lists(
    st.sampled_from(["Dr. Smith", "e.g.", "ends.", "Why?", "No!", '"Yes."', "the", "The", "3.5", "U.S.", "and", "...", "St."]), min_size=5
)
LINE = SENTENCE.map(" ".join).map(lambda line: line + ("." if line[-1].isalnum() or line.endswith("...") else ""))


@given(st.lists(LINE, max_size=5), st.integers(0, 5))
@settings(max_examples=100, deadline=None)
def test_sentences_are_counted_as_nltk_counts_them_line_by_line(own: Model, lines: list[str], least: int):
    """So a page with as many lines as sentences are asked for needs no counting."""
    stage = Clean(own, min_sentences=least)
    text = cleaned(Clean(own, min_sentences=0), "\n".join(lines)) or ""
    sentences = sum(len(stage.sentences.tokenize(line)) for line in text.split("\n"))
    assert sentences >= len([line for line in text.split("\n") if line])
    assert why(stage, "\n".join(lines)) == ([] if sentences >= least else ["few_sentences"])


@given(st.text())
@settings(max_examples=200, deadline=None)
def test_a_text_with_anything_in_it_is_a_sentence_at_least(own: Model, text: str):
    tokenizer = Clean(own).sentences
    assert len(tokenizer.tokenize(text)) >= bool(text.strip())
    for most in range(4):
        assert punkt.count(tokenizer, text, most) == min(most, len(tokenizer.tokenize(text)))


def test_pages_with_enough_lines_are_not_asked_for_their_sentences(own: Model, monkeypatch: pytest.MonkeyPatch):
    asked: list[str] = []
    monkeypatch.setattr(punkt, "count", lambda _tokenizer, text, _most: asked.append(text) or 1)
    Clean(own).apply(batch_of([GOOD, GOOD.rpartition("\n")[0], "nothing at all"]))
    assert asked == GOOD.split("\n")[:2]


@pytest.mark.parametrize("line", ["[" * 3_000_000 + ". X", "Mr. " * 500_000, "a" * 3_000_000 + "."])
def test_the_longest_lines_end_no_run_and_take_no_time(trained: Model, line: str):
    began = time.process_time()
    page = "short and simple words here.\n" + line + "."
    why(Clean(trained, max_chars=None, max_word=10_000_000, min_words=1), page)
    assert punkt.count(Clean(trained).sentences, line, 3) in (1, 2)
    assert time.process_time() - began < 10, "NLTK raises after 5 seconds in one pattern; 30 s for the first line"


def test_what_is_behind_the_first_100_000_characters_is_not_counted(own: Model):
    tokenizer = Clean(own).sentences
    assert punkt.count(tokenizer, "a" * punkt.LONGEST + " One. Two. Three.", 3) == 1
    assert punkt.count(tokenizer, "One. Two. Three. " + "a" * punkt.LONGEST, 3) == 3


@given(st.lists(st.sampled_from(["One", "two", "Mr", ".", "?", "! ", " ", "\n", ")", '"', "x" * 9, " " * 9]), max_size=40))
@settings(max_examples=200, deadline=None)
def test_sentences_of_a_long_text_are_no_longer_than_nltk_is_shown(own: Model, parts: list[str]):
    text = "".join(parts)
    tokenizer = Clean(own).sentences
    nonempty = [span for span in tokenizer.span_tokenize(text) if text]
    assert list(punkt.spans(tokenizer, text)) == nonempty
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(punkt, "LONGEST", 8)
        found = list(punkt.spans(tokenizer, text))
    assert all(0 <= high - low <= 8 for low, high in found)
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(found))
    assert "".join("".join(text[low:high] for low, high in found).split()) == "".join(text.split()), "only white space is left out"


# -- Punkt ----------------------------------------------------------------------------------------------------------------------------


def test_the_parameters_are_those_that_nltk_reads_itself(trained: Model, tmp_path: Path):
    import zipfile

    from nltk.tabdata import PunktDecoder

    with zipfile.ZipFile(trained.path) as archive:
        archive.extractall(tmp_path)
    home = tmp_path / "punkt_tab" / "english"
    found = punkt.load(trained)._params
    for name, decode, ours in (
        (punkt.ABBREVIATIONS, PunktDecoder().txt2set, found.abbrev_types),
        (punkt.STARTERS, PunktDecoder().txt2set, found.sent_starters),
        (punkt.COLLOCATIONS, lambda f: set(PunktDecoder().tab2tups(f)), found.collocations),
        (punkt.CONTEXTS, PunktDecoder().tab2intdict, found.ortho_context),
    ):
        with open(home / name, encoding="utf-8") as file:
            assert ours == decode(file), name
    assert punkt.load(Model(str(tmp_path)))._params.abbrev_types == found.abbrev_types
    assert punkt.load(Model(str(home)))._params.abbrev_types == found.abbrev_types


def test_trained_parameters_know_english_abbreviations(trained: Model):
    tokenizer = punkt.load(trained)
    assert tokenizer.tokenize("Mr. Jones met Dr. Lee at 5 p.m. on Jan. 3. They talked.") == [
        "Mr. Jones met Dr. Lee at 5 p.m. on Jan. 3.",
        "They talked.",
    ]


@pytest.mark.parametrize("given_as", ["missing.zip", "empty", "pickle.zip", "broken.zip"])
def test_what_holds_no_parameters_is_refused_before_anything_starts(tmp_path: Path, given_as: str):
    import zipfile

    (tmp_path / "empty").mkdir()
    (tmp_path / "broken.zip").write_bytes(b"PK\x03\x04 and no more")
    with zipfile.ZipFile(tmp_path / "pickle.zip", "w") as archive:
        archive.writestr("punkt/english.pickle", b"cos\nsystem\n(S'true'\ntR.")
    with pytest.raises(CurateError, match=r"punkt|Punkt"):
        Clean(Model(str(tmp_path / given_as))).check()


# -- c4.Lines -------------------------------------------------------------------------------------------------------------------------


def deduped(
    stage: Lines, shards: list[list[tuple[str, str | None]]], folder: Path, *, partitions: int = 1, rows: int = 100
) -> list[str | None]:
    batches = []
    for shard in shards:
        data = batch_of([text for text, _ in shard], url=[url for _, url in shard]).data
        batches.append([Batch.of(data.slice(at, rows)) for at in range(0, len(data), rows)])
    out: list[str | None] = []
    for shard_batches, verdict in zip(batches, support.decided(stage, batches, folder, partitions=partitions), strict=True):
        for at, batch in enumerate(shard_batches):
            after, checks, _ = outcome(stage, batch, verdict.rows(at * rows, len(batch)))
            kept = np.all([check.passed for check in checks.values()], axis=0)
            out += [text if stays else None for text, stays in zip(after.text.to_pylist(), kept.tolist(), strict=True)]
    return out


def test_k9_a_line_stays_in_the_page_whose_url_has_the_smallest_md5(own: Model, tmp_path: Path):
    shared = ["This line is in all of them.", "So is this one in all."]
    urls = ["url/1-0", "url/2-1", "url/3-4", "url/4-4"]
    bodies = [[f"Only page {n} has line number {k}." for k in range(3)] for n in range(3)] + [["The last has only this one line."]]
    pages = [
        ([line.upper() if n % 2 else f" {line}" for line in shared] + body, url)
        for n, (body, url) in enumerate(zip(bodies, urls, strict=True))
    ]
    left = deduped(
        Lines(own), [[("\n".join(lines), url) for lines, url in pages[:2]], [("\n".join(lines), url) for lines, url in pages[2:]]], tmp_path
    )
    winner = min(range(4), key=lambda n: hashlib.md5(urls[n].encode()).hexdigest())
    assert winner != 3
    expected = ["\n".join(lines if n == winner else lines[2:]) for n, (lines, _) in enumerate(pages)]
    assert left == [*expected[:3], None]


def test_later_repeats_of_a_line_within_a_page_go(own: Model, tmp_path: Path):
    assert deduped(Lines(own), [[(f"{GOOD}\n{GOOD.upper()}", "a.example")]], tmp_path) == [GOOD]


def test_sentences_of_what_is_left_are_counted_over_the_whole_page(own: Model, tmp_path: Path):
    """c4_utils counts line by line before, and then over the page, where a line that ends in a quote does not end a sentence."""
    text = 'They called it "the one"\nAnd we did so too.\nThen it ended.'
    assert len([line for line in text.split("\n") if Lines(own).sentences.tokenize(line)]) == 3
    assert (
        deduped(Lines(own), [[(text, "a.example"), (text.replace('one"', 'other."').replace(" ", "  "), "b.example")]], tmp_path)[0] is None
    )


PAGES = st.tuples(
    st.lists(
        st.sampled_from(["Menu.", " menu.", "MENU.", "a b", "A B", "\u0391\u03a3.", "\u03b1\u03c2.", "\u0130", "", "x.", "y!", "z?"]),
        max_size=6,
    ).map("\n".join),
    st.sampled_from(
        [None, "", "http://a.example/", "https://www.a.example", "http://b.example", "http://c.example/?utm_x", "http://d.example"]
    ),
)


def brute(shards: list[list[tuple[str, str | None]]]) -> list[str]:
    """Step 5 restated: of each line the first copy in the page with the smallest MD5, of pages with the same the first."""
    pages = [page for shard in shards for page in shard]

    def rank(n: int) -> tuple[str, int]:
        url = re.sub(r"https?://(www\.)?", "", pages[n][1] or "")
        return hashlib.md5(re.sub(r"\?(utm_|ref|feed).*", "", url).rstrip("/").encode()).hexdigest(), n

    holders: dict[str, list[int]] = {}
    for n, (text, _) in enumerate(pages):
        for line in text.split("\n"):
            holders.setdefault(line.strip().lower(), []).append(n)
    out = []
    for n, (text, _) in enumerate(pages):
        seen: set[str] = set()
        kept = []
        for line in text.split("\n"):
            key = line.strip().lower()
            if min(holders[key], key=rank) == n and key not in seen:
                kept.append(line)
            seen.add(key)
        out.append("\n".join(kept))
    return out


@given(st.lists(st.lists(PAGES, max_size=4), min_size=1, max_size=4), st.integers(1, 3), st.integers(1, 3))
@settings(max_examples=40, deadline=None)
def test_lines_stay_where_brute_force_says(own: Model, tmp_path_factory: pytest.TempPathFactory, shards: Any, partitions: int, rows: int):
    left = deduped(Lines(own, min_sentences=0), shards, tmp_path_factory.mktemp("lines"), partitions=partitions, rows=rows)
    assert [text or "" for text in left] == brute(shards)


@given(st.text())
@settings(max_examples=300, deadline=None)
def test_lines_have_the_same_hash_if_they_are_the_same_in_lower_case(text: str):
    def hash_of(line: str) -> int:
        data = np.frombuffer(line.encode() or b"\0", np.uint8)
        return int(c4_kernels.hash_lines(data, np.zeros(1, np.int32), np.array([len(line.encode())], np.int32))[0])

    assert hash_of(text) == hash_of(f" \u3000{text.strip().lower()}\t")
    assert hash_of(text) != hash_of(f"{text} .")


# -- c4.Language, c4.BadWords, c4.Split, URLs ----------------------------------------------------------------------------------------

TEXTS = {
    "en": "The committee has not yet decided whether the meeting should be held in the spring or in the autumn.",
    "fr": "Le comité n'a pas encore décidé si la réunion devait avoir lieu au printemps ou en automne.",
    "de": "Der Ausschuss hat noch nicht entschieden, ob die Sitzung im Frühling oder im Herbst stattfinden soll.",
    "": "12345 67890 --- !!!",
    " ": "",
}


def test_a_language_is_what_langdetect_says_with_its_seed():
    import langdetect

    mixed = f"{TEXTS['en']} {TEXTS['de']}"
    texts = [*TEXTS.values(), mixed]
    after, checks, _ = outcome(Language(), batch_of(texts), None)
    langdetect.DetectorFactory.seed = 0
    best = [langdetect.detect_langs(text)[0] for text in [*texts[:3], mixed]]
    assert after["language"].to_pylist() == [*(b.lang for b in best[:3]), "", "", best[3].lang]
    assert after["language_score"].to_pylist() == [*(b.prob for b in best[:3]), 0.0, 0.0, best[3].prob]
    kept = np.all([check.passed for check in checks.values()], axis=0)
    assert kept.tolist() == [True, False, False, False, False, False]
    assert [checks["no_language"].passed[n] for n in range(6)] == [True, True, True, False, False, True]


@pytest.fixture
def words(tmp_path: Path) -> Model:
    (tmp_path / "en").write_text("frak\ngorram\nson of a Biscuit\nñoño\ncl.b\n\n")
    return Model(str(tmp_path / "en"))


def passes(stage: BadWords, text: str, language: str | None = None) -> bool:
    return bool(outcome(stage, batch_of([text], language=[language]), None)[1]["bad_word"].passed[0])


@pytest.mark.parametrize(
    "text",
    [
        "frak this ship",
        "What the FRAK?",
        "(frak)",
        "oh,frak,no",
        "frak",
        "a Son of a biscuit!",
        "x\nfrak\ny",
        "un Ñoño.",
        "frak\u2019s",
        "été frak",
    ],
)
def test_k10_a_word_that_stands_by_itself_drops_the_page(words: Model, text: str):
    assert not passes(BadWords(words), text)


@pytest.mark.parametrize(
    "text", ["unfrakked", "frakly", "3frak", "frak_", "éfrak", "fraké", "frak3", "f rak", "son of  a biscuit", "clab", "", "\u0917frak"]
)
def test_k10_a_word_within_another_passes(words: Model, text: str):
    assert passes(BadWords(words), text)


def test_k10_a_language_without_a_list_passes(words: Model):
    stage = BadWords(words, language="en")
    assert [passes(stage, "what the frak", language) for language in ("en", "fr", None)] == [False, True, True]


def test_releases_2_miss_a_word_at_either_end_of_a_line(words: Model):
    stage = BadWords(words, boundary="letters")
    texts = ("oh frak no", "oh frak", "frak no", "a\nfrak\nb", "a 3frak3 b", "a éfrakß b", "a xfrak b")
    assert [passes(stage, text) for text in texts] == [False, True, True, True, False, False, True]


FLANK = st.sampled_from(
    [
        "frak",
        "gorram",
        "a",
        "Z",
        "é",
        "_",
        "3",
        "\u0663",
        "\u00bd",
        " ",
        "\n",
        ".",
        "\u0301",
        "\u200d",
        "字",
        "\U0001d518",
        "son of a biscuit",
        "cl.b",
    ]
)


@given(st.lists(st.one_of(FLANK, st.characters(codec="utf-8")), max_size=12).map("".join))
@settings(max_examples=300, deadline=None)
def test_bad_words_are_found_where_a_regular_expression_finds_them(text: str):
    listed = ("cl.b", "frak", "gorram", "son of a biscuit", "_")
    pattern = "|".join(map(re.escape, listed))
    data, index = batch_of([text]).utf8, c4_kernels.index_of(listed)
    assert c4_kernels.holds_word(*data, index, False)[0] == bool(re.search(rf"(?:\W|^)(?:{pattern})(?:\W|$)", text.lower()))
    lines = text.lower().split("\n")
    assert c4_kernels.holds_word(*data, index, True)[0] == any(re.search(rf"[^a-z](?:{pattern})[^a-z]", line) for line in lines)


def test_a_list_that_is_none_is_refused(tmp_path: Path):
    (tmp_path / "blank").write_text("\n \n")
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    for name in ("blank", "bytes", "missing"):
        with pytest.raises(CurateError, match=name):
            BadWords(Model(str(tmp_path / name))).check()


def test_validation_is_every_thousandth_page_by_the_md5_of_its_url_as_c4_has_it():
    urls = [f"http{'s' * (n % 2)}://www.a.example/{n}/?utm_source=x" for n in range(3000)]
    held_out = [int(hashlib.md5(f"a.example/{n}".encode()).hexdigest(), 16) % 1000 == 0 for n in range(3000)]
    assert 0 < sum(held_out) < 20
    batch = batch_of(["text"] * 3000, url=urls)
    assert Split(part="validation").keep(batch).tolist() == held_out
    assert Split().keep(batch).tolist() == [not h for h in held_out]


@pytest.mark.parametrize(
    ("urls", "same"),
    [
        (["http://a.example/x", "https://www.a.example/x/", "https://a.example/x//"], True),
        (["http://a.example/x", "http://a.example/x?utm_source=y&z=1", "http://a.example/x?ref=1", "http://a.example/x?feed"], True),
        (["http://a.example/x?y=http://www.b.example", "http://a.example/x?y=b.example"], True),
        (["http://a.example/x", "http://a.example/X"], False),
        (["http://a.example/x", "http://a.example/x?y&utm_source=z"], False),
        (["http://www.www.a.example/", "http://a.example/"], False),
    ],
)
def test_urls_are_the_same_page_by_c4s_key(urls: list[str], same: bool):
    keys = Url(url_key="c4").emit(batch_of(["text"] * len(urls), url=urls, date=["2020-01-01"] * len(urls)))
    assert (len(set(keys["key"].to_pylist())) == 1) == same


def test_parameters_that_mean_nothing_are_refused(own: Model):
    for config in ({"policies": [""]}, {"headers": [""]}, {"policies": ["Terms"]}, {"min_words": -1}, {"end_marks": ""}):
        with pytest.raises(RecipeError):
            build.build("c4.Clean", {"punkt": own.path, **config})
    for name, config in (
        ("c4.Split", {"parts": 0}),
        ("c4.Clean", {"punkt": own.path, "max_chars": 0}),
        ("c4.Clean", {"punkt": own.path, "min_sentences": -1}),
        ("c4.Lines", {"punkt": own.path, "min_sentences": -1}),
        ("c4.Language", {"least": 1.5}),
        ("c4.Language", {"least": float("nan")}),
        ("c4.Language", {"language": "english"}),
    ):
        with pytest.raises(RecipeError):
            build.build(name, config)


def test_languages_are_those_that_langdetect_knows():
    directory = pytest.importorskip("langdetect.detector_factory").PROFILES_DIRECTORY
    assert sorted(LANGUAGES.split()) == sorted(path.name for path in Path(directory).iterdir() if path.is_file() and "." not in path.name)
