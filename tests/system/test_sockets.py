"""[socket:]: kinds, who keeps what open, and services that start when they are called."""
import os
import signal
import socket
import time

import pytest

from harness import ROOT, alive, host, wait_for  # noqa: F401 (a fixture)
from test_overlap import free_port
from zoo import hello

# Takes everything from its sockets and says "NAME PID" back, until it was idle for a while.
SERVE = """
import os, select, signal, socket, sys
idle = float(sys.argv[1]) if len(sys.argv) > 1 else None
names = os.environ["LISTEN_FDNAMES"].split(":")
socks = {}
for n, name in enumerate(names):
    s = socket.socket(fileno=3 + n)
    assert os.get_blocking(3 + n), "a service expects a blocking socket"
    socks[s.fileno()] = (s, name)
poll = select.poll()
for fd in socks:
    poll.register(fd, select.POLLIN)
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
while True:
    ready = poll.poll(None if idle is None else idle * 1000)
    if not ready:
        sys.exit(0)
    for fd, _ in ready:
        s, name = socks[fd]
        text = f"{name} {os.getpid()}".encode()
        if s.type == socket.SOCK_DGRAM:
            data, who = s.recvfrom(1000)
            s.sendto(text, who)
        else:
            c, _ = s.accept()
            c.sendall(text)
            c.close()
"""


def serve(supervisor, *arguments):
    with open(supervisor.path("serve.py"), "w") as file:
        file.write(SERVE)
    return f"/usr/bin/python3 -SE {supervisor.path('serve.py')} {' '.join(arguments)}"


def ask(kind, address, family=None):
    """What the service says: the name of its socket and its pid."""
    family = family or (socket.AF_UNIX if isinstance(address, str) else socket.AF_INET)
    with socket.socket(family, kind) as s:
        s.settimeout(20)
        if family == socket.AF_UNIX and kind == socket.SOCK_DGRAM:
            s.bind(f"\0{os.getpid()}-{time.monotonic_ns()}")
        s.connect(address)
        if kind == socket.SOCK_DGRAM:
            s.send(b"x")
        name, pid = s.recv(1000).decode().split()
        return name, int(pid)


def all_kinds(supervisor, tcp, udp):
    at = supervisor.path
    return [("tcp", socket.SOCK_STREAM, ("127.0.0.1", tcp)),
            ("tcp", socket.SOCK_STREAM, at("tcp.sock")),
            ("udp", socket.SOCK_DGRAM, ("127.0.0.1", udp)),
            ("dgram", socket.SOCK_DGRAM, at("dgram.sock")),
            ("seq", socket.SOCK_SEQPACKET, at("seq.sock"))]


def test_every_kind_outlives_service_and_core(host):
    s = host(start=False)
    tcp, udp = free_port(), free_port()
    s.write(f"[socket:tcp]\nlisten = 127.0.0.1:{tcp} {s.folder}/tcp.sock\n"
            f"[socket:udp]\nlisten = 127.0.0.1:{udp}\ntype = datagram\n"
            f"[socket:dgram]\nlisten = {s.folder}/dgram.sock\ntype = datagram\nmode = 0600\n"
            f"[socket:seq]\nlisten = {s.folder}/seq.sock\ntype = seqpacket\n"
            f"[service:every]\ncommand = {serve(s)}\nsockets = tcp udp dgram seq\nstartsecs = 0\n")
    s.start()
    pids = set()
    for act in (lambda: None, s.kill_core, lambda: s.run("restart", "every:0"),
                lambda: s.call("signal", names=["every:0"], signal="KILL"), s.kill_core):
        act()
        for name, kind, address in all_kinds(s, tcp, udp):
            said, pid = ask(kind, address)
            assert said == name
            pids.add(pid)
    assert len(pids) == 3
    assert os.stat(s.path("dgram.sock")).st_mode & 0o777 == 0o600
    rows = {row["name"]: row for row in s.call("status", names=["all"])["sockets"]}
    assert rows["tcp"]["listen"] == [f"127.0.0.1:{tcp}", s.path("tcp.sock")]
    assert all(row["open"] and row["services"] == ["every"] for row in rows.values())
    assert "sockets" in s.run("status", "--json").stdout


def inodes(supervisor):
    """Of all sockets that the guardian holds."""
    folder = f"/proc/{supervisor.pid}/fd"
    found = set()
    for fd in os.listdir(folder):
        try:
            target = os.readlink(f"{folder}/{fd}")
        except FileNotFoundError:
            continue
        if target.startswith("socket:"):
            found.add(target)
    return found


