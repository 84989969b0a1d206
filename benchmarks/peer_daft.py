"""Daft's MinHash in its dataframe engine: `python peer_daft.py INPUT OUT WORKERS`.

Reading, signatures and writing are Daft's, in Rust and in threads; as it has no step for bands and components, those are found here.
Nothing is verified. Survivors go to OUT/documents, clusters to OUT/clusters.parquet. Runs in an environment of its own.
"""

import sys
from pathlib import Path

import daft
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from daft import col
from daft.functions import minhash, normalize

BANDS, ROWS = 14, 8


def main(source: str, out: str, workers: int) -> None:
    """Sign, band, join, write."""
    daft.set_runner_native(num_threads=workers)
    documents = daft.read_parquet(f"{source}/*.parquet")
    text = normalize(col("text"), remove_punct=True, lowercase=True, white_space=True)
    signed = documents.select(col("id"), minhash(text, num_hashes=BANDS * ROWS, ngram_size=5, seed=1).alias("signature")).to_arrow()
    ids = signed["id"].to_pylist()
    order = sorted(range(len(ids)), key=ids.__getitem__)
    values = np.asarray(signed["signature"].combine_chunks().flatten(), np.uint32).reshape(-1, BANDS, ROWS)[order]
    ids = [ids[at] for at in order]
    parent = list(range(len(ids)))

    def root(node: int) -> int:
        while parent[node] != node:
            parent[node] = node = parent[parent[node]]
        return node

    for band in range(BANDS):
        buckets = np.ascontiguousarray(values[:, band]).view(f"V{4 * ROWS}").ravel()
        _, first, bucket = np.unique(buckets, return_index=True, return_inverse=True)
        other = first[bucket]
        for row in np.flatnonzero(other < np.arange(len(ids))).tolist():
            low, high = sorted((root(row), root(int(other[row]))))
            parent[high] = low
    cluster = [root(n) for n in range(len(ids))]
    kept = pa.table({"id": [i for n, i in enumerate(ids) if cluster[n] == n]})
    documents.join(daft.from_arrow(kept), on="id", how="semi").write_parquet(f"{out}/documents", compression="zstd")
    pq.write_table(pa.table({"id": ids, "cluster": cluster}), Path(out) / "clusters.parquet")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
