"""Beginnings that several rows share: their keys and values are held once and read once a step.

Rows that stand on one trunk ask it together, as queries of one product; the scores are then put
beside those of each row's own memory, so that one softmax runs over both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

LEAST = 2048
"""Positions saved in all from which on sharing is faster than copying to each row: some eight more
small operations a layer against reading that many keys and values."""


@dataclass(frozen=True)
class Read:
    """Texts, read: keys (layers, P, K, D, S), values (layers, P, K, S, D), right-padded."""

    keys: Tensor
    values: Tensor
    lengths: tuple[int, ...]

    @property
    def width(self) -> int:
        """S, positions of the longest."""
        return self.keys.shape[-1]

    def pick(self, rows: Sequence[int]) -> Read:
        """Some of them, in memory of their own."""
        lengths = tuple(self.lengths[row] for row in rows)
        width, index = max(lengths), torch.tensor(rows, device=self.keys.device)
        keys = self.keys[..., :width].index_select(1, index)
        return Read(keys, self.values[:, :, :, :width].index_select(1, index), lengths)

    def after(self, prefix: Read | None) -> Read:
        """Each with what was read before all of them."""
        if prefix is None:
            return self
        count = len(self.lengths)
        keys = torch.cat([prefix.keys.expand(-1, count, -1, -1, -1), self.keys], dim=4)
        values = torch.cat([prefix.values.expand(-1, count, -1, -1, -1), self.values], dim=3)
        return Read(keys, values, tuple(prefix.width + length for length in self.lengths))


def stacked(reads: Sequence[Read]) -> Read:
    """All texts of several, padded to one width."""
    if len(reads) == 1:
        return reads[0]
    width = max(read.width for read in reads)
    pad = torch.nn.functional.pad
    keys = [pad(read.keys, (0, width - read.width)) for read in reads]
    values = [pad(read.values, (0, 0, 0, width - read.width)) for read in reads]
    lengths = tuple(length for read in reads for length in read.lengths)
    return Read(torch.cat(keys, 1), torch.cat(values, 1), lengths)


class Trunks:
    """P trunks, and which of them each of B rows stands on."""

    def __init__(self, read: Read, owner: Sequence[int]) -> None:
        """`owner` is -1 for rows whose answers nobody reads."""
        device = read.keys.device
        self.read = read
        members: list[list[int]] = [[] for _ in read.lengths]
        places = [0] * len(owner)
        for row, trunk in enumerate(owner):
            places[row] = len(members[trunk]) if trunk >= 0 else 0
            if trunk >= 0:
                members[trunk].append(row)
        self.deep = max(1, *map(len, members))
        """R, rows on the trunk that has most."""
        padded = [[*rows, *[0] * (self.deep - len(rows))] for rows in members]
        self.table = torch.tensor(padded, device=device).flatten()
        self.trunk = torch.tensor([max(0, each) for each in owner], device=device)
        self.place = torch.tensor(places, device=device)
        ends = torch.tensor(read.lengths, device=device)[self.trunk]
        beyond = torch.arange(read.width, device=device) >= ends[:, None]
        self.mask = torch.zeros(beyond.shape, dtype=read.keys.dtype, device=device)
        self.mask = self.mask.masked_fill_(beyond, -torch.inf)[:, None, None]
        """(B, 1, 1, L) of what each row may see of its trunk."""

    def scores(self, layer: int, grouped: Float[Tensor, "B K G D"]) -> Float[Tensor, "B K G L"]:
        """Products of each row's queries with the keys of its trunk."""
        return self._by_row(self._by_trunk(grouped) @ self.read.keys[layer])

    def mix(self, layer: int, shares: Float[Tensor, "B K G L"]) -> Float[Tensor, "B K G D"]:
        """What each row takes of its trunk's values."""
        return self._by_row(self._by_trunk(shares) @ self.read.values[layer])

    def _by_trunk(self, x: Float[Tensor, "B K G X"]) -> Float[Tensor, "P K Q X"]:
        apart = x.index_select(0, self.table).unflatten(0, (-1, self.deep))
        return apart.transpose(1, 2).flatten(2, 3)

    def _by_row(self, x: Float[Tensor, "P K Q X"]) -> Float[Tensor, "B K G X"]:
        return x.unflatten(2, (self.deep, -1))[self.trunk, :, self.place]
