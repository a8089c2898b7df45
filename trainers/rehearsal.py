"""rehearsal: a whole step with two prompts before the first one, so that mistakes show in seconds.

A score that the task lacks, an empty or scored split, a prompt that leaves no room, a reward that
is no number, a stage that reads what is not there. Nothing that the rehearsal does is kept.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from harness.errors import DataError
from harness.hygiene import check_trainable
from harness.types import Example, Fault, Prompt, Rollout, Task
from trainers.learner import Learner
from trainers.recipe import Attempt, Ledger, Run, wrapped
from trainers.shared import played
from trainers.tally import Tally
from trainers.world import ALONE, World

SHORT = 16
"""Steps of a rehearsed answer."""


def trainable(task: Task, limit: int | None = None) -> list[Example]:
    """The first training examples; SplitError where there are none, or where one is also scored."""
    check_trainable(task)
    return list(task.examples("train"))[:limit]


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
    )
    prompts = run.recipe.samplers(examples, copied)
    longest = max(examples, key=lambda example: len(str(run.task.prompt(example).spoken())))
    asked = [*prompts[:1], run.task.prompt(longest).but(rollouts=2, attempt=10**6)]
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
            learner.gradient(learner.batch(mine, copied), copied, first=True)
            learner.optimizer.zero_grad(set_to_none=True)
