"""Builds a site: writes the pages whose content changed, leaves the others, takes away the rest.

`build.json` remembers, for each file, the digest of what it was made from, and the places of every
ranking. So a build after a few new records tests and draws only what they touch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec

from harness.codec import plain
from harness.journal import write_whole
from leaderboards.site.ranks import Remembered

MEMORY = "build.json"
HOUSE = Path(__file__).parent
RANKED_BY = ("rank.py", "pairs.py", "signs.py")
"""The code that places come from: what was remembered of another version is forgotten."""


class Memory(msgspec.Struct):
    """What a build leaves to the next."""

    code: str = ""
    files: dict[str, str] = {}
    """Digest of what a file was made from, and its size, by its path."""
    ranks: dict[str, Remembered] = {}


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
    _files: dict[str, str] = field(default_factory=dict[str, str])

    @classmethod
    def begin(cls, folder: Path, *, dry: bool = False) -> Build:
        """Into a folder that may hold an earlier build; one that cannot be read is forgotten."""
        try:
            memory = msgspec.json.decode((folder / MEMORY).read_bytes(), type=Memory)
        except (OSError, msgspec.DecodeError):
            memory = Memory()
        if memory.code != code_digest():
            memory = Memory(code=code_digest(), files=dict.fromkeys(memory.files, ""))
        return cls(folder, dry, memory)

    def add(self, path: str, made_from: Any, make: Callable[[], str | bytes]) -> None:
        """One file, made if what it is made from is not what it was."""
        told = msgspec.json.encode(plain(made_from), order="sorted")
        name = hashlib.sha256(told).hexdigest()[:24]
        self._files[path] = name
        place = self.folder / path
        if self.memory.files.get(path) == name and place.is_file():
            self.unchanged += 1
            return
        self.written.append(path)
        if not self.dry:
            data = make()
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(data.encode() if isinstance(data, str) else data)

    def end(self, ranks: dict[str, Remembered]) -> None:
        """Take away what an earlier build made and this one did not; note what there is now."""
        for path in sorted(self.memory.files.keys() - self._files.keys()):
            place = self.folder / _inside(path)
            if place.is_file():
                self.removed.append(path)
                if not self.dry:
                    place.unlink()
        if not self.dry:
            memory = Memory(code=self.memory.code, files=self._files, ranks=ranks)
            write_whole(self.folder / MEMORY, msgspec.json.encode(memory, order="sorted"))


def code_digest() -> str:
    """Of the code, templates and assets that a site is made by."""
    files = [path for path in HOUSE.rglob("*") if path.suffix in (".py", ".html", ".js", ".css")]
    own = sorted(path for path in files if "node_modules" not in path.parts)
    told = hashlib.sha256()
    for path in [*own, *(HOUSE.parent / name for name in RANKED_BY)]:
        told.update(path.name.encode() + path.read_bytes())
    return told.hexdigest()[:24]


def _inside(path: str) -> PurePosixPath:
    """The path, if it stays inside: the memory may have been written by anybody."""
    found = PurePosixPath(path)
    return found if not found.is_absolute() and ".." not in found.parts else PurePosixPath(MEMORY)
