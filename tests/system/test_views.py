"""status, history and why as somebody reads them who was just woken up; and their JSON."""
import json
import os
import subprocess

import pytest

from hosts import DEPLOYCTL, Fleet
from static_fleet import StaticFleet


@pytest.fixture(scope="module")
def bad():
    """Two good releases, and one that was judged bad on h1."""
    fleet = Fleet()
    try:
        fleet.run("release", "--yes")
        fleet.change()
        fleet.run("release", "--yes")
        fleet.change()
        fleet.put("hello", "#!/bin/sh\necho cannot open config\nexit 3\n", 0o755)
        fleet.run("release", "--yes", code=1)
        yield fleet
    finally:
        fleet.close()


def test_status_tells_what_runs_since_when_and_what_went_wrong(bad):
    text = bad.run("status")
    good = bad.one_release()
    rows = [line.split() for line in text.splitlines()[1:4]]
    assert [row[0] for row in rows] == ["h1", "h2", "h3"]
    assert all(row[1] == good and row[2].count(":") == 2 for row in rows)
    assert f"Fleet     web: {good} on 3 of 3 hosts" in text
    assert "rolled-back" in text and "exited with code 3" in text and "`deployctl why`" in text
    status = bad.status()
    assert status["release"] == good and status["exit"] == 0
    for host in status["hosts"]:
        assert host["since"] and host["last"]["outcome"] == "rolled-back"
        assert "exited with code 3" in host["last"]["reason"]


def test_why_names_the_host_the_reason_and_what_to_do(bad):
    text = bad.run("why")
    for piece in ("When ", "h1 reverted: ", "exited with code 3", "rolled-back",
                  "`deployctl logs -n 50 --hosts h1`", "--despite"):
        assert piece in text, piece
    done = subprocess.run([DEPLOYCTL, "logs", "-n", "50", "--hosts", "h1", "--file", bad.recipe],
                          capture_output=True, text=True, timeout=60)
    assert "cannot open config" in done.stdout, done


def test_history_has_one_line_for_what_every_host_did(bad):
    text = bad.run("history", "-n", "1000")
    assert sum("close" in line and "rolled-back" in line for line in text.splitlines()) == 1
    apart = bad.run("history", "-n", "1000", "-v")
    assert sum("close" in line and "rolled-back" in line for line in apart.splitlines()) == 3
    lines = [json.loads(line) for line in bad.run("history", "--json", "-n", "5").splitlines()]
    assert len(lines) == 5 and all(line["host"] and line["act"] and line["at"] for line in lines)


def test_an_order_that_is_refused_leaves_the_error_alone(bad):
    assert "no rollout is open" in bad.run("promote", code=3)


def test_many_hosts_are_one_line():
    with StaticFleet(count=5) as fleet:
        fleet.release(page="one")
        text = fleet.run("history")
        assert "every host" in text and "h5" not in text.split("seal", 1)[0]


@pytest.fixture
def static():
    with StaticFleet() as fleet:
        fleet.release(page="one")
        yield fleet


@pytest.mark.parametrize("words, code", [
    (("status", "--hosts", "nobody"), 2), (("why", "99"), 3), (("verify", "99"), 3),
    (("diff", "99"), 3), (("promote",), 3), (("release", "nowhere"), 3), (("logs",), 3),
    (("release", "--batch", "x"), 2), (("release", "--canary", "nobody"), 2),
    (("rollback", "--to", "99", "--yes"), 3)], ids=lambda value: "-".join(map(str, value))
    if isinstance(value, tuple) else str(value))
def test_errors_are_json_too(static, words, code):
    done = subprocess.run([DEPLOYCTL, *words, "--json", "-f", static.recipe], text=True,
                          capture_output=True, timeout=60, stdin=subprocess.DEVNULL)
    assert done.returncode == code, done
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert any(line.get("event") == "error" and line["text"] for line in lines), done.stdout


def test_a_recipe_with_errors_and_none(static):
    for text, said in (("[deploy]\napp = web\nnosuchkey = 1\n", "deploy.ini:3"), (None, "init")):
        if text is None:
            os.unlink(static.recipe)
        else:
            with open(static.recipe, "w", encoding="utf-8") as out:
                out.write(text)
        done = subprocess.run([DEPLOYCTL, "status", "--json", "-f", static.recipe], text=True,
                              capture_output=True, timeout=60)
        assert done.returncode == 3 and said in done.stderr
        assert said in json.loads(done.stdout.splitlines()[0])["text"]


@pytest.mark.parametrize("number", ["0", "-3", "x", "99999999"])
def test_history_of_no_number_of_lines(static, number):
    assert "a number from 1" in static.run("history", "-n", number, code=2)


@pytest.mark.parametrize("words", [("status",), ("hosts",), ("plan",), ("history",), ("why",),
                                   ("verify",), ("diff", "1", "1"), ("freeze",), ("unfreeze",),
                                   ("release",), ("resume",), ("simulate",)], ids=lambda w: w[0])
def test_every_command_has_json_alone_on_stdout(static, words):
    done = subprocess.run([DEPLOYCTL, *words, "--json", "-f", static.recipe], text=True,
                          capture_output=True, timeout=60, stdin=subprocess.DEVNULL)
    lines = done.stdout.splitlines()
    assert done.returncode == 0 and lines, done
    for line in lines:
        assert isinstance(json.loads(line), dict)
