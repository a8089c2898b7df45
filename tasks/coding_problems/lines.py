"""Level 4: whole programs, from standard input to standard output."""

from __future__ import annotations

import random
from itertools import pairwise

from tasks.coding_problems.template import Arguments, Params, Template


def list_of_numbers(rng: random.Random, _: Params) -> Arguments:
    """n, then n integers on a line."""
    items = [rng.randint(-30, 30) for _ in range(rng.randint(1, 12))]
    return (f"{len(items)}\n{' '.join(map(str, items))}\n",)


def naturals(rng: random.Random, _: Params) -> Arguments:
    """n, then n integers above 0 on a line, often with a common divisor."""
    factor = rng.choice((1, 2, 3, 4, 5, 6, 7, 10))
    items = [factor * rng.randint(1, 12) for _ in range(rng.randint(1, 10))]
    return (f"{len(items)}\n{' '.join(map(str, items))}\n",)


def one_number(rng: random.Random, _: Params) -> Arguments:
    """An integer from 1 to 3000."""
    return (f"{rng.randint(1, 3000)}\n",)


def brackets(rng: random.Random, _params: Params) -> Arguments:
    """A line of brackets, balanced or nearly so."""
    text = ""
    for _turn in range(rng.randint(1, 5)):
        pair = rng.choice(["()", "[]", "{}"])
        text = rng.choice([f"{pair[0]}{text}{pair[1]}", f"{text}{pair}", f"{pair}{text}"])
    if rng.random() < 0.5:
        place = rng.randrange(len(text))
        text = text[:place] + rng.choice("()[]{}") + text[place + 1 :]
    return (f"{text}\n",)


def given(args: Arguments) -> list[int]:
    """The list of an input that has one."""
    return [int(each) for each in args[0].split()[1:]]


def pairs_with_sum(text, *, k):
    items = [int(each) for each in text.split()[1:]]
    seen, count = {}, 0
    for item in items:
        count += seen.get(k - item, 0)
        seen[item] = seen.get(item, 0) + 1
    return str(count)


def longest_rise(text, *, step):
    items = [int(each) for each in text.split()[1:]]
    best = length = 1
    for place in range(1, len(items)):
        length = length + 1 if items[place] >= items[place - 1] + step else 1
        best = max(best, length)
    return str(best)


def in_base(text, *, base):
    number, digits = int(text), ""
    while number:
        digits = "0123456789abcdefghijklmnop"[number % base] + digits
        number //= base
    return digits


def primes_with_remainder(text, *, m, r):
    limit = int(text)
    sieve = [True] * (limit + 1)
    count = 0
    for number in range(2, limit + 1):
        if sieve[number]:
            count += number % m == r
            for multiple in range(number * number, limit + 1, number):
                sieve[multiple] = False
    return str(count)


def balanced(text, *, yes, no):
    pairs, stack = {")": "(", "]": "[", "}": "{"}, []
    for letter in text.strip():
        if letter in pairs:
            if not stack or stack.pop() != pairs[letter]:
                return no
        else:
            stack.append(letter)
    return no if stack else yes


def best_stretch(text, *, k):
    items = [int(each) for each in text.split()[1:]]
    best = None
    for start in range(len(items)):
        for end in range(start + 1, min(start + k, len(items)) + 1):
            total = sum(items[start:end])
            best = total if best is None else max(best, total)
    return str(best)


def common_divisor_power(text, *, k):
    from math import gcd

    divisor = 0
    for each in text.split()[1:]:
        divisor = gcd(divisor, int(each))
    return str(divisor**k)


def frequent(text, *, k):
    counts = {}
    for each in text.split()[1:]:
        counts[int(each)] = counts.get(int(each), 0) + 1
    order = sorted(counts, key=lambda item: (-counts[item], item))
    return " ".join(map(str, order[:k]))


