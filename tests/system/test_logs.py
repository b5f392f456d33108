"""supervisor logs: following, old and compressed files, several instances, filters."""
import datetime
import os
import re
import shutil
import signal
import subprocess
import threading

import pytest

from harness import BINARY, Failed, children_of, host, wait_for  # noqa: F401

needs_zstd = pytest.mark.skipif(not shutil.which("zstd"), reason="zstd is not installed")
COUNT = ('sh -c "i=0; while [ $$i -lt %d ]; do echo line $$i; i=$$((i+1)); done; '
         'exec sleep 1000"').replace("$$", "$")


def follow(s, *words):
    return subprocess.Popen([BINARY, "logs", "-f", *words, "-s", s.socket], stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True)


def logger_pid(s):
    for pid in children_of(s.pid):
        with open(f"/proc/{pid}/cmdline") as line:
            if "logger" in line.read():
                return pid
    return None


@needs_zstd
def test_a_follower_that_is_stopped_for_many_rotations_loses_no_line(host):
    """Also while the files are compressed, and while loggers are killed."""
    s = host("[service:web]\n"
             "command = sh -c \"i=0; while :; do echo line $i; i=$((i+1)); done\"\n"
             "startsecs = 0\nstdout_logfile_maxbytes = 64KB\nstdout_logfile_backups = 3000\n"
             "logfile_compress = zstd\n")
    wait_for(lambda: s.text_of("log", "web-0.log"), "output")
    logs = follow(s, "-n", "1", "web")
    lines = []
    reader = threading.Thread(target=lambda: lines.extend(logs.stdout))
    reader.start()
    folder = s.path("log")
    try:
        for round in range(4):
            os.kill(logs.pid, signal.SIGSTOP)
            before = len(os.listdir(folder))
            os.kill(wait_for(lambda: logger_pid(s), "the logger"), signal.SIGKILL)
            wait_for(lambda: len(os.listdir(folder)) > before + 5, "rotations")
            os.kill(logs.pid, signal.SIGCONT)
            there = len(lines)
            wait_for(lambda: len(lines) > there + 3000, "the follower")
        s.run("stop", "web")

        def is_at_the_end():  # what was in the pipe is still being written
            last = s.text_of("log", "web-0.log").splitlines(True)[-1:]
            return not last or (last[0].endswith("\n") and lines[-1:] == last)
        wait_for(is_at_the_end, "the end")
    finally:
        logs.kill()
        reader.join()
        errors = logs.stderr.read()
        logs.wait()
    # It was killed, perhaps in the middle of a line.
    seen = [int(line.split()[2]) for line in lines if line.endswith("\n")]
    assert seen == list(range(seen[0], seen[0] + len(seen))), errors
    assert errors == ""
    wait_for(lambda: any(name.endswith(".zst") for name in os.listdir(folder)), "a compressed file")


@needs_zstd
def test_the_last_lines_come_from_old_files_too(host):
    s = host(f"[service:web]\ncommand = {COUNT % 3000}\nstartsecs = 0\nlog_format = raw\n"
             "stdout_logfile_maxbytes = 4KB\nstdout_logfile_backups = 50\n"
             "logfile_compress = zstd\n")
    wait_for(lambda: os.path.exists(s.path("log", "web-0.log.4.zst")), "compressed files")
    wait_for(lambda: s.run("logs", "web", "-n", "1").stdout == "line 2999\n", "all output")
    assert s.run("logs", "web", "-n", "2500").stdout == \
        "".join(f"line {i}\n" for i in range(500, 3000))
    assert s.run("logs", "web", "-n", "9999").stdout == "".join(f"line {i}\n" for i in range(3000))
    assert s.run("logs", "web", "--grep", "^line 1[05]00$").stdout == "line 1000\nline 1500\n"
    assert s.run("logs", "web", "-n", "2", "-g", "7$").stdout == "line 2987\nline 2997\n"
    assert "--grep" in s.run("logs", "web", "--grep", "[", code=2).stderr
    assert len(s.run("logs", "web", "--since", "1h").stdout.splitlines()) == 3000


