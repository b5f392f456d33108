"""Other supervisors of Debian, run beside ours with the same services.

Each is what its package gives, as plainly as it can be: one service is `exec COMMAND`.  A peer is
skipped when its program is not installed.
"""
import os
import signal
import subprocess
import time

STOP_DEADLINE_S = 120


def children(pid):
    """Of all its threads."""
    return [int(child) for task in os.listdir(f"/proc/{pid}/task")
            for child in open(f"/proc/{pid}/task/{task}/children").read().split()]


class Peer:
    """A running peer: .up, .stop() and .pids() are asked for by run."""

    name = program = None
    most = 1000  # services that it can have
    waits_s = 3  # a service that has lived so long is restarted as fast as the peer can

    def __init__(self, here, commands):
        self.here = here
        self.write(commands)
        self.began = time.monotonic_ns()
        self.process = subprocess.Popen(self.words(), cwd=here, stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                        start_new_session=True)

    def write(self, commands):
        """A folder each, with `run`: runit, s6, daemontools."""
        for name, command in commands.items():
            os.makedirs(f"{self.here}/services/{name}")
            with open(f"{self.here}/services/{name}/run", "w") as run:
                run.write(f"#!/bin/sh\nexec {command}\n")
            os.chmod(f"{self.here}/services/{name}/run", 0o755)

    def words(self):
        return [self.program, f"{self.here}/services"]

    def ask_to_stop(self):
        self.process.terminate()

    def stop(self, pids):
        """Milliseconds until none of the services is left."""
        began = time.monotonic_ns()
        self.ask_to_stop()
        left = list(pids)
        while left and time.monotonic_ns() - began < STOP_DEADLINE_S * 1e9:
            if os.path.exists(f"/proc/{left[-1]}"):
                time.sleep(0.001)
            else:
                left.pop()
        return (time.monotonic_ns() - began) / 1e6

    def pids(self):
        """All its own processes: those below it that are no service."""
        found, todo = [], [self.process.pid]
        while todo:
            pid = todo.pop()
            found.append(pid)
            todo += children(pid)
        return [pid for pid in found if not os.readlink(f"/proc/{pid}/exe").endswith("/limit")]

    def end(self):
        """Whatever is left of it goes: first those that would start others anew."""
        try:
            left = self.pids()
        except OSError:
            left = [self.process.pid]
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.process.wait()


class Runit(Peer):
    name, program, most = "runit", "runsvdir", 900

    def ask_to_stop(self):
        self.process.send_signal(signal.SIGHUP)  # TERM to all runsv


class S6(Peer):
    name, program = "s6", "s6-svscan"

    def words(self):
        return [self.program, "-c", "1100", f"{self.here}/services"]


class Daemontools(Peer):
    name, program, most = "daemontools", "svscan", 900

    def ask_to_stop(self):
        self.process.kill()
        folders = [f"{self.here}/services/{name}" for name in os.listdir(f"{self.here}/services")]
        subprocess.run(["svc", "-dx", *folders], check=False)


class Supervisord(Peer):
    name, program = "supervisord", "supervisord"
    waits_s = 1

    def write(self, commands):
        with open(f"{self.here}/supervisord.conf", "w") as out:
            out.write(f"[supervisord]\nlogfile={self.here}/log\npidfile={self.here}/pid\n"
                      "minfds=5000\n")
            for name, command in commands.items():
                out.write(f"[program:{name}]\ncommand={command}\nstdout_logfile=NONE\n"
                          "stderr_logfile=NONE\nstartsecs=0\n")

    def words(self):
        return [self.program, "-n", "-c", f"{self.here}/supervisord.conf"]


ALL = (Runit, S6, Daemontools, Supervisord)
