"""What one program does is nothing to the next, in the same box or beside it."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from sandbox.inside import warm
from sandbox.local import LocalBackend
from sandbox.types import Backend, Limits
from tests.sandbox.boxes import results, runs, stdin

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="boxes need Linux")

LOOK = """
import builtins, decimal, gc, json, locale, math, os, random, signal, sys, threading, warnings
def look():
    return [
        sys.getrecursionlimit(), sys.get_int_max_str_digits(), sys.getswitchinterval(),
        threading.stack_size(), threading.active_count(), decimal.getcontext().prec,
        random.random(), sorted(os.environ), sys.path, len(sys.meta_path), os.getcwd(),
        locale.setlocale(locale.LC_ALL), sorted(dir(builtins)), len(print.__doc__),
        json.dumps([1]), math.pi, gc.isenabled(), gc.get_threshold(), len(warnings.filters),
        str(signal.getsignal(signal.SIGALRM)), sys.gettrace() is None, sys.stdout.encoding,
        sorted(set(globals())), os.umask(18), hash('text'), sys.argv,
        'colorsys' in sys.modules,
    ]
"""
SPOIL = """
sys.setrecursionlimit(77777); sys.set_int_max_str_digits(0); sys.setswitchinterval(1)
threading.stack_size(1 << 20); decimal.getcontext().prec = 3; random.seed(5)
os.environ['X'] = '1'; sys.path.append('/x'); sys.meta_path.append(None)
builtins.len = lambda x: 1; builtins.mine = 1; json.dumps = lambda x: 'forged'; math.pi = 3
gc.disable(); gc.set_threshold(1); warnings.simplefilter('error'); os.umask(0)
signal.signal(signal.SIGALRM, signal.SIG_IGN); sys.settrace(lambda *a: None)
import colorsys; leaked = 1; sys.argv.append('x')
try: locale.setlocale(locale.LC_ALL, 'C')
except locale.Error: pass
threading.Thread(target=__import__('time').sleep, args=(9999,), daemon=True).start()
for name in ('stdin', 'stdout', 'stderr', 'modules'):
    setattr(sys, name, None)
"""


@pytest.fixture(scope="module")
def box() -> Iterator[Backend]:
    with LocalBackend(workers=1) as backend:
        yield backend


def test_a_program_finds_nothing_that_an_earlier_one_left(box: Backend):
    look, spoil = stdin(LOOK + "print(look())"), stdin(LOOK + SPOIL)
    first, *rest = results(box, [look, spoil, look, spoil, look])
    assert first.runs[0].status == "OK", first
    assert [rest[1].runs[0].stdout, rest[3].runs[0].stdout] == [first.runs[0].stdout] * 2


def test_a_test_finds_what_a_new_process_would_find(box: Backend):
    source = LOOK + "print(look())\n" + SPOIL
    alone = runs(box, stdin(source, "", "", "", isolation="test", stop_at_fault=False))
    assert len({run.stdout for run in alone}) == 1
    together = runs(box, stdin(source, "", "", "", stop_at_fault=False))
    assert [run.stdout for run in together] == [run.stdout for run in alone]


CHANGES = [each.strip() for line in SPOIL.splitlines()[:6] for each in line.split(";")]


@pytest.mark.parametrize("line", CHANGES, ids=lambda line: line.split("(")[0].split(" ")[0])
def test_no_single_change_is_met_again(box: Backend, line: str):
    """Each alone, as a change that ends the process's reuse would hide the others."""
    source = LOOK + "print(look())\n" + line
    alone = runs(box, stdin(source, "", "", isolation="test"))
    together = runs(box, stdin(source, "", ""))
    assert [run.stdout for run in together] == [run.stdout for run in alone]
    assert together[1].stdout == together[0].stdout


