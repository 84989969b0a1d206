"""C4's steps as ratios, on the pages of a folder of WET files: against datatrove's C4 filter, NLTK, langdetect and `re`.

    python benchmarks/sources_c4.py --corpus FOLDER [--punkt FILE] [--words FILE] [part ...]     parts: lines steps hostile

One process; best of several. FOLDER has commoncrawl/packed_wet and, if `words` is to be measured, quality_toxicity/LDNOOBW/en.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from classifiers import punkt
from curate import known
from curate.batch import Batch
from curate.kernels.text import split_lines
from curate.stage import Model
from stages import c4_kernels
from stages.c4 import BadWords, Clean, Language
from stages.read.wet import Wet

ROOT = Path(__file__).resolve().parents[1]
WORK = ROOT / "runs" / "benchmarks"
PEER = ROOT / "benchmarks" / ".peers" / "bin" / "python"
TIMES = 5


def pages(corpus: Path) -> Batch:
    """All pages as C4 takes them."""
    reader = Wet((str(corpus / "commoncrawl" / "packed_wet"),), title="keep", min_chars=0)
    items = [item for shard in reader.shards(1 << 30) for item in reader.read(shard)]
    return Batch.of(pa.Table.from_batches([item for item in items if isinstance(item, pa.RecordBatch)]).combine_chunks().to_batches()[0])


def best(work: Callable[[], Any], times: int = TIMES) -> tuple[float, Any]:
    """Seconds of the fastest, after one that compiles; and what it gave."""
    answer = work()
    seconds = []
    for _ in range(times):
        began = time.perf_counter()
        answer = work()
        seconds.append(time.perf_counter() - began)
    return min(seconds), answer


def fresh(batch: Batch) -> Batch:
    """Without the views that were computed before."""
    return Batch.of(batch.data)


def lines(batch: Batch, model: Model, _: argparse.Namespace) -> None:
    """C4's rules for lines, and c4.Clean whole, against datatrove's filter."""
    size = int(batch.size.sum()) / 1e6
    print(f"lines: {len(batch):,} pages of WET, {size:.1f} MB")
    ours = Clean(model)
    limits = ours.max_word, ours.min_words, False
    kernel, _answer = best(lambda: c4_kernels.judge(*batch.utf8, ours.headers, ours.end_marks, ours.policies, limits))
    whole, _answer = best(lambda: ours.apply(fresh(batch)))
    print(f"  line rules {size / kernel:.0f} MB/s; c4.Clean with all sentences {size / whole:.0f} MB/s")
    if not PEER.exists():
        print("  datatrove skipped: python benchmarks/engine.py --install-peers")
        return
    WORK.mkdir(parents=True, exist_ok=True)
    path, answer = WORK / "c4-pages.parquet", WORK / "c4-datatrove.json"
    pq.write_table(pa.table({"text": batch.text}), path)
    subprocess.run([str(PEER), str(ROOT / "benchmarks" / "peer_datatrove_c4.py"), str(path), str(answer), "2"], check=True)
    theirs = json.loads(answer.read_text())
    same: dict[str, Any] = {"min_words": 3, "end_marks": ".?!\"'", "count_words": "before", "headers": (), "max_chars": None}
    for name, sentences in (("lines", 0), ("whole", 5)):
        stage = Clean(model, min_sentences=sentences, **same)
        seconds, (after, checks, _gone) = best(lambda stage=stage: stage.apply(fresh(batch)))
        kept = [all(check.passed[n] for check in checks.values()) for n in range(len(batch))]
        left = [text if stays else None for text, stays in zip(after.text.to_pylist(), kept, strict=True)]
        other = sum(a != b for a, b in zip(left, theirs[name]["left"], strict=True))
        ratio = theirs[name]["seconds"] / seconds
        what = "its rules without sentences" if name == "lines" else "its filter whole"
        speeds = f"{size / seconds:.0f} MB/s, datatrove {size / theirs[name]['seconds']:.1f} MB/s"
        print(f"  {what}: {speeds}: {ratio:.0f} times; {other} pages differ")


def steps(batch: Batch, model: Model, arguments: argparse.Namespace) -> None:
    """Sentences, hashes of lines, bad words and languages, on pages that c4.Clean keeps."""
    after, checks, _ = Clean(model).apply(batch)
    for check in checks.values():
        after = after.where(check.passed) if len(check.passed) == len(after) else after
    kept = Batch.of(after.data.slice(0, 400))
    size, texts = int(kept.size.sum()) / 1e6, kept.text.to_pylist()
    print(f"steps: {len(kept):,} cleaned pages, {size:.1f} MB")
    tokenizer = punkt.load(model)
    enough, _answer = best(lambda: [punkt.count(tokenizer, text, 3) for text in texts], 3)
    whole, _answer = best(lambda: [len(tokenizer.tokenize(text)) for text in texts], 1)
    print(
        f"  three sentences {size / enough:.1f} MB/s, {enough / len(texts) * 1e6:.0f} us a page; NLTK all of them {size / whole:.1f} MB/s"
    )
    found = split_lines(*kept.utf8)
    seconds, _answer = best(lambda: c4_kernels.hash_lines(kept.utf8[0], *found[2:]))
    print(f"  hashes of lines {size / seconds:.0f} MB/s")
    words = arguments.words or arguments.corpus / "quality_toxicity" / "LDNOOBW" / "en"
    if words.exists():
        stage = BadWords(Model(str(words)))
        pattern = re.compile(rf"(?:\W|^)(?:{'|'.join(map(re.escape, stage.listed()))})(?:\W|$)")
        seconds, checks = best(lambda: stage.keep(kept))
        regular, answer = best(lambda: [not pattern.search(text.lower()) for text in texts], 1)
        assert checks["bad_word"].passed.tolist() == answer
        print(f"  bad words {size / seconds:.0f} MB/s, `re` {size / regular:.1f} MB/s: {regular / seconds:.0f} times")
    few = Batch.of(kept.data.slice(0, 100))
    size = int(few.size.sum()) / 1e6
    seconds, _answer = best(lambda: Language().apply(few), 1)
    print(f"  c4.Language {size / seconds:.2f} MB/s, {seconds / len(few) * 1e3:.1f} ms a page, nearly all of it in langdetect")


def hostile(_: Batch, model: Model, __: argparse.Namespace) -> None:
    """Pages of 190,000 characters that are made to take long."""
    stage = Clean(model)
    many = {
        "one word": "x" * 190_000,
        "full stops": "." * 190_000,
        "brackets": "[" * 190_000,
        "digits": "[" + "1" * 189_990,
        "marks": "? ! " * 47_500,
        "open quotes": '" a b c d e. ' * 14_000,
        "blank": " " * 190_000,
        "abbreviations": "Mr. " * 47_000 + ".",
        "no space": "a.b" * 60_000 + ".",
        "lines": "a b c d e.\n" * 17_000,
        "separators": "\u2028" * 190_000,
        "phrases": "lorem ipsu javascrip use of cookie " * 5_000 + ".",
    }
    print("hostile: milliseconds a page of 190,000 characters")
    for name, text in many.items():
        batch = Batch.of(pa.record_batch({"text": pa.array([text[:190_000]], pa.large_string())}))
        clean, _answer = best(lambda batch=batch: stage.apply(fresh(batch)), 1)
        count, _answer = best(lambda text=text: punkt.count(stage.sentences, text, 3), 1)
        tongue, _answer = best(lambda batch=batch: Language().apply(batch), 1)
        print(f"  {name:14} c4.Clean {clean * 1e3:8.1f}   three sentences of it {count * 1e3:8.1f}   c4.Language {tongue * 1e3:8.1f}")


PARTS = {"lines": lines, "steps": steps, "hostile": hostile}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="part", help=", ".join(PARTS))
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--punkt", type=Path, help="punkt_tab.zip; otherwise it is fetched")
    parser.add_argument("--words", type=Path)
    arguments = parser.parse_args()
    model = Model(str(arguments.punkt or known.fetch(known.PUNKT, known.folder())))
    batch = pages(arguments.corpus)
    for part in arguments.parts or PARTS:
        PARTS[part](batch, model, arguments)


if __name__ == "__main__":
    main()
