"""The demo, as `make demo` runs it: it checks itself, and leaves nothing behind."""
import os
import re
import signal
import subprocess
import tempfile
import time

import pytest
from harness import BINARY, ROOT, wait_for

DEMO = os.path.join(ROOT, "examples", "demo", "run")
BIN = os.path.dirname(BINARY)
LIMIT = 120


def environment(folder):
    return {"PATH": "/usr/bin:/bin", "TMPDIR": folder, "HOME": folder, "TERM": "dumb"}


def left(folder):
    """What carries the demo's mark and is still there."""
    return [name for name in os.listdir(folder)] or processes_with_prefix(folder)


def processes_with_prefix(folder):
    found = []
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{entry}/environ", "rb") as file:
                if f"SUPERVISOR_DEMO={folder}/".encode() in file.read():
                    found.append(entry)
        except OSError:
            pass
    return found


def test_the_demo():
    with tempfile.TemporaryDirectory(prefix="t-") as folder:
        os.chmod(folder, 0o755)
        begin = time.monotonic()
        done = subprocess.run([DEMO, BIN], capture_output=True, text=True, timeout=2 * LIMIT,
                              stdin=subprocess.DEVNULL, cwd=folder, env=environment(folder))
        took = time.monotonic() - begin
        text = done.stdout
        assert done.returncode == 0, text + done.stderr
        assert done.stderr == ""
        assert left(folder) == []
    assert took < LIMIT, f"it took {took:.0f} s"
    assert "\033" not in text, "colours only on a terminal"
    assert max(map(len, text.split("\n"))) <= 78
    assert "NOT AS TOLD" not in text
    steps = re.findall(r"^(\d)\. ", text, re.M)
    assert steps == [str(n) for n in range(1, len(steps) + 1)] and len(steps) >= 8
    # The main job, in its own words.
    assert len(re.findall(r"^  \$ deployctl release v[123]", text, re.M)) == 4
    assert len(re.findall(r"\d+ ok, 0 failed", text)) == 4
    assert re.search(r"Released web as 000002-\w+ on 3 hosts", text)
    assert re.search(r"Release 000003-\w+ is bad \(web1: ", text)
    assert re.search(r"Rolled back to 000001-\w+ on 3 hosts in \d+", text)
    before, after = re.findall(r"(?:before|after): +the core of web2 is process (\d+), "
                               r"its web service is process (\d+)", text)
    assert before[0] != after[0] and before[1] == after[1]
    assert "$ supervisor why web" in text and "code 7" in text


@pytest.mark.parametrize("before", (signal.default_int_handler, signal.SIG_IGN))
def test_the_demo_interrupted(before):
    """Ctrl-C in the middle: it leaves at once, and nothing stays.  Also when a shell had it started
    with the signal ignored, as in the background, and it cannot trap it."""
    with tempfile.TemporaryDirectory(prefix="t-") as folder:
        os.chmod(folder, 0o755)
        signal.signal(signal.SIGINT, before)
        try:
            process = subprocess.Popen([DEMO, BIN], stdout=subprocess.PIPE,
                                       stderr=subprocess.STDOUT, text=True,
                                       stdin=subprocess.DEVNULL, cwd=folder,
                                       env=environment(folder), start_new_session=True)
        finally:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        seen = []
        for line in process.stdout:
            seen.append(line)
            if "watching the canary" in line:
                break
        else:
            raise AssertionError("".join(seen))
        os.killpg(process.pid, signal.SIGINT)
        seen.append(process.communicate(timeout=30)[0])
        assert process.returncode == 130, "".join(seen)
        wait_for(lambda: not left(folder), "the end of all it started")


def test_the_demo_without_its_programs(tmp_path):
    done = subprocess.run([DEMO, str(tmp_path)], capture_output=True, text=True, timeout=30)
    assert done.returncode == 2 and "make all examples" in done.stderr
