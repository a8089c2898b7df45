"""What the other half of a split test said, as data again; `encoding` tells how it is written."""

from __future__ import annotations

import builtins
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any, cast

Plain = None | bool | int | str | list[Any]
FARTHEST = 100_000
"""Largest exponent of a decimal number: as an integer it still takes little memory."""
FACTORIES: dict[str, Any] = {
    kind.__name__: kind for kind in (int, float, str, bool, list, dict, set, tuple)
}
"""Of default dictionaries."""
TIMES: dict[str, Any] = {kind.__name__: kind for kind in (datetime, date, time)}
"""What crosses as its text in ISO 8601."""


def decode(plain: Any) -> Any:
    """The value of what `encode` gives; an error that `Reader` tells of where there is none."""
    value, table = plain
    return Reader(table).value(value)


class Reader:
    """The values of a message, from its table on.

    `own`: containers of this side that the first entries of the table stand for, each of which is
    filled anew where its entry differs from the one in `sent`. What is no value raises ValueError,
    TypeError, KeyError, IndexError, AttributeError, ArithmeticError or RecursionError.
    """

    def __init__(
        self, table: Any, own: Sequence[Any] = (), sent: Sequence[Plain | None] = ()
    ) -> None:
        if not isinstance(table, list):
            raise ValueError(f"a {type(table).__name__} is no table")
        entries = cast("list[Any]", table)
        if len(entries) < len(own):
            raise ValueError(f"{len(entries)} entries for {len(own)} containers")
        self.held = [*own, *map(_empty, entries[len(own) :])]
        for place, entry in enumerate(entries):
            if place >= len(own) or entry != sent[place]:
                self._fill(self.held[place], entry)

    def value(self, plain: Any) -> Any:
        """The value of one plain."""
        if plain is None or isinstance(plain, bool | int | str):
            return plain
        if not isinstance(plain, list):
            raise ValueError(f"a {type(plain).__name__} stands for no value")
        name, *rest = cast("list[Any]", plain)
        return _MAKERS[name](self, rest)

    def all(self, rest: Iterable[Any]) -> list[Any]:
        """The value of each."""
        return [self.value(each) for each in rest]

    def _fill(self, target: Any, entry: list[Any]) -> None:
        """Make a container hold what the entry says, and nothing else."""
        name, *rest = entry
        if name in ("deque", "defaultdict"):
            del rest[0]  # what `_empty` has read
        if not isinstance(target, _FAMILIES[name]):
            raise ValueError(f"a {type(target).__name__} is no {name}")
        if name == "bytearray":
            target[:] = bytes.fromhex(_only_text(rest))
        elif name == "list":
            target[:] = self.all(rest)
        elif name in ("set", "deque"):
            items = self.all(rest)
            target.clear()
            (target.update if name == "set" else target.extend)(items)
        else:
            pairs = [(self.value(key), self.value(item)) for key, item in rest]
            target.clear()
            for key, item in pairs:  # update would count, were it a Counter
                target[key] = item


_HELD: dict[str, Any] = {
    kind.__name__: kind
    for kind in (list, set, deque, bytearray, dict, OrderedDict, Counter, defaultdict)
}
_FAMILIES = {name: dict if issubclass(kind, dict) else kind for name, kind in _HELD.items()}


def _empty(entry: Any) -> Any:
    """A new container of an entry's kind, to be filled when all are there."""
    match entry:
        case ["defaultdict", name, *_]:
            return defaultdict[Any, Any](FACTORIES[name])
        case ["deque", most, *_]:
            return deque[Any](maxlen=most)
        case [str(name), *_]:
            return _HELD[name]()
        case _:
            raise ValueError("an entry of the table is none")


def _held(reader: Reader, rest: list[Any]) -> Any:
    (place,) = rest
    if type(place) is not int or place < 0:
        raise ValueError(f"{place!r:.40} is no place in the table")
    return reader.held[place]


def _iterated(reader: Reader, rest: list[Any]) -> Iterator[Any]:
    ending, *items = rest
    found = reader.all(items)
    return iter(found) if ending is None else _ending(found, decode_error(ending))


def _ending(items: list[Any], error: BaseException) -> Iterator[Any]:
    yield from items
    raise error


def far(value: Decimal) -> bool:
    """Whether its exponent is beyond `FARTHEST`."""
    return Decimal.is_finite(value) and abs(Decimal.adjusted(value)) > FARTHEST


def _decimal(reader: Reader, rest: list[Any]) -> Decimal:
    value = Decimal(_only_text(rest))
    if far(value):
        raise ValueError("a decimal number's exponent is too large")
    return value


def _whole(reader: Reader, rest: list[Any]) -> list[int]:
    found = reader.all(rest)
    if not all(type(each) is int for each in found):
        raise ValueError("something else where whole numbers belong")
    return found


def _only_text(rest: list[Any]) -> str:
    (text,) = rest
    if not isinstance(text, str):
        raise ValueError(f"a {type(text).__name__} where text belongs")
    return text


def _days(reader: Reader, rest: list[Any]) -> timedelta:
    days, seconds, microseconds = _whole(reader, rest)
    return timedelta(days, seconds, microseconds)


_MAKERS: dict[str, Callable[[Reader, list[Any]], Any]] = {
    "held": _held,
    "int": lambda reader, rest: int(_only_text(rest), 16),
    "float": lambda reader, rest: float.fromhex(_only_text(rest)),
    "complex": lambda reader, rest: complex(float.fromhex(rest[0]), float.fromhex(rest[1])),
    "bytes": lambda reader, rest: bytes.fromhex(_only_text(rest)),
    "tuple": lambda reader, rest: tuple(reader.all(rest)),
    "frozenset": lambda reader, rest: frozenset(reader.all(rest)),
    "range": lambda reader, rest: range(*_whole(reader, rest)),
    "Fraction": lambda reader, rest: Fraction(*_whole(reader, rest)),
    "Decimal": _decimal,
    "timedelta": _days,
    **{
        name: lambda reader, rest, kind=kind: kind.fromisoformat(_only_text(rest))
        for name, kind in TIMES.items()
    },
    "keys": lambda reader, rest: dict.fromkeys(reader.all(rest)).keys(),
    "values": lambda reader, rest: dict(enumerate(reader.all(rest))).values(),
    "items": lambda reader, rest: dict(reader.all(rest)).items(),
    "iterator": _iterated,
}


def decode_error(plain: Any) -> BaseException:
    """An exception of the first of those types that is built in.

    One that ends a process comes as itself, for no `except Exception` to catch: whoever runs the
    test takes it for a failure. The end of an iteration comes as RuntimeError, as it leaves a
    generator: else it would end the loop in which the test calls.
    """
    names, found = plain
    arguments = Reader([]).all(found)
    for name in names:
        kind = getattr(builtins, name, None) if isinstance(name, str) else None
        if isinstance(kind, type) and issubclass(kind, BaseException):
            if issubclass(kind, StopIteration | StopAsyncIteration):
                return RuntimeError(f"the function raised {name}")
            try:
                return kind(*arguments)
            except Exception:
                continue  # one that wants other arguments, such as UnicodeDecodeError
    return RuntimeError(*arguments)
