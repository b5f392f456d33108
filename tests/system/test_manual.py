"""What is meant for people at a terminal: manual pages, completion, the live table."""
import json
import os
import pty
import re
import select
import shutil
import subprocess
import time

import pytest

from harness import BINARY, ROOT, host  # noqa: F401 (a fixture)

FOLDER = os.path.dirname(BINARY)
PAGES = {("supervisor", "8"), ("supervisor", "5"), ("deployctl", "1"), ("deployctl", "5")}


def output(*words, **more):
    return subprocess.run(words, check=True, capture_output=True, text=True, timeout=30,
                          **more).stdout


@pytest.mark.parametrize("program, section", sorted(PAGES))
def test_pages(program, section):
    page = output(os.path.join(FOLDER, program), "manual", section)
    lint = subprocess.run(["mandoc", "-T", "lint", "-W", "warning"], input=page, text=True,
                          capture_output=True)
    assert lint.returncode == 0, lint.stdout
    text = output("mandoc", "-T", "utf8", "-O", "width=80", input=page)
    plain = re.sub(".\b", "", text)  # bold is overstrike
    if section == "5":
        keys = re.findall(r"^  (\w+)$", output(os.path.join(FOLDER, program), "options"), re.M)
    else:
        keys = [line.split()[0] for line in output(os.path.join(FOLDER, program),
                                                   "help").splitlines()
                if line.startswith("  ") and line[2].isalpha()]
    assert len(keys) > 10 and [key for key in keys if key not in plain] == []


class Terminal:
    """A shell at a terminal, where <Tab> means something."""

    def __init__(self, *words, environment):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execvpe(words[0], words, environment)
        self.text = ""

    def type(self, text):
        os.write(self.fd, text.encode())

    def until(self, wanted, deadline=20):
        end = time.monotonic() + deadline
        while wanted not in self.text:
            left = end - time.monotonic()
            assert left > 0 and select.select([self.fd], [], [], left)[0], self.text
            self.text += os.read(self.fd, 65536).decode(errors="replace")
        self.text = self.text.split(wanted, 1)[1]

    def close(self):
        os.close(self.fd)
        os.waitpid(self.pid, 0)


@pytest.fixture
def site(host, tmp_path):
    supervisor = host("[service:frontend]\ncommand = sleep 1000\nnumprocs = 2\n"
                      "[service:database]\ncommand = sleep 1000\n")
    return dict(os.environ, SUPERVISOR_SOCKET=supervisor.socket, HOME=str(tmp_path),
                PATH=FOLDER + ":" + os.environ["PATH"], TERM="dumb", PS1="ready> ")


def ask(site, *words):
    return [line.split("\t")[0] for line in
            output("supervisor", "complete", "--", *words, env=site).splitlines()]


def test_offers(site):
    assert ask(site, "relo") == ["reload"]
    assert "status" in ask(site) and "complete" not in ask(site)
    assert ask(site, "status", "fr") == ["frontend"]
    assert ask(site, "status", "frontend") == ["frontend", "frontend:0", "frontend:1"]
    assert ask(site, "stop", "a") == ["all"]
    assert ask(site, "status", "--js") == ["--json"]
    assert ask(site, "signal", "US") == ["USR1", "USR2"]
    assert ask(site, "signal", "HUP", "data") == ["database"]
    assert ask(site, "scale", "f") == ["frontend="]
    assert ask(site, "options", "stopwait") == ["stopwaitsecs"]
    assert ask(site, "check", "-c", "") == [":files"]
    assert ask(site, "-s", "/nowhere", "status", "fr") == []


@pytest.fixture
def recipe(tmp_path):
    (tmp_path / "h1/releases/000007-0a1b2c3d").mkdir(parents=True)
    (tmp_path / "deploy.ini").write_text(
        "[deploy]\napp = web\nservice = frontend worker\n[fleet]\n"
        "hosts = web[1-2].example.net db1 here\n[host:db1]\nlabels = zone=a\n"
        f"[host:here]\ntransport = local:\npath = {tmp_path}/h1\n")
    return dict(os.environ, HOME=str(tmp_path), PATH=FOLDER + ":" + os.environ["PATH"],
                TERM="dumb", PS1="ready> ")


def offered(tmp_path, recipe, *words):
    return [line.split("\t")[0] for line in output("deployctl", "complete", "--", *words,
                                                   env=recipe, cwd=tmp_path).splitlines()]


def test_deployctl_offers_what_deploy_ini_names(tmp_path, recipe):
    ask_here = lambda *words: offered(tmp_path, recipe, *words)  # noqa: E731
    assert ask_here("unfr") == ["unfreeze"]
    assert ask_here("status", "--hosts", "web") == ["web1.example.net", "web2.example.net"]
    assert ask_here("status", "--hosts", "zone") == ["zone=a"]
    assert ask_here("release", "--canary", "d") == ["db1"]
    assert ask_here("rollback", "--to", "0") == ["000007-0a1b2c3d"]
    assert ask_here("why", "") == ask_here("verify", "") == ["000007-0a1b2c3d"]
    assert ask_here("logs", "") == ["frontend", "worker"]
    assert ask_here("bootstrap", "db") == ["db1"]
    assert ask_here("release", "--file", "") == [":files"]
    assert ask_here("status", "--hosts", "nobody") == []
    os.unlink(tmp_path / "deploy.ini")
    assert ask_here("status", "--hosts", "") == []


