"""Stored rollouts as a model: asked the same again, it gives the same completions."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.codec import decode
from harness.digests import digest, prompt_digest
from harness.errors import DataError
from harness.journal import Journal
from harness.types import Completion, Example, Prompt

Asked = tuple[str, str, int]
"""(example id, role, attempt)."""


class Replay:
    """Answers from a file of rollouts, or from a run's folder.

    A question that was not asked, or in other words, comes out as `failed` with a note saying so.
    """

    independent = True

    def __init__(self, place: Path) -> None:
        journal = _journal(place)
        self.name = f"replay:{_named(place)}"
        self.answers: dict[tuple[Asked, str], Completion] = {}
        self.asked: dict[Asked, int] = {}
        """How many prompts are stored for each."""
        self.torn: set[tuple[Asked, str]] = set()
        """Prompts with more than one answer, as training leaves them."""
        self.damaged = self._read(journal)
        if not self.answers:
            raise DataError(f"{journal.path} holds no rollout that can be read")
        self._digest = _content_digest(journal)

    def answer(self, prompts: Sequence[Prompt]) -> Iterator[tuple[int, Completion]]:
        """The stored completion of each prompt."""
        for number, prompt in enumerate(prompts):
            asked = (prompt.example.id, prompt.role, prompt.attempt)
            key = (asked, prompt_digest(prompt))
            if key in self.answers and key not in self.torn:
                yield number, self.answers[key]
            else:
                yield number, Completion(None, "failed", note=self._missing(prompt, key))

    def describe(self) -> Mapping[str, Any]:
        """The content's digest (the same whether compressed or not), and how much there is."""
        return {
            "engine": "replay",
            "file_digest": self._digest,
            "completions": len(self.answers),
            "damaged": self.damaged,
        }

    def _read(self, journal: Journal) -> int:
        odd = 0
        for line in journal.read():
            try:
                rollout = decode(line, Example(str(line["example"]), {}, None))
            except (DataError, LookupError, TypeError, ValueError):
                odd += 1
                continue
            asked = (rollout.example.id, rollout.role, rollout.attempt)
            for prompt, completion in rollout.turns:
                key = (asked, prompt_digest(prompt))
                if key not in self.answers:
                    self.answers[key] = completion
                    self.asked[asked] = self.asked.get(asked, 0) + 1
                elif digest(completion.output) != digest(self.answers[key].output):
                    self.torn.add(key)
        return odd + journal.damaged

    def _missing(self, prompt: Prompt, key: tuple[Asked, str]) -> str:
        which = f"attempt {prompt.attempt} at '{prompt.example.id}' as {prompt.role}"
        damaged = f" ({self.damaged} damaged lines were left out)" if self.damaged else ""
        if key in self.torn:
            return f"{self.name} holds more than one answer to {which}, and they differ"
        if key[0] in self.asked:
            return (
                f"{self.name} asked {which} with other words: no stored prompt has the digest "
                f"{key[1]}{damaged}"
            )
        return f"{self.name} holds no {which}{damaged}"


def _journal(place: Path) -> Journal:
    file = place / "rollouts.jsonl" if place.is_dir() else place
    journal = Journal(file.with_suffix("") if file.suffix == ".zst" else file)
    if not journal.path.exists() and not journal.closed_path.exists():
        raise DataError(
            f"no rollouts in {place}: give a run's folder, or a rollouts.jsonl or .jsonl.zst"
        )
    return journal


def _named(place: Path) -> str:
    """The run's name, which is its folder's."""
    place = place.resolve()
    ours = place.is_file() and place.name.startswith("rollouts.jsonl")
    return place.parent.name if ours else place.name


def _content_digest(journal: Journal) -> str:
    if journal.path.exists():
        with journal.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    import zstandard

    with journal.closed_path.open("rb") as file:
        stream = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True)
        whole = hashlib.sha256()
        while part := stream.read(2**20):
            whole.update(part)
        return whole.hexdigest()
