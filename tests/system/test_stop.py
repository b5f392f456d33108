"""Stopping leaves nothing behind, whatever the service did to get away; an orderly shutdown too."""
import os
import signal

import pytest

from harness import alive, host, processes_with, wait_for  # noqa: F401 (a fixture)

# Each writes its pids to FOLDER/pids; all of them must be gone after the stop.
WAYS = {
    # ignores TERM
    "deaf": "trap '' TERM; echo $$ >> pids; echo >&5; while :; do sleep 1000; done",
    # forks twice, in a session of its own
    "daemon": "(setsid sh -c 'echo $$ >> pids; (setsid sh -c \"echo \\$\\$ >> pids; "
              "exec sleep 1000\" &) ; exec sleep 1000' &); echo $$ >> pids; "
              "while [ $(wc -l < pids) -lt 3 ]; do :; done; echo >&5; exec sleep 1000",
    # a child that closes everything
    "closed": "setsid sh -c 'echo $$ >> pids; exec sleep 1000 <&- >&- 2>&- 5>&-' & "
              "echo $$ >> pids; while [ $(wc -l < pids) -lt 2 ]; do :; done; echo >&5; "
              "exec sleep 1000",
    # grandchildren in other sessions that ignore TERM, main process long gone by then
    "deaf-daemon": "setsid sh -c 'trap \"\" TERM; echo $$ >> pids; while :; do sleep 1000; done' & "
                   "echo $$ >> pids; while [ $(wc -l < pids) -lt 2 ]; do :; done; echo >&5; "
                   "exec sleep 1000",
    # forgets where it came from: other session, no environment, still a child
    "stripped": "setsid env -i sh -c 'echo $$ >> pids; exec sleep 1000' & echo $$ >> pids; "
                "while [ $(wc -l < pids) -lt 2 ]; do :; done; echo >&5; exec sleep 1000",
    # the same, and ignores TERM: it outlives its parent, which was all that told of it
    "stripped-deaf": "setsid env -i sh -c 'trap \"\" TERM; echo $$ >> pids; "
                     "while :; do sleep 1000; done' & echo $$ >> pids; "
                     "while [ $(wc -l < pids) -lt 2 ]; do :; done; echo >&5; exec sleep 1000",
    # a tree that keeps forking
    "breeder": "echo $$ >> pids; echo >&5; while :; do setsid sleep 1000 & sleep 0.05; done",
}


def service(name, folder, extra=""):
    script = os.path.join(folder, f"{name}.sh")
    with open(script, "w") as file:
        file.write(WAYS[name] + "\n")
    return (f"[service:{name}]\ncommand = sh {script}\ndirectory = {folder}\nready = fd:5\n"
            f"stopwaitsecs = 300ms\n{extra}")


def pids_of(supervisor):
    return [int(line) for line in supervisor.text_of("pids").split()]


def survivors(supervisor, pids=None):
    """Those of its processes that live on.  All begin in its folder, and by that they are told
    from a stranger that got the number of one that is gone."""
    found = []
    for pid in pids_of(supervisor) if pids is None else pids:
        try:
            if alive(pid) and os.readlink(f"/proc/{pid}/cwd") == supervisor.folder:
                found.append(pid)
        except OSError:
            pass
    return found


def start(host, name, extra="", cgroups="auto"):
    supervisor = host(start=False)
    supervisor.write(service(name, supervisor.folder, extra), settings=f"cgroups = {cgroups}\n")
    supervisor.start()
    supervisor.wait_ready(f"{name}:0")
    return supervisor


def marked(supervisor, name):
    """Whoever still carries the name of the instance."""
    found = []
    for pid in processes_with(f"SUPERVISOR_HARNESS={supervisor.folder}"):
        try:
            with open(f"/proc/{pid}/environ", "rb") as file:
                if f"SUPERVISOR_INSTANCE={name}:0.".encode() in file.read():
                    found.append(pid)
        except OSError:
            pass
    return found


# Without a cgroup these are only found while their parent lives (leftovers.h), so it takes a stop
# that looks for all before it signals the first.
STRIPPED = ("stripped", "stripped-deaf")
FOUND = [name for name in WAYS if name not in STRIPPED]


@pytest.mark.parametrize("name,mode,cgroups", [(name, "mixed", "off") for name in FOUND]
                         + [(name, "control-group", "off") for name in WAYS]
                         + [(name, "mixed", "auto") for name in WAYS]
                         + [("stripped", "control-group", "auto")])
