"""knapsack_rl by hand: budgets against the sheet and against brute force, and every fallback."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import UsageError
from harness.types import Example
from tests.trainer_builders import a_run, still
from trainers.recipe import Past, Run
from trainers.recipes.knapsack_rl import RECIPE, Knapsack, value
from trainers.samplers import Uniform

PLAIN = Knapsack(most=20)


def worth(budgets: list[int], rates: list[float]) -> float:
    return sum(value(n, p) for n, p in zip(budgets, rates, strict=True))


def run_of(rates: dict[str, tuple[int, int]], step: int = 0) -> Run:
    """A run in which examples were last asked and solved so often."""
    run = a_run(RECIPE, policy=still())
    run.step = step
    run.ledger.past |= {id: Past(n, k, asked=n, solved=k) for id, (n, k) in rates.items()}
    return run


def test_worked_values():
    table = {
        0.125: (0.020935, 0.039580, 0.062819, 0.084404),
        0.5: (0.062500, 0.109375, 0.124023, 0.124996),
        0.875: (0.002991, 0.005654, 0.008974, 0.012058),
        0.0: (0, 0, 0, 0),
        1.0: (0, 0, 0, 0),
    }
    for rate, row in table.items():
        assert [value(n, rate) for n in (2, 4, 8, 16)] == pytest.approx(row, abs=1e-6)


def test_worked_budgets():
    rates = [0.125, 0.5, 0.875]
    found = PLAIN.budgets(rates, 8)
    assert found == [15, 7, 2]
    assert worth(found, rates) == pytest.approx(0.208827, abs=1e-6)
    assert worth([8, 8, 8], rates) == pytest.approx(0.195816, abs=1e-6)


def test_worked_chances_of_a_mixed_group():
    def chance(n: int, p: float) -> float:
        return value(n, p) / (p * (1 - p) ** 2)

    rates = (0.125, 0.5, 0.875)
    uniform = [chance(8, p) for p in rates]
    assert uniform == pytest.approx([0.656391, 0.992188, 0.656391], abs=1e-6)
    dealt = [chance(n, p) for n, p in zip((15, 7, 2), rates, strict=True)]
    assert dealt == pytest.approx([0.865066, 0.984375, 0.218750], abs=1e-6)
    assert (sum(uniform), sum(dealt)) == pytest.approx((2.304970, 2.068191), abs=1.1e-6)
    share = sum(n * c for n, c in zip((15, 7, 2), dealt, strict=True)) / 24
    assert (sum(uniform) / 3, share) == pytest.approx((0.768, 0.846), abs=1e-3)


def test_questions_that_are_surely_flat_get_the_least():
    rates = [0.0, 0.125, 0.5, 0.875, 1.0]
    found = Knapsack(most=24).budgets(rates, 8)
    assert found == [2, 21, 8, 7, 2]
    assert worth(found, rates) == pytest.approx(0.222234, abs=1e-6)


def test_released_code_counts_the_least_as_worth_nothing():
    assert Knapsack(most=20, floor="free").budgets([0.125, 0.5, 0.875], 8) == [14, 7, 3]


def test_costs_of_a_mixed_group_at_90_percent():
    assert np.log(1 - 0.9) / np.log(0.875) == pytest.approx(17.243774, abs=1e-6)
    assert np.log(1 - 0.9) / np.log(0.5) == pytest.approx(3.321928, abs=1e-6)
    assert [Knapsack()._cost(p) for p in (0.125, 0.875, 0.5)] == [17, 17, 3]


@given(
    rates=st.lists(st.sampled_from([0.1, 0.125, 0.3, 0.5, 0.7, 0.9]), min_size=1, max_size=4),
    often=st.integers(2, 5),
    floor=st.sampled_from(["worth", "free"]),
)
@settings(max_examples=60, deadline=None)
def test_no_other_dealing_is_worth_more(rates: list[float], often: int, floor: str):
    stage = Knapsack(least=2, most=8, confidence=0.999999, floor=floor)  # type: ignore[arg-type]

    def objective(budgets: tuple[int, ...]) -> float:
        counted = [
            0.0 if floor == "free" and n == 2 else value(n, p)
            for n, p in zip(budgets, rates, strict=True)
        ]
        return sum(counted)

    total = often * len(rates)
    best = max(
        objective(each) for each in product(range(2, 9), repeat=len(rates)) if sum(each) == total
    )
    found = stage.budgets(list(rates), often)
    assert sum(found) == total
    assert objective(tuple(found)) == pytest.approx(best, abs=1e-12)


@given(
    rates=st.lists(st.sampled_from([None, 0.0, 1.0, 0.25, 0.5, 0.99]), min_size=1, max_size=30),
    often=st.integers(2, 9),
    confidence=st.sampled_from([0.1, 0.9, 0.999]),
)
@settings(max_examples=150, deadline=None)
def test_the_total_is_kept_and_nobody_gets_less_than_the_least(
    rates: list[float | None], often: int, confidence: float
):
    found = Knapsack(most=16, confidence=confidence).budgets(rates, often)
    assert sum(found) == often * len(rates)
    assert min(found) >= 2


@pytest.mark.parametrize("rates", [[None] * 4, [1.0] * 4, [1.0, None, 1.0]])
def test_with_nothing_to_choose_between_it_is_uniform(rates: list[float | None]):
    assert Knapsack().budgets(rates, 8) == [8] * len(rates)


def test_where_none_is_mixed_all_that_is_left_goes_to_the_unsolved():
    assert Knapsack().budgets([0.0, 1.0, 0.0], 8) == [11, 2, 11]


def test_what_is_beyond_a_mixed_group_goes_to_the_unsolved_else_to_the_solved():
    assert Knapsack().budgets([0.5, 0.0, 1.0], 8) == [3, 19, 2]
    assert Knapsack().budgets([0.5, 1.0], 8) == [3, 13]
    assert Knapsack().budgets([0.5, 0.5], 8) == [8, 8]


def test_rates_are_those_of_the_last_time_and_can_be_smoothed():
    run = run_of({"a": (8, 0), "b": (4, 2)})
    assert [PLAIN._rate(id, run) for id in ("a", "b", "new")] == [0.0, 0.5, None]
    assert Knapsack(prior=1.0)._rate("a", run) == 0.1


def test_the_ledger_tells_the_last_time_from_all_times():
    run = a_run(RECIPE, policy=still())
    from tests.trainer_builders import rollout

    for step, rewards in enumerate(([1.0, 1.0, 1.0], [0.0, 1.0])):
        run.ledger.note([rollout(r, group="a") for r in rewards], rewards, step)
    past = run.ledger["a"]
    assert (past.tries, past.successes, past.asked, past.solved) == (5, 4, 2, 1)


def test_prompts_carry_their_budgets_and_no_attempt_is_numbered_twice():
    examples = [Example(id, {"q": id}, "1") for id in "abc"]
    run = run_of({"a": (8, 1), "b": (8, 8), "c": (8, 4)})
    asked = Knapsack(prompts=5, rollouts=4)(examples, run)
    assert sum(prompt.rollouts for prompt in asked) == 20
    taken = [(p.example.id, p.attempt + n) for p in asked for n in range(p.rollouts)]
    assert len(taken) == len(set(taken))


def test_is_grpo_while_nothing_is_known():
    examples = [Example(id, {"q": id}, "1") for id in "abcdefgh"]
    one, other = a_run(RECIPE, policy=still()), a_run(RECIPE, policy=still())
    assert Knapsack(4, 8)(examples, one) == Uniform(4, 8)(examples, other)


@pytest.mark.parametrize("wrong", [{"least": 0}, {"least": 9}, {"most": 7}, {"confidence": 1.0}])
def test_budgets_that_cannot_be_are_refused(wrong: dict[str, Any]):
    run = a_run(RECIPE, policy=still())
    with pytest.raises(UsageError, match="least"):
        Knapsack(**wrong)([Example("a", {"q": "a"}, "1")], run)


def test_thousands_of_questions_are_dealt_at_once():
    rates = np.random.default_rng(0).integers(0, 9, 4000) / 8
    found = Knapsack().budgets(rates.tolist(), 10)
    assert sum(found) == 40_000
