"""Reading prompts: the beginning that all share once, each distinct prompt once."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from trainers.text.fused import Fused
from trainers.text.trunks import Read

POSITIONS = 8192
"""Read at once: bounds the memory of long prompts."""
SHORTEST = 8
"""Shared beginnings below this length are read again."""
SCORES = 1 << 24
"""Scores held at once (prompts x heads x queries x keys); longer prompts go to the fused kernel."""


def common_prefix(prompts: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    """The tokens with which all prompts begin, short of any whole prompt; empty below SHORTEST."""
    if len(set(prompts)) < 2:
        return ()
    first, last = min(prompts), max(prompts)  # what these two share, all that lie between share
    most = min(map(len, prompts)) - 1
    length = 0
    while length < most and first[length] == last[length]:
        length += 1
    return first[:length] if length >= SHORTEST else ()


def read(
    model: Fused, prompts: Sequence[tuple[int, ...]], prefix: Read | None
) -> tuple[Read, Float[Tensor, "P E"]]:
    """Keys and values of texts that go on where the prefix ends, and their last hidden states."""
    width = max(map(len, prompts))
    part = max(1, POSITIONS // width)
    keys, values, last = [], [], []
    for start in range(0, len(prompts), part):
        some = prompts[start : start + part]
        reading = _Reading(model, some, width, prefix)
        last.append(reading.run())
        keys.append(torch.stack(reading.keys))
        values.append(torch.stack(reading.values))
    lengths = tuple(map(len, prompts))
    return Read(torch.cat(keys, 1), torch.cat(values, 1), lengths), torch.cat(last)


class _Reading:
    """One pass over P texts, padded to one width."""

    def __init__(
        self, model: Fused, texts: Sequence[tuple[int, ...]], width: int, prefix: Read | None
    ) -> None:
        self.model = model
        self.prefix = prefix
        self.begun = prefix.width if prefix else 0
        self.shape = (len(texts), width)
        ids = torch.zeros(self.shape, dtype=torch.long)
        for row, text in enumerate(texts):
            ids[row, : len(text)] = torch.tensor(text)
        self.ids = ids.to(model.shape.device)
        self.ends = torch.tensor([len(text) - 1 for text in texts], device=model.shape.device)
        own = torch.ones((width, width), dtype=torch.bool, device=model.shape.device).tril()
        self.sees = torch.cat([own.new_ones((width, self.begun)), own], dim=1)
        """(S, L): nothing looks at the padding, which comes last."""
        self.keys: list[Tensor] = []
        self.values: list[Tensor] = []

    def run(self) -> Float[Tensor, "P E"]:
        rows, width = self.shape
        places = torch.arange(self.begun, self.begun + width, device=self.model.shape.device)
        hidden = self.model.forward(
            self.ids.flatten(), places.expand(rows, -1).flatten(), self._attend
        )
        return hidden.view(rows, width, -1)[torch.arange(rows, device=hidden.device), self.ends]

    def _attend(self, layer: int, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        rows, width = self.shape
        groups, size = keys.shape[1:]
        own_keys = keys.reshape(rows, width, groups, size).permute(0, 2, 3, 1)
        own_values = values.reshape(rows, width, groups, size).transpose(1, 2)
        self.keys.append(own_keys)
        self.values.append(own_values)
        if self.prefix is not None:
            before_keys, before_values = self.prefix.keys[layer], self.prefix.values[layer]
            own_keys = torch.cat([before_keys.expand(rows, -1, -1, -1), own_keys], dim=-1)
            own_values = torch.cat([before_values.expand(rows, -1, -1, -1), own_values], dim=-2)
        asked = queries.reshape(rows, width, groups, -1, size).permute(0, 2, 3, 1, 4)
        if rows * queries.shape[1] * self.sees.numel() <= SCORES:
            scores = asked.flatten(2, 3) @ own_keys
            apart = scores.unflatten(2, (-1, width)).masked_fill_(~self.sees, -torch.inf)
            mixed = (apart.softmax(-1).flatten(2, 3) @ own_values).unflatten(2, (-1, width))
        else:
            mixed = torch.nn.functional.scaled_dot_product_attention(
                asked.flatten(1, 2),
                own_keys.transpose(2, 3),
                own_values,
                attn_mask=self.sees,
                scale=1.0,  # the queries carry it
                enable_gqa=True,
            ).unflatten(1, (groups, -1))
        return mixed.permute(0, 3, 1, 2, 4).reshape(rows * width, -1)
