"""What generated families share: where a question belongs."""

from __future__ import annotations

import hashlib

from harness import Split


def split_of(question: str) -> Split:
    """Where a question belongs; its hash decides, so it cannot be in two splits."""
    bucket = hashlib.sha256(question.encode()).digest()[0] % 10
    return "test" if bucket < 2 else "dev" if bucket == 2 else "train"
