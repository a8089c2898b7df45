"""fleet: addresses of one service, asked over HTTP with deadlines, retries and a bound each.

Asked again is only what never reached a program, or whose answer was lost: transport errors and the
statuses 429, 502, 503, 504. A program's own time limit is an answer. An address that fails rests,
longer each time, and then has to answer one request before it is given more.
"""

from __future__ import annotations

import asyncio
import ipaddress
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from sandbox.errors import BadSpec, SandboxUnavailable

AGAIN = frozenset({502, 503, 504})
BUSY = 429
LARGEST = 1 << 28
"""Bytes of an answer, unless more is asked for."""
REST, LONGEST = 0.25, 30.0
"""Seconds that an address rests after its first failure, and at most."""


@dataclass(frozen=True)
class Patience:
    """How long, and how often."""

    queue: float = 600.0
    """Seconds that a request may spend on waiting and retries, besides its own time."""
    turn: float = 60.0
    """Seconds that it may wait in one service's queue before another one is tried."""
    margin: float = 30.0
    """Seconds that a service may take beyond a program's own worst case."""
    tries: int = 5
    """Failures of one request after which it is given up; to be sent away as busy is none."""
    connect: float = 5.0
    """Seconds in which a connection has to stand."""
    at_once: int = 8
    """Requests at one address at a time."""


@dataclass(frozen=True)
class Ask:
    """One request."""

    path: str
    body: bytes
    seconds: float
    """What it may take once it is begun."""
    headers: Mapping[str, str]
    largest: int = LARGEST
    """Bytes of an answer; more are not read."""


class Failed(Exception):
    """The address, or the way to it, is at fault; another try may do."""

    def __init__(self, detail: str, wait: float | None = None) -> None:
        super().__init__(detail)
        self.wait = wait
        """Seconds that the service asks for; it is busy, not broken."""


class Refused(Exception):
    """The service will not; another try would be answered the same."""

    def __init__(self, code: int, detail: str) -> None:
        super().__init__(f"status {code}: {detail}")
        self.code = code


class Address:
    """One service, as the client knows it."""

    def __init__(self, url: str, headers: Mapping[str, str], patience: Patience) -> None:
        self.url = plain(url)
        self.most, self.busy, self.failures = patience.at_once, 0, 0
        self.rests_until = 0.0
        self._client = _client(self.url, headers, patience)

    @property
    def room(self) -> int:
        """Requests that it may be given now; one, where it has yet to prove itself."""
        if time.monotonic() < self.rests_until:
            return 0
        return (1 if self.failures else self.most) - self.busy

    async def ask(self, ask: Ask, method: str = "POST") -> bytes:
        """The body of its answer; Failed or Refused."""
        import httpx

        try:
            async with asyncio.timeout(ask.seconds):
                request = self._client.stream(
                    method, ask.path, content=ask.body, headers=dict(ask.headers)
                )
                async with request as answer:
                    body = await _whole(answer, ask.largest)
        except TimeoutError:
            raise Failed(f"{self.url} said nothing for {ask.seconds:.0f} s") from None
        except (httpx.TransportError, httpx.StreamError, httpx.DecodingError) as error:
            raise Failed(f"{self.url}: {type(error).__name__} {error}"[:300]) from None
        if answer.status_code == 200:
            return body
        told = body[:300].decode("utf-8", "replace")
        if answer.status_code == BUSY:
            raise Failed(f"{self.url} is busy", wait=_wait(answer.headers.get("retry-after")))
        if answer.status_code in AGAIN:
            raise Failed(f"{self.url}: status {answer.status_code} {told}")
        raise Refused(answer.status_code, told)

    def note(self, failure: Failed | None) -> None:
        """Remember how it went."""
        now = time.monotonic()
        if failure is None:
            self.failures = 0
        elif failure.wait is not None:
            self.rests_until = max(self.rests_until, now + failure.wait)
        else:
            self.failures += 1
            self.rests_until = now + min(LONGEST, REST * 2 ** min(self.failures - 1, 10))

    async def close(self) -> None:
        """Let its connections go."""
        await self._client.aclose()


