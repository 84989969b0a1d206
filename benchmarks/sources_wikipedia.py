"""Wikipedia: our cleaning against a bare loop of mwparserfromhell's strip_code on the same pages, in one process each; and two workers
against one on a single multistream dump. `taskset -c 1 python benchmarks/sources_wikipedia.py clean --corpus ../shared/corpus` and, on both
cores, `python benchmarks/sources_wikipedia.py workers --corpus ../shared/corpus`
"""

from __future__ import annotations

import argparse
import bz2
import os
import resource
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import mwparserfromhell
import pyarrow as pa

from curate.stage import Shard
from stages.read import wikipedia_namespaces as namespaces
from stages.read.wikipedia import Wikipedia
from stages.read.wikipedia_dump import Fragment, fragments, parse
from stages.read.wikitext import cleaner

TIMES = 3
STREAM = 100  # pages, as Wikimedia's dumps have
ENGLISH = "enwiki/enwiki-wp2txt-testdata_en.shared-pages.xml.bz2"
HEAD = b"<mediawiki><siteinfo><dbname>enwiki</dbname><base>https://en.wikipedia.org/wiki/Main_Page</base></siteinfo>\n"


def dump(corpus: Path) -> Iterator[bytes]:
    with bz2.open(corpus / "wikipedia" / ENGLISH) as file:
        for item in fragments(file, 1 << 24):
            if isinstance(item, Fragment):
                yield item.data


def best(work: Callable[[], Any], times: int = TIMES) -> float:
    """Seconds of the fastest of several."""
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        taken.append(time.perf_counter() - began)
    return min(taken)


def clean(corpus: Path) -> None:
    """Articles of the English sample, from wikitext to text."""
    found = (parse(data) for data in dump(corpus))
    texts = [page.text for page in found if page.text and page.namespace == "0" and not page.redirect]
    size = sum(len(text.encode()) for text in texts)
    ours = cleaner({"media": namespaces.media("en"), "category": namespaces.category("en")})
    mine = best(lambda: [ours(text) for text in texts])
    bare = best(lambda: [mwparserfromhell.parse(text).strip_code() for text in texts])
    print(f"{len(texts)} articles, {size / 1e6:.1f} MB of wikitext: ours {size / mine / 1e6:.2f} MB/s, a bare loop of strip_code ", end="")
    print(f"{size / bare / 1e6:.2f} MB/s, ratio {bare / mine:.2f}")


def multistream(corpus: Path, path: Path, size: int) -> int:
    """A dump of about `size` bytes, uncompressed; how many pages it has."""
    pages = list(dump(corpus))
    parts = [b"\n".join(pages[at : at + STREAM]) + b"\n" for at in range(0, len(pages), STREAM)]
    times = max(1, size // sum(map(len, parts)))
    streams = b"".join(map(bz2.compress, parts))
    with path.open("wb") as file:
        file.write(bz2.compress(HEAD))
        for _ in range(times):
            file.write(streams)
        file.write(bz2.compress(b"</mediawiki>\n"))
    return times * len(pages)


def processor_time() -> float:
    """Of this process and of the ones that it has waited for, which clean its pages."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def documents(work: tuple[Wikipedia, Shard]) -> tuple[int, int, float]:
    """(articles of a part, which worker it was, seconds of processor time)"""
    source, shard = work
    began = processor_time()
    count = sum(len(item) for item in source.read(shard) if isinstance(item, pa.RecordBatch))
    return count, os.getpid(), processor_time() - began


def workers(corpus: Path, size: int, target: int, times: int) -> None:
    """On a machine that is not idle the clock says little: beside it stands the processor time of the busier worker."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "enwiki-pages-articles-multistream.xml.bz2"
        multistream(corpus, path, size)
        source = Wikipedia(paths=(str(path),))
        work = [(source, shard) for shard in source.shards(target)]
        clock, busiest = {1: float("inf"), 2: float("inf")}, {1: float("inf"), 2: float("inf")}
        articles: set[int] = set()
        for _ in range(times):
            for count in (1, 2):
                with ProcessPoolExecutor(count) as pool:
                    list(pool.map(len, [""] * count))
                    began = time.perf_counter()
                    done = list(pool.map(documents, work))
                    clock[count] = min(clock[count], time.perf_counter() - began)
                busy: dict[int, float] = defaultdict(float)
                for _, worker, used in done:
                    busy[worker] += used
                busiest[count] = min(busiest[count], max(busy.values()))
                articles.add(sum(found for found, _, _ in done))
        assert len(articles) == 1
        print(f"{size / 1e6:.0f} MB of XML, {path.stat().st_size / 1e6:.1f} MB of bzip2, {len(work)} parts, {articles.pop()} articles:")
        for what, seconds in (("by the clock", clock), ("by processor time of the busier worker", busiest)):
            print(f"  {what}: one worker {seconds[1]:.1f} s, two {seconds[2]:.1f} s, ratio {seconds[1] / seconds[2]:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("clean", "workers", "all"), nargs="?", default="all")
    parser.add_argument("--corpus", type=Path, default=Path("../shared/corpus"))
    parser.add_argument("--size", type=float, default=120e6, help="bytes of XML of the multistream dump")
    parser.add_argument("--target", type=float, default=1, help="shard_bytes; 1 for the smallest parts")
    parser.add_argument("--times", type=int, default=TIMES, help="for two workers against one")
    given = parser.parse_args()
    if given.what != "workers":
        clean(given.corpus)
    if given.what != "clean":
        workers(given.corpus, int(given.size), int(given.target), given.times)


if __name__ == "__main__":
    main()
