"""Some hosts on this machine (transport local:), each with a real supervisor and examples/hello.

    fleet = Fleet()              # three hosts, nothing released yet
    fleet.change()               # other contents: the next release
    fleet.run("release")         # deployctl, its exit code checked
    fleet.one_release()          # all hosts run wholly the same one; its id

The programs are those of $B (DEPLOYCTL_BIN, SUPERVISOR_BIN and HELLO_BIN name others).
"""
import json
import os
import shutil
import subprocess
import tempfile
import threading
import urllib.request

from harness import (MARK, ROOT, SANITIZED, Supervisor, alive, children_of, free_port,
                     wait_for)

BUILD = os.path.join(ROOT, os.environ.get("B", "build/release"))
DEPLOYCTL = os.path.abspath(os.environ.get("DEPLOYCTL_BIN", os.path.join(BUILD, "bin/deployctl")))
HELLO = os.path.abspath(os.environ.get("HELLO_BIN", os.path.join(BUILD, "examples/hello/hello")))
PATIENCE = 90
READY = "20s" if SANITIZED else "5s"
LEASE = 2


def words_of(pid):
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read().decode(errors="replace").split("\0")
    except OSError:
        return []


class Host:
    def __init__(self, folder, name, overlap, more="", **how):
        self.name, self.port, self.root = name, free_port(), os.path.join(folder, name)
        os.makedirs(self.root)
        user = "user = root\n" if os.geteuid() == 0 else ""
        mode = "restart_mode = overlap\n" if overlap else ""
        # notify, because the old instance would answer a question on the shared socket
        self.supervisor = Supervisor(
            f"[socket:http]\nlisten = 127.0.0.1:{self.port}\n"
            f"[service:web]\ncommand = ./hello\nrelease = {self.root}\n{user}{mode}"
            f"sockets = http\nready = notify\nready_timeout = {READY}\n"
            f"live = http://127.0.0.1:{self.port}/health\nlive_interval = 500ms\n"
            "stopwaitsecs = 4s\n" + more.format(root=self.root, user=user, name=name),
            **how).start()

    def path(self, *names):
        return os.path.join(self.root, *names)

    def link(self, name):
        try:
            return os.path.basename(os.readlink(self.path(name)))
        except FileNotFoundError:
            return None

    def state(self):
        return self.supervisor.call("release.state", path=self.root)

    def served(self):
        """The version that a visitor gets; None while nobody answers."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/", timeout=5) as answer:
                return answer.read().decode().split()[2].rstrip(",")
        except OSError:
            return None

    def whole(self):
        """The id of the release that all agree on: pin, link, process, contents; else None."""
        try:
            state = self.state()
        except OSError:
            return None
        pinned = state["pinned"]
        if not pinned or state["phase"] != "steady" or not state["confirmed"]:
            return None
        previous = self.link("previous")
        with open(self.path("releases", pinned, "VERSION")) as file:
            version = file.read().strip()
        agree = (self.link("current") == pinned and state["in_use"] == [pinned] and
                 all(i["release"] == pinned and i["ready"] for i in state["instances"]) and
                 (previous is None or (previous != pinned and
                                       os.path.isdir(self.path("releases", previous)))))
        return pinned if agree and self.served() == version else None

    def settled(self):
        return wait_for(self.whole, f"{self.name} runs wholly one release")

    def text_of(self, *names):
        with open(self.path(*names), errors="replace") as file:
            return file.read()

    def incoming(self):
        try:
            return os.listdir(self.path("releases", ".incoming"))
        except FileNotFoundError:
            return []


class Fleet:
    """more: further sections of each host's supervisor; {root}, {user} and {name} are its own."""
    services = "web"

    def __init__(self, count=3, more="", services="web", **how):
        self.services = services
        self.folder = tempfile.mkdtemp(prefix="deploy-")
        os.chmod(self.folder, 0o755)
        self.source = os.path.join(self.folder, "src")
        self.recipe = os.path.join(self.folder, "deploy.ini")
        os.makedirs(self.source)
        shutil.copy(HELLO, os.path.join(self.source, "hello"))
        self.number = 0
        self.change()
        self.hosts = []
        try:
            for i in range(count):
                self.hosts.append(Host(self.folder, f"h{i + 1}", i != count - 1, more, **how))
        except BaseException:
            self.close()
            raise
        self.write()

    def put(self, name, text="", mode=0o644):
        path = os.path.join(self.source, name)
        with open(path, "wb") as file:
            file.write(text if isinstance(text, bytes) else text.encode())
        os.chmod(path, mode)
        return path

    def change(self):
        """Other contents, good ones; what was put beside them is gone."""
        self.number += 1
        for name in os.listdir(self.source):
            if name not in ("hello", "VERSION"):
                path = os.path.join(self.source, name)
                shutil.rmtree(path) if os.path.isdir(path) and not os.path.islink(path) \
                    else os.unlink(path)
        self.put("VERSION", f"{self.number}.0\n")

    def write(self, extra="", hosts=None, bake="500ms", **paths):
        """deploy.ini; extra goes on in [rollout]; h2="/other/path" moves a host."""
        with open(self.recipe, "w") as file:
            file.write(f"[deploy]\napp = web\nservice = {self.services}\nsource = ./src\n"
                       "[fleet]\nhosts = " + " ".join(hosts or [h.name for h in self.hosts]) + "\n")
            for host in self.hosts:
                file.write(f"[host:{host.name}]\npath = {paths.get(host.name, host.root)}\n"
                           f"transport = local:{host.supervisor.socket}\n")
            file.write(f"[canary]\nbake = {bake}\n[rollout]\nhealthy_for = 200ms\n"
                       f"ready_timeout = {READY}\nconfirm_within = {LEASE}s\n{extra}\n")

    def start(self, *words, **more):
        environment = dict(os.environ, **{MARK: self.folder})
        return subprocess.Popen([DEPLOYCTL, words[0], "-f", self.recipe, *words[1:]],
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT, text=True, errors="replace",
                                env=environment, **more)

    def run(self, *words, code=0, timeout=PATIENCE):
        process = self.start(*words)
        try:
            text, _ = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            raise AssertionError(f"{words} hangs:\n{process.communicate()[0]}") from None
        codes = code if isinstance(code, tuple) else (code,)
        assert process.returncode in codes, f"{words} left with {process.returncode}:\n{text}"
        return text

    def status(self, code=None):
        process = self.start("status", "--json")
        text, _ = process.communicate(timeout=PATIENCE)
        lines = text.strip().splitlines()
        if code is not None:
            assert process.returncode == code, text
        return json.loads(lines[-1])

    def agent_of(self, process, host):
        """The pid of the agent that this deployctl has on this host."""
        for pid in children_of(process.pid):
            if "agent" in words_of(pid) and host.root in words_of(pid):
                return pid
        return None

    def agents(self):
        """All agents that are alive on our hosts."""
        roots = [host.root for host in self.hosts]
        found = []
        for entry in filter(str.isdigit, os.listdir("/proc")):
            words = words_of(entry)
            if "agent" in words and any(root in words for root in roots) and alive(entry):
                found.append(int(entry))
        return found

    def quiet(self):
        wait_for(lambda: not self.agents(), "the end of all agents")

    def ids(self):
        return [host.settled() for host in self.hosts]

    def one_release(self):
        ids = set(self.ids())
        assert len(ids) == 1, ids
        return ids.pop()

    def good_again(self):
        """Whatever happened: everything agrees, nothing is left over, a next release works."""
        self.quiet()
        before = self.one_release()
        self.write()
        self.change()
        self.run("release")
        assert self.one_release() != before
        assert not any(host.incoming() for host in self.hosts)
        assert not any(os.path.exists(host.path(".deploy/rollout")) for host in self.hosts)
        self.run("status")

    def close(self):
        for host in self.hosts:
            host.supervisor.close()
        shutil.rmtree(self.folder, ignore_errors=True)


class Story:
    """Reads the --json events of a deployctl as they come."""

    def __init__(self, process):
        self.process, self.events, self.text = process, [], ""

    def until(self, fact, what="the moment"):
        """The first event that fits; whoever says nothing for too long is killed."""
        guard = threading.Timer(PATIENCE, self.process.kill)
        guard.start()
        try:
            for line in self.process.stdout:
                self.text += line
                if not line.startswith("{"):
                    continue
                self.events.append(json.loads(line))
                if fact(self.events[-1]):
                    return self.events[-1]
        finally:
            guard.cancel()
        raise AssertionError(f"{what} never came; exit {self.process.wait()}:\n{self.text}")

    def stage(self, name):
        return self.until(lambda e: e["event"] == "stage" and e["stage"] == name, name)

    def host(self, name, state):
        return self.until(lambda e: e["event"] == "host" and e["host"] == name and
                          e["state"] == state, f"{name} {state}")

    def end(self, timeout=PATIENCE):
        text, _ = self.process.communicate(timeout=timeout)
        self.text += text
        for line in text.splitlines():
            if line.startswith("{"):
                self.events.append(json.loads(line))
        return self.process.returncode
