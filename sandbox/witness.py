"""witness: programs that try what a sandbox must refuse, and some that it must not.

That a layer is loaded is no evidence; that an attempt failed is. A backend passes if each attempt
ends as allowed, and a plain program is still right after it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sandbox.types import Backend, Limits, Program, Run, Stdin

LIMITS = Limits(cpu=1.0, wall=4.0, memory=256 << 20, stdout=1 << 16)
REFUSED = "refused"
"""What a program prints that met an error where it should."""
ATTEMPT = """
try:
{attempt}
except OSError:
    print("refused")
else:
    print("done")
"""
ATTEMPTS = {
    "start a process": "import os; pid = os.fork(); pid or os._exit(0)",
    "run a command": "import subprocess; subprocess.run(['/bin/true'])",
    "connect": "import socket; socket.socket().connect(('127.0.0.1', 80))",
    "listen": "import socket; s = socket.socket(); s.bind(('127.0.0.1', 0)); s.listen()",
    "abstract socket": "import socket; socket.socket(socket.AF_UNIX).bind('\\0sandbox-witness')",
    "write to /tmp": "open('/tmp/sandbox-witness', 'w').write('x')",
    "write to its library": "import os; open(os.__file__, 'a').write('#')",
    "read /etc/passwd": "open('/etc/passwd').read()",
    "read a host name": "open('/etc/hostname').read()",
    "list its parent's files": "import os; os.listdir(f'/proc/{os.getppid()}/fd')",
    "kill its parent": "import os; os.kill(os.getppid(), 9)",
    "memory outside limits": "import os; os.memfd_create('x')",
}
ENDS: dict[str, tuple[str, tuple[str, ...]]] = {
    "too much memory": ("x = bytearray(1 << 33)", ("MLE",)),
    "too much CPU": ("while True: pass", ("TLE",)),
    "sleeps": ("import time; time.sleep(60)", ("TLE",)),
    "too much output": ("while True: print('x' * 1000)", ("OLE",)),
    "crashes": ("import os; os.abort()", ("RE",)),
    "leaves early": ("import sys; sys.exit(3)", ("RE",)),
    "is no Python": ("def", ("CE",)),
}
CONTROL = Program("print(int(input()) * 2)", (Stdin("21"),), LIMITS)


@dataclass(frozen=True)
class Seen:
    """One attempt and how it ended."""

    name: str
    fine: bool
    told: str


def attempts() -> Iterator[tuple[str, Program]]:
    """Every attempt by name."""
    for name, attempt in ATTEMPTS.items():
        yield name, Program(ATTEMPT.format(attempt=f"    {attempt}"), (Stdin(""),), LIMITS)
    for name, (source, _) in ENDS.items():
        yield name, Program(source, (Stdin(""),), LIMITS)


def examine(backend: Backend) -> Iterator[Seen]:
    """Each attempt on this backend, a control program after it. SandboxUnavailable."""
    for name, program in attempts():
        run = _only(backend, program)
        fine = _refused(run) if name in ATTEMPTS else run.status in ENDS[name][1]
        control = _only(backend, CONTROL)
        alive = control.status == "OK" and control.stdout.strip() == b"42"
        told = f"{run.status} {run.detail or run.stdout[:80].decode('utf-8', 'replace').strip()}"
        yield Seen(name, fine and alive, told if alive else f"{told}; control: {control}")


def _refused(run: Run) -> bool:
    """It met an error; a crash of any other kind did not get through either, but a fault would
    say nothing."""
    if run.status == "OK":
        return run.stdout.strip() == REFUSED.encode()
    return run.status != "SE"


def _only(backend: Backend, program: Program) -> Run:
    ((_, result),) = backend.run([program])
    return result.runs[-1]
