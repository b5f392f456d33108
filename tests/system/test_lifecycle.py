"""What CONTRACT.md promises of starting, ending, restarting and stopping, seen by real services."""
import json
import os
import re
import signal

import pytest

from harness import free_port, host, wait_for  # noqa: F401 (a fixture)

ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def starts(supervisor, name="starts"):
    return supervisor.text_of(name).split("\n")[:-1]


def shell(host, body, extra="", kind="service", name="a"):
    supervisor = host(start=False)
    with open(supervisor.path("run.sh"), "w") as file:
        file.write(f"date +%s.%N >> {supervisor.folder}/starts\n{body}\n")
    supervisor.write(f"[{kind}:{name}]\ncommand = sh {supervisor.folder}/run.sh\n"
                     f"directory = {supervisor.folder}\n{extra}")
    return supervisor.start()


# --- restarts ---

def test_first_restart_at_once_then_growing_delays(host):
    s = shell(host, "sleep 0.15; exit 1", "startsecs = 50ms\nbackoff_min = 200ms\n"
                                          "backoff_jitter = 0%\n")
    s.wait_instance("a:0", lambda row: row["restarts"] >= 4)
    wait_for(lambda: len(starts(s)) >= 5, "five starts")
    times = [float(line) for line in starts(s)]
    gaps = [b - a - 0.15 for a, b in zip(times, times[1:])]
    assert gaps[0] < 0.15, gaps
    assert 0.19 < gaps[1] < 0.4 and 0.39 < gaps[2] < 0.65 and 0.79 < gaps[3] < 1.2, gaps


def test_waiting_is_told_of_those_that_wait(host):
    """Whoever has to wait for nobody starts in the same turn; the others say for whom."""
    s = host(start=False)
    s.write(f"[service:a]\ncommand = sleep 1000\nready = exec:test -e {s.folder}/there\n"
            "ready_interval = 50ms\n[service:b]\ncommand = sleep 1000\nrequires = a\n")
    s.start()
    s.wait_event(lambda e: e.get("instance") == "b:0" and e.get("to") == "waiting")
    open(s.path("there"), "w").close()
    s.wait_ready("b:0")
    states = {name: [(e["from"], e["to"], e.get("why", "")) for e in s.events()
                     if e["event"] == "state" and e["instance"] == name] for name in ("a:0", "b:0")}
    assert [step[:2] for step in states["a:0"]][0] == ("stopped", "starting")
    assert [step[:2] for step in states["b:0"]][:2] == [("stopped", "waiting"),
                                                        ("waiting", "starting")]
    assert states["b:0"][0][2].startswith("a:0"), states
    seq = s.call("events")["next"]
    os.kill(s.instance("a:0")["pid"], signal.SIGKILL)
    s.wait_event(lambda e: e.get("instance") == "a:0" and e.get("to") == "starting", since=seq)
    steps = [(e["from"], e["to"]) for e in s.events(seq)
             if e["event"] == "state" and e["instance"] == "a:0"]
    assert steps[:2] == [("running", "cleaning"), ("cleaning", "starting")]


def test_a_start_that_never_reached_running_waits_from_the_first_time(host):
    s = shell(host, "exit 1", "startsecs = 1s\nbackoff_min = 300ms\nbackoff_jitter = 0%\n")
    wait_for(lambda: len(starts(s)) >= 2, "two starts")
    times = [float(line) for line in starts(s)]
    assert 0.29 < times[1] - times[0] < 0.6
    assert s.instance("a:0")["last_exit"]["code"] == 1


def test_rules_for_exit_codes(host):
    rules = "restart_on = 78: never, 75: backoff 1h, KILL: always, 3: now\n"
    once = "startsecs = 50ms\nbackoff_min = 50ms\nautorestart = false\n"
    s = host(f"[service:never]\ncommand = sh -c 'exit 78'\n{rules}"
             f"[service:later]\ncommand = sh -c 'exit 75'\n{rules}"
             f"[service:again]\ncommand = sleep 1000\n{once}{rules}"
             f"[service:other]\ncommand = sh -c 'sleep 0.2; exit 4'\n{once}{rules}")
    assert "restart_on says never" in s.wait_state("never:0", "failed")["reason"]
    s.wait_state("other:0", "exited")
    row = s.wait_state("later:0", "backoff")
    assert 3000 < row["next_retry_s"] < 4000 and "restart_on says backoff" in row["reason"]
    s.kill_core()
    row = s.instance("later:0")
    assert row["state"] == "backoff" and 3000 < row["next_retry_s"] < 4000
    before = s.wait_ready("again:0")["pid"]
    os.kill(before, signal.SIGKILL)
    after = s.wait_instance("again:0", lambda one: one["ready"] and one["pid"] != before)["pid"]
    # A rule that is taken out counts from then on, for what runs already.
    text = s.text_of("supervisor.ini")
    with open(s.config, "w") as file:
        file.write(text.replace("KILL: always, ", ""))
    plan = s.run("reload", "--plan").stdout
    assert "again" in plan and "restart_on" in plan
    s.run("reload")
    assert s.instance("again:0")["pid"] == after
    os.kill(after, signal.SIGKILL)
    s.wait_state("again:0", "exited")


