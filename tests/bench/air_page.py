"""The page and the pictures of `tests/bench/air.py`: pure functions of its numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from leaderboards.forecast_pictures import Operating, performance
from leaderboards.pictures import BLUE, COLORS, DIM, INK, ORANGE, figure_of, save_figure
from tests.bench.air_judging import GOAL, LOSS, RATES, SHOWN

COMPARED = ("pss", "far_ratio", "pofd", "f1", "pod", "bias")
MARKERS = "sD^vP"
HEAD = """# Air quality: training against false alarms

Made by `make air` in {minutes:.0f} minutes of one core, {seeds} seeds. Aotizhongxin, daily PM2.5
above 75 ug/m3 at 48 h; trained on the three Beijing stations of 2013-03 to 2016-02, scored on
2016-03 to 2017-02, where {rate:.0%} of the days are events. `sft` is fitted by likelihood;
`air_grpo`, at several charges for a false alarm, and plain `grpo` go on from it at that lead.
"charge of dev" is the `air_grpo` whose rates fall most on the dev blocks of the training years with
F1 at most {loss} below that of `sft` there, or if none keeps F1, the one whose F1 is highest: here
{chosen}. "threshold for ..." is `sft` with an alarm where its chance of the event passes one that
was chosen on dev: for the best PSS, or for the lowest pofd with F1 at most {loss} lower. Scores are
means over seeds; intervals are of 1,000 paired draws of five-day blocks. That three stations teach
was settled after a run on Aotizhongxin alone had gained on dev and lost 0.08 of F1 on the test
year: that year is no longer quite unseen.
"""
LIMITS = """## What the goal asks for

The goal: far_ratio and pofd both {goal:.0%} lower than those of `sft`, F1 at most {loss} lower.
From `sft` at pod {pod:.3f}, far_ratio {far:.3f} and F1 {f1:.3f} that leads to pod {n[pod]:.3f},
far_ratio {n[far_ratio]:.3f} and pofd {n[pofd]:.3f}: of two Gaussians of one spread, a curve through
that point has an area of {n[auc]:.3f} below it. The areas on the test year:

{areas}

