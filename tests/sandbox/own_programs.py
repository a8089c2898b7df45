"""Hostile programs of our own, each with the verdicts that it may get; nothing may ever pass.

`STDIN` reads "1 2" and should print 3; `CALLS` defines f(a, b), called as f(1, 2), which should give
3; `ASSERTIONS` defines f, tested split by `TEST`. AC is allowed only where the program is right.
"""

# ruff: noqa: E501 - programs are easier to read on long lines
from __future__ import annotations

Rows = dict[str, tuple[str, str]]
"""Name -> allowed verdicts, source."""

FRAME = "import os,struct\ndef frame(b): return struct.pack('>I',len(b))+b\n"

STDIN: Rows = {
    "forged_answer": ("WA RE", FRAME + "os.write(3,frame(b'O10 \\n'));os._exit(0)"),
    "forged_value": ("WA RE", FRAME + "os.write(3,frame(b'O10 \\n3'))\nwhile True: pass"),
    "forged_greetings": ("WA RE", FRAME + "[os.write(3,frame(b'G')) for _ in range(99)];print(4)"),
    "forged_length": ("RE", "import os\nos.write(3,b'\\xff'*4);print(3)"),
    "forged_status": ("RE WA", FRAME + "os.write(3,frame(b'Z1 \\n'))\nwhile True: pass"),
    "floods_control": ("RE OLE TLE", "import os\nwhile True: os.write(3,b'\\x00\\x0f\\xff\\xff'+b'x'*65536)"),
    "reads_control": ("RE WA TLE", "import os\nprint(os.read(3,99))"),
    "closes_control": ("AC RE", "import os\nos.close(3);print(3)"),
    "writes_its_input": ("RE", "import os\nos.write(0,b'x'*(1<<20));print(3)"),
    "grows_its_input": ("RE", "import os\nos.ftruncate(0,1<<40);print(3)"),
    "seals_its_input": ("RE", "import fcntl\nfcntl.fcntl(0,1033,8);print(3)"),
    "signals_by_owner": ("RE", "import fcntl,os\nfcntl.fcntl(1,8,os.getppid() or 1);print(3)"),
    "raises_memory_limit": ("RE", "import resource as r\nr.setrlimit(r.RLIMIT_AS,(-1,-1));print(3)"),
    "priority": ("RE", "import os\nos.nice(-5);print(3)"),
    "scheduler": ("RE", "import os\nos.sched_setscheduler(0,os.SCHED_FIFO,os.sched_param(1));print(3)"),
    "affinity": ("RE", "import os\nos.sched_setaffinity(0,{0});print(3)"),
    "setuid": ("RE", "import os\nos.setresuid(0,0,0);print(3)"),
    "chroot": ("RE", "import os\nos.chroot('/');print(3)"),
    "own_root_link": ("RE", "import os\nprint(os.listdir('/proc/self/root/etc'))"),
    "kill_group": ("RE", "import os\nos.killpg(0,19);print(3)"),
    "kill_by_thread": ("WA RE", "import ctypes\nl=ctypes.CDLL(None)\n"
                       "print(3 if l.syscall(234,1,1,9)==0 else 'no')"),
    "clone_process": ("WA RE", "import ctypes\nl=ctypes.CDLL(None)\n"
                      "print(3 if l.syscall(56,17,0,0,0,0)>=0 else 'no')"),
    "clone3": ("WA RE", "import ctypes\nl=ctypes.CDLL(None)\nb=(ctypes.c_uint64*11)()\n"
               "print(3 if l.syscall(435,b,88)>=0 else 'no')"),
    "vfork": ("WA RE TLE", "import ctypes\nl=ctypes.CDLL(None)\nprint(3 if l.vfork()>=0 else 'no')"),
    "posix_spawn": ("RE", "import os\nos.posix_spawn('/bin/true',['true'],{});print(3)"),
    "x32_calls": ("RE", "import ctypes\nctypes.CDLL(None).syscall(0x40000000+39);print(3)"),
    "32_bit_calls": ("RE", "import mmap,ctypes\nm=mmap.mmap(-1,4096,prot=7)\n"
                     "m.write(b'\\xb8\\x14\\x00\\x00\\x00\\xcd\\x80\\xc3')\n"
                     "ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(m)))()\n"
                     "print(3)"),
    "datagram_pair": ("RE", "import socket\nsocket.socketpair(type=socket.SOCK_DGRAM);print(3)"),
    "passes_descriptors": ("RE", "import socket\na,b=socket.socketpair()\n"
                           "socket.send_fds(a,[b'x'],[0]);print(3)"),
    "inotify": ("WA RE", "import ctypes\nprint(3 if ctypes.CDLL(None).inotify_init()>=0 else 'no')"),
    "timer_that_kills": ("WA RE", "import ctypes\nb=(ctypes.c_int*16)(0,0,9,0)\n"
                         "print(3 if ctypes.CDLL(None).timer_create(0,b,b)==0 else 'no')"),
    "zip_bomb": ("MLE RE TLE", "import zlib\nx=zlib.compress(b'0'*(1<<26))\n"
                 "y=[zlib.decompress(x) for _ in range(99)];print(3)"),
    "floods_stderr": ("TLE", "import os\nwhile True: os.write(2,b'x'*65536)"),
    "exit_handlers_without_end": ("TLE", "import atexit\ndef f(): atexit.register(f)\n"
                                  "f();print(3)\nwhile True: f()"),
    "flush_that_hangs": ("TLE", "import sys,time\nclass O:\n    def write(s,x): pass\n"
                         "    def flush(s):\n        while True: pass\nsys.stdout=O()"),
    "error_text_that_hangs": ("TLE", "class E(Exception):\n    def __str__(s):\n"
                              "        while True: pass\nraise E"),
    "error_text_too_long": ("RE MLE TLE", "raise ValueError('x'*(1<<27))"),
    "hook_that_hangs": ("TLE", "import sys\ndef h(*a):\n    while True: pass\n"
                        "sys.excepthook=h\nraise ValueError"),
    "clears_modules": ("WA RE", "import sys\nsys.modules.clear()\nprint(4)"),
    "clears_builtins": ("RE WA", "import builtins\nbuiltins.__dict__.clear()"),
    "patches_runner": ("WA RE TLE", "import sys\nfor n,m in list(sys.modules.items()):\n"
                       "    if 'runner' in n or 'keeper' in n:\n"
                       "        for k in list(vars(m)):\n"
                       "            if callable(vars(m)[k]): setattr(m,k,lambda *a,**k:'3')"),
    "reads_its_neighbors": ("WA RE", "import os\nprint([os.read(d,9) for d in range(5,99)])"),
    "finalizer_raises": ("AC", "class A:\n    def __del__(s): raise ValueError\na=A()\nprint(3)"),
    "late_thread": ("AC TLE", "import threading,time\n"
                    "def f():\n    time.sleep(.3);print(4)\n"
                    "threading.Thread(target=f,daemon=True).start();print(3)"),
}  # fmt: skip

