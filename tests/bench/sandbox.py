"""Programs per second and CPU per program of our boxes and of the usual ways, in one run.

The work unit is a program with 10 stdin tests. The ways:

    lcb        as LiveCodeBench evaluates: for each sample a manager process and a worker process;
               the tests run inside the worker, the program's body as one function under a mocked
               stdin, an alarm for each test (its evaluator, commit 28fef95)
    fresh      a fresh interpreter (-I -S) for each program, tests inside it
    ours       the local backend with all layers
    bare       the same with rlimits alone
    numpy      fresh: an interpreter that imports numpy; ours: the scientific pool

Ways take turns; ratios are medians of the rounds' own, of programs per second for each core that
other processes left. Wall figures are of two workers each, CPU is that of all processes that a way
started. What a fork of the boxes' interpreter takes by itself is told beside the CPU that the
demands leave for a program. Ends with an error where a demand is missed.

    python tests/bench/sandbox.py [--rounds 5] [--size 60] [--write results/bench_sandbox.md]
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import gc
import io
import json
import multiprocessing
import os
import resource
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from sandbox.local import LocalBackend
from sandbox.pool import Workers
from sandbox.types import Program, Result, Stdin

WORKERS = 2
SOURCE = """
n = int(input())
best = {}
for _ in range(n):
    name, points = input().split()
    best[name] = max(best.get(name, 0), int(points))
for name in sorted(best, key=lambda each: (-best[each], each)):
    print(name, best[name])
"""
NUMPY = "import numpy as np\n" + SOURCE.replace("int(points)", "int(np.int64(points))")
PREFIX = (
    "from string import *\nfrom re import *\nfrom datetime import *\nfrom collections import *\n"
    "from heapq import *\nfrom bisect import *\nfrom copy import *\nfrom math import *\n"
    "from random import *\nfrom statistics import *\nfrom itertools import *\n"
    "from functools import *\nfrom operator import *\nfrom io import *\nfrom sys import *\n"
    "from json import *\nfrom builtins import *\nfrom typing import *\nimport string\nimport re\n"
    "import datetime\nimport collections\nimport heapq\nimport bisect\nimport copy\nimport math\n"
    "import random\nimport statistics\nimport itertools\nimport functools\nimport operator\n"
    "import io\nimport sys\nimport json\nsys.setrecursionlimit(50000)\n"
)


def cases() -> list[tuple[str, str]]:
    """Ten inputs with their answers."""
    found = []
    for seed in range(10):
        rows = [(f"p{(7 * k + seed) % 9}", (31 * k * k + seed) % 101) for k in range(12)]
        best: dict[str, int] = {}
        for name, points in rows:
            best[name] = max(best.get(name, 0), points)
        ranked = sorted(best, key=lambda each: (-best[each], each))
        text = f"{len(rows)}\n" + "".join(f"{name} {points}\n" for name, points in rows)
        found.append((text, "".join(f"{name} {best[name]}\n" for name in ranked)))
    return found


CASES = cases()


# -- as LiveCodeBench does


def _late(*_: Any) -> None:
    raise TimeoutError


class _MockedStdin(io.StringIO):
    """Its stand-in for standard input, with a buffer that always has the first line."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.buffer = mock.Mock(read=lambda *_: text.encode(), readline=lambda *_: text.encode())


def _as_function(source: str) -> str:
    """Imports to the front, all else into the body of one function."""
    tree = ast.parse(source)
    imports = [each for each in tree.body if isinstance(each, ast.Import | ast.ImportFrom)]
    body = [each for each in tree.body if each not in imports]
    function = ast.parse("def wrapped_function(): pass").body[0]
    assert isinstance(function, ast.FunctionDef)
    function.body = body
    parts = [PREFIX, *map(ast.unparse, imports), ast.unparse(function)]
    return "\n".join(parts)


def _called(function: Callable[[], Any], text: str) -> None:
    lines = iter(text.split("\n"))
    with (
        mock.patch("builtins.open", mock.mock_open(read_data=text)),
        mock.patch("sys.stdin", _MockedStdin(text)),
        mock.patch("sys.stdin.readline", lambda *_: next(lines)),  # noqa: PT008
        mock.patch("sys.stdin.readlines", lambda *_: text.split("\n")),  # noqa: PT008
        mock.patch("sys.stdin.read", lambda *_: text),  # noqa: PT008
        contextlib.suppress(SystemExit),
    ):
        function()


