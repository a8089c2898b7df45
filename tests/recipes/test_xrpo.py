"""xrpo by hand: who gets the next attempts, who sees examples, which success is prized."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, tensor
from torch.testing import assert_close

from harness.errors import UsageError
from harness.types import Prompt, Rollout
from tests.trainer_builders import CORRECT, Paid, a_run, asked, credited, judged, still
from trainers.batch import Batch
from trainers.recipe import Run
from trainers.recipes.grpo import RECIPE as GRPO
from trainers.recipes.xrpo import (
    RECIPE,
    AllocateByGain,
    SeedInContext,
    SharpenByNovelty,
    half_width,
    likeness,
)
from trainers.rollouts import judged as given
from trainers.state import pack, unpack

CONTRAST = 0.5773503


@pytest.fixture
def run() -> Run:
    return a_run(RECIPE.but(rewards=CORRECT), policy=still())


# ---- allocation


@pytest.mark.parametrize(
    ("count", "std", "width", "gain", "spread", "priority"),
    [
        (4, 0.5, 0.795612, 0.174780, 0.872428, 1.047208),
        (4, CONTRAST, 0.918693, 0.201818, 0.872428, 1.074246),
        (4, 0.0, 0.0, 0.0, 0.872428, 0.872428),
        (8, 0.5, 0.418010, 0.033676, 0.616900, 0.650576),
    ],
)
def test_worked_priorities(
    count: int, std: float, width: float, gain: float, spread: float, priority: float
):
    assert half_width(count, std, 0.05) == pytest.approx(width, abs=1e-6)
    less = half_width(count, std, 0.05) - half_width(count + 1, std, 0.05)
    assert less == pytest.approx(gain, abs=1e-6)
    assert math.sqrt(math.log1p(20) / count) == pytest.approx(spread, abs=1e-6)
    assert AllocateByGain().priority(count, std, 20) == pytest.approx(priority, abs=1e-6)


def test_mixed_before_dead_before_well_sampled():
    rewards = [[0, 1, 0, 1], [1, 0, 0, 0], [0.0] * 4, [0, 1] * 4]
    more = AllocateByGain().dealt([4, 4, 4, 8], rewards, 3)
    assert more == [1, 1, 1, 0] or more == [2, 1, 0, 0]
    first = [AllocateByGain().dealt([4, 4, 4, 8], rewards, n) for n in (1, 2)]
    assert first == [[1, 0, 0, 0], [1, 1, 0, 0]]


def test_the_step_costs_what_was_asked_for_and_no_draw_is_made_twice(run: Run):
    paid = Paid(lambda p: float((p.attempt * 7 + ord(p.example.id)) % 3 == 0))
    found = AllocateByGain()(asked(*"abcd", rollouts=8), paid, run)
    assert len(found) == 32
    counts = Counter(r.example.id for r in found)
    assert min(counts.values()) >= 4
    drawn = [(p.example.id, p.attempt) for call in paid.asked for p in call]
    assert len(drawn) == len(set(drawn))
    assert [len(call) for call in paid.asked] == [16, 4, 4, 4, 4]


def test_prompts_that_never_failed_get_no_more(run: Run):
    paid = Paid(lambda prompt: float(prompt.example.id == "easy"))
    found = AllocateByGain()(asked("easy", "hard", rollouts=8), paid, run)
    assert Counter(r.example.id for r in found) == {"easy": 4, "hard": 12}


def test_where_all_never_failed_the_rest_is_spread(run: Run):
    found = AllocateByGain()(asked("a", "b", rollouts=8), Paid(lambda prompt: 1.0), run)
    assert Counter(r.example.id for r in found) == {"a": 8, "b": 8}


@pytest.mark.parametrize("rollouts", [1, 3, 4])
def test_small_budgets_are_asked_as_they_are(run: Run, rollouts: int):
    paid = Paid(lambda prompt: 0.0)
    assert len(AllocateByGain()(asked("a", "b", rollouts=rollouts), paid, run)) == 2 * rollouts
    assert len(paid.asked) == 1


def test_attempts_that_fault_still_end_the_step(run: Run):
    calls: list[int] = []

    def nothing(prompts: Sequence[Prompt]) -> list[Rollout]:
        calls.append(sum(p.rollouts for p in prompts))
        return []

    assert AllocateByGain()(asked("a", "b", rollouts=8), nothing, run) == []
    assert sum(calls) == 16


@pytest.mark.parametrize("wrong", [{"least": 0}, {"rounds": 0}, {"alpha": 1.0}])
def test_rounds_that_cannot_be_are_refused(wrong: dict[str, Any]):
    with pytest.raises(UsageError, match="at least 1"):
        AllocateByGain(**wrong)


def test_a_single_attempt_has_no_width():
    assert math.isfinite(AllocateByGain().priority(1, 0.0, 3))
    assert AllocateByGain(least=1).dealt([1, 1], [[0.0], None], 2) == [2, 0]


def test_claim_the_allocator_makes_more_rollouts_of_mixed_groups(run: Run):
    """At equal attempts, on Bernoulli prompts of spread difficulty; seeds 0 to 19."""
    shares = {"uniform": [], "rounds": []}
    for seed in range(20):
        rng = np.random.default_rng(seed)
        chance = dict(zip("abcdefghijklmnop", rng.beta(0.5, 0.5, 16), strict=True))
        draws = {id: rng.random(128) < p for id, p in chance.items()}
        paid = Paid(lambda p, draws=draws: float(draws[p.example.id][p.attempt]))
        prompts = asked(*chance, rollouts=8)
        for name, found in (
            ("uniform", paid(prompts)),
            ("rounds", AllocateByGain()(prompts, paid, run)),
        ):
            groups: dict[str, list[float]] = {}
            for r in found:
                groups.setdefault(r.group, []).append(r.verdict.scores["correct"])
            mixed = sum(len(g) for g in groups.values() if 0 < sum(g) < len(g))
            shares[name].append(mixed / len(found))
    gains = np.subtract(shares["rounds"], shares["uniform"])
    assert gains.mean() > 3 * gains.std(ddof=1) / 20**0.5


# ---- seeding


def solvers(prompt: Prompt) -> float:
    """`b` and its like are solved at once, `a...` with solved examples alone."""
    return float(prompt.example.id[0] == "b" or len(prompt.hints) > 0)


def test_only_prompts_that_failed_every_time_see_solved_examples(run: Run):
    stage, paid = SeedInContext(), Paid(solvers)
    stage(asked("a1", "b1", "b22"), paid, run)
    second = stage([p.but(attempt=1) for p in asked("a1", "b1")], paid, run)
    hints = {r.example.id: r.prompt.hints for r in second}
    assert hints["b1"] == ()
    (shown,) = hints["a1"]
    assert "b1\nanswer 0" in shown
    assert "b22\nanswer 0" in shown
    assert second[0].verdict.reason == "ok"
    third = stage([p.but(attempt=2) for p in asked("a1")], paid, run)
    assert third[0].prompt.hints == (), "it has succeeded by now"
    assert run.tally.numbers()["rollouts/seeded"] == 1


def test_failures_are_forgotten_at_the_next_step_and_solutions_are_not(run: Run):
    stage, paid = SeedInContext(), Paid(solvers)
    stage(asked("a1", "b1"), paid, run)
    later = replace(run, step=1)
    assert stage(asked("a1"), paid, later)[0].prompt.hints == ()
    assert stage([p.but(attempt=1) for p in asked("a1")], paid, later)[0].prompt.hints


def test_a_prompts_own_solution_is_never_shown(run: Run):
    stage = SeedInContext()
    stage(asked("b1"), Paid(solvers), run)
    later = replace(run, step=1)
    failing = Paid(lambda prompt: 0.0)
    for _ in range(2):
        found = stage(asked("b1"), failing, later)
        assert found[0].prompt.hints == (), "nothing else is known"


def test_the_nearest_are_shown_shortened(run: Run):
    stage = SeedInContext(examples=1, longest=8)
    names = ("b one and two", "b three", "b seven and eight")
    stage(asked(*names), Paid(solvers), run)
    failing = Paid(lambda prompt: 0.0)
    stage(asked("a seven and eight"), failing, run)
    found = stage(asked("a seven and eight"), failing, run)
    assert found[0].prompt.hints == ("Solved examples:\n\nb seven \nanswer 0",)
    assert likeness("seven and", "seven or") > likeness("seven and", "three or")
    assert likeness("same", "same") == 1
    assert likeness("", "x") == 0


def test_solutions_survive_a_checkpoint(run: Run):
    stage, paid = SeedInContext(), Paid(solvers)
    stage(asked("a1", "b1"), paid, run)
    tensors: dict[str, Tensor] = {}
    back = replace(run, memory=unpack(pack(run.memory, tensors), tensors))
    again = [p.but(attempt=1) for p in asked("a1")]
    assert stage(again, paid, back) == stage(again, paid, run)


# ---- sharpening


def spoken(rewards: Sequence[float], means: Sequence[float], hints: Sequence[str] = ()) -> Batch:
    """A group whose answers had these mean log-probabilities a step, of various lengths."""
    batch = judged(list(rewards), steps=[2 + n for n in range(len(rewards))])
    rollouts = [
        replace(r, turns=((r.prompt.with_hint(hint) if hint else r.prompt, r.completion),))
        for r, hint in zip(batch.rollouts, hints or [""] * len(rewards), strict=True)
    ]
    told = torch.where(batch.mask, tensor(means).unsqueeze(1), torch.nan)
    return batch.but(rollouts=tuple(rollouts), sampled_logprobs=told)


def test_worked_example(run: Run):
    batch = spoken([1, 1, 0, 1], [-0.10, -0.40, -0.25, -0.80])
    plain = RECIPE.but(advantages=RECIPE.advantages[:2])
    before = credited(plain, batch, run).advantages[:, 0]
    assert_close(before, tensor([0.499999, 0.499999, -1.499997, 0.499999]), atol=1e-6, rtol=0)
    after = credited(RECIPE, batch, run).advantages[:, 0]
    expected = tensor([0.499999, 0.531054, -1.499997, 0.749999])
    assert_close(after, expected, atol=1e-6, rtol=0)


def test_an_unlikely_wrong_answer_is_not_excused(run: Run):
    batch = spoken([1, 1, 0, 1], [-0.10, -0.40, -1.2, -0.80])
    after = credited(RECIPE, batch, run).advantages[:, 0]
    assert after[2].item() == pytest.approx(-1.499997, abs=1e-6)


def test_seeded_answers_are_ranked_among_themselves(run: Run):
    apart = spoken([1, 0, 1, 0], [-1.0, -1.0, -9.0, -9.0], ["", "", "see", "see"])
    found = credited(RECIPE, apart, run).advantages
    plain = credited(RECIPE.but(advantages=RECIPE.advantages[:2]), apart, run).advantages
    assert_close(found, plain)


@pytest.mark.parametrize("rewards", [[1.0] * 4, [0.0] * 4, [1.0]])
def test_groups_that_teach_nothing_stay_at_zero(run: Run, rewards: list[float]):
    batch = spoken(rewards, [-0.1, -5.0, -0.3, -0.2][: len(rewards)])
    assert credited(RECIPE, batch, run).advantages.abs().max().item() == 0


def test_answers_that_nobody_sampled_are_finite(run: Run):
    batch = judged([1.0, 0.0, 1.0])
    silent = batch.but(sampled_logprobs=torch.full_like(batch.sampled_logprobs, torch.nan))
    assert bool(credited(RECIPE, silent, run).advantages.isfinite().all())


def test_with_neither_rounds_nor_seeds_nor_prizes_it_is_grpo(run: Run):
    plain = AllocateByGain(least=8)
    paid = Paid(lambda prompt: float(prompt.attempt % 2))
    prompts = asked("a", "b", rollouts=8)
    none = SeedInContext(examples=0)
    found = plain(prompts, lambda p: none(p, paid, run), run)
    assert found == Paid(paid.reward)(prompts)
    likened = GRPO.but(advantages=RECIPE.advantages[:2])
    dull = RECIPE.but(advantages=(*RECIPE.advantages[:2], SharpenByNovelty(kappa=0.0)))
    batch = spoken([1, 1, 0, 0.5], [-0.1, -0.4, -0.25, -0.8])
    assert_close(credited(dull, batch, run).advantages, credited(likened, batch, run).advantages)


def test_given_answers_are_judged_in_order(run: Run):
    prompts = [
        run.task.prompt(e).but(attempt=n) for n, e in enumerate(run.task.examples("train")[:9])
    ]
    said = [Paid(lambda p: 0.0).judged(p).completion for p in prompts]
    said = [
        replace(each, output=str(prompt.example.target))
        for each, prompt in zip(said, prompts, strict=True)
    ]
    found = given(list(zip(prompts, said, strict=True)), run)
    assert [r.prompt for r in found] == prompts
    assert all(r.verdict.reason == "ok" for r in found)
