"""Digests: short names for content, the same on every machine and in every process."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import msgspec

from harness.codec import plain
from harness.types import Example, Prompt


def digest(value: Any) -> str:
    """SHA-256 of the canonical JSON of any plain value, as 16 hex digits."""
    return hashlib.sha256(msgspec.json.encode(plain(value), order="sorted")).hexdigest()[:16]


def example_digest(example: Example) -> str:
    """Digest of what is asked and what would be right; tags do not count."""
    return digest([example.id, example.inputs, example.target])


def prompt_digest(prompt: Prompt) -> str:
    """Digest of what the model reads."""
    return digest([[m.speaker, m.content] for m in prompt.spoken()])


def file_digest(path: Path) -> str:
    """SHA-256 of a file, in full."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