def test_nothing_survives_a_stop(host, name, mode, cgroups):
    supervisor = start(host, name, f"kill_mode = {mode}\n", cgroups)
    need_groups(supervisor, name in STRIPPED and mode == "mixed")
    pids = pids_of(supervisor)
    assert pids and survivors(supervisor) == pids
    supervisor.call("stop", names=[name])
    assert supervisor.instance(f"{name}:0")["state"] == "stopped"
    assert survivors(supervisor) == []
    assert marked(supervisor, name) == []


# Makes a sibling of its own, which no orphan is; "away": in a session of its own, too.
SIBLING = r"""
import ctypes, os, platform, sys, time
CLONE_PARENT, NUMBER = 0x8000, {"x86_64": 56, "aarch64": 220}
if ctypes.CDLL(None).syscall(NUMBER[platform.machine()], CLONE_PARENT, 0, 0, 0, 0) == 0:
    if sys.argv[1] == "away":
        os.setsid()
    with open("pids", "a") as file:
        file.write(f"{os.getpid()}\n")
    os.write(5, b"\n")
time.sleep(10000)
"""


def start_sibling(host, how):
    supervisor = host(start=False)
    script = supervisor.path("sibling.py")
    with open(script, "w") as file:
        file.write(SIBLING)
    supervisor.write(f"[service:sib]\ncommand = /usr/bin/python3 -SE {script} {how}\n"
                     f"directory = {supervisor.folder}\nready = fd:5\nstopwaitsecs = 2s\n",
                     settings="cgroups = off\n")
    supervisor.start()
    supervisor.wait_ready("sib:0")
    pids = pids_of(supervisor)
    with open(f"/proc/{pids[0]}/stat") as file:
        assert int(file.read().rpartition(")")[2].split()[1]) == supervisor.pid
    assert survivors(supervisor, pids) == pids
    return supervisor, pids


@pytest.mark.parametrize("how", ["near", "away"])
def test_a_sibling_goes_with_its_service(host, how):
    supervisor, pids = start_sibling(host, how)
    supervisor.call("stop", names=["sib"])
    assert survivors(supervisor, pids) == []


@pytest.mark.parametrize("how", ["near", "away"])
def test_a_sibling_goes_when_its_service_is_started_again(host, how):
    supervisor, pids = start_sibling(host, how)
    pid = supervisor.instance("sib:0")["pid"]
    os.kill(pid, signal.SIGKILL)
    supervisor.wait_instance("sib:0", lambda row: row["ready"] and row["pid"] != pid)
    if how == "away":
        wait_for(lambda: not survivors(supervisor, pids), "the end of the sibling")
    assert survivors(supervisor, pids) == []


def need_groups(supervisor, needed=True):
    if needed and "no_control_groups" in supervisor.call("status")["supervisor"]["guarantees"]:
        pytest.skip("no control groups to be had here: "
                    + supervisor.call("status")["supervisor"]["guarantees"]["no_control_groups"])


@pytest.mark.parametrize("name,cgroups", [(name, "off") for name in FOUND]
                         + [(name, "auto") for name in WAYS])
def test_nothing_survives_the_end_of_the_main_process(host, name, cgroups):
    """It dies by itself: the rest goes before the next one starts."""
    supervisor = start(host, name, cgroups=cgroups)
    need_groups(supervisor, name in STRIPPED)
    before = pids_of(supervisor)
    pid = supervisor.instance(f"{name}:0")["pid"]
    os.kill(pid, signal.SIGKILL)
    supervisor.wait_instance(f"{name}:0", lambda row: row["ready"] and row["pid"] != pid)
    assert survivors(supervisor, before) == []


def test_shutdown_leaves_no_process(host):
    supervisor = host(start=False)
    supervisor.write("".join(service(name, supervisor.folder) for name in WAYS)
                     + service("deaf", supervisor.folder).replace(
                         "[service:deaf]", "[program:killed]"))
    supervisor.start()
    for name in WAYS:
        supervisor.wait_instance(f"{name}:0", lambda row: row["state"] == "running")
    assert supervisor.shutdown(15) == 0
    assert processes_with(f"SUPERVISOR_HARNESS={supervisor.folder}") == []
    assert survivors(supervisor) == []


def test_second_term_hurries(host):
    supervisor = start(host, "deaf")
    supervisor.write(service("deaf", supervisor.folder).replace("300ms", "1h"))
    supervisor.call("reload")
    supervisor.process.send_signal(signal.SIGTERM)
    wait_for(lambda: supervisor.instance("deaf:0")["state"] == "stopping", "stopping")
    supervisor.process.send_signal(signal.SIGTERM)
    assert supervisor.process.wait(10) == 0
    assert survivors(supervisor) == []


