"""Kneser-Ney: against a textbook restatement in dictionaries, against lmplz, and as KenLM reads it."""

from __future__ import annotations

import gzip
import itertools
import math
import os
import random
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import lmplz
import numpy as np
import pyarrow as pa
import pyarrow.csv as pc
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from classifiers.ngrams.kneser_ney import Estimate, closed_form, estimate
from classifiers.ngrams.sort import Runs, Scratch
from curate.errors import CurateError

ROOT = Path(__file__).parents[2]
BOOKS = ROOT.parent / "shared/corpus/books/gutenberg_raw"
WEB = ROOT.parent / "shared/corpus/commoncrawl/packed_wet"

Gram = tuple[str, ...]
FALLBACK = (0.5, 1.0, 1.5)


def made(folder: Path, sentences: Iterable[Iterable[str] | str], **options: Any) -> tuple[Path, Estimate]:
    path = folder / "model.arpa"
    return path, estimate(sentences, str(path), folder=str(folder / "work"), **options)


def sections(path: Path) -> list[pa.Table]:
    """Each order's lines, sorted by their n-gram: `log` (of the probability), `gram`, and `backoff` but for the last."""
    data, out = path.read_bytes(), []
    orders = int(data[: data.index(b"\n\n")].splitlines()[-1].split(b" ")[1].split(b"=")[0])
    for k in range(1, orders + 1):
        low = data.index(f"\n\\{k}-grams:\n".encode()) + len(f"\n\\{k}-grams:\n")
        names = ["log", "gram", "backoff"][: 3 if k < orders else 2]
        types = {"log": pa.float64(), "gram": pa.string(), "backoff": pa.float64()}
        lines = memoryview(data)[low : data.index(b"\n\n", low - 1) + 1]
        table = pa.schema({n: types[n] for n in names}).empty_table()
        if lines:
            table = pc.read_csv(
                pa.BufferReader(lines),
                pc.ReadOptions(column_names=names),
                pc.ParseOptions(delimiter="\t", quote_char=False),
                pc.ConvertOptions(column_types=types, null_values=[]),
            )
        out.append(table.sort_by("gram"))
    return out


def lines(path: Path) -> tuple[dict[Gram, float], dict[Gram, float]]:
    """(logarithms of probabilities, of back-off weights) by n-gram."""
    logs: dict[Gram, float] = {}
    weights: dict[Gram, float] = {}
    for table in sections(path):
        grams = [tuple(g.split(" ")) for g in table["gram"].to_pylist()]
        logs |= dict(zip(grams, table["log"].to_pylist(), strict=True))
        if "backoff" in table.column_names:
            weights |= dict(zip(grams, table["backoff"].to_pylist(), strict=True))
    return logs, weights


def log_of(gram: Gram, logs: dict[Gram, float], weights: dict[Gram, float]) -> float:
    """What a model in this format says of the last word of `gram` after the others."""
    if gram in logs:
        return logs[gram]
    return log_of(gram[1:], logs, weights) + weights.get(gram[:-1], 0.0) if len(gram) > 1 else logs[("<unk>",)]


def textbook(sentences: Sequence[Sequence[str]], order: int) -> tuple[dict[Gram, float], dict[Gram, float]]:
    """Interpolated modified Kneser-Ney (Chen and Goodman 1999, section 4.1.6) by its definition."""
    occurs: dict[Gram, int] = defaultdict(int)
    before: dict[Gram, set[str]] = defaultdict(set)
    for sentence in sentences:
        words = ("<s>", *sentence, "</s>")
        for first, last in itertools.combinations(range(len(words) + 1), 2):
            gram = words[first:last]
            if len(gram) <= order + 1:
                occurs[gram] += 1
                before[gram[1:]].add(gram[0])
    count = {g: n if len(g) == order or g[0] == "<s>" else len(before[g]) for g, n in occurs.items() if len(g) <= order and g != ("<s>",)}
    discounts = []
    for k in range(1, order + 1):
        n = [sum(1 for g, c in count.items() if len(g) == k and c == times) for times in range(5)]
        found = FALLBACK
        if n[1] and n[2] and n[3]:
            y = n[1] / (n[1] + 2 * n[2])
            own = tuple(c - (c + 1) * y * n[c + 1] / n[c] for c in (1, 2, 3))
            found = own if all(0 <= d <= c for c, d in zip((1, 2, 3), own, strict=True)) else FALLBACK
        discounts.append((0.0, *found))
    followed: dict[Gram, list[Gram]] = defaultdict(list)
    for gram in count:
        followed[gram[:-1]].append(gram)
    total = {context: sum(count[g] for g in grams) for context, grams in followed.items()}
    weight = {
        context: sum(discounts[len(context)][min(count[g], 3)] for g in grams) / total[context] for context, grams in followed.items()
    }
    words = len(followed[()]) + 1  # and <unk>

    def probability(gram: Gram) -> float:
        lower = probability(gram[1:]) if len(gram) > 1 else 1 / words
        own = count.get(gram, 0)
        return (own - discounts[len(gram) - 1][min(own, 3)]) / total[gram[:-1]] + weight[gram[:-1]] * lower

    grams = {g: probability(g) for g in count} | {("<unk>",): probability(("<unk>",)), ("<s>",): 1.0}
    return grams, {g: weight.get(g, 1.0) for g in grams if len(g) < order}


