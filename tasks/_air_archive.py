"""_air_archive: whole archives of forecasts judged at once, as arrays instead of rollouts.

For what forecast centers have: every station, day and lead of some years. The rules are those of
the family: classes closed on the right, a missing forecast is a wrong class, pairs need an
observation, intervals resample blocks of five days.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.errors import DataError, need
from harness.verification import EVENT_SCORES, Counts, class_accuracy, classes_of, macro_f1
from tasks._air_cases import BLOCK, CLASSES

DRAWS = 1000
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Archive:
    """Forecasts by lead and target day, beside what was observed."""

    forecast: NDArray[np.floating[Any]]
    """(L, D, S) ug/m3, NaN where there is none."""
    observed: NDArray[np.floating[Any]]
    """(D, S) ug/m3, NaN where there is none."""
    leads: Sequence[int]
    first: np.datetime64
    """The first target day."""
    stations: Sequence[str] = ()

    def __post_init__(self) -> None:
        leads, days, stations = self.forecast.shape
        if self.observed.shape != (days, stations) or len(self.leads) != leads:
            raise DataError(
                f"forecasts are {self.forecast.shape} (lead, day, station), observations "
                f"{self.observed.shape} and there are {len(self.leads)} leads"
            )


def from_xarray(dataset: Any) -> Archive:
    """A Dataset with `forecast` (lead, day, station) and `observed` (day, station).

    Days must be in order and without repeats; leads are hours. The extra `air` has xarray.
    """
    need("xarray", "air", "archives of forecasts")
    for name in ("forecast", "observed", "lead", "day"):
        if name not in dataset:
            raise DataError(
                f"the archive has no '{name}'; there are: {', '.join(dataset.variables)}"
            )
    days = dataset["day"].values.astype("datetime64[D]")
    if (np.diff(days) != np.timedelta64(1, "D")).any():
        raise DataError("the archive's days are not one after another; sort them and fill gaps")
    forecast = dataset["forecast"].transpose("lead", "day", "station")
    return Archive(
        forecast.values,
        dataset["observed"].transpose("day", "station").values,
        [int(lead) for lead in dataset["lead"].values],
        days[0],
        [str(name) for name in dataset["station"].values] if "station" in dataset else (),
    )


def verified(archive: Archive, edges: Sequence[float], event: int) -> dict[str, Any]:
    """Scores by lead (with intervals), by station and by month; `event` is its first class."""
    seen = classes_of(archive.observed, edges)
    days, stations = seen.shape
    block = np.arange(days) // BLOCK
    months = (archive.first + np.arange(days)).astype("datetime64[M]").astype(np.int64) % 12
    chosen = np.random.default_rng(0).integers(block[-1] + 1, size=(DRAWS, block[-1] + 1))
    by_station, by_month = np.zeros((stations, 4)), np.zeros((12, 4))
    found: dict[str, Any] = {"lead": {}, "pairs": 0}
    for place, lead in enumerate(archive.leads):
        said = classes_of(archive.forecast[place], edges)
        cells = _cells(said, seen, event)
        by_day = cells.sum(axis=2).T
        by_station += cells.sum(axis=1).T
        np.add.at(by_month, months, by_day)
        sums = np.zeros((block[-1] + 1, 4))
        np.add.at(sums, block, by_day)
        confusion = _confusion(said, seen)
        found["lead"][str(lead)] = {
            **_with_intervals(sums, chosen),
            "macro_f1": float(macro_f1(confusion)),
            "accuracy": float(class_accuracy(confusion)),
            "n": int(by_day.sum()),
        }
        found["pairs"] += int(by_day.sum())
    names = list(archive.stations) or [str(number) for number in range(stations)]
    found["station"] = {n: _scores(table) for n, table in zip(names, by_station, strict=True)}
    found["month"] = {f"{m + 1:02}": _scores(table) for m, table in enumerate(by_month)}
    return found


def _cells(said: NDArray[np.intp], seen: NDArray[np.intp], event: int) -> NDArray[np.bool_]:
    """(4, D, S) hits, false alarms, misses and correct negatives."""
    known, happened = seen >= 0, seen >= event
    alarm = np.where(said >= 0, said >= event, ~happened)
    return np.stack([
        known & happened & alarm, known & ~happened & alarm,
        known & happened & ~alarm, known & ~happened & ~alarm,
    ])  # fmt: skip


def _confusion(said: NDArray[np.intp], seen: NDArray[np.intp]) -> Floats:
    """(K, K + 1) observed by forecast class; the last column holds missing forecasts."""
    size = len(CLASSES)
    kept = seen >= 0
    column = np.where(said[kept] < 0, size, said[kept])
    flat = np.bincount(seen[kept] * (size + 1) + column, minlength=size * (size + 1))
    return flat.reshape(size, size + 1).astype(np.float64)


def _with_intervals(sums: Floats, chosen: NDArray[np.int64]) -> dict[str, Any]:
    """Every event score with the 95 % interval of draws of whole blocks."""
    drawn = sums[chosen].sum(axis=1)
    found: dict[str, Any] = {}
    for name, score in EVENT_SCORES.items():
        values = score.of(Counts.stacked(drawn))
        known = values[np.isfinite(values)]
        found[name] = float(score.of(Counts.stacked(sums.sum(axis=0))))
        if len(known):
            low, high = np.quantile(known, (0.025, 0.975))
            found |= {f"{name}_low": float(low), f"{name}_high": float(high)}
    return found


def _scores(table: Floats) -> Mapping[str, float]:
    return {n: float(score.of(Counts.stacked(table))) for n, score in EVENT_SCORES.items()}
