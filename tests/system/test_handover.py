"""Started anew by the service manager above, which keeps the descriptors: services go on."""
import array
import fcntl
import os
import signal
import socket
import subprocess
import threading

import pytest

from harness import DEADLINE, alive, host, wait_for  # noqa: F401 (a fixture)

SPREAD = "last"


class Manager:
    """Keeps what FDSTORE=1 gives it, in the order of systemd: the last one first."""

    def __init__(self, folder, most=10000):
        self.path = os.path.join(str(folder), "manager.sock")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        self.kept, self.most, self.said = {}, most, []
        self.thread = threading.Thread(target=self.listen, daemon=True)
        self.thread.start()

    def listen(self):
        while True:
            text, extra, _, _ = self.socket.recvmsg(4096, socket.CMSG_SPACE(4 * 16),
                                                     socket.MSG_CMSG_CLOEXEC)
            if text == b"end":
                return
            fds = array.array("i")
            for _, _, data in extra:
                fds.frombytes(data)
            self.take(dict(line.split("=", 1) for line in text.decode().split("\n")), list(fds))

    def take(self, said, fds):
        name = said.get("FDNAME", "stored")
        if "FDSTORE" in said and len(self.kept) < self.most:
            assert name not in self.kept, f"{name} is kept already"
            assert ":" not in name and said["FDPOLL"] == "0"
            self.kept[name], fds = fds[0], fds[1:]
        elif "FDSTOREREMOVE" in said:
            os.close(self.kept.pop(name))
        elif "FDSTORE" not in said and "BARRIER" not in said:
            self.said.append(said)
        for fd in fds:
            os.close(fd)

    def close(self):
        to = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        to.sendto(b"end", self.path)
        self.thread.join(DEADLINE)
        for fd in self.kept.values():
            os.close(fd)
        self.socket.close()
        to.close()


@pytest.fixture
def manager(tmp_path):
    made = Manager(tmp_path)
    yield made
    made.close()


def start(host, manager, text):
    s = host(text, environment={"NOTIFY_SOCKET": manager.path})
    wait_for(lambda: any("READY" in said for said in manager.said), "READY=1")
    return s


def start_again(s, manager):
    """As systemd does: the kept ones are LISTEN_FDS of the next main process."""
    assert s.process.wait(DEADLINE) == 0
    fds = list(reversed(manager.kept.items()))
    names = ":".join(name for name, _ in fds)
    spare = [os.dup(fd) for _, fd in fds]
    lowest = 3 + len(fds)
    spare = [fd if fd >= lowest else high(fd, lowest) for fd in spare]

    def place():
        for i, fd in enumerate(spare):
            os.dup2(fd, 3 + i)
    with open(s.log, "ab") as log:
        s.process = subprocess.Popen(
            ["sh", "-c", 'export LISTEN_PID=$$; exec "$@"', "sh",
             s.binary, "run", "-c", s.config, "-s", s.socket],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, close_fds=False, preexec_fn=place,
            env=dict(s.environment, LISTEN_FDS=str(len(fds)), LISTEN_FDNAMES=names))
    for fd in spare:
        os.close(fd)
    s.wait_up()


def high(fd, lowest):
    moved = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, lowest)
    os.close(fd)
    return moved


def restart(s, manager):
    s.run("shutdown", "--keep-services")
    start_again(s, manager)


COUNTS = """
[service:count]
command = sh -c 'i=0; while :; do i=$((i+1)); echo line $i; sleep 0.01; done'
startsecs = 0
log_format = raw
[service:quiet]
command = sleep 1000
startsecs = 0
"""


def pids_of(s):
    return {name: row["pid"] for name, row in s.instances().items()}


def test_services_and_their_output_go_on(host, manager):
    s = start(host, manager, COUNTS)
    before, guardian = pids_of(s), s.pid
    for _ in range(3):
        restart(s, manager)
    assert pids_of(s) == before and s.pid != guardian and s.pid == s.process.pid
    wait_for(lambda: s.text_of("log", "count-0.log").count("\n") > 300, "its output")
    lines = s.text_of("log", "count-0.log").splitlines()[:300]
    assert lines == [f"line {i + 1}" for i in range(300)]
    assert all(row["state"] == "running" for row in s.instances().values())


