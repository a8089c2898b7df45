"""Log-probability and entropy of steps from hidden states, without keeping (tokens, vocabulary).

    l = log softmax(h W^T / t)        logprob = l[id]        entropy = -sum exp(l) l

Forward and backward run over parts of the steps. Where the probabilities of all steps take little
memory they are kept for the backward pass, which else computes each part's logits again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
KEPT = 128 << 20
"""Bytes of probabilities that are kept: no more than the slopes that later take their place."""


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
        ctx.chances = None
        if any(ctx.needs_input_grad) and len(ids) * len(matrix) * matrix.element_size() <= KEPT:
            ctx.chances = matrix.new_empty((len(ids), len(matrix)))
        for part in _parts(0, len(ids), chunk):
            scores = _scores(hidden[part].to(dtype), matrix, temperatures[part])
            logprobs[part] = scores.gather(-1, ids[part, None]).squeeze(-1)
            chances = scores.exp()
            entropy[part] = -torch.linalg.vecdot(chances, scores)
            if ctx.chances is not None:
                ctx.chances[part] = chances
        ctx.save_for_backward(hidden, weight, logprobs, entropy)
        ctx.steps, ctx.dtype, ctx.chunk = steps, dtype, chunk
        return logprobs, entropy

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """d logprob / d z_j = [j = id] - p_j;  d entropy / d z_j = -p_j (l_j + entropy)."""
        hidden, weight = ctx.saved_tensors[:2]
        matrix = weight.to(ctx.dtype)
        to_hidden = torch.empty_like(hidden)
        to_weight = None
        with_entropy = bool(gradients[1].any())
        for whole in _parts(0, len(hidden), TOGETHER):
            if with_entropy:
                slopes, pull = _slopes_with_entropy(ctx, matrix, whole, gradients)
            else:
                slopes, pull = _slopes(ctx, matrix, whole, gradients[0])
            to_hidden[whole] = (slopes @ matrix) * pull
            if ctx.needs_input_grad[1]:
                read = (hidden[whole] * pull).to(ctx.dtype)
                first = to_weight is None
                to_weight = torch.empty_like(weight) if to_weight is None else to_weight
                for rows in _parts(0, len(weight), ROWS):
                    product = slopes[:, rows].t() @ read
                    to_weight[rows] = product if first else to_weight[rows].add_(product)
        ctx.chances = None
        return to_hidden, to_weight, None, None, None


Slopes = tuple[Float[Tensor, "S V"], Float[Tensor, "S 1"]]
"""Those of a step's logits, and a number by which all of them are still to be multiplied."""


def _slopes(ctx: Any, matrix: Tensor, whole: slice, by_logprob: Tensor) -> Slopes:
    """p - [j = id], and minus what pulls.

    What was taken gets its own from its log-probability: p - 1 of a rounded p may be nothing.
    """
    slopes = ctx.chances[whole] if ctx.chances is not None else None
    if slopes is None:
        slopes = matrix.new_empty((whole.stop - whole.start, len(matrix)))
        for part, scores in _again(ctx, matrix, whole):
            slopes[part.start - whole.start : part.stop - whole.start] = scores.exp_()
    ids, temperatures = ctx.steps.ids[whole], ctx.steps.temperatures[whole]
    rows, logprobs = torch.arange(len(ids), device=ids.device), ctx.saved_tensors[2][whole]
    slopes[rows, ids] = torch.expm1(logprobs).to(slopes.dtype)  # scatter_ would copy all slopes
    return slopes, (-by_logprob[whole] / temperatures)[:, None]


def _slopes_with_entropy(
    ctx: Any, matrix: Tensor, whole: slice, gradients: Sequence[Tensor]
) -> Slopes:
    slopes = matrix.new_empty((whole.stop - whole.start, len(matrix)))
    for part, scores in _again(ctx, matrix, whole):
        by_logprob, by_entropy = (each[part, None] for each in gradients)
        pull = (scores + ctx.saved_tensors[3][part, None]).mul_(by_entropy).add_(by_logprob)
        slope = scores.exp_().mul_(pull).scatter_add_(1, ctx.steps.ids[part, None], -by_logprob)
        slopes[part.start - whole.start : part.stop - whole.start] = slope
    return slopes, -1 / ctx.steps.temperatures[whole, None]


def _again(ctx: Any, matrix: Tensor, whole: slice) -> Iterator[tuple[slice, Tensor]]:
    """Scores of one part after the other."""
    hidden, temperatures = ctx.saved_tensors[0], ctx.steps.temperatures
    for part in _parts(whole.start, whole.stop, ctx.chunk):
        yield part, _scores(hidden[part].to(ctx.dtype), matrix, temperatures[part])


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
