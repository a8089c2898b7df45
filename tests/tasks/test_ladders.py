"""ladders by hand: what is right, where questions stand, and what a beginner says."""

from __future__ import annotations

import pytest

from harness import Completion, Example, Task, Verdict, registry
from harness.metrics import pass_at_k
from harness.types import SPLITS
from tasks import ladders
from tasks._ladder_beginners import CHANCE
from tasks.ladders import MEMBERS, SIZES


def member(name: str) -> Task:
    return registry.task(f"ladders/{name}")


def judged(name: str, question: str, output: object, *, cut: bool = False) -> Verdict:
    example = ladders._example(name, "q", question)
    stopped = "budget" if cut else "done"
    return member(name).verify(example, Completion(output, stopped=stopped))


@pytest.mark.parametrize("name", MEMBERS)
def test_a_question_is_asked_in_one_split_only(name: str) -> None:
    asked: list[str] = []
    for split in SPLITS:
        found = member(name).examples(split)
        assert 50 <= len(found) <= SIZES[split]
        asked += [example.inputs["question"] for example in found]
    assert len(asked) == len(set(asked))


@pytest.mark.parametrize(
    ("name", "question", "said", "scores"),
    [
        ("graded", "cE7w", "dF8", {"correct": 1, "close": 1}),
        ("graded", "jJ9u", "aA0", {"correct": 1, "close": 1}),
        ("graded", "cE7w", "dE8", {"correct": 0, "close": 2 / 3}),
        ("graded", "cE7w", "dF8!", {"correct": 0, "close": 0}),
        ("graded", "cE7w", None, {"correct": 0, "close": 0}),
        ("hinted", "cE7z", "dF8", {"correct": 1, "close": 1}),
        ("wordy", "cE7u", "=dF8", {"correct": 1, "close": 1, "brief": 1}),
        ("wordy", "cE7u", "..=dF8", {"correct": 1, "close": 1, "brief": 0.75}),
        ("wordy", "cE7u", "dF8", {"correct": 0, "close": 0, "brief": 0}),
        ("wordy", "cE7u", "." * 20 + "=dF8", {"correct": 1, "close": 1, "brief": 0}),
        ("conflict", "cE7", "okdF8", {"correct": 1, "close": 1, "brief": 1, "polite": 1}),
        ("conflict", "cE7", "....dF7", {"correct": 0, "close": 2 / 3, "brief": 0.5, "polite": 0}),
        ("prefix", "cE7", "dxFz8", {"correct": 1, "close": 1}),
        ("prefix", "cE7", "dxEz8", {"correct": 0, "close": 2 / 3}),
        ("prefix", "cE7", "daFz8", {"correct": 0, "close": 0}),
    ],
)
def test_scores_by_hand(name: str, question: str, said: object, scores: dict[str, float]) -> None:
    assert judged(name, question, said).scores == pytest.approx(scores)


def test_reasons_tell_wrong_from_unreadable_from_cut() -> None:
    assert judged("graded", "cE7w", "dF8").reason == "ok"
    assert judged("graded", "cE7w", "dF7").reason == "wrong"
    assert judged("graded", "cE7w", "seven").reason == "bad_format"
    assert judged("graded", "cE7w", "").reason == "no_answer"
    assert judged("graded", "cE7w", "dF", cut=True).reason == "truncated"


def test_rare_ways_work_for_one_question_in_twenty_and_popular_ones_for_more() -> None:
    found = [e for split in SPLITS for e in member("rare").examples(split)]
    share = {way: sum(way in e.target for e in found) / len(found) for way in ladders.WAYS}
    assert share["k"] == pytest.approx(0.3, abs=0.05)
    assert share["l"] == pytest.approx(0.2, abs=0.05)
    assert all(share[way] == pytest.approx(0.05, abs=0.03) for way in ladders.WAYS[2:-1])
    assert all(example.target for example in found)
    assert member("rare").verify(found[0], Completion(found[0].target[0])).reason == "ok"


def test_hints_come_in_three_tiers_of_four_and_the_last_of_a_tier_is_the_answer() -> None:
    for example in member("hinted").examples("train")[:50]:
        hints = example.inputs["hints"]
        assert [len(pieces) for pieces in hints.values()] == [4, 4, 4]
        assert hints["solution"][-1] == example.target == example.tags["hint"]
        assert not member("hinted").prompt(example).hints


def right(name: str, example: Example) -> float:
    shown = member(name).demonstrations(example)  # type: ignore[misc]
    verdicts = [member(name).verify(example, Completion(said)) for _, said in shown]
    return sum(verdict.scores["correct"] for verdict in verdicts) / len(verdicts)


@pytest.mark.parametrize("name", MEMBERS)
def test_a_beginner_is_right_between_one_time_in_ten_and_seven_in_ten(name: str) -> None:
    found = member(name).examples("train")[:400]
    bare = sum(right(name, example) for example in found) / len(found)
    assert 0.1 < bare < 0.7


def test_a_beginner_of_graded_is_as_good_as_the_level_says() -> None:
    found = member("graded").examples("train")
    for mark, chance in CHANCE.items():
        level = [example for example in found if example.tags["mark"] == mark]
        mean = sum(right("graded", example) for example in level) / len(level)
        assert mean == pytest.approx(chance, abs=0.05)
    flat = sum(c**8 + (1 - c) ** 8 for c in CHANCE.values()) / len(CHANCE)
    assert 0.4 < flat < 0.5  # of groups of 8, at the start


def test_hints_help_a_beginner_and_are_never_in_the_prompt_of_the_task() -> None:
    helped: list[float] = []
    alone: list[float] = []
    for example in member("hinted").examples("train"):
        if example.tags["mark"] == "z":
            for prompt, said in member("hinted").demonstrations(example):  # type: ignore[misc]
                correct = float(said == example.target)
                (helped if prompt.hints else alone).append(correct)
    assert sum(alone) / len(alone) < 0.03 < 0.15 < sum(helped) / len(helped)


def test_diverse_answers_matter_for_pass_at_8_in_rare() -> None:
    """Whoever always tries the popular way gains at one attempt and loses at eight."""
    found = member("rare").examples("test")
    popular = sum("k" in example.target for example in found) / len(found)
    spread = [
        pass_at_k(16, sum(way in example.target for way in ladders.WAYS), 8) for example in found
    ]
    assert sum(spread) / len(spread) > popular + 0.2
