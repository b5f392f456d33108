"""One round: something is asked of a supervisor while a chosen call of one of its processes fails,
or is the last that the process makes; then everything must be as it has to be."""
import errno
import os
import signal
import threading
import time
from collections import Counter

from faults import EINTR, ERRORS, error_name
from harness import BINARY, children_of
from herd import ONE, PATIENCE, TWO, Broken, Herd

# --- what goes on meanwhile ---


def stop_and_start(herd):
    herd.order("stop", "plain")
    herd.order("start", "plain")


def restart(herd):
    herd.order("restart", "plain")


def crash(herd):
    """By itself, with a status of its own; it is back, or its core is dead."""
    pids = [r.pid for r in herd.rows() if r.instance == "after:0"]
    herd.signal("after:0", signal.SIGUSR2)
    herd.soon(lambda: [r.pid for r in herd.rows() if r.instance == "after:0"] != pids)


def crash_by_signal(herd):
    pids = [r.pid for r in herd.rows() if r.instance == "probed:0"]
    herd.signal("probed:0", signal.SIGHUP)
    herd.soon(lambda: [r.pid for r in herd.rows() if r.instance == "probed:0"] != pids)


def overlap(herd):
    herd.order("restart", "web")


def scale(herd):
    herd.ask("scale", name="plain", count=3)
    herd.ask("scale", name="plain", count=1)


def add_by_reload(herd):
    herd.configure(extra=True)
    herd.ask("reload")
    herd.order("start", "extra")
    herd.configure(extra=False)
    herd.ask("reload")


def reload_by_signal(herd):
    herd.configure(extra=True)
    os.kill(herd.supervisor.process.pid, signal.SIGHUP)
    herd.soon(lambda: any(r.instance == "extra:0" and r.end == -1 for r in herd.rows()))


def switch(herd):
    herd.site = TWO if herd.site == ONE else ONE
    herd.ask("release.switch", path=herd.supervisor.path("site"), id=herd.site)


def hooks(herd):
    herd.order("restart", "hooked")


def probes(herd):
    herd.order("restart", "probed")


def sandbox(herd):
    herd.order("restart", "boxed")


def timed(herd):
    """The next times come while calls fail."""
    runs = len([r for r in herd.rows() if r.instance == "timed:0"])
    herd.soon(lambda: len([r for r in herd.rows() if r.instance == "timed:0"]) > runs + 1)


def output(herd):
    herd.say(1)


def rotation(herd):
    herd.say(14)


def questions(herd):
    herd.ask("status", names=["all"])
    herd.ask("why", name="plain:0")
    herd.ask("logs", name="plain:0")
    herd.ask("release.state", path=herd.supervisor.path("site"))
    herd.ask("events", since=max(1, herd.next_event - 5))


def new_core(herd):
    """It takes over while a service ends; the others must not notice."""
    herd.signal("after:0", signal.SIGUSR2)
    herd.kill_role("core")
    herd.ask("status", names=["all"])


def new_logger(herd):
    herd.kill_role("logger")
    herd.say(2)


def upgrade(herd):
    before = (herd.ask("status", names=["all"]) or {"supervisor": {}})["supervisor"]
    if herd.ask("upgrade", binary=BINARY) is None:
        return

    def another():
        now = herd.ask("status", names=["all"])
        return now and now["supervisor"]["core_pid"] != before.get("core_pid")
    herd.soon(another)


SCENARIOS = {f.__name__: f for f in (
    stop_and_start, restart, crash, crash_by_signal, overlap, scale, add_by_reload,
    reload_by_signal, switch, hooks, sandbox, timed, probes, output, rotation, questions,
    new_core, new_logger, upgrade)}
# Whose calls are of interest there.
ROLES = {name: ("core", "guardian", "child") for name in SCENARIOS}
ROLES |= {name: ("logger",) for name in ("output", "rotation")}
ROLES["new_logger"] = ("logger", "guardian", "child")
ROLES["questions"] = ("core",)
ROLES["restart"] += ("logger",)
ROLES["upgrade"] += ("logger",)


def at_random(player, chance):
    """No chosen call: one to three things at once, and a kill in the middle."""
    names = [chance.choice(sorted(SCENARIOS)) for _ in range(chance.randint(1, 3))]
    roles = chance.choice((("core",), ("core",), ("logger",), ("core", "logger")))
    moment = chance.random() * 0.03
    threads = [threading.Thread(target=SCENARIOS[name], args=(player,)) for name in names]
    for thread in threads:
        thread.start()
    time.sleep(moment)  # what is random is the moment
    for role in roles:
        player.kill_role(role)
    for thread in threads:
        thread.join()
    player.check()
    player.tally[f"kill -9 of {' and '.join(roles)} at a random moment"] += 1
    for name in names:
        player.tally[f"during {name}"] += 1


class Round:
    """What goes on, and which call fails: `restart core openat 3 EMFILE 1`; ACT is an error or
    `kill`, the last number how many calls in a row (0: all from there on)."""

    def __init__(self, scenario, role, call, first, act, times=1):
        self.scenario, self.role, self.call = scenario, role, call
        self.first, self.act, self.times = first, act, times

    def __str__(self):
        return (f"{self.scenario} {self.role} {self.call} {self.first} {error_name(self.act)} "
                f"{self.times}")

    @staticmethod
    def parse(text):
        scenario, role, call, first, act, times = text.split()
        return Round(scenario, role, call, int(first),
                     act if act == "kill" else getattr(errno, act), int(times))


