"""The core is killed at each of its calls while the time of a scheduled service comes: it runs once.

The clock is set an hour forward for each round (tests/chaos/preload.c), so that one more time has
come; each run writes a line of its own.
"""
import os
import subprocess
import time

import pytest
from faults import Injector, Memory, program
from form import rounds
from harness import BINARY, SANITIZED, Supervisor, wait_for

HOUR = 3600
CALLS = 240  # more than a round takes, from its time to its end


@pytest.fixture
def hourly(tmp_path):
    if SANITIZED:
        pytest.skip("NOT TESTED: the sanitizer has its own memory functions")
    s, memory = Supervisor(), Memory(str(tmp_path / "orders"))
    s.write("[service:job]\ntype = scheduled\nschedule = 30 * * * *\nschedule_timezone = UTC\n"
            f"catch_up = all\ncommand = sh -c \"echo run >> {s.folder}/runs\"\n")
    command = [program("inject"), s.path("inject.sock"), BINARY, "run", "-c", s.config, "-s",
               s.socket]
    with open(s.log, "ab") as log:
        s.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                     env=dict(s.environment, **memory.environment))
    s.wait_up()
    injector = Injector(s.path("inject.sock"))
    yield s, injector, memory
    injector.close()
    s.close()
    memory.close()


def state_of(s):
    """(runs, the last one has ended); None while there is no core to ask."""
    try:
        row = s.instance("job:0")
    except (OSError, ConnectionError):
        return None
    return row["runs"]["total"], row["last_run"] and row["last_run"]["result"] == "success"


def wake(s):
    try:
        s.call("status", names=["job"])
    except (OSError, ConnectionError):
        pass


def test_a_time_that_comes_is_run_once_wherever_the_core_dies(hourly, tally):
    s, injector, memory = hourly
    # Far from its minute, so that only our jumps make it due.
    offset = (45 * 60 - time.time()) % HOUR
    memory.set_clock(round(offset))
    wake(s)
    # The jump itself may have brought one.
    row = s.wait_instance("job:0", lambda row: row["state"] == "scheduled" and
                          2400 < row["next_run"]["in_s"] <= 2700, "quiet")
    began = row["runs"]["total"]
    kills, count = 0, rounds(24)
    for number in range(1, count + 1):
        injector.arm("core", "any", 1 + (number * 37) % CALLS, "kill")
        memory.set_clock(round(offset) + number * HOUR)
        wake(s)
        wait_for(lambda: state_of(s) == (began + number, True), f"run {number}")
        kills += len(injector.off().hits)
        assert s.text_of("runs").split() == ["run"] * (began + number)
    row = s.instance("job:0")
    assert row["runs"]["missed"] == 0 and row["runs"]["skipped"] == 0
    assert kills > count / 3
    tally["kills of the core while a scheduled run was due"] += kills
    assert os.path.exists(s.path("state", "jobs.json"))
