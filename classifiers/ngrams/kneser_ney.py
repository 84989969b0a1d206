"""Interpolated modified Kneser-Ney models (Chen and Goodman 1999), estimated in bounded memory, without pruning.

What KenLM's lmplz computes (Heafield et al. 2013), in numpy and numba: the same n-grams, and logarithms that differ by what 32-bit
floats round. One deviation: lmplz counts the n-gram of each lower order that its sort puts last by how often it occurs instead
of by its adjusted count when it estimates discounts; this one does not.
The steps are those of the paper, each a pass over files in which n-grams stand in suffix order (see `ngram_counts`):
count; adjust; sort by context for the normalisers and back-off weights; sort back and interpolate from the unigrams up.
Cost: 20 MB of text at order 5 in 5 s of one core (lmplz: 6 s), as 6 million SentencePiece pieces in 7 s (lmplz: 8.5 s); compiling
the kernels takes 10 s, once a machine.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from numba import njit

from classifiers.ngrams import arpa_writer
from classifiers.ngrams.counts import BEGIN, END, UNKNOWN, Corpus, Ngrams, Vocabulary, adjust, count, encoded
from classifiers.ngrams.sort import Column, Runs, Scratch
from curate.errors import CurateError

Array = npt.NDArray[Any]
Discounts = tuple[float, float, float]  # of adjusted counts of 1, of 2, and of 3 and more

_BYTES_PER_ROW = 240  # of memory in the pass that takes most
_LEAST_ROWS = 2048
_TEXT = 1 << 20  # bytes tokenised at a time


@dataclass(frozen=True)
class Estimate:
    """What a model was made from."""

    sentences: int
    tokens: int  # without <s> and </s>
    ngrams: tuple[int, ...]  # of order 1, 2, ...; <unk>, <s> and </s> among the unigrams
    discounts: tuple[Discounts, ...]  # of order 1, 2, ...
    fallback: tuple[int, ...]  # orders whose discounts could not be estimated


def estimate(
    sentences: Iterable[Iterable[str] | str],
    path: str,
    *,
    order: int = 5,
    memory: float = 1e9,
    folder: str,
    fallback: Discounts | None = (0.5, 1.0, 1.5),
) -> Estimate:
    """Write the model of `sentences` to `path` as an ARPA file.

    A sentence is a string whose tokens are parted by spaces, or the tokens; it may be empty. `memory` is in bytes and holds whatever
    the size of the text, but for the vocabulary, which takes about 60 bytes a word, and the file's bytes do not depend on it.
    Temporary files, about twenty times the text at order 5, lie in `folder`. `fallback` are the discounts of orders whose own cannot
    be estimated.
    Raises CurateError where there is no text, a token is <s>, </s> or <unk>, or discounts cannot be estimated and `fallback` is None.
    """
    if order < 1:
        raise CurateError(f"a language model of order {order}: the order is the length of its longest n-grams, 1 or more")
    os.makedirs(folder, exist_ok=True)
    rows = int(max(memory / _BYTES_PER_ROW, _LEAST_ROWS))
    corpus = Corpus(Vocabulary())
    with Scratch(folder) as scratch:
        ids = encoded(sentences, order, corpus, int(min(max(memory / 64, 4096), _TEXT)))
        runs = count(ids, order, scratch, memory)
        if not corpus.tokens:
            raise CurateError(
                f"no text to estimate a language model from: {corpus.sentences:,} sentences without a token; check what it is given"
            )
        ngrams = adjust(runs, order, scratch, rows)
        discounts, fell_back = _all_discounts(ngrams, fallback)
        partial = f"{path}.partial"
        try:
            with open(partial, "wb") as file:
                _write(file, corpus.vocabulary, ngrams, discounts, scratch, rows)
            os.replace(partial, path)
        finally:
            if os.path.exists(partial):
                os.remove(partial)
    return Estimate(corpus.sentences, corpus.tokens, tuple(n.ids.rows for n in ngrams), tuple(discounts), tuple(fell_back))


def _all_discounts(ngrams: list[Ngrams], fallback: Discounts | None) -> tuple[list[Discounts], list[int]]:
    discounts, fell_back = [], []
    for n in ngrams:
        try:
            discounts.append(closed_form(n.of_count))
        except ValueError as error:
            if fallback is None:
                raise CurateError(
                    f"no discounts for {n.order}-grams: {error}. This is usual of small or repetitive text: "
                    "give more text, remove duplicates from it, lower the order, or allow discounts to fall back"
                ) from None
            discounts.append(fallback)
            fell_back.append(n.order)
    return discounts, fell_back


def closed_form(of_count: Array) -> Discounts:
    """The discounts for n-grams of which of_count[c] have the adjusted count c (Chen and Goodman 1999, equation 26).

    Raises ValueError where they cannot be computed or are no discounts.
    """
    for c in (1, 2, 3):
        if not of_count[c]:
            raise ValueError(f"none has the adjusted count {c}")
    n1, n2, n3, n4 = (int(n) for n in of_count[1:5])
    y = n1 / (n1 + 2 * n2)
    found = 1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3
    for c, discount in enumerate(found, 1):
        if not 0 <= discount <= c:
            raise ValueError(f"the discount of the adjusted count {c} comes out as {discount:.3g}")
    return found


@njit(cache=True)
def _discounted(rows, context, discounts):
    """Rows of whole contexts, to (row number, discounted share, the context's back-off weight) each, and the weight of each context.

    `rows` are sorted by their first `context` columns; the last four hold the count and the row number. Results are floats as uint64.
    """
    width = rows.shape[1]
    out, weights = np.empty((len(rows), 3), np.uint64), np.empty(len(rows), np.float64)
    numbers = out.view(np.float64)
    first, n = 0, 0
    while first < len(rows):
        total, left, end = np.uint64(0), 0.0, first
        seen = np.zeros(4, np.int64)
        while end < len(rows):
            same = True
            for c in range(context):
                if rows[end, c] != rows[first, c]:
                    same = False
                    break
            if not same:
                break
            value = np.uint64(rows[end, width - 4]) | (np.uint64(rows[end, width - 3]) << np.uint64(32))
            total += value
            seen[min(value, np.uint64(3))] += 1
            end += 1
        for c in range(1, 4):
            left += discounts[c] * seen[c]
        weight = left / float(total)
        for i in range(first, end):
            value = np.uint64(rows[i, width - 4]) | (np.uint64(rows[i, width - 3]) << np.uint64(32))
            out[i, 0] = np.uint64(rows[i, width - 2]) | (np.uint64(rows[i, width - 1]) << np.uint64(32))
            numbers[i, 1] = (float(value) - discounts[min(value, np.uint64(3))]) / float(total)
            numbers[i, 2] = weight
        weights[n] = weight
        n += 1
        first = end
    return out, weights[:n]


@njit(cache=True)
def _last_context(rows, context):
    """Where the rows of the last context begin."""
    i = len(rows) - 1
    while i > 0:
        for c in range(context):
            if rows[i - 1, c] != rows[i, c]:
                return i
        i -= 1
    return 0


def _whole(blocks: Iterator[Array], context: int) -> Iterator[Array]:
    """The same rows, cut between contexts only."""
    held: Array | None = None
    for block in blocks:
        rows = block if held is None or not len(held) else np.concatenate([held, block])
        cut = _last_context(rows, context)
        yield rows[:cut]
        held = rows[cut:].copy()
    if held is not None:
        yield held


def _by_context(ngrams: Ngrams, discounts: Discounts, weights: Column, scratch: Scratch, rows: int) -> Runs:
    """(row number, discounted share, weight of the context) of n-grams of order 2 and more, to be read in suffix order.

    `weights` gets the back-off weight of every n-gram one shorter that is a context, in suffix order.
    """
    k = ngrams.order
    forward = Runs(scratch, k + 4, range(k), rows)
    ngrams.counts.rewind()
    number = 0
    for ids in ngrams.ids.blocks(_piece(rows)):
        row = np.empty((len(ids), k + 4), np.uint32)
        row[:, : k - 1] = ids[:, 1:]
        row[:, k - 1] = ids[:, 0]
        payload = np.stack([ngrams.counts.take(len(ids)), np.arange(number, number + len(ids), dtype=np.uint64)], axis=1)
        row[:, k:] = payload.view(np.uint32)
        forward.add(row)
        number += len(ids)
    back = Runs(scratch, 6, (1, 0), rows)
    amounts = np.array((0.0, *discounts))
    for block in _whole(forward.blocks(rows), k - 1):
        results, of_contexts = _discounted(block, k - 1, amounts)
        weights.append(of_contexts)
        back.add(results.view(np.uint32))
    return back


def _piece(rows: int) -> int:
    """Rows handled at a time where nothing asks for more: what stays in the processor's caches is faster."""
    return min(rows, 1 << 16)


Found = Iterator[tuple[Array, Array, Array]]  # (ids, counts, probabilities) of an order's n-grams, in suffix order


def _unigrams(ngrams: Ngrams, discounts: Discounts, rows: int) -> Found:
    """Discounted shares, and what is left spread evenly over all words and <unk>, but not <s>."""
    total = sum(int(c.sum()) for c in ngrams.counts.blocks(rows))
    n1, n2 = (int(n) for n in ngrams.of_count[1:3])
    more = ngrams.ids.rows - 2 - n1 - n2  # all but <unk> and <s>, whose count is 0
    even = (discounts[0] * n1 + discounts[1] * n2 + discounts[2] * more) / total / (ngrams.ids.rows - 1)
    amounts = np.array((0.0, *discounts))
    ngrams.counts.rewind()
    for ids in ngrams.ids.blocks(rows):
        counts = ngrams.counts.take(len(ids))
        found = (counts - amounts[np.minimum(counts, 3).astype(np.int64)]) / total + even
        found[ids == BEGIN] = 1.0  # it is never predicted, and scoring a sentence with it must cost nothing
        yield ids.reshape(-1, 1), counts, found


def _higher(ngrams: Ngrams, back: Runs, lower: Column, rows: int) -> Found:
    """From order 2 on: interpolated with the probabilities of the n-grams without their first words."""
    for column in (ngrams.ids, ngrams.counts, lower):
        column.rewind()
    for block in back.blocks(rows):
        for low in range(0, len(block), _piece(rows)):
            numbers = np.ascontiguousarray(block[low : low + _piece(rows)]).view(np.float64)
            n = len(numbers)
            yield ngrams.ids.take(n), ngrams.counts.take(n), numbers[:, 1] + numbers[:, 2] * lower.take(n)
    lower.close()


def _write(file: BinaryIO, vocabulary: Vocabulary, ngrams: list[Ngrams], discounts: list[Discounts], scratch: Scratch, rows: int) -> None:
    writer = arpa_writer.Writer(file, [n.ids.rows for n in ngrams], vocabulary.letters, vocabulary.ends)
    found = _unigrams(ngrams[0], discounts[0], _piece(rows))
    for k, longer in enumerate(ngrams[1:], 1):
        weights, above = Column(scratch, np.float64), Column(scratch, np.float64)
        back = _by_context(longer, discounts[k], weights, scratch, rows)
        weights.rewind()
        writer.section(k)
        for ids, counts, probabilities in found:
            context = (ids[:, 0] != END) & (ids[:, 0] != UNKNOWN)  # nothing follows the others
            backoffs = np.ones(len(ids))
            backoffs[context] = weights.take(int(context.sum()))
            writer.lines(ids, probabilities, backoffs)
            extensions = np.where(ids[:, -1] == BEGIN, 0, counts.astype(np.int64))
            for part in _parts(extensions, rows):
                above.append(np.repeat(probabilities[part], extensions[part]))
        weights.close()
        found = _higher(longer, back, above, rows)
    writer.section(len(ngrams))
    for ids, _, probabilities in found:
        writer.lines(ids, probabilities, None)
    writer.finish()


def _parts(sizes: Array, most: int) -> Iterator[slice]:
    """Neighbours whose sizes add up to `most` at most, or one that is larger."""
    ends, low = np.cumsum(sizes), 0
    while low < len(sizes):
        done = int(ends[low - 1]) if low else 0
        high = max(low + 1, int(np.searchsorted(ends, done + most, "right")))
        yield slice(low, high)
        low = high
