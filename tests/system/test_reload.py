"""reload and scale: what changes, what stays, and that a wrong file changes nothing."""
import os
import re
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


def test_warnings_reach_who_reloads(host):
    """As `check` says them: whoever edits and reloads may not have asked it."""
    s = host(BASE)
    s.write(BASE + "schedule = @daily\n")
    for words in (("--plan",), ()):
        told = s.run("reload", *words).stderr
        assert re.search(r"warning: \S+:\d+: \[service:b\] schedule: has no effect without", told)
    assert s.run("reload", "--json").stderr == ""


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


def test_a_scale_that_cannot_be_kept_holds(host):
    s = host("[service:web]\ncommand = sleep 1000\n")
    os.mkdir(s.path("state", "scale.json"))  # in the way
    done = s.run("scale", "web=3")
    assert done.stdout == "web: 3 instances\n" and "scale.json" in done.stderr
    assert "the next start of the supervisor will not know of it" in done.stderr
    assert sorted(s.instances()) == ["web:0", "web:1", "web:2"]
    assert s.wait_event(lambda event: event["event"] == "scale")["count"] == 3
    os.rmdir(s.path("state", "scale.json"))
    s.run("scale", "web=2")
    assert s.text_of("state", "scale.json") == '{"web":2}'


def test_scales_move_with_state_dir(host):
    text = "[service:web]\ncommand = sleep 1000\n"
    s = host(text)
    s.run("scale", "web=2")
    s.write(text)
    with open(s.config) as file:
        moved = file.read().replace("/state\n", "/elsewhere\n")
    with open(s.config, "w") as file:
        file.write(moved)
    assert s.call("reload")["problems"] == []
    assert s.shutdown() == 0
    s.start()
    assert sorted(s.instances()) == ["web:0", "web:1"]


def test_a_log_that_is_a_fifo_holds_nobody(host):
    s = host("[service:web]\ncommand = sleep 1000\n")
    os.mkfifo(s.path("fifo"))
    s.write("[service:web]\ncommand = sleep 1000\n", f"log = {s.path('fifo')}\n")
    assert "fifo cannot be opened" in s.call("reload")["problems"][0]


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
    """What it runs; for a moment after the clone, which startsecs = 0 counts from, it is us, and
    between two processes nothing."""
    try:
        with open(f"/proc/{s.instance(name)['pid']}/cmdline") as file:
            return file.read()
    except (FileNotFoundError, ProcessLookupError):
        return ""


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
    assert "restarts" in out and "is stopped and removed" in out
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


# --- three ways: the files, the plan in force, and what runs ---

def fates(answer):
    return {i["id"]: i["fate"] for row in answer["services"] for i in row["instances"]}


def test_the_plan_tells_what_happens_to_each_instance(host):
    s = host(BASE + "[service:c]\ncommand = sleep 1002\nstartsecs = 0\nnumprocs = 3\n"
             "[service:gone]\ncommand = sleep 1\nautostart = no\n"
             "[service:leaves]\ncommand = sleep 1003\nstartsecs = 0\n")
    for name in ("a:0", "b:0", "b:1", "c:0", "c:1", "c:2", "leaves:0"):
        s.wait_ready(name)
    s.call("stop", names=["a", "b:1"])
    before = {name: row["pid"] for name, row in s.instances().items()}
    s.write(BASE.replace("sleep 100", "sleep 200") + "[service:c]\ncommand = sleep 1002\n"
            "startsecs = 0\nnumprocs = 2\npriority = 3\n[service:new]\ncommand = sleep 5\n"
            "startsecs = 0\n[service:idle]\ncommand = sleep 5\nautostart = no\n")
    expected = {"a:0": "later", "b:0": "restarts", "b:1": "later", "c:0": "live", "c:1": "live",
                "c:2": "stops", "gone:0": "removed", "leaves:0": "stops", "new:0": "starts",
                "idle:0": "added"}
    plan = s.call("reload", plan=True)
    assert fates(plan) == expected and plan["interrupts"] == 3
    assert {name: row["pid"] for name, row in s.instances().items()} == before
    answer = s.call("reload")
    assert fates(answer) == expected and answer["interrupts"] == 3
    wait_for(lambda: not any(alive(before[n]) for n in ("b:0", "c:2", "leaves:0")), "their end")
    s.wait_ready("new:0")
    s.wait_ready("b:0")
    rows = s.instances()
    assert rows["c:0"]["pid"] == before["c:0"] and rows["c:1"]["pid"] == before["c:1"]
    for name in ("a:0", "b:1"):  # an operator has stopped them, and a reload starts nothing
        assert rows[name]["state"] == "stopped"
    s.call("start", names=["a"])
    s.wait_ready("a:0")
    wait_for(lambda: "2000" in words_of(s, "a:0"), "what it applies then")


