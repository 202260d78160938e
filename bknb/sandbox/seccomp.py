"""Limits of the sandbox child: resource limits, and a seccomp filter on Linux.

What it is: limits of the operating system on memory, processor time and file size; on Linux (x86-64, arm64) a filter
in the kernel that refuses to open files, use sockets, start processes or signal others; and Python's audit events,
which refuse the same with a sentence. None of it can be taken back by this process.

What it is not: a virtual machine. It trusts the kernel and the compiled packages that were loaded before. It limits
what a mistake or a trick can reach; it does not make foreign code trustworthy.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
import sys
from typing import Final

# Where each machine keeps the calls that are refused; `clone` is looked at more closely. `sendto` stays: event loops
# wake each other through sockets they have, and no new one can be made.
_X86_64: Final = (
    "open 2 creat 85 openat 257 openat2 437 open_by_handle_at 304 name_to_handle_at 303 "
    "socket 41 connect 42 accept 43 sendmsg 46 bind 49 listen 50 socketpair 53 accept4 288 sendmmsg 307 "
    "fork 57 vfork 58 execve 59 execveat 322 ptrace 101 process_vm_readv 310 process_vm_writev 311 kill 62 tkill 200 "
    "rt_sigqueueinfo 129 rt_tgsigqueueinfo 297 pidfd_open 434 pidfd_send_signal 424 pidfd_getfd 438 "
    "rename 82 renameat 264 renameat2 316 mkdir 83 mkdirat 258 rmdir 84 link 86 linkat 265 unlink 87 unlinkat 263 "
    "symlink 88 symlinkat 266 chmod 90 fchmod 91 fchmodat 268 fchmodat2 452 chown 92 fchown 93 lchown 94 fchownat 260 "
    "truncate 76 ftruncate 77 fallocate 285 mknod 133 mknodat 259 utime 132 utimes 235 utimensat 280 futimesat 261 "
    "setxattr 188 lsetxattr 189 fsetxattr 190 removexattr 197 lremovexattr 198 fremovexattr 199 "
    "chdir 80 fchdir 81 chroot 161 pivot_root 155 mount 165 umount2 166 setns 308 unshare 272 open_tree 428 "
    "move_mount 429 fsopen 430 fsconfig 431 fsmount 432 fspick 433 setuid 105 setgid 106 setreuid 113 setregid 114 "
    "setresuid 117 setresgid 119 setgroups 116 capset 126 setrlimit 160 prlimit64 302 "
    "bpf 321 perf_event_open 298 io_uring_setup 425 io_uring_enter 426 io_uring_register 427 memfd_create 319 "
    "memfd_secret 447 userfaultfd 323 keyctl 250 add_key 248 request_key 249 shmget 29 shmat 30 shmctl 31 "
    "semget 64 msgget 68 mq_open 240 init_module 175 finit_module 313 delete_module 176 kexec_load 246 "
    "kexec_file_load 320 reboot 169 sethostname 170 setdomainname 171 settimeofday 164 clock_settime 227 "
    "swapon 167 swapoff 168 acct 163 syslog 103 inotify_init1 294 fanotify_init 300 quotactl 179 "
)
_ARM64: Final = (
    "openat 56 openat2 437 open_by_handle_at 265 name_to_handle_at 264 "
    "socket 198 connect 203 accept 202 sendmsg 211 bind 200 listen 201 socketpair 199 accept4 242 "
    "sendmmsg 269 execve 221 execveat 281 ptrace 117 process_vm_readv 270 process_vm_writev 271 kill 129 tkill 130 "
    "rt_sigqueueinfo 138 rt_tgsigqueueinfo 240 pidfd_open 434 pidfd_send_signal 424 pidfd_getfd 438 "
    "renameat 38 renameat2 276 mkdirat 34 linkat 37 unlinkat 35 symlinkat 36 fchmod 52 fchmodat 53 fchmodat2 452 "
    "fchown 55 fchownat 54 truncate 45 ftruncate 46 fallocate 47 mknodat 33 utimensat 88 setxattr 5 lsetxattr 6 "
    "fsetxattr 7 removexattr 14 lremovexattr 15 fremovexattr 16 chdir 49 fchdir 50 chroot 51 pivot_root 41 mount 40 "
    "umount2 39 setns 268 unshare 97 open_tree 428 move_mount 429 fsopen 430 fsconfig 431 fsmount 432 fspick 433 "
    "setuid 146 setgid 144 setreuid 145 setregid 143 setresuid 147 setresgid 149 setgroups 159 capset 91 "
    "setrlimit 164 prlimit64 261 bpf 280 perf_event_open 241 io_uring_setup 425 io_uring_enter 426 "
    "io_uring_register 427 memfd_create 279 memfd_secret 447 userfaultfd 282 keyctl 219 add_key 217 request_key 218 "
    "shmget 194 shmat 196 shmctl 195 semget 190 msgget 186 mq_open 180 init_module 105 finit_module 273 "
    "delete_module 106 kexec_load 104 kexec_file_load 294 reboot 142 sethostname 161 setdomainname 162 "
    "settimeofday 170 clock_settime 112 swapon 224 swapoff 225 acct 89 syslog 116 inotify_init1 26 "
    "fanotify_init 262 quotactl 60 "
)
_MACHINES: Final = {
    "x86_64": (0xC000003E, _X86_64, 56, 317),
    "aarch64": (0xC00000B7, _ARM64, 220, 277),
}
"""Machine -> its mark in the filter, its table, and the numbers of ``clone`` and ``seccomp``."""
_CLONE3: Final = 435
_X32: Final = 0x40000000
_CLONE_THREAD: Final = 0x00010000
_EPERM, _ENOSYS = 1, 38
_ALLOW: Final = 0x7FFF0000
_ERRNO: Final = 0x00050000
_KILL: Final = 0x80000000


def limit(*, seconds: float, memory_mb: int) -> tuple[str, ...]:
    """Set the operating system's resource limits of this process; returns the names of those in force.

    Both count from here: on top of what this process has used already.
    """
    try:
        import resource
    except ImportError:
        return ()
    held = ["processor time", "file size"]
    spent = resource.getrusage(resource.RUSAGE_SELF)
    whole = int(spent.ru_utime + spent.ru_stime + seconds) + 2
    resource.setrlimit(resource.RLIMIT_CPU, (whole, whole + 1))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    used = _address_space()
    if used is not None:
        most = used + memory_mb * 1024 * 1024
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
        held.append("memory")
    return tuple(held)


def _address_space() -> int | None:
    try:
        with open("/proc/self/statm", encoding="ascii") as status:  # noqa: PTH123 -- not a file, a question
            return int(status.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return None


def refuse_system_calls() -> bool:
    """Install the seccomp filter against files, sockets, processes and signals; returns whether it is in force."""
    known = _MACHINES.get(platform.machine())
    if not sys.platform.startswith("linux") or known is None:
        return False
    try:
        machine, table, clone, seccomp = known
        return _install(_program(machine, table, clone), seccomp)
    except (OSError, AttributeError, ValueError):
        return False


def _program(machine: int, table: str, clone: int) -> list[tuple[int, int, int, int]]:
    """Return the filter as classic BPF over ``struct seccomp_data``."""
    words = table.split()
    refused = sorted({int(number) for number in words[1::2]})
    load, equal, at_least, masked, answer = 0x20, 0x15, 0x35, 0x45, 0x06
    program = [
        (load, 0, 0, 4),  # the machine
        (equal, 1, 0, machine),
        (answer, 0, 0, _KILL),
        (load, 0, 0, 0),  # the number of the call
        (at_least, 0, 1, _X32),  # 32-bit numbers of x86-64 would be a way around the table
        (answer, 0, 0, _KILL),
        (equal, 0, 1, _CLONE3),  # its flags lie in memory where a filter cannot look; libc falls back to clone
        (answer, 0, 0, _ERRNO | _ENOSYS),
        (equal, 0, 4, clone),
        (load, 0, 0, 16),  # low half of its first argument, the flags: threads yes, processes no
        (masked, 0, 1, _CLONE_THREAD),
        (answer, 0, 0, _ALLOW),
        (answer, 0, 0, _ERRNO | _EPERM),
    ]
    for number in refused:
        program += [(equal, 0, 1, number), (answer, 0, 0, _ERRNO | _EPERM)]
    program.append((answer, 0, 0, _ALLOW))
    return program


def _install(program: list[tuple[int, int, int, int]], seccomp: int) -> bool:
    libc = ctypes.CDLL(None, use_errno=True)
    code = b"".join(struct.pack("HBBI", *step) for step in program)
    instructions = ctypes.create_string_buffer(code, len(code))
    rules = ctypes.create_string_buffer(struct.pack("HP", len(program), ctypes.addressof(instructions)))
    libc.prctl.argtypes = [ctypes.c_int, *([ctypes.c_ulong] * 4)]
    libc.syscall.argtypes = [*([ctypes.c_long] * 3), ctypes.c_void_p]
    libc.syscall.restype = ctypes.c_long
    no_new_privileges, with_filter, for_all_threads = 38, 1, 1
    if libc.prctl(no_new_privileges, 1, 0, 0, 0) != 0:
        return False
    return bool(libc.syscall(seccomp, with_filter, for_all_threads, ctypes.addressof(rules)) == 0)