CALLS: Rows = {
    "lying_class": ("WA RE", "class A:\n    __class__=int\n    def __eq__(s,o): return True\n"
                    "    def __index__(s): return 3\ndef f(a,b): return A()"),
    "equal_float": ("WA", "class A(float):\n    def __eq__(s,o): return True\n"
                    "    def __repr__(s): return '3'\ndef f(a,b): return A(7)"),
    "equal_text": ("WA", "class A(str):\n    def __eq__(s,o): return True\n    def __hash__(s): return 3\n"
                   "def f(a,b): return A('x')"),
    "equal_list": ("WA", "class A(list):\n    def __eq__(s,o): return True\ndef f(a,b): return A([3])"),
    "endless_items": ("RE MLE OLE TLE", "class A(dict):\n    def items(s):\n"
                      "        while True: yield 'a',3\n"
                      "    def values(s): return []\ndef f(a,b): return A(a=1)"),
    "enum_member": ("WA", "import enum\nclass A(enum.IntEnum):\n    X=4\ndef f(a,b): return A.X"),
    "patched_encoder": ("WA RE", "import json\njson.JSONEncoder.encode=lambda s,o:'3'\n"
                        "def f(a,b): return 0"),
    "patched_answer": ("WA RE", "import sys\ndef f(a,b):\n    g=sys._getframe()\n    while g:\n"
                       "        g.f_globals['FINE']=b'O';g.f_globals['_told']=lambda e:'3'\n"
                       "        g=g.f_back\n    raise ValueError"),
    "rewritten_frame": ("WA RE", "import sys,ctypes\ndef f(a,b):\n    g=sys._getframe(1)\n"
                        "    return str(sorted(g.f_locals))"),
    "looks_for_answers": ("WA RE", "import gc\ndef f(a,b):\n    for o in gc.get_objects():\n"
                          "        if isinstance(o,dict) and ('out'+'put' in o or 'exp'+'ected' in o):\n"
                          "            return 3\n    return None"),
    "exits_in_thread": ("RE WA", "import os,threading\ndef f(a,b):\n"
                        "    threading.Thread(target=lambda:os._exit(0)).start()\n"
                        "    while True: pass"),
    "exits_by_alarm": ("RE WA TLE", "import signal\ndef g(*a): raise SystemExit(0)\n"
                       "signal.signal(signal.SIGALRM,g)\nsignal.setitimer(signal.ITIMER_REAL,.05)\n"
                       "def f(a,b):\n    while True: pass"),
    "huge_integer": ("OLE TLE MLE", "def f(a,b): return 1<<(1<<23)"),
    "generator": ("RE", "def f(a,b): yield 3"),
    "bytes": ("RE", "def f(a,b): return b'3'"),
    "function": ("RE", "def f(a,b): return f"),
    "null_key": ("WA", "def f(a,b): return {None:3}"),
    "forged_frame": ("WA RE", FRAME + "def f(a,b):\n    os.write(3,frame(b'O10 \\n4'))\n    return 5"),
    "traces_the_runner": ("WA RE", "import sys\nseen=[]\nsys.settrace(lambda *a:seen.append(a))\n"
                          "def f(a,b): return str(seen)[:99]"),
    "exits_at_import": ("RE", "import sys\ndef f(a,b): return 3\nsys.exit(0)"),
}  # fmt: skip

