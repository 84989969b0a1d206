"""C4 as AllenAI publishes it on the hub: gzipped JSON lines, with size and SHA-256 from the hub's listing (spec 3.1).

The listing comes in pages; a page's address is ours with the cursor that the page before names, so that no listing leads elsewhere.
"""

from __future__ import annotations

import json
import re
from urllib.parse import parse_qs, quote, urlsplit

from curate.errors import RecipeError
from curate.fetch.wanted import Wanted, whole
from curate.fetch.web import Refused, Web
from curate.values import near

ADDRESS = "https://huggingface.co"
DATA_SET = "allenai/c4"
CONFIGS = ("en", "en.noblocklist", "en.noclean", "realnewslike", "multilingual")
NAME = re.compile(
    r"c4-(?P<split>[a-z-]*?(train|validation))\.(tfrecord-)?\d{5}-of-\d{5}\.json\.gz|c4-[A-Za-z-]+\.tfrecord-\d{5}-of-\d{5}\.json\.gz"
)
NEXT = re.compile(r"<([^>]*)>\s*;\s*rel=\"?next\"?")
LISTING = 64 << 20  # bytes of a page
PAGES = 1000


def files(web: Web, base: str, config: str, count: int | None, revision: str) -> list[Wanted]:
    """The training files of a configuration, or the first `count` of them."""
    if config not in CONFIGS:
        raise RecipeError(f"--config {config}: there are {', '.join(CONFIGS)}{near(config, CONFIGS)}")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", revision):
        raise RecipeError(f"--revision {revision}: expected a branch, a tag or a commit")
    found = []
    for entry in listing(web, f"{base}/api/datasets/{DATA_SET}/tree/{revision}/{config}"):
        name = str(entry.get("path")).removeprefix(f"{config}/")
        if not NAME.fullmatch(name) or "validation" in name:
            continue
        large = entry.get("lfs") or {}
        sha256 = f"sha256:{large['oid']}" if large.get("oid") else ""
        url = f"{base}/datasets/{DATA_SET}/resolve/{revision}/{config}/{quote(name)}"
        found.append(Wanted(url, f"c4/{config}/{name}", whole(large.get("size", entry.get("size"))), sha256))
    found.sort(key=lambda w: w.path)
    if count is not None and count > len(found):
        raise RecipeError(f"--files {count}: {config} has {len(found):,} training files")
    if not found:
        raise Refused(f"{base}: the listing of {DATA_SET}, {config} has no training file. Name a mirror with --from")
    return found[:count]


def listing(web: Web, url: str) -> list[dict[str, dict[str, object]]]:
    """The entries of all pages."""
    entries: list[dict[str, dict[str, object]]] = []
    page = url
    for _ in range(PAGES):
        data, headers = web.read(page, LISTING)
        try:
            found = json.loads(data)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, list) or not all(isinstance(e, dict) and isinstance(e.get("lfs") or {}, dict) for e in found):
            raise Refused(f"{url}: is no listing of files. Name a mirror with --from")
        entries += found
        following = NEXT.search(headers.get("Link") or "")
        cursor = parse_qs(urlsplit(following[1]).query).get("cursor") if following else None
        if not cursor:
            return entries
        page = f"{url}?cursor={quote(cursor[0], safe='')}"
    raise Refused(f"{url}: more than {PAGES:,} pages")
