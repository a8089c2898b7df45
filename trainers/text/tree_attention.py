"""Attention over a packed row (see `tree.py`), keeping nothing but queries, keys and values.

    w = softmax(scale q [k_above | k_own]')        out = w [v_above | v_own]

The keys above are read once for all spans that share them. The backward pass makes the weights
again, and adds up in float32 or better what the many readers of a key ask of it. Heads that share
keys stand side by side as queries of one head.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from trainers.text.tree import Block, Tree


def attend_tree(
    query: Float[Tensor, "P H D"],
    key: Float[Tensor, "P K D"],
    value: Float[Tensor, "P K D"],
    tree: Tree,
    scale: float,
) -> Float[Tensor, "P H D"]:
    """What each place mixes from those it may see; of places in no span nobody should read."""
    return _Attended.apply(query, key, value, tree, scale)  # type: ignore[no-any-return]


class _Attended(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, query: Tensor, key: Tensor, value: Tensor, tree: Tree, scale: float
    ) -> Tensor:
        ctx.save_for_backward(query, key, value)
        ctx.tree, ctx.scale = tree, scale
        mixed = query.new_zeros(query.shape)
        for block in tree.blocks:
            inside = _Inside(block, query, key, value, scale)
            found = inside.mix(inside.weights())
            mixed.index_copy_(0, block.queries.flatten(), found)
        return mixed

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """dv = w' dm;  ds = w (dm v' - sum_k w dm v');  dq = ds k;  dk = ds' q."""
        (by_mixed,) = gradients
        query, key, value = ctx.saved_tensors
        to_query = torch.zeros_like(query)
        to_key, to_value = (torch.zeros_like(x, dtype=_wide(x)) for x in (key, value))
        for block in ctx.tree.blocks:
            inside = _Inside(block, query, key, value, ctx.scale)
            inside.back(by_mixed, to_query, to_key, to_value)
        return to_query, to_key.to(key.dtype), to_value.to(value.dtype), None, None


class _Inside:
    """One block's tensors: B spans, K groups of G heads, Q queries, L + A = S keys."""

    def __init__(
        self, block: Block, query: Tensor, key: Tensor, value: Tensor, scale: float
    ) -> None:
        self.block, self.scale = block, scale
        self.groups, self.size = key.shape[1:]
        self.share = query.shape[1] // self.groups
        self.rows, self.wide = block.queries.shape
        self.long = block.keys.shape[1]
        self.q = self._heads(query) * scale
        self.k, self.v = self._keys(key), self._keys(value)
        self.above_k = self.above_v = None
        if block.above is not None:
            self.above_k = key.index_select(0, block.above).transpose(0, 1)
            self.above_v = value.index_select(0, block.above).transpose(0, 1)

    def _heads(self, x: Tensor) -> Float[Tensor, "KB GQ D"]:
        """Of each query place, heads side by side."""
        taken = x.index_select(0, self.block.queries.flatten())
        apart = taken.view(self.rows, self.wide, self.groups, self.share, self.size)
        return apart.permute(2, 0, 3, 1, 4).reshape(-1, self.share * self.wide, self.size)

    def _places(self, x: Float[Tensor, "KB GQ D"]) -> Float[Tensor, "BQ H D"]:
        """The way back from `_heads`."""
        apart = x.view(self.groups, self.rows, self.share, self.wide, self.size)
        return apart.permute(1, 3, 0, 2, 4).reshape(-1, self.groups * self.share, self.size)

    def _keys(self, x: Tensor) -> Float[Tensor, "KB L D"]:
        taken = x.index_select(0, self.block.keys.flatten())
        apart = taken.view(self.rows, self.long, self.groups, self.size)
        return apart.permute(2, 0, 1, 3).reshape(-1, self.long, self.size)

    def _together(self, x: Float[Tensor, "KB GQ X"]) -> Float[Tensor, "K BGQ X"]:
        """All spans of the block as queries of one."""
        return x.view(self.groups, -1, x.shape[-1])

    def weights(self) -> Float[Tensor, "KB GQ S"]:
        """How much each query takes of what it sees; what is above first."""
        own = self.q @ self.k.transpose(1, 2)
        hidden = torch.ones(self.wide, self.long, dtype=torch.bool, device=own.device)
        hidden = hidden.triu(self.block.offset + 1)
        apart = own.view(-1, self.share, self.wide, self.long)
        apart.masked_fill_(hidden, torch.finfo(own.dtype).min)
        if self.above_k is not None:
            above = self._together(self.q) @ self.above_k.transpose(1, 2)
            own = torch.cat([above.view(*own.shape[:2], -1), own], dim=-1)
        return own.softmax(-1, dtype=_wide(own)).to(own.dtype)

    def mix(self, weights: Float[Tensor, "KB GQ S"]) -> Float[Tensor, "BQ H D"]:
        """The values that the weights take."""
        mixed = weights[..., -self.long :] @ self.v
        if self.above_v is not None:
            above = self._together(weights)[..., : -self.long] @ self.above_v
            mixed += above.view_as(mixed)
        return self._places(mixed)

    def back(self, by_mixed: Tensor, to_query: Tensor, to_key: Tensor, to_value: Tensor) -> None:
        """Add this block's slopes."""
        weights, slope = self.weights(), self._heads(by_mixed)
        own = weights[..., -self.long :]
        self._add_keys(to_value, own.transpose(1, 2) @ slope)
        pull = slope @ self.v.transpose(1, 2)
        if self.above_v is not None:
            above = self._together(weights)[..., : -self.long]
            self._add_above(to_value, above.transpose(1, 2) @ self._together(slope))
            from_above = self._together(slope) @ self.above_v.transpose(1, 2)
            pull = torch.cat([from_above.view(*pull.shape[:2], -1), pull], dim=-1)
        slopes = weights * pull
        whole = slopes.sum(-1, keepdim=True, dtype=_wide(slopes)).to(slopes.dtype)
        slopes.addcmul_(weights, whole, value=-1)
        own = slopes[..., -self.long :]
        found = own @ self.k
        self._add_keys(to_key, own.transpose(1, 2) @ self.q)
        if self.above_k is not None:
            above = self._together(slopes)[..., : -self.long]
            found += (above @ self.above_k).view_as(found)
            self._add_above(to_key, above.transpose(1, 2) @ self._together(self.q))
        to_query.index_copy_(0, self.block.queries.flatten(), self._places(found * self.scale))

    def _add_keys(self, to: Tensor, x: Float[Tensor, "KB L D"]) -> None:
        apart = x.view(self.groups, self.rows, self.long, self.size).permute(1, 2, 0, 3)
        flat = apart.reshape(-1, self.groups, self.size)
        to.index_add_(0, self.block.keys.flatten(), flat.to(to.dtype))

    def _add_above(self, to: Tensor, x: Float[Tensor, "K A D"]) -> None:
        if self.block.above is not None:
            to.index_add_(0, self.block.above, x.transpose(0, 1).to(to.dtype))


def _wide(x: Tensor) -> torch.dtype:
    """What its values are added up in: float32, or what is wider."""
    return torch.promote_types(x.dtype, torch.float32)
