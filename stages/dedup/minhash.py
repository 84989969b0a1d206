"""Near-duplicate documents by MinHash (Broder 1997): bands of signatures propose, the shingles themselves decide.

First round: each document sends a key for each band of its signature; documents that share one are linked, and what hangs together by
links is a component. Second round: the documents of components are read again, by address, and their shingles travel, each component to one
place (`verified`). There they are taken in the keeper's order, and a document goes if a document that has been *kept*, and agrees with it
in a band, is as similar as `threshold`: never by a chain of others, and never unseen. With `verify: false` all of a component but
one go, as in datatrove.

Documents of which too little is left to compare, once what does not count is gone, are dropped for equal bytes alone (`short`, `few`).

No paper of Llama's gives its settings. The classes after the first are those of other corpora, by their sources.
Cost: 16 bytes a band and document in the exchange; then, of documents in components only, 4 bytes a shingle.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Annotated, Any, Literal

import numpy as np
import pyarrow as pa
from numba import njit
from pydantic import Field

from curate.batch import Array, Batch, Check
from curate.errors import CurateError
from curate.kernels.text import hash_spans, mix
from curate.stage import Checks, Guarded, Model, Second, plain
from stages.dedup import index, shingles, signatures
from stages.dedup import keeper as keeping
from stages.dedup.components import components
from stages.dedup.exact_kernels import hash_bytes
from stages.dedup.keeper import KEEPERS
from stages.dedup.shingles import Difference

SAMPLE_KEYS = 1 << 56  # keys below are not of bands, but say in which order documents are drawn for the estimate
SAMPLE = np.uint64(0)  # the key of the second round under which those meet
_SHORT = np.uint64(0x5348_4F52_5400_0001)


@dataclass(frozen=True)
class MinHash(Guarded):
    """Drop documents that are as similar to one that stays as `threshold`, in the share of shingles that they have in common."""

    version = 2

    ngram: Annotated[int, Field(ge=1, le=1000)] = 5  # of `unit`s to a shingle; FineWeb, RefinedWeb and Lee et al. 2021: five words
    unit: Literal["words", "characters"] = "words"  # what shingles are made of; as FineWeb; Llama 3 does not say
    ignore: tuple[Difference, ...] = ("case", "digits", "punctuation", "accents")  # what does not count; datatrove: all of these
    bands: Annotated[int, Field(ge=0, le=2000)] = 14  # FineWeb; 0: as many as fit the threshold best, of `permutations`
    rows: Annotated[int, Field(ge=0, le=500)] = 8  # of a band; FineWeb
    permutations: Annotated[int, Field(ge=2, le=20_000)] = 128  # where bands is 0; datasketch
    threshold: Annotated[float, Field(gt=0, le=1)] = 0.8  # ours: 14 x 8 proposes 92 % of pairs of that similarity
    measure: Literal["jaccard", "containment"] = "jaccard"  # containment: in common, of the shingles of the one that has fewer
    inclusive: bool = True  # a similarity of exactly `threshold` is enough; ours
    verify: bool = True  # ours: half of marin's proposals were wrong; false: what hangs together by bands is one, unseen; datatrove
    keeper: KEEPERS = "first"  # which stays: ours; Llama 3 keeps the newest of a URL, of near-duplicates it does not say
    score: str = ""  # column for the keeper `best`
    within: tuple[str, ...] = ()  # columns in which duplicates agree: [source], [language], [dump]; FineWeb: per dump; Llama 3: over all
    short: Literal["exact", "keep"] = "exact"  # too little text to compare; ours: equal bytes decide; datatrove: keep what has no shingle
    few: Annotated[int, Field(ge=1, le=1000)] = 5  # too little: fewer distinct shingles; ours: sets of fewer are 0.8 alike only if equal
    sketch: Literal["independent", "fast"] = "independent"  # ours: permutations; fast: similarity sketching, half the time
    compared: Annotated[int, Field(ge=1, le=1000)] = 8  # ours: kept documents of a band that one is compared with
    memory: Annotated[float, Field(ge=1e6, le=1e15)] = 1e9  # bytes for finding components; beyond, files; ours
    sample: Annotated[int, Field(ge=0, le=20_000)] = 2000  # ours: documents that are compared each with each, to estimate recall
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 1
    index: Model | None = None  # index.json of an earlier run: its documents stay, and new ones that are like them go
    keep_index: bool = False  # write OUT/index, for later runs: about 100 bytes and 4 a shingle for each document that stays

    @property
    def reads(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*self.within, *keeping.reads(self.keeper, self.score))))

    def check(self) -> None:
        keeping.check(self.keeper, self.score)
        if bool(self.bands) != bool(self.rows):
            raise CurateError(f"bands is {self.bands} and rows is {self.rows}; give both, or 0 for both: then the threshold chooses")
        if self.threshold == 1 and not self.inclusive:
            raise CurateError("threshold: 1 with inclusive: false drops nothing, as nothing is more similar than 1; give a lower threshold")
        if not self.verify and self.bands and self.threshold != _default(self, "threshold"):
            raise CurateError(
                f"threshold: {self.threshold:g} decides nothing where verify is false and bands are given; give verify: true, or "
                "bands: 0, rows: 0, and it chooses the bands, or leave it out"
            )
        if (self.index or self.keep_index) and not self.verify:
            raise CurateError("an index needs verify: true: without, new documents join what was apart, and nothing of before would hold")
        if self.index and self.index.path:
            index.check(self.index.path, self.name, self.kinship)

    @property
    def earlier(self) -> Model | None:
        return self.index

    @property
    def kinship(self) -> dict[str, Any]:
        """All that decides, but for which of several documents stays."""
        alike = ("ngram", "unit", "ignore", "threshold", "measure", "inclusive", "within", "short", "few", "sketch", "compared", "seed")
        bands, rows = self.banding
        return {name: plain(getattr(self, name)) for name in alike} | {"bands": bands, "rows": rows}

    @property
    def remembers(self) -> bool:
        return self.keep_index

    def remember(self, batch: Batch) -> Batch:
        return index.remembered(self, batch)

    @property
    def banding(self) -> tuple[int, int]:
        """(bands, rows)."""
        return (self.bands, self.rows) if self.bands else signatures.best_bands(self.threshold, self.permutations)

    @property
    def table(self) -> shingles.Table:
        """What each code point counts as."""
        case, digits, punctuation, accents = (d in self.ignore for d in ("case", "digits", "punctuation", "accents"))
        return shingles.table(case, digits, punctuation, accents, self.unit == "characters")

    @property
    def least(self) -> int:
        """Distinct shingles that a document must have to be compared by them."""
        return self.few if self.short == "exact" else 1

    def signed(self, batch: Batch) -> tuple[Array, Array, Array]:
        """(signatures [documents, bands * rows + 1], shingles of each document or 0 where there are too few, hash of all its units or then
        of its bytes). The last value of a signature is not in a band: documents are drawn by it."""
        return self._signed(batch, with_sets=False)[:3]

    def _signed(self, batch: Batch, *, with_sets: bool) -> tuple[Array, ...]:
        bands, rows = self.banding
        drawn = signatures.permutations(bands * rows + 1, self.seed)
        characters, fast = self.unit == "characters", self.sketch == "fast"
        signature, count, whole, offsets, found = signatures.signatures(
            *batch.utf8, *self.table, self.ngram, characters, drawn.a, drawn.b, fast, with_sets, self.least
        )
        _by_bytes(batch, count == 0, whole, offsets, found)
        return signature, count, whole, offsets, found

    def signed_with_sets(self, batch: Batch) -> tuple[tuple[Array, Array, Array], tuple[Array, Array, Array]]:
        """As `signed` and `sets`, with the shingles found once."""
        signature, count, whole, offsets, found = self._signed(batch, with_sets=True)
        return (signature, count, whole), (offsets, found, whole)

    def sets(self, batch: Batch) -> tuple[Array, Array, Array]:
        """The distinct shingles of each document, see `shingles.sets`; and the hash of all its units, or of its bytes if it has too few."""
        offsets, found, whole, has = shingles.sets(*batch.utf8, *self.table, self.ngram, self.unit == "characters", self.least)
        _by_bytes(batch, ~has, whole, offsets, found)
        return offsets, found, whole

    def scopes(self, batch: Batch) -> Array:
        """uint64 of each document: what it is compared within."""
        out = np.zeros(len(batch), np.uint64)
        for column in self.within:
            values = batch[column].cast(pa.large_string()).fill_null("")
            hashes = hash_spans(*Batch.of(pa.record_batch({"text": values})).utf8)
            out = _chained(out, hashes)
        return out

    def keys(self, batch: Batch, signed: tuple[Array, Array, Array] | None = None) -> tuple[Array, Array, Array, Array]:
        """(first, last, keys, draw): each document's keys, uint64, of its bands or of it as a whole; and in which order it is drawn.

        `signed` is what `signed` gives, where it is there already.
        """
        if index.BANDS in batch.names:  # of an index
            first, last, keys = index.keys_of(batch)
            return first, last, keys, np.full(len(batch), np.uint64(SAMPLE_KEYS))
        signature, count, _ = signed or self.signed(batch)
        bands, rows = self.banding
        scope = self.scopes(batch)
        has = count > 0
        each = np.where(has, bands, 1 if self.short == "exact" else 0)
        last = np.cumsum(each)
        keys = np.empty(int(each.sum()), np.uint64)
        of_bands = np.repeat(has, each)
        keys[of_bands] = _above(signatures.band_keys(signature[has], bands, rows, scope[has])).reshape(-1)
        if self.short == "exact":
            data, start, end = batch.utf8
            keys[~of_bands] = _above(_chained(hash_bytes(data, start[~has], end[~has])[0] ^ _SHORT, scope[~has]))
        draw = np.where(has, _draws(signature[:, -1].astype(np.uint64)), np.uint64(SAMPLE_KEYS))
        return last - each, last, keys, draw

    def emit(self, batch: Batch) -> pa.RecordBatch:
        first, last, keys, draw = self.keys(batch)
        row = np.repeat(np.arange(len(batch)), last - first)
        if self.sample:
            drawn = np.flatnonzero(draw < SAMPLE_KEYS)
            row, keys = np.concatenate([row, drawn]), np.concatenate([keys, draw[drawn]])
        return pa.record_batch({"key": keys, "row": row})

    def combine(self, keys: pa.Table) -> pa.Table:
        """Of the documents that might be drawn, the first."""
        key, doc = keys["key"].to_numpy(), keys["doc"].to_numpy()
        drawn = np.flatnonzero(key < SAMPLE_KEYS)
        if len(drawn) <= self.sample:
            return keys
        keep = key >= SAMPLE_KEYS
        keep[drawn[np.lexsort((doc[drawn], key[drawn]))[: self.sample]]] = True
        return keys.filter(pa.array(keep))

    def reduce(self, keys: pa.Table) -> pa.Table:
        """(doc, other, draw): documents that share a key, each with the one before it; and those that might be drawn, without another."""
        key, doc = keys["key"].to_numpy(), keys["doc"].to_numpy()
        drawn = int(np.searchsorted(key, np.uint64(SAMPLE_KEYS)))
        same = np.flatnonzero(key[drawn + 1 :] == key[drawn:-1]) + drawn + 1 if len(key) > drawn else np.empty(0, np.int64)
        some = min(drawn, self.sample)
        return pa.table(
            {
                "doc": np.concatenate([doc[same], doc[:some]]),
                "other": np.concatenate([doc[same - 1], np.full(some, -1)]),
                "draw": np.concatenate([np.zeros(len(same), np.uint64), key[:some]]),
            }
        )

    def settle(self, reduced: pa.Table) -> pa.Table:
        """(doc, key) in order of doc: the component of each document that has a link, and SAMPLE for those that are drawn."""
        drawn = _drawn(reduced, self.sample)
        whole = components(lambda: _links(reduced), self.memory)
        return pa.Table.from_batches(list(_with_drawn(whole, drawn)), VERDICT)

    @property
    def second(self) -> Second:
        from stages.dedup.verified import Verified

        return Verified(self)

    def apply(self, batch: Batch, verdict: pa.Table) -> Checks:
        row = verdict["row"].to_numpy()
        kept = np.full(len(batch), -1, np.int64)
        kept[row] = verdict["kept"].to_numpy()
        at = np.full(len(batch), -1)
        at[row] = np.arange(len(row))
        kept_id = verdict["kept_id"].combine_chunks().take(pa.array(at, mask=at < 0))
        if not self.verify:
            return {"near_duplicate": Check(kept < 0, kept=kept, kept_id=kept_id)}
        similarity = np.full(len(batch), np.nan)
        similarity[row] = verdict["similarity"].to_numpy()
        return {"near_duplicate": Check(kept < 0, similarity, self.threshold, kept, kept_id)}


VERDICT = pa.schema({"doc": pa.int64(), "key": pa.uint64()})


def _default(stage: MinHash, name: str) -> Any:
    return next(f.default for f in fields(stage) if f.name == name)


def _by_bytes(batch: Batch, short: Array, whole: Array, offsets: Array, found: Array) -> None:
    """Of documents that are too short, put the hash of their bytes in place of that of their units, and of what was left of them.

    It is another one than that of which their key is made: they are equal where both are.
    """
    data, start, end = batch.utf8
    whole[short] = hash_bytes(data, start[short], end[short])[1]
    if len(found):
        found[offsets[:-1][short]] = (whole[short] >> np.uint64(32)).astype(np.uint32)


def _chained(a: Array, b: Array) -> Array:
    out: Array = _mixed(a) ^ b
    return _mixed(out)


@njit(cache=True)
def _mixed(values):
    out = np.empty_like(values)
    for n in range(len(values)):
        out[n] = mix(values[n] + np.uint64(1))
    return out


def _above(keys: Array) -> Array:
    """Hashes, none of them a sample's key."""
    return np.where(keys < SAMPLE_KEYS, keys + np.uint64(SAMPLE_KEYS), keys)


