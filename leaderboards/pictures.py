"""Pictures for people: a board as dots with intervals, a run as its training curve. PNG and SVG."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness.errors import DataError, need
from harness.journal import Journal
from leaderboards.charts import Chart, Line, training
from leaderboards.rank import Ranking
from leaderboards.sheets import row_names, shown
from leaderboards.text import visible

FORMATS = ("png", "svg")
INK, DIM, GRID = "#1f2328", "#59636e", "#e3e6ea"
BLUE, ORANGE = "#2563a8", "#c2571a"
MOST_ROWS = 40
COLORS = (BLUE, ORANGE, INK, "#3b7d4f", "#8a4fa3", "#a8812a", "#4a9aa8", "#b0486a", DIM)
FEW = 40
"""Points up to which each gets a dot."""
FEW_NAMES = 5
"""Names that a legend inside the axes has room for."""


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
    chart = training(run.name, list(Journal(run / "metrics.jsonl").read()))
    if chart is None:
        raise DataError(f"{run / 'metrics.jsonl'} holds no step with a reward")
    return plot(chart, stem)


def plot(chart: Chart, stem: Path) -> list[Path]:
    """A chart of lines and points; writes `stem`.png and .svg."""
    with figure_of(7.2, 6.4 if chart.square else 4.0) as (figure, axes):
        colors = iter(COLORS)
        for line in chart.lines:
            if line.shape == "guide":
                _guide(axes, line)
                continue
            faint = line.shape == "faint"
            color = COLORS[0] if faint else next(colors, DIM)
            _line(axes, line, color)
        if chart.log_x:
            axes.set_xscale("log", base=2)
            axes.xaxis.set_major_formatter(lambda x, _: f"{x:g}")
        axes.set_xlabel(visible(chart.x, 60), color=DIM)
        axes.set_ylabel(visible(chart.y, 60), color=DIM)
        axes.set_title(visible(chart.title, 70), loc="left", fontsize=12, color=INK, pad=14)
        if chart.square:
            axes.set_xlim(-0.02, 1.02)
            axes.set_ylim(-0.02, 1.02)
        else:
            axes.grid(axis="y", color=GRID, linewidth=0.8)
            axes.margins(x=0.02)
        handles, labels = axes.get_legend_handles_labels()
        if len(handles) > FEW_NAMES:
            figure.legend(
                handles, labels, loc="outside lower center", ncols=2, frameon=False, fontsize=8
            )
        elif handles:
            axes.legend(frameon=False, fontsize=9, loc="best")
        return save_figure(figure, stem)


def _line(axes: Any, line: Line, color: str) -> None:
    """A line, or points, with the intervals that are known."""
    name = visible(line.name, 60)
    if line.shape == "faint":
        axes.plot(line.x, line.y, color=color, alpha=0.25, linewidth=1)
    elif line.shape == "steps":
        axes.plot(line.x, line.y, color=color, drawstyle="steps-post", linewidth=1.5, label=name)
    elif line.low or line.shape == "points" or len(line.x) <= FEW:
        axes.errorbar(
            line.x,
            line.y,
            _arms(line.low, line.y, line.high),
            _arms(line.x_low, line.x, line.x_high),
            fmt="o" if line.shape == "points" else "o-",
            color=color,
            markersize=6,
            linewidth=1.2,
            capsize=0 if line.x_low else 3,
            label=name,
        )
    else:
        axes.plot(line.x, line.y, color=color, linewidth=2, label=name)


def _guide(axes: Any, line: Line) -> None:
    """A thin line with its name at its end."""
    axes.plot(line.x, line.y, color=GRID, linewidth=1, zorder=0)
    above = line.y[-1] >= 1
    axes.annotate(
        visible(line.name, 20),
        (line.x[-1], line.y[-1]),
        xytext=(0, 3) if above else (-2, 2),
        textcoords="offset points",
        ha="center" if above else "right",
        fontsize=7,
        color=DIM,
    )


def _arms(low: Sequence[float], values: Sequence[float], high: Sequence[float]) -> Any:
    """(2, n) lengths of error bars; None where no interval is known."""
    if not low:
        return None
    ends = [(max(0.0, v - a), max(0.0, b - v)) for a, v, b in zip(low, values, high, strict=True)]
    return list(zip(*ends, strict=True))


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
