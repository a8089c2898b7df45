"""bnpo by hand: moments of the success rates, the Beta density, rewards apart."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, tensor
from torch.testing import assert_close

from harness.errors import UsageError
from harness.types import Verdict
from tests.trainer_builders import a_run, credited, judged, still
from trainers.advantages import CenterByMean, ScaleByStd
from trainers.batch import Batch
from trainers.losses import Clipped
from trainers.recipe import Recipe
from trainers.recipes.bnpo import RECIPE as BNPO
from trainers.recipes.bnpo import NormalizeByBeta, fitted, log_density
from trainers.recipes.grpo import RECIPE as GRPO
from trainers.rewards import WeighScores

PAID = BNPO.but(rewards=(WeighScores({"correct": 1.0}),))
GROUPS = [1.0, 0, 0, 0], [1.0, 1, 0, 0], [1.0, 1, 1, 0], [1.0, 0, 0, 0]
NEAR = {"atol": 6e-7, "rtol": 0}


def given(**settings: object) -> Recipe:
    return PAID.but(advantages=(NormalizeByBeta(**settings),))  # type: ignore[arg-type]


def found(recipe: Recipe, batch: Batch) -> Tensor:
    return credited(recipe, batch, a_run(recipe, policy=still())).advantages[:, 0]


def test_oracle_worked_example():
    rates = tensor([0.25, 0.5, 0.75, 0.25], dtype=torch.float64)
    assert (float(rates.mean()), float(rates.var())) == pytest.approx((0.4375, 0.057292), abs=5e-7)
    assert fitted(rates) == pytest.approx((1.480587, 1.617898), abs=6e-7)
    run = a_run(PAID, policy=still())
    batch = credited(PAID, judged(*GROUPS), run)
    hard, half = [0.630577, *[-0.210192] * 3], [0.387063] * 2 + [-0.387063] * 2
    expected = [*hard, *half, *[0.244417] * 3, -0.733250, *hard]
    assert_close(batch.advantages[:, 0], tensor(expected), **NEAR)
    assert run.tally.values["beta/correct/alpha"] == pytest.approx(1.480587, abs=6e-7)


def test_oracle_weights_of_the_groups():
    rates = tensor([[0.25], [0.5], [0.75]], dtype=torch.float64)
    a, b = 3 * (1.480587 - 1), 3 * (1.617898 - 1)
    assert (a, b) == pytest.approx((1.441761, 1.853693), abs=2e-6)
    density = log_density(rates, 1.480587, 1.617898).exp()
    assert (1 / density[:, 0]).tolist() == pytest.approx([0.840769, 0.774127, 0.977667], abs=2e-6)
    half = log_density(rates[:1], 1.5, 1.5).exp().item()
    assert 1 / half == pytest.approx(0.906900, abs=6e-7)
    assert half == pytest.approx(8 / math.pi * math.sqrt(0.1875), abs=6e-7)


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        (1, 1, [0.166667, 0.154213, 0.148870]),
        (2, 2, [0.200000, 0.154213, 0.151451]),
        (1, 4, [0.133333, 0.154213, 0.074435]),
    ],
)
def test_oracle_the_fitted_density_has_the_least_variance(a: float, b: float, expected: list):
    def log_beta(x: float, y: float) -> float:
        return math.lgamma(x) + math.lgamma(y) - math.lgamma(x + y)

    def bound(alpha: float, beta: float) -> float:
        rest = log_beta(a + 3 - 2 * alpha, b + 3 - 2 * beta)
        return math.exp(2 * log_beta(alpha, beta) + rest - log_beta(a, b))

    draw = torch.distributions.Beta(tensor(float(a)), tensor(float(b)))
    alpha, beta = 1 + a / 3, 1 + b / 3
    values = [bound(1, 1), bound(1.5, 1.5), bound(alpha, beta)]
    assert values == pytest.approx(expected, abs=6e-7)
    assert min(values) == values[2]
    torch.manual_seed(0)
    fit = fitted(draw.sample((200_000,)).double())
    assert fit == pytest.approx((alpha, beta), rel=0.03)


def test_limit_alpha_beta_1_is_centering_alone():
    centered = GRPO.but(advantages=(CenterByMean(),))
    batch = judged(*GROUPS)
    assert_close(found(given(alpha=1.0, beta=1.0), batch), found(centered, batch))


def test_limit_alpha_beta_3_2_is_grpo_times_pi_over_8():
    exact = GRPO.but(advantages=(CenterByMean(), ScaleByStd(eps=0.0)))
    batch = judged(*GROUPS)
    ours = found(given(alpha=1.5, beta=1.5), batch)
    assert_close(ours, math.pi / 8 * found(exact, batch), atol=1e-6, rtol=0)


def test_it_is_not_the_loss_type_of_that_name():
    assert BNPO.losses == (Clipped(low=0.2, high=0.28),)
    assert BNPO.advantages == (NormalizeByBeta(),)


def scored(batch: Batch, **scores: list[float]) -> Batch:
    columns = {name: tensor(values) for name, values in scores.items()}
    rollouts = [
        replace(r, verdict=Verdict({name: values[n] for name, values in scores.items()}))
        for n, r in enumerate(batch.rollouts)
    ]
    return batch.but(rollouts=tuple(rollouts), scores=columns)


def test_rewards_apart_are_the_mean_of_their_advantages():
    one, two = [1.0, 0, 0, 0, 1, 1, 0, 0], [1.0, 1, 1, 0, 1, 0, 0, 0]
    batch = scored(judged([0.0] * 4, [0.0] * 4), one=one, two=two)

    def of(weights: dict[str, float]) -> Tensor:
        recipe = PAID.but(rewards=(WeighScores(weights),))
        return found(recipe, recipe.rewards[0](batch, a_run(recipe, policy=still())))

    both = of({"one": 1.0, "two": 1.0})
    assert_close(both, (of({"one": 1.0}) + of({"two": 1.0})) / 2)
    assert_close(of({"one": 3.0, "two": 1.0}), (3 * of({"one": 1.0}) + of({"two": 1.0})) / 4)
    assert_close(of({"one": 0.3}), of({"one": 1.0}))


def test_a_score_that_costs_is_paid_for_its_absence():
    misses = [0.0, 2, 4, 4, 2, 0, 0, 0]
    batch = scored(judged([0.0] * 4, [0.0] * 4), misses=misses, fine=[1 - m / 4 for m in misses])

    def of(name: str, weight: float) -> Tensor:
        recipe = given(ranges={"misses": (0.0, 4.0)}).but(rewards=(WeighScores({name: weight}),))
        return found(recipe, recipe.rewards[0](batch, a_run(recipe, policy=still())))

    assert_close(of("misses", -0.5), of("fine", 1.0))


def test_scores_out_of_range_are_refused_with_the_way_out():
    with pytest.raises(UsageError, match=r"values from 0 to 3 .*ranges="):
        found(
            PAID, scored(judged([0.0, 0.0]), correct=[0.0, 3.0]).but(rewards=tensor([[0.0], [3]]))
        )


def test_float_noise_at_the_ends_does_not_explode():
    third = [1 / 3] * 3
    batch = judged([1.0] * 7, [0.0] * 3, [1.0, 0.0], third)
    ours = found(PAID, batch)
    assert ours[:10].abs().max().item() == 0
    assert ours[12:].abs().max().item() == 0
    assert 0 < ours[10].item() < 10


@pytest.mark.parametrize("groups", [([1.0, 0.0],) * 4, ([1.0, 1.0], [0.0, 0.0])])
def test_degenerate_moments_fall_back_to_no_normalization(groups: tuple[list[float], ...]):
    """All rates the same: no variance. All at the ends: more variance than a Beta has."""
    assert_close(found(PAID, judged(*groups)), found(given(alpha=1.0, beta=1.0), judged(*groups)))


def test_degenerate_a_single_group_and_single_rollouts():
    assert_close(found(PAID, judged([1.0, 0.0, 0.0])), tensor([2, -1, -1]) / 3)
    assert found(PAID, judged([1.0])).tolist() == [1.0]  # p = 0: REINFORCE
    mixed = found(PAID, judged([1.0], [1.0, 0.0], [1.0, 1.0, 0.0]))
    assert bool(mixed.isfinite().all())
    assert mixed[0].item() in (0.0, pytest.approx(1.0, abs=1.0))
