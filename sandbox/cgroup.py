"""cgroup: bounds what a whole box holds, memory and threads, where this process may make groups.

Version 1 needs writable `memory` and `pids` hierarchies, version 2 a delegated group without
processes of its own. A group lives as long as its box; what a killed harness left the next removes.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import time
from pathlib import Path

from sandbox.errors import SandboxError

ROOT = Path("/sys/fs/cgroup")
PREFIX = "sandbox"
THREADS = 256
"""Of all processes in a box together."""
_numbers = itertools.count()


class NoGroup(SandboxError):
    """No group can be made here; the text says why."""


class Group:
    """The groups of one box, one in each hierarchy. NoGroup where they cannot be made."""

    def __init__(self, threads: int = THREADS) -> None:
        self._folders: list[Path] = []
        self._bytes = 0
        name = f"{PREFIX}-{os.getpid()}-{next(_numbers)}"
        try:
            for parent in _parents():
                _sweep(parent)
                (parent / name).mkdir()
                self._folders.append(parent / name)
            _write(self._file("pids.max"), threads)
            self.hold(1 << 40)
        except OSError as error:
            self.remove()
            raise NoGroup(f"refused here: {error}") from None

    def add(self, pid: int) -> None:
        """A process, and all that it will start. OSError where it is gone."""
        for folder in self._folders:
            _write(folder / "cgroup.procs", pid)

    def hold(self, memory: int) -> None:
        """Bytes that all processes of the box may hold together."""
        if memory != self._bytes:
            _write(self._file("memory.limit_in_bytes", "memory.max"), memory)
            self._bytes = memory

    def remove(self, seconds: float = 5.0) -> None:
        """Remove the groups as soon as their last process is gone."""
        until = time.monotonic() + seconds
        for folder in self._folders:
            while folder.exists():
                try:
                    folder.rmdir()
                except OSError:
                    if time.monotonic() > until:
                        break  # the next harness sweeps it
                    time.sleep(0.002)

    def _file(self, *names: str) -> Path:
        for folder in self._folders:
            for name in names:
                if (folder / name).exists():
                    return folder / name
        raise FileNotFoundError(f"no {' or '.join(names)} in {self._folders}")


def _parents() -> list[Path]:
    """The folders of this process's own groups, where a box's may be made."""
    lines = [each.split(":", 2) for each in Path("/proc/self/cgroup").read_text().splitlines()]
    own = {name: path.lstrip("/") for _, names, path in lines for name in names.split(",")}
    if "memory" in own and "pids" in own:
        return [ROOT / name / own[name] for name in ("memory", "pids")]
    parent = ROOT / own.get("", "")
    offered = (parent / "cgroup.subtree_control").read_text().split()
    if not {"memory", "pids"} <= set(offered):
        raise NoGroup(f"{parent} hands no memory and pids controllers down")
    return [parent]


def _sweep(parent: Path) -> None:
    """Remove what harnesses that are gone have left."""
    for folder in parent.glob(f"{PREFIX}-*-*"):
        owner = folder.name.split("-")[1]
        if owner.isdecimal() and not Path(f"/proc/{owner}").exists():
            with contextlib.suppress(OSError):
                folder.rmdir()


def _write(path: Path, value: int) -> None:
    path.write_text(str(value))
