"""budget: how much a run may generate, so that recipes are compared at equal cost."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from harness.errors import UsageError
from trainers.recipe import Recipe

Unit = Literal["rollouts", "tokens", "seconds"]
UNITS: Mapping[str, Unit] = {"s": "seconds", **{unit: unit for unit in get_args(Unit)}}


@dataclass(frozen=True)
class Budget:
    """What a run may spend; it ends with the step in which it has spent as much."""

    amount: float
    unit: Unit

    def __post_init__(self) -> None:
        if not (math.isfinite(self.amount) and self.amount > 0):
            raise UsageError(f"a budget of {self.amount:g} {self.unit}: give more than none")

    @classmethod
    def of(cls, text: str) -> Budget:
        """`20000rollouts`, `2e6tokens`, `600s`; UsageError for anything else."""
        found = re.fullmatch(r"\s*([\d.]+(?:e\+?\d+)?)\s*([a-z]+)\s*", text, re.ASCII)
        try:
            amount, unit = float(found[1]), UNITS[found[2]]  # type: ignore[index]
        except (TypeError, ValueError, KeyError):
            raise UsageError(
                f"'{text}' is no budget: write 20000rollouts, 2e6tokens or 600s"
            ) from None
        return cls(amount, unit)

    def __str__(self) -> str:
        return f"{self.amount:g}{'s' if self.unit == 'seconds' else self.unit}"

    def stretched(self, recipe: Recipe) -> Recipe:
        """The recipe with as many steps as the budget buys, where its sampler tells.

        Schedules then end when the budget does.
        """
        sampler = recipe.samplers
        sizes = [getattr(sampler, name, None) for name in ("prompts", "rollouts")]
        if self.unit != "rollouts" or not all(isinstance(size, int) for size in sizes):
            return recipe
        return recipe.but(steps=max(1, math.ceil(self.amount / math.prod(sizes))))  # type: ignore[arg-type]


@dataclass
class Spent:
    """What was spent so far. Looks at the dev split and checkpoints are not charged."""

    rollouts: float = 0.0
    """Attempts that a policy generated, whether or not they were learned from."""
    tokens: float = 0.0
    """Steps that a policy drew for them."""
    seconds: float = 0.0
    """Of training steps."""

    def add(self, rollouts: float, tokens: float, seconds: float) -> dict[str, float]:
        """Charge a step; gives the totals by the names that the log has."""
        self.rollouts += rollouts
        self.tokens += tokens
        self.seconds += seconds
        return {f"spent/{unit}": getattr(self, unit) for unit in get_args(Unit)}

    def reaches(self, budget: Budget) -> bool:
        """Whether the budget is spent."""
        return getattr(self, budget.unit) >= budget.amount
