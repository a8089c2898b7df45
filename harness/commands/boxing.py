"""Which sandbox judges the programs of a command, and what a run says of it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from harness.errors import HarnessError, JudgeUnavailable, UsageError


def choose(spec: str, *, unsafe: bool = False, cache: Path | None = None) -> None:
    """Take a sandbox for this process; it is opened when programs are to be judged.

    UsageError where the spec names none, JudgeUnavailable for `unsafe-process` without `unsafe`.
    """
    from sandbox.errors import SandboxError
    from sandbox.session import SESSION

    try:
        SESSION.choose(spec, unsafe=unsafe, folder=cache)
    except SandboxError as error:
        raise told(error) from error


def told(error: Exception) -> HarnessError:
    """An error of the sandbox in the house's words."""
    from sandbox.errors import BadProgram, BadSpec, SandboxUnavailable

    if isinstance(error, BadSpec | BadProgram):
        return UsageError(str(error))
    return (JudgeUnavailable if isinstance(error, SandboxUnavailable) else HarnessError)(str(error))


def report() -> dict[str, Any]:
    """Backend, layers, interpreter and counts, for a run's report; empty where nothing was run."""
    session = _session()
    found: dict[str, Any] = session.described() if session is not None else {}
    return {"sandbox": found} if found else {}


def mark() -> dict[str, str]:
    """A setting that keeps what was judged without isolation apart, and off the boards."""
    from sandbox.types import UNSAFE

    session = _session()
    return {"sandbox": UNSAFE} if session is not None and session.unsafe else {}


def _session() -> Any:
    """The process' session, if anybody asked for one: commands that run no programs load none."""
    module = sys.modules.get("sandbox.session")
    return module.SESSION if module is not None else None
