"""Every recipe, present and future, keeps what recipes promise."""

import pytest

from harness import registry
from tests.trainer_builders import digits
from trainers.contracts import recipe_contracts

NAMES = [card.name for card in registry.cards("recipes")]


@pytest.mark.parametrize("name", NAMES)
def test_keeps_the_contracts(name: str):
    recipe = registry.recipe(name)
    numbers = recipe.home.startswith("airquality/")  # asked in arrays, not in words
    task = registry.task(recipe.home) if numbers else digits()
    found = recipe_contracts(recipe, registry.card("recipes", name), task)
    assert [finding for finding in found if not finding.ok] == []
