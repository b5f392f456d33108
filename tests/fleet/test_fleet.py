"""deployctl over real ssh to real hosts, good days and bad ones; examples/ssh is what runs."""
import os
import re
import signal
import time

from fleet import DEADLINE, go_on, stop, wait_for

SPREAD = "first"
FIRST, SECOND = "1.0", "2.0"


def release(fleet, version, *words, code=0, **files):
    fleet.make_release(version, **files)
    return fleet.run("deployctl", "release", *words, code=code)


def begin_release(fleet, version, until, *words):
    """A release in the background that has come as far as a line with `until`."""
    fleet.make_release(version)
    process = fleet.start("deployctl", "release", *words)
    seen = ""
    while until not in seen:
        line = process.stdout.readline()
        assert line, f"it ended before {until!r}:\n{seen}"
        seen += line
    return process


def all_serve(fleet, version):
    assert fleet.versions() == [version] * 3
    assert len(set(fleet.releases())) == 1
    assert all(host.current() == host.web()["release"] for host in fleet.hosts)


# --- good days ---

def test_two_releases_and_a_rollback(fleet):
    hosts = fleet.run("deployctl", "hosts")
    assert len(re.findall(r"^web\d\S+ +ssh +ok .* ok$", hosts.stdout, re.M)) == 3
    plan = fleet.run("deployctl", "plan")
    assert "web1.example.net" in plan.stdout and fleet.versions() == [None] * 3

    release(fleet, FIRST)
    all_serve(fleet, FIRST)
    first = fleet.releases()
    status = fleet.run("deployctl", "status")
    assert len(re.findall(rf"^web\d\S+ +{first[0]} ", status.stdout, re.M)) == 3

    pids = [host.web()["pid"] for host in fleet.hosts]
    again = fleet.run("deployctl", "release")
    assert [host.web()["pid"] for host in fleet.hosts] == pids, again.text  # nothing to do

    done = release(fleet, SECOND, "--message", "the second")
    all_serve(fleet, SECOND)
    assert re.search(r"stage +web2.example.net +1 file", done.text)  # hello is there already

    fleet.run("deployctl", "rollback")
    all_serve(fleet, FIRST)
    assert fleet.releases() == first
    fleet.run("deployctl", "status")
    history = fleet.run("deployctl", "history").stdout
    assert first[0] in history and "switch" in history and "every host" in history


def test_the_service_runs_as_its_own_user(fleet):
    release(fleet, FIRST)
    for host in fleet.hosts:
        pid = host.web()["pid"]
        assert host.run("stat", "-c", "%U", f"/proc/{pid}").stdout == "web\n"
        assert host.run("stat", "-c", "%U %a", f"/srv/web/releases/{host.current()}/hello"
                        ).stdout == "deploy 555\n"


def test_the_deploying_user_may_switch_and_no_more(fleet):
    """control_group gives orders to services, not to the supervisor."""
    release(fleet, FIRST)
    host = fleet.hosts[0]
    host.run("setpriv", "--reuid", "deploy", "--regid", "deploy", "--init-groups",
             "supervisor", "restart", "web")
    done = host.run("setpriv", "--reuid", "deploy", "--regid", "deploy", "--init-groups",
                    "supervisor", "shutdown", code=None)
    assert done.returncode != 0 and host.web()["ready"]


# --- bad releases ---

def test_a_release_that_is_never_ready_is_undone_by_the_host(fleet):
    release(fleet, FIRST)
    pids = [host.web()["pid"] for host in fleet.hosts]
    done = release(fleet, SECOND, code=1, never_ready="")
    assert "web1.example.net" in done.text and "ready" in done.text
    all_serve(fleet, FIRST)
    # Overlapped, it never even left; the others were not touched.
    assert [host.web()["pid"] for host in fleet.hosts] == pids
    refused = fleet.run("deployctl", "release", code=None)
    assert refused.returncode != 0 and "judged bad" in refused.text
    fleet.run("deployctl", "status")


def test_a_release_that_turns_sick_is_caught_in_the_canary(fleet):
    release(fleet, FIRST)
    pids = [host.web()["pid"] for host in fleet.hosts]
    done = release(fleet, SECOND, "--bake", "20s", code=1, sick_after="10")
    assert "web1.example.net" in done.text
    all_serve(fleet, FIRST)
    assert [host.web()["pid"] for host in fleet.hosts][1:] == pids[1:]


