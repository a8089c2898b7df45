"""Diagrams of boards: forecasts against what happened, and one metric against another.

Performance diagrams (Roebber 2009) and pairs of metrics are drawn from records alone; reliability
needs the rollouts of a run, so whoever can read them hands its numbers in.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from harness.digests import digest
from leaderboards.board import Drawing
from leaderboards.charts import MOST_LINES, Chart, Line, distinct, left_out
from leaderboards.rank import Ranking, setting
from leaderboards.sheets import row_names
from results.record import Record

CSI = (0.2, 0.4, 0.6, 0.8)
BIASES = (0.3, 0.5, 1.0, 2.0, 3.0)
STEPS = 40
"""Points of a curved guide."""


@dataclass(frozen=True)
class Reliable:
    """How often the event happened by how likely a run said it was; an entry a bin with cases."""

    forecast: list[float]
    """Mean probability."""
    observed: list[float]
    """Share of events."""
    count: list[int]
    """Cases."""
    brier: float


def board_charts(drawing: Drawing, reliable: Mapping[str, Reliable]) -> list[Chart]:
    """Everything that a board draws; `reliable` by run."""
    return [*_told_apart(performance(drawing.rankings)), *pair_charts(drawing, reliable)]


def pair_charts(drawing: Drawing, reliable: Mapping[str, Reliable]) -> list[Chart]:
    """Reliability of forecasts, and metrics that the board draws against each other."""
    charts = reliability(drawing.rankings, reliable)
    for x, y in drawing.board.against:
        charts += against(drawing.rankings, x, y)
    return _told_apart(charts)


def _told_apart(charts: Sequence[Chart]) -> list[Chart]:
    titles = distinct([chart.title for chart in charts])
    return [replace(chart, title=title) for chart, title in zip(charts, titles, strict=True)]


def performance(found: Iterable[Ranking]) -> list[Chart]:
    """POD over success ratio, 1 - far_ratio, for each setting that has both."""
    charts: list[Chart] = []
    for pairs in _paired(found, "far_ratio", "pod"):
        charts.append(
            Chart(
                title=f"{_place(pairs[0][0])}: performance diagram",
                about=left_out(
                    len(pairs),
                    "up and to the right is better: curves of equal CSI, rays of equal bias (above "
                    "1 the event is forecast too often)",
                ),
                x="success ratio (1 - far_ratio)",
                y="POD",
                lines=(*_guides(), *(_operating(name, pair) for name, pair in _named(pairs))),
                square=True,
            )
        )
    return charts


def reliability(found: Iterable[Ranking], reliable: Mapping[str, Reliable]) -> list[Chart]:
    """Share of events over the probability that was forecast, for each setting of forecasts."""
    charts: list[Chart] = []
    for pairs in _paired(found, "far_ratio", "pod"):
        told = [(record, other) for record, other in pairs if record.run in reliable]
        if not told:
            continue
        lines = [_reliable_line(name, reliable[pair[0].run]) for name, pair in _named(told)]
        charts.append(
            Chart(
                title=f"{_place(told[0][0])}: reliability diagram",
                about=left_out(
                    len(told),
                    "how often the event happened where it was forecast with a probability (the "
                    "share of a case's rollouts that say so), all leads; on the diagonal forecasts "
                    "mean what they say",
                ),
                x="forecast probability",
                y="share of events",
                lines=(Line(name="", x=(0.0, 1.0), y=(0.0, 1.0), shape="guide"), *lines),
                square=True,
            )
        )
    return charts


def against(found: Iterable[Ranking], x: str, y: str) -> list[Chart]:
    """One metric over another of the same runs, for each setting with two or more of both.

    What a recipe trained, and what came as it is, has a color each.
    """
    charts: list[Chart] = []
    for pairs in _paired(found, x, y):
        if len(pairs) < 2:
            continue
        names = row_names([record for record, _ in pairs])
        by_recipe: dict[str, list[int]] = {}
        for number, (record, _) in enumerate(pairs):
            by_recipe.setdefault(record.recipe, []).append(number)
        lines = [
            _cloud(recipe, [pairs[n] for n in members], [names[n] for n in members])
            for recipe, members in sorted(by_recipe.items())
        ]
        charts.append(
            Chart(
                title=f"{_place(pairs[0][0])}: {y} against {x}",
                about="each point is a row of the board, with its 95 % intervals; "
                "both numbers count, neither alone does",
                x=x,
                y=y,
                lines=tuple(lines),
            )
        )
    return charts


def _paired(found: Iterable[Ranking], x: str, y: str) -> list[list[tuple[Record, Record]]]:
    """Records of two metrics of the same runs, by what else they agree in, in the order of x."""
    firsts: dict[str, list[Record]] = {}
    seconds: dict[tuple[str, str], Record] = {}
    for ranking in found:
        if ranking.record.metric not in (x, y):
            continue
        alike = {**setting(ranking.record), "metric": "", "better": "", "unit": ""}
        key = digest(alike)
        for record in [*(place.record for place in ranking.places), *ranking.unranked]:
            if record.metric == x:
                firsts.setdefault(key, []).append(record)
            else:
                seconds[key, _run(record)] = record
    made = [
        [(one, seconds[key, _run(one)]) for one in ones if (key, _run(one)) in seconds]
        for key, ones in firsts.items()
    ]
    return [pairs for pairs in made if pairs]


def _run(record: Record) -> str:
    return digest([record.run, record.model, record.model_digest, record.recipe, record.base])


def _named(pairs: Sequence[tuple[Record, Record]]) -> list[tuple[str, tuple[Record, Record]]]:
    """The first pairs, as many as an eye can follow, by the names of their rows."""
    kept = pairs[:MOST_LINES]
    return list(zip(row_names([record for record, _ in kept]), kept, strict=True))


def _place(record: Record) -> str:
    return f"{record.task} v{record.version} {record.split}"


def _operating(name: str, pair: tuple[Record, Record]) -> Line:
    """A forecaster's point in a performance diagram."""
    far, pod = pair
    known = all(math.isfinite(end) for end in (far.low, far.high, pod.low, pod.high))
    return Line(
        name=name,
        x=(1 - far.value,),
        y=(pod.value,),
        low=(pod.low,) if known else (),
        high=(pod.high,) if known else (),
        x_low=(1 - far.high,) if known else (),
        x_high=(1 - far.low,) if known else (),
        shape="points",
    )


