"""The guardian with a core and a logger that do as they are told (guardian_host.c).

GUARDIAN_HOST names the program; without it `make` builds it under $B (default build/release).
"""
import fcntl
import os
import pty
import re
import select
import signal
import socket
import struct
import subprocess
import sys
import termios
import time

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
DEADLINE = 20
LIVING, EXITED, UNKNOWN = 0, 1, 2
CLD_EXITED, CLD_KILLED = 1, 2


@pytest.fixture(scope="session")
def host_program():
    if "GUARDIAN_HOST" in os.environ:
        return os.environ["GUARDIAN_HOST"]
    build = os.environ.get("B", "build/release")
    target = f"{build}/tests/system/guardian_host"
    subprocess.run(["make", "-s", f"B={build}", target], cwd=ROOT, check=True)
    return os.path.join(ROOT, target)


def wait_for(fact, what="it"):
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end:
        value = fact()
        if value:
            return value
        time.sleep(0.005)
    raise AssertionError(f"{what} did not happen in {DEADLINE} s")


def stat_of(pid):
    """State and parent of a process, or None when it is gone."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        return fields[0], int(fields[1])
    except (FileNotFoundError, ProcessLookupError):
        return None


def lives(pid):
    stat = stat_of(pid)
    return stat is not None and stat[0] != "Z"


def children(pid):
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            stat = stat_of(int(entry))
            if stat and stat[1] == pid:
                found.append((int(entry), stat[0]))
    return found


class Host:
    """One `guardian_host run`, and the datagrams that its core answers."""

    def __init__(self, program, folder, **environment):
        self.program, self.folder = program, folder
        self.socket_path = str(folder / "control.sock")
        self.logger_path = folder / "logger"
        self.log_path = folder / "log"
        self.environment = dict(os.environ, FAKE_LOGGER=str(self.logger_path), **environment)
        self.processes = []
        self.seen = set()
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.bind(str(folder / "test.sock"))
        self.sock.settimeout(DEADLINE)

    def start(self):
        self.process = subprocess.Popen(
            [self.program, "run", self.socket_path], env=self.environment,
            stdin=subprocess.DEVNULL, stderr=open(self.log_path, "ab"))
        self.processes.append(self.process)
        return self

    def ready(self):
        wait_for(lambda: os.path.exists(self.socket_path), "the core's socket")
        self.header()
        return self

    def send(self, *words):
        self.sock.sendto("\t".join(words).encode(), self.socket_path)

    def ask(self, *words):
        self.send(*words)
        return self.sock.recv(1 << 17).decode()

    def header(self):
        head = dict((key, int(value)) for key, value in
                    (pair.split("=") for pair in self.ask("header").split()))
        self.seen.update((head["guardian_pid"], head["core_pid"]))
        return head

    def records(self):
        rows = {}
        for line in self.ask("list").splitlines():
            kind, instance, pid, exited, code, status, generation = line.split()
            rows[instance] = dict(kind=kind, pid=int(pid), exited=int(exited), code=int(code),
                                  status=int(status), generation=int(generation))
        return rows

    def spawn(self, instance, script):
        pid = int(self.ask("spawn", instance, script))
        self.seen.add(pid)
        return pid

    def ended(self, instance):
        """The record of an instance once its exit is in the ledger."""
        def look():
            row = self.records()[instance]
            return row if row["exited"] != LIVING else None
        return wait_for(look, f"the exit of {instance}")

    def kill_core(self, signum=signal.SIGKILL):
        """Kills the core, returns the header as its successor sees it."""
        before = self.header()
        os.kill(before["core_pid"], signum)
        wait_for(lambda: not lives(before["core_pid"]), "the end of the core")
        after = self.header()
        assert after["core_pid"] != before["core_pid"]
        return after

    def log(self):
        return self.log_path.read_text()

    def logger_names(self):
        try:
            lines = self.logger_path.read_text().split()
        except FileNotFoundError:
            return 0, set()
        return int(lines[0]), set(lines[1:])

    def stop(self):
        for process in self.processes:
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(DEADLINE)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
        # Each of the two replaces the other when it is killed: all at once, until none is left.
        deadline = time.monotonic() + DEADLINE
        while time.monotonic() < deadline:
            living = [pid for pid in self.seen | {self.logger_names()[0]} | self.relatives()
                      if pid > 1 and lives(pid)]
            if not living:
                break
            for pid in living:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
        self.sock.close()

    def relatives(self):
        """Guardians and cores of this host, by the socket in their command line."""
        found = set()
        for entry in os.listdir("/proc"):
            try:
                words = open(f"/proc/{entry}/cmdline", "rb").read().split(b"\0")
            except OSError:
                continue
            if entry.isdigit() and self.socket_path.encode() in words:
                found.add(int(entry))
        return found


@pytest.fixture
def new_host(host_program, tmp_path):
    hosts = []

    def make(**environment):
        host = Host(host_program, tmp_path, **environment)
        hosts.append(host)
        return host.start()

    yield make
    for host in hosts:
        host.stop()


# The core dies


def test_services_outlive_the_core(new_host):
    host = new_host().ready()
    pid = host.spawn("web:0", "sleep 100")
    assert stat_of(pid)[1] == host.process.pid  # a child of the guardian, not of the core
    for restarts in range(1, 6):
        assert host.kill_core()["core_restarts"] == restarts
        assert host.records()["web:0"]["pid"] == pid
        assert lives(pid)
    os.kill(pid, signal.SIGSEGV)
    row = host.ended("web:0")
    assert (row["exited"], row["status"]) == (EXITED, signal.SIGSEGV)
    assert not stat_of(pid)  # reaped


def test_an_exit_while_there_is_no_core_is_known(new_host, tmp_path):
    host = new_host().ready()
    go = tmp_path / "go"
    os.mkfifo(go)
    host.spawn("web:0", f"read x < {go}; exit 37")
    core = host.header()["core_pid"]
    os.kill(core, signal.SIGSTOP)  # nobody is there to look
    go.write_text("now\n")
    wait_for(lambda: not any(state != "Z" for pid, state in children(host.process.pid)
                             if pid != core), "the exit")
    os.kill(core, signal.SIGKILL)
    wait_for(lambda: not lives(core), "the end of the core")
    row = host.records()["web:0"]
    assert (row["exited"], row["code"], row["status"]) == (EXITED, CLD_EXITED, 37)


def test_a_stopped_core_does_not_stop_the_guardian(new_host):
    host = new_host().ready()
    pids = [host.spawn(f"web:{i}", "sleep 100") for i in range(20)]
    core = host.header()["core_pid"]
    os.kill(core, signal.SIGSTOP)
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    for pid in pids:
        wait_for(lambda: stat_of(pid) is None, "reaping without the core")
    os.kill(core, signal.SIGCONT)
    rows = host.records()
    assert all(rows[f"web:{i}"]["status"] == signal.SIGKILL for i in range(20))


def test_what_the_core_sent_before_it_died_is_kept(new_host):
    host = new_host().ready()
    for i in range(5):
        host.send("put-and-die", f"socket.web.{i}")
        assert f"socket.web.{i}" in wait_for(lambda: host.ask("names"), "an answer").split()


def test_a_core_that_keeps_dying_is_restarted_ever_slower(new_host):
    host = new_host(FAKE_CORE="die")
    wait_for(lambda: host.log().count("core died") >= 8, "eight deaths")
    stamps = [line.split()[0] for line in host.log().splitlines() if "core died" in line]
    seconds = [float(stamp[17:26]) for stamp in stamps[:8]]
    gaps = [(b - a) % 60 for a, b in zip(seconds, seconds[1:])]
    assert gaps[6] > 0.2 and min(gaps[:3]) < gaps[6]
    assert host.process.poll() is None


def test_three_deaths_while_loading_empty_the_ledger(new_host):
    host = new_host().ready()
    pid = host.spawn("web:0", "sleep 100")
    host.environment["FAKE_CORE"] = "loading"
    # The environment of a running guardian cannot be changed: the next one takes over.
    core = host.header()["core_pid"]
    os.kill(host.process.pid, signal.SIGSTOP)
    os.kill(core, signal.SIGSTOP)
    os.kill(host.process.pid, signal.SIGKILL)
    os.kill(core, signal.SIGKILL)
    host.process.wait()
    wait_for(lambda: not lives(core), "the end of the core")
    os.unlink(host.socket_path)
    host.start().ready()
    assert host.header()["rebuilt"] == 1
    assert host.records()["web:0"]["kind"] == "free"
    assert lives(pid)
    assert host.log().count("core died, starting") == 3
    assert "empty one" in host.log()


def test_a_configuration_error_ends_it(new_host):
    host = new_host(FAKE_CORE="config")
    assert host.process.wait(DEADLINE) == 1
    assert not os.path.exists(host.socket_path + ".ledger")


# Leaving


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT,
                                    signal.SIGUSR2, signal.SIGRTMIN + 4])
def test_signals_order_a_shutdown(new_host, signum):
    host = new_host().ready()
    pid = host.spawn("web:0", "sleep 100")
    host.process.send_signal(signum)
    assert host.process.wait(DEADLINE) == 0
    assert not stat_of(pid)  # nothing is left behind
    assert not os.path.exists(host.socket_path + ".ledger")


def test_orders_are_counted(new_host):
    host = new_host(FAKE_DEAF="1").ready()
    for _ in range(2):
        before = host.header()["reload_orders"]
        host.process.send_signal(signal.SIGHUP)
        wait_for(lambda: host.header()["reload_orders"] == before + 1, "a reload order")
    for n in (1, 2):
        host.process.send_signal(signal.SIGTERM)
        wait_for(lambda: host.header()["shutdown_orders"] == n, "a shutdown order")
    assert host.header()["shutdown_signal"] == signal.SIGTERM
    host.send("finish", "0")
    assert host.process.wait(DEADLINE) == 0


def test_the_exit_code_is_the_core_s(new_host):
    host = new_host().ready()
    host.send("finish", "42")
    assert host.process.wait(DEADLINE) == 42


def test_what_ignores_term_is_killed_at_the_end(new_host):
    host = new_host().ready()
    pid = host.spawn("web:0", "trap '' TERM; setsid sh -c 'trap \"\" TERM; while :; do sleep 1; "
                              "done' & while :; do sleep 1; done")
    wait_for(lambda: children(pid), "the second process")
    second = children(pid)[0][0]
    host.send("finish", "0")
    assert host.process.wait(DEADLINE) == 0
    assert not lives(pid) and not lives(second)


def test_a_shutdown_without_any_core(new_host):
    host = new_host(FAKE_CORE="die")
    wait_for(lambda: host.log().count("core died") >= 6, "a hopeless core")
    host.process.send_signal(signal.SIGTERM)
    assert host.process.wait(DEADLINE) == 1
    assert "no core stays alive" in host.log()


def test_a_second_supervisor_is_refused(new_host, host_program):
    host = new_host().ready()
    second = subprocess.run([host_program, "run", host.socket_path], capture_output=True,
                            text=True, timeout=DEADLINE)
    assert second.returncode == 1
    assert f"pid {host.process.pid}" in second.stderr
    assert host.header()["core_restarts"] == 0


# Orphans


def test_a_storm_of_orphans_leaves_no_zombie(new_host):
    host = new_host().ready()
    host.spawn("storm:0", "i=0; while [ $i -lt 2000 ]; do (true & ) ; i=$((i+1)); done; exit 5")
    row = host.ended("storm:0")
    assert (row["code"], row["status"]) == (CLD_EXITED, 5)
    wait_for(lambda: host.header()["orphans"] >= 2000, "2000 orphans")
    wait_for(lambda: not any(state == "Z" for _, state in children(host.process.pid)),
             "no zombie")


def test_idle_means_asleep(new_host):
    host = new_host().ready()
    host.ask("log", "0")
    wait_for(lambda: host.logger_names()[0], "the logger")

    def switches():
        with open(f"/proc/{host.process.pid}/status") as file:
            return int(re.search(r"voluntary_ctxt_switches:\s+(\d+)", file.read()).group(1))
    # Two equal readings half a second apart; a guardian that polls never gives them.
    def quiet():
        before = switches()
        select.select([], [], [], 0.5)
        return switches() == before
    wait_for(quiet, "silence")


# The logger


def test_the_logger_gets_its_pipes(new_host):
    host = new_host().ready()
    assert host.logger_names()[0] == 0  # nothing to log yet
    host.ask("log", "0")
    pid = wait_for(lambda: host.logger_names()[0], "the logger")
    names = host.logger_names()[1]
    assert names >= {"ledger", "streams", "poke", "poke.logger", "hold.r", "hold.w", "log.0.r"}
    assert not names & {"log.0.w", "control", "channel", "recorder"}
    host.ask("log", "1")
    wait_for(lambda: "log.1.r" in host.logger_names()[1], "a second pipe")
    host.ask("drop", "log.0.r")
    wait_for(lambda: "log.0.r" not in host.logger_names()[1], "the drop")
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: host.logger_names()[0] not in (0, pid), "another logger")
    assert "log.1.r" in host.logger_names()[1]
    assert host.header()["logger_restarts"] == 1


def test_a_stopped_logger_stops_nobody(new_host):
    host = new_host().ready()
    host.ask("log", "0")
    pid = wait_for(lambda: host.logger_names()[0], "the logger")
    os.kill(pid, signal.SIGSTOP)
    for i in range(1, 300):
        host.ask("log", str(i))
    host.spawn("web:0", "exit 3")
    assert host.ended("web:0")["status"] == 3
    os.kill(pid, signal.SIGCONT)
    wait_for(lambda: "log.299.r" in host.logger_names()[1], "the last pipe")
    assert len([name for name in host.logger_names()[1] if name.startswith("log.")]) == 300


# The guardian dies


def guardian_dies(host):
    """SIGKILL for the guardian: the core becomes the guardian, in its own pid."""
    before = host.header()
    os.kill(before["guardian_pid"], signal.SIGKILL)
    host.process.wait()
    after = wait_for(lambda: (lambda head: head if head["guardian_pid"] == before["core_pid"]
                              else None)(host.header()), "the takeover")
    return before, after


def test_the_core_takes_over_from_a_dead_guardian(new_host):
    host = new_host().ready()
    old = host.spawn("old:0", "sleep 100")
    before, after = guardian_dies(host)
    assert after["guardian_restarts"] == 1
    assert after["core_pid"] != before["core_pid"]
    assert lives(old) and host.records()["old:0"]["pid"] == old
    new = host.spawn("new:0", "sleep 100")
    assert stat_of(new)[1] == after["guardian_pid"]
    os.kill(new, signal.SIGKILL)
    row = host.ended("new:0")
    assert (row["exited"], row["status"]) == (EXITED, signal.SIGKILL)


def kernel_tells_strangers():
    major, minor = (int(part) for part in re.match(r"(\d+)\.(\d+)", os.uname().release).groups())
    return (major, minor) >= (6, 15)


@pytest.mark.parametrize("script,code,status", [("read x < {}; exit 0", CLD_EXITED, 0),
                                                ("read x < {}; exit 37", CLD_EXITED, 37),
                                                ("read x < {}; kill -KILL $$", CLD_KILLED, 9)])
def test_exits_of_strangers_are_seen(new_host, tmp_path, script, code, status):
    host = new_host().ready()
    go = tmp_path / "go"
    os.mkfifo(go)
    host.spawn("old:0", script.format(go))
    guardian_dies(host)
    go.write_text("now\n")
    row = host.ended("old:0")
    if kernel_tells_strangers():
        assert (row["exited"], row["code"], row["status"]) == (EXITED, code, status)
    else:
        assert row["exited"] in (EXITED, UNKNOWN)


def test_an_exit_while_nobody_looked_is_unknown(new_host, tmp_path):
    host = new_host().ready()
    pid = host.spawn("old:0", "sleep 100")
    core = host.header()["core_pid"]
    os.kill(core, signal.SIGSTOP)
    os.kill(host.process.pid, signal.SIGKILL)
    host.process.wait()
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: stat_of(pid) is None, "reaping by somebody else")
    os.kill(core, signal.SIGCONT)
    assert host.ended("old:0")["exited"] == UNKNOWN


def test_the_old_logger_leaves_before_a_new_one_starts(new_host):
    host = new_host().ready()
    host.ask("log", "0")
    old = wait_for(lambda: host.logger_names()[0], "the logger")
    os.kill(old, signal.SIGSTOP)  # it cannot leave by itself
    guardian_dies(host)
    new = wait_for(lambda: host.logger_names()[0] not in (0, old) and host.logger_names()[0],
                   "another logger")
    assert not lives(old)
    assert stat_of(new)[1] == host.header()["guardian_pid"]


def test_the_new_guardian_holds_the_lock_and_shuts_down(new_host, host_program):
    host = new_host().ready()
    pid = host.spawn("old:0", "sleep 100")
    _, after = guardian_dies(host)
    second = subprocess.run([host_program, "run", host.socket_path], capture_output=True,
                            text=True, timeout=DEADLINE)
    assert second.returncode == 1 and f"pid {after['guardian_pid']}" in second.stderr
    os.kill(after["guardian_pid"], signal.SIGTERM)
    wait_for(lambda: not lives(after["guardian_pid"]), "the shutdown")
    assert not lives(pid)
    assert not os.path.exists(host.socket_path + ".ledger")


def test_a_fresh_run_takes_over_when_both_died(new_host):
    host = new_host().ready()
    keeps = host.spawn("keeps:0", "sleep 100")
    goes = host.spawn("goes:0", "sleep 100")
    core = host.header()["core_pid"]
    os.kill(core, signal.SIGSTOP)
    os.kill(host.process.pid, signal.SIGKILL)
    host.process.wait()
    os.kill(core, signal.SIGKILL)
    os.kill(goes, signal.SIGKILL)
    wait_for(lambda: not lives(core) and stat_of(goes) is None, "both deaths")
    os.unlink(host.socket_path)
    host.start().ready()
    rows = host.records()
    assert rows["keeps:0"]["pid"] == keeps and rows["keeps:0"]["exited"] == LIVING
    assert rows["goes:0"]["exited"] == UNKNOWN
    os.kill(keeps, signal.SIGKILL)
    row = host.ended("keeps:0")
    if kernel_tells_strangers():
        assert (row["exited"], row["status"]) == (EXITED, signal.SIGKILL)


def test_a_fresh_run_waits_for_the_old_logger(new_host):
    host = new_host().ready()
    pid = host.spawn("keeps:0", "sleep 100")
    host.ask("log", "0")
    logger = wait_for(lambda: host.logger_names()[0], "the logger")
    core = host.header()["core_pid"]
    for stopped in (logger, core):
        os.kill(stopped, signal.SIGSTOP)
    os.kill(host.process.pid, signal.SIGKILL)
    host.process.wait()
    os.kill(core, signal.SIGKILL)
    wait_for(lambda: not lives(core), "the end of the core")
    os.unlink(host.socket_path)
    host.start()  # the logger still has the ledger, and its lock
    wait_for(lambda: stat_of(host.process.pid)[0] == "S", "the wait for the lock")
    os.kill(logger, signal.SIGCONT)
    host.ready()
    assert host.records()["keeps:0"]["pid"] == pid


# Upgrade


def test_an_upgrade_keeps_everything(new_host, host_program, tmp_path):
    host = new_host().ready()
    pid = host.spawn("web:0", "sleep 100")
    host.ask("log", "0")
    logger = wait_for(lambda: host.logger_names()[0], "the logger")
    new = tmp_path / "new-binary"
    new.write_bytes(open(host_program, "rb").read())
    new.chmod(0o755)
    host.send("upgrade", str(new))
    wait_for(lambda: os.path.realpath(f"/proc/{host.process.pid}/exe") == str(new), "the exec")
    head = host.header()
    assert os.path.realpath(f"/proc/{head['core_pid']}/exe") == str(new)
    assert head["guardian_pid"] == host.process.pid
    assert stat_of(pid)[1] == host.process.pid
    wait_for(lambda: host.logger_names()[0] != logger, "the new logger")
    os.kill(pid, signal.SIGKILL)
    assert host.ended("web:0")["status"] == signal.SIGKILL


def test_an_upgrade_that_cannot_be_executed_changes_nothing(new_host, host_program):
    host = new_host().ready()
    pid = host.spawn("web:0", "sleep 100")
    host.send("upgrade", "/nowhere/supervisor")
    head = host.header()
    assert os.path.realpath(f"/proc/{head['guardian_pid']}/exe") == os.path.realpath(host_program)
    assert lives(pid)
    assert "/nowhere/supervisor" in host.log()


# run -- COMMAND


def run_alone(program, *command, **options):
    return subprocess.run([program, "run", "--", *command], capture_output=True, text=True,
                          timeout=DEADLINE, **options)


@pytest.mark.parametrize("script,code", [("exit 0", 0), ("exit 7", 7), ("kill -TERM $$", 143),
                                         ("kill -KILL $$", 137)])
def test_alone_exit_codes(host_program, script, code):
    assert run_alone(host_program, "sh", "-c", script).returncode == code


def test_alone_passes_the_streams_through(host_program):
    done = run_alone(host_program, "sh", "-c", "cat; echo error >&2", input="hello")
    assert (done.stdout, done.stderr, done.returncode) == ("hello", "error\n", 0)


def test_alone_not_found_and_not_executable(host_program, tmp_path):
    missing = run_alone(host_program, "no-such-command-here")
    assert missing.returncode == 127 and "no-such-command-here" in missing.stderr
    plain = tmp_path / "plain"
    plain.write_text("not a program")
    denied = run_alone(host_program, str(plain))
    assert denied.returncode == 126 and str(plain) in denied.stderr
    plain.chmod(0o755)
    strange = run_alone(host_program, str(plain))
    assert strange.returncode == 126 and "format" in strange.stderr
    plain.write_text("#!/no/such/interpreter\n")
    assert run_alone(host_program, str(plain)).returncode == 127


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1,
                                    signal.SIGUSR2, signal.SIGWINCH, signal.SIGRTMIN + 5])
def test_alone_forwards_signals(host_program, signum):
    script = (f"import signal; signal.pthread_sigmask(signal.SIG_BLOCK, [{int(signum)}]); "
              f"print('up', flush=True); print(int(signal.sigwait([{int(signum)}])), flush=True)")
    process = subprocess.Popen([host_program, "run", "--", sys.executable, "-c", script],
                               stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "up\n"
    process.send_signal(signum)
    assert process.stdout.readline() == f"{int(signum)}\n"
    assert process.wait(DEADLINE) == 0


def test_alone_reaps_orphans(host_program):
    process = subprocess.Popen(
        [host_program, "run", "--", "sh", "-c",
         "i=0; while [ $i -lt 200 ]; do (true & ); i=$((i+1)); done; echo done; read x"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "done\n"
    wait_for(lambda: [state for _, state in children(process.pid)] in (["S"], ["R"]), "one child")
    process.communicate("\n", timeout=DEADLINE)


def test_alone_leaves_nothing_behind(host_program):
    process = subprocess.Popen(
        [host_program, "run", "--", "sh", "-c",
         "setsid sh -c 'trap \"\" TERM; echo $$; while :; do sleep 1; done' & "
         "setsid sleep 100 & read x; exit 9"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    stubborn = int(process.stdout.readline())
    process.stdin.write("\n")
    process.stdin.flush()
    wait_for(lambda: children(process.pid) and
             all(pid == stubborn or state == "Z" for pid, state in children(process.pid)),
             "the end of the main process and of the meek one")
    assert lives(stubborn)  # it has ten seconds
    process.send_signal(signal.SIGTERM)  # which a TERM cuts short
    assert process.wait(DEADLINE) == 9
    assert not lives(stubborn)


class Terminal:
    """A program in a session of its own on a pseudo-terminal."""

    def __init__(self, *command):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execv(command[0], command)
        self.text = ""

    def expect(self, wanted):
        end = time.monotonic() + DEADLINE
        while wanted not in self.text:
            ready, _, _ = select.select([self.fd], [], [], max(0, end - time.monotonic()))
            assert ready, f"{wanted!r} is not in {self.text!r}"
            try:
                self.text += os.read(self.fd, 4096).decode()
            except OSError:
                raise AssertionError(f"{wanted!r} is not in {self.text!r}")
        self.text = self.text.split(wanted, 1)[1]

    def type(self, text):
        os.write(self.fd, text.encode())

    def foreground(self):
        return struct.unpack("i", fcntl.ioctl(self.fd, termios.TIOCGPGRP, b"    "))[0]

    def close(self):
        os.close(self.fd)
        try:
            os.kill(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        os.waitpid(self.pid, 0)


def test_alone_gives_the_terminal_to_the_command(host_program):
    terminal = Terminal(host_program, "run", "--", "sh", "-c",
                        "echo pid $$.; read x; echo got $x.; read y")
    try:
        terminal.expect("pid ")
        terminal.expect(".")
        assert terminal.foreground() != terminal.pid
        terminal.type("hello\n")
        terminal.expect("got hello.")
        terminal.type("\x03")
        _, status = os.waitpid(terminal.pid, 0)
        assert os.WIFEXITED(status) and os.WEXITSTATUS(status) == 130
    finally:
        os.close(terminal.fd)


def test_alone_job_control(host_program):
    """Ctrl-Z stops the whole job, fg continues it, under a shell with job control."""
    terminal = Terminal("/bin/bash", "--norc", "--noprofile", "-i")
    try:
        terminal.type("PS1='ready''> '\n")
        terminal.expect("ready> ")
        terminal.type(f"{host_program} run -- sh -c 'echo up.; read x; echo got $x.'\n")
        terminal.expect("up.\r\n")
        terminal.type("\x1a")
        terminal.expect("Stopped")
        terminal.expect("ready> ")
        terminal.type("fg\n")
        terminal.expect("run -- ")
        terminal.type("again\n")
        terminal.expect("got again.")
        terminal.expect("ready> ")
    finally:
        terminal.close()


def test_alone_a_stop_that_nobody_could_undo_is_undone(host_program):
    """As a container's entrypoint there is no shell to continue a stopped command."""
    terminal = Terminal(host_program, "run", "--", "sh", "-c", "echo up.; read x; echo got $x.")
    try:
        terminal.expect("up.\r\n")
        terminal.type("\x1a")
        terminal.expect("^Z")
        terminal.type("on\n")
        terminal.expect("got on.")
    finally:
        terminal.close()


