"""Scheduled services: type = scheduled, and what a oneshot is for those who know systemd's."""
import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest

from harness import (MARK, ROOT, SANITIZED, host,  # noqa: F401 (host: a fixture)
                     processes_with, wait_for)

sys.path.insert(0, os.path.join(ROOT, "tests", "chaos"))
import faults  # noqa: E402


def job(name, command, *keys):
    return "\n".join([f"[service:{name}]", "type = scheduled", f"command = {command}", *keys, ""])


def jobs_of(events, kind, instance):
    return [e for e in events if e["event"] == kind and e["instance"] == instance]


def wait_jobs(s, kind, instance, count):
    """`count` events of this kind about the instance; all its events until then."""
    found = []
    connection = s.connect()
    connection.call("events", since=1)
    while len(jobs_of(found, kind, instance)) < count:
        found.append(connection.next_event())
    connection.close()
    return [e for e in found if e.get("instance") == instance]


def lines(s, *names):
    return s.text_of(*names).split()


def milliseconds(text):
    """Of an RFC 3339 time, without its date: for differences of less than a day."""
    hours, minutes, seconds = re.search(r"T(\d+):(\d+):([\d.]+)", text).groups()
    return round((int(hours) * 3600 + int(minutes) * 60 + float(seconds)) * 1000)


# --- a oneshot ---

def test_oneshot_is_done_counts_as_up_and_runs_again(host):
    """As systemd's RemainAfterExit=yes: what needs it may start; but `start` runs it once more."""
    s = host(start=False)
    s.write(f"[service:once]\ntype = oneshot\ncommand = sh -c \"echo run >> {s.folder}/runs\"\n")
    s.start()
    row = s.wait_state("once:0", "exited")
    assert row["ready"] and row["expected"]
    s.run("status", code=0)
    assert "done" in s.run("start", "once").stdout
    assert len(lines(s, "runs")) == 2
    s.run("stop", "once")
    row = s.instance("once:0")
    assert row["state"] == "stopped" and not row["ready"]
    s.run("restart", "once")
    assert len(lines(s, "runs")) == 3


def test_oneshot_that_fails_is_tried_again_as_often_as_it_says(host):
    s = host(start=False)
    s.write(f"[service:once]\ntype = oneshot\nstartretries = 2\nbackoff_min = 10ms\n"
            f"command = sh -c \"echo run >> {s.folder}/runs; exit 3\"\n")
    s.start()
    row = s.wait_state("once:0", "failed")
    assert len(lines(s, "runs")) == 3 and not row["ready"] and row["last_exit"]["code"] == 3
    s.run("status", code=3)
    s.run("start", "once", code=1)


def test_oneshot_that_takes_too_long(host):
    s = host("[service:once]\ntype = oneshot\nautorestart = false\nrun_timeout = 100ms\n"
             "command = sleep 1000\n")
    row = s.wait_state("once:0", "failed")
    assert "not done within 100ms (run_timeout)" in row["reason"] + (row["last_exit"]["cause"] or "")


# --- runs ---

def test_an_interval_comes_round(host):
    s = host(start=False)
    s.write(job("tick", f"sh -c \"echo run >> {s.folder}/runs\"", "every = 200ms"))
    s.start()
    events = wait_jobs(s, "job-finished", "tick:0", 4)
    begun, ended = jobs_of(events, "job-started", "tick:0"), jobs_of(events, "job-finished", "tick:0")
    times = [milliseconds(e["due"]) for e in begun]
    # A beat, but for clocks that are being slewed.
    assert all((b - a + 10) % 200 <= 20 and b > a for a, b in zip(times, times[1:]))
    assert [e["runs"] for e in begun] == list(range(1, len(begun) + 1))
    assert all(e["result"] == "success" and e["attempts"] == 1 for e in ended)
    assert all(e["late_s"] >= 0 for e in begun)
    s.run("stop", "tick")
    row = s.instance("tick:0")
    assert len(lines(s, "runs")) == row["runs"]["total"]


