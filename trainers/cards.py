"""cards: what the accelerator here can do, found out by asking or by trying, never by its name."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Ceilings:
    """What a device reaches at its best; measured, not from a data sheet."""

    flops: float
    """Of a large matrix product, per second."""
    bytes: float
    """Read and written by a large copy, per second."""


def computes_bfloat16(device: torch.device) -> bool:
    """Whether a card computes in bfloat16 by itself; a processor is not asked."""
    return device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)


def best_dtype(device: str) -> str:
    """What `auto` computes in: bfloat16 on cards that do it by themselves, else float32."""
    return "bfloat16" if computes_bfloat16(torch.device(device)) else "float32"


def use_tf32() -> None:
    """Make float32 products of 10-bit mantissas on cards: several times as fast."""
    torch.set_float32_matmul_precision("high")


def memory() -> Mapping[str, float]:
    """Peak of the card's memory since the last call, GB; nothing without a card."""
    if not torch.cuda.is_initialized():
        return {}
    told = {
        "memory/peak_gb": torch.cuda.max_memory_allocated() / 1e9,
        "memory/reserved_gb": torch.cuda.max_memory_reserved() / 1e9,
    }
    torch.cuda.reset_peak_memory_stats()
    return told


def described(device: torch.device) -> Mapping[str, object]:
    """A card for a manifest; nothing for a processor."""
    if device.type != "cuda":
        return {}
    card = torch.cuda.get_device_properties(device)
    return {
        "card": card.name,
        "capability": f"{card.major}.{card.minor}",
        "cuda": torch.version.cuda,
        "tf32": torch.backends.cuda.matmul.allow_tf32,
    }


def ceilings(device: torch.device, dtype: torch.dtype) -> Ceilings:
    """Measure a matrix product and a copy: the best of several, after warming up."""
    large = device.type == "cuda"
    side, room = (8192, 1 << 30) if large else (1024, 1 << 26)
    left, right = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    product = torch.empty_like(left)
    source = torch.empty(room, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    spent = best_seconds(lambda: torch.mm(left, right, out=product), device)
    moved = best_seconds(lambda: target.copy_(source), device)
    return Ceilings(2 * side**3 / spent, 2 * room / moved)


def best_seconds(work: Callable[[], object], device: torch.device, times: int = 10) -> float:
    """The shortest of several runs, each waited for."""
    for _ in range(3):
        work()
    found: list[float] = []
    for _ in range(times):
        wait(device)
        start = time.perf_counter()
        work()
        wait(device)
        found.append(time.perf_counter() - start)
    return min(found)


def wait(device: torch.device) -> None:
    """Until the card has done all that it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