# PID 1


def in_pid_namespace(program, *words):
    return ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child", program, *words]


needs_namespaces = pytest.mark.skipif(
    subprocess.run(["unshare", "--pid", "--fork", "--mount-proc", "true"],
                   capture_output=True).returncode != 0,
    reason="no right to make a pid namespace")


@needs_namespaces
def test_alone_as_pid_1(host_program):
    script = ("setsid sh -c 'trap \"\" TERM; exec sleep 100' & "
              "i=0; while [ $i -lt 50 ]; do (true & ); i=$((i+1)); done; "
              "while grep -ls '^State:.*zombie' /proc/[0-9]*/status; do sleep 0.01; done; "
              "echo $$ $PPID; exit 12")
    process = subprocess.Popen(in_pid_namespace(host_program, "run", "--", "sh", "-c", script),
                               stdout=subprocess.PIPE, text=True)
    words = process.stdout.read().split() if process.wait(DEADLINE) is not None else []
    assert words[-1] == "1"
    assert process.returncode == 12


@needs_namespaces
def test_the_whole_as_pid_1(host_program, tmp_path):
    host = Host(host_program, tmp_path)
    host.process = subprocess.Popen(in_pid_namespace(host_program, "run", host.socket_path),
                                    env=host.environment, stdin=subprocess.DEVNULL,
                                    stderr=open(host.log_path, "ab"))
    host.processes.append(host.process)
    try:
        wait_for(lambda: os.path.exists(host.socket_path), "the core's socket")
        assert "guardian_pid=1 " in host.ask("header")
        host.ask("spawn", "web:0", "exit 4")
        assert host.ended("web:0")["status"] == 4
        (init, _), = children(host.process.pid)
        os.kill(init, signal.SIGTERM)
        assert host.process.wait(DEADLINE) == 0
    finally:
        host.seen.clear()  # numbers of another namespace
        host.stop()
