"""judging: what a further model says about the answers of a set, and the scores that follow.

The judge is asked when all answers of a set are in. What it said is stored as rollouts of its own
role, next to those that it is about, so that the scores follow from the run's folder alone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from harness.codec import clean
from harness.digests import prompt_digest
from harness.errors import DataError, JudgeUnavailable, ModelError
from harness.models import Model
from harness.types import Completion, Fault, Prompt, Rollout, Task, Turn

PATIENCE = 8
"""Questions in a row that may come to nothing; after that the judge counts as gone."""
SILENT = Completion(None, "failed", note="the judge gave fewer replies than were asked for")

Replies = Mapping[str, Completion]
"""What was said, by the digest of the prompt."""


def questions(task: Task, members: Sequence[Rollout]) -> list[Prompt]:
    """What is asked about the rollouts of one set."""
    assert task.judging is not None
    asked = task.judging.prompts(_ordered(members))
    return [prompt.but(role=task.judging.role) for prompt in asked]


def judged(task: Task, members: Sequence[Rollout], replies: Replies) -> list[Rollout]:
    """The rollouts of one set with the judge's scores, each behind what it said about them.

    DataError where the reply to a question is missing.
    """
    assert task.judging is not None
    turns: dict[tuple[str, int], list[Turn]] = defaultdict(list)
    for prompt in questions(task, members):
        digest = prompt_digest(prompt)
        if digest not in replies:
            raise DataError(
                f"nothing is stored of what the {prompt.role} said about {prompt.example.id} "
                f"attempt {prompt.attempt} (prompt {digest})"
            )
        turns[prompt.example.id, prompt.attempt].append((prompt, replies[digest]))
    ordered = _ordered(members)
    found: list[Rollout] = []
    for rollout, more in zip(ordered, task.judging.scores(ordered, replies), strict=True):
        scores = {**rollout.verdict.scores, **more}
        scored = replace(rollout, verdict=replace(rollout.verdict, scores=scores))
        said = turns.get((rollout.example.id, rollout.attempt))
        if said:
            found.append(replace(scored, turns=tuple(said), role=task.judging.role, seconds=0.0))
        found.append(scored)
    return found


@dataclass
class Judge:
    """A model that is asked about sets, one after another."""

    model: Model
    failed: int = 0
    """Questions in a row that came to nothing."""

    def replies(self, prompts: Sequence[Prompt]) -> dict[str, Completion]:
        """What it says to each prompt, `failed` where nothing could be had.

        JudgeUnavailable where it cannot be asked at all.
        """
        said = dict(enumerate([SILENT] * len(prompts)))
        try:
            said |= dict(self.model.answer(prompts)) if prompts else {}
        except ModelError as error:
            raise self._gone(str(error)) from error
        for _, completion in sorted(said.items()):
            self.failed = self.failed + 1 if completion.stopped == "failed" else 0
            if self.failed >= PATIENCE:
                raise self._gone(f"{self.failed} questions in a row failed: {completion.note}")
        return {prompt_digest(prompt): _bare(said[n]) for n, prompt in enumerate(prompts)}

    def _gone(self, why: str) -> JudgeUnavailable:
        return JudgeUnavailable(
            f"the judge {self.model.name} cannot be asked: {why}. All answers are kept; the same "
            "command again goes on with the judging"
        )


def all_judged(
    task: Task, outcomes: Iterable[Rollout | Fault], model: Model
) -> list[Rollout | Fault]:
    """Whole sets with the scores that a model's judgement gives them; faults as they are.

    Of a task without a judge all are as they are.
    """
    if task.judging is None:
        return list(outcomes)
    sets: dict[str, list[Rollout]] = defaultdict(list)
    found: list[Rollout | Fault] = []
    for each in outcomes:
        if isinstance(each, Fault):
            found.append(each)
        else:
            sets[task.set(each.example)].append(each)
    judge = Judge(model)
    for members in sets.values():
        found += judged(task, members, judge.replies(questions(task, members)))
    return found


def _ordered(members: Sequence[Rollout]) -> list[Rollout]:
    return sorted(members, key=lambda rollout: (rollout.example.id, rollout.attempt))


def _bare(completion: Completion) -> Completion:
    """What counts of a reply: the same whether it was just said or is remembered."""
    output = clean(completion.output) if isinstance(completion.output, str) else None
    note = clean(completion.note) if completion.stopped == "failed" else ""
    return Completion(output, completion.stopped, completion.steps, note=note)
