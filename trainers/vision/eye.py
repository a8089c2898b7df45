"""Eye, what stands between a picture and a model: its processor, and what came of each picture.

Qwen's processors cannot be built without torchvision, which nothing else here needs: their pictures
are written by hand, a token a group of merged patches. All pictures are scaled by Pillow, also
where torchvision is there, so that a model sees the same on every machine.
"""

from __future__ import annotations

import json
import re
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Int
from numpy.typing import NDArray
from torch import Tensor

from harness.errors import need
from harness.types import Message, Prompt
from trainers.unspeakable import Unspeakable
from trainers.vision.pictures import (
    FIRST,
    MOST_TOKENS,
    PLACE_BITS,
    Album,
    in_colors,
    number_of,
    pictures,
    token,
)

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

KEPT = 256 << 20
"""Bytes of processed pictures that are kept, because they are soon looked at again."""
MARKS = ("token_type_ids", "mm_token_type_ids")
"""What some models are told of every token beside its id."""


@dataclass(frozen=True)
class Look:
    """What a processor makes of one picture."""

    ids: tuple[int, ...]
    """The tokens that it is written with; the eye's own token wherever the model sees."""
    inputs: Mapping[str, Tensor] = field(repr=False)
    """For the model's `get_image_features`."""
    marks: Mapping[str, Tensor] = field(repr=False)
    """For the model's own forward."""

    @property
    def nbytes(self) -> int:
        """Memory of the inputs."""
        return sum(each.nbytes for each in self.inputs.values())


@dataclass(frozen=True)
class Outline:
    """What is remembered of every picture."""

    ids: tuple[int, ...]
    given: tuple[int, int]
    """Width and height as it was handed in, in pixels."""
    seen: tuple[int, int]
    """As the model sees it: boxes in answers are in these pixels."""
    corner: tuple[int, int] | None = None
    """Where what is left begins, in pixels of `seen`, when the processor cuts off the sides."""
    columns: int = 0
    """Tokens of a row, where the model is told rows and columns; 0 where it is not."""


