"""grpo_care by hand: its sheet, who is compared with whom, and a reference that follows slowly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, tensor
from torch.nn import Parameter
from torch.testing import assert_close

from harness.errors import UnknownName, UsageError
from harness.types import Completion, Rollout, Verdict
from tests.trainer_builders import a_run, credited, digits, rollout, short, tiny
from trainers.batch import Batch
from trainers.loop import Plan, Training
from trainers.policy import Live
from trainers.recipe import Run
from trainers.recipes import grpo_care
from trainers.recipes.grpo import RECIPE as GRPO
from trainers.recipes.grpo_care import RECIPE, FollowSlowly, PayConfidence, mean_probability
from trainers.text.settings import LoRA

NEAR = {"atol": 1e-6, "rtol": 0}
ACCURACY = [1.0, 1.0, 1.0, 0.0, 1.0, 0.0, 0.0, 1.0]
SURE = [0.99, 0.93, 0.60, 0.97, 0.97, 0.20, 0.50, 0.70]
PIECES = ("so", " 4", "<answer>", "4", "</answer>")


def sure_of(told: dict[tuple[str, int], float]) -> Any:
    """A policy whose one weight shifts how sure it is of each rollout's answer, its fourth step."""
    weight = Parameter(torch.zeros(1))

    def review(rollouts: Sequence[Rollout], *, temperature: float | None = None) -> Live:
        assert temperature == 1.0, "the reference's own probabilities"
        logs = tensor([[told[r.group, r.attempt]] * r.steps for r in rollouts]).log() + weight
        logs[:, [0, 1, 2, 4]] = -9.0
        return Live(logs, torch.zeros_like(logs), torch.ones_like(logs, dtype=torch.bool))

    policy: Any = tiny()
    policy.review, policy.parameters = review, lambda: [weight]
    return policy


def said(
    *accuracy: float, group: str = "g0", pieces: Sequence[Sequence[str]] = ()
) -> list[Rollout]:
    """A group whose form is right; each is paid its accuracy and 1."""
    found = []
    for attempt, right in enumerate(accuracy):
        each = rollout(group=group, attempt=attempt, steps=5)
        words = tuple(pieces[attempt]) if pieces else PIECES
        turns = ((each.prompt, Completion("".join(words), steps=len(words), pieces=words)),)
        verdict = Verdict({"correct": right, "formatted": 1.0}, reason="ok" if right else "wrong")
        found.append(replace(each, turns=turns, verdict=verdict))
    return found


def paid(stage: PayConfidence, rollouts: Sequence[Rollout], sure: Sequence[float]) -> Tensor:
    """Rewards of accuracy + form + bonus."""
    return together(stage, rollouts, sure).rewards[:, 0]


def together(stage: PayConfidence, rollouts: Sequence[Rollout], sure: Sequence[float]) -> Batch:
    mask = torch.ones((len(rollouts), max(r.steps for r in rollouts)), dtype=torch.bool)
    batch = Batch.of(rollouts, mask)
    batch = batch.but(rewards=batch.scores["correct"].unsqueeze(1) + 1)
    return stage(batch, run_with(rollouts, sure))


def run_with(rollouts: Sequence[Rollout], sure: Sequence[float]) -> Run:
    told = {(r.group, r.attempt): c for r, c in zip(rollouts, sure, strict=True)}
    return a_run(RECIPE, policy=sure_of(told))


def test_oracle_of_the_confidence():
    logs = tensor([[-3.0, 0.9, 0.8, 0.95, -5.0]]).abs().log()
    where = tensor([[False, True, True, True, False]])
    assert mean_probability(logs, where).item() == pytest.approx(0.881087, abs=1e-6)


def test_oracle_worked_example():
    batch = together(PayConfidence(), said(*ACCURACY), SURE)
    assert batch.rewards[:, 0].tolist() == [2.5, 2.5, 2.0, 1.0, 2.5, 1.0, 1.0, 2.0]
    expected = [0.976503, 0.976503, 0.266319, -1.154049, 0.976503, -1.154049, -1.154049, 0.266319]
    assert_close(credited(RECIPE, batch).advantages[:, 0], tensor(expected), **NEAR)


