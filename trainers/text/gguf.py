"""GGUF files: what transformers leaves undone after reading one, and a fast reader of llamas.

Two things go wrong in transformers 5: a model read from GGUF counts as quantised although its
weights are dequantised, so it can be neither trained nor saved; and of a byte-level tokenizer the
rule that splits digits is lost, which tells wherever blanks stand before a digit.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import ModelError, need

if TYPE_CHECKING:
    from tokenizers.pre_tokenizers import PreTokenizer
    from torch import Tensor
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

SINGLE_DIGITS = ("smollm", "refact", "command-r", "codeshell")
"""Pre-tokenizers, by llama.cpp's names, that make each digit a word of its own."""
CONTROL, USER_DEFINED = 3, 4
"""Types of tokens that are no text, and of tokens that are never split."""


def as_checkpoint(model: PreTrainedModel) -> None:
    """Take the mark of quantisation from a model whose weights are not quantised."""
    model.hf_quantizer = None  # type: ignore[assignment]
    model.is_quantized = False  # type: ignore[assignment]
    config: Any = model.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config


def mend_tokenizer(tokenizer: PreTrainedTokenizerBase, file: Path) -> None:
    """Give a tokenizer read from GGUF its digits and its padding side back."""
    fields = read(file).fields
    tokenizer.padding_side = "left"
    architecture = value(fields, "general.architecture", "llama")
    tokenizer.model_max_length = int(value(fields, f"{architecture}.context_length", 2048))
    if value(fields, "tokenizer.ggml.pre", "") in SINGLE_DIGITS:
        tokenizer.backend_tokenizer.pre_tokenizer = single_digits()  # type: ignore[attr-defined]


def single_digits() -> PreTokenizer:
    """Each digit a word; the rest by the rules of GPT-2."""
    from tokenizers import pre_tokenizers

    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )


def read(file: Path) -> Any:
    """A GGUFReader, or ModelError."""
    gguf = need("gguf", "train", "a GGUF file")
    try:
        return gguf.GGUFReader(str(file))
    except Exception as error:  # the reader indexes into whatever bytes there are
        raise ModelError(
            f"{file} is no whole GGUF file ({type(error).__name__}: {error}); download it again"
        ) from error


def value(fields: Any, name: str, default: Any = None) -> Any:
    """A header's value."""
    return fields[name].contents() if name in fields else default


def llama_weights(reader: Any) -> dict[str, Tensor]:
    """All weights in float32 under the names, and in the row order, of transformers' Llama."""
    import numpy as np
    import torch
    from gguf.quants import dequantize

    heads = int(value(reader.fields, "llama.attention.head_count"))
    groups = int(value(reader.fields, "llama.attention.head_count_kv", heads))
    weights: dict[str, Tensor] = {}
    for tensor in reader.tensors:
        flat = dequantize(tensor.data, tensor.tensor_type).astype(np.float32, copy=False)
        held = torch.from_numpy(flat.copy())
        kind = tensor.name.split(".")[-2]
        if kind in ("attn_q", "attn_k"):
            held = _unpaired(held, heads if kind == "attn_q" else groups)
        weights[_renamed(tensor.name)] = held.contiguous()
    return weights


def _unpaired(rows: Tensor, heads: int) -> Tensor:
    """llama.cpp interleaves the two halves of a rotation; transformers puts one after the other."""
    half = rows.shape[0] // heads // 2
    return rows.view(heads, half, 2, *rows.shape[1:]).transpose(1, 2).reshape(rows.shape)


OUTER = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}
INNER = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


def _renamed(name: str) -> str:
    if name in OUTER:
        return OUTER[name]
    _, layer, kind, rest = name.split(".")
    return f"model.layers.{layer}.{INNER[kind]}.{rest}"
