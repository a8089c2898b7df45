"""_air_world: a small generated atmosphere, so that the family needs no data to be tried.

In cells of 27 km, with a step of 3 hours, a pollutant is emitted (cities, more in winter and in
the rush hours), carried by a wind that turns and freshens by days (AR(1) of both components),
mixed by diffusion, let out through the lid of the boundary layer and washed out by rain. Stagnant
days build it up, fronts clear it, and the wind at the issue time says little of the day after
tomorrow: forecasting is hard, but not hopeless. Stations tell it by the hour, by interpolation;
`field` tells it every 6 hours in every cell.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks._air_grid import Grid
from tasks._air_series import CHANNELS, Series

SIDE, FIELD_SIDE = 12, 16
"""Cells across, of the world of the stations and of that of the fields."""
STEP = 3
"""Hours."""
START = np.datetime64("2001-01-01T00", "h")
Floats = NDArray[np.float64]


@lru_cache(maxsize=4)
def world(days: int = 1095, seed: int = 0, side: int = SIDE) -> tuple[Floats, Floats]:
    """(8 D, side, side) concentrations in ug/m3 and (8 D, 5) weather: u, v, rain, temperature, p.

    Wind in m/s (u to the east, v to the north), rain in mm in 3 h, degrees C, hPa.
    """
    rng = np.random.default_rng((seed, 26))
    steps = days * 24 // STEP
    weather = _weather(steps, rng)
    sources = _sources(rng, side)
    fields = np.empty((steps, side, side), np.float64)
    c = np.full((side, side), 30.0)
    hour = np.arange(steps) * STEP
    winter = 1 + 0.5 * np.cos(2 * np.pi * hour / 24 / 365.25)
    rush = 1 + 0.3 * np.sin(2 * np.pi * (hour % 24 - 4) / 24)
    for n in range(steps):
        u, v, rain = weather[n, :3] * (0.09, 0.09, 1.0)
        c = c + _carried(c, u, v) + 0.12 * _mixed(c) + sources * winter[n] * rush[n]
        c = c * np.exp(-0.055 * (1 + 0.25 * np.hypot(*weather[n, :2])) - 0.3 * min(rain, 1.5))
        fields[n] = c
    return fields, weather


def _weather(steps: int, rng: np.random.Generator) -> Floats:
    """Wind with a memory of about two days, rain with fronts, temperature with the seasons."""
    keep = np.exp(-STEP / 40)
    noise = rng.normal(0, 3.0 * np.sqrt(1 - keep**2), (steps, 2))
    wind = np.zeros((steps, 2))
    for n in range(1, steps):
        wind[n] = keep * wind[n - 1] + noise[n]
    hour = np.arange(steps) * STEP
    speed = np.hypot(wind[:, 0], wind[:, 1])
    rain = np.where((speed > 5) & (rng.random(steps) < 0.5), rng.gamma(0.8, 1.5, steps), 0.0)
    season = -np.cos(2 * np.pi * hour / 24 / 365.25)
    temperature = 12 + 13 * season + 4 * np.sin(2 * np.pi * (hour - 9) / 24) - 0.5 * wind[:, 1]
    pressure = 1015 - 8 * season + 1.2 * wind[:, 1] + rng.normal(0, 1, steps)
    return np.column_stack([wind, rain, temperature, pressure])


def _sources(rng: np.random.Generator, side: int) -> Floats:
    """Emission a step: a few cities on a low background."""
    y, x = np.mgrid[:side, :side]
    found = np.full((side, side), 0.6)
    for _ in range(round(side**2 / 36)):
        at_y, at_x = rng.uniform(2, side - 3, 2)
        near = ((y - at_y) ** 2 + (x - at_x) ** 2) / 3
        found += rng.uniform(8, 14) * np.exp(-near)
    return found


def _carried(c: Floats, u: float, v: float) -> Floats:
    """What an upwind step brings; clean air comes in over the borders."""
    wide = np.pad(c, 1, constant_values=12.0)
    east = max(u, 0) * (wide[1:-1, :-2] - c) + max(-u, 0) * (wide[1:-1, 2:] - c)
    north = max(v, 0) * (wide[:-2, 1:-1] - c) + max(-v, 0) * (wide[2:, 1:-1] - c)
    return np.clip(east + north, -0.9 * c, None)


def _mixed(c: Floats) -> Floats:
    wide = np.pad(c, 1, mode="edge")
    return (wide[:-2, 1:-1] + wide[2:, 1:-1] + wide[1:-1, :-2] + wide[1:-1, 2:]) / 4 - c


@lru_cache(maxsize=4)
def stations(count: int = 2, days: int = 1095, seed: int = 0) -> tuple[Series, ...]:
    """Stations in the world: hourly, with noise of the instruments and gaps."""
    fields, weather = world(days, seed)
    rng = np.random.default_rng((seed, 27))
    cells = rng.permutation(SIDE * SIDE)[:count]
    found: list[Series] = []
    for number, cell in enumerate(cells):
        coarse = fields.reshape(len(fields), -1)[:, cell]
        values = _hourly(coarse, weather, np.random.default_rng((seed, 28, number)))
        faults: dict[str, Any] = {"missing hours of PM2.5": int(np.isnan(values[:, 0]).sum())}
        found.append(Series(f"cell{cell:03}", START, values, faults))
    return tuple(found)


def _hourly(coarse: Floats, weather: Floats, rng: np.random.Generator) -> NDArray[np.float32]:
    """(24 D, C) by interpolation between the steps."""
    hours = len(coarse) * STEP
    at, steps = np.arange(hours), np.arange(len(coarse)) * STEP
    fine = [np.interp(at, steps, weather[:, column]) for column in range(5)]
    fresh = rng.lognormal(0, 0.12, hours)
    values = np.full((hours, len(CHANNELS)), np.nan)
    pm = np.interp(at, steps, coarse) * fresh
    values[:, CHANNELS.index("PM2.5")] = pm
    values[:, CHANNELS.index("PM10")] = pm * rng.lognormal(0.35, 0.1, hours)
    speed = np.hypot(fine[0], fine[1])
    named = {"TEMP": fine[3], "PRES": fine[4], "RAIN": fine[2] / STEP, "WSPM": speed}
    named |= {"WIND_EAST": -fine[0] / (speed + 1e-9), "WIND_NORTH": -fine[1] / (speed + 1e-9)}
    for name, column in named.items():
        values[:, CHANNELS.index(name)] = column
    silent = np.convolve(rng.random(hours) < 0.002, np.ones(12), "same") > 0
    values[silent, :2] = np.nan
    return values.astype(np.float32)


@lru_cache(maxsize=2)
def field(days: int = 1095, seed: int = 0) -> Grid:
    """The whole world every 6 hours, with noise of the instruments and silent cells."""
    fields, weather = world(days, seed, FIELD_SIDE)
    fields, weather = fields[1::2], weather[1::2]
    rng = np.random.default_rng((seed, 29))
    pm = fields * rng.lognormal(0, 0.12, fields.shape)
    coarse = pm * rng.lognormal(0.35, 0.1, fields.shape)
    silent = rng.random(fields.shape) < 0.005
    silent = silent | np.roll(silent, 1, axis=0)
    pm, coarse = (np.where(silent, np.nan, each) for each in (pm, coarse))
    columns = ("PM2.5", "PM10", "TEMP", "PRES", "RAIN", "U", "V")
    u, v, rain, temperature, pressure = (
        np.broadcast_to(each[:, None, None], pm.shape) for each in weather.T
    )
    layers = (pm, coarse, temperature, pressure, rain, u, v)
    frames = np.stack(layers, axis=1).astype(np.float32)
    faults = {"missing cells of PM2.5": int(silent.sum())}
    return Grid("field", START + np.timedelta64(STEP, "h"), columns, frames.__getitem__,
                np.ones(len(frames), bool), np.ones(pm.shape[1:], bool), faults)  # fmt: skip
