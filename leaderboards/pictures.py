"""Pictures for people: a board as dots with intervals, a run as its training curve. PNG and SVG."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness.errors import DataError, need
from harness.journal import Journal
from leaderboards.rank import Ranking
from leaderboards.sheets import row_names, shown
from leaderboards.text import visible

FORMATS = ("png", "svg")
INK, DIM, GRID = "#1f2328", "#59636e", "#e3e6ea"
BLUE, ORANGE = "#2563a8", "#c2571a"
MOST_ROWS = 40
EVALUATION = re.compile(r"(eval|dev)[/_]")
"""How the names of numbers begin that were measured on dev, not while training."""
WINDOW = 5
"""Steps over which a training reward is smoothed."""


def dots(ranking: Ranking, stem: Path) -> list[Path]:
    """A ranking as dots with 95 % intervals, best on top; its rank range stands at the right.

    Writes `stem`.png and .svg; the worst rows of a long ranking are left out, and it says so.
    """
    places = ranking.places[:MOST_ROWS]
    names = [visible(name, 48) for name in row_names([p.record for p in places])]
    record = ranking.record
    with figure_of(7.2, 1.5 + 0.34 * len(places)) as (figure, axes):
        for row, place in enumerate(places):
            _dot(axes, row, place.record)
            axes.annotate(
                f"{shown(place.record)}   #{place.rank}",
                (1.01, row),
                xycoords=("axes fraction", "data"),
                va="center",
                fontsize=9,
                color=INK,
            )
        axes.set_yticks(range(len(places)), names)
        axes.set_ylim(len(places) - 0.4, -0.6)
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x", color=GRID, linewidth=0.8)
        _frame_x(axes, [p.record for p in places])
        axes.set_title(
            f"{record.task}: {record.metric}", loc="left", fontsize=12, color=INK, pad=22
        )
        left_out = len(ranking.places) - len(places)
        more = f"; {left_out} lower rows left out" if left_out else ""
        side = "lower" if record.better == "lower" else "higher"
        trained = "; orange: trained here" if any(p.record.recipe for p in places) else ""
        axes.text(
            0,
            1.0,
            f"{record.examples} examples, {record.split} split, 95 % intervals, {side} is better"
            f"{trained}{more}",
            transform=_above(axes),
            fontsize=9,
            color=DIM,
        )
        return save_figure(figure, stem)


def curve(run: Path, stem: Path) -> list[Path]:
    """The training curve of a run's metrics.jsonl: reward by step, evaluations as dots.

    DataError where the file holds no step with a reward.
    """
    lines = list(Journal(run / "metrics.jsonl").read())
    steps, rewards = _series(lines, "reward")
    if not steps:
        raise DataError(f"{run / 'metrics.jsonl'} holds no step with a reward")
    with figure_of(7.2, 4.0) as (figure, axes):
        axes.plot(steps, rewards, color=BLUE, alpha=0.25, linewidth=1)
        axes.plot(
            steps,
            _smooth(rewards),
            color=BLUE,
            linewidth=2,
            label=f"training reward (mean of {WINDOW} steps)",
        )
        _evaluations(axes, lines)
        axes.set_xlabel("step", color=DIM)
        axes.grid(axis="y", color=GRID, linewidth=0.8)
        axes.set_title(visible(run.name, 70), loc="left", fontsize=12, color=INK)
        axes.legend(frameon=False, fontsize=9, loc="best")
        axes.margins(x=0.02)
        return save_figure(figure, stem)


def _evaluations(axes: Any, lines: Sequence[Mapping[str, Any]]) -> None:
    """Dots for each evaluated number that has an interval, else for the first one."""
    keys = list(dict.fromkeys(k for line in lines for k in line if EVALUATION.match(k)))
    bounds = {k for k in keys if k.endswith(("_low", "_high"))}
    names = [k for k in keys if f"{k}_low" in bounds] or [k for k in keys if k not in bounds][:1]
    for name, color in zip(names, (ORANGE, INK, DIM), strict=False):
        steps, values = _series(lines, name)
        lows, highs = _series(lines, f"{name}_low")[1], _series(lines, f"{name}_high")[1]
        error = None
        if len(lows) == len(highs) == len(values):
            below = [max(0.0, v - low) for v, low in zip(values, lows, strict=True)]
            above = [max(0.0, high - v) for v, high in zip(values, highs, strict=True)]
            error = [below, above]
        label = f"{EVALUATION.sub('', name)} (evaluation{', 95 % interval' if error else ''})"
        axes.errorbar(
            steps,
            values,
            error,
            fmt="o-",
            color=color,
            markersize=6,
            linewidth=1.2,
            capsize=3,
            label=visible(label, 60),
        )


def _series(lines: Sequence[Mapping[str, Any]], name: str) -> tuple[list[float], list[float]]:
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


def _smooth(values: Sequence[float]) -> list[float]:
    """The mean of the last steps, so that nothing is seen before it happened."""
    return [
        sum(values[max(0, n + 1 - WINDOW) : n + 1]) / len(values[max(0, n + 1 - WINDOW) : n + 1])
        for n in range(len(values))
    ]


def _dot(axes: Any, row: int, record: Any) -> None:
    low, high, color = record.low, record.high, ORANGE if record.recipe else BLUE
    if math.isfinite(low) and math.isfinite(high):
        axes.plot([low, high], [row, row], color=color, linewidth=2.2, solid_capstyle="round")
    axes.plot([record.value], [row], "o", color=color, markersize=7, markeredgecolor="white")


def _frame_x(axes: Any, records: Sequence[Any]) -> None:
    ends = [x for r in records for x in (r.low, r.value, r.high) if math.isfinite(x)]
    low, high = min(ends), max(ends)
    margin = 0.06 * ((high - low) or abs(high) or 1.0)
    inside = low >= 0 and high <= 1
    left, right = low - margin, high + margin
    axes.set_xlim(max(left, -0.01) if inside else left, min(right, 1.01) if inside else right)


def _above(axes: Any) -> Any:
    from matplotlib.transforms import ScaledTranslation

    lift = ScaledTranslation(0, 6 / 72, axes.figure.dpi_scale_trans)
    return axes.transAxes + lift


@contextmanager
def figure_of(width: float, height: float) -> Iterator[tuple[Any, Any]]:
    """A figure of its own, without the state that pyplot shares."""
    need("matplotlib", "web", "drawing a picture")
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    style: Any = {"svg.hashsalt": "harness", "text.usetex": False, "text.parse_math": False}
    style |= {"axes.edgecolor": DIM, "xtick.color": DIM, "ytick.color": INK}
    with rc_context(style):
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        for side in ("top", "right", "left"):
            axes.spines[side].set_visible(False)
        yield figure, axes


def save_figure(figure: Any, stem: Path) -> list[Path]:
    stem.parent.mkdir(parents=True, exist_ok=True)
    written = []
    with warnings.catch_warnings():  # names may hold letters that no font has; boxes stand there
        warnings.filterwarnings("ignore", message="Glyph", category=UserWarning)
        for kind in FORMATS:
            path = stem.with_name(f"{stem.name}.{kind}")
            still = {"Date": None} if kind == "svg" else {}
            figure.savefig(path, dpi=160, facecolor="white", metadata=still)
            written.append(path)
    return written
