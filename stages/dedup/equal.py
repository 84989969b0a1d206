"""Documents that are equal in something, and the one of each kind that stays: what exact and URL deduplication share.

What is compared becomes 128 bits. Among ten billion documents a false pair is to be expected once in 10^18 runs.
The exchange takes 24 bytes a document and its id, 8 more where not the first is to stay. Only rows that share a key are sorted; many of
one key, as of a page that a site serves a million times, are gone through piece by piece.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from curate.batch import Array, Batch, Check
from curate.stage import Checks, Guarded, with_facts
from stages.dedup import keeper as keepers
from stages.dedup.keeper import KEEPERS

_COMPARED, _LACKING, _ABSENT = -1, -2, -4  # in place of an address: `kept` is how many documents
_STAYS = -3  # likewise: `kept` is one that stays, with its id
_NONE = np.uint64(0)  # the key of documents that have nothing to compare: `check` says how many


@dataclass(frozen=True, kw_only=True)
class Equal(Guarded):
    """Drop documents that are equal to one that stays."""

    keeper: KEEPERS = "first"  # which stays: ours: first in corpus order; or newest by `date`, longest, best by `score`; ties: the first
    score: str = ""  # column of which the highest value stays, for `best`

    @property
    def reads(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(c for c in (*self.compares, *keepers.reads(self.keeper, self.score)) if c not in ("id", "text")))

    @property
    @abstractmethod
    def compares(self) -> tuple[str, ...]:
        """The columns that decide who is equal to whom."""

    @abstractmethod
    def hashes(self, batch: Batch) -> tuple[Array, Array, Array]:
        """The rows that are compared at all, and two uint64 for each."""

    def check(self) -> None:
        keepers.check(self.keeper, self.score)

    def emit(self, batch: Batch) -> pa.RecordBatch:
        row, key, check = self.hashes(batch)
        key = np.maximum(key, _NONE + np.uint64(1))
        if absent := len(batch) - len(row):
            row, key, check = np.append(0, row), np.append(_NONE, key), np.append(np.uint64(absent), check)
        ids = batch["id"].cast(pa.string())
        columns = {"key": key, "check": check, "row": row, "id": ids.take(pa.array(row)) if absent else ids}
        rank = keepers.ranks(batch, self.keeper, self.score)
        return pa.record_batch(columns if rank is None else {**columns, "rank": rank[row]})

    def reduce(self, keys: pa.Table) -> pa.Table:
        """A row for each document that goes, with the address of the one that stays. In place of an address the others say what they count;
        one names each document that stays, so that its id is held once and not for each of its copies.
        """
        absent, keys = _without(keys)
        pieces = keys.to_batches() or [pa.RecordBatch.from_pylist([], schema=keys.schema)]
        alike = len(pieces) > 1  # only where all have the same key
        stay = pa.concat_batches([_best(piece, alike=alike) for piece in pieces])
        if alike:
            stay = _best(stay, alike=True)
        counts = {_COMPARED: len(keys), _ABSENT: absent}
        if self.keeper in ("newest", "best"):
            counts[_LACKING] = sum(keepers.lacking(piece["rank"].to_numpy(), self.keeper) for piece in pieces)
        out = [
            _rows(np.array(list(counts)), np.array(list(counts.values()))),
            _rows(np.full(len(stay), _STAYS), stay["doc"].to_numpy(), stay["id"]),
            *(_gone(piece, stay, alike=alike) for piece in pieces),
        ]
        return pa.Table.from_batches(out)

    def settle(self, reduced: pa.Table) -> pa.Table:
        doc, kept = reduced["doc"].to_numpy(), reduced["kept"].to_numpy()
        compared, lacking, absent = (int(kept[doc == kind].sum()) for kind in (_COMPARED, _LACKING, _ABSENT))
        named, gone = np.flatnonzero(doc == _STAYS), doc >= 0
        named = named[np.argsort(kept[named])]
        ids = reduced["kept_id"].take(pa.array(named)).combine_chunks()
        index = np.searchsorted(kept[named], kept[gone]).astype(np.int32)
        columns = {"doc": doc[gone], "kept": kept[gone], "kept_id": pa.DictionaryArray.from_arrays(pa.array(index), ids)}
        removed = len(index)
        says = [f"{compared:,} documents compared: {compared - removed:,} stay, {removed:,} go"] if compared else []
        warns = keepers.warned(lacking, compared, self.keeper, self.score)
        if absent:
            what = " and ".join(self.compares)
            if compared:
                says.append(f"{absent:,} more have no {what}, are compared with none, and stay")
            else:
                warns.append(f"none of {absent:,} documents has a {what}: nothing is compared")
        facts = {"compared": compared, "unique": compared - removed, "removed": removed, "absent": absent}
        return with_facts(pa.table(columns), says=says, warns=warns, **facts, **keepers.counted(lacking, self.keeper))

    def apply(self, batch: Batch, verdict: pa.Table) -> Checks:
        return {"duplicate": dropped(batch, verdict)}


def _without(keys: pa.Table) -> tuple[int, pa.Table]:
    """(how many documents have nothing to compare, the rows of the others)."""
    if not len(keys) or keys["key"][0].as_py() != _NONE:
        return 0, keys
    rows = int(np.searchsorted(keys["key"].to_numpy(), _NONE, side="right"))
    return int(keys["check"].slice(0, rows).to_numpy().sum()), keys.slice(rows)


def _order(rows: pa.RecordBatch, *, alike: bool) -> tuple[Array, Array]:
    """(the rows that share a key in order of key and check, the best of each kind first; whether each is the first of its kind).

    Rows come in order of key. If they are `alike`, all have one key, and others of it may be elsewhere: then all are in the order.
    """
    key, check, doc = (rows[c].to_numpy() for c in ("key", "check", "doc"))
    order = np.arange(len(key))
    if not alike:
        shared = np.zeros(len(key), np.bool_)
        shared[1:] = key[1:] == key[:-1]
        shared[:-1] |= shared[1:]
        order = np.flatnonzero(shared)
    rank = [rows["rank"].to_numpy()[order]] if "rank" in rows.schema.names else []
    order = order[np.lexsort((doc[order], *rank, check[order], key[order]))]
    first = np.ones(len(order), np.bool_)
    first[1:] = (key[order][1:] != key[order][:-1]) | (check[order][1:] != check[order][:-1])
    return order, first


def _best(rows: pa.RecordBatch, *, alike: bool) -> pa.RecordBatch:
    order, first = _order(rows, alike=alike)
    return rows.take(pa.array(order[first]))


def _gone(rows: pa.RecordBatch, stay: pa.RecordBatch, *, alike: bool) -> pa.RecordBatch:
    """The rows that are of one kind with one of those that stay, and are not it."""
    order, first = _order(rows, alike=alike)
    kind = np.searchsorted(stay["check"].to_numpy(), rows["check"].to_numpy()[order]) if alike else np.cumsum(first) - 1
    doc, kept = rows["doc"].to_numpy()[order], stay["doc"].to_numpy()[kind]
    gone = doc != kept
    return _rows(doc[gone], kept[gone])


def _rows(doc: Array, kept: Array, ids: pa.Array | None = None) -> pa.RecordBatch:
    ids = pa.nulls(len(doc), pa.large_string()) if ids is None else ids.cast(pa.large_string())
    return pa.record_batch({"doc": doc, "kept": kept, "kept_id": ids})


def dropped(batch: Batch, verdict: pa.Table) -> Check:
    """The check of a verdict that lists the documents to drop (`row`) and what is kept in their stead (`kept`, `kept_id`)."""
    row = verdict["row"].to_numpy()
    kept, at = np.full(len(batch), -1, np.int64), np.full(len(batch), -1, np.int64)
    kept[row], at[row] = verdict["kept"].to_numpy(), np.arange(len(row))
    ids = verdict["kept_id"].take(pa.array(at, mask=at < 0)).cast(pa.string()).combine_chunks()
    return Check(kept < 0, kept=kept, kept_id=ids)
