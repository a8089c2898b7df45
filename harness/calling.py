"""One request until it is answered or given up: retries, deadlines, refusals, costs."""

from __future__ import annotations

import asyncio
import math
import re
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any, cast

import msgspec

from harness import wire
from harness.endpoint import Endpoint
from harness.errors import ModelError
from harness.models import Sampling
from harness.types import Completion
from harness.wire import Allowed, Ask, Invalid

PATIENCE = 8
"""Prompts lost in a row before an endpoint counts as gone."""
PROBE_SECONDS = 3.0
LONGEST_PAUSE = 60.0
"""Seconds that one answer's Retry-After can hold all other requests back."""
BARRED = (403, 404)
"""Refusals that no other prompt would escape."""
OVERFLOW = re.compile(
    r"context[_ ](length|window|size)|maximum context|(prompt|input|request)\b.{0,40}\btoo long"
)


class Passing(Exception):
    """A failure that another try may not meet."""

    def __init__(self, kind: str, told: str, *, status: int = 0, after: float = 0.0) -> None:
        super().__init__(told)
        self.kind = kind
        self.status = status
        self.after = after
        """Seconds that the server asks to wait."""


class Refused(Exception):
    """The server says that the request is wrong."""

    def __init__(self, told: str, status: int) -> None:
        super().__init__(told)
        self.status = status


class Lost(Exception):
    """No answer could be had for this prompt."""


