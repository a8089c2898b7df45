"""warm: a short supervised phase before training, so that rewards are neither all 0 nor all 1.

What is shown are a task's demonstrations of its train split, or else its gold outputs. A warm start
depends on the task, the model and the number of steps alone, and on no run's seed: all runs that
are compared begin with the same weights.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from harness.errors import DataError
from harness.types import Example, Prompt, Rollout, Task, Verdict
from trainers.policy import Policy

Shown = tuple[Prompt, str]


@dataclass(frozen=True, kw_only=True)
class WarmUp:
    """How a warm start goes."""

    steps: int
    batch: int = 64
    """Demonstrations of a step."""
    lr: float = 3e-3
    """At first; falls in a straight line to 0."""
    max_grad_norm: float = 1.0


def warm_up(policy: Policy, task: Task, plan: WarmUp) -> float:
    """Teach the policy to say what is shown; gives the mean cost of the last step, nats a token.

    DataError where the task has nothing to show in words.
    """
    weights = policy.parameters()
    optimizer = torch.optim.AdamW(weights, lr=plan.lr, weight_decay=0.0)
    cost = torch.zeros(())
    for step, rollouts in zip(range(plan.steps), _batches(policy, task, plan.batch), strict=False):
        for group in optimizer.param_groups:
            group["lr"] = plan.lr * (1 - step / plan.steps)
        optimizer.zero_grad(set_to_none=True)
        live = policy.review(rollouts, temperature=1.0)
        cost = -(live.logprobs * live.mask).sum() / live.mask.sum().clamp(min=1)
        cost.backward()
        torch.nn.utils.clip_grad_norm_(weights, plan.max_grad_norm)
        optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    policy.refresh()
    return cost.item()


def shown(task: Task, examples: Sequence[Example]) -> list[Shown]:
    """What a warm start is shown; DataError where there is nothing, or it is no text."""
    pairs = [pair for example in examples for pair in _of(task, example)]
    if not pairs:
        raise DataError(f"{task.name} has no train examples, so nothing can be shown")
    for _, said in pairs:
        if not isinstance(said, str):
            raise DataError(
                f"{task.name} shows a {type(said).__name__}, and a warm start needs words"
            )
    return pairs


def _of(task: Task, example: Example) -> Sequence[tuple[Prompt, Any]]:
    if task.demonstrations is not None:
        return task.demonstrations(example)
    return [(task.prompt(example), task.gold(example))]


def _batches(policy: Policy, task: Task, size: int) -> Iterator[list[Rollout]]:
    """Without end: every demonstration once an epoch, in an order that the epoch fixes."""
    pairs = shown(task, task.examples("train"))
    spelled: dict[int, Rollout] = {}

    def rollout(number: int) -> Rollout:
        if number not in spelled:
            prompt, said = pairs[number]
            turn = (prompt, policy.spell(prompt, said))
            spelled[number] = Rollout((turn,), Verdict({}), prompt.example.id, source="expert")
        return spelled[number]

    order: list[int] = []
    epoch = 0
    while True:
        while len(order) < size:
            order += np.random.default_rng((0, epoch)).permutation(len(pairs)).tolist()
            epoch += 1
        now, order = order[:size], order[size:]
        yield [rollout(number) for number in now]
