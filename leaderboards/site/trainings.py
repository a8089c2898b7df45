"""What training runs beside the records tell of recipes: curves, equal budgets, time to target.

A workload is a task and what was trained. Its target lies nine tenths of the way from the first
dev score to the best mean with which a recipe ended; the profile is that of AlgoPerf (Dolan and
More): the share of workloads that a recipe brings to the target within so many times the budget of
the quickest.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from leaderboards.charts import EVALUATION, Chart, Line
from leaderboards.site.folders import Folder
from leaderboards.site.grids import counted

WAY = 0.9
"""Of the way to the best, that the target lies."""
Workload = tuple[str, str]
UNITS = {
    "tokens": ("num_tokens", "tokens generated and read"),
    "rollouts": ("spent/rollouts", "rollouts generated"),
    "seconds": ("spent/seconds", "seconds of training steps, on the machine of the run"),
}
"""Of a budget: the name that a run logs it by, and what an axis says."""


@dataclass(frozen=True)
class Learning:
    """The dev scores of one training run by what it had spent."""

    run: str
    recipe: str
    task: str
    base: str
    metric: str
    spent: Mapping[str, tuple[float, ...]]
    """By unit, at each score; a unit that the run does not tell is left out."""
    scores: tuple[float, ...]


def learning(folder: Folder) -> Learning | None:
    """What a training run learned; None without two looks at the dev split."""
    metric = ""
    so_far = dict.fromkeys(UNITS, 0.0)
    spent: dict[str, list[float]] = {unit: [] for unit in UNITS}
    scores: list[float] = []
    for line in folder.steps:
        for unit, (name, _) in UNITS.items():
            so_far[unit] = max(so_far[unit], _number(line.get(name)))
        names = [key for key in line if EVALUATION.match(key)]
        metric = metric or (names[0] if names else "")
        value = line.get(metric)
        if metric and isinstance(value, int | float) and math.isfinite(value):
            for unit, amount in so_far.items():
                spent[unit].append(amount)
            scores.append(float(value))
    if len(scores) < 2 or not folder.recipe:
        return None
    task, base = str(folder.asks.get("task", "")), str(folder.manifest.get("base", ""))
    name = EVALUATION.sub("", metric)
    told = {unit: tuple(amounts) for unit, amounts in spent.items() if amounts[-1] > 0}
    return Learning(folder.run, folder.recipe, task, base, name, told, tuple(scores))


def budget_charts(found: Iterable[Learning]) -> list[Chart]:
    """The dev score of each recipe against what it spent, for each workload and unit.

    Mean and range over seeds; a unit that one of the runs does not tell is left out.
    """
    charts: list[Chart] = []
    for (task, base), runs in _workloads(found).items():
        recipes = _recipes(runs)
        seeds = sorted({len(members) for members in recipes.values()})
        for unit in _shared(runs):
            lines = [_mean_line(recipe, members, unit) for recipe, members in recipes.items()]
            lines.sort(key=lambda line: -line.y[-1])
            charts.append(
                Chart(
                    title=f"{task} from {base}: recipes at equal {unit}",
                    about="dev score by what was spent; of several runs of a recipe the mean, and "
                    f"bars that span them (runs a recipe: {', '.join(map(str, seeds))})",
                    x=UNITS[unit][1],
                    y=runs[0].metric,
                    lines=tuple(lines),
                )
            )
    return charts


def profiles(found: Iterable[Learning]) -> list[Chart]:
    """The performance profile of the recipes in each unit; none for less than two recipes."""
    learned = list(found)
    charts = [_profile(learned, unit) for unit in UNITS]
    return [chart for chart in charts if chart is not None]


def _profile(found: Sequence[Learning], unit: str) -> Chart | None:
    workloads = [runs for runs in _workloads(found).values() if unit in _shared(runs)]
    times = [_times(runs, unit) for runs in workloads]
    compared = [each for each in times if len(each) > 1 and math.isfinite(min(each.values()))]
    if not compared:
        return None
    recipes = sorted({recipe for each in compared for recipe in each})
    lines: list[Line] = []
    for recipe in recipes:
        ratios = sorted(each.get(recipe, math.inf) / min(each.values()) for each in compared)
        reached = [ratio for ratio in ratios if math.isfinite(ratio)]
        x, y = [1.0], [sum(ratio <= 1 for ratio in ratios) / len(compared)]
        for number, ratio in enumerate(reached, 1):
            if ratio > 1:
                x.append(ratio)
                y.append(number / len(compared))
        lines.append(Line(name=recipe, x=(*x, max(4.0, *x)), y=(*y, y[-1]), shape="steps"))
    return Chart(
        title=f"Time to target, in {unit}",
        about=f"share of {counted(len(compared), 'workload')} brought to the target within "
        f"so many times the {unit} of the quickest recipe",
        x=f"times the {unit} of the quickest",
        y="share of workloads",
        lines=tuple(lines),
        log_x=True,
    )


def target(runs: Sequence[Learning]) -> float:
    """The score that counts as reached on a workload."""
    start = statistics.fmean(run.scores[0] for run in runs)
    ends = [statistics.fmean(r.scores[-1] for r in each) for each in _recipes(runs).values()]
    return start + WAY * (max(ends) - start)


def _shared(runs: Sequence[Learning]) -> list[str]:
    """The units that all of the runs tell."""
    return [unit for unit in UNITS if all(unit in run.spent for run in runs)]


def _times(runs: Sequence[Learning], unit: str) -> dict[str, float]:
    """Median cost of the target for each recipe; infinite where most runs do not get there."""
    goal = target(runs)
    return {
        recipe: statistics.median_high(_reached(run, goal, unit) for run in members)
        for recipe, members in _recipes(runs).items()
    }


def _reached(run: Learning, goal: float, unit: str) -> float:
    hits = (t for t, s in zip(run.spent[unit], run.scores, strict=True) if s >= goal and t > 0)
    return next(hits, math.inf)


def _mean_line(recipe: str, runs: Sequence[Learning], unit: str) -> Line:
    """The mean at each look that all runs had."""
    looks = min(len(run.scores) for run in runs)
    scores = [[run.scores[n] for run in runs] for n in range(looks)]
    return Line(
        name=recipe,
        x=tuple(statistics.fmean(run.spent[unit][n] for run in runs) for n in range(looks)),
        y=tuple(map(statistics.fmean, scores)),
        low=tuple(map(min, scores)) if len(runs) > 1 else (),
        high=tuple(map(max, scores)) if len(runs) > 1 else (),
    )


def _workloads(found: Iterable[Learning]) -> dict[Workload, list[Learning]]:
    made: dict[Workload, list[Learning]] = {}
    for run in found:
        made.setdefault((run.task, run.base), []).append(run)
    alike = {key: [r for r in runs if r.metric == runs[0].metric] for key, runs in made.items()}
    return dict(sorted(alike.items()))


def _recipes(runs: Sequence[Learning]) -> dict[str, list[Learning]]:
    made: dict[str, list[Learning]] = {}
    for run in runs:
        made.setdefault(run.recipe, []).append(run)
    return made


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else 0.0