def test_oracle_plain_grpo_on_the_same_group():
    batch = together(PayConfidence(weight=0.0), said(*ACCURACY), SURE)
    found = credited(RECIPE, batch).advantages[:, 0]
    assert_close(found, tensor([0.724429 if a else -1.207381 for a in ACCURACY]), **NEAR)


def test_a_margin_lets_those_a_little_below_the_mean_in():
    sure = [0.83, 0.815, 0.80, 0.9, 0.95]
    found = [paid(PayConfidence(margin=m), said(1, 1, 1, 0, 1), sure).tolist() for m in (0, 0.04)]
    assert found == [[2.0, 2.0, 2.0, 1.0, 2.5], [2.5, 2.5, 2.0, 1.0, 2.5]]


def test_the_cap_keeps_certainty_from_raising_the_mean():
    assert paid(PayConfidence(), said(1, 1), [0.951, 0.999]).tolist() == [2.5, 2.5]
    assert paid(PayConfidence(cap=1.0), said(1, 1), [0.951, 0.999]).tolist() == [2.0, 2.5]


def test_prompts_of_a_batch_do_not_see_each_other():
    one, other = said(1, 1, 0), said(1, 1, 0, group="g1")
    alone = [paid(PayConfidence(), g, s) for g, s in ((one, [0.9, 0.8, 1]), (other, [0.3, 0.2, 1]))]
    both = paid(PayConfidence(), [*one, *other], [0.9, 0.8, 1, 0.3, 0.2, 1])
    assert_close(both, torch.cat(alone))
    assert both.tolist() == [2.5, 2.0, 1.0] * 2


def test_partly_right_answers_are_paid_in_proportion_and_only_above_the_mean():
    found = paid(PayConfidence(), said(1.0, 0.6, 0.1, 0.3), [0.5] * 4)
    assert_close(found, tensor([2.5, 1.9, 1.1, 1.3]))


def test_all_wrong_groups_get_no_bonus_and_are_finite():
    found = together(PayConfidence(), said(0, 0, 0), [0.9, 0.9, 0.9])
    assert found.rewards.flatten().tolist() == [1.0] * 3
    assert credited(RECIPE, found).advantages.abs().max().item() == 0


SPANS = {
    "tagged": (PIECES, (3, 4)),
    "glued": (("<ans", "wer>4", "2</", "answer>"), (1, 3)),
    "last tag": (("<answer>", "1", "<answer>", "2", ""), (3, 4)),
    "never closed": (("<answer>", "1", "2", ""), (1, 3)),
    "empty": (("<answer>", "</answer>"), (0, 0)),
    "no tag": (("4", "2"), (0, 0)),
    "nothing": ((), (0, 0)),
}


@pytest.mark.parametrize("name", SPANS)
def test_the_answer_is_what_stands_between_the_last_tags(name: str):
    pieces, span = SPANS[name]
    assert PayConfidence()._span(said(1, pieces=[pieces])[0]) == span


def test_without_tags_a_whole_reply_may_be_the_answer():
    assert PayConfidence(opening="")._span(said(1, pieces=[("4", "2", "")])[0]) == (0, 2)


def test_right_answers_without_a_tag_are_counted_and_not_paid_more():
    rollouts = said(1, 1, pieces=[PIECES, ("it", " is", " 4", "", "")])
    run = run_with(rollouts, [0.9, 0.9])
    batch = Batch.of(rollouts, torch.ones((2, 5), dtype=torch.bool))
    assert PayConfidence()(batch, run).rewards[:, 0].tolist() == [0.5, 0.0]
    assert run.tally.numbers()["confidence/no_answer"] == 1


def test_a_task_without_the_score_is_refused_by_name():
    rollouts = said(1, 0)
    batch = Batch.of(rollouts, torch.ones((2, 5), dtype=torch.bool))
    with pytest.raises(UnknownName, match="exact"):
        PayConfidence(accuracy="exact")(batch, run_with(rollouts, [1, 1]))


