"""EvalPlus' rule: `==`, floats within its tolerances, and problems that have their own rule.

Those of MBPP are known by the name of the function: eight compare as sets, three ask only whether
there is a result, sum_div takes 0, are_equivalent takes anything, and two compare with another
reading of the statement. HumanEval's find_zero takes any zero of the polynomial.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any, cast

from sandbox.comparators.match import RIGHT, Match, differs
from sandbox.comparators.values import Close, equal, is_number

AS_SETS = frozenset(
    "similar_elements find_char_long common_in_nested_lists extract_singly larg_nnum "
    "intersection_array find_dissimilar Diff".split()
)
NOT_NONE = frozenset(("check_str", "text_match_three", "text_starta_endb"))
LARGEST = 10**15
"""Of integers in the two problems that are computed again here."""


@dataclass(frozen=True)
class EvalPlus:
    """The rule; `entry` names the function under test."""

    entry: str = ""
    absolute: float = 1e-6
    relative: float = 1e-7

    def __call__(self, given: Any, expected: Any, output: Any) -> Match:
        """Compare by the problem's own rule where it has one, else by the general one."""
        if self.entry in AS_SETS:
            ours, theirs = _as_set(expected), _as_set(output)
            return RIGHT if ours is not None and ours == theirs else differs(expected, output)
        if self.entry == "find_zero":
            return RIGHT if self._is_zero(given, output) else differs("a zero", output)
        if equal(expected, output).right or self._also_right(given, expected, output):
            return RIGHT
        if not _floats(expected) or type(output) is not type(expected):
            return differs(expected, output)
        return Close(self.relative, self.absolute)(expected, output)

    def _also_right(self, given: Any, expected: Any, output: Any) -> bool:
        if self.entry in NOT_NONE:
            return not isinstance(output, bool) and expected == (output is not None)
        if self.entry == "sum_div":
            return is_number(output) and output == 0
        if self.entry == "surface_Area":
            area = _surface(given)
            return area is not None and is_number(output) and abs(output - area) <= self.absolute
        if self.entry == "digit_distance_nums":
            return is_number(output) and output == _digit_distance(given)
        return self.entry == "are_equivalent"

    def _is_zero(self, given: Any, output: Any) -> bool:
        value = 0.0
        if not is_number(output):
            return False
        try:
            for each in reversed(given[0]):
                value = value * float(output) + float(each)
        except (TypeError, ValueError, OverflowError, LookupError):
            return False
        return abs(value) <= self.absolute


def _floats(value: Any) -> bool:
    if isinstance(value, list):
        items = cast("list[Any]", value)
        return bool(items) and all(isinstance(each, float) for each in items)
    return isinstance(value, float)


def _as_set(value: Any) -> frozenset[str] | None:
    """The members of a list, by their JSON text."""
    if not isinstance(value, list):
        return None
    try:
        return frozenset(json.dumps(each) for each in cast("list[Any]", value))
    except (TypeError, ValueError, RecursionError):
        return None


def _pair(given: Any) -> tuple[int, int] | None:
    try:
        one, other = given
    except (TypeError, ValueError):
        return None
    small = isinstance(one, int) and isinstance(other, int) and max(abs(one), abs(other)) < LARGEST
    return (one, other) if small else None


def _surface(given: Any) -> int | None:
    """Of a square pyramid, rounded: base edge and height."""
    pair = _pair(given)
    if pair is None:
        return None
    edge, height = pair
    return round(edge**2 + 2 * edge * math.hypot(edge / 2, height))


def _digit_distance(given: Any) -> int | None:
    """The sum of the differences of the digits at each place."""
    pair = _pair(given)
    if pair is None or min(pair) < 0:
        return None
    one, other = (str(each).zfill(16) for each in pair)
    return sum(abs(int(a) - int(b)) for a, b in zip(one, other, strict=True))
