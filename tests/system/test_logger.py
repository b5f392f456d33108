"""The logger in a handmade store (logger_rig.h): killed under load, ordered about, out of space.

The programs are built by `make` under $B (default build/release).  LOGGER_KILLS is the number of
random kills (default 300), LOGGER_CALLS the number of system calls at which it is killed in turn.
"""
import os
import subprocess

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("B", "build/release")
KILLS = int(os.environ.get("LOGGER_KILLS", "300"))
CALLS = int(os.environ.get("LOGGER_CALLS", "400"))
SKIPPED = 77
CASES = ["drain", "close", "late", "settings", "outside", "link", "leave", "long", "compress",
         "idle", "full-block", "full-drop", "shared"]


@pytest.fixture(scope="session")
def programs():
    targets = [f"{BUILD}/tests/system/logger_kill", f"{BUILD}/tests/system/logger_cases"]
    subprocess.run(["make", "-s", f"B={BUILD}", *targets], cwd=ROOT, check=True)
    return [os.path.join(ROOT, target) for target in targets]


def run(program, *arguments):
    done = subprocess.run([program, *map(str, arguments)], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, timeout=300, errors="replace")
    if done.returncode == SKIPPED:
        pytest.skip("this machine allows no mount")
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("seed", [1, 2])
def test_no_byte_is_lost_when_it_is_killed_at_random(programs, tmp_path, seed):
    print(run(programs[0], "random", tmp_path, KILLS, seed))


def test_no_byte_is_lost_when_it_is_killed_at_each_system_call(programs, tmp_path):
    print(run(programs[0], "step", tmp_path, CALLS, 1))


@pytest.mark.parametrize("case", CASES)
def test_case(programs, tmp_path, case):
    folder = tmp_path / "logs"
    folder.mkdir()
    run(programs[1], case, folder)


def test_every_case_is_run(programs):
    """The list above is the program's own."""
    done = subprocess.run([programs[1]], stderr=subprocess.PIPE, text=True)
    assert done.stderr.split(":", 1)[1].split() == CASES
