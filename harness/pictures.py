"""Pictures beside answers: what was shown, what is true of it, and what a model claimed.

A task's `picture` gives a plain table: `width` and `height` in pixels; a `caption`; `shapes` (kind
rect, ellipse or polygon, its `points` in pixels, its `fill`) or an `image` (a data URL); `boxes`
(x1 y1 x2 y2, kind true, hit, miss or claimed, label); `sentences` (text, kind true, false,
concluded or unread). Here it is held to that form, since texts and boxes are a model's.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from harness.codec import decode
from harness.types import SPLITS, Task

MOST_BOXES, MOST_SENTENCES, LONGEST = 64, 100, 400
MOST_IMAGES = 24_000_000
"""Characters of all images of a page."""
SHAPES = frozenset({"rect", "ellipse", "polygon"})
BOXES = frozenset({"true", "hit", "miss", "claimed"})
SENTENCES = frozenset({"true", "false", "concluded", "unread"})
_FILL = re.compile(r"#[0-9a-f]{6}")
_IMAGE = re.compile(r"data:image/(?:png|jpeg);base64,[A-Za-z0-9+/=]+")

Draw = Callable[[Mapping[str, Any]], dict[str, Any] | None]
"""From a stored rollout to its picture."""


def drawing(task: Task) -> Draw | None:
    """How the rollouts of a task are drawn; None where it has no pictures.

    A rollout whose example is no longer there has none; nor has one beyond the room of a page.
    DataError where the examples cannot be read.
    """
    picture = task.picture
    if picture is None:
        return None
    examples = {each.id: each for split in SPLITS for each in task.examples(split)}
    room = [MOST_IMAGES]

    def draw(line: Mapping[str, Any]) -> dict[str, Any] | None:
        example = examples.get(str(line["example"]))
        if example is None:
            return None
        try:
            shown = picture(example, decode(line, example).completion)
            drawn = None if shown is None else held(shown)
        except (
            Exception
        ):  # a rollout of somebody else's, drawn by a task of anybody's: text is left
            return None
        room[0] -= len(drawn["image"]) if drawn else 0
        return drawn if room[0] > 0 else None

    return draw


def held(shown: Mapping[str, Any]) -> dict[str, Any]:
    """The table with what a page can show: known kinds, finite numbers, texts of some length."""
    width, height = (_number(shown[name]) for name in ("width", "height"))
    image = shown.get("image", "")
    return {
        "width": width,
        "height": height,
        "caption": str(shown.get("caption", ""))[:LONGEST],
        "image": image if isinstance(image, str) and _IMAGE.fullmatch(image) else "",
        "shapes": [
            {"kind": each["kind"], "points": _numbers(each["points"]), "fill": each["fill"]}
            for each in _tables(shown.get("shapes"), MOST_BOXES, SHAPES)
            if _FILL.fullmatch(str(each["fill"]))
        ],
        "boxes": [
            {
                "box": _numbers(each["box"]),
                "kind": each["kind"],
                "label": str(each["label"])[:LONGEST],
            }
            for each in _tables(shown.get("boxes"), MOST_BOXES, BOXES)
        ],
        "sentences": [
            {"text": str(each["text"])[:LONGEST], "kind": each["kind"]}
            for each in _tables(shown.get("sentences"), MOST_SENTENCES, SENTENCES)
        ],
    }


def _tables(value: Any, most: int, kinds: frozenset[str]) -> list[Mapping[str, Any]]:
    listed = cast(Sequence[Mapping[str, Any]], value or ())
    return [each for each in listed[:most] if each["kind"] in kinds]


def _numbers(values: Sequence[Any]) -> list[float]:
    return [_number(value) for value in values]


def _number(value: Any) -> float:
    """A pixel: within some screens of the picture, 0 for what is no number."""
    number = float(value)
    return round(min(max(number, -1e4), 1e4), 1) if math.isfinite(number) else 0.0
