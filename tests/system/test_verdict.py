"""The verdict on a canary, live: counts of requests decide, beside the hard gates.

Three hosts with examples/hello, which tells its counts on /metrics; threads here are the visitors.
"""
import http.client
import json
import os
import re
import signal
import threading
import urllib.request

import pytest

from hosts import DEPLOYCTL, Fleet, Story


class Load:
    """Asks every host again and again, one visitor each, until it is closed."""

    def __init__(self, hosts, paths=("/",), pause=0.002):
        self.paths, self.pause, self.done = paths, pause, threading.Event()
        self.threads = [threading.Thread(target=self.visit, args=(host,)) for host in hosts]

    def visit(self, host):
        connection, number = http.client.HTTPConnection("127.0.0.1", host.port, timeout=5), 0
        while not self.done.wait(self.pause):
            try:
                connection.request("GET", self.paths[number % len(self.paths)])
                connection.getresponse().read()
            except (OSError, http.client.HTTPException):
                connection.close()  # the host is just being switched
            number += 1
        connection.close()

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.done.set()
        for thread in self.threads:
            thread.join()


class Judged(Fleet):
    def judge(self, canary="", bake="4s", kind="page"):
        self.write(bake=bake)
        with open(self.recipe, "a") as file:
            file.write("[canary]\nmetrics_interval = 100ms\n")
            if kind == "page":
                file.write(f"metrics = http://127.0.0.1:{self.hosts[0].port}/metrics\n")
            file.write(f"{canary}\n")
            for host in self.hosts if kind == "page" else []:
                file.write(f"[host:{host.name}]\nmetrics = http://127.0.0.1:{host.port}/metrics\n")

    def why(self):
        return json.loads(self.run("why", "--json"))


@pytest.fixture(scope="module")
def fleet():
    fleet = Judged()
    try:
        fleet.judge(bake="200ms")
        # Nothing runs yet that it could be compared with.
        assert "hard gates alone" in fleet.run("plan")
        assert "hard gates alone" in fleet.run("release")
        yield fleet
    finally:
        fleet.close()


def test_the_plan_says_what_the_verdict_needs(fleet):
    fleet.change()
    fleet.judge("max_error_ratio = 1%\nlatency = 100ms\n"
                "metrics_latency = request_seconds")
    text = fleet.run("plan")
    assert "compared with the other hosts" in text and "at least 382 requests" in text
    assert "slower than 100ms" in text
    assert "no histogram called request_seconds" in text  # of the page as it is
    verdict = json.loads(fleet.run("plan", "--json").splitlines()[-1])["verdict"]
    assert verdict["by"] == "metrics" and verdict["requests_needed"] == 382


def test_half_a_percent_of_errors_passes(fleet):
    before = fleet.one_release()
    fleet.change()
    fleet.put("fails-every", "200\n")
    fleet.judge()
    with Load(fleet.hosts):
        text = fleet.run("release", "-v")
    assert re.search(r"bake +canary \d+/\d+ errors vs rest \d+/\d+\n", text)
    assert "failed on the canary" in text and "with 95 % confidence" in text
    assert fleet.one_release() != before
    why = fleet.why()
    assert why["outcome"] == "done" and why["verdicts"][-1]["kind"] == "good"
    errors = why["verdicts"][-1]["numbers"]["errors"]
    assert errors["confidence"] >= errors["confidence_limit"]
    assert errors["canary"]["requests"] > 100 < errors["rest"]["requests"]
    assert 0 < errors["canary"]["hits"] < errors["canary"]["requests"] // 50


def test_ten_percent_are_stopped_soon(fleet):
    fleet.change()
    with Load(fleet.hosts):
        fleet.judge()
        fleet.run("release")
        before = fleet.one_release()
        fleet.change()
        fleet.put("fails-every", "10\n")
        fleet.judge(bake="60s")
        story = Story(fleet.start("release", "--json"))
        counts = story.until(lambda e: e["event"] == "verdict" and e["state"] == "bad", "a verdict")
        assert story.end() == 1
    assert " errors vs rest " in counts["text"]
    errors = counts["numbers"]["errors"]
    assert errors["evidence"] >= errors["evidence_limit"]
    assert errors["canary"]["hits"] >= 3 and errors["canary"]["requests"] < 500
    end = story.events[-1]
    assert end["event"] == "end" and end["outcome"] == "bad" and end["verdict"] == "metrics"
    assert fleet.one_release() == before
    # From the journals, whoever asks and wherever.
    fleet.write()
    text = fleet.run("why")
    assert "Verdict   bad" in text and "evidence" in text and "rolled-back" in text
    assert f"{errors['canary']['hits']} of {errors['canary']['requests']} requests failed" in text
    assert "h1 (canary), h2, h3" in text
    fleet.judge()
    assert "judged bad before" in fleet.run("release", code=1)
    assert fleet.run("rollback", code=(0, 3))
    assert fleet.run("why", end["release"]) == text
    assert fleet.run("why", end["release"].split("-")[0].lstrip("0")) == text
    assert "no host remembers a release 77" in fleet.run("why", "77", code=3)


