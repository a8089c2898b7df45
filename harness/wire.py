"""What travels to an OpenAI-compatible endpoint and back; answers are hostile until read here."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Literal, cast

import msgspec
import numpy as np
from numpy.typing import NDArray

from harness.errors import UsageError
from harness.images import data_url, is_image
from harness.models import Sampling
from harness.types import Completion, Prompt, Stopped

LONGEST_TOKEN = 1024
"""Characters; no vocabulary in use comes near. Longer answers are not what was asked for."""


class Invalid(Exception):
    """An answer that cannot be one: malformed, of the wrong type, empty, or far too long."""


@dataclass
class Allowed:
    """What a server turned out to accept; only ever narrowed, and reported with the costs."""

    logprobs: bool
    grouped: bool
    seed: bool = True
    limit: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    neutral: dict[str, float] = field(default_factory=dict[str, float])
    """Sent to a server that would otherwise sample by its checkpoint's own defaults."""


@dataclass(frozen=True)
class Ask:
    """One request: a prompt, how many choices, and their seed."""

    prompt: Prompt
    n: int
    seed: int


class Said(msgspec.Struct):
    """The message of a choice."""

    content: str | list[Any] | None = None
    reasoning_content: Any = None
    reasoning: Any = None
    refusal: Any = None


class Choice(msgspec.Struct):
    """One of the answers, of either endpoint."""

    index: int = 0
    message: Said | None = None
    text: str | None = None
    finish_reason: str | None = None
    logprobs: Any = None
    token_ids: Any = None


class Answer(msgspec.Struct):
    """The body of a response; what is not read strictly may be anything."""

    choices: list[Choice]
    id: Any = None
    model: Any = None
    system_fingerprint: Any = None
    usage: Any = None


def body(
    model: str, ask: Ask, sampling: Sampling, allowed: Allowed, *, chat: bool
) -> dict[str, Any]:
    """The request's own fields, by the names of the client library."""
    table: dict[str, Any] = {
        "model": model,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        allowed.limit if chat else "max_tokens": sampling.max_tokens,
    }
    if chat:
        table["messages"] = [
            {"role": message.speaker, "content": _content(message.content)}
            for message in ask.prompt.spoken()
        ]
    else:
        table["prompt"] = "\n\n".join(_text(message.content) for message in ask.prompt.spoken())
    if ask.n > 1:
        table["n"] = ask.n
    if sampling.stop:
        table["stop"] = list(sampling.stop)
    if allowed.seed:
        table["seed"] = ask.seed
    if allowed.logprobs:
        table["logprobs"] = True if chat else 1
    extra: dict[str, Any] = dict(allowed.neutral)
    if sampling.top_k:
        extra["top_k"] = sampling.top_k
    if extra:
        table["extra_body"] = extra
    return table


def largest(ask: Ask, sampling: Sampling) -> int:
    """Bytes that an honest response can have, log-probabilities included."""
    return min(256 * 2**20, 4 * 2**20 + ask.n * sampling.max_tokens * 8192)


def read(raw: bytes, ask: Ask, sampling: Sampling) -> tuple[list[Completion], list[str]]:
    """The usable completions of a response, `ask.n` at most, and what was wrong with the others.

    Raises Invalid where there is none.
    """
    answer = parse(raw)
    shares = _shares(answer, ask.n)
    whole: list[Completion] = []
    wrong: list[str] = []
    order = sorted(range(len(answer.choices)), key=lambda number: answer.choices[number].index)
    for number in order[: ask.n]:
        choice = answer.choices[number]
        try:
            whole.append(_completion(choice, answer, ask, sampling, shares[number]))
        except Invalid as error:
            wrong.append(str(error))
    if not whole:
        raise Invalid(wrong[0] if wrong else "the answer holds no choices")
    return whole, wrong


def parse(raw: bytes) -> Answer:
    """The body of a response; Invalid where it is none."""
    try:
        return msgspec.json.decode(raw, type=Answer)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        start = raw[:80].decode("utf-8", "replace")
        raise Invalid(f"malformed answer ({str(error)[:200]}): {start!r}") from error


def tokens(raw: bytes, kind: str) -> int:
    """Tokens that a response says it cost (`prompt_tokens`, `completion_tokens`); 0 if unsaid."""
    try:
        return count(cast(dict[str, Any], msgspec.json.decode(raw))["usage"], kind) or 0
    except (ValueError, LookupError, TypeError, RecursionError):
        return 0


def count(usage: Any, kind: str) -> int | None:
    """A whole number out of a usage table, whatever else stands there."""
    value = _field(usage, kind)
    return value if isinstance(value, int) and 0 <= value < 2**40 else None


