"""The words of the command that runs, as they were given: manifests tell what made a run."""

from __future__ import annotations

from collections.abc import Sequence
from contextvars import ContextVar

_words: ContextVar[tuple[str, ...]] = ContextVar("words", default=())


def remember(words: Sequence[str]) -> None:
    """From now on, what `words` and `command` say in this context."""
    _words.set(tuple(words))


def words() -> list[str]:
    """What follows `harness`."""
    return list(_words.get())


def command() -> list[str]:
    """The whole command."""
    return ["harness", *words()]
