"""The same file under the real supervisord and under ours: the same launches and the same states.

Order is compared exactly.  Time is compared loosely: a launch is never earlier than supervisord's rule
allows, and not much later than supervisord, which looks once a second, makes it.
"""
import contextlib
import json
import os
import signal
import subprocess
import sys

from harness import host, processes_with, wait_for  # noqa: F401 (a fixture)

# Tells supervisord's events; see "Event listener notification protocol" in its manual.
LISTENER = """
import sys
while True:
    print("READY", flush=True)
    words = dict(word.split(":") for word in sys.stdin.readline().split())
    facts = dict(word.split(":", 1) for word in sys.stdin.read(int(words["len"])).split())
    with open(sys.argv[1], "a") as out:
        out.write(words["eventname"].replace("PROCESS_STATE_", "") + " " + facts["processname"] + "\\n")
    print("RESULT 2\\nOK", end="", flush=True)
"""

# Each launch of a program notes its time and does what its number says.  In one process: what ends at
# once must do so on a busy machine, too.
WORKER = """
name=$1 moves=$2
echo ${EPOCHREALTIME/,/.} >> $LAUNCHES/$name
mapfile -t launches < $LAUNCHES/$name
number=${#launches[@]}
IFS=/
set -- $moves
while [ $# -gt 1 ] && [ $number -gt 1 ]; do shift; number=$((number - 1)); done
[ ${1%:*} = 0 ] || sleep ${1%:*}
[ ${1#*:} != sig ] || kill -9 $$
exit ${1#*:}
"""

# Wide enough for a machine that is busy: a process that ends at once is seen within this, too.
STARTSECS = 3
LATE = 3.5
FOREVER = "100000:0"
# name: (what each launch does, as "seconds:exit code", keys)
PROGRAMS = {
    "fails": ("0:1", ""),  # four launches, at 0, 1, 3, 6
    "early-expected": ("0:0", "startretries=1\n"),  # too early is a failure whatever the code
    "no-retries": ("0:1", "startretries=0\n"),
    "never-early": ("0:1", "autorestart=false\nstartretries=1\n"),
    "never-late": ("LATE:1", "autorestart=false\n"),
    "zero": ("0:0", "startsecs=0\n"),
    "zero-bad": ("0:1/0:1/0:1/0:0", "startsecs=0\n"),
    "late-bad": ("LATE:1/LATE:1/LATE:0", ""),  # at once, as often as it takes
    "late-signal": ("LATE:sig/LATE:0", ""),
    "always": ("LATE:0/LATE:0/" + FOREVER, "autorestart=true\n"),
    "expected-two": ("LATE:2", "exitcodes=0,2\n"),
    "none-expected": ("LATE:0/" + FOREVER, "exitcodes=\n"),
    "recovers": ("0:1/LATE:1/0:1/" + FOREVER, "startretries=1\n"),  # RUNNING forgets failures
}
MISSING = "[program:missing]\ncommand=/no/such/program\nstartretries=1\n"
NOMINAL = {"fails": [0, 1, 3, 6], "early-expected": [0, 1], "no-retries": [0], "never-early": [0, 1],
           "late-bad": [0, LATE, 2 * LATE]}
STEP = 3  # how many seconds later than supervisord is too late, on a busy machine, per launch


def configuration(folder):
    text = f"[supervisord]\nlogfile={folder}/supervisord.log\npidfile={folder}/supervisord.pid\n" \
           f"childlogdir={folder}\nnodaemon=true\n" \
           f"[eventlistener:told]\ncommand={sys.executable} {folder}/listener.py {folder}/told\n" \
           f"events=PROCESS_STATE\nbuffer_size=1000\nstartsecs=0\n{MISSING}"
    for name, (moves, keys) in PROGRAMS.items():
        text += f"[program:{name}]\ncommand=bash {folder}/worker.sh {name} " \
                f"{moves.replace('LATE', str(LATE))}\nstartsecs={STARTSECS}\n{keys}"
    return text


