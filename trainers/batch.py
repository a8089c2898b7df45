"""batch: rollouts as tensors, and comparison within groups.

N rollouts stand in a row, and each says to which group it belongs, so groups may have any sizes.
T is the longest rollout's number of steps; (N, 1) holds for all steps of a rollout alike.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from harness.types import Rollout
from trainers.policy import Extent, together


@dataclass(frozen=True, kw_only=True)
class Batch:
    """N rollouts in a row; groups may have any sizes."""

    rollouts: tuple[Rollout, ...]
    group: Int[Tensor, " N"]
    scores: Mapping[str, Float[Tensor, " N"]]
    """Of the verdicts; NaN where a verdict lacks one."""
    rewards: Float[Tensor, "N #T"]
    """(N, 1) for an outcome, (N, T) where steps are paid."""
    advantages: Float[Tensor, "N #T"]
    """(N, 1) until a stage gives steps credit of their own."""
    weights: Float[Tensor, "N T"]
    """How much each step counts in the loss; 0 leaves it out."""
    mask: Bool[Tensor, "N T"]
    """True where the policy itself decided."""
    sampled_logprobs: Float[Tensor, "N T"]
    """Of each step as it was drawn, in nats; NaN where nobody told."""
    old_logprobs: Float[Tensor, "N T"]
    """What ratios are taken against; the loop puts it in before the losses (see `Recipe`)."""
    importance: Float[Tensor, "N T"]
    """Truncated ratio of reviewer to sampler, a factor of policy costs; 1 if not corrected."""
    extra: Mapping[str, Tensor] = field(default_factory=dict[str, Tensor])
    """What stages hand to later stages: rows are rollouts."""

    @classmethod
    def of(cls, rollouts: Sequence[Rollout], mask: Bool[Tensor, "N T"]) -> Batch:
        """Rollouts before any stage: no rewards, no advantages, every decision counts 1."""
        device = mask.device
        names = dict.fromkeys(name for r in rollouts for name in r.verdict.scores)
        nothing = torch.zeros((len(rollouts), 1), device=device)
        numbers: dict[tuple[str, str], int] = {}
        group = [numbers.setdefault((r.group, r.role), len(numbers)) for r in rollouts]
        return cls(
            rollouts=tuple(rollouts),
            group=torch.tensor(group, dtype=torch.long, device=device),
            scores={
                name: torch.tensor(
                    [r.verdict.scores.get(name, float("nan")) for r in rollouts],
                    dtype=torch.float32,
                    device=device,
                )
                for name in names
            },
            rewards=nothing,
            advantages=nothing,
            weights=mask.float(),
            mask=mask,
            sampled_logprobs=_sampled(rollouts, mask),
            old_logprobs=torch.zeros_like(mask, dtype=torch.float32),
            importance=torch.ones_like(mask, dtype=torch.float32),
        )

    def but(self, **changes: Any) -> Batch:
        """The same batch with some fields replaced."""
        return replace(self, **changes)

    def peers(self, within: Int[Tensor, " N"] | None = None) -> Peers:
        """Comparison within the groups, or within what `within` numbers."""
        return Peers(self.group if within is None else within)

    def take(self, rows: Int[Tensor, " n"]) -> Batch:
        """Some rollouts, with no more steps than they have."""
        kept = [self.rollouts[row] for row in rows.tolist()]
        steps = max((rollout.steps for rollout in kept), default=0)
        long = self.mask.shape[1]

        def cut(x: Tensor) -> Tensor:
            taken = x.index_select(0, rows)
            whole = x.dim() > 1 and x.shape[1] == long and long > 1
            return taken[:, : max(steps, 1)] if whole else taken

        columns = ("weights", "mask", "sampled_logprobs", "old_logprobs", "importance")
        return self.but(
            rollouts=tuple(kept),
            group=self.group[rows],
            scores={name: score[rows] for name, score in self.scores.items()},
            rewards=cut(self.rewards),
            advantages=cut(self.advantages),
            extra={name: cut(x) for name, x in self.extra.items()},
            **{name: getattr(self, name)[rows, :steps] for name in columns},
        )

    def parts(
        self, extents: Sequence[Extent], budget: int, *, whole_groups: bool = False
    ) -> list[Int[Tensor, " n"]]:
        """Rows in micro-batches of at most `budget` positions, groups together where they fit.

        `extents` is what each rollout costs; what rollouts share counts once in a micro-batch. A
        group above the budget is cut, or with `whole_groups` stands alone; so does a rollout above
        the budget.
        """
        members: dict[int, list[int]] = {}
        for row, number in enumerate(self.group.tolist()):
            members.setdefault(number, []).append(row)
        units: list[list[int]] = []
        for rows in members.values():
            fits = whole_groups or together(extents[row] for row in rows) <= budget
            units += [rows] if fits else [[row] for row in rows]
        parts: list[list[int]] = []
        read: set[Hashable] = set()
        room = 0
        for unit in units:
            alone = {name: n for row in unit for name, n in extents[row].shared.items()}
            own = sum(extents[row].own for row in unit)
            cost = own + sum(n for name, n in alone.items() if name not in read)
            if not parts or cost > room:
                parts.append([])
                read, room = set(), budget
                cost = own + sum(alone.values())
            parts[-1] += unit
            read |= set(alone)
            room -= cost
        return [torch.tensor(part, device=self.group.device) for part in parts]


@dataclass(frozen=True)
class Peers:
    """Numbers of a rollout's group, given back for every rollout; sums in float64."""

    group: Int[Tensor, " N"]

    def mean(self, x: Float[Tensor, "N #T"]) -> Float[Tensor, "N #T"]:
        """The group's mean."""
        return self._mean(x.double()).to(x.dtype)

    def std(self, x: Float[Tensor, "N #T"], ddof: int = 0) -> Float[Tensor, "N #T"]:
        """The group's standard deviation, divided by count - ddof; 0 where that is not above 0."""
        wide = x.double()
        square = self._sum((wide - self._mean(wide)) ** 2)
        count = (self._counts() - ddof).unsqueeze(1)
        return torch.where(count > 0, square / count.clamp(min=1), 0.0).sqrt().to(x.dtype)

    def median(self, x: Float[Tensor, "N #T"]) -> Float[Tensor, "N #T"]:
        """The group's median: of an even number, the mean of the middle two."""
        return self.each(x, lambda rows: rows.quantile(0.5, dim=0, keepdim=True).expand_as(rows))

    def sum(self, x: Float[Tensor, "N #T"]) -> Float[Tensor, "N #T"]:
        """The group's sum."""
        return self._sum(x.double()).to(x.dtype)

    def logsumexp(self, x: Float[Tensor, "N #T"]) -> Float[Tensor, "N #T"]:
        """log sum_i exp x_i over the group; rows of -inf are left out, and all -inf gives 0."""
        wide, index = x.double(), self._index()
        size = int(index.max()) + 1 if len(index) else 0
        places = index.unsqueeze(1).expand_as(wide)
        peak = wide.new_full((size, wide.shape[1]), -torch.inf)
        peak = peak.scatter_reduce(0, places, wide.detach(), "amax")[index]
        peak = torch.where(peak.isfinite(), peak, 0.0)
        total = self._sum((wide - peak).exp())
        return (peak + torch.where(total > 0, total, 1.0).log()).to(x.dtype)

    def count(self, x: Float[Tensor, "N #T"]) -> Float[Tensor, "N #T"]:
        """How many the group has, the rollout itself included."""
        return self._counts().unsqueeze(1).expand_as(x).to(x.dtype)

    def rank(self, x: Float[Tensor, "N 1"], ties: float = 0.0) -> Float[Tensor, "N 1"]:
        """Place in the group from 0, ascending; neighbors not further apart than `ties` share."""
        value, index = x[:, 0].double(), self._index()
        order = value.argsort(stable=True)
        order = order[index[order].argsort(stable=True)]
        sizes = index.bincount()
        first = (sizes.cumsum(0) - sizes)[index[order]]
        place = torch.arange(len(order), device=x.device)
        apart = value[order].diff(prepend=value.new_zeros(1)) > ties
        tied = (apart | (place == first)).cumsum(0) - 1
        mean = tied.bincount(place - first) / tied.bincount()
        return torch.empty_like(x).index_copy_(0, order, mean[tied].to(x.dtype).unsqueeze(1))

    def each(
        self,
        x: Float[Tensor, "N #T"],
        change: Callable[[Float[Tensor, "G #T"]], Float[Tensor, "G #T"]],
    ) -> Float[Tensor, "N #T"]:
        """Every group's rows, changed by a function of them; in time linear in the rollouts."""
        index = self._index()
        order = index.argsort(stable=True)
        parts = x[order].split(index.bincount().tolist())
        changed = [change(part).to(x.dtype) for part in parts if len(part)]
        return torch.empty_like(x).index_copy(0, order, torch.cat(changed)) if changed else x

    def _index(self) -> Int[Tensor, " N"]:
        return self.group.unique(return_inverse=True)[1]

    def _counts(self) -> Float[Tensor, " N"]:
        index = self._index()
        return index.bincount().double()[index]

    def _sum(self, wide: Float[Tensor, "N #T"]) -> Float[Tensor, "N #T"]:
        index = self._index()
        size = int(index.max()) + 1 if len(index) else 0
        return wide.new_zeros((size, wide.shape[1])).index_add_(0, index, wide)[index]

    def _mean(self, wide: Float[Tensor, "N #T"]) -> Float[Tensor, "N #T"]:
        return self._sum(wide) / self._counts().unsqueeze(1)


def _sampled(rollouts: Sequence[Rollout], mask: Bool[Tensor, "N T"]) -> Float[Tensor, "N T"]:
    """The sampler's log-probabilities of all turns, one after the other."""
    table = torch.full(mask.shape, torch.nan)
    for row, rollout in enumerate(rollouts):
        column = 0
        for _, completion in rollout.turns:
            if completion.logprobs is not None:
                told = torch.from_numpy(completion.logprobs)
                table[row, column : column + len(told)] = told
            column += completion.steps
    return table.to(mask.device)