def test_healthy_time_forgives(host):
    s = shell(host, "sleep 0.3; exit 1", "startsecs = 50ms\nbackoff_reset = 100ms\n"
                                         "backoff_min = 5s\n")
    wait_for(lambda: len(starts(s)) >= 4, "four starts without any delay", 4)


def test_program_has_four_launches(host):
    s = shell(host, "exit 2", "startretries = 3\nstartsecs = 1\nbackoff_min = 20ms\n",
              kind="program")
    row = s.wait_state("a:0", "failed")
    assert len(starts(s)) == 4
    assert row["last_exit"]["code"] == 2 and not row["wanted"]
    assert not s.call("start", names=["a"])["ok"]  # an order leaves it
    s.wait_state("a:0", "failed")
    assert len(starts(s)) == 8


@pytest.mark.parametrize("kind,extra,code,again", [
    ("service", "autorestart = false", 1, False),
    ("service", "autorestart = unexpected", 0, False),
    ("service", "autorestart = unexpected", 3, True),
    ("service", "autorestart = unexpected\nexitcodes = 0,3", 3, False),
    ("service", "autorestart = on-failure\nexitcodes = 0 TERM", 15, False),
    ("service", "autorestart = unexpected\nexitcodes = 0,KILL", 15, True),
    ("service", "", 0, True),
    ("program", "", 0, False),
    ("program", "", 1, True),
    ("program", "autorestart = false", 1, False),
])
def test_autorestart(host, kind, extra, code, again):
    end = "kill -TERM $$" if code == 15 else f"exit {code}"
    s = shell(host, f"test -s second && exec sleep 1000; echo >> second; sleep 0.1; {end}",
              f"startsecs = 50ms\n{extra}\n", kind)
    if again:
        s.wait_instance("a:0", lambda row: row["state"] == "running" and row["restarts"] == 1)
        return
    row = s.wait_state("a:0", "exited")
    last = row["last_exit"]
    assert (last["signal"] == "TERM") if code == 15 else (last["code"] == code)
    assert len(starts(s)) == 1


def test_oneshot_and_what_needs_it(host):
    s = host(start=False)
    s.write(f"[service:task]\ntype = oneshot\ncommand = sh -c \"echo task >> {s.folder}/order; "
            f"sleep 0.2; echo done >> {s.folder}/order\"\n"
            f"[service:user]\nrequires = task\ncommand = sh -c \"echo user >> {s.folder}/order; "
            "exec sleep 1000\"\nstartsecs = 0\n")
    s.start()
    s.wait_ready("user:0")
    wait_for(lambda: len(starts(s, "order")) >= 3, "user's line")  # ready without having run
    assert starts(s, "order") == ["task", "done", "user"]
    row = s.instance("task:0")
    assert row["state"] == "exited" and row["ready"] and row["last_exit"]["code"] == 0


def test_oneshot_that_fails_holds_up_who_requires_it(host):
    s = host("[service:task]\ntype = oneshot\nautorestart = false\ncommand = false\n"
             "[service:hard]\nrequires = task\ncommand = sleep 1000\nstartsecs = 0\n"
             "[service:soft]\nwants = task\ncommand = sleep 1000\nstartsecs = 0\n")
    s.wait_state("task:0", "failed")
    s.wait_ready("soft:0")
    row = s.instance("hard:0")
    assert row["state"] == "waiting" and "task:0" in row["waiting_for"]
    answer = s.call("start", names=["hard"])
    assert not answer["ok"] and "task" in answer["results"][0]["reason"]


