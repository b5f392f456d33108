"""The command line against a real supervisor: what it prints, its exit codes, what it waits for."""
import json
import os
import pathlib
import pty
import re
import select
import shutil
import signal
import subprocess
import tempfile

import pytest

from harness import BINARY, alive, host, wait_for  # noqa: F401 (host is a fixture)

SLEEPER = "command = sleep 1000\nstartsecs = 0\n"
BOTH = f"[service:web]\n{SLEEPER}numprocs = 2\n[service:api]\n{SLEEPER}[group:site]\nprograms = web\n"
BAD = '[service:bad]\ncommand = sh -c "echo last words; echo to stderr >&2; exit 3"\nbackoff_min = 1h\n' \
      'backoff_max = 1h\n'


def plain(*words, **environment):
    """A command without any of our options."""
    base = {k: v for k, v in os.environ.items() if k not in ("SUPERVISOR_SOCKET",)}
    return subprocess.run([BINARY, *words], capture_output=True, text=True, timeout=30,
                          env=dict(base, **environment))


# --- without a supervisor ---

def test_help_version_and_wrong_words():
    assert plain("version").stdout.startswith("supervisor ")
    text = plain("help").stdout
    for name in ("run", "check", "status", "start", "stop", "restart", "signal", "reload", "scale",
                 "logs", "events", "why", "switch", "confirm", "rollback", "shutdown", "upgrade",
                 "recover", "options"):
        assert re.search(rf"^  {name}\b", text, re.M), name
        assert plain("help", name).returncode == 0
    wrong = plain("stauts")
    assert wrong.returncode == 2 and 'did you mean "status"' in wrong.stderr
    wrong = plain("status", "--jsn")
    assert wrong.returncode == 2 and "--json" in wrong.stderr


def test_no_supervisor_says_which_socket_and_what_to_do(tmp_path):
    path = str(tmp_path / "none.sock")
    for words in (["status"], ["start", "web"], ["events"], ["why", "web"], ["reload"], ["shutdown"],
                  ["switch", "web", "000001-aaaaaaaa"], ["logs", "web"], ["scale", "web=1"],
                  ["upgrade"], ["recover"]):
        done = plain(*words, "-s", path)
        assert done.returncode == 4, words
        assert path in done.stderr, words
    done = plain("status", SUPERVISOR_SOCKET=path)
    assert path in done.stderr and "supervisor run" in done.stderr


def test_run_without_a_configuration(tmp_path):
    done = plain("run", "-c", str(tmp_path / "none.ini"), "-s", str(tmp_path / "s"))
    assert done.returncode == 1 and "none.ini" in done.stderr
    if not os.path.exists("/etc/supervisor"):
        done = plain("run", "-s", str(tmp_path / "s"))
        assert done.returncode == 1
        assert "/etc/supervisor/supervisor.ini" in done.stderr and "-c PATH" in done.stderr


def test_run_tells_every_error_and_starts_nothing(tmp_path):
    config = tmp_path / "s.ini"
    config.write_text("[service:a]\ncomand = x\n[service:b]\ncommand = x\numask = 9\n")
    done = plain("run", "-c", str(config), "-s", str(tmp_path / "s"))
    assert done.returncode == 1
    assert f"{config}:2: " in done.stderr and "command" in done.stderr
    assert f"{config}:5: " in done.stderr
    assert not (tmp_path / "s").exists()


