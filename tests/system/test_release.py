"""Releases on one host, through the control socket of a real supervisor."""
import json
import os
import shutil
import signal

import pytest

from harness import Failed, host, wait_for  # noqa: F401 (a fixture)
from zoo import hello

IDS = [f"{number:06d}-{number:08x}" for number in range(1, 10)]
ONE, TWO, THREE = IDS[:3]
MODES = ["stop-first", "overlap"]
USER = "user = root\n" if os.geteuid() == 0 else ""


class Site:
    """A folder of releases of `hello` on a unix socket, and the supervisor that runs it."""

    def __init__(self, host, mode="stop-first", instances=2, extra="", ready_timeout="700ms"):
        self.supervisor = host(start=False)
        self.path = self.supervisor.path("site")
        os.makedirs(os.path.join(self.path, "releases"))
        self.supervisor.write(
            f"[socket:web]\nlisten = {self.supervisor.folder}/web.sock\n"
            f"[service:web]\ncommand = bin/hello\nrelease = {self.path}\n{USER}"
            f"sockets = web\nready = notify\nready_timeout = {ready_timeout}\nrestart_mode = {mode}\n"
            f"numprocs = {instances}\nstopwaitsecs = 2s\nbackoff_max = 200ms\n{extra}")

    def add(self, name, **flags):
        """A release; never_ready and crash are files that hello looks for."""
        folder = os.path.join(self.path, "releases", name)
        os.makedirs(os.path.join(folder, "bin"))
        shutil.copy(hello(), os.path.join(folder, "bin", "hello"))
        for flag, text in {"VERSION": name, **flags}.items():
            with open(os.path.join(folder, flag.replace("_", "-")), "w") as file:
                file.write(text + "\n")

    def start(self, *names):
        for name in names:
            self.add(name)
        self.supervisor.start()
        return self

    def order(self, verb, name=None, token=None, **more):
        params = dict(path=self.path, **more)
        if name:
            params["id"] = name
        if token:
            params["token"] = token
        return self.supervisor.call(f"release.{verb}", **params)

    def state(self):
        return self.supervisor.call("release.state", path=self.path)

    def rows(self):
        return list(self.supervisor.instances("web").values())

    def link(self, name):
        try:
            return os.path.basename(os.readlink(os.path.join(self.path, name)))
        except OSError:
            return None

    def check(self, pinned, previous=None):
        """Every instance is ready on it, the links say so, and so does each process."""
        def settled():
            rows = self.rows()
            return all(r["ready"] and r["release"] == pinned and not r.get("twin_pid")
                       for r in rows) and rows
        rows = wait_for(settled, f"all on {pinned}", 10)
        assert self.state()["pinned"] == pinned
        wait_for(lambda: self.link("current") == pinned, f"current -> {pinned}", 5)
        assert self.link("previous") == previous
        for row in rows:
            assert os.readlink(f"/proc/{row['pid']}/cwd").endswith(f"/releases/{pinned}")
            assert f"/releases/{pinned}/" in os.readlink(f"/proc/{row['pid']}/exe")
        return {row["id"]: row["pid"] for row in rows}


@pytest.fixture(params=MODES)
def site(request, host):
    return Site(host, request.param)


def test_first_release_and_the_next(site):
    site.start(ONE, TWO)
    assert all(r["state"] == "waiting" and r["waiting_for"] == "release" for r in site.rows())
    answer = site.order("switch", ONE)
    assert answer["result"] == "switched" and answer["from"] is None
    site.check(ONE)
    answer = site.order("switch", TWO)
    assert (answer["result"], answer["from"]) == ("switched", ONE)
    site.check(TWO, ONE)
    assert site.state()["good"][:2] == [TWO, ONE]


def test_first_release_is_bad(site):
    site.add(ONE, never_ready="")
    site.start(TWO)
    answer = site.order("switch", ONE)
    assert answer["result"] == "reverted" and answer["reason"]
    state = site.state()
    assert not state["pinned"] and state["good"] == []
    assert site.link("current") is None
    wait_for(lambda: all(r["state"] == "waiting" and not r["pid"] for r in site.rows()), "waiting")
    assert site.order("switch", TWO)["result"] == "switched"
    site.check(TWO)