def compressing(host, tmp_path, sync):
    """A supervisor that finds this `sync` first; its service's output is compressed."""
    (tmp_path / "sync").write_text(f"#!/bin/sh\n{sync}\n")
    (tmp_path / "sync").chmod(0o755)
    return host(f"[service:web]\ncommand = {COUNT % 2000}\nstartsecs = 0\nlog_format = raw\n"
                "stdout_logfile_maxbytes = 8KB\nlogfile_compress = zstd\n",
                environment={"PATH": f"{tmp_path}:{os.environ['PATH']}"})


@needs_zstd
def test_what_is_compressed_is_durable_before_the_plain_file_goes(host, tmp_path):
    seen = tmp_path / "seen"
    s = compressing(host, tmp_path, f'zstd -q -t <"$1" && ls "$(dirname "$1")" >>{seen}\n'
                                    f'exec {shutil.which("sync")} "$@"')
    wait_for(lambda: os.path.exists(s.path("log", "web-0.log.2.zst")), "compressed files")
    names = seen.read_text().split()
    assert "web-0.log.zst.tmp" in names and "web-0.log.1" in names


@needs_zstd
def test_what_cannot_be_made_durable_stays_uncompressed(host, tmp_path):
    s = compressing(host, tmp_path, "exit 1")
    wait_for(lambda: "cannot be made durable" in s.text_of("supervisor.log"), "a warning")
    wait_for(lambda: s.run("logs", "web", "-n", "1").stdout == "line 1999\n", "all output")
    assert s.run("logs", "web", "-n", "9999").stdout == "".join(f"line {i}\n" for i in range(2000))
    assert not any(name.endswith(".zst") for name in os.listdir(s.path("log")))


def test_instances_are_shown_together(host):
    s = host("[service:web]\nnumprocs = 3\nstartsecs = 0\nredirect_stderr = false\n"
             "command = sh -c \"echo one; echo two >&2; sleep 0.2; echo three; exec sleep 1000\"\n"
             "[service:db]\ncommand = sh -c \"echo data; exec sleep 1000\"\nstartsecs = 0\n"
             "[group:all_of_it]\nprograms = web,db\n")

    def shown():
        text = s.run("logs", "all", "--both").stdout
        return text if text.count("three") == 3 and "data" in text else None
    text = wait_for(shown, "all of the output")
    lines = text.splitlines()
    assert len(lines) == 10
    assert sorted({line.split("|")[0] for line in lines}) == \
        ["db:0 ", "web:0 ", "web:0 err ", "web:1 ", "web:1 err ", "web:2 ", "web:2 err "]
    times = [line.split()[-2] for line in lines]
    assert times == sorted(times)
    assert s.run("logs", "all_of_it:*", "--both").stdout == text
    assert "\033" not in text
    assert s.run("logs", "web:1", "--stderr").stdout.split()[1:] == ["two"]
    assert len(s.run("logs", "web", "-n", "1").stdout.splitlines()) == 3
    # From a time on.
    first = min(line.split()[-2] for line in lines if line.endswith("three"))
    late = s.run("logs", "all", "--since", first).stdout.splitlines()
    assert late and all(line.endswith("three") for line in late)
    assert s.run("logs", "all", "--since", "0").stdout == ""
    assert "--since wants" in s.run("logs", "all", "--since", "yesterday", code=2).stderr
    soon = datetime.datetime.now() + datetime.timedelta(days=2)
    assert s.run("logs", "all", "--since", soon.strftime("%Y-%m-%d")).stdout == ""


def test_several_are_followed_with_prefixes(host):
    s = host("[service:web]\nnumprocs = 2\nstartsecs = 0\n"
             "command = sh -c \"i=0; while :; do echo line $i; i=$((i+1)); sleep 0.01; done\"\n"
             "stdout_logfile_maxbytes = 1KB\n")
    logs = follow(s, "web", "-g", "[05]$", "-n", "0")
    try:
        seen = {"web:0": [], "web:1": []}
        while min(len(numbers) for numbers in seen.values()) < 20:
            match = re.fullmatch(r"(web:\d) \| \S+ line (\d+)\n", logs.stdout.readline())
            seen[match[1]].append(int(match[2]))
    finally:
        logs.kill()
        logs.communicate()
    for numbers in seen.values():
        assert numbers == list(range(numbers[0], numbers[0] + 5 * len(numbers), 5))


