"""Every recipe, present and future, keeps what recipes promise."""

import pytest

from harness import registry
from tests.trainer_builders import digits
from trainers.contracts import recipe_contracts

NAMES = [card.name for card in registry.cards("recipes")]


@pytest.mark.parametrize("name", NAMES)
def test_keeps_the_contracts(name: str):
    found = recipe_contracts(registry.recipe(name), registry.card("recipes", name), digits())
    assert [finding for finding in found if not finding.ok] == []
