"""Semantic deduplication: speed of each step against its peers, and what an epsilon means on real text; see README.md.

`python benchmarks/semantic.py [part ...]`, parts: kmeans pairs crowded embed curve. `--peers PYTHON`, one that has faiss-cpu and
scikit-learn, for kmeans; `--model FOLDER`, an encoder, and `--corpus FOLDER`, of text, for the last two. One thread on every side.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from engine import WORK

from classifiers import cosine
from classifiers.encoder import Embed
from classifiers.semantic import FILE, KMeans, k_means
from curate.batch import Array, Batch
from curate.exchange import KeysWriter, Reduce
from curate.stage import FACTS, Model, Totals
from stages.dedup.semantic import SemDeDup

ONE = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}  # threads
DIM = 384  # of all-MiniLM-L6-v2 and multilingual-e5-small
ROUNDS = 3
SHOWN = (0.05, 0.1)  # epsilons around which pairs are printed
PEER = """
import sys, time, numpy as np
X, k, which = np.load(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
if which == "faiss":
    import faiss
    faiss.omp_set_num_threads(1)
    made = faiss.Kmeans(X.shape[1], k, niter=20, seed=1234, spherical=True, max_points_per_centroid=10**9)
    began = time.perf_counter(); made.train(X); found = made.centroids
else:
    from sklearn.cluster import KMeans
    made = KMeans(k, init="random" if which == "scikit-learn" else "k-means++", n_init=1, max_iter=20, tol=0, random_state=0)
    began = time.perf_counter(); found = made.fit(X).cluster_centers_
print(time.perf_counter() - began)
np.save(sys.argv[4], found)
"""


def made(count: int, groups: int, seed: int = 0) -> Array:
    """Unit vectors in groups of very different sizes, in no order."""
    rng = np.random.default_rng(seed)
    weights = np.arange(1, groups + 1) ** -0.7
    centres = rng.standard_normal((groups, DIM)) / DIM**0.5
    vectors = (centres[rng.choice(groups, count, p=weights / weights.sum())] + rng.standard_normal((count, DIM)) * 0.045).astype(np.float32)
    cosine.normalise(vectors)
    return vectors


def timed(work: Callable[[], Any]) -> float:
    """Seconds."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def kmeans(peers: str | None, count: int = 50_000, clusters: int = 500) -> None:
    """Twenty iterations of each."""
    vectors = made(count, 2 * clusters)
    k_means(vectors[:500], 5, 2)

    def objective(centroids: Array) -> float:
        units = (centroids / np.linalg.norm(centroids, axis=1)[:, None]).astype(np.float32)
        return float(np.mean([(vectors[at : at + 5000] @ units.T).max(1).mean() for at in range(0, count, 5000)]))

    print(f"k-means: {count:,} x {DIM}, {clusters} clusters, 20 iterations, one thread")
    for _ in range(ROUNDS):
        began = time.perf_counter()
        found = k_means(vectors, clusters, 20).centroids
        print(f"  ours              {time.perf_counter() - began:6.1f} s   objective {objective(found):.5f}   {digest(found)}")
        with tempfile.TemporaryDirectory() as folder:
            np.save(f"{folder}/x.npy", vectors)
            for which in ("faiss", "scikit-learn", "scikit-learn++") if peers else ():
                command = [peers, "-c", PEER, f"{folder}/x.npy", str(clusters), which, f"{folder}/out.npy"]
                seconds = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)  # type: ignore[arg-type]
                found = np.load(f"{folder}/out.npy")
                print(f"  {which:<17} {seconds:6.1f} s   objective {objective(found):.5f}   {digest(found)}")


def digest(array: Array) -> str:
    """Whether two runs gave the same."""
    return hashlib.sha256(np.ascontiguousarray(array)).hexdigest()[:8]


def table(keys: pa.RecordBatch) -> pa.Table:
    """Keys as a reducer gets them."""
    whole = pa.Table.from_batches([keys.rename_columns(["doc" if n == "row" else n for n in keys.schema.names])])
    return whole.sort_by([("key", "ascending"), ("doc", "ascending")]).combine_chunks()


def batch_of(vectors: Array) -> Batch:
    """Documents without text."""
    lists = pa.FixedSizeListArray.from_arrays(pa.array(vectors.astype(np.float16).reshape(-1)), vectors.shape[1])
    ids = [f"web/{n}" for n in range(len(vectors))]
    return Batch.of(pa.record_batch({"id": ids, "text": pa.array([""] * len(ids), pa.large_string()), "embedding": lists}))


