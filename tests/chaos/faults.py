"""What may go wrong where: system calls by name, the errors they can really have, the injector."""
import errno
import glob
import mmap
import os
import re
import socket
import struct

EIO, ENOMEM, EMFILE, ENFILE, ENOSPC, EAGAIN, EINTR = (
    errno.EIO, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.ENOSPC, errno.EAGAIN, errno.EINTR)

# Errors that a healthy program on a sick machine can get.  What is not here is only counted, and
# the process is killed there: close() that fails, say, has closed all the same.
ERRORS = {
    "open openat openat2": (EMFILE, ENFILE, ENOMEM, ENOSPC),
    "read readv pread64": (EIO,),
    "write writev pwrite64 pwritev": (ENOSPC, EIO),
    "clone clone3 fork vfork": (EAGAIN, ENOMEM),
    "execve": (ENOMEM, errno.ETXTBSY),
    "mmap mremap mprotect": (ENOMEM,),
    "epoll_create1": (EMFILE, ENOMEM),
    "epoll_ctl": (ENOMEM, ENOSPC),
    "epoll_wait epoll_pwait poll ppoll": (EINTR,),
    "rename renameat renameat2 symlink symlinkat link linkat mkdir mkdirat":
        (ENOSPC, EIO, errno.EROFS),
    "unlink unlinkat rmdir": (EIO, errno.EROFS),
    "fsync fdatasync syncfs": (EIO, ENOSPC),
    "ftruncate fallocate": (EIO, ENOSPC),
    "pidfd_open pipe2 memfd_create eventfd2 timerfd_create signalfd4 inotify_init1 dup dup2 dup3":
        (EMFILE, ENOMEM),
    "socket socketpair": (EMFILE, errno.ENOBUFS),
    "bind listen connect setsockopt getsockopt": (ENOMEM,),
    "sendmsg sendto": (EAGAIN, errno.ENOBUFS, ENOMEM),
    "recvmsg recvfrom": (ENOMEM,),
    "accept accept4": (EMFILE, ENFILE, errno.ECONNABORTED),
    "fcntl": (EMFILE, ENOMEM),
    "stat fstat newfstatat statx lstat statfs readlink readlinkat getdents64 access faccessat":
        (EIO, ENOMEM),
    "chmod fchmod fchmodat chown fchown fchownat utimensat": (EIO, errno.EROFS),
    "tee splice sendfile copy_file_range": (ENOMEM, EIO),
    "timerfd_settime flock": (ENOMEM,),
    "setgroups setresuid setresgid setuid setgid": (EAGAIN,),
    "prlimit64 setpriority sched_setscheduler chdir fchdir setsid": (errno.EPERM,),
    "getrandom": (EAGAIN,),
    "waitid wait4": (EINTR,),
}
ERRORS["malloc"] = (ENOMEM,)
ERRORS = {name: errors for names, errors in ERRORS.items() for name in names.split()}


def call_numbers():
    """{name: number} of this machine, from the kernel's header."""
    for path in glob.glob("/usr/include/*/asm/unistd_64.h") + ["/usr/include/asm-generic/unistd.h"]:
        with open(path) as file:
            return {name: int(number) for name, number in
                    re.findall(r"^#define __NR_(\w+)\s+(\d+)", file.read(), re.M)}
    raise FileNotFoundError("no header with the numbers of the system calls")


NUMBERS = call_numbers()
NAMES = {number: name for name, number in NUMBERS.items()}


def name_of(number):
    return NAMES.get(number, str(number))


class Seen:
    """What a process did while it was armed."""

    def __init__(self, line):
        seen, rest = line.split(" hit", 1)
        hits, counts = rest.split(" calls", 1)
        self.total = int(seen.split()[1])
        self.hits = [(int(n), name_of(int(call)), int(pid)) for n, call, pid in
                     (hit.split(":") for hit in hits.split())]
        self.counts = {name_of(int(call)): int(count) for call, count in
                       (pair.split("=") for pair in counts.split())}

    def __repr__(self):
        return (f"{len(self.hits)} hit(s) "
                + ", ".join(f"{call} (call {n}) of {pid}" for n, call, pid in self.hits[:3]))


class Injector:
    """The other end of tests/chaos/inject.c."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(20)
        self.socket.connect(path)
        self.file = self.socket.makefile("r")

    def ask(self, line):
        self.socket.sendall(line.encode() + b"\n")
        return self.file.readline().strip()

    def arm(self, role, call="any", first=0, act=0, times=1):
        number = "any" if call == "any" else NUMBERS[call]
        answer = self.ask(f"arm {role} {number} {first} {act} {times}")
        assert answer == "armed", answer

    def off(self):
        return Seen(self.ask("off"))

    def close(self):
        self.file.close()
        self.socket.close()


class Memory:
    """Has memory refused to one process by tests/chaos/preload.c; used like the injector.  And sets
    the clock of all."""
    ORDERS = struct.Struct("16sQQQQ")
    AHEAD = struct.Struct("q")
    WORDS = {"guardian": b"run", "core": b"core", "logger": b"logger"}

    def __init__(self, path):
        with open(path, "wb") as file:
            file.write(bytes(self.ORDERS.size + self.AHEAD.size))
        with open(path, "r+b") as file:
            self.map = mmap.mmap(file.fileno(), self.ORDERS.size + self.AHEAD.size)
        self.environment = {"LD_PRELOAD": program("preload.so"), "CHAOS_MEMORY": path}

    def arm(self, role, call="any", first=0, act=0, times=1):
        self.off()
        self.map[16:48] = self.ORDERS.pack(b"", first, times, 0, 0)[16:]
        self.map[:16] = self.WORDS[role].ljust(16, b"\0")

    def off(self):
        self.map[:16] = bytes(16)
        _, first, _, seen, hits = self.ORDERS.unpack(self.map[:self.ORDERS.size])
        found = Seen(f"seen {seen} hit calls")
        found.hits = [(first, "malloc", 0)] * hits
        found.counts = {"malloc": seen} if seen else {}
        return found

    def set_clock(self, ahead_s):
        self.AHEAD.pack_into(self.map, self.ORDERS.size, ahead_s)

    def close(self):
        self.map.close()


def error_name(act):
    return act if isinstance(act, str) else errno.errorcode[act]


def program(name):
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    return os.path.join(root, os.environ.get("B", "build/release"), "tests/chaos", name)
