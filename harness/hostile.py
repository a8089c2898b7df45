"""Outputs that no verifier may stumble over, and judging them under an alarm."""

from __future__ import annotations

import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from harness.types import Completion, Example, Task, Verdict

WORDS: tuple[Any, ...] = (
    "",
    None,
    " \n\t",
    "9" * 200_000,
    "1e999999999",
    "nan inf -inf",
    "(" * 5_000 + ")" * 5_000,
    "\\boxed{" * 2_000,
    "\\boxed{9^{9^{9^{9^{9}}}}}",
    "<think>" * 500 + "<answer>" + "[0, 0, 0, 0]" * 500,
    '{"a": ' * 2_000 + "1" + "}" * 2_000,
    "```python\nwhile True: pass\n```",
    "\x00\x1b[31m\u202e\ud83d\ufeff",
    "\u0663\u066b\u0661\u0664 \u00bd \u00b2 \u2460",
    "a" * 30_000 + "!",
    12,
    float("nan"),
    b"\xff\xfe",
    ["x", {"y": None}],
    {"answer": {"answer": []}},
)


def hostile() -> list[Any]:
    """Outputs that a verifier must judge without raising, whatever its family."""
    import numpy as np

    arrays = [np.full((3, 3), np.nan), np.zeros((0, 2)), np.array(["x", None], object), np.array(1)]
    return [*WORDS, *arrays]


def verdict_on(task: Task, example: Example, output: Any) -> Verdict:
    """Of a cut-off completion, or of a dialogue that hears the same in every turn."""
    if task.dialogue is None:
        return task.verify(example, Completion(output, stopped="budget"))
    dialogue = task.dialogue(task.prompt(example))
    next(dialogue)
    try:
        while True:
            dialogue.send(Completion(output, stopped="budget"))
    except StopIteration as end:
        return end.value


class TooLongError(BaseException):
    """Not an Exception, so that a verifier that catches everything cannot catch it."""


@contextmanager
def patience(seconds: float) -> Generator[None]:
    """Stops what holds the main thread for longer, where the system has such an alarm."""
    if threading.current_thread() is not threading.main_thread() or not hasattr(
        signal, "setitimer"
    ):
        yield
        return

    def stop(*_: object) -> None:
        raise TooLongError

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
