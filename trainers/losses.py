"""losses: what a step costs. They never average: weights make the mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from trainers.batch import Batch
from trainers.policy import Live
from trainers.recipe import Run
from trainers.schedules import Number, at


@dataclass(frozen=True)
class Clipped:
    """-min(r A, clip(r, 1 - low, 1 + high) A) with r = live / old, as in PPO.

    Where r = 1 the cost is -A, so the printed loss is near 0 (centered advantages sum to 0), and
    its gradient is that of REINFORCE.
    """

    low: Number = 0.2
    high: Number = 0.2

    def __call__(self, live: Live, batch: Batch, run: Run) -> Float[Tensor, "N T"]:
        """The cost of each step, times its truncated importance ratio."""
        floor, ceiling = 1 - at(self.low, run), 1 + at(self.high, run)
        gap = (live.logprobs - batch.old_logprobs).masked_fill(~batch.mask, 0.0)
        ratio, credit = gap.exp(), batch.advantages
        gain = torch.minimum(ratio * credit, ratio.clamp(floor, ceiling) * credit)
        _log_clipping((ratio < floor) & (credit < 0), (ratio > ceiling) & (credit > 0), batch, run)
        return -gain * batch.importance


@dataclass(frozen=True)
class ClippedSequence:
    """-min(s A, clip(s, 1 - low, 1 + high) A), one ratio s for all steps of a rollout.

    product: s = prod_t r_t, the ratio of the whole rollouts' probabilities. geometric: its T-th
    root, s = exp(mean_t log r_t). Every step costs the same, so that MeanOverRollouts gives the
    mean over rollouts.
    """

    low: Number = 0.2
    high: Number = 0.2
    ratio: Literal["product", "geometric"] = "geometric"

    def __call__(self, live: Live, batch: Batch, run: Run) -> Float[Tensor, "N T"]:
        """The cost of each step, times its truncated importance ratio."""
        floor, ceiling = 1 - at(self.low, run), 1 + at(self.high, run)
        gap = (live.logprobs - batch.old_logprobs).masked_fill(~batch.mask, 0.0)
        total = gap.sum(1, keepdim=True)
        if self.ratio == "geometric":
            total = total / batch.mask.sum(1, keepdim=True).clamp(min=1)
        ratio, credit = total.exp().expand_as(gap), batch.advantages
        gain = torch.minimum(ratio * credit, ratio.clamp(floor, ceiling) * credit)
        _log_clipping((ratio < floor) & (credit < 0), (ratio > ceiling) & (credit > 0), batch, run)
        return -gain * batch.importance


@dataclass(frozen=True)
class CappedReinforce:
    """-sg(clip(r, floor, cap)) A log pi: a clipped ratio weighs a step, and never silences it.

    Its printed value is no measure of anything; its gradient is that of REINFORCE where r = 1.
    """

    floor: Number = 0.0
    cap: Number = 5.0

    def __call__(self, live: Live, batch: Batch, run: Run) -> Float[Tensor, "N T"]:
        """The cost of each step, times its truncated importance ratio."""
        floor, cap = at(self.floor, run), at(self.cap, run)
        logprobs = live.logprobs.masked_fill(~batch.mask, 0.0)
        ratio = (logprobs.detach() - batch.old_logprobs).masked_fill(~batch.mask, 0.0).exp()
        _log_clipping(ratio < floor, ratio > cap, batch, run)
        return -ratio.clamp(floor, cap) * batch.advantages * logprobs * batch.importance


@dataclass(frozen=True)
class Reinforce:
    """-A log pi: no ratio, no clipping. With A = 1 it is the loss of imitation."""

    def __call__(self, live: Live, batch: Batch, run: Run) -> Float[Tensor, "N T"]:
        """The cost of each step; its printed value measures nothing where advantages have signs."""
        return -batch.advantages * live.logprobs.masked_fill(~batch.mask, 0.0)


@dataclass(frozen=True)
class KLToReference:
    """beta x KL(policy || reference) by one-sample estimators, d = log reference - log policy.

    k1 = -d, k2 = d^2 / 2, k3 = e^d - d - 1. The reference is the policy before its first step.
    """

    beta: Number = 0.04
    """0 is no term at all: no reference is made, and none is reviewed."""
    estimator: Literal["k1", "k2", "k3"] = "k3"
    corrected: bool = False
    """Times the ratio live / old, gradient and all, so that k3's gradient is that of the reverse KL
    (DeepSeek-V3.2, and TRL unless told otherwise)."""

    def __call__(self, live: Live, batch: Batch, run: Run) -> Float[Tensor, "N T"]:
        """The cost of each step."""
        if self.beta == 0:
            return torch.zeros_like(live.logprobs)
        with torch.no_grad():
            reference = run.policies["reference"].review(batch.rollouts).logprobs
        gap = (reference - live.logprobs).masked_fill(~batch.mask, 0.0)
        kl = {"k1": lambda: -gap, "k2": lambda: gap**2 / 2, "k3": lambda: gap.expm1() - gap}
        cost = kl[self.estimator]()
        if self.corrected:
            cost = cost * (live.logprobs - batch.old_logprobs).masked_fill(~batch.mask, 0.0).exp()
        run.tally.mean("kl", cost, batch.mask)
        return at(self.beta, run) * cost


def _log_clipping(low: Tensor, high: Tensor, batch: Batch, run: Run) -> None:
    """Shares of clipped steps; smallest and largest share are over rollouts."""
    tally, mask = run.tally, batch.mask
    tally.mean("clip_ratio/low_mean", low.float(), mask)
    tally.mean("clip_ratio/high_mean", high.float(), mask)
    tally.mean("clip_ratio/region_mean", (low | high).float(), mask)
    steps = mask.sum(1)
    if bool(steps.any()):
        some, count = steps > 0, steps.clamp(min=1)
        tally.least("clip_ratio/low_min", float(((low & mask).sum(1) / count)[some].min()))
        tally.most("clip_ratio/high_max", float(((high & mask).sum(1) / count)[some].max()))
