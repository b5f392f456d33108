"""SOURCE as an archive: the same release as the folder it was made from."""
import gzip
import io
import json
import os
import subprocess
import tarfile

import pytest

from hosts import Fleet


@pytest.fixture(scope="module")
def fleet():
    fleet = Fleet(1)
    yield fleet
    fleet.close()


def digest(fleet, *source, code=0):
    return json.loads(fleet.run("plan", "--json", *source, code=code).splitlines()[-1])["digest"]


def fill(fleet):
    fleet.change()
    deep = "deep/" + "d" * 70
    os.makedirs(os.path.join(fleet.source, deep), exist_ok=True)
    fleet.put(deep + "/" + "n" * 70, "long name")
    fleet.put("program", "#!/bin/sh\n", 0o755)
    fleet.put("large", os.urandom(300000) + bytes(3000000))
    fleet.put("ignored.log", "x")
    fleet.put(".deployignore", "*.log\n")
    os.makedirs(os.path.join(fleet.source, "empty"), exist_ok=True)
    os.symlink("../VERSION", os.path.join(fleet.source, "deep/link"))
    os.link(os.path.join(fleet.source, "VERSION"), os.path.join(fleet.source, "hard"))


@pytest.mark.parametrize("dialect", ["gnu", "pax", "ustar"])
@pytest.mark.parametrize("packer", ["cat", "gzip -c", "zstd -qc", "zstd -qc --ultra -22 --long=27"])
def test_the_same_as_its_folder(fleet, tmp_path, monkeypatch, dialect, packer):
    if "zstd" in packer and subprocess.run(["which", "zstd"], capture_output=True).returncode:
        pytest.skip("no zstd")
    fill(fleet)
    wanted = digest(fleet)
    archive = str(tmp_path / "it.tar")
    subprocess.run(f"tar --format={dialect} -C {fleet.source} -cf - . | {packer} > {archive}",
                   shell=True, check=True)
    os.mkdir(tmp_path / "own")
    monkeypatch.setenv("TMPDIR", str(tmp_path / "own"))
    assert digest(fleet, archive) == wanted
    assert os.listdir(tmp_path / "own") == []


def test_it_is_released(fleet, tmp_path):
    fill(fleet)
    archive = str(tmp_path / "it.tar.gz")
    subprocess.run(["tar", "-C", fleet.source, "-czf", archive, "."], check=True)
    fleet.run("release", archive)
    running = fleet.one_release()
    fleet.run("release", archive)  # the same again
    fleet.run("release")           # and the folder, too
    assert fleet.one_release() == running
    with open(fleet.recipe) as file:
        text = file.read()
    with open(fleet.recipe, "w") as file:
        file.write(text.replace("source = ./src", f"source = {archive}"))
    fleet.run("plan")
    fleet.write()


def entry(name, data=b"", **more):
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for key, value in more.items():
        setattr(info, key, value)
    return info, data


def make(path, *entries, mode="w"):
    with tarfile.open(path, mode) as tar:
        for info, data in entries:
            tar.addfile(info, io.BytesIO(data))


WRONG = [
    ([entry("../evil", b"x")], "../evil: the name has .. in it"),
    ([entry("/evil", b"x")], "/evil: the name is absolute"),
    ([entry("a", type=tarfile.FIFOTYPE)], "a is a FIFO"),
    ([entry("a", type=tarfile.CHRTYPE)], "a is a device"),
    ([entry("a", b"1"), entry("a", b"2")], "a is in it twice"),
    ([entry("a", b"1"), entry("a/b", b"2")], "a is in it twice"),
    ([entry("a", type=tarfile.SYMTYPE, linkname="/tmp"), entry("a/evil", b"x")], "a"),
    ([entry("a", type=tarfile.SYMTYPE, linkname="/etc/passwd")], "links = any"),
    ([entry("a", type=tarfile.LNKTYPE, linkname="/etc/passwd")], "the name is absolute"),
    ([entry("a", type=tarfile.LNKTYPE, linkname="b")], "did not come before it"),
    ([entry("a", b"x", mode=0o4755)], "setuid"),
    ([], "nothing in it to release"),
]


@pytest.mark.parametrize("entries, what", WRONG, ids=[what for _, what in WRONG])
def test_what_no_release_can_hold(fleet, tmp_path, monkeypatch, entries, what):
    archive = str(tmp_path / "it.tar")
    os.mkdir(tmp_path / "own")
    monkeypatch.setenv("TMPDIR", str(tmp_path / "own"))
    make(archive, *entries)
    text = fleet.run("plan", archive, code=3)
    assert archive in text and what in text, text
    assert os.listdir(tmp_path / "own") == [] and not os.path.exists("/evil")


@pytest.mark.parametrize("how", ["cut", "cut gzip", "text", "empty", "damaged gzip"])
def test_damaged_archives(fleet, tmp_path, how):
    archive = str(tmp_path / "it.tar")
    make(archive, entry("a", os.urandom(100000)), mode="w:gz" if "gzip" in how else "w")
    with open(archive, "rb") as file:
        data = file.read()
    if how.startswith("cut"):
        data = data[:len(data) // 2]
    elif how == "text":
        data = b"hello\n" * 200
    elif how == "empty":
        data = b""
    else:
        data = data[:5000] + bytes(100) + data[5100:]
    with open(archive, "wb") as file:
        file.write(data)
    text = fleet.run("plan", archive, code=3)
    assert archive in text and ("cut off" in text or "damaged" in text), text


def test_members_of_gzip_follow_one_another(fleet, tmp_path):
    archive = str(tmp_path / "it.tar")
    make(archive, entry("a", b"x" * 5000), entry("VERSION", b"9.0\n"))
    with open(archive, "rb") as file:
        data = file.read()
    wanted = digest(fleet, archive)
    with open(archive, "wb") as file:
        file.write(gzip.compress(data[:1000]) + gzip.compress(data[1000:]))
    assert digest(fleet, archive) == wanted
