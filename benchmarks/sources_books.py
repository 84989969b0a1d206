"""Books, one process: headers and footers against a Python line loop, reading against open and decode, EPUB against bare resiliparse,
SimHash against hashlib; and what bands propose of copies of real books. `python benchmarks/sources_books.py --corpus ../shared/corpus`
"""

from __future__ import annotations

import argparse
import hashlib
import html
import os
import random
import re
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import pyarrow as pa
from resiliparse.extract.html2text import extract_plain_text

from curate.batch import Batch
from stages.dedup.minhash import Books
from stages.dedup.simhash import SimHash
from stages.gutenberg import Strip
from stages.read.epub import Epub
from stages.read.gutenberg import Gutenberg

TIMES = 5
OF = ("THE PROJECT GUTENBERG", "THIS PROJECT GUTENBERG")
STARTS = ("*END*THE SMALL PRINT", *(f"*** START OF {of}" for of in OF), "***START OF THE PROJECT GUTENBERG", "This etext was prepared by")
STARTS = (*STARTS, "E-text prepared by", "Produced by", "The Project Gutenberg")
ENDS = (*(f"*** END OF {of}" for of in OF), "***END OF THE PROJECT GUTENBERG", "End of the Project Gutenberg", "End of Project Gutenberg")


def best(work: Callable[[], Any], times: int = TIMES) -> float:
    """Seconds of processor time of the fastest of several: the machine may be shared."""
    taken = []
    for _ in range(times):
        began = time.process_time()
        work()
        taken.append(time.process_time() - began)
    return min(taken)


def line_loop(text: str) -> str:
    """The circulating rule in Python."""
    out: list[str] = []
    kept, skips = 0, False
    for line in text.split("\n"):
        if kept <= 600 and line.startswith(STARTS):
            out = []
            continue
        if kept >= 100 and line.startswith(ENDS):
            break
        if line.startswith("<<THIS ELECTRONIC VERSION OF"):
            skips = True
        elif line.startswith("SERVICE THAT CHARGES FOR DOWNLOAD"):
            skips = False
        elif not skips:
            out.append(line)
            kept += 1
    return "\n".join(out).strip()


def everything(source: Any) -> list[pa.RecordBatch]:
    return [item for shard in source.shards(1 << 60) for item in source.read(shard) if isinstance(item, pa.RecordBatch)]


def said(what: str, size: float, ours: float, peer: str, theirs: float, their_size: float | None = None) -> None:
    """One line: speeds and their ratio."""
    a, b = size / ours / 1e6, (their_size or size) / theirs / 1e6
    print(f"{what:34} {a:8.1f} MB/s   {peer:38} {b:8.1f} MB/s   ratio {a / b:6.1f}", flush=True)


def reading(raw: Path) -> None:
    """Files to batches."""
    files = sorted(raw.rglob("*.txt"))
    size = sum(f.stat().st_size for f in files)

    def bare() -> list[pa.Array]:
        return [pa.array([f.read_bytes().decode("utf-8-sig").replace("\r\n", "\n")], pa.large_string()) for f in files]

    source = Gutenberg(paths=(str(raw),))
    said("read.gutenberg.Gutenberg", size, best(lambda: everything(source)), "open, decode, replace", best(bare))


def stripping(raw: Path) -> None:
    """What the issue asks 100 MB/s of."""
    data = pa.concat_batches(everything(Gutenberg(paths=(str(raw),))))
    texts = data["text"].to_pylist()
    Strip().apply(Batch.of(data))  # compiled
    ours = best(lambda: Strip().apply(Batch.of(data)))
    theirs = best(lambda: [line_loop(text) for text in texts])
    said("gutenberg.Strip", data["text"].nbytes, ours, "the rule as a Python line loop", theirs)

    def both() -> None:
        for batch in everything(Gutenberg(paths=(str(raw),))):
            Strip().apply(Batch.of(batch))

    size = sum(f.stat().st_size for f in raw.rglob("*.txt"))
    said("read.gutenberg + gutenberg.Strip", size, best(both), "the same", theirs, data["text"].nbytes)


def write_epub(path: Path, text: str) -> int:
    """A book of chapters of sixty paragraphs; bytes of XHTML."""
    paragraphs = [html.escape(" ".join(p.split())) for p in re.split(r"\n\s*\n", text) if p.strip()]
    chapters = [paragraphs[n : n + 60] for n in range(0, len(paragraphs), 60)]
    items = "".join(f'<item id="c{n}" href="{n}.xhtml" media-type="application/xhtml+xml"/>' for n in range(len(chapters)))
    spine = "".join(f'<itemref idref="c{n}"/>' for n in range(len(chapters)))
    size = 0
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("META-INF/container.xml", '<container><rootfiles><rootfile full-path="a.opf"/></rootfiles></container>')
        archive.writestr("a.opf", f"<package><metadata/><manifest>{items}</manifest><spine>{spine}</spine></package>")
        for n, chapter in enumerate(chapters):
            page = "<html><head><title>x</title></head><body>" + "\n".join(f"<p>{p}</p>" for p in chapter) + "</body></html>"
            archive.writestr(f"{n}.xhtml", page)
            size += len(page.encode())
    return size


