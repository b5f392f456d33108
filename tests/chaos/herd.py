"""A supervisor with services of all kinds that write down what becomes of them, what can be asked
of it while something fails, and what must hold when it is over.

The services are tests/chaos/witness.c: each process has a row in a table in memory (who it is, how
many lines it has written, how it ended).  So what the supervisor says can be compared with what was.
"""
import json
import mmap
import os
import pwd
import shutil
import signal
import socket
import struct
import subprocess
import threading
import time

from faults import Injector, Memory, program
from harness import BINARY, MAY_MOUNT, Failed, Supervisor, children_of, wait_for

PATIENCE = 15.0  # nothing that is meant to happen takes so long
ROW = struct.Struct("40siiIiii")
ALIVE = -1
ONE, TWO = "000001-00000001", "000002-00000002"
USER = "user = root" if os.geteuid() == 0 else ""

SERVICES = """
[service:rock]
COMMON
BACKOFF
command = WITNESS TABLE
numprocs = 2
startsecs = 0
stdout_logfile_maxbytes = 4KB
stdout_logfile_backups = 2000

[service:plain]
COMMON
BACKOFF
command = WITNESS TABLE
startsecs = 0

[socket:port]
listen = FOLDER/web.sock

[service:web]
COMMON
BACKOFF
command = WITNESS TABLE twin
ready = notify
sockets = port
restart_mode = overlap
stdout_logfile_maxbytes = 4KB
stdout_logfile_backups = 2000

[service:probed]
COMMON
BACKOFF
command = WITNESS TABLE
ready = exec:true
ready_interval = 20ms
live = exec:true
live_interval = 500ms

[service:hooked]
COMMON
BACKOFF
command = WITNESS TABLE
startsecs = 0
pre_start = true
post_stop = true

[service:after]
COMMON
BACKOFF
command = WITNESS TABLE
requires = plain
startsecs = 0

[service:flap]
COMMON
command = WITNESS TABLE fail
startsecs = 0
exitcodes = 5
backoff_min = 300ms
backoff_max = 300ms

[service:boxed]
COMMON
BACKOFF
command = WITNESS TABLE
startsecs = 0
WALLS

[service:timed]
COMMON
command = WITNESS TABLE fail
type = scheduled
every = 250ms
exitcodes = 5

[access:lookers]
users = LOOKER
verbs = read restart
services = plain timed

[service:site]
COMMON
BACKOFF
command = bin/witness TABLE
USER
release = FOLDER/site
ready = notify
ready_timeout = 5s
"""

EXTRA = """
[service:extra]
COMMON
BACKOFF
command = WITNESS TABLE
startsecs = 0
"""

# Sandboxes as far as this machine lets us make them; what is left out is named by MISSING_WALLS.
WALLS = "no_new_privs = true\n" + ("seccomp = service\ncapabilities = none\n"
                                   if os.geteuid() == 0 else "")
MISSING_WALLS = []
if os.geteuid() != 0:
    MISSING_WALLS.append("seccomp and capabilities (not root)")
if os.geteuid() == 0 and MAY_MOUNT:
    WALLS += "private_devices = true\nread_only = /etc\nhidden_paths = /mnt\n"
else:
    MISSING_WALLS.append("private_devices, read_only and hidden_paths (no mounts of one's own)")

COMMON = "log_format = raw\nstopwaitsecs = 3s"
BACKOFF = "backoff_min = 10ms\nbackoff_max = 50ms"

STEADY = ("rock:0", "rock:1", "plain:0", "web:0", "probed:0", "hooked:0", "after:0", "site:0",
          "boxed:0")
RESTLESS = ("flap:0", "timed:0")  # they come and go by themselves
ROCKS = ("rock:0", "rock:1")


class Row:
    def __init__(self, index, fields):
        name, self.pid, self.generation, self.lines, self.end, self.second, _ = fields
        self.index, self.instance = index, name.split(b"\0")[0].decode()


class Broken(AssertionError):
    """Something that must always hold does not."""


