"""Exact substrings against their definition in plain Python, and against a suffix array."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import support
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.worker import outcome
from stages.dedup.substring import ExactSubstring, Windows

Span = tuple[int, int]


# -- the definition -----------------------------------------------------------------------------------------------------------------


def spans(documents: Sequence[Sequence[Any]], least: int, keep_first: bool) -> list[list[Span]]:
    """Of each document, what is covered by a window of so many units that stands elsewhere too and is not the first, if that is kept."""
    places = defaultdict(list)
    for d, units in enumerate(documents):
        for x in range(len(units) - least + 1):
            places[tuple(units[x : x + least])].append((d, x))
    gone: list[set[int]] = [set() for _ in documents]
    for found in places.values():
        for d, x in found[keep_first:] if len(found) > 1 else []:
            gone[d].update(range(x, x + least))
    return [stretches(units) for units in gone]


def stretches(units: set[int]) -> list[Span]:
    """Runs of numbers that follow each other."""
    out: list[Span] = []
    for u in sorted(units):
        out[-1:] = [(out[-1][0], u + 1)] if out and out[-1][1] == u else [*out[-1:], (u, u + 1)]
    return out


def without_words(words: Sequence[str], gone: Sequence[Span]) -> str:
    """What is left where single spaces stand between words."""
    left = [0, *(n for span in gone for n in span), len(words)]
    return " ".join(w for low, high in zip(left[::2], left[1::2], strict=True) for w in words[low:high])


def without_bytes(text: str, gone: Sequence[Span]) -> str:
    """What is left of whole characters: one goes if all its bytes do."""
    bytes_ = {u for span in gone for u in range(*span)}
    out, at = "", 0
    for c in text:
        size = len(c.encode())
        out += "" if bytes_.issuperset(range(at, at + size)) else c
        at += size
    return out


def cut(stage: ExactSubstring, shards: Sequence[Sequence[str]], folder: Path, *, partitions: int = 1, rows: int = 1000) -> list[Any]:
    """What a barrier leaves of each document, None of one that is dropped."""
    batches = [[support._batch(n, texts, at, rows) for at in range(0, len(texts), rows)] for n, texts in enumerate(shards)]
    out: list[Any] = []
    for shard, verdict in zip(batches, support.decided(stage, batches, folder, partitions=partitions), strict=True):
        for at, batch in enumerate(shard):
            after, checks, _ = outcome(stage, batch, verdict.rows(at * rows, len(batch)))
            [check] = checks.values()
            out += [text if passed else None for text, passed in zip(after.text.to_pylist(), check.passed, strict=True)]
    return out


def expected(stage: ExactSubstring, documents: Sequence[str]) -> list[str | None]:
    """The same by the definition, where single spaces stand between words."""
    if stage.unit == "tokens":
        units: Any = [text.split() for text in documents]
        left = [without_words(*pair) for pair in zip(units, spans(units, stage.least, stage.keep_first), strict=True)]
    else:
        gone = spans([text.encode() for text in documents], stage.least, stage.keep_first)
        left = [without_bytes(*pair) for pair in zip(documents, gone, strict=True)]
    return [None if a != b and not b.strip() else b for a, b in zip(documents, left, strict=True)]


WORD = st.sampled_from(["a", "b", "c", "word", "\u00e4\u00f6", "\u20ac", "\U0001f600", "\u0448\u0443\u043c"])
RUN = st.lists(WORD, min_size=1, max_size=8).flatmap(lambda words: st.integers(1, 4).map(lambda times: words * times))
TEXT = st.lists(RUN, max_size=4).map(lambda runs: " ".join(word for run in runs for word in run))


@st.composite
def corpora(draw: Any) -> list[list[str]]:
    """Shards of documents that quote from each other and repeat themselves."""
    shards = draw(st.lists(st.lists(TEXT, max_size=4), min_size=1, max_size=4))
    texts = [text for shard in shards for text in shard if text]
    if texts:
        for shard in shards:
            for n in range(len(shard)):
                if draw(st.booleans()):
                    words = draw(st.sampled_from(texts)).split()
                    low = draw(st.integers(0, len(words) - 1))
                    shard[n] = " ".join([*shard[n].split(), *words[low : low + draw(st.integers(1, 12))]])
    return shards


@pytest.mark.parametrize("unit", ["tokens", "bytes"])
@given(shards=corpora(), least=st.integers(1, 9), keep_first=st.booleans(), partitions=st.sampled_from([1, 2, 8]), rows=st.integers(1, 3))
@settings(max_examples=60, deadline=None)
def test_what_goes_is_what_the_definition_says(tmp_path_factory, unit, shards, least, keep_first, partitions, rows):
    stage = ExactSubstring(unit=unit, least=least, keep_first=keep_first)
    left = cut(stage, shards, tmp_path_factory.mktemp("s"), partitions=partitions, rows=rows)
    assert left == expected(stage, [text for shard in shards for text in shard])


@pytest.mark.parametrize("unit", ["tokens", "bytes"])
@given(shards=corpora(), least=st.integers(2, 9), keep_first=st.booleans(), held=st.integers(1, 6))
@settings(max_examples=25, deadline=None)
def test_memory_that_holds_next_to_nothing_changes_nothing(tmp_path_factory, unit, shards, least, keep_first, held):
    """Keys are spilt row by row, ranges are of a few rows, the rows of one anchor are mapped one by one and their windows compared one by
    one, and a shard is settled alone."""
    stage = ExactSubstring(unit=unit, least=least, keep_first=keep_first)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (("SPILL_BYTES", 1), ("RANGE_ROWS", held), ("PIECE_BYTES", 1)):
            patch.setattr(f"curate.exchange.{name}", value)
        patch.setattr("stages.dedup.substring.SETTLED", 1)
        patch.setattr("stages.dedup.substring_kernels.SLOTS", 2)
        left = cut(stage, shards, tmp_path_factory.mktemp("s"), partitions=2, rows=1)
    assert left == expected(stage, [text for shard in shards for text in shard])


@given(shards=corpora(), least=st.integers(1, 5), seed=st.integers(0, 9))
@settings(max_examples=40, deadline=None)
def test_the_order_of_key_rows_changes_nothing(tmp_path_factory, shards, least, seed):
    """Of both rounds; and each document says twice the same, as in texts that repeat themselves."""
    shards = [[" ".join([*text.split(), str(n), *text.split()]) for n, text in enumerate(shard)] for shard in shards]
    rng = np.random.default_rng(seed)

    def shuffled(emit: Any) -> Any:
        return lambda self, *given: (keys := emit(self, *given)).take(pa.array(rng.permutation(len(keys))))

    with pytest.MonkeyPatch.context() as patch:
        for round_ in (ExactSubstring, Windows):
            patch.setattr(round_, "emit", shuffled(round_.emit))
        stage = ExactSubstring(least=least, keep_first=True)
        left = cut(stage, shards, tmp_path_factory.mktemp("s"), rows=2)
    assert left == expected(stage, [text for shard in shards for text in shard])


@given(shards=corpora(), least=st.integers(1, 9))
@settings(max_examples=40, deadline=None)
def test_with_the_first_copy_kept_each_window_stands_at_least_once_before_and_none_twice_after(tmp_path_factory, shards, least):
    documents = [text.split() for shard in shards for text in shard]
    left = cut(ExactSubstring(least=least, keep_first=True), shards, tmp_path_factory.mktemp("s"))
    gone = spans(documents, least, keep_first=True)
    windows: Counter[Any] = Counter()
    for words, text, holes in zip(documents, left, gone, strict=True):
        assert (text or "").split() == without_words(words, holes).split()
        for low, high in zip([0, *(high for _, high in holes)], [*(low for low, _ in holes), len(words)], strict=True):
            windows.update(tuple(words[x : x + least]) for x in range(low, high - least + 1))
    assert max(windows.values(), default=0) <= 1
    assert {w for words in documents for w in words} == {w for text in left for w in (text or "").split()}  # no word is lost altogether


# -- a suffix array -----------------------------------------------------------------------------------------------------------------


def duplicated(units: np.ndarray[Any, Any], least: int) -> np.ndarray[Any, Any]:
    """Whether the suffix at each place shares its first `least` units with a neighbour in the suffix array: by prefix doubling, with the
    longest common prefix of neighbours by the ranks of each doubling."""
    n = len(units)
    ranks = [np.unique(units, return_inverse=True)[1].astype(np.int64)]
    step = 1
    while ranks[-1].max() < n - 1:
        behind = np.full(n, -1)
        behind[: n - step] = ranks[-1][step:]
        key = ranks[-1] * (n + 1) + behind + 1
        order = np.argsort(key)
        rank = np.empty(n, np.int64)
        rank[order] = np.cumsum(np.concatenate(([0], key[order][1:] != key[order][:-1])))
        ranks.append(rank)
        step *= 2
    suffixes = np.argsort(ranks[-1])
    a, b = suffixes[:-1].copy(), suffixes[1:].copy()
    common = np.zeros(n - 1, np.int64)
    for level in range(len(ranks) - 1, -1, -1):
        inside = (a < n) & (b < n)
        same = inside.copy()
        same[inside] = ranks[level][a[inside]] == ranks[level][b[inside]]
        common[same] += 1 << level
        a[same] += 1 << level
        b[same] += 1 << level
    out = np.zeros(n, np.bool_)
    out[suffixes[:-1]] |= common >= least
    out[suffixes[1:]] |= common >= least
    return out


def quoting(count: int) -> list[str]:
    """Documents of random words, a third of which quote earlier ones."""
    rng = random.Random(7)
    words = [a + b for a in support.WORDS for b in ("", "s", "er", "\u00e9", "\u0448", *support.WORDS[:20])]
    out: list[str] = []
    for n in range(count):
        text = " ".join(rng.choice(words) for _ in range(rng.randint(20, 400)))
        while n and rng.random() < 0.3:
            other = rng.choice(out)
            low = rng.randrange(len(other))
            quoted, at = other[low : low + rng.randint(1, 1500)], rng.randrange(len(text))
            text = text[:at] + quoted + text[at:]
        out.append(text)
    return out


@pytest.mark.parametrize(("unit", "count"), [("tokens", 1500), ("bytes", 600)])
def test_what_goes_is_what_a_suffix_array_finds(unit: str, count: int, tmp_path: Path):
    documents = quoting(count)
    if unit == "tokens":
        numbers: dict[str, int] = {}
        units = [[numbers.setdefault(w, len(numbers)) for w in text.split()] for text in documents]
    else:
        units = [list(text.encode()) for text in documents]
    stage = ExactSubstring(unit=unit)  # type: ignore[arg-type]
    least = stage.second.least
    separated = np.concatenate([np.array([*u, 10**6 + n]) for n, u in enumerate(units)])  # each document ends in a sign of its own
    covered = np.zeros(len(separated) + least, np.int64)
    found = np.flatnonzero(duplicated(separated, least))
    np.add.at(covered, found, 1)
    np.add.at(covered, found + least, -1)
    gone = np.cumsum(covered)[: len(separated)] > 0
    shares, at = [], 0
    for u in units:
        shares.append(stretches(set(np.flatnonzero(gone[at : at + len(u)]).tolist())))
        at += len(u) + 1
    assert 0.1 < gone.mean() < 0.9
    shards = [documents[low::3] for low in range(3)]
    order = [n for low in range(3) for n in range(low, len(documents), 3)]
    left = cut(stage, shards, tmp_path, partitions=3, rows=100)
    if unit == "tokens":
        texts = [without_words(text.split(), share) for text, share in zip(documents, shares, strict=True)]
    else:
        texts = [without_bytes(text, share) for text, share in zip(documents, shares, strict=True)]
    same = str.split if unit == "tokens" else str  # which white space stays is told elsewhere
    assert [same(text or "") for text in left] == [same(texts[n]) for n in order]
