"""What an evaluation promises, with real runs of small models."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from harness import Completion, Example, Message, Prompt, Sampling, Task, Verdict
from harness.commands.evaluation import Outcome, Question, evaluate, prompts_of
from harness.errors import BusyError, DataError, UnknownName, UsageError
from harness.metrics import mean, pass_at
from harness.models import Gold, Model
from results.run import RunFolder
from tests.command_line import command


def verify(example: Example, completion: Completion) -> Verdict:
    right = completion.output == str(example.target)
    return Verdict({"correct": float(right)}, completion.output, "ok" if right else "wrong")


DOUBLES = Task(
    name="doubles/small",
    version=1,
    examples=lambda split: [Example(f"{n}", {"n": n}, 2 * n) for n in range(12)],
    prompt=lambda example: Prompt(example, (Message("user", f"twice {example.id}"),)),
    verify=verify,
    gold=lambda example: str(example.target),
    metrics=(pass_at(1), pass_at(2), mean("correct")),
    reward={"correct": 1.0},
)
QUESTION = Question(
    task=DOUBLES, split="test", rollouts=1, limit=None, sampling=Sampling(temperature=0.0)
)


class Half:
    """Right on even numbers; says nothing on the examples it is deaf to."""

    name = "half"
    independent = True

    def __init__(self, deaf: Sequence[str] = ()) -> None:
        self.deaf = set(deaf)
        self.asked = 0

    def answer(self, prompts: Sequence[Prompt]) -> Iterator[tuple[int, Completion]]:
        for number, prompt in enumerate(prompts):
            self.asked += 1
            n = int(prompt.example.id)
            said = str(2 * n) if n % 2 == 0 else "?"
            failed = prompt.example.id in self.deaf
            yield number, Completion(said, "failed" if failed else "done", note="line is dead")

    def describe(self) -> dict[str, str]:
        return {"engine": "half"}


def outcome(model: Model, folder: Path, question: Question = QUESTION) -> Outcome:
    prompts = prompts_of(question)
    return evaluate(question, model, RunFolder(folder), prompts, block=4, provenance={})


def test_numbers_come_with_what_is_needed_to_believe_them(tmp_path: Path):
    found = outcome(Half(), tmp_path)
    first = found.records[0]
    assert (first.metric, first.value, first.examples) == ("pass@1", 0.5, 12)
    assert first.low < 0.5 < first.high
    assert sum(first.values) == 6
    assert first.reasons == {"ok": 0.5, "wrong": 0.5}


def test_metrics_that_need_more_rollouts_are_left_out_or_refused_when_asked_for(tmp_path: Path):
    assert [r.metric for r in outcome(Gold(DOUBLES), tmp_path).records] == ["pass@1", "correct"]
    with pytest.raises(UsageError, match="needs 2 rollouts"):
        replace(QUESTION, wanted=("pass@2",)).metrics()
    with pytest.raises(UnknownName, match="pass@1"):
        replace(QUESTION, wanted=("pas@1",)).metrics()


def test_what_could_not_be_asked_gives_no_number_and_is_asked_again(tmp_path: Path):
    broken = outcome(Half(deaf=["3", "4"]), tmp_path)
    assert not broken.complete
    assert broken.records == ()
    assert broken.report["faults"] == {"line is dead": 2}
    healed = Half()
    whole = outcome(healed, tmp_path)
    assert whole.complete
    assert healed.asked == 2
    assert [r.values for r in whole.records] == [
        r.values for r in outcome(Half(), tmp_path / "other").records
    ]


def test_a_folder_holds_one_question(tmp_path: Path):
    outcome(Half(), tmp_path)
    with pytest.raises(UsageError, match="another run: it differs in examples, limit"):
        outcome(Half(), tmp_path, replace(QUESTION, limit=3))


def test_two_writers_of_a_folder_are_refused(tmp_path: Path):
    outcome(Half(deaf=["3"]), tmp_path)
    writer = RunFolder(tmp_path).rollouts.open()
    with pytest.raises(BusyError, match="another process"):
        outcome(Half(), tmp_path)
    writer.close()


def test_a_task_without_examples_or_with_one_twice_is_an_error():
    empty = DOUBLES.but(examples=lambda split: [])
    with pytest.raises(DataError, match="no test examples"):
        replace(QUESTION, task=empty).examples()
    twice = DOUBLES.but(examples=lambda split: [Example("a", {}, 1)] * 2)
    with pytest.raises(DataError, match="same id"):
        replace(QUESTION, task=twice).examples()


def test_the_manifest_tells_the_command_that_was_given(tmp_path: Path):
    words = ["eval", "mathqa/arith1", "-m", "gold", "--limit", "3", "-o", str(tmp_path)]
    assert command(*words).code == 0
    (run,) = (tmp_path / "runs").iterdir()
    assert RunFolder(run).manifest["command"] == ["harness", *words]
