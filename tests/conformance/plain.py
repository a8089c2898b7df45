"""The plain reference: gradients written down from the formulas, in float64.

One rollout is read at a time, with all its logits; nothing is batched, padded, shared, fused or
cut. It shares no code with the trainers that are held against it. Notation: A_i advantage, q_t
ratio of policy to old policy, l_it the cost of step t of rollout i.

    mean=rollouts: 1/N' sum_i 1/T_i sum_t l_it      (N' rollouts with steps that count)
    mean=steps:    sum_it l_it / sum_i T_i
    mean=length:   sum_it l_it / (N L)
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from tests.conformance.settings import ONCE, How, Settings

if TYPE_CHECKING:
    from tests.conformance.cases import Case, Stored


class Plain:
    """The reference as a trainer."""

    name = "plain reference"

    def lacks(self, settings: Settings, how: How) -> str:
        """It knows one way only."""
        return "" if how == ONCE else "the reference reads one rollout at a time"

    def gradient(self, case: Case, settings: Settings, how: How = ONCE) -> dict[str, Tensor]:
        """Gradient of the loss by name of weight, float64."""
        model = case.model(torch.float64)
        reference = case.model(torch.float64, reference=True)
        costs: list[list[Tensor]] = []
        for rollout, credit in zip(case.rollouts, advantages(case, settings), strict=True):
            now = step_logprobs(model, rollout, settings.temperature)
            leash = now
            if settings.beta:
                with torch.no_grad():
                    leash = step_logprobs(reference, rollout, settings.temperature)
            counts = rollout.ended or not settings.mask_truncated
            costs.append(step_costs(rollout, now, leash, credit, settings) if counts else [])
        loss(costs, settings).backward()
        return {
            name: torch.zeros_like(weight) if weight.grad is None else weight.grad
            for name, weight in model.named_parameters()
        }


def step_logprobs(model: torch.nn.Module, rollout: Stored, temperature: float) -> list[Tensor]:
    """log pi of each step: the softmax of the logits that stand before it."""
    ids = torch.tensor([[*rollout.prompt, *rollout.ids]])
    scores = (model(input_ids=ids).logits[0] / temperature).log_softmax(-1)
    first = len(rollout.prompt)
    return [scores[first + t - 1, token] for t, token in enumerate(rollout.ids)]


def advantages(case: Case, settings: Settings) -> list[float]:
    """A_i of each rollout, from the rewards of its group."""
    groups: dict[str, list[float]] = {}
    for rollout in case.rollouts:
        groups.setdefault(rollout.question, []).append(rollout.reward)
    found = []
    for rollout in case.rollouts:
        paid = groups[rollout.question]
        centered = rollout.reward - statistics.fmean(paid)
        if settings.scale == "leave_one_out":
            centered *= len(paid) / (len(paid) - 1)
        elif settings.scale != "none":
            std = statistics.stdev if settings.scale == "sample_std" else statistics.pstdev
            centered /= (std(paid) if len(paid) > 1 else 0.0) + settings.eps
        found.append(centered)
    return found


def step_costs(
    rollout: Stored,
    now: Sequence[Tensor],
    leash: Sequence[Tensor],
    credit: float,
    settings: Settings,
) -> list[Tensor]:
    """l_t of each step of one rollout."""
    old = [torch.tensor(x).double() for x in rollout.old]
    logs = [x - (o if settings.off_policy else x.detach()) for x, o in zip(now, old, strict=True)]
    if settings.ratio != "token":
        whole = sum(logs, torch.zeros(()))
        logs = [whole / len(logs) if settings.ratio == "sequence" else whole] * len(logs)
    costs = []
    for x, log, told, anchor in zip(now, logs, rollout.sampled, leash, strict=True):
        ratio = log.exp()
        if settings.detached:
            cost = -min(float(ratio.detach()), settings.high) * credit * x
        else:
            inside = ratio.clamp(1 - settings.low, 1 + settings.high)
            cost = -torch.minimum(ratio * credit, inside * credit)
        if settings.sampler_correction:
            cost = cost * min(float((x.detach() - told).exp()), settings.sampler_correction)
        if settings.beta:
            d = anchor - x
            kl = d.exp() - d - 1
            cost = cost + settings.beta * (kl * ratio if settings.corrected else kl)
        costs.append(cost)
    return costs


def loss(costs: Sequence[Sequence[Tensor]], settings: Settings) -> Tensor:
    """The mean over steps and rollouts that is asked for."""
    nothing = torch.zeros((), dtype=torch.float64, requires_grad=True)
    sums = [sum(row, nothing) for row in costs]
    if settings.mean == "rollouts":
        alive = [total / len(row) for total, row in zip(sums, costs, strict=True) if row]
        return sum(alive, nothing) / max(len(alive), 1)
    if settings.mean == "length":
        return sum(sums, nothing) / (len(costs) * settings.length)
    return sum(sums, nothing) / max(sum(map(len, costs)), 1)
