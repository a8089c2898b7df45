"""Sweeps: what is run, what it comes to, and that no failure and no kill loses what was done."""

from __future__ import annotations

import json
import math
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from harness.commands.recipe_records import Course
from harness.commands.sweeping import Cell, seeds_of
from harness.errors import UsageError
from results.record import Record, load
from tests.command_line import Said, command
from tests.killing import start

BROKEN = '''
"""broken: pays a score that no task has.

Idea     None.
Formula  None.
Paper    None.
Limits   None.
"""

from trainers.recipes.grpo import RECIPE as GRPO
from trainers.rewards import WeighScores

RECIPE = GRPO.but(name="broken", home="drills/digit", rewards=(WeighScores({"absent": 1.0}),))
'''
SMALL = (
    *("--budget", "16rollouts", "--set", "samplers.prompts=2", "samplers.rollouts=4"),
    *("--max-tokens", "2", "--dtype", "float32", "--dev-every", "1", "--dev-limit", "2"),
    *("--test-limit", "3", "--save-every", "1"),
)


def sweep(folder: Path, *words: str) -> Said:
    asked = ("train", "--sweep", "--tasks", "drills/digit", *SMALL, "--jobs", "1", *words)
    return command(*asked, "-o", folder)


# -- what is run


@pytest.mark.parametrize(
    ("text", "seeds"),
    [("0..7", [*range(8)]), ("3", [3]), ("0,3,5", [0, 3, 5]), ("0..1,8", [0, 1, 8])],
)
def test_seeds_are_read_as_they_are_written(text: str, seeds: list[int]) -> None:
    assert seeds_of(text) == seeds


@pytest.mark.parametrize("text", ["", "a", "7..0", "0..", "-1", "1,1", "0..3,2", "0..99999999"])
def test_what_is_no_range_of_seeds_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--seeds"):
        seeds_of(text)


def test_runs_go_seed_by_seed_and_have_names_that_folders_bear() -> None:
    cells = [Cell(1, "a", "t/x"), Cell(0, "b", "t/x"), Cell(0, "a", "t/y"), Cell(0, "a", "t/x")]
    assert [cell.seed for cell in sorted(cells)] == [0, 0, 0, 1]
    assert Cell(3, "my/new.py", "ladders/rare").name == "ladders-rare--new--3"


def test_nothing_begins_where_a_flag_or_a_name_is_wrong(tmp_path: Path) -> None:
    for words, told in (
        (("--stepps", "3"), "stepps"),
        (("--steps", "many"), "integer"),
        (("--recipe", "grpo"), "--recipes"),
        (("--seed=3",), "--seeds"),
        (("--recipes", "gropo"), "grpo"),
        (("--seeds", "7..0"), "--seeds"),
        (("--budget", "much"), "budget"),
    ):
        said = sweep(tmp_path, *words)
        assert (said.code, told in said.err) == (2, True), (words, said)
    assert not [*tmp_path.rglob("*")]


def test_a_sweep_without_a_budget_is_none(tmp_path: Path) -> None:
    assert command("train", "--sweep", "-o", tmp_path).code == 2


def test_without_tasks_each_recipe_is_at_home_and_grpo_everywhere(tmp_path: Path) -> None:
    asked = ("sweep", "--budget", "9rollouts", "--recipes", "grpo,dapo", "--seeds", "0..1")
    said = command(*asked, "--dry-run", "--json", "-o", tmp_path)
    commands = json.loads(said.out)["commands"]
    pairs = {(words[1], words[words.index("--recipe") + 1]) for words in commands}
    home = {task for task, recipe in pairs if recipe == "dapo"}
    assert len(home) == 1
    assert {task for task, recipe in pairs if recipe == "grpo"} >= home
    assert len(commands) == 2 * len(pairs)
    assert not [*tmp_path.rglob("*")]


# -- what it comes to


def a_course(score: list[float], rollouts: list[float]) -> Course:
    spent = np.array(rollouts)
    units = {"rollouts": spent, "tokens": 10 * spent, "seconds": spent / 10}
    return Course(Cell(0, "grpo", "t/x"), {}, np.array(score), units, 0.0, 1.0)


def test_scores_between_looks_lie_on_a_straight_line() -> None:
    course = a_course([0.2, 0.4, 0.8], [0, 100, 200])
    assert course.at("rollouts", 150) == pytest.approx(0.6)
    assert course.at("tokens", 500) == pytest.approx(0.3)
    assert course.at("rollouts", 900) == pytest.approx(0.8)


