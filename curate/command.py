"""What the commands do: put the parts together, and show the result."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from curate import care, finished, known, store, training
from curate import plan as planning
from curate import recipe as recipes
from curate import run as running
from curate.errors import CurateError, Interrupted, RecipeError, printable
from curate.progress import progress
from curate.runner import Executor, Local, Ray
from curate.stats import funnel


@contextmanager
def interruptible() -> Iterator[None]:
    """Ctrl-C and SIGTERM end a run in good order."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted from None
    finally:
        signal.signal(signal.SIGTERM, before)


def load(recipe: str, out: str | None, settings: Sequence[str], only: Sequence[str], goal: str = "") -> tuple[recipes.Recipe, str]:
    """The recipe, and the folder of its run."""
    loaded = recipes.load(recipe, settings, only, goal)
    known.fetch_missing(loaded.given_models)
    return loaded, store.absolute((out or f"runs/{loaded.name}").rstrip("/"))


def make_plan(recipe: recipes.Recipe, out: str) -> planning.Plan:
    """The plan, with everything checked that can be before a worker starts."""
    care.check_ours(out)
    made = planning.plan(recipe, known_hashes(out))
    care.check_apart(made, out)
    care.check_indexes(made)
    if recipe.tokens:
        from curate.tokens import check

        check.before(made)
    store.check_writable(out)
    return made


def known_hashes(out: str) -> Any:
    """Hash a model, unless an earlier run here has hashed a file of this path, size and time."""
    lock = store.join(out, "recipe.lock.json")
    try:
        known = {(m["path"], m["bytes"], m["stamp"]): m["sha256"] for m in store.read_json(lock)["models"]}
    except Exception:  # no run here yet, or none that can be read
        known = {}

    def hash_file(path: str) -> str:
        return known.get((path, *store.stamp(path))) or store.sha256(path)

    return hash_file


def run(
    recipe: str, out: str | None, settings: Sequence[str], only: Sequence[str], *, workers: int | None, address: str | None, local: bool
) -> None:
    """`curate run`."""
    with interruptible():
        loaded, folder = load(recipe, out, settings, only)
        made = make_plan(loaded, folder)
        with started(workers, address, local, folder) as executor, progress() as shown:
            result = running.run(made, folder, executor, shown)
            finished.write_stats(result.rows, folder)
            if loaded.tokens:
                from curate.tokens.make import make

                make(made, result.documents, folder, executor, shown)
        stats(folder)
        shown_as = (out or f"runs/{loaded.name}").rstrip("/")
        print(f"\ndocuments  {shown_as}/documents")
        if loaded.tokens:
            print(f"tokens     {shown_as}/tokens  (curate verify {shown_as} proves them)")


def train(
    recipe: str, model: str, out: str | None, settings: Sequence[str], *, workers: int | None, address: str | None, local: bool
) -> None:
    """`curate train`."""
    with interruptible():
        loaded, folder = load(recipe, out, settings, [], model)
        made = make_plan(loaded, folder)
        with started(workers, address, local, folder) as executor, progress() as shown:
            running.run(made, folder, executor, shown)
    wanted = next(t for t in made.trainings if t.name == model)
    json.dump(training.read_card(wanted, folder), sys.stdout, indent=1, ensure_ascii=False)
    print(f"\n\nmodel      {store.join(folder, wanted.folder)}")


@contextmanager
def started(workers: int | None, address: str | None, local: bool, folder: str) -> Iterator[Executor]:
    """Who does the work, as the options say."""
    if local and (workers or address):
        raise RecipeError("--local runs in this process: it goes with neither --workers nor --ray")
    executor: Executor = Local() if local else Ray(workers, address)
    try:
        if address:
            care.check_shared(folder, executor)
        yield executor
    finally:
        executor.close()


def plan(recipe: str, out: str | None, settings: Sequence[str], only: Sequence[str]) -> None:
    """`curate plan`."""
    loaded, folder = load(recipe, out, settings, only)
    made = make_plan(loaded, folder)

    def done(pass_: planning.Pass) -> int:
        return sum(n.endswith(".json") for n in store.listing(store.join(folder, pass_.folder)))

    print(printable(describe(made, done, lambda made: training.is_trained(made, folder)), "\n"))
    print(f"out {folder}")


def describe(plan: planning.Plan, done: Callable[[planning.Pass], int], trained: Callable[[planning.Training], bool]) -> str:
    """What `curate plan` prints: inputs, passes with their stages, barriers, and what is there already."""
    lines = []
    for source, shards in plan.inputs.items():
        files = len({s.file.path for s in shards})
        size = sum(s.size for s in shards) / 1e6
        lines.append(f"{source}: {files:,} files, {size:,.1f} MB, {len(shards):,} shards")
        for p in (p for p in plan.passes if p.source == source):
            names = [*([p.reader.name] if p.reader else []), *([f"apply {p.enter.name}"] if p.enter else []), *(s.name for s in p.stages)]
            tail = f" | keys of {p.leave.name}" if p.leave else ""
            have = done(p)
            cached = f"  ({have:,} shards done)" if have else ""
            lines.append(f"  pass {p.number}-{p.lineage}: {' > '.join(names) or 'as they are'}{tail}{cached}")
    for b in plan.barriers:
        scope = " + ".join(m.source for m in b.members)
        lines.append(f"barrier {b.stage.name} over {scope}, {b.partitions} partitions")
    for t in plan.trainings:
        sources = " + ".join(f"{p.source} {p.number}" for passes in t.members.values() for p in passes)
        lines.append(f"model {t.name}-{t.fingerprint}: {t.trainer.name} on {sources}{'  (trained)' if trained(t) else ''}")
    if plan.recipe.tokens:
        what = "mix and tokens" if plan.recipe.mix else "tokens"
        lines.append(f"{what}: {plan.recipe.tokens.summary}")
    for path, digest in plan.models.items():
        lines.append(f"model {path}  sha256 {digest[:12]}")
    return "\n".join(lines)


def stats(out: str, as_json: bool = False, against_published: bool = False) -> None:
    """`curate stats`."""
    if against_published:
        from curate import faithful

        print(faithful.report(out, as_json))
        return
    if not as_json and (passed := finished.so_far(out)):
        print(funnel(passed))  # and what is said next is that this is not all
    rows = finished.read_stats(out)
    if as_json:
        json.dump([r.to_json() for r in rows], sys.stdout, indent=1)
        print()
        return
    print(funnel(rows))
    from curate.tokens import manifest

    if store.exists(store.join(out, manifest.FOLDER, manifest.NAME)):
        from curate import mix

        print("\n" + mix.table(manifest.read(store.join(out, manifest.FOLDER)).mix))


def verify(out: str) -> None:
    """`curate verify`: exit code 1 and a line for each thing that is not as it should be."""
    finished.check_there(out)
    from curate.tokens.verify import verify as prove

    report = prove(out)
    print(report.text())
    if report.problems:
        count = f"{len(report.problems):,} problem{'s' if len(report.problems) > 1 else ''}"
        raise CurateError(f"{out}: {count}; these shards are not what their manifest says")


def sample(folder: str, seed: int, documents: int, wheels: str | None) -> None:
    """`curate sample`."""
    from pathlib import Path

    from curate.sample import make

    print(make(Path(folder), seed, documents, Path(wheels) if wheels else None))
