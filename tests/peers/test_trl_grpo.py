"""Gradients of our grpo beside those of TRL's GRPOTrainer on the same stored rollouts, in float32.

TRL scores the rollouts, centers and scales their rewards, and differentiates its loss by its own
code; only generation is replaced by what was stored.
"""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from harness.play import play
from harness.types import Rollout
from tests.trainer_builders import a_run, digits, tiny
from trainers.advantages import ScaleByStd
from trainers.batch import Batch
from trainers.learner import Learner
from trainers.losses import Clipped, KLToReference
from trainers.policies.text import TextPolicy
from trainers.recipe import Policies, Recipe
from trainers.recipes.grpo import RECIPE as GRPO
from trainers.weights import MeanOverLength, MeanOverRollouts, MeanOverSteps

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),  # TRL's and its libraries' own
]
LENGTH, GROUP = 12, 4
OURS = GRPO.but(advantages=(GRPO.advantages[0], ScaleByStd(eps=1e-4, ddof=1)))
MEANS = {
    "grpo": MeanOverRollouts(),
    "dapo": MeanOverSteps(),
    "bnpo": MeanOverSteps(),  # the same while there is one micro-batch
    "dr_grpo": MeanOverLength(LENGTH),
}


def stored(policy: TextPolicy) -> list[Rollout]:
    """Groups of ragged answers with rewards that differ; the last group's are all the same."""
    task = digits()
    policy.sampling = replace(policy.sampling, max_tokens=LENGTH, seed=5)
    prompts = [task.prompt(e).but(rollouts=GROUP) for e in task.examples("train")[:6]]
    found = [r for r in play(task, prompts, policy) if isinstance(r, Rollout)]
    found.sort(key=lambda r: (r.example.id, r.attempt))
    rollouts = []
    for number, rollout in enumerate(found):
        ((asked, said),) = rollout.turns
        steps = min(said.steps, 1 + 5 * number % LENGTH)
        assert said.logprobs is not None
        trace = {**said.trace, "ids": said.trace["ids"][:steps]}
        kept = replace(said, steps=steps, trace=trace, logprobs=said.logprobs[:steps])
        reward = 0.5 if number >= len(found) - GROUP else (number * 7 % 11) / 10
        verdict = replace(rollout.verdict, scores={"close": reward})
        rollouts.append(replace(rollout, turns=((asked, kept),), verdict=verdict))
    return rollouts


def trl_trainer(policy: TextPolicy, rollouts: list[Rollout], folder: Path, **settings: Any) -> Any:
    """TRL's trainer of the same weights, which is handed the stored rollouts."""
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    policy.save(folder / "model")
    traces = [rollout.completion.trace for rollout in rollouts]

    def replay(prompts: list[Any], trainer: Any) -> dict[str, Any]:
        assert len(prompts) == len(rollouts)
        return {
            "prompt_ids": [list(trace["prompt"]) for trace in traces],
            "completion_ids": [list(trace["ids"]) for trace in traces],
            "logprobs": None,
        }

    def rewards(completions: list[Any], **columns: Any) -> list[float]:
        return [rollout.verdict.scores["close"] for rollout in rollouts]

    config = GRPOConfig(
        output_dir=str(folder / "trl"),
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        per_device_train_batch_size=len(rollouts),
        gradient_accumulation_steps=1,
        num_generations=GROUP,
        max_completion_length=LENGTH,
        report_to=[],
        model_init_kwargs={"dtype": "float32"},
        **{"beta": 0.0, "epsilon": 0.2, "scale_rewards": "group", **settings},
    )
    rows = [{"prompt": rollout.example.inputs["q"]} for rollout in rollouts]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = GRPOTrainer(
            str(folder / "model"),
            reward_funcs=rewards,
            args=config,
            train_dataset=Dataset.from_list(rows),
            rollout_func=replay,
        )
    trainer.model.train()
    trainer.current_gradient_accumulation_steps = 1
    trainer.inputs = trainer._generate_and_score_completions(rows)
    return trainer


