"""mc_grpo: center on the group's median, so that one lucky answer cannot flip the others' signs.

Idea     With few rollouts the mean is noisy, and a rollout that is better than the typical one may
         come out below it. Sample one rollout more, so that the group is odd; center on the median,
         scale by the median distance from it, and leave the median rollout itself out.
Formula  A_i = (r_i - m) / (max(MAD, floor) + eps) (G + 1) / n, m = median r, MAD = median |r - m|,
         n = #{i: |A_i| > 1e-6}; the pivot, one i a group with r_i = m, has weight 0; loss as in
         grpo over the others. G + 1: samplers.rollouts. eps, floor, scale: ScaleByDeviation.
         (G + 1) / n: ShareAmongNonzero, of the released code; not in the paper's formula:
         --set 'advantages=(CenterByMedian(), ScaleByDeviation())'.
Paper    MC-GRPO, 2026, arXiv 2601.22582; code: lotusroot-kim/MC-GRPO.
Limits   Where most rewards of a group are the same, as binary ones are, MAD is 0: the minority is
         pushed alone, by thousands, and only the clipped gradient bounds it. A floor or scale=std
         tames that. An even group (a fault, an even setting) has the mean of the middle two as its
         median; none of its rollouts is the median, and the nearest is left out. With scale=std, in
         groups whose mean is their median, the advantages are those of grpo.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from trainers.batch import Batch, Peers
from trainers.recipe import Run
from trainers.recipes.grpo import RECIPE as GRPO
from trainers.samplers import Uniform

NONZERO = 1e-6


@dataclass(frozen=True)
class CenterByMedian:
    """A_i = r_i - median r of the group."""

    def __call__(self, batch: Batch, run: Run) -> Batch:
        """Advantages of the rewards' shape."""
        return batch.but(advantages=batch.rewards - batch.peers().median(batch.rewards))


@dataclass(frozen=True)
class ScaleByDeviation:
    """A_i / (deviation + eps)."""

    scale: Literal["mad", "std", "none"] = "mad"
    """mad: median absolute deviation from the median. std: of the population. none: 1."""
    eps: float = 1e-3
    floor: float = 0.0
    """The least deviation that is divided by."""

    def __call__(self, batch: Batch, run: Run) -> Batch:
        """A group whose rewards are all the same keeps advantages of 0."""
        if self.scale == "none":
            return batch
        peers, rewards = batch.peers(), batch.rewards
        spread = peers.std(rewards) if self.scale == "std" else _deviation(peers, rewards)
        return batch.but(advantages=batch.advantages / (spread.clamp(min=self.floor) + self.eps))


@dataclass(frozen=True)
class ShareAmongNonzero:
    """A_i (G + 1) / n, n of the group's G + 1 advantages being nonzero: they stand for all."""

    def __call__(self, batch: Batch, run: Run) -> Batch:
        """Advantages of the same sum over n as over G + 1 before."""
        peers, some = batch.peers(), (batch.advantages.abs() > NONZERO).float()
        share = peers.mean(some)
        raised = batch.advantages / torch.where(share > 0, share, 1.0)
        return batch.but(advantages=torch.where(some > 0, raised, batch.advantages))


@dataclass(frozen=True)
class DropPivot:
    """Weight 0 for one rollout a group: of those nearest to the median, the earliest attempt."""

    def __call__(self, batch: Batch, run: Run) -> Batch:
        """All of its costs go, a KL term's too; its reward stays in the log."""
        steps = batch.mask.shape[1]
        distance = batch.advantages.abs().amax(1, keepdim=True)
        rank = [(r.attempt, r.example.id) for r in batch.rollouts]
        order = sorted(range(len(rank)), key=rank.__getitem__)
        place = torch.empty(len(order), dtype=torch.long, device=distance.device)
        place[order] = torch.arange(len(order), device=distance.device)
        ranked = torch.cat([distance, place.unsqueeze(1).to(distance.dtype)], 1)
        keep = batch.peers().each(ranked, _all_but_the_smallest)[:, :1].expand(-1, steps)
        return batch.but(weights=batch.weights * keep)


def _deviation(peers: Peers, x: Float[Tensor, "N #T"]) -> Float[Tensor, "N #T"]:
    return peers.median((x - peers.median(x)).abs())


def _all_but_the_smallest(rows: Float[Tensor, "G 2"]) -> Float[Tensor, "G 2"]:
    """0 for the row of the smallest distance, then of the earliest place; 1 for the others."""
    distance, place = rows.unbind(1)
    nearest = place.masked_fill(distance > distance.min(), torch.inf).argmin()
    return torch.ones_like(rows).index_fill(0, nearest, 0.0)


RECIPE = GRPO.but(
    name="mc_grpo",
    home="ladders/graded",
    paper="arXiv:2601.22582",
    samplers=Uniform(prompts=8, rollouts=9),
    advantages=(CenterByMedian(), ScaleByDeviation(), ShareAmongNonzero()),
    weights=(DropPivot(), *GRPO.weights),
)
