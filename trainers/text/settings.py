"""How a text policy is opened: everything that is not the model's name and not the sampling."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from harness.errors import UsageError

ENGINES = ("torch", "openvino")
Precision = Literal["float32", "bfloat16", "float16"]


@dataclass(frozen=True, kw_only=True)
class LoRA:
    """A low-rank adapter to learn instead of all weights: W + (alpha / rank) B A."""

    rank: int = 16
    alpha: float = 32.0
    dropout: float = 0.0
    targets: str | tuple[str, ...] = "all-linear"
    """Names of the layers to adapt; `all-linear` is every linear layer but the head."""


@dataclass(frozen=True, kw_only=True)
class TextSettings:
    """Defaults evaluate a checkpoint as it was written; the trainer asks for more."""

    dtype: Literal["auto"] | Precision = "auto"
    """Of the weights. `auto` is the checkpoint's own. Learn in float32."""
    sample_dtype: Literal["auto"] | Precision | None = None
    """Answer with a copy of the weights in this precision, renewed by `refresh`. `auto` is bfloat16
    where the hardware multiplies it, else the weights' own."""
    autocast: bool = False
    """Review in bfloat16 where that is safe, weights and sums as they are."""
    checkpointing: bool = False
    """Review with less memory and about half as much time again."""
    packing: bool = True
    """Review texts in one row without padding, where the model's attention can."""
    sharing: bool = True
    """Review what the texts of a group begin with once for all."""
    padding_side: Literal["left", "right"] = "right"
    """Of reviewed texts that are not packed."""
    head_chunk: int = 64
    """Steps whose logits exist at once: 13 MB for a vocabulary of 49,152."""
    device: str = "auto"
    """`auto` is the first accelerator, or the processor."""
    batch_size: int = 16
    """Rows that are answered together. Part of the result's identity: see `stream.py`."""
    batch_tokens: int = 131_072
    """Positions of memory that these rows may take, at their longest; fewer rows where they do."""
    engine: Literal["torch", "openvino"] = "torch"
    """What draws: see `trainers/engine.py`. Only `torch` can learn."""
    fused: bool = True
    """Decode Llama-like models without transformers' forward (see `fused.py`)."""
    compiled: bool = False
    """Compile the decoder layers: fewer and larger kernels, after a minute or more."""
    graphs: bool = True
    """On a card: replay a decode step as one CUDA graph (see `graphs.py`)."""
    kernels: Literal["torch", "liger"] = "torch"
    """`liger`: norms, rotations and gates by Liger's kernels, on a card."""
    sharding: Literal["none", "fsdp"] = "none"
    """`fsdp` spreads the weights over the processes of the run, for models that fit on no card.
    Answers then come from a whole copy in `sample_dtype` where it fits, else from the shards."""
    adapter: LoRA | None = None
    chat: bool = True
    """False: no chat template; messages are joined by blank lines."""
    thinking: bool | None = None
    """Given to templates as `enable_thinking`; None leaves the template's default."""
    chat_options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Further variables of the template."""
    base: str | None = None
    """The base of an adapter, where it is not where the adapter says."""
    allow_pickle: bool = False
    """Read pickled weights, which can run any program while they are read."""
    trust_remote_code: bool = False
    """Run the program that comes with the checkpoint."""
    cache: Path | None = None
    """Where converted checkpoints and digests are kept; None is the user's cache folder."""
    seed: int = 0
    """Of what starts at random: `tiny`, and the adapter."""

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise UsageError(
                f"batch_size = {self.batch_size}; at least 1 row is answered at a time"
            )
        if self.head_chunk < 1 or self.padding_side not in ("left", "right"):
            raise UsageError(
                f"head_chunk = {self.head_chunk}, padding_side = {self.padding_side}; the chunk "
                "is at least 1 step, the side left or right"
            )
        if self.sharding not in ("none", "fsdp"):
            raise UsageError(f"no sharding '{self.sharding}'; there are none and fsdp")
        if self.kernels not in ("torch", "liger"):
            raise UsageError(f"no kernels '{self.kernels}'; there are torch and liger")
        known = ("auto", "float32", "bfloat16", "float16")
        for name in (self.dtype, self.sample_dtype):
            if name is not None and name not in known:
                raise UsageError(f"no dtype '{name}'; there are {', '.join(known)}")
        if self.batch_tokens < 1:
            raise UsageError(f"batch_tokens = {self.batch_tokens}; a row takes at least 1 position")
        if self.engine not in ENGINES:
            raise UsageError(f"no engine '{self.engine}'; there are {', '.join(ENGINES)}")
