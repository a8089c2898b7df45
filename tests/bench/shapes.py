"""Random weights of known shapes: enough to measure speed, and nobody has to download anything.

Qwen2.5-0.5B and -1.5B and Llama-2-7B as their configurations say; `tiny` and `small` for trying.
The tokenizer is that of text:tiny, so a prompt has a token a character.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from harness.models import Sampling
from harness.types import Completion, Example, Message, Prompt, Split, Task, Verdict
from trainers.policies.text import TextPolicy
from trainers.policies.tiny_text import CONTEXT, tiny_tokenizer
from trainers.text import adapter
from trainers.text.attention import use_ours
from trainers.text.chat import Chat
from trainers.text.kernels import compile_layers, use_liger
from trainers.text.load import Loaded
from trainers.text.origin import Origin
from trainers.text.settings import LoRA, TextSettings


@dataclass(frozen=True)
class Shape:
    kind: str
    hidden: int
    layers: int
    heads: int
    groups: int
    inner: int
    vocabulary: int
    tied: bool = True
    lora: int = 0
    """Rank of the adapter that learns; 0: all weights."""


SHAPES = {
    "tiny": Shape("llama", 64, 2, 4, 2, 128, 104, tied=False),
    "small": Shape("qwen2", 256, 4, 4, 2, 512, 4096),
    "0.5B": Shape("qwen2", 896, 24, 14, 2, 4864, 151_936),
    "1.5B": Shape("qwen2", 1536, 28, 12, 2, 8960, 151_936),
    "7B": Shape("llama", 4096, 32, 32, 32, 11_008, 32_000, tied=False, lora=16),
}


def random_model(shape: Shape, device: str, dtype: torch.dtype = torch.float32) -> Any:
    """A causal model with weights drawn on its device."""
    from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

    config, model = {
        "llama": (LlamaConfig, LlamaForCausalLM),
        "qwen2": (Qwen2Config, Qwen2ForCausalLM),
    }[shape.kind]
    made = config(
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        intermediate_size=shape.inner,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.groups,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=shape.tied,
        bos_token_id=None,
        pad_token_id=0,
        eos_token_id=2,
        dtype=dtype,
    )
    torch.manual_seed(0)
    with torch.device(device):
        return model(made).to(dtype).eval()


def random_policy(shape: Shape, device: str, **changes: Any) -> TextPolicy:
    """The model as a policy that never ends an answer early; `changes` are of TextSettings."""
    lora = LoRA(rank=shape.lora) if shape.lora else None
    settings = TextSettings(device=device, adapter=lora, **changes)
    model = random_model(shape, device)
    use_ours(model)
    if settings.kernels == "liger":
        use_liger(model)
    if settings.compiled:
        compile_layers(model)
    peft = adapter.fresh(model, lora, 0) if lora else None
    chat = Chat(tiny_tokenizer(), CONTEXT)
    loaded = Loaded("random", Origin(None), model, chat, frozenset(), peft)
    return TextPolicy(loaded, Sampling(), settings)


def weighed(model: nn.Module) -> int:
    """Weights that a token meets in a product: all but an embedding that is only looked up."""
    tied = getattr(model.config, "tie_word_embeddings", False)
    looked_up = 0 if tied else model.get_input_embeddings().weight.numel()
    return sum(weight.numel() for weight in model.parameters()) - looked_up


def writing(length: int) -> Task:
    """Prompts of so many tokens, and a reward that differs within a group and means nothing."""

    def examples(split: Split) -> list[Example]:
        first = ("train", "dev", "test").index(split)
        numbers = range(first, 768, 3)
        return [Example(f"e{n}", {"text": f"{n:04d}" * (length // 4)}, None) for n in numbers]

    def verify(example: Example, completion: Completion) -> Verdict:
        odd = sum(completion.trace["ids"]) % 7 / 6  # most tokens of a large vocabulary have no text
        return Verdict({"odd": odd}, reason="ok" if odd > 0.5 else "wrong")

    return Task(
        name="bench/writing",
        version=1,
        examples=examples,
        prompt=lambda example: Prompt(example, (Message("user", example.inputs["text"]),)),
        verify=verify,
        gold=lambda example: "",
        metrics=(),
        reward={"odd": 1.0},
    )
