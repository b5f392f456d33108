"""The agent over pipes: staging, sealing, tricks, crashes, full disks, locks, fences, switching.

AGENT_PROGRAM names a program that runs the agent as `PROGRAM PATH [SOCKET]`; without it `make`
builds agent_main.c under $B (default build/release).
"""
import ctypes
import hashlib
import json
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import threading
import time
import zlib

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from agent_client import Agent, Gone, Refused, Release, Supervisor, squeeze  # noqa: E402

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


@pytest.fixture(scope="session")
def program():
    if "AGENT_PROGRAM" in os.environ:
        return os.environ["AGENT_PROGRAM"]
    build = os.environ.get("B", "build/release")
    target = f"{build}/tests/system/agent_main"
    subprocess.run(["make", "-s", f"B={build}", target], cwd=ROOT, check=True)
    return os.path.join(ROOT, target)


@pytest.fixture
def app(tmp_path):
    path = tmp_path / "web"
    path.mkdir()
    return path


@pytest.fixture
def agent(program, app):
    with Agent(program, app) as one:
        yield one


@pytest.fixture
def supervisor(tmp_path):
    one = Supervisor(tmp_path / "s.sock")
    yield one
    one.close()


FIRST = {"index.html": b"hello", "bin/run": (b"#!/bin/sh\n", "555"), "lib/a/b/c.txt": b"deep" * 999,
         "lib/same.txt": b"deep" * 999, "empty": b"", "var": ("folder",),
         "bin/start": ("link", "run"), "lib/up": ("link", "../index.html")}


def releases(app):
    folder = app / "releases"
    return sorted(p for p in os.listdir(folder) if not p.startswith(".")) if folder.exists() else []


def leftovers(app):
    folder = app / "releases" / ".incoming"
    return os.listdir(folder) if folder.exists() else []


def check_whole(app, release, contents):
    """The release on disk is exactly its entries."""
    top = app / "releases" / release.id
    found = set()
    for base, folders, files in os.walk(top):
        for name in folders + files:
            path = os.path.join(base, name)
            relative = os.path.relpath(path, top)
            if os.path.isdir(path) and not os.path.islink(path):
                assert os.stat(path).st_mode & 0o7777 == 0o755
                if relative in contents:
                    found.add(relative)
                continue
            found.add(relative)
            what = contents[relative]
            if isinstance(what, tuple) and what[0] == "link":
                assert os.readlink(path) == what[1]
                continue
            data, mode = what if isinstance(what, tuple) else (what, "444")
            with open(path, "rb") as file:
                assert file.read() == data
            assert os.stat(path).st_mode & 0o7777 == int(mode, 8)
    assert found == set(contents)
    with open(app / ".deploy" / "manifests" / release.id, "rb") as file:
        assert file.read() == release.full


# --- hello ------------------------------------------------------------------------------------


def test_says_hello_and_leaves_at_end_of_file(program, app):
    agent = Agent(program, app)
    assert agent.hello["lowest"] == 1 and agent.hello["version"]
    assert agent.ask("ping")["ok"]
    assert agent.close() == 0
    assert os.listdir(app) == []  # looking changes nothing


def test_another_version_is_refused_by_name(program, app):
    agent = Agent(program, app, hello=False)
    agent.greet(lowest=7, highest=9)
    with pytest.raises(Refused, match="speaks protocol 1 to 1, the other side 7 to 9"):
        agent.wait(0)
    assert agent.close() == 1


@pytest.mark.parametrize("bytes_,says", [
    (b"GET / HTTP/1.1\r\n\r\n", "unknown type|at most"),
    (b"\x00\x00\x00\x02J{]", "control frame"),
    (b"\x00\x00\x00\x02J[]", "hello"),
    (b"\x7f\xff\xff\xffJ", "at most"),
    (b"\x00\x00\x00\x00M", "belongs to no stage"),
])
def test_garbage_is_answered_and_ends(program, app, bytes_, says):
    agent = Agent(program, app, hello=False)
    agent.magic()
    agent.frame(time.monotonic() + 5)
    agent.write(bytes_)
    with pytest.raises(Refused, match=says):
        agent.wait(0)
    assert agent.close() == 1
    assert "deployctl agent: " in agent.errors


def test_truncated_frame_is_an_ordinary_end(program, app):
    agent = Agent(program, app)
    agent.write(b"\x00\x00\x10\x00J{\"n\":1")
    assert agent.close() == 0


def test_unknown_request_is_refused_and_the_rest_goes_on(agent):
    with pytest.raises(Refused, match="unknown request \"fly\""):
        agent.ask("fly")
    assert agent.ask("ping")["ok"]


# --- look -------------------------------------------------------------------------------------


def test_look_at_an_empty_folder(agent):
    seen = agent.ask("look", services=[], socket=None)
    assert seen["releases"] == [] and seen["current"] is None and seen["epoch"] == 0
    assert seen["writable"] and seen["healthy"] and seen["holder"] is None
    assert seen["free_bytes"] > 0 and seen["problems"] == []


def test_look_at_a_missing_folder_names_the_remedy(program, tmp_path):
    with Agent(program, tmp_path / "nothing") as agent:
        seen = agent.ask("look", services=[], socket=None)
        assert "install -d" in seen["problems"][0] and not seen["writable"]
        with pytest.raises(Refused, match="install -d"):
            agent.ask("lock", who="me", rollout="r")