ORDER = """
[service:db]
command = sh FOLDER/node.sh db
ready = fd:5
[service:cache]
command = sh FOLDER/node.sh cache
ready = fd:5
[service:app]
command = sh FOLDER/node.sh app
requires = db
wants = cache
ready = fd:5
[service:web]
command = sh FOLDER/node.sh web
requires = app
ready = fd:5
[service:late]
command = sh FOLDER/node.sh late
after = web
ready = fd:5
[service:early]
command = sh FOLDER/node.sh early
before = db
ready = fd:5
"""


def test_order_of_start_and_stop(host):
    s = host(start=False)
    with open(s.path("node.sh"), "w") as file:
        file.write(f"cd {s.folder}\ntrap 'echo -$1 >> order; sleep 0.05; echo =$1 >> order; "
                   "exit 0' TERM\n"
                   "echo +$1 >> order; sleep 0.05; echo ready-$1 >> order; echo >&5; exec 5>&-\n"
                   "while :; do sleep 0.01; done\n")
    s.write(ORDER.replace("FOLDER", s.folder))
    s.start()
    for name in ("db", "cache", "app", "web", "late", "early"):
        s.wait_ready(f"{name}:0")
    order = starts(s, "order")
    at = order.index
    assert at("ready-early") < at("+db")
    assert at("ready-db") < at("+app") and at("ready-cache") < at("+app")
    assert at("ready-app") < at("+web") and at("ready-web") < at("+late")
    assert s.shutdown() == 0
    order = starts(s, "order")
    at = order.index
    assert at("=web") < at("-app") and at("=app") < at("-db") and at("=app") < at("-cache")
    assert at("=late") < at("-web") and at("=db") < at("-early")


def test_stop_of_one_leaves_those_that_need_it(host):
    s = host("[service:db]\ncommand = sleep 1000\nstartsecs = 0\n"
             "[service:app]\ncommand = sleep 1000\nstartsecs = 0\nrequires = db\n")
    pid = s.wait_ready("app:0")["pid"]
    s.call("stop", names=["db"])
    assert s.instance("app:0")["pid"] == pid
    s.call("stop", names=["app"])
    s.call("start", names=["app"])  # brings what it needs
    assert s.instance("db:0")["ready"] and s.instance("app:0")["ready"]


def test_cycle_is_refused(host):
    s = host(start=False)
    s.write("[service:a]\ncommand = true\nrequires = b\n[service:b]\ncommand = true\nafter = c\n"
            "[service:c]\ncommand = true\nwants = a\n")
    s.start(wait=False)
    assert s.process.wait(10) != 0
    text = s.text_of("supervisor.log")
    assert all(f"{name}" in text for name in "abc") and "->" in text or "cycle" in text, text


# --- readiness and health ---

def test_ready_timeout(host):
    s = shell(host, "exec sleep 1000", "ready = notify\nready_timeout = 200ms\n"
                                       "backoff_min = 1h\nbackoff_max = 1h\n")
    row = s.wait_state("a:0", "backoff")
    assert "200ms" in row["reason"] and row["last_exit"]["signal"] == "TERM"


@pytest.mark.parametrize("ready", ["tcp://127.0.0.1:PORT", "http://127.0.0.1:PORT/",
                                   "unix:FOLDER/u.sock", "exec:test -e FOLDER/up"])
def test_readiness_checks(host, ready):
    port = free_port()
    s = host(start=False)
    with open(s.path("serve.py"), "w") as file:
        file.write(f"""
import os, socket, time
while not os.path.exists("go"): time.sleep(0.01)
a = socket.create_server(("127.0.0.1", {port}))
u = socket.socket(socket.AF_UNIX); u.bind("u.sock"); u.listen()
open("up", "w").close()
while True:
    c, _ = a.accept(); c.settimeout(1)
    try: c.recv(1000); c.sendall(b"HTTP/1.0 200 OK\\r\\n\\r\\n")
    except OSError: pass
    c.close()
""")
    check = ready.replace("PORT", str(port)).replace("FOLDER", s.folder)
    s.write(f"[service:a]\ncommand = /usr/bin/python3 {s.folder}/serve.py\n"
            f"directory = {s.folder}\nready = {check}\nready_interval = 50ms\n")
    s.start()
    wait_for(lambda: s.instance("a:0")["probe_failures"] > 1, "attempts that fail")
    row = s.instance("a:0")
    assert row["state"] == "starting" and not row["ready"]
    open(s.path("go"), "w").close()
    s.wait_ready("a:0")


