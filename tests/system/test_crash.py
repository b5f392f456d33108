"""kill -9 of core, logger and guardian at any moment: no service notices.

SUPERVISOR_ROUNDS multiplies the rounds (1 = as CI runs them), SUPERVISOR_SEED varies them.
"""
import os
import random
import shutil
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness import BINARY, Failed, Supervisor, alive, host, wait_for  # noqa: F401 (a fixture)
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
    zoo.wait_settled()
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


def guardian_pid(supervisor):
    return wait_for(lambda: answer(supervisor), "an answer")["supervisor"]["pid"]


def answer(supervisor):
    try:
        return supervisor.call("status")
    except OSError:
        return None


def test_guardian(host):
    """Not PID 1: the core takes its place, in its own pid; nothing is stopped or started."""
    supervisor, zoo, chaos = start_zoo(host)
    rocks = untouched(supervisor)
    for _ in range(3):
        before = back(supervisor)["supervisor"]
        os.kill(before["pid"], signal.SIGKILL)
        supervisor.process.wait(10)  # a zombie of ours otherwise, the first time
        wait_for(lambda: (answer(supervisor) or {"supervisor": before})["supervisor"]["pid"]
                 == before["core_pid"], "the core in the guardian's place")
        assert untouched(supervisor) == rocks
    chaos.calm(supervisor)
    zoo.check_singles()
    zoo.check_settled(supervisor.instances())
    # What is started now is watched as always.
    supervisor.call("restart", names=["after"])
    pid = supervisor.instance("after:0")["pid"]
    os.kill(pid, signal.SIGKILL)
    row = supervisor.wait_instance("after:0", lambda row: row["ready"] and row["pid"] != pid)
    assert row["last_exit"]["signal"] == "KILL"
    # What was there before still ends, restarts and is stopped with the rest.
    os.kill(rocks["rock:0"], signal.SIGKILL)
    supervisor.wait_instance("rock:0", lambda row: row["ready"] and row["pid"] != rocks["rock:0"])
    supervisor.call("shutdown")
    wait_for(lambda: not zoo.living(), "the end of all services")
    assert zoo.check_numbers() > 0


QUIET = """
[service:rock]
command = sleep 10000
numprocs = 4
startsecs = 0
[service:probed]
command = sleep 10000
ready = exec:true
[service:after]
command = sleep 10000
requires = probed
startsecs = 0
post_stop = true
[service:flap]
command = sh -c "exit 3"
backoff_max = 100ms
"""


def test_guardian_and_core(host):
    """Both die: a fresh `run` finds the ledger and goes on with what lives.

    Their pipes and listening sockets died with them, so these services have none.
    """
    supervisor = host(QUIET)
    supervisor.wait_ready("after:0")
    wait_for(lambda: all(row["ready"] for row in supervisor.instances("rock").values()), "rocks")
    names = ("rock", "probed", "after")
    pids = {name: row["pid"] for name, row in supervisor.instances(*names).items()}
    for _ in range(3):
        status = supervisor.call("status")["supervisor"]
        os.kill(status["pid"], signal.SIGSTOP)  # so that it starts no other core
        os.kill(status["core_pid"], signal.SIGKILL)
        os.kill(status["pid"], signal.SIGKILL)
        supervisor.process.wait(10)
        supervisor.start()
        assert {n: r["pid"] for n, r in supervisor.instances(*names).items()} == pids
    supervisor.wait_ready("probed:0")
    for name in ("rock:0", "probed:0", "after:0"):
        os.kill(pids[name], signal.SIGKILL)
        supervisor.wait_instance(name, lambda row: row["ready"] and row["pid"] != pids[name])
    flaps = supervisor.instance("flap:0")["restarts"]
    supervisor.wait_instance("flap:0", lambda row: row["restarts"] > flaps)
    assert supervisor.shutdown() == 0
    assert not any(alive(pid) for pid in pids.values())


def test_second_run_is_refused(host):
    supervisor = host("[service:a]\ncommand = sleep 1000\n")
    second = Supervisor(folder=supervisor.folder)
    second.log += ".second"
    second.start(wait=False)
    assert second.process.wait(10) == 1
    assert supervisor.call("version")


