"""The hosts of tests/fleet as a bench: an operator behind a cable of its own, and what all of it cost.

    with Bed(30) as bed:
        cost = bed.measure(["ssh", ...])     # .wall .cpu .hosts_cpu .sent .received .code .text

CPU of the operator is that of the command and all that came of it: what outlives the command (ssh
that keeps a connection) becomes a child of ours, is ended afterwards and counted.  CPU of the hosts
is what their processes and those these waited for have used, by the kernel's clock of 10 ms for each
process.  Bytes are those on the operator's cable, with every header.
"""
import ctypes
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "fleet"))
from fleet import BIN, Fleet, Host, NotHere, call, dies_with_us, wait_for  # noqa: E402

PR_SET_CHILD_SUBREAPER = 36
OPERATOR = "10.45.0.253"
RUN_S = 300          # the longest a command may take
STARTING = 4         # hosts that are started at the same time
TICK = os.sysconf("SC_CLK_TCK")
OPERATOR_SCRIPT = "ip link set lo up && echo up && exec sleep infinity"


class Cost:
    def __init__(self, **figures):
        self.__dict__.update(figures)


class BedHost(Host):
    def release(self):
        """VERSION of what `current` leads to, and how many files there are; None = nothing."""
        root = f"/proc/{self.pid}/root/srv/app"
        try:
            target = os.path.join(root, os.readlink(f"{root}/current").replace("/srv/app/", ""))
            with open(f"{target}/VERSION") as file:
                version = file.read().strip()
            return version, sum(len(names) for _, _, names in os.walk(target))
        except OSError:
            return None


class Bed(Fleet):
    disks = "24G"  # in memory, as it fills
    def __init__(self, count):
        super().__init__(count)
        self.hosts = [BedHost(self, number) for number in range(1, count + 1)]
        self.operator = self.wire = None
        self.address = OPERATOR

    # --- making it ---

    def write_files(self):
        super().write_files()
        with open(self.path("ssh_config")) as file:
            config = file.read()
        config += "  User deploy\n  BatchMode yes\n  LogLevel ERROR\n"
        self.write("ssh_config", config)
        self.write("ssh_kept", config + "  ControlMaster auto\n  ControlPersist 120\n"
                   f"  ControlPath {self.path('kept')}-%C\n")
        self.write("hosts.txt", "".join(f"{host.name}.example.net\n" for host in self.hosts))

    def begin(self):
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        super_hosts, self.hosts = self.hosts, []
        super().begin()  # the network alone
        self.hosts = super_hosts
        self.operator = subprocess.Popen(
            dies_with_us("unshare", "--net", "sh", "-c", OPERATOR_SCRIPT),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        if self.operator.stdout.readline() != "up\n":
            raise NotHere("no network namespace for the operator")
        self.plug_operator()
        for at in range(0, len(self.hosts), STARTING):
            some = self.hosts[at:at + STARTING]
            for host in some:
                host.begin()
            for host in some:
                host.wait_up()
                host.run("install", "-d", "-o", "deploy", "-g", "deploy", "/srv/app")

    def __exit__(self, *_):
        for process in (self.wire, self.operator):
            if process is not None:
                process.kill()
                process.wait()
        super().__exit__()

    def inside(self, pid, script):
        call(["nsenter", "-t", str(pid), "-n", "sh", "-ec", script])

    def plug_operator(self):
        self.inside(self.pid, f"ip link add op type veth peer name eth0 netns {self.operator.pid}; "
                              "ip link set op master br0 up")
        self.inside(self.operator.pid, f"ip addr add {OPERATOR}/24 dev eth0; ip link set eth0 up")

    def stretch(self, one_way_ms):
        """From now on the operator's cable is so long, in each direction."""
        if self.wire is None:
            self.inside(self.pid, "ip link del op")
        else:
            self.wire.kill()
            self.wire.wait()
        self.wire = subprocess.Popen(
            dies_with_us(sys.executable, os.path.join(HERE, "fleet_wire.py"),
                         str(self.operator.pid), str(self.pid), str(one_way_ms)),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        if self.wire.stdout.readline() != "up\n":
            raise NotHere("no TAP devices here (/dev/net/tun)")
        self.inside(self.pid, "ip link set op master br0 up")
        self.inside(self.operator.pid, f"ip addr add {OPERATOR}/24 dev eth0; ip link set eth0 up")

    # --- what it costs ---

    def words(self, program, *words):
        if program == "deployctl":
            program = os.path.join(BIN, "deployctl")
        return ["nsenter", "-t", str(self.operator.pid), "-n", "--", program, *words]

    def cable_bytes(self):
        with open(f"/proc/{self.operator.pid}/net/dev") as file:
            for line in file:
                if line.strip().startswith("eth0:"):
                    figures = line.split(":")[1].split()
                    return int(figures[8]), int(figures[0])
        raise NotHere("the operator has no eth0")

    def host_processes(self):
        """(pid, seconds used by it and by those it waited for) of every process on a host."""
        spaces = {os.readlink(f"/proc/{host.pid}/ns/pid") for host in self.hosts}
        found = []
        for entry in filter(str.isdigit, os.listdir("/proc")):
            try:
                if os.readlink(f"/proc/{entry}/ns/pid") not in spaces:
                    continue
                with open(f"/proc/{entry}/stat") as file:
                    figures = file.read().rsplit(")", 1)[1].split()
                found.append((int(entry), sum(int(figures[i]) for i in range(11, 15)) / TICK))
            except OSError:
                pass
        return found

    def settle(self):
        """Waits until the hosts' sessions are over: their CPU is counted when they are."""
        def quiet():
            return len(self.host_processes()) <= self.resting
        try:
            wait_for(quiet, "the end of all sessions", 10)
        except AssertionError:
            pass

    def rest(self):
        """What runs on the hosts now is what runs when nothing is asked of them."""
        self.resting = len(self.host_processes())

    def children(self):
        with open(f"/proc/self/task/{os.getpid()}/children") as file:
            return set(map(int, file.read().split()))

    def end_leftovers(self, before):
        for pid in self.children() - before:
            os.kill(pid, signal.SIGTERM)
        for pid in self.children() - before:
            os.waitpid(pid, 0)

    def measure(self, words, keep=False, env=None, cwd=None):
        """keep: connections that ssh keeps stay (and are not counted)."""
        def used():
            usage = resource.getrusage(resource.RUSAGE_CHILDREN)
            return usage.ru_utime + usage.ru_stime
        before, cpu = self.children(), used()
        hosts = sum(seconds for _, seconds in self.host_processes())
        sent, received = self.cable_bytes()
        with tempfile.TemporaryFile("w+") as out:
            began = time.monotonic()
            process = subprocess.Popen(self.words(*words), stdin=subprocess.DEVNULL, stdout=out,
                                       stderr=out, cwd=cwd or self.folder,
                                       env={**os.environ, **(env or {})})
            code = process.wait(RUN_S)
            wall = time.monotonic() - began
            out.seek(0)
            text = out.read()
        if not keep:
            self.end_leftovers(before)
            self.settle()
        sent_now, received_now = self.cable_bytes()
        return Cost(wall=wall, cpu=used() - cpu, sent=sent_now - sent,
                    received=received_now - received, code=code, text=text,
                    hosts_cpu=sum(seconds for _, seconds in self.host_processes()) - hosts)

    def wipe(self):
        """Every host without a release again."""
        folders = [f"/proc/{host.pid}/root/srv/app" for host in self.hosts]
        subprocess.run(["find", *folders, "-mindepth", "1", "-delete"], check=True)
