"""Level 1: formulas of one or two numbers."""

from __future__ import annotations

import random

from tasks.coding_problems.template import Arguments, Params, Template


def one(rng: random.Random, _: Params) -> Arguments:
    """An integer."""
    return (rng.randint(-50, 50),)


def natural(rng: random.Random, _: Params) -> Arguments:
    """An integer from 0 to 200."""
    return (rng.randint(0, 200),)


def maybe_multiple(rng: random.Random, params: Params) -> Arguments:
    """An integer from 0 to 200, in half of the draws a multiple of k."""
    k = params["k"]
    return (k * rng.randint(0, 200 // k) if rng.random() < 0.5 else rng.randint(0, 200),)


def two(rng: random.Random, _: Params) -> Arguments:
    """Two integers."""
    return (rng.randint(-30, 30), rng.randint(-30, 30))


def scale_shift(x, *, a, b):
    return a * x + b


def add_scaled(x, y, *, a):
    return x + a * y


def square_plus(x, *, c):
    return x * x + c


def is_multiple(x, *, k):
    return x % k == 0


def remainder(x, *, k):
    return x % k


def larger_plus(x, y, *, c):
    return max(x, y) + c


def smaller_times(x, y, *, c):
    return min(x, y) * c


def clamp(x, *, low, high):
    return max(low, min(x, high))


def distance_to(x, *, k):
    return abs(x - k)


def digit_sum_times(x, *, k):
    return k * sum(int(digit) for digit in str(x))


TEMPLATES = (
    Template(
        level=1,
        text="{a} times x, plus {b}",
        solve=scale_shift,
        draw=one,
        holds=lambda args, p, y: y - p["b"] == sum([args[0]] * p["a"]),
        choices={"a": (2, 3, 4, 5, 6, 7), "b": (1, 2, 3, 5, 8, 10)},
    ),
    Template(
        level=1,
        text="the sum of x and {a} times y",
        solve=add_scaled,
        draw=two,
        holds=lambda args, p, y: y - args[0] == sum([args[1]] * p["a"]),
        choices={"a": (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12)},
    ),
    Template(
        level=1,
        text="x squared, plus {c}",
        solve=square_plus,
        draw=one,
        holds=lambda args, p, y: y - p["c"] == abs(args[0]) ** 2,
        choices={"c": (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 20, 100)},
    ),
    Template(
        level=1,
        text="True if x is divisible by {k}, and False otherwise",
        solve=is_multiple,
        draw=maybe_multiple,
        holds=lambda args, p, y: y == (args[0] in range(0, 201, p["k"])),
        choices={"k": (2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12)},
    ),
    Template(
        level=1,
        text="the remainder of x divided by {k}",
        solve=remainder,
        draw=natural,
        holds=lambda args, p, y: 0 <= y < p["k"] and args[0] - y in range(0, 201, p["k"]),
        choices={"k": (2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12)},
    ),
    Template(
        level=1,
        text="the larger of x and y, plus {c}",
        solve=larger_plus,
        draw=two,
        holds=lambda args, p, y: y - p["c"] == sorted(args)[1],
        choices={"c": (0, 1, 2, 3, 4, 5, 7, 10, 25, 100)},
    ),
    Template(
        level=1,
        text="the smaller of x and y, times {c}",
        solve=smaller_times,
        draw=two,
        holds=lambda args, p, y: y == sum([sorted(args)[0]] * p["c"]),
        choices={"c": (1, 2, 3, 4, 5, 6, 7, 8, 9, 10)},
    ),
    Template(
        level=1,
        text="x, but {low} if x is below {low} and {high} if x is above {high}",
        solve=clamp,
        draw=one,
        holds=lambda args, p, y: y == sorted((args[0], p["low"], p["high"]))[1],
        choices={"low": (-20, -10, 0, 1, 5), "high": (10, 20, 30)},
    ),
    Template(
        level=1,
        text="the distance between x and {k} on the number line",
        solve=distance_to,
        draw=one,
        holds=lambda args, p, y: y >= 0 and y * y == (args[0] - p["k"]) ** 2,
        choices={"k": (0, 1, 2, 3, 5, 7, 10, 15, 20, 42)},
    ),
    Template(
        level=1,
        text="{k} times the sum of the decimal digits of x, which is not negative",
        solve=digit_sum_times,
        draw=natural,
        holds=lambda args, p, y: y == p["k"] * (args[0] // 100 + args[0] // 10 % 10 + args[0] % 10),
        choices={"k": (1, 2, 3, 4, 5, 6, 7)},
    ),
)