class Herd:
    def __init__(self, means="calls", settings=""):
        """`means`: what can be made to fail: "calls", "memory", or nothing (None)."""
        self.supervisor = s = Supervisor()
        self.folder, self.settings, self.means = s.folder, settings, means
        self.table = s.path("table")
        self.next_event, self.exits = 1, {}
        self.unanswered, self.refusals = [], []
        self.injector, self.patience, self.writing = None, PATIENCE, threading.Lock()
        for name in (ONE, TWO):
            os.makedirs(s.path("site/releases", name, "bin"))
            shutil.copy(program("witness"), s.path("site/releases", name, "bin/witness"))
        self.configure(extra=False)
        self.start()

    # --- its life ---

    def configure(self, extra):
        text = SERVICES + (EXTRA if extra else "")
        for word, value in (("COMMON", COMMON), ("BACKOFF", BACKOFF), ("USER", USER),
                            ("WITNESS", program("witness")), ("TABLE", self.table),
                            ("WALLS", WALLS), ("LOOKER", pwd.getpwuid(65534).pw_name),
                            ("FOLDER", self.folder)):
            text = text.replace(word, value)
        with self.writing:
            self.supervisor.write(text, "audit_log = %(here)s/audit\n" + self.settings)

    def start(self):
        s = self.supervisor
        command = [BINARY, "run", "-c", s.config, "-s", s.socket]
        environment = s.environment
        if self.means == "calls":
            command = [program("inject"), s.path("inject.sock")] + command
        elif self.means == "memory":
            self.injector = Memory(s.path("memory"))
            environment = dict(environment, **self.injector.environment)
        with open(s.log, "ab") as log:
            s.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                         env=environment)
        s.wait_up()
        if self.means == "calls":
            self.injector = Injector(s.path("inject.sock"))
        s.call("release.switch", path=s.path("site"), id=ONE)
        self.heal()
        self.rocks = self.pids(*ROCKS)

    def close(self):
        if self.injector:
            try:
                self.injector.off()
            except (OSError, ValueError):
                pass
        self.supervisor.close()
        if self.injector:
            self.injector.close()

    # --- asking while something fails ---

    def ask(self, method, **params):
        """The answer, or None when there is none or a refusal.  An answer that does not come at all
        is remembered."""
        try:
            connection = self.supervisor.connect(self.patience)
        except OSError:
            return None
        try:
            return connection.call(method, **params)
        except Failed as refused:
            self.refusals.append(f"{method}: {refused}")
        except socket.timeout:
            self.unanswered.append(method)
        except OSError:
            pass
        finally:
            connection.close()
        return None

    def order(self, verb, *names, **more):
        return self.ask(verb, names=list(names), timeout=PATIENCE, **more)

    def signal(self, name, signum):
        for row in self.rows():
            if row.instance == name and row.end == ALIVE:
                try:
                    os.kill(row.pid, signum)
                except ProcessLookupError:
                    pass

    # --- what is ---

    def rows(self):
        with open(self.table, "rb") as file, \
                mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as table:
            used = struct.unpack_from("Q", table)[0]
            return [Row(i, ROW.unpack_from(table, (i + 1) * ROW.size)) for i in range(used)]

    def status(self):
        return self.supervisor.call("status", names=["all"])

    def instances(self, status=None):
        return {i["id"]: i for s in (status or self.status())["services"] for i in s["instances"]}

    def pids(self, *names):
        rows = self.instances()
        return {name: rows[name]["pid"] for name in names}

    def children(self):
        """Living children of the guardian that are witnesses, as {pid: instance}."""
        found = {}
        for pid in children_of(self.supervisor.process.pid):
            try:
                with open(f"/proc/{pid}/cmdline", "rb") as file:
                    words = file.read().split(b"\0")
                with open(f"/proc/{pid}/stat") as file:
                    state = file.read().rsplit(")", 1)[1].split()[0]
            except OSError:
                continue
            if words[0].endswith(b"witness") and state not in "ZX":
                found[pid] = words[1:2]
        return found

    def descriptors(self, pid):
        try:
            return len(os.listdir(f"/proc/{pid}/fd"))
        except OSError:
            return 0

    # --- afterwards ---

    def patient(self, fact, what):
        """Asks until fact() raises nothing any more; its last complaint counts."""
        end = time.monotonic() + PATIENCE
        while True:
            try:
                return fact()
            except (Broken, OSError) as problem:
                if time.monotonic() > end:
                    raise Broken(f"{what}: {problem}") from problem
                time.sleep(0.004)

    def soon_logged(self, words):
        def fact():
            if words not in self.supervisor.text_of("supervisor.log"):
                raise Broken("not logged yet")
        self.patient(fact, words)

    def heal(self):
        """Nothing fails any more: all that has to run is ordered to, and does."""
        self.refusals = []
        self.configure(extra=False)
        call = self.supervisor.call
        try:
            self.patient(lambda: call("reload"), "reload")
            self.patient(lambda: call("scale", name="plain", count=1), "scale")
            self.patient(lambda: call("start", names=[n for n in STEADY] + ["flap"],
                                      timeout=PATIENCE, wait=False), "start")
        except Failed as refused:
            raise Broken(f"refused although nothing fails: {refused}") from refused
        return self.patient(self.check_settled, "all at rest")

    def check_settled(self):
        status = self.status()
        rows = self.instances(status)
        for name in STEADY:
            row = rows.get(name)
            if not row or row["state"] != "running" or not row["ready"] or row.get("twin_pid"):
                raise Broken(f"{name}: {json.dumps(row)}")
        extra = [name for name in rows if name not in STEADY + RESTLESS]
        if extra:
            raise Broken(f"nobody wants {extra}")
        if rows["timed:0"]["state"] not in ("scheduled", "failed") and not rows["timed:0"]["pid"]:
            raise Broken(f"timed:0: {json.dumps(rows['timed:0'])}")
        if not rows["timed:0"]["next_run"]:
            raise Broken("timed:0 has no next time")
        known = {row["pid"] for name, row in rows.items() if name not in RESTLESS}
        newest = {row.pid: row.instance for row in self.rows()}  # numbers are used again
        living = {pid for pid in self.children() if newest.get(pid) not in RESTLESS}
        if living - {rows[name]["pid"] for name in RESTLESS} != known:
            raise Broken(f"living {living} but known {known}")
        return status

    def check_rocks(self):
        pids = self.pids(*ROCKS)
        if pids != self.rocks:
            raise Broken(f"untouched services have other processes: {pids}, before {self.rocks}")

    def collect(self):
        """New events; numbers without a hole."""
        for event in self.supervisor.events(self.next_event):
            if event["event"] == "gap" or event.get("seq") != self.next_event:
                raise Broken(f"event {self.next_event} is lost: {event}")
            self.next_event = event["seq"] + 1
            if event["event"] == "exit":
                self.exits.setdefault((event["instance"], event["pid"]), []).append(event)

    def check_exits(self):
        """Each process that ended has one exit, with the status that it had."""
        self.collect()
        starts, ended, living = {}, {}, self.children()
        for row in self.rows():
            if row.second:
                raise Broken(f"two of {row.instance} at a time: pid {row.pid}")
            key = (row.instance, row.pid)
            starts[key] = row
            if row.pid and row.pid not in living:
                ended[key] = ended.get(key, 0) + 1
        for key, count in ended.items():
            told = self.exits.get(key, [])
            if len(told) != count:
                raise Broken(f"{key} ended {count} time(s) and has the exits {told}")
            row, last = starts[key], told[-1]
            want = {ALIVE: ("signal", "KILL")}.get(row.end) or (
                ("code", row.end) if row.end <= 128 else
                ("signal", signal.Signals(row.end - 128).name[3:]))
            if last.get(want[0]) != want[1]:
                raise Broken(f"{key} ended with {want}, told was {last}")

    def written(self):
        """{instance: all that is in its log files, oldest first}."""
        folder, files = self.supervisor.path("log"), {}
        for name in os.listdir(folder):
            base, _, number = name.partition(".log")
            files.setdefault(base, []).append((-int(number[1:] or 0), name))
        found = {}
        for base, names in files.items():
            text = b""
            for _, name in sorted(names):
                try:
                    with open(os.path.join(folder, name), "rb") as file:
                        text += file.read()
                except OSError:  # renamed meanwhile: lines are missing, and it is asked again
                    pass
            found[":".join(base.rsplit("-", 1))] = text
        return found

    def check_lines(self):
        """Each line that a service wrote is on file, once, in order."""
        rows, seen = self.rows(), {}
        for instance, text in self.written().items():
            for line in text.split(b"\n"):
                words = line.split()
                if len(words) != 2 or not words[0].isdigit() or not words[1].isdigit():
                    if line:
                        raise Broken(f"{instance}: the log has a line {line[:80]!r}")
                    continue
                index, number = int(words[0]), int(words[1])
                if number != seen.get(index, 0) + 1:
                    raise Broken(f"{instance}: row {index} has line {number} "
                                 f"after {seen.get(index, 0)}")
                seen[index] = number
        for row in rows:
            if row.lines > seen.get(row.index, 0):
                raise Broken(f"{row.instance}: row {row.index} wrote {row.lines} lines, "
                             f"{seen.get(row.index, 0)} are on file")

    def check_audit(self):
        """Each order has a number of its own; what heal() has ordered last is there, and its end."""
        orders, results = {}, {}
        for line in self.supervisor.text_of("audit").splitlines():
            try:
                line = json.loads(line)
            except ValueError:
                continue  # torn, while writing failed
            kind = {"order": orders, "result": results}.get(line["audit"], {})
            if line.get("id") in kind:
                raise Broken(f"two lines of {line['id']} in the audit")
            kind[line.get("id")] = line
        last = [order for order in orders.values() if order.get("verb") == "start"][-1:]
        if not last or not results.get(last[0]["id"], {}).get("ok"):
            raise Broken(f"the audit ends with {last}")

    def check(self):
        status = self.heal()
        self.patient(self.check_rocks, "untouched services")
        self.patient(self.check_exits, "exits")
        self.patient(self.check_lines, "lines")
        self.patient(self.check_audit, "audit")
        if self.unanswered:
            raise Broken(f"no answer to {self.unanswered}")
        return status

    def finish(self):
        """An orderly end, with nothing left."""
        self.patient(self.check_exits, "exits")
        code = self.supervisor.shutdown()
        if code != 0:
            raise Broken(f"the supervisor left with {code}")
        self.check_lines()
        left = [row.pid for row in self.rows() if os.path.exists(f"/proc/{row.pid}") and
                row.end == ALIVE and b"witness" in open(f"/proc/{row.pid}/cmdline", "rb").read()]
        if left:
            raise Broken(f"still alive: {left}")
