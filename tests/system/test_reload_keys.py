"""Every key of a service is changed while it runs: what the option table says of it is what happens.

KEYS has a line for each key: the lines of the service before and after the change, and what the
change takes.  A key without a line here is a failure: say what a change of it does, and see it.
"""
import json
import os
import re
import signal
import subprocess
import time

import pytest

from harness import BINARY, MAY_MOUNT, alive, host, wait_for  # noqa: F401 (a fixture)

LIVE, RESTART, TUNED = "live", "restart", "tuned"
IDLE = "idle"  # as LIVE, of one that does not run just now
JOB = "type = scheduled\n"
ME = str(os.geteuid())
GROUP = str(os.getegid())

KEYS = {
    "command": ("command = sleep 1000", "command = sleep 1001", RESTART),
    "type": ("", "type = oneshot", RESTART),
    "directory": ("", "directory = /", RESTART),
    "umask": ("umask = 022", "umask = 027", RESTART),
    "user": ("", f"user = {ME}", RESTART),
    "group": ("", f"group = {GROUP}", RESTART),
    "environment": ("environment = A=1,B=2", "environment = B=2,A=3", RESTART),
    "environment_file": ("", "environment_file = -/nonexistent/file", RESTART),
    "numprocs": ("numprocs = 2", "numprocs = 3", LIVE),
    "numprocs_start": ("numprocs = 2\nnumprocs_start = 3", "numprocs = 2\nnumprocs_start = 2",
                       LIVE),
    "port_base": ("port_base = 40000", "port_base = 40010", RESTART),
    "process_name": ("", "process_name = other", LIVE),
    "autostart": ("", "autostart = false", LIVE),
    "start_on": ("sockets = s", "sockets = s\nstart_on = socket", LIVE),
    "autorestart": ("", "autorestart = false", LIVE),
    "exitcodes": ("", "exitcodes = 0, 3", LIVE),
    "restart_on": ("", "restart_on = 75: never", LIVE),
    "startsecs": ("startsecs = 0", "startsecs = 1ms", LIVE),
    "startretries": ("", "startretries = 3", LIVE),
    "backoff_min": ("", "backoff_min = 200ms", LIVE),
    "backoff_max": ("", "backoff_max = 5s", LIVE),
    "backoff_factor": ("", "backoff_factor = 3", LIVE),
    "backoff_jitter": ("", "backoff_jitter = 0%", LIVE),
    "backoff_reset": ("", "backoff_reset = 1m", LIVE),
    "stopsignal": ("", "stopsignal = INT", LIVE),
    "stopwaitsecs": ("", "stopwaitsecs = 3s", LIVE),
    "kill_mode": ("", "kill_mode = control-group", LIVE),
    "stopasgroup": ("killasgroup = true", "killasgroup = true\nstopasgroup = true", LIVE),
    "killasgroup": ("", "killasgroup = true", LIVE),
    "pre_start": ("", "pre_start = true", LIVE),
    "post_start": ("", "post_start = true", LIVE),
    "pre_stop": ("", "pre_stop = true", LIVE),
    "post_stop": ("", "post_stop = true", LIVE),
    "on_failed": ("", "on_failed = true", LIVE),
    "hook_timeout": ("", "hook_timeout = 5s", LIVE),
    "reload_signal": ("", "reload_signal = HUP", LIVE),
    "reload_files": ("", "reload_files = {folder}/*.ini", LIVE),
    "requires": ("", "requires = other", LIVE),
    "wants": ("", "wants = other", LIVE),
    "after": ("", "after = other", LIVE),
    "before": ("", "before = other", LIVE),
    "priority": ("", "priority = 5", LIVE),
    "ready": ("", "ready = exec:true", LIVE),
    "ready_timeout": ("", "ready_timeout = 9s", LIVE),
    "ready_interval": ("", "ready_interval = 2s", LIVE),
    "ready_check_timeout": ("", "ready_check_timeout = 2s", LIVE),
    "ready_delay": ("", "ready_delay = 2s", LIVE),
    "ready_threshold": ("", "ready_threshold = 2", LIVE),
    "ready_successes": ("", "ready_successes = 2", LIVE),
    "startup": ("", "startup = exec:true", LIVE),
    "startup_interval": ("", "startup_interval = 2s", LIVE),
    "startup_timeout": ("", "startup_timeout = 2s", LIVE),
    "startup_threshold": ("", "startup_threshold = 2", LIVE),
    "startup_delay": ("", "startup_delay = 2s", LIVE),
    "live": ("", "live = exec:true", LIVE),
    "live_interval": ("", "live_interval = 2s", LIVE),
    "live_timeout": ("", "live_timeout = 2s", LIVE),
    "live_threshold": ("", "live_threshold = 2", LIVE),
    "live_delay": ("", "live_delay = 2s", LIVE),
    "on_live_failure": ("", "on_live_failure = none", LIVE),
    "watchdog": ("", "watchdog = 1h", RESTART),
    "watchdog_signal": ("", "watchdog_signal = KILL", LIVE),
    "notify_access": ("", "notify_access = main", LIVE),
    "fd_store_max": ("", "fd_store_max = 3", LIVE),
    "restart_mode": ("", "restart_mode = overlap", LIVE),
    "sockets": ("", "sockets = s", RESTART),
    "stdin": ("", "stdin = open", RESTART),
    "stdout_logfile": ("", "stdout_logfile = {folder}/moved.log", LIVE),
    "stderr_logfile": ("stderr_logfile = {folder}/one.err", "stderr_logfile = {folder}/two.err",
                       LIVE),
    "redirect_stderr": ("", "redirect_stderr = false", RESTART),
    "stdout_logfile_maxbytes": ("", "stdout_logfile_maxbytes = 1MB", LIVE),
    "stdout_logfile_maxage": ("", "stdout_logfile_maxage = 1d", LIVE),
    "stdout_logfile_backups": ("", "stdout_logfile_backups = 3", LIVE),
    "stderr_logfile_maxbytes": ("", "stderr_logfile_maxbytes = 1MB", LIVE),
    "stderr_logfile_maxage": ("", "stderr_logfile_maxage = 1d", LIVE),
    "stderr_logfile_backups": ("", "stderr_logfile_backups = 3", LIVE),
    "logfile_compress": ("", "logfile_compress = zstd", LIVE),
    "log_format": ("", "log_format = json", LIVE),
    "log_overflow": ("", "log_overflow = drop-old", LIVE),
    "nice": ("nice = 1", "nice = 3", TUNED),
    "oom_score_adj": ("", "oom_score_adj = 300", TUNED),
    "rlimit_nofile": ("", "rlimit_nofile = 333", TUNED),
    "rlimit_core": ("", "rlimit_core = 0", TUNED),
    "rlimit_nproc": ("", "rlimit_nproc = 3333", TUNED),
    "rlimit_as": ("", "rlimit_as = 3GB", TUNED),
    "rlimit_memlock": ("", "rlimit_memlock = 32KB", TUNED),
    "rlimit_stack": ("", "rlimit_stack = 4MB", RESTART),
    "rlimit_fsize": ("", "rlimit_fsize = 3GB", TUNED),
    "rlimit_cpu": ("", "rlimit_cpu = 1h", TUNED),
    "memory_max": ("", "memory_max = 512MB", LIVE),
    "memory_high": ("", "memory_high = 400MB", LIVE),
    "cpu_max": ("", "cpu_max = 150%", LIVE),
    "cpu_weight": ("", "cpu_weight = 200", LIVE),
    "pids_max": ("", "pids_max = 512", LIVE),
    "io_weight": ("", "io_weight = 50", LIVE),
    "no_new_privs": ("", "no_new_privs = true", RESTART),
    "capabilities": ("", "capabilities = -NET_RAW", RESTART),
    "seccomp": ("", "seccomp = default", RESTART),
    "private_tmp": ("", "private_tmp = true", RESTART),
    "private_devices": ("", "private_devices = true", RESTART),
    "read_only": ("", "read_only = true", RESTART),
    "read_write_paths": ("read_only = /usr", "read_only = /usr\nread_write_paths = /usr/lib",
                         RESTART),
    "hidden_paths": ("", "hidden_paths = -/nonexistent", RESTART),
    "root": ("", "root = {folder}/jail", RESTART),
    "namespaces": ("", "namespaces = ipc", RESTART),
    "schedule": (JOB + "schedule = 0 3 1 1 *", JOB + "schedule = 0 4 1 1 *", IDLE),
    "every": (JOB + "every = 10h", JOB + "every = 11h", IDLE),
    "schedule_timezone": (JOB + "schedule = 0 3 1 1 *", JOB + "schedule = 0 3 1 1 *\n"
                          "schedule_timezone = UTC", IDLE),
    "schedule_jitter": (JOB + "every = 10h", JOB + "every = 10h\nschedule_jitter = 5s", IDLE),
    "concurrency_policy": (JOB + "every = 10h", JOB + "every = 10h\nconcurrency_policy = queue",
                           IDLE),
    "catch_up": (JOB + "every = 10h", JOB + "every = 10h\ncatch_up = once", IDLE),
    "starting_deadline": (JOB + "every = 10h", JOB + "every = 10h\nstarting_deadline = 5s", IDLE),
    "run_timeout": (JOB + "every = 10h", JOB + "every = 10h\nrun_timeout = 5s", IDLE),
    "on_exit": ("", "on_exit = shutdown", LIVE),
    # Waits for its first release, in both.
    "release_config": (f"user = {ME}\nrelease = {{folder}}/other", f"user = {ME}\n"
                       "release = {folder}/other\nrelease_config = deploy/x.ini", IDLE),
    "release": ("user = " + ME, "user = " + ME + "\nrelease = {folder}/site", RESTART),
}
# The same keys between values that a process is started with.
MORE = {
    "notify_access": ("notify_access = none", "notify_access = all", RESTART),
    "stdout_logfile": ("stdout_logfile = none", "", RESTART),
    "stderr_logfile": ("stderr_logfile = {folder}/same.log\nstdout_logfile = {folder}/same.log",
                       "stderr_logfile = {folder}/apart.err\nstdout_logfile = {folder}/same.log",
                       RESTART),
}


