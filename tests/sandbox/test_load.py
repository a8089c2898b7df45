"""The same verdicts whatever else the machine does, and a supervisor that does not grow."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sandbox.local import LocalBackend
from sandbox.types import Assertions, Backend, Call, Limits, Program, Result, Stdin
from tests.sandbox.boxes import results, stdin

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="boxes need Linux")
LIMITS = Limits(cpu=2.0)
ENDLESS = "while True: pass"


@contextmanager
def busy(count: int) -> Iterator[None]:
    """So many processes that take all the CPU they can get."""
    spin = [sys.executable, "-S", "-c", ENDLESS]
    processes = [subprocess.Popen(spin) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def mixed(count: int, seed: int) -> list[Program]:
    """Programs that are right, wrong, or fail in some way; each verdict has one reason."""
    rng = random.Random(seed)
    sources = [
        "print(sum(map(int, input().split())))",
        "a, b = map(int, input().split())\nprint(a + b if a % 3 else a - b)",
        "n = sum(map(int, input().split()))\nprint(sum(k % 7 for k in range(n * 900)))",
        "raise ValueError(input())",
        "import sys\nsys.exit(int(input().split()[0]) % 2)",
        "print(bytearray(1 << 40))",
        "print('x' * 2000000)",
        "def f(:",
        "import random\nrandom.seed(3)\nprint(random.random(), {str(k) for k in range(9)})",
        "import random\nprint(random.random(), hash('text'))",
    ]
    programs: list[Program] = []
    for _ in range(count):
        source = rng.choice(sources)
        texts = [f"{rng.randrange(50)} {rng.randrange(50)}\n" for _ in range(3)]
        programs.append(stdin(source, *texts, limits=LIMITS))
        pair = (rng.randrange(9), rng.randrange(9))
        programs.append(Program("def f(a, b): return [a] * b", (Call("f", pair),), LIMITS))
        code = f"assert f({pair[0]}) == {pair[1]}"
        programs.append(Program("def f(x): return x", (Assertions(code),), LIMITS))
    return programs[:count]


def told(found: list[Result]) -> list[list[tuple[object, ...]]]:
    """All of a result but for times, memory and traces of addresses."""
    return [
        [(run.status, run.stdout, run.value, run.detail) for run in result.runs] for result in found
    ]


@pytest.fixture(scope="module")
def box() -> Iterator[Backend]:
    with LocalBackend(workers=2) as backend:
        yield backend


def test_controls_are_right_while_all_other_workers_are_stuck():
    control = stdin("print(sum(map(int, input().split())))", "1 2\n")
    stuck = stdin(ENDLESS, limits=Limits(cpu=0.5, wall=60))
    programs = [stuck, stuck, stuck, control, control]
    with LocalBackend(workers=4) as backend:
        found = results(backend, programs)
    assert [result.runs[0].status for result in found] == ["TLE", "TLE", "TLE", "OK", "OK"]


def test_a_starved_program_is_not_called_late():
    """A little work with a short clock, beside many others that want the CPU."""
    work = stdin(
        "import time\nwhile time.process_time() < 0.2: pass\nprint(3)", limits=Limits(cpu=5, wall=5)
    )
    with busy(3 * (os.cpu_count() or 1)), LocalBackend(workers=8) as backend:
        found = results(backend, [work] * 8)
    assert [result.runs[0].status for result in found] == ["OK"] * 8


@pytest.mark.slow
def test_a_thousand_programs_have_the_same_verdicts_idle_and_under_load_twice(box: Backend):
    programs = mixed(1000, seed=7)
    idle = told(results(box, programs))
    assert {run[0] for runs in idle for run in runs} == {"OK", "RE", "MLE", "OLE", "CE"}
    assert told(results(box, programs)) == idle
    with busy(2 * (os.cpu_count() or 1)):
        assert told(results(box, programs)) == idle
        assert told(results(box, programs)) == idle


def resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.slow
def test_ten_thousand_program_tests_leave_the_supervisor_as_large_as_it_was(box: Backend):
    program = Program("print(input() * 500)", tuple(Stdin("x" * 100) for _ in range(100)))
    results(box, [program] * 10)
    before = resident()
    for _ in range(10):
        found = results(box, [program] * 10)
        assert all(len(run.stdout) == 50_001 for result in found for run in result.runs)
        del found
    assert resident() - before < 50 << 20
