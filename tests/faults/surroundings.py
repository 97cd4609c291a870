"""Commands in odd surroundings: on a small disk that others fill, under other environments, with a clock that jumps."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
LIMIT_S = 300.0  # of one command; longer counts as a hang
DISK = "20m"
# Imported by each Python process of a command: every look at the clock is a day off, forth and back.
JUMPING_CLOCK = """
import itertools, time
_real, _real_ns, _days = time.time, time.time_ns, itertools.cycle((0, 1, -1, 30, -400))
time.time = lambda: _real() + 86400 * next(_days)
time.time_ns = lambda: _real_ns() + 86400 * 10**9 * next(_days)
"""


class Ended(NamedTuple):
    """Exit status of a command, and all that it printed."""

    status: int
    output: str


class Command:
    """A running command in a session of its own."""

    def __init__(self, arguments: list[str], log: Path, environment: Mapping[str, str] | None, umask: int = -1) -> None:
        self._log = log
        with log.open("wb") as file:
            self.process = subprocess.Popen(
                [sys.executable, *arguments], cwd=ROOT, env=dict(environment or os.environ), umask=umask,
                start_new_session=True, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT,
            )  # fmt: skip

    @property
    def runs(self) -> bool:
        """True until the command has ended."""
        return self.process.poll() is None

    def wait_until(self, condition: Callable[[], bool]) -> bool:
        """Wait for a condition; return False if the command ended before."""
        deadline_s = time.monotonic() + LIMIT_S
        while not condition():
            assert time.monotonic() < deadline_s, f"the command hangs: {self._log.read_text(errors='replace')}"
            if not self.runs:
                return condition()
            time.sleep(0.002)
        return True

    def end(self) -> Ended:
        """Wait for the end; a command that takes longer counts as a hang."""
        try:
            status = self.process.wait(LIMIT_S)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, 9)
            raise AssertionError(f"the command hangs: {self._log.read_text(errors='replace')}") from None
        return Ended(status, self._log.read_text(errors="replace"))


def build(
    recipe: Path, out: Path, cache: Path, environment: Mapping[str, str] | None = None, umask: int = -1
) -> Command:
    """Start `corpus build`."""
    profile = cache.with_suffix(".profile.yaml")
    profile.write_text(f'{{"executor": "local", "workers": 2, "cache": "{cache}"}}')
    arguments = ["-m", "corpus", "build", str(recipe), "--out", str(out), "--on", str(profile)]
    return Command(arguments, cache.with_suffix(f".{time.monotonic_ns()}.log"), environment, umask)


def fit(config: Path, environment: Mapping[str, str] | None = None, umask: int = -1) -> Command:
    """Start `trainer fit`."""
    settings = {**(os.environ if environment is None else environment), "OMP_NUM_THREADS": "1"}
    settings["CUDA_VISIBLE_DEVICES"] = ""
    log = config.with_suffix(f".{time.monotonic_ns()}.log")
    return Command(["-m", "trainer", "fit", "--config", str(config)], log, settings, umask)


def assert_one_message(ended: Ended, program: str) -> None:
    """Assert that a command failed with one clear message about the disk, and no traceback."""
    assert ended.status == 1, ended
    assert "Traceback" not in ended.output, ended.output
    (line,) = (line for line in ended.output.splitlines() if line.startswith(f"{program}: "))
    told = ended.output[ended.output.index(line) :]
    assert "No space left on device" in told or "free on this disk" in told, ended.output


class SmallDisk:
    """A tmpfs of 20 MB."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def fill(self, command: Command) -> None:
        """Take all space, also what the command frees, until it has ended."""
        with (self.folder / "filler").open("ab", buffering=0) as file:
            while command.runs:
                for size in (1 << 16, 1 << 12, 1):
                    with contextlib.suppress(OSError):
                        while True:
                            file.write(b"\0" * size)
                time.sleep(0.005)

    def free(self) -> None:
        """Give the space back."""
        (self.folder / "filler").unlink(missing_ok=True)


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[SmallDisk]:
    """Mount a small disk; skip the test where that is not allowed."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(folder)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"mounting a tmpfs needs root: {getattr(error, 'stderr', b'').decode().strip() or error}")
    try:
        yield SmallDisk(folder)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def odd_environments(folder: Path) -> dict[str, tuple[dict[str, str], int]]:
    """Return environments and umasks by name."""
    clock = folder / "clock"
    clock.mkdir()
    (clock / "sitecustomize.py").write_text(JUMPING_CLOCK)
    path = os.pathsep.join([str(clock), str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    usual = {name: value for name, value in os.environ.items() if not name.startswith(("LC_", "LANG", "PYTHON"))}
    bare = {name: os.environ[name] for name in ("PATH", "NUMBA_CACHE_DIR") if name in os.environ}
    environments = {
        "jumping clock": ({**os.environ, "PYTHONPATH": path}, -1),
        "no HOME": (bare, -1),
        "LANG=C": ({**usual, "LANG": "C", "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}, -1),
        "umask 077": (dict(os.environ), 0o077),
        "hash seed": ({**os.environ, "PYTHONHASHSEED": str(int.from_bytes(os.urandom(4), "big"))}, -1),
    }
    at_once = {name: value for name, value in usual.items() if name != "HOME"} | {"LC_ALL": "C", "PYTHONHASHSEED": "7"}
    return {**environments, "all at once": ({**at_once, "PYTHONPATH": path}, 0o077)}