def test_core_dies_in_the_middle_of_a_shutdown(host):
    """The next one goes on with it: nobody has to ask again."""
    supervisor = host("[service:deaf]\ncommand = sh -c \"trap '' TERM; "
                      "while :; do sleep 1000; done\"\nstopwaitsecs = 1s\nstartsecs = 100ms\n")
    supervisor.wait_ready("deaf:0")
    supervisor.call("shutdown")
    wait_for(lambda: supervisor.instance("deaf:0")["state"] == "stopping", "stopping")
    supervisor.kill_core()
    assert supervisor.process.wait(20) == 0


def test_core_dies_in_the_middle_of_a_stop(host):
    """What had to wait for its turn is stopped too."""
    supervisor = host("[service:db]\ncommand = sleep 1000\nstartsecs = 0\n"
                      "[service:app]\nrequires = db\nstopwaitsecs = 1s\nready = fd:5\ncommand = "
                      "sh -c \"trap '' TERM; echo >&5; while :; do sleep 1000; done\"\n")
    supervisor.wait_ready("app:0")
    supervisor.call("stop", names=["all"], wait=False)
    assert supervisor.wait_state("app:0", "stopping")
    assert supervisor.instance("db:0")["state"] == "running"
    supervisor.kill_core()
    supervisor.wait_state("db:0", "stopped")
    supervisor.wait_state("app:0", "stopped")


def test_core_dies_in_the_middle_of_an_overlapped_restart(host):
    """Replicas are restarted one after another, also by another core."""
    supervisor = host("[service:web]\nnumprocs = 3\nrestart_mode = overlap\nready = fd:5\n"
                      "command = sh -c \"sleep 0.2; echo >&5; exec sleep 1000\"\n")
    before = {name: supervisor.wait_ready(name)["pid"] for name in ("web:0", "web:1", "web:2")}
    supervisor.call("restart", names=["web"], wait=False)
    wait_for(lambda: supervisor.instance("web:0").get("twin_pid"), "the first twin")
    supervisor.kill_core()
    for name, pid in before.items():
        supervisor.wait_instance(name, lambda row: row["ready"] and row["pid"] not in (pid, None)
                                 and not row.get("twin_pid"), "a new process")


def test_many_deaths_and_then_a_shutdown(host):
    """The core that lives now does it, in order."""
    supervisor = host("[service:a]\ncommand = sleep 1000\nstartsecs = 0\npost_stop = touch "
                      "%(here)s/stopped\n")
    supervisor.wait_ready("a:0")
    for _ in range(6):
        supervisor.kill_core()
    assert supervisor.shutdown() == 0
    assert os.path.exists(supervisor.path("stopped"))


def test_exit_while_no_core_lives(host):
    """The status of a service that ends while the core is dead is known to the next one."""
    supervisor = host("[service:a]\ncommand = sleep 1000\nstartsecs = 0\nbackoff_max = 100ms\n"
                      "[service:b]\nbackoff_max = 100ms\ncommand = sh -c \"trap 'exit 7' USR1; "
                      "echo >&5; while :; do sleep 0.01; done\"\nready = fd:5\n")
    supervisor.wait_ready("a:0")
    supervisor.wait_ready("b:0")
    for _ in range(10):
        rows = supervisor.instances()
        core = supervisor.core_pid
        os.kill(core, signal.SIGKILL)
        os.kill(rows["a:0"]["pid"], signal.SIGSEGV)
        os.kill(rows["b:0"]["pid"], signal.SIGUSR1)
        for name, key, value in (("a:0", "signal", "SEGV"), ("b:0", "code", 7)):
            row = wait_for(lambda: back(supervisor) and supervisor.instance(name)["ready"] and
                           supervisor.instance(name)["pid"] != rows[name]["pid"] and
                           supervisor.instance(name), name)
            assert row["last_exit"][key] == value
        supervisor.call("start", names=["all"])
        for name in rows:  # no backoff the next time
            supervisor.call("restart", names=[name])


