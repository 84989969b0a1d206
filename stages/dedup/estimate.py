"""How much of the duplication a setting of bands finds on this very corpus, from a sample that is compared each with each.

Documents are drawn by the least value of one more permutation, so that two are drawn together as often as they are alike: a sample of
2,000 of a billion documents still holds pairs. A pair of similarity J is drawn with about J + (1 - J) r times
the probability of a document, where r is the share that is drawn, and counts by the inverse of that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numba import njit

from curate.batch import Array
from stages.dedup.compare import Lists, similarity
from stages.dedup.signatures import collision

if TYPE_CHECKING:
    from stages.dedup.minhash import MinHash

KEY = np.uint64(0)  # under which the sample meets
DRAWS = 2.0**56  # draws are below
BINS = 20  # of similarity, each 0.05 wide
SHINGLES = 1 << 25  # of all documents that are compared: books are fewer than web pages
LOWEST = 0.5  # pairs of less similarity are counted only where they share a band


def estimated(stage: MinHash, keys: pa.Table) -> dict[str, Any]:
    """Of the pairs of documents that were drawn, weighted: how many are similar, how many of those share a band, how many share one at
    all, and how many of the similar ones are expected to; and the similar ones and those found by bins of similarity."""
    draw = keys["draw"].to_numpy()
    order = np.lexsort((keys["doc"].to_numpy(), draw))
    size = np.concatenate([c.value_lengths().to_numpy(zero_copy_only=False) for c in keys["shingles"].chunks])[order]
    held = max(int(np.searchsorted(np.cumsum(size, dtype=np.int64), SHINGLES, side="right")), 1)
    all_of_them = held == len(keys) < stage.sample
    keys = keys.take(pa.array(np.sort(order[:held])))
    bands, sets = Lists(keys["bands"]), Lists(keys["shingles"])
    scope = keys["scope"].to_numpy() if "scope" in keys.column_names else np.zeros(len(keys), np.uint64)
    rate = 1.0 if all_of_them else float(keys["draw"].to_numpy().max()) / DRAWS
    alike, shares = compare(bands.offsets, bands.values, sets.offsets, sets.values, scope, stage.measure == "containment")
    weight = 1 / (alike + (1 - alike) * rate)
    similar = (alike > stage.threshold) | (stage.inclusive & (alike == stage.threshold))
    expected = collision(alike, *stage.banding)
    of_bin = np.minimum((alike * BINS + 1e-9).astype(np.int64), BINS - 1)
    return {
        "sample": {
            "documents": len(keys),
            "pairs": int(similar.sum()),
            "similar": float(weight[similar].sum()),
            "found": float(weight[similar & shares].sum()),
            "expected": float((weight * expected)[similar].sum()),
            "proposed": float(weight[shares].sum()),
            "bins": [
                [round(n / BINS, 2), int((of_bin == n).sum()), int(shares[of_bin == n].sum())]
                for n in range(int(LOWEST * BINS), BINS)
                if (of_bin == n).any()
            ],
        }
    }


def said(stage: MinHash, sample: dict[str, Any]) -> str:
    """What was found, as a sentence."""
    bands, rows = stage.banding
    drawn, bar = f"{sample['documents']:,} documents drawn and compared each with each", f"similarity {stage.threshold:g} and more"
    if not sample["pairs"]:
        return f"{drawn}: no pair of {bar}, so nothing can be said of how many are found"
    expected = sample["expected"] / sample["similar"]
    recall = f"{sample['found'] / sample['similar']:.1%} share one of {bands} bands of {rows} ({expected:.1%} expected)"
    right = 1.0 if not sample["proposed"] else sample["found"] / sample["proposed"]
    then = "the others are told by verification" if stage.verify else "the others go unseen; verify: true would tell them"
    return (
        f"{drawn}: of {sample['pairs']:,} pairs of {bar}, {recall}; of the pairs that share a band {right:.1%} are so similar, and {then}"
    )


def compare(band_offsets: Array, bands: Array, offsets: Array, values: Array, scope: Array, containment: bool) -> tuple[Array, Array]:
    """(similarity, whether a band is shared) of each pair of one scope of which either is so, or the similarity is LOWEST and more.

    What each two have in common is counted shingle by shingle, as most are in one document only; set by set where many are in all.
    """
    order = np.argsort(values)
    held = np.diff(np.flatnonzero(np.concatenate(([True], np.diff(values[order]) != 0, [True]))))
    counted = np.empty((0, 0), np.uint32)
    if int((held.astype(np.int64) ** 2).sum()) < len(scope) * len(values):
        counted = count(held, np.repeat(np.arange(len(scope)), np.diff(offsets))[order], len(scope))
    found: tuple[Array, Array] = _compare(band_offsets, bands, offsets, values, scope, containment, counted)
    return found


@njit(cache=True)
def count(held, docs, size):
    """uint32[size, size]: of each two documents, the first lower, the shingles in both; `docs` holds those of each shingle in turn."""
    out = np.zeros((size, size), np.uint32)
    at = 0
    for n in held:
        for i in range(at, at + n):
            for j in range(at, i):
                out[min(docs[i], docs[j]), max(docs[i], docs[j])] += np.uint32(1)
        at += n
    return out


@njit(cache=True)
def _compare(band_offsets, bands, offsets, values, scope, containment, counted):
    docs = len(scope)
    alike, shares = np.empty(1024, np.float64), np.empty(1024, np.bool_)
    pairs = 0
    for i in range(docs):
        mine = values[offsets[i] : offsets[i + 1]]
        for j in range(i):
            if scope[i] != scope[j]:
                continue
            shared = False
            if band_offsets[i + 1] - band_offsets[i] == band_offsets[j + 1] - band_offsets[j]:
                for k in range(band_offsets[i + 1] - band_offsets[i]):
                    if bands[band_offsets[i] + k] == bands[band_offsets[j] + k]:
                        shared = True
                        break
            theirs = values[offsets[j] : offsets[j + 1]]
            if len(counted):
                common = np.int64(counted[j, i])
                found = common / (min(len(mine), len(theirs)) if containment else len(mine) + len(theirs) - common)
            else:
                found = similarity(mine, theirs, containment, 0.0 if shared else LOWEST)
            if found >= LOWEST or shared:
                if pairs == len(alike):
                    alike, shares = np.append(alike, np.empty_like(alike)), np.append(shares, np.empty_like(shares))
                alike[pairs], shares[pairs] = found, shared
                pairs += 1
    return alike[:pairs].copy(), shares[:pairs].copy()
