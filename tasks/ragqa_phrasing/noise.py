"""Noise: the same question, written otherwise by rule; names, numbers and meaning stay.

A slip falls in words of letters alone, and makes no other word of a common one. Where no capital
tells which words are names, it falls in question words alone.
"""

from __future__ import annotations

import random
from collections.abc import Callable

POLITE = ("Could you tell me: {q}", "Please answer this: {q}", "I would like to know: {q}")
LONG = 4
"""Letters of a word in which a slip may fall."""
ASKING = frozenset(
    "what when where which whose whom does have were many much that there they would could".split()
)
"""Words that are hardly ever part of a name."""
OTHERS = frozenset(
    """
    angel angle bolt blot brain brian brunt burnt calm clam carve crave casual causal cloud could
    complaint compliant corps crops dairy diary fiend fined field filed fired fried fires fries form
    forth from froth gaol goal gird grid lair liar lairs liars lion loin marital martial pairs paris
    quiet quite sacred scared saint satin stain salt slat salve slave sign sing silver sliver spilt
    split tarp trap there three tiers tires tired tried trail trial trails trials unite untie united
    untied unites unties warp wrap
    """.split()
)
"""Words that an exchange of two inner letters makes of another."""


def lower(question: str, draw: random.Random) -> str:
    """All in lower case."""
    return question.lower()


def unmarked(question: str, draw: random.Random) -> str:
    """Without punctuation at its end."""
    return question.rstrip(" ?.!")


def polite(question: str, draw: random.Random) -> str:
    """Behind a polite beginning."""
    return draw.choice(POLITE).format(q=question)


def typo(question: str, draw: random.Random) -> str:
    """Two inner letters of a lower-case word exchanged; as it was where there is no such word."""
    words = question.split(" ")
    told = any(word != word.lower() for word in words[1:])  # the first is capital in any case
    slips = {
        number: found
        for number, word in enumerate(words)
        if (told or word in ASKING) and (found := slipped(word))
    }
    if slips:
        number = draw.choice(list(slips))
        words[number] = draw.choice(slips[number])
    return " ".join(words)


def slipped(word: str) -> list[str]:
    """What becomes of a word by exchanging two inner letters; nothing of names and numbers."""
    if not (word.isascii() and word.isalpha() and word.islower() and len(word) >= LONG):
        return []
    places = [n for n in range(1, len(word) - 2) if word[n] != word[n + 1]]
    found = [word[:n] + word[n + 1] + word[n] + word[n + 2 :] for n in places]
    return [slip for slip in found if slip not in OTHERS]


def hasty(question: str, draw: random.Random) -> str:
    """Lower case, a slip, and no mark at the end."""
    return unmarked(lower(typo(question, draw), draw), draw)


WAYS: tuple[Callable[[str, random.Random], str], ...] = (lower, unmarked, polite, typo, hasty)


def noisy(question: str) -> list[str]:
    """The question and its distinct noisy forms, the same in every process."""
    draw = random.Random(question)
    return list(dict.fromkeys([question, *(way(question, draw) for way in WAYS)]))
