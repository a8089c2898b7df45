"""Recipes as text, and settings by dotted paths."""

import pytest

from harness import registry
from harness.errors import UnknownName, UsageError
from trainers.losses import Clipped
from trainers.recipe import Recipe
from trainers.recipes.grpo import RECIPE as GRPO
from trainers.recipes.ps_grpo import RECIPE as PS_GRPO
from trainers.schedules import Linear
from trainers.weights import MaskTruncated, MeanOverSteps
from trainers.written import change, difference, known, read


@pytest.mark.parametrize("name", [card.name for card in registry.cards("recipes")])
def test_every_recipe_reads_back_as_it_prints(name: str):
    recipe = registry.recipe(name)
    assert read(repr(recipe), known(recipe)) == recipe


def test_recipes_of_further_roles_read_back_too():
    recipe = GRPO.but(roles={"hinter": GRPO.but(steps=3, temperature=Linear(1, 0.5, 10))})
    assert read(repr(recipe), known(recipe)) == recipe


@pytest.mark.parametrize(
    ("setting", "found", "expected"),
    [
        ("samplers.rollouts=5", lambda r: r.samplers.rollouts, 5),
        ("optimizer.lr=2e-6", lambda r: r.optimizer.lr, 2e-6),
        ("optimizer.lr=Linear(1e-5, 0, over=100)", lambda r: r.optimizer.lr, Linear(1e-5, 0, 100)),
        ("losses.KLToReference.beta=0.04", lambda r: r.losses[1].beta, 0.04),
        ("losses.0.high=0.28", lambda r: r.losses[0].high, 0.28),
        ("losses.Clipped=Clipped(0.1, 0.4)", lambda r: r.losses[0], Clipped(0.1, 0.4)),
        ("weights=MeanOverSteps()", lambda r: r.weights, (MeanOverSteps(),)),
        (
            "weights=(MaskTruncated(), MeanOverSteps())",
            lambda r: r.weights,
            (MaskTruncated(), MeanOverSteps()),
        ),
        ("rewards.0.scores={'close': 1.0}", lambda r: r.rewards[0].scores, {"close": 1.0}),
        ("old_logprobs=sampled", lambda r: r.old_logprobs, "sampled"),
        ("whole_groups=true", lambda r: r.whole_groups, True),
        ("stop=('\\n',)", lambda r: r.stop, ("\n",)),
        ("losses.KLToReference.estimator=k1", lambda r: r.losses[1].estimator, "k1"),
        ("optimizer.betas=(0.9, 0.95)", lambda r: r.optimizer.betas, (0.9, 0.95)),
    ],
)
def test_a_setting_replaces_one_field(setting, found, expected):
    changed = change(GRPO, [setting])
    assert found(changed) == expected
    assert len(difference(changed, GRPO)) == 1


@pytest.mark.parametrize(
    ("setting", "error", "says"),
    [
        ("sampler.rollouts=5", UnknownName, "Did you mean samplers"),
        ("samplers.rollout=5", UnknownName, "Did you mean rollouts"),
        ("losses.Clip.low=0.1", UnknownName, "Did you mean Clipped"),
        ("losses.7.low=0.1", UnknownName, "no '7'"),
        ("optimizer.lr=fast", UsageError, "takes"),
        ("epochs=1.5", UsageError, "takes int"),
        ("epochs=True", UsageError, "takes int"),
        ("old_logprobs=both", UsageError, "takes"),
        ("weights=Mean()", UnknownName, "no 'Mean' in stages"),
        ("optimizer.lr.start=3", UsageError, "has no field 'start'"),
        ("optimizer.lr", UsageError, "write PATH=VALUE"),
        ("optimizer.lr=Linear(1, -1, 5)", UsageError, "below 0"),
        ("optimizer.lr=__import__('os').system('true')", UsageError, "takes"),
        ("weights=MeanOverLength(3, 4)", UsageError, "takes"),
    ],
)
def test_a_wrong_setting_says_what_would_do(setting, error, says):
    with pytest.raises(error) as caught:
        change(GRPO, [setting])
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("similarity=bleu3", "takes exact, token_f1, bleu1, bleu2, bleu4, rouge_l, bleu1_one_way,"),
        ("phrasings=x", "takes int or None"),
        ("weight=x", "takes float or Schedule"),
    ],
)
def test_choices_are_told_in_words(setting: str, says: str):
    with pytest.raises(UsageError) as caught:
        change(PS_GRPO, [f"rewards.PayAgreement.{setting}"])
    assert says in str(caught.value)
    assert "typing" not in str(caught.value)


@pytest.mark.parametrize(
    "text", ["open('x')", "().__class__", "[x for x in (1,)]", "1 +", "(" * 300, "lambda: 1"]
)
def test_text_is_never_run(text: str):
    with pytest.raises(UsageError):
        read(text, known())


def test_a_recipe_is_read_and_not_run():
    with pytest.raises(UsageError):
        read("Recipe(name=open('/etc/passwd').read())", known())
    assert isinstance(read(repr(GRPO), known()), Recipe)
