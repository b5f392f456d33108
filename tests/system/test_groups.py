"""Groups of hosts that follow one another, with two services on each host: real supervisors, real
agents, real kills.  h1 is the group api, h2 and h3 are web, which comes after it.
"""
import json
import os
import random
import re
import signal
import subprocess

import pytest

from harness import BINARY, MARK, processes_with, wait_for
from hosts import BUILD, DEPLOYCTL, PATIENCE, Fleet, Story

SLOW = os.environ.get("SLOW_TESTS") == "1"
KILLS = int(os.environ.get("KILLS", 120 if SLOW else 8))
SEED = int(os.environ.get("SEED", 1))

WORKER = """
[service:worker]
command = sh -c "test ! -e worker-fails-{name} || exit 9; exec sleep 1000"
release = {root}
{user}after = web
startsecs = 100ms
stopwaitsecs = 2s
"""
GROUPS = """
[group:web]
hosts = h2 h3
after = api
[group:api]
hosts = h1
"""
# What makes another boot id: the supervisor of a host that is rebooted finds its own in this file.
BOOT = """#!/bin/sh
exec unshare -m sh -c 'mount --bind "$BOOT_ID" /proc/sys/kernel/random/boot_id && exec "$0" "$@"' \\
    {program} "$@"
"""


class Groups(Fleet):
    def write(self, extra="", groups=GROUPS, **more):
        super().write(extra + groups, **more)

    def elsewhere(self):
        """The deploy.ini of another machine, where nobody has heard of groups."""
        with open(self.recipe) as file:
            text = file.read()
        path = os.path.join(self.folder, "other.ini")
        with open(path, "w") as file:
            file.write(text[:text.index("[group:")])
        return path

    def run_elsewhere(self, *words, code=0):
        here, self.recipe = self.recipe, self.elsewhere()
        try:
            return self.run(*words, code=code)
        finally:
            self.recipe = here

    def marks(self):
        return [host.supervisor.events()[-1]["seq"] for host in self.hosts]

    def moves(self, since):
        """["h1 2", "h2 2", ...]: which host went to which release, in the order in which the
        supervisors were asked."""
        moves = []
        for host, seq in zip(self.hosts, since):
            for event in host.supervisor.events(seq + 1):
                if event["event"] in ("release.switch", "release.revert"):
                    moves.append((event["at"], host.name, event["event"][8:],
                                  int(event["release"][:6])))
        return [f"{name} {act} {number}" for _, name, act, number in sorted(moves)]

    def rebooted(self, host):
        """Everything on it dies at once, and it comes up with another boot id."""
        supervisor = host.supervisor
        mark = f"{MARK}={supervisor.folder}"

        def gone():
            """All are stopped before the first is killed, so that none of them sees another's end."""
            for signum in (signal.SIGSTOP, signal.SIGKILL):
                for pid in processes_with(mark):
                    try:
                        os.kill(pid, signum)
                    except ProcessLookupError:
                        pass
            return not processes_with(mark)
        wait_for(gone, "the end of all of it")
        supervisor.process.wait(10)
        with open(supervisor.environment["BOOT_ID"], "w") as file:
            file.write(f"{random.randrange(1 << 32):08x}-0000-4000-8000-000000000000\n")
        supervisor.start()


@pytest.fixture(scope="module")
def fleets():
    made = []
    yield made
    for fleet in made:
        fleet.close()


@pytest.fixture
def fleet(fleets, request):
    """A whole fleet with a new release in its source; another one after a failure."""
    failed = request.session.testsfailed
    if not fleets or fleets[0].failures != failed:
        while fleets:
            fleets.pop().close()
        fleets.append(Groups(more=WORKER, services="web worker"))
        fleets[0].failures = failed
        fleets[0].run("release")
    fleets[0].write()
    fleets[0].quiet()
    fleets[0].one_release()
    fleets[0].change()
    return fleets[0]


def number(release):
    return int(release[:6])


def test_one_group_follows_the_other(fleet):
    before = fleet.one_release()
    since = fleet.marks()
    process = fleet.start("release", "--json")
    story = Story(process)
    assert story.end() == 0
    after = number(fleet.one_release())
    assert fleet.moves(since) == [f"{h} switch {after}" for h in ("h1", "h2", "h3")]
    stages = [(e["stage"], e["text"].split(": group ")[1]) for e in story.events
              if e["event"] == "stage" and ": group " in e["text"]]
    assert stages == [("canary", "api"), ("batches", "web")]
    order = [(e["host"], e["state"]) for e in story.events if e["event"] == "host"]
    assert order.index(("h1", "confirmed")) < order.index(("h2", "switching"))
    since = fleet.marks()
    fleet.run("rollback")
    assert fleet.one_release() == before
    moves = fleet.moves(since)
    assert sorted(moves[:2]) == [f"{h} switch {number(before)}" for h in ("h2", "h3")]
    assert moves[2:] == [f"h1 switch {number(before)}"]


