"""Limits of the mean of bounded values: the formula behind the interval of every bounded metric.

It is right at the edges (3 of 3 is not 1 +- 0), for binary scores as for averages of rollouts, for
single examples as for clusters; `results/interval_coverage.md` shows its simulated coverage.

For x in [0, 1] with mean m over N examples:

1. Design effect: d = Var(m) N / (m (1 - m)), with Var(m) from sums within clusters. Binary scores of
   single examples give d = 1 exactly; averages of rollouts less; correlated clusters more.
2. Few informative clusters (or none that differ) say little about d, so it is drawn to its largest possible value d_max:
   (K^3 d + d_max) / (K^3 + 1) for K effective clusters (Kish) with successes, or failures if fewer.
3. Effective size n = N / d, cut by (z / t)^2 where d is itself uncertain: the degrees of freedom of t
   follow from the spread of the terms of log d (infinite for binary scores, G - 1 for normal ones).
4. If successes come in lumps of unequal size, then m and d are too low together. The regression of
   log d on m says by how much n is too large at the far limit; n is cut by that, never raised.
5. Beta quantiles at k = m n successes and n - k failures, between Clopper-Pearson (k = 0) and Jeffreys
   (k >= 10), as coverage is then at least 0.93 at the lattice's worst points and 0.95 on average.

Sources: Kish 1965 (design effect), Korn and Graubard 1998 (Beta limits at an effective size), Brown,
Cai and DasGupta 2001 (Jeffreys), Bell and McCaffrey 2002 (residuals of unequal clusters).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.errors import UsageError

Floats = NDArray[np.float64]
Labels = Sequence[str] | NDArray[Any]

PRIOR = 2.0
"""Clusters that a normal spread is worth when the degrees of freedom are estimated."""
POW=2.0
CN=1.0
CU=1.0
CP=2.0
RP=1.0
LUMPS = 3.0
"""How strongly unequal lumps of success cut the effective size."""
JEFFREYS = 10.0
"""Successes (or failures) from which the Beta limits are those of Jeffreys."""


@dataclass(frozen=True)
class Clusters:
    """How the examples along a last axis fall into clusters."""

    order: NDArray[np.intp] | None
    """(N,) the examples sorted by cluster; None where every example stands for itself."""
    starts: NDArray[np.intp]
    sizes: Floats
    """(G,) examples in each cluster."""

    @classmethod
    def of(cls, labels: Labels | None, examples: int) -> Clusters:
        """Clusters by label; None: each example is one."""
        if labels is None:
            return cls(None, np.arange(examples), np.ones(examples))
        if len(labels) != examples:
            raise UsageError(
                f"{len(labels)} cluster labels for {examples} examples: give one label an example"
            )
        _, codes = np.unique(np.asarray(labels), return_inverse=True)
        sizes = np.bincount(codes)
        if len(sizes) == examples:
            return cls.of(None, examples)
        starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
        return cls(np.argsort(codes, kind="stable"), starts, sizes.astype(np.float64))

    def sums(self, values: Floats) -> Floats:
        """(..., N) to sums within clusters, (..., G)."""
        if self.order is None:
            return values
        return np.add.reduceat(values[..., self.order], self.starts, axis=-1)

    @property
    def effective(self) -> float:
        """Kish's number of clusters, N^2 / sum n_g^2: G where all are of one size."""
        return float(self.sizes.sum() ** 2 / (self.sizes**2).sum())


def standard_error(values: Floats, groups: Clusters) -> Floats:
    """sqrt(G / (G - 1) sum u_g^2) / N with residual sums u_g; (..., N) to (...); NaN for one cluster.

    For single examples this is sd / sqrt(N). Source: clustered standard errors as Inspect has them.
    """
    sums, size = groups.sums(values), values.shape[-1]
    count = len(groups.sizes)
    if count < 2:
        return np.full(values.shape[:-1], np.nan)
    residuals = sums - groups.sizes * values.mean(axis=-1, keepdims=True)
    return np.sqrt(count / (count - 1) * (residuals**2).sum(axis=-1)) / size


def bounds(values: Floats, groups: Clusters, *, level: float = 0.95) -> tuple[Floats, Floats]:
    """Limits of the mean of (..., N) values in [0, 1], as the module's docstring derives them.

    All leading axes are worlds of their own; `groups` is common to them. Returns (...) and (...).
    """
    size = effective_size(values, groups, level=level)
    return beta_limits(values.mean(axis=-1), size.plain, size.cut, level=level)


