"""s_grpo by hand: where paths are cut, what each exit is paid, and which steps are learned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import tensor
from torch.testing import assert_close

from harness.errors import UsageError
from harness.play import play
from harness.types import Completion, Example, Prompt, Rollout, Verdict
from tests.trainer_builders import a_run, credited, digits, judged, still, tiny
from trainers.batch import Batch
from trainers.learner import Learner
from trainers.recipe import Run
from trainers.recipes.grpo import RECIPE as GRPO
from trainers.recipes.s_grpo import RECIPE, DecayByExit, ExitEarly, TrainAfterCut, cuts

SHORT = ExitEarly(exits=3, inducer=" stop. ", answer=2, whole_words=False)


@pytest.fixture(scope="module")
def run() -> Run:
    return a_run(RECIPE, policy=still())


def serial(*groups: Sequence[float], prefix: int = 2, inserted: int = 2) -> Batch:
    """Groups from the earliest exit to the full path; exit k keeps prefix + k steps."""
    batch = judged(*groups, steps=prefix + max(map(len, groups)) + inserted + 2)
    mask = batch.mask.clone()
    row = 0
    for group in groups:
        for number in range(len(group)):
            if number < len(group) - 1:
                start = prefix + number
                mask[row + number, start : start + inserted] = False
        row += len(group)
    return batch.but(mask=mask, weights=mask.float())


def advantages(batch: Batch, run: Run, scheme: str = "decaying") -> torch.Tensor:
    paid = DecayByExit(scheme)(batch, run)  # type: ignore[arg-type]
    return credited(RECIPE, paid, run).advantages[:, 0]


# ---- rewards


def test_worked_example(run: Run):
    batch = serial([0.0, 1.0, 1.0, 0.0, 1.0])
    assert cuts(batch).tolist() == [2, 3, 4, 5, torch.inf]
    paid = DecayByExit()(batch, run).rewards[:, 0]
    assert_close(paid, tensor([0.0, 1.0, 0.5, 0.0, 0.25]))
    expected = tensor([-0.35, 0.65, 0.15, -0.35, -0.1])
    assert_close(advantages(batch, run), expected, atol=1e-6, rtol=0)


def test_divided_by_std_it_would_be_another_method(run: Run):
    raw = advantages(serial([0.0, 1.0, 1.0, 0.0, 1.0]), run)
    paid = tensor([0.0, 1.0, 0.5, 0.0, 0.25])
    expected = tensor([-0.935414, 1.737198, 0.400892, -0.935414, -0.267261])
    assert_close(raw / paid.std(correction=0), expected, atol=2e-6, rtol=0)


def test_only_the_full_path_is_right(run: Run):
    found = advantages(serial([0.0, 0.0, 0.0, 0.0, 1.0]), run)
    assert_close(found, tensor([-0.2, -0.2, -0.2, -0.2, 0.8]), atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("scheme", "expected"),
    [("all", [-0.6, 0.4, 0.4, -0.6, 0.4]), ("shortest", [-0.2, 0.8, -0.2, -0.2, -0.2])],
)
def test_ablations(run: Run, scheme: str, expected: list[float]):
    found = advantages(serial([0.0, 1.0, 1.0, 0.0, 1.0]), run, scheme)
    assert_close(found, tensor(expected), atol=1e-6, rtol=0)


@pytest.mark.parametrize("rewards", [[0.0] * 5, [1.0], [0.0]])
def test_all_wrong_or_alone_teaches_nothing(run: Run, rewards: list[float]):
    assert advantages(serial(rewards), run).abs().max().item() == 0


def test_all_right_still_prefers_the_earliest(run: Run):
    found = advantages(serial([1.0] * 4), run)
    assert found[0] > 0 > found[-1]
    assert bool((found.diff() < 0).all())


def test_the_order_is_that_of_the_cuts_not_of_rows_or_lengths(run: Run):
    batch = serial([0.0, 1.0, 1.0, 0.0, 1.0], [1.0, 0.0, 1.0])
    order = tensor([6, 2, 4, 0, 7, 1, 5, 3])
    assert_close(advantages(batch.take(order), run), advantages(batch, run)[order])


def test_with_all_right_paid_alike_and_std_it_is_grpo(run: Run):
    batch = serial([0.0, 1.0, 1.0, 0.0, 1.0])
    likened = RECIPE.but(advantages=GRPO.advantages, weights=GRPO.weights)
    paid = DecayByExit("all")(batch, run)
    one, other = credited(likened, paid, run), credited(GRPO, batch, run)
    assert_close(one.advantages, other.advantages)
    assert_close(one.weights, other.weights)


# ---- weights


def test_an_exit_learns_what_follows_its_cut_and_a_path_all(run: Run):
    batch = serial([1.0, 0.0, 1.0])
    counted = TrainAfterCut()(batch, run).weights > 0
    for row, start in enumerate((2, 3, 0)):
        assert counted[row].tolist() == [
            bool(own) and column >= start for column, own in enumerate(batch.mask[row].tolist())
        ]
    everything = TrainAfterCut(prefix=True)(batch, run).weights
    assert_close(everything, batch.mask.float())
    total = credited(RECIPE, batch, run).weights.sum(1)
    assert_close(total, tensor([1 / 3] * 3))


# ---- cutting


def played(policy, prompts: Sequence[Prompt], task=None) -> list[Rollout]:
    found = play(task or digits(), prompts, policy)
    return sorted(
        (r for r in found if isinstance(r, Rollout)), key=lambda r: (r.example.id, r.attempt)
    )


def exits_of(
    stage: ExitEarly = SHORT, rollouts: int = 2, max_tokens: int = 12
) -> tuple[list[Rollout], Run]:
    policy, task = tiny(max_tokens=max_tokens), digits()
    run = replace(a_run(RECIPE, policy=policy), rng=np.random.default_rng(0))
    prompts = [task.prompt(e).but(rollouts=rollouts) for e in task.examples("train")[:2]]
    return stage(prompts, lambda p: played(policy, p), run), run


def test_exits_share_the_beginning_of_their_path_and_its_group():
    found, run = exits_of()
    policy = run.policies["solver"]
    batch = Batch.of(found, policy.decided(found))
    assert len(set(batch.group.tolist())) == 4, "each path has a group of its own"
    where = cuts(batch)
    for row, rollout in enumerate(found):
        (full,) = [
            r
            for r, cut in zip(found, where, strict=True)
            if r.group == rollout.group and cut.isinf()
        ]
        if not where[row].isinf():
            cut = int(where[row])
            assert 0 < cut < full.steps
            ids = rollout.completion.trace["ids"]
            assert ids[:cut] == full.completion.trace["ids"][:cut]
            assert " stop. " in str(rollout.completion.output)
            assert int(batch.mask[row].sum()) - cut <= 2, "the answer is short"
    keys = [(r.example.id, r.attempt) for r in found]
    assert len(keys) == len(set(keys))
    again = [c for g in set(batch.group.tolist()) for c in where[batch.group == g].tolist()]
    assert len(again) == len(found), "no path is cut twice at one step"


def test_the_same_seed_cuts_at_the_same_steps():
    one, other = ([replace(r, seconds=0.0) for r in exits_of()[0]] for _ in range(2))
    assert one == other


def test_exits_count_as_generated():
    found, run = exits_of()
    told = run.tally.numbers()
    assert told["rollouts/generated"] == len(found) - 4
    assert told["tokens/generated"] > 0


@pytest.mark.parametrize(
    ("pieces", "whole_words", "places"),
    [
        (["a", "b", " c", "d", ""], True, [2]),
        (["a", "b", " c", "d", ""], False, [1, 2, 3]),
        (["1", "+", "2", "</", "think", ">", "3"], True, [1, 2]),
        (["one"], True, []),
        ([], True, []),
        (["", "\n", "x"], True, [2]),
    ],
)
def test_thinking_is_cut_between_words_and_never_at_its_end(
    pieces: list[str], whole_words: bool, places: list[int]
):
    stage = ExitEarly(whole_words=whole_words)
    assert stage._places(Completion("".join(pieces), pieces=tuple(pieces))) == places


def test_an_answer_without_a_place_to_cut_stands_alone():
    found, _ = exits_of(max_tokens=1)
    assert len(found) == 4
    assert len({r.group for r in found}) == 4


def test_old_logprobs_have_the_inducer_in_context():
    found, run = exits_of()
    recipe = RECIPE.but(rollouts=())
    policy = run.policies["solver"]
    learner = Learner("solver", recipe, policy)  # type: ignore[arg-type]
    batch = learner.gradient(learner.batch(found, run), run, first=True)
    with torch.no_grad():
        live = policy.review(found)
    assert_close(batch.old_logprobs, live.logprobs, atol=1e-5, rtol=0)
    told = batch.mask & batch.sampled_logprobs.isfinite()
    gap = (batch.old_logprobs - batch.sampled_logprobs)[told].abs().max()
    assert gap < 1e-4, "the sampler read the inducer too"


def test_dialogues_are_refused():
    def dialogue(opening: Prompt):
        yield opening
        return Verdict({"correct": 1.0, "close": 1.0})

    run = replace(a_run(RECIPE, policy=still()), task=digits().but(dialogue=dialogue))
    with pytest.raises(UsageError, match="dialogue"):
        SHORT([digits().prompt(Example("a", {"q": "a"}, 1))], lambda p: [], run)
