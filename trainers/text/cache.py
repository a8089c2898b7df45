"""Keys and values of rows that are answered together: rows are repeated, grow, and leave.

Prompts are prefilled once each, in parts of bounded size, into caches that grow by concatenation
(`prefill_cache`). `spread` copies them to their rows with room for the answers, and from then on a
token is written in place.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Int
from torch import Tensor
from transformers.cache_utils import (
    Cache,
    DynamicCache,
    DynamicLayer,
    DynamicSlidingWindowLayer,
)

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class RoomyLayer(DynamicLayer):
    """Keys and values of one layer, written in place into room taken beforehand."""

    def __init__(self, keys: Tensor, values: Tensor, room: int) -> None:
        super().__init__()
        self.length = keys.shape[-2]
        self.held_keys = _roomy(keys, room)
        self.held_values = _roomy(values, room)
        self.dtype, self.device = keys.dtype, keys.device
        self.is_initialized = True
        self._show()

    def _show(self) -> tuple[Tensor, Tensor]:
        self.keys = self.held_keys[:, :, : self.length]
        self.values = self.held_values[:, :, : self.length]
        return self.keys, self.values

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Write the new positions; give all."""
        end = self.length + key_states.shape[-2]
        self.held_keys[:, :, self.length : end] = key_states
        self.held_values[:, :, self.length : end] = value_states
        self.length = end
        return self._show()

    def get_seq_length(self) -> int:
        """Positions written."""
        return self.length

    def reorder_cache(self, beam_idx: Tensor) -> None:
        """Keep these rows, in this order."""
        _, heads, room, size = self.held_keys.shape
        shape = (len(beam_idx), heads, room, size)
        keys, values = self.held_keys.new_empty(shape), self.held_values.new_empty(shape)
        for held, kept in ((self.held_keys, keys), (self.held_values, values)):
            kept[:, :, : self.length] = held[:, :, : self.length].index_select(0, beam_idx)
        self.held_keys, self.held_values = keys, values
        self._show()


def _roomy(states: Tensor, room: int) -> Tensor:
    rows, heads, length, size = states.shape
    held = states.new_empty((rows, heads, length + room, size))
    held[:, :, :length] = states
    return held


def is_plain(model: PreTrainedModel) -> bool:
    """Whether keys and values by position are all that the model remembers of a text."""
    layers = DynamicCache(config=model.config.get_text_config()).layers
    return all(type(layer) in (DynamicLayer, DynamicSlidingWindowLayer) for layer in layers)


def prefill_cache(model: PreTrainedModel, *, plain: bool) -> Cache:
    """An empty cache. Sliding windows of plain models are left to the mask: all is remembered."""
    config = model.config.get_text_config()
    if not plain:
        return DynamicCache(config=config)
    return Cache(layers=[DynamicLayer() for _ in DynamicCache(config=config).layers])


def spread(parts: Sequence[Cache], rows: Int[Tensor, " B"], room: int) -> Cache:
    """The cache of B rows, row b remembering prompt `rows[b]`, with `room` for what follows.

    `parts` hold the prompts in order, all padded to one length. A single part of a model that is
    not plain is repeated by its own means.
    """
    if any(type(layer) is not DynamicLayer for layer in parts[0].layers):
        (cache,) = parts
        cache.reorder_cache(rows)  # type: ignore[arg-type]
        return cache
    layers = []
    for same in zip(*(part.layers for part in parts), strict=True):
        keys, values = (
            torch.cat([held for layer in same if (held := getattr(layer, kind)) is not None])
            for kind in ("keys", "values")
        )
        layers.append(RoomyLayer(keys.index_select(0, rows), values.index_select(0, rows), room))
    return Cache(layers=layers)


def repeat(cache: Cache, rows: Int[Tensor, " B"]) -> Cache:
    """The memory of each row, gradient and all, in a new cache that grows by concatenation."""
    repeated: list[Any] = []
    held: list[Any] = list(cache.layers)
    for layer in held:
        fresh = DynamicLayer()
        fresh.lazy_initialization(layer.keys, layer.values)
        fresh.keys = layer.keys.index_select(0, rows)
        fresh.values = layer.values.index_select(0, rows)
        repeated.append(fresh)
    return Cache(layers=repeated)
