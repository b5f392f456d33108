"""The last act of an init where the machine does not make it easy: another kernel, a disk that hangs."""
import shutil

import pytest

import boot
from machine import Small, needs

pytestmark = needs()
SECOND = """#!/bin/sh
mount -t devtmpfs dev /dev
echo second-kernel-is-up >/dev/console
poweroff -f
"""
KEXEC = """
[service:web]
command = sh -c "trap 'echo web-has-left >/dev/console; exit 0' TERM; echo >&3; while :; do sleep 0.1; done"
ready = fd:3
stdout_logfile = none
stderr_logfile = none

[service:next]
; Loads a kernel, and has it started by an ordinary reboot.
type = oneshot
requires = web
command = sh -c "kexec -s -l /second/kernel --initrd=/second/initrd --command-line='console=ttyS0 quiet rdinit=/init' && supervisor shutdown --reboot"
stdout_logfile = none
stderr_logfile = inherit
"""
HANGS = """
[service:writer]
; From now and then on the disk takes one byte a second.
requires = data
command = sh -c "echo writer-is-up >/dev/console; while :; do echo line >>/data/file; sync -d /data/file; sleep 0.05; done"
stdout_logfile = none
stderr_logfile = none
stopwaitsecs = 1s

[service:look]
command = sh -c "old=; while :; do new=$(pidof sync); if [ -n \\"$new\\" ] && [ \\"$new\\" = \\"$old\\" ]; then echo writer-hangs >/dev/console; exec sleep 100000; fi; old=$new; sleep 2; done"
stdout_logfile = none
stderr_logfile = none

[supervisor]
shutdown_timeout = 5s
"""


@pytest.mark.skipif(not shutil.which("kexec"), reason="NOT RUN: kexec (kexec-tools) is not installed")
def test_a_reboot_starts_the_kernel_that_kexec_has_loaded(tmp_path):
    second = boot.Image(str(tmp_path))
    second.text("/init", SECOND, 0o755)
    second.pack()
    with Small(KEXEC, programs=[(shutil.which("kexec"), "/bin/kexec"),
                                (boot.kernel(), "/second/kernel"),
                                (second.file, "/second/initrd")]) as machine:
        machine.start()
        machine.wait_said("second-kernel-is-up")
        machine.wait_end()
        said = machine.said()
        assert said.index("web-has-left") < said.index("second-kernel-is-up")
        assert "Restarting system" not in said


def test_a_disk_that_hangs_does_not_keep_the_machine_on():
    """Neither sync nor umount comes back, and what hangs in the kernel cannot be killed: after a
    minute the plug is pulled."""
    with Small(HANGS, disk=True) as machine:
        machine.start()
        machine.wait_said("writer-is-up")
        machine.monitor("block_set_io_throttle virtio0 1 0 0 0 0 0")
        machine.wait_said("writer-hangs")
        machine.monitor("sendkey ctrl-alt-delete")
        machine.wait_said("leaving although it cannot be killed")
        machine.wait_said("reboot: Restarting system")
        machine.wait_end()
