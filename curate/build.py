"""From the name that a recipe uses to the stage's class, and from parameters to the stage.

`gopher.Quality` means the class Quality in stages/gopher.py (or classifiers/gopher.py); any other dotted path is imported as it
stands, so a third party's stage needs no registration.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import os
import traceback
import typing
from collections.abc import Mapping
from functools import cache
from typing import Any

from curate.errors import RecipeError
from curate.stage import Filter, Global, Model, Source, Stage, Trainer, Transform
from curate.values import Fail, near, shown, validate

PACKAGES = ("stages", "classifiers")


def _last_line(error: BaseException) -> str:
    """` (file:line)` of where it was raised."""
    frames = traceback.extract_tb(error.__traceback__)
    return f" ({frames[-1].filename}:{frames[-1].lineno})" if frames and not isinstance(error, SyntaxError) else ""


@cache
def find(name: str) -> type[Stage]:
    """The class that a recipe means by a name."""
    module, _, cls = name.rpartition(".")
    if not module or not all(part.isidentifier() for part in name.split(".")):
        raise RecipeError(f"{name}: a stage is named module.Class, such as gopher.Quality")
    for package in (*(f"{p}." for p in PACKAGES), ""):
        path = f"{package}{module}"
        try:
            found = importlib.import_module(path)
        except ModuleNotFoundError as error:
            if error.name and (path == error.name or path.startswith(f"{error.name}.")):
                continue
            raise RecipeError(f"{name}: {path} needs {error.name}, which is not installed") from None
        except (Exception, SystemExit) as error:  # whatever a module of one's own may do
            raise RecipeError(f"{name}: {path} cannot be imported: {type(error).__name__}: {error}{_last_line(error)}") from None
        stage = getattr(found, cls, None)
        if inspect.isclass(stage) and issubclass(stage, Stage):
            return stage
        stages = [n for n, v in vars(found).items() if inspect.isclass(v) and issubclass(v, Stage) and v.__module__ == found.__name__]
        raise RecipeError(f"{name}: {path} has no stage {cls}; it has {', '.join(stages) or 'none'}{near(cls, stages)}")
    raise RecipeError(f"{name}: no such stage{near(name, catalogue())}")


@cache
def catalogue() -> dict[str, type[Stage]]:
    """Every stage of this installation by the name that a recipe uses."""
    import pkgutil

    out: dict[str, type[Stage]] = {}
    for package in PACKAGES:
        root = importlib.import_module(package)
        for info in pkgutil.walk_packages(root.__path__, f"{package}."):
            module = importlib.import_module(info.name)
            for cls in vars(module).values():
                if inspect.isclass(cls) and issubclass(cls, Stage) and cls.__module__ == info.name and not inspect.isabstract(cls):
                    out[f"{info.name.removeprefix(f'{package}.')}.{cls.__name__}"] = cls
    return dict(sorted(out.items()))


def kind(cls: type[Stage]) -> str:
    """Source, Filter, Transform, Global or Trainer."""
    return next(k.__name__ for k in (Source, Filter, Transform, Global, Trainer) if issubclass(cls, k))


def parameters(name: str) -> set[str]:
    """Names of a stage's parameters; none of a stage that there is not."""
    try:
        return {f.name for f in dataclasses.fields(find(name))}
    except RecipeError:
        return set()


def is_model(hint: Any) -> bool:
    """Whether a field of this type holds a model: by the name of one under `models:`, or by its path."""
    return hint is Model or Model in typing.get_args(hint)


def build(name: str, config: Mapping[str, Any], models: Mapping[str, Model] | None = None, fail: Fail | None = None) -> Stage:
    """A stage from its name and parameters; a parameter of type Model is a name under `models:` or a path."""
    cls = find(name)
    fail = fail or (lambda at, message: RecipeError(f"{name}.{'.'.join(map(str, at))}: {message}" if at else f"{name}: {message}"))
    if inspect.isabstract(cls):
        raise fail((), "is abstract; name one of its kinds")
    config = dict(config)
    try:
        hints = typing.get_type_hints(cls)
    except NameError as error:
        raise fail((), f"a parameter's type cannot be understood: {error}") from None
    for field_name, hint in hints.items():
        if is_model(hint) and isinstance(config.get(field_name), dict) and models is not None:
            raise fail((field_name,), f"expected a name under `models:` or a path, found {shown(config[field_name])}")
        if is_model(hint) and isinstance(config.get(field_name), str):
            named = models or {}
            given = config[field_name]
            if given not in named and "/" not in given and not os.path.exists(given):
                raise fail((field_name,), f"no model {given} under `models:`, and no file of that name{near(given, named)}")
            config[field_name] = dataclasses.asdict(named.get(given, Model(given)))
    return typing.cast(Stage, validate(cls, config, fail))
