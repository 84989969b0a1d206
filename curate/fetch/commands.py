"""`curate fetch SOURCE ... DIR`. What is imported here stays small: `curate --help` reads this module."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from curate.fetch.wanted import Wanted
    from curate.fetch.web import Web

app = typer.Typer(
    help="Download raw inputs from those who publish them: resumed, checked, and only what is missing.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Folder = Annotated[str, typer.Argument(metavar="DIR", help="Where raw data lies: a recipe's `data`.")]
Parallel = Annotated[int, typer.Option("--parallel", min=1, max=64, metavar="N", help="Files at once.")]
Tries = Annotated[int, typer.Option("--tries", min=1, max=100, metavar="N", help="Failures in a row after which a file is given up.")]


def address(source: str) -> Any:
    """The option for a source's address."""
    return typer.Option("--from", metavar="URL", envvar=f"CURATE_FROM_{source.upper()}", help="A mirror's address.", show_envvar=True)


@app.command()
def commoncrawl(
    crawl: Annotated[str, typer.Argument(metavar="CRAWL", help="Such as CC-MAIN-2019-18; data.commoncrawl.org lists them.")],
    folder: Folder,
    segments: Annotated[int, typer.Option("--segments", min=1, metavar="N", help="Files of the crawl's 90,000 or so.")],
    kind: Annotated[str, typer.Option("--kind", metavar="wet|warc", help="Extracted text, or pages as they were.")] = "wet",
    seed: Annotated[int | None, typer.Option("--seed", help="Take them evenly from all, rather than the first ones.")] = None,
    base: Annotated[str | None, address("commoncrawl")] = None,
    parallel: Parallel = 4,
    tries: Tries = 6,
) -> None:
    """Common Crawl: WET or WARC files of one crawl."""
    from curate.fetch import commoncrawl as source

    one_of("--kind", kind, source.KINDS)
    get("commoncrawl", lambda web, at: source.files(web, at, crawl, segments, kind, seed), base or source.ADDRESS, folder, parallel, tries)


@app.command()
def wikipedia(
    folder: Folder,
    language: Annotated[list[str], typer.Option("--language", metavar="CODE", help="en, de, ...; may be given often.")],
    date: Annotated[str, typer.Option("--date", metavar="DATE", help="20220720, or the latest that is complete.")] = "latest",
    base: Annotated[str | None, address("wikipedia")] = None,
    parallel: Parallel = 2,
    tries: Tries = 6,
) -> None:
    """Wikipedia: the dumps of articles. Old dates are with mirrors only."""
    from curate.fetch import wikipedia as source

    get("wikipedia", lambda web, at: source.files(web, at, language, date), base or source.ADDRESS, folder, parallel, tries)


@app.command()
def stackexchange(
    words: Annotated[list[str], typer.Argument(metavar="[SITE]... DIR", help="Sites, such as superuser or beer; and the folder.")],
    top: Annotated[int | None, typer.Option("--top", min=1, metavar="N", help="The largest archives, without the metas.")] = None,
    item: Annotated[str | None, typer.Option("--item", metavar="ITEM", help="Another dump's item at the Internet Archive.")] = None,
    base: Annotated[str | None, address("stackexchange")] = None,
    parallel: Parallel = 4,
    tries: Tries = 6,
) -> None:
    """StackExchange: the dumps of sites, from the Internet Archive."""
    from curate.errors import RecipeError
    from curate.fetch import stackexchange as source

    *sites, folder = words
    if bool(sites) == (top is not None):
        raise RecipeError("fetch stackexchange: expected either sites or --top N, and DIR last: curate fetch stackexchange --top 28 data")
    chosen = item or source.ITEM
    get("stackexchange", lambda web, at: source.files(web, at, chosen, sites, top), base or source.ADDRESS, folder, parallel, tries)