def test_check_json_tells_every_value_and_its_place(tmp_path):
    config, more = tmp_path / "s.ini", tmp_path / "more.ini"
    config.write_text("[supervisor]\ninclude = more.ini\n[service:web]\ncommand = echo 'a b' %(process_num)d\n"
                      "numprocs = 2\nstopwaitsecs = 1m\nrlimit_nofile = 1024\nexitcodes = 0, TERM\n"
                      "environment = A=\"x y\"\n[service:bad]\ncommand = /no/such/program\n")
    more.write_text("[group:site]\nprograms = web\npriority = 7\n")
    done = plain("check", "--json", "-c", str(config), SECRET="not shown")
    answer = json.loads(done.stdout)
    assert done.returncode == 0 and "not shown" not in done.stdout
    web = {service["name"]: service for service in answer["services"]}["web"]
    assert (web["kind"], web["group"], web["file"], web["line"]) == ("service", "site", str(config), 3)
    assert web["keys"]["stopwaitsecs"] == {"value": 60.0, "file": str(config), "line": 6}
    assert web["keys"]["autostart"] == {"value": True, "file": None, "line": None}
    assert web["keys"]["exitcodes"]["value"] == [0, "TERM"]
    assert web["keys"]["rlimit_nofile"]["value"] == 1024 and web["keys"]["rlimit_core"]["value"] is None
    assert [one["command"] for one in web["instances"]] == [["echo", "a b", "0"], ["echo", "a b", "1"]]
    assert web["instances"][1]["id"] == "web:1" and web["instances"][1]["environment"] == {"A": "x y"}
    assert answer["groups"] == [{"name": "site", "priority": 7, "programs": ["web"]}]
    assert any("/no/such/program" in note["text"] and note["line"] for note in answer["warnings"])
    more.write_text("[group:site]\nprograms = wbe\n")
    done = plain("check", "--json", "-c", str(config))
    answer = json.loads(done.stdout)
    assert done.returncode == 1 and answer["services"] == []
    assert [(note["file"], note["line"]) for note in answer["errors"]] == [(str(more), 2)]


def test_check(tmp_path):
    config = tmp_path / "s.ini"
    config.write_text("[service:a]\ncommand = /no/such/program\nuser = nobdy\n"
                      "[service:b]\ncommand = no-such-program\n[service:c]\ncommand = true\n")
    done = plain("check", "-c", str(config))
    assert done.returncode == 0
    assert f"{config}:3: warning: [service:a] user: " in done.stdout
    assert f"{config}:2: warning: [service:a] command: /no/such/program" in done.stdout
    assert f"{config}:5: warning: [service:b] command: " in done.stdout
    assert "service:c" not in done.stdout
    assert done.stdout.endswith("3 services, no errors\n")
    config.write_text("[service:a]\ncomand = x\n[servce:b]\n")
    done = plain("check", "-c", str(config))
    assert done.returncode == 1
    assert f'{config}:2: ' in done.stdout and '"command"' in done.stdout
    assert re.search(r"^\d errors$", done.stdout, re.M)


LINTED = """[supervisor]
shutdown_timeout = 20s
[service:db]
command = sleep 1000
autostart = false
ready = tcp://127.0.0.1:5432
[service:web]
command = sleep 1000
requires = db
restart_mode = overlap
stopwaitsecs = 30s
live = tcp://127.0.0.1:5432
live_timeout = 20s
directory = /no/such/folder
environment_file = /no/such/file
[service:many]
command = sleep 1000
numprocs = 3
stopsignal = KILL
restart_mode = overlap
ready = http://127.0.0.1:8080/
live = exec:/no/such/check
[service:job]
command = /etc/passwd
type = oneshot
pre_start = /etc
live = tcp://127.0.0.1:9090
stdout_logfile = /tmp
[socket:any]
listen = 0.0.0.0:9090 /no/such/folder/a.sock
owner = no-such-user
[socket:one]
listen = 127.0.0.1:9090
[service:user]
command = sleep 1000
sockets = any one
ready = tcp://127.0.0.1:9090
"""
WARNINGS = {
    6: [],
    9: ["requires: waits for db"],
    10: ["restart_mode: overlap without ready"],
    11: ["stopwaitsecs: 30s is longer than shutdown_timeout"],
    12: ["live: 127.0.0.1:5432 is also asked of db"],
    13: ["live_timeout: 20s is longer than the time between two checks, 10s"],
    14: ["directory: /no/such/folder is not there"],
    15: ["environment_file: /no/such/file: No such file"],
    19: ["stopsignal: KILL leaves it no time"],
    20: ["restart_mode: overlap without sockets"],
    21: ["ready: all instances are asked at 127.0.0.1:8080"],
    22: ["live: /no/such/check is not there"],
    24: ["command: /etc/passwd is not executable"],
    26: ["pre_start: /etc is not a file"],
    27: ["live: a oneshot is done when it ends", "live: 127.0.0.1:9090 is [socket:one]"],
    28: ["stdout_logfile: /tmp is a folder"],
    29: ["owner: ", "listen: the folder /no/such/folder is not there"],
    32: ["listen: 127.0.0.1:9090 cannot be opened beside 0.0.0.0:9090 of [socket:any]"],
    37: ["ready: always passes", "ready: 127.0.0.1:9090 is also asked of job"],
}