def log10(value: float) -> float:
    return math.log10(max(value, 1e-99))


def test_a_corpus_of_two_sentences_computed_by_hand(tmp_path: Path) -> None:
    path, found = made(tmp_path, ["a b", "a"], order=2)
    # adjusted counts: a 1, b 1, </s> 2 of 4, which leaves (0.5 + 0.5 + 1) / 4 for four words; <s> a 2, a b 1, a </s> 1, b </s> 1
    logs, weights = lines(path)
    want = {"<unk>": 0.125, "<s>": 1, "</s>": 0.375, "a": 0.25, "b": 0.25, "<s> a": 0.625, "a b": 0.375, "a </s>": 0.4375, "b </s>": 0.6875}
    assert {" ".join(g): 10**v for g, v in logs.items()} == pytest.approx(want, rel=1e-6)
    assert {" ".join(g): 10**v for g, v in weights.items()} == pytest.approx(
        {"<unk>": 1, "<s>": 0.5, "</s>": 1, "a": 0.5, "b": 0.5}, rel=1e-6
    )
    assert found == Estimate(2, 3, (5, 4), (FALLBACK, FALLBACK), (1, 2))


def test_discounts_are_those_of_chen_and_goodman() -> None:
    assert closed_form(np.array([0, 40, 20, 10, 5])) == pytest.approx((0.5, 1.25, 2.0))  # y = 1/2; 1 - 1/2, 2 - 3/4, 3 - 1
    with pytest.raises(ValueError, match="count 3"):
        closed_form(np.array([0, 40, 20, 0, 5]))
    with pytest.raises(ValueError, match="count 2 comes out as -"):
        closed_form(np.array([0, 40, 20, 30, 5]))


tokens = st.sampled_from(["a", "b", "c", "d", "é", "ωω"])
sentence_lists = st.lists(st.lists(tokens, max_size=7), min_size=1, max_size=25).filter(any)


@settings(max_examples=150, deadline=None)
@given(sentence_lists, st.integers(1, 6))
@example([["a"]], 5)  # no 4-gram
@example([["a"], [], ["b", "a"]], 1)
def test_it_is_the_textbook(tmp_path_factory: pytest.TempPathFactory, sentences: list[list[str]], order: int) -> None:
    path, found = made(tmp_path_factory.mktemp("m"), sentences, order=order)
    logs, weights = lines(path)
    want, want_weights = textbook(sentences, order)
    assert logs == pytest.approx({g: log10(p) for g, p in want.items()}, abs=2e-7)
    assert weights == pytest.approx({g: log10(b) for g, b in want_weights.items()}, abs=2e-7)
    assert found.ngrams == tuple(sum(len(g) == k for g in want) for k in range(1, order + 1))
    assert (found.sentences, found.tokens) == (len(sentences), sum(map(len, sentences)))


@settings(max_examples=50, deadline=None)
@given(sentence_lists, st.integers(1, 5))
def test_after_every_context_the_words_add_up_to_one(
    tmp_path_factory: pytest.TempPathFactory, sentences: list[list[str]], order: int
) -> None:
    logs, weights = lines(made(tmp_path_factory.mktemp("m"), sentences, order=order)[0])
    words = [g[0] for g in logs if len(g) == 1 and g != ("<s>",)]
    for context in [(), *(g for g in weights if g[-1] != "</s>")]:
        assert sum(10 ** log_of((*context, w), logs, weights) for w in words) == pytest.approx(1, abs=1e-5)


def zipf(sentences: int, seed: int) -> Iterator[str]:
    """Sentences of a few thousand words, common and rare ones."""
    rng = random.Random(seed)
    for _ in range(sentences):
        yield " ".join(f"w{int(rng.paretovariate(0.7)) % 5000}" for _ in range(rng.randrange(15)))


def test_strings_and_lists_of_tokens_are_the_same(tmp_path: Path) -> None:
    text = [*zipf(300, 1), " two  spaces\tand a tab ", ""]
    strings = made(tmp_path, text)[0].read_bytes()
    assert made(tmp_path, (iter(s.split()) for s in text))[0].read_bytes() == strings
    assert made(tmp_path, (s.split() if i % 2 else s for i, s in enumerate(text)))[0].read_bytes() == strings


