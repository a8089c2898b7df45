"""Llama-like decoders without transformers' forward: fused projections, weights packed for oneDNN.

Queries, keys and values come from one product, gate and up from another. On a processor the
weights are kept in oneDNN's own order: against `torch.nn.functional.linear` that is 1.2 to 1.9
times as fast in bfloat16 at 64 to 1 rows, and 2.5 times in float32 where MKL is slow.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers.cache_utils import DynamicCache, DynamicLayer

from trainers.text.rolling import Shape
from trainers.text.weights import merged

if TYPE_CHECKING:
    from transformers import PreTrainedModel

KINDS = ("LlamaModel", "MistralModel", "Qwen2Model", "Qwen3Model")
ROTATIONS = ("default", "linear", "llama3", "yarn")
"""Rotary embeddings whose angles depend on the position alone."""
LARGEST = 8 << 30
"""Bytes of weights up to which a packed copy is kept beside the model."""

Attend = Callable[[int, Tensor, Tensor, Tensor], Tensor]
"""Layer, queries (T, H, D), keys (T, K, D), values (T, K, D) to what is mixed (T, H * D)."""


class Linear:
    """x W' + b, the weight in the order in which it multiplies fastest."""

    def __init__(self, weight: Float[Tensor, "O I"], bias: Float[Tensor, " O"] | None) -> None:
        self.bias = bias
        self.packed = packs(weight)
        self.weight = (
            torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), 0)
            if self.packed
            else weight.contiguous()
        )

    def __call__(self, x: Float[Tensor, "*B I"]) -> Float[Tensor, "*B O"]:
        if self.packed:
            product = torch.ops.mkldnn._linear_pointwise
            return product(x, self.weight, self.bias, "none", [], "")
        return nn.functional.linear(x, self.weight, self.bias)


def packs(weight: Tensor) -> bool:
    """Whether oneDNN keeps weights like this one in an order of its own."""
    if weight.device.type != "cpu" or not torch.backends.mkldnn.is_available():
        return False
    if weight.dtype == torch.bfloat16:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return weight.dtype == torch.float32


@dataclass(frozen=True)
class Layer:
    """One block of the decoder."""

    before: Tensor
    qkv: Linear
    query_norm: Tensor | None
    key_norm: Tensor | None
    out: Linear
    after: Tensor
    gate_up: Linear
    down: Linear


def fits(model: PreTrainedModel) -> bool:
    """Whether `Fused` computes what this model does."""
    kind, config = type(model.get_decoder()), model.config.get_text_config()
    if kind.__name__ not in KINDS or not kind.__module__.startswith("transformers.models."):
        return False
    rope = getattr(config, "rope_parameters", None) or {}
    plain = all(type(layer) is DynamicLayer for layer in DynamicCache(config=config).layers)
    size = sum(weight.nbytes for weight in model.parameters())
    return (
        plain
        and rope.get("rope_type", "default") in ROTATIONS
        and rope.get("partial_rotary_factor", 1.0) == 1.0
        and config.hidden_act == "silu"
        and size <= LARGEST
        and model.device.type in ("cpu", "cuda")
    )


