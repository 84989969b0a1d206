"""From a recipe and its inputs to passes: pure, but for listing the inputs. All that can be known to be wrong is found here.

A source's stages are cut into passes at each barrier (`Global`), wherever the hardware changes, after `keep: true`, and where a model
learns from the documents. The stages of `corpus:` continue every source's passes, with barriers that all sources share. A pass is named by
its fingerprint: the hash of everything before it, its own stages, their models and the inputs; so a changed threshold gives only
later passes new names. A model that the run trains is named by what it learns from, as a pass is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar, cast

from curate import store
from curate.errors import CurateError, RecipeError
from curate.recipe import Recipe, Step, Trained, depends, models_of
from curate.stage import Global, Model, Resources, Shard, Source, Stage, Trainer
from curate.values import near

S = TypeVar("S", bound=Stage)

CONTRACT = ("id", "text", "source")
PARTITION_BYTES = 1e9  # of input per partition of a barrier's keys
LEAST_PARTITIONS, LEAST_BYTES = 8, 64e6  # of smaller inputs: so many, each of so much, that all workers have something to reduce
PASS_VERSION = 2  # of the files that a pass leaves
TRAINING_VERSION = 1  # of how examples are given to a trainer


@dataclass(frozen=True)
class Pass:
    """One source's documents through the stages between two cuts."""

    source: str
    number: int  # from 1, in the order of the source
    level: int  # passes of one level, of all sources, run side by side; all that one needs is of lower levels
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
    def scope(self) -> str:
        """Whose documents meet: a source's, or those of all."""
        return self.members[0].source if len(self.members) == 1 else "corpus"

    @property
    def folder(self) -> str:
        """Below OUT: its partitions and verdict."""
        return f"passes/{self.scope}/{self.stage.name}-{self.fingerprint}"

    @property
    def index(self) -> str:
        """Name of the index that it keeps, if it does."""
        return f"{self.scope}-{self.stage.name}"


@dataclass(frozen=True)
class Training:
    """A model that is trained once the passes that it learns from are done."""

    name: str
    trainer: Trainer
    members: dict[str, tuple[Pass, ...]]  # of each role, whose documents it takes
    level: int  # of the last of those passes
    fingerprint: str

    @property
    def folder(self) -> str:
        """Below OUT: the model's files and its card."""
        return f"models/{self.name}-{self.fingerprint}"


@dataclass(frozen=True)
class Plan:
    """What will be done, in order."""

    recipe: Recipe
    inputs: dict[str, tuple[Shard, ...]]
    passes: tuple[Pass, ...]
    barriers: tuple[Barrier, ...]
    trainings: tuple[Training, ...]  # each behind those whose models it uses
    models: dict[str, str]  # path -> sha256, of those that are given

    @property
    def levels(self) -> list[list[Pass]]:
        """Passes in groups that can run side by side."""
        return [[p for p in self.passes if p.level == n] for n in range(max((p.level for p in self.passes), default=-1) + 1)]

    def last(self, source: str) -> Pass:
        """The pass whose documents are the curated ones."""
        return next(p for p in reversed(self.passes) if p.source == source)

    def behind(self, pass_: Pass) -> Pass:
        """The pass of the same source that follows one which is not its last."""
        return next(p for p in self.passes if p.source == pass_.source and p.number == pass_.number + 1)

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
        resolved = {k: v for k, v in self.recipe.resolved.items() if k not in ("sources", "corpus", "models", "published", "engine")}
        tokens = self.recipe.tokens
        if tokens:
            made_by = tokens.tokenizer.sentencepiece or tokens.tokenizer.huggingface
            spec = {k: v for k, v in resolved["tokens"]["tokenizer"].items() if k not in ("sentencepiece", "huggingface")}
            resolved["tokens"] = {**resolved["tokens"], "tokenizer": [spec, store.sha256(made_by) if made_by else None]}
        trained = [
            [t.name, _portable(t.trainer), {r: [[p.source, p.number] for p in m] for r, m in t.members.items()}] for t in self.trainings
        ]
        inputs = {s: [(x.file.label, x.file.size, x.low, x.high) for x in shards] for s, shards in self.inputs.items()}
        stages = {s: [_identity(steps[0].stage), *(x.stage.identity for x in steps[1:])] for s, steps in self.recipe.sources.items()}
        corpus = [x.stage.identity for x in self.recipe.corpus]
        learnt = [trained, self.recipe.feeding] if trained else []
        return store.fingerprint([resolved, stages, corpus, inputs, sorted(self.models.values()), *learnt])


