"""Linear layers in bfloat16 that keep no copy of their weights for the backward pass.

Autocast makes a bfloat16 copy of every weight and keeps all of them, and for each product a copy of
what is multiplied. Here a weight is cast again when the backward pass comes to it, and products of
the same input share one copy of it: for SmolLM2-135M that is 0.2 GB, and a third of the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

HALF = torch.bfloat16


class HalfProducts(TorchFunctionMode):
    """While it is on, linear layers with weights of a wider type compute in bfloat16."""

    def __init__(self) -> None:
        super().__init__()
        self.last: tuple[Tensor, Tensor] | None = None
        """What was cast last, and the copy."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Every call of torch comes by here."""
        if func is not torch.nn.functional.linear or kwargs:
            return func(*args, **(kwargs or {}))
        x, weight = args[:2]
        bias = args[2] if len(args) > 2 else None
        if weight.dtype == HALF or not torch.is_autocast_enabled(x.device.type):
            return func(*args)
        if self.last is None or self.last[0] is not x:
            self.last = (x, x.to(HALF))
        return _Product.apply(self.last[1], weight, bias)


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight, bias)
        cast = None if bias is None else bias.to(HALF)
        return torch.nn.functional.linear(x, weight.to(HALF), cast)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (by_product,) = gradients
        x, weight, bias = ctx.saved_tensors
        to_x = to_weight = to_bias = None
        if ctx.needs_input_grad[0]:
            to_x = by_product @ weight.to(HALF)
        rows = by_product.flatten(0, -2)
        if ctx.needs_input_grad[1]:
            to_weight = (rows.t() @ x.flatten(0, -2)).to(weight.dtype)
        if bias is not None and ctx.needs_input_grad[2]:
            to_bias = rows.sum(0, dtype=torch.float32).to(bias.dtype)
        return to_x, to_weight, to_bias
