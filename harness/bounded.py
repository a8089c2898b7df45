"""Limits of the mean of bounded values: the formula behind the interval of every bounded metric.

It is right at the edges (3 of 3 is not 1 +- 0), for binary scores as for averages of rollouts, for
single examples as for clusters; `results/interval_coverage.md` shows its simulated coverage.

For x in [0, 1] with mean m over N examples in G clusters (an example alone is a cluster of one):

1. Design effect: d = Var(m) N / (m (1 - m)), with Var(m) from sums within clusters. Binary scores
   of single examples give d = 1 exactly; averages of rollouts less; correlated clusters more.
2. Where successes (or failures) stand in few of the clusters, d is drawn towards its largest
   value d_max, that of clusters which are right or wrong as a whole. So it is where nothing
   differs.
3. Effective size n = N / d, cut by (z / t)^2 where d is itself uncertain: the degrees of freedom
   of t follow from the spread of the terms of log d (infinite for binary scores, G - 1 for normal
   ones).
4. Lumps of success of unequal size make m and d too low together. How log d leans on m is a
   regression over clusters; its square cuts n. With very few successes or failures, a lump not
   seen yet may be larger than all that were: this cuts n too.
5. Beta quantiles at k = m n successes and n - k failures, from Clopper-Pearson (k = 0) to Jeffreys
   (k >= 10).
6. The mean is at least the share of clusters that are all right, and at most that of clusters which
   are not all wrong. These shares are binary, so Clopper-Pearson limits hold for them whatever goes
   on within clusters: no limit is wider. (One example of 300 wrong, in 50 clusters, says little of
   the design effect, but that 49 of 50 clusters are all right says much.)

Steps 1, 3 and 5 are from the sources; the forms of 2 and 4 and the three constants are ours, chosen
by simulation on a part of the grid that the page shows, with other random worlds.

Sources: Clopper and Pearson 1934 (exact limits), Kish 1965 (design effect), Korn and Graubard 1998
(Beta limits at an effective size), Brown, Cai and DasGupta 2001 (Jeffreys), Bell and McCaffrey 2002
(residuals of unequal clusters).
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

UNSEEN = 2.5
"""Effective successes (or failures) of clusters at which an unseen lump halves what they say."""
LEAN = 5.0
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
    """sqrt(G / (G - 1) sum u_g^2) / N, residual sums u_g: (..., N) to (...); NaN for one cluster.

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
    low, high = beta_limits(values.mean(axis=-1), size.plain, size.cut, level=level)
    least, most = _whole(values, groups, level)
    closer = 1e-6  # the same limits come out of both ways but for rounding where nothing differs
    return np.where(least > low + closer, least, low), np.where(most < high - closer, most, high)


def beta_limits(
    mean: Floats | float, plain: Floats | float, cut: Floats | float, *, level: float
) -> tuple[Floats, Floats]:
    """Step 5: limits of a share `mean` seen in `cut` binary examples (`plain` decides the edge)."""
    from scipy.special import betaincinv

    shift = 0.5 * np.minimum(np.minimum(mean, 1 - mean) * plain / JEFFREYS, 1.0)
    hits, misses, tail = mean * cut, (1 - mean) * cut, (1 - level) / 2
    low = betaincinv(np.maximum(hits + shift, 1e-12), misses + 1 - shift, tail)
    high = betaincinv(hits + 1 - shift, np.maximum(misses + shift, 1e-12), 1 - tail)
    return np.where(mean <= 0, 0.0, low), np.where(mean >= 1, 1.0, high)


