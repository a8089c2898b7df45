"""Numbers of the system calls that a program may make, on x86-64 and aarch64.

A call that is not listed is refused with EPERM. Those of `seccomp.CONDITIONS` are allowed with some
arguments only and are listed there. Sources: arch/x86/entry/syscalls/syscall_64.tbl and
include/uapi/asm-generic/unistd.h of Linux.
"""

from __future__ import annotations

NUMBERS: dict[str, dict[str, int]] = {"x86_64": {}, "aarch64": {}}
"""Machine -> name -> number."""

_TABLE = """
read 0 63; write 1 64; close 3 57; fstat 5 80; lseek 8 62; mmap 9 222; mprotect 10 226
munmap 11 215; brk 12 214; futex 202 98; rt_sigaction 13 134; rt_sigprocmask 14 135
rt_sigreturn 15 139; pread64 17 67; pwrite64 18 68; readv 19 65; writev 20 66; preadv 295 69
mremap 25 216; msync 26 227; mincore 27 232; madvise 28 233; sched_yield 24 124; dup 32 23
dup3 292 24; nanosleep 35 101; getitimer 36 102; setitimer 38 103; getpid 39 172
exit 60 93; exit_group 231 94; uname 63 160; fsync 74 82; fdatasync 75 83
getcwd 79 17; umask 95 166; gettimeofday 96 169; getrlimit 97 163; getrusage 98 165
sysinfo 99 179; times 100 153; getuid 102 174; getgid 104 176; geteuid 107 175; getegid 108 177
getppid 110 173; getgroups 115 158; getresuid 118 148; getresgid 120 150; getpgid 121 155
rt_sigpending 127 136; rt_sigtimedwait 128 137; rt_sigsuspend 130 133; sigaltstack 131 132
getpriority 140 141; sched_getparam 143 121; sched_getscheduler 145 120; gettid 186 178
sched_getaffinity 204 123; getdents64 217 61; set_tid_address 218 96; restart_syscall 219 128
clock_gettime 228 113; clock_getres 229 114; clock_nanosleep 230 115; openat 257 56
newfstatat 262 79; readlinkat 267 78; faccessat 269 48; pselect6 270 72; ppoll 271 73
set_robust_list 273 99; get_robust_list 274 100; epoll_ctl 233 21; epoll_pwait 281 22
eventfd2 290 19; epoll_create1 291 20; pipe2 293 59; getcpu 309 168; getrandom 318 278
membarrier 324 283; statx 332 291; rseq 334 293; close_range 436 436; faccessat2 439 439
recvfrom 45 207; recvmsg 47 212; shutdown 48 210; getsockname 51 204; getpeername 52 205
getsockopt 55 209
open 2 -; stat 4 -; lstat 6 -; poll 7 -; access 21 -; pipe 22 -; select 23 -; dup2 33 -
pause 34 -; alarm 37 -; getdents 78 -; readlink 89 -; getpgrp 111 -; time 201 -; epoll_wait 232 -
clone 56 220; clone3 435 435; prlimit64 302 261; ioctl 16 29; fcntl 72 25; prctl 157 167
socketpair 53 199; sendto 44 206
pivot_root 155 41; mount 165 40
unshare 272 97; setns 308 268; wait4 61 260; capset 126 91
landlock_create_ruleset 444 444; landlock_restrict_self 446 446
"""

for _entry in _TABLE.replace("\n", ";").split(";"):
    if _entry.strip():
        _name, _x86, _arm = _entry.split()
        NUMBERS["x86_64"][_name] = int(_x86)
        if _arm != "-":
            NUMBERS["aarch64"][_name] = int(_arm)

CONDITIONAL = ("clone", "clone3", "prlimit64", "ioctl", "fcntl", "prctl", "socketpair", "sendto")
NEVER = (
    *("pivot_root", "mount", "unshare", "setns", "wait4", "capset"),
    *("landlock_create_ruleset", "landlock_restrict_self"),
)
"""Known here for the box's own start, and for births; no program may make them."""


def plain(machine: str) -> list[int]:
    """The calls that are allowed whatever their arguments; those made most come first."""
    apart = {*CONDITIONAL, *NEVER}
    return [number for name, number in NUMBERS[machine].items() if name not in apart]
