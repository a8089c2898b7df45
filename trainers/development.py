"""development: the dev split as training sees it now and then, through the same `play` as eval."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from harness.models import Model, Sampling
from harness.play import first, rows
from harness.types import Fault, Metric, Prompt, Rollout, Row, Task
from trainers.policy import Policy
from trainers.shared import played
from trainers.world import ALONE, World


@dataclass(frozen=True)
class Look:
    """One look at the dev split."""

    numbers: Mapping[str, float]
    headline: float
    rollouts: tuple[Rollout, ...]


class Development:
    """The first examples of the dev split; none where the task has no such split."""

    def __init__(self, task: Task, rollouts: int, limit: int | None, world: World = ALONE) -> None:
        self.task = task
        self.world = world
        self.rollouts = rollouts
        examples = first(task, task.examples("dev"), limit)
        self.prompts: list[Prompt] = [task.prompt(e).but(rollouts=rollouts) for e in examples]
        self.metrics = [metric for metric in task.metrics if metric.needs <= rollouts]

    @property
    def headline(self) -> str:
        """The metric by which the best checkpoint is chosen; empty where none can be."""
        return self.metrics[0].name if self.metrics else ""

    def better(self, new: float, old: float) -> bool:
        """Whether the headline got better; a number is better than none."""
        if math.isnan(new) or math.isnan(old):
            return not math.isnan(new)
        lower = bool(self.metrics) and self.metrics[0].better == "lower"
        return new < old if lower else new > old

    def look(self, policy: Policy, models: Mapping[str, Model], drawn: Sampling, seed: int) -> Look:
        """Play it, always with the same seed: greedily if once, else as training draws."""
        temperature = 0.0 if self.rollouts == 1 else drawn.temperature
        policy.sampling = replace(drawn, temperature=temperature, seed=seed)
        found = played(self.world, self.task, self.prompts, models, block=64)
        rollouts = [outcome for outcome in found if isinstance(outcome, Rollout)]
        order = [prompt.example.id for prompt in self.prompts]
        places = {id: place for place, id in enumerate(order)}
        rollouts.sort(key=lambda r: (places[r.example.id], r.attempt, r.role))
        judged = rows(rollouts, order)
        values = {metric.name: value(metric, judged) for metric in self.metrics}
        numbers = {f"eval/{name}": x for name, x in values.items() if not math.isnan(x)}
        numbers["eval/faults"] = float(sum(isinstance(outcome, Fault) for outcome in found))
        headline = values.get(self.headline, math.nan)
        return Look(numbers, headline, tuple(rollouts))


def value(metric: Metric, judged: Sequence[Row]) -> float:
    """A metric of judged rows; NaN where no row has a value."""
    enough = [row for row in judged if len(row) >= metric.needs]
    if not enough:
        return math.nan
    if metric.compute is not None:
        return float(metric.compute(enough))
    assert metric.each is not None, f"{metric.name} has neither `each` nor `compute`"
    each = [float(metric.each(row)) for row in enough]
    told = [x for x in each if not math.isnan(x)]
    return statistics.fmean(told) if told else math.nan
