r"""mathqa: mathematics with answers that can be checked, from sums of two digits to olympiads.

Data     Public sets from the hub, or from the folder that HARNESS_DATA names (`math/...`):
         gsm8k       openai/gsm8k, MIT. Train is the train file less dev, dev a twentieth of it.
         math500     HuggingFaceH4/MATH-500, MIT. Test only.
         math_train  1499 problems of MATH's train file, none of them in math500, MIT; one has no
                     answer and is left out. Train and dev (a twentieth) only, from a folder only.
         aime24 aime25 amc23   HuggingFaceH4/aime_2024, math-ai/aime25, math-ai/amc23 (of AMC 12A
                     and 12B 2023). Test only; the contest's owner keeps the copyright.
         svamp       ChilleD/SVAMP, MIT. All 1000 rows are the test set, as in the paper; the hub's
                     division into 700 and 300 is put together again. Five answers that the source
                     rounds to six digits are computed from its equations.
         olympiad    Hothan/OlympiadBench (OE_TO_maths_en_COMP), Apache-2.0. Test only. One answer
                     has a tolerance.
         Generated: sums, arith1 to arith5. A hash of the expression decides its split, so no
         expression is in two; arith4 shares no name, thing or number between splits either.
Scores   correct: 1 if the strict reading is right: the last box or `#### n`. In `sums` the whole
         reply must be the number, or `34 + 57 = 91`.
         lenient: 1 if the loose reading is right: strict, or else the last "answer is" clause, or
         else, in gsm8k, svamp, sums and arith, the last number.
         earned: strict, and equal under the rules of training, which refuse an inequality copied
         from the question. This is what training pays; sums pays half for lenient, so that a
         model that has yet to learn the form has something to go by.
Metric   pass@1 (the mean of correct), lenient, earned, shares of truncated and of missing answers;
         with more rollouts pass@k, G-Pass@k, mG-Pass@k and maj@k, whose vote is among the loosely
         read answers.
Paper    GSM8K arXiv:2110.14168; MATH arXiv:2103.03874; MATH-500 arXiv:2305.20050; SVAMP
         arXiv:2103.07191; OlympiadBench arXiv:2402.14008; G-Pass@k arXiv:2412.13147.
Members  sums          two numbers of two digits, the reply being the number only
         arith1        sums of numbers of one or two digits
         arith2        a sum and a difference
         arith3        a product and a sum with brackets
         arith4        word problems of two steps; test words and numbers never seen in training
         arith5        linear equations with an integer solution
         gsm8k         grade-school word problems
         gsm8k_8shot   the same after eight worked examples, answered as `#### n`
         math500       competition problems of seven subjects and five levels
         math_train    competition problems to train on
         aime24        AIME 2024, integers from 0 to 999
         aime25        AIME 2025, integers from 0 to 999
         amc23         AMC 12 of 2023, integers
         svamp         one-step word problems with a twist
         olympiad      olympiad problems with closed answers
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal

from harness import Completion, Example, Message, Metric, Prompt, Split, Task, Verdict
from harness.metrics import g_pass_at, maj_at, mean, mg_pass_at, pass_at, share
from tasks import _arith
from tasks import _math_sets as sets
from tasks._shots import SHOTS
from tasks.mathqa_verifier import VERSION, judge, same

TEXTS = 1
"""Raised by a change of prompts or data; the verifier has a version of its own."""

Form = Literal["box", "hash", "bare"]
ASKS: Mapping[Form, str] = {
    "box": "Reason step by step, and put your final answer within \\boxed{}.",
    "hash": "End your reply with the answer on its own line, as #### and the number.",
    "bare": "Answer with the number only.",
}
GOLDS: Mapping[Form, str] = {"box": "\\boxed{%s}", "hash": "#### %s", "bare": "%s"}


# -- reading and judging


BARE = re.compile(r"(?:[\d\s+*/()-]*=)?\s*\$?\s*(-?\d[\d,]*)\s*\.?\s*", re.ASCII)


def verify(example: Example, completion: Completion, form: Form, loose: bool) -> Verdict:
    """The verdict on one reply; `loose`: the last number counts as a lenient answer."""
    told = partial(
        judge,
        last_number=loose,
        tolerance=example.tags.get("tolerance"),
        truncated=completion.stopped == "budget",
    )
    verdict = told(example.target, completion.output)
    return _bare(example, completion.output, verdict, told) if form == "bare" else verdict


def _bare(
    example: Example, output: object, loose: Verdict, told: Callable[..., Verdict]
) -> Verdict:
    """Strict where the whole reply is the number: anything more is the wrong form."""
    text = output.rpartition("</think>")[2].strip() if isinstance(output, str) else ""
    found = BARE.fullmatch(text) if len(text) < 200 else None
    if found is not None and "<think>" not in text:
        return told(example.target, f"#### {found[1]}")
    unpaid = replace(loose, scores={**loose.scores, "correct": 0.0, "earned": 0.0})
    if loose.answer is None or loose.reason == "truncated":
        return unpaid
    note = f"bad_format: the reply is not the number only, gold {example.target}"
    return replace(unpaid, reason="bad_format", note=note)


def _prompt(example: Example, form: Form) -> Prompt:
    between = " " if form == "bare" else "\n\n"
    text = f"{example.inputs['question']}{between}{ASKS[form]}"
    return Prompt(example, (Message("user", text),))


def _shown(example: Example, form: Form) -> Prompt:
    """After worked examples, each a turn of its own."""
    turns = [
        message
        for question, answer in SHOTS
        for message in (
            Message("user", f"{question}\n\n{ASKS[form]}"),
            Message("assistant", answer),
        )
    ]
    return Prompt(example, (*turns, *_prompt(example, form).messages))


def _gold(example: Example, form: Form) -> str:
    return GOLDS[form] % example.target


METRICS: tuple[Metric, ...] = (
    pass_at(1),
    mean("lenient"),
    mean("earned"),
    share("truncated"),
    share("no_answer"),
    *(pass_at(k) for k in (2, 4, 8, 16, 32, 64)),
    *(maj_at(k, same=same, score="lenient") for k in (4, 8, 16, 32, 64)),
    *(g_pass_at(k, tau) for k in (4, 8, 16) for tau in (0.5, 1.0)),
    *(mg_pass_at(k) for k in (4, 8, 16)),
)


# -- members


@dataclass(frozen=True, kw_only=True)
class Member:
    """What one member differs in."""

    name: str
    examples: Callable[[Split], Sequence[Example]]
    form: Form = "box"
    loose: bool = False
    prompt: Callable[..., Prompt] = _prompt
    reward: Mapping[str, float] = field(default_factory=lambda: {"earned": 1.0})
    released: str = ""
    source: str = "generated"

    def task(self) -> Task:
        """The member as a task."""
        return Task(
            name=f"mathqa/{self.name}",
            version=TEXTS + VERSION - 1,
            examples=self.examples,
            prompt=partial(self.prompt, form=self.form),
            verify=partial(verify, form=self.form, loose=self.loose),
            gold=partial(_gold, form=self.form),
            metrics=METRICS,
            reward=self.reward,
            released=self.released,
            source=self.source,
        )


def _generated(name: str, level: _arith.Level, form: Form) -> Member:
    return Member(name=name, examples=partial(_arith.examples, level), form=form, loose=True)


GSM8K = Member(
    name="gsm8k",
    examples=sets.carved(sets.GSM8K_TRAIN, sets.GSM8K_TEST),
    loose=True,
    released="2021-10-27",
    source="openai/gsm8k/main",
)
AIME24 = Member(
    name="aime24",
    examples=sets.only(sets.AIME24),
    released="2024-01-31",
    source=sets.AIME24.place,
)
MEMBERS: tuple[Member, ...] = (
    replace(_generated("sums", "sums", "bare"), reward={"lenient": 0.5, "earned": 0.5}),
    *(_generated(f"arith{level}", level, "hash") for level in (1, 2, 3, 4, 5)),
    GSM8K,
    replace(GSM8K, name="gsm8k_8shot", form="hash", prompt=_shown),
    Member(
        name="math500",
        examples=sets.only(sets.MATH500),
        released="2021-03-05",
        source=sets.MATH500.place,
    ),
    Member(
        name="math_train",
        examples=sets.carved(sets.MATH_TRAIN),
        released="2021-03-05",
        source=sets.MATH_TRAIN.place,
    ),
    AIME24,
    replace(
        AIME24,
        name="aime25",
        examples=sets.only(sets.AIME25),
        released="2025-02-06",
        source=sets.AIME25.place,
    ),
    Member(
        name="amc23",
        examples=sets.only(sets.AMC23),
        released="2023-11-08",
        source=sets.AMC23.place,
    ),
    Member(
        name="svamp",
        examples=sets.only(sets.SVAMP),
        loose=True,
        released="2021-03-12",
        source=sets.SVAMP.place,
    ),
    Member(
        name="olympiad",
        examples=sets.only(sets.OLYMPIAD),
        released="2024-02-21",
        source=sets.OLYMPIAD.place,
    ),
)
TASKS = [member.task() for member in MEMBERS]
