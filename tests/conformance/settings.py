"""What is asked of a trainer: which gradient of stored rollouts, and how it is carried out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from torch import Tensor

    from tests.conformance.cases import Case

Mean = Literal["rollouts", "steps", "steps_locally", "length"]
Scale = Literal["sample_std", "population_std", "none", "leave_one_out"]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The definition of a gradient. The defaults are the loss of the GRPO paper, on-policy."""

    mean: Mean = "rollouts"
    """`steps_locally` divides by the steps of the micro-batch; one micro-batch makes it `steps`."""
    scale: Scale = "sample_std"
    ratio: Literal["token", "sequence", "product"] = "token"
    """Of each step; the geometric mean of a rollout's, as in GSPO; their product, as in RLOO."""
    detached: bool = False
    """CISPO: the ratio, capped at `high` alone, is a factor without gradient of A log pi."""
    low: float = 0.2
    high: float = 0.2
    """The ratio is clipped to [1 - low, 1 + high]; where detached, to at most `high`."""
    off_policy: bool = False
    """Ratios are taken against the stored old log-probabilities, not the policy's own."""
    beta: float = 0.0
    corrected: bool = False
    """The KL term is multiplied with the ratio."""
    sampler_correction: float = 0.0
    """Costs are multiplied with min(policy / sampler, this), without gradient; 0: they are not."""
    mask_truncated: bool = False
    temperature: float = 1.0
    length: int = 12
    """What `mean="length"` divides by."""
    eps: float = 1e-4
    recipe: str = ""
    """For ours: the recipe as it is shipped, which must come to the same."""

    def but(self, **changes: Any) -> Settings:
        """The same settings with some fields replaced."""
        return replace(self, **changes)


@dataclass(frozen=True, kw_only=True)
class How:
    """What must change nothing."""

    parts: int = 1
    """Micro-batches that the gradient is accumulated over."""
    order: int | None = None
    """Seed of an order of groups, and of rollouts within them."""
    padding: int = 0
    """Columns of padding more than are needed."""
    side: Literal["own", "right"] = "own"
    """Where texts are padded; `own` is the trainer's habit."""
    head: Literal["fused", "whole"] = "fused"
    """Whether the logits of all steps are made at once."""
    prefix: Literal["shared", "apart"] = "shared"
    """Whether a group's prompt is read once, or once a rollout."""
    packing: Literal["own", "on", "off"] = "own"
    """Whether rollouts of different lengths are read without padding between them."""
    saving: bool = False
    """Activations are computed again in the backward pass."""
    processes: int = 1
    dtype: Literal["float32", "bfloat16"] = "float32"


ONCE = How()


class Trainer(Protocol):
    """A trainer that can be handed stored rollouts."""

    @property
    def name(self) -> str:
        """As the table says it."""
        ...

    def lacks(self, settings: Settings, how: How) -> str:
        """Why it cannot do that; empty where it can."""
        ...

    def gradient(self, case: Case, settings: Settings, how: How = ONCE) -> Mapping[str, Tensor]:
        """Gradient of the loss by name of weight, as the optimizer would be handed it."""
        ...


def flat(gradient: Mapping[str, Tensor]) -> Tensor:
    """All of a gradient in one row of float64, in the order of names."""
    import torch

    return torch.cat([gradient[name].detach().double().flatten() for name in sorted(gradient)])


def cosine(one: Tensor, other: Tensor) -> float:
    """Of two gradients; 1 where both are 0."""
    norms = float(one.norm() * other.norm())
    if norms == 0:
        return float(float(one.norm() + other.norm()) == 0)
    return float(one @ other) / norms


def gap(one: Tensor, other: Tensor) -> float:
    """|one - other| / |other|; the length of `one` where the other is 0."""
    size = float(other.norm())
    return float((one - other).norm()) / (size or 1.0)
