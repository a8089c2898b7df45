"""piston: Piston's `/api/v2/execute`.

Its defaults are too tight for contests: 3 s, 1024 bytes of output, 100 kB of request. A service
that refuses a request says which of its settings stands in the way.
"""

from __future__ import annotations

import signal
from collections.abc import Mapping
from typing import Any

from sandbox.adapters import foreign
from sandbox.adapters.foreign import Parcel, Reply
from sandbox.fleet import Ask, Failed, Fleet, Patience, Refused
from sandbox.protocol import decode, list_of, table
from sandbox.remote import Client, bounded
from sandbox.types import Capabilities, Program, Result, Status
from sandbox.wire import BadReply

STOPPED: dict[str, Status] = {"TO": "TLE", "OL": "OLE", "EL": "OLE"}
"""Why it ended a process: too long, too much output, too much error output."""


class Piston:
    """A dialect of `sandbox.remote`."""

    name = "piston"

    def __init__(self, version: str = "3.x") -> None:
        self._version = version

    def headers(self) -> Mapping[str, str]:
        """It asks for no token."""
        return {}

    async def able(self, fleet: Fleet) -> Capabilities:
        """Found by running a program."""
        try:
            for each in fleet.addresses:
                told = decode(await each.ask(Ask("/api/v2/runtimes", b"", 30, {}), "GET"))
                names = [table(runtime).get("language") for runtime in list_of(told)]
                if "python" not in names:
                    raise BadReply(f"{each.url} has no python: ppman install python")
        except (Failed, Refused, BadReply) as error:
            return Capabilities(self.name, False, {}, (f"no piston: {error}",))
        return await foreign.able(self.name, fleet, self.send)

    async def result(self, program: Program, fleet: Fleet) -> Result:
        """Each test a request of its own."""
        return await foreign.result(self.name, program, fleet, self.send)

    async def send(self, parcel: Parcel, fleet: Fleet) -> Reply:
        """What one process showed; Failed where the service itself failed."""
        limits = parcel.limits
        body = {
            "language": "python",
            "version": self._version,
            "files": [{"name": "main.py", "content": parcel.code}],
            "stdin": parcel.stdin,
            "run_timeout": round(limits.clock * 1000),
            "run_memory_limit": -1,  # the driver holds its process to the program's own limit
        }
        ask = foreign.ask_of("/api/v2/execute", body, limits, fleet.patience)

        def fault(said: bytes) -> str:
            process = _process(said)
            if process.get("status") == "XX":
                return f"piston failed: {str(process.get('message'))[:200]}"
            return foreign.overload(parcel, str(process.get("stderr") or ""))

        process = _process(await fleet.post(ask, fault))
        code = _code(process)
        stopped = STOPPED.get(str(process.get("status")))
        if stopped is None and code == -signal.SIGKILL and "status" not in process:
            stopped = "TLE"  # an old one does not say why; a timeout is the usual reason
        return Reply(
            stdout=str(process.get("stdout") or ""),
            stderr=str(process.get("stderr") or ""),
            code=code,
            stopped=stopped,
            wall=foreign.number(process.get("wall_time")) / 1000,
        )


def _process(said: bytes) -> Mapping[str, Any]:
    return table(table(decode(said)).get("run"))


def _code(process: Mapping[str, Any]) -> int:
    """The exit status, or the signal below zero."""
    code, name = process.get("code"), process.get("signal")
    if isinstance(code, int):
        return code
    try:
        return -signal.Signals[str(name)]
    except KeyError:
        raise BadReply(f"neither exit status nor signal: {code!r:.40}, {name!r:.40}") from None


def open_piston(
    urls: str, *, patience: Patience | None = None, workers: int | None = None
) -> Client:
    """Piston at one or several addresses, separated by commas."""
    return Client(Piston(), urls, bounded(patience, workers))
