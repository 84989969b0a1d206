"""From a recipe and its inputs to passes: pure, but for listing the inputs. All that can be known to be wrong is found here.

A source's stages are cut into passes at each barrier (`Global`), wherever the hardware changes and after `keep: true`. The stages of
`corpus:` continue every source's passes, with barriers that all sources share. A pass is named by its fingerprint: the hash of
everything before it, its own stages, their models' contents and the inputs; so a changed threshold gives only later passes new names.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from curate import store
from curate.errors import RecipeError
from curate.recipe import Recipe, Step
from curate.stage import Global, Model, Resources, Shard, Source, Stage
from curate.values import near

CONTRACT = ("id", "text", "source")
PARTITION_BYTES = 1e9  # of input per partition of a barrier's keys
PASS_VERSION = 1  # of the files that a pass leaves


@dataclass(frozen=True)
class Pass:
    """One source's documents through the stages between two cuts."""

    source: str
    number: int  # from 1, in the order of the source
    level: int  # passes of one level, of all sources, run side by side
    reader: Source | None  # of a first pass
    enter: Global | None  # the barrier whose verdict is applied first
    stages: tuple[Stage, ...]
    leave: Global | None  # the barrier whose keys are emitted last
    lineage: str  # fingerprint of the documents that come out

    @property
    def folder(self) -> str:
        """Below OUT."""
        return f"passes/{self.source}/{self.number}-{self.lineage}"

    @property
    def resources(self) -> Resources:
        """What one worker of this pass needs: the same for all its stages."""
        return self.stages[0].resources if self.stages else Resources()

    @property
    def chain(self) -> tuple[Stage, ...]:
        """The stages that see documents, the entering barrier first."""
        return (*((self.enter,) if self.enter else ()), *self.stages)


@dataclass(frozen=True)
class Barrier:
    """A Global between passes, of one source or of all."""

    stage: Global
    members: tuple[Pass, ...]  # whose keys it takes, in corpus order
    partitions: int
    fingerprint: str

    @property
    def folder(self) -> str:
        """Below OUT: its partitions and verdict."""
        scope = self.members[0].source if len(self.members) == 1 else "corpus"
        return f"passes/{scope}/{self.stage.name}-{self.fingerprint}"


@dataclass(frozen=True)
class Plan:
    """What will be done, in order."""

    recipe: Recipe
    inputs: dict[str, tuple[Shard, ...]]
    passes: tuple[Pass, ...]
    barriers: tuple[Barrier, ...]
    models: dict[str, str]  # path -> sha256

    @property
    def levels(self) -> list[list[Pass]]:
        """Passes in groups that can run side by side."""
        return [[p for p in self.passes if p.level == n] for n in range(max((p.level for p in self.passes), default=-1) + 1)]

    def last(self, source: str) -> Pass:
        """The pass whose documents are the curated ones."""
        return next(p for p in reversed(self.passes) if p.source == source)

    def barrier(self, pass_: Pass) -> Barrier | None:
        """The barrier that takes a pass's keys."""
        return next((b for b in self.barriers if pass_ in b.members), None)

    def entered(self, pass_: Pass) -> Barrier | None:
        """The barrier whose verdict a pass applies."""
        before = next((p for p in self.passes if p.source == pass_.source and p.number == pass_.number - 1), None)
        return self.barrier(before) if before and pass_.enter else None

    @property
    def fingerprint(self) -> str:
        """Of the recipe and what it reads, but not of where that lies: the same on every machine."""
        resolved = {k: v for k, v in self.recipe.resolved.items() if k not in ("sources", "corpus", "models", "engine")}
        tokens = self.recipe.tokens
        if tokens:
            made_by = tokens.tokenizer.sentencepiece or tokens.tokenizer.huggingface
            spec = {k: v for k, v in resolved["tokens"]["tokenizer"].items() if k not in ("sentencepiece", "huggingface")}
            resolved["tokens"] = {**resolved["tokens"], "tokenizer": [spec, store.sha256(made_by) if made_by else None]}
        inputs = {s: [(x.file.label, x.file.size, x.low, x.high) for x in shards] for s, shards in self.inputs.items()}
        stages = {s: [_identity(steps[0].stage), *(x.stage.identity for x in steps[1:])] for s, steps in self.recipe.sources.items()}
        return store.fingerprint([resolved, stages, [x.stage.identity for x in self.recipe.corpus], inputs, sorted(self.models.values())])