def test_check_lints(tmp_path):
    config = tmp_path / "s.ini"
    config.write_text(LINTED)
    done = plain("check", "-c", str(config))
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert lines.pop() == "5 services, no errors"
    found = {}
    for line in lines:
        place = re.match(rf"{re.escape(str(config))}:(\d+): warning: \[[a-z]+:[a-z]+\] (.*)", line)
        assert place, line
        found.setdefault(int(place[1]), []).append(place[2])
    for number, texts in WARNINGS.items():
        for text in texts:
            assert any(one.startswith(text) for one in found.get(number, [])), (number, text, lines)
    assert sum(map(len, found.values())) == sum(map(len, WARNINGS.values())), lines
    # What is meant is not complained of.
    config.write_text("[service:db]\ncommand = sleep 1000\nready = tcp://127.0.0.1:5432\n"
                      "[service:web]\ncommand = sleep 1000\nrequires = db\nrestart_mode = overlap\nready = notify\n"
                      "sockets = web\nlive = http://127.0.0.1:8080/\nnumprocs = 2\n"
                      "[socket:web]\nlisten = 127.0.0.1:8080 [::]:8080\n"
                      "[service:many]\ncommand = sleep 1000\nnumprocs = 2\nlive = tcp://127.0.0.1:81%(process_num)02d\n"
                      "environment_file = -/no/such/file\ndirectory = /\n")
    assert plain("check", "-c", str(config)).stdout == "3 services, no errors\n"


def test_options():
    everything = plain("options").stdout
    for section in ("[supervisor]", "[service:NAME]", "[socket:NAME]", "[group:NAME]", "[include]"):
        assert section in everything
    one = plain("options", "autorestart")
    assert one.returncode == 0 and "unexpected" in one.stdout and "[program:NAME]" in one.stdout
    wrong = plain("options", "autorestrt")
    assert wrong.returncode == 4 and 'did you mean "autorestart"' in wrong.stderr
    sample = plain("options", "--sample")
    assert sample.returncode == 0 and ";autorestart" in sample.stdout


def test_run_a_command_as_an_entrypoint(tmp_path):
    assert plain("run", "--", "sh", "-c", "exit 7").returncode == 7
    assert plain("run", "--", "sh", "-c", "kill -KILL $$").returncode == 137
    assert plain("run", "--", "no-such-program").returncode == 127
    assert plain("run", "-c", "x", "--", "true").returncode == 2
    # Options of the command are its own.
    assert plain("run", "--", "sh", "-c", "echo $0", "-v").stdout == "-v\n"


@pytest.fixture
def open_folder():
    """tmp_path is closed to other users."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="supervisor-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def test_finds_the_socket_by_itself(open_folder):
    """Neither -s nor a variable: a folder of one's own; the same command line finds it again."""
    uid = gid = 100000 + os.getpid()  # others may run this, too
    tmp_path = open_folder
    if os.geteuid() != 0:
        pytest.skip("needs root to become somebody who may not write to /run")
    if os.stat("/run").st_mode & 0o002:
        pytest.skip("NOT TESTED: here anybody may write to /run")
    config = tmp_path / "s.ini"
    config.write_text(f"[supervisor]\nlog_dir = {tmp_path}/log\nstate_dir = {tmp_path}/state\n"
                      f"[service:web]\n{SLEEPER}")
    runtime = tmp_path / "runtime"
    runtime.mkdir()
    for path in (tmp_path, runtime):
        os.chown(path, uid, gid)
    binary = tmp_path / "supervisor"
    shutil.copy(BINARY, binary)

    def start(command, **environment):
        return subprocess.Popen([binary, *command], user=uid, group=gid, extra_groups=[],
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True, cwd="/",
                                env={"PATH": os.environ["PATH"], **environment})
    for environment, folder in (({"XDG_RUNTIME_DIR": str(runtime)}, runtime / "supervisor"),
                                ({}, f"/tmp/supervisor-{uid}")):
        server = start(["run", "-c", str(config)], **environment)
        try:
            def running():
                assert server.poll() is None, server.stderr.read()
                status = start(["status"], **environment)
                return "web:0" in status.communicate()[0] and status.returncode == 0
            wait_for(running, "the service to run")
            assert os.path.exists(f"{folder}/control.sock")
            assert os.stat(folder).st_mode & 0o777 == 0o700
        finally:
            server.terminate()
            server.communicate(timeout=20)
        shutil.rmtree(folder)


