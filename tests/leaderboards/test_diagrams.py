"""Charts of boards: what is drawn where, by hand."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from harness import registry
from harness.commands.forecasts import reliable
from harness.verification import Counts, csi
from leaderboards.board import draw
from leaderboards.diagrams import Reliable, against, board_charts, performance, reliability
from leaderboards.rank import rankings
from leaderboards.site.folders import Folder
from leaderboards.site.trainings import budget_charts, learning, profiles
from results.record import Record
from results.run import RunFolder
from tests.command_line import command
from tests.leaderboards.site.small import a_training
from tests.records import HOSTILE, a_record


def forecasts(*models: str, task: str = "airquality/world") -> list[Record]:
    told = {"far_ratio": (0.25, 0.1, 0.4, "lower"), "pod": (0.6, 0.5, 0.7, "higher")}
    return [
        a_record(
            model,
            [value],
            low=low,
            high=high,
            better=better,
            metric=metric,
            task=task,
            run=f"run-{model}",
        )
        for model in models
        for metric, (value, low, high, better) in told.items()
    ]


def test_a_forecaster_stands_at_success_ratio_and_pod_with_both_intervals():
    (chart,) = performance(rankings(forecasts("persistence")))
    (point,) = [line for line in chart.lines if line.shape == "points"]
    assert (point.x, point.y) == ((0.75,), (0.6,))
    assert (point.low, point.high) == ((0.5,), (0.7,))
    assert point.x_low == pytest.approx((0.6,))
    assert point.x_high == pytest.approx((0.9,))
    assert chart.square


def test_guides_are_where_csi_and_bias_are_what_they_say():
    (chart,) = performance(rankings(forecasts("m")))
    guides = [line for line in chart.lines if line.shape == "guide"]
    assert len(guides) == 9
    for line in guides:
        kind, _, told = line.name.partition(" ")
        for x, y in zip(line.x[1:], line.y[1:], strict=True):
            if kind == "bias":
                assert y / x == pytest.approx(float(told))
                continue
            hits, misses, false = y, 1 - y, y / x - y  # of one event
            found = csi(Counts.stacked(np.array([hits, false, misses, 0.0])))
            assert float(found) == pytest.approx(float(told), abs=1e-9)


def test_settings_never_share_a_diagram_and_titles_tell_them_apart():
    records = [*forecasts("a"), *(r.but(sampling={"temperature": 2.0}) for r in forecasts("b"))]
    drawing = draw(registry.board("airquality"), records)
    titles = [chart.title for chart in board_charts(drawing, {})]
    assert titles == [f"airquality/world v1 test: performance diagram ({n})" for n in (1, 2)]


def test_reliability_is_drawn_of_the_runs_that_tell_it():
    records = forecasts("a", "b")
    told = {"run-b": Reliable([0.1, 0.9], [0.2, 0.8], [30, 10], 0.125)}
    (chart,) = reliability(rankings(records), told)
    diagonal, line = chart.lines
    assert (diagonal.x, diagonal.y) == ((0.0, 1.0), (0.0, 1.0))
    assert line.name == "b (Brier 0.125)"
    assert (line.x, line.y) == ((0.1, 0.9), (0.2, 0.8))
    assert line.labels == ("30 cases", "10 cases")
    assert reliability(rankings(records), {}) == []


def test_two_metrics_of_the_same_runs_are_drawn_against_each_other():
    rows = [("a", "", 0.5, 0.9), ("b", "grpo", 0.6, 0.4), ("c", "grpo", 0.7, 0.3)]
    records = [
        a_record(name, [value] * 4, metric=metric, recipe=recipe, base=recipe, run=name)
        for name, recipe, *values in rows
        for metric, value in zip(("pass@1", "consistent"), values, strict=True)
    ]
    (chart,) = against(rankings(records), "pass@1", "consistent")
    assert [line.name for line in chart.lines] == ["as it came", "grpo"]
    assert (chart.lines[0].x, chart.lines[0].y) == ((0.5,), (0.9,))
    points = set(zip(chart.lines[1].x, chart.lines[1].y, strict=True))
    assert points == {(0.6, 0.4), (0.7, 0.3)}
    assert (
        against(rankings(records[:2]), "pass@1", "consistent") == []
    )  # one point compares nothing
    assert against(rankings(records), "pass@1", "grounding") == []


def test_boards_draw_whatever_the_names_are():
    records = forecasts(*HOSTILE)
    assert board_charts(draw(registry.board("airquality"), records), {})


@pytest.mark.parametrize("name", ["ragqa", "spatial"])
def test_boards_of_consistency_draw_metrics_that_they_show(name: str):
    board = registry.board(name)
    assert board.against
    assert {metric for pair in board.against for metric in pair} <= {*board.columns}


def test_a_run_that_is_none_of_forecasts_tells_no_reliability(tmp_path: Path):
    (tmp_path / "manifest.json").write_text(json.dumps({"asks": {}}))
    assert reliable(RunFolder(tmp_path)) is None
    (tmp_path / "rollouts.jsonl").write_text('{"verdict":{"scores":{"correct":1}}}\n')
    assert reliable(RunFolder(tmp_path)) is None


@pytest.mark.slow
def test_a_run_of_forecasts_stands_on_the_board_and_in_pictures(tmp_path: Path):
    asked = ("airquality/world", "--model", "persistence", "--limit", "12")
    assert command("eval", *asked, "-o", tmp_path).code == 0
    (run,) = (tmp_path / "runs").iterdir()
    told = reliable(RunFolder(run))
    assert told is not None
    assert set(told.forecast) <= {0.0, 1.0}  # one rollout a case: the event is forecast or not
    assert all(0 <= share <= 1 for share in (*told.observed, told.brier))
    said = command("publish", "--site", "--pictures", "-o", tmp_path, "--json")
    assert said.code == 0, said.err
    page = (tmp_path / "site" / "boards" / "airquality.html").read_text("utf-8")
    assert "performance diagram" in page
    assert "reliability diagram" in page
    names = {path.name for path in (tmp_path / "site" / "pictures").iterdir()}
    stem = "airquality-airquality-world-v1-test-reliability-diagram"
    assert {f"{stem}.png", f"{stem}.svg"} <= names
    again = command("publish", "--site", "-o", tmp_path)
    assert "wrote 0 files" in again.out


def test_recipes_are_compared_at_equal_cost_in_every_unit_that_all_runs_tell(tmp_path: Path):
    for recipe, pace in (("grpo", 0.8), ("dapo", 1.2)):
        a_training(tmp_path, f"{recipe}-0", recipe, pace)
    found = [learning(Folder(path)) for path in sorted((tmp_path / "runs").iterdir())]
    learned = [each for each in found if each is not None]
    charts = budget_charts(learned)
    assert [chart.title.rpartition(" ")[2] for chart in charts] == ["tokens", "rollouts", "seconds"]
    rollouts = next(line for line in charts[1].lines if line.name == "grpo")
    assert rollouts.x == (0.0, 8.0, 88.0, 168.0, 248.0)
    assert rollouts.y == pytest.approx((0.0, 0.2, 0.4, 0.6, 0.8))
    seconds = next(line for line in charts[2].lines if line.name == "dapo")
    assert seconds.x == pytest.approx((0.0, 0.6, 6.6, 12.6, 18.6))
    assert [chart.title for chart in profiles(learned)] == [
        f"Time to target, in {unit}" for unit in ("tokens", "rollouts", "seconds")
    ]
    old = replace(learned[0], spent={"tokens": learned[0].spent["tokens"]})
    assert [c.x for c in budget_charts([learned[1], old])] == ["tokens generated and read"]
