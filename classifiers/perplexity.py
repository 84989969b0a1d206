"""Perplexity under language models of Wikipedia, and the buckets made of it: what CCNet (Wenzek et al. 2020) tells good pages by.

A text is normalised, cut into SentencePiece pieces and scored by a KenLM n-gram model of its language, as cc_net's code does it. The models
may be CCNet's own, which it released for 48 languages, or trained in the run by `Train`.
Cost: 8.9 MB/s per core of web text in many scripts: 3 % of the time is the normaliser, 45 % SentencePiece, the rest KenLM. That is more
than a loop in Python over both libraries makes of text that is normalised already, for pieces are looked up by number and travel as bytes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from classifiers import kenlm_model, kenlm_training
from classifiers.drawn import hash_ids, other_hash, share_of
from classifiers.kenlm_model import Pair
from classifiers.normalise_kernel import normalise_spans
from curate.batch import Array, Batch, Check
from curate.errors import CurateError, RecipeError
from curate.kernels.text import hash_documents
from curate.stage import Checks, Filter, Global, Model, Totals, Trainer, Transform

NOT_SCORED = "all"  # the bucket of documents without a perplexity, as CCNet calls it
_MOST = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class KenLM(Transform):
    """Adds `perplexity` (float32, to one decimal): 10 to the -log10(probability of the pieces) / (pieces + 1).

    Null for documents in a language without a model, and for those of which the normaliser leaves nothing. Up to 1,048,576
    characters are scored at once, exactly as CCNet's code does. Longer texts are scored in parts of that size, cut at a space, each in the
    context of the one before: their score differs by rounding alone, of 32-bit sums, by one part in a thousand at 4 million characters.
    Text without spaces is cut within pieces, and each part begins with a mark of a new word: that makes more, 3 in 1,000 at 1.1 million
    characters without a space.
    """

    models: Model  # a folder of pairs such as en.sp.model and en.arpa.bin, or the name of one that perplexity.Train makes
    language: str = ""  # whose models score every document; by default each document's own, by the column `language`
    newline: Literal["delete", "space", "lines"] = "delete"  # CCNet's code deletes them; lines: each is a sentence, log10s are added
    order: int | None = None  # of the language models, where others are to be refused; CCNet's is 5

    @property
    def reads(self) -> tuple[str, ...]:
        return () if self.language else ("language",)

    @property
    def adds(self) -> tuple[str, ...]:
        return ("perplexity",)

    def check(self) -> None:
        kenlm_model.check(self.models, self.language, self.order)

    @cached_property
    def files(self) -> dict[str, tuple[str, str]]:
        files = kenlm_model.files_of(self.models)
        if self.language and self.language not in files:
            raise CurateError(f"{self.models.path} has no model of {self.language!r}; it has those of {', '.join(files)}")
        return files

    @cached_property
    def loaded(self) -> dict[str, Pair]:
        return {}  # by language, as they are needed

    def _pair(self, language: str) -> Pair | None:
        if language in self.files and language not in self.loaded:
            self.loaded[language] = kenlm_model.load(*self.files[language], self.order)
        return self.loaded.get(language)

    def apply(self, batch: Batch) -> Batch:
        perplexity = np.full(len(batch), np.nan)
        data, start, end = batch.utf8
        for n, language in enumerate(_languages(batch, self.language)):
            pair = self._pair(language)
            found = pair.perplexity(data[start[n] : end[n]], self.newline) if pair else None
            if found is not None:
                perplexity[n] = min(round(found, 1), _MOST)
        return batch.with_column("perplexity", pa.array(perplexity.astype(np.float32), from_pandas=True))  # null for NaN


def _languages(batch: Batch, language: str) -> list[str]:
    """Of each document."""
    return [language] * len(batch) if language else pc.fill_null(batch["language"], "").to_pylist()


def _perplexities(batch: Batch) -> Array:
    """float32, to one decimal; NaN where there is none."""
    value = batch["perplexity"].to_numpy(zero_copy_only=False).astype(np.float64)
    rounded: Array = np.round(value, 1).astype(np.float32)
    return rounded


def _bucketed(batch: Batch, language: str, cutoffs: Mapping[str, tuple[float, float]]) -> Batch:
    """With the column `bucket`, by the cut-offs of each document's language. They are compared as float32, which perplexities are."""
    of = _languages(batch, language)
    head, middle = np.full((2, len(of)), np.nan, np.float32)
    for n, name in enumerate(of):
        if name in cutoffs:
            head[n], middle[n] = cutoffs[name]
    value = _perplexities(batch)
    bucket = np.select([np.isnan(value) | np.isnan(head), value < head, value < middle], [NOT_SCORED, "head", "middle"], "tail")
    return batch.with_column("bucket", pa.array(bucket.tolist(), pa.string()))


