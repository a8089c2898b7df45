"""Images within messages: a part of a message's content that is a uint8 array (H, W, 3), RGB."""

from __future__ import annotations

import base64
import io
from typing import Any, TypeGuard, cast

import numpy as np
from numpy.typing import NDArray

from harness.errors import need

Image = NDArray[np.uint8]


def is_image(part: object) -> TypeGuard[Image]:
    """Whether a part of a message's content is an image."""
    if not isinstance(part, np.ndarray):
        return False
    array = cast("np.ndarray[Any, Any]", part)
    return array.dtype == np.uint8 and array.ndim == 3 and array.shape[2] == 3


def in_words(content: Any) -> Any:
    """A message's content for people: every image as its size; without images, as it is."""
    parts = cast("tuple[Any, ...]", content) if isinstance(content, tuple) else (content,)
    if not any(is_image(part) for part in parts):
        return cast(Any, content)
    return "\n".join(
        f"[image of {part.shape[1]} x {part.shape[0]} pixels]" if is_image(part) else str(part)
        for part in parts
    )


def data_url(image: Image) -> str:
    """The image as a PNG within an address. Needs the extra `vision`."""
    made = io.BytesIO()
    pillow: Any = need("PIL.Image", "vision", "sending a picture")
    pillow.fromarray(np.ascontiguousarray(image)).save(made, "PNG")
    return f"data:image/png;base64,{base64.b64encode(made.getvalue()).decode()}"
