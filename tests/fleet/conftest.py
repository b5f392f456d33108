"""The fleet fixture: three fresh hosts for each test, or a skip that cannot be overlooked."""
import pytest

from fleet import Fleet, NotHere


@pytest.fixture
def fleet():
    try:
        made = Fleet(3).__enter__()
    except NotHere as why:
        pytest.skip(f"NOT TESTED over ssh: {why}")
    try:
        yield made
    finally:
        made.__exit__()


def pytest_terminal_summary(terminalreporter):
    skipped = [report for report in terminalreporter.stats.get("skipped", [])
               if report.nodeid.startswith("tests/fleet/")]
    reasons = {report.longrepr[2] for report in skipped if isinstance(report.longrepr, tuple)}
    for reason in sorted(reasons):
        terminalreporter.write_line(f"*** {len(skipped)} fleet tests: {reason}", red=True)
