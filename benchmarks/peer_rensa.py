"""rensa's RMinHashDeduplicator, as its README has it: `python peer_rensa.py INPUT OUT WORKERS shingles|words`.

`words` compares documents as sets of words, split at white space: the README's own tokens. `shingles` gives it five lower-case words in a
row, joined in Python. Workers read and sketch, one process then asks the deduplicator, which checks candidates against the sketches'
similarity; workers write the survivors to OUT/documents. Runs in an environment of its own.
"""

import re
import sys
from multiprocessing import get_context
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from rensa import RMinHash, RMinHashDeduplicator

WORD = re.compile(r"\w+")
PERMUTATIONS, SEED, THRESHOLD, BANDS = 128, 42, 0.8, 16  # 16 bands of 8 rows


def shingles(text: str) -> list[str]:
    """Five words in a row."""
    words = WORD.findall(text.lower())
    return [" ".join(words[at : at + 5]) for at in range(max(1, len(words) - 4))]


def sketch(job: tuple[str, str]) -> list[RMinHash]:
    """Of the documents of a file."""
    path, tokens = job
    split = {"shingles": shingles, "words": str.split}[tokens]
    return RMinHash.from_token_sets([split(text) for text in pq.read_table(path, columns=["text"])["text"].to_pylist()], PERMUTATIONS, SEED)


def write(job: tuple[str, str, list[bool]]) -> None:
    """The survivors of a file."""
    path, out, kept = job
    table = pq.read_table(path)
    pq.write_table(table.filter(pa.array(kept)), f"{out}/{Path(path).name}", compression="zstd")


def main(source: str, out: str, workers: int, tokens: str) -> None:
    """Sketch, deduplicate, write."""
    files = sorted(str(p) for p in Path(source).glob("*.parquet"))
    folder = Path(out) / "documents"
    folder.mkdir(parents=True)
    deduplicator = RMinHashDeduplicator(threshold=THRESHOLD, num_perm=PERMUTATIONS, use_lsh=True, num_bands=BANDS, seed=SEED)
    with get_context("spawn").Pool(workers) as pool:
        kept, number = [], 0
        for sketches in pool.imap(sketch, [(path, tokens) for path in files]):
            kept.append(deduplicator.add_pairs([(str(number + at), each) for at, each in enumerate(sketches)]))
            number += len(sketches)
        pool.map(write, [(path, str(folder), each) for path, each in zip(files, kept, strict=True)])
        pool.close()
        pool.join()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4])
