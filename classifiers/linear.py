"""A linear quality classifier: fastText tells wanted documents from any others, as LLaMA did with pages that Wikipedia refers to.

LLaMA (Touvron et al. 2023, 2.1) says no more than that; the numbers are RedPajama's (Weber et al. 2024, table 10, and its cc/classifier):
fastText's default settings, 300,000 pages, half of them references, pages kept from a probability of 0.25. DCLM (Li et al. 2024) uses
bigrams and 400,000 documents.
Cost: scoring 7 to 15 MB/s per core, all of it in fastText; training, on one core, 6 MB/s and epoch, 3 MB/s with bigrams, so 20 minutes for
1.5 GB, which are RedPajama's 300,000 pages; a model of 4 * dim bytes a word.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from itertools import product
from math import ceil, sqrt
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from classifiers import fasttext_model, held_out
from classifiers.drawn import Drawn, hash_ids, other_hash, share_of
from curate.batch import Array, Batch, Check, Mask, at_least
from curate.errors import CurateError, RecipeError
from curate.kernels.text import hash_spans
from curate.stage import Checks, Filter, Global, Model, Totals, Trainer, Transform

POSITIVE, NEGATIVE = "positive", "negative"  # the labels of a model that is trained here
FURTHER = "further"  # of documents that are positive only where others are too few
OTHERS = (NEGATIVE, "cc")  # labels that stand for any documents: ours, and RedPajama's and DCLM's
_SETTINGS = ("dim", "lr", "epoch", "word_ngrams", "min_count", "bucket", "loss", "seed")
_PER_EXAMPLE = 4  # documents selected for each example wanted, where some will turn out to be too short or of the other class


@dataclass(frozen=True)
class Scorer:
    """A loaded model and the label whose probability is the score."""

    loaded: Any
    positive: str
    pair: bool  # two labels whose probabilities add up to 1: the likelier one says all

    def __call__(self, lines: pa.Array) -> Array:
        """float32 in [0, 1] for each line; 0 where the model has nothing to say."""
        wanted = fasttext_model.LABEL + self.positive
        scores = np.zeros(len(lines), np.float32)
        for row, (labels, found) in enumerate(zip(*fasttext_model.predict(self.loaded, lines, 1 if self.pair else -1), strict=True)):
            if wanted in labels:
                scores[row] = found[labels.index(wanted)]
            elif labels and self.pair:
                scores[row] = 1 - found[0]
        return scores


@dataclass(frozen=True)
class Train(Trainer):
    """Trains a classifier of wanted documents, and measures it on a part that it has not seen.

    The classes are two roles, `positives` and `negatives`, or the values of a column, `label`; documents without a value are left out.
    Which documents are drawn, held out and in what order they are learnt from follows from hashes of their ids. Near copies of a document
    may lie on both sides of the held-out part: remove duplicates before.
    """

    label: str = ""  # column with the classes; none: the roles are the classes
    positive: str | int | bool | None = None  # the value of `label` that is wanted; all other values are negative
    further: str | int | bool | None = None  # a second such value, used only where the first has fewer than `min_positives` documents
    examples: int = 150_000  # of each class, at most. RedPajama: 300,000 pages in all; RedPajama-V2: 75,000 of each class
    balance: bool = True  # as many of one class as of the other. RedPajama: nearly; RedPajama-V2: yes
    shuffle: bool = True  # RedPajama-V2. RedPajama's file has the positives first, but 12 threads read it from 12 places; here one does
    min_chars: int = 1000  # of positives only (RedPajama)
    min_positives: int = 100  # fewer are too few to learn from, or to measure by; ours
    held_out: float = 0.1  # share of the documents that is measured on; ours
    threshold: float | None = 0.25  # RedPajama; 0.5 is what "not classified as references" says (LLaMA, 2.1)
    retain: float | None = None  # instead: the share of the negatives that is to stay, such as DCLM's 0.1
    dim: int = 100  # this and the rest: fastText's defaults, which RedPajama uses
    lr: float = 0.1
    epoch: int = 5
    word_ngrams: int = 1  # DCLM: 2
    min_count: int = 1  # rarer words are not learnt: makes the model smaller
    bucket: int = 2_000_000  # rows for word n-grams, if there are any
    loss: fasttext_model.Loss = "softmax"
    seed: int = 0

    def __post_init__(self) -> None:
        if (self.threshold is None) == (self.retain is None):
            raise RecipeError("give exactly one of threshold and retain; the other is null")
        if bool(self.label) != (self.positive is not None):
            raise RecipeError("label and positive go together: the column with the classes, and its value that is wanted")
        if self.further is not None and (type(self.further) is not type(self.positive) or self.further == self.positive):
            raise RecipeError(f"further: expected another value of {self.label or 'label'} of the kind of positive, found {self.further!r}")
        for name in ("held_out", "retain"):
            share = getattr(self, name)
            if share is not None and not 0 < share < 1:
                raise RecipeError(f"{name}: expected a share between 0 and 1, found {share}")
        for name in ("examples", "min_positives", "dim", "epoch", "word_ngrams", "min_count"):
            if getattr(self, name) < 1:
                raise RecipeError(f"{name}: expected 1 or more, found {getattr(self, name)}")
        if not 0 < self.lr < float("inf"):
            raise RecipeError(f"lr: expected more than 0, found {self.lr}")
        if self.threshold is not None and not 0 <= self.threshold <= 1:
            raise RecipeError(f"threshold: expected a probability between 0 and 1, found {self.threshold}")
        for name in ("min_chars", "bucket"):
            if getattr(self, name) < 0:
                raise RecipeError(f"{name}: expected 0 or more, found {getattr(self, name)}")
        if not 0 <= self.seed < 2**31:
            raise RecipeError(f"seed: expected 0 to 2147483647, found {self.seed}")
        if self.word_ngrams > 1 and self.bucket < fasttext_model.least_bucket(self.dim):
            raise RecipeError(
                f"bucket: expected {fasttext_model.least_bucket(self.dim):,} or more for dim {self.dim}, found {self.bucket:,}"
            )

    @property
    def roles(self) -> tuple[str, ...]:
        return ("documents",) if self.label else ("positives", "negatives")

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.label,) if self.label else ()

    @property
    def counts(self) -> str:
        return self.label

    def select(self, batch: Batch, role: str, totals: Totals) -> pa.RecordBatch:
        """(hash: uint64, label: positive, further or negative, text: one line). Of many documents a sample: about `examples`, or a few
        times that where some fall out later."""
        hashes = hash_ids(batch, self.seed)
        known, keep = np.ones(len(batch), np.bool_), np.zeros(len(batch), np.bool_)
        label = np.full(len(batch), POSITIVE if role == "positives" else NEGATIVE, object)
        if role == "documents":
            label[self._has(batch, self.positive)] = POSITIVE
            if self.further is not None:
                label[self._has(batch, self.further)] = FURTHER
            known = batch[self.label].is_valid().to_numpy(zero_copy_only=False)
        for name, there in self._there(role, totals).items():  # each class by its own count: the wanted one may be rare
            mean = self.examples * (_PER_EXAMPLE if name != NEGATIVE and self.min_chars > 0 else 1)
            wanted = mean + 6 * sqrt(mean)  # so that chance does not make them too few
            keep |= (label == name) & share_of(hashes, wanted / max(1, there))
        keep &= known & ((label == NEGATIVE) | (batch.chars >= self.min_chars))
        lines = fasttext_model.one_line(batch.where(keep), " ", strip=True)
        return pa.record_batch({"hash": hashes[keep], "label": pa.array(label[keep], pa.string()), "text": lines})

    def _there(self, role: str, totals: Totals) -> dict[str, int]:
        """How many documents of each class there are; where that is not known, as many as there are in all."""
        if role != "documents" or not totals.of:
            return dict.fromkeys((POSITIVE, FURTHER, NEGATIVE), totals.documents)
        positive, further = (totals.of.get(str(v), 0) if v is not None else 0 for v in (self.positive, self.further))
        return {POSITIVE: positive, FURTHER: further, NEGATIVE: sum(totals.of.values()) - positive - further}

    def _has(self, batch: Batch, value: str | int | bool | None) -> Mask:
        """Whether the column `label` has a value."""
        column = batch[self.label]
        if pa.types.is_dictionary(column.type):
            column = column.dictionary_decode()
        kinds = {bool: pa.types.is_boolean, int: pa.types.is_integer, str: lambda t: pa.types.is_string(t) or pa.types.is_large_string(t)}
        if not kinds[type(value)](column.type):
            raise CurateError(f"column {self.label} holds {column.type}, and positive is {value!r}: they must be of one kind")
        try:
            found: Mask = pc.fill_null(pc.equal(column, pa.scalar(value, column.type)), False).to_numpy(zero_copy_only=False)
        except (OverflowError, pa.ArrowInvalid):
            raise CurateError(f"positive is {value}, and column {self.label} holds {column.type}, which cannot") from None
        return found

    def train(self, selected: Mapping[str, Iterable[pa.RecordBatch]], folder: str) -> dict[str, Any]:
        """Writes the model. Its card has the counts by class, the area under the ROC curve, what thresholds keep, and the threshold."""
        drawn = Drawn.of(selected[role] for role in self.roles)
        found = drawn.counts()
        few = found.get(POSITIVE, 0) < self.min_positives
        drawn = drawn.renamed(FURTHER, POSITIVE if few else NEGATIVE)
        chosen = self._choose(drawn)
        tested = chosen & share_of(other_hash(drawn.hash), self.held_out)
        learnt = chosen & ~tested
        counts = {"train": drawn.counts(learnt), "held_out": drawn.counts(tested)}
        for part, count in counts.items():
            if len(count) < 2:
                raise CurateError(
                    f"the {part.replace('_', '-')} part has {count.get(POSITIVE, 0):,} positives and {count.get(NEGATIVE, 0):,} negatives, "
                    f"and needs some of both; give more documents, or change held_out = {self.held_out}"
                )
        blocks = drawn.by_hash(learnt) if self.shuffle else drawn.by_label(learnt, (POSITIVE, NEGATIVE))
        settings = {name: getattr(self, name) for name in _SETTINGS}
        fasttext_model.train(((b["label"], b["text"]) for b in blocks), os.path.join(folder, fasttext_model.FILE), **settings)
        score = Scorer(fasttext_model.load(Model(folder)), POSITIVE, self.loss in fasttext_model.SHARED)
        positives, negatives = (
            np.concatenate([score(b["text"]) for b in drawn.by_label(tested, (label,))]) for label in (POSITIVE, NEGATIVE)
        )
        measured = self._measure(positives, negatives)
        wanted = [v for v in (self.positive, self.further if few else None) if v is not None]
        about = {"positive": POSITIVE, "labels": [POSITIVE, NEGATIVE], **({"positive_values": wanted} if self.label else {})}
        return {**about, "selected": found, **counts, **measured}

    def _choose(self, drawn: Drawn) -> Mask:
        """The examples: of each class those of the lowest hashes."""
        found = drawn.counts()
        positives, negatives = found.get(POSITIVE, 0), found.get(NEGATIVE, 0)
        if positives < self.min_positives:
            values = " or ".join(repr(v) for v in (self.positive, self.further) if v is not None)
            which = f"with {self.label} = {values}" if self.label else "of the role positives"
            raise CurateError(
                f"{positives:,} documents {which} have min_chars = {self.min_chars} characters or more; at least {self.min_positives:,} "
                "are needed. Give more, or lower min_chars or min_positives"
            )
        if not negatives:
            which = f"with another value of {self.label}" if self.label else "of the role negatives"
            raise CurateError(f"{positives:,} positives, and 0 documents {which}: there is nothing to tell them from. Give some")
        most = min(self.examples, positives, negatives) if self.balance else self.examples
        chosen = np.zeros(len(drawn), np.bool_)
        for label in (POSITIVE, NEGATIVE):
            chosen[drawn.lowest(label, most)] = True
        return chosen

    def _measure(self, positives: Array, negatives: Array) -> dict[str, Any]:
        area = held_out.auc(positives, negatives)
        low, high = held_out.interval(area, len(positives), len(negatives))
        threshold = self.threshold
        if threshold is None:
            assert self.retain is not None
            threshold = held_out.threshold_that_retains(negatives, self.retain)
        kept = held_out.kept(positives, negatives, threshold)
        warnings = []
        if kept["positives"] == kept["negatives"]:
            warnings.append(
                f"a threshold of {threshold:.4g} does not part the held-out documents: of both classes {kept['negatives']:.0%} would stay. "
                "There may be too few examples, or `epoch` and `lr` are too low for so few; the card's curve shows other thresholds"
            )
        if low <= 0.5 <= high:
            warnings.append(f"an AUC of {area:.3f} [{low:.3f}, {high:.3f}] on {len(positives) + len(negatives):,} documents may be chance")
        return {
            "auc": area,
            "auc_interval": [low, high],
            "threshold": threshold,
            "kept": kept,
            "curve": held_out.curve(positives, negatives),
            **({"warnings": warnings} if warnings else {}),
        }


@dataclass(frozen=True)
class Score(Transform):
    """Adds the probability of one of a model's labels, that of the documents which are wanted.

    Of a model with two labels the most likely one is asked for, and the other's probability is what it leaves, as RedPajama has it.
    """

    model: Model  # trained by linear.Train, or any fastText model with labels
    positive: str = ""  # the label; none: what the model's card says, or the one label beside `cc` or `negative`
    column: str = "quality"  # name of the column that is added

    @property
    def adds(self) -> tuple[str, ...]:
        return (self.column,)

    def check(self) -> None:
        labels = fasttext_model.check(self.model)
        if self.model.path:  # those of a model that is trained in the run are known then
            self._label(labels)

    def _label(self, labels: list[str]) -> str:
        """The label whose probability is the score. Raises CurateError where the model does not have it, or it has to be named."""
        has = f"{self.model.path} has the labels {', '.join(labels[:20])}{', ...' if len(labels) > 20 else ''}"
        if self.positive:
            if self.positive not in labels:
                raise CurateError(f"{has}; positive = {self.positive!r} is none of them")
            return self.positive
        given = fasttext_model.card(self.model).get("positive")
        if given in labels:
            return str(given)
        wanted = [label for label in labels if label not in OTHERS]
        if len(labels) != 2 or len(wanted) != 1:
            raise CurateError(f"{has}; name the one that is wanted as `positive`")
        return wanted[0]

    @cached_property
    def scorer(self) -> Scorer:
        loaded = fasttext_model.load(self.model)
        labels = fasttext_model.labels_of(loaded)
        return Scorer(loaded, self._label(labels), len(labels) == 2 and loaded.f.getArgs().loss.name in fasttext_model.SHARED)

    def apply(self, batch: Batch) -> Batch:
        return batch.with_column(self.column, self.scorer(fasttext_model.one_line(batch, " ", strip=True)))


@dataclass(frozen=True)
class Keep(Filter):
    """Keep documents whose score is a threshold or more: one that is given, or the one that the model's training has chosen."""

    column: str = "quality"
    least: float | None = 0.25  # RedPajama
    model: Model | None = None  # instead: the model that gave the score, trained by linear.Train

    def __post_init__(self) -> None:
        if (self.least is None) == (self.model is None):
            raise RecipeError("give exactly one of least and model; to take the threshold of a model, write least: null")
        if self.least is not None and not 0 <= self.least <= 1:
            raise RecipeError(f"least: expected a probability between 0 and 1, found {self.least}")

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.column,)

    def check(self) -> None:
        if self.model is not None and self.model.path:
            _ = self.threshold

    @cached_property
    def threshold(self) -> float:
        """What the score is held against. Raises CurateError where a model's card does not say."""
        if self.model is None:
            assert self.least is not None
            return self.least
        found = fasttext_model.card(self.model).get("threshold")
        if not isinstance(found, int | float) or isinstance(found, bool):
            raise CurateError(f"{self.model.path} has no card with a threshold; train it by linear.Train, or give `least`")
        return float(found)

    def keep(self, batch: Batch) -> Checks:
        score = batch[self.column].to_numpy(zero_copy_only=False)
        return {f"low_{self.column}": at_least(score, self.threshold)}


