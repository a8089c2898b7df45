"""The command line: the only code that knows every room."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import wraps
from importlib import import_module
from typing import Any

from harness.commands import asked

NAMES = (
    "eval",
    "train",
    "sweep",
    "publish",
    "list",
    "show",
    "check",
    "new",
    "compare",
    "rescore",
    "verify",
    "submit",
    "view",
    "doctor",
    "sandbox",
    "forecasts",
)
"""Every command is the function `run` of its module."""

THREADS = {"GOMP_SPINCOUNT": "4000", "THP_MEM_ALLOC_ENABLE": "1"}
"""What libraries read when they are loaded; what the environment says already stays.

An idle thread of OpenMP spins for some 40 microseconds, then it sleeps. If it never spins a step of
training takes 1.4 times as long, since small products follow each other quickly; if it spins for
long, five to ten times as long beside a busy process. Huge pages make large tensors cheaper.
"""


def main(arguments: list[str] | None = None) -> None:
    """Run a command and exit with a code that means something (see `harness.errors`)."""
    from harness.disk import AGAIN, FULL, is_full
    from harness.errors import DataError, HarnessError

    _speak_utf8()
    for name, value in THREADS.items():
        os.environ.setdefault(name, value)
    given = sys.argv[1:] if arguments is None else arguments
    asked.remember(given)
    words = _spread(given)
    if words[:1] == ["train"] and "--sweep" in words:
        words = ["sweep", *(word for word in words[1:] if word != "--sweep")]
    try:
        _app(words[:1])(words, prog_name="harness")
    except HarnessError as error:
        _complain(str(error))
        sys.exit(error.code)
    except Exception as error:  # of a file or folder, or of a library that writes by itself
        if is_full(error):
            _complain(f"{FULL} and {AGAIN} ({error})")
        elif isinstance(error, OSError) and error.filename is not None:
            _complain(f"{error.filename}: {error.strerror}; mend it, or name another place")
        else:
            raise
        sys.exit(DataError.code)


def takes(words: list[str]) -> None:
    """Fail as the command that the words name would where it cannot take them; runs nothing."""
    from typer.main import get_command

    found: Any = get_command(_app(words[:1]))  # type: ignore[arg-type]
    found.commands[words[0]].make_context(f"harness {words[0]}", _spread(words[1:]))


def _spread(words: list[str]) -> list[str]:
    """`--set a=1 b=2` means `--set a=1 --set b=2`."""
    spread: list[str] = []
    setting = False
    for word in words:
        follows = setting and "=" in word and not word.startswith("-")
        if follows and spread[-1] != "--set":
            spread.append("--set")
        setting = word == "--set" or follows
        spread.append(word)
    return spread


def _app(first: list[str]) -> Callable[..., None]:
    """All commands, or only the one that the first word names: the others are not imported."""
    import typer

    app = typer.Typer(
        name="harness",
        help=_root.__doc__,
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    for name in [word for word in first if word in NAMES] or NAMES:
        module = import_module(f"harness.commands.{name}")
        more = getattr(module, "PASSES_ON", False)
        settings = {"allow_extra_args": more, "ignore_unknown_options": more}
        app.command(name, help=module.run.__doc__, context_settings=settings)(
            _stoppable(module.run)
        )
    app.callback()(_root)
    return app


def _root() -> None:
    """Define a task once, train against it, publish a number that others can believe."""


def _stoppable(command: Callable[..., None]) -> Callable[..., None]:
    @wraps(command)
    def run(*words: object, **options: object) -> None:
        try:
            command(*words, **options)
        except KeyboardInterrupt:
            _complain("stopped; what was made is kept, and the same command goes on from there")
            sys.stdout.flush()
            os._exit(130)  # threads may still wait for a model

    return run


def _complain(text: str) -> None:
    print(f"error: {text}", file=sys.stderr)


def _speak_utf8() -> None:
    import io

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.encoding.lower() != "utf-8":
            stream.reconfigure(encoding="utf-8", errors="replace")
