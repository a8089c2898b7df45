"""What the air experiment says of thresholds, against the same told another way."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from harness import Sampling, registry
from harness.verification import EVENT_SCORES, Counts
from tests.bench import air_fields
from tests.bench.air_judging import NORMAL, SHOWN, Chances, needed, paired, reach, scores, tuned
from trainers.policies.forecast import open_forecast

RNG = np.random.default_rng(3)


def told(n: int = 300, apart: float = 0.9) -> Chances:
    """Chances of a forecaster whose two Gaussians stand `apart`; some days are not observed."""
    event = (RNG.random(n) < 0.4).astype(float)
    chance = np.array([NORMAL.cdf(x) for x in RNG.normal(apart * event, 1)])
    return Chances(chance, np.where(RNG.random(n) < 0.05, np.nan, event))


def test_a_threshold_raises_the_alarms_at_or_above_it_and_days_without_observation_count_nowhere():
    few = Chances(np.array([0.2, 0.5, 0.5, 0.9]), np.array([0.0, 1.0, 0.0, np.nan]))
    assert few.alarms(0.5).sum(0).tolist() == [1, 1, 0, 1]
    assert [each["threshold"] for each in few.curve()] == [0.2, 0.5]


def test_a_curve_holds_every_set_of_alarms_and_loses_alarms_along_it():
    found = told()
    curve = found.curve()
    assert all(a["pod"] >= b["pod"] and a["pofd"] >= b["pofd"] for a, b in pairwise(curve))
    observed = ~np.isnan(found.event)
    for each in curve[::40]:
        counts = Counts.of(found.chance[observed] >= each["threshold"], found.event[observed])
        assert each["f1"] == pytest.approx(float(EVENT_SCORES["f1"].of(counts)))


def test_the_area_is_that_below_the_curve():
    found = told()
    points = [(each["pofd"], each["pod"]) for each in found.curve()] + [(0.0, 0.0)]
    x, y = np.array(points)[::-1].T
    assert found.auc() == pytest.approx(float(np.trapezoid(y, x)))


def test_a_threshold_for_pofd_keeps_f1_above_the_floor_and_no_other_that_does_has_a_lower_pofd():
    found = told()
    floor = max(each["f1"] for each in found.curve()) - 0.03
    chosen = scores(found.alarms(tuned(found, "pofd", floor)).sum(0))
    assert chosen["f1"] >= floor
    assert chosen["pofd"] == min(e["pofd"] for e in found.curve() if e["f1"] >= floor)


def test_what_is_needed_has_the_rates_asked_for_and_lies_on_the_curve_of_its_area():
    base = scores(told().alarms(0.5).sum(0))
    goal = needed(base, 0.4)
    a, c = 0.4 * goal["pod"], 0.4 * (1 - goal["pod"])
    b = 0.6 * goal["pofd"]
    assert b / (a + b) == pytest.approx(0.7 * base["far_ratio"])
    assert 2 * a / (2 * a + b + c) == pytest.approx(base["f1"] - 0.03)
    apart = NORMAL.inv_cdf(goal["auc"]) * 2**0.5
    edge = NORMAL.inv_cdf(1 - goal["pofd"])
    assert 1 - NORMAL.cdf(edge - apart) == pytest.approx(goal["pod"])


def test_no_threshold_reaches_further_than_the_best_on_the_curve_and_none_that_loses_f1_counts():
    curve = told().curve()
    best = max(curve, key=lambda each: each["f1"])
    found = reach(curve, best)
    kept = [each for each in curve if each["f1"] >= best["f1"] - 0.03]
    assert found["pofd"] == pytest.approx(min(e["pofd"] for e in kept) / best["pofd"] - 1)
    assert reach(curve, {**best, "f1": 2.0}) == {"far_ratio": 0.0, "pofd": 0.0}


def test_paired_differences_are_those_of_scores_and_an_arm_does_not_differ_from_itself():
    found = told()
    labels = [str(n // 5) for n in range(len(found.event))]
    ours, theirs = (np.stack([found.alarms(t)] * 2) for t in (0.6, 0.4))
    gaps, none = paired(ours, theirs, labels), paired(ours, ours, labels)
    for name in SHOWN:
        gap = scores(ours[0].sum(0))[name] - scores(theirs[0].sum(0))[name]
        assert gaps[name]["gap"] == pytest.approx(gap)
        assert gaps[name]["low"] <= gap <= gaps[name]["high"]
        assert none[name]["low"] == none[name]["high"] == 0
    assert gaps["pofd"]["change_high"] < 0


# -- fields


def test_cells_of_alarms_on_fields_are_those_of_the_same_values_in_a_row():
    chance = RNG.random((3, 4, 5, 6))
    observed = np.where(RNG.random(chance.shape) < 0.1, np.nan, 70 * RNG.random(chance.shape))
    row = Chances(chance.ravel(), np.where(np.isnan(observed), np.nan, observed > 35).ravel())
    found = air_fields.alarmed(chance, observed, 0.4)
    assert found.shape == (3, 4)
    assert found.sum(0).tolist() == row.alarms(0.4).sum(0).tolist()


def test_a_threshold_on_fields_has_the_lowest_pofd_of_those_that_keep_f1():
    event = RNG.random((4, 4, 6, 6)) < 0.3
    chance = np.clip(0.35 * event + 0.3 + RNG.normal(0, 0.15, event.shape), 0, 1)
    observed = np.where(event, 50.0, 10.0)
    tables = {t: scores(air_fields.alarmed(chance, observed, t).sum(0))
              for t in air_fields.THRESHOLDS}  # fmt: skip
    floor = max(each["f1"] for each in tables.values()) - 0.03
    kept = {t: each["pofd"] for t, each in tables.items() if each["f1"] >= floor}
    chosen = air_fields.tuned(chance, observed, floor)
    assert kept[chosen] == min(kept.values())
    best = max(tables, key=lambda t: tables[t]["f1"])
    assert air_fields.tuned(chance, observed, 2.0) == pytest.approx(best)


def test_the_chance_of_an_event_is_above_a_half_where_the_median_forecast_is_one():
    task = registry.task(air_fields.NAME)
    few = task.but(examples=lambda split: task.examples(split)[:3])
    policy = open_forecast("grid-tiny", Sampling(temperature=0.0), point="median")
    chance, observed = air_fields.chances(few, policy, "dev")
    asked = [task.prompt(example) for example in few.examples("dev")]
    said = np.stack([each.output for _, each in sorted(policy.answer(asked), key=lambda x: x[0])])
    clear = np.abs(said - air_fields.EVENT) > 0.01
    assert ((chance > 0.5) == (said > air_fields.EVENT))[clear].all()
    assert np.array_equal(observed, np.stack([task.gold(e) for e in few.examples("dev")]),
                          equal_nan=True)  # fmt: skip
