"""_air_series: hourly station files as clean series. What is wrong with them is mended and counted.

Masked and counted: empty and unreadable cells, negative and infinite values, hours that are not in
the file, hours that are there twice with different values. Sorted and counted: rows out of order.
Converted and counted: columns whose header says mg/m3, times with a zone. Refused: times that
cannot be read or stand between the hours, zones mixed with bare times, concentrations that must be
in another unit, a station without a single value of the pollutant asked for.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.digests import digest, file_digest
from harness.errors import DataError

GASES = ("PM2.5", "PM10", "SO2", "NO2", "CO", "O3")
WEATHER = ("TEMP", "PRES", "DEWP", "RAIN", "WSPM", "WIND_EAST", "WIND_NORTH")
CHANNELS = (*GASES, *WEATHER)
"""Columns of a series: concentrations in ug/m3; degrees C, hPa, degrees C, mm, m/s; the direction
that the wind comes from as a unit vector."""
LOGGED = frozenset({*GASES, "RAIN"})
"""Never negative and heavy-tailed: read as log(1 + x)."""
WINDS = "N NNE NE ENE E ESE SE SSE S SSW SW WSW W WNW NW NNW".split()
ENOUGH = 18
"""Valid hours that a daily mean needs."""
HOUR = np.timedelta64(1, "h")
OFFSET_HOURS = 8
"""Of the clock of these stations: UTC+8 the whole year."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Series:
    """One station by the hour, without gaps in time; NaN where a value is missing."""

    station: str
    start: np.datetime64
    """The first hour, local time; always the beginning of a day."""
    values: NDArray[np.float32]
    """(24 D, C) in the units of CHANNELS."""
    faults: Mapping[str, int]
    """What was mended or masked, and how often."""
    origin: str = "generated"

    @property
    def days(self) -> int:
        """D."""
        return len(self.values) // 24

    @property
    def first_day(self) -> np.datetime64:
        """The day of the first hour."""
        return self.start.astype("datetime64[D]")

    def daily(self, channel: str) -> Floats:
        """(D,) mean of each day with at least 18 valid hours, else NaN."""
        hours = self.values[:, CHANNELS.index(channel)].astype(np.float64).reshape(-1, 24)
        valid = (~np.isnan(hours)).sum(axis=1)
        total = np.nansum(hours, axis=1)
        return np.where(valid >= ENOUGH, total / np.maximum(valid, 1), np.nan)

    def __str__(self) -> str:
        """Origin and faults in one line."""
        told = "".join(f", {count} {what}" for what, count in self.faults.items() if count)
        return f"{self.origin}, {self.days} days{told}"


def read_series(path: Path, station: str, needed: str = "PM2.5") -> Series:
    """A station's file, plain or gzip: `time`, or year, month, day and hour, and columns by name.

    Raises DataError with what was wrong and what would do.
    """
    import pandas as pd

    try:
        frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, ValueError, EOFError, pd.errors.ParserError) as error:
        raise DataError(f"{path} cannot be read as a table: {error}") from error
    if frame.empty:
        raise DataError(f"{path} holds no rows")
    faults: Counter[str] = Counter()
    times = _times(frame, path, faults)
    columns = _columns(frame, path, faults)
    if needed not in columns:
        raise DataError(f"{path} has no column {needed}; there are: {', '.join(frame.columns)}")
    values = np.full((len(frame), len(CHANNELS)), np.nan)
    for place, channel in enumerate(CHANNELS):
        if channel in columns:
            values[:, place] = columns[channel]
    start, whole = _by_the_hour(times, values, faults)
    if np.isnan(whole[:, CHANNELS.index(needed)]).all():
        raise DataError(f"station {station} has no valid {needed} at all in {path}; leave it out")
    faults["missing hours of " + needed] = int(np.isnan(whole[:, CHANNELS.index(needed)]).sum())
    origin = f"folder:{path.parent.name}/{path.name} sha256:{file_digest(path)[:16]}"
    return Series(station, start, whole.astype(np.float32), dict(faults), origin)


def _times(frame: Any, path: Path, faults: Counter[str]) -> NDArray[np.datetime64]:
    """(N,) local hours; a zone is moved to the stations' clock."""
    import pandas as pd

    if "time" in frame:
        text = frame["time"].str.strip()
    elif {"year", "month", "day", "hour"} <= set(frame):
        parts = [frame[name].str.strip().str.zfill(2) for name in ("month", "day", "hour")]
        text = frame["year"].str.strip() + "-" + parts[0] + "-" + parts[1] + "T" + parts[2] + ":00"
    else:
        raise DataError(f"{path} has no column time, nor year, month, day and hour")
    zoned = text.str.contains(r"(?:Z|[+-]\d\d:?\d\d)$", regex=True)
    if zoned.any() and not zoned.all():
        raise DataError(
            f"{path} mixes times with a zone and without: line {int(zoned.idxmax()) + 2} has one. "
            "Write all of them in local time, or all with their zone"
        )
    found = pd.to_datetime(text, errors="coerce", utc=bool(zoned.all()), format="ISO8601")
    if found.isna().any():
        line = int(found.isna().idxmax())
        raise DataError(f"{path}, line {line + 2}: '{text[line][:40]}' is no time")
    if zoned.all():
        faults["times moved to UTC+8"] = len(frame)
        found = (found + pd.Timedelta(hours=OFFSET_HOURS)).dt.tz_localize(None)
    times = found.to_numpy().astype("datetime64[s]")
    hours = times.astype("datetime64[h]")
    if (odd := np.flatnonzero(hours != times)).size:
        raise DataError(
            f"{path}, line {int(odd[0]) + 2}: {times[odd[0]]} stands between the hours; "
            "give hourly means"
        )
    return hours