def test_the_second_service_of_the_last_host_fails(fleet):
    """Its host goes back wholly, then the rest of its group, then the group before."""
    before = fleet.one_release()
    since = fleet.marks()
    fleet.put("worker-fails-h3")
    text = fleet.run("release", code=1)
    assert "is bad (h3: " in text and "worker:0" in text
    assert fleet.one_release() == before
    new = int(re.search(r"Release (\d+)-\w+ is bad", text)[1])
    moves = fleet.moves(since)
    assert [m for m in moves if m.endswith(f"switch {new}")] == \
        [f"{h} switch {new}" for h in ("h1", "h2", "h3")]
    back = [m.split()[0] for m in moves if not m.endswith(f"switch {new}")]
    assert back[-2:] == ["h2", "h1"], moves
    assert text.index("bringing every switched host back: group web") < \
        text.index("bringing every switched host back: group api")
    fleet.good_again()


def test_plan_shows_the_order(fleet):
    text = fleet.run("plan")
    assert re.search(r"HOST +GROUP +WHEN", text)
    assert re.search(r"h1 +api +canary", text) and re.search(r"h3 +web +batch 2", text)
    assert "1 canary host watched for 500ms, then one group after the other" in text
    assert re.search(r"web +2 hosts in batches of 1, at most 1 out at the same time; web, worker",
                     text)
    plan = json.loads(fleet.run("plan", "--json"))
    assert [g["group"] for g in plan["groups"]] == ["api", "web"]
    assert [h["group"] for h in plan["hosts"]] == ["api", "web", "web"]
    assert "h2 cannot be a canary: it is in group web, which comes after api" in \
        fleet.run("plan", "--canary", "h2", code=2)


def test_an_order_that_is_not_the_supervisors_is_told(fleet):
    fleet.services = "worker web"
    fleet.write()
    text = fleet.run("release")
    assert "the supervisor here switches web before worker" in text
    fleet.services = "web"
    fleet.write()
    assert "worker:0 runs from this folder and switches with the others" in fleet.run("hosts")
    fleet.services = "web worker"
    fleet.good_again()


# --- deployctl dies, and somebody elsewhere goes on -------------------------------------------------


def kill_when(fleet, host, state, **more):
    process = fleet.start("release", "--json", **more)
    Story(process).host(host, state)
    process.kill()
    process.communicate(timeout=60)


def test_killed_between_the_groups_and_resumed_elsewhere(fleet):
    since = fleet.marks()
    kill_when(fleet, "h1", "confirmed")
    fleet.quiet()
    rollout = fleet.status(code=6)["rollout"]
    assert [g["name"] for g in rollout["groups"]] == ["api", "web"]
    assert [h["group"] for h in rollout["hosts"]] == [0, 1, 1]
    text = fleet.run("status", code=6)
    assert "Group api: 1 of 1 on it.\nGroup web: " in text
    fleet.run_elsewhere("resume")
    after = number(fleet.one_release())
    asked = [m for m in fleet.moves(since) if m.endswith(f"switch {after}")]
    assert asked[0] == f"h1 switch {after}" and asked[-1] == f"h3 switch {after}"
    fleet.good_again()


def test_killed_in_the_last_group_and_resumed_to_a_failure(fleet):
    before = fleet.one_release()
    fleet.put("worker-fails-h3")
    kill_when(fleet, "h2", "confirmed")
    fleet.quiet()
    since = fleet.marks()
    fleet.run_elsewhere("resume", code=1)
    assert fleet.one_release() == before
    back = [m.split()[0] for m in fleet.moves(since) if m.endswith(f"switch {number(before)}")]
    assert back[-2:] == ["h2", "h1"]
    fleet.good_again()


def test_killed_in_the_last_group_and_aborted_elsewhere(fleet):
    before = fleet.one_release()
    kill_when(fleet, "h3", "switched")
    fleet.quiet()
    since = fleet.marks()
    fleet.run_elsewhere("abort")
    assert fleet.one_release() == before
    moves = [m.split()[0] for m in fleet.moves(since)]
    assert moves[-1] == "h1" and "h2" in moves[:-1], moves
    fleet.good_again()


def test_status_names_the_group_at_it(fleet):
    process = fleet.start("release", "--json")
    Story(process).host("h2", "switching")
    wait_for(lambda: "at work: step batches of group web" in fleet.run("status", code=(0, 6)) or
             process.poll() is not None, "the step on the hosts")
    assert process.poll() is None
    process.kill()
    process.communicate(timeout=60)
    fleet.quiet()
    fleet.run("resume")
    fleet.good_again()