def _same(got: str, right: str) -> bool:
    """Lines alike as stripped text, or as lists of decimals."""
    pairs = [each.strip().split("\n") for each in (got, right)]
    if len(pairs[0]) != len(pairs[1]):
        return False
    for one, other in zip(*pairs, strict=True):
        if one.strip() == other.strip():
            continue
        try:
            if [*map(Decimal, one.split())] != [*map(Decimal, other.split())]:
                return False
        except ArithmeticError:
            return False
    return True


def _graded(source: str, tests: Sequence[tuple[str, str]], timeout: int) -> list[Any]:
    """Its worker: the body made one function, run for each test under a mocked stdin and alarm."""
    code = _as_function(source)
    signal.signal(signal.SIGALRM, _late)
    signal.alarm(timeout)
    names = ModuleType("tmp_sol", "")
    exec(code, names.__dict__)
    signal.alarm(0)
    results: list[Any] = []
    for text, right in tests:
        signal.alarm(timeout)
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            _called(names.wrapped_function, text)
        signal.alarm(0)
        if not _same(out.getvalue(), right):
            return [*results, -2]
        results.append(True)
    return results


def _temp_run(source: str, tests: Any, timeout: int, result: Any) -> None:
    result.append(_graded(source, tests, timeout))


def _sample(source: str) -> bool:
    """A manager and a process for each sample, with its global time limit."""
    manager = multiprocessing.Manager()
    result = manager.list()
    process = multiprocessing.Process(target=_temp_run, args=(source, CASES, 6, result))
    process.start()
    process.join(timeout=(6 + 1) * len(CASES) + 5)
    if process.is_alive():
        process.kill()
    fine = bool(result) and all(each is True for each in result[0])
    manager.shutdown()
    return fine


def lcb(sources: Sequence[str]) -> int:
    """Its runner is a pool of processes, each of which evaluates samples one after another."""
    context = multiprocessing.get_context("fork")
    done = context.SimpleQueue()

    def work(mine: Sequence[str]) -> None:
        done.put(sum(map(_sample, mine)))

    parts = [sources[k::WORKERS] for k in range(WORKERS)]
    runners = [context.Process(target=work, args=(part,)) for part in parts]
    for runner in runners:
        runner.start()
    right = sum(done.get() for _ in runners)
    for runner in runners:
        runner.join()
    return right


# -- a fresh interpreter

DRIVER = """
import contextlib, io, json, sys
source, texts = json.loads(sys.stdin.read())
code = compile(source, "<solution>", "exec")
told = []
for text in texts:
    out = io.StringIO()
    sys.stdin = io.StringIO(text)
    with contextlib.redirect_stdout(out):
        exec(code, {"__name__": "__main__"})
    told.append(out.getvalue())
sys.stdout.write(json.dumps(told))
"""


def _interpreter(source: str, words: Sequence[str]) -> bool:
    asked = json.dumps([source, [text for text, _ in CASES]])
    command = [sys.executable, *words, "-c", DRIVER]
    done = subprocess.run(command, input=asked, capture_output=True, text=True, check=True)
    return json.loads(done.stdout) == [right for _, right in CASES]


def fresh(sources: Sequence[str]) -> int:
    """An interpreter for each program."""
    words = ["-I"] if "numpy" in sources[0] else ["-I", "-S"]
    with ThreadPoolExecutor(WORKERS) as pool:
        return sum(pool.map(lambda source: _interpreter(source, words), sources))


# -- ours


def boxed(run: Callable[[list[Program]], Any]) -> Callable[[Sequence[str]], int]:
    """A way that hands programs to boxes."""

    def way(sources: Sequence[str]) -> int:
        tests = tuple(Stdin(text) for text, _ in CASES)
        return sum(_right(result) for _, result in run([Program(each, tests) for each in sources]))

    return way


