"""Builds a site: writes the files whose content changed, leaves the others, takes away the rest.

`build.json` remembers of each file the digest of what it was made from and that of its bytes, and
the places of every ranking. So a build after a few new records tests and draws only what they
touch. A file is left as it is only if both digests are what they were, the second of the bytes that
lie there now: pages that were edited, torn by a kill or made by other code are made again. The
memory may be deleted at any time; one that is damaged is forgotten. Without it a build still
equals one from nothing, but for pages of what is gone, which nobody remembers to take away.
"""

from __future__ import annotations

import gc
import hashlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec

from harness.codec import plain
from harness.errors import BusyError, DataError
from harness.journal import write_whole
from leaderboards.site.ranks import Remembered

MEMORY, LOCK = "build.json", ".build.lock"
OWN = frozenset({MEMORY, LOCK})
"""Files of a site's folder that are no part of the site."""
HOUSE = Path(__file__).parent
ROOMS = (
    *("leaderboards", "leaderboards/boards", "leaderboards/site", "leaderboards/site/assets"),
    *("leaderboards/site/templates", "harness", "harness/commands", "harness/page", "results"),
)
CODE = {".py", ".html", ".js", ".css"}
LIBRARIES = (
    *("huggingface-hub", "jinja2", "markupsafe", "msgspec", "numpy", "pandas", "pyarrow"),
    *("pyyaml", "scipy", "tabulate"),
)
"""Whose code has a say in what a file holds."""


class Made(msgspec.Struct, array_like=True, frozen=True):
    """A file, as it was left."""

    of: str
    """Digest of what it was made from."""
    content: str
    """Digest of its bytes."""


class Memory(msgspec.Struct):
    """What a build leaves to the next."""

    code: str = ""
    files: dict[str, Made] = {}
    ranks: dict[str, Remembered] = {}
    told: dict[str, Any] = {}
    """What was derived from files that take long to read, by the digest of what it came from."""
    seal: str = ""
    """Digest of all else: a memory that was damaged or edited is none."""

    @property
    def sealed(self) -> str:
        """What the seal is to be."""
        told = msgspec.json.encode([self.code, self.files, self.ranks, self.told], order="sorted")
        return _digest(told)


@dataclass
class Build:
    """One build into a folder."""

    folder: Path
    dry: bool = False
    """Only tell what would be written."""
    memory: Memory = field(default_factory=Memory)
    written: list[str] = field(default_factory=list[str])
    unchanged: int = 0
    removed: list[str] = field(default_factory=list[str])
    _files: dict[str, Made] = field(default_factory=dict[str, Made])
    _told: dict[str, Any] = field(default_factory=dict[str, Any])

    def recall(self, of: Any, kind: Any, derive: Callable[[], Any]) -> Any:
        """What was derived from something when that was last seen; plain data of a kind."""
        name = _digest(_encoded(of))
        if name not in self.memory.told:
            self.memory.told[name] = msgspec.to_builtins(derive())
        self._told[name] = self.memory.told[name]
        return msgspec.convert(self._told[name], kind)

    def add(self, path: str, made_from: Any, make: Callable[[], str | bytes]) -> None:
        """One file, made if what it is made from, or what lies there, is not what it was."""
        of = _digest(_encoded(made_from))
        before, there = self.memory.files.get(path), _content(self.folder / path)
        if before is not None and before.of == of and before.content == there:
            self._files[path] = before
            self.unchanged += 1
            return
        if self.dry:
            self.written.append(path)
            return
        made = make()
        data = made.encode() if isinstance(made, str) else made
        self._files[path] = Made(of, _digest(data))
        if self._files[path].content == there:
            self.unchanged += 1
            return
        place = self.folder / path
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            if place.is_symlink():
                place.unlink()  # what it leads to is nobody's page
            place.write_bytes(data)
        except OSError as error:
            raise DataError(
                f"cannot write {place}: {error.strerror or error}. Mend it and publish again; "
                "what was written is kept"
            ) from error
        self.written.append(path)

    def _take_away(self) -> None:
        """What an earlier build made and this one did not, and folders that it leaves empty."""
        for path in sorted(self.memory.files.keys() - self._files.keys() - set(self.written)):
            place = self.folder / _inside(path)
            if not place.is_file() or place.name in OWN:
                continue
            self.removed.append(path)
            if not self.dry:
                place.unlink()
                with suppress(OSError):  # somebody's file lies there
                    place.parent.rmdir()

    def _remember(self, memory: Memory) -> None:
        if not self.dry:
            memory.seal = memory.sealed
            write_whole(self.folder / MEMORY, msgspec.json.encode(memory, order="sorted"))


