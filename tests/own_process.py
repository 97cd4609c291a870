"""Plugin for tests that crash their process.

Tests with the marker `own_process` run in a process of their own, one for each file. They start Ray, whose native
library can crash: that fails the tests that had not ended, by name. A crash of any other test ends the run at once,
because pytest-xdist may wait forever for the rest of its tests.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest

RESULTS = "GRISTMILL_TEST_RESULTS"  # in the process of its own: the file to which it appends reports
LIMIT_S = 900
_reports: dict[str, list[pytest.TestReport]] = {}  # of tests that ran in another process
_ran: set[Path] = set()
_ends: dict[Path, str] = {}


@pytest.hookimpl(optionalhook=True)
def pytest_handlecrashitem(crashitem: str) -> None:
    """End the run of pytest-xdist."""
    pytest.exit(f"the test process crashed in {crashitem}", returncode=3)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give the first of these tests, which waits for all of its file, the time for it."""
    for item in items:
        if RESULTS not in os.environ and item.get_closest_marker("own_process"):
            item.add_marker(pytest.mark.timeout(LIMIT_S + 60))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    """Report the results from the other process, which runs all such tests of the file at the first of them."""
    if RESULTS in os.environ or item.get_closest_marker("own_process") is None:
        return None
    if item.path not in _ran:
        _ran.add(item.path)
        chosen = [
            each for each in item.session.items if each.path == item.path and each.get_closest_marker("own_process")
        ]
        _run(item.config, item.path, [each.nodeid for each in chosen])
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    reports = _reports.pop(item.nodeid, [])
    ended = any(report.when == "teardown" for report in reports)
    for report in reports if ended else [_lost(item)]:
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """In the process of its own: append a report to the file."""
    if path := os.environ.get(RESULTS):
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(json.dumps(report._to_json()) + "\n")


def _run(config: pytest.Config, path: Path, names: Sequence[str]) -> None:
    """Run these tests of a file in a new process, and keep their reports."""
    descriptor, results = tempfile.mkstemp(suffix=".jsonl")
    os.close(descriptor)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", "-p", "no:cacheprovider", *names]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environment[RESULTS] = results
    try:
        run = subprocess.run(
            command, env=environment, cwd=config.rootpath, capture_output=True, text=True, timeout=LIMIT_S, check=False
        )
        _ends[path] = f"its process ended with status {run.returncode}:\n{run.stdout[-4000:]}\n{run.stderr[-8000:]}"
    except subprocess.TimeoutExpired:
        _ends[path] = f"its process did not end within {LIMIT_S} s"
    lines = Path(results).read_text(encoding="utf-8").splitlines()
    Path(results).unlink()
    for line in lines:
        report = pytest.TestReport._from_json(json.loads(line))
        _reports.setdefault(report.nodeid, []).append(report)


def _lost(item: pytest.Item) -> pytest.TestReport:
    return pytest.TestReport(
        nodeid=item.nodeid, location=item.location, keywords={}, outcome="failed", when="call",
        longrepr=f"{item.nodeid}: {_ends[item.path]}",
    )  # fmt: skip
