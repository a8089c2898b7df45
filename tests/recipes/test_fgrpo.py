"""fgrpo by hand: its sheet, the path of its prices, what is left out and what counts 0."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, tensor
from torch.testing import assert_close

from harness.errors import UnknownName
from harness.types import Verdict
from tests.trainer_builders import a_run, credited, digits, judged, rollout, short, still, tiny
from trainers.advantages import CenterByMean, ScaleByStd
from trainers.batch import Batch
from trainers.loop import Plan, Training
from trainers.recipe import Run
from trainers.recipes.fgrpo import RECIPE, PriceConstraints
from trainers.recipes.grpo import RECIPE as GRPO
from trainers.rewards import WeighScores

NEAR = {"atol": 1e-6, "rtol": 0}
Scores = Mapping[str, float]
SHEET: list[Scores] = [
    {"correct": 1, "consistent": 1, "grounding": 0.9},
    {"correct": 1, "consistent": 0, "grounding": 0.6},
    {"correct": 0, "consistent": 1, "grounding": 0.7},
    {"correct": 0, "consistent": 0, "grounding": 0.4},
]


def scored(*groups: Sequence[Scores], reasons: Sequence[str] = ()) -> Batch:
    """Rollouts with these scores, each of them paid for `correct`."""
    why = iter([*reasons, *["wrong"] * 100])
    rollouts = [
        replace(rollout(group=f"g{g}", attempt=n), verdict=Verdict(scores, reason=next(why)))
        for g, group in enumerate(groups)
        for n, scores in enumerate(group)
    ]
    batch = Batch.of(rollouts, torch.ones((len(rollouts), 3), dtype=torch.bool))
    return batch.but(rewards=batch.scores["correct"].unsqueeze(1).nan_to_num(0.0))


def run_at(**prices: float) -> Run:
    return replace(a_run(RECIPE, policy=still()), memory={"prices": dict(prices)})


def advantages(stage: PriceConstraints, batch: Batch, **prices: float) -> Tensor:
    return stage(batch, run_at(**prices)).advantages[:, 0]


def only(name: str, scope: str = "batch") -> PriceConstraints:
    return PriceConstraints({name: 0.95}, scope=scope)  # type: ignore[arg-type]


TASK = [0.866025, 0.866025, -0.866025, -0.866025]
CONSISTENT = [0.866025, -0.866025, 0.866025, -0.866025]
GROUNDED = [1.200961, -0.240192, 0.240192, -1.200961]
SUM = [1.539230, 0.384974, -0.384974, -1.539230]
MEAN = [0.905430, 0.226455, -0.226455, -0.905430]


def test_oracle_each_channel_is_normalized_apart():
    batch = scored(SHEET)
    task = tensor(TASK)
    assert_close(advantages(PriceConstraints({}), batch), task, **NEAR)
    for name, expected in (("consistent", CONSISTENT), ("grounding", GROUNDED)):
        found = advantages(only(name), batch, **{name: 1.0}) - task
        assert_close(found, tensor(expected), atol=2e-6, rtol=0)


@pytest.mark.parametrize(("averaged", "expected"), [(False, SUM), (True, MEAN)])
def test_oracle_of_the_priced_sum(averaged: bool, expected: list[float]):
    stage = PriceConstraints(averaged=averaged)
    found = advantages(stage, scored(SHEET), consistent=0.5, grounding=0.2)
    assert_close(found, tensor(expected), **NEAR)


def test_oracle_of_the_contrast_one_sum_of_all():
    weights = {"correct": 1.0, "consistent": 0.5, "grounding": 0.2}
    one = GRPO.but(advantages=(CenterByMean(), ScaleByStd(eps=0.0, ddof=1)))
    batch = WeighScores(weights)(scored(SHEET), run_at())
    expected = tensor([1.173093, 0.351928, -0.351928, -1.173093])
    assert_close(credited(one, batch).advantages[:, 0], expected, **NEAR)


def test_oracle_of_the_scope():
    groups = [[{"correct": 0, "consistent": c} for c in row] for row in ((0,) * 4, (1, 1, 1, 0))]
    batch, price = scored(*groups), {"consistent": 1.0}
    within = [0.0] * 4 + [0.5, 0.5, 0.5, -1.5]
    assert_close(advantages(only("consistent", "group"), batch, **price), tensor(within), **NEAR)
    over = [-0.724569] * 4 + [1.207615] * 3 + [-0.724569]
    assert_close(advantages(only("consistent"), batch, **price), tensor(over), **NEAR)


def test_the_task_may_be_normalized_over_the_batch_too():
    rows = [[{"correct": c} for c in row] for row in ((0,) * 4, (1, 1, 1, 0))]
    over = [-0.724569] * 4 + [1.207615] * 3 + [-0.724569]
    stage = PriceConstraints({}, task_scope="batch")
    assert_close(advantages(stage, scored(*rows)), tensor(over), **NEAR)


def means(consistent: float, grounding: float) -> Batch:
    return scored([{"correct": 0, "consistent": consistent, "grounding": grounding}] * 2)


def test_oracle_of_the_dual_step():
    run = run_at(consistent=0.5, grounding=0.2)
    PriceConstraints({"consistent": 0.95, "grounding": 0.8}, rate=0.05)(means(0.5, 0.65), run)
    assert run.memory["prices"] == pytest.approx({"consistent": 0.5225, "grounding": 0.2075})


def test_prices_rise_while_a_floor_is_missed_and_fall_back_to_0_once_it_is_met():
    run, stage, path = run_at(consistent=0.0), only("consistent"), []
    stage = replace(stage, rate=0.5, highest=0.8)
    for mean in (0.0, 0.45, 0.95, 1.0, 0.0, 0.0, 1.0, 1.0):
        stage(means(mean, 0), run)
        path.append(run.memory["prices"]["consistent"])
    assert path == pytest.approx([0.475, 0.725, 0.725, 0.7, 0.8, 0.8, 0.775, 0.75])
    for _ in range(40):
        stage(means(1.0, 0), run)
    assert run.memory["prices"]["consistent"] == 0.0


def test_a_step_uses_the_prices_from_before_it():
    run = run_at(consistent=0.0, grounding=0.0)
    first = PriceConstraints(rate=1.0)(scored(SHEET), run).advantages[:, 0]
    assert_close(first, tensor(TASK), **NEAR)
    assert run.memory["prices"] == pytest.approx({"consistent": 0.45, "grounding": 0.25})
    numbers = run.tally.numbers()
    assert (numbers["price/consistent"], numbers["channel/grounding"]) == pytest.approx((0, 0.65))


def test_limit_without_floors_it_is_grpo_with_the_sample_std():
    plain = GRPO.but(advantages=(CenterByMean(), ScaleByStd(eps=1e-8, ddof=1)))
    bare = RECIPE.but(advantages=(PriceConstraints({}),))
    batch = judged([1.0, 0.0, 0.3], [0.5, 0.5], [1.0])
    one, other = credited(bare, batch), credited(plain, batch)
    assert_close(one.advantages, other.advantages)
    assert_close(one.weights, other.weights)


def test_an_unreadable_reply_is_0_in_every_channel():
    """Else no reasoning at all would be consistent."""
    perfect = {"correct": 1.0, "consistent": 1.0, "grounding": 1.0}
    read = scored([{**SHEET[3]}, *SHEET[:3]])
    unread = scored([perfect, *SHEET[:3]], reasons=["bad_format"])
    zeros = scored([dict.fromkeys(perfect, 0.0), *SHEET[:3]])
    prices = {"consistent": 0.5, "grounding": 0.2}
    found = advantages(PriceConstraints(), unread, **prices)
    assert_close(found, advantages(PriceConstraints(), zeros, **prices))
    assert not torch.allclose(found, advantages(PriceConstraints(), read, **prices))


def test_what_cannot_be_verified_is_left_out_of_mean_and_credit():
    told, untold = SHEET, [{"correct": 1.0}, {"correct": 0.0}]
    run, alone = run_at(consistent=1.0, grounding=1.0), run_at(consistent=1.0, grounding=1.0)
    both = PriceConstraints()(scored(told, untold), run).advantages[:, 0]
    one = PriceConstraints()(scored(told), alone).advantages[:, 0]
    assert_close(both[:4], one)
    assert_close(both[4:], advantages(PriceConstraints({}), scored(untold)))
    assert run.memory == alone.memory


def test_no_reply_takes_itself_out_of_a_channel():
    """One that lacks what its siblings have, and a group that nobody could read."""
    silent = [{"correct": 0.0}, *SHEET[1:]]
    zero = [{"correct": 0.0, "consistent": 0.0, "grounding": 0.0}, *SHEET[1:]]
    prices = {"consistent": 0.5, "grounding": 0.2}
    stage = PriceConstraints()
    assert_close(
        advantages(stage, scored(silent), **prices), advantages(stage, scored(zero), **prices)
    )
    lost = [{"correct": 0.0}] * 2
    found = advantages(stage, scored(lost, SHEET, reasons=["bad_format"] * 2), **prices)
    assert found[:2].max().item() < -0.3


def test_a_task_without_the_score_is_refused_by_name_before_the_first_step(tmp_path: Path):
    recipe = short(RECIPE.but(advantages=(PriceConstraints({"faithful": 0.9}),)))
    training = Training(digits(), recipe, {"solver": tiny()}, tmp_path, Plan(dev_every=0))
    with pytest.raises(UnknownName, match=r"faithful.*close"):
        training.train()
    assert not (tmp_path / "checkpoints").exists()


def test_degenerate_groups_add_nothing():
    same = [{"correct": 1.0, "consistent": 1.0, "grounding": 0.7}] * 3
    found = advantages(PriceConstraints(), scored(same, same[:1]), consistent=5.0, grounding=5.0)
    assert found.abs().max().item() < 1e-6


def test_prices_are_saved_and_a_stopped_run_goes_on_to_the_same_path(tmp_path: Path):
    recipe = short(RECIPE.but(advantages=(PriceConstraints({"close": 0.9}, rate=0.3),)), steps=3)

    def train(folder: str, *, stop: bool = False) -> Training:
        plan = Plan(dev_every=0, save_every=1)
        training = Training(digits(), recipe, {"solver": tiny()}, tmp_path / folder, plan)
        training.stopping = stop
        if stop:
            with pytest.raises(KeyboardInterrupt):
                training.train()
        else:
            training.train()
        return training

    whole = train("whole").run.memory["prices"]
    first = train("parts", stop=True).run.memory["prices"]
    assert 0 < first["close"] < whole["close"]
    assert train("parts").run.memory["prices"] == whole
