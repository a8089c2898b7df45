"""Forecasters of fields keep what those of stations do, and the laws of what sees by cells."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from numpy.typing import NDArray

from harness import registry
from harness.errors import DataError
from harness.models import Sampling
from harness.types import Completion, Example, Message, Prompt, Rollout, Verdict
from trainers.forecast.context import content_of, read
from trainers.forecast.grid import GridNetwork
from trainers.forecast.rolling import network_of
from trainers.loop import Plan, Training
from trainers.policies.forecast import KNOWN, ForecastPolicy, open_forecast
from trainers.samplers import Uniform

SAMPLING = Sampling(seed=3)
COLUMNS = ("PM2.5", "TEMP", "U", "V")
Floats = NDArray[np.float64]
Change = Callable[[dict[str, Any]], dict[str, Any]]


def content(height: int = 9, width: int = 11, seed: int = 0, frames: int = 8) -> dict[str, Any]:
    """Weather of noise, over a field of no usual size, with silent and unasked cells."""
    rng = np.random.default_rng((seed, 7))
    history = rng.normal(0, 1, (frames, len(COLUMNS), height, width))
    history[:, 0] = np.exp(rng.normal(3, 0.6, (frames, height, width)))
    history[rng.random(history.shape) < 0.05] = np.nan
    cells = np.ones((height, width), bool)
    cells[:2, -3:] = False
    return {
        "pollutant": "PM2.5",
        "hours": 6,
        "leads": np.array([12, 24, 36, 48]),
        "columns": list(COLUMNS),
        "logged": [True, False, False, False],
        "history": history.astype(np.float32),
        "center": np.array([3.0, 0, 0, 0], np.float32),
        "spread": np.array([0.6, 1, 1, 1], np.float32),
        "season": np.tile(np.float32([0.5, 0.8]), (4, 1)),
        "normal": np.exp(rng.normal(3, 0.2, (4, height, width))).astype(np.float32),
        "cells": cells,
        "edges": [15.0, 35.0, 75.0],
    }


def a_prompt(told: dict[str, Any], attempt: int = 0) -> Prompt:
    name = "x".join(map(str, np.shape(told["history"])[2:]))
    return Prompt(Example(name, {}, None), (Message("user", told),), attempt=attempt)


def attempted(policy: ForecastPolicy, told: dict[str, Any], attempts: int = 2) -> list[Rollout]:
    asked = [a_prompt(told, attempt) for attempt in range(attempts)]
    answers = dict(policy.answer(asked))
    return [
        Rollout(((prompt, answers[n]),), Verdict({}), prompt.example.id, attempt=n)
        for n, prompt in enumerate(asked)
    ]


def forecast(told: dict[str, Any], *, temperature: float = 1.0, spec: str = "grid-tiny") -> Floats:
    """(L, Y, X) of the first attempt."""
    policy = open_forecast(spec, replace(SAMPLING, temperature=temperature))
    return attempted(policy, told, 1)[0].completion.output


@pytest.fixture(params=["grid-tiny", "grid-tiny-classes", "tiny-classes"])
def opened(request: pytest.FixtureRequest) -> tuple[ForecastPolicy, dict[str, Any]]:
    """A policy and a prompt's arrays that it reads."""
    spec: str = request.param
    told = content()
    if not spec.startswith("grid"):
        told = {name: each for name, each in told.items() if name != "cells"}
        told["history"], told["normal"] = told["history"][..., 4, 4], told["normal"][..., 4, 4]
        told["history"] = np.repeat(told["history"], 6, axis=0)
    return open_forecast(spec, SAMPLING), told


@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_review_after_answer_gives_the_sampled_logprobs_and_all_weights_learn(
    opened: tuple[ForecastPolicy, dict[str, Any]], temperature: float
):
    policy, told = opened
    policy.sampling = replace(SAMPLING, temperature=temperature)
    rollouts = attempted(policy, told, 4)
    live = policy.review(rollouts)
    assert live.mask.all()
    assert live.entropy.isfinite().all()
    for row, rollout in enumerate(rollouts):
        assert rollout.steps == 4
        assert_allclose(live.logprobs[row].detach().numpy(), rollout.completion.logprobs, atol=1e-5)
    live.logprobs[0].sum().backward()
    assert all(bool(weight.grad.abs().sum() > 0) for weight in policy.parameters())


