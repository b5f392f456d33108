"""Hooks beside the lifecycle: post_start, pre_stop, on_failed; what they know; cores that die."""
import os
import signal
import time

from harness import alive, host, wait_for  # noqa: F401

SLEEPER = "command = sleep 1000\nstartsecs = 0\n"


def hook_events(s, name):
    return [e for e in s.events() if e["event"] == "hook" and e["hook"] == name]


def test_all_of_them_in_order(host):
    s = host(start=False)
    out = s.path("trace")
    hooks = "".join(f"{name} = sh -c \"echo $SUPERVISOR_HOOK $SUPERVISOR_SERVICE "
                    f"$SUPERVISOR_EXIT_CODE$SUPERVISOR_EXIT_SIGNAL >> {out}\"\n"
                    for name in ("pre_start", "post_start", "pre_stop", "post_stop", "on_failed"))
    s.write(f"[service:web]\n{SLEEPER}{hooks}"
            "[service:bad]\ncommand = sh -c \"exit 7\"\nstartretries = 0\n"
            f"on_failed = sh -c \"echo $SUPERVISOR_HOOK $SUPERVISOR_EXIT_CODE $SUPERVISOR_REASON "
            f"$SUPERVISOR_INSTANCE >> {s.path('bad')}\"\n")
    s.start()
    s.wait_state("web:0", "running")
    wait_for(lambda: "post_start" in s.text_of("trace"), "post_start")
    s.run("stop", "web")
    assert s.text_of("trace").splitlines() == \
        ["pre_start web", "post_start web", "pre_stop web", "post_stop web TERM"]
    s.wait_state("bad:0", "failed")
    wait_for(lambda: s.text_of("bad"), "on_failed")
    assert s.text_of("bad").startswith("on_failed 7 exited with code 7 bad:0.")
    assert [e["code"] for e in hook_events(s, "pre_stop")] == [0]


def test_the_stop_signal_waits_for_pre_stop_and_not_for_ever(host):
    s = host(f"[service:web]\n{SLEEPER}pre_stop = sleep 0.3\nstopwaitsecs = 5s\n"
             f"[service:hung]\n{SLEEPER}pre_stop = sleep 1000\nhook_timeout = 400ms\n"
             f"[service:missing]\n{SLEEPER}pre_stop = /nowhere/at/all\n"
             f"[service:other]\n{SLEEPER}post_start = sleep 1000\nhook_timeout = 1h\n")
    for name in ("web", "hung", "missing", "other"):
        s.wait_state(f"{name}:0", "running")
    for name, least in (("web", 0.3), ("hung", 0.4)):
        begin = time.monotonic()
        s.run("stop", name)
        assert time.monotonic() - begin >= least
    s.run("stop", "missing")
    assert hook_events(s, "hung") == [] and hook_events(s, "pre_stop")[1]["signal"] == "KILL"
    assert "No such file" in hook_events(s, "pre_stop")[-1]["error"]
    assert "its pre_stop failed: signal KILL" in s.run("why", "hung").stdout
    # A hook that hangs holds up nothing: its service stops, and it goes with it.
    begin = time.monotonic()
    s.run("restart", "other")
    s.run("stop", "other")
    assert time.monotonic() - begin < 20
    wait_for(lambda: len(hook_events(s, "post_start")) == 2, "the end of its hooks")


def test_a_core_that_dies_in_a_hook(host):
    """The next one waits for it, sends the signal once it has ended, and runs it only once."""
    s = host(start=False)
    s.write("[service:web]\nstartsecs = 0\n"
            f"command = sh -c \"trap 'echo term >> {s.path('trace')}; exit 0' TERM; "
            "while :; do sleep 0.05; done\"\n"
            f"pre_stop = sh -c \"echo begin >> {s.path('trace')}; while [ ! -e {s.path('go')} ]; "
            f"do sleep 0.05; done; echo end >> {s.path('trace')}\"\n"
            f"post_start = sh -c \"echo $$ > {s.path('pid')}; sleep 1000\"\nhook_timeout = 1h\n")
    s.start()
    pid = s.wait_state("web:0", "running")["pid"]
    wait_for(lambda: s.text_of("pid"), "post_start")
    s.run("stop", "web", "--no-wait")
    wait_for(lambda: s.text_of("trace") == "begin\n", "pre_stop")
    for _ in range(3):
        s.kill_core()
    assert s.instance("web:0")["state"] == "stopping" and alive(pid)
    assert alive(int(s.text_of("pid")))
    open(s.path("go"), "w").close()
    s.wait_state("web:0", "stopped")
    assert s.text_of("trace") == "begin\nend\nterm\n"
    wait_for(lambda: not alive(int(s.text_of("pid"))), "the end of post_start")
    # And one that ends while no core lives.
    os.unlink(s.path("go"))
    os.unlink(s.path("trace"))
    s.run("start", "web")
    s.run("stop", "web", "--no-wait")
    wait_for(lambda: s.text_of("trace") == "begin\n", "pre_stop")
    core = s.core_pid
    os.kill(core, signal.SIGSTOP)
    open(s.path("go"), "w").close()
    wait_for(lambda: "end" in s.text_of("trace"), "the end of pre_stop")
    os.kill(core, signal.SIGKILL)
    s.wait_state("web:0", "stopped")
    assert s.text_of("trace") == "begin\nend\nterm\n"
