"""A kernel of its own for tests that need one: real control groups, PID 1 of a whole machine.

    from boot import boot, needs

    pytestmark = needs()                      # skipped, with the reason, where it cannot run
    said = boot(config, script)               # {"section": "text", ...}

The supervisor is PID 1 in an initramfs with busybox.  `script` runs as its service "test"; what it
prints goes out by a serial line, in sections that begin with "=== NAME"; then the machine is
switched off.

The kernel is Debian's: BOOT_KERNEL, else /boot/vmlinuz-*, else what tests/boot/kernel has
unpacked into build/boot (it is never installed).  Without KVM it takes about 4 s to PID 1.
"""
import glob
import os
import re
import shutil
import subprocess
import tempfile

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.abspath(os.path.join(ROOT, os.environ.get("B", "build/release")))
BINARY = os.environ.get("SUPERVISOR_BIN", os.path.join(BUILD, "bin", "supervisor"))
DEADLINE = 180
QEMU = "qemu-system-x86_64"

INIT = """#!/bin/sh
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mkdir -p /run /tmp /dev/shm
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /tmp
mount -t cgroup2 none /sys/fs/cgroup
hostname machine
%s
exec /bin/supervisor run -c /etc/supervisor.ini -s /run/control.sock
"""
RUN = """exec >/dev/ttyS1 2>&1 </dev/null
sh /test.sh
echo
echo "=== end"
sync
poweroff -f
"""


def kernel():
    if os.environ.get("BOOT_KERNEL"):
        return os.environ["BOOT_KERNEL"]
    found = sorted(glob.glob(os.path.join(ROOT, "build/boot/boot/vmlinuz-*"))
                   + glob.glob("/boot/vmlinuz-*"))
    return found[0] if found else None


def missing():
    if os.environ.get("SLOW_TESTS") != "1":
        return "a whole machine each: SLOW_TESTS=1 asks for it"
    for program in (QEMU, "busybox", "cpio"):
        if not shutil.which(program):
            return f"{program} is not installed"
    if not kernel():
        return "no kernel: run tests/boot/kernel"
    return None


def needs():
    why = missing()
    return pytest.mark.skipif(why is not None, reason=f"NOT RUN: {why}")


def libraries(program):
    said = subprocess.run(["ldd", program], capture_output=True, text=True).stdout
    return re.findall(r"(/\S+) \(0x", said)


class Image:
    """The files of the machine."""

    def __init__(self, folder):
        self.root = os.path.join(folder, "root")
        self.file = os.path.join(folder, "initrd")
        for name in ("bin", "sbin", "etc", "proc", "sys", "dev", "var/log", "root"):
            os.makedirs(os.path.join(self.root, name))
        self.program(shutil.which("busybox"), "/bin/busybox")
        names = subprocess.check_output(["busybox", "--list"], text=True).split()
        for name in names:
            if name != "busybox":
                os.symlink("busybox", os.path.join(self.root, "bin", name))
        self.program(BINARY, "/bin/supervisor")
        self.text("/etc/passwd", "root:x:0:0:root:/root:/bin/sh\n"
                                 "nobody:x:65534:65534:nobody:/:/bin/false\n")
        self.text("/etc/group", "root:x:0:\nnogroup:x:65534:\n")

    def text(self, path, text, mode=0o644):
        path = self.root + path
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as file:
            file.write(text)
        os.chmod(path, mode)

    def program(self, source, path):
        for file in [(os.path.realpath(source), path)] + [(os.path.realpath(library), library)
                                                          for library in libraries(source)]:
            target = self.root + file[1]
            os.makedirs(os.path.dirname(target), exist_ok=True)
            shutil.copy(file[0], target)

    def pack(self):
        with open(self.file, "wb") as out:
            names = subprocess.run(["find", "."], cwd=self.root, capture_output=True, check=True)
            subprocess.run(["cpio", "-o", "-H", "newc", "--quiet", "-R", "0:0"], cwd=self.root,
                           input=names.stdout, stdout=out, check=True)
        return self.file


def sections(text):
    found, name = {}, None
    for line in text.replace("\r\n", "\n").split("\n"):
        if line.startswith("=== "):
            name = line[4:].strip()
            found[name] = ""
        elif name:
            found[name] += line + "\n"
    return found


def boot(config, script, prepare="", files=None, deadline=DEADLINE):
    """`prepare` is shell that runs before PID 1 becomes the supervisor."""
    folder = tempfile.mkdtemp(prefix="supervisor-boot-")
    try:
        image = Image(folder)
        image.text("/init", INIT % prepare, 0o755)
        image.text("/test.sh", script)
        image.text("/run-test.sh", RUN)
        image.text("/etc/supervisor.ini",
                   "[supervisor]\nstate_dir = /run/state\nlog_dir = /var/log\n" + config
                   + "\n[service:test]\ncommand = sh /run-test.sh\ntype = oneshot\n"
                   "stdout_logfile = none\n")
        for path, text in (files or {}).items():
            image.text(path, text)
        console, said = os.path.join(folder, "console"), os.path.join(folder, "said")
        command = [QEMU, "-M", "q35", "-accel", "kvm", "-accel", "tcg", "-cpu", "max", "-m", "512",
                   "-nodefaults", "-display", "none", "-no-reboot", "-kernel", kernel(),
                   "-initrd", image.pack(), "-append",
                   "console=ttyS0 panic=-1 quiet loglevel=4 rdinit=/init",
                   "-serial", f"file:{console}", "-serial", f"file:{said}"]
        if os.environ.get("BOOT_ACCEL", "tcg") == "tcg":
            del command[3:5]
        try:
            subprocess.run(command, stdin=subprocess.DEVNULL, timeout=deadline, check=True)
        except subprocess.TimeoutExpired:
            pass
        texts = []
        for path in (said, console):
            with open(path, errors="replace") as file:
                texts.append(file.read())
        found = sections(texts[0])
        assert "end" in found, f"the machine did not come to its end:\n{texts[0]}\n{texts[1]}"
        return found
    finally:
        shutil.rmtree(folder)
