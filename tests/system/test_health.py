"""Readiness and health in every dialect: sd_notify, descriptors, log lines, probes, the watchdog."""
import json
import os
import signal
import socket
import subprocess
import threading
import time

import pytest

from harness import ROOT, alive, host, wait_for  # noqa: F401 (a fixture)
from test_crash import role_pids

TALK = f"/usr/bin/python3 {ROOT}/tests/system/talker.py"


def tell(supervisor, name, *lines):
    """Orders for a talker, one a line; it does them in turn."""
    with open(supervisor.path(name), "a") as file:
        file.write("".join(line + "\n" for line in lines))


def talker(supervisor, name, keys=""):
    return f"[service:{name}]\ncommand = {TALK} {supervisor.folder}/{name}\n{keys}\n"


# --- said early, or at the last moment ---

KILLER = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
/* kill -9 of oneself just when this text is written for the first time. */
ssize_t write(int fd, const void *data, size_t len)
{
    ssize_t (*real)(int, const void *, size_t) = (ssize_t (*)(int, const void *, size_t))dlsym(
        RTLD_NEXT, "write");
    const char *once = getenv("KILL_AT_ONCE");
    if (once && memmem(data, len, KILL_AT, strlen(KILL_AT)) && unlink(once) == 0)
        kill(getpid(), SIGKILL);
    return real(fd, data, len);
}
"""


def killer(folder, text):
    """The environment in which whoever writes this text dies, once."""
    source, library, once = (os.path.join(folder, name) for name in ("k.c", "k.so", "k.once"))
    with open(source, "w") as file:
        file.write(KILLER)  # not by the environment: that is written, too
    subprocess.run(["cc", "-shared", "-fPIC", f'-DKILL_AT="{text}"', "-o", library, source,
                    "-ldl"], check=True)
    open(once, "w").close()
    return {"LD_PRELOAD": library, "KILL_AT_ONCE": once}


def test_ready_said_before_the_gate_is_kept(host):
    s = host(start=False)
    gate = f"startup = exec:test -e {s.folder}/go\nstartup_interval = 50ms\n" \
           "startup_threshold = 1000\nready_timeout = 20s\n"
    s.write(talker(s, "said", gate + "ready = notify") + talker(s, "piped", gate + "ready = fd:3"))
    s.start()
    tell(s, "said", "READY=1\\nSTATUS=said it")
    tell(s, "piped", "fd 3", "STATUS=said it")
    for name in ("said:0", "piped:0"):
        s.wait_instance(name, lambda row: row.get("status") == "said it")
    s.kill_core()
    s.run("reload")
    assert not any(row["ready"] for row in s.instances().values())
    open(s.path("go"), "w").close()
    s.wait_ready("said:0", 10)
    s.wait_ready("piped:0", 10)


def test_on_exit_seen_by_a_core_that_dies_then(host):
    """The end is written down, and the core is killed before it has begun to shut down."""
    s = host(start=False)
    s.environment.update(killer(s.folder, "to=exited"))
    s.write(f"[service:a]\ncommand = sh -c \"while ! test -e {s.folder}/go; do sleep 0.02; done; "
            "exit 7\"\nautorestart = false\non_exit = shutdown\nstartsecs = 0\n"
            "[service:b]\ncommand = sleep 1000\nstartsecs = 0\n")
    s.start()
    s.wait_state("a:0", "running")
    open(s.path("go"), "w").close()
    assert s.process.wait(20) == 7
    assert not os.path.exists(s.path("k.once"))
    assert "core has taken over" in s.text_of("supervisor.log")


def test_a_check_that_hung_once_is_asked_again(host):
    s = host(start=False)
    s.write(f"[service:a]\ncommand = sleep 1000\nready = exec:sh {s.folder}/check\n"
            "ready_interval = 100ms\nready_timeout = 300ms\n")
    with open(s.path("check"), "w") as file:
        file.write(f"test ! -e {s.folder}/slow || exec sleep 1000\n")
    s.start()
    s.wait_ready("a:0")
    open(s.path("slow"), "w").close()
    s.wait_instance("a:0", lambda row: not row["ready"], "not ready")
    os.unlink(s.path("slow"))
    s.wait_ready("a:0")


# --- sd_notify ---

def renew(supervisor, name):
    """The next process of a talker begins with no orders."""
    open(supervisor.path(name), "w").close()


def said(supervisor, instance, what):
    return supervisor.wait_event(lambda e: e["event"] == "notify" and e["instance"] == instance
                                 and e["says"] == what)


def exit_of(supervisor, instance, since=1):
    return supervisor.wait_event(lambda e: e["event"] == "exit" and e["instance"] == instance,
                                 since)


def test_who_may_speak(host):
    s = host(start=False)
    s.write(talker(s, "open", "ready = notify") +
            talker(s, "main", "ready = notify\nnotify_access = main") +
            talker(s, "asks", "ready = notify\nnotify_access = main"))
    s.start()
    tell(s, "open", "helper STATUS=from a helper")
    tell(s, "main", "helper READY=1\\nSTATUS=from a helper", "STATUS=from the main one")
    tell(s, "asks", "NOTIFYACCESS=all", "orphan STATUS=from an orphan")
    s.wait_instance("open:0", lambda row: row.get("status") == "from a helper")
    s.wait_instance("asks:0", lambda row: row.get("status") == "from an orphan")
    tell(s, "open", "orphan READY=1")
    s.wait_ready("open:0")
    row = s.wait_instance("main:0", lambda row: row.get("status") == "from the main one")
    assert not row["ready"] and row["state"] == "starting"
    # A stranger: this very process.
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as stranger:
        stranger.connect(s.socket + ".notify")
        stranger.send(b"READY=1\nSTATUS=from a stranger")
    tell(s, "main", "barrier", "STATUS=after the stranger")
    row = s.wait_instance("main:0", lambda row: row.get("status") == "after the stranger")
    assert not row["ready"]


def test_reloading_stopping_and_how_it_ended(host):
    s = host(start=False)
    s.write(talker(s, "a", "ready = notify\nautorestart = false\nstopwaitsecs = 20s") +
            talker(s, "b", "ready = notify\nautorestart = false\nstopwaitsecs = 300ms"))
    s.start()
    tell(s, "a", "on TERM exit 99", "READY=1", "RELOADING=1\\nMONOTONIC_USEC=5", "STATUS=again")
    tell(s, "b", "on TERM exit 99", "READY=1")
    row = s.wait_instance("a:0", lambda row: row.get("status") == "again")
    assert row["ready"] and row["reloading"]
    s.kill_core()  # what was said is not forgotten
    row = s.instance("a:0")
    assert row["ready"] and row["reloading"] and row["status"] == "again"
    tell(s, "a", "READY=1\\nSTATUS=")
    said(s, "a:0", "READY=1")
    row = s.instance("a:0")
    assert row["ready"] and "reloading" not in row and "status" not in row
    tell(s, "a", "BUSERROR=org.example.Old\\nVARLINKERROR=not one", "BUSERROR=org.example.Old",
         "VARLINKERROR=org.example.Broken", "STOPPING=1\\nERRNO=13\\nEXIT_STATUS=4")
    s.wait_instance("a:0", lambda row: row["state"] == "stopping" and not row["ready"])
    assert s.instance("a:0")["said_error_name"] == "Varlink org.example.Broken"
    assert [e["name"] for e in s.events() if str(e.get("says")).endswith("LINKERROR")
            or e.get("says") == "BUSERROR"] == ["org.example.Old", "org.example.Broken"]
    s.kill_core()  # and it is not sent a TERM for it
    tell(s, "a", "exit 0")
    event = exit_of(s, "a:0")
    assert event["code"] == 0 and event["said_error"] == "Permission denied"
    assert event["said_exit_status"] == 4
    assert event["said_error_name"] == "Varlink org.example.Broken"
    assert s.wait_state("a:0", "exited")["expected"]
    # One that says so and stays is killed after stopwaitsecs, without its stop signal.
    tell(s, "b", "STOPPING=1")
    event = exit_of(s, "b:0")
    assert event["signal"] == "KILL"


def test_watchdog(host):
    s = host(start=False)
    keys = "ready = notify\nbackoff_min = 10ms\nbackoff_max = 10ms\nwatchdog = 2s\n"
    s.write(talker(s, "miss", keys) + talker(s, "pull", keys) + talker(s, "well", keys) +
            talker(s, "short", keys.replace("watchdog = 2s\n", "")) + talker(s, "longer", keys))
    s.start()
    well = "then " + "; ".join(["READY=1", "feed 1000"])
    tell(s, "well", "variables", well)
    tell(s, "pull", "READY=1", "WATCHDOG=1", "WATCHDOG=trigger")
    tell(s, "short", "READY=1", "WATCHDOG_USEC=200000", "feed 0.3")
    tell(s, "longer", "READY=1", "EXTEND_TIMEOUT_USEC=60000000")
    tell(s, "miss", "READY=1\\nWATCHDOG_USEC=400000", "feed 0.2")
    pid = s.wait_instance("well:0", lambda row: row["ready"] and row["health"] == "ok")["pid"]
    for name, why in (("pull", "it said WATCHDOG=trigger"),
                      ("short", "no WATCHDOG=1 within 200ms"),
                      ("miss", "no WATCHDOG=1 within 400ms")):
        event = exit_of(s, f"{name}:0")
        renew(s, name)  # not before: it may not have read its orders yet
        assert event["signal"] == "ABRT", f"{event}\n" + s.text_of("supervisor.log")
        row = s.wait_instance(f"{name}:0", lambda row: row["restarts"] > 0)
        assert row["last_exit"]["cause"] == "watchdog: " + why, row
        assert why in s.run("why", name).stdout
    s.kill_core()
    s.run("restart", "miss", "--no-wait")
    assert s.instance("longer:0")["restarts"] == 0
    s.wait_event(lambda e: e["event"] == "exit" and e["instance"] == "miss:0" and
                 e.get("signal") == "TERM")  # an order still uses stopsignal
    assert s.instance("well:0")["pid"] == pid
    wait_for(lambda: "WATCHDOG_USEC=2000000 WATCHDOG_PID=me" in s.text_of("log", "well-0.log"),
             "the variables", 5)


def test_more_time(host):
    s = host(start=False)
    s.write(talker(s, "a", "ready = notify\nready_timeout = 1500ms\nstopwaitsecs = 300ms") +
            talker(s, "b", "ready = notify\nready_timeout = 1500ms"))
    s.start()
    tell(s, "a", "on TERM then EXTEND_TIMEOUT_USEC=20000000; sleep 0.8; exit 3",
         "EXTEND_TIMEOUT_USEC=20000000")
    tell(s, "b", "STATUS=not ready")
    exit_of(s, "b:0")  # its time is over, so that of a, which began with it, would be, too
    row = s.instance("a:0")
    assert row["restarts"] == 0 and row["state"] == "starting"
    s.kill_core()
    tell(s, "a", "READY=1")
    s.wait_ready("a:0")
    s.run("stop", "a")
    assert s.instance("a:0")["last_exit"]["code"] == 3


def test_descriptors_are_kept(host):
    s = host(start=False)
    for name in ("one", "two", "three", "four"):
        with open(s.path(name), "w") as file:
            file.write(name)
    s.write(f"[socket:web]\nlisten = {s.folder}/web.sock\n" +
            talker(s, "a", "ready = notify\nsockets = web\nfd_store_max = 3\nbackoff_min = 10ms\n"
                           "backoff_max = 10ms") +
            talker(s, "none", "ready = notify"))
    s.start()
    tell(s, "a", "READY=1", "keep-pipe gone", "STATUS=gone")
    # Its end is seen in a turn of its own; until then it takes one of the three places.
    s.wait_instance("a:0", lambda row: row.get("status") == "gone" and "fd_store" not in row)
    tell(s, "a", f"keep x {s.path('one')}", f"keep y:z {s.path('two')} FDPOLL=0", f"keep x {s.path('three')}",
         f"keep full {s.path('four')}", "STATUS=kept")
    tell(s, "none", f"keep x {s.path('one')}", "STATUS=kept")
    row = s.wait_instance("a:0", lambda row: row.get("status") == "kept")
    assert row["fd_store"] == 3
    assert "fd_store" not in s.wait_instance("none:0", lambda row: row.get("status") == "kept")
    s.kill_core()
    renew(s, "a")
    os.kill(row["pid"], 9)
    tell(s, "a", "variables", "READY=1")
    s.wait_instance("a:0", lambda now: now["ready"] and now["pid"] != row["pid"])
    # Sockets, then what was kept in its order; a name that is none is "stored".
    wait_for(lambda: "LISTEN_FDS=4 LISTEN_FDNAMES=web:x:stored:x FDSTORE=3 LISTEN_PID=me "
             "3:socket 4:one 5:two 6:three" in s.text_of("log", "a-0.log"), "the descriptors", 5)
    tell(s, "a", "FDSTOREREMOVE=1\\nFDNAME=x", f"keep y {s.path('four')}", "barrier", "STATUS=less")
    row = s.wait_instance("a:0", lambda row: row.get("status") == "less")
    assert row["fd_store"] == 2
    # Those of another instance, and after a stop: none.
    renew(s, "a")
    s.run("restart", "a", "--no-wait")
    s.wait_instance("a:0", lambda now: now["pid"] not in (None, row["pid"]))
    assert s.instance("a:0")["fd_store"] == 2
    s.run("stop", "a")
    assert "fd_store" not in s.instance("a:0")


def test_a_new_main_process(host):
    s = host(start=False)
    keys = "ready = notify\nautorestart = false\nexitcodes = 0, 7\n"
    s.write("".join(talker(s, name, keys) for name in ("parted", "below", "strange", "gone")))
    s.start()
    first = {name: row["pid"] for name, row in s.instances().items()}
    tell(s, "parted", "part MAINPID=$PID\\nREADY=1")  # the classic daemon
    tell(s, "below", "fork MAINPID=$PID\\nREADY=1")   # its parent, the first one, lives on
    tell(s, "strange", f"MAINPID={os.getpid()}\\nREADY=1\\nSTATUS=here")
    tell(s, "gone", "MAINPID=4194304\\nREADY=1\\nSTATUS=here")
    now = {}
    for name in ("parted:0", "below:0"):
        row = s.wait_instance(name, lambda row: row["ready"])
        assert row["pid"] != first[name] and row["state"] == "running", row
        now[name] = row["pid"]
    for name in ("strange:0", "gone:0"):
        assert s.wait_instance(name, lambda row: row["ready"])["pid"] == first[name]
    wait_for(lambda: not alive(first["parted:0"]), "the parent has left", 5)
    assert alive(first["below:0"])
    s.kill_core()
    assert {name: s.instance(name)["pid"] for name in now} == now
    tell(s, "parted", "exit 7")
    event = exit_of(s, "parted:0")
    assert event["code"] == 7 and event["pid"] == now["parted:0"]
    assert s.wait_state("parted:0", "exited")["expected"]
    # Its parent is not ours, and reaps it; the one that we started is then a left-over.
    os.kill(now["below:0"], 9)
    event = exit_of(s, "below:0")
    assert event["pid"] == now["below:0"]
    assert event.get("signal") == "KILL" or event.get("unknown")
    s.wait_state("below:0", "exited") if event.get("signal") is None else \
        s.wait_instance("below:0", lambda row: row["state"] in ("exited", "failed"))
    wait_for(lambda: not alive(first["below:0"]), "the first one was seen to", 5)


def test_a_new_main_process_by_pidfd(host):
    s = host(start=False)
    keys = "ready = notify\nautorestart = false\nexitcodes = 0, 7\n"
    s.write("".join(talker(s, name, keys) for name in ("parted", "strange", "none", "file")))
    with open(s.path("file.txt"), "w") as file:
        file.write("no pidfd")
    s.start()
    first = {name: row["pid"] for name, row in s.instances().items()}
    tell(s, "parted", "part main-pidfd me READY=1")
    tell(s, "strange", f"main-pidfd {os.getpid()} READY=1\\nSTATUS=here")
    tell(s, "none", "MAINPIDFD=1\\nREADY=1")
    tell(s, "file", f"keep x {s.path('file.txt')} MAINPIDFD=1", "READY=1")
    row = s.wait_instance("parted:0", lambda row: row["ready"])
    assert row["pid"] != first["parted:0"] and row["state"] == "running", row
    for name in ("strange:0", "none:0", "file:0"):
        row = s.wait_instance(name, lambda row: row["ready"])
        assert row["pid"] == first[name] and "fd_store" not in row
    assert "MAINPID names a process that is not of this instance" in s.text_of("supervisor.log")
    wait_for(lambda: s.text_of("supervisor.log").count("MAINPIDFD comes without") == 2, "warnings")
    s.kill_core()
    tell(s, "parted", "exit 7")
    assert exit_of(s, "parted:0")["code"] == 7


# --- probes ---

def free_ports(count):
    """Ports of this machine that nobody has just now."""
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in held]
    for s in held:
        s.close()
    return ports


def test_grpc(host):
    pytest.importorskip("grpc", reason="python3-grpcio is not installed")
    s = host(start=False)
    port, plain = free_ports(2)
    with open(s.path("status"), "w") as file:
        file.write("2")
    s.write(f"[service:web]\ncommand = /usr/bin/python3 {ROOT}/tests/system/grpc_server.py {port} "
            f"{s.folder}/status\nready = grpc://localhost:{port}/web\nready_interval = 50ms\n"
            f"live = grpc://127.0.0.1:{port}\nlive_interval = 50ms\nlive_threshold = 2\n"
            "live_delay = 1s\nstopsignal = KILL\n"
            f"[service:needs]\ncommand = sleep 1000\nrequires = web\nstartsecs = 0\n"
            f"[service:other]\ncommand = sleep 1000\nready = grpc://127.0.0.1:{port}/other\n"
            "ready_interval = 50ms\n"
            f"[service:plain]\ncommand = /usr/bin/python3 -m http.server -b 127.0.0.1 {plain}\n"
            f"ready = grpc://127.0.0.1:{plain}\nready_interval = 50ms\n")
    s.start()

    def told(name, text):
        return s.wait_instance(name, lambda row: text in (row["check_error"] or ""), text)
    row = told("web:0", "NOT_SERVING")
    assert not row["ready"] and s.instance("needs:0")["state"] == "waiting"
    told("other:0", "gRPC status 5 (NOT_FOUND): unknown service")
    told("plain:0", "not an HTTP/2 server")
    with open(s.path("status"), "w") as file:
        file.write("1")
    pid = s.wait_instance("web:0", lambda row: row["ready"] and row["health"] == "ok")["pid"]
    s.wait_state("needs:0", "running")
    with open(s.path("status"), "w") as file:
        file.write("2")
    row = s.wait_instance("web:0", lambda row: row["pid"] != pid, "restarted by its live check")
    assert "live check: NOT_SERVING" in row["last_exit"]["cause"]


# --- a line of the output ---

def answers(supervisor):
    try:
        return supervisor.call("version")
    except OSError:
        return None


def test_a_line_of_the_output(host):
    """In every format, of either stream, in pieces, through kills; never one of an earlier process."""
    s = host(start=False)
    keys = "ready = log:^up on port [0-9]+$\nready_timeout = 60s\nbackoff_min = 10ms\n" \
           "backoff_max = 10ms\n"
    s.write(talker(s, "raw", keys + "log_format = raw") + talker(s, "json", keys +
            "log_format = json") + talker(s, "errs", keys + "redirect_stderr = false") +
            talker(s, "old", keys) +
            "[service:needs]\ncommand = sleep 1000\nrequires = raw json errs\nstartsecs = 0\n")
    s.start()
    for name in ("raw", "json", "errs", "old"):
        tell(s, name, "print not up on port 1", "print up on port", "print up on port 80 or so",
             "STATUS=not yet", "part-of up on po")
    for name in ("raw", "json", "errs", "old"):
        s.wait_instance(f"{name}:0", lambda row: row.get("status") == "not yet")
    # Half of the line is read; then nobody lives who has seen it.
    wait_for(lambda: s.text_of("log", "raw-0.log").endswith("up on po"), "half a line", 10)
    for pid in role_pids(s, "logger"):
        os.kill(pid, signal.SIGKILL)
    s.kill_core()
    assert not any(row["ready"] for row in s.instances().values())
    assert s.instance("needs:0")["state"] == "waiting"
    tell(s, "raw", "print rt 81")
    tell(s, "errs", "print rt x", "errs up on port 82")
    core = s.core_pid
    os.kill(core, signal.SIGSTOP)  # found while no core is there to hear of it
    tell(s, "json", "print rt 83")
    wait_for(lambda: "on port 83" in s.text_of("log", "json-0.log"), "the line", 10)
    os.kill(core, signal.SIGKILL)
    wait_for(lambda: answers(s), "another core", 10)
    for name in ("raw:0", "json:0", "errs:0", "needs:0"):
        assert s.wait_ready(name)["restarts"] == 0, name
    # What the process before has left in the pipe does not count for the next one.
    loggers = role_pids(s, "logger")
    for pid in loggers:
        os.kill(pid, signal.SIGSTOP)
    before = s.instance("old:0")["pid"]
    tell(s, "old", "print x", "print up on port 84", "forget", "exit 1")
    s.wait_instance("old:0", lambda row: row["pid"] not in (None, before))
    for pid in loggers:
        os.kill(pid, signal.SIGCONT)
    tell(s, "old", "print after it", "STATUS=still not")
    s.wait_instance("old:0", lambda row: row.get("status") == "still not")
    wait_for(lambda: "after it" in s.text_of("log", "old-0.log"), "its output", 10)
    assert "up on port 84" in s.text_of("log", "old-0.log") and not s.instance("old:0")["ready"]
    tell(s, "old", "print up on port 85")
    s.wait_ready("old:0")


# --- a host that is short of CPU ---

def with_pressure(supervisor, percent):
    """The supervisor sees this /proc/pressure/cpu; None: there is none."""
    fake = supervisor.path("pressure")
    fd = os.open(fake, os.O_CREAT | os.O_WRONLY)
    over = threading.Event()

    def tell_all_the_time():
        while percent is not None and not over.wait(0.01):
            total = int(time.monotonic() * 1e6 * percent / 100)
            os.pwrite(fd, f"some avg10={percent}.00 avg60=0.00 avg300=0.00 total={total}\n".encode(), 0)
        os.close(fd)
    threading.Thread(target=tell_all_the_time, daemon=True).start()
    wrapper = supervisor.path("wrapper")
    with open(wrapper, "w") as file:
        file.write("#!/bin/sh\nexec unshare -m sh -c 'mount --bind \"$0\" /proc/pressure/cpu && "
                   f"exec \"$@\"' {fake} {supervisor.binary} \"$@\"\n")
    os.chmod(wrapper, 0o755)
    supervisor.binary = wrapper
    return over


@pytest.mark.parametrize("percent", [99, 0, None])
def test_a_starved_host_is_not_the_services_fault(host, percent):
    s = host(start=False)
    over = with_pressure(s, percent)
    probe = subprocess.run([s.binary, "version"], capture_output=True, check=False)
    if probe.returncode != 0:
        over.set()
        pytest.skip("this machine lets nobody put a file over /proc/pressure/cpu")
    dumb = socket.create_server(("127.0.0.1", 0))  # it never answers
    s.write("[service:hung]\ncommand = sleep 1000\nstartsecs = 0\n"
            f"live = http://127.0.0.1:{dumb.getsockname()[1]}/\nlive_interval = 50ms\n"
            "live_timeout = 50ms\n"
            "live_threshold = 2\nstopsignal = KILL\n", settings="cgroups = off\n")
    s.start()
    s.wait_instance("hung:0", lambda row: row["restarts"] > 0, "the restart")
    events = [e["event"] for e in s.events() if e["event"] in ("probe-excused", "exit")]
    cause = s.instance("hung:0")["last_exit"]["cause"]
    dumb.close()
    over.set()
    if percent == 99:  # excused for a while, not for ever
        assert events[:2] == ["probe-excused", "exit"]
        assert "counted: CPU is short on this host" in cause
    else:
        assert events[0] == "exit" and "probe-excused" not in events
        assert ("CPU pressure unknown" in cause) == (percent is None)


@pytest.mark.parametrize("own, ours, where", [(99, 0, "in its control group"),
                                              (0, 99, "for the supervisor itself"), (0, 0, None)])
def test_a_starved_group_counts_not_a_busy_host(host, own, ours, where):
    """The host is always short of CPU here; what counts is the group."""
    s = host(start=False)
    over = with_pressure(s, 99)
    if subprocess.run([s.binary, "version"], capture_output=True, check=False).returncode != 0:
        over.set()
        pytest.skip("this machine lets nobody put a file over /proc/pressure/cpu")
    dumb = socket.create_server(("127.0.0.1", 0))  # it never answers
    service = "[service:hung]\ncommand = sleep 1000\nstartsecs = 0\nstopsignal = KILL\n"
    s.write(service)
    s.start()
    s.wait_ready("hung:0")
    with open(f"/proc/{s.instance('hung:0')['pid']}/cgroup") as file:
        below = [line.strip().split("::")[1] for line in file if line.startswith("0::")]
    try:
        with open("/proc/self/mountinfo") as file:
            top = [line.split()[4] for line in file if " - cgroup2 " in line][0]
        folder = top + below[0]
        for percent, group in ((own, folder), (ours, os.path.dirname(folder) + "/supervisor")):
            fake = s.path(f"pressure-{os.path.basename(group)}")
            with open(fake, "w") as file:
                file.write(f"some avg10={percent}.00 avg60=0.00 avg300=0.00 total=0\n")
            subprocess.run(["nsenter", "-m", "-t", str(s.core_pid), "mount", "--bind", fake,
                            f"{group}/cpu.pressure"], check=True, capture_output=True)
    except (IndexError, subprocess.CalledProcessError):
        over.set()
        pytest.skip("no control group with cpu.pressure to be had here")
    s.write(service + f"live = http://127.0.0.1:{dumb.getsockname()[1]}/\nlive_interval = 300ms\n"
            "live_timeout = 50ms\nlive_threshold = 3\n")
    s.run("reload")
    if where:
        excused = s.wait_event(lambda event: event["event"] == "probe-excused")
        assert f"CPU is short {where}" in json.dumps(excused), excused
    else:
        s.wait_instance("hung:0", lambda row: row["restarts"] > 0, "the restart")
        assert not [e for e in s.events() if e["event"] == "probe-excused"]
    over.set()
    dumb.close()
