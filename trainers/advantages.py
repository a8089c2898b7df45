"""advantages: who gets the credit. Stages that turn rewards into advantages."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from trainers.batch import Batch
from trainers.recipe import Run


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
class CreditAll:
    """A_i = 1: every rollout is to be made likelier, as experts' answers are."""

    def __call__(self, batch: Batch, run: Run) -> Batch:
        """Advantages of the rewards' shape."""
        return batch.but(advantages=torch.ones_like(batch.rewards))
