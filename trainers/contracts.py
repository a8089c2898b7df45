"""contracts: what every recipe promises, as laws that can be checked in seconds on a tiny policy.

`harness check` and the tests read the same findings. The recipe meets its home task's prompts and
score names; answers of an untrained policy are paid by a digest of what was said, so that groups
have something to compare.
"""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from harness.contracts import Finding
from harness.digests import digest
from harness.models import Gold, Sampling
from harness.play import play
from harness.registry import Card
from harness.types import SPLITS, Completion, Example, Message, Prompt, Rollout, Task, Verdict
from trainers import written
from trainers.batch import Batch
from trainers.learner import Learner
from trainers.loop import Plan, Training, in_order
from trainers.policies.forecast import open_forecast
from trainers.policies.text import open_text
from trainers.policies.vision import open_vision
from trainers.policy import Policy
from trainers.recipe import Attempt, Policies, Recipe, Run, wrapped

TOKENS = 4
CLOCKS = ("time/", "step_time", "spent/seconds", "tokens_per_second", "memory/")
"""Log entries that two equal runs may differ in."""


@dataclass
class Subject:
    """A recipe under examination, and the rollouts that its laws look at."""

    recipe: Recipe
    card: Card
    task: Task
    rollouts: list[Rollout] = field(default_factory=list)

    @property
    def small(self) -> Recipe:
        """The recipe with two steps of few and short attempts."""
        sampler: Any = self.recipe.samplers
        if is_dataclass(sampler) and any(each.name == "prompts" for each in fields(sampler)):
            sampler = replace(sampler, prompts=2)  # type: ignore[type-var]
        return self.recipe.but(samplers=sampler, steps=2, max_tokens=TOKENS)


Law = Callable[[Subject], Iterator[str]]


def recipe_contracts(recipe: Recipe, card: Card, task: Task) -> list[Finding]:
    """Every law of recipes, checked in order on a task: as a rule, on the home of the recipe."""
    subject = Subject(recipe, card, _paid_by_digest(task))
    findings: list[Finding] = []
    for name, law in LAWS.items():
        try:
            wrong = list(law(subject))
        except Exception as error:
            wrong = [f"{type(error).__name__}: {error}"]
        findings.append(Finding(name, not wrong, "; ".join(wrong[:3])))
    return findings


def credit(recipe: Recipe, rewards: Sequence[float]) -> list[float]:
    """Advantages that a recipe gives to one group with these rewards, attempt by attempt."""
    example = Example("one", {}, None)
    rollouts = [
        Rollout(
            turns=((Prompt(example, (Message("user", "?"),), attempt=n), _said(n)),),
            verdict=Verdict({"correct": reward}, reason="ok" if reward == 1 else "wrong"),
            group="one",
            attempt=n,
        )
        for n, reward in enumerate(rewards)
    ]
    batch = Batch.of(rollouts, torch.ones((len(rollouts), TOKENS), dtype=torch.bool))
    batch = batch.but(rewards=torch.tensor([[reward] for reward in rewards]))
    task = Task(
        name="contracts/one",
        version=1,
        examples=lambda split: [example],
        prompt=lambda example: rollouts[0].prompt,
        verify=lambda example, completion: Verdict({"correct": 0.0}, reason="wrong"),
        gold=lambda example: "",
        metrics=(),
        reward={"correct": 1.0},
    )
    run = Run(task=task, recipe=recipe, policies=Policies({"solver": _tiny(task)}))
    for stage in recipe.advantages:
        batch = stage(batch, run)
    return batch.advantages.mean(1).tolist()


# -- the laws


def card_is_complete(subject: Subject) -> Iterator[str]:
    if not subject.card.title:
        yield "the module docstring's first line is not `name: what it does`"
    for heading in ("Idea", "Formula", "Paper", "Limits"):
        if not subject.card.sections.get(heading):
            yield f"the module docstring has no section {heading}"


def name_is_the_file(subject: Subject) -> Iterator[str]:
    if subject.recipe.name != subject.card.name:
        yield f"the recipe is called '{subject.recipe.name}' and its file '{subject.card.name}'"


