"""Releases that bring their own service file: code and settings come and go together."""
import json
import os
import signal

import pytest

from harness import Failed, host, wait_for  # noqa: F401 (a fixture)

ONE, TWO, THREE = (f"{number:06d}-{number:08x}" for number in (1, 2, 3))
USER = "user = root\n" if os.geteuid() == 0 else ""
RUN = "#!/bin/sh\ntrap 'exit 0' TERM\nwhile :; do sleep 1000 & wait $!; done\n"


def service(color, numprocs=2, more=""):
    """A service file; the command says its colour, too."""
    return (f"[service:web]\ncommand = bin/run {color}\nenvironment = COLOR=\"{color}\","
            f"BOTH=\"{color}\"\nnumprocs = {numprocs}\n{more}")


def variables_of(pid):
    """None until it has become what it is to be (startsecs = 0 is ready at once)."""
    try:
        with open(f"/proc/{pid}/environ") as file:
            variables = dict(pair.split("=", 1) for pair in file.read().split("\0") if pair)
    except OSError:  # it has just gone
        return None
    return variables if "RELEASE_ID" in variables else None


class Site:
    def __init__(self, host, mode="stop-first", name="deploy/service.ini", more=""):
        self.supervisor = host(start=False)
        self.path = self.supervisor.path("site")
        os.makedirs(os.path.join(self.path, "releases"))
        self.host_file(mode, name, more)

    def host_file(self, mode="stop-first", name="deploy/service.ini", more=""):
        config = f"release_config = {name}\n" if name else ""
        self.supervisor.write(
            f"[service:web]\ncommand = bin/run host\nrelease = {self.path}\n{config}{USER}"
            f"environment = HOST=\"h\",BOTH=\"host\"\nstartsecs = 0\nrestart_mode = {mode}\n"
            f"stopwaitsecs = 2s\nbackoff_max = 200ms\n{more}")

    def file(self, name, *path):
        return os.path.join(self.path, "releases", name, *path)

    def add(self, name, text=None, at="deploy/service.ini"):
        os.makedirs(self.file(name, "bin"))
        with open(self.file(name, "bin", "run"), "w") as file:
            file.write(RUN)
        os.chmod(self.file(name, "bin", "run"), 0o755)
        if text is not None:
            os.makedirs(os.path.dirname(self.file(name, at)), exist_ok=True)
            with open(self.file(name, at), "w") as file:
                file.write(text)
        return self

    def start(self):
        self.supervisor.start()
        return self

    def order(self, verb, name=None, token=None, **more):
        params = dict(path=self.path, **more)
        if name:
            params["id"] = name
        if token:
            params["token"] = token
        return self.supervisor.call(f"release.{verb}", **params)

    def rows(self):
        return list(self.supervisor.instances("web").values())

    def state(self):
        return self.supervisor.call("release.state", path=self.path)

    def check(self, name, color, count=2):
        """Every process has code and settings of this release, and there are as many as it says."""
        def settled():
            rows = self.rows()
            return len(rows) == count and rows if all(
                r["ready"] and r["release"] == name and r["pid"] and not r.get("twin_pid")
                for r in rows) else None
        rows = wait_for(settled, f"{count} on {name}", 10)
        for row in rows:
            variables = wait_for(lambda: variables_of(row["pid"]), "its exec", 5)
            with open(f"/proc/{row['pid']}/cmdline") as file:
                words = file.read().split("\0")
            assert variables["RELEASE_ID"] == name
            assert variables.get("COLOR", "host") == color and variables["BOTH"] == color
            assert variables["HOST"] == "h"
            assert words[-2] == color, words
            assert os.readlink(f"/proc/{row['pid']}/cwd").endswith(f"/releases/{name}")
        assert self.state()["pinned"] == name
        return {row["id"]: row["pid"] for row in rows}


@pytest.fixture(params=["stop-first", "overlap"])
def site(request, host):
    it = Site(host, request.param)
    return it.add(ONE, service("red")).add(TWO, service("blue", 3)).add(THREE, service("green", 1))


