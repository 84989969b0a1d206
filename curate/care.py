"""What a run makes sure of: that a folder is its own and all workers see it, and that no more is bad or dropped than may be."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable

from curate import index, lock, store
from curate.documents import kept_instead
from curate.errors import BudgetError, CurateError, RecipeError
from curate.finished import Finished
from curate.plan import Pass, Plan
from curate.runner import Executor
from curate.stage import Global, Guarded, Resources

CLUSTER_PROBES = 64  # items, spread over the workers of a cluster, that look whether OUT is there
EARLY_RECORDS = 10_000  # before a share of bad ones says something about the rest
KINDS = ("documents", "evidence", "index", "models", "passes", "quarantine", "tokens")


def check_ours(out: str) -> None:
    """Raise RecipeError for a folder in which something else than a run has files under the names that runs use."""
    if not store.exists(store.join(out, lock.NAME)):
        taken = [kind for kind in KINDS if store.exists(store.join(out, kind))]
        if taken:
            raise RecipeError(f"--out {out}: holds {', '.join(taken)}, but no run (there is no recipe.lock.json); name a folder of its own")


def check_apart(plan: Plan, out: str) -> None:
    """Raise RecipeError if a run would read what it writes."""
    for source, shards in plan.inputs.items():
        for shard in shards:
            for kind in KINDS:
                if shard.file.path.startswith(store.join(out, kind) + "/"):
                    place = plan.recipe.sources[source][0].place
                    raise RecipeError(f"{place}: reads {shard.file.path}, which is this run's own: name another --out, or narrower paths")


def check_indexes(plan: Plan) -> None:
    """Raise RecipeError for an index of an earlier run that is not whole, before anything is read."""
    for steps in (*plan.recipe.sources.values(), plan.recipe.corpus):
        for step in steps:
            if isinstance(step.stage, Global) and step.stage.earlier:
                try:
                    index.earlier(step.stage.earlier)
                except CurateError as error:
                    raise RecipeError(f"{step.place}: {error}") from None


def check_shared(out: str, executor: Executor) -> None:
    """Raise RecipeError if a worker of a cluster does not see OUT."""
    probe = store.join(out, f"{store.TEMPORARY}{store.HOST}-shared")
    store.write_bytes(probe, b"")
    try:
        if not all(executor.map(store.exists, [probe] * CLUSTER_PROBES, Resources())):
            raise RecipeError(f"--out {out}: not every worker of the cluster sees this folder; name one that all machines share")
    finally:
        store.remove(probe)


def check_budget(plan: Plan, pass_: Pass, result: Finished, share: float = 1.0) -> None:
    """Raise BudgetError where more is bad than the reader allows; before all is read, where it is sure or next to sure to be so in the end.

    `share` of the input has been read. Files count at once. Records do once there are EARLY_RECORDS, and twice as many bad ones as
    the budget of all the records to be expected.
    """
    reader, row = pass_.reader, result.rows[0]
    assert reader is not None
    place = plan.recipe.sources[pass_.source][0].place
    found = f"; the first are in {min(result.bad)}" if result.bad else ""
    if row.bad_files > reader.max_bad_files:
        raise BudgetError(
            f"{place}: nothing could be read of {_files(result)}; max_bad_files is {reader.max_bad_files}{found}. "
            "Leave the files out, or allow for them"
        )
    if share >= 1 and row.bad_files == row.docs_in > 0:
        raise BudgetError(f"{place}: nothing could be read at all, of {_files(result)}{found}. Name others")
    bad = row.quarantined - row.bad_files
    allowed = reader.max_bad * row.docs_in
    if share < 1:
        allowed = 2 * allowed / share if row.docs_in >= EARLY_RECORDS and share > 0 else math.inf
    if bad > allowed:
        so_far = f", and {share:.1%} of the input is read" if share < 1 else ""
        raise BudgetError(
            f"{place}: {bad:,} of {row.docs_in:,} records are bad ({bad / row.docs_in:.2%}){so_far}; "
            f"max_bad is {reader.max_bad:.2%}{found}. Look at them, and mend the input or allow for them"
        )


GUARDED_DOCUMENTS = 1000  # what holds fewer is not judged by the share that it loses
GUARD_EXAMPLES = 3


def check_loss(stage: Guarded, source: str, result: Finished, home: str) -> None:
    """Raise BudgetError where a barrier has dropped more of a source, or of one of its languages or dumps, than it may; or has taken more
    of the source's characters, if it rewrites texts.
    """
    row = result.rows[0]
    groups = [(source, row.docs_in, row.docs_in - row.docs_out)]
    for column, counts in row.entered.items():
        groups += [(f"{source}, {column} {value or 'unknown'}", n, row.lost[column][value]) for value, n in counts.items()]
    worst = max(groups, key=lambda g: g[2] / g[1] if g[1] >= GUARDED_DOCUMENTS else 0.0)
    if worst[1] >= GUARDED_DOCUMENTS and worst[2] > stage.max_loss * worst[1]:
        lost, of, whole = f"{worst[2]:,} of the {worst[1]:,} documents", worst[0], worst[2] / worst[1]
    elif row.chars_rewritten > 0 and row.docs_in >= GUARDED_DOCUMENTS and row.chars_in - row.chars_out > stage.max_loss * row.chars_in:
        gone = row.chars_in - row.chars_out
        lost, of, whole = f"{gone:,} of the {row.chars_in:,} characters", source, gone / row.chars_in
    else:
        return
    kept: Counter[str] = Counter()
    for part in result.parts:
        kept.update(kept_instead(part.path.removesuffix(".parquet") + ".fates.parquet", stage.name))
    examples = "; ".join(f"{n:,} in favour of {name}" for name, n in kept.most_common(GUARD_EXAMPLES))
    evidence = "What is left of the texts, and the fates," if row.chars_rewritten > 0 else "The fates"
    raise BudgetError(
        f"{stage.name} drops {lost} of {of} ({whole:.1%}); max_loss is {stage.max_loss:.1%}. "
        f"{f'Of {source}: {examples}. ' if examples else ''}{evidence} are in {home}. Read some of them; if they are "
        f"duplicates, raise {stage.name}.max_loss, for which nothing is done again; else change its other settings"
    )


def _files(result: Finished) -> str:
    """How many files nothing could be read of, and of one of them where and why."""
    number = result.rows[0].bad_files
    found = first_whole_file(sorted(result.bad))
    return f"{number:,} file{'' if number == 1 else 's'}" + (f" ({found})" if found else "")


def first_whole_file(paths: Iterable[str]) -> str:
    """Where and why nothing could be read of a file, the first of those in quarantine files; "" where there is none."""
    for path in paths:
        with store.open_input(path) as file:
            for line in file:
                if (record := json.loads(line)).get("whole_file"):
                    return f"{record['where']}: {record['why']}"
    return ""
