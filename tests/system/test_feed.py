"""Events for a helper: filters, and nothing is lost when helper, feeder or core die."""
import http.server
import json
import os
import shutil
import signal
import subprocess
import threading

import pytest

from harness import BINARY, ROOT, host, wait_for  # noqa: F401

HELPER = """
import os, sys
out = open(sys.argv[1], "a")
for line in iter(sys.stdin.buffer.readline, b""):
    out.write(line.decode()); out.flush(); os.fsync(out.fileno())
    os.write(3, line.split(b",")[0].split(b":")[1].strip() + b"\\n")
"""


CLIENT = """
import socket, sys
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
s.sendall(sys.argv[2].encode() + b"\\n")
print(s.makefile().readline())
"""


def lines_of(s, name):
    text = s.text_of(name)
    return [json.loads(line) for line in text.splitlines()] if text.endswith("\n") else []


def test_filters(host):
    s = host("[service:web]\ncommand = false\nstartretries = 2\nbackoff_min = 1ms\nnumprocs = 2\n"
             "[service:db]\ncommand = false\nstartretries = 0\n")
    for name in ("web:0", "web:1", "db:0"):
        s.wait_state(name, "failed")

    def get(*words):
        return [json.loads(line) for line in s.run("events", *words).stdout.splitlines()]
    assert {e["event"] for e in get("--only", "exit")} == {"exit"}
    assert {e["instance"] for e in get("--only", "ex*", "--of", "web")} == {"web:0", "web:1"}
    assert {e["instance"] for e in get("--of", "web:1,db")} == {"web:1", "db:0"}
    assert get("--only", "nothing") == []
    s.run("stop", "db")
    assert [e["order"] for e in get("--only", "order", "--of", "d?")] == ["stop"]


def test_a_helper_loses_nothing_whoever_dies(host):
    s = host(start=False)
    with open(s.path("helper.py"), "w") as file:
        file.write(HELPER)
    s.write("[service:noisy]\ncommand = true\nbackoff_min = 20ms\nbackoff_max = 20ms\n"
            "[service:tell]\nstartsecs = 0\nbackoff_min = 10ms\nbackoff_max = 10ms\n"
            f"command = {BINARY} events -s {s.socket} --only exit --of noisy --acks "
            f"--resume {s.path('seq')} -- python3 {s.path('helper.py')} {s.path('out')}\n")
    s.start()
    for round in range(6):
        before = len(lines_of(s, "out"))
        wait_for(lambda: len(lines_of(s, "out")) > before + 5, "more events")
        if round % 3 == 2:
            s.kill_core()
        else:
            row = s.instance("tell:0")
            with open(f"/proc/{row['pid']}/task/{row['pid']}/children") as file:
                feeder = int(file.read().split()[0])
            os.kill(feeder if round % 3 else row["pid"], signal.SIGKILL)
    s.run("stop", "noisy")
    all_of_them = [e["seq"] for e in s.events() if e["event"] == "exit"
                   and e["instance"] == "noisy:0"]
    wait_for(lambda: {e["seq"] for e in lines_of(s, "out")} == set(all_of_them), "all of them")
    got = [e["seq"] for e in lines_of(s, "out")]
    assert len(got) - len(set(got)) <= 6 * 40  # again what was not acknowledged
    wait_for(lambda: int(s.text_of("seq").split()[1]) >= all_of_them[-1], "the number is kept")


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
def test_the_webhook_example(host):
    got, refuse = [], [2]

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if refuse[0] > 0:
                refuse[0] -= 1
                self.send_error(503)
                return
            got.append(json.loads(body))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    folder = os.path.join(ROOT, "examples", "events")
    with open(os.path.join(folder, "supervisor.ini")) as file:
        text = file.read()
    s = host(start=False)
    text = text.replace("%(here)s", folder).replace("sleep 5", "sleep 0.1") \
               .replace(":8086/", f":{server.server_port}/") \
               .replace('events"\n', 'events",WEBHOOK_RETRY="0.1"\n')
    s.write(text)
    s.start()
    try:
        wait_for(lambda: len([e for e in got if e["event"] == "exit"
                              and e["instance"] == "web:0" and e["code"] == 3]) >= 2, "posts")
        assert refuse[0] == 0
        wait_for(lambda: s.call("events.resume", name="tell")["seq"] > 0, "the acknowledged number")
    finally:
        server.shutdown()
        server.server_close()