@dataclass(frozen=True)
class Top(Global):
    """Keep the documents with the highest scores: exactly the given share of them, rounded up. A score that is missing is the lowest.

    Where scores tie, hashes of the ids decide. So the verdict is one line, however many documents there are, and memory does not grow
    with them; what travels is 24 bytes a document.
    """

    share: float = 0.1  # DCLM (Li et al. 2024, 4.4)
    column: str = "quality"
    by: str = ""  # a column, such as language: the share is of the documents of each of its values

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise RecipeError(f"share: expected more than 0 and at most 1, found {self.share}")

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.column, *((self.by,) if self.by else ()))

    def _scores(self, batch: Batch) -> Array:
        return batch[self.column].cast(pa.float64()).to_numpy(zero_copy_only=False)

    def _groups(self, batch: Batch) -> Array:
        """uint64: a hash of the value of `by`."""
        values = pc.fill_null(batch[self.by].cast(pa.large_string()), "")
        return hash_spans(*Batch.of(pa.record_batch({"text": values})).utf8)

    def emit(self, batch: Batch) -> pa.RecordBatch:
        keys = {"key": hash_ids(batch, 0), "row": np.arange(len(batch)), "rank": in_order(self._scores(batch))}
        return pa.record_batch({**keys, "group": self._groups(batch)} if self.by else keys)

    def reduce(self, keys: pa.Table) -> pa.Table:
        return keys.drop_columns(["doc"])

    def settle(self, reduced: pa.Table) -> pa.Table:
        pieces = [(b["rank"].to_numpy(), b["key"].to_numpy(), self._group_of(b)) for b in reduced.to_batches()]  # views of mapped files
        groups = np.unique(np.concatenate([np.unique(group) for _, _, group in pieces]))
        count = np.zeros(len(groups), np.int64)
        for _, _, group in pieces:
            count += np.bincount(np.searchsorted(groups, group), minlength=len(groups))
        share = Fraction(str(self.share))  # as it is written: 0.1 of 30 is 3
        rank, key = highest(pieces, groups, np.array([ceil(share * int(n)) for n in count], np.int64))
        return pa.table({"group": groups, "rank": rank, "key": key})

    def _group_of(self, keys: pa.RecordBatch) -> Array:
        return keys["group"].to_numpy() if self.by else np.broadcast_to(np.uint64(0), len(keys))

    def apply(self, batch: Batch, verdict: pa.Table) -> Checks:
        rule = f"low_{self.column}"
        if not len(batch):
            return {rule: Check(np.zeros(0, np.bool_))}
        scores = self._scores(batch)
        groups = self._groups(batch) if self.by else np.zeros(len(batch), np.uint64)
        at = np.searchsorted(verdict["group"].to_numpy(), groups)
        rank, key = (verdict[c].to_numpy()[at] for c in ("rank", "key"))
        mine = in_order(scores)
        passed = (mine > rank) | ((mine == rank) & (hash_ids(batch, 0) >= key))
        return {rule: Check(passed, scores)}


