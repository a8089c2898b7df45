"""_air_cases: what is asked about a station: issue days, splits, and the arrays of a prompt.

A forecast is issued at the end of a day and is for the daily means of 2, 3, 4 and 5 days later
(leads of 48 to 120 h). A split is a period of target days. Within the training period every fifth
30 days are dev; five days on both sides of them, and before the test, belong to no split. What a
prompt holds of a station's climate comes from the training period alone (which for the first test
days ends up to four days after the issue day), and nothing else in it is younger than that day.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness import Example, Message, Prompt, Split
from tasks._air_series import CHANNELS, LOGGED, Series

LEADS = (48, 72, 96, 120)
"""Hours from the end of the issue day to the end of the target day."""
HISTORY = 168
"""Hours of a prompt."""
BLOCK = 5
"""Days of a cluster for intervals; no forecast reaches further."""
DEV_BLOCK, DEV_EVERY, EMBARGO = 30, 5, 5
EDGES: Mapping[str, tuple[float, float, float]] = {"PM2.5": (15, 35, 75), "PM10": (30, 80, 150)}
"""Upper edges of good, moderate and bad, in ug/m3; a value on an edge belongs to the better."""
CLASSES = ("good", "moderate", "bad", "very bad")

Floats = NDArray[np.float64]
Days = tuple[str, str]


@dataclass(frozen=True)
class Periods:
    """First and last target day of training (with dev) and of the test."""

    train: Days
    test: Days

    def splits(self, first: np.datetime64, days: int) -> NDArray[np.str_]:
        """(D,) the split of each target day; empty where it belongs to none."""
        found = np.full(days, "", dtype="<U5")
        day = np.arange(days)
        begin, end = (_offset(each, first) for each in self.train)
        within = (day >= begin) & (day <= end)
        block = (day - begin) // DEV_BLOCK
        dev = within & (block % DEV_EVERY == DEV_EVERY - 2)
        near = np.convolve(dev, np.ones(2 * EMBARGO + 1), "same") > 0
        found[within & ~near & (day <= end - EMBARGO)] = "train"
        found[dev & (day <= end - EMBARGO)] = "dev"
        found[(day >= _offset(self.test[0], first)) & (day <= _offset(self.test[1], first))] = (
            "test"
        )
        return found

    def training(self, first: np.datetime64, days: int) -> NDArray[np.bool_]:
        """(D,) whether a day lies in the training period: where climate is taken from."""
        begin, end = (_offset(each, first) for each in self.train)
        return (np.arange(days) >= begin) & (np.arange(days) <= end)


def _offset(day: str, first: np.datetime64) -> int:
    return int((np.datetime64(day, "D") - first) / np.timedelta64(1, "D"))


@dataclass(frozen=True, eq=False)
class Site:
    """A station with its climate, ready to be asked about."""

    series: Series
    pollutant: str
    periods: Periods

    @cached_property
    def daily(self) -> Floats:
        """(D,) daily means of the pollutant in ug/m3."""
        return self.series.daily(self.pollutant)

    @cached_property
    def splits(self) -> NDArray[np.str_]:
        """(D,) the split of each target day."""
        return self.periods.splits(self.series.first_day, self.series.days)

    @cached_property
    def months(self) -> NDArray[np.int64]:
        """(D,) calendar month of each day, 0 to 11."""
        days = self.series.first_day + np.arange(self.series.days)
        return days.astype("datetime64[M]").astype(np.int64) % 12

    @cached_property
    def normals(self) -> Floats:
        """(12,) mean of the daily means of each calendar month in the training period, ug/m3."""
        known = self._training & ~np.isnan(self.daily)
        overall = self.daily[known].mean() if known.any() else np.nan
        monthly = [self.daily[known & (self.months == month)] for month in range(12)]
        return np.array([each.mean() if len(each) else overall for each in monthly])

    @cached_property
    def scales(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """(C,) center and spread of every channel in the training period, as `transformed`."""
        hours = transformed(self.series.values[np.repeat(self._training, 24)])
        known = ~np.isnan(hours)
        count = np.maximum(known.sum(axis=0), 1)
        center = np.where(known, hours, 0).sum(axis=0) / count
        spread = np.sqrt(np.where(known, (hours - center) ** 2, 0).sum(axis=0) / count)
        spread = np.where(spread > 1e-6, spread, 1.0)
        return center.astype(np.float32), spread.astype(np.float32)

    @property
    def _training(self) -> NDArray[np.bool_]:
        return self.periods.training(self.series.first_day, self.series.days)

    def cases(self, split: Split) -> list[int]:
        """Issue days, as numbers, for which some target of the split was observed."""
        asked = (self.splits == split) & ~np.isnan(self.daily)
        return [day for day in range(HISTORY // 24 - 1, self.series.days) if self._any(asked, day)]

    def _any(self, asked: NDArray[np.bool_], day: int) -> bool:
        return any(asked[t] for t in targets(day) if t < len(asked))

    def example(self, member: str, split: Split, day: int) -> Example:
        """The forecast issued at the end of a day; targets of other splits are None."""
        found = [
            float(self.daily[t]) if t < len(self.daily) and self._counts(split, t) else None
            for t in targets(day)
        ]
        issued = str(self.series.first_day + day)
        return Example(
            f"{member}/{split}/{self.series.station}/{issued}",
            {
                "station": self.series.station,
                "issued": issued,
                "known": bool(np.isfinite(self.daily[day])),
            },
            found,
            {"station": self.series.station, "month": issued[5:7], "block": _block(issued)},
        )

    def _counts(self, split: Split, day: int) -> bool:
        return self.splits[day] == split and bool(np.isfinite(self.daily[day]))

    def content(self, issued: str) -> dict[str, Any]:
        """What a model reads: arrays, and what their axes are."""
        day = _offset(issued, self.series.first_day)
        end = 24 * (day + 1)
        center, spread = self.scales
        ahead = [np.datetime64(issued, "D") + lead // 24 for lead in LEADS]
        months = [int(each.astype("datetime64[M]").astype(np.int64) % 12) for each in ahead]
        return {
            "station": self.series.station,
            "issued": issued,
            "pollutant": self.pollutant,
            "unit": "ug/m3",
            "leads": np.array(LEADS),
            "columns": list(CHANNELS),
            "logged": [channel in LOGGED for channel in CHANNELS],
            "history": self.series.values[end - HISTORY : end],
            "center": center,
            "spread": spread,
            "season": np.array([season(each) for each in ahead], np.float32),
            "normal": self.normals[months].astype(np.float32),
        }


def targets(day: int) -> list[int]:
    """The target day of each lead."""
    return [day + lead // 24 for lead in LEADS]


def transformed(values: NDArray[np.float32]) -> Floats:
    """(..., C) with log(1 + x) of what is heavy-tailed; NaN stays."""
    logged = np.array([channel in LOGGED for channel in CHANNELS])
    wide = values.astype(np.float64)
    return np.where(logged, np.log1p(np.maximum(np.where(logged, wide, 0), 0)), wide) + 0 * wide


def season(day: np.datetime64) -> tuple[float, float]:
    """Sine and cosine of the day of the year."""
    phase = int((day - day.astype("datetime64[Y]").astype("datetime64[D]")).astype(int)) / 365.25
    return float(np.sin(2 * np.pi * phase)), float(np.cos(2 * np.pi * phase))


def _block(issued: str) -> str:
    return str(int(np.datetime64(issued, "D").astype(int)) // BLOCK)


@dataclass(frozen=True, eq=False)
class Sites:
    """The stations of a member, asked together."""

    member: str
    sites: tuple[Site, ...]
    left_out: tuple[str, ...] = ()
    """Stations without any value, and why."""

    @lru_cache(maxsize=8)  # noqa: B019  frozen, and few in a process
    def examples(self, split: Split) -> Sequence[Example]:
        """All cases of a split, by day and station."""
        asked = [(day, site) for site in self.sites for day in site.cases(split)]
        days = [
            (site.series.first_day + day, site.series.station, day, site) for day, site in asked
        ]
        ordered = sorted(days, key=lambda each: each[:2])
        return tuple(site.example(self.member, split, day) for _, _, day, site in ordered)

    def prompt(self, example: Example) -> Prompt:
        """The arrays as one message."""
        site = self.site(example)
        return Prompt(example, (Message("user", site.content(example.inputs["issued"])),))

    def site(self, example: Example) -> Site:
        """The station of an example."""
        name = example.inputs["station"]
        return next(site for site in self.sites if site.series.station == name)