def test_an_events_section_is_a_service(host):
    s = host(start=False)
    s.write("[service:noisy]\ncommand = true\nbackoff_min = 20ms\nbackoff_max = 20ms\n"
            "[events:tell]\ncommand = sh -c \"while read -r line; do echo $line; done\"\n"
            "events = exit\nservices = noisy\nlog_format = raw\nstartsecs = 0\n"
            "backoff_min = 10ms\nbackoff_max = 10ms\n")
    s.start()

    def told():
        return lines_of(s, os.path.join("log", "tell-0.log"))
    wait_for(lambda: len(told()) > 5, "events")
    s.run("restart", "tell")
    count = len(told())
    s.kill_core()
    wait_for(lambda: len(told()) > count + 5, "events after it was restarted")
    s.run("stop", "noisy")
    wanted = [e["seq"] for e in s.events() if e["event"] == "exit" and e["instance"] == "noisy:0"]
    wait_for(lambda: told()[-1]["seq"] == wanted[-1], "the last one")
    got = [e["seq"] for e in told()]
    # At least once: what was read just before a kill may be told again, and nothing else.
    assert got == sorted(got) and set(got) <= set(wanted) and len(got) - len(set(got)) <= 2
    assert len(set(wanted) - set(got)) <= 1  # one may have been read and not printed yet
    assert '--as "tell"' in s.run("why", "tell").stdout


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: a helper of another user")
@pytest.mark.parametrize("acks", [False, True])
def test_a_helper_of_another_user_goes_on_where_it_was(host, acks):
    s = host(start=False)
    with open(s.path("helper.py"), "w") as file:
        file.write("import os, sys\n"
                   "for line in iter(sys.stdin.buffer.readline, b''):\n"
                   "    print(line.decode(), end='', flush=True)\n"
                   + ("    os.write(3, line.split(b',')[0].split(b':')[1].strip() + b'\\n')\n"
                      if acks else ""))
    text = ("[service:noisy]\ncommand = true\nbackoff_min = 20ms\nbackoff_max = 20ms\n"
            "[service:secret]\ncommand = true\nbackoff_min = 20ms\nbackoff_max = 20ms\n"
            f"[events:tell]\ncommand = /usr/bin/python3 {s.path('helper.py')}\nuser = nobody\n"
            "events = exit\nservices = noisy\nlog_format = raw\nstartsecs = 0\n"
            "backoff_min = 10ms\nbackoff_max = 10ms\n"
            + ("acknowledge = number\n" if acks else ""))
    s.write(text)
    s.start()

    def told():
        return lines_of(s, os.path.join("log", "tell-0.log"))
    wait_for(lambda: len(told()) > 5, "events")
    assert s.call("events.resume", name="tell")["seq"] > 0
    s.run("restart", "tell")
    count = len(told())
    wait_for(lambda: len(told()) > count + 5, "events after it was restarted")
    s.kill_core()
    s.run("restart", "tell")
    count = len(told())
    wait_for(lambda: len(told()) > count + 5, "events after the core was killed")
    s.run("stop", "noisy")
    wanted = [e["seq"] for e in s.events() if e["event"] == "exit" and e["instance"] == "noisy:0"]
    wait_for(lambda: told()[-1]["seq"] == wanted[-1], "the last one")
    got = [e["seq"] for e in told() if e["event"] == "exit"]
    assert {e.get("instance") for e in told() if e["event"] == "exit"} == {"noisy:0"}
    # At least once; what was read just before a stop may be told again, but not all of it.
    assert set(got) <= set(wanted) and len(got) - len(set(got)) <= 20
    assert len(set(wanted) - set(got)) <= (0 if acks else 2)
    # Another supervisor counts from 1: the helper begins with its first event.
    assert s.shutdown() == 0
    before = len(told())
    s.start()
    wait_for(lambda: len(told()) > before + 5, "events of another supervisor")
    first = [e["seq"] for e in s.events() if e["event"] == "exit" and e["instance"] == "noisy:0"]
    assert told()[before]["seq"] == first[0]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: a client of another user")
def test_numbers_are_kept_for_who_runs_the_helper(host):
    s = host("[service:tell]\ncommand = sleep 1000\nuser = daemon\n"
             "[access:x]\nusers = nobody daemon\nverbs = read\nservices = all\n")

    def call(user, method, **params):
        text = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
        done = subprocess.run(["setpriv", f"--reuid={user}", "--clear-groups",
                               "/usr/bin/python3", "-c", CLIENT, s.socket, text],
                              capture_output=True, text=True, check=True, timeout=20)
        answer = json.loads(done.stdout)
        return answer["result"] if "result" in answer else answer["error"]["data"]["kind"]
    assert call("daemon", "events.ack", name="tell", seq=2) == {}
    assert call("daemon", "events.resume", name="tell") == {"seq": 2}
    assert call("nobody", "events.ack", name="tell", seq=3) == "denied"
    assert call("nobody", "events.resume", name="tell") == "denied"
    assert call("daemon", "events.ack", name="nothing", seq=3) == "denied"
    for wrong in (0, -1, 1 << 60, "x", None):
        assert call("daemon", "events.ack", name="tell", seq=wrong) in ("invalid", "protocol")
    assert s.call("events.resume", name="tell") == {"seq": 2}