@pytest.mark.parametrize("meanwhile", ["done", "at work"])
def test_a_stale_deployctl_wakes_up_and_is_refused(fleet, meanwhile):
    """Stopped in the middle, another goes on meanwhile; then it goes on where it was."""
    process = fleet.start("release", "--json")
    story = Story(process)
    story.host("h2", "switched")
    os.kill(process.pid, signal.SIGSTOP)
    other = None
    try:
        fleet.quiet()  # the agents leave: they hear nothing any more
        if meanwhile == "done":
            fleet.run_elsewhere("resume")
        else:
            hold = os.path.join(fleet.folder, "hold")
            fleet.write(f"[hooks]\nbefore_switch = for i in $(seq 600); do test -e {hold} && break; "
                        "sleep 0.05; done\n")
            other = fleet.start("resume", "--json")
            Story(other).host("h2", "switching")
        since = fleet.marks()
    finally:
        os.kill(process.pid, signal.SIGCONT)
    assert story.end() == 5, story.text
    assert re.search(r"epoch (\d+) is over: .*epoch (\d+)", story.text), story.text
    if other:
        assert re.search(r"is over: \S+@\S+ came since .* at work", story.text), story.text
        open(hold, "w").close()
        assert other.wait(PATIENCE) == 0
        other.stdout.close()
        os.unlink(hold)
    else:
        assert fleet.moves(since) == []
    fleet.write()
    after = fleet.one_release()
    assert fleet.status(code=0)["release"] == after
    fleet.good_again()


# --- a kill at any call ------------------------------------------------------------------------------


def killed_at(fleet, call, *words):
    """Exit code, and how many system calls there were."""
    seen = os.path.join(fleet.folder, "seen")
    environment = dict(os.environ, **{MARK: fleet.folder})
    process = subprocess.run([os.path.join(BUILD, "tests/system/kill_at"), str(call), seen,
                              DEPLOYCTL, words[0], "-f", fleet.recipe, *words[1:]],
                             stdin=subprocess.DEVNULL, capture_output=True, text=True,
                             timeout=PATIENCE, env=environment)
    with open(seen) as file:
        return process.returncode, int(file.read())


def test_killed_at_any_system_call(fleet):
    """SEED and KILLS choose which, SLOW_TESTS=1 means many.  Whoever comes next finds all hosts on
    one of two releases, or brings them there."""
    chance = random.Random(SEED)
    fleet.write(bake="200ms")
    code, calls = killed_at(fleet, 0, "release")
    assert code == 0 and calls > 500
    ends = set()
    for kill in range(KILLS):
        fleet.change()
        before = fleet.one_release()
        bad = kill % 4 == 3
        if bad:
            fleet.put("worker-fails-h3")
        at = 1 + int(calls * (kill + chance.random()) / KILLS)
        code, _ = killed_at(fleet, at, "release")
        assert code in (128 + 9, 0, 1), code
        fleet.quiet()
        how = chance.choice(("resume", "abort"))
        text = fleet.run_elsewhere(how, code=(0, 1))
        state = fleet.status()
        assert state["rollout"] is None, (at, how, text)
        after = fleet.one_release()
        assert after == before or not bad, (at, how)
        ends.add(after == before)
    assert ends == {True, False} or KILLS < 20  # a few may all be of one kind
    fleet.good_again()


# --- a host is rebooted ------------------------------------------------------------------------------


@pytest.fixture
def bootable(tmp_path):
    """Hosts that can be given another boot id."""
    if subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode != 0:
        pytest.skip("needs to make a mount namespace")
    program, boot_id = tmp_path / "supervisor", tmp_path / "boot_id"
    with open("/proc/sys/kernel/random/boot_id") as file:
        boot_id.write_text(file.read())
    program.write_text(BOOT.format(program=BINARY))
    program.chmod(0o755)
    made = Groups(more=WORKER, services="web worker", binary=str(program),
                  environment={"BOOT_ID": str(boot_id)})
    made.write()
    made.run("release")
    made.change()
    yield made
    made.close()


@pytest.mark.parametrize("who, when", [("h1", "h2 switching"), ("h2", "h2 switched"),
                                       ("h2", "h3 switched"), ("h3", "h3 switching")])
def test_a_host_is_rebooted_in_the_middle(bootable, who, when):
    before = bootable.one_release()
    process = bootable.start("release", "--json")
    story = Story(process)
    story.host(*when.split())
    bootable.rebooted(next(h for h in bootable.hosts if h.name == who))
    code = story.end()
    if bootable.status()["rollout"]:
        bootable.run_elsewhere("abort", code=(0, 7))
    ids = bootable.ids()
    assert len(set(ids)) == 1, (code, story.text)
    assert (ids[0] == before) == (code != 0), story.text
    bootable.good_again()
