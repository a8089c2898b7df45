"""Frames: 4 bytes of length, then JSON. Spoken by the supervisor, the keeper and programs alike.

Whoever reads states the largest frame that it takes, and nothing is allocated before that check. A
frame that is no JSON, or nested too deep, is a `BadFrame`, as is the end of the stream inside one.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Iterator
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


def bodies(descriptor: int, largest: int = LARGEST) -> Iterator[bytes]:
    """The bodies of frames until the stream ends, read as many at once as lie ready.

    BadFrame if it ends inside one.
    """
    held, read, size_of = b"", os.read, int.from_bytes
    while True:
        while len(held) < 4 or len(held) < 4 + size_of(held[:4], "big"):
            missing = 4 + length(held[:4], largest) - len(held) if len(held) >= 4 else 4
            large = missing > AHEAD
            part = _exactly(descriptor, missing) if large else read(descriptor, AHEAD)
            if not part:
                if held:
                    raise BadFrame(f"the stream ended {missing} bytes before the frame did")
                return
            held += part
        end = 4 + size_of(held[:4], "big")
        yield held[4:end]
        held = held[end:]


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
