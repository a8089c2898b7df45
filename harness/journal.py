"""Append-only JSON lines that survive a kill at any moment, and files written whole or not at all.

A line is one write; a half-written last line is cut off when the journal is opened again. Closed
journals are compressed with zstd. One process writes at a time. Large arrays lie beside the lines
(`harness.arrays`).
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import msgspec

from harness.disk import unwritable
from harness.errors import BusyError, DataError

if TYPE_CHECKING:
    from filelock import BaseFileLock


def write_whole(path: Path, data: bytes | str) -> None:
    """Write a file so that a reader sees the old one or the new one, never a part."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with draft.open("wb") as file:
            file.write(data.encode() if isinstance(data, str) else data)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError as error:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
        raise unwritable(path, error) from error


@dataclass
class Journal:
    """Lines of one file: `append` to it, `read` from it."""

    path: Path
    """Without the .zst of a closed one."""
    damaged: int = 0
    """Lines that could not be read and were left out."""
    _arrays: Any = field(default=None, repr=False)
    _file: int | None = field(default=None, repr=False)
    _lock: Any = field(default=None, repr=False)

    @property
    def closed_path(self) -> Path:
        """Where the compressed lines lie once the journal is closed."""
        return self.path.with_name(f"{self.path.name}.zst")

    @property
    def arrays_path(self) -> Path:
        """Where the large arrays of the lines lie, if there are any."""
        return self.path.with_suffix(".arrays")

    @contextmanager
    def alone(self) -> Generator[None]:
        """Hold the writer's place, whatever the file holds; BusyError if somebody else does."""
        lock = self._place()
        try:
            yield
        finally:
            lock.release()

    def open(self) -> Journal:
        """Take the writer's place, and mend the end of the file."""
        lock = self._place()
        try:
            self._unpack()
            self._mend()
            self._file = self._opened()
        except BaseException as error:
            lock.release()
            if isinstance(error, OSError):
                raise unwritable(self.path, error) from error
            raise
        self._lock = lock
        return self

    def _place(self) -> BaseFileLock:
        from filelock import FileLock, Timeout

        lock = FileLock(self.path.with_name(f".{self.path.name}.lock"))
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            lock.acquire(timeout=0)
        except Timeout as error:
            raise BusyError(
                f"another process writes to {self.path}; wait for it, or give another --output-dir"
            ) from error
        except OSError as error:
            raise unwritable(self.path, error) from error
        return lock

    def append(self, line: Mapping[str, Any]) -> None:
        """One line more, whole or not at all."""
        assert self._file is not None, "open the journal first"
        data = self._packed(line)
        before = os.fstat(self._file).st_size
        try:
            written = os.write(self._file, data)
            if written < len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            with suppress(OSError):
                os.ftruncate(self._file, before)
            raise unwritable(self.path, error) from error

    def read(self) -> Iterator[dict[str, Any]]:
        """The lines that can be read, in order; the others are counted in `damaged`."""
        self.damaged = 0
        for raw in self._lines():
            try:
                line = msgspec.json.decode(raw)
                if b'"at":[' in raw and self.arrays_path.exists():
                    line = self._beside().restored(line)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, DataError):
                self.damaged += 1
                continue
            if isinstance(line, dict):
                yield cast(dict[str, Any], line)
            else:
                self.damaged += 1

    def prune(self, keep: Callable[[dict[str, Any]], bool]) -> int:
        """Drop the lines that are not to be kept; gives their number. The journal must be open."""
        assert self._file is not None, "open the journal first"
        lines = list(self.read())
        kept = [line for line in lines if keep(line)]
        if len(kept) < len(lines) or self.damaged:
            write_whole(self.path, b"".join(map(self._packed, kept)))
            os.close(self._file)
            self._file = self._opened()
        return len(lines) - len(kept)

    def close(self, *, compress: bool = False) -> None:
        """Give the writer's place back."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
        if compress and self.path.exists():
            import zstandard

            packer = zstandard.ZstdCompressor(level=9, write_checksum=True)
            write_whole(self.closed_path, packer.compress(self.path.read_bytes()))
            self.path.unlink()
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def __enter__(self) -> Journal:
        return self.open()

    def __exit__(self, *_: object) -> None:
        self.close()

    def _packed(self, line: Mapping[str, Any]) -> bytes:
        """A line as it is written; its large arrays are written first."""
        data = msgspec.json.encode(line)
        if b'"$array":' in data and len(data) > 1000:
            data = msgspec.json.encode(self._beside().lifted(dict(line)))
        return data + b"\n"

    def _beside(self) -> Any:
        if self._arrays is None:
            from harness.arrays import ArrayFile

            self._arrays = ArrayFile(self.arrays_path)
        return self._arrays

    def _lines(self) -> Iterator[bytes]:
        if self.path.exists():
            with self.path.open("rb") as file:
                yield from (line for line in file if line.strip())
        elif self.closed_path.exists():
            yield from (line for line in self._inflated().splitlines() if line.strip())

    def _opened(self) -> int:
        return os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def _inflated(self) -> bytes:
        """What the closed file holds; of one that was cut off, what can be read."""
        import zstandard

        data, lines = self.closed_path.read_bytes(), b""
        try:
            while data:
                unpacker = zstandard.ZstdDecompressor().decompressobj()
                lines += unpacker.decompress(data)
                data = unpacker.unused_data if unpacker.eof else b""
                self.damaged += not unpacker.eof
        except zstandard.ZstdError as error:
            raise DataError(f"{self.closed_path} is damaged: {error}") from error
        return lines

    def _unpack(self) -> None:
        if not self.path.exists() and self.closed_path.exists():
            write_whole(self.path, self._inflated())
            self.closed_path.unlink()

    def _mend(self) -> None:
        if not self.path.exists() or self.path.stat().st_size == 0:
            return
        with self.path.open("rb+") as file:
            data = file.read()
            if not data.endswith(b"\n"):
                file.truncate(data.rfind(b"\n") + 1)
