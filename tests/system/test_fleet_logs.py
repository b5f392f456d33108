"""deployctl logs: the output of all hosts in one, in the order of time; hosts go and come back."""
import json
import os
import re
import signal
import subprocess
import threading

import pytest

from harness import Supervisor, alive, wait_for
from hosts import DEPLOYCTL, children_of, words_of

PATIENCE = 60
COUNT = ("command = sh -c 'i=0; while :; do i=$((i+1)); echo line $i of %s; sleep 0.05; done'\n"
         "startsecs = 0\n")


class Place:
    def __init__(self, folder, *services, extra=""):
        self.folder, self.supervisors = str(folder), {}
        for i, service in enumerate(services):
            name = f"h{i + 1}"
            os.makedirs(folder / name)
            self.supervisors[name] = Supervisor(f"[service:web]\n{service}").start()
        self.recipe = str(folder / "deploy.ini")
        with open(self.recipe, "w", encoding="utf-8") as out:
            out.write("[deploy]\napp = web\nservice = web\n")
            for name, supervisor in self.supervisors.items():
                out.write(f"[host:{name}]\npath = {folder}/{name}\n"
                          f"transport = local:{supervisor.socket}\n")
            out.write(extra)

    def run(self, *words, code=0):
        done = subprocess.run([DEPLOYCTL, "logs", *words, "--file", self.recipe],
                              capture_output=True, text=True, timeout=PATIENCE)
        assert done.returncode == code, done
        return done.stdout, done.stderr

    def close(self):
        for supervisor in self.supervisors.values():
            supervisor.close()


