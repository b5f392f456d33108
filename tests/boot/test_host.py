"""The supervisor as the init of a machine: what it needs at first, its signals, its last act."""
import re
import shutil
import subprocess

import pytest

from machine import Small, needs

pytestmark = needs()
DONE = {"poweroff": "reboot: Power down", "reboot": "reboot: Restarting system",
        "halt": "reboot: System halted"}
# One that leaves when it is told, says so, and is seen to be there before.
WEB = """
[service:web]
command = sh -c "trap 'echo web-has-left >/dev/console; exit 0' TERM; echo >&3; while :; do sleep 0.1; done"
ready = fd:3
stdout_logfile = none
stderr_logfile = none

[service:up]
type = oneshot
requires = web
command = sh -c "echo machine-is-up >/dev/console; %s"
"""


def wait_done(machine, what):
    machine.wait_said(DONE[what])
    if what == "halt":  # which leaves the machine on
        assert machine.process.poll() is None and "Kernel panic" not in machine.said()
    else:
        machine.wait_end()


@pytest.mark.parametrize("order,what", [
    ("kill -TERM 1", "reboot"), ("kill -INT 1", "reboot"), ("kill -39 1", "reboot"),
    ("kill -PWR 1", "poweroff"), ("kill -USR2 1", "poweroff"), ("kill -38 1", "poweroff"),
    ("kill -USR1 1", "halt"), ("kill -37 1", "halt"),
    ("supervisor shutdown --reboot", "reboot"), ("supervisor shutdown --poweroff", "poweroff"),
    ("supervisor shutdown --halt", "halt")])
def test_orders(order, what):
    """As the contract has it; each stops the services in order before the machine goes."""
    with Small(WEB % order) as machine:
        machine.start()
        wait_done(machine, what)
        assert machine.said().index("web-has-left") < machine.said().index(DONE[what])


def test_ctrl_alt_del():
    with Small(WEB % ":") as machine:
        machine.start()
        machine.wait_said("machine-is-up")
        machine.monitor("sendkey ctrl-alt-delete")
        wait_done(machine, "reboot")
        assert "web-has-left" in machine.said()


def test_a_service_that_ends_it():
    with Small(WEB % ":" + "[service:last]\ncommand = sh -c 'exit 3'\nrequires = up\n"
               "autorestart = false\nstartsecs = 0\non_exit = shutdown\n") as machine:
        machine.start()
        wait_done(machine, "poweroff")
        assert "web-has-left" in machine.said()


def test_a_host_must_be_told_what_comes_after():
    with Small(WEB % "supervisor shutdown 2>/dev/console; kill -USR2 1") as machine:
        machine.start()
        wait_done(machine, "poweroff")
        assert "say --poweroff, --reboot or --halt" in machine.said()


LOOK = r"""
exec >/dev/console 2>&1
echo "=== mounts"
cut -d' ' -f2,3 /proc/mounts
echo "=== path"
tr '\0' '\n' </proc/1/environ | grep ^PATH= || true
echo $PATH
echo "=== doctor"
supervisor doctor
echo "=== end"
poweroff
"""


def test_from_nothing():
    """There is not even a /proc folder: what it needs it makes, the rest is in doctor."""
    with Small("[service:look]\ntype = oneshot\ncommand = sh /look\n", {"/look": LOOK}) as machine:
        machine.start()
        machine.wait_said("=== end")
        said = machine.said()
        for line in ("/proc proc", "/sys sysfs", "/dev devtmpfs", "/dev/pts devpts",
                     "/dev/shm tmpfs", "/run tmpfs", "/sys/fs/cgroup cgroup2"):
            assert line in said.split("=== path")[0].split("=== mounts")[1], line
        assert "/usr/local/sbin:/usr/local/bin:" in said.split("=== doctor")[0]
        assert not re.search("MISSING", said) and "memory limits are enforced" in said
        machine.cut()


# --- what cannot start ---

GOOD = "[service:up]\ntype = oneshot\ncommand = sh -c 'echo mended >/dev/console; poweroff'\n"


@pytest.mark.parametrize("config,told", [
    ("[service:web]\ncomand = sleep 1000\n", "supervisor.ini:4: "),
    ("[service:web]\ncommand = sleep 1\nrequires = nothing\n", "nothing")])
def test_a_mistake_ends_in_a_shell(config, told):
    """... on the console, after the reason; at its end there is another try."""
    with Small(config, {"/good": GOOD}) as machine:
        machine.start()
        machine.wait_said("here is a shell")
        assert told in machine.said().split("here is a shell")[0]
        machine.type("echo a-shell-$((6 * 7))\n")
        machine.wait_said("a-shell-42")
        machine.type("exit\n")  # nothing was mended
        machine.wait_said("here is a shell", 1)
        machine.type("cp /good /etc/supervisor/supervisor.ini; exit\n")
        machine.wait_said("mended")
        machine.wait_end()


def test_the_shell_does_not_keep_the_machine():
    with Small("nonsense\n") as machine:
        machine.start()
        machine.wait_said("here is a shell")
        machine.monitor("sendkey ctrl-alt-delete")
        wait_done(machine, "reboot")


def test_a_shell_that_was_asked_for():
    with Small(GOOD) as machine:
        machine.start("single")
        machine.wait_said("the shell that was asked for")
        assert "mended" not in machine.said()
        machine.type("exit\n")
        machine.wait_said("mended")
        machine.wait_end()


# --- the disks ---

BUSY = r"""
set -e
mkdir -p /data/inner /inner
dd if=/dev/zero of=/data/image bs=1M count=16 2>/dev/null
/opt/mke2fs -q -t ext4 /data/image
losetup /dev/loop0 /data/image
mount -t ext4 /dev/loop0 /inner
mkdir "/data/a b"; mount --bind /inner "/data/a b"
dd if=/dev/urandom of=/inner/file bs=1M count=4 2>/dev/null
dd if=/dev/urandom of=/data/swap bs=1M count=8 2>/dev/null
mkswap /data/swap >/dev/null && swapon /data/swap
dd if=/dev/urandom of=/data/file bs=1M count=8 2>/dev/null
"""
# It keeps files open and does not listen; and daemonises out of every group.
STUBBORN = r"""#!/bin/sh
trap '' TERM INT HUP QUIT
exec 7>>/data/file 8>>/inner/file
cd /data/inner
setsid sh -c 'trap "" TERM; exec 9>>/data/file; while :; do echo x >&9; sleep 1; done' &
echo >&3
while :; do echo y >&7; sleep 1; done
"""


def test_disks_are_at_rest():
    """A file system in a file on the disk, a bind, swap on it, and processes that ignore TERM."""
    config = """
[service:busy]
type = oneshot
requires = data
command = sh /busy

[service:stubborn]
command = /stubborn
requires = busy
ready = fd:3
stopwaitsecs = 1h
kill_mode = process
stdout_logfile = none

[service:up]
type = oneshot
requires = stubborn
command = sh -c "echo machine-is-up >/dev/console; supervisor shutdown --poweroff"
"""
    with Small(config, {"/busy": BUSY, "/stubborn": STUBBORN}, disk=True,
               programs=[(shutil.which("mke2fs"), "/opt/mke2fs")],
               settings="shutdown_timeout = 2s") as machine:
        machine.start()
        wait_done(machine, "poweroff")
        assert "stays writable" not in machine.said(), machine.said()
        machine.check_disk()
        inner = machine.path("inner")
        subprocess.run(["debugfs", "-R", f"dump /image {inner}", machine.disk], check=True,
                       capture_output=True)
        done = subprocess.run(["e2fsck", "-fn", inner], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
