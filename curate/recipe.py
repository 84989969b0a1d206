"""A recipe is one YAML file: sources, stages over the corpus, a mix, token shards. Strict: what is not known is refused, with its place."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import Field

from curate import known, places, settings
from curate.build import build, parameters
from curate.errors import RecipeError
from curate.mix import Mix, check_weights
from curate.published import Published
from curate.stage import Model, Source, Stage, Trainer
from curate.tokens.config import Tokens
from curate.values import near, shown, validate


@dataclass(frozen=True)
class Engine:
    """How the work is cut. Only `shard_bytes` shows in the results (as the boundaries of files)."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid", "strict": True}
    shard_bytes: Annotated[float, Field(ge=1, le=1e15)] = (
        64e6  # larger inputs are split where their format allows, smaller neighbours are joined
    )
    batch_rows: Annotated[int, Field(ge=1)] = 4096  # documents that a stage sees at once
    partitions: Annotated[int, Field(ge=0, le=1_000_000)] = 0  # of a barrier's keys; 0: one per GB of input, and up to eight for less


@dataclass(frozen=True)
class Step:
    """A stage in its place in a recipe."""

    stage: Stage
    keep: bool = False  # `keep: true`: the planner cuts here, so that what follows can change without redoing this
    place: str = ""


@dataclass(frozen=True)
class Trained:
    """A model that the run trains: by what, and from the documents of which sources in which role."""

    trainer: Trainer
    sources: dict[str, tuple[str, ...]]
    place: str = ""


@dataclass(frozen=True)
class Recipe:
    """A recipe, checked and resolved: every default is written out in `resolved`."""

    name: str
    seed: int
    sources: dict[str, tuple[Step, ...]]
    corpus: tuple[Step, ...] = ()
    models: dict[str, Model | Trained] = field(default_factory=dict)
    feeding: tuple[str, ...] = ()  # sources that are read for the models' sake only: what is left of them is no result
    goal: str = ""  # the model to train, where that is all that is wanted
    mix: Mix | None = None
    tokens: Tokens | None = None
    published: dict[str, list[Published]] = field(default_factory=dict)  # what others report of the sources; decides nothing
    engine: Engine = Engine()
    file: str = ""

    @property
    def given_models(self) -> list[str]:
        """Paths of the models that stages use and that are not trained here."""
        stages = [s.stage for steps in (*self.sources.values(), self.corpus) for s in steps]
        stages += [m.trainer for m in self._models.values() if isinstance(m, Trained)]
        return [path for stage in stages for path in _given(stage)]

    @property
    def _models(self) -> dict[str, Model | Trained]:
        """Those whose sources are all there."""
        return {
            name: model
            for name, model in self.models.items()
            if isinstance(model, Model) or all(s in self.sources for sources in model.sources.values() for s in sources)
        }

    @property
    def resolved(self) -> dict[str, Any]:
        """The recipe with every default written out, to be loaded again."""
        out: dict[str, Any] = {"name": self.name, "seed": self.seed}
        if self._models:
            out["models"] = {name: _model_entry(model) for name, model in self._models.items()}
        out["sources"] = {name: [_entry(s) for s in steps] for name, steps in self.sources.items()}
        if self.feeding:
            out["feeding"] = list(self.feeding)
        out["corpus"] = [_entry(s) for s in self.corpus]
        for key, value in (("mix", self.mix), ("tokens", self.tokens), ("engine", self.engine)):
            if value is not None:
                out[key] = _plain(value)
        if self.published:
            out["published"] = {source: [_plain(figure) for figure in figures] for source, figures in self.published.items()}
        return out


def _given(stage: Stage) -> list[str]:
    return [value.path for value in vars(stage).values() if isinstance(value, Model) and not value.name]


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(dataclasses.asdict(value)))


def _entry(step: Step) -> dict[str, Any]:
    config = _plain(step.stage)
    for f in dataclasses.fields(step.stage):
        if isinstance(model := getattr(step.stage, f.name), Model):
            config[f.name] = model.name or model.path
    return {step.stage.name: {**config, **({"keep": True} if step.keep else {})}}


