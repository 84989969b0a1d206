"""Language identification by fastText (Joulin et al. 2016; the lid.176 models), and the choice by its score.

Cost: 12 to 40 MB/s per core, all of it in the library; a model of 1 MB (lid.176.ftz) or 126 MB (lid.176.bin) per worker.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from classifiers import fasttext_model
from classifiers.drawn import Drawn, hash_ids, other_hash, share_of
from curate.batch import Batch, Check, at_least
from curate.errors import CurateError, RecipeError
from curate.stage import Checks, Filter, Model, Totals, Trainer, Transform


@dataclass(frozen=True)
class FastText(Transform):
    """Adds `language` (the most likely label) and `language_score` (its probability).

    A text of which the model knows nothing, or an empty one, gets the model's prior (`en`, 0.12 of lid.176), or no label if it has none.
    """

    model: Model  # a name under `models:`, or the path of a fastText model
    newline: Literal["delete", "space"] = "delete"  # CCNet's code deletes line feeds, which glues words at line ends together

    @property
    def adds(self) -> tuple[str, ...]:
        return "language", "language_score"

    def check(self) -> None:
        fasttext_model.check(self.model)

    @cached_property
    def loaded(self) -> Any:
        return fasttext_model.load(self.model)

    def apply(self, batch: Batch) -> Batch:
        labels, scores = fasttext_model.predict(self.loaded, fasttext_model.one_line(batch, "" if self.newline == "delete" else " "))
        language = [found[0].removeprefix(fasttext_model.LABEL) if found else "" for found in labels]
        score = np.fromiter((s[0] if len(s) else 0.0 for s in scores), np.float32, len(labels))
        return batch.with_column("language", pa.array(language, pa.string())).with_column("language_score", score)


@dataclass(frozen=True)
class Keep(Filter):
    """Keep documents in one of the `languages` with a score of `least` or more."""

    languages: tuple[str, ...] = ()  # empty: any
    least: float = 0.5  # CCNet's lang_threshold
    decimals: int | None = 2  # CCNet's code rounds the score before it compares: 0.495 is kept, 0.494 is not

    @property
    def reads(self) -> tuple[str, ...]:
        return "language", "language_score"

    def keep(self, batch: Batch) -> Checks:
        score = batch["language_score"].to_numpy(zero_copy_only=False)
        if self.decimals is not None:
            score = np.round(score.astype(np.float64), self.decimals)
        checks: Checks = {"unsure": at_least(score, self.least)}
        if self.languages:
            mine = np.isin(batch["language"].to_numpy(zero_copy_only=False).astype(str), self.languages)
            checks = {"other_language": Check(mine, score), **checks}
        return checks


@dataclass(frozen=True)
class Train(Trainer):
    """Trains a model of languages from documents whose column `language` says theirs; those where it is null or empty are left out.

    Which documents are drawn, held out and in what order they are learnt from follows from hashes of their ids.
    """

    examples: int = 1_000_000  # documents at most, of all languages; of more a sample is drawn
    chars: int = 1000  # of each document, its first: one or two paragraphs tell a language
    min_examples: int = 10  # languages of which fewer are drawn are left out
    newline: Literal["delete", "space"] = "delete"  # as language.FastText, which has to have the same
    held_out: float = 0.1  # share of the documents that is measured on
    dim: int = 16  # this and the next three: lid.176's, as published with it
    minn: int = 2
    maxn: int = 4
    loss: fasttext_model.Loss = "hs"
    lr: float = 0.1  # this and the rest: fastText's defaults
    epoch: int = 5
    min_count: int = 1
    bucket: int = 2_000_000  # rows for n-grams of characters
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("examples", "chars", "min_examples", "dim", "epoch", "min_count"):
            if getattr(self, name) < 1:
                raise RecipeError(f"{name}: expected 1 or more, found {getattr(self, name)}")
        if not 0 < self.held_out < 1:
            raise RecipeError(f"held_out: expected a share between 0 and 1, found {self.held_out}")
        if not 0 <= self.seed < 2**31:
            raise RecipeError(f"seed: expected 0 to 2147483647, found {self.seed}")
        if self.maxn and self.bucket < fasttext_model.least_bucket(self.dim):
            raise RecipeError(
                f"bucket: expected {fasttext_model.least_bucket(self.dim):,} or more for dim {self.dim}, found {self.bucket:,}"
            )

    @property
    def reads(self) -> tuple[str, ...]:
        return ("language",)

    def select(self, batch: Batch, role: str, totals: Totals) -> pa.RecordBatch:  # noqa: ARG002
        """(hash: uint64, label: the language, text: one line). Of many documents a sample of about `examples`."""
        hashes = hash_ids(batch, self.seed)
        label = pc.fill_null(batch["language"].cast(pa.string()), "")
        keep = share_of(hashes, self.examples / max(1, totals.documents)) & pc.not_equal(label, "").to_numpy(zero_copy_only=False)
        label = label.filter(pa.array(keep))
        for odd in label.filter(pc.match_substring_regex(label, r"[\s\x00]|^__label__")).slice(0, 1).to_pylist():
            raise CurateError(f"column language holds {odd!r}; expected a code without white space, such as en")
        chosen = batch.where(keep)
        chosen = chosen.with_text(pc.utf8_slice_codeunits(chosen.text, 0, self.chars))
        lines = fasttext_model.one_line(chosen, "" if self.newline == "delete" else " ")
        return pa.record_batch({"hash": hashes[keep], "label": label, "text": lines})

    def train(self, selected: Mapping[str, Iterable[pa.RecordBatch]], folder: str) -> dict[str, Any]:
        """Writes the model. Its card has the counts and the accuracy on the held-out part, in all and of each language."""
        drawn = Drawn.of([selected["documents"]])
        found = drawn.counts()
        languages = [language for language, count in found.items() if count >= self.min_examples]
        if len(languages) < 2:
            had = ", ".join(f"{language} ({count:,})" for language, count in list(found.items())[:20]) or "none"
            raise CurateError(
                f"{len(languages)} languages with min_examples = {self.min_examples} documents or more; two are needed; found: {had}"
            )
        known = np.isin(drawn.label.astype(str), languages)
        tested = known & share_of(other_hash(drawn.hash), self.held_out)
        learnt = known & ~tested
        examples = ((b["label"], b["text"]) for b in drawn.by_hash(learnt))
        names = ("dim", "lr", "epoch", "min_count", "minn", "maxn", "bucket", "loss", "seed")
        settings = {name: getattr(self, name) for name in names}
        fasttext_model.train(examples, os.path.join(folder, fasttext_model.FILE), **settings)
        loaded = fasttext_model.load(Model(folder))
        learnt_of, tested_of = drawn.counts(learnt), drawn.counts(tested)
        right = dict.fromkeys(languages, 0)
        for block in drawn.by_label(tested, languages):
            labels, _ = fasttext_model.predict(loaded, block["text"])
            for guess, language in zip(labels, block["label"].to_pylist(), strict=True):
                right[language] += bool(guess) and guess[0].removeprefix(fasttext_model.LABEL) == language
        total = sum(tested_of.values())
        return {
            "labels": languages,
            "left_out": {language: count for language, count in found.items() if count < self.min_examples},
            "train": sum(learnt_of.values()),
            "held_out": total,
            "accuracy": sum(right.values()) / total if total else None,
            "languages": {
                language: {
                    "train": learnt_of.get(language, 0),
                    "held_out": tested_of.get(language, 0),
                    "accuracy": right[language] / tested_of[language] if language in tested_of else None,
                }
                for language in languages
            },
        }
