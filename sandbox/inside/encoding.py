"""Values between the halves of a split test: data of known types as JSON, each tagged.

A number, text, truth value or None stands for itself; everything else is a list whose first item
names its type. Floats and long integers travel in base 16, exactly. What can be changed in place
lies apart, in the message's table, and is referred to by its place there: so one object is one
object on the other side, too, and changes come back to the objects that they were made in.

A subclass arrives as the plain type, a scalar of numpy as the number that it equals, an iterator as
its items: no behavior crosses, and what was read is data.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any, cast

from sandbox.inside.decoding import FACTORIES, FARTHEST, TIMES, Plain, decode_error, far

SMALL = 1 << 53
LARGEST = 1 << 27
"""Bytes of one message between the halves."""
LONGEST = 1_000_000
"""Items that are drawn from the iterators of one message."""
WORDS = 2000
"""Characters of an exception's text, and of each of its arguments."""


class Uncrossable(BaseException):
    """A value that does not cross. No test may catch this as an error of the submission."""

    def __init__(self, what: str) -> None:
        super().__init__(f"{what} does not cross a split test")
        self.what = what


def encode(value: Any) -> list[Any]:
    """One value and its table; Uncrossable or RecursionError where it cannot be told as data."""
    writer = Writer()
    return [writer.plain(value), writer.table()]


class Writer:
    """The values of one message. `held`: what can be changed in place, as it lies in the table.

    Only where a submission lives may what it writes be hostile: iterators, scalars of numpy and
    properties of subclasses are asked for what they hold.
    """

    def __init__(self, held: Iterable[Any] = ()) -> None:
        self.held = list(held)
        self._places = {id(each): place for place, each in enumerate(self.held)}
        self._room = LARGEST
        self._draws = LONGEST

    def plain(self, value: Any) -> Plain:
        """JSON of a value; Uncrossable, and RecursionError where it is nested too deep."""
        if type(value) is int and -SMALL < value < SMALL:
            return value
        write = _WRITERS.get(type(value)) or _of_kind(_WRITERS, value)
        return write(self, value) if write is not None else self._strange(value)

    def table(self) -> list[Plain]:
        """What all that is held contains now; asked for once, after the last value."""
        told: list[Plain] = []
        for each in self.held:  # it grows meanwhile
            write = _of_kind(_CONTENTS, each)
            assert write is not None, "only such are held"
            told.append(write(self, each))
        return told

    def all(self, values: Iterable[Any]) -> list[Plain]:
        """Each of them, plain."""
        told = [self.plain(each) for each in values]
        self.spend(2 * len(told))
        return told

    def spend(self, size: int) -> None:
        """Note bytes that the message takes at the least; Uncrossable once they are too many."""
        self._room -= size
        if self._room < 0:
            raise Uncrossable(f"a message of more than {LARGEST} bytes")

    def place(self, value: Any) -> Plain:
        """A reference to what can be changed in place."""
        place = self._places.setdefault(id(value), len(self.held))
        if place == len(self.held):
            self.held.append(value)
        return ["held", place]

    def _strange(self, value: Any) -> Plain:
        if isinstance(value, Iterator):
            return self._drawn(cast("Iterator[Any]", value))
        return self.plain(_number(value))

    def _drawn(self, iterator: Iterator[Any]) -> Plain:
        """The items that are left, and the error that ended them, if one did."""
        told: list[Any] = ["iterator", None]
        while True:
            try:
                item = next(iterator)
            except StopIteration:
                return told
            except MemoryError:
                raise
            except BaseException as error:
                told[1] = encode_error(error)
                return told
            self._draws -= 1
            if self._draws < 0:
                raise Uncrossable(f"an iterator that has more than {LONGEST} items")
            told.append(self.plain(item))


Write = Callable[[Writer, Any], Plain]


def _of_kind(table: dict[Any, Write], value: Any) -> Write | None:
    """What writes values of its type, or of the nearest type above."""
    for kind in type(value).__mro__:
        if kind in table:
            return table[kind]
    return None


def _number(value: Any) -> Any:
    """The number that a scalar of numpy equals; Uncrossable for all other values."""
    kind = cast("type[Any]", type(value))
    if kind.__module__ == "numpy" and getattr(value, "shape", None) == ():
        number = value.item() if value.dtype.kind in "biufc" else None
        if type(number) in (bool, int, float, complex):  # a long double stays what it is
            return number
    place = "" if kind.__module__ in ("builtins", "__main__") else f"{kind.__module__}."
    raise Uncrossable(f"a value of type {place}{kind.__qualname__}")