def test_settings_come_and_go_with_the_code(site):
    site.start()
    assert all(r["waiting_for"] == "release" for r in site.rows())
    assert site.order("switch", ONE)["result"] == "switched"
    site.check(ONE, "red", 2)
    assert site.order("switch", TWO)["result"] == "switched"
    site.check(TWO, "blue", 3)
    assert site.order("switch", THREE)["result"] == "switched"
    site.check(THREE, "green", 1)
    assert site.order("rollback")["pinned"] == TWO
    site.check(TWO, "blue", 3)
    assert site.order("rollback", ONE)["pinned"] == ONE
    site.check(ONE, "red", 2)


def test_undone_with_its_settings(site):
    """Not ready, not confirmed, and taken back: each restores both."""
    bad = "000009-00000009"
    site.add(bad, service("black", 4, "ready = exec:/bin/false\nready_timeout = 300ms\n"
                                      "ready_interval = 100ms\n"))
    site.start()
    site.order("switch", ONE)
    site.check(ONE, "red", 2)
    answer = site.order("switch", bad, ready_timeout=5)
    assert answer["result"] == "reverted" and answer["reason"], answer
    site.check(ONE, "red", 2)
    assert site.order("switch", TWO, "1:a", confirm_within=0.7)["result"] == "switched"
    site.supervisor.wait_event(lambda e: e["event"] == "release.reverting" and TWO in json.dumps(e))
    site.check(ONE, "red", 2)
    site.order("switch", TWO, "2:b", confirm_within=60)
    site.check(TWO, "blue", 3)
    site.order("revert", TWO, "2:b")
    site.check(ONE, "red", 2)


REFUSED = [
    ("user = root", "user: a release cannot set it: with which rights"),
    ("group = root", "group: a release cannot set it"),
    ("capabilities = SYS_ADMIN", "capabilities: a release cannot set it"),
    ("seccomp = none", "seccomp: a release cannot set it: its sandbox"),
    ("memory_max = 1GB", "memory_max: a release cannot set it"),
    ("pre_start = /bin/true", "pre_start: a release cannot set it"),
    ("stdout_logfile = /etc/passwd", "stdout_logfile: a release cannot set it"),
    ("environment_file = /etc/shadow", "environment_file: a release cannot set it"),
    ("directory = /", "directory: a release cannot set it"),
    ("release = /srv/other", "release: a release cannot set it"),
    ("ready = unix:/run/docker.sock", "ready: \"unix:/run/docker.sock\" is outside"),
    ("ready = http://10.0.0.1:80/", "ready: \"http://10.0.0.1:80/\" is another host"),
    ("live = tcp://127.0.0.1.example.com:80", "is another host"),
    ("redy = notify", "unknown key, did you mean \"ready\"?"),
    ("stopwaitsecs = soon", "stopwaitsecs: "),
    ("ready = nonsense", "ready: "),
    ("stopwaitsecs = 1\nstopwaitsecs = 2", "given twice"),
    ("[socket:x]\nlisten = :80", "a release has [service:NAME] sections only"),
]


@pytest.mark.parametrize("line, what", REFUSED, ids=[line.split("\n")[0] for line, _ in REFUSED])
def test_what_a_release_may_not_say(host, line, what):
    site = Site(host).add(ONE, service("red")).add(TWO, service("blue", 3, line + "\n")).start()
    site.order("switch", ONE)
    before = site.check(ONE, "red")
    with pytest.raises(Failed) as refused:
        site.order("switch", TWO)
    place = f"{site.file(TWO, 'deploy/service.ini')}:"
    assert place in str(refused.value) and what in str(refused.value), str(refused.value)
    told = site.order("check", TWO)
    assert told["total"] == len(told["errors"]) >= 1 and what in told["errors"][0]
    assert place in told["errors"][0]
    assert site.order("check", ONE) == {"errors": [], "total": 0}
    assert site.check(ONE, "red") == before and site.state()["good"] == [ONE]