def _portable(trainer: Trainer) -> Any:
    """A trainer's identity without the fingerprints of other trainings, which depend on where and when the inputs were written."""
    changes = {k: replace(v, sha256="") for k, v in vars(trainer).items() if isinstance(v, Model) and v.name}
    return replace(trainer, **changes).identity


@dataclass(frozen=True)
class _Cut:
    enter: Global | None
    stages: tuple[Stage, ...]
    leave: Global | None
    kept: bool = False  # what comes out is to stay, whatever follows changes
    feeds: frozenset[str] = frozenset()  # models that learn from what comes out


def cut(steps: Sequence[Step], feeds: Sequence[frozenset[str]] = ()) -> list[_Cut]:
    """Cut at every barrier, wherever the hardware changes, after `keep: true`, and before a step whose `feeds` name a model."""
    out: list[_Cut] = []
    enter: Global | None = None
    run: list[Stage] = []
    open_ = True
    for number, step in enumerate(steps):
        stage = step.stage
        if feeds and feeds[number]:
            if open_:
                out.append(_Cut(enter, tuple(run), None, True, feeds[number]))
                enter, run, open_ = None, [], False
            else:
                out[-1] = replace(out[-1], feeds=feeds[number])
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
    check_indexes(recipe)
    inputs = {}
    for source, steps in recipe.sources.items():
        try:
            inputs[source] = tuple(_reader(steps).shards(int(recipe.engine.shard_bytes)))
        except RecipeError as error:
            raise RecipeError(f"{steps[0].place}: {error}") from None
    planner = _Planner(recipe, inputs, lambda stage, place: _hashed(stage, place, models, hash_file))
    for source in planner.wanted:
        for number in range(1, planner.count(source) + 1):
            planner.pass_(source, number)
    if recipe.goal:
        planner.training(recipe.goal)
    order = list(recipe.sources)
    passes = sorted(planner.passes.values(), key=lambda p: (order.index(p.source), p.number))
    inputs = {s: shards for s, shards in inputs.items() if any(p.source == s for p in passes)}
    return Plan(recipe, inputs, tuple(passes), _barriers(recipe, passes, inputs), tuple(planner.trainings.values()), models)


