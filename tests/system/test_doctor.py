"""supervisor doctor: which guarantees hold here, with and without a supervisor."""
import json
import os
import subprocess

import pytest

from harness import BINARY, host  # noqa: F401 (a fixture)

WEB = "[service:web]\ncommand = sleep 1000\nstartsecs = 0\n"


def doctor(supervisor, *words, code=None):
    said = supervisor.run("doctor", "--json", *words, code=None)
    assert code is None or said.returncode == code, said.stdout + said.stderr
    report = json.loads(said.stdout)
    return report, {row["id"]: row for row in report["guarantees"]}


def test_of_a_supervisor_that_runs(host):
    supervisor = host(WEB)
    report, rows = doctor(supervisor, code=0)
    assert report["running"] and rows["logs"]["needed_by"] == "web"
    for row in rows.values():
        assert row["holds"] or (row["why"] and row["remedy"])
    said = supervisor.run("doctor").stdout
    assert "nothing that the configuration needs is missing" in said
    assert all(row["what"] in said for row in rows.values())


def test_what_the_configuration_needs_is_missing(host):
    supervisor = host(start=False)
    supervisor.write(WEB + "memory_max = 64MB\n", settings="cgroups = off\n")
    supervisor.start()
    report, rows = doctor(supervisor, code=1)
    assert rows["limits-memory"]["needed_by"] == "web" and not rows["limits-memory"]["holds"]
    assert "switched off" in rows["limits-memory"]["why"]
    said = supervisor.run("doctor", code=1).stdout
    assert "MISSING" in said and "needed by web" in said and "remedy:" in said


def test_without_a_supervisor(host):
    supervisor = host(start=False)
    supervisor.write(WEB)
    report, rows = doctor(supervisor, "-c", supervisor.config, code=0)
    assert report["running"] is False and report["config"]
    assert not os.path.exists(supervisor.path("state"))  # only looked
    supervisor.write(WEB + "numprocs = 1000\n")
    limited = subprocess.run(
        ["prlimit", "--nofile=200:200", BINARY, "doctor", "--json", "-c", supervisor.config],
        capture_output=True, text=True)
    assert limited.returncode == 1
    rows = {row["id"]: row for row in json.loads(limited.stdout)["guarantees"]}
    assert not rows["descriptors"]["holds"] and "200" in rows["descriptors"]["why"]
    # Errors in the files are told, not a report about half of them.
    supervisor.write("[service:web]\n")
    said = supervisor.run("doctor", "-c", supervisor.config, code=1)
    assert "command" in said.stderr and said.stdout == ""


def test_as_another_user(host):
    if os.geteuid() != 0:
        pytest.skip("needs root to become somebody else")
    supervisor = host(start=False)
    supervisor.write(WEB + "user = root\n[service:other]\ncommand = sleep 1\nuser = daemon\n")
    os.chmod(supervisor.config, 0o644)
    said = subprocess.run(
        ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--no-new-privs",
         BINARY, "doctor", "--json", "-c", supervisor.config], capture_output=True, text=True)
    assert said.returncode == 1, said.stderr
    rows = {row["id"]: row for row in json.loads(said.stdout)["guarantees"]}
    for missing in ("users", "state", "logs", "containment", "setuid-programs"):
        assert not rows[missing]["holds"], missing
    assert rows["users"]["needed"] and rows["logs"]["needed"]
    assert not rows["state"]["needed"]