def epubs(clean: Path) -> None:
    """Archives to batches; a peer that only unpacks and extracts."""
    with tempfile.TemporaryDirectory() as folder:
        size = sum(write_epub(Path(folder) / f"{f.stem}.epub", f.read_text("utf-8-sig")) for f in sorted(clean.glob("*.txt")))

        def bare() -> None:
            for path in sorted(Path(folder).glob("*.epub")):
                with zipfile.ZipFile(path) as archive:
                    pages = [archive.read(name).decode() for name in archive.namelist() if name.endswith(".xhtml")]
                pa.array(["\n\n".join(extract_plain_text(page, alt_texts=False, list_bullets=False) for page in pages)], pa.large_string())

        source = Epub(paths=(folder,))
        said("read.epub.Epub (of XHTML)", size, best(lambda: everything(source)), "zipfile and resiliparse", best(bare))


def simhash(text: str) -> int:
    """The package's, by hashlib and one count per bit."""
    kept = re.sub(r"[^\w]+", "", text.lower())
    counts = [0] * 64
    for n in range(max(len(kept) - 5, 1)):
        h = int.from_bytes(hashlib.md5(kept[n : n + 6].encode()).digest()[8:], "big")
        for bit in range(64):
            counts[bit] += 1 if h >> bit & 1 else -1
    return sum(1 << bit for bit in range(64) if counts[bit] > 0)


def simhashing(clean: Path) -> None:
    """Hashes of whole books; the peer's of a part of one."""
    texts = [f.read_text("utf-8-sig") for f in sorted(clean.glob("*.txt"))]
    batch = Batch.of(pa.record_batch({"text": pa.array(texts, pa.large_string())}))
    part = texts[0]
    assert int(SimHash().hashes(batch)[0]) == simhash(part)
    ours, theirs = best(lambda: SimHash().hashes(batch), 3), best(lambda: simhash(part), 1)
    said("dedup.simhash.SimHash", batch.text.nbytes, ours, "hashlib in Python", theirs, len(part.encode()))


def proposing(raw: Path) -> None:
    """Of copies that share more than 0.9 of the smaller book's shingles: how many do bands propose for comparison."""
    texts = [t for b in everything(Gutenberg(paths=(str(raw),))) for t in Strip().apply(Batch.of(b))[0].text.to_pylist()]
    books = [words for words in map(str.split, texts) if len(words) < 70_000][:30]
    rng = random.Random(1)

    def other(n: int) -> list[str]:
        return books[(n + 7) % len(books)] * 10

    copies: dict[str, Callable[[int, list[str]], list[str]]] = {
        "the last 8 % of another": lambda n, b: b[: int(0.92 * len(b))] + other(n)[: len(b) - int(0.92 * len(b))],
        "1.8 % of the words others": lambda _, b: [w if rng.random() > 0.018 else rng.choice(b) for w in b],
        "the first 80 %": lambda _, b: b[: int(0.8 * len(b))],
        "the first half": lambda _, b: b[: len(b) // 2],
        "in one volume with another": lambda n, b: b + books[(n + 7) % len(books)],
    }
    for name, copy in copies.items():
        found = {}
        for bands, rows in ((9, 13), (20, 8), (60, 3)):
            stage = Books(bands=bands, rows=rows, sample=0)
            both = [Batch.of(pa.record_batch({"text": pa.array([" ".join(b), " ".join(copy(n, b))])})) for n, b in enumerate(books)]
            keys = [(k[first[0] : last[0]], k[first[1] : last[1]]) for first, last, k, _ in map(stage.keys, both)]
            found[f"{bands} x {rows}"] = sum(bool(set(a.tolist()) & set(b.tolist())) for a, b in keys)
        print(f"{name:30} of {len(books)}: " + ", ".join(f"{k}: {v}" for k, v in found.items()), flush=True)


def main(arguments: Iterable[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", type=Path, required=True, help="a folder with books/gutenberg_raw and books/litbank_clean")
    books = parser.parse_args(arguments).corpus / "books"
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    pa.set_cpu_count(1)
    reading(books / "gutenberg_raw")
    stripping(books / "gutenberg_raw")
    epubs(books / "litbank_clean")
    simhashing(books / "litbank_clean")
    proposing(books / "gutenberg_raw")


if __name__ == "__main__":
    main()
