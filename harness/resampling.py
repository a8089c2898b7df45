"""Resampling: the bootstrap for metrics of a whole corpus, which have no value of one example.

Own code instead of `scipy.stats.bootstrap`, for three reasons: a draw may leave a ratio undefined,
a corpus without spread must not get an interval without width, and clusters are drawn whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.bounded import Clusters, Floats, beta_limits, normal_quantile
from harness.types import Metric, Row, Sums

DRAWS = 2000


@dataclass(frozen=True)
class Resampled:
    """What the draws say about a metric."""

    value: float
    low: float
    high: float
    se: float
    method: str


def bootstrap(
    metric: Metric, rows: Sequence[Row], groups: Clusters, *, level: float = 0.95, seed: int = 0
) -> Resampled:
    """BCa limits over clusters (Efron 1987), stretched for few clusters by t / z; same seed, same.

    Where no draw differs (all right, one cluster), bounded metrics get the limits of a score that
    each cluster decides as a whole; unbounded ones the metric's whole range.
    """
    assert metric.compute is not None
    compute = metric.compute
    members = _members(groups, len(rows))
    count = len(members)
    value = float(compute([rows[index] for part in members for index in part]))
    chosen = np.random.default_rng(seed).integers(count, size=(DRAWS, count))
    skipped = range(count if count > 1 else 0)
    if metric.sums is not None:
        each = np.array([metric.sums.each(row) for row in rows], dtype=np.float64)
        sums = groups.sums(each.T).T
        draws = resampled(sums, chosen, metric.sums)
        left = metric.sums.value(sums.sum(axis=0) - sums) if count > 1 else np.zeros(0)
    else:

        def over(groups: Sequence[int]) -> float:
            return float(compute([rows[index] for group in groups for index in members[group]]))

        draws = np.array([over(draw.tolist()) for draw in chosen])
        left = np.array([over([*range(skip), *range(skip + 1, count)]) for skip in skipped])
    draws = np.sort(draws[np.isfinite(draws)])
    if not np.isfinite(value) or len(draws) < DRAWS / 2 or draws[0] == draws[-1]:
        return _degenerate(metric, value, groups, level)
    low, high = _bca(value, draws, left, groups, level)
    return Resampled(value, min(low, value), max(high, value), float(draws.std(ddof=1)), "bca")


def resampled(sums: Floats, chosen: NDArray[np.int64], of: Sums) -> Floats:
    """(D,) values of D draws; `sums` is (G, K) a group, `chosen` (D, G) the groups of each draw."""
    draws, count = chosen.shape
    offset: NDArray[np.int64] = count * np.arange(draws, dtype=np.int64)[:, None]
    places: NDArray[np.int64] = np.asarray(chosen + offset, np.int64)
    times = np.bincount(places.ravel(), minlength=draws * count).reshape(draws, count)
    return of.value(times @ sums)


def _members(groups: Clusters, examples: int) -> list[list[int]]:
    if groups.order is None:
        return [[index] for index in range(examples)]
    return [part.tolist() for part in np.split(groups.order, groups.starts[1:])]


def _bca(
    value: float, draws: Floats, left: Floats, groups: Clusters, level: float
) -> tuple[float, float]:
    """Quantiles of the sorted draws, corrected for bias and for acceleration by the jackknife."""
    from scipy.special import ndtr, ndtri, stdtrit

    below = (np.sum(draws < value) + 0.5 * np.sum(draws == value)) / len(draws)
    bias = float(ndtri(float(np.clip(below, 1 / len(draws), 1 - 1 / len(draws)))))
    gaps = np.nanmean(left) - left[np.isfinite(left)]
    spread = float((gaps**2).sum()) ** 1.5
    lean = float((gaps**3).sum()) / (6 * spread) if spread > 0 else 0.0
    reach = float(stdtrit(max(groups.effective - 1, 1.0), (1 + level) / 2))
    # a bootstrap draw has variance (G - 1) / G of the truth
    reach *= np.sqrt(groups.effective / max(groups.effective - 1, 1.0))
    found: list[float] = []
    for quantile in (-reach, reach):
        moved = bias + quantile
        corrected = bias + moved / max(1 - lean * moved, 0.1)
        found.append(float(np.quantile(draws, float(ndtr(float(corrected))))))
    return found[0], found[1]


def _degenerate(metric: Metric, value: float, groups: Clusters, level: float) -> Resampled:
    method = "no spread seen"
    if not (np.isfinite(metric.low) and np.isfinite(metric.high) and np.isfinite(value)):
        low, high = metric.low, metric.high
    else:
        width = metric.high - metric.low
        share = min(max((value - metric.low) / width, 0.0), 1.0)
        below, above = beta_limits(share, groups.effective, groups.effective, level=level)
        low, high = metric.low + width * float(below), metric.low + width * float(above)
    return Resampled(value, low, high, (high - low) / (2 * normal_quantile(level)), method)