def test_what_status_says(host):
    s = host(job("nightly", "true", "schedule = 0 3 * * 1-5 | @yearly", "schedule_timezone = UTC")
             + job("hourly", "false", "every = 1h"))
    row = s.wait_state("nightly:0", "scheduled")
    assert row["ready"] and row["wanted"] and row["schedule"] == "0 3 * * 1-5 | @yearly"
    assert 0 < row["next_run"]["in_s"] <= 3 * 24 * 3600 and row["last_run"] is None
    text = s.run("status", code=0).stdout
    assert re.search(r"nightly:0 +scheduled .*next run in .*\(\w+ \d\d:00\)", text)
    assert re.search(r"hourly:0 .*next run in (1h|59m)", text)
    assert "nightly:0 done" in s.run("start", "nightly").stdout
    failed = s.run("start", "hourly", code=1)
    assert "exited with code 1" in failed.stderr
    row = s.instance("hourly:0")
    assert row["state"] == "failed" and not row["ready"]
    assert row["last_run"]["result"] == "failure" and row["last_run"]["due"] is None
    assert 0 < row["next_run"]["in_s"] <= 3600
    text = s.run("status", code=3).stdout
    assert re.search(r"hourly:0 +failed .*its last run failed: exited with code 1; next run in", text)
    why = s.run("why", "hourly").stdout
    assert "its last run was not good" in why and "1 so far, 1 failed" in why
    assert "last run      failure" in why and "a run ended: failure; exited with code 1" in why
    why = s.run("why", "nightly").stdout
    assert "0 3 * * 1-5 | @yearly (UTC)" in why and "last run      success" in why


def test_stop_suspends_and_start_goes_on(host):
    s = host(job("held", "sleep 1000", "every = 1h") + job("idle", "true", "every = 1h"))
    s.run("start", "held", "--no-wait")
    s.wait_state("held:0", "running")
    s.run("status", code=0)  # a run under way is nothing bad
    s.run("stop", "all")
    row = s.instance("held:0")
    assert row["state"] == "stopped" and row["suspended"] and row["next_run"] is None
    assert row["last_run"]["result"] == "stopped"
    s.run("status", code=0)
    s.kill_core()
    assert s.instance("held:0")["suspended"]
    out = s.run("start", "all").stdout  # many at once: their times count again, nothing runs
    assert "idle:0 is scheduled" in out and "held:0 is scheduled" in out
    assert s.instance("held:0")["state"] == "scheduled" and s.instance("idle:0")["runs"]["total"] == 0
    s.run("stop", "idle")
    s.run("start", "idle")  # by name: it runs now, too
    row = s.instance("idle:0")
    assert row["runs"]["total"] == 1 and row["next_run"] and not row["suspended"]


def test_retries_belong_to_the_run(host):
    s = host(start=False)
    s.write(job("job", f"sh -c \"echo run >> {s.folder}/runs; exit 3\"", "every = 1h",
                "startretries = 2", "backoff_min = 10ms",
                f"on_failed = sh -c \"echo failed >> {s.folder}/told\"")
            + job("plain", f"sh -c \"echo run >> {s.folder}/plain; exit 3\"", "every = 1h"))
    s.start()
    s.run("start", "job", "--no-wait")
    events = wait_jobs(s, "job-finished", "job:0", 1)
    ended = jobs_of(events, "job-finished", "job:0")[0]
    assert ended["result"] == "failure" and ended["attempts"] == 3 and ended["failures"] == 1
    assert len(lines(s, "runs")) == 3
    wait_for(lambda: lines(s, "told") == ["failed"], "on_failed")
    s.run("start", "plain", code=1)  # none unless it says so
    assert len(lines(s, "plain")) == 1


def test_a_run_that_hangs_is_ended(host):
    s = host(job("job", "sleep 1000", "every = 1h", "run_timeout = 100ms"))
    failed = s.run("start", "job", code=1)
    assert "not done within 100ms (run_timeout)" in failed.stderr
    assert s.instance("job:0")["last_run"]["result"] == "failure"


# --- times that come while a run is under way ---

def test_forbid_skips(host):
    s = host(job("job", "sleep 1000", "every = 200ms"))
    events = wait_jobs(s, "job-skipped", "job:0", 2)
    assert len(jobs_of(events, "job-started", "job:0")) == 1
    assert s.instance("job:0")["runs"]["skipped"] >= 2


