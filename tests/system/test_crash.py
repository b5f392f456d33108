"""kill -9 of core, logger and guardian at any moment: no service notices.

SUPERVISOR_ROUNDS multiplies the rounds (1 = as CI runs them), SUPERVISOR_SEED varies them.
"""
import os
import random
import signal
import time
from concurrent.futures import ThreadPoolExecutor

from harness import alive, host, wait_for  # noqa: F401 (a fixture)
from zoo import RESTING, Zoo

ROUNDS = int(os.environ.get("SUPERVISOR_ROUNDS", "1"))
SEED = int(os.environ.get("SUPERVISOR_SEED", "1"))


def role_pids(supervisor, role):
    """Pids of our processes that run as `supervisor ROLE`."""
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            with open(f"/proc/{entry}/cmdline", "rb") as file:
                words = file.read().split(b"\0")
            with open(f"/proc/{entry}/environ", "rb") as file:
                ours = f"SUPERVISOR_HARNESS={supervisor.folder}".encode() in file.read()
        except OSError:
            continue
        if ours and words[:2] == [b"supervisor", role.encode()] and alive(int(entry)):
            found.append(int(entry))
    return found


def kill_role(supervisor, role):
    """kill -9; the pid, or None when there is none just now."""
    for pid in role_pids(supervisor, role):
        try:
            os.kill(pid, signal.SIGKILL)
            return pid
        except ProcessLookupError:
            pass
    return None


class Chaos:
    """Orders without waiting for them, so that the kill comes in the middle."""

    NAMES = RESTING + ("flap", "spin", "once", "down", "twin:0", "twin:1", "flap:1")

    def __init__(self, zoo, seed):
        self.zoo, self.random, self.extra = zoo, random.Random(seed), False
        self.stopped = {"down"}

    def act(self, connection):
        choice = self.random.random()
        name = self.random.choice(self.NAMES)
        if choice < 0.3:
            connection.send("restart", names=[name], wait=False)
        elif choice < 0.5:
            connection.send("stop", names=[name], wait=False)
        elif choice < 0.7:
            connection.send("start", names=[name], wait=False)
        elif choice < 0.8:
            connection.send("scale", name="flap", count=self.random.randint(0, 4))
        elif choice < 0.9:
            self.extra = not self.extra
            self.zoo.configure(self.extra)
            connection.send("reload")
        else:
            connection.send("signal", names=[name], signal="KILL")

    def storm(self, supervisor, orders):
        """Some orders at once; a core that dies under them is what the test wants."""
        try:
            connection = supervisor.connect()
            for _ in range(orders):
                self.act(connection)
            return connection
        except OSError:
            return None

    def calm(self, supervisor):
        """Everything that has to run is ordered to, and does."""
        supervisor.call("reload")
        supervisor.call("scale", name="flap", count=3)
        supervisor.call("start", names=list(RESTING) + ["flap", "spin"], wait=False)
        supervisor.call("start", names=["once"])
        supervisor.call("stop", names=["down"])
        for name in RESTING:
            wait_for(lambda: all(i["state"] == "running" and i["ready"] and not i.get("twin_pid")
                                 for i in supervisor.instances(name).values()),
                     f"{name} running", 20)


def back(supervisor):
    def answers():
        try:
            return supervisor.call("status")
        except OSError:
            return None
    return wait_for(answers, "another core", 20)


def start_zoo(host, number=0):
    supervisor = host(start=False)
    zoo = Zoo(supervisor)
    supervisor.start()
    chaos = Chaos(zoo, SEED + number)
    chaos.calm(supervisor)
    return supervisor, zoo, chaos


def untouched(supervisor):
    return {name: row["pid"] for name, row in supervisor.instances("rock", "count").items()}


def rest(supervisor, zoo, chaos, rocks):
    """In between everything comes to rest, is looked at, and the core lives long enough for the
    guardian to forget that it died so often."""
    back(supervisor)
    chaos.calm(supervisor)
    zoo.check_singles()
    assert untouched(supervisor) == rocks
    zoo.check_settled(supervisor.instances())
    zoo.check_exits()
    time.sleep(1)


def finish(supervisor, zoo, chaos, rocks):
    """After the last round: all of it once more, and nothing left after the shutdown."""
    rest(supervisor, zoo, chaos, rocks)
    for name, pids in zoo.starts().items():
        if name.startswith(("rock", "count")):
            assert len(pids) == 1, (name, pids)
    assert supervisor.shutdown() == 0
    assert zoo.living() == {}
    assert zoo.check_numbers() > 100


def rounds_of_kills(supervisor, zoo, chaos, rounds, kill):
    rocks = untouched(supervisor)
    for number in range(rounds):
        connection = chaos.storm(supervisor, chaos.random.randint(0, 4))
        time.sleep(chaos.random.random() * 0.02)  # the moment of the kill is what is random
        kill(number)
        if connection:
            connection.close()
        back(supervisor)
        zoo.check_singles()
        if number % 6 == 5:
            rest(supervisor, zoo, chaos, rocks)
    finish(supervisor, zoo, chaos, rocks)


def in_parallel(host, rounds, make_kill, herds=4):
    """The guardian spaces the restarts of a core that keeps dying: several at once save time."""
    def herd(number):
        supervisor, zoo, chaos = start_zoo(host, number)
        try:
            rounds_of_kills(supervisor, zoo, chaos, max(1, rounds * ROUNDS // herds),
                            make_kill(supervisor, chaos))
        except Exception as problem:
            raise AssertionError(f"seed {SEED + number}: {problem}\n"
                                 + supervisor.text_of("supervisor.log")[-2000:]) from problem

    with ThreadPoolExecutor(herds) as pool:
        for done in [pool.submit(herd, number) for number in range(herds)]:
            done.result()


def test_core(host):
    def make_kill(supervisor, chaos):
        def kill(number):
            kill_role(supervisor, "core")
            if number % 5 == 4:  # and its successor, while it takes over
                wait_for(lambda: role_pids(supervisor, "core"), "a core")
                time.sleep(chaos.random.random() * 0.01)
                kill_role(supervisor, "core")
        return kill
    in_parallel(host, 100, make_kill)


def test_logger(host):
    in_parallel(host, 40, lambda supervisor, _: lambda _: kill_role(supervisor, "logger"))


def test_core_and_logger(host):
    def make_kill(supervisor, _):
        def kill(_):
            kill_role(supervisor, "logger")
            kill_role(supervisor, "core")
        return kill
    in_parallel(host, 40, make_kill)
