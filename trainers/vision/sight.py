"""Sight, what makes a language model see: its embedding gives features where pictures stand.

The image part of the model is read once for each different picture of a reading, with gradient
where that is on. Everything after the embedding is the language model as it is, so what reads and
draws text reads and draws here too.
"""

from __future__ import annotations

import copy
import inspect
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from harness.errors import ModelError
from trainers.text.decode import placed
from trainers.vision.eye import Eye, Look
from trainers.vision.pictures import FIRST, MOST_TOKENS, PLACE_BITS, number_of, token

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from trainers.text.layout import Places

NEAR = {torch.float32: 1e-3, torch.bfloat16: 5e-2, torch.float16: 2e-2}
"""By how much of their norm logits may differ between this reading and the model's own."""

KNOWN = "known are Idefics3, SmolVLM, LLaVA, Qwen2-VL, Qwen2.5-VL and Qwen3-VL"


class Sight:
    """Stands in the embedding of one model; copies of the model have one of their own."""

    def __init__(self, model: PreTrainedModel, eye: Eye) -> None:
        self.model = model
        self.eye = eye
        self.words: Any = model.get_input_embeddings()
        self.deep: list[Tensor] = []
        """What is added to hidden states after each of the first layers, in the last reading."""
        self.places: Tensor | None = None
        """Where the pictures' tokens stood in the last reading."""

    def __deepcopy__(self, memo: dict[int, Any]) -> Sight:
        """That of a copied model; what the last reading left is not copied."""
        twin = object.__new__(Sight)
        memo[id(self)] = twin
        twin.model, twin.words = (copy.deepcopy(each, memo) for each in (self.model, self.words))
        twin.eye, twin.deep, twin.places = self.eye, [], None
        return twin

    def install(self) -> None:
        """Let the model see from now on."""
        self.words.forward = self.embed
        decoder: Any = self.model.get_decoder()
        if "deepstack_visual_embeds" in inspect.signature(decoder.forward).parameters:
            for number, layer in enumerate(decoder.layers):
                layer.register_forward_hook(partial(self.deepen, number))

    def embed(self, ids: Int[Tensor, "*B L"]) -> Float[Tensor, "*B L E"]:
        """What the language model reads: words, and features of pictures."""
        self.deep, self.places = [], None
        words = type(self.words).forward
        # a single new token is never a picture's; not looking spares a card the wait
        if ids.shape[-1] == 1:
            return words(self.words, ids)
        shown = ids >= FIRST
        if not bool(shown.any()):
            return words(self.words, ids)
        numbers, which = (ids[shown] >> PLACE_BITS).unique(return_inverse=True)
        seen = [self.features(self.eye.look(number)) for number in numbers.tolist()]
        sizes = torch.tensor([len(each[0]) for each in seen], device=ids.device)
        rows = (sizes.cumsum(0) - sizes)[which] + (ids[shown] & (MOST_TOKENS - 1))
        first, *deep = (torch.cat(level)[rows] for level in zip(*seen, strict=True))
        read = words(self.words, ids.masked_fill(shown, 0))
        self.places, self.deep = shown.unsqueeze(-1), deep
        return read.masked_scatter(self.places, first.to(read.dtype))

    def features(self, look: Look) -> list[Float[Tensor, "S E"]]:
        """Of each token of a picture: what is embedded, and what is added in deeper layers."""
        model: Any = self.model
        inputs = {name: brought(each, self.model) for name, each in look.inputs.items()}
        found = model.get_image_features(**inputs, return_dict=True)
        levels = [found.pooler_output, *(getattr(found, "deepstack_features", None) or ())]
        return [_flat(level) for level in levels]

    def deepen(self, number: int, _: nn.Module, __: Any, hidden: Tensor) -> Tensor:
        """Hidden states after layer `number` with what the pictures add there."""
        if self.places is None or number >= len(self.deep):
            return hidden
        added = self.deep[number].to(hidden.dtype)
        return hidden + torch.zeros_like(hidden).masked_scatter(self.places, added)


def brought(given: Tensor, model: PreTrainedModel) -> Tensor:
    """To the model's device, and pixels to its precision."""
    return given.to(model.device, model.dtype if given.is_floating_point() else given.dtype)


def _flat(features: Any) -> Float[Tensor, "S E"]:
    """Features of one picture, whether they come apart by tile or together."""
    parts = [features] if isinstance(features, Tensor) else list(features)
    return torch.cat([part.flatten(0, -2) for part in parts])


def turns_by_place(model: PreTrainedModel) -> bool:
    """Whether keys are turned by time, row and column of a token."""
    rope = getattr(model.config.get_text_config(), "rope_parameters", None) or {}
    return "mrope_section" in rope


def check(model: PreTrainedModel, eye: Eye, places: Places | None) -> None:
    """ModelError unless a picture is read as the model's own forward reads it."""
    kind = type(model).__name__
    try:
        away = _away(model, eye, places)
    except Exception as error:  # foreign models and processors raise what they like
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelError(f"a {kind} cannot be shown an image here: {reason}; {KNOWN}") from error
    if not away <= NEAR.get(model.dtype, 1e-3):
        raise ModelError(
            f"a {kind} does more with an image than to read its features among the words (logits "
            f"differ by {away:.2g} of their norm); {KNOWN}"
        )


@torch.no_grad()
def _away(model: PreTrainedModel, eye: Eye, places: Places | None) -> float:
    """Between logits of a picture read here and read by the model itself, of their norm."""
    array = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    number = number_of(array)
    with eye.album.holding({number: array}):
        look = eye.look(number)
        ids, place = [], 0
        for each in look.ids:
            ids.append(token(number, place) if each == eye.token_id else each)
            place += each == eye.token_id
        ours_ids = torch.tensor([ids], device=model.device)
        mask = torch.ones_like(ours_ids, dtype=torch.bool)
        where = placed([ids], mask, places)
        ours = model(input_ids=ours_ids, position_ids=where, use_cache=False).logits.float()
    given = {name: brought(each, model) for name, each in {**look.inputs, **look.marks}.items()}
    theirs = model(
        input_ids=torch.tensor([look.ids], device=model.device),
        attention_mask=mask.long(),
        use_cache=False,
        **given,
    ).logits.float()
    if not bool(theirs.isfinite().all()):
        return 0.0  # broken weights: every answer will say so
    return float((ours - theirs).norm() / theirs.norm())
