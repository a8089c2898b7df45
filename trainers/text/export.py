"""A model as a GGUF file in float16, for engines that read nothing else.

Llama-like models with byte-level tokenizers. Norms and biases stay in float32.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import ModelError, need
from trainers.text import files
from trainers.text.gguf import CONTROL, INNER, OUTER, USER_DEFINED

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedTokenizerBase

    from trainers.text.load import Loaded

ARCHITECTURES = {
    "LlamaForCausalLM": "llama",
    "MistralForCausalLM": "llama",
    "Qwen2ForCausalLM": "qwen2",
    "Qwen3ForCausalLM": "qwen3",
}
NORMS = {"attn_q_norm": "self_attn.q_norm", "attn_k_norm": "self_attn.k_norm"}
NORMAL, UNUSED = 1, 5
VERSION = 1
"""Of what is written here; part of the file's name."""


def export(loaded: Loaded, cache: Path) -> Path:
    """The file of these weights, written now if it is not there; ModelError where none can be."""
    import torch

    from trainers.text.load import state_digest

    architecture = _architecture(loaded)
    origin = loaded.origin
    if origin.weights and loaded.peft is None:
        digests = [files.known_sha256(file, cache) for file in origin.weights]
        name = f"{digests[0][:32]}-{len(digests)}"
    else:
        name = state_digest(loaded.model)[:32]
    target = cache / "openvino" / f"{name}-{VERSION}.gguf"
    if target.is_file():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_suffix(f".{os.getpid()}")
    try:
        with torch.no_grad():
            _write(loaded, architecture, draft)
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)
    return target


def _architecture(loaded: Loaded) -> str:
    kind = type(loaded.model).__name__
    config: Any = loaded.model.config
    rope = getattr(config, "rope_parameters", None) or {}
    if kind not in ARCHITECTURES:
        raise ModelError(
            f"a {kind} cannot be exported as GGUF here; {', '.join(ARCHITECTURES)} can, and "
            "--engine torch answers with any model"
        )
    windows = set(getattr(config, "layer_types", None) or ()) - {"full_attention"}
    if rope.get("rope_type", "default") != "default" or windows:
        raise ModelError(
            f"{loaded.spec} scales its positions or looks through windows, which the exported "
            "file cannot say; --engine torch answers with it"
        )
    return ARCHITECTURES[kind]


def _write(loaded: Loaded, architecture: str, path: Path) -> None:
    gguf = need("gguf", "openvino", "exporting a model")
    writer = gguf.GGUFWriter(path, architecture)
    config: Any = loaded.model.config
    heads, groups = config.num_attention_heads, config.num_key_value_heads
    size = getattr(config, "head_dim", None) or config.hidden_size // heads
    writer.add_context_length(loaded.chat.context)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(heads)
    writer.add_head_count_kv(groups)
    writer.add_key_length(size)
    writer.add_value_length(size)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_rope_dimension_count(size)
    writer.add_vocab_size(config.vocab_size)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    _write_tokenizer(writer, loaded.chat.tokenizer, config.vocab_size)
    for name, weight in _tensors(loaded):
        rows = weight.shape[0]
        if architecture == "llama" and name.split(".")[-2] in ("attn_q", "attn_k"):
            count = heads if ".attn_q." in name else groups
            weight = weight.view(count, 2, rows // count // 2, -1).transpose(1, 2).reshape(rows, -1)
            weight = weight.squeeze(-1) if name.endswith(".bias") else weight
        held = weight.contiguous().cpu().numpy()
        writer.add_tensor(name, held if held.ndim == 1 else held.astype("float16"))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _tensors(loaded: Loaded) -> list[tuple[str, Tensor]]:
    """All weights in float32, adapter merged in, by their names in GGUF."""
    from trainers.text.weights import merged

    names = {full: short for short, full in (INNER | NORMS).items()}
    outer = {full.rsplit(".", 1)[0]: short for short, full in OUTER.items()}
    tied = loaded.model.config.tie_word_embeddings
    found: list[tuple[str, Tensor]] = []
    for place, module in loaded.model.named_modules():
        place = place.removesuffix(".base_layer")
        _, _, rest = place.partition("layers.")
        layer, _, kind = rest.partition(".")
        if place in outer and not (tied and place == "lm_head"):
            found.append((outer[place], merged(module, "weight").float()))
        elif kind in names:
            for part in ("weight", "bias"):
                held = getattr(module, part, None)
                if held is not None:
                    name = f"blk.{layer}.{names[kind]}.{part}"
                    found.append((name, merged(module, part).float()))
    return found


def _write_tokenizer(writer: Any, tokenizer: PreTrainedTokenizerBase, size: int) -> None:
    """Enough of a tokenizer for readers that insist on one; no text goes through it."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    model = json.loads(backend.to_str())["model"] if backend is not None else {}
    if model.get("type") != "BPE" or not model.get("merges"):
        raise ModelError(
            f"the tokenizer of {tokenizer.name_or_path or 'this model'} is not of the byte-level "
            "kind that the exported file can hold; --engine torch answers with any tokenizer"
        )
    tokens = {number: token for token, number in tokenizer.get_vocab().items()}
    added = tokenizer.added_tokens_decoder
    kinds = [
        (CONTROL if added[n].special else USER_DEFINED)
        if n in added
        else NORMAL
        if n in tokens
        else UNUSED
        for n in range(size)
    ]
    merges = [each if isinstance(each, str) else " ".join(each) for each in model["merges"]]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("default")
    writer.add_token_list([tokens.get(number, f"<|unused {number}|>") for number in range(size)])
    writer.add_token_types(kinds)
    writer.add_token_merges(merges)
    for told, number in (
        (writer.add_bos_token_id, tokenizer.bos_token_id),
        (writer.add_eos_token_id, tokenizer.eos_token_id),
        (writer.add_pad_token_id, tokenizer.pad_token_id),
    ):
        if isinstance(number, int):
            told(number)
