"""The audit log and its disk: an order is answered when its lines are there; a disk that fails stops
nothing, and is told."""
import json
import os

import pytest
from faults import EIO
from harness import Failed
from herd import Herd


@pytest.fixture
def herd():
    made = Herd("calls")
    yield made
    made.close()


def ask_status(s):
    return s.call("status", names=["all"])["supervisor"].get("audit_log")


def test_an_order_is_on_the_disk_before_it_is_answered(herd):
    s = herd.supervisor
    for order, params in (("start", {"names": ["plain"]}), ("scale", {"name": "plain", "count": 1}),
                          ("signal", {"names": ["plain"], "signal": "WINCH"})):
        herd.injector.arm("core", "fdatasync")
        s.call(order, **params)
        assert herd.injector.off().counts.get("fdatasync", 0) >= 1, order
    herd.injector.arm("core", "fdatasync")
    with pytest.raises(Failed):
        s.call("stop", names=["nobody"])
    assert herd.injector.off().counts.get("fdatasync", 0) >= 1  # an order, though a wrong one
    herd.injector.arm("core", "fdatasync")
    s.call("status", names=["all"]), s.call("why", names=["plain"]), s.call("doctor")
    assert "fdatasync" not in herd.injector.off().counts
    os.rename(s.path("audit"), s.path("moved"))
    herd.injector.arm("core", "fsync")
    s.call("start", names=["plain"])
    assert herd.injector.off().counts.get("fsync", 0) >= 1  # the folder: its name is new
    order, result = [json.loads(line) for line in s.text_of("audit").splitlines()]
    assert (order["audit"], result["audit"], result["ok"]) == ("order", "result", True)


def test_a_disk_that_fails_is_told(herd):
    s = herd.supervisor
    herd.injector.arm("core", "fdatasync", 1, EIO, 0)
    assert s.call("restart", names=["plain"])["ok"]
    assert "Input/output error" in ask_status(s)["error"]
    assert "note: audit_log" in s.run("status", code=None).stdout
    doctor = s.run("doctor", code=None).stdout
    assert "MISSING" in doctor and "(needed by audit_log)" in doctor
    assert s.wait_event(lambda e: e["event"] == "audit-error")["written"] is True
    herd.injector.off()
    s.call("start", names=["plain"])
    s.wait_event(lambda e: e["event"] == "audit-ok")
    assert ask_status(s) is None and "audit_log" not in s.run("doctor", code=None).stdout
    herd.injector.arm("core", "write", 1, EIO, 0)
    assert s.call("start", names=["plain"])["ok"]
    herd.injector.off()
    s.call("start", names=["plain"])
    assert ask_status(s) is None
    assert [json.loads(line) for line in s.text_of("audit").splitlines()][-1]["ok"] is True
