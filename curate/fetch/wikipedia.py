"""Wikipedia: the multistream dump of articles, by language and date, with size and SHA-1 from the dump's own status (spec 5.1).

The publisher keeps the dumps of the last months; older ones, such as those of June to August 2022, are with mirrors: `--from`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from curate.errors import RecipeError
from curate.fetch.wanted import Wanted, digest, whole
from curate.fetch.web import Refused, Web

ADDRESS = "https://dumps.wikimedia.org"
JOB = "articlesmultistreamdump"
NAME = re.compile(r"[a-z0-9_]+-\d{8}-pages-articles-multistream\d*\.xml(-p\d+p\d+)?\.bz2")
LANGUAGE = re.compile(r"[a-z]{2,3}(-[a-z]+)*|simple")
DATED = re.compile(rb"href=\"(\d{8})/\"")
LISTING = 32 << 20  # bytes
LATEST_TRIES = 4  # the last dump may not be complete, nor the one before


def files(web: Web, base: str, languages: Sequence[str], date: str) -> list[Wanted]:
    """The dumps of these languages."""
    for language in languages:
        if not LANGUAGE.fullmatch(language):
            raise RecipeError(f"--language {language}: expected the code of a Wikipedia, such as en, pt or simple")
    if not re.fullmatch(r"\d{8}|latest", date):
        raise RecipeError(f"--date {date}: expected `latest` or a date such as 20220720")
    return [w for language in dict.fromkeys(languages) for w in dump(web, base, language.replace("-", "_") + "wiki", date)]


def dump(web: Web, base: str, wiki: str, date: str) -> list[Wanted]:
    """One wiki's dump; the latest is the newest that is complete."""
    if date != "latest":
        job = status(web, base, wiki, date)
        if job.get("status") != "done":
            raise Refused(f"{base}/{wiki}/{date}: this dump is not complete ({job.get('status', 'no such job')}). Name another --date")
        return wanted(base, wiki, date, job)
    dates = sorted({d.decode() for d in DATED.findall(web.read(f"{base}/{wiki}/", LISTING)[0])}, reverse=True)
    for newest in dates[:LATEST_TRIES]:
        job = status(web, base, wiki, newest)
        if job.get("status") == "done":
            return wanted(base, wiki, newest, job)
    raise Refused(f"{base}/{wiki}/: no complete dump among the last ones ({', '.join(dates[:LATEST_TRIES]) or 'none'}). Name a --date")


def status(web: Web, base: str, wiki: str, date: str) -> dict[str, object]:
    """What the dump says of its job."""
    url = f"{base}/{wiki}/{date}/dumpstatus.json"
    try:
        job = json.loads(web.read(url, LISTING)[0])["jobs"][JOB]
        job["files"] = dict(job.get("files", {}))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise Refused(f"{url}: has no job {JOB}, as the status of a dump should. Name another --date, or a mirror with --from") from None
    return dict(job)


def wanted(base: str, wiki: str, date: str, job: dict[str, object]) -> list[Wanted]:
    """The files of a job; without the indices, which nobody needs: the streams are found by their marks."""
    found = []
    for name, entry in dict(job["files"]).items():  # type: ignore[call-overload]
        if NAME.fullmatch(name) and isinstance(entry, dict):
            url = f"{base}/{wiki}/{date}/{name}"
            found.append(Wanted(url, f"wikipedia/{wiki}/{date}/{name}", whole(entry.get("size")), digest(entry, "sha1", "md5")))
    if not found:
        raise Refused(f"{base}/{wiki}/{date}/dumpstatus.json: names no file of pages-articles-multistream")
    return found
