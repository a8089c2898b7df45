"""The probe by witness: a box is believed to hold because a program in it tried to get out.

The witness is a program like any other, run behind the same layers. It forks, executes, opens
sockets, writes, reads a file of the host, signals, leaves its namespaces and takes memory; each
attempt has to be refused. That a layer reported no error when it was put up is no evidence.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Generator
from pathlib import Path
from typing import Any, cast

from sandbox.cgroup import THREADS
from sandbox.types import Limits, Program, Run, Stdin
from sandbox.worker import Broken, Worker

WITNESS = r"""
import ctypes, json, os, socket, sys
asked = json.loads(sys.stdin.read())
told = {}
def act(name, attempt):
    try:
        told[name] = "done" if attempt() is not False else "refused"
    except (OSError, MemoryError) as error:
        told[name] = "refused: " + type(error).__name__
def fork():
    if os.fork() == 0:
        os._exit(0)
def read():
    found = 0
    for path in asked["read"]:
        try:
            found += len(open(path, "rb").read(1))
        except OSError:
            pass
    return found > 0
def write():
    for folder in asked["write"]:
        try:
            open(os.path.join(folder, asked["name"]), "w").close()
            return True
        except OSError:
            pass
    return False
libc = ctypes.CDLL(None)
def threads():
    import threading
    threading.stack_size(1 << 16)
    over = threading.Event()
    try:
        for _ in range(asked["threads"]):
            threading.Thread(target=over.wait, daemon=True).start()
    except RuntimeError:
        return False
    finally:
        over.set()
act("fork", fork)
if asked["threads"]:
    act("threads", threads)
act("socket", lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM))
act("local socket", lambda: socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
act("read", read)
act("write", write)
act("signal", lambda: os.kill(os.getppid() or 1, 0))
act("namespaces", lambda: libc.unshare(0x10000000) == 0)
act("trace", lambda: libc.ptrace(16, os.getppid(), 0, 0) == 0)
act("memory", lambda: bytearray(asked["memory"]))
print(json.dumps(told), flush=True)
for path in asked["execute"]:
    try:
        os.execv(path, [path, "--version"])
    except OSError:
        pass
print("not executed")
"""
ACTS = {
    "fork": "seccomp",
    "socket": "seccomp",
    "local socket": "seccomp",
    "read": "landlock or pivot_root",
    "write": "landlock or pivot_root",
    "signal": "seccomp",
    "namespaces": "seccomp",
    "trace": "seccomp",
    "memory": "rlimits",
}
"""What is tried, and the layer that has to refuse it."""
LIMITS = Limits(cpu=5.0, wall=60.0, memory=256 << 20)
SPIN = Program("while True: pass", (Stdin(""),), Limits(cpu=0.03, wall=60.0))
LOOP = Program(
    "n = 0\nfor k in range(200000): n = (n * 31 + k) % 1000003\nprint(n)",
    (Stdin(""),) * 3,
    Limits(cpu=30.0, wall=300.0),
)
REFERENCE = 0.015
"""CPU seconds of the loop on the reference machine: 2 virtual cores of an EPYC, CPython 3.11."""
LOADERS = ("/lib64/ld-linux-x86-64.so.2", "/lib/ld-linux-aarch64.so.1", "/bin/true", "/bin/sh")


def leaks(worker: Worker) -> list[str]:
    """What a program in this box could do and should not: empty where it holds."""
    with _canary() as canary:
        folder = str(Path(canary).parent)
        asked: dict[str, Any] = {
            "read": [canary, "/etc/passwd", "/proc/self/environ", "/proc/1/environ"],
            "write": [folder, "/tmp", "/dev/shm", "/", os.path.dirname(os.__file__)],  # noqa: PTH120
            "name": f"witness-{os.getpid()}",
            "memory": 4 << 30 if worker.modules else LIMITS.memory,
            "execute": LOADERS,
            "threads": THREADS if worker.layers.get("cgroup") == "on" else 0,
        }
        run = _alone(worker, Program(WITNESS, (Stdin(json.dumps(asked)),), LIMITS))
        for each in asked["write"]:
            with contextlib.suppress(OSError):
                (Path(each) / asked["name"]).unlink()
    told, ended = _read(run)
    acts = {**ACTS, "threads": "cgroup"} if asked["threads"] else ACTS
    found = [
        f"{act}: {told.get(act, 'not tried')} (held by {layer})"
        for act, layer in acts.items()
        if not told.get(act, "").startswith("refused")
    ]
    if not ended:
        found.append("execute: done (held by seccomp)")
    return found


def outlives(worker: Worker) -> list[str]:
    """Whether a program that never ends is ended."""
    run = _alone(worker, SPIN)
    return [] if run.status == "TLE" else [f"cpu: {run.status} {run.detail} (held by the keeper)"]


def speed(worker: Worker) -> float:
    """How fast this machine is, by the quickest of three runs of a fixed loop."""
    runs = list(worker.run(LOOP, "lean"))
    if [run.status for run in runs] != ["OK"] * 3:
        last = runs[-1]
        raise Broken(f"the loop that measures speed: {last.status} {last.detail} {last.stderr}")
    return REFERENCE / min(run.cpu for run in runs)


def _alone(worker: Worker, program: Program) -> Run:
    (run,) = worker.run(program, "lean")
    return run


def _read(run: Run) -> tuple[dict[str, str], bool]:
    lines = run.stdout.decode("utf-8", "replace").splitlines()
    if run.status != "OK" or not lines:
        raise Broken(f"the witness ended as {run.status}: {run.detail} {run.stderr[-500:]}")
    try:
        told = json.loads(lines[0])
    except ValueError:
        raise Broken("the witness was not understood") from None
    return cast("dict[str, str]", told), lines[1:] == ["not executed"]


@contextlib.contextmanager
def _canary() -> Generator[str]:
    """A file of the host that everybody may read."""
    with tempfile.NamedTemporaryFile(prefix="canary-") as file:
        file.write(b"seen")
        file.flush()
        Path(file.name).chmod(0o644)
        yield file.name
