"""Noise: the same question, written otherwise by rule; its meaning cannot change."""

from __future__ import annotations

import random
from collections.abc import Callable

POLITE = ("Could you tell me: {q}", "Please answer this: {q}", "I would like to know: {q}")


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
    """Two letters within a lower-case word exchanged; names and numbers stay as they are."""
    words = question.split(" ")
    long = [
        n for n, word in enumerate(words) if word.isascii() and word.islower() and len(word) > 3
    ]
    if long:
        number = draw.choice(long)
        word = words[number]
        places = [n for n in range(1, len(word) - 2) if word[n] != word[n + 1]]
        if places:
            at = draw.choice(places)
            words[number] = word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    return " ".join(words)


def hasty(question: str, draw: random.Random) -> str:
    """Lower case, a slip, and no mark at the end."""
    return unmarked(lower(typo(question, draw), draw), draw)


WAYS: tuple[Callable[[str, random.Random], str], ...] = (lower, unmarked, polite, typo, hasty)


def noisy(question: str) -> list[str]:
    """The question and its distinct noisy forms, the same in every process."""
    draw = random.Random(question)
    return list(dict.fromkeys([question, *(way(question, draw) for way in WAYS)]))
