"""weights: what counts how much. The last stage of a recipe makes the weights add up.

Losses never average. So which mean is taken is one visible word, and a step's gradient does not
depend on how the step is cut into micro-batches.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from harness.errors import UsageError
from trainers.batch import Batch
from trainers.recipe import Run
from trainers.schedules import Number, at


@dataclass(frozen=True)
class MaskTruncated:
    """Weight 0 for rollouts that were cut by the length limit: nobody knows what they would say."""

    def __call__(self, batch: Batch, run: Run) -> Batch:
        """Cut in any of its turns."""
        whole = [
            all(completion.stopped != "budget" for _, completion in rollout.turns)
            for rollout in batch.rollouts
        ]
        keep = torch.tensor(whole, device=batch.weights.device).unsqueeze(1)
        return batch.but(weights=batch.weights * keep)


@dataclass(frozen=True)
class DropFlatGroups:
    """Weight 0 for groups that were solved by every rollout, or by none.

    A rollout solves its example where its verdict's reason is `ok`.
    """

    solved: bool = True
    """Whether groups are dropped that every rollout solved."""
    failed: bool = True
    """Whether groups are dropped that no rollout solved."""

    def __call__(self, batch: Batch, run: Run) -> Batch:
        """A rollout alone is a group of either kind."""
        right = [[float(rollout.verdict.reason == "ok")] for rollout in batch.rollouts]
        share = batch.peers().mean(torch.tensor(right, device=batch.weights.device))
        flat = ((share == 1) & self.solved) | ((share == 0) & self.failed)
        run.tally.put("groups/dropped", len(batch.group[flat[:, 0]].unique()))
        return batch.but(weights=torch.where(flat, 0.0, batch.weights))


@dataclass(frozen=True)
class MeanOverRollouts:
    """Every rollout that has any weight counts the same, however long: mean_i (1/T_i) sum_t.

    Within a rollout its weights decide. Adds up to 1; to 0 where nothing has weight.
    """

    def __call__(self, batch: Batch, run: Run) -> Batch:
        """TRL's loss type `grpo`, but that rollouts without weight do not dilute the mean."""
        total = batch.weights.sum(1, keepdim=True)
        alive = (total > 0).sum().clamp(min=1)
        share = torch.where(total > 0, batch.weights / total.clamp(min=1e-30), 0.0)
        return batch.but(weights=share / alive)


@dataclass(frozen=True)
class MeanOverGroups:
    """Every group counts the same, in it every rollout, in that its weights decide.

    Groups and rollouts without any weight are not counted. With groups of one size it is
    MeanOverRollouts. Adds up to 1; to 0 where nothing has weight.
    """

    def __call__(self, batch: Batch, run: Run) -> Batch:
        """Divide by the rollout's weights, by the rollouts of its group, by the groups."""
        total = batch.weights.sum(1, keepdim=True)
        alive = total > 0
        groups = len(batch.group[alive[:, 0]].unique())
        beside = batch.peers().sum(alive.float()).clamp(min=1)
        share = torch.where(alive, batch.weights / total.clamp(min=1e-30), 0.0)
        return batch.but(weights=share / (beside * max(groups, 1)))


@dataclass(frozen=True)
class MeanOverSteps:
    """Every step counts the same: sum_it / sum_i T_i. Adds up to 1; to 0 where nothing has weight.

    TRL's loss type `dapo`; verl's `token-mean` over the global batch.
    """

    def __call__(self, batch: Batch, run: Run) -> Batch:
        """Divide by the sum of all weights."""
        return batch.but(weights=batch.weights / batch.weights.sum().clamp(min=1e-30))


@dataclass(frozen=True)
class MeanOverLength:
    """Every step counts 1 / (N x length), a constant: sum_it / (N L). Adds up to mean T_i / L.

    TRL's loss type `dr_grpo`. Longer rollouts weigh more; no length is favored.
    """

    length: Number | None = None
    """None: the most that the recipe lets a rollout say, its `max_tokens`."""

    def __call__(self, batch: Batch, run: Run) -> Batch:
        """N is all rollouts of the batch."""
        length = at(run.recipe.max_tokens if self.length is None else self.length, run)
        if length == 0:
            raise UsageError(f"{self!r} divides by 0 at step {run.step}; give a length above 0")
        return batch.but(weights=batch.weights / (len(batch.rollouts) * length))
