"""settings: what a forecasting network is made of; stored with its weights."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from harness.errors import UsageError

CHANNELS = (
    "PM2.5", "PM10", "SO2", "NO2", "CO", "O3",
    "TEMP", "PRES", "DEWP", "RAIN", "WSPM", "WIND_EAST", "WIND_NORTH",
)  # fmt: skip
GRID_CHANNELS = ("PM2.5", "PM10", "TEMP", "PRES", "RAIN", "U", "V", "PBL")


@dataclass(frozen=True, kw_only=True)
class ForecastSettings:
    """A network, and how it draws."""

    kind: Literal["station", "grid"] = "station"
    """What is forecast: one series, or a field."""
    head: Literal["gaussian", "classes"] = "gaussian"
    """What a lead is drawn from: a Gaussian of the log concentration, or classes."""
    channels: tuple[str, ...] = CHANNELS
    """Columns that are read by name; a prompt may lack some, and they count as missing."""
    hidden: int = 32
    stride: int = 6
    """Hours that the first layer draws together, of a station."""
    frames: int = 8
    """Last frames of the history that are read, of a grid."""
    depth: int = 2
    """How often a grid is halved on the way to the middle of the network."""
    point: Literal["mean", "median"] = "mean"
    """What a forecast without drawing is: the mean of the concentration, which has the least
    squared error, or its median."""
    spread: float = 0.0
    """Of the Gaussian of the scaled log concentration, the same at every lead; 0: learned."""
    edges: tuple[float, ...] = (15.0, 35.0, 75.0)
    """Upper edges of the classes in ug/m3, where the prompt names none; of a class head."""
    cells: Literal["mean", "sum"] = "mean"
    """The log-probability of a step of a grid: the mean of its cells', which keeps ratios and
    learning rates what they are whatever the grid's size, or the sum: that of the whole field."""
    antithetic: bool = True
    """Attempts 2k and 2k + 1 share one draw, the second with its sign turned."""
    seed: int = 0
    """Of the first weights."""

    def __post_init__(self) -> None:
        bad = (
            min(self.hidden, self.stride, self.frames, self.depth) < 1
            or not math.isfinite(self.spread)
            or self.spread < 0
        )
        if bad or self.point not in ("mean", "median"):
            raise UsageError(
                f"{self!r}: hidden, stride, frames and depth of at least 1, a spread of 0 or more, "
                "and 'mean' or 'median' as point are asked for"
            )
        named = {"kind": ("station", "grid"), "head": ("gaussian", "classes"),
                 "cells": ("mean", "sum")}  # fmt: skip
        for name, known in named.items():
            if getattr(self, name) not in known:
                raise UsageError(f"{name} is {getattr(self, name)!r}; {' or '.join(known)} will do")
        rising = all(low < high for low, high in pairwise((0.0, *self.edges)))
        if not self.edges or not rising or not math.isfinite(self.edges[-1]):
            raise UsageError(f"edges {self.edges} are not above 0 and rising")
