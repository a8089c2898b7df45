"""Two records of one setting: could luck explain how they differ? All pairs of a ranking at once.

Most pairs of a long ranking need no test: with r = (sum s)^2 / sum s^2 over the sums s of clusters,
the p of sign flips is at least 1/10 for r <= 1 (Oleszkiewicz 1996), and at most 2 exp(-r / 2)
(Hoeffding 1963). Pairs that these bounds decide whatever Holm's correction does are not tested.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.comparing import POWER_Z, compare
from results.record import Record

LEVEL = 0.05
Z = 1.96


@dataclass(frozen=True)
class Pair:
    """How two records differ; `difference` is first minus second, turned so that more is better."""

    difference: float
    p: float
    """Before any correction."""
    needed: int | None
    """About so many examples more would tell them apart with 80 % power; None if they are."""
    method: str


def all_pairs(records: Sequence[Record]) -> dict[tuple[int, int], Pair]:
    """Every pair by its two places; neighbors are always tested, to tell what would part them."""
    count = len(records) * (len(records) - 1) // 2
    ratios = _ratios(records)
    pairs: dict[tuple[int, int], Pair] = {}
    for i, j in itertools.combinations(range(len(records)), 2):
        r = ratios[i, j] if ratios is not None and j > i + 1 else math.nan
        bound = 2 * math.exp(-r / 2) if r == r else math.nan
        if r <= 1 or bound * count < LEVEL:
            a, b = records[i], records[j]
            gap = goodness(a, a.value) - goodness(b, b.value)
            p = math.erfc(math.sqrt(r / 2)) if r <= 1 else bound
            pairs[i, j] = Pair(gap, p, None, "bounds of sign flips")
        else:
            pairs[i, j] = tell_apart(records[i], records[j])
    return pairs


def _ratios(records: Sequence[Record]) -> NDArray[np.float64] | None:
    """(rows, rows) of r, above the diagonal; None where the rows cannot be paired alike."""
    first = records[0]
    for record in records:
        if not record.values or record.cluster_of != first.cluster_of:
            return None
        if len(record.values) != len(first.values) or not record.example_ids_digest:
            return None
    values = np.array([record.values for record in records])
    labels = np.unique(first.cluster_of, return_inverse=True)[1] if first.cluster_of else None
    found = np.full((len(records), len(records)), math.nan)
    for i in range(len(records) - 1):
        gaps = np.nan_to_num(values[i] - values[i + 1 :])
        if labels is not None:
            sums = np.zeros((int(labels.max()) + 1, len(gaps)))
            np.add.at(sums, labels, gaps.T)
            gaps = sums.T
        spread = (gaps**2).sum(axis=1)
        total = gaps.sum(axis=1) ** 2
        found[i, i + 1 :] = np.divide(total, spread, out=np.zeros(len(gaps)), where=spread > 0)
    return found


def goodness(record: Record, value: float) -> float:
    """The value, turned so that more is better."""
    return -value if record.better == "lower" else value


def tell_apart(a: Record, b: Record) -> Pair:
    """How two records of one setting differ."""
    same = a.example_ids_digest == b.example_ids_digest != ""
    if same and a.values and len(a.values) == len(b.values):
        return _paired(a, b)
    return _unpaired(a, b)


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
