"""restart_mode = overlap: the old process stays until the new one is ready; no request is lost."""
import os
import re
import signal
import socket
import subprocess

from harness import ROOT, free_port, host, wait_for  # noqa: F401 (a fixture)
from test_release import ONE, TWO, USER, Site
from zoo import hello


def hammer():
    return os.path.join(ROOT, os.environ.get("B", "build/release"), "examples/demo/hammer")


class Hammer:
    """Requests all the time; failed() ends it and says how many failed."""

    def __init__(self, supervisor, port):
        # With the supervisor's mark, so that it is ended with the rest when a test fails.
        self.process = subprocess.Popen([hammer(), str(port)], stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, text=True,
                                        env=supervisor.environment)

    def failed(self):
        self.process.terminate()
        text = self.process.communicate(timeout=20)[0]
        ok, failed = map(int, re.search(r"(\d+) ok, (\d+) failed", text).groups())
        assert ok > 20, text
        return failed, text


def web(host, extra="", instances=1):
    port = free_port()
    supervisor = host(f"[socket:web]\nlisten = 127.0.0.1:{port}\n"
                      f"[service:web]\ncommand = {hello()}\nsockets = web\nready = notify\n"
                      f"restart_mode = overlap\nnumprocs = {instances}\n{extra}")
    wait_for(lambda: all(r["ready"] for r in supervisor.instances("web").values()), "ready")
    return supervisor, port


def alone(supervisor, name="web:0"):
    return supervisor.wait_instance(name, lambda row: row["ready"] and not row.get("twin_pid"),
                                    "one process")


def test_no_request_fails(host):
    supervisor, port = web(host, instances=2)
    hammering = Hammer(supervisor, port)
    for number in range(20):
        answer = supervisor.call("restart", names=["web"])
        assert answer["ok"], answer
        if number % 4 == 3:
            supervisor.kill_core()
    failed, text = hammering.failed()
    assert failed == 0, text


def test_kill_of_the_core_in_the_middle(host):
    """The new process leads or goes; never two of them for good, and no request is lost."""
    supervisor, port = web(host)
    hammering = Hammer(supervisor, port)
    for number in range(12):
        connection = supervisor.connect()
        connection.call("events")
        connection.send("restart", names=["web"])
        for _ in range(number % 6 + 1):  # at another event each time
            while connection.next_event()["event"] not in ("state", "order"):
                pass
        os.kill(supervisor.core_pid, signal.SIGKILL)
        connection.close()
        wait_for(lambda: answers(supervisor), "another core")
        row = alone(supervisor)
        pids = [int(p) for p in os.listdir("/proc") if p.isdigit() and is_web(p, supervisor)]
        assert pids == [row["pid"]]
    failed, text = hammering.failed()
    assert failed == 0, text


def answers(supervisor):
    try:
        return supervisor.call("version")
    except OSError:
        return None


def is_web(pid, supervisor):
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            ours = f"SUPERVISOR_HARNESS={supervisor.folder}".encode() in file.read()
        return ours and os.readlink(f"/proc/{pid}/exe") == os.path.realpath(hello())
    except OSError:
        return False


def test_never_ready_keeps_the_old_one(host):
    supervisor = host(start=False)
    folder = supervisor.folder
    supervisor.write(f"[service:web]\ncommand = {hello()}\nsockets = web\nready = notify\n"
                     f"directory = {folder}\nrestart_mode = overlap\nready_timeout = 300ms\n"
                     f"[socket:web]\nlisten = {folder}/web.sock\n")
    supervisor.start()
    pid = supervisor.wait_ready("web:0")["pid"]
    for flag in ("never-ready", "crash"):
        open(supervisor.path(flag), "w").close()
        answer = supervisor.call("restart", names=["web"])
        assert not answer["ok"] and answer["results"][0]["reason"], answer
        row = alone(supervisor)
        assert row["pid"] == pid and row["state"] == "running"
        os.unlink(supervisor.path(flag))
    assert supervisor.call("restart", names=["web"])["ok"]
    assert alone(supervisor)["pid"] != pid


def test_old_one_dies_while_the_new_one_is_on_trial(host):
    supervisor = host(start=False)
    folder = supervisor.folder
    supervisor.write(f"[service:web]\ncommand = {hello()}\nsockets = web\nready = notify\n"
                     f"directory = {folder}\nrestart_mode = overlap\nready_timeout = 20s\n"
                     f"[socket:web]\nlisten = {folder}/web.sock\n")
    supervisor.start()
    pid = supervisor.wait_ready("web:0")["pid"]
    open(supervisor.path("never-ready"), "w").close()
    connection = supervisor.connect()
    connection.send("restart", names=["web"])
    twin = supervisor.wait_instance("web:0", lambda row: row.get("twin_pid"))["twin_pid"]
    os.unlink(supervisor.path("never-ready"))
    os.kill(pid, signal.SIGKILL)
    row = supervisor.wait_instance("web:0", lambda row: row["ready"] and row["pid"] != pid)
    os.kill(twin, signal.SIGKILL)
    row = alone(supervisor)
    wait_for(lambda: [p for p in os.listdir("/proc") if p.isdigit() and is_web(p, supervisor)]
             == [str(alone(supervisor)["pid"])], "one process", 5)
    connection.close()


