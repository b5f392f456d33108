"""[access:NAME]: rights per command and service, judged at each request."""
import json
import os
import pwd
import signal
import subprocess

import pytest

from harness import BINARY, Connection, Failed, host, wait_for  # noqa: F401 (a fixture)

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: clients of other users")
BOB, EVE, GROUP = 61002, 61003, 61900
SERVICES = ("[service:web]\ncommand = sleep 1000\nstartsecs = 0\n"
            "[service:worker]\ncommand = sleep 1000\nstartsecs = 0\nnumprocs = 2\n"
            "[service:db]\ncommand = sleep 1000\nstartsecs = 0\n"
            "[group:back]\nprograms = worker db\n")


def access(verbs, services, users=BOB, groups=None, name="deploy"):
    whom = f"groups = {groups}\n" if groups else f"users = {users}\n"
    return f"[access:{name}]\n{whom}verbs = {verbs}\nservices = {services}\n"


class As:
    """A connection that another user opened; requests are judged by who opened it."""

    def __init__(self, supervisor, uid, groups=()):
        ours, theirs = os.pipe(), os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                os.setgroups(list(groups))
                os.setresgid(uid, uid, uid)
                os.setresuid(uid, uid, uid)
                connection = Connection(supervisor.socket)
                os.close(ours[1]), os.close(theirs[0])
                for line in os.fdopen(ours[0], closefd=False):
                    method, params = json.loads(line)
                    if method == "event":
                        answer = connection.next_event()
                    else:
                        try:
                            answer = {"ok": connection.call(method, **params)}
                        except Failed as failed:
                            answer = {"kind": failed.kind, "text": str(failed)}
                    os.write(theirs[1], json.dumps(answer).encode() + b"\n")
            except BaseException as problem:  # as a connection that was not listened to
                os.write(theirs[1], json.dumps({"kind": repr(problem)}).encode() + b"\n")
            finally:
                os._exit(0)
        os.close(ours[0]), os.close(theirs[1])
        self.orders, self.answers = os.fdopen(ours[1], "w"), os.fdopen(theirs[0])

    def ask(self, method, **params):
        self.orders.write(json.dumps([method, params]) + "\n")
        self.orders.flush()
        return json.loads(self.answers.readline() or '{"kind": "gone"}')

    def ok(self, method, **params):
        answer = self.ask(method, **params)
        assert "ok" in answer, (method, params, answer)
        return answer["ok"]

    def denied(self, method, **params):
        answer = self.ask(method, **params)
        assert answer.get("kind") == "denied", (method, params, answer)
        return answer["text"]

    def next_event(self):
        return self.ask("event")

    def close(self):
        os.kill(self.pid, signal.SIGKILL)  # later ones hold copies of its pipes
        os.waitpid(self.pid, 0)
        self.orders.close(), self.answers.close()


@pytest.fixture
def user():
    made = []

    def make(*words, **more):
        made.append(As(*words, **more))
        return made[-1]
    yield make
    for one in made:
        one.close()


def test_verbs_and_services(host, user):
    s = host(SERVICES + access("start restart logs", "web back:*", name="deploy")
             + access("stop", "web", name="more") + access("read", "all", groups=GROUP, name="look"))
    bob = user(s, BOB)
    for name in ("web", "worker", "db:0", "back:*"):
        assert bob.ok("restart", names=[name])["ok"]
    assert bob.ok("logs", names=["web"])["logs"][0]["instance"] == "web:0"
    assert bob.ok("stop", names=["web"])["ok"]
    text = bob.denied("stop", names=["db"])
    line = s.text_of("supervisor.ini").splitlines().index("[access:deploy]") + 1
    assert text == (f"permission denied: uid {BOB} may not stop db; [access:deploy] at "
                    f"{s.config}:{line} allows: status, logs, start, restart; add stop to its "
                    "verbs and reload")
    assert "more" not in text
    # One that is refused refuses all, and nothing of it is done.
    bob.ok("start", names=["web"])
    before = {i: row["pid"] for i, row in s.instances().items()}
    for names in (["web", "db"], ["all"], ["web", "back:*"]):
        assert "may not stop" in bob.denied("stop", names=names)
    assert {i: row["pid"] for i, row in s.instances().items()} == before
    for method, params in [("signal", {"names": ["web"], "signal": "TERM"}), ("reload", {}),
                           ("scale", {"name": "worker", "count": 3}), ("shutdown", {}),
                           ("upgrade", {}), ("doctor", {}), ("events", {}), ("why", {
                               "names": ["web"]}), ("release.switch", {"path": "/x", "id": "1"})]:
        bob.denied(method, **params)
    # An unknown name is one for those who may something, and a refusal for the others.
    assert bob.ask("start", names=["wbe"])["kind"] == "not-found"
    assert user(s, EVE).ask("start", names=["wbe"])["kind"] == "denied"
    assert "[access:NAME]" in user(s, EVE).denied("status")
    # Supplementary groups count.
    carol = user(s, EVE, groups=[5, GROUP])
    assert len(carol.ok("why", names=["db"])["instances"]) == 1
    assert carol.ok("doctor")["running"]
    carol.denied("logs", names=["db"])
    many = user(s, EVE, groups=[*range(1000, 1100), GROUP])
    assert many.ok("status")["services"]


