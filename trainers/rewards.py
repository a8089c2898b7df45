"""rewards: what an attempt is worth, out of the scores of its verdict."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from harness.errors import UnknownName
from harness.types import Task, Verdict
from trainers.batch import Batch
from trainers.recipe import Recipe, Run
from trainers.schedules import Number, at


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


@dataclass(frozen=True)
class PenalizeOverlong:
    """Take up to `penalty` from rollouts that come near the length limit L, in a straight line.

    With B = share x L: 0 up to L - B steps, then penalty x (L - B - T) / B, -penalty at L.
    """

    share: Number = 0.2
    """B / L: DAPO has 4096 of 20480."""
    penalty: Number = 1.0

    def __call__(self, batch: Batch, run: Run) -> Batch:
        """Rewards less what is taken, by the longest turn of each rollout."""
        most = at(run.recipe.max_tokens, run)
        free = most - at(self.share, run) * most
        if free >= most:
            return batch
        longest = [max(said.steps for _, said in rollout.turns) for rollout in batch.rollouts]
        over = [min(max((steps - free) / (most - free), 0.0), 1.0) for steps in longest]
        taken = batch.rewards.new_tensor(over).unsqueeze(1) * at(self.penalty, run)
        run.tally.put("overlong/penalty", taken.mean().item())
        return less(batch, taken)


@dataclass(frozen=True)
class ChargeKL:
    """r - beta x sum_t [log pi(o_t) - log pi_ref(o_t)], as the sampler drew it: KL as a reward.

    The reference is the policy before its first step.
    """

    beta: Number = 0.05
    """0 is no charge at all: no reference is made, and none is reviewed."""

    def __call__(self, batch: Batch, run: Run) -> Batch:
        """Rewards less the charge; steps that nobody drew cost nothing."""
        if self.beta == 0:
            return batch
        with torch.no_grad():
            reference = run.policies["reference"].review(batch.rollouts).logprobs
        drawn = batch.mask & batch.sampled_logprobs.isfinite()
        gap = torch.where(drawn, batch.sampled_logprobs - reference, 0.0)
        run.tally.mean("kl", gap, drawn)
        return less(batch, at(self.beta, run) * gap.sum(1, keepdim=True))


def paid_scores(recipe: Recipe, task: Task) -> Mapping[str, float] | None:
    """The weights from which a reward can be derived again; None where other stages change it.

    The reward is then float32(fsum(weight x score)), to the bit.
    """
    if len(recipe.rewards) == 1 and isinstance(recipe.rewards[0], WeighScores):
        return recipe.rewards[0].weights(task)
    return None


def paying(recipe: Recipe) -> WeighScores:
    """The stage of a recipe that pays scores; the task's own weights where it has none."""
    return next((s for s in recipe.rewards if isinstance(s, WeighScores)), WeighScores())


def paid_apart(batch: Batch, run: Run) -> dict[str, tuple[float, Float[Tensor, "N #T"]]]:
    """What is paid, reward by reward: each score's name to its weight and its values (N, 1).

    What other reward stages added or took stands as `other` with weight 1, if it is not 0.
    """
    paid = paying(run.recipe)
    weighed = paid(batch, run).rewards  # names a score that a verdict lacks
    found = {
        name: (weight, batch.scores[name].unsqueeze(1))
        for name, weight in paid.weights(run.task).items()
    }
    other = batch.rewards - weighed
    return found | ({"other": (1.0, other)} if bool(other.any()) else {})


def outcomes(batch: Batch) -> Float[Tensor, "N 1"]:
    """What each rollout was paid in float32; where steps are paid, their sum."""
    dense = batch.rewards.shape[1] > 1
    return (batch.rewards * batch.mask if dense else batch.rewards).sum(1, keepdim=True)


def totals(batch: Batch) -> list[float]:
    """Outcomes as numbers."""
    return outcomes(batch)[:, 0].tolist()


def less(batch: Batch, taken: Float[Tensor, "N 1"]) -> Batch:
    """Rewards less one number a rollout; where steps are paid, each bears its part."""
    if batch.rewards.shape[1] > 1:
        taken = taken / batch.mask.sum(1, keepdim=True).clamp(min=1)
    return batch.but(rewards=batch.rewards - taken)


def reward(verdict: Verdict, weights: Mapping[str, float]) -> float:
    """The exact sum of weight x score, rounded once; the order of the weights does not matter."""
    for name in weights:
        if name not in verdict.scores:
            raise UnknownName(name, "the scores of this task", verdict.scores)
    return math.fsum(weight * verdict.scores[name] for name, weight in weights.items())
