"""Large files: only what is new travels, a try that was cut goes on, nothing is trusted.

The agent over pipes first, told programs by hand (deployctl/plan/delta.h); then whole fleets.
"""
import json
import os
import random
import signal
import struct
import subprocess
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from agent_client import Agent, Gone, Refused, Release, squeeze  # noqa: E402
from harness import SANITIZED, alive, wait_for  # noqa: E402
from hosts import Fleet  # noqa: E402

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
LAST, PROGRAM, SUM = 1, 2, 8
KB, MB = 1024, 1024 * 1024


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
        one.hold()
        yield one


def noise(size, seed=1):
    rng = random.Random(seed)
    return b"".join(rng.randbytes(min(size - at, 16 * MB)) for at in range(0, size, 16 * MB))


def varint(number):
    out = b""
    while number >= 128:
        out += bytes([number & 127 | 128])
        number >>= 7
    return out + bytes([number])


def copy(index, count):
    return varint(2 * count + 1) + varint(index)


def put(data):
    return varint(2 * len(data)) + data


def send(agent, entry, steps, piece=100000, packed=None):
    packed = squeeze(steps) if packed is None else packed
    for at in range(0, max(len(packed), 1), piece):
        last = LAST if at + piece >= len(packed) else 0
        agent.send("D", struct.pack(">IB", entry, last | PROGRAM) + packed[at:at + piece])


def sums_of(text):
    assert len(text) % SUM == 0
    return [text[i:i + SUM] for i in range(0, len(text), SUM)]


def content(app, release, name="big"):
    return (app / "releases" / release.id / name).read_bytes()


def left(app):
    folder = app / "releases" / ".incoming"
    return sorted(os.listdir(folder)) if folder.exists() else []


OLD = noise(2 * MB)


@pytest.fixture
def old(agent):
    release = Release({"big": OLD, "small": b"s"}, number=1)
    agent.bring(release, chunks=True)
    return release


def next_to(agent, data, number=2, **more):
    """Stages a release with other contents; it, and the sums of what is here."""
    release = Release({"big": data, "small": b"s"}, number=number)
    answer = agent.stage(release, chunks=True, **more)
    assert answer["missing"] == [0]
    return release, [sums_of(base["sums"]) for base in answer["bases"] if base["entry"] == 0]


# --- the agent ----------------------------------------------------------------------------------


def test_a_program_makes_a_content_from_an_older_one(agent, app, old):
    new = b"begin" + OLD + b"end"
    release, [sums] = next_to(agent, new)
    assert len(sums) > 64
    send(agent, 0, put(b"begin") + copy(0, len(sums)) + put(b"end"))
    answer = agent.ask("seal", id=release.id)
    assert answer["bytes_received"] < 100 and "again" not in answer
    assert content(app, release) == new
    assert os.stat(app / "releases" / release.id / "big").st_mode & 0o7777 == 0o444


def test_nobody_is_told_of_chunks_who_does_not_ask(agent, old):
    release = Release({"big": OLD + b"x"}, number=2)
    assert "bases" not in agent.stage(release)


def test_a_similar_name_is_a_base_and_a_small_file_is_none(agent, app):
    agent.bring(Release({"lib/app-1.9.jar": OLD, "little": noise(100 * KB)}, number=1))
    new = Release({"lib/app-1.10.jar": OLD + b"x", "little": noise(100 * KB) + b"x"}, number=2)
    answer = agent.stage(new, chunks=True)
    assert answer["missing"] == [0, 1]
    [base] = answer["bases"]
    assert base["entry"] == 0
    send(agent, 0, copy(0, len(sums_of(base["sums"]))) + put(b"x"))
    agent.content(1, new.contents[1])
    agent.ask("seal", id=new.id)
    assert content(app, new, "lib/app-1.10.jar") == OLD + b"x"


def fine_of(agent, release, runs, average=1024):
    [base] = agent.ask("chunks", id=release.id, bases=[
        {"entry": 0, "average": average, "runs": runs}])["bases"]
    assert base["entry"] == 0
    return sums_of(base["sums"])


