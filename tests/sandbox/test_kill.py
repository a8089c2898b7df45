"""Whatever is killed whenever: nothing wrong passes, nothing stays, and work goes on."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from sandbox.local import LocalBackend
from sandbox.types import Assertions, Program
from tests.sandbox.boxes import all_gone, descendants, groups, results, stdin

HOUSE = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="boxes need Linux")

RIGHT = stdin("import time\ntime.sleep(0.01)\nprint(3)", *["1 2\n"] * 5)
WRONG = stdin("import time\ntime.sleep(0.01)\nprint(4)", *["1 2\n"] * 5)
FALSE = Program(
    "import time\ndef f(x):\n    time.sleep(0.02)\n    return 0", (Assertions("assert f(1)"),)
)
MIXED = [RIGHT, WRONG, FALSE] * 10


@pytest.mark.slow
def test_killed_processes_of_boxes_make_no_pass():
    rng = random.Random(5)
    before, over, seen = descendants(), threading.Event(), set[int]()

    def kill_some() -> None:
        while not over.wait(rng.uniform(0.0, 0.25)):
            there = descendants() - before
            seen.update(there)
            if there:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(rng.choice(sorted(there)), signal.SIGKILL)

    with LocalBackend(workers=2) as backend:
        assert backend.capabilities().usable
        killer = threading.Thread(target=kill_some)
        killer.start()
        found = results(backend, MIXED)
        over.set()
        killer.join()
        again = results(backend, MIXED)  # may meet boxes that were killed while idle
        undisturbed = results(backend, MIXED)
        seen |= descendants() - before
    assert all_gone(seen)
    for program, result in zip(MIXED, found, strict=True):
        if program is FALSE:
            assert result.runs[-1].status in ("RE", "SE")
        else:
            right = b"3\n" if program is RIGHT else b"4\n"
            assert {run.stdout for run in result.runs if run.status == "OK"} <= {right}
            assert result.runs[-1].status in ("OK", "SE")
    assert [result.runs[-1].status for result in again] == ["OK", "OK", "RE"] * 10
    assert not any(result.notes for result in undisturbed)


HARNESS = """
import sys
sys.path.insert(0, sys.argv[1])
from sandbox.local import LocalBackend
from sandbox.types import Program, Stdin
backend = LocalBackend(workers=2)
tests = (Stdin("1"),) * 3
slow = Program("import time\\ntime.sleep(0.05)\\nprint(input())", tests)
print("begun", flush=True)
while True:
    assert all(len(result.runs) == 3 for _, result in backend.run([slow] * 8))
    print("done", flush=True)
"""


SEEDS = [1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (2, 3, 4))]


@pytest.mark.parametrize("seed", SEEDS)
def test_a_killed_harness_leaves_no_process(seed: int):
    rng = random.Random(seed)
    process = subprocess.Popen(
        [sys.executable, "-c", HARNESS, str(HOUSE)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    process.stdout.readline()
    seen = set[int]()
    until = time.monotonic() + rng.uniform(0.0, 1.0)
    while time.monotonic() < until or not seen:
        seen |= descendants(process.pid)
        assert process.poll() is None
    process.kill()
    seen |= descendants(process.pid)
    process.communicate()
    assert all_gone(seen)
    with LocalBackend(workers=1) as backend:  # the next one removes what could not be removed
        assert results(backend, [RIGHT])[0].runs[-1].status == "OK"
    assert groups(process.pid) == []


def test_an_interrupted_harness_leaves_no_process():
    process = subprocess.Popen(
        [sys.executable, "-c", HARNESS, str(HOUSE)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    assert process.stdout.readline() == "done\n"
    seen = descendants(process.pid)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode != 0
    assert seen
    assert all_gone(seen)
