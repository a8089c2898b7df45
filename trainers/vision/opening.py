"""Opening what makes a model see: which class its weights are of, and how its pictures are read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from harness.errors import ModelError, need
from trainers.text import files
from trainers.text.layout import Places
from trainers.text.origin import Origin
from trainers.vision.eye import MARKS, Eye, Look
from trainers.vision.sight import Sight, check, turns_by_place

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

TILED = ("idefics3", "smolvlm")
"""Kinds of models whose processor is Idefics3's; SmolVLM's own asks for more packages."""


def opener_for(origin: Origin, folder: Path) -> Any:
    """The class that opens the weights; ModelError where they are those of a text model."""
    from transformers import AutoModelForImageTextToText
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES as KINDS,
    )

    kind = "" if origin.gguf else str(files.read_json(folder / "config.json").get("model_type"))
    if kind not in KINDS:
        raise ModelError(
            f"{origin.gguf or folder} holds no model that sees ({kind or 'a GGUF file'}); open it "
            "as text:, or give a checkpoint of Idefics3, SmolVLM, LLaVA, Qwen2.5-VL or Qwen3-VL"
        )
    return AutoModelForImageTextToText


def opened(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path | None
) -> tuple[Eye, Places | None]:
    """Let the model see; `folder` is None for the tiny one.

    Raises ModelError where the processor is missing, or the model does with images what is not
    known here.
    """
    need("PIL", "vision", "a model that sees")
    eye = _eye(model, tokenizer, folder)
    Sight(model, eye).install()
    places = eye.places if turns_by_place(model) else None
    check(model, eye, places)
    return eye, places


def _eye(model: PreTrainedModel, tokenizer: Any, folder: Path | None) -> Eye:
    config: Any = model.config
    token_id = getattr(config, "image_token_id", None)
    token_id = getattr(config, "image_token_index", None) if token_id is None else token_id
    if not isinstance(token_id, int):
        raise ModelError(f"the configuration of a {type(model).__name__} names no image token")
    if folder is None:
        from trainers.policies.tiny_vision import tiny_images

        processor: Any = _tiled(model, tokenizer, tiny_images())
    else:
        processor = _stored(model, tokenizer, folder)
    if tokenizer.chat_template is None and getattr(processor, "chat_template", None):
        tokenizer.chat_template = processor.chat_template
    if not hasattr(processor, "image_processor"):
        return Eye(
            tokenizer, processor, token_id, lambda image: by_hand(processor, token_id, image)
        )
    token = str(tokenizer.convert_ids_to_tokens(token_id))
    return Eye(tokenizer, processor, token_id, lambda image: by_processor(processor, token, image))


def _stored(model: PreTrainedModel, tokenizer: Any, folder: Path) -> Any:
    """The processor of a folder, or for Qwen what of it can be built: that of images."""
    from transformers import AutoImageProcessor, AutoProcessor

    kind = str(model.config.model_type)
    where: dict[str, Any] = {"local_files_only": True, "backend": "pil"}
    try:
        if kind.startswith("qwen"):
            return AutoImageProcessor.from_pretrained(folder, **where)
        if kind in TILED:
            return _tiled(model, tokenizer, AutoImageProcessor.from_pretrained(folder, **where))
        return AutoProcessor.from_pretrained(folder, **where)
    except Exception as error:  # broken files make transformers raise anything
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        would = "save the checkpoint with its processor (preprocessor_config.json)"
        if "torchvision" in str(error).lower():
            would = "its processor wants torchvision: pip install torchvision"
        raise ModelError(
            f"the processor in {folder} cannot be opened: {reason}; {would}"
        ) from error


def _tiled(model: PreTrainedModel, tokenizer: Any, images: Any) -> Any:
    from transformers import Idefics3Processor

    config: Any = model.config
    side = config.vision_config.image_size // config.vision_config.patch_size
    tokens = side * side // config.scale_factor**2
    template = tokenizer.chat_template
    return Idefics3Processor(images, tokenizer, image_seq_len=tokens, chat_template=template)


def by_processor(processor: Any, token: str, image: Any) -> Look:
    """A picture as a whole processor reads it: written as tokens, scaled, perhaps in tiles."""
    read = processor(text=token, images=[image], add_special_tokens=False, return_tensors="pt")
    marks = {name: read[name] for name in MARKS if name in read}
    apart = {"input_ids", "attention_mask", *MARKS}
    inputs = {name: each for name, each in read.items() if name not in apart}
    return Look(tuple(read["input_ids"][0].tolist()), inputs, marks)


def by_hand(images: Any, token_id: int, image: Any) -> Look:
    """A picture as Qwen's models want it: a token for each square of merged patches."""
    inputs = dict(images(images=[image], return_tensors="pt"))
    count = int(inputs["image_grid_thw"].prod()) // images.merge_size**2
    return Look((token_id,) * count, inputs, {MARKS[1]: torch.ones((1, count), dtype=torch.long)})
