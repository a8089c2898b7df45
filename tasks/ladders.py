"""ladders: the home tasks of recipes, each hard in its own way for a model of a minute's learning.

Data     Generated, the same in every process. A question is a small letter, a capital and a digit,
         mostly with a mark: cE7w. What is wanted is each of them moved on by one, a last one to
         its first: dF8. A hash of the question decides its split: two in ten are test, one in ten
         dev. Demonstrations (what `harness train --warm-up` shows) are those of a beginner who
         forgets to move a part on, how often depends on the member, so that `text:tiny` starts
         with scores that are neither 0 nor 1, and with groups that are all wrong or all right.
Scores   correct: 1 if the answer is right, and nothing else is said than the member allows.
         close: share of the parts that are right. brief: 1 less 1/8 for each dot, in `wordy` and
         `conflict`. polite: 1 if it begins with ok, in `conflict`.
Metric   pass@1, and pass@8: in `rare` it tells who forgets the rare ways.
Paper    None. Each member is the cheap test of what some recipes claim: see the members.
Members  graded    six levels, shown by a mark: at first nearly all right to nearly all wrong
         hinted    half of the questions are hopeless without their hints, of 3 tiers of 4 levels
         wordy     dots before the answer are free; a beginner needs 1, 3 or 5 of up to 8
         conflict  three scores: right, polite and brief, and long answers are right more often
         rare      16 ways, each works for some questions only; two are popular, all others rare
         prefix    three parts count and two fillers between them do not; answers share prefixes
"""

from __future__ import annotations

import hashlib
import random
import re
import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import product
from typing import Any

from harness import Completion, Example, Message, Metric, Prompt, Split, Task, Verdict
from harness.metrics import mean, pass_at, share
from tasks import _ladder_beginners as beginners
from tasks._splits import split_of

SIZES: Mapping[Split, int] = {"train": 2000, "dev": 100, "test": 200}
"""At most."""
SLOTS = (string.ascii_lowercase[:10], string.ascii_uppercase[:10], string.digits)
WAYS = "klmnopqrstuvwxyz"
WORKS: Mapping[str, float] = {"k": 0.3, "l": 0.2}
"""Share of the questions that a popular way solves in `rare`; any other solves one in twenty."""
HINTS: Mapping[str, tuple[str, ...]] = {
    "knowledge": ("up", "own", "turn", "run"),
    "planning": (">", ">>", ">>>", "<>"),
}
Beginner = Callable[[Example, Prompt, random.Random], tuple[Prompt, str]]


@dataclass(frozen=True, kw_only=True)
class Ladder:
    """What one member differs in."""

    beginner: Beginner
    marks: str = ""
    """Of the levels, the easiest first; a question ends with one of them."""
    form: str
    """What answers look like; its groups are the parts that count."""
    gold: str = "{}{}{}"
    extra: tuple[str, ...] = ()
    """Scores besides correct and close."""
    metrics: tuple[Metric, ...] = (pass_at(1), mean("close"), pass_at(8))
    reward: Mapping[str, float] | None = None


PART = r"([a-j])([A-J])(\d)"
MEMBERS: Mapping[str, Ladder] = {
    "graded": Ladder(beginner=beginners.graded, marks="uvwxyz", form=PART),
    "hinted": Ladder(beginner=beginners.hinted, marks="vz", form=PART),
    "wordy": Ladder(
        beginner=beginners.wordy,
        marks="uvw",
        form=rf"\.*={PART}",
        gold="={}{}{}",
        extra=("brief",),
        metrics=(pass_at(1), mean("close"), mean("brief"), pass_at(8)),
    ),
    "conflict": Ladder(
        beginner=beginners.conflict,
        form=rf"(?:ok)?\.*{PART}",
        gold="ok{}{}{}",
        extra=("brief", "polite"),
        metrics=(pass_at(1), mean("close"), mean("polite"), mean("brief"), pass_at(8)),
        reward={"correct": 1.0, "polite": 0.5, "brief": 0.5},
    ),
    "rare": Ladder(
        beginner=beginners.rare, form="([k-z])", metrics=(pass_at(1), pass_at(2), pass_at(8))
    ),
    "prefix": Ladder(
        beginner=beginners.prefix, form=r"([a-j])[xyz]([A-J])[xyz](\d)", gold="{}x{}y{}"
    ),
}


# -- what is asked


