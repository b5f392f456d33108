"""The guardian dies while descriptors are short: who takes its place finds its services all the same,
and starts none a second time."""
import errno
import os
import signal
import subprocess

import pytest
from harness import BINARY
from herd import ROCKS, Broken, Herd

# The loader's cache and libraries: without these nobody takes a place.
LOADER_OPENS = 1 + subprocess.run(["ldd", BINARY], check=False, capture_output=True,
                                  text=True).stdout.count("=>")


@pytest.mark.parametrize("call, first", [("openat", LOADER_OPENS + 1), ("pidfd_open", 1),
                                         ("epoll_ctl", 1)])
def test_takeover_while_calls_fail(tally, call, first):
    herd = Herd()
    try:
        before, old = herd.pids(*ROCKS), herd.status()["supervisor"]
        error = errno.ENOMEM if call == "epoll_ctl" else errno.EMFILE
        herd.injector.arm("guardian", call, first, error, 0)
        os.kill(old["pid"], signal.SIGKILL)
        herd.supervisor.process.wait(10)
        herd.soon_logged("the guardian was killed, taking over")
        # It tries again and again; what it does meanwhile must not be a second copy.
        herd.patient(lambda: failed_often(herd), "calls that fail")
        herd.injector.off()
        herd.patient(lambda: another(herd, old), "the core in the guardian's place")
        assert herd.pids(*ROCKS) == before
        os.kill(before["rock:0"], signal.SIGKILL)
        herd.patient(lambda: back(herd, before), "the end of rock:0 is noticed")
        assert not [row for row in herd.rows() if row.second]
        tally[f"takeovers of a dead guardian, {call} failing"] += 1
    finally:
        herd.close()


def failed_often(herd):
    seen = herd.injector.ask("seen")
    if int(seen) < 3:
        raise Broken(seen)


def another(herd, old):
    now = herd.status()["supervisor"]
    if now["pid"] != old["core_pid"]:
        raise Broken(now)


def back(herd, before):
    row = herd.instances()["rock:0"]
    if row["pid"] in (None, before["rock:0"]) or not row["ready"]:
        raise Broken(row)