def test_numprocs_in_the_files_does_not_undo_a_scale(host):
    s = host(BASE)
    before = up(s)
    s.run("scale", "b=1")
    s.write(BASE.replace("numprocs = 2", "numprocs = 4"))
    out = s.run("reload").stdout
    assert "stays as it is" in out and '"supervisor scale" has set it to 1' in out, out
    assert up(s)["b:0"] == before["b:0"] and "b:1" not in s.instances()
    assert "nothing has changed" in s.run("reload").stdout


def test_a_kill_at_the_commit_of_no_restart_restarts_nobody(host):
    many = "".join(f"[service:x{i}]\ncommand = true\nautostart = no\n" for i in range(300))
    text = BASE + "environment = MARK=\"{}\"\n" + many
    s = host(text.format(0))
    before = up_of(s, "a", "b")
    for number in range(1, 4):
        guardian, core, kept = s.pid, s.core_pid, kept_plan(s.pid)
        s.write(text.format(number))
        connection = s.connect()
        connection.send("reload", no_restart=True)
        end = time.monotonic() + 20
        while kept_plan(guardian) == kept:
            assert time.monotonic() < end
        os.kill(core, signal.SIGKILL)
        connection.close()
        s.wait_up()
        wait_for(lambda: s.core_pid != core, "another core")
        assert up_of(s, "a", "b") == before
        assert s.instance("b:0")["outdated"]


def test_no_restart_leaves_what_runs_until_it_is_asked(host):
    s = host(BASE)
    before = up(s)
    s.write(BASE.replace("1000", "2000").replace("startsecs = 0\nnum", "stopwaitsecs = 7\n"
                                                 "startsecs = 0\nnum"))
    assert fates(s.call("reload", no_restart=True)) == {"a:0": "left", "b:0": "live", "b:1": "live"}
    assert up(s) == before
    s.kill_core()  # the next one leaves it too
    assert up(s) == before and s.instance("a:0")["outdated"]
    assert "runs with older settings" in s.run("status").stdout
    s.run("scale", "b=3")
    assert s.instance("a:0")["pid"] == before["a:0"]
    plan = s.call("reload", plan=True)
    assert fates(plan) == {"a:0": "restarts"}
    assert "settings of before an earlier reload" in str(plan)
    s.call("restart", names=["a"])
    row = s.wait_ready("a:0")
    assert row["pid"] != before["a:0"] and "outdated" not in row
    wait_for(lambda: "2000" in words_of(s, "a:0"), "sleep 2000")
    assert fates(s.call("reload", plan=True)) == {}


def test_a_reload_catches_up_with_what_was_left(host):
    s = host(BASE)
    before = up(s)
    s.write(BASE.replace("1000", "2000"))
    s.call("reload", no_restart=True)
    assert fates(s.call("reload")) == {"a:0": "restarts"}
    s.wait_instance("a:0", lambda row: row["ready"] and row["pid"] != before["a:0"])
    assert fates(s.call("reload", plan=True)) == {}


def test_a_reload_that_failed_is_told_and_tried_again(host):
    """An overlapped restart that never becomes ready leaves the old process; it is not forgotten."""
    text = ("[service:a]\ncommand = sleep 1000\nrestart_mode = overlap\nready_timeout = 300ms\n"
            "ready = {}\nenvironment = A={}\n")
    s = host(text.format("exec:true", 1))
    before = up(s)
    s.write(text.format("exec:false", 2))
    answer = s.call("reload")
    assert fates(answer) == {"a:0": "restarts"} and answer["interrupts"] == 0  # it overlaps
    s.wait_event(lambda e: e["event"] == "state" and e.get("twin") and e["to"] == "failed")
    wait_for(lambda: "twin_pid" not in s.instance("a:0"), "the end of the trial")
    assert s.instance("a:0")["pid"] == before["a:0"] and s.instance("a:0")["outdated"]
    s.kill_core()  # tried once is enough for a core that only takes over
    assert s.instance("a:0")["pid"] == before["a:0"]
    s.write(text.format("exec:true", 2))
    assert re.search(r"not be interrupted:\n  a +is replaced, the new one first",
                     s.run("reload", "--plan").stdout)
    assert fates(s.call("reload")) == {"a:0": "restarts"}
    s.wait_instance("a:0", lambda row: row["ready"] and row["pid"] != before["a:0"]
                    and "twin_pid" not in row)