def test_instances_that_are_added_are_followed_too(host):
    s = host("[service:web]\nstartsecs = 0\n"
             "command = sh -c \"echo begins; while :; do echo goes on; sleep 0.01; done\"\n")
    logs = follow(s, "web", "-n", "1")
    try:
        assert not logs.stdout.readline().startswith("web")
        s.run("scale", "web=3")
        first = {}
        while len(first) < 2:
            match = re.fullmatch(r"(web:[12]) \| \S+ (.*)\n", logs.stdout.readline())
            if match:
                first.setdefault(match[1], match[2])
        assert first == {"web:1": "begins", "web:2": "begins"}
    finally:
        logs.kill()
        assert logs.communicate()[1] == ""


def test_why_remembers_what_others_turned_out_of_the_recorder(host):
    """A loud neighbour, and a core that is killed: last end, who ordered what, ends over time."""
    s = host("[service:quiet]\ncommand = sh -c \"echo last words; exit 5\"\nautorestart = false\n"
             "[service:loud]\ncommand = false\nbackoff_min = 1ms\nbackoff_max = 1ms\nnumprocs = 16\n"
             "autostart = false\n", start=False)
    s.write(open(s.config).read().split("\n", 3)[3], settings="restart_burst = 100000\n")
    s.start()
    s.wait_state("quiet:0", "failed")
    s.run("stop", "quiet")
    number = s.wait_event(lambda e: e["event"] == "exit" and e["instance"] == "quiet:0")["seq"]
    s.run("start", "loud", "--no-wait")
    wait_for(lambda: s.events(since=number)[0]["event"] == "gap", "a full recorder", 240)
    s.run("stop", "loud")
    s.kill_core()
    row = s.call("why", names=["quiet"])["instances"][0]
    ends = [e for e in row["events"] if e["event"] == "exit"]
    assert [(e["seq"], e["code"]) for e in ends] == [(number, 5)]
    assert [e["order"] for e in row["events"] if e["event"] == "order"] == ["stop"]
    assert sum(row["exits"]["minutes"]) == sum(row["exits"]["hours"]) == 1
    text = s.run("why", "quiet").stdout
    assert "ended after" in text and "stop quiet by " in text and "last words" in text
    with pytest.raises(Failed, match="at most 50 instances"):
        s.run("scale", "loud=60")
        s.call("why", names=["loud"])
    loud = s.call("why", names=["loud:3"])["instances"][0]
    assert len([e for e in loud["events"] if e["event"] == "exit"]) >= 5
    assert sum(loud["exits"]["hours"]) > 50


def test_why_names_the_chain(host):
    s = host("[service:db]\ncommand = false\nbackoff_min = 1h\nbackoff_max = 1h\n"
             "[service:api]\ncommand = sleep 1000\nrequires = db\n"
             "[service:web]\ncommand = sleep 1000\nrequires = api\n")
    s.wait_state("db:0", "backoff")
    row = s.call("why", names=["web"])["instances"][0]
    assert [link["id"] for link in row["waits_for"]] == ["api:0", "db:0"]
    text = s.run("why", "web").stdout
    assert re.search(r"waits for +api:0, which waits as well\n +which needs +db:0, which is down",
                     text), text


@needs_zstd
def test_why_finds_the_last_words_in_an_old_compressed_file(host):
    s = host("[service:web]\ncommand = sh -c \"echo last words; kill -SEGV $$\"\n"
             "autorestart = false\n")
    s.wait_state("web:0", "failed")
    log = s.path("log", "web-0.log")
    wait_for(lambda: s.text_of("log", "web-0.log"), "output")
    subprocess.run(["zstd", "-q", "--rm", log, "-o", log + ".1.zst"], check=True)
    text = s.run("why", "web").stdout
    assert "last words" in text and "signal SEGV" in text
