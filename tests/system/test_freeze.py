"""deployctl freeze: kept on the hosts, seen by everybody, and never in the way back."""
import json
import os
import shutil

import pytest

from static_fleet import StaticFleet


@pytest.fixture
def fleet():
    with StaticFleet(count=2) as fleet:
        fleet.release(**{"index.html": "one"})
        yield fleet


def freeze_file(fleet, host=0):
    return os.path.join(fleet.roots[host], ".deploy", "freeze")


def test_nothing_new_is_released_until_it_is_lifted(fleet):
    first = fleet.current()
    told = fleet.run("freeze", "--reason", "disk swap", "--until", "2h")
    assert told.count("frozen") >= 2 and "disk swap" in told and "every host" in told
    kept = json.load(open(freeze_file(fleet), encoding="utf-8"))
    assert kept["reason"] == "disk swap" and kept["who"] and kept["until"] > kept["since"]
    fleet.put("index.html", "two")
    told = fleet.run("release", code=6)
    for word in ("frozen on every host", "disk swap", kept["who"], kept["since"][:19],
                 kept["until"][:19], "--despite-freeze", "unfreeze"):
        assert word in told, word
    assert fleet.current() == first
    for view in ("status", "plan"):
        assert "Frozen    disk swap" in fleet.run(view)
    assert "is refused" in fleet.run("plan")
    assert [h["freeze"]["reason"] for h in fleet.json("status")["hosts"]] == ["disk swap"] * 2
    assert [h["freeze"]["reason"] for h in fleet.json("plan")["hosts"]] == ["disk swap"] * 2
    assert "open again" in fleet.run("unfreeze")
    assert not os.path.exists(freeze_file(fleet))
    assert "Frozen" not in fleet.run("status")
    fleet.run("release")
    assert fleet.current() != first


def test_ways_back_are_open(fleet):
    first = fleet.current()
    second = fleet.release(**{"index.html": "two"})
    fleet.put("index.html", "three")
    fleet.run("release", "--hold", code=6)
    told = fleet.run("freeze")
    assert "no reason is given" in told and "that is open goes on" in told
    fleet.run("abort")
    assert fleet.current() == second
    fleet.run("rollback", "--yes")
    assert fleet.current() == first
    fleet.run("unfreeze")


def test_what_was_begun_is_ended(fleet):
    fleet.put("index.html", "two")
    fleet.run("release", "--hold", code=6)
    fleet.run("freeze")
    fleet.run("promote")
    assert open(fleet.at("index.html", host=1), encoding="utf-8").read() == "two"


def test_whoever_must_may_and_the_journal_tells(fleet):
    first = fleet.current()
    fleet.run("freeze", "-m", "year's end")
    fleet.put("index.html", "two")
    assert "despite that" in fleet.run("release", "--despite-freeze")
    assert fleet.current() != first
    assert "despite-freeze" in fleet.run("history")


def test_one_that_is_over_is_told_and_ignored(fleet):
    first = fleet.current()
    fleet.run("freeze", "--until", "1s", "--reason", "short")
    text = json.load(open(freeze_file(fleet), encoding="utf-8"))
    for host in (0, 1):
        with open(freeze_file(fleet, host), "w", encoding="utf-8") as out:
            json.dump({**text, "until": "2026-01-01T00:00:00+00:00"}, out)
    told = fleet.run("status")
    assert "ran out 2026-01-01T00:00:00" in told and "it stops nothing" in told
    fleet.put("index.html", "two")
    assert "is ignored" in fleet.run("release")
    assert fleet.current() != first


@pytest.mark.parametrize("text, said", [("by hand: \x1b]0;x\nnot this\n", "by hand: "),
                                        ("", "no reason is given"), (None, "cannot be read")],
                         ids=["line", "empty", "folder"])
def test_a_file_that_somebody_put_there_counts(fleet, text, said):
    if text is None:
        os.mkdir(freeze_file(fleet))
    else:
        with open(freeze_file(fleet), "w", encoding="utf-8") as out:
            out.write(text)
    fleet.put("index.html", "two")
    told = fleet.run("release", code=6)
    assert said in told and "not this" not in told and "\x1b" not in told
    assert "frozen on h1 " in told


def test_hosts_that_cannot_be_asked_are_named(fleet):
    shutil.move(fleet.roots[1], fleet.path("elsewhere"))
    told = fleet.run("freeze", code=3)
    assert "h1  " in told and fleet.roots[1] in told
    with open(fleet.recipe, "a", encoding="utf-8") as out:
        out.write("[host:h3]\naddress = 127.0.0.1\nport = 1\n")
    assert "is sshd running there" in fleet.run("freeze", code=4)
    assert fleet.json("freeze", code=4)["hosts"][2]["reachable"] is False


@pytest.mark.parametrize("words", [("--until", "yesterday"), ("--until", "2020-01-01"),
                                   ("--reason", "x" * 300)], ids=lambda words: words[0] + words[1][:9])
def test_what_it_does_not_take(fleet, words):
    fleet.run("freeze", *words, code=2)
    assert not os.path.exists(freeze_file(fleet))
