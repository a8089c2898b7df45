"""Weights spread over the processes of a run (FSDP2), for models that do not fit on one card.

Each decoder layer is gathered as it is read and let go again; the embeddings, the last norm and
the head are gathered around a whole reading. Reading is a meeting of all processes, so all must
read equally often: one that has nothing left reads on, for the others (`Shards.finish`).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from transformers.modeling_layers import GradientCheckpointingLayer

from harness.errors import ModelError, UsageError
from trainers.shards import whole
from trainers.world import World

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from trainers.text.load import Loaded
    from trainers.text.settings import TextSettings

ROOM = 0.8
"""Share of the free memory that a whole copy of the weights may take."""


class Shards:
    """A model whose weights are spread over a world, and the counting of its readings."""

    def __init__(self, model: PreTrainedModel, world: World, device: str) -> None:
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard

        if world.size == 1:
            raise UsageError(
                "sharding spreads the weights over several processes, and there is one: start "
                "more with --processes N or torchrun, or leave --sharding none"
            )
        self.model = model
        self.world = world
        self.counted = False
        """Whether a reading waits for the others to read too."""
        kind = torch.device(device).type
        mesh = init_device_mesh(kind, (world.size,))
        layers = [each for each in model.modules() if isinstance(each, GradientCheckpointingLayer)]
        for layer in layers:
            fully_shard(layer, mesh=mesh)
        self._spread: Any = fully_shard(model, mesh=mesh)
        model.register_forward_pre_hook(self._count)
        # room for whole layers that was first taken in inference mode could not be written again
        self._read()

    def _count(self, *_: Any) -> None:
        if self.counted:
            self.world.any(True)

    @contextmanager
    def answering(self) -> Iterator[None]:
        """Readings in here may differ in number between processes; `finish` evens them out."""
        before, self.counted = self.counted, True
        try:
            yield
        finally:
            self.counted = before
            self.let_go()

    def finish(self) -> None:
        """Read on until nobody else reads."""
        while self.world.any(False):
            self._read()

    @torch.no_grad()
    def _read(self) -> None:
        ids = torch.zeros((1, 1), dtype=torch.long, device=self.model.device)
        self.model(input_ids=ids, use_cache=False)
        self.let_go()

    def let_go(self) -> None:
        """Only a backward pass lets the embeddings and the head go; till then they are whole, and
        not the parameters that learn."""
        self._spread.reshard()

    def around(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """The call as one reading: embeddings, norm and head are whole inside and at its end."""
        from torch.distributed.fsdp import register_fsdp_forward_method

        self._spread.read_steps = call
        register_fsdp_forward_method(self._spread, "read_steps")

        def read(*given: Any) -> Any:
            found = self._spread.read_steps(*given)
            if not torch.is_grad_enabled():
                self.let_go()
            return found

        return read


def gathered(loaded: Loaded) -> dict[str, Tensor]:
    """All weights of a sharded model (with an adapter: those of the adapter), whole; a meeting.

    Names that share a weight share the tensor, as in the model. On the first process alone, on its
    processor; others get an empty table.
    """
    owner: Any = loaded.peft or loaded.model
    learned = loaded.peft is not None
    found: dict[str, Tensor] = {}
    held: dict[int, Tensor] = {}
    first = torch.distributed.get_rank() == 0
    state = owner.state_dict()
    for name, weight in owner.named_parameters(remove_duplicate=False):
        if (learned and not weight.requires_grad) or name not in state:
            continue
        if id(weight) not in held:
            full = whole(weight.detach())
            held[id(weight)] = full.cpu() if first else full.new_empty(0)
        found[name] = held[id(weight)]
    if not learned:
        found |= {name: x for name, x in state.items() if name not in found}
    return found if first else {}


def spread(loaded: Loaded, settings: TextSettings, world: World) -> tuple[PreTrainedModel, Shards]:
    """What answers, and the model's shards: a whole copy in `sample_dtype`, or the shards."""
    from trainers.text.engine import sampling_dtype
    from trainers.text.load import device_name
    from trainers.text.weights import sampling_copy

    model, device = loaded.model, device_name(settings.device)
    if not any(isinstance(each, GradientCheckpointingLayer) for each in model.modules()):
        raise ModelError(
            f"a {type(model).__name__} cannot be spread over processes: its layers are not "
            "marked; leave --sharding none"
        )
    twin = None
    kind = sampling_dtype(settings, torch.device(device))
    if kind is not None and _copy_fits(model, getattr(torch, kind), device, world):
        twin = sampling_copy(loaded, kind)
        twin = copy.deepcopy(twin) if twin is model else twin
        twin.to(device)  # type: ignore[arg-type]
    shards = Shards(model, world, device)
    return twin if twin is not None else model, shards


def _copy_fits(model: PreTrainedModel, dtype: torch.dtype, device: str, world: World) -> bool:
    """Whether every card has room for a whole copy of the weights, in that precision."""
    if torch.device(device).type != "cuda":
        return True
    weights = list(model.parameters())
    copied = sum(weight.numel() for weight in weights) * dtype.itemsize
    # gradients and the optimizer's two moments lie beside the shards
    kept = 4 * sum(weight.numel() * weight.element_size() for weight in weights) / world.size
    free, _ = torch.cuda.mem_get_info()
    return not world.any(copied + kept > ROOM * free)
