"""Connected components of documents that are linked, in bounded memory, the same however the links come.

A component is named by its first document. While nine bytes for each document of the corpus fit into `memory`, it is union-find (Tarjan
1975, with path halving); beyond, rounds of large and small stars (Kiveris et al. 2014, "Connected Components in MapReduce and Beyond")
over links in temporary files, each file holding the links of a share of the documents, of which only the least neighbour of each is in
memory.
Cost, of ten million documents of which three million are linked: 4.5 s and 0.9 GB in memory, two minutes and 0.7 GB in files.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from typing import Any, BinaryIO, cast

import numpy as np
import pyarrow as pa
from numba import njit

from curate.kernels.text import mix

Array = np.ndarray[Any, Any]
Links = Callable[[], Iterable[tuple[Array, Array]]]  # the same chunks every time: int64 addresses of documents, of the same length

BYTES = 9  # for each document of the corpus, in memory: its parent, and whether it has a link
LINKED_BYTES = 40  # for each linked document, of those in one file, while its least neighbour is found
FILES = (8, 256)  # of links, at least and at most: a process may have some thousand open
CHUNK = 1 << 20  # links read at once from a temporary file
SAMPLED = 1 << 16  # documents by which the result is cut for sorting
SHARD_BITS = 32  # an address is shard << 32 | row


def components(links: Links, memory: float) -> pa.Table:
    """(doc, first): int64, each document that has a link, in order, and the first of its component."""
    begins = _begins(links())
    return _in_memory(links(), begins) if int(begins[-1]) * BYTES <= memory else _on_disk(links(), memory)


def _begins(links: Iterable[tuple[Array, Array]]) -> Array:
    """int64[shards + 1]: the number of the first document of each shard, if those up to the last linked one are numbered through."""
    rows = np.zeros(1, np.int64)
    for pair in links:
        for docs in pair:
            if len(docs):
                shard = docs >> SHARD_BITS
                if int(shard.max()) >= len(rows):
                    rows = np.append(rows, np.zeros(int(shard.max()) + 1 - len(rows), np.int64))
                np.maximum.at(rows, shard, (docs & ((1 << SHARD_BITS) - 1)) + 1)
    return np.concatenate(([0], np.cumsum(rows)))


def _in_memory(links: Iterable[tuple[Array, Array]], begins: Array) -> pa.Table:
    count = int(begins[-1])
    parent = np.arange(count, dtype=np.int32 if count < 2**31 else np.int64)
    linked = np.zeros(count, np.bool_)
    for pair in links:
        a, b = (begins[docs >> SHARD_BITS] + (docs & ((1 << SHARD_BITS) - 1)) for docs in pair)
        unite(parent, a, b)
        linked[a] = linked[b] = True
    numbers = np.flatnonzero(linked)
    del linked
    return pa.table({"doc": _addresses(numbers, begins), "first": _addresses(flatten(parent)[numbers], begins)})


def _addresses(numbers: Array, begins: Array) -> Array:
    shard = np.searchsorted(begins, numbers, side="right") - 1
    out: Array = (shard << SHARD_BITS) | (numbers - begins[shard])
    return out


@njit(cache=True, inline="always")
def _root(parent, n):
    while parent[n] != n:
        parent[n] = parent[parent[n]]
        n = parent[n]
    return n


@njit(cache=True)
def unite(parent, a, b):
    """Join the components of each pair, under the lower number."""
    for k in range(len(a)):
        x, y = _root(parent, a[k]), _root(parent, b[k])
        if x < y:
            parent[y] = x
        elif y < x:
            parent[x] = y


@njit(cache=True)
def flatten(parent):
    """The lowest number of each component, for each of its members; `parent` itself, for which no parent is higher than its child."""
    for n in range(len(parent)):
        parent[n] = parent[parent[n]]
    return parent


class _Scattered:
    """Pairs in temporary files, by a hash of the first or by ranges of it."""

    def __init__(self, scratch: ExitStack, parts: int, cuts: Array | None = None) -> None:
        self._files = [cast(BinaryIO, scratch.enter_context(tempfile.TemporaryFile())) for _ in range(parts)]  # noqa: SIM115
        self._cuts = cuts

    def add(self, a: Array, b: Array) -> None:
        part = _spread(a, len(self._files)) if self._cuts is None else np.searchsorted(self._cuts, a, side="right")
        order = np.argsort(part, kind="stable")
        ends = np.searchsorted(part[order], np.arange(len(self._files) + 1))
        pairs = np.stack([a, b], 1)[order]
        for n, file in enumerate(self._files):
            if ends[n + 1] > ends[n]:
                file.write(pairs[ends[n] : ends[n + 1]].tobytes())

    def chunks(self, part: int) -> Iterator[tuple[Array, Array]]:
        file = self._files[part]
        file.seek(0)
        while data := file.read(16 * CHUNK):
            pairs = np.frombuffer(data, np.int64).reshape(-1, 2)
            yield _distinct(pairs[:, 0], pairs[:, 1])

    def __len__(self) -> int:
        return len(self._files)

    def close(self) -> None:
        for file in self._files:
            file.close()


def _distinct(a: Array, b: Array) -> tuple[Array, Array]:
    """Each pair once, in order."""
    order = np.lexsort((b, a))
    a, b = a[order], b[order]
    new = np.ones(len(a), np.bool_)
    new[1:] = (a[1:] != a[:-1]) | (b[1:] != b[:-1])
    return a[new], b[new]


@njit(cache=True)
def _spread(docs, parts):
    out = np.empty(len(docs), np.int64)
    for k in range(len(docs)):
        out[k] = np.int64(mix(np.uint64(docs[k])) % np.uint64(parts))
    return out


def _on_disk(links: Iterable[tuple[Array, Array]], memory: float) -> pa.Table:
    with ExitStack() as scratch:
        sample, count = np.empty(0, np.int64), 0
        given = _Scattered(scratch, 1)
        for a, b in links:
            given.add(a, b)
            count += len(a)
            sample = np.concatenate([sample, a[:: max(1, len(a) // 1024)]])
            sample = sample if len(sample) <= SAMPLED else np.sort(sample)[::2]
        parts = min(max(FILES[0], int(2 * count * LINKED_BYTES / memory)), FILES[1])  # there are at most twice as many documents as links
        edges = _Scattered(scratch, parts)
        for a, b in given.chunks(0):
            _both(edges, a, b)
        given.close()
        changed = True
        while changed:
            stars = _Scattered(scratch, parts)
            changed = _large_stars(edges, stars)
            edges.close()
            edges = _Scattered(scratch, parts)
            changed |= _small_stars(stars, edges)
            stars.close()
        cuts = np.unique(np.sort(sample)[:: max(1, len(sample) // parts)])
        final = _Scattered(scratch, len(cuts) + 1, cuts)
        for part in range(len(edges)):
            for a, b in edges.chunks(part):
                child = a > b
                final.add(a[child], b[child])
                final.add(b[child], b[child])
        return _sorted(final)


def _both(out: _Scattered, a: Array, b: Array) -> None:
    apart = a != b
    out.add(a[apart], b[apart])
    out.add(b[apart], a[apart])


def _least(pairs: _Scattered, part: int) -> tuple[Array, Array]:
    """The documents of one file in order, and the least neighbour of each."""
    docs, least = np.empty(0, np.int64), np.empty(0, np.int64)
    for a, b in pairs.chunks(part):
        docs, at = np.unique(np.concatenate([docs, a]), return_inverse=True)
        found = np.full(len(docs), np.iinfo(np.int64).max)
        np.minimum.at(found, at, np.concatenate([least, b]))
        least = found
    return docs, least


def _large_stars(edges: _Scattered, out: _Scattered) -> bool:
    """Each document hands the least of its neighbours and itself to its higher neighbours. Whether that changed anything."""
    changed = False
    for part in range(len(edges)):
        docs, least = _least(edges, part)
        for a, b in edges.chunks(part):
            a, b = a[b > a], b[b > a]
            to = np.minimum(least[np.searchsorted(docs, a)], a)
            changed |= bool((to != a).any())
            out.add(b, to)
    return changed


def _small_stars(stars: _Scattered, out: _Scattered) -> bool:
    """Each document hands the least of its neighbours to the lower ones among them and to itself. Whether that changed anything."""
    changed = False
    for part in range(len(stars)):
        docs, least = _least(stars, part)
        _both(out, docs, least)
        for a, b in stars.chunks(part):
            to = least[np.searchsorted(docs, a)]
            changed |= bool((to != b).any())
            _both(out, b, to)
    return changed


def _sorted(pairs: _Scattered) -> pa.Table:
    """As one table that is mapped from a temporary file, a record batch for each range."""
    schema = pa.schema({"doc": pa.int64(), "first": pa.int64()})
    with tempfile.TemporaryDirectory(prefix="curate-") as folder:
        path = f"{folder}/components.arrow"
        with pa.ipc.new_file(path, schema) as out:
            for part in range(len(pairs)):
                found = list(pairs.chunks(part))
                if found:
                    doc, first = _distinct(*(np.concatenate(column) for column in zip(*found, strict=True)))
                    out.write_batch(pa.record_batch({"doc": doc, "first": first}))
        return pa.ipc.open_file(pa.memory_map(path)).read_all()  # the map outlives the name