def test_a_reload_without_changes_keeps_what_can_be_undone(host):
    s = host(BASE)
    first = up(s)
    s.write(BASE.replace("1000", "2000"))
    s.call("reload")
    s.wait_instance("a:0", lambda row: row["ready"] and row["pid"] != first["a:0"])
    s.call("reload")  # as logrotate has it done
    s.process.send_signal(signal.SIGHUP)
    s.wait_event(lambda e: e["event"] == "reload" and not e["services"])
    assert changes(s.call("reload", undo=True)) == {"a": "restart"}
    wait_for(lambda: "1000" in words_of(s, "a:0"), "sleep 1000")


def test_contents_of_environment_file_count(host):
    s = host(start=False)
    file = s.path("variables")

    def put(text):
        with open(file, "w") as out:
            out.write(text)
    put("A=1\nB=2\n")
    s.write(BASE + f"environment_file = {file}\n[service:c]\ncommand = sleep 1\nautostart = no\n"
            f"environment_file = {file}\n")
    s.start()
    before = up_of(s, "a", "b")
    put("# the same in other words\nB='2'\nA=1\n")
    assert fates(s.call("reload")) == {}
    put("A=1\nB=3\n")
    plan = s.call("reload", plan=True)
    assert fates(plan) == {"b:0": "restarts", "b:1": "restarts"}
    assert "contents of environment_file" in str(plan)
    assert fates(s.call("reload", no_restart=True)) == {"b:0": "left", "b:1": "left"}
    assert up_of(s, "a", "b") == before
    s.call("reload")
    for name in ("b:0", "b:1"):
        s.wait_instance(name, lambda row: row["ready"] and row["pid"] != before[name])
    assert s.instance("a:0")["pid"] == before["a:0"]
    assert fates(s.call("reload")) == {}
    os.unlink(file)  # what runs goes on, and the trouble is told
    answer = s.call("reload")
    assert fates(answer) == {} and "variables" in str(answer["problems"])


def up_of(s, *names):
    def all_ready():
        rows = s.instances(*names)
        return all(r["ready"] for r in rows.values()) and rows
    return {name: row["pid"] for name, row in wait_for(all_ready, "all ready", 10).items()}


READER = """import os, signal, socket, sys, time
def say(*words):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.sendto("\\n".join(words).encode(), os.environ["NOTIFY_SOCKET"])
def reread(*_):
    if "quiet" in sys.argv:
        return
    say("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
    open("%(folder)s/reading", "a").write("x")
    while os.path.exists("%(folder)s/hold"):
        time.sleep(0.01)
    if "die" in sys.argv:
        os._exit(3)
    say("READY=1")
signal.signal(signal.SIGHUP, reread)
say("READY=1")
while True:
    time.sleep(1000)
"""


def reader(s, *words, more=""):
    with open(s.path("reader.py"), "w") as file:
        file.write(READER % {"folder": s.folder})
    return (f"[service:r]\ncommand = /usr/bin/python3 {s.path('reader.py')} {' '.join(words)}\n"
            f"ready = notify\nreload_signal = HUP\n{more}")


def test_reload_of_a_service_waits_until_it_says_so(host):
    s = host(start=False)
    s.write(reader(s))
    s.start()
    pid = s.wait_ready("r:0")["pid"]
    open(s.path("hold"), "w").close()
    waiting = s.connect()
    number = waiting.send("service.reload", names=["r"])
    wait_for(lambda: s.text_of("reading") == "x", "the reading")
    wait_for(lambda: s.instance("r:0").get("reloading"), "RELOADING=1")
    os.unlink(s.path("hold"))
    answer = waiting.answer(number)
    assert answer["ok"] and answer["results"][0]["reason"] is None
    assert s.instance("r:0")["pid"] == pid and "reloading" not in s.instance("r:0")
    assert s.run("reload", "r").stdout == "r:0 has read its files again\n"
    assert s.text_of("reading") == "xx"
    open(s.path("hold"), "w").close()
    assert s.run("reload", "--no-wait", "r").stdout == "r:0: reload ordered, is running\n"
    os.unlink(s.path("hold"))
    assert any(e["event"] == "order" and e["order"] == "reload" for e in s.events())


