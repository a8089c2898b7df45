"""Metrics: what becomes of the verdicts of many rollouts.

Factories give a `Metric` for a task's list; the pure functions below them hold the formulas. n is
the number of rollouts of an example, c how many of them are right, k how many a user would draw.
Metrics of k are undefined for n < k, say so through `Metric.needs`, and refuse.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from harness.errors import UsageError
from harness.types import Better, Metric, Row, Sums, Verdict
from harness.voting import Same, clusters, vote_credit


def mean(
    score: str = "correct",
    *,
    low: float = 0.0,
    high: float = 1.0,
    better: Better = "higher",
    unit: str = "",
) -> Metric:
    """Mean of a score over rollouts, then over examples. Give counts their range: high=math.inf."""
    return Metric(
        score,
        each=lambda row: _mean([scored(v, score) for v in row]),
        better=better,
        unit=unit,
        low=low,
        high=high,
    )


def mean_where(
    score: str,
    where: str,
    *,
    low: float = 0.0,
    high: float = 1.0,
    better: Better = "higher",
    unit: str = "",
) -> Metric:
    """Mean of a score over rollouts whose score `where` is 1; examples without one are left out."""
    return Metric(
        f"{score}|{where}",
        each=lambda row: _mean([scored(v, score) for v in row if _right(v, where)]),
        better=better,
        unit=unit,
        low=low,
        high=high,
    )


def mean_steps(score: str = "steps", where: str = "") -> Metric:
    """Mean number of decisions (tokens) per rollout, or per rollout whose score `where` is 1."""
    if where:
        return mean_where(score, where, high=math.inf, better="lower")
    return mean(score, high=math.inf, better="lower")


def share(reason: str, *, better: Better = "lower") -> Metric:
    """Share of rollouts with this reason: share("truncated"), share("no_answer")."""
    return Metric(
        f"{reason}_share",
        each=lambda row: _mean([float(v.reason == reason) for v in row]),
        better="higher" if reason == "ok" else better,
    )


def ratio(
    numerator: str,
    denominator: str,
    *,
    low: float = 0.0,
    high: float = 1.0,
    better: Better = "higher",
    name: str = "",
) -> Metric:
    """Sum of one score over the sum of another, over all rollouts: a metric of the whole corpus.

    NaN where the denominator's sum is 0.
    """

    def compute(rows: Sequence[Row]) -> float:
        below = math.fsum(scored(v, denominator) for row in rows for v in row)
        above = math.fsum(scored(v, numerator) for row in rows for v in row)
        return above / below if below else math.nan

    label = name or f"{numerator}/{denominator}"
    return Metric(label, compute=compute, better=better, low=low, high=high)


def of_sums(name: str, sums: Sums, **settings: Any) -> Metric:
    """A metric of the whole corpus that is a function of sums over examples.

    `settings` are the optional fields of Metric: better, unit, low, high, needs.
    """

    def compute(rows: Sequence[Row]) -> float:
        import numpy as np

        return float(sums.value(np.sum([sums.each(row) for row in rows], axis=0)))

    return Metric(name, compute=compute, sums=sums, **settings)


def avg_at(k: int, score: str = "correct") -> Metric:
    """avg@k: the mean score of k rollouts; with n > k its expectation, the mean of all n."""
    _positive(k)
    return Metric(f"avg@{k}", each=lambda row: _mean([scored(v, score) for v in row]), needs=k)


def pass_at(k: int, score: str = "correct") -> Metric:
    """pass@k: the chance that one of k rollouts is right (Chen et al. 2021, unbiased)."""
    _positive(k)
    return Metric(f"pass@{k}", each=lambda row: pass_at_k(*counts(row, score), k), needs=k)


def pass_all_at(k: int, score: str = "correct") -> Metric:
    """pass^k: the chance that all of k rollouts are right (tau-bench)."""
    _positive(k)
    return Metric(f"pass^{k}", each=lambda row: pass_all_at_k(*counts(row, score), k), needs=k)


def g_pass_at(k: int, tau: float, score: str = "correct") -> Metric:
    """G-Pass@k: the chance that at least a share `tau` of k rollouts is right (Liu et al. 2024)."""
    _positive(k)
    _share_of_one(tau)
    return Metric(
        f"g-pass@{k}_{tau:g}", each=lambda row: g_pass_at_k(*counts(row, score), k, tau), needs=k
    )


def mg_pass_at(k: int, score: str = "correct") -> Metric:
    """mG-Pass@k: G-Pass@k averaged over the thresholds above one half; k of 2 at least."""
    if k < 2:
        raise UsageError(f"mg-pass@k needs k of at least 2, got {k}: its sum is empty for k = 1")
    return Metric(f"mg-pass@{k}", each=lambda row: mg_pass_at_k(*counts(row, score), k), needs=k)


def maj_at(k: int, same: Same | None = None, score: str = "correct") -> Metric:
    """maj@k: the chance that the most frequent answer of k rollouts is right.

    `same(a, b)` says whether two answers are one (default: equal); it is never shown the target.
    Rollouts without an answer do not vote, ties share the credit, nobody voting is wrong. A cluster
    is as right as its members' mean score.
    """
    _positive(k)

    def each(row: Row) -> float:
        voters = [verdict for verdict in row if verdict.answer is not None]
        found = clusters([verdict.answer for verdict in voters], same)
        right = [_mean([scored(voters[i], score) for i in members]) for members in found]
        return maj_at_k([len(members) for members in found], right, len(row), k)

    return Metric(f"maj@{k}", each=each, needs=k)


def pass_at_k(n: int, c: int, k: int) -> float:
    """1 - C(n - c, k) / C(n, k), as a product that keeps its digits; 1 where n - c < k."""
    _check(n, c, k)
    if n - c < k:
        return 1.0
    return 1.0 - math.prod(1.0 - k / i for i in range(n - c + 1, n + 1))


def pass_all_at_k(n: int, c: int, k: int) -> float:
    """C(c, k) / C(n, k): the chance that k drawn without replacement are all right."""
    _check(n, c, k)
    return math.comb(c, k) / math.comb(n, k)


def g_pass_at_k(n: int, c: int, k: int, tau: float) -> float:
    """The chance that at least max(ceil(tau k), 1) of k drawn without replacement are right."""
    _check(n, c, k)
    _share_of_one(tau)
    # 0.7 * 10 is 7.000000000000001: a threshold is not raised by rounding
    return _at_least(n, c, k, max(math.ceil(tau * k - 1e-9), 1))


def mg_pass_at_k(n: int, c: int, k: int) -> float:
    """2/k times the sum over i from ceil(k/2) + 1 to k of the chance of at least i right."""
    _check(n, c, k)
    if k < 2:
        raise UsageError(f"mg-pass@k needs k of at least 2, got {k}: its sum is empty for k = 1")
    return 2 / k * math.fsum(_at_least(n, c, k, i) for i in range(math.ceil(k / 2) + 1, k + 1))


def maj_at_k(sizes: Sequence[int], right: Sequence[float], n: int, k: int) -> float:
    """Expected credit of a vote among k of n rollouts, of which sizes[j] gave answer j.

    right[j] in [0, 1] is what answer j is worth; n - sum(sizes) rollouts do not vote. Exact up to
    128 rollouts, beyond that the mean over 1000 subsets drawn from a fixed seed.
    """
    _check(n, 0, k)
    if sum(sizes) > n or len(sizes) != len(right):
        raise UsageError(f"{len(right)} answers of {sum(sizes)} voters do not fit {n} rollouts")
    return math.fsum(
        worth * vote_credit(tuple(sizes), j, n, k) for j, worth in enumerate(right) if worth
    )


def counts(row: Row, score: str = "correct") -> tuple[int, int]:
    """n and c: the rollouts of a row, and how many have this score at 1."""
    return len(row), sum(_right(verdict, score) for verdict in row)


def scored(verdict: Verdict, score: str) -> float:
    """A score of a verdict; UsageError, with the scores there are, where it is missing or NaN."""
    value = verdict.scores.get(score)
    if value is None:
        known = ", ".join(sorted(verdict.scores)) or "none"
        raise UsageError(f"a metric asks for the score '{score}' and the verdict has: {known}")
    value = float(value)
    if math.isnan(value):
        raise UsageError(f"the score '{score}' of a verdict is NaN: verifiers give numbers")
    return value


@lru_cache(maxsize=4096)
def _at_least(n: int, c: int, k: int, least: int) -> float:
    ways = sum(math.comb(c, j) * math.comb(n - c, k - j) for j in range(least, min(c, k) + 1))
    return ways / math.comb(n, k)


def _right(verdict: Verdict, score: str) -> bool:
    return scored(verdict, score) >= 1 - 1e-9


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values) if values else math.nan


def _positive(k: int) -> None:
    if k < 1:
        raise UsageError(f"k must be at least 1, got {k}")


def _share_of_one(tau: float) -> None:
    if not 0 <= tau <= 1:
        raise UsageError(f"tau must lie in [0, 1], got {tau}")


def _check(n: int, c: int, k: int) -> None:
    _positive(k)
    if not 0 <= c <= n:
        raise UsageError(f"c must lie in 0..n, got c = {c} and n = {n}")
    if n < k:
        raise UsageError(
            f"undefined for n < k: {n} rollouts per example cannot show k = {k}; "
            f"ask with --rollouts {k} or more, or choose k of at most {n}"
        )
