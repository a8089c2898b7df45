"""tally: numbers of one step for the log, the same however the step was cut into micro-batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float
from torch import Tensor


@dataclass
class Tally:
    """Sums while a step runs; `numbers` gives means, smallest and largest."""

    values: dict[str, float] = field(default_factory=dict)
    sums: dict[str, tuple[float, float]] = field(default_factory=dict)
    kinds: dict[str, str] = field(default_factory=dict)
    """How a name's values are brought together: sum, least, most; else the last one holds."""

    def copy(self) -> Tally:
        """What stands here now."""
        return Tally(dict(self.values), dict(self.sums))

    def restore(self, before: Tally) -> None:
        """Forget what came after a copy was taken."""
        self.values, self.sums = dict(before.values), dict(before.sums)

    def put(self, name: str, value: float) -> None:
        """A number as it is."""
        self.values[name] = float(value)

    def add(self, name: str, value: float) -> None:
        """A number that is summed over the step."""
        self.kinds[name] = "sum"
        self.values[name] = self.values.get(name, 0.0) + float(value)

    def least(self, name: str, value: float) -> None:
        """The smallest of what is given."""
        self.kinds[name] = "least"
        self.values[name] = min(self.values.get(name, float("inf")), float(value))

    def most(self, name: str, value: float) -> None:
        """The largest of what is given."""
        self.kinds[name] = "most"
        self.values[name] = max(self.values.get(name, float("-inf")), float(value))

    @torch.no_grad()
    def mean(self, name: str, x: Float[Tensor, "N T"], where: Bool[Tensor, "N T"]) -> None:
        """The mean over all places where `where` is True, of all micro-batches together."""
        total, count = self.sums.get(name, (0.0, 0.0))
        more = x.double().masked_fill(~where, 0.0).sum().item()
        self.sums[name] = (total + more, count + where.sum().item())

    @classmethod
    def together(cls, tallies: Sequence[Tally]) -> Tally:
        """What several processes counted at the same time; times are the slowest one's."""
        whole = cls()
        for tally in tallies:
            whole.merge(tally)
        for name in whole.values:
            if name.startswith("time/"):
                whole.values[name] = max(tally.values.get(name, 0.0) for tally in tallies)
        return whole

    def merge(self, other: Tally) -> None:
        """Take in what was counted elsewhere."""
        for name, value in other.values.items():
            kind = other.kinds.get(name)
            if kind == "least":
                self.least(name, value)
            elif kind == "most":
                self.most(name, value)
            elif kind == "sum":
                self.add(name, value)
            else:
                self.put(name, value)
        for name, (total, count) in other.sums.items():
            before, counted = self.sums.get(name, (0.0, 0.0))
            self.sums[name] = (before + total, counted + count)

    def numbers(self) -> dict[str, float]:
        """Everything, means included."""
        means = {name: total / count for name, (total, count) in self.sums.items() if count}
        return {**self.values, **means}
