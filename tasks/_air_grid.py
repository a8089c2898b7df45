"""_air_grid: fields every few hours, and what is asked about them.

A forecast is issued with the last frame of a day and is for the frames so many hours later, in
every cell. A split is a period of target days, as at stations; an example belongs to it if all its
targets do. What a prompt holds of the climate comes from the training period alone, and nothing
else in it is younger than the issue time. Fields stay in their archive: an example names its time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness import Example, Message, Prompt, Split
from harness.errors import DataError
from tasks._air_cases import BLOCK, EDGES, Periods, season

HOURS = 6
"""From a frame to the next."""
FRAMES = 8
"""Of a prompt's history: two days."""
LOGGED = frozenset({"PM2.5", "PM10", "SO2", "NO2", "CO", "O3", "RAIN", "PBL"})
"""Never negative and heavy-tailed: read as log(1 + x)."""
CLIMATE = 3000
"""Frames of the training period that its climate is taken from, at most: evenly spread."""

Fields = NDArray[np.float32]
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Grid:
    """An archive of fields without gaps in time; NaN where a value is missing."""

    name: str
    start: np.datetime64
    """Of the first frame, in hours; frames stand at 0, 6, 12 and 18 h, or so many hours later."""
    columns: Sequence[str]
    """Of the C layers of a frame: concentrations in ug/m3; degrees C, hPa, mm in the hours of a
    frame, m/s to the east and to the north, m."""
    frame: Callable[[int], Fields]
    """(C, Y, X) of a frame that is there."""
    present: NDArray[np.bool_]
    """(F,) frames that are there."""
    cells: NDArray[np.bool_]
    """(Y, X) cells that are asked for."""
    faults: Mapping[str, int]
    """What was mended or masked, and how often."""
    origin: str = "generated"

    def time(self, frame: int) -> np.datetime64:
        """Of a frame."""
        return self.start + frame * np.timedelta64(HOURS, "h")

    def number(self, time: str) -> int:
        """Of the frame of a time."""
        return int((np.datetime64(time, "h") - self.start) / np.timedelta64(HOURS, "h"))

    def __str__(self) -> str:
        """Origin and faults in one line."""
        told = "".join(f", {count} {what}" for what, count in self.faults.items() if count)
        height, width = self.cells.shape
        return f"{self.origin}, {int(self.present.sum())} frames of {height} x {width} cells{told}"


@dataclass(frozen=True)
class Climate:
    """What the training period tells."""

    normals: Floats
    """(12, 24 / HOURS, Y, X) mean concentration by calendar month and time of the day, ug/m3."""
    center: NDArray[np.float32]
    spread: NDArray[np.float32]
    """(C,) over all cells, after log(1 + x) of what is heavy-tailed."""


