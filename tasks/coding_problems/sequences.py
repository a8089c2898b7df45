"""Level 2: one pass over a list or a string."""

from __future__ import annotations

import random

from tasks.coding_problems.template import Arguments, Params, Template

LETTERS = "abcdefgh"


def numbers(rng: random.Random, _: Params) -> Arguments:
    """A list of 1 to 10 integers."""
    return ([rng.randint(-20, 40) for _ in range(rng.randint(1, 10))],)


def word(rng: random.Random, _: Params) -> Arguments:
    """A string of 1 to 12 of few letters."""
    return ("".join(rng.choice(LETTERS) for _ in range(rng.randint(1, 12))),)


def words(rng: random.Random, params: Params) -> Arguments:
    """A list of 1 to 6 words."""
    return ([word(rng, params)[0] for _ in range(rng.randint(1, 6))],)


def count_multiples(items, *, k):
    return sum(1 for item in items if item % k == 0)


def sum_above(items, *, k):
    return sum(item for item in items if item > k)


def add_to_each(items, *, k):
    return [item + k for item in items]


def multiply_each(items, *, k):
    return [item * k for item in items]


def keep_below(items, *, k):
    return [item for item in items if item < k]


def every_kth(items, *, k):
    return items[::k]


def count_letter(text, *, letter):
    return text.count(letter)


def without_letter(text, *, letter):
    return text.replace(letter, "")


def repeated(text, *, k):
    return text * k


def joined(items, *, mark):
    return mark.join(items)


def longer_than(items, *, k):
    return [item for item in items if len(item) > k]


def largest(items, *, k):
    return sorted(items, reverse=True)[:k]


TEMPLATES = (
    Template(
        level=2,
        text="how many numbers of the list items are divisible by {k}",
        solve=count_multiples,
        draw=numbers,
        holds=lambda args, p, y: y == len([n for n in args[0] if n in range(-60, 60, p["k"])]),
        choices={"k": (2, 3, 4, 5, 6, 10)},
    ),
    Template(
        level=2,
        text="the sum of the numbers in the list items that are greater than {k}",
        solve=sum_above,
        draw=numbers,
        holds=lambda args, p, y: sum(args[0]) - y == sum(n for n in args[0] if n <= p["k"]),
        choices={"k": (-5, 0, 1, 2, 3, 5, 7, 10, 12, 15, 20)},
    ),
    Template(
        level=2,
        text="a new list with {k} added to each number of the list items",
        solve=add_to_each,
        draw=numbers,
        holds=lambda args, p, y: [n - p["k"] for n in y] == args[0],
        choices={"k": (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 20)},
    ),
    Template(
        level=2,
        text="a new list with each number of the list items multiplied by {k}",
        solve=multiply_each,
        draw=numbers,
        holds=lambda args, p, y: [n // p["k"] for n in y] == args[0] and sum(y) % p["k"] == 0,
        choices={"k": (2, 3, 4, 5, 6, 7, 8, 9, 10, 12)},
    ),
    Template(
        level=2,
        text="the list of those numbers in items that are less than {k}, in their order",
        solve=keep_below,
        draw=numbers,
        holds=lambda args, p, y: (
            all(n < p["k"] for n in y)
            and len(y) + sum(n >= p["k"] for n in args[0]) == len(args[0])
        ),
        choices={"k": (-5, 0, 1, 3, 5, 8, 10, 13, 15, 20, 25)},
    ),
    Template(
        level=2,
        text="every {k}th element of the list items, beginning with the first",
        solve=every_kth,
        draw=numbers,
        holds=lambda args, p, y: y == [n for i, n in enumerate(args[0]) if i % p["k"] == 0],
        choices={"k": (4, 5, 6, 7)},
    ),
    Template(
        level=2,
        text="how often the letter '{letter}' occurs in the string text",
        solve=count_letter,
        draw=word,
        holds=lambda args, p, y: y == len([c for c in args[0] if c == p["letter"]]),
        choices={"letter": tuple(LETTERS)},
    ),
    Template(
        level=2,
        text="the string text without the letter '{letter}'",
        solve=without_letter,
        draw=word,
        holds=lambda args, p, y: list(y) == [c for c in args[0] if c != p["letter"]],
        choices={"letter": tuple(LETTERS)},
    ),
    Template(
        level=2,
        text="the string text repeated {k} times",
        solve=repeated,
        draw=word,
        holds=lambda args, p, y: len(y) == p["k"] * len(args[0]) and not y.replace(args[0], ""),
        choices={"k": (2, 3, 4, 5, 6)},
    ),
    Template(
        level=2,
        text="the strings of the list items joined by '{mark}'",
        solve=joined,
        draw=words,
        holds=lambda args, p, y: y.split(p["mark"]) == args[0],
        choices={"mark": ("-", "+", ", ", "/", "_", ":", " ", ".")},
    ),
    Template(
        level=2,
        text="the list of those strings in items that have more than {k} letters, in their order",
        solve=longer_than,
        draw=words,
        holds=lambda args, p, y: (
            all(s[p["k"] :] for s in y) and len(y) == sum(bool(s[p["k"] :]) for s in args[0])
        ),
        choices={"k": (1, 2, 3, 4, 5, 6, 7, 8)},
    ),
    Template(
        level=2,
        text="the {k} largest numbers of the list items, largest first (all if there are fewer)",
        solve=largest,
        draw=numbers,
        holds=lambda args, p, y: y == list(reversed(sorted(args[0])))[: p["k"]],
        choices={"k": (1, 2, 3, 4, 5)},
    ),
)
