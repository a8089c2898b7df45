"""routes: the service's addresses, with FastAPI. Imported where a service is to be."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import math
import re
import secrets
from collections.abc import AsyncGenerator
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Header, Request, Response
from prometheus_client import generate_latest
from starlette.requests import ClientDisconnect

from sandbox import protocol
from sandbox.desk import Desk, Refusal, Settings
from sandbox.errors import SandboxUnavailable
from sandbox.types import Backend

LONGEST = 3600.0
"""Seconds: the largest deadline."""


def application(backend: Backend, token: str, settings: Settings | None = None) -> FastAPI:
    """The service; it closes the backend when it ends. SandboxUnavailable where nothing works."""
    settings = settings or Settings()
    known = backend.capabilities()
    if missing := protocol.unfit(known):
        raise SandboxUnavailable("nothing is served:\n  " + "\n  ".join(missing))
    desk = Desk(backend, settings)

    @contextlib.asynccontextmanager
    async def life(_: FastAPI) -> AsyncGenerator[None, None]:
        yield
        await desk.close()

    def of_a_friend(authorization: Annotated[str, Header()] = "") -> None:
        if not hmac.compare_digest(authorization.encode(), f"Bearer {token}".encode()):
            raise Refusal(401, "the token is wrong, or there is none")

    async def refused(_: Request, error: Exception) -> Response:
        assert isinstance(error, Refusal)
        desk.answers.labels(str(error.code)).inc()
        headers = {"Retry-After": str(error.wait)} if error.wait else {}
        if error.code == 401:
            headers["WWW-Authenticate"] = "Bearer"
        return Response(str(error), error.code, headers, "text/plain; charset=utf-8")

    async def run(request: Request) -> Response:
        name = request.headers.get(protocol.REQUEST) or secrets.token_hex(16)
        if not re.fullmatch(r"[\w-]{1,64}", name, re.ASCII):
            raise Refusal(400, f"{protocol.REQUEST} is 1 to 64 letters, digits, - and _")
        seconds = _seconds(request.headers.get(protocol.DEADLINE))
        told = await desk.answer(name, await _body(request, settings), request, seconds)
        desk.answers.labels("200").inc()
        return Response(told, media_type="application/json")

    async def health() -> dict[str, bool]:
        return {"ok": True}

    async def able() -> dict[str, Any]:
        return {**protocol.able_to(known), "workers": settings.workers}

    async def metrics() -> Response:
        return Response(generate_latest(desk.registry), media_type="text/plain; version=0.0.4")

    app = FastAPI(lifespan=life, docs_url=None, redoc_url=None, openapi_url=None)
    app.add_exception_handler(Refusal, refused)
    guarded = [Depends(of_a_friend)]
    app.post(protocol.RUN, dependencies=guarded, response_model=None)(run)
    app.get(protocol.ABLE, dependencies=guarded, response_model=None)(able)
    app.get(protocol.METRICS, dependencies=guarded, response_model=None)(metrics)
    app.get(protocol.HEALTH, response_model=None)(health)
    return app


def _seconds(text: str | None) -> float:
    """The deadline that a sender gave."""
    if text is None:
        return LONGEST
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds <= LONGEST:
        raise Refusal(400, f"{protocol.DEADLINE} is seconds, more than 0 and at most {LONGEST:.0f}")
    return seconds


async def _body(request: Request, settings: Settings) -> bytes:
    """All of it; Refusal where it is too long or too slow."""
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(settings.reading):
            async for part in request.stream():
                size += len(part)
                if size > settings.body:
                    raise Refusal(413, f"a request has at most {settings.body} bytes")
                parts.append(part)
    except TimeoutError:
        raise Refusal(408, f"no whole request in {settings.reading:g} s") from None
    except ClientDisconnect:
        raise Refusal(499, "the sender went away") from None
    return b"".join(parts)