def _whole(values: Floats, groups: Clusters, level: float) -> tuple[Floats, Floats]:
    """Step 6: below, the share of clusters all right; above, that of clusters not all wrong."""
    from scipy.special import betaincinv

    sums, sizes, count = groups.sums(values), groups.sizes, groups.effective
    share = count * sizes / sizes.sum()
    right: Floats = (share * (sums >= sizes - 1e-9)).sum(axis=-1)
    wrong: Floats = (share * (sums <= 1e-9)).sum(axis=-1)

    def least(hits: Floats) -> Floats:
        exact = betaincinv(np.maximum(hits, 1e-12), count - hits + 1, (1 - level) / 2)
        return np.where(hits > 0, np.asarray(exact, np.float64), 0.0)

    return least(right), 1 - least(wrong)


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
    flat = (residuals**2).sum(axis=-1) <= 1e-20 * examples
    most = float((sizes**2).sum() / examples)
    design = np.where(flat, most, np.minimum(_design(residuals, mean, sizes), most))
    doubt, skew = _doubt(residuals, mean, sizes)
    known = np.isfinite(doubt)
    # a sample of G normal values has a kurtosis of 3 (G - 1) / (G + 1) only
    doubt = (doubt + 6 / (groups.effective + 1) * (1 - design / most)) / max(len(sizes) - 1, 1)
    ordinary = np.where(flat, 1e9, max(groups.effective - 1, 1.0))
    degrees = np.where(known, np.maximum(2 / np.maximum(doubt, 2e-9), 1.0), ordinary)
    normal = normal_quantile(level)
    confidence = (normal / stdtrit(degrees, (1 + level) / 2)) ** 2

    seen = np.minimum(_kish(sums), _kish(sizes - sums))
    unknown = np.clip(1 - seen / groups.effective, 0, 1) / (1 + seen**3)
    unknown = np.where(flat, 1.0, unknown)
    plain = examples / ((1 - unknown) * design + unknown * most)

    fewer = plain * np.minimum(mean, 1 - mean) * groups.effective / len(sizes)
    slack = np.where(flat, 0.0, 1 - design / most**2)
    unseen = slack / (1 + (fewer / (UNSEEN - (UNSEEN - 1) / most)) ** 2)
    lean = np.where(known, np.maximum(normal * skew * (1 - 2 * mean), 0.0), 0.0)
    return Size(plain, plain * confidence * (1 - unseen) * np.exp(-np.minimum(LEAN * lean**2, 1)))


def _design(residuals: Floats, mean: Floats, sizes: Floats) -> Floats:
    """(..., G) residual sums to the design effect (...); 1 for binary scores of single examples."""
    examples = sizes.sum()
    share = sizes / examples
    leverage = np.minimum(1 - share, 1 - 2 * share + (share**2).sum())
    with np.errstate(divide="ignore", invalid="ignore"):
        variance = (residuals**2 / leverage).sum(axis=-1) / examples**2
        # E[m (1 - m)] falls short of p (1 - p) by the variance of m
        return variance * examples / (mean * (1 - mean) + variance)


def _doubt(residuals: Floats, mean: Floats, sizes: Floats) -> tuple[Floats, Floats]:
    """Mean square of the terms of log d, and their lean on m: both (...), NaN without spread."""
    squares = residuals**2
    with np.errstate(divide="ignore", invalid="ignore"):
        slope = (1 - 2 * mean) / (mean * (1 - mean)) / sizes.mean()
        terms = squares / squares.mean(axis=-1, keepdims=True) - 1 - slope[..., None] * residuals
        skew = (terms * residuals).mean(axis=-1) / np.sqrt(squares.sum(axis=-1))
    return (terms**2).mean(axis=-1), skew


def normal_quantile(level: float) -> float:
    """z of a two-sided interval: 1.96 for 0.95."""
    from statistics import NormalDist

    return NormalDist().inv_cdf((1 + level) / 2)


def _kish(amounts: Floats) -> Floats:
    """(sum a)^2 / sum a^2 along the last axis; 0 where there is nothing."""
    squares = (amounts**2).sum(axis=-1)
    whole = amounts.sum(axis=-1) ** 2
    return np.divide(whole, squares, out=np.zeros_like(whole), where=squares > 0)
