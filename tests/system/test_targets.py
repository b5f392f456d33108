"""Logs: syslog and journald as targets, lines that a process left open, troubles told."""
import array
import json
import os
import re
import shutil
import signal
import socket
import tempfile
import threading
import time

import pytest

from harness import host, wait_for  # noqa: F401
from test_logs import logger_pid


class Receiver:
    """A datagram socket and a thread that keeps what comes, as syslogd's or journald's."""

    def __init__(self, path):
        self.path, self.messages = path, []
        self.socket = self.thread = None

    def open(self, read=True):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        if read:
            self.read()

    def read(self):
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def close(self):
        """What was sent before is read; what comes later is refused."""
        if not self.socket:
            return
        self.socket.shutdown(socket.SHUT_RD)
        if self.thread:
            self.thread.join()
        self.socket.close()
        os.unlink(self.path)
        self.socket = self.thread = None

    def run(self):
        while True:
            data, control, _, _ = self.socket.recvmsg(1 << 20, socket.CMSG_SPACE(64))
            if not data and not control:
                return
            for level, kind, text in control:
                assert (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS)
                fd, = array.array("i", text)
                with os.fdopen(fd, "rb") as file:
                    data = file.read()
            self.messages.append(data)

    def wait(self, fact, what="messages"):
        return wait_for(lambda: fact(self.messages), what)


@pytest.fixture
def receiver():
    folder = tempfile.mkdtemp(prefix="receiver-")
    made = Receiver(os.path.join(folder, "socket"))
    yield made
    made.close()
    shutil.rmtree(folder)


def fields(message):
    return dict(line.split("=", 1) for line in message.decode(errors="replace").splitlines())


def test_syslog(host, receiver):
    receiver.open()
    s = host(f"[service:web]\nstdout_logfile = syslog:{receiver.path}\n"
             f"stderr_logfile = syslog:{receiver.path}\nredirect_stderr = false\nstartsecs = 0\n"
             "command = sh -c \"echo one; echo '<4>two'; echo; printf 'nul\\0l\\n'; echo err >&2; "
             "printf partial; exec sleep 1000\"\n")
    receiver.wait(lambda m: len(m) == 5)
    texts = sorted(m.decode() for m in receiver.messages)
    for text in texts:
        assert re.match(r"<\d+>[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d web-0: ", text), text
    assert sorted((t[:t.index(">") + 1], t.split("web-0: ", 1)[1]) for t in texts) == [
        ("<27>", "err"), ("<28>", "two"), ("<30>", ""), ("<30>", "nul#000l"), ("<30>", "one")]
    s.run("stop", "web")  # the end of the process is the end of its last line
    receiver.wait(lambda m: len(m) == 6)
    assert receiver.messages[-1].endswith(b"web-0: partial")
    assert f"syslog:{receiver.path}" in s.run("logs", "web", code=1).stderr


def test_journald(host, receiver):
    receiver.open()
    s = host(f"[service:web]\nstdout_logfile = journald:{receiver.path}\nstartsecs = 0\n"
             "command = sh -c \"echo one; printf '\\377\\001=x\\n'; "
             "head -c 200000 /dev/zero | tr '\\0' x; echo; exec sleep 1000\"\n")
    receiver.wait(lambda m: sum(len(fields(x).get("MESSAGE", "")) for x in m) >= 200004)
    first = fields(receiver.messages[0])
    assert first == {"MESSAGE": "one", "PRIORITY": "6", "SYSLOG_FACILITY": "3",
                     "SYSLOG_IDENTIFIER": "web-0", "SUPERVISOR_INSTANCE": "web:0",
                     "SUPERVISOR_OUTPUT": "stdout"}
    assert receiver.messages[1].endswith(b"MESSAGE=\xff\x01=x\n")
    long = b"".join(m.split(b"MESSAGE=", 1)[1][:-1] for m in receiver.messages[2:])
    assert long == b"x" * 200000
    assert len(receiver.messages) <= 2 + 5  # in pieces as large as can be
    assert "SUPERVISOR_INSTANCE=web:0" in s.run("logs", "web", code=1).stderr


