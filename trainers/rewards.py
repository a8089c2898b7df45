"""rewards: what an attempt is worth, out of the scores of its verdict."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from harness.errors import UnknownName
from harness.types import Verdict
from trainers.batch import Batch
from trainers.recipe import Run


@dataclass(frozen=True)
class WeighScores:
    """The weighted sum of scores: those of the task's `reward`, unless weights are given."""

    scores: Mapping[str, float] | None = None

    def __call__(self, batch: Batch, run: Run) -> Batch:
        """Rewards (N, 1); UnknownName where a verdict lacks a score."""
        weights = run.task.reward if self.scores is None else self.scores
        paid = [[reward(rollout.verdict, weights)] for rollout in batch.rollouts]
        return batch.but(
            rewards=torch.tensor(paid, dtype=torch.float64, device=batch.rewards.device).float()
        )


def reward(verdict: Verdict, weights: Mapping[str, float]) -> float:
    """The exact sum of weight x score, rounded once; the order of the weights does not matter."""
    for name in weights:
        if name not in verdict.scores:
            raise UnknownName(name, "the scores of this task", verdict.scores)
    return math.fsum(weight * verdict.scores[name] for name, weight in weights.items())