def test_all_errors_at_once(host):
    site = Site(host).add(ONE, service("red", 2, "user = root\nredy = x\nnice = 3\n")).start()
    told = site.order("check", ONE)
    assert told["total"] == 3
    lines = [int(line.split("service.ini:")[1].split(":")[0]) for line in told["errors"]]
    assert lines == [5, 6, 7]


@pytest.mark.parametrize("how", ["missing", "link", "folder", "fifo", "large", "no section"])
def test_what_is_no_service_file(host, how):
    site = Site(host, name="service.ini").add(ONE, service("red"), "service.ini").add(TWO).start()
    path = site.file(TWO, "service.ini")
    if how == "link":
        os.symlink("/etc/passwd", path)
    elif how == "folder":
        os.mkdir(path)
    elif how == "fifo":
        os.mkfifo(path)
    elif how == "large":
        open(path, "w").write("# x\n" * 20000)
    elif how == "no section":
        open(path, "w").write("[service:wep]\n")
    site.order("switch", ONE)
    before = site.check(ONE, "red")
    with pytest.raises(Failed) as refused:
        site.order("switch", TWO)
    assert path in str(refused.value), str(refused.value)
    if how == "missing":
        assert "may be missing" in str(refused.value)
    if how == "no section":
        assert "there is no [service:web]" in str(refused.value)
    assert site.check(ONE, "red") == before


def test_may_be_missing(host):
    site = Site(host, name="-deploy/service.ini", more="numprocs = 1\n")
    site.add(ONE).add(TWO, service("blue", 3)).start()
    site.order("switch", ONE)
    site.check(ONE, "host", 1)
    site.order("switch", TWO)
    site.check(TWO, "blue", 3)
    site.order("rollback")
    site.check(ONE, "host", 1)


def test_reload_keeps_what_the_release_says(site):
    site.start()
    site.order("switch", ONE)
    before = site.check(ONE, "red")
    config = site.supervisor.text_of("supervisor.ini")
    with open(site.supervisor.path("supervisor.ini"), "w") as file:
        file.write(config.replace("bin/run host", "bin/run other").replace("2s", "3s"))
    plan = site.supervisor.call("reload", plan=True)
    keys = [row["keys"] for row in plan["services"]]
    assert keys == [["stopwaitsecs"]] and plan["interrupts"] == 0
    site.supervisor.call("reload")
    assert site.check(ONE, "red") == before
    with open(site.supervisor.path("supervisor.ini"), "w") as file:
        file.write(config.replace('HOST="h"', 'HOST="h",MORE="m"'))
    site.supervisor.call("reload")  # a variable of the host's is none of the release's
    wait_for(lambda: all("MORE" in (variables_of(r["pid"]) or "") for r in site.rows()), "MORE")
    site.check(ONE, "red")
    site.supervisor.call("reload", undo=True)
    wait_for(lambda: all("MORE" not in (variables_of(r["pid"]) or {"MORE": 1})
                         for r in site.rows()), "undo")
    site.check(ONE, "red")
    site.order("switch", TWO)
    site.check(TWO, "blue", 3)


def test_reload_that_does_not_go_with_the_release(host):
    """The release asks for notify; the host then forbids that: refused, naming both."""
    site = Site(host).add(ONE, service("red", 1, "ready = fd:5\nready_timeout = 60s\n")).start()
    site.add(TWO, service("blue", 1))
    site.order("switch", TWO)
    before = site.check(TWO, "blue", 1)
    with open(site.supervisor.path("supervisor.ini"), "a") as file:
        file.write("fd_store_max = 8\n")
    site.supervisor.call("reload")
    with pytest.raises(Failed) as refused:
        site.order("switch", ONE)
    assert "service.ini:5: [service:web] ready: fd:5 is taken" in str(refused.value)
    assert list(site.check(TWO, "blue", 1)) == list(before)


