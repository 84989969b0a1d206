"""Passes in order, barriers between them, and the books at the end. Whatever is there already is not done again.

The driver holds a few numbers per shard and no text: a resumed run lists each folder once and starts what is missing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from curate import index, lock, store, training
from curate.barriers import Court, Entrant, Progress, groups_of
from curate.care import check_budget, check_indexes, check_loss
from curate.errors import RecipeError
from curate.finished import Finished, Result, publish, publish_indexes
from curate.plan import Barrier, Pass, Plan, Training
from curate.runner import Executor
from curate.stage import Global, Guarded, Resources, Totals, Trainer
from curate.stats import StageStats, add, balance
from curate.worker import EVIDENCE, Done, Job, Part, Setting, Work

T = TypeVar("T")


def run(plan: Plan, out: str, executor: Executor, progress: Progress) -> Result:
    """Carry out a plan: documents, quarantine and funnel. Tokens are made from the result by `curate.tokens.make`."""
    if plan.trainings and store.is_remote(out):
        raise RecipeError(
            f"--out {out}: this recipe trains models, which workers map into memory: name a folder that they all see as a disk"
        )
    check_indexes(plan)
    goal = bool(plan.recipe.goal)
    locks = not goal or not store.exists(store.join(out, lock.NAME))  # a model alone is no other run
    if locks:
        lock.write(plan, out)
    store.sweep(store.join(out, "models"))
    finished: dict[str, list[Finished]] = {source: [] for source in plan.inputs}
    settled: set[str] = set()
    for level, passes in enumerate(plan.levels):
        for pass_, result in zip(passes, run_level(plan, passes, finished, out, executor, progress), strict=True):
            finished[pass_.source].append(result)
            if pass_.reader and not result.rows[0].docs_out:
                progress.warn(f"source {pass_.source} holds no document")
        for barrier in plan.barriers:
            if barrier.fingerprint not in settled and all(len(finished[m.source]) >= m.number for m in barrier.members):
                run_barrier(plan, barrier, finished, out, executor, progress)
                settled.add(barrier.fingerprint)
        for made in plan.trainings:
            if made.level == level:
                train(plan, made, finished, out, executor, progress)
    if locks and plan.trainings:
        lock.write(plan, out)  # now with what the models have become
    if goal:
        return Result({}, [])
    rows = []
    for results in finished.values():
        chain = [row for f in results for row in f.rows]
        balance(chain, written=sum(p.docs for p in results[-1].parts))
        rows += chain
    publish_indexes(plan, finished, out)
    return Result(publish({s: f for s, f in finished.items() if s not in plan.recipe.feeding}, out), rows)


def run_level(
    plan: Plan, level: Sequence[Pass], finished: dict[str, list[Finished]], out: str, executor: Executor, progress: Progress
) -> list[Finished]:
    """The passes of one level side by side, those of the same hardware in one map."""
    settings = tuple(setting(plan, p, finished, out) for p in level)
    results = [Finished(rows=[StageStats(p.source, s.name) for s in ((p.reader,) if p.reader else ()) + p.chain]) for p in level]
    groups: dict[Resources, list[Job]] = {}
    total = docs = 0
    for number, pass_ in enumerate(level):
        store.sweep(settings[number].home)
        store.sweep(settings[number].keys or settings[number].home)
        jobs = cut_jobs(plan, pass_, number, finished)
        total += len(jobs)
        there = store.listing(settings[number].home)
        keys = store.listing(settings[number].keys) if settings[number].keys else {}
        for job in jobs:
            done = read_done(settings[number], job, there, keys)
            if done is None:
                groups.setdefault(pass_.resources, []).append(job)
            else:
                docs += done.docs
                take(results[number], settings[number], done)
    todo = sum(map(len, groups.values()))
    progress.start(title(level), total, total - todo)
    work = Work(settings, plan.recipe.engine.batch_rows)
    left = [sum(job.size for jobs in groups.values() for job in jobs if job.pass_ == n) for n in range(len(level))]
    whole = [max(sum(s.size for s in plan.inputs[p.source]), 1) for p in level]
    for resources, jobs in groups.items():
        for job, done in executor.map(_Placed(work), jobs, resources):
            at = job.pass_
            take(results[at], settings[at], done)
            progress.advance(done.docs)
            left[at] -= job.size
            if level[at].reader:
                check_budget(plan, level[at], results[at], 1 - left[at] / whole[at])
    for pass_, result in zip(level, results, strict=True):
        result.parts.sort(key=lambda p: p.number)
        result.bad.sort()
        result.evidence.sort()
        if pass_.reader:
            check_budget(plan, pass_, result)
        if isinstance(pass_.enter, Guarded):
            check_loss(pass_.enter, pass_.source, result, settings[level.index(pass_)].home)
    return results


@dataclass(frozen=True)
class _Placed:
    """The work, with its job beside the result."""

    work: Work

    def __call__(self, job: Job) -> tuple[Job, Done]:
        return job, self.work(job)


def title(level: Sequence[Pass]) -> str:
    """What a level is called while it runs."""
    return " + ".join(f"{p.source} {p.number}" for p in level)


def setting(plan: Plan, pass_: Pass, finished: dict[str, list[Finished]], out: str) -> Setting:
    """A pass with its paths."""
    behind, before = plan.barrier(pass_), plan.entered(pass_)
    home = store.join(out, pass_.folder)
    base = 0
    if before:
        base = index_size(before.stage)
        for member in before.members:
            if member.source == pass_.source:
                break
            base += shard_count(finished[member.source][member.number - 1])
    own = {k: v and training.located(v, out) for k, v in (("reader", pass_.reader), ("enter", pass_.enter), ("leave", pass_.leave))}
    located: Any = {**own, "stages": tuple(training.located(s, out) for s in pass_.stages)}
    return Setting(
        replace(pass_, **located),
        home,
        keys=store.join(home, f"keys-{store.fingerprint([behind.stage.identity, behind.partitions])}") if behind else "",
        partitions=behind.partitions if behind else 1,
        base=base,
    )


def shard_count(result: Finished) -> int:
    """How many shard numbers a pass has used."""
    return max((p.number for p in result.parts), default=-1) + 1


def cut_jobs(plan: Plan, pass_: Pass, number: int, finished: dict[str, list[Finished]]) -> list[Job]:
    """One job per shard: large inputs were split by their reader, small neighbours are joined here."""
    target = int(plan.recipe.engine.shard_bytes)
    if pass_.reader:
        groups: Iterable[tuple[Any, ...]] = join(plan.inputs[pass_.source], lambda s: s.size, target)
    else:
        groups = join([p for p in finished[pass_.source][pass_.number - 2].parts if p.docs], lambda p: p.size, target)
    return [Job(number, n, group) for n, group in enumerate(groups)]


def join(items: Sequence[T], size: Callable[[T], int], target: int) -> list[tuple[T, ...]]:
    """Neighbours in groups of at most `target`, or of one."""
    groups: list[tuple[T, ...]] = []
    held: list[T] = []
    total = 0
    for item in items:
        if held and total + size(item) > target:
            groups.append(tuple(held))
            held, total = [], 0
        held.append(item)
        total += size(item)
    return [*groups, tuple(held)] if held else groups


def read_done(setting: Setting, job: Job, there: dict[str, int], keys: dict[str, int]) -> Done | None:
    """What a shard came to, if it is complete."""
    name = f"{job.number:05d}"
    if f"{name}.json" not in there:
        return None
    done = Done.from_json(store.read_json(store.join(setting.home, f"{name}.json")))
    whole = all(there.get(f"{name}.{end}") == size for end, size in done.files.items())
    return done if whole and not (setting.keys and done.docs and f"{name}.arrow" not in keys) else None


def take(result: Finished, setting: Setting, done: Done) -> None:
    """Add a finished shard to its pass."""
    at = store.join(setting.home, f"{done.number:05d}")
    result.parts.append(Part(done.number, f"{at}.parquet", done.docs, done.size))
    result.rows = add(result.rows, done.stats)
    result.remembered[done.number] = done.remembered
    if "bad.jsonl" in done.files:
        result.bad.append(f"{at}.bad.jsonl")
    result.evidence += [f"{at}.{end}" for end in done.files if end.endswith(EVIDENCE)]


def run_barrier(
    plan: Plan, barrier: Barrier, finished: dict[str, list[Finished]], out: str, executor: Executor, progress: Progress
) -> None:
    """The verdict is a file for each group of shards, that the next pass reads by shard."""
    stage = training.located(barrier.stage, out)
    assert isinstance(stage, Global)
    entrants = index.entrants(stage)
    docs = [e.docs for e in entrants]
    for member in barrier.members:
        result = finished[member.source][member.number - 1]
        keys = setting(plan, member, finished, out).keys
        entrants += [
            Entrant(len(docs) + p.number, p.docs, p.path, store.join(keys, f"{p.number:05d}.arrow")) for p in result.parts if p.docs
        ]
        counts = {p.number: p.docs for p in result.parts}
        docs += [counts.get(number, 0) for number in range(shard_count(result))]
    groups = groups_of(stage, docs)
    court = Court(stage, store.join(out, barrier.folder), groups, barrier.partitions, plan.recipe.engine.batch_rows)
    base = index_size(stage)
    for member in barrier.members:
        result = finished[member.source][member.number - 1]
        verdicts = [court.verdict(group) for group in groups[base : base + shard_count(result)]]
        base += len(verdicts)
        result.parts = [replace(p, verdict=verdicts[p.number]) for p in result.parts]
    court.decide(entrants, executor, progress)


def train(plan: Plan, made: Training, finished: dict[str, list[Finished]], out: str, executor: Executor, progress: Progress) -> None:
    """Train a model, unless it is there."""
    home = store.join(out, "passes", made.folder)
    if training.is_trained(made, out):
        training.forget_selected(home)
        return
    trainer = training.located(made.trainer, out)
    assert isinstance(trainer, Trainer)
    parts = {
        role: [(p.source, part) for p in members for part in finished[p.source][p.number - 1].parts if part.docs]
        for role, members in made.members.items()
    }
    jobs = [(role, source, part) for role, given in parts.items() for source, part in given]
    values: dict[str, Counter[str]] = {role: Counter() for role in parts}
    if trainer.counts:
        for role, counted in executor.map(training.Count(trainer.counts), jobs, Resources()):
            values[role].update(counted)
    totals = {
        role: Totals(sum(p.docs for _, p in given), sum(p.size for _, p in given), dict(sorted(values[role].items())))
        for role, given in parts.items()
    }
    select = training.Select(made.name, trainer, totals, home, plan.recipe.engine.batch_rows)
    progress.start(f"model {made.name}", len(jobs) + 1, 0)
    for docs in executor.map(select, jobs, Resources()):
        progress.advance(docs)
    paths = {role: tuple(select.path(role, source, part.number) for source, part in given) for role, given in parts.items()}
    selected = {role: training.Selected(p) for role, p in paths.items()}
    work = training.Train(made.name, trainer, selected, store.join(out, made.folder), made.fingerprint)
    for _ in executor.map(work, [0], trainer.resources):
        progress.advance(0)
    training.forget_selected(home)
    for warning in training.read_card(made, out).get("warnings", []):
        progress.warn(f"model {made.name}: {warning}")


def index_size(stage: Global) -> int:
    """How many shards an index that a barrier is given has: they come before its own."""
    return len(index.entrants(stage))
