"""Boxes `(x1, y1, x2, y2)` in pixels: overlap, one-to-one matching, and whose pixels they are."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

from tasks.spatial_scenes.world import Box

NOWHERE: Box = (0.0, 0.0, 0.0, 0.0)
"""The box of no size: it overlaps with none."""
HIT = 0.5
"""The IoU from which a box is that of an object."""
_NUMBER = re.compile(r"[+-]?\d{1,9}(?:\.\d{0,9})?", re.ASCII)


def read_box(text: str) -> Box | None:
    """The box that `1, 2, 3, 4` says; NOWHERE for four things that are not all numbers."""
    parts = text.split(",")
    if len(parts) != 4:
        return None
    if not all(_NUMBER.fullmatch(part.strip()) for part in parts):
        return NOWHERE
    x1, y1, x2, y2 = map(float, parts)
    return (x1, y1, x2, y2)


def area(box: Box) -> float:
    """Square pixels; 0 for a box that is inverted."""
    return max(box[2] - box[0], 0.0) * max(box[3] - box[1], 0.0)


def iou(a: Box, b: Box) -> float:
    """Area in common over area in all; 0 where either is degenerate or inverted."""
    both = area(a), area(b)
    if min(both) <= 0:
        return 0.0
    inner = max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])
    common = area(inner)
    return common / (both[0] + both[1] - common)


def matched(predicted: Sequence[Box], gold: Sequence[Box]) -> list[tuple[int, int, float]]:
    """One-to-one pairs (predicted, gold, IoU) with the largest sum of IoU, without those of 0."""
    if not predicted or not gold:
        return []
    import numpy as np
    from scipy.optimize import linear_sum_assignment

    table = np.array([[iou(a, b) for b in gold] for a in predicted])
    rows, columns = linear_sum_assignment(table, maximize=True)
    pairs = zip(rows.tolist(), columns.tolist(), strict=True)
    return [(i, j, float(table[i, j])) for i, j in pairs if table[i, j] > 0]


def mean_iou(predicted: Sequence[Box], gold: Sequence[Box]) -> float:
    """Sum of the matched IoU over max(#predicted, #gold): boxes beyond those asked for cost.

    1 where there are none of either.
    """
    most = max(len(predicted), len(gold))
    return math.fsum(pair[2] for pair in matched(predicted, gold)) / most if most else 1.0


def union_iou(predicted: Sequence[Box], gold: Sequence[Box]) -> float:
    """IoU of all predicted boxes together with all gold boxes together; 0 where both are empty."""
    solid = [[box for box in boxes if area(box) > 0] for boxes in (predicted, gold)]
    columns = sorted({x for boxes in solid for box in boxes for x in (box[0], box[2])})
    rows = sorted({y for boxes in solid for box in boxes for y in (box[1], box[3])})
    if not columns:
        return 0.0
    import numpy as np

    inside = np.zeros((2, len(rows) - 1, len(columns) - 1), bool)
    across = {x: place for place, x in enumerate(columns)}
    down = {y: place for place, y in enumerate(rows)}
    for layer, boxes in zip(inside, solid, strict=True):
        for x1, y1, x2, y2 in boxes:
            layer[down[y1] : down[y2], across[x1] : across[x2]] = True
    cells = np.outer(np.diff(rows), np.diff(columns))
    either = float(cells[inside[0] | inside[1]].sum())
    return float(cells[inside[0] & inside[1]].sum()) / either if either else 0.0


def scale_of(trace: Mapping[str, Any]) -> tuple[float, float]:
    """What turns pixels of the image that the model saw into those of the image it was given.

    A policy that resizes says so in its trace: `images` lists `{"given": [w, h], "seen": [w, h]}`
    for each image, and boxes are of the first. Without it, or where it makes no sense: (1, 1).
    """
    try:
        told = cast(Any, trace["images"])[0]
        scales = [float(g) / float(s) for g, s in zip(told["given"], told["seen"], strict=True)]
        across, down = scales
    except (KeyError, IndexError, TypeError, ValueError, ZeroDivisionError, OverflowError):
        return (1.0, 1.0)
    sound = all(math.isfinite(scale) and scale > 0 for scale in scales)
    return (across, down) if sound else (1.0, 1.0)


def scaled(box: Box, scale: tuple[float, float]) -> Box:
    """The box in pixels of the image that was given."""
    across, down = scale
    return (box[0] * across, box[1] * down, box[2] * across, box[3] * down)
