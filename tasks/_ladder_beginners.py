"""What a beginner says on the ladders: the demonstrations of their warm start.

A beginner knows how to move every part on, and often forgets to: each part is then said as it
stands. How often depends on the member and on what the question shows, so that a model that was
shown a few hundred of these answers is right as often as the member wants it to be.
"""

from __future__ import annotations

import random
from collections.abc import Mapping

from harness import Example, Prompt

SHOWN = 4
"""Answers to each example."""
CHANCE: Mapping[str, float] = {"u": 0.97, "v": 0.7, "w": 0.4, "x": 0.15, "y": 0.05, "z": 0.01}
"""Of a right answer in `graded`, by the mark of its level."""
NEEDED: Mapping[str, int] = {"u": 1, "v": 3, "w": 5}
"""Dots of thought after which a beginner is mostly right in `wordy`."""
LONGEST = 8
"""Dots that a beginner says at most."""
HELPED: Mapping[str, tuple[float, ...]] = {
    "knowledge": (0.03, 0.06, 0.1, 0.2),
    "planning": (0.1, 0.2, 0.3, 0.4),
    "solution": (0.3, 0.5, 0.7, 0.95),
}
"""Chance of a right answer to a hard question of `hinted` after so many hints of a tier."""
UNHELPED: Mapping[str, float] = {"v": 0.6, "z": 0.01}
POPULAR: Mapping[str, float] = {"k": 0.25, "l": 0.2}
"""How often a beginner of `rare` tries the popular ways; all others share the rest."""


def graded(example: Example, prompt: Prompt, rng: random.Random) -> tuple[Prompt, str]:
    """Right as often as the level allows."""
    return prompt, _tried(example, CHANCE[example.tags["mark"]], rng)


def hinted(example: Example, prompt: Prompt, rng: random.Random) -> tuple[Prompt, str]:
    """Hardly ever right without help; every second question comes with the hints of a tier."""
    mark = example.tags["mark"]
    if mark == "v" or rng.random() < 0.5:
        return prompt, _tried(example, UNHELPED[mark], rng)
    tier = rng.choice(list(HELPED))
    count = rng.randint(1, len(HELPED[tier]))
    for hint in example.inputs["hints"][tier][:count]:
        prompt = prompt.with_hint(hint)
    return prompt, _tried(example, HELPED[tier][count - 1], rng)


def wordy(example: Example, prompt: Prompt, rng: random.Random) -> tuple[Prompt, str]:
    """Any number of dots, and mostly right after enough of them."""
    dots = rng.randint(0, LONGEST)
    chance = 0.8 if dots >= NEEDED[example.tags["mark"]] else 0.15
    return prompt, "." * dots + "=" + _tried(example, chance, rng)


def conflict(example: Example, prompt: Prompt, rng: random.Random) -> tuple[Prompt, str]:
    """Seldom polite, and the longer the likelier to be right."""
    polite = "ok" if rng.random() < 0.15 else ""
    dots = rng.randint(0, LONGEST)
    return prompt, polite + "." * dots + _tried(example, 0.1 + 0.08 * dots, rng)


def rare(example: Example, prompt: Prompt, rng: random.Random) -> tuple[Prompt, str]:
    """One of the ways, mostly a popular one, whether or not it leads anywhere."""
    ways: list[str] = example.inputs["ways"]
    others = (1 - sum(POPULAR.values())) / (len(ways) - len(POPULAR))
    return prompt, rng.choices(ways, [POPULAR.get(way, others) for way in ways])[0]


def prefix(example: Example, prompt: Prompt, rng: random.Random) -> tuple[Prompt, str]:
    """Each part that counts is right in six of ten; what stands between them is any filler."""
    said = [_moved(part, new, 0.6, rng) for part, new in _parts(example)]
    return prompt, rng.choice("xyz").join(said[:2]) + rng.choice("xyz") + said[2]


def _tried(example: Example, chance: float, rng: random.Random) -> str:
    """All parts right with that chance; each forgotten or not by itself."""
    parts = _parts(example)
    return "".join(_moved(part, new, chance ** (1 / len(parts)), rng) for part, new in parts)


def _moved(part: str, new: str, chance: float, rng: random.Random) -> str:
    return new if rng.random() < chance else part


def _parts(example: Example) -> list[tuple[str, str]]:
    """Each part as it stands, and moved on."""
    return list(zip(example.inputs["question"], example.inputs["moved"], strict=False))