def test_regions_are_cut_finer_when_asked(agent, app, old):
    new = OLD[::-1] + OLD
    release, [sums] = next_to(agent, new)
    beginning = fine_of(agent, release, [0, 3])
    both = fine_of(agent, release, [0, 3, 10, 1, len(sums) - 1, 1])
    assert len(both) > len(beginning) > 3 and both[:len(beginning)] == beginning
    assert fine_of(agent, release, [0, 3]) == beginning  # asked once more
    # Numbered behind the coarse ones.
    send(agent, 0, put(OLD[::-1]) + copy(len(sums), len(beginning)) + copy(3, len(sums) - 3))
    assert "again" not in agent.ask("seal", id=release.id)
    assert content(app, release) == new


@pytest.mark.parametrize("question,kind", [
    ({"entry": 0, "average": 1000, "runs": [0, 1]}, "protocol"),
    ({"entry": 0, "average": 128, "runs": [0, 1]}, "protocol"),
    ({"entry": 0, "average": -1024, "runs": [0, 1]}, "protocol"),
    ({"entry": 0, "runs": [0, 1]}, "protocol"),
    ({"entry": 1, "average": 1024, "runs": [0, 1]}, "protocol"),
    ({"entry": 99, "average": 1024, "runs": [0, 1]}, "protocol"),
    ({"entry": 0, "average": 1024, "runs": [0, 100000]}, "protocol"),
    ({"entry": 0, "average": 1024, "runs": [100000, 1]}, "protocol"),
    ({"entry": 0, "average": 1024, "runs": [2**62, 2**62]}, "protocol"),
    ({"entry": 0, "average": 1024, "runs": [5, 2, 6, 1]}, "protocol"),
    ({"entry": 0, "average": 1024, "runs": [5, 2, 3, 1]}, "protocol"),
    ({"entry": 0, "average": 1024, "runs": [5, 0]}, "protocol"),
    ({"entry": 0, "average": 1024, "runs": [-1, 3]}, "protocol"),
    ({"entry": 0, "average": 1024, "runs": "all"}, None),
    ({"entry": 0, "average": 1024, "runs": ["0", "1"]}, "protocol"),
    ({"entry": 0, "average": 1024, "runs": [1]}, None),
    ("not even an object", "protocol"),
])
def test_questions_that_cheat(agent, app, old, question, kind):
    release, _ = next_to(agent, OLD + b"x")
    if kind:
        with pytest.raises(Refused) as refusal:
            agent.ask("chunks", id=release.id, bases=[question])
        assert refusal.value.kind == kind
    else:
        assert agent.ask("chunks", id=release.id, bases=[question])["bases"][0]["sums"] == ""
    agent.content(0, OLD + b"x")  # it goes on
    agent.ask("seal", id=release.id)
    assert content(app, release) == OLD + b"x"


def test_too_many_questions(agent, old):
    release, [sums] = next_to(agent, OLD + b"x")
    with pytest.raises(Refused) as refusal:
        agent.ask("chunks", id=release.id, bases=[
            {"entry": 0, "average": 256, "runs": [0, len(sums)]}] * 60)
    assert refusal.value.kind == "limit"


WHOLE = 1 << 30  # stands for the number of chunks


CHEATS = {
    "too many chunks": (copy(0, 100000), "no chunks"),
    "chunks far away": (copy(100000, 1), "no chunks"),
    "chunks without end": (put(b"x") + copy(0, WHOLE), "cannot be"),
    "an impossible chunk": (copy(WHOLE, 1), "cannot be"),
    "nothing": (b"\0", "does nothing"),
    "a long number": (b"\xff" * 12, "too long"),
    "too short": (put(b"x"), "of .* bytes came"),
    "bytes cut off": (put(b"xy")[:-1], "of .* bytes came"),
    "a copy cut off": (copy(0, 1)[:1], "of .* bytes came"),
    "empty": (b"", "of .* bytes came"),
    "too long": (put(b"0" * (3 * MB)), "more than its"),
    "a bomb": (put(b"0" * (50 * MB)), "more than its|more bytes come out"),
    "many steps": (put(OLD[:1000]) * 3000, "more than its"),
}


