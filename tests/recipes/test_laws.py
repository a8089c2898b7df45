"""Laws of every recipe, present and future, from its rewards to its gradient.

What a recipe's own file shows of its formula is its business; here no recipe is named. Rollouts
come from the tiny policy, of many lengths, in groups of unequal size, right and wrong.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import torch
from torch import Tensor

from harness import registry
from harness.errors import UnknownName
from harness.play import play
from harness.types import Rollout, Verdict
from tests.trainer_builders import a_run, digits, short, tiny
from trainers.batch import Batch
from trainers.learner import Learner
from trainers.loop import Plan, Training
from trainers.policies.text import TextPolicy
from trainers.policy import Policy
from trainers.recipe import AdamW, Recipe, Run

NAMES = [card.name for card in registry.cards("recipes")]
SIZES = (5, 4, 3)
"""Of the groups."""


@cache
def world() -> tuple[TextPolicy, tuple[Rollout, ...]]:
    """A policy that nobody changes, and its rollouts: 1 to 9 steps, mixed verdicts."""
    policy, task = tiny(max_tokens=9), digits()
    asked = [
        task.prompt(example).but(rollouts=size)
        for example, size in zip(task.examples("train"), SIZES, strict=False)
    ]
    found = [r for r in play(task, asked, policy) if isinstance(r, Rollout)]
    found.sort(key=lambda r: (r.example.id, r.attempt))
    return policy, tuple(cut(r, (9, 1, 4, 7, 2)[n % 5], n % 2) for n, r in enumerate(found))


def cut(rollout: Rollout, steps: int, right: int) -> Rollout:
    """The rollout after so many steps, right or wrong; near where it is wrong."""
    ((asked, said),) = rollout.turns
    assert said.logprobs is not None
    steps = min(steps, said.steps)
    trace = {**said.trace, "ids": said.trace["ids"][:steps]}
    kept = replace(said, steps=steps, trace=trace, logprobs=said.logprobs[:steps])
    return judged(replace(rollout, turns=((asked, kept),)), right, steps / 20)


def judged(rollout: Rollout, right: int, close: float = 0.0) -> Rollout:
    scores = {"correct": float(right), "close": float(right or close)}
    scores |= {"consistent": float(right), "grounding": scores["close"]}
    return replace(rollout, verdict=Verdict(scores, reason="ok" if right else "wrong"))


def learner_of(name: str, positions: int = 10**6) -> tuple[Learner, Run]:
    """The recipe at work on that policy."""
    recipe, policy = registry.recipe(name), world()[0]
    run = a_run(recipe, policy=policy)
    run.examples = digits().examples("train")
    return Learner("solver", recipe, policy, positions), run


@contextmanager
def only_of_its_tasks(name: str) -> Iterator[None]:
    """A recipe that pays scores of one kind of task is tested where these are."""
    try:
        yield
    except UnknownName as error:
        pytest.skip(f"{name}: {error}")


def gradients(
    name: str, rollouts: tuple[Rollout, ...], *, positions: int = 10**6, padding: int = 0
) -> tuple[Tensor, Tensor]:
    """Of the first update, and of a second one: there the policy has moved a little."""
    learner, run = learner_of(name, positions)
    with only_of_its_tasks(name):
        batch = padded(learner.batch(rollouts, run), padding)
    batch = learner.gradient(batch, run, first=True)
    first = flat(learner.policy)
    old = [moved(batch.old_logprobs[row], r) for row, r in enumerate(batch.rollouts)]
    batch = batch.but(old_logprobs=torch.stack(old) * batch.mask)
    learner.gradient(batch, run, first=False)
    return first, flat(learner.policy)


def moved(old: Tensor, rollout: Rollout) -> Tensor:
    """Log-probabilities of an older policy; a rollout's do not depend on others."""
    draw = torch.Generator().manual_seed(rollout.attempt + 100 * rollout.steps)
    return old + 0.1 * torch.randn(64, generator=draw)[: len(old)]


def padded(batch: Batch, columns: int) -> Batch:
    names = ["weights", "mask", "sampled_logprobs", "old_logprobs", "importance"]
    names += ["advantages"] if batch.advantages.shape[1] > 1 else []
    names += ["rewards"] if batch.rewards.shape[1] > 1 else []
    wider = {n: torch.nn.functional.pad(getattr(batch, n), (0, columns)) for n in names}
    return batch.but(**wider)


def flat(policy: Policy) -> Tensor:
    found = [torch.zeros_like(p) if p.grad is None else p.grad for p in policy.parameters()]
    return torch.cat([g.flatten() for g in found]).double()


@cache
def whole(name: str) -> tuple[Tensor, Tensor]:
    return gradients(name, world()[1])


def agree(ones: tuple[Tensor, Tensor], others: tuple[Tensor, Tensor]) -> None:
    for one, other in zip(ones, others, strict=True):
        assert float((one - other).norm()) <= 2e-5 * float(other.norm()) + 1e-9


@pytest.mark.parametrize("name", NAMES)
def test_there_is_a_gradient(name: str):
    first, second = whole(name)
    assert bool(first.isfinite().all() and second.isfinite().all())
    assert float(first.norm()) > 0


@pytest.mark.parametrize("name", NAMES)
def test_invariance_to_micro_batches_order_and_padding(name: str):
    rollouts = world()[1]
    order = torch.randperm(len(rollouts), generator=torch.Generator().manual_seed(1)).tolist()
    mixed = tuple(rollouts[n] for n in order)
    agree(gradients(name, mixed, positions=30, padding=5), whole(name))


@pytest.mark.parametrize("name", NAMES)
def test_degenerate_groups_have_a_finite_gradient(name: str):
    """All right, all wrong, a rollout alone; together, and the last by itself."""
    rollouts = world()[1]
    names = dict.fromkeys(r.group for r in rollouts)
    groups = [[r for r in rollouts if r.group == group] for group in names]
    right, wrong = [judged(r, 1) for r in groups[0]], [judged(r, 0) for r in groups[1]]
    alone = groups[2][:1]
    for these in ([*right, *wrong, *alone], alone):
        for gradient in gradients(name, tuple(these)):
            assert bool(gradient.isfinite().all()), f"{len(these)} rollouts"


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_resume_gives_the_numbers_of_an_unbroken_run(name: str, tmp_path: Path):
    """Three steps, stopped after the first and after the second one."""
    recipe: Recipe = short(registry.recipe(name), steps=3, optimizer=AdamW(lr=1e-3))
    task = digits().but(
        verify=lambda example, completion: Verdict(
            {"correct": float(len(str(completion.output)) % 2), "close": 0.5}
            | {"consistent": float(len(str(completion.output)) % 3 == 0), "grounding": 0.5},
            reason="ok" if len(str(completion.output)) % 2 else "wrong",
        )
    )

    def train(folder: str, *, stop: bool = False) -> Training:
        training = Training(
            task, recipe, {"solver": tiny()}, tmp_path / folder, Plan(dev_every=0, save_every=1)
        )
        training.stopping = stop
        training.train()
        return training

    with only_of_its_tasks(name):
        unbroken = train("whole")
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            train("parts", stop=True)
    resumed = train("parts")
    policies = [each.run.policies["solver"].parameters() for each in (unbroken, resumed)]
    assert all(torch.equal(a, b) for a, b in zip(*policies, strict=True))
    assert repr(unbroken.run.memory) == repr(resumed.run.memory)
