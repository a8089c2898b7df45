"""`harness publish --pictures`: the plots of boards, recipes and runs as PNG and SVG."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from leaderboards.board import Drawing
    from leaderboards.charts import Chart
    from leaderboards.diagrams import Reliable
    from results.record import Record


def draw_pictures(
    drawings: Sequence[Drawing], output: Path, folder: Path, *, dry_run: bool
) -> list[str]:
    """Dots of every ranking, diagrams of boards, recipes at equal budgets, curves of trainings."""
    from leaderboards.forecast_pictures import of_records
    from leaderboards.pictures import FORMATS, dots, plot

    written: list[str] = []
    for drawing in drawings:
        if drawing.board.layout != "rankings":
            continue
        for number, ranking in enumerate(drawing.rankings):
            if not ranking.places:
                continue
            name = f"{ranking.record.task} {ranking.record.metric}"
            stem = folder / f"{drawing.board.name}-{number:02}-{_safe(name)}"
            if not dry_run:
                dots(ranking, stem)
            written += [f"{stem}.{kind}" for kind in FORMATS]
        forecasts = [place.record for ranking in drawing.rankings for place in ranking.places]
        if not dry_run:
            written += map(str, of_records(forecasts, folder))
    for name, chart in _charts(drawings, output):
        stem = folder / _safe(f"{name} {chart.title}")
        if not dry_run:
            plot(chart, stem)
        written += [f"{stem}.{kind}" for kind in FORMATS]
    return written + _curves(output, folder, dry_run=dry_run)


def _charts(drawings: Sequence[Drawing], output: Path) -> Iterator[tuple[str, Chart]]:
    """The charts of boards and of recipes, with what they belong to."""
    from leaderboards.diagrams import pair_charts
    from leaderboards.site.folders import folders
    from leaderboards.site.trainings import budget_charts, learning, profiles

    for drawing in drawings:
        records = [place.record for found in drawing.rankings for place in found.places]
        for chart in pair_charts(drawing, reliabilities(records, output)):
            yield drawing.board.name, chart
    there = [folder for folder in folders(output, []).values() if folder.recipe]
    learned = [found for folder in there if (found := learning(folder)) is not None]
    for chart in (*profiles(learned), *budget_charts(learned)):
        yield "recipes", chart


def reliabilities(records: Iterable[Record], output: Path) -> Mapping[str, Reliable]:
    """What the rollouts that lie here tell of the probabilities of forecasts, by run."""
    from harness.commands.forecasts import FAMILY, reliable
    from results.run import RunFolder

    runs = dict.fromkeys(record.run for record in records if record.family == FAMILY)
    found = {run: reliable(RunFolder(output / "runs" / Path(run).name)) for run in runs}
    return {run: told for run, told in found.items() if told is not None}


def _curves(output: Path, folder: Path, *, dry_run: bool) -> list[str]:
    """The curve of every run that was trained."""
    from harness.commands import screen
    from harness.errors import DataError
    from leaderboards.pictures import FORMATS, curve

    written: list[str] = []
    for metrics in sorted((output / "runs").glob("*/metrics.jsonl*")):
        stem = folder / metrics.parent.name
        try:
            if not dry_run:
                curve(metrics.parent, stem)
        except DataError as error:
            screen.say(f"no curve: {error}")
            continue
        written += [f"{stem}.{kind}" for kind in FORMATS]
    return written


def _safe(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-")[:80]