def test_a_scale_of_several_needs_the_right_for_each(host, user):
    s = host(SERVICES + access("scale", "web worker"))
    bob = user(s, BOB)
    assert "may not scale db" in bob.denied("scale", counts={"web": 2, "db": 2})
    assert bob.ask("scale", counts={"web": 2, "wbe": 2})["kind"] == "not-found"
    assert len(s.instances()) == 4
    assert bob.ok("scale", counts={"web": 2, "worker": 1})["counts"] == {"web": 2, "worker": 1}
    assert "may not scale" in user(s, EVE).denied("scale", counts={"web": 2})


def test_the_right_to_upgrade_runs_no_file_as_root(host, user, tmp_path):
    s = host(SERVICES + access("all", "all"))
    mine = tmp_path / "mine"
    mine.write_text(f"#!/bin/sh\n: >{tmp_path}/ran\n")
    mine.chmod(0o755)
    bob, core = user(s, BOB), s.core_pid
    assert "only root" in bob.denied("upgrade", binary=str(mine))
    assert bob.ok("upgrade")["binary"] == os.path.realpath(BINARY)
    wait_for(lambda: answers_as_another(s, core), "the core of the same file")
    assert not (tmp_path / "ran").exists() and s.instance("web:0")["state"] == "running"


def answers_as_another(s, core):
    try:
        return s.core_pid != core
    except OSError:
        return False


def test_status_shows_what_may_be_seen(host, user):
    s = host(SERVICES + "[socket:x]\nlisten = %(here)s/x.sock\n" + access("start", "web")
             + access("read", "db", name="second"))
    bob = user(s, BOB)
    assert [x["name"] for x in bob.ok("status")["services"]] == ["db", "web"]
    assert [x["name"] for x in bob.ok("status", names=["all"])["services"]] == ["db", "web"]
    assert "sockets" in s.call("status") and "sockets" not in bob.ok("status")
    assert "worker" not in bob.ok("status", text={"width": 100})["text"]
    assert [x["id"] for x in bob.ok("why", names=["all"])["instances"]] == ["db:0"]
    assert "may not see the status of worker" in bob.denied("status", names=["web", "worker"])
    assert bob.denied("status", names=["back:*"])
    assert bob.ok("version")