@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_memory_changes_no_byte(tmp_path: Path, order: int) -> None:
    text = list(zipf(6000, 2))
    whole = made(tmp_path, text, order=order)[0].read_bytes()
    for memory in (1, 3e5, 2e6):  # dozens of runs to merge, to one
        assert made(tmp_path, text, order=order, memory=memory)[0].read_bytes() == whole


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 2**32 - 1), st.integers(0, 9)), max_size=300, unique=True), st.integers(1, 50))
def test_rows_sorted_by_runs_come_out_as_sorted_at_once(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[int, int, int]], capacity: int
) -> None:
    with Scratch(str(tmp_path_factory.mktemp("m"))) as scratch:
        runs = Runs(scratch, 3, (2, 0, 1), capacity)
        for low in range(0, len(rows), 7):
            runs.add(np.array(rows[low : low + 7], np.uint32))
        found = [tuple(row) for block in runs.blocks(capacity) for row in block.tolist()]
    assert found == sorted(rows, key=lambda r: (r[2], r[0], r[1]))


MEMORY = """
import resource, sys
import numpy as np
from classifiers.ngrams.kneser_ney import estimate
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
def text(sentences):
    rng = np.random.default_rng(1)
    words = np.array([f"word{i}" for i in range(5000)])
    for _ in range(sentences // 1000):
        for row in words[rng.zipf(1.3, (1000, 20)) % 5000].tolist():
            yield " ".join(row)
memory, folder = 1e7, sys.argv[1]
estimate(text(1000), folder + "/a", folder=folder, memory=memory, order=3)
before = peak()
found = estimate(text(int(sys.argv[2])), folder + "/a", folder=folder, memory=memory, order=3)
print(found.tokens, peak() - before)
"""


def test_memory_is_bounded_whatever_the_size_of_the_text(tmp_path: Path) -> None:
    run = [sys.executable, "-c", MEMORY, str(tmp_path), "150000"]
    done = subprocess.run(run, capture_output=True, text=True, check=True, cwd=ROOT, timeout=200)
    tokens, grown = map(int, done.stdout.split())
    assert tokens * 7 > 1.5e7  # bytes of text: more than was allowed, and its n-grams take many times as much
    assert grown < 3e7


def test_nothing_is_left_behind(tmp_path: Path) -> None:
    def broken() -> Iterator[str]:
        yield from zipf(3000, 3)
        raise RuntimeError("the reader broke")

    path, work = tmp_path / "model.arpa", tmp_path / "work"
    with pytest.raises(RuntimeError, match="the reader broke"):
        estimate(broken(), str(path), folder=str(work), memory=1e5)
    with pytest.raises(CurateError):
        estimate(["a"], str(path), folder=str(work), fallback=None)
    assert [p.name for p in tmp_path.iterdir()] == ["work"]
    estimate(["a"], str(path), folder=str(work))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model.arpa", "work"]
    assert not list(work.iterdir())


@pytest.mark.parametrize("sentences", [[], [""], ["", " \t "], [[]]])
def test_no_text_is_an_error(tmp_path: Path, sentences: list[str]) -> None:
    with pytest.raises(CurateError, match="no text to estimate a language model from"):
        made(tmp_path, sentences)


@pytest.mark.parametrize("token", ["<s>", "</s>", "<unk>", "<UNK>"])
def test_a_token_that_the_model_needs_for_itself_is_an_error(tmp_path: Path, token: str) -> None:
    with pytest.raises(CurateError, match=f"sentence 3 has the token '{token}'"):
        made(tmp_path, ["a", "b", f"c {token} d", "e"])
    assert made(tmp_path, [f"c {token}s"])[1].tokens == 2  # part of a word, it is none


@pytest.mark.parametrize("tokens", [[""], ["a b"], ["a\n"], ["\0"], ["", "a b"], ["", ""], ["a ", "", "b"]])
def test_a_token_with_white_space_is_an_error(tmp_path: Path, tokens: list[str]) -> None:
    with pytest.raises(CurateError, match="sentence 2 has a token that is empty or has white space"):
        made(tmp_path, [["a"], tokens])


def test_discounts_that_cannot_be_estimated_are_an_error_where_they_may_not_fall_back(tmp_path: Path) -> None:
    with pytest.raises(CurateError, match=r"no discounts for 1-grams: none has the adjusted count 1.*allow discounts to fall back"):
        made(tmp_path, ["a a", "b a", "a b", "b b"], order=2, fallback=None)
    found = made(tmp_path, zipf(3000, 4), order=3, fallback=None)[1]
    assert found.fallback == ()
    assert made(tmp_path, zipf(3000, 4), order=3, fallback=(0.1, 0.2, 0.3))[1] == found


