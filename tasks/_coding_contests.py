"""LiveCodeBench's scenarios as tasks: code generation, self-repair, prediction, execution."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from harness import Example, Message, Metric, Prompt, Task
from harness.errors import UsageError
from harness.metrics import mean, pass_at, share
from sandbox.judge import MODES
from sandbox.types import Limits
from tasks import _coding_literals as literals
from tasks import _coding_livecodebench as lcb
from tasks._coding_dialogue import Repair
from tasks._coding_members import PLAIN, VERSION, Settings, known_comparator, scoring, task
from tasks._coding_metrics import GAP, METRICS, MORE, of_levels, same, where
from tasks._coding_scoring import Scoring, fenced
from tasks._settings import choice

WINDOW = {"start": lcb.ANY, "end": lcb.ANY, "difficulty": lcb.ANY, "cutoff": lcb.ANY}
JUDGED = {**PLAIN, "judge": "faithful", "comparator": "livecodebench"}
SAMPLED = {**JUDGED, **WINDOW, "exclude": "errata"}
CONTESTS = {"release": "release_v6", **SAMPLED}
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
        parts = (*parts, *(where(pass_at(k), label, "recent", partial(same, 1)) for k in (1, 5)))
    if settings.get("exclude", "none") == "none":
        return (*metrics, *parts)
    fair = [where(each, "", "unfair", partial(same, 0)) for each in (*metrics, *parts)]
    return (fair[0], replace(pass_at(1), name="pass@1|all"), *fair[1:])


def _contest_scoring(settings: Settings) -> Scoring:
    rule = known_comparator(settings)
    choice(settings, "exclude", ("errata", "none"))
    choice(settings, "difficulty", (lcb.ANY, *lcb.DIFFICULTIES))
    mode = choice(settings, "judge", MODES)
    if mode != "faithful" and rule != JUDGED["comparator"]:
        raise UsageError(
            f"judge={mode} compares by its own rules, and comparator={rule} would not be used; "
            f"write judge=faithful, or comparator={JUDGED['comparator']}"
        )
    return scoring(
        settings,
        cases=lcb.cases,
        seen=lcb.seen,
        tags=_window(settings),
        mode=mode,
        comparator=lambda example: example.target["checker"] or rule,
        limits=Limits(cpu=6.0),
    )


def _contests(name: str, settings: Settings, sources: Sequence[Any]) -> Task:
    return task(
        name,
        _contest_scoring(settings),
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
    once = livecodebench(name, settings)
    metrics = (*once.metrics[:1], mean("first"), *once.metrics[1:])
    return once.but(dialogue=Repair(_contest_scoring(settings), public=False), metrics=metrics)


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
        gold=lambda e: f"assert {e.inputs['function']}() == {literals.plain(e.target)}",
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