def test_opting_in_and_out(host):
    site = Site(host, name=None, more="numprocs = 1\n")
    site.add(ONE, service("red", 2)).add(TWO).start()
    site.order("switch", ONE)
    site.check(ONE, "host", 1)
    site.host_file(more="")
    site.supervisor.call("reload")
    site.check(ONE, "red", 2)
    with pytest.raises(Failed) as refused:
        site.order("switch", TWO)
    assert "cannot be read" in str(refused.value)
    site.host_file(name=None, more="numprocs = 1\n")
    site.supervisor.call("reload")
    site.check(ONE, "host", 1)
    site.order("switch", TWO)
    site.host_file()
    with pytest.raises(Failed) as refused:
        site.supervisor.call("reload")  # what runs brings none
    assert "1 error" in str(refused.value)
    site.check(TWO, "host", 1)


def test_scale_counts_more(site):
    site.start()
    site.order("switch", ONE)
    site.check(ONE, "red", 2)
    site.supervisor.run("scale", "web=1")
    site.check(ONE, "red", 1)
    site.order("switch", TWO)
    site.check(TWO, "blue", 1)


def test_two_services_in_one_file(host):
    site = Site(host)
    with open(site.supervisor.path("supervisor.ini"), "a") as file:
        file.write(f"[service:worker]\nrelease = {site.path}\nstartsecs = 0\n"
                   f"release_config = deploy/service.ini\n{USER}")
    worker = "[service:worker]\ncommand = bin/run worker-{}\n[service:elsewhere]\ncommand = x\n"
    site.add(ONE, service("red") + worker.format("one"))
    site.add(TWO, service("blue") + worker.format("two"))
    site.add(THREE, service("green") + worker.format("three") + "user = root\n")
    site.start()

    def words():
        row = site.supervisor.wait_ready("worker:0")
        wait_for(lambda: variables_of(row["pid"]), "its exec", 5)
        return open(f"/proc/{row['pid']}/cmdline").read().split("\0")[-2]
    for name, color, number in ((ONE, "red", "one"), (TWO, "blue", "two")):
        site.order("switch", name)
        site.check(name, color)
        assert words() == f"worker-{number}"
    # A section of a service that is not on this host is looked at by those that have it.
    site.order("switch", THREE)
    site.check(THREE, "green")


# --- whoever dies, code and settings are of one release ---

def another(site, name, pids):
    site.supervisor.wait_instance(name, lambda r: r["ready"] and r["pid"] not in (None, pids[name]))
    site.check(ONE, "red")


def test_crash_restart_reads_nothing_again(site):
    site.start()
    site.order("switch", ONE)
    pids = site.check(ONE, "red")
    with open(site.file(ONE, "deploy/service.ini"), "w") as file:
        file.write(service("tampered", 5))
    os.kill(pids["web:0"], signal.SIGKILL)
    another(site, "web:0", pids)
    site.supervisor.kill_core()
    pids = site.check(ONE, "red")
    os.kill(pids["web:1"], signal.SIGKILL)
    another(site, "web:1", pids)


def test_core_is_killed_at_any_moment(site):
    site.start()
    site.order("switch", ONE)
    site.check(ONE, "red", 2)
    of = {ONE: ("red", 2), TWO: ("blue", 3)}
    for number in range(6):
        connection = site.supervisor.connect()
        connection.call("events")
        connection.send("release.switch", path=site.path, id=[TWO, ONE][number % 2])
        for _ in range(number):
            connection.next_event()
        core = site.supervisor.core_pid
        os.kill(core, signal.SIGKILL)
        site.supervisor.wait_up()
        connection.close()
        wait_for(lambda: site.state()["phase"] == "steady", "an end of the switch", 15)
        pinned = site.state()["pinned"]
        site.check(pinned, *of[pinned])