class _Planner:
    """Makes passes and trainings as they are asked for, each after all that it needs; so what nothing needs is not planned."""

    def __init__(self, recipe: Recipe, inputs: dict[str, tuple[Shard, ...]], hashed: Callable[[Stage, str], Stage]):
        self.recipe, self.inputs, self.hashed = recipe, inputs, hashed
        self.wanted = [s for s in recipe.sources if s not in recipe.feeding]
        self.passes: dict[tuple[str, int], Pass] = {}
        self.trainings: dict[str, Training] = {}
        self._open: list[str] = []  # trainings that are being planned: each needs the next
        self._resolved: dict[int, Stage] = {}
        self._private: dict[str, list[_Cut]] = {}
        corpus = cut(recipe.corpus) if recipe.corpus else []
        for source, steps in recipe.sources.items():
            *feeds, left = learning(recipe, source)
            cuts = cut(steps[1:], feeds)
            if left:
                cuts[-1] = replace(cuts[-1], kept=True, feeds=left)
            self._private[source] = _weld(cuts, corpus[0]) if corpus and source in self.wanted else cuts
        self._shared = corpus[1:]

    def count(self, source: str) -> int:
        """How many passes a source's documents go through in all."""
        return len(self._private[source]) + (len(self._shared) if source in self.wanted else 0)

    def _cut(self, source: str, number: int) -> _Cut:
        private = self._private[source]
        return private[number - 1] if number <= len(private) else self._shared[number - len(private) - 1]

    def pass_(self, source: str, number: int) -> Pass:
        """One pass of a source; all before it are planned first."""
        if (source, number) in self.passes:
            return self.passes[source, number]
        c = self._cut(source, number)
        before = self.pass_(source, number - 1) if number > 1 else None
        enter = self._resolve(c.enter) if c.enter else None
        stages = tuple(self._resolve(s) for s in c.stages)
        leave = self._resolve(c.leave) if c.leave else None
        used = [self.trainings[n] for s in (enter, *stages, leave) if s for n in models_of(s)]
        level = max([t.level + 1 for t in used] + ([before.level + 1] if before else [0]))
        lineage = before.lineage if before else self._raw(source)
        step = number - len(self._private[source])
        if step > 0:  # of the corpus: the passes of one step run together, and behind a barrier each depends on all, and on their order
            peers = {s: self.pass_(s, len(self._private[s]) + step - 1) for s in self.wanted}
            level = max(level, *(p.level + 1 for p in peers.values()))
            together = store.fingerprint([(s, p.lineage) for s, p in peers.items()]) if enter else ""
            lineage = store.fingerprint([lineage, together, _identities(enter, stages)])
        else:
            lineage = store.fingerprint([lineage, _identities(enter, stages)])
        reader = _reader(self.recipe.sources[source]) if number == 1 else None
        made = Pass(source, number, level, reader, enter, stages, leave, lineage)
        self.passes[source, number] = made
        return made

    def _raw(self, source: str) -> str:
        """The fingerprint of a source's documents as they are read."""
        reader, inputs = self.recipe.sources[source][0].stage, _inputs(self.inputs[source])
        return store.fingerprint([PASS_VERSION, source, _identity(reader), self.recipe.engine.shard_bytes, inputs])

    def training(self, name: str) -> Training:
        """The training of a model; the passes that it learns from are planned first."""
        if name in self.trainings:
            return self.trainings[name]
        model = self.recipe.models[name]
        assert isinstance(model, Trained)
        if name in self._open:
            chain = " needs ".join([*self._open[self._open.index(name) :], name])
            raise RecipeError(f"{model.place}: learns from documents that it is needed for: {chain}")
        self._open.append(name)
        trainer = self._taught(self.hashed(model.trainer, model.place))
        assert isinstance(trainer, Trainer)
        members = {role: tuple(self._fed(source, name) for source in sources) for role, sources in model.sources.items()}
        self._open.pop()
        levels = [p.level for passes in members.values() for p in passes] + [self.trainings[n].level for n in models_of(trainer)]
        mark = store.fingerprint([TRAINING_VERSION, trainer.identity, {role: [p.lineage for p in m] for role, m in members.items()}])
        self.trainings[name] = Training(name, trainer, members, max(levels), mark)
        return self.trainings[name]

    def _fed(self, source: str, name: str) -> Pass:
        """The pass of a source from which a model learns: before the source itself uses it, or the last of its own."""
        private = self._private[source]
        number = next((n for n, c in enumerate(private, 1) if name in c.feeds), len(private))
        return self.pass_(source, number)

    def _resolve(self, stage: S) -> S:
        """The stage with each trained model named by its training; the same object for the same stage of the recipe."""
        if id(stage) not in self._resolved:
            self._resolved[id(stage)] = self._taught(stage)
        return cast(S, self._resolved[id(stage)])

    def _taught(self, stage: Stage) -> Stage:
        changes = {
            field: Model(self.training(value.name).folder, self.training(value.name).fingerprint, value.name)
            for field, value in vars(stage).items()
            if isinstance(value, Model) and value.name
        }
        return replace(stage, **changes) if changes else stage


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
    if last.feeds and corpus.leave and models_of(corpus.leave):  # what emits keys may need what learns from this very pass
        return [*cuts, corpus]
    return [*before, replace(last, stages=last.stages + corpus.stages, leave=corpus.leave)]


def learning(recipe: Recipe, source: str) -> list[frozenset[str]]:
    """For each step of a source behind its reader, the models that learn from its documents as they come there: those that the step is
    the first to use. And last, the models that learn from them as the source leaves them.
    """
    left = {n for n, m in recipe.models.items() if isinstance(m, Trained) and any(source in s for s in m.sources.values())}
    out = []
    for step in recipe.sources[source][1:]:
        here = depends(step.stage, recipe.models) & left
        left -= here
        out.append(frozenset(here))
    return [*out, frozenset(left)]


