"""The nouns of the sandbox: what is run, within which limits, and what came of it.

A program is source code of a stranger, with tests that say how it is run: text on its standard
input, calls of a function, or assertions. No test carries an expected output, since nothing that
would help a program to cheat may enter the box; what was right is judged outside, in `judge`.
Everything here is plain data that crosses process, container and network borders as JSON.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

Status = Literal["OK", "RE", "TLE", "MLE", "OLE", "CE", "SE"]
"""How one run ended: OK (clean exit, output complete), runtime error, CPU or wall limit, memory,
output cap, source does not compile, fault of the sandbox itself."""

Outcome = Literal["AC", "WA", "RE", "TLE", "MLE", "OLE", "CE", "SE"]
"""A run once it is judged: OK became AC (right) or WA (wrong)."""

UNSAFE = "unsafe-process"
"""The backend that isolates nothing but resources: for debugging, never on a board."""

Pool = Literal["lean", "scientific"]
Isolation = Literal["program", "test"]


SCIENTIFIC = 3 << 30
"""Bytes of address space that numpy, scipy, pandas and sympy get on top of a program's limit."""


@dataclass(frozen=True)
class Limits:
    """What one test may use. Held from outside of the program."""

    cpu: float = 6.0
    """CPU seconds."""
    wall: float | None = None
    """Seconds on the clock; 3 * cpu + 2 where None."""
    memory: int = 1 << 30
    """Bytes of address space; the scientific pool adds `SCIENTIFIC` to it."""
    stack: int = 64 << 20
    """Bytes."""
    stdout: int = 1 << 20
    """Bytes that a program may write; more is OLE."""
    stderr: int = 64 << 10
    """Bytes that are kept; the rest is read and dropped."""
    source: int = 64 << 10
    """Bytes of source; more is CE."""

    @property
    def clock(self) -> float:
        """The wall limit in seconds."""
        return 3 * self.cpu + 2 if self.wall is None else self.wall


@dataclass(frozen=True)
class Stdin:
    """Run the program as `__main__` with this text on its standard input."""

    text: str


@dataclass(frozen=True)
class Call:
    """Call `Solution().name(*arguments)`, or the function of that name where there is no class."""

    name: str
    arguments: tuple[Any, ...]
    """JSON values."""


@dataclass(frozen=True)
class Assertions:
    """Run trusted test code against the submission.

    Split (default): the test runs in a process of its own, and what it calls is a proxy whose
    calls are served by the process that holds the submission. `split=False` runs both in one
    process, for tests that hand over classes or types; its result is flagged `weak`.
    """

    code: str
    """Of the data set. Not secret from a program that shares its process: hence the split."""
    entry: str = ""
    """The name of the function under test; empty: the names that `code` uses and the submission
    defines."""
    split: bool = True


Test = Stdin | Call | Assertions


@dataclass(frozen=True)
class Program:
    """One submission and how it is run."""

    source: str
    tests: tuple[Test, ...]
    limits: Limits = Limits()
    prefix: str = ""
    """Trusted code that runs before the source, in its name space (common imports)."""
    pool: Pool | Literal["auto"] = "auto"
    """Auto: scientific where the source names numpy, sympy, pandas or scipy."""
    isolation: Isolation = "program"
    """A process for all tests, the name space rebuilt for each; or a process for each test."""
    stop_at_fault: bool = True
    """Tests after the first that did not end OK are not run (and are absent from the result)."""


@dataclass(frozen=True)
class Run:
    """What one test showed. Only data of the box: nothing here says whether it is right."""

    status: Status
    stdout: bytes = b""
    """Of `Stdin` tests, at most `limits.stdout` bytes."""
    value: str | None = None
    """Of `Call` tests that ended OK: the returned value as JSON text, unparsed."""
    flattened: str = ""
    """What that text does not show: "t", a tuple inside the value became a list; "k", a key that is
    no string became one. A tuple that is the value itself is not told of."""
    stderr: str = ""
    """The tail of what was written there, or of the traceback."""
    detail: str = ""
    """Why the status is not OK, one line: exception type, signal, limit."""
    cpu: float = 0.0
    """Seconds."""
    wall: float = 0.0
    """Seconds."""
    memory: int = 0
    """Peak resident bytes of the process."""
    weak: bool = False
    """Submission and test shared a process."""
    used: bool = False
    """The process had run an earlier test of the program. Only runs that ended OK are of such."""


@dataclass(frozen=True)
class Result:
    """All runs of one program, in the order of its tests."""

    runs: tuple[Run, ...]
    """As many as tests, or fewer where `stop_at_fault` ended it (the last is then not OK)."""
    backend: str
    """local, docker, remote, piston, sandboxfusion, unsafe-process."""
    layers: tuple[str, ...]
    """Active isolation layers, sorted: rlimits, no_new_privs, seccomp, landlock, pivot_root,
    namespaces.pid, namespaces.net, ..., cgroup, container."""
    interpreter: str
    """Implementation, version and platform of what ran it, e.g. `cpython-3.11.7-linux-x86_64`."""
    notes: tuple[str, ...] = field(default=())


@dataclass(frozen=True)
class Capabilities:
    """What a backend can do here, found by witness: each attempt to break out was refused."""

    backend: str
    usable: bool
    layers: dict[str, str]
    """Layer -> "on", or why it is off."""
    missing: tuple[str, ...] = ()
    """Required layers that are off, each with how to get it. Not empty: the backend refuses."""
    interpreter: str = ""
    speed: float = 0.0
    """CPU seconds of a fixed loop on the reference machine over those here: 2 is twice as fast.

    No limit is scaled by it; it is stored so that verdicts of TLE can be compared. 0: not measured.
    """
    workers: int = 1
    """Programs that can run side by side."""
    build: str = ""
    """Of the sandbox where programs run, and of the packages in its boxes; empty: unknown."""


@runtime_checkable
class Backend(Protocol):
    """Something that runs programs. Thread-safe; `close` may be called twice."""

    name: str

    def capabilities(self) -> Capabilities:
        """What works here; measured once, then remembered."""
        ...

    def run(self, programs: Sequence[Program]) -> Iterator[tuple[int, Result]]:
        """Each program's index with its result, as soon as it is there, in any order.

        Raises SandboxUnavailable where required layers are missing, before anything is run.
        A fault of the machinery is a result whose runs have status SE: it never raises, and
        never passes.
        """
        ...

    def close(self) -> None:
        """Stop all processes; nothing is left behind."""
        ...
