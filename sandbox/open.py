"""Backends by name: local, docker, remote:URL, sandboxfusion:URL, piston:URL, unsafe-process."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any, cast

from sandbox.errors import BadSpec, SandboxUnavailable
from sandbox.types import UNSAFE, Backend


@dataclass(frozen=True)
class Maker:
    """What makes a backend, and what may follow its name."""

    module: str
    name: str
    """Of the class or function. What follows the colon goes to it first."""
    after: str = ""
    """What follows the colon, in a word; empty: nothing may."""
    needed: bool = False
    """Whether it has to."""


BACKENDS = {
    "local": Maker("sandbox.local", "LocalBackend"),
    "docker": Maker("sandbox.docker_backend", "DockerBackend", "IMAGE"),
    "remote": Maker("sandbox.remote", "open_remote", "URL", needed=True),
    "sandboxfusion": Maker(
        "sandbox.adapters.sandboxfusion", "open_sandboxfusion", "URL", needed=True
    ),
    "piston": Maker("sandbox.adapters.piston", "open_piston", "URL", needed=True),
    UNSAFE: Maker("sandbox.unsafe", "UnsafeBackend"),
}


def read(spec: str, *, accepted: bool = False) -> tuple[str, str]:
    """The name in a spec and what follows its colon. Nothing is opened, and no service is asked.

    BadSpec where there is no such backend, or what follows is missing or too much;
    SandboxUnavailable for the one that does not isolate, unless that is `accepted`.
    """
    name, colon, rest = spec.partition(":")
    if name not in BACKENDS:
        raise BadSpec(f"no sandbox {spec!r}; there are: {_written()}")
    maker = BACKENDS[name]
    if colon and not maker.after:
        raise BadSpec(f"no sandbox {spec!r}: nothing follows {name}; write {name}")
    if (maker.needed or colon) and not rest.strip(" ,"):
        raise BadSpec(f"no sandbox {spec!r}: it lacks the {maker.after}; write {_form(name)}")
    if maker.after == "URL":
        from sandbox.fleet import addresses

        addresses(rest)  # reads each
    if name == UNSAFE and not accepted:
        raise SandboxUnavailable(
            f"{UNSAFE} runs programs of a stranger with your rights. Only harness eval and harness "
            "sandbox run or check may ask for it, with --i-accept-unsandboxed-code; no training "
            "and no service does, and its numbers stand on no board"
        )
    return name, rest


def _form(name: str) -> str:
    maker = BACKENDS[name]
    told = f":{maker.after}" if maker.needed else f"[:{maker.after}]" if maker.after else ""
    return name + told


def _written() -> str:
    return ", ".join(map(_form, BACKENDS))


def open_backend(spec: str = "local", *, accepted: bool = False, **settings: Any) -> Backend:
    """The backend that a spec names, e.g. `local`, `docker`, `remote:http://host:8000`.

    `settings` go to what makes it; `accepted` and the errors are those of `read`.
    """
    name, rest = read(spec, accepted=accepted)
    maker = BACKENDS[name]
    made = getattr(importlib.import_module(maker.module), maker.name)
    return cast("Backend", made(rest, **settings) if rest else made(**settings))
