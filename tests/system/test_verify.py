"""deployctl verify, and agent verify on a host: what lies there against what was released."""
import os
import shutil
import subprocess
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from static_fleet import DEPLOYCTL, StaticFleet  # noqa: E402


@pytest.fixture
def fleet():
    with StaticFleet() as one:
        os.makedirs(one.path("h1", "shared"))
        os.makedirs(one.path("h2", "shared"))
        for host in "h1", "h2":
            with open(one.path(host, "shared", "secret.env"), "w") as file:
                file.write("A=1\n")
        one.write("shared_dirs = uploads lib/cache\nshared_files = secret.env\n")
        one.put("bin/run", "#!/bin/sh\n", 0o755)
        one.put("lib/a.txt", "aaa")
        one.put("page", "hello")
        os.symlink("page", os.path.join(one.source, "index"))
        os.makedirs(os.path.join(one.source, "uploads"))  # replaced by its shared one
        os.makedirs(os.path.join(one.source, "empty"))
        one.run("release")
        yield one


def overwrite(path, text):
    mode = os.stat(path).st_mode
    os.chmod(path, 0o644)
    with open(path, "w") as file:
        file.write(text)
    os.chmod(path, mode)


def agent_verify(directory, *words, code=0):
    done = subprocess.run([DEPLOYCTL, "agent", "verify", directory, *words], text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)
    assert done.returncode == code, done.stdout
    return done.stdout


def damage(fleet):
    """Each kind of difference once, on h1; {path: (kind, how)}."""
    overwrite(fleet.at("page"), "HELLO")
    os.chmod(fleet.at("bin/run"), 0o755)
    os.unlink(fleet.at("lib/a.txt"))
    os.unlink(fleet.at("index"))
    os.symlink("/etc/passwd", fleet.at("index"))
    os.rmdir(fleet.at("empty"))
    os.makedirs(fleet.at("evil/below"))
    with open(fleet.at("evil/below/x.php"), "w") as file:
        file.write("x")
    with open(fleet.at("lib/more"), "w") as file:
        file.write("x")
    return {"page": ("changed", "has other contents"), "bin/run": ("changed",
            "has other permissions"), "lib/a.txt": ("missing", "is missing"),
            "index": ("changed", "leads elsewhere"), "empty": ("missing", "is missing"),
            "evil": ("added", "folder was added"), "lib/more": ("added", "was added")}


def test_what_was_released_is_what_lies_there(fleet):
    text = fleet.run("verify")
    assert text.count("as released, 6 entries") == 2, text
    found = fleet.json("verify")
    assert found["exit"] == 0
    for host in found["hosts"]:
        assert (host["missing"], host["changed"], host["added"]) == (0, 0, 0)
        assert host["release"] == fleet.current() and len(host["digest"]) == 64
    assert "is what its manifest says" in agent_verify(fleet.roots[0])


def test_each_difference_is_named(fleet):
    wanted = damage(fleet)
    found = fleet.json("verify", code=1)
    one, two = found["hosts"]
    assert {d["path"]: (d["kind"], d["how"]) for d in one["differences"]} == wanted
    assert (one["missing"], one["changed"], one["added"]) == (2, 3, 2)
    assert two["differences"] == []
    text = fleet.run("verify", code=1)
    assert "2 missing, 3 changed, 2 added" in text and "h1: page has other contents" in text
    assert "as released" in text and "remove the folder of this one" in text
    text = agent_verify(fleet.at(), code=1)
    for path, (_, how) in wanted.items():
        assert f"{path} {how}\n" in text
    fleet.run("verify", "--hosts", "h2")


def test_additions_count_only_where_they_should(fleet):
    with open(fleet.at("made-by-a-hook"), "w") as file:
        file.write("x")
    fleet.run("verify", code=1)
    text = fleet.run("verify", "--no-added")
    assert "as released" in text and "remove the folder" not in text
    agent_verify(fleet.roots[0])  # a cache must not keep a service from starting
    agent_verify(fleet.roots[0], "--added", code=1)


def test_other_releases_and_hosts_without_any(fleet):
    first = fleet.current()
    fleet.release(page="second")
    overwrite(fleet.path("h2", "releases", first, "page"), "HELLO")
    fleet.run("verify")
    text = fleet.run("verify", "1", code=1)
    assert first in text and "h2: page has other contents" in text
    assert "no host has a release 77" in fleet.run("verify", "77", code=3)


def test_a_manifest_that_does_not_fit_is_told(fleet):
    manifest = fleet.path("h1", ".deploy/manifests", fleet.current())
    overwrite(manifest, open(manifest).read().replace("page", "pagf"))
    assert "is missing or was changed" in agent_verify(fleet.at(), code=2)
    text = fleet.run("verify", code=4)
    assert "is missing or was changed" in text and "as released" in text


def test_hosts_that_cannot_be_asked(fleet):
    shutil.rmtree(fleet.roots[1])
    text = fleet.run("verify", code=4)
    assert "as released" in text and "is not there" in text


def test_tricks_are_no_way_out(fleet):
    os.rename(fleet.at("lib"), fleet.path("away"))
    os.symlink(fleet.path("away"), fleet.at("lib"))  # the same contents, behind a link
    os.mkfifo(fleet.at("pipe"))
    os.unlink(fleet.at("page"))
    os.mkfifo(fleet.at("page"))
    found = {d["path"]: d["how"] for d in fleet.json("verify", code=1)["hosts"][0]["differences"]}
    assert found["lib/a.txt"] == "is, or lies behind, a symbolic link"
    assert found["page"] == "is no regular file any more" and found["pipe"] == "was added"
    assert found["lib"] == "was added"


def test_the_list_is_bounded(fleet):
    for i in range(150):
        with open(fleet.at(f"more{i}"), "w") as file:
            file.write("x")
    found = fleet.json("verify", code=1)["hosts"][0]
    assert found["added"] == 150 and len(found["differences"]) == 100
    assert "and 130 more" in fleet.run("verify", code=1)
    assert "and 130 more" in agent_verify(fleet.at(), "--added", code=1)


def test_agent_verify_says_what_it_cannot_tell(fleet, tmp_path):
    assert "is not there" in agent_verify("/nowhere/at/all", code=2)
    assert "current leads to no release" in agent_verify(str(tmp_path), code=2)
    assert "is not in" in agent_verify(fleet.path("h1/releases/000009-aaaaaaaa"), code=2)
    assert "not absolute" in agent_verify("relative", code=2)
