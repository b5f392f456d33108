"""What the service manager above (systemd, another supervisor) is told: sd_notify."""
import os
import signal
import socket
import struct
import time

import pytest

from harness import DEADLINE, alive, host, wait_for  # noqa: F401 (a fixture)

SPREAD = "last"


class Manager:
    """The socket that NOTIFY_SOCKET names; knows who has sent."""

    def __init__(self, folder):
        self.path = os.path.join(str(folder), "manager.sock")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self.socket.bind(self.path)
        self.socket.settimeout(DEADLINE)

    def hear(self, *keys):
        """The next message that has one of these keys: ({key: value}, pid)."""
        while True:
            text, extra, _, _ = self.socket.recvmsg(4096, 256)
            pid = struct.unpack("iii", extra[0][2])[0]
            said = dict(line.split("=", 1) for line in text.decode().split("\n"))
            if not keys or any(key in said for key in keys):
                return said, pid

    def quiet(self, seconds=0.5):
        """What comes within that time."""
        heard, end = [], time.monotonic() + seconds
        while time.monotonic() < end:
            self.socket.settimeout(max(end - time.monotonic(), 0.01))
            try:
                heard.append(self.hear()[0])
            except TimeoutError:
                pass
        self.socket.settimeout(DEADLINE)
        return heard


@pytest.fixture
def manager(tmp_path):
    made = Manager(tmp_path)
    yield made
    made.socket.close()


def start(host, manager, text, **environment):
    return host(text, environment=dict(environment, NOTIFY_SOCKET=manager.path))


def test_ready_when_what_can_start_has_started(host, manager, tmp_path):
    gate = tmp_path / "gate"
    s = start(host, manager,
              "[service:web]\ncommand = sleep 1000\n"
              f"ready = exec:test -e {gate}\nready_interval = 50ms\n"
              "[service:broken]\ncommand = false\nstartsecs = 0\nbackoff_min = 1h\n"
              "backoff_max = 1h\n[service:idle]\ncommand = sleep 1000\nautostart = false\n")
    said, pid = manager.hear("STATUS")
    assert "READY" not in said and "web:0 (starting)" in said["STATUS"] \
        or "broken:0" in said["STATUS"]
    assert pid == s.pid
    s.wait_state("broken:0", "backoff")
    assert all("READY" not in said for said in manager.quiet())
    gate.touch()
    said, pid = manager.hear("READY")
    assert said["STATUS"] == "2 instances, 1 not as it should be: broken:0 (backoff)"
    assert pid == s.pid


def test_status_follows_and_costs_nothing_when_nothing_happens(host, manager):
    s = start(host, manager, "[service:web]\ncommand = sleep 1000\nstartsecs = 0\n")
    assert manager.hear("READY")[0]["STATUS"] == "1 instance"
    assert manager.quiet() == []
    s.run("stop", "web")
    assert manager.hear("STATUS")[0]["STATUS"] == "0 instances"


def test_reload_is_announced_even_when_it_is_refused(host, manager):
    s = start(host, manager, "[service:web]\ncommand = sleep 1000\nstartsecs = 0\n")
    manager.hear("READY")
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    s.run("reload", "--plan")
    assert manager.quiet() == []
    s.run("reload")
    said, _ = manager.hear("RELOADING")
    assert said["RELOADING"] == "1" and int(said["MONOTONIC_USEC"]) > before
    assert manager.hear()[0]["READY"] == "1"
    s.write("[service:web]\ncommand = sleep 1000\nnonsense = 1\n")
    s.process.send_signal(signal.SIGHUP)
    manager.hear("RELOADING")
    assert manager.hear()[0]["READY"] == "1"


def test_stopping_says_how_long_it_may_take(host, manager):
    s = start(host, manager, "[service:web]\ncommand = sleep 1000\nstartsecs = 0\n")
    manager.hear("READY")
    pid = s.pid
    assert s.shutdown() == 0
    said, sender = manager.hear("STOPPING")
    assert sender == pid and int(said["EXTEND_TIMEOUT_USEC"]) > 60_000_000
    assert manager.quiet(0.2) == []


def test_a_new_core_says_it_again_and_a_new_guardian_that_it_is_the_one(host, manager):
    s = start(host, manager, "[service:web]\ncommand = sleep 1000\nstartsecs = 0\n")
    manager.hear("READY")
    s.kill_core()
    said, pid = manager.hear("READY")
    assert said["STATUS"] == "1 instance" and pid == s.pid
    heir = s.core_pid
    os.kill(s.pid, signal.SIGKILL)
    s.process.wait()
    said, pid = manager.hear("MAINPID")
    assert int(said["MAINPID"]) == pid == heir
    assert manager.hear("READY")[1] == heir
    wait_for(lambda: s.pid == heir, "the new guardian")


def test_watchdog_beats_until_the_end(host, manager):
    s = start(host, manager, "[service:web]\ncommand = sleep 1000\nstartsecs = 0\n",
              WATCHDOG_USEC="400000")
    for _ in range(3):
        assert manager.hear("WATCHDOG")[1] == s.pid
    s.run("upgrade")
    manager.quiet(0.1)
    assert manager.hear("WATCHDOG")[1] == s.pid


def test_services_cannot_speak_for_us(host, manager):
    """They get a socket of ours to speak to, not the manager's; and no watchdog of ours."""
    s = start(host, manager,
              "[service:web]\ncommand = sleep 1000\nstartsecs = 0\n", WATCHDOG_USEC="60000000")
    row = s.wait_state("web:0", "running")

    def environment_of():
        """Of the program; before its exec it is ours."""
        with open(f"/proc/{row['pid']}/environ", "rb") as file:
            text = file.read().decode()
        return "SUPERVISOR_INSTANCE=" in text and text.split("\0")
    environment = wait_for(environment_of, "its exec")
    assert f"NOTIFY_SOCKET={manager.path}" not in environment
    assert not [line for line in environment if line.startswith("WATCHDOG_")]
    assert alive(row["pid"])


def test_one_supervisor_below_another(host):
    """The outer one knows when the inner one has started its services."""
    inner = host("[service:web]\ncommand = sleep 1000\nstartsecs = 0\n")
    inner.shutdown()
    outer = host(f"[service:inner]\ncommand = {inner.binary} run -c {inner.config} "
                 f"-s {inner.socket}\nready = notify\n")
    row = outer.wait_ready("inner:0")
    assert row["state"] == "running"
    outer.wait_instance("inner:0", lambda row: row.get("status") == "1 instance", "its status")
    assert inner.instance("web:0")["state"] == "running"
