"""The agent's counts: a page of metrics, an access log, and everything that is no count."""
import http.server
import os
import socket
import subprocess
import threading

import pytest

from agent_client import Agent, Refused
from harness import ROOT

PAGE = """# TYPE http_requests_total counter
http_requests_total{code="200"} 97
http_requests_total{code="503"} 3
http_request_duration_seconds_bucket{le="0.1"} 90
http_request_duration_seconds_bucket{le="1"} 99
http_request_duration_seconds_bucket{le="+Inf"} 100
process_start_time_seconds 17.5
"""


@pytest.fixture(scope="module")
def program():
    if "AGENT_PROGRAM" in os.environ:
        return os.environ["AGENT_PROGRAM"]
    build = os.environ.get("B", "build/release")
    target = f"{build}/tests/system/agent_main"
    subprocess.run(["make", "-s", f"B={build}", target], cwd=ROOT, check=True)
    return os.path.join(ROOT, target)


@pytest.fixture
def agent(program, tmp_path):
    with Agent(program, tmp_path) as one:
        yield one


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        page = self.server.pages.get(self.path)
        if page is None:
            self.send_error(404)
            return
        self.send_response(200)
        self.end_headers()
        self.wfile.write(page.encode())

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.pages = {"/metrics": PAGE}
    server.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def test_a_page_is_counted(agent, server):
    answer = agent.ask("sample", metrics=server.url, latency_ms=200)
    assert (answer["requests"], answer["errors"]) == (100, 3)
    assert (answer["timed"], answer["slow"], answer["bound"]) == (100, 1, 1)
    assert answer["started"] == 17.5
    answer = agent.ask("sample", metrics=server.url, errors='http_requests_total{code="200"}')
    assert answer["errors"] == 97 and "timed" not in answer


@pytest.mark.parametrize("page,says", [
    ("other 1\n", "no metric called http_requests_total"),
    ('http_requests_total{status="200"} 1\n', "no series of http_requests_total has a label code"),
    ('http_requests_total{code="200"} 1', "line 1 is cut off"),
    ("<html>\n", "line 1: a name is expected"),
    ("# " + "x" * (5 << 20) + "\n", "larger than"),
], ids=["other", "label", "cut", "html", "large"])
def test_what_is_no_count_is_told(agent, server, page, says):
    server.pages["/metrics"] = page
    with pytest.raises(Refused, match=says):
        agent.ask("sample", metrics=server.url)
    server.pages["/metrics"] = PAGE
    assert agent.ask("sample", metrics=server.url)["requests"] == 100


def test_a_page_that_is_not_there_is_told(agent, server):
    with pytest.raises(Refused, match="404, not 200"):
        agent.ask("sample", metrics=server.url + "/other")
    with socket.socket() as deaf:  # bound and not listening: refused at once
        deaf.bind(("127.0.0.1", 0))
        with pytest.raises(Refused, match="Connection refused") as refused:
            agent.ask("sample", metrics=f"http://127.0.0.1:{deaf.getsockname()[1]}/")
        assert refused.value.kind == "unreachable"
        deaf.listen()  # accepts in the kernel, and never answers
        with pytest.raises(Refused, match="no whole answer within") as refused:
            agent.ask("sample", metrics=f"http://127.0.0.1:{deaf.getsockname()[1]}/")
        assert refused.value.kind == "timeout"


@pytest.mark.parametrize("members,says", [
    ({}, "needs \"metrics\""),
    ({"metrics": "http://192.0.2.1/"}, "a page of the host itself"),
    ({"metrics": "file:///etc/passwd"}, "is none of"),
    ({"metrics": "http://127.0.0.1/", "errors": "{"}, "metrics_errors: must begin with the name"),
    ({"metrics": "probes"}, "without services there are no probes"),
    ({"metrics": "log:/does/not/exist"}, "No such file"),
    ({"metrics": "log:/dev/null"}, "is not a file"),
])
def test_a_wrong_question_is_refused(agent, members, says):
    with pytest.raises(Refused, match=says):
        agent.ask("sample", **members)
    assert agent.ask("ping")["ok"]


def test_a_log_is_counted_from_now_on(agent, tmp_path):
    log = tmp_path / "access.log"
    line = '::1 - - [x] "GET / HTTP/1.1" %d 5\n'
    log.write_text(line % 500)
    question = {"metrics": f"log:{log}"}
    assert agent.ask("sample", **question)["requests"] == 0
    with open(log, "a") as file:
        file.write(line % 200 + line % 502)
    answer = agent.ask("sample", **question)
    assert (answer["requests"], answer["errors"]) == (2, 1)
    answer = agent.ask("sample", **question, errors='" 2.. ')  # another question begins anew
    assert (answer["requests"], answer["errors"]) == (0, 0)


def test_a_verdict_is_a_line_of_the_journal(agent):
    with pytest.raises(Refused, match="needs `lock` and `fence`"):
        agent.ask("verdict", kind="bad", text="x", numbers={}, token="1:r")
    agent.ask("lock", who="ann", rollout="r")
    agent.ask("fence", epoch=1, rollout="r")
    with pytest.raises(Refused, match="must be an object"):
        agent.ask("verdict", kind="bad", text="x", token="1:r")
    agent.ask("verdict", kind="bad", text="3 of 3", numbers={"errors": {"canary": 3}}, token="1:r")
    line = agent.ask("history", limit=1)["lines"][0]
    assert (line["act"], line["kind"], line["text"]) == ("verdict", "bad", "3 of 3")
    assert line["numbers"] == {"errors": {"canary": 3}}
