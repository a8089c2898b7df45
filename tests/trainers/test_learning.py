"""The end-to-end truth: a tiny model gets better at what it is paid for, on questions held out."""

from math import comb
from pathlib import Path

import pytest

from harness import registry
from harness.models import Sampling
from harness.play import play
from harness.types import Rollout
from tests.trainer_builders import digits, tiny
from trainers.loop import Plan, Training
from trainers.policies.text import TextPolicy
from trainers.recipe import AdamW
from trainers.recipes.grpo import RECIPE as GRPO
from trainers.samplers import Uniform


def close_on_test(policy: TextPolicy) -> list[float]:
    """Mean nearness of each held-out example, over eight attempts."""
    task = digits()
    policy.sampling = Sampling(max_tokens=2, seed=11)
    prompts = [task.prompt(example).but(rollouts=8) for example in task.examples("test")]
    found: dict[str, float] = {prompt.example.id: 0.0 for prompt in prompts}
    for rollout in play(task, prompts, policy):
        assert isinstance(rollout, Rollout)
        found[rollout.example.id] += rollout.verdict.scores["close"] / 8
    return list(found.values())


def sign_test(gains: list[float]) -> float:
    """One-sided p that so many of the examples gain by chance."""
    moved = [gain for gain in gains if gain != 0]
    up = sum(gain > 0 for gain in moved)
    return sum(comb(len(moved), k) for k in range(up, len(moved) + 1)) / 2 ** len(moved)


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_tiny_learns_significantly(tmp_path: Path, seed: int):
    policy = tiny(seed=seed)
    before = close_on_test(policy)
    recipe = GRPO.but(
        samplers=Uniform(prompts=8, rollouts=8), optimizer=AdamW(lr=3e-3), steps=40, max_tokens=2
    )
    plan = Plan(seed=seed, dev_every=0, save_every=100)
    Training(digits(), recipe, {"solver": policy}, tmp_path, plan).train()
    gains = [after - old for after, old in zip(close_on_test(policy), before, strict=True)]
    assert sum(gains) / len(gains) > 0.3
    assert sign_test(gains) < 1e-6


@pytest.mark.slow
@pytest.mark.parametrize("name", ["dr_grpo", "dapo", "gspo", "rloo", "cispo"])
def test_the_recipes_of_peers_learn_too(tmp_path: Path, name: str):
    policy = tiny()
    before = close_on_test(policy)
    recipe = registry.recipe(name).but(optimizer=AdamW(lr=3e-3), steps=40, max_tokens=4)
    plan = Plan(dev_every=0, save_every=100)
    Training(digits(), recipe, {"solver": policy}, tmp_path, plan).train()
    gains = [after - old for after, old in zip(close_on_test(policy), before, strict=True)]
    assert sum(gains) / len(gains) > 0.2
    assert sign_test(gains) < 1e-4


@pytest.mark.slow
def test_an_adapter_learns_too(tmp_path: Path):
    from trainers.text.settings import LoRA

    policy = tiny(adapter=LoRA(rank=8, alpha=32.0))
    before = close_on_test(policy)
    recipe = GRPO.but(optimizer=AdamW(lr=1e-2), steps=40, max_tokens=2)
    plan = Plan(dev_every=0, save_every=100)
    Training(digits(), recipe, {"solver": policy}, tmp_path, plan).train()
    gains = [after - old for after, old in zip(close_on_test(policy), before, strict=True)]
    assert sign_test(gains) < 1e-4


@pytest.mark.slow
def test_the_reference_holds_it_back(tmp_path: Path):
    from trainers.losses import Clipped, KLToReference

    gains = []
    for name, beta in (("free", 0.0), ("held", 5.0)):
        policy = tiny()
        before = close_on_test(policy)
        losses = (Clipped(), KLToReference(beta))
        recipe = GRPO.but(optimizer=AdamW(lr=3e-3), steps=25, max_tokens=2, losses=losses)
        plan = Plan(dev_every=0, save_every=100)
        Training(digits(), recipe, {"solver": policy}, tmp_path / name, plan).train()
        gains.append(sum(close_on_test(policy)) - sum(before))
    assert gains[1] < gains[0] / 2


def test_sign_test_by_hand():
    assert sign_test([1.0, 1.0, 1.0]) == pytest.approx(1 / 8)
    assert sign_test([1.0, 0.0, -1.0]) == pytest.approx(3 / 4)
