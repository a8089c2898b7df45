"""Further roles of a dialogue: named by the task, given by the command, part of the run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from harness import Completion, Dialogue, Example, Message, Prompt, Sampling, Task, Verdict
from harness.commands.evaluation import Question, evaluate, prompts_of
from harness.commands.opening import check_roles
from harness.errors import UsageError
from harness.metrics import mean
from results.rescoring import rescore
from results.run import RunFolder


class Adds:
    """Adds a number to the one it is asked about."""

    independent = True

    def __init__(self, number: int) -> None:
        self.name = f"adds {number}"
        self.number = number

    def answer(self, prompts: Sequence[Prompt]) -> Iterator[tuple[int, Completion]]:
        for place, prompt in enumerate(prompts):
            yield place, Completion(str(int(prompt.messages[-1].content) + self.number), steps=1)

    def describe(self) -> dict[str, Any]:
        return {"engine": "adds", "number": self.number}


def dialogue(opening: Prompt) -> Dialogue:
    said = yield opening
    helped = yield opening.but(role="helper", messages=(Message("user", said.output),))
    right = helped.output == opening.example.target
    return Verdict({"correct": float(right)}, helped.output, "ok" if right else "wrong")


ASSISTED = Task(
    name="assisted/sums",
    version=1,
    examples=lambda split: [Example(f"{n}", {"n": n}, str(n + 3)) for n in range(4)],
    prompt=lambda example: Prompt(example, (Message("user", example.id),)),
    verify=lambda example, completion: Verdict({"correct": 0.0}),
    gold=lambda example: example.target,
    metrics=(mean("correct"),),
    reward={"correct": 1.0},
    dialogue=dialogue,
    roles=("helper",),
)


def asked(helper: Adds) -> Question:
    return Question(
        task=ASSISTED,
        split="test",
        rollouts=1,
        limit=None,
        sampling=Sampling(temperature=0.0),
        roles={"helper": helper},
    )


def test_every_role_has_its_model_and_the_run_says_which(tmp_path: Path):
    question = asked(Adds(2))
    folder = RunFolder(tmp_path / "run")
    prompts = prompts_of(question)
    outcome = evaluate(question, Adds(1), folder, prompts, block=4, provenance={})
    assert [record.value for record in outcome.records] == [1.0]
    assert folder.manifest["asks"]["roles"]["helper"]["number"] == 2
    assert outcome.records[0].settings["helper_model"] == "adds 2"
    assert rescore(ASSISTED, folder.rollouts.read()).agrees


def test_another_model_in_a_role_is_another_run(tmp_path: Path):
    prompts = prompts_of(asked(Adds(2)))
    folder = RunFolder(tmp_path / "run")
    evaluate(asked(Adds(2)), Adds(1), folder, prompts, block=4, provenance={})
    with pytest.raises(UsageError, match="roles"):
        evaluate(asked(Adds(3)), Adds(1), folder, prompts, block=4, provenance={})


@pytest.mark.parametrize(
    ("given", "also", "why"),
    [
        ({}, (), "--role helper=MODEL"),
        ({"helper": 1, "judge": 1}, (), "asks no 'judge'; it asks the solver and the helper"),
        ({"helper": 1, "judge": 1}, ("judge",), ""),
        ({"helper": 1}, (), ""),
    ],
)
def test_roles_are_those_that_somebody_asks(given: dict[str, Any], also: tuple[str, ...], why: str):
    if not why:
        return check_roles(ASSISTED, given, also)
    with pytest.raises(UsageError, match=why):
        check_roles(ASSISTED, given, also)