def prints_and_reads_back(subject: Subject) -> Iterator[str]:
    back = written.read(repr(subject.recipe), written.known(subject.recipe))
    if back != subject.recipe:
        yield f"reads back otherwise in {', '.join(written.difference(back, subject.recipe))}"


def weights_add_up(subject: Subject) -> Iterator[str]:
    subject.rollouts = _attempted(subject)
    batch = _batch(subject, subject.rollouts)
    total = batch.weights.sum().item()
    if not -1e-5 <= total <= 1 + 1e-4:
        yield f"weights add up to {total:.4f}; end with MeanOverRollouts or another mean"
    if bool((batch.weights[~batch.mask] != 0).any()):
        yield "a step that the policy did not decide has a weight"


def order_does_not_matter(subject: Subject) -> Iterator[str]:
    order = np.random.default_rng(0).permutation(len(subject.rollouts)).tolist()
    batch = _batch(subject, subject.rollouts)
    mixed = _batch(subject, [subject.rollouts[number] for number in order])
    for name in ("advantages", "weights"):
        one, other = getattr(batch, name)[order], getattr(mixed, name)
        if one.shape != other.shape or not torch.allclose(one, other, atol=1e-5):
            yield f"permuting rollouts does not permute their {name}"


def micro_batches_change_no_gradient(subject: Subject) -> Iterator[str]:
    whole, cut = _gradients(subject, 10**6), _gradients(subject, 1)
    for which, one, other in zip(("first", "second"), whole, cut, strict=True):
        if float((one - other).norm()) > 1e-4 * float(one.norm()) + 1e-9:
            yield (
                f"the gradient of a step's {which} update depends on how rollouts are cut into "
                "micro-batches. A loss that compares a group's rollouts needs whole_groups=True in "
                "its recipe, one that needs a number of all of them is a BatchLoss; none averages"
            )


def degenerate_groups_are_finite(subject: Subject) -> Iterator[str]:
    names = subject.rollouts[0].verdict.scores
    for what, score in (("all wrong", 0.0), ("all right", 1.0)):
        reason = "ok" if score else "wrong"
        verdict = Verdict(dict.fromkeys(names, score), None, reason)
        yield from _infinite(subject, [replace(r, verdict=verdict) for r in subject.rollouts], what)
    yield from _infinite(subject, subject.rollouts[:1], "a single rollout")


def stopped_runs_go_on_to_the_same_numbers(subject: Subject) -> Iterator[str]:
    with tempfile.TemporaryDirectory() as place:
        whole, parts = Path(place, "whole"), Path(place, "parts")
        one, lines = _trained(subject, whole)
        _trained(subject, parts, stop=True)
        other, again = _trained(subject, parts)
    odd = [key for key in lines if lines[key] != again.get(key)]
    if odd:
        yield f"the log differs in {', '.join(odd[:4])}"
    if any(not torch.equal(a, b) for a, b in zip(one, other, strict=True)):
        yield "the weights differ"
    if any(not bool(weight.isfinite().all()) for weight in one):
        yield "a weight is not finite"
    infinite = [name for name, value in lines.items() if not math.isfinite(value)]
    if infinite:
        yield f"not finite in the log: {', '.join(infinite[:4])}"


LAWS: Mapping[str, Law] = {
    "the card is complete": card_is_complete,
    "the name is that of the file": name_is_the_file,
    "prints and reads back": prints_and_reads_back,
    "weights add up": weights_add_up,
    "permuting rollouts permutes advantages": order_does_not_matter,
    "micro-batches change no gradient": micro_batches_change_no_gradient,
    "degenerate groups are finite": degenerate_groups_are_finite,
    "two steps are finite, and a stopped run goes on to their numbers": (
        stopped_runs_go_on_to_the_same_numbers
    ),
}


# -- their tools


def _tiny(task: Task) -> Policy:
    """Of the family that reads the task's prompts."""
    asked = task.prompt(next(example for split in SPLITS for example in task.examples(split)))
    content, sampling = asked.messages[-1].content, Sampling(max_tokens=TOKENS)
    if isinstance(content, Mapping):
        return open_forecast("grid-tiny" if "cells" in content else "tiny", sampling)
    if isinstance(content, tuple) and not all(isinstance(part, str) for part in content):
        return open_vision("tiny", sampling, dtype="float32", batch_size=64)
    return open_text("tiny", sampling, dtype="float32", batch_size=64)