class Follower:
    def __init__(self, place, *words):
        self.process = subprocess.Popen(
            [DEPLOYCTL, "logs", "-f", *words, "--file", place.recipe], stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
        self.lines = []
        self.reader = threading.Thread(target=lambda: self.lines.extend(self.process.stdout))
        self.reader.start()

    def until(self, wanted, what=None):
        wait_for(lambda: any(wanted in line for line in list(self.lines)), what or wanted)

    def end(self, signum=signal.SIGINT):
        agents = children_of(self.process.pid)
        self.process.send_signal(signum)
        code = self.process.wait(PATIENCE)
        self.reader.join(PATIENCE)
        wait_for(lambda: not any(alive(pid) for pid in agents), "the end of the agents")
        return code


@pytest.fixture
def place(tmp_path):
    places = []

    def make(*services, **more):
        places.append(Place(tmp_path, *services, **more))
        return places[-1]
    yield make
    for one in places:
        one.close()


def numbers(lines, host):
    return [int(found[1]) for line in list(lines)
            if (found := re.search(rf"^{host} .*line (\d+) of", line))]


def times(lines):
    return [found[0] for line in lines if (found := re.search(r"\d{4}-\d\d-\d\dT[0-9:.]+", line))]


def filled(supervisor, count=30):
    wait_for(lambda: supervisor.text_of("log", "web-0.log").count("\n") > count, "some output")


def test_lines_of_all_hosts_are_in_the_order_of_time(place):
    here = place(COUNT % "h1", COUNT % "h2")
    for supervisor in here.supervisors.values():
        filled(supervisor)
    out, _ = here.run("-n", "20")
    lines = out.splitlines()
    assert len(lines) == 40 and all(re.match(r"h[12] web:0 \| ", line) for line in lines)
    assert times(lines) == sorted(times(lines)) and len(set(line[:2] for line in lines)) == 2
    rows = [json.loads(line) for line in here.run("-n", "3", "--json")[0].splitlines()]
    assert len(rows) == 6 and {row["host"] for row in rows} == {"h1", "h2"}
    assert rows[0]["event"] == "log" and rows[0]["instance"] == "web:0" and rows[0]["time"]
    assert len(here.run("-n", "2", "--hosts", "h2", "web")[0].splitlines()) == 2
    assert "nothing" in here.run("nothing", code=4)[1]


def test_a_host_that_is_lost_is_told_and_goes_on_where_it_was(place):
    here = place(COUNT % "h1", COUNT % "h2")
    follower = Follower(here, "-n", "1")
    try:
        follower.until("h1 web:0 |")
        follower.until("h2 web:0 |")
        agent = next(pid for pid in children_of(follower.process.pid)
                     if f"{here.folder}/h2" in words_of(pid))
        os.kill(agent, signal.SIGKILL)
        follower.until("h2: ", "the loss")
        there = len(numbers(follower.lines, "h1"))
        follower.until("h2: connected again")
        back = len(numbers(follower.lines, "h2"))
        wait_for(lambda: len(numbers(follower.lines, "h2")) > back + 20, "lines of h2 again")
        assert len(numbers(follower.lines, "h1")) > there, "h1 was held up"
    finally:
        code = follower.end()
    assert code == 130
    for host in ("h1", "h2"):
        seen = numbers(follower.lines, host)
        assert seen == list(range(seen[0], seen[0] + len(seen))), f"{host}: {seen}"
    assert any("trying again" in line for line in follower.lines)


def test_a_supervisor_that_restarts_its_core_is_followed_on(place):
    here = place(COUNT % "h1")
    follower = Follower(here)
    try:
        follower.until("h1 web:0 |")
        here.supervisors["h1"].kill_core()
        before = len(numbers(follower.lines, "h1"))
        wait_for(lambda: len(numbers(follower.lines, "h1")) > before + 30, "lines after that")
    finally:
        follower.end(signal.SIGTERM)
    seen = numbers(follower.lines, "h1")
    assert seen == list(range(seen[0], seen[0] + len(seen)))


def test_rotation_loses_nothing(place):
    fast = ("command = sh -c 'i=0; while [ $i -lt 3000 ]; do i=$((i+1)); echo line $i of h1; "
            "[ $((i %% 20)) != 0 ] || sleep 0.05; done; exec sleep 1000'\nstartsecs = 0\n"
            "stdout_logfile_maxbytes = 64KB\nstdout_logfile_backups = 3\n")
    here = place(fast)
    follower = Follower(here, "-n", "10000")
    try:
        follower.until("line 3000 of")
    finally:
        follower.end()
    assert numbers(follower.lines, "h1") == list(range(1, 3001))


def test_a_host_that_cannot_be_reached_holds_up_nobody(place):
    here = place(COUNT % "h1", extra="[host:gone]\naddress = 127.0.0.1\nport = 1\n")
    filled(here.supervisors["h1"])
    out, told = here.run("-n", "2", code=4)
    assert len(out.splitlines()) == 2 and told.startswith("gone: ") and "sshd" in told
    follower = Follower(here)
    try:
        follower.until("gone: ")
        before = len(numbers(follower.lines, "h1"))
        wait_for(lambda: len(numbers(follower.lines, "h1")) > before + 20, "lines of h1")
    finally:
        follower.end()
    assert sum("gone: " in line for line in follower.lines) == 1, "it is told once"


def test_what_a_line_may_not_be(place):
    here = place("command = sh -c 'head -c 40000 /dev/zero | tr \"\\\\0\" x; echo; echo done; "
                 "exec sleep 1000'\nstartsecs = 0\nlog_format = raw\n")
    wait_for(lambda: "done" in here.supervisors["h1"].text_of("log", "web-0.log"), "output")
    out, _ = here.run("-n", "2")
    assert max(map(len, out.splitlines())) < 9000 and "done" in out


def test_output_that_is_in_no_file_is_told(place):
    here = place("command = sleep 1000\nstdout_logfile = none\nstartsecs = 0\n")
    here.supervisors["h1"].wait_ready("web:0")
    assert "is in no file" in here.run()[1]


@pytest.mark.parametrize("words", [("-n", "x"), ("-n", "-1"), ("-n", "99999999")])
def test_a_number_that_is_none(place, words):
    here = place("command = sleep 1000\n")
    assert "--lines wants a number" in here.run(*words, code=2)[1]


def test_whoever_reads_no_more_ends_it(place):
    here = place(COUNT % "h1")
    reader, writer = os.pipe()
    process = subprocess.Popen([DEPLOYCTL, "logs", "-f", "--file", here.recipe], stdout=writer,
                               stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
    os.close(writer)
    assert os.read(reader, 1)
    os.close(reader)
    assert process.wait(PATIENCE) in (0, 4)
