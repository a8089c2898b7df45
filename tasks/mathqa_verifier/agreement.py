r"""Whether two expressions are equal: exactly, by value, or at random points (E1-E3, E17, E21).

Two exact numbers must be exactly equal; the tolerance of 1e-6 is for numbers written with a decimal
point. Expressions with variables are compared at eight points of their common real domain.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping
from fractions import Fraction
from functools import lru_cache
from typing import Any

from tasks.mathqa_verifier.exact import Overflow, Unbounded, Undefined, exact
from tasks.mathqa_verifier.numeric import Evaluator
from tasks.mathqa_verifier.parsing import Node, decimal, holds, symbols

TOLERANCE = Fraction(1, 10**6)
POINTS = 8
_RELATIVE = 1e-9
_DIGITS = 60


class Undecided(Exception):
    """Too few points where both sides have a value: only algebra can tell."""


def equal_values(gold: Node, answer: Node, tolerance: Fraction | None = None) -> bool:
    """Whether two expressions are equal; raises Undecided where numbers cannot tell.

    `tolerance` is an absolute one, allowed in addition.
    """
    if gold == answer:
        return not _undefined(gold)
    infinities = infinite(gold), infinite(answer)
    if infinities != (0, 0):
        return infinities[0] == infinities[1]
    if holds(gold, "inf") or holds(answer, "inf"):
        return False
    try:
        return _equal(gold, answer, tolerance)
    except (Undefined, Unbounded):
        return False


def infinite(tree: Node) -> int:
    """1 for infinity, -1 for minus infinity, else 0."""
    if tree[0] == "neg":
        return -infinite(tree[1])
    return int(tree[0] == "inf")


def _undefined(tree: Node) -> bool:
    if symbols(tree):
        return False
    try:
        exact(tree)
    except Undefined:
        return True
    except Unbounded:
        return False
    return not infinite(tree) and holds(tree, "inf")


def _equal(gold: Node, answer: Node, tolerance: Fraction | None) -> bool:
    names = sorted(symbols(gold) | symbols(answer))
    rounded = decimal(gold) or decimal(answer)
    if not names:
        left, right = exact(gold), exact(answer)
        if left is not None and right is not None:
            return _near(left, right, rounded, tolerance)
        return _equal_closed(gold, answer, rounded, tolerance)
    return _identical(gold, answer, names, rounded)


def _near(gold: Fraction, answer: Fraction, rounded: bool, tolerance: Fraction | None) -> bool:
    if gold == answer:
        return True
    gap = abs(gold - answer)
    if tolerance is not None and gap <= tolerance:
        return True
    return rounded and gap <= TOLERANCE * max(1, abs(gold))


def _equal_closed(gold: Node, answer: Node, rounded: bool, tolerance: Fraction | None) -> bool:
    quick = Evaluator(real=False)
    try:
        left, right = quick.value(gold, {}), quick.value(answer, {})
        gap, scale = abs(left - right), max(abs(left), abs(right))
        if math.isfinite(gap):
            noise = max(1.0, quick.peak) * 1e-9
            if gap > noise and (rounded or tolerance is not None):
                allowed = 1e-6 * max(1.0, abs(left)) if rounded else 0.0
                return gap <= max(allowed, float(tolerance or 0) * (1 + 1e-9))
            if gap > max(noise, 1e-6 * scale):
                return False
            if gap <= 1e-13 * scale and quick.peak <= 1e3 * scale:
                return True
    except Undefined:
        pass  # an overflow, or lost digits: the long numbers decide
    return _equal_long(gold, answer, {}, rounded, real=False)


def _equal_long(
    gold: Node, answer: Node, place: Mapping[str, Any], rounded: bool, *, real: bool
) -> bool:
    """The comparison in sixty digits."""
    slow = Evaluator(real=real, digits=_DIGITS)
    left, right = slow.value(gold, place), slow.value(answer, place)
    gap, scale = abs(left - right), max(abs(left), abs(right))
    if not slow.mp.isfinite(gap):
        raise Undefined
    if rounded:
        return bool(gap <= 1e-6 * max(1, abs(left))) if not place else bool(gap <= 1e-9 * scale)
    return bool(gap <= 1e-40 * max(scale, slow.peak, 1e-10))


def _identical(gold: Node, answer: Node, names: list[str], rounded: bool) -> bool:
    """Equal at eight points of the common domain, and unequal at none."""
    real = not (holds(gold, "c", "i") or holds(answer, "c", "i"))
    agreed = 0
    for place in places(names):
        found = _agree_at(gold, answer, place, rounded, real)
        if found is False:
            return False
        agreed += found is True
        if agreed == POINTS:
            return True
    raise Undecided


def _agree_at(
    gold: Node, answer: Node, place: Mapping[str, Any], rounded: bool, real: bool
) -> bool | None:
    quick = Evaluator(real=real)
    try:
        left, right = quick.value(gold, place), quick.value(answer, place)
        gap, scale = abs(left - right), max(abs(left), abs(right))
        if not math.isfinite(gap):
            raise Overflow
        if gap <= _RELATIVE * scale and quick.peak <= 1e6 * scale:
            return True
        if gap > _RELATIVE * max(scale, quick.peak, 1e-3):
            return False
    except Overflow:
        pass
    except Undefined:
        return None
    try:
        return _equal_long(gold, answer, place, rounded, real=real)
    except Undefined:
        return None


def places(names: list[str]) -> Iterator[Mapping[str, float]]:
    """Points to try, the same ones for everybody."""
    for number in range(36):
        draws = _draws(number)
        if len(names) > len(draws):
            raise Undecided
        yield dict(zip(names, draws, strict=False))


@lru_cache(maxsize=64)
def _draws(number: int) -> tuple[float, ...]:
    """The coordinates of one point: near zero, far out, positive, and whole, in turn."""
    draw = random.Random(number)
    kind = number % 4
    if number >= 24:  # domains such as n >= k of whole numbers
        start = sorted((draw.randint(1, 40) for _ in range(26)), reverse=number % 2 == 0)
        return tuple(float(value) for value in start)
    flip = number // 4
    if kind == 0:  # signs alternate, so that eight points see each variable on both sides of zero
        return tuple((-1) ** (axis + flip) * draw.uniform(0.1, 3) for axis in range(26))
    if kind == 1:
        return tuple(draw.uniform(0.05, 1) for _ in range(26))
    if kind == 2:
        return tuple((-1) ** (axis + flip + 1) * 10 ** draw.uniform(0, 2.5) for axis in range(26))
    return tuple(draw.uniform(1, 9) for _ in range(26))
