r"""What closed expressions are worth where that is a rational number, exactly.

Everything here is bounded by the size of the tree: powers, factorials and series beyond the limits
raise Unbounded before anything is computed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from fractions import Fraction

from tasks.mathqa_verifier.parsing import Node

DIGITS = 10_000
"""Powers with more digits are not evaluated."""
FACTORIAL = 10_000
"""Factorials of more are not evaluated."""
TERMS = 10_000
"""Series with more terms are not evaluated."""
_EXACT_TERMS = 200


class Unbounded(Exception):
    """Evaluation would not end in reasonable time: the expression equals only itself."""


class Undefined(Exception):
    """No value: 0/0, infinity minus infinity, a real function outside of its domain."""


class Overflow(Undefined):
    """A value too large for a float; longer numbers can hold it."""


def exact(tree: Node) -> Fraction | None:
    """The rational that a closed tree is; None if it is irrational, or not plainly rational."""
    kind = tree[0]
    if kind == "q":
        return tree[1]
    rule = _EXACT.get(kind)
    return rule(tree) if rule else None


def _pair(tree: Node) -> tuple[Fraction, Fraction] | None:
    left, right = exact(tree[1]), exact(tree[2])
    return None if left is None or right is None else (left, right)


def _exact_sum(tree: Node) -> Fraction | None:
    pair = _pair(tree)
    return pair and pair[0] + pair[1]


def _exact_product(tree: Node) -> Fraction | None:
    pair = _pair(tree)
    return pair and pair[0] * pair[1]


def _exact_quotient(tree: Node) -> Fraction | None:
    pair = _pair(tree)
    if pair is None:
        return None
    if pair[1] == 0:
        raise Undefined
    return pair[0] / pair[1]


def _exact_negative(tree: Node) -> Fraction | None:
    value = exact(tree[1])
    return None if value is None else -value


def _exact_power(tree: Node) -> Fraction | None:
    pair = _pair(tree)
    return pair and rational_power(*pair)


def rational_power(base: Fraction, exponent: Fraction) -> Fraction | None:
    """The power if it is rational; odd roots of negative numbers are real."""
    if base == 0 and exponent <= 0:
        if exponent == 0:
            return Fraction(1)
        raise Undefined
    if abs(base) == 1 and exponent.denominator == 1:
        return base if exponent.numerator % 2 else Fraction(1)
    size = max(abs(base.numerator), base.denominator)
    if base and size > 1 and abs(exponent) * Fraction(size.bit_length() - 1) > DIGITS * 4:
        raise Unbounded
    if base and abs(exponent) * (math.log10(size) if size < 10**300 else len(str(size))) > DIGITS:
        raise Unbounded
    root = base if exponent.denominator == 1 else _rational_root(base, exponent.denominator)
    return None if root is None else root**exponent.numerator


def _rational_root(base: Fraction, degree: int) -> Fraction | None:
    if degree > 1000 or (base < 0 and degree % 2 == 0):
        return None
    over, under = _whole_root(abs(base.numerator), degree), _whole_root(base.denominator, degree)
    if over is None or under is None:
        return None
    return Fraction(-over if base < 0 else over, under)


def _whole_root(value: int, degree: int) -> int | None:
    if value < 2:
        return value
    if degree == 2:
        root = math.isqrt(value)
        return root if root * root == value else None
    low, high = 1, 1 << (value.bit_length() // degree + 1)
    while low < high:
        middle = (low + high) // 2
        if middle**degree < value:
            low = middle + 1
        else:
            high = middle
    return low if low**degree == value else None


def _exact_root(tree: Node) -> Fraction | None:
    pair = _pair(tree)
    if pair is None:
        return None
    degree, base = pair
    if degree.denominator != 1 or degree < 1:
        raise Undefined
    return base if degree == 1 else _rational_root(base, int(degree))


def _exact_factorial(tree: Node) -> Fraction | None:
    value = exact(tree[1])
    if value is None:
        return None
    if value > FACTORIAL:
        raise Unbounded
    if value.denominator != 1:
        return None
    if value < 0:
        raise Undefined
    return Fraction(math.factorial(int(value)))


def _exact_binomial(tree: Node) -> Fraction | None:
    pair = _pair(tree)
    if pair is None:
        return None
    total, chosen = pair
    if total.denominator != 1 or chosen.denominator != 1 or total < 0:
        return None
    if total > 100 * FACTORIAL or min(chosen, total - chosen) > FACTORIAL:
        raise Unbounded
    return Fraction(math.comb(int(total), int(chosen))) if chosen >= 0 else Fraction(0)


def _exact_rounded(tree: Node) -> Fraction | None:
    value = exact(tree[1])
    if value is None:
        return None
    if tree[0] == "abs":
        return abs(value)
    return Fraction(math.floor(value) if tree[0] == "floor" else math.ceil(value))


def _exact_series(tree: Node) -> Fraction | None:
    low, high = exact(tree[2]), exact(tree[3])
    if low is None or high is None or low.denominator != 1 or high.denominator != 1:
        return None
    if high - low >= TERMS:
        raise Unbounded
    if high - low >= _EXACT_TERMS:
        return None
    result = Fraction(tree[0] == "prod")
    for index in range(int(low), int(high) + 1):
        term = exact(substituted(tree[4], tree[1], Fraction(index)))
        if term is None:
            return None
        result = result * term if tree[0] == "prod" else result + term
        if result.denominator.bit_length() + abs(result.numerator).bit_length() > 4 * DIGITS:
            raise Unbounded
    return result


def substituted(tree: Node, name: str, value: Fraction) -> Node:
    """The tree with a variable replaced by a number."""
    if tree[0] == "s":
        return ("q", value, False) if tree[1] == name else tree
    return tuple(substituted(part, name, value) if type(part) is tuple else part for part in tree)


_EXACT: Mapping[str, Callable[[Node], Fraction | None]] = {
    "+": _exact_sum,
    "*": _exact_product,
    "/": _exact_quotient,
    "^": _exact_power,
    "neg": _exact_negative,
    "deg": lambda tree: exact(tree[1]),
    "root": _exact_root,
    "!": _exact_factorial,
    "binom": _exact_binomial,
    "abs": _exact_rounded,
    "floor": _exact_rounded,
    "ceil": _exact_rounded,
    "sum": _exact_series,
    "prod": _exact_series,
}
