"""Prompts to judged rollouts: the one path that evaluation and training share.

Attempts are cut into blocks of fixed membership. A block is asked at once, its answers are judged
on threads while the model goes on, and rollouts come out as soon as they are judged. A resumed run
asks an unfinished block again as a whole and leaves out what is there already, so that a model
whose numbers depend on the neighbors in a batch (`independent` is False) still gives the numbers of
an unbroken run.
"""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace

import numpy as np

from harness.codec import clean, plain, revive
from harness.errors import JudgeUnavailable, UsageError
from harness.models import Model
from harness.types import (
    Completion,
    Dialogue,
    Example,
    Fault,
    Prompt,
    Rollout,
    Row,
    Task,
    Turn,
    Verdict,
    by_id,
)

THREADS = 4
"""That judge answers of a task that does not say how many."""
Key = tuple[str, int]
"""(example id, attempt)."""


def play(
    task: Task,
    prompts: Sequence[Prompt],
    models: Model | Mapping[str, Model],
    *,
    block: int = 64,
    threads: int | None = None,
    done: Collection[Key] = (),
) -> Iterator[Rollout | Fault]:
    """Judged rollouts of `prompts`, each `rollouts` times, in the order in which they finish.

    `models` is one model, or one a role. `done` names attempts that are there already. An attempt
    that cannot be made or judged comes out as a Fault. On so many `threads` answers are judged; by
    default as the task says. JudgeUnavailable before anything is asked where none can be judged.
    """
    by_role = models if isinstance(models, Mapping) else {"solver": models}
    due = [
        (members, missing)
        for members in blocks(task, prompts, block)
        if (missing := [p for p in members if (p.example.id, p.attempt) not in done])
    ]
    if not due:
        return
    with_pool = ThreadPoolExecutor(threads or _at_once(task), "judge")
    try:
        judge = _Judge(task, by_role, with_pool)
        for members, missing in due:
            asked = missing if judge.may_split else members
            yield from (outcome for outcome in judge.block(asked) if _key(outcome) not in done)
        yield from (outcome for outcome in judge.rest() if _key(outcome) not in done)
    finally:
        with_pool.shutdown(wait=False, cancel_futures=True)


def _at_once(task: Task) -> int:
    return THREADS if task.at_once is None else max(1, task.at_once())


def blocks(task: Task, prompts: Sequence[Prompt], size: int) -> Iterator[list[Prompt]]:
    """Attempts in blocks of about `size`; a task that compares keeps each set in one block."""
    attempts = [
        prompt.but(rollouts=1, attempt=prompt.attempt + number)
        for prompt in prompts
        for number in range(prompt.rollouts)
    ]
    if task.compare is not None:
        order: dict[str, list[Prompt]] = defaultdict(list)
        for attempt in attempts:
            order[task.set(attempt.example)].append(attempt)
        units = list(order.values())
    else:
        units = [[attempt] for attempt in attempts]
    members: list[Prompt] = []
    for unit in units:
        if members and len(members) + len(unit) > size:
            yield members
            members = []
        members = [*members, *unit] if len(unit) > 1 else (members.append(unit[0]) or members)
    if members:
        yield members


def whole_sets(
    task: Task, examples: Sequence[Example], limit: int | None = None
) -> list[list[Example]]:
    """The examples by set, in the order in which sets begin: as many whole ones as `limit` holds.

    At least one, so a set of more than `limit` examples is still asked whole.
    """
    if task.set is by_id:
        return [[example] for example in (examples if limit is None else examples[: max(1, limit)])]
    found: dict[str, list[Example]] = {}
    for example in examples:
        found.setdefault(task.set(example), []).append(example)
    kept: list[list[Example]] = []
    room = len(examples) if limit is None else limit
    for members in found.values():
        if kept and len(members) > room:
            break
        kept.append(members)
        room -= len(members)
    return kept


def first(task: Task, examples: Sequence[Example], limit: int | None) -> list[Example]:
    """The first `limit` examples in their order, without the sets that do not fit whole."""
    kept = {each.id for members in whole_sets(task, examples, limit) for each in members}
    return [example for example in examples if example.id in kept]


def set_of(task: Task, example: Example) -> str:
    """The name of an example's set; empty where it is a set of its own."""
    name = task.set(example)
    return "" if name == example.id else name


def rows(rollouts: Sequence[Rollout], order: Sequence[str], role: str = "solver") -> list[Row]:
    """Verdicts as metrics read them: a row an example of `order`, a column an attempt."""
    found: dict[str, dict[int, Verdict]] = defaultdict(dict)
    for rollout in rollouts:
        if rollout.role == role:
            found[rollout.example.id][rollout.attempt] = rollout.verdict
    return [[found[id][n] for n in sorted(found[id])] for id in order if id in found]


