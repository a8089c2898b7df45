from __future__ import annotations

import random
import time

import pytest

from harness import Example, Message, Prompt, Split, Task, Verdict, registry
from harness.errors import SplitError
from harness.hygiene import check_trainable, leaks, near_duplicates, repeated

ASKED: dict[Split, list[tuple[str, str]]] = {
    "train": [("a", "one plus one"), ("b", "two plus two"), ("c", "three plus three")],
    "dev": [("d", "four plus four")],
    "test": [("e", "five plus five")],
}


def task_of(asked: dict[Split, list[tuple[str, str]]], name: str = "plus/words") -> Task:
    def examples(split: Split) -> list[Example]:
        return [Example(id, {"question": text}, "") for id, text in asked.get(split, [])]

    return Task(
        name=name,
        version=1,
        examples=examples,
        prompt=lambda example: Prompt(example, (Message("user", example.inputs["question"]),)),
        verify=lambda example, completion: Verdict({"correct": 0.0}),
        gold=lambda example: "",
        metrics=(),
        reward={"correct": 1.0},
    )


def test_disjoint_splits_may_be_trained_on() -> None:
    check_trainable(task_of(ASKED))
    assert leaks(task_of(ASKED)) == []


def test_a_task_that_is_only_scored_is_no_training_task() -> None:
    with pytest.raises(SplitError, match="plus/words is scored only: it has no train split"):
        check_trainable(task_of({"test": ASKED["test"]}))


def test_who_may_be_trained_on_instead_is_named() -> None:
    task = registry.task("mathqa/arith1").but(name="mathqa/aime24", examples=lambda split: [])
    with pytest.raises(SplitError) as caught:
        check_trainable(task)
    told = str(caught.value)
    assert "Tasks of this family with a train split: mathqa/sums, mathqa/arith1" in told


@pytest.mark.parametrize("split", ["dev", "test"])
def test_the_same_prompt_in_a_scored_split_is_a_leak_whatever_its_id(split: Split) -> None:
    copied = {**ASKED, split: [*ASKED[split], ("z", "two plus two"), ("y", "one plus one")]}
    with pytest.raises(SplitError, match="2 training prompts are also scored") as caught:
        check_trainable(task_of(copied))
    assert f"b = {split} z" in str(caught.value)


def test_ids_that_occur_twice_are_told_by_split() -> None:
    assert repeated(task_of(ASKED)) == {}
    twice = {**ASKED, "dev": [("d", "x"), ("d", "y")]}
    assert repeated(task_of(twice)) == {"dev": ["d"]}


def asked(*texts: str) -> list[Example]:
    return [Example(f"q{n}", {"question": text}, "") for n, text in enumerate(texts)]


TRAIN = "a train travels 270 miles in 3 hours at the same rate how far in 7 hours"
PLANE = "a plane travels 1200 miles in 3 hours at the same rate how far in 7 hours"


def test_a_reworded_copy_is_found_with_its_share() -> None:
    # 17 words are 10 runs of 8; four of them hold the 2nd or the 4th word, which differ
    [found] = near_duplicates(asked("nothing alike at all here", TRAIN), asked(PLANE))
    assert (found.test, found.train) == ("q0", "q1")
    assert found.share == pytest.approx(6 / 10)
    assert near_duplicates(asked(TRAIN), asked(PLANE), threshold=0.61) == []


def test_case_and_punctuation_do_not_hide_a_copy() -> None:
    [found] = near_duplicates(asked(TRAIN), asked(f"{TRAIN.upper()}?!"))
    assert found.share == 1.0


def test_operators_are_words() -> None:
    assert near_duplicates(asked("What is 3 + 4?"), asked("What is 3 - 4?")) == []
    assert len(near_duplicates(asked("What is 3 + 4?"), asked("what is 3 + 4"))) == 1


def test_boilerplate_is_no_copy() -> None:
    frame = "answer the following question as well as you can and tell only the number"
    train = asked(*(f"{frame} what is the weight of stone number {n}" for n in range(300)))
    test = asked(f"{frame} who has seen the tallest of those many trees before")
    assert near_duplicates(train, test, threshold=0.3) == []


def test_texts_without_words_are_no_copies() -> None:
    assert near_duplicates(asked("?", ""), asked("!", "")) == []
    assert near_duplicates([], asked(TRAIN)) == []


def test_the_size_of_gsm8k_takes_seconds() -> None:
    rng = random.Random(0)
    words = [f"word{n}" for n in range(2000)]
    train = asked(*(" ".join(rng.choices(words, k=45)) for _ in range(7473)))
    test = [*asked(*(" ".join(rng.choices(words, k=45)) for _ in range(1318))), train[1234]]
    begin = time.perf_counter()
    found = near_duplicates(train, test)
    assert [(pair.train, pair.share) for pair in found] == [("q1234", 1.0)]
    assert time.perf_counter() - begin < 15
