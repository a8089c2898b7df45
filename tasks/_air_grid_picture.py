"""_air_grid_picture: a forecast of fields for people: classes as forecast above those observed."""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness import Completion
from harness.verification import classes_of
from tasks._air_cases import CLASSES
from tasks._air_grid_judging import read_fields

COLORS = np.array([[44, 123, 182], [171, 217, 233], [253, 174, 97], [215, 25, 28], [225, 225, 225]],
                  np.uint8)  # fmt: skip
"""Of the classes from good to very bad, and of a cell without any."""
NAMES = ("blue", "light blue", "orange", "red")
WIDEST, GAP = 720, 8
"""Pixels of the whole picture, and between fields."""


def picture(
    observed: NDArray[np.floating[Any]],
    completion: Completion,
    leads: Sequence[int],
    edges: Sequence[float],
) -> Mapping[str, Any]:
    """A column a lead: the forecast (upper row) and what was observed, a class a color."""
    said, _ = read_fields(completion.output, observed.shape)
    rows = [
        np.concatenate([*_fields(classes_of(each, edges))], axis=1) for each in (said, observed)
    ]
    image = np.concatenate([rows[0], np.full_like(rows[0][:GAP], 255), rows[1]])
    told = ", ".join(f"{name} {color}" for name, color in zip(CLASSES, NAMES, strict=True))
    hours = ", ".join(f"{lead} h" for lead in leads)
    return {
        "width": image.shape[1],
        "height": image.shape[0],
        "caption": f"Forecast above, observed below, for {hours}: {told}, nothing gray.",
        "image": _url(image),
    }


def _fields(classes: NDArray[np.intp]) -> list[NDArray[np.uint8]]:
    """(L, Y, X) to as many images (h, w, 3), north up, with a gap after each."""
    zoom = max(1, (WIDEST // len(classes) - GAP) // classes.shape[2])
    found: list[NDArray[np.uint8]] = []
    for each in classes:
        image = COLORS[each[::-1]].repeat(zoom, axis=0).repeat(zoom, axis=1)
        found.append(np.pad(image, ((0, 0), (0, GAP), (0, 0)), constant_values=255))
    return found


def _url(image: NDArray[np.uint8]) -> str:
    """(h, w, 3) as a PNG in a data URL."""
    height, width, _ = image.shape
    lines = np.pad(image.reshape(height, -1), ((0, 0), (1, 0)))  # each line begins with filter 0

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines.tobytes(), 9))
    png = b"\x89PNG\r\n\x1a\n" + body + chunk(b"IEND", b"")
    return "data:image/png;base64," + base64.b64encode(png).decode()