def _draws(least: Array) -> Array:
    """uint64 below SAMPLE_KEYS, evenly spread: documents are drawn together as often as they are alike."""
    drawn: Array = _mixed(least) >> np.uint64(8)
    return drawn


def _links(reduced: pa.Table) -> Iterator[tuple[Array, Array]]:
    for batch in reduced.select(["doc", "other"]).to_batches():
        doc, other = batch["doc"].to_numpy(), batch["other"].to_numpy()
        linked = other >= 0
        yield doc[linked], other[linked]


def _drawn(reduced: pa.Table, count: int) -> Array:
    """int64, in order: the documents that are drawn."""
    docs, draws = np.empty(0, np.int64), np.empty(0, np.uint64)
    for batch in reduced.to_batches():
        alone = batch["other"].to_numpy() < 0
        docs, draws = np.append(docs, batch["doc"].to_numpy()[alone]), np.append(draws, batch["draw"].to_numpy()[alone])
    return np.sort(docs[np.lexsort((docs, draws))[:count]])


def _with_drawn(whole: pa.Table, drawn: Array) -> Iterator[pa.RecordBatch]:
    """The components, and the documents that are drawn among them, in order of doc."""
    for batch in whole.to_batches():
        doc, key = batch["doc"].to_numpy(), _mixed(batch["first"].to_numpy().astype(np.uint64))
        here = int(np.searchsorted(drawn, doc[-1], side="right")) if len(doc) else 0
        yield _rows(np.concatenate([doc, drawn[:here]]), np.concatenate([key, np.full(here, SAMPLE)]))
        drawn = drawn[here:]
    yield _rows(drawn, np.full(len(drawn), SAMPLE))


