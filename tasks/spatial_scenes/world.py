"""The world: objects on flat ground before a camera, with margins that make every relation strict.

A scene is a plain table, as it stands in examples and files: seed, width, height, and objects with
id, shape, color, size, r, z, x (meters) and box (pixels, x1 y1 x2 y2). Distances are from the
camera; u and v are the pixel columns and rows of an object's foot, v growing downwards.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from itertools import product
from typing import Any, NamedTuple

SIDE = 224
"""Width and height of the picture in pixels."""
FOCAL, CENTER_U, CENTER_V, CAMERA = 220, 112, 70, 1.6
"""Focal length and center in pixels, height of the camera in meters."""
SHAPES = ("sphere", "cube", "cone")
COLORS = ("red", "orange", "yellow", "green", "cyan", "blue", "purple", "gray")
SIZES: Mapping[str, float] = {"small": 0.30, "large": 0.55}
"""Radius in meters."""
NEAREST, FARTHEST, SPREAD = 2.6, 7.0, 0.45
FRAME, APART_U, APART_Z, OVERLAP = 2, 12, 0.4, 0.15
"""Margins: pixels to the frame, pixels between centers, meters between depths, and the share of
the smaller of two boxes that they may have in common."""
HELD_OUT = frozenset(
    {("red", "cone"), ("green", "cube"), ("blue", "sphere"), ("yellow", "sphere")}
    | {("purple", "cube"), ("cyan", "cone")}
)
"""Pairs of color and shape that only the out-of-distribution split shows."""

Box = tuple[float, float, float, float]


class Thing(NamedTuple):
    """An object as claims and questions see it."""

    size: str
    color: str
    shape: str
    box: Box
    u: float
    v: float
    z: float

    @property
    def name(self) -> str:
        """Its full reference, which only it has in its scene."""
        return f"{self.size} {self.color} {self.shape}"

    def fits(self, words: str) -> bool:
        """Whether words such as `cube`, `red object` or `large red cube` describe it."""
        own = ("object", self.size, self.color, self.shape)
        return all(word in own for word in words.split())


@dataclass(frozen=True)
class Kind:
    """Which scenes are drawn."""

    fewest: int = 3
    most: int = 6
    held_out: bool = False
    """At least two objects, and half of all, are of held-out pairs; otherwise none is."""
    columns: int = 0
    """Centers lie in different ones of so many columns, depths in different ones of so many
    bands, and shapes differ; 0: anywhere."""


PLAIN = Kind()


def things(scene: Mapping[str, Any]) -> tuple[Thing, ...]:
    """The objects of a scene's table, in its order."""
    return tuple(
        Thing(
            each["size"],
            each["color"],
            each["shape"],
            tuple(each["box"]),
            CENTER_U + FOCAL * each["x"] / each["z"],
            CENTER_V + FOCAL * CAMERA / each["z"],
            each["z"],
        )
        for each in scene["objects"]
    )


def box_of(r: float, x: float, z: float) -> Box:
    """The box of an object of radius r at (x, z) meters, in pixels to one decimal."""
    half = FOCAL * r / z
    u, v = CENTER_U + FOCAL * x / z, CENTER_V + FOCAL * CAMERA / z
    return (round(u - half, 1), round(v - 2 * half, 1), round(u + half, 1), round(v, 1))


def drawn(seed: int, kind: Kind = PLAIN) -> dict[str, Any]:
    """The scene of a seed: the same in every process."""
    rng = random.Random(f"spatial/{seed}/{astuple(kind)}")
    count = rng.randint(kind.fewest, kind.most)
    while True:
        objects: list[dict[str, Any]] = []
        for _ in range(40 * count):  # a crowded scene is begun anew
            new = _object(rng, len(objects), kind)
            if _fits(new, objects, kind):
                objects.append(new)
            if len(objects) == count:
                return {"seed": seed, "width": SIDE, "height": SIDE, "objects": objects}


def mirrored(scene: Mapping[str, Any]) -> dict[str, Any]:
    """The scene with left and right exchanged."""
    objects = [
        {
            **each,
            "x": -each["x"],
            "box": [
                round(scene["width"] - each["box"][2], 1),
                each["box"][1],
                round(scene["width"] - each["box"][0], 1),
                each["box"][3],
            ],
        }
        for each in scene["objects"]
    ]
    return {**scene, "objects": objects}


def _object(rng: random.Random, number: int, kind: Kind) -> dict[str, Any]:
    pairs = _SEEN
    if kind.held_out:
        pairs = _UNSEEN if number < 2 or rng.random() < 0.5 else _SEEN
    color, shape = rng.choice(pairs)
    size = rng.choice(tuple(SIZES))
    z = round(rng.uniform(NEAREST, FARTHEST), 2)
    x = round(rng.uniform(-SPREAD * z, SPREAD * z), 2)
    return {
        "id": number,
        "shape": shape,
        "color": color,
        "size": size,
        "r": SIZES[size],
        "z": z,
        "x": x,
        "box": list(box_of(SIZES[size], x, z)),
    }


def _fits(new: Mapping[str, Any], objects: Sequence[Mapping[str, Any]], kind: Kind) -> bool:
    x1, y1, x2, y2 = new["box"]
    if min(x1, y1) < FRAME or max(x2, y2) > SIDE - FRAME:
        return False
    return all(_apart(new, other, kind) for other in objects)


def _apart(new: Mapping[str, Any], other: Mapping[str, Any], kind: Kind) -> bool:
    if all(new[key] == other[key] for key in ("size", "color", "shape")):
        return False
    u, w = (CENTER_U + FOCAL * each["x"] / each["z"] for each in (new, other))
    if kind.columns and (
        new["shape"] == other["shape"]
        or column(u, kind.columns) == column(w, kind.columns)
        or row(new["z"], kind.columns) == row(other["z"], kind.columns)
    ):
        return False
    if abs(u - w) < APART_U or abs(new["z"] - other["z"]) < APART_Z:
        return False
    return _common(new["box"], other["box"]) <= OVERLAP


def column(u: float, columns: int) -> int:
    """Which of so many columns of the picture u lies in, from 0 on the left."""
    return int(u * columns / SIDE)


def row(z: float, rows: int) -> int:
    """Which of so many bands of depth z lies in, from 0 at the camera."""
    return int((z - NEAREST) * rows / (FARTHEST - NEAREST + 0.01))


def _common(a: Sequence[float], b: Sequence[float]) -> float:
    """Share of the smaller box that lies in the other one."""
    wide = min(a[2], b[2]) - max(a[0], b[0])
    high = min(a[3], b[3]) - max(a[1], b[1])
    if wide <= 0 or high <= 0:
        return 0.0
    return wide * high / min((c[2] - c[0]) * (c[3] - c[1]) for c in (a, b))


_SEEN = [pair for pair in product(COLORS, SHAPES) if pair not in HELD_OUT]
_UNSEEN = sorted(HELD_OUT)
