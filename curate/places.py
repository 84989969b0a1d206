"""Strict YAML with places: every value knows its line, a key stands once, and a word is what it looks like.

The plain words of YAML 1.2: only `true` and `false` are truth values, so that `no` is Norwegian; 1.4e12 is a number; a date is text.
Anchors, aliases and `<<` work; what they stand for is copied, up to a bound. No tag makes anything but these plain values.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import yaml

from curate.errors import RecipeError

Path = tuple[str | int, ...]

MOST_VALUES = 100_000  # in one file, counted as often as aliases repeat them
TAG = "tag:yaml.org,2002:"
WORDS: dict[str, tuple[str, str, Callable[[str], Any]]] = {  # tag -> (what it looks like, how it can begin, what it is)
    "merge": (r"<<", "<", str),
    "null": (r"~|null|Null|NULL|", "~nN", lambda _: None),
    "bool": (r"true|True|TRUE|false|False|FALSE", "tTfF", lambda text: {"true": True, "false": False}[text.lower()]),
    "int": (r"[-+]?[0-9][0-9_]*|0x[0-9a-fA-F]+|0o[0-7]+", "-+0123456789", lambda text: int(text, 0 if text[:2] in ("0x", "0o") else 10)),
    "float": (
        r"[-+]?([0-9][0-9_]*(\.[0-9_]*)?|\.[0-9][0-9_]*)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        "-+0123456789.",
        lambda text: float(re.sub(r"\.(?=[a-zA-Z])|_", "", text)),
    ),
}


class _Loader(yaml.SafeLoader):
    """Tells words apart as YAML 1.2 does."""


class _Dumper(yaml.SafeDumper):
    """Quotes what either version of YAML would take for something else than text."""

    def represent_str(self, data: str) -> yaml.ScalarNode:
        """PyYAML loses line breaks that are not line feeds, but between double quotes."""
        return self.represent_scalar(f"{TAG}str", data, style='"' if re.search("[\r\x85\u2028\u2029]", data) else None)

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        return True


_Dumper.add_representer(str, _Dumper.represent_str)
_Loader.yaml_implicit_resolvers = {}
for _tag, (_looks, _begins, _) in WORDS.items():
    _pattern = re.compile(f"^(?:{_looks})$")
    for _class in (_Loader, _Dumper):
        _class.add_implicit_resolver(TAG + _tag, _pattern, [*_begins, *([""] if _tag == "null" else [])])


def parse(text: str, file: str) -> tuple[Any, dict[Path, int]]:
    """The value, and the line (from 1) of everything in it by path."""
    try:
        node = _Loader(text).get_single_node()
        builder = _Builder(file)
        return (builder.build(node, ()) if node is not None else None), builder.lines
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        raise RecipeError(f"{file}{where}: not YAML: {error.problem or error.context}{_hint(error.problem or '')}") from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise RecipeError(
            f"{file}:{line}: not YAML: the character U+{error.character:04X} cannot stand here; write it as an escape"
        ) from None
    except RecursionError:
        raise RecipeError(f"{file}: not YAML that can be read: nested too deeply, or an alias within what it stands for") from None


def _hint(problem: str) -> str:
    if "alphabetic or numeric character" in problem:
        return "; text that begins with * or & must be quoted"
    return "; a tab cannot indent" if r"'\t'" in problem else ""


class _Builder:
    """From nodes to plain values."""

    def __init__(self, file: str):
        self.file = file
        self.lines: dict[Path, int] = {}
        self._count = 0

    def build(self, node: yaml.Node, path: Path) -> Any:
        self.lines[path] = line = node.start_mark.line + 1
        self._counted(line)
        tag = node.tag.removeprefix(TAG)
        match node:
            case yaml.MappingNode() if tag == "map":
                out: dict[str, Any] = {}
                for key, at, value in self._items(node):
                    out[key] = self.build(value, (*path, key))
                    self.lines[(*path, key)] = at
                return out
            case yaml.SequenceNode() if tag == "seq":
                return [self.build(item, (*path, n)) for n, item in enumerate(node.value)]
            case yaml.ScalarNode():
                return self._scalar(node.value, tag, line, next((f"{key}: " for key in reversed(path) if isinstance(key, str)), ""))
        raise RecipeError(f"{self.file}:{line}: the tag {_tag_name(tag)} is not for recipes; leave it out")

    def _counted(self, line: int) -> None:
        self._count += 1
        if self._count > MOST_VALUES:
            raise RecipeError(f"{self.file}:{line}: more than {MOST_VALUES:,} values here, counted as often as aliases repeat them")

    def _items(self, node: yaml.MappingNode) -> Iterator[tuple[str, int, yaml.Node]]:
        """(key, line, value); what `<<` brings comes last, and only where the mapping has no such key itself."""
        seen: set[str] = set()
        merged: list[yaml.MappingNode] = []
        for key_node, value in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                raise RecipeError(f"{self.file}:{line}: a key is one word, not a list or a mapping")
            key, tag = key_node.value, key_node.tag.removeprefix(TAG)
            if key in seen:
                raise RecipeError(f"{self.file}:{line}: {key} stands twice")
            seen.add(key)
            if tag == "merge":
                bases = value.value if isinstance(value, yaml.SequenceNode) else [value]
                if not all(isinstance(base, yaml.MappingNode) for base in bases):
                    raise RecipeError(f"{self.file}:{line}: << takes a mapping, or a list of mappings")
                merged += bases
            elif tag != "str":
                raise RecipeError(f"{self.file}:{line}: the key {key} is not text; quote it")
            else:
                yield self._scalar(key, "str", line), line, value
        for base in merged:
            self._counted(node.start_mark.line + 1)
            for key, line, value in self._items(base):
                if key not in seen:
                    seen.add(key)
                    yield key, line, value

    def _scalar(self, text: str, tag: str, line: int, of: str = "") -> Any:
        if tag == "str":
            if any("\ud800" <= c <= "\udfff" or c == "\0" for c in text):
                raise RecipeError(f"{self.file}:{line}: {text[:80]!r} holds a NUL or half a surrogate pair; no file or text is named so")
            return text
        looks, _, make = WORDS.get(tag, ("", "", None))
        if make is None:
            raise RecipeError(f"{self.file}:{line}: the tag {_tag_name(tag)} is not for recipes; leave it out")
        try:
            value = make(text) if re.fullmatch(looks, text) else None
            if (value is None and tag != "null") or value != value:  # the latter is .nan
                raise ValueError
        except ValueError:
            raise RecipeError(f"{self.file}:{line}: {of}{text[:80]} is no value of the kind {tag}") from None
        return value


def _tag_name(tag: str) -> str:
    return tag if tag.startswith("!") else f"!!{tag}"


def scalar(text: str) -> Any:
    """What a value on the command line means: as it would in a recipe."""
    return parse(text, "--set")[0]


def dump(value: Any) -> str:
    """For people and for reading back."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=140)
