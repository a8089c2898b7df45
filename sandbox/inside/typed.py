"""Values between the halves of a split test: plain built-in types as JSON, each tagged.

A number, text, truth value or None stands for itself; everything else is a list whose first item
names its type. Floats and long integers travel in base 16, exactly. A subclass arrives as the plain
type, so that no behavior crosses: what was decoded is data.
"""

from __future__ import annotations

import builtins
from collections import deque
from collections.abc import Callable
from typing import Any, cast

SMALL = 1 << 53
Plain = None | bool | int | str | list[Any]


class Uncrossable(Exception):
    """A value of a type that does not cross."""


def encode(value: Any) -> Plain:
    """JSON of a value; Uncrossable for other types, RecursionError where it is nested too deep."""
    if value is None or value is True or value is False:
        return value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        number = int.__int__(value)
        return number if -SMALL < number < SMALL else ["int", hex(number)]
    if isinstance(value, float):
        return ["float", float.hex(value)]
    if isinstance(value, complex):
        return ["complex", float.hex(value.real), float.hex(value.imag)]
    if isinstance(value, dict):
        items: Any = dict[Any, Any].items
        return ["dict", *([encode(key), encode(each)] for key, each in items(value))]
    for kind, name in _SEQUENCES.items():
        if isinstance(value, kind):
            return [name, *map(encode, kind.__iter__(value))]
    for kind, name in _BYTES.items():
        if isinstance(value, kind):
            return [name, kind.hex(value)]
    raise Uncrossable(f"a value of type {type(value).__name__} does not cross a split test")


def decode(plain: Any) -> Any:
    """The value again; ValueError, TypeError, KeyError or RecursionError where it is none."""
    if plain is None or isinstance(plain, bool | int | str):
        return plain
    if not isinstance(plain, list):
        raise ValueError(f"a {type(plain).__name__} stands for no value")
    name, *rest = cast("list[Any]", plain)
    return _MAKERS[name](rest)


def copy_into(target: Any, changed: Any) -> None:
    """Make a list, dict, set, deque or bytearray hold what its copy holds now."""
    if isinstance(target, list | bytearray):
        target[:] = changed
        return
    target.clear()
    if isinstance(target, deque):
        target.extend(changed)  # pyright: ignore[reportUnknownMemberType]
    else:
        target.update(changed)


MUTABLE = (list, dict, set, deque, bytearray)

_SEQUENCES: dict[Any, str] = {
    list: "list",
    tuple: "tuple",
    set: "set",
    frozenset: "frozenset",
    deque: "deque",
}
_BYTES: dict[Any, str] = {bytes: "bytes", bytearray: "bytearray"}


def _gathered(kind: Callable[[Any], Any]) -> Callable[[list[Any]], Any]:
    return lambda rest: kind([decode(each) for each in rest])


_MAKERS: dict[str, Callable[[list[Any]], Any]] = {
    "int": lambda rest: int(_text(rest), 16),
    "float": lambda rest: float.fromhex(_text(rest)),
    "complex": lambda rest: complex(float.fromhex(rest[0]), float.fromhex(rest[1])),
    "dict": lambda rest: {decode(key): decode(item) for key, item in rest},
    "bytes": lambda rest: bytes.fromhex(_text(rest)),
    "bytearray": lambda rest: bytearray.fromhex(_text(rest)),
    **{name: _gathered(kind) for kind, name in _SEQUENCES.items()},
}


def _text(rest: list[Any]) -> str:
    (text,) = rest
    if not isinstance(text, str):
        raise ValueError(f"a {type(text).__name__} stands for no number")
    return text


# -- exceptions arrive as the nearest built-in type


def encode_error(error: BaseException) -> list[Any]:
    """Names of its type and of those above, with its text."""
    names = [kind.__name__ for kind in type(error).__mro__]
    try:
        text = str(error)
    except BaseException:
        text = ""
    return [names, text[:2000]]


def decode_error(plain: Any) -> BaseException:
    """An exception of the first of those types that is built in; never one that ends a process."""
    names, text = plain
    for name in names:
        kind = getattr(builtins, name, None) if isinstance(name, str) else None
        if isinstance(kind, type) and issubclass(kind, Exception):
            try:
                return kind(str(text))
            except TypeError:
                continue  # one that wants more than a text, such as UnicodeDecodeError
    return RuntimeError(str(text))
