"""The real command line inside the test's process, and a task file to try it on."""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass
from pathlib import Path

from harness.commands import main

SUMS = Path(__file__).resolve().parent.parent / "harness" / "commands" / "templates" / "task.txt"


@dataclass(frozen=True)
class Said:
    """What a command answered."""

    code: int
    out: str
    err: str


def command(*words: str | Path) -> Said:
    """Run `harness WORDS` here; gives its exit code and what it wrote."""
    out, err = io.StringIO(), io.StringIO()
    code = 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main(list(map(str, words)))
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
    return Said(code, out.getvalue(), err.getvalue())


def a_task_file(folder: Path, name: str = "sums") -> Path:
    """The task that `harness new` writes."""
    text = SUMS.read_text("utf-8").replace("$family", name).replace("$member", "digits")
    path = folder / f"{name}.py"
    path.write_text(text, "utf-8")
    return path


def exchange(path: Path, old: str, new: str) -> Path:
    """The same file with one text exchanged."""
    text = path.read_text("utf-8")
    assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in {path.name}"
    path.write_text(text.replace(old, new), "utf-8")
    return path
