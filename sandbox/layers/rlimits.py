"""Kernel limits of one process: address space, CPU seconds, files, descriptors, core, stack."""

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
HARD = {kind: resource.getrlimit(kind)[1] for kind in KINDS}
"""The hard limits that a box was started with."""


def apply(memory: int, cpu: int, stack: int) -> None:
    """Hold this process to bytes of address space, CPU seconds and bytes of stack; no file grows.

    A hard limit that is lower already stays as it is.
    """
    _lower(resource.RLIMIT_CORE, 0)
    _lower(resource.RLIMIT_FSIZE, 0)
    _lower(resource.RLIMIT_NOFILE, DESCRIPTORS)
    _lower(resource.RLIMIT_STACK, stack)
    _lower(resource.RLIMIT_CPU, cpu)
    _lower(resource.RLIMIT_AS, memory)


def _lower(kind: int, value: int) -> None:
    hard = HARD[kind]
    least = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(kind, (least, least))