class Player(Herd):
    """A herd that plays rounds."""

    def __init__(self, tally, known_counts, means="calls"):
        self.site, self.tally, self.known_counts = ONE, tally, known_counts
        super().__init__(means)

    def soon(self, fact, limit=2.0):
        """Gives it a moment: while calls fail it may well not happen."""
        end = time.monotonic() + limit
        while not fact() and time.monotonic() < end:
            time.sleep(0.002)

    def say(self, times):
        """The untouched ones print; until it is on file, or is not in time."""
        def rocks():
            return [r for r in self.rows() if r.instance.startswith("rock")]
        for _ in range(times):
            before = {r.index: r.lines for r in rocks()}
            for row in rocks():
                os.kill(row.pid, signal.SIGUSR1)
            self.soon(lambda: all(r.lines >= before[r.index] + 20 for r in rocks()), 1.0)

        def on_file():
            written = self.written()
            return all(written.get(r.instance, b"").endswith(b"%d %d\n" % (r.index, r.lines))
                       for r in rocks())
        self.soon(on_file, 1.0)

    def kill_role(self, role, signum=signal.SIGKILL):
        """Its pid; None when there is none just now."""
        words = [b"supervisor", role.encode()]
        for pid in children_of(self.supervisor.process.pid):
            try:
                with open(f"/proc/{pid}/cmdline", "rb") as file:
                    if file.read().split(b"\0")[:2] == words:
                        os.kill(pid, signum)
                        return pid
            except OSError:
                pass
        return None

    def counts(self, scenario, role):
        """How many calls of which kind this scenario takes; looked at once."""
        key = (scenario, role, self.means)
        if key not in self.known_counts:
            self.injector.arm(role)
            SCENARIOS[scenario](self)
            seen = self.injector.off()
            self.check()
            self.known_counts[key] = seen
        return self.known_counts[key]

    def play(self, what):
        before = self.status()["supervisor"]
        self.injector.arm(what.role, what.call, what.first, what.act, what.times)
        # While every further call fails nothing can be expected to be answered.
        self.patience = 1.0 if what.times == 0 else PATIENCE
        SCENARIOS[what.scenario](self)
        self.patience = PATIENCE
        seen = self.injector.off()
        if self.supervisor.process.poll() is not None:
            raise Broken(f"the guardian is dead: {self.supervisor.process.returncode}")
        if what.times == 0:
            self.unanswered.clear()
        after = self.check()["supervisor"]
        kind = "kill" if what.act == "kill" else "error"
        self.tally[f"{kind} in {what.role}" + ("" if seen.hits else ", came not to it")] += 1
        self.tally[f"during {what.scenario}"] += 1
        deaths = after["core_restarts"] - before["core_restarts"]
        if kind == "error" and what.role != "child" and deaths > 0 and \
                what.scenario not in ("new_core", "upgrade"):
            self.tally[f"the core died of {seen.hits[0][1] if seen.hits else '?'} "
                       f"{error_name(what.act)} and was replaced"] += deaths
        return seen


# Calls of the dynamic loader: it gives up, whoever it loads.  `upgrade` tries the binary before, and
# one that is linked statically has none.
LOADER = {"openat", "read", "pread64", "mmap", "mprotect", "newfstatat", "fstat", "access"}


def kinds_of(scenario, role, counts):
    """The calls there that can fail."""
    loads = scenario == "upgrade" and role == "guardian"
    return sorted((set(counts) & set(ERRORS)) - (LOADER if loads else set()))


def draw(player, chance, scenarios=tuple(SCENARIOS)):
    """A round by chance: rare kinds of calls as often as frequent ones."""
    while True:
        scenario = chance.choice(scenarios)
        role = chance.choice([r for r in ROLES[scenario] if r != "child" or player.means == "calls"])
        seen = player.counts(scenario, role)
        counts = seen.counts
        if not seen.total:
            continue
        if player.means == "calls" and chance.random() < 0.4 and role != "guardian":  # its death is told by other tests
            return Round(scenario, role, "any", chance.randint(1, seen.total), "kill")
        kinds = kinds_of(scenario, role, counts)
        if not kinds:
            continue
        call = chance.choice(kinds)
        act = chance.choice(ERRORS[call])
        return Round(scenario, role, call, chance.randint(1, counts[call]), act,
                     1 if act == EINTR else chance.choice((1, 1, 0)))


def all_rounds(player, scenario, role):
    """Every call of a scenario, in turn: each killed at, each failing with each error."""
    seen = player.counts(scenario, role)
    counts = seen.counts
    deaths = seen.total if role != "guardian" and player.means == "calls" else 0
    for first in range(1, deaths + 1):
        yield Round(scenario, role, "any", first, "kill")
    for call in kinds_of(scenario, role, counts):
        for first in range(1, counts[call] + 1):
            for act in ERRORS[call]:
                yield Round(scenario, role, call, first, act)
        for act in ERRORS[call]:
            if act != EINTR:
                yield Round(scenario, role, call, 1, act, 0)
