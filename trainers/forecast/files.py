"""files: a forecaster as a folder of settings (JSON) and weights (safetensors)."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from torch import nn

from harness.errors import ModelError, UsageError
from harness.journal import write_whole
from trainers.forecast.settings import ForecastSettings

SETTINGS, WEIGHTS = "forecast.json", "model.safetensors"
LISTS = ("channels", "edges")


def settings_in(path: Path) -> ForecastSettings:
    """Those that `write` stored; ModelError where they cannot be read."""
    try:
        table = json.loads((path / SETTINGS).read_text("utf-8"))
        lists = {name: tuple(table[name]) for name in LISTS if name in table}
        return ForecastSettings(**{**table, **lists})
    except (OSError, ValueError, TypeError, KeyError, UsageError) as error:
        raise ModelError(f"{path / SETTINGS} cannot be read: {error}") from error


def write(network: nn.Module, settings: ForecastSettings, path: Path) -> None:
    """Both files, each whole or not at all."""
    from safetensors.torch import save

    path.mkdir(parents=True, exist_ok=True)
    tensors = {name: x.contiguous() for name, x in network.state_dict().items()}
    write_whole(path / SETTINGS, json.dumps(asdict(settings), indent=1))
    write_whole(path / WEIGHTS, save(tensors))


def restore(network: nn.Module, path: Path) -> None:
    """Take over stored weights; ModelError where they are damaged, or of another network."""
    from safetensors.torch import load_file

    try:
        network.load_state_dict(load_file(path / WEIGHTS))
    except Exception as error:  # safetensors raises an error of its own, torch a RuntimeError
        raise ModelError(f"{path / WEIGHTS} cannot be read: {error}") from error
