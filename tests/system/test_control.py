"""The control socket: who may what, and clients that do not behave."""
import json
import os
import socket
import subprocess

import pytest

from harness import Failed, host, wait_for  # noqa: F401 (a fixture)

ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
A = "[service:a]\ncommand = sleep 1000\nstartsecs = 0\n"

CLIENT = """
import json, socket, sys
for line in sys.stdin:
    s = socket.socket(socket.AF_UNIX)
    try:
        s.connect(sys.argv[1])
    except OSError as problem:
        print(json.dumps({"refused": str(problem)}), flush=True)
        continue
    s.sendall(line.encode())
    print(s.makefile().readline().strip(), flush=True)
"""


def as_user(supervisor, arguments, calls):
    """{method: "ok", or kind of the error}; each call by another uid."""
    lines = "".join(json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
                    + "\n" for method, params in calls)
    done = subprocess.run(["setpriv", *arguments, "/usr/bin/python3", "-c", CLIENT,
                           supervisor.socket], input=lines, capture_output=True, text=True,
                          timeout=20, check=True)
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(answers) == len(calls), done.stderr
    return {method: "refused" if "refused" in answer else
            answer["error"]["data"]["kind"] if "error" in answer else "ok"
            for (method, _), answer in zip(calls, answers)}


READ = [("version", {}), ("status", {}), ("why", {"names": ["a"]})]
OPERATE = [("signal", {"names": ["a"], "signal": "CONT"}), ("stop", {"names": ["a"]}),
           ("start", {"names": ["a"]}), ("restart", {"names": ["a"]}),
           ("scale", {"name": "a", "count": 2})]
OWN = [("reload", {}), ("upgrade", {"binary": "/nowhere"}), ("shutdown", {"action": "nonsense"})]
NOBODY = ["--reuid=65534", "--regid=65534", "--clear-groups"]
DAEMON = ["--reuid=65534", "--regid=65534", "--groups=1"]


@ROOT_ONLY
def test_strangers(host):
    s = host(start=False)
    s.write(A, settings="socket_mode = 0666\n")
    s.start()
    answers = as_user(s, NOBODY, READ + OPERATE + OWN)
    assert set(answers.values()) == {"denied"}, answers
    s.write(A, settings="socket_mode = 0666\ncontrol_read = all\n")
    s.call("reload")
    answers = as_user(s, NOBODY, READ + OPERATE + OWN)
    assert {m: answers[m] for m, _ in READ} == {m: "ok" for m, _ in READ}
    assert {answers[m] for m, _ in OPERATE + OWN} == {"denied"}, answers
    assert s.instance("a:0")["state"] == "running"


@ROOT_ONLY
def test_socket_mode(host):
    s = host(A)
    assert set(as_user(s, NOBODY, READ).values()) == {"refused"}


@ROOT_ONLY
def test_operators(host):
    s = host(start=False)
    s.write(A, settings="control_group = daemon\n")
    s.start()
    answers = as_user(s, DAEMON, READ + OPERATE + OWN)
    assert {answers[m] for m, _ in READ + OPERATE} == {"ok"}, answers
    assert {answers[m] for m, _ in OWN} == {"denied"}, answers
    event = s.wait_event(lambda e: e["event"] == "order" and e.get("order") == "restart")
    assert event["uid"] == 65534
    assert set(as_user(s, NOBODY, READ).values()) == {"refused"}


@ROOT_ONLY
def test_own_uid(host, tmp_path):
    """A supervisor that is not root: its own user may do all, root as well."""
    s = host(start=False)
    s.write(A)
    for folder, _, files in os.walk(s.folder):
        for path in [folder, *(os.path.join(folder, f) for f in files)]:
            os.chown(path, 65534, 65534)
    s.binary = ["setpriv", *NOBODY, s.binary]

    with open(s.log, "ab") as log:
        s.process = subprocess.Popen([*s.binary, "run", "-c", s.config, "-s", s.socket],
                                     stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                     env=s.environment)
    s.wait_up()
    answers = as_user(s, NOBODY, READ + OPERATE + OWN[:1])
    assert set(answers.values()) == {"ok"}, answers
    assert s.call("restart", names=["a"])["ok"]
    assert s.shutdown() == 0