@lru_cache(maxsize=32)
def examples(name: str, split: Split) -> tuple[Example, ...]:
    """A member's questions of a split, in an order that its name fixes."""
    marks = MEMBERS[name].marks or " "
    questions = ["".join(parts).strip() for parts in product(*SLOTS, marks)]
    kept = [question for question in questions if split_of(question) == split]
    random.Random(f"ladders/{name}/{split}").shuffle(kept)
    return tuple(
        _example(name, f"{name}/{split}/{number}", question)
        for number, question in enumerate(kept[: SIZES[split]])
    )


def _example(name: str, id: str, question: str) -> Example:
    moved = "".join(
        slot[(slot.index(part) + 1) % len(slot)]
        for part, slot in zip(question, SLOTS, strict=False)
    )
    inputs: dict[str, Any] = {"question": question, "moved": moved}
    target, tags = moved, dict[str, Any]()
    if name == "rare":
        inputs["ways"] = list(WAYS)
        target = "".join(way for way in WAYS if _works(question, way)) or WAYS[-1]
    if marks := MEMBERS[name].marks:
        tags = {"mark": question[-1], "level": marks.index(question[-1]) + 1}
    if name == "hinted":
        inputs["hints"] = {**{k: list(v) for k, v in HINTS.items()}, "solution": [*moved, moved]}
        tags["hint"] = moved
    return Example(id, inputs, target, tags)


def _works(question: str, way: str) -> bool:
    """Whether a way solves a question: a hash decides, so nothing but trying tells."""
    drawn = int.from_bytes(hashlib.sha256(f"{question}/{way}".encode()).digest()[:4])
    return drawn < WORKS.get(way, 0.05) * 2**32


def prompt(example: Example) -> Prompt:
    """The question and nothing else."""
    return Prompt(example, (Message("user", example.inputs["question"]),))


def demonstrations(example: Example, beginner: Beginner) -> list[tuple[Prompt, str]]:
    """What a beginner says, a few times over."""
    rng = random.Random(f"ladders/beginner/{example.id}")
    return [beginner(example, prompt(example), rng) for _ in range(beginners.SHOWN)]


# -- judging


def verify(example: Example, completion: Completion, ladder: Ladder) -> Verdict:
    """The whole reply has the member's form, and every part that counts is right."""
    said = completion.output.strip() if isinstance(completion.output, str) else ""
    found = re.fullmatch(ladder.form, said, re.ASCII) if len(said) <= 200 else None
    parts = found.groups() if found else ()
    if "ways" in example.inputs:
        right = [part in example.target for part in parts]
    else:
        right = [part == want for part, want in zip(parts, example.target, strict=False)]
    scores = {"correct": float(bool(right) and all(right)), "close": _share(right)}
    if "brief" in ladder.extra:
        scores["brief"] = max(0.0, 1 - said.count(".") / beginners.LONGEST) if found else 0.0
    if "polite" in ladder.extra:
        scores["polite"] = float(bool(found) and said.startswith("ok"))
    return _verdict(example, completion, scores, "".join(parts))


def _share(right: list[bool]) -> float:
    return sum(right) / len(right) if right else 0.0


def _verdict(
    example: Example, completion: Completion, scores: Mapping[str, float], answer: str
) -> Verdict:
    if scores["correct"] == 1:
        return Verdict(scores, answer, "ok")
    rights = [*example.target] if "ways" in example.inputs else [example.target]
    note = f"right would be {' or '.join(rights)}"
    if completion.stopped == "budget":
        return Verdict(scores, answer or None, "truncated", note)
    if not completion.output:
        return Verdict(scores, None, "no_answer", note)
    return Verdict(scores, answer or None, "wrong" if answer else "bad_format", note)


# -- members


def _gold(example: Example, form: str) -> str:
    return form.format(*example.inputs["moved"])


def _task(name: str, ladder: Ladder) -> Task:
    rare = name == "rare"
    return Task(
        name=f"ladders/{name}",
        version=1,
        examples=partial(examples, name),
        prompt=prompt,
        verify=partial(verify, ladder=ladder),
        gold=(lambda example: example.target[0]) if rare else partial(_gold, form=ladder.gold),
        metrics=(*ladder.metrics, *(share(r) for r in ("truncated", "no_answer", "bad_format"))),
        reward=ladder.reward or {"correct": 1.0},
        demonstrations=partial(demonstrations, beginner=ladder.beginner),
        source="generated",
    )


TASKS = [_task(name, ladder) for name, ladder in MEMBERS.items()]
