"""A control group for each instance: born into it, emptied through it, kept by a new core.

Needs cgroup2 mounted and writable; without it these are skipped with the supervisor's own reason.
Controllers are not needed: what limits do is tested in tests/boot, in a kernel of its own.
"""
import os
import signal
import time

import pytest

from harness import BINARY, alive, host, needs_mounts, wait_for  # noqa: F401 (a fixture)

SLEEP = "[service:web]\ncommand = sleep 1000\nstartsecs = 0\n"


def own_group(pid):
    """The path of a process in the cgroup2 hierarchy."""
    with open(f"/proc/{pid}/cgroup") as file:
        return [line[3:].rstrip("\n") for line in file if line.startswith("0::")][0]


def mount_point():
    with open("/proc/self/mountinfo") as file:
        for line in file:
            if " - cgroup2 " in line:
                return line.split()[4]
    return None


def folder(pid):
    return mount_point() + own_group(pid)


def grouped(host, text=SLEEP, settings="", **more):
    supervisor = host(start=False, **more)
    supervisor.write(text, settings=settings)
    supervisor.start()
    guarantees = supervisor.call("status")["supervisor"]["guarantees"]
    if "no_control_groups" in guarantees:
        pytest.skip(guarantees["no_control_groups"])
    return supervisor


def events_of(supervisor, kind):
    return [event for event in supervisor.events() if event["event"] == kind]


def test_born_into_it_and_kept(host):
    supervisor = grouped(host)
    row = supervisor.wait_ready("web:0")
    group = own_group(row["pid"])
    base = os.path.dirname(group)
    assert os.path.basename(group) == "web:0"
    assert os.path.basename(base).startswith("supervisor.")
    # Ourselves are in a leaf beside it, the logger too.
    assert own_group(supervisor.pid) == own_group(supervisor.core_pid) == base + "/supervisor"
    kept = os.stat(folder(row["pid"])).st_ino
    supervisor.call("restart", names=["web"])
    row = supervisor.instance("web:0")
    assert own_group(row["pid"]) == group and os.stat(folder(row["pid"])).st_ino == kept
    # A new core goes on with it, for what runs and for what starts.
    supervisor.kill_core()
    assert own_group(supervisor.core_pid) == base + "/supervisor"
    assert supervisor.instance("web:0")["pid"] == row["pid"]
    supervisor.call("restart", names=["web"])
    assert own_group(supervisor.instance("web:0")["pid"]) == group
    base = mount_point() + base
    assert supervisor.shutdown() == 0
    wait_for(lambda: not os.path.exists(base), "the folder to go")


def test_both_processes_of_an_overlap(host):
    supervisor = grouped(host)
    supervisor.write(SLEEP + f"restart_mode = overlap\nready = exec:test -e {supervisor.path('go')}\n"
                     "ready_interval = 20ms\n")
    supervisor.call("reload")
    open(supervisor.path("go"), "w").close()
    first = supervisor.wait_ready("web:0")["pid"]
    os.unlink(supervisor.path("go"))
    connection = supervisor.connect()
    number = connection.send("restart", names=["web"])
    twin = wait_for(lambda: supervisor.instance("web:0").get("twin_pid"), "a twin")
    assert {os.path.basename(own_group(pid)) for pid in (first, twin)} == {"web:0", "web:0~2"}
    supervisor.kill_core()
    open(supervisor.path("go"), "w").close()
    supervisor.wait_instance("web:0", lambda row: row["pid"] == twin and "twin_pid" not in row)
    assert alive(twin) and not alive(first)
    try:
        connection.answer(number)
    except (ConnectionError, OSError):
        pass
    connection.close()


def test_guardian_and_core_die_together(host):
    """The store is gone; the new supervisor finds its folder by what lives in it."""
    supervisor = grouped(host)
    pid = supervisor.wait_ready("web:0")["pid"]
    group = own_group(pid)
    guardian, core = supervisor.pid, supervisor.core_pid
    os.kill(core, signal.SIGSTOP)  # else it would take the guardian's place
    os.kill(guardian, signal.SIGKILL)
    os.kill(core, signal.SIGKILL)
    supervisor.process.wait(10)
    supervisor.start()
    assert supervisor.instance("web:0")["pid"] == pid
    supervisor.call("restart", names=["web"])
    assert own_group(supervisor.instance("web:0")["pid"]) == group
    assert not alive(pid)