# What takes mounts of its own.
WALLS = ("private_tmp", "private_devices", "read_only", "read_write_paths", "hidden_paths", "root",
         "namespaces")


def may_tune():
    """CAP_SYS_NICE and CAP_SYS_RESOURCE, as the supervisor looks for them."""
    with open("/proc/self/status") as file:
        caps = int(re.search(r"CapEff:\s*(\w+)", file.read()).group(1), 16)
    return caps >> 23 & 1 and caps >> 24 & 1


def expected(takes):
    if takes == TUNED:
        return LIVE if may_tune() else RESTART
    return LIVE if takes == IDLE else takes


def service(name, lines):
    command = "" if "command =" in lines else "command = sleep 1000\n"
    startsecs = "" if "startsecs =" in lines else "startsecs = 0\n"
    return f"[service:{name}]\n{command}{startsecs}{lines}\n"


def all_cases():
    cases = {f"{key}": case for key, case in KEYS.items() if MAY_MOUNT or key not in WALLS}
    cases.update({f"{key}.more": case for key, case in MORE.items()})
    return cases


def configuration(s, which):
    text = f"[socket:s]\nlisten = {s.folder}/s.sock\n" + service("other", "")
    for name, case in all_cases().items():
        text += service(name, case[which].format(folder=s.folder))
    return text


