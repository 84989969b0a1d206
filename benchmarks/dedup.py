"""MinHash deduplication against its peers: how fast and, beside it, how right; see README.md.

`python benchmarks/dedup.py --corpus FOLDER [part ...]`, parts: planted neardup kernel. `--install-peers` makes the peers' environments.
Every system gets the same Parquet files and two processes or threads, and does the whole: read, sign, band, verify if it does so, cluster,
write the survivors. What it has removed is read from what it has written, and judged by `similar`.
"""

from __future__ import annotations

import argparse
import bz2
import json
import os
import shutil
import statistics
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import planted
import pyarrow as pa
import pyarrow.parquet as pq
from dedup_systems import BANDS, ENVIRONMENTS, OURS, ROWS, RUST, SYSTEMS, WORKERS, System, install_peers, result
from engine import WORK
from planted import Planted
from similar import SIMILAR, Score, score

TINY = 100  # documents of a corpus whose time is a system's start and stop
SAMPLED = 0.2  # seconds between looks at memory

# -- running and judging them ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Run:
    """One run of a system over a corpus."""

    wall: float  # seconds
    cpu: float  # of all its processes
    peak: float  # MB, of all its processes together, what they share counted once


def run(system: System, documents: Path, out: Path) -> Run:
    """In a fresh folder. Its output goes to OUT.log."""
    shutil.rmtree(out, ignore_errors=True)
    out.parent.mkdir(parents=True, exist_ok=True)
    command = system.command(documents, out)
    out.mkdir(exist_ok=True)
    threads = {"RAYON_NUM_THREADS": str(WORKERS), "HF_HUB_OFFLINE": "1", "DO_NOT_TRACK": "1", "TOKENIZERS_PARALLELISM": "false"}
    with open(f"{out}.log", "w") as log:
        began = time.perf_counter()
        process = subprocess.Popen(command, stdout=log, stderr=log, env=os.environ | threads, cwd=out)
        watch = Watch(process.pid)
        code = process.wait()
        wall = time.perf_counter() - began
        watch.stop()
    if code:
        tail = Path(f"{out}.log").read_text(errors="replace")[-2000:]
        raise SystemExit(f"{system.name} failed with exit code {code}: {' '.join(command)}\n{tail}")
    return Run(wall, watch.cpu, watch.peak)