def test_the_manager_lets_go_of_what_was_taken(host, manager):
    """What is closed here shall be closed: a listening socket, a lock."""
    s = start(host, manager, COUNTS)
    restart(s, manager)
    wait_for(lambda: manager.kept == {}, "an empty store")
    wait_for(lambda: s.call("status"), "an answer")
    environment = open(f"/proc/{s.pid}/environ").read()
    assert "LISTEN_FDS" in environment  # of the exec, but services do not get it
    s.run("restart", "quiet")
    pid = s.wait_state("quiet:0", "running")["pid"]
    assert "LISTEN_" not in open(f"/proc/{pid}/environ").read()


def test_the_configuration_is_loaded_anew(host, manager):
    s = start(host, manager, COUNTS)
    before = pids_of(s)
    s.write(COUNTS.replace("sleep 1000", "sleep 1001") + "[service:more]\ncommand = sleep 1002\n")
    restart(s, manager)
    wait_for(lambda: set(pids_of(s)) == {"count:0", "quiet:0", "more:0"}, "the new set")
    wait_for(lambda: pids_of(s)["quiet:0"] not in (0, None, before["quiet:0"]), "its restart")
    assert pids_of(s)["count:0"] == before["count:0"]


def test_a_broken_configuration_keeps_nobody_from_going_on(host, manager):
    s = start(host, manager, COUNTS)
    before = pids_of(s)
    s.write("[service:x]\nnonsense = 1\n")
    restart(s, manager)
    assert pids_of(s) == before
    assert "nonsense" in s.text_of("supervisor.log")


def test_an_exit_in_between_is_known(host, manager):
    s = start(host, manager, COUNTS)
    pid = pids_of(s)["quiet:0"]
    s.run("shutdown", "--keep-services")
    s.process.wait(DEADLINE)
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not alive(pid), "its end")
    start_again(s, manager)
    wait_for(lambda: pids_of(s)["quiet:0"] not in (0, None, pid), "another process")


def test_what_was_not_kept_is_started_anew(host, manager):
    """A manager that takes no more than so many (FileDescriptorStoreMax=)."""
    manager.most = 4
    s = start(host, manager, COUNTS)
    restart(s, manager)
    for name in ("count:0", "quiet:0"):
        s.wait_state(name, "running")
    s.run("stop", "all")
    assert not subprocess.run(["pgrep", "-f", f"^sh -c i=0.*{s.folder}"]).stdout


def test_a_store_without_inventory_is_closed(host, manager):
    s = start(host, manager, COUNTS)
    s.run("shutdown", "--keep-services")
    s.process.wait(DEADLINE)
    os.close(manager.kept.pop("supervisor"))
    start_again(s, manager)
    assert "there is no inventory" in s.text_of("supervisor.log")
    for name in ("count:0", "quiet:0"):
        s.wait_state(name, "running")


def test_it_is_refused_where_nobody_keeps_anything(host):
    s = host(COUNTS)
    result = s.run("shutdown", "--keep-services", code=None)
    assert result.returncode != 0 and "NOTIFY_SOCKET" in result.stderr
    assert s.call("status")


def test_a_core_that_dies_meanwhile(host, manager):
    """The guardian goes on with what it was told."""
    s = start(host, manager, COUNTS)
    before, core = pids_of(s), s.core_pid
    asked = subprocess.Popen([s.binary, "-s", s.socket, "shutdown", "--keep-services"])
    os.kill(core, signal.SIGKILL)
    code = asked.wait(DEADLINE)
    if code == 0:  # it was told in time
        start_again(s, manager)
    assert pids_of(s) == before


def test_it_hears_of_a_manager_that_is_gone(host, manager):
    s = start(host, manager, COUNTS)
    before = pids_of(s)
    elsewhere = manager.path + ".gone"
    os.rename(manager.path, elsewhere)
    manager.path = elsewhere
    asked = subprocess.Popen([s.binary, "-s", s.socket, "shutdown", "--keep-services"])
    wait_for(lambda: "cannot be handed over, going on" in s.text_of("supervisor.log"), "the log")
    asked.kill()
    asked.wait()
    wait_for(lambda: pids_of(s) == before, "the same processes")
