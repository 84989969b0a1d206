"""Small corpora for stages that drop duplicates, and what becomes of each document."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pytest
import support

from curate import plan as planning
from curate import recipe as recipes
from curate.batch import Batch
from curate.errors import RecipeError
from curate.exchange import SHARD_BITS
from curate.stage import FACTS, Global
from curate.worker import outcome

ROW = dict[str, Any]
SCHEMA = {
    "id": pa.string(),
    "text": pa.large_string(),
    "source": pa.string(),
    "date": pa.string(),
    "quality": pa.float64(),
    "url": pa.string(),
}


def rows_of(texts: Sequence[str], **columns: Sequence[Any]) -> list[ROW]:
    """Documents with ids of their own."""
    return [{"id": f"s/{n}", "text": text, **{name: values[n] for name, values in columns.items()}} for n, text in enumerate(texts)]


def batches(rows: Sequence[ROW], size: int = 7) -> list[Batch]:
    columns = {name: pa.array([row.get(name) for row in rows], kind) for name, kind in SCHEMA.items()}
    data = pa.record_batch({**columns, "source": pa.array(["s"] * len(rows))})
    return [Batch.of(data.slice(at, size)) for at in range(0, len(rows), size)]


def judged(stage: Global, shards: Sequence[Sequence[ROW]], partitions: int = 1) -> dict[str, str | None]:
    """The id of every document with that of the one kept in its stead, or None if it stays. The addresses are those of the ids."""
    found: dict[str, str | None] = {}
    ids = {shard << SHARD_BITS | n: row["id"] for shard, rows in enumerate(shards) for n, row in enumerate(rows)}
    with TemporaryDirectory() as folder:
        cut = [batches(rows) for rows in shards]
        for rows, verdict in zip(cut, support.decided(stage, cut, Path(folder), partitions=partitions), strict=True):
            first = 0
            for batch in rows:
                check = outcome(stage, batch, verdict.rows(first, len(batch)))[1]["duplicate"]
                assert check.kept is not None
                assert check.kept_id is not None
                kept = [ids.get(int(address)) for address in check.kept]
                assert kept == check.kept_id.to_pylist()
                assert [k is None for k in kept] == check.passed.tolist()
                found |= dict(zip(batch["id"].to_pylist(), kept, strict=True))
                first += len(batch)
    return found


def split(rows: Sequence[ROW], shards: int) -> list[list[ROW]]:
    """In corpus order, into shards of very different sizes, empty ones among them."""
    cuts = [*(n * n * len(rows) // (shards * shards) for n in range(shards)), len(rows)]
    return [list(rows[low:high]) for low, high in pairwise(cuts)]


def facts_of(stage: Global, rows: Sequence[ROW], folder: Path) -> dict[str, Any]:
    verdict = support.decided(stage, [batches(rows)], folder)[0]
    found: dict[str, Any] = json.loads(verdict.table.schema.metadata[FACTS])
    return found


def refused(folder: Path, stage: str, parameters: dict[str, Any], reader: dict[str, Any] | None = None) -> str:
    """What `curate plan` says of a recipe with these parameters."""
    support.write_corpus(folder)
    stages = [{"read.jsonl.Jsonl": {**(reader or {}), "paths": [str(folder / "web" / "*.jsonl")]}}, {stage: parameters}]
    recipe = support.write_recipe(folder, folder, sources={"web": stages}, corpus=[], mix=None, tokens=None)
    with pytest.raises(RecipeError) as error:
        planning.plan(recipes.load(recipe))
    return str(error.value)
