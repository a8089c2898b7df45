"""Answers of a set in pairs, put to a model: do both say the same thing in answer to the question?

The setting `judge` is `none` (nobody is asked) or `pairs`. Two different answers to different
phrasings are put once, in alphabetical order: so the order does not tell which phrasing had which
answer, and the same two are the same question however they came about. A judge that favors a place
favors it in all pairs alike; to ask both ways would cost twice as much and make a judge that
contradicts itself no better. The question shown is the set's first phrasing.

Answers that are equal after normalization are alike without asking, and so are two refusals. A
refusal and an answer are not, and a missing answer is like nothing. Whether answers are right is
not told and does not count: the judge sees no target.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from typing import Literal

from harness import Completion, Judging, Message, Metric, Prompt, Rollout, Task
from harness.digests import prompt_digest
from harness.errors import UsageError
from harness.metrics import mean
from harness.reading import after_thinking
from harness.similarity import agreement, normalized
from tasks._ragqa_answers import REFUSAL, by_example
from tasks._settings import choice

VERSION = 1
"""Of the question and of how replies are read."""
MODES = ("none", "pairs")
METRICS: tuple[Metric, ...] = (
    mean("judged_alike"),
    mean("unreadable", better="lower"),
    mean("unjudged", better="lower"),
)
QUESTION = """\
Question: {question}
Answer A: {a}
Answer B: {b}

Do the two answers say the same thing in answer to the question? They may differ in wording, \
spelling and detail, but must mean the same thing. Whether they are right does not matter. \
Reply with one word: yes or no."""

Said = Literal["yes", "no", "unreadable", "unjudged"]
Pair = tuple[str, str]
"""Two answers after normalization, in alphabetical order."""


def with_judge(task: Task, settings: Mapping[str, str]) -> Task:
    """The task as the setting `judge` has it; without a judge, as if there were no such setting."""
    own = {name: value for name, value in task.settings.items() if name != "judge"}
    if "judge" not in settings or choice(settings, "judge", MODES) == "none":
        return task.but(settings=own)
    if settings["level"] == "attribution":
        raise UsageError(
            f"{task.name}: attribution is told by token F1 and classes, not by a judge"
        )
    place = 1 + [metric.name for metric in task.metrics].index("same_class")
    return task.but(
        metrics=(*task.metrics[:place], *METRICS, *task.metrics[place:]),
        judging=Judging(prompts=prompts, scores=scores),
        settings={**own, "judge": settings["judge"], "judge_prompt": VERSION},
    )


def prompts(rollouts: Sequence[Rollout]) -> list[Prompt]:
    """A question for each two answers of a set that need one."""
    return list(_questions(rollouts).values())


def scores(
    rollouts: Sequence[Rollout], replies: Mapping[str, Completion]
) -> list[dict[str, float]]:
    """For each answer the share of answers to other phrasings that are judged to be like it.

    And the shares about which the judge said what cannot be read, or nothing. Both count as unlike.
    """
    said: dict[Pair, Said] = {
        pair: read(replies[prompt_digest(prompt)]) for pair, prompt in _questions(rollouts).items()
    }
    rows = [[_class(each) for each in row] for row in by_example(rollouts).values()]

    def shares(word: Said) -> list[float]:
        return [share for row in agreement(rows, _told(said, word)) for share in row]

    names: dict[str, Said] = {
        "judged_alike": "yes",
        "unreadable": "unreadable",
        "unjudged": "unjudged",
    }
    columns = {name: shares(word) for name, word in names.items()}
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def read(completion: Completion) -> Said:
    """The reply: its first word is yes or no, and the other word does not occur in it."""
    if completion.stopped == "failed":
        return "unjudged"
    text = after_thinking(completion.output) if isinstance(completion.output, str) else None
    words = normalized(text or "").split()
    found = Counter(word for word in words if word in ("yes", "no"))
    if len(found) == 1 and words[0] in found:
        return "yes" if words[0] == "yes" else "no"
    return "unreadable"


def _questions(rollouts: Sequence[Rollout]) -> dict[Pair, Prompt]:
    """The question of each pair that needs one, about the first rollout that said either."""
    said: dict[str, list[Rollout]] = {}
    for rollout in rollouts:
        name = _class(rollout)
        if name is not None and rollout.verdict.answer != REFUSAL:
            said.setdefault(name, []).append(rollout)
    found: dict[Pair, Prompt] = {}
    for a, b in combinations(sorted(said), 2):
        both = [*said[a], *said[b]]
        if len({each.example.id for each in both}) == 1:
            continue  # said to one phrasing alone, and that is not compared with itself
        told = QUESTION.format(
            question=" ".join(str(rollouts[0].example.inputs["question"]).split()),
            a=min(str(each.verdict.answer) for each in said[a]),
            b=min(str(each.verdict.answer) for each in said[b]),
        )
        owner = min(both, key=lambda each: (each.example.id, each.attempt))
        message = Message("user", told)
        found[a, b] = Prompt(owner.example, (message,), attempt=owner.attempt)
    return found


def _class(rollout: Rollout) -> str | None:
    answer = rollout.verdict.answer
    return None if answer is None else normalized(str(answer))


def _told(said: Mapping[Pair, Said], word: Said) -> Callable[[str, str], float]:
    """Whether that was said about two answers; of equal ones nobody is asked."""

    def told(a: str, b: str) -> float:
        return float(word == ("yes" if a == b else said.get((min(a, b), max(a, b)))))

    return told
