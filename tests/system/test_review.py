"""Orders, reloads and replacements that meet in the middle of one another."""
import os

from harness import host, wait_for  # noqa: F401 (a fixture)

# Ready 0.3 s after its start; takes its time to leave when `slow` is there.
SLOW = """#!/bin/sh
trap 'test -e FOLDER/slow && { while test -e FOLDER/slow; do sleep 0.05; done; }; exit 0' TERM
sleep 0.3
echo >&4
while :; do sleep 0.05; done
"""


def make(host, text, settings=""):
    supervisor = host(start=False)
    script = supervisor.path("slow.sh")
    with open(script, "w") as file:
        file.write(SLOW.replace("FOLDER", supervisor.folder))
    supervisor.write(text.replace("SCRIPT", f"/bin/sh {script}"), settings)
    return supervisor.start()


def rewrite(supervisor, text):
    supervisor.write(text.replace("SCRIPT", f"/bin/sh {supervisor.path('slow.sh')}"))
    return supervisor.call("reload")


WEB = """[service:web]
command = SCRIPT
ready = fd:4
restart_mode = overlap
"""


def test_reload_of_a_service_and_of_what_it_needs(host):
    """The twin waits for its need, too, and is told when that is there."""
    text = WEB + "requires = db\n[service:db]\ncommand = SCRIPT\nready = fd:4\n"
    supervisor = make(host, text)
    before = supervisor.wait_ready("web:0")["pid"]
    rewrite(supervisor, text.replace("[service:db]", "environment = A=1\n[service:db]")
            + "environment = A=1\n")
    supervisor.wait_instance("web:0", lambda row: row["ready"] and row["pid"] != before
                             and not row.get("twin_pid"), "its restart", 10)


def test_start_takes_a_stop_back(host):
    """Whoever waits for the stop is answered, and later stops do not wait for it."""
    supervisor = make(host, WEB.replace("overlap", "stop-first") + "requires = db\n"
                      "[service:db]\ncommand = sleep 1000\nstartsecs = 0\n")
    supervisor.wait_ready("web:0")
    open(supervisor.path("slow"), "w").close()
    connection = supervisor.connect(10)
    stop = connection.send("stop", names=["web"])
    supervisor.wait_state("web:0", "stopping")
    other = supervisor.connect(10)
    start = other.send("start", names=["web"])
    assert not connection.answer(stop)["ok"]
    os.unlink(supervisor.path("slow"))
    assert other.answer(start)["ok"]
    answer = supervisor.connect(10).call("stop", names=["db"])
    assert answer["ok"], answer


def test_second_overlap_while_the_first_one_leaves(host):
    """The process of before the first restart still drains: no stop first, then."""
    supervisor = make(host, WEB)
    first = supervisor.wait_ready("web:0")["pid"]
    open(supervisor.path("slow"), "w").close()
    assert supervisor.call("restart", names=["web"])["ok"]
    pid = supervisor.instance("web:0")["pid"]
    seq = supervisor.call("events")["next"]
    connection = supervisor.connect(20)
    restart = connection.send("restart", names=["web"])
    supervisor.wait_event(lambda e: e["event"] == "order", since=seq)
    row = supervisor.instance("web:0")
    assert (row["state"], row["pid"], row["twin_pid"]) == ("running", pid, first)  # and no third
    os.unlink(supervisor.path("slow"))
    assert connection.answer(restart)["ok"]
    row = supervisor.wait_instance("web:0", lambda row: not row.get("twin_pid"))
    assert row["pid"] != pid
    states = [e for e in supervisor.events(seq) if e["event"] == "state" and not e.get("twin")]
    assert not [e for e in states if e["to"] in ("waiting", "starting")], states


def test_stop_of_one_that_waits_for_its_turn(host):
    supervisor = make(host, WEB + "numprocs = 2\n")
    supervisor.wait_ready("web:0")
    supervisor.wait_ready("web:1")
    connection = supervisor.connect(15)
    restart = connection.send("restart", names=["web"])
    supervisor.wait_instance("web:0", lambda row: row.get("twin_pid"), "a twin")
    assert supervisor.call("stop", names=["web:1"])["ok"]
    answer = connection.answer(restart)
    assert [r["ok"] for r in answer["results"]] == [True, False], answer
    supervisor.wait_instance("web:0", lambda row: row["ready"] and not row.get("twin_pid"))
    assert supervisor.instance("web:1")["state"] == "stopped"  # its turn does not come any more


def test_reload_in_the_middle_of_an_overlapped_restart(host):
    supervisor = make(host, WEB)
    supervisor.wait_ready("web:0")
    connection = supervisor.connect(20)
    restart = connection.send("restart", names=["web"])
    twin = supervisor.wait_instance("web:0", lambda row: row.get("twin_pid"), "a twin")["twin_pid"]
    rewrite(supervisor, WEB + "environment = LATER=1\n")
    connection.answer(restart)
    row = supervisor.wait_instance("web:0", lambda row: row["ready"] and not row.get("twin_pid"))
    assert row["pid"] != twin
    with open(f"/proc/{row['pid']}/environ", "rb") as file:
        assert b"LATER=1" in file.read()


def test_reload_asks_those_that_wait(host):
    text = "[service:web]\ncommand = sleep 1000\nstartsecs = 0\nrequires = db\n" \
           "[service:db]\ncommand = sh -c 'exit 3'\nnumprocs = 1\nautorestart = false\n"
    supervisor = make(host, text)
    supervisor.wait_state("web:0", "waiting")
    supervisor.call("scale", name="db", count=0)
    supervisor.wait_state("web:0", "running", 10)
