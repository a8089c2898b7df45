"""Paired comparison, against independent implementations and by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import binomtest, permutation_test, ttest_rel

from harness.comparing import compare, holm, permuted
from harness.errors import DataError


def runs(x, y) -> tuple[dict[str, float], dict[str, float]]:
    ids = [f"e{number}" for number in range(len(x))]
    return dict(zip(ids, map(float, x), strict=True)), dict(zip(ids, map(float, y), strict=True))


def test_right_or_wrong_is_mcnemars_exact_test():
    x = [1] * 9 + [0] * 2 + [1] * 20 + [0] * 10
    y = [0] * 9 + [1] * 2 + [1] * 20 + [0] * 10
    found = compare(*runs(x, y))
    assert found.p == pytest.approx(binomtest(9, 11).pvalue, abs=1e-12)
    assert len(found.a_better) == 9
    assert len(found.b_better) == 2
    discordant, n = 13, 43  # Bonett and Price add one to each discordant count
    spread = math.sqrt((discordant - 7**2 / n) / (n - 1) / n * n / n) * math.sqrt(n / n)
    assert found.mde == pytest.approx((1.959964 + 0.8416) * spread, rel=1e-5)


@pytest.mark.parametrize("seed", range(5))
def test_averages_of_rollouts_agree_with_scipys_permutation_test(seed: int):
    rng = np.random.default_rng(seed)
    x, y = rng.integers(0, 9, 12) / 8, rng.integers(0, 9, 12) / 8
    theirs = permutation_test(
        (x, y), lambda u, v: (u - v).mean(), permutation_type="samples", n_resamples=10**6
    )
    assert compare(*runs(x, y)).p == pytest.approx(theirs.pvalue, abs=1e-9)


def test_free_values_are_near_the_paired_t_test():
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=200), rng.normal(size=200) + 0.25
    found, theirs = compare(*runs(x, y)), ttest_rel(x, y)
    assert found.p == pytest.approx(theirs.pvalue, abs=0.01)
    interval = theirs.confidence_interval()
    assert found.low == pytest.approx(interval.low, abs=0.02)
    assert found.high == pytest.approx(interval.high, abs=0.02)


def test_no_difference_is_no_evidence_and_not_certainty():
    found = compare(*runs([1] * 30, [1] * 30))
    assert (found.difference, found.p, found.needed) == (0.0, 1.0, None)
    assert found.low < 0 < found.high
    assert found.mde > 0


def test_one_example_decides_nothing():
    found = compare(*runs([1], [0]))
    assert found.p == 1.0
    assert -1 <= found.low < 0 < found.high <= 1


def test_swapping_the_runs_turns_the_difference():
    x, y = runs([1, 1, 0, 1, 0.5], [0, 1, 1, 0.25, 0.5])
    one, other = compare(x, y), compare(y, x)
    assert one.difference == -other.difference
    assert one.p == other.p
    assert (one.low, one.high) == pytest.approx((-other.high, -other.low))


def test_copies_of_an_example_in_one_cluster_are_no_evidence_more():
    x, y = runs([1, 1, 1, 0, 1, 0] * 10, [0, 0, 1, 0, 0, 0] * 10)
    labels = {id: str(int(id[1:]) % 6) for id in x}
    alone = compare(*runs([1, 1, 1, 0, 1, 0], [0, 0, 1, 0, 0, 0]))
    together = compare(x, y, labels)
    assert together.clusters == 6
    assert together.p == alone.p
    assert together.low == pytest.approx(alone.low)


def test_runs_without_a_common_example_cannot_be_compared():
    with pytest.raises(DataError, match="no example in common"):
        compare({"a": 1.0}, {"b": 1.0})
    with pytest.raises(DataError, match="no example in common"):
        compare({"a": math.nan}, {"a": 1.0})


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([]) == []
    assert holm([0.9, 0.8]) == [1.0, 1.0]


@pytest.mark.parametrize(("n", "rollouts"), [(30, 1), (30, 8), (150, 1), (150, 4)])
def test_equal_models_are_told_apart_at_most_as_often_as_promised(n: int, rollouts: int):
    rng = np.random.default_rng(n + rollouts)
    worlds, false, covered = 600, 0, 0
    for _ in range(worlds):
        rates = rng.beta(0.7, 1.3, n)
        found = compare(*runs(*(rng.binomial(rollouts, rates) / rollouts for _ in range(2))))
        false += found.separated
        covered += found.low <= 0 <= found.high
    assert false / worlds <= 0.055 + 2 * math.sqrt(0.05 * 0.95 / worlds)
    assert covered / worlds >= 0.95 - 2 * math.sqrt(0.05 * 0.95 / worlds)


def test_a_gap_of_the_detectable_size_is_found_about_as_often_as_promised():
    rng = np.random.default_rng(7)
    n, worlds = 200, 300
    rates = rng.beta(0.7, 1.3, n)
    x = rng.binomial(4, rates) / 4
    mde = compare(*runs(x, rng.binomial(4, rates) / 4)).mde
    better = np.clip(rates + mde, 0, 1)
    gap = float((better - rates).mean())
    found = sum(
        compare(*runs(rng.binomial(4, better) / 4, rng.binomial(4, rates) / 4)).separated
        for _ in range(worlds)
    )
    assert gap > 0.8 * mde
    assert 0.6 <= found / worlds <= 0.95


def test_the_dust_of_rounding_is_no_difference():
    a = {"one": 0.1 + 0.2, "two": 0.3, "three": 0.9}
    b = {"one": 0.3, "two": 0.9, "three": 0.3}
    found = compare(a, b)
    assert (found.difference, found.needed) == (0.0, None)


def test_splits_of_two_samples_by_hand():
    assert permuted([1.0, 2.0], [3.0, 4.0]) == pytest.approx(2 / 6)
    assert permuted([1.0, 2.0, 3.0], [4.0, 5.0, 6.0]) == pytest.approx(2 / 20)
    assert permuted([1.0, 1.0], [1.0, 1.0]) == 1.0
    low, high = [0.1 + 0.01 * n for n in range(8)], [0.5 + 0.01 * n for n in range(8)]
    assert permuted(low, high) == pytest.approx(2 / 12870)


def test_splits_agree_with_scipy_and_drawn_ones_are_near():
    rng = np.random.default_rng(0)
    for size, most, slack in ((6, 924, 1e-9), (20, 9_999, 0.02)):
        a, b = rng.normal(0, 1, size).tolist(), rng.normal(0.8, 1, size).tolist()
        told = permutation_test(
            (a, b), lambda x, y: np.mean(x) - np.mean(y), n_resamples=most, vectorized=False
        )
        assert permuted(a, b) == pytest.approx(told.pvalue, abs=slack)


@pytest.mark.parametrize(("a", "b"), [([], [1.0]), ([1.0], []), ([float("nan")], [1.0])])
def test_what_cannot_be_split_is_refused(a: list[float], b: list[float]):
    with pytest.raises(DataError):
        permuted(a, b)


def test_few_clusters_are_tried_in_every_pattern():
    a = {str(n): x for n, x in enumerate([0.31, 0.4271, 0.5937])}
    found = compare(a, dict.fromkeys(a, 0.0))
    assert (found.p, found.method) == (0.25, "exact sign flips")
