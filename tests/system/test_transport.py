"""Transports: the local one for real, ssh's ways to fail with a stand-in for ssh.

TRANSPORT_PROGRAM names transport_main; without it `make` builds it under $B.
"""
import os
import re
import subprocess
import time

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


@pytest.fixture(scope="session")
def program():
    if "TRANSPORT_PROGRAM" in os.environ:
        return os.environ["TRANSPORT_PROGRAM"]
    build = os.environ.get("B", "build/release")
    target = f"{build}/tests/system/transport_main"
    subprocess.run(["make", "-s", f"B={build}", target], cwd=ROOT, check=True)
    return os.path.join(ROOT, target)


@pytest.fixture
def ssh(program, tmp_path):
    """Runs the transport with an ssh that is this shell script; what it printed."""
    def run(script, *options, path="/srv/web", timeout_ms=None, remote="/usr/local/bin/deployctl"):
        bin_ = tmp_path / "bin"
        bin_.mkdir(exist_ok=True)
        (bin_ / "ssh").write_text("#!/bin/sh\n" + script)
        os.chmod(bin_ / "ssh", 0o755)
        env = {**os.environ, "PATH": f"{bin_}:{os.environ['PATH']}", "PROGRAM": program,
               "DIR": str(tmp_path)}
        if timeout_ms is not None:
            env["TEST_TIMEOUT_MS"] = str(timeout_ms)
        return subprocess.run([program, "ssh", "web1", path, remote, *options], env=env,
                              stdout=subprocess.PIPE, timeout=60, check=True).stdout.decode()
    return run


def test_local(program, tmp_path):
    out = subprocess.run([program, "local", "", str(tmp_path)], stdout=subprocess.PIPE, timeout=30,
                         check=True).stdout.decode().splitlines()
    assert out[0] == "open" and '"hello"' in out[1] and '"n":1' in out[2] and len(out) == 3


def test_ssh_gets_the_agreed_words(ssh, tmp_path):
    out = ssh('for a in "$@"; do echo "$a" >> $DIR/words; done; '
              f'exec $PROGRAM agent {tmp_path}', "StrictHostKeyChecking=yes")
    assert out.startswith("open\nframe {\"hello\"")
    assert (tmp_path / "words").read_text().splitlines() == [
        "-T", "-o", "BatchMode=yes", "-o", "ServerAliveInterval=5", "-o", "ServerAliveCountMax=3",
        "-o", "ConnectTimeout=10", "-o", "StrictHostKeyChecking=yes", "--", "web1",
        "exec /usr/local/bin/deployctl agent /srv/web"]


def test_noise_before_the_magic_is_skipped(ssh, tmp_path):
    out = ssh(f'echo "Welcome to web1!"; exec $PROGRAM agent {tmp_path}')
    assert out.startswith("open\nframe {\"hello\"")


@pytest.mark.parametrize("script,says", [
    ('echo "Permission denied (publickey)." >&2; exit 255', "close denied: .*ssh-add"),
    ('echo "Host key verification failed." >&2; exit 255', "close denied: .*host key"),
    ('echo "ssh: Could not resolve hostname web1: Name or service not known" >&2; exit 255',
     "close unreachable: .*cannot be resolved"),
    ('echo "sh: exec: /usr/local/bin/deployctl: not found" >&2; exit 127',
     "close not-found: there is no /usr/local/bin/deployctl on web1"),
    ('echo "kex_exchange_identification: Connection closed by remote host" >&2; exit 255',
     "close unreachable: .*MaxStartups"),
    ('echo "This account is not available."; exit 1',
     'close protocol: .*"This account is not available."'),
    ('yes "noise" ', 'close protocol: .*"noise"'),
    ('exit 0', "close unreachable: .*before saying anything"),
    ('kill -9 $$', "close unreachable: .*SIGKILL"),
    ('printf "\\211deployctl\\r\\n\\032\\n\\000\\001\\377\\377\\377\\377J"; sleep 100',
     "open\nclose protocol: the agent on web1: a frame .* at most"),
    ('printf "\\211deployctl\\r\\n\\032\\n\\000\\001"; echo "Connection reset by peer" >&2; exit 255',
     "open\n(queue full\n)*close unreachable: the connection to web1 was lost: Connection reset by peer"),
])
def test_failures_are_named(ssh, script, says):
    out = ssh(script)
    assert re.match(says, out, re.S), out


def test_silence_ends_with_a_time(ssh, tmp_path):
    began = time.monotonic()
    out = ssh("echo $$ > $DIR/pid; exec sleep 100", timeout_ms=-9000)  # 10 s are added for ssh
    assert out.startswith("close timeout: web1 said nothing")
    assert time.monotonic() - began < 10


def test_bad_words_are_refused(ssh):
    assert "refused invalid: path" in ssh("exit 9", path="/srv/we b")
    assert "refused invalid: path" in ssh("exit 9", path="/srv/$(reboot)")
    assert "refused invalid: remote_path" in ssh("exit 9", remote="deployctl")


def test_nothing_is_left_running(program, tmp_path, ssh):
    ssh("echo $$ > $DIR/pid; printf '\\211deployctl\\r\\n\\032\\n\\000\\001'; "
        "printf '\\000\\000\\000\\002J{}\\000\\000\\000\\002J{}'; exec sleep 100")
    pid = int((tmp_path / "pid").read_text())
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            with open(f"/proc/{pid}/stat") as file:
                if file.read().rsplit(")", 1)[1].split()[0] == "Z":
                    return
        except (FileNotFoundError, ProcessLookupError):
            return
        time.sleep(0.01)
    raise AssertionError("ssh is still there")
