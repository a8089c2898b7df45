"""The picture of a scene: flat shapes with a dark edge, the farthest drawn first."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from harness.errors import need
from tasks.spatial_scenes.world import CENTER_V

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SKY, GROUND, EDGE = (235, 235, 230), (205, 200, 190), (40, 40, 40)
PAINT: Mapping[str, tuple[int, int, int]] = {
    "red": (214, 39, 40),
    "orange": (255, 127, 14),
    "yellow": (240, 200, 30),
    "green": (44, 160, 44),
    "cyan": (23, 190, 207),
    "blue": (31, 119, 180),
    "purple": (148, 103, 189),
    "gray": (127, 127, 127),
}


def picture(scene: Mapping[str, Any]) -> NDArray[np.uint8]:
    """(H, W, 3) pixels; read only, since the same scene may get the same array again."""
    told = tuple(
        (each["shape"], each["color"], tuple(each["box"]))
        for each in sorted(scene["objects"], key=lambda each: -each["z"])
    )
    return _painted(scene["width"], scene["height"], told)


@lru_cache(maxsize=64)
def _painted(width: int, height: int, told: tuple[Any, ...]) -> NDArray[np.uint8]:
    import numpy as np

    why = "drawing the pictures of spatial/scenes"
    image = need("PIL.Image", "vision", why).new("RGB", (width, height), SKY)
    brush: Any = need("PIL.ImageDraw", "vision", why).Draw(image)
    brush.rectangle([0, CENTER_V, width, height], fill=GROUND)
    for shape, color, box in told:
        look = {"fill": PAINT[color], "outline": EDGE}
        if shape == "cube":
            brush.rectangle(box, **look)
        elif shape == "sphere":
            brush.ellipse(box, **look)
        else:
            brush.polygon(corners(box), **look)
    pixels = np.array(image)
    pixels.setflags(write=False)
    return pixels


def corners(box: tuple[float, float, float, float]) -> list[tuple[float, float]]:
    """Of the triangle that a cone is: tip, left and right foot."""
    return [((box[0] + box[2]) / 2, box[1]), (box[0], box[3]), (box[2], box[3])]
