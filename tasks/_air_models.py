"""_air_models: forecasters that ship with the task: what skill is measured against."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness import Completion, Prompt, Sampling, Split, Task
from tasks._air_series import CHANNELS, ENOUGH

Content = Mapping[str, Any]
ALARM, QUIET = 900.0, 0.0
"""ug/m3: of the highest and of the lowest class, whatever the edges."""


def persistence(content: Content) -> NDArray[np.float64]:
    """(L,) the issue day's own mean at every lead; NaN where it has fewer than 18 valid hours.

    Of fields (L, Y, X) the last frame; NaN where it is missing.
    """
    if "cells" in content:
        layer = list(content["columns"]).index(content["pollutant"])
        last = content["history"][-1, layer].astype(np.float64)
        return np.stack([last] * len(content["leads"]))
    hours = content["history"][-24:, CHANNELS.index(content["pollutant"])].astype(np.float64)
    known = hours[~np.isnan(hours)]
    value = known.mean() if len(known) >= ENOUGH else np.nan
    return np.full(len(content["leads"]), value)


def climatology(content: Content) -> NDArray[np.float64]:
    """(L,) the training years' mean of the target's calendar month; of fields (L, Y, X), and of the
    time of the day."""
    return np.asarray(content["normal"], np.float64)


def always(content: Content) -> NDArray[np.float64]:
    """(L,) or (L, Y, X): an alarm at every lead."""
    return np.full(np.shape(content["normal"]), ALARM)


def never(content: Content) -> NDArray[np.float64]:
    """(L,) or (L, Y, X): no alarm at all."""
    return np.full(np.shape(content["normal"]), QUIET)


class Rule:
    """A forecast that follows from the prompt's arrays alone."""

    independent = True

    def __init__(self, name: str, rule: Callable[[Content], NDArray[np.float64]]) -> None:
        self.name = name
        self.rule = rule

    def answer(self, prompts: Sequence[Prompt]) -> Iterator[tuple[int, Completion]]:
        """The rule's series for each prompt."""
        for number, prompt in enumerate(prompts):
            forecast = self.rule(prompt.messages[0].content)
            yield number, Completion(forecast, steps=len(forecast))

    def describe(self) -> Mapping[str, Any]:
        """Nothing but its name."""
        return {"engine": self.name}


def _factory(
    name: str, rule: Callable[[Content], NDArray[np.float64]]
) -> Callable[[Task, Split, Sampling], Rule]:
    return lambda task, split, sampling: Rule(name, rule)


RULES = {"persistence": persistence, "climatology": climatology, "always": always, "never": never}
MODELS = {name: _factory(name, rule) for name, rule in RULES.items()}
