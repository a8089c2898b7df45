"""Pictures of forecasts: performance and reliability diagrams, scores by lead, alarms in time.

Performance and lead curves need records alone, so a board can have them; the others need the
verdicts of a run. PNG and SVG.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.verification import Reliability
from leaderboards.pictures import BLUE, DIM, GRID, INK, ORANGE, figure_of, save_figure
from leaderboards.sheets import row_names
from leaderboards.text import visible
from results.record import Record, by_run

COLORS = (BLUE, ORANGE, "#2f7d4f", "#8a4fa8", "#a8324a", "#6b6f76")
MARKERS = "osD^vPX*"
BIASES = (0.3, 0.5, 0.8, 1.0, 1.3, 2.0, 4.0)
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Operating:
    """One forecaster's point in a performance diagram, or with several entries its curve."""

    name: str
    success_ratio: Sequence[float]
    """1 - far_ratio."""
    pod: Sequence[float]


def performance(points: Sequence[Operating], stem: Path, title: str = "") -> list[Path]:
    """POD over success ratio (Roebber 2009): lines of equal CSI, rays of equal bias."""
    with figure_of(6.4, 5.6) as (figure, axes):
        grid = np.linspace(0.01, 1, 200)
        for csi in np.arange(0.1, 1.0, 0.1):
            with np.errstate(divide="ignore", invalid="ignore"):
                line = 1 / (1 / csi - 1 / grid + 1)
            kept = (line > 0) & (line <= 1)
            axes.plot(grid[kept], line[kept], color=GRID, lw=1, zorder=0)
            axes.annotate(f"{csi:.1f}", (0.93, 1 / (1 / csi - 1 / 0.93 + 1)), fontsize=7,
                          color=DIM, ha="right")  # fmt: skip
        for ray in BIASES:
            axes.plot([0, min(1, 1 / ray)], [0, min(1, ray)], color=GRID, lw=1, ls=":", zorder=0)
            axes.annotate(f"bias {ray:g}", (min(1, 1 / ray), min(1, ray)), fontsize=7, color=DIM,
                          ha="center", va="bottom")  # fmt: skip
        for number, each in enumerate(points):
            curve = len(each.pod) > 1
            axes.plot(
                each.success_ratio,
                each.pod,
                color=COLORS[number % len(COLORS)],
                marker="" if curve and len(each.pod) > 8 else MARKERS[number % len(MARKERS)],
                ls="-" if curve else "",
                lw=1.4,
                label=visible(each.name, 48),
            )
        _square(axes, "success ratio (1 - far_ratio)", "POD", title)
        _legend(figure, axes)
        return save_figure(figure, stem)


def reliability_diagram(
    found: Mapping[str, Reliability], stem: Path, title: str = ""
) -> list[Path]:
    """How often the event happened by how likely it was forecast; below, how often that was."""
    with figure_of(5.6, 5.6) as (figure, axes):
        axes.plot([0, 1], [0, 1], color=GRID, lw=1.5, zorder=0)
        for number, (name, each) in enumerate(found.items()):
            kept = each.count > 0
            color = COLORS[number % len(COLORS)]
            axes.plot(each.forecast[kept], each.observed[kept], color=color, lw=1.2)
            sizes = 12 + 160 * each.count[kept] / max(int(each.count.max()), 1)
            label = f"{visible(name, 40)} (Brier {each.brier:.3f})"
            axes.scatter(
                each.forecast[kept], each.observed[kept], s=sizes, color=color, label=label
            )
        _square(axes, "forecast probability", "share of events (area: cases)", title)
        _legend(figure, axes)
        return save_figure(figure, stem)