# --- with one ---

def test_status_and_its_exit_codes(host):
    s = host(BOTH)
    s.wait_state("web:0", "running")
    s.wait_state("web:1", "running")
    s.wait_state("api:0", "running")
    text = s.run("status").stdout
    assert re.search(r"^NAME +STATE +READY +PID +UPTIME", text, re.M)
    assert re.search(r"^web:1 +running +yes +\d+ ", text, re.M)
    assert re.search(r"^supervisor \S+, pid \d+, up ", text, re.M)
    assert "\033" not in text
    assert all(len(line) <= 80 for line in text.splitlines())
    some = s.run("status", "site:*").stdout
    assert "web:0" in some and "api:0" not in some
    status = json.loads(s.run("status", "--json", "web:1").stdout)
    assert [i["id"] for i in status["services"][0]["instances"]] == ["web:1"]
    done = s.run("status", "wbe", code=4)
    assert '"wbe"' in done.stderr and '"web"' in done.stderr
    s.run("stop", "api")
    s.run("status")  # what was stopped by an order is not wanted
    assert "stop ordered by uid" in s.run("status", "api").stdout


def test_status_3_when_something_is_down(host):
    s = host(BAD + '[service:done]\ntype = oneshot\ncommand = true\n'
             + f"[service:needs]\n{SLEEPER}requires = bad\n")
    s.wait_state("bad:0", "backoff")
    s.wait_state("done:0", "exited")
    text = s.run("status", code=3).stdout
    assert "exited with code 3; next try in" in text
    assert "waits for bad:0" in text
    s.run("status", "done")


def test_colours_only_on_a_terminal_without_no_color(host):
    s = host(BOTH)
    s.wait_state("api:0", "running")

    def on_terminal(**environment):
        mine, theirs = pty.openpty()
        process = subprocess.Popen([BINARY, "status", "-s", s.socket], stdout=theirs,
                                   stdin=subprocess.DEVNULL,
                                   env=dict(os.environ, TERM="xterm", **environment))
        os.close(theirs)
        text = b""
        while select.select([mine], [], [], 20)[0]:
            try:
                text += os.read(mine, 4096)
            except OSError:
                break
        process.wait()
        os.close(mine)
        return text
    assert b"\033[32m" in on_terminal()
    assert b"\033" not in on_terminal(NO_COLOR="1")


def test_start_stop_restart(host):
    s = host(f"[service:web]\n{SLEEPER}numprocs = 2\nautostart = false\n")
    assert s.run("start", "web").stdout == "web:0 started\nweb:1 started\n"
    before = s.instances("web")
    assert s.run("restart", "web:1").stdout == "web:1 restarted\n"
    after = s.instances("web")
    assert before["web:0"]["pid"] == after["web:0"]["pid"]
    assert before["web:1"]["pid"] != after["web:1"]["pid"]
    assert s.run("stop", "all").stdout == "web:0 stopped\nweb:1 stopped\n"
    assert not any(alive(row["pid"]) for row in after.values())
    assert "ordered" in s.run("start", "--no-wait", "web:0").stdout
    s.wait_state("web:0", "running")
    for verb in ("start", "stop", "restart"):
        done = s.run(verb, code=2)
        assert '"all"' in done.stderr
        s.run(verb, "nope", code=4)


def test_a_failed_start_says_why(host):
    s = host(BAD + "autostart = false\n")
    done = s.run("start", "bad", code=1)
    assert "bad:0 did not start: exited with code 3; trying again in" in done.stderr
    assert re.search(r"^    .*(last words|to stderr)$", done.stderr, re.M)
    answer = json.loads(s.run("start", "bad", "--json", code=1).stdout)
    assert answer["ok"] is False