def _text(writer: Writer, value: str) -> Plain:
    writer.spend(len(value))
    return str.__str__(value)


def _integer(writer: Writer, value: int) -> Plain:
    number = int.__int__(value)
    if -SMALL < number < SMALL:
        return number
    writer.spend(number.bit_length() // 4)
    return ["int", hex(number)]


def _decimal(writer: Writer, value: Decimal) -> Plain:
    text = Decimal.__str__(value)
    writer.spend(len(text))
    if far(value):
        raise Uncrossable(f"a Decimal whose exponent is beyond {FARTHEST}")
    return ["Decimal", text]


def _octets(name: str, kind: Any) -> Write:
    def write(writer: Writer, value: Any) -> Plain:
        writer.spend(2 * len(value))
        return [name, kind.hex(value)]

    return write


def _items(name: str, kind: Any) -> Write:
    return lambda writer, value: [name, *writer.all(kind.__iter__(value))]


def _pairs(name: str, kind: Any = dict) -> Write:
    return lambda writer, value: [name, *(writer.all(pair) for pair in kind.items(value))]


def _defaults(writer: Writer, value: defaultdict[Any, Any]) -> Plain:
    """One whose factory has no known name arrives as a plain dict."""
    plain = _pairs("dict")(writer, value)
    assert isinstance(plain, list)
    for name, known in FACTORIES.items():
        if value.default_factory is known:
            plain[:1] = ["defaultdict", name]
    return plain


def _deque(writer: Writer, value: deque[Any]) -> Plain:
    return ["deque", value.maxlen, *writer.all(deque[Any].__iter__(value))]


def _complex(writer: Writer, value: complex) -> Plain:
    return ["complex", float.hex(value.real), float.hex(value.imag)]


def _range(writer: Writer, value: range) -> Plain:
    return ["range", *writer.all((value.start, value.stop, value.step))]


def _fraction(writer: Writer, value: Fraction) -> Plain:
    return ["Fraction", *writer.all((value.numerator, value.denominator))]


def _days(writer: Writer, value: timedelta) -> Plain:
    return ["timedelta", value.days, value.seconds, value.microseconds]


def _itself(writer: Writer, value: bool | None) -> Plain:
    return value


def _float(writer: Writer, value: float) -> Plain:
    return ["float", float.hex(value)]


def _time(name: str, kind: Any) -> Write:
    return lambda writer, value: [name, kind.isoformat(value)]


_VIEWS: dict[str, Any] = {"keys": {}.keys(), "values": {}.values(), "items": {}.items()}
_CONTENTS: dict[Any, Write] = {
    list: _items("list", list),
    set: _items("set", set),
    deque: _deque,
    bytearray: _octets("bytearray", bytearray),
    dict: _pairs("dict"),
    OrderedDict: _pairs("OrderedDict", OrderedDict),
    Counter: _pairs("Counter"),
    defaultdict: _defaults,
}
"""What is held: it can be changed in place."""
_WRITERS: dict[Any, Write] = {
    type(None): _itself,
    bool: _itself,
    str: _text,
    int: _integer,
    float: _float,
    complex: _complex,
    bytes: _octets("bytes", bytes),
    tuple: _items("tuple", tuple),
    frozenset: _items("frozenset", frozenset),
    range: _range,
    Fraction: _fraction,
    Decimal: _decimal,
    timedelta: _days,
    **{kind: _time(name, kind) for name, kind in TIMES.items()},
    **{type(view): _items(name, type(view)) for name, view in _VIEWS.items()},
    **dict.fromkeys(_CONTENTS, Writer.place),
}


# -- exceptions


def encode_error(error: BaseException) -> list[Any]:
    """Names of its type and of those above; its arguments if they are plain and all it says."""
    names = [kind.__name__ for kind in type(error).__mro__]
    try:
        text = str(error)
    except BaseException:
        text = ""
    told = [names, _arguments(error)]
    if told[1] is None or str(decode_error(told)) != text:
        told[1] = [text[:WORDS]]
    return told


def _arguments(error: BaseException) -> list[Plain] | None:
    found = error.args
    return Writer().all(found) if all(map(_short, found)) else None


def _short(value: Any) -> bool:
    if type(value) is int:
        return value.bit_length() <= WORDS
    return type(value) in (float, bool, type(None)) or (type(value) is str and len(value) <= WORDS)
