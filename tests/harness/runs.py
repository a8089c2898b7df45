"""Small finished runs for tests: a task, played and stored as the commands do it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from harness.models import Gold, Model, Sampling
from harness.play import play
from harness.types import (
    Completion,
    Dialogue,
    Example,
    Message,
    Prompt,
    Rollout,
    Split,
    Task,
    Verdict,
)
from results.run import RunFolder, line


class Parrot:
    """Says what it was given for the example; the task's gold otherwise."""

    independent = True
    name = "parrot"

    def __init__(self, texts: Sequence[Any]) -> None:
        self.texts = texts

    def answer(self, prompts: Sequence[Prompt]) -> Iterator[tuple[int, Completion]]:
        for number, prompt in enumerate(prompts):
            text = self.texts[prompt.example.inputs["number"] % len(self.texts)]
            said = f"{text}" if prompt.attempt == 0 else f"{text} ({prompt.attempt})"
            yield number, Completion(said, steps=max(1, len(said.split())))

    def describe(self) -> dict[str, Any]:
        return {"engine": "parrot"}


def sums(examples: int = 4, asks: str = "What is {a}+{a}?", turns: int = 1) -> Task:
    """`sums/doubles`: a + a."""

    def rows(split: Split) -> list[Example]:
        return [Example(f"s{n}", {"number": n}, str(2 * n)) for n in range(examples)]

    def prompt(example: Example) -> Prompt:
        text = asks.format(a=example.inputs["number"])
        return Prompt(example, (Message("user", text),))

    def verify(example: Example, completion: Completion) -> Verdict:
        right = completion.output == example.target
        told = "" if right else f"expected {example.target}"
        return Verdict(
            {"correct": float(right)}, str(completion.output)[:20], "ok" if right else "wrong", told
        )

    def dialogue(opening: Prompt) -> Dialogue:
        said = yield opening
        for _ in range(turns - 1):
            opening = opening.then(said, "Are you sure?")
            said = yield opening
        return verify(opening.example, said)

    return Task(
        name="sums/doubles",
        version=1,
        examples=rows,
        prompt=prompt,
        verify=verify,
        gold=lambda example: example.target,
        metrics=(),
        reward={"correct": 1.0},
        dialogue=dialogue if turns > 1 else None,
    )


def stored_run(
    place: Path,
    task: Task,
    model: Model | None = None,
    *,
    rollouts: int = 1,
    closed: bool = True,
    report: dict[str, Any] | None = None,
) -> tuple[RunFolder, list[Rollout]]:
    """A run folder with every rollout of `model` (Gold by default) on the task."""
    model = model or Gold(task)
    prompts = [task.prompt(e).but(rollouts=rollouts) for e in task.examples("test")]
    outcomes = list(play(task, prompts, model))
    made = [outcome for outcome in outcomes if isinstance(outcome, Rollout)]
    assert len(made) == len(outcomes)
    folder = RunFolder(place)
    asks = {
        "task": task.name,
        "version": task.version,
        "model": {"name": model.name},
        "sampling": asdict(Sampling()),
    }
    folder.begin({"asks": asks, "started": "2026-01-01T00:00:00+00:00"})
    journal = folder.rollouts.open()
    for rollout in made:
        journal.append(line(rollout, phase="eval", split="test"))
    journal.close(compress=closed)
    if report is not None:
        folder.finish(report)
    return folder, made