def test_ready_only_publishes(host):
    s = host(start=False)
    s.write(f"[service:a]\ncommand = sleep 1000\nready = exec:test -e {s.folder}/up\n"
            "ready_interval = 30ms\nready_threshold = 2\n")
    open(s.path("up"), "w").close()
    s.start()
    pid = s.wait_ready("a:0")["pid"]
    os.unlink(s.path("up"))
    row = s.wait_instance("a:0", lambda row: not row["ready"])
    assert row["state"] == "running" and row["pid"] == pid
    open(s.path("up"), "w").close()
    assert s.wait_ready("a:0")["pid"] == pid


def test_startup_gates_live(host):
    s = host(start=False)
    s.write(f"[service:a]\ncommand = sleep 1000\nstartup = exec:test -e {s.folder}/up\n"
            "startup_interval = 30ms\nstartup_threshold = 1000\n"
            f"live = exec:sh -c \"echo >> {s.folder}/lives\"\nlive_interval = 30ms\n")
    s.start()
    wait_for(lambda: s.instance("a:0")["probe_failures"] > 3, "attempts")
    assert s.text_of("lives") == ""
    open(s.path("up"), "w").close()
    wait_for(lambda: len(s.text_of("lives")) > 2, "live checks")
    s.wait_instance("a:0", lambda row: row["health"] == "ok")


def test_live_failure_restarts(host):
    s = host(start=False)
    s.write(f"[service:a]\ncommand = sleep 1000\nstartsecs = 0\n"
            f"live = exec:test ! -e {s.folder}/sick\nlive_interval = 30ms\nlive_threshold = 3\n"
            f"[service:b]\ncommand = sleep 1000\nstartsecs = 0\non_live_failure = none\n"
            f"live = exec:test ! -e {s.folder}/sick\nlive_interval = 30ms\n")
    s.start()
    a = s.wait_instance("a:0", lambda row: row["health"] == "ok")["pid"]
    b = s.wait_instance("b:0", lambda row: row["health"] == "ok")["pid"]
    open(s.path("sick"), "w").close()
    s.wait_instance("a:0", lambda row: row["pid"] not in (a, None))
    s.wait_instance("b:0", lambda row: row["health"] == "bad")
    os.unlink(s.path("sick"))
    row = s.wait_instance("a:0", lambda row: row["health"] == "ok" and row["ready"])
    assert row["pid"] != a and row["last_exit"]["signal"] == "TERM"
    assert s.wait_instance("b:0", lambda row: row["health"] == "ok")["pid"] == b


# --- hooks, the end ---

@pytest.mark.parametrize("end,code", [("exit 0", 0), ("exit 9", 9), ("kill -KILL $$", 137)])
def test_on_exit_shutdown(host, end, code):
    s = host(start=False)
    s.write(f"[service:main]\ncommand = sh -c \"while [ ! -e {s.folder}/go ]; do sleep 0.01; done; "
            f"{end}\"\nautorestart = false\non_exit = shutdown\nstartsecs = 0\n"
            "[service:side]\ncommand = sleep 1000\n")
    s.start()
    s.wait_ready("main:0")
    open(s.path("go"), "w").close()
    assert s.process.wait(10) == code


def test_pre_start_that_fails(host):
    s = shell(host, "exec sleep 1000", "pre_start = sh -c \"test -e up\"\nbackoff_min = 50ms\n"
                                       "backoff_max = 50ms\nstartsecs = 0\n")
    row = s.wait_state("a:0", "backoff")
    assert "pre_start" in row["reason"] and starts(s) == []
    open(s.path("up"), "w").close()
    s.wait_ready("a:0")


def test_pre_start_that_hangs(host):
    s = shell(host, "exec sleep 1000", "pre_start = sleep 1000\nhook_timeout = 100ms\n"
                                       "backoff_min = 1h\nbackoff_max = 1h\n")
    assert "pre_start" in s.wait_state("a:0", "backoff")["reason"]


def test_post_stop_runs_after_each_end(host):
    s = shell(host, "exec sleep 1000", "post_stop = sh -c \"echo post >> hooks\"\nstartsecs = 0\n")
    pid = s.wait_ready("a:0")["pid"]
    os.kill(pid, signal.SIGKILL)
    s.wait_instance("a:0", lambda row: row["ready"] and row["pid"] != pid)
    assert starts(s, "hooks") == ["post"]
    s.call("stop", names=["a"])
    assert starts(s, "hooks") == ["post", "post"]


