"""Where a served model lives and how it is asked: settings, key, client."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any
from urllib.parse import urlsplit

from harness.errors import UsageError, need

OPENAI_KEY = "OPENAI_API_KEY"
LOOPBACK = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """An OpenAI-compatible address and what is asked of it."""

    model: str
    url: str
    """With the version, as in http://localhost:8000/v1."""
    chat: bool = True
    """False asks /completions with a raw prompt, for checkpoints without a chat template."""
    logprobs: bool = False
    """Ask for log-probabilities; goes on without where the server refuses them."""
    group: bool = True
    """Ask attempts at the same prompt in one request, with one seed."""
    concurrency: int = 16
    timeout: float = 600.0
    """Seconds for one request."""
    deadline: float = 1800.0
    """Seconds for a request with all its retries."""
    attempts: int = 8
    """Requests for one answer, the first one included."""
    backoff: float = 0.5
    """Seconds; the n-th retry waits a random time below backoff * 2^n, 30 at most."""
    key_env: str = ""
    """Environment variable that holds the key; OPENAI_API_KEY, if it is set, when empty."""
    template: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """chat_template_kwargs of the request, such as {"enable_thinking": false}."""
    extra: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Further fields of the request's body."""

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UsageError(f"'{self.url}' is no address; write http://HOST:PORT/v1")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise UsageError(
                f"the address of '{self.model}' holds a user, password, query or fragment, which "
                "would be stored with every run; name a variable by --api-key-env"
            )
        for name in ("concurrency", "timeout", "deadline", "attempts"):
            if not getattr(self, name) > 0:
                raise UsageError(f"{name} = {getattr(self, name)}: more than 0 is asked for")
        taken = {"model", "messages", "prompt", "n", "seed", "stream"} & {*self.extra}
        if taken:
            raise UsageError(f"{', '.join(sorted(taken))} cannot be set as further fields")

    @classmethod
    def of(cls, place: str, **settings: Any) -> Endpoint:
        """The endpoint of NAME@URL, as it stands after `served:`."""
        cut = max(place.rfind("@http://"), place.rfind("@https://"))
        if cut < 1:
            raise UsageError(
                f"'served:{place}' names no address; write served:NAME@http://HOST:PORT/v1"
            )
        unknown = {*settings} - {each.name for each in fields(cls)}
        if unknown:
            raise UsageError(f"an endpoint has no setting {', '.join(sorted(unknown))}")
        return cls(model=place[:cut], url=place[cut + 1 :].rstrip("/"), **settings)

    @property
    def key(self) -> str:
        """The key; empty where none is needed. Never stored, never shown."""
        key = os.environ.get(self.key_env or OPENAI_KEY, "").strip()
        if not key and self.key_env not in ("", OPENAI_KEY):
            raise UsageError(f"the environment variable {self.key_env} holds no key")
        return key

    def describe(self) -> dict[str, Any]:
        """What bears on the answers; patience and concurrency do not."""
        return {
            "model": self.model,
            "url": self.url,
            "endpoint": "chat/completions" if self.chat else "completions",
            "logprobs": self.logprobs,
            "group": self.group,
            "chat_template_kwargs": dict(self.template),
            "extra": dict(self.extra),
        }

    def client(self) -> Any:
        """An asynchronous client that never retries by itself; close it after use."""
        openai = need("openai", "served", "a served model")
        local = urlsplit(self.url).hostname in LOOPBACK
        wait = openai.Timeout(self.timeout, connect=min(10.0, self.timeout))
        return openai.AsyncOpenAI(
            api_key=self.key or "none",
            base_url=self.url,
            max_retries=0,
            timeout=wait,
            # a proxy of the environment cannot reach this machine's own loopback
            http_client=openai.DefaultAsyncHttpxClient(trust_env=False) if local else None,
        )
