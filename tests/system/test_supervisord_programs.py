"""What programs of a supervisord file get besides their values: descriptors and defaults."""
import os
import socket

import pytest

from harness import host, wait_for  # noqa: F401 (a fixture)

ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

# Answers each connection to descriptor 0 with its pid, as a FastCGI server would take it from there.
SERVER = """
import os, socket
listener = socket.socket(fileno=0)
assert "LISTEN_FDS" not in os.environ
while True:
    peer, _ = listener.accept()
    peer.sendall(b"%d" % os.getpid())
    peer.close()
"""


def answer(address):
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    with socket.socket(family) as peer:
        peer.settimeout(10)
        peer.connect(address)
        return int(peer.recv(100))


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_fastcgi_programs_share_a_socket_as_descriptor_0(host):
    s = host(start=False)
    port, path = free_port(), s.path("cgi.sock")
    with open(s.path("server.py"), "w") as file:
        file.write(SERVER)
    command = f"command=/usr/bin/python3 {s.path('server.py')}\n"
    s.write(f"[fcgi-program:unix]\n{command}socket=unix://{path}\nsocket_mode=0600\nnumprocs=2\n"
            f"process_name=%(program_name)s_%(process_num)d\n"
            f"[fcgi-program:tcp]\n{command}socket=tcp://localhost:{port}\n")
    s.start()
    for name in ("unix:0", "unix:1", "tcp:0"):
        s.wait_state(name, "running")
    assert os.stat(path).st_mode & 0o777 == 0o600
    both = {s.instance(name)["pid"] for name in ("unix:0", "unix:1")}
    assert answer(path) in both
    assert answer(("127.0.0.1", port)) == s.instance("tcp:0")["pid"]
    # While nobody accepts, connections wait for the next one.
    before = s.instance("tcp:0")["pid"]
    s.run("stop", "tcp")
    with socket.create_connection(("127.0.0.1", port), timeout=10) as waiting:
        s.run("start", "tcp")
        waiting.settimeout(10)
        assert int(waiting.recv(100)) != before


def test_standard_input_of_a_program_never_ends(host):
    s = host("[program:cat]\ncommand=cat\n[program:two]\ncommand=cat\n"
             "[service:cat2]\ncommand = cat\nautorestart = false\nstartsecs = 0\n"
             "[service:open]\ncommand = cat\nstdin = open\n")
    s.wait_state("cat2:0", "exited")  # /dev/null has an end
    pids = {}
    for name in ("cat:0", "two:0", "open:0"):
        pids[name] = s.wait_state(name, "running")["pid"]
        assert os.readlink(f"/proc/{pids[name]}/fd/0").startswith("pipe:")
    # Each has an open file of its own: what one does to it is no matter of the others.
    flags = [line for line in lines_of(f"/proc/{pids['cat:0']}/fdinfo/0") if line.startswith("flags")]
    assert flags and int(flags[0].split()[1], 8) & os.O_NONBLOCK == 0
    for _ in range(2):
        s.kill_core()
        assert {name: s.instance(name)["pid"] for name in pids} == pids
    s.run("restart", "two")
    assert s.wait_state("two:0", "running")["pid"] != pids["two:0"]
    assert s.instance("cat:0")["restarts"] == 0


def lines_of(path):
    with open(path) as file:
        return file.read().splitlines()


@ROOT_ONLY
def test_what_supervisord_would_be_is_what_its_programs_are(host):
    s = host("[supervisord]\nuser=nobody\numask=027\ndirectory=/tmp\n"
             "[program:a]\ncommand=sleep 1000\n[program:b]\ncommand=sleep 1000\nuser=root\ndirectory=/\n")
    facts = {}
    for name in ("a:0", "b:0"):
        pid = s.wait_state(name, "running")["pid"]
        status = dict(line.split(":\t", 1) for line in lines_of(f"/proc/{pid}/status") if ":\t" in line)
        facts[name] = (status["Uid"].split()[0], int(status["Umask"], 8), os.readlink(f"/proc/{pid}/cwd"))
    assert facts["a:0"][0] != "0" and facts["a:0"][1:] == (0o027, "/tmp")
    assert facts["b:0"] == ("0", 0o027, "/")
    # A change there restarts those that inherit it, and only those.
    before = {name: s.instance(name)["pid"] for name in facts}
    s.write("[supervisord]\nuser=nobody\numask=027\ndirectory=/var\n"
            "[program:a]\ncommand=sleep 1000\n[program:b]\ncommand=sleep 1000\nuser=root\ndirectory=/\n")
    s.run("reload")
    row = s.wait_instance("a:0", lambda one: one["state"] == "running" and one["pid"] != before["a:0"])
    wait_for(lambda: os.readlink(f"/proc/{row['pid']}/cwd") == "/var", "the new folder")
    assert s.instance("b:0")["pid"] == before["b:0"]
