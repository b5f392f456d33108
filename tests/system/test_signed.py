"""Signed releases: keys, /etc/deployctl/trust.ini, and what a host takes."""
import os
import re
import shutil
import subprocess
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from agent_client import Agent, Refused, Release  # noqa: E402
from harness import host  # noqa: E402,F401
from static_fleet import DEPLOYCTL, StaticFleet  # noqa: E402
from test_agent import program  # noqa: E402,F401

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="trust.ini has to belong to root")


class Signed(StaticFleet):
    def __init__(self):
        super().__init__()
        os.mkdir(self.path("etc"), 0o755)
        self.environment["DEPLOYCTL_TRUST"] = self.path("etc", "trust.ini")
        self.public = {name: self.keygen(name) for name in ("ann", "bob")}
        self.put("page", "1")
        self.sign_with("ann")

    def keygen(self, name):
        done = subprocess.run([DEPLOYCTL, "keygen", self.path(name)], check=True, text=True,
                              stdout=subprocess.PIPE)
        return re.fullmatch(r"deploy = (\S{44})\n", done.stdout).group(1)

    def sign_with(self, name):
        self.write(f"signing_key = {name}" if name else "")

    def trust(self, text, mode=0o644):
        with open(self.path("etc", "trust.ini"), "w") as file:
            file.write(text)
        os.chmod(self.path("etc", "trust.ini"), mode)

    def trust_keys(self, *names):
        self.trust("[trust]\n" + "".join(f"{n} = {self.public[n]}\n" for n in names))

    def agent_verify(self, code=0):
        done = subprocess.run([DEPLOYCTL, "agent", "verify", self.at()], text=True, timeout=60,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              env={**os.environ, **self.environment})
        assert done.returncode == code, done.stdout
        return done.stdout


@pytest.fixture
def fleet():
    with Signed() as one:
        yield one


def test_keys_are_made_once_and_as_openssl_makes_them(fleet):
    assert os.stat(fleet.path("ann")).st_mode & 0o777 == 0o600
    assert fleet.keygen("ann") == fleet.public["ann"] != fleet.public["bob"]
    if shutil.which("openssl"):
        subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out",
                        fleet.path("ssl")], check=True)
        os.chmod(fleet.path("ssl"), 0o600)
        fleet.keygen("ssl")


def test_only_signed_releases_are_taken(fleet):
    fleet.trust_keys("ann")
    fleet.sign_with(None)
    text = fleet.run("release", code=4)
    assert "takes only releases that are signed" in text and "set signing_key" in text
    assert not os.path.exists(fleet.path("h1", "current"))
    assert not os.path.exists(fleet.path("h1", "releases", ".incoming"))  # not a byte travelled
    fleet.sign_with("bob")
    assert "by none of the 1 keys" in fleet.run("release", code=4)
    fleet.sign_with("ann")
    fleet.run("release")
    assert "signed by ann" in fleet.run("verify")
    assert fleet.json("verify")["hosts"][0]["signed_by"] == "ann"
    assert "was signed by ann" in fleet.agent_verify()
    assert "signed_by=ann" in fleet.run("history")


def test_keys_are_exchanged_without_a_gap(fleet):
    fleet.trust_keys("ann")
    first = fleet.release(page="1")
    fleet.trust_keys("ann", "bob")
    fleet.sign_with("bob")
    second = fleet.release(page="2")
    fleet.run("rollback")  # an older one that was signed may be gone back to
    assert fleet.current() == first
    fleet.run("rollback", "--to", second)
    fleet.trust_keys("bob")  # ann is gone now, and what she signed with her
    assert "by none of the 1 keys" in fleet.run("rollback", "--to", first, code=7)
    assert fleet.current() == second


