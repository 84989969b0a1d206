"""The engine's costs as ratios; see README.md. `python benchmarks/engine.py [part ...]`, parts: loop workers gopher shards start memory."""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from curate.stage import Source

ROOT = Path(__file__).resolve().parents[1]
WORK = ROOT / "runs" / "benchmarks"
PEERS = ROOT / "benchmarks" / ".peers"
PEER_PACKAGES = ["datatrove==0.10.0", "orjson", "spacy==3.8.18", "regex", "ftfy", "xxhash<4", "pyarrow==26.0.1", "numpy==2.4.6"]
CURATE = [sys.executable, "-m", "curate.cli"]
FILES, FILE_BYTES = 16, 14e6  # of Parquet: 224 MB of text
TEN_STAGES = [
    {"length.Chars": {"least": 100}},
    {"length.Bytes": {"least": 100}},
    {"length.Words": {"least": 20}},
    {"gopher.Quality": {"min_alphabetic": 0.6}},
    {"length.Chars": {"most": 1_000_000}},
    "gopher.Repetition",
    {"length.Words": {"most": 200_000}},
    {"length.Bytes": {"most": 2_000_000}},
    {"gopher.Quality": {"min_words": 40, "min_alphabetic": 0.5}},
    {"length.Chars": {"least": 120}},
]


def prose() -> list[str]:
    """English documents of the sample, WET and JSON lines."""
    folder = WORK / "sample"
    if not (folder / "truth.jsonl").exists():
        subprocess.run([*CURATE, "sample", str(folder)], check=True, stdout=subprocess.DEVNULL)
    from stages.read.jsonl import Jsonl
    from stages.read.wet import Wet

    return texts(Jsonl((str(folder / "c4"),))) + texts(Wet((str(folder / "commoncrawl" / "wet"),)))


def texts(reader: Source) -> list[str]:
    """All documents of a reader."""
    items = (item for shard in reader.shards(1 << 30) for item in reader.read(shard))
    return [text for item in items if isinstance(item, pa.RecordBatch) for text in item["text"].to_pylist()]


def corpus(files: int = FILES, size: float = FILE_BYTES) -> list[str]:
    """Parquet files of prose, no document like another: words are swapped by a seeded rule."""
    folder = WORK / f"parquet-{files}x{size:.0f}"
    paths = [folder / f"{n:05d}.parquet" for n in range(files)]
    if not paths[-1].exists():
        folder.mkdir(parents=True, exist_ok=True)
        pages = prose()
        rng = random.Random(1)
        for path in paths:
            made, total = [], 0
            while total < size:
                words = rng.choice(pages).split(" ")
                for _ in range(len(words) // 20):
                    a, b = rng.randrange(len(words)), rng.randrange(len(words))
                    words[a], words[b] = words[b], words[a]
                made.append(" ".join(words))
                total += len(made[-1])
            pq.write_table(pa.table({"text": made}), path, row_group_size=2048, compression="zstd")
    return [str(p) for p in paths]


def write_recipe(name: str, paths: list[str], stages: list[object], **engine: object) -> str:
    """A recipe of one Parquet source."""
    import yaml

    path = WORK / f"{name}.yaml"
    reader = {"read.parquet.Parquet": {"paths": paths, "url": [], "date": []}}
    path.write_text(yaml.safe_dump({"name": name, "sources": {"web": [reader, *stages]}, "engine": engine}))
    return str(path)


def timed(command: list[str], fresh: Path, **environment: str) -> float:
    """Wall seconds of a whole process; its folder is removed before."""
    shutil.rmtree(fresh, ignore_errors=True)
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ | environment)
    return time.perf_counter() - began


def loop() -> None:
    """(a) `curate run --local` over ten fused stages against the bare loop."""
    recipe = write_recipe("ten", corpus(), TEN_STAGES)
    ours, bare = [], []
    for _ in range(5):
        bare.append(timed([sys.executable, str(ROOT / "benchmarks" / "bare_loop.py"), recipe, str(WORK / "bare")], WORK / "bare"))
        ours.append(timed([*CURATE, "run", recipe, "--local", "--out", str(WORK / "ten")], WORK / "ten"))
    paired = [a / b for a, b in zip(ours, bare, strict=True)]
    print(f"(a) ten stages, {FILES * FILE_BYTES / 1e6:.0f} MB: engine {min(ours):.2f} s, bare loop {min(bare):.2f} s", end="; ")
    print(f"ratio {statistics.median(paired):.3f} (median of 5 pairs, {min(paired):.3f} to {max(paired):.3f}; asked <= 1.10)")


