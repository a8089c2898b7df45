"""Review: the log-probability of steps that were taken, with gradient, and little wasted.

Texts are packed into one row without padding, and what several begin with (the prompt of a group,
the worked examples of all prompts) is computed once, forward and backward (see `tree.py`). The head
runs over steps alone (see `head.py`). Models whose attention a packed row cannot describe read
padded texts, with the keys and values of a shared prompt computed once where they are all that the
model remembers.
"""

from __future__ import annotations

import sys
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.utils.checkpoint import checkpoint
from transformers.modeling_layers import GradientCheckpointingLayer

from trainers.policy import Extent, Live
from trainers.text.attention import NAME
from trainers.text.branches import stretches
from trainers.text.cache import is_plain, prefill_cache, repeat
from trainers.text.decode import left_padded, placed, right_padded
from trainers.text.half import HALF, HalfProducts
from trainers.text.head import PART, Steps, judge_steps
from trainers.text.layout import Places, Text
from trainers.text.tree import Packed, pack

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from trainers.text.sharding import Shards

LOGIT_CHANGES = ("final_logit_softcapping", "logits_scaling", "logit_scale", "lm_head_multiplier")
"""What configurations call a change of logits, which may be too small to be seen by trying."""


@dataclass(frozen=True)
class Reviewer:
    """Reads texts with one model."""

    model: PreTrainedModel
    """A causal language model; adapters, if any, stand inside its layers."""
    autocast: bool = False
    """Compute in bfloat16 what may be; weights and sums stay as they are."""
    checkpointing: bool = False
    """Compute activations again in the backward pass instead of keeping them."""
    packing: bool = True
    """Read texts in one row without padding, where the model can (see `window`)."""
    sharing: bool = True
    """Read what texts begin with once for all that begin alike."""
    left: bool = False
    """Where texts are padded: before them, or after them."""
    chunk: int = PART
    """Steps whose logits exist at once."""
    bare_head: bool = True
    """Logits are the head's matrix times the last hidden state (see `has_bare_head`)."""
    window: int = 0
    """Texts of fewer tokens than this can be packed (see `packed_window`)."""
    places: Places | None = None
    """Where tokens stand, if not one after the other."""
    shards: Shards | None = None
    """Where the model's weights are spread over processes: what brings them together."""

    def review(self, texts: Sequence[Text], rows: int, columns: int) -> Live:
        """The steps of all texts, scattered to (rows, columns)."""
        device = self.model.device
        logprobs = torch.zeros((rows, columns), device=device)
        mask = torch.zeros((rows, columns), dtype=torch.bool, device=device)
        if not texts and self.shards is None:
            return Live(logprobs, logprobs, mask)
        if not texts:  # the other processes wait for this one to read something
            blank = Text([0, 0], 1, [1], [0], [0], [1.0], [False])
            read = self.review([blank], 1, 1)
            nothing = 0 * read.logprobs.sum()
            return Live(logprobs + nothing, logprobs + nothing, mask)
        ids, temperatures, place = _steps(texts, device)
        own = torch.tensor([kept for text in texts for kept in text.own], device=device)
        with self._precision(), self._saving():
            found, entropy = self._judged(texts, ids, temperatures)
        return Live(
            logprobs.index_put(place, found),
            logprobs.index_put(place, entropy),
            mask.index_put(place, own),
        )

    def _judged(
        self, texts: Sequence[Text], ids: Int[Tensor, " S"], temperatures: Float[Tensor, " S"]
    ) -> tuple[Float[Tensor, " S"], Float[Tensor, " S"]]:
        if not self.bare_head:
            logits = self._read_whole(texts, self.model).float() / temperatures[:, None]
            scores = logits.log_softmax(-1)
            taken = scores.gather(-1, ids[:, None]).squeeze(-1)
            return taken, torch.linalg.vecdot(-scores.exp(), scores)
        if self.shards is not None:
            return self.shards.around(self._read_and_judged)(texts, ids, temperatures)
        return self._read_and_judged(texts, ids, temperatures)

    def _read_and_judged(
        self, texts: Sequence[Text], ids: Int[Tensor, " S"], temperatures: Float[Tensor, " S"]
    ) -> tuple[Float[Tensor, " S"], Float[Tensor, " S"]]:
        head: Any = self.model.get_output_embeddings()
        weight = head.weight
        dtype = torch.bfloat16 if self.autocast else weight.dtype
        steps = Steps(ids, temperatures)
        return judge_steps(self._hidden(texts), weight, steps, dtype, self.chunk)

    def _hidden(self, texts: Sequence[Text]) -> Float[Tensor, "S H"]:
        """What the model holds before each step."""
        if self.packing and max(len(text.ids) for text in texts) < self.window:
            device, sharing = self.model.device, self.sharing
            packed = pack(texts, device, sharing=sharing, places=self.places)
            return read_packed(self._decoder, packed)
        heads = {text.head for text in texts}
        shared = len(heads) < len(texts) and self._cached
        if self.sharing and shared:
            return self._read_shared(texts)
        return self._read_whole(texts, self._decoder)

    def extent(self, texts: Sequence[Text]) -> Extent:
        """Positions of a review of a rollout's texts; what several begin with is read once."""
        packs = self.packing and self.window > 0
        if not (self.sharing and self.bare_head and (self._cached or packs)):
            return Extent(sum(len(text.ids) for text in texts))
        shared: dict[Hashable, int] = {}
        for each in texts:
            shared |= stretches(each.head) if packs else {each.head: each.prompt}
        return Extent(sum(len(each.tail) for each in texts), shared)

    @property
    def _cached(self) -> bool:
        """Whether padded texts may go on from a cache: two readings, so never of shards, of which
        every process must make equally many."""
        return not self.checkpointing and self.shards is None and is_plain(self.model)

    @property
    def _decoder(self) -> Any:
        return self.model.get_decoder()

    @contextmanager
    def _precision(self) -> Iterator[None]:
        if not self.autocast:
            yield
            return
        kind = self.model.device.type
        # what is computed again in the backward pass must be computed as it was: by autocast alone
        products = nullcontext() if self.checkpointing or kind != "cpu" else HalfProducts()
        with torch.autocast(kind, dtype=HALF, cache_enabled=not self.checkpointing), products:
            yield

    @contextmanager
    def _saving(self) -> Iterator[None]:
        """Layers keep nothing for the backward pass, though the model is not in training mode."""
        layers: list[Any] = []
        if self.checkpointing and torch.is_grad_enabled():
            modules = self.model.modules()
            layers = [each for each in modules if isinstance(each, GradientCheckpointingLayer)]
        for layer in layers:
            # the flag of the layer alone: what drops out in training stands deeper
            layer.training = layer.gradient_checkpointing = True
            layer._gradient_checkpointing_func = partial(checkpoint, use_reentrant=False)
        try:
            yield
        finally:
            for layer in layers:
                layer.training = layer.gradient_checkpointing = False

    def _read_whole(self, texts: Sequence[Text], reader: Any) -> Float[Tensor, "S H"]:
        """What the model holds before each step (hidden states, or logits of the whole model)."""
        read = [text.ids[:-1] for text in texts]
        width = max(map(len, read))
        device = self.model.device
        ids, mask = left_padded(read, width, device) if self.left else right_padded(read, device)
        answer = reader(
            input_ids=ids,
            attention_mask=None if bool(mask.all()) else mask,
            position_ids=placed(read, mask, self.places),
            use_cache=False,
        )
        states = answer.logits if reader is self.model else answer.last_hidden_state
        rows = [row for row, text in enumerate(texts) for _ in text.places]
        skip = [width - len(ids) if self.left else 0 for ids in read]
        places = [skip[row] + p - 1 for row, text in enumerate(texts) for p in text.places]
        return states[torch.tensor(rows), torch.tensor(places)]

    def _read_shared(self, texts: Sequence[Text]) -> Float[Tensor, "S H"]:
        """The same hidden states, each distinct head of a text read once."""
        device = self.model.device
        heads = {head: row for row, head in enumerate(dict.fromkeys(text.head for text in texts))}
        ids, mask = left_padded(list(heads), max(map(len, heads)), device)
        cache = prefill_cache(self.model, plain=True)
        padded = not bool(mask.all())
        first = self._decoder(
            input_ids=ids,
            attention_mask=mask if padded else None,
            position_ids=placed(list(heads), mask, self.places),
            past_key_values=cache,
            use_cache=True,
        ).last_hidden_state[:, -1:]
        owner = torch.tensor([heads[text.head] for text in texts], device=device)
        tails, tail_mask = right_padded([text.tail for text in texts], device)
        states = first.index_select(0, owner)
        if tails.shape[1]:
            whole = torch.cat([mask.index_select(0, owner), tail_mask], dim=1)
            stand = placed([text.ids[:-1] for text in texts], whole, self.places)
            rest = self._decoder(
                input_ids=tails,
                # right padding needs no mask: no step looks at what follows it
                attention_mask=whole if padded else None,
                position_ids=stand[..., mask.shape[1] :],
                past_key_values=repeat(cache, owner),
                use_cache=True,
            ).last_hidden_state
            states = torch.cat([states, rest], dim=1)
        rows = [row for row, text in enumerate(texts) for _ in text.places]
        places = [place - text.prompt for text in texts for place in text.places]
        return states[torch.tensor(rows), torch.tensor(places)]