@dataclass(frozen=True, eq=False)
class Region:
    """A grid with its climate, ready to be asked about."""

    member: str
    grid: Grid
    pollutant: str
    periods: Periods
    leads: tuple[int, ...]
    """Hours from the issue time to the target's."""

    @cached_property
    def days(self) -> NDArray[np.datetime64]:
        """(F,) the day of each frame."""
        hours = self.grid.start + np.arange(len(self.grid.present)) * np.timedelta64(HOURS, "h")
        return hours.astype("datetime64[D]")

    @cached_property
    def splits(self) -> NDArray[np.str_]:
        """(F,) the split of each frame as a target."""
        first = self.days[0]
        by_day = self.periods.splits(first, int((self.days[-1] - first).astype(int)) + 1)
        return by_day[(self.days - first).astype(int)]

    @cached_property
    def climate(self) -> Climate:
        """One pass over the training period's frames; DataError where there are none."""
        begin, end = (np.datetime64(each, "D") for each in self.periods.train)
        kept = np.flatnonzero((self.days >= begin) & (self.days <= end) & self.grid.present)
        if not len(kept):
            raise DataError(
                f"{self.grid.name} has no frame from {begin} to {end}: its climate, which every "
                f"prompt tells, comes from there ({self.grid})"
            )
        kept = kept[:: -(-len(kept) // CLIMATE)]
        layer, shape = list(self.grid.columns).index(self.pollutant), self.grid.cells.shape
        total = np.zeros((12, 24 // HOURS, *shape))
        count = np.zeros_like(total)
        sums = np.zeros((3, len(self.grid.columns)))
        for number in kept:
            frame = self._frame(int(number))
            place = self._when(self.grid.time(int(number)))
            known = ~np.isnan(frame[layer])
            total[place] += np.where(known, frame[layer], 0)
            count[place] += known
            sums += _moments(transformed(frame, self.grid.columns))
        size = np.maximum(sums[0], 1)
        center = sums[1] / size
        spread = np.sqrt(np.maximum(sums[2] / size - center**2, 0))
        spread = np.where(spread > 1e-6, spread, 1.0)
        return Climate(_filled(total, count), center.astype(np.float32), spread.astype(np.float32))

    @lru_cache(maxsize=8)  # noqa: B019  frozen, and few in a process
    def examples(self, split: Split) -> Sequence[Example]:
        """One a day, where all frames that are asked for are there."""
        ahead = np.array(self.leads) // HOURS
        found: list[Example] = []
        for issue in range(FRAMES - 1, len(self.days) - int(ahead.max())):
            if self.days[issue + 1] == self.days[issue]:
                continue
            targets = issue + ahead
            if self.grid.present[[issue, *targets]].all() and (self.splits[targets] == split).all():
                found.append(self._example(split, str(self.grid.time(issue))))
        return tuple(found)

    def _example(self, split: Split, issued: str) -> Example:
        return Example(
            f"{self.member}/{split}/{self.grid.name}/{issued}",
            {"issued": issued, "archive": self.grid.origin},
            None,
            {"month": issued[5:7], "block": _block(issued)},
        )

    def prompt(self, example: Example) -> Prompt:
        """The arrays as one message."""
        return Prompt(example, (Message("user", self.content(example.inputs["issued"])),))

    def content(self, issued: str) -> dict[str, Any]:
        """What a model reads: arrays, and what their axes are."""
        issue, climate = self.grid.number(issued), self.climate
        ahead = [self.grid.time(issue + lead // HOURS) for lead in self.leads]
        return {
            "region": self.grid.name,
            "issued": issued,
            "pollutant": self.pollutant,
            "unit": "ug/m3",
            "hours": HOURS,
            "leads": np.array(self.leads),
            "columns": list(self.grid.columns),
            "logged": [column in LOGGED for column in self.grid.columns],
            "history": np.stack([self._frame(n) for n in range(issue - FRAMES + 1, issue + 1)]),
            "center": climate.center,
            "spread": climate.spread,
            "season": np.array(
                [season(each.astype("datetime64[D]")) for each in ahead], np.float32
            ),
            "normal": np.stack([climate.normals[self._when(each)] for each in ahead]).astype("f4"),
            "cells": self.grid.cells,
            "edges": list(EDGES[self.pollutant]),
        }

    def observed(self, example: Example) -> Fields:
        """(L, Y, X) ug/m3; NaN where nothing was observed, or is asked."""
        issue = self.grid.number(example.inputs["issued"])
        layer = list(self.grid.columns).index(self.pollutant)
        return np.stack([self._frame(issue + lead // HOURS)[layer] for lead in self.leads])

    def _frame(self, number: int) -> Fields:
        """(C, Y, X); NaN where the frame is missing, and in cells that are not asked for."""
        if not self.grid.present[number]:
            return np.full((len(self.grid.columns), *self.grid.cells.shape), np.nan, np.float32)
        return np.where(self.grid.cells, self.grid.frame(number), np.float32(np.nan))

    def _when(self, time: np.datetime64) -> tuple[int, int]:
        """Calendar month and time of the day, as places among the normals."""
        month = int(time.astype("datetime64[M]").astype(int)) % 12
        return month, int((time - time.astype("datetime64[D]")).astype(int)) // HOURS


def transformed(frame: Fields, columns: Sequence[str]) -> Floats:
    """(C, Y, X) with log(1 + x) of what is heavy-tailed; NaN stays."""
    values = frame.astype(np.float64)
    logged = [place for place, column in enumerate(columns) if column in LOGGED]
    values[logged] = np.log1p(np.maximum(values[logged], 0))  # NaN passes through both
    return values


def _moments(layers: Floats) -> Floats:
    """(3, C) count, sum and sum of squares of what is known."""
    known = ~np.isnan(layers)
    values = np.where(known, layers, 0)
    return np.stack([each.sum(axis=(1, 2)) for each in (known, values, values**2)])


def _filled(total: Floats, count: Floats) -> Floats:
    """Means; a cell without any of a month and time has that of the whole field then, or ever."""
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = total / count
        then = total.sum((2, 3), keepdims=True) / count.sum((2, 3), keepdims=True)
        ever = total.sum() / count.sum()
    mean = np.where(np.isnan(mean), then, mean)
    return np.where(np.isnan(mean), ever, mean)


def _block(issued: str) -> str:
    return str(int(np.datetime64(issued, "D").astype(int)) // BLOCK)
