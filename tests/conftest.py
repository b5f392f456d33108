"""Tests run side by side (pytest-xdist), because most of their time is waiting.

The tests of a file run in one process, in their order, so they may share what a fixture of the
module made.  A file whose tests need nothing of one another says so, and they are spread:

    SPREAD = "first"    # long ones: begun early, the others run while they wait
    SPREAD = "last"     # many short ones: they fill what is left at the end
"""
import os
import signal

import pytest

# A shell has what it starts in the background ignore these, and who is started ignoring a signal
# goes on so: nothing could be interrupted as from a terminal.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGQUIT, signal.SIG_DFL)

ORDER = ("first", None, "last")


def pytest_collection_modifyitems(items):
    for item in items:
        if not getattr(item.module, "SPREAD", None):
            item.add_marker(pytest.mark.xdist_group(item.module.__name__))
    items.sort(key=lambda item: ORDER.index(getattr(item.module, "SPREAD", None)))


def pytest_configure(config):
    config.addinivalue_line("markers", "xdist_group: tests that run in one process")


def pytest_terminal_summary(terminalreporter):
    """For tests/again."""
    folder = os.environ.get("B")
    bad = [report.nodeid for kind in ("failed", "error")
           for report in terminalreporter.stats.get(kind, [])]
    if folder and bad:
        with open(os.path.join(folder, "failed-tests"), "w") as file:
            file.writelines(f"{name}\n" for name in dict.fromkeys(bad))
