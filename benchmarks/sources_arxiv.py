"""arXiv: reading the bulk tar and cleaning LaTeX, in one process; see README.md.

`python benchmarks/sources_arxiv.py --corpus FOLDER`, which has arxiv/*.tar. `--peers PYTHON`, one that has pylatexenc, whose parser is
the peer: it parses the first papers of one file each, and does no more.
"""

from __future__ import annotations

import argparse
import gzip
import json
import resource
import subprocess
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
from engine import WORK

from curate.batch import Batch
from curate.stage import Bad, Skip
from stages.latex import Clean
from stages.latex_comments import uncomment
from stages.read.arxiv import Arxiv

ROUNDS = 5
PEER_CHARS = 1_000_000  # of text that the peer is given: it takes a minute for them


def best(run: Callable[[], Any]) -> float:
    """Seconds, the least of several rounds."""
    seconds = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - began)
    return min(seconds)


def bare(paths: list[Path]) -> int:
    """What any reader has to do: every entry of the tar, and every file within, by Python's tarfile and gzip."""
    size = 0
    for path in paths:
        with tarfile.open(path) as tar:
            for entry in tar:
                file = tar.extractfile(entry) if entry.isfile() else None
                if file is None or not entry.name.endswith(".gz"):
                    continue
                with gzip.open(file) as packed:
                    try:
                        with tarfile.open(fileobj=packed, mode="r|") as inside:
                            size += sum(len((inside.extractfile(m) or packed).read()) for m in inside if m.name.endswith(".tex"))
                    except tarfile.ReadError:
                        packed.seek(0)
                        size += len(packed.read())
    return size


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--peers", help="a Python that has pylatexenc")
    options = parser.parse_args()
    paths = sorted((options.corpus / "arxiv").glob("*.tar"))
    source = Arxiv(tuple(map(str, paths)))

    def read() -> list[pa.RecordBatch]:
        items = (item for shard in source.shards(1 << 40) for item in source.read(shard))
        return [item for item in items if not isinstance(item, Bad | Skip)]

    batches = read()
    size = sum(int(Batch.of(batch).size.sum()) for batch in batches)
    ours, theirs = best(read), best(lambda: bare(paths))
    print(f"{size / 1e6:.1f} MB of TeX in {sum(map(len, batches))} papers, one process, best of {ROUNDS}")
    print(f"reading the tar: {size / ours / 1e6:.1f} MB/s, {theirs / ours:.2f} times a bare tarfile and gzip loop")
    speeds = {}
    for mode in ("paper", "redpajama"):
        stage = Clean(mode=mode)  # type: ignore[arg-type]
        speeds[mode] = size / best(lambda: [stage.apply(Batch.of(batch)) for batch in batches])  # noqa: B023
        print(f"latex.Clean, {mode}: {speeds[mode] / 1e6:.1f} MB/s")
    whole = size / (ours + size / speeds["paper"])
    print(f"from the tar to clean papers: {whole / 1e6:.1f} MB/s; paper against redpajama: {speeds['paper'] / speeds['redpajama']:.2f}")
    print(f"most memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")
    if options.peers:
        some = [text for batch in batches for text in batch["text"].to_pylist()]
        while sum(map(len, some)) > PEER_CHARS:
            some.pop(len(some) // 2)
        WORK.mkdir(parents=True, exist_ok=True)
        (WORK / "papers.jsonl").write_text("".join(json.dumps({"text": uncomment(text)}) + "\n" for text in some))
        command = [options.peers, str(Path(__file__).with_name("peer_pylatexenc.py")), str(WORK / "papers.jsonl")]
        out = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        peer = out["chars"] / out["seconds"]
        print(f"pylatexenc's parser alone: {peer / 1e6:.2f} MB/s; ours does the whole {speeds['paper'] / peer:.0f} times as fast")


if __name__ == "__main__":
    main()
