"""reload and scale: what changes, what stays, and that a wrong file changes nothing."""
import os
import signal
import socket
import time

import pytest

from harness import Failed, alive, host, wait_for  # noqa: F401 (a fixture)

BASE = """
[service:a]
command = sleep 1000
startsecs = 0
[service:b]
command = sleep 1001
startsecs = 0
numprocs = 2
"""


def up(supervisor):
    def all_ready():
        rows = supervisor.instances()
        return all(r["ready"] for r in rows.values()) and rows
    return {name: row["pid"] for name, row in wait_for(all_ready, "all ready", 10).items()}


def changes(answer):
    return {row["service"]: row["change"] for row in answer["services"] if row["change"] != "same"}


def test_a_file_without_any_service_stops_nothing(host):
    s = host(BASE)
    before = up(s)
    s.write("")
    with pytest.raises(Failed) as refused:
        s.call("reload")
    assert "there is no service at all" in str(refused.value)
    assert up(s) == before


def test_errors_change_nothing_and_are_all_told(host):
    s = host(BASE)
    before = up(s)
    s.write(BASE + "[service:c]\ncomand = true\nstartsecs = soon\n[servce:d]\ncommand = x\n"
                   "[service:e]\ncommand = true\nrequires = nobody\n")
    for plan in (True, False):
        with pytest.raises(Failed) as refused:
            s.call("reload", plan=plan)
        text = "\n".join(refused.value.data["errors"])
        for word in ("comand", "soon", "servce", "nobody", "supervisor.ini:"):
            assert word in text, text
    assert up(s) == before
    os.unlink(s.config)
    with pytest.raises(Failed):
        s.call("reload")
    assert up(s) == before
    s.kill_core()  # the plan as loaded counts, not what is on disk
    assert up(s) == before


def test_plan_changes_nothing(host):
    s = host(BASE)
    before = up(s)
    s.write(BASE.replace("1000", "2000").replace("numprocs = 2", "numprocs = 3")
            + "[service:c]\ncommand = sleep 1\n")
    answer = s.call("reload", plan=True)
    assert not answer["applied"] and changes(answer)["a"] == "restart"
    assert changes(answer)["c"] == "added" and "b" in changes(answer)
    assert up(s) == before


def test_live_keys_do_not_restart(host):
    s = host(BASE)
    before = up(s)
    s.write(BASE.replace("startsecs = 0", "startsecs = 0\nstopwaitsecs = 3s\nbackoff_max = 5s\n"
                         "autorestart = false\nlive = exec:true\nlive_interval = 50ms"))
    answer = s.call("reload")
    assert answer["applied"] and set(changes(answer).values()) == {"live"}
    assert up(s) == before
    wait_for(lambda: s.instance("a:0")["health"] == "ok", "the new check")
    os.kill(before["a:0"], signal.SIGKILL)
    assert s.wait_state("a:0", "exited")


@pytest.mark.parametrize("old,new", [("sleep 1000", "sleep 2000"),
                                     ("startsecs = 0\n[service:b]",
                                      "startsecs = 0\nenvironment = A=1\n[service:b]")])
def test_restart_keys_restart_only_their_service(host, old, new):
    s = host(BASE)
    before = up(s)
    s.write(BASE.replace(old, new))
    assert changes(s.call("reload")) == {"a": "restart"}
    s.wait_instance("a:0", lambda row: row["ready"] and row["pid"] != before["a:0"])
    after = up(s)
    assert after["b:0"] == before["b:0"] and after["b:1"] == before["b:1"]
    assert not alive(before["a:0"])


def test_restart_of_all_instances_survives_the_core(host):
    """The core dies in the middle of the restarts that a reload has begun."""
    text = BASE.replace("numprocs = 2", "numprocs = 4\nrestart_mode = overlap").replace(
        "sleep 1001\nstartsecs = 0", "sleep 1001\nstartsecs = 300ms")
    s = host(text)
    before = up(s)
    s.write(text.replace("1001", "2001"))
    s.call("reload")
    s.kill_core()
    assert any(up_now["pid"] == before[name] for name, up_now in s.instances("b").items())
    for name in [n for n in before if n.startswith("b:")]:
        s.wait_instance(name, lambda row: row["ready"] and row["pid"] != before[name]
                        and not row.get("twin_pid"), "the new settings", 5)
    wait_for(lambda: "2001" in words_of(s, "b:3"), "sleep 2001")


