"""deployctl against real supervisors on this machine (transport local:), as an operator uses it.

DEPLOYCTL_BIN and SUPERVISOR_BIN name the programs; otherwise they are in $B/bin.
"""
import json
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import tempfile
import urllib.request

import pytest

from harness import DEADLINE, ROOT, Supervisor, free_port, wait_for

DEPLOYCTL = os.path.abspath(os.environ.get(
    "DEPLOYCTL_BIN",
    os.path.join(ROOT, os.environ.get("B", "build/release"), "bin", "deployctl")))
HOSTS = 3
LEASE = 3

WEB = r"""#!/usr/bin/python3
import http.server, os, sys, threading
if os.path.exists("dies-after-a-while"):
    threading.Timer(1.5, os._exit, [9]).start()
if os.path.exists("crash"):
    sys.exit(7)
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(500 if os.path.exists("never-ready") else 200)
        self.end_headers()
        self.wfile.write(os.environ["RELEASE_ID"].encode())
    def log_message(self, *arguments):
        pass
http.server.HTTPServer.allow_reuse_address = True
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


class Host:
    def __init__(self, folder, name):
        self.name, self.port = name, free_port()
        self.root = os.path.join(folder, name)
        os.makedirs(self.root)
        user = "user = root\n" if os.geteuid() == 0 else ""
        self.supervisor = Supervisor(
            f"[service:web]\ncommand = bin/web {self.port}\nrelease = {self.root}\n{user}"
            f"ready = http://127.0.0.1:{self.port}/\nready_timeout = 5s\n"
            f"startup = tcp://127.0.0.1:{self.port}\nstartup_interval = 50ms\n"
            "startup_threshold = 1000\n"  # a busy machine is no reason to judge it dead
            f"live = http://127.0.0.1:{self.port}/live\nlive_interval = 300ms\nstopwaitsecs = 2s\n",
            folder=tempfile.mkdtemp(prefix="supervisor-")).start()

    @property
    def current(self):
        try:
            return os.path.basename(os.readlink(os.path.join(self.root, "current")))
        except FileNotFoundError:
            return None

    def served(self):
        """What a visitor gets; None while nobody answers."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/", timeout=2) as answer:
                return answer.read().decode()
        except OSError:
            return None

    def settled(self):
        """Runs wholly one release: the link, the process and the folder agree."""
        return wait_for(lambda: self.current and self.served() == self.current and self.current,
                        f"{self.name} runs one release")


class Fleet:
    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="deploy-")
        os.chmod(self.folder, 0o755)
        self.source = os.path.join(self.folder, "src")
        self.recipe = os.path.join(self.folder, "deploy.ini")
        self.number = 0
        os.makedirs(os.path.join(self.source, "bin"))
        self.put("bin/web", WEB, 0o755)
        self.hosts = [Host(self.folder, f"h{i + 1}") for i in range(HOSTS)]
        self.write()

    def put(self, name, text, mode=0o644):
        path = os.path.join(self.source, name)
        with open(path, "w") as file:
            file.write(text)
        os.chmod(path, mode)

    def drop(self, *names):
        for name in names:
            if os.path.exists(os.path.join(self.source, name)):
                os.unlink(os.path.join(self.source, name))

    def change(self):
        """Another release."""
        self.number += 1
        self.drop("crash", "never-ready", "dies-after-a-while")
        self.put("version", f"{self.number}\n")

    def write(self, extra="", hosts=None, fleet=""):
        with open(self.recipe, "w") as file:
            file.write("[deploy]\napp = web\nservice = web\nsource = ./src\n[fleet]\nhosts = "
                       + " ".join(hosts or [h.name for h in self.hosts]) + f"\n{fleet}\n")
            for host in self.hosts:
                file.write(f"[host:{host.name}]\npath = {host.root}\n"
                           f"transport = local:{host.supervisor.socket}\n")
            file.write(f"[canary]\nbake = 1s\n[rollout]\nhealthy_for = 300ms\nready_timeout = 5s\n"
                       f"confirm_within = {LEASE}s\n{extra}\n")

    def start(self, *words):
        return subprocess.Popen([DEPLOYCTL, words[0], "-f", self.recipe, *words[1:]],
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT, text=True)

    def run(self, *words, code=0):
        process = self.start(*words)
        text, _ = process.communicate(timeout=60)
        assert process.returncode == code, f"{words} left with {process.returncode}:\n{text}"
        return text

    def ids(self):
        return [host.settled() for host in self.hosts]

    def one_release(self):
        ids = set(self.ids())
        assert len(ids) == 1, ids
        return ids.pop()

    def close(self):
        for host in self.hosts:
            host.supervisor.close()
            shutil.rmtree(host.supervisor.folder, ignore_errors=True)
        shutil.rmtree(self.folder, ignore_errors=True)


