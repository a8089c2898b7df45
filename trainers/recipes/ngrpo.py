"""ngrpo: a perfect attempt that nobody made joins every group, so all-wrong groups teach too.

Idea     Where all attempts fail, GRPO learns nothing. Count a virtual best reward in mean and std:
         all-wrong groups then have negative advantages, and groups in between lean to the negative.
         Since that explores, clip the negative side tighter and the positive side looser.
Formula  A_i = (r_i - mu) / (sd + eps), mu and sd (sample std) over the group's rewards and M times
         r_max; alone in its group mu = 0, sd = 1. All wrong: A = -1 / sqrt(G + 1) with M = 1. loss
         as grpo's with low = 0.16, high = 0.24, mean over steps. M, r_max, eps:
         CalibrateWithVirtualBest.
Paper    Nan et al. 2025, NGRPO, arXiv 2509.18851.
Limits   r_max is what the task pays when all its scores are 1; a reward above it is an error, since
         solved groups would then be pushed. The virtual attempts are in no mean of the loss and in
         no logged number. Solved groups are left out. Leaving out all flat groups, as dapo does,
         would take away what this is about. Clipping begins with --set epochs=2. Without virtual
         attempts (copies=0) the advantages are grpo's with the sample std.
"""

from dataclasses import dataclass

import torch

from harness.errors import UsageError
from trainers.batch import Batch
from trainers.losses import Clipped
from trainers.recipe import Run
from trainers.recipes.grpo import RECIPE as GRPO
from trainers.rewards import paying
from trainers.weights import DropFlatGroups, MeanOverSteps


@dataclass(frozen=True)
class CalibrateWithVirtualBest:
    """(r - mu) / (sd + eps) of the group and so many virtual rollouts of the best reward."""

    best: float | None = None
    """None: the sum of the positive weights of what is paid, as scores are at most 1."""
    copies: int = 1
    eps: float = 1e-6

    def __call__(self, batch: Batch, run: Run) -> Batch:
        """UsageError where a reward is above the best one."""
        best = self.best
        if best is None:
            best = sum(max(weight, 0.0) for weight in paying(run.recipe).weights(run.task).values())
        rewards = batch.rewards.double()
        if float(rewards.max()) > best + 1e-6:
            raise UsageError(
                f"a reward of {float(rewards.max()):g} is above the virtual best of {best:g}; give "
                "the largest that there is, as in --set advantages.CalibrateWithVirtualBest.best=2"
            )
        peers = batch.peers()
        real = peers.count(rewards)
        count = real + self.copies
        mean = (peers.sum(rewards) + self.copies * best) / count
        square = peers.sum((rewards - mean) ** 2) + self.copies * (best - mean) ** 2
        std = (square / (count - 1).clamp(min=1)).sqrt()
        mean, std = torch.where(real > 1, mean, 0.0), torch.where(real > 1, std, 1.0)
        return batch.but(advantages=((rewards - mean) / (std + self.eps)).float())


RECIPE = GRPO.but(
    name="ngrpo",
    home="ladders/rare",
    paper="arXiv:2509.18851",
    advantages=(CalibrateWithVirtualBest(),),
    weights=(DropFlatGroups(failed=False), MeanOverSteps()),
    losses=(Clipped(low=0.16, high=0.24),),
)
