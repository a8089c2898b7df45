"""Checkers: trusted functions for problems with many right answers, by name.

A checker is given the test's input, the stored answer and what the program gave (text of stdin
tests, values of calls) and says whether that is right. It reads the output of a stranger: it caps
what it parses, and it must never run it. `register` adds one.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, cast

from sandbox.comparators.match import RIGHT, Match, differs, tokens
from sandbox.errors import BadProgram

Checker = Callable[[Any, Any, Any], Match]
"""(input, stored answer, output)."""

INTEGER = re.compile(r"[+-]?\d{1,400}", re.ASCII)
_checkers: dict[str, Checker] = {}


def register(name: str, checker: Checker) -> None:
    """Make a checker known; BadProgram where the name is taken by another one."""
    if _checkers.setdefault(name, checker) is not checker:
        raise BadProgram(f"there is a checker '{name}' already")


def checker(name: str) -> Checker:
    """The checker of that name; BadProgram where there is none."""
    if name not in _checkers:
        known = ", ".join(sorted(_checkers))
        raise BadProgram(f"no checker '{name}'; there are: {known}")
    return _checkers[name]


def integers(text: object, most: int = 100_000) -> list[int] | None:
    """The integers that a text consists of; None where it holds anything else, or too many."""
    words = tokens(text) if isinstance(text, str) else []
    if not 0 < len(words) <= most or not all(INTEGER.fullmatch(word) for word in words):
        return None
    return [int(word) for word in words]


def divides_one_of_each_pair(given: Any, expected: Any, output: Any) -> Match:
    """Codeforces 1025 B: a divisor above 1 of one number in each pair, or -1 where none is."""
    found, stored = integers(output, 1), integers(expected, 1)
    asked = integers(given, 1_000_000)
    if found is None or stored is None or asked is None:
        return differs(expected, output)
    [value], [known], pairs = found, stored, list(zip(asked[1::2], asked[2::2], strict=False))
    if value == -1 or known == -1:
        return RIGHT if value == known else differs(expected, output)
    right = value > 1 and all(a % value == 0 or b % value == 0 for a, b in pairs)
    return RIGHT if right else differs("a divisor of one of each pair", output)


def any_order(given: Any, expected: Any, output: Any) -> Match:
    """The expected values, in any order."""
    ours, theirs = (_members(each) for each in (expected, output))
    same = len(ours) == len(theirs) and sorted(map(repr, ours)) == sorted(map(repr, theirs))
    return RIGHT if same else differs(ours, theirs, "in any order")


def _members(value: Any) -> list[Any]:
    """Of a list, or the tokens of a text."""
    return cast("list[Any]", value) if isinstance(value, list) else [*tokens(str(value))]


register("divides_one_of_each_pair", divides_one_of_each_pair)
register("any_order", any_order)