def test_a_start_outlives_the_core(host):
    s = host("[service:slow]\ncommand = sleep 1000\nautostart = false\nready = exec:test -e "
             "%(here)s/go\nready_interval = 50ms\nready_timeout = 60s\n")
    start = subprocess.Popen([BINARY, "start", "slow", "-s", s.socket], stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, text=True)
    s.wait_state("slow:0", "starting")
    s.kill_core()
    open(s.path("go"), "w").close()
    output = start.communicate(timeout=30)[0]
    assert (start.returncode, output) == (0, "slow:0 started\n")


def test_signal(host):
    s = host('[service:web]\ncommand = sh -c "trap \'echo got usr1\' USR1; echo ready; '
             'while :; do sleep 0.05; done"\nstartsecs = 0\n')
    wait_for(lambda: "ready" in s.text_of("log", "web-0.log"), "the trap")
    assert "sent to 1 of 1 instance" in s.run("signal", "usr1", "web").stdout
    wait_for(lambda: "got usr1" in s.text_of("log", "web-0.log"), "the signal")
    assert "NOSUCH" in s.run("signal", "NOSUCH", "web", code=1).stderr
    s.run("signal", "HUP", code=2)
    s.run("stop", "web")
    s.run("signal", "HUP", "web", code=1)


def test_scale(host):
    s = host(f"[service:web]\n{SLEEPER}")
    assert s.run("scale", "web=3").stdout == "web: 3 instances\n"
    s.wait_state("web:2", "running")
    s.run("scale", "web=1")
    wait_for(lambda: len(s.instances()) == 1, "one instance")
    for wrong in ("web", "web=", "=3", "web=x", "web=-1"):
        assert s.run("scale", wrong, code=None).returncode in (1, 2)
    s.run("scale", "nope=1", code=4)
    s.run("scale", "web=2", "api=x", code=2)
    assert len(s.instances()) == 1  # the first word was not carried out either


def test_scale_is_one_order(host):
    s = host(f"[service:web]\n{SLEEPER}[service:api]\n{SLEEPER}")
    wrong = s.run("scale", "web=3", "apy=2", code=4)
    assert 'nothing was changed' in wrong.stderr and 'did you mean "api"?' in wrong.stderr
    assert "api: the number" in s.run("scale", "web=3", "api=1001", code=1).stderr
    assert "web is given twice" in s.run("scale", "web=3", "web=2", code=2).stderr
    assert sorted(s.instances()) == ["api:0", "web:0"]
    done = s.run("scale", "web=2", "api=3")
    assert done.stdout == "web: 2 instances\napi: 3 instances\n"
    assert sorted(s.instances()) == ["api:0", "api:1", "api:2", "web:0", "web:1"]
    scales = [event for event in s.events(1) if event["event"] == "scale"]
    assert [(event["service"], event["count"]) for event in scales] == [("web", 2), ("api", 3)]
    assert s.text_of("state", "scale.json") == '{"web":2,"api":3}'


def test_reload(host):
    s = host(f"[service:web]\n{SLEEPER}[service:old]\n{SLEEPER}")
    s.wait_state("web:0", "running")
    assert "nothing has changed" in s.run("reload").stdout
    s.write(f"[service:web]\ncommand = sleep 2000\nstartsecs = 0\n[service:new]\n{SLEEPER}")
    pid = s.instance("web:0")["pid"]
    text = s.run("reload", "--plan").stdout
    would, would_not = text.split("would not be interrupted:\n")
    assert re.search(r"^  web +restarts\n    command: sleep 1000 -> sleep 2000$", would, re.M), text
    assert re.search(r"^  old +is stopped and removed$", would, re.M)
    assert re.search(r"^  new +is new, and starts$", would_not, re.M)
    assert s.instance("web:0")["pid"] == pid
    plan = json.loads(s.run("reload", "--plan", "--json").stdout)
    assert plan["applied"] is False
    text = s.run("reload").stdout
    assert text.startswith("interrupted:\n") and re.search(r"^  web +restarts$", text, re.M)
    s.wait_state("new:0", "running")
    s.wait_instance("web:0", lambda row: row["pid"] not in (None, pid), "another process")
    wait_for(lambda: "old:0" not in s.instances(), "the end of old")
    pids = {name: row["pid"] for name, row in s.instances().items()}
    s.write(f"[service:web]\ncomand = x\n[service:new]\numask = 9\n{SLEEPER}")
    done = s.run("reload", code=1)
    assert f"{s.config}:" in done.stderr and "nothing was changed" in done.stderr
    assert len(re.findall(rf"^{re.escape(s.config)}:\d+: ", done.stderr, re.M)) >= 2
    assert {name: row["pid"] for name, row in s.instances().items()} == pids


