"""Hosts on this machine: each with its own network, processes, disk, first process and sshd.

    with Fleet(3) as fleet:
        fleet.hosts[0].run("supervisor", "status")       # on a host, as root
        fleet.run("deployctl", "status")                 # at the operator's, over real ssh
        fleet.hosts[1].unplug()

The host's files are an overlay: it sees the whole of this machine and changes nothing of it.  Its
first process is `supervisor`, which runs sshd and what examples/ssh says; it was prepared by
examples/ssh/prepare-host.  All of it hangs on processes of ours that die with us (PDEATHSIG, and the
kernel ends a PID namespace with its first process), so nothing is left on the machine, whatever
happens: no named namespace, no bridge, no mount.
"""
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.join(ROOT, os.environ.get("B", "build/release"))
BIN = os.path.join(BUILD, "bin")
DEADLINE = 30.0
PROGRAMS = {"ip": "iproute2", "/usr/sbin/sshd": "openssh-server", "ssh": "openssh-client",
            "ssh-keygen": "openssh-client", "unshare": "util-linux", "nsenter": "util-linux",
            "setpriv": "util-linux", "useradd": "passwd"}
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

NETWORK = """set -e
mount -t tmpfs -o mode=755,size=$2 disks "$1/disks"
ip link set lo up
ip link add br0 type bridge forward_delay 0
ip addr add 10.45.0.254/24 dev br0
ip link set br0 up
echo up
exec sleep infinity
"""

# $1 this fleet's folder, $2 the host's name, $3 the folder of the programs, $4 of the project.
# A second start of a host finds its disk as it was.
BOOT = """set -e
disk=$1/disks/$2
first=
[ -d "$disk/upper" ] || first=yes
mkdir -p "$disk/upper" "$disk/work" "$disk/root"
mount -t overlay -o lowerdir=/,upperdir="$disk/upper",workdir="$disk/work" overlay "$disk/root"
cd "$disk/root"
mount -t proc proc proc
mount --rbind /dev dev
for folder in run tmp srv; do
    [ -d $folder ] || mkdir $folder
done
mount -t tmpfs -o mode=755 run run
mount -t tmpfs -o mode=1777 tmp tmp
mkdir run/sshd
hostname "$2"
if [ "$first" ]; then
    rm -rf srv/web etc/supervisor root/ssh var/lib/supervisor var/log/supervisor
    sed -i '/^deploy:/d; /^web:/d' etc/passwd etc/group etc/shadow etc/gshadow
    mkdir -p usr/local/sbin usr/local/bin root etc/supervisor/conf.d
    cp "$3/supervisor" usr/local/sbin/
    cp "$3/deployctl" usr/local/bin/
    cp -r "$4/examples/ssh" root/ssh
    cp "$1/id.pub" "$1/sshd.ini" "$1/sshd_config" "$1/$2.key" root/
    chmod 600 "root/$2.key"
    mv "root/$2.key" etc/host.key
    mv root/sshd_config etc/sshd_config
    mv root/sshd.ini etc/supervisor/conf.d/
fi
[ -z "$first" ] || chroot . /root/ssh/prepare-host /root/id.pub
exec chroot . /usr/local/sbin/supervisor
"""

# A host that was never prepared: root's login by ssh is all it has.
BARE = BOOT[:BOOT.index('    mkdir -p usr/local/sbin')] + """    rm -f usr/local/sbin/supervisor usr/local/bin/deployctl usr/sbin/supervisor
    rm -rf home/deploy
    rm -rf root/.ssh
    mkdir -p -m 700 root/.ssh
    cp "$1/id.pub" root/.ssh/authorized_keys
    cp "$1/sshd_config" etc/sshd_config
    cp "$1/$2.key" etc/host.key
    chmod 600 etc/host.key root/.ssh/authorized_keys
    chown 0:0 root root/.ssh root/.ssh/authorized_keys
    chmod 700 root
fi
exec chroot . /usr/sbin/sshd -D -e -f /etc/sshd_config
"""

SSHD_INI = """[service:sshd]
command = /usr/sbin/sshd -D -e -f /etc/sshd_config
kill_mode = process
"""

SSHD_CONFIG = """Port 22
HostKey /etc/host.key
PasswordAuthentication no
UsePAM no
PidFile none
"""


class NotHere(Exception):
    """This machine does not allow it; the text says what and why."""


def wait_for(fact, what, deadline=DEADLINE):
    end = time.monotonic() + deadline
    while True:
        value = fact()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"{what} did not happen in {deadline} s")
        time.sleep(0.02)


def check_machine():
    if os.geteuid() != 0:
        raise NotHere("only root may make hosts out of namespaces")
    os.environ["PATH"] = os.environ.get("PATH", "") + ":" + PATH
    for program, package in PROGRAMS.items():
        if not shutil.which(program):
            raise NotHere(f"{program} is missing, install {package}")


def dies_with_us(*words):
    return ["setpriv", "--pdeathsig", "KILL", *words]