@pytest.fixture(scope="module")
def fleet():
    fleet = Fleet()
    try:
        fleet.run("release")
        yield fleet
    finally:
        fleet.close()


def read_until(process, pattern):
    """Reads lines until one matches; all text so far."""
    text = ""
    for line in process.stdout:
        text += line
        if re.search(pattern, line):
            return text
    raise AssertionError(f"{pattern} was never said:\n{text}")


def test_a_first_release_goes_everywhere():
    fleet = Fleet()
    try:
        assert all(host.current is None for host in fleet.hosts)
        text = fleet.run("plan")
        assert "canary" in text and "000001-" in text
        assert all(host.current is None for host in fleet.hosts)
        text = fleet.run("release")
        assert "Released web as 000001-" in text
        assert fleet.one_release().startswith("000001-")
        assert "nothing to do" in fleet.run("release")
        fleet.run("status")
    finally:
        fleet.close()


def test_a_second_release_begins_with_the_canary(fleet):
    before = fleet.one_release()
    fleet.change()
    process = fleet.start("release")
    read_until(process, "watching the canary")
    assert fleet.hosts[0].settled() != before
    assert fleet.hosts[1].settled() == before
    rest, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert re.search(r"hard gates alone .*: [1-9][0-9]* probes were seen", rest), rest
    assert fleet.one_release() != before


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return file.read().split()


def test_connections_beyond_parallel_close_after_staging(fleet):
    before = fleet.one_release()
    fleet.change()
    fleet.write(fleet="parallel = 1")
    try:
        process = fleet.start("release", "--bake", "2s")
        text = read_until(process, "watching the canary")
        wait_for(lambda: len(children(process.pid)) == 1, "one connection is left")
        text += process.communicate(timeout=60)[0]
        assert process.returncode == 0, text
        assert "again" not in text  # nobody lost anything
    finally:
        fleet.write()
    assert fleet.one_release() != before
    fleet.run("status")


@pytest.mark.parametrize("fault", ["crash", "never-ready", "dies-after-a-while"])
def test_a_bad_release_is_undone_and_remembered(fleet, fault):
    before = fleet.one_release()
    fleet.change()
    fleet.put(fault, "")
    text = fleet.run("release", "--bake", "5s", code=1)
    assert "is bad (h1: " in text
    assert fleet.one_release() == before
    assert not re.search(r"h[23] .*runs", text)
    assert "judged bad before" in fleet.run("release", code=1)
    for host in fleet.hosts:  # also when its folder is gone, as after pruning
        for name in set(os.listdir(f"{host.root}/releases")) - {before}:
            subprocess.run(["rm", "-rf", f"{host.root}/releases/{name}"], check=True)
    assert "judged bad before" in fleet.run("release", code=1)
    fleet.run("status")


def test_a_rollback_goes_to_the_last_good_release(fleet):
    before = fleet.one_release()
    fleet.change()
    fleet.run("release")
    assert fleet.one_release() != before
    text = fleet.run("rollback")
    assert "Rolled back to " + before in text
    assert fleet.one_release() == before
    newest = fleet.run("status", "--json")
    assert json.loads(newest)["release"] == before
    assert "no release called nonsense" in fleet.run("rollback", "--to", "nonsense", code=3)
    assert fleet.one_release() == before


def test_two_at_once_one_wins(fleet):
    before = fleet.one_release()
    fleet.change()
    both = [fleet.start("release"), fleet.start("release")]
    texts = [process.communicate(timeout=60)[0] for process in both]
    codes = sorted(process.returncode for process in both)
    assert codes in ([0, 5], [0, 6]), texts
    assert fleet.one_release() != before
    fleet.run("status")


