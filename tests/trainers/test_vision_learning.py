"""The end-to-end truth for models that see: what is paid is learned, and from the picture alone."""

from __future__ import annotations

from pathlib import Path

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
from trainers.loop import Plan, Training
from trainers.policies.text import TextPolicy
from trainers.policies.vision import open_vision
from trainers.recipe import AdamW
from trainers.recipes.grpo import RECIPE as GRPO
from trainers.samplers import Uniform
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
def test_what_a_picture_shows_is_learned(tmp_path: Path) -> None:
    """A warm start tells it to say a side, and begins to tell which; reward does the rest."""
    policy = open_vision("tiny", Sampling(max_tokens=2), dtype="float32", batch_size=64)
    warm_up(policy, SIDES, WarmUp(steps=48, batch=32, lr=4e-3))
    before = accuracy(policy)
    recipe = GRPO.but(
        samplers=Uniform(prompts=8, rollouts=8), optimizer=AdamW(lr=3e-3), steps=30, max_tokens=2
    )
    plan = Plan(dev_every=0, save_every=100)
    Training(SIDES, recipe, {"solver": policy}, tmp_path, plan).train()
    assert accuracy(policy) > max(0.9, before)