def test_the_logprob_of_a_field_is_the_mean_or_the_sum_of_its_asked_cells():
    told = content()
    count = told["cells"].sum()
    mean, total = (open_forecast("grid-tiny", SAMPLING, cells=each) for each in ("mean", "sum"))
    rollouts = attempted(mean, told)
    assert_allclose(
        total.review(rollouts).logprobs.detach(),
        mean.review(rollouts).logprobs.detach() * count,
        rtol=1e-4,
    )
    live = mean.review(rollouts)
    assert live.means is not None
    assert live.spreads is not None
    z = torch.from_numpy(np.stack([r.completion.trace["z"] for r in rollouts]))
    peer = torch.distributions.Normal(live.means, live.spreads).log_prob(z.nan_to_num())
    asked = torch.from_numpy(told["cells"])
    assert_allclose(live.logprobs.detach(), peer[..., asked].mean(-1).detach(), atol=1e-5)


def test_logprobs_of_classes_are_those_of_a_categorical():
    policy = open_forecast("grid-tiny-classes", SAMPLING)
    rollouts = attempted(policy, content())
    live = policy.review(rollouts)
    assert live.classes is not None
    z = torch.from_numpy(np.stack([r.completion.trace["z"] for r in rollouts]))
    told = torch.distributions.Categorical(logits=live.classes)
    asked = ~z.isnan()
    peer = told.log_prob(z.nan_to_num().long()).masked_fill(~asked, 0)
    assert_allclose(
        live.logprobs.detach(), (peer.sum((2, 3)) / asked.sum((2, 3))).detach(), atol=1e-5
    )
    levels = {7.5, 25.0, 55.0, 112.5}
    for rollout in rollouts:
        assert set(np.unique(rollout.completion.output[:, content()["cells"]])) <= levels


def test_antithetic_pairs_share_their_draw_and_others_do_not():
    policy = open_forecast("grid-tiny", SAMPLING)
    rollouts = attempted(policy, content(), 4)
    live = policy.review(rollouts)
    assert live.means is not None
    assert live.spreads is not None
    z = torch.from_numpy(np.stack([r.completion.trace["z"] for r in rollouts]))
    noise = ((z - live.means) / live.spreads).detach()[:, 0]
    assert_allclose(noise[0], -noise[1], atol=1e-4)
    assert_allclose(noise[2], -noise[3], atol=1e-4)
    assert abs(float(np.nanmean(noise[0] * noise[2]))) < 0.5


def test_an_antithetic_class_is_that_of_the_mirrored_quantile():
    """Where one attempt falls into the lowest class, its pair cannot be in a class below 1 - p."""
    policy = open_forecast("grid-tiny-classes", SAMPLING)
    rollouts = attempted(policy, content(), 2)
    live = policy.review(rollouts)
    assert live.classes is not None
    upper = live.classes[0, 0].exp().cumsum(-1).detach().numpy()
    lower = np.concatenate([np.zeros((*upper.shape[:2], 1)), upper[..., :-1]], axis=-1)
    one, other = (r.completion.trace["z"][0] for r in rollouts)
    asked = ~np.isnan(one)
    for y, x in zip(*np.nonzero(asked), strict=True):
        a, b = int(one[y, x]), int(other[y, x])
        assert lower[y, x, b] <= 1 - lower[y, x, a] + 1e-5
        assert upper[y, x, b] >= 1 - upper[y, x, a] - 1e-5


def test_a_shorter_horizon_and_resuming_keep_what_was_drawn(
    opened: tuple[ForecastPolicy, dict[str, Any]],
):
    policy, told = opened
    rollouts = attempted(policy, told)
    again = policy.resume(rollouts[0], 0, rollouts=2)
    for rollout, completion in zip(rollouts, again, strict=True):
        assert_allclose(completion.output, rollout.completion.output, rtol=1e-5)
    (branch,) = policy.resume(rollouts[0], 2)
    assert_allclose(branch.output[:2], rollouts[0].completion.output[:2], rtol=1e-5)
    assert not np.allclose(branch.output[2:], rollouts[0].completion.output[2:], equal_nan=True)
    policy.sampling = replace(SAMPLING, max_tokens=2)
    (short,) = attempted(policy, told, 1)
    assert short.completion.stopped == "budget"
    assert_allclose(short.completion.output, rollouts[0].completion.output[:2], rtol=1e-5)
    went_on = replace(rollouts[0], turns=((rollouts[0].prompt, branch),))
    taken = policy.choices([*rollouts, went_on, short])
    assert taken[0, :2].tolist() == taken[2, :2].tolist()
    assert taken[3, 2:].tolist() == [-1, -1]


