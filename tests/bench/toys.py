"""toys: softmax tables as policies, so that a recipe's own stages can be tried in seconds.

A rollout is a few choices; each is drawn from one row of a table of logits, and which row comes
next is the toy's rule. Everything from rewards to gradients is the recipe's and the learner's;
updates are plain gradient steps, as in the papers' toys.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import Parameter

from harness.models import Sampling
from harness.types import Completion, Example, Message, Prompt, Rollout, Task, Verdict
from trainers.advantages import CenterByMean, ScaleByStd
from trainers.learner import Learner
from trainers.policy import Extent, Live
from trainers.recipe import Policies, Recipe, Run
from trainers.recipes.grpo import RECIPE as GRPO
from trainers.rewards import WeighScores

PLAIN = GRPO.but(
    rewards=(WeighScores(),), advantages=(CenterByMean(), ScaleByStd(eps=1e-6, ddof=1))
)
"""What the papers' toys compare with: the sample std, what the toy pays."""


@dataclass(frozen=True)
class Finding:
    """A claim and what came of it."""

    claim: str
    found: str
    holds: bool


def spread(values: Sequence[float]) -> str:
    """Mean and 95 % interval over seeds, by Student's t."""
    from scipy import stats

    x = np.array(values)
    if len(x) < 2 or x.std() == 0:
        return f"{x.mean():.3f}"
    half = stats.t.ppf(0.975, len(x) - 1) * x.std(ddof=1) / math.sqrt(len(x))
    return f"{x.mean():.3f} [{x.mean() - half:.3f}, {x.mean() + half:.3f}]"


def paired(ones: Sequence[float], others: Sequence[float]) -> bool:
    """Whether every seed has the first above the second."""
    return all(one > other for one, other in zip(ones, others, strict=True))


@dataclass
class TablePolicy:
    """What the learner needs of a policy; logits by row and choice."""

    logits: Parameter
    sampling: Sampling = field(default_factory=Sampling)

    def review(self, rollouts: Sequence[Rollout], *, temperature: float | None = None) -> Live:
        """All rollouts have the same number of steps."""
        rows, taken = self._table(rollouts, "rows"), self.choices(rollouts)
        logs = self.logits.log_softmax(-1)[rows]
        entropy = -(logs.exp() * logs).sum(-1)
        picked = logs.gather(-1, taken.unsqueeze(-1)).squeeze(-1)
        return Live(picked, entropy, self.decided(rollouts))

    def choices(self, rollouts: Sequence[Rollout]) -> Tensor:
        """Numbers of the arms."""
        return self._table(rollouts, "ids")

    def decided(self, rollouts: Sequence[Rollout]) -> Tensor:
        """Every step."""
        return torch.ones(len(rollouts), rollouts[0].steps, dtype=torch.bool)

    def _table(self, rollouts: Sequence[Rollout], name: str) -> Tensor:
        return torch.tensor([r.completion.trace[name] for r in rollouts])

    def extent(self, rollout: Rollout) -> Extent:
        """One position a step."""
        return Extent(rollout.steps)

    def size(self, rollout: Rollout) -> int:
        """Steps alone."""
        return rollout.steps

    def parameters(self) -> list[Parameter]:
        """The table."""
        return [self.logits]

    def refresh(self) -> None:
        """Nothing is kept."""

    def frozen(self) -> TablePolicy:
        """A copy."""
        return TablePolicy(Parameter(self.logits.detach().clone(), requires_grad=False))


def task(reward: dict[str, float]) -> Task:
    """A task that nobody plays: it says what is paid."""
    return Task(
        name="toys/table",
        version=1,
        examples=lambda split: [],
        prompt=lambda example: Prompt(example, ()),
        verify=lambda example, completion: Verdict({}),
        gold=lambda example: None,
        metrics=(),
        reward=reward,
    )


def rollouts_of(
    rows: np.ndarray,
    taken: np.ndarray,
    logprobs: np.ndarray,
    scores: dict[str, np.ndarray],
    group: np.ndarray,
    lengths: np.ndarray | None = None,
) -> list[Rollout]:
    """Rollouts in a row: rows and choices (N, T), scores and groups (N,)."""
    prompts = {
        g: Prompt(Example(str(g), {}, None), (Message("user", str(g)),))
        for g in set(group.tolist())
    }
    first = next(iter(scores))
    found = []
    for n, g in enumerate(group.tolist()):
        said = Completion(
            None,
            steps=taken.shape[1],
            logprobs=logprobs[n].astype(np.float32),
            trace={"ids": taken[n].tolist(), "rows": rows[n].tolist()},
            note=str(lengths[n]) if lengths is not None else "",
        )
        told = {name: float(score[n]) for name, score in scores.items()}
        verdict = Verdict(told, reason="ok" if told[first] == 1 else "wrong")
        found.append(Rollout(((prompts[g], said),), verdict, str(g), attempt=n))
    return found


@dataclass
class Toy:
    """A recipe that learns a table by plain gradient steps."""

    recipe: Recipe
    logits: Tensor
    lr: float
    paid: dict[str, float] = field(default_factory=lambda: {"correct": 1.0})

    def __post_init__(self) -> None:
        self.policy: Any = TablePolicy(Parameter(self.logits.clone()))
        policies = Policies({"solver": self.policy})
        self.run = Run(task=task(self.paid), recipe=self.recipe, policies=policies)
        self.learner = Learner("solver", self.recipe, self.policy, 10**9)

    @property
    def probs(self) -> np.ndarray:
        """Of every row's choices."""
        return self.policy.logits.detach().double().softmax(-1).numpy()

    def draw(self, row: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """A choice from each of the rows, and its log-probability."""
        probs = self.probs[row]
        taken = (probs.cumsum(-1) > rng.random((*row.shape, 1))).argmax(-1)
        return taken, np.log(np.take_along_axis(probs, taken[..., None], -1)[..., 0])

    def learn(self, rollouts: Sequence[Rollout]) -> None:
        """All epochs of one step."""
        batch = self.learner.batch(rollouts, self.run)
        for epoch in range(self.recipe.epochs):
            batch = self.learner.gradient(batch, self.run, first=epoch == 0)
            if self.policy.logits.grad is not None:
                with torch.no_grad():
                    self.policy.logits -= self.lr * self.policy.logits.grad
        self.run.step += 1
