"""One token a row in shapes that do not change, so that a card can replay it as one graph.

A decode step of a small model is thousands of kernels of microseconds, and launching them costs
more than running them. Here keys and values lie in buffers of fixed size, places are tensors and
not numbers, and what may be looked at is a mask: so the step is recorded once a shape as a CUDA
graph and replayed. Shapes are bucketed. Without a card the same step runs unrecorded.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformers.cache_utils import Cache, DynamicLayer

if TYPE_CHECKING:
    from transformers import PreTrainedModel

LENGTHS = 256
"""Room for positions comes in multiples of this."""
KEPT = 12
"""Recorded shapes that are kept; the one used longest ago goes first."""


class FixedLayer(DynamicLayer):
    """Keys and values of one layer in buffers that never move; written at a place on the card."""

    def __init__(self, keys: Tensor, values: Tensor, place: Int[Tensor, "1"]) -> None:
        super().__init__()
        self.keys, self.values = keys, values
        self.place = place
        self.dtype, self.device = keys.dtype, keys.device
        self.is_initialized = True

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Write one position; give all, of which the mask shows what is written."""
        assert self.keys is not None
        assert self.values is not None
        self.keys.index_copy_(2, self.place, key_states)
        self.values.index_copy_(2, self.place, value_states)
        return self.keys, self.values

    def get_seq_length(self) -> int:
        """Positions, written or not."""
        assert self.keys is not None
        return self.keys.shape[2]


class Frame:
    """Buffers of one shape, and the step that reads and writes them."""

    def __init__(self, model: PreTrainedModel, cache: Cache, rows: int, length: int) -> None:
        self.model = model
        device = model.device
        self.ids = torch.zeros((rows, 1), dtype=torch.long, device=device)
        self.positions = torch.zeros((rows, 1), dtype=torch.long, device=device)
        self.place = torch.zeros(1, dtype=torch.long, device=device)
        self.mask = torch.zeros((rows, 1, 1, length), dtype=torch.bool, device=device)
        held: list[Any] = list(cache.layers)
        layers = []
        for layer in held:
            _, heads, _, size = layer.keys.shape
            keys, values = (x.new_zeros((rows, heads, length, size)) for x in _states(layer))
            layers.append(FixedLayer(keys, values, self.place))
        self.cache = Cache(layers=layers)
        self.logits: Tensor | None = None
        self.replay: Callable[[], None] | None = None

    def fill(self, cache: Cache, mask: Bool[Tensor, "B L"], seen: int) -> None:
        """Take over what rows remember of their prompts; `mask` says where a text stands."""
        rows = len(mask)
        held: list[Any] = list(cache.layers)
        fixed: list[Any] = list(self.cache.layers)
        for layer, target in zip(held, fixed, strict=True):
            for x, buffer in zip(_states(layer), _states(target), strict=True):
                buffer[:rows, :, :seen].copy_(x[:, :, :seen])
        self.mask.zero_()
        self.mask[:rows, 0, 0, :seen] = mask[:, :seen]
        self.mask[rows:, 0, 0, 0] = True  # rows that nobody reads must not become nan
        self.place.fill_(seen)
        self.positions.zero_()
        self.positions[:rows, 0] = mask[:, :seen].sum(1)

    def take(self, other: Frame, rows: Int[Tensor, " A"]) -> None:
        """Take over some rows of another frame of the same length."""
        mine: list[Any] = list(self.cache.layers)
        theirs: list[Any] = list(other.cache.layers)
        count = len(rows)
        for target, layer in zip(mine, theirs, strict=True):
            for buffer, x in zip(_states(target), _states(layer), strict=True):
                buffer[:count] = x.index_select(0, rows)
        for buffer, x in ((self.mask, other.mask), (self.positions, other.positions)):
            buffer.zero_()
            buffer[:count] = x.index_select(0, rows)
        self.mask[count:, 0, 0, 0] = True
        self.place.copy_(other.place)

    def step(self, ids: Int[Tensor, " B"]) -> Float[Tensor, "B V"]:
        """Read one token a row; the logits of what follows, until the next step."""
        self.ids[: len(ids), 0] = ids
        if self.replay is None:
            self._read()
            if self.model.device.type == "cuda":
                self.replay = self._recorded()
        else:
            self.replay()
        self.place += 1
        self.positions += 1
        assert self.logits is not None
        return self.logits[: len(ids)]

    def _read(self) -> None:
        self.mask.index_fill_(3, self.place, True)
        self.logits = self.model(
            input_ids=self.ids,
            attention_mask=self.mask,
            position_ids=self.positions,
            past_key_values=self.cache,
            use_cache=True,
            logits_to_keep=1,
        ).logits[:, -1]

    def _recorded(self) -> Callable[[], None]:
        """The step as a graph; it was run once before, so that all kernels are loaded.

        Recording runs nothing, and running the step twice at one place would change nothing.
        """
        device = self.model.device
        aside = torch.cuda.Stream(device)
        aside.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(aside):
            self._read()
        torch.cuda.current_stream(device).wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self._read()
        graph.replay()
        return graph.replay


class Frames:
    """Frames of one model by shape."""

    def __init__(self, model: PreTrainedModel) -> None:
        self.model = model
        self.held: dict[tuple[int, int], Frame] = {}

    def of(self, cache: Cache, rows: int, length: int) -> Frame:
        """A frame for at least so many rows and positions; the buffers hold what they held."""
        shape = (bucket(rows), -(-length // LENGTHS) * LENGTHS)
        frame = self.held.pop(shape, None) or Frame(self.model, cache, *shape)
        self.held[shape] = frame
        while len(self.held) > KEPT:
            del self.held[next(iter(self.held))]
        return frame

    def smaller(self, frame: Frame, rows: Int[Tensor, " A"]) -> Frame:
        """A frame of these rows of another one."""
        found = self.of(frame.cache, len(rows), frame.mask.shape[3])
        found.take(frame, rows)
        return found


def bucket(rows: int) -> int:
    """The next power of two up to 8, then the next multiple of 8."""
    return 1 << (rows - 1).bit_length() if rows <= 8 else -(-rows // 8) * 8


def _states(layer: Any) -> tuple[Tensor, Tensor]:
    return layer.keys, layer.values
