"""The recipe board by hand: profiles as AlgoPerf scores them, marks, ties, and what is missing."""

from __future__ import annotations

import math

import pytest

from harness import registry
from leaderboards.board import draw, headlines
from leaderboards.profiles import median_time, profile_scores, ratios
from results.record import Record
from tests.records import a_record

NEVER = math.inf
SEEDS = 8


def test_the_worked_example_of_algoperf() -> None:
    times = {
        "A": {"w1": 100.0, "w2": 410.0, "w3": 50.0},
        "B": {"w1": 140.0, "w2": 200.0, "w3": 220.0},
        "C": {"w1": NEVER, "w2": 310.0, "w3": 80.0},
    }
    found = profile_scores(times)
    assert found == pytest.approx({"A": 0.883333, "B": 0.622222, "C": 0.538889}, abs=1e-6)
    assert ratios(times)["B"] == pytest.approx({"w1": 1.4, "w2": 1.0, "w3": 4.4})


def test_a_second_example_and_the_best_everywhere_scores_one() -> None:
    times = {"A": {"x": 10.0, "y": 20.0, "z": NEVER}, "B": {"x": 12.0, "y": 10.0, "z": 30.0}}
    assert profile_scores(times) == pytest.approx({"A": 0.555556, "B": 0.977778}, abs=1e-6)
    assert profile_scores({"A": {"x": 1.0}, "B": {"x": 2.0}})["A"] == 1.0


def test_whoever_joins_changes_the_scores() -> None:
    alone = profile_scores({"A": {"x": 10.0}})
    both = profile_scores({"A": {"x": 10.0}, "D": {"x": 5.0}})
    assert alone["A"] == 1.0
    assert both["A"] == pytest.approx(2 / 3)


def test_the_median_of_times_is_never_where_half_the_seeds_never_came() -> None:
    assert median_time([3.0, 1.0, 2.0]) == 2.0
    assert median_time([1.0, math.nan, 3.0]) == 3.0
    assert median_time([1.0, math.nan, math.nan]) == NEVER
    assert median_time([1.0, 2.0, math.nan, math.nan]) == NEVER
    assert median_time([]) == NEVER


def test_all_never_is_no_division_by_zero() -> None:
    assert profile_scores({"A": {"x": NEVER}, "B": {}})["A"] == 0.0
    assert math.isnan(profile_scores({"B": {}})["B"])
    assert ratios({"A": {"x": 0.0}, "B": {"x": 1.0}}) == {"A": {"x": 1.0}, "B": {"x": NEVER}}


def of_a_sweep(recipe: str, values: list[float], metric: str = "pass@1", **more: object) -> Record:
    record = a_record("text:tiny", values, run="sweep-1", task="ladders/graded", metric=metric)
    return record.but(
        recipe=recipe,
        base="text:tiny",
        settings={"unit": "seed", "asked": "--budget 9rollouts"},
        **more,
    )


def sheets(records: list[Record]) -> dict[str, dict[str, tuple[str, ...]]]:
    drawing = draw(registry.board("recipes"), records)
    return {sheet.title: {row[0]: row[1:] for row in sheet.rows} for sheet in drawing.sheets}


def test_better_worse_and_ties_are_marked_against_grpo() -> None:
    base = [0.40 + 0.01 * seed for seed in range(SEEDS)]
    records = [
        of_a_sweep("grpo", base),
        of_a_sweep("up", [x + 0.1 + 0.001 * n for n, x in enumerate(base)]),
        of_a_sweep("down", [x - 0.1 - 0.001 * n for n, x in enumerate(base)]),
        of_a_sweep("tie", [x + 0.1 * (-1) ** n for n, x in enumerate(base)]),
    ]
    found = sheets(records)["Score when the budget is spent, on the test split"]
    assert [*found] == ["grpo", "down", "tie", "up"]
    assert " + " in found["up"][0]
    assert " - " in found["down"][0]
    assert " = " in found["tie"][0]
    assert "p=0.0005" in found["up"][0]  # 2 of 12,870 splits, times three recipes
    assert "p=" not in found["grpo"][0]
    paired = sheets(records)["Difference from grpo in the final score, seed by seed"]
    assert "grpo" not in paired
    assert paired["up"][0].endswith("p=0.0078")  # 2 of 256 patterns of signs
    assert paired["tie"] == ("+0.000 p=1.0000",)


def test_times_to_target_are_medians_with_a_score() -> None:
    never = [math.nan] * SEEDS
    records = [
        of_a_sweep("grpo", [0.5] * SEEDS),
        of_a_sweep("grpo", [100.0] * SEEDS, "rollouts to target", split="dev", better="lower"),
        of_a_sweep("slow", [200.0] * 6 + [math.nan] * 2, "rollouts to target", split="dev").but(
            better="lower"
        ),
        of_a_sweep("lost", [1.0] * SEEDS, "rollouts to target", split="dev").but(
            better="lower", values=never
        ),
    ]
    found = sheets(records)["Rollouts to target"]
    assert found["grpo"] == ("100 (8/8)", "1.000", "1")
    assert found["slow"] == ("200 (6/8)", "0.667", "1")
    assert found["lost"] == ("never (0/8)", "0.000", "1")


def test_sweeps_that_were_asked_for_otherwise_stand_apart() -> None:
    one = of_a_sweep("grpo", [0.5] * SEEDS)
    other = of_a_sweep("dapo", [0.6] * SEEDS).but(
        run="sweep-2", settings={"unit": "seed", "asked": "--budget 10rollouts"}
    )
    drawing = draw(registry.board("recipes"), [one, other])
    scores = [sheet for sheet in drawing.sheets if sheet.title.startswith("Score when")]
    assert [[row[0] for row in sheet.rows] for sheet in scores] == [["grpo"], ["dapo"]]


def test_records_of_recipes_are_nobodys_headline() -> None:
    assert headlines([of_a_sweep("grpo", [0.5] * SEEDS)]) == []
