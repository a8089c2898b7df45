"""Level 3: two or three operations, one after another."""

from __future__ import annotations

import itertools
import random
from typing import Any

from tasks.coding_problems.sequences import numbers, word
from tasks.coding_problems.template import Arguments, Params, Template


def sentence(rng: random.Random, params: Params) -> Arguments:
    """Words with spaces between them."""
    return (" ".join(word(rng, params)[0] for _ in range(rng.randint(1, 6))),)


def fold_of_multiples(items, *, k, c, fold):
    kept = [item * c for item in items if item % k == 0]
    if fold == "sum":
        return sum(kept)
    return max(kept) if kept else 0


def rotated(items, *, k):
    shift = k % len(items)
    return items[shift:] + items[:shift]


def caesar(text, *, k):
    return "".join(chr((ord(letter) - 97 + k) % 26 + 97) for letter in text)


def windows(items, *, k):
    return [sum(items[i : i + k]) for i in range(len(items) - k + 1)]


def by_remainder(items, *, k):
    groups = [[] for _ in range(k)]
    for item in items:
        groups[item % k].append(item)
    return groups


def runs(text, *, least):
    found = []
    for letter in text:
        if found and found[-1][0] == letter:
            found[-1][1] += 1
        else:
            found.append([letter, 1])
    return [[letter, count] for letter, count in found if count >= least]


def long_words(text, *, k):
    return " ".join(word[::-1] if len(word) >= k else word for word in text.split(" "))


def rank_sum(items, *, k):
    return sum(sorted(set(items), reverse=True)[:k])


def few_letters(rng: random.Random, _: Params) -> Arguments:
    """A string in which letters repeat."""
    return ("".join(rng.choice("aab") for _ in range(rng.randint(1, 14))),)


TEMPLATES = (
    Template(
        level=3,
        text=(
            "the {fold} of {c} times each number of the list items that is divisible by {k} "
            "(0 if there is none)"
        ),
        solve=fold_of_multiples,
        draw=numbers,
        holds=lambda args, p, y: (
            y
            == p["c"] * {"sum": sum, "maximum": max}[p["fold"]](_multiples(args[0], p["k"]) or [0])
        ),
        choices={"k": (2, 3, 4, 5), "c": (2, 3, 5, 10), "fold": ("sum", "maximum")},
    ),
    Template(
        level=3,
        text="the list items rotated to the left by {k} places; items is not empty",
        solve=rotated,
        draw=numbers,
        holds=lambda args, p, y: all(y[i] == args[0][(i + p["k"]) % len(y)] for i in range(len(y))),
        choices={"k": (1, 2, 3, 4, 5, 6, 7)},
    ),
    Template(
        level=3,
        text=(
            "the string text, of lower-case letters, with each letter moved {k} places on in the "
            "alphabet; after z comes a again"
        ),
        solve=caesar,
        draw=word,
        holds=lambda args, p, y: caesar(y, k=26 - p["k"]) == args[0] != y,
        choices={"k": tuple(range(1, 13))},
    ),
    Template(
        level=3,
        text=(
            "the list of the sums of every {k} neighbors in the list items, from left to right "
            "(an empty list if there are fewer than {k} numbers)"
        ),
        solve=windows,
        draw=numbers,
        holds=lambda args, p, y: (
            len(y) == max(0, len(args[0]) - p["k"] + 1)
            and all(b - a == args[0][i + p["k"]] - args[0][i] for i, (a, b) in enumerate(_pairs(y)))
        ),
        choices={"k": (2, 3, 4, 5)},
    ),
    Template(
        level=3,
        text=(
            "a list of {k} lists: the numbers of the list items whose remainder by {k} is 0, "
            "then those with remainder 1, and so on, each in their order"
        ),
        solve=by_remainder,
        draw=numbers,
        holds=lambda args, p, y: (
            len(y) == p["k"]
            and sorted(itertools.chain(*y)) == sorted(args[0])
            and all(n % p["k"] == r for r, group in enumerate(y) for n in group)
        ),
        choices={"k": (2, 3, 4, 5, 6)},
    ),
    Template(
        level=3,
        text=(
            "the runs of equal letters in the string text, from left to right, as lists of the "
            "letter and its count, without runs shorter than {least}"
        ),
        solve=runs,
        draw=few_letters,
        holds=lambda args, p, y: y == [run for run in _grouped(args[0]) if run[1] >= p["least"]],
        choices={"least": (1, 2, 3, 4)},
    ),
    Template(
        level=3,
        text="the sentence text with every word of at least {k} letters reversed",
        solve=long_words,
        draw=sentence,
        holds=lambda args, p, y: long_words(y, k=p["k"]) == args[0] and len(y) == len(args[0]),
        choices={"k": (2, 3, 4, 5, 6, 7)},
    ),
    Template(
        level=3,
        text="the sum of the {k} largest different numbers of the list items",
        solve=rank_sum,
        draw=numbers,
        holds=lambda args, p, y: y == _greedy(list(args[0]), p["k"]),
        choices={"k": (1, 2, 3, 4)},
    ),
)


def _grouped(text: str) -> list[list[Any]]:
    return [[letter, len(list(same))] for letter, same in itertools.groupby(text)]


def _multiples(items: list[int], k: int) -> list[int]:
    return (
        [item for item in items if item in range(-60, 61, k)]
        if 60 % k == 0
        else [item for item in items if item // k * k == item]
    )


def _pairs(items: list[int]) -> list[tuple[int, int]]:
    return list(itertools.pairwise(items))


def _greedy(items: list[int], k: int) -> int:
    total = 0
    for _ in range(k):
        if items:
            best = max(items)
            total += best
            items = [item for item in items if item != best]
    return total
