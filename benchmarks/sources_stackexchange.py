"""StackExchange: `python benchmarks/sources_stackexchange.py --corpus FOLDER [--size 2e9] [parts ...]`; see README.md.

`scan`, `text`: the reader against ElementTree's C parser, and text of HTML against BeautifulSoup with lxml, whose results are the same, on
the folder's own posts. `pair`: `curate run` from one synthetic Posts.xml to paired text, one worker, then two, with the most memory
that all its processes had together. The site is made of paragraphs of the folder's posts, under `--scratch`, and removed again.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from xml.sax.saxutils import escape

import psutil
import pyarrow as pa

from stages.read.stackexchange import Posts
from stages.stackexchange_html import text_of

ANSWERS = 0.6  # of the posts
RECIPE = """
name: pairing
seed: 1
sources:
  stackexchange:
    - read.stackexchange.Posts: {paths: ["SITE"]}
    - stackexchange.Text
    - stackexchange.Pair
"""


def posts(corpus: Path) -> list[dict[str, Any]]:
    """Those of the folder's dumps."""
    source = Posts((f"{corpus}/stackexchange/**/Posts.xml",))
    found = [item for shard in source.shards(1 << 40) for item in source.read(shard)]
    return [row for item in found if isinstance(item, pa.RecordBatch) for row in item.to_pylist()]


def site(path: Path, size: float, corpus: Path) -> None:
    """A Posts.xml: bodies of one to twelve paragraphs, lists or code of real ones, half of the answers within a thousand posts of their
    question, the others anywhere, also before it."""
    rng = random.Random(5)
    pieces = [
        piece for post in posts(corpus) for piece in re.split(r"\n\n(?=<)", post["text"]) if piece.count("<p>") == piece.count("</p>")
    ]
    escaped = [escape(piece, {'"': "&quot;", "\n": "&#xA;"}) + "&#xA;&#xA;" for piece in pieces]
    bodies = ["".join(rng.choices(escaped, k=rng.randint(1, 12))) for _ in range(20_000)]
    count = int(size / (sum(map(len, bodies)) / len(bodies) + 330))
    head = '  <row Id="{}" PostTypeId="{}" CreationDate="2014-01-21T20:26:05.383" Score="{}" ViewCount="62" Body="{}" OwnerUserId="7" '
    head += 'LastActivityDate="2014-01-21T22:04:34.977" CommentCount="0" ContentLicense="CC BY-SA 3.0" '
    with path.open("w", encoding="utf-8") as out:
        out.write('\ufeff<?xml version="1.0" encoding="utf-8"?>\n<posts>\n')
        is_answer = [rng.random() < ANSWERS for _ in range(count)]
        questions = [n for n, answer in enumerate(is_answer) if not answer]
        for n, answer in enumerate(is_answer):
            row = head.format(n, 2 if answer else 1, rng.randint(-3, 400), rng.choice(bodies))
            if answer:
                at = int(n * (1 - ANSWERS) - rng.random() * 400) if rng.random() < 0.5 else rng.randrange(len(questions))
                row += f'ParentId="{questions[min(max(at, 0), len(questions) - 1)]}" />\n'
            else:
                row += f'Title="What is a citra hop, and how does it differ from hop {n}?" Tags="&lt;hops&gt;" AnswerCount="1" />\n'
            out.write(row)
        out.write("</posts>")


def best(work: Callable[[], Any], times: int = 3) -> float:
    """Seconds."""
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        taken.append(time.perf_counter() - began)
    return min(taken)


def scan(corpus: Path, scratch: Path) -> None:
    """The reader alone."""
    path = scratch / "Posts.xml"
    site(path, 100e6, corpus)
    source, size = Posts((str(path),)), path.stat().st_size / 1e6

    def own() -> None:
        for shard in source.shards(1 << 40):
            for _ in source.read(shard):
                pass

    def tree() -> None:
        for _, element in ElementTree.iterparse(path):
            element.clear()

    own()
    ours, theirs = best(own), best(tree, 2)
    print(f"reader: {size / ours:.0f} MB/s of XML; {theirs / ours:.1f} times ElementTree.iterparse without a use of what it finds")


