"""Strict YAML with places: every value knows its line, a key stands once, and 1.4e12 is a number."""

from __future__ import annotations

import re
from typing import Any

import yaml

from curate.errors import RecipeError

Path = tuple[str | int, ...]


class _Loader(yaml.SafeLoader):
    """YAML 1.1 reads 1.4e12 as text; here it is a float, as in YAML 1.2."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?([0-9][0-9_]*)(\.[0-9_]*)?[eE][-+]?[0-9]+$"),
    list("-+0123456789"),
)


def parse(text: str, file: str) -> tuple[Any, dict[Path, int]]:
    """The value, and the line (from 1) of everything in it by path."""
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        lines: dict[Path, int] = {}
        return (_build(loader, node, (), lines, file) if node is not None else None), lines
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        raise RecipeError(f"{file}{where}: not YAML: {error.problem or error.context}") from None
    except yaml.YAMLError as error:
        raise RecipeError(f"{file}: not YAML: {error}") from None


def _build(loader: _Loader, node: yaml.Node, path: Path, lines: dict[Path, int], file: str) -> Any:
    lines[path] = node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        out: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = loader.construct_object(key_node, deep=True)
            line = key_node.start_mark.line + 1
            if not isinstance(key, str):
                raise RecipeError(f"{file}:{line}: the key {key!r} is not text; quote it")
            if key in out:
                raise RecipeError(f"{file}:{line}: {key} stands twice")
            out[key] = _build(loader, value_node, (*path, key), lines, file)
            lines[(*path, key)] = line
        return out
    if isinstance(node, yaml.SequenceNode):
        return [_build(loader, item, (*path, n), lines, file) for n, item in enumerate(node.value)]
    value = loader.construct_object(node, deep=True)
    if value is not None and not isinstance(value, str | int | float | bool):
        return str(node.value)  # a date, say, stays as it is written
    return value


def scalar(text: str) -> Any:
    """What a value on the command line means: as it would in a recipe."""
    return parse(text, "--set")[0]


def dump(value: Any) -> str:
    """For people and for reading back."""
    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=140)