TEST = "assert f(2) == 918273\nassert f(3) != 918273\nassert f([1]) == (1,)\n"
ASSERTIONS: Rows = {
    "always_equal": ("RE", "class A:\n    def __eq__(s,o): return True\n    def __ne__(s,o): return True\n"
                     "def f(x): return A()"),
    "always_equal_int": ("WA", "class A(int):\n    def __eq__(s,o): return True\n"
                         "    __hash__=int.__hash__\ndef f(x): return A(0)"),
    "always_equal_tuple": ("WA", "class A(tuple):\n    def __eq__(s,o): return True\ndef f(x): return A()"),
    "exit_at_import": ("RE", "import sys\nsys.exit(0)"),
    "hard_exit_at_import": ("RE", "import os\nos._exit(0)"),
    "exit_in_call": ("RE", "import sys\ndef f(x): sys.exit(0)"),
    "hard_exit_in_call": ("RE", "import os\ndef f(x): os._exit(0)"),
    "patches_builtins": ("WA RE", "import builtins\nbuiltins.AssertionError=ValueError\n"
                         "builtins.all=builtins.any=lambda x:True\ndef f(x): return 0"),
    "own_check": ("WA RE", "def check(c): pass\ndef f(x): return 0\nAssertionError=Exception"),
    "forged_replies": ("WA RE", FRAME + "def f(x):\n"
                       "    for _ in range(9): os.write(4,frame(b'{\"value\":true,\"held\":[]}'))\n"
                       "    return 0"),
    "forged_kinds": ("WA RE", FRAME + "os.write(4,frame(b'{\"kinds\":{\"f\":[\"call\"],"
                     "\"AssertionError\":[\"value\",1],\"__builtins__\":[\"value\",1]}}'))\n"
                     "def f(x): return 0"),
    "forged_value_type": ("RE WA", FRAME + "def f(x):\n"
                          "    os.write(4,frame(b'{\"value\":[\"eval\",\"1\"],\"held\":[]}'))\n"),
    "forged_verdict": ("WA RE", FRAME + "os.write(3,frame(b'O10 \\n'))\ndef f(x): return 0"),
    "closes_the_line": ("RE", "import os\nos.close(4)\ndef f(x): return 0"),
    "floods_the_line": ("RE MLE TLE", "import os\nos.write(4,b'\\x07\\xff\\xff\\xff')\n"
                        "while True: os.write(4,b'['*65536)"),
    "looks_for_the_test": ("WA RE", "import gc,sys\ndef f(x):\n    k='918'+'273'\n    g=sys._getframe()\n"
                           "    while g:\n        if k in repr(g.f_locals): return int(k)\n"
                           "        g=g.f_back\n"
                           "    return int(k) if any(k in repr(o)[:999] for o in gc.get_objects()"
                           " if isinstance(o,(str,bytes,dict)) and o is not k) else 0"),
    "raises_assertion": ("WA RE", "def f(x): raise AssertionError"),
    "raises_exit": ("RE", "def f(x): raise SystemExit(0)"),
    "raises_own_exit": ("RE", "class Ended(BaseException): pass\ndef f(x): raise Ended('x')"),
    "spins_in_call": ("TLE", "def f(x):\n    while True: pass"),
    "eats_memory": ("MLE RE TLE", "def f(x): return [0]*(1<<40)"),
    "deep_value": ("WA RE", "def f(x):\n    a=[]\n    for _ in range(10**4): a=[a]\n    return a"),
    "deep_tuple": ("RE", "def f(x):\n    a=()\n    for _ in range(10**5): a=(a,)\n    return a"),
    "self_containing": ("WA", "def f(x):\n    a=[1]\n    a.append(a)\n    return a"),
    "endless_iterator": ("RE", "import itertools\ndef f(x): return itertools.count()"),
    "always_equal_iterator": ("WA", "class A:\n    def __eq__(s,o): return True\n"
                              "    def __iter__(s): return s\n    def __next__(s): raise StopIteration\n"
                              "def f(x): return A()"),
    "always_equal_scalar": ("RE WA", "class E(int):\n    def __eq__(s,o): return True\n"
                            "class A:\n    shape=()\n    class dtype: kind='i'\n"
                            "    def item(s): return E(3)\nA.__module__='numpy'\ndef f(x): return A()"),
    "always_equal_decimal": ("WA", "from decimal import Decimal\nclass A(Decimal):\n"
                             "    def __eq__(s,o): return True\ndef f(x): return A(1)"),
    "huge_decimal": ("RE", "from decimal import Decimal\ndef f(x): return Decimal('1e999999999')"),
    "huge_fraction": ("WA RE", "from fractions import Fraction\ndef f(x): return Fraction(1,1<<(1<<20))"),
    "forged_decimal": ("RE", FRAME + "def f(x): os.write(4,frame(b'{\"value\":[\"Decimal\","
                       "\"1e999999999\"],\"held\":[]}'))"),
    "forged_factory": ("RE", FRAME + "def f(x): os.write(4,frame(b'{\"value\":0,"
                       "\"held\":[[\"defaultdict\",\"eval\"]]}'))"),
    "kills_the_judge": ("RE WA", "import os\ndef f(x):\n    os.kill(-1,9)"),
    "patches_the_line": ("WA RE", "import sys\nfor n,m in list(sys.modules.items()):\n"
                         "    if n.startswith('sandbox.inside') and 'coding' in n or 'split' in n:\n"
                         "        for k in list(vars(m)):\n"
                         "            if callable(vars(m)[k]): setattr(m,k,lambda *a,**k:True)\n"
                         "def f(x): return 0"),
    "not_defined": ("RE", "def g(x): return 0"),
    "not_callable": ("RE WA", "f=918273"),
    "nan": ("WA", "def f(x): return float('nan')"),
    "missing_source": ("RE", ""),
}  # fmt: skip