def test_a_reload_closes_only_what_has_gone(host):
    """Order, names and neighbours change: who keeps the address keeps the socket, and whatever
    waits in it."""
    s = host(start=False)
    one, two, three = free_port(), free_port(), free_port()
    rest = ("[service:x]\ncommand = sleep 1000\nstartsecs = 0\n"
            "stdout_logfile = none\nstderr_logfile = none\n")  # no logger that starts meanwhile
    s.write(f"[socket:a]\nlisten = 127.0.0.1:{one} 127.0.0.1:{two}\n"
            f"[socket:b]\nlisten = {s.folder}/b.sock {s.folder}/gone.sock\n" + rest)
    s.start()
    s.wait_ready("x:0")
    waiting = [socket.create_connection(("127.0.0.1", one)), socket.socket(socket.AF_UNIX)]
    waiting[1].connect(s.path("b.sock"))
    before = inodes(s)
    s.write(f"[socket:new]\nlisten = {s.folder}/b.sock\nmode = 0600\n"
            f"[socket:a]\nlisten = 127.0.0.1:{three} 127.0.0.1:{one}\nbacklog = 17\n" + rest)
    answer = s.call("reload")
    assert answer["problems"] == [] and sorted(answer["sockets"]) == ["a", "b", "new"]
    wait_for(lambda: len(before - inodes(s)) == 2, "the end of two and gone.sock")
    assert len(inodes(s) - before) == 1  # three
    assert os.stat(s.path("b.sock")).st_mode & 0o777 == 0o600
    assert not os.path.exists(s.path("gone.sock"))
    for connection in waiting:  # not reset: nobody accepts, nobody closes
        connection.settimeout(0.01)
        with pytest.raises(socket.timeout):
            connection.recv(1)
        connection.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", two))
    socket.create_connection(("127.0.0.1", three)).close()
    # A kind that changes at the same path, and an address that the old one stands in the way of.
    s.write(f"[socket:new]\nlisten = {s.folder}/b.sock\ntype = datagram\n"
            f"[socket:a]\nlisten = 0.0.0.0:{one}\n" + rest)
    assert s.call("reload")["problems"] == []
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as datagram:
        datagram.connect(s.path("b.sock"))
    socket.create_connection(("127.0.0.1", one)).close()


def test_an_address_that_is_taken_is_told_and_tried_again(host):
    port = free_port()
    with socket.socket() as taker:
        taker.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taker.bind(("127.0.0.1", port))
        taker.listen()
        s = host(f"[socket:a]\nlisten = 127.0.0.1:{port}\n[service:x]\ncommand = {hello()}\n"
                 "sockets = a\nready = notify\nbackoff_max = 200ms\n")
        row = s.wait_state("x:0", "backoff")
        assert "another process has that address" in row["reason"]
        assert not s.call("status", names=["all"])["sockets"][0]["open"]
    s.wait_ready("x:0")
    assert s.call("status", names=["all"])["sockets"][0]["open"]


def listeners(port):
    with open("/proc/net/tcp") as file:
        return sum(line.split()[1].endswith(f":{port:04X}") and line.split()[3] == "0A"
                   for line in file.readlines()[1:])


def test_reuse_port_is_one_socket_per_instance(host):
    s = host(start=False)
    port = free_port()
    s.write(f"[socket:a]\nlisten = 127.0.0.1:{port}\nreuse_port = true\n"
            f"[service:x]\ncommand = {serve(s)}\nsockets = a\nstartsecs = 0\nnumprocs = 3\n")
    s.start()

    def answering():
        return {ask(socket.SOCK_STREAM, ("127.0.0.1", port))[1] for _ in range(60)}

    def pids():
        rows = wait_for(lambda: all(r["ready"] for r in s.instances("x").values())
                        and s.instances("x"), "ready")
        return {r["pid"] for r in rows.values()}
    assert answering() == pids() and len(pids()) == 3
    s.kill_core()
    s.run("restart", "x:1")
    assert answering() == pids() and len(pids()) == 3
    s.run("scale", "x=1")  # nothing is dealt to those that have gone
    wait_for(lambda: len(s.instances("x")) == 1, "one instance")
    wait_for(lambda: listeners(port) == 1, "one socket")
    assert answering() == pids() and len(pids()) == 1
    s.run("stop", "x")
    wait_for(lambda: listeners(port) == 0, "no socket")
    s.kill_core()
    assert listeners(port) == 0
    s.run("start", "x")
    assert answering() == pids()


