"""A service that does what a file tells it, a line at a time: talker.py ORDERS.

    exit N | fd N (a newline there) | print TEXT | part-of A LINE | errs TEXT | sleep SECONDS | feed SECONDS (WATCHDOG=1)
    on SIGNAL ORDER         what to do when that signal comes
    fork LINE               the same LINE in a child that goes on with the orders; the parent waits
    part LINE               likewise, but the parent exits when LINE is done
    helper TEXT             a datagram from a child in a session of its own, with no environment
    orphan TEXT             a datagram from one that is nobody's child, with our environment
    barrier                 all that was said before has been heard when this is done
    keep NAME PATH [MORE]   FDSTORE=1 with PATH open for reading, and MORE in the message
    keep-pipe NAME          FDSTORE=1 with a pipe whose other end is closed soon
    main-pidfd PID TEXT     MAINPIDFD=1 and TEXT with a pidfd of PID ("me")
    forget                  the orders: the next process begins with none
    variables               the environment that concerns us, and what the descriptors hold
    anything else is a datagram for NOTIFY_SOCKET; \\n in it is a newline, $PID the own pid
"""
import os
import select
import signal
import socket
import sys
import time

NAME = os.environ.get("NOTIFY_SOCKET", "")
STARTED = f"{sys.argv[1]}.started"


def notify(text, fds=()):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.connect("\0" + NAME[1:] if NAME[0] == "@" else NAME)
        socket.send_fds(s, [text.replace("\\n", "\n").replace("$PID", str(os.getpid())).encode()],
                        list(fds))


def barrier():
    here, there = os.pipe()
    notify("BARRIER=1", [there])
    os.close(there)
    poll = select.poll()
    poll.register(here, 0)
    assert poll.poll(10000), "nobody heard"
    os.close(here)


def helper(text, orphan):
    """Known by its parent, or by its environment: never by both, nor by its session."""
    if os.fork() == 0:
        os.setsid()
        if orphan and os.fork() > 0:
            os._exit(0)
        code = "import sys\nsys.path.insert(0, sys.argv[3])\n" \
               "sys.argv = [sys.argv[0], '/dev/null'] + sys.argv[1:]\n" \
               "import talker\ntalker.NAME = sys.argv[2]\ntalker.notify(sys.argv[3])\n" \
               "talker.barrier()\n"
        os.execve(sys.executable, [sys.executable, "-c", code, NAME, text,
                                   os.path.dirname(os.path.abspath(__file__))],
                  os.environ if orphan else {})
    os.wait()


def variables():
    names = ("LISTEN_FDS", "LISTEN_FDNAMES", "WATCHDOG_USEC", "FDSTORE")
    told = [f"{n}={os.environ[n]}" for n in names if n in os.environ]
    for n in ("LISTEN_PID", "WATCHDOG_PID"):
        if n in os.environ:
            told.append(f"{n}={'me' if os.environ[n] == str(os.getpid()) else 'other'}")
    for fd in range(3, 3 + int(os.environ.get("LISTEN_FDS", 0))):
        link = os.readlink(f"/proc/self/fd/{fd}")
        told.append(f"{fd}:" + (link.split(":")[0] if ":" in link else os.path.basename(link)))
    print(" ".join(told), flush=True)


def do(line):
    word, _, rest = line.partition(" ")
    if word == "exit":
        os._exit(int(rest))
    elif word == "fd":
        os.write(int(rest), b"\n")
    elif word == "print":
        print(rest, flush=True)
    elif word == "forget":
        open(sys.argv[1], "w").close()
    elif word == "part-of":
        print(rest, end="", flush=True)
    elif word == "errs":
        print(rest, file=sys.stderr, flush=True)
    elif word == "sleep":
        time.sleep(float(rest))
    elif word == "feed":
        end = time.monotonic() + float(rest)
        while time.monotonic() < end:
            notify("WATCHDOG=1")
            time.sleep(0.02)
    elif word == "on":
        name, _, order = rest.partition(" ")
        signal.signal(getattr(signal, "SIG" + name), lambda *unused: do(order))
    elif word in ("fork", "part"):
        here, there = os.pipe()
        if (pid := os.fork()) == 0:
            do(rest)
            os.write(there, b"done")
        else:
            os.read(here, 4)
            os.waitpid(pid, 0) if word == "fork" else os._exit(0)
            time.sleep(1000)
    elif word == "then":
        for part in rest.split("; "):
            do(part)
    elif word in ("helper", "orphan"):
        helper(rest, word == "orphan")
    elif word == "barrier":
        barrier()
    elif word == "keep":
        name, path, *more = rest.split(" ")
        with open(path) as file:
            notify("\n".join(["FDSTORE=1", f"FDNAME={name}", *more]), [file.fileno()])
    elif word == "keep-pipe":
        here, there = os.pipe()
        notify(f"FDSTORE=1\nFDNAME={rest}", [here])
        barrier()
        os.close(here)
        os.close(there)
    elif word == "main-pidfd":
        pid, text = rest.split(" ", 1)
        fd = os.pidfd_open(os.getpid() if pid == "me" else int(pid))
        notify("MAINPIDFD=1\n" + text, [fd])
        os.close(fd)
    elif word == "variables":
        variables()
    else:
        notify(line)


def main(orders):
    at = 0
    with open(STARTED, "a") as file:
        file.write(f"{os.getpid()}\n")
    while True:
        try:
            with open(orders) as file:
                file.seek(at)
                text = file.read()
        except FileNotFoundError:
            text = ""
        whole = text[:text.rfind("\n") + 1]
        at += len(whole)
        for line in whole.splitlines():
            do(line)
        time.sleep(0.01)


if __name__ == "__main__":
    main(sys.argv[1])
