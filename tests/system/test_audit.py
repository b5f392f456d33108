"""[supervisor] audit_log: who ordered what, before it is done, and how it ended."""
import json
import os
import resource
import signal
import socket
import subprocess

import pytest

from harness import Failed, host, wait_for  # noqa: F401 (a fixture)

A = "[service:a]\ncommand = sleep 1000\nstartsecs = 0\n"
DEAF = ("[service:a]\ncommand = sh -c 'trap : TERM; : >%(here)s/deaf; while :; do sleep 0.05; "
        "done'\nstartsecs = 0\nstopwaitsecs = 60s\n")
LOG = "audit_log = %(here)s/audit\n"


def lines(s, name="audit"):
    return [json.loads(line) for line in s.text_of(name).splitlines()]


def started(host, settings=LOG, text=A):
    s = host(start=False)
    s.write(text, settings=settings)
    return s.start()


def test_orders_and_results(host):
    s = started(host)
    s.call("status"), s.call("logs", names=["a"]), s.call("events")
    assert s.call("restart", names=["a"])["ok"]
    with pytest.raises(Failed):
        s.call("scale", name="a", count=-1)
    s.run("scale", "a=1", "b=2", code=4)
    s.run("reload")
    restart, ended, scale, refused, counts, _, reload, reloaded = lines(s)
    assert counts["counts"] == {"a": 1, "b": 2}
    assert restart["audit"] == "order" and restart["verb"] == "restart" and restart["allowed"]
    assert restart["names"] == ["a"] and restart["rule"] is None
    assert (restart["uid"], restart["gid"], restart["pid"]) == (os.geteuid(), os.getegid(),
                                                               os.getpid())
    assert restart["exe"] == os.readlink("/proc/self/exe") and restart["command"]
    assert ended["audit"] == "result" and ended["id"] == restart["id"] and ended["ok"] is True
    assert scale["name"] == "a" and scale["count"] == -1 and scale["id"] != restart["id"]
    assert refused["ok"] is False and refused["error"] == "invalid" and refused["why"]
    assert reload["verb"] == "reload" and reloaded["ok"]
    assert os.stat(s.path("audit")).st_mode & 0o777 == 0o640
    os.kill(s.pid, signal.SIGHUP)
    wait_for(lambda: lines(s)[-1].get("by") == "a signal to the supervisor", "the signal")
    assert s.shutdown() == 0
    assert lines(s)[-1]["verb"] == "shutdown"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: a client of another user")
def test_what_is_refused(host):
    s = started(host, LOG + "socket_mode = 0666\n")
    request = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "stop", "params": {"names": ["a"]}})
    client = ("import socket,sys\ns = socket.socket(socket.AF_UNIX)\ns.connect(sys.argv[1])\n"
              "s.sendall(sys.argv[2].encode() + b'\\n')\ns.recv(65536)\n")
    subprocess.run(["setpriv", "--reuid=65534", "--regid=65533", "--clear-groups",
                    "/usr/bin/python3", "-c", client, s.socket, request], timeout=20, check=True)
    line, = lines(s)
    assert line["allowed"] is False and line["uid"] == 65534 and line["gid"] == 65533
    assert "may not stop" in line["why"] and "rule" not in line
    assert s.instance("a:0")["state"] == "running"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: a client of another user")
def test_who_is_refused_all_the_time_fills_no_disk(host):
    s = started(host, LOG + "socket_mode = 0666\n")
    client = ("import socket,sys,time\ns = socket.socket(socket.AF_UNIX)\ns.connect(sys.argv[1])\n"
              "f = s.makefile()\nline = sys.argv[2].encode() + b'\\n'\n"
              "for _ in range(40):\n    s.sendall(line * 50)\n    [f.readline() for _ in range(50)]\n"
              "time.sleep(1.1)\ns.sendall(line)\nf.readline()\n")
    request = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "stop", "params": {"names": ["a"]}})
    subprocess.run(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
                    "/usr/bin/python3", "-c", client, s.socket, request], timeout=60, check=True)
    told = [line for line in lines(s) if line["audit"] == "order"]
    assert len(told) < 2001
    assert len(told) + sum(line.get("not_told", 0) for line in lines(s)) == 2001
    assert "not_told" in s.text_of("supervisor.log")


