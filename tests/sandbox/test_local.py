"""What honest programs may count on, how each end is told, and how the backend is used."""

# ruff: noqa: E501 - programs are easier to read on long lines
from __future__ import annotations

import multiprocessing
import os
import sys
import threading
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sandbox.errors import BadProgram, SandboxUnavailable
from sandbox.local import LocalBackend
from sandbox.open import open_backend
from sandbox.types import Backend, Call, Limits, Program, Stdin
from tests.sandbox.boxes import all_gone, descendants, groups, one, results, runs, stdin

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="boxes need Linux")
ADD = "print(sum(map(int, input().split())))"


@pytest.fixture(scope="module")
def box() -> Iterator[Backend]:
    with LocalBackend(workers=2) as backend:
        yield backend


# -- standard input


IDIOMS = {
    "input": ADD,
    "iterate": "import sys\nfor line in sys.stdin: print(sum(map(int, line.split())))",
    "buffer": "import sys\nprint(sum(map(int, sys.stdin.buffer.readline().split())))",
    "open 0": "print(sum(map(int, open(0).read().split())))",
    "os.read": "import os\nprint(sum(map(int, os.read(0, 99).split())))",
    "bound early": "from sys import stdin, stdout\nstdout.write(str(sum(map(int, stdin.readline().split()))))",
    "replaced stdin": "import io, sys\nsys.stdin = io.BytesIO(sys.stdin.buffer.read())\n"
    "print(sum(map(int, sys.stdin.readline().split())))",
    "own writer": "import os\nf = open(1, 'w')\nf.write(str(sum(map(int, input().split()))))",
    "replaced stdout": "import io, sys\nprint(sum(map(int, input().split())))\nsys.stdout = io.StringIO()\n"
    "print('unseen')",
    "reconfigured": "import sys\nsys.stdout.reconfigure(newline='\\r\\n')\n" + ADD,
    "at exit": "import atexit\natexit.register(lambda: print(sum(map(int, input().split()))))",
    "guard": "def main(): " + ADD + "\nif '__main__' == __name__: main()\nx = 1",
    "future": "from __future__ import annotations\n" + ADD,
    "global": "t = 0\ndef g():\n    global t\n    t += sum(map(int, input().split()))\ng()\nprint(t)",
    "exit": ADD + "\nexit()",
    "quit": ADD + "\nquit()",
    "sys.exit": ADD + "\nimport sys\nsys.exit()",
    "hard exit": "import os\nprint(sum(map(int, input().split())), flush=True)\nos._exit(0)",
    "big stack": "import sys, threading\nsys.setrecursionlimit(1 << 20)\nthreading.stack_size(1 << 26)\n"
    "def f(n): return n and f(n - 1)\n"
    "def main():\n    f(50000)\n    " + ADD + "\nt = threading.Thread(target=main)\nt.start()\nt.join()",
    "unjoined thread": "import threading\nthreading.Thread(target=lambda: " + ADD + ").start()",
    "executor": "from concurrent.futures import ThreadPoolExecutor\n"
    "with ThreadPoolExecutor(2) as p: print(sum(p.map(int, input().split())))",
    "asyncio": "import asyncio\nasync def main():\n    await asyncio.sleep(0)\n    " + ADD
    + "\nasyncio.run(main())",
    "dataclass": "from __future__ import annotations\nfrom dataclasses import dataclass\n@dataclass\n"
    "class P:\n    a: int\n    b: int\nprint(sum(vars(P(*map(int, input().split()))).values()))",
    "null device": "import os, sys\nsys.stderr = open(os.devnull, 'w')\n" + ADD,
    "prompt to stderr": "import sys\nprint('?', file=sys.stderr)\n" + ADD,
    "own builtins": "import builtins\nbuiltins.total = sum\nprint(total(map(int, input().split())))",
    "alarm": "import signal\nsignal.alarm(100)\n" + ADD,
}  # fmt: skip


@pytest.mark.parametrize("name", IDIOMS)
def test_every_way_to_read_and_write_works_in_each_test_of_one_process(box: Backend, name: str):
    seen = runs(box, stdin(IDIOMS[name], "1 2\n", "3 4\n", "5 6\n"))
    assert [(run.status, run.stdout.strip(), run.detail) for run in seen] == [
        ("OK", b"3", ""),
        ("OK", b"7", ""),
        ("OK", b"11", ""),
    ]