@dataclass
class _Attempt:
    prompt: Prompt
    dialogue: Dialogue | None
    turns: list[Turn] = field(default_factory=list[Turn])
    seconds: float = 0.0


@dataclass
class _Step:
    """What one look at a completion led to."""

    attempt: _Attempt
    next: Prompt | None = None
    verdict: Verdict | None = None
    fault: str = ""


class _Judge:
    """Asks and judges; one-turn answers may still be under judgment as the next block is asked."""

    def __init__(self, task: Task, models: Mapping[str, Model], pool: ThreadPoolExecutor) -> None:
        self.task = task
        self.models = models
        self.pool = pool
        self.pending: set[Future[_Step]] = set()
        self.waits = task.dialogue is not None or task.compare is not None
        self.may_split = task.compare is None and all(m.independent for m in models.values())

    def block(self, members: Sequence[Prompt]) -> Iterator[Rollout | Fault]:
        judged: list[Rollout | Fault] = []
        waiting: list[tuple[_Attempt, Prompt]] = []
        for prompt in members:
            attempt, first = self._opened(prompt)
            if isinstance(first, Fault):
                judged.append(first)
            else:
                waiting.append((attempt, first))
        if self.task.compare is None:
            yield from judged
        while waiting:
            upcoming: list[tuple[_Attempt, Prompt]] = []
            for asked in _by_role(waiting):
                for outcome in self._ask(asked, upcoming):
                    judged.append(outcome)
                    if self.task.compare is None:
                        yield outcome
            if self.waits:
                for outcome in self._settle(upcoming, until=0):
                    judged.append(outcome)
                    if self.task.compare is None:
                        yield outcome
            waiting = upcoming
        if self.task.compare is not None:
            yield from _compared(self.task, members, judged)

    def rest(self) -> Iterator[Rollout | Fault]:
        yield from self._settle([], until=0)

    def _opened(self, prompt: Prompt) -> tuple[_Attempt, Prompt | Fault]:
        if self.task.dialogue is None:
            return _Attempt(prompt, None), prompt
        attempt = _Attempt(prompt, self.task.dialogue(prompt))
        try:
            assert attempt.dialogue is not None
            return attempt, next(attempt.dialogue)
        except StopIteration:
            return attempt, Fault(prompt, "the dialogue ended before it asked anything")
        except Exception as error:
            return attempt, Fault(prompt, f"the dialogue raised {type(error).__name__}: {error}")

    def _ask(
        self, asked: list[tuple[_Attempt, Prompt]], upcoming: list[tuple[_Attempt, Prompt]]
    ) -> Iterator[Rollout | Fault]:
        role = asked[0][1].role
        if role not in self.models:
            raise UsageError(
                f"{self.task.name} asks a '{role}', and there is none; there are: "
                f"{', '.join(self.models)}. Give one with --role {role}=MODEL"
            )
        answered: set[int] = set()
        for number, completion in self.models[role].answer([prompt for _, prompt in asked]):
            attempt, prompt = asked[number]
            if number in answered:
                continue
            answered.add(number)
            if completion.stopped == "failed":
                yield Fault(attempt.prompt, completion.note or "the model gave nothing")
                continue
            completion = _readable(completion)
            self.pending.add(self.pool.submit(self._look, attempt, prompt, completion))
            yield from self._settle(upcoming, until=4 * len(asked))
        for number, (attempt, _) in enumerate(asked):
            if number not in answered:
                yield Fault(attempt.prompt, "the model gave fewer completions than were asked for")

    def _look(self, attempt: _Attempt, prompt: Prompt, completion: Completion) -> _Step:
        """On a thread: judge, or go on with the dialogue."""
        attempt.turns.append((prompt, completion))
        start = time.perf_counter()
        try:
            if attempt.dialogue is None:
                verdict = self.task.verify(prompt.example, completion)
            else:
                try:
                    return _Step(attempt, next=attempt.dialogue.send(completion))
                except StopIteration as end:
                    verdict = end.value
        except JudgeUnavailable:
            raise  # no verdict can be had: stop, instead of collecting faults
        except BaseException as error:  # also SystemExit: a fault is never a wrong answer
            return _Step(attempt, fault=f"the verifier raised {type(error).__name__}: {error}")
        finally:
            attempt.seconds += time.perf_counter() - start
        return _Step(attempt, verdict=verdict, fault=unsound(self.task, verdict))

    def _settle(
        self, upcoming: list[tuple[_Attempt, Prompt]], until: int
    ) -> Iterator[Rollout | Fault]:
        """What has been judged by now; waits while more than `until` are pending."""
        ready = {future for future in self.pending if future.done()}
        while True:
            self.pending -= ready
            for future in ready:
                step = future.result()
                if step.next is not None:
                    upcoming.append((step.attempt, step.next))
                else:
                    yield from _finished(self.task, step)
            if len(self.pending) <= until:
                return
            ready, _ = wait(self.pending, return_when=FIRST_COMPLETED)


