"""shards: tensors of which every process of a run holds a part (DTensor), and whole ones.

Gathering a whole tensor is a meeting: every process must do it, in the same order.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor


def is_shard(x: Tensor | None) -> bool:
    """Whether other processes hold the rest of it."""
    return isinstance(x, DTensor)


def any_shard(tensors: Iterable[Tensor]) -> bool:
    """Whether any is a shard."""
    return any(map(is_shard, tensors))


def whole(x: Tensor) -> Tensor:
    """The tensor with everybody's parts; itself where it is no shard."""
    return x.full_tensor() if isinstance(x, DTensor) else x


def like(x: Tensor, model: Tensor) -> Tensor:
    """This process's part of a whole tensor that everybody holds, laid out as `model` is."""
    if not isinstance(model, DTensor):
        return x
    assert [p.is_shard(0) for p in model.placements] == [True], "rows are what is spread"
    parts = x.chunk(model.device_mesh.size())
    rank = model.device_mesh.get_local_rank()
    part = parts[rank] if rank < len(parts) else x[:0]
    return DTensor.from_local(
        part.to(device=model.device, dtype=model.dtype).contiguous(),
        model.device_mesh,
        model.placements,
        run_check=False,
        shape=x.shape,
        stride=x.stride(),
    )


@torch.no_grad()
def put(target: Tensor, source: Tensor) -> None:
    """Copy a whole tensor that everybody holds into a tensor or a shard."""
    if isinstance(target, DTensor):
        target.to_local().copy_(like(source, target).to_local())  # type: ignore[union-attr]
    else:
        target.copy_(source)