ENDS = {
    "exit status": ("import sys\nprint(3)\nsys.exit(7)", "RE", "exit status 7"),
    "exit text": ("import sys\nsys.exit('no')", "RE", "exit status 1"),
    "hard exit": ("import os\nos._exit(7)", "RE", "exit status 7"),
    "exception": ("print(3)\nraise ValueError('x')", "RE", "ValueError: x"),
    "crash": ("import ctypes\nctypes.string_at(0)", "RE", "signal 11"),
    "memory": ("x = bytearray(1 << 40)", "MLE", "MemoryError"),
    "output": ("while True: print('x' * 999)", "OLE", "more than 100000 bytes"),
    "cpu": ("while True: pass", "TLE", "CPU"),
    "syntax": ("def f(:", "CE", "SyntaxError"),
    "surrogate": ("print('\ud800')", "CE", "Unicode"),
    "null": ("print(3)\0", "CE", "null"),
    "closed output": ("import os\nos.close(1)\nprint(3)", "RE", ""),
}


@pytest.mark.parametrize("name", ENDS)
def test_every_end_has_its_status_and_reason(box: Backend, name: str):
    source, status, detail = ENDS[name]
    run = one(box, stdin(source, limits=Limits(cpu=0.5, wall=60, stdout=100_000)))
    assert run.status == status
    assert detail in run.detail
    assert run.cpu < 30


def test_a_sleeper_meets_the_clock(box: Backend):
    run = one(box, stdin("import time\ntime.sleep(9999)", limits=Limits(wall=0.4)))
    assert (run.status, run.detail) == ("TLE", "more than 0.4 s on the clock")
    assert run.cpu < 0.4 <= run.wall


def test_output_and_error_text_are_kept_up_to_their_caps(box: Backend):
    limits = Limits(stdout=1000, stderr=100)
    fine = one(
        box,
        stdin("import sys\nsys.stderr.write('e' * 999 + 'end')\nprint('x' * 999)", limits=limits),
    )
    assert (fine.status, len(fine.stdout), len(fine.stderr)) == ("OK", 1000, 100)
    assert fine.stderr.endswith("end")
    over = one(box, stdin("print('x' * 1000)", limits=limits))
    assert (over.status, len(over.stdout)) == ("OLE", 1000)
    raised = one(box, stdin("def f(): raise ValueError('why')\nf()"))
    assert "ValueError: why" in raised.stderr
    assert "solution" in raised.stderr
    assert "runner" not in raised.stderr


def test_times_and_memory_are_those_of_the_program(box: Backend):
    busy = "import time\nwhile time.process_time() < 0.3: pass\nx = bytearray(99_000_000)"
    run = one(box, stdin(busy))
    assert run.status == "OK"
    assert 0.2 < run.cpu <= run.wall + 0.05
    assert run.memory > 99_000_000


def test_source_beyond_its_cap_is_not_compiled(box: Backend):
    run = one(box, stdin("#" * 999, limits=Limits(source=998)))
    assert (run.status, run.detail) == ("CE", "more than 998 bytes of source")
    assert one(box, stdin("#" * 999, limits=Limits(source=999))).status == "OK"


def test_the_prefix_runs_before_the_source_but_after_its_future_line(box: Backend):
    source = "from __future__ import annotations\ndef f(x: Nothing): return x\nprint(gcd(4, f(6)))"
    run = one(box, stdin(source, prefix="from math import *"))
    assert (run.status, run.stdout) == ("OK", b"2\n")


# -- tests in a row


def test_the_first_fault_ends_the_program_unless_all_are_asked_for(box: Backend):
    source = "print(10 // int(input()))"
    texts = ("1\n", "0\n", "5\n")
    assert [run.status for run in runs(box, stdin(source, *texts))] == ["OK", "RE"]
    every = runs(box, stdin(source, *texts, stop_at_fault=False))
    assert [(run.status, run.stdout) for run in every] == [
        ("OK", b"10\n"),
        ("RE", b""),
        ("OK", b"2\n"),
    ]


def test_what_one_test_leaves_behind_is_never_the_reason_of_anothers_failure(box: Backend):
    source = (
        "import json, sys\n"
        "if hasattr(json, 'mark'): raise ValueError\n"
        "json.mark = 1\n"
        "import statistics\n"
        "if hasattr(statistics, 'mark'): raise ValueError\n"
        "statistics.mark = 1\n" + ADD
    )
    assert [run.status for run in runs(box, stdin(source, *["1 2\n"] * 4))] == ["OK"] * 4


