"""Drawing one token a row, each from its own uniform number, so that rows never share chance.

The order is the usual one: temperature, then top-k, then top-p (the smallest set of tokens whose
probability reaches p, the token that crosses included).
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from harness.models import Sampling

BLOCK = 256
"""Tokens whose probabilities are summed at once before any is looked at alone."""
NUCLEUS = 1024
"""Candidates tried first for top-p; rows whose nucleus is larger are sorted whole."""


def draw(
    logits: Float[Tensor, "B V"], uniforms: Float[Tensor, " B"], sampling: Sampling
) -> tuple[Int[Tensor, " B"], Float[Tensor, " B"]]:
    """Token and log-probability (nats, float32) of each row.

    The log-probability is that of the distribution drawn from: at the temperature, after
    truncation. A greedy token gets its log-probability at temperature 1. Rows whose logits are
    not finite get a log-probability that is not finite.
    """
    if sampling.temperature == 0:
        ids = logits.argmax(-1)
        return ids, _taken(logits.log_softmax(-1, dtype=torch.float32), ids)
    if sampling.temperature != 1:
        logits = logits.float() / sampling.temperature
    if sampling.top_k or sampling.top_p < 1:
        kept, vocabulary = _candidates(logits.float(), sampling)
        places, logprobs = _invert(kept, uniforms)
        return _taken(vocabulary, places), logprobs
    return _invert(logits, uniforms)


def _invert(
    logits: Float[Tensor, "B V"], uniforms: Float[Tensor, " B"]
) -> tuple[Int[Tensor, " B"], Float[Tensor, " B"]]:
    """Inverse of the cumulative distribution, first to a block of tokens, then to one of them.

    Exact like `torch.multinomial`, and far faster: only one block a row is summed token by token.
    """
    size = logits.shape[-1]
    shares = logits.softmax(-1, dtype=torch.float32)
    blocks = -(-size // BLOCK)
    if size % BLOCK:
        shares = torch.nn.functional.pad(shares, (0, blocks * BLOCK - size))
    blocked = shares.view(len(shares), blocks, BLOCK)
    ends = blocked.sum(-1).cumsum(-1, dtype=torch.float64)
    wanted = uniforms * ends[:, -1]
    block = _first_above(ends, wanted).clamp_(max=blocks - 1)
    begun = torch.where(block > 0, _taken(ends, (block - 1).clamp_(min=0)), 0.0)
    inside = blocked[torch.arange(len(shares), device=shares.device), block]
    # the last token that has a share is the limit where rounding leaves a rest
    last = (BLOCK - 1) - (inside > 0).flip(-1).int().argmax(-1)
    place = _first_above(inside.cumsum(-1, dtype=torch.float64), wanted - begun)
    ids = block * BLOCK + torch.minimum(place, last)
    return ids, _taken(shares, ids).log()


def _first_above(heap: Float[Tensor, "B K"], wanted: Float[Tensor, " B"]) -> Int[Tensor, " B"]:
    """The first place whose sum exceeds the number: never one that adds nothing."""
    return torch.searchsorted(heap, wanted.unsqueeze(-1), right=True).squeeze(-1)


def _candidates(
    logits: Float[Tensor, "B V"], sampling: Sampling
) -> tuple[Float[Tensor, "B K"], Int[Tensor, "B K"]]:
    """The logits that survive truncation, best first (the rest -inf), and whose they are."""
    size = logits.shape[-1]
    width = min(sampling.top_k or size, size)
    if sampling.top_p == 1:
        return logits.topk(width, dim=-1)
    total = logits.topk(width, dim=-1).values if width < size else logits
    normalizer = total.logsumexp(-1, keepdim=True)
    tried = min(width, NUCLEUS)
    kept, ids = logits.topk(tried, dim=-1)
    if tried < width and bool(((kept - normalizer).exp().sum(-1) < sampling.top_p).any()):
        kept, ids = logits.topk(width, dim=-1)
    probabilities = (kept - normalizer).exp()
    before = probabilities.cumsum(-1, dtype=torch.float64) - probabilities
    beyond = before >= sampling.top_p
    beyond[:, 0] = False
    return kept.masked_fill(beyond, -torch.inf), ids


def _taken(values: Tensor, places: Int[Tensor, " B"]) -> Tensor:
    return values.gather(-1, places.unsqueeze(-1)).squeeze(-1)