def _steps(
    texts: Sequence[Text], device: torch.device
) -> tuple[Int[Tensor, " S"], Float[Tensor, " S"], tuple[Tensor, Tensor]]:
    """Token, temperature, and place in (N, T) of every step."""
    ids = torch.tensor([text.ids[place] for text in texts for place in text.places])
    temperatures = torch.tensor([each for text in texts for each in text.temperatures])
    rows = torch.tensor([row for text in texts for row in text.rows])
    columns = torch.tensor([column for text in texts for column in text.columns])
    return ids.to(device), temperatures.to(device), (rows.to(device), columns.to(device))


@torch.no_grad()
def has_bare_head(model: PreTrainedModel) -> bool:
    """Whether logits are the head's matrix times the last hidden state, and nothing else.

    Models that scale or cap their logits, or add a bias, are reviewed through their own forward.
    """
    head = model.get_output_embeddings()
    if head is None or not hasattr(head, "weight") or getattr(head, "bias", None) is not None:
        return False
    config = model.config.get_text_config()
    if any(getattr(config, change, None) is not None for change in LOGIT_CHANGES):
        return False
    probe = torch.arange(1, 9, device=model.device).unsqueeze(0)
    hidden = model.get_decoder()(input_ids=probe, use_cache=False).last_hidden_state
    ours, theirs = hidden @ head.weight.t(), model(input_ids=probe, use_cache=False).logits
    near = 1e-4 if ours.dtype == torch.float32 else 1e-2
    return bool(torch.allclose(ours.float(), theirs.float(), rtol=near, atol=near))


