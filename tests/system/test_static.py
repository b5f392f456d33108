"""The static binaries need nothing of the root they run in: no library, no shell, no /etc.

What every container has is there: /proc, /dev/null, /run.  One command needs not even that.

They are another build (minutes), so this runs where `make STATIC=1 all examples` has been made from
these sources, and where SLOW_TESTS=1 asks for it; otherwise it is skipped, loudly.
"""
import json
import os
import shutil
import signal
import subprocess
import tempfile

import pytest

from harness import DEADLINE, ROOT, alive, wait_for

BIN = os.path.join(ROOT, "build/static/bin")
HELLO = os.path.join(ROOT, "build/static/examples/hello/hello")
DEMO = os.path.join(ROOT, "examples/demo/run")
ACCOUNTS = 4242, 4343


def make(*words):
    environment = {name: value for name, value in os.environ.items()
                   if name not in ("B", "CFLAGS", "LDFLAGS") and "MAKE" not in name
                   and name != "MFLAGS"}
    return subprocess.run(["make", "-C", ROOT, "--no-print-directory", *words, "STATIC=1", "all",
                           "examples"], capture_output=True, text=True, env=environment)


@pytest.fixture(scope="module", autouse=True)
def static():
    if os.environ.get("SLOW_TESTS") == "1":
        done = make("-j2")
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    elif make("-q").returncode != 0:
        pytest.skip("NOT RUN: the static binaries are not built: make STATIC=1 all examples, or "
                    "SLOW_TESTS=1")


MOUNTS = """set -e
mount -t proc proc "$0/proc"
mount --bind /dev/null "$0/dev/null"
exec chroot "$0" "$@"
"""


def spaces():
    return ["unshare", *([] if os.geteuid() == 0 else ["--user", "--map-root-user"])]


def enter(root, empty=False):
    """Words before a command that runs in this root, as PID 1 of its own."""
    words = [*spaces(), "--pid", "--fork", "--kill-child", f"--root={root}"]
    if not empty:
        for name in ("proc", "dev", "run"):
            os.makedirs(os.path.join(root, name), exist_ok=True)
        with open(os.path.join(root, "dev/null"), "a"):
            pass
        words[-1:] = ["--mount", "sh", "-c", MOUNTS, root]
    probe = subprocess.run([*words, "/supervisor", "version"], capture_output=True, text=True)
    if probe.returncode != 0 and not probe.stdout:
        pytest.skip(f"NOT RUN: no namespaces for us here: {probe.stderr.strip()}")
    return words


@pytest.fixture
def root():
    """A folder with the programs in it, and nothing else."""
    folder = tempfile.mkdtemp(prefix="static-")
    os.chmod(folder, 0o755)
    for name in ("supervisor", "deployctl"):
        shutil.copy(os.path.join(BIN, name), folder)
    shutil.copy(HELLO, folder)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def test_no_library_and_no_interpreter():
    for name in ("supervisor", "deployctl"):
        said = subprocess.run(["readelf", "-ldW", os.path.join(BIN, name)], capture_output=True,
                              text=True, check=True, env=dict(os.environ, LC_ALL="C")).stdout
        assert "INTERP" not in said and "NEEDED" not in said


def test_one_command_in_an_empty_root(root):
    words = enter(root, empty=True)
    done = subprocess.run([*words, "/supervisor", "run", "--", "/deployctl", "version"],
                          capture_output=True, text=True, timeout=DEADLINE)
    assert (done.returncode, done.stderr) == (0, "") and done.stdout.startswith("deployctl ")
    done = subprocess.run([*words, "/supervisor", "run", "--", "/deployctl", "nonsense"],
                          capture_output=True, text=True, timeout=DEADLINE)
    assert done.returncode == 2
    done = subprocess.run([*words, "/supervisor", "run", "--", "/nothing"], capture_output=True,
                          text=True, timeout=DEADLINE)
    assert done.returncode == 127 and "/nothing" in done.stderr


class Inside:
    """A supervisor in the root, run by root; commands run in there, too."""

    def __init__(self, root, *words):
        self.root, self.words = root, enter(root)
        self.log = open(os.path.join(root, "log"), "w+")
        self.process = subprocess.Popen([*self.words, *words], stdin=subprocess.DEVNULL,
                                        stdout=self.log, stderr=self.log)

    def run(self, *words, code=0):
        done = subprocess.run([*spaces(), f"--root={self.root}", *words], capture_output=True,
                              text=True, timeout=DEADLINE)
        assert code is None or done.returncode == code, done.stdout + done.stderr
        return done

    def status(self):
        done = self.run("/supervisor", "status", "--json", code=None)
        return json.loads(done.stdout) if done.returncode in (0, 3) else None

    def instance(self, service, state):
        """Once it is in this state."""
        def found():
            for one in (self.status() or {"services": []})["services"]:
                if one["name"] == service and one["instances"][0]["state"] == state:
                    return one["instances"][0]
            return None
        try:
            return wait_for(found, f"{service} {state}")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.said()}") from None

    def said(self):
        self.log.flush()
        with open(os.path.join(self.root, "log"), errors="replace") as file:
            return file.read()

    def close(self):
        if self.process.poll() is None:
            self.process.kill()  # unshare --kill-child: its namespace goes with it
            self.process.wait()
        self.log.close()


