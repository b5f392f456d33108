"""The situations that containers put us into: each must work, and doctor says what holds there.

Every situation is a way to start a program: namespaces, mounts, rights.  In each both forms are
tried: `run -- COMMAND`, and services with a configuration in the default places.
"""
import json
import os
import shutil
import subprocess
import tempfile
import time

import pytest

from harness import BINARY, DEADLINE, SANITIZED, host, needs_mounts  # noqa: F401 (a fixture)

SPREAD = "last"

# What a fresh container has of its own; ours would be those of this machine.
OWN = """
mount -t tmpfs -o mode=755 none /run
mount -t tmpfs -o mode=755 none /var/log
mount -t tmpfs -o mode=755 none /var/lib
mount -t tmpfs -o mode=755 none /etc/supervisor
cp "$FOLDER/supervisor.ini" /etc/supervisor/
"""
READ_ONLY = """
mount -o remount,ro none /run
mount -o remount,ro none /var/log
mount -o remount,ro none /var/lib
mount -o remount,ro none /etc/supervisor
mount --bind / "$FOLDER/mnt"
mount -o remount,bind,ro "$FOLDER/mnt"
mount --rbind /run "$FOLDER/mnt/run"
mount --rbind /var/log "$FOLDER/mnt/var/log"
mount --rbind /var/lib "$FOLDER/mnt/var/lib"
mount --rbind /etc/supervisor "$FOLDER/mnt/etc/supervisor"
mount --rbind /dev "$FOLDER/mnt/dev"
mount -t proc none "$FOLDER/mnt/proc"
"""
NO_CGROUPS = "mount -t tmpfs -o ro none /sys/fs/cgroup\n"
STRANGER = ["setpriv", "--reuid", "UID", "--regid", "UID", "--clear-groups"]
EVERYBODY_ELSE = ["users", "state", "logs"]  # what somebody who is not root has not got


class Situation:
    def __init__(self, name, prepare="", rights=(), pid_1=True, root=False, chroot=False,
                 missing=(), holding=(), unshare=()):
        """`prepare`: shell, as root of the namespaces; `missing`, `holding`: rows of doctor;
        `root`: wants the real one, not that of a user namespace."""
        self.name, self.prepare, self.rights, self.pid_1 = name, prepare, list(rights), pid_1
        self.root, self.chroot, self.missing, self.holding = root, chroot, missing, holding
        self.unshare = list(unshare)

    def command(self, *words):
        start = ["unshare", "--mount", "--net", *self.unshare]
        if os.geteuid() != 0:
            start += ["--user", "--map-root-user"]
        if self.pid_1:
            start += ["--pid", "--fork", "--kill-child", "--mount-proc"]
        script = f"set -e\n{OWN}\n{self.prepare}\nexec \"$@\""
        inside = ["chroot", os.path.join(self.folder, "mnt")] if self.chroot else []
        # Each has a name of its own in /tmp, as in a container.
        uid = str(54321 + SITUATIONS.index(self))
        rights = [uid if word == "UID" else word for word in self.rights]
        return [*start, "sh", "-c", script, "sh", *inside, *rights, BINARY, *words]

    def run(self, *words, input=""):
        return subprocess.run(self.command(*words), input=input, capture_output=True, text=True,
                              timeout=DEADLINE, env=self.environment())

    def environment(self):
        names = ("PATH", "ASAN_OPTIONS", "LD_LIBRARY_PATH")
        return dict({name: os.environ[name] for name in names if name in os.environ},
                    FOLDER=self.folder)


