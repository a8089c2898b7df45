"""Engine, what draws tokens for a policy: jobs in, what was drawn out, in the order of finishing.

A policy makes prompts into jobs and what was drawn into completions; which engine draws, it chooses
by a setting, and nobody else knows. Engines read token ids and give token ids, so that training
never reads a text a second time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from harness.models import Sampling


@dataclass(frozen=True)
class Job:
    """One answer to be drawn."""

    number: int
    ids: tuple[int, ...]
    """The prompt's tokens."""
    budget: int
    """Tokens that may be drawn, at least 1."""
    entropy: tuple[int, ...]
    """Of the row's own generator of uniform numbers."""
    ended: Callable[[int], bool] | None = None
    """Told each token once, in order; says whether the text is complete (stop strings)."""


@dataclass
class Drawn:
    """What was drawn for one job."""

    ids: list[int] = field(default_factory=list[int])
    logprobs: list[float] | None = field(default_factory=list[float])
    """In nats, of the distribution drawn from; None where the engine does not tell."""
    ended: bool = False
    """By an end token or a stop string, not by the budget."""
    broken: bool = False
    """The model gave no finite numbers."""

    def add(self, token: int, logprob: float) -> None:
        """One more token."""
        self.ids.append(token)
        if self.logprobs is not None:
            self.logprobs.append(logprob)
        self.broken = not math.isfinite(logprob)

    def over(self, job: Job, ends: frozenset[int]) -> bool:
        """Whether nothing follows the last token; tells the job of it."""
        token = self.ids[-1]
        self.ended = token in ends or (job.ended is not None and job.ended(token))
        return self.ended or self.broken or len(self.ids) >= job.budget


@runtime_checkable
class Engine(Protocol):
    """Draws tokens with one model's weights."""

    independent: bool
    """Whether what is drawn for a job is the same to the bit whatever the other jobs are."""

    def draw(self, jobs: Sequence[Job], sampling: Sampling) -> Iterator[tuple[Job, Drawn]]:
        """Each job with what was drawn for it, as soon as it is finished.

        The same jobs and sampling give the same result, and a job's chance is its own. End tokens
        are among the ids drawn.
        """
        ...

    def refresh(self) -> None:
        """Take over the model's weights as they are now; UsageError where that cannot be."""
        ...

    def rest(self) -> None:
        """Learning begins: give up memory that is easily made again, until something is drawn."""
        ...

    def describe(self) -> Mapping[str, Any]:
        """What a manifest must hold: `engine`, its versions, how rows are put together."""
        ...