def _model_entry(model: Model | Trained) -> dict[str, Any]:
    if isinstance(model, Model):
        return {"path": model.path}
    given: Any = {role: list(sources) for role, sources in model.sources.items()}
    [(name, config)] = _entry(Step(model.trainer)).items()
    return {"train": name, "from": given, **config}


def models_of(stage: Stage) -> list[str]:
    """Names of the trained models that a stage uses itself."""
    return [value.name for value in vars(stage).values() if isinstance(value, Model) and value.name]


def depends(stage: Stage, models: Mapping[str, Model | Trained]) -> set[str]:
    """Names of the trained models that a stage uses, and of those that were used in training them."""
    out: set[str] = set()
    for name in models_of(stage):
        model = models[name]
        assert isinstance(model, Trained)
        out |= {name} | depends(model.trainer, models)
    return out


GIVEN = {"path", "known"}  # of a model; with both, the path counts, so that --set can replace what is known
KEYS = ("name", "seed", "data", "models", "sources", "feeding", "corpus", "mix", "tokens", "published", "engine")


class _Reader:
    """One recipe file on its way to a Recipe: knows the place of everything, for the messages."""

    def __init__(self, file: str, given: Sequence[str]):
        try:
            data = Path(file).read_bytes()
            text = data.decode("utf-8-sig")
        except OSError as error:
            raise RecipeError(f"{file}: cannot be read: {error.strerror}") from None
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            raise RecipeError(f"{file}:{line}: not UTF-8: {error.reason} (byte {error.start:,}); save the file as UTF-8") from None
        self.file = file
        self.value, self.lines = places.parse(text, file)
        if not isinstance(self.value, dict):
            found = "is empty" if self.value is None else f"is {shown(self.value)}"
            raise RecipeError(f"{file}: a recipe is a mapping with the keys {', '.join(KEYS)}; this file {found}")
        for setting in given:
            path = settings.apply(self.value, setting, KEYS)
            self.lines = {at: line for at, line in self.lines.items() if at[: len(path)] != path} | {path: 0}
        if not isinstance(self.value.get("data"), str | None):
            raise self.fail(("data",), f"expected a folder, found {shown(self.value['data'])}")
        self.value = self._substitute(self.value, ())

    def fail(self, path: places.Path, message: str) -> RecipeError:
        """An error at a place: file, line and path."""
        at = path
        while at and at not in self.lines:
            at = at[:-1]
        line = f":{self.lines[at]}" if self.lines.get(at) else ""
        message += " (given by --set)" if self.lines.get(at) == 0 else ""
        where = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in path).lstrip(".")
        return RecipeError(f"{self.file}{line}: {where}: {message}" if where else f"{self.file}{line}: {message}")

    def _substitute(self, value: Any, path: places.Path) -> Any:
        """`${data}` is the recipe's `data:`, `${here}` the folder of the recipe."""
        if isinstance(value, dict):
            return {k: self._substitute(v, (*path, k)) for k, v in value.items()}
        if isinstance(value, list):
            return [self._substitute(v, (*path, n)) for n, v in enumerate(value)]
        if isinstance(value, str) and "${" in value:
            value = value.replace("${here}", os.path.dirname(os.path.abspath(self.file)))
            if "${data}" in value:
                data = self.value.get("data")
                if not isinstance(data, str) or "${data}" in data:
                    raise self.fail(path, "${data} stands for the recipe's `data:` folder, which is not given; add it or --set data=FOLDER")
                value = value.replace("${data}", data.replace("${here}", os.path.dirname(os.path.abspath(self.file))))
            if "${" in value:
                raise self.fail(path, f"{value}: only ${{data}} and ${{here}} can be filled in")
        return value

    def names(self, key: str, sources: Mapping[str, Any]) -> list[str]:
        """A list of sources."""
        given = self.value.get(key) or []
        if not isinstance(given, list):
            raise self.fail((key,), f"expected a list of sources, found {shown(given)}")
        for number, name in enumerate(given):
            if name not in list(sources):
                raise self.fail((key, number), f"no source {shown(name)}; there are {', '.join(sources)}{near(str(name), sources)}")
        return given

    def published(self, sources: Mapping[str, Sequence[Step]], corpus: Sequence[Step]) -> dict[str, list[Published]]:
        """`published:` by source."""
        given = self.value.get("published") or {}
        if not isinstance(given, dict):
            raise self.fail(("published",), f"expected a mapping from sources, found {shown(given)}")
        out: dict[str, list[Published]] = {}
        for source, figures in given.items():
            path: places.Path = ("published", source)
            if source not in sources:
                raise self.fail(path, f"no such source; there are {', '.join(sources)}{near(source, sources)}")
            if not isinstance(figures, list):
                raise self.fail(path, f"expected a list of figures, found {shown(figures)}")
            stages = [step.stage.name for step in (*sources[source], *corpus)]
            out[source] = []
            for number, given_figure in enumerate(figures):
                figure = validate(Published, given_figure, lambda at, message, path=(*path, number): self.fail((*path, *at), message))  # type: ignore[misc]
                if figure.stage and figure.stage not in stages:
                    message = f"{source} has no {figure.stage}; it has {', '.join(stages)}{near(figure.stage, stages)}"
                    raise self.fail((*path, number, "stage"), message)
                out[source].append(figure)
        return out

    def section(self, key: str, cls: type, default: Any) -> Any:
        """A part of the recipe that is one dataclass."""
        if self.value.get(key) is None:
            return default
        return validate(cls, self.value[key], lambda at, message: self.fail((key, *at), message))

    def steps(self, path: places.Path, value: Any, models: Mapping[str, Model | Trained]) -> tuple[Step, ...]:
        """A list of stages."""
        if not isinstance(value, list):
            raise self.fail(path, f"expected a list of stages, found {shown(value)}")
        return tuple(self._step((*path, n), entry, models) for n, entry in enumerate(value))

    def _step(self, path: places.Path, entry: Any, models: Mapping[str, Model | Trained]) -> Step:
        if isinstance(entry, str):
            name, config = entry, None
        elif isinstance(entry, dict) and len(entry) == 1:
            name, config = next(iter(entry.items()))
        else:
            raise self.fail(path, f"a stage is `module.Class` or one `module.Class: {{parameters}}`, found {shown(entry)}")
        if not isinstance(config, dict | None):
            raise self.fail((*path, name), f"expected parameters as a mapping, found {shown(config)}")
        config = dict(config or {})
        keep = config.pop("keep", False) if "keep" not in parameters(name) else False
        if not isinstance(keep, bool):
            raise self.fail((*path, name, "keep"), f"expected true or false, found {shown(keep)}")
        try:
            stage = build(name, config, _named(models), lambda at, message: self.fail((*path, name, *at), message))
        except RecipeError as error:
            raise error if str(error).startswith(self.file) else self.fail(path, str(error)) from None
        if isinstance(stage, Trainer):
            raise self.fail(path, f"{name} trains a model; it belongs under `models:`, as {{train: {name}, from: SOURCE}}")
        line = self.lines.get((*path, name)) or self.lines.get(path, 0)
        return Step(stage, keep, f"{self.file}:{line}: {'.'.join(str(p) for p in path[:-1])}[{path[-1]}] {name}")

    def models(self) -> dict[str, Model | Trained]:
        """`models:` by name: a path, one that curate knows where to get, or one that the run trains."""
        out: dict[str, Model | Trained] = {}
        for name, value in (self.value.get("models") or {}).items():
            if not name.replace("-", "").replace("_", "").isalnum():
                raise self.fail(("models", name), "a model's name is letters, digits, - and _: it becomes a folder")
            if isinstance(value, dict) and "train" in value:
                out[name] = self._trained(name, dict(value), out)
            elif isinstance(value, dict) and value and value.keys() <= GIVEN and all(isinstance(v, str) for v in value.values()):
                try:
                    out[name] = Model(value["path"] if "path" in value else known.path(value["known"]))
                except RecipeError as error:
                    raise self.fail(("models", name, "known"), str(error)) from None
            else:
                message = f"expected {{path: FILE}}, {{known: NAME}} or {{train: STAGE, from: SOURCE}}, found {shown(value)}"
                raise self.fail(("models", name), message)
        return out

    def _trained(self, name: str, value: dict[str, Any], models: Mapping[str, Model | Trained]) -> Trained:
        path = ("models", name)
        trainer, given = value.pop("train"), value.pop("from", None)
        if not isinstance(trainer, str):
            raise self.fail((*path, "train"), f"expected the name of a stage that trains, found {shown(trainer)}")
        try:
            stage = build(trainer, value, _named(models), lambda at, message: self.fail((*path, *at), message))
        except RecipeError as error:
            raise error if str(error).startswith(self.file) else self.fail(path, str(error)) from None
        if not isinstance(stage, Trainer):
            raise self.fail((*path, "train"), f"{trainer} does not train a model; `curate stages` shows what does")
        roles = stage.roles
        if isinstance(given, str | list) and len(roles) == 1:
            given = {roles[0]: given}
        if not isinstance(given, dict) or set(given) != set(roles):
            meant = f"the sources of {roles[0]}" if len(roles) == 1 else f"a mapping with the sources of {' and of '.join(roles)}"
            raise self.fail((*path, "from") if given is not None else path, f"`from` is {meant}, found {shown(given)}")
        sources = {}
        known_sources = self.value.get("sources") or {}
        for role in roles:
            names = [given[role]] if isinstance(given[role], str) else given[role]
            if not isinstance(names, list) or not names:
                raise self.fail((*path, "from"), f"expected a source or a list of sources, found {shown(given[role])}")
            for source in names:
                if not isinstance(source, str) or names.count(source) > 1:
                    raise self.fail((*path, "from"), f"expected sources, each once, found {shown(given[role])}")
                if source not in known_sources:
                    raise self.fail(
                        (*path, "from"), f"no source {source}; there are {', '.join(known_sources)}{near(str(source), known_sources)}"
                    )
            sources[role] = tuple(names)
        return Trained(stage, sources, f"{self.file}:{self.lines.get(path, 0)}: models.{name}")


