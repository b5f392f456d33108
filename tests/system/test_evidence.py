"""Before a process is killed for not leaving, or for failing its checks, what it does is noted."""
import os
import signal

import pytest

from harness import host, wait_for  # noqa: F401 (a fixture)

DEAF = ("[service:deaf]\ncommand = sh deaf.sh\ndirectory = {folder}\nready = fd:5\n"
        "stopwaitsecs = 200ms\n")
SCRIPT = ("trap '' TERM\nexec 7> held-open\nsetsid sh -c 'exec sleep 1000' 7>&- &\n"
          "echo $! > child\necho >&5\nwhile :; do sleep 1000; done\n")


def evidence(supervisor):
    return [event for event in supervisor.events() if event["event"] == "evidence"]


@pytest.mark.parametrize("cgroups", ["auto", "off"])
def test_a_stop_that_took_too_long(host, cgroups):
    supervisor = host(start=False)
    with open(supervisor.path("deaf.sh"), "w") as file:
        file.write(SCRIPT)
    supervisor.write(DEAF.format(folder=supervisor.folder), settings=f"cgroups = {cgroups}\n")
    supervisor.start()
    pid = supervisor.wait_ready("deaf:0")["pid"]
    supervisor.call("stop", names=["deaf"])
    found = evidence(supervisor)
    assert [event["before"] for event in found] == ["kill"]
    assert "did not stop within" in found[0]["why"]
    rows = {row["pid"]: row for row in found[0]["processes"]}
    assert found[0]["processes"][0]["pid"] == pid
    assert rows[pid]["stop_signal"] == "ignored" and rows[pid]["comm"] == "sh"
    assert rows[pid]["state"] and rows[pid]["fds"] >= 4
    assert any(file["path"] == supervisor.path("held-open") for file in rows[pid]["files"])
    assert int(supervisor.text_of("child")) in rows  # in another session, found all the same
    # Kept by the recorder, told by why, after a crash of the core too.
    supervisor.kill_core()
    said = supervisor.run("why", "deaf").stdout
    assert "IGNORES the stop signal" in said and supervisor.path("held-open") in said


def test_a_process_that_is_stopped_still(host):
    """SIGSTOP is as deaf as it gets; the next start has evidence of its own again."""
    supervisor = host("[service:web]\ncommand = sleep 1000\nstartsecs = 0\nstopwaitsecs = 100ms\n")
    for _ in range(2):
        pid = supervisor.wait_ready("web:0")["pid"]
        os.kill(pid, signal.SIGSTOP)
        wait_for(lambda: "\nState:\tT" in open(f"/proc/{pid}/status").read(), "standing still")
        supervisor.call("restart", names=["web"])
    found = evidence(supervisor)
    assert len(found) == 2 and found[0]["processes"][0]["state"].startswith("T")
    assert found[0]["processes"][0]["stop_signal_pending"]


def test_a_failed_liveness_check(host):
    supervisor = host(start=False)
    supervisor.write("[service:sick]\ncommand = sleep 1000\nstartsecs = 0\n"
                     f"live = exec:test -e {supervisor.path('well')}\nlive_interval = 50ms\n"
                     "live_threshold = 2\n")
    open(supervisor.path("well"), "w").close()
    supervisor.start()
    pid = supervisor.wait_ready("sick:0")["pid"]
    os.unlink(supervisor.path("well"))
    wait_for(lambda: evidence(supervisor), "evidence")
    found = evidence(supervisor)[0]
    assert found["before"] == "stop" and found["processes"][0]["pid"] == pid
    assert found["processes"][0]["stop_signal"] == "default"
    assert found["why"]
    open(supervisor.path("well"), "w").close()


def test_many_at_once_are_bounded(host):
    """Fifty that are killed together do not push everything else out of the recorder."""
    supervisor = host("[service:deaf]\ncommand = sh -c 'trap \"\" TERM; echo >&5; "
                      "while :; do sleep 1000; done'\nready = fd:5\nnumprocs = 50\n"
                      "stopwaitsecs = 50ms\n")
    for number in range(50):
        supervisor.wait_ready(f"deaf:{number}")
    supervisor.call("stop", names=["deaf"])
    assert 0 < len(evidence(supervisor)) <= 20 + 20  # a window of ten seconds may end meanwhile
