"""drills: small skills with short answers, on which a small model improves in minutes.

Data     Generated, the same in every process. A hash of the question decides its split: two in ten
         are test, one in ten dev. `digit` shows the digits in other surroundings in each split.
         All but `digit` show three worked answers as turns of the conversation, so that a model
         sees the form without being told.
Scores   correct: 1 if the reply is the answer, apart from case, outer space and a last full stop.
         close: in `digit` 1 - |error| / 10 for a reply that begins with a digit, else 0.
Metric   pass@1 (the mean of correct; in `digit` the mean of close comes first), shares of replies
         that are cut, missing or of another form; with more rollouts pass@k.
Paper    None; such drills tell whether a trainer works at all.
Members  successor  the number after a number of two or three digits
         reversal   three digits in reverse
         sorting    three digits in ascending order
         digit      the digit that is shown, for models that know nothing
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import permutations

from harness import Completion, Example, Message, Metric, Prompt, Split, Task, Verdict
from harness.metrics import mean, pass_at, share
from tasks._splits import split_of

SIZES: Mapping[Split, int] = {"train": 2000, "dev": 100, "test": 200}
"""At most; a member that has fewer questions gives all it has."""
Pair = tuple[str, str]
"""A question and its answer."""


# -- what is asked


def _successor(split: Split) -> Iterator[Pair]:
    for number in range(10, 999):
        yield str(number), str(number + 1)


def _reversal(split: Split) -> Iterator[Pair]:
    for number in range(1000):
        a, b, c = f"{number:03}"
        if a != c:
            yield f"{a} {b} {c}", f"{c} {b} {a}"


def _sorting(split: Split) -> Iterator[Pair]:
    for digits in permutations("0123456789", 3):
        ordered = sorted(digits)
        if [*digits] != ordered:  # else the answer would stand in the question
            yield " ".join(digits), " ".join(ordered)


def _digit(split: Split) -> Iterator[Pair]:
    times = {"train": 1, "dev": 2, "test": 3}[split]
    for letter in "abcdefgh":
        for digit in "0123456789":
            yield letter * times + digit, digit


@lru_cache(maxsize=32)
def examples(name: str, split: Split) -> tuple[Example, ...]:
    """A member's questions of a split, in an order that its name fixes."""
    member = MEMBERS[name]
    shown = {question for question, _ in member.shots}
    pairs = [
        (question, answer)
        for question, answer in member.pairs(split)
        if question not in shown and (member.disjoint or split_of(question) == split)
    ]
    random.Random(f"drills/{name}/{split}").shuffle(pairs)
    return tuple(
        Example(f"{name}/{split}/{number}", {"question": question}, answer)
        for number, (question, answer) in enumerate(pairs[: SIZES[split]])
    )


def prompt(example: Example, head: str, shots: tuple[Pair, ...]) -> Prompt:
    """What is to be done, worked answers as turns, and the question."""
    turns = [
        message
        for question, answer in shots
        for message in (Message("user", question), Message("assistant", answer))
    ]
    system = [Message("system", head)] if head else []
    asked = Message("user", example.inputs["question"])
    return Prompt(example, (*system, *turns, asked))


# -- judging


def verify(example: Example, completion: Completion, form: str) -> Verdict:
    """Right where the whole reply is the answer; `form` is what answers look like."""
    said = _said(completion)
    correct = said == example.target
    return _verdict(example, completion, {"correct": float(correct)}, form)


def verify_digit(example: Example, completion: Completion) -> Verdict:
    """Also pays how near the first character comes, so that there is a way to go uphill."""
    said = _said(completion)
    close = 0.0
    if said and said[0].isascii() and said[0].isdigit():
        close = 1 - abs(int(said[0]) - int(example.target)) / 10
    scores = {"correct": float(said[:1] == example.target), "close": close}
    return _verdict(example, _cut_to(completion, said[:1]), scores, r"\d")


def _cut_to(completion: Completion, text: str) -> Completion:
    """The completion as if it had said no more than that."""
    return Completion(text, stopped="done" if text else completion.stopped, steps=completion.steps)


def _said(completion: Completion) -> str:
    """The reply without outer space and a last full stop, in lower case; empty if it is no text."""
    output = completion.output
    if not isinstance(output, str) or len(output) > 200:
        return ""
    return output.strip().removesuffix(".").rstrip().lower()


def _verdict(
    example: Example, completion: Completion, scores: Mapping[str, float], form: str
) -> Verdict:
    said = _said(completion)
    if scores["correct"] == 1:
        return Verdict(scores, said, "ok")
    note = f"the answer is {example.target}"
    if completion.stopped == "budget":
        return Verdict(scores, said or None, "truncated", note)
    if not said:
        return Verdict(scores, None, "no_answer", note)
    fits = re.fullmatch(form, said, re.ASCII)
    return Verdict(scores, said, "wrong" if fits else "bad_format", note)


# -- members


@dataclass(frozen=True, kw_only=True)
class Drill:
    """What one member differs in."""

    pairs: Callable[[Split], Iterator[Pair]]
    head: str = ""
    shots: tuple[Pair, ...] = ()
    form: str = r"\d+"
    """What answers look like."""
    disjoint: bool = False
    """The pairs of the splits differ by themselves."""


MEMBERS: Mapping[str, Drill] = {
    "successor": Drill(
        pairs=_successor,
        head="Say the next number.",
        shots=(("37", "38"), ("519", "520"), ("264", "265")),
    ),
    "reversal": Drill(
        pairs=_reversal,
        head="Reverse the digits.",
        shots=(("7 2 5", "5 2 7"), ("9 1 4", "4 1 9"), ("0 3 8", "8 3 0")),
        form=r"\d \d \d",
    ),
    "sorting": Drill(
        pairs=_sorting,
        head="Sort the digits.",
        shots=(("7 2 5", "2 5 7"), ("9 1 4", "1 4 9"), ("0 8 3", "0 3 8")),
        form=r"\d \d \d",
    ),
    "digit": Drill(pairs=_digit, disjoint=True),
}
METRICS: tuple[Metric, ...] = (
    pass_at(1),
    *(share(reason) for reason in ("truncated", "no_answer", "bad_format")),
    *(pass_at(k) for k in (2, 4, 8)),
)


def _task(name: str, drill: Drill) -> Task:
    digit = name == "digit"
    return Task(
        name=f"drills/{name}",
        version=1,
        examples=partial(examples, name),
        prompt=partial(prompt, head=drill.head, shots=drill.shots),
        verify=verify_digit if digit else partial(verify, form=drill.form),
        gold=lambda example: example.target,
        metrics=(mean("close"), *METRICS) if digit else METRICS,
        reward={"close": 1.0} if digit else {"correct": 1.0},
        source="generated",
    )


TASKS = [_task(name, drill) for name, drill in MEMBERS.items()]
