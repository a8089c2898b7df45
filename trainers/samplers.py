"""samplers: which examples are asked in a step, and how often."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.types import Example, Prompt
from trainers.recipe import Run
from trainers.schedules import Number, whole


@dataclass(frozen=True)
class Uniform:
    """Every example once an epoch, in an order that the run's seed and the epoch fix."""

    prompts: Number = 8
    """Examples in a step."""
    rollouts: Number = 8
    """Attempts at each: the size of a group."""

    def __call__(self, examples: Sequence[Example], run: Run) -> list[Prompt]:
        """The next examples; where one comes twice in a step, its attempts are numbered on."""
        place = run.memory.setdefault("uniform", {"place": 0})
        rollouts = whole(self.rollouts, run)
        asked: list[Prompt] = []
        before: dict[str, int] = {}
        for number in range(place["place"], place["place"] + whole(self.prompts, run)):
            epoch, index = divmod(number, len(examples))
            example = examples[_order(run.seed, epoch, len(examples))[index]]
            attempt = before.get(example.id, 0)
            before[example.id] = attempt + rollouts
            asked.append(run.task.prompt(example).but(rollouts=rollouts, attempt=attempt))
        place["place"] += len(asked)
        run.tally.put("epoch", place["place"] / len(examples))
        return asked


def _order(seed: int, epoch: int, size: int) -> np.ndarray:
    return np.random.default_rng((seed, epoch)).permutation(size)
