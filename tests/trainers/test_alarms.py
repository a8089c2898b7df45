"""Alarms on made-up series: each by its own cause, none on a run that goes well."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from harness.journal import Journal
from harness.metrics import mean
from harness.types import Metric
from tests.trainer_builders import rollout
from trainers.alarms import Alarm, HeldOut, Watch

HELD_OUT = HeldOut.of(mean("correct"), {"correct": 1.0})
REWARD = {"correct": 1.0}
RUNS: dict[str, list[dict[str, float]]] = json.loads(
    Path(__file__).with_name("healthy_runs.json").read_text("utf-8")
)
"""Logs of a 135M model that learns: sums of two digits (the demo), reversal, sorting."""
STEPS = 20
Series = Callable[[float], float]
"""From the part of the run that is done, 0 to 1, to a number of the log."""


def flat(t: float) -> float:
    return 0.2


def healthy(**changes: Series) -> dict[str, Series]:
    """A run that learns: half of what was wrong at first is right at the end."""
    return {
        "reward": lambda t: 0.2 + 0.5 * t,
        "verdicts/ok": lambda t: 0.2 + 0.5 * t,
        "verdicts/wrong": lambda t: 0.3 + 0.0 * t,
        "verdicts/truncated": lambda t: 0.5 - 0.5 * t,
        "completions/mean_length": lambda t: 16 - 12 * t,
        "completions/clipped_ratio": lambda t: 0.5 - 0.5 * t,
        "entropy": lambda t: 1.5 - 1.2 * t,
        "effective_prompt_ratio": lambda t: 0.5,
        "faults": lambda t: 0.0,
        "rollouts": lambda t: 64.0,
        **changes,
    }


def raised(
    folder: Path, series: dict[str, Series], dev: Series = lambda t: 0.2 + 0.4 * t
) -> list[Alarm]:
    """Alarms of a run of twenty steps that looks at dev every five."""
    found: list[Alarm] = []
    watch = Watch(folder / "alarms.jsonl", HELD_OUT, found.append)
    watch.log(0, {"eval/correct": dev(0.0)})
    for step in range(1, STEPS + 1):
        done = (step - 1) / (STEPS - 1)
        watch.shown = [
            (rollout(0.0, attempt=0, steps=9), 0.0),
            (rollout(1.0, attempt=1, steps=2), 1.0),
            (rollout(0.0, attempt=2, steps=5), 0.5),
            (rollout(0.0, attempt=3, steps=7), 0.25),
        ]
        watch.log(step, {name: value(done) for name, value in series.items()})
        if step % 5 == 0:
            watch.log(step, {"eval/correct": dev(done)})
    return found


def kinds(found: list[Alarm]) -> list[str]:
    return [alarm.kind for alarm in found]


def test_a_run_that_learns_raises_none(tmp_path: Path):
    assert raised(tmp_path, healthy()) == []
    assert not (tmp_path / "alarms.jsonl").exists()


def test_a_task_that_is_solved_raises_none(tmp_path: Path):
    solved = healthy(
        **{
            "reward": lambda t: min(1.0, 0.5 + 2 * t),
            "verdicts/ok": lambda t: min(1.0, 0.5 + 2 * t),
            "verdicts/truncated": lambda t: 0.0,
            "effective_prompt_ratio": lambda t: 0.0 if t > 0.3 else 0.5,
            "entropy": lambda t: 1.0 if t < 0.3 else 0.001,
            "completions/mean_length": lambda t: 16.0 if t < 0.3 else 3.0,
        }
    )
    assert raised(tmp_path, solved, lambda t: 0.95) == []


def test_a_run_that_stands_still_without_a_fault_raises_none(tmp_path: Path):
    still = {name: partial(value, 0.0) for name, value in healthy().items()}
    found = raised(tmp_path, {n: (lambda t, now=now: now()) for n, now in still.items()}, flat)
    assert found == []


def test_entropy_that_is_gone_is_told_although_the_run_got_better(tmp_path: Path):
    gone = {"entropy": lambda t: math.exp(-9 * t), "verdicts/ok": lambda t: 0.2 + 0.3 * t}
    assert kinds(raised(tmp_path, healthy(**gone))) == ["entropy"]
    sure = {**gone, "entropy": lambda t: math.exp(-3.5 * t)}
    assert kinds(raised(tmp_path / "sure", healthy(**sure))) == []


@pytest.mark.parametrize("name", RUNS)
def test_real_runs_that_went_well_raise_none(tmp_path: Path, name: str):
    found: list[Alarm] = []
    watch = Watch(tmp_path / "alarms.jsonl", HeldOut.of(mean("pass@1"), REWARD), found.append)
    lines = RUNS[name]
    assert len([line for line in lines if "reward" in line]) >= 12
    for line in lines:
        watch.log(int(line["step"]), {k: v for k, v in line.items() if k != "step"})
    assert found == []


CAUSES: dict[str, dict[str, Series]] = {
    "length": {
        "completions/mean_length": lambda t: 100 - 70 * t,
        "completions/clipped_ratio": lambda t: 0.1,
        "verdicts/ok": lambda t: 0.2,
    },
    "entropy": {
        "entropy": lambda t: 1.0 * math.exp(-6 * t),
        "verdicts/ok": lambda t: 0.2 + 0.3 * t,
    },
    "reasons": {"verdicts/bad_format": lambda t: 0.5 * t},
    "flat_groups": {"effective_prompt_ratio": lambda t: 0.5 if t < 0.5 else 0.0},
    "faults": {"faults": lambda t: 0.0 if t < 0.5 else 8.0},
    "not_finite": {"grad_norm": lambda t: 1.0 if t < 0.9 else float("nan")},
}


@pytest.mark.parametrize("kind", CAUSES)
def test_each_cause_raises_its_own_alarm_once(tmp_path: Path, kind: str):
    found = raised(tmp_path, healthy(**CAUSES[kind]))
    assert kinds(found) == [kind]
    [alarm] = found
    assert 10 <= alarm.step <= STEPS
    assert len(alarm.rollouts) == 3
    [line] = Journal(tmp_path / "alarms.jsonl").read()
    assert line["kind"] == kind
    assert len(line["rollouts"]) == 3
    assert "\n" not in alarm.line()
    assert f"alarm at step {alarm.step}, {kind}" in alarm.line()


def test_answers_that_grow_without_getting_better_are_told(tmp_path: Path):
    grown = {"completions/mean_length": lambda t: 10 + 40 * t, "verdicts/ok": lambda t: 0.2}
    [alarm] = raised(tmp_path, healthy(**grown))
    assert "grew" in alarm.text
    assert [r["attempt"] for r in alarm.rollouts] == [0, 3, 2], "the longest first"


def test_reward_without_a_held_out_score_is_told_with_what_was_paid_most(tmp_path: Path):
    found = raised(tmp_path, healthy(), dev=lambda t: 0.2 + 0.02 * t)
    assert kinds(found) == ["held_out"]
    assert [r["reward"] for r in found[0].rollouts] == [1.0, 0.5, 0.25]
    assert "0.200" in found[0].text


def test_a_held_out_score_that_shall_fall_is_read_the_other_way(tmp_path: Path):
    lower = HeldOut.of(Metric("error", each=lambda row: 0.0, better="lower"), {"correct": 1.0})
    found: list[Alarm] = []
    for name, end in (("falls", 0.4), ("stays", 0.8)):
        watch = Watch(tmp_path / name, lower, found.append)
        for step in range(1, 21):
            watch.log(step, {"reward": 0.2 + step / 40, "verdicts/ok": 0.2})
            if step % 5 == 0:
                watch.log(step, {"eval/error": 0.8 + (end - 0.8) * step / 20})
    assert kinds(found) == ["held_out"]


def test_a_metric_without_bounds_or_a_task_that_pays_nothing_gives_no_held_out_alarm():
    assert HeldOut.of(mean("steps", high=math.inf), {"correct": 1.0}).name == ""
    assert HeldOut.of(mean("correct"), {}).name == ""
    assert HeldOut.of(None, {"correct": 1.0}).name == ""


def test_more_wrong_answers_are_a_worry_only_where_there_were_right_ones(tmp_path: Path):
    learned_form = {"verdicts/wrong": lambda t: 0.2 + 0.5 * t, "verdicts/ok": lambda t: 0.2}
    assert raised(tmp_path, healthy(**learned_form)) == []
    forgot = {"verdicts/wrong": lambda t: 0.2 + 0.6 * t, "verdicts/ok": lambda t: 0.8 - 0.6 * t}
    assert kinds(raised(tmp_path, healthy(**forgot))) == ["reasons"]


def test_an_alarm_comes_again_when_its_cause_does(tmp_path: Path):
    faults = {"faults": lambda t: 30.0 if t < 0.15 or t > 0.85 else 0.0}
    assert kinds(raised(tmp_path, healthy(**faults))) == ["faults", "faults"]


def test_a_run_that_goes_on_raises_nothing_twice_and_forgets_what_came_after(tmp_path: Path):
    series = healthy(**CAUSES["flat_groups"])
    whole = raised(tmp_path / "whole", series)
    lines = [
        {"step": step, **{n: value((step - 1) / (STEPS - 1)) for n, value in series.items()}}
        for step in range(1, STEPS + 1)
    ]
    for stopped in (whole[0].step - 1, whole[0].step):
        raised(tmp_path / "parts", series)
        found: list[Alarm] = []
        again = Watch(tmp_path / "parts" / "alarms.jsonl", HELD_OUT, found.append)
        again.recall(lines[:stopped], stopped)
        for line in lines[stopped:]:
            again.log(int(line["step"]), line)
        assert len(found) == int(stopped < whole[0].step)
        stored = (tmp_path / "parts" / "alarms.jsonl").read_text("utf-8").splitlines()
        assert [json.loads(line)["step"] for line in stored] == [whole[0].step]
        (tmp_path / "parts" / "alarms.jsonl").unlink()
