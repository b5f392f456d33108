"""A real supervisor in a temporary folder, for system tests.

    from harness import host            # the fixture: makes supervisors, cleans up after them

    def test_it(host):
        s = host("[service:web]\\ncommand = sleep 1000\\n")      # started, its socket answers
        s.wait_state("web:0", "running")
        s.run("stop", "web")                                    # the command line, exit code checked
        s.call("status", names=["web"])                         # the control socket itself

SUPERVISOR_BIN names the program; otherwise it is $B/bin/supervisor (B defaults to build/release).
Nothing here sleeps for luck: every wait looks for a fact until a deadline.
"""
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BINARY = os.path.abspath(os.environ.get(
    "SUPERVISOR_BIN",
    os.path.join(ROOT, os.environ.get("B", "build/release"), "bin", "supervisor")))
DEADLINE = 60.0  # of what does happen; only a failure waits that long
MARK = "SUPERVISOR_HARNESS"
with open(BINARY, "rb") as file:
    SANITIZED = b"__asan_init" in file.read()  # slower, and memory is another matter


MAY_MOUNT = subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode == 0
needs_mounts = pytest.mark.skipif(
    not MAY_MOUNT, reason="NOT TESTED: no mounts of one's own (unshare) as this user, or below a "
    "root that is no mount, as in a plain chroot")


def wait_for(fact, what="it", deadline=DEADLINE):
    """Asks `fact` until it is true; its value."""
    end = time.monotonic() + deadline
    while True:
        value = fact()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"{what} did not happen in {deadline} s")
        time.sleep(0.01)


