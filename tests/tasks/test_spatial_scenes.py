"""Scenes: strict margins, known answers, and pictures that agree with the published ones."""

from __future__ import annotations

import json
import os
from collections import Counter
from itertools import combinations, permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.spatial_claims.boxes import iou, matched, mean_iou, read_box, scale_of, union_iou
from tasks.spatial_scenes import questions as asking
from tasks.spatial_scenes import world
from tasks.spatial_scenes.render import PAINT, picture
from tasks.spatial_scenes.world import Box, Kind

DATA = os.environ.get("HARNESS_DATA")
needs_data = pytest.mark.skipif(not DATA, reason="HARNESS_DATA is not set")
SEEDS = st.integers(0, 2000)
KINDS = st.sampled_from([world.PLAIN, Kind(held_out=True), Kind(3, 3, columns=9)])
QUICK = settings(max_examples=40, deadline=None)


def published() -> list[dict[str, Any]]:
    lines = (Path(DATA or "") / "spatial/scenes_40.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line) for line in lines]


# -- what was published


@needs_data
def test_published_boxes_answers_and_wordings_follow_from_the_scenes() -> None:
    scenes = published()
    assert len(scenes) == 40
    for scene in scenes:
        for each in scene["objects"]:
            assert list(world.box_of(each["r"], each["x"], each["z"])) == each["box"]
        seen = world.things(scene)
        for question in scene["questions"]:
            assert asking.settled(question, seen) == question


@needs_data
def test_published_pictures_are_drawn_to_the_pixel() -> None:
    from PIL import Image

    drawn = [scene for scene in published() if scene["image"]]
    assert len(drawn) == 12
    for scene in drawn:
        shown = np.asarray(Image.open(Path(DATA or "") / "spatial" / scene["image"]))
        assert np.array_equal(picture(scene), shown), scene["id"]


@needs_data
def test_published_scenes_keep_the_margins_that_are_drawn_by() -> None:
    for scene in published():
        assert_margins(scene)


# -- what is drawn


def assert_margins(scene: dict[str, Any]) -> None:
    seen = world.things(scene)
    assert len({each.name for each in seen}) == len(seen)
    for each in seen:
        x1, y1, x2, y2 = each.box
        assert min(x1, y1) >= 2
        assert max(x2, y2) <= 222
        assert 2.6 <= each.z <= 7
    for a, b in combinations(seen, 2):
        assert abs(a.u - b.u) >= 12
        assert abs(a.z - b.z) >= 0.4 - 1e-9
        assert world._common(a.box, b.box) <= 0.15


@QUICK
@given(SEEDS, KINDS)
def test_every_scene_keeps_its_margins_and_comes_again_from_its_seed(seed: int, kind: Kind) -> None:
    scene = world.drawn(seed, kind)
    assert scene == world.drawn(seed, kind)
    assert kind.fewest <= len(scene["objects"]) <= kind.most
    assert_margins(scene)
    assert_margins(world.mirrored(scene))
    held_out = [(t.color, t.shape) in world.HELD_OUT for t in world.things(scene)]
    assert sum(held_out) >= 2 if kind.held_out else not any(held_out)


@QUICK
@given(SEEDS)
def test_a_mirror_turns_left_and_right_and_nothing_else(seed: int) -> None:
    scene = world.drawn(seed)
    seen, turned = world.things(scene), world.things(world.mirrored(scene))
    assert world.mirrored(world.mirrored(scene)) == scene
    for rel in asking.SIGN:
        for a, b in permutations(range(len(seen)), 2):
            before = asking.holds(rel, seen[a], seen[b])
            after = asking.holds(rel, turned[a], turned[b])
            assert after == (not before if rel in asking.SIDEWAYS else before)
    for question in asking.questions(seen, seed):
        asked = asking.mirrored_question(question, turned)
        if asking.turns(question):
            assert asked["question"] == question["question"]
            assert {asked["answer"], question["answer"]} == {"yes", "no"}
        else:
            assert asked["answer"] == question["answer"]


@QUICK
@given(SEEDS)
def test_answers_agree_with_the_boxes_alone(seed: int) -> None:
    """Another way to the same: centers of boxes for sideways, lower edges for depth."""
    seen = world.things(world.drawn(seed))
    place = {
        "left of": lambda t: t.box[0] + t.box[2],
        "right of": lambda t: -t.box[0] - t.box[2],
        "closer than": lambda t: -t.box[3],
        "farther than": lambda t: t.box[3],
    }
    ends = dict(zip(asking.ENDS, place.values(), strict=True))
    for question in asking.questions(seen, seed):
        if question["type"] == "relation":
            of = {t.name: place[question["rel"]](t) for t in seen}
            expected = "yes" if of[question["a"]] < of[question["b"]] else "no"
        elif question["type"] == "count":
            word = question["desc"].removesuffix(" object")
            expected = str(sum(f" {word} " in f" {t.name} " for t in seen))
        else:
            first = min(seen, key=ends[question["which"]])
            expected = first.color if question["ask"] == "color" else first.name
        assert question["answer"] == expected


def test_yes_and_no_are_equally_frequent_and_counts_are_not_mostly_one() -> None:
    asked = [
        question
        for number in range(200)
        for question in asking.questions(world.things(world.drawn(number)), number)
    ]
    for rels in (asking.SIDEWAYS, asking.IN_DEPTH):
        said = Counter(each["answer"] for each in asked if each.get("rel") in rels)
        assert said == {"yes": 100, "no": 100}
    counts = Counter(each["answer"] for each in asked if each["type"] == "count")
    assert set(counts) == set("01234")
    assert max(counts.values()) < 0.4 * counts.total()


# -- pictures


@QUICK
@given(SEEDS)
def test_the_nearest_object_is_painted_where_its_box_is(seed: int) -> None:
    scene = world.drawn(seed)
    nearest = min(world.things(scene), key=lambda t: t.z)
    pixels = picture(scene)
    assert pixels.shape == (224, 224, 3)
    alike = (pixels == PAINT[nearest.color]).all(axis=2)
    x1, y1, x2, y2 = (round(edge) for edge in nearest.box)
    inside = alike[y1 : y2 + 1, x1 : x2 + 1]
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    edges = (columns[0], rows[0], inside.shape[1] - 1 - columns[-1], inside.shape[0] - 1 - rows[-1])
    assert max(edges) <= 4  # the dark edge, and the tip of a cone
    with pytest.raises(ValueError, match="read-only"):
        pixels[0, 0] = 0


# -- boxes

BOXES = st.lists(
    st.tuples(*[st.integers(0, 12)] * 4).map(lambda box: tuple(map(float, box))), max_size=4
)


def painted(boxes: list[Box]) -> np.ndarray:
    grid = np.zeros((12, 12), bool)
    for x1, y1, x2, y2 in boxes:
        if x1 < x2 and y1 < y2:
            grid[int(y1) : int(y2), int(x1) : int(x2)] = True
    return grid


@QUICK
@given(BOXES, BOXES)
def test_overlap_and_matching_agree_with_counting_cells_and_trying_all(
    predicted: list[Box], gold: list[Box]
) -> None:
    for a in predicted:
        for b in gold:
            one, other = painted([a]), painted([b])
            either = (one | other).sum()
            common = (one & other).sum() if one.any() and other.any() else 0
            assert iou(a, b) == pytest.approx(common / either if either else 0.0)
    one, other = painted(predicted), painted(gold)
    either = (one | other).sum()
    assert union_iou(predicted, gold) == pytest.approx((one & other).sum() / max(either, 1))
    few, many = sorted((predicted, gold), key=len)
    best = max(
        sum(iou(a, b) for a, b in zip(few, chosen, strict=True))
        for chosen in permutations(many, len(few))
    )
    pairs = matched(predicted, gold)
    assert sum(pair[2] for pair in pairs) == pytest.approx(best)
    assert len({pair[0] for pair in pairs}) == len({pair[1] for pair in pairs}) == len(pairs)
    expected = best / len(many) if many else 1.0
    assert mean_iou(predicted, gold) == pytest.approx(expected)


def test_iou_by_hand() -> None:
    assert iou((10, 10, 50, 50), (20, 20, 60, 60)) == pytest.approx(0.391304, abs=1e-6)
    assert iou((0, 0, 10, 10), (10, 0, 20, 10)) == 0
    assert iou((10, 10, 0, 0), (0, 0, 10, 10)) == 0
    assert iou((1, 2, 3, 4), (1, 2, 3, 4)) == 1


def test_spraying_boxes_costs() -> None:
    gold: list[Box] = [(0, 0, 10, 10)]
    sprayed: list[Box] = [(float(x), 0, x + 10.0, 10) for x in range(0, 100, 10)]
    assert mean_iou(gold, gold) == 1
    assert mean_iou(sprayed, gold) == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("text", "box"),
    [
        ("1, 2, 3, 4", (1, 2, 3, 4)),
        ("-1.5,2.,+3,4.25", (-1.5, 2, 3, 4.25)),
        ("nan, 1, 2, 3", (0, 0, 0, 0)),
        ("1e9, 1, 2, inf", (0, 0, 0, 0)),
        ("\u0661, 1, 2, 3", (0, 0, 0, 0)),
        ("1, 2, 3", None),
        ("", None),
    ],
)
def test_boxes_are_four_plain_numbers(text: str, box: Box | None) -> None:
    assert read_box(text) == box


@pytest.mark.parametrize(
    ("trace", "scale"),
    [
        ({}, (1, 1)),
        ({"images": [{"given": [224, 112], "seen": [448, 448]}]}, (0.5, 0.25)),
        ({"images": [{"given": [224, 224], "seen": [0, 1]}]}, (1, 1)),
        ({"images": [{"given": [224], "seen": [224, 224]}]}, (1, 1)),
        ({"images": "none"}, (1, 1)),
        ({"images": [{"given": ["a", 1], "seen": [1, 1]}]}, (1, 1)),
        ({"images": [{"given": [float("nan"), 1], "seen": [1, 1]}]}, (1, 1)),
    ],
)
def test_a_resized_image_is_scaled_back_where_its_policy_says_how(
    trace: dict[str, Any], scale: tuple[float, float]
) -> None:
    assert scale_of(trace) == scale
