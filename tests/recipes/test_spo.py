"""spo by hand: beliefs, draws, credit, forgetting; and what the tracker must not leak or lose."""

from __future__ import annotations

from collections import Counter
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import tensor
from torch.testing import assert_close

from harness.errors import UsageError
from harness.play import play
from harness.types import Completion, Example, Rollout, Verdict
from tests.trainer_builders import CORRECT, Paid, a_run, credited, digits, judged, still, tiny
from trainers.advantages import CenterByMean, ScaleByStd
from trainers.batch import Batch
from trainers.loop import Plan, Training
from trainers.recipe import AdamW, Run
from trainers.recipes.grpo import RECIPE as GRPO
from trainers.recipes.spo import (
    RECIPE,
    ByUncertainty,
    CenterByTrackedValue,
    EstimateOffline,
    TrackValue,
    value,
)

ABC = ("g0", "g1", "g2")
OFFLINE = ((5.777778, 2.222222), (1.333333, 6.666667), (7.555556, 0.444444))


def run_of(beliefs: tuple[tuple[float, float], ...] = OFFLINE) -> Run:
    run = a_run(RECIPE.but(rewards=CORRECT), policy=still())
    run.memory["spo"] = {
        id: {"alpha": a, "beta": b, "answer": None} for id, (a, b) in zip(ABC, beliefs, strict=True)
    }
    return run


def beliefs(run: Run) -> list[float]:
    return [run.memory["spo"][id][name] for id in ABC for name in ("alpha", "beta")]


def test_worked_example_offline():
    run = a_run(RECIPE.but(rewards=CORRECT), policy=still())
    run.examples = [Example(id, {"q": id}, "1") for id in ABC]
    successes: dict[str, int] = dict(zip(ABC, (6, 1, 8), strict=True))
    paid = Paid(lambda prompt: float(prompt.attempt < successes[prompt.example.id]))
    first = run.recipe.samplers(run.examples, run)
    found = EstimateOffline(rollouts=8)(first, paid, run)
    assert beliefs(run) == pytest.approx([x for pair in OFFLINE for x in pair], abs=1e-6)
    values = [value(example, run) for example in run.examples]
    assert values == pytest.approx([0.722222, 0.166667, 0.944444], abs=1e-6)
    assert [len(call) for call in paid.asked] == [24, 64]
    assert min(r.attempt for r in found) == 8, "what was estimated with is not drawn again"
    again = Paid(lambda prompt: 1.0)
    EstimateOffline(rollouts=8)(first, again, run)
    assert len(again.asked) == 1, "once is enough"


def test_worked_example_draws():
    run, examples = run_of(), [Example(id, {"q": id}, "1") for id in ABC]
    values = np.array([value(example, run) for example in examples])
    exact = [0.415043, 0.352337, 0.232620]
    assert ByUncertainty().chances(values) == pytest.approx(exact, abs=1e-6)
    drawn = Counter(ByUncertainty(prompts=1)(examples, run)[0].example.id for _ in range(2000))
    assert [drawn[id] / 2000 for id in ABC] == pytest.approx(exact, abs=0.045)  # 4 std errors


def test_worked_example_credit():
    batch, run = judged([1.0], [1.0], [0.0]), run_of()
    raw = CenterByTrackedValue()(batch, run).advantages[:, 0]
    assert_close(raw, tensor([0.277778, 0.833333, -0.944444]), atol=1e-6, rtol=0)
    found = credited(RECIPE, batch, run).advantages[:, 0]
    assert_close(found, tensor([0.244339, 0.855186, -1.099525]), atol=1e-6, rtol=0)


def test_worked_example_forgetting():
    """D = 0, 0.003 and 0.06 nats: the stored log-probabilities are as far from the present."""
    policy, task = tiny(), digits()
    prompts = [task.prompt(example) for example in task.examples("train")[:3]]
    found = [r for r in play(task, prompts, policy) if isinstance(r, Rollout)]
    found.sort(key=lambda r: [p.example.id for p in prompts].index(r.example.id))
    run = a_run(RECIPE, policy=policy)
    batch = Batch.of(found, policy.decided(found))
    with torch.no_grad():
        batch = batch.but(old_logprobs=policy.review(found).logprobs)
    TrackValue()(batch, run)  # stores the answers
    memory = run.memory["spo"]
    for each, pair, distance in zip(memory.values(), OFFLINE, (0, 0.003, 0.06), strict=True):
        each["alpha"], each["beta"] = pair
        each["logprobs"] = each["logprobs"] + distance * np.where(
            np.arange(len(each["logprobs"])) % 2, 1, -1
        ).astype(np.float32)
    TrackValue()(batch.but(rewards=tensor([[1.0], [1.0], [0.0]])), run)
    told = [each[name] for each in memory.values() for name in ("alpha", "beta")]
    expected = [6.546667, 2.133333, 2.28, 6.4, 6.611111, 1.388889]
    assert told == pytest.approx(expected, abs=1e-6)
    values = [value(rollout, run) for rollout in found]
    assert values == pytest.approx([0.754224, 0.262673, 0.826389], abs=1e-6)


@pytest.mark.parametrize(
    ("rho", "distance"), [(0.96, 0.0), (0.96, 0.003), (0.875, 0.06), (0.875, 9.0)]
)
def test_memory_is_of_8_to_25_attempts(rho: float, distance: float):
    assert TrackValue().rho(distance) == rho
    assert 1 / (1 - rho) == pytest.approx(25 if rho == 0.96 else 8)