def workers() -> None:
    """(b) Ray with two workers against `--local`, on sixteen times the files: Ray takes six seconds to start and stop."""
    paths = []
    for copy in range(16):
        for path in corpus():
            link = WORK / "sixteenfold" / f"{copy}-{Path(path).name}"
            link.parent.mkdir(parents=True, exist_ok=True)
            if not link.exists():
                os.link(path, link)
            paths.append(str(link))
    recipe = write_recipe("sixteenfold", paths, TEN_STAGES, shard_bytes=5e6)
    local = timed([*CURATE, "run", recipe, "--local", "--out", str(WORK / "one")], WORK / "one")
    ray = timed([*CURATE, "run", recipe, "--workers", "2", "--out", str(WORK / "two")], WORK / "two")
    print(f"(b) {16 * FILES * FILE_BYTES / 1e6:.0f} MB: --local {local:.1f} s, Ray with two workers {ray:.1f} s", end="; ")
    print(f"{local / ray:.2f} times faster (asked >= 1.7)")


def gopher() -> None:
    """(c) The Gopher rules against datatrove's, on the same documents, one process each."""
    from curate.batch import Batch
    from stages.gopher import Quality, Repetition

    if not (PEERS / "bin" / "python").exists():
        print("(c) skipped: no environment for datatrove; --install-peers makes it")
        return
    shared = ROOT.parent / "shared" / "corpus" / "c4"
    documents = prose()[:1500]
    shared = ROOT.parent / "shared" / "corpus" / "c4"
    if shared.exists():
        from stages.read.jsonl import Jsonl

        documents += texts(Jsonl((str(shared),)))
    path, answer = WORK / "gopher.parquet", WORK / "datatrove.json"
    pq.write_table(pa.table({"text": pa.array(documents, pa.large_string())}), path)
    subprocess.run([str(PEERS / "bin" / "python"), str(ROOT / "benchmarks" / "peer_datatrove.py"), str(path), str(answer)], check=True)
    theirs = json.loads(answer.read_text())
    data = pq.read_table(path).combine_chunks().to_batches()[0]
    stages = {"quality": Quality(), "repetition": Repetition()}
    for stage in stages.values():
        stage.keep(Batch.of(data.slice(0, 2)))  # the kernels are compiled, as datatrove's tokenizer is loaded
    began = time.perf_counter()
    batch = Batch.of(data)
    found = {name: stage.keep(batch) for name, stage in stages.items()}
    seconds = time.perf_counter() - began
    size = int(batch.size.sum()) / 1e6
    ratio = sum(theirs["seconds"]) / seconds
    print(f"(c) {len(batch):,} documents, {size:.1f} MB: ours {seconds:.3f} s ({size / seconds:.0f} MB/s)", end=", ")
    print(f"datatrove {sum(theirs['seconds']):.2f} s ({size / sum(theirs['seconds']):.2f} MB/s): {ratio:.0f} times faster (asked >= 20)")
    for name, checks in found.items():
        ours = np.logical_and.reduce([c.passed for c in checks.values()])
        kept = np.array([rule == "" for rule in theirs[name]])
        odd = np.flatnonzero(ours != kept)
        print(f"    {name}: ours keeps {ours.sum():,}, datatrove {kept.sum():,}; {len(odd)} decisions differ ({len(odd) / len(ours):.2%})")
        reasons: dict[tuple[str, str], int] = {}
        for row in odd.tolist():
            mine = next((rule for rule, c in checks.items() if not c.passed[row]), "kept")
            reasons[mine, theirs[name][row] or "kept"] = reasons.get((mine, theirs[name][row] or "kept"), 0) + 1
        for (mine, other), count in sorted(reasons.items(), key=lambda r: -r[1]):
            print(f"      {count:>4}  ours {mine}, datatrove {other}")


