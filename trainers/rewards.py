"""rewards: what an attempt is worth, out of the scores of its verdict."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from harness.errors import UnknownName
from harness.types import Task, Verdict
from trainers.batch import Batch
from trainers.recipe import Recipe, Run


@dataclass(frozen=True)
class WeighScores:
    """The weighted sum of scores: those of the task's `reward`, unless weights are given."""

    scores: Mapping[str, float] | None = None

    def weights(self, task: Task) -> Mapping[str, float]:
        """Weight of each score that is paid."""
        return task.reward if self.scores is None else self.scores

    def __call__(self, batch: Batch, run: Run) -> Batch:
        """Rewards (N, 1); UnknownName where a verdict lacks a score."""
        weights = self.weights(run.task)
        paid = [[reward(rollout.verdict, weights)] for rollout in batch.rollouts]
        return batch.but(
            rewards=torch.tensor(paid, dtype=torch.float64, device=batch.rewards.device).float()
        )


def paid_scores(recipe: Recipe, task: Task) -> Mapping[str, float] | None:
    """The weights from which a reward can be derived again; None where other stages change it.

    The reward is then float32(fsum(weight x score)), to the bit.
    """
    if len(recipe.rewards) == 1 and isinstance(recipe.rewards[0], WeighScores):
        return recipe.rewards[0].weights(task)
    return None


def totals(batch: Batch) -> list[float]:
    """What each rollout was paid in float32; where steps are paid, their sum."""
    dense = batch.rewards.shape[1] > 1
    return ((batch.rewards * batch.mask) if dense else batch.rewards).sum(1).tolist()


def reward(verdict: Verdict, weights: Mapping[str, float]) -> float:
    """The exact sum of weight x score, rounded once; the order of the weights does not matter."""
    for name in weights:
        if name not in verdict.scores:
            raise UnknownName(name, "the scores of this task", verdict.scores)
    return math.fsum(weight * verdict.scores[name] for name, weight in weights.items())
