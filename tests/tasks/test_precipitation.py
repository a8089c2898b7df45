"""precipitation: KGE as a task, the baselines' numbers, and what must come out of the world."""

from __future__ import annotations

import os

import numpy as np
import pytest

from harness import Completion, Example, Rollout, registry
from harness.contracts import measure
from harness.play import play, rows
from tasks._precip_world import rain
from tasks.precipitation import verify

public = pytest.mark.skipif(not os.environ.get("HARNESS_DATA"), reason="HARNESS_DATA is not set")


def judged(member: str, model: str) -> dict[str, Rollout]:
    task = registry.task(f"precipitation/{member}")
    answering = registry.task_models(task.name)[model](task, "test", None)
    asked = [task.prompt(example) for example in task.examples("test")]
    found = [each for each in play(task, asked, answering) if isinstance(each, Rollout)]
    return {each.example.inputs["gauge"]: each for each in found}


def median(member: str, model: str, metric: str = "kge_2012") -> float:
    task = registry.task(f"precipitation/{member}")
    found = judged(member, model)
    table = rows(list(found.values()), [each.example.id for each in found.values()])
    return measure(next(m for m in task.metrics if m.name == metric), table)


@public
@pytest.mark.parametrize(
    ("member", "model", "gauge", "kge_2009", "kge_2012"),
    [
        ("noaa", "persistence", "seattle", 0.411, 0.411),
        ("noaa", "persistence", "new_york", 0.0074, 0.0074),
        ("noaa", "climatology", "seattle", -0.073, -0.067),
        ("noaa", "climatology", "new_york", -0.324, -0.332),
        ("beijing", "from_dingling", "aotizhongxin", 0.7147, 0.7754),
        ("beijing", "from_wanshouxigong", "aotizhongxin", 0.9196, 0.9336),
    ],
)
def test_published_baselines(member: str, model: str, gauge: str, kge_2009: float, kge_2012: float):
    scores = judged(member, model)[gauge].verdict.scores
    assert scores["kge_2009"] == pytest.approx(kge_2009, abs=6e-4 if member == "noaa" else 1e-4)
    assert scores["kge_2012"] == pytest.approx(kge_2012, abs=6e-4 if member == "noaa" else 1e-4)


def test_the_stack_beats_every_product_and_nearby_gauges_lift_the_correlation():
    products = [median("world", f"product_{kind}") for kind in (1, 2, 3)]
    assert median("world", "stack") > max(products) + 0.05
    assert median("world", "corrected", "r") > median("world", "stack", "r")


def test_training_gauges_that_lie_elsewhere_help_less():
    assert median("world_blocked", "stack") < median("world", "stack")


def test_a_gauge_is_never_its_own_neighbor():
    world = rain()
    for gauge in range(len(world.place)):
        near, weights = world.near(gauge)
        assert gauge not in near
        assert weights.sum() == pytest.approx(1)


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        (None, "no_answer"),
        ("wet", "bad_format"),
        (np.array([1.0, 2.0]), "bad_format"),
        (np.array([np.nan, 1, 2, 3]), "bad_format"),
        (np.array([-1.0, 1, 2, 3]), "bad_format"),
        (np.array([1.0, 2, 3, 1e300]), "bad_format"),
        (np.full(4, 1.75), "wrong"),
        (np.array([0.0, 2, 5, 0]), "ok"),
    ],
)
def test_answers_of_every_kind(output: object, reason: str):
    example = Example("world/test/g", {"gauge": "g"}, [0.0, 2.0, 5.0, 0.0])
    found = verify(example, Completion(output))
    assert found.reason == reason
    still = reason in ("no_answer", "bad_format") or reason == "wrong"
    assert found.scores["constant"] == float(still)
    if reason == "wrong":  # the mean of the observations
        assert found.scores["kge_2012"] == pytest.approx(-0.414214, abs=1e-6)
