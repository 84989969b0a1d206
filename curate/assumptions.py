"""docs/assumptions.md: every choice that the papers leave open, told by the comment of the parameter that makes it.

A comment says what a parameter is and where its default comes from. One that says `ours`, or that somebody does not say, is a choice of
this kind. The page cannot be out of date: a test compares it with what is written here.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import types
import typing
from collections.abc import Iterator
from typing import Any

from curate import build, catalogue
from curate.mix import Mix
from curate.recipe import Engine
from curate.stage import Guarded, Source, Stage
from curate.tokens.config import Tokens

HEAD = """# Assumptions

Papers leave much open. Each such choice is a parameter with a default, and this is the list of them: written by
`curate stages --assumptions` from the comments that stand beside the parameters; do not edit. A recipe can choose otherwise. What is
fixed, and no parameter, is in [rules.md](rules.md). `curate stats OUT --faithful` names the open parameters of each stage of a run.

References: **Gopher** is Rae et al. 2021 (arXiv 2112.11446), **CCNet** Wenzek et al. 2020 (arXiv 1911.00359) and its code, **Llama 1**
Touvron et al. 2023 (arXiv 2302.13971) and its released tokenizer, **RedPajama** its open reproduction (arXiv 2411.12372), **ours** a
choice of this project.
"""
SECTIONS = {  # of the page, by how the name of a stage begins
    "Reading": ("read.",),
    "Deduplication": ("dedup.", "semantic.", "encoder."),
    "Perplexity and classifiers": ("perplexity.", "linear.", "references.", "language.", "punkt."),
    "Filters and rewriting": ("",),
}
RECIPE = {"mix": Mix, "tokens": Tokens, "engine": Engine}


def markdown() -> str:
    """The page."""
    lines = [HEAD.rstrip()]
    left = dict(build.catalogue())
    for title, beginnings in SECTIONS.items():
        own = {name: left.pop(name) for name in list(left) if name.startswith(beginnings)}
        lines += _table(title, [row for name, cls in own.items() for row in _rows(name, cls)])
        if title == "Reading":
            lines += _rows("every reader", Source)
        if title == "Deduplication":
            lines += _rows("all that drops duplicates", Guarded)
    lines += _table("Mix, tokens and engine", [row for key, cls in RECIPE.items() for row in _rows(key, cls)])
    return "\n".join(lines) + "\n"


def _table(title: str, rows: list[str]) -> list[str]:
    return ["", f"## {title}", "", "| parameter | default | what it is, and why so | alternatives |", "|---|---|---|---|", *rows]


def _rows(name: str, cls: type[Any]) -> Iterator[str]:
    """Of the parameters that a class itself declares; those that it inherits stand with the class that has them, or with its first heir."""
    hints = typing.get_type_hints(cls, include_extras=True)
    for p in catalogue.left_open(cls):
        if p.name in cls.__annotations__ or (_abstract_owner(cls, p.name) and cls is _first_heir(cls, p.name)):
            cells = (
                f"`{name}.{p.name}`",
                f"`{p.default}`" if p.default else "must be given",
                p.comment,
                _alternatives(hints[p.name], p.default),
            )
            yield "| " + " | ".join(c.replace("|", "\\|") for c in cells) + " |"
    for field in dataclasses.fields(cls):
        if dataclasses.is_dataclass(inner := hints[field.name]) and isinstance(inner, type) and not issubclass(inner, Stage):
            yield from _rows(f"{name}.{field.name}", inner)


def _abstract_owner(cls: type, parameter: str) -> type | None:
    """The class above, itself no stage of the catalogue, that declares a parameter; none for what has a line of its own."""
    owner = next(base for base in cls.__mro__ if parameter in inspect.get_annotations(base))
    return owner if owner not in build.catalogue().values() and owner not in (Source, Guarded) else None


def _first_heir(cls: type, parameter: str) -> type:
    owner = _abstract_owner(cls, parameter)
    return next(heir for heir in build.catalogue().values() if owner in heir.__mro__)


def _alternatives(hint: Any, default: str) -> str:
    """What else a parameter may be, as far as its type says."""
    if typing.get_origin(hint) is typing.Annotated:
        return _alternatives(hint.__origin__, default)
    if typing.get_origin(hint) is typing.Literal:
        return ", ".join(f"`{json.dumps(v)}`" for v in typing.get_args(hint) if json.dumps(v) != default)
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        found = [_alternatives(part, default) for part in typing.get_args(hint) if part is not type(None)]
        return ", ".join(dict.fromkeys(a for a in found if a))
    if hint is bool:
        return "`false`" if default == "true" else "`true`"
    return "any"