def _columns(frame: Any, path: Path, faults: Counter[str]) -> dict[str, Floats]:
    """(N,) numbers of each known channel."""
    found: dict[str, Floats] = {}
    for header in frame.columns:
        name, unit = re.fullmatch(r"(.*?)\s*(?:[\[(](.*)[\])])?\s*", str(header)).groups()  # type: ignore[union-attr]
        channel = next((c for c in CHANNELS if c.lower() == name.strip().lower()), "")
        if name.strip().lower() in ("wd", "cbwd"):
            found |= _wind(frame[header], faults)
        if channel:
            found[channel] = _numbers(frame[header], channel, faults)
            if channel in GASES:
                found[channel] = _micrograms(found[channel], channel, unit, path, faults)
    return found


def _numbers(cells: Any, channel: str, faults: Counter[str]) -> Floats:
    import pandas as pd

    text = cells.str.strip()
    empty = text.str.lower().isin(["", "na", "nan", "null", "none"])
    read: Any = pd.to_numeric(text.where(~empty), errors="coerce")
    values: Floats = read.to_numpy(np.float64, na_value=np.nan)
    faults[f"unreadable cells of {channel}"] += int((np.isnan(values) & ~empty.to_numpy()).sum())
    faults[f"infinite values of {channel}"] += int(np.isinf(values).sum())
    values = np.where(np.isinf(values), np.nan, values)
    if channel in LOGGED or channel == "WSPM":
        faults[f"negative values of {channel}"] += int((values < 0).sum())
        values = np.where(values < 0, np.nan, values)
    return values


def _micrograms(
    values: Floats, channel: str, unit: str | None, path: Path, faults: Counter[str]
) -> Floats:
    """Concentrations in ug/m3; DataError where they cannot be in the unit that they are said."""
    told = (unit or "ug/m3").lower().replace("³", "3").replace("μ", "u").replace("µ", "u")
    if told not in ("ug/m3", "mg/m3"):
        raise DataError(f"{path}: {channel} is in '{unit}'; ug/m3 and mg/m3 are read")
    if told == "mg/m3":
        faults[f"values of {channel} converted from mg/m3"] = int((~np.isnan(values)).sum())
        values = 1000 * values
    cure = f"Convert it, or write the unit into the header: '{channel} (mg/m3)'"
    concentration_in_micrograms(values, channel, f"{path}: {channel}", cure)
    return values


def concentration_in_micrograms(
    values: NDArray[np.floating[Any]], channel: str, where: str, cure: str
) -> None:
    """DataError where the median of particles can be none in ug/m3; fewer than 48 tell nothing."""
    valid = values[~np.isnan(values)]
    if channel in ("PM2.5", "PM10") and len(valid) >= 48:
        middle = float(np.median(valid))
        if middle < 1 or middle > 2000:
            guess = "mg/m3" if middle < 1 else "ng/m3"
            raise DataError(
                f"{where} has a median of {middle:g}, which is no concentration in ug/m3 but may "
                f"be one in {guess}. {cure}"
            )


def _wind(cells: Any, faults: Counter[str]) -> dict[str, Floats]:
    """The direction as a unit vector towards where the wind comes from; calm is (0, 0)."""
    text = cells.str.strip().str.upper()
    angles = {name: 2 * np.pi * place / 16 for place, name in enumerate(WINDS)}
    known = text.map(angles).to_numpy(np.float64, na_value=np.nan)
    calm = text.isin(["CV", "CALM"]).to_numpy()
    empty = text.isin(["", "NA", "NAN"]).to_numpy()
    faults["unknown wind directions"] = int((np.isnan(known) & ~calm & ~empty).sum())
    return {
        "WIND_EAST": np.where(calm, 0.0, np.sin(known)),
        "WIND_NORTH": np.where(calm, 0.0, np.cos(known)),
    }


def _by_the_hour(
    times: NDArray[np.datetime64], values: Floats, faults: Counter[str]
) -> tuple[np.datetime64, Floats]:
    """Rows in order, one an hour, from the first hour of the first day to the last of the last."""
    faults["rows out of order"] = int((np.diff(times) < np.timedelta64(0, "h")).sum())
    order = np.argsort(times, kind="stable")
    times, values = times[order], values[order]
    start = times[0].astype("datetime64[D]").astype("datetime64[h]")
    end = (times[-1].astype("datetime64[D]") + 1).astype("datetime64[h]")
    length = int((end - start) / HOUR)
    if length > 100 * 366 * 24:
        raise DataError(f"times from {times[0]} to {times[-1]}: more than a century is no archive")
    places = ((times - start) / HOUR).astype(np.int64)
    whole = np.full((length, values.shape[1]), np.nan)
    _, firsts, counts = np.unique(places, return_index=True, return_counts=True)
    whole[places[firsts]] = values[firsts]
    for first, count in zip(firsts[counts > 1], counts[counts > 1], strict=True):
        rows = values[first : first + count]
        same = (rows == rows[0]) | (np.isnan(rows) & np.isnan(rows[0]))
        whole[places[first]] = np.where(same.all(axis=0), rows[0], np.nan)
        faults["repeats of an hour"] += int(count) - 1
        faults["values masked since an hour has several"] += int((~same.all(axis=0)).sum())
    faults["hours that are not in the file"] = length - len(firsts)
    return start, whole


def series_digest(series: Sequence[Series]) -> str:
    """Of all values."""
    return digest([[each.station, str(each.start), each.values] for each in series])