def test_deployctl_in_bash(tmp_path, recipe):
    shell = Terminal("bash", "--norc", "--noprofile", "-i", environment=recipe)
    try:
        shell.type(f"cd {tmp_path}; eval \"$(deployctl completion bash)\"; echo re''ady\n")
        shell.until("ready\r\n")
        shell.type("echo deployctl; deployctl status --hosts d\t")
        shell.until("deployctl status --hosts db1 ")
        shell.type("\x15deployctl rollback --to 0\t")
        shell.until("deployctl rollback --to 000007-0a1b2c3d")
        shell.type("\x15exit\n")
    finally:
        shell.close()


def test_deployctl_in_zsh(tmp_path, recipe):
    (tmp_path / "_deployctl").write_text(output("deployctl", "completion", "zsh", env=recipe))
    shell = Terminal("zsh", "-f", "-i", environment=recipe)
    try:
        shell.type(f"cd {tmp_path}; fpath=({tmp_path} $fpath); autoload -U compinit; "
                   "compinit -u -D; echo re''ady\n")
        shell.until("ready\r\n")
        shell.type("deployctl status --hosts d\t")
        shell.until("deployctl status --hosts db1")
        shell.type("\x15exit\n")
    finally:
        shell.close()


def test_deployctl_in_fish(tmp_path, recipe):
    script = output("deployctl", "completion", "fish", env=recipe)
    lines = output("fish", "--no-config", "-c",
                   f"{script}\ncomplete -C 'deployctl status --hosts web1'", env=recipe,
                   cwd=tmp_path).splitlines()
    assert [line.split("\t")[0] for line in lines] == ["web1.example.net"]


def test_bash(site):
    shell = Terminal("bash", "--norc", "--noprofile", "-i", environment=site)
    try:
        shell.type("eval \"$(supervisor completion bash)\"; echo re''ady\n")
        shell.until("ready\r\n")
        shell.type("echo supervisor; supervisor rel\t")
        shell.until("supervisor reload ")
        shell.type("\x15supervisor stop frontend:1\t")
        shell.until("supervisor stop frontend:1 ")
        shell.type("\x15supervisor stop dat\t")
        shell.until("supervisor stop database ")
        shell.type("\x15exit\n")
    finally:
        shell.close()


def test_zsh(site, tmp_path):
    functions = tmp_path / "functions"
    functions.mkdir()
    (functions / "_supervisor").write_text(output("supervisor", "completion", "zsh", env=site))
    shell = Terminal("zsh", "-f", "-i", environment=site)
    try:
        shell.type(f"fpath=({functions} $fpath); autoload -U compinit; compinit -u -D; "
                   "echo re''ady\n")
        shell.until("ready\r\n")
        shell.type("supervisor stop dat\t")
        shell.until("supervisor stop database")
        shell.type("\x15supervisor rel\t")
        shell.until("supervisor reload")
        shell.type("\x15exit\n")
    finally:
        shell.close()


def test_fish(site):
    script = output("supervisor", "completion", "fish", env=site)
    lines = output("fish", "--no-config", "-c",
                   f"{script}\ncomplete -C 'supervisor stop fro'", env=site).splitlines()
    assert [line.split("\t")[0] for line in lines] == ["frontend"]


def test_unknown_shell():
    run = subprocess.run([BINARY, "completion", "tcsh"], capture_output=True, text=True)
    assert run.returncode == 2 and "bash, zsh or fish" in run.stderr


def test_install_puts_them_in_place(tmp_path):
    if shutil.which("make") is None:
        pytest.skip("no make")
    subprocess.run(["make", "-s", "install", f"DESTDIR={tmp_path}", "prefix=/usr",
                    f"B={os.path.dirname(FOLDER)}"], cwd=ROOT, check=True, capture_output=True)
    for path in ("man/man8/supervisor.8", "man/man5/supervisor.ini.5", "man/man1/deployctl.1",
                 "man/man5/deploy.ini.5", "bash-completion/completions/supervisor",
                 "zsh/site-functions/_deployctl", "fish/vendor_completions.d/deployctl.fish"):
        assert os.path.getsize(tmp_path / "usr/share" / path) > 200


def test_top(host):
    supervisor = host("[service:busy]\ncommand = sh -c 'while :; do :; done'\n"
                      "[service:idle]\ncommand = sleep 1000\n")
    supervisor.wait_ready("busy:0")
    supervisor.wait_ready("idle:0")
    answer = json.loads(output(BINARY, "top", "--json", "-s", supervisor.socket))
    rows = {row["id"]: row for row in answer["instances"]}
    assert rows["busy:0"]["cpu_percent"] > rows["idle:0"]["cpu_percent"]
    assert rows["idle:0"]["processes"] == 1 and rows["idle:0"]["memory_bytes"] > 10000
    table = output(BINARY, "top", "-1", "-s", supervisor.socket)
    assert table.index("busy:0") < table.index("idle:0")
    terminal = Terminal(BINARY, "top", "-i", "100ms", "-s", supervisor.socket,
                        environment=dict(os.environ, TERM="xterm"))
    try:
        terminal.until("by cpu")
        terminal.type("n")
        terminal.until("by name")
        supervisor.kill_core()  # the next one is asked
        terminal.text = ""
        terminal.until("by name")
        terminal.type("q")
        terminal.until("\x1b[?1049l")
        assert os.waitstatus_to_exitcode(os.waitpid(terminal.pid, 0)[1]) == 0
    finally:
        os.close(terminal.fd)