def test_output_of_earlier_programs_is_in_no_memory_of_later_ones(box: Backend):
    """A program may read all of its own memory; that is a copy of the zygote's."""
    mark = "mark-" + "of-an-earlier-program"
    said = stdin(f"print('{mark}')\nimport sys\nsys.stderr.write('{mark}')  # {mark}", mark)
    look = stdin(
        "import ctypes, gc, io\n"
        "word = 'mark-' + 'of-an-earlier'\n"
        "found = 0\n"
        "buffers = [ctypes.string_at(id(o) - 4096, 1 << 16) for o in gc.get_objects()[:1]]\n"
        "libc = ctypes.CDLL(None)\n"
        "libc.sbrk.restype = ctypes.c_void_p\n"
        "end = libc.sbrk(0)\n"
        "low = id(ctypes) if id(ctypes) < end else end - (1 << 20)\n"
        "heap = ctypes.string_at(low, end - low)\n"
        "print(len(heap) > 1000, word.encode() + b'-program' in heap)\n"
    )
    *_, last = results(box, [said, said, said, look])
    assert last.runs[0].status in ("OK", "RE")
    assert b"True" not in last.runs[0].stdout.split()[1:]


CYCLE = """
class Self:
    def __init__(self):
        self.me = self
    def __del__(self):
        print('gone', flush=True)
"""
ALTERED = {
    "draws": ("", "import random\nprint(input(), random.random())"),
    "draws by a name of the prefix": (
        "from random import *",
        "each = list(range(99))\nshuffle(each)\nprint(input(), each)",
    ),
    "draws through another module": (
        "",
        "from statistics import NormalDist\nprint(input(), NormalDist().samples(2))",
    ),
    "redirects": ("", "import os\nprint(input(), flush=True)\nos.dup2(2, 1)"),
    "closes": ("", "import os\nprint(input(), flush=True)\nos.close(1)"),
    "closes unnamed": (
        "",
        "import sys\nprint(input(), flush=True)\ntype(sys.stdout.buffer.raw)(1)",
    ),
    "closes the slots": (
        "",
        "import os\nprint(input(), flush=True)\nfor each in range(4, 99):\n"
        "    try: os.close(each)\n    except OSError: pass",
    ),
    "goes deep": (
        "",
        "import sys\nprint(input(), sys.getrecursionlimit())\nsys.setrecursionlimit(5000)",
    ),
    "goes deep by a name of the prefix": (
        "from sys import *",
        "print(input(), getrecursionlimit())\nsetrecursionlimit(5000)",
    ),
    "rounds": (
        "",
        "from decimal import *\nprint(input(), 1 / Decimal(3))\nsetcontext(Context(prec=5))",
    ),
    "rounds by a name of the prefix": (
        "from decimal import *",
        "print(input(), getcontext())\nsetcontext(Context(prec=5))",
    ),
    "reads bytes by a name of the prefix": (
        "import sys\ninput = sys.stdin.buffer.readline",
        "print(input())",
    ),
    "arguments": ("", "import sys\nprint(input(), sys.argv)\nsys.argv.append('x')"),
    "traces": ("", "import sys\nprint(input(), sys.gettrace())\nsys.settrace(lambda *_: None)"),
    "masks": ("", "import os\nprint(input(), os.umask(0))"),
    "keeps garbage": ("", "import gc as g\nprint(input(), g.isenabled())\ng.disable()"),
    "threads": (
        "",
        "from threading import *\nprint(input(), active_count(), flush=True)\n"
        "Thread(target=print, args=('beside',)).start()",
    ),
    "leaves a cycle": ("", f"{CYCLE}\nprint(input(), flush=True)\nSelf()"),
    "leaves a cycle that was looked at": (
        "",
        f"import gc as g\n{CYCLE}\nprint(input(), flush=True)\neach = Self()\ng.collect()",
    ),
    "leaves a cycle that was looked at often": (
        "",
        f"import gc as g\n{CYCLE}\nprint(input(), flush=True)\neach = Self()\n"
        "g.collect(); g.collect(1); g.collect(0)",
    ),
    "leaves a cycle among many": (
        "",
        f"{CYCLE}\nprint(input(), flush=True)\neach = Self()\nmany = [[k] for k in range(50_000)]",
    ),
    "another main thread": (
        "",
        "import threading as t\nprint(input(), t.main_thread().is_alive())\nt._shutdown()",
    ),
}


