"""The memory of rows that are answered together: keys and values, where a column is a moment.

All rows write the same column at a step, one slice a layer, whenever they began; what a row may
not see is masked. A row that finished leaves its place to one that waits, in place. Columns that
nobody sees any more are dropped when room is needed. Measured against caches with a place of its
own for each row, which need a scattered write, and against paged ones, which need a gathered read:
a written slice takes 0.2 ms a step of 64 rows, a scatter 0.5, and products on whole blocks are up
to five times as fast as the fused attention on one query a row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from trainers.text.trunks import Read, Trunks

BUCKET = 32
"""Columns are read in multiples of this: each new width makes oneDNN build its kernels anew."""
ROOM = 64
"""Columns that are at least added when there is no room: adding copies the memory."""


@dataclass(frozen=True)
class Shape:
    """What all layers have in common."""

    layers: int
    heads: int
    groups: int
    size: int
    dtype: torch.dtype
    device: torch.device


class Rolling:
    """Keys (B, K, D, C) and values (B, K, C, D) of each layer."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self.seen = 0
        """Columns written."""
        self.begin: list[int] = []
        """The first column that each row sees."""
        self.trunks: Trunks | None = None
        """What rows saw before their own columns, where that is shared."""
        self._reform([], 0, 0, ROOM)

    @property
    def rows(self) -> int:
        """B."""
        return len(self.begin)

    def fit(self, alive: Sequence[int], rows: int, *, width: int = 0, room: int = 1) -> bool:
        """Hold `rows` rows, `width` columns before the next one and `room` columns from it on.

        Whether rows moved: then the live ones now stand first, in their order.
        """
        if rows == self.rows and width <= self.seen and self.seen + room <= self.columns:
            return False
        live = self.seen - min((self.begin[row] for row in alive), default=self.seen)
        self._reform(alive, rows - len(alive), width, max(room, ROOM, live // 2))
        return True

    def _reform(self, kept: Sequence[int], fresh: int, width: int, room: int) -> None:
        begin = [self.begin[row] for row in kept]
        low = min(begin, default=self.seen)
        live = self.seen - low
        front = max(0, width - live)
        seen = front + live
        shape, rows = self.shape, len(kept) + fresh
        self.columns = -(-(seen + room) // BUCKET) * BUCKET
        whole = {"dtype": shape.dtype, "device": shape.device}
        mask = torch.full((rows, 1, 1, self.columns), -torch.inf, **whole)
        keys, values = [], []
        index = torch.tensor(kept, dtype=torch.long, device=shape.device)
        for layer in range(shape.layers):
            # zeros: what is masked is multiplied by 0 and must be finite
            key = torch.zeros((rows, shape.groups, shape.size, self.columns), **whole)
            value = torch.zeros((rows, shape.groups, self.columns, shape.size), **whole)
            if kept:
                old = self.keys[layer][..., low : self.seen]
                key[: len(kept), ..., front:seen] = old.index_select(0, index)
                old = self.values[layer][:, :, low : self.seen]
                value[: len(kept), :, front:seen] = old.index_select(0, index)
                self.keys[layer] = self.values[layer] = key.new_empty(0)  # one layer twice, not all
            keys.append(key)
            values.append(value)
        if kept:
            mask[: len(kept), ..., front:seen] = self.mask[index][..., low : self.seen]
        self.keys, self.values, self.mask, self.seen = keys, values, mask, seen
        self.begin = [front + each - low for each in begin] + [seen] * fresh

    def forget(self, places: Sequence[int]) -> None:
        """Let rows see nothing of what was."""
        self.mask[torch.tensor(places, device=self.shape.device)] = -torch.inf
        for place in places:
            self.begin[place] = self.seen

    def enter(
        self, places: Sequence[int], prefix: Read | None, read: Read, owner: Sequence[int]
    ) -> None:
        """Row `places[n]` saw the prefix, then text `owner[n]` of those read."""
        self.forget(places)
        index = torch.tensor(places, device=self.shape.device)
        owners = torch.tensor(owner, device=self.shape.device)
        middle = self.seen - read.width
        start = middle - (prefix.width if prefix else 0)
        self.mask[index, ..., start:middle] = 0
        for place, each in zip(places, owner, strict=True):
            self.mask[place, ..., middle : middle + read.lengths[each]] = 0
            self.begin[place] = start
        for layer, (keys, values) in enumerate(zip(self.keys, self.values, strict=True)):
            if prefix is not None:
                keys[index, ..., start:middle] = prefix.keys[layer]
                values[index, :, start:middle] = prefix.values[layer]
            keys[index, ..., middle : self.seen] = read.keys[layer].index_select(0, owners)
            values[index, :, middle : self.seen] = read.values[layer].index_select(0, owners)

    def step(self, alive: Sequence[int]) -> None:
        """Open the next column to all rows."""
        self.mask[..., self.seen] = 0
        self.seen += 1
        low = min(self.begin[row] for row in alive) // BUCKET * BUCKET
        self.span = slice(low, -(-self.seen // BUCKET) * BUCKET)
        self.sees = self.mask[..., self.span]
        if self.trunks is not None:
            self.sees = torch.cat([self.trunks.mask, self.sees], dim=-1)

    def attend(
        self,
        layer: int,
        queries: Float[Tensor, "B H D"],
        keys: Float[Tensor, "B K D"],
        values: Float[Tensor, "B K D"],
    ) -> Float[Tensor, "B M"]:
        """One new token a row, in the column that `step` opened."""
        own_keys, own_values = self.keys[layer], self.values[layer]
        own_keys[..., self.seen - 1] = keys
        own_values[:, :, self.seen - 1] = values
        grouped = queries.unflatten(1, (self.shape.groups, -1))
        scores = grouped @ own_keys[..., self.span]
        if self.trunks is None:
            shares = scores.add_(self.sees).softmax(-1)
            return (shares @ own_values[:, :, self.span]).flatten(1)
        both = torch.cat([self.trunks.scores(layer, grouped), scores], dim=-1)
        shares = both.add_(self.sees).softmax(-1)
        width = self.trunks.read.width
        mixed = shares[..., width:] @ own_values[:, :, self.span]
        return mixed.add_(self.trunks.mix(layer, shares[..., :width])).flatten(1)