def test_command_that_does_not_exist(host):
    s = host("[service:a]\ncommand = /nowhere/at/all\nbackoff_min = 1h\nbackoff_max = 1h\n"
             "[service:b]\ncommand = sleep 1000\ndirectory = /nowhere\nbackoff_min = 1h\n"
             "backoff_max = 1h\n[service:c]\ncommand = sleep 1000\nstartsecs = 0\n")
    assert "/nowhere/at/all" in s.wait_state("a:0", "backoff")["reason"]
    assert "No such file" in s.wait_state("b:0", "backoff")["reason"]
    s.wait_ready("c:0")


# --- what a service finds around it ---

PROBE = """
import json, os, resource, signal, sys
limits = {name: resource.getrlimit(getattr(resource, name)) for name in
          ("RLIMIT_NOFILE", "RLIMIT_CORE")}
with open("/proc/self/status") as file:
    status = dict(line.split(":\\t", 1) for line in file.read().splitlines() if ":\\t" in line)
umask = os.umask(0)
fds = {}
for fd in os.listdir("/proc/self/fd"):
    try:
        fds[fd] = os.readlink(f"/proc/self/fd/{fd}")
    except OSError:
        pass  # of the list itself
print(json.dumps({
    "env": dict(os.environ), "cwd": os.getcwd(), "umask": umask, "uid": os.getuid(),
    "gid": os.getgid(), "groups": os.getgroups(), "pid": os.getpid(), "sid": os.getsid(0),
    "pgid": os.getpgid(0), "limits": limits, "argv": sys.argv[1:],
    "fds": fds,
    "mask": status["SigBlk"].strip(), "ignored": status["SigIgn"].strip(),
    "nice": os.nice(0), "oom": open("/proc/self/oom_score_adj").read().strip(),
}), file=open(os.environ["OUT"], "w"))
"""


def look(host, extra, sections="", name="svc", environment=None, kind="service", instance=0):
    """What a service with these settings sees."""
    s = host(start=False, environment=environment)
    with open(s.path("probe.py"), "w") as file:
        file.write(PROBE)
    os.chmod(s.folder, 0o777)
    s.write(f"[{kind}:{name}]\ntype = oneshot\ncommand = /usr/bin/python3 -SE {s.folder}/probe.py "
            f"one \"two words\" %(program_name)s-%(process_num)02d\n"
            + extra.replace("FOLDER", s.folder) + ("" if "environment =" in extra else
                                                   f"environment = OUT=\"{s.folder}/out\"\n")
            + sections.replace("FOLDER", s.folder))
    s.start()
    wait_for(lambda: s.text_of("out").endswith("\n"), "what it saw")
    return json.loads(s.text_of("out")), s


def only_own(seen, s):
    return {fd for fd, to in seen["fds"].items() if to != s.path("out")}


def test_what_a_service_finds(host):
    seen, s = look(host, "umask = 027\ndirectory = FOLDER\nrlimit_nofile = 333\nrlimit_core = 0\n"
                         "nice = 5\noom_score_adj = 123\n"
                         "environment = A=\"1,2\",B='%(ENV_FROM_OUTSIDE)s',OUT=\"FOLDER/out\","
                         "C=\"%(program_name)s %(here)s 100%%\"\n",
                   environment={"FROM_OUTSIDE": "x y", "NOTIFY_SOCKET": "/nowhere",
                                "LISTEN_FDS": "7", "LISTEN_PID": "1"})
    env = seen["env"]
    assert seen["argv"] == ["one", "two words", "svc-00"]
    assert (env["A"], env["B"], env["C"]) == ("1,2", "x y", f"svc {s.folder} 100%")
    assert env["SUPERVISOR_INSTANCE"].startswith("svc:0.")
    assert env["NOTIFY_SOCKET"] != "/nowhere"
    assert "LISTEN_FDS" not in env and "LISTEN_PID" not in env
    assert seen["cwd"] == s.folder and seen["umask"] == 0o27
    assert seen["limits"]["RLIMIT_NOFILE"][0] == 333 and seen["limits"]["RLIMIT_CORE"][0] == 0
    assert (seen["nice"], seen["oom"]) == (min(os.nice(0) + 5, 19), "123")
    assert seen["sid"] == seen["pgid"] == seen["pid"]
    assert int(seen["mask"], 16) == 0
    assert int(seen["ignored"], 16) & ~(1 << 12 | 1 << 24) == 0  # python's own: PIPE, XFSZ
    assert seen["fds"]["0"] == "/dev/null"
    assert seen["fds"]["1"].startswith("pipe:") and seen["fds"]["2"].startswith("pipe:")
    assert only_own(seen, s) == {"0", "1", "2"}, seen["fds"]