def test_credit_does_not_leak_the_reward_into_its_own_baseline():
    run = run_of()
    for reward in (0.0, 1.0):
        batch = CenterByTrackedValue()(judged([reward], [reward], [reward]), run)
        baseline = batch.rewards - batch.advantages
        assert_close(baseline[:, 0], tensor([0.722222, 0.166667, 0.944444]), atol=1e-6, rtol=0)
    assert beliefs(run) == [x for pair in OFFLINE for x in pair]


def test_several_attempts_of_a_step_count_one_after_another_in_any_order():
    batch = judged([1.0, 0.0, 1.0], [0.0])
    found = []
    for order in ([0, 1, 2, 3], [2, 3, 1, 0]):
        run = a_run(RECIPE, policy=still())
        TrackValue()(batch.take(tensor(order)), run)
        found.append({id: (b["alpha"], b["beta"]) for id, b in run.memory["spo"].items()})
    alpha, beta = 0.5, 0.5
    for reward in (1.0, 0.0, 1.0):
        alpha, beta = 0.96 * alpha + reward, 0.96 * beta + 1 - reward
    assert found[0]["g0"] == pytest.approx((alpha, beta))
    assert found[0] == found[1]


def test_rewards_outside_0_to_1_are_refused():
    for stage in (CenterByTrackedValue(), TrackValue()):
        with pytest.raises(UsageError, match="from 0 to 1"):
            stage(judged([-1.0], [1.0]), a_run(RECIPE, policy=still()))


@pytest.mark.parametrize("rewards", [[1.0] * 4, [0.0] * 4, [1.0]])
def test_where_nothing_differs_nothing_is_learned(rewards: list[float]):
    batch = credited(RECIPE, judged(*[[r] for r in rewards]), a_run(RECIPE, policy=still()))
    assert batch.advantages.abs().max().item() == 0
    assert batch.weights.sum().item() == pytest.approx(1)


def test_with_equal_values_it_is_grpo_with_the_batch_as_its_only_group():
    rewards = [1.0, 0.0, 0.25, 0.0, 1.0]
    alone = credited(RECIPE, judged(*[[r] for r in rewards]), a_run(RECIPE, policy=still()))
    likened = GRPO.but(advantages=(CenterByMean(), ScaleByStd(eps=1e-8, ddof=1)))
    together = credited(likened, judged(rewards), a_run(GRPO, policy=still()))
    assert_close(alone.advantages, together.advantages)
    assert_close(alone.weights, together.weights)


def test_a_rollout_counts_once_in_the_batch_however_long():
    run = a_run(RECIPE, policy=still())
    short = credited(RECIPE, judged([1.0], [0.0], [0.0], steps=2), run)
    long = credited(RECIPE, judged([1.0], [0.0], [0.0], steps=[90, 1, 7]), run)
    assert_close(short.advantages, long.advantages)


def test_prompts_are_drawn_without_replacement_and_come_again_only_when_all_came():
    run, examples = run_of(), [Example(id, {"q": id}, "1") for id in ABC]
    for size in (1, 2, 3, 7):
        asked = ByUncertainty(prompts=size)(examples, run)
        counts = {p.example.id: p.rollouts for p in asked}
        assert len(counts) == len(asked)
        assert sum(counts.values()) == size
        assert max(counts.values()) - min([*counts.values(), *[0] * (len(counts) < 3)]) <= 1


@pytest.mark.slow
def test_the_tracker_is_in_the_checkpoint_and_a_stopped_run_goes_on(tmp_path: Path):
    """Six examples, so that all are met again: a stopped run goes on to the same beliefs."""

    def verify(example: Example, completion: Completion) -> Verdict:
        text = str(completion.output)[:1]
        good = float(bool(text) and ord(text) % 2 == 0)
        return Verdict({"correct": good, "close": good}, text, "ok" if good else "wrong")

    recipe = RECIPE.but(
        samplers=ByUncertainty(prompts=4), optimizer=AdamW(lr=1e-2), steps=4, max_tokens=3
    )
    found: list[tuple[dict[str, Any], list[torch.Tensor]]] = []
    for name, stops in (("whole", [False]), ("parts", [True, True, False])):
        for stop in stops:
            plan = Plan(dev_every=0, save_every=1, limit=6)
            task = digits().but(verify=verify)
            training = Training(task, recipe, {"solver": tiny()}, tmp_path / name, plan)
            training.stopping = stop
            with pytest.raises(KeyboardInterrupt) if stop else nullcontext():
                training.train()
            if not stop:
                weights = [p.detach() for p in training.run.policies["solver"].parameters()]
                found.append((training.run.memory["spo"], weights))
    (one, w1), (other, w2) = found
    assert all(torch.equal(a, b) for a, b in zip(w1, w2, strict=True))
    assert {id: (b["alpha"], b["answer"]) for id, b in one.items()} == {
        id: (b["alpha"], b["answer"]) for id, b in other.items()
    }
    forgotten = [b["alpha"] + b["beta"] for b in one.values()]
    assert any(abs(n - 0.96 * 1 - 1) > 1e-6 for n in forgotten), "some were met twice"


def test_an_answer_of_no_steps_is_tracked():
    policy, task = tiny(), digits()
    run = a_run(RECIPE, policy=policy)
    (found,) = play(task, [task.prompt(task.examples("train")[0])], policy)
    assert isinstance(found, Rollout)
    trace = {**found.completion.trace, "ids": []}
    said = replace(found.completion, steps=0, logprobs=np.zeros(0, np.float32), trace=trace)
    empty = [replace(found, turns=((found.prompt, said),))]
    for _ in range(2):
        TrackValue()(Batch.of(empty, policy.decided(empty)), run)
    assert value(found, run) == pytest.approx((0.96 * 0.96 * 0.5) / (0.96 * (0.96 + 1) + 1))
