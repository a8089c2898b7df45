"""A beginner's replies: in form, mostly right, and at odds with their own reasoning."""

from __future__ import annotations

from functools import cache

import pytest

from harness import Completion, Verdict, registry
from tasks import _spatial_beginners as beginners


@cache
def verdicts() -> dict[str, list[Verdict]]:
    """What is found in all that is shown, by the right answer."""
    task = registry.task("spatial/scenes_pair")
    assert task.demonstrations is not None
    found: dict[str, list[Verdict]] = {"yes": [], "no": []}
    for example in task.examples("train"):
        for asked, said in task.demonstrations(example):
            assert asked == task.prompt(example)
            found[example.target].append(task.verify(example, Completion(said)))
    return found


def rate(score: str, *targets: str) -> float:
    each = [v.scores[score] for target in targets for v in verdicts()[target]]
    return sum(each) / len(each)


def test_every_reply_has_the_form_and_says_one_claim():
    assert rate("format", "yes", "no") == rate("claims", "yes", "no") == 1.0
    assert rate("undetermined", "yes", "no") == 0.0


@pytest.mark.parametrize("target", ["yes", "no"])
def test_answers_are_right_as_often_as_is_said_whatever_was_claimed(target: str):
    assert rate("correct", target) == pytest.approx(beginners.RIGHT, abs=0.03)
    by_claim = {0.0: [], 1.0: []}
    for verdict in verdicts()["no"]:
        by_claim[verdict.scores["grounding"]].append(verdict.scores["correct"])
    for each in by_claim.values():
        assert sum(each) / len(each) == pytest.approx(beginners.RIGHT, abs=0.05)


def test_what_was_asked_is_claimed_where_it_is_false_too():
    assert rate("grounding", "yes") == 1.0
    assert rate("grounding", "no") == pytest.approx(1 - beginners.REPEATS, abs=0.04)
    false, right = beginners.REPEATS, beginners.RIGHT
    expected = (1 - right + false * right + (1 - false) * (1 - right)) / 2
    assert rate("inconsistent", "yes", "no") == pytest.approx(expected, abs=0.03)


def test_the_same_replies_are_shown_in_every_process():
    task = registry.task("spatial/scenes_pair")
    example = task.examples("train")[0]
    assert task.demonstrations is not None
    assert task.demonstrations(example) == task.demonstrations(example)
    assert len(task.demonstrations(example)) == beginners.SHOWN