def prepare(folder):
    os.makedirs(folder, exist_ok=True)
    for name, text in (("listener.py", LISTENER), ("worker.sh", WORKER)):
        with open(os.path.join(folder, name), "w") as file:
            file.write(text)
    os.makedirs(os.path.join(folder, "launches"))
    return dict(os.environ, LAUNCHES=os.path.join(folder, "launches"))


def launches(folder):
    found = {}
    for name in PROGRAMS:
        with open(os.path.join(folder, "launches", name)) as lines:
            times = [float(line) for line in lines]
        found[name] = [at - times[0] for at in times]
    return found


def told(folder):
    """supervisord's states of each program, in order."""
    found = {name: [] for name in (*PROGRAMS, "missing")}
    try:
        with open(os.path.join(folder, "told")) as lines:
            for line in lines:
                state, name = line.split()
                if name in found:
                    found[name].append(state)
    except FileNotFoundError:
        pass
    return found


def seen(events):
    """Our states in supervisord's words.  A process that ended by itself is cleaned up before anything
    else: that is EXITED there when it had been RUNNING, and nothing when it had not."""
    names = {"starting": "STARTING", "running": "RUNNING", "backoff": "BACKOFF", "exited": "EXITED",
             "failed": "FATAL", "stopped": "STOPPED"}
    found = {name: [] for name in (*PROGRAMS, "missing")}
    for event in events:
        if event.get("event") != "state":
            continue
        states = found[event["instance"].split(":")[0]]
        state = names.get(event["to"])
        if event["to"] == "cleaning" and event["from"] == "running":
            state = "EXITED"
        if event["to"] == "failed" and states[-1] == "STARTING":
            states.append("BACKOFF")  # supervisord stays there for the blink of an eye
        if state and (not states or states[-1] != state):
            states.append(state)
    return found


def settled(found):
    done = {"fails": "FATAL", "early-expected": "FATAL", "no-retries": "FATAL", "never-early": "FATAL",
            "missing": "FATAL", "never-late": "EXITED", "zero": "EXITED", "expected-two": "EXITED"}
    count = {"zero-bad": ("EXITED", 4), "late-bad": ("EXITED", 3), "late-signal": ("EXITED", 2),
             "always": ("RUNNING", 3), "none-expected": ("RUNNING", 2), "recovers": ("RUNNING", 2)}
    return all(found[name][-1:] == [state] for name, state in done.items()) and \
        all(found[name].count(state) >= times for name, (state, times) in count.items())


def test_the_same_launches_and_states(host, tmp_path):
    theirs = str(tmp_path / "theirs")
    environment = prepare(theirs)
    with open(os.path.join(theirs, "s.conf"), "w") as file:
        file.write(configuration(theirs))
    s = host(start=False)
    s.environment.update(prepare(s.folder))
    s.write(configuration(s.folder))
    daemon = subprocess.Popen([sys.executable, "/usr/bin/supervisord", "-n", "-c",
                               os.path.join(theirs, "s.conf")], env=environment,
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        s.start()
        wait_for(lambda: settled(told(theirs)), "supervisord's programs at rest", 60)
        wait_for(lambda: settled(seen(s.events())), "our programs at rest", 30)
        real, ours = told(theirs), seen(s.events())
        assert ours == real
        ours, real = launches(s.folder), launches(theirs)
        for name in PROGRAMS:
            assert len(ours[name]) == len(real[name]), (name, ours[name], real[name])
            for number, (at, there) in enumerate(zip(ours[name], real[name])):
                assert at <= there + STEP * number, (name, ours[name], real[name])
        for name, times in NOMINAL.items():
            assert len(ours[name]) == len(times), (name, ours[name])
            # A launch is noted by the program itself, which takes its time to begin: hence 0.4.
            assert all(at >= least - 0.4 for at, least in zip(ours[name], times)), (name, ours[name])
        # The state keeps its own name; the note says supervisord's.
        status = s.run("status", code=3).stdout
        line = next(line for line in status.splitlines() if line.startswith("fails:0"))
        assert "failed" in line and "FATAL" in line
        assert json.loads(s.run("status", "--json", code=3).stdout)["services"]
    finally:
        daemon.kill()
        daemon.wait()
        for pid in processes_with(f"LAUNCHES={environment['LAUNCHES']}"):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
