"""Forecast verification against numbers worked by hand and against `scores` and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from harness import verification as v
from harness.kling_gupta import MEAN_BENCHMARK, kling_gupta
from harness.verification import Counts

WORKED = Counts.stacked(np.array([30.0, 10.0, 20.0, 140.0]))
BY_HAND = {
    "pod": 0.6,
    "far_ratio": 0.25,
    "pofd": 0.066667,
    "csi": 0.5,
    "f1": 0.666667,
    "bias": 0.8,
    "ets": 0.4,
    "pss": 0.533333,
    "hss": 0.571429,
    "accuracy": 0.85,
    "sedi": 0.724169,
    "base_rate": 0.25,
}


@pytest.mark.parametrize("name", BY_HAND)
def test_the_worked_table(name: str):
    assert round(float(getattr(v, name)(WORKED)), 6) == BY_HAND[name]


def test_expected_cost_weighs_misses():
    assert float(v.expected_cost(WORKED, 3.0)) == (10 + 3 * 20) / 200


@pytest.mark.parametrize("name", [*v.EVENT_SCORES])
def test_zero_denominators_give_no_number(name: str):
    assert np.isnan(v.EVENT_SCORES[name].of(Counts.stacked(np.zeros(4))))


def test_counts_of_arrays_and_many_tables_at_once():
    one = Counts.of([True, True, False, False], [True, False, True, False])
    assert [float(x) for x in (one.hits, one.false_alarms, one.misses, one.n)] == [1, 1, 1, 4]
    tables = Counts.stacked(np.array([[30.0, 10, 20, 140], [0, 0, 0, 5]]))
    assert_allclose(v.pod(tables), [0.6, np.nan])


@pytest.mark.parametrize(
    ("peer", "ours"),
    [
        ("probability_of_detection", "pod"),
        ("false_alarm_ratio", "far_ratio"),
        ("probability_of_false_detection", "pofd"),
        ("critical_success_index", "csi"),
        ("f1_score", "f1"),
        ("frequency_bias", "bias"),
        ("equitable_threat_score", "ets"),
        ("peirce_skill_score", "pss"),
        ("heidke_skill_score", "hss"),
        ("symmetric_extremal_dependence_index", "sedi"),
        ("accuracy", "accuracy"),
        ("base_rate", "base_rate"),
    ],
)
def test_event_scores_agree_with_the_library_scores(peer: str, ours: str):
    categorical = pytest.importorskip("scores.categorical", reason="the extra `air` has it")
    xarray = pytest.importorskip("xarray")
    rng = np.random.default_rng(4)
    for rate in (0.1, 0.5, 0.8):
        f, o = rng.random(400) < rate, rng.random(400) < 0.3
        found = categorical.BinaryContingencyManager(
            xarray.DataArray(f.astype(float)), xarray.DataArray(o.astype(float))
        )
        assert_allclose(getattr(v, ours)(Counts.of(f, o)), float(getattr(found, peer)()), atol=1e-9)


def test_classes_and_their_scores_agree_with_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(5)
    edges = [15.0, 35.0, 75.0]
    assert v.classes_of([0, 15, 15.01, 35, 75, 75.1, np.nan], edges).tolist() == [
        0, 0, 1, 1, 2, 3, -1,
    ]  # fmt: skip
    o, f = rng.integers(0, 4, 300), rng.integers(0, 4, 300)
    confusion = np.zeros((4, 5))
    np.add.at(confusion, (o, f), 1)
    assert_allclose(v.macro_f1(confusion), metrics.f1_score(o, f, average="macro"))
    assert_allclose(v.class_accuracy(confusion), metrics.accuracy_score(o, f))
    o = rng.integers(0, 3, 300)  # a class that never happened
    confusion = np.zeros((4, 5))
    np.add.at(confusion, (o, f), 1)
    assert_allclose(
        v.macro_f1(confusion), metrics.f1_score(o, f, average="macro", labels=[0, 1, 2])
    )


def test_crps_agrees_with_scores_and_with_its_definition():
    probability = pytest.importorskip("scores.probability", reason="the extra `air` has it")
    xarray = pytest.importorskip("xarray")
    rng = np.random.default_rng(6)
    members, observed = rng.gamma(2, 20, (50, 8)), rng.gamma(2, 20, 50)
    for fair, method in ((True, "fair"), (False, "ecdf")):
        peer = probability.crps_for_ensemble(
            xarray.DataArray(members, dims=("case", "member")),
            xarray.DataArray(observed, dims="case"),
            "member",
            method=method,
            preserve_dims="case",
        )
        assert_allclose(v.crps(members, observed, fair=fair), peer.values)
    assert_allclose(v.crps([[3.0]], [5.0]), [2.0])


def test_a_calibrated_forecast_is_reliable_and_brier_decomposes():
    rng = np.random.default_rng(7)
    p = rng.integers(0, 10, 20_000) / 10 + 0.05
    o = rng.random(20_000) < p
    found = v.reliability(p, o)
    assert found.reliability < 1e-3
    assert_allclose(found.brier, found.reliability - found.resolution + found.uncertainty)
    assert found.count.sum() == 20_000


# -- KGE


@pytest.mark.parametrize(
    ("o", "s", "parts", "both"),
    [
        (
            [0, 2, 5, 1, 0, 8],
            [1, 1, 4, 2, 0, 6],
            (0.961316, 0.702500, 0.875, 0.802857),
            (0.674996, 0.763385),
        ),
        (
            [0, 0, 5, 10, 2, 0, 8, 3],
            [0.2, 0, 4, 12, 1, 1, 6, 2],
            (0.948635, 1.057187, 0.935714, 1.129818),
            (0.899793, 0.846300),
        ),
        ([1, 2, 4], [2, 4, 8], (1, 2, 2, 1), (-0.414214, 0.0)),
        ([1, 2, 3], [2, 2, 2], (0, 0, 1, 0), (-0.414214, -0.414214)),
    ],
)
def test_kling_gupta_by_hand(
    o: list[float], s: list[float], parts: tuple[float, ...], both: object
):
    found = kling_gupta(s, o)
    assert_allclose((found.r, found.alpha, found.beta, found.gamma), parts, atol=5e-7)
    assert_allclose((found.kge_2009, found.kge_2012), both, atol=5e-7)
    assert found.constant == (len(set(s)) == 1)


def test_the_mean_is_the_benchmark_and_degenerate_series_have_no_number():
    o = np.random.default_rng(0).gamma(0.5, 8, 365)
    assert_allclose(kling_gupta(np.full(365, o.mean()), o).kge_2009, MEAN_BENCHMARK)
    assert np.isnan(kling_gupta(o, np.zeros(365)).kge_2012)
    assert np.isnan(kling_gupta([1.0], [2.0]).kge_2009)


def test_kling_gupta_agrees_with_hydroeval_and_leaves_gaps_out():
    hydroeval = pytest.importorskip("hydroeval")
    rng = np.random.default_rng(1)
    o = rng.gamma(0.5, 8, 400)
    s = 0.7 * o + rng.gamma(0.5, 2, 400)
    found = kling_gupta(np.append(s, np.nan), np.append(o, 1.0))
    assert found.n == 400
    kge, r, alpha, beta = hydroeval.kge(s, o)[:, 0]
    assert_allclose((found.kge_2009, found.r, found.alpha, found.beta), (kge, r, alpha, beta))
    kge, r, gamma, beta = hydroeval.kgeprime(s, o)[:, 0]
    assert_allclose((found.kge_2012, found.gamma), (kge, gamma))
    peer = pytest.importorskip("scores.continuous").kge(*map(_labelled, (s, o)))
    assert_allclose(found.kge_2009, float(peer))


def _labelled(x: np.ndarray) -> object:
    return pytest.importorskip("xarray").DataArray(x, dims="time")


# -- the published rows


def test_the_published_rates_are_the_probability_of_false_detection():
    """With FP / (FP + TN) the printed accuracy follows from F1 and bias; with FP / (TP + FP) not.

    F1 and bias fix TP, FP and FN relative to the events P: TP = F1 (1 + bias) / 2, FP = bias - TP.
    """

    def printed(f1: float, bias: float, far: float) -> tuple[float, float, float]:
        """False alarm ratio, accuracy (%) under pofd, and N / P, of a published row."""
        hits = f1 * (1 + bias) / 2
        alarms = bias - hits
        quiet = alarms / far  # N / P if `far` is FP / (FP + TN)
        found = Counts.stacked(np.array([hits, alarms, 1 - hits, quiet - alarms]))
        assert abs(float(v.f1(found)) - f1) < 1e-12
        assert abs(float(v.pofd(found)) - far) < 1e-12
        return float(v.far_ratio(found)), 100 * float(v.accuracy(found)), quiet

    ratio, sft, quiet = printed(0.5990, 1.52, 0.3286)
    assert round(100 * ratio, 1) == 50.3
    assert_allclose(sft, 69.62, atol=0.03)
    assert round(quiet, 2) == 2.33
    ratio, grpo, again = printed(0.5672, 0.96, 0.1732)
    assert round(100 * ratio, 1) == 42.1
    assert_allclose(grpo, 74.51, atol=0.1)
    assert_allclose(quiet, again, rtol=0.02)  # both rows are of the same test days
    assert round(100 * (32.86 - 17.32) / 32.86, 1) == 47.3
