"""serve: the sandbox as a small HTTP service, for those who hold its token.

It listens on this machine alone, unless it is told otherwise: what it speaks is not encrypted, so
between machines it belongs behind a proxy that does TLS, or into a network of its own.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

from sandbox.errors import SandboxError, SandboxUnavailable
from sandbox.protocol import worthy
from sandbox.types import Backend

if TYPE_CHECKING:
    from sandbox.desk import Settings

LOOPBACK = "127.0.0.1"
PORT = 8787
NEEDS = "a service needs the package `{}`: pip install 'grpo-harness[serve]'"


def serve(
    backend: Backend,
    token: str,
    where: tuple[str, int] = (LOOPBACK, PORT),
    settings: Settings | None = None,
    ready: Callable[[str], None] = lambda address: None,
) -> None:
    """Serve until SIGINT or SIGTERM. `ready` is told the address; port 0 takes a free one.

    SandboxUnavailable where the backend cannot run programs here, or a package is missing.
    """
    worthy(token, "what was given")
    try:
        import uvicorn

        from sandbox.desk import Settings
        from sandbox.routes import application
    except ImportError as error:
        raise SandboxUnavailable(NEEDS.format(error.name)) from error
    settings = settings or Settings()
    app = application(backend, token, settings)
    listener = _bound(where)
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        # health and metrics have to get through while the queue is full
        limit_concurrency=settings.queue + settings.workers + 32,
        timeout_graceful_shutdown=int(settings.farewell),
        timeout_keep_alive=30,
    )
    host, port = listener.getsockname()[:2]
    ready(f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}")
    server = uvicorn.Server(config)
    try:
        asyncio.run(server.serve(sockets=[listener]))
    finally:
        listener.close()
        backend.close()


def settings(**changes: float) -> Settings:
    """How much a service takes on; SandboxUnavailable where a package is missing."""
    try:
        from sandbox.desk import Settings
    except ImportError as error:
        raise SandboxUnavailable(NEEDS.format(error.name)) from error
    return Settings(**changes)  # type: ignore[arg-type]


def _bound(where: tuple[str, int]) -> socket.socket:
    host, port = where
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=512)
    except OSError as error:
        raise SandboxError(f"cannot listen on {host}:{port}: {error}") from error