def test_text_from_outside_is_escaped_and_cut(host):
    s = started(host)
    evil = "x\"}\n{\"audit\":\"order\",\"uid\":0\x1b[2J"
    with pytest.raises(Failed):
        s.call("stop", names=[evil])
    with pytest.raises(Failed):
        s.call("stop", names=["y" * 100000] + ["z" * 300] * 300)
    with pytest.raises(Failed):
        s.call("release.switch", path="/" + "p" * 10000, id="\u2028" * 5000, token="t" * 5000)
    text = s.text_of("audit")
    assert "\x1b" not in text and text.count("\n") == 6
    assert all(len(line) < 8000 for line in text.splitlines())
    first, _, many, _, switch, _ = lines(s)
    assert first["names"] == [evil]
    assert many["cut"] and many["names_more"] == 301 - 64
    assert len(switch["path"]) == 511


def test_a_core_that_dies_has_written_the_order(host):
    s = started(host, text=DEAF)
    wait_for(lambda: os.path.exists(s.path("deaf")), "its trap")
    connection = s.connect()
    connection.send("stop", names=["a"])
    wait_for(lambda: lines(s), "the order")
    s.kill_core()
    assert [line["audit"] for line in lines(s)] == ["order"]
    s.call("signal", names=["a"], signal="KILL")
    s.wait_state("a:0", "stopped")
    order, signalled, result = lines(s)
    assert result["id"] == signalled["id"] != order["id"]  # numbers of another core are others


def test_who_leaves_has_given_the_order(host):
    s = started(host, text=DEAF)
    wait_for(lambda: os.path.exists(s.path("deaf")), "its trap")
    connection = s.connect()
    connection.send("stop", names=["a"])
    wait_for(lambda: lines(s), "the order")
    connection.close()
    result = wait_for(lambda: lines(s)[1:], "its end")[0]
    assert result["ok"] is None and result["left"]


def test_it_may_be_moved_away(host):
    s = started(host)
    s.call("start", names=["a"])
    os.rename(s.path("audit"), s.path("audit.1"))
    s.call("start", names=["a"])
    assert len(lines(s, "audit.1")) == 2 and len(lines(s)) == 2
    with open(s.path("audit"), "a") as file:
        file.write('{"torn')  # as a full disk leaves it
    s.kill_core()
    s.run("reload")
    assert s.text_of("audit").splitlines()[2] == '{"torn'
    assert json.loads(s.text_of("audit").splitlines()[3])["audit"] in ("order", "result")
    s.write(A)
    core = s.core_pid
    s.run("reload")
    assert s.core_pid == core and "lines are lost" not in s.text_of("supervisor.log")
    before = s.text_of("audit")
    s.call("start", names=["a"])
    assert s.text_of("audit") == before


def audit_files(s):
    return sorted(name for name in os.listdir(s.folder) if name.startswith("audit"))


def test_it_is_rotated(host):
    s = started(host, LOG + "audit_log_maxbytes = 2KB\naudit_log_backups = 2\n")
    for _ in range(30):
        s.call("start", names=["a"])
    assert audit_files(s) == ["audit", "audit.1", "audit.2"]
    assert all(os.path.getsize(s.path(name)) <= 2048 for name in audit_files(s))
    kept = [line for name in ("audit.2", "audit.1", "audit") for line in lines(s, name)]
    numbers = [int(line["id"].rsplit("-", 1)[1]) for line in kept if line["audit"] == "order"]
    assert numbers == list(range(numbers[0], 31)) and len(numbers) > 5
    os.unlink(s.path("audit.1"))  # as a move that was cut short leaves it: the gap is filled
    last = s.text_of("audit.2")
    while "audit.1" not in audit_files(s):
        s.call("start", names=["a"])
    assert s.text_of("audit.2") == last
    os.unlink(s.path("audit.1"))
    os.makedirs(s.path("audit.1", "in the way"))
    os.unlink(s.path("audit.2"))
    os.makedirs(s.path("audit.2", "in the way"))
    for _ in range(20):
        assert s.call("start", names=["a"])["ok"]
    assert os.path.getsize(s.path("audit")) > 2048 and "lost" not in s.text_of("audit")
    s.write(A, settings=LOG + "audit_log_backups = 0\naudit_log_maxbytes = 2KB\n")
    s.run("reload")
    s.call("start", names=["a"])
    assert os.path.getsize(s.path("audit")) < 2048


