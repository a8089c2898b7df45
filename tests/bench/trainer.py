"""A training step of ours and of TRL's GRPOTrainer, in time and memory, interleaved.

    python tests/bench/trainer.py run [--workload short long ragged alike] [--steps 5]
    python tests/bench/trainer.py linear [--steps 3]
    python tests/bench/trainer.py report         results/bench_trainer.md from all that was run

Sides: ours (`--dtype bfloat16`, else by default), lean (ours with `--checkpointing`), trl (as it
is on a processor: weights in float32, autocast to bfloat16, checkpointing), trl_best (weights in
bfloat16, and the environment that our command line sets) and trl_tuned (that, and memory kept from
step to step as our trainer keeps it: faster still, and shown without a bound). Prompts of a step of
`long` and `alike` begin alike, as behind worked examples; ours reads that once. Each side is a
process of its own and waits between its steps; a round is one step of each, in an order that
turns. All have the same checkpoint, prompts, reward, seed, number of threads and lengths of
answers (see `trainer_sides.py`). The first two rounds warm up and are not counted. Every measured
step is appended to results/bench_trainer.jsonl, so that a run can be made in pieces: `--side ours
trl` where memory is too small for all sides at once.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from harness.commands import THREADS  # noqa: E402
from tests.bench.trainer_sides import WORKLOADS  # noqa: E402

LINES = ROOT / "results" / "bench_trainer.jsonl"
PAGE = ROOT / "results" / "bench_trainer.md"
SIDES = ("ours", "lean", "trl", "trl_best", "trl_tuned")
WARM = 2
SIZES = (16, 64, 256, 512)
Targets = tuple[float | None, float | None, float | None]
TARGETS: dict[str, Targets] = {
    "short": (0.25, 0.32, 0.8),
    "long": (0.12, 0.16, 0.5),
    "ragged": (0.25, 0.32, 0.6),
    "alike": (None, None, None),
}
"""Step against TRL's default and its best, peak memory against its default: at most."""


@dataclass
class Side:
    """A process that steps when it is told to."""

    name: str
    workload: str
    threads: int

    def __post_init__(self) -> None:
        environment = {
            **THREADS,
            **os.environ,
            "OMP_NUM_THREADS": str(self.threads),
            "HF_HUB_OFFLINE": "1",
        }
        if self.name == "trl":  # as its users start it
            for name in THREADS:
                environment.pop(name, None)
        self.errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 (lives as long as the side)
        self.process = subprocess.Popen(
            [
                sys.executable,
                "tests/bench/trainer_sides.py",
                self.name,
                self.workload,
                checkpoint(),
            ],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
        )

    def step(self) -> dict[str, float]:
        """One step's numbers; RuntimeError with the process's last words where it ended."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.write("step\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            self.process.wait()
            self.errors.seek(0)
            said = self.errors.read().decode("utf-8", "replace")
            raise RuntimeError(f"{self.name} ended: {said[-2000:]}")
        return json.loads(line)

    def end(self) -> None:
        """Let it go."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def checkpoint() -> str:
    """The folder of SmolLM2-135M-Instruct, converted if need be."""
    from trainers.policies.smollm2 import checkpoint as convert
    from trainers.text.files import user_cache

    return str(convert(user_cache()))


def run(workload: str, sides: Sequence[str], steps: int, threads: int) -> None:
    """Rounds of one step a side; each measured step is a line of the file."""
    started = int(time.time())
    running = [Side(name, workload, threads) for name in sides]
    try:
        for number in range(WARM + steps):
            turned = running[number % len(running) :] + running[: number % len(running)]
            for side in turned:
                found = side.step()
                line = {"workload": workload, "side": side.name, "round": number - WARM, **found}
                line |= {"run": started, "threads": threads, "load": os.getloadavg()[0]}
                print(json.dumps(line), flush=True)
                if number >= WARM:
                    with LINES.open("a", encoding="utf-8") as file:
                        file.write(json.dumps(line) + "\n")
    finally:
        for side in running:
            side.end()


def spread(values: Sequence[float]) -> str:
    """Median, smallest and largest."""
    return f"{statistics.median(values):.3f} ({min(values):.3f} to {max(values):.3f})"


@dataclass(frozen=True)
class Measured:
    """All steps of one workload."""

    rows: Sequence[dict[str, Any]]

    def of(self, side: str, what: str) -> list[float]:
        """A number of all steps of a side, in order."""
        return [row[what] for row in self.rows if row["side"] == side]

    def ratios(self, one: str, other: str) -> list[float]:
        """Seconds of one by those of the other, of the rounds that both were in."""
        rounds: dict[tuple[int, int], dict[str, float]] = {}
        for row in self.rows:
            rounds.setdefault((row["run"], row["round"]), {})[row["side"]] = row["seconds"]
        return [by[one] / by[other] for by in rounds.values() if {one, other} <= set(by)]

    def table(self, title: str, targets: Targets) -> list[str]:
        """Markdown: every side, then our ratios."""
        row = self.rows[0]
        lines = [
            f"## {title}",
            "",
            f"{row['read']} prompt tokens (each prompt counted once a rollout) and {row['said']} "
            f"new ones a step; {row['threads']} threads; load average up to "
            f"{max(each['load'] for each in self.rows):.1f}.",
            "",
            "| side | steps | s a step, median (range) | processor s | peak resident GB |",
            "|---|---|---|---|---|",
        ]
        for side in SIDES:
            if seconds := self.of(side, "seconds"):
                worked = statistics.median(self.of(side, "processor"))
                memory = max(self.of(side, "peak")) / 1e9
                told = f"| {side} | {len(seconds)} | {spread(seconds)} |"
                lines.append(f"{told} {worked:.1f} | {memory:.2f} |")
        lines += ["", "| ratio | median (range) | at most | |", "|---|---|---|---|"]
        for side in ("ours", "lean"):
            lines += self._ratios(side, targets)
        parts = ("generate", "review", "backward", "optimizer")
        split = [f"{part} {statistics.median(self.of('ours', part)):.2f} s" for part in parts]
        return [*lines, "", f"Where our step goes: {', '.join(split)}.", ""]

    def _ratios(self, side: str, targets: Targets) -> list[str]:
        lines = []
        for other, most in zip(SIDES[2:], (*targets[:2], None), strict=True):
            if found := self.ratios(side, other):
                told = against(statistics.median(found), most if side == "ours" else None)
                lines.append(f"| step, {side} / {other} | {spread(found)} | {told} |")
        if self.of(side, "peak") and self.of("trl", "peak"):
            ratio = max(self.of(side, "peak")) / max(self.of("trl", "peak"))
            told = against(ratio, targets[2] if side == "ours" else None)
            lines.append(f"| peak memory, {side} / trl | {ratio:.3f} | {told} |")
        return lines