def warm(run: Callable[[list[Program]], Any]) -> None:
    """Start the boxes of all workers: each is given something that keeps it until all have one."""
    for name in ("time", "numpy"):
        source = f"import {name}\nimport time\ntime.sleep(2)"
        assert all(
            each.runs[0].status == "OK"
            for _, each in run([Program(source, (Stdin(""),))] * WORKERS)
        )


def _right(result: Result) -> bool:
    said = [(run.status, run.stdout.decode()) for run in result.runs]
    return said == [("OK", right) for _, right in CASES]


# -- measuring


@dataclass
class Figures:
    """Of each round: programs per second, CPU milliseconds per program, cores used by others."""

    rates: list[float]
    cpu: list[float]
    others: list[float]

    def left(self) -> list[float]:
        """Programs per second for each core that others left."""
        cores = os.cpu_count() or 1
        return [rate / (cores - used) for rate, used in zip(self.rates, self.others, strict=True)]


def below() -> float:
    """CPU seconds of all processes below this one, ended or not."""
    own = resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + sum(map(_ticks, _living(os.getpid())))


def _living(pid: int) -> list[int]:
    found: list[int] = []
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                found += [int(child), *_living(int(child))]
    return found


def _ticks(pid: int) -> float:
    """A process's own CPU and that of its children that were waited for, in seconds."""
    try:
        words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(map(int, words[11:15])) / os.sysconf("SC_CLK_TCK")


def _busy() -> float:
    """CPU seconds of all processes of this machine, so far."""
    user, nice, system, _, _, irq, soft = Path("/proc/stat").read_text().split()[1:8]
    return sum(map(int, (user, nice, system, irq, soft))) / os.sysconf("SC_CLK_TCK")


def measure(ways: dict[str, Any], sources: dict[str, list[str]], rounds: int) -> dict[str, Figures]:
    """Rounds in turn; every way has to be right about every program."""
    found = {name: Figures([], [], []) for name in ways}
    for name, way in ways.items():
        way(sources[name][:WORKERS])  # warm
    for number in range(rounds):
        order = list(ways.items())
        for name, way in order[number % len(order) :] + order[: number % len(order)]:
            gc.collect()
            mine = time.process_time()
            cpu, busy, start = below(), _busy(), time.perf_counter()
            right = way(sources[name])
            wall = time.perf_counter() - start
            spent = below() - cpu + time.process_time() - mine
            assert right == len(sources[name]), f"{name}: {right} of {len(sources[name])} are right"
            found[name].rates.append(len(sources[name]) / wall)
            found[name].cpu.append(1000 * spent / len(sources[name]))
            found[name].others.append(max(0.0, _busy() - busy - spent) / wall)
    return found


