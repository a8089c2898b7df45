"""_air_text: a station in words, for language models: history in the prompt, JSON out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from harness import Example, Message, Prompt
from tasks._air_cases import CLASSES, LEADS, Site
from tasks._air_series import CHANNELS

WEATHER = {"TEMP": "deg C", "PRES": "hPa", "DEWP": "deg C dew point", "RAIN": "mm", "WSPM": "m/s"}


def prompt(site: Site, example: Example, edges: Sequence[float]) -> Prompt:
    """Seven daily means, 24 hourly values, the weather at issue time; JSON is asked for."""
    content = site.content(example.inputs["issued"])
    history, pollutant = content["history"], content["pollutant"]
    hours = history[:, CHANNELS.index(pollutant)]
    days = [_mean(day) for day in hours.reshape(-1, 24)]
    now = {name: history[-1, CHANNELS.index(name)] for name in WEATHER}
    weather = [f"{name} {x:.1f} {WEATHER[name]}" for name, x in now.items() if not np.isnan(x)]
    bounds = ["up to " + f"{edge:g}" for edge in edges] + ["above"]
    scale = ", ".join(f"{name} {bound}" for name, bound in zip(CLASSES, bounds, strict=True))
    normal = ", ".join(
        f"{lead} h {x:.0f}" for lead, x in zip(LEADS, content["normal"], strict=True)
    )
    form = ", ".join(f'"{lead}": "..."' for lead in LEADS)
    text = (
        f"{pollutant} at {content['station']}, in ug/m3, at the end of {content['issued']}.\n"
        f"Daily means of the last 7 days: {', '.join(days)}.\n"
        f"Hourly values of the last 24 hours: {', '.join(_shown(x) for x in hours[-24:])}.\n"
        f"Weather now: {', '.join(weather) or 'unknown'}.\n"
        f"Usual daily mean of the season: {normal}.\n"
        f"Classes of a daily mean: {scale}.\n"
        f"Forecast the class of the daily mean that ends so many hours from now. "
        f"Answer with JSON alone: {{{form}}}"
    )
    return Prompt(example, (Message("user", text),))


def _mean(hours: np.ndarray) -> str:
    known = hours[~np.isnan(hours)]
    return f"{known.mean():.0f}" if len(known) >= 18 else "unknown"


def _shown(value: float) -> str:
    return "unknown" if np.isnan(value) else f"{value:.0f}"
