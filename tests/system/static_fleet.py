"""Hosts without services (transport local:): releases are files and links, so stories are quick.

    with StaticFleet() as fleet:
        fleet.put("index.html", "hello")
        fleet.run("release")
"""
import json
import os
import shutil
import subprocess
import tempfile

from harness import ROOT

DEPLOYCTL = os.path.abspath(os.environ.get(
    "DEPLOYCTL_BIN",
    os.path.join(ROOT, os.environ.get("B", "build/release"), "bin", "deployctl")))


class StaticFleet:
    def __init__(self, count=2):
        self.folder = tempfile.mkdtemp(prefix="deploy-")
        os.chmod(self.folder, 0o755)
        self.source = self.path("src")
        self.recipe = self.path("deploy.ini")
        os.makedirs(self.source)
        self.roots = [self.path(f"h{i + 1}") for i in range(count)]
        for root in self.roots:
            os.makedirs(root)
        self.environment = {}
        self.write()

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        shutil.rmtree(self.folder, ignore_errors=True)

    def path(self, *names):
        return os.path.join(self.folder, *names)

    def write(self, deploy="", extra=""):
        hosts = "".join(f"[host:h{i + 1}]\npath = {root}\ntransport = local:\n"
                        for i, root in enumerate(self.roots))
        with open(self.recipe, "w") as file:
            file.write(f"[deploy]\napp = web\nsource = ./src\n{deploy}\n{hosts}"
                       f"[canary]\nbake = 0s\n[rollout]\nhealthy_for = 0s\n{extra}\n")

    def put(self, name, text, mode=0o644):
        path = os.path.join(self.source, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as file:
            file.write(text)
        os.chmod(path, mode)

    def run(self, *words, code=0):
        done = subprocess.run([DEPLOYCTL, words[0], "-f", self.recipe, *words[1:]],
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=60,
                              env={**os.environ, **self.environment})
        assert done.returncode == code, f"{words} left with {done.returncode}:\n{done.stdout}"
        return done.stdout

    def json(self, *words, code=0):
        return json.loads(self.run(*words, "--json", code=code).splitlines()[-1])

    def release(self, *words, **files):
        """Writes files into the source and releases it; the id."""
        for name, text in files.items():
            self.put(name, text)
        self.run("release", *words)
        return self.current()

    def current(self, host=0):
        return os.path.basename(os.readlink(os.path.join(self.roots[host], "current")))

    def at(self, *names, host=0):
        """A path in the release that runs on a host."""
        return os.path.join(self.roots[host], "releases", self.current(host), *names)
