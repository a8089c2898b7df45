"""Which sandboxes work here, and why not: a finding each, none raises, together a few seconds."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any

from harness.commands.checkup import Finding

SERVICE = ("fastapi", "uvicorn", "prometheus_client")


def boxes() -> Iterator[Finding]:
    """Each backend: its layers if it works, else what is missing and what would do."""
    for name, look in (("local", local), ("docker", docker), ("remote", remote), ("serve", serve)):
        yield _safely(f"box:{name}", look)


def _safely(name: str, look: Callable[[str], Finding]) -> Finding:
    try:
        return look(name)
    except Exception as error:  # a doctor tells of what it meets, and goes on
        return Finding(name, "absent", f"{type(error).__name__}: {error}"[:300], "report this")


def local(name: str) -> Finding:
    """Found by witness: a program in a box tries to get out."""
    from sandbox.local import LocalBackend

    with LocalBackend(workers=1) as backend:
        known = backend.capabilities()
    if not known.usable:
        return Finding(name, "absent", "; ".join(known.missing), "or harness sandbox image: docker")
    on = [layer for layer, state in known.layers.items() if state == "on"]
    off = [f"{layer}: {state}" for layer, state in known.layers.items() if state != "on"]
    told = f"holds, by witness: {', '.join(sorted(on))}"
    return Finding(name, "ok", "; off: ".join([told, *off]))


def docker(name: str) -> Finding:
    """Package, engine and images; no container is started."""
    from sandbox import engine, image
    from sandbox.errors import SandboxUnavailable

    try:
        client = engine.connect(seconds=2.0)
    except SandboxUnavailable as error:
        told, _, fix = str(error).partition(": ")
        return Finding(name, "absent", told, fix or "see https://docs.docker.com/engine/install")
    try:
        there = [pool for pool in ("lean", "scientific") if _image(client, image.name(pool))]
    finally:
        client.close()
    if "lean" not in there:
        return Finding(name, "absent", f"no image {image.name()}", "harness sandbox image")
    told = f"engine answers; images: {', '.join(there)}; harness sandbox check --backend docker"
    return Finding(name, "ok", told)


def _image(client: Any, tag: str) -> bool:
    from sandbox import engine
    from sandbox.errors import SandboxUnavailable

    try:
        engine.image_of(client, tag)
    except SandboxUnavailable:
        return False
    return True


def remote(name: str) -> Finding:
    """The client's package and token."""
    from sandbox.protocol import TOKEN

    if find_spec("httpx") is None:
        return Finding(name, "absent", "no package httpx", "pip install 'grpo-harness[remote]'")
    token = f"{TOKEN} is {'set' if os.environ.get(TOKEN) else 'not set'}"
    return Finding(name, "ok", f"remote:URL ({token}), sandboxfusion:URL, piston:URL can be asked")


def serve(name: str) -> Finding:
    """The service's packages."""
    missing = [package for package in SERVICE if find_spec(package) is None]
    if missing:
        told = f"no package {', '.join(missing)}"
        return Finding(name, "absent", told, "pip install 'grpo-harness[serve]'")
    return Finding(name, "ok", "harness sandbox serve can answer over HTTP")