@dataclass(frozen=True)
class Published(Transform):
    """Adds `bucket` by cut-offs that are given: `head` below the first, `middle` below the second, else `tail`.

    `all` for documents in other languages, and for those without a perplexity. The defaults are good for CCNet's released models only.
    """

    cutoffs: dict[str, tuple[float, float]] = field(  # percentiles 30 and 60 of cc_net's cutoff.csv
        default_factory=lambda: {
            "en": (340.0, 520.0),
            "de": (370.0, 590.0),
            "fr": (180.0, 330.0),
            "es": (180.0, 290.0),
            "it": (220.0, 360.0),
        }
    )
    language: str = ""  # of every document; by default each document's own, by the column `language`

    @property
    def reads(self) -> tuple[str, ...]:
        return ("perplexity",) if self.language else ("language", "perplexity")

    @property
    def adds(self) -> tuple[str, ...]:
        return ("bucket",)

    def check(self) -> None:
        for language, (head, middle) in self.cutoffs.items():
            if not head <= middle:
                raise RecipeError(
                    f"{self.name}: cutoffs: {language}: {head:g} and {middle:g}; expected head's first, and not above middle's"
                )

    def apply(self, batch: Batch) -> Batch:
        return _bucketed(batch, self.language, self.cutoffs)


@dataclass(frozen=True)
class Buckets(Global):
    """Adds `bucket` by percentiles of the perplexities of all documents in the same language, whatever model gave them.

    The cut-off of a percentile p among n documents is the least of their perplexities to which p % of them come up: that of rank
    ceil(p n / 100), counted from 1 in rising order, and the least of all for p = 0. `head` is below the first cut-off, `middle` below the
    second, else `tail`; `all` without a perplexity. The verdict lists, for each `language`, the cut-offs `head` and `middle` and its
    `documents`. Cost: what travels is one row for each perplexity that occurs in a shard.
    """

    head: float = 30.0  # per cent: cc_net's percentile_head; its paper has even parts, 33.3 and 66.7
    middle: float = 60.0  # per cent: cc_net's percentile_tail
    language: str = ""  # of every document; by default each document's own, by the column `language`

    @property
    def reads(self) -> tuple[str, ...]:
        return ("perplexity",) if self.language else ("language", "perplexity")

    @property
    def adds(self) -> tuple[str, ...]:
        return ("bucket",)

    def check(self) -> None:
        if not 0 <= self.head <= self.middle <= 100:
            raise RecipeError(
                f"{self.name}: head: {self.head:g}, middle: {self.middle:g}; expected percentiles: 0 <= head <= middle <= 100"
            )

    def emit(self, batch: Batch) -> pa.RecordBatch:
        value = _perplexities(batch)
        row = np.flatnonzero(~np.isnan(value))
        value = value[row]
        language = pa.array(_languages(batch, self.language), pa.large_string()).take(pa.array(row))
        key = other_hash(_hashes(language) ^ value.view(np.uint32))
        return pa.record_batch({"key": key, "row": row, "language": language, "value": value, "count": np.ones(len(row), np.int64)})

    def combine(self, keys: pa.Table) -> pa.Table:
        found = keys.group_by(["key", "language", "value"], use_threads=False).aggregate([("doc", "min"), ("count", "sum")])
        return found.rename_columns({"doc_min": "doc", "count_sum": "count"})

    def reduce(self, keys: pa.Table) -> pa.Table:
        found = keys.group_by(["language", "value"], use_threads=False).aggregate([("count", "sum")])
        return found.rename_columns({"count_sum": "count"})

    def settle(self, reduced: pa.Table) -> pa.Table:
        language, of = np.unique(reduced["language"].to_numpy(zero_copy_only=False).astype(str), return_inverse=True)
        value, count = reduced["value"].to_numpy(), reduced["count"].to_numpy()
        rows = []
        for n, name in enumerate(language.tolist()):
            mine = np.flatnonzero(of == n)
            mine = mine[np.argsort(value[mine])]
            upto = np.cumsum(count[mine])
            rows.append((name, *(_percentile(value[mine], upto, p) for p in (self.head, self.middle)), int(upto[-1])))
        columns = [list(c) for c in zip(*rows, strict=True)] or [[]] * 4
        types = {"language": pa.string(), "head": pa.float32(), "middle": pa.float32(), "documents": pa.int64()}
        return pa.table({name: pa.array(c, t) for c, (name, t) in zip(columns, types.items(), strict=True)})

    def apply(self, batch: Batch, verdict: pa.Table) -> Batch:
        rows = verdict.to_pylist() if "language" in verdict.column_names else []  # no document has a perplexity
        return _bucketed(batch, self.language, {row["language"]: (row["head"], row["middle"]) for row in rows})