def test_the_first_connection_starts_it(host):
    s = host(start=False)
    port, udp = free_port(), free_port()
    s.write(f"[socket:a]\nlisten = 127.0.0.1:{port}\n"
            f"[socket:u]\nlisten = 127.0.0.1:{udp}\ntype = datagram\n"
            f"[service:x]\ncommand = {serve(s, '0.2')}\nsockets = a u\nstartsecs = 0\n"
            f"start_on = socket\n"
            f"[service:needs]\ncommand = sleep 1000\nstartsecs = 0\nrequires = x\n")
    s.start()
    s.wait_ready("needs:0")  # what can be called counts as there
    row = s.instance("x:0")
    assert (row["state"], row["waiting_for"], row["pid"]) == ("waiting", "a connection", None)
    s.run("status", "x")  # and is as it should be: exit 0
    for number in range(4):  # it leaves when it is idle, and is called again
        if number % 2:
            said, pid = ask(socket.SOCK_DGRAM, ("127.0.0.1", udp))
        else:
            said, pid = ask(socket.SOCK_STREAM, ("127.0.0.1", port))
        assert not alive(pid) or s.instance("x:0")["pid"] == pid
        s.wait_instance("x:0", lambda row: row["state"] == "waiting" and row["listening"])
        if number == 1:
            s.kill_core()
    assert s.instance("x:0")["state"] == "waiting"
    assert s.call("restart", names=["x"])["ok"] and s.instance("x:0")["state"] == "waiting"
    s.run("stop", "x")
    assert s.instance("x:0")["state"] == "stopped"
    with socket.create_connection(("127.0.0.1", port)):  # it waits until it is started again
        s.kill_core()
        assert s.instance("x:0")["state"] == "stopped"
        s.call("start", names=["x"])
        s.wait_instance("x:0", lambda row: row["pid"])


def test_one_that_does_not_accept_is_not_started_in_a_circle(host):
    s = host(start=False)
    port = free_port()
    s.write(f"[socket:a]\nlisten = 127.0.0.1:{port}\n"
            f"[service:x]\ncommand = /bin/true\nsockets = a\nstartsecs = 0\nstart_on = socket\n"
            f"startretries = 3\nbackoff_min = 20ms\n")
    s.start()
    s.wait_instance("x:0", lambda row: row["state"] == "waiting" and row["listening"])
    with socket.create_connection(("127.0.0.1", port)):
        s.wait_state("x:0", "failed", 10)
        exits = [e for e in s.events() if e["event"] == "exit" and e["instance"] == "x:0"]
        assert 4 <= len(exits) <= 6, exits
    s.run("status", "x", code=3)


def test_a_release_that_waits_to_be_called_is_there(host):
    from test_release import ONE, TWO, USER, Site
    site = Site(host, "stop-first", instances=1)
    port = free_port()
    site.supervisor.write(
        f"[socket:web]\nlisten = 127.0.0.1:{port}\n"
        f"[service:web]\ncommand = bin/hello\nrelease = {site.path}\n{USER}sockets = web\n"
        f"ready = notify\nready_timeout = 1s\nstart_on = socket\n")
    site.start(ONE, TWO)

    def version():
        with socket.create_connection(("127.0.0.1", port)) as s:
            s.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            return s.makefile().read()
    assert site.order("switch", ONE)["result"] == "switched"
    assert ONE in version()
    assert site.order("switch", TWO)["result"] == "switched"
    assert TWO in version()
    assert site.order("switch", ONE)["result"] == "switched"
    assert site.order("switch", TWO)["result"] == "switched"  # nobody has called in between
    assert TWO in version()


def get(connection):
    connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    return connection.recv(4096).decode()


def test_scaled_instances_have_ports_of_their_own(host):
    """Up: each serves its port.  Down: who leaves finishes what it has begun."""
    s = host(start=False)
    base = free_port() % 20000 + 10000
    text = (f"[service:web]\ncommand = {hello()} %(port)d\nport_base = {base}\n"
            f"ready = http://127.0.0.1:%(port)d/health\nready_interval = 50ms\n")
    s.write(text)
    s.start()
    s.wait_ready("web:0")
    first = s.instance("web:0")["pid"]
    s.run("scale", "web=4")
    for number in range(4):
        pid = s.wait_ready(f"web:{number}")["pid"]
        with open(f"/proc/{pid}/environ", "rb") as file:
            assert b"PORT=%d" % (base + number) in file.read().split(b"\0")
        with socket.create_connection(("127.0.0.1", base + number)) as connection:
            assert f"process {pid}" in get(connection)
    connection = socket.create_connection(("127.0.0.1", base + 3))
    assert "keep-alive" in get(connection)
    s.call("scale", name="web", count=1)
    s.wait_event(lambda event: event.get("instance") == "web:3" and event.get("to") == "stopping")
    s.kill_core()
    assert "Connection: close" in get(connection)  # asked to leave, it still answers
    connection.close()
    wait_for(lambda: list(s.instances("web")) == ["web:0"], "one instance")
    assert s.instance("web:0")["pid"] == first
    s.write(text + f"[service:other]\ncommand = sleep 1000\nport_base = {base + 2}\n")
    s.call("reload")
    refused = s.run("scale", "web=3", code=1)  # the port of another
    assert f"port {base + 2} is also that of" in refused.stderr
    assert list(s.instances("web")) == ["web:0"]
