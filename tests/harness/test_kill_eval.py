"""An evaluation that is killed at any moment and run again gives the numbers of an unbroken one."""

from __future__ import annotations

import contextlib
import json
import random
import time
from pathlib import Path

import pytest

from harness.journal import Journal
from tests.forks import Forks
from tests.killing import harness, kill_at_random

COMMAND = (
    "eval mathqa/arith1 --model text:tiny -n 4 --limit 100 --max-tokens 48 --dtype float32 "
    "--batch-size 8 --json"
).split()


def numbers(folder: Path) -> tuple[list[tuple[object, ...]], list[str]]:
    """Every metric, and every rollout but for the time that judging took."""
    (run,) = (folder / "results" / "runs").iterdir()
    report = json.loads((run / "report.json").read_text())
    metrics = [
        (m["metric"], m["value"], m["low"], m["high"], m["values"]) for m in report["metrics"]
    ]
    lines = []
    for row in Journal(run / "rollouts.jsonl").read():
        row.pop("seconds")
        lines.append(json.dumps(row, sort_keys=True))
    return metrics, sorted(lines)


def folders(folder: Path) -> tuple[Path, Path]:
    """For the unbroken run and for the other."""
    found = folder / "unbroken", folder / "broken"
    for each in found:
        each.mkdir()
    return found


def test_a_killed_evaluation_resumes_to_the_same_numbers(tmp_path: Path):
    unbroken, broken = folders(tmp_path)
    begin = time.monotonic()
    harness(COMMAND, unbroken)
    seconds = time.monotonic() - begin
    rng = random.Random(2)
    killed = 0
    for _ in range(2):  # the first one early: a machine that grows quicker still gets killed
        within = seconds if killed else 0.4 * seconds
        killed += kill_at_random(COMMAND, broken, within=within, rng=rng)
    harness(COMMAND, broken)
    assert killed > 0
    assert numbers(broken) == numbers(unbroken)


@pytest.mark.slow
def test_killed_twenty_times_it_ends_where_the_unbroken_one_does(tmp_path: Path):
    unbroken, broken = folders(tmp_path)
    rng = random.Random(20)
    with contextlib.closing(Forks()) as forks:
        forks.run(["list"], tmp_path)  # all that it loads is there
        begin = time.monotonic()
        forks.run(COMMAND, unbroken)
        seconds = time.monotonic() - begin
        killed = 0
        for _ in range(20):
            running = forks.start(COMMAND, broken)
            running.ended(rng.uniform(0, seconds / 6))
            killed += running.kill()
        forks.run(COMMAND, broken)
    assert killed > 4
    assert numbers(broken) == numbers(unbroken)
