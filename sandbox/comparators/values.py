"""Comparators of returned values: equal, strict, close; and reading the JSON that the box sends."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, cast

from sandbox.comparators.match import RIGHT, Match, differs, near

DIGITS = 4000
"""Integers of more digits are compared as text: `int` would need quadratic time, and refuses."""


@dataclass(frozen=True)
class Digits:
    """An integer too long to be made."""

    text: str


class Unreadable(ValueError):
    """Text that is no JSON value."""


def read_value(text: str) -> Any:
    """The value of JSON text from the box or a data set; Unreadable where it is none."""
    try:
        return json.loads(text, parse_int=_integer)
    except (ValueError, RecursionError, MemoryError) as error:
        raise Unreadable(f"{type(error).__name__}: {error}"[:200]) from error


def _integer(text: str) -> Any:
    if len(text) <= DIGITS:
        return int(text)
    sign = "-" if text.startswith("-") else ""
    return Digits(sign + (text.lstrip("-").lstrip("0") or "0"))


def equal(expected: Any, output: Any) -> Match:
    """Python's `==` on JSON values: 2.0 = 2, true = 1, NaN differs from itself; no tolerance."""
    try:
        same = bool(expected == output)
    except (RecursionError, ValueError, OverflowError):
        return Match(False, "the value is nested too deep to compare")
    return RIGHT if same else differs(expected, output)


def strict(expected: Any, output: Any) -> Match:
    """Equal, and of the same types: true is not 1, and 2.0 is not 2.

    What became a list or a string on its way here is told by `Run.flattened`, which the judge sees.
    """
    found = equal(expected, output)
    if found.right and not _same_types(expected, output):
        return differs(expected, output, "other types")
    return found


def _same_types(one: Any, other: Any) -> bool:
    if type(one) is not type(other):
        return False
    if isinstance(one, list):
        pairs = zip(cast("list[Any]", one), cast("list[Any]", other), strict=True)
        return all(_same_types(a, b) for a, b in pairs)
    if isinstance(one, dict):
        table, found = cast("dict[str, Any]", one), cast("dict[str, Any]", other)
        return all(_same_types(each, found[key]) for key, each in table.items())
    return True


@dataclass(frozen=True)
class Close:
    """Equal, but for floats, which may lie within either tolerance of the expected ones."""

    relative: float
    absolute: float

    def __call__(self, expected: Any, output: Any) -> Match:
        """Compare, into lists and tables."""
        try:
            same = self._same(expected, output)
        except (RecursionError, OverflowError):
            return Match(False, "the value is nested too deep to compare")
        return RIGHT if same else differs(expected, output)

    def _same(self, one: Any, other: Any) -> bool:
        if isinstance(one, float) and is_number(other):
            return one == other or near(one, float(other), self.relative, self.absolute)
        if isinstance(one, list) and isinstance(other, list):
            ours, theirs = cast("list[Any]", one), cast("list[Any]", other)
            return len(ours) == len(theirs) and all(map(self._same, ours, theirs))
        if isinstance(one, dict) and isinstance(other, dict):
            table, found = cast("dict[str, Any]", one), cast("dict[str, Any]", other)
            return table.keys() == found.keys() and all(
                self._same(each, found[key]) for key, each in table.items()
            )
        return bool(one == other)


def is_number(value: Any) -> bool:
    """An int or a float, and no bool."""
    return isinstance(value, int | float) and not isinstance(value, bool)
