"""Several processes train to what one trains to: world size as a row of conformance.

Each test starts two processes of this very module, which train, compare, and exit with 0.
"""

from __future__ import annotations

import math
import os
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from harness.errors import DataError
from harness.journal import Journal
from harness.models import Sampling
from harness.types import Rollout
from tests.trainer_builders import digits
from trainers.advantages import CenterByMean
from trainers.contracts import CLOCKS
from trainers.launch import launch
from trainers.loop import Plan, Training
from trainers.losses import Clipped, Discriminate, KLBarrier, KLToReference
from trainers.policies.text import open_text
from trainers.recipe import AdamW, Recipe
from trainers.recipes.grpo import RECIPE as GRPO
from trainers.samplers import Uniform
from trainers.text.settings import LoRA
from trainers.weights import MeanOverGroups, MeanOverSteps
from trainers.world import ALONE, World, joined

SHORT = GRPO.but(
    samplers=Uniform(prompts=4, rollouts=4),
    optimizer=AdamW(lr=3e-3),
    steps=3,
    epochs=2,
    max_tokens=6,
)
REFERENCE = SHORT.but(losses=(Clipped(), KLToReference(0.04)), weights=(MeanOverSteps(),))
BOUND = SHORT.but(
    steps=2,
    advantages=(CenterByMean(),),
    weights=(MeanOverGroups(),),
    losses=(Discriminate(), KLBarrier()),
    whole_groups=True,
)
"""Its second update needs a number of the whole batch."""


@dataclass
class Kept:
    """A store in memory."""

    rollouts: list[tuple[int, Rollout]] = field(default_factory=list)

    def keep(self, phase: str, step: int, rollouts: Sequence[tuple[Rollout, float | None]]) -> None:
        self.rollouts += [(step, rollout) for rollout, _ in rollouts if phase == "train"]

    def prune(self, step: int) -> None:
        self.rollouts = [(n, rollout) for n, rollout in self.rollouts if n <= step]


def training(
    folder: Path, world: World, recipe: Recipe, *, positions: int = 4096, **settings: Any
) -> Training:
    """A tiny policy on digits; batches of one group, so that shares change no batch."""
    policy = open_text("tiny", Sampling(), dtype="float32", batch_size=4, world=world, **settings)
    plan = Plan(dev_every=3, save_every=2, positions=positions, keep=9)
    return Training(digits(), recipe, {"solver": policy}, folder, plan, Kept(), world=world)


def log(folder: Path) -> list[dict[str, float]]:
    lines = Journal(folder / "metrics.jsonl").read()
    return [{k: v for k, v in x.items() if not k.startswith(CLOCKS)} for x in lines]


def weights(folder: Path, step: int, name: str = "model") -> dict[str, torch.Tensor]:
    return load_file(folder / f"checkpoints/step-{step:06d}/solver/{name}.safetensors")


def same_run(folder: Path, world: World, recipe: Recipe, **settings: Any) -> None:
    """One process and several end at the same weights, by the same rollouts and numbers."""
    shared = training(folder / "several", world, recipe, **settings)
    shared.train()
    assert isinstance(shared.store, Kept)
    if not world.first:
        return
    if settings.pop("sharding", "none") != "none":
        settings["fused"] = False  # shards answer by transformers' own forward
    single = training(folder / "one", ALONE, recipe, **settings)
    single.train()
    assert isinstance(single.store, Kept)
    name = "adapter_model" if "adapter" in settings else "model"
    ours, theirs = (weights(folder / x, recipe.steps, name) for x in ("several", "one"))
    assert ours.keys() == theirs.keys()
    for key, held in theirs.items():
        gap = float((ours[key] - held).norm() / held.norm().clamp(min=1e-30))
        assert gap < 1e-5, (key, gap)
    lines = zip(log(folder / "several"), log(folder / "one"), strict=True)
    for line, other in lines:
        assert line.keys() == other.keys()
        for key, value in other.items():
            assert math.isclose(line[key], value, rel_tol=1e-4, abs_tol=1e-5), (key, line[key])
    played = zip(shared.store.rollouts, single.store.rollouts, strict=True)
    for (step, rollout), (_, other) in played:
        said, told = rollout.completion, other.completion
        assert (rollout.example.id, rollout.attempt) == (other.example.id, other.attempt)
        assert said.trace == told.trace
        assert said.logprobs is not None
        assert told.logprobs is not None
        # later weights differ in their last bits, as sums have another order; so do shares that
        # cut a batch of one process
        if step == 1 and recipe.samplers == SHORT.samplers:
            assert (said.logprobs == told.logprobs).all()
        assert abs(said.logprobs - told.logprobs).max() < 1e-4


