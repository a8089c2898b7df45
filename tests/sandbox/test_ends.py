"""How a program ends and what it finds of the machine: as under the plain interpreter."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.local import LocalBackend
from sandbox.types import Backend, Call, Program
from tests.sandbox.boxes import one, runs, stdin

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="boxes need Linux")
HOUSE = Path(__file__).resolve().parents[2]
FAST = """
import os, sys
from io import BytesIO, IOBase
class FastIO(IOBase):
    newlines = 0
    def __init__(self, file):
        self._fd = file.fileno()
        self.buffer = BytesIO()
        self.writable = "x" in file.mode or "r" not in file.mode
        self.write = self.buffer.write if self.writable else None
    def readline(self):
        while self.newlines == 0:
            b = os.read(self._fd, max(os.fstat(self._fd).st_size, 8192))
            self.newlines = b.count(b"\\n") + (not b)
            ptr = self.buffer.tell()
            self.buffer.seek(0, 2), self.buffer.write(b), self.buffer.seek(ptr)
        self.newlines -= 1
        return self.buffer.readline()
    def flush(self):
        if self.writable:
            os.write(self._fd, self.buffer.getvalue())
            self.buffer.truncate(0), self.buffer.seek(0)
class IOWrapper(IOBase):
    def __init__(self, file):
        self.buffer = FastIO(file)
        self.flush = self.buffer.flush
        self.writable = self.buffer.writable
        self.write = lambda s: self.buffer.write(s.encode("ascii"))
        self.readline = lambda: self.buffer.readline().decode("ascii")
sys.stdin, sys.stdout = IOWrapper(sys.stdin), IOWrapper(sys.stdout)
input = lambda: sys.stdin.readline().rstrip("\\r\\n")
"""
"""The wrapper of streams that many programs of contests begin with."""
ENDS = {
    "fast streams": FAST + "print(input(), 'said')",
    "own stdout": """
import sys
class Out:
    held = []
    def write(self, text): self.held.append(text)
    def flush(self): sys.__stdout__.write("".join(self.held)); self.held.clear()
sys.stdout = Out()
print(input(), 'said')""",
    "finalizer": """
import sys
def say(text): sys.stdout.write(text)
class Last:
    def __del__(self): say(self.text + ' said')
last = Last()
last.text = input()""",
    "finalizer of a cycle after the exit": """
class Last:
    def __del__(self): print(text, 'said')
last = Last()
last.self, text = last, input()
raise SystemExit""",
    "suspended generator": """
import sys
def told(text):
    try: yield
    finally: sys.stdout.write(text + ' said')
each = told(input())
next(each)""",
    "file of its own": """
import io, os
class Out(io.IOBase):
    held = b''
    def flush(self): os.write(1, self.held); self.held = b''
out = Out()
out.held = input().encode()""",
    "order of the ends": """
import atexit, sys
class Last:
    def __del__(self): print('finalizer', sys.stdout is sys.__stdout__)
class Out:
    def write(self, text): sys.__stdout__.write('-' + text)
    def flush(self): sys.__stdout__.write('flush ')
last, sys.stdout = Last(), Out()
atexit.register(lambda: print('handler', input()))""",
    "the C library's streams": """
import ctypes
ctypes.CDLL(None).printf(b'%s said', input().encode())""",
    "byte-order mark": "\ufeffprint(input())",
}


@pytest.fixture(scope="module")
def box() -> Iterator[Backend]:
    with LocalBackend(workers=1) as backend:
        yield backend


def plain(source: str, text: str, folder: Path) -> bytes:
    """The output under the plain interpreter, which has to end well."""
    file = folder / "solution.py"
    file.write_text(source, "utf-8")
    command = [sys.executable, "-I", "-S", str(file)]
    return subprocess.run(command, input=text.encode(), capture_output=True, check=True).stdout


@pytest.mark.parametrize("name", ENDS)
def test_a_program_ends_as_under_the_plain_interpreter(box: Backend, name: str, tmp_path: Path):
    wanted = plain(ENDS[name], "first\n", tmp_path)
    assert b"first" in wanted
    found = runs(box, stdin(ENDS[name], "first\n", "second\n", "third\n"))
    told = [(run.status, run.detail, run.stdout) for run in found]
    later = [wanted.replace(b"first", word) for word in (b"second", b"third")]
    assert told == [("OK", "", each) for each in (wanted, *later)]


def test_a_stream_of_its_own_is_no_fault_of_a_function(box: Backend):
    run = one(box, Program(FAST + "def f(a):\n    print(a)\n    return a", (Call("f", (3,)),)))
    assert (run.status, run.detail, run.value) == ("OK", "", "3")


DEVICES = """
import io, os, pathlib
with open('/dev/stdin') as given:
    print(given.readline().strip(), given.name)
with open(0, closefd=False) as given:
    print(given.read(), flush=True)
with open('/dev/stdout', 'w') as told, io.open('/dev/stderr', 'wb', buffering=0) as noise:
    print('written', file=told)
    noise.write(b'noise')
number = os.open(b'/proc/self/fd/1', os.O_WRONLY)
os.write(number, b'by number\\n')
os.close(number)
for each in ('/dev/fd/99', '/proc/self/fd/98'):
    try: open(each)
    except OSError as error: print(type(error).__name__, error.filename)
print(repr(pathlib.Path('/dev/fd/0').read_text()))
"""


@pytest.mark.parametrize("off", [(), ("namespaces",), ("landlock",)], ids=" ".join)
def test_descriptors_have_their_names_whatever_the_layers(off: tuple[str, ...]):
    with LocalBackend(workers=1, off=off) as backend:
        both = runs(backend, stdin(DEVICES, "one\n", "one\n"))
        assert "".join(run.stderr for run in both) == "noise" * 2
        for run in both:
            assert run.status == "OK", run
            first, _, *rest = run.stdout.decode().splitlines()
            assert first == "one /dev/stdin"
            assert rest[:3] == ["written", "by number", "FileNotFoundError /dev/fd/99"]
            assert rest[-1] == "''"


def test_to_raise_the_stacks_limit_is_without_effect_and_no_other_is_raised(box: Backend):
    source = (
        "import resource as r\nr.setrlimit(r.RLIMIT_STACK, (r.RLIM_INFINITY, r.RLIM_INFINITY))\n"
        "try: r.setrlimit(r.RLIMIT_AS, (r.RLIM_INFINITY, r.RLIM_INFINITY))\n"
        "except (OSError, ValueError): print('refused')"
    )
    assert [run.stdout for run in runs(box, stdin(source, "", ""))] == [b"refused\n"] * 2


def test_a_program_finds_neither_our_folder_nor_the_hosts_name(box: Backend):
    source = "import os, socket, sys\nprint(sys.orig_argv[1:], socket.gethostname(), os.uname()[1])"
    said = one(box, stdin(source)).stdout.decode()
    assert str(HOUSE) not in said
    if "namespaces.uts" in next(iter(box.run([stdin("")])))[1].layers:
        assert said.endswith("box box\n")
