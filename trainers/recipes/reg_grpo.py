"""reg_grpo: how far answers move from the policy that gave them is regressed on their advantages.

Idea     At the optimum under a KL leash, a reward is beta log(pi / pi_old) plus a constant of its
         prompt. Standardized within the group both unknowns drop out: then log-ratios must equal
         advantages. So the loss is a plain regression, and no step is ever clipped to silence.
Formula  rho_i = sum_t [log pi(o_it) - log pi_old(o_it)], A_i = (r_i - mean r) / std r,
         B_i = (rho_i - mean rho) / max(std rho, floor) within a group of G rollouts;
         loss = mean_i [(A_i - B_i)^2 + beta KL_i]; a group with all A_i = 0 has no first term.
         floor: RegressAdvantages.floor. beta: KLToReference.beta.
Paper    Park et al. 2025, DeepVideo-R1: difficulty-aware Reg-GRPO, arXiv 2506.07464.
Limits   Of the paper's two halves this is the loss; its augmentation of videos by difficulty is not
         here. The paper prints -KL within a loss; a penalty is added. Floor, beta and four epochs
         are ours. At the first update rho = 0, and the floor makes the gradient grpo's, times
         2 / floor and times an answer's length, by which nothing is divided here; the cap on the
         gradient's norm takes the size back. Later only the direction of rho counts where its std
         is above the floor, so KL and lr alone hold its size: beta = 0 is unsafe.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from harness.errors import UsageError
from trainers.advantages import CenterByMean, ScaleByStd
from trainers.batch import Batch
from trainers.losses import KLToReference
from trainers.policy import Live
from trainers.recipe import Run
from trainers.recipes.grpo import RECIPE as GRPO
from trainers.schedules import Number, at


@dataclass(frozen=True)
class RegressAdvantages:
    """(A_i - B_i)^2 with B_i the group's standardized log-ratios of whole rollouts.

    Needs `whole_groups`. Rollouts without weight are nobody's peers.
    """

    floor: Number = 0.05
    """What a group's std of log-ratios, in nats, is at least taken for; above 0."""

    def __call__(self, live: Live, batch: Batch, run: Run) -> Float[Tensor, "N T"]:
        """The same cost at each step of a rollout, so that MeanOverRollouts gives mean_i."""
        if not run.recipe.whole_groups:
            raise UsageError(f"{self!r} compares rollouts: the recipe must have whole_groups=True")
        floor = at(self.floor, run)
        if floor == 0:
            raise UsageError(f"{self!r} divides by 0 at step {run.step}; give a floor above 0")
        own = batch.weights.sum(1, keepdim=True)
        counted = own > 0
        peers = batch.peers(torch.where(counted[:, 0], batch.group, -1))
        credit = (batch.advantages * batch.weights).sum(1, keepdim=True) / own.clamp(min=1e-30)
        moved = _log_ratio(live, batch)
        moved = moved - peers.mean(moved)
        # clamped before the root, whose slope at 0 is infinite
        std = peers.mean(moved**2).clamp(min=floor**2).sqrt()
        run.tally.mean("regression/log_ratio_std", std.expand_as(live.logprobs), batch.mask)
        taught = counted & (peers.sum(credit**2) > 0)
        return torch.where(taught, (credit - moved / std) ** 2, 0.0).expand_as(live.logprobs)


def _log_ratio(live: Live, batch: Batch) -> Float[Tensor, "N 1"]:
    """log pi / pi_old of whole rollouts, in nats; importance weighs its gradient alone."""
    gap = (live.logprobs - batch.old_logprobs).masked_fill(~batch.mask, 0.0)
    here = gap.detach()
    return (here + batch.importance * (gap - here)).sum(1, keepdim=True)


RECIPE = GRPO.but(
    name="reg_grpo",
    paper="arXiv:2506.07464",
    advantages=(CenterByMean(), ScaleByStd(eps=1e-8)),
    losses=(RegressAdvantages(), KLToReference(beta=0.04)),
    epochs=4,
    whole_groups=True,
)