def test_groups_of_its_own(host):
    """A service that makes groups below its own: all of them are of the instance."""
    supervisor = host(start=False)
    script = supervisor.path("nest.sh")
    with open(script, "w") as file:
        file.write("own=$1$(sed -n s/^0:://p /proc/self/cgroup)\nmkdir -p $own/a/b\n"
                   "setsid env -i sh -c 'trap \"\" TERM; while :; do sleep 1000; done' &\n"
                   "echo $! > $own/a/b/cgroup.procs\necho $! > pid\necho >&5\nexec sleep 1000\n")
    supervisor = grouped(host, f"[service:nest]\ncommand = sh {script} {mount_point()}\n"
                         f"directory = {supervisor.folder}\nready = fd:5\nstopwaitsecs = 200ms\n")
    for _ in range(2):  # the second time it is born where groups were left
        pid = supervisor.wait_ready("nest:0")["pid"]
        with open(os.path.join(os.path.dirname(script), "pid")) as file:
            inner = int(file.read())
        assert own_group(inner) == own_group(pid) + "/a/b"
        os.kill(pid, signal.SIGKILL)
        supervisor.wait_instance("nest:0", lambda row: row["ready"] and row["pid"] != pid)
        assert not alive(inner)
    supervisor.call("stop", names=["nest"])


def test_an_abandoned_folder_is_removed(host):
    supervisor = grouped(host)
    pid = supervisor.wait_ready("web:0")["pid"]
    base = os.path.dirname(folder(pid))
    guardian, core = supervisor.pid, supervisor.core_pid
    os.kill(core, signal.SIGSTOP)
    for victim in (guardian, core, pid):
        os.kill(victim, signal.SIGKILL)
    supervisor.process.wait(10)
    wait_for(lambda: "populated 0" in open(base + "/cgroup.events").read(), "its end")
    os.unlink(supervisor.socket + ".ledger")
    os.unlink(supervisor.socket)
    grouped(host)
    assert not os.path.exists(base)


def test_off_and_limits_that_cannot_be_enforced(host):
    supervisor = host(start=False)
    limited = SLEEP + "memory_max = 64MB\ncpu_max = 50%\n"
    supervisor.write(limited, settings="cgroups = off\n")
    supervisor.start()
    row = supervisor.wait_ready("web:0")
    assert not os.path.basename(own_group(row["pid"])).startswith("web")
    assert row["limits_not_enforced"].startswith("memory_max, cpu_max: they are switched off")
    event = events_of(supervisor, "limits-not-enforced")[0]
    assert event["service"] == "web" and not event["refused"]
    assert "NOT ENFORCED" in supervisor.text_of("supervisor.log")
    # Required: then it does not run without them, and says why.
    supervisor.write(limited + "autostart = true\n", settings="cgroups = required\n")
    supervisor.call("reload")
    if supervisor.instance("web:0").get("limits_not_enforced"):
        supervisor.call("stop", names=["web"])
        supervisor.run("start", "--no-wait", "web", code=None)
        row = supervisor.wait_state("web:0", "waiting")
        assert "memory_max" in row["waiting_for"] and "a remedy" in row["waiting_for"]
    # Taken away again: it starts.
    supervisor.write(SLEEP, settings="cgroups = required\n")
    supervisor.call("reload")
    assert "limits_not_enforced" not in supervisor.wait_ready("web:0")


@needs_mounts
def test_a_read_only_hierarchy(host):
    """As in a plain container: everything works, by the other means, and status says why."""
    point = mount_point()
    if not point or os.geteuid() != 0:
        pytest.skip("needs cgroup2 and root")
    wrapper = host(start=False).path("wrapper")
    with open(wrapper, "w") as file:
        file.write(f"#!/bin/sh\nmount -o remount,bind,ro {point} || exit 99\nexec {BINARY} \"$@\"\n")
    os.chmod(wrapper, 0o755)
    outer = host(start=False).path("outer")
    with open(outer, "w") as file:
        file.write(f"#!/bin/sh\nexec unshare -m --propagation private sh -c "
                   f"'mount --bind {point} {point} && exec {wrapper} \"$@\"' sh \"$@\"\n")
    os.chmod(outer, 0o755)
    supervisor = host(start=False, binary=outer)
    supervisor.write("[service:web]\ncommand = sh -c 'setsid sleep 1000 & echo $! > pid; "
                     f"exec sleep 1000'\nstartsecs = 50ms\ndirectory = {supervisor.folder}\n")
    supervisor.start()
    supervisor.wait_ready("web:0")
    guarantees = supervisor.call("status")["supervisor"]["guarantees"]
    assert "cannot be written" in guarantees["no_control_groups"]
    wait_for(lambda: supervisor.text_of("pid"), "the child")
    supervisor.call("stop", names=["web"])
    assert not alive(int(supervisor.text_of("pid")))


