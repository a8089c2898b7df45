"""Level 5: whole programs that need dynamic programming or a search."""

from __future__ import annotations

import random
from functools import cache
from itertools import combinations, pairwise, product

from tasks.coding_problems.lines import given
from tasks.coding_problems.template import Arguments, Params, Template


def amount(rng: random.Random, _: Params) -> Arguments:
    """An integer from 1 to 60."""
    return (f"{rng.randint(1, 60)}\n",)


def two_words(rng: random.Random, _: Params) -> Arguments:
    """Two lines of few letters."""
    one, other = ("".join(rng.choice("abc") for _ in range(rng.randint(1, 8))) for _ in range(2))
    return (f"{one}\n{other}\n",)


def grid(rng: random.Random, _: Params) -> Arguments:
    """Rows of . and #, after their number."""
    height, width = rng.randint(2, 5), rng.randint(2, 5)
    rows = ["".join(rng.choice("...#") for _ in range(width)) for _ in range(height)]
    rows[0] = "." + rows[0][1:]
    rows[-1] = rows[-1][:-1] + "."
    return ("\n".join([str(height), *rows]) + "\n",)


def few_numbers(rng: random.Random, _: Params) -> Arguments:
    """n, then n integers from 1 to 20 on a line."""
    items = [rng.randint(1, 20) for _ in range(rng.randint(1, 9))]
    return (f"{len(items)}\n{' '.join(map(str, items))}\n",)


def ways_to_pay(text, *, coins):
    total = int(text)
    ways = [1] + [0] * total
    for coin in coins:
        for amount in range(coin, total + 1):
            ways[amount] += ways[amount - coin]
    return str(ways[total])


def fewest_coins(text, *, coins):
    total = int(text)
    best = [0] + [None] * total
    for amount in range(1, total + 1):
        known = [best[amount - c] for c in coins if c <= amount and best[amount - c] is not None]
        best[amount] = min(known) + 1 if known else None
    return str(-1 if best[total] is None else best[total])


def stairs(text, *, steps):
    height = int(text)
    ways = [1] + [0] * height
    for at in range(1, height + 1):
        ways[at] = sum(ways[at - step] for step in steps if step <= at) % 1000003
    return str(ways[height])


def rising_subsequence(text, *, step):
    items = [int(each) for each in text.split()[1:]]
    longest = []
    for place, item in enumerate(items):
        before = [longest[i] for i in range(place) if items[i] + step <= item]
        longest.append(1 + max(before, default=0))
    return str(max(longest))


def edit_distance(text, *, swap):
    one, other = text.split()
    row = list(range(len(other) + 1))
    for i, letter in enumerate(one, 1):
        last, row = row, [i]
        for j, wanted in enumerate(other, 1):
            change = last[j - 1] + (0 if letter == wanted else swap)
            row.append(min(change, last[j] + 1, row[-1] + 1))
    return str(row[-1])


def shortest_path(text, *, moves):
    _, *rows = text.split()
    goal = (len(rows) - 1, len(rows[0]) - 1)
    steps = {"rook": [(0, 1), (1, 0), (0, -1), (-1, 0)]}
    steps["king"] = [(a, b) for a in (-1, 0, 1) for b in (-1, 0, 1) if (a, b) != (0, 0)]
    seen, edge, length = {(0, 0)}, [(0, 0)], 0
    while edge:
        if goal in edge:
            return str(length)
        following = []
        for y, x in edge:
            for a, b in steps[moves]:
                place = (y + a, x + b)
                inside = 0 <= place[0] < len(rows) and 0 <= place[1] < len(rows[0])
                if inside and place not in seen and rows[place[0]][place[1]] == ".":
                    seen.add(place)
                    following.append(place)
        edge, length = following, length + 1
    return "-1"


def subsets_with_remainder(text, *, k):
    items = [int(each) for each in text.split()[1:]]
    ways = [1] + [0] * (k - 1)
    for item in items:
        ways = [ways[r] + ways[(r - item) % k] for r in range(k)]
    return str(ways[0])


def best_load(text, *, room):
    items = [int(each) for each in text.split()[1:]]
    reachable = {0}
    for item in items:
        reachable |= {load + item for load in reachable if load + item <= room}
    return str(max(reachable))


