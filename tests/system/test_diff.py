"""deployctl diff: between two releases on the hosts, and from what runs to SOURCE."""
import os
import shutil
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from agent_client import Agent, Refused, Release, squeeze  # noqa: E402
from static_fleet import StaticFleet  # noqa: E402
from test_agent import program  # noqa: E402,F401


@pytest.fixture
def fleet():
    with StaticFleet() as one:
        one.write("shared_files = secret.env\n")
        for root in one.roots:
            os.makedirs(os.path.join(root, "shared"))
            with open(os.path.join(root, "shared", "secret.env"), "w") as file:
                file.write("PASSWORD=hunter2\n")
        one.put("page", "hello")
        one.put("bin/run", "#!/bin/sh\n", 0o755)
        one.put("old", "x")
        os.symlink("page", os.path.join(one.source, "index"))
        one.run("release")
        yield one


def change(fleet):
    fleet.put("page", "HELLO")
    fleet.put("bin/run", "#!/bin/sh\n", 0o644)
    fleet.put("new/page", "12345678")
    os.unlink(os.path.join(fleet.source, "old"))
    os.unlink(os.path.join(fleet.source, "index"))
    os.symlink("new/page", os.path.join(fleet.source, "index"))


LINES = ["~ bin/run  10 B, mode 555 -> 10 B, mode 444", "~ index  link to page -> link to new/page",
         "+ new/page  8 B, mode 444", "- old  1 B, mode 444",
         "~ page  5 B, mode 444, other contents"]


def rows(text):
    return [line for line in text.splitlines() if line[0] in "+-~!"]


def test_what_runs_against_source(fleet):
    assert rows(fleet.run("diff")) == []
    change(fleet)
    text = fleet.run("diff", code=1)
    assert rows(text) == LINES, text
    assert f"From {fleet.current()} to SOURCE" in text and "1 added, 1 removed, 3 changed" in text
    assert "hunter2" not in text and "secret" not in text
    found = fleet.json("diff", code=1)
    assert (found["added"], found["removed"], found["changed"]) == (1, 1, 3)
    assert found["rows"][0] == {"path": "bin/run", "from": {"kind": "file", "mode": "555", "size": 10},
                                "to": {"kind": "file", "mode": "444", "size": 10}}


def test_one_release_against_another(fleet):
    first = fleet.current()
    change(fleet)
    fleet.write(extra="[hooks]\nbefore_switch = true\n")
    fleet.run("release", "--irreversible", "new format")
    text = fleet.run("diff", "1", "2", code=1)
    assert rows(text) == LINES + ["+ hook before_switch  true", "! irreversible: new format"]
    assert fleet.json("diff", fleet.current(), first, code=1)["removed"] == 1
    assert rows(fleet.run("diff", "2", "2")) == ["! irreversible: new format"]
    fleet.write(extra="[hooks]\nbefore_switch = false\n")
    assert rows(fleet.run("diff", code=1)) == ["~ hook before_switch  true -> false"]
    assert len(rows(fleet.run("diff", first, code=1))) == 6  # an older one against SOURCE


def test_a_host_that_has_both_is_asked(fleet):
    first = fleet.current()
    fleet.release(page="2")
    shutil.rmtree(fleet.path("h1", "releases", first))
    assert "(on h2)" in fleet.run("diff", first, "2", code=1)
    assert "no host has 77 and 2" in fleet.run("diff", "77", "2", code=3)
    for root in fleet.roots:
        shutil.rmtree(root)
    assert "no host has 1 and 2" in fleet.run("diff", "1", "2", code=3)


def test_the_list_is_bounded(fleet):
    for i in range(300):
        fleet.put(f"more/{i:03d}", "x")
    text = fleet.run("diff", code=1)
    assert len(rows(text)) == 200 and "... and 100 more" in text
    assert len(rows(fleet.run("diff", "-n", "1000", code=1))) == 300


def test_names_do_not_act_on_the_terminal(fleet):
    fleet.put("a\033[2J\nb", "x")
    fleet.put("bin/run", "#!/bin/sh\n", 0o644)
    assert rows(fleet.run("diff", code=1))[0] == r"+ a\033[2J\012b  1 B, mode 444"
    with open(fleet.at("x\033[2J"), "w") as file:
        file.write("x")
    assert r"h1: x\033[2J was added" in fleet.run("verify", code=1)


def test_errors_come_before_the_hosts(fleet):
    shutil.rmtree(fleet.source)
    assert "src" in fleet.run("diff", code=3)
    assert "--lines" in fleet.run("diff", "-n", "x", code=2)


def test_the_verb(program, tmp_path):  # noqa: F811
    app = tmp_path / "web"
    app.mkdir()
    with Agent(program, app) as agent:
        agent.hold()
        one, two = Release({"a": b"1"}), Release({"a": b"2", "b": b""}, number=2)
        agent.bring(one)

        def send(text, **more):
            number = agent.post("diff", limit=10, **{"from": one.id, **more})
            for piece in (text, b"") if text else (b"",):
                agent.send("M", piece)
            return agent.wait(number)

        found = send(squeeze(two.short))
        assert (found["added"], found["changed"]) == (1, 1)
        for bad in b"garbage", squeeze(b"garbage"), b"":
            with pytest.raises(Refused):
                send(bad)
        with pytest.raises(Refused, match="ids of releases"):
            send(squeeze(two.short), **{"from": "../../etc"})
        with pytest.raises(Refused, match="the manifest of 000009-aaaaaaaa"):
            agent.ask("diff", **{"from": one.id, "to": "000009-aaaaaaaa"})
        assert agent.bring(two) != []  # the conversation goes on
