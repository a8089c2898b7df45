"""unlikely: right answers that the policy thought unlikely are paid more than likely ones.

Idea     GRPO raises most what was likely already: pass@1 grows and pass@many shrinks. Take a little
         reward from right answers, the more the likelier they are in their group, and make
         more than one update on the same rollouts.
Formula  r'_i = r_i (1 - beta u_i), u_i = rank_i / G, rank 0 the least likely of its group by the
         mean log-probability of its steps; A_i = (r'_i - mean) / (std + eps), sample std. Groups
         that are all right or all wrong are left out. beta: RewardUnlikely.
Paper    He et al. 2025, Rewarding the Unlikely, arXiv 2506.02355.
Limits   All of a group is ranked, wrong answers too. Equally likely answers share their mean rank;
         the paper's code ranks them as they come. Log-probabilities are the sampler's, which here
         is the policy of the update; where its precision differs or tokens are cut off (top_p),
         --set rewards.RewardUnlikely.logprobs=reviewed reads them again. The code asks on until
         256 answers are there: --set 'rollouts=(RefillFlatGroups(),)'. It skips updates of a norm
         above 20, where here the gradient is scaled down. beta = 0 is grpo with the sample std,
         without flat groups.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from harness.errors import UsageError
from trainers.advantages import CenterByMean, ScaleByStd
from trainers.batch import Batch
from trainers.losses import Clipped, KLToReference
from trainers.recipe import Run
from trainers.recipes.grpo import RECIPE as GRPO
from trainers.schedules import Number, at
from trainers.weights import DropFlatGroups, MeanOverRollouts


@dataclass(frozen=True)
class RewardUnlikely:
    """r (1 - beta u) for rewards above 0; u from 0, the group's least likely, to (G - 1) / G."""

    beta: Number = 0.25
    logprobs: Literal["sampled", "reviewed"] = "sampled"
    ties: float = 1e-5
    """Nats by which mean log-probabilities of equal answers may differ."""

    def __call__(self, batch: Batch, run: Run) -> Batch:
        """UsageError where nobody told how likely a step was."""
        likely, peers = self._likely(batch, run), batch.peers()
        taken = at(self.beta, run) * peers.rank(likely, self.ties) / peers.count(likely)
        return batch.but(rewards=batch.rewards - batch.rewards.clamp(min=0) * taken)

    def _likely(self, batch: Batch, run: Run) -> Float[Tensor, "N 1"]:
        """Mean log-probability of the policy's own steps; 0 for an empty answer."""
        logprobs = batch.sampled_logprobs
        if self.logprobs == "reviewed":
            with torch.no_grad():
                logprobs = run.policies[batch.rollouts[0].role].review(batch.rollouts).logprobs
        if bool((batch.mask & ~logprobs.isfinite()).any()):
            raise UsageError(
                "RewardUnlikely: the sampler did not tell how likely each step was; --set "
                "rewards.RewardUnlikely.logprobs=reviewed asks the policy"
            )
        total = torch.where(batch.mask, logprobs, 0.0).sum(1, keepdim=True)
        return total / batch.mask.sum(1, keepdim=True).clamp(min=1)


RECIPE = GRPO.but(
    name="unlikely",
    home="ladders/rare",
    paper="arXiv:2506.02355",
    rewards=(*GRPO.rewards, RewardUnlikely(beta=0.25)),
    advantages=(CenterByMean(), ScaleByStd(eps=1e-6, ddof=1)),
    weights=(DropFlatGroups(), MeanOverRollouts()),
    losses=(Clipped(), KLToReference(beta=0.1)),
    epochs=2,
)
