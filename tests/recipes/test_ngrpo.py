"""ngrpo by hand: a virtual best reward in every group's mean and std."""

import pytest
import torch
from torch import tensor
from torch.testing import assert_close

from harness.errors import UsageError
from tests.trainer_builders import a_run, credited, judged
from trainers.advantages import CenterByMean, ScaleByStd
from trainers.losses import Clipped
from trainers.numbers import of_batch
from trainers.policy import Live
from trainers.recipe import Run
from trainers.recipes.grpo import RECIPE as GRPO
from trainers.recipes.ngrpo import RECIPE as NGRPO
from trainers.recipes.ngrpo import CalibrateWithVirtualBest
from trainers.rewards import WeighScores

SAMPLE = GRPO.but(advantages=(CenterByMean(), ScaleByStd(eps=1e-6, ddof=1)))


@pytest.fixture(scope="module")
def run() -> Run:
    return a_run(NGRPO)


def first(rewards: list[float], run: Run, **settings: float) -> list[float]:
    stage = CalibrateWithVirtualBest(**settings)  # type: ignore[arg-type]
    return stage(judged(rewards), run).advantages[:, 0].tolist()


def test_oracle_all_wrong(run: Run):
    assert first([0.0] * 8, run) == pytest.approx([-0.333332] * 8, abs=6e-7)
    assert first([0.0] * 4, run) == pytest.approx([-0.447213] * 4, abs=6e-7)
    assert first([0.0] * 8, run, copies=2) == pytest.approx([-0.474341] * 8, abs=6e-7)
    for size in (2, 5, 16):  # the sample std: -1 / sqrt(G + 1), not the population's -1 / sqrt(G)
        expected = -1 / (size + 1) ** 0.5
        assert first([0.0] * size, run) == pytest.approx([expected] * size, abs=1e-5)


def test_oracle_mixed_and_all_right(run: Run):
    one = [1.763830] + [-0.503951] * 7
    assert first([1.0] + [0.0] * 7, run) == pytest.approx(one, abs=6e-7)
    half = [0.843272] * 4 + [-1.054091] * 4
    assert first([1.0] * 4 + [0.0] * 4, run) == pytest.approx(half, abs=6e-7)
    assert first([1.0] * 8, run) == [0.0] * 8


@pytest.mark.parametrize(
    ("right", "expected"), [(1, [2.474867, -0.353552]), (4, [0.935413, -0.935413])]
)
def test_oracle_and_limit_no_virtual_attempt_is_grpo(run: Run, right: int, expected: list[float]):
    rewards = [1.0] * right + [0.0] * (8 - right)
    found = first(rewards, run, copies=0)
    assert [found[0], found[-1]] == pytest.approx(expected, abs=1e-6)
    assert_close(tensor(found), credited(SAMPLE, judged(rewards)).advantages[:, 0])


def test_positives_shrink_and_negatives_grow(run: Run):
    rewards = [1.0, 1.0, 0.0, 0.0, 0.0]
    ours, theirs = first(rewards, run), first(rewards, run, copies=0)
    assert all(0 < a < b for a, b in zip(ours[:2], theirs[:2], strict=True))
    assert all(a < b < 0 for a, b in zip(ours[2:], theirs[2:], strict=True))


def test_the_lower_bound_holds_wrong_answers_and_the_upper_right_ones(run: Run):
    batch = judged([1.0, 1.0, 0.0, 0.0], steps=1)
    batch = batch.but(advantages=tensor([[1.0], [1.0], [-1.0], [-1.0]]))
    ratio = tensor([[1.5], [0.5], [1.5], [0.5]])
    live = Live(ratio.log(), torch.zeros(4, 1), batch.mask)
    cost = NGRPO.losses[0](live, batch, run)
    assert NGRPO.losses == (Clipped(0.16, 0.24),)
    assert_close(cost[:, 0], tensor([-1.24, -0.5, 1.5, 0.84]))


def test_virtual_attempts_are_in_no_mean_and_no_logged_number(run: Run):
    batch = credited(NGRPO, judged([0.0] * 3, [1.0, 0.0], steps=2), run)
    assert_close(batch.weights.sum(), tensor(1.0))
    assert_close(batch.weights, torch.full((5, 2), 0.1))
    numbers = of_batch(batch, {"correct": 1.0})
    assert numbers["reward"] == pytest.approx(0.2)
    assert numbers["groups"] == 2


def test_solved_groups_are_left_out_and_all_wrong_ones_stay(run: Run):
    batch = credited(NGRPO, judged([1.0, 1.0], [0.0, 0.0], [1.0, 0.0]), run)
    assert batch.weights.sum(1).tolist() == pytest.approx([0, 0, 0.25, 0.25, 0.25, 0.25])
    assert run.tally.values["groups/dropped"] == 1


def test_a_reward_above_the_best_is_refused_with_the_way_out(run: Run):
    shaped = judged([1.0, 1.3])
    with pytest.raises(UsageError, match=r"1\.3 is above the virtual best of 1"):
        CalibrateWithVirtualBest()(shaped, run)
    assert CalibrateWithVirtualBest(best=1.3)(shaped, run).advantages[1].item() > 0


def test_the_best_is_what_the_recipe_pays_for_full_marks():
    paid = NGRPO.but(rewards=(WeighScores({"correct": 1.0, "close": 0.5, "misses": -0.2}),))
    run = a_run(paid)
    batch = judged([1.5, 1.5, 1.5])
    assert CalibrateWithVirtualBest()(batch, run).advantages.abs().max().item() == 0


def test_degenerate_an_attempt_alone_is_paid_as_it_is(run: Run):
    assert first([1.0], run) == pytest.approx([1.0], abs=2e-6)
    assert first([0.0], run) == [0.0]