def test_folder_behind_a_symlink_is_refused(program, tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    with Agent(program, tmp_path / "link") as agent:
        assert agent.ask("look", services=[], socket=None)["problems"]


def test_current_that_is_a_folder_is_refused(program, app):
    (app / "current").mkdir()
    with Agent(program, app) as agent:
        seen = agent.ask("look", services=[], socket=None)
        assert any("not a symlink" in p and "mv " in p for p in seen["problems"])
        agent.hold()
        with pytest.raises(Refused, match="not a symlink; move what is there away"):
            agent.stage(Release(FIRST))
    assert (app / "current").is_dir() and releases(app) == []


# --- stage and seal ---------------------------------------------------------------------------


@pytest.mark.parametrize("durability", ["syncfs", "fsync"])
def test_first_release_arrives_whole(agent, app, durability):
    agent.hold()
    release = Release(FIRST)
    missing = agent.bring(release, durability=durability)
    assert len(missing) == 4  # two files are the same content
    check_whole(app, release, FIRST)
    assert leftovers(app) == []
    seen = agent.ask("look", services=[], socket=None)
    assert seen["releases"] == [{"id": release.id, "digest": release.digest, "good": False,
                                 "bad": False, "bad_reason": None, "complete": True}]
    assert seen["highest"] == 1
    assert agent.stage(release)["have"]


def test_only_what_is_new_travels(agent, app):
    agent.hold()
    first = Release(FIRST)
    agent.bring(first)
    changed = {**FIRST, "index.html": b"changed", "new/place/c.txt": b"deep" * 999}
    second = Release(changed, number=2)
    assert agent.bring(second) == [sorted(changed, key=os.fsencode).index("index.html")]
    check_whole(app, second, changed)
    check_whole(app, first, FIRST)
    one = os.stat(app / "releases" / first.id / "lib/same.txt")
    two = os.stat(app / "releases" / second.id / "lib/same.txt")
    assert one.st_ino != two.st_ino  # nobody said that the service runs as another user


def test_damaged_older_release_is_not_trusted(agent, app):
    agent.hold()
    first = Release(FIRST)
    agent.bring(first)
    victim = app / "releases" / first.id / "index.html"
    os.chmod(victim, 0o644)
    victim.write_bytes(b"HELLO")
    second = Release({**FIRST, "x": b"x"}, number=2)
    missing = agent.bring(second)
    names = sorted({**FIRST, "x": b"x"}, key=os.fsencode)
    assert [names[i] for i in missing] == ["index.html", "x"]
    check_whole(app, second, {**FIRST, "x": b"x"})


def test_verify_needs_no_lock_and_is_bounded(program, agent, app):
    agent.hold()
    first = Release(FIRST)
    agent.bring(first)
    for i in range(30):
        (app / "releases" / first.id / f"more{i}").write_bytes(b"x")
    with Agent(program, app) as other:
        found = other.ask("verify", id=first.id, limit=10)
        assert (found["digest"], found["entries"]) == (first.digest, first.entries)
        assert (found["missing"], found["changed"], found["added"]) == (0, 0, 30)
        assert {d["kind"] for d in found["differences"]} == {"added"}
        assert len(found["differences"]) == 10
        for bad in "000009-aaaaaaaa", "../..", "":
            with pytest.raises(Refused, match="is not in|is not the id"):
                other.ask("verify", id=bad)


def test_empty_release(agent, app):
    agent.hold()
    release = Release({})
    assert agent.bring(release) == []
    assert os.listdir(app / "releases" / release.id) == []


def test_big_content_in_many_frames(agent, app):
    agent.hold()
    data = random.Random(1).randbytes(3_000_000)
    release = Release({"big": data})
    agent.bring(release)
    check_whole(app, release, {"big": data})


def test_content_of_another_digest_is_refused(agent, app):
    agent.hold()
    release = Release({"a": b"right", "b": b"b"})
    missing = agent.stage(release)["missing"]
    agent.content(missing[0], b"wrong")
    agent.content(missing[1], b"b")
    with pytest.raises(Refused, match="a: what came does not have the digest") as refusal:
        agent.ask("seal", id=release.id)
    assert refusal.value.kind == "corrupt"
    assert releases(app) == [] and leftovers(app) == []
    agent.bring(release)
    check_whole(app, release, {"a": b"right", "b": b"b"})


@pytest.mark.parametrize("trick,says", [
    ("bomb", "more bytes come out"), ("short", "of 6 bytes came"), ("damaged", "damaged"),
    ("behind", "behind the end"), ("not asked", "not asked for"), ("missing", "still missing"),
])
def test_contents_that_cheat(agent, app, trick, says):
    agent.hold()
    release = Release({"a": b"sixsix"})
    agent.stage(release)
    packed = {"bomb": squeeze(b"0" * 50_000_000), "short": squeeze(b"six"),
              "damaged": squeeze(b"sixsix")[:-2] + b"??", "behind": squeeze(b"sixsix") + b"more",
              "not asked": squeeze(b"sixsix"), "missing": None}[trick]
    if packed is not None:
        agent.content(7 if trick == "not asked" else 0, b"", packed=packed)
    with pytest.raises(Refused, match=says):
        agent.ask("seal", id=release.id)
    assert releases(app) == [] and leftovers(app) == []


def joined(release, indices):
    return b"".join(struct.pack(">I", i) + release.contents[i] for i in indices)


JOINED, LAST = 4, 1


@pytest.mark.parametrize("piece", [1, 7, 200000])
def test_joined_contents_arrive_whole(agent, app, piece):
    agent.hold()
    release = Release(FIRST)
    answer = agent.stage(release)
    assert answer["joined"]
    packed = squeeze(joined(release, answer["missing"]))
    for at in range(0, len(packed), piece):
        flags = JOINED | (LAST if at + piece >= len(packed) else 0)
        agent.send("D", struct.pack(">IB", 0, flags) + packed[at:at + piece])
    agent.ask("seal", id=release.id)
    check_whole(app, release, FIRST)


CHEATS = {
    "in order": ([0, 1], None), "out of order": ([1, 0], None), "too few": ([0], "still missing"),
    "twice": (b"\0\0\0\0right\0\0\0\0", "not asked for"), "unknown": ([0, 7], "not asked for"),
    "wrong": (b"\0\0\0\0wrongx", "does not have the digest"),
    "half": (b"\0\0\0\0rig", "end too early"), "half a head": (b"\0\0", "end too early"),
    "bomb": (b"\0\0\0\0right" + b"\0" * 99999, "more bytes come out"),
}


@pytest.mark.parametrize("stream,says", CHEATS.values(), ids=CHEATS)
def test_joined_contents_that_cheat(agent, app, stream, says):
    agent.hold()
    entries = {"a": b"right", "b": b"b"}
    release = Release(entries)
    agent.stage(release)
    if isinstance(stream, list):
        stream = b"".join(struct.pack(">I", i) + [b"right", b"b"][i % 2] for i in stream)
    agent.send("D", struct.pack(">IB", 0, JOINED | LAST) + squeeze(stream))
    if says is None:
        agent.ask("seal", id=release.id)
        check_whole(app, release, entries)
        return
    with pytest.raises(Refused, match=says):
        agent.ask("seal", id=release.id)
    assert releases(app) == [] and leftovers(app) == []


def test_another_content_inside_joined_ones_is_refused(agent, app):
    agent.hold()
    release = Release({"a": b"right", "b": b"b"})
    agent.stage(release)
    packed = squeeze(joined(release, [0]))
    agent.send("D", struct.pack(">IB", 0, JOINED) + packed)
    agent.content(1, b"b")
    with pytest.raises(Refused, match="not asked for"):
        agent.ask("seal", id=release.id)


def test_a_record_behind_a_seal_needs_it(agent, app):
    agent.hold()
    release = Release({"a": b"right"})
    agent.stage(release)
    agent.content(0, b"wrong")
    seal = agent.post("seal", id=release.id)
    record = agent.post("record", record={"release": release.id}, sealed=release.id)
    for number, kind in ((seal, "corrupt"), (record, "state")):
        with pytest.raises(Refused) as refusal:
            agent.wait(number)
        assert refusal.value.kind == kind
    assert not (app / ".deploy" / "rollout").exists()
    agent.stage(release)
    agent.content(0, b"right")
    seal = agent.post("seal", id=release.id)
    record = agent.post("record", record={"release": release.id}, sealed=release.id)
    agent.wait(seal)
    agent.wait(record)
    assert (app / ".deploy" / "rollout").exists()


class Forged(Release):
    """A manifest made of these very lines."""

    def __init__(self, lines, entries, number=1, size=0):
        self.short = self.full = lines
        self.contents = [b"x"] * entries
        self.digest = hashlib.sha256(lines).hexdigest()
        self.id = f"{number:06d}-{self.digest[:8]}"
        self.entries, self.bytes = entries, size


X = hashlib.sha256(b"x").hexdigest()[:16].encode()


@pytest.mark.parametrize("lines,entries,says", [
    (b"f 444 1 %s ../x\n" % X, 1, r'the part "\.\."'),
    (b"f 444 1 %s /etc/x\n" % X, 1, "empty part"),
    (b"f 4755 1 %s x\n" % X, 1, "setuid"),
    (b"f 644 1 %s x\n" % X, 1, "mode 644"),
    (b"l 4 a /etc\nf 444 1 %s a/x\n" % X, 2, "below"),
    (b"l 4 a /etc\n", 1, "absolute"),
    (b"l 7 a ../../x\n", 1, "leads out"),
    (b"f 444 1 %s b\nf 444 1 %s a\n" % (X, X), 2, "order"),
    (b"f 444 1 %s a\n" % X, 2, "entries"),
])
def test_manifests_that_cheat(agent, app, lines, entries, says):
    agent.hold()
    forged = Forged(lines, entries, size=lines.count(b"f 444 1") + lines.count(b"f 644 1"))
    with pytest.raises(Refused, match=says):
        agent.stage(forged)
    assert releases(app) == [] and leftovers(app) == []


def test_manifest_must_have_its_digest(agent, app):
    agent.hold()
    release = Release(FIRST)
    release.short = Release({**FIRST, "zzz": b"", "index.html": b"HELLO"}).short
    other = Release({**FIRST, "index.html": b"HELLO"})
    release.short = other.short
    release.contents = other.contents
    with pytest.raises(Refused, match="has digest"):
        agent.bring(release)
    assert releases(app) == []


def test_links_anywhere_when_allowed(agent, app):
    agent.hold()
    release = Release({"etc": ("link", "/etc/hostname")})
    agent.bring(release, links="any")
    assert os.readlink(app / "releases" / release.id / "etc") == "/etc/hostname"


def test_shared_dirs_and_files(agent, app):
    agent.hold()
    release = Release({"index.html": b"x", "var/log": ("folder",)})
    with pytest.raises(Refused, match="shared/etc/app.env is not there"):
        agent.stage(release, shared_dirs=["var/log"], shared_files=["etc/app.env"])
    (app / "shared" / "etc").mkdir(parents=True)
    (app / "shared" / "etc" / "app.env").write_text("A=1")
    agent.bring(release, shared_dirs=["var/log", "tmp"], shared_files=["etc/app.env"])
    top = app / "releases" / release.id
    assert (top / "etc/app.env").read_text() == "A=1"
    assert os.readlink(top / "etc/app.env") == "../../../shared/etc/app.env"
    assert (top / "var/log").resolve() == (app / "shared/var/log").resolve()
    assert (top / "tmp").is_dir()
    with pytest.raises(Refused, match="one of shared_dirs"):
        agent.stage(Release({"var/log/x": b"x"}, number=2), shared_dirs=["var/log"])


def test_unstage_removes_everything(agent, app):
    agent.hold()
    release = Release(FIRST)
    answer = agent.stage(release)
    agent.content(answer["missing"][0], release.contents[answer["missing"][0]])
    agent.ask("unstage", id=release.id)
    assert leftovers(app) == []
    with pytest.raises(Refused, match="not being staged"):
        agent.ask("seal", id=release.id)


def test_connection_lost_while_staging_leaves_nothing(program, app):
    agent = Agent(program, app)
    agent.hold()
    agent.stage(Release(FIRST))
    assert leftovers(app) != []
    agent.close()
    assert leftovers(app) == [] and releases(app) == []


def test_killed_at_any_moment(program, app):
    """Whole or not there, after each of many kills; the last one arrives."""
    rng = random.Random(7)
    contents = {f"d{i % 7}/f{i}": rng.randbytes(rng.randrange(1, 60000)) for i in range(60)}
    kills, number, done, took = 0, 0, 0, None
    for round_ in range(40):
        number += 1
        release = Release({**contents, "round": str(round_).encode()}, number=number)
        agent = Agent(program, app)
        began = time.monotonic()
        timer = threading.Timer(60 if took is None else rng.random() * took * 1.1,
                                agent.process.send_signal, [signal.SIGKILL])
        timer.start()
        try:
            agent.hold(epoch=number)
            agent.bring(release)
            done += 1
            took = took or time.monotonic() - began
        except (Gone, BrokenPipeError):
            kills += 1
        timer.cancel()
        agent.kill()
        for one in releases(app):
            with open(app / ".deploy" / "manifests" / one, "rb") as file:
                assert hashlib.sha256(file.read()).hexdigest().startswith(one.split("-")[1])
        if release.id in releases(app):
            check_whole(app, release, {**contents, "round": str(round_).encode()})
    assert kills > 4 and done > 0
    with Agent(program, app) as agent:
        agent.hold(epoch=1000)
        release = Release({"after": b"all"}, number=number + 1)
        agent.bring(release)
        assert leftovers(app) == []
        assert set(os.listdir(app / ".deploy" / "manifests")) == set(releases(app))
        assert agent.ask("history", limit=1000)["damaged"] == 0


# --- a full disk --------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path):
    path = tmp_path / "disk"
    path.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m,nr_inodes=1000", "none", path],
                      stderr=subprocess.DEVNULL).returncode != 0:
        pytest.skip("mounting a small tmpfs needs root")
    (path / "web").mkdir()
    yield path
    subprocess.run(["umount", path], check=True)


