"""Hosts that a command names (hosts_command), on hosts of this machine."""
import json
import os

import pytest

from hosts import Fleet


@pytest.fixture
def fleet():
    fleet = Fleet(2)
    yield fleet
    fleet.close()


def write(fleet, script, hosts="", tail=""):
    """deploy.ini whose hosts come from ./inventory, a shell script beside it."""
    path = os.path.join(fleet.folder, "inventory")
    with open(path, "w") as file:
        file.write("#!/bin/sh\n" + script)
    os.chmod(path, 0o755)
    with open(fleet.recipe, "w") as file:
        file.write(f"[deploy]\napp = web\nservice = web\nsource = ./src\n[fleet]\n{hosts}"
                   f"hosts_command = ./inventory\n[canary]\nbake = 200ms\n"
                   f"[rollout]\nhealthy_for = 100ms\n{tail}")


def line(host, more=""):
    return f"echo {host.name} transport=local:{host.supervisor.socket} path={host.root} {more}\n"


def test_hosts_of_a_command(fleet):
    one, two = fleet.hosts
    write(fleet, line(one, "zone=a") + line(two, "zone=b"))
    assert "Hosts     2 of them by hosts_command (`./inventory`), 0 by" in fleet.run("plan")
    fleet.run("release")
    fleet.one_release()
    text = fleet.run("hosts", "--hosts", "zone=b")
    assert two.name in text and one.name + " " not in text
    write(fleet, line(two), f"hosts = {one.name}\n",
          f"[host:{one.name}]\npath = {one.root}\ntransport = local:{one.supervisor.socket}\n")
    rows = json.loads(fleet.run("hosts", "--json").splitlines()[-1])["hosts"]
    assert [r["named_by"] for r in rows] == ["hosts", "hosts_command"]


@pytest.mark.parametrize("shape", ["list", "object"])
def test_json(fleet, shape):
    hosts = [{"name": h.name, "path": h.root, "transport": f"local:{h.supervisor.socket}",
              "labels": {"zone": h.name}, "rack": 7} for h in fleet.hosts]
    text = json.dumps(hosts if shape == "list" else {"hosts": hosts}, indent=1)
    write(fleet, f"cat <<'END'\n{text}\nEND\n")
    fleet.run("release")
    fleet.one_release()
    fleet.run("status", "--hosts", "zone=h1")
    fleet.run("status", "--hosts", "rack=7")


WRONG = [
    ("exit 3", "`./inventory`: it ended with code 3"),
    ("kill -9 $$", "it ended with code 137"),
    ("echo a; echo a", "line 2: host a is named twice"),
    ("echo '[1]'", "host 1: try a name, or an object with a \"name\""),
    ("echo '{\"x\": []}'", "try a list of hosts"),
    ("echo '[{\"name\": \"a\", \"port\": true}]'", "host 1: port: try a text or a whole number"),
    ("echo '['", "`./inventory`: "),
    ("echo '[\"a\", \"a\"]'", "host 2: host a is named twice"),
    ("", "it names no host"),
    ("yes | head -c 5000000", "it printed more than"),
    ("echo a; echo wrong line", "line 2: \"line\" is not KEY=VALUE"),
]


@pytest.mark.parametrize("script, what", WRONG, ids=[script for script, _ in WRONG])
def test_a_failure_stops_everything(tmp_path, script, what):
    """Before any host is touched; there is none."""
    fleet = Fleet.__new__(Fleet)
    fleet.folder, fleet.recipe = str(tmp_path), str(tmp_path / "deploy.ini")
    os.makedirs(tmp_path / "src")
    write(fleet, script + "\n")
    for verb in ("plan", "release", "status", "abort"):
        text = fleet.run(verb, code=3)
        assert f"{fleet.recipe}:6: [fleet] hosts_command: " in text and what in text, text


def test_the_record_counts_for_what_is_open(fleet):
    """A host that the command no longer names is still a part of the open rollout."""
    one, two = fleet.hosts
    both = line(one) + line(two)
    write(fleet, both)
    fleet.run("release")
    old = fleet.one_release()
    fleet.change()
    fleet.run("release", "--hold", code=6)
    write(fleet, line(one))
    text = fleet.run("abort", code=(0, 1, 3, 4, 7))
    assert two.name in text
    write(fleet, both)
    fleet.run("abort", code=(0, 1, 3))
    assert fleet.one_release() == old