SITUATIONS = [
    Situation("root as PID 1", holding=["users", "state", "logs", "runtime", "exits-of-strangers"]),
    Situation("root, not PID 1", pid_1=False, holding=["state", "logs", "runtime"]),
    Situation("below another init", rights=["sh", "-c", '"$@"; exit $?', "init"]),
    Situation("a uid without a name", rights=STRANGER, root=True, missing=EVERYBODY_ELSE),
    Situation("a uid without a name, not PID 1", rights=STRANGER, pid_1=False, root=True,
              missing=EVERYBODY_ELSE),
    Situation("read-only root", prepare=READ_ONLY, chroot=True,
              missing=["state", "logs", "runtime"]),
    Situation("read-only root and a uid without a name", prepare=READ_ONLY, chroot=True,
              rights=STRANGER, root=True, missing=[*EVERYBODY_ELSE, "runtime"]),
    Situation("noexec /run", prepare="mount -o remount,noexec,nosuid,nodev none /run",
              holding=["runtime"]),
    Situation("no /proc/sys", prepare="mount -t tmpfs -o ro none /proc/sys"),
    Situation("no-new-privs", rights=["setpriv", "--no-new-privs"], missing=["setuid-programs"]),
    Situation("no capabilities", rights=["setpriv", "--bounding-set=-all", "--inh-caps=-all"],
              root=True, missing=["users"], holding=["state", "logs"]),
    Situation("no control groups", prepare=NO_CGROUPS,
              missing=["containment", "limits-memory", "limits-pids", "oom"]),
    Situation("a limit of processes", rights=["prlimit", "--nproc=10", *STRANGER], root=True,
              missing=EVERYBODY_ELSE),
    Situation("a limit of memory", rights=["prlimit", "--as=268435456"]),
    Situation("few descriptors", rights=["prlimit", "--nofile=256:256"], holding=["descriptors"]),
    Situation("all that docker takes away at once",
              prepare=READ_ONLY + 'mount -t tmpfs -o ro none "$FOLDER/mnt/sys"\n'
                                  'mount -t tmpfs -o ro none "$FOLDER/mnt/proc/sys"',
              chroot=True, root=True,
              rights=[*STRANGER, "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"],
              missing=[*EVERYBODY_ELSE, "runtime", "containment", "setuid-programs"]),
    Situation("control groups of its own", unshare=["--cgroup"], root=True,
              prepare="mount -t cgroup2 none /sys/fs/cgroup", holding=["containment"]),
]


@pytest.fixture(params=SITUATIONS, ids=lambda situation: situation.name)
def situation(request):
    found = request.param
    if found.root and os.geteuid() != 0:
        pytest.skip("NOT TESTED as an ordinary user: it needs root")
    folder = tempfile.mkdtemp(prefix="supervisor-container-")
    os.chmod(folder, 0o755)
    os.mkdir(os.path.join(folder, "mnt"))
    found.folder = folder
    with open(os.path.join(folder, "supervisor.ini"), "w") as file:
        file.write("")
    tried = subprocess.run(found.command("version"), capture_output=True, text=True,
                           env=found.environment())
    if tried.returncode != 0:
        shutil.rmtree(folder, ignore_errors=True)
        pytest.skip(f"NOT TESTED, this machine refuses it: {tried.stderr.strip()}")
    yield found
    shutil.rmtree(folder, ignore_errors=True)


COMMAND = """
read -r line; echo "out: $line"; echo "err: $line" >&2
(setsid sh -c 'exec sleep 0' &)         # an orphan, which somebody must reap
trap 'echo "got TERM"; exit 9' TERM
kill -TERM $PPID
while :; do sleep 0.02; done
"""


def test_one_command(situation):
    """Streams as they are, signals passed on, the exit code exact, no words of our own."""
    done = situation.run("run", "--", "sh", "-c", COMMAND, input="hello\n")
    assert (done.returncode, done.stderr) == (9, "err: hello\n")
    assert done.stdout == "out: hello\ngot TERM\n"
    for script, code in (("exit 7", 7), ("kill -KILL $$", 137)):
        assert situation.run("run", "--", "sh", "-c", script).returncode == code


LOOK = """
for word in "status --json web" "doctor --json"; do
    echo "=== $word"
    "$0.supervisor" $word
    echo "CODE $?"
done
exit 7
"""


def section(text, name):
    body, code = text.split(f"=== {name}\n")[1].split("CODE ", 1)
    return json.loads(body), int(code.split("\n")[0])


