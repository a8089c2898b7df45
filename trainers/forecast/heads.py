"""heads: what a lead's forecast is drawn from, and how a draw becomes a concentration.

A draw `z` is the scaled log concentration of a Gaussian head, the class number of a class head; NaN
where nobody decided. Shapes end in `*cells`: nothing for a station, (Y, X) for a grid. Temperature
widens a Gaussian's spread, and divides a class's logit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from trainers.forecast.context import Context
from trainers.forecast.settings import ForecastSettings

HIGHEST = 2000.0
"""ug/m3 that a forecast never exceeds: a draw from a wide tail is no reason for infinity."""
NARROWEST, WIDEST = 0.05, 3.0
HALF_LOG_TAU = 0.5 * float(np.log(2 * np.pi))
Point = Literal["mean", "median"]


@dataclass(frozen=True)
class Gaussian:
    """Of the scaled log concentration."""

    mean: Float[Tensor, "N *more"]
    spread: Float[Tensor, "N *more"]

    def draw(self, noise: Float[Tensor, "N *more"]) -> Float[Tensor, "N *more"]:
        """mean + spread x noise."""
        return self.mean + self.spread * noise

    def likeliest(self) -> Float[Tensor, "N *more"]:
        """The mean."""
        return self.mean

    def point(self, form: Point, context: Context) -> Float[Tensor, "N *cells"]:
        """Of a lead: the mean or the median of the concentration, which is log-normal."""
        return self.mean if form == "median" else self.mean + self.spread**2 * context.spread / 2

    def logprobs(self, z: Float[Tensor, "N *more"]) -> Float[Tensor, "N *more"]:
        """Log-density: above 0 where the Gaussian is narrow."""
        scaled = (z - self.mean) / self.spread
        return -0.5 * scaled**2 - torch.log(self.spread) - HALF_LOG_TAU

    def entropy(self) -> Float[Tensor, "N *more"]:
        """log s + (1 + log tau) / 2."""
        return torch.log(self.spread) + 0.5 + HALF_LOG_TAU

    def tempered(self, temperature: Tensor | float) -> Gaussian:
        """So many times as wide."""
        return Gaussian(self.mean, self.spread * temperature)

    def each(self, change: Callable[[Tensor], Tensor]) -> Gaussian:
        """The same with every tensor changed."""
        return Gaussian(change(self.mean), change(self.spread))


@dataclass(frozen=True)
class Classes:
    """Of the class numbers 0 to K - 1."""

    logits: Float[Tensor, "N *more K"]
    """Normalized: log-probabilities."""

    def draw(self, noise: Float[Tensor, "N *more"]) -> Float[Tensor, "N *more"]:
        """The class in which the noise's own quantile falls."""
        below = self.logits.exp().cumsum(-1)[..., :-1]
        return (below < torch.special.ndtr(noise)[..., None]).sum(-1).to(noise.dtype)

    def likeliest(self) -> Float[Tensor, "N *more"]:
        """The class of most probability."""
        return self.logits.argmax(-1).to(self.logits.dtype)

    def point(self, form: Point, context: Context) -> Float[Tensor, "N *cells"]:
        """Of a lead: the class of the classes' mean concentration, or the median class."""
        share = self.logits.exp()
        if form == "median":
            return (share.cumsum(-1)[..., :-1] < 0.5).sum(-1).to(share.dtype)
        levels = levels_of(context.edges).view(len(share), *(1,) * (share.dim() - 2), -1)
        return _classes((share * levels).sum(-1), context)

    def logprobs(self, z: Float[Tensor, "N *more"]) -> Float[Tensor, "N *more"]:
        """Of these classes."""
        return self.logits.gather(-1, z.long()[..., None])[..., 0]

    def entropy(self) -> Float[Tensor, "N *more"]:
        """-sum p log p."""
        return -(self.logits.exp() * self.logits).sum(-1)

    def tempered(self, temperature: Tensor | float) -> Classes:
        """Logits divided by it."""
        if isinstance(temperature, Tensor):
            temperature = temperature[..., None]
        return Classes(torch.log_softmax(self.logits / temperature, -1))

    def each(self, change: Callable[[Tensor], Tensor]) -> Classes:
        """The same with every tensor changed."""
        return Classes(change(self.logits))


Told = Gaussian | Classes
"""What each row, lead and cell is drawn from."""


