"""The examples, run as they ship: only ports, and where state and logs go, are put elsewhere."""
import os
import re
import shutil
import signal
import subprocess
import time
import urllib.error
import urllib.request

import pytest

from harness import (BINARY, DEADLINE, ROOT, alive, free_port, host,  # noqa: F401 (host: a fixture)
                     wait_for)

EXAMPLES = os.path.join(ROOT, "examples")
BUILT = os.path.join(os.path.dirname(os.path.dirname(BINARY)), "examples")
# Debian keeps servers where a user's PATH does not look.
os.environ["PATH"] = os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin:/sbin"


def needs(program, package):
    if not shutil.which(program):
        pytest.skip(f"NOT TESTED: {program} is missing, install {package}")


def replace(folder, changes):
    """In every text file of the copied example."""
    for name in os.listdir(folder):
        path = os.path.join(folder, name)
        if os.path.isfile(path) and name != "hello":
            with open(path) as file:
                text = file.read()
            for old, new in changes.items():
                text = text.replace(str(old), str(new))
            with open(path, "w") as file:
                file.write(text)


def example(host, name, ini, **changes):
    """A supervisor, not started, on a copy of the example."""
    s = host(start=False)
    settings = s.text_of("supervisor.ini")
    shutil.copytree(os.path.join(EXAMPLES, name), s.folder, dirs_exist_ok=True)
    replace(s.folder, changes)
    s.config = s.path(ini)
    text = s.text_of(ini)
    with open(s.config, "w") as file:
        file.write(settings + text)
    return s


def get(port, path="/"):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=DEADLINE) as answer:
        return answer.read().decode()


# --- nginx ---

@pytest.fixture
def nginx(host):
    needs("nginx", "nginx-light")
    s = example(host, "nginx", "nginx.ini", **{"8081": free_port()})
    s.port = int(re.search(r"listen = 127.0.0.1:(\d+)", s.text_of("nginx.ini")).group(1))
    s.start()
    s.wait_ready("nginx:0")
    return s


def test_nginx_serves(nginx):
    assert "supervised nginx" in get(nginx.port)
    row = nginx.wait_instance("nginx:0", lambda row: row["health"] == "ok", "healthy")
    nginx.call("signal", names=["nginx"], signal="HUP")  # reads its configuration again
    assert "supervised nginx" in get(nginx.port)
    assert nginx.instance("nginx:0")["pid"] == row["pid"]
    wait_for(lambda: "using inherited sockets" in nginx.text_of("log", "nginx-0.log"), "its log")


def test_nginx_is_back_when_killed(nginx):
    before = nginx.instance("nginx:0")["pid"]
    os.kill(before, signal.SIGKILL)
    nginx.wait_instance("nginx:0", lambda row: row["ready"] and row["pid"] != before, "another")
    assert "supervised nginx" in get(nginx.port)


def test_nginx_restarts_without_refusing_anyone(nginx):
    """Every request from before to after the restart is answered."""
    before = nginx.instance("nginx:0")["pid"]
    connection = nginx.connect()
    number = connection.send("restart", names=["nginx"])
    asked = 0
    connection.socket.setblocking(False)
    end = time.monotonic() + DEADLINE
    while nginx.instance("nginx:0")["pid"] == before or alive(before):
        assert "supervised nginx" in get(nginx.port)
        asked += 1
        assert time.monotonic() < end, "the old nginx did not leave"
    connection.socket.setblocking(True)
    connection.answer(number)
    connection.close()
    assert asked > 0
    assert nginx.instance("nginx:0")["ready"]
    assert "supervised nginx" in get(nginx.port)


# --- Redis ---

class Redis:
    def __init__(self, port):
        self.port = port

    def __call__(self, *words):
        return subprocess.run(["redis-cli", "-e", "-p", str(self.port), *words], timeout=DEADLINE,
                              capture_output=True, text=True).stdout.strip()


def test_redis_keeps_its_data(host):
    needs("redis-server", "redis-server")
    port = free_port()
    s = example(host, "redis", "redis.ini", **{"6380": port})
    s.start()
    row = s.wait_ready("redis:0")
    redis = Redis(port)
    assert redis("set", "greeting", "hello") == "OK"
    os.kill(row["pid"], signal.SIGKILL)
    s.wait_instance("redis:0", lambda now: now["ready"] and now["pid"] != row["pid"], "another")
    assert redis("get", "greeting") == "hello"
    s.wait_instance("redis:0", lambda now: now["health"] == "ok", "healthy")
    assert s.shutdown() == 0
    assert "Redis is now ready to exit" in s.text_of("log", "redis-0.log")


# --- a backup each night ---

def test_backup_runs_and_what_fails_is_told(host):
    s = example(host, "backup", "backup.ini", **{"backoff_min = 10s": "backoff_min = 10ms"})
    os.mkdir(s.path("data"))
    with open(s.path("data", "today"), "w") as file:
        file.write("Monday")
    s.start()
    row = s.wait_state("backup:0", "scheduled")
    assert row["next_run"] and row["schedule_timezone"] == "Europe/Berlin"
    assert "backup:0 done" in s.run("start", "backup").stdout
    made = os.listdir(s.path("backups"))
    assert len(made) == 1 and made[0].endswith(".tar.gz")
    listed = subprocess.run(["tar", "-xzOf", s.path("backups", made[0]), "./today"],
                            capture_output=True, text=True)
    assert listed.stdout == "Monday"
    os.rename(s.path("data"), s.path("moved"))
    assert "did not start" in s.run("start", "backup", code=1).stderr
    row = s.wait_state("backup:0", "failed")
    assert row["runs"]["failed"] == 1
    wait_for(lambda: s.text_of("failed").startswith("backup: "), "on_failed")
    assert [n for n in os.listdir(s.path("backups")) if n.endswith(".tar.gz")] == made
    s.run("start", "forget")


