"""Generated arithmetic: expressions whose splits share no expression, for models of any size.

Levels   1: a + b. 2: a + b - c. 3: a product and a sum with brackets. 4: a word problem of two
         steps. 5: an equation with one unknown. `sums`: two numbers of two digits.
Splits   By a hash of the expression (its operands sorted where their order does not matter): one
         in ten is test, one in ten dev. Level 4 also shares no name, thing or number.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from harness import Example, Split

SIZES: dict[Split, int] = {"train": 4000, "dev": 200, "test": 500}
LEVELS = ("sums", 1, 2, 3, 4, 5)
Level = int | str


@dataclass(frozen=True)
class Item:
    """One question: as it is asked, as it is told apart, and what is right."""

    question: str
    expression: str
    answer: int


@lru_cache(maxsize=32)
def examples(level: Level, split: Split) -> tuple[Example, ...]:
    """The examples of a level's split, the same in every process."""
    rng = random.Random(f"arith/{level}/{split}")
    found: dict[str, Item] = {}
    for _ in range(30 * SIZES[split]):
        item = draw(level, rng, split)
        if item.expression in found or (level != 4 and split_of(item.expression) != split):
            continue
        found[item.expression] = item
        if len(found) == SIZES[split]:
            break
    name = level if isinstance(level, str) else f"arith{level}"
    return tuple(
        Example(
            f"{name}/{split}/{number}",
            {"question": item.question},
            str(item.answer),
            {"level": level, "expression": item.expression},
        )
        for number, item in enumerate(found.values())
    )


def split_of(expression: str) -> Split:
    """Where an expression belongs; its hash decides, so it cannot be in two splits."""
    bucket = hashlib.sha256(expression.encode()).digest()[0] % 10
    return "test" if bucket == 0 else "dev" if bucket == 1 else "train"


def operands(example: Example) -> set[int]:
    """The numbers that a question holds."""
    return {int(number) for number in re.findall(r"\d+", example.inputs["question"])}


def unseen_operands(level: Level, split: Split = "test") -> float:
    """Share of the split's numbers that stand in no training question, 0 to 1."""
    seen = set[int]().union(*map(operands, examples(level, "train")))
    asked = [number for example in examples(level, split) for number in operands(example)]
    return sum(number not in seen for number in asked) / len(asked)


def draw(level: Level, rng: random.Random, split: Split) -> Item:
    """One item of a level; `split` matters to level 4 only, whose words differ by split."""
    if level == "sums":
        a, b = rng.randint(10, 99), rng.randint(10, 99)
        return Item(f"What is {a} + {b}?", _sorted_sum(a, b), a + b)
    if level == 1:
        a, b = _short(rng), _short(rng)
        return Item(f"What is {a} + {b}?", _sorted_sum(a, b), a + b)
    if level == 2:
        a, b, c = _short(rng), _short(rng), _short(rng)
        return Item(f"What is {a} + {b} - {c}?", f"{_sorted_sum(a, b)}-{c}", a + b - c)
    if level == 3:
        return _product(rng)
    if level == 5:
        return _equation(rng)
    return _story(rng, split)


def _short(rng: random.Random) -> int:
    """One digit or two, each as often."""
    return rng.randint(0, 9) if rng.random() < 0.5 else rng.randint(10, 99)


def _sorted_sum(a: int, b: int) -> str:
    return f"{min(a, b)}+{max(a, b)}"


def _product(rng: random.Random) -> Item:
    a, b, c = rng.randint(2, 20), rng.randint(2, 20), rng.randint(2, 12)
    form = rng.choice(("{c} * ({a} + {b})", "({a} + {b}) * {c}", "{a} + ({b} * {c})"))
    text = form.format(a=a, b=b, c=c)
    if form.startswith("{a}"):
        low, high = sorted((b, c))
        return Item(f"What is {text}?", f"{a}+{low}*{high}", a + b * c)
    return Item(f"What is {text}?", f"({_sorted_sum(a, b)})*{c}", (a + b) * c)


def _equation(rng: random.Random) -> Item:
    a, b, x = rng.randint(2, 12), rng.randint(-50, 50), rng.randint(-20, 20)
    shift = f" {'+' if b > 0 else '-'} {abs(b)}" if b else ""
    text = f"{a}x{shift} = {a * x + b}"
    return Item(f"Solve {text} for x.", text, x)


