"""Attention on a processor, where the fused kernel is made for other shapes than ours.

Heads that share keys are put side by side as queries of one head, so keys and values are read once
and never copied. One new token a row: the fused kernel on that, five times as fast for three heads
a group in bfloat16. Short texts in bfloat16: two plain products, five to ten times as fast with
their gradient. Texts packed into one row: `tree_attention.py`. Everything else goes to
transformers' own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from trainers.text.tree import Tree
from trainers.text.tree_attention import attend_tree

if TYPE_CHECKING:
    from transformers import PreTrainedModel

NAME = "harness"
SMALL = 1 << 24
"""Scores (rows x heads x queries x keys) up to which two products are faster: 32 MB."""


def attend(
    module: torch.nn.Module,
    query: Float[Tensor, "B H Q D"],
    key: Float[Tensor, "B K L D"],
    value: Float[Tensor, "B K L D"],
    attention_mask: Tensor | None,
    scaling: float | None = None,
    *,
    tree: Tree | None = None,
    **options: Any,
) -> tuple[Tensor, None]:
    """What transformers asks of an attention; the mask, or the tree, says what may be seen."""
    odd = bool({"softcap", "s_aux", "position_bias", "cache"} & options.keys())
    if tree is not None:
        if odd:
            raise ValueError("this attention does more than a packed row knows of")
        return _attend_packed(query, key, value, tree, scaling), None
    per_head = attention_mask is not None and attention_mask.shape[1] != 1
    rows, heads, queries, size = query.shape
    groups, length = key.shape[1:3]
    # one query a head is grouped on cards too: keys and values are then not copied for each head
    near = query.device.type == "cpu" or queries == 1
    own = near and not odd and not per_head and length >= queries
    small = _half(query) and rows * heads * queries * length <= SMALL
    if not own or not (queries == 1 or small):
        given = {"attention_mask": attention_mask, "scaling": scaling, **options}
        return sdpa_attention_forward(module, query, key, value, **given)
    grouped = query.reshape(rows, groups, heads // groups * queries, size)
    if queries == 1:
        mixed = torch.nn.functional.scaled_dot_product_attention(
            grouped, key, value, attn_mask=attention_mask, scale=scaling
        )
        return mixed.reshape(rows, 1, heads, value.shape[-1]), None
    scale = size**-0.5 if scaling is None else scaling
    mixed = _two_products(grouped, key, value, attention_mask, queries, scale)
    return mixed.view(rows, heads, queries, value.shape[-1]).transpose(1, 2), None


def _attend_packed(
    query: Float[Tensor, "1 H P D"],
    key: Float[Tensor, "1 K P D"],
    value: Float[Tensor, "1 K P D"],
    tree: Tree,
    scaling: float | None,
) -> Float[Tensor, "1 P H D"]:
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    kind = torch.bfloat16 if _half(query) else value.dtype
    rows = [x[0].transpose(0, 1).to(kind) for x in (query, key, value)]
    tree.asked[0] += 1
    return attend_tree(rows[0], rows[1], rows[2], tree, scale).unsqueeze(0)


def _half(query: Tensor) -> bool:
    """Whether products of this tensor are made in bfloat16."""
    kind = query.device.type
    if torch.is_autocast_enabled(kind):
        return torch.get_autocast_dtype(kind) == torch.bfloat16
    return query.dtype == torch.bfloat16


def _two_products(
    grouped: Float[Tensor, "B K GQ D"],
    key: Float[Tensor, "B K L D"],
    value: Float[Tensor, "B K L D"],
    mask: Tensor | None,
    queries: int,
    scale: float,
) -> Float[Tensor, "B K GQ D"]:
    rows, groups, many, _ = grouped.shape
    length = key.shape[2]
    if mask is None:
        mask = torch.ones(queries, length, dtype=torch.bool).tril(length - queries)[None, None]
    kind = torch.bfloat16
    scores = (grouped.to(kind) * scale) @ key.to(kind).transpose(2, 3)
    apart = scores.view(rows, groups, many // queries, queries, length)
    # not -inf: a row of padding may see nothing, and must not become nan
    apart = apart.masked_fill(~mask[:, :, None], torch.finfo(kind).min)
    weights = apart.softmax(-1, dtype=torch.float32).to(kind).view(scores.shape)
    return weights @ value.to(kind)


def use_ours(model: PreTrainedModel) -> None:
    """Let a model that uses transformers' fused attention use ours."""
    AttentionInterface.register(NAME, attend)
    AttentionMaskInterface.register(NAME, sdpa_mask)
    whole = model.config.get_text_config() is model.config
    # the other parts of a model that sees look both ways
    part: Any = model if whole else model.get_decoder()
    if part.config._attn_implementation == "sdpa":
        part.set_attn_implementation(NAME)
