"""From rollouts to the texts that a review has to read: turns that continue each other are one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Places = Callable[[Sequence[int]], NDArray[np.int64]]
"""Tokens of a whole text to (A, L): where each stands, for models that count along several axes."""


@dataclass(frozen=True)
class Said:
    """One turn as tokens: what was read, what was said, and at which temperature."""

    prompt: Sequence[int]
    ids: Sequence[int]
    own: Sequence[bool]
    """False for tokens that were put into the policy's mouth."""
    temperature: float


@dataclass
class Text:
    """One text to be read, and which of its tokens are steps."""

    ids: list[int]
    prompt: int
    """Tokens before the first step."""
    places: list[int] = field(default_factory=list)
    """Of each step, in `ids`."""
    rows: list[int] = field(default_factory=list)
    columns: list[int] = field(default_factory=list)
    """Of each step, in (N, T)."""
    temperatures: list[float] = field(default_factory=list)
    own: list[bool] = field(default_factory=list)

    @property
    def head(self) -> tuple[int, ...]:
        """What stands before the first step: rollouts of one group share it."""
        return tuple(self.ids[: self.prompt])

    @property
    def tail(self) -> list[int]:
        """What has to be read after the head: all but the last token, which predicts nothing."""
        return self.ids[self.prompt : -1]


def layout(rollouts: Iterable[Sequence[Said]]) -> list[Text]:
    """The texts of all rollouts; turns without steps are left out."""
    texts: list[Text] = []
    for row, turns in enumerate(rollouts):
        column = 0
        text: Text | None = None
        for said in turns:
            if not said.ids:
                continue
            if text is None or list(said.prompt[: len(text.ids)]) != text.ids:
                text = Text(list(said.prompt), len(said.prompt))
                texts.append(text)
            else:
                text.ids += said.prompt[len(text.ids) :]
            steps = len(said.ids)
            text.places += range(len(text.ids), len(text.ids) + steps)
            text.ids += said.ids
            text.rows += [row] * steps
            text.columns += range(column, column + steps)
            text.temperatures += [said.temperature] * steps
            text.own += said.own
            column += steps
    return texts
