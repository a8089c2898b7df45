"""dapo by hand: dynamic sampling, the overlong penalty, clip-higher, the mean over steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import tensor
from torch.testing import assert_close

from harness.errors import UsageError
from harness.types import Completion, Example, Prompt, Rollout, Verdict
from tests.trainer_builders import a_run, credited, digits, judged, rollout, tiny
from trainers.loop import Plan, Training
from trainers.policy import Live
from trainers.recipe import AdamW, Run
from trainers.recipes.dapo import RECIPE as DAPO
from trainers.recipes.grpo import RECIPE as GRPO
from trainers.rewards import PenalizeOverlong, WeighScores
from trainers.rollouts import RefillFlatGroups
from trainers.samplers import Uniform

TEN = DAPO.but(max_tokens=10, rewards=(WeighScores({"correct": 1.0}), PenalizeOverlong(0.4)))


def paid(batch, run: Run):
    for stage in TEN.rewards:
        batch = stage(batch, run)
    return batch


# ---- formulas


def test_overlong_answers_lose_reward_in_a_straight_line():
    batch = paid(judged([1.0] * 5, steps=[1, 6, 7, 8, 10]), a_run(TEN))
    assert_close(batch.rewards[:, 0], tensor([1, 1, 0.75, 0.5, 0]), atol=1e-6, rtol=0)


def test_worked_example():
    run = a_run(TEN)
    batch = credited(TEN, paid(judged([1.0, 0.0, 1.0], steps=[2, 2, 8]), run), run)
    # rewards 1, 0, 0.5: mean 0.5, population std sqrt(1/6)
    std = (1 / 6) ** 0.5
    expected = tensor([0.5, -0.5, 0.0]) / (std + 1e-4)
    assert_close(batch.advantages[:, 0], expected, atol=1e-6, rtol=0)
    assert_close(batch.weights.sum(1), tensor([2, 2, 8]) / 12, atol=1e-6, rtol=0)


def test_scores_from_0_to_1_with_half_the_penalty_are_the_papers_from_minus_1_to_1():
    run = a_run(DAPO)
    small = judged([1.0, 0.0, 1.0, 0.0], steps=[100, 220, 256, 230])
    ours = WeighScores({"correct": 1.0})(small, run)
    theirs = ours.but(rewards=2 * ours.rewards - 1)
    found = [PenalizeOverlong(0.2, penalty)(b, run) for b, penalty in ((ours, 0.5), (theirs, 1.0))]
    assert DAPO.rewards[1] == PenalizeOverlong(0.2, 0.5)
    one, other = (credited(DAPO, batch, run).advantages for batch in found)
    assert_close(one, other, atol=1e-3, rtol=0)  # but for eps


def test_steps_that_get_likelier_may_grow_further():
    run = a_run(TEN)
    ratio = tensor([[1.25], [1.5], [0.7]])
    batch = judged([1.0, 1.0, 0.0], steps=1).but(advantages=tensor([[1.0], [1.0], [-1.0]]))
    batch = batch.but(old_logprobs=torch.zeros(3, 1))
    cost = DAPO.losses[0](Live(ratio.log(), ratio, batch.mask), batch, run)
    assert_close(cost[:, 0], tensor([-1.25, -1.28, 0.8]), atol=1e-6, rtol=0)


def test_is_grpo_where_no_answer_is_long_and_all_are_equally_long():
    run = a_run(TEN)
    batch = paid(judged([1.0, 0.0, 0.0], [0.0, 1.0], steps=3), run)
    one, other = credited(TEN, batch, run), credited(GRPO, batch, run)
    assert_close(one.advantages, other.advantages)
    assert_close(one.weights, other.weights)


# ---- dynamic sampling


class Table:
    """Pays each example's attempts as a table says; keeps what was asked."""

    def __init__(self, rewards: Mapping[str, Sequence[float]]) -> None:
        self.rewards = rewards
        self.asked: list[list[tuple[str, int]]] = []

    def __call__(self, prompts: Sequence[Prompt]) -> list[Rollout]:
        self.asked.append([(p.example.id, p.attempt) for p in prompts])
        return [
            replace(
                rollout(self.rewards[prompt.example.id][n], group=prompt.example.id),
                turns=((prompt, Completion("x", steps=1)),),
                attempt=prompt.attempt + n,
            )
            for prompt in prompts
            for n in range(prompt.rollouts)
        ]