def test_first_release_is_taken_back(site):
    """Ready, but not confirmed: the services wait again, and whoever asked is answered."""
    site.start(ONE, TWO)
    token = dict(token="1:a")
    assert site.order("switch", ONE, confirm_within=60, **token)["result"] == "switched"
    assert site.order("revert", ONE, **token)["result"] == "reverted"
    assert site.state()["phase"] == "none" and site.link("current") is None
    assert all(r["state"] == "waiting" and not r["pid"] for r in site.rows())
    assert site.order("switch", TWO, **token)["result"] == "switched"
    site.check(TWO)


@pytest.mark.parametrize("flag", ["never_ready", "crash"])
def test_bad_release_is_undone(site, flag):
    site.add(TWO, **{flag: ""})
    site.start(ONE)
    site.order("switch", ONE)
    before = site.check(ONE)
    answer = site.order("switch", TWO)
    assert answer["result"] == "reverted" and answer["reason"], answer
    assert answer["pinned"] == ONE
    after = site.check(ONE)
    if "overlap" in site.supervisor.text_of("supervisor.ini"):
        assert after == before  # the old ones never noticed
    assert TWO not in site.state()["good"]
    assert TWO not in site.state()["in_use"]


def test_on_fail_stay(site):
    site.add(TWO, never_ready="")
    site.start(ONE, THREE)
    site.order("switch", ONE)
    answer = site.order("switch", TWO, on_fail="stay")
    assert answer["result"] == "failed"
    assert site.state()["pinned"] == TWO
    assert site.order("switch", THREE)["result"] == "switched"
    site.check(THREE, ONE)


def test_what_is_not_there_is_refused(site):
    site.start(ONE)
    site.order("switch", ONE)
    before = site.check(ONE)
    for name in (TWO, "nonsense", "../../etc", ""):
        with pytest.raises(Failed):
            site.order("switch", name)
    with pytest.raises(Failed):
        site.supervisor.call("release.switch", path="/nowhere", id=ONE)
    assert site.check(ONE) == before


# --- lease ---

def test_lease_runs_out(site):
    site.start(ONE, TWO)
    site.order("switch", ONE)
    answer = site.order("switch", TWO, "1:a", confirm_within=0.7)
    assert answer["result"] == "switched" and not answer["confirmed"]
    assert 0 < answer["deadline_s"] <= 0.7
    site.supervisor.wait_event(lambda e: "revert" in json.dumps(e))
    site.check(ONE)
    assert TWO not in site.state()["good"]


def test_confirm_extend_and_stale(site):
    site.start(ONE, TWO, THREE)
    site.order("switch", ONE)
    site.order("switch", TWO, "5:a", confirm_within=1)
    for _ in range(3):
        assert site.order("extend", TWO, "5:a", confirm_within=60)["deadline_s"] > 50
    with pytest.raises(Failed) as stale:
        site.order("switch", THREE, "4:b")
    assert stale.value.kind == "stale" and "5:a" in str(stale.value)
    for verb in ("confirm", "extend", "revert"):
        with pytest.raises(Failed):
            site.order(verb, TWO, "4:b", confirm_within=1)
    # The same call again: its present state, no restart.
    pids = site.check(TWO, ONE)
    assert site.order("switch", TWO, "5:a", confirm_within=60)["result"] == "switched"
    assert site.check(TWO, ONE) == pids
    assert site.order("confirm", TWO, "5:a")["confirmed"]
    assert site.order("confirm", TWO, "5:a")["confirmed"]
    assert site.state()["deadline_s"] is None
    with pytest.raises(Failed):
        site.order("switch", THREE, "4:b")
    assert site.order("switch", THREE, "6:c", confirm_within=60)["result"] == "switched"
    answer = site.order("revert", THREE, "6:c")
    assert answer["pinned"] == TWO
    site.check(TWO, ONE)


