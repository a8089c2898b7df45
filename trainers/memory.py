"""memory: how much is free, what a review keeps, and what it looks like when there was too little.

A micro-batch is as large as memory allows and no larger than is of use. What a review keeps for its
backward pass is measured, by looking at every tensor that is saved; what is free is asked of the
system: the machine, the container and the process each have a limit, and the smallest one counts.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import Parameter

from harness.types import Rollout
from trainers.policy import Extent, Policy, together

MEASURED = 512
"""Positions, about, of the review by which memory is measured."""
LARGEST = {"cpu": 1024, "cuda": 32768}
"""Positions above which a device computes little faster, if no prompt is longer than half of it."""
SMALLEST = 64
PASSING = 2.0
"""A backward pass holds so many times what its review keeps: gradients of what was saved."""
SHARE = 0.7
"""Of the free memory that is planned with: other processes and the next answers need some too."""
SIGNS = ("not enough memory", "can't allocate memory", "bad_alloc", "Cannot allocate memory")
"""What errors of a processor's allocators say; oneDNN says nothing better than the last two."""
PRIMITIVE = ("could not create a memory", "could not create a primitive")


@dataclass
class Kept:
    """Bytes that the autograd graph keeps, each storage once, the weights themselves left out."""

    storages: dict[int, int] = field(default_factory=dict[int, int])

    @property
    def bytes(self) -> int:
        """Of all storages together."""
        return sum(self.storages.values())


@contextmanager
def keeping(weights: Sequence[Tensor]) -> Iterator[Kept]:
    """Counts what is saved for a backward pass inside."""
    own = {weight.untyped_storage().data_ptr() for weight in weights}
    kept = Kept()

    def count(x: Tensor) -> Tensor:
        storage = x.untyped_storage()
        if storage.data_ptr() not in own:
            kept.storages[storage.data_ptr()] = storage.nbytes()
        return x.detach()  # an output that was kept as it is would keep its graph, and itself

    with torch.autograd.graph.saved_tensors_hooks(count, lambda x: x):
        yield kept


def bytes_per_position(policy: Policy, rollout: Rollout) -> float:
    """What a further position of a review adds to what it keeps, measured by two reviews.

    The rollout is reviewed once, and as often as makes `MEASURED` positions.
    """
    extent = policy.extent(rollout)
    own = max(extent.own, 1)
    found: list[tuple[int, int]] = []
    for times in (1, 1 + max(1, MEASURED // own)):
        with keeping(policy.parameters()) as kept:
            live = policy.review([rollout] * times)
        found.append((together([extent] * times), kept.bytes))
        del live
    give_back()
    (few, less), (many, more) = found
    return max(more - less, 1) / max(many - few, 1)


def positions_that_fit(
    device: torch.device, each: float, reserved: int, extents: Sequence[Extent]
) -> int:
    """Positions of a micro-batch: a power of two, so that it varies little from run to run.

    `each` is `bytes_per_position`; `reserved` bytes are about to be taken by others. As many as are
    of use, so that what rollouts share is at most half of them where that fits.
    """
    room = free(device) * SHARE - reserved
    wanted = LARGEST.get(device.type, LARGEST["cpu"])
    while wanted < 2 * max(sum(extent.shared.values()) for extent in extents):
        wanted *= 2
    while wanted > SMALLEST and wanted * each * PASSING > room:
        wanted //= 2
    return wanted


def reserved(optimizer: torch.optim.Optimizer, weights: Sequence[Parameter]) -> int:
    """Bytes that the next step will take anew: a gradient, and at most two moments."""
    size = sum(weight.nbytes for weight in weights)
    return size * (1 if optimizer.state else 3)


def free(device: torch.device) -> int:
    """Bytes that this process can still take there."""
    if device.type == "cuda":
        there = torch.cuda.mem_get_info(device)[0]
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return there + cached
    return min(found for found in (_machine(), _container(), _process()) if found is not None)


def _machine() -> int:
    import psutil

    return int(psutil.virtual_memory().available)


def _process() -> int | None:
    """What the limit on this process's addresses leaves."""
    if sys.platform == "win32":
        return None
    import resource

    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit == resource.RLIM_INFINITY:
        return None
    import psutil

    return max(limit - int(psutil.Process().memory_info().vms), 0)


def _container(root: Path = Path("/sys/fs/cgroup")) -> int | None:
    """What the control group's limit leaves, in either version; caches of files can be taken."""
    for limit, used, key in (
        ("memory.max", "memory.current", "inactive_file"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "total_inactive_file"),
    ):
        try:
            most = (root / limit).read_text().strip()
            if most == "max":
                return None
            taken = int((root / used).read_text())
            table = (root / used).with_name("memory.stat").read_text().split()
            given = dict(zip(table[::2], table[1::2], strict=True)).get(key, "0")
            return max(int(most) - taken + int(given), 0)
        except (OSError, ValueError):
            continue
    return None


def is_out_of_memory(error: BaseException) -> bool:
    """Whether this is what a device or a processor says when memory is short."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    said = str(error)
    return isinstance(error, RuntimeError) and any(sign in said for sign in (*SIGNS, *PRIMITIVE))


def give_back() -> None:
    """Return what is cached to the device, and what nobody holds to the system."""
    import gc

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if sys.platform == "linux" and os.environ.get("LD_PRELOAD") is None:
        import ctypes

        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
