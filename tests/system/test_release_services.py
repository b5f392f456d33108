"""Several services in one folder of releases: one set, switched in order, back in reverse."""
import os

import pytest

from harness import host, wait_for  # noqa: F401 (a fixture)
from test_release import IDS, USER, Site

ONE, TWO, THREE = IDS[:3]
SLOW = os.environ.get("SLOW_TESTS") == "1"

# The order is not that of the alphabet nor of the file: worker after api after migrate.
SERVICES = """
[service:worker]
command = sh -c "test ! -e worker-fails || exit 9; touch {folder}/worker.ready; exec sleep 1000"
after = api
ready = exec:test -e {folder}/worker.ready
ready_interval = 50ms
post_stop = rm -f {folder}/worker.ready
[service:migrate]
type = oneshot
command = sh -c "cat VERSION >>{folder}/migrations; test ! -e migrate-fails"
startretries = 0
[service:api]
command = sh -c "test ! -e api-fails || exit 9; exec sleep 1000"
requires = migrate
startsecs = 100ms
"""
ORDER = ["migrate:0", "api:0", "worker:0"]


class Set(Site):
    """Three services instead of one."""

    def __init__(self, host):
        super().__init__(host)
        text = SERVICES.format(folder=self.supervisor.folder)
        common = (f"release = {self.path}\n{USER}stopwaitsecs = 2s\nready_timeout = 3s\n"
                  "backoff_min = 50ms\nbackoff_max = 200ms\n")
        self.supervisor.write("".join(
            f"[service{part}\n{common}" for part in text.split("[service")[1:]))

    def rows(self):
        return [row for row in self.supervisor.instances().values()]

    def check(self, pinned, previous=None):
        def whole():
            rows = {row["id"]: row for row in self.rows()}
            state = self.state()
            return (state["pinned"] == pinned and state["phase"] == "steady" and
                    all(rows[name]["release"] == pinned for name in ORDER) and
                    all(rows[name]["ready"] for name in ORDER[1:]) and state)
        wait_for(whole, f"all three on {pinned}", 15)
        assert self.link("current") == pinned
        assert self.link("previous") == previous
        for name in ORDER[1:]:
            pid = self.supervisor.instance(name)["pid"]
            assert os.readlink(f"/proc/{pid}/cwd").endswith(f"/releases/{pinned}")

    def seq(self):
        return self.supervisor.events()[-1]["seq"]

    def steps(self, since):
        """What was asked of the three and what became of it, in order: "api:0 2" is replaced by the
        second release, "api:0 ready"."""
        said = []
        for event in self.supervisor.events(since + 1):
            if event["event"] == "release.replace":
                said.append(f"{event['instance']} {int(event['release'][:6])}")
            elif event["event"] == "state" and event.get("ready"):
                said.append(f"{event['instance']} ready")
        return said

    def wait_until_settled(self):
        return wait_for(lambda: self.state()["phase"] in ("steady", "none") and self.state(),
                        "an end of it", 20)


def forward(number):
    return [step for name in ORDER for step in (f"{name} {number}", f"{name} ready")]


def back(number, names):
    return [step for name in reversed(names) for step in (f"{name} {number}", f"{name} ready")]


@pytest.fixture
def services(host):
    made = Set(host)
    made.start(ONE, TWO)
    made.order("switch", ONE)
    made.check(ONE)
    return made


def test_each_is_ready_before_the_next_is_replaced(services):
    """In the order of requires and after, as they start; a oneshot when it has ended well."""
    assert [i["id"] for i in services.state()["instances"]] == ORDER
    since = services.seq()
    assert services.order("switch", TWO)["result"] == "switched"
    assert services.steps(since) == forward(2)
    services.check(TWO, ONE)
    since = services.seq()
    assert services.order("rollback")["result"] == "switched"
    assert services.steps(since) == forward(1)  # going on to an older one is a switch, too
    services.check(ONE, TWO)


@pytest.mark.parametrize("which", range(3))
def test_one_fails_and_all_go_back_in_reverse(services, which):
    name = ORDER[which]
    services.add(THREE, **{f"{name[:-2]}_fails": ""})
    since = services.seq()
    answer = services.order("switch", THREE)
    assert answer["result"] == "reverted" and name in answer["reason"]
    steps = services.steps(since)
    assert steps[:2 * which + 1] == forward(3)[:2 * which + 1]
    assert steps[2 * which + 1:] == back(1, ORDER[:which + 1])  # nobody who had not left
    services.check(ONE, services.link("previous"))


def test_the_lease_is_of_all_of_them(services):
    since = services.seq()
    services.order("switch", TWO, "1:r", confirm_within=1)
    assert services.state()["phase"] == "unconfirmed"
    services.supervisor.wait_event(lambda e: e["event"] == "release.reverted", since + 1)
    assert services.steps(since) == forward(2) + back(1, ORDER)
    services.check(ONE, services.link("previous"))


def test_a_revert_by_order_is_in_reverse(services):
    services.order("switch", TWO, "1:r", confirm_within=60)
    since = services.seq()
    services.order("revert", TWO, "1:r", reason="as asked")
    assert services.steps(since) == back(1, ORDER)
    services.check(ONE, services.link("previous"))


def test_the_core_is_killed_at_every_step(services):
    """A kill -9 at each event of a switch that succeeds, and of one in which the last one fails.
    Without SLOW_TESTS at every third."""
    services.add(THREE, worker_fails="")
    ends = set()
    for name in (TWO, THREE):
        for step in range(1, 40, 1 if SLOW else 3):
            present = services.state()["pinned"]
            aim = name if present != name else ONE
            connection = services.supervisor.connect()
            connection.call("events")
            connection.send("release.switch", path=services.path, id=aim)
            seen = 0
            while seen < step:
                event = connection.next_event()
                seen += event["event"] in ("state", "release.replace", "exit")
                if event["event"] in ("release.switched", "release.reverted"):
                    break
            else:
                services.supervisor.kill_core()
            connection.close()
            state = services.wait_until_settled()
            assert state["pinned"] in ((aim,) if aim == ONE else (aim, present)), state
            services.check(state["pinned"], services.link("previous"))
            ends.add((aim, state["pinned"]))
            if seen < step:
                break
        assert step > 9  # there were so many
    assert (TWO, TWO) in ends and (THREE, THREE) not in ends
    assert any(aim == THREE for aim, _ in ends)
