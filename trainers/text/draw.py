"""Drawing one token a row, each from its own uniform number, so that rows never share chance.

The order is the usual one: temperature, then top-k, then top-p (the smallest set of tokens whose
probability reaches p, the token that crosses included).
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from harness.models import Sampling

BLOCK = 256
"""Tokens whose probabilities are summed at once before any is looked at alone."""
NUCLEI = (64, 1024)
"""Candidates tried for top-p in turn; rows whose nucleus is larger are sorted whole."""


class Scratch:
    """Memory for one step's probabilities that is kept: mapping it anew costs more than its use."""

    def __init__(self) -> None:
        self._held: Tensor | None = None

    def shares(self, logits: Float[Tensor, "B V"], temperature: float) -> Float[Tensor, "B W"]:
        """exp(logit - largest) of each token in float32, with zeros up to whole blocks."""
        rows, size = logits.shape
        width = -(-size // BLOCK) * BLOCK
        held = self._held
        if held is None or len(held) < rows or held.shape[1] != width:
            held = self._held = torch.empty((rows, width), device=logits.device)
        held = held[:rows]
        held[:, size:] = 0
        inside = held[:, :size]
        inside.copy_(logits)
        if temperature not in (0, 1):
            inside.div_(temperature)
        inside.sub_(inside.amax(-1, keepdim=True)).exp_()
        return held


def draw(
    logits: Float[Tensor, "B V"],
    uniforms: Float[Tensor, " B"],
    sampling: Sampling,
    scratch: Scratch | None = None,
) -> tuple[Int[Tensor, " B"], Float[Tensor, " B"]]:
    """Token and log-probability (nats, float32) of each row.

    The log-probability is that of the distribution drawn from: at the temperature, after
    truncation. A greedy token gets its log-probability at temperature 1. Rows whose logits are
    not finite get a log-probability that is not finite.
    """
    scratch = scratch or Scratch()
    if sampling.temperature and (sampling.top_k or sampling.top_p < 1):
        return _truncated(logits.float() / sampling.temperature, uniforms, sampling, scratch)
    shares = scratch.shares(logits, sampling.temperature)
    if sampling.temperature == 0:
        ids = logits.argmax(-1)
        return ids, _taken(shares, ids).log() - shares.sum(-1).log()
    return _invert(shares, uniforms, logits.shape[1])


def _invert(
    shares: Float[Tensor, "B W"], uniforms: Float[Tensor, " B"], size: int
) -> tuple[Int[Tensor, " B"], Float[Tensor, " B"]]:
    """Inverse of the cumulative distribution, first to a block of tokens, then to one of them.

    Exact like `torch.multinomial`, and far faster: only one block a row is summed token by token.
    """
    blocked = shares.unflatten(-1, (-1, BLOCK))
    ends = blocked.sum(-1).cumsum(-1, dtype=torch.float64)
    wanted = uniforms * ends[:, -1]
    block = _first_above(ends, wanted).clamp_(max=ends.shape[1] - 1)
    begun = torch.where(block > 0, _taken(ends, (block - 1).clamp_(min=0)), 0.0)
    inside = blocked[torch.arange(len(shares), device=shares.device), block]
    # the last token that has a share is the limit where rounding leaves a rest
    last = (BLOCK - 1) - (inside > 0).flip(-1).int().argmax(-1)
    place = _first_above(inside.cumsum(-1, dtype=torch.float64), wanted - begun)
    # where nothing is finite the search ends beyond the vocabulary
    ids = (block * BLOCK + torch.minimum(place, last)).clamp_(max=size - 1)
    return ids, (_taken(shares, ids).log() - ends[:, -1].log()).float()


def _first_above(heap: Float[Tensor, "B K"], wanted: Float[Tensor, " B"]) -> Int[Tensor, " B"]:
    """The first place whose sum exceeds the number: never one that adds nothing."""
    return torch.searchsorted(heap, wanted.unsqueeze(-1), right=True).squeeze(-1)


def _truncated(
    logits: Float[Tensor, "B V"],
    uniforms: Float[Tensor, " B"],
    sampling: Sampling,
    scratch: Scratch,
) -> tuple[Int[Tensor, " B"], Float[Tensor, " B"]]:
    """The same among the tokens that survive top-k and top-p."""
    size = logits.shape[-1]
    most = min(sampling.top_k or size, size)
    tries = [most] if sampling.top_k else [*(each for each in NUCLEI if each < size), size]
    total = None if sampling.top_k else logits.logsumexp(-1, keepdim=True)
    ids = torch.empty(len(logits), dtype=torch.long, device=logits.device)
    logprobs = torch.empty(len(logits), device=logits.device)
    rows = torch.arange(len(logits), device=logits.device)
    for tried in tries:
        best, vocabulary = logits[rows].topk(tried, dim=-1)
        whole = torch.ones(len(rows), dtype=torch.bool, device=logits.device)
        if sampling.top_p < 1:
            sums = best.logsumexp(-1, keepdim=True) if total is None else total[rows]
            best, whole = _nucleus(best, sums, sampling.top_p)
            whole |= tried == most
        chosen = rows[whole]
        places, logprobs[chosen] = _invert(scratch.shares(best[whole], 1), uniforms[chosen], tried)
        ids[chosen] = _taken(vocabulary[whole], places)
        rows = rows[~whole]
        if not len(rows):
            break
    return ids, logprobs


def _nucleus(
    best: Float[Tensor, "B K"], total: Float[Tensor, "B 1"], p: float
) -> tuple[Float[Tensor, "B K"], Bool[Tensor, " B"]]:
    """The logits, those beyond the nucleus -inf, and which rows' nuclei end among them."""
    shares = (best - total).exp()
    sums = shares.cumsum(-1, dtype=torch.float64)
    beyond = sums - shares >= p
    beyond[:, 0] = False
    return best.masked_fill(beyond, -torch.inf), sums[:, -1] >= p


def _taken(values: Tensor, places: Int[Tensor, " B"]) -> Tensor:
    return values.gather(-1, places.unsqueeze(-1)).squeeze(-1)