@pytest.mark.parametrize("cheat", CHEATS)
def test_programs_that_cheat(agent, app, old, cheat):
    steps, says = CHEATS[cheat]
    release, _ = next_to(agent, OLD + b"x")
    send(agent, 0, steps)
    with pytest.raises(Refused, match=says):
        agent.ask("seal", id=release.id)
    assert left(app) == [] and not (app / "releases" / release.id).exists()


def test_old_contents_again_and_again_are_too_long(agent, app, old):
    release, [sums] = next_to(agent, OLD + b"x")
    send(agent, 0, copy(0, len(sums)) * 1000)
    with pytest.raises(Refused, match="more than its"):
        agent.ask("seal", id=release.id)
    assert left(app) == []


@pytest.mark.parametrize("packed,says", [
    (squeeze(put(b"x" * 100))[:-3], "came|damaged"), (b"nonsense", "damaged"),
    (squeeze(b"\2x") + b"more", "behind the end"),
])
def test_damaged_programs(agent, app, old, packed, says):
    release, _ = next_to(agent, OLD + b"x")
    send(agent, 0, b"", packed=packed)
    with pytest.raises(Refused, match=says):
        agent.ask("seal", id=release.id)
    assert left(app) == []


def test_a_program_needs_a_base(agent, app):
    release = Release({"big": OLD})
    answer = agent.stage(release, chunks=True)
    assert answer["bases"] == []
    send(agent, 0, put(OLD))
    with pytest.raises(Refused, match="no base"):
        agent.ask("seal", id=release.id)


def test_whole_and_program_are_not_mixed(agent, app, old):
    release, [sums] = next_to(agent, OLD + b"x")
    packed = squeeze(copy(0, len(sums)) + put(b"x"))
    agent.send("D", struct.pack(">IB", 0, PROGRAM) + packed[:5])
    agent.send("D", struct.pack(">IB", 0, LAST) + packed[5:])
    with pytest.raises(Refused, match="not asked for now"):
        agent.ask("seal", id=release.id)


def test_a_program_that_lies_is_answered_by_asking_again(agent, app, old):
    """The sums are short: whoever makes others that are the same gains nothing."""
    new = OLD + b"x"
    release, [sums] = next_to(agent, new)
    send(agent, 0, copy(0, len(sums)) + put(b"y"))
    assert agent.ask("seal", id=release.id)["again"] == [0]
    send(agent, 0, copy(0, len(sums)) + put(b"z"))
    assert agent.ask("seal", id=release.id)["again"] == [0]
    with pytest.raises(Refused, match="missing"):
        agent.ask("seal", id=release.id)
    release, _ = next_to(agent, new)
    agent.content(0, new)
    agent.ask("seal", id=release.id)
    assert content(app, release) == new


@pytest.mark.parametrize("how", ["changed", "shorter", "gone"])
def test_an_old_file_that_changes_meanwhile(agent, app, old, how):
    new = OLD + b"x"
    release, [sums] = next_to(agent, new)
    path = app / "releases" / old.id / "big"
    path.chmod(0o644)
    if how == "gone":
        path.unlink()
    else:
        with open(path, "r+b") as file:
            file.truncate(MB) if how == "shorter" else file.write(b"other")
    send(agent, 0, copy(0, len(sums)) + put(b"x"))
    assert agent.ask("seal", id=release.id)["again"] == [0]
    agent.content(0, new)
    assert "again" not in agent.ask("seal", id=release.id)
    assert content(app, release) == new


def test_a_base_is_not_a_link_nor_a_pipe(agent, app, old):
    path = app / "releases" / old.id / "big"
    path.unlink()
    path.symlink_to("/etc/passwd")
    release, bases = next_to(agent, OLD + b"x")
    assert bases == []
    path.unlink()
    os.mkfifo(path)
    release, bases = next_to(agent, OLD + b"x")
    assert bases == []


# --- a staging that is cut ----------------------------------------------------------------------


def partly(agent, entry, data, share):
    packed = squeeze(data)
    end = int(len(packed) * share)
    for at in range(0, end, 100000):
        agent.send("D", struct.pack(">IB", entry, 0) + packed[at:min(at + 100000, end)])