def memory(backend: LocalBackend, tests: int) -> float:
    """MiB that the supervisor grows by over so many program-tests, after a tenth of them."""
    program = [Program(SOURCE, tuple(Stdin(text) for text, _ in CASES))]

    def some(count: int) -> None:
        for _, result in backend.run(program * (count // len(CASES))):
            assert _right(result)

    some(tests // 10)
    before = _resident()
    some(tests)
    return (_resident() - before) / (1 << 20)


def _resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


FORKS = """
import gc, os, resource
from sandbox.inside import boot, runner, state
boot._import_all({})
state.remember()
told = os.dup(1)
runner.rehearse()
gc.collect()
gc.freeze()

def spent():
    both = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in both)

def fork(count):
    for _ in range(count):
        if (child := os.fork()) == 0:
            os._exit(0)
        os.waitpid(child, 0)

fork(20)
before = spent()
fork(200)
os.write(told, b"%f" % ((spent() - before) * 1000 / 200))
"""


def fork_alone() -> float:
    """CPU ms of a fork, an exit and a wait of what a box forks, where the child does nothing."""
    command = [sys.executable, "-S", "-s", "-P", "-B", "-c", FORKS]
    house = str(Path(__file__).resolve().parents[2])
    told = [
        subprocess.run(command, env={"PYTHONPATH": house}, capture_output=True, check=True).stdout
        for _ in range(3)
    ]
    return statistics.median(map(float, told))


def bounds(found: dict[str, Figures], alone: float) -> list[str]:
    """The CPU that a demand leaves for a program, and what a fork takes of it."""
    lcb, fresh, ours = (statistics.median(found[name].cpu) for name in ("lcb", "fresh", "ours"))
    return [
        "",
        "| CPU ms per program | |",
        "|---|---|",
        f"| ours | {ours:.2f} |",
        f"| an eighth of lcb | {lcb / 8:.2f} |",
        f"| a fifth of fresh | {fresh / 5:.2f} |",
        f"| fork, exit and wait of the boxes' interpreter alone, nothing run | {alone:.2f} |",
    ]


DEMANDS = [
    ("ours against lcb, programs/s", "ours", "lcb", 8.0),
    ("ours against fresh, programs/s", "ours", "fresh", 5.0),
    ("scientific pool against a fresh numpy import", "ours numpy", "fresh numpy", 8.0),
]


def report(found: dict[str, Figures], growth: float, alone: float, size: int) -> tuple[str, bool]:
    """A page, and whether all demands are met."""
    rounds = len(found["ours"].rates)
    lines = [
        "# Programs per second of the sandbox and of the usual ways",
        "",
        f"`make bench-sandbox`: {rounds} rounds in turn, {size} programs of 10 tests a round, "
        f"{WORKERS} workers, {os.cpu_count()} cores; medians (least to most).",
        "",
        "| way | programs/s | CPU ms per program | cores that others used |",
        "|---|---|---|---|",
    ]
    for name, figures in found.items():
        parts = ((figures.rates, 0), (figures.cpu, 2), (figures.others, 2))
        cells = [_told(each, digits) for each, digits in parts]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    lines += [
        "",
        "Programs/s are compared for each core that others left, as other work does not displace "
        "each way alike; the plain ratio, which on a quiet machine is the same, stands beside it.",
        "",
        "| demand | asked for | measured |",
        "|---|---|---|",
    ]
    met = []
    for what, one, other, least in DEMANDS:
        ratio = _median_ratio(found[one].left(), found[other].left())
        plain = _median_ratio(found[one].rates, found[other].rates)
        cpu = _median_ratio(found[other].cpu, found[one].cpu)
        met.append(ratio >= least)
        lines.append(f"| {what} | {least:g}x | {ratio:.1f}x (plain {plain:.1f}x, CPU {cpu:.1f}x) |")
    pairs = zip(found["ours"].cpu, found["bare"].cpu, strict=True)
    layers = statistics.median(ours - bare for ours, bare in pairs)
    met += [layers <= 1.0, growth < 50.0]
    lines.append(f"| all layers over bare rlimits, CPU per program | 1 ms | {layers:.2f} ms |")
    lines.append(f"| supervisor growth over 10,000 program-tests | 50 MB | {growth:.1f} MiB |")
    lines += bounds(found, alone)
    return "\n".join(lines) + "\n", all(met)


def _median_ratio(over: Sequence[float], under: Sequence[float]) -> float:
    """Of the rounds' own ratios: what else the machine does changes from round to round."""
    return statistics.median(a / b for a, b in zip(over, under, strict=True))


def _told(figures: Sequence[float], digits: int) -> str:
    low, middle, high = min(figures), statistics.median(figures), max(figures)
    return f"{middle:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--size", type=int, default=60)
    parser.add_argument("--write", type=Path)
    asked = parser.parse_args()
    others = ("namespaces", "pivot_root", "landlock", "seccomp", "capabilities", "no_new_privs")
    bare = LocalBackend(WORKERS, off=others)
    boxes = Workers("bare", WORKERS, bare._box)
    with LocalBackend(WORKERS) as ours:
        ways: dict[str, Any] = {
            "lcb": lcb,
            "fresh": fresh,
            "ours": boxed(ours.run),
            "bare": boxed(boxes.run),
            "fresh numpy": fresh,
            "ours numpy": boxed(ours.run),
        }
        sizes = {"ours": 5, "bare": 5, "ours numpy": 3}
        sources = {
            name: [NUMPY if "numpy" in name else SOURCE] * (asked.size * sizes.get(name, 1))
            for name in ways
        }
        warm(ours.run)
        warm(boxes.run)
        found = measure(ways, sources, asked.rounds)
        growth = memory(ours, 10_000)
    boxes.close()
    page, met = report(found, growth, fork_alone(), asked.size)
    print(page)
    if asked.write:
        asked.write.write_text(page, "utf-8")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