COUNTER = ('command = sh -c "i=0; while [ $i -lt %d ]; do echo line $i; i=$((i+1)); done; '
           'exec sleep 1000"\nstartsecs = 0\n')


def numbers(messages):
    return [int(re.search(rb"line (\d+)", m)[1]) for m in messages if b"line " in m]


def test_a_target_that_is_away_blocks_and_loses_nothing(host, receiver):
    """Not there at first, closed and bound again, slow; and the logger is killed meanwhile."""
    s = host(f"[service:web]\nstdout_logfile = journald:{receiver.path}\n" + COUNTER % 20000)
    event = s.wait_event(lambda e: e["event"] == "log-error")
    assert (event["instance"], event["output"]) == ("web:0", "stdout")
    assert event["error"] == os.strerror(2)
    assert s.instance("web:0")["log_troubles"] == [
        {"output": "stdout", "error": os.strerror(2), "lost_bytes": 0}]
    assert "cannot be written: " + os.strerror(2) in s.run("status").stdout
    receiver.open()
    receiver.wait(lambda m: len(m) > 2000)
    s.wait_event(lambda e: e["event"] == "log-ok")
    kills = 0
    for _ in range(5):
        count = len(receiver.messages)
        os.kill(wait_for(lambda: logger_pid(s), "the logger"), signal.SIGKILL)
        kills += 1
        receiver.wait(lambda m: len(m) > count + 500)
    receiver.close()
    s.wait_event(lambda e: e["event"] == "log-error", since=event["seq"] + 2)
    receiver.open()
    receiver.wait(lambda m: numbers(m[-1:]) == [19999], "the last line")
    seen = numbers(receiver.messages)
    assert sorted(set(seen)) == list(range(20000))
    assert len(seen) <= 20000 + kills  # a kill may double one message


def test_a_target_that_is_away_drops_and_counts(host, receiver):
    s = host(f"[service:web]\nstdout_logfile = syslog:{receiver.path}\nlog_overflow = drop-old\n"
             + COUNTER % 50000)
    s.wait_event(lambda e: e["event"] == "log-error")
    wait_for(lambda: (s.instance("web:0").get("log_troubles") or [{}])[0].get("lost_bytes", 0)
             > 300000, "lost bytes")
    receiver.open()
    lost = s.wait_event(lambda e: e["event"] == "log-lost")
    receiver.wait(lambda m: numbers(m[-1:]) == [49999], "the last line")
    notices = [m for m in receiver.messages if b"bytes dropped here" in m]
    told = sum(int(re.search(rb"(\d+) bytes dropped", m)[1]) for m in notices)
    assert told == s.instance("web:0")["log_troubles"][0]["lost_bytes"] >= lost["total"]
    wait_for(lambda: sum(e["bytes"] for e in s.events() if e["event"] == "log-lost") == told,
             "events that tell all of it")
    seen = numbers(receiver.messages)
    whole = sum(len(f"line {i}\n") for i in range(50000))
    kept = sum(len(m.split(b"web-0: ", 1)[1]) + 1 for m in receiver.messages if m not in notices)
    # A piece of a line at the seam gets a newline of its own.
    assert whole <= kept + told <= whole + 2 * len(notices)
    assert seen == sorted(seen)


def test_a_receiver_that_does_not_read_costs_nothing(host, receiver):
    receiver.open(read=False)
    s = host(f"[service:web]\nstdout_logfile = syslog:{receiver.path}\n" + COUNTER % 30000)
    pid = wait_for(lambda: logger_pid(s), "the logger")

    def switches():
        with open(f"/proc/{pid}/status") as file:
            return sum(int(n) for n in re.findall(r"ctxt_switches:\s+(\d+)", file.read()))

    wait_for(lambda: s.instance("web:0").get("log_troubles"), "the trouble is told", 60)
    before = switches()
    time.sleep(1)
    assert switches() - before < 10
    receiver.read()
    receiver.wait(lambda m: numbers(m[-1:]) == [29999], "the last line")
    assert numbers(receiver.messages) == list(range(30000))
    s.wait_event(lambda e: e["event"] == "log-ok")