def test_shutdown_timeout(host):
    supervisor = host(start=False)
    supervisor.write(service("deaf", supervisor.folder).replace("300ms", "1h"),
                     settings="shutdown_timeout = 300ms\n")
    supervisor.start()
    supervisor.wait_ready("deaf:0")
    assert supervisor.shutdown(10) == 0
    assert survivors(supervisor) == []


# --- who gets which signal ---

def family(host, kind, extra):
    """Main process, a child in its group, one in another session; each writes down its TERM."""
    supervisor = host(start=False)
    with open(supervisor.path("family.sh"), "w") as file:
        file.write("trap 'echo main >> got; exit 0' TERM\n"
                   "sh -c 'trap \"echo child >> got; exit 0\" TERM; echo $$ >> pids; "
                   "while :; do sleep 0.01; done' &\n"
                   "setsid sh -c 'trap \"echo far >> got; exit 0\" TERM; echo $$ >> pids; "
                   "while :; do sleep 0.01; done' &\n"
                   "echo $$ >> pids\nwhile [ $(wc -l < pids) -lt 3 ]; do sleep 0.01; done\n"
                   "echo >&5\nwhile :; do sleep 0.01; done\n")
    supervisor.write(f"[{kind}:family]\ncommand = sh family.sh\ndirectory = {supervisor.folder}\n"
                     f"ready = fd:5\nstopwaitsecs = 500ms\n{extra}")
    supervisor.start()
    supervisor.wait_ready("family:0")
    supervisor.call("stop", names=["family"])
    return supervisor


def got(supervisor):
    return sorted(supervisor.text_of("got").split())


def test_mixed(host):
    """TERM to the main process; when it has gone TERM to the rest."""
    supervisor = family(host, "service", "")
    assert got(supervisor) == ["child", "far", "main"]
    assert supervisor.text_of("got").split()[0] == "main"


def test_control_group(host):
    supervisor = family(host, "service", "kill_mode = control-group\n")
    assert got(supervisor) == ["child", "far", "main"]


def test_process_leaves_the_rest_as_supervisord_does(host):
    supervisor = family(host, "program", "")
    assert got(supervisor) == ["main"]
    assert len(survivors(supervisor)) == 2
    # But not for ever: a shutdown takes them.
    assert supervisor.shutdown() == 0
    assert len(survivors(supervisor)) == 0


def test_stopasgroup(host):
    supervisor = family(host, "program", "stopasgroup = true\n")
    wait_for(lambda: got(supervisor) == ["child", "main"], "TERM to both")  # nobody waits for one
    assert got(supervisor) == ["child", "main"]


def test_killasgroup(host):
    """A deaf program with a deaf child in its group: both get KILL."""
    supervisor = host(start=False)
    with open(supervisor.path("deaf.sh"), "w") as file:
        file.write("trap '' TERM\nsh -c 'echo $$ >> pids; while :; do sleep 1000; done' &\n"
                   "echo $$ >> pids\nwhile [ $(wc -l < pids) -lt 2 ]; do sleep 0.01; done\n"
                   "echo >&5\nwhile :; do sleep 1000; done\n")
    supervisor.write(f"[program:deaf]\ncommand = sh deaf.sh\ndirectory = {supervisor.folder}\n"
                     "ready = fd:5\nstopwaitsecs = 100ms\nkillasgroup = true\n")
    supervisor.start()
    supervisor.wait_ready("deaf:0")
    supervisor.call("stop", names=["deaf"])
    wait_for(lambda: not survivors(supervisor), "the end of both", 5)


def test_hook_that_leaves_a_daemon(host):
    """What a failed pre_start left behind goes with the next stop, at the latest."""
    supervisor = host(start=False)
    with open(supervisor.path("hook.sh"), "w") as file:
        file.write("setsid sh -c 'echo $$ >> pids; exec sleep 1000' &\n"
                   "while [ ! -s pids ]; do sleep 0.01; done\nexit 1\n")
    supervisor.write(f"[service:a]\ncommand = sleep 1000\ndirectory = {supervisor.folder}\n"
                     "pre_start = sh hook.sh\nbackoff_min = 1h\nbackoff_max = 1h\n")
    supervisor.start()
    supervisor.wait_state("a:0", "backoff")
    supervisor.call("stop", names=["a"])
    assert supervisor.shutdown() == 0
    assert survivors(supervisor) == []


def test_stop_while_another_client_waits_for_the_start(host):
    supervisor = host("[service:a]\ncommand = sleep 1000\nautostart = false\nstartsecs = 1h\n")
    first = supervisor.connect()
    number = first.send("start", names=["a"])
    supervisor.wait_state("a:0", "starting")
    assert supervisor.call("stop", names=["a"])["ok"]
    answer = first.answer(number)
    assert not answer["ok"] and answer["results"][0]["reason"]
    first.close()
