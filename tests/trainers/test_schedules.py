"""Numbers that move with the step."""

from types import SimpleNamespace

import pytest

from harness.errors import UsageError
from trainers.schedules import Constant, Cosine, Exponential, Linear, at, whole


def now(step: int) -> SimpleNamespace:
    return SimpleNamespace(step=step)


def test_schedules_begin_and_end_where_they_say():
    assert [Linear(1, 0, 4).value(s) for s in (0, 1, 4, 9)] == [1, 0.75, 0, 0]
    assert Exponential(1, 0.01, 2).value(1) == pytest.approx(0.1)
    assert Exponential(1, 0.01, 2).value(7) == pytest.approx(0.01)
    assert Cosine(1, 0, 10).value(0) == 1
    assert Cosine(1, 0, 10).value(5) == pytest.approx(0.5)
    assert Cosine(1, 0, 10).value(99) == pytest.approx(0)
    assert [Cosine(1, 0, 10, warmup=2).value(s) for s in (0, 1, 2)] == [0.5, 1, 1]
    assert Constant(3).value(5) == 3


def test_a_plain_number_is_itself():
    assert at(0.2, now(7)) == 0.2
    assert whole(Linear(8, 4, 4), now(1)) == 7
    with pytest.raises(UsageError, match="at least 1"):
        whole(Linear(8, 0, 4), now(4))


@pytest.mark.parametrize(
    "bad",
    [
        lambda: Constant(-1),
        lambda: Linear(1, -0.1, 5),
        lambda: Linear(1, 0, 0),
        lambda: Exponential(1, 0, 5),
        lambda: Cosine(1, 0, 5, warmup=5),
        lambda: Constant(float("nan")),
    ],
)
def test_schedules_that_go_below_zero_or_nowhere_are_refused(bad):
    with pytest.raises(UsageError, match=r"below 0|factor leads"):
        bad()


def test_a_negative_or_infinite_number_is_refused_when_read():
    class Falling:
        def value(self, step: int) -> float:
            return 1.0 - step

    assert at(Falling(), now(1)) == 0
    with pytest.raises(UsageError, match="at step 2"):
        at(Falling(), now(2))
    with pytest.raises(UsageError):
        at(float("inf"), now(0))
