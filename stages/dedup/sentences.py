"""Sentence dedup: of every span of three sentences that stands in several places all but one go, as the paper of C4 says it did.

Raffel et al. 2020, 2.2: "all but one of any three-sentence span occurring more than once". No release of C4's code does so: it compares
single lines (`c4.Lines`). Here are the rules of datatrove's sentence_dedup.py: sentences are compared in lower case, numbers as 0, without
punctuation and accents; every sentence of a later span goes; a document that has lost some goes if it is left with little.
Sentences are Punkt's, where datatrove 0.10 takes spaCy's, and of 100,000 characters at most. What travels is a hash of each span.
Cost per core: 0.5 to 1 MB/s, twice: to find the spans, and to take them out; sentences and their normal form are made in Python.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
from pydantic import Field

from classifiers import punkt
from curate.batch import Array, Batch, Check
from curate.kernels import membership
from curate.stage import ADDRESS, Checks, Guarded, Model
from stages.dedup.datatrove import normalised, xxh64
from stages.dedup.lines import Lines, _looked_up

_FIRST_STAYS = Lines(more_than=1, keep_first=1)


@dataclass(frozen=True)
class Sentences(Guarded):
    """Of each span of sentences that several documents hold, or one holds more than once, keep the first in corpus order."""

    punkt: Model  # Punkt's parameters, as {known: punkt_tab.zip}; ours, datatrove 0.10 takes spaCy's sentences
    language: str = "english"  # of Punkt's parameters; ours
    span: Annotated[int, Field(ge=1, le=1000)] = 3  # sentences in a row; Raffel et al. 2.2: three
    min_words: Annotated[int, Field(ge=0)] = 50  # of a document that has lost sentences, symbols counted as words; datatrove
    min_sentences: Annotated[int, Field(ge=0)] = 3  # of a document that has lost sentences; datatrove

    def check(self) -> None:
        punkt.check(self.punkt, self.language)

    @cached_property
    def sentences(self) -> Any:
        return punkt.load(self.punkt, self.language)

    def emit(self, batch: Batch) -> pa.RecordBatch:
        _, offsets, _, hashes = self._spans(batch)
        row, key = membership.distinct_in_documents(offsets[:-1], offsets[1:], hashes)
        return pa.record_batch({"key": key, "row": row, "count": np.ones(len(key), np.uint32)})

    def combine(self, keys: pa.Table) -> pa.Table:
        return _FIRST_STAYS.combine(keys)

    def reduce(self, keys: pa.Table) -> pa.Table:
        return _FIRST_STAYS.reduce(keys)

    def apply(self, batch: Batch, verdict: pa.Table) -> tuple[Batch, Checks]:
        ends, offsets, at, hashes = self._spans(batch)
        _, until = _looked_up(hashes, verdict)
        of = np.repeat(np.arange(len(batch)), np.diff(offsets))
        goes = ((until >= 0) & (int(verdict.schema.metadata[ADDRESS]) + of > until)) | ~membership.first_in_document(
            offsets[:-1], offsets[1:], hashes
        )
        changed = np.bincount(of[goes], minlength=len(batch)) > 0
        texts, left = batch.text.to_pylist(), np.array([len(sentences) for sentences in ends], np.int64)
        for row in np.flatnonzero(changed).tolist():
            spans = slice(offsets[row], offsets[row + 1])
            gone = {n + k for n in at[spans][goes[spans]].tolist() for k in range(self.span)}
            pieces = zip([0, *ends[row]], ends[row], strict=False)
            texts[row] = "".join(texts[row][low:high] for n, (low, high) in enumerate(pieces) if n not in gone).lstrip()
            left[row] -= len(gone)
        after = batch.with_text(texts)
        words = after.words.count
        checks: Checks = {
            "few_words": Check(~changed | (words >= self.min_words), words, self.min_words),
            "few_sentences": Check(~changed | (left >= self.min_sentences), left, self.min_sentences),
        }
        return after, checks

    def _spans(self, batch: Batch) -> tuple[list[list[int]], Array, Array, Array]:
        """(where each sentence of each document ends, int64 offsets of each document's spans, the first sentence of each, its hash)."""
        ends, offsets, at, spans = [], [0], [], []
        for text in batch.text.to_pylist():
            bounds = list(punkt.spans(self.sentences, text))
            plain = [normalised(text[low:high]) for low, high in bounds]
            ends.append([high for _, high in bounds])
            for n in range(len(plain) - self.span + 1):
                span = " ".join(plain[n : n + self.span])
                if span.strip():
                    at.append(n)
                    spans.append(span)
            offsets.append(len(spans))
        hashes = xxh64(*Batch.of(pa.record_batch({"text": pa.array(spans, pa.large_string())})).utf8)
        return ends, np.array(offsets, np.int64), np.array(at, np.int64), hashes
