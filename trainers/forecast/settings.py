"""settings: what a forecasting network is made of; stored with its weights."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from harness.errors import UsageError

CHANNELS = (
    "PM2.5", "PM10", "SO2", "NO2", "CO", "O3",
    "TEMP", "PRES", "DEWP", "RAIN", "WSPM", "WIND_EAST", "WIND_NORTH",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class ForecastSettings:
    """A network, and how it draws."""

    channels: tuple[str, ...] = CHANNELS
    """Columns that are read by name; a prompt may lack some, and they count as missing."""
    hidden: int = 32
    stride: int = 6
    """Hours that the first layer draws together."""
    point: Literal["mean", "median"] = "mean"
    """What a forecast without drawing is: the mean of the concentration, which has the least
    squared error, or its median."""
    spread: float = 0.0
    """Of the Gaussian of the scaled log concentration, the same at every lead; 0: learned."""
    antithetic: bool = True
    """Attempts 2k and 2k + 1 share one draw, the second with its sign turned."""
    seed: int = 0
    """Of the first weights."""

    def __post_init__(self) -> None:
        bad = (
            self.hidden < 1 or self.stride < 1 or not math.isfinite(self.spread) or self.spread < 0
        )
        if bad or self.point not in ("mean", "median"):
            raise UsageError(
                f"{self!r}: hidden and stride of at least 1, a spread of 0 or more, and 'mean' or "
                "'median' as point are asked for"
            )
