"""Intervals: how far a score measured on these examples may be from the score on all such examples.

The unit is the example, or the cluster that a task declares (scene, paraphrase set, day block);
rollouts of one example never count as independent evidence. Means of bounded values have Beta
limits at an effective size (`harness.bounded`), means of unbounded ones Student's, metrics of the
whole corpus a bootstrap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from harness.bounded import Clusters, Floats, Labels, bounds, normal_quantile, standard_error
from harness.errors import UsageError
from harness.types import Metric, Row


@dataclass(frozen=True)
class Estimate:
    """A value with its interval; all in the metric's own unit."""

    value: float
    low: float
    high: float
    se: float
    """Standard error over clusters; where the data show no spread, from the interval's width."""
    examples: int
    """Examples that have a value."""
    clusters: int
    method: str


def estimate(
    metric: Metric,
    rows: Sequence[Row],
    clusters: Labels | None = None,
    *,
    level: float = 0.95,
    seed: int = 0,
) -> Estimate:
    """The metric over all rows, with its interval over examples or `clusters` (a label a row)."""
    if metric.each is not None:
        values = per_example(metric, rows)
        return interval(values, clusters, low=metric.low, high=metric.high, level=level)
    from harness.resampling import bootstrap

    _check_rows(metric, rows)
    groups = Clusters.of(clusters, len(rows))
    found = bootstrap(metric, rows, groups, level=level, seed=seed)
    unit = "examples" if groups.order is None else "clusters"
    return Estimate(
        found.value,
        max(found.low, metric.low),
        min(found.high, metric.high),
        found.se,
        len(rows),
        len(groups.sizes),
        f"{found.method}, {unit}",
    )


def per_example(metric: Metric, rows: Sequence[Row]) -> Floats:
    """(N,) the metric's value of each example; NaN where an example has none."""
    if metric.each is None:
        raise UsageError(f"{metric.name} is a metric of the whole corpus: it has no example values")
    _check_rows(metric, rows)
    return np.array([metric.each(row) for row in rows], dtype=np.float64)


def interval(
    values: ArrayLike,
    clusters: Labels | None = None,
    *,
    low: float = 0.0,
    high: float = 1.0,
    level: float = 0.95,
) -> Estimate:
    """The mean of values in [low, high], NaN left out, with its interval.

    Without both bounds the interval is Student's, on cluster-robust standard errors.
    """
    x = np.asarray(values, dtype=np.float64)
    kept = ~np.isnan(x)
    labels = None if clusters is None else np.asarray(clusters)
    if labels is not None and len(labels) == len(x):
        labels = labels[kept]
    x = x[kept]
    if not len(x):
        nothing = float("nan")
        return Estimate(nothing, nothing, nothing, nothing, 0, 0, "no example has a value")
    _check_range(x, low, high)
    groups = Clusters.of(labels, len(x))
    unit = "examples" if groups.order is None else "clusters"
    mean, se = float(x.mean()), float(standard_error(x, groups))
    if np.isfinite(low) and np.isfinite(high):
        below, above = bounds((x - low) / (high - low), groups, level=level)
        limits = low + (high - low) * float(below), low + (high - low) * float(above)
        method = "beta"
    else:
        limits = _student(mean, se, groups, level)
        method = "t"
    limits = max(min(limits[0], mean), low), min(max(limits[1], mean), high)
    if not se > 0:
        # no spread seen is not no uncertainty
        se = (limits[1] - limits[0]) / (2 * normal_quantile(level))
    return Estimate(mean, *limits, se, len(x), len(groups.sizes), f"{method}, {unit}")


def _student(mean: float, se: float, groups: Clusters, level: float) -> tuple[float, float]:
    """t limits with Kish's number of clusters - 1 degrees of freedom; the whole line for one."""
    from scipy.special import stdtrit

    if len(groups.sizes) < 2:
        return -np.inf, np.inf
    reach = float(stdtrit(max(groups.effective - 1, 1.0), (1 + level) / 2)) * se
    return mean - reach, mean + reach


def _check_rows(metric: Metric, rows: Sequence[Row]) -> None:
    if not rows:
        raise UsageError(f"{metric.name} needs at least one example, and there are none")
    fewest = min(len(row) for row in rows)
    if fewest < metric.needs:
        raise UsageError(
            f"{metric.name} is undefined for fewer than {metric.needs} rollouts per example and an "
            f"example has {fewest}: ask with --rollouts {metric.needs} or more"
        )


def _check_range(x: Floats, low: float, high: float) -> None:
    slack = 1e-9 * max(
        1.0, abs(low) if np.isfinite(low) else 0, abs(high) if np.isfinite(high) else 0
    )
    if not (low < high and np.isfinite(x).all()):
        raise UsageError(f"an interval needs finite values and low < high, got [{low}, {high}]")
    if x.min() < low - slack or x.max() > high + slack:
        raise UsageError(
            f"values from {x.min():g} to {x.max():g} do not lie in [{low:g}, {high:g}]: "
            "give the metric its true `low` and `high` (infinite where there is no bound)"
        )
