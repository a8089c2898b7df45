"""tiny_vision: a tiny random Idefics3 with a character tokenizer, made in a moment without a file.

It sees 56 x 56 pixels as four tokens; images of any other size are scaled to that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trainers.policies.tiny_text import CONTEXT, SPECIAL
from trainers.policies.tiny_text import tiny_tokenizer as letters

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

MARKS = ("<image>", "<fake_token_around_image>", "<global-img>", "<end_of_utterance>")
SIDE, PATCH, MERGED = 56, 14, 2
TEMPLATE = (
    "{%- for message in messages -%}"
    "{{ '<|' + message['role'] + '|>' }}"
    "{%- for part in message['content'] -%}"
    "{{ '<image>' if part['type'] == 'image' else part['text'] }}"
    "{%- endfor -%}"
    "{{ '<|end|>' }}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{ '<|assistant|>' }}{%- endif -%}"
)


def tiny_tokenizer() -> PreTrainedTokenizerBase:
    """That of the tiny text model, with the words by which Idefics3 shows an image."""
    tokenizer = letters()
    speakers = list(SPECIAL[3:])
    tokenizer.add_special_tokens({"additional_special_tokens": [*speakers, *MARKS]})
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def tiny_images() -> Any:
    """What scales the images."""
    from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil

    side = {"longest_edge": SIDE}
    return Idefics3ImageProcessorPil(size=side, max_image_size=side, do_image_splitting=False)


def tiny_model(seed: int = 0) -> PreTrainedModel:
    """Two layers that see and two that read, about 200,000 random weights fixed by the seed."""
    import torch
    from transformers import Idefics3Config, Idefics3ForConditionalGeneration

    tokenizer: Any = tiny_tokenizer()
    layers = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 4, "initializer_range": 0.05}
    config = Idefics3Config(
        vision_config={"image_size": SIDE, "patch_size": PATCH, **layers, **heads},
        text_config={
            "model_type": "llama",
            "vocab_size": len(tokenizer),
            "num_key_value_heads": 2,
            "max_position_embeddings": CONTEXT,
            "bos_token_id": None,
            "pad_token_id": 0,
            "eos_token_id": 2,
            **layers,
            **heads,
        },
        scale_factor=MERGED,
        image_token_id=tokenizer.convert_tokens_to_ids(MARKS[0]),
        tie_word_embeddings=False,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model: Any = Idefics3ForConditionalGeneration(config).eval()
        # as wide as the patches: else hundreds of steps go by before it tells left from right
        torch.nn.init.normal_(model.model.vision_model.embeddings.position_embedding.weight)
    return model
