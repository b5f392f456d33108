"""Machines in qemu whose init is the supervisor, and what happens to them from outside.

    from machine import Debian, Small, needs

    pytestmark = needs()
    with Debian() as machine:              # Debian's root on a disk, examples/host-init, sshd
        machine.boot()                     # to the login prompt on the serial line, and ssh
        machine.ssh("supervisor status")   # its output; the exit code is checked
        machine.ssh("poweroff", code=None)
        machine.wait_end()
        machine.check_disk()               # clean, says e2fsck

    with Small(config) as machine:         # an initramfs with busybox, the supervisor its /init,
        machine.start()                    # an empty disk; seconds to boot
        machine.wait_said("up")            # on the console

The kernel is that of boot.py; Debian's root is what tests/boot/debian has made (debootstrap), and
its initramfs loads the drivers of the disk and hands over to /sbin/init, as Debian's own does.
"""
import glob
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time

import pytest

import boot

sys.path.insert(0, os.path.join(boot.ROOT, "tests", "system"))
from harness import free_port  # noqa: E402

TAR = os.path.join(boot.ROOT, "build/boot/debian.tar")
BASE = os.path.join(boot.ROOT, "build/boot/debian.disk")
DEADLINE = float(os.environ.get("BOOT_DEADLINE", 300))
NAMES = ("init", "telinit", "poweroff", "reboot", "halt", "shutdown")
DISK, NETWORK = ("virtio_pci", "virtio_blk", "ext4"), ("virtio_net",)
DISK_BYTES = 1 << 30


def modules():
    found = glob.glob(os.path.join(boot.ROOT, "build/boot/lib/modules/*/modules.dep"))
    return os.path.dirname(found[0]) if found else None


def missing(debian=False):
    why = boot.missing()
    if why:
        return why
    for program in ("mke2fs", "e2fsck", "debugfs"):
        if not shutil.which(program):
            return f"{program} is not installed"
    if not modules():
        return "no kernel modules: run tests/boot/kernel"
    if not debian:
        return None
    if os.geteuid() != 0:
        return "needs root to make the files of Debian's disk"
    if not os.path.exists(TAR):
        return "no Debian: run tests/boot/debian"
    return None if shutil.which("ssh-keygen") else "ssh-keygen is not installed"


def needs(debian=False):
    why = missing(debian)
    return pytest.mark.skipif(why is not None, reason=f"NOT RUN: {why}")


def drivers(names):
    """The files of these modules and of what they need, in the order of loading."""
    with open(os.path.join(modules(), "modules.dep")) as file:
        below = {line.split(":")[0]: line.split(":")[1].split() for line in file}
    found = []
    for name in names:
        for path in below:
            if os.path.basename(path) == name + ".ko":
                found += [one for one in [*reversed(below[path]), path] if one not in found]
    return [os.path.join(modules(), path) for path in found]