def _rows(doc: Array, key: Array) -> pa.RecordBatch:
    order = np.lexsort((key, doc))
    return pa.RecordBatch.from_arrays([pa.array(doc[order]), pa.array(key[order])], schema=VERDICT)


@dataclass(frozen=True)
class FineWeb(MinHash):
    """As MinHash, by the settings of FineWeb (datatrove's examples/fineweb.py): what agrees in a band is one, unseen."""

    verify: bool = False  # datatrove does not look
    short: Literal["exact", "keep"] = "keep"  # datatrove: no signature, no removal
    within: tuple[str, ...] = ()  # FineWeb deduplicates each dump by itself: [dump]


@dataclass(frozen=True)
class Nemotron(MinHash):
    """As MinHash, by the settings of Nemotron-CC (NeMo Curator's fuzzy deduplication): 24 characters, 20 bands of 13."""

    ngram: Annotated[int, Field(ge=1, le=1000)] = 24  # Nemotron-CC's configuration
    unit: Literal["words", "characters"] = "characters"
    ignore: tuple[Difference, ...] = ()  # none by default
    bands: Annotated[int, Field(ge=0, le=2000)] = 20
    rows: Annotated[int, Field(ge=0, le=500)] = 13  # 20 x 13: half of the pairs of similarity 0.79
    verify: bool = False  # since its Dask version was given up
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 42


