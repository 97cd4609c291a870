"""A test that hangs or crashes its process fails by name, and the run ends."""

import os
import subprocess
import sys
from pathlib import Path

TESTS = """
import os, signal, time, pytest

def test_first(): pass

@OWN
def test_crash(): os.kill(os.getpid(), signal.SIGSEGV)

@OWN
def test_behind_it(): pass

def test_hang(): time.sleep(100)
"""
ROOT = Path(__file__).parents[1]


def run(folder: Path, text: str, *options: str) -> str:
    (folder / "conftest.py").write_text('pytest_plugins = ["tests.own_process"]\n')
    (folder / "pytest.ini").write_text("[pytest]\ntimeout = 2\nmarkers = own_process\n")
    (folder / "test_it.py").write_text(text)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    run = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False)
    return run.stdout


def test_crash_in_a_process_of_its_own_fails_its_tests(tmp_path: Path) -> None:
    printed = run(tmp_path, TESTS.replace("OWN", "pytest.mark.own_process"))
    assert "3 failed, 1 passed" in printed, printed
    assert "test_it.py::test_crash: its process ended with status -11" in printed
    assert "Timeout (>2.0s) from pytest-timeout" in printed


def test_crash_of_a_process_of_xdist_ends_the_run_with_the_name(tmp_path: Path) -> None:
    printed = run(tmp_path, TESTS.replace("@OWN", ""), "-n", "2")
    assert "Exit: the test process crashed in test_it.py::test_crash" in printed, printed