def _reliable_line(name: str, told: Reliable) -> Line:
    return Line(
        name=f"{name} (Brier {told.brier:.3f})",
        x=tuple(told.forecast),
        y=tuple(told.observed),
        labels=tuple(f"{count:,} cases" for count in told.count),
    )


def _cloud(recipe: str, pairs: Sequence[tuple[Record, Record]], names: Sequence[str]) -> Line:
    """The points of what one recipe trained, or of models as they came."""
    both = [record for pair in pairs for record in pair]
    known = all(math.isfinite(r.low) and math.isfinite(r.high) for r in both)
    return Line(
        name=recipe or "as it came",
        x=tuple(one.value for one, _ in pairs),
        y=tuple(other.value for _, other in pairs),
        low=tuple(other.low for _, other in pairs) if known else (),
        high=tuple(other.high for _, other in pairs) if known else (),
        x_low=tuple(one.low for one, _ in pairs) if known else (),
        x_high=tuple(one.high for one, _ in pairs) if known else (),
        labels=tuple(names),
        shape="points",
    )


def _guides() -> list[Line]:
    """Lines of equal CSI and of equal bias."""
    lines: list[Line] = []
    for csi in CSI:
        x = [csi + (1 - csi) * n / STEPS for n in range(STEPS + 1)]
        y = [min(1.0, 1 / (1 / csi - 1 / each + 1)) for each in x]
        lines.append(Line(name=f"CSI {csi:g}", x=tuple(x), y=tuple(y), shape="guide"))
    for bias in BIASES:
        end = (min(1.0, 1 / bias), min(1.0, bias))
        lines.append(Line(name=f"bias {bias:g}", x=(0.0, end[0]), y=(0.0, end[1]), shape="guide"))
    return lines
