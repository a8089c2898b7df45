"""air_grpo against the worked numbers of its sheet, and its limits."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from harness import registry
from harness.errors import UnknownName, UsageError
from harness.types import Completion, Example, Message, Prompt, Rollout, Task, Verdict
from harness.verification import classes_of
from tasks._air_grid_judging import verify_fields
from tests.trainer_builders import a_run, judged, tiny
from trainers.batch import Batch
from trainers.contracts import recipe_contracts
from trainers.policy import Live
from trainers.recipes.air_grpo import (
    RECIPE,
    ConstrainRates,
    ControlKL,
    ExactKL,
    PayClasses,
    RankRewards,
    Tables,
    centered_rank,
    exact_kl,
    follow,
    gaussian_kl,
    step_weights,
)
from trainers.recipes.grpo import RECIPE as GRPO
from trainers.schedules import Constant

OBSERVED = [10.0, 20.0, 40.0, 80.0]
FORECASTS = [[12, 40, 50, 90], [8, 22, 38, 70], [20, 36, 60, 100], [9, 18, 30, 60]]
EDGES = (15.0, 35.0, 75.0)


def forecasts(rows: list[list[float]], observed: list[float]) -> Batch:
    """A group of forecasts of one situation; leads are 48 h, 72 h, ..."""
    seen = classes_of(observed, EDGES).tolist()
    rollouts = []
    for number, row in enumerate(rows):
        said = classes_of(row, EDGES).tolist()
        scores: dict[str, float] = {}
        for place in range(len(observed)):
            lead = 48 + 24 * place
            scores |= {f"class@{lead}h": said[place], f"observed_class@{lead}h": seen[place]}
        example = Example("now", {}, observed)
        prompt = Prompt(example, (Message("user", "?"),), attempt=number)
        completion = Completion(np.array(row), steps=len(row))
        rollouts.append(Rollout(((prompt, completion),), Verdict(scores), "now", attempt=number))
    mask = torch.ones((len(rows), len(observed)), dtype=torch.bool)
    return Batch.of(rollouts, mask)


def run_of(horizon: float = 4):
    task = Task(
        name="air/worked",
        version=1,
        examples=lambda split: [],
        prompt=lambda example: Prompt(example, ()),
        verify=lambda example, completion: Verdict({}),
        gold=lambda example: None,
        metrics=(),
        reward={},
    )
    return a_run(RECIPE.but(max_tokens=Constant(horizon)), task=task, policy=tiny())


def test_the_class_rewards_of_the_sheet():
    """Its pixels are our leads, which there weigh alike."""
    batch = PayClasses(last=1.0)(forecasts(FORECASTS, OBSERVED), run_of())
    assert_allclose(batch.rewards.flatten(), [0.725, 0.75, 0.475, 0.5], atol=1e-6)


def test_the_three_settings_of_the_class_reward():
    observed = [10.0, 20, 34, 40, 80, 35]
    batch = forecasts([[12, 40, 50, 30, 78, 35]], observed)
    for (side, exact, false_alarm), wanted in (
        ((0.5, 0.5, 0.0), 0.5),
        ((0.0, 1.0, 0.1), 0.466667),
        ((0.45, 0.55, 0.15), 0.45),
    ):
        stage = PayClasses(side=side, exact=exact, false_alarm=false_alarm, last=1.0)
        assert_allclose(stage(batch, run_of(6)).rewards.item(), wanted, atol=1e-6)


def test_step_weights_add_up_to_the_steps():
    assert_allclose(step_weights(3, 0.75), [1.142857, 1.0, 0.857143], atol=1e-6)
    assert_allclose(step_weights(1, 0.75), [1.0])


def test_only_leads_within_the_horizon_are_paid():
    batch = forecasts([[12, 200, 200, 200]], OBSERVED)
    assert PayClasses()(batch, run_of(1)).rewards.item() == 1.0
    assert PayClasses()(batch, run_of(2)).rewards.item() < 0.6


def test_ranks_and_their_blend_with_what_came_before():
    rewards = torch.tensor([[0.725], [0.75], [0.475], [0.5]])
    assert_allclose(centered_rank(rewards).flatten(), [1 / 3, 1, -1, -1 / 3], atol=1e-6)
    run = run_of()
    run.memory["rank_rewards"] = {"mean": 0.5, "std": 0.1}
    batch = forecasts(FORECASTS, OBSERVED).but(rewards=rewards)
    found = RankRewards()(batch, run).advantages
    assert_allclose(found.flatten(), [0.525, 1.15, -0.925, -0.3], atol=1e-5)
    softmax = RankRewards(form="softmax")(batch, run).advantages
    assert_allclose(softmax.flatten(), [0.303451, 0.319009, 0.184052, 0.193489], atol=1e-6)


def test_equal_rewards_share_a_rank_and_a_flat_group_teaches_nothing():
    assert_allclose(centered_rank(torch.tensor([[1.0], [2.0], [2.0]])).flatten(), [-1, 0.5, 0.5])
    batch = forecasts(FORECASTS, OBSERVED).but(rewards=torch.full((4, 1), 0.7))
    assert not RankRewards()(batch, run_of()).advantages.any()
    assert not centered_rank(torch.tensor([[3.0]])).any()


def test_rates_of_a_forecast_by_hand():
    """The first forecast: two hits, one false alarm, one correct negative."""
    found = Tables.of(forecasts(FORECASTS[:1], OBSERVED), run_of())
    recall, pofd = found.rates("rollout")
    assert (recall.item(), pofd.item()) == (1.0, 0.5)


def test_prices_follow_violations():
    state = {"price": 0.2}
    wanted = []
    for pofd in (0.25, 0.22, 0.15):
        follow(state, pofd - 0.18, ConstrainRates())
        wanted.append(state["price"])
    assert_allclose(wanted, [0.200842, 0.201458, 0.201300], atol=5e-7)


def test_constraints_pay_recall_and_charge_false_alarms():
    batch = forecasts([FORECASTS[0], [9, 18, 30, 60], [9, 18, 50, 90]], OBSERVED)
    run = run_of()
    paid = ConstrainRates()(batch, run).rewards.flatten()
    assert_allclose(paid, [0.2 * 0.4 - 0.2 * 0.32, 0.2 * (0.5 - 0.6), 0.2 * 0.4], atol=1e-6)
    assert run.memory["constrain_rates"]["recall"]["price"] < 0.2  # 5 of 6 is above the floor
    quiet = forecasts([[9, 18, 30, 20]], [5.0, 6.0, 7.0, 8.0])
    assert ConstrainRates()(quiet, run_of()).rewards.item() == 0.0  # no event: no recall


def test_kl_of_gaussians_with_equal_spread_is_that_of_the_sheet():
    def live(*means: float) -> Live:
        nothing = torch.zeros((1, 2))
        mask = torch.ones((1, 2), dtype=torch.bool)
        return Live(nothing, nothing, mask, torch.tensor([means]), torch.full((1, 2), 4.0))

    found = gaussian_kl(live(10.0, 30.0), live(12.0, 27.0))
    assert_allclose(found.mean(), 0.203125, atol=1e-6)
    wider = Live(*(torch.zeros((1, 2)),) * 2, torch.ones((1, 2), dtype=torch.bool),
                 torch.tensor([[10.0, 30.0]]), torch.tensor([[2.0, 8.0]]))  # fmt: skip
    peer = torch.distributions.kl_divergence(
        torch.distributions.Normal(torch.tensor([10.0, 30.0]), torch.tensor([2.0, 8.0])),
        torch.distributions.Normal(torch.tensor([12.0, 27.0]), torch.tensor([4.0, 4.0])),
    )
    assert_allclose(gaussian_kl(wider, live(12.0, 27.0))[0], peer, rtol=1e-5)


def test_policies_without_gaussians_are_told_what_would_do():
    run = a_run(RECIPE, policy=tiny())
    batch = judged(1.0, 0.0)
    with pytest.raises(UsageError, match="KLToReference"):
        ControlKL()(batch.but(mask=batch.mask), run)
    with pytest.raises(UnknownName):
        PayClasses()(batch, run)


def test_it_is_grpo_with_other_stages():
    plain = RECIPE.but(
        name="grpo",
        home=GRPO.home,
        paper=GRPO.paper,
        samplers=GRPO.samplers,
        rewards=GRPO.rewards,
        advantages=GRPO.advantages,
        weights=GRPO.weights,
        losses=GRPO.losses,
        optimizer=GRPO.optimizer,
        max_tokens=GRPO.max_tokens,
        steps=GRPO.steps,
    )
    assert plain == GRPO
    assert isinstance(RECIPE.losses[1], ExactKL)


# -- fields

FIELD = "airquality/world_grid"


def test_a_field_is_paid_as_its_cells_would_be():
    """Two cells in one table earn the mean of what they earn as two stations."""
    task = registry.task(FIELD)
    observed = np.array([[[10.0, 40.0]]] * 4)
    said = [np.array([[[40.0, 50.0]]] * 4), np.array([[[12.0, 20.0]]] * 4)]
    rollouts = []
    for number, values in enumerate(said):
        verdict = verify_fields(
            observed, Completion(values), leads=(12, 24, 36, 48), edges=EDGES, event=2
        )
        prompt = Prompt(Example("now", {}, None), (Message("user", "?"),), attempt=number)
        turn = (prompt, Completion(values, steps=4))
        rollouts.append(Rollout((turn,), verdict, "now", attempt=number))
    batch = Batch.of(rollouts, torch.ones((2, 4), dtype=torch.bool))
    run = a_run(RECIPE.but(max_tokens=Constant(4)), task=task, policy=tiny())
    assert_allclose(PayClasses()(batch, run).rewards.flatten(), [(1 - 0.1) / 2, 0.5], atol=1e-6)
    recall, pofd = Tables.of(batch, run).rates("rollout")
    assert (recall.tolist(), pofd.tolist()) == ([1.0, 0.0], [1.0, 0.0])
    near = a_run(RECIPE.but(max_tokens=Constant(1)), task=task, policy=tiny())
    assert Tables.of(batch, near).cells.tolist() == [[2.0], [2.0]]


def test_kl_of_classes_is_that_of_categoricals_over_the_cells_that_count():
    rng = torch.Generator().manual_seed(0)
    one, other = (torch.log_softmax(torch.randn((2, 3, 2, 2, 4), generator=rng), -1) for _ in "ab")
    share = torch.tensor([[0.5, 0.5], [0.0, 0.0]]).expand(2, 3, 2, 2)
    nothing, mask = torch.zeros((2, 3)), torch.ones((2, 3), dtype=torch.bool)
    live, reference = (Live(nothing, nothing, mask, classes=each, cells=share)
                       for each in (one, other))  # fmt: skip
    peer = torch.distributions.kl_divergence(
        torch.distributions.Categorical(logits=one), torch.distributions.Categorical(logits=other)
    )
    assert_allclose(exact_kl(live, reference), peer[..., 0, :].mean(-1), atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["grpo", "air_grpo"])
def test_recipes_keep_their_contracts_on_fields(name: str):
    found = recipe_contracts(
        registry.recipe(name), registry.card("recipes", name), registry.task(FIELD)
    )
    assert [finding for finding in found if not finding.ok] == []
