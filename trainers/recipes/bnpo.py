"""bnpo: groups are scaled by a Beta density that follows how often prompts are solved.

Idea     Dividing by std is one choice of how much easy and hard prompts count, no division another.
         Both are Beta densities of the share of right answers p. Fit one to the batch's p each
         step: it is the one with the least variance for a Beta distribution of p.
Formula  A_i = min(1 / Beta(p; alpha, beta), most) (r_i - p), p = mean r of the group, r in [0, 1];
         alpha = max(1 + a/3, 1), beta = max(1 + b/3, 1), a = k mu, b = k (1 - mu), k = mu (1 - mu)
         / var - 1, mu and var (sample) of p over the batch's groups. Several rewards: the mean of
         their A, by weight. most, alpha, beta: NormalizeByBeta.
Paper    Xiao et al. 2025, BNPO, arXiv 2506.02864.
Limits   Not the loss type `bnpo` of TRL and ms-swift, which is a mean over a micro-batch's steps.
         Scores are taken to lie in [0, 1]; another range is told: --set
         'advantages.NormalizeByBeta.ranges={"misses": (0.0, 4.0)}'. Groups at p = 0 and p = 1 are
         set to 0, where the formula has 0 times infinity. A rollout alone has p = 0, as in the
         paper's code. Groups of one p have alpha = beta = 1. The paper adds up an answer's steps,
         which is MeanOverLength times its length. alpha = beta = 1 is grpo's advantages without
         std, alpha = beta = 3/2 is those with it times pi / 8.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from harness.errors import UsageError
from trainers.batch import Batch
from trainers.losses import Clipped
from trainers.recipe import Run
from trainers.recipes.grpo import RECIPE as GRPO
from trainers.rewards import paid_apart
from trainers.weights import MeanOverLength


@dataclass(frozen=True)
class NormalizeByBeta:
    """(r - p) / Beta(p; alpha, beta), for each paid score by itself; their mean by weight."""

    alpha: float | None = None
    """None: fitted to the batch. So is beta."""
    beta: float | None = None
    most: float = 1e6
    """The largest factor."""
    ranges: Mapping[str, tuple[float, float]] = field(
        default_factory=dict[str, tuple[float, float]]
    )
    """Lowest and highest value of scores that do not lie in [0, 1]."""

    def __call__(self, batch: Batch, run: Run) -> Batch:
        """UsageError where a score leaves its range."""
        paid = paid_apart(batch, run)
        whole = sum(abs(weight) for weight, _ in paid.values()) or 1.0
        credit = torch.zeros_like(batch.rewards, dtype=torch.float64)
        for name, (weight, score) in paid.items():
            unit = self._unit(name, score.double())
            sign = 1.0 if weight >= 0 else -1.0  # what costs is paid for its absence
            unit = unit if weight >= 0 else 1 - unit
            credit = credit + sign * weight / whole * self._normalized(unit, name, batch, run)
        return batch.but(advantages=credit.float())

    def _unit(self, name: str, score: Float[Tensor, "N #T"]) -> Float[Tensor, "N #T"]:
        """The score mapped to [0, 1]."""
        low, high = self.ranges.get(name, (0.0, 1.0))
        least, most = float(score.min()), float(score.max())
        if not low <= least <= most <= high:
            raise UsageError(
                f"NormalizeByBeta: {name} has values from {least:g} to {most:g} and should lie in "
                f"[{low:g}, {high:g}]; give its range, as in --set "
                f"'advantages.NormalizeByBeta.ranges={{\"{name}\": ({least:g}, {most:g})}}'"
            )
        return (score - low) / ((high - low) or 1.0)

    def _normalized(
        self, unit: Float[Tensor, "N #T"], name: str, batch: Batch, run: Run
    ) -> Float[Tensor, "N #T"]:
        peers = batch.peers()
        rate = torch.where(peers.count(unit) > 1, peers.mean(unit), 0.0)
        _, index = batch.group.unique(return_inverse=True)
        rates = rate.new_zeros(int(index.max()) + 1).index_copy(0, index, rate.mean(1))
        alpha, beta = fitted(rates)
        alpha, beta = self.alpha or alpha, self.beta or beta
        run.tally.put(f"beta/{name}/alpha", alpha)
        run.tally.put(f"beta/{name}/beta", beta)
        density = log_density(rate, alpha, beta).exp()
        factor = torch.where(density > 0, 1 / density, 0.0).clamp(max=self.most)
        return factor * (unit - rate)


def fitted(rates: Float[Tensor, " M"]) -> tuple[float, float]:
    """alpha and beta for the M groups' shares of right answers, by their moments."""
    mean, variance = float(rates.mean()), float(rates.var()) if len(rates) > 1 else 0.0
    if len(rates) < 2:
        mean, variance = 0.0, 1.0
    if variance == 0:
        return 1.0, 1.0
    k = mean * (1 - mean) / variance - 1
    return max(1 + k * mean / 3, 1.0), max(1 + k * (1 - mean) / 3, 1.0)


def log_density(p: Float[Tensor, "N #T"], alpha: float, beta: float) -> Float[Tensor, "N #T"]:
    """log Beta(p; alpha, beta); -inf at an end whose parameter is above 1."""
    a, b = p.new_tensor(alpha), p.new_tensor(beta)
    scale = torch.lgamma(a + b) - torch.lgamma(a) - torch.lgamma(b)
    return torch.xlogy(a - 1, p) + torch.xlogy(b - 1, 1 - p) + scale


RECIPE = GRPO.but(
    name="bnpo",
    home="ladders/graded",
    paper="arXiv:2506.02864",
    advantages=(NormalizeByBeta(),),
    weights=(MeanOverLength(),),
    losses=(Clipped(low=0.2, high=0.28),),
)