def test_limit_without_bonus_it_is_grpo_with_the_sample_std():
    batch = together(PayConfidence(weight=0.0), said(*ACCURACY), SURE)
    exact = GRPO.but(advantages=RECIPE.advantages)
    one, other = credited(RECIPE, batch), credited(exact, batch)
    assert_close(one.advantages, other.advantages)
    assert_close(one.weights, other.weights)
    assert not any("KL" in repr(loss) for loss in RECIPE.losses)


def test_the_reference_follows_every_so_many_steps_and_the_policy_is_left_as_it_is():
    rollouts = said(1, 0)
    run = run_with(rollouts, [0.5, 0.5])
    stage, batch = FollowSlowly(every=2, decay=0.9), together(PayConfidence(), rollouts, [0.5, 0.5])
    weight: Any = run.policies["solver"].parameters()[0]
    path = []
    for run.step in range(5):
        PayConfidence()(batch, run)
        with torch.no_grad():
            weight += 1.0
        stage(batch, run)
        path.append(run.memory["slow_reference"]["weights"][0].item())
    assert path == pytest.approx([0, 0.2, 0.2, 0.58, 0.58])
    assert weight.item() == 5.0
    FollowSlowly(every=0)(batch, run)
    assert run.memory["slow_reference"]["weights"][0].item() == path[-1]


def test_confidence_is_the_references_and_not_the_policys():
    rollouts = said(1, 1)
    run = run_with(rollouts, [0.5, 0.4])
    batch = Batch.of(rollouts, torch.ones((2, 5), dtype=torch.bool))
    before = PayConfidence()(batch, run).rewards
    with torch.no_grad():
        run.policies["solver"].parameters()[0].fill_(5.0)
    assert torch.equal(PayConfidence()(batch, run).rewards, before)
    assert run.tally.numbers()["confidence/mean"] == pytest.approx(0.45)


def training(folder: Path, *, steps: int = 3, lora: int = 0) -> Training:
    """A run on digits whose whole replies are answers and whose reference follows each step."""
    pay = PayConfidence(accuracy="close", opening="")
    recipe = short(
        RECIPE.but(rewards=(*GRPO.rewards, pay), updates=(FollowSlowly(every=1, decay=0.5),)),
        steps=steps,
        optimizer=replace(RECIPE.optimizer, lr=1e-2),
    )
    policy = tiny(adapter=LoRA(rank=2, alpha=4.0) if lora else None)
    return Training(digits(), recipe, {"solver": policy}, folder, Plan(dev_every=0, save_every=1))


def slow(run: Training) -> list[Tensor]:
    return run.run.memory["slow_reference"]["weights"]


def test_the_reference_is_saved_and_a_stopped_run_goes_on_to_the_same_one(tmp_path: Path):
    whole, parts = training(tmp_path / "whole"), training(tmp_path / "parts")
    whole.train()
    parts.stopping = True
    with pytest.raises(KeyboardInterrupt):
        parts.train()
    early = slow(parts)
    resumed = training(tmp_path / "parts")
    resumed.train()
    assert all(torch.equal(a, b) for a, b in zip(slow(whole), slow(resumed), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(slow(whole), early, strict=True))
    policies = [t.run.policies["solver"].parameters() for t in (whole, resumed)]
    assert all(torch.equal(a, b) for a, b in zip(*policies, strict=True))


@pytest.mark.slow
def test_of_an_adapter_only_the_adapter_is_held(tmp_path: Path):
    run = training(tmp_path, steps=1, lora=2)
    run.train()
    weights = run.run.policies["solver"].parameters()
    assert [w.shape for w in slow(run)] == [w.shape for w in weights]
    assert sum(w.numel() for w in weights) < 20_000
    assert any(not torch.equal(a, b) for a, b in zip(slow(run), weights, strict=True))


def test_weights_that_are_spread_are_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(grpo_care, "any_shard", lambda weights: True)
    rollouts = said(1, 0)
    with pytest.raises(UsageError, match="sharding"):
        paid(PayConfidence(), rollouts, [1, 1])
