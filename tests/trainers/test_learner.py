"""The gradient: the same however a step is cut, ordered and padded; one review on-policy."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from harness.errors import DataError, ModelError
from harness.play import play
from harness.types import Rollout
from tests.trainer_builders import a_run, digits, tiny
from trainers.batch import Batch
from trainers.learner import Learner
from trainers.losses import Clipped, KLToReference
from trainers.policies.text import TextPolicy
from trainers.recipe import AdamW, Recipe, Run
from trainers.recipes.grpo import RECIPE as GRPO
from trainers.weights import MaskTruncated, MeanOverSteps


def played(policy: TextPolicy, prompts: int = 4, rollouts: int = 4) -> list[Rollout]:
    """Rollouts of ragged lengths, some cut, in order."""
    task = digits()
    policy.sampling = replace(policy.sampling, max_tokens=12, seed=3)
    asked = [task.prompt(e).but(rollouts=rollouts) for e in task.examples("train")[:prompts]]
    found = [r for r in play(task, asked, policy) if isinstance(r, Rollout)]
    found.sort(key=lambda r: (r.example.id, r.attempt))
    return [ragged(r, 1 + 5 * number % 12) for number, r in enumerate(found)]


def ragged(rollout: Rollout, steps: int) -> Rollout:
    """The rollout with its answer cut after so many steps."""
    ((asked, said),) = rollout.turns
    steps = min(steps, said.steps)
    trace = {**said.trace, "ids": said.trace["ids"][:steps]}
    assert said.logprobs is not None
    stopped = "done" if steps % 2 else "budget"
    kept = replace(said, stopped=stopped, steps=steps, trace=trace, logprobs=said.logprobs[:steps])
    return replace(rollout, turns=((asked, kept),))


def gradient(
    policy: TextPolicy, recipe: Recipe, rollouts: list[Rollout], *, positions: int
) -> torch.Tensor:
    """Of all weights, in one row."""
    run = a_run(recipe, policy=policy)
    learner = Learner("solver", recipe, policy, positions)
    if recipe.losses[-1] == KLToReference(0.04):
        run.policies["reference"]
    learner.gradient(learner.batch(rollouts, run), run, first=True)
    found = [p.grad if p.grad is not None else torch.zeros_like(p) for p in policy.parameters()]
    return torch.cat([g.flatten() for g in found]).double()


def close(one: torch.Tensor, other: torch.Tensor) -> bool:
    return float((one - other).norm() / one.norm()) < 1e-5


RECIPES = {
    "rollouts": GRPO,
    "steps": GRPO.but(weights=(MeanOverSteps(),)),
    "sampled": GRPO.but(old_logprobs="sampled"),
    "kl": GRPO.but(losses=(Clipped(), KLToReference(0.04))),
    "truncated": GRPO.but(weights=(MaskTruncated(), MeanOverSteps())),
    "groups": GRPO.but(whole_groups=True),
}


@pytest.mark.parametrize("name", RECIPES)
def test_the_gradient_does_not_depend_on_micro_batches_or_order(name: str):
    recipe, policy = RECIPES[name], tiny()
    rollouts = played(policy)
    whole = gradient(policy, recipe, rollouts, positions=10**9)
    assert float(whole.norm()) > 0
    for positions in (1, 37, 90):
        assert close(gradient(policy, recipe, rollouts, positions=positions), whole)
    mixed = [rollouts[n] for n in np.random.default_rng(0).permutation(len(rollouts))]
    assert close(gradient(policy, recipe, mixed, positions=50), whole)


def test_the_gradient_does_not_depend_on_padding():
    """One long rollout of a group without advantage pads all others, and changes nothing."""
    policy = tiny()
    rollouts = [r for r in played(policy) if r.steps <= 6]
    batch = _learned(policy, rollouts)
    alone = _gradient_of(policy, batch)
    far = torch.nn.functional.pad(batch.mask, (0, 9))
    padded = batch.but(
        mask=far,
        **{
            name: torch.nn.functional.pad(getattr(batch, name), (0, 9))
            for name in ("weights", "old_logprobs", "importance", "sampled_logprobs")
        },
    )
    assert close(_gradient_of(policy, padded), alone)


def _learned(policy: TextPolicy, rollouts: list[Rollout]) -> Batch:
    run = a_run(policy=policy)
    return Learner("solver", GRPO, policy, 10**9).batch(rollouts, run)


def _gradient_of(policy: TextPolicy, batch: Batch) -> torch.Tensor:
    learner = Learner("solver", GRPO, policy, 10**9)
    learner.gradient(batch, a_run(policy=policy), first=True)
    return torch.cat([p.grad.flatten() for p in policy.parameters() if p.grad is not None]).double()


def test_on_policy_it_is_reinforce_with_the_same_weights():
    policy = tiny()
    rollouts = played(policy)
    found = gradient(policy, GRPO, rollouts, positions=64)
    batch = _learned(policy, rollouts)
    policy.model.zero_grad()
    logprobs = policy.review(rollouts).logprobs
    (-(logprobs * batch.advantages * batch.weights).sum()).backward()
    by_hand = torch.cat([p.grad.flatten() for p in policy.parameters() if p.grad is not None])
    assert close(found, by_hand.double())


def test_the_first_epoch_needs_one_review(monkeypatch: pytest.MonkeyPatch):
    policy = tiny()
    rollouts = played(policy)
    reviews: list[int] = []
    review = policy.review

    def counted(some, **options):
        reviews.append(len(some))
        return review(some, **options)

    monkeypatch.setattr(policy, "review", counted)
    for epochs in (1, 3):
        reviews.clear()
        recipe = GRPO.but(epochs=epochs)
        run = a_run(recipe, policy=policy)
        learner = Learner("solver", recipe, policy, 10**9)
        learner.learn(learner.batch(rollouts, run), run)
        assert reviews == [len(rollouts)] * epochs


def test_later_epochs_take_ratios_against_the_first_review():
    policy = tiny()
    rollouts = played(policy)
    recipe = GRPO.but(epochs=2, optimizer=AdamW(lr=1e-2))
    run = a_run(recipe, policy=policy)
    learner = Learner("solver", recipe, policy, 60)
    before = policy.review(rollouts).logprobs.detach()
    batch = learner.learn(learner.batch(rollouts, run), run)
    assert_close(batch.old_logprobs, before, atol=1e-5, rtol=0)
    after = policy.review(rollouts).logprobs.detach()
    assert float((after - before).abs().max()) > 1e-2
    assert run.tally.numbers()["clip_ratio/region_mean"] > 0


def test_sampled_logprobs_correct_for_the_sampler():
    """A sampler that thought its steps e^-0.5 as likely as the reviewer does: factor e^0.5, cut."""
    policy = tiny()
    rollouts = []
    for rollout in played(policy):
        ((asked, said),) = rollout.turns
        assert said.logprobs is not None
        off = replace(said, logprobs=said.logprobs - np.float32(0.5))
        rollouts.append(replace(rollout, turns=((asked, off),)))
    plain = gradient(policy, GRPO, rollouts, positions=10**9)
    sampled = GRPO.but(old_logprobs="sampled", importance_cap=2.0)
    found = gradient(policy, sampled, rollouts, positions=10**9)
    assert close(found, plain * np.exp(0.5))
    cut = gradient(policy, sampled.but(importance_cap=1.25), rollouts, positions=10**9)
    assert close(cut, plain * 1.25)


def test_the_gap_between_sampler_and_reviewer_is_logged():
    policy = tiny()
    rollouts = played(policy)
    run = a_run(policy=policy)
    learner = Learner("solver", GRPO, policy, 40)
    learner.gradient(learner.batch(rollouts, run), run, first=True)
    numbers = run.tally.numbers()
    assert numbers["sampling/sampling_logp_difference/max"] < 1e-4
    assert numbers["sampling/importance_sampling_ratio/mean"] == pytest.approx(1, abs=1e-4)
    assert 0 < numbers["entropy"] <= np.log(policy.model.config.vocab_size)


def test_an_empty_completion_is_masked():
    policy = tiny()
    rollouts = played(policy)
    ((asked, said),) = rollouts[0].turns
    nothing = replace(
        said, output="", steps=0, logprobs=said.logprobs[:0], trace={**said.trace, "ids": []}
    )
    rollouts[0] = replace(rollouts[0], turns=((asked, nothing),))
    assert bool(gradient(policy, GRPO, rollouts, positions=30).isfinite().all())
    only = [replace(r, turns=((r.prompt, nothing),)) for r in rollouts[:2]]
    run = a_run(policy=policy)
    learner = Learner("solver", GRPO, policy, 30)
    learner.learn(learner.batch(only, run), run)  # nothing to learn from, and nothing fails


def _run(recipe: Recipe) -> tuple[Run, Learner, list[Rollout]]:
    policy = tiny()
    return a_run(recipe, policy=policy), Learner("solver", recipe, policy, 64), played(policy)


def test_a_reward_that_is_no_number_names_the_step_and_the_rollouts():
    run, learner, rollouts = _run(GRPO)
    bad = replace(rollouts[2].verdict, scores={"correct": 0.0, "close": float("nan")})
    rollouts[2] = replace(rollouts[2], verdict=bad)
    run.step = 6
    with pytest.raises(DataError, match=rf"reward is not finite at step 7.*{rollouts[2].group}"):
        learner.batch(rollouts, run)


def test_a_loss_that_is_no_number_names_the_step_and_the_rollouts():
    class Broken:
        def __call__(self, live, batch, run):
            return live.logprobs.log()

    run, learner, rollouts = _run(GRPO.but(losses=(Broken(),)))
    with pytest.raises(ModelError, match=r"the loss is nan at step 1, in"):
        learner.learn(learner.batch(rollouts, run), run)


def test_a_gradient_that_is_no_number_stops_before_the_weights_change():
    class Steep:
        def __call__(self, live, batch, run):
            return (live.logprobs * 0).abs().sqrt() + live.logprobs

    run, learner, rollouts = _run(GRPO.but(losses=(Steep(),)))
    before = [p.detach().clone() for p in learner.policy.parameters()]
    with pytest.raises(ModelError, match=r"gradient's norm is nan at step 1"):
        learner.learn(learner.batch(rollouts, run), run)
    assert all(torch.equal(a, b) for a, b in zip(before, learner.policy.parameters(), strict=True))


def test_gradients_are_clipped_to_the_norm_that_is_asked():
    policy = tiny()
    recipe = GRPO.but(optimizer=AdamW(lr=0.0, max_grad_norm=0.01))
    run, learner = a_run(recipe, policy=policy), Learner("solver", recipe, policy, 64)
    batch = learner.gradient(learner.batch(played(policy), run), run, first=True)
    learner._update(batch, run)
    norm = torch.nn.utils.get_total_norm(
        [p.grad for p in policy.parameters() if p.grad is not None]
    )
    assert float(norm) == pytest.approx(0.01, rel=1e-3)
    assert run.tally.numbers()["grad_norm"] > 0.01


def test_a_step_without_gradient_costs_no_backward_pass_and_moves_nothing():
    policy = tiny()
    run = a_run(policy=policy)
    learner = Learner("solver", GRPO, policy, 64)
    learner.learn(learner.batch(played(policy), run), run)
    moved = [p.detach().clone() for p in policy.parameters()]
    flat = [
        replace(r, verdict=replace(r.verdict, scores={"correct": 1.0, "close": 1.0}))
        for r in played(policy)
    ]
    learner.learn(learner.batch(flat, run), run)
    assert all(p.grad is None for p in policy.parameters())
    assert all(torch.equal(a, b) for a, b in zip(moved, policy.parameters(), strict=True))
