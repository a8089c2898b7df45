"""Two records of one setting: could luck explain how they differ? All pairs of a ranking at once.

Where all records have values of the same examples, all pairs are tested together, as matrices
(`leaderboards.signs`); else pair by pair, as `harness compare` does. Continuous scores of few rows
go that way, too: p is then that of `harness compare` to the last digit.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.bounded import normal_quantile
from harness.comparing import POWER_Z, compare, spread
from leaderboards import signs
from results.record import Record

Floats = NDArray[np.float64]
Found = tuple[Floats, Floats, Floats]
"""difference, win and p of `Pairs`."""

LEVEL = 0.05
Z = 1.96
MOST_NEEDED = 1e9
"""Examples that nobody will ever have: what would need more differs by rounding alone."""
FEW = 12
"""Rows up to which the pairs of continuous scores are tested one by one."""


@dataclass(frozen=True)
class Pair:
    """How two records differ; `difference` is first minus second, turned so that more is better."""

    difference: float
    p: float
    """Before any correction."""
    needed: int | None
    """About so many examples more would tell them apart with 80 % power; None if they are."""
    method: str


@dataclass(frozen=True)
class Pairs:
    """All pairs of rows: (rows, rows) matrices, antisymmetric or symmetric, each row by column."""

    difference: Floats
    """Row minus column over their common examples, turned so that more is better."""
    win: Floats
    """Share of the common examples on which the row is better, ties half; NaN where none is."""
    p: Floats
    """Before any correction; 1 on the diagonal. Of pairs that a bound decides, the bound."""
    corrected: Floats
    """By Holm's correction over all pairs."""

    @property
    def separated(self) -> NDArray[np.bool_]:
        """Which pairs luck is unlikely to explain."""
        return self.corrected < LEVEL

    @property
    def level(self) -> float:
        """The p below which a pair is told apart here, once Holm has corrected for all others."""
        upper = np.triu_indices(len(self.p), 1)
        left = int((self.corrected[upper] >= LEVEL).sum())
        return LEVEL / max(left, 1)


def all_pairs(records: Sequence[Record]) -> Pairs:
    """Every pair of rows of one setting."""
    difference, win, p = _together(records) or _one_by_one(records)
    upper = np.triu_indices(len(records), 1)
    corrected = np.ones_like(p)
    corrected[upper] = _holm(p[upper])
    return Pairs(difference, win, p, np.minimum(corrected, corrected.T))


def _holm(p: Floats) -> Floats:
    """`harness.comparing.holm` for many."""
    order = np.argsort(p, kind="stable")
    factors = len(p) - np.arange(len(p))
    corrected = np.empty(len(p))
    corrected[order] = np.maximum.accumulate(np.minimum(1.0, factors * p[order]))
    return corrected


def _together(records: Sequence[Record]) -> Found | None:
    """All pairs at once; None where the rows cannot be paired alike."""
    first = records[0]
    for record in records:
        if not record.values or record.cluster_of != first.cluster_of:
            return None
        if record.example_ids_digest != first.example_ids_digest:
            return None
        if len(record.values) != len(first.values):
            return None
    values = np.array([record.values for record in records], dtype=np.float64)
    known = np.isfinite(values)
    common = known.astype(float) @ known.T.astype(float)
    if not common.all():
        return None  # two rows have no example in common
    denominator = signs.denominator_of(values)
    if not denominator and len(records) <= FEW:
        return None
    if first.better == "lower":
        values = -values
    if not first.cluster_of and np.isin(values[known], (0.0, values[known].max())).all():
        return _right_or_wrong(values, known, common)
    groups = np.unique(first.cluster_of, return_inverse=True)[1] if first.cluster_of else None
    return _sums(values, groups, denominator, common)


def _right_or_wrong(values: Floats, known: NDArray[np.bool_], common: Floats) -> Found:
    """By the numbers of discordant examples, which are products of matrices."""
    most = values[known].max()
    right, wrong = ((known & (values == side)).astype(float) for side in (most, 0.0))
    wins = right @ wrong.T
    lead = (wins - wins.T) / common
    return most * lead, 0.5 + 0.5 * lead, signs.mcnemar(wins, wins.T)


def _sums(
    values: Floats, groups: NDArray[np.intp] | None, denominator: int, common: Floats
) -> Found:
    """Row by row against all below it, on sums within clusters."""
    size = len(values)
    difference, lead, p = np.zeros((size, size)), np.zeros((size, size)), np.ones((size, size))
    surely = LEVEL / max(size * (size - 1) / 2, 1)
    for i in range(size - 1):
        gaps = np.nan_to_num(values[i] - values[i + 1 :])
        lead[i, i + 1 :] = np.sign(gaps).sum(axis=1)
        difference[i, i + 1 :] = gaps.sum(axis=1)
        if groups is not None:
            clustered = np.zeros((int(groups.max()) + 1, len(gaps)))
            np.add.at(clustered, groups, gaps.T)
            gaps = clustered.T
        p[i, i + 1 :] = p[i + 1 :, i] = signs.pvalues(gaps, denominator, surely)
    return (difference - difference.T) / common, 0.5 + 0.5 * (lead - lead.T) / common, p