def equal(folder: Path, world: World) -> None:
    same_run(folder / "a", world, SHORT)
    same_run(folder / "b", world, REFERENCE, positions=30)
    same_run(folder / "c", world, SHORT.but(steps=2), adapter=LoRA(rank=4))
    same_run(folder / "d", world, SHORT.but(samplers=Uniform(prompts=1, rollouts=3)))
    same_run(folder / "e", world, BOUND, positions=30)


def spread(folder: Path, world: World) -> None:
    same_run(folder / "a", world, SHORT, sharding="fsdp")
    same_run(folder / "b", world, REFERENCE, positions=30, checkpointing=True, sharding="fsdp")
    same_run(folder / "c", world, SHORT.but(steps=2), adapter=LoRA(rank=4), sharding="fsdp")
    same_run(folder / "d", world, SHORT.but(samplers=Uniform(1, 3)), sharding="fsdp")
    same_run(folder / "e", world, BOUND, positions=30, sharding="fsdp")


def continued(folder: Path, world: World) -> None:
    """A run that was stopped and goes on ends where the unbroken one does, to the bit."""
    for name, sharding in (("shares", "none"), ("spread", "fsdp")):
        whole, broken = folder / name / "whole", folder / name / "broken"
        training(whole, world, SHORT, sharding=sharding).train()
        first = training(broken, world, SHORT, sharding=sharding)

        def stop(step: int, numbers: Any, first: Training = first) -> None:
            first.stopping = step == 2 and world.first  # a signal that one process alone saw

        first.report = stop
        with pytest.raises(KeyboardInterrupt):
            first.train()
        training(broken, world, SHORT, sharding=sharding).train()
        assert log(whole) == log(broken)
        ours, theirs = weights(broken, 3), weights(whole, 3)
        assert all(torch.equal(ours[key], held) for key, held in theirs.items())


def failing(folder: Path, world: World) -> None:
    """The second process meets bad data, while the first waits for it."""
    if not world.first:
        raise DataError("the seventh row is damaged; get the file again")
    world.gather("nobody comes")


def killed(folder: Path, world: World) -> None:
    if not world.first:
        os.kill(os.getpid(), signal.SIGKILL)
    world.gather("nobody comes")


CASES: dict[str, Callable[[Path, World], None]] = {
    "equal": equal,
    "spread": spread,
    "continued": continued,
    "failing": failing,
    "killed": killed,
}


def together(case: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """The exit code of two processes of this module."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).resolve().parent.parent.parent))
    return launch(2, [case, str(folder)], "tests.trainers.test_processes")


@pytest.mark.slow
@pytest.mark.parametrize("case", ["equal", "spread", "continued"])
def test_two_processes_train_to_what_one_does(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    assert together(case, tmp_path, monkeypatch) == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("case", "code", "said"),
    [
        ("failing", 3, "process 1 of 2: the seventh row is damaged; get the file again"),
        ("killed", 128 + signal.SIGKILL, "process 0 of 2 waits in vain: another one was killed"),
    ],
)
def test_an_error_anywhere_ends_all_processes_with_one_message(
    case: str,
    code: int,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
):
    assert together(case, tmp_path, monkeypatch) == code
    told = capfd.readouterr().err
    assert said in told
    assert told.count("error:") == 1


def main() -> None:
    """What each of the processes does."""
    from harness.errors import HarnessError

    torch.set_num_threads(1)
    try:
        with joined() as world:
            CASES[sys.argv[1]](Path(sys.argv[2]), world)
    except HarnessError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.code)


if __name__ == "__main__":
    main()