def cut(program, app, release, contents, epoch, kill=True, **more):
    """Brings some of a release, each as much as is told, and is killed."""
    agent = Agent(program, app)
    try:
        agent.hold(epoch=epoch)
        missing = agent.stage(release, chunks=True, **more)["missing"]
        for index, share in contents.items():
            assert index in missing
            if share == 1:
                agent.content(index, release.contents[index])
            else:
                partly(agent, index, release.contents[index], share)
        agent.ask("ping")
    finally:
        agent.kill() if kill else agent.close()


def resume(program, app, release, epoch):
    """Another try; what it has to send, and what it has of each."""
    agent = Agent(program, app)
    agent.hold(epoch=epoch)
    answer = agent.stage(release, chunks=True)
    return agent, answer, {b["entry"]: sums_of(b["sums"]) for b in answer["bases"]}


FILES = {"a": noise(2 * MB, 2), "b": noise(MB, 3), "c": noise(100 * KB, 4),
         "d/e": noise(200 * KB, 5)}


@pytest.mark.parametrize("kill", [True, False])
def test_a_second_try_goes_on(program, app, kill):
    release = Release(FILES)
    cut(program, app, release, {2: 1, 3: 1, 0: 0.7}, epoch=1, kill=kill)
    assert left(app) == [release.id] and not (app / ".deploy/manifests" / release.id).exists()
    agent, answer, bases = resume(program, app, release, epoch=2)
    with agent:
        assert agent.ask("look", services=[], socket=None)["releases"] == []
        assert answer["missing"] == [0, 1] and answer["resumed"] == 2
        assert sorted(bases) == [0] and answer["reserved"] == 3 * MB
        have = os.stat(app / "releases/.incoming/.parts/a").st_size
        assert MB < have < 2 * MB
        send(agent, 0, copy(0, len(bases[0])) + put(FILES["a"][have:]))
        agent.content(1, FILES["b"])
        assert agent.ask("seal", id=release.id)["bytes_received"] < 3 * MB - have + 10 * KB
    assert left(app) == []
    for name, data in FILES.items():
        assert content(app, release, name) == data


def test_a_third_try_has_what_both_brought(program, app):
    release = Release(FILES)
    cut(program, app, release, {0: 0.7}, epoch=1)
    cut(program, app, release, {1: 0.9}, epoch=2)
    assert left(app) == [".parts", release.id]
    agent, answer, bases = resume(program, app, release, epoch=3)
    with agent:
        assert left(app) == [".older", ".parts", release.id]
        assert sorted(bases) == [0, 1]
        agent.ask("unstage", id=release.id)
        assert left(app) == []


def test_another_release_takes_what_it_can_use(program, app):
    cut(program, app, Release(FILES), {0: 1, 1: 1}, epoch=1)
    agent, answer, _ = resume(program, app, Release({"a": FILES["a"], "x": b"x"}, number=7), 2)
    with agent:
        assert answer["missing"] == [1] and answer["resumed"] == 1
        agent.content(1, b"x")
        agent.ask("seal", id=Release({"a": FILES["a"], "x": b"x"}, number=7).id)
    assert left(app) == []


def test_what_was_received_is_not_believed(program, app):
    release = Release(FILES)
    cut(program, app, release, {0: 1, 1: 1}, epoch=1)
    path = app / "releases/.incoming" / release.id
    with open(path / "a", "r+b") as file:
        file.write(b"other")
    (path / "b").unlink()
    (path / "b").symlink_to("/etc/passwd")
    agent, answer, bases = resume(program, app, release, epoch=2)
    with agent:
        assert answer["missing"] == [0, 1, 2, 3] and sorted(bases) == [0]
        send(agent, 0, copy(0, len(bases[0])))
        for index in (1, 2, 3):
            agent.content(index, release.contents[index])
        assert agent.ask("seal", id=release.id)["again"] == [0]
        agent.content(0, FILES["a"])
        agent.ask("seal", id=release.id)
    assert content(app, release, "a") == FILES["a"]


def test_parts_go_by_prune_and_never_count(program, app):
    first = Release({"x": b"1"}, number=1)
    with Agent(program, app) as agent:
        agent.hold(epoch=1)
        agent.bring(first)
        agent.ask("mark", digest=first.digest, verdict="good", reason="")
    cut(program, app, Release(FILES, number=2), {0: 0.5}, epoch=2)
    with Agent(program, app) as agent:
        agent.hold(epoch=3)
        assert [r["id"] for r in agent.ask("look", services=[])["releases"]] == [first.id]
        agent.ask("prune", keep=1, dry=True)
        assert left(app) != []
        agent.ask("prune", keep=1, dry=False)
        assert left(app) == []


