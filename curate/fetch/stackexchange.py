"""StackExchange: each site's dump, a .7z, from an item of the Internet Archive, with size and SHA-1 from the item's metadata (spec 8.1).

Stack Overflow has one archive for each table: only its posts are fetched. `top` takes the largest archives without the metas, which is
close to the order by questions and answers (spec 8.2): take some more, and let the reader rank them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from curate.errors import RecipeError
from curate.fetch.wanted import Wanted, digest, whole
from curate.fetch.web import Refused, Web
from curate.values import near

ADDRESS = "https://archive.org"
ITEM = "stackexchange"
LISTING = 64 << 20  # bytes


def files(web: Web, base: str, item: str, sites: Sequence[str], top: int | None) -> list[Wanted]:
    """The archives of these sites, or of the largest."""
    url = f"{base}/metadata/{item}"
    try:
        entries = {str(e["name"]): e for e in json.loads(web.read(url, LISTING)[0])["files"]}
    except (ValueError, KeyError, TypeError, RecursionError):
        raise Refused(f"{url}: is no metadata of an item that there is. Name another --item, or a mirror with --from") from None
    archives = by_site(list(entries))
    if top is not None:
        ranked = sorted((s for s in archives if not is_meta(s)), key=lambda s: (-(whole(entries[archives[s]].get("size")) or 0), s))
        if top > len(ranked):
            raise RecipeError(f"--top {top}: {item} has {len(ranked)} sites without the metas")
        sites = ranked[:top]
    chosen = [archives[named(site, archives, url)] for site in dict.fromkeys(sites)]
    return [
        Wanted(f"{base}/download/{item}/{n}", f"stackexchange/{n}", whole(entries[n].get("size")), digest(entries[n], "sha1", "md5"))
        for n in dict.fromkeys(chosen)
    ]


def by_site(names: Sequence[str]) -> dict[str, str]:
    """{site: its archive, or that of its posts}."""
    found: dict[str, str] = {}
    for name in names:
        site, dot, _ = name.rpartition(".7z")
        if not dot or not name.endswith(".7z"):
            continue
        host, _, table = site.partition("-")
        if not table or table == "Posts":
            found[host] = name
    return found


def is_meta(site: str) -> bool:
    """meta.stackexchange.com, es.meta.stackoverflow.com, cooking.meta.stackexchange.com."""
    return "meta" in site.split(".")


def named(site: str, archives: dict[str, str], url: str) -> str:
    """The site of a name as people write it: superuser, cooking.stackexchange.com, beer."""
    for form in (site, f"{site}.com", f"{site}.stackexchange.com", f"{site}.net"):
        if form in archives:
            return form
    raise RecipeError(f"{site}: no such site in {url}{near(site, [*archives, *(a.split('.')[0] for a in archives)])}")