def test_reload_of_a_service_that_fails_says_so(host):
    s = host(start=False)
    s.write(reader(s, "die", more="ready_timeout = 700ms\n"))
    s.start()
    s.wait_ready("r:0")
    open(s.path("hold"), "w").close()
    done = s.run("reload", "r", code=1)
    assert "READY=1 did not come within ready_timeout" in done.stderr
    os.unlink(s.path("hold"))
    s.wait_instance("r:0", lambda row: row["restarts"] == 1 and row["ready"])
    done = s.run("reload", "r", code=1)
    assert "it ended meanwhile" in done.stderr
    s.call("stop", names=["r"])
    assert "does not run" in s.run("reload", "r", code=1).stderr


def test_reload_of_a_service_that_says_nothing(host):
    s = host(start=False)
    s.write(reader(s, "quiet"))
    s.start()
    s.wait_ready("r:0")
    assert s.run("reload", "r").stdout == "r:0 was sent HUP\n"


def test_files_of_a_service_are_read_again_when_they_change(host):
    s = host(start=False)
    os.mkdir(s.path("conf"))

    def put(text, name="a.conf"):
        with open(s.path("conf", name), "w") as file:
            file.write(text)
    put("one\n")
    text = (reader(s, more=f"reload_files = {s.folder}/conf/*.conf\n")
            + f"[service:p]\ncommand = sleep 1000\nstartsecs = 0\nreload_files = {s.folder}/conf/a.conf\n")
    s.write(text)
    s.start()
    before = up(s)
    put("one\n")
    assert fates(s.call("reload")) == {}
    put("two\n")
    plan = s.call("reload", plan=True)
    assert fates(plan) == {"r:0": "signalled", "p:0": "restarts"} and plan["interrupts"] == 1
    assert s.text_of("reading") == ""
    s.call("reload")
    wait_for(lambda: s.text_of("reading") == "x", "the reading")
    s.wait_instance("p:0", lambda row: row["ready"] and row["pid"] != before["p:0"])
    assert s.instance("r:0")["pid"] == before["r:0"]
    assert fates(s.call("reload")) == {}
    put("x\n", "b.conf")  # a new file that the pattern matches
    assert fates(s.call("reload", plan=True)) == {"r:0": "signalled"}
    s.kill_core()
    assert fates(s.call("reload", plan=True)) == {"r:0": "signalled"}
    s.run("reload", "r")  # has read it by now
    assert fates(s.call("reload", plan=True)) == {}
    s.write(text.replace("reload_signal = HUP\n", "reload_signal = HUP\nreload_files = x\n", 1)
            .replace(f"reload_files = {s.folder}/conf/*.conf\n", ""))
    with pytest.raises(Failed) as refused:
        s.call("reload")
    assert "is relative" in str(refused.value.data["errors"])


# What a reload tells of a change of type, and what it then does: the next state of each, whether
# the process is another one, and the words.
TYPES = {"service": "", "oneshot": "type = oneshot\n", "scheduled": "type = scheduled\nevery = 1h\n"}
SITUATIONS = {"runs": ("sleep 1000", "start"), "ended": ("true", "start"), "failed": ("false", "start"),
              "stopped": ("sleep 1000", "stop"), "idle": ("sleep 1000", ""),
              "leaving": ("sh -c 'trap : TERM; : >%(here)s/%(program_name)s; while :; do sleep 0.05; done'",
                          "stop")}


def test_too_many_reload_files_are_told(host):
    s = host(start=False)
    os.mkdir(s.path("many"))
    for number in range(1025):
        open(s.path("many", str(number)), "w").close()
    text = f"[service:a]\ncommand = sleep 1000\nstartsecs = 0\nreload_files = {s.folder}/many/*\n"
    s.write(text)
    s.start()
    s.wait_state("a:0", "running")
    told = s.run("reload", "--plan").stderr
    assert "a:0: reload_files: more than 1024 files match" in told and "more exactly" in told
    s.write(text.replace("/many/*", "/" + "*/" * 9 + "x"))
    assert "has wildcards in 9 parts, at most 8" in s.run("reload", code=1).stderr


