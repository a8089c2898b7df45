"""state: checkpoints that a kill at any moment leaves whole, and that continue exactly.

step-000010/
  state.json            step, counters, generator, memory, ledger, best, optimizer's settings
  tensors.safetensors   optimizer state, torch's generator, tensors and arrays of the memory
  <role>/               the policy of each role, as its family saves it

A checkpoint is written beside its place and renamed. No pickle anywhere.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from harness.errors import DataError, ModelError, UsageError
from trainers.shards import like, whole

TENSOR, ARRAY, FLOAT = "$tensor", "$numpy", "$float"


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of a run."""

    folder: Path
    keep: int = 2
    """So many of the last ones stay; the best one always does."""

    def path(self, step: int) -> Path:
        """Where the checkpoint of a step lies."""
        return self.folder / f"step-{step:06d}"

    def steps(self) -> list[int]:
        """The steps that there are, in order."""
        found = self.folder.glob("step-*/state.json")
        return sorted(int(path.parent.name.removeprefix("step-")) for path in found)

    def save(
        self,
        step: int,
        state: Mapping[str, Any],
        tensors: Mapping[str, Tensor],
        write: Callable[[Path], None],
        best: int | None,
    ) -> None:
        """Write one whole or not at all; `write` adds the policies. DataError where it fails."""
        draft = self.folder / f".step-{step:06d}.part"
        extra: dict[str, Tensor] = dict(tensors)
        table = pack(state, extra)
        try:
            self.clean()
            draft.mkdir(parents=True)
            write(draft)
            held = {name: x.detach().cpu().contiguous().clone() for name, x in extra.items()}
            save_file(held, draft / "tensors.safetensors")
            (draft / "state.json").write_text(json.dumps(table, indent=1), "utf-8")
            _sync(draft)
            if self.path(step).exists():
                shutil.rmtree(self.path(step))
            draft.replace(self.path(step))
        except Exception as error:  # safetensors and tokenizers raise their own when a disk is full
            shutil.rmtree(draft, ignore_errors=True)
            raise DataError(_unwritten(self.path(step), error)) from error
        self._drop({step, best} if best is not None else {step})

    def load(self, step: int) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """State and tensors of a step; ModelError where they are damaged."""
        path = self.path(step)
        try:
            tensors = load_file(path / "tensors.safetensors")
            state = unpack(json.loads((path / "state.json").read_text("utf-8")), tensors)
        except Exception as error:
            raise ModelError(
                f"the checkpoint {path} is damaged ({type(error).__name__}: {error}); remove that "
                "folder to go on from the one before it"
            ) from error
        return state, tensors

    def clean(self) -> None:
        """Remove what a kill left half-written."""
        for draft in self.folder.glob(".step-*.part"):
            shutil.rmtree(draft, ignore_errors=True)

    def _drop(self, kept: set[int]) -> None:
        steps = self.steps()
        for step in steps[: -self.keep]:
            if step not in kept:
                shutil.rmtree(self.path(step), ignore_errors=True)


def pack(value: Any, tensors: dict[str, Tensor], place: str = "memory") -> Any:
    """A value as JSON, its arrays and tensors put into `tensors`.

    Refuses what would not come back as it was: sets, tuples, other keys than strings, objects.
    """
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if np.isfinite(value) else {FLOAT: repr(value)}
    if isinstance(value, Tensor):
        tensors[place] = value
        return {TENSOR: place}
    if isinstance(value, np.ndarray) and value.dtype != object:
        tensors[place] = torch.from_numpy(np.ascontiguousarray(value))
        return {ARRAY: place, "shape": list(value.shape)}
    if isinstance(value, list):
        return [pack(each, tensors, f"{place}.{n}") for n, each in enumerate(value)]
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {key: pack(each, tensors, f"{place}.{key}") for key, each in value.items()}
    raise UsageError(
        f"{place} holds a {type(value).__name__}, which a checkpoint cannot give back as it was; "
        "keep numbers, text, lists, tables with text keys, arrays or tensors in run.memory"
    )


def unpack(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    """What `pack` was given."""
    if isinstance(value, list):
        return [unpack(each, tensors) for each in value]
    if not isinstance(value, dict):
        return value
    if FLOAT in value:
        return float(value[FLOAT])
    if TENSOR in value:
        return tensors[value[TENSOR]]
    if ARRAY in value:
        return tensors[value[ARRAY]].numpy().reshape(value["shape"])
    return {key: unpack(each, tensors) for key, each in value.items()}


def optimizer_tensors(optimizer: torch.optim.Optimizer, role: str) -> dict[str, Tensor]:
    """An optimizer's state by name; its settings are the recipe's. With shards, a meeting."""
    state = optimizer.state_dict()["state"]
    return {
        f"optimizer.{role}.{number}.{name}": whole(x)
        for number, held in state.items()
        for name, x in held.items()
    }


def restore_optimizer(
    optimizer: torch.optim.Optimizer, role: str, tensors: Mapping[str, Tensor]
) -> None:
    """Give an optimizer the state that `optimizer_tensors` took."""
    state: dict[int, dict[str, Tensor]] = {}
    prefix = f"optimizer.{role}."
    learning = [weight for group in optimizer.param_groups for weight in group["params"]]
    for key, x in tensors.items():
        if key.startswith(prefix):
            number, _, name = key.removeprefix(prefix).partition(".")
            weight = learning[int(number)]
            held = like(x, weight) if x.shape == weight.shape else x
            state.setdefault(int(number), {})[name] = held
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def _sync(folder: Path) -> None:
    for path in [*folder.rglob("*"), folder]:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _unwritten(path: Path, error: Exception) -> str:
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    full = full or "No space left" in str(error)
    why = "the disk is full" if full else f"{type(error).__name__}: {error}"
    return (
        f"cannot write the checkpoint {path}: {why}. Earlier checkpoints are kept; mend it and run "
        "the same command again to go on from the last one"
    )
