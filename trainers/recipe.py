"""recipe: a training algorithm as a list of stages, and the run that they work on.

Each field of Recipe is named after the module that holds its stages. A stage is a frozen dataclass
with `__call__`: its fields are its settings, so a recipe prints as it is written and reads back.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float
from torch import Tensor

from harness.errors import UnknownName, UsageError
from harness.types import Example, Prompt, Rollout, Task
from trainers.batch import Batch
from trainers.policy import Live, Policy
from trainers.schedules import Number
from trainers.tally import Tally

Attempt = Callable[[Sequence[Prompt]], list[Rollout]]
"""Prompts to judged rollouts, in the order of the prompts."""


@runtime_checkable
class Sampler(Protocol):
    """Which examples are asked in this step, and how often."""

    def __call__(self, examples: Sequence[Example], run: Run) -> list[Prompt]: ...


@runtime_checkable
class Wrapper(Protocol):
    """How attempts come about; goes round `play`, so it may ask twice, or ask something else."""

    def __call__(self, prompts: Sequence[Prompt], play: Attempt, run: Run) -> list[Rollout]: ...


@runtime_checkable
class Stage(Protocol):
    """Changes rewards, advantages or weights."""

    def __call__(self, batch: Batch, run: Run) -> Batch: ...


@runtime_checkable
class Loss(Protocol):
    """What each step costs. Losses never average: `batch.weights` makes the mean."""

    def __call__(self, live: Live, batch: Batch, run: Run) -> Float[Tensor, "N #T"]: ...


@runtime_checkable
class BatchLoss(Loss, Protocol):
    """A loss that needs numbers of the whole batch, which no micro-batch can tell."""

    def look(self, logprobs: Float[Tensor, "N T"], batch: Batch, run: Run) -> Batch:
        """Asked before each update but the first, which the policy of `old_logprobs` makes.

        `logprobs` are the policy's now, without gradient, at the price of one more review. What the
        loss wants to know goes into `batch.extra`, one number a rollout.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class AdamW:
    """Adam with decoupled weight decay (Loshchilov and Hutter, 2019)."""

    lr: Number = 1e-6
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    """Gradients of a larger L2 norm are scaled down to it; 0 leaves them as they are."""
    moments: Literal["float32", "8bit"] = "float32"
    """`8bit`: both moments in blocks of 8 bits, 2 bytes a weight instead of 8, by bitsandbytes
    (Dettmers et al., 2022); tensors of fewer than 4,096 weights keep float32."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A training algorithm."""

    name: str
    home: str
    """The task that its board row is measured on."""
    paper: str = ""
    samplers: Sampler
    """Which examples, how often: (examples, run) -> prompts."""
    rollouts: tuple[Wrapper, ...] = ()
    """How attempts come about: (prompts, play, run) -> rollouts; the first is the outermost."""
    rewards: tuple[Stage, ...]
    """What an attempt is worth: (batch, run) -> batch."""
    advantages: tuple[Stage, ...]
    """Who gets the credit."""
    weights: tuple[Stage, ...]
    """What counts how much; the last one makes the weights add up."""
    losses: tuple[Loss, ...]
    """What a step costs: (live, batch, run) -> costs. They are added."""
    updates: tuple[Stage, ...] = ()
    """What is learned besides the weights, once they moved: (batch, run) -> batch. The batch holds
    the log-probabilities from before the step; what is kept belongs into `run.memory`."""
    optimizer: AdamW = AdamW()
    epochs: int = 1
    """Optimizer steps on the same rollouts, each over all of them."""
    steps: int = 200
    temperature: Number = 1.0
    top_p: float = 1.0
    max_tokens: Number = 256
    stop: tuple[str, ...] = ()
    old_logprobs: Literal["reviewed", "sampled"] = "reviewed"
    """`reviewed`: ratios are taken against the policy's review before its first update.
    `sampled`: moreover each step's policy cost is multiplied with the truncated importance ratio
    min(reviewed / sampled, importance_cap), since the sampler's numbers differ from the reviewer's
    in precision or engine (TIS)."""
    importance_cap: float = 2.0
    whole_groups: bool = False
    """True where a loss compares the rollouts of a group: micro-batches then never cut one."""
    roles: Mapping[str, Recipe] = field(default_factory=dict)
    """Further policies that learn from the same rollouts, by role."""

    def but(self, **changes: Any) -> Recipe:
        """The same recipe with some fields replaced."""
        return replace(self, **changes)