def test_time_to_target_by_hand() -> None:
    course = a_course([0.2, 0.4, 0.8, 0.3], [0, 100, 200, 300])
    assert course.reached(0.5, "rollouts", lower=False) == pytest.approx(125)
    assert course.reached(0.5, "tokens", lower=False) == pytest.approx(1250)
    assert course.reached(0.1, "rollouts", lower=False) == 0
    assert math.isnan(course.reached(0.9, "rollouts", lower=False))
    falling = a_course([0.8, 0.4], [0, 100])
    assert falling.reached(0.6, "rollouts", lower=True) == pytest.approx(50)


def test_a_course_is_read_from_a_log() -> None:
    def step(number: int, flat: float) -> dict[str, float]:
        spent = {f"spent/{unit}": 8.0 * number for unit in ("rollouts", "tokens", "seconds")}
        told = {"step": number, "reward": 0.5, "completions/mean_length": float(number)}
        return {**told, **spent, "effective_prompt_ratio": 1 - flat}

    def look(number: int, score: float) -> dict[str, float]:
        return {"step": number, "eval/close": score, "eval/faults": 0.0}

    lines = [look(0, 0.1), step(1, 0.5), step(2, 0.0), look(2, 0.4), step(3, 1.0), step(4, 0.5)]
    course = Course.of(Cell(0, "grpo", "drills/digit"), {}, lines)
    assert course.score.tolist() == [0.1, 0.4]
    assert course.spent["rollouts"].tolist() == [0.0, 16.0]
    assert course.flat == pytest.approx(0.5)
    assert course.length == 4.0


# -- failures and kills


@pytest.mark.slow
def test_a_failure_is_shown_stops_nobody_and_is_tried_again(tmp_path: Path) -> None:
    broken = tmp_path / "broken.py"
    broken.write_text(BROKEN, "utf-8")
    asked = ("--recipes", f"{broken},grpo", "--seeds", "0..1")
    said = sweep(tmp_path, *asked)
    assert said.code == 7
    assert "2 of 4 runs failed" in said.err
    assert "absent" in said.out
    assert "broken" in said.out
    found = load(tmp_path / "records")
    assert {record.recipe for record in found} == {"grpo"}
    assert all(record.seeds == [0, 1] and record.settings["unit"] == "seed" for record in found)
    assert {"close", "pass@1", "flat groups", "rollouts to target"} <= {r.metric for r in found}
    [reports] = (tmp_path / "sweeps").glob("*/cells/reports")
    before = {path: path.stat().st_mtime_ns for path in reports.iterdir()}
    again = sweep(tmp_path, *asked)
    assert again.code == 7
    assert "2 of 4 runs are done already" in again.err
    assert {path: path.stat().st_mtime_ns for path in reports.iterdir()} == before
    assert len(load(tmp_path / "records")) == len(found)


def begun(folder: Path, jobs: int) -> list[str]:
    known = ("train", "--sweep", "--tasks", "drills/digit", "--recipes", "grpo", *SMALL)
    return [*known, "--seeds", "0..2", "--jobs", str(jobs), "-o", str(folder)]


def children() -> dict[int, str]:
    """Command lines of all processes."""
    found: dict[int, str] = {}
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found[int(path.parent.name)] = path.read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
    return found


def nurseries(of: int) -> set[int]:
    """Processes that a sweep began, and theirs."""
    parents: dict[int, int] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    found = {of}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {of}


def ended(pids: set[int], within: float = 120.0) -> bool:
    end = time.monotonic() + within
    while time.monotonic() < end:
        if not any(Path(f"/proc/{pid}").exists() for pid in pids):
            return True
        time.sleep(0.1)
    return False


def until_one_is_done(folder: Path, within: float = 240.0) -> None:
    end = time.monotonic() + within
    while not [*folder.glob("sweeps/*/cells/reports/*.json")]:
        assert time.monotonic() < end, "no run was done in time"
        time.sleep(0.05)


def recorded(folder: Path) -> dict[tuple[str, str], Record]:
    return {(r.split, r.metric): r for r in load(folder / "records")}


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT], ids=["kill", "interrupt"])
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for processes in /proc")
def test_a_stopped_sweep_leaves_no_process_and_goes_on(tmp_path: Path, how: signal.Signals) -> None:
    process = start(begun(tmp_path, 1), tmp_path)
    until_one_is_done(tmp_path)
    left = nurseries(process.pid)
    assert left
    os.kill(process.pid, how)
    _, err = process.communicate(timeout=240)
    assert process.returncode == (130 if how == signal.SIGINT else -signal.SIGKILL), err
    assert ended(left), children()
    done = {path.name for path in tmp_path.glob("sweeps/*/cells/reports/*.json")}
    assert len(done) < 3
    assert not (tmp_path / "records").exists()
    said = command(*begun(tmp_path, 1))
    assert said.code == 0, said.err
    assert f"{len(done)} of 3 runs are done already" in said.err
    found = recorded(tmp_path)
    assert found["test", "close"].seeds == [0, 1, 2]
    assert len(found["dev", "close at equal tokens"].values) == 3