def _percentile(value: Array, upto: Array, percent: float) -> float:
    """The value of rank ceil(percent n / 100): values rise, and up to each there are so many. Computed without rounding."""
    rank = max(1, math.ceil(Fraction(str(percent)) * int(upto[-1]) / 100))
    return float(value[np.searchsorted(upto, rank)])


def _hashes(strings: pa.Array) -> Array:
    """uint64 of each string."""
    hashes: Array = hash_documents(*Batch.of(pa.record_batch({"text": strings})).utf8, np.uint64(0))
    return hashes


@dataclass(frozen=True)
class Keep(Filter):
    """Keep documents of some buckets."""

    buckets: tuple[str, ...] = ("head", "middle")  # as RedPajama; CCNet leaves the choice open, and Llama's paper does not say

    @property
    def reads(self) -> tuple[str, ...]:
        return "bucket", "perplexity"

    def check(self) -> None:
        if odd := set(self.buckets) - {"head", "middle", "tail", NOT_SCORED}:
            raise RecipeError(f"{self.name}: buckets: {', '.join(sorted(odd))}; expected some of head, middle, tail and {NOT_SCORED}")

    def keep(self, batch: Batch) -> Checks:
        mine = pc.is_in(batch["bucket"], pa.array(self.buckets, pa.string())).to_numpy(zero_copy_only=False)
        return {"other_bucket": Check(mine, _perplexities(batch))}


_OVERDRAWN = 10  # times `documents`, where nothing was counted: so that a language that is rare among others has enough
_WITHOUT_TEXT = 0.25  # of `documents`: so many more are selected, as some have nothing to learn from
_DEVIATIONS = 6  # of what is drawn by hash, upwards: fewer than `documents` come once in a billion draws