class Watch:
    """Looks at a process and all that came from it, five times a second."""

    def __init__(self, pid: int):
        self.pid, self.peak = pid, 0.0
        self._ticks: dict[int, int] = {}  # of each process that was seen
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    @property
    def cpu(self) -> float:
        """Seconds, as last seen of each process."""
        return sum(self._ticks.values()) / os.sysconf("SC_CLK_TCK")

    def stop(self) -> None:
        """Once the process has ended."""
        self._done.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._done.wait(SAMPLED):
            held = 0
            for pid in self._family():
                try:
                    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
                except (OSError, ValueError):
                    continue
                self._ticks[pid] = int(fields[11]) + int(fields[12])
                held += sum(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
            self.peak = max(self.peak, held / 1e3)

    def _family(self) -> list[int]:
        children: dict[int, list[int]] = {}
        for path in Path("/proc").iterdir():
            if path.name.isdigit():
                try:
                    parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
                except (OSError, IndexError):
                    continue
                children.setdefault(parent, []).append(int(path.name))
        out, left = [], [self.pid]
        while left:
            out.append(left.pop())
            left += children.get(out[-1], [])
        return out


def compared(corpus: Planted, title: str, systems: Sequence[System]) -> dict[str, Run]:
    """Each system over one corpus: a table of speed and quality, one of the bands of similarity."""
    similar = int((corpus.pairs.jaccard >= SIMILAR).sum())
    print(
        f"{title}: {len(corpus.ids):,} documents, {corpus.bytes / 1e6:.1f} MB, {similar:,} pairs of similarity {SIMILAR} or more",
        flush=True,
    )
    tiny = first_documents(corpus)
    names = max(len(s.name) for s in systems)
    print(
        f"  {'':{names}}  wall s  start s   docs/s   MB/s   CPU s  peak MB | removed  recall  of docs  precision  chains  at own  survivor"
    )
    runs, scores = {}, {}
    for system in systems:
        if system.environment and not (ENVIRONMENTS[system.environment][0] / "bin" / "python").exists():
            print(f"  {system.name:{names}}  skipped: no environment; --install-peers makes it")
            continue
        home = folder(title, system.name)
        start = run(system, tiny, home / "tiny")
        runs[system.name] = done = run(system, corpus.folder / "documents", home / "out")
        scores[system.name] = s = score(corpus.pairs, result(system, corpus, home / "out"), system.own)
        speed = f"{done.wall:6.1f}  {start.wall:7.1f}  {len(corpus.ids) / done.wall:7,.0f}  {corpus.bytes / 1e6 / done.wall:5.1f}"
        quality = f"{s.removed:7,}  {s.recall:6.4f}  {s.recall_documents:7.4f}  {s.precision:9.4f}  {s.precision_chain:6.4f}"
        print(
            f"  {system.name:{names}}  {speed}  {done.cpu:6.1f}  {done.peak:7,.0f} | {quality}  {s.precision_own:6.4f}  {s.survivor:8.4f}",
            flush=True,
        )
    bands(scores, names)
    return runs


def folder(title: str, system: str) -> Path:
    """Where a system's runs over a corpus are."""
    return WORK / "dedup" / title / system.replace(" ", "-").replace(",", "")


def bands(scores: dict[str, Score], names: int) -> None:
    """Of the pairs of each band of similarity, how many lost a document, and how many lost one that nothing kept is similar to."""
    if not scores:
        return
    first = next(iter(scores.values())).lost
    print(f"  {'pairs that lost one':{names}}  " + "".join(f"{f'{low:.2f}-{high:.2f}':>12}" for low, high, *_ in first))
    print(f"  {'':{names}}  " + "".join(f"{count:12,}" for _, _, count, *_ in first))
    for name, s in scores.items():
        print(f"  {name:{names}}  " + "".join(f"{lost:12.4f}" for *_, lost, _ in s.lost))
        print(f"  {'  without cause':{names}}  " + "".join(f"{wrong:12.4f}" for *_, wrong in s.lost))


def first_documents(corpus: Planted) -> Path:
    """A corpus that is over at once."""
    tiny = corpus.folder / "tiny"
    tiny.mkdir(exist_ok=True)
    pq.write_table(pq.read_table(corpus.files[0]).slice(0, TINY), tiny / "00000.parquet")
    return tiny


# -- parts ----------------------------------------------------------------------------------------------------------------------------


def planted_part(options: argparse.Namespace, systems: Sequence[System]) -> None:
    """All systems over real text with duplicates planted in it."""
    where = WORK / f"planted-{options.documents}-{options.seed}"
    corpus = planted.planted(options.corpus, where, options.documents, options.seed)
    runs = compared(corpus, "planted", systems)
    if OURS not in runs:
        return
    own = runs[OURS]
    for name, asked in (("datatrove", "asked >= 15"), ("text-dedup", "asked >= 4"), *((name, "asked > 1") for name in RUST)):
        if name in runs:
            ratio = f"{runs[name].wall / own.wall:.1f} times faster than {name} ({asked})"
            print(f"  {ratio}, with {own.cpu / runs[name].cpu:.2f} of its processor time")
    moved(folder("planted", OURS) / "out" / "run", corpus, own.wall)


def moved(out: Path, corpus: Planted, wall: float) -> None:
    """What of a run is reading and writing: both done again, alone, in this one process."""
    from curate.batch import Batch
    from curate.documents import Documents, read_documents, read_rows
    from curate.exchange import Verdict
    from stages.read.parquet import Parquet

    reader = Parquet((str(corpus.folder / "documents"),), url=(), date=(), keep=("id",))
    given, read = _timed(lambda: [i for shard in reader.shards(1 << 40) for i in reader.read(shard) if isinstance(i, pa.RecordBatch)])
    spent = {"read the input": read}
    again = str(WORK / "dedup" / "written-again.parquet")
    lock = json.loads((out / "recipe.lock.json").read_text())["passes"]
    between, last = ([str(p) for p in sorted((out / q).glob("[0-9]*[0-9].parquet"))] for q in [p for p in lock if "/planted/" in p][-2:])

    def write(batches: Sequence[Batch]) -> None:
        writer = Documents(again)
        for batch in batches:
            writer.add(batch)
        writer.close()

    spent["write it"] = _timed(lambda: write([Batch.of(b) for b in given]))[1]
    spent["read it again"] = _timed(lambda: [len(b) for path in between for b in read_documents(path, 2048)])[1]
    verdict = str(next((out / "passes" / "planted").glob("dedup.minhash*/verdict-00000")))

    def compared_ones() -> None:
        for number, path in enumerate(between):
            for _ in read_rows(path, Verdict(verdict, number).named(), 2048):
                pass

    spent["read what is compared"] = _timed(compared_ones)[1]
    left = [b for path in last for b in read_documents(path, 2048)]
    spent["write what is left"] = _timed(lambda: write(left))[1]
    shares = ", ".join(f"{what} {seconds:.1f} s" for what, seconds in spent.items())
    print(f"  {sum(spent.values()) / WORKERS / wall:.0%} of {OURS}'s time is reading and writing: done alone, by one process, {shares}")


def _timed(work: Callable[[], Any]) -> tuple[Any, float]:
    began = time.perf_counter()
    found = work()
    return found, time.perf_counter() - began


def neardup(options: argparse.Namespace, systems: Sequence[System]) -> None:
    """All systems over the folder's own near-duplicates: neardup/pairs.jsonl names files, and pages of dumps, and their similarity."""
    corpus = Path(options.corpus)
    table = corpus / "neardup" / "pairs.jsonl"
    if not table.exists():
        print(f"neardup: skipped, as there is no {table}")
        return
    listed = [json.loads(line) for line in table.read_text().splitlines()]
    names = sorted({name for pair in listed for name in (pair["a"], pair["b"])})
    texts = {name: text for name in names if (text := named_text(corpus, name))}
    planted.write(WORK / "neardup", list(texts.items()))
    made = planted.load(WORK / "neardup")
    truth = {(made.kinds[a], made.kinds[b]): j for a, b, j in zip(made.pairs.a, made.pairs.b, made.pairs.jaccard, strict=True)}
    here = [pair for pair in listed if pair["a"] in texts and pair["b"] in texts]
    off = [abs(truth.get(tuple(sorted((p["a"], p["b"]))), 0) - p["jaccard_word5"]) for p in here if p["jaccard_word5"] >= 0.55]
    print(f"neardup: {len(listed)} pairs listed, the files of {len(here)} are there; of those of 0.55 or more, ", end="")
    print(f"the similarity listed and found differ by {statistics.median(off):.3f} in the median, {max(off):.3f} at most")
    compared(made, "neardup", systems)


def named_text(corpus: Path, name: str) -> str:
    """A file, or the wikitext of a page: FILE#TITLE. Empty where it is not there."""
    path, _, title = name.partition("#")
    if not (corpus / path).exists():
        return ""
    if not title:
        return (corpus / path).read_text(encoding="utf-8", errors="replace")
    with bz2.open(corpus / path) as dump:
        for _, element in ElementTree.iterparse(dump):
            if element.tag.endswith("}page"):
                if element.findtext("{*}title") == title:
                    return element.findtext("{*}revision/{*}text") or ""
                element.clear()
    return ""


def kernel(options: argparse.Namespace, _: Sequence[System]) -> None:
    """The signature kernel on web pages, one process: what `emit` takes on batches that nothing has been computed of."""
    from ccnet import batches, fresh, pages

    from curate.runner import pin_threads
    from stages.dedup.minhash import MinHash

    pin_threads()
    given = batches(pages(str(Path(options.corpus) / "commoncrawl" / "packed_wet") if options.corpus else None))
    documents, size = sum(map(len, given)), sum(int(b.size.sum()) for b in given) / 1e6
    for name, stage in (("independent permutations", MinHash()), ("fast similarity sketching", MinHash(sketch="fast"))):
        for batch in fresh(given):
            stage.emit(batch)
        found = []
        for _ in range(5):
            copies = fresh(given)
            found.append(_timed(lambda s=stage, c=copies: [s.emit(b) for b in c])[1])
        best = min(found)
        print(f"kernel: {documents:,} web pages, {size:.1f} MB, {BANDS} x {ROWS}, {name}: {size / best:.0f} MB/s, ", end="")
        print(f"{documents / best:,.0f} documents/s per core (asked >= 120 MB/s)")


PARTS = {"planted": planted_part, "neardup": neardup, "kernel": kernel}


def main() -> None:
    """All parts, or those named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="default: all")
    parser.add_argument("--corpus", help="a folder of real text")
    parser.add_argument("--documents", type=int, default=54_000, help="of the planted corpus")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--systems", nargs="*", choices=[s.name for s in SYSTEMS], default=[s.name for s in SYSTEMS], help="default: all")
    parser.add_argument("--install-peers", action="store_true")
    options = parser.parse_args()
    WORK.mkdir(parents=True, exist_ok=True)
    if options.install_peers:
        install_peers()
        if not options.corpus and not options.parts:
            return
    parts = options.parts or list(PARTS)
    if not options.corpus and parts != ["kernel"]:
        parser.error("planted and neardup need --corpus FOLDER, a folder of real text: WET, JSON lines, Parquet, Wikipedia dumps or .txt")
    for part in parts:
        PARTS[part](options, [s for s in SYSTEMS if s.name in options.systems])


if __name__ == "__main__":
    main()
