"""The deduplications that `dedup.py` compares, each a process of its own: how it is called, and how to read what it says.

A peer runs in its own virtual environment under `.peers`, by a script beside this one or by its own command, with settings as near to
14 bands of 8 rows over five words as it has them.
"""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq
import yaml
from engine import CURATE, PEER_PACKAGES, PEERS, ROOT
from planted import Planted
from similar import SIMILAR, Result

WORKERS = 2
BANDS, ROWS = 14, 8  # everywhere
SHARD = 10e6  # bytes of input: a file of the planted corpus, which is a task of datatrove's
LSH = (1 / BANDS) ** (1 / ROWS)  # where half of a band's chance is: the threshold of those that verify nothing
_HUGGING_FACE = ["datasets==5.2.0", "numpy==2.4.6", "pyarrow==26.0.1", "xxhash<4", "scipy", "rich", "regex", "tqdm"]
ENVIRONMENTS = {
    "datatrove": (PEERS, [*PEER_PACKAGES, "tokenizers"]),
    "rensa": (PEERS / "rensa", ["rensa==0.5.0", "pyarrow==26.0.1"]),
    "gaoya": (PEERS / "gaoya", ["gaoya==0.2.2", "pyarrow==26.0.1"]),
    "daft": (PEERS / "daft", ["daft==0.7.26", "pyarrow==25.0.1", "numpy==2.4.6"]),
    "text-dedup": (PEERS / "text-dedup", [*_HUGGING_FACE, "click<9", "click-option-group<0.6", "fire<0.7", "ftfy", "bitarray", "psutil"]),
}
ALONE = {"text-dedup": "text-dedup==0.4.0"}  # installed without what it asks for: Spark, TensorFlow and an older urllib3, for other scripts


@dataclass(frozen=True)
class System:
    """A deduplication that is run as a process of its own, in its folder OUT."""

    name: str
    command: Callable[[Path, Path], list[str]]  # of (folder of Parquet files, OUT)
    clusters: Callable[[Planted, Path], dict[str, Any]] | None = None  # id -> cluster, of documents in clusters
    own: float = SIMILAR  # threshold at which it sets out to remove
    environment: str = ""  # in ENVIRONMENTS, of a peer


def peer(script: str, environment: str, *more: str) -> Callable[[Path, Path], list[str]]:
    """A script beside this one, in its own environment."""
    python = str(ENVIRONMENTS[environment][0] / "bin" / "python")
    return lambda documents, out: [python, str(ROOT / "benchmarks" / script), str(documents), str(out), str(WORKERS), *more]


def text_dedup(documents: Path, out: Path) -> list[str]:
    """Its command at its fastest: xxh3 and 32 bits."""
    python = str(ENVIRONMENTS["text-dedup"][0] / "bin" / "python")
    options: dict[str, Any] = {"path": "parquet", "data_files": f"{documents}/*.parquet", "split": "train", "cache_dir": out / "cache"}
    options |= {"output": out / "documents", "column": "text", "idx_column": "id", "num_perm": BANDS * ROWS, "b": BANDS, "r": ROWS}
    options |= {"ngram": 5, "hash_func": "xxh3", "hash_bits": 32, "num_proc": WORKERS}
    flat = [part for name, value in options.items() for part in (f"--{name}", str(value))]
    return [python, "-m", "text_dedup.minhash", *flat, "--debug"]


def ours(*options: str) -> Callable[[Path, Path], list[str]]:
    """`curate run` of a recipe of two stages."""

    def command(documents: Path, out: Path) -> list[str]:
        out.mkdir(parents=True)
        recipe = out / "recipe-given.yaml"
        minhash = {"ngram": 5, "bands": BANDS, "rows": ROWS, "threshold": SIMILAR, "verify": True, "keeper": "first", "max_loss": 1.0}
        reader = {"read.parquet.Parquet": {"paths": [str(documents)], "url": [], "date": [], "keep": ["id"]}}
        value = {"sources": {"planted": [reader]}, "corpus": [{"dedup.minhash.MinHash": minhash}], "engine": {"shard_bytes": SHARD}}
        recipe.write_text(yaml.safe_dump(value))
        return [*CURATE, "run", str(recipe), "--out", str(out / "run"), *options]

    return command


def datatrove_clusters(corpus: Planted, out: Path) -> dict[str, Any]:
    """Of its third stage: for each file, pairs of row and cluster."""
    found = {}
    for number, file in enumerate(corpus.files):
        path = out / "remove" / f"{number:06d}.clusters"
        ids = pq.read_table(file, columns=["id"])["id"].to_pylist()
        rows = np.fromfile(path, "<u4").reshape(-1, 2).tolist() if path.exists() else []
        found |= {ids[row]: cluster for row, cluster in rows}
    return found


