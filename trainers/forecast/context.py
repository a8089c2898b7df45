"""context: prompts that hold arrays, as scaled tensors. Nothing is read but the prompt.

Letters: P different prompts, H frames of history (a station's are hours), C channels, L leads;
`*cells` is nothing for a station, (Y, X) for a grid, `*ones` the same with axes of length 1.
Scaled means (x - center) / spread with the prompt's own center and spread, which its task took from
the training period; what is heavy-tailed goes through log(1 + x) first. Missing values are 0 with a
mark of their own, and so are cells that are not asked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from torch import Tensor

from harness.errors import DataError
from harness.types import Prompt
from trainers.forecast.settings import ForecastSettings

NEEDED = ("history", "columns", "logged", "center", "spread", "season", "normal", "leads")
AXES = {"station": 2, "grid": 4}
"""Of the history: (H, C), and (H, C, Y, X)."""


@dataclass(frozen=True)
class Context:
    """What P prompts tell."""

    history: Float[Tensor, "P H C *cells"]
    known: Float[Tensor, "P H C *cells"]
    """1 where there is a value."""
    season: Float[Tensor, "P L 2"]
    """Sine and cosine of the target's day of the year."""
    normal: Float[Tensor, "P L *cells"]
    """Scaled log of the season's usual concentration: what forecasts depart from."""
    lead: Float[Tensor, "P L"]
    """In units of 5 days."""
    today: Float[Tensor, "P *cells"]
    """Scaled log of the last 24 hours' mean, 0 where nothing is known."""
    center: Float[Tensor, "P *ones"]
    spread: Float[Tensor, "P *ones"]
    """Of log(1 + concentration): from what is forecast to ug/m3."""
    cells: Bool[Tensor, "P *cells"]
    """Cells that are asked for; the others are neither read nor forecast."""
    edges: Float[Tensor, "P E"]
    """Upper edges of the classes but the last, in ug/m3."""

    def take(self, rows: Sequence[int]) -> Context:
        """The context of each rollout, from that of its prompt."""
        index = torch.tensor(rows, dtype=torch.long)
        return Context(*(getattr(self, name)[index] for name in self.__dataclass_fields__))

    def concentration(self, z: Float[Tensor, "P L *cells"]) -> Float[Tensor, "P L *cells"]:
        """ug/m3, never below 0."""
        return torch.expm1(z * self.spread[:, None] + self.center[:, None]).clamp(min=0.0)

    def scaled(self, concentration: Float[Tensor, "P L *cells"]) -> Float[Tensor, "P L *cells"]:
        """The other way round; NaN stays."""
        return (torch.log1p(concentration) - self.center[:, None]) / self.spread[:, None]


def content_of(prompt: Prompt) -> Mapping[str, Any]:
    """The arrays of a prompt; DataError where it holds none that this family reads."""
    content = prompt.messages[-1].content
    if not isinstance(content, Mapping) or any(name not in content for name in NEEDED):
        told = type(content).__name__
        raise DataError(
            f"the prompt of {prompt.example.id} holds {told} without the arrays that a forecaster "
            f"reads ({', '.join(NEEDED)}); text models answer prompts in words"
        )
    return content


def read(contents: Sequence[Mapping[str, Any]], settings: ForecastSettings) -> Context:
    """Prompts of one length of history, the same leads and one grid as tensors.

    Raises DataError where they are of another kind than the network's, or differ in size.
    """
    _same_size(contents, settings)
    channels = settings.channels
    asked = np.stack([_asked(each) for each in contents])
    history = np.stack([_columns(each, channels) for each in contents])
    known = ~np.isnan(history) & asked[:, None, None]
    place = [list(channels).index(each["pollutant"]) for each in contents]
    columns = [list(each["columns"]).index(each["pollutant"]) for each in contents]
    center = np.array([each["center"][c] for each, c in zip(contents, columns, strict=True)])
    spread = np.array([each["spread"][c] for each, c in zip(contents, columns, strict=True)])
    ones = (len(contents), *(1,) * (asked.ndim - 1))
    center, spread = center.reshape(ones), spread.reshape(ones)
    rows, day = np.arange(len(contents)), 24 // int(contents[0].get("hours", 1))
    last, there = history[rows, -day:, place], known[rows, -day:, place]
    today = np.where(there, last, 0).sum(1) / np.maximum(there.sum(1), 1)
    normal = np.stack([np.asarray(each["normal"], np.float64) for each in contents])
    normal = (np.log1p(np.maximum(normal, 0)) - center[:, None]) / spread[:, None]
    return Context(
        history=_tensor(np.where(known, history, 0)),
        known=_tensor(known),
        season=_tensor(np.stack([each["season"] for each in contents])),
        normal=_tensor(np.where(asked[:, None], np.nan_to_num(normal), 0)),
        lead=_tensor(np.stack([each["leads"] for each in contents]) / 120),
        today=_tensor(today),
        center=_tensor(center),
        spread=_tensor(spread),
        cells=torch.from_numpy(asked),
        edges=_tensor(np.stack([each.get("edges", settings.edges) for each in contents])),
    )


def _same_size(contents: Sequence[Mapping[str, Any]], settings: ForecastSettings) -> None:
    shapes = sorted({np.shape(each["history"]) for each in contents})
    if any(len(shape) != AXES[settings.kind] for shape in shapes):
        other = "grid" if settings.kind == "station" else "station"
        raise DataError(
            f"a forecaster of kind '{settings.kind}' reads a history of {AXES[settings.kind]} axes "
            f"and was given {shapes[0]}; forecast:{'grid-' * (other == 'grid')}tiny is of kind "
            f"'{other}'"
        )
    if len(shapes) > 1:
        raise DataError(f"prompts that are answered together differ in size: {shapes[:4]}")
    classes = {len(each.get("edges", settings.edges)) + 1 for each in contents}
    if settings.head == "classes" and classes != {len(settings.edges) + 1}:
        raise DataError(
            f"this forecaster tells {len(settings.edges) + 1} classes apart, and the task has "
            f"{', '.join(map(str, sorted(classes)))}"
        )


def _asked(content: Mapping[str, Any]) -> NDArray[np.bool_]:
    """(*cells) the cells that count; all of them where the prompt names none."""
    shape = np.shape(content["history"])[2:]
    return np.broadcast_to(np.asarray(content.get("cells", True), bool), shape)


def _columns(content: Mapping[str, Any], channels: Sequence[str]) -> NDArray[np.float64]:
    """(H, C, *cells) scaled; a channel that the prompt lacks is missing throughout."""
    values = np.asarray(content["history"], np.float64)
    aligned = (-1, *(1,) * (values.ndim - 2))
    logged = np.asarray(content["logged"], bool).reshape(aligned)
    with np.errstate(invalid="ignore"):
        values = np.where(logged, np.log1p(np.maximum(values, 0)) + 0 * values, values)
    center, spread = (np.asarray(content[name]).reshape(aligned) for name in ("center", "spread"))
    values = (values - center) / spread
    there = {name: column for column, name in enumerate(content["columns"])}
    nothing = np.full_like(values[:, 0], np.nan)
    kept = [values[:, there[name]] if name in there else nothing for name in channels]
    return np.clip(np.stack(kept, axis=1), -8, 8)  # an instrument gone wild is no reason to


def _tensor(x: NDArray[Any]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(x, dtype=np.float32))