def pids(s):
    return {name: row["pid"] for name, row in s.instances().items() if row["pid"]}


def up(s):
    def ready():
        rows = s.instances()
        return rows and all(row["ready"] and row["state"] == "running" for name, row in rows.items()
                            if KEYS.get(name.split(":")[0], [0, 0, 0])[2] != IDLE)
    wait_for(ready, "all of them up")
    return pids(s)


def keys_there_are(s):
    out = subprocess.run([BINARY, "check", "-c", s.config, "--json"], capture_output=True,
                         text=True, check=True).stdout
    return set(json.loads(out)["services"][0]["keys"])


def test_every_key_does_what_its_row_says(host):
    s = host(start=False)
    s.write(configuration(s, 0))
    assert keys_there_are(s) == set(KEYS)
    s.start()
    before = up(s)
    s.write(configuration(s, 1))
    plan = {row["service"]: row for row in s.call("reload", plan=True)["services"]}
    for name, case in all_cases().items():
        key = name.removesuffix(".more")
        change = {c["key"]: c["takes"] for c in plan[name]["changes"]}
        assert change.get(key) == expected(case[2]), (name, plan[name])
        assert plan[name]["change"] == expected(case[2]), plan[name]
    assert pids(s) == before
    answer = s.call("reload")
    assert answer["problems"] == []
    restarted = [pid for name, pid in before.items()
                 if name.split(":")[0] != "other"
                 and expected(all_cases()[name.split(":")[0]][2]) == RESTART]
    wait_for(lambda: not any(alive(pid) for pid in restarted), "the end of those that restart")
    after = pids(s)
    for name, pid in before.items():
        key = name.split(":")[0]
        takes = LIVE if key == "other" else expected(all_cases()[key][2])
        if name == "numprocs_start:4":  # is not there any more
            assert name not in after
        elif takes == LIVE:
            assert after.get(name) == pid and alive(pid), name
        else:
            assert after.get(name) != pid, name
    assert "numprocs:2" in after and "numprocs_start:2" in after
    if may_tune():
        look_at_limits(s, after)
    again = s.call("reload")
    assert {row["change"] for row in again["services"]} == {"same"}