def test_services(situation):
    folder = situation.folder
    with open(os.path.join(folder, "look"), "w") as file:
        file.write(LOOK)
    with open(os.path.join(folder, "web"), "w") as file:
        file.write("trap 'echo web leaves; exit 0' TERM\necho web is up\necho >&3\n"
                   "while :; do sleep 0.02; done\n")
    os.symlink(BINARY, os.path.join(folder, "look.supervisor"))
    with open(os.path.join(folder, "supervisor.ini"), "w") as file:
        file.write(f"""
[service:web]
command = sh {folder}/web
stdout_logfile = inherit
ready = fd:3

[service:captured]
command = sh -c "echo captured; exec sleep 1000"
startsecs = 0

[service:look]
command = sh {folder}/look
requires = web captured
stdout_logfile = inherit
stderr_logfile = inherit
autorestart = false
startsecs = 0
on_exit = shutdown
""")
    done = situation.run()  # as PID 1 that is `run`
    if not situation.pid_1 or "init" in situation.rights:
        done = situation.run("run")
    said = done.stdout + done.stderr
    assert done.returncode == 7, said
    assert "web is up" in said and "web leaves" in said
    status, code = section(done.stdout, "status --json web")
    assert code == 0 and status["services"][0]["instances"][0]["state"] == "running"
    report, _ = section(done.stdout, "doctor --json")
    rows = {row["id"]: row for row in report["guarantees"]}
    for name in situation.missing:
        assert not rows[name]["holds"] and rows[name]["why"] and rows[name]["remedy"], rows[name]
    for name in situation.holding:
        assert rows[name]["holds"], rows[name]
    # Output that cannot be captured goes where our own goes: it is never lost.
    assert rows["logs"]["holds"] == ("\ncaptured\n" not in "\n" + done.stdout)


# --- less than a container has ---

NO_PROC = "while umount -l /proc 2>/dev/null; do :; done\n"


@pytest.fixture
def without_proc(request):
    if os.geteuid() != 0:
        pytest.skip("NOT TESTED as an ordinary user: it needs root")
    situation = Situation("no /proc", prepare=NO_PROC, rights=request.param)
    SITUATIONS.append(situation)  # for its number
    situation.folder = tempfile.mkdtemp(prefix="supervisor-container-")
    os.chmod(situation.folder, 0o755)
    with open(os.path.join(situation.folder, "supervisor.ini"), "w") as file:
        file.write("[service:a]\ncommand = sh -c \"test -e /proc/self || exit 5\"\n"
                   "autorestart = false\nstartsecs = 0\non_exit = shutdown\n")
    yield situation
    SITUATIONS.remove(situation)
    shutil.rmtree(situation.folder)


@needs_mounts
@pytest.mark.parametrize("without_proc", [[]], indirect=True)
def test_process_1_mounts_proc_if_it_may(without_proc):
    done = without_proc.run()
    assert done.returncode == 0, done.stderr


@needs_mounts
@pytest.mark.parametrize("without_proc", [STRANGER], indirect=True)
def test_without_proc_it_works_all_the_same(without_proc):
    if not SANITIZED:  # which needs /proc itself
        done = without_proc.run()
        assert done.returncode == 5, done.stderr
        assert without_proc.run("run", "--", "sh", "-c", "exit 7").returncode == 7


def test_it_ends_with_its_last_service(host):
    """Not later: a container runtime that waits for us waits for the service alone."""
    s = host(start=False)
    s.write("".join(f"[service:{name}]\ncommand = sh -c \"trap 'sleep {wait}; "
                    f"echo >{s.folder}/{name}; exit 0' TERM; echo >&3; while :; do sleep 0.02; "
                    "done\"\nready = fd:3\n" for name, wait in (("quick", 0), ("slow", 0.5))))
    s.start()
    for name in ("quick:0", "slow:0"):
        s.wait_ready(name)
    assert s.shutdown() == 0
    ended = time.time()
    assert os.path.exists(s.path("quick"))
    assert ended - os.stat(s.path("slow")).st_mtime < (5 if SANITIZED else 0.9)


# --- real runtimes ---

SLOW = pytest.mark.skipif(os.environ.get("SLOW_TESTS") != "1",
                          reason="NOT RUN: with real runtimes, SLOW_TESTS=1 asks for it")
RUNTIMES = {"runc": ["runc"], "crun": ["crun", "--cgroup-manager=disabled"]}
BUNDLE = """
[service:web]
command = sh -c "trap 'echo web leaves; exit 0' TERM; echo >&3; while :; do sleep 0.1; done"
ready = fd:3
stdout_logfile = inherit

[service:up]
type = oneshot
requires = web
command = sh -c "echo all is up; supervisor doctor --json >/dev/null; echo doctor $?"
stdout_logfile = inherit
"""