def in_order(scores: Array) -> Array:
    """uint64 that stand in the order of these numbers; of a NaN 0."""
    bits = (scores + 0.0).view(np.uint64)  # -0.0 becomes 0.0
    sign = np.uint64(1 << 63)
    ranks = np.where(bits >= sign, ~bits, bits | sign)
    return np.where(np.isnan(scores), np.uint64(0), ranks)


def highest(pieces: list[tuple[Array, Array, Array]], groups: Array, wanted: Array) -> tuple[Array, Array]:
    """Of each group the limit that so many of its pairs reach, pairs compared as (rank, key): found byte by byte from the highest.

    `pieces` are (rank, key, group), all uint64; `groups` are sorted; at least one pair is wanted of each, and not more than it has.
    """
    found = np.zeros((2, len(groups)), np.uint64)
    left = wanted.copy()
    each = np.arange(len(groups))
    for half, shift in product(range(2), range(56, -8, -8)):
        counts = np.zeros((len(groups), 256), np.int64)
        for rank, key, group in pieces:
            at = np.searchsorted(groups, group)
            values = key if half else rank
            same = rank == found[0][at] if half else np.ones(len(at), np.bool_)  # agree with what is found so far
            if shift < 56:
                same &= (values ^ found[half][at]) >> np.uint64(shift + 8) == 0
            byte = (values[same] >> np.uint64(shift) & np.uint64(255)).astype(np.int64)
            counts += np.bincount(at[same] * 256 + byte, minlength=counts.size).reshape(counts.shape)
        above = np.zeros((len(groups), 257), np.int64)  # pairs with one of the highest bytes
        above[:, 1:] = counts[:, ::-1].cumsum(axis=1)
        taken = (above[:, 1:] < left[:, None]).sum(axis=1)  # bytes of which all are wanted, and more
        left -= above[each, taken]
        found[half] |= (255 - taken).astype(np.uint64) << np.uint64(shift)
        if (left == counts[each, 255 - taken]).all():
            break  # all that begin so are wanted
    return found[0], found[1]
