"""Debian with the supervisor as its init: from the login prompt to a clean end."""
import json
import re

import pytest

from machine import Debian, needs

pytestmark = needs(debian=True)

FIFTY = "".join(f"""
[service:app{number}]
command = sleep 100000
requires = root
memory_max = 16MB
pids_max = 10
cpu_max = 50%
startsecs = 0
""" for number in range(47)) + """
[service:hog]
command = sh -c "sleep 1; exec dd if=/dev/zero of=/dev/null bs=128M"
requires = filesystems
memory_max = 32MB
autorestart = false
startsecs = 0

[service:breeder]
command = sh -c "for i in 1 2 3 4 5 6 7 8 9; do sleep 100000 & done; wait"
requires = filesystems
pids_max = 5
autorestart = false
startsecs = 0

[service:spinner]
command = sh -c "while :; do :; done"
requires = filesystems
cpu_max = 10%
startsecs = 0
"""


@pytest.fixture(scope="module")
def machine():
    with Debian(files={"/etc/supervisor/conf.d/fifty.ini": FIFTY}) as machine:
        login, ssh = machine.boot()
        print(f"login prompt after {login:.1f} s, ssh after {ssh:.1f} s")
        yield machine


def instances(machine):
    status = json.loads(machine.ssh("supervisor status --json", code=None))
    return {row["id"]: row for service in status["services"] for row in service["instances"]}


def test_it_is_a_whole_host(machine):
    rows = instances(machine)
    wrong = {name: row for name, row in rows.items()
             if not name.startswith(("hog", "breeder")) and not row["ready"]}
    assert not wrong, wrong
    assert {rows[f"{name}:0"]["state"] for name in ("root", "filesystems", "network", "swap",
                                                    "coldplug", "temporary")} == {"exited"}
    said = machine.ssh("supervisor doctor")  # exit 0: nothing that is needed is missing
    assert "MISSING" not in said
    assert "machine" in machine.ssh("hostname") and "system boot" in machine.ssh("who -b")
    assert " rw" in machine.ssh("grep ' / ext4' /proc/mounts").replace(",", " ")
    assert machine.ssh("cat /proc/1/comm").strip() == "init"
    assert machine.ssh("stat -c %a /tmp /run /dev/shm").split() == ["1777", "755", "1777"]
    machine.ssh("test -s /var/lib/random-seed && test -d /run/lock && test -e /dev/disk/by-path")


def test_limits_are_enforced(machine):
    machine.ssh("until supervisor status --json hog | grep -q '\"state\": *\"exited\"'; "
                "do sleep 0.5; done")
    rows = instances(machine)
    assert rows["hog:0"]["last_exit"]["oom"] is True
    assert "out of memory" in machine.ssh("supervisor why hog")
    pids, most = machine.ssh("cd /sys/fs/cgroup/supervisor.*/breeder:0; "
                             "cat pids.current pids.max").split()
    assert most == "5" and int(pids) <= 5
    used = machine.ssh("cd /sys/fs/cgroup/supervisor.*/spinner:0; cat cpu.max; "
                       "a=$(sed -n 's/usage_usec //p' cpu.stat); sleep 3; "
                       "b=$(sed -n 's/usage_usec //p' cpu.stat); echo $((b - a))").split()
    assert used[:2] == ["10000", "100000"] and int(used[2]) < 1000000
    limits = machine.ssh("cat /sys/fs/cgroup/supervisor.*/app*:0/memory.max").split()
    assert limits == [str(16 << 20)] * 47


def test_the_core_is_killed(machine):
    """In the running system: nobody notices, not even who is logged in."""
    before = {name: row["pid"] for name, row in instances(machine).items() if row["pid"]}
    assert len(before) >= 52
    core = machine.ssh("pgrep -f '^supervisor core'").strip()
    machine.ssh(f"kill -9 {core}; until supervisor status >/dev/null || [ $? = 3 ]; "
                "do sleep 0.1; done")
    assert machine.ssh("pgrep -f '^supervisor core'").strip() not in ("", core)
    after = {name: row["pid"] for name, row in instances(machine).items() if row["pid"]}
    assert after == before


def replace(machine):
    machine.ssh("cd /usr/sbin && cp supervisor s.new && mv s.new supervisor")
    assert "(deleted)" in machine.ssh("readlink /proc/1/exe")


def test_a_new_binary(machine):
    """The init is replaced under a running system; and once more, without an upgrade: a file that
    is deleted and in use must not keep the root from becoming read-only at the end."""
    before = {name: row["pid"] for name, row in instances(machine).items() if row["pid"]}
    replace(machine)
    machine.ssh("supervisor upgrade /usr/sbin/supervisor")
    assert "(deleted)" not in machine.ssh("readlink /proc/1/exe")
    after = {name: row["pid"] for name, row in instances(machine).items() if row["pid"]}
    assert after == before
    replace(machine)


def test_mapped_devices_and_a_clean_end(machine):
    machine.ssh("set -e; modprobe loop; dd if=/dev/zero of=/image bs=1M count=16 2>/dev/null; "
                "dev=$(losetup -f --show /image); "
                "dmsetup create inner --table \"0 32768 linear $dev 0\"; "
                "mke2fs -q -t ext4 /dev/mapper/inner; mkdir -p /inner; "
                "mount /dev/mapper/inner /inner; echo it-is-here >/inner/file")
    machine.ssh("shutdown -k +5 nothing happens")
    machine.end("shutdown -r now")
    assert "reboot: Restarting system" in machine.said()
    assert "stays writable" not in machine.said()
    machine.check_disk()
    machine.boot()
    last = machine.ssh("last -x")
    assert len(re.findall("^reboot ", last, re.M)) == 2 and "shutdown" in last
    machine.ssh("grep -q it-is-here /image")
    machine.end("poweroff")
    assert "reboot: Power down" in machine.said()
    machine.check_disk()
