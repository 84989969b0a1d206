"""CCNet's steps as ratios, one process each, same strings, one run; see README.md. `python benchmarks/ccnet.py [part ...] [--wet FOLDER]`.

Parts: lines, language, perplexity, reduce, share. Without --wet, the pages are those of `curate sample`.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from engine import CURATE, WORK

from curate import known
from curate.batch import Batch
from curate.documents import bounded
from curate.exchange import KeysWriter, Reduce, Settle, Verdict, verdict_name
from curate.runner import pin_threads
from curate.stage import Model

ROUNDS = 5
PUNCTUATION = re.compile("[，。、„”“«»１」「《》´’∶：？！（）；–━►—．～…〈〉【】％]")
DIGIT, CONTROL = re.compile(r"\d"), re.compile("[\x00-\x1f\x7f-\x9f]")


def pages(folder: str | None) -> list[str]:
    """Texts of web pages as they come from WET files, with all their lines."""
    from stages.read.wet import Wet

    if not folder:
        folder = str(WORK / "sample" / "commoncrawl" / "wet")
        if not Path(folder).exists():
            subprocess.run([*CURATE, "sample", str(WORK / "sample")], check=True, stdout=subprocess.DEVNULL)
    reader = Wet((folder,))
    items = (item for shard in reader.shards(1 << 30) for item in reader.read(shard))
    return [text for item in items if isinstance(item, pa.RecordBatch) for text in item["text"].to_pylist()]


def batches(texts: Sequence[str]) -> list[Batch]:
    """As a worker gets them."""
    return list(bounded(pa.record_batch(columns(texts)), 4096))


def columns(texts: Sequence[str]) -> dict[str, Any]:
    """Of a record batch."""
    return {"id": [str(n) for n in range(len(texts))], "text": pa.array(texts, pa.large_string()), "source": ["web"] * len(texts)}


def fresh(given: Sequence[Batch]) -> list[Batch]:
    """The same documents without the views that have been computed."""
    return [Batch.of(b.data) for b in given]


def timed(work: Callable[[], Any]) -> float:
    """Seconds."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def pairs(ours: Callable[[], Any], theirs: Callable[[], Any], rounds: int = ROUNDS) -> tuple[float, float, float]:
    """Median seconds of each, taken in turn, and the median of theirs / ours."""
    ours()
    found = [(timed(ours), timed(theirs)) for _ in range(rounds)]
    return statistics.median(a for a, _ in found), statistics.median(b for _, b in found), statistics.median(b / a for a, b in found)


# -- line dedup -----------------------------------------------------------------------------------------------------------------------


def ccnet_key(line: str) -> bytes:
    """A line as CCNet's code compares it."""
    line = line.strip().lower()
    if line:
        line = CONTROL.sub("", PUNCTUATION.sub("", DIGIT.sub("0", line)))
    return hashlib.sha1(line.encode()).digest()[:8]


def plain_loop(texts: Sequence[str]) -> list[str]:
    """CCNet's two passes in plain Python."""
    held: dict[bytes, bool] = {}
    for text in texts:
        keys = {ccnet_key(line) for line in text.split("\n")}
        for k in keys:
            held[k] = k in held
    out = []
    for text in texts:
        kept, seen = [], set()
        for line in text.split("\n"):
            k = ccnet_key(line)
            if not held[k] and k not in seen:
                seen.add(k)
                kept.append(line)
        out.append("\n".join(kept))
    return out


def dedup(stage: Any, given: Sequence[Batch], folder: str, settled: bool = False) -> list[Batch]:
    """All of a barrier in one process, or only its second half."""
    if not settled:
        writer = KeysWriter(stage, f"{folder}/keys", 1)
        first = 0
        for batch in given:
            writer.add(stage.emit(batch), first)
            first += len(batch)
        writer.close()
        Reduce(stage, (((0, f"{folder}/keys"),),), 1, f"{folder}/reduced")((0, 0))
        Settle(stage, f"{folder}/reduced", 1, folder)(0)
    verdict = Verdict(f"{folder}/{verdict_name(0)}", 0)
    out, first = [], 0
    for batch in given:
        out.append(stage.apply(batch, verdict.rows(first, len(batch)))[0])
        first += len(batch)
    return out