def test_a_held_canary_is_promoted_or_aborted(fleet):
    before = fleet.one_release()
    fleet.change()
    fleet.run("release", "--hold", code=6)
    assert fleet.hosts[0].settled() != before
    assert fleet.hosts[1].settled() == before
    fleet.run("status", code=6)
    assert "still open" in fleet.run("release", code=6)
    fleet.run("promote")
    after = fleet.one_release()
    assert after != before
    fleet.change()
    fleet.run("release", "--hold", code=6)
    fleet.run("abort")
    assert fleet.one_release() == after
    assert "no rollout is open" in fleet.run("promote", code=3)
    fleet.run("abort")


def test_pause_and_abort_reach_a_live_rollout(fleet):
    before = fleet.one_release()
    fleet.change()
    process = fleet.start("release", "--bake", "30s")
    read_until(process, "watching the canary")
    fleet.run("pause")
    process.communicate(timeout=30)
    assert process.returncode == 6
    fleet.run("status", code=6)
    process = fleet.start("resume")
    read_until(process, "watching the canary")
    fleet.run("abort")
    process.communicate(timeout=30)
    assert process.returncode == 1
    assert fleet.one_release() == before


STAGES = {
    "preflight": "looking at every host",
    "lock": "locking every host",
    "stage": "sending the release",
    "canary": "switching the canary",
    "bake": "watching the canary",
    "batches": "switching the other hosts",
    "mid-batch": "batches .*h2 .*runs",
    "close": "closing the rollout",
}


@pytest.mark.parametrize("how", ["KILL", "INT", "TERM-TERM"])
@pytest.mark.parametrize("stage", STAGES)
def test_a_deployctl_that_ends_early_leaves_no_mess(fleet, stage, how):
    fleet.one_release()
    fleet.change()
    process = fleet.start("release")
    read_until(process, STAGES[stage])
    process.send_signal(getattr(signal, "SIG" + how.split("-")[0]))
    if how == "TERM-TERM":
        process.send_signal(signal.SIGTERM)
    text, _ = process.communicate(timeout=30)
    # The second TERM may come when it has just finished with the first.
    assert process.returncode in (-signal.SIGKILL, -signal.SIGTERM, 0, 6, 130), text

    def leases_are_over():  # whoever was not confirmed has gone back
        status = json.loads(fleet.start("status", "--json").communicate(timeout=30)[0])
        return all(host.get("deadline_s") is None or host["confirmed"]
                   for host in status["hosts"]) and not any(
                       host.get("holder") for host in status["hosts"])
    if how != "INT":
        wait_for(leases_are_over, "the end of the leases", DEADLINE)
    fleet.ids()  # each host runs wholly one release
    fleet.run("resume" if how == "KILL" else "abort")
    fleet.one_release()
    fleet.run("status")


def test_a_host_that_is_not_there_is_named(fleet):
    before = fleet.one_release()
    fleet.change()
    victim = fleet.hosts[2]
    os.rename(victim.root, victim.root + ".away")
    try:
        text = fleet.run("release", code=4)
        assert "h3" in text and victim.root in text
    finally:
        os.rename(victim.root + ".away", victim.root)
    assert fleet.one_release() == before


def test_errors_of_the_source_name_the_file(fleet):
    before = fleet.one_release()
    empty = os.path.join(fleet.folder, "empty")
    os.makedirs(empty, exist_ok=True)
    assert "nothing in it to release" in fleet.run("release", empty, code=3)
    assert "does not exist" in fleet.run("release", empty + "-not", code=3)
    assert "is not a folder" in fleet.run("release", fleet.recipe, code=3)
    os.mkfifo(os.path.join(empty, "pipe"))
    assert "pipe: is a FIFO" in fleet.run("release", empty, code=3)
    os.unlink(os.path.join(empty, "pipe"))
    os.symlink("/etc/passwd", os.path.join(empty, "out"))
    assert "out" in fleet.run("release", empty, code=3)
    os.unlink(os.path.join(empty, "out"))
    assert fleet.one_release() == before


def test_errors_of_the_recipe_are_told_at_once(fleet):
    fleet.write("[canry]\nsize = 1\n[drain]\ncomand = x")
    try:
        text = fleet.run("release", code=3)
        assert "[canry] unknown section, did you mean [canary]?" in text
        assert "[drain] comand: unknown key \"comand\" (did you mean \"command\"?)" in text
    finally:
        fleet.write()
    assert "does not exist" in fleet.start("plan", "-f", "/nonexistent/x.ini").communicate()[0]
    assert fleet.start("relaese").wait() == 2


