"""Tiny random checkpoints of the kinds that see, written as folders with their processors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from harness.types import Example, Message, Prompt
from trainers.policies.tiny_text import SPECIAL
from trainers.policies.tiny_text import tiny_tokenizer as letters

TEXT = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 2048,
    "initializer_range": 0.1,
    "bos_token_id": None,
    "pad_token_id": 0,
    "eos_token_id": 2,
}
TOWER = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
ROPE = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 1, 1]}


def noise(width: int, height: int, seed: int = 0) -> NDArray[np.uint8]:
    """A picture."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def shown(*parts: Any, attempt: int = 0, name: str = "") -> Prompt:
    """A prompt of these texts and pictures."""
    key = name or str([part if isinstance(part, str) else part.shape for part in parts])
    return Prompt(Example(key, {}, None), (Message("user", parts),), attempt=attempt)


def _tokenizer(image: str, *more: str) -> Any:
    """Letters, and an image written as the kind writes it."""
    tokenizer = letters()
    own = {"additional_special_tokens": [*SPECIAL[3:], *more]}
    tokenizer.add_special_tokens(own)
    tokenizer.chat_template = (
        "{%- for message in messages -%}{{ '<|' + message['role'] + '|>' }}"
        "{%- for part in message['content'] -%}"
        "{%- if part['type'] == 'image' -%}" + image + "{%- else -%}{{ part['text'] }}{%- endif -%}"
        "{%- endfor -%}{{ '<|end|>' }}{%- endfor -%}"
        "{%- if add_generation_prompt -%}{{ '<|assistant|>' }}{%- endif -%}"
    )
    return tokenizer


def _qwen(name: str, config: Any, vision: dict[str, Any], patch: int) -> tuple[Any, ...]:
    from transformers import AutoModelForImageTextToText, Qwen2VLImageProcessorPil

    marks = ("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")
    tokenizer = _tokenizer("<|vision_start|><|image_pad|><|vision_end|>", *marks)
    start, end, image, video = tokenizer.convert_tokens_to_ids(list(marks))
    made = config(
        vision_config={
            "depth": 2,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_heads": 4,
            "out_hidden_size": 32,
            "patch_size": patch,
            **vision,
        },
        text_config={"vocab_size": len(tokenizer), "rope_parameters": ROPE, **TEXT},
        image_token_id=image,
        video_token_id=video,
        vision_start_token_id=start,
        vision_end_token_id=end,
        tie_word_embeddings=name == "qwen2_5_vl",
    )
    size = {"shortest_edge": 4 * patch * patch, "longest_edge": 64 * patch * patch}
    images = Qwen2VLImageProcessorPil(size=size, patch_size=patch, merge_size=2)
    return AutoModelForImageTextToText.from_config(made), tokenizer, images


def qwen2_5_vl() -> tuple[Any, ...]:
    """Places along three axes, windows in its tower, tied words."""
    from transformers import Qwen2_5_VLConfig

    vision = {"window_size": 28, "fullatt_block_indexes": [1]}
    return _qwen("qwen2_5_vl", Qwen2_5_VLConfig, vision, 7)


def qwen3_vl() -> tuple[Any, ...]:
    """The same, interleaved, and pictures added in deeper layers."""
    from transformers import Qwen3VLConfig

    vision = {"deepstack_visual_indexes": [0], "num_position_embeddings": 64}
    TEXT_OF = {**vision}
    return _qwen("qwen3_vl", Qwen3VLConfig, TEXT_OF, 8)


def llava() -> tuple[Any, ...]:
    """CLIP's features from the last layer but one; the sides of a picture are cut off."""
    from transformers import AutoModelForImageTextToText, LlavaConfig, LlavaProcessor
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    tokenizer = _tokenizer("<image>\n", "<image>")
    config = LlavaConfig(
        vision_config={
            "model_type": "clip_vision_model",
            "image_size": 28,
            "patch_size": 14,
            "num_attention_heads": 4,
            **TOWER,
        },
        text_config={"model_type": "llama", "vocab_size": len(tokenizer), **TEXT},
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
    )
    images = CLIPImageProcessorPil(
        size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28}
    )
    processor = LlavaProcessor(
        images,
        tokenizer,
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=tokenizer.chat_template,
    )
    return AutoModelForImageTextToText.from_config(config), tokenizer, processor


def smolvlm() -> tuple[Any, ...]:
    """Idefics3 under another name, a picture in tiles and once whole."""
    from transformers import AutoModelForImageTextToText, SmolVLMConfig
    from transformers.models.smolvlm.image_processing_pil_smolvlm import SmolVLMImageProcessorPil

    tiles = [f"<row_{row}_col_{column}>" for row in range(1, 4) for column in range(1, 4)]
    marks = ("<image>", "<fake_token_around_image>", "<global-img>", "<end_of_utterance>")
    tokenizer = _tokenizer("<image>", *marks, *tiles)
    config = SmolVLMConfig(
        vision_config={"image_size": 28, "patch_size": 7, "num_attention_heads": 4, **TOWER},
        text_config={"model_type": "llama", "vocab_size": len(tokenizer), **TEXT},
        scale_factor=2,
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        pad_token_id=0,
        tie_word_embeddings=False,
    )
    images = SmolVLMImageProcessorPil(
        size={"longest_edge": 84}, max_image_size={"longest_edge": 28}, do_image_splitting=True
    )
    return AutoModelForImageTextToText.from_config(config), tokenizer, images


KINDS: dict[str, Callable[[], tuple[Any, ...]]] = {
    "qwen2_5_vl": qwen2_5_vl,
    "qwen3_vl": qwen3_vl,
    "llava": llava,
    "smolvlm": smolvlm,
}


def checkpoint(kind: str, folder: Path) -> Path:
    """A folder as the hub has it, with random weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model, tokenizer, processor = KINDS[kind]()
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