@dataclass(frozen=True)
class _Cut:
    enter: Global | None
    stages: tuple[Stage, ...]
    leave: Global | None
    kept: bool = False  # what comes out is to stay, whatever follows changes


def cut(steps: Sequence[Step]) -> list[_Cut]:
    """Cut at every barrier, wherever the hardware changes, and after `keep: true`."""
    out: list[_Cut] = []
    enter: Global | None = None
    run: list[Stage] = []
    open_ = True
    for step in steps:
        stage = step.stage
        if isinstance(stage, Global):
            out.append(_Cut(enter, tuple(run), stage))
            enter, run, open_ = stage, [], True
            continue
        if run and stage.resources != run[-1].resources:
            out.append(_Cut(enter, tuple(run), None))
            enter, run = None, []
        run.append(stage)
        open_ = True
        if step.keep:
            out.append(_Cut(enter, tuple(run), None, kept=True))
            enter, run, open_ = None, [], False
    return [*out, _Cut(enter, tuple(run), None)] if open_ or not out else out


def plan(recipe: Recipe, hash_file: Callable[[str], str] = store.sha256) -> Plan:
    """Check everything that can be checked before a worker starts, and cut the work. Raises RecipeError."""
    models: dict[str, str] = {}
    recipe = replace(
        recipe,
        sources={s: tuple(_with_models(x, models, hash_file) for x in steps) for s, steps in recipe.sources.items()},
        corpus=tuple(_with_models(x, models, hash_file) for x in recipe.corpus),
    )
    check_columns(recipe)
    inputs = {}
    for source, steps in recipe.sources.items():
        try:
            inputs[source] = tuple(_reader(steps).shards(int(recipe.engine.shard_bytes)))
        except RecipeError as error:
            raise RecipeError(f"{steps[0].place}: {error}") from None
    private = {s: cut(steps[1:]) for s, steps in recipe.sources.items()}
    if recipe.corpus:
        private = {s: _weld(cuts, cut(recipe.corpus)[0]) for s, cuts in private.items()}
    shared = cut(recipe.corpus)[1:] if recipe.corpus else []
    passes: list[Pass] = []
    current: dict[str, str] = {}
    for source, cuts in private.items():
        steps = recipe.sources[source]
        current[source] = store.fingerprint(
            [PASS_VERSION, source, _identity(steps[0].stage), recipe.engine.shard_bytes, _inputs(inputs[source])]
        )
        for number, c in enumerate(cuts, 1):
            current[source] = store.fingerprint([current[source], _identities(c)])
            reader = _reader(steps) if number == 1 else None
            passes.append(Pass(source, number, number - 1, reader, c.enter, c.stages, c.leave, current[source]))
    deepest = max(len(cuts) for cuts in private.values())
    for step, c in enumerate(shared):
        together = store.fingerprint(list(current.items())) if c.enter else ""  # behind a barrier, each depends on all, and on their order
        for source, cuts in private.items():
            current[source] = store.fingerprint([current[source], together, _identities(c)])
            passes.append(Pass(source, len(cuts) + step + 1, deepest + step, None, c.enter, c.stages, c.leave, current[source]))
    passes.sort(key=lambda p: (list(private).index(p.source), p.number))
    return Plan(recipe, inputs, tuple(passes), _barriers(recipe, passes, inputs), models)


