"""network: the station forecaster. History to a state; then lead by lead, each seeing the last.

The hours are drawn together by a strided convolution and read by a GRU; a second GRU goes from lead
to lead, with what was forecast for the lead before, the season, the season's usual concentration
and the lead itself. Each step gives a Gaussian of the scaled log concentration, as a departure from
the season's usual one, so that an untrained network begins at climatology; or each class's logit.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from trainers.forecast.context import Context
from trainers.forecast.heads import head_of
from trainers.forecast.settings import ForecastSettings


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
        self.last = nn.Linear(hidden, head_of(settings).outputs)
        nn.init.normal_(self.last.weight, std=0.1)
        nn.init.zeros_(self.last.bias)

    def encode(self, context: Context) -> Float[Tensor, "P D"]:
        """The state after the history."""
        told = torch.cat([context.history, context.known], dim=2).transpose(1, 2)
        drawn = torch.tanh(self.draw_together(told)).transpose(1, 2)
        return self.past(drawn)[1][0]

    def advance(
        self, context: Context, state: Float[Tensor, "N D"], before: Float[Tensor, " N"], step: int
    ) -> tuple[Float[Tensor, "N D"], Float[Tensor, "N K"]]:
        """The state at a lead, and what the head is told; `before` is the last lead's forecast."""
        told = [before, context.normal[:, step], context.lead[:, step]]
        told = torch.stack([*told, *context.season[:, step].unbind(1)], dim=1)
        state = self.ahead(told, state)
        return state, self.last(state)