def test_a_first_release_that_is_bad_leaves_no_release(fleet):
    done = release(fleet, FIRST, code=1, crash="")
    assert "web1.example.net" in done.text
    assert fleet.releases() == [None] * 3
    assert [host.current() for host in fleet.hosts] == [None] * 3
    release(fleet, SECOND)
    all_serve(fleet, SECOND)


# --- hosts that are not as they should be ---

def test_a_host_that_is_not_there(fleet):
    release(fleet, FIRST)
    fleet.hosts[2].unplug()
    done = release(fleet, SECOND, code=4)
    assert "web3.example.net" in done.text and "Nothing was switched" in done.text
    assert fleet.versions()[:2] == [FIRST, FIRST]

    # Who may be missed is said beforehand; it is named, and brought up to date later.
    fleet.recipe(max_unreachable="1")
    done = fleet.run("deployctl", "release", code=None)
    assert done.returncode in (0, 4) and "web3.example.net" in done.text
    assert fleet.versions()[:2] == [SECOND, SECOND]
    fleet.run("deployctl", "status", code=4)
    fleet.hosts[2].plug_again()
    wait_for(lambda: fleet.versions()[2] == FIRST, "the return of web3")
    fleet.run("deployctl", "status", code=4)
    fleet.run("deployctl", "resume")
    all_serve(fleet, SECOND)
    fleet.run("deployctl", "status")


def test_a_host_whose_key_is_unknown(fleet):
    fleet.know(*fleet.hosts[:2])
    done = fleet.run("deployctl", "release", code=4)
    assert "web3.example.net" in done.text and "host key" in done.text
    assert fleet.versions() == [None] * 3
    fleet.know(*fleet.hosts)
    fleet.run("deployctl", "release")
    all_serve(fleet, FIRST)


def test_a_key_that_is_not_let_in(fleet):
    fleet.hosts[1].run("rm", "/var/lib/deploy/.ssh/authorized_keys")
    done = fleet.run("deployctl", "release", code=4)
    assert "web2.example.net is unreachable: does not accept our key" in done.text
    history = fleet.run("deployctl", "history", code=None).stderr
    assert "warning: web2.example.net is left out: does not accept our key" in history


def test_a_host_without_deployctl(fleet):
    fleet.hosts[1].run("rm", "/usr/local/bin/deployctl")
    done = fleet.run("deployctl", "release", code=None)
    assert done.returncode in (3, 4)
    assert "web2.example.net" in done.text and "/usr/local/bin/deployctl" in done.text
    assert fleet.versions() == [None] * 3


def test_a_host_without_supervisor(fleet):
    """Its network and sshd are fine, but nobody is there to switch anything."""
    host = fleet.hosts[0]
    host.run("mv", "/run/supervisor/control.sock", "/run/supervisor/away")
    done = fleet.run("deployctl", "release", code=None)
    assert done.returncode not in (0, 1) and "web1.example.net" in done.text
    assert "supervisor" in done.text
    assert fleet.versions()[1:] == [None, None]
    host.run("mv", "/run/supervisor/away", "/run/supervisor/control.sock")
    fleet.run("deployctl", "release")
    all_serve(fleet, FIRST)


def test_a_login_shell_that_talks(fleet):
    """Some print a greeting for every login, and the agent's words come after it."""
    host = fleet.hosts[1]
    host.run("sh", "-c", "cat >/usr/local/bin/chatty && chmod 755 /usr/local/bin/chatty && "
             "usermod -s /usr/local/bin/chatty deploy",
             input="#!/bin/sh\necho 'Welcome to web2!'\nseq 1 500\nprintf 'no newline: '\n"
                   "exec /bin/sh \"$@\"\n")
    fleet.run("deployctl", "release")
    all_serve(fleet, FIRST)


def test_a_login_shell_that_only_talks(fleet):
    host = fleet.hosts[1]
    host.run("sh", "-c", "printf '#!/bin/sh\\necho This account is closed.\\n' "
             ">/usr/local/bin/closed && chmod 755 /usr/local/bin/closed && "
             "usermod -s /usr/local/bin/closed deploy")
    done = fleet.run("deployctl", "release", code=None)
    assert done.returncode in (3, 4)
    assert "web2.example.net" in done.text and "This account is closed." in done.text


# --- hosts that hang ---

