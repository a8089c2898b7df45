"""arrays: large arrays of a journal lie beside its lines, each different one once.

`rollouts.arrays` is a row of zstd frames, each a whole `.npy` file; a line holds where its array
begins and how long the frame is. The array is written before the line that names it, so a killed
run leaves at most an array that no line names. Small arrays stay in their line.
"""

from __future__ import annotations

import base64
import hashlib
import io
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import zstandard

from harness.codec import ARRAY
from harness.disk import unwritable
from harness.errors import DataError

SMALLEST = 1024
"""Bytes from which an array leaves its line."""
LARGEST = 1 << 28
"""Bytes of one array that is read: a line of somebody else's may claim anything."""


@dataclass
class ArrayFile:
    """Arrays of one journal."""

    path: Path
    _known: dict[str, list[int]] = field(default_factory=dict[str, list[int]], repr=False)

    def lifted(self, value: Any) -> Any:
        """The value with its large arrays written here, and places in their stead."""
        if isinstance(value, list):
            items = cast(list[Any], value)
            if len(items) > 64 and not isinstance(items[0], list | dict):
                return items  # token ids and the like: nothing to look for
            return [self.lifted(each) for each in items]
        if not isinstance(value, dict):
            return value
        table = cast(dict[str, Any], value)
        data = table.get("data")
        if ARRAY in table and isinstance(data, str) and 3 * len(data) // 4 >= SMALLEST:
            return {ARRAY: table[ARRAY], "shape": table["shape"], "at": self._written(table)}
        return {key: self.lifted(each) for key, each in table.items()}

    def restored(self, value: Any) -> Any:
        """The value with its arrays put back; DataError where one cannot be read."""
        if isinstance(value, list):
            return [self.restored(each) for each in cast(list[Any], value)]
        if not isinstance(value, dict):
            return value
        table = cast(dict[str, Any], value)
        if ARRAY in table and "at" in table:
            data = base64.b64encode(self._read(table).tobytes()).decode()
            return {ARRAY: table[ARRAY], "shape": table["shape"], "data": data}
        return {key: self.restored(each) for key, each in table.items()}

    def _written(self, table: Mapping[str, Any]) -> list[int]:
        raw = base64.b64decode(table["data"])
        name = hashlib.sha256(raw + f"{table[ARRAY]}{table['shape']}".encode()).hexdigest()
        if name not in self._known:
            made = io.BytesIO()
            array = np.frombuffer(raw, np.dtype(table[ARRAY])).reshape(table["shape"])
            np.lib.format.write_array(made, array, allow_pickle=False)
            packer = zstandard.ZstdCompressor(level=3, write_checksum=True)
            frame = packer.compress(made.getvalue())
            self._known[name] = [self._added(frame), len(frame)]
        return self._known[name]

    def _added(self, frame: bytes) -> int:
        """Where it begins; whole or not at all."""
        begin = self.path.stat().st_size if self.path.exists() else 0
        try:
            with self.path.open("ab") as file:
                file.write(frame)
        except OSError as error:
            with suppress(OSError):
                os.truncate(self.path, begin)
            raise unwritable(self.path, error) from error
        return begin

    def _read(self, table: Mapping[str, Any]) -> np.ndarray[Any, Any]:
        try:
            begin, length = (int(number) for number in table["at"])
            if not (begin >= 0 and 0 < length <= LARGEST):
                raise ValueError(f"no place for an array: {begin}, {length}")
            with self.path.open("rb") as file:
                file.seek(begin)
                frame = file.read(length)
            size = zstandard.frame_content_size(frame)
            if not 0 < size <= LARGEST:
                raise ValueError(f"an array of {size} bytes")
            raw = zstandard.ZstdDecompressor().decompress(frame, max_output_size=LARGEST)
            found = np.lib.format.read_array(io.BytesIO(raw), allow_pickle=False)
        except (OSError, ValueError, TypeError, EOFError, zstandard.ZstdError) as error:
            raise DataError(f"an array of {self.path} cannot be read: {error}") from error
        if found.dtype.str != table[ARRAY] or list(found.shape) != list(table["shape"]):
            raise DataError(f"{self.path} holds another array where a line says {table[ARRAY]}")
        return np.ascontiguousarray(found)
