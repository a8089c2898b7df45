"""Warm starts and budgets: what is shown is learned, and a run ends when its budget is spent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness import Task, registry
from harness.errors import DataError, UsageError
from harness.journal import Journal
from harness.models import Sampling
from harness.play import play
from harness.types import Rollout
from tests.trainer_builders import digits, short, tiny
from trainers.budget import Budget, Spent
from trainers.loop import Plan, Training
from trainers.policies.text import TextPolicy
from trainers.recipes.grpo import RECIPE as GRPO
from trainers.samplers import Uniform
from trainers.warm import WarmUp, shown, warm_up


def correct(policy: TextPolicy, task: Task) -> float:
    policy.sampling = Sampling(max_tokens=3, seed=5)
    prompts = [task.prompt(example).but(rollouts=4) for example in task.examples("test")]
    found = [r for r in play(task, prompts, policy) if isinstance(r, Rollout)]
    return sum(r.verdict.scores["correct"] for r in found) / len(found)


def test_a_model_that_knows_nothing_learns_what_is_shown() -> None:
    policy = tiny()
    before = correct(policy, digits())
    cost = warm_up(policy, digits(), WarmUp(steps=40, batch=16, lr=1e-2))
    assert cost < 1.5
    assert before < 0.1 < correct(policy, digits())


def test_the_same_warm_start_gives_the_same_weights() -> None:
    costs = [warm_up(tiny(), digits(), WarmUp(steps=3, batch=8)) for _ in range(2)]
    assert costs[0] == costs[1]


def test_gold_is_shown_where_a_task_has_no_demonstrations() -> None:
    task = digits()
    example = task.examples("train")[3]
    assert shown(task, [example]) == [(task.prompt(example), "3")]
    graded = registry.task("ladders/graded")
    assert len(shown(graded, graded.examples("train")[:2])) == 8


def test_what_is_no_text_cannot_be_shown() -> None:
    task = digits().but(gold=lambda example: 3)
    with pytest.raises(DataError, match="shows a int"):
        shown(task, task.examples("train"))
    with pytest.raises(DataError, match="no train examples"):
        shown(task, [])


@pytest.mark.parametrize(
    ("text", "amount", "unit"),
    [("20000rollouts", 2e4, "rollouts"), ("2e6tokens", 2e6, "tokens"), ("1.5s", 1.5, "seconds")],
)
def test_budgets_are_read_as_they_are_written(text: str, amount: float, unit: str) -> None:
    budget = Budget.of(text)
    assert (budget.amount, budget.unit) == (amount, unit)
    assert Budget.of(str(budget)) == budget


@pytest.mark.parametrize("text", ["", "12", "tokens", "-3s", "1e999s", "0rollouts", "3 days"])
def test_what_is_no_budget_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="budget"):
        Budget.of(text)


def test_schedules_go_over_what_a_budget_of_rollouts_buys() -> None:
    recipe = GRPO.but(samplers=Uniform(prompts=8, rollouts=4))
    assert Budget(100, "rollouts").stretched(recipe).steps == 4
    assert Budget(100, "tokens").stretched(recipe).steps == recipe.steps


def test_spending_adds_up() -> None:
    spent = Spent()
    spent.add(8, 20, 0.5)
    told = spent.add(8, 30, 0.5)
    assert told == {"spent/rollouts": 16, "spent/tokens": 50, "spent/seconds": 1.0}
    assert spent.reaches(Budget(16, "rollouts"))
    assert not spent.reaches(Budget(51, "tokens"))


def trained(folder: Path, plan: Plan, *, stop: int = 0) -> list[dict[str, Any]]:
    training = Training(digits(), short(GRPO, steps=99), {"solver": tiny()}, folder, plan)

    def report(step: int, numbers: Any) -> None:
        training.stopping = step == stop

    training.report = report
    try:
        training.train()
    except KeyboardInterrupt:
        assert stop
    return [line for line in Journal(folder / "metrics.jsonl").read() if "reward" in line]


def test_a_run_ends_with_the_step_that_spends_its_budget(tmp_path: Path) -> None:
    plan = Plan(dev_every=0, budget=Budget(30, "rollouts"))
    lines = trained(tmp_path, plan)
    assert [line["spent/rollouts"] for line in lines] == [12, 24, 36]
    assert (tmp_path / "checkpoints" / "step-000003").is_dir()


def test_a_stopped_run_goes_on_with_what_is_left_of_its_budget(tmp_path: Path) -> None:
    plan = Plan(dev_every=0, budget=Budget(30, "rollouts"))
    whole = trained(tmp_path / "whole", plan)
    assert len(trained(tmp_path / "broken", plan, stop=1)) == 1
    again = trained(tmp_path / "broken", plan)
    names = ("step", "reward", "spent/rollouts", "spent/tokens")
    assert [[line[n] for n in names] for line in again] == [[x[n] for n in names] for x in whole]