def test_a_slow_canary_is_stopped(fleet):
    before = fleet.one_release()
    fleet.change()
    fleet.put("slow-every", "5\n")
    fleet.judge("latency = 10ms", bake="60s")
    with Load(fleet.hosts):
        text = fleet.run("release", code=1)
    assert "were slow on the canary" in text
    assert fleet.one_release() == before
    latency = fleet.why()["verdicts"][-1]["numbers"]["latency"]
    assert latency["evidence"] >= latency["evidence_limit"] and latency["latency_ms"] == 10
    text = fleet.run("why")
    assert "requests were slow" in text and "slower than 10ms" in text


def test_an_access_log_is_evidence_too(fleet):
    before = fleet.one_release()
    fleet.change()
    fleet.judge(bake="60s", kind="log")
    logs = []
    with open(fleet.recipe, "a") as file:
        for host in fleet.hosts:
            logs.append(os.path.join(fleet.folder, f"{host.name}.log"))
            open(logs[-1], "w").close()
            file.write(f"[host:{host.name}]\nmetrics = log:{logs[-1]}\n")
        file.write(f"[canary]\nmetrics = log:{logs[0]}\n")
    story = Story(fleet.start("release", "--json"))
    story.until(lambda e: e["event"] == "verdict", "a first look at the logs")
    line = '::1 - - [x] "GET / HTTP/1.1" %d 5\n'
    while story.events[-1]["event"] != "end":
        for log in logs:
            with open(log, "a") as file:
                file.write(line % 200 * 9 + line % (502 if log == logs[0] else 200))
        story.until(lambda e: e["event"] in ("verdict", "end"), "what they say")
    assert story.end() == 1, story.text
    assert "failed on the canary" in story.text
    assert fleet.one_release() == before


def test_an_outage_of_both_sides_does_not_blame_the_canary(fleet):
    before = fleet.one_release()
    fleet.change()
    fleet.judge()
    with Load(fleet.hosts, ("/", "/fail")):
        text = fleet.run("release", code=6)
    assert "is inconclusive" in text and "too few to be sure" in text
    assert fleet.hosts[1].settled() == before
    errors = fleet.why()["verdicts"][-1]["numbers"]["errors"]
    assert errors["canary"]["hits"] > 30 < errors["rest"]["hits"]
    assert errors["evidence"] < errors["evidence_limit"]
    fleet.run("abort")
    assert fleet.one_release() == before


def test_no_requests_are_no_verdict(fleet):
    before = fleet.one_release()
    fleet.change()
    fleet.judge(bake="1s")
    text = fleet.run("release", code=6)
    assert "0 of 0 requests" in text and "126 more without one would be needed" in text
    fleet.run("status", code=6)
    # The record says what the verdict rests on, not the file of whoever goes on.
    fleet.write(bake="1s")
    with Load(fleet.hosts):
        text = fleet.run("resume", code=(0, 6))
    assert "failed on the canary" in text
    if "inconclusive" in text:
        fleet.run("promote")
    assert fleet.one_release() != before
    kinds = [verdict["kind"] for verdict in fleet.why()["verdicts"]]
    assert kinds[0] == "inconclusive" and len(kinds) == 2
    fleet.change()
    fleet.judge("on_inconclusive = promote", bake="1s")
    text = fleet.run("release")
    assert "was inconclusive, on_inconclusive = promote" in text


def test_a_page_that_cannot_be_read_is_told_and_pauses(fleet):
    before = fleet.one_release()
    fleet.change()
    fleet.judge('metrics_errors = http_requests_total{status=~"5.."}', bake="1s")
    text = fleet.run("release", code=6)
    assert "metrics_errors: no series of http_requests_total has a label status, there is code" in text
    assert "No counts from h1" in text
    fleet.run("abort")
    assert fleet.one_release() == before


def test_probes_can_be_counted(fleet):
    before = fleet.one_release()
    fleet.change()
    fleet.judge("metrics = probes\nmax_error_ratio = 50%", bake="5s", kind="probes")
    text = fleet.run("release")
    assert "requests (0 %) failed on the canary" in text
    assert fleet.one_release() != before