def beta_limits(
    mean: Floats, plain: Floats | float, cut: Floats | float, *, level: float
) -> tuple[Floats, Floats]:
    """Step 5: limits of a share `mean` seen in `cut` binary examples (`plain` decides the edge)."""
    from scipy.special import betaincinv

    shift = 0.5 * np.minimum(np.minimum(mean, 1 - mean) * plain / JEFFREYS, 1.0)
    hits, misses, tail = mean * cut, (1 - mean) * cut, (1 - level) / 2
    low = betaincinv(np.maximum(hits + shift, 1e-12), misses + 1 - shift, tail)
    high = betaincinv(hits + 1 - shift, np.maximum(misses + shift, 1e-12), 1 - tail)
    return np.where(mean <= 0, 0.0, low), np.where(mean >= 1, 1.0, high)


@dataclass(frozen=True)
class Size:
    """Binary examples that would say as much about a mean as the data do."""

    plain: Floats
    """From the design effect alone."""
    cut: Floats
    """Cut for what is not known about the design effect."""


def effective_size(values: Floats, groups: Clusters, *, level: float) -> Size:
    """Steps 1 to 4 of the module's docstring: (..., N) values in [0, 1] to (...) sizes."""
    from scipy.special import stdtrit

    examples, sizes = values.shape[-1], groups.sizes
    mean = values.mean(axis=-1)
    sums = groups.sums(values)
    residuals = sums - sizes * mean[..., None]
    share = sizes / examples
    leverage = np.minimum(1 - share, 1 - 2 * share + (share**2).sum())
    most = float((sizes**2).sum() / examples)
    with np.errstate(divide="ignore", invalid="ignore"):
        variance = (residuals**2 / leverage).sum(axis=-1) / examples**2
        # E[m (1 - m)] falls short of p (1 - p) by the variance of m
        design = variance * examples / (mean * (1 - mean) + variance)
        lumps = residuals**2 / (residuals**2).mean(axis=-1, keepdims=True) - 1
        slope = (1 - 2 * mean) / (mean * (1 - mean)) / sizes.mean()
        terms = lumps - slope[..., None] * residuals
        skew = (terms * residuals).mean(axis=-1) / np.sqrt((residuals**2).sum(axis=-1))
    flat = (residuals**2).sum(axis=-1) <= 1e-20 * examples
    design = np.where(flat, most, np.minimum(design, most))
    # a sample of G normal values has a kurtosis of 3 (G - 1) / (G + 1) only
    missing = 6 / (groups.effective + 1) * (1 - design / most)
    uncertainty = ((terms**2).mean(axis=-1) + missing) / max(len(sizes) - 1, 1)
    known = np.isfinite(uncertainty)
    ordinary = max(groups.effective - 1, 1.0)
    degrees = np.where(known, 2 / np.maximum(uncertainty, 2e-9), np.where(flat, 1e9, ordinary))
    normal = normal_quantile(level)
    confidence = (normal / stdtrit(np.maximum(degrees, 1.0), (1 + level) / 2)) ** 2
    seen = np.minimum(_kish(sums), _kish(sizes - sums))
    unknown = np.clip(1 - seen / groups.effective, 0, 1) / (1 + seen**3)
    unknown = np.where(flat, 1.0, unknown)
    plain = examples / ((1 - unknown) * design + unknown * most)
    fewer = plain * np.minimum(mean, 1 - mean)
    slack = np.where(flat, 0.0, 1 - design / most**2)
    # a large lump that was not seen yet: only where few successes or failures were
    unseen = slack / (1 + (fewer * (groups.effective / len(sizes))**RP/(CN-(CN-CU)/most)) ** CP)
    lean = LUMPS * np.where(known, np.maximum(normal * skew * (1 - 2 * mean), 0.0), 0.0)**POW
    return Size(plain, plain * confidence * (1 - unseen) * np.exp(-np.clip(lean, 0.0, 1.0)))


def normal_quantile(level: float) -> float:
    """z of a two-sided interval: 1.96 for 0.95."""
    from statistics import NormalDist

    return NormalDist().inv_cdf((1 + level) / 2)


def _kish(amounts: Floats) -> Floats:
    """(sum a)^2 / sum a^2 along the last axis; 0 where there is nothing."""
    squares = (amounts**2).sum(axis=-1)
    whole = amounts.sum(axis=-1) ** 2
    return np.divide(whole, squares, out=np.zeros_like(whole), where=squares > 0)