def test_wrong_uses_of_reload(host):
    s = host(f"[service:web]\n{SLEEPER}")
    for words, hint in ((("web", "--plan"), "leave the name out"),
                        (("web", "a", "--undo"), "leave the names out"),
                        (("--no-wait",), "goes with names"), (("--pla",), "--plan")):
        done = s.run("reload", *words, code=2)
        assert hint in done.stderr and not done.stdout, done
    assert "did you mean" in s.run("reload", "wev", code=4).stderr
    assert "has no reload_signal" in s.run("reload", "web", code=1).stderr


def test_plan_at_eighty_columns_shows_no_secret(host):
    s = host(f"[service:web]\n{SLEEPER}environment = PASSWORD=hunter1,GONE=2\n")
    s.wait_state("web:0", "running")
    s.write(f"[service:web]\n{SLEEPER.replace('1000', '1000 ' + 'x' * 300)}"
            "environment = PASSWORD=hunter2,NEW=3\n")
    done = subprocess.run(
        ["script", "-qec", f"stty cols 80; {s.binary} reload --plan -s {s.socket}", "/dev/null"],
        capture_output=True, text=True, env=dict(s.environment, NO_COLOR="1"))
    lines = done.stdout.replace("\r", "").splitlines()
    assert max(map(len, lines)) == 80 and any(line.endswith("...") for line in lines)
    assert "    environment: PASSWORD -GONE +NEW" in lines
    for text in (done.stdout, s.run("reload", "--plan", "--json").stdout, s.run("reload").stdout):
        assert "hunter" not in text
    assert "hunter" not in json.dumps(s.events())


def test_logs(host):
    s = host('[service:web]\ncommand = sh -c "i=0; while [ $i -lt 30 ]; do echo line $i; '
             'i=$((i+1)); done; echo err >&2; exec sleep 1000"\nstartsecs = 0\nnumprocs = 2\n'
             f'log_format = raw\nredirect_stderr = false\n[service:none]\n{SLEEPER}stdout_logfile = none\n')
    for number in (0, 1):
        wait_for(lambda: "line 29" in s.text_of("log", f"web-{number}.log"), "the output")
    assert s.run("logs", "web:0").stdout == "".join(f"line {i}\n" for i in range(20, 30))
    assert s.run("logs", "web:0", "-n", "2").stdout == "line 28\nline 29\n"
    assert s.run("logs", "web", "-n", "1").stdout == "web:0 | line 29\nweb:1 | line 29\n"
    assert s.run("logs", "web", "-n", "0").stdout == ""
    wait_for(lambda: s.text_of("log", "web-0.stderr.log") or s.run("logs", "--stderr", "web:0").stdout,
             "standard error")
    assert s.run("logs", "--stderr", "web:0").stdout == "err\n"
    s.run("logs", "web", "-n", "x", code=2)
    assert "stdout_logfile" in s.run("logs", "none", code=1).stderr


def test_logs_follows_across_rotation(host):
    s = host('[service:web]\ncommand = sh -c "i=0; while :; do echo line $i; i=$((i+1)); '
             'sleep 0.002; done"\nstartsecs = 0\nlog_format = raw\n'
             'stdout_logfile_maxbytes = 2KB\nstdout_logfile_backups = 50\n')
    wait_for(lambda: s.text_of("log", "web-0.log"), "output")
    logs = subprocess.Popen([BINARY, "logs", "-f", "-n", "1", "web", "-s", s.socket],
                            stdout=subprocess.PIPE, text=True)
    try:
        seen = [int(logs.stdout.readline().split()[1]) for _ in range(1000)]
    finally:
        logs.kill()
        logs.communicate()
    assert os.path.exists(s.path("log", "web-0.log.2"))  # it was rotated more than once
    assert seen == list(range(seen[0], seen[0] + 1000))


