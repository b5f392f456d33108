"""Traffic: hosts leave a load balancer before their services restart, and come back when ready.

The service here is the worst kind for releases: stop-first, gone at once on TERM with whatever it
was answering, so every restart that is not drained shows as failed requests.  A real HAProxy
(Debian's) balances, without retries; a hammer counts.  SLOW_TESTS=1 runs the long form.
"""
import http.client
import json
import os
import re
import shutil
import socket
import subprocess
import tempfile
import threading
import time

import pytest

from harness import MARK, ROOT, SANITIZED, Supervisor, free_port, needs_mounts, wait_for
from hosts import DEPLOYCTL, Fleet, Story

HAPROXY = shutil.which("haproxy", path=os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin")
SLOW = os.environ.get("SLOW_TESTS") == "1"
ROUNDS = (10, 5) if SLOW else (2, 1)  # roll-outs, rollbacks
needs_haproxy = pytest.mark.skipif(not HAPROXY, reason="NOT TESTED: haproxy is missing, install "
                                                       "haproxy")
READY = "20s" if SANITIZED else "10s"

with open(os.path.join(ROOT, "tests/system/abrupt_web")) as script:
    WEB = script.read()


class Host:
    def __init__(self, folder, name):
        self.name, self.port, self.check = name, free_port(), free_port()
        self.root = os.path.join(folder, name)
        os.makedirs(self.root)
        user = "user = root\n" if os.geteuid() == 0 else ""
        self.supervisor = Supervisor(
            f"[service:web]\ncommand = bin/web {self.port}\nrelease = {self.root}\n{user}"
            f"ready = http://127.0.0.1:{self.port}/\nready_interval = 50ms\n"
            f"ready_timeout = {READY}\nstopwaitsecs = 2s\nbackoff_max = 500ms\n"
            f"[service:agent-check]\ncommand = {DEPLOYCTL} agent-check {self.root} "
            f"--listen 127.0.0.1:{self.check}\nready = tcp://127.0.0.1:{self.check}\n").start()

    def path(self, *names):
        return os.path.join(self.root, *names)

    def journal(self, act):
        with open(self.path(".deploy/journal")) as file:
            lines = [json.loads(line) for line in file]
        return [line for line in lines if line["act"] == act]

    def verdict(self):
        """What the load balancer is told."""
        with socket.create_connection(("127.0.0.1", self.check), timeout=10) as peer:
            return peer.makefile().read().strip()


class Farm(Fleet):
    """Three hosts and a recipe; `drain` is its [drain] section."""

    def __init__(self, drain="", count=3):
        self.folder = tempfile.mkdtemp(prefix="traffic-")
        os.chmod(self.folder, 0o755)
        self.source, self.recipe = os.path.join(self.folder, "src"), self.at("deploy.ini")
        os.makedirs(os.path.join(self.source, "bin"))
        self.number, self.hosts, self.processes = 0, [], []
        self.haproxy_port, self.admin = free_port(), self.at("admin.sock")
        try:
            for i in range(count):
                self.hosts.append(Host(self.folder, f"h{i + 1}"))
            self.change()
            self.drain(drain)
        except BaseException:
            self.close()
            raise

    def at(self, name):
        return os.path.join(self.folder, name)

    def change(self, **files):
        self.number += 1
        shutil.rmtree(self.source)
        os.makedirs(os.path.join(self.source, "bin"))
        self.put("bin/web", WEB, 0o755)
        self.put("VERSION", f"{self.number}.0\n")
        for name in files:
            self.put(name.replace("_", "-"))

    def drain(self, keys, extra="", impatient=False):
        self.write(f"{extra}\n[drain]\n{keys}", bake="200ms")
        if impatient:
            with open(self.recipe) as file:
                text = file.read()
            with open(self.recipe, "w") as file:
                file.write(re.sub("ready_timeout = .*", "ready_timeout = 1s", text))

    def balance(self, server=""):
        """Starts HAProxy; `server` are further words of each server, {check} is its agent's port."""
        servers = "".join(
            f"  server {h.name} 127.0.0.1:{h.port} check inter 100ms fall 2 rise 1 "
            f"{server.format(check=h.check)}\n" for h in self.hosts)
        with open(self.at("haproxy.cfg"), "w") as file:
            file.write(f"global\n  stats socket {self.admin} mode 600 level admin\n"
                       "defaults\n  mode http\n  retries 0\n  timeout connect 5s\n"
                       "  timeout client 60s\n  timeout server 60s\n"
                       f"frontend in\n  bind 127.0.0.1:{self.haproxy_port}\n"
                       f"  default_backend web\nbackend web\n{servers}")
        self.processes.append(subprocess.Popen(
            [HAPROXY, "-db", "-f", self.at("haproxy.cfg")], stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env=dict(os.environ, **{MARK: self.folder})))
        wait_for(lambda: os.path.exists(self.admin), "HAProxy")

    def ask(self, command):
        with socket.socket(socket.AF_UNIX) as peer:
            peer.settimeout(10)
            peer.connect(self.admin)
            peer.sendall(command.encode() + b"\n")
            return peer.makefile().read()

    def states(self):
        """Name -> status of the servers, as HAProxy sees them."""
        lines = self.ask("show stat web 4 -1").lstrip("# ").splitlines()
        columns = lines[0].split(",")
        rows = [dict(zip(columns, line.split(","))) for line in lines[1:] if line]
        return {row["svname"]: row["status"] for row in rows}

    def all_up(self):
        def up():
            try:
                return set(self.states().values()) == {"UP"}
            except OSError:
                return False
        wait_for(up, "all servers are up")

    def close(self):
        for process in self.processes:
            process.kill()
            process.wait()
        super().close()


class Hammer:
    """Asks all the time, half on fresh and half on kept connections, and counts."""

    def __init__(self, port, threads=6, slow=False):
        self.port, self.stopped, self.ok, self.bad, self.mixed = port, False, 0, [], []
        self.versions, self.lock = {}, threading.Lock()
        self.threads = [threading.Thread(target=self.work, args=(i % 2 == 0,))
                        for i in range(threads)]
        for thread in self.threads:
            thread.start()

    def work(self, kept):
        connection = None
        while not self.stopped:
            try:
                connection = connection or http.client.HTTPConnection("127.0.0.1", self.port,
                                                                      timeout=30)
                connection.request("GET", "/", headers={} if kept else {"Connection": "close"})
                answer = connection.getresponse()
                self.count(answer.status, answer.headers.get("X-Version"), answer.read().decode())
            except (OSError, http.client.HTTPException) as error:
                self.count(repr(error), None, "")
                connection = connection and connection.close()
            if not kept:
                connection = connection and connection.close()
            time.sleep(0.002)

    def count(self, status, version, body):
        parts = body.split()
        with self.lock:
            if status != 200 or len(parts) != 4:
                self.bad.append((time.monotonic(), status, body))
            elif len(set(parts[1:]) | {version}) != 1:
                self.mixed.append(body)
            else:
                self.ok += 1
                self.versions.setdefault(parts[0], set()).add(version)

    def stop(self):
        self.stopped = True
        for thread in self.threads:
            thread.join()
        for release, versions in self.versions.items():
            if len(versions) != 1:
                self.mixed.append((release, versions))
        return self


@pytest.fixture
def farm():
    made = []

    def make(*arguments, **more):
        made.append(Farm(*arguments, **more))
        return made[-1]
    yield make
    for one in made:
        one.close()


def rounds(fleet):
    """Roll-outs and rollbacks under load; the hammer, stopped."""
    hammer = Hammer(fleet.haproxy_port)
    try:
        for number in range(ROUNDS[0]):
            fleet.change()
            fleet.run("release", "--canary", "1", "--batch", "1")
            if number % 2 == 1 and number // 2 < ROUNDS[1]:
                fleet.run("rollback")
    finally:
        hammer.stop()
    print(f"\n{ROUNDS[0]} roll-outs, {ROUNDS[1]} rollbacks: {hammer.ok} ok, {len(hammer.bad)} "
          f"failed, {len(hammer.mixed)} mixed, releases seen: {len(hammer.versions)}")
    return hammer


def clean(hammer):
    assert hammer.bad == [] and hammer.mixed == [] and hammer.ok > 100


HOW = {
    "socket": ("haproxy_socket = {admin}\nhaproxy_backend = web\n", ""),
    "agent-check": ("delay = 600ms\nwait = 20s\n",
                    "agent-check agent-addr 127.0.0.1 agent-port {check} agent-inter 200ms "
                    "pool-max-conn 0"),
}


@needs_haproxy
@pytest.mark.parametrize("how", HOW)
def test_no_request_fails_and_none_is_mixed(farm, how):
    fleet = farm()
    drain, server = HOW[how]
    fleet.drain(drain.format(admin=fleet.admin))
    fleet.balance(server)
    fleet.run("release")
    fleet.all_up()
    clean(rounds(fleet))
    fleet.all_up()
    for one in fleet.hosts:
        assert len(one.journal("undrain")) == len(one.journal("drain")) > ROUNDS[0]
        assert all(line["result"] == "out" and line["left"] == 0 for line in one.journal("drain"))
        assert not os.path.exists(one.path(".deploy/drained")) and one.verdict() == "ready"


@needs_haproxy
def test_without_draining_requests_do_fail(farm):
    """The same without [drain]: what the other test counts can be more than 0."""
    fleet = farm()
    fleet.write(bake="200ms")
    fleet.balance()
    fleet.run("release")
    fleet.all_up()
    hammer = Hammer(fleet.haproxy_port)
    try:
        fleet.change()
        fleet.run("release")
    finally:
        hammer.stop()
    assert hammer.bad


# --- what is done on a host, and what is left there when it goes wrong ---

def trace(fleet, name):
    """A command that writes down when it ran and what it knew."""
    return (f"echo {name} $DEPLOY_APP $DEPLOY_HOST $DEPLOY_STAGE $(test -e {'.deploy/drained'} "
            f"&& echo marked) >> {fleet.at('trace')}; ")


def traced(fleet):
    with open(fleet.at("trace")) as file:
        return file.read().splitlines()


def test_commands_before_and_after_in_order(farm):
    fleet = farm(count=1)
    web = fleet.hosts[0]
    fleet.run("release")
    fleet.change()
    fleet.drain(f"command = {trace(fleet, 'out')}\nundrain_command = {trace(fleet, 'back')}"
                f"curl -s http://127.0.0.1:{web.port}/ >/dev/null || true",
                extra=f"[hooks]\nbefore_switch = {trace(fleet, 'before')}\n"
                      f"validate = {trace(fleet, 'validate')}")
    text = fleet.run("plan")
    assert "Traffic   each host leaves it before its restart (command, " in text, text
    fleet.run("release")
    words = [line.split()[0] for line in traced(fleet)]
    assert words == ["before", "out", "back", "validate"]
    assert traced(fleet)[1].split() == ["out", "web", "h1", "drain"]
    assert [line["result"] for line in web.journal("drain")] == ["out"]
    assert [line["result"] for line in web.journal("undrain")] == ["back"]


def test_a_wait_ends_at_once_when_connections_end_and_warns_when_they_do_not(farm):
    fleet = farm(count=1)
    web = fleet.hosts[0]
    fleet.run("release")
    fleet.drain("wait = 40s")
    slow = socket.create_connection(("127.0.0.1", web.port), timeout=30)
    fleet.change()
    story = Story(fleet.start("release", "--json"))
    wait_for(lambda: web.verdict() == "drain", "the host is drained")
    assert web.journal("drain") == [] and web.journal("drain-asked")
    slow.close()
    begin = time.monotonic()
    story.host("h1", "drained")
    assert time.monotonic() - begin < 20
    assert story.end() == 0
    fleet.drain("wait = 300ms")
    with socket.create_connection(("127.0.0.1", web.port), timeout=30):
        fleet.change()
        text = fleet.run("release")
    # Or more than one: a probe of the supervisor may be under way.
    left = int(re.search(r"(\d+) connections? (?:was|were) left after 300ms", text)[1])
    assert left >= 1 and web.journal("drain")[-1]["left"] == left
    assert web.verdict() == "ready"


def test_a_host_that_cannot_be_drained_is_not_touched(farm):
    fleet = farm(count=1)
    web = fleet.hosts[0]
    fleet.run("release")
    before = os.readlink(web.path("current"))
    fleet.change()
    fleet.drain(f"command = {trace(fleet, 'out')} echo no balancer; exit 3\n"
                f"undrain_command = {trace(fleet, 'back')}")
    text = fleet.run("release", code=4)
    assert "could not be drained, nothing was switched: [drain] command: it ended with code 3: " \
           "no balancer" in text, text
    assert os.readlink(web.path("current")) == before and web.verdict() == "ready"
    assert [line.split()[0] for line in traced(fleet)] == ["out", "back"]
    fleet.drain(f"haproxy_socket = {fleet.at('nowhere.sock')}\nhaproxy_backend = web")
    assert "nowhere.sock: connecting to HAProxy: No such file" in fleet.run("release", code=4)
    assert os.readlink(web.path("current")) == before and web.verdict() == "ready"
    # A way back is not held up by it.
    fleet.drain("wait = 5s")
    fleet.run("release")
    fleet.drain("command = exit 1")
    assert "going on without having drained: [drain] command: it ended with code 1" \
        in fleet.run("rollback")
    assert os.readlink(web.path("current")) == before and web.verdict() == "ready"


def test_a_bad_release_leaves_nobody_out(farm):
    fleet = farm(count=2)
    fleet.run("release")
    fleet.drain(f"command = {trace(fleet, 'out')}\nundrain_command = {trace(fleet, 'back')}",
                impatient=True)
    fleet.change(never_ready="")
    fleet.run("release", code=1)
    assert [line.split()[0] for line in traced(fleet)] == ["out", "back"]
    assert [one.verdict() for one in fleet.hosts] == ["ready", "ready"]


def test_deployctl_dies_and_the_host_comes_back(farm):
    fleet = farm(count=1)
    web = fleet.hosts[0]
    fleet.run("release")
    fleet.change()
    fleet.drain(f"command = touch {fleet.at('out')}; while [ ! -e {fleet.at('go')} ]; do "
                f"sleep 0.05; done\nundrain_command = touch {fleet.at('back')}")
    process = fleet.start("release")
    wait_for(lambda: os.path.exists(fleet.at("out")), "the command")
    assert web.verdict() == "drain"
    process.kill()
    process.communicate()
    open(fleet.at("go"), "w").close()
    wait_for(lambda: os.path.exists(fleet.at("back")), "undrain_command")
    wait_for(lambda: web.verdict() == "ready", "the host is back")
    fleet.quiet()
    assert [line["result"] for line in web.journal("undrain")] == ["back"]


def test_the_agent_is_killed_and_the_next_one_puts_it_back(farm):
    fleet = farm(count=1)
    web = fleet.hosts[0]
    fleet.run("release")
    fleet.drain(f"command = echo $$ > {fleet.at('out')}; exec sleep 1000\n"
                f"undrain_command = echo back >> {fleet.at('trace')}")
    fleet.change()
    process = fleet.start("release")
    wait_for(lambda: os.path.exists(fleet.at("out")) and os.path.getsize(fleet.at("out")),
             "the command")
    agent = wait_for(lambda: fleet.agent_of(process, web), "the agent")
    process.kill()
    os.kill(agent, 9)
    process.communicate()
    # The load balancer is told at once; what only a command can undo is shown, and undone next.
    wait_for(lambda: web.verdict() == "ready", "the mark counts no more")
    status = fleet.status()
    assert status["hosts"][0]["drained"]["left"] is True
    assert "was left out of the traffic" in " ".join(status["hosts"][0]["warnings"])
    assert not os.path.exists(fleet.at("trace"))
    fleet.run("abort")
    assert traced(fleet) == ["back"]
    assert fleet.status()["hosts"][0]["drained"] is None
    with open(fleet.at("out")) as file:
        os.kill(int(file.read()), 9)


def test_a_service_that_is_not_ready_stays_out_until_it_is(farm):
    """A rollback that fails: nobody is sent to it; `resume` puts it back once it is well."""
    fleet = farm(count=1)
    web = fleet.hosts[0]
    fleet.drain("wait = 1s")
    fleet.run("release")
    good = os.path.basename(os.readlink(web.path("current")))
    fleet.change()
    fleet.run("release")
    broken = web.path("releases", good, "never-ready")
    folder = os.path.dirname(broken)
    os.chmod(folder, 0o755)
    open(broken, "w").close()
    fleet.drain("wait = 1s", impatient=True)
    text = fleet.run("rollback", code=7)
    assert "it stays out of the traffic: its services are not ready" in text, text
    assert web.verdict() == "drain"
    assert fleet.status()["hosts"][0]["drained"]["left"] is True
    os.unlink(broken)
    web.supervisor.run("restart", "web")
    fleet.run("resume")
    assert web.verdict() == "ready" and fleet.status(0)["hosts"][0]["drained"] is None


@needs_haproxy
@needs_mounts
def test_the_example(farm):
    """HAProxy takes its file; the service answers from the mark, as the user that it names."""
    folder = os.path.join(ROOT, "examples/haproxy")
    checked = subprocess.run([HAPROXY, "-c", "-f", os.path.join(folder, "haproxy.cfg")],
                             capture_output=True, text=True)
    assert checked.returncode == 0 and "gent-check" not in checked.stderr, checked
    fleet = farm(count=1)
    web, port = fleet.hosts[0], free_port()
    fleet.run("release")
    with open(os.path.join(folder, "agent-check.ini")) as file:
        text = file.read()
    for old, new in (("/usr/local/bin/deployctl", DEPLOYCTL), ("/srv/web --", f"{web.root} --"),
                     ("0.0.0.0:5500", f"127.0.0.1:{port}"), ("127.0.0.1:5500", f"127.0.0.1:{port}")):
        assert old in text
        text = text.replace(old, new)
    if os.geteuid() != 0:  # neither another user nor a file system of its own
        text = re.sub("(?m)^(user|private_tmp|read_only) = .*$", "", text)
    # Here program and app lie in folders of somebody, in /tmp, which nobody may pass through.
    text = re.sub("(?m)^private_tmp = .*$", "", text.replace("user = nobody", "user = root"))
    supervisor = Supervisor(text).start()
    try:
        supervisor.wait_ready("agent-check:0")
        web.check = port
        assert web.verdict() == "ready"
        with open(web.path(".deploy/drained"), "w") as file:
            json.dump({"stays": True, "how": {}}, file)
        assert web.verdict() == "drain"
        with open(web.path(".deploy/drained"), "w") as file:
            file.write("damaged")
        assert web.verdict() == "ready"
    finally:
        supervisor.close()
