"""docker_backend: boxes in containers of a known image, warm, without network, one for each worker.

The box inside is that of the local backend, with the same keeper, zygote and layers as far as the
container admits them; the container stands around it. Default settings refuse namespaces within, so
there `landlock` and `seccomp` separate programs from each other, and the container all from us.
"""

from __future__ import annotations

import atexit
import json
import os
import threading
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

from sandbox import engine, identity, image, probe
from sandbox.errors import BadProgram, SandboxUnavailable
from sandbox.local import missing_layers
from sandbox.pool import Workers
from sandbox.types import SCIENTIFIC, Capabilities, Pool, Program, Result
from sandbox.wire import Kind, check
from sandbox.worker import ENVIRONMENT, Broken, Worker, zygote_argv


@dataclass(frozen=True)
class Box:
    """What one container may use."""

    memory: int = 5 << 29
    """Bytes, without swap; two programs of the default limit at once, and the zygote. The
    scientific pool's containers have `SCIENTIFIC` more."""
    processes: int = 256
    """Processes and threads."""
    scratch: int = 16 << 20
    """Bytes of /tmp, in memory; no file there can be started."""
    cpus: float = 2.0
    """At most; never more than the engine has."""
    runtime: str | None = None
    """Another runtime of the engine, e.g. `runsc` for gVisor."""


class DockerBackend:
    """Warm boxes in containers. Thread-safe; usable as a context manager.

    `tag` names an image other than the one of `harness sandbox image`; `workers` containers run
    side by side (default: as many as the engine has cores). `off` leaves layers out, as in
    `LocalBackend`.
    """

    name = "docker"

    def __init__(
        self,
        tag: str = "",
        *,
        workers: int | None = None,
        box: Box | None = None,
        off: Sequence[str] = (),
    ) -> None:
        self._tag, self._box, self._off = tag, box or Box(), tuple(off)
        self._count = workers or os.cpu_count() or 1
        self._workers = Workers(self.name, self._count, self._start)
        self._lock = threading.Lock()
        self._known: Capabilities | None = None
        _open.add(self)

    def capabilities(self) -> Capabilities:
        """What works here; measured once, then remembered."""
        with self._lock:
            if self._known is None:
                self._known = self._measured()
            return self._known

    def run(self, programs: Sequence[Program]) -> Iterator[tuple[int, Result]]:
        """See `sandbox.types.Backend.run`."""
        programs = list(programs)
        for program in programs:
            check(program)
            if program.limits.memory > self._box.memory:
                raise BadProgram(
                    f"limits.memory is {program.limits.memory} bytes, a container has "
                    f"{self._box.memory}: give DockerBackend a larger Box(memory=...)"
                )
        known = self.capabilities()
        if not known.usable:
            raise SandboxUnavailable(
                "model-written code is not run in containers here:\n  " + "\n  ".join(known.missing)
            )
        return self._workers.run(programs)

    def close(self) -> None:
        """Remove all containers; nothing is left behind."""
        self._workers.close()

    def __enter__(self) -> DockerBackend:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _start(self, kind: Kind) -> Worker:
        """A box that has shown that it holds."""
        worker = self._started(kind)
        try:
            found = [*missing_layers(worker.layers), *probe.leaks(worker)]
            if found:
                raise Broken(f"the box does not hold: {'; '.join(found)}")
        except BaseException:
            worker.close()
            raise
        return worker

    def _started(self, kind: Kind) -> Worker:
        """A new container with a box that is ready; Broken or SandboxUnavailable."""
        pool: Pool = "lean" if kind == "lean" else "scientific"
        client = engine.connect()
        try:
            engine.sweep(client)
            tag = self._tag or image.name(pool)
            plan = _plan_of(engine.image_of(client, tag).labels, tag)
            command = zygote_argv(plan["python"], image.HOME)
            wire = engine.ContainerWire(client, command, self._options(client, tag, pool))
        except Exception as error:
            client.close()
            if isinstance(error, SandboxUnavailable):
                raise
            raise Broken(f"no container starts: {error}") from error
        if kind == "numpy":  # what has less in it forks faster
            plan["modules"] = [each for each in plan["modules"] if each == kind]
        worker = Worker(wire, {**plan, "off": self._off})
        worker.layers = {**worker.layers, "container": "on"}
        return worker

    def _options(self, client: Any, tag: str, pool: Pool) -> dict[str, Any]:
        """What the engine is asked for."""
        box = self._box
        memory = box.memory + (SCIENTIFIC if pool == "scientific" else 0)
        cores = float(client.info().get("NCPU") or 1)
        return {
            "image": tag,
            "environment": ENVIRONMENT,
            "working_dir": "/",
            "user": "65534:65534",
            "labels": {engine.OWNER: engine.owner()},
            "stdin_open": True,
            "network_mode": "none",
            "ipc_mode": "private",
            "read_only": True,
            "tmpfs": {"/tmp": f"size={box.scratch},noexec,nosuid,nodev"},
            "mem_limit": memory,
            "memswap_limit": memory,
            "pids_limit": box.processes,
            "nano_cpus": int(min(box.cpus, cores) * 1e9),
            "cap_drop": ["ALL"],
            "security_opt": ["no-new-privileges"],
            "init": True,
            "log_config": {"type": "none"},
            "runtime": box.runtime,
        }

    def _measured(self) -> Capabilities:
        try:
            worker = self._started("lean")
        except SandboxUnavailable as error:
            return Capabilities(self.name, False, {}, (str(error),))
        except (Broken, OSError) as error:
            return Capabilities(self.name, False, {}, (f"no box starts: {error}",))
        try:
            missing = missing_layers(worker.layers)
            leaks = [*probe.leaks(worker), *probe.outlives(worker)]
            missing += tuple(f"a witness got out: {leak}" for leak in leaks)
        except Broken as error:
            missing = (f"the witness could not be run: {error}",)
        finally:
            worker.close()
        told = (worker.layers, missing, worker.interpreter)
        build = f"{identity.build()} {self._tag}".strip()
        return Capabilities(self.name, not missing, *told, workers=self._count, build=build)


def _plan_of(labels: dict[str, str], tag: str) -> dict[str, Any]:
    """What an image says of its interpreter."""
    try:
        plan = json.loads(labels[image.LABEL])
        found = {"python": str(plan["python"]), "paths": plan["paths"], "modules": plan["modules"]}
    except (KeyError, TypeError, ValueError) as error:
        raise SandboxUnavailable(
            f"{tag} is no image of ours (label {image.LABEL}: {error!r}): harness sandbox image"
        ) from error
    return cast("dict[str, Any]", found)


_open: weakref.WeakSet[DockerBackend] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    for backend in list(_open):
        backend.close()