def _finished(task: Task, step: _Step) -> Iterator[Rollout | Fault]:
    prompt = step.attempt.prompt
    if step.fault or step.verdict is None:
        yield Fault(prompt, step.fault or "the dialogue ended without a verdict")
        return
    turns: dict[str, list[Turn]] = defaultdict(list)
    for asked, said in step.attempt.turns:
        turns[asked.role].append((asked, said))
    first = step.attempt.turns[0][0].role
    for role, spoken in sorted(turns.items(), key=lambda turn: turn[0] == first):
        yield Rollout(  # the role that was asked first comes last: with it the attempt is whole
            turns=tuple(spoken),
            verdict=step.verdict,
            group=task.group(prompt.example),
            role=role,
            attempt=prompt.attempt,
            seconds=step.attempt.seconds,
            set=set_of(task, prompt.example),
        )


def _compared(
    task: Task, members: Sequence[Prompt], judged: Sequence[Rollout | Fault]
) -> Iterator[Rollout | Fault]:
    """Scores of whole sets; a set that lacks a member is not compared, but faulted."""
    broken: dict[str, str] = {}
    sets: dict[str, dict[str, list[Rollout]]] = defaultdict(lambda: defaultdict(list))
    for outcome in judged:
        if isinstance(outcome, Fault):
            broken.setdefault(task.set(outcome.prompt.example), outcome.note)
        else:
            sets[task.set(outcome.example)][outcome.role].append(outcome)
    for name, roles in sets.items():
        if name not in broken:
            try:
                compared = [each for mates in roles.values() for each in with_peers(task, mates)]
            except Exception as error:
                broken[name] = f"comparing raised {type(error).__name__}: {error}"
            else:
                odd = [fault for each in compared if (fault := unsound(task, each.verdict))]
                if odd:
                    broken[name] = odd[0]
                else:
                    yield from compared
    for prompt in members:
        note = broken.get(task.set(prompt.example))
        if note is not None:
            yield Fault(prompt, note)


def with_peers(task: Task, mates: Sequence[Rollout]) -> list[Rollout]:
    """The rollouts of one set and role, with the scores that `task.compare` adds."""
    assert task.compare is not None
    members = sorted(mates, key=lambda rollout: (rollout.example.id, rollout.attempt))
    found: list[Rollout] = []
    for rollout, more in zip(members, task.compare(members), strict=True):
        scores = {**rollout.verdict.scores, **more}
        found.append(replace(rollout, verdict=replace(rollout.verdict, scores=scores)))
    return found


def _by_role(waiting: list[tuple[_Attempt, Prompt]]) -> list[list[tuple[_Attempt, Prompt]]]:
    order: dict[str, list[tuple[_Attempt, Prompt]]] = defaultdict(list)
    for attempt, prompt in waiting:
        order[prompt.role].append((attempt, prompt))
    for asked in order.values():  # threads finish in any order; what a model is asked has one order
        asked.sort(key=lambda pair: (pair[0].prompt.example.id, pair[0].prompt.attempt))
    return list(order.values())


def _readable(completion: Completion) -> Completion:
    """What is judged is what can be stored, so that judging again is the same."""
    output = completion.output
    if isinstance(output, str):
        return replace(completion, output=clean(output))
    if output is None or isinstance(output, np.ndarray):
        return completion
    return replace(completion, output=revive(plain(output)))


def unsound(task: Task, verdict: object) -> str:
    """What is wrong with a verdict itself; empty where nothing is."""
    if not isinstance(verdict, Verdict):
        return f"the verifier returned {type(verdict).__name__}, not a Verdict"
    odd = [name for name, score in verdict.scores.items() if not math.isfinite(score)]
    if odd:
        return f"the verifier gave no finite number for {', '.join(odd)}"
    if verdict.reason not in task.reasons:
        return f"the verifier gave the unknown reason '{verdict.reason}'"
    return ""


def _key(outcome: Rollout | Fault) -> Key:
    prompt = outcome.prompt
    return prompt.example.id, prompt.attempt
