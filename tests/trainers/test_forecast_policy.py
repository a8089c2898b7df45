"""forecast policies keep what policies promise, and what forecasters must: true pairs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from harness import registry
from harness.errors import DataError, ModelError, UsageError
from harness.models import Sampling
from harness.types import Completion, Example, Message, Prompt, Rollout, Verdict
from trainers.forecast.settings import ForecastSettings
from trainers.loop import Plan, Training
from trainers.policies.forecast import ForecastPolicy, open_forecast
from trainers.policy import Policy
from trainers.samplers import Uniform

SAMPLING = Sampling(seed=3)


def prompts(count: int = 3, attempts: int = 2) -> list[Prompt]:
    task = registry.task("airquality/world")
    return [
        task.prompt(example).but(attempt=attempt)
        for example in task.examples("train")[:count]
        for attempt in range(attempts)
    ]


def attempted(policy: ForecastPolicy, asked: list[Prompt]) -> list[Rollout]:
    answers = dict(policy.answer(asked))
    return [
        Rollout(((prompt, answers[number]),), Verdict({}), prompt.example.id)
        for number, prompt in enumerate(asked)
    ]


def test_is_a_policy_and_describes_itself_in_json():
    policy = open_forecast("tiny", SAMPLING)
    assert isinstance(policy, Policy)
    assert json.loads(json.dumps(policy.describe()))["sampling"]["seed"] == 3


@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_review_after_answer_gives_the_sampled_logprobs(temperature: float):
    policy = open_forecast("tiny", replace(SAMPLING, temperature=temperature))
    rollouts = attempted(policy, prompts())
    live = policy.review(rollouts)
    for row, rollout in enumerate(rollouts):
        assert rollout.steps == 4
        assert_allclose(live.logprobs[row].detach(), rollout.completion.logprobs, atol=1e-5)
    assert live.mask.all()
    live.logprobs.sum().backward()
    assert all(bool(weight.grad.abs().sum() > 0) for weight in policy.parameters())


def test_antithetic_pairs_share_their_draw_and_others_do_not():
    policy = open_forecast("tiny", SAMPLING)
    asked = prompts(1, attempts=4)
    rollouts = attempted(policy, asked)
    live = policy.review(rollouts)
    assert live.means is not None
    assert live.spreads is not None
    noise = np.stack([r.completion.trace["z"] for r in rollouts]) - live.means.detach().numpy()
    first = (noise / live.spreads.detach().numpy())[:, 0]
    assert_allclose(first[0], -first[1], atol=1e-5)
    assert_allclose(first[2], -first[3], atol=1e-5)
    assert abs(first[0]) != pytest.approx(abs(first[2]))
    alone = open_forecast("tiny", SAMPLING, antithetic=False)
    drawn = [r.completion.trace["z"][0] for r in attempted(alone, asked)]
    assert len({round(float(z), 4) for z in drawn}) == 4


def test_a_shorter_horizon_draws_the_same_beginning():
    policy = open_forecast("tiny", SAMPLING)
    (whole,) = attempted(policy, prompts(1, 1))
    policy.sampling = replace(SAMPLING, max_tokens=2)
    (short,) = attempted(policy, prompts(1, 1))
    assert short.steps == 2
    assert short.completion.stopped == "budget"
    assert_allclose(short.completion.output, whole.completion.output[:2], rtol=1e-5)


def test_resume_at_0_is_answer_and_later_keeps_what_was_drawn():
    policy = open_forecast("tiny", SAMPLING)
    rollouts = attempted(policy, prompts(1, 2))
    again = policy.resume(rollouts[0], 0, rollouts=2)
    for rollout, completion in zip(rollouts, again, strict=True):
        assert_allclose(completion.output, rollout.completion.output, rtol=1e-5)
    branches = policy.resume(rollouts[0], 2, rollouts=3)
    for branch in branches:
        assert_allclose(branch.output[:2], rollouts[0].completion.output[:2], rtol=1e-5)
    assert len({float(branch.output[3]) for branch in branches}) == 3
    one, other = policy.resume(rollouts[0], 1, rollouts=2, explore=False)
    assert_allclose(one.output, other.output)
    assert one.logprobs is None
    with pytest.raises(UsageError, match="no text"):
        policy.resume(rollouts[0], 1, insert="rain")
    with pytest.raises(UsageError, match="resume at step 9"):
        policy.resume(rollouts[0], 9)


def test_neighbors_and_other_seeds():
    policy = open_forecast("tiny", SAMPLING)
    asked = prompts()
    together = dict(policy.answer(asked))
    for number, prompt in enumerate(asked):
        ((_, alone),) = policy.answer([prompt])
        assert_allclose(alone.output, together[number].output, rtol=1e-5)
    policy.sampling = replace(SAMPLING, seed=4)
    assert not np.allclose(dict(policy.answer(asked))[0].output, together[0].output)


def test_what_was_observed_is_spelled_and_gaps_are_not_decided():
    policy = open_forecast("tiny", SAMPLING)
    (prompt,) = prompts(1, 1)
    said = policy.spell(prompt, [10.0, np.nan, 80.0, 0.0])
    rollout = Rollout(((prompt, said),), Verdict({}), "", source="expert")
    live = policy.review([rollout])
    assert live.mask.tolist() == [[True, False, True, True]]
    assert live.logprobs[0, 1] == 0
    assert said.logprobs is None
    gold = Rollout(((prompt, Completion(np.array([10.0, np.nan, 80.0, 0.0]), steps=4)),),
                   Verdict({}), "")  # fmt: skip
    assert_allclose(policy.review([gold]).logprobs.detach(), live.logprobs.detach())
    assert policy.spell(prompt, "not a series").steps == 0


@pytest.mark.parametrize("point", ["mean", "median"])
def test_the_forecast_without_drawing(point: str):
    """The first lead's mean is that of many draws, and its median theirs."""
    policy = open_forecast("tiny", replace(SAMPLING, temperature=0), point=point)
    (prompt,) = prompts(1, 1)
    ((_, still),) = policy.answer([prompt])
    policy.sampling = SAMPLING
    drawn = dict(policy.answer([prompt.but(attempt=number) for number in range(600)]))
    first = np.array([completion.output[0] for completion in drawn.values()])
    middle = first.mean() if point == "mean" else np.median(first)
    assert still.output[0] == pytest.approx(middle, rel=0.06)


