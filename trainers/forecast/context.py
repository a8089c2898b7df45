"""context: prompts that hold arrays, as scaled tensors. Nothing is read but the prompt.

Letters: P different prompts, H hours of history, C channels, L leads. Scaled means (x - center) /
spread with the prompt's own center and spread, which its task took from the training period; what
is heavy-tailed goes through log(1 + x) first. Missing values are 0 with a mark of their own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from harness.errors import DataError
from harness.types import Prompt

NEEDED = ("history", "columns", "logged", "center", "spread", "season", "normal", "leads")


@dataclass(frozen=True)
class Context:
    """What P prompts tell."""

    history: Float[Tensor, "P H C"]
    known: Float[Tensor, "P H C"]
    """1 where there is a value."""
    season: Float[Tensor, "P L 2"]
    """Sine and cosine of the target's day of the year."""
    normal: Float[Tensor, "P L"]
    """Scaled log of the season's usual concentration: what forecasts depart from."""
    lead: Float[Tensor, "P L"]
    """In units of 5 days."""
    today: Float[Tensor, " P"]
    """Scaled log of the last 24 hours' mean, 0 where nothing is known."""
    center: Float[Tensor, " P"]
    spread: Float[Tensor, " P"]
    """Of log(1 + concentration): from what is forecast to ug/m3."""

    def take(self, rows: Sequence[int]) -> Context:
        """The context of each rollout, from that of its prompt."""
        index = torch.tensor(rows, dtype=torch.long)
        return Context(*(getattr(self, name)[index] for name in self.__dataclass_fields__))

    def concentration(self, z: Float[Tensor, "P L"]) -> Float[Tensor, "P L"]:
        """ug/m3, never below 0."""
        return torch.expm1(z * self.spread[:, None] + self.center[:, None]).clamp(min=0.0)

    def scaled(self, concentration: Float[Tensor, "P L"]) -> Float[Tensor, "P L"]:
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


def read(contents: Sequence[Mapping[str, Any]], channels: Sequence[str]) -> Context:
    """Prompts of one length of history and the same leads as tensors."""
    history = np.stack([_columns(each, channels) for each in contents])
    known = ~np.isnan(history)
    place = [list(channels).index(each["pollutant"]) for each in contents]
    columns = [list(each["columns"]).index(each["pollutant"]) for each in contents]
    rows = np.arange(len(contents))
    center = np.array([each["center"][c] for each, c in zip(contents, columns, strict=True)])
    spread = np.array([each["spread"][c] for each, c in zip(contents, columns, strict=True)])
    day, there = history[rows, -24:, place], known[rows, -24:, place]
    today = np.where(there, day, 0).sum(1) / np.maximum(there.sum(1), 1)
    normal = np.stack([np.asarray(each["normal"], np.float64) for each in contents])
    normal = (np.log1p(np.maximum(normal, 0)) - center[:, None]) / spread[:, None]
    return Context(
        history=_tensor(np.where(known, history, 0)),
        known=_tensor(known),
        season=_tensor(np.stack([each["season"] for each in contents])),
        normal=_tensor(np.nan_to_num(normal)),
        lead=_tensor(np.stack([each["leads"] for each in contents]) / 120),
        today=_tensor(today),
        center=_tensor(center),
        spread=_tensor(spread),
    )


def _columns(content: Mapping[str, Any], channels: Sequence[str]) -> NDArray[np.float64]:
    """(H, C) scaled; a channel that the prompt lacks is missing throughout."""
    values = np.asarray(content["history"], np.float64)
    logged = np.asarray(content["logged"], bool)
    with np.errstate(invalid="ignore"):
        values = np.where(logged, np.log1p(np.maximum(values, 0)) + 0 * values, values)
    values = (values - np.asarray(content["center"])) / np.asarray(content["spread"])
    there = {name: column for column, name in enumerate(content["columns"])}
    nothing = np.full(len(values), np.nan)
    kept = [values[:, there[name]] if name in there else nothing for name in channels]
    return np.clip(np.stack(kept, axis=1), -8, 8)  # an instrument gone wild is no reason to


def _tensor(x: NDArray[Any]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(x, dtype=np.float32))
