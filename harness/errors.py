"""Every exception raised on purpose.

HarnessError
├── UsageError        the command or call is wrong          exit 2
│   └── UnknownName   no such task, recipe, model, ...
├── DataError         a dataset, record or rollout file is unusable   exit 3
│   └── SplitError    a scored split was about to be trained on
├── ModelError        a checkpoint, adapter or endpoint is unusable   exit 4
├── BusyError         another process writes to the same place        exit 5
├── MissingExtra      an optional dependency is not installed         exit 6
├── IncompleteRun     some attempts could not be made or judged       exit 7
├── JudgeUnavailable  nothing can be judged: the run stops            exit 8
└── LostProcess       another process of the run is gone              exit 9

A message says what was wrong, what was given, and what would do.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable
from types import ModuleType


class HarnessError(Exception):
    """The root; `code` is the exit code of the command line."""

    code = 1


class UsageError(HarnessError):
    """The command or call is wrong."""

    code = 2


class UnknownName(UsageError):
    """A name that nothing answers to."""

    def __init__(self, name: str, kind: str, known: Iterable[str]) -> None:
        known = sorted(known)
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
        more = f" and {len(known) - 20} more" if len(known) > 20 else ""
        there = f"There are: {', '.join(known[:20]) or 'none'}{more}."
        hint = f"Did you mean {' or '.join(near)}?" if near else there
        super().__init__(f"no '{name}' in {kind}. {hint}")


class DataError(HarnessError):
    """A dataset, record or rollout file is unusable."""

    code = 3


class SplitError(DataError):
    """A scored split was about to be trained on."""


class ModelError(HarnessError):
    """A checkpoint, adapter or endpoint is unusable."""

    code = 4


class BusyError(HarnessError):
    """Another process writes to the same place."""

    code = 5


class MissingExtra(HarnessError):
    """An optional dependency is not installed."""

    code = 6


class IncompleteRun(HarnessError):
    """Some attempts could not be made or judged, so the numbers may not be published."""

    code = 7


class JudgeUnavailable(HarnessError):
    """What judges is missing or cannot be relied on; a verifier raises it to stop the whole run."""

    code = 8


class LostProcess(HarnessError):
    """Another process of the same run is gone, so this one cannot go on."""

    code = 9


def need(module: str, extra: str, why: str) -> ModuleType:
    """Import an optional dependency, or say which extra brings it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtra(
            f"{why} needs '{module.partition('.')[0]}', which is not installed ({error}). "
            f"Run: pip install 'grpo-harness[{extra}]'"
        ) from error
