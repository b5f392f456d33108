"""The power fails in the middle of a release: the next boot runs exactly one whole release.

POWER_ROUNDS says how often (5); SEED repeats the moments of one run.
"""
import json
import os
import random
import time

import boot
from machine import Small, needs

pytestmark = needs()
ROUNDS = int(os.environ.get("POWER_ROUNDS", "5"))
FILES = 40

CONFIG = """
[service:web]
release = /data/srv
user = root
command = bin/run
requires = data
ready = fd:3
stopwaitsecs = 1s

[service:look]
; Says what this boot has found, then releases again and again.
type = oneshot
requires = data
command = sh /look
stdout_logfile = none
stderr_logfile = none
"""
RUN = "#!/bin/sh\\nread -r v <VERSION; echo up $v >&3; exec sleep 100000\\n"
LOOK = """
exec >/dev/console 2>&1 </dev/null
round=$(sed -n 's/.*round=\\([0-9]*\\).*/\\1/p' /proc/cmdline)
export NO_COLOR=1 HOME=/root
mkdir -p /data/srv /root
if [ "$round" != 0 ]; then
    i=0
    until supervisor status web >/dev/null || [ $((i += 1)) = 300 ]; do sleep 0.2; done
fi
echo "=== row $round"
supervisor status --json web
echo "=== link $round"
readlink /data/srv/current
echo "=== running $round"
for pid in $(pidof sleep); do readlink /proc/$pid/cwd; done | grep /data/
echo "=== releases $round"
for folder in /data/srv/releases/[0-9]*; do
    test -d $folder && echo $(basename $folder) $(cat $folder/VERSION $folder/file* | sort -u) \\
        $(ls $folder | grep -c file)
done
echo "=== found $round"
n=0
while [ $n -lt 200 ]; do
    n=$((n + 1))
    rm -rf /src; mkdir -p /src/bin
    printf '%(run)s' >/src/bin/run; chmod 755 /src/bin/run
    echo $round.$n >/src/VERSION
    i=0; while [ $i -lt %(files)d ]; do echo $round.$n >/src/file$i; i=$((i + 1)); done
    deployctl release -f /deploy.ini --canary 0 --yes >/last 2>&1 || { echo "=== bad"; cat /last; exit 1; }
    echo "released $round.$n."
done
""" % {"run": RUN, "files": FILES}
RECIPE = """[deploy]
app = web
path = /data/srv
source = /src
service = web
keep_releases = 3
[fleet]
hosts = machine
[host:machine]
transport = local:/run/supervisor/control.sock
[rollout]
healthy_for = 0s
"""


def check(found, number):
    """What the boot of this round has found."""
    row, = json.loads(found[f"row {number}"])["services"][0]["instances"]
    whole = {}
    for line in found[f"releases {number}"].split("\n"):
        if line.strip():
            name, *versions, count = line.split()
            # Whatever has a release's name has all of it, and of one version only.
            assert len(versions) == 1 and int(count) == FILES, line
            whole[name] = versions[0]
    assert row["state"] == "running" and row["ready"], row
    assert row["release"] in whole
    assert found[f"link {number}"].strip() == "releases/" + row["release"]
    assert found[f"running {number}"].strip() == "/data/srv/releases/" + row["release"]
    return row["release"], whole[row["release"]]


def test_power_fails_in_the_middle_of_a_release():
    seed = os.environ.get("SEED") or str(random.randrange(1 << 30))
    chance = random.Random(seed)
    print("SEED", seed)
    versions = []
    with Small(CONFIG, {"/look": LOOK, "/deploy.ini": RECIPE}, disk=True,
               settings="state_dir = /data/state\nlog_dir = /data/log",
               programs=[(os.path.join(boot.BUILD, "bin/deployctl"), "/bin/deployctl")]) as machine:
        for number in range(ROUNDS + 1):
            machine.start(f"round={number}")
            machine.wait_said(f"=== found {number}")
            if number > 0:
                found = boot.sections(machine.said())
                versions.append(check(found, number))
            machine.wait_said(f"released {number}.1.")
            time.sleep(chance.uniform(0, 4))
            assert "=== bad" not in machine.said(), machine.said()
            machine.cut()
    print("ran after each cut:", versions)
    assert len({version for _, version in versions}) == ROUNDS  # each round released something