def _identities(enter: Global | None, stages: tuple[Stage, ...]) -> list[Any]:
    return [s.identity for s in ((enter,) if enter else ()) + stages]


def _barriers(recipe: Recipe, passes: Sequence[Pass], inputs: dict[str, tuple[Shard, ...]]) -> tuple[Barrier, ...]:
    own = {s: [id(p.leave) for p in passes if p.source == s and p.leave] for s in recipe.sources}
    groups: dict[Any, list[Pass]] = {}
    for p in passes:
        if p.leave:
            shared = sum(id(p.leave) in ids for ids in own.values()) > 1
            groups.setdefault(id(p.leave) if shared else (p.source, p.number), []).append(p)
    out = []
    for members in groups.values():
        stage = members[0].leave
        assert stage is not None
        read = sum(s.size for m in members for s in inputs[m.source])
        small = min(LEAST_PARTITIONS, math.ceil(read / LEAST_BYTES))
        partitions = recipe.engine.partitions or max(1, small, math.ceil(read / PARTITION_BYTES))
        mark = store.fingerprint([stage.identity, partitions, [m.lineage for m in members]])
        out.append(Barrier(stage, tuple(members), partitions, mark))
    return tuple(out)


def _with_models(step: Step, models: dict[str, str], hash_file: Callable[[str], str]) -> Step:
    """The step with the sha256 of each model that is given filled in."""
    stage = _hashed(step.stage, step.place, models, hash_file)
    return step if stage is step.stage else replace(step, stage=stage)


def _hashed(stage: Stage, place: str, models: dict[str, str], hash_file: Callable[[str], str]) -> Stage:
    changes = {}
    for name, value in vars(stage).items():
        if isinstance(value, Model) and not value.name:
            if store.is_remote(value.path):
                raise RecipeError(f"{place}: {name}: {value.path}: a model is read from a disk; copy it to one that all workers see")
            if value.path not in models:
                if not store.exists(value.path):
                    raise RecipeError(f"{place}: {name}: no such model file: {value.path}")
                try:
                    models[value.path] = hash_file(value.path)
                except OSError as error:
                    raise RecipeError(f"{place}: {name}: {value.path} cannot be read: {store.reason(error)}") from None
            changes[name] = Model(store.absolute(value.path), models[value.path])
    stage = replace(stage, **changes) if changes else stage
    try:
        stage.check()
    except CurateError as error:
        raise RecipeError(f"{place}: {error}") from None
    return stage


def check_indexes(recipe: Recipe) -> None:
    """No two barriers keep an index under one name: see `Barrier.index`."""
    wanted = [s for s in recipe.sources if s not in recipe.feeding]
    places: dict[str, str] = {}
    for scope, steps in (*recipe.sources.items(), (wanted[0] if len(wanted) == 1 else "corpus", recipe.corpus)):
        for step in steps:
            if isinstance(step.stage, Global) and step.stage.remembers:
                name = f"{scope}-{step.stage.name}"
                if name in places:
                    raise RecipeError(
                        f"{step.place}: keeps its index as index/{name}, and so does {places[name]}; one would overwrite the other. "
                        "Leave keep_index out of one of them"
                    )
                places[name] = step.place


def check_columns(recipe: Recipe) -> None:
    """Each stage finds the columns that it reads, in every source; and so does what trains a model."""
    for source, steps in recipe.sources.items():
        have = [*CONTRACT, *steps[0].stage.adds]

        def check(reads: Iterable[str], place: str, source: str = source, have: list[str] = have) -> None:
            for column in reads:
                if column not in have:
                    raise RecipeError(
                        f"{place}: reads the column {column}, which source {source} does not have here; "
                        f"it has {', '.join(have)}{near(column, have) or '.'} Put the stage that adds it before this one"
                    )

        *feeds, left = learning(recipe, source)
        feeds += [left]
        behind = () if source in recipe.feeding else recipe.corpus
        for number, step in enumerate((*steps[1:], None, *behind)):
            if number < len(feeds):
                for name in sorted(feeds[number]):
                    model = recipe.models[name]
                    assert isinstance(model, Trained)
                    check(model.trainer.reads, model.place)
            if step:
                check(step.stage.reads, step.place)
                have += [c for c in step.stage.adds if c not in have]
