"""What a sweep found, as records: one a recipe, task and measure, with a value for every seed.

The unit of these records is the seed: `values` are those of the seeds in ascending order, and
intervals and paired tests are over seeds. What was measured how:

test     the task's metrics on its test split, when the budget was spent
dev      the headline `at equal tokens` (or `at equal rollouts` where the budget is of tokens):
         where the hungriest of all runs of the task stood when it ended, in a straight line between
         looks; and what it took to come to the target, NaN for a seed that never came there. Its
         value is a restricted mean: such a seed counts with all that it spent.
train    flat groups (share of groups in which all are paid the same) and length (steps a rollout)

The target of a task is set by grpo: where its mean dev score has gone 80 % of its way.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness import intervals, registry
from harness.commands.sweeping import Cell, Sweep
from harness.digests import digest
from harness.environment import commit, machine
from harness.journal import Journal
from harness.types import Split, Task
from results.record import Record
from results.run import read_table

BASE = "grpo"
WAY = 0.8
"""Of the reference's gain: where the target is."""
UNITS = ("rollouts", "tokens", "seconds")
LAST = 0.25
"""Of the steps: over which the length of rollouts is told."""
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Course:
    """How one run went: (L,) numbers of its looks at the dev split, and means of its steps."""

    cell: Cell
    report: Mapping[str, Any]
    score: Floats
    """Headline on the dev split."""
    spent: Mapping[str, Floats]
    """Rollouts, tokens and seconds at each look."""
    flat: float
    length: float

    @classmethod
    def of(
        cls, cell: Cell, report: Mapping[str, Any], lines: Sequence[Mapping[str, Any]]
    ) -> Course:
        """From a run's report and its log."""
        steps = [line for line in lines if "reward" in line]
        totals = {0: dict.fromkeys(UNITS, 0.0)} | {
            int(line["step"]): {unit: float(line[f"spent/{unit}"]) for unit in UNITS}
            for line in steps
        }
        headline = registry.task(cell.task).metrics[0].name
        looks = [line for line in lines if f"eval/{headline}" in line]
        late = steps[-max(1, math.ceil(LAST * len(steps))) :]
        return cls(
            cell,
            report,
            np.array([line[f"eval/{headline}"] for line in looks], np.float64),
            {u: np.array([totals[int(x["step"])][u] for x in looks], np.float64) for u in UNITS},
            1 - statistics.fmean(line["effective_prompt_ratio"] for line in steps),
            statistics.fmean(line["completions/mean_length"] for line in late),
        )

    def at(self, unit: str, amount: float) -> float:
        """The score when so much was spent."""
        return float(np.interp(amount, self.spent[unit], self.score))

    def reached(self, target: float, unit: str, *, lower: bool) -> float:
        """What was spent when the score first came to the target; NaN where it never did."""
        way = -1 if lower else 1
        score, spent = way * self.score, self.spent[unit]
        there = np.flatnonzero(score >= way * target)
        if not len(there):
            return math.nan
        k = int(there[0])
        if k == 0:
            return float(spent[0])
        part = (way * target - score[k - 1]) / (score[k] - score[k - 1])
        return float(spent[k - 1] + part * (spent[k] - spent[k - 1]))


def records_of(sweep: Sweep) -> list[Record]:
    """The records of every recipe and task of which no seed is missing."""
    groups: dict[tuple[str, str], list[Cell]] = {}
    for cell in sorted(sweep.cells):
        groups.setdefault((cell.task, cell.recipe), []).append(cell)
    whole = {
        k: cells for k, cells in groups.items() if all(sweep.report(c).exists() for c in cells)
    }
    courses = {key: [_course(sweep, cell) for cell in cells] for key, cells in whole.items()}
    made: list[Record] = []
    for name in dict.fromkeys(task for task, _ in courses):
        field = {recipe: runs for (task, recipe), runs in courses.items() if task == name}
        made += _of_task(sweep, registry.task(name), field)
    return made


def _course(sweep: Sweep, cell: Cell) -> Course:
    lines = [*Journal(sweep.run(cell) / "metrics.jsonl").read()]
    return Course.of(cell, read_table(sweep.report(cell)), lines)


