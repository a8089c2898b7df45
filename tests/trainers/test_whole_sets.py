"""Sets in training: whatever chooses, repeats or leaves out attempts does so with whole sets.

No recipe is named in the laws: every sampler and wrapper of the registry is asked.
"""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import fields, is_dataclass, replace
from functools import reduce
from typing import Any

import numpy as np
import pytest

from harness import Completion, Example, Message, Prompt, Rollout, Task, Verdict, registry
from harness.play import play
from tests.trainer_builders import CORRECT, Paid, a_run, still
from trainers import rollouts, samplers
from trainers.recipe import Run, Sampler, Wrapper, wrapped
from trainers.recipes.grpo import RECIPE as GRPO
from trainers.recipes.spo import ByUncertainty, EstimateOffline
from trainers.rollouts import RefillFlatGroups
from trainers.samplers import Uniform

SIZES = (3, 1, 4, 2, 3, 3)
EXAMPLES = [
    Example(f"{number}/{n}", {"q": f"{number} {n}"}, "", {"set": f"s{number}", "hint": "ab"})
    for n in range(max(SIZES))
    for number, size in enumerate(SIZES)
    if n < size
]
"""No set stands in one piece."""


def set_name(example: Example) -> str:
    return str(example.tags["set"])


def verify(example: Example, said: Completion) -> Verdict:
    right = (sum(map(ord, str(said.output))) + len(example.id)) % 2
    return Verdict({"correct": float(right)}, "a", "ok" if right else "wrong")


PHRASED = Task(
    name="sets/phrased",
    version=1,
    examples=lambda split: EXAMPLES,
    prompt=lambda e: Prompt(e, (Message("user", f"What of {e.inputs['q']}?"),)),
    verify=verify,
    gold=lambda e: "ab",
    metrics=(),
    reward={"correct": 1.0},
    set=set_name,
    compare=lambda rollouts: [{} for _ in rollouts],
)


def run_of(sampler: Sampler, *wrappers: Wrapper) -> Run:
    recipe = GRPO.but(samplers=sampler, rollouts=wrappers, rewards=CORRECT, max_tokens=3)
    run = a_run(recipe, task=PHRASED, policy=still())
    run.examples = EXAMPLES
    return run


def step(run: Run) -> list[Rollout]:
    """What a step has to learn from."""

    def attempt(prompts: Sequence[Prompt]) -> list[Rollout]:
        return [r for r in play(PHRASED, prompts, still()) if isinstance(r, Rollout)]

    wrappers = reversed(run.recipe.rollouts)
    played = reduce(lambda inner, wrapper: wrapped(wrapper, inner, run), wrappers, attempt)
    return played(run.recipe.samplers(run.examples, run))


def cut(examples: Iterable[Example]) -> list[str]:
    """Sets of which some examples are there and others are not."""
    there = Counter(map(set_name, {example.id: example for example in examples}.values()))
    return [name for name, count in there.items() if count != SIZES[int(name[1:])]]


def shared(module: Any, parameter: str) -> list[Any]:
    """Stages of a module whose calls have that parameter, with their defaults."""
    return [
        kind()
        for kind in vars(module).values()
        if is_dataclass(kind)
        and isinstance(kind, type)
        and kind.__module__ == module.__name__
        and parameter in inspect.signature(kind.__call__).parameters
    ]


RECIPES = [registry.recipe(card.name) for card in registry.cards("recipes")]
SAMPLERS = {
    type(each).__name__: each
    for each in (*shared(samplers, "examples"), *(recipe.samplers for recipe in RECIPES))
}
WRAPPERS = {
    " ".join(type(each).__name__ for each in several): several
    for several in (
        *((each,) for each in shared(rollouts, "play")),
        *(recipe.rollouts for recipe in RECIPES if recipe.rollouts),
        (EstimateOffline(rollouts=2),),
    )
}


def asking(sampler: Sampler, prompts: int) -> Any:
    assert "prompts" in {field.name for field in fields(sampler)}  # type: ignore[arg-type]
    return replace(sampler, prompts=prompts)  # type: ignore[type-var]


@pytest.mark.parametrize("prompts", [1, 7, 16, 21])
@pytest.mark.parametrize("name", sorted(SAMPLERS))
def test_every_sampler_draws_whole_sets(name: str, prompts: int):
    run = run_of(asking(SAMPLERS[name], prompts))
    for _ in range(4):
        asked = run.recipe.samplers(EXAMPLES, run)
        assert asked
        assert cut(prompt.example for prompt in asked) == []
        assert len(asked) <= max(prompts, max(SIZES))


@pytest.mark.parametrize("name", sorted(WRAPPERS))
def test_every_wrapper_keeps_or_drops_whole_sets(name: str):
    run = run_of(Uniform(prompts=8, rollouts=2), *WRAPPERS[name])
    for run.step in range(3):
        found = step(run)
        assert found
        assert cut(rollout.example for rollout in found) == []


def test_refilling_keeps_a_set_of_which_one_phrasing_differs_and_no_flat_one():
    run = run_of(Uniform(prompts=8, rollouts=2), RefillFlatGroups())

    def reward(prompt: Prompt) -> float:
        """In even sets the last phrasing is right every other time; in odd ones nothing is."""
        number, place = map(int, prompt.example.id.split("/"))
        return float(number % 2 == 0 and place == SIZES[number] - 1 and prompt.attempt % 2)

    def attempt(prompts: Sequence[Prompt]) -> list[Rollout]:
        return [replace(r, set=set_name(r.example)) for r in Paid(reward)(prompts)]

    kept = RefillFlatGroups()(run.recipe.samplers(EXAMPLES, run), attempt, run)
    assert {set_name(r.example) for r in kept} <= {"s0", "s2", "s4"}
    assert cut(r.example for r in kept) == []
    assert run.tally.numbers()["groups/rounds"] < 10


def test_sets_are_drawn_by_what_is_unknown_of_their_examples():
    run = run_of(ByUncertainty(prompts=3))
    certain = {"alpha": 1e6, "beta": 1.0, "answer": None}
    run.memory["spo"] = {e.id: certain for e in EXAMPLES if set_name(e) not in ("s0", "s2")}
    drawn = Counter(set_name(run.recipe.samplers(EXAMPLES, run)[0].example) for _ in range(400))
    # by hand: 0.55 an unknown example, 0.051 a known one: 1.65, 0.051, 2.2, 0.102, 0.153, 0.153
    assert [drawn[f"s{n}"] / 400 for n in (0, 2)] == pytest.approx([0.383, 0.511], abs=0.1)


def test_where_more_are_asked_than_there_are_all_come_and_then_whole_sets():
    run = run_of(ByUncertainty(prompts=len(EXAMPLES) + 6))
    often = {p.example.id: p.rollouts for p in run.recipe.samplers(EXAMPLES, run)}
    assert len(often) == len(EXAMPLES)
    assert cut(e for e in EXAMPLES if often[e.id] == 2) == []
    assert len(EXAMPLES) < sum(often.values()) <= len(EXAMPLES) + 6


def test_without_sets_draws_are_what_they_were():
    """As `rng.choice` alone gives them: runs that were kept go on to the same numbers."""
    run = run_of(ByUncertainty(prompts=5))
    run.task = PHRASED.but(set=lambda example: example.id)
    chances = np.full(len(EXAMPLES), 1 / len(EXAMPLES))
    told = np.random.default_rng(7).choice(len(EXAMPLES), 5, replace=False, p=chances)
    run.rng = np.random.default_rng(7)
    asked = run.recipe.samplers(EXAMPLES, run)
    assert [p.example.id for p in asked] == [EXAMPLES[n].id for n in told]
