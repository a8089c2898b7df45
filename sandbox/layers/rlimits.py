"""Kernel limits of a process: address space, CPU seconds, files, descriptors, core, stack."""

from __future__ import annotations

import resource

DESCRIPTORS = 128
KINDS = (
    resource.RLIMIT_CORE,
    resource.RLIMIT_FSIZE,
    resource.RLIMIT_NOFILE,
    resource.RLIMIT_STACK,
    resource.RLIMIT_CPU,
    resource.RLIMIT_AS,
)
NONE = (1 << 63) - 1
"""More than any limit."""


def _hard(kind: int) -> int:
    """The hard limit that a box was started with."""
    hard = resource.getrlimit(kind)[1]
    return NONE if hard == resource.RLIM_INFINITY else hard


HARD = {kind: _hard(kind) for kind in KINDS}
MOST = tuple(
    HARD[kind] for kind in (resource.RLIMIT_AS, resource.RLIMIT_CPU, resource.RLIMIT_STACK)
)
"""What `apply` can be given at most."""


def share() -> None:
    """Those of this process and its children: no core, no file grows, few descriptors."""
    for kind, value in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, DESCRIPTORS),
    ):
        least = min(value, HARD[kind])
        resource.setrlimit(kind, (least, least))


def apply(memory: int, cpu: int, stack: int) -> None:
    """Hold this process to bytes of address space, CPU seconds and bytes of stack.

    A hard limit that is lower already stays as it is.
    """
    most_memory, most_cpu, most_stack = MOST
    least = min(stack, most_stack)
    resource.setrlimit(resource.RLIMIT_STACK, (least, least))
    least = min(cpu, most_cpu)
    resource.setrlimit(resource.RLIMIT_CPU, (least, least))
    least = min(memory, most_memory)
    resource.setrlimit(resource.RLIMIT_AS, (least, least))
