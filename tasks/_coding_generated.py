"""The generated problems as tasks: one turn, or two with a shown test that failed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from harness import Example, Message, Prompt, Split, Task
from harness.digests import digest
from harness.errors import UsageError
from harness.metrics import mean
from sandbox.extraction import NOT_IN_TRAINING
from sandbox.judge import Case
from sandbox.types import Call, Limits, Stdin
from tasks import coding_problems
from tasks._coding_dialogue import Repair
from tasks._coding_members import BLOCK, PLAIN, Settings, known_comparator, scoring, task
from tasks._coding_metrics import GAP, METRICS, of_levels
from tasks._coding_scoring import Scoring, fenced
from tasks.coding_problems import SEEN, Problem, problems

LEVELS = {**PLAIN, "comparator": "tokens", "level": "1-5"}


def _levels(setting: str) -> tuple[int, ...]:
    """`3`, or `1-3`."""
    first, dash, last = setting.partition("-")
    known = tuple(map(str, coding_problems.LEVELS))
    if first not in known or (dash and last not in known):
        raise UsageError(f"level={setting}: write one of {', '.join(known)}, or a range as 1-3")
    if dash and int(last) < int(first):
        raise UsageError(f"level={setting} ends before it begins; write level={last}-{first}")
    return tuple(range(int(first), int(last or first) + 1))


def _mixed(example: Example) -> str:
    return digest(["order", example.id])


def _generated_example(problem: Problem) -> Example:
    tests = [[arguments, result] for arguments, result in problem.tests]
    inputs = {
        "question": problem.text,
        "arguments": problem.template.arguments,
        "shown": tests[:SEEN],
    }
    target = {"tests": tests, "stdin": problem.template.stdin, "solution": problem.gold}
    level = problem.template.level
    return Example(problem.name, inputs, target, {"level": level, "topic": problem.template.name})


def _generated_cases(example: Example) -> tuple[Case, ...]:
    target = example.target
    if target["stdin"]:
        return tuple(Case(Stdin(given[0]), result) for given, result in target["tests"])
    return tuple(
        Case(Call("solve", tuple(given)), json.dumps(result)) for given, result in target["tests"]
    )


def _generated_prompt(example: Example) -> Prompt:
    told, shown = example.inputs, example.inputs["shown"]
    if example.target["stdin"]:
        pairs = "\n\n".join(f"Input:\n{given[0]}Output:\n{result}" for given, result in shown)
        text = (
            "Write a Python program that reads standard input and prints the answer.\n\n"
            f"{told['question']}\n\n{pairs}\n\nReply with the whole program in one ```python code "
            "block."
        )
    else:
        tests = "\n".join(
            f"assert solve({_listed(given)}) == {result!r}" for given, result in shown
        )
        text = (
            f"Write a Python function solve({told['arguments']}) that returns {told['question']}.\n"
            f"It has to pass these tests:\n\n{fenced(tests)}\n\n{BLOCK}"
        )
    return Prompt(example, (Message("user", text),))


def _listed(arguments: Sequence[Any]) -> str:
    return ", ".join(map(repr, arguments))


def _generated_scoring(settings: Settings) -> Scoring:
    return scoring(
        settings,
        cases=_generated_cases,
        seen=lambda example: SEEN,
        tags=lambda example: {"level": float(example.tags["level"])},
        comparator=known_comparator(settings),
        limits=Limits(cpu=1.0),
        partial=True,
    )


def generated(name: str, settings: Settings) -> Task:
    """Problems made here; training pays half for the share of tests."""
    if settings["extraction"] in NOT_IN_TRAINING:
        raise UsageError(
            f"extraction={settings['extraction']} is too slow to pay rewards by; "
            f"write {PLAIN['extraction']}"
        )
    levels = _levels(settings["level"])

    @lru_cache(maxsize=3)
    def examples(split: Split) -> Sequence[Example]:
        found = [_generated_example(p) for level in levels for p in problems(level, split)]
        return tuple(sorted(found, key=_mixed))  # so that the first few are of all levels

    return task(
        name,
        _generated_scoring(settings),
        settings,
        examples=examples,
        prompt=_generated_prompt,
        gold=lambda example: fenced(example.target["solution"]),
        metrics=(*METRICS, GAP, *of_levels({f"level {each}": each for each in levels})),
        reward={"correct": 0.5, "tests": 0.5},
        source="generated",
    )


def generated_repair(name: str, settings: Settings) -> Task:
    """Two turns, for training on repair: only shown tests are told."""
    once = generated(name, settings)
    metrics = (*once.metrics[:1], mean("first"), *once.metrics[1:])
    return once.but(dialogue=Repair(_generated_scoring(settings), public=True), metrics=metrics)
