"""drawing: the noise behind a forecast, and what a completion keeps of what was drawn with it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from harness.models import row_seed
from harness.types import Prompt

Floats = NDArray[np.float32]
Noise = Callable[[tuple[int, ...]], Floats]
"""A shape (L, *cells) to standard normal numbers."""


@dataclass(frozen=True)
class Taken:
    """A turn's steps: what was drawn (T, *cells), at which temperature."""

    z: Floats
    temperature: float = 1.0

    @property
    def decided(self) -> NDArray[np.bool_]:
        """(T,) leads of which anything was decided."""
        return np.asarray(~np.isnan(self.z).all(axis=tuple(range(1, self.z.ndim))))

    def numbered(self, places: dict[bytes, int]) -> list[int]:
        """A number for each lead's draw; `places` are those that were given before."""
        return [places.setdefault(each.tobytes(), len(places)) for each in self.z]


def fresh(seed: int, antithetic: bool, prompt: Prompt, shape: tuple[int, ...]) -> Floats:
    """Of a prompt and attempt, whatever the horizon and the neighbors: the first leads come first.

    Antithetic attempts 2k and 2k + 1 have the same numbers with turned signs.
    """
    sign, source = 1.0, prompt
    if antithetic:
        sign = 1.0 if prompt.attempt % 2 == 0 else -1.0
        source = prompt.but(attempt=prompt.attempt // 2)
    rng = np.random.default_rng(row_seed(seed, source))
    return (sign * rng.standard_normal(shape)).astype(np.float32)


def branch(seed: int, prompt: Prompt, cut: tuple[int, int], shape: tuple[int, ...]) -> Floats:
    """Of a continuation; `cut` is the lead that it goes on from, and its number."""
    rng = np.random.default_rng((*row_seed(seed, prompt), *cut))
    return rng.standard_normal(shape).astype(np.float32)


def stacked_draws(drawn: Sequence[Floats], shape: Sequence[int]) -> Float[Tensor, "N T *cells"]:
    """Rows of any numbers of leads, NaN beyond their ends; `shape` is (T, *cells)."""
    table = torch.full((len(drawn), *shape), torch.nan)
    for row, z in enumerate(drawn):
        if len(z):
            table[row, : len(z)] = torch.from_numpy(z)
    return table


def placed(
    x: Float[Tensor, "R T *more"], sizes: Sequence[Sequence[int]], columns: int
) -> Float[Tensor, "N C *more"]:
    """Rows of turns to rows of rollouts: the turns of a rollout one after the other, then 0."""
    rows: list[Tensor] = []
    turn = 0
    for lengths in sizes:
        parts = [x[turn + number, :length] for number, length in enumerate(lengths)]
        turn += len(lengths)
        rows.append(torch.cat([*parts, x.new_zeros((columns - sum(lengths), *x.shape[2:]))]))
    return torch.stack(rows)
