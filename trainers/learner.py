"""learner: one policy, its recipe and its optimizer; learns from the rollouts of one role."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from jaxtyping import Float, Int
from torch import Tensor

from harness.errors import DataError, ModelError
from harness.types import Rollout
from trainers.batch import Batch
from trainers.memory import (
    SMALLEST,
    bytes_per_position,
    give_back,
    is_out_of_memory,
    positions_that_fit,
    reserved,
)
from trainers.optimizers import make_optimizer
from trainers.policy import Extent, Live, Policy, together
from trainers.recipe import BatchLoss, Recipe, Run
from trainers.schedules import at
from trainers.shards import any_shard, whole
from trainers.shared import agreed, blank, reviewed
from trainers.world import ALONE, World


@dataclass
class Learner:
    """Turns rollouts into optimizer steps."""

    role: str
    recipe: Recipe
    policy: Policy
    positions: int | None = None
    """Of a micro-batch: bounds memory, changes no number. None: as many as fit."""
    world: World = ALONE
    """Each process reviews its share of a batch; gradients are those of the whole."""

    def __post_init__(self) -> None:
        self._each: float | None = None
        """Bytes that a position of a review keeps; measured when it is first asked for."""
        self.optimizer = make_optimizer(self.recipe.optimizer, self.policy)
        self.even = self.world.size > 1 and any_shard(self.policy.parameters())
        """Whether all processes must review equally often, since weights are spread over them."""

    def batch(self, rollouts: Sequence[Rollout], run: Run) -> Batch:
        """Rollouts after all stages but the losses; DataError where a number is not finite."""
        mine = replace_recipe(run, self.recipe)
        batch = Batch.of(rollouts, self.policy.decided(rollouts))
        for stage in self.recipe.rewards:
            batch = stage(batch, mine)
        _finite(batch.rewards, "reward", batch, run)
        for stage in (*self.recipe.advantages, *self.recipe.weights):
            batch = stage(batch, mine)
        _finite(batch.advantages, "advantage", batch, run)
        _finite(batch.weights, "weight", batch, run)
        return agreed(self.world, batch) if self.world.size > 1 else batch

    def learn(self, batch: Batch, run: Run) -> Batch:
        """All epochs over a batch; gives it back with the log-probabilities that it was told."""
        for epoch in range(self.recipe.epochs):
            batch = self.gradient(batch, run, first=epoch == 0)
            self._update(batch, run)
        self.optimizer.zero_grad(set_to_none=True)  # memory for answers and checkpoints
        return self.remember(batch, run)

    def remember(self, batch: Batch, run: Run) -> Batch:
        """The recipe's stages for what is learned besides the weights."""
        for stage in self.recipe.updates:
            batch = stage(batch, replace_recipe(run, self.recipe))
        return batch

    def gradient(self, batch: Batch, run: Run, *, first: bool) -> Batch:
        """Gradients of the whole batch, in micro-batches whose sum does not depend on the cut.

        In the first epoch the policy is still the one that ratios are taken against, so its review
        is used twice and no second pass is made. Where memory runs out, all is done again in
        micro-batches of half the size, and so are all later batches.
        """
        mine = replace_recipe(run, self.recipe)
        if not first:
            batch = self._looked_at(batch, mine)
        if self.world.size == 1:
            return self._retried(batch, run, first=first)
        sizes = [self.policy.size(rollout) for rollout in batch.rollouts]
        batch = reviewed(self.world, batch, sizes, mine, partial(self._retried, first=first))
        self.world.sum_gradients(self.policy.parameters())
        return batch

    def _looked_at(self, batch: Batch, run: Run) -> Batch:
        """The batch with what losses must know of all of it before a further update."""
        losses = [loss for loss in self.recipe.losses if isinstance(loss, BatchLoss)]
        if not losses:
            return batch
        if self.world.size == 1:
            now = self._read(batch, run).old_logprobs
        else:
            sizes = [self.policy.size(rollout) for rollout in batch.rollouts]
            now = reviewed(self.world, batch, sizes, run, self._read).old_logprobs
        for loss in losses:
            batch = loss.look(now, batch, run)
        return batch

    @torch.no_grad()
    def _read(self, batch: Batch, run: Run) -> Batch:
        """Some rollouts with the policy's log-probabilities of now as the old ones."""
        extents = [self.policy.extent(rollout) for rollout in batch.rollouts]
        now = torch.zeros_like(batch.old_logprobs)
        for rows, part in self._micro_batches(batch, run, extents):
            live = self.policy.review(part.rollouts)
            if rows is not None:
                now[rows, : part.mask.shape[1]] = live.logprobs
        return batch.but(old_logprobs=now)

    def _micro_batches(
        self, batch: Batch, run: Run, extents: Sequence[Extent]
    ) -> Iterator[tuple[Int[Tensor, " n"] | None, Batch]]:
        """Rows and rollouts to be reviewed together; None for one that only keeps others company.

        What has no step is left out.
        """
        budget, whole = self.budget(batch, run, extents), self.recipe.whole_groups
        parts = batch.parts(extents, budget, whole_groups=whole)
        idle = max(self.world.gather(len(parts))) - len(parts) if self.even else 0
        for rows in [*parts, *[None] * idle]:
            part = batch.take(rows) if rows is not None else blank(batch)
            if self.even or bool(part.mask.any()):
                yield rows, part

    def _retried(self, batch: Batch, run: Run, *, first: bool) -> Batch:
        """Gradients of some rollouts, however small the micro-batches must become for that."""
        extents = [self.policy.extent(rollout) for rollout in batch.rollouts]
        while True:
            self.optimizer.zero_grad(set_to_none=True)
            budget = self.budget(batch, run, extents)
            before = run.tally.copy()
            try:
                return self._accumulate(batch, run, extents, first=first)
            except (RuntimeError, MemoryError) as error:
                if self.even or not is_out_of_memory(error):  # shards are a meeting
                    raise
                smaller = self._halved(batch, extents, budget, error)
            give_back()  # outside the handler, which keeps what the failed review held
            warnings.warn(
                f"memory ran out in micro-batches of {budget} positions: from here on {smaller}. "
                f"The gradient is the same; --positions {smaller} begins with that",
                stacklevel=2,
            )
            run.tally.restore(before)
            run.tally.add("oom_retries", 1)
            run.memory["positions"][self.role] = smaller

    def budget(self, batch: Batch, run: Run, extents: Sequence[Extent]) -> int:
        """Positions of a micro-batch. What was found to fit is kept with the run's state."""
        known = run.memory.setdefault("positions", {})
        said = [rollout for rollout in batch.rollouts if rollout.steps or self.even]
        if self.role in known:
            return known[self.role]
        if self.positions is not None or not said:
            return self.positions or SMALLEST
        weights = self.policy.parameters()
        if self._each is None:
            self._each = bytes_per_position(self.policy, said[0])
        taken = reserved(self.optimizer, weights)
        device = weights[0].device
        known[self.role] = positions_that_fit(device, self._each, taken, extents)
        return known[self.role]

    def _halved(
        self, batch: Batch, extents: Sequence[Extent], budget: int, error: BaseException
    ) -> int:
        """A budget that makes smaller micro-batches; ModelError where there are none."""
        whole = self.recipe.whole_groups
        parts = batch.parts(extents, budget, whole_groups=whole)
        largest = max(together(extents[row] for row in part.tolist()) for part in parts)
        smaller = min(budget, largest) // 2
        again = batch.parts(extents, max(smaller, 1), whole_groups=whole)
        if len(again) == len(parts):
            unit = "group" if whole else "rollout"
            raise ModelError(
                f"memory is too small to learn from one {unit} of {largest} positions: "
                f"{str(error).splitlines()[0]}. Shorter answers (--max-tokens), --checkpointing "
                "or an adapter (--lora 16) need less"
            ) from error
        return smaller

    def _accumulate(
        self, batch: Batch, run: Run, extents: Sequence[Extent], *, first: bool
    ) -> Batch:
        """Add the gradients of some rollouts, in micro-batches."""
        mine = replace_recipe(run, self.recipe)
        old, importance = batch.old_logprobs.clone(), batch.importance.clone()
        for rows, part in self._micro_batches(batch, run, extents):
            steps = part.mask.shape[1]
            started = time.perf_counter()
            live = self.policy.review(part.rollouts)
            if first:
                part = self._first_review(part, live, run)
                if rows is not None:
                    old[rows, :steps], importance[rows, :steps] = part.old_logprobs, part.importance
            cost = self._cost(live, part, mine)
            run.tally.add("time/review", time.perf_counter() - started)
            started = time.perf_counter()
            _backward(cost, live, always=self.even)
            run.tally.add("time/backward", time.perf_counter() - started)
        return batch.but(old_logprobs=old, importance=importance)

    def _first_review(self, part: Batch, live: Live, run: Run) -> Batch:
        """What ratios are taken against, and how far the sampler was from it."""
        reviewed = live.logprobs.detach()
        told = part.mask & part.sampled_logprobs.isfinite()
        gap = torch.where(told, reviewed - part.sampled_logprobs, 0.0)
        ratio = gap.exp().clamp(max=self.recipe.importance_cap)
        tally = run.tally
        tally.mean("entropy", live.entropy.detach(), part.mask)
        if bool(told.any()):
            tally.mean("sampling/sampling_logp_difference/mean", gap.abs(), told)
            tally.most("sampling/sampling_logp_difference/max", float(gap.abs().max()))
            name = "sampling/importance_sampling_ratio"
            tally.least(f"{name}/min", float(ratio[told].min()))
            tally.mean(f"{name}/mean", ratio, told)
            tally.most(f"{name}/max", float(ratio[told].max()))
        if self.recipe.old_logprobs == "sampled":
            part = part.but(importance=ratio)
        return part.but(old_logprobs=reviewed)

    def _cost(self, live: Live, part: Batch, run: Run) -> Float[Tensor, ""]:
        costs = torch.zeros_like(live.logprobs)
        for loss in self.recipe.losses:
            costs = costs + loss(live, part, run)
        cost = (costs * part.weights).sum()
        if not math.isfinite(cost.item()):
            bad = ~(costs * part.weights).isfinite().all(1)
            raise ModelError(f"the loss is {cost.item()} {_where(part, bad, run)}")
        run.tally.add("loss", cost.item() / self.recipe.epochs)
        return cost

    def _update(self, batch: Batch, run: Run) -> None:
        started = time.perf_counter()
        settings, learning = self.recipe.optimizer, self.policy.parameters()
        found = [weight.grad for weight in learning if weight.grad is not None]
        rate = at(settings.lr, run)
        run.tally.put("learning_rate", rate)
        norm = torch.nn.utils.get_total_norm(found)
        size = whole(norm).item()
        # shards go backward though no slope calls for it, and then hold zeros
        if not found or (self.even and size == 0):
            # nothing to learn: old momentum alone does not move the weights either
            run.tally.put("grad_norm", 0.0)
            return
        if not math.isfinite(size):
            nowhere = torch.ones(len(batch.rollouts), dtype=torch.bool)
            raise ModelError(
                f"the gradient's norm is {size} {_where(batch, nowhere, run)}. A smaller "
                "learning rate, or float32, may help"
            )
        if settings.max_grad_norm:
            torch.nn.utils.clip_grads_with_norm_(learning, settings.max_grad_norm, norm)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        self.policy.refresh()
        run.tally.put("grad_norm", size)
        run.tally.add("time/optimizer", time.perf_counter() - started)