def test_restart_of_the_whole_supervisor(site):
    site.start()
    site.order("switch", ONE)
    site.check(ONE, "red", 2)
    site.order("switch", TWO, "1:a", confirm_within=60)
    site.check(TWO, "blue", 3)
    assert site.supervisor.shutdown() == 0
    site.supervisor.start()
    pinned = site.state()["pinned"]
    site.check(pinned, *{ONE: ("red", 2), TWO: ("blue", 3)}[pinned])
    if pinned == TWO:
        site.order("confirm", TWO, "1:a")
    site.order("switch", THREE)
    assert site.supervisor.shutdown() == 0
    site.supervisor.start()
    site.check(THREE, "green", 1)
    site.order("rollback", ONE)
    site.check(ONE, "red", 2)


def test_tampered_with_while_nobody_ran(host):
    """It does not start with half of it; the remedy is named, and works."""
    site = Site(host).add(ONE, service("red")).add(TWO, service("blue", 1)).start()
    site.order("switch", TWO)
    site.order("switch", ONE)
    site.check(ONE, "red")
    assert site.supervisor.shutdown() == 0
    with open(site.file(ONE, "deploy/service.ini"), "a") as file:
        file.write("user = root\n")
    site.supervisor.start()
    site.supervisor.wait_instance(
        "web:0", lambda r: r["state"] == "waiting" and "user: a release cannot" in
        (r.get("waiting_for") or ""))
    assert all(not r["pid"] for r in site.rows())
    with pytest.raises(Failed):
        site.order("switch", ONE)
    assert site.order("rollback", TWO)["result"] == "switched"
    site.check(TWO, "blue", 1)


def test_why_says_where_it_comes_from(host):
    site = Site(host).add(ONE, service("red")).start()
    site.order("switch", ONE)
    site.check(ONE, "red")
    text = site.supervisor.run("why", "web:0").stdout
    assert "deploy/service.ini" in text and "command, environment, numprocs" in text, text
    row = site.supervisor.call("why", names=["web:0"])["instances"][0]
    assert row["release_file"] == site.file(ONE, "deploy/service.ini")
    assert row["release_keys"] == ["command", "environment", "numprocs"]


def test_check_tries_a_release(host):
    """Without any supervisor, and for a folder that is no release yet."""
    site = Site(host).add(ONE, service("red")).add(TWO, service("blue", 2, "user = root\n"))
    run = site.supervisor.run
    config = site.supervisor.path("supervisor.ini")
    assert "no errors" in run("check", "-c", config, "--release", site.file(ONE)).stdout
    wrong = run("check", "-c", config, "--release", site.file(TWO), code=1).stdout
    assert f"{site.file(TWO, 'deploy/service.ini')}:5: [service:web] user: a release cannot" in wrong
    keys = json.loads(run("check", "-c", config, "--json", "--release", site.file(ONE)).stdout)
    keys = keys["services"][0]["keys"]
    assert keys["command"] == {"value": "bin/run red", "line": 2,
                               "file": site.file(ONE, "deploy/service.ini")}
    assert keys["stopwaitsecs"]["file"] == config
    gone = run("check", "-c", config, "--release", site.file(THREE), code=1)
    assert "cannot be opened" in gone.stderr
    os.makedirs(site.file(THREE))
    none = run("check", "-c", config, "--release", site.file(THREE), code=1)
    assert "release_config: " in none.stdout and "cannot be read" in none.stdout


def test_everything_is_killed(host):
    """Guardian and core at once: who runs goes on, as many as the release says, with its settings."""
    site = Site(host).add(ONE, service("red", 2)).add(TWO, service("blue", 3)).start()
    site.order("switch", ONE)
    site.order("switch", TWO)
    before = site.check(TWO, "blue", 3)
    core, guardian = site.supervisor.core_pid, site.supervisor.pid
    os.kill(core, signal.SIGSTOP)  # so that none takes over from the other
    os.kill(guardian, signal.SIGKILL)
    os.kill(core, signal.SIGKILL)
    wait_for(lambda: not os.path.exists(f"/proc/{core}"), "the end of the core")
    site.supervisor.start()
    assert site.check(TWO, "blue", 3) == before
    assert site.order("rollback")["pinned"] == ONE
    site.check(ONE, "red", 2)