def test_without_drawing_the_forecast_lies_between_the_draws():
    told = content(5, 6)
    for spec in ("grid-tiny", "grid-tiny-classes"):
        policy = open_forecast(spec, SAMPLING, point="median")
        drawn = [r.completion.output[0] for r in attempted(policy, told, 200)]
        still = forecast_median(spec, told)[0]
        share = (np.stack(drawn) <= still).mean(axis=0)[told["cells"]]
        assert (share >= 0.35).all()
        assert (np.stack(drawn) >= still).mean(axis=0)[told["cells"]].min() >= 0.35


def forecast_median(spec: str, told: dict[str, Any]) -> Floats:
    policy = open_forecast(spec, replace(SAMPLING, temperature=0), point="median")
    return attempted(policy, told, 1)[0].completion.output


# -- cells


def test_what_stands_in_cells_that_are_not_asked_for_changes_nothing():
    told = content()
    other = {name: np.copy(each) if isinstance(each, np.ndarray) else each
             for name, each in told.items()}  # fmt: skip
    other["history"][..., ~told["cells"]] = 1e5
    other["normal"][:, ~told["cells"]] = np.nan
    one, two = forecast(told), forecast(other)
    assert_allclose(one, two)
    assert np.isnan(one[:, ~told["cells"]]).all()
    assert np.isfinite(one[:, told["cells"]]).all()


def test_a_border_is_no_other_than_cells_that_are_not_asked_for():
    """Padding by hand to the next multiple of 4 is what the network does itself."""
    told = content(9, 11)
    wide = dict(told)
    for name in ("history", "normal", "cells"):
        axes = [(0, 0)] * (told[name].ndim - 2)
        wide[name] = np.pad(told[name], [*axes, (0, 3), (0, 1)])
    one, two = forecast(told, temperature=0), forecast(wide, temperature=0)
    assert_allclose(two[:, :9, :11], one, rtol=1e-5)


def shifted(told: dict[str, Any], cells: int) -> dict[str, Any]:
    moved = dict(told)
    for name in ("history", "normal"):
        moved[name] = np.roll(told[name], cells, axis=-1)
    return moved


def test_moved_weather_gives_a_moved_forecast_away_from_the_borders():
    """By 4 cells, which is as coarse as a network of depth 2 sees."""
    told = content(4, 64)
    told["cells"] = np.ones((4, 64), bool)
    far = slice(24, 40)
    one, two = forecast(told, temperature=0), forecast(shifted(told, 4), temperature=0)
    assert_allclose(two[..., far], np.roll(one, 4, axis=-1)[..., far], rtol=1e-4)
    assert not np.allclose(two[..., far], one[..., far], rtol=1e-2)


def test_a_cell_sees_no_further_than_the_network_reaches():
    """Of depth 2 the past reaches 22 cells, and each lead one of state and field more."""
    told = content(1, 64)
    told["cells"] = np.ones((1, 64), bool)
    told["history"] = np.nan_to_num(told["history"], nan=1.0)
    other = dict(told)
    other["history"] = np.copy(told["history"])
    other["history"][..., 0] += 2
    changed = forecast(told, temperature=0) != forecast(other, temperature=0)
    assert changed[:, 0, :3].any()
    assert not changed[..., 34:].any()


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (16, 16), (13, 4)])
def test_grids_of_any_size(size: tuple[int, int]):
    told = content(*size)
    told["cells"] = np.ones(size, bool)
    found = forecast(told)
    assert found.shape == (4, *size)
    assert np.isfinite(found).all()


def test_a_short_history_is_one_with_missing_frames():
    told = content(frames=8)
    short = {**told, "history": told["history"][-4:]}
    silent = {**told, "history": np.concatenate([np.full_like(told["history"][:4], np.nan),
                                                 told["history"][-4:]])}  # fmt: skip
    assert_allclose(forecast(short), forecast(silent), rtol=1e-5)


