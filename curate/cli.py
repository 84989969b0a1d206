"""The command line: a contract that other programs call.

Exit codes: 0 done, 1 a check failed, 2 the recipe or the command is wrong, 130 interrupted and to be gone on with.

Nothing heavy is imported before a command runs, so that `--help` answers at once.
"""

from __future__ import annotations

import signal
import sys
from typing import Annotated

import typer

from curate.fetch.commands import app as fetch

app = typer.Typer(
    name="curate",
    help="Raw sources in, proven token shards out: one recipe, one command.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

RecipeArgument = Annotated[str, typer.Argument(metavar="RECIPE", help="A recipe file, or a built-in one's name (see `curate recipes`).")]
OutArgument = Annotated[str, typer.Argument(metavar="OUT", help="The folder of a run.")]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="PATH.TO.KEY=VALUE", help="Override a value of the recipe; may be given often.")
]
OnlyOption = Annotated[list[str] | None, typer.Option("--only", metavar="SOURCE", help="Only this source; may be given often.")]


@app.command()
def run(
    recipe: RecipeArgument,
    out: Annotated[str | None, typer.Option("--out", metavar="DIR", help="Folder or URL of the run; default runs/NAME.")] = None,
    settings: SetOption = None,
    workers: Annotated[int | None, typer.Option("--workers", min=1, metavar="N", help="Ray workers; default one per core.")] = None,
    ray: Annotated[str | None, typer.Option("--ray", metavar="ADDRESS", help="Join the Ray cluster at this address (or `auto`).")] = None,
    local: Annotated[bool, typer.Option("--local", help="In this process, without Ray.")] = False,
    only: OnlyOption = None,
) -> None:
    """Carry out a recipe. The same command goes on where an interrupted run stopped."""
    from curate import command

    command.run(recipe, out, settings or [], only or [], workers=workers, address=ray, local=local)


@app.command()
def train(
    recipe: RecipeArgument,
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A name under the recipe's `models:`.")],
    out: Annotated[str | None, typer.Option("--out", metavar="DIR", help="Folder of the run; default runs/NAME.")] = None,
    settings: SetOption = None,
    workers: Annotated[int | None, typer.Option("--workers", min=1, metavar="N", help="Ray workers; default one per core.")] = None,
    ray: Annotated[str | None, typer.Option("--ray", metavar="ADDRESS", help="Join the Ray cluster at this address (or `auto`).")] = None,
    local: Annotated[bool, typer.Option("--local", help="In this process, without Ray.")] = False,
) -> None:
    """Train one model of a recipe, and print its card. A run of the recipe in the same folder will use it."""
    from curate import command

    command.train(recipe, model, out, settings or [], workers=workers, address=ray, local=local)


@app.command()
def plan(
    recipe: RecipeArgument,
    out: Annotated[str | None, typer.Option("--out", metavar="DIR", help="Where a run is or would be; default runs/NAME.")] = None,
    settings: SetOption = None,
    only: OnlyOption = None,
) -> None:
    """Check a recipe and print its passes, inputs, models and cached results. Starts nothing."""
    from curate import command

    command.plan(recipe, out, settings or [], only or [])


@app.command()
def stats(
    out: OutArgument,
    json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
    faithful: Annotated[bool, typer.Option("--faithful", help="Published figures against this run's, and what papers leave open.")] = False,
) -> None:
    """The funnel of a run, per source and stage, and the mix."""
    from curate import command

    command.stats(out, json, faithful)


@app.command("dedup-report")
def dedup_report(out: OutArgument, json: Annotated[bool, typer.Option("--json", help="The same as JSON.")] = False) -> None:
    """Sizes of clusters, the largest with texts side by side, and pairs next to the threshold."""
    from curate import duplicates

    typer.echo(duplicates.report(out, json))


@app.command()
def verify(out: OutArgument) -> None:
    """Prove the token shards: re-reads every one of them."""
    from curate import command

    command.verify(out)


@app.command("try")
def try_(
    stage: Annotated[str, typer.Argument(metavar="STAGE", help="As a recipe names it: gopher.Quality.")],
    file: Annotated[str, typer.Argument(metavar="FILE", help="A raw file, or Parquet of an earlier run.")],
    settings: Annotated[list[str] | None, typer.Option("--set", metavar="PARAMETER=VALUE", help="A parameter of the stage.")] = None,
    documents: Annotated[int, typer.Option("--documents", min=1, help="Read at most this many.")] = 10_000,
    show: Annotated[int, typer.Option("--show", min=0, help="Documents to show for each rule.")] = 3,
) -> None:
    """One stage on one file: what it keeps, what it drops and why, or what it adds."""
    from curate import trial

    trial.report(stage, file, settings or [], documents, show)


@app.command()
def stages(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="A stage; without it, all of them.")] = None,
    schema: Annotated[bool, typer.Option("--schema", help="The JSON schema of recipes, for editors.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="As docs/stages.md.")] = False,
    assumed: Annotated[bool, typer.Option("--assumptions", help="What papers leave open, as docs/assumptions.md.")] = False,
) -> None:
    """What stages there are, their parameters, defaults and the source of each number."""
    from curate import assumptions, catalogue

    if assumed:
        typer.echo(assumptions.markdown())
        return
    typer.echo(catalogue.schema() if schema else catalogue.markdown() if markdown else catalogue.describe(name))


@app.command()
def recipes() -> None:
    """The built-in recipes."""
    from curate import recipe

    for name, path in recipe.builtin().items():
        with open(path, encoding="utf-8") as file:
            first = file.readline()
        typer.echo(f"{name:<14}{first.lstrip('# ').rstrip() if first.startswith('#') else path}")


@app.command()
def sample(
    folder: Annotated[str, typer.Argument(metavar="DIR", help="Where to make it.")],
    seed: Annotated[int, typer.Option("--seed", help="Another seed, another sample.")] = 1,
    documents: Annotated[int, typer.Option("--documents", min=100, help="About this many.")] = 3500,
    wheels: Annotated[str | None, typer.Option("--wheels", metavar="DIR", help="Holds the language model's wheel.")] = None,
) -> None:
    """Raw sample inputs, made on the spot from the text of this Python installation; truth.jsonl says what is what."""
    from curate import command

    command.sample(folder, seed, documents, wheels)


app.add_typer(fetch, name="fetch")


def main() -> None:
    """The console script: an error is one message, and an interrupt is none."""
    from curate.errors import CurateError, Interrupted, printable

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C
    try:
        app()
    except Interrupted:
        print("curate: interrupted; the same command goes on from here", file=sys.stderr)
        sys.exit(130)
    except OSError as error:  # a full disk, say
        print(printable(f"curate: {error}. What is done is not lost: the same command goes on from here", "\n"), file=sys.stderr)
        sys.exit(1)
    except CurateError as error:
        print(printable(f"curate: {error}", "\n"), file=sys.stderr)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
