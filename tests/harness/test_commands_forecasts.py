"""`harness forecasts`: a run's tables are its verdicts', whatever was forecast."""

import json
from pathlib import Path

import pytest

from tests.command_line import command


def evaluated(task: str, into: Path, limit: int) -> dict[str, float]:
    """A run of persistence, and the metrics that were told of it."""
    asked = (task, "--model", "persistence", "--limit", str(limit), "--split", "dev")
    assert command("eval", *asked, "--name", "run", "-o", into).code == 0
    report = json.loads((into / "runs" / "run" / "report.json").read_text())
    return {each["metric"]: each["value"] for each in report["metrics"]}


def told(into: Path, *more: str) -> dict[str, dict[str, dict[str, float]]]:
    said = command("forecasts", "run", "-o", into, "--json", *more)
    assert said.code == 0, said.err
    return json.loads(said.out)


@pytest.mark.parametrize(
    ("task", "groups"),
    [
        ("airquality/world_grid", {"lead", "month"}),
        ("airquality/world", {"lead", "month", "station"}),
    ],
)
def test_tables_by_lead_are_what_the_evaluation_said(task: str, groups: set[str], tmp_path: Path):
    measured = evaluated(task, tmp_path, 12)
    found = told(tmp_path)
    assert {name for name in ("lead", "station", "month") if name in found} == groups
    for lead, scores in found["lead"].items():
        for score in ("pod", "pofd", "far_ratio", "csi"):
            assert scores[score] == pytest.approx(measured[f"{score}@{lead}h"], nan_ok=True)
    for name in groups:
        total = sum(scores["n"] for scores in found[name].values())
        assert total == sum(scores["n"] for scores in found["lead"].values())


def test_a_run_of_fields_is_drawn_and_shown(tmp_path: Path):
    evaluated("airquality/world_grid", tmp_path, 4)
    said = command("forecasts", "run", "-o", tmp_path, "--pictures", tmp_path / "drawn")
    assert said.code == 0, said.err
    assert "by lead" in said.out
    assert "by month" in said.out
    assert {path.name for path in (tmp_path / "drawn").iterdir()} == {
        "performance.png",
        "performance.svg",
    }


def test_other_runs_have_no_forecasts(tmp_path: Path):
    asked = ("drills/sorting", "--model", "gold", "--limit", "2")
    assert command("eval", *asked, "--name", "run", "-o", tmp_path).code == 0
    said = command("forecasts", "run", "-o", tmp_path)
    assert said.code == 2
    assert "none of airquality" in said.err


@pytest.mark.parametrize(
    "line",
    [
        '{"verdict": {"scores": {"hits@12h": 1}}, "example": "world/test/x/2001-01-01T00"}',
        '{"verdict": {"scores": {"hits@12h": 1}}, "example": "no time"}',
        '{"verdict": {"scores": {"class@48h": 1}}, "example": "x"}',
        '{"verdict": 3}',
        "{}",
    ],
)
def test_a_damaged_run_is_told_in_one_line(line: str, tmp_path: Path):
    folder = tmp_path / "runs" / "run"
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text('{"asks": {}}')
    (folder / "rollouts.jsonl").write_text(line + "\n")
    said = command("forecasts", "run", "-o", tmp_path)
    assert said.code == 2
    assert "not as an evaluation writes it" in said.err
    assert "Traceback" not in said.err
