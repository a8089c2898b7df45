"""`harness sandbox`: its container image, its service, one program, and what it refuses."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from sandbox.types import Backend, Result

Flag = typer.Option


class Action(StrEnum):
    """What is to be done."""

    image = "image"
    serve = "serve"
    run = "run"
    check = "check"


SHARED = {"backend", "workers", "token_file", "unsandboxed"}
OF: dict[Action, set[str]] = {
    Action.image: {"scientific", "name"},
    Action.serve: {"backend", "workers", "token_file", "host", "port", "waiting"},
    Action.run: {*SHARED, "program", "stdin", "seconds"},
    Action.check: SHARED,
}
"""What an action is told by; anything else that is given is refused."""


def run(
    ctx: typer.Context,
    action: Annotated[
        Action,
        typer.Argument(
            help="image: make the container image; serve: answer over HTTP; run: one program; "
            "check: try what must be refused",
        ),
    ],
    program: Annotated[
        Path | None, typer.Argument(metavar="[PROGRAM]", help="of run: a file of Python")
    ] = None,
    backend: Annotated[
        str, Flag("--backend", help="local, docker, remote:URL, sandboxfusion:URL, piston:URL")
    ] = "local",
    unsandboxed: Annotated[
        bool,
        Flag(
            "--i-accept-unsandboxed-code",
            help="of run and check: permits --backend unsafe-process",
        ),
    ] = False,
    workers: Annotated[
        int | None, Flag("--workers", min=1, help="programs side by side; default: cores")
    ] = None,
    stdin: Annotated[
        Path | None, Flag("--stdin", help="of run: a file that the program reads")
    ] = None,
    seconds: Annotated[float, Flag("--seconds", min=0.1, help="of run: CPU seconds")] = 6.0,
    scientific: Annotated[
        bool, Flag("--scientific", help="of image: with numpy, sympy, pandas and scipy")
    ] = False,
    name: Annotated[bool, Flag("--name", help="of image: print its name, make nothing")] = False,
    host: Annotated[str, Flag("--host", help="of serve")] = "127.0.0.1",
    port: Annotated[int, Flag("--port", min=0, max=65535, help="of serve; 0: a free one")] = 8787,
    waiting: Annotated[int, Flag("--queue", min=0, help="of serve: programs that may wait")] = 64,
    token_file: Annotated[
        Path | None,
        Flag("--token-file", help="of serve and remote; made where serve finds none"),
    ] = None,
) -> None:
    """Run untrusted programs: make the image, serve over HTTP, run one, check what is refused."""
    from harness.commands import boxing
    from harness.errors import UsageError
    from sandbox.errors import SandboxError

    _check_flags(ctx, action, backend)
    try:
        if action is Action.image:
            _image("scientific" if scientific else "lean", name=name)
        elif action is Action.serve:
            _serve(backend, workers, (host, port), waiting, token_file)
        elif action is Action.check:
            _check(_opened(backend, workers, token_file, unsandboxed))
        elif program is None:
            raise UsageError("harness sandbox run PROGRAM: which file of Python is to be run?")
        else:
            _run(_opened(backend, workers, token_file, unsandboxed), program, stdin, seconds)
    except SandboxError as error:
        raise boxing.told(error) from error


def _check_flags(ctx: typer.Context, action: Action, backend: str) -> None:
    """UsageError where something was given that this action does not read."""
    from harness.errors import UsageError

    fitting = OF[action]
    if action in (Action.run, Action.check) and not backend.startswith("remote:"):
        fitting = fitting - {"token_file"}
    for parameter in ctx.command.params:
        source = ctx.get_parameter_source(parameter.name or "")
        given = source is not None and source.name == "COMMANDLINE"
        if given and parameter.name not in ("action", *fitting):
            flag = parameter.opts[0] if parameter.opts[0].startswith("-") else "PROGRAM"
            told = f" with --backend {backend}" if parameter.name == "token_file" else ""
            raise UsageError(f"harness sandbox {action.value} has no use for {flag}{told}")


def _opened(
    spec: str, workers: int | None, token_file: Path | None, accepted: bool = False
) -> Backend:
    from sandbox.open import open_backend

    settings: dict[str, Any] = {} if workers is None else {"workers": workers}
    if spec.startswith("remote:") and token_file is not None:
        settings["token_file"] = token_file
    return open_backend(spec, accepted=accepted, **settings)


def _image(pool: Any, *, name: bool) -> None:
    from harness.commands import screen
    from sandbox import engine, image

    if name:
        print(image.name(pool))
        return
    client = engine.connect()
    try:
        made = image.build(client, pool)
        size = engine.image_of(client, made).attrs["Size"]
    finally:
        client.close()
    screen.say(f"{made}: {size / 2**20:.0f} MiB, made from this interpreter")
    screen.say("harness sandbox check --backend docker tries it out")


def _serve(
    spec: str, workers: int | None, where: tuple[str, int], waiting: int, file: Path | None
) -> None:
    import os

    from harness.commands import screen
    from sandbox.open import read
    from sandbox.protocol import token_of, write_token
    from sandbox.serve import serve, settings

    read(spec)
    if file is not None and not file.exists():
        write_token(file)
        screen.say(f"a new token is in {file}")
    token = token_of(file)
    count = workers or os.cpu_count() or 1
    if where[0] not in ("127.0.0.1", "::1", "localhost"):
        screen.say(f"listening on {where[0]}: what is said is not encrypted")

    def ready(address: str) -> None:
        print(f"a sandbox ({spec}, {count} workers) answers at {address}", flush=True)

    try:
        made = settings(workers=count, queue=waiting)
        serve(_opened(spec, count, None), token, where, made, ready)
    except KeyboardInterrupt:
        screen.say("ended")


def _run(backend: Backend, file: Path, stdin: Path | None, seconds: float) -> None:
    import sys

    from harness.errors import HarnessError, UsageError
    from sandbox.types import Limits, Program, Stdin

    try:
        source = file.read_text("utf-8")
        text = "" if stdin is None else stdin.read_text("utf-8")
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read the program or its input: {error}") from error
    try:
        asked = Program(source, (Stdin(text),), Limits(cpu=seconds))
        ((_, result),) = backend.run([asked])
    finally:
        backend.close()
    run = result.runs[0]
    sys.stdout.write(run.stdout.decode("utf-8", "replace"))
    sys.stderr.write(run.stderr)
    _report(result)
    if run.status != "OK":
        raise HarnessError(f"{run.status}: {run.detail}")


def _report(result: Result) -> None:
    from harness.commands import screen

    run = result.runs[0]
    screen.say(
        f"{run.status} on {result.backend} ({result.interpreter}): {run.cpu:.3f} s of CPU, "
        f"{run.wall:.3f} s, {run.memory / 2**20:.0f} MiB; layers: {', '.join(result.layers)}"
    )
    for note in result.notes:
        screen.say(note)


def _check(backend: Backend) -> None:
    from harness.errors import HarnessError
    from sandbox.witness import examine

    failed: list[str] = []
    try:
        known = backend.capabilities()
        for layer, state in known.layers.items():
            print(f"  on    {layer}" if state == "on" else f"  off   {layer:<18} {state}")
        for seen in examine(backend):
            print(f"  {'ok  ' if seen.fine else 'FAIL'}  {seen.name:<24} {seen.told}")
            failed += [] if seen.fine else [seen.name]
    finally:
        backend.close()
    if failed:
        raise HarnessError(f"{backend.name} did not refuse: {', '.join(failed)}")
