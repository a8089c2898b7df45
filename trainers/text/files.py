"""Checkpoint files: which there are, whether they are whole, and their digests."""

from __future__ import annotations

import hashlib
import json
import struct
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from harness.caches import user_cache as user_cache
from harness.digests import file_digest
from harness.errors import DataError, ModelError
from harness.journal import write_whole

if TYPE_CHECKING:
    from torch import Tensor

PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt")
AGAIN = "download or save it again"


def read_json(path: Path) -> dict:
    """A JSON object, or ModelError."""
    try:
        found = json.loads(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise ModelError(
            f"{path} is missing, so {path.parent} is no checkpoint; {AGAIN}"
        ) from error
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} cannot be read ({error}); {AGAIN}") from error
    if not isinstance(found, dict):
        raise ModelError(f"{path} holds no JSON object; {AGAIN}")
    return found


def weight_files(folder: Path, stem: str = "model", *, allow_pickle: bool = False) -> list[Path]:
    """The weight files of a checkpoint (`stem` "model") or adapter ("adapter_model"), all whole."""
    index = folder / f"{stem}.safetensors.index.json"
    if index.is_file():
        names = sorted(set(read_json(index).get("weight_map", {}).values()))
        files = [folder / Path(name).name for name in names]
    else:
        files = [folder / f"{stem}.safetensors"]
    if files and all(file.is_file() for file in files):
        for file in files:
            check_whole(file)
        return files
    pickled = sorted(file for kind in PICKLED for file in folder.glob(kind))
    pickled = [file for file in pickled if file.name != "training_args.bin"]
    if pickled and not index.is_file():
        if allow_pickle:
            return pickled
        raise ModelError(
            f"{pickled[0]} is a pickle, which can run any program while it is read, and there is "
            f"no {stem}.safetensors beside it. Ask for a safetensors version, or, if you trust its "
            "author, add --allow-pickle"
        )
    gone = next((file for file in files if not file.is_file()), folder)
    raise ModelError(f"{gone} is missing; {AGAIN}")


def check_whole(file: Path) -> None:
    """Raise ModelError unless a safetensors file is as long as its header says."""
    size = file.stat().st_size
    try:
        with file.open("rb") as opened:
            (length,) = struct.unpack("<Q", opened.read(8))
            if length > min(size, 100_000_000):
                raise ValueError("its header is longer than itself")
            header = json.loads(opened.read(length))
        ends = [each["data_offsets"][1] for name, each in header.items() if name != "__metadata__"]
        wanted = 8 + length + max(ends, default=0)
    except (OSError, ValueError, struct.error, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{file} is no safetensors file ({error}); {AGAIN}") from error
    if size != wanted:
        raise ModelError(
            f"{file} has {size} bytes where its header promises {wanted}: it is truncated or "
            f"damaged; {AGAIN}"
        )


def tensors(folder: Path, stem: str) -> dict[str, Tensor]:
    """All weights of a folder, by name."""
    from safetensors.torch import load_file

    found: dict[str, Tensor] = {}
    for file in weight_files(folder, stem):
        found |= load_file(file)
    return found


def known_sha256(file: Path, cache: Path) -> str:
    """SHA-256 of a file, remembered in `cache` as long as its size and time stay the same."""
    file = file.resolve()
    stat = file.stat()
    stamp = [str(file), stat.st_size, stat.st_mtime_ns]
    note = cache / "digests" / f"{hashlib.sha256(str(file).encode()).hexdigest()[:32]}.json"
    try:
        noted = json.loads(note.read_text("utf-8"))
        if noted["stamp"] == stamp:
            return str(noted["sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        pass  # not noted yet, or badly: the digest is made anew
    digest = file_digest(file)
    with suppress(DataError):  # a cache that cannot be written costs time, nothing else
        write_whole(note, json.dumps({"stamp": stamp, "sha256": digest}))
    return digest
