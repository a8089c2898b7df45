"""The session: one warm backend for a whole process, a cache of verdicts, a count of faults.

Commands choose the backend once; whoever judges asks `judged`. It is opened at the first program,
shared by all threads, and closed when the process ends. Where required isolation is missing, or
more than 1 % of the programs came to nothing by a fault of the machinery, SandboxUnavailable stops
what goes on: no weaker backend stands in, and no fault becomes a score.
"""

from __future__ import annotations

import atexit
import hashlib
import json
import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from sandbox import identity
from sandbox.errors import SandboxFault, SandboxUnavailable
from sandbox.judge import Judgement, Submission, judge_one
from sandbox.open import open_backend, read
from sandbox.types import UNSAFE, Backend, Capabilities

FAULTS = 0.01
"""Share of programs that may come to nothing."""
FIRST = 3
"""Faults from which that share is looked at; one of the first ten programs says little."""
REMEMBERED = 20_000
"""Judgements that stay in memory."""
Opener = Callable[[str], Backend]


@dataclass
class Session:
    """The process' way to a backend. Thread-safe."""

    spec: str = "local"
    """As `sandbox.open.read` reads it."""
    folder: Path | None = None
    """Where judgements are kept from one process to the next; None: in memory only."""
    opener: Opener | None = None
    """What opens a spec; None: `open_backend`."""
    accepted: bool = False
    """Whether a backend that does not isolate may be opened."""
    programs: int = 0
    """Judged so far, those from the cache aside."""
    faults: int = 0
    hits: int = 0
    """Judgements that came from the cache."""
    _backend: Backend | None = field(default=None, repr=False)
    _environment: str = field(default="", repr=False)
    _known: OrderedDict[str, Judgement] = field(
        default_factory=OrderedDict[str, Judgement], repr=False
    )
    _lock: Any = field(default_factory=threading.RLock, repr=False)

    def choose(self, spec: str, *, unsafe: bool = False, folder: Path | None = None) -> None:
        """Take another backend, from the next program on. Errors are those of `open.read`.

        `unsafe-process` isolates nothing but resources: SandboxUnavailable unless `unsafe`.
        """
        read(spec, accepted=unsafe)
        with self._lock:
            self.accepted = unsafe
            if spec != self.spec:
                self.close()
                self.spec = spec
            self.folder = folder or self.folder

    def judged(self, submission: Submission) -> Judgement:
        """The judgement on a submission, from the cache where it is there.

        Raises BadProgram for one without cases, SandboxFault where the machinery failed twice,
        SandboxUnavailable where there is no backend, or none that can be relied on.
        """
        submission.checked()
        backend = self.backend()
        key = digest(submission, self._environment)
        known = self._recalled(key)
        if known is not None:
            return known
        found = judge_one(backend, submission)
        with self._lock:
            self.programs += 1
            self.faults += found.outcome == "SE"
            if found.outcome == "SE":
                self._complain(found)
            self._remember(key, found)
        return found

    def backend(self) -> Backend:
        """The backend, opened if it is not."""
        with self._lock:
            if self._backend is None:
                try:
                    self._backend = self._opened()
                except ImportError as error:
                    told = f"the sandbox '{self.spec}' cannot be opened here: {error}"
                    raise SandboxUnavailable(told) from error
                there = self._backend.capabilities()
                if missing := self._refused(there):
                    self.close()
                    raise SandboxUnavailable(f"the sandbox '{self.spec}' runs nothing: {missing}")
                self._environment = environment(there)
            return self._backend

    def _opened(self) -> Backend:
        if self.opener is not None:
            return self.opener(self.spec)
        return open_backend(self.spec, accepted=self.accepted)

    def _refused(self, there: Capabilities) -> str:
        """Why nothing is run there; empty where nothing speaks against it."""
        if not there.usable:
            return "; ".join(there.missing) or "it cannot be used here"
        if there.backend == UNSAFE and not self.accepted:
            return f"it is {UNSAFE}, and that was not accepted"
        return ""

    @property
    def unsafe(self) -> bool:
        """Whether programs are judged without isolation: by the backend's word, once it is open."""
        with self._lock:
            if self._backend is None:
                return read(self.spec, accepted=True)[0] == UNSAFE
            return self._backend.capabilities().backend == UNSAFE

    def at_once(self) -> int:
        """Programs that are best given at a time: one that runs, and one that waits, a worker.

        Opens the backend, and raises as `backend` does.
        """
        return 2 * max(1, self.backend().capabilities().workers)

    def described(self) -> dict[str, Any]:
        """What judged, for a run's report; empty where nothing was judged."""
        with self._lock:
            if self._backend is None:
                return {}
            there = self._backend.capabilities()
            return {
                "backend": there.backend,
                "layers": sorted(name for name, state in there.layers.items() if state == "on"),
                "interpreter": there.interpreter,
                "programs": self.programs,
                "cached": self.hits,
                "faults": self.faults,
            }

    def close(self) -> None:
        """Stop the backend; the next program opens it again."""
        with self._lock:
            if self._backend is not None:
                self._backend.close()
            self._backend = None

    def _complain(self, found: Judgement) -> None:
        if self.faults >= FIRST and self.faults > FAULTS * self.programs:
            raise SandboxUnavailable(
                f"{self.faults} of {self.programs} programs came to nothing by a fault of the "
                f"sandbox '{self.spec}' (the last one: {found.note}). Mend it, as `harness doctor` "
                "says, and run the same command again"
            )
        raise SandboxFault(f"the sandbox '{self.spec}' failed twice: {found.note}")

    def _recalled(self, key: str) -> Judgement | None:
        with self._lock:
            if key in self._known:
                self._known.move_to_end(key)
                self.hits += 1
                return self._known[key]
        found = _read(self.folder / key[:2] / f"{key}.json") if self.folder else None
        if found is not None:
            with self._lock:
                self.hits += 1
                self._remember(key, found, store=False)
        return found

    def _remember(self, key: str, found: Judgement, store: bool = True) -> None:
        self._known[key] = found
        while len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        if store and self.folder is not None and "TLE" not in found.outcomes:
            _write(self.folder / key[:2] / f"{key}.json", found)


def environment(there: Capabilities) -> str:
    """All besides a submission that its judgement follows from: the judge, and what runs it."""
    layers = sorted(name for name, state in there.layers.items() if state == "on")
    return json.dumps([there.backend, there.interpreter, layers, there.build, identity.sources()])


def digest(submission: Submission, environment: str) -> str:
    """SHA-256 of all that a judgement follows from: source, cases, rules, limits, environment."""
    kinds = [type(case.test).__name__ for case in submission.cases]
    told = json.dumps([asdict(submission), kinds, environment], sort_keys=True)
    return hashlib.sha256(told.encode("utf-8", "surrogatepass")).hexdigest()


def _read(path: Path) -> Judgement | None:
    """A judgement from disk; None where there is none that can be read."""
    try:
        table: dict[str, Any] = json.loads(path.read_bytes())
        for name in ("outcomes", "notes", "layers"):
            table[name] = tuple(table[name])
        found = Judgement(**table)
        return found if found.outcome != "SE" else None
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None


def _write(path: Path, found: Judgement) -> None:
    """A file, whole or not at all; a cache that cannot be written is no error."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.write_text(json.dumps(asdict(found)), "utf-8")
        draft.replace(path)


SESSION = Session()
"""That of this process."""
atexit.register(SESSION.close)
