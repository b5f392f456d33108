"""A Debian with systemd as PID 1, in a machine of its own.

    from manager import boot_systemd, needs_systemd

The root is made by debootstrap once and kept in build/boot/systemd.cpio; `files` ({path: text or
(path of a file to copy, mode)}) go on top.  `script` runs as a unit of its own when the machine is
up; its output comes back in sections, as for boot.boot().
"""
import os
import shutil
import subprocess
import tempfile

import pytest

from boot import QEMU, ROOT, kernel, libraries, sections

ARCHIVE = os.path.join(ROOT, "build/boot/systemd.cpio")
PACKAGES = "systemd,systemd-sysv,dbus,procps,libssl3,libzstd1"
NEEDLESS = ("usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/zoneinfo",
            "usr/lib/udev/hwdb.bin", "var/cache/apt", "var/lib/apt/lists")
DEADLINE = 300
UNIT = """[Unit]
After=multi-user.target
[Service]
Type=oneshot
TimeoutStartSec=240
StandardOutput=null
ExecStart=/bin/sh /run-test.sh
"""
RUN = """exec >/dev/ttyS1 2>&1 </dev/null
sh /test.sh
echo
echo "=== end"
sync
systemctl poweroff -ff
"""


def missing():
    if os.environ.get("SLOW_TESTS") != "1":
        return "a whole machine with systemd: SLOW_TESTS=1 asks for it"
    if os.geteuid() != 0:
        return "only root can make its files (debootstrap)"
    for program in (QEMU, "cpio", "debootstrap"):
        if not shutil.which(program):
            return f"{program} is not installed"
    if not kernel():
        return "no kernel: run tests/boot/kernel"
    return None


def needs_systemd():
    why = missing()
    return pytest.mark.skipif(why is not None, reason=f"NOT RUN: {why}")


def pack(folder, archive):
    with open(archive + ".new", "wb") as out:
        names = subprocess.run(["find", "."], cwd=folder, capture_output=True, check=True)
        subprocess.run(["cpio", "-o", "-H", "newc", "--quiet"], cwd=folder,
                       input=names.stdout, stdout=out, check=True)
    os.replace(archive + ".new", archive)


def base():
    """The archive with Debian in it."""
    if not os.path.exists(ARCHIVE):
        os.makedirs(os.path.dirname(ARCHIVE), exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="supervisor-debian-") as folder:
            subprocess.run(["debootstrap", "--variant=minbase", f"--include={PACKAGES}",
                            "bookworm", folder], check=True, stdout=subprocess.DEVNULL)
            for name in NEEDLESS:
                shutil.rmtree(os.path.join(folder, name), ignore_errors=True)
            pack(folder, ARCHIVE)
    return ARCHIVE


def put(root, path, content):
    target = root + path
    os.makedirs(os.path.dirname(target), exist_ok=True)
    if isinstance(content, str):
        with open(target, "w") as file:
            file.write(content)
        return
    shutil.copy(content[0], target)
    os.chmod(target, content[1])


def boot_systemd(files, script, units=(), deadline=DEADLINE):
    """`units`: names that are enabled before the machine starts."""
    with tempfile.TemporaryDirectory(prefix="supervisor-boot-") as folder:
        root, image = os.path.join(folder, "root"), os.path.join(folder, "initrd")
        everything = {"/etc/hostname": "machine\n", "/test.sh": script, "/run-test.sh": RUN,
                      "/etc/systemd/system/test.service": UNIT, **files}
        for path, content in everything.items():
            put(root, path, content)
        wants = os.path.join(root, "etc/systemd/system/multi-user.target.wants")
        os.makedirs(wants)
        for name in units:
            os.symlink(f"/etc/systemd/system/{name}", os.path.join(wants, name))
        default = os.path.join(root, "etc/systemd/system/default.target.wants")
        os.makedirs(default)
        os.symlink("/etc/systemd/system/test.service", os.path.join(default, "test.service"))
        os.symlink("usr/lib/systemd/systemd", os.path.join(root, "init"))
        pack(root, os.path.join(folder, "top.cpio"))
        with open(image, "wb") as out:
            for name in (base(), os.path.join(folder, "top.cpio")):
                with open(name, "rb") as file:
                    shutil.copyfileobj(file, out)
        console, said = os.path.join(folder, "console"), os.path.join(folder, "said")
        accel = ["-accel", "kvm"] if os.environ.get("BOOT_ACCEL") == "kvm" else []
        command = [QEMU, "-M", "q35", *accel, "-accel", "tcg", "-cpu", os.environ.get("BOOT_CPU", "max"), "-m", "1536",
                   "-nodefaults", "-display", "none", "-no-reboot", "-kernel", kernel(),
                   "-initrd", image, "-append",
                   "console=ttyS0 panic=-1 quiet loglevel=4 rdinit=/init "
                   "systemd.show_status=0 systemd.mask=serial-getty@ttyS0.service",
                   "-serial", f"file:{console}", "-serial", f"file:{said}"]
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


def program(source, path):
    """For `files`: a program and the libraries that it wants."""
    files = {path: (os.path.realpath(source), 0o755)}
    for library in libraries(source):
        files[library.replace("/lib/", "/usr/lib/", 1).replace("/usr/usr/", "/usr/")] = (
            os.path.realpath(library), 0o755)
    return files
