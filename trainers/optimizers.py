"""optimizers: from a recipe's settings to what moves the weights, by libraries that are kept."""

from __future__ import annotations

import torch

from harness.errors import need
from trainers.policy import Policy
from trainers.recipe import AdamW


def make_optimizer(settings: AdamW, policy: Policy) -> torch.optim.Optimizer:
    """The optimizer over what learns; the rate is set at each step. Fused wherever torch can.

    Raises MissingExtra for moments of 8 bits without bitsandbytes.
    """
    learning = policy.parameters()
    given = {
        "lr": 0.0,
        "betas": settings.betas,
        "eps": settings.eps,
        "weight_decay": settings.weight_decay,
    }
    if settings.moments == "8bit":
        bitsandbytes = need("bitsandbytes", "8bit", "optimizer.moments=8bit")
        return bitsandbytes.optim.AdamW8bit(learning, **given)
    fused = all(weight.is_floating_point() for weight in learning)
    kinds = {weight.device.type for weight in learning}
    return torch.optim.AdamW(learning, **given, fused=fused and kinds <= {"cpu", "cuda"})
