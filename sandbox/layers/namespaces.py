"""Namespaces: a user namespace that owns all others, a root with the interpreter alone, no network.

A pid namespace of each program's own: `unshare`, fork, then back into the saved one, since a second
unshare fails while the first waits for its child. The saved one must belong to the zygote's own
user namespace, so the zygote is a child of the process that made it.
"""

from __future__ import annotations

import os
from ctypes import c_int

from sandbox.layers.libc import LIBC, MACHINE, Prepared, checked, mount, syscall, unshare
from sandbox.layers.syscalls import NUMBERS
from sandbox.layers.view import View

USER, MOUNT, NET = 0x10000000, 0x00020000, 0x40000000
IPC, UTS, PID = 0x08000000, 0x04000000, 0x20000000
READ_ONLY, NO_SUID, NO_DEVICES = 1, 2, 4
REMOUNT, BIND, RECURSIVE, PRIVATE = 32, 4096, 16384, 1 << 18
KEPT = 2 | 4 | 8 | 1024 | 2048
"""Flags that a user namespace may not take off a mount: nosuid, nodev, noexec, times."""
DETACH = 2
HOST = b"box"
"""What programs see in the place of the host's name."""
STAGES = ("/mnt", "/srv", "/run", "/opt", "/tmp", "/var")
"""Where the new root may be put together: an existing folder that holds nothing we need."""


def enter() -> None:
    """Into new user, mount, net, ipc and uts namespaces; the next child opens a new pid one."""
    user, group = os.geteuid(), os.getegid()
    unshare(USER | MOUNT | NET | IPC | UTS | PID)
    _write("/proc/self/setgroups", "deny")
    _write("/proc/self/uid_map", f"{user} {user} 1")
    _write("/proc/self/gid_map", f"{group} {group} 1")
    LIBC.sethostname(HOST, len(HOST))  # where a filter forbids it, what holds is no less


def new_root(seen: View) -> None:
    """Change to a root that has nothing but a read-only view, each part at its old place."""
    paths = [path for path in seen.mounts if os.path.lexists(path)]
    stage = next(
        each
        for each in STAGES
        if os.path.isdir(each)  # noqa: PTH112
        and not any(os.path.realpath(path).startswith(each + "/") for path in paths)
        and not any(path.startswith(each + "/") for path in paths)
    )
    mount("none", "/", None, RECURSIVE | PRIVATE)
    mount("tmpfs", stage, "tmpfs", NO_SUID | NO_DEVICES, "size=256k,mode=755")
    for path in paths:
        _show(path, stage)
    for path in seen.covers:
        mount("tmpfs", stage + path, "tmpfs", READ_ONLY | NO_SUID | NO_DEVICES, "size=4k")
    os.chdir(stage)
    root = os.fsencode(".")
    syscall(NUMBERS[MACHINE]["pivot_root"], root, root)
    checked(LIBC.umount2(root, DETACH), "umount of the old root")
    os.chdir("/")
    mount("none", "/", None, REMOUNT | BIND | READ_ONLY | NO_SUID | NO_DEVICES)


def _show(path: str, stage: str) -> None:
    """Bind one file or folder read-only, or copy a link; parents are made."""
    target = stage + path
    os.makedirs(os.path.dirname(target), exist_ok=True)  # noqa: PTH103, PTH120
    if os.path.lexists(target):
        return
    if os.path.islink(path):  # noqa: PTH114
        os.symlink(os.readlink(path), target)  # noqa: PTH115, PTH211
        return
    if os.path.isdir(path):  # noqa: PTH112
        os.mkdir(target)  # noqa: PTH102
    else:
        os.close(os.open(target, os.O_CREAT | os.O_WRONLY, 0o444))
    mount(path, target, None, BIND | RECURSIVE)
    kept = os.statvfs(path).f_flag & KEPT
    devices = 0 if path.startswith("/dev/") else NO_DEVICES
    mount("none", target, None, REMOUNT | BIND | READ_ONLY | NO_SUID | devices | kept)


class OwnPids:
    """Gives each next child a pid namespace of its own."""

    def __init__(self) -> None:
        self.home = home = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
        self.before_fork = Prepared("unshare", LIBC.unshare, c_int(PID))
        """The next child is the first process of a new namespace."""
        self.after_fork = Prepared("setns", LIBC.setns, c_int(home), c_int(PID))
        """In the parent: later children are born at home again."""


def _write(path: str, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)
