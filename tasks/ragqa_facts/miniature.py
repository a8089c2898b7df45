"""The miniature: who has how many of what, in a line each, for models that know nothing.

Every name has a passage for each animal, `bora dogs 4`. Two passages fit into a prompt: the right
one, as a rule, and one with another number. A hash of the name decides the split.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from functools import lru_cache
from itertools import product

from harness import Split

SEED = 11
COUNT = 200
ANIMALS = ("dogs", "cats", "hens", "cows")


@lru_cache(maxsize=1)
def counts() -> dict[tuple[str, str], int]:
    """The number of each animal that each name has, 1 to 9; the numbers of a name differ."""
    draw = random.Random(SEED)
    letters = ("bdfgklmnprstvz", "aeiou")
    names = ["".join(each) for each in product(letters[0], letters[1], letters[0], letters[1])]
    found: dict[tuple[str, str], int] = {}
    for name in draw.sample(names, COUNT):
        numbers = draw.sample(range(1, 10), len(ANIMALS))
        found |= {(name, a): number for a, number in zip(ANIMALS, numbers, strict=True)}
    return found


def split_of(name: str) -> Split:
    """Where questions about a name belong: two in ten are test, one in ten dev."""
    bucket = hashlib.sha256(name.encode()).digest()[0] % 10
    return "test" if bucket < 2 else "dev" if bucket == 2 else "train"


def articles() -> Iterator[tuple[str, str, str]]:
    """Id, title and text of all passages."""
    for (name, animal), number in counts().items():
        yield f"{name}/{animal}", name, f"{animal} {number}"