def test_a_rest_that_comes_and_goes_blames_nobody(fleet):
    before = fleet.one_release()
    fleet.change()
    fleet.judge(bake="6s")
    with Load(fleet.hosts):
        story = Story(fleet.start("release", "--json"))
        story.stage("bake")
        story.until(lambda e: e["event"] == "verdict", "a count")
        os.kill(fleet.agent_of(story.process, fleet.hosts[1]), signal.SIGKILL)
        fleet.hosts[2].supervisor.run("restart", "web")
        story.host("h2", "again")
        counts = story.until(lambda e: e["event"] == "verdict", "the next count")["numbers"]
        story.until(lambda e: e["event"] == "verdict" and e["numbers"]["errors"]["rest"]["requests"]
                    > counts["errors"]["rest"]["requests"] + 50, "more of the rest")
        assert [host["host"] for host in counts["hosts"]] == ["h1", "h2", "h3"]
        assert story.end() == 0, story.text
    assert fleet.one_release() != before


def test_a_gate_does_not_wait_for_counts(fleet):
    before = fleet.one_release()
    fleet.change()
    fleet.judge(bake="60s")
    with Load(fleet.hosts):
        story = Story(fleet.start("release", "--json"))
        story.until(lambda e: e["event"] == "verdict", "a count")
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{fleet.hosts[0].port}/crash", timeout=5)
        except OSError:
            pass
        assert story.end() == 1, story.text
    assert "was restarted" in story.text or "ended" in story.text
    assert fleet.one_release() == before
    assert fleet.why()["bad"].startswith("h1: web:0")


def test_an_interrupted_bake_leaves_its_counts(fleet):
    before = fleet.one_release()
    fleet.change()
    fleet.judge(bake="60s")
    with Load(fleet.hosts):
        story = Story(fleet.start("release", "--json"))
        story.until(lambda e: e["event"] == "verdict" and
                    e["numbers"]["errors"]["canary"]["requests"] > 10, "a count")
        story.process.send_signal(signal.SIGINT)
        assert story.end() == 6, story.text
    assert fleet.why()["verdicts"][-1]["numbers"]["errors"]["canary"]["requests"] > 10
    fleet.run("abort")
    assert fleet.one_release() == before


OLD_AGENT = r"""#!/usr/bin/python3
# As ssh to a host whose deployctl is older: it refuses the verbs of the verdict as all unknown ones.
import json, os, struct, subprocess, sys, threading
agent = subprocess.Popen(["sh", "-c", sys.argv[-1]], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
lock = threading.Lock()
def copy():
    while data := agent.stdout.read1(65536):
        with lock:
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
threading.Thread(target=copy).start()
while len(head := sys.stdin.buffer.read(5)) == 5:
    size, kind = struct.unpack(">IB", head)
    body = sys.stdin.buffer.read(size)
    verb = json.loads(body).get("do") if kind == ord("J") else None
    if verb in ("sample", "verdict"):
        answer = json.dumps({"n": json.loads(body)["n"], "ok": False, "kind": "protocol",
                             "message": f'unknown request "{verb}"'}).encode()
        with lock:
            sys.stdout.buffer.write(struct.pack(">IB", len(answer), ord("J")) + answer)
            sys.stdout.buffer.flush()
    else:
        agent.stdin.write(head + body)
        agent.stdin.flush()
agent.stdin.close()
"""


def test_an_older_agent_is_named_and_the_rest_goes_on(fleet, tmp_path, monkeypatch):
    before = fleet.one_release()
    fleet.change()
    fleet.judge(bake="1s")
    (tmp_path / "ssh").write_text(OLD_AGENT)
    (tmp_path / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("SUPERVISOR_SOCKET", fleet.hosts[0].supervisor.socket)
    with open(fleet.recipe) as file:
        text = file.read().replace(f"transport = local:{fleet.hosts[0].supervisor.socket}\n",
                                   "transport = ssh\n")
    with open(fleet.recipe, "w") as file:
        file.write(text + f"[fleet]\nremote_path = {DEPLOYCTL}\n")
    text = fleet.run("release", code=6)
    assert "h1: no counts of requests from here: the deployctl there is older" in text
    assert "verdict: inconclusive" in text
    assert fleet.why()["verdicts"][-1]["kind"] == "inconclusive"  # the others remember it
    fleet.run("abort")
    assert fleet.one_release() == before


def test_the_example_tells_its_counts(fleet):
    port = fleet.hosts[2].port
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        page = answer.read().decode()
    assert 'http_requests_total{code="500"}' in page and page.endswith("\n")