def _identity(reader: Stage) -> Any:
    """A reader's identity without the places it reads from, which are the inputs' own, and without what it may leave unread."""
    name, version, config = reader.identity
    return [name, version, {k: v for k, v in config.items() if k not in ("paths", "max_bad", "max_bad_files")}]


def _inputs(shards: Sequence[Shard]) -> list[Any]:
    return [[s.file.label, s.file.size, s.file.stamp, s.low, s.high] for s in shards]


def _reader(steps: Sequence[Step]) -> Source:
    assert isinstance(steps[0].stage, Source)
    return steps[0].stage


def _weld(cuts: list[_Cut], corpus: _Cut) -> list[_Cut]:
    """The corpus's first stages go on in each source's last pass, where that is not kept and the hardware is the same."""
    *before, last = cuts
    if corpus.stages and (last.kept or (last.stages and last.stages[-1].resources != corpus.stages[0].resources)):
        return [*cuts, corpus]
    return [*before, _Cut(last.enter, last.stages + corpus.stages, corpus.leave)]


def _identities(c: _Cut) -> list[Any]:
    return [s.identity for s in ((c.enter,) if c.enter else ()) + c.stages]


def _barriers(recipe: Recipe, passes: Sequence[Pass], inputs: dict[str, tuple[Shard, ...]]) -> tuple[Barrier, ...]:
    corpus = {id(s.stage) for s in recipe.corpus}
    groups: dict[Any, list[Pass]] = {}
    for p in passes:
        if p.leave:
            groups.setdefault(id(p.leave) if id(p.leave) in corpus else (p.source, p.number), []).append(p)
    out = []
    for members in groups.values():
        stage = members[0].leave
        assert stage is not None
        read = sum(s.size for m in members for s in inputs[m.source])
        partitions = recipe.engine.partitions or max(1, math.ceil(read / PARTITION_BYTES))
        mark = store.fingerprint([stage.identity, partitions, [m.lineage for m in members]])
        out.append(Barrier(stage, tuple(members), partitions, mark))
    return tuple(out)


def _with_models(step: Step, models: dict[str, str], hash_file: Callable[[str], str]) -> Step:
    """The step with each model's sha256 filled in."""
    changes = {}
    for name, value in vars(step.stage).items():
        if isinstance(value, Model):
            if store.is_remote(value.path):
                raise RecipeError(f"{step.place}: {name}: {value.path}: a model is read from a disk; copy it to one that all workers see")
            if value.path not in models:
                if not store.exists(value.path):
                    raise RecipeError(f"{step.place}: {name}: no such model file: {value.path}")
                try:
                    models[value.path] = hash_file(value.path)
                except OSError as error:
                    raise RecipeError(f"{step.place}: {name}: {value.path} cannot be read: {store.reason(error)}") from None
            changes[name] = Model(store.absolute(value.path), models[value.path])
    return replace(step, stage=replace(step.stage, **changes)) if changes else step


def check_columns(recipe: Recipe) -> None:
    """Each stage finds the columns that it reads, in every source."""
    for source, steps in recipe.sources.items():
        have = [*CONTRACT, *steps[0].stage.adds]
        for step in (*steps[1:], *recipe.corpus):
            for column in step.stage.reads:
                if column not in have:
                    raise RecipeError(
                        f"{step.place}: reads the column {column}, which source {source} does not have here; "
                        f"it has {', '.join(have)}{near(column, have) or '.'} Put the stage that adds it before this one"
                    )
            have += [c for c in step.stage.adds if c not in have]


def describe(plan: Plan, done: Callable[[Pass], int]) -> str:
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
    if plan.recipe.tokens:
        what = "mix and tokens" if plan.recipe.mix else "tokens"
        lines.append(f"{what}: {plan.recipe.tokens.summary}")
    for path, digest in plan.models.items():
        lines.append(f"model {path}  sha256 {digest[:12]}")
    return "\n".join(lines)
