"""clocks: where a step's seconds go, in parts that add up, and how much memory it took.

generate   inside the models' answers
verify     the rest of playing: waiting for verdicts that were not ready when the last answer was
review     log-probabilities, entropy and costs with their graph
backward   gradients
optimizer  the update, and renewing what sampling keeps of the weights
other      all else: stages, wrappers, the log
`time/verifiers` is no part of the sum: verifiers run on threads while the model goes on, and it is
the time of all of them.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from harness.models import Model
from harness.types import Completion, Prompt
from trainers.recipe import Run

PARTS = ("generate", "verify", "review", "backward", "optimizer", "other")


@dataclass
class Clocked:
    """A model whose answering time is added to the step's tally."""

    name: str
    independent: bool
    model: Model
    run: Run

    def describe(self) -> Mapping[str, Any]:
        """The model's."""
        return self.model.describe()

    def answer(self, prompts: Sequence[Prompt]) -> Iterator[tuple[int, Completion]]:
        """The model's answers."""
        started = time.perf_counter()
        for answer in self.model.answer(prompts):
            self.run.tally.add("time/generate", time.perf_counter() - started)
            yield answer
            started = time.perf_counter()
        self.run.tally.add("time/generate", time.perf_counter() - started)


def clocked(run: Run) -> Mapping[str, Model]:
    """The run's policies as models whose time is told."""
    return {
        role: Clocked(policy.name, policy.independent, policy, run)
        for role, policy in run.policies.items()
    }


def playing(run: Run, seconds: float) -> None:
    """So many seconds were played; what was not spent on answers was spent on verdicts."""
    spent = run.tally.values
    before = spent.get("time/generate", 0.0) + spent.get("time/verify", 0.0)
    run.tally.add("time/verify", max(0.0, seconds - before))


def split(told: Mapping[str, float], seconds: float) -> dict[str, float]:
    """The parts of a step of so many seconds; they add up to it."""
    known = {f"time/{part}": told.get(f"time/{part}", 0.0) for part in PARTS[:-1]}
    return {**known, "time/other": max(0.0, seconds - sum(known.values()))}


def memory() -> dict[str, float]:
    """Most that the process held since it began, and the accelerator's tensors, in MiB."""
    unit = 1024**2 if sys.platform == "darwin" else 1024
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
    found = {"memory/peak_rss_mib": most}
    if torch.cuda.is_available():
        found["memory/peak_cuda_mib"] = torch.cuda.max_memory_allocated() / 1024**2
    return found