def kept_plan(guardian):
    """The inode of the plan that the guardian keeps: another one is the commit of a reload."""
    folder = f"/proc/{guardian}/fd"
    for fd in os.listdir(folder):
        try:
            if os.readlink(f"{folder}/{fd}").startswith("/memfd:plan "):
                return os.stat(f"{folder}/{fd}").st_ino
        except FileNotFoundError:
            pass
    return None


def mark_of(pid):
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return [line for line in file.read().split(b"\0") if line.startswith(b"MARK=")]
    except OSError:
        return None


def test_a_kill_right_after_the_commit_loses_no_restart(host):
    """The plan is kept, the core dies before it has seen who runs with the one before."""
    # Many services give the core much to do after the commit, so that the kill comes in time.
    many = "".join(f"[service:x{i}]\ncommand = true\nautostart = no\nuser = root\n"
                   for i in range(300))
    text = (BASE + "environment = MARK=\"{}\"\nrestart_mode = overlap\n"
            "[service:gone]\ncommand = true\nautostart = no\nenvironment = MARK=\"{}\"\n" + many)
    s = host(text.format(0, 0))
    s.wait_ready("b:0")
    s.wait_ready("b:1")
    first = s.instance("a:0")["pid"]
    for number in range(1, 4):
        guardian, core, before = s.pid, s.core_pid, kept_plan(s.pid)
        assert before
        s.write(text.format(number, number))
        connection = s.connect()
        connection.send("reload")
        end = time.monotonic() + 20
        while kept_plan(guardian) == before:
            assert time.monotonic() < end
        os.kill(core, signal.SIGKILL)
        connection.close()

        def renewed():
            try:
                rows = s.instances("b")
            except OSError:
                return False
            return all(r["ready"] and mark_of(r["pid"]) == [b"MARK=%d" % number]
                       for r in rows.values())
        wait_for(renewed, "restarts with the new settings", 15)
    assert s.instance("a:0")["pid"] == first  # whose settings are what they were
    assert s.instance("gone:0")["state"] == "stopped"


def test_added_and_removed(host):
    s = host(BASE)
    before = up(s)
    s.write(BASE.split("[service:b]")[0] + "[service:c]\ncommand = sleep 1002\nstartsecs = 0\n")
    assert changes(s.call("reload")) == {"b": "removed", "c": "added"}
    wait_for(lambda: set(s.instances()) == {"a:0", "c:0"}, "the new set")
    after = up(s)
    assert after["a:0"] == before["a:0"]
    wait_for(lambda: not alive(before["b:0"]) and not alive(before["b:1"]), "their end")
    s.write(BASE)
    s.call("reload")
    assert up(s)["a:0"] == before["a:0"]


def test_removed_one_gets_its_own_post_stop(host):
    s = host(start=False)
    text = (f"[service:a]\ncommand = sleep 1000\nstartsecs = 0\npost_stop = touch {s.folder}/a\n"
            f"[service:z]\ncommand = sleep 1000\nstartsecs = 0\nuser = {os.geteuid()}\n"
            f"post_stop = touch {s.folder}/z\n")
    s.write(text)
    s.start()
    up(s)
    s.write(text.split("[service:z]")[0])
    s.call("reload")
    wait_for(lambda: os.path.exists(s.path("z")), "its post_stop", 5)
    assert not os.path.exists(s.path("a"))


def test_removed_one_while_the_core_dies(host):
    """It is on its way out, and still stopped by the next core."""
    s = host(start=False)
    slow = (f"[service:slow]\ncommand = sh -c \"trap '' TERM; echo >&5; exec 5>&-; "
            "while :; do sleep 0.05; done\"\nready = fd:5\nstopwaitsecs = 1s\n")
    s.write(BASE + slow)
    s.start()
    pid = up(s)["slow:0"]
    s.write(BASE)
    s.call("reload")
    s.kill_core()
    wait_for(lambda: not alive(pid), "its end", 15)
    assert "slow:0" not in s.instances()


def test_removed_and_back_before_it_has_gone(host):
    s = host(start=False)
    slow = ("[service:slow]\ncommand = sh -c \"trap 'sleep 0.3; exit 0' TERM; echo >&5; "
            "exec 5>&-; while :; do sleep 0.05; done\"\nready = fd:5\n")
    s.write(BASE + slow)
    s.start()
    pid = up(s)["slow:0"]
    s.write(BASE)
    s.call("reload")
    s.write(BASE + slow)
    s.call("reload")
    row = s.wait_instance("slow:0", lambda row: row["ready"] and row["pid"] != pid)
    assert not alive(pid) and alive(row["pid"])


