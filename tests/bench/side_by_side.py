"""Rounds in which each competitor runs once, in turning order; medians, and ratios by round."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

Run = Callable[[], float]
"""One run; gives how much work was done, or what it took where it measures by itself."""


@dataclass(frozen=True)
class Found:
    """What each round gave, one number a round."""

    rounds: Mapping[str, Sequence[float]]

    def median(self, name: str) -> float:
        """Of one competitor."""
        return statistics.median(self.rounds[name])

    def ratio(self, name: str, other: str) -> list[float]:
        """name / other, round by round, sorted."""
        pairs = zip(self.rounds[name], self.rounds[other], strict=True)
        return sorted(mine / its for mine, its in pairs)

    def told(self, name: str, other: str) -> str:
        """The ratio's median and range."""
        found = self.ratio(name, other)
        return f"{statistics.median(found):.2f} [{found[0]:.2f}, {found[-1]:.2f}]"


def interleaved(runs: Mapping[str, Run], rounds: int, *, warm: int = 1) -> Found:
    """Run all in each round, beginning with another one each time; the first rounds only warm."""
    found: dict[str, list[float]] = {name: [] for name in runs}
    names = list(runs)
    for number in range(-warm, rounds):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            begin = os.getloadavg()[0]
            value = runs[name]()
            if number >= 0:
                found[name].append(value)
            print(f"  round {number + 1:2} {name:<28} {value:9.2f}   load {begin:.1f}", flush=True)
    return Found(found)


def per_second(run: Run, clock: Callable[[], float] = time.perf_counter) -> Run:
    """A run that gives its rate instead of its amount of work."""

    def timed() -> float:
        begin = clock()
        work = run()
        return work / (clock() - begin)

    return timed


def seconds(run: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> Run:
    """A run that gives the time that it took."""

    def timed() -> float:
        begin = clock()
        run()
        return clock() - begin

    return timed