@dataclass(frozen=True)
class Train(Trainer):
    """Makes the pairs of models that KenLM scores with, as CCNet's makefile does: one for each language.

    One document in a hundred is held out, of fewer than 5,000 one in ten. The card says what each model was made of, the perplexity of
    the documents held out, and in what share of them the text is less perplexing than its own words in another order. A language that is
    named in `languages` and has no text is warned of: its pages will get no perplexity.
    """

    languages: tuple[str, ...] = ()  # empty: all that the documents have
    order: int = 5  # CCNet
    pieces: int = 65_536  # CCNet; 40,000 in the second run of its makefile
    character_coverage: float = 0.9995  # CCNet, SentencePiece's default
    hard_limit: bool = False  # true fails where the text supports fewer pieces, as CCNet's first run; ours takes as many as there are
    pieces_bytes: float = 200e6  # of text to learn pieces from, drawn by hash; ours: SentencePiece holds 20 bytes for each; CCNet: 534 MB
    documents: int = 1_000_000  # of each language; CCNet takes the first, ours are those of the least hash of (seed, id)
    opening: bool = False  # only the lead section, as CCNet: the first `opening_chars` characters, a column of the Wikipedia reader
    newline: Literal["delete", "space", "lines"] = "delete"  # as it will be in KenLM
    estimator: Literal["auto", "lmplz", "own"] = "auto"  # ours: KenLM's lmplz where it is on the PATH; name one for the same bytes
    memory: float = 1e9  # bytes to sort n-grams in; ours; CCNet gives 8 GB
    seed: int = 0

    @property
    def reads(self) -> tuple[str, ...]:
        return ("language", "opening_chars") if self.opening else ("language",)

    @property
    def identity(self) -> Any:
        name, version, settings = super().identity
        return [name, version, settings | {"estimator": self._estimator()}]

    @property
    def counts(self) -> str:
        return "language"

    def _estimator(self) -> str:
        return kenlm_training.estimator(self.estimator)

    def check(self) -> None:
        if not 2 <= self.order <= 6:
            raise RecipeError(f"{self.name}: order: {self.order}; KenLM reads models of order 2 to 6")
        if self.documents < 1 or self.pieces < 1 or not 0 < self.character_coverage <= 1:
            raise RecipeError(f"{self.name}: expected documents and pieces above 0, and a character_coverage above 0 and up to 1")
        if not 0 < self.memory < math.inf or not self.pieces_bytes > 0:
            raise RecipeError(
                f"{self.name}: memory: {self.memory:g}, pieces_bytes: {self.pieces_bytes:g}; expected numbers of bytes above 0"
            )
        if odd := [name for name in self.languages if not kenlm_training.is_name(name)]:
            raise RecipeError(f"{self.name}: languages: {', '.join(map(repr, odd))}; expected codes such as en")
        if self.estimator == "lmplz":
            kenlm_training.found("lmplz")

    def select(self, batch: Batch, role: str, totals: Totals) -> pa.RecordBatch:  # noqa: ARG002
        rank = hash_ids(batch, self.seed)
        language = pc.fill_null(batch["language"], "").cast(pa.string())
        chosen = np.zeros(len(batch), np.bool_)
        for name in pc.unique(language).to_pylist():
            if not self.languages or name in self.languages:
                mine = pc.equal(language, name).to_numpy(zero_copy_only=False)
                chosen |= mine & share_of(rank, self._share(name, totals))
        batch, rank, language = batch.where(chosen), rank[chosen], language.filter(pa.array(chosen))
        texts = [self._sentences(text) for text in self._chosen(batch)]
        some = np.array([bool(t) for t in texts], np.bool_)
        columns = {"language": language, "rank": pa.array(rank), "text": pa.array(texts, pa.large_string())}
        return pa.record_batch(columns).filter(pa.array(some))

    def _share(self, language: str, totals: Totals) -> float:
        """Of a language's documents, those to select: somewhat more than `documents`."""
        if not totals.of:
            return _OVERDRAWN * self.documents * max(1, len(self.languages)) / max(1, totals.documents)
        wanted = (1 + _WITHOUT_TEXT) * self.documents
        return (wanted + _DEVIATIONS * math.sqrt(wanted)) / max(1, totals.of.get(language, totals.documents))

    def _chosen(self, batch: Batch) -> Iterator[Array]:
        """uint8 of UTF-8 of what of each document is to be learnt."""
        if self.opening:
            size = pc.fill_null(batch["opening_chars"], 0).to_pylist()
            yield from (kenlm_model.as_utf8(text[:n]) for text, n in zip(batch.text.to_pylist(), size, strict=True))
        else:
            data, start, end = batch.utf8
            yield from (data[low:high] for low, high in zip(start, end, strict=True))

    def _sentences(self, text: Array) -> bytes:
        """What there is to learn of a document, normalised: one sentence on each line, empty ones left out."""
        found = normalise_spans(text, *kenlm_model.spans(text, self.newline), self.newline == "space")
        return b"\n".join(filter(None, found))

    def train(self, selected: Mapping[str, Iterable[pa.RecordBatch]], folder: str) -> dict[str, Any]:
        documents = selected["documents"]
        limits = kenlm_training.limits(documents, self.documents)
        left_out = {name: "it has no documents with text" for name in self.languages if name not in limits}
        left_out |= {name: "it is no name for a file" for name in limits if not kenlm_training.is_name(name)}
        settings: dict[str, Any] = {"pieces": self.pieces, "character_coverage": self.character_coverage, "hard_limit": self.hard_limit}
        settings |= {"order": self.order, "memory": self.memory, "estimator": self._estimator(), "pieces_bytes": self.pieces_bytes}
        made: dict[str, Any] = {}
        for name in sorted(set(self.languages or limits) - set(left_out)):
            try:
                made[name] = kenlm_training.train_pair(kenlm_training.Texts(documents, name, *limits[name]), folder, settings)
            except CurateError as error:
                if self.languages:
                    raise CurateError(f"language {name}: {error}") from None
                left_out[name] = str(error)
        if not made:
            why = "; ".join(f"{name!r}: {reason}" for name, reason in left_out.items()) or "there is no document with text"
            raise CurateError(f"no language model can be trained: {why}. Check what `from` gives, its column `language`, and `languages`")
        missing = [
            f"`languages` names {name}, but {left_out[name]}: its pages will get the bucket `{NOT_SCORED}`"
            for name in self.languages
            if name in left_out
        ]
        return {"languages": made, "left_out": left_out, "warnings": missing}
