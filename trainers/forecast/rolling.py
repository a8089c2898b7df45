"""rolling: forecasts lead by lead, each seeing what was drawn for the one before."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from trainers.forecast.context import Context
from trainers.forecast.grid import GridNetwork
from trainers.forecast.heads import Told, head_of, stacked
from trainers.forecast.network import StationNetwork
from trainers.forecast.settings import ForecastSettings

Choose = Callable[[int, Told], Tensor]
"""(lead's number, what it is drawn from) to the draw for it (N, *cells); NaN: nobody decided."""


Network = StationNetwork | GridNetwork
"""`encode` reads a history, a row a prompt; `advance` gives the next lead's state and outputs."""


def network_of(settings: ForecastSettings) -> Network:
    """An untrained network, of the settings' own seed."""
    kind = GridNetwork if settings.kind == "grid" else StationNetwork
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        return kind(settings)


def roll(
    network: Network, context: Context, state: Tensor, steps: int, choose: Choose
) -> tuple[Float[Tensor, "N T *cells"], Told]:
    """The draws for the first T leads, at least one, and what they were chosen from.

    What nobody decided is told to the next lead as what was likeliest.
    """
    head, before = head_of(network.settings), context.today
    drawn: list[Tensor] = []
    told: list[Told] = []
    for step in range(steps):
        state, raw = network.advance(context, state, before, step)
        given = head.told(raw, context, step)
        z = choose(step, given)
        before = head.scaled(torch.where(z.isnan(), given.likeliest(), z), context)
        drawn.append(z)
        told.append(given)
    return torch.stack(drawn, dim=1), stacked(told)