@pytest.mark.parametrize("count", [1, 9, 10, 11, 20, 43])
def test_each_of_many_tests_gets_its_own_input_and_output(box: Backend, count: int):
    """Tests are handed over ahead; each finds its own."""
    found = runs(box, stdin("print(input() * 3)", *(f"t{n};" for n in range(count))))
    assert [run.stdout for run in found] == [b"t%d;" % n * 3 + b"\n" for n in range(count)]


def test_a_program_that_lies_about_its_time_gains_none(box: Backend):
    """It answers its first test itself, with a claim of a million seconds."""
    source = (
        "import os, struct\n"
        "if input() == 'first':\n"
        "    body = b'O11 999999999999 \\n'\n"
        "    os.write(3, struct.pack('>I', len(body)) + body)\n"
        "while True: pass"
    )
    limits = Limits(cpu=0.3, wall=60)
    seen = runs(box, stdin(source, "first", "second", limits=limits, stop_at_fault=False))
    assert seen[-1].status == "TLE"
    assert "CPU" in seen[-1].detail
    assert seen[0].cpu < 30


def test_isolation_by_test_starts_every_test_in_a_new_process(box: Backend):
    source = "import statistics\nprint(hasattr(statistics, 'mark'))\nstatistics.mark = 1"
    alone = runs(box, stdin(source, *["x"] * 3, isolation="test"))
    assert [run.stdout for run in alone] == [b"False\n"] * 3


# -- calls


@pytest.mark.parametrize(
    ("source", "value", "flattened"),
    [
        ("def f(a, b): return a + b", "3", ""),
        ("class Solution:\n    def f(self, a, b): return a + b", "3", ""),
        ("def f(a, b): return (a, [b, (a, b)])", "[1, [2, [1, 2]]]", "t"),
        ("def f(a, b): return {a: b}", '{"1": 2}', "k"),
        ("def f(a, b): return 10 ** 30", "1" + "0" * 30, ""),
        ("def f(a, b): return [None, True, 1.5, 'ü']", '[null, true, 1.5, "\\u00fc"]', ""),
        ("import sys\nprint(3)\ndef f(a, b): return sys.stdin.read()", '""', ""),
        ("if __name__ == '__main__': input()\ndef f(a, b): return 3", "3", ""),
        ("import numpy as np\ndef f(a, b): return np.int64(a + b)", "3", ""),
    ],
)
def test_a_call_returns_json(box: Backend, source: str, value: str, flattened: str):
    run = one(box, Program(source, (Call("f", (1, 2)),)))
    assert (run.status, run.value, run.flattened) == ("OK", value, flattened)
    assert run.stdout == b""


@pytest.mark.parametrize("name", ["g", "Solution", "__class__"])
def test_a_function_that_is_not_there_is_an_error(box: Backend, name: str):
    run = one(box, Program("def f(): return 1", (Call(name, ()),)))
    assert (run.status, run.value) == ("RE", None)


def test_arguments_are_new_for_each_call(box: Backend):
    source = "def f(a):\n    a.append(1)\n    return len(a)"
    seen = runs(box, Program(source, (Call("f", ([],)),) * 3))
    assert [run.value for run in seen] == ["1"] * 3


# -- packages


def test_packages_of_science_are_there_where_the_source_names_them(box: Backend):
    source = "import numpy, sympy, pandas\nprint(numpy.arange(3).sum(), sympy.Integer(6) / 4)"
    run, other = results(box, [stdin(source), stdin("__import__('num' + 'py')")])
    assert (run.runs[0].status, run.runs[0].stdout) == ("OK", b"3 3/2\n")
    assert other.runs[0].detail.startswith("ModuleNotFoundError")


def test_no_package_of_ours_or_of_others_can_be_read(box: Backend):
    source = (
        "import sys\nfor name in ('harness', 'sandbox.local', 'tests', 'pytest', 'torch'):\n"
        "    try: __import__(name)\n    except ImportError: print('no')\n"
    )
    assert one(box, stdin(source)).stdout == b"no\n" * 5


# -- use


def test_results_name_what_ran_them(box: Backend):
    (result,) = results(box, [stdin("")])
    assert result.backend == "local"
    assert {"rlimits", "no_new_privs", "seccomp"} <= set(result.layers)
    assert result.interpreter.startswith(sys.implementation.name)
    assert box.capabilities().usable
    assert 0.001 < box.capabilities().speed < 1000
    assert isinstance(box, Backend)


