"""schedules: numbers that move with the step; any number field of a stage may be one.

A stage reads its field as `at(self.low, run)`: a plain number is itself. Step 0 is the first.
Costs, rates and lengths are never negative, so a negative value is refused.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from harness.errors import UsageError


@runtime_checkable
class Schedule(Protocol):
    """A number for every step."""

    def value(self, step: int) -> float:
        """The number at that step, counted from 0."""
        ...


Number = float | Schedule


@runtime_checkable
class HasStep(Protocol):
    """What `at` reads of a run."""

    step: int


def at(x: Number, run: HasStep) -> float:
    """The number now; UsageError where it is negative or not finite."""
    value = x.value(run.step) if isinstance(x, Schedule) else x
    if not (math.isfinite(value) and value >= 0):
        what = f"{x!r}" if isinstance(x, Schedule) else "a setting"
        raise UsageError(
            f"{what} is {value} at step {run.step}; give numbers that are never below 0"
        )
    return float(value)


def whole(x: Number, run: HasStep) -> int:
    """The number now, rounded, for what is counted; UsageError below 1."""
    count = round(at(x, run))
    if count < 1:
        raise UsageError(f"{x!r} is {count} at step {run.step}, and at least 1 is counted")
    return count


@dataclass(frozen=True)
class Constant:
    """Always the same."""

    number: float

    def __post_init__(self) -> None:
        _refuse_negative(self, self.number)

    def value(self, step: int) -> float:
        """The number."""
        return self.number


@dataclass(frozen=True)
class Linear:
    """A straight line from `start` to `end` over so many steps, then `end`."""

    start: float
    end: float
    over: int

    def __post_init__(self) -> None:
        _refuse_negative(self, self.start, self.end, self.over - 1)

    def value(self, step: int) -> float:
        """The number on the line."""
        return self.start + (self.end - self.start) * min(step / self.over, 1.0)


@dataclass(frozen=True)
class Stairs:
    """From `start` up by `rise` after every so many steps, and never above `top`: a curriculum."""

    start: float
    rise: float
    every: int
    top: float

    def __post_init__(self) -> None:
        _refuse_negative(self, self.start, self.rise, self.top, self.every - 1)

    def value(self, step: int) -> float:
        """The number on the stairs."""
        return min(self.start + self.rise * (step // self.every), self.top)


@dataclass(frozen=True)
class Exponential:
    """From `start` to `end` by the same factor at every step, then `end`."""

    start: float
    end: float
    over: int

    def __post_init__(self) -> None:
        _refuse_negative(self, self.start, self.end, self.over - 1)
        if not self.start or not self.end:
            raise UsageError(f"{self!r}: a factor leads neither to 0 nor away from it; use Linear")

    def value(self, step: int) -> float:
        """The number on the curve."""
        return self.start * (self.end / self.start) ** min(step / self.over, 1.0)


@dataclass(frozen=True)
class Cosine:
    """Up from 0 over `warmup` steps, then half a cosine from `start` to `end` until `over`."""

    start: float
    end: float
    over: int
    warmup: int = 0

    def __post_init__(self) -> None:
        _refuse_negative(self, self.start, self.end, self.warmup, self.over - self.warmup - 1)

    def value(self, step: int) -> float:
        """The number on the curve; the first warmup step is above 0."""
        if step < self.warmup:
            return self.start * (step + 1) / self.warmup
        share = min((step - self.warmup) / (self.over - self.warmup), 1.0)
        return self.end + (self.start - self.end) * (1 + math.cos(math.pi * share)) / 2


def _refuse_negative(schedule: object, *numbers: float) -> None:
    if any(not math.isfinite(number) or number < 0 for number in numbers):
        raise UsageError(
            f"{schedule!r} goes below 0 or covers no step; give numbers >= 0 and over >= 1"
        )