def _said(number: int) -> Completion:
    logprobs = np.full(TOKENS, -1.0, np.float32)
    return Completion(f"answer {number}", steps=TOKENS, logprobs=logprobs)


def _paid_by_digest(task: Task) -> Task:
    """The task with a judge that any output moves; scores keep their names."""
    asked = task.prompt(next(example for split in SPLITS for example in task.examples(split)))
    (judged, *_) = [*play(task.but(compare=None), [asked], Gold(task))]
    names = [*judged.verdict.scores] if isinstance(judged, Rollout) else [*task.reward]

    def verify(example: Example, completion: Completion) -> Verdict:
        told = digest([example.id, completion.output])
        scores = {name: int(told[n % 16], 16) % 5 / 4 for n, name in enumerate(names)}
        return Verdict(scores, None, "ok" if scores[names[0]] == 1 else "wrong")

    return task.but(verify=verify)


def _run(subject: Subject, positions: int = 4096) -> tuple[Run, Learner]:
    policy, recipe = _tiny(subject.task), subject.small
    run = Run(
        task=subject.task,
        recipe=recipe,
        policies=Policies({"solver": policy}),
        examples=list(subject.task.examples("train"))[:8],
    )
    return run, Learner("solver", recipe, policy, positions)


def _attempted(subject: Subject) -> list[Rollout]:
    """The solver's rollouts of one step."""
    run, learner = _run(subject)

    def once(prompts: Sequence[Prompt]) -> list[Rollout]:
        return in_order(prompts, list(play(run.task, prompts, {"solver": learner.policy})))

    attempt: Attempt = once
    for wrapper in reversed(run.recipe.rollouts):
        attempt = wrapped(wrapper, attempt, run)
    prompts = run.recipe.samplers(run.examples, run)
    return [rollout for rollout in attempt(prompts) if rollout.role == "solver"]


def _batch(subject: Subject, rollouts: Sequence[Rollout]) -> Batch:
    run, learner = _run(subject)
    return learner.batch(rollouts, run)


def _gradients(subject: Subject, positions: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Of a first update, and of a second one after the policy moved a little."""
    run, learner = _run(subject, positions)
    batch = learner.gradient(learner.batch(subject.rollouts, run), run, first=True)
    first = _flat(learner.policy)
    draw = torch.Generator().manual_seed(0)
    moved = 0.1 * torch.randn(batch.mask.shape, generator=draw) * batch.mask
    learner.gradient(batch.but(old_logprobs=batch.old_logprobs + moved), run, first=False)
    return first, _flat(learner.policy)


def _flat(policy: Policy) -> torch.Tensor:
    found = [torch.zeros_like(p) if p.grad is None else p.grad for p in policy.parameters()]
    return torch.cat([gradient.flatten() for gradient in found]).double()


def _infinite(subject: Subject, rollouts: Sequence[Rollout], what: str) -> Iterator[str]:
    batch = _batch(subject, rollouts)
    for name in ("rewards", "advantages", "weights"):
        if not bool(getattr(batch, name).isfinite().all()):
            yield f"{what}: {name} are not finite"


def _trained(
    subject: Subject, folder: Path, *, stop: bool = False
) -> tuple[list[torch.Tensor], dict[str, float]]:
    """Weights and logged numbers after two steps, or after the first."""
    policy = _tiny(subject.task)
    plan = Plan(dev_every=0, save_every=1, limit=8)
    training = Training(subject.task, subject.small, {"solver": policy}, folder, plan)
    training.stopping = stop
    try:
        training.train()
    except KeyboardInterrupt:
        if not stop:
            raise
    logged: dict[str, float] = {}
    for text in (folder / "metrics.jsonl").read_text("utf-8").splitlines():
        line = json.loads(text)
        numbers = {k: v for k, v in line.items() if not k.startswith(CLOCKS)}
        logged |= {f"step {line.get('step')}: {k}": float(v) for k, v in numbers.items()}
    return [weight.detach().clone() for weight in policy.parameters()], logged
