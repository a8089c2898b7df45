"""Values and exceptions between the halves of a split test: exact, plain, bounded, only data."""

from __future__ import annotations

import json
import math
from collections import Counter, OrderedDict, defaultdict, deque
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import count, repeat
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.inside.decoding import decode, decode_error
from sandbox.inside.encoding import LONGEST, Uncrossable, encode, encode_error

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.complex_numbers()
    | st.text()
    | st.binary()
    | st.fractions()
    | st.decimals(allow_nan=False)
    | st.datetimes(timezones=st.sampled_from([None, UTC])).map(lambda when: when.replace(fold=0))
    | st.dates()
    | st.timedeltas()
)
keys = st.integers() | st.text() | st.tuples(st.booleans(), st.text())
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner)
        | st.tuples(inner, inner)
        | st.dictionaries(keys, inner)
        | st.dictionaries(keys, inner).map(OrderedDict)
        | st.dictionaries(keys, inner).map(lambda pairs: defaultdict(list, pairs))
        | st.lists(keys).map(Counter)
        | st.frozensets(keys)
        | st.sets(keys)
        | st.lists(inner).map(lambda items: deque(items, 5))
    ),
    max_leaves=20,
)


def same(one: Any, other: Any) -> bool:
    """Equal, NaN to NaN, with equal types all the way down (sets hold nothing that has a NaN)."""
    if type(one) is not type(other):
        return False
    match one:
        case list() | tuple() | deque():
            return len(one) == len(other) and all(map(same, one, other))
        case dict():
            return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
        case set() | frozenset():
            return one == other
        case _:
            return repr(one) == repr(other)


def crossed(value: Any) -> Any:
    return decode(json.loads(json.dumps(encode(value))))


@given(values)
def test_a_value_comes_back_as_it_was(value: Any):
    assert same(crossed(value), value)


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (type("A", (int,), {"__eq__": lambda s, o: True})(7), 7),
        (type("A", (str,), {"__str__": lambda s: "forged"})("x"), "x"),
        (type("A", (Counter,), {})("aab"), Counter("aab")),
        (defaultdict(lambda: 1, a=1), {"a": 1}),
        (type("A", (list,), {"__iter__": lambda s: iter([9])})([1]), [1]),
        (type("A", (Fraction,), {"__eq__": lambda s, o: True})(1, 2), Fraction(1, 2)),
        (type("A", (Decimal,), {"__str__": lambda s: "1e9999999"})("0.10"), Decimal("0.10")),
        (type("A", (datetime,), {})(2024, 2, 29, 1), datetime(2024, 2, 29, 1)),
    ],
)
def test_a_subclass_arrives_as_the_plain_type(value: Any, plain: Any):
    again = crossed(value)
    assert type(again) is type(plain)
    assert again == plain


def test_numbers_cross_exactly():
    for value in (0.1, -0.0, math.inf, 5e-324, 2**53, -(2**99), Decimal("1.10"), Decimal("-Inf")):
        assert repr(crossed(value)) == repr(value)
    assert math.isnan(crossed(math.nan))
    assert crossed(Decimal("NaN")).is_nan()


def test_scalars_of_numpy_arrive_as_the_numbers_that_they_equal():
    np = pytest.importorskip("numpy")
    found = [np.max([1, 3]), np.bool_(True), np.float32(0.5), np.uint8(255), np.array(4)]
    again = crossed([*found, np.complex64(1j), {np.int64(1): np.str_("x")}])
    assert repr(again) == "[3, True, 0.5, 255, 4, 1j, {1: 'x'}]"
    for stranger in (np.array([1, 2]), np.datetime64("2024-01-01"), np.array("x", dtype=object)):
        with pytest.raises(
            Uncrossable, match=rf"a value of type numpy\.{type(stranger).__name__} "
        ):
            encode(stranger)