COINS = ((1, 2, 5), (1, 3, 4), (2, 5, 10), (3, 5), (1, 5, 12), (4, 6, 9), (2, 3, 7), (1, 7, 10))
LIST = "The first line holds n, the second line n integers. "
TEMPLATES = (
    Template(
        level=5,
        text=(
            "The input is an amount of money, a positive integer. Print in how many ways it can be "
            "paid with coins of {coins}; the order of the coins does not matter."
        ),
        solve=ways_to_pay,
        draw=amount,
        holds=lambda args, p, y: int(y) == _ways(int(args[0]), p["coins"]),
        choices={"coins": COINS},
        stdin=True,
    ),
    Template(
        level=5,
        text=(
            "The input is an amount of money, a positive integer. Print the smallest number of "
            "coins of {coins} with which it can be paid exactly, or -1 if it cannot."
        ),
        solve=fewest_coins,
        draw=amount,
        holds=lambda args, p, y: int(y) == _fewest(int(args[0]), p["coins"]),
        choices={"coins": COINS},
        stdin=True,
    ),
    Template(
        level=5,
        text=(
            "The input is the number of stairs, a positive integer. You climb them in steps of "
            "{steps} stairs. Print the number of ways, in which order matters, modulo 1000003."
        ),
        solve=stairs,
        draw=amount,
        holds=lambda args, p, y: int(y) == _climbs(int(args[0]), p["steps"]) % 1000003,
        choices={"steps": ((1, 2), (1, 3), (2, 3), (1, 2, 3), (1, 4), (2, 5), (1, 3, 5))},
        stdin=True,
    ),
    Template(
        level=5,
        text=(
            f"{LIST}Print the length of the longest subsequence (numbers may be left out) in which "
            "each number is at least {step} more than the one before it."
        ),
        solve=rising_subsequence,
        draw=few_numbers,
        holds=lambda args, p, y: int(y) == _rising(given(args), p["step"]),
        choices={"step": (0, 1, 2, 3, 4, 5)},
        stdin=True,
    ),
    Template(
        level=5,
        text=(
            "The input is two lines, each with a word. To insert or delete a letter costs 1, to "
            "replace a letter costs {swap}. Print the least cost to turn one word into the other."
        ),
        solve=edit_distance,
        draw=two_words,
        holds=lambda args, p, y: int(y) == _edit(*args[0].split(), p["swap"]),
        choices={"swap": (1, 2, 3)},
        stdin=True,
    ),
    Template(
        level=5,
        text=(
            "The first line holds the number of rows of a grid, which follow: . is free, # is a "
            "wall. Moving like a {moves} by one cell, print the fewest moves from the upper left "
            "to the lower right cell, or -1 if there is no way."
        ),
        solve=shortest_path,
        draw=grid,
        holds=lambda args, p, y: int(y) == _relaxed(args[0].split()[1:], p["moves"]),
        choices={"moves": ("rook", "king")},
        stdin=True,
    ),
    Template(
        level=5,
        text=(
            f"{LIST}Print how many of the 2^n choices of places (none and all included) have a sum "
            "that is divisible by {k}."
        ),
        solve=subsets_with_remainder,
        draw=few_numbers,
        holds=lambda args, p, y: int(y) == sum(sum(c) % p["k"] == 0 for c in _subsets(given(args))),
        choices={"k": (2, 3, 4, 5, 6, 7, 8, 9)},
        stdin=True,
    ),
    Template(
        level=5,
        text=(
            f"{LIST}They are weights. Print the largest total weight of some of them that is not "
            "above {room}; 0 if none fits."
        ),
        solve=best_load,
        draw=few_numbers,
        holds=lambda args, p, y: (
            int(y) == max(sum(c) for c in _subsets(given(args)) if sum(c) <= p["room"])
        ),
        choices={"room": (10, 15, 20, 25, 30, 40, 50)},
        stdin=True,
    ),
)


def _ways(total: int, coins: tuple[int, ...]) -> int:
    if len(coins) == 1:
        return int(total % coins[0] == 0)
    first, *rest = coins
    return sum(_ways(total - n * first, tuple(rest)) for n in range(total // first + 1))


def _fewest(total: int, coins: tuple[int, ...]) -> int:
    counts = [range(total // coin + 1) for coin in coins[1:]]
    found = []
    for several in product(*counts):
        left = total - sum(n * coin for n, coin in zip(several, coins[1:], strict=True))
        if left >= 0 and left % coins[0] == 0:
            found.append(sum(several) + left // coins[0])
    return min(found, default=-1)


@cache
def _climbs(height: int, steps: tuple[int, ...]) -> int:
    return 1 if height == 0 else sum(_climbs(height - s, steps) for s in steps if s <= height)


def _subsets(items: list[int]) -> list[tuple[int, ...]]:
    return [each for size in range(len(items) + 1) for each in combinations(items, size)]


def _rising(items: list[int], step: int) -> int:
    return max(
        len(each) for each in _subsets(items) if all(b - a >= step for a, b in pairwise(each))
    )


@cache
def _edit(one: str, other: str, swap: int) -> int:
    if not one or not other:
        return len(one) + len(other)
    if one[0] == other[0]:
        return _edit(one[1:], other[1:], swap)
    cut = min(_edit(one[1:], other, swap), _edit(one, other[1:], swap)) + 1
    return min(cut, _edit(one[1:], other[1:], swap) + swap)


def _relaxed(rows: list[str], moves: str) -> int:
    """Bellman and Ford: distances that shrink until nothing changes."""
    far = len(rows) * len(rows[0]) + 1
    free = [(y, x) for y, row in enumerate(rows) for x, cell in enumerate(row) if cell == "."]
    length = dict.fromkeys(free, far) | {(0, 0): 0}
    for _ in free:
        for y, x in free:
            for other in free:
                gap = (abs(y - other[0]), abs(x - other[1]))
                if max(gap) == 1 and (moves == "king" or sum(gap) == 1):
                    length[y, x] = min(length[y, x], length[other] + 1)
    found = length[len(rows) - 1, len(rows[0]) - 1]
    return found if found < far else -1
