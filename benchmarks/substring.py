"""Exact substrings: speed of both rounds, what travels, what goes, and the same by a suffix array; see README.md.

`python benchmarks/substring.py [--wet FOLDER] [--spans N] [--suffix-array PYTHON]`; PYTHON is that of an environment with numpy and
pydivsufsort. Without --wet, the pages are those of `curate sample`. Seconds are those of one core's work, whoever else has the machine.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from ccnet import batches, pages

from curate.barriers import Entrant, LookAgain, read_facts
from curate.batch import Batch
from curate.documents import Documents, read_documents
from curate.exchange import KeysWriter, Reduce, Settle, Verdict, verdict_name
from curate.runner import pin_threads
from stages.dedup.substring import ExactSubstring

HERE = Path(__file__).parent
ROUNDS = 3
STEPS = ("keys", "reduce and settle", "second keys", "second reduce and settle", "apply")


def stage_of(unit: str, **settings: Any) -> ExactSubstring:
    """With its defaults otherwise."""
    return ExactSubstring(unit=unit, **settings)  # type: ignore[arg-type]


def barrier(stage: ExactSubstring, given: Sequence[Batch], folder: Path) -> dict[str, Any]:
    """All of a barrier over one shard: seconds of each step, bytes that travel, bytes of text left."""
    seconds, began = [], time.process_time()

    def lap() -> None:
        nonlocal began
        now = time.process_time()
        seconds.append(now - began)
        began = now

    entrant = Entrant(0, sum(map(len, given)), str(folder / "documents"), str(folder / "keys"))
    documents = Documents(entrant.documents)
    for batch in given:
        documents.add(batch)
    documents.close()
    began = time.process_time()
    writer, first = KeysWriter(stage, entrant.keys, 1), 0
    for batch in given:
        writer.add(stage.emit(batch), first)
        first += len(batch)
    writer.close()
    lap()
    rounds = [(stage, entrant.keys, folder / "first"), (stage.second, str(folder / "again" / "00000.arrow"), folder / "second")]
    for number, (round_, keys, home) in enumerate(rounds):
        if number:
            shown = LookAgain(stage.second, stage.name, str(folder / "first"), str(folder / "again"), 1, 4096)((entrant, 0))
            lap()
        Reduce(round_, (((0, keys),),), 1, str(home / "reduced"))((0, 0))
        Settle(round_, str(home / "reduced"), 1, str(home))(0)
        lap()
    path = str(folder / "second" / verdict_name(0))
    verdict, first, left = Verdict(path, 0), 0, 0
    began = time.process_time()
    for batch in given:
        after, _ = stage.apply(Batch.of(batch.data), verdict.rows(first, len(batch)))
        left += int(after.size.sum())
        first += len(batch)
    lap()
    travels = [Path(keys).stat().st_size for _, keys, _ in rounds]
    return {"seconds": seconds, "travels": travels, "shown": shown, "left": left, **read_facts(path)}


def measure(wet: str | None, unit: str) -> dict[str, Any]:
    """The fastest of some rounds, in this process."""
    pin_threads()
    given = batches(pages(wet))
    size = int(sum(batch.size.sum() for batch in given))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = []
    for _ in range(1 + ROUNDS):
        with tempfile.TemporaryDirectory() as folder:
            found.append(barrier(stage_of(unit), [Batch.of(batch.data) for batch in given], Path(folder)))
    peak = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) << 10
    best = [min(run["seconds"][n] for run in found[1:]) for n in range(len(STEPS))]
    return found[-1] | {"seconds": best, "size": size, "documents_in": sum(map(len, given)), "peak": peak}


def apart(wet: str | None, unit: str) -> dict[str, Any]:
    """The same in a process of its own, for the sake of its memory."""
    call = [sys.executable, __file__, "--measure", unit, *(["--wet", wet] if wet else [])]
    return dict(json.loads(subprocess.run(call, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1]))


def show(unit: str, found: dict[str, Any]) -> None:
    """As a table."""
    size, total = found["size"], sum(found["seconds"])
    print(f"\n{unit}: {found['documents_in']:,} documents, {size / 1e6:.1f} MB; {total:.2f} s, {size / total / 1e6:.0f} MB/s per core")
    for step, seconds in zip(STEPS, found["seconds"], strict=True):
        print(f"  {step:28} {seconds:6.2f} s  {size / seconds / 1e6:7.0f} MB/s")
    first, second = (n / size for n in found["travels"])
    print(f"  travels, bytes per byte of text: {first:.2f} and {second:.2f}; {found['shown']:,} documents are shown again")
    print(f"  {found['says'][0]}: {1 - found['left'] / size:.1%} of all bytes")
    print(f"  memory on top of the documents: {found['peak'] / size:.1f} bytes per byte of text ({found['peak'] / 1e6:.0f} MB)")


def suffix_array(python: str, wet: str | None, ours: dict[str, Any]) -> None:
    """The same bytes in an array of all suffixes."""
    with tempfile.NamedTemporaryFile() as file:
        for number, text in enumerate(pages(wet)):
            file.write(b"\xff\xff" + number.to_bytes(4, "big") + text.encode())
        file.flush()
        call = [python, str(HERE / "peer_suffix_array.py"), file.name, str(stage_of("bytes").second.least)]
        runs = [json.loads(subprocess.run(call, check=True, stdout=subprocess.PIPE, text=True).stdout) for _ in range(ROUNDS)]
    found = {key: min(run[key] for run in runs) for key in runs[0]}
    seconds = sum(found[step] for step in ("sort", "compare", "mark"))
    size = ours["size"]
    print(f"\nsuffix array: {seconds:.2f} s (sort {found['sort']:.2f}, compare {found['compare']:.2f}), {size / seconds / 1e6:.1f} MB/s")
    print(f"  {found['peak'] / size:.1f} bytes of memory per byte of text; ours: {seconds / sum(ours['seconds']):.1f} times as fast")
    same = "the same" if found["covered"] == ours["units"] else f"OURS ARE {ours['units']:,}"
    print(f"  {found['covered']:,} bytes are covered: {same}")


def spans(wet: str | None, unit: Literal["tokens", "bytes"], count: int) -> None:
    """Some of what goes, drawn by a seeded rule."""
    given = batches(pages(wet))
    with tempfile.TemporaryDirectory() as folder:
        barrier(stage_of(unit), given, Path(folder))
        verdict = Verdict(str(Path(folder) / "second" / verdict_name(0)), 0)
        table = verdict.rows(0, sum(map(len, given)))
        drawn = np.random.default_rng(2).choice(len(table), min(count, len(table)), replace=False)
        documents = [(batch, row) for batch in read_documents(str(Path(folder) / "documents"), 4096) for row in range(len(batch))]
        for n in drawn.tolist():
            row, low, high = (table[c][n].as_py() for c in ("row", "start", "end"))
            batch, at = documents[row]
            data, start, _ = batch.utf8
            a, b = low + start[at], high + start[at]
            if unit == "tokens":
                words = batch.words
                a, b = words.start[words.first[at] + low], words.end[words.first[at] + high - 1]
            print(f"\n{batch['id'][at]}: {high - low} {unit}\n  {bytes(data[a:b]).decode(errors='replace')[:400]!r}")


def main() -> None:
    """Both units, then the suffix array."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wet", help="folder of WET files")
    parser.add_argument("--suffix-array", metavar="PYTHON", help="the Python of an environment with numpy and pydivsufsort")
    parser.add_argument("--spans", type=int, default=0, help="show so many of the spans that go")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options.wet, options.measure)))
        return
    found = {}
    for unit in ("tokens", "bytes"):
        found[unit] = apart(options.wet, unit)
        show(unit, found[unit])
    if options.suffix_array:
        suffix_array(options.suffix_array, options.wet, found["bytes"])
    if options.spans:
        spans(options.wet, "tokens", options.spans)


if __name__ == "__main__":
    main()