def _completion(
    choice: Choice, answer: Answer, ask: Ask, sampling: Sampling, share: int
) -> Completion:
    reasoning = _reasoning(choice)
    output, note = _output(choice, reasoning)
    if len(output) > LONGEST_TOKEN * (sampling.max_tokens + 4):
        raise Invalid(f"{len(output)} characters are no answer of {sampling.max_tokens} tokens")
    logprobs, pieces = _logprobs(choice.logprobs)
    stopped: Stopped = "budget" if choice.finish_reason == "length" else "done"
    if choice.finish_reason == "content_filter":
        stopped, note = "failed", "the server's content filter cut the answer"
    trace: dict[str, Any] = {
        "model": answer.model,
        "id": answer.id,
        "system_fingerprint": answer.system_fingerprint,
        "finish_reason": choice.finish_reason,
        "usage": answer.usage,
        "seed": ask.seed,
        "choice": choice.index,
        "of": ask.n,
    }
    if reasoning:
        trace["reasoning"] = reasoning
    if choice.token_ids is not None:
        trace["token_ids"] = choice.token_ids
    return Completion(
        output=output,
        stopped=stopped,
        steps=share if logprobs is None else len(logprobs),
        logprobs=logprobs,
        pieces=pieces,
        trace=trace,
        note=note,
    )


def _output(choice: Choice, reasoning: str) -> tuple[str, str]:
    """The text to be judged, and a note where it stands in an odd place."""
    content = choice.text if choice.message is None else choice.message.content
    if isinstance(content, str):
        return content, ""
    if isinstance(content, list):
        parts = [_field(part, "text") for part in content]
        return "".join(part for part in parts if isinstance(part, str)), ""
    refusal = choice.message.refusal if choice.message is not None else None
    if isinstance(refusal, str) and refusal:
        return refusal, "refused"
    if reasoning or choice.finish_reason in ("length", "content_filter"):
        return "", "nothing but reasoning" if reasoning else ""
    raise Invalid("a choice without content")


def _reasoning(choice: Choice) -> str:
    said = choice.message
    found = () if said is None else (said.reasoning_content, said.reasoning)
    return next((text for text in found if isinstance(text, str) and text), "")


def _logprobs(given: Any) -> tuple[NDArray[np.float32] | None, tuple[str, ...]]:
    """(T,) and the text of each step, from either endpoint's form; None where they do not fit."""
    if not isinstance(given, dict):
        return None, ()
    table = cast(dict[str, Any], given)
    if isinstance(table.get("content"), list):
        rows = cast(list[Any], table["content"])
        pairs = [(_field(row, "token"), _field(row, "logprob")) for row in rows]
    elif isinstance(table.get("tokens"), list) and isinstance(table.get("token_logprobs"), list):
        pairs = list(zip(table["tokens"], table["token_logprobs"], strict=False))
    else:
        return None, ()
    sound = [
        (token, float(logprob))
        for token, logprob in pairs
        if isinstance(token, str) and isinstance(logprob, int | float) and math.isfinite(logprob)
    ]
    if not sound or len(sound) < len(pairs):
        return None, ()
    return np.array([p for _, p in sound], np.float32), tuple(token for token, _ in sound)


def _shares(answer: Answer, asked: int) -> list[int]:
    """Tokens of each choice: `usage` gives their sum only, so more than one share it by length."""
    total = count(answer.usage, "completion_tokens") or 0
    lengths = [1 + _length(choice) for choice in answer.choices]
    ends = np.cumsum(lengths) / max(sum(lengths), 1) * total if lengths else np.zeros(0)
    return np.diff(np.round(ends), prepend=0).astype(int).tolist()


def _length(choice: Choice) -> int:
    content = choice.text if choice.message is None else choice.message.content
    return len(_reasoning(choice)) + (len(content) if isinstance(content, str) else 0)


def _field(table: Any, name: str) -> Any:
    return cast(dict[str, Any], table).get(name) if isinstance(table, dict) else None


def _content(content: Any) -> str | list[dict[str, Any]]:
    """A message as chat endpoints read it: text, or parts where it holds images."""
    parts: tuple[Any, ...] = cast(Any, content) if isinstance(content, tuple) else (content,)
    if not any(is_image(part) for part in parts):
        return _text(content)
    return [
        {"type": "image_url", "image_url": {"url": data_url(part)}}
        if is_image(part)
        else {"type": "text", "text": _text(part)}
        for part in parts
    ]


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    parts: list[Any] = list(cast(Any, content)) if isinstance(content, list | tuple) else [content]
    odd = [type(part).__name__ for part in parts if not isinstance(part, str)]
    if odd:
        raise UsageError(
            f"a served model is asked in text, and this prompt holds {odd[0]}; "
            "give a model that reads it"
        )
    return "".join(parts)
