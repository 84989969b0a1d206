"""`--set`: one value of a recipe replaced, by a dotted path."""

from __future__ import annotations

from typing import Any

from curate import places
from curate.errors import RecipeError
from curate.values import cut, near, shown


def apply(recipe: dict[str, Any], setting: str, keys: tuple[str, ...]) -> places.Path:
    """`sources.web.gopher.Quality.min_words=30`: an item of a list by its number or by the name of its stage; says where that is."""
    key, equals, text = setting.partition("=")
    parts = key.split(".")
    if not equals or not all(parts):
        raise RecipeError(f"--set {cut(setting)}: expected path.to.key=value")
    try:
        value = places.scalar(text)
    except RecipeError as error:
        raise RecipeError(f"--set {cut(setting)}: {str(error).removeprefix('--set:')}") from None
    try:
        return _put(recipe, parts, value, keys)
    except RecipeError as error:
        raise RecipeError(f"--set {cut(setting)}: {error}") from None


def _put(node: Any, parts: list[str], value: Any, keys: tuple[str, ...]) -> places.Path:
    """Set a value in a recipe by a dotted path, and say where that is."""
    path: places.Path = ()
    while True:
        where = ".".join(map(str, path)) or "the recipe"
        if isinstance(node, list):
            number, used = _item(node, parts)
            if number is None:
                items = [stage_name(item) for item in node]
                hint = near(".".join(parts[:-1] or parts), items)
                raise RecipeError(f"{where} has no {'.'.join(parts)}; it has {', '.join(items)}{hint}")
            steps = path == ("corpus",) or (len(path) == 2 and path[0] == "sources")
            path, parts = (*path, number), parts[used:]
            if steps:
                name = stage_name(node[number])
                if not parts:
                    raise RecipeError(f"names a stage; add the parameter, as in {where}.{number}.PARAMETER=value")
                if node[number] in (name, {name: None}):
                    node[number] = {name: {}}
                path, node = (*path, name), node[number].get(name) if isinstance(node[number], dict) else None
            elif not parts:
                node[number] = value
                return path
            else:
                node = node[number]
        elif isinstance(node, dict):
            name, *parts = parts
            if parts and node.get(name) is None:
                known = keys if not path else tuple(node)
                if (not path and name not in keys) or path == ("sources",):
                    raise RecipeError(f"{where} has no {name}; it has {', '.join(known)}{near(name, known)}")
                node[name] = {}
            path = (*path, name)
            if not parts:
                node[name] = value
                return path
            node = node[name]
        else:
            raise RecipeError(f"{where} is a value, with nothing below it")


def stage_name(entry: Any) -> str:
    """What an item of a list is called."""
    return entry if isinstance(entry, str) else next(iter(entry), "?") if isinstance(entry, dict) else shown(entry)


def _item(entries: list[Any], parts: list[str]) -> tuple[int | None, int]:
    """Which entry of a list a dotted path means, and how many of its parts say so."""
    if parts[0].isdecimal() and int(parts[0]) < len(entries):
        return int(parts[0]), 1
    for number, entry in enumerate(entries):
        words = stage_name(entry).split(".")
        if parts[: len(words)] == words:
            return number, len(words)
    return None, 0