def test_events_are_kept_from_those_who_may_not(host, user):
    s = host(SERVICES + access("events restart", "web"))
    s.wait_ready("web:0"), s.wait_ready("db:0")
    bob = user(s, BOB)
    bob.ok("events", since=1)
    s.run("restart", "db")
    s.run("restart", "web")
    seen = [bob.next_event()]
    while not (seen[-1].get("event") == "order"):
        seen.append(bob.next_event())
    while not (seen[-1].get("event") == "state" and seen[-1]["to"] == "running"):
        seen.append(bob.next_event())
    about = {e.get("instance") for e in seen} | {n for e in seen for n in e.get("names", [])}
    assert about - {None} == {"web", "web:0"}, about
    assert not {"gap", "core-start"} & {e.get("event") for e in seen}
    numbers = [e["seq"] for e in seen if "seq" in e]
    assert numbers == sorted(set(numbers))
    # The command ends though the last events are none of theirs.
    s.run("restart", "db")
    done = subprocess.run(["setpriv", f"--reuid={BOB}", "--regid=9999", "--clear-groups", BINARY,
                           "events", "-s", s.socket], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0 and '"web:0"' in done.stdout and "db" not in done.stdout


def test_a_reload_takes_rights_from_open_connections(host, user):
    s = host(SERVICES + access("events stop start", "web db"))
    bob, eve = user(s, BOB), user(s, EVE)
    bob.ok("events")
    assert bob.ok("stop", names=["db"])["ok"]
    eve.denied("stop", names=["web"])
    s.write(SERVICES + access("events stop start", "web") + access("stop", "web", EVE, name="eve"))
    text = s.run("reload", "--plan").stdout
    assert "rights that change: deploy, eve" in text
    assert bob.ok("start", names=["db"])["ok"]
    s.run("reload")
    bob.denied("stop", names=["db"])
    assert eve.ok("stop", names=["web"])["ok"]
    s.run("stop", "db")
    s.run("start", "web")
    s.run("stop", "web")
    seen = []
    while not (seen and seen[-1].get("order") == "stop" and seen[-1]["uid"] == 0):
        seen.append(bob.next_event())
    after = [e for e in seen if e.get("uid") == 0]
    assert all(e["names"] == ["web"] for e in after), after
    s.kill_core()
    again = user(s, BOB)
    again.denied("stop", names=["db"])
    assert again.ok("stop", names=["web"])["ok"]


def test_names_that_are_not_there(host, user):
    s = host(start=False)
    good, bad = access("stop", "web"), access("stop", "web", "root, no-such-user", name="bad")
    s.write(SERVICES + good + bad)
    line = s.text_of("supervisor.ini").splitlines().index("users = root, no-such-user") + 1
    check = subprocess.run([BINARY, "check", "-c", s.config], capture_output=True, text=True)
    assert check.returncode == 1
    wanted = f'{s.config}:{line}: [access:bad] users: there is no user "no-such-user" on this host'
    assert wanted in check.stdout and "1 error" in check.stdout
    s.start()  # it grants nothing, and everything runs
    assert user(s, BOB).ok("stop", names=["web"])["ok"]
    assert "no-such-user" in s.text_of("supervisor.log")
    for extra in ([], ["--plan"]):
        refused = s.run("reload", *extra, code=1)
        assert wanted in refused.stderr and "nothing was changed" in refused.stderr
    s.write(SERVICES + access("stop", "db"))
    s.run("reload")
    s.write(SERVICES + access("stop", "all", groups="no-such-group"))
    s.run("reload", code=1)
    user(s, BOB).denied("stop", names=["web"])  # what was loaded last holds
    assert user(s, BOB).ok("stop", names=["db"])["ok"]


def test_the_socket_opens_with_the_first_section(host, user):
    s = host(SERVICES)
    mode = lambda: os.stat(s.socket).st_mode & 0o777  # noqa: E731
    assert mode() == 0o660
    s.write(SERVICES + access("stop", "web"))
    s.run("reload")
    assert mode() == 0o666
    s.write(SERVICES + access("stop", "web"), settings="socket_mode = 0600")
    s.run("reload")
    assert mode() == 0o600
    s.write(SERVICES)
    s.run("reload")
    assert mode() == 0o660


def test_what_people_are_told(host):
    nobody = pwd.getpwnam("nobody")
    s = host(SERVICES + access("start", "web", "nobody"))

    def run(*words):
        return subprocess.run(["setpriv", f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}",
                               "--clear-groups", BINARY, *words, "-s", s.socket],
                              capture_output=True, text=True, timeout=30)
    assert run("start", "web").returncode == 0
    done = run("stop", "web")
    assert done.returncode == 1
    assert (f"supervisor: permission denied: user nobody (uid {nobody.pw_uid}) may not stop web; "
            "[access:deploy] at ") in done.stderr
    assert "allows: status, start; add stop to its verbs and reload" in done.stderr
    assert [line.split()[0] for line in run("status").stdout.splitlines()[1:2]] == ["web:0"]


def test_check_tells_what_a_user_may(host):
    s = host(start=False)
    s.write(SERVICES + access("start read", "web db", "nobody") + access("all", "all", groups="daemon", name="d")
            + access("stop", "db", "nobody", name="more"))

    def may(user, code=0):
        done = subprocess.run([BINARY, "check", "--access", user, "-c", s.config],
                              capture_output=True, text=True)
        assert done.returncode == code, done
        if code != 0:
            return done.stderr
        head, *rest = done.stdout.splitlines()
        assert head.startswith(f"{user} (uid ")
        return {verbs.strip(): set(names.split(", "))
                for verbs, names in (line.split(": ") for line in rest)}
    assert may("nobody") == {"status, why, events, start, stop": {"db"},
                             "status, why, events, start": {"web"}, "nothing": {"worker"}}
    assert may("daemon") == {
        "status, why, events, logs, start, stop, restart, signal, scale, switch, confirm, "
        "rollback": {"db", "web", "worker"},
        "doctor, reload, shutdown, upgrade": {"the supervisor itself"}}
    assert may("root") == may("daemon")
    assert may("61234") == {"nothing": {"db", "web", "worker"}}
    assert 'there is no user "nobdy"' in may("nobdy", 4)


