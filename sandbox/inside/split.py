"""Split tests: the submission in one process, the test in another, typed values between them.

    judging half                            holding half (the submission)
    {"names": [...]}                    ->
                                        <-  {"kinds": {name: ["call"], ["value", v], ["module", m]}}
    {"call": name, "arguments": [...],
     "keywords": {...}, "held": [...]}  ->
                                        <-  {"value": v, "held": [...]}, with "error" where one was
                                            raised, or {"refused": why} where the value is no data

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
from sandbox.inside.decoding import Reader, decode, decode_error
from sandbox.inside.encoding import LARGEST, Uncrossable, Writer, encode, encode_error

LINK = 4
WRONG = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError)


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
            told = frames.pack({"kinds": found})
        else:
            told = frames.pack(_called(space, asked))
        if len(told) > LARGEST:
            told = frames.pack({"refused": f"a message of {len(told)} bytes"})
        frames.write(LINK, told)


def _kind(value: Any) -> list[Any]:
    if isinstance(value, types.ModuleType):
        return ["module", value.__name__]
    if callable(value):
        return ["call"]
    try:
        return ["value", encode(value)]
    except (Uncrossable, RecursionError):
        return ["strange", type(value).__name__]


def _called(space: dict[str, Any], asked: dict[str, Any]) -> dict[str, Any]:
    """One call: its value or its exception, and what became of all that can be changed."""
    reader = Reader(asked["held"])
    arguments = reader.all(asked["arguments"])
    keywords = {key: reader.value(each) for key, each in asked["keywords"].items()}
    value, told = None, dict[str, Any]()
    try:
        value = space[asked["call"]](*arguments, **keywords)
    except MemoryError:
        raise
    except BaseException as error:
        told["error"] = encode_error(error)
    try:
        writer = Writer(reader.held)
        return {"value": writer.plain(value), **told, "held": writer.table()}
    except MemoryError:
        raise
    except Uncrossable as error:
        return {"refused": error.what}
    except BaseException as error:
        return {"refused": f"a value whose reading raises {error!r:.400}"}


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
        raise _end(Ended("the submission's process did not tell its names"))
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
            return {name: decode(plain)}
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
        writer = Writer()
        try:
            asked: dict[str, Any] = {
                "call": name,
                "arguments": writer.all(arguments),
                "keywords": {key: writer.plain(each) for key, each in keywords.items()},
                "held": writer.table(),
            }
        except Uncrossable as error:
            raise _end(error) from None
        except RecursionError:
            raise _end(Uncrossable("an argument that is nested so deep")) from None
        return _answer(_ask(asked), writer.held, asked["held"])

    call.__name__ = call.__qualname__ = name
    return call


def _answer(told: dict[str, Any], own: list[Any], sent: list[Any]) -> Any:
    """The value or the exception, after what the call changed is written back."""
    if "refused" in told:
        raise _end(Uncrossable(str(told["refused"])[:2000]))
    try:
        reader = Reader(told["held"], own, sent)
        if "error" not in told:
            return reader.value(told["value"])
        error = decode_error(told["error"])
    except WRONG as wrong:
        raise _end(Ended(f"the submission's process spoke nonsense: {wrong!r}")) from None
    raise error


def still_there() -> None:
    """Raises again what ended the test, if a test swallowed it."""
    if _over:
        raise _over[0]


_over: list[Ended | Uncrossable] = []


def _end(error: Ended | Uncrossable) -> BaseException:
    _over.append(error)
    return error


def _ask(asked: dict[str, Any]) -> dict[str, Any]:
    still_there()
    try:
        frames.send(LINK, asked)
        told = frames.receive(LINK, LARGEST)
    except (EOFError, OSError, frames.BadFrame) as error:
        raise _end(Ended(f"the submission's process is gone: {error!r}")) from None
    if not isinstance(told, dict):
        raise _end(Ended("the submission's process spoke nonsense"))
    return cast("dict[str, Any]", told)
