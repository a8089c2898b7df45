"""losses: what a step costs. They never average: weights make the mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from harness.errors import UsageError
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


@dataclass(frozen=True)
class Discriminate:
    """-J of each group, with right (A > 0) and wrong (A < 0) rollouts; no ratio, no clipping.

    J = sum_+ A_i s_i / sum_+ A_i - tau log (sum_- |A_j| exp(s_j / tau) / sum_- |A_j|), s_i a score:
    the mean over a rollout's steps, by their weights. A group counts as much as the weights of its
    rollouts together; one without both kinds has J = 0. Needs `whole_groups`.
    """

    tau: Number | None = 10.0
    """The smaller, the more the likeliest wrong rollouts count; None: they count alike."""
    score: Literal["logprob", "ratio"] = "logprob"
    """Of a step: log pi, or pi / pi_old."""

    def __call__(self, live: Live, batch: Batch, run: Run) -> Float[Tensor, "N T"]:
        """The same cost at each step of a rollout; weighed and added up, they give mean -J."""
        if not run.recipe.whole_groups:
            raise UsageError(f"{self!r} compares rollouts: the recipe must have whole_groups=True")
        own, peers = batch.weights.sum(1, keepdim=True), batch.peers()
        counted = own > 0
        credit = (batch.advantages * batch.weights).sum(1, keepdim=True) / own.clamp(min=1e-30)
        right, wrong = credit.clamp(min=0), -credit.clamp(max=0)
        rights, wrongs = peers.sum(right), peers.sum(wrong)
        right, wrong = right / rights.clamp(min=1e-30), wrong / wrongs.clamp(min=1e-30)
        score = (self._steps(live, batch) * batch.weights).sum(1, keepdim=True)
        score = score / own.clamp(min=1e-30)
        worst = score if self.tau is None else self._worst(score, wrong, batch, run)
        both = counted & (rights > 0) & (wrongs > 0)
        cost = (wrong * worst - right * score) * peers.sum(own) / own.clamp(min=1e-30)
        return torch.where(both, cost, 0.0).expand_as(live.logprobs)

    def _steps(self, live: Live, batch: Batch) -> Float[Tensor, "N T"]:
        """What each step is scored; importance weighs its gradient alone."""
        logprobs = live.logprobs.masked_fill(~batch.mask, 0.0)
        here = logprobs.detach()
        logprobs = here + batch.importance * (logprobs - here)
        if self.score == "logprob":
            return logprobs
        return (logprobs - batch.old_logprobs).masked_fill(~batch.mask, 0.0).exp()

    def _worst(
        self, score: Float[Tensor, "N 1"], share: Float[Tensor, "N 1"], batch: Batch, run: Run
    ) -> Float[Tensor, "N 1"]:
        """tau log of the wrong rollouts' mean of exp(s / tau), the same for a whole group."""
        tau = at(self.tau or 0.0, run)
        if tau == 0:
            raise UsageError(f"{self!r} divides by tau = 0 at step {run.step}; give it above 0")
        return tau * batch.peers().logsumexp(share.log() + score / tau)


@dataclass(frozen=True)
class KLBarrier:
    """beta / 2 [KL(old || policy) - delta]_+^2, KL the mean over all steps that have any weight.

    The constraint is the whole batch's, so its slope beta [KL - delta]_+ is found before the
    gradient. The first update of a step starts at KL = 0 and feels nothing.
    """

    delta: Number = 1e-4
    beta: Number = 1e3
    estimator: Literal["k1", "k3"] = "k1"
    """With d = log pi - log pi_old. k1: -d, which may come out negative. k3: e^d - d - 1."""

    def look(self, logprobs: Float[Tensor, "N T"], batch: Batch, run: Run) -> Batch:
        """Measures KL and counts the steps."""
        counted = batch.mask & (batch.weights > 0)
        steps = max(int(counted.sum()), 1)
        kl = float(self._kl(logprobs, batch)[counted].double().sum()) / steps
        run.tally.put("kl_barrier/kl", kl)
        run.tally.put("kl_barrier/penalty", self.penalty(kl, run))
        told = {"kl_barrier/kl": kl, "kl_barrier/steps": float(steps)}
        rows = {name: batch.rewards.new_full((len(batch.group),), x) for name, x in told.items()}
        return batch.but(extra={**batch.extra, **rows})

    def slope(self, kl: float, run: Run) -> float:
        """What the gradient of KL is multiplied with."""
        return at(self.beta, run) * max(kl - at(self.delta, run), 0.0)

    def penalty(self, kl: float, run: Run) -> float:
        """The value that is added to the loss."""
        return self.slope(kl, run) ** 2 / (2 * at(self.beta, run) or 1.0)

    def __call__(self, live: Live, batch: Batch, run: Run) -> Float[Tensor, "N T"]:
        """The cost of each step; weighed and added up over all micro-batches, the penalty."""
        if "kl_barrier/kl" not in batch.extra or not len(batch.rollouts):
            return torch.zeros_like(live.logprobs)
        kl, steps = (float(batch.extra[f"kl_barrier/{name}"][0]) for name in ("kl", "steps"))
        slope, penalty = self.slope(kl, run), self.penalty(kl, run)
        if slope == 0:
            return torch.zeros_like(live.logprobs)
        cost = (slope * (self._kl(live.logprobs, batch) - kl) + penalty) / steps
        counted = batch.mask & (batch.weights > 0)
        # weights are the group terms'; here every step counts alike
        return torch.where(counted, cost / torch.where(counted, batch.weights, 1.0), 0.0)

    def _kl(self, logprobs: Float[Tensor, "N T"], batch: Batch) -> Float[Tensor, "N T"]:
        gap = (logprobs - batch.old_logprobs).masked_fill(~batch.mask, 0.0)
        return -gap if self.estimator == "k1" else gap.expm1() - gap


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
