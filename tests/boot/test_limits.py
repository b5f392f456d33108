"""Limits are enforced by the kernel, and what they did is told."""
import json

import pytest

from boot import boot, needs

pytestmark = needs()

CONFIG = """
[service:hog]
command = sh -c "sleep 1; exec dd if=/dev/zero of=/dev/null bs=128M"
memory_max = 32MB
autorestart = false
startsecs = 0

[service:parent]
command = sh -c "sleep 1; dd if=/dev/zero of=/dev/null bs=128M; echo child: $?; exec sleep 1000"
memory_max = 32MB

[service:killed]
command = sleep 1000
autorestart = false
startsecs = 0

[service:spinner]
command = sh -c "while :; do :; done"
cpu_max = 10%
cpu_weight = 300

[service:breeder]
command = sh -c "for i in 1 2 3 4 5 6 7 8 9; do sleep 1000 & done; wait"
pids_max = 5
autorestart = false
startsecs = 0
"""
SCRIPT = """
s=/bin/supervisor
export SUPERVISOR_SOCKET=/run/control.sock NO_COLOR=1
until $s status >/dev/null 2>&1 || [ $? = 3 ]; do sleep 0.1; done
group() { echo /sys/fs/cgroup/supervisor.*/$1; }
until grep -q "child: 137" /var/log/parent-0.log; do sleep 0.1; done
until $s status --json hog | grep -q '"state": *"exited"'; do sleep 0.1; done
$s signal KILL killed
until $s status --json killed | grep -q '"state": *"exited"'; do sleep 0.1; done
echo "=== status"
$s status --json
echo "=== doctor"
$s doctor --json; echo "CODE $?"
echo "=== why"
$s why hog
echo "=== events"
$s events
echo "=== memory"
cat $(group hog:0)/memory.max $(group parent:0)/memory.max $(group parent:0)/memory.events
echo "=== pids"
cat $(group breeder:0)/pids.max $(group breeder:0)/pids.current
grep max $(group breeder:0)/pids.events
echo "=== cpu"
cat $(group spinner:0)/cpu.max $(group spinner:0)/cpu.weight
begin=$(sed -n 's/usage_usec //p' $(group spinner:0)/cpu.stat); sleep 3
end=$(sed -n 's/usage_usec //p' $(group spinner:0)/cpu.stat)
echo $((end - begin))
grep nr_throttled $(group spinner:0)/cpu.stat
echo "=== ourselves"
cat /proc/1/cgroup /sys/fs/cgroup/cgroup.procs
before=$($s status --json parent | sed -n 's/.*"pid": *\\([0-9]*\\).*/\\1/p' | tail -n 1)
cp /etc/changed.ini /etc/supervisor.ini
echo "=== plan"
$s reload --plan
$s reload >/dev/null
echo "=== live"
cat $(group breeder:0)/pids.max $(group parent:0)/memory.max $(group spinner:0)/cpu.max
echo "=== same"
after=$($s status --json parent | sed -n 's/.*"pid": *\\([0-9]*\\).*/\\1/p' | tail -n 1)
echo $before $after
"""



def changed():
    """The same with other limits for breeder and spinner, and none for parent."""
    text = CONFIG.replace("pids_max = 5", "pids_max = 50").replace("cpu_max = 10%", "cpu_max = 2")
    before, parent = text.split("[service:parent]")
    text = before + "[service:parent]" + parent.replace("memory_max = 32MB\n", "", 1)
    return ("[supervisor]\nstate_dir = /run/state\nlog_dir = /var/log\n" + text
            + "\n[service:test]\ncommand = sh /run-test.sh\ntype = oneshot\n"
            "stdout_logfile = none\n")