def test_lease_runs_out_while_no_core_lives(site):
    """The deadline holds across a crash; the next core sees to it."""
    site.start(ONE, TWO)
    site.order("switch", ONE)
    site.order("switch", TWO, "1:a", confirm_within=1)
    site.supervisor.kill_core()
    site.check(ONE)


def test_rollback_twice(site):
    site.start(ONE, TWO, THREE)
    for name in (ONE, TWO, THREE):
        site.order("switch", name)
    site.check(THREE, TWO)
    answer = site.order("rollback")
    assert (answer["result"], answer["pinned"]) == ("switched", TWO)
    site.check(TWO, site.link("previous"))
    answer = site.order("rollback")
    assert answer["pinned"] in (ONE, THREE)
    site.check(answer["pinned"], site.link("previous"))


def test_rollback_without_another_good_one(site):
    site.start(ONE)
    site.order("switch", ONE)
    before = site.check(ONE)
    with pytest.raises(Failed):
        site.order("rollback")
    assert site.check(ONE) == before


# --- the pin is what counts ---

def test_crash_restart_uses_the_pinned_one(site):
    """Somebody changed `current` by hand: nobody reads it back."""
    site.start(ONE, TWO)
    site.order("switch", ONE)
    pids = site.check(ONE)
    current = os.path.join(site.path, "current")
    os.unlink(current)
    os.symlink(f"releases/{TWO}", current)
    os.kill(pids["web:0"], signal.SIGKILL)
    row = site.supervisor.wait_instance(
        "web:0", lambda row: row["ready"] and row["pid"] != pids["web:0"])
    assert row["release"] == ONE
    assert os.readlink(f"/proc/{row['pid']}/cwd").endswith(ONE)


def test_core_is_killed_in_the_middle_of_a_switch(site):
    """It carries on: all on one of the two, and never both for long."""
    site.start(ONE, TWO)
    site.order("switch", ONE)
    site.check(ONE)
    names = [TWO, ONE]
    for number in range(6):
        connection = site.supervisor.connect()
        connection.send("release.switch", path=site.path, id=names[number % 2])
        if number % 3:
            connection.call("events")
            wait_for(lambda: connection.next_event()["event"] == "state", "a state", 5)
        core = site.supervisor.core_pid
        os.kill(core, signal.SIGKILL)
        wait_for(lambda: core != core_of(site.supervisor), "another core")
        connection.close()
        wait_for(lambda: site.state()["phase"] == "steady", "an end of the switch", 15)
        pinned = site.state()["pinned"]
        site.check(pinned, site.link("previous"))


def core_of(supervisor):
    try:
        return supervisor.core_pid
    except OSError:
        return None


def test_restart_of_the_whole_supervisor(site):
    site.start(ONE, TWO)
    site.order("switch", ONE)
    assert site.supervisor.shutdown() == 0
    site.supervisor.start()
    site.check(ONE)
    site.order("switch", TWO, "1:a", confirm_within=60)
    assert site.supervisor.shutdown() == 0
    site.supervisor.start()  # not confirmed: undone before the first start, or still on lease
    state = site.state()
    site.check(state["pinned"], site.link("previous"))
    if state["pinned"] == TWO:
        assert not state["confirmed"] and 0 < state["deadline_s"] <= 60


def test_supervisor_is_killed_in_the_middle_of_a_switch(site):
    site.add(TWO, never_ready="")
    site.start(ONE)
    site.order("switch", ONE)
    site.check(ONE)
    connection = site.supervisor.connect()
    connection.call("events")
    connection.send("release.switch", path=site.path, id=TWO, ready_timeout=60)
    wait_for(lambda: connection.next_event().get("release") == TWO, "a process of it", 5)
    site.supervisor.shutdown()
    site.supervisor.start()
    site.check(ONE, site.link("previous"))
    assert site.state()["pinned"] == ONE


