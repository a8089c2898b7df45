"""Charts as plain data, drawn by the site's pages and by `leaderboards.pictures` alike.

A chart holds lines of points, each with an interval where one is known. Nothing here is escaped.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from harness.digests import digest
from leaderboards.cards import WITHOUT_WEIGHTS
from leaderboards.rank import Ranking, setting
from leaderboards.sheets import row_name, row_names
from results.record import Record

EVALUATION = re.compile(r"(eval|dev)[/_]")
"""How the names of numbers begin that were measured on dev, not while training."""
PASS_AT = re.compile(r"pass@(\d+)$")
WINDOW = 5
"""Steps over which a training reward is smoothed."""
MOST_LINES = 12
"""Lines of a chart that an eye can follow."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """Points of one name."""

    name: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    low: tuple[float, ...] = ()
    """Lower ends of the points' 95 % intervals; empty where none is known."""
    high: tuple[float, ...] = ()
    x_low: tuple[float, ...] = ()
    """Of x, where that was measured, too."""
    x_high: tuple[float, ...] = ()
    labels: tuple[str, ...] = ()
    """A name for each point; empty where the line's own will do."""
    shape: Literal["line", "points", "steps", "faint", "guide"] = "line"
    """A guide is no measurement: a thin line with its name at its end."""


@dataclass(frozen=True, kw_only=True)
class Chart:
    """What is drawn along two axes."""

    title: str
    about: str = ""
    x: str
    y: str
    lines: tuple[Line, ...]
    log_x: bool = False
    square: bool = False
    """Both axes go from 0 to 1."""


def pass_curves(found: Iterable[Ranking]) -> list[Chart]:
    """pass@k against k, a line a model, for each setting that has two ks or more."""
    alike: dict[str, dict[str, list[Record]]] = {}
    for ranking in found:
        if not PASS_AT.match(ranking.record.metric):
            continue
        key = digest({**setting(ranking.record), "metric": "pass@k"})
        for place in ranking.places:
            record = place.record
            name = f"{row_name(record)} ({record.model_digest[:8]})"
            alike.setdefault(key, {}).setdefault(name, []).append(record)
    charts: list[Chart] = []
    for rows in alike.values():
        lines = [_pass_line(records) for records in rows.values() if len(records) > 1]
        lines.sort(key=lambda line: -line.y[-1])
        if lines:
            record = next(iter(rows.values()))[0]
            charts.append(
                Chart(
                    title=f"{record.task}: pass@k",
                    about=left_out(len(lines), "k attempts, one of which is right"),
                    x="k",
                    y="pass@k",
                    lines=tuple(lines[:MOST_LINES]),
                    log_x=True,
                )
            )
    return charts


def _pass_line(records: Sequence[Record]) -> Line:
    points = sorted((int(r.metric.rpartition("@")[2]), r) for r in records if r.value == r.value)
    bounds = _interval([r for _, r in points])
    return Line(
        name=row_name(records[0]),
        x=tuple(float(k) for k, _ in points),
        y=tuple(r.value for _, r in points),
        low=bounds.get("low", ()),
        high=bounds.get("high", ()),
    )


def pareto(found: Ranking, tokens: Mapping[str, float]) -> Chart | None:
    """A ranking's values against tokens per rollout, with the frontier; None for less than two.

    `tokens`: by run.
    """
    ours = [p.record for p in found.places if p.record.engine not in WITHOUT_WEIGHTS]
    records = [record for record in ours if tokens.get(record.run, 0.0) > 0]
    if len(records) < 2:
        return None
    names = row_names(records)
    cost = {id(r): tokens[r.run] for r in records}
    best = math.inf if found.record.better == "lower" else -math.inf
    frontier: list[Record] = []
    for record in sorted(records, key=lambda r: (cost[id(r)], -r.value)):
        if record.value < best if found.record.better == "lower" else record.value > best:
            best = record.value
            frontier.append(record)
    return Chart(
        title=f"{found.record.task}: {found.record.metric} against tokens",
        about="the line joins what no other row beats at fewer tokens",
        x="tokens generated per rollout",
        y=found.record.metric,
        log_x=max(cost.values()) > 8 * min(cost.values()),
        lines=(
            Line(
                name="frontier",
                x=tuple(cost[id(r)] for r in frontier),
                y=tuple(r.value for r in frontier),
                shape="steps",
            ),
            Line(
                name="models",
                x=tuple(cost[id(r)] for r in records),
                y=tuple(r.value for r in records),
                labels=tuple(names),
                shape="points",
                **_interval(records),
            ),
        ),
    )