def test_parts_make_room(program, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m", "none", disk],
                      stderr=subprocess.DEVNULL).returncode != 0:
        pytest.skip("mounting a small tmpfs needs root")
    try:
        (disk / "web").mkdir()
        cut(program, disk / "web", Release({"a": noise(6 * MB)}), {0: 0.9}, epoch=1)
        other = Release({"b": noise(8 * MB, 9)}, number=2)
        with Agent(program, disk / "web") as agent:
            agent.hold(epoch=2)
            agent.bring(other)
        assert content(disk / "web", other, "b") == other.contents[0]
    finally:
        subprocess.run(["umount", disk], check=True)


def test_killed_while_it_makes_contents(program, app):
    """Programs, whole ones, kills anywhere: what is there in the end is right."""
    rng = random.Random(11)
    data = bytearray(noise(3 * MB, 12))
    with Agent(program, app) as agent:
        agent.hold(epoch=1)
        agent.bring(Release({"big": bytes(data), "n": b"0"}, number=1))
    kills = 0
    for number in range(2, 30):
        at = rng.randrange(len(data))
        data[at:at + 1000] = rng.randbytes(1000)
        release = Release({"big": bytes(data), "n": str(number).encode()}, number=number)
        agent = Agent(program, app)
        try:
            agent.hold(epoch=number)
            answer = agent.stage(release, chunks=True)
            for base in answer["bases"]:
                assert base["entry"] == 0
            agent.content(1, release.contents[1])
            whole = number % 5 == 0
            if whole:
                agent.content(0, bytes(data))
            else:
                partly(agent, 0, bytes(data), rng.random())
            if rng.random() < 0.5:
                agent.post("seal", id=release.id)
            elif whole:
                agent.ask("seal", id=release.id)
        except (Gone, Refused, BrokenPipeError):
            pass
        agent.kill()
        kills += 1
        for one in os.listdir(app / "releases"):
            if not one.startswith("."):
                assert (app / ".deploy/manifests" / one).exists()
        if (app / "releases" / release.id).exists():
            assert content(app, release) == bytes(data)
    with Agent(program, app) as agent:
        agent.hold(epoch=100)
        last = Release({"big": bytes(data), "n": b"end"}, number=100)
        agent.bring(last, chunks=True)
    assert kills > 20 and content(app, last) == bytes(data) and left(app) == []


# --- fleets -------------------------------------------------------------------------------------


@pytest.fixture
def fleet():
    one = Fleet(2)
    yield one
    one.close()


def sealed(host):
    """Bytes of contents that came for the newest release."""
    with open(host.path(".deploy", "journal")) as file:
        lines = [json.loads(line) for line in file]
    return [line["bytes"] for line in lines if line.get("act") == "seal"][-1]


SIZE = (16 if SANITIZED else 64) * MB


def big(fleet, data):
    fleet.change()
    fleet.put("big.bin", bytes(data))


def check(fleet, data):
    id_ = fleet.one_release()
    for host in fleet.hosts:
        with open(host.path("releases", id_, "big.bin"), "rb") as file:
            assert file.read() == data, host.name
        assert host.incoming() == []


