"""Gradients of dr_grpo, gspo and cispo as they stand beside TRL's, on the same stored rollouts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from harness import registry
from tests.peers.test_trl_grpo import LENGTH, assert_same, ours, stored, theirs, trl_trainer
from tests.trainer_builders import a_run, tiny
from trainers.advantages import ScaleByStd
from trainers.learner import Learner
from trainers.losses import CappedReinforce

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),  # TRL's and its libraries' own
]
NOISE = {"dr_grpo": 0.4, "gspo": 0.002, "cispo": 1.0}
"""Of the old log-probabilities: enough that some steps are clipped and some are not."""
SETTINGS: dict[str, dict[str, Any]] = {
    "dr_grpo": {"loss_type": "dr_grpo", "scale_rewards": "none"},
    "gspo": {
        "loss_type": "grpo",
        "importance_sampling_level": "sequence",
        "epsilon": 3e-4,
        "epsilon_high": 4e-4,
    },
    "cispo": {"loss_type": "cispo", "epsilon_high": 5.0},
}


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("off_policy", [False, True], ids=["on-policy", "off-policy"])
def test_gradients_agree(tmp_path: Path, name: str, off_policy: bool):
    policy = tiny()
    rollouts = stored(policy)
    trainer = trl_trainer(policy, rollouts, tmp_path, **SETTINGS[name])
    recipe = registry.recipe(name).but(max_tokens=LENGTH)
    stages = tuple(
        replace(stage, ddof=1) if isinstance(stage, ScaleByStd) else stage
        for stage in recipe.advantages
    )
    recipe = recipe.but(advantages=stages)
    batch = Learner("solver", recipe, policy, 100).batch(rollouts, a_run(recipe, policy=policy))
    torch.testing.assert_close(batch.advantages[:, 0], trainer.inputs["advantages"])
    with torch.no_grad():
        old = policy.review(rollouts).logprobs
    if off_policy:
        noise = torch.randn(old.shape, generator=torch.Generator().manual_seed(1))
        old = (old + NOISE[name] * noise) * batch.mask
        trainer.inputs["old_per_token_logps"] = old
    batch = batch.but(old_logprobs=old)
    found = theirs(trainer)
    assert_same(ours(policy, recipe, batch), found)
    if off_policy and name == "cispo":
        open_ended = recipe.but(losses=(CappedReinforce(cap=1e9),))
        assert float((ours(policy, open_ended, batch) - found).norm() / found.norm()) > 0.01