def type_services(kinds, auto):
    return "".join(f"[service:{kind}-{name}]\ncommand = {command}\nstartsecs = 0\n{TYPES[to]}"
                   f"startretries = 0\nstopwaitsecs = 1s\nautostart = {auto}\n"
                   for kind, to in kinds.items() for name, (command, _) in SITUATIONS.items())


def effect(s, name, since):
    """What has become of one, when it rests: it has a next time; it was started."""
    row = s.wait_instance(f"{name}:0", lambda row: row["state"] not in ("stopping", "killing",
                                                                         "cleaning"), "at rest")
    started = [event for event in s.events(since) if event.get("instance") == f"{name}:0" and
               event["event"] == "state" and event["to"] == "starting"]
    return bool(row.get("next_run")), bool(started)


@pytest.mark.parametrize("auto", ("true", "false"))
@pytest.mark.parametrize("to", TYPES)
def test_what_a_change_of_type_is_said_to_do_is_done(host, to, auto):
    kinds = [kind for kind in TYPES if kind != to]
    s = host(type_services({kind: kind for kind in kinds}, "false"))
    for kind in kinds:
        for name, (_, order) in SITUATIONS.items():
            if order:
                s.call("start", names=[f"{kind}-{name}"], wait=False)
            if name in ("ended", "failed"):
                s.wait_instance(f"{kind}-{name}:0", lambda row: not row["pid"] and
                                row["state"] in ("exited", "failed", "scheduled"))
            elif order:
                s.wait_instance(f"{kind}-{name}:0", lambda row: row["pid"])
            if name == "leaving":
                wait_for(lambda: os.path.exists(s.path(f"{kind}-leaving")), "its trap")
            if order == "stop":
                s.call("stop", names=[f"{kind}-{name}"], wait=name == "stopped")
    s.write(type_services({kind: to for kind in kinds}, auto))
    plan = {row["id"].split(":")[0]: row for service in s.call("reload", plan=True)["services"]
            for row in service["instances"]}
    text = s.run("reload", "--plan").stdout
    since = len(s.events()) + 1
    s.call("reload")
    expected = {"restarts": (False, True), "scheduled": (True, False), "begins": (False, True),
                "ends": (False, False), "later": (False, False), "live": (False, False)}
    for name, row in plan.items():
        assert effect(s, name, since) == expected[row["fate"]], (name, row)
        assert row["interrupts"] == (name.endswith("-runs")), row
    assert len(plan) == 2 * len(SITUATIONS)
    fates = {name: row["fate"] for name, row in plan.items()}
    for kind in kinds:
        rests = {"scheduled": "scheduled"}.get(to, "later")
        if kind == "scheduled":
            rests = "begins" if auto == "true" else "ends"
        assert fates[f"{kind}-ended"] == fates[f"{kind}-failed"] == rests
        assert fates[f"{kind}-stopped"] == fates[f"{kind}-idle"] == "later"
        assert fates[f"{kind}-runs"] == ("scheduled" if to == "scheduled" else "restarts")
    if to == "scheduled":
        assert re.search(r"service-runs +is stopped, and runs by its schedule from now on\n", text)
        assert re.search(r"oneshot-ended +runs by its schedule from now on\n", text)
    elif auto == "true":
        assert re.search(r"scheduled-ended +runs by its schedule no more, and starts\n", text)
    else:
        assert re.search(r"scheduled-ended +runs by its schedule no more, and is not started\n", text)


def test_a_change_of_type_without_a_restart(host):
    job = ("[service:a]\nstartsecs = 0\ncommand = sh -c 'trap \"exit 0\" TERM; : >%(here)s/trap; "
           "while :; do sleep 0.05; done'\n")
    s = host(job)
    wait_for(lambda: os.path.exists(s.path("trap")), "its trap")
    pid = s.instance("a:0")["pid"]
    s.write(job + TYPES["scheduled"])
    assert "a  goes on with what it was started with" in s.run("reload", "--no-restart",
                                                               "--plan").stdout
    s.run("reload", "--no-restart")
    row = s.instance("a:0")
    assert row["pid"] == pid and row["next_run"]
    os.kill(pid, signal.SIGTERM)  # it was the first run
    row = s.wait_instance("a:0", lambda row: row["state"] == "scheduled" and not row["pid"])
    assert row["runs"]["total"] == 1 and row["last_run"]["result"] == "success"