def test_limits():
    said = boot(CONFIG, SCRIPT, files={"/etc/changed.ini": changed()})
    status = json.loads(said["status"])
    rows = {row["id"]: row for service in status["services"] for row in service["instances"]}
    assert "no_control_groups" not in status["supervisor"]["guarantees"]
    assert not any("limits_not_enforced" in row for row in rows.values())
    doctor, code = said["doctor"].split("CODE ")
    held = {row["id"]: row["holds"] for row in json.loads(doctor)["guarantees"]}
    assert code.strip() == "0" and held["containment"] and held["oom"]
    assert all(held[f"limits-{name}"] for name in ("memory", "pids", "cpu", "io"))
    # The kernel killed one for want of memory, and that is told; an ordinary KILL is not that.
    assert rows["hog:0"]["last_exit"]["oom"] is True
    assert rows["hog:0"]["last_exit"]["signal"] == "KILL"
    assert rows["killed:0"]["last_exit"]["oom"] is False
    assert "signal KILL, killed by the kernel: out of memory" in said["why"]
    exits = [json.loads(line) for line in said["events"].splitlines() if '"exit"' in line]
    assert [e["instance"] for e in exits if e.get("oom")] == ["hog:0"]
    # A child was killed, the main process goes on.
    assert rows["parent:0"]["state"] == "running" and rows["parent:0"]["oom_kills"] == 1
    kills = [json.loads(line) for line in said["events"].splitlines() if '"oom-kill"' in line]
    assert sorted(e["instance"] for e in kills) == ["hog:0", "parent:0"]
    memory = said["memory"].splitlines()
    assert memory[:2] == [str(32 << 20)] * 2 and "oom_kill 1" in memory
    limit, current, events = said["pids"].splitlines()[:3]
    assert limit == "5" and int(current) <= 5 and int(events.split()[1]) >= 1
    cpu = said["cpu"].splitlines()
    assert cpu[:2] == ["10000 100000", "300"]
    assert int(cpu[2]) < 1000000, "10 % of 3 s, with room for a slow machine"
    assert int(cpu[3].split()[1]) > 0
    assert said["ourselves"].splitlines()[0].endswith("/supervisor")
    assert said["plan"].count("changes while it runs") == 2
    assert "breeder  is exited: applies at its next start" in said["plan"]
    assert said["live"].split() == ["50", "max", "200000", "100000"]
    assert said["same"].split()[0] == said["same"].split()[1]


# A service manager gave us a group with one controller, and in the second case lives in it, too.
DELEGATED = """
mkdir /sys/fs/cgroup/unit
echo +memory > /sys/fs/cgroup/cgroup.subtree_control
%s
echo $$ > /sys/fs/cgroup/unit/cgroup.procs
"""
SQUATTER = "sleep 100000 </dev/null & echo $! > /sys/fs/cgroup/unit/cgroup.procs"
LIMITED = """
[service:web]
command = sleep 1000
memory_max = 32MB
cpu_max = 50%
startsecs = 0
"""
LOOK = """
s=/bin/supervisor
export SUPERVISOR_SOCKET=/run/control.sock NO_COLOR=1
until $s status >/dev/null 2>&1 || [ $? = 3 ]; do sleep 0.1; done
until $s status --json web | grep -q '"state": *"running"'; do sleep 0.1; done
echo "=== web"
$s status --json web
echo "=== doctor"
$s doctor --json; echo "CODE $?"
echo "=== group"
cat /proc/1/cgroup
cat /sys/fs/cgroup/unit/supervisor.*/web:0/memory.max
echo "=== stop"
$s stop web && echo stopped
"""


@pytest.mark.parametrize("shared", [False, True])
def test_delegated(shared):
    said = boot(LIMITED, LOOK, prepare=DELEGATED % (SQUATTER if shared else ""))
    row = json.loads(said["web"])["services"][0]["instances"][0]
    rows = {row["id"]: row for row in json.loads(said["doctor"].split("CODE ")[0])["guarantees"]}
    assert said["doctor"].split("CODE ")[1].strip() == "1" and rows["containment"]["holds"]
    assert "/unit/supervisor." in said["group"] and "stopped" in said["stop"]
    if shared:
        assert row["limits_not_enforced"].startswith("memory_max, cpu_max: process ")
        assert "(sleep)" in row["limits_not_enforced"]
        assert "(sleep)" in rows["limits-memory"]["why"]
        return
    assert str(32 << 20) in said["group"]
    assert row["limits_not_enforced"].startswith("cpu_max: the cpu controller was not delegated")
    assert rows["limits-memory"]["holds"] and not rows["limits-cpu"]["holds"]
    assert rows["limits-cpu"]["needed_by"] == "web"