@pytest.mark.parametrize("name", ALTERED)
def test_what_a_test_draws_or_redirects_is_as_new_for_the_next(box: Backend, name: str):
    prefix, source = ALTERED[name]
    once = runs(box, stdin(source, "a", "b", "c", prefix=prefix))
    each = runs(box, stdin(source, "a", "b", "c", prefix=prefix, isolation="test"))
    assert [run.status for run in once] == ["OK"] * 3, once
    assert [run.stdout for run in once] == [run.stdout for run in each]


READ = {
    "all": "sys.stdin.read()",
    "a line": "input()",
    "a few characters": "sys.stdin.read(3)",
    "a line by the stream": "sys.stdin.readline()",
    "lines": "[line for line, _ in zip(sys.stdin, range(2))]",
    "the rest of a line begun": "(next(sys.stdin), sys.stdin.read(1))",
    "the kinds of line ends": "(sys.stdin.read(), sys.stdin.newlines)",
    "places": "(next(sys.stdin), sys.stdin.seek(0), sys.stdin.tell())",
    "bytes": "sys.stdin.buffer.read(5)",
    "bytes by another module": "files.FileInput(mode='rb').readline()",
    "the file": "os.read(0, 5)",
    "the file after the stream": "(sys.stdin.read(1), os.read(0, 5))",
    "another stream of it": "open(0, closefd=False).readline()",
    "nothing": "0",
    "after its end": "(sys.stdin.read(), sys.stdin.read())",
}
INPUTS = ("one\ntwo\nthree\n", "four", "\r\n\r\n", "", "é" * 9000 + "\nend", "five\nsix\n")


@pytest.mark.parametrize("name", READ)
def test_what_a_test_has_read_is_nothing_to_the_next(box: Backend, name: str):
    source = (
        f"import fileinput as files, os, sys\ntry: print(ascii({READ[name]})[:99])\n"
        "except (EOFError, StopIteration, UnicodeDecodeError) as error: print(repr(error))"
    )
    once = runs(box, stdin(source, *INPUTS))
    each = runs(box, stdin(source, *INPUTS, isolation="test"))
    assert [run.status for run in once] == ["OK"] * len(INPUTS), once
    assert [run.stdout for run in once] == [run.stdout for run in each]


def test_a_program_holds_the_descriptors_of_its_tests_and_no_other(box: Backend):
    source = (
        "import os\nfound = []\nfor each in range(4096):\n"
        "    try: found.append((each, os.fstat(each).st_ino))\n    except OSError: pass\n"
        "print(len(found), [each for each, _ in found][:4], len({file for _, file in found}))"
    )
    # three streams and the control line; then input and output of each test, the first's twice
    assert runs(box, stdin(source))[0].stdout == b"4 [0, 1, 2, 3] 4\n"
    assert runs(box, stdin(source, "a", "b", "c"))[0].stdout == b"10 [0, 1, 2, 3] 8\n"


def test_a_program_has_its_own_limits_whatever_the_one_before_had(box: Backend):
    source = "import resource\nprint(resource.getrlimit(resource.RLIMIT_AS)[0] >> 20)"
    sizes = [512, 512, 512, 768, 768, 512, 768, 768, 768, 512]  # one is ready like the last two
    programs = [stdin(source, limits=Limits(memory=size << 20)) for size in sizes]
    told = [int(each.runs[0].stdout) for each in results(box, programs)]
    assert told == sizes


def test_the_rehearsed_program_is_a_program(box: Backend):
    (run,) = runs(box, stdin(warm.REHEARSED, warm.GIVEN.decode()))
    assert (run.status, run.stdout) == ("OK", b"a 5 5\nb 25 25\n")
