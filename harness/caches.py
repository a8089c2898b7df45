"""caches: what can be made again, kept in the user's cache folder under the digest of its key.

An entry is a folder. It is made beside its place and moved there whole, with a receipt that holds
the key and the digest of every file; an entry whose files do not have these digests is made again.
Safe with many processes at once, and with one that is killed in the middle.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from harness.digests import digest, file_digest
from harness.disk import is_full
from harness.errors import DataError

RECEIPT = "receipt.json"
"""Written last."""


def user_cache() -> Path:
    """Where this platform keeps what can be made again."""
    if os.name == "nt":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData/Local")) / "grpo-harness"
    if os.uname().sysname == "Darwin":
        return Path.home() / "Library/Caches/grpo-harness"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "grpo-harness"


def made(
    kind: str, key: Mapping[str, Any], make: Callable[[Path], None], cache: Path | None = None
) -> Path:
    """The folder of `key`, filled by `make(folder)` if it is not there or damaged.

    `kind` begins its name. DataError where the cache cannot be written.
    """
    root = user_cache() if cache is None else cache
    return filled(root / f"{kind}-{digest(key)}", key, make)


def filled(
    folder: Path,
    key: Mapping[str, Any],
    make: Callable[[Path], None],
    sha256: Callable[[Path], str] = file_digest,
) -> Path:
    """`folder`, filled by `make(folder)` if it is not there, damaged, or of another key.

    `sha256` tells the digest of a file where there is a quicker way than to read it. DataError
    where the folder cannot be written.
    """
    from filelock import FileLock

    if is_whole(folder, key, sha256):
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.parent / f"{folder.name}.lock"):
            if not is_whole(folder, key, sha256):  # another process may have been faster
                _make(folder, key, make)
    except Exception as error:
        if not isinstance(error, OSError) and not is_full(error):
            raise
        raise DataError(
            f"{folder} cannot be written: {error}; make room there, or name another folder with "
            "XDG_CACHE_HOME"
        ) from error
    return folder


def is_whole(
    folder: Path, key: Mapping[str, Any], sha256: Callable[[Path], str] = file_digest
) -> bool:
    """Whether every file of an entry has the digest that its receipt says."""
    try:
        receipt = json.loads((folder / RECEIPT).read_text("utf-8"))
        files = dict(receipt["files"])
        return receipt["key"] == digest(key) and all(
            sha256(folder / name) == told for name, told in files.items()
        )
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _make(folder: Path, key: Mapping[str, Any], make: Callable[[Path], None]) -> None:
    for left in folder.parent.glob(f"{folder.name}.making-*"):  # by processes that were killed
        shutil.rmtree(left, ignore_errors=True)
    making = Path(tempfile.mkdtemp(prefix=f"{folder.name}.making-", dir=folder.parent))
    try:
        make(making)
        files = {each.name: file_digest(each) for each in sorted(making.iterdir())}
        receipt = {"key": digest(key), "of": {k: str(v) for k, v in key.items()}, "files": files}
        (making / RECEIPT).write_text(json.dumps(receipt, indent=1), "utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        making.chmod(0o755)
        making.replace(folder)
    finally:
        shutil.rmtree(making, ignore_errors=True)
