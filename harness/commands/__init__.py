"""The command line: the only code that knows every room."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from importlib import import_module

NAMES = (
    "eval",
    "train",
    "publish",
    "list",
    "show",
    "check",
    "new",
    "compare",
    "rescore",
    "view",
    "doctor",
)
"""Every command is the function `run` of its module."""


def main(arguments: list[str] | None = None) -> None:
    """Run a command and exit with a code that means something (see `harness.errors`)."""
    from harness.errors import HarnessError

    _speak_utf8()
    try:
        _app()(arguments, standalone_mode=True, prog_name="harness")
    except HarnessError as error:
        _complain(str(error))
        sys.exit(error.code)
    except KeyboardInterrupt:
        _complain("stopped; what was made is kept, and the same command goes on from there")
        os._exit(130)  # threads may still wait for a model
    except BrokenPipeError:
        os._exit(141)


def _app() -> Callable[..., None]:
    import typer

    app = typer.Typer(
        name="harness",
        help="Define a task once, train against it, publish a number that others can believe.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    wanted = [word for word in sys.argv[1:2] if word in NAMES]
    for name in wanted or NAMES:
        module = import_module(f"harness.commands.{name}")
        app.command(name, help=(module.run.__doc__ or "").strip())(module.run)
    app.callback()(_root)
    return app


def _root() -> None:
    """Define a task once, train against it, publish a number that others can believe."""


def _complain(text: str) -> None:
    print(f"error: {text}", file=sys.stderr)


def _speak_utf8() -> None:
    import io

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.encoding.lower() != "utf-8":
            stream.reconfigure(encoding="utf-8", errors="replace")
