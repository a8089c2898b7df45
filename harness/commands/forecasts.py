"""`harness forecasts`: a run of forecasts by lead, station and month, with skill and pictures.

Of fields there are leads and months, cells are what is counted, and references are runs of their
own (`--model persistence`), to be compared by `harness compare`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from leaderboards.diagrams import Reliable
    from results.run import RunFolder
    from tasks._air_report import Cases

Flag = typer.Option
FAMILY = "airquality"
"""Of the tasks whose verdicts tell forecast and observed classes."""
SHOWN = ("n", "pss", "pod", "far_ratio", "pofd", "csi", "f1", "bias", "ets")
"""What a terminal has room for; --json has all."""


def run(
    place: Annotated[str, typer.Argument(metavar="RUN", help="its folder, or (part of) its id")],
    pictures: Annotated[
        Path | None, Flag("--pictures", help="a folder for diagrams as PNG and SVG")
    ] = None,
    output: Annotated[Path, Flag("--output-dir", "-o")] = Path("results"),
    as_json: Annotated[bool, Flag("--json", help="the tables as JSON")] = False,
) -> None:
    """Take a run of forecasts apart: every score by lead, station and month, and skill."""
    from harness.commands import screen
    from results.run import find_run
    from tasks._air_report import Cases

    folder = find_run(place, output)
    asks = folder.manifest.get("asks", {})
    journal = folder.rollouts
    cases = cases_of(journal.read(), asks.get("settings", {}))
    tables = {name: scores_by(cases, groups) for name, groups in cases.groups().items()}
    stations = isinstance(cases, Cases)
    skill = {n: cases.skill(rows) for n, rows in cases.by_lead().items()} if stations else {}
    written = draw(cases, folder.path.name, pictures) if pictures is not None else []
    if as_json:
        screen.emit({"run": folder.path.name, **tables, "skill": skill, "files": written})
        return
    for name, table in tables.items():
        columns = [c for c in next(iter(table.values())) if c in SHOWN]
        rows = [[str(key), *(_shown(row[c]) for c in columns)] for key, row in table.items()]
        screen.table(f"{folder.path.name}, by {name}", [name, *columns], rows)
    references = [*next(iter(skill.values()), ())]
    if references:
        rows = [[str(key), *(_shown(each[r]) for r in references)] for key, each in skill.items()]
        screen.table("skill (Heidke) against", ["lead", *references], rows)
    for source, told in folder.manifest.get("environment", {}).get("data", {}).items():
        print(f"{source}: {told}")
    if journal.damaged:
        screen.say(f"{journal.damaged} lines of {journal.path} could not be read")
    for path in written:
        print(f"wrote {path}")


def cases_of(lines: Iterable[Mapping[str, Any]], settings: Mapping[str, Any]) -> Any:
    """Pairs of stations or of fields, as the first line is; UsageError where it is neither."""
    from harness.errors import UsageError
    from tasks._air_grid_report import FieldCases
    from tasks._air_report import Cases

    rest = iter(lines)
    first = list(islice(rest, 1))
    every = chain(first, rest)
    try:
        if first and FieldCases.told(first[0]):
            return FieldCases.of(every)
        return Cases.of(every, settings)
    except (LookupError, ValueError, TypeError, AttributeError) as error:
        raise UsageError(
            f"a line of this run is not as an evaluation writes it ({type(error).__name__}: "
            f"{error}); `harness rescore` says which, evaluate again for a whole one"
        ) from error


def scores_by(cases: Any, groups: dict[Any, list[int]]) -> dict[str, dict[str, float]]:
    """Pairs and every score of each group; NaN where a score has no number."""
    from harness.verification import EVENT_SCORES

    found: dict[str, dict[str, float]] = {}
    for key, rows in groups.items():
        table = cases.table(rows)
        scores = {name: float(score.of(table)) for name, score in EVENT_SCORES.items()}
        found[str(key)] = {"n": float(table.n), **scores}
    return found


def reliable(folder: RunFolder) -> Reliable | None:
    """The reliability of a run over all leads; None where it stores no forecasts."""
    from harness.errors import HarnessError
    from leaderboards.diagrams import Reliable
    from tasks._air_report import Cases

    try:
        settings = folder.manifest.get("asks", {}).get("settings", {})
        cases = Cases.of(folder.rollouts.read(), settings)
    except (HarnessError, LookupError, ValueError, TypeError, AttributeError, ArithmeticError):
        return None  # a damaged run has no diagram; `harness forecasts` says what is wrong
    found = cases.reliability(range(len(cases.lead)))
    kept = found.count > 0
    return Reliable(
        found.forecast[kept].tolist(),
        found.observed[kept].tolist(),
        found.count[kept].tolist(),
        found.brier,
    )


def draw(cases: Any, name: str, folder: Path) -> list[str]:
    """Performance by lead; of stations reliability, and each one's first lead with its alarms."""
    from harness.verification import far_ratio, pod
    from leaderboards import forecast_pictures as pictures
    from tasks._air_report import Cases

    leads: dict[int, list[int]] = cases.groups()["lead"]
    tables = {lead: cases.table(rows) for lead, rows in leads.items()}
    points = [
        pictures.Operating(f"{lead} h", [1 - float(far_ratio(t))], [float(pod(t))])
        for lead, t in tables.items()
    ]
    written = pictures.performance(points, folder / "performance", name)
    if isinstance(cases, Cases):
        found = {f"{lead} h": cases.reliability(rows) for lead, rows in leads.items()}
        written += pictures.reliability_diagram(found, folder / "reliability", name)
        written += _alarms(cases, folder)
    return list(map(str, written))


def _alarms(cases: Cases, folder: Path) -> list[Path]:
    import numpy as np

    from leaderboards import forecast_pictures as pictures
    from tasks._air_cases import EDGES

    written: list[Path] = []
    first = min(cases.lead)
    edge = EDGES[cases.pollutant][cases.event - 1]
    for station, rows in cases.by_station().items():
        shown = sorted((n for n in rows if cases.lead[n] == first), key=cases.target)
        if not shown or min(cases.observed[n] for n in shown) < 0:
            continue  # told in words: there is no series
        said = np.array([cases.forecast[n] for n in shown], np.float64)
        said[said < 0] = np.nan
        written += pictures.alarms(
            [str(cases.target(n)) for n in shown],
            np.array([cases.observed[n] for n in shown]),
            said,
            edge,
            folder / f"alarms-{station}",
        )
    return written


def _shown(value: float) -> str:
    if value != value:
        return "none"
    return f"{value:.0f}" if value == int(value) and abs(value) > 1 else f"{value:.3f}"