def text(corpus: Path, _: Path) -> None:
    """HTML to text."""
    from bs4 import BeautifulSoup

    warnings.simplefilter("ignore")
    html = [post["text"] for post in posts(corpus)]
    column = pa.array(html, pa.large_string())
    size = column.nbytes / 1e6
    marked = [h.replace("<li>", "\n*").replace("</li>", "").replace("<ol>", "\n*").replace("</ol>", "") for h in html]
    wanted = [BeautifulSoup(h, "lxml").get_text() for h in marked]
    assert text_of(column).to_pylist() == wanted
    ours, theirs = best(lambda: text_of(column), 10), best(lambda: [BeautifulSoup(h, "lxml").get_text() for h in marked])
    print(f"text: {size / ours:.0f} MB/s of HTML; {theirs / ours:.0f} times BeautifulSoup with lxml, the same text")


def pair(corpus: Path, scratch: Path, size: float, runs: int) -> None:
    """`curate run`."""
    path = scratch / "beer.stackexchange.com" / "Posts.xml"
    path.parent.mkdir()
    site(path, size, corpus)
    megabytes = path.stat().st_size / 1e6
    recipe = scratch / "recipe.yaml"
    recipe.write_text(RECIPE.replace("SITE", str(path)))
    taken: dict[str, float] = {}
    for _ in range(runs):
        for options in ("--local", "--workers 1", "--workers 2"):
            seconds, processor, memory = command(recipe, scratch / "out", *options.split())
            taken[options] = min(taken.get(options, seconds), seconds)
            print(f"  {options}: {seconds:.1f} s, {megabytes / seconds:.1f} MB/s of XML, {memory:,.0f} MB of memory", end="; ")
            print(f"{processor:.1f} s of processor time" if options == "--local" else "")
            rows = json.loads((scratch / "out" / "stats.json").read_text())
            print("   ", ", ".join(f"{row['stage']} {row['seconds']:.1f} s" for row in rows), flush=True)
    speed = megabytes / taken["--local"]
    print(
        f"pair: {megabytes:,.0f} MB at {speed:.1f} MB/s; two workers {taken['--workers 1'] / taken['--workers 2']:.2f} times as fast as one"
    )


def command(recipe: Path, out: Path, *options: str) -> tuple[float, float, float]:
    """(seconds, seconds of processor time without Ray's processes, MB that its largest process had at its most: looked at five times a
    second, without what is only mapped)."""
    shutil.rmtree(out, ignore_errors=True)
    began = time.perf_counter()
    arguments = [str(Path(sys.executable).with_name("curate")), "run", str(recipe), "--out", str(out), *options]
    most = 0
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with subprocess.Popen(arguments, stdout=subprocess.DEVNULL, env=os.environ | {"OMP_NUM_THREADS": "1"}) as process:
        of = psutil.Process(process.pid)
        while process.poll() is None:
            try:
                for one in (of, *of.children(recursive=True)):
                    held = one.memory_info()
                    most = max(most, held.rss - held.shared)
            except psutil.Error:
                pass
            time.sleep(0.2)
        if process.returncode:
            sys.exit("curate run failed")
    seconds = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, most / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", default=["scan", "text", "pair"])
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--size", type=float, default=2e9)
    parser.add_argument("--runs", type=int, default=2)
    parser.add_argument("--scratch", default=tempfile.gettempdir())
    given = parser.parse_args()
    for part in given.parts:
        with tempfile.TemporaryDirectory(prefix="curate-stackexchange-", dir=given.scratch) as folder:
            if part == "pair":
                pair(given.corpus, Path(folder), given.size, given.runs)
            else:
                {"scan": scan, "text": text}[part](given.corpus, Path(folder))


if __name__ == "__main__":
    main()
