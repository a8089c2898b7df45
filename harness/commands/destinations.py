"""Where `harness publish --to` brings what it made: a folder, a git branch, or the hub."""

from __future__ import annotations

import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Literal

from harness.errors import UsageError

if TYPE_CHECKING:
    from leaderboards.hub import Repository

Kind = Literal["folder", "git", "hub"]
MESSAGE = "Boards from {records} records"


@dataclass(frozen=True)
class Destination:
    """A folder, `git:BRANCH`, `hub:space/ORG/NAME` or `hub:model/ORG/NAME`."""

    kind: Kind
    name: str
    model: str | None = None
    """Which row's scores a model's card gets."""

    @classmethod
    def of(cls, to: str | None, default: Path, model: str | None) -> Destination:
        """The destination that a flag names; UsageError where it names none."""
        kind, colon, name = (to or "").partition(":")
        if not colon or kind not in ("git", "hub"):
            return cls("folder", to or str(default))
        if not name:
            raise UsageError(f"'{to}' names no {'branch' if kind == 'git' else 'repository'}")
        found = cls("git" if kind == "git" else "hub", name, model)
        if found.kind == "hub":
            found.repository()
        return found

    def repository(self) -> Repository:
        """The repository on the hub."""
        from leaderboards.hub import Repository

        return Repository.of(self.name)

    @contextmanager
    def folder(self) -> Generator[Path]:
        """Where files are to be written: the folder itself, or one that is sent and removed."""
        if self.kind == "folder":
            yield Path(self.name)
            return
        with tempfile.TemporaryDirectory() as scratch:
            yield Path(scratch)

    def send(self, folder: Path, records: int) -> str:
        """Bring the files of the folder there; gives the commit or its address, or nothing."""
        message = MESSAGE.format(records=records)
        files = contents(folder) if self.kind != "folder" else {}
        if self.kind == "git":
            from leaderboards.branch import publish_branch

            return publish_branch(self.name, files, message, Path.cwd())
        if self.kind == "hub":
            repository = self.repository()
            chosen = _of_space(files) if repository.kind == "space" else self._of_model(files)
            return repository.send(chosen, message)
        return ""

    def _of_model(self, files: dict[PurePosixPath, bytes]) -> dict[PurePosixPath, bytes]:
        """The files of one model's card, with the scores in its front matter."""
        from leaderboards.hub import merged_card

        cards = {path.parts[1] for path in files if path.parts[0] == "cards"}
        wanted = [name for name in sorted(cards) if self.model in (None, name)]
        if len(wanted) != 1:
            raise UsageError(
                f"which model's scores? Name one by --model: {', '.join(sorted(cards)) or 'none'}"
            )
        base = PurePosixPath("cards", wanted[0])
        chosen = {
            path.relative_to(base): data for path, data in files.items() if base in path.parents
        }
        index = chosen.pop(PurePosixPath("model-index.yaml")).decode()
        chosen[PurePosixPath("README.md")] = merged_card(self.repository().card(), index)
        return chosen


def _of_space(files: dict[PurePosixPath, bytes]) -> dict[PurePosixPath, bytes]:
    """The files of a static space, with the README that makes it one."""
    from leaderboards.hub import space_readme

    pages = sorted((str(path) for path in files if path.suffix == ".html"), key=_index_first)
    if not pages:
        raise UsageError("a space shows pages, and there is none: publish with --format html")
    return {**files, PurePosixPath("README.md"): space_readme("Boards", pages[0])}


def _index_first(page: str) -> tuple[bool, bool, str]:
    return (page != "index.html", page != "overall.html", page)


def contents(folder: Path) -> dict[PurePosixPath, bytes]:
    """Every file below a folder, by its place there; what a build keeps for itself is left out."""
    from leaderboards.site.building import OWN

    return {
        PurePosixPath(*path.relative_to(folder).parts): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in OWN
    }
