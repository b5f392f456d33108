"""As a unit of a real systemd: ready, reloaded, killed in part and as a whole, stopped."""
import os
import re

import pytest

from boot import BINARY, ROOT
from manager import boot_systemd, needs_systemd, program

pytestmark = needs_systemd()

CONFIG = """
[service:web]
command = sleep 100001
memory_max = 64MB
startsecs = 2
[service:other]
command = sleep 100002
user = nobody
startsecs = 0
"""
SCRIPT = """
export NO_COLOR=1
C=/sys/fs/cgroup/system.slice/supervisor.service
show() { systemctl show supervisor -p ActiveState,MainPID,StatusText,Result; pgrep -f "sleep 1000" | xargs echo pids; }
main() { systemctl show supervisor -p MainPID --value; }
everything_of_it() { cat $C/supervisor.*/supervisor/cgroup.procs; }
echo "=== up"
show
main >/tmp/main
cat $C/supervisor.*/web:0/memory.max
echo "=== restart"
systemctl restart supervisor; echo "code $?"; show
systemctl show supervisor -p NFileDescriptorStore
cat $C/supervisor.*/web:0/memory.max
supervisor status
main | grep -qxf /tmp/main && echo "the same guardian"
main >/tmp/main
supervisor restart web; cat $C/supervisor.*/web:0/memory.max; show
echo "=== reload"
systemctl reload supervisor; echo "code $?"; show
echo "=== guardian"
kill -9 $(main)
until supervisor status 2>/dev/null | grep -q "guardian was replaced"; do sleep 0.2; done
show
systemctl reload supervisor; echo "code $?"; show
echo "=== whole"
kill -STOP $(everything_of_it)
kill -9 $(everything_of_it)
sleep 1
systemctl restart supervisor; echo "code $?"; show
supervisor status
cat $C/supervisor.*/web:0/memory.max
echo "=== all"
systemctl kill -s KILL supervisor
until supervisor status >/dev/null 2>&1; do sleep 0.2; done
show
echo "=== stop"
systemctl stop supervisor; echo "code $?"; show
ls -d $C/supervisor.* 2>/dev/null
"""


@pytest.fixture(scope="module")
def said():
    with open(os.path.join(ROOT, "examples/ssh/supervisor.service"), encoding="utf-8") as file:
        unit = file.read()
    return boot_systemd({**program(BINARY, "/usr/local/sbin/supervisor"),
                         "/etc/systemd/system/supervisor.service": unit,
                         "/etc/supervisor/supervisor.ini": CONFIG},
                        SCRIPT, units=["supervisor.service"])


def value(text, name):
    return re.findall(rf"^{name}=(.*)$", text, re.M)


def pids(text):
    return re.findall(r"^pids ([\d ]+)$", text, re.M)


def test_started_means_ready(said):
    """systemd has waited for the slower of the two."""
    assert value(said["up"], "ActiveState") == ["active"]
    assert value(said["up"], "StatusText") == ["2 instances"]
    assert len(pids(said["up"])[0].split()) == 2
    assert "67108864" in said["up"], "limits want what Delegate=yes gives"


def test_a_restart_of_the_unit_touches_no_service(said):
    text = said["restart"]
    assert "code 0" in text and value(text, "ActiveState") == ["active"] * 2
    assert pids(text)[0] == pids(said["up"])[0] and "the same guardian" not in text
    assert value(text, "NFileDescriptorStore") == ["0"]
    assert re.search(r"web:0 +running +yes", text)


def test_limits_hold_after_a_restart_of_the_unit(said):
    assert said["restart"].count("67108864") == 2


def test_reload(said):
    assert "code 0" in said["reload"] and pids(said["reload"]) == pids(said["restart"])[1:]


def test_a_killed_guardian_is_no_reason_to_stop(said):
    """Not even with the next reload, which looks at the unit again."""
    text = said["guardian"]
    assert value(text, "ActiveState") == ["active", "active"]
    assert value(text, "MainPID") == ["0", "0"] and "code 0" in text
    assert pids(text) == pids(said["reload"]) * 2


def test_after_the_death_of_all_of_it_a_restart_is_enough(said):
    text = said["whole"]
    assert "code 0" in text and value(text, "ActiveState") == ["active"]
    assert len(pids(text)[0].split()) == 2 and "67108864" in text
    assert re.search(r"web:0 +running +yes", text) and re.search(r"other:0 +running +yes", text)


def test_after_the_death_of_everything_systemd_starts_it_again(said):
    assert value(said["all"], "ActiveState") == ["active"]
    assert len(pids(said["all"])[0].split()) == 2


def test_stop_leaves_nothing(said):
    text = said["stop"]
    assert "code 0" in text and value(text, "ActiveState") == ["inactive"]
    assert value(text, "Result") == ["success"] and pids(text) == []
    assert "supervisor." not in text.split("pids")[-1]