@needs_mounts
def test_a_namespace_of_its_own(host):
    """A cgroup namespace and mount, as a container runtime gives them."""
    if not mount_point() or os.geteuid() != 0:
        pytest.skip("needs cgroup2 and root")
    supervisor = host(start=False)
    point = supervisor.path("groups")
    os.mkdir(point)
    outer = supervisor.path("outer")
    with open(outer, "w") as file:
        file.write(f"#!/bin/sh\nexec unshare -m -C --propagation private sh -c 'umount -l "
                   f"{mount_point()}; mount -t cgroup2 none {point} && exec {BINARY} \"$@\"' "
                   f"sh \"$@\"\n")
    os.chmod(outer, 0o755)
    supervisor.binary = outer
    supervisor.write(SLEEP)
    supervisor.start()
    row = supervisor.wait_ready("web:0")
    guarantees = supervisor.call("status")["supervisor"]["guarantees"]
    assert "no_control_groups" not in guarantees
    assert os.path.basename(own_group(row["pid"])) == "web:0"
    supervisor.call("restart", names=["web"])
    assert supervisor.wait_ready("web:0")["pid"] != row["pid"]


def test_limits_survive_what_they_can(host):
    """pids_max changed live, where the controller is there; told otherwise."""
    supervisor = grouped(host, SLEEP + "pids_max = 100\n")
    row = supervisor.wait_ready("web:0")
    limit = folder(row["pid"]) + "/pids.max"
    if not os.path.exists(limit):
        assert "pids_max" in row["limits_not_enforced"]
        return
    assert open(limit).read() == "100\n"
    supervisor.write(SLEEP + "pids_max = 200\n")
    supervisor.call("reload")
    assert open(limit).read() == "200\n"
    assert supervisor.instance("web:0")["pid"] == row["pid"]


def test_the_end_is_awaited_not_polled(host):
    """What ignores TERM for a while and leaves by itself: no KILL, and no look at /proc."""
    supervisor = grouped(
        host, "[service:web]\ncommand = sh -c 'setsid sh -c \"trap : TERM; sleep 0.3; exit 0\" & "
        "exec sleep 1000'\nstartsecs = 100ms\nstopwaitsecs = 20s\n")
    supervisor.wait_ready("web:0")
    before = time.monotonic()
    supervisor.call("stop", names=["web"])
    assert time.monotonic() - before < 10
    assert supervisor.instance("web:0")["state"] == "stopped"


def test_a_killed_group_takes_new_processes(host):
    """From Linux 6.14 on whoever is born into a group that was killed once is killed too."""
    supervisor = grouped(
        host, "[service:web]\ncommand = sh -c 'trap \"\" TERM; while :; do sleep 1000; done'\n"
        "startsecs = 100ms\nstopwaitsecs = 100ms\n")
    for _ in range(2):
        supervisor.wait_ready("web:0")
        supervisor.call("restart", names=["web"])
    assert supervisor.instance("web:0")["last_exit"]["signal"] == "KILL"
    supervisor.kill_core()
    supervisor.call("restart", names=["web"])
    assert supervisor.wait_ready("web:0")["last_exit"]["oom"] is False


