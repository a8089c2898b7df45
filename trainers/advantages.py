"""advantages: who gets the credit. Stages that turn rewards into advantages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from trainers.batch import Batch
from trainers.recipe import Run
from trainers.rewards import outcomes


@dataclass(frozen=True)
class CenterByMean:
    """A_i = r_i - mean r of the group. Alone in its group: 0."""

    def __call__(self, batch: Batch, run: Run) -> Batch:
        """Advantages of the rewards' shape."""
        return batch.but(advantages=batch.rewards - batch.peers().mean(batch.rewards))


@dataclass(frozen=True)
class CenterByOthers:
    """A_i = r_i - mean of the others' r = G / (G - 1) (r_i - mean r). Alone in its group: 0."""

    def __call__(self, batch: Batch, run: Run) -> Batch:
        """Advantages of the rewards' shape; unbiased, since a reward is no part of its baseline."""
        peers = batch.peers()
        count = peers.count(batch.rewards)
        centered = batch.rewards - peers.mean(batch.rewards)
        return batch.but(advantages=centered * count / (count - 1).clamp(min=1))


@dataclass(frozen=True)
class ScaleByStd:
    """A_i / (std r + eps), the std of the group's rewards."""

    eps: float = 1e-4
    ddof: int = 0
    """0: population, divided by G. 1: sample, divided by G - 1, as TRL and verl have it."""

    def __call__(self, batch: Batch, run: Run) -> Batch:
        """A group whose rewards are all the same keeps advantages of 0."""
        std = batch.peers().std(batch.rewards, self.ddof)
        return batch.but(advantages=batch.advantages / (std + self.eps))


@dataclass(frozen=True)
class LabelSuccess:
    """A_i = 1 for right rollouts and -1 for wrong ones: labels, for losses that tell them apart.

    In a group that has not both, all are 0.
    """

    by: Literal["verdict", "reward"] = "verdict"
    """`verdict`: right where its reason is `ok`. `reward`: right at exactly 1, wrong at exactly 0,
    and what lies between is neither, as in DisCO's and DRPO's code."""

    def __call__(self, batch: Batch, run: Run) -> Batch:
        """Advantages (N, 1)."""
        if self.by == "verdict":
            right = [[rollout.verdict.reason == "ok"] for rollout in batch.rollouts]
            known = torch.tensor(right, device=batch.rewards.device)
            label = known.float() * 2 - 1
        else:
            paid = outcomes(batch)
            label = (paid == 1).float() - (paid == 0).float()
        run.tally.put("labels/neither", (label == 0).float().mean().item())
        peers = batch.peers()
        both = (peers.sum(label.clamp(min=0)) > 0) & (peers.sum(-label.clamp(max=0)) > 0)
        return batch.but(advantages=torch.where(both, label, 0.0))