def limits(pid):
    with open(f"/proc/{pid}/limits") as file:
        return {line[:26].strip(): line[26:].split()[:2] for line in file}


def look_at_limits(s, after):
    """Of all those that were told to the kernel for a process that was not restarted."""
    mine = limits(s.core_pid)
    nice = os.getpriority(os.PRIO_PROCESS, s.core_pid)
    assert os.getpriority(os.PRIO_PROCESS, after["nice:0"]) == nice + 3
    with open(f"/proc/{after['oom_score_adj:0']}/oom_score_adj") as file:
        assert file.read() == "300\n"
    for name, row, value in (("nofile", "Max open files", "333"),
                             ("core", "Max core file size", "0"),
                             ("nproc", "Max processes", "3333"),
                             ("as", "Max address space", str(3 << 30)),
                             ("memlock", "Max locked memory", str(32 << 10)),
                             ("fsize", "Max file size", str(3 << 30)),
                             ("cpu", "Max cpu time", "3600")):
        seen = limits(after[f"rlimit_{name}:0"])
        assert seen[row] == [value, value], row
        for other, values in seen.items():
            if other not in (row, "Max open files"):
                assert values == mine[other], (name, other)


def test_words_of_the_program_agree():
    for key, case in KEYS.items():
        out = subprocess.run([BINARY, "options", key], capture_output=True, text=True, check=True)
        text = " ".join(out.stdout.split())
        assert ("A reload restarts the service" in text) == (case[2] == RESTART), text
        assert ("CAP_SYS_RESOURCE" in text) == (case[2] == TUNED), text


# --- the new value is in force, for one key of each kind ---

def change(s, before, after, name="a"):
    """Runs a service with some lines, reloads it with others; its pid, which stays."""
    s.write(service(name, before))
    if s.process:
        s.call("reload")
    else:
        s.start()
    pid = up(s)[f"{name}:0"]
    s.write(service(name, after))
    answer = s.call("reload")
    assert [row["change"] for row in answer["services"]] == [LIVE], answer
    assert answer["problems"] == [] and s.instance(f"{name}:0")["pid"] == pid
    return pid


def test_limits_reach_all_processes_and_threads_and_go_again(host):
    if not may_tune():
        pytest.skip("wants CAP_SYS_RESOURCE and CAP_SYS_NICE")
    s = host(start=False)
    s.write("")
    program = s.path("program.py")
    with open(program, "w") as file:
        file.write("import subprocess, threading, time\n"
                   "threading.Thread(target=time.sleep, args=(1000,)).start()\n"
                   "child = subprocess.Popen(['sleep', '1000'], start_new_session=True)\n"
                   f"open('{s.path('child')}', 'w').write(str(child.pid) + '\\n')\n"
                   "time.sleep(1000)\n")
    run = f"command = /usr/bin/python3 {program}\n"
    s.write(service("a", run))
    s.start()
    wait_for(lambda: s.text_of("child").endswith("\n"), "its child")
    child = int(s.text_of("child"))
    wait_for(lambda: b"sleep" in open(f"/proc/{child}/cmdline", "rb").read(), "its exec")
    nofile = limits(child)["Max open files"]
    score = open(f"/proc/{child}/oom_score_adj").read()
    pid = change(s, run, run + "nice = 4\noom_score_adj = 123\nrlimit_nofile = 99\n")
    base = os.getpriority(os.PRIO_PROCESS, s.core_pid)
    threads = [int(t) for t in os.listdir(f"/proc/{pid}/task")]
    assert len(threads) == 2
    for one in (*threads, child):
        assert os.getpriority(os.PRIO_PROCESS, one) == base + 4
    for one in (pid, child):
        assert limits(one)["Max open files"] == ["99", "99"]
        assert open(f"/proc/{one}/oom_score_adj").read() == "123\n"
    s.write(service("a", run))
    s.call("reload")
    for one in (*threads, child):
        assert os.getpriority(os.PRIO_PROCESS, one) == base
    assert limits(child)["Max open files"] == nofile
    assert open(f"/proc/{child}/oom_score_adj").read() == score
    assert s.instance("a:0")["pid"] == pid


