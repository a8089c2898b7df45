"""Landlock: a process gives up files, TCP, and (ABI 6) signals and abstract sockets.

Applied after mounts, which it forbids, and before seccomp, which forbids it.
Source: Documentation/userspace-api/landlock.rst of Linux.
"""

from __future__ import annotations

import ctypes
import os
import struct

from sandbox.layers.libc import syscall
from sandbox.layers.view import View

CREATE, ADD, RESTRICT = 444, 445, 446
VERSION = 1
PATH_BENEATH = 1
EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1, 1 << 1, 1 << 2, 1 << 3
FILES = {1: (1 << 13) - 1, 2: 1 << 13, 3: 1 << 14, 5: 1 << 15}
"""Rights over files that each version of the interface added."""
TCP = {4: 3}
SCOPES = {6: 3}
"""Abstract sockets and signals."""


def version() -> int:
    """The version of the kernel's interface; OSError where there is none."""
    return syscall(CREATE, None, 0, VERSION)


def apply(seen: View, *, rooted: bool) -> int:
    """Give up all files but those of the view. Gives the version that was applied.

    `rooted`: this process has a root of its own, which shows nothing else; whole folders will do.
    """
    abi = version()
    rules = _create(_since(FILES, abi), _since(TCP, abi), _since(SCOPES, abi))
    try:
        for path in seen.mounts if rooted and seen.covers else seen.readable:
            _allow(rules, path, READ_FILE | READ_DIR)
        for path in seen.listable:
            _allow(rules, path, READ_DIR)
        for path in seen.writable:
            _allow(rules, path, READ_FILE | WRITE_FILE)
        syscall(RESTRICT, rules, 0)
    finally:
        os.close(rules)
    return abi


def isolate(abi: int) -> None:
    """One more domain, of this process alone: it can signal nobody outside (ABI 6 and later)."""
    if abi < 6:
        return
    rules = _create(0, 0, _since(SCOPES, abi))
    try:
        syscall(RESTRICT, rules, 0)
    finally:
        os.close(rules)


def _create(files: int, tcp: int, scopes: int) -> int:
    packed = struct.pack("QQQ", files, tcp, scopes)
    # an older kernel takes a shorter struct
    size = 24 if scopes else 16 if tcp else 8
    return syscall(CREATE, ctypes.create_string_buffer(packed, 24), size, 0)


def _allow(rules: int, path: str, rights: int) -> None:
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        if not os.path.isdir(path):  # noqa: PTH112 - pathlib is not loaded in the box
            rights &= ~READ_DIR
        packed = struct.pack("=Qi", rights, place)
        syscall(ADD, rules, PATH_BENEATH, ctypes.create_string_buffer(packed, 12), 0)
    finally:
        os.close(place)


def _since(table: dict[int, int], abi: int) -> int:
    return sum(bits for version, bits in table.items() if version <= abi)
