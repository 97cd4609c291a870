"""Standard streams whose readers go away, each in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path
from typing import TextIO

import pytest

START = "import sys\nfrom corpus.display.standard_streams import survive_closed_streams\nsurvive_closed_streams()\n"


def run(code: str, stdout: int | TextIO, stderr: int | TextIO | None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONUNBUFFERED": ""}
    command = [sys.executable, "-c", START + code]
    return subprocess.run(command, text=True, check=False, stdout=stdout, stderr=stderr, env=environment)


def closed_pipe() -> int:
    """Return the writing end of a pipe without a reader."""
    reading, writing = os.pipe()
    os.close(reading)
    return writing


WORK = """
from rich.console import Console
from rich.progress import Progress
import warnings
console = Console(stderr=True)
with Progress(console=console):
    console.print("a line")
    print("another", file=sys.stderr, flush=True)
    warnings.warn("a warning")
print("done")
"""


@pytest.mark.parametrize("kind", ["closed pipe", "full disk", "no stream"])
def test_a_log_that_cannot_be_written_does_not_end_the_work(kind: str) -> None:
    """Verified to fail for each kind without `survive_closed_streams`."""
    code = "import os; os.close(2)\nsys.stderr = None\nsurvive_closed_streams()\n" if kind == "no stream" else ""
    with Path("/dev/full").open("w") as full:
        writing = {"closed pipe": closed_pipe(), "full disk": full, "no stream": None}[kind]
        done = run(code + WORK, stderr=writing, stdout=subprocess.PIPE)
    assert (done.returncode, done.stdout) == (0, "done\n")


@pytest.mark.parametrize("printer", ["print", "from rich.console import Console\nConsole().print"])
@pytest.mark.parametrize("lines", [1, 10_000])
def test_a_result_without_a_reader_ends_the_command_in_silence(printer: str, lines: int) -> None:
    code = f"{printer}('line ' * {lines})\nprint('reached', file=sys.stderr)\nprint('again')\nsys.stdout.flush()\n"
    code += "print('last')\nprint('never reached', file=sys.stderr)"
    done = run(code, stdout=closed_pipe(), stderr=subprocess.PIPE)
    assert done.returncode == 0 and "never" not in done.stderr and "Error" not in done.stderr
    assert ("reached" in done.stderr) == (lines == 1)


def test_a_result_on_a_full_disk_is_an_error() -> None:
    with Path("/dev/full").open("w") as full:
        done = run("print('line', flush=True)", stdout=full, stderr=subprocess.PIPE)
    assert done.returncode and "No space left" in done.stderr


def test_characters_beyond_the_locale_are_shown_as_codes(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("LC_ALL", "C"), ("PYTHONUTF8", "0"), ("PYTHONCOERCECLOCALE", "0")):
        monkeypatch.setenv(name, value)
    done = run("print('a \\u2013 b')", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert (done.returncode, done.stdout) == (0, "a \\u2013 b\n")
