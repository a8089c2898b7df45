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


DEEPEST = 64
"""Nesting below this is left out: a parser of hostile text may nest deeper than a stack allows."""
LONGEST = 8192
"""Bits of an integer that is written in decimals; Python refuses to print much longer ones."""


def plain(value: Any, depth: int = 0) -> Any:
    """Any plain value as what JSON can hold.

    Arrays become {"$array": dtype, shape, base64}; a key that begins with $ gets one $ more, so
    that no text of a model can pass for such a mark.
    """
    if isinstance(value, np.generic):
        value = _scalar(value)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        short = value.bit_length() <= LONGEST
        return int(value) if short else {"$int": hex(value)}
    if isinstance(value, float):
        return float(value) if np.isfinite(value) else {"$float": repr(float(value))}
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, bytes):
        return {"$bytes": base64.b64encode(value).decode()}
    if isinstance(value, np.ndarray) and not cast(Any, value).dtype.hasobject:
        return _plain_array(cast(Any, value))
    return "..." if depth >= DEEPEST else _plain_container(value, depth + 1)


def _plain_container(value: Any, depth: int) -> Any:
    if isinstance(value, np.ndarray):  # of objects, which have no bytes of their own
        return plain(cast(Any, value).tolist(), depth)
    if isinstance(value, Mapping):
        pairs = cast(Mapping[Any, Any], value)
        return {_key(key): plain(each, depth) for key, each in pairs.items()}
    if isinstance(value, list | tuple):
        return [plain(each, depth) for each in cast(list[Any], value)]
    if isinstance(value, set | frozenset):
        return sorted((plain(each, depth) for each in cast(set[Any], value)), key=repr)
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name), depth) for f in fields(value)}
    return clean(str(value))


def _plain_array(array: Any) -> dict[str, Any]:
    packed = np.ascontiguousarray(array)
    packed = packed.astype(packed.dtype.newbyteorder("<"), copy=False)
    data = base64.b64encode(packed.tobytes()).decode()
    return {ARRAY: packed.dtype.str, "shape": list(array.shape), "data": data}


def _scalar(value: Any) -> Any:
    """A NumPy scalar as Python's own, or as an array of no axes where Python has none."""
    own = value.item()
    return own if isinstance(own, bool | int | float | str | bytes) else np.asarray(value)


def _key(key: object) -> str:
    text = clean(str(key))
    return f"${text}" if text.startswith("$") else text


def revive(value: Any) -> Any:
    """What `plain` made, back; tuples and sets come back as lists, NumPy scalars as Python's."""
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
        if "$int" in table:
            return int(table["$int"], 16)
        if "$bytes" in table:
            return base64.b64decode(table["$bytes"], validate=True)
        return {key.removeprefix("$"): revive(each) for key, each in table.items()}
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
        **({"set": rollout.set} if rollout.set else {}),
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
            set=str(table.get("set", "")),
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


def _content(content: Any) -> Any:
    """Of a message, whose parts are a tuple."""
    revived = revive(content)
    return tuple(cast(list[Any], revived)) if isinstance(revived, list) else revived


def _decode_turn(
    turn: Mapping[str, Any], example: Example, table: Mapping[str, Any]
) -> tuple[Prompt, Completion]:
    messages = tuple(Message(speaker, _content(content)) for speaker, content in turn["messages"])
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