@app.command()
def gutenberg(
    folder: Folder,
    books: Annotated[str | None, typer.Option("--books", metavar="N,N", help="Numbers of books: 11,1342.")] = None,
    languages: Annotated[str | None, typer.Option("--languages", metavar="CODE,CODE", help="All texts in these: en,fr.")] = None,
    most: Annotated[int | None, typer.Option("--most", min=1, metavar="N", help="At most so many of them.")] = None,
    delay: Annotated[float | None, typer.Option("--delay", min=0, metavar="SECONDS", help="Between two requests; default 2.")] = None,
    base: Annotated[str | None, address("gutenberg")] = None,
    tries: Tries = 6,
) -> None:
    """Project Gutenberg: plain texts, one at a time, from a mirror."""
    from curate.errors import RecipeError
    from curate.fetch import gutenberg as source

    if (books is None) == (languages is None) or (books is not None and most is not None):
        raise RecipeError("fetch gutenberg: expected either --books 11,1342 or --languages en, with --most N if not all of them")
    numbers = source.numbers(books) if books is not None else []
    spoken = [code.strip() for code in (languages or "").split(",")]
    pause = source.PAUSE if delay is None else delay
    get("gutenberg", lambda web, at: source.files(web, at, numbers, spoken, most), base or source.ADDRESS, folder, 1, tries, pause=pause)


@app.command()
def c4(
    folder: Folder,
    files: Annotated[int | None, typer.Option("--files", min=1, metavar="N", help="The first N; without it, all 1,024 of `en`.")] = None,
    config: Annotated[str, typer.Option("--config", metavar="NAME", help="en, en.noblocklist, realnewslike, ...")] = "en",
    revision: Annotated[str, typer.Option("--revision", help="A commit of the data set, for the same bytes for ever.")] = "main",
    base: Annotated[str | None, address("c4")] = None,
    parallel: Parallel = 4,
    tries: Tries = 6,
) -> None:
    """C4: AllenAI's gzipped JSON lines, from the hub."""
    from curate.fetch import c4 as source

    get("c4", lambda web, at: source.files(web, at, config, files, revision), base or source.ADDRESS, folder, parallel, tries)


@app.command()
def arxiv(
    folder: Folder,
    months: Annotated[str, typer.Option("--months", metavar="YYMM,YYMM-YYMM", help="2301, 2206-2208, or `all`; you pay for them.")],
    base: Annotated[str | None, address("arxiv")] = None,
    parallel: Parallel = 4,
    tries: Tries = 6,
) -> None:
    """arXiv: tars of LaTeX sources. The transfer is charged to your own AWS account."""
    from curate.fetch import arxiv as source

    source.parse(months)
    sign = source.signer()
    get("arxiv", lambda web, at: source.files(web, at, months), base or source.ADDRESS, folder, parallel, tries, sign=sign)


@app.command(hidden=True)
def github(folder: Folder) -> None:
    """Says where repositories come from."""
    from curate.errors import RecipeError

    raise RecipeError(
        "fetch github: nobody publishes these files to be downloaded. Export the tables of BigQuery's public data set github_repos with an "
        f"account of your own, as JSON lines or Parquet, into {folder}/github; or put archives and checkouts of repositories there"
    )


def one_of(option: str, value: str, known: tuple[str, ...]) -> None:
    """Raise RecipeError for another value."""
    from curate.errors import RecipeError
    from curate.values import near

    if value not in known:
        raise RecipeError(f"{option} {value}: expected {' or '.join(known)}{near(value, known)}")


def get(
    source: str,
    files: Callable[[Web, str], list[Wanted]],
    base: str,
    folder: str,
    parallel: int,
    tries: int,
    **asked: Any,
) -> None:
    """List, download, and say what is there."""
    from pathlib import Path

    from curate import store
    from curate.errors import Interrupted, RecipeError
    from curate.fetch.job import fetch
    from curate.fetch.wanted import base_address
    from curate.fetch.web import Stopped, Web

    if store.is_remote(folder):
        raise RecipeError(f"{folder}: expected a folder on this machine; copy it to the store afterwards")
    web = Web(tries=tries, **asked)
    try:
        wanted = files(web, base_address(base))
        typer.echo(fetch(source, wanted, Path(folder).expanduser(), web, parallel))
    except (KeyboardInterrupt, Stopped):
        raise Interrupted from None