def _named(models: Mapping[str, Model | Trained]) -> dict[str, Model]:
    """What a stage's parameter holds for each name: of a model that the run trains, only the name."""
    return {name: model if isinstance(model, Model) else Model("", "", name) for name, model in models.items()}


def load(file: str, given: Sequence[str] = (), only: Sequence[str] = (), goal: str = "") -> Recipe:
    """Read and check a recipe, by path or by the name of a built-in one. Raises RecipeError, one message with its place.

    `only` names the sources that are wanted, `goal` the one model. Sources that models learn from come along.
    """
    import sys

    file = locate(file)
    folder = os.path.dirname(os.path.abspath(file))
    if folder not in sys.path:
        sys.path.append(folder)  # a stage of one's own may lie beside the recipe
    reader = _Reader(file, given)
    value = reader.value
    for key in value:
        if key not in KEYS:
            raise reader.fail((key,), f"no such key in a recipe; there are {', '.join(KEYS)}{near(key, KEYS)}")
    name, seed = value.get("name", Path(file).stem), value.get("seed", 0)
    if not (isinstance(name, str) and name.isprintable() and name.strip(". ") and "/" not in name):
        raise reader.fail(("name",), f"expected text that can name a folder, found {shown(name)}")
    if not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed < 2**63:
        raise reader.fail(("seed",), f"expected a whole number from 0, found {shown(seed)}")
    for key in ("models", "sources"):
        if not isinstance(value.get(key), dict | None):
            raise reader.fail((key,), f"expected a mapping from names, found {shown(value[key])}")
    models = reader.models()
    sources = {}
    for source, entries in (value.get("sources") or {}).items():
        if not source.replace("-", "").replace("_", "").isalnum():
            raise reader.fail(("sources", source), "a source's name is letters, digits, - and _: it becomes a folder")
        steps = reader.steps(("sources", source), entries, models)
        if not steps or not isinstance(steps[0].stage, Source):
            raise reader.fail(("sources", source), "the first stage must be a reader, such as read.wet.Wet")
        for n, step in enumerate(steps[1:], 1):
            if isinstance(step.stage, Source):
                raise reader.fail(("sources", source, n), f"{step.stage.name} is a reader; it can only come first")
        sources[source] = steps
    if not sources:
        raise reader.fail((), "no sources; a recipe needs at least one under `sources:`")
    corpus = () if value.get("corpus") is None else reader.steps(("corpus",), value["corpus"], models)
    for n, step in enumerate(corpus):
        if isinstance(step.stage, Source):
            raise reader.fail(("corpus", n), f"{step.stage.name} is a reader; it can only come first in a source")
    mix, tokens = reader.section("mix", Mix, None), reader.section("tokens", Tokens, None)
    if mix is not None and tokens is None:
        raise reader.fail(("mix",), "a mix is of tokens; add a `tokens:` section, or leave the mix out")
    for source in only:
        if source not in sources:
            raise RecipeError(f"--only {source}: the recipe has no such source; it has {', '.join(sources)}{near(source, sources)}")
    if goal and not isinstance(models.get(goal), Trained):
        trained = [n for n, m in models.items() if isinstance(m, Trained)]
        raise RecipeError(f"{goal}: the recipe trains no such model; it trains {', '.join(trained) or 'none'}{near(goal, trained)}")
    feeding = reader.names("feeding", sources)
    wanted = [] if goal else list(only or [s for s in sources if s not in feeding])
    if not wanted and not goal:
        raise reader.fail(("feeding",), "every source only feeds models: there is nothing to publish")
    published = {s: figures for s, figures in reader.published(sources, corpus).items() if s in wanted}
    needed = _needed(wanted, goal, sources, () if goal else corpus, models)
    sources = {s: steps for s, steps in sources.items() if s in needed}
    fed = tuple(s for s in sources if s not in wanted)
    if goal:
        mix = tokens = None
    elif mix is not None and only:
        mix = mix.only(only)
    for source in feeding:
        if mix is not None and source in mix.weights and source not in wanted:
            raise reader.fail(("mix", "weights", source), "this source only feeds models (`feeding:`); it has no share")
    if mix is not None:
        try:
            check_weights(mix, wanted)
        except RecipeError as error:
            at, _, message = str(error).partition(": ")
            raise reader.fail(tuple(at.split(".")), message) from None
    engine = reader.section("engine", Engine, Engine())
    return Recipe(name, seed, sources, corpus, models, fed, goal, mix, tokens, published, engine, file)