def test_queue_waits_for_the_end(host):
    s = host(start=False)
    os.mkfifo(s.path("gate"))
    s.write(job("job", f"sh -c \"read x < {s.folder}/gate\"", "every = 200ms",
                "concurrency_policy = queue"))
    s.start()
    wait_jobs(s, "job-skipped", "job:0", 1)  # one waits, this one was too much
    assert s.instance("job:0")["runs"]["queued"]
    s.run("stop", "job")  # the one that waits is not run any more
    assert not s.instance("job:0")["runs"]["queued"]
    s.run("start", "job", "--no-wait")
    wait_jobs(s, "job-skipped", "job:0", s.instance("job:0")["runs"]["skipped"] + 1)
    before = s.instance("job:0")["runs"]["total"]
    with open(s.path("gate"), "w") as gate:
        gate.write("go\n")
    s.wait_instance("job:0", lambda row: row["runs"]["total"] == before + 1, "the next run")
    events = [e for e in s.events() if e.get("instance") == "job:0"]
    order = [e["event"] for e in events if e["event"] in ("job-started", "job-finished")]
    assert order == ["job-started", "job-finished"] * (len(order) // 2) + ["job-started"]


def test_replace_ends_the_run_before(host):
    s = host(start=False)
    s.write(job("job", f"sh -c \"echo run >> {s.folder}/runs; exec sleep 1000\"", "every = 300ms",
                "concurrency_policy = replace"))
    s.start()
    events = wait_jobs(s, "job-started", "job:0", 3)
    ended = jobs_of(events, "job-finished", "job:0")
    assert len(ended) == 2 and all(e["result"] == "stopped" for e in ended)
    assert all("concurrency_policy" in e["why"] for e in ended)


# --- crashes ---

def test_no_run_is_lost_or_doubled_when_the_core_is_killed(host):
    """Each run writes a line; each time of the schedule is in exactly one of three counts."""
    s = host(start=False)
    s.write(job("tick", f"sh -c \"echo run >> {s.folder}/runs\"", "every = 100ms",
                "concurrency_policy = queue"))
    s.start()
    for i in range(12):
        s.kill_core()
        runs = s.instance("tick:0")["runs"]["total"]
        s.wait_instance("tick:0", lambda row: row["runs"]["total"] > runs + i % 3, "another run")
    s.run("stop", "tick")
    row = s.instance("tick:0")
    events = [e for e in s.events() if e.get("instance") == "tick:0"]
    due = {e["due"] for e in jobs_of(events, "job-started", "tick:0")}
    ended = {e["due"]: e["result"] for e in jobs_of(events, "job-finished", "tick:0")}
    assert len(due) == row["runs"]["total"] and set(ended) == due
    cut = list(ended.values()).count("stopped")  # by our order, perhaps before its line
    assert cut <= 1 and row["runs"]["total"] - cut <= len(lines(s, "runs")) <= row["runs"]["total"]
    times = sorted(milliseconds(text) for text in due)
    passed = (times[-1] - times[0]) / 100 + 1
    assert abs(passed - round(passed)) < 0.02
    left_out = round(passed) - len(due)
    assert left_out <= row["runs"]["missed"] + row["runs"]["skipped"]


def test_a_run_under_way_goes_on_without_the_core(host):
    s = host(start=False)
    os.mkfifo(s.path("gate"))
    s.write(job("job", f"sh -c \"read x < {s.folder}/gate\"", "every = 1h"))
    s.start()
    s.run("start", "job", "--no-wait")
    pid = s.wait_state("job:0", "running")["pid"]
    s.kill_core()
    row = s.instance("job:0")
    assert row["pid"] == pid and row["last_run"]["result"] == "running"
    with open(s.path("gate"), "w") as gate:
        gate.write("go\n")
    row = s.wait_state("job:0", "scheduled")
    assert row["last_run"]["result"] == "success" and row["runs"]["total"] == 1


# --- the supervisor is not there ---

def kept(s):
    with open(s.path("state", "jobs.json")) as file:
        return json.load(file)


def test_a_damaged_file_is_ignored(host):
    """Times that no clock shows do not come into the ledger, and its service is a new one."""
    s = host(start=False)
    os.mkdir(s.path("state"), 0o700)
    row = {"until_ms": 1, "due_ms": 2**63 - 1, "active": 1, "running": 1, "runs": 7}
    with open(s.path("state", "jobs.json"), "w") as file:
        json.dump({"job:0": row, "fine:0": dict(row, due_ms=1)}, file)
    s.write(job("job", "true", "every = 1h") + job("fine", "true", "every = 1h"))
    s.start()
    assert s.instance("job:0")["runs"]["total"] == 0 and s.instance("fine:0")["runs"]["total"] == 7
    assert s.text_of("supervisor.log").count("damaged and ignored instance=job:0") == 1
    assert "core died" not in s.text_of("supervisor.log")


def put_back(s, name, hours):
    """As if the supervisor had gone down that long ago."""
    all_jobs = kept(s)
    all_jobs[name]["until_ms"] -= hours * 3600 * 1000
    with open(s.path("state", "jobs.json"), "w") as file:
        json.dump(all_jobs, file)


def wait_kept(s, name):
    wait_for(lambda: os.path.exists(s.path("state", "jobs.json")) and name in kept(s), "its file")


@pytest.mark.parametrize("catch_up,runs,missed",
                         [("none", 0, 5), ("once", 1, 4), ("all", 5, 0)])
def test_what_was_missed_is_made_up_for_as_asked(host, catch_up, runs, missed):
    s = host(start=False)
    s.write(job("job", f"sh -c \"echo run >> {s.folder}/runs\"", "schedule = 0 * * * *",
                "schedule_timezone = UTC", f"catch_up = {catch_up}"))
    s.start()
    wait_kept(s, "job:0")
    assert s.shutdown() == 0
    put_back(s, "job:0", 5)
    s.start()
    if missed:
        event = s.wait_event(lambda e: e["event"] == "job-missed")
        assert event["count"] == missed and "not running" in event["why"]
    for _ in range(runs):
        wait_jobs(s, "job-finished", "job:0", runs)
    row = s.wait_state("job:0", "scheduled")
    assert (row["runs"]["total"], row["runs"]["missed"]) == (runs, missed)
    assert len(lines(s, "runs")) == runs
    assert 0 < row["next_run"]["in_s"] <= 3600
    wait_for(lambda: kept(s)["job:0"]["runs"] == runs and not kept(s)["job:0"]["running"],
             "the file")


def test_starting_deadline_bounds_what_is_made_up_for(host):
    s = host(job("job", "true", "schedule = 0 * * * *", "catch_up = all", "schedule_timezone = UTC",
                 "starting_deadline = 2h"))
    wait_kept(s, "job:0")
    s.shutdown()
    put_back(s, "job:0", 10)
    s.start()
    wait_jobs(s, "job-finished", "job:0", 2)
    row = s.wait_state("job:0", "scheduled")
    assert (row["runs"]["total"], row["runs"]["missed"]) == (2, 8)


def test_an_interval_goes_on_after_a_restart(host):
    s = host(job("job", "true", "every = 1d"))
    wait_kept(s, "job:0")
    s.shutdown()
    put_back(s, "job:0", 20)
    s.start()
    row = s.wait_state("job:0", "scheduled")
    assert 3 * 3600 < row["next_run"]["in_s"] <= 4 * 3600


def end_at_once(s, memory_too=True):
    """All of it, as by a power cut: nothing of it is left, nor what it had in memory."""
    for signum in (signal.SIGSTOP, signal.SIGKILL):
        def gone():
            left = processes_with(f"{MARK}={s.folder}")
            for pid in left:
                try:
                    os.kill(pid, signum)
                except ProcessLookupError:
                    pass
            return signum == signal.SIGSTOP or not left
        wait_for(gone, "the end of all")
    s.process.wait()
    for name in os.listdir(s.folder):
        if name.startswith("control.sock") and memory_too:
            os.unlink(s.path(name))


def test_a_run_comes_at_most_once_over_a_power_cut(host):
    s = host(start=False)
    s.write(job("job", f"sh -c \"echo run >> {s.folder}/runs; exec sleep 1000\"",
                "schedule = @reboot | 0 * * * *", "schedule_timezone = UTC", "catch_up = all"))
    s.start()
    s.wait_state("job:0", "running")
    wait_for(lambda: lines(s, "runs") == ["run"], "its line")
    assert kept(s)["job:0"]["running"] == 1  # before it started
    s.write(job("job", f"sh -c \"echo run >> {s.folder}/runs; exec sleep 1000\"",
                "schedule = 0 * * * *", "schedule_timezone = UTC", "catch_up = all"))
    end_at_once(s)
    s.start()
    row = s.wait_instance("job:0", lambda row: row["last_run"] is not None, "what is kept")
    assert row["state"] == "failed" and row["last_run"]["result"] == "lost"
    s.wait_event(lambda e: e["event"] == "job-finished" and e["result"] == "lost")
    assert "its last run was lost" in s.run("status", code=3).stdout
    assert lines(s, "runs") == ["run"]


def test_reboot_comes_once_for_each_start(host):
    s = host(start=False)
    s.write(job("job", f"sh -c \"echo run >> {s.folder}/runs\"", "schedule = @reboot"))
    s.start()
    s.wait_instance("job:0", lambda row: row["runs"]["total"] == 1 and row["state"] == "scheduled")
    assert "no next run before" in s.run("status").stdout
    s.kill_core()
    s.run("reload")
    assert s.instance("job:0")["runs"]["total"] == 1
    s.shutdown()
    s.start()
    wait_jobs(s, "job-finished", "job:0", 1)
    assert len(lines(s, "runs")) == 2


def test_runs_without_a_folder_to_keep_anything_in(host):
    s = host(start=False)
    s.write(job("job", "true", "schedule = @reboot"), settings="")
    with open(s.config) as file:
        text = file.read().replace(f"state_dir = {s.folder}/state", "state_dir = /dev/null/state")
    with open(s.config, "w") as file:
        file.write(text)
    s.start()
    wait_jobs(s, "job-finished", "job:0", 1)


# --- reload ---

def test_a_reload_touches_no_run(host):
    s = host(job("job", "sleep 1000", "every = 1h"))
    s.run("start", "job", "--no-wait")
    pid = s.wait_state("job:0", "running")["pid"]
    s.write(job("job", "sleep 2000", "every = 2h", "stopsignal = INT"))
    s.run("reload")
    row = s.instance("job:0")
    assert row["pid"] == pid and row["every_s"] == 7200
    assert 3600 < row["next_run"]["in_s"] <= 7200  # counts from the reload on
    s.kill_core()
    assert s.instance("job:0")["pid"] == pid
    s.run("restart", "job", "--no-wait")
    row = s.wait_instance("job:0", lambda row: row["pid"] not in (None, pid), "another process")
    wait_for(lambda: "2000" in s.text_of(f"/proc/{row['pid']}/cmdline"), "the new command")


def test_a_service_becomes_scheduled_and_back(host):
    plain = "[service:job]\ncommand = sleep 1000\nstartsecs = 0\n"
    s = host(plain)
    s.wait_state("job:0", "running")
    s.write(job("job", "sleep 1000", "every = 1h"))
    s.run("reload")
    row = s.wait_state("job:0", "scheduled")
    assert row["runs"]["total"] == 0 and row["next_run"]
    s.write(plain)
    s.run("reload")
    row = s.wait_state("job:0", "running")
    assert "next_run" not in row
    s.write(job("job", "sleep 1000", "every = 1h"))
    s.run("stop", "job")
    s.run("reload")
    assert s.instance("job:0")["suspended"]  # stopped by order stays so


def test_a_schedule_that_is_taken_out(host):
    s = host(job("a", "sleep 1000", "every = 300ms") + job("b", "true", "every = 1h"))
    wait_jobs(s, "job-started", "a:0", 1)
    s.write(job("b", "true", "every = 1h"))
    s.run("reload")
    s.wait_event(lambda e: e["event"] == "job-finished" and e["instance"] == "a:0")
    wait_for(lambda: set(s.instances()) == {"b:0"}, "its end")


def test_an_unknown_zone_is_told(host):
    s = host(job("job", "true", "schedule = 0 3 * * *", "schedule_timezone = Mars/Olympus"))
    row = s.wait_state("job:0", "scheduled")
    assert row["next_run"] is None and "Mars/Olympus" in row["schedule_problem"]
    assert "Mars/Olympus" in s.run("status").stdout
    s.run("start", "job")  # by order it runs all the same


def test_check_warns(host):
    s = host(start=False)
    s.write("[service:a]\ncommand = sleep 1\nschedule = @daily\ncatch_up = once\nrun_timeout = 1h\n"
            "[service:b]\ncommand = sleep 1\ntype = scheduled\nevery = 1m\nschedule_jitter = 1m\n"
            "schedule_timezone = UTC\n"
            "[service:c]\ncommand = sleep 1\ntype = scheduled\nschedule = @daily\n"
            "schedule_timezone = Mars/Olympus\n")
    done = subprocess.run([s.binary, "check", "-c", s.config], capture_output=True, text=True)
    assert done.returncode == 0
    for text in ("schedule: has no effect without type = scheduled",
                 "catch_up: has no effect without type = scheduled",
                 "run_timeout: has no effect with type = service",
                 "schedule_jitter: 1m is no less than the time between two runs, 1m",
                 "schedule_timezone: has no effect without schedule",
                 'schedule_timezone: there is no time zone "Mars/Olympus"'):
        assert text in done.stdout, (text, done.stdout)


def test_jitter_is_the_same_each_time_and_another_for_each(host):
    s = host(job("job", "true", "schedule = 0 3 1 1 *", "schedule_timezone = UTC",
                 "schedule_jitter = 1h", "numprocs = 4"))

    def times():
        return {name: row["next_run"]["at"] for name, row in s.instances().items()}
    s.wait_state("job:0", "scheduled")
    before = times()
    assert len(set(before.values())) == 4
    assert time.timezone or all("T03:" in at for at in before.values())
    s.shutdown()
    s.start()
    assert times() == before


# --- clocks ---

@pytest.fixture
def clock(host, tmp_path):
    """A supervisor whose wall clock can be set, by tests/chaos/preload.c: (it, set it ahead)."""
    if SANITIZED:
        pytest.skip("NOT TESTED: the sanitizer has its own memory functions")
    memory = faults.Memory(str(tmp_path / "orders"))
    if not os.path.exists(memory.environment["LD_PRELOAD"]):
        pytest.skip("NOT TESTED: make tests-built")
    s = host(start=False, environment=memory.environment)

    def set_ahead(seconds):
        memory.set_clock(round(seconds))
        s.call("status")  # whatever wakes it up makes it look; a real clock wakes it by itself
    yield s, set_ahead
    memory.close()


def test_a_clock_that_is_set(clock):
    s, set_ahead = clock
    hour = 3600
    s.write(job("job", "true", "schedule = 0 * * * *", "schedule_timezone = UTC"))
    s.start()
    before_hour = hour - time.time() % hour - 1  # a second before the next hour, or less
    set_ahead(before_hour)
    started = jobs_of(wait_jobs(s, "job-started", "job:0", 1), "job-started", "job:0")[0]
    assert ":00:00" in started["due"] and started["late_s"] < 30
    s.wait_instance("job:0", lambda row: row["last_run"]["result"] == "success", "its end")
    # Put back over the run: it does not come twice.
    set_ahead(before_hour - hour / 2)
    row = s.instance("job:0")
    assert row["runs"]["total"] == 1 and row["next_run"]["in_s"] > hour
    # Put forward over one time: it comes late.
    set_ahead(before_hour + hour + 30)
    s.wait_instance("job:0", lambda row: row["runs"]["total"] == 2, "the late run")
    # By so much that the clock was wrong before: nothing is made up for.
    set_ahead(before_hour + 10 * hour)
    event = s.wait_event(lambda e: e["event"] == "job-missed")
    assert event["count"] >= 8 and event["why"] == "the clock was set"
    row = s.instance("job:0")
    assert row["runs"]["total"] == 2 and 0 < row["next_run"]["in_s"] <= hour
    # And back from a future that never came.
    set_ahead(before_hour + 2 * hour)
    row = s.instance("job:0")
    assert row["runs"]["total"] == 2 and 0 < row["next_run"]["in_s"] <= hour


def test_all_of_it_is_killed_and_started_hours_later(clock):
    """It finds its memory again, and yet nobody was there: catch_up decides."""
    s, set_ahead = clock
    s.write(job("job", "true", "schedule = 0 * * * *", "schedule_timezone = UTC"))
    s.start()
    s.wait_state("job:0", "scheduled")
    ahead = 1800 - time.time() % 3600  # at half past something, perhaps earlier today
    set_ahead(ahead)
    before = s.instance("job:0")["runs"]
    end_at_once(s, memory_too=False)
    s.call = lambda *words, **params: None  # nobody is there to be woken
    set_ahead(ahead + 7200)
    del s.call
    s.start()
    event = s.wait_event(lambda e: e["event"] == "job-missed" and "not running" in e["why"])
    assert event["count"] == 2
    row = s.instance("job:0")
    assert row["runs"]["total"] == before["total"] and 0 < row["next_run"]["in_s"] <= 3600


def test_an_interval_does_not_care_for_the_clock(clock):
    s, set_ahead = clock
    s.write(job("job", "true", "every = 2h"))
    s.start()
    for ahead in (10 * 3600, -10 * 3600, 0):
        set_ahead(ahead)
        row = s.instance("job:0")
        assert row["runs"]["total"] == 0 and 7000 < row["next_run"]["in_s"] <= 7200


# --- releases ---

ONE, TWO = "000001-00000001", "000002-00000002"


def test_a_switch_leaves_the_run_and_the_next_one_takes_it(host):
    """A job is in the release set of what it belongs to, and holds nothing up there."""
    s = host(start=False)
    site, user = s.path("site"), "user = root" if os.geteuid() == 0 else ""
    for name in (ONE, TWO):
        os.makedirs(s.path("site", "releases", name))
    os.mkfifo(s.path("gate"))
    s.write(job("job", f"sh -c \"echo $RELEASE_ID >> {s.folder}/runs; read x < {s.folder}/gate\"",
                "every = 1h", f"release = {site}", user)
            + f"[service:web]\ncommand = sleep 1000\nstartsecs = 0\nrelease = {site}\n{user}\n")
    s.start()
    assert s.call("release.switch", path=site, id=ONE)["result"] == "switched"
    s.run("start", "job", "--no-wait")
    pid = s.wait_state("job:0", "running")["pid"]
    wait_for(lambda: lines(s, "runs") == [ONE], "its line")
    answer = s.call("release.switch", path=site, id=TWO)
    assert answer["result"] == "switched", answer
    assert s.instance("web:0")["release"] == TWO and s.instance("job:0")["pid"] == pid
    with open(s.path("gate"), "w") as gate:
        gate.write("go\n")
    s.wait_state("job:0", "scheduled")
    s.run("start", "job", "--no-wait")
    wait_for(lambda: lines(s, "runs") == [ONE, TWO], "the next run")
    s.run("stop", "job")
    assert s.call("release.switch", path=site, id=ONE)["result"] == "switched"
    s.kill_core()
    state = s.call("release.state", path=site)
    assert state["pinned"] == ONE and state["phase"] == "steady"


def test_a_job_whose_release_is_undone(host):
    """The first release of all does not become ready: the run is stopped, the schedule stays."""
    s = host(start=False)
    site, user = s.path("site"), "user = root" if os.geteuid() == 0 else ""
    os.makedirs(s.path("site", "releases", ONE))
    s.write(job("job", "sleep 1000", "every = 1h", f"release = {site}", user)
            + f"[service:web]\ncommand = sleep 1000\nready = fd:5\nready_timeout = 1h\n"
            f"release = {site}\n{user}\n")
    s.start()
    connection = s.connect()
    number = connection.send("release.switch", path=site, id=ONE, ready_timeout=1)
    s.wait_state("web:0", "starting")
    s.call("start", names=["job"], wait=False)
    assert connection.answer(number)["result"] == "reverted"
    connection.close()
    row = s.wait_instance("job:0", lambda row: row["pid"] is None, "the end of its run")
    assert row["next_run"] and row["runs"]["total"] <= 1
