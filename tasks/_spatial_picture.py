"""Pictures of spatial for people: the scene, true and claimed boxes, and which claims are true."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness import Completion, Example
from tasks.spatial_claims.verdict import Judgment, Sentence, judgment
from tasks.spatial_scenes.render import GROUND, PAINT, SKY, corners
from tasks.spatial_scenes.world import CENTER_V, things


def scene_picture(example: Example, completion: Completion) -> Mapping[str, Any]:
    """The scene as shapes, with every true box, the boxes that were claimed, and the sentences."""
    scene = example.inputs["scene"]
    seen = things(scene)
    found = judgment(example, completion, seen)
    return {
        "width": scene["width"],
        "height": scene["height"],
        "caption": caption(example),
        "shapes": shapes(scene),
        "boxes": [{"box": each.box, "kind": "true", "label": each.name} for each in seen]
        + _claimed(found),
        "sentences": sentences(found),
    }


def caption(example: Example) -> str:
    """What was asked, and what is right."""
    return f"{example.inputs['question']['question']} Right is: {example.target}."


def sentences(found: Judgment | None) -> list[dict[str, str]]:
    """The sentences of a reasoning, each with what it turned out to be."""
    return [{"text": each.text, "kind": _kind(each)} for each in found.sentences] if found else []


def _kind(sentence: Sentence) -> str:
    if sentence.claim is None:
        return "unread"
    if sentence.checked is None:
        return "concluded" if sentence.claim.kind == "conclusion" else "unread"
    return "true" if sentence.checked.true else "false"


def _claimed(found: Judgment | None) -> list[dict[str, Any]]:
    return [
        {"box": each.box, "kind": "hit" if each.hit else "miss", "label": sentence.text}
        for sentence in (found.sentences if found else ())
        for each in (sentence.checked.boxes if sentence.checked else ())
    ]


def shapes(scene: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Rectangles and ellipses by their box, polygons by their corners; the farthest first."""
    width, height = scene["width"], scene["height"]
    drawn: list[dict[str, Any]] = [
        {"kind": "rect", "points": (0, 0, width, height), "fill": _hex(SKY)},
        {"kind": "rect", "points": (0, CENTER_V, width, height), "fill": _hex(GROUND)},
    ]
    for each in sorted(scene["objects"], key=lambda each: -each["z"]):
        kind = {"cube": "rect", "sphere": "ellipse"}.get(each["shape"], "polygon")
        box = tuple(each["box"])
        points = box if kind != "polygon" else [edge for point in corners(box) for edge in point]
        drawn.append({"kind": kind, "points": points, "fill": _hex(PAINT[each["color"]])})
    return drawn


def _hex(color: tuple[int, int, int]) -> str:
    return "#" + "".join(f"{part:02x}" for part in color)
