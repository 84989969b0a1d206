"""Examples to learn from: drawn by hashes of document ids, so that what is drawn depends on nothing but the documents and a seed.

What was selected lies in files; only hashes and classes are held in memory, and of the text one block at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
from numba import njit

from curate.batch import Array, Batch, Mask
from curate.kernels.text import hash_documents, mix

_BLOCK = 128e6  # bytes of text that are sorted at once
_OTHER = np.uint64(0x9E3779B97F4A7C15)


def hash_ids(batch: Batch, seed: int) -> Array:
    """uint64 for each document: what sampling goes by."""
    return hash_documents(*Batch.of(pa.record_batch({"text": batch["id"]})).utf8, np.uint64(seed))


@njit(cache=True)
def other_hash(hashes):
    """uint64: for each hash another one, which does not depend on it in any way that chance would notice."""
    out = np.empty_like(hashes)
    for i in range(len(hashes)):
        out[i] = mix(hashes[i] ^ _OTHER)
    return out


def share_of(hashes: Array, share: float) -> Mask:
    """True for about this share of the hashes, always the lowest."""
    limit = int(share * 2.0**64)
    return np.ones(len(hashes), np.bool_) if limit >= 1 << 64 else hashes < np.uint64(limit)


@dataclass(frozen=True)
class Drawn:
    """What was selected: record batches with `hash` and `text`, and a class each."""

    batches: tuple[Iterable[pa.RecordBatch], ...]
    hash: Array  # uint64
    label: Array  # of str, one per document
    bytes: int  # of text

    @classmethod
    def of(cls, batches: Iterable[Iterable[pa.RecordBatch]]) -> Drawn:
        """Reads the hashes and the column `label`."""
        batches = tuple(batches)
        hashes, labels, size = [np.empty(0, np.uint64)], [np.empty(0, object)], 0
        for part in batches:
            for batch in part:
                hashes.append(batch["hash"].to_numpy())
                labels.append(batch["label"].to_numpy(zero_copy_only=False))
                size += batch["text"].nbytes
        return cls(batches, np.concatenate(hashes), np.concatenate(labels), size)

    def __len__(self) -> int:
        return len(self.hash)

    def renamed(self, old: str, new: str) -> Drawn:
        """With one label taken for another."""
        label = self.label.copy()
        label[label == old] = new
        return replace(self, label=label)

    def counts(self, chosen: Mask | None = None) -> dict[str, int]:
        """Documents of each label, the labels in order."""
        labels, counts = np.unique((self.label if chosen is None else self.label[chosen]).astype(str), return_counts=True)
        return dict(zip(labels.tolist(), counts.tolist(), strict=True))

    def lowest(self, label: str, most: int) -> Array:
        """The rows of a label with the lowest hashes, so many at most."""
        rows = np.flatnonzero(self.label == label)
        return rows[np.argsort(self.hash[rows], kind="stable")[:most]]

    def by_hash(self, chosen: Mask) -> Iterator[pa.RecordBatch]:
        """The chosen documents in order of hash: in an order that has to do with nothing."""
        hashes = np.sort(self.hash[chosen])
        parts = int(self.bytes // _BLOCK) + 1
        cuts = [hashes[len(hashes) * n // parts] for n in range(1, parts)] if len(hashes) else []
        part_of = np.searchsorted(np.array(cuts, np.uint64), self.hash, "right")
        for part in range(parts):
            held = list(self._rows(chosen & (part_of == part)))
            if held:
                table: Any = pa.Table.from_batches(held)
                order = np.argsort(table["hash"].to_numpy(), kind="stable")
                yield from table.take(pa.array(order)).combine_chunks().to_batches()

    def by_label(self, chosen: Mask, labels: Iterable[str]) -> Iterator[pa.RecordBatch]:
        """The chosen documents label after label, in corpus order."""
        for label in labels:
            yield from self._rows(chosen & (self.label == label))

    def _rows(self, chosen: Mask) -> Iterator[pa.RecordBatch]:
        first = 0
        for part in self.batches:
            for batch in part:
                mask, label = chosen[first : first + len(batch)], self.label[first : first + len(batch)]
                first += len(batch)
                if mask.any():
                    labelled = batch.set_column(batch.schema.get_field_index("label"), "label", pa.array(label, pa.string()))
                    yield labelled.filter(pa.array(mask))
