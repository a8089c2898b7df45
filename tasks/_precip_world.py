"""_precip_world: generated rain over gauges, and products that see it through noise and bias.

Rain falls in storms: each wet day a few cells of gamma-distributed strength pass over a square of
100 km, with a width of some 15 km, so that gauges near to each other agree. Product 1 is unbiased
and noisy, product 2 is smooth and too wet, product 3 misses light rain and loses detail; how wet
each is changes from west to east.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
SIDE = 100.0
"""km."""
NEIGHBORS = 4


@dataclass(frozen=True, eq=False)
class Rain:
    """D days at G gauges, in mm/day."""

    place: Floats
    """(G, 2) km."""
    rain: Floats
    """(D, G) what the gauges measured."""
    products: Floats
    """(3, D, G) what the products say at the gauges."""

    def near(self, gauge: int) -> tuple[NDArray[np.intp], Floats]:
        """The nearest other gauges and their weights, which add up to 1; never the gauge itself."""
        away = np.hypot(*(self.place - self.place[gauge]).T)
        away[gauge] = np.inf
        found = np.argsort(away)[:NEIGHBORS]
        weights = 1 / np.maximum(away[found], 1.0) ** 2
        return found, weights / weights.sum()


@lru_cache(maxsize=2)
def rain(gauges: int = 60, days: int = 730, seed: int = 0) -> Rain:
    """The same world for the same seed."""
    rng = np.random.default_rng((seed, 69))
    place = rng.uniform(0, SIDE, (gauges, 2))
    east = place[:, 0] / SIDE  # wetter in the east: what a blocked split cannot see
    fallen = np.zeros((days, gauges))
    for day in range(days):
        for _ in range(rng.poisson(1.2) if rng.random() < 0.45 else 0):
            middle, width = rng.uniform(-20, SIDE + 20, 2), rng.uniform(10, 35)
            near = np.exp(-((place - middle) ** 2).sum(1) / (2 * width**2))
            fallen[day] += rng.gamma(1.2, 9) * near * (0.6 + 0.8 * east)
    fallen = np.where(fallen < 0.2, 0.0, fallen)
    products = np.stack([_product(fallen, place, kind, rng) for kind in range(3)])
    measured = fallen * rng.lognormal(0, 0.08, fallen.shape)
    return Rain(place, measured, products)


def _product(fallen: Floats, place: Floats, kind: int, rng: np.random.Generator) -> Floats:
    scale, noise, width = ((1.0, 0.9, 1.0), (1.5, 0.45, 20.0), (0.8, 0.5, 10.0))[kind]
    away = ((place[:, None] - place[None]) ** 2).sum(2)
    smooth = np.exp(-away / (2 * width**2))
    seen = fallen @ (smooth / smooth.sum(1, keepdims=True)).T
    seen = seen * scale * (1.5 - place[:, 0] / SIDE) ** (kind - 0.5)  # too wet or dry by place
    seen = seen * rng.lognormal(-(noise**2) / 2, noise, seen.shape)
    if kind == 0:  # false rain on dry days
        seen = seen + np.where(rng.random(seen.shape) < 0.05, rng.gamma(0.7, 4, seen.shape), 0)
    return np.where(seen < (2.0 if kind == 2 else 0.1), 0.0, seen)