def test_too_large_is_told_before_the_first_byte(program, small_disk):
    app = small_disk / "web"
    with Agent(program, app) as agent:
        agent.hold()
        with pytest.raises(Refused, match="are free and .* are kept free") as refusal:
            agent.stage(Release({"big": b"0" * 9_000_000}))
        assert refusal.value.kind == "limit" and leftovers(app) == []


@pytest.mark.parametrize("size", [200_000, 2_000_000])
def test_nobody_takes_the_room_of_what_is_to_come(program, small_disk, size):
    app = small_disk / "web"
    rng = random.Random(3)
    release = Release({f"f{i}": rng.randbytes(size) for i in range(4_000_000 // size)})
    with Agent(program, app) as agent:
        agent.hold()
        missing = agent.stage(release)["missing"]
        with open(small_disk / "other", "wb", buffering=0) as other:
            with pytest.raises(OSError, match="No space left"):
                while other.write(b"0" * 100_000):
                    pass
        if size < 1_000_000:  # names need some room, too, which is not reserved
            with open(small_disk / "other", "r+b") as other:
                other.truncate(1_000_000)
        for index in missing:
            agent.content(index, release.contents[index])
        agent.ask("seal", id=release.id)
    assert releases(app) == [release.id]


def test_an_unfinished_staging_gives_its_room_back(program, small_disk):
    app = small_disk / "web"
    free = os.statvfs(small_disk).f_bavail
    with Agent(program, app) as agent:
        agent.hold()
        release = Release({"a": random.Random(3).randbytes(3_000_000)})
        agent.stage(release)
        assert free - os.statvfs(small_disk).f_bavail > 700
        agent.ask("unstage", id=release.id)
        assert free - os.statvfs(small_disk).f_bavail < 50


def disk_class(pid):
    """Of the loop's thread: 3 is idle."""
    libc = ctypes.CDLL(None, use_errno=True)
    return libc.syscall({"x86_64": 252}.get(os.uname().machine, 31), 1, pid) >> 13


def test_contents_arrive_at_idle_priority(agent, app):
    agent.hold()
    release = Release(FIRST)
    before = disk_class(agent.process.pid)
    assert before != 3
    missing = agent.stage(release)["missing"]
    assert disk_class(agent.process.pid) == 3
    for index in missing:
        agent.content(index, release.contents[index])
    agent.ask("seal", id=release.id)
    assert disk_class(agent.process.pid) == before
    assert agent.ask("hook", name="h", command="ionice -p $$ 2>&1 || :", timeout_s=5,
                     env={})["output"].strip().startswith(("none", "best-effort")) or before == 0
    assert os.getpriority(os.PRIO_PROCESS, agent.process.pid) == os.getpriority(
        os.PRIO_PROCESS, 0)


@pytest.mark.parametrize("size", [200_000, 2_000_000])
def test_disk_full_while_staging(program, small_disk, size):
    """Names are not reserved, so somebody else can take them."""
    app = small_disk / "web"
    rng = random.Random(3)
    release = Release({f"f{i}": rng.randbytes(size) for i in range(4_000_000 // size)})
    with Agent(program, app) as agent:
        agent.hold()
        missing = agent.stage(release)["missing"]
        (small_disk / "others").mkdir()
        with pytest.raises(OSError, match="No space left"):
            for i in range(10_000):
                (small_disk / "others" / str(i)).touch()
        for index in missing:
            agent.content(index, release.contents[index])
        with pytest.raises(Refused, match=r"f\d+.*: No space left on device"):
            agent.ask("seal", id=release.id)
        assert leftovers(app) == [] and releases(app) == []
        shutil.rmtree(small_disk / "others")
        agent.bring(release)
    assert releases(app) == [release.id]


# --- journal ------------------------------------------------------------------------------------


def lines_of(app):
    return (app / ".deploy" / "journal").read_bytes().splitlines()


def test_journal_lines_carry_number_and_crc(agent, app):
    agent.hold()
    agent.bring(Release(FIRST))
    for number, line in enumerate(lines_of(app), 1):
        assert json.loads(line)["n"] == number
        body, crc = line[:-2].rsplit(b',"crc32":"', 1)
        assert zlib.crc32(body) == int(crc, 16)


def test_torn_and_damaged_lines(program, app):
    with Agent(program, app) as agent:
        agent.hold()
        agent.ask("mark", digest="a" * 64, verdict="bad", reason="it crashed")
        agent.ask("mark", digest="b" * 64, verdict="good", reason="")
    path = app / ".deploy" / "journal"
    lines = lines_of(app)
    damaged = lines[2].replace(b'"good"', b'"bad!"')
    path.write_bytes(b"\n".join([lines[0], lines[1], damaged, lines[0][:30]]))
    with Agent(program, app) as agent:
        seen = agent.ask("look", services=[], socket=None)
        assert any("1 damaged line" in p for p in seen["warnings"])
        assert path.read_bytes().endswith(lines[0][:30])  # looking changes nothing
        agent.hold(epoch=2)
        agent.ask("mark", digest="c" * 64, verdict="good", reason="")
        history = agent.ask("history", limit=100)
        assert history["damaged"] == 1
        assert [line["act"] for line in history["lines"]] == ["mark", "fence", "mark", "fence"]
    lines = lines_of(app)
    assert lines[2] == damaged and len(lines) == 5


def test_journal_rotates_with_its_memory(program, app):
    with Agent(program, app) as agent:
        agent.hold()
        agent.ask("mark", digest="a" * 64, verdict="bad", reason="it crashed")
        numbers = [agent.post("mark", digest="b" * 64, verdict="good", reason="x" * 190)
                   for _ in range(200)]
        for number in numbers:
            agent.wait(number)
    path = app / ".deploy" / "journal"
    one = path.read_bytes()
    tail = lines_of(app)[2] + b"\n"
    path.write_bytes(one + tail * (4 * 1024 * 1024 // len(tail)))
    with Agent(program, app) as agent:
        agent.hold(epoch=2)
        agent.ask("mark", digest="c" * 64, verdict="good", reason="")
        assert path.stat().st_size < 10000
        assert (app / ".deploy" / "journal.1").stat().st_size > 4 * 1024 * 1024
        snapshot = json.loads(lines_of(app)[0])
        assert snapshot["act"] == "snapshot"
        assert {m["digest"]: m["verdict"] for m in snapshot["marks"]} == {
            "a" * 64: "bad", "b" * 64: "good"}
        assert agent.ask("history", limit=5)["lines"][0]["digest"] == "c" * 64


def test_good_and_bad_are_remembered(program, app):
    release = Release(FIRST)
    with Agent(program, app) as agent:
        agent.hold()
        agent.bring(release)
        agent.ask("mark", digest=release.digest, verdict="good", reason="")
        assert agent.ask("look", services=[], socket=None)["good"] == [release.id]
        agent.ask("mark", digest=release.digest, verdict="bad", reason="exit code 1")
    with Agent(program, app) as agent:
        seen = agent.ask("look", services=[], socket=None)
        assert seen["good"] == [] and seen["releases"][0]["bad"]
        assert seen["releases"][0]["bad_reason"] == "exit code 1"


# --- lock, fence, record, request ----------------------------------------------------------------


def test_one_holder_and_it_is_named(program, app):
    with Agent(program, app) as one, Agent(program, app) as two:
        one.hold(who="ann@laptop")
        one.ask("step", step="canary web1")
        holder = two.ask("look", services=[], socket=None)["holder"]
        assert holder["who"] == "ann@laptop" and holder["step"] == "canary web1"
        with pytest.raises(Refused, match="held by ann@laptop") as refusal:
            two.ask("lock", who="bob", rollout="r2")
        assert refusal.value.kind == "exists"
        assert refusal.value.answer["holder"]["rollout"] == "r1"
        assert one.ask("look", services=[], socket=None)["holder"] is None
        one.ask("unlock")
        assert two.ask("lock", who="bob", rollout="r2")["epoch"] == 1
        two.process.kill()
        two.process.wait()
        one.ask("lock", who="ann", rollout="r3")


def test_fence_keeps_old_rollouts_out(program, app):
    with Agent(program, app) as one:
        one.hold(epoch=5)
    with Agent(program, app) as two:
        two.ask("look", services=[], socket=None)
        assert two.ask("lock", who="x", rollout="r2")["epoch"] == 5
        for epoch in 4, 5:  # 5 belongs to r1
            with pytest.raises(Refused, match="epoch 5 of rollout r1") as refusal:
                two.ask("fence", epoch=epoch, rollout="r2")
            assert refusal.value.kind == "stale"
        two.ask("fence", epoch=6, rollout="r2")
        two.token = "5:r1"
        with pytest.raises(Refused) as refusal:
            two.ask("record", record={"rollout": "r1"})
        assert refusal.value.kind == "stale"


def test_nothing_without_lock_and_fence(agent):
    for verb in "record", "seal", "switch", "mark", "prune", "hook", "close":
        with pytest.raises(Refused, match="needs `lock` and `fence`"):
            agent.ask(verb, token="1:r1")


def test_record_is_kept_until_closed(program, app):
    record = {"rollout": "r1", "hosts": {"a": {"from": None}}, "release": "000001-aaaaaaaa"}
    with Agent(program, app) as agent:
        agent.hold()
        agent.ask("record", record=record)
    with Agent(program, app) as agent:
        assert agent.ask("look", services=[], socket=None)["rollout"] == record
        agent.hold(epoch=2)
        agent.ask("close", outcome="done", release="000001-aaaaaaaa")
        assert agent.ask("look", services=[], socket=None)["rollout"] is None
    (app / ".deploy" / "rollout").write_text("{ torn")
    with Agent(program, app) as agent:
        seen = agent.ask("look", services=[], socket=None)
        assert "damaged" in seen["rollout"] and seen["warnings"] and not seen["problems"]


def test_requests_reach_the_holder(program, app):
    with Agent(program, app) as one, Agent(program, app) as two:
        assert two.ask("request", what="pause", who="bob")["holder"] is None
        one.hold()
        assert not os.path.exists(app / ".deploy" / "request")  # meant for nobody of now
        asked = time.monotonic()
        assert two.ask("request", what="abort", who="bob")["holder"]["who"] == "test@here"
        event = one.event("request")
        assert event["what"] == "abort" and event["who"] == "bob"
        assert time.monotonic() - asked < 1
        assert two.ask("look", services=[], socket=None)["request"] == "abort"
        two.ask("request", what=None, who="bob")
        assert two.ask("look", services=[], socket=None)["request"] is None


# --- switching without a supervisor -----------------------------------------------------------------


def bring_two(agent):
    one, two = Release({"v": b"1"}), Release({"v": b"2"}, number=2)
    agent.bring(one)
    agent.bring(two)
    return one, two


def test_static_switch_confirm_revert(program, app):
    with Agent(program, app) as agent:
        agent.hold()
        one, two = bring_two(agent)
        answer = agent.ask("switch", id=one.id, confirm_within_s=60, ready_timeout_s=5,
                           on_fail="revert")
        assert (answer["result"], answer["from"]) == ("switched", None)
        assert os.readlink(app / "current") == f"releases/{one.id}"
        agent.ask("confirm", id=one.id)
        for _ in range(2):  # the same again tells the same
            answer = agent.ask("switch", id=two.id, confirm_within_s=60, ready_timeout_s=5,
                               on_fail="revert")
            assert (answer["id"], answer["from"]) == (two.id, one.id)
        assert os.readlink(app / "previous") == f"releases/{one.id}"
        seen = agent.ask("look", services=[], socket=None)
        assert seen["current"] == two.id and not seen["confirmed"]
        assert seen["previous"] == one.id and seen["good"] == [one.id]
    with Agent(program, app) as agent:  # another one undoes it
        agent.hold(epoch=2)
        assert agent.ask("revert", id=two.id, reason="x")["id"] == one.id
        assert os.readlink(app / "current") == f"releases/{one.id}"
        assert agent.ask("revert", id=two.id, reason="x")["id"] == one.id
        with pytest.raises(Refused, match="is not here"):
            agent.ask("switch", id="000009-aaaaaaaa", confirm_within_s=1, ready_timeout_s=1,
                      on_fail="revert")


def test_prune_keeps_what_is_needed(agent, app):
    agent.hold()
    all_ = [Release({"v": str(i).encode()}, number=i) for i in range(1, 8)]
    for release in all_:
        agent.bring(release)
    for i in 0, 1, 3, 4:
        agent.ask("mark", digest=all_[i].digest, verdict="good", reason="")
    agent.ask("switch", id=all_[1].id, confirm_within_s=1, ready_timeout_s=1, on_fail="stay")
    agent.ask("switch", id=all_[4].id, confirm_within_s=1, ready_timeout_s=1, on_fail="stay")
    would = agent.ask("prune", keep=2, dry=True)["removed"]
    assert would == [all_[2].id, all_[0].id] and len(releases(app)) == 7
    assert agent.ask("prune", keep=2, dry=False)["removed"] == would
    left = [r.id for i, r in enumerate(all_) if i not in (0, 2)]
    assert releases(app) == left
    assert sorted(os.listdir(app / ".deploy" / "manifests")) == left
    assert os.listdir(app / "releases" / ".trash") == []


# --- hooks ------------------------------------------------------------------------------------------


def test_hook_output_code_and_environment(agent, app):
    agent.hold()
    answer = agent.ask("hook", name="validate", timeout_s=10, env={"DEPLOY_APP": "web"},
                       command="echo $DEPLOY_APP; pwd; echo oops >&2; exit 3")
    assert answer["code"] == 3
    assert answer["output"] == f"web\n{app}\noops\n"
    answer = agent.ask("hook", name="x", timeout_s=10, env={}, command="yes | head -c 1000000; kill $$")
    assert answer["code"] == 128 + signal.SIGTERM and len(answer["output"]) == 65536


def test_hook_that_does_not_end_is_killed(agent, app):
    agent.hold()
    number = agent.post("hook", name="slow", timeout_s=1, env={},
                        command="echo begun; echo $$ > pid; sleep 100")
    assert agent.ask("ping")["ok"]  # answered meanwhile
    with pytest.raises(Refused, match="slow did not end in 1 s") as refusal:
        agent.wait(number)
    assert refusal.value.kind == "timeout" and refusal.value.answer["output"] == "begun\n"
    deadline = time.monotonic() + 10  # until whoever has become their parent has reaped them
    with pytest.raises(ProcessLookupError):
        while time.monotonic() < deadline:
            os.killpg(int((app / "pid").read_text()), 0)
            time.sleep(0.01)


def test_background_child_of_a_hook_does_not_hold_it(agent):
    agent.hold()
    assert agent.ask("hook", name="x", timeout_s=30, env={},
                     command="sleep 100 & echo done")["output"] == "done\n"


def test_present_act_is_finished_when_the_connection_dies(program, app):
    agent = Agent(program, app)
    agent.hold()
    agent.post("hook", name="x", timeout_s=10, env={},
               command="touch begun; while [ ! -e go ]; do sleep 0.02; done; touch finished")
    agent.post("hook", name="y", timeout_s=10, env={}, command="touch never")
    while not (app / "begun").exists():
        time.sleep(0.01)
    agent.process.stdin.close()
    agent.process.stdout.close()
    (app / "go").touch()
    assert agent.process.wait(10) == 0
    agent.process.stderr.close()
    assert (app / "finished").exists() and not (app / "never").exists()
    assert b'"hook"' in lines_of(app)[-1]


# --- switching with a supervisor ----------------------------------------------------------------------


def instance(**more):
    return {"id": "web:0", "state": "running", "ready": True, "health": "ok", "pid": os.getpid(),
            "restarts": 4, "restart_mode": "overlap", "release": None, "probes": 10,
            "probe_failures": 0, "last_exit": None, **more}


def status(*instances):
    return {"supervisor": {"version": "0.1.0"},
            "services": [{"name": "web", "instances": list(instances)},
                         {"name": "other", "instances": [{"id": "other:0", "state": "failed"}]}]}


@pytest.fixture
def switched(program, app, supervisor):
    """An agent that has switched to a release under the eyes of the supervisor."""
    supervisor.methods.update({
        "status": status(instance()),
        "release.state": lambda p: {"pinned": release.id, "from": None, "good": [], "in_use": [],
                                    "confirmed": False, "deadline_s": 29.5, "token": "1:r1"},
        "release.switch": lambda p: {"result": "switched", "id": p["id"], "from": None,
                                     "reason": None, "instances": []},
    })
    release = Release(FIRST)
    with Agent(program, app, supervisor.path) as agent:
        agent.hold(services=["web"])
        agent.bring(release)
        agent.ask("switch", id=release.id, confirm_within_s=30, ready_timeout_s=5, on_fail="revert")
        agent.release = release
        yield agent


def test_switch_by_the_supervisor(switched, supervisor, app):
    calls = [params for method, params in supervisor.calls if method == "release.switch"]
    assert calls == [{"path": str(app), "id": switched.release.id, "token": "1:r1",
                      "confirm_within": 30, "ready_timeout": 5, "on_fail": "revert"}]
    seen = switched.ask("look", services=["web"], socket=None)
    assert seen["current"] == switched.release.id and seen["digest"] == switched.release.digest
    assert seen["healthy"] and not seen["confirmed"] and seen["deadline_s"] == 30
    assert [i["id"] for i in seen["instances"]] == ["web:0"]
    assert not (app / "current").exists()  # that is the supervisor's business


def test_lost_answer_is_asked_again(switched, supervisor):
    answers = [None, {}, None, {}]  # None: the supervisor dies before it answers

    def confirm(params):
        supervisor.drop_connections() if answers[0] is None else None
        return answers.pop(0)

    supervisor.methods["release.confirm"] = confirm
    switched.ask("confirm", id=switched.release.id)
    switched.ask("confirm", id=switched.release.id)
    assert len([1 for method, _ in supervisor.calls if method == "release.confirm"]) == 4
    assert switched.ask("look", services=["web"], socket=None)["good"] == [switched.release.id]


def test_refusals_of_the_supervisor_come_through(switched, supervisor):
    supervisor.methods["release.extend"] = {"error": {
        "code": -32000, "message": "held by 2:other", "data": {"kind": "stale"}}}
    with pytest.raises(Refused, match="held by 2:other") as refusal:
        switched.ask("extend", id=switched.release.id, confirm_within_s=60)
    assert refusal.value.kind == "stale"
    supervisor.methods["release.revert"] = {"result": "reverted"}
    supervisor.methods["release.state"] = {"pinned": "000001-aaaaaaaa"}
    assert switched.ask("revert", id=switched.release.id, reason="x")["id"] == "000001-aaaaaaaa"


@pytest.mark.parametrize("change,kind,text", [
    ({"restarts": 5, "last_exit": {"code": 3, "signal": None}}, "restart", "exit code 3"),
    ({"state": "backoff", "ready": False, "last_exit": {"code": None, "signal": "SEGV"}}, "exit",
     "signal SEGV"),
    ({"state": "failed", "last_exit": {"code": None, "signal": "KILL", "oom": True}}, "exit",
     "lack of memory"),
    ({"health": "bad"}, "probe", "live check"),
    ({"health": "bad", "reason": "live check: 503"}, "probe", "check (live check: 503)"),
    ({"ready": False}, "readiness", "not ready any more"),
    ({"restarts": 0}, None, None),
])
def test_gates(switched, supervisor, change, kind, text):
    switched.ask("watch", interval_ms=100)
    first = switched.event("health")
    assert first["healthy"] and first["gate"] is None and first["probes"] == 0
    supervisor.methods["status"] = status(instance(probes=15, **change))
    if kind is None:  # counters that went back are no restart
        supervisor.methods["status"] = status(instance(release="x", **change))
        event = switched.event("health", lambda e: e["instances"][0]["release"] == "x")
        assert event["healthy"] and event["gate"] is None
        supervisor.methods["status"] = status(instance(restarts=1))
        kind, text = "restart", "restarted"
    event = switched.event("health", lambda e: e["gate"])
    assert event["gate"]["kind"] == kind and text in event["gate"]["text"]
    assert not event["healthy"]
    supervisor.methods["status"] = status(instance(state="stopping", ready=False))
    event = switched.event("health", lambda e: e["instances"][0]["state"] == "stopping")
    assert event["gate"]["kind"] == kind  # it stays
    switched.ask("watch", interval_ms=0)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to be two users")
@pytest.mark.parametrize("other_user", [True, False])
def test_hard_links_only_when_the_service_cannot_write(switched, supervisor, app, other_user):
    service = subprocess.Popen(["sleep", "1000"], user=65534 if other_user else None)
    try:
        supervisor.methods["status"] = status(instance(pid=service.pid))
        deadline = time.monotonic() + 5  # until it is that user
        while other_user and os.stat(f"/proc/{service.pid}").st_uid == 0:
            assert time.monotonic() < deadline
        switched.ask("look", services=["web"], socket=None)
        changed = {**FIRST, "index.html": b"changed"}
        second = Release(changed, number=2)
        switched.bring(second)
    finally:
        service.kill()
        service.wait()
    check_whole(app, second, changed)
    one = os.stat(app / "releases" / switched.release.id / "lib/a/b/c.txt")
    two = os.stat(app / "releases" / second.id / "lib/same.txt")
    assert (one.st_ino == two.st_ino) == other_user


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_owner(agent, app):
    agent.hold()
    release = Release(FIRST)
    with pytest.raises(Refused, match="no user \"nosuchuser\""):
        agent.stage(release, owner="nosuchuser")
    agent.bring(release, owner="nobody:nogroup")
    for base, folders, files in os.walk(app / "releases" / release.id):
        for name in [".", *folders, *files]:
            assert os.lstat(os.path.join(base, name)).st_uid == 65534


def test_no_supervisor_is_told(program, app, tmp_path):
    with Agent(program, app, str(tmp_path / "none.sock")) as agent:
        seen = agent.ask("look", services=["web"], socket=None)
        assert seen["supervisor"] is None and seen["supervisor_error"] and not seen["healthy"]


def test_prune_asks_what_is_in_use(switched, supervisor, app):
    others = [Release({"v": str(i).encode()}, number=i) for i in range(2, 6)]
    for release in others:
        switched.bring(release)
        switched.ask("mark", digest=release.digest, verdict="good", reason="")
    supervisor.methods["release.state"] = {"pinned": switched.release.id, "in_use": [others[0].id]}
    assert switched.ask("prune", keep=1, dry=False)["removed"] == [others[2].id, others[1].id]
    del supervisor.methods["release.state"]
    with pytest.raises(Refused):
        switched.ask("prune", keep=1, dry=False)


def test_silence_ends_the_agent(program, app):
    """Slow by nature: 20 s of silence."""
    if not os.environ.get("SLOW_TESTS"):
        pytest.skip("20 s; set SLOW_TESTS=1")
    agent = Agent(program, app)
    began = time.monotonic()
    assert agent.process.wait(30) == 0
    assert 18 < time.monotonic() - began < 25
    agent.close()


# --- freeze


def test_a_freeze_stops_what_is_new(agent, app):
    """Also of a deployctl that knows nothing of freezes, or had looked before."""
    old, new, third = (Release({"index.html": text}, number) for number, text in
                       enumerate((b"old", b"new", b"third"), 1))
    agent.hold()
    agent.bring(old)
    agent.ask("switch", id=old.id, on_fail="stay")
    agent.ask("confirm", id=old.id)
    agent.bring(new)
    frozen = agent.ask("freeze", freeze={"reason": "disk swap", "who": "ann@laptop"})
    assert frozen["was"] is None and frozen["freeze"]["over"] is False
    for refused in (lambda: agent.ask("switch", id=new.id, on_fail="revert"),
                    lambda: agent.stage(third)):
        with pytest.raises(Refused) as told:
            refused()
        assert told.value.kind == "state"
        assert "ann@laptop" in str(told.value) and "disk swap" in str(told.value)
    agent.ask("switch", id=new.id, despite_freeze=True)
    agent.ask("switch", id=old.id, on_fail="stay")  # it was good here
    agent.ask("switch", id=new.id, new=False)
    agent.ask("switch", id=old.id, undo=True)
    agent.ask("record", record={"rollout": "r1", "id": new.id})  # it was begun
    agent.ask("switch", id=new.id)
    agent.ask("freeze", freeze={"reason": "x", "who": "ann", "until": "2026-01-01T00:00:00+00:00"})
    assert agent.ask("look", services=[])["freeze"]["over"] is True
    agent.bring(third)
    assert agent.ask("freeze", freeze=None)["freeze"] is None
    assert not (app / ".deploy" / "freeze").exists()
