"""System calls and memory that fail, processes that die at a chosen call or at any moment.

    make chaos ROUNDS=1000 SEED=7           so many rounds of each kind
    make chaos ROUND='restart core openat 3 EMFILE 1'
                                            that one, as a failure names it, ROUNDS times
    make chaos SWEEP='restart core'         every call of it, each with every error (takes long)
"""
import errno
import os
import random
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from form import rounds
from harness import SANITIZED
from rounds import ROLES, SCENARIOS, Player, Round, all_rounds, at_random, draw

EPOCH = 100  # rounds of one supervisor; then an orderly end, and a new one
HERDS = 3    # that wait at the same time
FAILURES_MAX = 50  # of one sweep


class Herds:
    """Plays rounds with several supervisors at once; they wait more than they work."""

    def __init__(self, tally, means):
        self.tally, self.means, self.known_counts = tally, means, {}

    def epoch(self, step, numbers):
        player = Player(self.tally, self.known_counts, self.means)
        what = None
        try:
            for number in numbers:
                what = None
                what = step(player, number)
                if what:
                    player.play(what)
            player.finish()
        except Exception as problem:
            log = player.supervisor.text_of("supervisor.log").splitlines()
            raise AssertionError(f"round {number} ({what}): {problem}\n"
                                 + "\n".join(log[-40:])) from problem
        finally:
            player.close()

    def play(self, step, count, limit=None, goes_on=False):
        """step(player, number) gives a Round, or has done what it does.  `limit`: seconds after which
        no further round begins, for the short form.  `goes_on`: with the next round after one that
        failed; all of them are told at the end."""
        end = time.monotonic() + limit if limit else None
        numbers, failed = list(range(count)), []

        def share(first):
            mine = numbers[first::HERDS]
            while mine and not (end and time.monotonic() > end):
                begun = []
                try:
                    self.epoch(step, (begun.append(n) or n for n in mine[:EPOCH]
                                      if not (end and time.monotonic() > end)))
                except AssertionError as problem:
                    if not goes_on or len(failed) >= FAILURES_MAX:
                        raise
                    failed.append(str(problem))
                    print(f"FAILED {problem}", flush=True)
                mine = mine[max(1, len(begun)):]
        with ThreadPoolExecutor(HERDS) as pool:
            for done in [pool.submit(share, first) for first in range(HERDS)]:
                done.result()
        assert not failed, f"{len(failed)} of {count} rounds\n" + "\n".join(failed)


def chance_of(seed, number):
    return random.Random(seed * 1000003 + number)


ONLY, SWEEP = os.environ.get("ROUND"), os.environ.get("SWEEP")
usual = pytest.mark.skipif(bool(ONLY or SWEEP), reason="a chosen round is played instead")


@usual
def test_calls(tally, seed):
    Herds(tally, "calls").play(lambda player, n: draw(player, chance_of(seed, n)),
                               rounds(60), limit=None if rounds(0) else 9)


@usual
@pytest.mark.skipif(SANITIZED, reason="the sanitizer brings its own malloc")
def test_memory(tally, seed):
    Herds(tally, "memory").play(lambda player, n: draw(player, chance_of(seed, n)),
                                rounds(40), limit=None if rounds(0) else 6)


@usual
def test_kills(tally, seed):
    Herds(tally, None).play(lambda player, n: at_random(player, chance_of(seed, n)),
                            rounds(30), limit=None if rounds(0) else 8)


# Faults that were found: each call of these once.
FOUND = (
    ("scale", "guardian", "recvmsg", "ENOMEM"),        # taken for the end of the channel
    ("scale", "guardian", "malloc", "ENOMEM"),         # the store misses a descriptor
    ("upgrade", "guardian", "epoll_create1", "EMFILE"),  # the new guardian left
    ("upgrade", "guardian", "signalfd4", "EMFILE"),
    ("upgrade", "guardian", "epoll_ctl", "ENOMEM"),    # deaf from then on
    ("new_core", "guardian", "epoll_ctl", "ENOMEM"),
    ("rotation", "logger", "newfstatat", "EIO"),       # one old file moved over another
    ("output", "logger", "splice", "EIO"),             # the stream was given up
    ("questions", "core", "epoll_ctl", "ENOMEM"),      # a client was not listened to
    ("scale", "core", "access", "EIO"),                # output went elsewhere until the next reload
    ("hooks", "core", "clone", "ENOMEM"),              # running, without a process
    ("hooks", "core", "clone3", "ENOMEM"),
    ("restart", "core", "malloc", "ENOMEM"),           # events without words
    ("new_core", "core", "malloc", "ENOMEM"),          # one that lived was started beside itself
    ("scale", "core", "sendmsg", "kill"),              # half a pipe: output that nobody reads
    ("scale", "core", "sendmsg", "ENOBUFS"),
)
FEW = rounds(4)


@usual
def test_found(tally):
    """Of each of them at most FEW calls, spread evenly."""
    for means in ("calls",) if SANITIZED else ("calls", "memory"):
        herds = Herds(tally, means)
        player = Player(tally, herds.known_counts, means)
        chosen = []
        for scenario, role, call, error in FOUND:
            if (call == "malloc") != (means == "memory"):
                continue
            count = player.counts(scenario, role).counts.get(call, 0)
            assert count or call.startswith("clone"), (scenario, role, call)
            step = max(1, count // FEW)
            act = error if error == "kill" else getattr(errno, error)
            chosen += [Round(scenario, role, call, first, act)
                       for first in range(1, count + 1, step)]
        player.close()
        if chosen:
            herds.play(lambda player, n: chosen[n], len(chosen))


def means_of(what):
    return "memory" if what.call == "malloc" else "calls"


@pytest.mark.skipif(not ONLY, reason="ROUND= names it")
def test_one(tally):
    what = Round.parse(ONLY)
    Herds(tally, means_of(what)).play(lambda player, n: what, rounds(1))


@pytest.mark.skipif(not SWEEP, reason="SWEEP= names it")
@pytest.mark.parametrize("means", ("calls", "memory"))
def test_sweep(tally, means):
    words = SWEEP.split()
    for scenario in SCENARIOS if words[0] == "all" else words[:1]:
        for role in words[1:] or ROLES[scenario]:
            if role != "child" or means == "calls":
                herds = Herds(tally, means)
                first = Player(tally, herds.known_counts, means)
                every = list(all_rounds(first, scenario, role))
                first.close()
                herds.play(lambda player, n: every[n], len(every), goes_on=True)