def test_a_host_that_takes_connections_and_says_nothing(fleet):
    """Its kernel answers, sshd does not."""
    release(fleet, FIRST)
    host = fleet.hosts[1]
    sshd = host.processes(lambda text: "sshd: /usr/sbin/sshd" in text)
    stop(sshd)
    begin = time.monotonic()
    done = release(fleet, SECOND, code=4)
    assert time.monotonic() - begin < 30
    assert "web2.example.net" in done.text and "Nothing was switched" in done.text
    assert fleet.versions() == [FIRST] * 3
    go_on(sshd)
    fleet.run("deployctl", "release")
    all_serve(fleet, SECOND)


def test_a_canary_that_hangs_goes_back_by_itself(fleet):
    """Its agent and sshd stop in the middle: the lease runs out, and its supervisor acts alone."""
    release(fleet, FIRST)
    fleet.recipe(confirm_within="4s")
    process = begin_release(fleet, SECOND, "watching", "--bake", "60s")
    host = fleet.hosts[0]
    assert fleet.versions() == [SECOND, FIRST, FIRST]
    hung = host.processes(lambda text: "sshd: deploy" in text or "deployctl agent" in text)
    assert hung
    stop(hung)
    wait_for(lambda: fleet.versions() == [FIRST] * 3, "the canary's return")
    text, _ = process.communicate(timeout=90)
    assert process.returncode != 0 and "web1.example.net" in text
    go_on(hung)
    # Whatever is open is closed by an abort from anywhere; then all is as before.
    fleet.run("deployctl", "abort", code=None)
    all_serve(fleet, FIRST)
    release(fleet, "3.0")
    all_serve(fleet, "3.0")


def test_a_host_whose_plug_is_pulled_while_others_follow(fleet):
    """A batch host dies with a switch under way; up again, it runs wholly one release."""
    release(fleet, FIRST)
    fleet.recipe(healthy_for="3s", confirm_within="50s")
    process = begin_release(fleet, SECOND, "web2.example.net  runs")
    fleet.hosts[1].end()
    text, _ = process.communicate(timeout=90)
    assert process.returncode != 0 and "web2.example.net" in text
    fleet.hosts[1].begin()
    fleet.hosts[1].wait_up()
    if fleet.run("deployctl", "status", code=None).returncode == 6:
        fleet.run("deployctl", "abort")
    # Its release was never confirmed.  Nobody may switch it, until it goes back by itself when its
    # lease runs out; a release that meets it there changes nothing anywhere.
    refused = release(fleet, "3.0", code=5)
    assert "web2.example.net" in refused.text and "goes back by itself" in refused.text
    assert fleet.versions() == [FIRST, SECOND, FIRST]
    wait_for(lambda: fleet.versions() == [FIRST] * 3, "the first release everywhere")
    for host in fleet.hosts:
        assert host.current() == host.web()["release"]
    release(fleet, "3.0")
    all_serve(fleet, "3.0")


# --- deployctl itself is killed; what comes next is asked from anywhere ---

def killed_while_baking(fleet, lease="60s"):
    release(fleet, FIRST)
    fleet.recipe(confirm_within=lease)
    process = begin_release(fleet, SECOND, "watching", "--bake", "60s")
    process.send_signal(signal.SIGKILL)
    process.wait(DEADLINE)
    assert process.returncode == -signal.SIGKILL
    status = fleet.run("deployctl", "status", code=6)
    assert re.search("promote|resume|abort", status.text)
    return status


def test_killed_then_resumed(fleet):
    killed_while_baking(fleet)
    refused = fleet.run("deployctl", "release", code=6)
    assert "abort" in refused.text
    # resume begins the watching anew, as long as the rollout said: promote is the short way.
    fleet.run("deployctl", "promote")
    all_serve(fleet, SECOND)
    fleet.run("deployctl", "status")


def test_killed_then_aborted_from_another_machine(fleet):
    """Another recipe, another folder, the same hosts: the hosts remember."""
    killed_while_baking(fleet)
    other = fleet.path("elsewhere")
    os.mkdir(other)
    with open(fleet.path("deploy.ini")) as file:
        text = file.read()
    with open(os.path.join(other, "deploy.ini"), "w") as file:
        file.write(text)
    fleet.run("deployctl", "abort", "-f", os.path.join(other, "deploy.ini"))
    all_serve(fleet, FIRST)
    fleet.run("deployctl", "status")


def test_killed_and_nobody_comes(fleet):
    killed_while_baking(fleet, lease="3s")
    wait_for(lambda: fleet.versions() == [FIRST] * 3, "the canary's return")
    fleet.run("deployctl", "abort", code=None)
    all_serve(fleet, FIRST)
    fleet.run("deployctl", "status")
