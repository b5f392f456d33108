"""No request is lost while services and cores come and go.

What is promised, and counted here, for a service that drains on TERM (examples/hello) behind a
[socket:] or with a port of its own per replica:

- restarts, stop-first and overlapped, and kills of the core: 0 refused, 0 reset, 0 cut short;
- the service itself is killed (SIGKILL): 0 refused, since the socket is the supervisor's and what
  has not been accepted waits for the next process.  What the killed process had accepted and not
  answered yet is lost by nature; those are counted apart, and are no more than the connections that
  were open at the kills.

SLOW_TESTS=1: 100 restarts, 20 kills of the core and 20 of the service for each way; else fewer.
"""
import os
import re
import signal
import subprocess

import pytest

from harness import ROOT, host, wait_for  # noqa: F401 (a fixture)
from test_overlap import free_port
from zoo import hello

SLOW = os.environ.get("SLOW_TESTS") == "1"
RESTARTS, CORES, KILLS = (100, 20, 20) if SLOW else (12, 4, 4)
THREADS = 4  # of each kind: fresh connections and kept ones
LINE = re.compile(r"(\d+) ok, (\d+) failed \((\d+) refused, (\d+) reset, (\d+) cut short, "
                  r"(\d+) other\)")
AGAIN = re.compile(r"(\d+) asked again after an idle close \((\d+) of them a reset\)")

WAYS = {
    # One process, stopped first: connections queue in the socket meanwhile.
    "queue": "restart_mode = stop-first\nready = notify\n",
    # The new process beside the old one, checked by what it says, or by its address.
    "overlap": "restart_mode = overlap\nready = notify\n",
    "overlap-http": "restart_mode = overlap\nready = http://127.0.0.1:{port}/health\n"
                    "ready_interval = 100ms\n",
    # Replicas, one after another.
    "replicas": "restart_mode = overlap\nready = notify\nnumprocs = 3\n",
}


class Hammer:
    def __init__(self, supervisor, port):
        program = os.path.join(ROOT, os.environ.get("B", "build/release"), "examples/demo/hammer")
        self.process = subprocess.Popen([program, "-n", str(THREADS), str(port)],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        text=True, env=supervisor.environment)

    def end(self):
        """{"ok": ..., "refused": ..., ...} and the line itself."""
        self.process.terminate()
        text = self.process.communicate(timeout=30)[0]
        names = ["ok", "failed", "refused", "reset", "cut", "other"]
        counts = dict(zip(names, map(int, LINE.search(text).groups())))
        again = AGAIN.search(text)
        counts["again"], counts["idle_reset"] = map(int, again.groups()) if again else (0, 0)
        return counts, text.strip()


def settled(supervisor):
    def ready():
        try:
            rows = supervisor.instances("web").values()
        except OSError:
            return False
        return all(r["ready"] and not r.get("twin_pid") for r in rows)
    wait_for(ready, "all ready and nobody leaving")


def restarts(supervisor):
    for number in range(RESTARTS):
        answer = supervisor.call("restart", names=["web"])
        assert answer["ok"], answer
        if number % (RESTARTS // CORES) == 0:
            supervisor.kill_core()
    settled(supervisor)


def kills(supervisor):
    for _ in range(KILLS):
        settled(supervisor)
        for name, row in supervisor.instances("web").items():
            os.kill(row["pid"], signal.SIGKILL)
            # Until the core has seen it, status still tells of the one that is dead.
            supervisor.wait_instance(name, lambda now: now["ready"] and now["pid"] != row["pid"])
    settled(supervisor)


@pytest.mark.parametrize("way", WAYS)
def test_nothing_is_lost(host, way, capsys):
    port = free_port()
    supervisor = host(f"[socket:web]\nlisten = 127.0.0.1:{port}\n"
                      f"[service:web]\ncommand = {hello()}\nsockets = web\nbackoff_max = 100ms\n"
                      + WAYS[way].format(port=port))
    settled(supervisor)
    instances = len(supervisor.instances("web"))

    hammer = Hammer(supervisor, port)
    restarts(supervisor)
    counts, text = hammer.end()
    with capsys.disabled():
        print(f"\n{way}: {RESTARTS} restarts of {instances}, {CORES} kills of the core: {text}")
    assert counts["ok"] > 20 * RESTARTS, text
    assert counts["failed"] == counts["idle_reset"] == 0, text

    hammer = Hammer(supervisor, port)
    kills(supervisor)
    counts, text = hammer.end()
    with capsys.disabled():
        print(f"{way}: {KILLS} kills of each of {instances}: {text}")
    assert counts["ok"] > KILLS, text
    assert counts["refused"] == counts["other"] == 0, text
    lost = counts["reset"] + counts["cut"]
    assert lost + counts["again"] <= KILLS * instances * THREADS * 2, text
