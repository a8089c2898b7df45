"""Backends by name: local, docker, remote:URL, sandboxfusion:URL, piston:URL, unsafe-process."""

from __future__ import annotations

import importlib
from typing import Any, cast

from sandbox.errors import SandboxUnavailable
from sandbox.types import Backend

BACKENDS = {
    "local": ("sandbox.local", "LocalBackend"),
    "docker": ("sandbox.docker_backend", "DockerBackend"),
    "remote": ("sandbox.remote", "open_remote"),
    "sandboxfusion": ("sandbox.adapters.sandboxfusion", "open_sandboxfusion"),
    "piston": ("sandbox.adapters.piston", "open_piston"),
    "unsafe-process": ("sandbox.unsafe", "UnsafeBackend"),
}
"""Name -> module, and what makes it there. What follows a colon in the spec goes to it first."""


def open_backend(spec: str = "local", **settings: Any) -> Backend:
    """The backend that a spec names, e.g. `local`, `docker`, `remote:http://host:8000`.

    `settings` go to what makes it. SandboxUnavailable where there is none of that name.
    """
    name, colon, rest = spec.partition(":")
    if name not in BACKENDS:
        raise SandboxUnavailable(f"no sandbox {spec!r}; there are: {', '.join(BACKENDS)}")
    module, kind = BACKENDS[name]
    made = getattr(importlib.import_module(module), kind)
    return cast("Backend", made(rest, **settings) if colon else made(**settings))