class Machine:
    words = ""  # for the kernel

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="supervisor-machine-")
        self.disk, self.initrd, self.process = self.path("disk"), None, None
        self.port = free_port()

    def path(self, name):
        return os.path.join(self.folder, name)

    def pack(self, init, programs):
        """The initramfs: busybox, the supervisor, modules; `init` is the text of /init or None."""
        os.mkdir(self.path("initial"))
        image = boot.Image(self.path("initial"))
        os.makedirs(image.root + "/lib", exist_ok=True)
        for path in programs:
            shutil.copy(path, image.root + "/lib")
        if init:
            image.text("/init", init, 0o755)
        return image

    # --- its life ---

    def start(self, words=""):
        """Switches it on."""
        for name in ("qmp", "serial"):
            if os.path.exists(self.path(name)):
                os.unlink(self.path(name))
        self.began = time.monotonic()
        command = [boot.QEMU, "-M", "q35", "-cpu", "max", "-m", "512", "-nodefaults",
                   "-display", "none", "-no-reboot", "-kernel", boot.kernel(),
                   "-initrd", self.initrd,
                   "-append", f"console=ttyS0 panic=-1 quiet loglevel=4 {self.words} {words}",
                   "-drive", f"file={self.disk},if=virtio,format=raw,cache=writeback",
                   "-netdev", f"user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:{self.port}-:22",
                   "-device", "virtio-net-pci,netdev=net,romfile=",
                   "-qmp", f"unix:{self.path('qmp')},server=on,wait=off",
                   "-chardev", f"socket,id=serial,path={self.path('serial')},server=on,wait=off,"
                               f"logfile={self.path('console')},logappend=on",
                   "-serial", "chardev:serial"]
        if os.environ.get("BOOT_ACCEL", "tcg") != "tcg":
            command[3:3] = ["-accel", "kvm"]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL)

    def said(self):
        try:
            with open(self.path("console"), errors="replace") as file:
                return file.read().replace("\r", "")
        except FileNotFoundError:
            return ""

    def wait_said(self, text, more=0):
        """Until the console has it (once more than `more` times); seconds since the start."""
        end = time.monotonic() + DEADLINE
        while self.said().count(text) <= more:
            ended = self.process.poll() is not None
            if ended and self.said().count(text) > more:
                break
            assert not ended, f"it has ended and never said {text!r}:\n{self.said()}"
            assert time.monotonic() < end, f"it never said {text!r}:\n{self.said()}"
            time.sleep(0.05)
        return time.monotonic() - self.began

    def type(self, text):
        """On the serial console."""
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(self.path("serial"))
            for letter in text:
                sock.sendall(letter.encode())
                time.sleep(0.01)  # the line has a small buffer

    def monitor(self, order):
        """What happens outside: "sendkey ctrl-alt-delete"."""
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(self.path("qmp"))
            file = sock.makefile("rw")
            file.readline()
            for line in ({"execute": "qmp_capabilities"},
                         {"execute": "human-monitor-command",
                          "arguments": {"command-line": order}}):
                file.write(json.dumps(line) + "\n")
                file.flush()
                file.readline()

    def wait_end(self):
        """Until the machine is off, or would start again."""
        try:
            assert self.process.wait(DEADLINE) == 0, self.said()
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it does not end:\n{self.said()}") from None
        assert "Kernel panic" not in self.said(), self.said()

    def cut(self):
        """The power fails: what the kernel has not written is lost."""
        self.process.kill()
        self.process.wait()

    def check_disk(self):
        """Nothing to repair and nothing to replay."""
        done = subprocess.run(["e2fsck", "-fn", self.disk], capture_output=True, text=True)
        header = subprocess.run(["dumpe2fs", "-h", self.disk], capture_output=True,
                                text=True).stdout
        assert done.returncode == 0, done.stdout + done.stderr
        assert "needs_recovery" not in header and "state:         clean" in header, header

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        if self.process and self.process.poll() is None:
            self.cut()
        shutil.rmtree(self.folder)


# --- an initramfs alone ---

MOUNT = """
[service:modules]
type = oneshot
command = sh -c "for module in %s; do insmod /lib/$module || exit 1; done"
stderr_logfile = inherit

[service:data]
; The disk, on /data.
type = oneshot
requires = modules
command = sh -c "until [ -b /dev/vda ]; do sleep 0.1; done; mkdir -p /data; mount -t ext4 /dev/vda /data && supervisor reload"
"""


class Small(Machine):
    """The kernel starts the supervisor itself as /init, with nothing mounted."""

    def __init__(self, config, files=None, programs=(), disk=False, settings=""):
        """`disk`: there are services "modules" and "data", which mount it on /data."""
        super().__init__()
        paths = drivers([*DISK, "loop"]) if disk else []
        image = self.pack(None, paths)
        os.symlink("/bin/supervisor", image.root + "/init")
        for folder in ("proc", "sys", "dev"):
            os.rmdir(os.path.join(image.root, folder))  # it makes what is missing
        if disk:
            config = MOUNT % " ".join(os.path.basename(path) for path in paths) + config
        image.text("/etc/supervisor/supervisor.ini", f"[supervisor]\n{settings}\n{config}")
        for path, text in (files or {}).items():
            image.text(path, text, 0o755)
        for source, path in programs:
            image.program(source, path)
        self.initrd = image.pack()
        with open(self.disk, "wb") as file:
            file.truncate(64 << 20)
        subprocess.run(["mke2fs", "-q", "-t", "ext4", self.disk], check=True)


# --- Debian ---

INIT = """#!/bin/sh
export PATH=/bin
mount -t devtmpfs dev /dev
mount -t proc proc /proc
for module in %s; do insmod /lib/$module; done
until [ -b /dev/vda ]; do sleep 0.1; done
mkdir -p /disk
mount -t ext4 -o ro /dev/vda /disk
init=/sbin/init
for word in $(cat /proc/cmdline); do case $word in init=*) init=${word#init=};; esac; done
umount /proc
mount --move /dev /disk/dev
exec switch_root /disk $init
"""
INTERFACES = """auto lo
iface lo inet loopback
auto eth0
iface eth0 inet static
    address 10.0.2.15/24
    gateway 10.0.2.2
"""


