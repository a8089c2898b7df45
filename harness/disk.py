"""disk: what cannot be written, and what would do."""

from __future__ import annotations

import errno
from pathlib import Path

from harness.errors import DataError

FULL = "the disk is full; what was written before is kept. Free some space"
AGAIN = "run the same command again to go on"


def is_full(error: Exception) -> bool:
    """Whether a write failed for want of room.

    Libraries that write by themselves (shutil, safetensors, tokenizers) raise errors of their own,
    in which only the system's words are left.
    """
    words = ("No space left on device", "Disk quota exceeded")
    number = error.errno if isinstance(error, OSError) else None
    return number in (errno.ENOSPC, errno.EDQUOT) or any(each in str(error) for each in words)


def unwritable(path: Path, error: OSError) -> DataError:
    """What to raise from `error`, which came of writing `path`."""
    why = FULL if is_full(error) else f"{error.strerror or error}. Mend it"
    return DataError(f"cannot write {path}: {why} and {AGAIN}")
