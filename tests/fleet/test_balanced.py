"""Releases behind a real HAProxy: hosts with networks of their own, each asked by agent-check.

The service is stop-first and gone at once on TERM (tests/system/abrupt_web); nothing of the
deployer may touch the load balancer, and its user may not look into the service.
"""
import os
import re
import shutil
import signal

import pytest

from fleet import BUILD, ROOT, wait_for

HAPROXY = shutil.which("haproxy", path=os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin")
HAMMER = os.path.join(BUILD, "examples", "demo", "hammer")
PORT = 8090
ROUNDS = (10, 5) if os.environ.get("SLOW_TESTS") == "1" else (2, 1)  # roll-outs, rollbacks

SUPERVISOR = """[supervisor]
control_group = deploy
[include]
files = /etc/supervisor/conf.d/*.ini
[service:web]
command = bin/web 8080 0.0.0.0
release = /srv/web
user = web
ready = http://127.0.0.1:8080/
ready_interval = 100ms
[service:agent-check]
command = /usr/local/bin/deployctl agent-check /srv/web --listen 0.0.0.0:5500
user = nobody
no_new_privs = true
"""
HAPROXY_CFG = """defaults
  mode http
  retries 0
  timeout connect 5s
  timeout client 60s
  timeout server 60s
frontend in
  bind 127.0.0.1:%d
  default_backend web
backend web
  default-server check inter 200ms fall 2 rise 1 agent-check agent-port 5500 agent-inter 200ms pool-max-conn 0
""" % PORT


def make_release(fleet, version):
    fleet.make_release(version)
    os.mkdir(fleet.path("build", "bin"))
    shutil.copy(os.path.join(ROOT, "tests", "system", "abrupt_web"), fleet.path("build/bin/web"))
    os.chmod(fleet.path("build/bin/web"), 0o755)


@pytest.fixture
def balanced(fleet):
    if not HAPROXY:
        pytest.skip("NOT TESTED: haproxy is missing, install haproxy")
    for host in fleet.hosts:
        host.run("sh", "-c", "cat > /etc/supervisor/supervisor.ini", input=SUPERVISOR)
        host.run("supervisor", "reload")
    fleet.write("haproxy.cfg", HAPROXY_CFG + "".join(
        f"  server {host.name} {host.address}:8080\n" for host in fleet.hosts))
    make_release(fleet, "0.0")
    fleet.run("deployctl", "release")
    fleet.start(HAPROXY, "-db", "-f", fleet.path("haproxy.cfg"))
    return fleet


def recipe(fleet, drain):
    with open(fleet.path("deploy.ini")) as file:
        text = file.read().split("\n[drain]")[0]
    fleet.recipe(f"{text}\n[drain]\n{drain}", bake="200ms", healthy_for="500ms")


def test_no_request_fails(balanced):
    fleet = balanced
    # Who may not see what the service listens on is told which key helps, before anything happens.
    recipe(fleet, "delay = 800ms")
    make_release(fleet, "0.1")
    assert "name them: ports in [drain]" in fleet.run("deployctl", "release", code=4).text
    recipe(fleet, "delay = 800ms\nports = 8080")

    def served():
        done = fleet.run("sh", "-c", f"{HAMMER} {PORT} & sleep 0.3; kill $!; wait $!", code=None)
        return " 0 failed" in done.stdout
    wait_for(served, "HAProxy serves")
    hammer = fleet.start(HAMMER, "-n", "3", str(PORT))
    for number in range(ROUNDS[0]):
        make_release(fleet, f"{number + 1}.0")
        fleet.run("deployctl", "release")
        if number % 2 == 1 and number // 2 < ROUNDS[1]:
            fleet.run("deployctl", "rollback")
    hammer.send_signal(signal.SIGTERM)
    text = hammer.communicate(timeout=30)[0]
    print(f"\n{ROUNDS[0]} roll-outs, {ROUNDS[1]} rollbacks, over ssh: {text}")
    ok, failed = map(int, re.search(r"(\d+) ok, (\d+) failed", text).groups())
    assert failed == 0 and ok > 100, text
    journal = fleet.run("deployctl", "history").stdout
    assert "drain" in journal
