"""supervisord's files mean here what they mean there: the real one reads each of them, too.

tests/data/supervisord has a file for each kind; comments at its beginning say where the meaning
differs on purpose:

    ; differs: NAME        a row of the table in doc/supervisord.md
    ; real: refused        supervisord does not load it (or: [N, ...], only these of its processes)
    ; ours: refused        we do not load it; or what differs, process by process
"""
import json
import os
import pathlib
import pwd
import re
import signal
import subprocess
import sys

import pytest

from harness import BINARY

HERE = pathlib.Path(__file__).parent
TOP = HERE.parent.parent
DATA = TOP / "tests/data/supervisord"
TABLE = TOP / "doc/supervisord.md"
CASES = sorted(str(path.relative_to(DATA)) for path in DATA.rglob("*.ini"))
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "OUTSIDE": "from outside", "THREE": "3", "NO": "no",
               "SIGNAL": "KILL", "ROOT": "root", "LANG": "C.UTF-8", "HOME": "/root"}


def differences(path):
    """What the comments at the beginning of a case say."""
    found = {}
    for line in path.read_text(encoding="utf-8-sig").splitlines():
        if not line.startswith((";", "#")):
            break
        said = re.match(r"; (differs|real|ours): (.*)", line)
        if said:
            found[said[1]] = said[2].replace("%(here)s", str(path.parent))
    return found


@pytest.fixture(scope="module")
def real():
    """What supervisord makes of each file, read by one process for all."""
    done = subprocess.run([sys.executable, HERE / "supervisord_values.py", *(DATA / name for name in CASES)],
                          env=ENVIRONMENT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def check(path):
    done = subprocess.run([BINARY, "check", "--json", "-c", path], env=ENVIRONMENT,
                          capture_output=True, text=True, timeout=60)
    answer = json.loads(done.stdout)
    assert done.returncode == (1 if answer["errors"] else 0), done.stderr
    for note in answer["errors"]:
        assert note["file"] and note["line"], note
    return answer


def uid_of(user):
    if user is None or not re.fullmatch(r"[a-z0-9]+", user):
        return user
    try:
        return int(user) if user.isdigit() else pwd.getpwnam(user).pw_uid
    except KeyError:
        return user


def whole(seconds):
    return int(seconds) if seconds == int(seconds) else seconds


def log_of(answer, service, instance, stream):
    path = instance[f"{stream}_log"]
    ending = ".log" if stream == "stdout" else ".err.log"
    number = instance["id"].split(":")[1]
    automatic = f"{answer['supervisor']['log_dir']}/{service['name']}-{number}{ending}"
    return {automatic: "auto", "none": None, "stdout": None, "syslog": None}.get(path, path)


def socket_of(answer, service):
    for socket in answer["sockets"]:
        if socket["name"] in service["keys"]["sockets"]["value"]:
            address = socket["listen"][0]
            return "unix://" + address if address.startswith("/") else "tcp://" + address
    return None


def process(answer, service, instance):
    """In the shape of supervisord_values.py."""
    value = {key: entry["value"] for key, entry in service["keys"].items()}
    marks = ("SUPERVISOR_ENABLED", "SUPERVISOR_PROCESS_NAME", "SUPERVISOR_GROUP_NAME")
    return {
        "group": service["group"], "name": instance["process_name"], "command": instance["command"],
        "priority": value["priority"], "directory": instance["directory"],
        "umask": None if value["umask"] is None else int(value["umask"], 8),
        "uid": uid_of(value["user"]), "autostart": value["autostart"],
        "autorestart": value["autorestart"], "startsecs": whole(value["startsecs"]),
        "startretries": value["startretries"], "exitcodes": value["exitcodes"],
        "stopsignal": int(getattr(signal, "SIG" + value["stopsignal"])),
        "stopwaitsecs": whole(value["stopwaitsecs"]), "stopasgroup": value["stopasgroup"],
        "killasgroup": value["killasgroup"], "redirect_stderr": value["redirect_stderr"],
        "environment": {name: text for name, text in instance["environment"].items() if name not in marks},
        "stdout": log_of(answer, service, instance, "stdout"),
        "stderr": log_of(answer, service, instance, "stderr"),
        "stdout_syslog": instance["stdout_log"] == "syslog", "stderr_syslog": instance["stderr_log"] == "syslog",
        "stdout_maxbytes": value["stdout_logfile_maxbytes"],
        "stderr_maxbytes": value["stderr_logfile_maxbytes"],
        "stdout_backups": value["stdout_logfile_backups"],
        "stderr_backups": value["stderr_logfile_backups"],
        "socket": socket_of(answer, service),
    }


def ours(answer):
    return [process(answer, service, instance) for service in answer["services"]
            for instance in service["instances"]]


@pytest.mark.parametrize("name", CASES)
def test_a_file_means_the_same(name, real):
    path = DATA / name
    said = differences(path)
    theirs, error = real[str(path)].get("processes"), real[str(path)].get("error")
    answer, everything = check(path), theirs
    if said.get("real") == "refused":
        assert theirs is None, "supervisord loads this now"
        theirs = [{} for _ in json.loads(said["ours"])]
    elif "real" in said:
        theirs = [theirs[i] for i in json.loads(said["real"])]
    if said.get("ours") == "refused" or theirs is None:
        assert answer["errors"], f"supervisord refuses it: {error}"
        return
    assert not answer["errors"], (answer["errors"], "supervisord loads it")
    found, differing = ours(answer), json.loads(said.get("ours", "[]"))
    assert not said or everything != found, "no difference any more"
    if said.get("real") == "refused":
        found = [{key: one[key] for key in wanted} for one, wanted in zip(found, differing)]
    for one, more in zip(theirs, differing):
        one.update(more)
    assert found == [dict(one) for one in theirs]


def test_the_table_of_differences_is_complete():
    """Every row has a case that shows it, every case its row."""
    rows = re.findall(r"^\| ([a-z-]+) \|", TABLE.read_text(), re.M)
    shown = {differences(DATA / name)["differs"] for name in CASES if "differs" in differences(DATA / name)}
    assert sorted(set(rows) - {"name"}) == sorted(shown)
    for name in CASES:
        said = differences(DATA / name)
        assert not said or ("differs" in said and ("ours" in said or "real" in said)), name