def test_output_moves_to_another_file_and_format(host):
    s = host(start=False)
    fifo = s.path("say")
    os.mkfifo(fifo)
    run = f"command = sh -c \"exec 3<>{fifo}; while read line <&3; do echo $line; done\"\n"

    def say(word):
        with open(fifo, "w") as file:
            file.write(word + "\n")
    pid = change(s, run, run + f"stdout_logfile = {s.path('new.log')}\nlog_format = raw\n")
    say("moved")
    wait_for(lambda: s.text_of("new.log") == "moved\n", "its line in the new file")
    assert "moved" not in s.text_of("log", "a-0.log")
    s.write(service("a", run + f"stdout_logfile = {s.path('new.log')}\nlog_format = json\n"
                    "stdout_logfile_maxbytes = 1KB\nstdout_logfile_backups = 1\n"))
    s.call("reload")
    say("x" * 700)
    wait_for(lambda: "xxx" in s.text_of("new.log"), "its line")
    say("y" * 700)
    wait_for(lambda: "yyy" in s.text_of("new.log"), "its line")
    say("z")
    wait_for(lambda: "xxx" in s.text_of("new.log.1") and "z" in s.text_of("new.log"),
             "a rotated file")
    assert json.loads(s.text_of("new.log").splitlines()[-1])
    assert s.instance("a:0")["pid"] == pid


def test_stopping_and_restarting_follow_the_new_values(host):
    s = host(start=False)
    run = ("command = sh -c \"trap 'exit 7' INT; trap '' TERM; while :; do sleep 0.02; done\"\n"
           "stopsignal = TERM\nstopwaitsecs = 1h\n")
    pid = change(s, run, run.replace("TERM\nstop", "INT\nstop") + f"post_stop = touch {s.path('p')}\n")
    s.call("stop", names=["a"])  # with what it had it would never end
    assert not alive(pid) and os.path.exists(s.path("p"))
    s.call("start", names=["a"])
    pid = change(s, "command = sleep 1000\n", "command = sleep 1000\nautorestart = false\n", "b")
    os.kill(pid, signal.SIGKILL)
    s.wait_state("b:0", "exited")
    change(s, "command = sleep 1000\n", "command = sleep 1000\nstartretries = 0\n"
           "startsecs = 1h\nbackoff_min = 1h\nbackoff_max = 1h\n", "c")


def test_what_is_under_way_goes_by_its_new_times(host):
    """A start, a stop and a wait that would take hours by what they began with."""
    s = host(start=False)
    run = ("[service:starts]\ncommand = sleep 1000\nstartsecs = {t}\n"
           "[service:waits]\ncommand = sleep 1000\nready = exec:false\nready_timeout = {t}\n"
           "[service:retries]\ncommand = false\nbackoff_min = {t}\nbackoff_max = {t}\n"
           "[service:rule]\ncommand = sh -c 'exit 75'\nrestart_on = 75: backoff {t}\n"
           "startsecs = 0\n"
           "[service:stops]\ncommand = sh -c \"trap '' TERM; echo >&5; exec 5>&-; "
           "while :; do sleep 0.02; done\"\nready = fd:5\nstopwaitsecs = {t}\n")
    s.write(run.format(t="1h"))
    s.start()
    s.wait_ready("stops:0")
    s.call("stop", names=["stops"], wait=False)
    for name, state in (("starts", "starting"), ("waits", "starting"), ("retries", "backoff"),
                        ("rule", "backoff"), ("stops", "stopping")):
        s.wait_state(f"{name}:0", state)
    starts, waits, stops = (s.instance(f"{n}:0")["pid"] for n in ("starts", "waits", "stops"))
    s.write(run.format(t="200ms"))
    assert {row["change"] for row in s.call("reload")["services"]} == {LIVE}
    assert s.wait_ready("starts:0")["pid"] == starts
    s.wait_state("stops:0", "stopped")
    wait_for(lambda: not alive(waits) and not alive(stops), "their ends")
    for name in ("retries:0", "rule:0"):
        s.wait_instance(name, lambda row: row["restarts"] >= 2, "retries")