def _left(a: int, b: int, c: int, d: int) -> int:
    return a + b - c


def _packed(a: int, b: int, c: int, d: int) -> int:
    return a + b * c


def _kept(a: int, b: int, c: int, d: int) -> int:
    return b * c - d


def _spent(a: int, b: int, c: int, d: int) -> int:
    return a - c - d


def _found(a: int, b: int, c: int, d: int) -> int:
    return a + b + c


WORDS: dict[Split, tuple[str, ...]] = {
    "train": ("Ana", "Ben", "Carla", "Dev", "Elif", "Farid", "Greta", "Hugo", "Ines", "Jonas"),
    "dev": ("Kira", "Liam", "Mona", "Nils"),
    "test": ("Olga", "Pablo", "Quinn", "Rosa", "Samir", "Tara"),
}
THINGS: dict[Split, tuple[str, ...]] = {
    "train": ("apples", "books", "cards", "coins", "eggs", "pens", "plates", "stamps", "shells"),
    "dev": ("buttons", "marbles", "ribbons"),
    "test": ("beads", "candles", "lemons", "magnets", "postcards", "spoons"),
}
REMAINDERS: dict[Split, tuple[int, ...]] = {"train": (0, 2, 4, 5), "dev": (1,), "test": (3, 6)}
"""Numbers of level 4 by their remainder modulo 7."""

Count = Callable[[int, int, int, int], int]
TEMPLATES: tuple[tuple[str, Count], ...] = (
    ("{n} has {a} {t}, buys {b} more and gives {c} away. How many {t} are left?", _left),
    ("{n} has {a} {t}, gives {c} away and then finds {b}. How many {t} is that?", _left),
    ("{n} and a friend have {a} and {b} {t}. They sell {c}. How many {t} are left?", _left),
    ("There are {a} {t} here and {b} there. {n} takes {c}. How many {t} remain?", _left),
    ("A crate holds {a} {t}. {n} adds {b}, and {c} break. How many {t} are whole?", _left),
    ("{n} fills {c} boxes with {b} {t} each and has {a} left over. How many {t} in all?", _packed),
    ("{n} lays {c} rows of {b} {t}, then {a} more. How many {t} are there?", _packed),
    ("{n} had {a} {t} and got {b} from each of {c} friends. How many {t} now?", _packed),
    ("Each of {c} children brings {b} {t}, and {n} brings {a}. How many {t} are there?", _packed),
    ("{n} pays {a} coins for a bag and {b} coins for each of {c} {t}. What is paid?", _packed),
    ("{n} buys {c} bags of {b} {t} and loses {d} of them. How many {t} remain?", _kept),
    ("{n} makes {b} {t} a day for {c} days and keeps {d}. How many {t} are sold?", _kept),
    ("{n} sets {c} tables with {b} {t} each, {d} too many. How many {t} are needed?", _kept),
    ("At {b} coins each {n} buys {c} {t}, less {d} coins in all. How much is paid?", _kept),
    ("A shop has {a} {t}. {n} buys {c}, others buy {d}. How many {t} are left?", _spent),
    ("{n} needs {a} {t}, has {c} and is given {d}. How many {t} are missing?", _spent),
    ("{n} takes {c} {t} from a pile of {a}, then {d} more. How many {t} stay?", _spent),
    ("{n} finds {a} {t} on Monday, {b} on Tuesday and {c} on Friday. How many {t}?", _found),
    ("A box weighs {a}, a lid {b} and the {t} of {n} weigh {c}. What do all weigh?", _found),
    ("{n} walks {a} steps to buy {t}, {b} to a friend and {c} home. How many steps?", _found),
)


def _story(rng: random.Random, split: Split) -> Item:
    numbers = [number for number in range(2, 100) if number % 7 in REMAINDERS[split]]
    small = [number for number in numbers if number < 13]
    middle = [number for number in numbers if 13 < number < 40]
    large = [number for number in numbers if number >= 40]
    a, b, c, d = (rng.choice(pool) for pool in (large, middle, small, small))
    text, count = rng.choice(TEMPLATES)
    words = {"n": rng.choice(WORDS[split]), "t": rng.choice(THINGS[split])}
    question = text.format(a=a, b=b, c=c, d=d, **words)
    return Item(question, question, count(a, b, c, d))
