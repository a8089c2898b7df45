"""What a program may see of the file system: the interpreter that runs it, and nothing else.

Packages beside the standard library are seen only if they are loaded already, so that neither other
packages nor what they hold can be read.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from typing import NamedTuple

from sandbox.layers.libc import MACHINE

LIBRARIES = (
    f"/lib/{MACHINE}-linux-gnu",
    f"/usr/lib/{MACHINE}-linux-gnu",
    "/lib64",
    "/usr/lib64",
    "/etc/ld.so.cache",
)
HARMLESS = ("/usr/share/zoneinfo", "/etc/localtime", "/dev/urandom", "/dev/zero")
WRITABLE = ("/dev/null",)
FOREIGN = ("site-packages", "dist-packages")


class View(NamedTuple):
    """Absolute paths; those that do not exist are passed over."""

    readable: tuple[str, ...]
    listable: tuple[str, ...]
    writable: tuple[str, ...]
    mounts: tuple[str, ...]
    """The same for a root of its own: whole folders, of which `covers` hides a part."""
    covers: tuple[str, ...]


def of_this_process(packages: Iterable[str]) -> View:
    """The view that this interpreter needs, with the packages loaded from those folders."""
    standard = [path for path in sys.path if os.path.isdir(path)]  # noqa: PTH112
    roots = [path for path in standard if not _within(path, standard)]
    entries = [
        os.path.join(root, name)  # noqa: PTH118
        for root in roots
        for name in os.listdir(root)  # noqa: PTH208
        if name not in FOREIGN
    ]
    rest = [*LIBRARIES, *_mapped(), *_loaded(packages), *HARMLESS]
    outside = [path for path in rest if not _within(path, roots)]
    covers = [
        path
        for root in roots
        for name in FOREIGN
        if os.path.isdir(path := os.path.join(root, name))  # noqa: PTH112, PTH118
    ]
    seen_in_covers = any(_within(path, covers) for path in rest)
    return View(
        readable=tuple(dict.fromkeys([*entries, *rest])),
        listable=tuple(roots),
        writable=WRITABLE,
        mounts=_tops([*roots, *outside, *WRITABLE]),
        # packages of the interpreter's own folder are in use: Landlock alone tells them apart
        covers=() if seen_in_covers else tuple(covers),
    )


def _tops(paths: list[str]) -> tuple[str, ...]:
    """Each path that lies in none of the others."""
    distinct = dict.fromkeys(paths)
    return tuple(path for path in distinct if not _within(path, distinct))


def _within(path: str, folders: Iterable[str]) -> bool:
    return any(path.startswith(folder + "/") for folder in folders)


def _mapped() -> list[str]:
    """The shared libraries that are loaded."""
    with open("/proc/self/maps", encoding="utf-8") as lines:  # noqa: PTH123
        words = [line.split(None, 5) for line in lines]
    return sorted({each[5].rstrip("\n") for each in words if len(each) == 6 and ".so" in each[5]})


def _loaded(packages: Iterable[str]) -> list[str]:
    """The top folders or files of what was imported from the given folders."""
    found: set[str] = set()
    folders = [folder.rstrip("/") for folder in packages]
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None) or ""
        for folder in folders:
            if file.startswith(folder + "/"):
                top = file[len(folder) + 1 :].split("/")[0]
                found |= {f"{folder}/{top}", f"{folder}/{top}.libs"}
    return sorted(found)
