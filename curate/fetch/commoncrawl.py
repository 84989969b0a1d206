"""Common Crawl: the WET or WARC files of one crawl, from its list of paths (spec 1.1). No checksums are published: gzip's are used.

A whole crawl is about 90,000 files of each kind: some are taken, the first ones, or evenly from all with a seed.
"""

from __future__ import annotations

import gzip
import io
import random
import re
import zlib

from curate.errors import RecipeError
from curate.fetch.wanted import Wanted, evenly
from curate.fetch.web import Refused, Web

ADDRESS = "https://data.commoncrawl.org"
CRAWL = re.compile(r"CC-MAIN-\d{4}(-\d{2}|-\d{4})?")
KINDS = ("wet", "warc")
LISTING = 64 << 20  # bytes, compressed or not
LARGEST = 16 << 30  # bytes of a file; they have 0.1 to 1.2 GB


def files(web: Web, base: str, crawl: str, count: int, kind: str, seed: int | None) -> list[Wanted]:
    """So many files of a crawl."""
    if not CRAWL.fullmatch(crawl):
        hint = f"; did you mean CC-MAIN-{crawl}?" if CRAWL.fullmatch(f"CC-MAIN-{crawl}") else ""
        raise RecipeError(f"{crawl}: expected the name of a crawl, such as CC-MAIN-2019-18{hint}")
    url = f"{base}/crawl-data/{crawl}/{kind}.paths.gz"
    paths = unpacked(web.read(url, LISTING)[0], url).decode("utf-8", "replace").split()
    if count > len(paths):
        raise RecipeError(f"--segments {count}: {crawl} has {len(paths):,} {kind} files")
    chosen = range(count) if seed is None else evenly(count, len(paths), random.Random(seed).random())
    name = {n: paths[n].rsplit("/", 1)[-1] for n in chosen}
    for n in chosen:
        if not paths[n].startswith("crawl-data/") or ".." in paths[n].split("/"):
            raise Refused(f"{url}: {paths[n][:200]!r} in it is no path of a crawl")
    return [Wanted(f"{base}/{paths[n]}", f"commoncrawl/{crawl}/{kind}/{name[n]}", most=LARGEST) for n in chosen]


def unpacked(data: bytes, url: str) -> bytes:
    """A small gzip file, whose size is bounded. Raises Refused for another."""
    try:
        with gzip.open(io.BytesIO(data)) as file:  # of several members all
            text = file.read(LISTING + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise Refused(f"{url}: is no whole gzip file ({error})") from None
    if len(text) > LISTING:
        raise Refused(f"{url}: is longer than {LISTING:,} bytes")
    return text