def measured(recipe: str, out: Path, **options: object) -> tuple[float, float, float]:
    """`curate run` in a process of its own: (CPU seconds, peak MB, wall seconds) of that process alone."""
    script = (
        "import json, re, resource, sys, time; began = time.perf_counter()\n"
        "from curate import command\n"
        "command.run(sys.argv[1], sys.argv[2], [], [], **json.loads(sys.argv[4]))\n"
        "u = resource.getrusage(resource.RUSAGE_SELF)\n"
        "peak = int(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1]) / 1024\n"  # maxrss would count the parent's
        "print(json.dumps([u.ru_utime + u.ru_stime, peak, time.perf_counter() - began]), file=open(sys.argv[3], 'w'))\n"
    )
    answer = WORK / "measured.json"
    options = {"workers": None, "address": None, "local": False, **options}
    command = [sys.executable, "-c", script, recipe, str(out), str(answer), json.dumps(options)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    cpu, peak, wall = json.loads(answer.read_text())
    return cpu, peak, wall


def shards() -> None:
    """(d) What 20,000 tiny shards cost the driver."""
    folder = WORK / "tiny"
    if not (folder / "19999.jsonl").exists():
        folder.mkdir(parents=True, exist_ok=True)
        for n in range(20_000):
            (folder / f"{n:05d}.jsonl").write_text(json.dumps({"text": f"document {n} of many small ones"}) + "\n")
    import yaml

    recipe = WORK / "tiny.yaml"
    value = {"sources": {"web": [{"read.jsonl.Jsonl": {"paths": [str(folder)]}}, "length.Chars"]}}
    recipe.write_text(yaml.safe_dump(value | {"engine": {"shard_bytes": 60}}))  # a file each
    shutil.rmtree(WORK / "tiny-out", ignore_errors=True)
    for what in ("run", "run again, all done"):
        cpu, peak, wall = measured(str(recipe), WORK / "tiny-out", workers=2)
        print(f"(d) 20,000 tiny shards, {what}: driver {cpu / 20:.2f} ms of CPU a shard, {wall / 20:.2f} ms of wall", end=" ")
        print(f"(asked <= 3 ms); driver's peak memory {peak:.0f} MB (asked <= 1,024)")


def start() -> None:
    """(e) From `curate run` to the first finished shard, without and with compiled kernels; --help; plan."""
    recipe = write_recipe("start", corpus()[:2], TEN_STAGES, shard_bytes=4e6)
    cache = WORK / "numba-cache"
    shutil.rmtree(cache, ignore_errors=True)
    for state, asked in (("no kernel compiled", 25), ("kernels compiled", 8), ("kernels compiled", 8)):
        out = WORK / "start"
        shutil.rmtree(out, ignore_errors=True)
        began = time.perf_counter()
        command = [*CURATE, "run", recipe, "--workers", "2", "--out", str(out)]
        run = subprocess.Popen(
            command, env=os.environ | {"NUMBA_CACHE_DIR": str(cache)}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        while not list(out.glob("passes/web/*/*.json")):
            time.sleep(0.01)
        print(f"(e) first finished shard, {state}: {time.perf_counter() - began:.1f} s (asked <= {asked})")
        run.wait()
    for name, command, asked in (("--help", ["--help"], 0.5), ("plan", ["plan", "quickstart", "--set", f"data={WORK / 'sample'}"], 2.0)):
        print(f"(e) curate {name}: {min(timed([*CURATE, *command], WORK / 'none') for _ in range(5)):.2f} s (asked <= {asked})")


def memory() -> None:
    """Peak memory of a worker, on a shard of 64 MB and one of 1 GB."""
    prose()
    for files, size in ((1, 64e6), (1, 1e9)):
        recipe = write_recipe(f"memory-{size:.0f}", corpus(files, size), [*TEN_STAGES, "dedup.exact.Exact"], shard_bytes=4e9)
        shutil.rmtree(WORK / "memory", ignore_errors=True)
        _, peak, _ = measured(recipe, WORK / "memory", local=True)
        print(f"(memory) one shard of {size / 1e6:,.0f} MB of text: worker's peak {peak:.0f} MB")


def install_peers() -> None:
    """datatrove in an environment of its own."""
    subprocess.run([sys.executable, "-m", "venv", str(PEERS)], check=True)
    subprocess.run([str(PEERS / "bin" / "python"), "-m", "pip", "install", "--quiet", *PEER_PACKAGES], check=True)


PARTS = {"loop": loop, "workers": workers, "gopher": gopher, "shards": shards, "start": start, "memory": memory}


def main() -> None:
    """All parts, or those named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="default: all")
    parser.add_argument("--install-peers", action="store_true")
    arguments = parser.parse_args()
    WORK.mkdir(parents=True, exist_ok=True)
    if arguments.install_peers:
        install_peers()
    for part in arguments.parts or ("memory", *(p for p in PARTS if p != "memory")):
        PARTS[part]()


if __name__ == "__main__":
    main()
