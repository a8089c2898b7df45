"""An allowlist of system calls as two BPF programs, made once.

The zygote installs the first for itself and for all that it bears: what programs may call, and what
it takes to bear them. Each program process installs the second, which takes the latter away: it is
small, and the kernel translates it each time.

Everything else answers EPERM rather than a kill, so that a harmless probe survives. `clone` makes
threads only; `clone3` answers ENOSYS, so that the C library falls back to `clone`; `prlimit64` only
reads; a socket pair is of streams only and is never addressed, which is what asyncio needs.
"""

from __future__ import annotations

import ctypes
import errno
import struct

from sandbox.layers.libc import MACHINE, PR_SET_SECCOMP, Prepared, prepared_prctl
from sandbox.layers.syscalls import NUMBERS, plain

ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
ALLOW = 0x7FFF0000
KILL = 0x80000000
REFUSE = 0x00050000
FILTER = 2
LOAD, EQUAL, AT_LEAST, MASK, RETURN = 0x20, 0x15, 0x35, 0x54, 0x06
NUMBER, ARCHITECTURE = 0, 4
CLONE_THREAD = 0x10000
X32 = 0x40000000
IOCTLS = [0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451]
"""Is it a terminal and how large, bytes to read, blocking or not, closed on exec or not."""
FCNTLS = [0, 1, 2, 3, 4, 1030]
"""Duplicate, and the flags of a descriptor; no owner that is signalled, no seals, no pipe sizes."""
PRCTLS = [15, 16]
"""The name of a thread."""

BIRTH = (
    *("clone", "wait4", "unshare", "setns", "prlimit64", "prctl", "capset"),
    *("landlock_create_ruleset", "landlock_restrict_self"),
)
"""What the zygote calls, and a process up to its submission, beyond what programs may."""

Line = tuple[int, int, int, int]
Leaf = tuple[int, list[Line]]


class _Head(ctypes.Structure):
    """What the kernel is given; it keeps the lines alive."""

    _fields_ = (("count", ctypes.c_ushort), ("lines", ctypes.POINTER(ctypes.c_char)))


class Program:
    """The BPF programs of this machine; KeyError on a machine without a table."""

    def __init__(self, machine: str = MACHINE) -> None:
        self.share = _installed(outer(machine))
        """Holds this process and all that it bears to what programs and births need. For good."""
        self.install = _installed(inner(machine))
        """Holds a process, and each thread that it starts, to what programs may. For good."""


def _installed(lines: list[Line]) -> Prepared:
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *x) for x in lines))
    head = ctypes.cast(ctypes.pointer(_Head(len(lines), code)), ctypes.c_void_p)
    return prepared_prctl(PR_SET_SECCOMP, FILTER, head)


def outer(machine: str) -> list[Line]:
    """What programs may call, and all of `BIRTH`; anything else is refused."""
    numbers, allow = NUMBERS[machine], [(RETURN, 0, 0, ALLOW)]
    answers = {number: allow for number in plain(machine)}
    answers |= {numbers[name]: body for name, body in _conditions().items()}
    answers |= {numbers[name]: allow for name in BIRTH}
    leaves = _leaves(answers, [(RETURN, 0, 0, REFUSE | errno.EPERM)])
    if machine == "x86_64":
        leaves.append((X32, [(RETURN, 0, 0, KILL)]))
    return [
        (LOAD, 0, 0, ARCHITECTURE),
        (EQUAL, 1, 0, ARCHITECTURES[machine]),
        (RETURN, 0, 0, KILL),
        (LOAD, 0, 0, NUMBER),
        *_search(leaves),
    ]


def inner(machine: str) -> list[Line]:
    """What of `BIRTH` programs may call, and with which arguments; all else is left to `outer`."""
    refuse, conditions = [(RETURN, 0, 0, REFUSE | errno.EPERM)], _conditions()
    answers = {NUMBERS[machine][name]: conditions.get(name, refuse) for name in BIRTH}
    return [(LOAD, 0, 0, NUMBER), *_search(_leaves(answers, [(RETURN, 0, 0, ALLOW)]))]


def _leaves(answers: dict[int, list[Line]], otherwise: list[Line]) -> list[Leaf]:
    """What is answered from each number on, up to the next, in rising order."""
    leaves: list[Leaf] = []
    for number in range(max(answers) + 2):
        answer = answers.get(number, otherwise)
        if not leaves or leaves[-1][1] != answer:
            leaves.append((number, answer))
    return leaves


def _search(leaves: list[Leaf]) -> list[Line]:
    """A binary search: the kernel tries each number when a filter is installed, so depth counts."""
    if len(leaves) == 1:
        return leaves[0][1]
    middle = len(leaves) // 2
    low, high = _search(leaves[:middle]), _search(leaves[middle:])
    return [(AT_LEAST, len(low), 0, leaves[middle][0]), *low, *high]


def _conditions() -> dict[str, list[Line]]:
    refuse = (RETURN, 0, 0, REFUSE | errno.EPERM)
    allow = (RETURN, 0, 0, ALLOW)
    thread = [(LOAD, 0, 0, _low(0)), (MASK, 0, 0, CLONE_THREAD), (EQUAL, 0, 1, CLONE_THREAD)]
    return {
        "clone": [*thread, allow, refuse],
        "clone3": [(RETURN, 0, 0, REFUSE | errno.ENOSYS)],
        "prlimit64": [*_null(2), allow, refuse],
        "ioctl": _one_of(1, IOCTLS, errno.ENOTTY),
        "fcntl": _one_of(1, FCNTLS, errno.EPERM),
        "prctl": _one_of(0, PRCTLS, errno.EPERM),
        "socketpair": [*_stream_pair(), allow, refuse],
        "sendto": [*_null(4), allow, refuse],
    }


def _low(argument: int) -> int:
    """Where the low word of an argument lies; both machines are little-endian."""
    return 16 + 8 * argument


def _null(argument: int) -> list[Line]:
    """Falls through to the next line if the argument is 0, past it otherwise."""
    low, high = _low(argument), _low(argument) + 4
    return [(LOAD, 0, 0, low), (EQUAL, 0, 3, 0), (LOAD, 0, 0, high), (EQUAL, 0, 1, 0)]


def _stream_pair() -> list[Line]:
    """AF_UNIX, SOCK_STREAM with or without its flags."""
    family, kind = _low(0), _low(1)
    return [
        (LOAD, 0, 0, family),
        (EQUAL, 0, 4, 1),
        (LOAD, 0, 0, kind),
        (MASK, 0, 0, 0xF),
        (EQUAL, 0, 1, 1),
    ]


def _one_of(argument: int, values: list[int], otherwise: int) -> list[Line]:
    lines: list[Line] = [(LOAD, 0, 0, _low(argument))]
    for value in values:
        lines += [(EQUAL, 0, 1, value), (RETURN, 0, 0, ALLOW)]
    return [*lines, (RETURN, 0, 0, REFUSE | otherwise)]
