"""network: the station forecaster. History to a state; then lead by lead, each seeing the last.

The hours are drawn together by a strided convolution and read by a GRU; a second GRU goes from lead
to lead, with what was forecast for the lead before, the season, the season's usual concentration
and the lead itself. Each step gives the Gaussian of the scaled log concentration, as a departure
from the season's usual one, so that an untrained network begins at climatology.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from trainers.forecast.context import Context
from trainers.forecast.settings import ForecastSettings

Choose = Callable[[int, Tensor, Tensor], Tensor]
"""(lead's number, mean (N,), spread (N,)) to the forecast for it (N,); NaN: what is likeliest."""
NARROWEST, WIDEST = 0.05, 3.0


class StationNetwork(nn.Module):
    """About 20,000 weights with 32 hidden units."""

    def __init__(self, settings: ForecastSettings) -> None:
        super().__init__()
        hidden = settings.hidden
        self.settings = settings
        self.draw_together = nn.Conv1d(
            2 * len(settings.channels), hidden, settings.stride, stride=settings.stride
        )
        self.past = nn.GRU(hidden, hidden, batch_first=True)
        self.ahead = nn.GRUCell(5, hidden)
        self.gaussian = nn.Linear(hidden, 2)
        nn.init.normal_(self.gaussian.weight, std=0.1)
        nn.init.zeros_(self.gaussian.bias)

    def encode(self, context: Context) -> Float[Tensor, "P D"]:
        """The state after the history."""
        told = torch.cat([context.history, context.known], dim=2).transpose(1, 2)
        drawn = torch.tanh(self.draw_together(told)).transpose(1, 2)
        return self.past(drawn)[1][0]

    def roll(
        self, context: Context, state: Float[Tensor, "N D"], steps: int, choose: Choose
    ) -> tuple[Float[Tensor, "N T"], Float[Tensor, "N T"], Float[Tensor, "N T"]]:
        """What is forecast for the first T leads, and mean and spread that it was chosen from."""
        before = context.today
        taken: list[tuple[Tensor, Tensor, Tensor]] = []
        for step in range(steps):
            told = [before, context.normal[:, step], context.lead[:, step]]
            told = torch.stack([*told, *context.season[:, step].unbind(1)], dim=1)
            state = self.ahead(told, state)
            departure, width = self.gaussian(state).unbind(1)
            mean = context.normal[:, step] + departure
            spread = self._spread(width)
            z = choose(step, mean, spread)
            before = torch.where(z.isnan(), mean, z)
            taken.append((z, mean, spread))
        if not taken:
            nothing = state.new_zeros((len(state), 0))
            return nothing, nothing, nothing
        z, mean, spread = (torch.stack(each, dim=1) for each in zip(*taken, strict=True))
        return z, mean, spread

    def _spread(self, width: Float[Tensor, " N"]) -> Float[Tensor, " N"]:
        """Between the narrowest and the widest, about 0.8 at first; the settings' own if fixed."""
        if self.settings.spread:
            return torch.full_like(width, self.settings.spread) + 0 * width
        return NARROWEST + (WIDEST - NARROWEST) * torch.sigmoid(width - 1.1)
