"""poweroff, reboot, halt, shutdown, telinit: the names of a host's init, where no host can be hurt.

What they do to a machine is tested in one (tests/boot).
"""
import os
import signal
import subprocess

import pytest

from harness import BINARY, DEADLINE, host  # noqa: F401 (a fixture)

SPREAD = "last"
NAMES = ("poweroff", "reboot", "halt", "shutdown", "telinit")


@pytest.fixture
def links(tmp_path):
    for name in NAMES:
        os.symlink(BINARY, tmp_path / name)
    return tmp_path


def run(links, *words, socket="/nowhere/at/all"):
    environment = dict(os.environ, SUPERVISOR_SOCKET=socket)
    return subprocess.run([links / words[0], *words[1:]], capture_output=True, text=True,
                          timeout=DEADLINE, env=environment)


def inside(links, script):
    """`script` as process 1 of a pid namespace of its own; nothing there can reach this machine."""
    start = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "--mount"]
    if os.geteuid() != 0:
        start[1:1] = ["--user", "--map-root-user"]
    if subprocess.run([*start, "true"], capture_output=True).returncode != 0:
        pytest.skip("NOT TESTED: this machine allows no namespaces (unshare)")
    script = "[ $$ = 1 ] || exit 99\nmount -t tmpfs none /run\n" \
             "mount -t tmpfs none /var/log\n" + script
    return subprocess.run([*start, "sh", "-c", script], capture_output=True, text=True,
                          timeout=DEADLINE,
                          env=dict(os.environ, PATH=f"{links}:{os.environ['PATH']}",
                                   SUPERVISOR_SOCKET="/nowhere/at/all"))


@pytest.mark.parametrize("words", [["poweroff"], ["reboot"], ["halt"], ["halt", "-p"],
                                   ["shutdown", "-q", "-r", "now"], ["shutdown", "-qh", "now"],
                                   ["telinit", "0"], ["telinit", "6"]], ids=" ".join)
def test_a_supervisor_that_is_no_init_refuses(host, links, words):
    s = host("[service:web]\ncommand = sleep 1000\nstartsecs = 0\n")
    done = run(links, *words, socket=s.socket)
    assert done.returncode == 1 and "is not the init of a host" in done.stderr
    assert s.instance("web:0")["state"] == "running"


@pytest.mark.parametrize("words,number", [
    ("poweroff", signal.SIGRTMIN + 4), ("halt -p", signal.SIGRTMIN + 4),
    ("halt", signal.SIGRTMIN + 3), ("reboot", signal.SIGRTMIN + 5),
    ("shutdown -q now", signal.SIGRTMIN + 4), ("shutdown -qr now", signal.SIGRTMIN + 5),
    ("shutdown -qH now bye", signal.SIGRTMIN + 3), ("telinit 6", signal.SIGRTMIN + 5),
    ("telinit 0", signal.SIGRTMIN + 4), ("telinit q", signal.SIGHUP)])
def test_without_a_supervisor_process_1_is_told(links, words, number):
    done = inside(links, f"trap 'exit {int(number)}' {int(number)}\n{words} &\n"
                         "while :; do sleep 0.02; done")
    assert done.returncode == int(number), done.stderr


@pytest.mark.parametrize("words,code", [("reboot -f", -signal.SIGHUP),
                                        ("poweroff -f", -signal.SIGINT),
                                        ("halt -fn", -signal.SIGINT)])
def test_force_asks_nobody(links, words, code):
    """In a pid namespace the kernel ends its process 1 by this signal instead of the machine."""
    done = inside(links, f"{words} & while :; do sleep 0.02; done")
    assert done.returncode == code, done.stderr


def test_shutdown_waits_and_is_cancelled(links):
    done = inside(links, "shutdown -q -r +90 & one=$!\n"
                         "until [ -s /run/shutdown.pid ]; do sleep 0.02; done\n"
                         "shutdown -q +5; echo second $?\n"
                         "shutdown -c; echo cancel $?; wait $one; echo first $?\n"
                         "shutdown -c; echo again $?; exit 0")
    assert "waiting for 90 minutes" in done.stdout
    assert done.stdout.split("\n")[1:] == ["second 1", "cancel 0", "first 143", "again 1", ""]
    assert "waits for a shutdown already" in done.stderr and "nobody waits" in done.stderr


@pytest.mark.parametrize("words,told", [
    (["shutdown", "tomorrow"], "is not a time"), (["shutdown", "-x"], "no option -x"),
    (["shutdown", "-F", "now"], "-F is refused: checks of disks"),
    (["poweroff", "now"], "takes no words"), (["poweroff", "--wet"], "no option --wet"),
    (["reboot", "-i"], "-i is refused"), (["telinit", "3"], "no other runlevels"),
    (["telinit"], "usage")], ids=lambda value: " ".join(value) if isinstance(value, list) else "")
def test_what_is_not_meant_is_refused_by_name(links, words, told):
    done = run(links, *words)
    assert done.returncode == 2 and told in done.stderr


@pytest.mark.parametrize("name", NAMES[:4])
def test_help(links, name):
    done = run(links, name, "--help")
    assert done.returncode == 0 and done.stdout.startswith(f"usage: {name}")


def test_init_of_a_host_needs_to_be_told_what_comes_after(host):
    s = host("[service:web]\ncommand = sleep 1000\nstartsecs = 0\n")
    for action in ("poweroff", "reboot", "halt"):
        done = s.run("shutdown", f"--{action}", code=1)
        assert f"it cannot {action} it" in done.stderr
    s.run("shutdown")
