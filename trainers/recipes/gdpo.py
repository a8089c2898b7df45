"""gdpo: each reward is compared within its group before rewards are added up.

Idea     A sum of several rewards hides which of them an attempt earned, and a reward of small scale
         drowns in one of large scale. Normalize each reward by itself, add up, and normalize once
         more over the batch.
Formula  A^k_i = (r^k_i - mean r^k) / (std r^k + eps) within the group; A_i = sum_k w_k A^k_i; then
         (A_i - mean A) / (std A + eps) over the whole batch; sample std. w: the weights of
         WeighScores. eps: NormalizeEachScore.
Paper    Liu et al. 2026, GDPO, arXiv 2601.05242.
Limits   A weight no longer means points of a score, but how much its comparison counts. A reward
         that hardly varies is stretched as far as the others: floor bounds that. Scores of 0 or 1
         with one spread still tie, (1, 0) like (0, 1). What other reward stages take is a reward of
         its own. A score that a verdict lacks is an error; the paper's code takes it for 0. eps is
         that of its TRL build; that of its verl build normalizes over steps, so that long answers
         weigh more: --set advantages.NormalizeEachScore.eps=1e-6
         advantages.NormalizeEachScore.over=steps. With one reward it is grpo with the sample std.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from harness.errors import UnknownName
from trainers.batch import Batch
from trainers.recipe import Run
from trainers.recipes.grpo import RECIPE as GRPO
from trainers.rewards import paid_apart

TINY = 1e-30
"""Flat groups are 0, also with eps = 0."""


@dataclass(frozen=True)
class NormalizeEachScore:
    """Every paid score centered and scaled in its group, weighed, added up, normalized over all."""

    eps: float = 1e-4
    over: Literal["rollouts", "steps"] = "rollouts"
    """What is normalized over the batch."""
    scaled: bool = True
    """False: scores are centered in their groups, not divided by their std."""
    floor: float = 0.0
    """A score's std in a group counts as at least this."""
    given: Mapping[str, str] = field(default_factory=dict[str, str])
    """A score to the score without which it is not paid, as {"short": "correct"}."""
    threshold: float = 1.0
    """From which on that other score counts as met."""

    def __call__(self, batch: Batch, run: Run) -> Batch:
        """Advantages (N, 1). One reward alone is not normalized over the batch."""
        paid = paid_apart(batch, run)
        total = torch.zeros_like(batch.rewards)
        for name, (weight, score) in paid.items():
            total = total + weight * self._normalized(self._met(name, score, batch), batch)
        if len(paid) == 1:
            return batch.but(advantages=total)
        return batch.but(advantages=self._whitened(total, batch))

    def _met(self, name: str, score: Float[Tensor, "N #T"], batch: Batch) -> Float[Tensor, "N #T"]:
        """The score, or 0 where the one that it depends on is missed."""
        if name not in self.given:
            return score
        if self.given[name] not in batch.scores:
            raise UnknownName(self.given[name], "the scores of this task", batch.scores)
        met = batch.scores[self.given[name]].unsqueeze(1) >= self.threshold
        return torch.where(met, score, 0.0)

    def _normalized(self, score: Float[Tensor, "N #T"], batch: Batch) -> Float[Tensor, "N #T"]:
        peers = batch.peers()
        centered = score - peers.mean(score)
        std = peers.std(score, ddof=1).clamp(min=self.floor)
        return centered / (std + self.eps).clamp(min=TINY) if self.scaled else centered

    def _whitened(self, total: Float[Tensor, "N #T"], batch: Batch) -> Float[Tensor, "N #T"]:
        """Flat groups take part as zeros."""
        steps = batch.mask.sum(1, keepdim=True) if self.over == "steps" else batch.mask.new_ones(1)
        often = (steps / total.shape[1]).double().expand_as(total)
        count, wide = often.sum(), total.double()
        mean = (wide * often).sum() / count.clamp(min=1)
        square = ((wide - mean) ** 2 * often).sum() / (count - 1).clamp(min=1)
        return ((wide - mean) / (square.sqrt() + self.eps).clamp(min=TINY)).float()


RECIPE = GRPO.but(
    name="gdpo",
    home="ladders/conflict",
    paper="arXiv:2601.05242",
    advantages=(NormalizeEachScore(),),
)
