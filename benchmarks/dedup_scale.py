"""MinHash's barrier at scale, without text: `python benchmarks/dedup_scale.py [--documents 10e6] [--bucket 1e6]`; see README.md.

Synthetic documents of 14 bands, three tenths of them in clusters, go through reduce and settle of both rounds in one process; of what
travels in the second round, shingles are as many as given. Then the adversarial case: one band that a million documents share.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from engine import WORK

from curate.exchange import KeysWriter, Reduce, Settle, open_arrow, reduced_name, verdict_name
from curate.runner import pin_threads
from stages.dedup.minhash import MinHash, _mixed
from stages.dedup.verified import Verified

SHARD = 100_000  # documents
BANDS = 14
MEMBERS = 4  # of a cluster


def peak() -> float:
    """MB of this process at its highest."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) / 1e3


def apart(what: str, work: Callable[[], Any], documents: float) -> None:
    """In a process of its own, whose peak is its own."""
    began = time.perf_counter()
    pid = os.fork()
    if pid == 0:
        before = peak()
        work()
        seconds = time.perf_counter() - began
        rate = f"{seconds:.1f} s, {seconds / documents * 1e6:.2f} s a million documents"
        print(f"  {what}: {rate}; peak {peak():,.0f} MB, {before:,.0f} before")
        sys.stdout.flush()
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    if status:
        sys.exit(f"{what} failed")


