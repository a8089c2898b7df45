"""Worlds with a known truth: what the coverage of an interval is simulated on.

A cell fixes N examples, n rollouts of each, the success rate p, how much examples differ, and how
they hang together. Rates are Beta-distributed: a cluster's rate around p with correlation `icc`
between its examples, an example's rate around its cluster's with correlation 1 / (1 + spread)
between its rollouts.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.bounded import Clusters, Floats

SIZES = (20, 30, 50, 100, 200, 500, 1000)
RATES = (0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.7, 0.85, 0.93, 0.98)
POINTS = 40
"""Rates that the worlds of a cell share, drawn from its window."""
SAME = float("inf")
"""Every example has its cluster's rate."""


@dataclass(frozen=True)
class Cell:
    examples: int
    rate: float
    rollouts: int = 1
    spread: float = SAME
    """a + b of the Beta distribution of an example's rate; small: nearly always or never right."""
    cluster: int | str = 1
    """Examples per cluster; `ragged`: 1 to 12."""
    icc: float = 0.0

    @property
    def window(self) -> float:
        """Half the width of the window in which each world draws its p."""
        return min(0.02, min(self.rate, 1 - self.rate) / 4)

    def labels(self) -> NDArray[np.intp] | None:
        """(N,) the cluster of each example."""
        if self.cluster == 1:
            return None
        rng = np.random.default_rng(self.examples)
        sizes: list[int] = []
        while sum(sizes) < self.examples:
            size = (
                rng.choice([1, 1, 2, 2, 3, 5, 8, 12]) if self.cluster == "ragged" else self.cluster
            )
            sizes.append(int(size))
        return np.repeat(np.arange(len(sizes)), sizes)[: self.examples]

    def draw(self, worlds: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
        """(worlds, N) share of right rollouts, and (worlds,) the true rates."""
        rates = rng.uniform(self.rate - self.window, self.rate + self.window, POINTS)
        rates = np.repeat(rates, -(-worlds // POINTS))[:worlds]
        labels = self.labels()
        if labels is None:
            return self._draw_single(rates, rng) / self.rollouts, rates
        own = _beta(rates[:, None], 1 / self.icc - 1, (worlds, int(labels[-1]) + 1), rng)
        own = own[:, labels]
        if self.spread < SAME:
            own = _beta(own, self.spread, own.shape, rng)
        return rng.binomial(self.rollouts, own) / self.rollouts, rates

    def _draw_single(self, rates: Floats, rng: np.random.Generator) -> Floats:
        """Beta-binomial counts by inverting their distribution, which is quick."""
        from scipy.stats import betabinom, binom

        counts = np.empty((len(rates), self.examples))
        levels = np.arange(self.rollouts)
        for rate in np.unique(rates):
            if self.spread < SAME:
                a, b = rate * self.spread, (1 - rate) * self.spread
                below = betabinom.cdf(levels, self.rollouts, a, b)
            else:
                below = binom.cdf(levels, self.rollouts, rate)
            chosen = rates == rate
            draws = rng.random((int(chosen.sum()), self.examples))
            counts[chosen] = np.searchsorted(below, draws)
        return counts

    def design(self) -> float:
        """Var(mean) N / (p (1 - p)), exactly."""
        within = 0.0 if self.spread == SAME else 1 / (1 + self.spread)
        example = self.icc + (1 - self.icc) * within
        labels = self.labels()
        sizes = np.ones(self.examples) if labels is None else np.bincount(labels)
        shared = self.icc * ((sizes**2).sum() / self.examples - 1)
        return float(example + (1 - example) / self.rollouts + shared)

    def expected(self) -> float:
        """Expected effective successes or failures, the fewer: N min(p, 1 - p) / design."""
        return self.examples * min(self.rate, 1 - self.rate) / self.design()

    def groups(self) -> Clusters:
        return Clusters.of(self.labels(), self.examples)


def single() -> Iterator[Cell]:
    """The grid without clusters."""
    for examples in SIZES:
        for rate in RATES:
            yield Cell(examples, rate)
            for rollouts in (2, 4, 8, 16):
                for spread in (SAME, 10.0, 2.0, 0.5, 0.1):
                    yield Cell(examples, rate, rollouts, spread)


def clustered() -> Iterator[Cell]:
    """The grid with clusters; how examples differ within them alternates along it."""
    within = itertools.cycle([(1, SAME), (4, 2.0), (16, 20.0), (16, SAME), (8, 0.5)])
    for examples in SIZES:
        for rate in (0.02, 0.05, 0.1, 0.2, 0.5, 0.7, 0.93):
            for cluster in (2, 5, 10, "ragged"):
                for icc in (0.05, 0.2, 0.5):
                    for rollouts, spread in itertools.islice(within, 2):
                        yield Cell(examples, rate, rollouts, spread, cluster, icc)


def _beta(
    means: Floats, concentration: float, shape: tuple[int, ...], rng: np.random.Generator
) -> Floats:
    means = np.clip(np.broadcast_to(means, shape), 1e-9, 1 - 1e-9)
    return rng.beta(
        np.maximum(means * concentration, 1e-9), np.maximum((1 - means) * concentration, 1e-9)
    )
