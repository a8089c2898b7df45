"""Every recipe, present and future, keeps what recipes promise."""

from dataclasses import replace

import pytest

from harness import Completion, Example, Task, Verdict, registry
from tests.trainer_builders import digits
from trainers.contracts import recipe_contracts

NAMES = [card.name for card in registry.cards("recipes")]


def scored_apart() -> Task:
    """Digits with the scores of reasoning too, which some recipes pay or hold above a floor."""
    plain = digits()

    def verify(example: Example, completion: Completion) -> Verdict:
        found = plain.verify(example, completion)
        more = {"consistent": found.scores["correct"], "grounding": found.scores["close"]}
        return replace(found, scores={**found.scores, **more})

    return plain.but(verify=verify)


@pytest.mark.parametrize("name", NAMES)
def test_keeps_the_contracts(name: str):
    recipe = registry.recipe(name)
    numbers = recipe.home.startswith("airquality/")  # asked in arrays, not in words
    task = registry.task(recipe.home) if numbers else scored_apart()
    found = recipe_contracts(recipe, registry.card("recipes", name), task)
    assert [finding for finding in found if not finding.ok] == []
