"""Sandboxes of real processes: what they may, what they see, and who says why when there is none.

Most of it needs root and a kernel that lets it make mounts; elsewhere these are skipped with the
reason that `supervisor doctor` gives.
"""
import json
import os
import re
import shutil
import socket
import subprocess
import tempfile

import pytest

from harness import BINARY, alive, host, wait_for  # noqa: F401 (a fixture)
from zoo import hello

NOBODY = 65534
PYTHON = "/usr/bin/python3"
BOUND = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
NET_BIND_SERVICE, KILL = 1 << 10, 1 << 5


def doctor():
    rows = json.loads(subprocess.run([BINARY, "doctor", "--json", "-s", "/none"], text=True,
                                     capture_output=True).stdout)["guarantees"]
    return {row["id"]: row for row in rows}


HERE = doctor()


def needs(*what):
    """Skips, loudly, where this host cannot do it."""
    lacking = [HERE["sandbox-" + one]["why"] for one in what if not HERE["sandbox-" + one]["holds"]]
    return pytest.mark.skipif(bool(lacking), reason="; ".join(lacking))


as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.fixture
def place():
    """A folder that no private /tmp covers, for the supervisor and all that it is asked about."""
    base = "/run" if os.access("/run", os.W_OK) else os.path.expanduser("~")
    folder = tempfile.mkdtemp(prefix="supervisor-sandbox-", dir=base)
    os.chmod(folder, 0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def script(folder, name, text):
    """A Python program of a service; it says END when it has looked at everything."""
    path = os.path.join(folder, name)
    with open(path, "w") as file:
        file.write("import errno, os, socket, sys, time\n"
                   "def put(key, value): print(key, value, sep='=', flush=True)\n"
                   "def fails(key, act):\n"
                   "    try:\n        act()\n        put(key, 'fine')\n"
                   "    except OSError as error:\n        put(key, errno.errorcode[error.errno])\n"
                   + text + "\nprint('END', flush=True)\ntime.sleep(10000)\n")
    return f"{PYTHON} {path}"


def told(supervisor, name="web", number=0):
    """{key: value} of what the newest process said, when it has said all."""
    def whole():
        text = supervisor.text_of("log", f"{name}-{number}.log")
        return text if text.endswith("END\n") else None
    text = wait_for(whole, f"the end of what {name} says")
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


def box(host, place, text, keys, more=""):
    """A supervisor with one service `web`, which runs the Python in `text`."""
    supervisor = host(start=False, folder=place)
    supervisor.write(f"[service:web]\ncommand = {script(place, 'web.py', text)}\n"
                     f"log_format = raw\n{keys}\n{more}")
    return supervisor.start()


STATUS = """
for line in open('/proc/self/status'):
    key, value = line.split(':', 1)
    put(key, value.strip())
"""


def rights(values):
    return [int(values[key], 16) for key in BOUND]


# --- what it may ---

@as_root
@needs("capabilities")
def test_capabilities_of_another_user(host, place):
    text = STATUS + "fails('bind', lambda: socket.socket().bind(('127.0.0.1', 79)))\n"
    supervisor = box(host, place, text, "user = nobody\ncapabilities = NET_BIND_SERVICE\n"
                     "no_new_privs = true")
    values = told(supervisor)
    assert rights(values) == [NET_BIND_SERVICE] * 5
    assert values["NoNewPrivs"] == "1" and values["Uid"].split()[1] == str(NOBODY)
    assert supervisor.instance("web:0")["sandbox"] == \
        "no_new_privs, capabilities NET_BIND_SERVICE"


@as_root
@needs("capabilities")
@pytest.mark.parametrize("keys, kept", [("KILL", KILL), ("none", 0)])
def test_capabilities_of_root(host, place, keys, kept):
    text = STATUS + "fails('chown', lambda: os.chown(__file__, 1, 1))\n"
    values = told(box(host, place, text, f"capabilities = {keys}"))
    assert rights(values) == [0, kept, kept, kept, 0]
    assert values["chown"] == "EPERM" and values["Uid"].split()[1] == "0"


@as_root
@needs("capabilities")
def test_all_but_some(host, place):
    before = rights(dict(line.split(":\t") for line in open("/proc/self/status").read().split("\n")
                         if line.startswith("Cap")))
    values = told(box(host, place, STATUS, "capabilities = -NET_BIND_SERVICE"))
    assert rights(values)[3] == before[3] & ~NET_BIND_SERVICE


@needs("filters")
def test_a_profile(host, place):
    text = STATUS + """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
put('unshare', libc.unshare(0x10000000) and errno.errorcode[ctypes.get_errno()])
put('child', os.system('exit 3') >> 8)
"""
    supervisor = box(host, place, text, "seccomp = default")
    values = told(supervisor)
    assert values["Seccomp"] == "2" and values["NoNewPrivs"] == "1"
    assert values["unshare"] == "EPERM" and values["child"] == "3"


@needs("filters")
@pytest.mark.parametrize("profile", ["service", "strict"])
def test_ordinary_programs_run_in_every_profile(host, place, profile):
    text = """
import asyncio, subprocess, tempfile, threading
async def talk():
    server = await asyncio.start_server(lambda r, w: w.close(), '127.0.0.1', 0)
    reader, _ = await asyncio.open_connection(*server.sockets[0].getsockname())
    put('talk', await reader.read())
asyncio.run(talk())
thread = threading.Thread(target=lambda: put('thread', 1))
thread.start()
thread.join()
put('run', subprocess.run(['sh', '-c', 'ls / | grep -c proc'], capture_output=True).stdout)
fails('setpriority', lambda: os.setpriority(os.PRIO_PROCESS, 0, 0))
"""
    values = told(box(host, place, text, f"seccomp = {profile}"))
    assert values["talk"] == "b''" and values["thread"] == "1" and values["run"] == "b'1\\n'"
    assert values["setpriority"] == ("EPERM" if profile == "strict" else "fine")


@needs("filters")
def test_a_denied_call_that_kills(host, place):
    supervisor = host(start=False, folder=place)
    supervisor.write("[service:web]\ncommand = unshare -U true\nseccomp = service:kill\n"
                     "autorestart = false\nstartsecs = 0\n"
                     "[service:log]\ncommand = sh -c 'unshare -U true; exit 7'\n"
                     "seccomp = service:log\nautorestart = false\nstartsecs = 0\n")
    supervisor.start()
    row = supervisor.wait_instance("web:0", lambda row: row["last_exit"], "an end")
    assert row["last_exit"]["signal"] == "SYS"
    row = supervisor.wait_instance("log:0", lambda row: row["last_exit"], "an end")
    assert row["last_exit"]["code"] == 7  # it went on


# --- what it sees ---

@as_root
@needs("mounts")
def test_private_tmp(host, place):
    text = """
put('seen', sorted(os.listdir('/tmp') + os.listdir('/var/tmp')))
open('/tmp/mine', 'w').write('x')
def much():
    with open('/var/tmp/much', 'wb') as file:
        for _ in range(300): file.write(b'x' * 4096)
fails('much', much)
put('mode', oct(os.stat('/tmp').st_mode))
put('cwd', os.getcwd())
put('up', sorted(os.listdir('..')))
"""
    mine = tempfile.mkdtemp(prefix="outside-", dir="/tmp")
    try:
        supervisor = host(start=False, folder=place)
        supervisor.write(f"[service:web]\ncommand = {script(place, 'web.py', text)}\n"
                         "log_format = raw\nprivate_tmp = 1MB\nuser = nobody\n")
        before = os.getcwd()
        os.chdir(mine)  # a folder that it is started in would be a way out
        try:
            supervisor.start()
        finally:
            os.chdir(before)
        values = told(supervisor)
        assert values["seen"] == "[]" and values["much"] == "ENOSPC"
        assert values["mode"] == "0o41777" and not os.path.exists("/tmp/mine")
        assert values["cwd"] == "/" and "proc" in values["up"]
        # The next process has another one.
        supervisor.call("restart", names=["web"])
        supervisor.wait_state("web:0", "running")
        assert wait_for(lambda: supervisor.text_of("log", "web-0.log").count("END\n") == 2)
        assert supervisor.text_of("log", "web-0.log").count("seen=[]") == 2
    finally:
        shutil.rmtree(mine)


@as_root
@needs("mounts")
def test_read_only(host, place):
    for name in ("data", "other"):
        os.makedirs(os.path.join(place, name))
    text = f"""
def write(path): open(path, 'w').write('x')
fails('etc', lambda: write('/etc/sandbox-test'))
fails('other', lambda: write('{place}/other/x'))
fails('data', lambda: write('{place}/data/x'))
fails('relative', lambda: write('x'))
fails('null', lambda: write('/dev/null'))
put('proc', os.path.exists('/proc/self'))
"""
    supervisor = box(host, place, text,
                     f"read_only = true\nread_write_paths = {place}/data -/no/such\n"
                     f"directory = {place}/other")
    values = told(supervisor)
    assert [values[key] for key in ("etc", "other", "relative")] == ["EROFS"] * 3
    assert values["data"] == values["null"] == "fine" and values["proc"] == "True"
    assert os.path.exists(f"{place}/data/x")
    with open(f"{place}/other/x", "w"):
        pass  # ours are as they were


@as_root
@needs("mounts")
def test_each_instance_has_its_own_paths(host, place):
    for number in (0, 1):
        os.makedirs(os.path.join(place, f"data-{number}"))
    text = f"""
fails('0', lambda: open('{place}/data-0/x', 'w'))
fails('1', lambda: open('{place}/data-1/x', 'w'))
"""
    supervisor = box(host, place, text, "numprocs = 2\nread_only = true\n"
                     "read_write_paths = %(here)s/data-%(process_num)d")
    assert told(supervisor, number=0) == {"0": "fine", "1": "EROFS"}
    assert told(supervisor, number=1) == {"0": "EROFS", "1": "fine"}


@as_root
@needs("mounts")
def test_read_only_paths_keep_the_flags_of_their_mounts(host, place):
    disk = os.path.join(place, "my disk")
    os.makedirs(os.path.join(disk, "a", "b"))
    subprocess.run(["mount", "-t", "tmpfs", "-o", "nosuid,noexec", "x", disk], check=True)
    try:
        os.makedirs(os.path.join(disk, "a", "b"))
        text = f"""
def write(path): open(path, 'w').write('x')
fails('a', lambda: write('{disk}/a/x'))
fails('b', lambda: write('{disk}/a/b/x'))
fails('up', lambda: write('{disk}/x'))
put('flags', [line.split()[5] for line in open('/proc/self/mountinfo')
              if line.split()[4].endswith('my\\\\040disk/a')])
"""
        link = os.path.join(place, "link")
        os.symlink(disk, link)
        values = told(box(host, place, text,
                          f"read_only = {link}/a\nread_write_paths = {link}/a/b"))
        assert values["a"] == "EROFS" and values["b"] == values["up"] == "fine"
        assert "ro,nosuid,noexec" in values["flags"]
    finally:
        subprocess.run(["umount", disk], check=True)


@as_root
@needs("mounts", "capabilities")
def test_devices_and_hidden_paths(host, place):
    os.makedirs(os.path.join(place, "secret", "key"))
    with open(os.path.join(place, "file"), "w") as file:
        file.write("secret")
    text = STATUS + f"""
put('devices', sorted(os.listdir('/dev')))
fails('random', lambda: open('/dev/urandom', 'rb').read(8))
fails('null', lambda: open('/dev/null', 'wb').write(b'x'))
fails('shm', lambda: open('/dev/shm/x', 'wb').write(b'x'))
fails('pty', os.openpty)
fails('mknod', lambda: os.mknod('{place}/sda', 0o60600, os.makedev(8, 0)))
fails('dev', lambda: open('/dev/x', 'w'))
put('secret', os.listdir('{place}/secret'))
put('file', open('{place}/file').read())
"""
    values = told(box(host, place, text, "private_devices = true\n"
                      f"hidden_paths = {place}/secret {place}/file -/no/such"))
    assert values["devices"] == str(sorted(
        ["fd", "full", "log", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin", "stdout",
         "tty", "urandom", "zero"]))
    assert [values[key] for key in ("random", "null", "shm", "pty")] == ["fine"] * 4
    assert values["mknod"] == "EPERM" and values["dev"] == "EROFS"
    assert values["secret"] == "[]" and values["file"] == ""


# --- namespaces ---

def namespaces(pid):
    return {name: os.readlink(f"/proc/{pid}/ns/{name}") for name in os.listdir(f"/proc/{pid}/ns")}


@as_root
@needs("namespaces", "mounts")
def test_namespaces_and_who_joins_them(host, place):
    """exec: checks and hooks beside the process are where it is; those around it are in others."""
    text = """
server = socket.socket()
server.bind(('127.0.0.1', 8080))
server.listen()
put('links', [name for _, name in socket.if_nameindex()])
open('/tmp/up', 'w')
"""
    check = f"{PYTHON} -c \"import socket; socket.create_connection(('127.0.0.1', 8080))\""
    note = "sh -c 'readlink /proc/self/ns/net /proc/self/ns/mnt > {}/{}; ls /tmp >> {}/{}'"
    hooks = "".join(f"{hook} = {note.format(place, hook, place, hook)}\n"
                    for hook in ("pre_start", "post_start", "pre_stop", "post_stop"))
    supervisor = box(host, place, text, "namespaces = net ipc uts cgroup\nprivate_tmp = true\n"
                     f"ready = exec:{check}\nready_interval = 50ms\n{hooks}")
    row = supervisor.wait_ready("web:0")
    assert told(supervisor)["links"] == "['lo']"
    theirs, ours = namespaces(row["pid"]), namespaces(supervisor.core_pid)
    for name in ("net", "ipc", "uts", "cgroup", "mnt"):
        assert theirs[name] != ours[name]
    assert theirs["pid"] == ours["pid"]
    wait_for(lambda: supervisor.text_of("post_start").count("\n") == 3, "post_start")
    supervisor.call("stop", names=["web"])
    wait_for(lambda: supervisor.text_of("post_stop").count("\n") == 2, "post_stop")
    said = {hook: supervisor.text_of(hook).split() for hook in
            ("pre_start", "post_start", "pre_stop", "post_stop")}
    assert said["post_start"] == said["pre_stop"] == [theirs["net"], theirs["mnt"], "up"]
    for hook in ("pre_start", "post_stop"):  # an empty /tmp (the kernel uses numbers again)
        assert len(said[hook]) == 2 and not set(said[hook]) & set(ours.values())


@as_root
@needs("namespaces")
def test_a_socket_leads_into_its_own_network(host, place):
    supervisor = host(start=False, folder=place)
    supervisor.write(f"[socket:web]\nlisten = {place}/web.sock\n"
                     f"[service:web]\ncommand = {hello()}\nsockets = web\nready = notify\n"
                     "namespaces = net\n")
    supervisor.start().wait_ready("web:0")
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(f"{place}/web.sock")
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert b"hello from" in client.makefile("rb").read()


@as_root
@needs("namespaces", "mounts")
def test_processes_of_its_own(host, place):
    text = """
import signal
put('pid', os.getpid())
put('all', sorted(int(name) for name in os.listdir('/proc') if name.isdigit()))
signal.signal(signal.SIGTERM, lambda *_: (put('left', 1), sys.exit(0)))
if os.fork() == 0:
    os.setsid()
    os.environ.clear()
    time.sleep(10000)
"""
    supervisor = box(host, place, text, "namespaces = pid\nstopwaitsecs = 60s")
    values = told(supervisor)
    assert values["pid"] == "1" and values["all"] == "[1]"
    pid = supervisor.instance("web:0")["pid"]
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        child = int(file.read())
    supervisor.call("stop", names=["web"])
    assert "left=1" in supervisor.text_of("log", "web-0.log")
    assert not alive(pid) and not alive(child)


# --- another root ---

def jail(folder, *programs):
    """A root with these programs and what they are linked with, and empty folders."""
    for name in ("proc", "dev", "sys", "tmp", "data", "bin"):
        os.makedirs(os.path.join(folder, name))
    for program in programs:
        path = shutil.which(program)
        shutil.copy(path, os.path.join(folder, "bin", os.path.basename(path)))
        linked = subprocess.run(["ldd", path], capture_output=True, text=True).stdout
        for library in re.findall(r"(/\S+)", linked):
            target = folder + library
            os.makedirs(os.path.dirname(target), exist_ok=True)
            shutil.copy(library, target)
    return folder


@as_root
@needs("mounts")
def test_root(host, place):
    root = jail(os.path.join(place, "jail"), "sh", "ls", "cat", "sleep", hello())
    supervisor = host(start=False, folder=place)
    supervisor.write(
        "[service:web]\ncommand = sh -c 'cat /proc/self/status; pwd; ls /; true >/ro; true >/data/rw; "
        "cd /..; ls | cat -; echo END; sleep 1000'\nlog_format = raw\n"
        f"environment = PATH=/bin\nroot = {root}\nread_only = true\nread_write_paths = /data\n"
        "directory = /data\nuser = root\nprivate_tmp = true\nnamespaces = pid\n")
    supervisor.start()
    row = supervisor.wait_state("web:0", "running")
    told(supervisor)
    text = supervisor.text_of("log", "web-0.log")
    folders = sorted(os.listdir(root))
    assert text.split("/data\n")[1].split()[:len(folders)] == folders
    assert "Read-only file system" in text and os.path.exists(f"{root}/data/rw")
    assert text.count("bin\n") >= 2 and place not in text
    assert "NSpid:\t2\n" in text  # of its own processes
    assert os.readlink(f"/proc/{row['pid']}/root") == "/"  # it is a root, not a folder of ours
    assert "ls: " not in text


@as_root
@needs("mounts")
def test_notify_through_a_root(host, place):
    root = jail(os.path.join(place, "jail"), "sh", hello())
    supervisor = host(start=False, folder=place)
    text = (f"[socket:web]\nlisten = {place}/web.sock\n[service:web]\ncommand = /bin/hello\n"
            f"root = {root}\nsockets = web\nready = notify\nuser = nobody\n")
    supervisor.write(text)
    supervisor.start()
    row = supervisor.wait_instance("web:0", lambda row: row["reason"], "a reason")
    assert f"ready = notify: the notify socket {place}/control.sock.notify is not reached" in \
        row["reason"]
    mark = f"{root}{place}/control.sock.notify"
    os.makedirs(os.path.dirname(mark))
    with open(mark, "w"):
        pass
    supervisor.wait_ready("web:0")
    # A check and a hook see the same root.
    supervisor.write(text.replace("ready = notify", "ready = exec:sh -c '! test -e /usr/bin'\n"
                                  "environment = PATH=/bin"))
    supervisor.call("reload")
    supervisor.wait_ready("web:0")


@as_root
@needs("mounts")
def test_a_root_inside_the_release(host, place):
    site, release = os.path.join(place, "site"), "000001-00000001"
    folder = jail(os.path.join(site, "releases", release), "sh", "sleep", "cat")
    with open(os.path.join(folder, "VERSION"), "w") as file:
        file.write("one\n")
    supervisor = host(start=False, folder=place)
    supervisor.write(
        f"[service:web]\ncommand = bin/sh -c 'cat VERSION; echo dir=$RELEASE_DIR id=$RELEASE_ID; "
        f"echo END; sleep 1000'\nrelease = {site}\nroot = .\nuser = nobody\nlog_format = raw\n"
        "environment = PATH=/bin\n")
    supervisor.start()
    supervisor.call("release.switch", path=site, id=release)
    told(supervisor)
    assert f"one\ndir=/ id={release}\n" in supervisor.text_of("log", "web-0.log")


@as_root
@needs("mounts")
def test_a_release_cannot_be_written_through_its_own_folder(host, place):
    site, release = os.path.join(place, "site"), "000001-00000001"
    os.makedirs(os.path.join(site, "releases", release))
    os.makedirs(os.path.join(place, "data"))
    text = f"""
fails('here', lambda: open('x', 'w'))
fails('data', lambda: open('{place}/data/x', 'w'))
put('cwd', os.getcwd())
"""
    supervisor = host(start=False, folder=place)
    supervisor.write(f"[service:web]\ncommand = {script(place, 'web.py', text)}\nrelease = {site}\n"
                     f"read_only = true\nread_write_paths = {place}/data\nuser = root\n"
                     "log_format = raw\n")
    supervisor.start()
    supervisor.call("release.switch", path=site, id=release)
    values = told(supervisor)
    assert values["here"] == "EROFS" and values["data"] == "fine"
    assert values["cwd"] == os.path.join(site, "releases", release)


# --- over crashes and reloads ---

@as_root
@needs("mounts", "namespaces", "filters")
def test_it_lives_through_a_crash_of_the_core(host, place):
    keys = ("private_tmp = true\nnamespaces = net\nseccomp = service\nready = exec:true\n"
            "ready_interval = 50ms\n")
    supervisor = box(host, place, "", keys)
    row = supervisor.wait_ready("web:0")
    before = namespaces(row["pid"])
    supervisor.kill_core()
    after = supervisor.wait_ready("web:0")
    assert after["pid"] == row["pid"] and namespaces(row["pid"]) == before
    probes = after["probes"]  # the new core's checks join what it did not make
    supervisor.wait_instance("web:0", lambda row: row["probes"] > probes + 2 and row["ready"])
    assert supervisor.instance("web:0")["probe_failures"] == after["probe_failures"]
    # Changed keys, a new process; the old one is gone.
    supervisor.write(f"[service:web]\ncommand = sleep 1000\n{keys}hidden_paths = /home\n")
    plan = supervisor.run("reload", "--plan").stdout
    assert "hidden_paths" in plan and "restart" in plan
    supervisor.call("reload")
    row = supervisor.wait_instance("web:0", lambda row: row["pid"] not in (None, after["pid"])
                                   and row["ready"], "a restart")
    assert not alive(after["pid"])
    assert namespaces(row["pid"])["net"] != namespaces(supervisor.core_pid)["net"]
    assert supervisor.shutdown() == 0
    assert not alive(row["pid"])


# --- what fails says so ---

@as_root
@needs("mounts", "capabilities")
@pytest.mark.parametrize("keys, words", [
    ("read_only = true\nread_write_paths = /no/such", "read_write_paths: /no/such: No such file"),
    ("hidden_paths = /etc/passwd/x", "hidden_paths: /etc/passwd/x: Not a directory"),
    ("root = /etc/passwd", "root: /etc/passwd: Not a directory"),
    ("root = JAIL\nprivate_tmp = true", "private_tmp: mounting an empty /tmp: No such file"),
    ("root = JAIL\nprivate_devices = true", "private_devices: mounting /dev: No such file"),
    ("root = JAIL\ndirectory = /none", "entering the working directory: No such file"),
    ("root = JAIL", "executing the program: No such file"),
    ("root = JAIL/proc", "executing the program: No such file"),
])
def test_a_step_that_fails_is_named(host, place, keys, words):
    os.makedirs(os.path.join(place, "jail", "proc"))
    keys = keys.replace("JAIL", os.path.join(place, "jail"))
    supervisor = host(start=False, folder=place)
    supervisor.write(f"[service:web]\ncommand = /bin/sleep 1000\n{keys}\nbackoff_max = 10s\n"
                     "backoff_min = 10s\n[service:other]\ncommand = sleep 1000\n")
    supervisor.start()
    row = supervisor.wait_instance("web:0", lambda row: row["reason"] and row["pid"] is None
                                   and row["state"] == "backoff", "a reason")
    assert words in row["reason"] and row["reason"].startswith("cannot start")
    assert words.split(":")[0] in supervisor.run("why", "web").stdout
    assert supervisor.wait_state("other:0", "running")


@as_root
@needs("mounts")
def test_a_hook_whose_sandbox_fails_says_its_step(host, place):
    root = os.path.join(place, "jail")
    os.makedirs(os.path.join(root, "bin"))
    supervisor = host(start=False, folder=place)
    supervisor.write("[service:web]\ncommand = /bin/sleep 1\npre_start = /bin/none\n"
                     f"root = {root}\nprivate_tmp = true\n")
    supervisor.start()
    event = supervisor.wait_event(lambda event: event["event"] == "hook")
    assert event["hook"] == "pre_start" and event["error"] == "No such file or directory"
    assert event["step"] == "private_tmp: mounting an empty something"
    row = supervisor.wait_state("web:0", "backoff")
    assert row["reason"] == \
        "cannot start pre_start: private_tmp: mounting an empty /tmp: No such file or directory"


@as_root
@needs("mounts")
def test_a_check_that_cannot_run_inside_says_its_step(host, place):
    root = jail(os.path.join(place, "jail"), "sleep")
    supervisor = host(start=False, folder=place)
    supervisor.write(f"[service:web]\ncommand = /bin/sleep 1000\nroot = {root}\n"
                     "ready = exec:/bin/none\nready_interval = 20ms\n")
    supervisor.start()
    row = supervisor.wait_instance("web:0", lambda row: row["check_error"], "a failed check")
    assert row["check_error"].endswith(
        "could not be started: executing the program: No such file or directory")


# --- who is not root ---

REFUSED = """[service:tmp]
command = sleep 1000
private_tmp = true
[service:net]
command = sleep 1000
namespaces = net
[service:caps]
command = sleep 1000
capabilities = none
[service:plain]
command = sleep 1000
no_new_privs = true
"""


def start_as_nobody(supervisor):
    """As an ordinary user, whoever runs the tests."""
    if os.geteuid() == 0:
        os.chown(supervisor.folder, NOBODY, NOBODY)
        program = os.path.join(supervisor.folder, "supervisor")
        shutil.copy(BINARY, program)
        supervisor.binary = program
        supervisor.environment["HOME"] = supervisor.folder

        def drop():
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
    else:
        drop = None
    with open(supervisor.log, "ab") as log:
        supervisor.process = subprocess.Popen(
            [supervisor.binary, "run", "-c", supervisor.config, "-s", supervisor.socket],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=supervisor.environment,
            preexec_fn=drop)
    supervisor.wait_up()


def test_an_ordinary_user_is_told_what_cannot_be(host):
    supervisor = host(start=False)
    filtered = HERE["sandbox-filters"]["holds"]
    supervisor.write(REFUSED + ("seccomp = strict\n" if filtered else ""))
    start_as_nobody(supervisor)
    plain = supervisor.wait_state("plain:0", "running")
    with open(f"/proc/{plain['pid']}/status") as file:
        status = file.read()
    assert "NoNewPrivs:\t1" in status and (not filtered or "Seccomp:\t2" in status)
    waits = {name: supervisor.wait_state(name, "waiting")["waiting_for"]
             for name in ("tmp:0", "net:0", "caps:0")}
    assert waits["tmp:0"].startswith("a remedy: private_tmp: wants mounts of its own, which we may "
                                     "not make (Operation not permitted): start the supervisor as")
    assert waits["net:0"].startswith("a remedy: namespaces: we may not make any")
    assert waits["caps:0"].startswith("a remedy: capabilities: cannot be taken away")
    rows = {row["id"]: row for row in supervisor.call("doctor")["guarantees"]}
    for name, by in (("mounts", "tmp"), ("namespaces", "net"), ("capabilities", "caps")):
        row = rows["sandbox-" + name]
        assert not row["holds"] and row["needed"] and row["needed_by"] == by and row["remedy"]
    assert supervisor.text_of("supervisor.log").count("cannot make its sandbox") == 3


def test_check_says_what_cannot_be(host):
    supervisor = host(start=False)
    supervisor.write(REFUSED + "[service:paths]\ncommand = sleep 1\nread_only = /no/such\n")
    drop = []
    if os.geteuid() == 0:
        drop = ["setpriv", "--reuid", str(NOBODY), "--regid", str(NOBODY), "--clear-groups"]
        binary = shutil.copy(BINARY, supervisor.path("supervisor"))
    else:
        binary = BINARY
    done = subprocess.run([*drop, binary, "check", "-c", supervisor.config], capture_output=True,
                          text=True)
    assert done.returncode == 0
    for words in (" warning: [service:tmp] private_tmp: wants mounts of its own",
                  " warning: [service:net] namespaces: we may not make any",
                  " warning: [service:caps] capabilities: cannot be taken away",
                  " warning: [service:paths] read_only: /no/such: No such file or directory"):
        assert words in done.stdout
    assert "plain" not in done.stdout


def test_check_sees_what_a_private_tmp_covers(host):
    supervisor = host(start=False)
    supervisor.write("[service:web]\ncommand = /tmp/web\nprivate_tmp = true\ndirectory = /tmp/x\n"
                     "[service:tmp]\ncommand = /tmp/web\n")
    said = supervisor.run("check", "-c", supervisor.config, code=0).stdout
    assert "[service:web] command: /tmp/web is not there for it: private_tmp covers it" in said
    assert "[service:web] directory: /tmp/x is not there for it: private_tmp covers it" in said
    assert "[service:tmp] command: /tmp/web is not there for it" not in said


@as_root
@pytest.mark.skipif(not shutil.which("setpriv"), reason="needs setpriv")
def test_root_without_the_right_to_mount_is_changed_to(host, place):
    """As in a container as it comes: CAP_SYS_CHROOT, and no CAP_SYS_ADMIN."""
    root = jail(os.path.join(place, "jail"), "sh", "ls", "sleep")
    supervisor = host(start=False, folder=place)
    supervisor.write("[service:web]\ncommand = sh -c 'ls /; echo END; sleep 1000'\n"
                     f"environment = PATH=/bin\nroot = {root}\nuser = nobody\nlog_format = raw\n"
                     "ready = exec:sh -c '! test -e /usr/bin'\n"
                     "[service:tmp]\ncommand = sleep 1000\nprivate_tmp = true\n")
    wrapper = os.path.join(place, "wrapper")
    with open(wrapper, "w") as file:
        file.write(f"#!/bin/sh\nexec setpriv --bounding-set -sys_admin --inh-caps -sys_admin "
                   f"{BINARY} \"$@\"\n")
    os.chmod(wrapper, 0o755)
    supervisor.binary = wrapper
    supervisor.start()
    supervisor.wait_ready("web:0")
    told(supervisor)
    assert supervisor.text_of("log", "web-0.log").split()[:-1] == sorted(os.listdir(root))
    assert "private_tmp: wants mounts" in supervisor.wait_state("tmp:0", "waiting")["waiting_for"]
