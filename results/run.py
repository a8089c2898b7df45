"""A run's folder: what was asked, every rollout, and what came out.

manifest.json     command, settings, task, model, code and environment, with digests
rollouts.jsonl    one line a rollout as it is judged; .zst once the run is complete
answers.jsonl     rollouts that wait for a judge; gone once the run is complete
rollouts.arrays   large arrays of the lines (histories, fields), each different one once
report.json       the numbers, written when the run is complete
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from harness.codec import encode, plain, revive
from harness.digests import digest, prompt_digest
from harness.errors import DataError, UsageError
from harness.journal import Journal, write_whole
from harness.types import Rollout


@dataclass(frozen=True)
class RunFolder:
    """One folder below `results/runs`."""

    path: Path

    @property
    def rollouts(self) -> Journal:
        """The journal of rollouts."""
        return Journal(self.path / "rollouts.jsonl")

    @property
    def answers(self) -> Journal:
        """The journal of answers that are still to be judged; none is left in a finished run."""
        return Journal(self.path / "answers.jsonl")

    @property
    def manifest(self) -> dict[str, Any]:
        """What was asked; DataError where the file is missing or damaged."""
        return read_table(self.path / "manifest.json")

    @property
    def report(self) -> dict[str, Any] | None:
        """The numbers; None while the run is not complete."""
        path = self.path / "report.json"
        return read_table(path) if path.exists() else None

    def begin(self, manifest: Mapping[str, Any]) -> None:
        """Write the manifest, or make sure that the one there asks for the same."""
        path = self.path / "manifest.json"
        if not path.exists():
            write_whole(path, _json(manifest))
            return
        there, asked = self.manifest.get("asks"), plain(manifest["asks"])
        if there != asked:
            odd = sorted(
                key for key in {*asked, *(there or {})} if (there or {}).get(key) != asked.get(key)
            )
            raise UsageError(
                f"{self.path} holds another run: it differs in {', '.join(odd)}. "
                "Give another --output-dir, or remove the folder"
            )

    def clear(self) -> None:
        """Remove the run, so that it is asked anew."""
        if (self.path / "manifest.json").exists():
            with self.rollouts.alone():  # nobody else may be writing
                shutil.rmtree(self.path)

    def forget_answers(self) -> None:
        """Remove the answers that waited for a judge: the rollouts hold them."""
        for path in (self.answers.path, self.answers.arrays_path):
            path.unlink(missing_ok=True)

    def finish(self, report: Mapping[str, Any]) -> None:
        """Write the numbers."""
        write_whole(self.path / "report.json", _json(report))


def line(rollout: Rollout, **more: Any) -> dict[str, Any]:
    """A rollout as it is stored, with the digest of what the model read first."""
    return {**more, "prompt_digest": prompt_digest(rollout.prompt), **encode(rollout)}


def find_run(place: str, output: Path) -> RunFolder:
    """The run of a path, or of an id (or its unique beginning) below `output`/runs."""
    path = Path(place)
    if (path / "manifest.json").exists():
        return RunFolder(path)
    found = sorted(each for each in runs(output) if each.parent.name.startswith(place))
    if len(found) == 1:
        return RunFolder(found[0].parent)
    if found:
        names = ", ".join(p.parent.name for p in found[:5])
        raise UsageError(f"'{place}' begins more than one run: {names}")
    there = [p.parent.name for p in runs(output)]
    raise UsageError(
        f"no run '{place}' in {output / 'runs'}. There are: {', '.join(there[-5:]) or 'none yet'}"
    )


def runs(output: Path) -> Iterator[Path]:
    """Manifests of all runs below `output`, oldest first."""
    found = (output / "runs").glob("*/manifest.json")
    yield from sorted(found, key=lambda path: path.stat().st_mtime)


def read_table(path: Path) -> dict[str, Any]:
    """A JSON object from a file; DataError with the place where it is not one."""
    try:
        table = msgspec.json.decode(path.read_bytes())
    except FileNotFoundError as error:
        raise DataError(f"no file {path}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is damaged: {error}") from error
    if not isinstance(table, dict):
        raise DataError(f"{path} holds no JSON object")
    try:
        return revive(table)
    except (ValueError, TypeError, KeyError) as error:
        raise DataError(f"{path} is damaged: {error}") from error


def run_id(kind: str, task: str, model: str, asks: Mapping[str, Any]) -> str:
    """A name that is the same for the same question, so that asking again goes on."""
    short = "".join(c if c.isalnum() or c in ".-_" else "-" for c in f"{task}--{model}")
    return f"{kind}-{short[:80]}-{digest(asks)[:8]}"


def folder_name(name: str) -> str:
    """The name, if it can be that of a folder."""
    if not name or name.startswith(".") or not all(c.isalnum() or c in "._-" for c in name):
        raise UsageError(
            f"'{name}' is no name for a run: letters, digits, '.', '_' and '-' will do"
        )
    return name


def _json(value: Mapping[str, Any]) -> bytes:
    return msgspec.json.format(msgspec.json.encode(plain(value)), indent=1)
