"""Every kind of model that sees: as transformers itself computes it, with its own processor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from numpy.testing import assert_allclose

from harness.models import Sampling
from harness.types import Completion, Prompt, Rollout, Verdict
from tests.vision_builders import KINDS, checkpoint, noise, shown
from trainers.policies.text import TextPolicy
from trainers.policies.vision import open_vision
from trainers.unspeakable import Unspeakable
from trainers.vision.pictures import FIRST, PLACE_BITS, pictures

WIDE, HIGH, SQUARE = noise(90, 40, 1), noise(30, 80, 2), noise(64, 64, 3)
ASKED = (
    shown(WIDE, "What is this?"),
    shown("Here: ", HIGH, "and here: ", WIDE, "Which is larger, and why?"),
    shown("No picture at all."),
    shown(SQUARE, SQUARE, "The same twice?"),
)
SEEN = {
    "qwen2_5_vl": [[84, 28], [28, 84]],  # multiples of 14, of at most 3136 pixels
    "qwen3_vl": [[96, 32], [32, 80]],  # multiples of 16
    "llava": [[63, 28], [28, 75]],
    "smolvlm": [[84, 56], [56, 84]],
}


LATER = ("qwen2_5_vl", "smolvlm")
"""Kinds that differ little from those that are tried at once: places, tiles."""


@pytest.fixture(
    scope="module",
    params=[pytest.param(each, marks=[pytest.mark.slow] * (each in LATER)) for each in KINDS],
)
def opened(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = checkpoint(request.param, tmp_path_factory.mktemp(request.param))
    return request.param, folder


def policy_of(folder: Path, **changes: Any) -> TextPolicy:
    sampling = Sampling(max_tokens=10, **changes.pop("sampling", {}))
    return open_vision(str(folder), sampling, batch_size=3, **changes)


def rolled(prompt: Prompt, said: Completion) -> Rollout:
    return Rollout(((prompt, said),), Verdict({}), prompt.example.id)


def _as_the_model_wants_it(policy: TextPolicy, prompt: Prompt) -> dict[str, Any]:
    """Inputs of the model's own forward, made of the processor's answers one image at a time."""
    eye = policy.chat.eye
    assert eye is not None
    ids = [eye.token_id if each >= FIRST else each for each in policy.chat.ids(prompt)]
    given: dict[str, Any] = {
        "input_ids": torch.tensor([ids]),
        "attention_mask": torch.ones((1, len(ids)), dtype=torch.long),
    }
    with eye.album.showing([prompt]):
        numbers = [each >> PLACE_BITS for each in policy.chat.ids(prompt) if each >= FIRST]
        looks = [eye.look(number) for number in dict.fromkeys(numbers)]
        if len(looks) < len(list(pictures(prompt))):
            looks = looks * 2
    for name in looks[0].inputs if looks else ():
        tiled = looks[0].inputs[name].ndim == 5 or name == "pixel_attention_mask"
        given[name] = torch.cat([look.inputs[name] for look in looks], dim=1 if tiled else 0)
    if looks and looks[0].marks:
        given["mm_token_type_ids"] = (given["input_ids"] == eye.token_id).long()
    return given


def test_greedy_equals_transformers_generate(opened: tuple[str, Path]) -> None:
    policy = policy_of(opened[1], sampling={"temperature": 0})
    answers = dict(policy.answer(ASKED))
    for number, prompt in enumerate(ASKED):
        given = _as_the_model_wants_it(policy, prompt)
        theirs = policy.model.generate(**given, max_new_tokens=10, do_sample=False)
        said = theirs[0, given["input_ids"].shape[1] :].tolist()
        assert answers[number].trace["ids"] == said


@pytest.mark.parametrize(
    "settings", [{}, {"packing": False}, {"packing": False, "padding_side": "left"}], ids=str
)
def test_review_gives_the_sampled_logprobs(
    opened: tuple[str, Path], settings: dict[str, Any]
) -> None:
    policy = policy_of(opened[1], **settings)
    asked = [prompt.but(attempt=attempt) for prompt in ASKED for attempt in range(2)]
    answers = dict(policy.answer(asked))
    rollouts = [rolled(prompt, answers[number]) for number, prompt in enumerate(asked)]
    with torch.no_grad():
        live = policy.review(rollouts)
        alone = [policy.review([rollout]).logprobs[0] for rollout in rollouts[:4]]
    for row, rollout in enumerate(rollouts):
        steps = rollout.steps
        assert_allclose(live.logprobs[row, :steps], rollout.completion.logprobs, atol=1e-4)
    for row, logprobs in enumerate(alone):
        assert_allclose(live.logprobs[row, : len(logprobs)], logprobs, atol=1e-5)


def test_the_size_that_was_seen_is_told(opened: tuple[str, Path]) -> None:
    kind, folder = opened
    policy = policy_of(folder)
    told = dict(policy.answer(ASKED[:3]))
    assert "images" not in told[2].trace
    high, wide = told[1].trace["images"]
    assert told[0].trace["images"] == [wide]
    assert (wide["given"], high["given"]) == ([90, 40], [30, 80])
    assert [wide["seen"], high["seen"]] == SEEN[kind]
    assert ("corner" in wide) == (kind == "llava")


def test_saved_and_loaded_is_the_same(opened: tuple[str, Path], tmp_path: Path) -> None:
    policy = policy_of(opened[1])
    with torch.no_grad():
        for weight in policy.parameters():
            weight.add_(torch.randn(weight.shape, generator=torch.Generator().manual_seed(0)) / 50)
    policy.refresh()
    before = [each.output for _, each in sorted(policy.answer(ASKED), key=lambda pair: pair[0])]
    policy.save(tmp_path)
    again = policy_of(tmp_path)
    told = [each.output for _, each in sorted(again.answer(ASKED), key=lambda pair: pair[0])]
    assert told == before
    first = policy_of(opened[1])
    first.load_state(tmp_path)
    for mine, theirs in zip(first.parameters(), policy.parameters(), strict=True):
        assert torch.equal(mine, theirs)


def test_text_that_spells_out_an_image_is_refused(opened: tuple[str, Path]) -> None:
    policy = policy_of(opened[1])
    assert policy.chat.eye is not None
    with pytest.raises(Unspeakable, match="stands for an image"):
        policy.chat.ids(shown(f"I say {policy.chat.eye.token} myself."))