def lead_curves(
    curves: Mapping[str, Mapping[int, tuple[float, float, float]]], score: str, stem: Path
) -> list[Path]:
    """A score with its interval by lead in hours; a line a forecaster."""
    with figure_of(6.4, 4.0) as (figure, axes):
        shift = 1.6
        for number, (name, by_lead) in enumerate(curves.items()):
            leads = sorted(by_lead)
            value, low, high = (np.array([by_lead[lead][n] for lead in leads]) for n in range(3))
            at = np.array(leads) + shift * (number - (len(curves) - 1) / 2)
            color = COLORS[number % len(COLORS)]
            axes.errorbar(
                at,
                value,
                [value - low, high - value],
                color=color,
                lw=1.4,
                capsize=2,
                marker=MARKERS[number % len(MARKERS)],
                ms=4,
                label=visible(name, 48),
            )
        axes.set_xticks(sorted({lead for each in curves.values() for lead in each}))
        axes.set_xlabel("lead in hours", color=DIM)
        axes.set_ylabel(score, color=DIM)
        axes.grid(axis="y", color=GRID)
        _legend(figure, axes)
        return save_figure(figure, stem)


def alarms(
    days: Sequence[str], observed: Floats, forecast: Floats, threshold: float, stem: Path
) -> list[Path]:
    """Observed and forecast series by day, with hits, false alarms and misses marked."""
    at = np.array(days, "datetime64[D]")
    event, alarm = observed > threshold, forecast > threshold
    known = np.isfinite(observed) & np.isfinite(forecast)
    with figure_of(9.0, 3.6) as (figure, axes):
        axes.plot(at, observed, color=INK, lw=1.0, label="observed")
        axes.plot(at, forecast, color=BLUE, lw=1.0, label="forecast")
        axes.axhline(threshold, color=DIM, lw=0.8, ls="--")
        kinds = (
            ("hit", event & alarm, "#2f7d4f", "o"),
            ("false alarm", ~event & alarm, ORANGE, "v"),
            ("miss", event & ~alarm, "#a8324a", "x"),
        )
        for name, rows, color, marker in kinds:
            rows = rows & known
            axes.scatter(at[rows], observed[rows], s=16, color=color, marker=marker, zorder=3,
                         label=f"{name} ({int(rows.sum())})")  # fmt: skip
        axes.set_ylabel("ug/m3", color=DIM)
        axes.grid(axis="y", color=GRID)
        _legend(figure, axes)
        return save_figure(figure, stem)


def of_records(records: Sequence[Record], folder: Path) -> list[Path]:
    """Performance diagram and lead curves of each task and split, from records."""
    written: list[Path] = []
    tasks = sorted({(r.task, r.split) for r in records if r.metric.startswith("far_ratio")})
    for task, split in tasks:
        chosen = [r for r in records if (r.task, r.split) == (task, split) and r.ranked]
        runs = [members for members in by_run(chosen).values() if members]
        names = row_names([members[0] for members in runs])
        stem = folder / re.sub(r"[^A-Za-z0-9]+", "-", f"forecasts {task} {split}")
        points: list[Operating] = []
        curves: dict[str, dict[int, tuple[float, float, float]]] = {}
        for name, members in zip(names, runs, strict=True):
            values = {r.metric: r for r in members}
            if {"far_ratio", "pod"} <= set(values):
                success = [1 - values["far_ratio"].value]
                points.append(Operating(name, success, [values["pod"].value]))
            by_lead = {
                int(m[1]): (r.value, r.low, r.high)
                for metric, r in values.items()
                if (m := re.fullmatch(r"pss@(\d+)h", metric))
            }
            if by_lead:
                curves[name] = by_lead
        if points:
            written += performance(points, stem.with_name(stem.name + "-performance"), task)
        if curves:
            written += lead_curves(curves, "pss", stem.with_name(stem.name + "-leads"))
    return written


def _square(axes: Any, x: str, y: str, title: str) -> None:
    axes.set_xlim(0, 1.0)
    axes.set_ylim(0, 1.0)
    axes.set_xlabel(x, color=DIM)
    axes.set_ylabel(y, color=DIM)
    if title:
        axes.set_title(visible(title, 80), fontsize=10, color=INK, loc="left", pad=16)


def _legend(figure: Any, axes: Any) -> None:
    handles, labels = axes.get_legend_handles_labels()
    if labels:
        figure.legend(
            handles, labels, loc="outside lower center", ncols=2, frameon=False, fontsize=8
        )