class Forest(pickle.Unpickler):
    """Reads text-dedup's union-find without text-dedup: any object is taken for its attributes."""

    def find_class(self, module: str, name: str) -> Any:
        """Its own classes are stand-ins; of others only a counter is in it."""
        return Counter if (module, name) == ("collections", "Counter") else type(name, (), {})


def text_dedup_clusters(_: Planted, out: Path) -> dict[str, Any]:
    """Of its union-find, from id to id."""
    with open(out / "documents" / "uf.pkl", "rb") as file:
        parent = Forest(file).load().parent

    def root(node: str) -> str:
        while parent[node] != node:
            node = parent[node]
        return node

    return {node: root(node) for node in parent}


def table_of_clusters(_: Planted, out: Path) -> dict[str, Any]:
    """As our own scripts write them."""
    table = pq.read_table(out / "clusters.parquet")
    return dict(zip(table["id"].to_pylist(), table["cluster"].to_pylist(), strict=True))


OURS = "curate"
SYSTEMS = [
    System(OURS, ours("--workers", str(WORKERS))),
    System(f"{OURS} --local", ours("--local")),
    System("rensa, 5-grams", peer("peer_rensa.py", "rensa", "shingles"), environment="rensa"),
    System("rensa, words", peer("peer_rensa.py", "rensa", "words"), environment="rensa"),
    System("gaoya", peer("peer_gaoya.py", "gaoya"), environment="gaoya"),
    System("daft", peer("peer_daft.py", "daft"), table_of_clusters, LSH, "daft"),
    System("text-dedup", text_dedup, text_dedup_clusters, LSH, "text-dedup"),
    System("datatrove", peer("peer_datatrove_minhash.py", "datatrove"), datatrove_clusters, LSH, "datatrove"),
]
RUST = ("rensa, 5-grams", "gaoya", "daft")  # those that compare 5-grams


def survivors(out: Path) -> set[str]:
    """Ids of the documents that a system has written."""
    published = out / "run" / "documents"
    if published.exists():
        return {i for path in published.rglob("*.parquet") for i in pq.read_table(path, columns=["source_id"])["source_id"].to_pylist()}
    folder = out / "documents"
    ids = [pq.read_table(path, columns=["id"])["id"].to_pylist() for path in folder.rglob("*.parquet")]
    for path in folder.glob("*.arrow"):
        with pa.memory_map(str(path)) as mapped, pa.ipc.open_stream(mapped) as stream:
            ids.append(stream.read_all()["id"].to_pylist())
    return {i for some in ids for i in some}


def result(system: System, corpus: Planted, out: Path) -> Result:
    """What a run has removed, and for which document each."""
    kept = survivors(out)
    removed = np.array([i not in kept for i in corpus.ids])
    number = {i: n for n, i in enumerate(corpus.ids)}
    survivor = np.full(len(removed), -1)
    if system.name.startswith(OURS):
        place = places(corpus)
        for fate in fates(out / "run"):
            survivor[place[fate["id"]]] = place[fate["kept_id"]]
        if not np.array_equal(survivor >= 0, removed):
            raise SystemExit(f"{system.name}: {int((survivor >= 0).sum())} documents have a fate, {int(removed.sum())} are not published")
    elif system.clusters:
        cluster = system.clusters(corpus, out)
        stays = {c: number[i] for i, c in cluster.items() if i in kept}
        for i, c in cluster.items():
            survivor[number[i]] = -1 if i in kept else stays.get(c, -1)
    else:
        return Result(removed)
    return Result(removed, survivor)


def fates(out: Path) -> list[dict[str, Any]]:
    """Of documents that deduplication has dropped."""
    passes = json.loads((out / "recipe.lock.json").read_text())["passes"]
    paths = [path for p in passes for path in (out / p).glob("*.fates.parquet")]
    rows = [row for path in paths for row in pq.read_table(path).to_pylist()]
    return [row for row in rows if row["stage"].startswith("dedup.minhash")]


def places(corpus: Planted) -> dict[str, int]:
    """Number of each document by the id that `curate` gives it: file and row."""
    rows = [(Path(file).name, row) for file in corpus.files for row in range(pq.read_metadata(file).num_rows)]
    return {f"planted/{name}:{row}": number for number, (name, row) in enumerate(rows)}


def install_peers() -> None:
    """Each in an environment of its own."""
    for name, (folder, packages) in ENVIRONMENTS.items():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet"]
        subprocess.run([*pip, *packages], check=True)
        if name in ALONE:
            subprocess.run([*pip, "--no-deps", ALONE[name]], check=True)
