"""Start of a box: read the plan, import, put up the layers, fork the zygote, become the keeper.

The plan is the first frame:
    modules     imported before anything is closed off; what cannot be imported is passed over
    paths       folders for sys.path, of packages that `modules` needs, while they are imported
    off         layers that are not to be put up (namespaces, landlock, seccomp, ...)
The answer is {"ready": {"layers": {name: "on" or why not}, "interpreter": ..., "modules": [...]}}.
"""

from __future__ import annotations

import functools
import importlib
import os
import socket
import sys
from collections.abc import Callable
from typing import Any

from sandbox import frames
from sandbox.inside import birth, jobs, pages, zygote
from sandbox.layers import landlock, libc, namespaces, rlimits, seccomp, view

WARM = (
    "string re datetime collections heapq bisect copy math random statistics itertools functools "
    "operator io json typing decimal fractions threading enum abc contextlib time numbers"
).split()
"""What programs of contests import; a program finds it loaded."""
room: list[bytes] = []
"""What keeps the memory that was set aside for objects: see `worker.zygote_argv`."""
NAMESPACES = ("user", "mount", "net", "ipc", "uts", "pid")


def main() -> None:
    """Serve until the supervisor's end of the pipe closes."""
    inbound, outbound = _own_the_pipes()
    plan = frames.receive(inbound)
    off = set(plan.get("off", ()))
    layers: dict[str, str] = {}
    pages.merge()  # the kernel merges none that a fork has shared
    pages.enlarge_text()
    inside = _namespaces(off, layers)  # before a package starts a thread, which would forbid it
    loaded = _import_all(plan)
    pages.merge()
    stretches = pages.stretches()
    seen = view.of_this_process(plan.get("paths", ()))
    pids = namespaces.OwnPids() if inside else None
    if inside and layers["pivot_root"] == "on":
        _try(layers, "pivot_root", lambda: namespaces.new_root(seen))
    settings = _close_off(seen, off, layers, inside)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    os.dup2(0, 2)
    keeper_pid = os.getpid()
    child = os.fork()
    if child == 0:
        ours.close()
        os.close(inbound)
        os.close(outbound)
        zygote.serve(theirs, settings, pids, keeper_pid, stretches)
    theirs.close()
    told = {"layers": layers, "interpreter": _interpreter(), "modules": loaded}
    frames.send(outbound, {"ready": told})
    jobs.serve(inbound, outbound, ours)


def _own_the_pipes() -> tuple[int, int]:
    """Move the frames off 0 and 1, so that no stray print can break one."""
    inbound, outbound = os.dup(0), os.dup(1)
    silent = os.open(os.devnull, os.O_RDWR)
    os.dup2(silent, 0)
    os.dup2(silent, 1)
    os.close(silent)
    return inbound, outbound


def _import_all(plan: dict[str, Any]) -> list[str]:
    standard = list(sys.path)
    sys.path.extend(plan.get("paths", ()))
    loaded: list[str] = []
    for name in (*WARM, *plan.get("modules", ())):
        try:
            importlib.import_module(name)
        except Exception as error:  # a package that is broken here must not take the rest with it
            print(f"{name}: {error!r}", file=sys.stderr)
        else:
            loaded.append(name)
    sys.path[:] = standard
    os.environ.clear()
    return [name for name in loaded if name not in WARM]


def _namespaces(off: set[str], layers: dict[str, str]) -> bool:
    """Enter them if they are there; the caller goes on as the first process inside."""
    names = [f"namespaces.{name}" for name in NAMESPACES]
    if "namespaces" in off:
        layers.update(dict.fromkeys([*names, "pivot_root"], "switched off"))
        libc.prctl(libc.PR_SET_PDEATHSIG, 9)
        return False
    try:
        namespaces.enter()
    except OSError as error:
        layers.update(dict.fromkeys([*names, "pivot_root"], f"refused here: {error}"))
        libc.prctl(libc.PR_SET_PDEATHSIG, 9)
        return False
    layers.update(dict.fromkeys(names, "on"))
    layers["pivot_root"] = "switched off" if "pivot_root" in off else "on"
    libc.prctl(libc.PR_SET_PDEATHSIG, 9)
    child = os.fork()
    if child:
        os.closerange(0, 3)
        os.closerange(3, 64)
        _, status = os.waitpid(child, 0)
        os._exit(os.waitstatus_to_exitcode(status) & 0xFF)
    libc.prctl(libc.PR_SET_PDEATHSIG, 9)
    return True


def _close_off(
    seen: view.View, off: set[str], layers: dict[str, str], inside: bool
) -> birth.Settings:
    """The layers of keeper and zygote; and what each program puts up for itself."""
    abi = 0
    drop: libc.Prepared | None = None
    calls: list[Callable[[], object]] = [birth.DIE_WITH_PARENT.call]
    shared: list[Callable[[], object]] = []

    def restrict() -> None:
        nonlocal abi
        abi = landlock.apply(seen, rooted=layers.get("pivot_root") == "on")

    def give_up() -> None:
        nonlocal drop
        drop = libc.drop_capabilities()
        if not inside:  # the zygote of a user namespace needs them, within it
            drop()

    for name, act in (
        ("no_new_privs", lambda: libc.prctl(libc.PR_SET_NO_NEW_PRIVS, 1)),
        ("capabilities", give_up),
        ("landlock", restrict),
    ):
        if name in off:
            layers[name] = "switched off"
        else:
            _try(layers, name, act)
    libc.prctl(libc.PR_SET_DUMPABLE, 0)
    if drop is not None and layers["capabilities"] == "on":
        calls.append(drop.call)
    if abi and not inside:
        # a program in a pid namespace of its own sees nobody whom it could signal
        calls.append(functools.partial(landlock.isolate, abi))
    layers["seccomp"] = "switched off"
    if "seccomp" not in off:
        try:
            program = seccomp.Program()
            calls.append(program.install.call)
            shared.append(program.share.call)
            layers["seccomp"] = "on"
        except KeyError:
            layers["seccomp"] = f"no table of system calls for {libc.MACHINE}"
    layers["rlimits"] = "switched off"
    if "rlimits" not in off:
        shared.append(rlimits.share)
        layers["rlimits"] = "on"
    return birth.Settings(layers["rlimits"] == "on", tuple(calls), tuple(shared))


def _try(layers: dict[str, str], name: str, act: Any) -> None:
    try:
        act()
    except (OSError, StopIteration, KeyError) as error:
        layers[name] = f"refused here: {error}"
    else:
        layers[name] = "on"


def _interpreter() -> str:
    version = sys.version.split()[0]
    return f"{sys.implementation.name}-{version}-{sys.platform}-{libc.MACHINE}"