def theirs(trainer: Any) -> torch.Tensor:
    """TRL's gradient of all weights, in one row."""
    trainer.model.zero_grad()
    trainer._compute_loss(trainer.model, trainer.inputs).backward()
    return flat([p for _, p in sorted(trainer.model.named_parameters())])


def ours(policy: TextPolicy, recipe: Recipe, batch: Batch, reference: Any = None) -> torch.Tensor:
    """Our gradient, in small micro-batches."""
    given = {"solver": policy} | ({"reference": reference} if reference else {})
    run = replace(a_run(recipe, policy=policy), policies=Policies(given))
    Learner("solver", recipe, policy, 100).gradient(batch, run, first=False)
    return flat([p for _, p in sorted(policy.model.named_parameters())])


def flat(weights: list[torch.nn.Parameter]) -> torch.Tensor:
    found = [w.grad if w.grad is not None else torch.zeros_like(w) for w in weights]
    return torch.cat([g.flatten() for g in found]).double()


def assert_same(one: torch.Tensor, other: torch.Tensor) -> None:
    assert float(one.norm()) > 1e-3
    cosine = float(torch.nn.functional.cosine_similarity(one, other, dim=0))
    assert cosine > 0.999999
    assert float((one - other).norm() / other.norm()) < 1e-4


@pytest.mark.parametrize("loss_type", MEANS)
@pytest.mark.parametrize("off_policy", [False, True], ids=["on-policy", "off-policy"])
@pytest.mark.parametrize(
    "leash",
    [KLToReference(0.0), KLToReference(0.04), KLToReference(0.04, corrected=True)],
    ids=["free", "leash", "corrected"],
)
def test_gradients_agree(tmp_path: Path, loss_type: str, off_policy: bool, leash: KLToReference):
    policy = tiny()
    rollouts = stored(policy)
    corrected = {"loss_type": loss_type, "use_bias_correction_kl": leash.corrected}
    trainer = trl_trainer(policy, rollouts, tmp_path, **corrected)
    losses = (Clipped(0.2, 0.2), leash)
    recipe = OURS.but(weights=(MEANS[loss_type],), losses=losses)
    run = a_run(recipe, policy=policy)
    batch = Learner("solver", recipe, policy, 100).batch(rollouts, run)
    torch.testing.assert_close(batch.advantages[:, 0], trainer.inputs["advantages"])
    with torch.no_grad():
        old = policy.review(rollouts).logprobs
    if off_policy:
        noise = torch.randn(old.shape, generator=torch.Generator().manual_seed(1))
        old = (old + 0.4 * noise) * batch.mask
        trainer.inputs["old_per_token_logps"] = old
    reference = tiny(seed=9)
    if leash.beta:
        trainer.beta = leash.beta
        with torch.no_grad():
            trainer.inputs["ref_per_token_logps"] = reference.review(rollouts).logprobs
    assert_same(
        ours(policy, recipe, batch.but(old_logprobs=old), reference if leash.beta else None),
        theirs(trainer),
    )


def test_trl_clips_as_we_do(tmp_path: Path):
    """The off-policy comparison is one where clipping matters."""
    policy = tiny()
    rollouts = stored(policy)
    trainer = trl_trainer(policy, rollouts, tmp_path, loss_type="grpo")
    batch = Learner("solver", OURS, policy, 100).batch(rollouts, a_run(OURS, policy=policy))
    with torch.no_grad():
        old = policy.review(rollouts).logprobs
    noise = torch.randn(old.shape, generator=torch.Generator().manual_seed(1))
    old = (old + 0.4 * noise) * batch.mask
    trainer.inputs["old_per_token_logps"] = old
    found = theirs(trainer)
    open_ended = OURS.but(losses=(Clipped(1.0, 100.0),))
    unclipped = ours(policy, open_ended, batch.but(old_logprobs=old))
    assert float((found - unclipped).norm() / found.norm()) > 0.05