def lines(texts: list[str]) -> None:
    from stages.dedup.lines import Lines

    given, size = batches(texts), sum(len(t.encode()) for t in texts) / 1e6
    count = sum(t.count("\n") + 1 for t in texts)
    print(f"lines: {len(texts):,} pages, {size:.1f} MB, {count:,} lines")
    with tempfile.TemporaryDirectory() as folder:
        for name, stage in (("default mode", Lines()), ("CCNet's mode, sha1", Lines(hash="sha1"))):
            dedup(stage, fresh(given), folder)
            second = statistics.median(timed(lambda s=stage: dedup(s, fresh(given), folder, settled=True)) for _ in range(ROUNDS))
            print(f"  {name}: normalise + hash + look up + rewrite {size / second:.0f} MB/s")
            whole, loop, ratio = pairs(lambda s=stage: dedup(s, fresh(given), folder), lambda: plain_loop(texts), 3)
            print(f"  {name}: both passes and the exchange {size / whole:.0f} MB/s; plain Python {size / loop:.1f} MB/s: {ratio:.1f} times")
        same = [t for b in dedup(Lines(hash="sha1"), fresh(given), folder) for t in b.text.to_pylist()]
        print(f"  equal to the plain loop: {same == plain_loop(texts)}")


def reduce(_: list[str]) -> None:
    """Memory of one reduce over many distinct lines, in a process of its own."""
    rows = 30_000_000
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run([sys.executable, __file__, "--reduce-in", folder, str(rows)], check=True, capture_output=True, text=True)
        print(f"reduce: {done.stdout.strip()}")


