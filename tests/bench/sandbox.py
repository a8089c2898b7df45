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
import contextlib
import gc
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from sandbox.local import LocalBackend
from sandbox.pool import Workers
from sandbox.types import Program, Result, Stdin
from tests.bench.sandbox_peers import CASES, NUMPY, SOURCE, WORKERS, fresh, lcb


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
room = [bytes(479) for _ in range(12_000)][::500]
import os, resource
os.register_at_fork = lambda **_: None
from sandbox.inside import birth, boot, pages, warm
pages.enlarge_text()
boot._import_all({})
pages.merge()
told = os.dup(1)
warm.up([told], birth.Settings(True, ()), pages.stretches())

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


def parts(run: Callable[[Sequence[str]], int]) -> dict[str, float]:
    """Shares of our CPU by kind of process; counted in ticks, so of many programs."""
    mine, before = time.process_time(), _shares()
    run([SOURCE] * 400)
    mine, after = time.process_time() - mine, _shares()
    found: dict[str, float] = dict.fromkeys(("program processes", "zygotes", "keepers"), 0.0)
    for pid in before.keys() & after.keys():
        own, theirs = (late - early for early, late in zip(before[pid], after[pid], strict=True))
        found["program processes"] += theirs
        found["zygotes" if theirs else "keepers"] += own
    found["supervisor"] = mine
    return {name: seconds / sum(found.values()) for name, seconds in found.items()}


def _shares() -> dict[int, tuple[float, float]]:
    """Of each process below this one: CPU seconds of its own, and of its children that ended."""
    found: dict[int, tuple[float, float]] = {}
    for pid in _living(os.getpid()):
        with contextlib.suppress(OSError):
            words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks = [int(each) / os.sysconf("SC_CLK_TCK") for each in words[11:15]]
            found[pid] = (ticks[0] + ticks[1], ticks[2] + ticks[3])
    return found


def bounds(found: dict[str, Figures], alone: float, shares: dict[str, float]) -> list[str]:
    """The CPU that a demand leaves for a program, and what takes it."""
    lcb, fresh, ours = (statistics.median(found[name].cpu) for name in ("lcb", "fresh", "ours"))
    return [
        "",
        "| CPU ms per program | |",
        "|---|---|",
        f"| ours | {ours:.2f} |",
        *(f"| of these {name} | {ours * share:.2f} |" for name, share in shares.items()),
        f"| an eighth of lcb | {lcb / 8:.2f} |",
        f"| a fifth of fresh | {fresh / 5:.2f} |",
        f"| fork, exit and wait of the boxes' interpreter alone, nothing run | {alone:.2f} |",
    ]


DEMANDS = [
    ("ours against lcb, programs/s", "ours", "lcb", 8.0),
    ("ours against fresh, programs/s", "ours", "fresh", 5.0),
    ("scientific pool against a fresh numpy import", "ours numpy", "fresh numpy", 8.0),
]


def report(
    found: dict[str, Figures], growth: float, alone: float, shares: dict[str, float], size: int
) -> tuple[str, bool]:
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
    lines += bounds(found, alone, shares)
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
        shares = parts(boxed(ours.run))
        found = measure(ways, sources, asked.rounds)
        growth = memory(ours, 10_000)
    boxes.close()
    page, met = report(found, growth, fork_alone(), shares, asked.size)
    print(page)
    if asked.write:
        asked.write.write_text(page, "utf-8")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
