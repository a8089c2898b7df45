"""samplers: which examples are asked in a step, and how often."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from harness.play import whole_sets
from harness.types import Example, Prompt
from trainers.recipe import Run
from trainers.schedules import Number, whole


@dataclass(frozen=True)
class Uniform:
    """Every example once an epoch, in an order that the run's seed and the epoch fix.

    Where a task's examples form sets, sets are drawn: a step asks as many whole ones as fit.
    """

    prompts: Number = 8
    """Examples in a step; of sets with more, one set."""
    rollouts: Number = 8
    """Attempts at each: the size of a group."""

    def __call__(self, examples: Sequence[Example], run: Run) -> list[Prompt]:
        """The next examples; where one comes twice in a step, its attempts are numbered on."""
        place = run.memory.setdefault("uniform", {"place": 0})
        rollouts = whole(self.rollouts, run)
        sets = whole_sets(run.task, examples)
        asked: list[Prompt] = []
        before: dict[str, int] = {}
        room = whole(self.prompts, run)
        while room > 0:
            epoch, index = divmod(place["place"], len(sets))
            members = sets[_order(run.seed, epoch, len(sets))[index]]
            if asked and len(members) > room:
                break
            for example in members:
                attempt = before.get(example.id, 0)
                before[example.id] = attempt + rollouts
                asked.append(run.task.prompt(example).but(rollouts=rollouts, attempt=attempt))
            place["place"] += 1
            room -= len(members)
        run.tally.put("epoch", place["place"] / len(sets))
        return asked


@lru_cache(maxsize=4)
def _order(seed: int, epoch: int, size: int) -> np.ndarray:
    return np.random.default_rng((seed, epoch)).permutation(size)
