"""grid: the gridded forecaster. A U-Net reads the history; then lead by lead, each seeing the last.

All channels of the last frames are the layers of one image. It is halved and read `depth` times,
doubled again, and at each size what was read on the way down comes in beside it (the skips). What
comes out is a state for each cell, which a convolutional GRU carries from lead to lead with the
field that was forecast for the lead before, the season, the cell's usual concentration and the lead
itself. Each step gives each cell what its head asks for.

Nothing knows where a cell lies: moved by a multiple of 2^depth cells, away from the borders, the
same history gives the same forecast (and what is usual in each cell tells places apart). Grids of
any size are padded on two sides to such a multiple with cells that are not asked for, and cut again
afterwards; cells that are not asked for are no other than those beyond the border.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import interpolate, pad, silu

from trainers.forecast.context import Context
from trainers.forecast.heads import head_of
from trainers.forecast.settings import ForecastSettings

TOLD = 5
"""Layers that a lead is told: field before, usual field, lead, and two of the season."""


class Block(nn.Module):
    """Two convolutions of 3 x 3 cells."""

    def __init__(self, entering: int, leaving: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(entering, leaving, 3, padding=1)
        self.second = nn.Conv2d(leaving, leaving, 3, padding=1)

    def forward(self, x: Float[Tensor, "N D Y X"]) -> Float[Tensor, "N E Y X"]:
        """Features of the same size."""
        return silu(self.second(silu(self.first(x))))


class UNet(nn.Module):
    """Fields to features, by halving and doubling with skips; sizes are multiples of 2^depth."""

    def __init__(self, entering: int, hidden: int, depth: int) -> None:
        super().__init__()
        widths = [hidden * min(2**level, 4) for level in range(depth + 1)]
        self.enter = Block(entering, hidden)
        pairs = list(pairwise(widths))
        self.down = nn.ModuleList([Block(high, low) for high, low in pairs])
        self.up = nn.ModuleList([Block(high + low, high) for high, low in reversed(pairs)])

    def forward(self, x: Float[Tensor, "N C Y X"]) -> Float[Tensor, "N D Y X"]:
        """(N, hidden, Y, X)."""
        x = self.enter(x)
        skips: list[Tensor] = []
        for block in self.down:
            skips.append(x)
            x = block(nn.functional.avg_pool2d(x, 2))
        for block, skip in zip(self.up, reversed(skips), strict=True):
            x = block(torch.cat([skip, interpolate(x, scale_factor=2.0)], dim=1))
        return x


class ConvGRU(nn.Module):
    """A GRU whose matrices are convolutions of 3 x 3 cells."""

    def __init__(self, entering: int, hidden: int) -> None:
        super().__init__()
        self.gates = nn.Conv2d(entering + hidden, 2 * hidden, 3, padding=1)
        self.candidate = nn.Conv2d(entering + hidden, hidden, 3, padding=1)

    def forward(
        self, x: Float[Tensor, "N C Y X"], state: Float[Tensor, "N D Y X"]
    ) -> Float[Tensor, "N D Y X"]:
        """The next state."""
        gates = torch.sigmoid(self.gates(torch.cat([x, state], dim=1)))
        update, reset = gates.chunk(2, dim=1)
        fresh = torch.tanh(self.candidate(torch.cat([x, reset * state], dim=1)))
        return (1 - update) * state + update * fresh


class GridNetwork(nn.Module):
    """About 140,000 weights with 16 hidden units and depth 2."""

    def __init__(self, settings: ForecastSettings) -> None:
        super().__init__()
        self.settings = settings
        layers = 2 * settings.frames * len(settings.channels)
        self.past = UNet(layers + 1, settings.hidden, settings.depth)
        self.ahead = ConvGRU(TOLD, settings.hidden)
        self.last = nn.Conv2d(settings.hidden, head_of(settings).outputs, 1)
        weight, bias = self.last.parameters()
        nn.init.normal_(weight, std=0.1)
        nn.init.zeros_(bias)

    def encode(self, context: Context) -> Float[Tensor, "P D Y X"]:
        """The state of each cell after the history."""
        frames = self.settings.frames
        told = torch.cat([context.history, context.known], dim=2)[:, -frames:]
        told = pad(told, (0, 0, 0, 0, 0, 0, frames - told.shape[1], 0))  # frames that there are not
        height, width = told.shape[-2:]
        mask = context.cells[:, None].to(told)
        told = torch.cat([told.flatten(1, 2), mask], dim=1)
        whole = 2**self.settings.depth
        told = pad(told, (0, -width % whole, 0, -height % whole))
        return torch.tanh(self.past(told))[..., :height, :width] * mask

    def advance(
        self,
        context: Context,
        state: Float[Tensor, "N D Y X"],
        before: Float[Tensor, "N Y X"],
        step: int,
    ) -> tuple[Float[Tensor, "N D Y X"], Float[Tensor, "N K Y X"]]:
        """The state at a lead, and what the head is told; `before` is the last lead's forecast."""
        same = [context.lead[:, step], *context.season[:, step].unbind(1)]
        fields = [each[:, None, None].expand_as(before) for each in same]
        mask = context.cells[:, None].to(state)
        told = torch.stack([before, context.normal[:, step], *fields], dim=1) * mask
        state = self.ahead(told, state) * mask
        return state, self.last(state)