def test_backoff_of_the_next_restart_is_the_new_one(host):
    s = host(start=False)
    run = "command = sleep 1000\nautorestart = true\n"
    pid = change(s, run, run + "restart_on = KILL: backoff 1h\n")
    os.kill(pid, signal.SIGKILL)
    row = s.wait_state("a:0", "backoff")
    assert row["next_retry_s"] > 3000


def test_a_check_keeps_its_count_through_reloads(host):
    """Failures are counted on while other things change; a live reload forgives nothing."""
    s = host(start=False)
    run = (f"command = sleep 1000\nlive = exec:sh -c 'echo >> {s.path('asked')}; exit 1'\n"
           "live_interval = 100ms\nlive_threshold = 1000\n")
    s.write(service("a", run))
    s.start()
    pid = up(s)["a:0"]
    asked = lambda: len(s.text_of("asked").splitlines())  # noqa: E731
    wait_for(lambda: asked() >= 3, "some failures")
    for number in range(4):  # reloads that come faster than its interval must not hold it up
        s.write(service("a", run + f"stopwaitsecs = {number + 20}s\n"))
        s.call("reload")
    seen = asked()
    s.write(service("a", run.replace("1000\n", "4\n").replace("sleep 4", "sleep 1000")))
    s.call("reload")
    s.wait_instance("a:0", lambda row: row["pid"] != pid and row["pid"], "a restart")
    assert asked() <= seen + 4  # with counts from zero it would have taken at least four more


def test_reloads_faster_than_the_interval_do_not_hold_a_check_up(host):
    s = host(start=False)
    run = (f"command = sleep 1000\nlive = exec:sh -c 'echo >> {s.path('asked')}'\n"
           "live_interval = 300ms\n")
    s.write(service("a", run))
    s.start()
    up(s)
    end = time.monotonic() + 60
    number = 0
    while len(s.text_of("asked").splitlines()) < 3:
        assert time.monotonic() < end
        number += 1
        s.write(service("a", run + f"priority = {number % 900}\n"))
        s.call("reload")


def test_limits_of_its_group_are_written(host):
    s = host(start=False)
    pid = change(s, "", "pids_max = 77\n")
    why = s.call("status")["supervisor"]["guarantees"]
    with open(f"/proc/{pid}/cgroup") as file:
        group = [line[3:].strip() for line in file if line.startswith("0::")]
    mounts = [line.split()[4] for line in open("/proc/self/mountinfo") if " - cgroup2 " in line]
    path = f"{mounts[0]}{group[0]}/pids.max" if mounts and group else ""
    if not os.path.exists(path) or "a:0" not in path:
        pytest.skip(f"no control group with a limit of processes here: {why}")
    with open(path) as file:
        assert file.read() == "77\n"


@pytest.mark.parametrize("moment", range(3))
def test_a_core_that_dies_leaves_live_changes_to_the_next(host, moment):
    """Killed as soon as the new plan is kept: what was not applied yet is by the next core."""
    if not may_tune():
        pytest.skip("wants CAP_SYS_RESOURCE and CAP_SYS_NICE")
    count = 150
    s = host(start=False)
    lines = "command = sleep 1000\nstartsecs = 0\n"
    text = "".join(f"[service:s{i}]\n{lines}" + "{}" for i in range(count))
    s.write(text.replace("{}", ""))
    s.start()
    before = up(s)
    s.write(text.replace("{}", "rlimit_nofile = 55\n"))
    guardian, core, old = s.pid, s.core_pid, kept_plan(s.pid)
    connection = s.connect()
    connection.send("reload")
    end = time.monotonic() + 20
    while kept_plan(guardian) == old:
        assert time.monotonic() < end
    time.sleep(0.002 * moment)  # not for luck: another moment each time
    os.kill(core, signal.SIGKILL)
    connection.close()
    s.wait_up()
    wait_for(lambda: all(limits(pid)["Max open files"] == ["55", "55"] for pid in before.values()),
             "the new limit for all", 20)
    assert pids(s) == before


def kept_plan(guardian):
    folder = f"/proc/{guardian}/fd"
    for fd in os.listdir(folder):
        try:
            if os.readlink(f"{folder}/{fd}").startswith("/memfd:plan "):
                return os.stat(f"{folder}/{fd}").st_ino
        except FileNotFoundError:
            pass
    return None
