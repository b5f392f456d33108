"""Clients that flood the control socket, that never read, that say half a word, a thousand at once.

The supervisor goes on with its work meanwhile: services are restarted, others are answered.
"""
import json
import os
import random
import resource
import signal
import socket
import time

import pytest
from form import rounds
from harness import SANITIZED
from herd import Broken, Herd

MANY = 1000
pytestmark = pytest.mark.xdist_group("chaos_clients")  # they share a supervisor


@pytest.fixture(scope="module")
def herd():
    made = Herd(means=None)
    yield made
    try:
        made.finish()
    finally:
        made.close()


@pytest.fixture(autouse=True)
def descriptors():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4 * MANY), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def connect(herd, timeout=0.0):
    client = socket.socket(socket.AF_UNIX)
    client.connect(herd.supervisor.socket)  # waits where there is no room in the backlog
    client.settimeout(timeout)
    return client


def request(method, number=1, **params):
    return json.dumps({"jsonrpc": "2.0", "id": number, "method": method,
                       "params": params}).encode() + b"\n"


def push(client, data):
    """As much as it takes now; False when it is closed."""
    try:
        while data:
            data = data[client.send(data):]
    except BlockingIOError:
        return True
    except OSError:
        return False
    return True


def work_goes_on(herd):
    """A service dies and is back, an order is carried out, a question answered, in time."""
    begin = time.monotonic()
    before = herd.patient(lambda: herd.pids("after:0")["after:0"], "an answer")
    os.kill(before, signal.SIGUSR2)
    herd.patient(lambda: herd.supervisor.call("restart", names=["plain"]), "an order")
    herd.patient(lambda: back(herd, before), "after:0 is back")
    took = time.monotonic() - begin
    assert took < 5, f"a restart took {took:.1f} s"


def back(herd, before):
    row = herd.instances()["after:0"]
    if row["pid"] in (None, before) or not row["ready"]:
        raise Broken(row)


def finished(herd, tally, what, count=1):
    herd.check()
    tally[what] += count


def descriptors_of_core(herd):
    return herd.descriptors(herd.status()["supervisor"]["core_pid"])


def back_to(herd, few):
    """What the clients had taken was given back."""
    def fact():
        now = descriptors_of_core(herd)
        if now > few + 2:
            raise Broken(f"{now} descriptors, {few} before")
    herd.patient(fact, "descriptors of the core")


def test_flood(herd, tally):
    """Requests without end from several, who read as fast as they can: nothing of it is lost."""
    clients = [connect(herd) for _ in range(4)]
    burst = b"".join(request("status", n, names=["all"]) for n in range(64))
    answers, end = 0, time.monotonic() + 1.5
    worked = False
    while time.monotonic() < end or not worked:
        for client in clients:
            push(client, burst)
            try:
                answers += client.recv(1 << 20).count(b"\n")
            except OSError:
                pass
        if not worked:
            work_goes_on(herd)
            worked = True
    for client in clients:
        client.close()
    assert answers > 64
    finished(herd, tally, "requests answered in a flood", answers)


def test_never_reads(herd, tally):
    """It asks and asks and never reads; it has a limit, the supervisor's memory does not pay."""
    few = descriptors_of_core(herd)
    clients = [connect(herd) for _ in range(20)]
    burst = request("status", names=["all"]) * 256
    for client in clients:
        push(client, request("events", since=1))
        for _ in range(4):
            push(client, burst)
    work_goes_on(herd)
    core = herd.status()["supervisor"]["core_pid"]
    with open(f"/proc/{core}/status") as file:
        kilobytes = [int(line.split()[1]) for line in file if line.startswith("VmRSS")][0]
    assert SANITIZED or kilobytes < 256 * 1024, f"the core has {kilobytes} KB"
    for client in clients:
        client.close()
    back_to(herd, few)
    finished(herd, tally, "clients that never read", len(clients))


def test_subscriber_that_sleeps(herd, tally):
    """Wakes up later: gets what it missed, or is told of the gap; never a silent hole."""
    client = connect(herd, timeout=20)
    client.sendall(request("events", since=herd.next_event))
    for _ in range(15):
        herd.supervisor.call("restart", names=["plain", "after", "probed"])
    last = herd.supervisor.call("events", since=0)["next"] - 1
    wanted, file = herd.next_event, client.makefile("rb")
    while wanted <= last:
        message = json.loads(file.readline())
        if "method" not in message:
            continue
        event = message["params"]
        if event["event"] == "gap":
            assert event["from"] == wanted
            wanted = event["to"] + 1
        else:
            assert event["seq"] == wanted
            wanted += 1
    file.close()
    client.close()
    finished(herd, tally, "subscribers that slept")


HALVES = (b"", b"{", b'{"jsonrpc":"2.0","id":1,"method":"status"', b"\n", b"\0" * 100, b"[" * 10000,
          b'{"jsonrpc":"2.0","id":1,"method":"' + b"x" * 100000, b"\xff\xfe{}\n", b"null\n", b"[]\n",
          b'{"jsonrpc":"2.0","id":1}\n', b'{"jsonrpc":"2.0","method":"status","params":7}\n',
          b'{"jsonrpc":"2.0","id":{},"method":[],"params":{}}\n', b"x" * 2000000,
          b'{"jsonrpc":"2.0","id":1,"method":"status","params":{"names":[' + b"[" * 5000 + b"\n",
          b'{"jsonrpc":"2.0","id":1e999,"method":"scale","params":{"name":"rock","count":-1}}\n')


def test_half_words(herd, tally, seed):
    few, chance = descriptors_of_core(herd), random.Random(seed)
    count, open_ones = rounds(200), []
    for number in range(count):
        client = connect(herd)
        data = HALVES[number % len(HALVES)]
        if number >= len(HALVES):  # and whole ones with bytes changed
            data = bytearray(request("restart", names=["plain"]) if chance.random() < 0.5 else data)
            for _ in range(chance.randint(1, 4)):
                if data:
                    data[chance.randrange(len(data))] = chance.randrange(256)
        push(client, bytes(data))
        if chance.random() < 0.5:
            client.close()
        else:
            open_ones.append(client)
        if len(open_ones) > 50:
            open_ones.pop(0).close()
    work_goes_on(herd)
    for client in open_ones:
        client.close()
    back_to(herd, few)
    finished(herd, tally, "half and broken requests", count)


def test_a_thousand(herd, tally):
    """All connected at once, some silent, some asking; whoever comes next is answered or told."""
    few = descriptors_of_core(herd)
    clients = []
    for number in range(MANY):
        try:
            client = connect(herd)
        except OSError:
            break  # it may refuse
        clients.append(client)
        if number % 3 == 0:
            push(client, request("version"))
    for client in clients[::2]:
        client.close()
    clients = clients[1::2]
    for client in clients[:len(clients) // 2]:
        client.close()
    work_goes_on(herd)
    for client in clients:
        client.close()
    back_to(herd, few)
    finished(herd, tally, "clients at once", MANY)