def raw(supervisor):
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(10)
    connection.connect(supervisor.socket)
    return connection


GARBAGE = [b"\n", b"{}\n", b"[]\n", b"null\n", b"\0\0\0\n", b"{\"jsonrpc\":\"2.0\"}\n",
           b"GET / HTTP/1.1\r\n\r\n", b"[" * 10000 + b"\n", b"{\"a\":" * 5000 + b"\n",
           b"\xff\xfe\xff\n", b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"status\",\"params\":3}\n",
           b"{\"jsonrpc\":\"2.0\",\"id\":{},\"method\":\"status\"}\n",
           b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"stop\",\"params\":{\"names\":[{}]}}\n",
           b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"signal\",\"params\":{\"names\":[\"a\"],"
           b"\"signal\":\"\\u0000\"}}\n", b"{\"jsonrpc\":\"2.0\",\"id\":1,\"meth"]


@pytest.mark.parametrize("text", GARBAGE, ids=range(len(GARBAGE)))
def test_garbage(host, text):
    s = host(A)
    before = s.wait_ready("a:0")["pid"], s.core_pid
    with raw(s) as connection:
        connection.sendall(text)
        connection.shutdown(socket.SHUT_WR)
        try:
            while connection.recv(65536):
                pass
        except OSError:
            pass
    assert (s.instance("a:0")["pid"], s.core_pid) == before


def test_oversized_message(host):
    s = host(A)
    core = s.core_pid
    with raw(s) as connection:
        with pytest.raises(OSError):
            for _ in range(4096):
                connection.sendall(b"x" * 65536)
    assert s.core_pid == core


def test_wrong_parameters(host):
    s = host(A)
    s.wait_ready("a:0")
    for method, params in [("stop", {}), ("stop", {"names": []}), ("stop", {"names": "a"}),
                           ("stop", {"names": [1]}), ("stop", {"names": ["b"]}),
                           ("signal", {"names": ["a"]}), ("nonsense", {}),
                           ("signal", {"names": ["a"], "signal": "NOPE"}),
                           ("scale", {"name": "a"}), ("release.switch", {"name": "a", "id": "x"}),
                           ("release.state", {}), ("upgrade", {"binary": "relative"})]:
        with pytest.raises(Failed):
            s.call(method, **params)
    assert s.instance("a:0")["state"] == "running"


def test_client_that_never_reads(host):
    """It does not hold up the others, and when it reads again the gap is told."""
    s = host(A)
    lazy = s.connect()
    lazy.call("events", since=1)
    busy = s.connect()
    for _ in range(300):  # 60000 events: more than the queue for it (8 MiB) and the ring
        numbers = [busy.send("signal", names=["a"], signal="CONT") for _ in range(200)]
        for number in numbers:
            busy.answer(number)
    target = s.events(since=59000)[-1]["seq"]
    kinds, last = set(), 0
    while last < target:
        event = lazy.next_event()
        kinds.add(event["event"])
        if event["event"] == "gap":
            assert event["from"] == last + 1, (event, last)
            last = event["to"]
        else:
            assert event["seq"] == last + 1, (event, last)
            last = event["seq"]
    assert kinds >= {"gap", "order", "state"}
    lazy.close()
    busy.close()


def test_many_clients(host):
    s = host(A)
    clients = []
    for _ in range(300):
        try:
            clients.append(s.connect())
        except OSError:
            break
    served = 0
    for client in clients:
        try:
            served += client.call("version") is not None
        except (OSError, ValueError):
            pass
    assert served >= 50
    for client in clients:
        client.close()
    wait_for(lambda: s.call("version"), "an answer")


def test_pipelined_calls(host):
    s = host(A)
    connection = s.connect()
    numbers = [connection.send("status") for _ in range(200)]
    for number in numbers:
        assert connection.answer(number)["supervisor"]
    connection.close()


def test_client_that_leaves_while_it_waits(host):
    s = host("[service:slow]\ncommand = sleep 1000\nautostart = false\nstartsecs = 1h\n")
    for _ in range(20):
        connection = s.connect()
        connection.send("start", names=["slow"])
        connection.close()
    assert s.wait_state("slow:0", "starting")
    assert s.call("stop", names=["slow"])["ok"]