def call(words, **more):
    done = subprocess.run(words, capture_output=True, text=True, timeout=DEADLINE, **more)
    if done.returncode != 0:
        raise NotHere(f"{' '.join(words)}: {done.stderr.strip()}")
    return done.stdout


class Host:
    def __init__(self, fleet, number):
        self.fleet, self.number, self.name = fleet, number, f"web{number}"
        self.address = f"10.45.0.{number}"
        self.process = self.pid = None
        self.console = os.path.join(fleet.folder, f"{self.name}.console")

    def begin(self):
        """Starts it; `wait_up` waits until it has booted."""
        with open(self.console, "ab") as console:
            self.process = subprocess.Popen(
                dies_with_us("nsenter", "-t", str(self.fleet.pid), "-m", "-r", "-w", "--",
                             "unshare", "--fork", "--kill-child", "--pid", "--net", "--mount",
                             "--uts", "--ipc", "--propagation", "private", "sh", "-c",
                             BARE if self.fleet.bare else BOOT, "boot",
                             self.fleet.folder, self.name, BIN, ROOT),
                stdin=subprocess.DEVNULL, stdout=console, stderr=console,
                env={"PATH": PATH, "container": "test"})
        children = f"/proc/{self.process.pid}/task/{self.process.pid}/children"

        def first():
            self.alive()
            with open(children) as file:
                return file.read().split()
        self.pid = int(wait_for(first, f"the first process of {self.name}")[0])
        self.plug()

    def alive(self):
        if self.process.poll() is not None:
            raise NotHere(f"{self.name} did not start: " + self.log().strip())

    def wait_up(self):
        def up():
            self.alive()
            if self.fleet.bare:
                return self.fleet.run("ssh", "-F", self.fleet.path("ssh_config"), "-l", "root",
                                      f"{self.name}.example.net", "true", code=None
                                      ).returncode == 0
            return self.run("supervisor", "status", "sshd", code=None).returncode == 0
        wait_for(up, f"the start of {self.name}")

    def plug(self):
        """Its network card, and the cable."""
        v = f"v{self.number}"
        call(["nsenter", "-t", str(self.fleet.pid), "-n", "sh", "-ec",
              f"ip link add {v} type veth peer name eth0 "
              f"address 02:00:00:00:00:{self.number:02x} netns {self.pid}; "
              f""
              f"ip link set {v} master br0 up"])
        call(["nsenter", "-t", str(self.pid), "-n", "sh", "-ec",
              f"ip addr add {self.address}/24 dev eth0; ip link set eth0 up; ip link set lo up"])

    def cable(self, how):
        call(["nsenter", "-t", str(self.fleet.pid), "-n",
              "ip", "link", "set", f"v{self.number}", how])

    def unplug(self):
        self.cable("down")

    def plug_again(self):
        self.cable("up")

    def log(self):
        with open(self.console, errors="replace") as file:
            return file.read()

    def words(self, *words):
        return ["nsenter", "-t", str(self.pid), "-m", "-u", "-i", "-n", "-p", "-r", "-w", "--",
                *words]

    def run(self, *words, code=0, input=None):
        """A command on the host, as root."""
        done = subprocess.run(self.words(*words), capture_output=True, text=True, input=input,
                              timeout=DEADLINE, env={"PATH": PATH, "HOME": "/root"})
        assert code is None or done.returncode == code, \
            f"{self.name}: {' '.join(words)}: exit {done.returncode}\n{done.stdout}{done.stderr}"
        return done

    def processes(self, fact):
        """Pids (as we see them) of its processes for whose command line fact(text) is true."""
        ours = os.readlink(f"/proc/{self.pid}/ns/pid")
        found = []
        for entry in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{entry}/cmdline", "rb") as file:
                    text = file.read().replace(b"\0", b" ").decode(errors="replace")
                if os.readlink(f"/proc/{entry}/ns/pid") == ours and fact(text):
                    found.append(int(entry))
            except OSError:
                pass
        return found

    def status(self):
        return json.loads(self.run("supervisor", "status", "--json", code=None).stdout)

    def web(self):
        """Its instance of the service."""
        return next(s for s in self.status()["services"] if s["name"] == "web")["instances"][0]

    def current(self):
        return self.run("readlink", "/srv/web/current", code=None).stdout.strip()[9:] or None

    def end(self):
        """Pulls the plug: no process of it goes on.  `begin` starts it again, its disk is kept."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


class Fleet:
    disks = "2G"  # all hosts together

    def __init__(self, count=3, bare=False):
        check_machine()
        self.bare = bare
        self.folder = tempfile.mkdtemp(prefix="fleet-")
        self.network, self.started = None, []
        self.hosts = [Host(self, number) for number in range(1, count + 1)]

    def __enter__(self):
        try:
            self.write_files()
            self.begin()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for process in self.started:
            if process.poll() is None:
                process.kill()
            process.wait()
        for host in self.hosts:
            host.end()
        if self.network is not None:
            self.network.kill()
            self.network.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    # --- making it ---

    def path(self, *names):
        return os.path.join(self.folder, *names)

    def write(self, name, text):
        with open(self.path(name), "w") as file:
            file.write(text)

    def write_files(self):
        os.chmod(self.folder, 0o755)
        os.mkdir(self.path("disks"))
        for name in ["id", *(f"{host.name}.key" for host in self.hosts)]:
            call(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", self.path(name)])
        self.write("sshd.ini", SSHD_INI)
        self.write("sshd_config", SSHD_CONFIG)
        self.write("ssh_config", "".join(
            f"Host {host.name}.example.net\n  HostName {host.address}\n  HostKeyAlias {host.name}\n"
            for host in self.hosts)
            + f"Host *\n  IdentityFile {self.path('id')}\n  IdentitiesOnly yes\n"
              f"  UserKnownHostsFile {self.path('known_hosts')}\n"
              "  GlobalKnownHostsFile /dev/null\n  StrictHostKeyChecking yes\n")
        self.know(*self.hosts)
        # The example's own recipe, only more impatient.
        with open(os.path.join(ROOT, "examples", "ssh", "deploy.ini")) as file:
            recipe = file.read()
        names = [f"web[1-{len(self.hosts)}].example.net"]
        self.recipe(recipe.replace("web[1-3].example.net", names[0]))
        self.make_release("1.0")

    def recipe(self, text=None, **changes):
        """Writes deploy.ini; changes: key="value" of keys that stand in it."""
        if text is None:
            with open(self.path("deploy.ini")) as file:
                text = file.read()
        changes = {"bake": "1s", "healthy_for": "0s", **changes}
        lines = []
        for line in text.split("\n"):
            key = line.split("=")[0].strip()
            lines.append(f"{key} = {changes.pop(key)}" if key in changes else line)
            if line == "[rollout]" and not any(
                    text_line.startswith("confirm_within") for text_line in text.split("\n")):
                lines += ["confirm_within = 60s", "ready_timeout = 5s", "max_unreachable = 0"]
            if line == "[fleet]" and "connect_timeout" not in text:
                lines += ["connect_timeout = 3s"]
        assert not changes, f"not in deploy.ini: {changes}"
        self.write("deploy.ini", "\n".join(lines))

    def know(self, *hosts):
        """The hosts whose keys the operator's ssh knows."""
        known = []
        for host in hosts:
            with open(self.path(f"{host.name}.key.pub")) as file:
                known.append(f"{host.name} " + " ".join(file.read().split()[:2]))
        self.write("known_hosts", "\n".join(known) + "\n")

    def make_release(self, version, **files):
        """build/: our hello, and files like never_ready="" that make it a bad one."""
        shutil.rmtree(self.path("build"), ignore_errors=True)
        os.mkdir(self.path("build"))
        shutil.copy(os.path.join(BUILD, "examples", "hello", "hello"), self.path("build"))
        for name, text in {"VERSION": version, **files}.items():
            self.write(os.path.join("build", name.replace("_", "-")), text + "\n")

    def begin(self):
        self.network = subprocess.Popen(
            dies_with_us("unshare", "--net", "--mount", "--propagation", "private",
                         "sh", "-c", NETWORK, "network", self.folder, self.disks),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if self.network.stdout.readline() != "up\n":
            raise NotHere("no network namespace: " + self.network.stderr.read().strip())
        self.pid = self.network.pid
        for host in self.hosts:
            host.begin()
        for host in self.hosts:
            host.wait_up()

    # --- the operator ---

    def words(self, program, *words):
        if program == "deployctl":
            program = os.path.join(BIN, "deployctl")
            words = [words[0], "--ssh-config", self.path("ssh_config"), *words[1:]]
        return ["nsenter", "-t", str(self.pid), "-n", "--", program, *words]

    def run(self, program, *words, code=0, timeout=2 * DEADLINE):
        """A command where the operator is; exit code checked (None: any)."""
        done = subprocess.run(self.words(program, *words), capture_output=True, text=True,
                              stdin=subprocess.DEVNULL, cwd=self.folder, timeout=timeout)
        done.text = done.stdout + done.stderr
        assert code is None or done.returncode == code, \
            f"{' '.join([program, *words])}: exit {done.returncode}, not {code}\n{done.text}"
        return done

    def start(self, program, *words):
        """The same in the background; its output is text of .stdout."""
        process = subprocess.Popen(self.words(program, *words), stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                   cwd=self.folder)
        self.started.append(process)
        return process

    def versions(self):
        """What a visitor of each host sees: ["1.0", "1.0", None]."""
        script = "import sys, urllib.request\nfor a in sys.argv[1:]:\n try: print(urllib.request." \
                 "urlopen(f'http://{a}:8080/', timeout=2).read().decode().split()[2][:-1])\n" \
                 " except OSError: print()"
        done = self.run(sys.executable, "-c", script, *(host.address for host in self.hosts))
        return [line or None for line in done.stdout.split("\n")[:-1]]

    def releases(self):
        """What each host runs, as its supervisor says."""
        return [host.web()["release"] for host in self.hosts]


def stop(pids):
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)


def go_on(pids):
    for pid in pids:
        try:
            os.kill(pid, signal.SIGCONT)
        except ProcessLookupError:
            pass
