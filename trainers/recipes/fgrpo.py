"""fgrpo: right answers, under floors for how consistent and how grounded the reasoning is.

Idea     Paid for right answers alone, a policy learns reasoning that does not lead to its answer.
         Keep consistency and grounding as channels of their own, each with a floor under its mean,
         and let a price of each rise while the floor is missed and fall once it is met.
Formula  max E[r] with E[R_k] >= tau_k: A_i = z(r)_i + sum_k lambda_k z(R_k)_i,
         z(x) = (x - mean x) / (std x + eps), std of the sample, r in its group, R_k in the batch;
         after each batch lambda_k <- clip(lambda_k + eta (tau_k - mean_batch R_k), 0, lambda_max).
         tau: floors. eta: rate. lambda_0: price. lambda_max: highest. r: WeighScores.
Paper    Faithful GRPO, arXiv 2604.08476.
Limits   Read from its abstract and a public re-implementation, whose constants these are. Prices
         start at 0, so that the first step is grpo with the sample's std, and so is all without
         floors. A reply that could not be read counts 0 in every channel, and one that lacks a
         score which another attempt at the example has counts 0 in that; where no attempt that
         was read has it, the channel is left out for that example. A floor above what a task can
         grant drives its price to lambda_max. The paper's supervised first stage is
         `harness train --warm-up`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from harness.errors import UnknownName
from trainers.batch import Batch
from trainers.recipe import Run
from trainers.recipes.grpo import RECIPE as GRPO
from trainers.schedules import Number, at

Scope = Literal["group", "batch"]
FLOORS: Mapping[str, float] = {"consistent": 0.95, "grounding": 0.9}


@dataclass(frozen=True)
class PriceConstraints:
    """Normalized rewards plus normalized scores at their prices; the prices follow their floors."""

    floors: Mapping[str, float] = field(default_factory=lambda: dict(FLOORS))
    """A score to the least mean that is wanted of it."""
    scope: Scope = "batch"
    """Within which the scores are normalized: a group that is unfaithful as a whole learns too."""
    task_scope: Scope = "group"
    averaged: bool = False
    """True: the sum is divided by 1 + the sum of prices."""
    price: float = 0.0
    """Of every score at first."""
    rate: Number = 0.01
    highest: float = 5.0
    eps: float = 1e-8
    unread: tuple[str, ...] = ("bad_format", "no_answer", "truncated")
    """Reasons of verdicts on replies that could not be read."""

    def __call__(self, batch: Batch, run: Run) -> Batch:
        """Advantages of the rewards' shape; UnknownName where no verdict has a score."""
        state = run.memory.setdefault("prices", dict.fromkeys(self.floors, self.price))
        prices = dict(state)
        seen = torch.tensor([[r.verdict.reason not in self.unread] for r in batch.rollouts])
        seen = seen.to(batch.rewards.device)
        everyone = torch.ones_like(seen)
        total = self._normalized(batch.rewards * seen, everyone, self.task_scope, batch)
        for name, floor in self.floors.items():
            if name not in batch.scores:
                raise UnknownName(name, "the scores of this task", batch.scores)
            score, known = _channel(batch.scores[name].unsqueeze(1), seen, batch)
            total = total + prices[name] * self._normalized(score, known, self.scope, batch)
            run.tally.put(f"price/{name}", prices[name])
            if bool(known.any()):
                mean = float(score[known].double().mean())
                run.tally.put(f"channel/{name}", mean)
                moved = prices[name] + at(self.rate, run) * (floor - mean)
                state[name] = min(max(moved, 0.0), self.highest)
        return batch.but(advantages=total / (1 + sum(prices.values())) if self.averaged else total)

    def _normalized(
        self, x: Float[Tensor, "N #T"], known: Bool[Tensor, "N 1"], scope: Scope, batch: Batch
    ) -> Float[Tensor, "N #T"]:
        """0 where nothing is known."""
        rows = known[:, 0].nonzero()[:, 0]
        within = batch.group if scope == "group" else torch.zeros_like(batch.group)
        some, peers = x[rows], batch.peers(within[rows])
        z = (some - peers.mean(some)) / (peers.std(some, ddof=1) + self.eps)
        return torch.zeros_like(x).index_copy(0, rows, z)


def _channel(
    score: Float[Tensor, "N 1"], seen: Bool[Tensor, "N 1"], batch: Batch
) -> tuple[Float[Tensor, "N 1"], Bool[Tensor, "N 1"]]:
    """A score with what is missing at 0, and for which rollouts it can be told at all.

    That is a matter of the example, never of what the policy said.
    """
    told = ~score.isnan()
    peers = batch.peers()
    anyone, readers = (peers.sum(fact.float()) > 0 for fact in (told, seen))
    return torch.where(told & seen, score, 0.0), anyone | ~readers


RECIPE = GRPO.but(
    name="fgrpo",
    home="spatial/scenes_pair",
    paper="arXiv:2604.08476",
    advantages=(PriceConstraints(),),
)
