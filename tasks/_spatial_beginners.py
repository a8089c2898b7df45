"""What a beginner says of a short list of objects: the demonstrations of a warm start.

A beginner keeps the form, mostly answers rightly by looking at the list, and reasons for the look
of it: it repeats the question as if that were a fact. How it answers does not depend on what it
reasoned, so that a model which was shown a few hundred of these replies contradicts itself often,
and is paid no less for that by a reward for right answers alone.
"""

from __future__ import annotations

import random
from collections.abc import Mapping

from harness import Example, Prompt
from tasks.spatial_scenes.questions import OPPOSITE

SHOWN = 4
"""Replies to each example."""
RIGHT = 0.8
"""Chance of a right answer."""
REPEATS = 0.6
"""Chance that a relation is claimed because it was asked for; otherwise it is the true one."""
ANSWERS: Mapping[str, str] = {"yes": "no", "no": "yes"}


def demonstrations(example: Example, prompt: Prompt) -> list[tuple[Prompt, str]]:
    """What a beginner says about a sideways relation, a few times over."""
    rng = random.Random(f"spatial/beginner/{example.id}")
    return [(prompt, reply(example, rng)) for _ in range(SHOWN)]


def reply(example: Example, rng: random.Random) -> str:
    """One reply in the form that is asked for."""
    question = example.inputs["question"]
    claimed = question["rel"]
    if example.target == "no" and rng.random() >= REPEATS:
        claimed = OPPOSITE[claimed]
    answer = example.target if rng.random() < RIGHT else ANSWERS[example.target]
    claim = f"the {question['a']} is {claimed} the {question['b']}"
    return f"<think>{claim}</think><answer>{answer}</answer>"
