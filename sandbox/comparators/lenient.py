"""The lenient comparator: a chain of ever weaker rules, which says which one accepted.

In the manner of MicroCoder's evaluator. Leniency buys false passes: the last stage takes a wrong
order. So the stage is recorded, and a jump in late stages is an early sign of reward hacking.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Callable
from typing import Any, cast

from sandbox.comparators.match import (
    Match,
    decimals,
    differs,
    near,
    number,
    same_decimals,
    stripped_lines,
    tokens,
)
from sandbox.comparators.values import Digits

LITERAL = 10_000
"""Characters of an output that is read as a literal."""
PLACES = 3
"""Decimal places of the rounded comparison."""


def of_text(expected: str, output: str) -> Match:
    """The first stage that accepts; the note of none."""
    for name, accepts in STAGES.items():
        if accepts(expected, output):
            return Match(True, f"accepted as {name}", name)
    return differs(expected, output)


def of_value(expected: Any, output: Any) -> Match:
    """Values as they stand, or else as their text."""
    try:
        if bool(expected == output):
            return Match(True, "accepted as exact", "exact")
        return of_text(_written(expected), _written(output))
    except (RecursionError, ValueError, TypeError):
        return Match(False, "the value cannot be written down")


def _written(value: Any) -> str:
    if isinstance(value, str):
        return value
    return value.text if isinstance(value, Digits) else json.dumps(value)


def _exact(expected: str, output: str) -> bool:
    return expected == output


def _trimmed(expected: str, output: str) -> bool:
    return stripped_lines(expected) == stripped_lines(output)


def _decimal(expected: str, output: str) -> bool:
    ours, theirs = stripped_lines(expected), stripped_lines(output)
    if len(ours) != len(theirs):
        return False
    for one, other in zip(ours, theirs, strict=True):
        wanted, found = decimals(one), decimals(other)
        same = wanted is not None and found is not None and same_decimals(wanted, found)
        if not same and one != other:
            return False
    return True


def _types(expected: str, output: str) -> bool:
    ours = _literal(expected)
    return ours is not None and ours == _literal(output)


def _literal(text: str) -> object:
    """A literal with tuples, sets and lists made one kind; None for what is none."""
    if len(text) > LITERAL:
        return None
    try:
        return _plain(ast.literal_eval(text.strip()))
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        return None


def _plain(value: Any) -> Any:
    if isinstance(value, set | frozenset):
        return sorted(map(repr, map(_plain, cast("set[Any]", value))))
    if isinstance(value, list | tuple):
        return [_plain(each) for each in cast("list[Any]", value)]
    if isinstance(value, dict):
        table = cast("dict[Any, Any]", value)
        return {str(key): _plain(each) for key, each in table.items()}
    return value


def _allclose(expected: str, output: str) -> bool:
    ours, theirs = tokens(expected), tokens(output)
    if len(ours) != len(theirs) or ours == theirs:
        return False  # the same tokens are the next stage's
    for one, other in zip(ours, theirs, strict=True):
        wanted, found = number(one), number(other)
        if wanted is None or found is None:
            if one != other:
                return False
        elif not near(wanted, found, 1e-5, 1e-8) and round(wanted, PLACES) != round(found, PLACES):
            return False
    return True


def _spaces(expected: str, output: str) -> bool:
    return tokens(expected) == tokens(output)


def _set(expected: str, output: str) -> bool:
    return set(tokens(expected)) == set(tokens(output))


STAGES: dict[str, Callable[[str, str], bool]] = {
    "exact": _exact,
    "trimmed": _trimmed,
    "decimal": _decimal,
    "types": _types,
    "allclose": _allclose,
    "spaces": _spaces,
    "set": _set,
}
"""By name, in the order in which they are tried."""