def band_keys(first: int, count: int, clusters: int) -> np.ndarray:
    """uint64[count, BANDS]: of a cluster's members two bands in three are the same; clusters lie far apart in the corpus."""
    doc = np.arange(first, first + count, dtype=np.uint64)
    cluster = doc % np.uint64(clusters) if clusters else doc
    clustered = (doc // np.uint64(max(clusters, 1))) < MEMBERS if clusters else np.zeros(count, np.bool_)
    out = np.empty((count, BANDS), np.uint64)
    for band in range(BANDS):
        own = _mixed(doc * np.uint64(64) + np.uint64(band))
        shared = _mixed(cluster * np.uint64(64) + np.uint64(band) + np.uint64(1 << 62))
        out[:, band] = np.where(clustered & (own % np.uint64(3) > 0), shared, own)
    return np.maximum(out, np.uint64(1 << 57))


def write_keys(stage: MinHash, home: Path, documents: int, partitions: int, keys: Callable[[int, int], np.ndarray]) -> list[str]:
    paths = []
    for number, first in enumerate(range(0, documents, SHARD)):
        count = min(SHARD, documents - first)
        paths.append(str(home / f"keys-{number:05d}"))
        writer = KeysWriter(stage, paths[-1], partitions)
        found = keys(first, count)
        writer.add(pa.record_batch({"key": found.reshape(-1), "row": np.repeat(np.arange(count), found.shape[1])}), 0)
        writer.close()
    return paths


def second_keys(
    stage: Verified, home: Path, paths: int, partitions: int, shingles: int, keys: Callable[[int, int], np.ndarray]
) -> list[str]:
    """What the second round emits of the documents of the verdict."""
    out = []
    for number in range(paths):
        with open_arrow(str(home / verdict_name(0))) as reader:
            verdict = reader.get_batch(number)
        rows = verdict["doc"].to_numpy() - (number << 32)
        path = str(home / f"again-{number:05d}")
        writer = KeysWriter(stage, path, partitions)
        for low in range(0, max(len(rows), 1), 5000):
            writer.add(
                pa.record_batch(dict(_again(rows[low : low + 5000], verdict["key"].to_numpy()[low : low + 5000], number, shingles, keys))),
                0,
            )
        writer.close()
        out.append(path)
    return out


def _again(
    rows: np.ndarray, key: np.ndarray, number: int, shingles: int, keys: Callable[[int, int], np.ndarray]
) -> Iterator[tuple[str, Any]]:
    bands = keys(number * SHARD, SHARD)[rows] if len(rows) else np.empty((0, BANDS), np.uint64)
    seeds = _mixed(key)  # of one component: nearly the same shingles
    sets = ((seeds[:, None] >> np.uint64(40)) + np.arange(shingles, dtype=np.uint64) * np.uint64(1 << 20)).astype(np.uint32)
    own = (rows % 10).astype(np.uint32)
    sets[:, ::11] += own[:, None]
    sets.sort(axis=1)
    width = bands.shape[1]
    yield "key", key
    yield "row", rows
    yield "id", [f"web/{number:05d}.warc.wet.gz:{r}" for r in rows.tolist()]
    yield "bands", pa.ListArray.from_arrays(pa.array(np.arange(len(rows) + 1) * width, pa.int32()), pa.array(bands.reshape(-1)))
    yield "whole", _mixed(rows.astype(np.uint64) + np.uint64(number << 32))
    yield "shingles", pa.ListArray.from_arrays(pa.array(np.arange(len(rows) + 1) * shingles, pa.int32()), pa.array(sets.reshape(-1)))
    yield "draw", np.zeros(len(rows), np.uint64)


def rounds(what: str, home: Path, documents: int, shingles: int, keys: Callable[[int, int], np.ndarray]) -> None:
    """Both rounds, each step in a process of its own."""
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    stage = MinHash(sample=0)
    partitions = max(1, documents // 300_000)  # about 1 GB of text each
    print(f"{what}: {documents:,} documents, {partitions} partitions")
    shards = -(-documents // SHARD)
    apart("write keys", lambda: write_keys(stage, home, documents, partitions, keys), documents)
    paths = [str(home / f"keys-{n:05d}") for n in range(shards)]
    size = sum(os.path.getsize(p) for p in paths)
    print(f"    {size / documents:.0f} bytes a document")

    def reduced(round_: Any, files: list[str], folder: str) -> None:
        reduce = Reduce(round_, (tuple(enumerate(files)),), partitions, str(home / folder))
        for part in range(partitions):
            reduce((0, part))

    apart("reduce", lambda: reduced(stage, paths, "reduced"), documents)
    apart("settle", lambda: Settle(stage, str(home / "reduced"), shards, str(home))(0), documents)
    bounded = MinHash(sample=0, memory=2e7)
    (home / "small").mkdir()
    apart("settle, in 20 MB and files", lambda: Settle(bounded, str(home / "reduced"), shards, str(home / "small"))(0), documents)
    same = all(a.equals(b) for a, b in zip(verdict(home), verdict(home / "small"), strict=True))
    print(f"    equal: {same}")
    second = Verified(stage)
    apart("write keys of the second round", lambda: second_keys(second, home, shards, partitions, shingles, keys), documents)
    again = [str(home / f"again-{n:05d}") for n in range(shards)]
    print(f"    {sum(os.path.getsize(p) for p in again) / documents:.0f} bytes a document, {shingles} shingles each of those in components")
    apart("reduce", lambda: reduced(second, again, "reduced-again"), documents)
    (home / "second").mkdir()
    apart("settle", lambda: Settle(second, str(home / "reduced-again"), shards, str(home / "second"))(0), documents)
    gone = sum(len(batch) for batch in verdict(home / "second"))
    print(f"    {gone:,} documents go; {len(os.listdir(home / 'reduced'))} of {partitions} partitions, {reduced_name(0, 0)} and on")
    shutil.rmtree(home)


def verdict(home: Path) -> Iterator[pa.RecordBatch]:
    with open_arrow(str(home / verdict_name(0))) as reader:
        for n in range(reader.num_record_batches):
            yield reader.get_batch(n)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--documents", type=float, default=10e6)
    parser.add_argument("--bucket", type=float, default=1e6)
    parser.add_argument("--shingles", type=int, default=300)
    options = parser.parse_args()
    pin_threads()
    documents, bucket = int(options.documents), int(options.bucket)
    clusters = documents * 3 // 10 // MEMBERS
    if documents:
        rounds("clusters of four", WORK / "scale", documents, options.shingles, lambda first, count: band_keys(first, count, clusters))

    def template(first: int, count: int) -> np.ndarray:
        keys = band_keys(first, count, 0)
        keys[:, 0] = np.uint64(1 << 63)
        return keys

    if bucket:
        rounds("one band that all share", WORK / "bucket", bucket, options.shingles, template)


if __name__ == "__main__":
    main()