REDPAJAMA = {0.7: (14, 9), 0.8: (9, 13), 0.9: (5, 25), 1.0: (1, 128)}  # (bands, rows) of each threshold


@dataclass(frozen=True)
class RedPajama(MinHash):
    """As MinHash, by the settings of RedPajama-V2 (its app/src/dedupe): 13 words, 128 permutations.

    Its bands, by `threshold`: 0.7: 14 x 9, 0.8: 9 x 13, 0.9: 5 x 25, 1.0: 1 x 128. There are no others.
    """

    ngram: Annotated[int, Field(ge=1, le=1000)] = 13  # words
    ignore: tuple[Difference, ...] = ("case", "punctuation", "accents")  # its normalisation
    bands: Annotated[int, Field(ge=0, le=2000)] = 0  # its own for the threshold
    rows: Annotated[int, Field(ge=0, le=500)] = 0  # likewise
    verify: bool = False  # the signatures are published, clusters left to the user
    short: Literal["exact", "keep"] = "keep"  # fewer than 13 words: no signature

    def check(self) -> None:
        if not self.bands and self.threshold not in REDPAJAMA:
            known = ", ".join(f"{t:g}" for t in REDPAJAMA)
            raise CurateError(f"threshold: {self.threshold:g} has no bands in RedPajama-V2; take one of {known}, or dedup.minhash.MinHash")
        super().check()

    @property
    def banding(self) -> tuple[int, int]:
        return (self.bands, self.rows) if self.bands else REDPAJAMA[self.threshold]


@dataclass(frozen=True)
class Books(MinHash):
    """As MinHash, for books: Llama 1 removes those with more than 90 % content overlap (Touvron et al. 2023, section 2.1)."""

    bands: Annotated[int, Field(ge=0, le=2000)] = 9
    rows: Annotated[int, Field(ge=0, le=500)] = 13  # 9 x 13, RedPajama-V2's for 0.8: half of the pairs of similarity 0.83
    threshold: Annotated[float, Field(gt=0, le=1)] = 0.9  # 2.1
    inclusive: bool = False  # 2.1: "more than 90 %"
    ignore: tuple[Difference, ...] = ("case", "punctuation", "accents")  # ours: books of tables differ in their digits
    measure: Literal["jaccard", "containment"] = "containment"  # ours: an abridged book is in the whole one
    keeper: KEEPERS = "longest"  # ours: the paper does not say which stays
