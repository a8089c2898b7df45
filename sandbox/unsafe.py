"""unsafe-process: the same boxes with resource limits only, for debugging programs of one's own.

Nothing keeps a program from the files, the network or the other processes of whoever runs it. It is
opened by its name only where that was accepted (`sandbox.open`), and neither training nor a service
has a way to accept it.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator, Sequence

from sandbox import identity
from sandbox.pool import Workers
from sandbox.types import UNSAFE, Capabilities, Pool, Program, Result
from sandbox.wire import check
from sandbox.worker import ENVIRONMENT, PipeWire, Worker, zygote_argv

OFF = ("namespaces", "landlock", "seccomp", "capabilities", "no_new_privs", "pivot_root")


class UnsafeBackend:
    """Processes of this machine, behind rlimits only. Thread-safe."""

    name = UNSAFE

    def __init__(self, workers: int | None = None) -> None:
        self._count = workers or os.cpu_count() or 1
        self._workers = Workers(self.name, self._count, self._start)
        self._lock = threading.Lock()
        self._known: Capabilities | None = None

    def capabilities(self) -> Capabilities:
        """Usable, and nothing but limits on."""
        with self._lock:
            if self._known is None:
                worker = self._start("lean")
                layers, interpreter = worker.layers, worker.interpreter
                worker.close()
                told = (layers, (), interpreter)
                self._known = Capabilities(
                    self.name, True, *told, workers=self._count, build=identity.build()
                )
            return self._known

    def run(self, programs: Sequence[Program]) -> Iterator[tuple[int, Result]]:
        """See `sandbox.types.Backend.run`."""
        for program in programs:
            check(program)
        return self._workers.run(list(programs))

    def close(self) -> None:
        """Stop all processes."""
        self._workers.close()

    def _start(self, pool: Pool) -> Worker:
        plan = {"off": OFF, "modules": [], "paths": sys.path if pool == "scientific" else []}
        return Worker(PipeWire(zygote_argv(sys.executable), ENVIRONMENT), plan)
