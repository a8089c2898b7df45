"""judged, a_run, digits: the few helpers of the trainers' tests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import torch

from harness.models import Sampling
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
from trainers.batch import Batch
from trainers.policies.text import TextPolicy, open_text
from trainers.recipe import Policies, Recipe, Run
from trainers.recipes.grpo import RECIPE as GRPO
from trainers.rewards import WeighScores
from trainers.samplers import Uniform


def rollout(
    reward: float = 0.0, *, group: str = "a", attempt: int = 0, steps: int = 3, **more: Any
) -> Rollout:
    """One judged attempt of so many steps, whose score `correct` is the reward."""
    example = Example(group, {"q": group}, "1")
    prompt = Prompt(example, (Message("user", group),), attempt=attempt)
    logprobs = np.full(steps, -1.0, np.float32)
    said = Completion("x" * steps, steps=steps, logprobs=logprobs, **more)
    verdict = Verdict({"correct": reward}, reason="ok" if reward == 1 else "wrong")
    return Rollout(((prompt, said),), verdict, group, attempt=attempt)


def judged(*groups: float | Sequence[float], steps: Sequence[int] | int = 3) -> Batch:
    """A batch with these rewards: one group of numbers, or several lists of them."""
    lists = [groups] if all(isinstance(g, int | float) for g in groups) else groups
    lengths = iter([steps] * 1000 if isinstance(steps, int) else steps)
    rollouts = [
        rollout(float(reward), group=f"g{number}", attempt=attempt, steps=next(lengths))
        for number, rewards in enumerate(lists)
        for attempt, reward in enumerate(rewards)  # type: ignore[arg-type]
    ]
    longest = max(r.steps for r in rollouts)
    mask = torch.arange(longest) < torch.tensor([[r.steps] for r in rollouts])
    batch = Batch.of(rollouts, mask)
    return batch.but(rewards=batch.scores["correct"].unsqueeze(1))


def credited(recipe: Recipe, batch: Batch, run: Run | None = None) -> Batch:
    """The batch after the recipe's advantages and weights."""
    run = run or a_run(recipe, policy=still())
    for stage in (*recipe.advantages, *recipe.weights):
        batch = stage(batch, run)
    return batch


def a_run(recipe: Recipe = GRPO, *, task: Task | None = None, policy: Any = None) -> Run:
    """A run at step 0, on a tiny policy and digits unless others are given."""
    policy = policy if policy is not None else tiny()
    return Run(task=task or digits(), recipe=recipe, policies=Policies({"solver": policy}))


def tiny(*, max_tokens: int = 4, seed: int = 0, **settings: Any) -> TextPolicy:
    """A tiny text policy in float32."""
    sampling = Sampling(max_tokens=max_tokens)
    return open_text("tiny", sampling, dtype="float32", seed=seed, batch_size=64, **settings)


@cache
def still() -> TextPolicy:
    """A tiny policy for tests that neither ask it nor change it."""
    return tiny()


@cache
def digits(reward: str = "close") -> Task:
    """Say the digit that is shown; `close` pays every digit by its nearness."""

    def examples(split: Split) -> list[Example]:
        offset = {"train": 0, "dev": 1, "test": 2}[split]
        return [
            Example(f"{letter}{digit}", {"q": f"{letter * (offset + 1)}{digit}"}, digit)
            for letter in "abcd"
            for digit in range(10)
        ]

    def verify(example: Example, completion: Completion) -> Verdict:
        text = str(completion.output)[:1]
        if not (text.isascii() and text.isdigit()):
            return Verdict({"correct": 0.0, "close": 0.0}, reason="no_answer")
        right = int(text) == example.target
        close = 1 - abs(int(text) - example.target) / 10
        reason = "ok" if right else "wrong"
        return Verdict({"correct": float(right), "close": close}, text, reason)

    def correct(row: Sequence[Verdict]) -> float:
        return sum(verdict.scores["correct"] for verdict in row) / len(row)

    def close(row: Sequence[Verdict]) -> float:
        return sum(verdict.scores["close"] for verdict in row) / len(row)

    return Task(
        name="digits/say",
        version=1,
        examples=examples,
        prompt=lambda example: Prompt(example, (Message("user", example.inputs["q"]),)),
        verify=verify,
        gold=lambda example: str(example.target),
        metrics=(Metric("correct", each=correct), Metric("close", each=close)),
        reward={reward: 1.0},
    )


def short(recipe: Recipe, **changes: Any) -> Recipe:
    """The recipe with few steps of few and short attempts."""
    if isinstance(recipe.samplers, Uniform):
        recipe = recipe.but(samplers=replace(recipe.samplers, prompts=3, rollouts=4))
    return recipe.but(**{"steps": 2, "max_tokens": 3, **changes})


def set_batch(answers: Sequence[Sequence[str | None]], *, set: str = "s", steps: int = 3) -> Batch:
    """A set as a batch: a row of `answers` a phrasing, a group a row; f1 is 0 for all."""
    rollouts = [
        phrased(text, set=set, number=i, attempt=j, steps=steps)
        for i, row in enumerate(answers)
        for j, text in enumerate(row)
    ]
    return Batch.of(rollouts, torch.ones((len(rollouts), steps), dtype=torch.bool))


def phrased(
    text: str | None, *, set: str = "s", number: int = 0, attempt: int = 0, steps: int = 3
) -> Rollout:
    """An attempt at one phrasing of a set, with its answer read."""
    example = Example(f"{set}/{number}", {"q": text}, "", {"set": set})
    prompt = Prompt(example, (Message("user", "?"),), attempt=attempt)
    said = Completion(text, steps=steps, logprobs=np.full(steps, -1.0, np.float32))
    verdict = Verdict({"f1": 0.0, "correct": 0.0}, text, "wrong")
    return Rollout(((prompt, said),), verdict, example.id, attempt=attempt, set=set)


class Paid:
    """Plays prompts without a model: what each attempt is paid is a function of its prompt."""

    def __init__(self, reward: Callable[[Prompt], float]) -> None:
        self.reward = reward
        self.asked: list[list[Prompt]] = []
        """Of each call, the attempts."""

    def __call__(self, prompts: Sequence[Prompt]) -> list[Rollout]:
        self.asked.append(
            [p.but(rollouts=1, attempt=p.attempt + n) for p in prompts for n in range(p.rollouts)]
        )
        return [self.judged(prompt) for prompt in self.asked[-1]]

    def judged(self, prompt: Prompt) -> Rollout:
        reward = self.reward(prompt)
        verdict = Verdict({"correct": reward}, reason="ok" if reward == 1 else "wrong")
        said = Completion(f"answer {prompt.attempt}", steps=1, logprobs=np.zeros(1, np.float32))
        return Rollout(((prompt, said),), verdict, group=prompt.example.id, attempt=prompt.attempt)


CORRECT = (WeighScores({"correct": 1.0}),)
"""What `Paid` and `judged` pay."""


def asked(*ids: str, rollouts: int = 1, **tags: Any) -> list[Prompt]:
    """A prompt for each name."""
    examples = [Example(id, {"q": id}, "1", tags) for id in ids]
    return [Prompt(e, (Message("user", e.id),), rollouts=rollouts) for e in examples]
