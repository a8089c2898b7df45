"""One gradient: whatever is packed, shared, cut, kept or computed again, it is the textbook's."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.play import play
from harness.types import Rollout
from tests.trainer_builders import a_run, digits, tiny
from trainers.learner import Learner
from trainers.losses import Clipped
from trainers.policies.text import TextPolicy
from trainers.policy import together
from trainers.recipe import Recipe
from trainers.recipes.grpo import RECIPE as GRPO
from trainers.text.layout import Text
from trainers.text.settings import LoRA, TextSettings
from trainers.text.tree import pack
from trainers.text.tree_attention import attend_tree

RECIPE = GRPO.but(losses=(Clipped(),))


@cache
def learner_of(kind: str) -> tuple[TextPolicy, tuple[Rollout, ...]]:
    """A policy with all weights or an adapter to learn, and rollouts of 1 to 40 steps."""
    policy = tiny(max_tokens=40, adapter=LoRA(rank=4) if kind == "lora" else None)
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in policy.parameters() if kind == "lora" else ():
            weight.add_(torch.randn(weight.shape, generator=draw), alpha=0.1)
    task = digits()
    asked = [task.prompt(e).but(rollouts=5) for e in task.examples("train")[:3]]
    found = [r for r in play(task, asked, policy) if isinstance(r, Rollout)]
    found.sort(key=lambda r: (r.example.id, r.attempt))
    return policy, tuple(cut(r, (1, 40, 3, 17, 29)[n % 5]) for n, r in enumerate(found))


def cut(rollout: Rollout, steps: int) -> Rollout:
    """The rollout after so many steps, paid by its length so that groups differ."""
    ((asked, said),) = rollout.turns
    assert said.logprobs is not None
    steps = min(steps, said.steps)
    trace = {**said.trace, "ids": said.trace["ids"][:steps]}
    kept = replace(said, steps=steps, trace=trace, logprobs=said.logprobs[:steps])
    verdict = replace(rollout.verdict, scores={"correct": 0.0, "close": steps % 7 / 7})
    return replace(rollout, turns=((asked, kept),), verdict=verdict)


def flat(policy: TextPolicy) -> torch.Tensor:
    found = [torch.zeros_like(p) if p.grad is None else p.grad for p in policy.parameters()]
    return torch.cat([g.flatten() for g in found]).double()


@cache
def textbook(kind: str) -> torch.Tensor:
    """sum_i sum_t A_i w_it grad log pi(o_it), one rollout at a time, from all logits."""
    policy, rollouts = learner_of(kind)
    run = a_run(RECIPE, policy=policy)
    batch = Learner("solver", RECIPE, policy, 1).batch(rollouts, run)
    policy.model.zero_grad()
    for row, rollout in enumerate(rollouts):
        trace = rollout.completion.trace
        ids = torch.tensor([[*trace["prompt"], *trace["ids"]]])
        logits = policy.model(ids).logits[0, len(trace["prompt"]) - 1 : -1]
        taken = logits.log_softmax(-1).gather(-1, torch.tensor(trace["ids"])[:, None])[:, 0]
        weights = batch.weights[row, : len(taken)]
        (-(taken * weights).sum() * batch.advantages[row, 0]).backward()
    return flat(policy)


def gradient(policy: TextPolicy, rollouts: tuple[Rollout, ...], positions: int) -> torch.Tensor:
    run = a_run(RECIPE, policy=policy)
    learner = Learner("solver", RECIPE, policy, positions)
    learner.gradient(learner.batch(rollouts, run), run, first=True)
    return flat(policy)


def distance(one: torch.Tensor, other: torch.Tensor) -> float:
    assert float(other.norm()) > 0
    return float((one - other).norm() / other.norm())


@given(
    kind=st.sampled_from(["full", "lora"]),
    packing=st.booleans(),
    sharing=st.booleans(),
    checkpointing=st.booleans(),
    padding_side=st.sampled_from(["left", "right"]),
    head_chunk=st.sampled_from([1, 5, 64]),
    positions=st.sampled_from([1, 60, 150, 10**6]),
    order=st.permutations(range(15)),
)
@settings(max_examples=25, deadline=None)
def test_all_combinations_give_the_textbook_gradient(
    kind: str, positions: int, order: list[int], **how: bool | str | int
):
    policy, rollouts = learner_of(kind)
    opened = TextPolicy(policy.loaded, policy.sampling, replace(policy.settings, **how))
    mixed = tuple(rollouts[n] for n in order)
    assert distance(gradient(opened, mixed, positions), textbook(kind)) < 1e-5


def test_long_texts_are_read_in_blocks_to_the_same_gradient(monkeypatch: pytest.MonkeyPatch):
    """Blocks of a few queries each, some of one span alone."""
    policy, rollouts = learner_of("full")
    monkeypatch.setattr("trainers.text.tree.SCORES", 200)
    assert distance(gradient(policy, rollouts, 10**6), textbook("full")) < 1e-5


@pytest.mark.parametrize("least", [1, 2])
def test_what_prompts_begin_with_alike_is_read_once_to_the_same_gradient(
    least: int, monkeypatch: pytest.MonkeyPatch
):
    policy, rollouts = learner_of("full")
    extents = [policy.extent(rollout) for rollout in rollouts]
    monkeypatch.setattr("trainers.text.branches.LEAST", least)
    assert together(map(policy.extent, rollouts)) < together(extents)
    monkeypatch.setattr("trainers.text.tree.SCORES", 400)
    assert distance(gradient(policy, rollouts, 10**6), textbook("full")) < 1e-5


def test_attention_over_a_tree_has_the_slopes_of_its_own_values(monkeypatch: pytest.MonkeyPatch):
    """In float64, against finite differences, over three levels."""
    monkeypatch.setattr("trainers.text.branches.LEAST", 1)
    heads = [[1, 2, 3, 4], [1, 2, 3, 5], [1, 6]]
    texts = [
        Text([*head, *tail], len(head), [len(head)]) for head in heads for tail in ([7], [8, 9])
    ]
    packed = pack(texts, torch.device("cpu"))
    draw = torch.Generator().manual_seed(0)
    shapes = [(packed.ids.shape[1], heads, 2) for heads in (2, 1, 1)]
    given = [torch.randn(shape, generator=draw, dtype=torch.float64) for shape in shapes]

    def read(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        return attend_tree(query, key, value, packed.tree, 0.7)[packed.steps]

    assert torch.autograd.gradcheck(read, [x.requires_grad_() for x in given], atol=1e-8, rtol=1e-7)


def test_entropy_has_the_same_gradient_packed_and_not():
    policy, rollouts = learner_of("full")
    found = []
    for packing in (True, False):
        opened = TextPolicy(
            policy.loaded, policy.sampling, replace(policy.settings, packing=packing)
        )
        policy.model.zero_grad()
        live = opened.review(rollouts)
        (live.entropy.square().sum() + live.logprobs.sum()).backward()
        found.append(flat(policy))
    assert distance(found[0], found[1]) < 1e-5


def test_a_shared_prompt_is_counted_once():
    policy, rollouts = learner_of("full")
    batch = Learner("solver", RECIPE, policy).batch(rollouts, a_run(RECIPE, policy=policy))
    extents = [policy.extent(rollout) for rollout in rollouts]
    group = sum(e.own for e in extents[:5]) + sum(extents[0].shared.values())
    assert len(batch.parts(extents, group)[0]) == 5
    assert len(batch.parts(extents, group - 1)[0]) == 4
    apart = TextPolicy(policy.loaded, policy.sampling, replace(policy.settings, sharing=False))
    assert apart.extent(rollouts[1]).own == policy.size(rollouts[1])
    assert not apart.extent(rollouts[1]).shared


@pytest.mark.parametrize("epochs", [1, 2])
def test_a_budget_from_free_memory_is_kept_with_the_run(epochs: int):
    policy, rollouts = learner_of("full")
    recipe: Recipe = RECIPE.but(epochs=epochs)
    run = a_run(recipe, policy=policy)
    learner = Learner("solver", recipe, policy)
    learner.gradient(learner.batch(rollouts, run), run, first=True)
    assert distance(flat(policy), textbook("full")) < 1e-5
    budget = run.memory["positions"]["solver"]
    assert math.log2(budget).is_integer()
    run.memory["positions"]["solver"] = 64
    assert learner.budget(learner.batch(rollouts, run), run, []) == 64


def test_settings_that_mean_nothing_are_refused():
    from harness.errors import UsageError

    for wrong in ({"head_chunk": 0}, {"padding_side": "top"}):
        with pytest.raises(UsageError, match="chunk"):
            TextSettings(**wrong)  # type: ignore[arg-type]
