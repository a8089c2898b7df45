"""local: boxes that are processes of this machine, for Linux, as root or as an ordinary user."""

from __future__ import annotations

import atexit
import os
import sys
import sysconfig
import threading
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from sandbox import identity, probe
from sandbox.cgroup import Group, NoGroup
from sandbox.errors import SandboxUnavailable
from sandbox.pool import Workers
from sandbox.types import Capabilities, Program, Result
from sandbox.wire import PACKAGES, Kind, check, kind_of
from sandbox.worker import ENVIRONMENT, Broken, PipeWire, Worker, zygote_argv

REQUIRED = ("rlimits", "no_new_privs", "capabilities", "seccomp")
EITHER = ("landlock", "pivot_root")
"""One of them has to be on."""
HOW = {
    "seccomp": "a Linux kernel with CONFIG_SECCOMP_FILTER on x86-64 or aarch64",
    "landlock": "Linux 5.13 or newer with landlock among the active security modules (lsm=)",
    "pivot_root": "user namespaces: see the sysctls kernel.unprivileged_userns_clone, "
    "kernel.apparmor_restrict_unprivileged_userns and user.max_user_namespaces",
    "rlimits": "do not switch it off",
    "no_new_privs": "Linux 3.5 or newer",
    "capabilities": "x86-64 or aarch64",
}
_measured: dict[tuple[tuple[str, ...], str], Capabilities] = {}
_measuring = threading.Lock()
_open: weakref.WeakSet[LocalBackend] = weakref.WeakSet()


class LocalBackend:
    """Warm boxes on this machine. Thread-safe; usable as a context manager.

    `workers` programs run side by side (default: one for each core). `off` leaves layers out; the
    backend refuses to run if what is left is not enough. `python` is the interpreter of the boxes.
    """

    name = "local"

    def __init__(
        self, workers: int | None = None, *, off: Sequence[str] = (), python: str = sys.executable
    ) -> None:
        self._off = tuple(off)
        self._python = python
        self._count = workers or os.cpu_count() or 1
        self._workers = Workers(self.name, self._count, self._start, kind_of)
        _open.add(self)

    def capabilities(self) -> Capabilities:
        """What works here; measured once, then remembered."""
        asked = (self._off, self._python)
        with _measuring:
            found = _measured.get(asked) or self._measured()
            if found.usable:
                _measured[asked] = found
            return replace(found, workers=self._count, build=identity.build())

    def run(self, programs: Sequence[Program]) -> Iterator[tuple[int, Result]]:
        """See `sandbox.types.Backend.run`."""
        programs = list(programs)
        for program in programs:
            check(program)
        known = self.capabilities()
        if not known.usable:
            raise SandboxUnavailable(
                "model-written code is not run here, as isolation is missing:\n  "
                + "\n  ".join(known.missing)
            )
        return self._workers.run(programs)

    def close(self) -> None:
        """Stop all processes; nothing is left behind."""
        self._workers.close()

    def __enter__(self) -> LocalBackend:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _box(self, kind: Kind) -> Worker:
        plan: dict[str, Any] = {"off": self._off, "modules": [], "paths": []}
        if kind != "lean":
            folders = {sysconfig.get_path(each) for each in ("purelib", "platlib")}
            modules = PACKAGES if kind == "scientific" else ("numpy",)
            plan |= {"modules": modules, "paths": sorted(folders)}
        group, reason = self._group()
        wire = PipeWire(zygote_argv(self._python), ENVIRONMENT, group)
        worker = Worker(wire, plan, group.hold if group else None)
        worker.layers["cgroup"] = reason
        return worker

    def _group(self) -> tuple[Group | None, str]:
        if "cgroup" in self._off:
            return None, "switched off"
        try:
            return Group(), "on"
        except (NoGroup, OSError) as error:
            return None, str(error)

    def _start(self, kind: Kind) -> Worker:
        """A box that has shown that it holds."""
        worker = self._box(kind)
        try:
            found = [*missing_layers(worker.layers), *probe.leaks(worker)]
            if found:
                raise Broken(f"the box does not hold: {'; '.join(found)}")
        except BaseException:
            worker.close()
            raise
        return worker

    def _measured(self) -> Capabilities:
        if not sys.platform.startswith("linux"):
            why = f"local needs Linux, this is {sys.platform}; use docker or remote"
            return Capabilities(self.name, False, {}, (why,))
        try:
            worker = self._box("lean")
        except (Broken, OSError) as error:
            return Capabilities(self.name, False, {}, (f"no box starts: {error}",))
        try:
            missing = missing_layers(worker.layers)
            leaks = [*probe.leaks(worker), *probe.outlives(worker)]
            missing += tuple(f"a witness got out: {leak}" for leak in leaks)
            speed = 0.0 if missing else probe.speed(worker)
        except Broken as error:
            missing, speed = (f"the witness could not be run: {error}",), 0.0
        finally:
            worker.close()
        told = (worker.layers, missing, worker.interpreter, speed)
        return Capabilities(self.name, not missing, *told)


def missing_layers(layers: dict[str, str]) -> tuple[str, ...]:
    """Required layers that are off, each with the reason and how to get it."""

    def told(name: str) -> str:
        return f"{name}: {layers.get(name, 'unknown')}; needs {HOW[name]}"

    missing = [told(name) for name in REQUIRED if layers.get(name) != "on"]
    if not any(layers.get(name) == "on" for name in EITHER):
        missing.append(" or ".join(told(name) for name in EITHER))
    return tuple(missing)


def _renew() -> None:
    global _measuring
    _measuring = threading.Lock()


os.register_at_fork(after_in_child=_renew)  # another thread may have held it


@atexit.register
def _close_all() -> None:
    for backend in list(_open):
        backend.close()