def _one_by_one(records: Sequence[Record]) -> Found:
    """Pair by pair, where rows have values of different examples, or none."""
    size = len(records)
    difference, win, p = (
        np.zeros((size, size)),
        np.full((size, size), math.nan),
        np.ones(2 * [size]),
    )
    for i, j in itertools.combinations(range(size), 2):
        pair = tell_apart(records[i], records[j])
        p[i, j] = p[j, i] = pair.p
        difference[i, j], difference[j, i] = pair.difference, -pair.difference
        gaps = _gaps(records[i], records[j])
        if len(gaps):
            win[i, j] = 0.5 + 0.5 * float(np.sign(gaps).mean())
            win[j, i] = 1 - win[i, j]
    return difference, win, p


def _gaps(a: Record, b: Record) -> Floats:
    """Differences of the common examples, turned so that more is better; NaN where one has none."""
    if not _paired_values(a, b):
        return np.zeros(0)
    gaps = np.array(a.values, dtype=np.float64) - np.array(b.values, dtype=np.float64)
    gaps = -gaps if a.better == "lower" else gaps
    return gaps[np.isfinite(gaps)]


def _paired_values(a: Record, b: Record) -> bool:
    same = a.example_ids_digest == b.example_ids_digest != ""
    return bool(same and a.values and len(a.values) == len(b.values))


def goodness(record: Record, value: float) -> float:
    """The value, turned so that more is better."""
    return -value if record.better == "lower" else value


def tell_apart(a: Record, b: Record) -> Pair:
    """How two records of one setting differ."""
    return _paired(a, b) if _paired_values(a, b) else _unpaired(a, b)


def needed(a: Record, b: Record, level: float = LEVEL) -> int | None:
    """About so many examples more would tell two rows apart at a level of p with 80 % power.

    (z + 0.84)^2 times the square of se / difference, times the examples, less those there are; se
    is that of `harness.comparing`, or follows from the intervals. None where nothing differs.
    """
    z, count = normal_quantile(1 - level), min(a.examples, b.examples)
    if _paired_values(a, b):
        gaps = np.array(a.values, dtype=np.float64) - np.array(b.values, dtype=np.float64)
        known = np.isfinite(gaps)
        count, gap = int(known.sum()), float(gaps[known].mean()) if known.any() else 0.0
        labels = np.array(a.cluster_of)[known] if a.cluster_of else np.arange(count)
        _, places = np.unique(labels, return_inverse=True)
        sums = np.bincount(places, gaps[known]).astype(np.float64)
        sizes = np.bincount(places).astype(np.float64)
        error = spread(sums, sizes, 1 - level)[0] if gap else math.nan
    else:
        top, bottom = (a, b) if a.value >= b.value else (b, a)
        gap = a.value - b.value
        error = math.hypot(top.value - top.low, bottom.high - bottom.value) / Z
    if not gap or not math.isfinite(error) or error <= 0:
        return None
    wanted = count * ((z + POWER_Z) * error / abs(gap)) ** 2
    return max(math.ceil(wanted) - count, 1) if wanted < MOST_NEEDED else None


def examples(record: Record, ids: Sequence[str] | None = None) -> dict[str, float]:
    """Value of each example that has one, by id; by place among the sorted ids without `ids`."""
    names = ids if ids is not None else [str(number) for number in range(len(record.values))]
    return {
        name: value
        for name, value in zip(names, record.values, strict=True)
        if not math.isnan(value)
    }


def clusters(record: Record, ids: Sequence[str] | None = None) -> dict[str, str] | None:
    """Cluster of each example by id; None where each is its own."""
    if not record.cluster_of:
        return None
    names = ids if ids is not None else [str(number) for number in range(len(record.values))]
    return {name: str(c) for name, c in zip(names, record.cluster_of, strict=True)}


def _paired(a: Record, b: Record) -> Pair:
    left, right = examples(a), examples(b)
    if not left.keys() & right.keys():
        return _unpaired(a, b)
    found = compare(left, right, clusters(a))
    sign = -1 if a.better == "lower" else 1
    return Pair(sign * found.difference, found.p, found.needed, found.method)


def _unpaired(a: Record, b: Record) -> Pair:
    """By the intervals alone: each half that faces the other counts as 1.96 standard errors."""
    difference = goodness(a, a.value) - goodness(b, b.value)
    top, bottom = (a, b) if a.value >= b.value else (b, a)
    reach = math.hypot(top.value - top.low, bottom.high - bottom.value)
    if math.isnan(reach) or math.isinf(reach):
        return Pair(difference, 1.0, None, "no interval")
    if difference == 0 or reach <= 0:  # an interval of no width is no proof
        return Pair(difference, 1.0, None, "intervals")
    z = Z * abs(difference) / reach
    p = math.erfc(z / math.sqrt(2))
    count = min(a.examples, b.examples)
    needed = math.ceil(count * (((Z + POWER_Z) / z) ** 2 - 1))
    return Pair(difference, p, needed if needed > 0 else None, "intervals")