def test_the_steps_of_a_field_with_gaps_are_those_that_were_observed():
    policy = open_forecast("grid-tiny", SAMPLING)
    told = content()
    prompt = a_prompt(told)
    gold = np.full((4, 9, 11), 40.0)
    gold[1] = np.nan
    gold[2, 3:] = np.nan
    said = policy.spell(prompt, gold)
    expert = Rollout(((prompt, said),), Verdict({}), "", source="expert")
    live = policy.review([expert])
    assert live.mask.tolist() == [[True, False, True, True]]
    assert live.logprobs[0, 1] == 0
    unseen = gold.copy()
    unseen[:, ~told["cells"]] = 7.0
    again = Rollout(((prompt, Completion(unseen, steps=4)),), Verdict({}), "")
    assert_allclose(policy.review([again]).logprobs.detach(), live.logprobs.detach())
    for wrong in ("not a field", gold[:, :5], gold.transpose(1, 2, 0), None):
        assert policy.spell(prompt, wrong).steps == 0


def test_a_spelled_class_is_that_of_the_concentration():
    policy = open_forecast("tiny-classes", SAMPLING)
    told = content(1, 1)
    station = {name: each for name, each in told.items() if name != "cells"}
    station["history"], station["normal"] = told["history"][..., 0, 0], told["normal"][..., 0, 0]
    said = policy.spell(a_prompt(station), [15.0, 15.1, np.nan, 900.0])
    assert said.trace["z"][[0, 1, 3]].tolist() == [0, 1, 3]
    assert np.isnan(said.trace["z"][2])


def test_prompts_of_another_kind_are_refused_with_a_word():
    field = a_prompt(content())
    with pytest.raises(DataError, match="forecast:grid-tiny"):
        list(open_forecast("tiny", SAMPLING).answer([field]))
    station = content(1, 1)
    station["history"] = station["history"][..., 0, 0]
    with pytest.raises(DataError, match="forecast:tiny"):
        list(open_forecast("grid-tiny", SAMPLING).answer([a_prompt(station)]))
    with pytest.raises(DataError, match="differ in size"):
        list(open_forecast("grid-tiny", SAMPLING).answer([field, a_prompt(content(4, 4))]))
    few = {**content(), "edges": [35.0]}
    with pytest.raises(DataError, match="tells 4 classes apart"):
        list(open_forecast("grid-tiny-classes", SAMPLING).answer([a_prompt(few)]))


def test_a_stored_field_forecaster_is_the_same(tmp_path: Any):
    told = content()
    policy = open_forecast("grid-tiny-classes", SAMPLING, seed=5)
    policy.save(tmp_path / "saved")
    again = open_forecast(str(tmp_path / "saved"), SAMPLING)
    assert again.settings == policy.settings
    one, other = (attempted(each, told, 1)[0].completion.output for each in (policy, again))
    assert_allclose(one, other)


def test_the_state_outside_the_asked_cells_is_nothing():
    network = network_of(KNOWN["grid-tiny"])
    assert isinstance(network, GridNetwork)
    context = read([content_of(a_prompt(content()))], network.settings)
    state = network.encode(context)
    assert state.shape == (1, 16, 9, 11)
    assert not state[..., ~context.cells[0]].any()


@pytest.mark.slow
@pytest.mark.parametrize("spec", ["grid-tiny", "grid-tiny-classes"])
def test_fitting_to_observed_fields_learns(spec: str, tmp_path: Any):
    """Forty steps of sft on the generated atmosphere: likelier dev fields."""
    task = registry.task("airquality/world_grid")
    recipe = registry.recipe("sft").but(steps=40, samplers=Uniform(prompts=8, rollouts=1))
    recipe = recipe.but(optimizer=replace(recipe.optimizer, lr=3e-3))
    policy = open_forecast(spec, Sampling(), seed=0)
    gold = [
        Rollout(((task.prompt(e), Completion(task.gold(e), steps=4)),), Verdict({}), e.id)
        for e in task.examples("dev")[::6]
    ]

    def likelihood() -> float:
        with torch.no_grad():
            live = policy.review(gold)
        return float(live.logprobs[live.mask].mean())

    before = likelihood()
    Training(task, recipe, {"solver": policy}, tmp_path, Plan(dev_every=0)).train()
    assert likelihood() > before + 0.2
