"""Pictures as tokens: arrays become numbers, and a number with a place stands for a token.

What a model sees of a picture stands in its prompt as tokens of their own, beyond every vocabulary:
`number << 16 | place`, the number made of the picture's content. So two prompts are equal tokens
only if they show equal pictures, and all that is built on tokens (what is read once for many rows,
what is cached, what is packed) holds for pictures too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.types import Prompt
from trainers.unspeakable import Unspeakable

PLACE_BITS = 16
MOST_TOKENS = 1 << PLACE_BITS
"""Of one picture."""
FIRST = 1 << 62
"""The lowest number of such a token."""
LARGEST = 1 << 26
"""Pixels of a picture that is read: larger ones take gigabytes on their way through a processor."""


def number_of(array: NDArray[Any]) -> int:
    """A number of 47 bits that pictures of one content share, and others do not."""
    digest = hashlib.sha256(f"{array.dtype.str} {array.shape}".encode())
    if array.dtype == np.uint8 and array.size <= 4 * LARGEST:  # what else there is, is refused
        digest.update(np.ascontiguousarray(array).data)
    return FIRST >> PLACE_BITS | int.from_bytes(digest.digest()[:8], "big") >> (PLACE_BITS + 2)


def token(number: int, place: int) -> int:
    """What stands for a place of a picture."""
    return number << PLACE_BITS | place


def in_colors(array: NDArray[Any]) -> NDArray[np.uint8]:
    """The picture as (H, W, 3); gray is repeated, what is transparent shows white.

    Raises Unspeakable for what is no picture, or too large a one.
    """
    shape = array.shape
    if array.dtype != np.uint8 or array.ndim not in (2, 3) or array.size == 0:
        raise Unspeakable(
            f"an image is uint8 of shape (H, W, 3), and this is {array.dtype} of shape {shape}"
        )
    if shape[0] * shape[1] > LARGEST:
        raise Unspeakable(
            f"an image of {shape[1]}x{shape[0]} pixels; at most {LARGEST:,} pixels are read, so "
            "scale it down in the task's prompt"
        )
    channels = 1 if array.ndim == 2 else shape[2]
    if channels not in (1, 3, 4):
        raise Unspeakable(f"an image has 1, 3 or 4 channels, and this has {channels}: {shape}")
    whole = array.reshape(*shape[:2], channels)
    if channels == 4:
        alpha = whole[..., 3:].astype(np.float32) / 255
        return np.rint(whole[..., :3] * alpha + 255 * (1 - alpha)).astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(whole, (*shape[:2], 3)))


def pictures(prompt: Prompt) -> Iterator[NDArray[Any]]:
    """All pictures of a prompt, in the order of reading."""
    for message in prompt.messages:
        parts = message.content if isinstance(message.content, tuple) else (message.content,)
        yield from (part for part in parts if isinstance(part, np.ndarray))


class Album:
    """The pictures of the prompts that are being answered or reviewed, by number."""

    def __init__(self) -> None:
        self._shown: list[dict[int, NDArray[Any]]] = []

    @contextmanager
    def showing(self, prompts: Iterable[Prompt]) -> Iterator[None]:
        """Hold these prompts' pictures; several may be held at once, in any order."""
        shown = {number_of(each): each for prompt in prompts for each in pictures(prompt)}
        with self.holding(shown):
            yield

    @contextmanager
    def holding(self, held: dict[int, NDArray[Any]]) -> Iterator[None]:
        """Hold pictures by their numbers."""
        self._shown.append(held)
        try:
            yield
        finally:
            self._shown = [each for each in self._shown if each is not held]

    def picture(self, number: int) -> NDArray[Any]:
        """The picture of that number; it must be shown."""
        for held in self._shown:
            if number in held:
                return held[number]
        raise KeyError(number)
