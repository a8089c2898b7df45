"""sandboxfusion: SandboxFusion's `/run_code`.

Its isolation is a setting of its own: none at all, or an overlay of the host's root with chroot, a
cgroup and a network namespace. Which one holds cannot be asked.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from sandbox.adapters import foreign
from sandbox.adapters.foreign import Parcel, Reply
from sandbox.fleet import Fleet, Patience
from sandbox.protocol import decode, table
from sandbox.remote import Client, bounded
from sandbox.types import Capabilities, Program, Result
from sandbox.wire import BadReply

STATUSES = ("Success", "Failed")


class SandboxFusion:
    """A dialect of `sandbox.remote`."""

    name = "sandboxfusion"

    def headers(self) -> Mapping[str, str]:
        """It asks for no token."""
        return {}

    async def able(self, fleet: Fleet) -> Capabilities:
        """Found by running a program."""
        return await foreign.able(self.name, fleet, self.send)

    async def result(self, program: Program, fleet: Fleet) -> Result:
        """Each test a request of its own."""
        return await foreign.result(self.name, program, fleet, self.send)

    async def send(self, parcel: Parcel, fleet: Fleet) -> Reply:
        """What one process showed; Failed where the service itself failed."""
        limits = parcel.limits
        body = {
            "language": "python",
            "code": parcel.code,
            "stdin": parcel.stdin,
            "run_timeout": limits.clock,
            "memory_limit_MB": math.ceil(limits.memory / 2**20) + 256,
        }
        ask = foreign.ask_of("/run_code", body, limits, fleet.patience)

        def fault(said: bytes) -> str:
            told = table(decode(said))
            if told.get("status") == "SandboxError":
                return f"SandboxError: {str(told.get('message'))[:200]}"
            return foreign.overload(parcel, str(_process(told).get("stderr") or ""))

        told = table(decode(await fleet.post(ask, fault)))
        process = _process(told)
        if told.get("status") not in STATUSES:
            raise BadReply(f"status {told.get('status')!r:.80}")
        late = process.get("status") == "TimeLimitExceeded"
        if not late and process.get("status") != "Finished":
            raise BadReply(f"a process with status {process.get('status')!r:.80}")
        code = process.get("return_code")
        if not late and not isinstance(code, int):
            raise BadReply(f"an exit status {code!r:.80}")
        return Reply(
            stdout=str(process.get("stdout") or ""),
            stderr=str(process.get("stderr") or ""),
            code=code if isinstance(code, int) else None,
            stopped="TLE" if late else None,
            wall=foreign.number(process.get("execution_time")),
        )


def _process(told: Mapping[str, Any]) -> Mapping[str, Any]:
    return table(told.get("run_result") or {})


def open_sandboxfusion(
    urls: str, *, patience: Patience | None = None, workers: int | None = None
) -> Client:
    """SandboxFusion at one or several addresses, separated by commas."""
    return Client(SandboxFusion(), urls, bounded(patience, workers))