def outside(inside, pid):
    """What /proc out here says of a process that has this pid in there."""
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{entry}/status") as file:
                said = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
            inner = said.get("NSpid", "").split()[-1:]
            if said["Name"] == "hello" and inner in ([str(pid)], inner if not pid else None) \
                    and os.path.samefile(f"/proc/{entry}/root", inside.root):
                return said
        except OSError:
            pass
    return None


def test_services_in_a_root_without_anything_else(root):
    """Users and groups are what two text files say."""
    uid, gid = ACCOUNTS
    mine = os.geteuid() == 0
    os.makedirs(os.path.join(root, "etc/supervisor/conf.d"))
    with open(os.path.join(root, "etc/passwd"), "w") as file:
        file.write(f"root:x:0:0:::\napp:x:{uid}:{gid}:An app:/home/app:/bin/false\n")
    with open(os.path.join(root, "etc/group"), "w") as file:
        file.write(f"root:x:0:\nown:x:{gid}:\nmore:x:4444:app\nother:x:4445:root\n")
    user = "user = app\n" if mine else ""
    with open(os.path.join(root, "etc/supervisor/conf.d/hello.ini"), "w") as file:
        file.write(f"[service:hello]\ncommand = /hello 0\n{user}startsecs = 0\n"
                   "[service:talk]\ncommand = /deployctl version\ntype = oneshot\n")
    inside = Inside(root, "/supervisor")
    try:
        row = inside.instance("hello", "running")
        inside.instance("talk", "exited")
        assert "deployctl " in inside.run("/supervisor", "logs", "talk").stdout
        if mine:
            said = outside(inside, row["pid"])
            assert said["Uid"].split() == [str(uid)] * 4
            assert said["Gid"].split() == [str(gid)] * 4
            assert "4444" in said["Groups"].split() and "4445" not in said["Groups"].split()
        inside.run("/supervisor", "restart", "hello")
        assert inside.instance("hello", "running")["pid"] != row["pid"]
        inside.run("/supervisor", "stop", "hello")
        inside.instance("hello", "stopped")
        with open(os.path.join(root, "etc/supervisor/conf.d/bad.ini"), "w") as file:
            file.write("[service:bad]\ncommand = /hello 0\nuser = ap\n")
        assert 'no user "ap" on this host, did you mean "app"?' in \
            inside.run("/supervisor", "check").stdout
        os.unlink(os.path.join(root, "etc/supervisor/conf.d/bad.ini"))
        inside.run("/supervisor", "shutdown")
        assert inside.process.wait(DEADLINE) == 0
    finally:
        inside.close()


def test_signals_reach_it_as_pid_1(root):
    inside = Inside(root, "/supervisor", "run", "--", "/hello", "0")
    try:
        def child():
            pids = []
            for entry in filter(str.isdigit, os.listdir("/proc")):
                try:
                    with open(f"/proc/{entry}/stat") as file:
                        fields = file.read().rsplit(")", 1)[1].split()
                    if int(fields[1]) == inside.process.pid:
                        pids.append(int(entry))
                except OSError:
                    pass
            return pids and alive(pids[0]) and os.path.basename(
                os.readlink(f"/proc/{pids[0]}/exe")) == "supervisor" and pids[0]
        init = wait_for(child, "PID 1 of the namespace")
        wait_for(lambda: outside(inside, None), "the service")
        os.kill(init, signal.SIGTERM)
        assert inside.process.wait(DEADLINE) == 0
    finally:
        inside.close()


@pytest.mark.skipif(os.environ.get("SLOW_TESTS") != "1",
                    reason="NOT RUN: the whole demo once more: SLOW_TESTS=1 asks for it")
def test_the_demo_with_static_binaries():
    """Releases over local: connections, a canary, a rollback, crashes; it judges itself."""
    with tempfile.TemporaryDirectory(prefix="t-") as folder:
        os.chmod(folder, 0o755)
        done = subprocess.run([DEMO, BIN], capture_output=True, text=True, timeout=240, cwd=folder,
                              stdin=subprocess.DEVNULL,
                              env={"PATH": "/usr/bin:/bin", "TMPDIR": folder, "HOME": folder})
        assert done.returncode == 0, done.stdout + done.stderr
