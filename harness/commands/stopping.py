"""How a training run is asked to stop: finish the step, save, and say how to go on."""

from __future__ import annotations

import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager

from harness.commands import screen
from trainers.loop import Training


@contextmanager
def interruptible(training: Training, *, quiet: bool = False) -> Generator[None]:
    """Ctrl-C and SIGTERM finish the step and save; a second one of a kind stops at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    seen: set[int] = set()

    def stop(number: int, frame: object) -> None:
        if number in seen:
            raise KeyboardInterrupt
        seen.add(number)  # torchrun hands a terminal's Ctrl-C on as SIGTERM
        if training.stopping or quiet:
            training.stopping = True
            return
        training.stopping = True
        screen.say(
            f"finishing step {training.run.step + 1} and saving; once more stops at once, and the "
            "same command then goes on from the last checkpoint"
        )

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