def test_stop_while_the_new_one_is_on_trial(host):
    supervisor = host(start=False)
    folder = supervisor.folder
    supervisor.write(f"[service:web]\ncommand = {hello()}\nsockets = web\nready = notify\n"
                     f"directory = {folder}\nrestart_mode = overlap\nready_timeout = 20s\n"
                     f"[socket:web]\nlisten = {folder}/web.sock\n")
    supervisor.start()
    supervisor.wait_ready("web:0")
    open(supervisor.path("never-ready"), "w").close()
    connection = supervisor.connect()
    number = connection.send("restart", names=["web"])
    supervisor.wait_instance("web:0", lambda row: row.get("twin_pid"))
    assert supervisor.call("stop", names=["web"])["ok"]
    assert not [p for p in os.listdir("/proc") if p.isdigit() and is_web(p, supervisor)]
    answer = connection.answer(number)
    assert not answer["ok"], answer
    connection.close()
    os.unlink(supervisor.path("never-ready"))
    assert supervisor.call("start", names=["web"])["ok"]
    assert supervisor.call("restart", names=["web"])["ok"]
    alone(supervisor)


def shared(host, address, more=""):
    """Checked through the socket that the old process and the new one share."""
    supervisor = host(start=False)
    folder = supervisor.folder
    port = free_port()
    supervisor.write(f"[service:web]\ncommand = {hello()}\nsockets = web\n"
                     f"ready = {address.format(port=port)}\n"
                     f"directory = {folder}\nrestart_mode = overlap\nready_timeout = 1s\n"
                     f"[socket:web]\nlisten = 127.0.0.1:{port}\n{more}")
    supervisor.start()
    supervisor.wait_ready("web:0")
    return supervisor, port


def test_the_old_one_does_not_answer_for_the_new_one(host):
    """A new process that never accepts: its readiness check is answered by the old one."""
    supervisor, port = shared(host, "http://127.0.0.1:{port}/health")
    pid = supervisor.instance("web:0")["pid"]
    open(supervisor.path("deaf"), "w").close()
    answer = supervisor.call("restart", names=["web"])
    assert not answer["ok"], answer
    assert not supervisor.instance("web:0")["ready"]
    os.unlink(supervisor.path("deaf"))
    row = alone(supervisor)
    assert row["pid"] != pid
    assert supervisor.call("restart", names=["web"])["ok"]
    assert alone(supervisor)["pid"] != row["pid"]


def test_a_deaf_release_goes_back(host):
    """The old one answers while it lives; then nobody does, and the old release comes again."""
    site = Site(host, "overlap", instances=2)
    port = free_port()
    site.supervisor.write(
        f"[socket:web]\nlisten = 127.0.0.1:{port}\n"
        f"[service:web]\ncommand = bin/hello\nrelease = {site.path}\n{USER}sockets = web\n"
        f"ready = http://127.0.0.1:{port}/health\nready_timeout = 1s\nrestart_mode = overlap\n"
        f"numprocs = 2\nbackoff_max = 200ms\n")
    site.start(ONE)
    assert site.order("switch", ONE)["result"] == "switched"
    site.add(TWO, deaf="")
    answer = site.order("switch", TWO)
    assert answer["result"] == "reverted" and answer["reason"], answer
    site.check(ONE)
    assert site.state()["good"] == [ONE]


def test_kill_of_the_core_before_the_proof(host):
    """What is unproven stays so for the next core."""
    supervisor, port = shared(host, "http://127.0.0.1:{port}/health")
    keeps = socket.create_connection(("127.0.0.1", port))  # the old one stays for it
    keeps.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert keeps.recv(1000)
    pid = supervisor.instance("web:0")["pid"]
    open(supervisor.path("deaf"), "w").close()
    supervisor.call("restart", names=["web"], wait=False)
    row = supervisor.wait_instance("web:0", lambda row: row["pid"] != pid, "a promotion")
    assert row["twin_pid"] == pid and row["ready"], row
    supervisor.kill_core()
    keeps.close()
    supervisor.wait_event(lambda event: event.get("to") == "backoff")
    os.unlink(supervisor.path("deaf"))
    assert alone(supervisor)["pid"] not in (pid, row["pid"])
