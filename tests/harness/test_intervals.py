"""Intervals: the edges, the formulas they rest on, and exact coverage of binary scores."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.bounded import Clusters, bounds, standard_error
from harness.errors import UsageError
from harness.intervals import estimate, interval
from harness.metrics import mean, ratio
from harness.types import Verdict


def test_all_right_is_not_certain():
    from scipy.stats import binomtest

    for n in (1, 3, 20, 1000):
        found = interval([1.0] * n)
        exact = binomtest(n, n).proportion_ci(0.95, "exact")
        assert (found.low, found.high) == pytest.approx((exact.low, 1.0), abs=1e-6)
        assert found.se > 0
        mirrored = interval([0.0] * n)
        assert (mirrored.low, mirrored.high) == pytest.approx((0.0, 1 - exact.low), abs=1e-6)


def test_binary_scores_lie_between_jeffreys_and_clopper_pearson():
    from scipy.stats import beta

    for right, n in ((1, 20), (4, 30), (9, 100), (20, 40), (300, 1000)):
        found = interval([1.0] * right + [0.0] * (n - right))
        jeffreys = beta.ppf([0.025, 0.975], right + 0.5, n - right + 0.5)
        outer = beta.ppf(0.025, right, n - right + 1), beta.ppf(0.975, right + 1, n - right)
        assert outer[0] - 1e-9 <= found.low <= jeffreys[0] + 1e-9
        assert jeffreys[1] - 1e-9 <= found.high <= outer[1] + 1e-9


@pytest.mark.parametrize("values", [[0.5], [0.5] * 20, [0.25] * 4, [1.0]])
def test_no_spread_is_not_no_uncertainty(values):
    found = interval(values)
    assert found.low < found.value <= found.high
    assert found.high - found.low > 0.2
    assert found.se > 0


def test_one_cluster_is_one_observation():
    alone = interval([1.0])
    whole = interval([1.0] * 50, ["scene"] * 50)
    assert (whole.low, whole.high, whole.clusters) == pytest.approx((alone.low, alone.high, 1))


def test_copies_in_a_cluster_never_narrow():
    values = [1.0, 0.0, 1.0, 1.0, 0.0, 1.0, 0.0, 1.0] * 4
    copied = [value for value in values for _ in range(5)]
    labels = [str(i) for i in range(len(values)) for _ in range(5)]
    once, again = interval(values), interval(copied, labels)
    assert once.low - 0.005 < again.low <= once.low + 1e-9
    assert once.high - 1e-9 <= again.high < once.high + 0.005


def test_the_order_of_examples_does_not_matter():
    rng = np.random.default_rng(0)
    values, labels = rng.random(60), rng.integers(0, 9, 60).astype(str)
    moved = rng.permutation(60)
    one, other = interval(values, labels), interval(values[moved], labels[moved])
    assert (one.low, one.high, one.se) == pytest.approx((other.low, other.high, other.se))


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.sampled_from([0, 1, 2, 3, 4]), min_size=1, max_size=40),
    st.integers(1, 8),
    st.booleans(),
)
def test_limits_hold_the_mean_mirror_and_keep_the_range(counts, size, grouped):
    values = np.array(counts) / 4
    labels = [str(i // size) for i in range(len(values))] if grouped else None
    found, mirrored = interval(values, labels), interval(1 - values, labels)
    assert 0 <= found.low <= found.value <= found.high <= 1
    assert found.high - found.low > 0
    assert (found.low, found.high) == pytest.approx((1 - mirrored.high, 1 - mirrored.low), abs=1e-9)


def test_scale_and_origin_do_not_matter():
    values = np.random.default_rng(1).random(30)
    one, other = interval(values), interval(values * 20 - 10, low=-10.0, high=10.0)
    assert (other.low, other.high) == pytest.approx((one.low * 20 - 10, one.high * 20 - 10))


def test_the_standard_error_is_that_of_clusters():
    values = np.array([0.0] * 15 + [0.5] * 10 + [1.0] * 5)
    assert interval(values).se == pytest.approx(0.069205, abs=1e-6)
    labels = ["a", "a", "b", "c", "c", "c"]
    values = np.array([1.0, 0.0, 1.0, 0.0, 0.0, 1.0])
    sums = np.array([1 - 2 * 0.5, 1 - 0.5, 1 - 3 * 0.5])
    expected = math.sqrt(3 / 2 * (sums**2).sum()) / 6
    assert interval(values, labels).se == pytest.approx(expected)
    assert float(standard_error(values, Clusters.of(labels, 6))) == pytest.approx(expected)


def test_unbounded_means_have_students_interval():
    from scipy.stats import t

    values = np.random.default_rng(2).normal(50, 9, 25)
    found = interval(values, low=-math.inf, high=math.inf)
    low, high = t.interval(0.95, 24, values.mean(), values.std(ddof=1) / 5)
    assert (found.low, found.high) == pytest.approx((low, high))
    assert interval([3.0], low=0, high=math.inf).high == math.inf


def test_examples_without_a_value_are_left_out():
    found = interval([1.0, math.nan, 0.0], ["a", "b", "c"])
    assert (found.examples, found.clusters, found.value) == (2, 2, 0.5)
    assert math.isnan(interval([math.nan]).value)


def test_wrong_calls_say_what_would_do():
    with pytest.raises(UsageError, match="true `low` and `high`"):
        interval([3.0])
    with pytest.raises(UsageError, match="one label an example"):
        interval([1.0, 0.0], ["a"])
    with pytest.raises(UsageError, match="there are none"):
        estimate(mean(), [])
    with pytest.raises(UsageError, match="finite"):
        interval([math.inf])


def test_every_world_of_a_block_gets_its_own_limits():
    values = np.random.default_rng(3).integers(0, 5, (50, 30)) / 4
    groups = Clusters.of([str(i // 4) for i in range(30)], 30)
    low, high = bounds(values, groups)
    for world in range(50):
        one = bounds(values[world], groups)
        assert (float(one[0]), float(one[1])) == pytest.approx((low[world], high[world]))


@pytest.mark.parametrize("wrong", [[0], [0, 1], range(6), [0, 6, 12], [0, 1, 2, 6, 7, 13]], ids=str)
def test_limits_are_never_wider_than_those_of_clusters_that_are_right_as_a_whole(wrong):
    from scipy.stats import binomtest

    values, labels = np.ones(300), np.repeat(np.arange(50), 6).astype(str)
    values[list(wrong)] = 0.0
    whole = int(values.reshape(50, 6).all(axis=1).sum())
    exact = binomtest(whole, 50).proportion_ci(0.95, method="exact")
    found, mirrored = interval(values, labels), interval(1 - values, labels)
    assert found.low >= exact.low - 1e-12
    assert (1 - mirrored.high, 1 - mirrored.low) == pytest.approx((found.low, found.high))
    shares = np.ones(50)
    shares[0] = 1 - len(wrong) / 300
    assert interval(shares).low >= binomtest(49, 50).proportion_ci(0.95, method="exact").low - 1e-12


def _parts(pairs):
    return [[Verdict({"right": float(a), "parts": float(b)})] for a, b in pairs]


def test_corpus_metrics_agree_with_scipy_and_keep_a_width_at_the_edge():
    from scipy.stats import bootstrap

    rng = np.random.default_rng(4)
    parts = rng.integers(1, 7, 200)
    right = rng.binomial(parts, 0.7)
    metric = ratio("right", "parts")
    found = estimate(metric, _parts(zip(right, parts, strict=True)))
    peer = bootstrap(
        (right, parts),
        lambda a, b, axis: a.sum(axis) / b.sum(axis),
        paired=True,
        vectorized=True,
        rng=np.random.default_rng(5),
    ).confidence_interval
    assert (found.low, found.high) == pytest.approx((peer.low, peer.high), abs=0.006)
    assert found == estimate(metric, _parts(zip(right, parts, strict=True)))
    perfect = estimate(metric, _parts([(2, 2), (3, 3), (1, 1)]))
    assert perfect.low < 0.5
    assert perfect.high == perfect.value == 1