def test_a_log_that_cannot_be_written_stops_nothing(host):
    s = started(host, "audit_log = %(here)s/missing/audit\n")
    assert "missing/audit cannot be opened, orders go on without it" in s.text_of("supervisor.log")
    for _ in range(3):
        assert s.call("restart", names=["a"])["ok"]
    assert s.text_of("supervisor.log").count("lines are lost") == 1
    assert "missing/audit: No such file or directory; 6 lines are lost" in s.run("status").stdout
    assert "6 lines are lost so far" in " ".join(s.run("doctor", code=None).stdout.split())
    assert s.wait_event(lambda e: e["event"] == "audit-error")["written"] is False
    os.mkdir(s.path("missing"))
    s.call("start", names=["a"])
    lost, order, _ = lines(s, "missing/audit")
    assert lost["audit"] == "lost" and lost["lines"] == 6 and order["verb"] == "start"
    os.mkfifo(s.path("fifo"))
    s.write(A, settings="audit_log = %(here)s/fifo\n")
    told = s.run("reload", code=1).stderr  # who has written the line should know
    assert "fifo is no file" in told and "fifo is no file" in s.text_of("supervisor.log")
    assert s.call("start", names=["a"])["ok"]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount a small file system")
def test_a_full_disk(host):
    s = host(start=False)
    os.mkdir(s.path("small"))
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "none", s.path("small")],
                      capture_output=True).returncode != 0:
        pytest.skip("mount is not allowed here")
    try:
        with open(s.path("small", "ballast"), "wb") as file:
            file.write(b"x" * 8192)
        s.write(A, settings="audit_log = %(here)s/small/audit\n")
        s.start()
        for _ in range(40):
            assert s.call("start", names=["a"])["ok"]
        assert "lines are lost" in s.text_of("supervisor.log")
        os.unlink(s.path("small", "ballast"))
        s.call("start", names=["a"])
        text = s.text_of("small/audit").splitlines()
        whole = []
        for line in text:
            try:
                whole.append(json.loads(line))
            except ValueError:
                pass
        assert len(text) - len(whole) <= 1  # the one that was torn
        assert [line["audit"] for line in whole[-3:]] == ["lost", "order", "result"]
        assert whole[-3]["lines"] + len(whole) - 1 == 82
    finally:
        s.close()
        subprocess.run(["umount", "-l", s.path("small")], check=False)


def test_a_limit_of_file_size(host):
    """SIGXFSZ would end the core with each order."""
    s = started(host)
    core = s.core_pid
    resource.prlimit(core, resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
    for _ in range(10):
        s.call("signal", names=["a"], signal="CONT")
    assert s.core_pid == core
    assert "the audit log cannot be written" in s.text_of("supervisor.log")
    resource.prlimit(core, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
    s.call("signal", names=["a"], signal="CONT")
    whole = [json.loads(line) for line in s.text_of("audit").splitlines() if line[-1] == "}"]
    assert any(line["audit"] == "lost" for line in whole) and whole[-1]["audit"] == "result"


def test_syslog(host):
    s = host(start=False)
    receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    receiver.bind(s.path("log.sock"))
    receiver.settimeout(20)
    s.write(A, settings="audit_log = syslog:%(here)s/log.sock\n")
    s.start()
    s.call("start", names=["a"])
    order, result = receiver.recv(65536).decode(), receiver.recv(65536).decode()
    assert order.startswith("<86>") and " supervisor[" in order
    assert json.loads(order.split("]: ", 1)[1])["verb"] == "start"
    assert json.loads(result.split("]: ", 1)[1])["ok"] is True
    receiver.close()
    os.unlink(s.path("log.sock"))
    assert s.call("start", names=["a"])["ok"]
    receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    receiver.bind(s.path("log.sock"))
    receiver.settimeout(20)
    s.call("start", names=["a"])
    assert json.loads(receiver.recv(65536).decode().split("]: ", 1)[1])["lines"] == 2
    receiver.close()