# --- a container's first process ---

def in_namespace(*words):
    """The start of a command that runs as PID 1 of its own."""
    start = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
    if os.getuid() != 0:
        start[1:1] = ["--user", "--map-root-user"]
    if subprocess.run([*start, "true"], capture_output=True).returncode != 0:
        pytest.skip("NOT TESTED: this machine allows no namespaces (unshare)")
    return [*start, *words]


def test_container_with_one_program():
    done = subprocess.run(in_namespace(BINARY, "run", "--", "sh", "-c", "echo $$; ps -e; exit 7"),
                          capture_output=True, text=True, timeout=DEADLINE)
    assert done.returncode == 7, done.stderr
    lines = done.stdout.split("\n")
    assert lines[0] == "2" and re.match(r"\s*1 .* supervisor$", lines[2])


def test_container_with_one_program_that_is_killed():
    done = subprocess.run(in_namespace(BINARY, "run", "--", "sh", "-c", "kill -9 $$"),
                          capture_output=True, text=True, timeout=DEADLINE)
    assert done.returncode == 128 + 9


def test_container_with_one_program_leaves_no_zombie():
    """An orphan that ends is reaped while the program goes on."""
    script = "(sh -c 'exec sh -c :' & ) ; " \
             "until ! ps -eo stat | grep -q Z; do :; done; ps -eo stat,comm"
    done = subprocess.run(in_namespace(BINARY, "run", "--", "sh", "-c", script),
                          capture_output=True, text=True, timeout=DEADLINE)
    assert done.returncode == 0 and "Z" not in done.stdout.replace("STAT", ""), done.stdout


@pytest.fixture
def container(host):
    """The container's own file, its /app in our folder; not started."""
    port = free_port()
    s = example(host, "container", "supervisor.ini", **{"8080": port})
    replace(s.folder, {"/app": s.folder})
    shutil.copy(os.path.join(BUILT, "hello", "hello"), s.folder)
    s.port = port
    s.binary_words = in_namespace(s.binary, "run", "-c", s.config, "-s", s.socket)
    yield s
    if s.process and s.process.poll() is None:  # unshare itself does not hear a TERM
        os.kill(first_process(s), signal.SIGTERM)


def start_in_namespace(s):
    s.process = subprocess.Popen(s.binary_words, stdin=subprocess.DEVNULL, text=True,
                                 stdout=open(s.path("out"), "w"), stderr=open(s.log, "w"),
                                 env=s.environment)
    s.wait_up()


def first_process(s):
    """PID 1 in there, by its number out here: the only child of unshare."""
    with open(f"/proc/{s.process.pid}/task/{s.process.pid}/children") as file:
        return int(file.read().split()[0])


def test_container_with_services(container):
    start_in_namespace(container)
    container.wait_ready("web:0")
    assert get(container.port).startswith("hello from")
    assert container.instance("migrate:0")["state"] == "exited"
    assert container.call("status", names=["all"])["supervisor"]["pid"] == 1
    out = wait_for(lambda: container.text_of("out"), "output")
    assert "the tables are up to date" in out and "serves as process" in out
    os.kill(first_process(container), signal.SIGTERM)
    assert container.process.wait(DEADLINE) == 0
    assert "has left" in container.text_of("out")


def test_container_waits_for_what_is_not_there_yet(container):
    flag = container.path("database-is-down")
    open(flag, "w").close()
    start_in_namespace(container)
    container.wait_instance("migrate:0", lambda row: row["restarts"] >= 1, "a second try")
    assert container.instance("web:0")["waiting_for"]
    os.unlink(flag)
    container.wait_ready("web:0")


def test_container_ends_with_the_code_of_what_gave_up(container):
    open(container.path("crash"), "w").close()
    start_in_namespace(container)
    assert container.process.wait(DEADLINE) == 1
    assert "broken on purpose" in container.text_of("supervisor.log")


# --- all of them ---

@pytest.mark.parametrize("name", sorted(
    os.path.relpath(os.path.join(folder, name), EXAMPLES)
    for folder, _, names in os.walk(EXAMPLES) for name in names
    if name.endswith(".ini") and name != "deploy.ini" and not folder.endswith("/conf.d")))
def test_configuration_is_valid(host, name):
    """`supervisor check` finds nothing in any file that ships but what this machine lacks."""
    s = host(start=False)
    folder = s.path("copy")
    shutil.copytree(os.path.dirname(os.path.join(EXAMPLES, name)), folder)
    done = subprocess.run([s.binary, "check", "-c", os.path.join(folder, os.path.basename(name))],
                          capture_output=True, text=True, timeout=DEADLINE)
    assert done.returncode == 0, done.stdout + done.stderr
    here = (" is not there", " on this host", "there is no command", "which we may not make")
    warnings = [line for line in (done.stdout + done.stderr).split("\n")
                if "warning" in line and not any(lack in line for lack in here)]
    assert warnings == []
