import json
from pathlib import Path

import pytest

pytest.importorskip("matplotlib", reason="pictures need the extra web")

from harness.errors import DataError
from leaderboards.charts import series, smooth
from leaderboards.pictures import curve, dots
from leaderboards.rank import rankings
from tests.records import HOSTILE, a_record


def test_a_ranking_is_drawn_whatever_its_names(tmp_path: Path):
    records = [
        a_record(name, [float(i < 4 * n) for i in range(60)], run=f"r{n}")
        for n, name in enumerate((*HOSTILE, "漢字 العربية 🤖"))
    ]
    (ranking,) = rankings(records)
    png, svg = dots(ranking, tmp_path / "board")
    assert png.read_bytes().startswith(b"\x89PNG")
    assert png.stat().st_size > 10_000
    text = svg.read_text("utf-8")
    assert "<script" not in text
    assert "\u202e" not in text


def test_an_svg_is_the_same_to_the_byte(tmp_path: Path):
    (ranking,) = rankings([a_record("a", [1, 0, 0]), a_record("b", [1, 1, 0])])
    one, two = (dots(ranking, tmp_path / name)[1].read_bytes() for name in ("one", "two"))
    assert one == two


def test_a_ranking_of_one_value_without_interval_is_drawn(tmp_path: Path):
    nan = float("nan")
    (ranking,) = rankings([a_record("a", [0.0], low=nan, high=nan, better="lower")])
    assert dots(ranking, tmp_path / "one")[0].exists()


def test_long_rankings_leave_out_the_worst_and_say_so(tmp_path: Path):
    records = [a_record(f"m{n}", [float(i < n) for i in range(50)], run=str(n)) for n in range(45)]
    (ranking,) = rankings(records)
    svg = dots(ranking, tmp_path / "many")[1]
    assert svg.stat().st_size > 10_000


def metrics(folder: Path, *lines: dict[str, object]) -> Path:
    folder.mkdir()
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / "metrics.jsonl").write_text(text + '{"step": 99, "rew')
    return folder


@pytest.mark.parametrize(
    "evaluated",
    [
        {"eval_pass@1": 0.4, "eval_pass@1_low": 0.3, "eval_pass@1_high": 0.5},
        {"eval/pass@1": 0.4, "eval/lenient": 0.5, "eval/faults": 0.0},
    ],
    ids=["with interval", "without"],
)
def test_a_curve_shows_rewards_and_evaluations_and_bears_damage(
    tmp_path: Path, evaluated: dict[str, object]
):
    steps = [{"step": n, "reward": n / 10} for n in range(1, 10)]
    evaluated = {"step": 5, **evaluated}
    run = metrics(tmp_path / "run", *steps, {"step": 3, "reward": None}, evaluated)
    png, _ = curve(run, tmp_path / "curve")
    assert png.read_bytes().startswith(b"\x89PNG")
    bare = metrics(tmp_path / "bare", *steps)
    assert curve(bare, tmp_path / "bare_curve")[0].stat().st_size < png.stat().st_size


def test_a_run_without_rewards_has_no_curve(tmp_path: Path):
    with pytest.raises(DataError, match="no step with a reward"):
        curve(metrics(tmp_path / "run", {"step": 1, "loss": 0.0}), tmp_path / "curve")


def test_series_leave_out_what_is_no_number():
    lines = [{"step": 1, "r": 0.5}, {"step": 2, "r": float("nan")}, {"step": 3, "r": "x"}, {"s": 1}]
    assert series(lines, "r") == ([1.0], [0.5])


def test_smoothing_looks_back_only():
    assert smooth([1.0, 0.0, 0.0, 0.0, 0.0, 5.0]) == [1.0, 0.5, 1 / 3, 0.25, 0.2, 1.0]