class Eye:
    """Writes pictures into prompts; one for all copies of a model."""

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        processor: Any,
        token_id: int,
        read: Callable[[Any], Look],
    ) -> None:
        self.tokenizer = tokenizer
        self.processor = processor
        """What is saved beside the weights: scales pictures, or pictures and texts."""
        self.images: Any = getattr(processor, "image_processor", processor)
        """What scales pictures."""
        self.read = read
        self.token_id = token_id
        self.token = str(tokenizer.convert_ids_to_tokens(token_id))
        """Stands in the chat template's text for a picture."""
        self.album = Album()
        self._outlines: dict[int, Outline] = {}
        self._written: dict[tuple[int, ...], tuple[int, ...]] = {}
        self._looks: OrderedDict[int, Look] = OrderedDict()
        self._held = 0
        """Bytes of these."""

    def __deepcopy__(self, memo: dict[int, Any]) -> Eye:
        return self

    # ---- prompts

    def named(self, prompt: Prompt) -> tuple[Message, ...]:
        """The messages with a number in each picture's place."""
        return tuple(replace(m, content=_named(m.content)) for m in prompt.spoken())

    def spliced(self, ids: Sequence[int], prompt: Prompt) -> list[int]:
        """The tokens of a written prompt with those of its pictures put in.

        Raises Unspeakable where the template left a picture out, or a picture cannot be read.
        """
        shown = list(pictures(prompt))
        if ids.count(self.token_id) != len(shown):
            raise Unspeakable(
                f"the chat template wrote {ids.count(self.token_id)} of {len(shown)} images"
            )
        waiting = iter(shown)
        spliced: list[int] = []
        for each in ids:
            spliced += self._tokens(next(waiting)) if each == self.token_id else [each]
        return spliced

    def told(self, prompt: Prompt) -> dict[str, Any]:
        """`images` of a completion's trace: the size of each, as given and as seen."""
        found: list[dict[str, list[int]]] = []
        for array in pictures(prompt):
            outline = self._outline(number_of(array), array)
            sizes = {"given": list(outline.given), "seen": list(outline.seen)}
            corner = {} if outline.corner is None else {"corner": list(outline.corner)}
            found.append(sizes | corner)
        return {"images": found} if found else {}

    def _tokens(self, array: NDArray[Any]) -> list[int]:
        number, place = number_of(array), 0
        tokens: list[int] = []
        for each in self._outline(number, array).ids:
            seen = each == self.token_id
            tokens.append(token(number, place) if seen else each)
            place += seen
        return tokens

    # ---- pictures

    def look(self, number: int) -> Look:
        """What the model is given of a picture that is shown."""
        if number not in self._looks:
            self._see(number, self.album.picture(number))
        self._looks.move_to_end(number)
        return self._looks[number]

    def _outline(self, number: int, array: NDArray[Any]) -> Outline:
        if number not in self._outlines:
            self._see(number, array)
        return self._outlines[number]

    def _see(self, number: int, array: NDArray[Any]) -> None:
        image = need("PIL.Image", "vision", "reading images").fromarray(in_colors(array))
        try:
            look = self.read(image)
        except Exception as error:  # processors raise what they like at odd sizes
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise Unspeakable(
                f"the processor refused an image of {image.width}x{image.height}: {reason}"
            ) from error
        if not 0 < look.ids.count(self.token_id) <= MOST_TOKENS:
            count = look.ids.count(self.token_id)
            raise Unspeakable(f"an image of {image.width}x{image.height} becomes {count} tokens")
        self._looks[number] = look
        self._held += look.nbytes
        self._outlines[number] = self._outlined((image.width, image.height), look)
        while len(self._looks) > 1 and self._held > KEPT:
            self._held -= self._looks.popitem(last=False)[1].nbytes

    def _outlined(self, given: tuple[int, int], look: Look) -> Outline:
        ids = self._written.setdefault(look.ids, look.ids)
        if "image_grid_thw" in look.inputs:
            _, rows, columns = look.inputs["image_grid_thw"][0].tolist()
            patch = self.images.patch_size
            seen = (columns * patch, rows * patch)
            return Outline(ids, given, seen, columns=columns // self.images.merge_size)
        *tiles, height, width = look.inputs["pixel_values"].shape
        tiles = int(np.prod(tiles)) // 3
        if tiles > 1:
            rows, columns = _tiling(self.tokenizer.convert_ids_to_tokens(list(ids)))
            # of tiles that are not told there are no pixels that a model could speak of but ours
            return Outline(ids, given, (columns * width, rows * height) if rows else given)
        if getattr(self.images, "do_center_crop", False) and given[0] != given[1]:
            scale = self.images.size["shortest_edge"] / min(given)
            whole = (round(given[0] * scale), round(given[1] * scale))
            return Outline(ids, given, whole, ((whole[0] - width) // 2, (whole[1] - height) // 2))
        return Outline(ids, given, (width, height))

    # ---- where tokens stand

    def places(self, ids: Sequence[int]) -> Int[np.ndarray, "3 L"]:
        """Time, row and column of each token, for models that turn their keys by all three.

        The pictures must be shown. A text goes on after the largest number before it.
        """
        row = np.asarray(ids, np.int64)
        numbers = np.where(row >= FIRST, row >> PLACE_BITS, 0)
        inside = row & (MOST_TOKENS - 1)
        begins = np.flatnonzero(np.diff(numbers, prepend=-1) | ((numbers > 0) & (inside == 0)))
        found = np.empty((3, len(row)), np.int64)
        position = 0
        for begin, end in zip(begins, [*begins[1:], len(row)], strict=True):
            number, places = int(numbers[begin]), np.arange(end - begin)
            if not number:
                found[:, begin:end] = position + places
                position += end - begin
                continue
            columns = self._outline_of(number).columns
            found[:, begin:end] = position
            found[1, begin:end] += places // columns
            found[2, begin:end] += places % columns
            position += max(columns, (end - begin) // columns)
        return found

    def _outline_of(self, number: int) -> Outline:
        if number not in self._outlines:
            self._see(number, self.album.picture(number))
        return self._outlines[number]

    # ---- files

    def save(self, path: Path) -> None:
        """Beside the weights."""
        self.processor.save_pretrained(path)

    def describe(self) -> dict[str, Any]:
        """What decides how a picture is seen."""
        settings = json.loads(self.images.to_json_string())
        return {"processor": type(self.images).__name__, "settings": settings}


def _named(content: Any) -> Any:
    if isinstance(content, np.ndarray):
        return f"picture {number_of(content)}"
    return tuple(map(_named, content)) if isinstance(content, tuple) else content


def _tiling(tokens: Sequence[str]) -> tuple[int, int]:
    """Rows and columns of tiles, where they are among the tokens as Idefics writes them."""
    found = [re.fullmatch(r"<row_(\d+)_col_(\d+)>", each) for each in tokens]
    pairs = [(int(match[1]), int(match[2])) for match in found if match]
    return max(pairs, default=(0, 0))