LIST = "The first line holds n, the second line n integers. "
TEMPLATES = (
    Template(
        level=4,
        text=f"{LIST}Print how many pairs of places i < j hold two numbers whose sum is {{k}}.",
        solve=pairs_with_sum,
        draw=list_of_numbers,
        holds=lambda args, p, y: (
            int(y)
            == sum(
                one + other == p["k"]
                for i, one in enumerate(given(args))
                for other in given(args)[i + 1 :]
            )
        ),
        choices={"k": (-3, -1, 0, 1, 2, 4, 5, 7, 10)},
        stdin=True,
    ),
    Template(
        level=4,
        text=(
            f"{LIST}Print the length of the longest run of neighbors in which each number is at "
            "least {step} more than the one before it. A single number is a run of length 1."
        ),
        solve=longest_rise,
        draw=list_of_numbers,
        holds=lambda args, p, y: int(y) == _longest_rise(given(args), p["step"]),
        choices={"step": (0, 1, 2, 3, 5, 8)},
        stdin=True,
    ),
    Template(
        level=4,
        text=(
            "The input is one positive integer. Print it in base {base}, with lower-case letters "
            "for digits above 9."
        ),
        solve=in_base,
        draw=one_number,
        holds=lambda args, p, y: int(y, p["base"]) == int(args[0]) and y[0] != "0",
        choices={"base": (2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 16, 20)},
        stdin=True,
    ),
    Template(
        level=4,
        text=(
            "The input is one positive integer n. Print how many prime numbers up to and with n "
            "leave the remainder {r} when divided by {m}."
        ),
        solve=primes_with_remainder,
        draw=one_number,
        holds=lambda args, p, y: (
            int(y) == sum(n % p["m"] == p["r"] for n in range(2, int(args[0]) + 1) if _prime(n))
        ),
        choices={"m": (3, 5, 7, 9, 11), "r": (1, 2)},
        stdin=True,
    ),
    Template(
        level=4,
        text=(
            "The input is one line of the brackets ()[]{{}}. Print {yes} if they are balanced and "
            "properly nested, and {no} otherwise."
        ),
        solve=balanced,
        draw=brackets,
        holds=lambda args, p, y: y == p["yes" if _reduces(args[0].strip()) else "no"],
        choices={"yes": ("YES", "yes", "balanced", "1"), "no": ("NO", "no", "0")},
        stdin=True,
    ),
    Template(
        level=4,
        text=(
            f"{LIST}Print the largest sum of neighbors among all runs of at least 1 and at most "
            "{k} numbers."
        ),
        solve=best_stretch,
        draw=list_of_numbers,
        holds=lambda args, p, y: int(y) == _best_stretch(given(args), p["k"]),
        choices={"k": (2, 3, 4, 5, 6, 7, 8)},
        stdin=True,
    ),
    Template(
        level=4,
        text=f"{LIST}Print their greatest common divisor to the power of {{k}}.",
        solve=common_divisor_power,
        draw=naturals,
        holds=lambda args, p, y: int(y) == _largest_divisor(given(args)) ** p["k"],
        choices={"k": (1, 2, 3, 4)},
        stdin=True,
    ),
    Template(
        level=4,
        text=(
            f"{LIST}Print the {{k}} most frequent different numbers (all if there are fewer) on "
            "one line, the most frequent first; of equally frequent ones the smaller first."
        ),
        solve=frequent,
        draw=list_of_numbers,
        holds=lambda args, p, y: _is_frequent(given(args), [int(n) for n in y.split()], p["k"]),
        choices={"k": (1, 2, 3, 4, 5)},
        stdin=True,
    ),
)


def _longest_rise(items: list[int], step: int) -> int:
    spans = [items[i:j] for i in range(len(items)) for j in range(i + 1, len(items) + 1)]
    return max(len(s) for s in spans if all(b - a >= step for a, b in pairwise(s)))


def _prime(number: int) -> bool:
    return all(number % divisor for divisor in range(2, int(number**0.5) + 1))


def _reduces(text: str) -> bool:
    before = None
    while text != before:
        before = text
        for pair in ("()", "[]", "{}"):
            text = text.replace(pair, "")
    return not text


def _best_stretch(items: list[int], k: int) -> int:
    sums = [0]
    for item in items:
        sums.append(sums[-1] + item)
    size = len(sums)
    return max(
        sums[j] - sums[i] for i in range(size) for j in range(i + 1, min(i + k, size - 1) + 1)
    )


def _largest_divisor(items: list[int]) -> int:
    return max(d for d in range(1, min(items) + 1) if all(item % d == 0 for item in items))


def _is_frequent(items: list[int], told: list[int], k: int) -> bool:
    keys = [(-items.count(item), item) for item in told]
    rest = [(-items.count(item), item) for item in set(items) - set(told)]
    full = len(told) == min(k, len(set(items)))
    return full and keys == sorted(keys) and all(key < other for key in keys for other in rest)