# --- upgrade ---

def test_upgrade(host, tmp_path):
    supervisor, zoo, chaos = start_zoo(host)
    rocks = untouched(supervisor)
    before = {name: row["pid"] for name, row in supervisor.instances().items()
              if name.split(":")[0] in RESTING}
    for number in range(3):
        copy = str(tmp_path / f"supervisor-{number}")
        shutil.copy(supervisor.binary, copy)
        old = back(supervisor)["supervisor"]
        supervisor.call("upgrade", binary=copy)
        new = wait_for(lambda: (answer(supervisor) or {"supervisor": old})["supervisor"]
                       ["core_pid"] != old["core_pid"] and answer(supervisor), "the new core")
        assert new["supervisor"]["pid"] == old["pid"] == supervisor.process.pid
        for pid in (old["pid"], new["supervisor"]["core_pid"]):
            assert os.readlink(f"/proc/{pid}/exe") == copy
        wait_for(lambda: [pid for pid in role_pids(supervisor, "logger")
                          if os.readlink(f"/proc/{pid}/exe") == copy], "the new logger")
        after = {name: row["pid"] for name, row in supervisor.instances().items()
                 if name.split(":")[0] in RESTING}
        assert after == before
    rest(supervisor, zoo, chaos, rocks)
    assert supervisor.shutdown() == 0
    assert zoo.living() == {}
    assert zoo.check_numbers() > 0


def memory_of(pid, name):
    """The path of a file in memory that this process has open."""
    for fd in os.listdir(f"/proc/{pid}/fd"):
        path = f"/proc/{pid}/fd/{fd}"
        if os.readlink(path).startswith(f"/memfd:{name} "):
            return path
    raise AssertionError(f"no memory called {name}")


def test_formats_of_another_version_refuse_an_upgrade(host):
    """All of them are looked at before anything is touched."""
    supervisor = host("[service:a]\ncommand = sleep 1000\nstartsecs = 0\n")
    pid, core = supervisor.wait_ready("a:0")["pid"], supervisor.core_pid
    for name, words in (("ledger", "reads 4 and 5: upgrade to a release between"),
                        ("supervisor-recorder", "not a recorder of version"),
                        ("streams", "table of streams is of another version"),
                        ("supervisor-history", "not a history of version")):
        path = supervisor.socket + ".ledger" if name == "ledger" else memory_of(core, name)
        with open(path, "r+b", buffering=0) as file:
            file.seek(8)
            version = file.read(4)
            file.seek(8)
            file.write(b"\1\0\0\0" if name == "ledger" else b"\xff\0\0\0")
            with pytest.raises(Failed) as refused:
                supervisor.call("upgrade", binary=BINARY)
            file.seek(8)
            file.write(version)
        assert words in str(refused.value) and "nothing was changed" in str(refused.value)
    assert supervisor.core_pid == core and supervisor.instance("a:0")["pid"] == pid
    supervisor.call("upgrade", binary=BINARY)
    wait_for(lambda: supervisor.core_pid != core, "the new core")
    assert supervisor.instance("a:0")["pid"] == pid


@pytest.mark.parametrize("text", ["#!/bin/sh\necho it is broken; exit 1\n",
                                  "#!/bin/sh\nkill -SEGV $$\n", "\x7fELF not really\n"])
def test_broken_upgrade_is_refused(host, tmp_path, text):
    supervisor = host("[service:a]\ncommand = sleep 1000\nstartsecs = 0\n")
    pid = supervisor.wait_ready("a:0")["pid"]
    broken = tmp_path / "broken"
    broken.write_text(text)
    broken.chmod(0o755)
    core = supervisor.core_pid
    for _ in range(5):
        with pytest.raises(Failed) as refused:
            supervisor.call("upgrade", binary=str(broken))
        if "broken;" in text:
            assert "it is broken" in str(refused.value)
    assert supervisor.core_pid == core
    assert supervisor.instance("a:0")["pid"] == pid
    with pytest.raises(Failed):
        supervisor.call("upgrade", binary="/nowhere/supervisor")