def refilled(rewards: Mapping[str, Sequence[float]], prompts: int, rounds: int = 10):
    recipe = DAPO.but(
        samplers=Uniform(prompts=prompts, rollouts=2), rewards=(WeighScores({"correct": 1.0}),)
    )
    run = replace(a_run(recipe), examples=[Example(id, {"q": id}, "1") for id in rewards])
    table = Table(rewards)
    first = recipe.samplers(run.examples, run)
    return RefillFlatGroups(rounds)(first, table, run), table, run


def test_flat_groups_are_exchanged_until_enough_differ():
    flat = {f"flat{n}": [n % 2, n % 2] for n in range(6)}
    found, table, run = refilled({**flat, **{f"mixed{n}": [0, 1] for n in range(6)}}, prompts=4)
    kept = [r.example.id for r in found]
    assert len(set(kept)) == 4
    assert all(id.startswith("mixed") for id in kept)
    asked = [id for one in table.asked for id, _ in one]
    assert len(asked) == len(set(asked)), "every example of an epoch is asked once"
    numbers = run.tally.numbers()
    assert numbers["groups/asked"] == len(asked)
    assert numbers["groups/rounds"] == len(table.asked)


def test_where_all_groups_differ_it_is_a_single_round():
    found, table, _ = refilled({f"{n}": [0, 1] for n in range(8)}, prompts=4)
    assert len(table.asked) == 1
    assert [r.example.id for r in found[::2]] == [id for id, _ in table.asked[0]]


def test_rounds_are_capped_and_a_flat_group_stays_where_there_is_no_other():
    found, table, _ = refilled({f"{n}": [1, 1] for n in range(8)}, prompts=2, rounds=3)
    assert len(table.asked) == 3
    assert len(found) == 2
    batch = credited(DAPO, judged([1.0, 1.0]))
    assert batch.advantages.abs().max().item() == 0


def test_an_example_that_comes_again_is_drawn_anew_and_kept_once():
    found, table, _ = refilled({"flat": [1, 1], "mixed": [0, 1]}, prompts=2, rounds=4)
    drawn = [key for one in table.asked for key in one]
    assert len(drawn) == len(set(drawn)), "no attempt is made twice"
    assert {r.example.id for r in found} == {"mixed"}
    assert [one for one in table.asked[1:]] == [[("flat", 2)], [("flat", 4)], [("flat", 6)]]


def test_no_round_at_all_is_refused():
    with pytest.raises(UsageError, match="at least 1 round"):
        RefillFlatGroups(0)


def test_a_stopped_run_goes_on_to_the_same_numbers_and_counts_what_was_left_out(tmp_path: Path):
    def verify(example: Example, completion: Completion) -> Verdict:
        text = str(completion.output)[:1]
        good = float(bool(text) and ord(text) % 2 == 0)
        return Verdict({"correct": good, "close": good}, text, "ok" if good else "wrong")

    recipe = DAPO.but(
        samplers=Uniform(prompts=3, rollouts=2), optimizer=AdamW(lr=1e-3), steps=3, max_tokens=2
    )
    logs = []
    for name in ("whole", "parts"):
        for stop in [True, False] if name == "parts" else [False]:
            plan = Plan(dev_every=0, save_every=1)
            task = digits().but(verify=verify)
            one = Training(task, recipe, {"solver": tiny()}, tmp_path / name, plan)
            one.stopping = stop
            if stop:
                with pytest.raises(KeyboardInterrupt):
                    one.train()
            else:
                one.train()
        logs.append([p.detach() for p in one.run.policies["solver"].parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*logs, strict=True))
    assert one.run.memory["uniform"]["place"] > 9, "some groups were flat"
