"""Optimizers by a recipe's setting: what they need, and that they go on exactly."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from harness.errors import MissingExtra
from tests.trainer_builders import tiny
from trainers.optimizers import make_optimizer
from trainers.policies.text import TextPolicy
from trainers.recipe import AdamW
from trainers.recipes.grpo import RECIPE
from trainers.state import optimizer_tensors, restore_optimizer
from trainers.written import change

KINDS = ("float32", "8bit")


def stepped(policy: TextPolicy, optimizer: torch.optim.Optimizer, seed: int) -> list[torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    for weight in policy.parameters():
        weight.grad = torch.randn(weight.shape, generator=draw)
    for group in optimizer.param_groups:
        group["lr"] = 1e-2
    optimizer.step()
    return [weight.detach().clone() for weight in policy.parameters()]


def made(kind: str, policy: TextPolicy) -> torch.optim.Optimizer:
    if kind == "8bit":
        pytest.importorskip("bitsandbytes")
    (setting,) = [f"optimizer.moments={kind}"]
    return make_optimizer(change(RECIPE, [setting]).optimizer, policy)


@pytest.mark.parametrize("kind", KINDS)
def test_the_state_goes_through_a_file_and_on_exactly(kind: str, tmp_path: Path):
    one, other = tiny(), tiny()
    first, second = made(kind, one), made(kind, other)
    for seed in range(3):
        stepped(one, first, seed)
    held = {name: x.clone() for name, x in optimizer_tensors(first, "solver").items()}
    save_file(held, tmp_path / "state")
    restore_optimizer(second, "solver", load_file(tmp_path / "state"))
    with torch.no_grad():
        for weight, source in zip(other.parameters(), one.parameters(), strict=True):
            weight.copy_(source)
    for seed in range(3, 6):
        pairs = zip(stepped(one, first, seed), stepped(other, second, seed), strict=True)
        assert all(torch.equal(a, b) for a, b in pairs)


def test_moments_of_8_bits_are_small_and_go_nearly_the_same_way():
    exact, coarse = tiny(), tiny()
    first, second = made("float32", exact), made("8bit", coarse)
    begin = [weight.detach().clone() for weight in exact.parameters()]
    for seed in range(3):
        wanted, found = stepped(exact, first, seed), stepped(coarse, second, seed)
    moved = torch.cat([(a - b).flatten() for a, b in zip(wanted, begin, strict=True)])
    also = torch.cat([(a - b).flatten() for a, b in zip(found, begin, strict=True)])
    assert float(torch.nn.functional.cosine_similarity(moved, also, dim=0)) > 0.99
    sizes = [
        sum(x.nbytes for x in optimizer_tensors(o, "").values() if x.numel() >= 4096)
        for o in (first, second)
    ]
    assert 0 < sizes[1] < 0.3 * sizes[0]


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(MissingExtra, match="8bit"):
        make_optimizer(AdamW(moments="8bit"), tiny())
