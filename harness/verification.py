"""verification: how forecasts are judged by forecasters. Events, ensembles, probabilities.

An event is forecast or not and happens or not: hits a, false alarms b, misses c, correct negatives
d. Names are those of WMO/WWRP. "FAR" alone is never printed, since it means two things: `far_ratio`
is b / (a + b), `pofd` is b / (b + d). A zero denominator gives NaN, never 0 or 1.

Sources: Jolliffe and Stephenson 2012 (Forecast Verification); Ferro and Stephenson 2011 (SEDI);
Murphy 1973 (Brier decomposition); Hersbach 2000 and Ferro 2014 (CRPS of an ensemble).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harness.types import Better

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Counts:
    """Contingency tables: each field holds one table, or an array of the same shape."""

    hits: Floats
    false_alarms: Floats
    misses: Floats
    correct_negatives: Floats

    @classmethod
    def of(cls, forecast: ArrayLike, observed: ArrayLike) -> Counts:
        """One table of two arrays of booleans of one shape."""
        f, o = np.asarray(forecast, bool), np.asarray(observed, bool)
        cells = (f & o, f & ~o, ~f & o, ~f & ~o)
        return cls(*(np.asarray(cell.sum(), np.float64) for cell in cells))

    @classmethod
    def stacked(cls, cells: Floats) -> Counts:
        """(..., 4) as a, b, c, d."""
        return cls(*np.moveaxis(np.asarray(cells, np.float64), -1, 0))

    @property
    def n(self) -> Floats:
        """Pairs of a forecast and an observation."""
        return self.hits + self.false_alarms + self.misses + self.correct_negatives


def pod(t: Counts) -> Floats:
    """Probability of detection, a / (a + c)."""
    return _ratio(t.hits, t.hits + t.misses)


def far_ratio(t: Counts) -> Floats:
    """False alarm ratio, b / (a + b): the share of alarms that were false."""
    return _ratio(t.false_alarms, t.hits + t.false_alarms)


def pofd(t: Counts) -> Floats:
    """Probability of false detection, b / (b + d): the share of quiet cases with an alarm."""
    return _ratio(t.false_alarms, t.false_alarms + t.correct_negatives)


def csi(t: Counts) -> Floats:
    """Critical success index, a / (a + b + c)."""
    return _ratio(t.hits, t.hits + t.false_alarms + t.misses)


def f1(t: Counts) -> Floats:
    """2a / (2a + b + c)."""
    return _ratio(2 * t.hits, 2 * t.hits + t.false_alarms + t.misses)


def bias(t: Counts) -> Floats:
    """Frequency bias, (a + b) / (a + c): above 1 the event is forecast too often."""
    return _ratio(t.hits + t.false_alarms, t.hits + t.misses)


def ets(t: Counts) -> Floats:
    """Equitable threat score, (a - a_r) / (a + b + c - a_r), a_r = (a + b)(a + c) / n."""
    by_chance = _ratio((t.hits + t.false_alarms) * (t.hits + t.misses), t.n)
    return _ratio(t.hits - by_chance, t.hits + t.false_alarms + t.misses - by_chance)


def pss(t: Counts) -> Floats:
    """Peirce skill score (true skill statistic), pod - pofd."""
    return pod(t) - pofd(t)


def hss(t: Counts) -> Floats:
    """Heidke skill score, 2(ad - bc) / ((a + c)(c + d) + (a + b)(b + d))."""
    a, b, c, d = t.hits, t.false_alarms, t.misses, t.correct_negatives
    return _ratio(2 * (a * d - b * c), (a + c) * (c + d) + (a + b) * (b + d))


def sedi(t: Counts) -> Floats:
    """Symmetric extremal dependence index; NaN where pod or pofd is 0 or 1."""
    h, f = pod(t), pofd(t)
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.log(f), np.log(h), np.log1p(-f), np.log1p(-h)
        found = (terms[0] - terms[1] - terms[2] + terms[3]) / sum(terms)
    return np.where(np.isfinite(found), found, np.nan)


def accuracy(t: Counts) -> Floats:
    """(a + d) / n."""
    return _ratio(t.hits + t.correct_negatives, t.n)


def base_rate(t: Counts) -> Floats:
    """(a + c) / n: how often the event happens."""
    return _ratio(t.hits + t.misses, t.n)


def expected_cost(t: Counts, miss: float) -> Floats:
    """(b + miss x c) / n: what a case costs where a false alarm costs 1 and a miss `miss`."""
    return _ratio(t.false_alarms + miss * t.misses, t.n)


@dataclass(frozen=True)
class EventScore:
    """A score of contingency tables with its range and direction."""

    of: Callable[[Counts], Floats]
    better: Better = "higher"
    low: float = 0.0
    high: float = 1.0


EVENT_SCORES: Mapping[str, EventScore] = {
    "pss": EventScore(pss, low=-1.0),
    "pod": EventScore(pod),
    "far_ratio": EventScore(far_ratio, "lower"),
    "pofd": EventScore(pofd, "lower"),
    "csi": EventScore(csi),
    "f1": EventScore(f1),
    "bias": EventScore(bias, "neither", high=np.inf),
    "ets": EventScore(ets, low=-1 / 3),
    "hss": EventScore(hss, low=-1.0),
    "sedi": EventScore(sedi, low=-1.0),
    "base_rate": EventScore(base_rate, "neither"),
}
"""Scores of an event by name; `pss` first, since F1 alone is beaten by an alarm on every day."""


def macro_f1(confusion: Floats) -> Floats:
    """(..., K, P) observed by forecast class to the mean F1 over classes that were observed.

    Columns beyond the K-th hold what is no class: a missing or unreadable forecast.
    """
    size = confusion.shape[-2]
    right = np.diagonal(confusion[..., :size], axis1=-2, axis2=-1)
    observed = confusion.sum(axis=-1)
    each = _ratio(2 * right, observed + confusion[..., :size].sum(axis=-2))
    seen = observed > 0
    return _ratio(np.where(seen, np.nan_to_num(each), 0.0).sum(axis=-1), seen.sum(axis=-1))


def class_accuracy(confusion: Floats) -> Floats:
    """(..., K, P) to the share of cases on the diagonal."""
    right = np.diagonal(confusion, axis1=-2, axis2=-1).sum(axis=-1)
    return _ratio(right, confusion.sum(axis=(-2, -1)))


def classes_of(values: ArrayLike, edges: ArrayLike) -> NDArray[np.intp]:
    """Class numbers from 0; intervals are closed on the right, so a value on an edge is below it.

    NaN becomes -1: no class.
    """
    x = np.asarray(values, np.float64)
    return np.where(np.isnan(x), -1, np.searchsorted(np.asarray(edges, np.float64), x, "left"))


def crps(members: ArrayLike, observed: ArrayLike, *, fair: bool = True) -> Floats:
    """(..., M) members and (...) observations to CRPS, in their unit; NaN where either is missing.

    mean |x_i - y| - sum_ij |x_i - x_j| / (2 M^2), or with `fair` over M (M - 1), which does not
    depend on the size of the ensemble. One member gives |x - y|.
    """
    x, y = np.sort(np.asarray(members, np.float64), axis=-1), np.asarray(observed, np.float64)
    count = x.shape[-1]
    error = np.abs(x - y[..., None]).mean(axis=-1)
    if count == 1:
        return error
    # sorted members: sum_{i,j} |x_i - x_j| = 2 sum_i (2i - M - 1) x_(i)
    order: Floats = 2 * np.arange(1, count + 1, dtype=np.float64) - count - 1
    pairs: Floats = 2 * (x * order).sum(axis=-1)
    return error - pairs / (2 * count * (count - 1 if fair else count))


@dataclass(frozen=True)
class Reliability:
    """How often an event happened when it was forecast with a probability; an entry a bin."""

    forecast: Floats
    """(K,) mean probability within the bin; NaN where it is empty."""
    observed: Floats
    """(K,) share of events within the bin."""
    count: NDArray[np.int64]
    """(K,) cases."""
    brier: float
    """Mean (p - o)^2."""
    reliability: float
    """Mean squared gap of the bins from the diagonal: 0 is best."""
    resolution: float
    uncertainty: float
    """base rate x (1 - base rate): brier = reliability - resolution + uncertainty, up to the
    spread of probabilities within bins."""


def reliability(probability: ArrayLike, happened: ArrayLike, bins: int = 10) -> Reliability:
    """The reliability diagram's numbers, in `bins` equal bins; NaN probabilities are left out."""
    p, o = np.asarray(probability, np.float64).ravel(), np.asarray(happened, np.float64).ravel()
    kept = ~(np.isnan(p) | np.isnan(o))
    p, o = p[kept], o[kept]
    index = np.clip((p * bins).astype(np.int64), 0, bins - 1)
    count = np.bincount(index, minlength=bins)
    forecast = _ratio(np.asarray(np.bincount(index, p, bins), np.float64), count.astype(np.float64))
    observed = _ratio(np.asarray(np.bincount(index, o, bins), np.float64), count.astype(np.float64))
    rate = float(o.mean()) if len(o) else np.nan
    share = count / max(len(p), 1)
    return Reliability(
        forecast,
        observed,
        count,
        brier=float(((p - o) ** 2).mean()) if len(p) else np.nan,
        reliability=float(np.nansum(share * (forecast - observed) ** 2)),
        resolution=float(np.nansum(share * (observed - rate) ** 2)),
        uncertainty=rate * (1 - rate),
    )


def _ratio(above: Floats, below: Floats) -> Floats:
    """above / below; NaN where below is 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(below != 0, np.divide(above, below), np.nan)
