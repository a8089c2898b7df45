"""Log-probability and entropy of steps from hidden states, without keeping (tokens, vocabulary).

    l = log softmax(h W^T / t)        logprob = l[id]        entropy = -sum exp(l) l

Forward and backward run over parts of the steps; the backward computes each part's logits again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

PART = 64
"""Steps whose logits exist at once: 13 MB for a vocabulary of 49,152, so memory is not paged."""
TOGETHER = 1024
"""Steps whose slopes are kept for one product with the hidden states."""
ROWS = 8192
"""Tokens whose slopes are summed in the products' precision before they join the weight's own."""


@dataclass(frozen=True)
class Steps:
    """The steps to be judged."""

    ids: Int[Tensor, " S"]
    temperatures: Float[Tensor, " S"]


def judge_steps(
    hidden: Float[Tensor, "S H"],
    weight: Float[Tensor, "V H"],
    steps: Steps,
    dtype: torch.dtype,
    chunk: int = PART,
) -> tuple[Float[Tensor, " S"], Float[Tensor, " S"]]:
    """Log-probability and entropy (nats, float32) of each step; matrix products in `dtype`.

    The logits of at most `chunk` steps exist at once.
    """
    with torch.autocast(hidden.device.type, enabled=False):  # precision is explicit in there
        logprobs, entropy = _Judged.apply(hidden, weight, steps, dtype, chunk)  # type: ignore[misc]
    return logprobs, entropy


class _Judged(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, steps: Steps, dtype: torch.dtype, chunk: int
    ) -> tuple[Tensor, Tensor]:
        ids, temperatures = steps.ids, steps.temperatures
        logprobs = hidden.new_empty(len(ids), dtype=torch.float32)
        entropy = torch.empty_like(logprobs)
        matrix = weight.to(dtype)
        for part in _parts(0, len(ids), chunk):
            scores = _scores(hidden[part].to(dtype), matrix, temperatures[part])
            logprobs[part] = scores.gather(-1, ids[part, None]).squeeze(-1)
            entropy[part] = -torch.linalg.vecdot(scores.exp(), scores)
        ctx.save_for_backward(hidden, weight, entropy)
        ctx.steps, ctx.dtype, ctx.chunk = steps, dtype, chunk
        return logprobs, entropy

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """d logprob / d z_j = [j = id] - p_j;  d entropy / d z_j = -p_j (l_j + entropy)."""
        by_logprob, by_entropy = gradients
        hidden, weight, entropy = ctx.saved_tensors
        ids, temperatures = ctx.steps.ids, ctx.steps.temperatures
        matrix = weight.to(ctx.dtype)
        to_hidden = torch.empty_like(hidden)
        to_weight = None
        with_entropy = bool(by_entropy.any())
        for whole in _parts(0, len(ids), TOGETHER):
            read = hidden[whole].to(ctx.dtype)
            slopes = matrix.new_empty((len(read), len(matrix)))
            for part in _parts(whole.start, whole.stop, ctx.chunk):
                scores = _scores(hidden[part].to(ctx.dtype), matrix, temperatures[part])
                if with_entropy:
                    pull = (scores + entropy[part, None]).mul_(by_entropy[part, None])
                    slope = scores.exp_().mul_(pull.add_(by_logprob[part, None]).neg_())
                else:
                    slope = scores.exp_().mul_(-by_logprob[part, None])
                slope.scatter_add_(1, ids[part, None], by_logprob[part, None])
                inside = slice(part.start - whole.start, part.stop - whole.start)
                slopes[inside] = slope.div_(temperatures[part, None])
            to_hidden[whole] = (slopes @ matrix).to(hidden.dtype)
            if ctx.needs_input_grad[1]:
                first = to_weight is None
                to_weight = torch.empty_like(weight) if to_weight is None else to_weight
                for rows in _parts(0, len(weight), ROWS):
                    product = slopes[:, rows].t() @ read
                    to_weight[rows] = product if first else to_weight[rows].add_(product)
        return to_hidden, to_weight, None, None, None


def _scores(
    read: Float[Tensor, "S H"], matrix: Float[Tensor, "V H"], temperatures: Float[Tensor, " S"]
) -> Float[Tensor, "S V"]:
    """log softmax of the logits at each step's temperature, float32."""
    logits = read @ matrix.t()
    if bool((temperatures != 1).any()):
        logits = logits.float().div_(temperatures[:, None])
    return logits.log_softmax(-1, dtype=torch.float32)


def _parts(start: int, stop: int, size: int) -> list[slice]:
    return [slice(at, min(at + size, stop)) for at in range(start, stop, size)]
