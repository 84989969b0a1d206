"""Near-duplicate books by SimHash (Charikar 2002), as RedPajama's book/dedup.py did for its copy of Llama 1's books: for parity.

Lower case, characters of words only, 6-grams each as often as it stands, MD5, 64 bits; documents that differ in at most 5 are near
duplicates, and one goes if a near duplicate comes before it, whether or not that stays itself. Left out are that script's faults: ids
that begin anew with each corpus, parts that overwrite each other, documents that vanish in an error. It is not "more than 90 % overlap":
`dedup.minhash.Books` compares what documents have in common.
Cost: 20 MB/s a core; 6 keys of 16 bytes and the id in the exchange; comparisons within a key in the square of its documents, which
for 200,000 books are 200.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numba import njit
from pydantic import Field

from curate.batch import Array, Batch, Check
from curate.kernels.text import mix
from curate.stage import Checks, Guarded
from stages.dedup import simhash_kernels as kernels

BITS = 64
CAPITAL_SIGMA = "Σ"  # its lower case depends on where it stands


@dataclass(frozen=True)
class SimHash(Guarded):
    """Drop documents whose SimHash differs from that of an earlier one in at most `bits` bits."""

    bits: Annotated[int, Field(ge=0, le=16)] = 5  # RedPajama's k
    width: Annotated[int, Field(ge=1, le=13)] = 6  # characters of a feature; RedPajama

    def emit(self, batch: Batch) -> pa.RecordBatch:
        """Of documents within `bits`, at least one of bits + 1 blocks is equal: a key for each, as the package's index has them."""
        hashes = self.hashes(batch)
        blocks = self.bits + 1
        size = BITS // blocks
        row = np.repeat(np.arange(len(batch)), blocks)
        keys = _keys(hashes, blocks, size)
        ids = batch["id"].cast(pa.string()).take(pa.array(row))
        return pa.record_batch({"key": keys, "row": row, "hash": hashes[row], "id": ids})

    def hashes(self, batch: Batch) -> Array:
        """uint64 of each document."""
        if pc.any(pc.match_substring(batch.text, CAPITAL_SIGMA)).as_py():
            batch = batch.with_text([text.lower() if CAPITAL_SIGMA in text else text for text in batch.text.to_pylist()])
        found: Array = kernels.simhashes(*batch.utf8, kernels.table(), self.width)
        return found

    def reduce(self, keys: pa.Table) -> pa.Table:
        """(doc, kept, kept_id, distance) of those with a near duplicate before them in a block."""
        columns = {name: keys[name].to_numpy() for name in ("key", "doc", "hash")}
        found, bits = kernels.nearest_before(columns["key"], columns["hash"], self.bits)
        gone = np.flatnonzero(found >= 0)
        doc, kept = columns["doc"][gone], columns["doc"][found[gone]]
        ids = keys["id"].take(pa.array(found[gone])).cast(pa.string())
        return pa.table({"doc": doc, "kept": kept, "kept_id": ids, "distance": bits[gone]})

    def settle(self, reduced: pa.Table) -> pa.Table:
        """Of each document the earliest near duplicate of all blocks."""
        doc, kept = reduced["doc"].to_numpy(), reduced["kept"].to_numpy()
        order = np.lexsort((kept, doc))
        first = order[np.flatnonzero(np.diff(doc[order], prepend=-1))]
        return reduced.take(pa.array(first))

    def apply(self, batch: Batch, verdict: pa.Table) -> Checks:
        row = verdict["row"].to_numpy()
        kept, at, distance = np.full(len(batch), -1, np.int64), np.full(len(batch), -1), np.full(len(batch), np.nan)
        kept[row], at[row], distance[row] = verdict["kept"].to_numpy(), np.arange(len(row)), verdict["distance"].to_numpy()
        ids = verdict["kept_id"].combine_chunks().take(pa.array(at, mask=at < 0))
        return {"near_duplicate": Check(kept < 0, distance, self.bits, kept, ids)}


@njit(cache=True)
def _keys(hashes, blocks, size):
    """The keys of all blocks of all hashes; the last block takes the bits that are left."""
    out = np.empty(len(hashes) * blocks, np.uint64)
    for d in range(len(hashes)):
        for block in range(blocks):
            shifted = hashes[d] >> np.uint64(block * size)
            if block < blocks - 1:
                shifted &= (np.uint64(1) << np.uint64(size)) - np.uint64(1)
            out[d * blocks + block] = mix(mix(np.uint64(block + 1)) ^ shifted)
    return out
