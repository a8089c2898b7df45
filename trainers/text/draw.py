"""Drawing one token a row, each from its own uniform number, so that rows never share chance.

The order is the usual one: temperature, then top-k, then top-p (the smallest set of tokens whose
probability reaches p, the token that crosses included).
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from harness.models import Sampling

NUCLEUS = 1024
"""Candidates tried first for top-p; rows whose nucleus is larger are sorted whole."""


def draw(
    logits: Float[Tensor, "B V"], uniforms: Float[Tensor, " B"], sampling: Sampling
) -> tuple[Int[Tensor, " B"], Float[Tensor, " B"]]:
    """Token and log-probability (nats, float32) of each row.

    The log-probability is that of the distribution drawn from: at the temperature, after
    truncation. A greedy token gets its log-probability at temperature 1.
    """
    logits = logits.float()
    if sampling.temperature == 0:
        ids = logits.argmax(-1)
        return ids, _taken(logits, ids) - logits.logsumexp(-1)
    if sampling.temperature != 1:
        logits = logits / sampling.temperature
    if sampling.top_k or sampling.top_p < 1:
        kept, vocabulary = _candidates(logits, sampling)
        places, logprobs = _invert(kept, uniforms)
        return _taken(vocabulary, places), logprobs
    return _invert(logits, uniforms)


def _invert(
    logits: Float[Tensor, "B V"], uniforms: Float[Tensor, " B"]
) -> tuple[Int[Tensor, " B"], Float[Tensor, " B"]]:
    """Inverse of the cumulative distribution: exact, and far faster than `torch.multinomial`."""
    normalizer = logits.logsumexp(-1)
    heap = (logits - normalizer.unsqueeze(-1)).exp_().cumsum(-1, dtype=torch.float64)
    wanted = uniforms.unsqueeze(-1) * heap[:, -1:]
    # right=True: the first token whose sum exceeds the number, so never one of probability 0
    ids = torch.searchsorted(heap, wanted, right=True).squeeze(-1)
    ids = ids.clamp_(max=logits.shape[-1] - 1)
    return ids, _taken(logits, ids) - normalizer


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