def test_hostile_numbers_in_a_prompt_give_finite_forecasts():
    (prompt,) = prompts(1, 1)
    content = dict(prompt.messages[0].content)
    history = np.full_like(content["history"], np.nan)
    history[:, 0] = 1e30
    for values in (history, np.full_like(history, np.nan), np.full_like(history, -1e9)):
        asked = replace(prompt, messages=(Message("user", {**content, "history": values}),))
        ((_, said),) = open_forecast("tiny", SAMPLING).answer([asked])
        assert np.isfinite(said.output).all()
        assert (said.output >= 0).all()
        assert (said.output <= 2000.1).all()


def test_columns_are_read_by_name():
    (prompt,) = prompts(1, 1)
    content = dict(prompt.messages[0].content)
    order = np.random.default_rng(0).permutation(len(content["columns"]))
    mixed: Mapping[str, object] = {
        **content,
        "columns": [content["columns"][n] for n in order],
        "logged": [content["logged"][n] for n in order],
        **{name: content[name][..., order] for name in ("history", "center", "spread")},
    }
    policy = open_forecast("tiny", SAMPLING)
    ((_, one),) = policy.answer([prompt])
    ((_, other),) = policy.answer([replace(prompt, messages=(Message("user", mixed),))])
    assert_allclose(one.output, other.output, rtol=1e-5)


def test_text_prompts_are_refused_with_a_word():
    asked = Prompt(Example("q", {}, None), (Message("user", "What will be?"),))
    with pytest.raises(DataError, match="text models answer prompts in words"):
        list(open_forecast("tiny", SAMPLING).answer([asked]))


def test_saved_and_loaded_is_the_same(tmp_path: Path):
    policy = open_forecast("tiny", SAMPLING, seed=5, point="median")
    policy.save(tmp_path / "saved")
    again = open_forecast(str(tmp_path / "saved"), SAMPLING)
    assert again.settings == policy.settings
    for one, other in zip(policy.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)
    (tmp_path / "saved" / "model.safetensors").write_bytes(b"broken")
    with pytest.raises(ModelError, match="cannot be read"):
        open_forecast(str(tmp_path / "saved"), SAMPLING)
    with pytest.raises(ModelError, match="no forecaster"):
        open_forecast("nowhere", SAMPLING)
    with pytest.raises(UsageError):
        ForecastSettings(hidden=0)


def test_nothing_to_do_and_failed_rollouts_are_no_error():
    policy = open_forecast("tiny", SAMPLING)
    assert list(policy.answer([])) == []
    failed = Rollout(((prompts(1)[0], Completion(None, "failed")),), Verdict({}), "")
    assert policy.review([failed]).logprobs.shape == (1, 0)
    rollouts = attempted(policy, prompts(1))
    live = policy.review([rollouts[0], failed, rollouts[1]])
    assert live.mask.sum(1).tolist() == [4, 0, 4]
    frozen = policy.frozen()
    assert frozen.parameters() == []
    assert_allclose(frozen.review(rollouts).logprobs, policy.review(rollouts).logprobs.detach())


@pytest.mark.slow
def test_fitting_to_observations_learns(tmp_path: Path):
    """Eighty steps of sft on the generated atmosphere: likelier dev days, and skill."""
    task = registry.task("airquality/world")
    recipe = registry.recipe("sft").but(steps=80, samplers=Uniform(prompts=32, rollouts=1))
    recipe = recipe.but(optimizer=replace(recipe.optimizer, lr=5e-3))
    policy = open_forecast("tiny", Sampling(), seed=0)
    dev = task.examples("dev")
    gold = [
        Rollout(((task.prompt(e), Completion(task.gold(e), steps=4)),), Verdict({}), e.id)
        for e in dev
    ]

    def likelihood() -> float:
        with torch.no_grad():
            live = policy.review(gold)
        return float(live.logprobs[live.mask].mean())

    before = likelihood()
    Training(task, recipe, {"solver": policy}, tmp_path, Plan(dev_every=0)).train()
    assert likelihood() > before + 0.1
