"""The engine in this process: PyTorch on the weights that learn, or on a copy of them.

Models that `fused.py` knows are decoded by continuous batching on packed weights; all others by
transformers' own forward, in batches of fixed composition.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch

from harness.models import Sampling
from trainers.engine import Drawn, Job
from trainers.text import weights
from trainers.text.decode import decode
from trainers.text.fused import Fused, agrees, fits
from trainers.text.graphs import Frames
from trainers.text.settings import TextSettings
from trainers.text.stream import Limits, Stream

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from trainers.text.load import Loaded


def half_is_fast(device: torch.device) -> bool:
    """Whether the hardware has instructions that multiply bfloat16."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type != "cpu":
        return False
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def sampling_dtype(settings: TextSettings, device: torch.device) -> str | None:
    """The precision of the copy that answers; None: the weights themselves do."""
    if settings.sample_dtype == "auto":
        return "bfloat16" if half_is_fast(device) else None
    return settings.sample_dtype


class TorchEngine:
    """Draws with the model itself, or with a copy in another precision."""

    independent = False
    """Sums depend in their last bits on the shape of the batch."""

    def __init__(
        self, loaded: Loaded, settings: TextSettings, twin: PreTrainedModel | None = None
    ) -> None:
        """`twin` is what answers where the weights are spread over processes."""
        self.loaded = loaded
        self.settings = settings
        self.stamp: list[int] = []
        """Of the weights that the copy was made from."""
        self.fused: Fused | None = None
        self.model = loaded.model
        """What answers where nothing is fused."""
        model, dtype = loaded.model, sampling_dtype(settings, loaded.model.device)
        self.dtype = dtype or str(model.dtype).removeprefix("torch.")
        """What is multiplied."""
        self.copied = dtype is not None
        card = model.device.type == "cuda"
        self.frames: Frames | None = None
        """Steps replayed as CUDA graphs: a card waits longer for its orders than for their work."""
        if twin is None and settings.fused and not (card and settings.graphs) and fits(model):
            kind = getattr(torch, dtype) if dtype else model.dtype
            fused = Fused(model, kind, sees=loaded.chat.eye is not None)
            self.stamp = self._stamp()
            self.fused = fused if agrees(fused, model) else None
        if self.fused is None:
            self.model = weights.sampling_copy(loaded, dtype) if twin is None else twin
            if card and settings.graphs and twin is not loaded.model:
                self.frames = Frames(self.model)

    def draw(self, jobs: Sequence[Job], sampling: Sampling) -> Iterator[tuple[Job, Drawn]]:
        """Each job with what was drawn for it, as soon as it is finished."""
        rows, ends = self.settings.batch_size, self.loaded.ends
        if self.fused is None:
            frames = self.frames
            places = self.loaded.places
            yield from decode(
                self.model, jobs, sampling, rows=rows, ends=ends, frames=frames, places=places
            )
            return
        stale = not self.copied and self.stamp != self._stamp()
        if stale or self.fused.resting:
            self.fused.renew()
            self.stamp = self._stamp()
        limits = Limits(rows, self.settings.batch_tokens)
        yield from Stream(self.fused, jobs, sampling, ends).run(limits)

    def refresh(self) -> None:
        """Answer with the weights as they are now; a fused copy is made when it is asked."""
        if self.fused is None:
            weights.renew(self.model, self.loaded.model)
        else:
            self.fused.rest()

    def rest(self) -> None:
        """Let a fused copy go: it is soon made again, and slopes need the memory."""
        if self.fused is not None:
            self.fused.rest()

    def _stamp(self) -> list[int]:
        """Changes whenever a weight was changed or exchanged."""
        return [
            number
            for weight in self.loaded.model.parameters()
            for number in (weight.data_ptr(), weight._version)
        ]

    def describe(self) -> Mapping[str, Any]:
        """Engine, kernels, and how rows are put together."""
        return {
            "engine": "grpo-harness decode",
            "sample_dtype": self.dtype,
            "kernels": "transformers" if self.fused is None else self.fused.kernels,
            "batch": {
                "rows": self.settings.batch_size,
                "order": "longest prompt first",
                **({} if self.fused is None else {"positions": self.settings.batch_tokens}),
            },
        }
