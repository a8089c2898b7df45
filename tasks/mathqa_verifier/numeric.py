r"""What expressions are worth in floating point, or in more digits where those are wanted.

Real roots and logarithms are real functions where the reals are meant; closed expressions may be
complex. Work is bounded by a count of steps, never by a clock, so a value does not depend on load.
"""

from __future__ import annotations

import cmath
import math
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

from tasks.mathqa_verifier.exact import (
    DIGITS,
    FACTORIAL,
    TERMS,
    Overflow,
    Unbounded,
    Undefined,
    exact,
)
from tasks.mathqa_verifier.parsing import Node

_STEPS = 100_000


LOG_SCALE = 0.7548776662466927
"""One over the unknown natural logarithm of the base of a `\\log` without base: a value of its own,
so that it equals neither `\\ln` nor `\\log_{10}`, while its quotients come out right."""


class Evaluator:
    """Values of trees in floating point, or in `mpmath` where more digits are wanted."""

    def __init__(self, *, real: bool, digits: int = 0) -> None:
        self.real = real
        """Whether a square root or logarithm of a negative number is outside of the domain."""
        self.peak = 0.0
        """The largest term of a sum so far: cancellation loses that much precision."""
        self.steps = 0
        self.angle: Any = 1
        self.mp: Any = None
        if digits:
            import mpmath

            self.mp = mpmath.mp.clone()
            self.mp.dps = digits

    def value(self, tree: Node, place: Mapping[str, Any]) -> Any:
        """The value at a place; raises Undefined or Unbounded."""
        self.steps += 1
        if self.steps > _STEPS:
            raise Unbounded
        try:
            return _RULES[tree[0]](self, tree, place)
        except OverflowError as error:
            raise Overflow from error
        except (KeyError, ZeroDivisionError, ValueError) as error:
            raise Undefined from error

    def rational(self, value: Fraction) -> Any:
        if self.mp is None:
            return float(value)
        return self.mp.mpf(value.numerator) / value.denominator

    def leaf(self, tree: Node, place: Mapping[str, Any]) -> Any:
        return self.rational(tree[1])

    def constant(self, tree: Node, place: Mapping[str, Any]) -> Any:
        if tree[1] == "i":
            return 1j if self.mp is None else self.mp.mpc(0, 1)
        source: Any = math if self.mp is None else self.mp
        return +getattr(source, tree[1])

    def variable(self, tree: Node, place: Mapping[str, Any]) -> Any:
        value = place[tree[1]]
        return value if self.mp is None else self.mp.mpf(value)

    def sum(self, tree: Node, place: Mapping[str, Any]) -> Any:
        left, right = self.value(tree[1], place), self.value(tree[2], place)
        self.peak = max(self.peak, float(abs(left)), float(abs(right)))
        return left + right

    def product(self, tree: Node, place: Mapping[str, Any]) -> Any:
        return self.value(tree[1], place) * self.value(tree[2], place)

    def quotient(self, tree: Node, place: Mapping[str, Any]) -> Any:
        over, under = self.value(tree[1], place), self.value(tree[2], place)
        if abs(under) < 1e-13 * max(1.0, self.peak) and (under == 0 or self.mp is None):
            raise Undefined
        return over / under

    def negative(self, tree: Node, place: Mapping[str, Any]) -> Any:
        return -self.value(tree[1], place)

    def power(self, tree: Node, place: Mapping[str, Any]) -> Any:
        base, exponent = self.value(tree[1], place), self.value(tree[2], place)
        ratio = exact(tree[2])
        self.bounded(base, exponent)
        if _is_real(base) and base < 0:
            if ratio is not None and ratio.denominator % 2 and ratio.denominator > 1:
                size = (-base) ** exponent
                return -size if ratio.numerator % 2 else size
            whole = _is_real(exponent) and exponent == int(exponent)
            if not whole and self.real:
                raise Undefined
        if base == 0:
            if _is_real(exponent) and exponent > 0:
                return base
            if exponent == 0:
                return base + 1
            raise Undefined
        if self.mp is not None and ratio is not None and ratio.denominator == 1:
            exponent = int(ratio)
        return base**exponent

    def bounded(self, base: Any, exponent: Any) -> None:
        size = abs(exponent)
        if size > 1e8 or (abs(base) not in (0, 1) and size * abs(_log10(abs(base))) > DIGITS):
            raise Unbounded

    def root(self, tree: Node, place: Mapping[str, Any]) -> Any:
        degree, base = exact(tree[1]), self.value(tree[2], place)
        if degree is None or degree.denominator != 1 or not 1 <= degree <= 1000:
            raise Undefined
        negative = _is_real(base) and base < 0
        if negative and degree % 2 == 0:
            if self.real:
                raise Undefined
            base = complex(base) if self.mp is None else self.mp.mpc(base)
        elif negative:
            return -self.nth(-base, int(degree))
        return self.nth(base, int(degree))

    def nth(self, base: Any, degree: int) -> Any:
        if self.mp is not None:
            return self.mp.root(base, degree)
        if degree == 2:
            return math.sqrt(base) if _is_real(base) else cmath.sqrt(base)
        return base ** (1 / degree)

    def call(self, name: str, argument: Any) -> Any:
        """A named function of a number."""
        if abs(argument) > 1e12:
            raise Unbounded
        if self.mp is not None:
            result = getattr(self.mp, name)(argument)
        elif _is_real(argument):
            try:
                result = getattr(math, name)(argument)
            except ValueError:
                result = getattr(cmath, name)(argument)
        else:
            result = getattr(cmath, name)(argument)
        if self.real and not _is_real(result):
            raise Undefined
        return result

    def function(self, tree: Node, place: Mapping[str, Any]) -> Any:
        name = tree[1]
        trigonometric = name in ("sin", "cos", "tan", "cot", "sec", "csc")
        outer, self.angle = self.angle, (self.call_pi() / 180 if trigonometric else 1)
        argument = self.value(tree[2], place)
        self.angle = outer
        if name == "ln":
            return self.logarithm(argument)
        if name in ("cot", "sec", "csc"):
            inner = {"cot": "tan", "sec": "cos", "csc": "sin"}[name]
            below = self.call(inner, argument)
            if abs(below) < 1e-13:
                raise Undefined
            return 1 / below
        if name == "tan" and abs(self.call("cos", argument)) < 1e-13:
            raise Undefined
        if name == "arccot":
            return self.call_pi() / 2 - self.call("atan", argument)
        if name in ("sinh", "cosh") and abs(argument) > 700:
            raise Undefined
        return self.call("a" + name[3:] if name.startswith("arc") else name, argument)

    def call_pi(self) -> Any:
        return math.pi if self.mp is None else +self.mp.pi

    def degrees(self, tree: Node, place: Mapping[str, Any]) -> Any:
        return self.value(tree[1], place) * self.angle

    def logarithm(self, argument: Any) -> Any:
        if argument == 0:
            raise Undefined
        if self.mp is not None:
            result = self.mp.log(argument)
            if self.real and not _is_real(result):
                raise Undefined
            return result
        if _is_real(argument) and argument > 0:
            return math.log(argument)
        if self.real:
            raise Undefined
        return cmath.log(argument)

    def log(self, tree: Node, place: Mapping[str, Any]) -> Any:
        result = self.logarithm(self.value(tree[2], place))
        if tree[1] is None:
            return result * LOG_SCALE
        below = self.logarithm(self.value(tree[1], place))
        if below == 0:
            raise Undefined
        return result / below

    def factorial(self, tree: Node, place: Mapping[str, Any]) -> Any:
        argument = self.value(tree[1], place)
        if not _is_real(argument) or argument <= -1:
            raise Undefined
        if argument > FACTORIAL:
            raise Unbounded
        return math.gamma(argument + 1) if self.mp is None else self.mp.gamma(argument + 1)

    def binomial(self, tree: Node, place: Mapping[str, Any]) -> Any:
        total, chosen = self.value(tree[1], place), self.value(tree[2], place)
        if not (_is_real(total) and _is_real(chosen)) or chosen <= -1 or total - chosen <= -1:
            raise Undefined
        if total > FACTORIAL:
            raise Unbounded
        if self.mp is not None:
            return self.mp.binomial(total, chosen)
        logs = math.lgamma(total + 1) - math.lgamma(chosen + 1) - math.lgamma(total - chosen + 1)
        value = math.exp(logs)
        self.peak = max(self.peak, value)  # the logarithms cost digits
        whole = total == int(total) and chosen == int(chosen)
        return float(math.comb(int(total), int(chosen))) if whole else value

    def rounded(self, tree: Node, place: Mapping[str, Any]) -> Any:
        argument = self.value(tree[1], place)
        if tree[0] == "abs":
            return abs(argument)
        if not _is_real(argument):
            raise Undefined
        if self.mp is None and argument != int(argument) and abs(argument - round(argument)) < 1e-9:
            raise Undefined  # too near to a whole number to say on which side
        round_to: Any = math if self.mp is None else self.mp
        return round_to.floor(argument) if tree[0] == "floor" else round_to.ceil(argument)

    def series(self, tree: Node, place: Mapping[str, Any]) -> Any:
        low, high = self.value(tree[2], place), self.value(tree[3], place)
        if not (_is_real(low) and _is_real(high) and low == int(low) and high == int(high)):
            raise Undefined
        if high - low >= TERMS:
            raise Unbounded
        result: Any = int(tree[0] == "prod")
        for index in range(int(low), int(high) + 1):
            term = self.value(tree[4], {**place, tree[1]: index})
            self.peak = max(self.peak, float(abs(term)))
            result = result * term if tree[0] == "prod" else result + term
        return result


def _is_real(value: Any) -> bool:
    return isinstance(value, (float, int)) or (
        not hasattr(value, "_mpc_") and type(value) is not complex
    )


def _log10(size: Any) -> float:
    try:
        return math.log10(size)
    except (OverflowError, ValueError):
        return 1e9 if size > 1 else -1e9


_RULES: Mapping[str, Callable[[Evaluator, Node, Mapping[str, Any]], Any]] = {
    "q": Evaluator.leaf,
    "c": Evaluator.constant,
    "s": Evaluator.variable,
    "+": Evaluator.sum,
    "*": Evaluator.product,
    "/": Evaluator.quotient,
    "^": Evaluator.power,
    "neg": Evaluator.negative,
    "deg": Evaluator.degrees,
    "root": Evaluator.root,
    "f": Evaluator.function,
    "log": Evaluator.log,
    "!": Evaluator.factorial,
    "binom": Evaluator.binomial,
    "abs": Evaluator.rounded,
    "floor": Evaluator.rounded,
    "ceil": Evaluator.rounded,
    "sum": Evaluator.series,
    "prod": Evaluator.series,
}