class Bundle:
    """What a runtime starts: a root with busybox and the supervisor, read-only as `spec` has it."""

    def __init__(self, runtime, folder):
        self.words, self.folder, self.name = RUNTIMES[runtime], str(folder), f"test-{os.getpid()}"
        root = os.path.join(self.folder, "rootfs")
        for name in ("bin", "proc", "dev", "sys", "tmp", "run", "etc/supervisor"):
            os.makedirs(os.path.join(root, name))
        shutil.copy(shutil.which("busybox"), root + "/bin/busybox")
        for name in ("sh", "id", "sleep", "kill", "cat"):
            os.symlink("busybox", f"{root}/bin/{name}")
        shutil.copy(BINARY, root + "/bin/supervisor")
        said = subprocess.run(["ldd", BINARY], capture_output=True, text=True).stdout
        for library in (word for word in said.split() if word.startswith("/")):
            os.makedirs(os.path.dirname(root + library), exist_ok=True)
            shutil.copy(library, root + library)
        with open(root + "/etc/supervisor/supervisor.ini", "w") as file:
            file.write(BUNDLE)
        subprocess.run([self.words[0], "spec"], cwd=self.folder, check=True)

    def start(self, *arguments, uid=0):
        path = os.path.join(self.folder, "config.json")
        with open(path) as file:
            config = json.load(file)
        config["process"].update(terminal=False, args=["/bin/supervisor", *arguments],
                                 user={"uid": uid, "gid": uid})
        with open(path, "w") as file:
            json.dump(config, file)
        return subprocess.Popen([*self.words, "run", "-b", self.folder, self.name],
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT, text=True)

    def kill(self, signal_name):
        subprocess.run([*self.words, "kill", self.name, signal_name], check=True,
                       capture_output=True)

    def close(self):
        subprocess.run([*self.words, "delete", "-f", self.name], capture_output=True)


@pytest.fixture(params=RUNTIMES)
def bundle(request, tmp_path):
    if os.geteuid() != 0 or not shutil.which("busybox"):
        pytest.skip("NOT TESTED: it needs root and busybox")
    if not shutil.which(request.param):
        pytest.skip(f"NOT TESTED: {request.param} is not installed")
    found = Bundle(request.param, tmp_path)
    tried = found.start("version").communicate(timeout=DEADLINE)[0]
    if not tried.startswith("supervisor"):
        pytest.skip(f"NOT TESTED: {request.param} does not work here: {tried.strip()}")
    yield found
    found.close()


@SLOW
@pytest.mark.parametrize("uid", [0, 54321])
def test_a_runtime_runs_one_command(bundle, uid):
    process = bundle.start("run", "--", "sh", "-c", "id -u; echo $$; exit 7", uid=uid)
    said = process.communicate(timeout=DEADLINE)[0]
    assert (process.returncode, said.split()[0]) == (7, str(uid)), said
    process = bundle.start("run", "--", "sh", "-c",
                           "trap 'exit 9' TERM; echo up; while :; do sleep 0.1; done", uid=uid)
    assert process.stdout.readline() == "up\n"
    bundle.kill("TERM")
    assert process.wait(DEADLINE) == 9


@SLOW
@pytest.mark.parametrize("uid", [0, 54321])
def test_a_runtime_runs_services(bundle, uid):
    process = bundle.start(uid=uid)
    said = ""
    while "doctor" not in said:
        line = process.stdout.readline()
        assert line, said
        said += line
    bundle.kill("TERM")  # as `docker stop` does
    said += process.communicate(timeout=DEADLINE)[0]
    assert process.returncode == 0 and "web leaves" in said, said


@SLOW
def test_podman_stops_it_in_order(tmp_path):
    if os.geteuid() != 0 or not shutil.which("podman") or not shutil.which("runc"):
        pytest.skip("NOT TESTED: it needs root, podman and runc")
    root = os.path.join(Bundle("runc", tmp_path).folder, "rootfs")
    words = ["podman", "run", "--rm", "--network", "none", "--runtime", shutil.which("runc"),
             "--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1000:1000"]
    tried = subprocess.run([*words, "--rootfs", root, "/bin/supervisor", "version"],
                           capture_output=True, text=True)
    if tried.returncode != 0:
        pytest.skip(f"NOT TESTED: podman does not work here: {tried.stderr.strip()}")
    name = f"supervisor-test-{os.getpid()}"
    process = subprocess.Popen([*words, "--name", name, "--rootfs", root, "/bin/supervisor"],
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, text=True)
    said = ""
    while "doctor" not in said:
        line = process.stdout.readline()
        assert line, said
        said += line
    subprocess.run(["podman", "stop", "-t", "30", name], check=True, capture_output=True)
    said += process.communicate(timeout=DEADLINE)[0]
    assert process.returncode == 0 and "web leaves" in said, said