def _backward(cost: Float[Tensor, ""], live: Live, *, always: bool = False) -> None:
    """Gradients of the weights, unless no step of the part has any: flat groups cost no pass."""
    read = [x for x in (live.logprobs, live.entropy) if x.requires_grad]
    slopes = torch.autograd.grad(cost, read, allow_unused=True, materialize_grads=True)
    if always or any(bool(slope.any()) for slope in slopes):
        torch.autograd.backward(read, list(slopes))


def replace_recipe(run: Run, recipe: Recipe) -> Run:
    """The same run as the stages of a role see it; memory, ledger and tally are shared."""
    return run if run.recipe is recipe else replace(run, recipe=recipe)


def _finite(x: Float[Tensor, "N #T"], what: str, batch: Batch, run: Run) -> None:
    bad = ~x.isfinite().all(1)
    if bool(bad.any()):
        raise DataError(f"a {what} is not finite {_where(batch, bad, run)}")


def _where(batch: Batch, bad: Tensor, run: Run) -> str:
    """The step, and up to three rollouts."""
    rows: Int[Tensor, " n"] = bad.nonzero().flatten()
    named = [
        f"{batch.rollouts[row].example.id} attempt {batch.rollouts[row].attempt} "
        f"(scores {dict(batch.rollouts[row].verdict.scores)})"
        for row in rows[:3].tolist()
    ]
    more = f" and {len(rows) - 3} more" if len(rows) > 3 else ""
    return f"at step {run.step + 1}, in {'; '.join(named)}{more}"
