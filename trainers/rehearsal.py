"""rehearsal: a whole step with two prompts before the first one, so that mistakes show in seconds.

A score that the task lacks, an empty or scored split, a prompt that leaves no room, a reward that
is no number, a stage that reads what is not there. Nothing that the rehearsal does is kept.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from harness.digests import digest
from harness.errors import DataError, SplitError
from harness.play import play
from harness.types import Example, Fault, Prompt, Rollout, Task
from trainers.learner import Learner
from trainers.recipe import Attempt, Ledger, Run, wrapped
from trainers.tally import Tally

SHORT = 16
"""Steps of a rehearsed answer."""


def trainable(task: Task, limit: int | None = None) -> tuple[list[Example], list[str]]:
    """Training examples, and ids of those left out since a scored split asks the same.

    SplitError where nothing, or not even half, would be left: then it is the scored split.
    """
    examples = list(task.examples("train"))
    if not examples:
        raise SplitError(
            f"{task.name} has no train split, and its scored splits are not trained on; see "
            f"`harness show {task.name}` for a member of the family that has one"
        )
    scored = {
        _asked(task.prompt(example))
        for split in ("dev", "test")
        for example in task.examples(split)
    }
    kept, left_out = [], []
    for example in examples[:limit]:
        if _asked(task.prompt(example)) in scored:
            left_out.append(example.id)
        else:
            kept.append(example)
    if len(kept) < len(left_out) or not kept:
        raise SplitError(
            f"{len(left_out)} of {len(left_out) + len(kept)} train examples of {task.name} are "
            f"asked in dev or test too ({', '.join(left_out[:3])}, ...): training on a scored "
            "split is refused. Give the task disjoint splits"
        )
    return kept, left_out


def _asked(prompt: Prompt) -> str:
    return digest([str(message.content).split() for message in prompt.spoken()])


def rehearse(run: Run, learners: Sequence[Learner], examples: Sequence[Example]) -> None:
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
        found = list(play(run.task, few, dict(run.policies)))
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
