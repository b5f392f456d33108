"""Readiness and health in every dialect: sd_notify, descriptors, log lines, probes, the watchdog."""
import os
import subprocess

import pytest

from harness import ROOT, host, wait_for  # noqa: F401 (a fixture)

TALK = f"/usr/bin/python3 {ROOT}/tests/system/talker.py"


def tell(supervisor, name, *lines):
    """Orders for a talker, one a line; it does them in turn."""
    with open(supervisor.path(name), "a") as file:
        file.write("".join(line + "\n" for line in lines))


def talker(supervisor, name, keys=""):
    return f"[service:{name}]\ncommand = {TALK} {supervisor.folder}/{name}\n{keys}\n"


# --- said early, or at the last moment ---

KILLER = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
/* kill -9 of oneself just when this text is written for the first time. */
ssize_t write(int fd, const void *data, size_t len)
{
    ssize_t (*real)(int, const void *, size_t) = (ssize_t (*)(int, const void *, size_t))dlsym(
        RTLD_NEXT, "write");
    const char *once = getenv("KILL_AT_ONCE");
    if (once && memmem(data, len, KILL_AT, strlen(KILL_AT)) && unlink(once) == 0)
        kill(getpid(), SIGKILL);
    return real(fd, data, len);
}
"""


def killer(folder, text):
    """The environment in which whoever writes this text dies, once."""
    source, library, once = (os.path.join(folder, name) for name in ("k.c", "k.so", "k.once"))
    with open(source, "w") as file:
        file.write(KILLER)  # not by the environment: that is written, too
    subprocess.run(["cc", "-shared", "-fPIC", f'-DKILL_AT="{text}"', "-o", library, source,
                    "-ldl"], check=True)
    open(once, "w").close()
    return {"LD_PRELOAD": library, "KILL_AT_ONCE": once}


def test_ready_said_before_the_gate_is_kept(host):
    s = host(start=False)
    gate = f"startup = exec:test -e {s.folder}/go\nstartup_interval = 50ms\n" \
           "startup_threshold = 1000\nready_timeout = 20s\n"
    s.write(talker(s, "said", gate + "ready = notify") + talker(s, "piped", gate + "ready = fd:3"))
    s.start()
    tell(s, "said", "READY=1\\nSTATUS=said it")
    tell(s, "piped", "fd 3", "STATUS=said it")
    for name in ("said:0", "piped:0"):
        s.wait_instance(name, lambda row: row.get("status") == "said it")
    s.kill_core()
    s.run("reload")
    assert not any(row["ready"] for row in s.instances().values())
    open(s.path("go"), "w").close()
    s.wait_ready("said:0", 10)
    s.wait_ready("piped:0", 10)


def test_on_exit_seen_by_a_core_that_dies_then(host):
    """The end is written down, and the core is killed before it has begun to shut down."""
    s = host(start=False)
    s.environment.update(killer(s.folder, "to=exited"))
    s.write(f"[service:a]\ncommand = sh -c \"while ! test -e {s.folder}/go; do sleep 0.02; done; "
            "exit 7\"\nautorestart = false\non_exit = shutdown\nstartsecs = 0\n"
            "[service:b]\ncommand = sleep 1000\nstartsecs = 0\n")
    s.start()
    s.wait_state("a:0", "running")
    open(s.path("go"), "w").close()
    assert s.process.wait(20) == 7
    assert not os.path.exists(s.path("k.once"))
    assert "core has taken over" in s.text_of("supervisor.log")