def test_original_limit_is_given_back(host):
    import resource
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(512, hard), hard))
    try:
        seen, _ = look(host, "")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert seen["limits"]["RLIMIT_NOFILE"] == [min(512, hard), hard]


def test_listening_sockets(host):
    seen, s = look(host, "sockets = http admin\n",
                   f"[socket:http]\nlisten = 127.0.0.1:{free_port()}\n"
                   "[socket:admin]\nlisten = FOLDER/admin.sock\nmode = 0600\n")
    env = seen["env"]
    assert env["LISTEN_FDS"] == "2" and env["LISTEN_FDNAMES"] == "http:admin"
    assert env["LISTEN_PID"] == str(seen["pid"])
    assert seen["fds"]["3"].startswith("socket:") and seen["fds"]["4"].startswith("socket:")
    assert only_own(seen, s) == {"0", "1", "2", "3", "4"}, seen["fds"]
    assert os.stat(s.path("admin.sock")).st_mode & 0o777 == 0o600


@ROOT_ONLY
def test_user(host):
    seen, _ = look(host, "user = nobody\n")
    assert seen["uid"] == 65534 and seen["gid"] == 65534
    assert seen["env"]["USER"] == "nobody" == seen["env"]["LOGNAME"] and seen["env"]["HOME"]
    seen, _ = look(host, "user = nobody\ngroup = daemon\n")
    assert seen["gid"] == 1 and 0 not in seen["groups"]
    seen, _ = look(host, "user = nobody\nautorestart = false\n", kind="program",
                   environment={"HOME": "/root", "USER": "root"})
    assert seen["uid"] == 65534 and seen["env"]["USER"] == "root"


def test_unknown_user(host):
    s = host("[service:a]\ncommand = sleep 1000\nuser = nobodyy\n"
             "[service:b]\ncommand = sleep 1000\nstartsecs = 0\n", start=False)
    s.start(wait=False)
    wait_for(lambda: s.process.poll() is not None or "nobodyy" in s.text_of("supervisor.log"),
             "a word about it")
    assert "nobodyy" in s.text_of("supervisor.log")


def test_instances(host):
    s = host(start=False)
    s.write(f"[service:a]\ncommand = sh -c \"echo %(process_num)02d of %(numprocs)d >> "
            f"{s.folder}/seen; exec sleep 1000\"\nnumprocs = 3\nnumprocs_start = 5\nstartsecs = 0\n")
    s.start()
    for number in (5, 6, 7):
        s.wait_ready(f"a:{number}")
    wait_for(lambda: sorted(starts(s, "seen")) == ["05 of 3", "06 of 3", "07 of 3"], "three", 5)


def test_output_goes_to_its_files(host):
    s = host("[service:a]\ntype = oneshot\ncommand = sh -c \"echo out; echo err >&2; printf half\"\n"
             "[service:b]\ntype = oneshot\ncommand = sh -c \"echo out; echo err >&2\"\n"
             "redirect_stderr = false\nlog_format = raw\n")
    s.wait_state("a:0", "exited")
    s.wait_state("b:0", "exited")
    wait_for(lambda: "half" in s.text_of("log", "a-0.log"), "the partial line", 5)
    lines = [line.split(" ", 1)[1] for line in s.text_of("log", "a-0.log").splitlines()]
    assert lines == ["out", "err", "half"]
    wait_for(lambda: s.text_of("log", "b-0.log") == "out\n", "raw output", 5)
    names = os.listdir(s.path("log"))
    assert any("err" in name and name.startswith("b-0") for name in names), names


