"""The ledger of the version before: what ran goes on.  tests/data/ledger/version4.gz is one of an
old:0 that had been restarted once, and a down:0 that an order had stopped."""
import gzip
import os
import struct
import subprocess
import zlib

import pytest

from harness import host, wait_for  # noqa: F401 (a fixture)

DATA = os.path.join(os.path.dirname(__file__), "../data/ledger/version4.gz")
SERVICES = ("[service:old]\ncommand = sleep 1000\nstartsecs = 0\n"
            "[service:down]\ncommand = sleep 1001\nstartsecs = 0\n")
# Where things are in version 4.
VERSION, BOOT_ID, GUARDIAN, PIDS = 8, 20, 64, 4096
RECORDS, RECORD, INSTANCE, START, BODY = 4096 + 4 * 16384, 416, 8, 96, 176
FAR, SETTINGS = RECORDS + 16384 * RECORD, 80  # the rest of bodies; in a body


def start_time(pid):
    with open(f"/proc/{pid}/stat") as file:
        return int(file.read().rsplit(")", 1)[1].split()[19])


def record_of(image, instance):
    return next(i for i in range(64) if image[RECORDS + i * RECORD + INSTANCE:].startswith(
        instance.encode() + b"\0"))


def forget_settings(image, index):
    """What it was started with: the environment of whoever made the file, among others."""
    at = RECORDS + index * RECORD + BODY
    sequence, _, length, kept = struct.unpack_from("QIHH", image, at)
    struct.pack_into("Q", image, at + 16 + SETTINGS, 0)
    near = bytes(image[at + 16:at + 16 + min(kept, 224)])
    far = bytes(image[FAR + index * 800:][:max(0, kept - 224)])
    struct.pack_into("I", image, at + 8, zlib.crc32(
        struct.pack("QQQQ", index, sequence, length, kept) + near + far))


def make(path, pid):
    """As if its supervisor had been killed in this boot, and this process were old:0."""
    with gzip.open(DATA) as file:
        image = bytearray(file.read())
    with open("/proc/sys/kernel/random/boot_id", "rb") as file:
        boot = file.read().strip()
    image[BOOT_ID:BOOT_ID + len(boot)] = boot
    old = record_of(bytes(image[:RECORDS + 64 * RECORD]), "old:0")
    forget_settings(image, old)
    for i in range(64):  # of the others nobody lives
        struct.pack_into("i", image, PIDS + 4 * i, pid if i == old else 0)
    struct.pack_into("Q", image, RECORDS + old * RECORD + START, start_time(pid))
    struct.pack_into("i", image, GUARDIAN, 0)
    with open(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600), "wb") as file:
        file.write(image)


@pytest.fixture
def left(host):
    """A supervisor that is not started yet, and what one before it has left."""
    s = host(start=False)
    process = subprocess.Popen(["sleep", "1000"], start_new_session=True,
                               env=dict(os.environ, SUPERVISOR_INSTANCE="old:0"))
    make(s.socket + ".ledger", process.pid)
    s.write(SERVICES)
    yield s, process
    process.kill()
    process.wait()


def version(s):
    with open(s.socket + ".ledger", "rb") as file:
        return struct.unpack_from("I", file.read(64), VERSION)[0]


def test_a_ledger_of_the_version_before_is_taken_over(left):
    s, process = left
    assert version(s) == 4
    s.start()
    rows = s.instances()
    assert rows["old:0"]["pid"] == process.pid and rows["old:0"]["state"] == "running"
    assert rows["old:0"]["restarts"] == 1
    assert rows["down:0"]["state"] == "stopped"  # by an order, which counts
    assert version(s) == 5
    assert not [e for e in s.events() if e["event"] == "ledger-rebuilt"]
    s.kill_core()
    assert s.instances()["old:0"]["pid"] == process.pid
    s.call("stop", names=["old"])
    wait_for(lambda: process.poll() is not None, "its end")
