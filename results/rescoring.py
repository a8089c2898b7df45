"""The parity receipt: every stored verdict and reward derived again, without the model.

A rollout is judged again from what is stored of it, by the task as it is now, and compared with
the stored verdict to the bit: scores, answer and reason. Dialogues are replayed turn by turn;
scores of groups are compared anew; a training reward is float32 of the exact weighted sum.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from harness.codec import decode, plain
from harness.digests import digest, prompt_digest
from harness.errors import DataError, JudgeUnavailable
from harness.judging import judged as heard
from harness.play import with_peers
from harness.types import SPLITS, Completion, Example, Rollout, Split, Task, Verdict

Line = Mapping[str, Any]
Key = tuple[str, int, str, str, int]
"""(phase, step, split, example, attempt)."""
SHOWN = 5


@dataclass
class Check:
    """How often something was derived again, and where it came out otherwise."""

    what: str
    checked: int = 0
    wrong: int = 0
    first: list[str] = field(default_factory=list)
    """The first few that differ."""

    def note(self, complaint: str) -> None:
        """Count one; an empty complaint is agreement."""
        self.checked += 1
        if complaint:
            self.wrong += 1
            if len(self.first) < SHOWN:
                self.first.append(complaint)


@dataclass(frozen=True)
class Rescored:
    """What came out."""

    checks: tuple[Check, ...]
    rollouts: tuple[Rollout, ...]
    """Judged again."""
    keys: tuple[Key, ...]
    """Of each rollout, where it belongs: (phase, step, split, example, attempt)."""
    digest: str
    """Names all that is stored, whatever its order in the file, but for how long judging took."""

    @property
    def agrees(self) -> bool:
        """Whether all came out as it is stored."""
        return not any(check.wrong for check in self.checks)


@dataclass
class _Attempt:
    """One attempt as it is stored: a line and a rollout for each role."""

    key: Key
    example: Example
    lines: dict[str, Line] = field(default_factory=dict)
    stored: dict[str, Rollout] = field(default_factory=dict)
    verdict: Verdict | None = None
    """Judged again; without the scores of its group."""


def rescore(
    task: Task, lines: Iterable[Line], reward: Mapping[str, float] | None = None
) -> Rescored:
    """Judge stored rollouts again.

    `reward`: the weights by which training paid, if verdicts alone decided; None where it did not
    pay, or where a recipe's own stages did, whose rewards are not derived again.
    """
    read, prompts = Check("lines read"), Check("prompts as stored")
    verdicts, paid = Check("verdicts"), Check("training rewards")
    attempts = list(_attempts(task, lines, read))
    for attempt in attempts:
        for rollout, line in zip(attempt.stored.values(), attempt.lines.values(), strict=True):
            prompts.note(_prompt_complaint(task, attempt, rollout, line))
    with ThreadPoolExecutor(4, "rejudge") as pool:
        for attempt, found in zip(
            attempts, pool.map(lambda each: _judged(task, each), attempts), strict=True
        ):
            if isinstance(found, Verdict):
                attempt.verdict = found
            else:
                verdicts.note(f"{_place(attempt.key)}: {found}")
    again: list[Rollout] = []
    keys: list[Key] = []
    for attempt, rollout in _with_scores_of_sets(task, attempts):
        if isinstance(rollout, str):
            verdicts.note(f"{_place(attempt.key)}: {rollout}")
            continue
        line = attempt.lines.get(rollout.role)
        if line is None:
            verdicts.note(f"{_place(attempt.key)}: nothing is stored of the {rollout.role}")
            continue
        again.append(rollout)
        keys.append(attempt.key)
        verdicts.note(_verdict_complaint(attempt.key, line["verdict"], rollout.verdict))
        if "reward" in line and reward is not None:
            paid.note(_reward_complaint(attempt.key, line["reward"], rollout.verdict, reward))
    told = sorted(digest(_told(line)) for each in attempts for line in each.lines.values())
    checks = [read, prompts, verdicts, *([paid] if paid.checked else [])]
    return Rescored(tuple(checks), tuple(again), tuple(keys), digest(told))


def _attempts(task: Task, lines: Iterable[Line], read: Check) -> Iterator[_Attempt]:
    """Lines gathered by attempt; a line that was written twice must say the same twice."""
    examples: dict[Split, dict[str, Example]] = {}
    found: dict[Key, _Attempt] = {}
    for number, line in enumerate(lines, 1):
        try:
            split = _split(line)
            if split not in examples:
                examples[split] = {example.id: example for example in task.examples(split)}
            id, attempt = line["example"], int(line["attempt"])
            key = (str(line.get("phase", "eval")), int(line.get("step", 0)), split, id, attempt)
            if id not in examples[split]:
                read.note(f"line {number}: {task.name} has no {split} example '{id}' now")
                continue
            rollout = decode(line, examples[split][id])
        except (DataError, KeyError, TypeError, ValueError) as error:
            read.note(f"line {number}: {type(error).__name__}: {error}")
            continue
        known = found.setdefault(key, _Attempt(key, examples[split][id]))
        before = known.lines.get(rollout.role)
        twice = before is not None and _told(before) != _told(line)
        read.note(f"line {number}: {_place(key)} is stored twice, and differs" if twice else "")
        known.lines[rollout.role] = line
        known.stored[rollout.role] = rollout
    yield from found.values()


def _split(line: Line) -> Split:
    name = line.get("split", line.get("phase"))
    for split in SPLITS:
        if split == name:
            return split
    raise DataError(f"no split '{name}'")


def _told(line: Line) -> list[Any]:
    """What a line says, but for the time that judging took."""
    return sorted((key, digest(value)) for key, value in line.items() if key != "seconds")


def _judged(task: Task, attempt: _Attempt) -> Verdict | str:
    """The verdict of what is stored, or why there is none."""
    opening = task.prompt(attempt.example)
    if opening.role not in attempt.stored:
        return f"nothing is stored of the role '{opening.role}'"
    rollout = attempt.stored[opening.role]
    try:
        if task.dialogue is None:
            return task.verify(attempt.example, rollout.completion)
        return _replayed(task, attempt, rollout)
    except JudgeUnavailable:
        raise
    except Exception as error:
        return f"judging again raises {type(error).__name__}: {error}"


def _replayed(task: Task, attempt: _Attempt, rollout: Rollout) -> Verdict | str:
    """The verdict of a dialogue that hears the stored completions again, role by role."""
    assert task.dialogue is not None
    left: dict[str, list[Completion]] = {
        role: [said for _, said in told.turns]
        for role, told in attempt.stored.items()
        if task.judging is None or role != task.judging.role
    }
    dialogue = task.dialogue(rollout.prompt)
    try:
        prompt = next(dialogue)
        while True:
            if not left.get(prompt.role):
                return f"the dialogue asks the role '{prompt.role}' more often than is stored"
            prompt = dialogue.send(left[prompt.role].pop(0))
    except StopIteration as end:
        unheard = [role for role, rest in left.items() if rest]
        return f"the dialogue no longer asks {', '.join(unheard)}" if unheard else end.value


def _with_scores_of_sets(
    task: Task, attempts: Sequence[_Attempt]
) -> Iterator[tuple[_Attempt, Rollout | str]]:
    """Every stored rollout with its new verdict; where the task compares, with its peers'.

    Or why an attempt has none: what a judge said of its set is not what the task asks.
    """
    judge = task.judging.role if task.judging else None
    judged = [
        (attempt, replace(rollout, verdict=attempt.verdict))
        for attempt in attempts
        if attempt.verdict is not None
        for rollout in attempt.stored.values()
        if rollout.role != judge
    ]
    if task.compare is None and judge is None:
        yield from judged
        return
    sets: dict[tuple[Any, ...], list[tuple[_Attempt, Rollout]]] = defaultdict(list)
    for attempt, rollout in judged:
        phase, step, split, *_ = attempt.key
        sets[phase, step, split, task.set(rollout.example), rollout.role].append((attempt, rollout))
    for (*_, role), members in sets.items():
        owner = {(r.example.id, r.attempt): attempt for attempt, r in members}
        found = [r for _, r in members]
        if task.compare is not None:
            found = with_peers(task, found)
        if judge is not None and role == "solver":
            try:
                found = _heard(task, found, [each.stored.get(judge) for each in owner.values()])
            except DataError as error:
                yield from ((attempt, str(error)) for attempt in owner.values())
                continue
        for rollout in found:
            yield owner[rollout.example.id, rollout.attempt], rollout


def _heard(
    task: Task, members: Sequence[Rollout], stored: Sequence[Rollout | None]
) -> list[Rollout]:
    """The rollouts of a set with the scores that follow from what a judge is stored to have said.

    DataError where that is not what the task asks.
    """
    said = [turn for each in stored if each is not None for turn in each.turns]
    found = heard(task, members, {prompt_digest(prompt): reply for prompt, reply in said})
    asked = sum(len(each.turns) for each in found if each.role != "solver")
    if asked != len(said):
        raise DataError(f"the judge is asked {asked} things now, and {len(said)} are stored")
    return found


def _prompt_complaint(task: Task, attempt: _Attempt, rollout: Rollout, line: Line) -> str:
    """Stored messages have the stored digest; where scores count, the task still asks them."""
    found = prompt_digest(rollout.prompt)
    if found != line.get("prompt_digest", found):
        return f"{_place(attempt.key)}: the messages do not have their stored digest"
    opening = task.prompt(attempt.example)
    scored = rollout.role == opening.role and attempt.key[0] != "train"
    if scored and found != prompt_digest(opening):
        return f"{_place(attempt.key)}: {task.name} asks something else now"
    return ""


def _verdict_complaint(key: Key, stored: Line, verdict: Verdict) -> str:
    now = plain(verdict)
    for part in ("scores", "answer", "reason"):
        if digest(stored.get(part)) != digest(now[part]):
            return f"{_place(key)}: {part} {stored.get(part)!r:.80} is now {now[part]!r:.80}"
    return ""


def _reward_complaint(key: Key, stored: Any, verdict: Verdict, weights: Mapping[str, float]) -> str:
    absent = [name for name in weights if name not in verdict.scores]
    if absent:
        return f"{_place(key)}: the verdict has no score {', '.join(absent)}"
    exact = math.fsum(weight * verdict.scores[name] for name, weight in weights.items())
    now = float(np.float32(exact))  # as trainers hold rewards
    return "" if now == stored else f"{_place(key)}: reward {stored!r} is now {now!r}"


def _place(key: Key) -> str:
    phase, step, _, example, attempt = key
    return f"{phase}{f' step {step}' if step else ''} {example} attempt {attempt}"