def test_history_and_hosts(fleet):
    text = fleet.run("history", "-n", "1000")
    assert "close" in text and "h1" in text and "h3" in text
    assert "local:" in fleet.run("hosts")
    events = [json.loads(line) for line in fleet.run("release", "--json").splitlines()]
    assert events[-1]["event"] == "end" and events[-1]["exit"] == 0


def test_unreachable_hosts_are_named_and_caught_up(fleet):
    before = fleet.one_release()
    fleet.change()
    names = [h.name for h in fleet.hosts] + ["gone"]
    gone = "[host:gone]\naddress = 127.0.0.1\nport = 1\n"
    try:
        fleet.write(gone, hosts=names)
        text = fleet.run("release", code=4)
        assert "gone is unreachable: " in text and "sshd" in text
        assert fleet.one_release() == before
        fleet.write("max_unreachable = 1\n" + gone, hosts=names)
        assert "Not reached: gone" in fleet.run("release", "--canary", "h2")
        assert fleet.one_release() != before
        fleet.run("status", code=4)
    finally:
        fleet.write()


def test_hosts_that_are_behind_are_brought_up_to_date(fleet):
    before = fleet.one_release()
    fleet.change()
    fleet.run("release", "--hosts", "h[1-2]")
    assert fleet.hosts[2].settled() == before
    fleet.run("status", code=4)
    assert "bringing 1 host to" in fleet.run("resume")
    assert fleet.one_release() != before
    fleet.run("status")


def test_the_question_is_the_last_thing_on_the_screen(fleet):
    """Nothing is drawn over it while a person thinks; "no" changes nothing."""
    before = fleet.one_release()
    fleet.change()
    ours, theirs = pty.openpty()
    process = subprocess.Popen([DEPLOYCTL, "release", "-f", fleet.recipe], stdin=theirs,
                               stdout=theirs, stderr=theirs, env=dict(os.environ, TERM="xterm"))
    os.close(theirs)
    text = b""
    try:
        while not text.endswith(b"[y/N] "):
            assert select.select([ours], [], [], 30)[0], text
            text += os.read(ours, 4096)
        # The display counts time: half a second would show a frame, were it not waiting.
        assert not select.select([ours], [], [], 0.5)[0], os.read(ours, 4096)
        os.write(ours, b"n\n")
        assert process.wait(timeout=30) != 1
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    assert b"h1 " in text and b"looking at every host" in text
    assert fleet.one_release() == before


def test_a_frozen_app_is_not_released_but_rolled_back(fleet):
    fleet.write()
    text = open(fleet.recipe, encoding="utf-8").read()
    with open(fleet.recipe, "w", encoding="utf-8") as out:
        out.write(text.replace("[deploy]", "[deploy]\nfreeze_file = FREEZE", 1))
    freeze = os.path.join(fleet.folder, "FREEZE")
    fleet.run("release", fleet.source, "--yes")
    first = fleet.one_release()
    with open(freeze, "w", encoding="utf-8") as out:
        out.write("year's end: \x1bask ann\nnot shown\n")
    fleet.change()
    told = fleet.run("release", fleet.source, "--yes", code=6)
    assert "year's end: ?ask ann" in told and "frozen by" in told and "not shown" not in told
    assert fleet.one_release() == first
    told = fleet.run("release", fleet.source, "--yes", "--despite-freeze")
    assert "released despite that" in told
    assert fleet.one_release() != first
    fleet.run("rollback", "--yes")
    assert fleet.one_release() == first
    os.unlink(freeze)
    os.mkdir(freeze)  # what cannot be read may say anything
    assert "cannot be read" in fleet.run("release", fleet.source, "--yes", code=6)
    fleet.write()


def test_hooks_here_follow_whoever_ends_the_release(fleet):
    ended = os.path.join(fleet.folder, "ended")
    fleet.write(f"[hooks]\nafter_release = echo done >> {ended}\n"
                f"on_rollback = echo back >> {ended}\n")
    for order, expected in (("promote", "done"), ("abort", "back")):
        fleet.change()
        fleet.run("release", "--hold", "--yes", code=6)
        assert not os.path.exists(ended)
        fleet.run(order)
        with open(ended, encoding="utf-8") as file:
            assert file.read() == expected + "\n"
        os.unlink(ended)
    fleet.write()
