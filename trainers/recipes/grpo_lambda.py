"""grpo_lambda: a length penalty only in the groups of a batch that are answered best.

Idea     A penalty on length everywhere makes a model that is often wrong brief and wrong, and its
         accuracy collapses. Rank the groups of a batch by their share of right answers; only in the
         top share lambda do right answers pay for their length, the others learn to be right.
Formula  In the top max(1, ceil(lambda K)) of K groups, r_i = y_i (1 - alpha sigmoid(z_i)),
         z_i = (T_i - mean T) / std T over the group's right answers (std 1 where it is 0 or one is
         right); elsewhere r_i = y_i. A_i = (r_i - mean r) / (std r + eps), loss as in grpo.
         lambda, alpha: SwitchLengthPenalty.share, alpha. mode=threshold: groups of that share of
         right answers and more, however many.
Paper    Stable Reinforcement Learning for Efficient Reasoning, 2025, arXiv 2505.18086.
Limits   lambda is the paper's, read off a figure; alpha = 0.6 is that of circulating code, not
         confirmed. In a group that is all right alpha cancels against std: the penalty, its only
         signal, has full strength. With few groups ceil makes lambda larger than asked. Which of
         equally good groups are penalized is drawn anew in every step. Std is the sample's. With
         alpha=0 it is grpo with --set advantages.ScaleByStd.ddof=1 advantages.ScaleByStd.eps=1e-6.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float64
from torch import Tensor

from harness.digests import digest
from trainers.advantages import CenterByMean, ScaleByStd
from trainers.batch import Batch
from trainers.recipe import Run
from trainers.recipes.grpo import RECIPE as GRPO
from trainers.rollouts import solved
from trainers.schedules import Number, at

ROUNDING = 1e-6
"""Steps: a smaller std is that of equal lengths."""


@dataclass(frozen=True)
class SwitchLengthPenalty:
    """Right answers of the best groups lose up to alpha of their reward, the longest ones most."""

    share: Number = 0.2
    """Of the groups in the batch, rounded up, at least one."""
    alpha: Number = 0.6
    mode: Literal["top_share", "threshold"] = "top_share"
    threshold: float = 0.75
    """Least share of right answers in a group that is penalized, in that mode."""

    def __call__(self, batch: Batch, run: Run) -> Batch:
        """Rewards of the same shape; wrong answers keep theirs."""
        peers = batch.peers()
        right = torch.tensor([[solved(r)] for r in batch.rollouts]).double()
        right = right.to(batch.rewards.device)
        accuracy = peers.mean(right)
        chosen = self._chosen(batch, accuracy, run)
        length = right.new_tensor([[r.steps] for r in batch.rollouts])
        share = torch.where(accuracy > 0, accuracy, 1.0)
        gap = length - peers.mean(length * right) / share
        std = (peers.mean(gap**2 * right) / share).sqrt()
        z = gap / torch.where(std > ROUNDING, std, 1.0)
        factor = (1 - at(self.alpha, run) * torch.sigmoid(z)).to(batch.rewards.dtype)
        paying = chosen & (right > 0)
        run.tally.put("length_penalty/groups", len(batch.group[chosen[:, 0]].unique()))
        return batch.but(rewards=torch.where(paying, batch.rewards * factor, batch.rewards))

    def _chosen(self, batch: Batch, accuracy: Float64[Tensor, "N 1"], run: Run) -> Tensor:
        """(N, 1): whether the rollout's group is penalized."""
        if self.mode == "threshold":
            return accuracy >= self.threshold
        known = dict(zip(batch.group.tolist(), accuracy[:, 0].tolist(), strict=True))
        names = dict(zip(batch.group.tolist(), (r.group for r in batch.rollouts), strict=True))
        lots = {number: digest([run.seed, run.step, names[number]]) for number in known}
        ranked = sorted(known, key=lambda number: (-known[number], lots[number]))
        most = max(1, math.ceil(at(self.share, run) * len(ranked) - 1e-9))
        best = torch.tensor(ranked[:most], device=batch.group.device)
        return torch.isin(batch.group, best).unsqueeze(1)


RECIPE = GRPO.but(
    name="grpo_lambda",
    home="ladders/wordy",
    paper="arXiv:2505.18086",
    rewards=(*GRPO.rewards, SwitchLengthPenalty(share=0.2, alpha=0.6)),
    advantages=(CenterByMean(), ScaleByStd(eps=1e-6, ddof=1)),
)
