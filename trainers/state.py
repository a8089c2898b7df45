"""state: checkpoints that a kill at any moment leaves whole, and that continue exactly.

step-000010/
  state.json            step, counters, generator, memory, ledger, best looks, recipe
  tensors.safetensors   optimizer state, torch's generators, tensors and arrays of the memory
  <role>/               the policy of each role, as its family saves it
  sha256.json           digest of every other file

A checkpoint is written beside its place and renamed; one that goes is renamed before it is removed.
So what has the name of a checkpoint is whole, or was damaged later, which its digests tell. No
pickle anywhere.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from harness.disk import is_full
from harness.errors import DataError, ModelError, UsageError
from trainers.shards import like, whole

TENSOR, ARRAY, FLOAT = "$tensor", "$numpy", "$float"
DIGESTS = "sha256.json"
NUMBERS = tuple(
    np.dtype(kind)
    for kind in "bool int8 int16 int32 int64 uint8 float16 float32 float64 complex64".split()
)
"""Arrays that safetensors holds as they are."""


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of a run."""

    folder: Path
    keep: int = 2
    """So many of the last ones stay, besides those that `save` is told are the best."""

    def path(self, step: int) -> Path:
        """Where the checkpoint of a step lies."""
        return self.folder / f"step-{step:06d}"

    def steps(self) -> list[int]:
        """The steps that there are, in order."""
        found = [path.name.removeprefix("step-") for path in self.folder.glob("step-*")]
        return sorted(int(name) for name in found if name.isdecimal())

    def save(
        self,
        step: int,
        state: Mapping[str, Any],
        tensors: Mapping[str, Tensor],
        write: Callable[[Path], None],
        best: Iterable[int] = (),
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
            (draft / DIGESTS).write_text(json.dumps(digests(draft), indent=1), "utf-8")
            _sync(draft)
            self._remove(step)
            draft.replace(self.path(step))
            _sync_path(self.folder)
        except Exception as error:  # safetensors and tokenizers raise their own when a disk is full
            shutil.rmtree(draft, ignore_errors=True)
            raise DataError(_unwritten(self.path(step), error)) from error
        self._drop({step, *best})

    def load(self, step: int) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """State and tensors of a step; ModelError where they are damaged."""
        path = self.path(step)
        try:
            _check(path)
            tensors = load_file(path / "tensors.safetensors")
            state = unpack(json.loads((path / "state.json").read_text("utf-8")), tensors)
        except Exception as error:
            raise ModelError(
                f"the checkpoint {path} is damaged ({type(error).__name__}: {error})"
            ) from error
        return state, tensors

    def newest(
        self, say: Callable[[str], None]
    ) -> tuple[int, dict[str, Any], dict[str, Tensor]] | None:
        """Step, state and tensors of the last one that is whole; None where there never was one.

        One that is damaged is passed over, and `say` is told. ModelError where all are.
        """
        damaged: list[str] = []
        for step in reversed(self.steps()):
            try:
                state, tensors = self.load(step)
            except ModelError as error:
                damaged.append(str(error))
                continue
            for each in damaged:
                say(f"{each}; going on from step {step} instead")
            return step, state, tensors
        if damaged:
            raise ModelError(
                f"{damaged[0]}, and there is no whole one before it; --fresh begins anew"
            )
        return None

    def clean(self) -> None:
        """Remove what a kill left half-written."""
        for draft in self.folder.glob(".step-*.part"):
            shutil.rmtree(draft, ignore_errors=True)

    def _drop(self, kept: set[int]) -> None:
        for step in self.steps()[: -self.keep]:
            if step not in kept:
                self._remove(step)

    def _remove(self, step: int) -> None:
        """By another name first: a kill must leave no half of a checkpoint under its own."""
        gone = self.folder / f".step-{step:06d}.gone.part"
        if self.path(step).exists():
            shutil.rmtree(gone, ignore_errors=True)
            self.path(step).replace(gone)
            shutil.rmtree(gone, ignore_errors=True)


def pack(value: Any, tensors: dict[str, Tensor], place: str = "memory") -> Any:
    """A value as JSON, its arrays and tensors put into `tensors`.

    Refuses what would not come back as it was: sets, tuples, other keys than strings, objects.
    """
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if np.isfinite(value) else {FLOAT: repr(value)}
    if isinstance(value, Tensor) and value.layout == torch.strided:
        where = "" if value.device.type == "cpu" else str(value.device)
        return {TENSOR: _put(value, tensors, place), **({"device": where} if where else {})}
    if isinstance(value, np.ndarray) and value.dtype in NUMBERS:
        held = torch.from_numpy(np.array(value, order="C"))
        return {ARRAY: _put(held, tensors, place), "shape": list(value.shape)}
    if isinstance(value, list):
        return [pack(each, tensors, f"{place}.{n}") for n, each in enumerate(value)]
    if isinstance(value, dict) and all(isinstance(k, str) and k[:1] != "$" for k in value):
        return {key: pack(each, tensors, f"{place}.{key}") for key, each in value.items()}
    raise UsageError(
        f"{place} holds a {type(value).__name__}, which a checkpoint cannot give back as it was; "
        "keep numbers, text, lists, tables with text keys (not beginning with $), arrays of "
        "numbers or tensors in run.memory"
    )


def _put(x: Tensor, tensors: dict[str, Tensor], place: str) -> str:
    """The name under which it is held; two paths may spell alike, as a.b and {a: {b: }} do."""
    while place in tensors:
        place += "'"
    tensors[place] = x
    return place


def unpack(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    """What `pack` was given."""
    if isinstance(value, list):
        return [unpack(each, tensors) for each in value]
    if not isinstance(value, dict):
        return value
    if FLOAT in value:
        return float(value[FLOAT])
    if TENSOR in value:
        return tensors[value[TENSOR]].to(value.get("device", "cpu"))
    if ARRAY in value:
        return tensors[value[ARRAY]].numpy().reshape(value["shape"])
    return {key: unpack(each, tensors) for key, each in value.items()}


def optimizer_tensors(optimizer: torch.optim.Optimizer, role: str) -> dict[str, Tensor]:
    """An optimizer's state by name; its settings are the recipe's. Counts become tensors.

    With shards, a meeting.
    """
    return {
        f"optimizer.{role}.{number}.{name}": torch.tensor(x) if isinstance(x, int) else whole(x)
        for number, weight in enumerate(_learning(optimizer))
        for name, x in optimizer.state.get(weight, {}).items()
    }


def restore_optimizer(
    optimizer: torch.optim.Optimizer, role: str, tensors: Mapping[str, Tensor]
) -> None:
    """Give an optimizer the state that `optimizer_tensors` took."""
    state: dict[int, dict[str, Tensor | int]] = {}
    prefix = f"optimizer.{role}."
    learning = [weight for group in optimizer.param_groups for weight in group["params"]]
    for key, x in tensors.items():
        if key.startswith(prefix):
            number, _, name = key.removeprefix(prefix).partition(".")
            if x.dim() == 0 and x.dtype == torch.int64:
                state.setdefault(int(number), {})[name] = int(x)
                continue
            weight = learning[int(number)]
            held = like(x, weight) if x.shape == weight.shape else x
            state.setdefault(int(number), {})[name] = held
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def generators() -> dict[str, Tensor]:
    """The states of torch's own generators."""
    held = {"torch.generator": torch.get_rng_state()}
    if torch.cuda.is_available():
        states = torch.cuda.get_rng_state_all()
        held |= {f"torch.cuda.{number}": state for number, state in enumerate(states)}
    return held


def restore_generators(tensors: Mapping[str, Tensor]) -> None:
    """Set torch's generators to what `generators` took."""
    torch.set_rng_state(tensors["torch.generator"])
    cards = torch.cuda.device_count() if torch.cuda.is_available() else 0
    for number in range(cards):
        if f"torch.cuda.{number}" in tensors:
            torch.cuda.set_rng_state(tensors[f"torch.cuda.{number}"], number)


def digests(folder: Path) -> dict[str, str]:
    """sha256 of every file below, by its path in the folder."""
    found: dict[str, str] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and name != DIGESTS:
            with path.open("rb") as file:
                found[name] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def _check(path: Path) -> None:
    """Raises OSError or ValueError where a file is not what was written."""
    told = json.loads((path / DIGESTS).read_text("utf-8"))
    there = digests(path)
    for name, digest in told.items():
        if there.get(name) != digest:
            raise ValueError(f"{name} is {'changed' if name in there else 'missing'}")


def _sync_path(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _learning(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    return [weight for group in optimizer.param_groups for weight in group["params"]]


def _sync(folder: Path) -> None:
    for path in [*folder.rglob("*"), folder]:
        _sync_path(path)


def _unwritten(path: Path, error: Exception) -> str:
    why = "the disk is full" if is_full(error) else f"{type(error).__name__}: {error}"
    return (
        f"cannot write the checkpoint {path}: {why}. Earlier checkpoints are kept; mend it and run "
        "the same command again to go on from the last one"
    )
