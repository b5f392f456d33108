"""deployctl bootstrap over real ssh: hosts that have nothing but root's login, then releases on them."""
import os
import re

import pytest

from fleet import ROOT, Fleet, NotHere, wait_for

SPREAD = "first"


@pytest.fixture
def bare():
    try:
        made = Fleet(2, bare=True).__enter__()
    except NotHere as why:
        pytest.skip(f"NOT TESTED over ssh: {why}")
    try:
        with open(os.path.join(ROOT, "examples", "ssh", "supervisor.ini")) as file:
            text = file.read()
        made.write("web.ini", text[text.index("[socket:http]"):])
        with open(made.path("deploy.ini")) as file:
            recipe = file.read()
        made.write("deploy.ini", recipe.replace("[deploy]", "[deploy]\nservice_file = ./web.ini"))
        yield made
    finally:
        made.__exit__()


def start(host):
    """What the host's init would do; bootstrap has said that there is none."""
    host.run("sh", "-c", "setsid supervisor run </dev/null >/var/log/run.log 2>&1 &")
    wait_for(lambda: host.run("supervisor", "status", code=None).returncode in (0, 3),
             f"the supervisor of {host.name}")


def allow(host):
    """The operator's key for the user that deploys: not bootstrap's business."""
    host.run("sh", "-c", "install -d -m700 -o deploy -g deploy ~deploy/.ssh && "
             "install -m600 -o deploy -g deploy /root/.ssh/authorized_keys ~deploy/.ssh/")


def test_bare_hosts_take_releases(bare):
    before = bare.run("deployctl", "hosts", code=4)
    assert "logs in as root and makes the user" in before.stdout

    done = bare.run("deployctl", "bootstrap")
    assert done.stdout.count("all steps are done") == 2
    for host in bare.hosts:
        start(host)
        allow(host)
        owner = host.run("stat", "-c", "%U %a", "/srv/web").stdout
        assert owner == "deploy 755\n"
    hosts = bare.run("deployctl", "hosts")
    assert len(re.findall(r"^web\d\S+ .* ok$", hosts.stdout, re.M)) == 2

    bare.make_release("1.0")
    bare.run("deployctl", "release")
    assert bare.versions() == ["1.0"] * 2
    pids = [host.web()["pid"] for host in bare.hosts]
    again = bare.run("deployctl", "bootstrap")
    assert again.stdout.count("has everything") == 2
    assert [host.web()["pid"] for host in bare.hosts] == pids


def test_a_host_that_lost_something_is_told_and_healed(bare):
    bare.run("deployctl", "bootstrap")
    one, two = bare.hosts
    for host in bare.hosts:
        start(host)
        allow(host)
    one.run("rm", "/usr/local/bin/deployctl")
    two.run("chown", "root:root", "/srv/web")
    hosts = bare.run("deployctl", "hosts", code=3)
    assert "`deployctl bootstrap web1.example.net` brings" in hosts.stdout
    assert "`deployctl bootstrap web2.example.net` brings" in hosts.stdout
    assert len(re.findall(r"^web\d.* not ready$", hosts.stdout, re.M)) == 2
    bare.run("deployctl", "bootstrap", "web[1-2].example.net")
    bare.run("deployctl", "hosts")
    two.unplug()
    lost = bare.run("deployctl", "hosts", code=4)
    assert re.search(r"^web2\S+ .* unreachable$", lost.stdout, re.M)
    done = bare.run("deployctl", "bootstrap", code=4)
    assert "web1.example.net: has everything" in done.stdout


def test_without_the_right_to_give_orders(bare):
    bare.run("deployctl", "bootstrap", "web1.example.net")
    host = bare.hosts[0]
    allow(host)
    host.run("sed", "-i", "s/^control_group/;control_group/", "/etc/supervisor/supervisor.ini")
    start(host)
    hosts = bare.run("deployctl", "hosts", "--hosts", "web1*", code=3)
    assert "no right" in hosts.stdout and "deployctl bootstrap web1.example.net" in hosts.stdout
    done = bare.run("deployctl", "bootstrap", "web1.example.net")
    assert "web1.example.net  reload " in done.stdout
    bare.run("deployctl", "hosts", "--hosts", "web1*")


def test_a_full_disk(bare):
    host = bare.hosts[0]
    host.run("mount", "-t", "tmpfs", "-o", "size=1M", "full", "/usr/local/bin")
    host.run("mount", "-t", "tmpfs", "-o", "size=1M", "full", "/usr/local/sbin")
    done = bare.run("deployctl", "bootstrap", "web1.example.net", code=3)
    assert "KB are free" in done.stdout and "Nothing was changed" in done.stdout
    host.run("umount", "/usr/local/bin")
    host.run("umount", "/usr/local/sbin")
    bare.run("deployctl", "bootstrap", "web1.example.net")
