"""Counts what was done, over all workers, and prints it at the end."""
import os
import sys

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), "system")]
from form import ROUNDS, SEED, TALLY  # noqa: E402


@pytest.fixture(scope="session")
def tally():
    return TALLY


@pytest.fixture(scope="session")
def seed():
    return SEED


def pytest_report_header():
    from herd import MISSING_WALLS  # only here: it looks at the machine
    missing = "".join(f"; NOT TESTED: {what}" for what in MISSING_WALLS)
    return f"chaos: SEED={SEED} ROUNDS={ROUNDS or 'short'}{missing}"


def pytest_sessionfinish(session):
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["chaos"] = dict(TALLY)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node):
    TALLY.update(getattr(node, "workeroutput", {}).get("chaos", {}))


def pytest_terminal_summary(terminalreporter):
    if TALLY:
        terminalreporter.write_line(f"chaos, SEED={SEED}; everything held after each of these:")
    for what, count in sorted(TALLY.items()):
        terminalreporter.write_line(f"{count:7} {what}")