def against(ratio: float, most: float | None) -> str:
    """What was asked for, and whether it was reached."""
    return "|" if most is None else f"{most} | {'reached' if ratio <= most else 'MISSED'}"


def linear(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Seconds a rollout by number of rollouts, of one process that runs each size in turn."""
    lines = [
        "## Rollouts a step",
        "",
        "Groups of 8 at short prompts, 32 new tokens; ours alone.",
        "",
        "| rollouts | steps | s a step, median (range) | s a rollout |",
        "|---|---|---|---|",
    ]
    each = {}
    for size in SIZES:
        found = [row["seconds"] for row in rows if row["workload"] == f"linear{size}"]
        if found:
            each[size] = statistics.median(found) / size
            lines.append(f"| {size} | {len(found)} | {spread(found)} | {each[size]:.4f} |")
    if len(each) < 2:
        return []
    sizes = sorted(each)
    fixed, more = line({size: each[size] * size for size in sizes})
    most = max(abs((fixed + more * size) / (each[size] * size) - 1) for size in sizes)
    told = "reached" if most <= 0.15 else "MISSED"
    return [
        *lines,
        "",
        f"A step is linear in its rollouts: {fixed:.2f} s and {more:.4f} s a rollout are within "
        f"{most:.1%} of every median, asked for 15 %: {told}. A rollout by itself gets cheaper, "
        f"{each[sizes[0]]:.4f} s of {sizes[0]} and {each[sizes[-1]]:.4f} s of {sizes[-1]}: "
        "among others, weights are read once for all rows of a decode step (what the products "
        "alone take at 16 and 64 rows is in `bench_generation.md`), and once by the optimizer.",
        "",
    ]


def line(seconds: Mapping[int, float]) -> tuple[float, float]:
    """Fixed seconds, and those of each rollout: least squares of relative differences."""
    sizes = np.array(list(seconds), float)
    taken = np.array(list(seconds.values()))
    parts = np.stack([1 / taken, sizes / taken], axis=1)
    fixed, more = np.linalg.lstsq(parts, np.ones(len(sizes)))[0]
    return float(fixed), float(more)


def report() -> str:
    """The page, from all lines."""
    import importlib.metadata as metadata

    lines = LINES.read_text("utf-8").splitlines() if LINES.exists() else []
    rows = [json.loads(line) for line in lines]
    versions = ", ".join(f"{n} {metadata.version(n)}" for n in ("torch", "transformers", "trl"))
    page = [
        "# A training step beside TRL's",
        "",
        "Made by `make bench-trainer`; what was run is in `bench_trainer.jsonl`, how in the",
        "docstring of `tests/bench/trainer.py`.",
        "",
        f"SmolLM2-135M-Instruct, all weights learn; {platform.machine()}, {versions}.",
        "",
    ]
    for name, targets in TARGETS.items():
        if mine := [row for row in rows if row["workload"] == name]:
            load = WORKLOADS[name]
            title = f"{name}: {load.prompts} prompts x {load.rollouts} rollouts, "
            span = {load.shortest, load.longest}
            title += f"{' to '.join(str(n) for n in sorted(span))} new tokens"
            page += Measured(mine).table(title, targets)
    page += linear(rows)
    return "\n".join(page)


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", choices=["run", "linear", "report"])
    parser.add_argument("--workload", nargs="+", default=list(TARGETS), choices=list(TARGETS))
    parser.add_argument("--side", nargs="+", default=list(SIDES), choices=SIDES)
    parser.add_argument("--steps", type=int, default=5, help="measured, after two that warm up")
    parser.add_argument("--threads", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--quick", action="store_true", help="2 steps of one workload")
    parser.add_argument("--fresh", action="store_true", help="forget what was run before")
    asked = parser.parse_args()
    if asked.fresh:
        LINES.unlink(missing_ok=True)
    steps = 2 if asked.quick else asked.steps
    if asked.what == "run":
        for workload in asked.workload[:1] if asked.quick else asked.workload:
            run(workload, asked.side, steps, asked.threads)
    if asked.what == "linear":
        for size in SIZES:
            run(f"linear{size}", ["ours"], steps, asked.threads)
    page = report()
    PAGE.write_text(page, "utf-8")
    print(page)
    return int("MISSED" in page)


if __name__ == "__main__":
    sys.exit(main())
