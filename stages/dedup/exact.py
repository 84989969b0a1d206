"""Exact duplicates: documents whose text is byte for byte that of an earlier one. The first in corpus order survives.

Two 64-bit hashes of the text decide, 128 bits together: among ten billion documents a false pair is to be expected once in 10^18 runs.
Cost: 1.9 GB/s per core for each hash, and 24 bytes a document in the exchange.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from curate.batch import Batch, Check
from curate.kernels.text import hash_documents
from curate.stage import Checks, Global

_KEY_SEED, _CHECK_SEED = np.uint64(0), np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class Exact(Global):
    """Drop documents whose text equals that of an earlier one."""

    def emit(self, batch: Batch) -> pa.RecordBatch:
        key, check = hash_documents(*batch.utf8, _KEY_SEED), hash_documents(*batch.utf8, _CHECK_SEED)
        return pa.record_batch({"key": key, "check": check, "row": np.arange(len(batch))})

    def reduce(self, keys: pa.Table) -> pa.Table:
        key, check, doc = (keys[c].to_numpy() for c in ("key", "check", "doc"))
        order = np.lexsort((doc, check, key))
        key, check, doc = key[order], check[order], doc[order]
        new = np.ones(len(key), np.bool_)
        new[1:] = (key[1:] != key[:-1]) | (check[1:] != check[:-1])
        kept = doc[np.flatnonzero(new)][np.cumsum(new) - 1]
        return pa.table({"doc": doc[~new], "kept": kept[~new]})

    def apply(self, batch: Batch, verdict: pa.Table) -> Checks:
        return {"duplicate": dropped(batch, verdict)}


def dropped(batch: Batch, verdict: pa.Table) -> Check:
    """The check of a verdict that lists the documents to drop (`row`) and what is kept in their stead (`kept`)."""
    kept = np.full(len(batch), -1, np.int64)
    kept[verdict["row"].to_numpy()] = verdict["kept"].to_numpy()
    return Check(kept < 0, kept=kept)