def test_many_threads_may_share_one_backend(box: Backend):
    def ask(number: int) -> bytes:
        return one(box, stdin("print(int(input()) ** 2)", f"{number}\n")).stdout

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, range(40))) == [b"%d\n" % n**2 for n in range(40)]


@pytest.mark.parametrize(
    "program",
    [
        Program("", ()),
        stdin("", limits=Limits(cpu=0)),
        stdin("", limits=Limits(cpu=float("nan"))),
        stdin("", limits=Limits(wall=-1.0)),
        stdin("", limits=Limits(memory=-1)),
        stdin("", limits=Limits(stdout=1 << 40)),
        Program("", (Call("f", (object(),)),)),
    ],
    ids=["no tests", "no cpu", "nan", "negative wall", "negative memory", "output", "object"],
)
def test_what_makes_no_sense_is_refused_before_anything_runs(box: Backend, program: Program):
    with pytest.raises(BadProgram):
        box.run([stdin(""), program])


def test_no_programs_no_results(box: Backend):
    assert results(box, []) == []


def test_a_closed_backend_has_left_nothing_and_works_again():
    before = descendants()
    backend = open_backend("local", workers=2)
    assert one(backend, stdin(ADD, "1 2\n")).stdout == b"3\n"
    boxes = descendants() - before
    assert boxes
    assert bool(groups(os.getpid())) == ("cgroup" in results(backend, [stdin("")])[0].layers)
    mounts = Path("/proc/self/mounts").read_text()
    backend.close()
    backend.close()
    assert all_gone(boxes)
    assert mounts == Path("/proc/self/mounts").read_text()
    assert one(backend, stdin(ADD, "1 2\n")).stdout == b"3\n"
    backend.close()


def test_threads_in_a_box_have_an_end_that_is_the_programs_own(box: Backend):
    source = (
        "import threading\nthreading.stack_size(1 << 16)\nover = threading.Event()\n"
        "try:\n    while True: threading.Thread(target=over.wait, daemon=True).start()\n"
        "finally: over.set()"
    )
    bomb = stdin(source, limits=Limits(cpu=5, wall=60, memory=256 << 20))
    found = results(box, [bomb, stdin(ADD, "1 2\n")] * 2)
    assert [result.runs[0].status for result in found] == ["RE", "OK"] * 2
    assert "start new thread" in found[0].runs[0].detail


def test_who_stops_listening_stops_the_rest():
    with LocalBackend(workers=1) as backend:
        slow = stdin("import time\ntime.sleep(0.2)")
        some = iter(backend.run([slow] * 100))
        next(some)
        some.close()  # type: ignore[attr-defined]
        assert one(backend, stdin(ADD, "1 2\n")).stdout == b"3\n"


def _in_a_fork(backend: LocalBackend, queue: object) -> None:
    queue.put(one(backend, stdin(ADD, "1 2\n")).stdout)  # type: ignore[attr-defined]
    backend.close()


def test_a_fork_of_the_harness_has_boxes_of_its_own(box: Backend):
    one(box, stdin(""))
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # newer interpreters warn of forks beside threads
        child = context.Process(target=_in_a_fork, args=(box, queue))
        child.start()
    assert queue.get() == b"3\n"
    child.join()
    assert one(box, stdin(ADD, "1 2\n")).stdout == b"3\n"


def test_an_interpreter_that_is_not_there_is_no_backend(tmp_path: object):
    with LocalBackend(workers=1, python=f"{tmp_path}/python") as backend:
        assert not backend.capabilities().usable
        with pytest.raises(SandboxUnavailable, match="no box starts"):
            backend.run([stdin("")])


def test_an_unknown_backend_is_refused():
    with pytest.raises(SandboxUnavailable, match="there are: local"):
        open_backend("loca")


def test_a_long_input_arrives_whole(box: Backend):
    text = "x" * 3_000_000 + "ü\n"
    run = one(box, Program("print(len(input()))", (Stdin(text),)))
    assert run.stdout == b"3000001\n"


def test_threads_of_the_harness_do_not_matter():
    stop = threading.Event()
    others = [threading.Thread(target=stop.wait) for _ in range(50)]
    for each in others:
        each.start()
    try:
        with LocalBackend(workers=1) as backend:
            assert one(backend, stdin(ADD, "1 2\n")).stdout == b"3\n"
    finally:
        stop.set()
        for each in others:
            each.join()
    assert os.getpid()
