"""arms: bandits as policies, played through a recipe's samplers, wrappers, stages and updates.

A rollout is the choice of one arm. Its logits are a sum of rows of a table, so that prompts can
share parameters, and may be shifted for one arm, as a hint or a draft would.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import Parameter

from harness.models import Sampling
from harness.types import Completion, Example, Message, Prompt, Rollout, Verdict
from tests.bench.toys import task
from trainers.learner import Learner
from trainers.policy import Extent, Live
from trainers.recipe import Attempt, Policies, Recipe, Run, wrapped
from trainers.rewards import totals


@dataclass(frozen=True)
class Seen:
    """What a policy reads of a prompt."""

    rows: tuple[int, ...]
    """Of the table; their logits are added."""
    arm: int = 0
    shift: float = 0.0
    """Added to the logit of that arm."""


@dataclass
class Arms:
    """What the learner needs of a policy."""

    table: Parameter
    sampling: Sampling = field(default_factory=Sampling)

    def logits(self, seen: Sequence[Seen]) -> Tensor:
        """(N, arms)."""
        rows = torch.tensor([each.rows for each in seen])
        logits = self.table[rows].sum(1)
        shift = torch.zeros_like(logits)
        shift[range(len(seen)), [s.arm for s in seen]] = torch.tensor([s.shift for s in seen])
        return logits + shift

    def review(self, rollouts: Sequence[Rollout], *, temperature: float | None = None) -> Live:
        """One step each."""
        seen = [Seen(**r.completion.trace["seen"]) for r in rollouts]
        logs = self.logits(seen).log_softmax(-1)
        taken = torch.tensor([[r.completion.trace["arm"]] for r in rollouts])
        entropy = -(logs.exp() * logs).sum(-1, keepdim=True)
        return Live(logs.gather(-1, taken), entropy, self.decided(rollouts))

    def decided(self, rollouts: Sequence[Rollout]) -> Tensor:
        """The one step."""
        return torch.ones(len(rollouts), 1, dtype=torch.bool)

    def extent(self, rollout: Rollout) -> Extent:
        """One position."""
        return Extent(1)

    def size(self, rollout: Rollout) -> int:
        """One position."""
        return 1

    def parameters(self) -> list[Parameter]:
        """The table."""
        return [self.table]

    def refresh(self) -> None:
        """Nothing is kept."""


Reader = Callable[[Prompt], Seen]
Judge = Callable[[Prompt, int, np.random.Generator], tuple[float, int]]
"""Prompt, arm and chance to reward and length."""


@dataclass
class Game:
    """A recipe that learns a bandit by plain steps along its clipped gradient."""

    recipe: Recipe
    table: Tensor
    examples: Sequence[Example]
    read: Reader
    judge: Judge
    lr: float
    seed: int = 0

    def __post_init__(self) -> None:
        self.policy: Any = Arms(Parameter(self.table.clone()))
        self.rng = np.random.default_rng((self.seed, 7))
        self.run = Run(
            task=task({"correct": 1.0}).but(
                prompt=lambda example: Prompt(example, (Message("user", example.id),))
            ),
            recipe=self.recipe,
            policies=Policies({"solver": self.policy}),
            examples=self.examples,
            seed=self.seed,
            rng=np.random.default_rng((self.seed, 1)),
        )
        self.learner = Learner("solver", self.recipe, self.policy, 10**9)
        self.made = 0
        """Attempts so far, those included that no stage saw."""
        self.batch: Any = None
        """Of the last step."""

    def play(self, prompts: Sequence[Prompt]) -> list[Rollout]:
        """Attempts at prompts."""
        asked = [
            p.but(rollouts=1, attempt=p.attempt + n) for p in prompts for n in range(p.rollouts)
        ]
        if not asked:
            return []
        self.made += len(asked)
        seen = [self.read(prompt) for prompt in asked]
        with torch.no_grad():
            logs = self.policy.logits(seen).log_softmax(-1).double().numpy()
        arms = (np.exp(logs).cumsum(1) > self.rng.random((len(asked), 1))).argmax(1)
        return [
            self._rollout(*each)
            for each in zip(asked, seen, arms.tolist(), logs[range(len(asked)), arms], strict=True)
        ]

    def _rollout(self, prompt: Prompt, seen: Seen, arm: int, logprob: float) -> Rollout:
        reward, length = self.judge(prompt, arm, self.rng)
        said = Completion(
            str(arm),
            steps=length,
            logprobs=np.array([logprob], np.float32),
            trace={"seen": asdict(seen), "arm": arm},  # plain, since recipes may store it
        )
        verdict = Verdict({"correct": reward}, reason="ok" if reward == 1 else "wrong")
        return Rollout(((prompt, said),), verdict, prompt.example.id, attempt=prompt.attempt)

    def step(self) -> None:
        """One step as the loop has it."""
        attempt: Attempt = self.play
        for wrapper in reversed(self.recipe.rollouts):
            attempt = wrapped(wrapper, attempt, self.run)
        rollouts = attempt(self.recipe.samplers(self.examples, self.run))
        batch = self.learner.batch(rollouts, self.run)
        self.batch = batch = self.learner.gradient(batch, self.run, first=True)
        if self.policy.table.grad is not None:
            torch.nn.utils.clip_grad_norm_(self.policy.parameters(), 1.0)
            with torch.no_grad():
                self.policy.table -= self.lr * self.policy.table.grad
        self.learner.remember(batch, self.run)
        self.run.ledger.note(rollouts, totals(batch), self.run.step)
        self.run.step += 1

    def chances(self) -> np.ndarray:
        """Of every arm at every example, as it is read without hints: (examples, arms)."""
        plain = [self.read(self.run.task.prompt(example)) for example in self.examples]
        with torch.no_grad():
            return self.policy.logits(plain).double().softmax(-1).numpy()


def numbered(count: int, **inputs: Any) -> list[Example]:
    """Examples whose id is their number."""
    return [Example(str(n), inputs, None) for n in range(count)]
