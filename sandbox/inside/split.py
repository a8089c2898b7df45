"""Split tests: the submission in one process, the test in another, typed values between them.

    judging half                            holding half (the submission)
    {"names": [...]}                    ->
                                        <-  {"kinds": {name: ["call"], ["value", v], ["module", m]}}
    {"call": name, "arguments": [...],
     "keywords": {...}}                 ->
                                        <-  {"value": v, "changed": {...}}  or  {"error": [...]}

What the holding half says is decoded as data of built-in types; it has no other way to the test.
"""

from __future__ import annotations

import builtins
import importlib
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any, cast

from sandbox import frames
from sandbox.inside import typed

LINK = 4
LARGEST = 1 << 27
"""Bytes of one message between the halves."""
WRONG = (ValueError, TypeError, KeyError, IndexError, RecursionError, OverflowError)


class TooLong(Exception):
    """A value that is longer than the cap on output."""


class Ended(BaseException):
    """The submission's process is gone; no test may catch this as an error of its own."""


# -- the half that holds the submission


def hold(space: dict[str, Any]) -> None:
    """Serve names and calls until the other half hangs up."""
    while True:
        try:
            asked = frames.receive(LINK, LARGEST)
        except (EOFError, OSError):
            return
        if "names" in asked:
            found = {name: _kind(space[name]) for name in asked["names"] if name in space}
            frames.send(LINK, {"kinds": found})
        else:
            frames.send(LINK, _called(space, asked))


def _kind(value: Any) -> list[Any]:
    if isinstance(value, types.ModuleType):
        return ["module", value.__name__]
    if callable(value):
        return ["call"]
    try:
        return ["value", typed.encode(value)]
    except (typed.Uncrossable, RecursionError):
        return ["strange", type(value).__name__]


def _called(space: dict[str, Any], asked: dict[str, Any]) -> dict[str, Any]:
    """One call: its value and what became of the arguments, or the exception."""
    arguments = [typed.decode(each) for each in asked["arguments"]]
    keywords = {key: typed.decode(each) for key, each in asked["keywords"].items()}
    try:
        value = space[asked["call"]](*arguments, **keywords)
        changed = {
            str(key): typed.encode(each)
            for key, each in [*enumerate(arguments), *keywords.items()]
            if isinstance(each, typed.MUTABLE)
        }
        return {"value": typed.encode(value), "changed": changed}
    except MemoryError:
        raise
    except BaseException as error:
        return {"error": typed.encode_error(error)}


# -- the half that runs the test


def stand_ins(code: types.CodeType, space: dict[str, Any], entry: str) -> dict[str, Any]:
    """What the test finds in place of the submission.

    For each name that it uses and that is no built-in one: a function that asks the other half, a
    plain value, or a module of the standard library.
    """
    wanted = {entry} if entry else set[str]()
    wanted |= {name for name in _names(code) if not hasattr(builtins, name) and name not in space}
    told = _ask({"names": sorted(wanted)})
    if not isinstance(told.get("kinds"), dict):
        raise _end("the submission's process did not tell its names")
    kinds: dict[str, Any] = told["kinds"]
    if entry and entry not in kinds:
        raise NameError(f"name '{entry}' is not defined by the submission")
    found: dict[str, Any] = {}
    for name, kind in kinds.items():
        if name in wanted:
            found.update(_stand_in(name, kind))
    return found


def _stand_in(name: str, kind: Any) -> dict[str, Any]:
    match kind:
        case ["call"]:
            return {name: _proxy(name)}
        case ["value", plain]:
            return {name: typed.decode(plain)}
        case ["module", str(module)] if module.partition(".")[0] in sys.stdlib_module_names:
            return {name: importlib.import_module(module)}
        case _:
            return {}


def _names(code: types.CodeType) -> Iterator[str]:
    yield from code.co_names
    for each in code.co_consts:
        if isinstance(each, types.CodeType):
            yield from _names(each)


def _proxy(name: str) -> Callable[..., Any]:
    def call(*arguments: Any, **keywords: Any) -> Any:
        asked = {
            "call": name,
            "arguments": [typed.encode(each) for each in arguments],
            "keywords": {key: typed.encode(each) for key, each in keywords.items()},
        }
        told = _ask(asked)
        try:
            if "error" in told:
                error = typed.decode_error(told["error"])
            else:
                value, error = typed.decode(told["value"]), None
                for key, plain in told["changed"].items():
                    target = arguments[int(key)] if key.isdecimal() else keywords[key]
                    typed.copy_into(target, typed.decode(plain))
                return value
        except WRONG as wrong:
            raise _end(f"the submission's process spoke nonsense: {wrong!r}") from None
        raise error

    call.__name__ = call.__qualname__ = name
    return call


def still_there() -> None:
    """Ended if the submission's process went before the test was over."""
    if _over:
        raise Ended(_over[0])


_over: list[str] = []


def _end(why: str) -> Ended:
    _over.append(why)
    return Ended(why)


def _ask(asked: dict[str, Any]) -> dict[str, Any]:
    still_there()
    try:
        frames.send(LINK, asked)
        told = frames.receive(LINK, LARGEST)
    except (EOFError, OSError, frames.BadFrame) as error:
        raise _end(f"the submission's process is gone: {error!r}") from None
    if not isinstance(told, dict):
        raise _end("the submission's process spoke nonsense")
    return cast("dict[str, Any]", told)
