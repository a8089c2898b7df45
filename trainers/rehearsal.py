"""rehearsal: a whole step with two prompts before the first one, so that mistakes show in seconds.

A score that the task lacks, an empty or scored split, a prompt that leaves no room, a reward that
is no number, a schedule that falls below 0, groups with nothing to compare, a stage that reads what
is not there. Nothing that the rehearsal does is kept.
"""

from __future__ import annotations

import copy
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

import numpy as np
import torch

from harness.errors import DataError, UsageError
from harness.hygiene import check_trainable
from harness.play import first
from harness.types import Example, Fault, Prompt, Rollout, Task
from trainers.batch import Batch
from trainers.learner import Learner
from trainers.recipe import Attempt, Ledger, Recipe, Run, Sampler, wrapped
from trainers.schedules import Number, Schedule, at
from trainers.shared import played
from trainers.state import pack
from trainers.tally import Tally
from trainers.world import ALONE, World

SHORT = 16
"""Steps of a rehearsed answer."""


def trainable(task: Task, limit: int | None = None) -> list[Example]:
    """The first training examples; SplitError where there are none, or where one is also scored.

    UsageError for a task with a judge, which evaluation alone asks.
    """
    if task.judging is not None:
        raise UsageError(
            f"{task.name} asks a {task.judging.role} about its answers, which training does not: "
            "train without that setting, and evaluate with it"
        )
    check_trainable(task)
    return first(task, task.examples("train"), limit)


def check_dev(task: Task, every: int) -> None:
    """DataError where a dev split shall be looked at and there is none."""
    if every and not task.examples("dev"):
        raise DataError(
            f"{task.name} has no dev split, and it shall be looked at every {every} steps: without "
            "one no step is the best, and nobody sees whether the reward is being gamed. Give the "
            "task one, or --dev-every 0 to train without"
        )


@dataclass(frozen=True)
class First:
    """The first prompt of a sampler's."""

    sampler: Sampler

    def __call__(self, examples: Sequence[Example], run: Run) -> list[Prompt]:
        """One prompt, or none."""
        return self.sampler(examples, run)[:1]


def check_numbers(recipe: Recipe) -> None:
    """UsageError where a number of a recipe is below 0 or not finite at any of its steps."""

    @dataclass
    class Step:
        step: int = 0

    for path, value in _numbers(recipe):
        steps = range(recipe.steps) if isinstance(value, Schedule) else (0,)
        for step in steps:
            try:
                at(value, Step(step))
            except UsageError as error:
                raise UsageError(f"{path}: {error}") from error


def _numbers(owner: Any, path: str = "") -> Iterator[tuple[str, Number]]:
    """Every number of a recipe that a schedule might stand for, by its path."""
    if isinstance(owner, tuple):
        for part in owner:
            yield from _numbers(part, f"{path}.{type(part).__name__}")
    elif is_dataclass(owner) and not isinstance(owner, type):
        hints = typing.get_type_hints(type(owner))
        for each in fields(owner):
            value, inner = getattr(owner, each.name), f"{path}.{each.name}".lstrip(".")
            if Schedule in typing.get_args(hints[each.name]):
                if value is not None:
                    yield inner, value
            else:
                yield from _numbers(value, inner)


def rehearse(
    run: Run, learners: Sequence[Learner], examples: Sequence[Example], world: World = ALONE
) -> None:
    """Play, judge, pay, weigh and differentiate two prompts; raises what the first step would."""
    copied = replace(
        run,
        rng=np.random.default_rng(0),
        memory=copy.deepcopy(run.memory),
        ledger=Ledger(),
        tally=Tally(),
        recipe=run.recipe.but(samplers=First(run.recipe.samplers)),
        examples=examples[:2],
    )
    for recipe in (run.recipe, *run.recipe.roles.values()):
        check_numbers(recipe)
    prompts = copied.recipe.samplers(examples, copied)
    longest = max(examples, key=lambda example: _length(run.task.prompt(example)))
    often = max((prompt.rollouts for prompt in prompts), default=1)
    asked = [*prompts, run.task.prompt(longest).but(rollouts=often, attempt=10**6)]
    for learner in learners:
        learner.policy.sampling = replace(learner.policy.sampling, max_tokens=SHORT)

    def attempt(wanted: Sequence[Prompt]) -> list[Rollout]:
        few = [prompt.but(rollouts=min(prompt.rollouts, 2)) for prompt in wanted]
        found = played(world, run.task, few, dict(run.policies), block=64)
        faults = [outcome for outcome in found if isinstance(outcome, Fault)]
        if faults:
            raise DataError(
                f"the rehearsal's attempt at {faults[0].prompt.example.id} failed: {faults[0].note}"
            )
        return [outcome for outcome in found if isinstance(outcome, Rollout)]

    play_it: Attempt = attempt
    for wrapper in reversed(run.recipe.rollouts):
        play_it = wrapped(wrapper, play_it, copied)
    rollouts = play_it(asked)
    for learner in learners:
        mine = [rollout for rollout in rollouts if rollout.role == learner.role]
        if mine:
            batch = learner.batch(mine, copied)
            _check_groups(batch, learner, copied)
            learner.remember(learner.gradient(batch, copied, first=True), copied)
            learner.optimizer.zero_grad(set_to_none=True)
    pack(copied.memory, {})


def _length(prompt: Prompt) -> int:
    """Characters of what is read, and of its arrays the numbers: printing them takes seconds."""
    parts: list[Any] = []
    for message in prompt.spoken():
        said = message.content
        told = [*said.values()] if isinstance(said, Mapping) else said
        parts += told if isinstance(told, tuple | list) else [told]
    return sum(each.size if isinstance(each, np.ndarray) else len(str(each)) for each in parts)


def _check_groups(batch: Batch, learner: Learner, run: Run) -> None:
    """UsageError where every group is a single attempt and the recipe credits no such attempt.

    Tried with rewards that differ, since those of the rehearsal may be the same by chance.
    """
    if int(batch.peers().count(batch.rewards).max()) > 1:
        return
    different = torch.linspace(0, 1, len(batch.rollouts), device=batch.rewards.device)
    batch = batch.but(rewards=different.unsqueeze(1), advantages=torch.zeros_like(batch.rewards))
    for stage in learner.recipe.advantages:
        batch = stage(batch, run)
    if not bool(batch.advantages.any()):
        raise UsageError(
            f"{learner.recipe.name} compares the attempts at a prompt, and there is one attempt at "
            "each: every advantage is 0, and nothing would be learned. Ask more often, as in "
            "--set samplers.rollouts=8"
        )