def training(name: str, lines: Sequence[Mapping[str, Any]]) -> Chart | None:
    """A run's reward by step, and what was evaluated on dev; None without a step that has one."""
    steps, rewards = series(lines, "reward")
    if not steps:
        return None
    drawn = [
        Line(name="training reward", x=tuple(steps), y=tuple(rewards), shape="faint"),
        Line(
            name=f"training reward (mean of {WINDOW} steps)",
            x=tuple(steps),
            y=tuple(smooth(rewards)),
        ),
        *evaluations(lines),
    ]
    return Chart(title=name, x="step", y="", lines=tuple(drawn))


def evaluations(lines: Sequence[Mapping[str, Any]]) -> list[Line]:
    """The evaluated numbers that have an interval, else the first one."""
    keys = list(dict.fromkeys(k for line in lines for k in line if EVALUATION.match(k)))
    bounds = {k for k in keys if k.endswith(("_low", "_high"))}
    names = [k for k in keys if f"{k}_low" in bounds] or [k for k in keys if k not in bounds][:1]
    found: list[Line] = []
    for name in names[:3]:
        steps, values = series(lines, name)
        lows, highs = series(lines, f"{name}_low")[1], series(lines, f"{name}_high")[1]
        whole = len(lows) == len(highs) == len(values)
        found.append(
            Line(
                name=f"{EVALUATION.sub('', name)} (evaluation{', 95 % interval' if whole else ''})",
                x=tuple(steps),
                y=tuple(values),
                low=tuple(lows) if whole else (),
                high=tuple(highs) if whole else (),
            )
        )
    return found


def series(lines: Sequence[Mapping[str, Any]], name: str) -> tuple[list[float], list[float]]:
    """Steps and finite values of a number that was logged."""
    steps: list[float] = []
    values: list[float] = []
    for number, line in enumerate(lines):
        value, step = line.get(name), line.get("step", number)
        if (
            isinstance(value, int | float)
            and isinstance(step, int | float)
            and math.isfinite(value)
        ):
            steps.append(float(step))
            values.append(float(value))
    return steps, values


def smooth(values: Sequence[float]) -> list[float]:
    """The mean of the last steps, so that nothing is seen before it happened."""
    return [
        sum(values[max(0, n + 1 - WINDOW) : n + 1]) / len(values[max(0, n + 1 - WINDOW) : n + 1])
        for n in range(len(values))
    ]


def _interval(records: Sequence[Record]) -> dict[str, tuple[float, ...]]:
    """Both ends where all have them."""
    if not all(math.isfinite(r.low) and math.isfinite(r.high) for r in records):
        return {}
    return {"low": tuple(r.low for r in records), "high": tuple(r.high for r in records)}


def left_out(count: int, about: str) -> str:
    """What a chart is about, and how many of its lines are not drawn."""
    rest = count - MOST_LINES
    return f"{about}; {rest} lower rows left out" if rest > 0 else about


def distinct(titles: Sequence[str]) -> list[str]:
    """Titles; those that several share are numbered."""
    seen: dict[str, int] = {}
    made: list[str] = []
    for title in titles:
        seen[title] = seen.get(title, 0) + 1
        made.append(f"{title} ({seen[title]})" if titles.count(title) > 1 else title)
    return made
