"""What a comparison found, and what comparators share: lines, tokens, numbers read safely.

Everything here reads the output of a stranger: caps come before parsing, no integer of many digits
is made, no exponent is expanded, and time is linear in the length of the text.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

SHOWN = 60
"""Characters of an output that a note shows."""
LONGEST_FLOAT = 400
"""Characters of a token that is read as a float; `float` is not linear in them."""
FLOAT = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,9})?", re.ASCII)
SPACE = " \t\n\r\v\f"


@dataclass(frozen=True)
class Match:
    """Whether an output is right."""

    right: bool
    note: str = ""
    """Where it first differs, one line."""
    stage: str = ""
    """Which stage accepted it, in a comparator that has several."""


RIGHT = Match(True)

TextRule = Callable[[str, str], Match]
"""(expected, output) of a program that writes text."""
ValueRule = Callable[[Any, Any], Match]
"""(expected, output) of a function that returns a JSON value."""


def differs(expected: object, output: object, where: str = "") -> Match:
    """A mismatch, with both sides shortened."""
    at = f"{where}: " if where else ""
    return Match(False, f"{at}expected {shown(expected)}, got {shown(output)}")


def shown(value: object) -> str:
    """A value in one short line; never expands one that is large."""
    if isinstance(value, str):
        head = value[: SHOWN + 1]
        return repr(head[:SHOWN]) + ("..." if len(value) > SHOWN else "")
    try:
        text = repr(value)
    except (RecursionError, ValueError, MemoryError):
        return f"a {type(value).__name__} too large to show"
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


def stripped_lines(text: str) -> list[str]:
    """The text stripped as a whole, then cut at newlines, each line stripped."""
    return [line.strip() for line in text.strip().split("\n")]


def tokens(text: str) -> list[str]:
    """What stands between ASCII white space."""
    return [each for each in re.split(r"[ \t\n\r\v\f]+", text) if each]


def number(token: str) -> float | None:
    """A token that is written as a finite ASCII number; None for all else."""
    if len(token) > LONGEST_FLOAT or FLOAT.fullmatch(token) is None:
        return None
    value = float(token)
    return value if abs(value) != float("inf") else None


def decimals(line: str) -> list[Decimal] | None:
    """The words of a line as decimals, by the grammar of `Decimal`; None where one is none.

    That grammar takes 1_000, digits of any script, inf and nan.
    """
    try:
        return [Decimal(word) for word in line.split()]
    except (InvalidOperation, ValueError, MemoryError):
        return None


def same_decimals(one: list[Decimal], other: list[Decimal]) -> bool:
    """Equal one by one; a signaling NaN equals nothing. Exponents are never expanded."""
    if any(each.is_snan() for each in (*one, *other)):
        return False
    return one == other


def near(expected: float, output: float, relative: float, absolute: float) -> bool:
    """Within either tolerance; the relative one is of the expected value."""
    gap = abs(expected - output)
    return gap <= absolute or gap <= relative * abs(expected)