def test_not_by_another_user(host):
    """A user without rights: no groups, no harm."""
    if os.geteuid() != 0:
        pytest.skip("needs root to become somebody else")
    supervisor = host(start=False)
    outer = supervisor.path("outer")
    with open(outer, "w") as file:
        file.write(f"#!/bin/sh\nexec setpriv --reuid 65534 --regid 65534 --clear-groups {BINARY} "
                   "\"$@\"\n")
    os.chmod(outer, 0o755)
    os.chown(supervisor.folder, 65534, 65534)
    supervisor.binary = outer
    supervisor.write(SLEEP)
    supervisor.start()
    supervisor.wait_ready("web:0")
    guarantees = supervisor.call("status")["supervisor"]["guarantees"]
    assert "elegate" in guarantees["no_control_groups"]
    supervisor.call("stop", names=["web"])


NO_CLONE3 = """#!/usr/bin/python3
# As the filters of older container runtimes: clone3 (435 everywhere) is answered with ENOSYS.
import ctypes, os, struct, sys
code = struct.pack("=HBBI", 0x20, 0, 0, 0)                  # load the number of the call
code += struct.pack("=HBBI", 0x15, 0, 1, 435)               # not clone3: skip one
code += struct.pack("=HBBI", 0x06, 0, 0, 0x00050000 | 38)   # ENOSYS
code += struct.pack("=HBBI", 0x06, 0, 0, 0x7FFF0000)        # allow
text = ctypes.create_string_buffer(code)
class Program(ctypes.Structure):
    _fields_ = [("len", ctypes.c_ushort), ("filter", ctypes.c_void_p)]
program = Program(4, ctypes.addressof(text))
libc = ctypes.CDLL(None)
if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, ctypes.byref(program), 0, 0):
    sys.exit("no seccomp here")
os.execv("%s", ["supervisor"] + sys.argv[1:])
"""


def test_where_clone3_is_not_known(host):
    supervisor = host(start=False)
    outer = supervisor.path("outer")
    with open(outer, "w") as file:
        file.write(NO_CLONE3 % BINARY)
    os.chmod(outer, 0o755)
    supervisor = grouped(host, binary=outer)
    row = supervisor.wait_ready("web:0")
    # With startsecs = 0 it counts from its clone on, and it moves itself a little later.
    wait_for(lambda: os.path.basename(own_group(row["pid"])) == "web:0", "its group")
    with open(f"/proc/{row['pid']}/status") as file:
        assert "Seccomp:\t2" in file.read()
    supervisor.call("stop", names=["web"])
    assert not alive(row["pid"])


SPEAK = """import os, socket, sys, time
while os.getppid() != int(sys.argv[2]):
    time.sleep(0.01)
socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b"READY=1", sys.argv[1])
time.sleep(1000)
"""


def test_a_notification_of_whoever_is_in_the_group(host):
    """Another session, another parent, no environment: still of the instance."""
    supervisor = host(start=False)
    with open(supervisor.path("speak.py"), "w") as file:
        file.write(SPEAK)
    text = ("[service:far]\ncommand = sh -c '(setsid env -i /usr/bin/python3 speak.py "
            "$NOTIFY_SOCKET $PPID &); exec sleep 1000'\nready = notify\nnotify_access = all\n"
            f"directory = {supervisor.folder}\n")
    supervisor = grouped(host, text.replace("speak.py", supervisor.path("speak.py")))
    assert supervisor.wait_ready("far:0", 10)["state"] == "running"


def test_a_core_killed_while_the_rest_is_awaited(host):
    """The main process is gone, a deaf one is left: the next core waits on, kills by the same
    deadline, and nothing starts before the group is empty."""
    supervisor = grouped(host, "[service:web]\ncommand = sh -c 'setsid env -i sh -c \"trap : TERM; "
                         "echo >&5; while :; do sleep 1000; done\" & exec sleep 1000'\n"
                         "ready = fd:5\nstopwaitsecs = 2s\n")
    row = supervisor.wait_ready("web:0")
    procs = folder(row["pid"]) + "/cgroup.procs"
    left = wait_for(lambda: [int(pid) for pid in open(procs) if int(pid) != row["pid"]], "a child")
    os.kill(row["pid"], signal.SIGKILL)
    supervisor.wait_instance("web:0", lambda now: now["detail"] == "cleaning")
    supervisor.kill_core()
    assert supervisor.instance("web:0")["detail"] == "cleaning" and alive(left[0])
    supervisor.wait_instance("web:0", lambda now: now["ready"] and now["pid"] != row["pid"])
    assert not any(alive(pid) for pid in left)
