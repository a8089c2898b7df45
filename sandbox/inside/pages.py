"""Memory of the zygote, arranged so that a fork copies little, and a program process little more.

For a fork the kernel copies a description of each mapping and an entry for each page that was
written; then each page that either process writes to. So mappings that can be one become one, text
and objects come in huge pages, and a program process makes its objects where nobody else's lie.
Each step is left out where the kernel or the C library does not offer it.
"""

from __future__ import annotations

import ctypes
import resource
from collections.abc import Iterator
from typing import NamedTuple

from sandbox.layers import libc

LIBC = ctypes.CDLL(None)
_size = ctypes.c_size_t
PAGE = resource.getpagesize()
HUGE = 1 << 21
READ, WRITE, EXECUTE = 1, 2, 4
PRIVATE_ANONYMOUS = 0x22
COLLAPSE = 25
"""madvise(2), Linux 6.1: huge pages, now."""
MOVE_TO = 3
"""mremap(2): to this address, in the place of what is there."""
POOL = 1 << 14
"""Bytes that the interpreter takes for objects of one size; half of them before Python 3.10."""
HEAD = 48
"""Bytes of a pool before its first object."""
POOLS = 40
"""Pools that a program process may need before it leaves the fresh stretch."""
SMALL = 512
"""Bytes of the largest object that lies in a pool; all sizes are multiples of 16."""
MANY = 1 << 14
"""Gaps of a size in the heap, at most."""
MOST = 1 << 25
"""Bytes of objects after which fresh pools are not waited for."""


class Part(NamedTuple):
    """A mapping of a file."""

    start: int
    end: int
    allowed: str
    offset: int
    path: str

    def goes_on_in(self, other: Part) -> bool:
        """Whether the other one begins where this one ends, in memory and in the file."""
        place = (self.end, self.offset + self.end - self.start, self.path)
        return place == (other.start, other.offset, other.path)


class Stretch(NamedTuple):
    """Bytes of memory, in whole huge pages."""

    start: int
    size: int


def _parts() -> list[Part]:
    found: list[Part] = []
    for place, allowed, offset, _, _, *path in _mappings():
        if path and path[0].startswith("/"):
            start, _, end = place.partition("-")
            found.append(Part(int(start, 16), int(end, 16), allowed, int(offset, 16), path[0]))
    return found


def _mappings() -> list[list[str]]:
    """The columns of /proc/self/maps; the path, where there is one, comes last."""
    try:
        with open("/proc/self/maps", encoding="utf-8") as lines:  # noqa: PTH123
            return [line.rstrip().split(None, 5) for line in lines]
    except OSError:
        return []


# -- mappings


def merge() -> None:
    """Make the five mappings of a library two: text and what is only read, data and the rest.

    Read-only data becomes executable and what is read-only after relocation writable: of no help to
    a program, which may map memory as it likes anyway. The kernel merges none that a fork shares.
    """
    parts = _parts()
    for before, part, after in zip([None, *parts], parts, [*parts[1:], None], strict=False):
        allowed = _allowed(before, part, after)
        if allowed:
            LIBC.mprotect(ctypes.c_void_p(part.start), _size(part.end - part.start), allowed)


def _allowed(before: Part | None, part: Part, after: Part | None) -> int:
    """What has to be allowed there for it to be one with a neighbor; 0 where nothing does it."""
    if part.allowed != "r--p":
        return 0
    if after and after.allowed == "rw-p" and part.goes_on_in(after):
        return READ | WRITE
    beside = (after and after.allowed == "r-xp" and part.goes_on_in(after)) or (
        before and before.allowed == "r-xp" and before.goes_on_in(part)
    )
    return READ | EXECUTE if beside else 0


