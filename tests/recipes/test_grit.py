"""grit by hand: its sheet, each reward by itself, and where it departs from the released code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor, tensor
from torch.testing import assert_close

from harness.types import Completion, Example, Message, Prompt, Rollout, Verdict
from tests.trainer_builders import a_run, credited, judged, still
from trainers.advantages import CenterByMean, ScaleByStd
from trainers.batch import Batch
from trainers.losses import KLToReference
from trainers.recipe import Run
from trainers.recipes.grit import (
    RECIPE,
    PayAnswerTag,
    PayAnswerWords,
    PayBoxes,
    PayVariety,
    boxes,
    tags_in_order,
)
from trainers.recipes.grpo import RECIPE as GRPO

NEAR = {"atol": 1e-6, "rtol": 0}
BOX = '{"bbox_2d": [10, 20, 30, 40]}'
THOUGHT = "<think> I see {} here </think> <rethink> so it is </rethink> "
SHEET = [
    THOUGHT.format(f"{BOX} and {BOX}") + "<answer> 2",
    "<think> squares </think> <rethink> so it is </rethink> <answer> 2",
    "<answer> 2",
    THOUGHT.format(BOX) + "<answer> <answer> 1",
]
JUDGED = [1.0, 1.0, 1.0, 0.0]


def batch_of(
    texts: Sequence[str | None], right: Sequence[float] = (), *, target: object = 2, kind="count"
) -> Batch:
    """Replies to one question, token by token as the tiny policy writes them."""
    example = Example("q", {}, target, {"type": kind})
    rollouts = []
    for attempt, text in enumerate(texts):
        prompt = Prompt(example, (Message("user", "?"),), attempt=attempt)
        said = still().spell(prompt, text) if text is not None else Completion(None)
        paid = right[attempt] if right else 0.0
        verdict = Verdict({"correct": paid}, reason="ok" if paid else "wrong")
        rollouts.append(Rollout(((prompt, said),), verdict, "q", attempt=attempt))
    return Batch.of(rollouts, still().decided(rollouts))


def the_run() -> Run:
    return a_run(RECIPE, policy=still())


def paid(stage: object, *texts: str | None, **how: object) -> list[float]:
    return stage(batch_of(texts, **how), the_run()).rewards[:, 0].tolist()  # type: ignore[operator]


def rewarded(batch: Batch) -> Tensor:
    run = the_run()
    for stage in RECIPE.rewards:
        batch = stage(batch, run)
    return batch.rewards[:, 0]


def test_oracle_worked_example():
    batch = batch_of(SHEET, JUDGED)
    found = rewarded(batch)
    assert_close(found, tensor([4.1, 2.5, 2.1, 1.75]), **NEAR)
    found = credited(RECIPE, batch.but(rewards=found.unsqueeze(1))).advantages[:, 0]
    assert_close(found, tensor([1.433008, -0.108379, -0.493725, -0.830904]), **NEAR)


def test_oracle_of_each_part_in_the_log():
    run = the_run()
    batch = batch_of(SHEET[:1], JUDGED[:1])
    for stage in RECIPE.rewards:
        batch = stage(batch, run)
    parts = {"bleu": 0.1, "answer": 0.5, "format": 0.5, "boxes": 1.5, "variety": 0.5}
    numbers = run.tally.numbers()
    assert {name: numbers[f"grit/{name}"] for name in parts} == pytest.approx(parts)


def test_answer_words_are_compared_without_case_and_punctuation():
    found = paid(
        PayAnswerWords(), "<answer> A Red, cube.</answer>", "red cube", target="a red cube"
    )
    assert found == pytest.approx([0.1, 0.0])
    assert paid(PayAnswerWords(), "<answer>", "<answer>red", target="red") == pytest.approx(
        [0, 0.1]
    )


def test_one_answer_tag_is_worth_more_than_several():
    found = paid(PayAnswerTag(), "", "<answer>", "<answer><answer>", "<answer>" * 5)
    assert found == pytest.approx([0, 0.5, 0.25, 0.25])


TAGGED = {
    "": 0,
    "<think>": 1,
    "</think><think>": 1,
    "<think></think>": 2,
    "<rethink></rethink>": 2,
    "<think>one</think><rethink></rethink>": 4,
    "<think>one,two</think><rethink></rethink>": 5,
    "<rethink></rethink><think>one two</think>": 2,
}


@pytest.mark.parametrize("text", TAGGED)
def test_tags_count_in_their_order(text: str):
    assert tags_in_order(text) == TAGGED[text]


BOXES = {
    "": 0,
    BOX: 1,
    "[1, 2, 3, 4] and [5.5, 6, 7, 8]": 2,
    "[1, 2, 3] [4, 5]": 0,
    "1, 2, 3, 4": 1,
    "[1, 2, 3, 4] on 1, 2, 3, 4": 1,
    '["a", 1, 2, 3] [true, 1, 2, 3] [1e999, 0.5, 2, 3]': 0,
    "[NaN, 1, 2, 3]": 0,
    "[" * 1000 + "1, 2, 3, 4": 1,
    "12, 3": 0,
}


@pytest.mark.parametrize("text", BOXES)
def test_a_list_of_four_numbers_is_a_box_and_bare_integers_only_without_one(text: str):
    assert boxes(text) == BOXES[text]


def test_boxes_count_before_the_second_thought_alone():
    texts = (f"{BOX}<rethink>", f"<rethink>{BOX}", BOX, "<rethink>")
    assert paid(PayBoxes(), *texts, target=9) == [0.5, 0.0, 0.0, 0.0]


def test_the_number_of_boxes_pays_only_where_a_count_is_asked():
    texts = (f"{BOX} {BOX}<rethink>", f"{BOX}<rethink>")
    assert paid(PayBoxes(), *texts) == [1.5, 0.5]
    assert paid(PayBoxes(), *texts, kind="relation") == [0.5, 0.5]
    assert paid(PayBoxes(), "nothing there <rethink>", target=0) == [1.0]
    one, other = batch_of(texts), batch_of(texts, kind="relation")
    both = Batch.of((*one.rollouts, *other.rollouts), torch.cat([one.mask, other.mask]))
    assert PayBoxes()(both, the_run()).rewards[:, 0].tolist() == [1.5, 0.5, 0.5, 0.5]


def test_an_empty_reply_is_paid_nothing():
    assert rewarded(batch_of(["", "  ", None])).tolist() == [0.0] * 3


def test_repetition_costs_what_the_formula_says():
    eight = "a b c d e f g h"
    words = [f"w{n}" for n in range(24)]
    found = paid(PayVariety(), "short", " ".join(words), f"{eight} {eight} {eight}")
    assert found[:2] == [0.5, 0.5]
    # 24 words, 16 windows: the first 9 have an equal next one. 47 letters and an end: 33 windows,
    # in which eight letters are never followed by the same eight
    assert found[2] == pytest.approx(0.5 * (7 / 16))
    assert paid(PayVariety(), "z " * 30) == [0.0]


def test_limit_without_form_it_is_grpo_with_the_sample_std():
    exact = GRPO.but(advantages=(CenterByMean(), ScaleByStd(ddof=1)))
    batch = judged([1.0, 0.0, 0.5], [1.0, 1.0])
    one, other = credited(RECIPE, batch), credited(exact, batch)
    assert_close(one.advantages, other.advantages)
    assert_close(one.weights, other.weights)
    assert KLToReference(beta=0.01) in RECIPE.losses


def test_degenerate_groups_are_finite_and_0():
    batch = batch_of([SHEET[0]] * 3, [1.0] * 3)
    found = credited(RECIPE, batch.but(rewards=rewarded(batch).unsqueeze(1))).advantages
    assert found.abs().max().item() == 0


def test_garbage_is_judged_in_time_linear_in_its_length():
    texts = ["[" * 3000, "1, 2, " * 500, "<think>" * 400, "\x00\ufffd" * 300]
    batch = batch_of(["x"] * len(texts))
    rollouts = [
        replace(r, turns=((r.prompt, replace(r.completion, output=text)),))
        for r, text in zip(batch.rollouts, texts, strict=True)
    ]
    assert bool(rewarded(batch.but(rollouts=tuple(rollouts))).isfinite().all())