class Fleet:
    """Several addresses of the same service. Lives in one event loop."""

    def __init__(self, urls: Sequence[str], headers: Mapping[str, str], patience: Patience) -> None:
        if not urls:
            raise SandboxUnavailable("no address of a service, as in remote:http://127.0.0.1:8787")
        self.patience = patience
        self.addresses = [Address(url, headers, patience) for url in urls]
        self._changed = asyncio.Condition()

    @property
    def room(self) -> int:
        """Requests that may be under way together."""
        return sum(each.most for each in self.addresses)

    async def post(self, ask: Ask, fault: Callable[[bytes], str] = lambda body: "") -> bytes:
        """The answer of one of them. `fault` tells a service's own failure, in a good answer.

        Failed once patience is at its end, Refused where the service says that it will not.
        """
        from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type
        from tenacity.wait import wait_random_exponential

        failures = 0

        def enough(state: RetryCallState) -> bool:
            nonlocal failures
            error = state.outcome.exception() if state.outcome else None
            failures += isinstance(error, Failed) and error.wait is None
            return failures >= self.patience.tries

        retrying = AsyncRetrying(
            retry=retry_if_exception_type(Failed),
            stop=enough,
            wait=wait_random_exponential(multiplier=0.05, max=2),
            reraise=True,
        )
        latest = "every address was busy, or rested"
        try:
            async with asyncio.timeout(self.patience.queue + ask.seconds):
                async for attempt in retrying:
                    with attempt:
                        try:
                            return await self._once(ask, fault)
                        except Failed as error:
                            latest = str(error)
                            raise
        except TimeoutError:
            raise Failed(f"given up after {self.patience.queue:.0f} s: {latest}") from None
        raise AssertionError("a retry ends with an answer or an error")

    async def _once(self, ask: Ask, fault: Callable[[bytes], str]) -> bytes:
        async with self._free() as address:
            failure: Failed | None = None
            try:
                body = await address.ask(ask)
                if told := fault(body):
                    raise Failed(f"{address.url}: {told}"[:300])
                return body
            except Failed as error:
                failure = error
                raise
            finally:
                address.note(failure)

    @asynccontextmanager
    async def _free(self) -> AsyncGenerator[Address, None]:
        """The address with most room, held for one request; waits until there is one."""
        async with self._changed:
            while (address := max(self.addresses, key=lambda each: each.room)).room <= 0:
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._wakes()):
                        await self._changed.wait()
            address.busy += 1
        try:
            yield address
        finally:
            address.busy -= 1
            async with self._changed:
                self._changed.notify_all()

    def _wakes(self) -> float | None:
        """Seconds until an address has rested; None where none rests."""
        now = time.monotonic()
        rests = [each.rests_until - now for each in self.addresses if each.rests_until > now]
        return min(rests) if rests else None

    async def close(self) -> None:
        """Let all connections go."""
        for each in self.addresses:
            await each.close()


async def _whole(answer: Any, largest: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    async for part in answer.aiter_bytes():
        size += len(part)
        if size > largest:
            raise Refused(answer.status_code, f"an answer of more than {largest} bytes")
        parts.append(part)
    return b"".join(parts)


def _wait(text: str | None) -> float:
    """Seconds of a Retry-After; one, where it says nothing that we understand."""
    try:
        seconds = float(text or 1)
    except ValueError:
        return 1.0
    return min(LONGEST, max(0.05, seconds)) if seconds == seconds else 1.0


def addresses(text: str) -> list[str]:
    """Those that a text names, separated by commas; BadSpec where one is none."""
    return [plain(url) for url in text.replace(",", " ").split()]


def plain(url: str) -> str:
    """An address as it is asked; BadSpec where it is none."""
    told = BadSpec(f"{url!r} is no address of a service; one looks like http://127.0.0.1:8787")
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        known = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # of a port that is no number, or of brackets
        raise told from None
    if not known or parts.username:
        raise told
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"


def _client(url: str, headers: Mapping[str, str], patience: Patience) -> Any:
    try:
        import httpx
    except ImportError as error:
        raise SandboxUnavailable(
            "a remote sandbox needs the package `httpx`: pip install 'grpo-harness[remote]'"
        ) from error
    return httpx.AsyncClient(
        base_url=url,
        headers=dict(headers),
        # whole requests have a deadline of their own
        timeout=httpx.Timeout(None, connect=patience.connect, pool=None),
        limits=httpx.Limits(max_connections=patience.at_once + 2),
        # a proxy of the environment cannot reach this machine's own loopback
        trust_env=not _loopback(urlsplit(url).hostname or ""),
    )


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
