"""drills by hand: answers are right, splits are apart, replies are read as the card says."""

from __future__ import annotations

import pytest

from harness import Completion, Example, Task, registry
from harness.types import SPLITS
from tasks.drills import MEMBERS, TASKS


def member(name: str) -> Task:
    return registry.task(f"drills/{name}")


def judged(name: str, target: str, output: object, *, cut: bool = False):
    stopped = "budget" if cut else "done"
    return member(name).verify(Example("q", {}, target), Completion(output, stopped=stopped))


def right(name: str, question: str) -> str:
    if name == "successor":
        return str(int(question) + 1)
    if name == "digit":
        return question[-1]
    digits = question.split()
    return " ".join(reversed(digits) if name == "reversal" else sorted(digits))


@pytest.mark.parametrize("name", MEMBERS)
def test_answers_are_right_and_questions_are_asked_in_one_split_only(name: str) -> None:
    asked: list[str] = []
    for split in SPLITS:
        for example in member(name).examples(split):
            question = example.inputs["question"]
            assert right(name, question) == example.target
            asked.append(question)
    assert len(asked) == len(set(asked)) >= 200
    assert all(right(name, question) == answer for question, answer in MEMBERS[name].shots)
    assert not {question for question, _ in MEMBERS[name].shots} & set(asked)


def test_three_answers_are_shown_as_turns() -> None:
    task = member("sorting")
    messages = task.prompt(task.examples("test")[0]).messages
    assert [message.speaker for message in messages] == [
        "system",
        *["user", "assistant"] * 3,
        "user",
    ]
    assert len(member("digit").prompt(member("digit").examples("test")[0]).messages) == 1


@pytest.mark.parametrize("reply", ["5 2 7", " 5 2 7.\n", "5 2 7 . "])
def test_the_whole_reply_is_the_answer(reply: str) -> None:
    assert judged("reversal", "5 2 7", reply).scores == {"correct": 1.0}
    assert judged("reversal", "5 2 7", reply).reason == "ok"


@pytest.mark.parametrize(
    ("reply", "cut", "reason"),
    [
        ("7 2 5", False, "wrong"),
        ("527", False, "bad_format"),
        ("It is 5 2 7", False, "bad_format"),
        ("\u0665 \u0662 \u0667", False, "bad_format"),
        ("It is 5 2", True, "truncated"),
        ("", False, "no_answer"),
        (None, False, "no_answer"),
        (3.5, False, "no_answer"),
        ("5 2 7" * 100, False, "no_answer"),
    ],
)
def test_other_replies_are_not(reply: object, cut: bool, reason: str) -> None:
    verdict = judged("reversal", "5 2 7", reply, cut=cut)
    assert verdict.scores == {"correct": 0.0}
    assert verdict.reason == reason


def test_digits_are_paid_by_nearness() -> None:
    assert judged("digit", "7", "7 and more").scores == {"correct": 1.0, "close": 1.0}
    assert judged("digit", "7", "4").scores == {"correct": 0.0, "close": 0.7}
    assert judged("digit", "7", "x7").scores == {"correct": 0.0, "close": 0.0}
    assert judged("digit", "7", "\u0667").scores == {"correct": 0.0, "close": 0.0}
    assert judged("digit", "7", "").reason == "no_answer"
    assert [task.name for task in TASKS if task.reward == {"close": 1.0}] == ["drills/digit"]
