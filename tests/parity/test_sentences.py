"""Deduplication of spans of sentences: all but the first of each go, as a definition over all spans says it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import punkt_tables
import pyarrow as pa
import pytest
import support
from hypothesis import given, settings
from hypothesis import strategies as st

from curate import build
from curate.batch import Batch
from curate.errors import RecipeError
from curate.stage import Model
from curate.worker import outcome
from stages.dedup.datatrove import normalised
from stages.dedup.sentences import Sentences


@pytest.fixture(scope="session")
def own(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return Model(punkt_tables.write(tmp_path_factory.mktemp("punkt")))


def deduped(stage: Sentences, shards: list[list[str]], folder: Path, *, partitions: int = 1, rows: int = 100) -> list[str | None]:
    batches = [[support._batch(number, texts, at, rows) for at in range(0, len(texts), rows)] for number, texts in enumerate(shards)]
    out: list[str | None] = []
    for of_shard, verdict in zip(batches, support.decided(stage, batches, folder, partitions=partitions), strict=True):
        for at, batch in enumerate(of_shard):
            after, checks, _ = outcome(stage, batch, verdict.rows(at * rows, len(batch)))
            kept = np.all([check.passed for check in checks.values()], axis=0)
            out += [text if stays else None for text, stays in zip(after.text.to_pylist(), kept.tolist(), strict=True)]
    return out


def test_all_but_the_first_of_a_span_of_three_sentences_go(own: Model, tmp_path: Path):
    first = "Here it begins. One was red. Two were blue! Three, in all, were 17?  And here it ends."
    later = "Another text it is.\nOne, was RED. Two were   blue. Three in all were 9. It goes on."
    two_only = "One was red. Two were blue. Four more are not."
    left = deduped(Sentences(own, min_words=1, min_sentences=1), [[first], [later, two_only]], tmp_path)
    assert left == [first, "Another text it is. It goes on.", two_only]


def test_a_document_that_is_left_with_little_goes_and_a_short_one_that_lost_nothing_stays(own: Model, tmp_path: Path):
    span = "It was a day. It was a night. It was both."
    shards = [[span, f"{span} More.", "Short."]]
    assert deduped(Sentences(own), shards, tmp_path) == [span, None, "Short."]


SENTENCE = st.sampled_from(["A is b.", "a IS b!", "C d 1.", "C d 22?", "E.", "...", "— —.", "F g"])
TEXT = st.lists(st.tuples(SENTENCE, st.sampled_from([" ", "\n", "  "])), max_size=8).map(lambda parts: "".join(a + b for a, b in parts))


def brute(stage: Sentences, shards: list[list[str]]) -> list[str]:
    seen: set[str] = set()
    out = []
    for text in (text for shard in shards for text in shard):
        bounds = list(stage.sentences.span_tokenize(text))
        plain = [normalised(text[low:high]) for low, high in bounds]
        gone: set[int] = set()
        for n in range(len(plain) - stage.span + 1):
            span = " ".join(plain[n : n + stage.span])
            if span.strip():
                gone |= set(range(n, n + stage.span)) if span in seen else set()
                seen.add(span)
        begins = [0, *(high for _, high in bounds)]
        out.append("".join(text[begins[n] : high] for n, (_, high) in enumerate(bounds) if n not in gone).lstrip() if gone else text)
    return out


@given(st.lists(st.lists(TEXT, max_size=4), min_size=1, max_size=3), st.integers(1, 3), st.integers(1, 3), st.integers(1, 3))
@settings(max_examples=60, deadline=None)
def test_what_goes_is_what_stood_before(own: Model, tmp_path_factory: Any, shards: list[list[str]], span: int, partitions: int, rows: int):
    stage = Sentences(own, span=span, min_words=0, min_sentences=0)
    left = deduped(stage, shards, tmp_path_factory.mktemp("sentences"), partitions=partitions, rows=rows)
    assert left == brute(stage, shards)


def test_a_batch_without_a_span_is_left_as_it_is(own: Model):
    batch = Batch.of(pa.record_batch({"id": ["a", "b"], "text": pa.array(["", "One. Two."], pa.large_string())}))
    assert len(Sentences(own).emit(batch)) == 0


@pytest.mark.parametrize("config", [{"span": 0}, {"min_words": -1}, {"min_sentences": -1}])
def test_numbers_that_mean_nothing_are_refused(own: Model, config: dict[str, int]):
    with pytest.raises(RecipeError):
        build.build("dedup.sentences.Sentences", {"punkt": own.path, **config})


def test_a_document_without_a_sentence_end_takes_no_time(own: Model, tmp_path: Path):
    began = time.process_time()
    assert deduped(Sentences(own), [["[" * 300_000 + ". X"]], tmp_path) == ["[" * 300_000 + ". X"]
    assert time.process_time() - began < 10