def _of_task(sweep: Sweep, task: Task, field: Mapping[str, Sequence[Course]]) -> list[Record]:
    """All recipes on one task: what is equal, and what the target is, depends on all of them."""
    unit = sweep.unit
    other = "rollouts" if unit == "tokens" else "tokens"
    lower = task.metrics[0].better == "lower"
    equal = min(run.spent[other][-1] for runs in field.values() for run in runs)
    target = math.nan
    if BASE in field:
        start, end = (statistics.fmean(r.score[k] for r in field[BASE]) for k in (0, -1))
        target = start + WAY * (end - start)
    made: list[Record] = []
    for runs in field.values():
        record = _template(sweep, task, runs)
        made += _of_test(record, runs)
        first = task.metrics[0]
        named = record.but(
            split="dev", metric=f"{first.name} at equal {other}", better=first.better
        )
        made.append(_with(named, [run.at(other, equal) for run in runs], {other: equal}))
        if not math.isnan(target):
            made += [_to_target(record, runs, each, target, lower) for each in (unit, other)]
        for metric, values in (
            ("flat groups", [run.flat for run in runs]),
            ("length", [run.length for run in runs]),
        ):
            made.append(_with(record.but(split="train", metric=metric, better="neither"), values))
    return made


def _of_test(record: Record, runs: Sequence[Course]) -> list[Record]:
    """The metrics of the test split, but for shares of reasons."""
    found = [{m["metric"]: m for m in run.report["test"]["metrics"]} for run in runs]
    made: list[Record] = []
    for name, first in found[0].items():
        if name.endswith("_share") or not all(name in each for each in found):
            continue
        named = record.but(
            split="test", metric=name, better=first["better"], sampling=first["sampling"]
        )
        each = {"questions": first["examples"], "attempts": first["rollouts"]}
        named = replace(named, sampling={k: v for k, v in named.sampling.items() if k != "seed"})
        made.append(_with(named, [x[name]["value"] for x in found], each))
    return made


def _to_target(
    record: Record, runs: Sequence[Course], unit: str, target: float, lower: bool
) -> Record:
    taken = [run.reached(target, unit, lower=lower) for run in runs]
    ends = [float(run.spent[unit][-1]) for run in runs]
    counted = [min(one, end) if one == one else end for one, end in zip(taken, ends, strict=True)]
    found = intervals.interval(counted, low=0.0, high=math.inf)
    return record.but(
        split="dev",
        metric=f"{unit} to target",
        better="lower",
        value=found.value,
        low=found.low if math.isfinite(found.high) else math.nan,
        high=found.high if math.isfinite(found.high) else math.nan,
        values=taken,
        settings={**record.settings, "target": round(target, 6)},
    )


def _with(record: Record, values: Sequence[float], more: Mapping[str, Any] | None = None) -> Record:
    """The record with these values of its seeds, their mean and its interval."""
    high = 1.0 if all(0 <= value <= 1 for value in values) else math.inf
    found = intervals.interval(values, low=0.0, high=high)
    known = math.isfinite(found.low) and math.isfinite(found.high)
    return record.but(
        value=found.value,
        low=found.low if known else math.nan,
        high=found.high if known else math.nan,
        values=[float(value) for value in values],
        settings={**record.settings, **(more or {})},
    )


def _template(sweep: Sweep, task: Task, runs: Sequence[Course]) -> Record:
    """What all records of a recipe on a task share."""
    report = runs[0].report
    seeds = [run.cell.seed for run in runs]
    split: Split = "test"
    return Record(
        task=task.name,
        version=task.version,
        split=split,
        metric="?",
        value=0.0,
        model=report["model"],
        base=report["model"],
        recipe=report["recipe"],
        seeds=seeds,
        examples=len(seeds),
        settings={"unit": "seed", "asked": " ".join(sweep.words)},
        values=[0.0] * len(seeds),
        example_ids_digest=digest([f"seed {seed}" for seed in seeds]),
        digest=digest([sweep.words, seeds]),
        run=sweep.folder.name,
        dataset=task.source,
        commit=commit(),
        when=datetime.now(UTC).isoformat(timespec="seconds"),
        seconds=sum(float(run.report["seconds"]) for run in runs),
        machine=machine(),
    )
