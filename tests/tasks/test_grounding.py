"""grounding by hand: boxes, matching, and GRIT's parts."""

from __future__ import annotations

import pytest

from harness import Completion, Example, Task, registry
from tasks import grounding
from tasks.spatial_scenes import world

WEIGHTS = {"correct": 1, "bleu": 0.1, "answer_tag": 0.5, "form": 0.5, "boxed": 0.5, "counted": 1}


def task() -> Task:
    return registry.task("grounding/scenes_text")


def counting(count: int) -> Example:
    """A question whose answer is that many."""
    examples = [e for split in ("train", "test") for e in task().examples(split)]  # type: ignore[arg-type]
    return next(
        e for e in examples if e.inputs["question"]["type"] == "count" and e.target == str(count)
    )


TWO = '"bbox_2d": [1, 2, 30, 40] and "bbox_2d": [5, 6, 70, 80]'


@pytest.mark.parametrize(
    ("said", "reward"),
    [
        (f"<think>I see {TWO}</think><rethink>two</rethink><answer>2</answer>", 4.1),
        ("<think>hm</think><rethink>two</rethink><answer>2</answer>", 2.5),
        ("<answer> 2", 2.1),
        ("<think>I see [1, 2, 3, 4]</think><rethink>so</rethink><answer>1<answer>", 1.75),
    ],
)
def test_parts_add_up_to_grits_reward(said: str, reward: float) -> None:
    scores = task().verify(counting(2), Completion(said)).scores
    paid = sum(weight * scores[name] for name, weight in WEIGHTS.items())
    assert paid + 0.5 * scores["varied"] == pytest.approx(reward)


def test_repeated_words_are_not_varied_and_nothing_said_is_not_either() -> None:
    assert grounding._varied("a b c d e f g h".split() * 2) == 0
    assert grounding._varied([f"{n}" for n in range(40)]) == 1
    assert grounding._varied(["a"] * 15) == 1
    assert grounding._varied([]) == 0


def test_boxes_are_matched_one_to_one_and_paid_over_all_that_are_said() -> None:
    example = counting(2)
    gold = [t.box for t in grounding._wanted(example)]
    said = task().gold(example)
    assert task().verify(example, Completion(said)).scores["iou"] > 0.9
    twice = said.replace("</think>", f"{grounding._written(gold[0])}</think>")
    scores = task().verify(example, Completion(twice)).scores
    assert 0.6 < scores["iou"] < 2 / 3
    assert scores["found"] == 2
    assert scores["boxes"] == 3
    assert scores["wanted"] == 2
    assert scores["union_iou"] > 0.9  # a box said twice covers no more


def test_boxes_of_a_resized_image_are_scaled_back() -> None:
    example = counting(2)
    gold = [t.box for t in grounding._wanted(example)]
    told = " ".join(f"[{', '.join(str(2 * edge) for edge in box)}]" for box in gold)
    said = f"<think>{told}</think><rethink>so</rethink><answer>2</answer>"
    trace = {"images": [{"given": [224, 224], "seen": [448, 448]}]}
    assert task().verify(example, Completion(said, trace=trace)).scores["iou"] > 0.99
    assert task().verify(example, Completion(said)).scores["iou"] < 0.5


def test_nothing_to_be_boxed_and_nothing_boxed_is_full_marks_for_an_answer_only() -> None:
    example = counting(0)
    assert task().verify(example, Completion(task().gold(example))).scores["iou"] == 1
    assert task().verify(example, Completion("")).scores["iou"] == 0
    sprayed = "<think>[1, 2, 3, 4]</think><rethink>a</rethink><answer>0</answer>"
    assert task().verify(example, Completion(sprayed)).scores["iou"] == 0


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("[1, 2, 3, 4] and [5.5, 6, 7, 8]", 2),
        ("at 10, 20, 30, 40 it is", 1),
        ("[1, 2, 3] in 1, 2, 3", 0),
        ("the years 1, 2, 3, 4 of [5, 6, 7, 8]", 1),
        ("[1,2,3,4]" * 201, 0),
        ("[1,2,3,4]" * 10_000, 0),
        ("1, " * 30_000, 0),
    ],
)
def test_lists_of_four_are_boxes_and_bare_numbers_only_without_them(text: str, count: int) -> None:
    assert len(grounding.boxes_in(text)) == count


def test_every_object_of_a_list_stands_with_its_box() -> None:
    example = task().examples("test")[0]
    text = task().prompt(example).messages[0].content
    for each in world.things(example.inputs["scene"]):
        assert f"{each.name}: {grounding._written(each.box)}" in text
