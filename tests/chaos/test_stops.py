"""Processes that do not run for a while, and clocks that jump.

A stopped core or logger stops nobody else: the guardian goes on, services run and write, exits are
kept, and when the core goes on, or is replaced by `recover`, all of it is told.
"""
import os
import signal
import time

import pytest
from form import ROUNDS
from harness import SANITIZED
from herd import ONE, TWO, Broken
from rounds import Player

LONG = 60 if ROUNDS else 1.5
YEAR = 365 * 24 * 3600


@pytest.fixture
def player(tally, request):
    made = Player(tally, {}, getattr(request, "param", None))
    yield made
    try:
        made.finish()
    finally:
        made.close()


def stopped(pid):
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rsplit(")", 1)[1].split()[0] == "T"


def reaped(pid):
    return not os.path.exists(f"/proc/{pid}")


def ends_meanwhile(player):
    """Three services end, each in its way, and the guardian calls them in."""
    pids = player.pids("after:0", "probed:0", "hooked:0")
    return pids, (signal.SIGUSR2, signal.SIGHUP, signal.SIGKILL)


@pytest.mark.parametrize("ending", ["goes on", "recover"])
def test_core_stopped(player, tally, ending):
    pids, signals = ends_meanwhile(player)
    core = player.status()["supervisor"]["core_pid"]
    os.kill(core, signal.SIGSTOP)
    player.patient(lambda: stopped(core) or fail("it runs"), "the core stops")
    begin = time.monotonic()
    for pid, signum in zip(pids.values(), signals):
        os.kill(pid, signum)
    for pid in pids.values():
        player.patient(lambda: reaped(pid) or fail(f"{pid} is a zombie"), "the guardian reaps")
    player.say(3)  # what services write is on file, without a core
    os.kill(player.supervisor.process.pid, signal.SIGHUP)  # an order that waits
    time.sleep(max(0, LONG - (time.monotonic() - begin)))  # the time itself is what is tested
    if ending == "recover":
        player.supervisor.run("recover")
    else:
        os.kill(core, signal.SIGCONT)
    player.check()
    tally[f"the core stopped for {LONG:g} s, then {ending}"] += 1


def fail(what):
    raise Broken(what)


def test_logger_stopped(player, tally):
    """More than a pipe takes is written meanwhile; who writes waits, nobody else."""
    logger = player.kill_role("logger", signal.SIGSTOP)
    player.patient(lambda: stopped(logger) or fail("it runs"), "the logger stops")
    begin = time.monotonic()
    for _ in range(10):
        player.signal("rock:0", signal.SIGUSR1)
        player.supervisor.call("restart", names=["plain", "web"])
    took = time.monotonic() - begin
    assert took < 10, f"restarts took {took:.1f} s"
    time.sleep(max(0, LONG - took))
    os.kill(logger, signal.SIGCONT)
    player.check()
    tally[f"the logger stopped for {LONG:g} s"] += 1


def test_both_stopped_and_killed(player, tally):
    pids, signals = ends_meanwhile(player)
    for role in ("core", "logger"):
        player.kill_role(role, signal.SIGSTOP)
    for pid, signum in zip(pids.values(), signals):
        os.kill(pid, signum)
    player.signal("rock:0", signal.SIGUSR1)
    for role in ("core", "logger"):
        player.kill_role(role)
    player.check()
    tally["core and logger killed while stopped"] += 1


@pytest.mark.skipif(SANITIZED, reason="the sanitizer brings its own malloc")
@pytest.mark.parametrize("player", ["memory"], indirect=True)
def test_clock(player, tally):
    """Deadlines, delays and leases are not the wall clock's business."""
    site = player.supervisor.path("site")
    jumps = (3600, -3600, YEAR, -YEAR, 20 * YEAR, -60 * YEAR, 0)
    for number, ahead_s in enumerate(jumps):
        name = TWO if number % 2 == 0 else ONE
        call = dict(path=site, id=name, token=f"{number + 1}:clock")
        answer = player.supervisor.call("release.switch", confirm_within=300, **call)
        assert answer["result"] == "switched", answer
        player.injector.set_clock(ahead_s)
        begin = time.monotonic()
        player.supervisor.call("restart", names=["web", "probed", "hooked"])
        pid = player.pids("after:0")["after:0"]
        os.kill(pid, signal.SIGUSR2)
        player.patient(lambda: player.instances()["after:0"]["ready"] and
                       player.pids("after:0")["after:0"] != pid or fail("not back"), "after:0")
        if number % 3 == 2:
            player.kill_role("core")
        player.check()
        took = time.monotonic() - begin
        assert took < 10, f"{took:.1f} s after a jump by {ahead_s} s"
        row = player.instances()["web:0"]
        assert 0 <= row["uptime_s"] < 60, row
        state = player.supervisor.call("release.state", path=site)
        assert state["pinned"] == name and not state["confirmed"], state
        assert 0 < state["deadline_s"] <= 300, state
        player.supervisor.call("release.confirm", **call)
    tally["jumps of the wall clock"] += len(jumps)