def test_a_socket_that_keeps_them_out_is_told(host):
    s = host(start=False)
    s.write(SERVICES + access("start", "web", "nobody"), settings="socket_mode = 0660")
    done = subprocess.run([BINARY, "check", "-c", s.config], capture_output=True, text=True)
    assert done.returncode == 0 and "try 0666" in done.stdout and "[access:deploy]" in done.stdout
    s.write(SERVICES + access("start", "web", "nobody"))
    done = subprocess.run([BINARY, "check", "-c", s.config], capture_output=True, text=True)
    assert "try 0666" not in done.stdout
    s.start()
    done = subprocess.run(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", BINARY,
                           "doctor", "-s", s.socket], capture_output=True, text=True)
    assert done.returncode == 1 and "may not ask doctor" in done.stderr and not done.stdout


def test_one_user_leaves_room_for_others(host, user):
    s = host(SERVICES + access("stop", "web"))
    hoard = ("import socket, sys\nheld = []\nfor _ in range(200):\n    s = socket.socket(socket.AF_UNIX)"
             "\n    s.connect(sys.argv[1])\n    held.append(s)\nprint('held', flush=True)\n"
             "sys.stdin.read()")
    hoarder = subprocess.Popen(["setpriv", f"--reuid={EVE}", "--regid=9999", "--clear-groups",
                                "/usr/bin/python3", "-c", hoard, s.socket], text=True,
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert hoarder.stdout.readline() == "held\n"
        assert s.call("version")
        assert user(s, BOB).ok("stop", names=["web"])["ok"]
        assert user(s, EVE).ask("version")["kind"] != "denied"  # it is not even listened to
    finally:
        hoarder.kill()
        hoarder.wait(20)
        hoarder.stdin.close(), hoarder.stdout.close()


def test_the_right_to_logs_is_enough(host):
    s = host("[service:web]\ncommand = sh -c 'for i in 1 2 3; do echo line $i; echo err $i >&2; done; "
             "sleep 1000'\nnumprocs = 2\nlog_format = raw\nredirect_stderr = false\n"
             "[service:db]\ncommand = sh -c 'echo secret; sleep 1000'\n"
             + access("logs", "web", "nobody"))
    wait_for(lambda: s.text_of("log", "web-1.log").count("line") == 3, "the output")
    wait_for(lambda: s.text_of("log", "web-0.log").count("line") == 3, "the output")

    def logs(*words, code=0):
        done = subprocess.run(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", BINARY,
                               "logs", *words, "-s", s.socket], capture_output=True, text=True)
        assert done.returncode == code, done
        return done.stdout.splitlines() if code == 0 else done.stderr
    assert logs("web:0", "-n", "2") == ["line 2", "line 3"]
    assert logs("web", "-n", "1") == ["web:0 | line 3", "web:1 | line 3"]
    assert logs("web:1", "--stderr", "-n", "1") == ["err 3"]
    assert logs("web:1", "--both", "-n", "1") == ["line 3", "err 3"]
    assert "may not see the logs of db" in logs("db", code=1)
    assert "last lines" in logs("web", "-f", code=1)
    assert len(s.call("logs.tail", names=["all"], lines=1 << 40)["logs"]) == 3


def test_a_release_set_wants_all_its_services(host, user):
    s = host(start=False)
    folder = s.path("app")
    for release in ("000001-aaaaaaaa", "000002-bbbbbbbb"):
        os.makedirs(os.path.join(folder, "releases", release))
    os.symlink("releases/000001-aaaaaaaa", os.path.join(folder, "current"))
    two = "".join(f"[service:{n}]\ncommand = sleep 1000\nstartsecs = 0\nuser = root\n"
                  f"release = {folder}\n" for n in ("front", "back"))
    s.write(two + access("switch", "front"))
    s.start()
    order = {"path": folder, "id": "000002-bbbbbbbb", "token": "1:r"}
    bob = user(s, BOB)
    assert "may not switch back" in bob.denied("release.switch", **order)
    bob.denied("release.state", path=folder)
    s.write(two + access("switch", "front back"))
    s.run("reload")
    assert bob.ok("release.switch", **order)["result"] == "switched"
    assert bob.ok("release.state", path=folder + "/")["pinned"] == "000002-bbbbbbbb"
    bob.denied("release.rollback", path=folder, token="1:r")
    bob.denied("release.switch", path="/nowhere", id="1", token="1:r")
