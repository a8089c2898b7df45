"""Tests that one process runs one after another while its keeper sleeps: each keeps what is its."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator

import pytest

from sandbox.local import LocalBackend
from sandbox.types import Backend, Call, Limits, Program, Stdin
from tests.sandbox.boxes import runs, stdin
from tests.sandbox.own_programs import FRAME

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="boxes need Linux")


@pytest.fixture(scope="module")
def box() -> Iterator[Backend]:
    with LocalBackend(workers=1) as backend:
        yield backend


def numbers(count: int) -> list[str]:
    return [str(n) for n in range(count)]


@pytest.mark.parametrize("count", [2, 10, 25])
def test_a_test_that_prints_nothing_is_as_good_as_one_that_does(box: Backend, count: int):
    """The last is the one whose output would wake the keeper; it may be silent, or all may be."""
    odd = runs(box, stdin("n = int(input())\nif n % 2: print(n)", *numbers(count)))
    assert [run.stdout for run in odd] == [b"%d\n" % n if n % 2 else b"" for n in range(count)]
    silent = runs(box, stdin("input()", *numbers(count)))
    assert [(run.status, run.stdout) for run in silent] == [("OK", b"")] * count


def test_output_beyond_what_a_pipe_holds_is_each_tests_own(box: Backend):
    """Some fit, some are written while the keeper reads, the last wakes it long before its end."""
    source = "n = int(input())\nprint(n, flush=True)\nprint(chr(65 + n) * (n % 3 * 90_000))"
    found = runs(box, stdin(source, *numbers(12)))
    wanted = [b"%d\n" % n + bytes([65 + n]) * (n % 3 * 90_000) + b"\n" for n in range(12)]
    assert [run.stdout for run in found] == wanted


def test_rows_of_tests_of_many_kinds_end_each_as_its_own(box: Backend):
    source = "import sys\ndef double(n): return 2 * n\nif __name__ == '__main__': print(input())"
    tests = [(Stdin(f"{n}\n"), Call("double", (n,)))[n % 2] for n in range(23)]
    found = runs(box, Program(source, tuple(tests)))
    wanted = [(b"", f"{2 * n}") if n % 2 else (b"%d\n" % n, None) for n in range(23)]
    assert [(run.stdout, run.value) for run in found] == wanted


def test_a_failure_amid_quick_tests_is_that_tests_alone(box: Backend):
    source = "n = int(input())\nif n == 6: raise KeyError('six')\nprint(n)"
    found = runs(box, stdin(source, *numbers(13), stop_at_fault=False))
    assert [run.status for run in found] == ["RE" if n == 6 else "OK" for n in range(13)]
    assert "KeyError: 'six'" in found[6].stderr
    # what is written to it by then counts with the last test that was answered in a row
    assert [n for n, run in enumerate(found) if run.stderr and n not in (5, 6)] == []
    assert len(runs(box, stdin(source, *numbers(13)))) == 7


def test_a_sleeper_amid_quick_tests_meets_the_clock_alone(box: Backend):
    source = "import time\nn = int(input())\nprint(n, flush=True)\nif n == 3: time.sleep(9999)"
    limits = Limits(cpu=5, wall=0.5)
    found = runs(box, stdin(source, *numbers(6), limits=limits, stop_at_fault=False))
    assert [run.status for run in found] == ["OK"] * 3 + ["TLE"] + ["OK"] * 2
    assert [run.stdout for run in found] == [b"%d\n" % n for n in range(6)]
    assert found[3].wall >= 0.5


def test_a_source_beyond_what_the_line_holds_is_watched_like_any_other(box: Backend):
    source = "import time\nprint(input(), flush=True)\ntime.sleep(9999)\n" + "#" * 999_999
    limits = Limits(cpu=5, wall=0.5, source=1 << 20)
    run = runs(box, stdin(source, "1", limits=limits))[0]
    assert (run.status, run.stdout) == ("TLE", b"1\n")
    assert 0.5 <= run.wall < 20


def test_times_are_shared_by_what_each_test_took(box: Backend):
    source = "import time\nuntil = time.process_time() + float(input())\n" + (
        "while time.process_time() < until: pass"
    )
    shares = [0.0, 0.002, 0.0, 0.03, 0.0, 0.002]
    found = runs(box, stdin(source, *map(str, shares)))
    assert all(run.status == "OK" and run.wall > 0 for run in found)
    assert all(run.cpu >= share * 0.9 for run, share in zip(found, shares, strict=True))
    assert sum(run.cpu for run in found) <= sum(run.wall for run in found) + 0.05


@pytest.mark.parametrize("end", ["while True: pass", "os._exit(0)", "os.close(3)", "pass"])
def test_answers_that_are_given_early_bring_no_output_and_no_later_pass(box: Backend, end: str):
    """The first test claims to be all of them: each of the others has printed nothing."""
    forged = "[os.write(3, frame(b'O11 1 \\n')) for _ in range(40)]"
    source = f"{FRAME}n = input()\nprint(n)\n{forged}\n{end}"
    limits = Limits(cpu=0.3, wall=60)
    found = runs(box, stdin(source, *numbers(10), limits=limits, stop_at_fault=False))
    printed = [run.stdout for run in found]
    assert set(printed) <= {b""} | {b"%d\n" % n for n in range(10)}
    for n, text in enumerate(printed):
        assert text in (b"", b"%d\n" % n), "a test has what another one printed"


def test_what_is_no_frame_is_an_error_of_its_test_after_those_that_were_answered(box: Backend):
    forged = "os.write(3, frame(b'O11 1 \\n') * 2 + b'\\xff' * 4)"
    source = f"{FRAME}n = input()\n{forged}\nwhile True: pass"
    limits = Limits(cpu=0.3, wall=60)
    found = runs(box, stdin(source, *numbers(3), limits=limits, stop_at_fault=False))
    # a new process, begun for the third, answers it before it says what is no frame
    assert [run.status for run in found] == ["OK"] * 3
    bad = stdin(f"{FRAME}os.write(3, b'\\xff' * 4)\nwhile True: pass", limits=limits)
    (run,) = runs(box, bad)
    assert (run.status, "no frame" in run.detail) == ("RE", True)


def test_processes_that_are_made_ahead_serve_whatever_comes_next(box: Backend):
    """One of the kind of the last two is ready; what is asked for is of another kind, or is not."""
    for count, memory in itertools.product([1, 1, 3, 3, 3, 11], [1 << 29, 1 << 30]):
        limits = Limits(memory=memory)
        found = runs(box, stdin("print(input())", *numbers(count), limits=limits))
        assert [run.stdout for run in found] == [b"%d\n" % n for n in range(count)]