def test_events(host):
    s = host(BOTH)
    s.wait_state("web:0", "running")
    events = [json.loads(line) for line in s.run("events").stdout.splitlines()]
    assert [e["seq"] for e in events] == list(range(1, len(events) + 1))
    assert any(e["event"] == "core-start" for e in events)
    last = events[-1]["seq"]
    later = [json.loads(line) for line in s.run("events", "--since", str(last)).stdout.splitlines()]
    assert later[0]["seq"] == last
    s.run("events", "--since", "0", code=2)


def test_events_followed_across_a_crash_of_the_core(host):
    s = host(BOTH)
    s.wait_state("web:0", "running")
    follow = subprocess.Popen([BINARY, "events", "-f", "--since", "1", "-s", s.socket],
                              stdout=subprocess.PIPE, text=True)
    try:
        s.kill_core()
        s.run("restart", "web:0")
        numbers = []
        while True:
            event = json.loads(follow.stdout.readline())
            numbers.append(event["seq"])
            if event["event"] == "state" and event["to"] == "running" and \
                    any(n for n in numbers) and event["instance"] == "web:0" and \
                    s.instance("web:0")["pid"] == event["pid"]:
                break
    finally:
        follow.kill()
        follow.communicate()
    assert numbers == list(range(1, len(numbers) + 1))


def test_why(host):
    s = host(BAD + f"[service:needs]\n{SLEEPER}requires = bad\n")
    s.wait_state("bad:0", "backoff")
    s.run("start", "bad", code=1)
    text = s.run("why", "bad").stdout
    line = [i for i, l in enumerate(open(s.config), 1) if l.startswith("[service:bad]")][0]
    for part in ("bad:0 is down and will be tried again", "reason        exited with code 3",
                 "next try", "last exit     code 3 after", "start bad by root", "last words", "to stderr",
                 f"{s.config}:{line}", "restarts"):
        assert part in text, part
    assert "waits for     bad:0" in s.run("why", "needs").stdout
    answer = json.loads(s.run("why", "--json", "bad").stdout)
    assert answer["instances"][0]["last_exit"]["code"] == 3
    s.run("why", "nope", code=4)
    s.run("why", code=2)


def test_recover(host):
    s = host(BOTH)
    pid = s.wait_state("web:0", "running")["pid"]
    core = s.core_pid
    assert "nothing was done" in s.run("recover").stdout
    assert s.core_pid == core
    os.kill(core, signal.SIGSTOP)
    text = s.run("recover").stdout
    assert f"(pid {core}) did not answer and was killed" in text
    assert s.core_pid != core and not alive(core)
    assert s.instance("web:0")["pid"] == pid
    text = s.run("recover", "--force").stdout
    assert "answered and was killed" in text


def test_upgrade(host, tmp_path):
    binary = tmp_path / "supervisor"
    shutil.copy(BINARY, binary)
    s = host(BOTH, binary=str(binary))
    s.wait_state("web:0", "running")
    pids = {name: row["pid"] for name, row in s.instances().items()}
    core, guardian = s.core_pid, s.pid
    new = tmp_path / "supervisor.new"
    shutil.copy(BINARY, new)
    os.rename(new, binary)
    assert re.match(r"upgraded: \S+ -> \S+ ", s.run("upgrade").stdout)
    assert s.pid == guardian and s.core_pid != core
    assert {name: row["pid"] for name, row in s.instances().items()} == pids
    for wrong in ("/bin/true", "/bin/false", "/no/such", s.config):
        core = s.core_pid
        done = s.run("upgrade", wrong, code=1)
        assert wrong in done.stderr
        assert s.core_pid == core
    assert {name: row["pid"] for name, row in s.instances().items()} == pids


def test_shutdown_waits_until_all_is_gone(host):
    s = host(BOTH)
    s.wait_state("web:1", "running")
    pids = [row["pid"] for row in s.instances().values()]
    s.run("shutdown", "--reboot", code=1)  # not the init of a host
    s.run("shutdown")
    assert not any(alive(pid) for pid in pids)
    s.start()  # at once: nothing of it is left
    assert s.process.poll() is None


# --- releases ---

FIRST, SECOND, BROKEN = "000001-aaaaaaaa", "000002-bbbbbbbb", "000003-cccccccc"


