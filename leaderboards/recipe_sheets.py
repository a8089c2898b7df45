"""Sheets of sweeps: recipes down, tasks across, each compared with grpo seed by seed.

A mark beside a value says how it compares with that of grpo on the same task, by the exact test
over all splits of their runs, with Holm's correction over the recipes of the column. Differences
seed by seed, with exact sign flips, stand in a sheet of their own: 8 seeds have but 256 patterns of
signs, too few to bear a correction for many recipes.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.comparing import holm, permuted
from leaderboards.pairs import goodness, tell_apart
from leaderboards.profiles import median_time, profile_scores
from leaderboards.rank import Ranking
from leaderboards.sheets import Sheet, interval, shown
from leaderboards.text import number
from results.record import Record

BASE = "grpo"
LEVEL = 0.05
READING = (
    "+ better than grpo beyond doubt, - worse, = a tie: not told apart at 5 %; p over all splits "
    "of the runs of both, corrected by Holm within the column.",
)
CANNOT = (
    "What this can show: whether the mechanism of a recipe acts, at a cost that is the same for "
    "all, on questions made to need it, with the noise of seeds. A tie is a result.",
    "What it cannot show: which recipe is better for a language model. The model has 100,000 "
    "weights, starts from a beginner's answers, knows one task and is trained for seconds; all "
    "recipes share one learning rate that was tuned for none; long answers have a dozen tokens.",
    "Seeds fix the order of questions and what is drawn. All runs of a task start from the same "
    "weights, so the spread over seeds leaves out that of starts.",
)


@dataclass(frozen=True)
class Field:
    """All records of sweeps that were asked for alike."""

    asked: str
    records: tuple[Record, ...]

    @property
    def recipes(self) -> list[str]:
        """The reference first, the others by name."""
        names = {record.recipe for record in self.records}
        return sorted(names, key=lambda name: (name != BASE, name))

    @property
    def tasks(self) -> list[str]:
        """By name."""
        return sorted({record.task for record in self.records})

    def column(self, task: str, metric: str, split: str) -> dict[str, Record]:
        """The latest record of each recipe; those that share their settings with most."""
        found = [
            r
            for r in self.records
            if r.task == task and r.split == split and r.metric == metric and r.recipe
        ]
        kinds = [repr(sorted(r.settings.items())) for r in found]
        most = max(kinds, key=kinds.count) if kinds else ""
        return {r.recipe: r for r, kind in zip(found, kinds, strict=True) if kind == most}

    def metrics(self, split: str, pattern: str = "") -> list[str]:
        """Names that hold the pattern, in the order of the records."""
        named = (r.metric for r in self.records if r.split == split and pattern in r.metric)
        return list(dict.fromkeys(named))

    def headline(self, task: str) -> str:
        """The first metric of a task's test split."""
        found = (r.metric for r in self.records if r.task == task and r.split == "test")
        return next(found, "")


def recipe_sheets(found: Sequence[Ranking], reported: Sequence[Record]) -> list[Sheet]:
    """The sheets of every way in which sweeps were asked for."""
    fields: dict[str, list[Record]] = {}
    for ranking in found:
        for record in [*(place.record for place in ranking.places), *ranking.unranked]:
            fields.setdefault(str(record.settings.get("asked", "")), []).append(record)
    return [sheet for asked, rows in fields.items() for sheet in _sheets(Field(asked, tuple(rows)))]


def _sheets(field: Field) -> list[Sheet]:
    above = (f"harness train --sweep {field.asked}",)
    sheets = [_scores(field, "when the budget is spent, on the test split", above)]
    finals = [field.column(task, field.headline(task), "test") for task in field.tasks]
    paired = ("p by exact sign flips over the seeds that both have, before any correction.",)
    sheets.append(
        _sheet(
            field,
            "Difference from grpo in the final score, seed by seed",
            field.tasks,
            [_paired(column) for column in finals],
            paired,
        )
    )
    equal = [m for m in field.metrics("dev") if " at equal " in m]
    for word in dict.fromkeys(m.partition(" at ")[2] for m in equal):
        sheets.append(_at_equal(field, word))
    for metric in field.metrics("dev", " to target"):
        sheets.append(_to_target(field, metric))
    sheets.append(_stability(field))
    sheets += [_others(field, m) for m in _further(field)]
    sheets += [
        _plain(field, metric, title)
        for metric, title in (
            ("flat groups", "Share of flat groups, from which nothing is learned"),
            ("length", "Steps a rollout, over the last quarter of training"),
        )
    ]
    return [sheet for sheet in sheets if sheet.rows]


def _scores(field: Field, title: str, above: tuple[str, ...]) -> Sheet:
    columns = {task: field.column(task, field.headline(task), "test") for task in field.tasks}
    marked = {task: _marked(column) for task, column in columns.items()}
    named = [f"{task} {field.headline(task)}" for task in columns]
    return _sheet(field, f"Score {title}", named, list(marked.values()), (*above, *READING), CANNOT)


