"""What stages there are, told from their own docstrings, fields and the comments that stand beside them.

The comment behind a field is where a default cites its section, so it is read from the source and shown with the default.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
import sys
import typing
from typing import Any

from pydantic import TypeAdapter

from curate import build, recipe
from curate.errors import RecipeError
from curate.mix import Mix
from curate.published import Published
from curate.stage import Stage
from curate.tokens.config import Tokens

_FIELD = re.compile(r"^    (\w+): .*?(?:  # (.*))?$")


@dataclasses.dataclass(frozen=True)
class Parameter:
    """One field of a stage."""

    name: str
    kind: str
    default: str  # as YAML would have it; empty where there is none
    comment: str


def parameters(cls: type[Stage]) -> list[Parameter]:
    """The fields of a stage in order, those of its own class first."""
    own = set(cls.__annotations__)
    notes = comments(cls)
    out = []
    for f in sorted(dataclasses.fields(cls), key=lambda f: f.name not in own):
        default: Any = f.default
        if f.default_factory is not dataclasses.MISSING:
            default = f.default_factory()
        text = "" if default is dataclasses.MISSING else json.dumps(default, ensure_ascii=False, default=str)
        out.append(Parameter(f.name, str(getattr(f.type, "__name__", f.type)), text, notes.get(f.name, "")))
    return out


LEFT_OPEN = re.compile(  # a choice of ours, or of somebody's code: what a paper says is cited by its section
    r"\bours\b|\b(?:does|do) not say\b|'s code\b|\bcc_net\b|\bc4_utils\b|\bRedPajama\b|\bdatatrove\b|\bSlimPajama\b"
    r"|\bdatamap-rs\b|\bNeMo\b|\bthe data set's\b|\bfastText's\b|\bfaiss\b|\bdatasketch\b"
)


def left_open(cls: type[Stage]) -> list[Parameter]:
    """The parameters that the papers leave open: whose comment says that the choice is ours, or names a reproduction that made it."""
    return [p for p in parameters(cls) if LEFT_OPEN.search(p.comment)]


def comments(cls: type[Stage]) -> dict[str, str]:
    """{field: comment} of a class and those it inherits from."""
    out: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        if base is object or not dataclasses.is_dataclass(base):
            continue
        for line in inspect.getsource(base).splitlines():
            if (found := _FIELD.match(line)) and found[1] in base.__annotations__:
                out[found[1]] = found[2] or out.get(found[1], "")
    return out


def about(cls: type[Stage]) -> str:
    """The docstring, unwrapped into paragraphs."""
    text = inspect.cleandoc(cls.__doc__ or "")
    return "\n\n".join(" ".join(p.split()) for p in text.split("\n\n"))


def listing() -> str:
    """One line a stage."""
    stages = build.catalogue()
    wide = max(map(len, stages)) + 2
    return "\n".join(f"{name:<{wide}}{build.kind(cls):<11}{about(cls).splitlines()[0]}" for name, cls in stages.items())


def describe(name: str | None) -> str:
    """All stages in a line each, or one of them whole."""
    if name is None:
        return listing() + "\n\n`curate stages NAME` tells more of one, `curate try NAME FILE` tries it."
    cls = build.find(name)
    lines = [f"{name} ({build.kind(cls)})", "", about(cls)]
    module = sys.modules[cls.__module__].__doc__
    if module:
        lines += ["", inspect.cleandoc(module)]
    rows = parameters(cls)
    if rows:
        lines += ["", "parameters"]
        wide = max(len(p.name) for p in rows) + 2
        for p in rows:
            default = f"= {p.default}" if p.default else "(must be given)"
            lines.append(f"  {p.name:<{wide}}{p.kind} {default}" + (f"\n  {'':<{wide}}{p.comment}" if p.comment else ""))
    return "\n".join(lines)


def markdown() -> str:
    """docs/stages.md."""
    lines = [
        "# Stages",
        "",
        "Written by `curate stages --markdown` from the stages themselves; do not edit. A number's comment names its source.",
    ]
    module = None
    for name, cls in build.catalogue().items():
        if cls.__module__ != module:
            module = cls.__module__
            lines += ["", f"## {name.rpartition('.')[0]}", "", inspect.cleandoc(sys.modules[module].__doc__ or "")]
        lines += ["", f"### {name}", "", f"*{build.kind(cls)}.* {about(cls)}"]
        rows = parameters(cls)
        if rows:
            lines += ["", "| parameter | type | default | |", "|---|---|---|---|"]
            for p in rows:
                cells = (f"`{p.name}`", f"`{p.kind}`", f"`{p.default}`" if p.default else "", p.comment)
                lines.append("| " + " | ".join(c.replace("|", "\\|") for c in cells) + " |")
    return "\n".join(lines) + "\n"


def schema() -> str:
    """The JSON schema of recipes, for editors: stage names, parameters and defaults complete as one types."""
    definitions: dict[str, Any] = {}
    entries: list[Any] = []
    for name, cls in build.catalogue().items():
        own = _schema(cls, definitions)
        for field, hint in typing.get_type_hints(cls).items():
            if build.is_model(hint) and field in own["properties"]:
                own["properties"][field] = {"type": "string", "description": "a name under models:, or a path"}
        for p in parameters(cls):
            if p.comment:
                own["properties"][p.name]["description"] = p.comment
        if "keep" not in own["properties"]:
            own["properties"]["keep"] = {"type": "boolean", "description": "cut here, so that what follows can change without redoing this"}
        own["description"] = about(cls)
        definitions[name] = own
        stage = {"properties": {name: {"anyOf": [{"$ref": f"#/$defs/{name}"}, {"type": "null"}]}}}
        entries.append({"type": "object", **stage, "required": [name], "additionalProperties": False})
        if not any(not p.default for p in parameters(cls)):
            entries.append({"const": name})
    known = list(build.catalogue())
    elsewhere = {"pattern": r"^[^\W\d]\w*(\.[^\W\d]\w*)+$", "not": {"enum": known}}  # a third party's, by its dotted path
    entries.append({"type": "string", **elsewhere})
    entries.append({"type": "object", "propertyNames": elsewhere, "minProperties": 1, "maxProperties": 1})
    definitions["stage"] = {"anyOf": entries}
    steps = {"type": "array", "items": {"$ref": "#/$defs/stage"}}
    given = {"properties": {"path": {"type": "string"}, "known": {"type": "string"}}, "additionalProperties": False, "minProperties": 1}
    trained = {"properties": {"train": {"type": "string"}, "from": {"type": ["string", "array", "object"]}}, "required": ["train", "from"]}
    model = {"type": "object", "anyOf": [given, trained]}
    properties = {
        "name": {"type": "string", "pattern": r"^[^/]*[^/. ][^/]*$"},
        "seed": {"type": "integer", "minimum": 0, "exclusiveMaximum": 2**63},
        "data": {"type": "string", "description": "folder that ${data} stands for"},
        "models": {"type": "object", "additionalProperties": model},
        "sources": {"type": "object", "minProperties": 1, "propertyNames": {"pattern": r"^[\w-]+$"}, "additionalProperties": steps},
        "feeding": {"type": "array", "items": {"type": "string"}, "description": "sources that only models learn from"},
        "corpus": steps,
        "mix": _schema(Mix, definitions),
        "tokens": _schema(Tokens, definitions),
        "published": {"type": "object", "additionalProperties": {"type": "array", "items": _schema(Published, definitions)}},
        "engine": _schema(recipe.Engine, definitions),
    }
    assert tuple(properties) == recipe.KEYS
    whole = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "curate recipe",
        "type": "object",
        "properties": properties,
        "required": ["sources"],
        "additionalProperties": False,
        "$defs": definitions,
    }
    return json.dumps(whole, indent=1, ensure_ascii=False)


def _schema(cls: type, definitions: dict[str, Any]) -> dict[str, Any]:
    own = TypeAdapter(cls).json_schema(ref_template="#/$defs/{model}")
    definitions.update(own.pop("$defs", {}))
    if "properties" not in own and "$ref" in own:
        raise RecipeError(f"{cls.__name__} refers to itself")
    return own