def _needed(
    wanted: Sequence[str], goal: str, sources: Mapping[str, Sequence[Step]], corpus: Sequence[Step], models: Mapping[str, Model | Trained]
) -> set[str]:
    """The sources that are wanted, and those that the models learn from that they use."""
    needed: set[str] = set()
    learnt: set[str] = set()

    def learn(names: set[str]) -> None:
        for name in names - learnt:
            learnt.add(name)
            model = models[name]
            assert isinstance(model, Trained)
            learn(depends(model.trainer, models))
            for given in model.sources.values():
                for source in given:
                    need(source)

    def need(source: str) -> None:
        if source not in needed:
            needed.add(source)
            for step in sources[source]:
                learn(depends(step.stage, models))

    for source in wanted:
        need(source)
    if wanted:
        for step in corpus:
            learn(depends(step.stage, models))
    if goal:
        learn({goal})
    return needed


def locate(file: str) -> str:
    """A path as it is, or a built-in recipe's by its name."""
    known = builtin()
    if os.path.exists(file) and not (os.path.isdir(file) and file in known):
        return file
    if file in known:
        return known[file]
    raise RecipeError(f"{file}: no such recipe file, and no built-in recipe of that name; there are {', '.join(known)}{near(file, known)}")


def builtin() -> dict[str, str]:
    """{name: path} of the recipes that are installed with the package."""
    folder = Path(inspect.getfile(importlib.import_module("recipes"))).parent
    return {p.stem: str(p) for p in sorted(folder.glob("*.yaml"))}
