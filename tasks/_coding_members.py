"""The members of coding: prompts, scoring, metrics and settings of each."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any

from harness import Example, Message, Metric, Prompt, Row, Split, Task
from harness.errors import UsageError
from harness.metrics import avg_at, mean, pass_at, share
from harness.types import REASONS
from sandbox.comparators import comparator
from sandbox.errors import BadProgram
from sandbox.extraction import RULES
from sandbox.judge import MODES, Case
from sandbox.types import Call, Limits, Stdin
from tasks import _coding_literals as literals
from tasks import _coding_livecodebench as lcb
from tasks import _coding_sets as sets
from tasks._coding_dialogue import Repair
from tasks._coding_scoring import OUTCOMES, Scoring, fenced
from tasks._coding_settings import choice
from tasks.coding_problems import LEVELS as ALL_LEVELS
from tasks.coding_problems import SEEN, Problem, problems

VERSION = 1
PLAIN = {"extraction": "last_closed_fence"}
CHAT = {**PLAIN, "form": "chat"}
WINDOW = {"start": lcb.ANY, "end": lcb.ANY, "difficulty": lcb.ANY, "cutoff": lcb.ANY}
JUDGED = {**PLAIN, "judge": "faithful", "comparator": "livecodebench"}
SAMPLED = {**JUDGED, **WINDOW, "exclude": "errata"}
CONTESTS = {"release": "release_v6", **SAMPLED}
LEVELS = {**PLAIN, "comparator": "tokens", "level": "1-5"}

Settings = Mapping[str, str]
BLOCK = "Reply with the whole function in one ```python code block."
SHARES = tuple(share(reason) for reason in ("truncated", "no_answer", "CE", "RE", "TLE", "WA"))
MORE = tuple(metric for k in (2, 4, 5, 8, 10) for metric in (pass_at(k), avg_at(k)))
METRICS = (pass_at(1), mean("tests"), mean("compiles"), *SHARES, *MORE)


# -- metrics of a part


def where(metric: Metric, label: str, score: str, wanted: Callable[[float], bool]) -> Metric:
    """The metric over the examples whose `score` is wanted; the others have no value."""
    assert metric.each is not None, "a metric of single examples"
    each = metric.each

    def part(row: Row) -> float:
        return each(row) if wanted(row[0].scores[score]) else math.nan

    return replace(metric, name=f"{metric.name}{label}", each=part)


def _gap(row: Row) -> float:
    gaps = [verdict.scores["seen"] - verdict.scores["held_out"] for verdict in row]
    return math.fsum(gaps) / len(gaps)


GAP = Metric("seen_gap", each=_gap, better="lower", low=-1.0, high=1.0)
"""Share of shown tests passed less that of held-out tests: it grows where tests are learned."""


def of_levels(names: Mapping[str, int]) -> tuple[Metric, ...]:
    """pass@1 and pass@5 of each level or difficulty."""
    return tuple(
        where(pass_at(k), f"|{name}", "level", partial(_is, number))
        for k in (1, 5)
        for name, number in names.items()
    )


def _is(number: int, value: float) -> bool:
    return value == number


# -- HumanEval and MBPP


def _scoring(settings: Settings, **more: Any) -> Scoring:
    rule = choice(settings, "extraction", tuple(RULES))
    return Scoring(extraction=rule, **more)


def _task(name: str, scoring: Scoring, settings: Mapping[str, Any], **more: Any) -> Task:
    told = {
        "judge": scoring.mode,
        "comparator": scoring.comparator if isinstance(scoring.comparator, str) else "own",
        "extraction": scoring.extraction,
        **settings,
    }
    made: dict[str, Any] = {
        "name": name,
        "version": VERSION,
        "verify": scoring.verify,
        "metrics": METRICS,
        "reward": {"correct": 1.0},
        "reasons": REASONS | OUTCOMES,
        "settings": told,
        "patience": 10.0 + 5.0 * scoring.limits.cpu,
        **more,
    }
    return Task(**made)


def humaneval(name: str, settings: Settings) -> Task:
    """HumanEval: chat, or completion of the bare prompt."""
    bare = choice(settings, "form", ("chat", "completion")) == "completion"
    scoring = _scoring(
        settings,
        cases=sets.humaneval_cases,
        source=sets.continued if bare else sets.whole_function,
        comparator="assertions",
        limits=Limits(cpu=3.0),
    )
    if bare:
        scoring = replace(scoring, extraction="whole_reply")

    def prompt(example: Example) -> Prompt:
        asked = example.inputs["prompt"]
        if bare:
            return Prompt(example, (Message("user", asked),))
        text = f"Complete this Python function.\n\n{fenced(asked)}\n\n{BLOCK}"
        return Prompt(example, (Message("user", text),))

    def gold(example: Example) -> str:
        return example.target["solution"] if bare else fenced(sets.humaneval_gold(example))

    return _task(
        name,
        scoring,
        {**settings, "extraction": scoring.extraction},
        examples=sets.humaneval,
        prompt=prompt,
        gold=gold,
        released="2021-07-07",
        source=sets.HUMANEVAL.place,
    )


def mbpp(name: str, settings: Settings) -> Task:
    """MBPP with its three asserts in the prompt."""
    scoring = _scoring(
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

    return _task(
        name,
        scoring,
        settings,
        examples=sets.mbpp,
        prompt=prompt,
        gold=lambda example: fenced(sets.mbpp_gold(example)),
        released="2021-08-16",
        source=sets.MBPP.place,
    )


# -- LiveCodeBench

DIFFICULTY = {name: number for number, name in enumerate(lcb.DIFFICULTIES, 1)}
SYSTEM = (
    "You are an expert Python programmer. You will be given a question (problem specification) and "
    "will generate a correct Python program that matches the specification and passes all tests."
)


def contest_prompt(example: Example) -> Prompt:
    """As LiveCodeBench asks chat models."""
    question, starter = example.inputs["question"], example.inputs["starter"]
    if starter or example.target["function"]:
        form = "You will use the following starter code to write the solution to the problem"
        block = starter or "# YOUR CODE HERE"
        asks = f"{form} and enclose your code within delimiters.\n{fenced(block)}"
    else:
        asks = (
            "Read the inputs from stdin, solve the problem and write the answer to stdout (do not "
            "directly test on the sample inputs). Enclose your code within delimiters as follows."
            f"\n{fenced('# YOUR CODE HERE')}"
        )
    text = f"### Question:\n{question}\n\n### Format: {asks}\n\n### Answer:"
    return Prompt(example, (Message("system", SYSTEM), Message("user", text)))


def _window(settings: Settings) -> Callable[[Example], dict[str, float]]:
    cutoff = lcb.day(settings["cutoff"], "cutoff")

    def tags(example: Example) -> dict[str, float]:
        told = example.tags
        level = float(DIFFICULTY.get(told["difficulty"], 0))
        found = {"level": level, "unfair": float(told["unfair"])}
        if cutoff is not None:
            found["recent"] = float(bool(told["date"]) and told["date"] >= cutoff.isoformat())
        return found

    return tags


def _contest_metrics(settings: Settings, metrics: Sequence[Metric]) -> tuple[Metric, ...]:
    """Over fair questions, unless nothing is excluded; the totals beside them."""
    parts = of_levels(DIFFICULTY)
    if settings["cutoff"] != lcb.ANY:
        label = f"|from {settings['cutoff']}"
        parts = (*parts, *(where(pass_at(k), label, "recent", partial(_is, 1)) for k in (1, 5)))
    if settings.get("exclude", "none") == "none":
        return (*metrics, *parts)
    fair = [where(each, "", "unfair", partial(_is, 0)) for each in (*metrics, *parts)]
    return (fair[0], replace(pass_at(1), name="pass@1|all"), *fair[1:])


def _contest_scoring(settings: Settings) -> Scoring:
    rule = settings["comparator"]
    try:
        comparator(rule)
    except BadProgram as error:
        raise UsageError(str(error)) from error
    choice(settings, "exclude", ("errata", "none"))
    choice(settings, "difficulty", (lcb.ANY, *lcb.DIFFICULTIES))
    return _scoring(
        settings,
        cases=lcb.cases,
        seen=lcb.seen,
        tags=_window(settings),
        mode=choice(settings, "judge", MODES),
        comparator=lambda example: example.target["checker"] or rule,
        limits=Limits(cpu=6.0),
    )


def _contests(name: str, settings: Settings, sources: Sequence[Any]) -> Task:
    scoring = _contest_scoring(settings)
    return _task(
        name,
        scoring,
        settings,
        examples=lcb.examples(sources, settings, lcb.problem),
        prompt=contest_prompt,
        gold=lambda example: fenced(lcb.reference(example)),
        metrics=_contest_metrics(settings, (*METRICS, GAP)),
        source=sources[0].place,
    )


def livecodebench(name: str, settings: Settings) -> Task:
    """Code generation."""
    return _contests(name, settings, lcb.parts(settings["release"]))


def livecodebench_sample(name: str, settings: Settings) -> Task:
    """Code generation on a few problems of the same layout."""
    return _contests(name, settings, (lcb.SAMPLE,))


def livecodebench_repair(name: str, settings: Settings) -> Task:
    """Self-repair: the first failing test of all is told, as LiveCodeBench does."""
    task = livecodebench(name, settings)
    metrics = (*task.metrics[:1], mean("first"), *task.metrics[1:])
    return task.but(dialogue=Repair(_contest_scoring(settings), public=False), metrics=metrics)


def _literal(name: str, settings: Settings, read: Callable[[str], str | None], **more: Any) -> Task:
    choice(settings, "difficulty", (lcb.ANY, *lcb.DIFFICULTIES))
    return Task(
        name=name,
        version=VERSION,
        verify=partial(literals.verify, read=read, tags=_window(settings)),
        metrics=_contest_metrics(
            settings,
            (pass_at(1), share("truncated"), share("no_answer"), share("bad_format"), *MORE),
        ),
        reward={"correct": 1.0},
        settings={**settings, "comparator": "literal"},
        **more,
    )


def livecodebench_output(name: str, settings: Settings) -> Task:
    """Test-output prediction."""

    def prompt(example: Example) -> Prompt:
        told = example.inputs
        arguments = ", ".join(told["input"].split("\n"))
        text = (
            f"Problem:\n{told['question']}\n\nFunction:\n{fenced(told['starter'])}\n\n"
            "Complete this test: replace the question marks with the literal that the function "
            f"returns. End your reply with the completed line.\n"
            f"{fenced('assert ' + told['function'] + '(' + arguments + ') == ??')}"
        )
        return Prompt(example, (Message("user", text),))

    return _literal(
        name,
        settings,
        literals.predicted,
        examples=lcb.examples((lcb.OUTPUTS,), settings, lcb.output_row),
        prompt=prompt,
        gold=lambda e: f"assert {e.inputs['function']}() == {literals.json_literal(e.target)!r}",
        source=lcb.OUTPUTS.place,
    )


def livecodebench_execution(name: str, settings: Settings) -> Task:
    """Code execution."""

    def prompt(example: Example) -> Prompt:
        told = example.inputs
        text = (
            "You are given a Python function and an assertion with its input. Complete the "
            "assertion with a literal (no unsimplified expressions, no function calls) that is the "
            "output of the function on that input. Give the answer in [ANSWER] and [/ANSWER] tags."
            f"\n\n[PYTHON]\n{told['code']}\nassert {told['input']} == ??\n[/PYTHON]"
        )
        return Prompt(example, (Message("user", text),))

    return _literal(
        name,
        settings,
        literals.executed,
        examples=lcb.examples((lcb.EXECUTIONS,), settings, lcb.execution_row),
        prompt=prompt,
        gold=lambda e: f"[ANSWER]assert {e.inputs['input']} == {e.target}[/ANSWER]",
        source=lcb.EXECUTIONS.place,
    )


# -- generated


def _levels(setting: str) -> tuple[int, ...]:
    """`3`, or `1-3`."""
    first, dash, last = setting.partition("-")
    known = tuple(map(str, ALL_LEVELS))
    if first not in known or (dash and last not in known):
        raise UsageError(f"level={setting}: write one of {', '.join(known)}, or a range as 1-3")
    return tuple(range(int(first), int(last or first) + 1))


def _generated_example(problem: Problem) -> Example:
    tests = [[arguments, result] for arguments, result in problem.tests]
    inputs = {"question": problem.text, "arguments": problem.template.arguments, "shown": tests[:SEEN]}
    target = {"tests": tests, "stdin": problem.template.stdin, "solution": problem.gold}
    level = problem.template.level
    return Example(problem.name, inputs, target, {"level": level, "topic": problem.template.name})


def _generated_cases(example: Example) -> tuple[Case, ...]:
    import json

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
        tests = "\n".join(f"assert solve({_listed(given)}) == {result!r}" for given, result in shown)
        text = (
            f"Write a Python function solve({told['arguments']}) that returns {told['question']}.\n"
            f"It has to pass these tests:\n\n{fenced(tests)}\n\n{BLOCK}"
        )
    return Prompt(example, (Message("user", text),))


def _listed(arguments: Sequence[Any]) -> str:
    return ", ".join(map(repr, arguments))


def _generated_scoring(settings: Settings) -> Scoring:
    return _scoring(
        settings,
        cases=_generated_cases,
        seen=lambda example: SEEN,
        tags=lambda example: {"level": float(example.tags["level"])},
        comparator=settings["comparator"],
        limits=Limits(cpu=2.0),
        partial=True,
    )


def generated(name: str, settings: Settings) -> Task:
    """Problems made here; training pays half for the share of tests."""
    levels = _levels(settings["level"])
    try:
        comparator(settings["comparator"])
    except BadProgram as error:
        raise UsageError(str(error)) from error

    @lru_cache(maxsize=3)
    def examples(split: Split) -> Sequence[Example]:
        return tuple(_generated_example(p) for level in levels for p in problems(level, split))

    return _task(
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
    task = generated(name, settings)
    metrics = (*task.metrics[:1], mean("first"), *task.metrics[1:])
    return task.but(dialogue=Repair(_generated_scoring(settings), public=True), metrics=metrics)