def make_base():
    """Debian and the kernel's modules on a disk, once; a machine has a copy."""
    newest = max(os.path.getmtime(path) for path in (TAR, modules(), __file__))
    if os.path.exists(BASE) and os.path.getmtime(BASE) > newest:
        return
    root = tempfile.mkdtemp(prefix="supervisor-debian-")
    try:
        subprocess.run(["tar", "-C", root, "-xf", TAR], check=True)
        os.chmod(root, 0o755)
        shutil.copytree(modules(), f"{root}/lib/modules/{os.path.basename(modules())}")
        for path, text in {"etc/hostname": "machine\n", "etc/network/interfaces": INTERFACES,
                           "etc/fstab": "/dev/vda / ext4 defaults 0 1\n"}.items():
            with open(os.path.join(root, path), "w") as file:
                file.write(text)
        with open(BASE + ".new", "wb") as file:
            file.truncate(DISK_BYTES)
        subprocess.run(["mke2fs", "-q", "-F", "-t", "ext4", "-E", "lazy_itable_init=0", "-d", root,
                        BASE + ".new"], check=True)
        os.rename(BASE + ".new", BASE)
    finally:
        shutil.rmtree(root)


class Debian(Machine):
    def __init__(self, files=None, programs=None, init="/sbin/init"):
        """`files`: {path: text} beside Debian's; `programs`: {path: file of this machine}; `init`:
        another one than ours."""
        super().__init__()
        self.words = f"net.ifnames=0 rdinit=/init init={init}"
        make_base()
        subprocess.run(["cp", "--sparse=always", "--reflink=auto", BASE, self.disk], check=True)
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.path("key")],
                       check=True)
        self.changes = []
        self.put(self.path("key.pub"), "/root/.ssh/authorized_keys", 0o600)
        self.put(boot.BINARY, "/usr/sbin/supervisor", 0o755)
        if init == "/sbin/init":
            self.make_ours()
        for path, text in (files or {}).items():
            self.put_text(path, text)
        for path, source in (programs or {}).items():
            self.put(source, path, 0o755)
        done = subprocess.run(["debugfs", "-w", "-f", "-", self.disk], text=True, check=True,
                              input="\n".join(self.changes) + "\n", capture_output=True)
        bad = [line for line in done.stderr.splitlines()[1:]
               if "already exists" not in line and "not found" not in line]
        assert not bad, done.stderr
        paths = drivers([*DISK, *NETWORK])
        self.initrd = self.pack(INIT % " ".join(os.path.basename(path) for path in paths),
                                paths).pack()

    def put(self, source, path, mode):
        folder = ""
        for name in path.split("/")[1:-1]:
            folder += "/" + name
            self.changes.append(f"mkdir {folder}")
        self.changes += [f"rm {path}", f"write {source} {path}",
                         f"sif {path} mode 0100{mode:03o}", f"sif {path} uid 0",
                         f"sif {path} gid 0"]

    def put_text(self, path, text):
        source = self.path(f"file{len(self.changes)}")
        with open(source, "w") as file:
            file.write(text)
        self.put(source, path, 0o755 if text.startswith("#!") else 0o644)

    def make_ours(self):
        for name in NAMES:
            self.changes += [f"rm /usr/sbin/{name}", f"symlink /usr/sbin/{name} supervisor"]
        example = os.path.join(boot.ROOT, "examples/host-init")
        for folder, _, names in os.walk(example):
            for name in names:
                source = os.path.join(folder, name)
                self.put(source, "/etc/supervisor/" + os.path.relpath(source, example), 0o644)

    def boot(self, words=""):
        """To the login prompt, then to ssh; the seconds of both."""
        before = self.said().count("machine login:")
        self.start(words)
        return self.wait_said("machine login:", before), self.wait_ssh()

    def ssh(self, command, code=0, deadline=DEADLINE):
        done = subprocess.run(
            ["ssh", "-F", "/dev/null", "-i", self.path("key"), "-p", str(self.port),
             "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
             "-o", "LogLevel=ERROR", "-o", "ConnectTimeout=20", "-o", "BatchMode=yes",
             # one key exchange for all: it takes seconds in there
             "-o", "ControlMaster=auto", "-o", "ControlPersist=yes",
             "-o", f"ControlPath={self.path('ssh')}",
             "root@127.0.0.1", command],
            capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=deadline)
        assert code is None or done.returncode == code, \
            f"{command}: exit {done.returncode}\n{done.stdout}{done.stderr}\n{self.said()}"
        return done.stdout

    def end(self, command):
        """An order after which nobody may be there to answer; until the machine is off."""
        assert self.process.poll() is None
        try:
            self.ssh(command, code=None)
        except subprocess.TimeoutExpired:
            pass
        self.wait_end()

    def wait_ssh(self):
        end = time.monotonic() + DEADLINE
        while "yes" not in self.ssh("echo yes", code=None):
            assert self.process.poll() is None and time.monotonic() < end, self.said()
            time.sleep(0.2)
        return time.monotonic() - self.began
