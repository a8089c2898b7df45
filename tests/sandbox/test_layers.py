"""Each layer holds something that no other holds: without it the suite fails, with it nothing does.

Whatever runs without a layer runs in a process that is thrown away, with programs that would do no
harm if they got through.
"""

from __future__ import annotations

import errno
import json
import os
import platform
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from sandbox.layers import seccomp, syscalls
from sandbox.local import LocalBackend
from sandbox.types import Capabilities

HOUSE = Path(__file__).resolve().parents[2]
linux = pytest.mark.skipif(sys.platform != "linux", reason="boxes need Linux")

THROWN_AWAY = """
import json, os, sys, tempfile
sys.path.insert(0, sys.argv[1])
from sandbox.local import LocalBackend
from sandbox.pool import Workers
from sandbox.types import Limits, Program, Stdin
off = json.loads(sys.argv[2])
backend = LocalBackend(1, off=off)
known = backend.capabilities()
boxes = Workers("local", 1, backend._box)  # boxes that have not shown that they hold
file = tempfile.NamedTemporaryFile(prefix="seen-", delete=False)
file.write(b"seen"); file.close(); os.chmod(file.name, 0o644)
sources = {
    "fork": "import os\\nif os.fork() == 0: os._exit(0)\\nprint(3)",
    "execute": "import os\\nos.execv('/lib64/ld-linux-x86-64.so.2', ['ld', '--version'])",
    "socket": "import socket\\nsocket.socket(socket.AF_UNIX)\\nprint(3)",
    "read": f"print(len(open({file.name!r}).read()))",
    "list": "import os\\nassert {1!r} in os.listdir({0!r})".format(*os.path.split(file.name)),
    "memory": "print(len(bytearray(1 << 30)))",
    "descriptors": "import os\\nprint(len([os.dup(1) for _ in range(200)]))",
    "core": "import resource\\nassert resource.getrlimit(resource.RLIMIT_FSIZE)[1] != 0\\nprint(3)",
    "capability": "import ctypes\\nh = (ctypes.c_uint32 * 2)(0x20080522, 0)\\n"
        "s = (ctypes.c_uint32 * 6)()\\n"
        "ctypes.CDLL(None).capget(h, s)\\nassert any(s)\\nprint(3)",
    "privileges": "import ctypes\\nassert ctypes.CDLL(None).prctl(39, 0, 0, 0, 0) == 0\\nprint(3)",
}
only = sys.argv[3:]
sources = {name: source for name, source in sources.items() if not only or name in only}
limits = Limits(cpu=5, wall=60, memory=512 << 20)
programs = [Program(source, (Stdin(""),), limits) for source in sources.values()]
found = dict(boxes.run(programs))
boxes.close(); backend.close(); os.unlink(file.name)
got_out = [name for i, name in enumerate(sources) if found[i].runs[-1].status == "OK"]
print(json.dumps({"usable": known.usable, "missing": known.missing, "out": got_out}))
"""


