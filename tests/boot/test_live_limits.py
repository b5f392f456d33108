"""A reload with all of root's rights: limits change for what runs, up and down, without a restart."""
from boot import boot, needs

pytestmark = needs()

CONFIG = """
[service:a]
command = sh -c "sleep 1000 & exec sleep 1001"
rlimit_nofile = 100
memory_max = 64MB
startsecs = 0

[service:b]
command = sleep 1002
user = nobody
startsecs = 0

[service:c]
command = sleep 1003
startsecs = 0
"""
SCRIPT = """
s=/bin/supervisor
export SUPERVISOR_SOCKET=/run/control.sock NO_COLOR=1
until $s status >/dev/null 2>&1 || [ $? = 3 ]; do sleep 0.1; done
until pidof sleep | grep -q " .* .* "; do sleep 0.1; done
pid() { for p in $(pidof sleep); do tr '\\0' ' ' </proc/$p/cmdline | grep -q "$1" && echo $p; done; }
look() { # a lower limit is written by a thread
    until cat /sys/fs/cgroup/supervisor.*/a:0/memory.max | grep -qx $(($2 << 20)); do sleep 0.1; done
    echo "=== $1"
    for n in 1000 1001 1002 1003; do
        p=$(pid "sleep $n")
        echo $n $p $(awk '{print $19}' /proc/$p/stat) $(cat /proc/$p/oom_score_adj) \
            $(awk '/Max open files/ {print $4, $5}' /proc/$p/limits) \
            $(awk '/Max processes/ {print $3}' /proc/$p/limits)
    done
    cat /sys/fs/cgroup/supervisor.*/a:0/memory.max /sys/fs/cgroup/supervisor.*/a:0/pids.max
}
look before 64
f=/etc/supervisor.ini
cp $f /tmp/old
sed -i 's/rlimit_nofile = 100/rlimit_nofile = 4096\\nnice = 5\\noom_score_adj = 200\\npids_max = 9/
        s/memory_max = 64MB/memory_max = 128MB/
        s/^user = nobody/user = nobody\\nnice = -3\\noom_score_adj = -100\\nrlimit_nproc = 777/' $f
echo "=== plan"
$s reload --plan --json
echo "=== reload"
$s reload; echo "CODE $?"
look after 128
$s reload --undo >/dev/null
look undone 64
"""


def rows(text):
    return {line.split()[0]: line.split()[1:] for line in text.splitlines() if " " in line}


def test_limits_and_priorities_change_for_what_runs():
    said = boot(CONFIG, SCRIPT)
    before, after, undone = (rows(said[name]) for name in ("before", "after", "undone"))
    assert "CODE 0" in said["reload"] and '"restart"' not in said["plan"]
    assert before["1000"][1:5] == before["1001"][1:5] == ["0", "0", "100", "100"]
    assert after["1000"][1:5] == after["1001"][1:5] == ["5", "200", "4096", "4096"]
    assert after["1002"][1:3] == ["-3", "-100"] and after["1002"][5] == "777"
    assert undone == before  # with the same pids
    assert [row[0] for row in after.values()] == [row[0] for row in before.values()]
    assert after["1003"] == before["1003"]
    for name, text in (("before", [str(64 << 20), "max"]), ("after", [str(128 << 20), "9"]),
                       ("undone", [str(64 << 20), "max"])):
        assert [line for line in said[name].splitlines() if line and " " not in line] == text
