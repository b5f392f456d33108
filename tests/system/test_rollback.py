"""deployctl rollback: what it says beforehand, what stands in its way, releases that are gone."""
import os
import shutil
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from static_fleet import StaticFleet  # noqa: E402


@pytest.fixture
def fleet():
    with StaticFleet() as one:
        yield one


def prune(fleet, release, host):
    """As an agent prunes."""
    shutil.rmtree(fleet.path(host, "releases", release))
    os.unlink(fleet.path(host, ".deploy", "manifests", release))


def test_it_says_what_comes_back_and_what_not(fleet):
    fleet.write("shared_dirs = uploads\n")
    first, _ = fleet.release(page="1"), fleet.release(page="2")
    text = fleet.run("rollback")
    assert f"brings back everything in release {first}" in text and "on h1, h2" in text
    assert "does not bring back: what is shared (uploads), databases" in text
    assert text.index("does not bring back") < text.index("Rolled back")


def test_over_what_cannot_be_undone_it_wants_yes(fleet):
    first = fleet.release(page="1")
    fleet.put("page", "2")
    text = fleet.run("release", "--irreversible", "drops column age")
    assert "marked as irreversible (drops column age)" in text
    second, third = fleet.current(), fleet.release(page="3")
    assert "irreversible=drops column age" in fleet.run("history")
    text = fleet.run("rollback", "--to", first, code=3)
    assert f"{second} was released as irreversible (drops column age)" in text
    assert text.count("drops column age") == 1 and "--yes" in text
    assert fleet.current() == third
    fleet.run("rollback")  # to the second: nothing lies between
    assert fleet.current() == second
    fleet.run("rollback", "--to", first, code=3)
    text = fleet.run("rollback", "--to", first, "--yes")
    assert "drops column age" in text and fleet.current() == first
    fleet.run("rollback", "--to", third)  # forward again is no question
    assert fleet.current() == third


def test_what_cannot_be_undone_is_remembered_when_its_release_is_gone(fleet):
    first = fleet.release(page="1")
    second = fleet.release("--irreversible", "new format", page="2")
    third = fleet.release(page="3")
    for host in "h1", "h2":
        prune(fleet, second, host)
    fourth = fleet.release(page="4")  # staging cleans up
    assert "new format" in fleet.run("rollback", "--to", first, code=3)
    for release in first, third:
        for host in "h1", "h2":
            prune(fleet, release, host)
    fleet.release(page="5")
    about = os.listdir(fleet.path("h1", ".deploy", "about"))
    assert second not in about and fourth in about  # nothing older than it is left


def test_an_open_rollout_of_what_cannot_be_undone(fleet):
    first = fleet.release(page="1")
    fleet.put("page", "2")
    fleet.run("release", "--hold", "--irreversible", "new format", code=6)
    assert fleet.current() != first
    assert "new format" in fleet.run("rollback", code=3)
    fleet.run("rollback", "--yes")
    assert fleet.current() == first


def test_stage_brings_back_what_a_host_lost(fleet):
    first, second = fleet.release(page="1"), fleet.release(page="2")
    prune(fleet, first, "h2")
    text = fleet.run("rollback", "--to", first, code=3)
    assert "complete on every reachable host" in text and "--stage sends it" in text
    text = fleet.run("rollback", "--to", first, "--stage", code=3)  # SOURCE is the second
    assert f"h2 does not have {first} any more" in text and "is not it: its digest is" in text
    assert "cannot be read" in fleet.run("rollback", "--to", first, "--stage",
                                         fleet.path("nowhere"), code=3)
    assert (fleet.current(0), fleet.current(1)) == (second, second)
    os.makedirs(fleet.path("old"))
    with open(fleet.path("old", "page"), "w") as file:
        file.write("1")
    text = fleet.run("rollback", "--to", first, "--stage", fleet.path("old"))
    assert "Rolled back to " + first in text
    assert (fleet.current(0), fleet.current(1)) == (first, first)
    fleet.run("verify")
    fleet.put("page", "1")
    fleet.run("rollback", "--to", second, "--stage")  # everybody has it: SOURCE does not matter
    fleet.run("verify")
    assert fleet.current(1) == second


def test_stage_wants_to_know_which(fleet):
    fleet.release(page="1")
    assert "--stage wants --to" in fleet.run("rollback", "--stage", code=2)
    assert "--stage only" in fleet.run("rollback", "--to", "1", "./src", code=2)
    assert "on any reachable host" in fleet.run("rollback", "--to", "77", "--stage", code=3)
