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
         loss = mean_i 1/T_i sum_t [-A_i log pi + beta KL(pi || pi_ref)], KL in closed form,
         beta by a PI controller around its target.
Paper    FAKER-Air, arXiv 2511.22169, and its released code, which this follows: the paper's own
         advantage is softmax(r / 0.5), --set advantages.RankRewards.form=softmax.
Limits   Equal rewards share a rank, so that a flat group teaches nothing; the code breaks ties by
         order. Its odd members negate a draw of their own, ours the draw of their pair. Its rate of
         false alarms is `pofd`. Classes are closed on the right in rewards as in scores. The
         controller's gains are ours. The reward of a field is the mean over its observed cells,
         lead by lead. Leads beyond the horizon earn and cost nothing. Where a task takes very bad
         alone as its event, so does the reward.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float
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
class Tables:
    """What became of the leads within the horizon, in observed cells; a station is one."""

    right: Float[Tensor, "N L"]
    """Cells in the right class."""
    hits: Float[Tensor, "N L"]
    false_alarms: Float[Tensor, "N L"]
    misses: Float[Tensor, "N L"]
    quiet: Float[Tensor, "N L"]
    """Correct negatives."""

    @classmethod
    def of(cls, batch: Batch, run: Run) -> Tables:
        """From scores class@Lh and observed_class@Lh of stations, or hits@Lh and so on of fields.

        UnknownName where a task has neither.
        """
        horizon = whole(run.recipe.max_tokens, run)
        fields = [name.removeprefix("hits") for name in batch.scores if name.startswith("hits@")]
        if fields:
            named = ("right", "hits", "false_alarms", "misses", "correct_negatives")
            return cls(*(
                torch.stack([batch.scores[name + lead] for lead in fields[:horizon]], dim=1)
                for name in named
            ))  # fmt: skip
        names = [name for name in batch.scores if name.startswith("class@")][:horizon]
        if not names:
            raise UnknownName("class@48h", "the scores of this task", batch.scores)
        said = torch.stack([batch.scores[name] for name in names], dim=1)
        seen = torch.stack([batch.scores[f"observed_{name}"] for name in names], dim=1)
        return cls._of_classes(said, seen, int(run.task.settings.get("event_class", HIGH)))

    @classmethod
    def _of_classes(
        cls, said: Float[Tensor, "N L"], seen: Float[Tensor, "N L"], high: int
    ) -> Tables:
        """`high` is the first class of an event; no forecast is wrong whatever was observed."""
        counts, event, missing = seen >= 0, seen >= high, said < 0
        alarm = (~missing & (said >= high)) | (missing & ~event)
        cells = ((said == seen), alarm & event, alarm & ~event, ~alarm & event, ~alarm & ~event)
        return cls(*((each & counts).float() for each in cells))

    @property
    def cells(self) -> Float[Tensor, "N L"]:
        """Observed ones."""
        return self.hits + self.false_alarms + self.misses + self.quiet

    def rates(self, within: Literal["rollout", "batch"]) -> tuple[Tensor, Tensor]:
        """Recall and pofd, (N,) or (); NaN without events, or without quiet cases."""
        axes = 1 if within == "rollout" else (0, 1)
        hits, false, misses, quiet = (
            each.sum(axes) for each in (self.hits, self.false_alarms, self.misses, self.quiet)
        )
        return hits / (hits + misses), false / (false + quiet)


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
        found = Tables.of(batch, run)
        cells = found.cells
        paid = self.side * (found.hits + found.quiet) + self.exact * found.right
        paid = (paid - at(self.false_alarm, run) * found.false_alarms) / cells.clamp(min=1)
        weights = step_weights(cells.shape[1], self.last).to(paid) * (cells > 0)
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
        found = Tables.of(batch, run)
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
            kl = exact_kl(live, reference)
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
class ExactKL:
    """beta x KL(policy || reference) of what each step is drawn from, with the beta handed on."""

    def __call__(self, live: Live, batch: Batch, run: Run) -> Float[Tensor, "N T"]:
        """The cost of each step."""
        with torch.no_grad():
            reference = run.policies["reference"].review(batch.rollouts)
        return batch.extra["beta"] * exact_kl(live, reference).masked_fill(~batch.mask, 0.0)


def exact_kl(live: Live, reference: Live) -> Float[Tensor, "N T"]:
    """KL(policy || reference) of each step: of its Gaussian or its classes, over its cells as its
    log-probability is; UsageError where steps are drawn from neither."""
    if live.classes is not None:
        assert reference.classes is not None
        kl = (live.classes.exp() * (live.classes - reference.classes)).sum(-1)
    else:
        kl = gaussian_kl(live, reference)
    return kl if live.cells is None else (kl * live.cells).flatten(2).sum(2)


def gaussian_kl(live: Live, reference: Live) -> Float[Tensor, "N T *cells"]:
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
    losses=(Reinforce(), ExactKL()),
    optimizer=AdamW(lr=1e-3),
    max_tokens=Stairs(start=1, rise=1, every=20, top=4),
    steps=150,
)