def test_sockets_stay_open(host):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    text = f"[socket:web]\nlisten = 127.0.0.1:{port}\n" + BASE.replace(
        "[service:b]", "sockets = web\n[service:b]")
    s = host(text)
    up(s)
    with socket.create_connection(("127.0.0.1", port)) as waiting:  # in the queue of the socket
        inode = os.stat(f"/proc/{s.instance('a:0')['pid']}/fd/3").st_ino
        s.write(text.replace("1000", "2000"))
        before = s.instance("a:0")["pid"]
        s.call("reload")
        s.wait_instance("a:0", lambda row: row["ready"] and row["pid"] != before)
        s.kill_core()
        s.call("restart", names=["a"])
        pid = s.instance("a:0")["pid"]  # with startsecs = 0 it may not have reached its exec yet
        wait_for(lambda: os.stat(f"/proc/{pid}/fd/3").st_ino == inode, "the same socket", 5)
        waiting.send(b"x")
    s.write(BASE)
    s.call("reload")

    def closed():
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return False
        except OSError:
            return True
    wait_for(closed, "the end of the socket", 5)


def test_scale_survives_everything(host):
    s = host(BASE)
    before = up(s)
    s.call("scale", name="b", count=4)
    after = up(s)
    assert len(after) == 5 and before.items() <= after.items()
    s.call("scale", name="b", count=1)
    wait_for(lambda: set(s.instances()) == {"a:0", "b:0"}, "one b")
    assert up(s)["b:0"] == before["b:0"]
    wait_for(lambda: not any(alive(after[f"b:{n}"]) for n in (1, 2, 3)), "their end")
    s.call("scale", name="b", count=3)
    s.kill_core()
    assert set(up(s)) == {"a:0", "b:0", "b:1", "b:2"}
    s.call("reload")
    assert set(up(s)) == {"a:0", "b:0", "b:1", "b:2"}
    assert s.shutdown() == 0
    s.start()
    assert set(up(s)) == {"a:0", "b:0", "b:1", "b:2"}
    for bad in (-1, 1001, "3"):
        with pytest.raises(Failed):
            s.call("scale", name="b", count=bad)
    with pytest.raises(Failed):
        s.call("scale", name="nobody", count=1)
    s.call("scale", name="b", count=0)
    wait_for(lambda: set(s.instances()) == {"a:0"}, "none")


def test_hup_reloads(host):
    s = host(BASE)
    before = up(s)
    s.write("rubbish\n")
    s.process.send_signal(signal.SIGHUP)
    s.wait_event(lambda e: e["event"] == "reload-refused")
    assert up(s) == before
    s.write(BASE + "[service:c]\ncommand = sleep 1000\nstartsecs = 0\n")
    s.process.send_signal(signal.SIGHUP)
    wait_for(lambda: "c:0" in s.instances(), "the new service")


def words_of(s, name):
    """What it runs; for a moment after the clone, which startsecs = 0 counts from, it is us."""
    with open(f"/proc/{s.instance(name)['pid']}/cmdline") as file:
        return file.read()


def test_undo_goes_back_and_forth(host):
    s = host(BASE)
    first = up(s)
    assert "no reload to undo" in s.run("reload", "--undo", code=None).stderr
    s.write(BASE.replace("sleep 1000", "sleep 2000") + "[service:c]\ncommand = sleep 3000\n"
            "startsecs = 0\n")
    s.call("reload")
    s.wait_instance("a:0", lambda row: row["ready"] and row["pid"] != first["a:0"])
    second = up(s)
    s.run("scale", "b=3")  # is no reload, and stays
    s.kill_core()
    out = s.run("reload", "--undo", "--plan").stdout
    assert "would restart" in out and "would be stopped and removed" in out
    assert up(s)["a:0"] == second["a:0"]
    s.write("[service:wrong")  # what is on the disk does not matter
    answer = s.call("reload", undo=True)
    assert changes(answer) == {"a": "restart", "c": "removed"}
    s.wait_instance("a:0", lambda row: row["ready"] and row["pid"] != second["a:0"])
    wait_for(lambda: "c:0" not in s.instances(), "the end of c")
    wait_for(lambda: "1000" in words_of(s, "a:0"), "sleep 1000")
    now = up(s)
    assert sorted(now) == ["a:0", "b:0", "b:1", "b:2"] and now["b:0"] == first["b:0"]
    s.kill_core()
    assert up(s) == now
    s.call("reload", undo=True)  # of the undo
    s.wait_ready("c:0")
    s.wait_instance("a:0", lambda row: row["ready"] and row["pid"] != now["a:0"])
    wait_for(lambda: "2000" in words_of(s, "a:0"), "sleep 2000")
