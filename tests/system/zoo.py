"""Twenty services of all kinds for the crash tests, and what must always hold of them.

Each start is written down by the service itself: one line "INSTANCE GENERATION PID" in `starts`.
Each holds a lock named after its instance for as long as it lives; whoever finds the lock taken
writes to `doubles` and that file must stay empty (not for `overlap`, where two are right).
"""
import os
import time

from harness import ROOT, alive

SERVE = """#!/bin/sh
# serve [LOCK?] COMMAND...: writes down the start, takes the lock, becomes COMMAND
name=${SUPERVISOR_INSTANCE%.*}
if [ "$1" = lock ]; then
    exec 9>"FOLDER/lock.$name"
    flock -n 9 || echo "$SUPERVISOR_INSTANCE $$" >> FOLDER/doubles
fi
shift
echo "$name ${SUPERVISOR_INSTANCE##*.} $$" >> FOLDER/starts
exec "$@"
"""

COUNT = """
import sys, time
n = 0
while True:
    for _ in range(20):
        n += 1
        sys.stdout.write(f"line {n}\\n")
    sys.stdout.flush()
    time.sleep(0.002)
"""

SERVICES = """
[socket:port]
listen = FOLDER/hello.sock

[service:rock]
command = FOLDER/serve lock sleep 10000
numprocs = 4
startsecs = 0

[service:count]
command = FOLDER/serve lock /usr/bin/python3 -SEu FOLDER/count.py
startsecs = 0
log_format = raw
stdout_logfile_maxbytes = 0

[service:flap]
command = FOLDER/serve lock sh -c "exit 3"
numprocs = 3
startsecs = 1s
backoff_min = 20ms
backoff_max = 100ms

[service:spin]
command = FOLDER/serve lock sh -c "exit 4"
startsecs = 0
exitcodes = 4
backoff_min = 20ms
backoff_max = 100ms

[service:once]
type = oneshot
command = FOLDER/serve lock true

[service:after]
command = FOLDER/serve lock sleep 10000
requires = once
startsecs = 0

[service:hooked]
command = FOLDER/serve lock sleep 10000
startsecs = 0
pre_start = sh -c "echo pre >> FOLDER/hooks"
post_stop = sh -c "echo post >> FOLDER/hooks"

[service:probed]
command = FOLDER/serve lock sleep 10000
ready = exec:test -e FOLDER/serve
ready_interval = 50ms
live = exec:true
live_interval = 50ms

[service:told]
command = FOLDER/serve lock HELLO 0
ready = notify
sockets = port

[service:newline]
command = FOLDER/serve lock sh -c "echo >&5; exec sleep 10000 5>&-"
ready = fd:5

[service:forker]
command = FOLDER/serve lock sh -c "setsid sh -c 'setsid sleep 10000 9>&- & exec sleep 10000 9>&-' & exec sleep 10000"
startsecs = 0

[service:deaf]
command = FOLDER/serve lock sh -c "trap '' TERM; while :; do sleep 10000; done"
startsecs = 0
stopwaitsecs = 100ms

[service:twin]
command = FOLDER/serve free HELLO 0
ready = notify
sockets = port
restart_mode = overlap
numprocs = 2

[service:down]
command = FOLDER/serve lock sleep 10000
autostart = false
startsecs = 0
"""

EXTRA = """
[service:extra]
command = FOLDER/serve lock sleep 10000
numprocs = 2
startsecs = 0
"""

# Those that come to rest in `running`, as services; `flap` and `spin` never rest.
RESTING = ("after", "hooked", "probed", "told", "newline", "forker", "deaf", "twin")


def hello():
    return os.path.join(ROOT, os.environ.get("B", "build/release"), "examples/hello/hello")


