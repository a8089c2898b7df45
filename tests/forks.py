"""The real command line in forks of one process that has loaded everything: cheap to kill often.

`python -m tests.forks` reads a job a line (folder, arguments), forks, runs the command, and answers
with the number of the process and then with how it ended.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HOUSE = Path(__file__).resolve().parent.parent


@dataclass
class Running:
    """A command that may be killed."""

    pid: int
    server: subprocess.Popen[bytes]
    code: int | None = None

    @property
    def alive(self) -> bool:
        """Whether it was still running when last waited for."""
        return self.code is None

    def ended(self, wait: float = 0.0) -> int | None:
        """Its exit code, or minus the signal that ended it; None if it runs on after the wait."""
        assert self.server.stdout is not None
        if self.code is None and select.select([self.server.stdout], [], [], wait)[0]:
            self.code = int(self.server.stdout.readline())
        return self.code

    def kill(self) -> bool:
        """End it and its children with SIGKILL; False where it had ended by itself."""
        code = self.ended()
        if code is None:
            try:
                os.killpg(self.pid, signal.SIGKILL)
            except ProcessLookupError:  # so early that it leads no group yet
                os.kill(self.pid, signal.SIGKILL)
            code = self.ended(60.0)
        assert code is not None, "a killed process did not end"
        assert code in (0, -signal.SIGKILL), f"the command failed with {code}"
        return code != 0


class Forks:
    """A process that has imported what training needs, started by the words of `within`, if any."""

    def __init__(self, within: Sequence[str] = ()) -> None:
        known = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(HOUSE)}
        self.server = subprocess.Popen(
            [*within, sys.executable, "-m", "tests.forks"],
            env={**os.environ, **known, "TOKENIZERS_PARALLELISM": "false"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
        )

    def start(self, arguments: Sequence[str], folder: Path) -> Running:
        """Run `harness ARGUMENTS` in the folder; what it says goes to `said.txt` there."""
        assert self.server.stdin is not None
        assert self.server.stdout is not None
        self.server.stdin.write(json.dumps([str(folder), list(arguments)]).encode() + b"\n")
        return Running(int(self.server.stdout.readline()), self.server)

    def run(self, arguments: Sequence[str], folder: Path, *, timeout: float = 300) -> None:
        """The same to its end, which must be a good one."""
        code = self.start(arguments, folder).ended(timeout)
        assert code == 0, f"{code}: {(folder / 'said.txt').read_text()[-3000:]}"

    def close(self) -> None:
        """End the server."""
        assert self.server.stdin is not None
        assert self.server.stdout is not None
        self.server.stdin.close()
        self.server.wait(60)
        self.server.stdout.close()


def serve() -> None:
    """Fork for every job, and tell how it ended."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    for raw in sys.stdin:
        folder, arguments = json.loads(raw)
        pid = os.fork()
        if pid == 0:
            _carry_out(folder, arguments)
        answers.write(f"{pid}\n")
        status = os.waitpid(pid, 0)[1]
        answers.write(f"{os.waitstatus_to_exitcode(status)}\n")


def _carry_out(folder: str, arguments: Sequence[str]) -> Any:
    """The command, as its own process group; never returns."""
    os.setsid()
    os.chdir(folder)
    said = os.open("said.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for old, new in ((nothing, 0), (said, 1), (said, 2)):
        os.dup2(old, new)
    sys.argv = ["harness", *arguments]
    code = 1
    try:
        from harness.commands import main

        main()
        code = 0
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    finally:
        sys.stdout.flush()
        os._exit(code)


def preload() -> None:
    """Import what a training run imports."""
    import peft  # noqa: F401
    import torch
    from transformers import LlamaForCausalLM  # noqa: F401

    torch.set_num_threads(1)


if __name__ == "__main__":
    preload()
    serve()
