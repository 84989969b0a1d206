"""Texts of which some are nearly others, and the plain Python that says which should go."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import support

from curate.batch import Batch
from curate.stage import Global
from curate.worker import outcome

LETTERS = "abcdefghijklmnopqrstuvwxyz"


def vocabulary(rng: random.Random, size: int) -> list[str]:
    """Words of letters alone: digits do not count."""
    return ["".join(rng.choices(LETTERS, k=rng.randint(3, 7))) for _ in range(size)]


def edited(rng: random.Random, words: list[str], known: list[str], share: float) -> list[str]:
    """Some words replaced."""
    return [rng.choice(known) if rng.random() < share else w for w in words]


def corpus(seed: int, families: int, longest: int = 120) -> list[str]:
    """Families of a text and its edited copies, in any order."""
    rng = random.Random(seed)
    known = vocabulary(rng, 2000)
    out = []
    for _ in range(families):
        base = rng.choices(known, k=rng.randint(20, longest))
        out.append(" ".join(base))
        for _ in range(rng.choice([0, 0, 1, 2, 5])):
            base = edited(rng, base, known, rng.choice([0.0, 0.01, 0.02, 0.04, 0.1])) if rng.random() < 0.8 else base
            out.append(" ".join(base))
    rng.shuffle(out)
    return out


def shingles(text: str, n: int = 5) -> frozenset[tuple[str, ...]]:
    """Word n-grams of a text of plain words; all of it where it is shorter."""
    words = text.split()
    return frozenset(tuple(words[i : i + n]) for i in range(len(words) - n + 1)) or frozenset([tuple(words)])


def jaccard(a: frozenset[tuple[str, ...]], b: frozenset[tuple[str, ...]]) -> float:
    """In common, of all."""
    return len(a & b) / len(a | b)


def greedy(texts: Sequence[str], threshold: float, order: Sequence[int] | None = None, n: int = 5) -> dict[int, tuple[int, float]]:
    """{document: (the kept one it is dropped for, similarity)}: in order, each against all kept before."""
    sets = [shingles(t, n) for t in texts]
    kept: list[int] = []
    out = {}
    for d in order if order is not None else range(len(texts)):
        for k in kept:
            if (found := jaccard(sets[d], sets[k])) >= threshold:
                out[d] = (k, found)
                break
        else:
            kept.append(d)
    return out


def shards(texts: Sequence[str], count: int, rows: int = 50, **columns: Sequence[object]) -> list[list[Batch]]:
    """The texts in so many shards, in batches of so many rows; ids are their numbers."""
    cuts = [len(texts) * n // count for n in range(count + 1)]
    return [[_batch(texts, at, min(at + rows, high), columns) for at in range(low, high, rows)] for low, high in pairwise(cuts)]


def _batch(texts: Sequence[str], low: int, high: int, columns: dict[str, Sequence[object]]) -> Batch:
    data = {"id": [str(n) for n in range(low, high)], "text": pa.array(texts[low:high], pa.large_string()), "source": ["s"] * (high - low)}
    return Batch.of(pa.record_batch(data | {name: pa.array(values[low:high]) for name, values in columns.items()}))


def dropped(
    stage: Global, texts: Sequence[str], folder: Path, *, count: int = 3, partitions: int = 1, rows: int = 50, **columns: Sequence[object]
) -> dict[int, tuple[int, float]]:
    """{document: (the kept one, similarity)} as the barrier decides."""
    folder.mkdir(exist_ok=True)
    given = shards(texts, count, rows, **columns)
    out = {}
    for batches, verdict in zip(given, support.decided(stage, given, folder, partitions=partitions), strict=True):
        first = 0
        for batch in batches:
            _, checks, _ = outcome(stage, batch, verdict.rows(first, len(batch)))
            [check] = checks.values()
            assert check.kept_id is not None
            for row in (~check.passed).nonzero()[0].tolist():
                alike = float("nan") if check.value is None else round(float(check.value[row]), 6)
                out[int(batch["id"][row].as_py())] = (int(check.kept_id[row].as_py()), alike)
            first += len(batch)
    return out
