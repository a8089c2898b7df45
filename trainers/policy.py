"""Policy, the protocol that training needs: a model that can review its steps and go on from any.

The loop, the stages and the losses see rollouts and (N, T) tensors; only a policy opens a
completion's `trace`. N is rollouts, T decision steps over all turns of a rollout.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import Parameter

from harness.models import Model, Sampling
from harness.types import Completion, Prompt, Rollout


@dataclass(frozen=True)
class Live:
    """What a policy thinks of steps that were taken; right-padded to the longest rollout."""

    logprobs: Float[Tensor, "N T"]
    """Log-probability of each step in nats, float32, with gradient; 0 where padded."""
    entropy: Float[Tensor, "N T"]
    """Of the distribution of each step at that temperature, in nats, float32, with gradient."""
    mask: Bool[Tensor, "N T"]
    """True where the policy itself decided: False on padding and on what `resume` inserted."""
    means: Float[Tensor, "N T *cells"] | None = None
    """Of the Gaussian that each step (or each cell of its field) is drawn from, with gradient; None
    for discrete steps."""
    spreads: Float[Tensor, "N T *cells"] | None = None
    """Its standard deviation."""
    classes: Float[Tensor, "N T *cells K"] | None = None
    """Log-probabilities of the classes that each step is drawn from, where there are few."""
    cells: Float[Tensor, "N T *cells"] | None = None
    """What each cell of a step's field counts in its log-probability; None: a step is one draw."""

    def tensors(self) -> list[Tensor]:
        """All that a loss may read."""
        found = (self.logprobs, self.entropy, self.means, self.spreads, self.classes)
        return [x for x in found if x is not None]


@dataclass(frozen=True)
class Extent:
    """What reviewing a rollout costs, in positions."""

    own: int
    """Read for this rollout alone."""
    shared: Mapping[Hashable, int] = field(default_factory=dict[Hashable, int])
    """Read once for all rollouts of a review that name it."""


def together(extents: Iterable[Extent]) -> int:
    """Positions of one review of several rollouts."""
    own, shared = 0, dict[Hashable, int]()
    for extent in extents:
        own += extent.own
        shared.update(extent.shared)
    return own + sum(shared.values())


@runtime_checkable
class Policy(Model, Protocol):
    """A model that can learn."""

    sampling: Sampling
    """Read at each `answer` and `resume`; trainers replace it to move the seed or the budget."""

    def review(self, rollouts: Sequence[Rollout], *, temperature: float | None = None) -> Live:
        """Log-probabilities of exactly the steps that were taken.

        All rollouts are reviewed at once: micro-batches are the caller's (see `extent`). Gradient
        flows unless the caller stands under `torch.no_grad()`. The temperature is by default the
        one at which each step was drawn, so that an unchanged policy reviews what it sampled;
        greedy steps are reviewed at 1. Truncation (top-k, top-p) is never applied here.
        """
        ...

    def resume(
        self,
        rollout: Rollout,
        step: int,
        *,
        insert: str | None = None,
        rollouts: int = 1,
        explore: bool = True,
    ) -> list[Completion]:
        """Go on from step `step` of the rollout's last completion, `rollouts` times.

        The first `step` decisions are kept, `insert` is put after them (not a decision: masked in
        review), and the rest is drawn anew; greedily, and without log-probabilities, where
        `explore` is False. `step=0` without `insert` draws as `answer` does: result k is the
        answer to the same prompt k attempts later, so the first is the completion itself.
        """
        ...

    def resume_all(
        self,
        cuts: Sequence[tuple[Rollout, int]],
        *,
        insert: str | None = None,
        budget: int | None = None,
    ) -> list[Completion]:
        """`resume` of many rollouts at once, each once and from a step of its own.

        `budget` is the most steps that are drawn anew; None: what `sampling` leaves.
        """
        ...

    def spell(self, prompt: Prompt, output: Any) -> Completion:
        """The steps that the policy would have to take to give that output: experts' answers.

        Its `logprobs` are None, since nobody sampled it. A completion without a trace, such as
        gold's, is spelled by `review` itself.
        """
        ...

    def decided(self, rollouts: Sequence[Rollout]) -> Bool[Tensor, "N T"]:
        """The mask that `review` gives, without reading anything."""
        ...

    def choices(self, rollouts: Sequence[Rollout]) -> Int[Tensor, "N T"]:
        """What was taken at each step, as a number from 0 to 2^31 - 1; -1 where padded.

        Equal steps have equal numbers, and different steps different ones.
        """
        ...

    def size(self, rollout: Rollout) -> int:
        """Positions that the rollout has, prompt and all: for counting tokens."""
        ...

    def extent(self, rollout: Rollout) -> Extent:
        """What reviewing the rollout costs: for micro-batches of bounded memory."""
        ...

    def parameters(self) -> list[Parameter]:
        """What learns, always in the same order."""
        ...

    def refresh(self) -> None:
        """To be called after the parameters changed: renews what sampling keeps of them."""
        ...

    def frozen(self) -> Policy:
        """The policy as it is now, for comparison: it answers and reviews, and learns no more."""
        ...

    def save(self, path: Path) -> None:
        """Write a folder that the family's opener, and `load_state`, read back."""
        ...

    def load_state(self, path: Path) -> None:
        """Take over the weights of a folder that `save` wrote, exactly; `refresh` is included."""
        ...
