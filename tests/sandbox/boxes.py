"""What tests of the boxes share: programs in a line, and who is still alive."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sandbox.types import Backend, Program, Result, Run, Stdin


def stdin(source: str, *texts: str, **settings: Any) -> Program:
    """A program that reads its standard input, by default once and empty."""
    return Program(source, tuple(Stdin(text) for text in texts or ("",)), **settings)


def results(backend: Backend, programs: Sequence[Program]) -> list[Result]:
    """All results, in the order of the programs; each index comes once."""
    found = dict(backend.run(programs))
    assert sorted(found) == list(range(len(programs)))
    return [found[index] for index in range(len(programs))]


def runs(backend: Backend, program: Program) -> tuple[Run, ...]:
    """The runs of one program."""
    (result,) = results(backend, [program])
    return result.runs


def one(backend: Backend, program: Program) -> Run:
    """The only run of a program with one test."""
    (run,) = runs(backend, program)
    return run


def descendants(pid: int | str = "self") -> set[int]:
    """Process numbers of all that live below a process."""
    found: set[int] = set()
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(OSError):
                for child in (task / "children").read_text().split():
                    found |= {int(child)} | descendants(child)
    return found


def alive(pid: int) -> bool:
    """Whether it exists and is no zombie."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


def groups(pid: int) -> list[Path]:
    """The cgroups of the boxes of one harness."""
    return [path for path in Path("/sys/fs/cgroup").glob(f"**/sandbox-{pid}-*") if path.is_dir()]


def all_gone(pids: set[int], seconds: float = 30.0) -> bool:
    """Whether all of them end within that time."""
    until = time.monotonic() + seconds
    while any(map(alive, pids)) and time.monotonic() < until:
        time.sleep(0.02)
    return not any(map(alive, pids))
