"""Log-probability and entropy of steps from hidden states, without keeping (tokens, vocabulary).

    l = log softmax(h W^T / t)        logprob = l[id]        entropy = -sum exp(l) l

Forward and backward run over parts of the steps; the backward computes each part's logits again.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

PART = 256
"""Steps whose logits exist at once: 50 MB for a vocabulary of 49,152."""


def judge_steps(
    hidden: Float[Tensor, "S H"],
    weight: Float[Tensor, "V H"],
    ids: Int[Tensor, " S"],
    temperatures: Float[Tensor, " S"],
    dtype: torch.dtype,
) -> tuple[Float[Tensor, " S"], Float[Tensor, " S"]]:
    """Log-probability and entropy (nats, float32) of each step; matrix products in `dtype`."""
    with torch.autocast(hidden.device.type, enabled=False):  # precision is explicit in there
        logprobs, entropy = _Judged.apply(hidden, weight, ids, temperatures, dtype)  # type: ignore[misc]
    return logprobs, entropy


class _Judged(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, ids: Tensor, temperatures: Tensor, dtype: Any
    ) -> tuple[Tensor, Tensor]:
        logprobs = hidden.new_empty(len(ids), dtype=torch.float32)
        normalizers, entropy = torch.empty_like(logprobs), torch.empty_like(logprobs)
        matrix = weight.to(dtype).t()
        for part in torch.arange(len(ids), device=ids.device).split(PART):
            logits = (hidden[part].to(dtype) @ matrix).float().div_(temperatures[part, None])
            normalizers[part] = logits.logsumexp(-1)
            logprobs[part] = logits.gather(-1, ids[part, None]).squeeze(-1) - normalizers[part]
            logits -= normalizers[part, None]
            entropy[part] = -torch.linalg.vecdot(logits.exp(), logits)
        ctx.save_for_backward(hidden, weight, ids, temperatures, normalizers, entropy)
        ctx.dtype = dtype
        return logprobs, entropy

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """d logprob / d z_j = [j = id] - p_j;  d entropy / d z_j = -p_j (l_j + entropy)."""
        by_logprob, by_entropy = gradients
        hidden, weight, ids, temperatures, normalizers, entropy = ctx.saved_tensors
        matrix = weight.to(ctx.dtype)
        to_hidden = torch.empty_like(hidden)
        to_weight = torch.zeros_like(weight) if ctx.needs_input_grad[1] else None
        with_entropy = bool(by_entropy.any())
        for part in torch.arange(len(ids), device=ids.device).split(PART):
            read = hidden[part].to(ctx.dtype)
            logits = (read @ matrix.t()).float().div_(temperatures[part, None])
            logits -= normalizers[part, None]
            slope = logits.exp()
            if with_entropy:
                surprise = (logits + entropy[part, None]).mul_(by_entropy[part, None])
                slope *= surprise.add_(by_logprob[part, None]).neg_()
            else:
                slope *= -by_logprob[part, None]
            slope.scatter_add_(1, ids[part, None], by_logprob[part, None])
            slope = slope.div_(temperatures[part, None]).to(ctx.dtype)
            to_hidden[part] = (slope @ matrix).to(hidden.dtype)
            if to_weight is not None:
                to_weight += slope.t() @ read
        return to_hidden, to_weight, None, None, None
