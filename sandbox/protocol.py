"""protocol: what service and client say to each other over HTTP, and how it is checked.

POST /v1/run           {"program": ...} -> {"request": id, "result": ...}
GET  /v1/capabilities  the service's backend, as `sandbox.types.Capabilities`
GET  /health           200 while it takes work; no token needed, and nothing is told
GET  /metrics          Prometheus text

All but /health need `Authorization: Bearer TOKEN`. A request carries X-Request-Id, so that a
repeated one joins what runs already, and X-Deadline, the seconds that its sender will wait.
"""

from __future__ import annotations

import json
import os
import secrets
import stat
from pathlib import Path
from typing import Any, cast

from sandbox.errors import BadProgram, SandboxError, SandboxUnavailable
from sandbox.local import missing_layers
from sandbox.types import UNSAFE, Capabilities, Program, Result, Run
from sandbox.wire import GROWTH, HELD, BadReply, program_of, program_to, run_of, run_to

RUN, ABLE, HEALTH, METRICS = "/v1/run", "/v1/capabilities", "/health", "/metrics"
REQUEST, DEADLINE = "X-Request-Id", "X-Deadline"
TOKEN = "SANDBOX_TOKEN"
"""Environment variable that holds the token, on both sides."""
MOST = 1 << 16
"""Workers of a service that are believed."""
SHORTEST = 16
"""Characters of a token."""


def decode(body: bytes) -> Any:
    """The value of a JSON text; BadReply where it is none, or nested too deep."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadReply(f"{type(error).__name__} in a text of {len(body)} bytes") from None


def request_to(program: Program) -> bytes:
    """The body of a request. Surrogates survive, as JSON escapes."""
    return json.dumps({"program": program_to(program)}, separators=(",", ":")).encode()


def request_of(body: bytes) -> Program:
    """The program of a body; BadProgram where there is none."""
    try:
        return program_of(decode(body)["program"])
    except (BadReply, TypeError, KeyError, RecursionError) as error:
        raise BadProgram(f"not a program: {error}") from None


def reply_to(request: str, result: Result) -> bytes:
    """The body of an answer."""
    told = {
        "runs": [run_to(run, index) for index, run in enumerate(result.runs)],
        "backend": result.backend,
        "layers": list(result.layers),
        "interpreter": result.interpreter,
        "notes": list(result.notes),
    }
    return json.dumps({"request": request, "result": told}, separators=(",", ":")).encode()


def reply_of(body: bytes, request: str, program: Program) -> Result:
    """The result of an answer; BadReply unless it is whole, well-formed, and of this request."""
    said = table(decode(body))
    if said.get("request") != request:
        raise BadReply(f"an answer to request {said.get('request')!r:.80}, not to {request}")
    told = table(said.get("result"))
    runs = tuple(run_of(run, index) for index, run in enumerate(list_of(told.get("runs"))))
    complete(runs, program)
    return Result(
        runs,
        word(told.get("backend")),
        tuple(sorted(word(layer) for layer in list_of(told.get("layers")))),
        word(told.get("interpreter")),
        tuple(word(note) for note in list_of(told.get("notes"))),
    )


def longest_reply(program: Program) -> int:
    """Bytes of the longest answer that a service gives, whatever the program does."""
    limits = program.limits
    return len(program.tests) * GROWTH * (limits.stdout + limits.stderr + HELD) + (1 << 20)


def complete(runs: tuple[Run, ...], program: Program) -> None:
    """BadReply unless there is a run for each test, or the last one is the fault that ended it."""
    wanted, limits = len(program.tests), program.limits
    faults = [run.status != "OK" for run in runs]
    if not runs or len(runs) > wanted:
        raise BadReply(f"{len(runs)} runs of {wanted} tests")
    if len(runs) < wanted and not (faults[-1] and (program.stop_at_fault or _broke(runs))):
        raise BadReply(f"{len(runs)} runs of {wanted} tests, and no fault that ended them")
    if program.stop_at_fault and any(faults[:-1]):
        raise BadReply("runs after the fault that should have ended them")
    if any(len(run.stdout) > limits.stdout for run in runs if run.status == "OK"):
        raise BadReply(f"more than {limits.stdout} bytes of output")


def _broke(runs: tuple[Run, ...]) -> bool:
    return runs[-1].status == "SE"


def able_to(known: Capabilities) -> dict[str, Any]:
    """The JSON of what a backend can do."""
    return {**known.__dict__, "missing": list(known.missing)}


def able_of(body: bytes) -> Capabilities:
    """What a service says of its backend; BadReply where it is nothing of the kind."""
    said = table(decode(body))
    layers = {word(name): word(state) for name, state in table(said.get("layers")).items()}
    workers = said.get("workers", 1)
    if type(workers) is not int or workers < 1:
        raise BadReply(f"no number of workers: {workers!r:.80}")
    return Capabilities(
        word(said.get("backend")),
        said.get("usable") is True,
        layers,
        tuple(word(each) for each in list_of(said.get("missing"))),
        word(said.get("interpreter")),
        workers=min(workers, MOST),
        build=word(said.get("build", "")),
    )


def unfit(known: Capabilities) -> tuple[str, ...]:
    """Why no program may be sent there over a network; nothing where it may."""
    if known.backend == UNSAFE:
        return (f"it is {UNSAFE}, which isolates nothing",)
    if not known.usable:
        return known.missing or ("it runs nothing",)
    return missing_layers(known.layers)


def table(value: Any) -> dict[str, Any]:
    """The value, if it is an object; BadReply."""
    if not isinstance(value, dict):
        raise BadReply(f"no object: {value!r:.80}")
    return cast("dict[str, Any]", value)


def list_of(value: Any) -> list[Any]:
    """The value, if it is a list; BadReply."""
    if not isinstance(value, list):
        raise BadReply(f"no list: {value!r:.80}")
    return cast("list[Any]", value)


def word(value: Any) -> str:
    """The value, if it is a short text; BadReply."""
    if not isinstance(value, str) or len(value) > 4096:
        raise BadReply(f"no short text: {value!r:.80}")
    return value


# -- tokens


def token_of(file: Path | None = None) -> str:
    """From a file that only its owner can read, or from the environment; SandboxUnavailable."""
    if file is None:
        return worthy(os.environ.get(TOKEN, ""), f"the environment variable {TOKEN}")
    try:
        text = file.read_text("utf-8").strip()
        mode = file.stat().st_mode
    except (OSError, ValueError) as error:
        raise SandboxUnavailable(f"no token can be read from {file}: {error}") from error
    if stat.S_IMODE(mode) & 0o077:
        raise SandboxUnavailable(f"{file} can be read by others: chmod 600 {file}")
    return worthy(text, str(file))


def worthy(token: str, place: str) -> str:
    """The token, if it is one; SandboxUnavailable."""
    if not token:
        raise SandboxUnavailable(
            f"a service needs a token, and {place} holds none: "
            "harness sandbox serve --token-file FILE makes one"
        )
    if len(token) < SHORTEST or not token.isascii() or not token.isprintable() or " " in token:
        raise SandboxUnavailable(
            f"{place} holds no good token: at least {SHORTEST} printable ASCII characters, "
            "no blanks"
        )
    return token


def write_token(file: Path) -> str:
    """A new token, in a new file that only its owner can read."""
    token = secrets.token_urlsafe(32)
    try:
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise SandboxError(f"no token can be written to {file}: {error}") from error
    with os.fdopen(handle, "w", encoding="ascii") as opened:
        opened.write(token + "\n")
    return token