def test_an_order_below_one_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CurateError, match="order 0"):
        made(tmp_path, ["a"], order=0)


@pytest.mark.parametrize("order", [2, 3, 5, 6])
def test_kenlm_reads_the_model(tmp_path: Path, order: int) -> None:
    kenlm = pytest.importorskip("kenlm")
    path, _ = made(tmp_path, zipf(2000, 5), order=order)
    logs, weights = lines(path)
    model = kenlm.Model(str(path))
    assert model.order == order
    for sentence in [*itertools.islice(zipf(100, 6), 100), "never seen w1", ""]:
        words = ("<s>", *sentence.split(), "</s>")
        known = tuple(w if (w,) in logs else "<unk>" for w in words)
        own = sum(log_of(known[max(0, i - order + 1) : i + 1], logs, weights) for i in range(1, len(words)))
        assert model.score(sentence) == pytest.approx(own, abs=1e-4)


LAST = "the-last-word"  # new and once: lmplz's counts of counts then are the textbook's (see the module's text)


def differences(path: Path, text: Path, order: int, *options: str) -> tuple[float, float]:
    """The largest difference of a logarithm and of a back-off weight from lmplz's model, which has the same n-grams."""
    reference = path.with_suffix(".lmplz")
    command = [lmplz.path(), "-o", str(order), "-S", "2G", "-T", str(path.parent), *options]
    with text.open("rb") as source, reference.open("wb") as out:
        subprocess.run(command, stdin=source, stdout=out, stderr=subprocess.PIPE, check=True, timeout=400)
    log = backoff = 0.0
    ours, theirs = sections(path), sections(reference)
    assert len(ours) == len(theirs) == order
    for mine, other in zip(ours, theirs, strict=True):
        assert mine.column_names == other.column_names
        assert mine["gram"].equals(other["gram"])
        log = max(log, float(np.abs(mine["log"].to_numpy() - other["log"].to_numpy()).max()))
        if "backoff" in mine.column_names:
            backoff = max(backoff, float(np.abs(mine["backoff"].to_numpy() - other["backoff"].to_numpy()).max()))
    return log, backoff


@pytest.mark.parametrize("order", [1, 2, 3, 5, 6])
@pytest.mark.parametrize("sentences", [3, 40, 4000])
def test_it_agrees_with_lmplz_on_a_little_text(tmp_path: Path, order: int, sentences: int) -> None:
    text = [*zipf(sentences, 7), LAST]
    source = tmp_path / "text"
    source.write_text("".join(f"{s}\n" for s in text))
    path, _ = made(tmp_path, text, order=order)
    log, backoff = differences(path, source, order, "--discount_fallback")
    assert log < 1e-5
    assert backoff < 1e-5


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """20 MB of books and web pages as the pieces of a SentencePiece model of 8,000, a line each."""
    books, web = sorted(BOOKS.glob("*.txt")), sorted(WEB.glob("*.wet.gz"))
    if not books or not web:
        pytest.skip(f"the sample corpus is not there: no text in {BOOKS.relative_to(ROOT.parent)} or {WEB.relative_to(ROOT.parent)}")
    sentencepiece = pytest.importorskip("sentencepiece")
    text: list[str] = []
    size = 0
    for file in [*books, *web]:
        data = file.read_bytes() if file.suffix == ".txt" else gzip.decompress(file.read_bytes())
        for line in data.decode(errors="replace").lower().split("\n"):
            if size < 20e6 and (line := " ".join(line.split())):
                text.append(line)
                size += len(line.encode()) + 1
    assert size >= 20e6
    folder = tmp_path_factory.mktemp("real")
    prefix = str(folder / "pieces")
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(text[::15]), model_prefix=prefix, vocab_size=8000, num_threads=1, minloglevel=2, character_coverage=0.9995
    )
    model = sentencepiece.SentencePieceProcessor(model_file=f"{prefix}.model")
    unknown = {"<unk>", "<s>", "</s>", "<UNK>"}
    with (folder / "text").open("w") as out:
        for low in range(0, len(text), 5000):
            for pieces in model.encode(text[low : low + 5000], out_type=str):
                out.write(" ".join("?" if p in unknown else p.replace("\0", "?") for p in pieces) + "\n")
        out.write(f"{LAST}\n")
    return folder / "text"


def test_it_agrees_with_lmplz_on_real_text(tmp_path: Path, real: Path) -> None:
    lmplz.path()
    with real.open(newline="\n") as text:
        path, found = made(tmp_path, (line.rstrip("\n") for line in text), order=5)
    assert found.tokens > 5e6
    log, backoff = differences(path, real, 5)
    assert log < 1e-5
    assert backoff < 1e-5
    for left in tmp_path.iterdir():
        if left.is_file():
            os.remove(left)  # a gigabyte that pytest would keep