Had the threshold on `sft` been chosen on the test year itself, each rate by its own best threshold
and F1 at most {loss} lower, far_ratio could have changed by {reach[far_ratio]:+.0%} and pofd by
{reach[pofd]:+.0%} (means over seeds). No threshold brings far_ratio to {n[far_ratio]:.3f} with F1
above {at_goal:.3f}.
"""


def page(report: Mapping[str, Any]) -> str:
    """The whole page as Markdown."""
    limits, minutes = report["limits"], sum(report["spent"].values()) / 60
    return "\n".join([
        HEAD.format(minutes=minutes, seeds=report["seeds"], rate=limits["rate"], loss=LOSS,
                    chosen=report["chosen"].rpartition(" ")[2]),
        *(f"Left out of this run: {name}.\n" for name in report["left_out"]),
        "## On the test year\n",
        _scores(report["scores"]),
        "\nPaired differences (95 %), and for rates the relative change:\n",
        differences(report["pairs"]),
        f"\n{_met(report)}\n",
        "## On the dev blocks, where choices were made\n",
        _scores(report["dev"]),
        "\n" + _limits(report),
        "![F1 beside both rates of false alarms](air_quality_frontier.png)\n",
        "![Performance diagram of all forecasters](air_quality.png)\n",
    ])  # fmt: skip


def _scores(found: Mapping[str, Mapping[str, Sequence[float]]]) -> str:
    lines = ["| forecaster | " + " | ".join(SHOWN) + " |", "|---" * (len(SHOWN) + 1) + "|"]
    for name, each in found.items():
        cells = [f"{np.nanmean(each[s]):.3f}" for s in SHOWN]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def differences(found: Mapping[str, Mapping[str, Any]]) -> str:
    lines = ["| pair | " + " | ".join(COMPARED) + " |", "|---" * (len(COMPARED) + 1) + "|"]
    for name, each in found.items():
        cells: list[str] = []
        for score in COMPARED:
            one = each[score]
            text = f"{one['gap']:+.3f} [{one['low']:+.3f}, {one['high']:+.3f}]"
            if "change" in one:
                text += (
                    f"; {one['change']:+.0%} [{one['change_low']:+.0%}, {one['change_high']:+.0%}]"
                )
            cells.append(text)
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _met(report: Mapping[str, Any]) -> str:
    """Each demand beside what was found; a difference counts where its interval leaves out 0."""
    pairs, air = report["pairs"], report["pairs"][f"{report['chosen']} - sft"]
    beaten = {name: pairs[f"sft - {name}"]["pss"] for name in ("persistence", "climatology")}
    lines = [
        f"- `sft` {'beats' if each['low'] > 0 else 'is not told apart from'} {name} on PSS"
        for name, each in beaten.items()
    ]
    for rate in RATES:
        met = "" if air[rate]["change"] <= -GOAL else "not "
        lines.append(f"- {rate} {air[rate]['change']:+.0%}: {met}lower by {GOAL:.0%}")
    kept = "at most" if air["f1"]["gap"] >= -LOSS else "more than"
    lines.append(f"- F1 {air['f1']['gap']:+.3f}: lower by {kept} {LOSS}")
    return f"Of the demands, with {report['chosen']}:\n\n" + "\n".join(lines)


def _limits(report: Mapping[str, Any]) -> str:
    limits, base = report["limits"], report["scores"]["sft"]
    pod, far, f1 = (float(np.mean(base[s])) for s in ("pod", "far_ratio", "f1"))
    areas = "\n".join(
        f"- {name}: {np.mean(each):.3f} ({', '.join(f'{x:.3f}' for x in each)})"
        for name, each in report["auc"].items()
    )
    best = {rate: float(np.mean([each[rate] for each in limits["reach"]])) for rate in RATES}
    needed = limits["needed"]
    low = [e["f1"] for c in limits["curves"] for e in c if e["far_ratio"] <= needed["far_ratio"]]
    return LIMITS.format(goal=GOAL, loss=LOSS, pod=pod, far=far, f1=f1, n=needed, areas=areas,
                         reach=best, at_goal=max(low, default=0.0))  # fmt: skip


# ---- pictures


def pictures(report: Mapping[str, Any], folder: Path) -> list[Path]:
    """air_quality: a performance diagram; air_quality_frontier: F1 beside both rates."""
    points = [
        Operating(
            "sft, any threshold",
            [1 - each["far_ratio"] for each in report["limits"]["curves"][0]],
            [each["pod"] for each in report["limits"]["curves"][0]],
        )
    ]
    for name, each in report["scores"].items():
        if name != "always" and not name.startswith("air_grpo, charge of"):
            success, pod = 1 - np.mean(each["far_ratio"]), np.mean(each["pod"])
            points.append(Operating(name, [float(success)], [float(pod)]))
    title = "Aotizhongxin, PM2.5 > 75 ug/m3, 48 h"
    return [
        *performance(points, folder / "air_quality", title),
        *frontier(report, folder / "air_quality_frontier", title),
    ]


def frontier(report: Mapping[str, Any], stem: Path, title: str) -> list[Path]:
    """F1 over far_ratio and over pofd: every threshold on sft, every trained arm, and the goal."""
    with figure_of(10.4, 5.0) as (figure, axes):
        axes.remove()
        left = figure.add_subplot(1, 2, 1)
        both = (left, figure.add_subplot(1, 2, 2, sharey=left))
        for rate, each in zip(RATES, both, strict=True):
            _panel(report, rate, each)
        left.set_ylabel("F1", color=DIM)
        left.set_title(title, loc="left", fontsize=11, color=INK)
        names = left.get_legend_handles_labels()
        figure.legend(*names, loc="outside lower center", ncols=4, fontsize=8, frameon=False)
        return save_figure(figure, stem)


def _panel(report: Mapping[str, Any], rate: str, axes: Any) -> None:
    """One rate: thin lines are seeds' thresholds, small marks single seeds, large ones means."""
    found, base = report["scores"], report["scores"]["sft"]
    for number, curve in enumerate(report["limits"]["curves"]):
        label = "sft, any threshold (each seed)" if not number else None
        points = ([each[rate] for each in curve], [each["f1"] for each in curve])
        axes.plot(*points, color=BLUE, lw=0.8, alpha=0.7, label=label)
    goal = ((1 - GOAL) * np.mean(base[rate]), np.mean(base["f1"]) - LOSS)
    axes.fill_between([0, goal[0]], goal[1], 1, color=ORANGE, alpha=0.13, lw=0, label="the goal")
    air = [name for name in found if name.startswith("air_grpo, charge") and "dev" not in name]
    means = [(np.mean(found[name][rate]), np.mean(found[name]["f1"])) for name in air]
    axes.plot(*zip(*means, strict=True), color=ORANGE, lw=1.2)
    _marks(axes, found["sft"], rate, (BLUE, "o"), "sft")
    for name, marker in zip(air, MARKERS, strict=False):
        _marks(axes, found[name], rate, (ORANGE, marker), name)
    others = {"grpo": (COLORS[3], "X"), "sft, threshold for pofd": (INK, "*"),
              "climatology": (DIM, "d"), "persistence": (DIM, "v")}  # fmt: skip
    for name, style in others.items():
        if name in found:
            _marks(axes, found[name], rate, style, name)
    axes.set_xlim(0, 0.8)
    axes.set_ylim(0.3, 0.7)
    axes.set_xlabel(f"{rate} (lower is better)", color=DIM)


def _marks(
    axes: Any, each: Mapping[str, Sequence[float]], rate: str, style: tuple[str, str], label: str
) -> None:
    color, marker = style
    axes.scatter(each[rate], each["f1"], s=10, color=color, marker=marker, alpha=0.5, lw=0)
    mean = (np.mean(each[rate]), np.mean(each["f1"]))
    axes.scatter(*mean, s=52, color=color, marker=marker, label=label, zorder=3)
