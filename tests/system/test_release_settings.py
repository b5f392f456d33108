"""deployctl and releases that bring their own settings (release_config of the hosts)."""
import json
import os

import pytest

from hosts import Fleet

WEB = "[service:web]\n{}\n"


@pytest.fixture
def fleet():
    fleet = Fleet(2)
    for host in fleet.hosts:
        text = host.supervisor.text_of("supervisor.ini").replace(
            "[service:web]\n", "[service:web]\nrelease_config = -deploy/service.ini\n")
        with open(host.supervisor.path("supervisor.ini"), "w") as file:
            file.write(text)
        host.supervisor.call("reload")
    yield fleet
    fleet.close()


def settings(fleet, text):
    os.makedirs(os.path.join(fleet.source, "deploy"), exist_ok=True)
    fleet.put("deploy/service.ini", WEB.format(text))


def running(fleet, name):
    """The value of a variable in each instance, of all hosts."""
    values = []
    for host in fleet.hosts:
        for row in host.state()["instances"]:
            with open(f"/proc/{row['pid']}/environ") as file:
                pairs = dict(p.split("=", 1) for p in file.read().split("\0") if "=" in p)
            values.append(pairs.get(name))
    return values


def test_settings_travel_and_go_back(fleet):
    settings(fleet, 'environment = COLOR="red",TOKEN="s3cr3t"')
    fleet.run("release")
    one = fleet.one_release()
    assert running(fleet, "COLOR") == ["red", "red"]
    fleet.change()
    settings(fleet, 'environment = COLOR="blue",TOKEN="s3cr3t"\nlive_delay = 1s\nstopwaitsecs = 5s')
    fleet.run("release")
    two = fleet.one_release()
    assert running(fleet, "COLOR") == ["blue", "blue"]
    text = fleet.run("diff", one, two, code=1)
    assert "~ [service:web] environment COLOR  #" in text, text
    assert "+ [service:web] live_delay  1s  (deploy/service.ini)" in text
    assert "+ [service:web] stopwaitsecs  5s" in text
    assert "red" not in text and "s3cr3t" not in text and "TOKEN" not in text
    rows = json.loads(fleet.run("diff", one, two, "--json", code=1).splitlines()[-1])["settings"]
    assert [r.get("key") or r["variable"] for r in rows] == ["COLOR", "live_delay", "stopwaitsecs"]
    text = fleet.run("rollback", "--yes")
    assert "and the settings of its services: deploy/service.ini" in text, text
    assert fleet.one_release() == one
    assert running(fleet, "COLOR") == ["red", "red"]


def test_refused_before_any_switch(fleet):
    settings(fleet, 'environment = COLOR="red"')
    fleet.run("release")
    one = fleet.one_release()
    pids = [row["pid"] for host in fleet.hosts for row in host.state()["instances"]]
    fleet.change()
    settings(fleet, "user = root\nredy = notify")
    for _ in range(2):  # the second time it is there already
        text = fleet.run("release", code=4)
        assert "service.ini:2: [service:web] user: a release cannot set it" in text, text
        assert "(and 1 more)" in text
        assert fleet.one_release() == one
        assert [r["pid"] for h in fleet.hosts for r in h.state()["instances"]] == pids
    fleet.good_again()


def test_a_bad_setting_is_undone_by_the_gate(fleet):
    settings(fleet, 'environment = COLOR="red"')
    fleet.run("release")
    one = fleet.one_release()
    fleet.change()
    settings(fleet, 'environment = COLOR="black"\nlive = tcp://127.0.0.1:1\nlive_interval = 100ms\n'
                    "live_threshold = 1")
    fleet.run("release", code=1)
    assert fleet.one_release() == one
    assert running(fleet, "COLOR") == ["red", "red"]
    fleet.good_again()