@pytest.mark.parametrize("form,ended", [("plain", True), ("json", True), ("raw", False)])
def test_a_line_that_a_process_left_open(host, form, ended):
    s = host("[service:web]\ncommand = printf end\nstartsecs = 0\nbackoff_min = 10ms\n"
             f"backoff_max = 10ms\nlog_format = {form}\nautorestart = true\n")
    wait_for(lambda: s.text_of("log", "web-0.log").count("end") >= 5, "five lives")
    s.run("stop", "web")
    text = s.text_of("log", "web-0.log")
    assert ("endend" not in text) == ended
    if ended:
        lines = text.splitlines()
        assert all(line.count("end") == 1 and line.startswith(("20", '{"time"')) for line in lines)


def test_rotation_by_age(host):
    s = host("[service:web]\ncommand = sh -c \"while :; do date +%%s; sleep 0.05; done\"\n"
             "startsecs = 0\nlog_format = raw\nstdout_logfile_maxage = 1s\n"
             "stdout_logfile_backups = 100\n")
    names = [s.path("log", f"web-0.log.{n}") for n in (3, 2, 1)]
    wait_for(lambda: os.path.exists(names[0]), "three rotations")
    s.run("stop", "web")
    seen = []
    for name in names:
        with open(name) as file:
            seen.append({int(line) for line in file})
    # A file holds lines of one second, as far as the clocks of both sides agree at its edges.
    assert all(len(seconds) <= 2 for seconds in seen), seen
    assert all(max(a) <= min(b) for a, b in zip(seen, seen[1:])), seen


# --- the supervisor's own output ---

SPEAKS = """
[service:{name}]
command = sh -c "echo a line; echo an error >&2; printf {end}; exit 0"
stdout_logfile = console
log_format = {form}
autorestart = false
startsecs = 0
{more}
"""


def test_the_console(host):
    """For containers, whose log is what their first process prints; with names, or as objects."""
    s = host(SPEAKS.format(name="p", form="plain", more="", end="open")
             + SPEAKS.format(name="j", form="json", more="stderr_logfile = console", end="open")
             + SPEAKS.format(name="r", form="raw", more="", end="'bare\\n'"), start=False)
    s.start()
    for name in "pjr":
        s.wait_state(f"{name}:0", "exited")
    said = s.run("logs", "p", code=None)
    assert "stdout_logfile = console" in said.stderr
    assert s.shutdown() == 0
    lines = s.text_of("supervisor.log").splitlines()
    stamp = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}[+-]\d\d:\d\d"
    for text in ("a line", "an error", "open"):
        assert any(re.fullmatch(f"{stamp} p:0 {text}", line) for line in lines), lines
    assert {"a line", "an error", "bare"} <= set(lines)  # raw
    objects = [json.loads(line) for line in lines if line.startswith("{")]
    assert {(o["instance"], o["output"], o["message"]) for o in objects} == {
        ("j:0", "stdout", "a line"), ("j:0", "stderr", "an error"), ("j:0", "stdout", "open")}


def test_the_console_loses_nothing_with_the_logger(host):
    s = host("[service:a]\ncommand = sh -c \"i=0; while [ $i -lt 5000 ]; do echo number $i; "
             "i=$((i + 1)); done; exec sleep 1000\"\nstdout_logfile = console\nstartsecs = 0\n")
    def kill():
        try:
            os.kill(logger_pid(s), signal.SIGKILL)
            return True
        except (OSError, TypeError):  # between two loggers
            return False
    for _ in range(5):
        wait_for(kill, "a logger")
    wait_for(lambda: "number 4999" in s.text_of("supervisor.log"), "the last line")
    numbers = [int(number) for number in
               re.findall(r" a:0 number (\d+)$", s.text_of("supervisor.log"), re.M)]
    assert sorted(set(numbers)) == list(range(5000))
    assert len(numbers) <= 5000 + 5  # each kill doubles one at most
