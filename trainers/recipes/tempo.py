"""tempo: steps at which a group's answers part get credit for what became of each branch.

Idea     The answers of a group share beginnings, so they form a tree. The mean reward of all that
         go through a node is its value, and a step is worth what it changes in value: credit for
         single steps, without a critic and without further samples.
Formula  V(s) = mean reward of the group's rollouts that begin with s; A_it = [(r_i - mean r) + gain
         (V(s_t+1) - V(s_t))] / std r, sample std; std r = 0: all 0. sum_t of the differences is
         r_i - mean r. gain: CreditByPrefixTree.
Paper    Tran et al. 2025, TEMPO, arXiv 2509.18314.
Limits   No code was published; the formula is put together from descriptions. Where an answer is
         alone on its branch it is grpo with the sample std, so log `tree/branching`, the share of
         steps at which the value changes. Dividing the differences by their own std is another
         method: --set advantages.CreditByPrefixTree.scale=gains. Advantages are larger than grpo's:
         tune the learning rate of both before one is called faster.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from trainers.batch import Batch
from trainers.prefixes import value_gains
from trainers.recipe import Run
from trainers.recipes.grpo import RECIPE as GRPO
from trainers.rewards import outcomes
from trainers.schedules import Number, at


@dataclass(frozen=True)
class CreditByPrefixTree:
    """[(r - mean r) + gain (V after the step - V before it)] / std r, by steps, not by text."""

    gain: Number = 1.0
    scale: Literal["rewards", "gains"] = "rewards"
    """`gains`: the differences are divided by their own std over the group's steps."""

    def __call__(self, batch: Batch, run: Run) -> Batch:
        """Advantages (N, T). An outcome is credited; rewards of steps are added up."""
        paid, peers = outcomes(batch), batch.peers()
        taken = run.policies[batch.rollouts[0].role].choices(batch.rollouts)
        gains = value_gains(batch, taken, paid)
        std = peers.std(paid, ddof=1)
        gained = std if self.scale == "rewards" else _std(batch, gains)
        safe, gained = (torch.where(x > 0, x, torch.inf) for x in (std, gained))
        credit = (paid - peers.mean(paid)) / safe + at(self.gain, run) * gains / gained
        run.tally.mean("tree/branching", (gains != 0).float(), batch.mask)
        return batch.but(advantages=torch.where(batch.mask, credit, 0.0))


def _std(batch: Batch, x: Float[Tensor, "N T"]) -> Float[Tensor, "N 1"]:
    """Sample std over all steps of the group."""
    peers = batch.peers()
    steps = peers.sum(batch.mask.sum(1, keepdim=True).float())
    mean = peers.sum((x * batch.mask).sum(1, keepdim=True)) / steps.clamp(min=1)
    square = peers.sum(((x - mean) ** 2 * batch.mask).sum(1, keepdim=True))
    return (square / (steps - 1).clamp(min=1)).sqrt()


RECIPE = GRPO.but(
    name="tempo",
    home="ladders/prefix",
    paper="arXiv:2509.18314",
    advantages=(CreditByPrefixTree(),),
)
