"""SPDX licence expressions, parsed by license-expression: what they name, and whether a list of licences permits them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from functools import cache

from license_expression import (  # type: ignore[import-untyped]
    LicenseExpression,
    LicenseWithExceptionSymbol,
    Licensing,
    get_spdx_licensing,
)

UNMATCHED = "LicenseRef-unmatched"  # stands for text in a licence file that is no known licence
LONGEST = 500  # characters


@cache
def spdx() -> Licensing:
    """The licences of the SPDX list; 45 ms and 10 MB, once per process."""
    return get_spdx_licensing()


def parsed(expression: str) -> LicenseExpression | None:
    """An expression in any case, None for what is none; deprecated names become today's."""
    if not expression.strip() or len(expression) > LONGEST:
        return None
    with suppress(Exception):  # the library raises errors of many kinds, some of them by mistake
        return spdx().parse(expression)
    return None


def is_listed(tree: LicenseExpression) -> bool:
    """Whether an expression names licences of the SPDX list only."""
    return not spdx().unknown_license_keys(tree)


def keys(expression: str) -> frozenset[str]:
    """The licences that an expression names."""
    tree = parsed(expression)
    return frozenset(spdx().license_keys(tree)) if tree is not None else frozenset()


def conjunction(expressions: Sequence[str]) -> str:
    """All of them, each once, in order of name."""
    known = [tree for tree in map(parsed, expressions) if tree is not None]
    if len(known) < len(expressions) or not known:
        known.append(spdx().parse(UNMATCHED))
    return str(spdx().AND(*known).simplify()) if len(known) > 1 else str(known[0])


def permits(expression: str, licences: frozenset[str]) -> bool:
    """Whether it can be met by some of the licences alone: any side of an OR, all of an AND. An exception adds to what one may do."""
    tree = parsed(expression)
    return tree is not None and _permits(tree, licences)


def _permits(tree: LicenseExpression, licences: frozenset[str]) -> bool:
    if isinstance(tree, LicenseWithExceptionSymbol):
        return str(tree) in licences or _permits(tree.license_symbol, licences)
    if isinstance(tree, spdx().AND | spdx().OR):
        found = [_permits(part, licences) for part in tree.args]
        return all(found) if isinstance(tree, spdx().AND) else any(found)
    return str(tree.key).removesuffix("+") in licences
