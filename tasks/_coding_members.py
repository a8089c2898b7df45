"""HumanEval and MBPP as tasks, and what all tasks of coding are made with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from harness import Example, Message, Prompt, Task
from harness.errors import UsageError
from harness.types import REASONS
from sandbox.comparators import comparator
from sandbox.errors import BadProgram
from sandbox.extraction import RULES
from sandbox.types import Limits
from tasks import _coding_sets as sets
from tasks._coding_metrics import ASSERTED, METRICS
from tasks._coding_scoring import OUTCOMES, Scoring, at_once, fenced
from tasks._settings import choice

VERSION = 1
"""Raised by a change of prompts, data or judging."""
ASSERTED_VERSION = 2
"""The same of HumanEval and MBPP."""
PLAIN = {"extraction": "last_closed_fence"}
CHAT = {**PLAIN, "form": "chat"}
Settings = Mapping[str, str]
BLOCK = "Reply with the whole function in one ```python code block."


def scoring(settings: Settings, **more: Any) -> Scoring:
    """How replies are read and judged, by the settings; UnknownName for a rule there is not."""
    rule = choice(settings, "extraction", tuple(RULES))
    return Scoring(extraction=rule, **more)


def task(name: str, judged: Scoring, settings: Mapping[str, Any], **more: Any) -> Task:
    """A task with what all of them share; `more` are the fields of Task."""
    told = {
        "judge": judged.mode,
        "comparator": judged.comparator if isinstance(judged.comparator, str) else "own",
        "extraction": judged.extraction,
        **settings,
    }
    made: dict[str, Any] = {
        "name": name,
        "version": VERSION,
        "verify": judged.verify,
        "metrics": METRICS,
        "reward": {"correct": 1.0},
        "reasons": REASONS | OUTCOMES,
        "settings": told,
        "at_once": at_once,
        "patience": 10.0 + 5.0 * judged.limits.cpu,
        **more,
    }
    return Task(**made)


def known_comparator(settings: Settings) -> str:
    """The comparator of the settings; UsageError where there is none of that name."""
    try:
        return comparator(settings["comparator"]).name
    except BadProgram as error:
        raise UsageError(str(error)) from error


def humaneval(name: str, settings: Settings) -> Task:
    """HumanEval: chat, or completion of the bare prompt."""
    bare = choice(settings, "form", ("chat", "completion")) == "completion"
    judged = scoring(
        settings,
        cases=sets.humaneval_cases,
        source=sets.continued if bare else sets.whole_function,
        comparator="assertions",
        limits=Limits(cpu=3.0),
        weak=lambda example: False,
    )
    if bare:
        judged = replace(judged, extraction="whole_reply")

    def prompt(example: Example) -> Prompt:
        asked = example.inputs["prompt"]
        if bare:
            return Prompt(example, (Message("user", asked),))
        text = f"Complete this Python function.\n\n{fenced(asked)}\n\n{BLOCK}"
        return Prompt(example, (Message("user", text),))

    def gold(example: Example) -> str:
        return example.target["solution"] if bare else fenced(sets.humaneval_gold(example))

    return task(
        name,
        judged,
        {**settings, "extraction": judged.extraction},
        version=ASSERTED_VERSION,
        metrics=ASSERTED,
        examples=sets.humaneval,
        prompt=prompt,
        gold=gold,
        released="2021-07-07",
        source=sets.HUMANEVAL.place,
    )


def mbpp(name: str, settings: Settings) -> Task:
    """MBPP with its three asserts in the prompt."""
    judged = scoring(
        settings,
        cases=sets.mbpp_cases,
        comparator="assertions",
        limits=Limits(cpu=3.0),
        weak=sets.mbpp_weak,
        partial=True,
    )

    def prompt(example: Example) -> Prompt:
        tests = "\n".join(example.inputs["tests"])
        asked = f"{example.inputs['question']} It has to pass these tests:\n\n{fenced(tests)}"
        return Prompt(example, (Message("user", f"{asked}\n\n{BLOCK}"),))

    return task(
        name,
        judged,
        settings,
        version=ASSERTED_VERSION,
        metrics=ASSERTED,
        examples=sets.mbpp,
        prompt=prompt,
        gold=lambda example: fenced(sets.mbpp_gold(example)),
        released="2021-08-16",
        source=sets.MBPP.place,
    )