def test_what_is_read_once_or_has_no_type_of_its_own_arrives_as_plain_python_has_it():
    table = {"b": 1, "a": [2]}
    for value in (range(9, 1, -3), table.keys(), table.items(), time(1, 2, 3)):
        assert crossed(value) == value
        assert type(crossed(value)) is type(value)
    assert list(crossed(table.values())) == [1, [2]]
    assert crossed(Counter("aab"))["missing"] == 0
    assert crossed(defaultdict(list))["missing"] == []
    assert crossed(deque([1, 2], 2)).maxlen == 2
    assert crossed(OrderedDict(a=1, b=2)) != OrderedDict(b=2, a=1)
    assert tuple(crossed(iter([1, 2]))) == (1, 2)
    assert crossed(datetime(2024, 1, 1, tzinfo=UTC)).utcoffset() == timedelta(0)
    assert crossed(date(1, 1, 1)) == date(1, 1, 1)


def test_a_container_that_holds_itself_crosses_and_one_that_is_met_twice_is_one():
    value: list[Any] = [{}]
    value += [value, value[0]]
    again = crossed(value)
    assert again[1] is again
    assert again[2] is again[0] == {}
    for _ in range(10_000):
        value = [value]
    assert len(encode(value)[1]) == 10_002


@pytest.mark.parametrize(
    "value",
    [
        count(),
        repeat("x" * 10_000_000),
        Decimal("1e999999999"),
    ],
    ids=["endless", "large", "huge"],
)
def test_what_takes_too_much_is_refused_in_clear_words(value: Any):
    with pytest.raises(Uncrossable, match=f"more than {LONGEST} items|bytes|whose exponent"):
        encode(value)


@pytest.mark.parametrize(
    "plain",
    [
        ["eval", "1"],
        ["tuple", ["int"]],
        {"a": 1},
        ["int", 3],
        ["int", "x"],
        [],
        [[]],
        ["dict", 1],
        ["list", 1],
        ["held", 0],
        ["held", -1],
        ["Decimal", "1e999999999"],
        ["Decimal", "x"],
        ["Fraction", 1, 0],
        ["Fraction", "9" * 9],
        ["range", 1, 2, 0],
        ["range", "12"],
        ["datetime", "today"],
        ["timedelta", 10**30, 0, 0],
        ["keys", ["tuple", ["held", 0]]],
        ["items", 1],
        1.5,
    ],
    ids=str,
)
def test_what_stands_for_no_value_is_an_error(plain: Any):
    with pytest.raises((ValueError, TypeError, LookupError, AttributeError, ArithmeticError)):
        decode([plain, []])


@pytest.mark.parametrize(
    "entry",
    [
        [],
        ["tuple"],
        ["defaultdict", "eval"],
        ["deque", "x"],
        ["dict", 1],
        ["set", ["held", 0]],
        "x",
    ],
    ids=str,
)
def test_what_stands_for_no_container_is_an_error(entry: Any):
    with pytest.raises((ValueError, TypeError, LookupError, AttributeError, ArithmeticError)):
        decode([["held", 0], [entry]])


def told(error: BaseException) -> BaseException:
    return decode_error(json.loads(json.dumps(encode_error(error))))


def test_an_exception_arrives_as_the_nearest_built_in_type():
    class Own(LookupError):
        pass

    class Last(BaseException):
        pass

    assert repr(told(Own("x", 1))) == "LookupError('x', 1)"
    assert repr(told(FileNotFoundError(2, "no"))) == "FileNotFoundError(2, 'no')"
    assert repr(told(SystemExit(0))) == "SystemExit(0)"
    assert repr(told(Last())) == "BaseException()"
    assert repr(told(StopIteration(3))) == "RuntimeError('the function raised StopIteration')"
    with pytest.raises(UnicodeDecodeError) as raised:
        b"\xff".decode()
    assert type(told(raised.value)) is UnicodeError
    assert str(decode_error([["eval", "ValueError"], ["x"]])) == "x"


def test_an_exception_that_says_more_than_its_arguments_arrives_with_its_text():
    class Own(ValueError):
        def __str__(self) -> str:
            return "all of it"

    assert repr(told(Own(1))) == "ValueError('all of it')"
    assert told(ValueError([1])).args == ("[1]",)
    assert told(ValueError("x" * 9999)).args == ("x" * 2000,)
    assert told(ValueError(10**5000)).args == ("",)  # too long for a text, too
