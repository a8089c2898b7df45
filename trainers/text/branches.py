"""What texts begin with alike, as a tree: attempts share a prompt, prompts their worked examples,
phrasings of one question the passages that were found for it.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

LEAST = 64
"""Tokens that must be alike for it to pay that they are read apart from what follows them."""

Tokens = tuple[int, ...]


@dataclass(frozen=True)
class Branch:
    """Tokens number `first` to `last` of a text, which follow those of the parent."""

    text: Tokens
    first: int
    last: int
    parent: int | None
    """Its number among all branches, smaller than this one's."""


def branches(texts: Iterable[Tokens]) -> tuple[list[Branch], dict[Tokens, int]]:
    """All branches, and on which one each distinct text ends.

    Every text is what stands on the way to its branch; those that begin with the same `LEAST`
    tokens more than their parent share a branch.
    """
    found: list[Branch] = []
    ends: dict[Tokens, int] = {}
    # texts in order, how many of their tokens stand on branches, and the last of these branches
    left: list[tuple[list[Tokens], int, int | None]] = [(sorted(set(texts)), 0, None)]
    while left:
        alike, first, parent = left.pop()
        if not alike:
            continue
        last = _in_common(alike[0], alike[-1])
        if len(alike) == 1 or last - first >= LEAST:
            if last > first or parent is None:
                found.append(Branch(alike[0], first, last, parent))
                first, parent = last, len(found) - 1
            if parent is not None and len(alike[0]) == last:
                ends[alike.pop(0)] = parent
        parts = groupby(alike, key=lambda text: text[last : last + 1])
        left += [(list(part), first, parent) for _, part in parts]
    return found, ends


def _in_common(first: Sequence[int], second: Sequence[int]) -> int:
    """How many tokens both begin with."""
    for place, (one, other) in enumerate(zip(first, second, strict=False)):
        if one != other:
            return place
    return min(len(first), len(second))


def stretches(text: Tokens) -> dict[Hashable, int]:
    """A text cut into lengths, each named by a hash of all that is before its end.

    Texts that begin alike have names in common, of nearly as many tokens as they share a branch of.
    """
    found: dict[Hashable, int] = {}
    name = 0
    for first in range(0, len(text), LEAST):
        part = text[first : first + LEAST]
        name = hash((name, part))
        found[name] = len(part)
    return found
