"""What an index of MinHash holds of a document: its id, the keys of its bands, its shingles. About 2 KB for a web page.

With it, documents of a later run are dropped for those of an earlier one by the same rules and with the same similarity, as though all had
been deduplicated at once with the earlier ones first: what was dropped then is no reason to drop anything, and needs no place here.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from curate.batch import Array, Batch
from curate.errors import CurateError

if TYPE_CHECKING:
    from stages.dedup.minhash import MinHash

BANDS, SHINGLES, WHOLE = "bands", "shingles", "whole"


def check(path: str, name: str, kinship: dict[str, Any]) -> None:
    """Raise CurateError for what is no index, or one that was built by other settings."""
    try:
        with open(path, encoding="utf-8") as file:
            made = json.load(file)
        settings, stage = dict(made["settings"]), str(made["stage"])
    except (OSError, ValueError, TypeError, KeyError):
        raise CurateError(f"index: {path} is no index; name the index.json that a run with keep_index has written, in OUT/index/") from None
    differing = [f"{k} is {kinship[k]} here and {settings.get(k)} there" for k in kinship if kinship[k] != settings.get(k)]
    if differing or set(settings) != set(kinship):
        made_by = f"built by {stage} with other settings than this {name}"
        raise CurateError(f"index: {path} was {made_by}: {'; '.join(differing) or 'not the same ones'}. Take the same, or build it anew")


def remembered(stage: MinHash, batch: Batch) -> Batch:
    """What stands for documents."""
    signed, (offsets, found, whole) = stage.signed_with_sets(batch)
    first, last, keys, _ = stage.keys(batch, signed)
    columns = {
        "id": batch["id"],
        "text": pa.array([""] * len(batch), pa.large_string()),
        BANDS: pa.ListArray.from_arrays(pa.array(np.append(first, last[-1:]), pa.int32()), pa.array(keys)),
        SHINGLES: pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), pa.array(found)),
        WHOLE: pa.array(whole),
    }
    return Batch.of(pa.record_batch(columns))


def keys_of(batch: Batch) -> tuple[Array, Array, Array]:
    """(first, last, keys) of documents of an index, as `MinHash.keys` has them."""
    offsets, keys = _lists(batch[BANDS])
    return offsets[:-1], offsets[1:], keys


def sets_of(batch: Batch) -> tuple[Array, Array, Array]:
    """Likewise, as `MinHash.sets` has them."""
    return *_lists(batch[SHINGLES]), batch[WHOLE].to_numpy()


def _lists(column: pa.ListArray) -> tuple[Array, Array]:
    counts = column.value_lengths().to_numpy(zero_copy_only=False)
    return np.concatenate(([0], np.cumsum(counts, dtype=np.int64))), column.flatten().to_numpy(zero_copy_only=False)