class Zoo:
    def __init__(self, supervisor):
        self.supervisor, self.folder = supervisor, supervisor.folder
        self.next_event, self.exits = 1, {}
        self.put("serve", SERVE, 0o755)
        self.put("count.py", COUNT, 0o644)
        self.configure(extra=False)

    def put(self, name, text, mode):
        path = os.path.join(self.folder, name)
        with open(path, "w") as file:
            file.write(text.replace("FOLDER", self.folder))
        os.chmod(path, mode)

    def configure(self, extra):
        text = SERVICES + (EXTRA if extra else "")
        self.supervisor.write(text.replace("FOLDER", self.folder).replace("HELLO", hello()))

    def starts(self):
        """{instance: [pid, ...]} of all that ever started, in order."""
        found = {}
        for line in self.supervisor.text_of("starts").splitlines():
            name, _, pid = line.split()
            found.setdefault(name, []).append(int(pid))
        return found

    def living(self):
        """{instance: {pid, ...}}: session leaders that carry the name of an instance of ours."""
        found = {}
        marker = f"SUPERVISOR_HARNESS={self.folder}".encode()
        for entry in os.listdir("/proc"):
            if not entry.isdigit():
                continue
            try:
                with open(f"/proc/{entry}/environ", "rb") as file:
                    words = file.read().split(b"\0")
                with open(f"/proc/{entry}/stat") as file:
                    fields = file.read().rsplit(")", 1)[1].split()
            except OSError:
                continue
            name = [w for w in words if w.startswith(b"SUPERVISOR_INSTANCE=")]
            if marker not in words or not name or fields[0] in "ZX" or fields[3] != entry:
                continue
            instance = name[0].decode().split("=")[1].rsplit(".", 1)[0]
            found.setdefault(instance, set()).add(int(entry))
        return found

    def check_singles(self):
        assert self.supervisor.text_of("doubles") == ""

    def check_settled(self, instances):
        """Of each running instance exactly the process of status lives, of the others none."""
        living = self.living()
        starts = self.starts()
        for name, row in instances.items():
            service = name.split(":")[0]
            if service in ("flap", "spin"):
                continue
            mains = living.get(name, set()) & set(starts.get(name, []))
            expected = {row["pid"]} if row["pid"] else set()
            assert mains == expected, (name, row, living.get(name))
        strays = set(living) - set(instances)
        assert not strays, strays

    def wait_settled(self, deadline=10):
        """An order that waited in the queue of the socket when its core was killed is carried out
        by the next one: a service may still be restarting."""
        end = time.monotonic() + deadline
        while True:
            try:
                return self.check_settled(self.supervisor.instances())
            except AssertionError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.05)

    def check_numbers(self):
        """The numbered output is complete and in order up to where it is now."""
        text = self.supervisor.text_of("log", "count-0.log")
        lines = text.split("\n")[:-1]
        for number, line in enumerate(lines, 1):
            assert line == f"line {number}", (number, line, lines[max(0, number - 3):number + 3])
        return len(lines)

    def collect(self):
        """Takes the events since the last time; the recorder is a ring and forgets."""
        for event in self.supervisor.events(self.next_event):
            assert event["event"] != "gap", event
            self.next_event = event["seq"] + 1
            if event["event"] == "exit":
                self.exits[event["instance"], event["pid"]] = event  # numbers come round

    def check_exits(self):
        """Each process that was started and is gone has an exit with a status."""
        starts, living = self.starts(), {p for pids in self.living().values() for p in pids}
        self.collect()
        missing = [(name, pid) for name, pids in starts.items() for pid in pids
                   if (name, pid) not in self.exits and pid not in living and alive(pid) is False]
        assert not missing, (len(missing), missing[:5])
        unknown = [e for e in self.exits.values() if e.get("unknown")]
        assert not unknown, unknown[:3]
        for name, pids in starts.items():
            for pid in pids:
                if name.startswith("flap") and (name, pid) in self.exits:
                    how = self.exits[name, pid]  # by itself, or by an order
                    assert how.get("code") == 3 or how.get("signal") in ("TERM", "KILL"), how