@dataclass
class Past:
    """What is known of one example."""

    tries: int = 0
    successes: int = 0
    last: float = 0.0
    """Mean reward of its last step."""
    step: int = -1
    """The step in which it was tried last."""
    asked: int = 0
    """Tries of its last step."""
    solved: int = 0
    """Successes of its last step."""


@dataclass
class Ledger:
    """Tries, successes and last reward of every example, by id; saved with the checkpoint."""

    past: dict[str, Past] = field(default_factory=dict)

    def note(self, rollouts: Sequence[Rollout], rewards: Sequence[float], step: int) -> None:
        """Count attempts; a success is a verdict whose reason is `ok`."""
        seen: dict[str, list[float]] = {}
        solved: Counter[str] = Counter()
        for rollout, reward in zip(rollouts, rewards, strict=True):
            solved[rollout.example.id] += rollout.verdict.reason == "ok"
            seen.setdefault(rollout.example.id, []).append(reward)
        for id, paid in seen.items():
            past = self.past.setdefault(id, Past())
            past.tries += len(paid)
            past.successes += solved[id]
            past.last, past.step = sum(paid) / len(paid), step
            past.asked, past.solved = len(paid), solved[id]

    def __getitem__(self, id: str) -> Past:
        """What is known of an example; nothing yet for a new one."""
        return self.past.get(id, Past())


class Policies(Mapping[str, Policy]):
    """The policies of a run by role, and `reference`: the learner as it was before its first step.

    The reference costs a copy of the weights, so it is made when the rehearsal first asks for it.
    """

    def __init__(self, given: Mapping[str, Policy]) -> None:
        self._known = dict(given)
        self._sealed = False

    def __getitem__(self, role: str) -> Policy:
        if role == "reference" and role not in self._known and not self._sealed:
            self._known[role] = self._known["solver"].frozen()
        if role not in self._known:
            raise UnknownName(role, "the policies of this run", self._known)
        return self._known[role]

    def __iter__(self) -> Iterator[str]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)

    def seal(self) -> None:
        """The learner is about to change: from now on no reference can be made of it."""
        self._sealed = True


@dataclass(kw_only=True)
class Run:
    """What stages may read and write while a recipe runs."""

    task: Task
    recipe: Recipe
    policies: Policies
    examples: Sequence[Example] = ()
    """What is trained on, for wrappers that ask for more."""
    seed: int = 0
    rng: np.random.Generator = field(default_factory=np.random.default_rng)
    """Saved with the checkpoint."""
    step: int = 0
    """Of the recipe, counted from 0."""
    memory: dict[str, Any] = field(default_factory=dict)
    """A stage's own state under its own name: plain JSON values, arrays and tensors."""
    ledger: Ledger = field(default_factory=Ledger)
    tally: Tally = field(default_factory=Tally)
    """Numbers of this step for the log."""

    def __post_init__(self) -> None:
        if self.recipe.epochs < 1 or self.recipe.steps < 1:
            raise UsageError(
                f"{self.recipe.name} has {self.recipe.epochs} epochs and {self.recipe.steps} "
                "steps; at least 1 of each is asked for"
            )


def wrapped(wrapper: Wrapper, inner: Attempt, run: Run) -> Attempt:
    """The wrapper as a way to play."""
    return lambda prompts: wrapper(prompts, inner, run)