def read_packed(decoder: Any, packed: Packed) -> Float[Tensor, "S H"]:
    """The hidden state before each step of a packed row."""
    states = decoder(
        input_ids=packed.ids,
        # a mask of four dimensions is left as it is, so that none is made; attention has the tree
        attention_mask=packed.ids.new_zeros((1, 1, 1, 1), dtype=torch.bool),
        position_ids=packed.positions,
        use_cache=False,
        tree=packed.tree,
    ).last_hidden_state
    return states[0].index_select(0, packed.steps)


@torch.no_grad()
def packed_window(model: PreTrainedModel) -> int:
    """Texts of fewer tokens than this can be packed into one row; 0 if none can.

    Found by trying: the model hands its attention the tree in every layer, and gives the numbers
    that it gives for each text alone.
    """
    config: Any = model.config.get_text_config()
    if config._attn_implementation != NAME or not is_plain(model):
        return 0
    device, decoder = model.device, model.get_decoder()
    texts = [Text([1, 2, 3, 4, *tail], 4, [4, 5]) for tail in ([5, 6, 7], [8, 9])]
    texts.append(Text([3, 3, 1], 2, [2]))
    packed = pack(texts, device)
    try:
        found = read_packed(decoder, packed)
    except (TypeError, ValueError):  # takes no further arguments, or does more with its scores
        return 0
    alone = []
    for text in texts:
        ids = torch.tensor([text.ids], device=device)
        states = decoder(input_ids=ids, use_cache=False).last_hidden_state[0]
        alone.append(states[torch.tensor(text.places, device=device) - 1])
    wanted = torch.cat(alone).float()
    away = (found.float() - wanted).norm() / wanted.norm()
    near = 1e-4 if found.dtype == torch.float32 else 5e-2
    if not bool(away < near) or packed.tree.asked[0] != config.num_hidden_layers:
        return 0
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    window = getattr(config, "sliding_window", None)
    if kinds - {"full_attention"} or (window and not getattr(config, "layer_types", None)):
        return int(window or 0)
    return sys.maxsize