def test_a_signature_fits_one_release(fleet):
    fleet.trust_keys("ann")
    first = fleet.release(page="1")
    second = fleet.release(page="2")
    about = fleet.path("h1", ".deploy", "about")
    shutil.copy(os.path.join(about, second), os.path.join(about, first))
    text = fleet.run("verify", first, code=1)
    assert "by none of the 1 keys" in text and "as released, signed by ann" in text
    assert "by none of the 1 keys" in fleet.run("rollback", code=7)
    assert fleet.current() == second and fleet.current(1) == first
    os.unlink(os.path.join(about, first))
    assert "this one is not" in fleet.run("verify", first, code=1)


def test_trust_begins_with_what_is_there(fleet):
    fleet.sign_with(None)
    fleet.trust("[trust:/srv/another]\n")
    first = fleet.release(page="1")
    second = fleet.release(page="2")
    fleet.trust_keys("ann")
    assert "is not trusted" in fleet.agent_verify(code=1)
    fleet.run("verify", code=1)
    fleet.sign_with("ann")
    fleet.put("page", "1")
    fleet.run("release")  # nothing travels but the signature
    assert fleet.current() == first
    assert "signed by ann" in fleet.run("verify")
    fleet.run("rollback", "--to", second, code=7)


def test_sections_of_one_app(fleet):
    fleet.trust(f"[trust]\nann = {fleet.public['ann']}\n"
                f"[trust:{fleet.roots[1]}]\napp = web\nbob = {fleet.public['bob']}\n")
    text = fleet.run("release", code=4)
    assert "h2" in text and "by none of the 1 keys" in text
    fleet.run("release", "--hosts", "h1")
    fleet.trust(f"[trust:{fleet.roots[0]}]\napp = other\nann = {fleet.public['ann']}\n")
    assert "has signed this as a release of web" in fleet.run("verify", code=1)
    fleet.trust(f"[trust:{fleet.roots[0]}]\n")  # a section without keys trusts nobody
    assert "by none of the 0 keys" in fleet.run("verify", code=1)
    fleet.trust("[trust:/srv/another]\n")  # and one of others says nothing
    fleet.run("verify", "--hosts", "h1")


@pytest.mark.parametrize("text,says", [
    ("[trust]\nann = abc\n", "trust.ini:2: ann is not a public key"),
    ("[trsut]\nann = abc\n", r"trust.ini:1: \[trsut\] is neither"),
    ("[trust]\na b = c\n", "trust.ini:2: .*is no name for a key"),
    ("ann = x\n", "trust.ini:1"),
    ("[trust]\napp =\n", "app is the name of one app"),
])
def test_a_file_that_is_wrong_trusts_nobody(fleet, text, says):
    fleet.trust(text)
    assert re.search(says, fleet.run("release", code=4))
    assert not os.path.exists(fleet.path("h1", "current"))


def test_the_file_must_be_roots_alone(fleet):
    fleet.trust_keys("ann")
    fleet.run("release")
    for path in fleet.path("etc", "trust.ini"), fleet.path("etc"):
        for change in (lambda p: os.chmod(p, 0o777), lambda p: os.chown(p, 1, -1)):
            change(path)
            assert "must belong to root and be writable by root alone" in fleet.run("verify", code=1)
            os.chown(path, 0, -1)
            os.chmod(path, 0o755)
    fleet.run("verify")
    os.rename(fleet.path("etc", "trust.ini"), fleet.path("etc", "real"))
    os.symlink("real", fleet.path("etc", "trust.ini"))
    assert "cannot be told" in fleet.run("verify", code=1)
    os.unlink(fleet.path("etc", "trust.ini"))  # named, and not there
    assert "cannot be told" in fleet.run("verify", code=1)


def test_a_key_that_cannot_sign_is_told_first(fleet):
    fleet.sign_with("nothing")
    assert "signing_key: opening" in fleet.run("release", code=3)
    os.chmod(fleet.path("ann"), 0o644)
    fleet.sign_with("ann")
    assert "chmod 600" in fleet.run("release", code=3)
    assert not os.path.exists(fleet.path("h1", "current"))


