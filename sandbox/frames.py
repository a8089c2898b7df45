"""Frames: 4 bytes of length, then JSON. Spoken by the supervisor, the keeper and programs alike.

Whoever reads states the largest frame that it takes, and nothing is allocated before that check. A
frame that is no JSON, or nested too deep, is a `BadFrame`, as is the end of the stream inside one.
"""

from __future__ import annotations

import json
import os
import struct
from typing import Any

HEAD = struct.Struct(">I")
LARGEST = 1 << 28
"""Bytes: a frame between supervisor and keeper."""
AHEAD = 1 << 13
"""Bytes that a reader takes at once."""


class BadFrame(Exception):
    """What came is no frame."""


_encode = json.JSONEncoder(separators=(",", ":")).encode


def pack(value: Any) -> bytes:
    """The frame of a JSON value."""
    body = packed(value)
    return HEAD.pack(len(body)) + body


def packed(value: Any) -> bytes:
    """The body of that frame."""
    return _encode(value).encode()


def unpack(body: bytes) -> Any:
    """The value of a frame's body; BadFrame where it is none."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadFrame(f"{type(error).__name__} in a frame of {len(body)} bytes") from None


def length(head: bytes, largest: int = LARGEST) -> int:
    """The number of bytes that a head announces; BadFrame if they are too many."""
    (size,) = HEAD.unpack(head)
    if size > largest:
        raise BadFrame(f"a frame of {size} bytes; at most {largest} are read")
    return size


def send(descriptor: int, value: Any) -> None:
    """Write one frame, blocking."""
    write(descriptor, pack(value))


def write(descriptor: int, data: bytes | bytearray) -> None:
    """Write all of it, blocking."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def receive(descriptor: int, largest: int = LARGEST) -> Any:
    """Read one frame, blocking; EOFError where the stream ended before it."""
    return unpack(body(descriptor, largest))


def body(descriptor: int, largest: int = LARGEST) -> bytes:
    """The same, not unpacked."""
    head = _exactly(descriptor, HEAD.size)
    if not head:
        raise EOFError
    return _exactly(descriptor, length(head, largest))


class Reader:
    """Reads the bodies of frames, as many at once as lie ready."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor, self._held = descriptor, b""

    def body(self, largest: int = LARGEST) -> bytes:
        """The next one, blocking; EOFError where the stream ended before it."""
        self._hold(HEAD.size)
        end = HEAD.size + length(self._held[: HEAD.size], largest)
        self._hold(end)
        body, self._held = self._held[HEAD.size : end], self._held[end:]
        return body

    def _hold(self, size: int) -> None:
        """Read until so many bytes are there."""
        if len(self._held) >= size:
            return
        parts, left = [self._held], size - len(self._held)
        while left > 0:
            part = os.read(self._descriptor, min(max(AHEAD, left), 1 << 20))
            if not part and not any(parts):
                raise EOFError
            if not part:
                raise BadFrame(f"the stream ended {left} bytes before the frame did")
            parts.append(part)
            left -= len(part)
        self._held = b"".join(parts)


def _exactly(descriptor: int, size: int) -> bytes:
    parts: list[bytes] = []
    left = size
    while left:
        part = os.read(descriptor, min(left, 1 << 20))
        if not part:
            if left == size:
                return b""
            raise BadFrame(f"the stream ended {left} bytes before the frame did")
        parts.append(part)
        left -= len(part)
    return b"".join(parts)