@dataclass
class Costs:
    """What asking took, and what failures cost."""

    requests: int = 0
    answers: int = 0
    """Completions that came."""
    lost: int = 0
    """Completions that never came."""
    short: int = 0
    """Answers with fewer choices than asked for."""
    repeats: int = 0
    """Long answers that say another attempt's word for word although the temperature is not 0:
    many of them mean a server that does not sample."""
    refused_groups: int = 0
    """Requests for more than one choice that the server refused."""
    retries: Counter[str] = field(default_factory=Counter[str])
    """By kind: rate limit, server error, timeout, connection, invalid answer."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    wasted_tokens: int = 0
    """Of answers that had to be thrown away."""
    wasted_seconds: float = 0.0
    """Of requests that failed, all added up."""
    waited_seconds: float = 0.0
    """Between a failure and the next try, all added up."""


class Caller:
    """Asks an endpoint; what it learns of the server holds for all later requests."""

    def __init__(self, endpoint: Endpoint, sampling: Sampling) -> None:
        self.endpoint = endpoint
        self.sampling = sampling
        self.allowed = Allowed(logprobs=endpoint.logprobs, grouped=endpoint.group)
        self.costs = Costs()
        self.listed: list[str] = []
        self.seen: dict[str, set[str]] = {"model": set(), "system_fingerprint": set()}
        self._lost_in_row = 0
        self._open_at = 0.0

    async def probe(self, client: Any) -> None:
        """Make sure that somebody is there; ModelError within seconds where nobody is."""
        until = time.monotonic() + PROBE_SECONDS
        while True:
            try:
                raw = await self._body(client.models.with_streaming_response.list, 2**24, 5.0)
            except Passing as error:
                gone = error.kind in ("connection", "timeout") or error.status in (502, 503, 504)
                if gone and time.monotonic() >= until:
                    raise ModelError(
                        f"nobody answers at {self.endpoint.url} ({error}); start the server, or "
                        "mend the address"
                    ) from error
                if not gone:
                    return
                await asyncio.sleep(0.5)
            except Refused:
                return  # a server without a list of models; the first question will tell
            else:
                return self._read_list(raw)

    async def ask(self, client: Any, ask: Ask) -> tuple[list[Completion], list[str]]:
        """The choices of one request (`ask.n` at most), and what was wrong with the others.

        Raises Lost when no try gave one, Refused when more than one choice is not to be had,
        ModelError when nothing can be had at all.
        """
        try:
            found = await self._persistently(client, ask)
        except Passing as error:
            raise self._lost(f"{error.kind}: {error}", error) from error
        except TimeoutError as error:
            raise self._lost(f"no answer within {self.endpoint.deadline:g} s", error) from error
        except Refused as error:
            if OVERFLOW.search(str(error).lower()):
                raise self._lost(f"refused: {error}", error) from error
            if ask.n > 1 and error.status not in BARRED:
                raise
            if error.status in BARRED or not self.costs.answers:
                raise self._refusal(error) from error
            raise self._lost(f"refused: {error}", error) from error
        self._lost_in_row = 0
        return found

    def _lost(self, told: str, cause: Exception) -> Lost:
        self._lost_in_row += 1
        if self._lost_in_row >= PATIENCE:
            raise ModelError(
                f"{self.endpoint.url} failed {self._lost_in_row} prompts in a row, the last one "
                f"with: {told}. What was answered is kept; run the same command again to go on"
            ) from cause
        return Lost(told)

    def _refusal(self, error: Refused) -> ModelError:
        listed = ", ".join(self.listed[:10])
        hint = ""
        if error.status == 404:
            hint = f". It lists: {listed}" if listed else ". An address usually ends in /v1"
        return ModelError(
            f"{self.endpoint.url} refuses the request for '{self.endpoint.model}': {error}{hint}"
        )

    async def _persistently(self, client: Any, ask: Ask) -> tuple[list[Completion], list[str]]:
        from tenacity import (
            AsyncRetrying,
            retry_if_exception_type,
            stop_after_attempt,
            stop_before_delay,
            wait_random_exponential,
        )

        jitter = wait_random_exponential(multiplier=self.endpoint.backoff, max=30)

        def pause(state: Any) -> float:
            return max(jitter(state), state.outcome.exception().after)

        def note(state: Any) -> None:
            self.costs.retries[state.outcome.exception().kind] += 1
            self.costs.waited_seconds += state.upcoming_sleep

        retrying = AsyncRetrying(
            retry=retry_if_exception_type(Passing),
            wait=pause,
            stop=stop_after_attempt(self.endpoint.attempts)
            | stop_before_delay(self.endpoint.deadline),
            before_sleep=note,
            reraise=True,
        )
        async with asyncio.timeout(self.endpoint.deadline):
            return await retrying(self._once, client, ask)

    async def _once(self, client: Any, ask: Ask) -> tuple[list[Completion], list[str]]:
        while (pause := self._open_at - time.monotonic()) > 0:
            await asyncio.sleep(pause)
        while True:
            asked = self._asked(ask)
            start = time.monotonic()
            self.costs.requests += 1
            try:
                raw = await self._send(client, ask, asked)
                return self._read(raw, ask)
            except Passing as error:
                self.costs.wasted_seconds += time.monotonic() - start
                pause = min(error.after, LONGEST_PAUSE)
                self._open_at = max(self._open_at, time.monotonic() + pause)
                raise
            except Refused as error:
                self.costs.wasted_seconds += time.monotonic() - start
                if not self._yields(str(error).lower(), asked):
                    raise

    def _asked(self, ask: Ask) -> dict[str, Any]:
        chat, template = self.endpoint.chat, dict(self.endpoint.template)
        asked = wire.body(self.endpoint.model, ask, self.sampling, self.allowed, chat=chat)
        extra = {**asked.pop("extra_body", {}), **self.endpoint.extra}
        if template:
            extra["chat_template_kwargs"] = template
        return {**asked, "extra_body": extra} if extra else asked

    async def _send(self, client: Any, ask: Ask, asked: dict[str, Any]) -> bytes:
        room = client.chat.completions if self.endpoint.chat else client.completions
        limit = wire.largest(ask, self.sampling)
        create = room.with_streaming_response.create
        return await self._body(lambda: create(**asked), limit, self.endpoint.timeout)

    def _read(self, raw: bytes, ask: Ask) -> tuple[list[Completion], list[str]]:
        try:
            found, wrong = wire.read(raw, ask, self.sampling)
        except Invalid as error:
            self.costs.wasted_tokens += wire.tokens(raw, "completion_tokens")
            raise Passing("invalid answer", self._masked(str(error))) from error
        self.costs.prompt_tokens += wire.tokens(raw, "prompt_tokens")
        self.costs.completion_tokens += wire.tokens(raw, "completion_tokens")
        self.costs.answers += len(found)
        for kind, values in self.seen.items():
            value = found[0].trace[kind]
            if isinstance(value, str) and len(values) < 20:
                values.add(value[:200])
        return found, wrong

    def _yields(self, told: str, asked: dict[str, Any]) -> bool:
        """Whether the request can do without what the server refuses; remembered if so."""
        if "max_completion_tokens" in told and "max_tokens" in asked and self.endpoint.chat:
            self.allowed.limit = "max_completion_tokens"
        elif "logprob" in told and "logprobs" in asked:
            self.allowed.logprobs = False
        elif re.search(r"\bseed\b", told) and "seed" in asked:
            self.allowed.seed = False
        else:
            return False
        return True

    async def _body(self, request: Callable[[], Any], limit: int, seconds: float) -> bytes:
        """The bytes of a response, of bounded size and within a bounded time."""
        import openai

        try:
            async with asyncio.timeout(seconds), request() as response:
                return await _limited(response, limit)
        except Passing:
            raise
        except (TimeoutError, openai.APITimeoutError) as error:
            raise Passing("timeout", f"no whole answer within {seconds:g} s") from error
        except openai.APIStatusError as error:
            raise self._judged(error) from error
        except Exception as error:  # what breaks in transport has no common root across versions
            cause = error.__cause__ or error
            told = self._masked(f"{type(cause).__name__}: {cause}")
            raise Passing("connection", told) from error

    def _judged(self, error: Any) -> Exception:
        status, body = int(error.status_code), error.body
        told = f"{status} {self._masked(_message(error))}"
        broke = isinstance(body, dict) and "insufficient_quota" in (error.code, error.type)
        if not broke and (status in (408, 409, 425, 429) or status >= 500):
            kind = "rate limit" if status == 429 else "server error"
            return Passing(kind, told, status=status, after=_retry_after(error.response.headers))
        if status in (400, 403, 404, 405, 413, 422):
            return Refused(told, status)
        hint = ". Name the variable that holds the key by --api-key-env" if status == 401 else ""
        return ModelError(f"{self.endpoint.url} answers '{self.endpoint.model}' with {told}{hint}")

    def _masked(self, told: str) -> str:
        """A server may repeat the key; nothing that is stored or shown does."""
        key = self.endpoint.key
        return (told.replace(key, "***") if key else told)[:500]

    def _read_list(self, raw: bytes) -> None:
        try:
            table = msgspec.json.decode(raw, type=_Listed)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return  # only the first question will tell
        self.listed = [model.id for model in table.data]
        if any(model.owned_by == "vllm" for model in table.data):
            # it samples by the checkpoint's own defaults wherever a request is silent
            self.allowed.neutral = {"top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0}


class _ListedModel(msgspec.Struct):
    id: str
    owned_by: Any = None


class _Listed(msgspec.Struct):
    data: list[_ListedModel]


async def _limited(response: Any, limit: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    async for part in response.iter_bytes():
        size += len(part)
        if size > limit:
            raise Passing("invalid answer", f"the answer is longer than {limit} bytes")
        parts.append(part)
    return b"".join(parts)


def _message(error: Any) -> str:
    """What the server says, out of the forms in use."""
    body = error.body
    if isinstance(body, dict):
        table = cast(dict[str, Any], body)
        body = table.get("message") or table.get("detail") or table
    return " ".join(str(body or error.message)[:2000].split())


def _retry_after(headers: Mapping[str, str]) -> float:
    """Seconds that the server asks to wait; 0 where it says nothing that can be read."""
    given = headers.get("retry-after", "")
    try:
        seconds = float(given)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(given).timestamp() - time.time()
        except (ValueError, TypeError, OverflowError):
            seconds = 0.0
    return seconds if math.isfinite(seconds) and seconds > 0 else 0.0