def reduce_in(folder: str, rows: int) -> None:
    """Ten files of keys, three quarters of them distinct; prints how much the reduce adds to the process's peak."""
    from stages.dedup.lines import Lines

    stage = Lines(group=0)
    files = []
    rng = np.random.default_rng(1)
    keys = rng.integers(0, 2**64 - 1, rows, np.uint64, endpoint=True)
    keys[rng.permutation(rows)[: rows // 4]] = keys[: rows // 4]
    for number, part in enumerate(np.array_split(keys, 10)):
        writer = KeysWriter(stage, f"{folder}/{number}", 1)
        for piece in np.array_split(part, 20):
            table = {"key": piece, "row": np.arange(len(piece)), "count": np.ones(len(piece), np.uint32)}
            writer.add(pa.record_batch(table), 0)
        writer.close()
        files.append((number, f"{folder}/{number}"))
    distinct = len(np.unique(keys))
    del keys, part, piece, table, writer
    pid = os.fork()  # a child begins with a peak of its own
    if pid == 0:
        before = held()
        Reduce(stage, (tuple(files),), 1, f"{folder}/reduced")((0, 0))
        after = held()
        more = after - before
        print(f"{distinct / 1e6:.1f} M distinct lines of {rows / 1e6:.0f} M; {more:.0f} MB more, {more * 1e6 / distinct:.1f} bytes a line")
        sys.stdout.flush()
        os._exit(0)
    os.waitpid(pid, 0)


def held() -> float:
    """MB of anonymous memory at its highest: what is held, without files that are mapped."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) / 1e3


# -- language identification ------------------------------------------------------------------------------------------------------------


def language(texts: list[str]) -> None:
    from classifiers.language import FastText

    stage = FastText(Model(str(known.fetch(known.LID, known.folder()))))
    given = batches(texts)
    strings = [t.replace("\n", "") for t in texts]
    model = stage.loaded

    def theirs() -> None:
        for low in range(0, len(strings), 4096):
            model.predict(strings[low : low + 4096])

    ours, bare, ratio = pairs(lambda: [stage.apply(b) for b in fresh(given)], theirs)
    size = sum(len(t.encode()) for t in texts) / 1e6
    rates = f"{len(texts) / ours:,.0f} documents/s ({size / ours:.1f} MB/s); fastText's own batch call {len(texts) / bare:,.0f}"
    print(f"language: {rates}: {ratio:.3f}")


# -- perplexity -------------------------------------------------------------------------------------------------------------------------


def perplexity(texts: list[str]) -> None:
    """The stage against the bare calls of both libraries on the same strings, and where the time goes."""
    from classifiers import kenlm_model
    from classifiers.normalise import normalise
    from classifiers.normalise_kernel import normalise_spans
    from classifiers.perplexity import KenLM, Train
    from curate.stage import Totals

    half = len(texts) // 2
    trainer = Train(languages=("en",), pieces=16_000, estimator="own")
    learnt = pa.record_batch({**columns(texts[:half]), "language": ["en"] * half})
    totals = Totals(half, sum(map(len, texts[:half])))
    with tempfile.TemporaryDirectory() as folder:
        trainer.train({"documents": [trainer.select(Batch.of(learnt), "documents", totals)]}, folder)
        stage = KenLM(Model(folder), language="en")
        import kenlm
        import sentencepiece

        pieces = sentencepiece.SentencePieceProcessor(model_file=f"{folder}/en.sp.model")
        lm = kenlm.Model(f"{folder}/en.arpa.bin")
        given = batches(texts[half:])
        strings = [normalise(t) for t in texts[half:]]

        def bare() -> list[float]:
            return [lm.score(" ".join(pieces.encode(t, out_type=str)), bos=True, eos=True) for t in strings]

        size = sum(len(t.encode()) for t in texts[half:]) / 1e6
        ours, theirs, ratio = pairs(lambda: [stage.apply(b) for b in fresh(given)], bare)
        print(
            f"perplexity: {size / ours:.2f} MB/s; a bare SentencePiece + kenlm loop on normalised strings {size / theirs:.2f}: {ratio:.3f}"
        )
        pair = kenlm_model.load(f"{folder}/en.sp.model", f"{folder}/en.arpa.bin", None)
        found = [normalise_spans(*b.utf8) for b in given]
        encoded = [pair.encode(t)[0] for texts in found for t in texts]
        normal = timed(lambda: [normalise_spans(*b.utf8) for b in given])
        encode = timed(lambda: [pair.encode(t) for texts in found for t in texts])
        score = timed(lambda: [lm.score(t, bos=True, eos=True) for t in encoded])
        whole = normal + encode + score
        print(f"  of the time: normalise {normal / whole:.0%}, encode {encode / whole:.0%}, score {score / whole:.0%}")


def share(_: list[str]) -> None:
    """Two processes that score with one binary of about 1 GB: what each holds for itself."""
    from classifiers.ngrams import kenlm_binary, kneser_ney

    home = WORK / "share"
    binary = home / "en.arpa.bin"
    if not binary.exists():
        home.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(1)
        words = np.char.add("w", np.arange(30_000).astype(str))
        sentences = (" ".join(words[rng.integers(0, len(words), 20)]) for _ in range(550_000))
        kneser_ney.estimate(sentences, str(home / "en.arpa"), folder=str(home))
        kenlm_binary.build(str(home / "en.arpa"), str(binary))
        (home / "en.arpa").unlink()
    command = [sys.executable, __file__, "--hold", str(binary)]
    workers = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    for worker in workers:
        worker.stdout.readline()
    print(f"share: a binary of {binary.stat().st_size / 1e6:,.0f} MB, two processes")
    for worker in workers:
        lines = Path(f"/proc/{worker.pid}/smaps_rollup").read_text().splitlines()[1:]
        sizes = {line.split(":")[0]: int(line.split()[1]) / 1e3 for line in lines}
        private = sizes["Private_Clean"] + sizes["Private_Dirty"]
        print(f"  resident {sizes['Rss']:,.0f} MB, of its own {private:,.0f} MB, share of what is shared {sizes['Pss'] - private:,.0f} MB")
    for worker in workers:
        worker.communicate("\n")


def hold(binary: str) -> None:
    """Load a model as the stage does, score with all of it, and wait."""
    from classifiers import kenlm_model

    lm = kenlm_model.load_lm(binary, None, "POPULATE_OR_LAZY")
    rng = np.random.default_rng(2)
    for _ in range(1000):
        lm.score(" ".join(f"w{n}" for n in rng.integers(0, 30_000, 20)), bos=True, eos=True)
    print("ready", flush=True)
    sys.stdin.readline()


PARTS: dict[str, Callable[[list[str]], None]] = {
    "lines": lines,
    "reduce": reduce,
    "language": language,
    "perplexity": perplexity,
    "share": share,
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("parts", nargs="*")
    parser.add_argument("--wet", help="a folder of WET files")
    parser.add_argument("--reduce-in", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--hold", help=argparse.SUPPRESS)
    options = parser.parse_args()
    pin_threads()
    if options.hold:
        hold(options.hold)
        return
    if options.reduce_in:
        reduce_in(options.reduce_in[0], int(options.reduce_in[1]))
        return
    texts = pages(options.wet)
    for part in options.parts or PARTS:
        PARTS[part](texts)


if __name__ == "__main__":
    main()