def enlarge_text() -> None:
    """Put a copy of large text, in huge pages, in its place: a fork shares it whole, as mapped.

    Not where caches of instructions have to be told of what is written.
    """
    if libc.MACHINE != "x86_64":
        return
    for part in _parts():
        start, end = -(-part.start // HUGE) * HUGE, part.end // HUGE * HUGE
        if part.allowed == "r-xp" and start < end:
            _enlarge(start, end - start)


def _enlarge(start: int, size: int) -> None:
    LIBC.mmap.restype = LIBC.mremap.restype = ctypes.c_void_p
    found: int = LIBC.mmap(None, _size(size + HUGE), READ | WRITE, PRIVATE_ANONYMOUS, -1, _size(0))
    if found == ctypes.c_void_p(-1).value:
        return
    place = -(-found // HUGE) * HUGE
    _unmap(found, place)
    _unmap(place + size, found + size + HUGE)
    ctypes.memmove(place, start, size)
    copy = ctypes.c_void_p(place)
    if LIBC.madvise(copy, _size(size), COLLAPSE) or LIBC.mprotect(
        copy, _size(size), READ | EXECUTE
    ):
        _unmap(place, place + size)
        return
    LIBC.mremap(copy, _size(size), _size(size), MOVE_TO, ctypes.c_void_p(start))


def _unmap(start: int, end: int) -> None:
    if start < end:
        LIBC.munmap(ctypes.c_void_p(start), _size(end - start))


# -- objects


def stretches() -> list[Stretch]:
    """Where objects lie in whole huge pages, if they had room: see `worker.zygote_argv`."""
    found: list[Stretch] = []
    for place, allowed, _, _, _, *path in _mappings():
        start, end = (int(each, 16) for each in place.split("-"))
        start, end = -(-start // HUGE) * HUGE, end // HUGE * HUGE
        if allowed == "rw-p" and path in ([], ["[heap]"]) and start < end:
            found.append(Stretch(start, end - start))
    return found


def enlarge(found: list[Stretch]) -> None:
    """Make them huge pages. A fork splits them, but what came together is still copied together."""
    for start, size in found:
        LIBC.madvise(ctypes.c_void_p(start), _size(size), COLLAPSE)


def fresh() -> None:
    """Fill the gaps that are left between objects: new ones then lie side by side, and alone."""
    if hasattr(LIBC, "mallinfo2"):
        _fill_heap()
    if 2 * PAGE <= POOL:
        _kept.extend(_fillers())


_kept: list[object] = []


class _Heap(ctypes.Structure):
    """struct mallinfo2; its last word is the room at the top."""

    _fields_ = (("words", _size * 9), ("top", _size))


def _fill_heap() -> None:
    """Take what the C library would hand out before it goes on at the top of its heap."""
    LIBC.mallinfo2.restype = _Heap
    LIBC.sbrk.restype = LIBC.malloc.restype = ctypes.c_void_p
    for size in (*range(1 << 16, 1 << 11, -512), *range(1 << 11, 8, -16)):
        for _ in range(MANY):
            top = LIBC.sbrk(0) - LIBC.mallinfo2().top - SMALL
            chunk: int = LIBC.malloc(_size(size))
            if chunk >= top:
                LIBC.free(ctypes.c_void_p(chunk))
                break


def _fillers() -> Iterator[object]:
    """Objects of each size, until one lies in a pool that was not used before."""
    left = MOST
    for size in range(SMALL, 0, -16):
        while left > 0:
            left -= size
            filler = _object_of(size)
            yield filler
            place = id(filler) % POOL
            ahead = POOLS * POOL if size == SMALL else POOL // 2
            if place <= HEAD and not _touched(id(filler) - place + POOL // 2, ahead):
                break


def _object_of(size: int) -> object:
    if size == 16:
        return object()
    return bytes(size - 40) if size > 40 else float(size) / 3


def _touched(start: int, size: int) -> bool:
    """Whether a page there was written to; also where nothing is mapped."""
    pages = ctypes.create_string_buffer(size // PAGE)
    if LIBC.mincore(ctypes.c_void_p(start), _size(size), pages):
        return True
    return any(each & 1 for each in pages.raw)
