"""The judge of an evaluation: opened as a role, asked once the answers of a set are in.

Answers wait in `answers.jsonl` beside the rollouts until what the judge says of their set is there;
so a judge that goes away costs no answer, and the rollouts of a finished run hold all that their
scores follow from.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from harness.codec import decode
from harness.commands import screen
from harness.commands.opening import ModelOptions, check_roles, open_model
from harness.digests import digest, prompt_digest
from harness.journal import Journal
from harness.judging import Judge, judged, questions
from harness.models import Model, Sampling
from harness.play import Key
from harness.remembered import Remembered
from harness.types import Completion, Prompt, Rollout, Split, Task
from results.run import line

FREE = ("gold", "chance", "replay")
"""Families whose answers cost nothing and follow from more than what they are asked."""


class Question(Protocol):
    """What has to be known here of an evaluation."""

    @property
    def task(self) -> Task: ...
    @property
    def split(self) -> Split: ...
    @property
    def sampling(self) -> Sampling: ...
    @property
    def roles(self) -> Mapping[str, Model]: ...


def open_roles(
    question: Question, named: Mapping[str, str], options: ModelOptions
) -> dict[str, Model]:
    """A model for each further role of the question's task, by name.

    UsageError, before any model is opened, for a role that is missing or not asked.
    """
    check_roles(question.task, named)
    return {role: _opened(question, role, named[role], options) for role in named}


def _opened(question: Question, role: str, spec: str, options: ModelOptions) -> Model:
    judging = question.task.judging
    if judging is None or role != judging.role:
        return open_model(spec, question.task, question.split, question.sampling, options)
    greedy = Sampling(temperature=0.0, max_tokens=judging.max_tokens)
    model = open_model(spec, question.task, question.split, greedy, options)
    return model if spec.partition(":")[0] in FREE else Remembered(model)


def told(roles: Mapping[str, Model]) -> dict[str, Any]:
    """Of the models of further roles, what a run's manifest holds."""
    return {role: {"name": model.name, **model.describe()} for role, model in roles.items()}


def named(roles: Mapping[str, Model]) -> dict[str, Any]:
    """Of the models of further roles, what a row holds: who was asked, and which weights."""
    found: dict[str, Any] = {}
    for role, model in roles.items():
        found[f"{role}_model"] = model.name
        weights = model.describe().get("weights")
        if weights is not None:
            found[f"{role}_digest"] = digest(weights)
    return found


@dataclass
class _Set:
    """What is stored of one set."""

    members: dict[Key, Rollout] = field(default_factory=dict[Key, Rollout])
    """The solver's."""
    replies: dict[str, Completion] = field(default_factory=dict[str, Completion])

    def is_whole(self, task: Task, wanted: set[Key]) -> bool:
        """Whether all that its scores follow from is there."""
        return wanted <= self.members.keys() and all(
            prompt_digest(prompt) in self.replies
            for prompt in questions(task, list(self.members.values()))
        )


def judge(
    question: Question, answers: Journal, rollouts: Journal, prompts: Sequence[Prompt]
) -> None:
    """Ask about every set whose answers are all there, and store its rollouts with their scores.

    Both journals are open. JudgeUnavailable where the judge cannot be asked; what was judged by
    then is stored.
    """
    task = question.task
    assert task.judging is not None
    wanted: dict[str, set[Key]] = defaultdict(set)
    for prompt in prompts:
        name = task.set(prompt.example)
        wanted[name] |= {(prompt.example.id, number) for number in range(prompt.rollouts)}
    waiting, there = _sets(task, answers, prompts), _sets(task, rollouts, prompts)
    left = [name for name, keys in wanted.items() if not there[name].is_whole(task, keys)]
    for name in left:  # cut off in the middle, or damaged: its answers wait again
        for key in there[name].members.keys() - waiting[name].members.keys():
            waiting[name].members[key] = there[name].members[key]
            answers.append(_line(question, there[name].members[key]))
    again = {id for name in left for id, _ in wanted[name]}
    rollouts.prune(lambda row: row["example"] not in again)
    asked = Judge(question.roles[task.judging.role])
    with screen.progress(f"sets, by {asked.model.name}", len(wanted)) as meter:
        meter.advance(len(wanted) - len(left))
        for name in left:
            members = list(waiting[name].members.values())
            if len(members) < len(wanted[name]):
                continue  # an attempt came to nothing
            replies = asked.replies(questions(task, members))
            for rollout in judged(task, members, replies):
                rollouts.append(_line(question, rollout))
            meter.advance(1, sum(reply.steps for reply in replies.values()))


def _sets(task: Task, journal: Journal, prompts: Sequence[Prompt]) -> dict[str, _Set]:
    """What an open journal holds, by set."""
    assert task.judging is not None
    examples = {prompt.example.id: prompt.example for prompt in prompts}
    found: dict[str, _Set] = defaultdict(_Set)
    for row in journal.read():
        if row["example"] not in examples:
            continue
        rollout = decode(row, examples[row["example"]])
        stored = found[task.set(rollout.example)]
        if rollout.role == "solver":
            stored.members[rollout.example.id, rollout.attempt] = rollout
        elif rollout.role == task.judging.role:
            stored.replies |= {prompt_digest(asked): said for asked, said in rollout.turns}
    return found


def _line(question: Question, rollout: Rollout) -> dict[str, Any]:
    return line(rollout, phase="eval", split=question.split)