def plain(vectors: Array, at: Array) -> int:
    """How many go, by matrix products: a triangle of all similarities of each cluster, in some order."""
    gone = 0
    for cluster in np.unique(at):
        own = vectors[at == cluster]
        gone += int((np.triu(own @ own.T, 1).max(0) > 0.95).sum())
    return gone


def pairs(count: int = 100_000) -> None:
    """From embeddings to a verdict, against matrix products by BLAS."""
    vectors = made(count, 2000, 1)
    vectors[count // 2 : count // 2 + count // 10] = vectors[: count // 10]
    clusters = KMeans().clusters(count)
    found = k_means(vectors[:20_000], clusters, 5)
    print(f"deduplication: {count:,} x {DIM}, {clusters} clusters, one core")
    with tempfile.TemporaryDirectory() as folder:
        np.save(f"{folder}/{FILE}", found.centroids)
        stage, batch = SemDeDup(Model(folder)), batch_of(vectors)
        keys = table(stage.emit(batch))
        key = keys["key"].to_numpy()
        sizes = np.unique(key, return_counts=True)[1]
        stage.reduce(keys.slice(0, int(sizes[0])))
        emit = statistics.median(timed(lambda: stage.emit(batch)) for _ in range(ROUNDS))
        at = keys.sort_by("doc")["key"].to_numpy()
        found_in = [(timed(lambda: stage.reduce(keys)), timed(lambda: plain(vectors, at))) for _ in range(ROUNDS)]
    products = float((sizes.astype(np.float64) ** 2).sum()) * DIM
    ours, blas = (statistics.median(seconds) for seconds in zip(*found_in, strict=True))
    print(f"  clusters of {sizes.min():,} to {sizes.max():,} documents")
    print(f"  emit, with the nearest centroid: {count / emit:,.0f} documents a second")
    print(f"  reduce: {count / ours:,.0f} documents a second, {products / ours / 1e9:.0f} GFLOP/s")
    print(f"  by BLAS, a whole matrix for each cluster: {count / blas:,.0f} documents a second: ours is {blas / ours:.2f} times as fast")


def crowded(count: int = 400_000) -> None:
    """All documents in one cluster, in a process of its own."""
    command = [sys.executable, __file__, "--crowd", str(count)]
    print(f"one cluster of {count:,} x {DIM}:", subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip())


def crowd(count: int) -> None:
    """Writes the keys, block by block, and reduces them; what it has held at most."""
    with tempfile.TemporaryDirectory() as folder:
        np.save(f"{folder}/{FILE}", np.ones((1, DIM), np.float32))
        stage = SemDeDup(Model(folder))
        writer = KeysWriter(stage, f"{folder}/keys.arrow", 1)
        for block in range(count // 20_000):
            writer.add(stage.emit(batch_of(made(20_000, 2000, block // 2))), block * 20_000)  # each block twice
        writer.close()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
        seconds = timed(lambda: Reduce(stage, (((0, f"{folder}/keys.arrow"),),), 1, folder)((0, 0)))
        with pa.OSFile(f"{folder}/00000-0000000.arrow") as file:
            verdict = stage.settle(pa.ipc.open_file(file).read_all())
        facts = json.loads(verdict.schema.metadata[FACTS])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    print(f"{seconds:.0f} s, {peak:,.0f} MB at most ({before:,.0f} before; mapped files count)")
    print(f"  {facts['pieces']} pieces, {facts['copies']:,} copies")


def texts_of(corpus: str, documents: int) -> list[str]:
    """Real documents, drawn by a seed."""
    from planted import originals

    found = ["".join(chunks) for chunks in originals(Path(corpus))]
    random.Random(0).shuffle(found)
    return found[:documents]


def embeddings(texts: list[str], model: str) -> Array:
    """float32[document, number]; made once for the same texts and model."""
    name = hashlib.sha256(json.dumps([texts, model]).encode()).hexdigest()[:12]
    path = WORK / f"semantic-{name}.npy"
    if not path.exists():
        stage = Embed(Model(model), precision="float32")
        parts = []
        for low in range(0, len(texts), 100):
            part = texts[low : low + 100]
            data = {"id": [str(n) for n in range(len(part))], "text": pa.array(part, pa.large_string())}
            parts.append(stage.apply(Batch.of(pa.record_batch(data)))["embedding"].flatten().to_numpy().reshape(len(part), -1))
            print(f"\r  {low + len(part):,} embedded", end="", file=sys.stderr, flush=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, np.concatenate(parts))
    found: Array = np.load(path)
    return found


def embed(model: str, corpus: str) -> None:
    """One document by itself on one core, against batches padded to the longest."""
    import torch

    texts = texts_of(corpus, 150)
    batch = Batch.of(pa.record_batch({"id": [str(n) for n in range(len(texts))], "text": pa.array(texts, pa.large_string())}))
    print(f"embedding {len(texts)} documents of {np.mean([len(t) for t in texts]):,.0f} characters, one core")
    for name, stage in {
        "one by one": Embed(Model(model)),
        "batches of 2,048 tokens": Embed(Model(model), batch_tokens=2048),
        "one by one, bfloat16": Embed(Model(model), dtype="bfloat16"),
    }.items():
        stage.apply(batch.where(np.arange(len(texts)) < 3))
        seconds = [timed(lambda stage=stage: stage.apply(batch)) for _ in range(ROUNDS)]  # type: ignore[misc]
        print(f"  {name:<24} {len(texts) / min(seconds):6.1f} documents a second")
    tokens = statistics.mean(len(ids) for ids in stage._tokens(batch.text))
    print(f"  {tokens:.0f} tokens a document; torch {torch.__version__}")


def curve(model: str, corpus: str, documents: int, shown: int) -> None:
    """What each epsilon would remove, and pairs around some."""
    texts = texts_of(corpus, documents)
    vectors = embeddings(texts, model)
    batch = batch_of(vectors)
    with tempfile.TemporaryDirectory() as folder:
        trainer = KMeans()
        card = trainer.train({"documents": [trainer.select(batch, "documents", Totals(len(texts), 0))]}, folder)
        print(f"{len(texts):,} documents, {card['k']} clusters {card['sizes']}, objective {card['objective']:.3f}")
        stage = SemDeDup(Model(folder), epsilon=1.0)
        verdict = stage.settle(stage.reduce(table(stage.emit(batch))))
    facts = json.loads(verdict.schema.metadata[FACTS])
    for point in facts["curve"]:
        if point["epsilon"] in (0.0, 0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.04) or round(point["epsilon"] * 1000) % 50 == 0:
            share = point["removed"] / len(texts)
            print(f"  epsilon {point['epsilon']:<6g} {point['removed']:6,}  {share:6.1%}  {'#' * round(60 * share)}")
    rows = verdict.to_pydict()
    for epsilon in SHOWN:
        nearest = np.argsort(np.abs(np.array(rows["similarity"]) - (1 - epsilon)), kind="stable")[:shown]
        for n in nearest.tolist():
            one, other = texts[rows["doc"][n]], texts[rows["kept"][n]]
            print(f"\n--- epsilon {epsilon:g}: cosine {rows['similarity'][n]:.4f}, {len(one):,} and {len(other):,} characters")
            print(f"[1] {' '.join(one[:500].split())}\n[2] {' '.join(other[:500].split())}")


if __name__ == "__main__":
    if not ONE.items() <= os.environ.items():
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | ONE)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", default=["kmeans", "pairs"])
    parser.add_argument("--peers")
    parser.add_argument("--model")
    parser.add_argument("--corpus")
    parser.add_argument("--documents", type=int, default=3000)
    parser.add_argument("--pairs", type=int, default=0)
    parser.add_argument("--crowd", type=int)
    given = parser.parse_args()
    if given.crowd:
        crowd(given.crowd)
        sys.exit()
    if {"embed", "curve"} & set(given.parts) and not (given.model and given.corpus):
        sys.exit("embed and curve need --model and --corpus")
    for part in given.parts:
        if part == "kmeans":
            kmeans(given.peers)
        elif part == "pairs":
            pairs()
        elif part == "crowded":
            crowded()
        elif part == "embed":
            embed(given.model, given.corpus)
        elif part == "curve":
            curve(given.model, given.corpus, given.documents, given.pairs)
        else:
            sys.exit(f"{part}: parts are kmeans, pairs, crowded, embed, curve")
