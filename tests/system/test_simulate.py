"""`deployctl simulate`: the decisions of a release on hosts that do not exist."""
import json
import os
import subprocess

import pytest

from harness import ROOT

DEPLOYCTL = os.path.abspath(os.environ.get(
    "DEPLOYCTL_BIN",
    os.path.join(ROOT, os.environ.get("B", "build/release"), "bin", "deployctl")))
INI = """\
[deploy]
app = web
service = web
[fleet]
hosts = web[1-6].invalid
[canary]
bake = 1h
[rollout]
max_unavailable = 2
zone_label = zone
[host:web1.invalid]
labels = zone=a
[host:web2.invalid]
labels = zone=a
"""


@pytest.fixture(name="simulate")
def fixture_simulate(tmp_path):
    recipe = tmp_path / "deploy.ini"
    recipe.write_text(INI)

    def run(*words, text=None):
        if text is not None:
            recipe.write_text(text)
        return subprocess.run([DEPLOYCTL, "-f", str(recipe), "simulate", *words],
                              capture_output=True, text=True, timeout=60, check=False,
                              env={"PATH": "/nonexistent"})
    return run


def end(done):
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_without_faults_it_is_the_plan(simulate):
    told = end(simulate("--json"))
    assert (told["outcome"], told["exit"], told["most_out"]) == ("done", 0, 2)
    assert 3600 < told["seconds"] < 3700, "an hour's bake takes no time here, but is told"
    parts = {host["host"].split(".")[0]: host["part"] for host in told["hosts"]}
    assert parts == {"web1": "canary", "web2": "batch 1", "web3": "batch 2", "web4": "batch 2",
                     "web5": "batch 3", "web6": "batch 3"}
    text = simulate().stdout
    assert "bake       watching the canary" in text
    assert "release would leave with exit code 0" in text


@pytest.mark.parametrize("fail, outcome, code, new", [
    ("web1.invalid=health", "bad", 1, []),
    ("web3*=switch", "bad", 1, []),
    ("web3*=stage", "failed", 4, []),
    ("web[3,4].invalid=look", "unreachable", 4, []),
    ("zone=a=lock", "locked", 5, []),
    ("web4*=switch,web2*=undo", "incomplete", 7, ["web2.invalid"]),
    ("web4*=slow", "done", 0, [f"web{i}.invalid" for i in range(1, 7)]),
])
def test_a_fault_is_told_to_its_end(simulate, fail, outcome, code, new):
    told = end(simulate("--json", "--fail", fail))
    assert (told["outcome"], told["exit"]) == (outcome, code)
    assert [host["host"] for host in told["hosts"] if host["runs"] == "new"] == new
    assert "wrong" not in told


def test_wrong_words_are_named_all_at_once(simulate):
    done = simulate("--fail", "web1*=helth,mail=switch,web2", "--fail", "=x")
    assert done.returncode == 2 and done.stdout == ""
    for text in ("did you mean health", "mail is none of the 6 hosts", '"web2" is not HOST=STEP'):
        assert text in done.stderr
    assert simulate("--rounds", "many").returncode == 2
    assert simulate("--rounds", "2", "--fail", "web1*=switch").returncode == 2
    assert simulate("--hosts", "zone=z").returncode == 2
    assert simulate("--fail", "help").stdout.count("\n") > 10


def test_random_stories_break_no_promise(simulate):
    first, again = simulate("--rounds", "3000", "--json"), simulate("--rounds", "3000", "--json")
    told = end(first)
    assert told["wrong"] == 0 and sum(told["outcomes"].values()) == 3000
    assert told["taken_over"] > 50 and told["most_out"] == 2
    assert first.stdout == again.stdout, "the same seed is the same story"
    assert end(simulate("--rounds", "3000", "--seed", "5000", "--json")) != told


def test_labels_select_hosts(simulate):
    told = end(simulate("--json", "--hosts", "zone=a,web6*"))
    assert [host["host"][:4] for host in told["hosts"]] == ["web1", "web2", "web6"]
