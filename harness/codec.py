"""Rollouts as JSON lines and back: exact for floats and arrays, no pickle."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, cast

import numpy as np

from harness.errors import DataError
from harness.types import Completion, Example, Message, Prompt, Rollout, Verdict

ARRAY = "$array"


def plain(value: Any) -> Any:
    """Any plain value as what JSON can hold; arrays become {"$array": dtype, shape, base64}."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if np.isfinite(value) else {"$float": repr(value)}
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, (np.ndarray, np.generic)):
        array = np.ascontiguousarray(cast(Any, value))
        array = array.astype(array.dtype.newbyteorder("<"), copy=False)
        data = base64.b64encode(array.tobytes()).decode()
        return {ARRAY: array.dtype.str, "shape": list(cast(Any, value).shape), "data": data}
    if isinstance(value, Mapping):
        pairs = cast(Mapping[Any, Any], value)
        return {clean(str(key)): plain(each) for key, each in pairs.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in cast(list[Any], value)]
    if isinstance(value, set | frozenset):
        return sorted((plain(each) for each in cast(set[Any], value)), key=repr)
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, bytes):
        return {"$bytes": base64.b64encode(value).decode()}
    return clean(str(value))


def revive(value: Any) -> Any:
    """What `plain` made, back; tuples come back as lists."""
    if isinstance(value, dict):
        table = cast(dict[str, Any], value)
        if ARRAY in table:
            raw = base64.b64decode(table["data"], validate=True)
            kind = np.dtype(table[ARRAY])
            if kind.hasobject:
                raise DataError("an array of objects is refused: only numbers are stored")
            return np.frombuffer(raw, kind).reshape(table["shape"]).copy()
        if "$float" in table:
            return float(table["$float"])
        if "$bytes" in table:
            return base64.b64decode(table["$bytes"], validate=True)
        return {key: revive(each) for key, each in table.items()}
    if isinstance(value, list):
        return [revive(each) for each in cast(list[Any], value)]
    return value


def clean(text: str) -> str:
    """The text with what UTF-8 cannot hold (lone surrogates) replaced."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace").decode()
    return text


def encode(rollout: Rollout) -> dict[str, Any]:
    """A rollout as a plain table. The example itself stays with its task: id only."""
    return {
        "example": rollout.example.id,
        "attempt": rollout.attempt,
        "role": rollout.role,
        "group": rollout.group,
        "source": rollout.source,
        "turns": [_encode_turn(prompt, completion) for prompt, completion in rollout.turns],
        "verdict": plain(rollout.verdict),
        "seconds": rollout.seconds,
    }


def decode(table: Mapping[str, Any], example: Example) -> Rollout:
    """The rollout of a table; DataError where a field is missing or of the wrong kind."""
    try:
        verdict = revive(table["verdict"])
        return Rollout(
            turns=tuple(_decode_turn(turn, example, table) for turn in table["turns"]),
            verdict=Verdict(
                verdict["scores"], verdict["answer"], verdict["reason"], verdict["note"]
            ),
            group=table["group"],
            role=table["role"],
            attempt=int(table["attempt"]),
            source=table["source"],
            seconds=float(table["seconds"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"a stored rollout is damaged: {type(error).__name__}: {error}") from error


def _encode_turn(prompt: Prompt, completion: Completion) -> dict[str, Any]:
    return {
        "messages": [[m.speaker, plain(m.content)] for m in prompt.messages],
        "hints": list(prompt.hints),
        "output": plain(completion.output),
        "stopped": completion.stopped,
        "steps": completion.steps,
        "logprobs": plain(completion.logprobs),
        "pieces": list(map(clean, completion.pieces)),
        "trace": plain(completion.trace),
        "note": clean(completion.note),
    }


def _decode_turn(
    turn: Mapping[str, Any], example: Example, table: Mapping[str, Any]
) -> tuple[Prompt, Completion]:
    messages = tuple(Message(speaker, revive(content)) for speaker, content in turn["messages"])
    prompt = Prompt(
        example,
        messages,
        role=table["role"],
        hints=tuple(turn["hints"]),
        attempt=int(table["attempt"]),
    )
    completion = Completion(
        output=revive(turn["output"]),
        stopped=turn["stopped"],
        steps=int(turn["steps"]),
        logprobs=revive(turn["logprobs"]),
        pieces=tuple(turn["pieces"]),
        trace=revive(turn["trace"]),
        note=turn["note"],
    )
    return prompt, completion