def without(*layers: str, only: tuple[str, ...] = ()) -> tuple[Capabilities, set[str]]:
    """What the backend says of itself without these layers, and which programs got through."""
    done = subprocess.run(
        [sys.executable, "-c", THROWN_AWAY, str(HOUSE), json.dumps(layers), *only],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    known = Capabilities("local", said["usable"], {}, tuple(said["missing"]))
    return known, set(said["out"])


@linux
@pytest.mark.slow
def test_with_all_layers_nothing_gets_through():
    known, out = without()
    assert known.usable
    assert out == set()


@linux
@pytest.mark.slow
@pytest.mark.parametrize("spare", ["namespaces", "pivot_root", "landlock"])
def test_a_layer_that_another_stands_in_for_can_be_spared(spare: str):
    known, out = without(spare)
    assert known.usable, known.missing
    assert out == set()


@linux
@pytest.mark.slow
@pytest.mark.parametrize(
    ("layers", "gets_out"),
    [
        (["seccomp"], {"fork", "socket"}),
        (["rlimits"], {"memory", "descriptors", "core"}),
        (["landlock", "pivot_root"], {"read", "list"}),
        (["landlock", "namespaces"], {"read", "list"}),
    ],
    ids=["seccomp", "rlimits", "files in namespaces", "files without namespaces"],
)
def test_without_a_required_layer_programs_get_through_and_the_backend_refuses(
    layers: list[str], gets_out: set[str]
):
    known, out = without(*layers)
    assert gets_out <= out
    assert not known.usable
    assert any("a witness got out" in each for each in known.missing)
    assert any(layers[0] in each and "needs" in each for each in known.missing)


@linux
@pytest.mark.slow
def test_without_dropped_capabilities_programs_have_them_and_the_backend_refuses():
    known, _ = without("capabilities", only=("capability",))
    assert not known.usable
    only = ("capability",)
    _, held = without("seccomp", only=only)
    _, out = without(
        "seccomp", "capabilities", only=only
    )  # the filter would hide the sets from the program
    assert "capability" not in held
    if os.geteuid() == 0 or LocalBackend(1).capabilities().layers["namespaces.user"] == "on":
        assert "capability" in out


@linux
@pytest.mark.slow
def test_without_no_new_privileges_no_program_starts_or_the_backend_refuses():
    known, out = without("no_new_privs", only=("privileges",))
    assert not known.usable
    # seccomp and Landlock demand it of whoever has no capability: without it nothing is let in
    assert out <= {"privileges"}


# -- the table of system calls


def run_filter(machine: str, number: int, arguments: tuple[int, ...] = (), arch: int = 0) -> int:
    """What a program is answered: of two filters the answer that allows less, as in the kernel.

    That is the lesser one, of numbers with a sign.
    """
    filters = [seccomp.outer(machine), seccomp.inner(machine)]
    answers = [run_lines(each, machine, number, arguments, arch) for each in filters]
    return min(answers, key=lambda answer: answer - ((answer & 1 << 31) << 1))


def run_lines(
    lines: list[seccomp.Line], machine: str, number: int, arguments: tuple[int, ...], arch: int = 0
) -> int:
    """What one BPF program answers; an interpreter of the five instructions that it uses."""
    words = [each & (2**64 - 1) for each in (*arguments, 0, 0, 0, 0, 0, 0)][:6]
    data = struct.pack("<iIQ6Q", number, arch or seccomp.ARCHITECTURES[machine], 0, *words)
    at = accumulator = 0
    while True:
        code, if_true, if_false, value = lines[at]
        at += 1
        if code == seccomp.LOAD:
            (accumulator,) = struct.unpack_from("<I", data, value)
        elif code == seccomp.MASK:
            accumulator &= value
        elif code == seccomp.EQUAL:
            at += if_true if accumulator == value else if_false
        elif code == seccomp.AT_LEAST:
            at += if_true if accumulator >= value else if_false
        else:
            assert code == seccomp.RETURN
            return value


REFUSED = seccomp.REFUSE | errno.EPERM
MACHINES = ("x86_64", "aarch64")


@pytest.mark.parametrize("machine", MACHINES)
def test_every_call_that_is_not_listed_is_refused(machine: str):
    numbers = syscalls.NUMBERS[machine]
    listed = set(syscalls.plain(machine)) | {numbers[name] for name in syscalls.CONDITIONAL}
    assert 70 < len(listed) < 120
    for number in range(600):
        answer = run_filter(machine, number)
        if number in set(syscalls.plain(machine)):
            assert answer == seccomp.ALLOW
        elif number not in listed:
            assert answer == REFUSED


@pytest.mark.parametrize("machine", MACHINES)
def test_numbers_are_distinct(machine: str):
    numbers = list(syscalls.NUMBERS[machine].values())
    assert len(set(numbers)) == len(numbers)


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize(
    ("name", "arguments", "answer"),
    [
        ("clone", (0x3D0F00,), seccomp.ALLOW),
        ("clone", (17,), REFUSED),
        ("clone", (0x4111,), REFUSED),
        ("clone3", (1, 88), seccomp.REFUSE | errno.ENOSYS),
        ("prlimit64", (0, 9, 0, 1), seccomp.ALLOW),
        ("prlimit64", (0, 9, 1, 0), REFUSED),
        ("prlimit64", (0, 9, 1 << 32, 0), REFUSED),
        ("ioctl", (0, 0x5401), seccomp.ALLOW),
        ("ioctl", (0, 0x5412), seccomp.REFUSE | errno.ENOTTY),
        ("fcntl", (0, 1030), seccomp.ALLOW),
        ("fcntl", (0, 8), REFUSED),
        ("prctl", (15,), seccomp.ALLOW),
        ("prctl", (22,), REFUSED),
        ("socketpair", (1, 0x80801), seccomp.ALLOW),
        ("socketpair", (1, 2), REFUSED),
        ("socketpair", (2, 1), REFUSED),
        ("sendto", (3, 1, 1, 0, 0), seccomp.ALLOW),
        ("sendto", (3, 1, 1, 0, 1 << 40), REFUSED),
    ],
)
def test_calls_with_conditions(machine: str, name: str, arguments: tuple[int, ...], answer: int):
    assert run_filter(machine, syscalls.NUMBERS[machine][name], arguments) == answer


def test_other_architectures_and_the_x32_calls_end_the_process():
    for machine in MACHINES:
        assert run_filter(machine, 0, arch=0x40000003) == seccomp.KILL
    assert run_filter("x86_64", seccomp.X32 + 39) == seccomp.KILL
    with pytest.raises(KeyError):
        seccomp.Program("riscv64")


@pytest.mark.skipif(not Path("/usr/include").exists(), reason="no kernel headers here")
def test_numbers_are_those_of_the_kernels_headers():
    folder = {"x86_64": "x86_64-linux-gnu/asm/unistd_64.h", "aarch64": "asm-generic/unistd.h"}
    path = Path("/usr/include") / folder.get(platform.machine(), "none")
    if not path.exists():
        pytest.skip("no kernel headers here")
    words = [line.split() for line in path.read_text().splitlines()]
    told = {
        each[1].removeprefix("__NR_").removeprefix("__NR3264_"): int(each[2])
        for each in words
        if len(each) == 3 and each[1].startswith("__NR") and each[2].isdecimal()
    }
    ours = syscalls.NUMBERS[platform.machine()]
    assert {name: told.get(name, number) for name, number in ours.items()} == ours
    assert len(set(told) & set(ours)) > 60
