"""A disk that fills again and again: commands say so, and end at the same numbers with room."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.forks import Forks
from tests.harness import test_kill_eval, test_kill_train

KIB = 1024
SIZE = 32 * KIB * KIB
MOUNT = f'mount -t tmpfs -o size={SIZE} small "$0" && exec "$@"'


@dataclass
class Small:
    """A disk of 32 MiB at `folder`/results, which only the commands of `forks` see there."""

    folder: Path
    forks: Forks

    @property
    def seen(self) -> Path:
        """The folder as the commands see it."""
        return Path(f"/proc/{self.forks.server.pid}/root{self.folder}")

    def leave(self, room: int) -> None:
        """Fill it but for that many bytes."""
        ballast = self.seen / "results" / "ballast"
        ballast.unlink(missing_ok=True)
        free = shutil.disk_usage(ballast.parent).free
        ballast.write_bytes(bytes(max(0, free - room)))

    def empty(self) -> None:
        """Give all of it."""
        (self.seen / "results" / "ballast").unlink()


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Small]:
    place = tmp_path / "small"
    monkeypatch.setenv("XDG_CACHE_HOME", str(place / "results" / "cache"))
    (place / "results").mkdir(parents=True)
    within = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", MOUNT]
    within.append(str(place / "results"))
    if shutil.which("unshare") is None or subprocess.run([*within, "true"]).returncode:
        pytest.skip("no disk can be mounted here: `unshare --user --mount` is not allowed")
    forks = Forks(within)
    try:
        yield Small(place, forks)
    finally:
        forks.close()


def refused(small: Small, command: Sequence[str]) -> str:
    """What the command said, which must end for want of room."""
    said = small.folder / "said.txt"
    said.unlink(missing_ok=True)
    code = small.forks.start(command, small.folder).ended(300)
    words = said.read_text()
    assert code == 3, f"{code}: {words[-3000:]}"
    assert "Traceback" not in words
    return words


@pytest.mark.parametrize(
    ("command", "numbers", "files", "rooms"),
    [
        (test_kill_eval.COMMAND, test_kill_eval.numbers, {}, (4, 60, 150)),
        (
            test_kill_train.COMMAND,
            test_kill_train.ended,
            {"say.py": test_kill_train.TASK},
            (0, 60, 600, 1500),
        ),
    ],
    ids=["eval", "train"],
)
def test_a_full_disk_loses_nothing(
    small: Small,
    tmp_path: Path,
    command: Sequence[str],
    numbers: Callable[[Path], Any],
    files: dict[str, str],
    rooms: Sequence[int],
):
    roomy = tmp_path / "roomy"
    roomy.mkdir()
    for name, text in files.items():
        for place in (roomy, small.folder):
            (place / name).write_text(text)
    small.forks.run(command, roomy)
    for room in rooms:
        small.leave(room * KIB)
        assert "the disk is full" in refused(small, command)
    small.empty()
    small.forks.run(command, small.folder)
    assert numbers(small.seen) == numbers(roomy)


def test_a_checkpoint_that_has_no_room_is_not_left_in_parts(small: Small):
    words = refused(small, ["eval", "mathqa/arith1", "--model", "text:smollm2", "--limit", "1"])
    assert "cannot be written" in words
    assert "No space left" in words
    assert [path for path in small.seen.glob("results/cache/*/smollm2*") if path.is_dir()] == []