def test_a_service_does_not_start_from_what_is_not_trusted(fleet, host):  # noqa: F811
    fleet.trust_keys("ann")
    fleet.put("run", "#!/bin/sh\nexec sleep 1000\n", 0o755)
    first, second = fleet.release(page="1"), fleet.release(page="2")
    s = host(f"[service:web]\ncommand = ./run\nrelease = {fleet.roots[0]}\nuser = root\n"
             f"environment = DEPLOYCTL_TRUST={fleet.environment['DEPLOYCTL_TRUST']}\n"
             f"pre_start = {DEPLOYCTL} agent verify %(release_dir)s\nready_timeout = 5s\n"
             "startsecs = 0\nstartretries = 0\n")
    s.run("switch", "web", first)
    s.wait_state("web:0", "running")
    os.chmod(fleet.path("h1", "releases", second, "run"), 0o755)
    with open(fleet.path("h1", "releases", second, "run"), "a") as file:
        file.write("# changed\n")
    s.run("switch", "web", second, code=1)
    s.wait_state("web:0", "running")
    assert s.call("release.state", path=fleet.roots[0])["pinned"] == first
    fleet.trust_keys("bob")
    s.run("restart", "web", code=1)
    s.wait_state("web:0", "failed")


def test_a_host_that_comes_later_gets_the_signature_too(fleet):
    fleet.trust_keys("ann")
    first = fleet.release(page="1")
    second = fleet.release("--hosts", "h1", page="2")
    fleet.sign_with(None)  # whoever goes on with it needs no key
    fleet.run("resume")
    assert fleet.current(1) == second
    shutil.rmtree(fleet.path("h2", "releases", first))
    os.makedirs(fleet.path("old"))
    with open(fleet.path("old", "page"), "w") as file:
        file.write("1")
    fleet.run("rollback", "--to", first, "--stage", fleet.path("old"))
    assert (fleet.current(0), fleet.current(1)) == (first, first)
    assert fleet.run("verify").count("signed by ann") == 2


def test_what_ran_before_is_taken_back_and_nothing_else(fleet, program, monkeypatch):  # noqa: F811
    fleet.trust_keys("ann")
    ids = [fleet.release(page=str(i)) for i in range(3)]
    monkeypatch.setenv("DEPLOYCTL_TRUST", fleet.environment["DEPLOYCTL_TRUST"])
    fleet.trust_keys("bob")
    with Agent(program, fleet.roots[0]) as agent:
        agent.hold(epoch=1000)
        how = {"confirm_within_s": 0, "ready_timeout_s": 5, "on_fail": "stay", "undo": True}
        for _ in range(2):
            with pytest.raises(Refused, match="by none of the 1 keys") as refused:
                agent.ask("switch", id=ids[0], **how)
            assert refused.value.kind == "denied"
        assert agent.ask("switch", id=ids[1], **how)["result"] == "switched"
    assert fleet.current() == ids[1]


def test_an_agent_that_is_told_nothing_keeps_nothing(fleet, program, monkeypatch):  # noqa: F811
    """An older deployctl says nothing about its releases, a strange one too much."""
    monkeypatch.setenv("DEPLOYCTL_TRUST", fleet.environment["DEPLOYCTL_TRUST"])
    fleet.trust("[trust:/srv/another]\n")
    with Agent(program, fleet.roots[0]) as agent:
        agent.hold()
        release = Release({"a": b"1"})
        agent.bring(release)
        assert not os.path.exists(fleet.path("h1", ".deploy", "about"))
        other = Release({"a": b"2"}, number=2)
        for bad in [1], "text", {"message": "x" * 20000}:
            with pytest.raises(Refused, match="must be an object|more than 16384 bytes"):
                agent.bring(other, about=bad)
        agent.bring(other, about={"app": 7, "signature": ["x"], "hooks": "no", "irreversible": 1})
        seen = agent.ask("look", services=[], socket=None)
        assert seen["irreversible"] == []
        assert agent.ask("verify", id=other.id)["signed_by"] is None
