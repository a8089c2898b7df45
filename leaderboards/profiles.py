"""Time to target over several tasks, as AlgoPerf scores it.

With t the time of a recipe on a task and r = t / the best time on that task, a recipe's profile is
rho(tau), the share of tasks with r <= tau, and its score the mean of rho over 1 .. `WORST`. In
closed form: the sum over tasks of max(0, WORST - r), by their number times WORST - 1. A task whose
target was never reached has an infinite time. Scores depend on the field: whoever joins may change
the best times, so they are drawn anew from the times that records hold.

Source: Dahl et al. 2023, Benchmarking Neural Network Training Algorithms, arXiv 2306.07179.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

WORST = 4.0
"""Ratios from here on count nothing."""
Times = Mapping[str, Mapping[str, float]]
"""By recipe, then by task."""


def median_time(values: Sequence[float]) -> float:
    """The middle of the seeds' times, NaN being never; infinite where half of them are."""
    found = sorted(math.inf if math.isnan(value) else value for value in values)
    half = len(found) // 2
    if not found:
        return math.inf
    return found[half] if len(found) % 2 else (found[half - 1] + found[half]) / 2


def ratios(times: Times) -> dict[str, dict[str, float]]:
    """Each time over the best one of its task; infinite where there is none."""
    tasks = {task for row in times.values() for task in row}
    best = {task: min(row[task] for row in times.values() if task in row) for task in tasks}

    def ratio(time: float, least: float) -> float:
        if math.isinf(time):
            return math.inf
        return 1.0 if time == least else time / least if least > 0 else math.inf

    return {
        name: {task: ratio(time, best[task]) for task, time in row.items()}
        for name, row in times.items()
    }


def profile_scores(times: Times) -> dict[str, float]:
    """Score of each recipe in [0, 1], over the tasks that it has a time for; NaN without any."""
    return {
        name: math.fsum(max(0.0, WORST - r) for r in row.values()) / (len(row) * (WORST - 1))
        if row
        else math.nan
        for name, row in ratios(times).items()
    }
