"""What every policy keeps to, present and future: `Policy`'s promises, tried out."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from numpy.typing import NDArray

from harness.models import Sampling
from harness.types import Completion, Example, Message, Prompt, Rollout, Verdict
from trainers.policies.text import open_text
from trainers.policies.vision import open_vision
from trainers.policy import Policy


@dataclass(frozen=True)
class Opener:
    """A policy of a family, and prompts that it can read."""

    family: Callable[..., Policy]
    spec: str = "tiny"
    sees: bool = False

    def __call__(self, sampling: Sampling) -> Policy:
        return self.family(self.spec, sampling, dtype="float32", batch_size=4)

    def prompts(self, count: int = 3, attempts: int = 2) -> list[Prompt]:
        """Prompts of different lengths, each asked more than once."""
        questions = [f"What is {'1 + ' * number}{number}?" for number in range(count)]
        return [
            Prompt(
                Example(question, {}, None),
                (Message("user", (picture(number), question) if self.sees else question),),
                attempt=attempt,
            )
            for number, question in enumerate(questions)
            for attempt in range(attempts)
        ]


def picture(seed: int) -> NDArray[np.uint8]:
    """Noise, as high as it is not wide."""
    return np.random.default_rng(seed).integers(0, 256, (40, 60, 3), dtype=np.uint8)


OPENERS = {
    "tiny": Opener(open_text),
    "vision": Opener(open_vision, sees=True),
    "smollm2": Opener(open_text, "smollm2"),
}


@pytest.fixture(params=["tiny", "vision", pytest.param("smollm2", marks=pytest.mark.slow)])
def opened(request: pytest.FixtureRequest) -> Opener:
    return OPENERS[request.param]


SAMPLING = Sampling(max_tokens=12, seed=3)


def attempted(policy: Policy, asked: list[Prompt]) -> list[Rollout]:
    answers = dict(policy.answer(asked))
    return [
        Rollout(((prompt, answers[number]),), Verdict({}), prompt.example.id)
        for number, prompt in enumerate(asked)
    ]


def told(completion: Completion) -> tuple[object, ...]:
    return completion.output, completion.steps, completion.stopped, completion.pieces


def test_is_a_policy_and_describes_itself_in_json(opened: Opener):
    policy = opened(SAMPLING)
    assert isinstance(policy, Policy)
    assert policy.name
    assert json.loads(json.dumps(policy.describe()))["sampling"]["seed"] == 3


def test_every_prompt_is_answered_once(opened: Opener):
    asked = opened.prompts()
    numbers = [number for number, _ in opened(SAMPLING).answer(asked)]
    assert sorted(numbers) == list(range(len(asked)))


def test_completions_are_consistent(opened: Opener):
    for _, completion in opened(SAMPLING).answer(opened.prompts()):
        assert completion.logprobs is not None
        assert completion.steps == len(completion.pieces) == len(completion.logprobs)
        assert 0 < completion.steps <= SAMPLING.max_tokens
        assert (completion.logprobs <= 0).all()
        assert completion.stopped in ("done", "budget")


@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_review_after_answer_gives_the_sampled_logprobs(opened: Opener, temperature: float):
    policy = opened(Sampling(max_tokens=12, seed=3, temperature=temperature))
    rollouts = attempted(policy, opened.prompts())
    with torch.no_grad():
        live = policy.review(rollouts)
    assert live.logprobs.shape == live.mask.shape == live.entropy.shape
    for row, rollout in enumerate(rollouts):
        steps = rollout.completion.steps
        assert live.mask[row].tolist() == [column < steps for column in range(live.mask.shape[1])]
        assert_allclose(live.logprobs[row, :steps], rollout.completion.logprobs, atol=1e-4)
    assert bool((live.entropy[live.mask] > 0).all())


def test_equal_beginnings_have_equal_choices_and_padding_has_none(opened: Opener):
    policy = opened(SAMPLING)
    rollouts = attempted(policy, opened.prompts(2))
    taken = policy.choices(rollouts)
    assert taken.shape == policy.decided(rollouts).shape
    for row, rollout in enumerate(rollouts):
        steps = rollout.completion.steps
        assert bool((taken[row, :steps] >= 0).all())
        assert bool((taken[row, steps:] == -1).all())
        for other, told in enumerate(rollouts):
            same = rollout.completion.pieces == told.completion.pieces
            assert same or taken[row].tolist() != taken[other].tolist()
    (branch,) = policy.resume(rollouts[0], 3)
    went_on = replace(rollouts[0], turns=((rollouts[0].prompt, branch),))
    assert policy.choices([went_on])[0, :3].tolist() == taken[0, :3].tolist()


def test_resume_at_0_is_answer(opened: Opener):
    policy = opened(SAMPLING)
    for rollout in attempted(policy, opened.prompts(2)):
        again = policy.resume(rollout, 0)
        assert told(again[0]) == told(rollout.completion)


def test_resume_keeps_what_was_said_and_draws_the_rest_anew(opened: Opener):
    policy = opened(Sampling(max_tokens=12, seed=3, temperature=1.5))
    (rollout, *_) = attempted(policy, opened.prompts(1))
    step = min(4, rollout.completion.steps - 1)
    branches = policy.resume(rollout, step, rollouts=3)
    assert all(
        branch.pieces[: step - 1] == rollout.completion.pieces[: step - 1] for branch in branches
    )
    assert len({branch.output for branch in branches}) > 1


def test_resume_without_exploring_is_the_same_every_time(opened: Opener):
    policy = opened(SAMPLING)
    (rollout, *_) = attempted(policy, opened.prompts(1))
    first, second = policy.resume(rollout, 1, rollouts=2, explore=False)
    assert told(first) == told(second)


def test_inserted_steps_are_not_the_policys_own(opened: Opener):
    policy = opened(SAMPLING)
    (rollout, *_) = attempted(policy, opened.prompts(1))
    (branch,) = policy.resume(rollout, 2, insert=" 7+7 ")
    assert "7+7" in branch.output
    again = Rollout(((rollout.prompt, branch),), Verdict({}), "")
    with torch.no_grad():
        live = policy.review([again])
    own = live.mask[0]
    inserted = int((~own).sum())
    assert 0 < inserted < branch.steps
    assert own[:2].all()
    assert not own[2 : 2 + inserted].any()
    assert_allclose(live.logprobs[0][own], branch.logprobs[own.numpy()], atol=1e-4)


def test_gradient_reaches_every_parameter(opened: Opener):
    policy = opened(SAMPLING)
    policy.review(attempted(policy, opened.prompts())).logprobs.sum().backward()
    assert policy.parameters()
    assert all(
        weight.grad is not None and bool(weight.grad.abs().sum() > 0)
        for weight in policy.parameters()
    )


def test_saved_and_loaded_is_the_same(opened: Opener, tmp_path: Path):
    asked = opened.prompts()
    policy = opened(SAMPLING)
    before = {number: told(completion) for number, completion in policy.answer(asked)}
    policy.save(tmp_path / "saved")
    with torch.no_grad():
        for weight in policy.parameters():
            weight.mul_(0.5)
    policy.refresh()
    assert {number: told(each) for number, each in policy.answer(asked)} != before
    policy.load_state(tmp_path / "saved")
    assert {number: told(each) for number, each in policy.answer(asked)} == before


def test_same_seed_same_numbers(opened: Opener):
    first, second = (
        dict(opened(SAMPLING).answer(opened.prompts())),
        dict(opened(SAMPLING).answer(opened.prompts())),
    )
    for number in first:
        assert told(first[number]) == told(second[number])
        np.testing.assert_array_equal(first[number].logprobs, second[number].logprobs)


def test_another_seed_or_attempt_draws_anew(opened: Opener):
    policy = opened(Sampling(max_tokens=12, seed=3, temperature=1.5))
    asked = opened.prompts(1, attempts=4)
    first = [completion.output for _, completion in sorted(policy.answer(asked))]
    policy.sampling = Sampling(max_tokens=12, seed=4, temperature=1.5)
    second = [completion.output for _, completion in sorted(policy.answer(asked))]
    assert len(set(first)) > 1
    assert first != second


def test_neighbors_do_not_matter(opened: Opener):
    asked = opened.prompts()
    policy = opened(SAMPLING)
    together = dict(policy.answer(asked))
    for number, prompt in enumerate(asked):
        ((_, alone),) = policy.answer([prompt])
        assert told(alone) == told(together[number])


def test_hints_are_read(opened: Opener):
    policy = opened(Sampling(max_tokens=12, temperature=0))
    plain = opened.prompts(1, attempts=1)[0]
    answers = dict(policy.answer([plain, plain.with_hint("Answer in capital letters: BLUE!")]))
    assert not np.array_equal(answers[0].logprobs, answers[1].logprobs)


def test_review_reads_the_prompt_it_is_given(opened: Opener):
    """The logprobs of one answer under another prompt: hints may be forgotten."""
    policy = opened(SAMPLING)
    (rollout, *_) = attempted(policy, [opened.prompts(1)[0].with_hint("It is 3.")])
    forgot = Rollout(((rollout.prompt.plain(), rollout.completion),), Verdict({}), "")
    with torch.no_grad():
        live = policy.review([rollout, forgot])
    assert_allclose(live.logprobs[0, : rollout.steps], rollout.completion.logprobs, atol=1e-4)
    assert not torch.allclose(live.logprobs[0], live.logprobs[1], atol=1e-4)


def test_what_others_said_can_be_reviewed(opened: Opener):
    policy = opened(SAMPLING)
    prompt = opened.prompts(1)[0]
    spelled = policy.spell(prompt, "It is 42.")
    rollouts = [
        Rollout(((prompt, completion),), Verdict({}), "", source="expert")
        for completion in (spelled, Completion("It is 42.", steps=spelled.steps))
    ]
    with torch.no_grad():
        live = policy.review(rollouts)
    assert spelled.output == "It is 42."
    assert int(live.mask[0].sum()) == spelled.steps
    torch.testing.assert_close(live.logprobs[0], live.logprobs[1])


def test_frozen_stays_as_it_is(opened: Opener):
    policy = opened(SAMPLING)
    rollouts = attempted(policy, opened.prompts(2))
    frozen = policy.frozen()
    with torch.no_grad():
        before = policy.review(rollouts).logprobs
        for weight in policy.parameters():
            weight.add_(0.01)
        policy.refresh()
        assert not torch.allclose(policy.review(rollouts).logprobs, before, atol=1e-3)
        torch.testing.assert_close(frozen.review(rollouts).logprobs, before)
    assert frozen.parameters() == []


def test_nothing_to_do_is_no_error(opened: Opener):
    policy = opened(SAMPLING)
    assert list(policy.answer([])) == []
    failed = Rollout(((opened.prompts(1)[0], Completion(None, "failed")),), Verdict({}), "")
    for rollouts in ([], [failed]):
        live = policy.review(rollouts)
        assert live.logprobs.shape == (len(rollouts), 0)
        assert not live.mask.any()


def test_a_failed_rollout_among_others_is_masked(opened: Opener):
    policy = opened(SAMPLING)
    rollouts = attempted(policy, opened.prompts(1))
    failed = Rollout(((opened.prompts(1)[0], Completion(None, "failed")),), Verdict({}), "")
    with torch.no_grad():
        live = policy.review([rollouts[0], failed, rollouts[1]])
    assert not live.mask[1].any()
    assert live.mask[2].sum() == rollouts[1].steps


def test_many_resumed_at_once_are_what_each_is_alone(opened: Opener):
    policy = opened(SAMPLING)
    found = attempted(policy, opened.prompts(3))
    cuts = [
        (rollout, min(number, rollout.completion.steps)) for number, rollout in enumerate(found)
    ]
    together = policy.resume_all(cuts)
    alone = [policy.resume(rollout, step)[0] for rollout, step in cuts]
    assert [told(each) for each in together] == [told(each) for each in alone]


def test_a_budget_bounds_what_is_drawn_after_what_was_inserted(opened: Opener):
    policy = opened(Sampling(max_tokens=12, seed=3, temperature=1.5))
    (rollout, *_) = attempted(policy, opened.prompts(1))
    (branch,) = policy.resume_all([(rollout, 2)], insert=" 7+7 ", budget=3)
    again = Rollout(((rollout.prompt, branch),), Verdict({}), "")
    own = policy.decided([again])[0]
    assert int(own[int((~own).nonzero()[-1]) + 1 :].sum()) <= 3
    assert policy.resume_all([]) == []