def test_only_what_is_new_in_a_large_file_travels(fleet):
    data = bytearray(noise(SIZE))
    big(fleet, data)
    fleet.run("release")
    check(fleet, data)
    at = SIZE // 3
    data[at:at + MB] = noise(MB, 2)  # another megabyte in the middle
    big(fleet, data)
    fleet.run("release")
    check(fleet, data)
    for host in fleet.hosts:
        assert MB < sealed(host) < MB + 40 * KB
    data[at:at] = noise(1000, 3)  # everything behind it moves
    big(fleet, data)
    fleet.run("release")
    check(fleet, data)
    for host in fleet.hosts:
        assert 1000 < sealed(host) < 20 * KB
    data[:] = data[at:] + data[:at]  # moved, nothing new
    for i in range(20):
        data[i * SIZE // 20] ^= 255
    big(fleet, data)
    fleet.run("release")
    check(fleet, data)
    for host in fleet.hosts:
        assert sealed(host) < 200 * KB


def test_hosts_with_different_old_files(fleet):
    data = bytearray(noise(4 * MB))
    big(fleet, data)
    fleet.run("release")
    id_ = fleet.one_release()
    path = fleet.hosts[1].path("releases", id_, "big.bin")
    os.chmod(path, 0o644)
    with open(path, "r+b") as file:  # somebody was at it
        file.seek(MB)
        file.write(noise(MB, 8))
    data[0:10] = b"0123456789"
    big(fleet, data)
    fleet.run("release")
    check(fleet, data)
    first, second = (sealed(host) for host in fleet.hosts)
    assert first < 20 * KB and MB < second < MB + 40 * KB


def half_way(fleet, limit, who):
    """Kills who is told when 40 % are there, of a release that goes slowly."""
    process = fleet.start("release", "--rate-limit", limit)
    host = fleet.hosts[0]

    def arrived():
        for id_ in host.incoming():
            path = host.path("releases", ".incoming", id_, "big.bin")
            if not id_.startswith(".") and os.path.exists(path):
                return os.stat(path).st_size > SIZE * 0.4
        return False

    wait_for(arrived, "half of the file is there", 90)
    who(process, host)
    return process


def test_a_release_goes_on_after_deployctl_is_killed(fleet):
    data = noise(SIZE)
    big(fleet, data)

    def kill(process, host):
        agents = fleet.agents()
        process.kill()
        process.communicate()
        wait_for(lambda: not any(alive(pid) for pid in agents), "agents leave")

    half_way(fleet, "16MB", kill)
    big(fleet, data)
    fleet.run("release")
    check(fleet, data)
    for host in fleet.hosts:
        assert sealed(host) < SIZE * 0.65


def test_a_release_goes_on_after_an_agent_is_killed(fleet):
    data = noise(SIZE)
    big(fleet, data)
    process = half_way(fleet, "24MB",
                       lambda process, host: os.kill(fleet.agent_of(process, host), signal.SIGKILL))
    text, _ = process.communicate(timeout=120)
    assert process.returncode == 0, text
    check(fleet, data)
    assert sealed(fleet.hosts[0]) < SIZE * 0.65
    assert sealed(fleet.hosts[1]) > SIZE


@pytest.mark.parametrize("budget,code", [(0, (1, 3, 4)), (1, 0)])
def test_every_host_has_room_before_any_is_sent_bytes(fleet, budget, code):
    first, small = fleet.hosts
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m,mode=755", "none", small.root],
                      stderr=subprocess.DEVNULL).returncode != 0:
        pytest.skip("mounting a small tmpfs needs root")
    try:
        fleet.write(extra=f"max_failed = {budget}")
        big(fleet, noise(16 * MB))
        text = fleet.run("release", code=code)
        assert "are kept free" in text
        releases = [name for name in os.listdir(first.path("releases")) if name[0] != "."]
        assert len(releases) == budget and first.incoming() == []
        assert ("2 files" in text or "3 files" in text) == bool(budget)
    finally:
        fleet.quiet()
        subprocess.run(["umount", "-l", small.root], check=True)


def test_the_rate_limit_says_what_is_wrong(fleet):
    for wrong, says in (("fast", "not a size"), ("1", "too slow"), ("-5MB", "not a size")):
        text = fleet.run("release", "--rate-limit", wrong, code=2)
        assert "--rate-limit" in text and says in text
    fleet.write(extra="rate_limit = 100")
    assert "rate_limit" in fleet.run("release", code=3)


@pytest.mark.skipif("SLOW_TESTS" not in os.environ, reason="half a gigabyte, three times")
def test_a_megabyte_of_five_hundred(fleet):
    data = bytearray(noise(500 * MB))
    big(fleet, data)
    fleet.run("release", timeout=600)
    data[300 * MB:300 * MB] = noise(MB, 2)
    big(fleet, data)
    fleet.run("release", timeout=600)
    check(fleet, data)
    for host in fleet.hosts:
        assert MB < sealed(host) < MB + 60 * KB
