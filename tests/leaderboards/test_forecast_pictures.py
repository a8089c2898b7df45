"""Pictures of forecasts: drawn from records or verdicts, whatever they hold."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harness.verification import reliability
from leaderboards.forecast_pictures import (
    Operating,
    alarms,
    lead_curves,
    of_records,
    performance,
    reliability_diagram,
)
from tests.records import HOSTILE, a_record

pytest.importorskip("matplotlib", reason="the extra `web` has it")


def drawn(written: list[Path]) -> bool:
    return {path.suffix for path in written} == {".png", ".svg"} and all(
        path.stat().st_size > 1000 for path in written
    )


def test_every_diagram_is_drawn(tmp_path: Path):
    rng = np.random.default_rng(0)
    points = [Operating(name, [0.5], [0.6]) for name in HOSTILE[:3]]
    curve = Operating("curve", np.linspace(0.3, 0.9, 20).tolist(), np.linspace(1, 0, 20).tolist())
    assert drawn(performance([*points, curve], tmp_path / "performance", "title"))
    p = rng.random(200)
    found = {"48 h": reliability(p, rng.random(200) < p), "empty": reliability([], [])}
    assert drawn(reliability_diagram(found, tmp_path / "reliability"))
    curves = {"one": {48: (0.2, 0.1, 0.3), 72: (0.1, 0.0, 0.2)}, "other": {48: (0.3, 0.2, 0.4)}}
    assert drawn(lead_curves(curves, "pss", tmp_path / "leads"))
    days = [f"2016-03-{day:02}" for day in range(1, 31)]
    observed = rng.gamma(2, 40, 30)
    observed[3] = np.nan
    assert drawn(alarms(days, observed, observed[::-1], 75.0, tmp_path / "alarms"))


def test_records_of_forecasts_make_two_pictures_and_others_none(tmp_path: Path):
    records = [
        a_record(model, [0.5], run=model, task="airquality/world", metric=metric)
        for model in ("persistence", "forecast:x")
        for metric in ("far_ratio", "pod", "pss@48h", "pss@72h")
    ]
    names = sorted(path.name for path in of_records(records, tmp_path))
    assert names == [
        f"forecasts-airquality-world-test-{kind}"
        for kind in ("leads.png", "leads.svg", "performance.png", "performance.svg")
    ]
    assert of_records([a_record("m", [1.0], task="mathqa/sums", metric="pass@1")], tmp_path) == []