def test_notify_status_and_readiness(host):
    s = host(start=False)
    with open(s.path("n.py"), "w") as file:
        file.write("import os, socket, time\n"
                   "n = os.environ['NOTIFY_SOCKET']\n"
                   "s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n"
                   "s.connect('\\0' + n[1:] if n[0] == '@' else n)\n"
                   "s.send(b'STATUS=warming up')\n"
                   f"while not os.path.exists('{s.folder}/go'): time.sleep(0.01)\n"
                   "s.send(b'READY=1\\nSTATUS=at work')\ntime.sleep(1000)\n")
    s.write(f"[service:a]\ncommand = /usr/bin/python3 {s.folder}/n.py\nready = notify\n")
    s.start()
    row = s.wait_instance("a:0", lambda row: row.get("status") == "warming up")
    assert row["state"] == "starting"
    open(s.path("go"), "w").close()
    s.wait_instance("a:0", lambda row: row["ready"] and row.get("status") == "at work")


def test_the_breaker_gives_everybody_a_turn(host):
    """One that falls all the time does not take all the restarts that others wait for."""
    s = host("[supervisor]\nrestart_burst = 20\n"
             "[service:a-flap]\ncommand = false\nbackoff_min = 1ms\nbackoff_max = 1ms\n"
             "[service:b-calm]\ncommand = sleep 1000\nstartsecs = 0\n")
    pid = s.wait_state("b-calm:0", "running")["pid"]
    wait_for(lambda: "its turn" in (s.instance("a-flap:0")["waiting_for"] or ""),
             "the breaker holds restarts back", 30)
    wait_for(lambda: re.search("restarts are spaced.*restart_burst =",
                               s.run("status", code=None).stdout), "a word on it in status")
    os.kill(pid, signal.SIGKILL)

    def back():
        row = s.instance("b-calm:0")
        return row["state"] == "running" and row["pid"] != pid
    wait_for(back, "its turn", 15)


def test_a_start_that_waits_in_vain_in_a_dense_graph(host):
    """20 layers of 4, each needs all of the layer below: more paths than anybody can walk."""
    def layer(number):
        return " ".join(f"l{number}n{i}" for i in range(4))
    text = "[service:base]\ncommand = sh -c \"exit 3\"\nautorestart = false\n"
    for number in range(20):
        for name in layer(number).split():
            needs = layer(number - 1) if number else "base"
            text += f"[service:{name}]\ncommand = sleep 1000\nrequires = {needs}\nautostart = no\n"
    s = host(text)
    s.wait_instance("base:0", lambda row: row["last_exit"], "its end")
    done = s.run("start", *(name for number in range(20) for name in layer(number).split()), code=1)
    assert "l19n3:0" in done.stdout + done.stderr and "waits for" in done.stdout + done.stderr
    assert s.instance("l19n3:0")["state"] == "waiting"


def test_the_breaker_lets_what_matters_go_first(host):
    """Forty fall at once and may come back two a second: the important ones first, and status says when."""
    s = host("[supervisor]\nrestart_burst = 20\n"
             "[service:bulk]\ncommand = sleep 1000\nstartsecs = 0\nnumprocs = 30\npriority = 900\n"
             "[service:key]\ncommand = sleep 1000\nstartsecs = 0\nnumprocs = 5\npriority = 1\n")
    wait_for(lambda: all(row["pid"] for row in s.instances().values()), "all of them")
    before = {name: row["pid"] for name, row in s.instances().items()}
    for names in ("bulk", "key"):  # the important ones fall last
        for name, pid in before.items():
            if name.startswith(names):
                os.kill(pid, signal.SIGKILL)
        if names == "bulk":
            wait_for(lambda: any(row.get("turn") for row in s.instances().values()), "a line")
    status = s.call("status", names=["all"])
    breaker = status["supervisor"]["breaker"]
    assert 1 <= breaker["waiting"] <= 15 and breaker["burst"] == 20 and 0 < breaker["open_s"] < 12
    s.wait_instance("key:4", lambda row: row["state"] == "running" and row["pid"] != before["key:4"])
    rows = s.instances()
    waiting = [row["turn"] for row in rows.values() if row.get("turn")]
    assert sum(row["pid"] is None for name, row in rows.items() if name.startswith("bulk")) >= 5
    assert sorted(turn["place"] for turn in waiting) == list(range(1, len(waiting) + 1))
    assert all(turn["in_s"] <= turn["place"] * 0.5 + 0.1 for turn in waiting)
    lines = s.run("status", code=3).stdout.splitlines()
    assert any(re.match(r"bulk:.* number \d+, in about", line) for line in lines), lines
    s.kill_core()  # which begins with a full bucket
    wait_for(lambda: all(row["pid"] for row in s.instances().values()), "all of them again", 20)
    assert "breaker" not in s.call("status", names=["all"])["supervisor"]