class Fused:
    """The weights of a model, ready to decode: T tokens of any rows at any positions."""

    def __init__(self, model: PreTrainedModel, dtype: torch.dtype, *, sees: bool = False) -> None:
        """`sees`: what ids embed is asked of the model, for some stand for pictures."""
        self.sees = sees
        self.model = model
        """Where the weights come from; an adapter's change is added."""
        config: Any = model.config.get_text_config()
        decoder: Any = model.get_decoder()
        first = decoder.layers[0].self_attn
        self.shape = Shape(
            layers=int(config.num_hidden_layers),
            heads=int(config.num_attention_heads),
            groups=int(config.num_key_value_heads),
            size=int(first.head_dim),
            dtype=dtype,
            device=model.device,
        )
        self.scaling = float(first.scaling)
        self.eps = float(config.rms_norm_eps)
        self.layers: list[Layer] = []
        self.renew()

    @property
    def resting(self) -> bool:
        """Whether the weights were let go."""
        return not self.layers

    def rest(self) -> None:
        """Let go of the weights, until they are renewed."""
        if not self.resting:
            self.layers = []
            del self.embedding, self.norm, self.head

    @torch.inference_mode()
    def renew(self) -> None:
        """Take over the weights of the model as they are now."""
        self.rest()  # two copies at once would be the largest thing in memory
        decoder: Any = self.model.get_decoder()
        head: Any = self.model.get_output_embeddings()
        self.embedding = self._cast(merged(decoder.embed_tokens, "weight"))
        self.layers = [self._layer(layer) for layer in decoder.layers]
        self.norm = self._cast(decoder.norm.weight)
        self.head = self._joined(head)
        self.rotary = decoder.rotary_emb

    @property
    def kernels(self) -> str:
        """What multiplies."""
        shape = self.shape
        packed = packs(torch.empty(0, dtype=shape.dtype, device=shape.device))
        return "fused, packed by oneDNN" if packed else "fused"

    def _layer(self, layer: Any) -> Layer:
        attention, mlp = layer.self_attn, layer.mlp
        norms = (getattr(attention, name, None) for name in ("q_norm", "k_norm"))
        query_norm, key_norm = (None if n is None else self._cast(n.weight) for n in norms)
        return Layer(
            before=self._cast(layer.input_layernorm.weight),
            qkv=self._joined(attention.q_proj, attention.k_proj, attention.v_proj),
            query_norm=query_norm,
            key_norm=key_norm,
            out=self._joined(attention.o_proj),
            after=self._cast(layer.post_attention_layernorm.weight),
            gate_up=self._joined(mlp.gate_proj, mlp.up_proj),
            down=self._joined(mlp.down_proj),
        )

    def _cast(self, weight: Tensor) -> Tensor:
        return weight.detach().to(self.shape.dtype)

    def _joined(self, *parts: nn.Module) -> Linear:
        """Several products of the same input as one."""
        weights = [self._cast(merged(part, "weight")) for part in parts]
        biases = [getattr(part, "bias", None) for part in parts]
        bias = None
        if any(each is not None for each in biases):
            rows = [w.new_zeros(w.shape[0]) for w in weights]
            told = zip(biases, rows, strict=True)
            bias = torch.cat([zero if own is None else self._cast(own) for own, zero in told])
        return Linear(torch.cat(weights) if len(weights) > 1 else weights[0], bias)

    def angles(self, positions: Int[Tensor, " T"]) -> tuple[Tensor, Tensor]:
        """Cosines and signed sines (T, H + K, D); those of the queries carry the scaling."""
        shape, half = self.shape, self.shape.size // 2
        hint = torch.empty(0, dtype=torch.float32, device=shape.device)
        cosines, sines = (each[0] for each in self.rotary(hint, positions.unsqueeze(0)))
        sines = torch.cat([-sines[:, :half], sines[:, half:]], dim=-1)
        spread: list[Tensor] = []
        for each in (cosines, sines):
            own = each.to(shape.dtype).unsqueeze(1)
            queries = (own * self.scaling).expand(-1, shape.heads, -1)
            spread.append(torch.cat([queries, own.expand(-1, shape.groups, -1)], dim=1))
        return spread[0], spread[1]

    def forward(
        self, ids: Int[Tensor, " T"], positions: Int[Tensor, " T"], attend: Attend
    ) -> Float[Tensor, "T E"]:
        """Last hidden states, normed."""
        shape, x = self.shape, self._embedded(ids)
        width, turned = (x.shape[-1],), shape.heads + shape.groups
        cosines, sines = self.angles(positions)
        for number, layer in enumerate(self.layers):
            read = layer.qkv(torch.rms_norm(x, width, layer.before, self.eps))
            read = read.view(len(x), turned + shape.groups, shape.size)
            both, values = read[:, :turned], read[:, turned:]
            if layer.query_norm is not None and layer.key_norm is not None:
                both = self._normed(both, layer.query_norm, layer.key_norm)
            both = torch.addcmul(both * cosines, both.roll(shape.size // 2, -1), sines)
            mixed = attend(number, both[:, : shape.heads], both[:, shape.heads :], values)
            x = x + layer.out(mixed)
            read = layer.gate_up(torch.rms_norm(x, width, layer.after, self.eps))
            gate, up = read.chunk(2, dim=-1)
            x = x + layer.down(nn.functional.silu(gate) * up)
        return torch.rms_norm(x, width, self.norm, self.eps)

    def _embedded(self, ids: Int[Tensor, " T"]) -> Float[Tensor, "T E"]:
        if not self.sees:
            return self.embedding[ids]
        words: Any = self.model.get_input_embeddings()
        return words(ids).to(self.shape.dtype)

    def _normed(self, both: Tensor, query_norm: Tensor, key_norm: Tensor) -> Tensor:
        width, heads = (self.shape.size,), self.shape.heads
        queries = torch.rms_norm(both[:, :heads], width, query_norm, self.eps)
        keys = torch.rms_norm(both[:, heads:], width, key_norm, self.eps)
        return torch.cat([queries, keys], dim=1)


@torch.inference_mode()
def agrees(fused: Fused, model: PreTrainedModel) -> bool:
    """Whether the logits of a short text are those of the model itself, but for rounding."""
    # tokens from all over the vocabulary: the first ones are special, and odd in bfloat16
    size = model.config.get_text_config().vocab_size
    ids = torch.arange(1, 9, device=model.device) * (size // 9)
    read = _Causal(fused.shape)
    ours = fused.head(fused.forward(ids, torch.arange(8, device=model.device), read)).float()
    theirs = model(input_ids=ids.unsqueeze(0), use_cache=False).logits[0].float()
    if not bool(theirs.isfinite().all()):
        return True  # broken weights: either way says so
    # the median: in bfloat16 single logits of odd texts differ by as much as they spread
    near = 1e-3 if fused.shape.dtype == model.dtype == torch.float32 else 0.1
    return float((ours - theirs).abs().median()) <= near * float(theirs.std())


class _Causal:
    """Attention within one text."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape

    def __call__(self, layer: int, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        asked, known, held = (each.transpose(0, 1).unsqueeze(0) for each in (queries, keys, values))
        mixed = nn.functional.scaled_dot_product_attention(
            asked,
            known,
            held,
            is_causal=True,
            scale=1.0,  # the queries carry it
            enable_gqa=True,
        )
        return mixed[0].transpose(0, 1).flatten(1)
