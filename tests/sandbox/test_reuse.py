"""A process that serves several tests is never the reason of a verdict, good or bad."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Iterator, Sequence

import pytest

from sandbox.judge import Case, Judgement, Submission, judge, judge_one
from sandbox.local import LocalBackend
from sandbox.types import Backend, Capabilities, Limits, Program, Result, Run, Stdin
from tests.sandbox.boxes import runs, stdin

linux = pytest.mark.skipif(sys.platform != "linux", reason="boxes need Linux")


class Watched:
    """A backend that notes what another is asked."""

    def __init__(self, backend: Backend) -> None:
        self.backend, self.name = backend, backend.name
        self.asked: list[Program] = []

    def capabilities(self) -> Capabilities:
        return self.backend.capabilities()

    def run(self, programs: Sequence[Program]) -> Iterator[tuple[int, Result]]:
        self.asked += programs
        return self.backend.run(programs)

    def close(self) -> None:
        self.backend.close()


@pytest.fixture(scope="module")
def box() -> Iterator[Backend]:
    with LocalBackend(workers=1) as backend:
        yield backend


def judged(backend: Backend, source: str, right: str = "{}", **words: object) -> Judgement:
    """On four cases, whose right answers are twice their inputs."""
    cases = tuple(Case(Stdin(f"{n}\n"), right.format(2 * n)) for n in (1, 2, 3, 4))
    return judge_one(backend, Submission(source=source, cases=cases, **words))  # type: ignore[arg-type]


LEFT = {
    "handlers of the log": (
        "import logging, sys\nlog = logging.getLogger()\n"
        "log.addHandler(logging.StreamHandler(sys.stdout))\nlog.warning(int(input()) * 2)"
    ),
    "finalizers": (
        "import weakref\nclass A: pass\na = A()\nweakref.finalize(a, print, int(input()) * 2)"
    ),
    "seconds": (
        "import time\nn = k = int(input())\nwhile time.process_time() < 0.05: k = 2 * n\nprint(k)"
    ),
    "attributes of modules": (
        "import abc\nabc.n = getattr(abc, 'n', 0) + 2\nprint(int(input()) * abc.n)"
    ),
    "modules": (
        "import sys\nx = sys.modules.setdefault('mine', [])\nx += [1, 1]\n"
        "print(int(input()) * len(x))"
    ),
    "lists of modules": (
        "import keyword as k\nk.kwlist += ['x', 'x']\nprint(int(input()) * k.kwlist.count('x'))"
    ),
    "numbers of threads": (
        "import threading as t\nprint(int(input()) * 2 if t.Thread().name == 'Thread-1' else 0)"
    ),
}


@linux
@pytest.mark.parametrize("name", LEFT)
def test_what_a_test_leaves_behind_makes_no_case_wrong(box: Backend, name: str):
    assert judged(box, LEFT[name]).outcomes == ("AC",) * 4


@linux
@pytest.mark.parametrize(
    ("source", "outcomes", "asked"),
    [
        ("print(int(input()) * 2)", "AC AC AC AC", []),
        ("print(0)", "WA WA WA WA", []),
        ("n = int(input())\nprint(n * 2 if n in (1, 3) else 0)", "AC WA AC WA", [["2"]]),
        (LEFT["numbers of threads"], "AC AC AC AC", [["2"], ["3", "4"]]),
    ],
    ids=["right", "wrong at once", "wrong later", "wrong for what was left"],
)
def test_no_more_is_run_again_than_decides(
    box: Backend, source: str, outcomes: str, asked: list[list[str]]
):
    watched = Watched(box)
    assert judged(watched, source).outcomes == tuple(outcomes.split())
    again = watched.asked[1:]
    assert [[test.text.strip() for test in each.tests] for each in again] == asked  # type: ignore[union-attr]
    assert all(each.isolation == "test" for each in again)


def test_a_case_that_is_not_run_again_is_a_fault_of_the_machinery():
    class Short:
        """Its first run was of a used process; then it leaves out the test."""

        name = "short"
        asked = 0

        def capabilities(self) -> Capabilities:
            return Capabilities(self.name, True, {})

        def run(self, programs: Sequence[Program]) -> Iterator[tuple[int, Result]]:
            self.asked += 1
            used = (Run("OK", b"2"), *(Run("OK", b"9", used=True),) * 3)
            yield 0, Result(used if self.asked == 1 else (), self.name, (), "")

        def close(self) -> None:
            pass

    short = Short()
    assert (judged(short, "").outcome, short.asked) == ("SE", 3)


KEEPS = """
import abc, time
def burn(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end: pass
number, have = int(input()), getattr(abc, 'have', 0)
if number < 5:
    burn(0.15)
    abc.have = have + 0.15
else:
    burn(0.75 - have)
print(number)
"""
FORGES = """
import os, struct, time
def burn(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end: pass
number = int(input())
if number == 1:
    for slot in range(5):
        burn(0.12)
        os.write(37 + 2 * slot if slot else 1, os.pread(36 + 2 * slot, 99, 0))
        body = b'O11000 120000 \\n'
        os.write(3, struct.pack('>I', len(body)) + body)
    time.sleep(99)
if number == 5:
    burn(0.75)
print(number)
"""


@linux
@pytest.mark.parametrize("source", [KEEPS, FORGES], ids=["keeps its work", "forges its answers"])
def test_no_test_passes_by_the_time_of_others(box: Backend, source: str):
    """The last needs more than three times its limit; what is left of the work is within it."""
    asked = stdin(source, *(f"{n}\n" for n in range(1, 6)), limits=Limits(cpu=0.2, wall=60))
    *rest, last = runs(box, asked)
    assert [(run.status, run.stdout) for run in rest] == [("OK", b"%d\n" % n) for n in range(1, 5)]
    assert (last.status, last.used) == ("TLE", False)


@linux
def test_tests_that_share_the_seconds_of_one_share_a_process(box: Backend):
    found = runs(box, stdin("print(input())", "1\n", "2\n", "3\n"))
    assert [run.used for run in found] == [False, True, True]


def test_outputs_are_let_go_when_they_are_judged():
    class Talkative:
        """It counts its results that are still held."""

        name = "talkative"
        most = 0

        def capabilities(self) -> Capabilities:
            return Capabilities(self.name, True, {})

        def run(self, programs: Sequence[Program]) -> Iterator[tuple[int, Result]]:
            seen: weakref.WeakSet[Run] = weakref.WeakSet()
            for number in reversed(range(len(programs))):
                run = Run("OK", b"1")
                seen.add(run)
                yield number, Result((run,), self.name, (), "")
                self.most = max(self.most, len(seen))

        def close(self) -> None:
            pass

    backend = Talkative()
    asked = [Submission(source=str(n), cases=(Case(Stdin(""), "1"),)) for n in range(20)]
    found = list(judge(backend, asked))
    assert [number for number, _ in found] == [*reversed(range(20))]
    assert {each.outcome for _, each in found} == {"AC"}
    assert backend.most <= 2