@contextmanager
def building(
    folder: Path, ranks: dict[str, Remembered], *, dry: bool = False, fresh: bool = False
) -> Iterator[Build]:
    """A build into a folder that may hold an earlier one; BusyError while another is at work there.

    `ranks` are the places that this build asked for, filled while it goes on. A build that was
    stopped remembers what it had made. `fresh`: all is made again, whatever is remembered.
    """
    with nullcontext() if dry else _alone(folder), _uncollected():
        build = Build(folder, dry, remembered(folder, fresh=fresh))
        try:
            yield build
        except BaseException:
            files = {**build.memory.files, **build._files}
            known = {**build.memory.ranks, **ranks}
            build._remember(Memory(build.memory.code, files, known, build.memory.told))
            raise
        build._take_away()
        build._remember(Memory(build.memory.code, build._files, ranks, build._told))


def remembered(folder: Path, *, fresh: bool = False) -> Memory:
    """The memory that lies in a folder; of other code, or `fresh`, only which files there are."""
    code = code_digest()
    try:
        memory = msgspec.json.decode((folder / MEMORY).read_bytes(), type=Memory)
    except (OSError, msgspec.DecodeError, RecursionError):
        return Memory(code)
    if memory.seal != memory.sealed:
        return Memory(code)
    if fresh or memory.code != code:
        return Memory(code, dict.fromkeys(memory.files, Made("", "")))
    return memory


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    from filelock import FileLock, Timeout

    lock = FileLock(folder / LOCK, timeout=0)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout as error:
        raise BusyError(f"another build writes to {folder}; wait for it") from error
    except OSError as error:
        why = error.strerror or error
        raise DataError(f"no site can be written to {folder}: {why}. Name a folder") from error
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _uncollected() -> Iterator[None]:
    """Records and pages live to the end: to look for garbage among them takes a seventh longer."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def code_digest() -> str:
    """Of the code, templates, assets and libraries that a site is made by."""
    told = hashlib.sha256(sys.version.encode())
    for room in ROOMS:
        for path in sorted((HOUSE.parents[1] / room).iterdir()):
            if path.suffix in CODE:
                told.update(f"{room}/{path.name} ".encode() + path.read_bytes())
    for name in LIBRARIES:
        with suppress(PackageNotFoundError):
            told.update(f"{name} {version(name)} ".encode())
    return told.hexdigest()[:24]


def _encoded(made_from: Any) -> bytes:
    try:
        return msgspec.json.encode(made_from, order="sorted")
    except (TypeError, UnicodeEncodeError, RecursionError):
        return msgspec.json.encode(plain(made_from), order="sorted")


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:24]


def _content(place: Path) -> str:
    """Digest of the bytes of a file; empty where there is none, or a link to one."""
    try:
        with place.open("rb", buffering=0) as file:
            return "" if place.is_symlink() else _digest(file.read())
    except OSError:
        return ""


def _inside(path: str) -> PurePosixPath:
    """The path, if it stays inside: the memory may have been written by anybody."""
    found = PurePosixPath(path)
    return found if not found.is_absolute() and ".." not in found.parts else PurePosixPath(MEMORY)