def stacked(told: Sequence[Told]) -> Told:
    """Those of T leads as one, with an axis of leads after the rows'."""
    logits = [each.logits for each in told if isinstance(each, Classes)]
    if logits:
        return Classes(torch.stack(logits, dim=1))
    pairs = [(each.mean, each.spread) for each in told if isinstance(each, Gaussian)]
    mean, spread = (torch.stack(each, dim=1) for each in zip(*pairs, strict=True))
    return Gaussian(mean, spread)


class GaussianHead:
    """Mean, as a departure from the season's usual concentration, and spread."""

    outputs = 2

    def __init__(self, settings: ForecastSettings) -> None:
        self.fixed = settings.spread

    def told(self, raw: Float[Tensor, "N K *cells"], context: Context, step: int) -> Gaussian:
        """Spreads lie between the narrowest and the widest, at first at about 0.8."""
        departure, width = raw.unbind(1)
        spread = NARROWEST + (WIDEST - NARROWEST) * torch.sigmoid(width - 1.1)
        if self.fixed:
            spread = torch.full_like(width, self.fixed) + 0 * width
        return Gaussian(context.normal[:, step] + departure, spread)

    def limited(self, z: Float[Tensor, "N *cells"], context: Context) -> Float[Tensor, "N *cells"]:
        """At most that of HIGHEST."""
        return torch.minimum(z, (np.log1p(HIGHEST) - context.center) / context.spread)

    def scaled(self, z: Float[Tensor, "N *cells"], context: Context) -> Float[Tensor, "N *cells"]:
        """The draw itself."""
        return z

    def concentration(
        self, z: Float[Tensor, "N T *cells"], context: Context
    ) -> Float[Tensor, "N T *cells"]:
        """exp of the log concentration."""
        return context.concentration(z)

    def spelled(
        self, concentration: Float[Tensor, "N T *cells"], context: Context
    ) -> Float[Tensor, "N T *cells"]:
        """Its scaled logarithm."""
        return context.scaled(concentration)


class ClassHead:
    """A probability for each class; a class is forecast as one concentration within it."""

    def __init__(self, settings: ForecastSettings) -> None:
        self.outputs = len(settings.edges) + 1

    def told(self, raw: Float[Tensor, "N K *cells"], context: Context, step: int) -> Classes:
        """Softmax of the outputs."""
        return Classes(torch.log_softmax(raw.movedim(1, -1), -1))

    def limited(self, z: Float[Tensor, "N *cells"], context: Context) -> Float[Tensor, "N *cells"]:
        """Classes have no tails."""
        return z

    def scaled(self, z: Float[Tensor, "N *cells"], context: Context) -> Float[Tensor, "N *cells"]:
        """Of the concentration that stands for the class."""
        return context.scaled(self.concentration(z[:, None], context))[:, 0]

    def concentration(
        self, z: Float[Tensor, "N T *cells"], context: Context
    ) -> Float[Tensor, "N T *cells"]:
        """That which stands for the class."""
        rows = levels_of(context.edges)
        flat = z.nan_to_num().long().flatten(1)
        found = rows.gather(1, flat).view(z.shape)
        return torch.where(z.isnan(), torch.nan, found)

    def spelled(
        self, concentration: Float[Tensor, "N T *cells"], context: Context
    ) -> Float[Tensor, "N T *cells"]:
        """Its class; a value on an edge belongs to the better one."""
        return torch.where(concentration.isnan(), torch.nan, _classes(concentration, context))


def _classes(x: Float[Tensor, "N *more"], context: Context) -> Float[Tensor, "N *more"]:
    edges = context.edges.view(len(x), *(1,) * (x.dim() - 1), -1)
    return (x[..., None] > edges).sum(-1).to(x.dtype)


def levels_of(edges: Float[Tensor, "N E"]) -> Float[Tensor, "N K"]:
    """The concentration that stands for each class: its middle, and 1.5 times the last edge."""
    nothing = torch.zeros_like(edges[:, :1])
    bounds = torch.cat([nothing, edges, 2 * edges[:, -1:]], dim=1)
    return (bounds[:, :-1] + bounds[:, 1:]) / 2


Head = GaussianHead | ClassHead
"""Outputs of a network as what a lead is drawn from, and draws as concentrations and back."""


def head_of(settings: ForecastSettings) -> Head:
    """The head that the settings name."""
    return ClassHead(settings) if settings.head == "classes" else GaussianHead(settings)