def _at_equal(field: Field, word: str) -> Sheet:
    columns = [field.column(t, f"{field.headline(t)} at {word}", "dev") for t in field.tasks]
    spent = [
        f"{task} ({next(iter(c.values())).settings.get(word.split()[-1], 0):,.0f})" if c else task
        for task, c in zip(field.tasks, columns, strict=True)
    ]
    title = f"Score at {word}, on the dev split"
    return _sheet(field, title, spent, [_marked(c) for c in columns])


def _to_target(field: Field, metric: str) -> Sheet:
    columns = {task: field.column(task, metric, "dev") for task in field.tasks}
    times = {
        recipe: {task: median_time(c[recipe].values) for task, c in columns.items() if recipe in c}
        for recipe in field.recipes
    }
    scores = profile_scores(times)

    def cell(record: Record) -> str:
        middle = median_time(record.values)
        there = sum(not math.isnan(value) for value in record.values)
        text = "never" if math.isinf(middle) else f"{middle:,.0f}"
        return f"{text} ({there}/{len(record.values)})"

    drawn = [{name: cell(r) for name, r in c.items()} for c in columns.values()]
    drawn.append({n: f"{x:.3f}" for n, x in scores.items() if not math.isnan(x)})
    drawn.append({name: str(len(row)) for name, row in times.items() if row})
    targets = [
        f"{task} ({next(iter(c.values())).settings.get('target', math.nan):.3f})" if c else task
        for task, c in columns.items()
    ]
    above = (
        "Median over seeds, and how many seeds came there. The target, in brackets, is where "
        "grpo's mean dev score has gone 80 % of its way. score: AlgoPerf's, the area under the "
        "performance profile up to 4 times the best, over the tasks that a recipe was measured on: "
        "those of few tasks are not comparable with those of many, and all change when a recipe "
        "joins.",
    )
    title = f"{metric[:1].upper()}{metric[1:]}"
    return _sheet(field, title, [*targets, "score", "tasks"], drawn, above)


def _stability(field: Field) -> Sheet:
    def cell(record: Record) -> str:
        values = [value for value in record.values if not math.isnan(value)]
        spread = statistics.stdev(values) if len(values) > 1 else math.nan
        worst = max(values) if record.better == "lower" else min(values)
        return f"{spread:.3f}, {worst:.3f}"

    columns = [field.column(task, field.headline(task), "test") for task in field.tasks]
    drawn = [{name: cell(r) for name, r in column.items() if r.values} for column in columns]
    above = ("Standard deviation over seeds, and the worst seed.",)
    return _sheet(field, "Stability of the final score", field.tasks, drawn, above)


def _further(field: Field) -> list[str]:
    """The other metrics of test splits."""
    first = {field.headline(task) for task in field.tasks}
    return [metric for metric in field.metrics("test") if metric not in first]


def _others(field: Field, metric: str) -> Sheet:
    tasks = [task for task in field.tasks if field.column(task, metric, "test")]
    drawn = [_marked(field.column(task, metric, "test")) for task in tasks]
    return _sheet(field, f"{metric}, on the test split", tasks, drawn)


def _plain(field: Field, metric: str, title: str) -> Sheet:
    columns = [field.column(task, metric, "train") for task in field.tasks]
    drawn = [{name: shown(record) for name, record in column.items()} for column in columns]
    return _sheet(field, title, field.tasks, drawn)


def _marked(column: Mapping[str, Record]) -> dict[str, str]:
    """Value, interval, and how it compares with the reference."""
    base = column.get(BASE)
    marks = dict.fromkeys(column, "")
    if base is not None:
        others = [name for name in column if name != BASE]
        found = holm([permuted(_known(column[name]), _known(base)) for name in others])
        for name, p in zip(others, found, strict=True):
            better = goodness(base, column[name].value) > goodness(base, base.value)
            sign = "=" if p >= LEVEL else "+" if better else "-"
            marks[name] = f"{sign} p={number(p, 0.005)}"
    return {
        name: " ".join(part for part in (shown(r), interval(r), marks[name]) if part)
        for name, r in column.items()
    }


def _known(record: Record) -> list[float]:
    return [value for value in record.values if not math.isnan(value)] or [record.value]


def _paired(column: Mapping[str, Record]) -> dict[str, str]:
    """Mean difference from the reference seed by seed, more being better, and its p."""
    base = column.get(BASE)
    if base is None:
        return {}
    pairs = {name: tell_apart(r, base) for name, r in column.items() if name != BASE}
    return {
        name: f"{pair.difference:+.3f} p={number(pair.p, 0.005)}" for name, pair in pairs.items()
    }


def _sheet(
    field: Field,
    title: str,
    columns: Sequence[str],
    drawn: Sequence[Mapping[str, str]],
    above: tuple[str, ...] = (),
    notes: tuple[str, ...] = (),
) -> Sheet:
    kept = [recipe for recipe in field.recipes if any(recipe in column for column in drawn)]
    rows = tuple((name, *(column.get(name, "") for column in drawn)) for name in kept)
    return Sheet(title, ("recipe", *columns), rows, above, notes)