@pytest.fixture
def released(host):
    supervisor = host(start=False)
    folder = supervisor.path("srv")
    for name, code in ((FIRST, 0), (SECOND, 0), (BROKEN, 1)):
        os.makedirs(f"{folder}/releases/{name}")
        with open(f"{folder}/releases/{name}/serve", "w") as file:
            file.write(f"#!/bin/sh\necho this is {name}\n" +
                       (f"exit {code}\n" if code else "exec sleep 1000\n"))
        os.chmod(f"{folder}/releases/{name}/serve", 0o755)
    user = "user = root\n" if os.geteuid() == 0 else ""
    supervisor.write(f"[service:web]\ncommand = ./serve\nrelease = {folder}\nstartsecs = 0.2\n{user}"
                     f"[service:api]\n{SLEEPER}")
    return supervisor.start()


def test_switch_confirm_rollback(released):
    s = released
    assert "waits for release" in s.run("status", code=3).stdout
    assert f"web: switched to {FIRST}" in s.run("switch", "web", FIRST).stdout
    assert f"switched to {SECOND} from {FIRST}" in s.run("switch", "web", SECOND).stdout
    assert s.instance("web:0")["release"] == SECOND
    done = s.run("switch", "web", BROKEN, "--timeout", "5s", code=1)
    assert "was undone" in done.stderr and f"on {SECOND}" in done.stderr
    assert s.instance("web:0")["release"] == SECOND
    assert f"switched to {FIRST}" in s.run("rollback", "web").stdout
    assert f"switched to {SECOND}" in s.run("rollback", "web", "--to", SECOND).stdout
    text = s.run("switch", "web", FIRST, "--confirm-within", "60s").stdout
    assert f"supervisor confirm web {FIRST}" in text
    assert "is confirmed" in s.run("confirm", "web", FIRST).stdout
    answer = json.loads(s.run("switch", "--json", "web", SECOND).stdout)
    assert (answer["result"], answer["from"]) == ("switched", FIRST)


def test_switch_refuses(released):
    s = released
    s.run("switch", "nope", FIRST, code=4)
    s.run("switch", "web", "000009-99999999", code=4)
    s.run("switch", "web", code=2)
    s.run("switch", "web", FIRST, "--timeout", "soon", code=2)
    assert "release" in s.run("switch", "api", FIRST, code=1).stderr
    s.run("rollback", "web", code=None)


def test_switch_outlives_the_core(released):
    s = released
    s.run("switch", "web", FIRST)
    s.wait_ready("web:0")
    switch = subprocess.Popen([BINARY, "switch", "web", SECOND, "-s", s.socket],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    s.wait_event(lambda e: e["event"] == "order" and e.get("release") == SECOND)
    s.kill_core()
    output = switch.communicate(timeout=30)[0]
    assert switch.returncode == 0, output
    assert SECOND in output and s.instance("web:0")["release"] == SECOND


def test_reload_gives_the_socket_to_another_group(host):
    if os.geteuid() != 0:
        pytest.skip("needs root to give a socket to another group")
    s = host(f"[service:web]\n{SLEEPER}")

    def owner():
        status = os.stat(s.socket)
        return status.st_gid, status.st_mode & 0o777
    assert owner() == (0, 0o660)
    s.write(f"[service:web]\n{SLEEPER}", "control_group = 54321\nsocket_mode = 0666\n")
    s.run("reload")
    assert owner() == (54321, 0o666)
    s.write(f"[service:web]\n{SLEEPER}", "control_group = no-such-group\n")
    assert "no-such-group" in s.run("reload", code=1).stderr
    assert "no-such-group" in plain("check", "-c", s.config).stdout
    s.write(f"[service:web]\n{SLEEPER}")
    s.run("reload")
    assert owner() == (0, 0o660)


def test_a_check_that_fails_is_told_with_its_answer(host):
    s = host(f"[service:web]\n{SLEEPER}ready = unix:/nowhere/at-all\nready_timeout = 1d\n")
    s.wait_event(lambda e: e["event"] == "state" and e["to"] == "starting")
    wait_for(lambda: s.instance("web:0").get("check_error"), "a check")
    assert "ready check: " in s.run("status", code=3).stdout
    text = s.run("why", "web").stdout
    assert re.search("ready when +unix:/nowhere/at-all", text), text
    assert re.search("checks +[0-9]+ made, [0-9]+ failed; the last: ready check: ", text), text