def test_current_that_is_a_folder(site):
    site.start(ONE)
    os.mkdir(os.path.join(site.path, "current"))
    with pytest.raises(Failed) as refused:
        site.order("switch", ONE)
    assert "current" in str(refused.value)
    assert not site.state()["pinned"]


def test_another_release_while_one_is_under_way(site):
    """The newer order wins; the first client is told."""
    site.add(TWO, never_ready="")
    site.start(ONE, THREE)
    site.order("switch", ONE)
    site.check(ONE)
    connection = site.supervisor.connect()
    number = connection.send("release.switch", path=site.path, id=TWO, ready_timeout=60)
    wait_for(lambda: any(r.get("twin_pid") or r["release"] == TWO for r in site.rows()), "begun", 5)
    try:
        assert site.order("switch", THREE)["result"] == "switched"
        pinned = THREE
    except Failed as refused:  # or it is refused, naming the one under way
        assert TWO in str(refused)
        site.order("revert", TWO)
        pinned = ONE
    try:
        assert connection.answer(number)["result"] != "switched"
    except Failed:
        pass
    site.check(pinned, site.link("previous"))
    connection.close()


def test_revert_and_switch_while_pre_start_runs(host):
    """The hook of the old release is under way: what comes up must be the new one."""
    site = Site(host, instances=1, extra="hook_timeout = 60s\npre_start = sh FOLDER/hook.sh\n")
    folder = site.supervisor.folder
    config = site.supervisor.text_of("supervisor.ini").replace("FOLDER", folder)
    with open(site.supervisor.path("supervisor.ini"), "w") as file:
        file.write(config)
    with open(site.supervisor.path("hook.sh"), "w") as file:
        file.write(f"echo $RELEASE_ID >> {folder}/hooks; test -e {folder}/go || exec sleep 1000\n")
    site.start(ONE, TWO)
    connection = site.supervisor.connect()
    number = connection.send("release.switch", path=site.path, id=ONE, ready_timeout=20,
                             token="1:a")
    wait_for(lambda: ONE in site.supervisor.text_of("hooks"), "the hook of ONE", 5)
    with pytest.raises(Failed):
        site.order("switch", TWO, "2:b")
    open(site.supervisor.path("go"), "w").close()
    site.order("revert", ONE, "1:a")
    assert connection.answer(number)["result"] == "reverted"
    assert site.rows()[0]["state"] == "waiting" and not site.rows()[0]["pid"]
    assert site.order("switch", TWO, "2:b", ready_timeout=20)["result"] == "switched"
    site.check(TWO)
    assert site.supervisor.text_of("hooks").split() == [ONE, TWO]
    connection.close()


def under_way(host, mode):
    """A switch to TWO, which never becomes ready, and instance 0 on its way to it."""
    site = Site(host, mode, ready_timeout="60s")
    site.add(TWO, never_ready="")
    site.start(ONE)
    site.order("switch", ONE)
    site.check(ONE)
    connection = site.supervisor.connect()
    number = connection.send("release.switch", path=site.path, id=TWO, ready_timeout=60)
    wait_for(lambda: any(r.get("twin_pid") or r["release"] == TWO for r in site.rows()), "begun", 5)
    return site, connection, number


@pytest.mark.parametrize("mode", MODES)
def test_stop_in_the_middle_of_a_switch(host, mode):
    """An operator's order is no verdict on the release: nothing goes back because of it."""
    site, connection, number = under_way(host, mode)
    site.supervisor.run("stop", "web")
    answer = connection.answer(number)
    connection.close()
    assert (answer["result"], answer["pinned"]) == ("switched", TWO), answer
    assert all(r["state"] == "stopped" and not r["pid"] for r in site.rows())


def test_shutdown_in_the_middle_of_a_switch(host):
    """Which was seen neither good nor bad: the next start undoes it."""
    site, connection, number = under_way(host, "stop-first")
    site.supervisor.shutdown()
    with pytest.raises((Failed, ConnectionError)):
        connection.answer(number)
    connection.close()
    site.supervisor.start()
    site.check(ONE, site.link("previous"))
    assert site.state()["good"] == [ONE]
