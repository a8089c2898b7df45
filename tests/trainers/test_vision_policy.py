"""What only models that see have: pictures of any kind, read once, stored, and refused in words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from numpy.typing import NDArray

from harness.codec import decode, encode
from harness.errors import ModelError, UsageError
from harness.models import Sampling
from harness.types import Completion, Message, Prompt, Rollout, Verdict
from tests.vision_builders import noise, shown
from trainers.policies.text import TextPolicy, open_text
from trainers.policies.vision import open_vision
from trainers.text.settings import LoRA

SAMPLING = Sampling(max_tokens=8, seed=3)


def tiny(**settings: Any) -> TextPolicy:
    return open_vision("tiny", SAMPLING, dtype="float32", batch_size=4, **settings)


def answered(policy: TextPolicy, *asked: Prompt) -> list[Rollout]:
    answers = dict(policy.answer(asked))
    return [
        Rollout(((prompt, answers[number]),), Verdict({}), prompt.example.id)
        for number, prompt in enumerate(asked)
    ]


def logprobs(policy: TextPolicy, rollouts: list[Rollout]) -> torch.Tensor:
    with torch.no_grad():
        return policy.review(rollouts).logprobs


@contextmanager
def readings(policy: TextPolicy) -> Iterator[list[int]]:
    """How many pictures each call of the image part reads."""
    found: list[int] = []
    tower: Any = policy.model.model.vision_model
    hook = tower.register_forward_hook(
        lambda _, __, given, ___: found.append(len(given["pixel_values"])), with_kwargs=True
    )
    yield found
    hook.remove()


# ---- what is seen


def test_what_is_said_depends_on_the_picture_and_on_its_place() -> None:
    policy = tiny()
    one, other = noise(60, 40, 1), noise(60, 40, 2)
    asked = [shown(one, "a"), shown(other, "a"), shown(one, other, "a"), shown(other, one, "a")]
    (said,) = answered(policy, asked[0])
    turned = [
        replace(said, turns=((prompt, replace(said.completion, trace=spelled)),))
        for prompt in asked
        for spelled in [policy.spell(prompt, said.completion.output).trace]
    ]
    found = logprobs(policy, turned)
    for row in range(4):
        for before in range(row):
            assert not torch.allclose(found[row], found[before], atol=1e-4)


def test_the_tokens_are_those_of_the_processor() -> None:
    policy = tiny()
    eye = policy.chat.eye
    assert eye is not None
    prompt = shown("Here ", noise(60, 40), " and ", noise(9, 9), "?")
    ours = [eye.token_id if each > 1 << 40 else each for each in policy.chat.ids(prompt)]
    theirs = eye.processor(text=policy.chat.written(prompt), images=[noise(60, 40), noise(9, 9)])[
        "input_ids"
    ][0]
    assert ours == list(theirs)


def test_a_picture_is_read_once_for_a_group() -> None:
    policy = tiny()
    one, other = noise(60, 40, 1), noise(30, 30, 2)
    asked = [shown(one, "a", attempt=n) for n in range(4)]
    asked += [shown(other, "b", attempt=n) for n in range(4)]
    with readings(policy) as found:
        rollouts = answered(policy, *asked)
        assert sum(found) == 2
        policy.review(rollouts).logprobs.sum().backward()
        assert sum(found) == 4
    whole = policy.extent(rollouts[0])
    assert list(whole.shared) == list(policy.extent(rollouts[1]).shared)
    assert whole.own < 8 < sum(whole.shared.values())


def test_questions_about_one_picture_share_its_reading() -> None:
    policy = tiny()
    one = noise(60, 40, 1)
    with readings(policy) as found:
        answered(policy, *(shown(one, f"Question {n}?") for n in range(4)))
    assert sum(found) == 1


@pytest.mark.parametrize("settings", [{}, {"fused": False}], ids=str)
def test_padding_and_order_change_no_number(settings: dict[str, Any]) -> None:
    policy = tiny(**settings)
    asked = [shown(noise(60, 40, n), "why " * (3 * n + 1)) for n in range(3)]
    asked.append(shown("no picture"))
    together = answered(policy, *asked)
    turned = answered(policy, *asked[::-1])[::-1]
    for rollout, other in zip(together, turned, strict=True):
        (alone,) = answered(policy, rollout.prompt)
        assert rollout.completion == other.completion == alone.completion
    packed = logprobs(policy, together)
    assert_allclose(packed, logprobs(tiny(packing=False), together), atol=1e-5)
    assert_allclose(packed, logprobs(policy, together[::-1]).flip(0), atol=1e-5)


# ---- turns, hints, storage


def test_a_later_turn_may_show_another_picture() -> None:
    policy = tiny()
    first = shown(noise(60, 40, 1), "And now?")
    (rollout,) = answered(policy, first)
    said = Message("assistant", rollout.completion.output)
    second = first.but(messages=(*first.messages, said, Message("user", (noise(40, 40, 2), "?"))))
    (later,) = answered(policy, second)
    both = Rollout((*rollout.turns, *later.turns), Verdict({}), "")
    found = logprobs(policy, [both])[0]
    wanted = [each.completion.logprobs for each in (rollout, later)]
    assert_allclose(found, np.concatenate(wanted), atol=1e-4)  # type: ignore[arg-type]
    assert len(later.completion.trace["images"]) == 2


def test_a_hint_stands_after_the_words_that_follow_a_picture() -> None:
    image = noise(20, 20)
    asked = shown(image, "Which?").with_hint("Look left.")
    (message,) = asked.spoken()
    assert message.content[0] is image
    assert message.content[1:] == ("Which?\n\nLook left.",)
    (message,) = shown("Which?", image).with_hint("Look left.").spoken()
    assert message.content[2:] == ("Look left.",)
    assert "Look left." in tiny().chat.written(asked)


def test_stored_and_read_back_a_rollout_reviews_the_same() -> None:
    policy = tiny()
    rollouts = answered(policy, *(shown(noise(60, 40), "Why?", attempt=n) for n in range(2)))
    lines = msgspec.json.decode(msgspec.json.encode([encode(rollout) for rollout in rollouts]))
    again = [decode(line, rollouts[0].example) for line in lines]
    assert again[0].completion.trace["images"] == [{"given": [60, 40], "seen": [56, 56]}]
    assert isinstance(again[0].prompt.messages[0].content, tuple)
    fresh = tiny()
    assert torch.equal(logprobs(fresh, again), logprobs(policy, rollouts))
    assert fresh.resume(again[0], 0)[0] == rollouts[0].completion


def test_resumed_completions_tell_of_their_pictures() -> None:
    policy = tiny()
    (rollout,) = answered(policy, shown(noise(60, 40), "Why?"))
    for branch in policy.resume(rollout, 2, insert="so ", rollouts=2):
        assert branch.trace["images"] == rollout.completion.trace["images"]


# ---- learning


def test_an_adapter_learns_what_is_seen_and_is_saved(tmp_path: Path) -> None:
    base = tmp_path / "base"
    tiny(seed=4).save(base)
    policy = open_vision(str(base), SAMPLING, adapter=LoRA(rank=2))
    rollouts = answered(policy, shown(noise(60, 40), "Why?"), shown(noise(9, 90), "What?"))
    policy.review(rollouts).logprobs.sum().backward()
    with torch.no_grad():
        for weight in policy.parameters():
            assert weight.grad is not None
            weight.add_(torch.randn(weight.shape, generator=torch.Generator().manual_seed(1)) / 9)
    policy.refresh()
    learned = logprobs(policy, rollouts)
    assert not torch.allclose(learned, logprobs(tiny(seed=4), rollouts), atol=1e-3)
    policy.save(tmp_path / "adapter")
    again = open_vision(str(tmp_path / "adapter"), SAMPLING)
    assert again.loaded.peft is not None
    assert_allclose(logprobs(again, rollouts), learned, atol=1e-6)
    assert answered(again, rollouts[0].prompt) == answered(policy, rollouts[0].prompt)


def test_checkpointing_changes_no_gradient() -> None:
    rollouts = answered(tiny(), shown(noise(60, 40), "Why?"), shown(noise(9, 90), "What?"))
    slopes = []
    for settings in ({}, {"checkpointing": True}):
        policy = tiny(**settings)
        policy.review(rollouts).logprobs.sum().backward()
        slopes.append([weight.grad for weight in policy.parameters()])
    for plain, saved in zip(*slopes, strict=True):
        assert_allclose(plain, saved, atol=1e-5, rtol=1e-4)


def test_a_copy_in_bfloat16_sees_with_its_own_eyes() -> None:
    policy = tiny(sample_dtype="bfloat16", fused=False)
    (rollout,) = answered(policy, shown(noise(60, 40), "Why?"))
    (plain,) = answered(tiny(), rollout.prompt)
    assert not np.array_equal(rollout.completion.logprobs, plain.completion.logprobs)
    assert_allclose(logprobs(policy, [rollout])[0], rollout.completion.logprobs, atol=0.05)


# ---- what is refused, and how


@pytest.mark.parametrize(
    "image",
    [
        noise(1, 1),
        noise(3, 1000),
        noise(30, 20)[..., 0],
        noise(30, 20)[..., :1],
        np.dstack([noise(30, 20), noise(30, 20)[..., 0]]),
        noise(60, 40)[::2, ::-1],
    ],
    ids=["1x1", "thin", "gray", "one channel", "transparent", "strided"],
)
def test_pictures_of_any_shape_are_seen(image: NDArray[np.uint8]) -> None:
    (rollout,) = answered(tiny(), shown(image, "Why?"))
    assert rollout.completion.stopped != "failed"
    told = {"given": [image.shape[1], image.shape[0]], "seen": [56, 56]}
    assert rollout.completion.trace["images"] == [told]


@pytest.mark.parametrize(
    ("image", "why"),
    [
        (np.broadcast_to(np.uint8(9), (20_000, 20_000, 3)), "20000x20000 pixels; at most"),
        (np.zeros((4, 4, 3), np.float32), "uint8 of shape"),
        (np.zeros((4, 4, 7), np.uint8), "1, 3 or 4 channels"),
        (np.zeros((0, 4, 3), np.uint8), "uint8 of shape"),
        (np.array([[object()]]), "uint8 of shape"),
        ({"series": 1}, "cannot read a dict"),
    ],
    ids=["huge", "float", "channels", "empty", "objects", "mapping"],
)
def test_what_is_no_picture_fails_alone_and_says_why(image: Any, why: str) -> None:
    odd, plain = answered(tiny(), shown(image, "Why?", name="odd"), shown(noise(9, 9), "Why?"))
    assert (odd.completion.stopped, odd.completion.output) == ("failed", None)
    assert why in odd.completion.note
    assert plain.completion.stopped != "failed"


def test_a_text_model_says_which_kind_would_see() -> None:
    policy = open_text("tiny", SAMPLING)
    (rollout,) = answered(policy, shown(noise(9, 9), "Why?"))
    assert rollout.completion.stopped == "failed"
    assert "vision:PATH" in rollout.completion.note


def test_a_checkpoint_that_sees_nothing_is_refused(tmp_path: Path) -> None:
    open_text("tiny", SAMPLING).save(tmp_path)
    with pytest.raises(ModelError, match="holds no model that sees"):
        open_vision(str(tmp_path), SAMPLING)
    with pytest.raises(UsageError, match="does not see"):
        open_vision("smollm2", SAMPLING)
    with pytest.raises(UsageError, match="sharding"):
        open_vision("tiny", SAMPLING, sharding="fsdp")


def test_a_checkpoint_without_its_processor_is_refused(tmp_path: Path) -> None:
    tiny().save(tmp_path)
    for name in ("preprocessor_config.json", "processor_config.json"):
        (tmp_path / name).unlink(missing_ok=True)
    with pytest.raises(ModelError, match=r"processor in .* cannot be opened"):
        open_vision(str(tmp_path), SAMPLING)


def test_a_model_that_reads_pictures_otherwise_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here one that adds to hidden states what the embedding does not show."""
    from transformers import Idefics3ForConditionalGeneration as Idefics

    own = Idefics.forward

    def forward(self: Any, *args: Any, pixel_values: Any = None, **more: Any) -> Any:
        found = own(self, *args, pixel_values=pixel_values, **more)
        if pixel_values is not None:
            found.logits = found.logits + 1
        return found

    monkeypatch.setattr(Idefics, "forward", forward)
    with pytest.raises(ModelError, match="does more with an image"):
        tiny()


def test_plain_text_prompts_need_no_template() -> None:
    policy = tiny(chat=False)
    (rollout,) = answered(policy, shown(noise(9, 9), "Why?"))
    assert rollout.completion.steps > 0
    assert_allclose(logprobs(policy, [rollout])[0], rollout.completion.logprobs, atol=1e-4)


def test_spelled_answers_tell_of_pictures_too() -> None:
    said = tiny().spell(shown(noise(9, 9), "Why?"), "Because.")
    assert said.trace["images"] == [{"given": [9, 9], "seen": [56, 56]}]
    assert isinstance(said, Completion)