def alive(pid):
    """A process that is there and no zombie."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


def children_of(pid):
    """Of all its threads: the guardian has one for what it starts."""
    found = []
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children") as file:
                found += [int(word) for word in file.read().split()]
    except OSError:
        pass
    return found


def processes_with(mark):
    """Pids of living processes whose environment has this NAME=value."""
    wanted, found = mark.encode(), []
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or int(entry) == os.getpid():
            continue
        try:
            with open(f"/proc/{entry}/environ", "rb") as file:
                if wanted in file.read().split(b"\0") and alive(int(entry)):
                    found.append(int(entry))
        except OSError:
            pass
    return found


_ports = []


def free_port():
    """One that nobody listens on, and that no other test gets while we live: tests run side by
    side.  Below those that the kernel hands out itself (ip_local_port_range)."""
    while True:
        number = random.randint(12000, 19999)
        reserved, probe = socket.socket(socket.AF_UNIX), socket.socket()
        try:
            reserved.bind(f"\0supervisor-test-port-{number}")
            probe.bind(("127.0.0.1", number))
            _ports.append(reserved)
            return number
        except OSError:
            reserved.close()
        finally:
            probe.close()


class Failed(AssertionError):
    """A call over the control socket was answered with an error."""

    def __init__(self, error):
        super().__init__(error.get("message"))
        self.kind = error.get("data", {}).get("kind")
        self.data = error.get("data", {})


class Connection:
    """One connection to a control socket; notifications are kept in `events`."""

    def __init__(self, path, timeout=DEADLINE):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(timeout)
        self.socket.connect("\0" + path[1:] if path.startswith("@") else path)
        self.file = self.socket.makefile("rb")
        self.events, self.number = [], 0

    def receive(self):
        line = self.file.readline()
        if not line:
            raise ConnectionError("the supervisor closed the connection")
        return json.loads(line)

    def send(self, method, **params):
        self.number += 1
        text = json.dumps({"jsonrpc": "2.0", "id": self.number, "method": method,
                           "params": params})
        self.socket.sendall(text.encode() + b"\n")
        return self.number

    def answer(self, number):
        while True:
            message = self.receive()
            if "method" in message:
                self.events.append(message["params"])
            elif message.get("id") == number:
                if "error" in message:
                    raise Failed(message["error"])
                return message["result"]

    def call(self, method, **params):
        return self.answer(self.send(method, **params))

    def next_event(self):
        while not self.events:
            message = self.receive()
            if "method" in message:
                self.events.append(message["params"])
        return self.events.pop(0)

    def close(self):
        self.file.close()
        self.socket.close()


class Supervisor:
    """`supervisor run` with one configuration file in a folder of its own."""

    def __init__(self, text="", folder=None, arguments=(), environment=None, binary=None):
        self.folder = str(folder or tempfile.mkdtemp(prefix="supervisor-"))
        os.chmod(self.folder, 0o755)
        self.binary = binary or BINARY
        self.config = os.path.join(self.folder, "supervisor.ini")
        self.socket = os.path.join(self.folder, "control.sock")
        self.log = os.path.join(self.folder, "supervisor.log")
        self.arguments = list(arguments)
        self.environment = dict(os.environ, **{MARK: self.folder}, **(environment or {}))
        self.environment.pop("SUPERVISOR_SOCKET", None)
        self.process = None
        self.write(text)

    # --- files ---

    def path(self, *names):
        return os.path.join(self.folder, *names)

    def write(self, text, settings=""):
        """The configuration; [supervisor] points everything into our folder."""
        with open(self.config + ".new", "w") as file:
            file.write(f"[supervisor]\nstate_dir = {self.folder}/state\n"
                       f"log_dir = {self.folder}/log\n{settings}\n{text}")
        os.replace(self.config + ".new", self.config)  # a reload never sees half of it

    def text_of(self, *names):
        try:
            with open(self.path(*names), errors="replace") as file:
                return file.read()
        except FileNotFoundError:
            return ""

    # --- its life ---

    def start(self, wait=True):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [self.binary, "run", "-c", self.config, "-s", self.socket, *self.arguments],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.environment)
        if wait:
            self.wait_up()
        return self

    def wait_up(self):
        def up():
            if self.process and self.process.poll() is not None:
                raise AssertionError(f"supervisor left with {self.process.returncode}:\n"
                                     + self.text_of("supervisor.log"))
            try:
                return self.call("version")
            except OSError:
                return None
        return wait_for(up, "an answer of the supervisor")

    @property
    def pid(self):
        """The guardian's, as the core knows it."""
        return self.call("status")["supervisor"]["pid"]

    @property
    def core_pid(self):
        return self.call("status")["supervisor"]["core_pid"]

    def kill_core(self):
        """kill -9 of the core; returns when the next one answers."""
        before = self.core_pid
        os.kill(before, signal.SIGKILL)

        def back():
            try:
                return self.core_pid != before
            except OSError:
                return False
        wait_for(back, "another core")

    def shutdown(self, deadline=DEADLINE):
        """An orderly one, by TERM; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(deadline)

    def close(self):
        """Nothing of it is left: every process that carries our mark is ended by its pid."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                pass

        # All are stopped before the first is killed: a core that sees its guardian die becomes one,
        # and in the middle of an exec nobody can see its mark.  Hence several quiet looks, too.
        quiet = 0

        def gone():
            nonlocal quiet
            for signum in (signal.SIGSTOP, signal.SIGKILL):
                left = processes_with(f"{MARK}={self.folder}")
                for pid in left:
                    try:
                        os.kill(pid, signum)
                    except ProcessLookupError:
                        pass
            quiet = 0 if left else quiet + 1
            return quiet >= 3
        wait_for(gone, "the end of all processes")
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if not os.environ.get("SUPERVISOR_KEEP"):  # to look at after a failure
            shutil.rmtree(self.folder, ignore_errors=True)

    # --- talking to it ---

    def connect(self, timeout=DEADLINE):
        return Connection(self.socket, timeout)

    def call(self, method, **params):
        connection = self.connect()
        try:
            return connection.call(method, **params)
        finally:
            connection.close()

    def run(self, *words, code=0, input=None, timeout=DEADLINE, environment=None):
        """One command; the exit code is checked (None: any).  CompletedProcess with texts."""
        done = subprocess.run([self.binary, *words, "-s", self.socket], input=input,
                              capture_output=True, text=True, timeout=timeout,
                              env=dict(self.environment, **(environment or {})))
        assert code is None or done.returncode == code, \
            f"{' '.join(words)}: exit {done.returncode}\n{done.stdout}{done.stderr}"
        return done

    def instances(self, *names):
        """{"web:0": {...}} of status."""
        status = self.call("status", names=list(names) or ["all"])
        return {i["id"]: i for s in status["services"] for i in s["instances"]}

    def instance(self, name):
        return self.instances(name)[name]

    def wait_instance(self, name, fact, what="it", deadline=DEADLINE):
        """Until fact(row) is true; the row.  Looks again at each event, not by the clock."""
        end = time.monotonic() + deadline
        connection = self.connect(deadline)
        try:
            connection.call("events")
            while True:
                status = connection.call("status", names=[name])
                row = status["services"][0]["instances"][0]
                if fact(row):
                    return row
                left = end - time.monotonic()
                if left <= 0:
                    raise AssertionError(f"{name}: {what} did not happen in {deadline} s; it is "
                                         f"{json.dumps(row)}\n" + self.text_of("supervisor.log"))
                # Not everything is an event (uptime, probes): half a second at most.
                connection.socket.settimeout(min(left, 0.5))
                try:
                    connection.events or connection.next_event()
                except (socket.timeout, OSError):
                    connection.close()
                    connection = self.connect(deadline)
                    connection.call("events")
                connection.events.clear()
                connection.socket.settimeout(deadline)
        finally:
            connection.close()

    def wait_state(self, name, state, deadline=DEADLINE):
        return self.wait_instance(name, lambda row: row["state"] == state, state, deadline)

    def wait_ready(self, name, deadline=DEADLINE):
        return self.wait_instance(name, lambda row: row["ready"], "ready", deadline)

    def wait_event(self, fact, since=1, deadline=DEADLINE):
        """The first event (from number `since` on) for which fact(event) is true."""
        connection = self.connect(deadline)
        try:
            connection.call("events", since=since)
            while True:
                event = connection.next_event()
                if fact(event):
                    return event
        finally:
            connection.close()

    def events(self, since=1):
        """All that the recorder has."""
        connection = self.connect()
        try:
            end = connection.call("events", since=since)["next"]
            found = []
            while (found[-1].get("seq", 0) if found else since - 1) < end - 1:
                found.append(connection.next_event())
            return found
        finally:
            connection.close()


@pytest.fixture
def host():
    """Makes supervisors: host(text, start=True, **as for Supervisor)."""
    made = []

    def make(text="", start=True, **more):
        supervisor = Supervisor(text, **more)
        made.append(supervisor)
        return supervisor.start() if start else supervisor

    yield make
    for supervisor in made:
        supervisor.close()
