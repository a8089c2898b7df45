"""Ranks in worlds whose truth is known, and their cost: writes `results/rank_worlds.md`.

Run it with `make ranks`. It calls the product's own ranking. In worlds of equal models a board
should hardly ever declare a unique winner; two models that differ by twice the least difference
that so many examples show with 80 % power should nearly always be told apart, among 40.
"""

from __future__ import annotations

import math
import resource
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from harness.bounded import normal_quantile
from harness.comparing import POWER_Z
from leaderboards.pairs import LEVEL
from leaderboards.rank import Ranking, rankings
from results.record import Record
from tests.records import a_record

PAGE = Path(__file__).resolve().parents[2] / "results" / "rank_worlds.md"
Floats = NDArray[np.float64]
MODELS, WORLDS = 40, 1_000
WINNERS, POWER = 0.05, 0.90


@dataclass(frozen=True)
class World:
    """How the values of a board are drawn."""

    name: str
    examples: int
    rollouts: int
    """0: a continuous score."""
    clusters: int = 0
    """Examples of one cluster are right or wrong together, mostly."""

    def draw(self, rng: np.random.Generator, gap: float) -> Floats:
        """(MODELS, examples) values; the second row is `gap` detectable differences better."""
        size = (MODELS, self.examples)
        easy = rng.beta(1.5, 1.5, self.examples)
        if not self.rollouts:
            values = easy + 0.3 * rng.standard_normal(size)
            values[1] += gap * (1.96 + POWER_Z) * 0.3 * math.sqrt(2 / self.examples)
            return values
        chance = np.broadcast_to(easy, size).copy()
        if gap:
            chance[:2] = _apart(easy, gap, self)
        if not self.clusters:
            return rng.binomial(self.rollouts, chance) / self.rollouts
        lumps = rng.random((MODELS, self.clusters)).repeat(self.examples // self.clusters, axis=1)
        return (
            lumps
            < easy.reshape(self.clusters, -1).mean(axis=1).repeat(self.examples // self.clusters)
        ).astype(float)

    def records(self, values: Floats) -> list[Record]:
        """A record for each row."""
        more = {}
        if self.clusters:
            each = self.examples // self.clusters
            more = {"cluster_of": [n // each for n in range(self.examples)]}
            more |= {"clusters": self.clusters}
        return [a_record(f"m{n:03}", list(row), **more) for n, row in enumerate(values)]


def _apart(easy: Floats, gap: float, world: World) -> Floats:
    """(2, examples) chances around `easy` whose means differ by `gap` detectable differences."""
    low, high = 0.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        pair = np.stack([easy * (1 - middle), easy + (1 - easy) * middle])
        variance = (pair * (1 - pair)).sum() / world.rollouts / world.examples**2
        spread = (pair[1] - pair[0]).var() / world.examples
        detectable = (1.96 + POWER_Z) * math.sqrt(variance + spread)
        if (pair[1] - pair[0]).mean() < gap * detectable:
            low = middle
        else:
            high = middle
    return np.stack([easy * (1 - low), easy + (1 - easy) * low])


SCENES = (
    World("right or wrong", 200, 1),
    World("right or wrong, few", 50, 1),
    World("mean of 4 rollouts", 100, 4),
    World("clusters of 5", 200, 1, 40),
    World("continuous", 100, 0),
)


def unique_winner(ranking: Ranking) -> bool:
    """Whether the board says that one row, and no other, is the best."""
    return ranking.places[0].rank == "1" and ranking.places[1].first > 1


def equal_worlds(world: World, worlds: int, seed: int = 0) -> float:
    """Share of worlds of equal models that get a unique winner."""
    rng = np.random.default_rng(seed)
    drawn = (rankings(world.records(world.draw(rng, 0.0))) for _ in range(worlds))
    return sum(unique_winner(found[0]) for found in drawn) / worlds


def apart_worlds(world: World, worlds: int, rows: int = MODELS, gap: float = 2.0) -> float:
    """Share of worlds in which the two that differ are told apart, the right way round.

    `gap` in units of what `harness compare` calls detectable: with 80 % power, by one test.
    """
    rng, hits = np.random.default_rng(1), 0
    for _ in range(worlds):
        (ranking,) = rankings(world.records(world.draw(rng, gap)[:rows]))
        order = [place.record.model for place in ranking.places]
        better, worse = order.index("m001"), order.index("m000")
        assert ranking.pairs is not None
        hits += bool(better < worse and ranking.pairs.separated[better, worse])
    return hits / worlds


def board_factor(models: int) -> float:
    """Detectable on a board of so many equal rows, by what is detectable by one test."""
    pairs = models * (models - 1) / 2
    return (normal_quantile(1 - LEVEL / pairs) + POWER_Z) / (normal_quantile(1 - LEVEL) + POWER_Z)


def crowd(models: int, tasks: int, examples: int, seed: int = 2) -> list[Record]:
    """Records of many models on many tasks: every fourth task has shares of four rollouts."""
    rng = np.random.default_rng(seed)
    skill = rng.normal(size=models)
    made: list[Record] = []
    for task in range(tasks):
        hard = rng.normal(size=examples)
        chance = 1 / (1 + np.exp(hard - 0.5 * skill[:, None]))
        rollouts = 4 if task % 4 == 3 else 1
        values = rng.binomial(rollouts, chance) / rollouts
        made += [
            a_record(f"m{n:03}", list(row), task=f"crowd/t{task}", run=f"r{n}-{task}")
            for n, row in enumerate(values)
        ]
    return made


def cost(models: int, tasks: int, examples: int) -> tuple[float, float]:
    """Processor seconds that ranking a crowd takes, and GiB that it adds; in a fresh process."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as fresh:
        return fresh.submit(_cost, models, tasks, examples).result()


def _cost(models: int, tasks: int, examples: int) -> tuple[float, float]:
    records = crowd(models, tasks, examples)
    before, begin = _peak(), time.process_time()
    rankings(records)
    return time.process_time() - begin, _peak() - before


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20)


def main() -> int:
    lines = [
        "# Ranks in worlds whose truth is known",
        "",
        f"`make ranks`; {MODELS} models, {WORLDS:,} worlds of each kind, Holm over all pairs.",
        "",
        "| values | examples | unique winner among equals | A: a pair alone | B: among all | "
        "C: among all |",
        "|---|---|---|---|---|---|",
    ]
    met = True
    for world in SCENES:
        winners = equal_worlds(world, WORLDS)
        met &= winners <= WINNERS
        told = ["", "", ""]
        if not world.clusters:
            alone, among = apart_worlds(world, WORLDS, 2), apart_worlds(world, WORLDS)
            board = apart_worlds(world, WORLDS, gap=2 * board_factor(MODELS))
            met &= min(alone, board) >= POWER
            told = [f"{100 * share:.1f} %" for share in (alone, among, board)]
        row = (world.name, str(world.examples), f"{100 * winners:.1f} %", *told)
        lines.append(f"| {' | '.join(row)} |")
        print(lines[-1], flush=True)
    seconds, peak = cost(300, 40, 200)
    lines += [
        "",
        f"Limits: winners at most {100 * WINNERS:.0f} %; A and C at least {100 * POWER:.0f} %.",
        "A and B: pairs whose true gap is twice what one test shows with 80 % power. C: twice what",
        "a test shows with 80 % power at the level that Holm's correction leaves on this board",
        f"({board_factor(MODELS):.2f} times as much). B has no limit of its own: with few examples",
        "sign flips need more than a normal test does, and the correction asks for more still.",
        "",
        f"Ranking 300 models on 40 tasks of 200 examples (12,000 records; every fourth task has "
        f"shares of 4 rollouts) took {seconds:.0f} s of one core and {peak:.2f} GiB at its peak.",
    ]
    print(lines[-1])
    PAGE.write_text("\n".join(lines) + "\n", "utf-8")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
