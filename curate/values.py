"""From plain values to dataclasses, strictly; and what a message says of a value that does not fit."""

from __future__ import annotations

import dataclasses
import json
import typing
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError

from curate.errors import RecipeError
from curate.places import Path

Fail = Callable[[Path, str], RecipeError]
UNKNOWN = ("extra_forbidden", "unexpected_keyword_argument")
MISSING = ("missing", "missing_argument", "missing_keyword_only_argument")


def near(word: str, known: Iterable[str]) -> str:
    """`; did you mean ...?`, where something is close."""
    found = get_close_matches(word, list(known), 1, 0.6)
    return f"; did you mean {found[0]}?" if found else ""


def cut(text: str, most: int = 200) -> str:
    """For messages: long text up to here."""
    return text if len(text) <= most else f"{text[:most]}..."


def shown(value: Any) -> str:
    """For messages: a value as it was found, or its beginning."""
    return cut(repr(value), 80)


def validate(cls: type, config: Any, fail: Fail) -> Any:
    """A dataclass from plain values, strictly."""
    try:
        return TypeAdapter(cls).validate_json(json.dumps(config))
    except ValidationError as error:
        raise fail(*_explain(error, cls, config)) from None
    except PydanticUserError as error:
        raise fail((), f"a parameter's type cannot be understood: {str(error).splitlines()[0]}") from None
    except RecipeError as error:
        raise fail((), str(error)) from None


def _explain(error: ValidationError, cls: type, config: Any) -> tuple[Path, str]:
    """Where a value is wrong, and why. Of the kinds that a value may be, the one that it is most like is meant."""
    found = [(_within(config, e["loc"], e["type"] in UNKNOWN + MISSING), e) for e in error.errors()]
    first = found[0][0][:1]
    at = max((at for at, _ in found if at[:1] == first), key=len)
    meant = [e for place, e in found if place == at]
    if meant[0]["type"] in UNKNOWN:
        names = [f.name for f in dataclasses.fields(_class_at(cls, at[:-1]))]
        return at, f"no such parameter; there are {', '.join(names) or 'none'}{near(str(at[-1]), names)}"
    if meant[0]["type"] in MISSING:
        return at, "missing; it has no default"
    if meant[0]["type"] == "value_error":
        return at, meant[0]["msg"].removeprefix("Value error, ")
    wanted = [e["msg"].removeprefix("Input should be ") for e in meant]
    wanted = [w.replace("array", "list").replace("an object", "a mapping").replace("a valid string", "text") for w in wanted]
    return at, f"expected {' or '.join(dict.fromkeys(wanted))}, found {shown(meant[0]['input'])}"


def _within(config: Any, loc: tuple[str | int, ...], last: bool) -> Path:
    """Those parts of pydantic's location that are in the recipe; the others name kinds of values. The last may be what is missing."""
    out: list[str | int] = []
    for number, part in enumerate(loc):
        if (isinstance(config, dict) and part in config) or (isinstance(config, list | tuple) and isinstance(part, int)):
            config = config[part]  # type: ignore[index]
            out.append(part)
        elif last and number == len(loc) - 1:
            out.append(part)
    return tuple(out)


def _class_at(cls: type, path: Path) -> type:
    """The dataclass that stands at a place below another."""
    for part in path:
        hint = typing.get_type_hints(cls).get(str(part), cls)
        cls = next((c for c in (hint, *typing.get_args(hint)) if dataclasses.is_dataclass(c)), cls)  # type: ignore[assignment]
    return cls
