"""gaoya's index of MinHash signatures, words and n-grams in Rust: `python peer_gaoya.py INPUT OUT WORKERS`.

All documents are put into the index and asked for, both in threads; a document goes if one like it, by its signature, comes before and has
been kept. Survivors go to OUT/documents. Threads are RAYON_NUM_THREADS. Runs in an environment of its own.
"""

import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from gaoya.minhash import MinHashStringIndex


def main(source: str, out: str, workers: int) -> None:
    """Read, insert, query, write."""
    pa.set_cpu_count(workers)
    files = sorted(Path(source).glob("*.parquet"))
    folder = Path(out) / "documents"
    folder.mkdir(parents=True)
    tables = [pq.read_table(path) for path in files]
    texts = [text for table in tables for text in table["text"].to_pylist()]
    index = MinHashStringIndex(
        hash_size=32, jaccard_threshold=0.8, num_bands=14, band_size=8, lowercase=True, ngram_range=(5, 5), id_container="smallvec"
    )
    index.par_bulk_insert_docs(list(range(len(texts))), texts)
    kept = [True] * len(texts)
    for number, similar in enumerate(index.par_bulk_query(texts)):
        kept[number] = not any(other < number and kept[other] for other in similar)
    first = 0
    for path, table in zip(files, tables, strict=True):
        mask = pa.array(kept[first : first + len(table)])
        pq.write_table(table.filter(mask), folder / path.name, compression="zstd")
        first += len(table)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
