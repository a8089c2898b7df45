"""air_grpo: train a forecaster against false alarms, by the classes of what it draws.

Idea     Draw antithetic pairs of forecasts of one situation, pay each for the classes it hits and
         charge it for false alarms, and rank the group. Two multipliers push the recall above a
         floor and the probability of false detection below a ceiling. The horizon grows while
         training goes on, and a controller keeps the policy near the forecaster that it came from.
Formula  r = sum_t w_t (side [same side of the event] + exact [same class] - false_alarm [forecast
         high, observed low]) / T, w from 1 to `last` and adding up to T;
         r += l_rec (recall - 0.60) - l_pofd max(pofd - 0.18, 0),
         l <- clip(l exp(0.05 e + 0.01 I), 0, 3), I <- 0.95 I + e, e the violation of the running
         rate; A = 0.9 (2 rank / (G - 1) - 1) + 0.1 (r - m) / s with running mean m and deviation s;
         loss = mean_i 1/T_i sum_t [-A_i log pi + beta KL(pi || pi_ref)], KL of the two Gaussians,
         beta by a PI controller around its target.
Paper    FAKER-Air, arXiv 2511.22169, and its released code, which this follows: the paper's own
         advantage is softmax(r / 0.5), --set advantages.RankRewards.form=softmax.
Limits   Equal rewards share a rank, so that a flat group teaches nothing; the code breaks ties by
         order. Its odd members negate a draw of their own, ours the draw of their pair. Its rate of
         false alarms is `pofd`. Classes are closed on the right in rewards as in scores. The
         controller's gains are ours. Leads beyond the horizon earn and cost nothing. Where a task
         takes very bad alone as its event, so does the reward.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from harness.errors import UnknownName, UsageError
from trainers.batch import Batch
from trainers.losses import Reinforce
from trainers.policy import Live
from trainers.recipe import AdamW, Recipe, Run
from trainers.samplers import Uniform
from trainers.schedules import Number, Stairs, at, whole
from trainers.weights import MeanOverRollouts

HIGH = 2
"""The first class of an event, where the task says nothing else."""


@dataclass(frozen=True)
class Classes:
    """Forecast and observed classes of the leads that are within the horizon."""

    said: Float[Tensor, "N L"]
    seen: Float[Tensor, "N L"]
    counts: Bool[Tensor, "N L"]
    """An observation is there."""
    high: int

    @classmethod
    def of(cls, batch: Batch, run: Run) -> Classes:
        """From the scores class@Lh and observed_class@Lh; UnknownName where a task has none."""
        names = [name for name in batch.scores if name.startswith("class@")]
        if not names:
            raise UnknownName("class@48h", "the scores of this task", batch.scores)
        names = names[: whole(run.recipe.max_tokens, run)]
        said = torch.stack([batch.scores[name] for name in names], dim=1)
        seen = torch.stack([batch.scores[f"observed_{name}"] for name in names], dim=1)
        return cls(said, seen, seen >= 0, int(run.task.settings.get("event_class", HIGH)))

    def alarms(self) -> Bool[Tensor, "N L"]:
        """The event counts as forecast; no forecast at all is wrong whatever was observed."""
        missing = self.said < 0
        return (~missing & (self.said >= self.high)) | (missing & (self.seen < self.high))

    def rates(self, within: Literal["rollout", "batch"]) -> tuple[Tensor, Tensor]:
        """Recall and pofd, (N,) or (); NaN without events, or without quiet cases."""
        event, alarm = self.counts & (self.seen >= self.high), self.alarms()
        quiet = self.counts & ~event
        axes = 1 if within == "rollout" else (0, 1)
        recall = (event & alarm).sum(axes) / event.sum(axes)
        return recall, (quiet & alarm).sum(axes) / quiet.sum(axes)


@dataclass(frozen=True)
class PayClasses:
    """The class-wise reward, a weighted mean over the observed leads within the horizon."""

    side: float = 0.0
    exact: float = 1.0
    false_alarm: Number = 0.1
    last: float = 0.75
    """Weight of the last lead, where the first has 1; before they are made to add up to T."""

    def __call__(self, batch: Batch, run: Run) -> Batch:
        """Rewards (N, 1); 0 where nothing was observed."""
        found = Classes.of(batch, run)
        alarm, event = found.alarms(), found.seen >= found.high
        paid = self.side * (alarm == event).float() + self.exact * (found.said == found.seen)
        paid = paid - at(self.false_alarm, run) * (alarm & ~event).float()
        weights = step_weights(found.said.shape[1], self.last).to(paid) * found.counts
        total = (weights * paid).sum(1) / weights.sum(1).clamp(min=1e-6)
        return batch.but(rewards=total.unsqueeze(1).float())


def step_weights(steps: int, last: float) -> Float[Tensor, " T"]:
    """From 1 to `last` in a straight line, scaled to add up to T."""
    line = torch.linspace(1.0, last, steps)
    return line * steps / line.sum()


@dataclass(frozen=True)
class ConstrainRates:
    """Pays recall above a floor, charges pofd above a ceiling; the prices follow the violations."""

    recall: Number = 0.60
    pofd: Number = 0.18
    price: float = 0.2
    """Of both at first."""
    highest: float = 3.0
    gain: float = 0.05
    integral_gain: float = 0.01
    smoothing: float = 0.05
    """Weight of a new batch in the running rates."""

    def __call__(self, batch: Batch, run: Run) -> Batch:
        """Rewards and what the rates of each rollout earn or cost; a rate that is none, nothing."""
        found = Classes.of(batch, run)
        floor, ceiling = at(self.recall, run), at(self.pofd, run)
        state = run.memory.setdefault(
            "constrain_rates", {name: {"price": self.price} for name in ("recall", "pofd")}
        )
        recall, pofd = found.rates("rollout")
        gained = state["recall"]["price"] * (recall - floor).nan_to_num(0.0)
        lost = state["pofd"]["price"] * (pofd - ceiling).clamp(min=0).nan_to_num(0.0)
        batch_recall, batch_pofd = (float(rate) for rate in found.rates("batch"))
        self._follow(state["recall"], batch_recall, lambda rate: floor - rate)
        self._follow(state["pofd"], batch_pofd, lambda rate: rate - ceiling)
        for name, rate in (("recall", batch_recall), ("pofd", batch_pofd)):
            run.tally.put(f"price/{name}", state[name]["price"])
            if math.isfinite(rate):
                run.tally.put(f"rates/{name}", rate)
        return batch.but(rewards=batch.rewards + (gained - lost).unsqueeze(1).to(batch.rewards))

    def _follow(
        self, state: dict[str, Any], rate: float, violation: Callable[[float], float]
    ) -> None:
        if not math.isfinite(rate):
            return
        before = state.get("rate", rate)
        state["rate"] = (1 - self.smoothing) * before + self.smoothing * rate
        follow(state, violation(state["rate"]), self)


def follow(state: dict[str, Any], error: float, of: ConstrainRates) -> None:
    """I <- 0.95 I + e, price <- clip(price exp(gain e + integral_gain I), 0, highest)."""
    state["integral"] = 0.95 * state.get("integral", 0.0) + error
    push = math.exp(of.gain * error + of.integral_gain * state["integral"])
    state["price"] = min(max(state["price"] * push, 0.0), of.highest)


@dataclass(frozen=True)
class RankRewards:
    """rank: 0.9 centered rank + 0.1 standing among rewards so far. softmax: softmax(r / tau)."""

    form: Literal["rank", "softmax"] = "rank"
    blend: float = 0.1
    smoothing: float = 0.05
    tau: float = 0.5

    def __call__(self, batch: Batch, run: Run) -> Batch:
        """Advantages (N, 1); softmax never pushes a rollout down."""
        peers, rewards = batch.peers(), batch.rewards
        if self.form == "softmax":
            share = peers.each(rewards, lambda group: torch.softmax(group / self.tau, dim=0))
            return batch.but(advantages=share)
        state = run.memory.setdefault(
            "rank_rewards", {"mean": float(rewards.mean()), "std": _std(rewards)}
        )
        standing = (rewards - state["mean"]) / max(state["std"], 1e-6)
        flat = peers.std(rewards) == 0  # nothing to compare: nothing to learn
        blended = (1 - self.blend) * peers.each(rewards, centered_rank) + self.blend * standing
        for name, now in (("mean", float(rewards.mean())), ("std", _std(rewards))):
            state[name] += self.smoothing * (now - state[name])
        return batch.but(advantages=torch.where(flat, 0.0, blended))


def centered_rank(group: Float[Tensor, "G #T"]) -> Float[Tensor, "G #T"]:
    """2 (rank / (G - 1) - 1/2) in [-1, 1]; equal values share the mean of their ranks."""
    size = len(group)
    if size < 2:
        return torch.zeros_like(group)
    below = (group.unsqueeze(0) < group.unsqueeze(1)).sum(1)
    same = (group.unsqueeze(0) == group.unsqueeze(1)).sum(1)
    rank = below + (same - 1) / 2
    return (2 * (rank / (size - 1) - 0.5)).to(group.dtype)


def _std(x: Tensor) -> float:
    return float(x.std(correction=0))


@dataclass(frozen=True)
class ControlKL:
    """Sets beta so that the KL to the reference comes near its target, by a PI controller."""

    target: Number = 10.0
    """Nats a step; the policy may go far, and is only kept from running away."""
    beta: float = 5e-4
    lowest: float = 1e-6
    highest: float = 1e-2
    gain: float = 0.05
    integral_gain: float = 0.01

    def __call__(self, batch: Batch, run: Run) -> Batch:
        """Hands `beta` (N, 1) to the loss; weights stay as they are."""
        with torch.no_grad():
            live = run.policies["solver"].review(batch.rollouts)
            reference = run.policies["reference"].review(batch.rollouts)
            kl = gaussian_kl(live, reference)
        size = float(kl[batch.mask].mean()) if bool(batch.mask.any()) else 0.0
        state = run.memory.setdefault("control_kl", {"beta": self.beta, "integral": 0.0})
        error = min(max(size / at(self.target, run) - 1, -1.0), 1.0)
        state["integral"] = 0.95 * state["integral"] + error
        push = math.exp(self.gain * error + self.integral_gain * state["integral"])
        state["beta"] = min(max(state["beta"] * push, self.lowest), self.highest)
        run.tally.put("kl", size)
        run.tally.put("kl/beta", state["beta"])
        beta = batch.rewards.new_full((len(batch.rollouts), 1), state["beta"])
        return batch.but(extra={**batch.extra, "beta": beta})


@dataclass(frozen=True)
class GaussianKL:
    """beta x KL(policy || reference) of the two Gaussians at each step, with the beta handed on."""

    def __call__(self, live: Live, batch: Batch, run: Run) -> Float[Tensor, "N T"]:
        """The cost of each step."""
        with torch.no_grad():
            reference = run.policies["reference"].review(batch.rollouts)
        return batch.extra["beta"] * gaussian_kl(live, reference).masked_fill(~batch.mask, 0.0)


def gaussian_kl(live: Live, reference: Live) -> Float[Tensor, "N T"]:
    """log(s_ref / s) + (s^2 + (mu - mu_ref)^2) / (2 s_ref^2) - 1/2, and (mu - mu_ref)^2 / (2 s^2)
    for equal spreads; UsageError where steps are not drawn from Gaussians."""
    if live.means is None or live.spreads is None:
        raise UsageError(
            "this policy's steps are not drawn from Gaussians; KLToReference is for all policies"
        )
    assert reference.means is not None
    assert reference.spreads is not None
    s, wide = live.spreads.clamp(min=1e-6), reference.spreads.clamp(min=1e-6)
    gap = live.means - reference.means
    return torch.log(wide / s) + (s**2 + gap**2) / (2 * wide**2) - 0.5


RECIPE = Recipe(
    name="air_grpo",
    home="airquality/world",
    paper="arXiv:2511.22169",
    samplers=Uniform(prompts=32, rollouts=8),
    rewards=(PayClasses(), ConstrainRates()),
    advantages=(RankRewards(),),
    weights=(ControlKL(), MeanOverRollouts()),
    losses=(Reinforce(), GaussianKL()),
    optimizer=AdamW(lr=1e-3),
    max_tokens=Stairs(start=1, rise=1, every=20, top=4),
    steps=150,
)
