"""The end-to-end truth for models that see: what a picture shows is learned."""

from __future__ import annotations

import numpy as np
import pytest

from harness.models import Sampling
from harness.play import play
from harness.types import (
    Completion,
    Example,
    Message,
    Metric,
    Prompt,
    Rollout,
    Split,
    Task,
    Verdict,
)
from trainers.policies.text import TextPolicy
from trainers.policies.vision import open_vision
from trainers.warm import WarmUp, warm_up


def _sides(split: Split) -> list[Example]:
    """Where a dark square is: its corner, in pixels of a white image of 56."""
    offset = {"train": 0, "dev": 1, "test": 2}[split]
    return [
        Example(f"{x},{y}", {"x": x, "y": y}, "L" if x < 20 else "R")
        for x in (*range(0, 12, 2), *range(28, 40, 2))
        for y in range(offset, 40, 6)
    ]


def _asked(example: Example) -> Prompt:
    image = np.full((56, 56, 3), 255, np.uint8)
    x, y = example.inputs["x"], example.inputs["y"]
    image[y : y + 16, x : x + 16] = 0
    return Prompt(example, (Message("user", (image, "Side?")),))


def _judged(example: Example, completion: Completion) -> Verdict:
    said = str(completion.output)[:1]
    right = said == example.target
    return Verdict({"correct": float(right)}, said, "ok" if right else "wrong")


def _correct(row: list[Verdict]) -> float:
    return sum(verdict.scores["correct"] for verdict in row) / len(row)


SIDES = Task(
    name="sides/say",
    version=1,
    examples=_sides,
    prompt=_asked,
    verify=_judged,
    gold=lambda example: example.target,
    metrics=(Metric("correct", each=_correct),),  # type: ignore[arg-type]
    reward={"correct": 1.0},
)


def accuracy(policy: TextPolicy) -> float:
    policy.sampling = Sampling(max_tokens=2, seed=11)
    prompts = [SIDES.prompt(example).but(rollouts=4) for example in SIDES.examples("test")]
    found = [each for each in play(SIDES, prompts, policy) if isinstance(each, Rollout)]
    return sum(rollout.verdict.scores["correct"] for rollout in found) / len(found)


@pytest.mark.slow
def test_what_a_picture_shows_is_learned() -> None:
    policy = open_vision("tiny", Sampling(max_tokens=2), dtype="float32", batch_size=64)
    found = [accuracy(policy)]
    while found[-1] < 0.8 and len(found) < 8:
        warm_up(policy, SIDES, WarmUp(steps=12, batch=32, lr=3e-3))
        found.append(accuracy(policy))
    assert found[0] < 0.1
    assert found[-1] > 0.8, found
